"""The rule that copies: it finds values where they stand, leaves out what is not there, and always answers in the form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hallmark.answer.comparators.linear_copy import LINEAR as RULE
from hallmark.answer.imitation import Imitation
from hallmark.answer.params import Classical
from hallmark.task.task import Task
from tests.rows import task_of

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["intent", "product", "amount", "date", "issues"],
    "properties": {
        "intent": {"enum": ["refund", "delivery"]},
        "product": {"type": ["string", "null"]},
        "amount": {"type": ["number", "null"]},
        "date": {"type": ["string", "null"], "format": "date"},
        "issues": {"type": "array", "items": {"type": "string"}},
    },
}
CALLS = {"type": "array", "items": {"type": "object", "required": ["name", "arguments"]}}
REFUSAL = '{"intent":"refuse"}'
THINGS = ["kettle", "toaster", "lamp", "desk", "chair", "fan", "sofa", "clock"]
COLOURS = ["red", "blue", "old", "new", "small"]
FAULTS = ["lid is loose", "cable hums", "door jams", "screen is dark", "lock is stuck"]
MONTHS = ["March", "April", "May", "June"]


def ticket(i: int, thing: str) -> tuple[str, str]:
    """A text and its answer: a price that is claimed or only told, a day or none, no, one or two faults."""
    colour, fault, other = COLOURS[i % 5], FAULTS[i % 5], FAULTS[(i + 2) % 5]
    refund, paid, day = bool(i % 2), i % 3 == 0, 1 + i % 27
    faults = [[], [fault], [fault, other]][i % 3]
    text = f"Ordered the {colour} {thing}"
    text += f" on {day} {MONTHS[i % 4]} 2025." if i % 4 else "."
    text += f" What is wrong: {'; '.join(faults)}." if faults else " All is well."
    text += f" I want {100 + i}.5{i % 10} EUR back." if paid else f" The price was {100 + i}.50 EUR."
    text += " Give me my money back please" if refund else " Where is the parcel now"
    answer = {
        "intent": "refund" if refund else "delivery",
        "product": f"{colour} {thing}",
        "amount": round(100 + i + 0.5 + (i % 10) / 100, 2) if paid else None,
        "date": f"2025-{3 + i % 4:02}-{day:02}" if i % 4 else None,
        "issues": faults,
    }
    return text, json.dumps(answer, separators=(",", ":"))


LINEAR = Classical.model_validate(RULE)


def rule_of(
    task: Task, pairs: list[tuple[str, str]], neighbours: int = 5, linear: Classical | None = None
) -> Imitation:
    groups = [f"g{number % 7}" for number in range(len(pairs))]
    return Imitation(task, [text for text, _ in pairs], [answer for _, answer in pairs], groups, neighbours, linear)


def test_an_extraction_is_copied_from_the_text_that_asks(tmp_path: Path) -> None:
    """The things of the new texts are in no training record, nor are the amounts."""
    task = task_of(tmp_path, "extraction", SCHEMA, REFUSAL)
    pairs = [ticket(i, f"{THINGS[i % 6]}{'abcdefgh'[i % 8]}{'klmnop'[i // 8 % 6]}") for i in range(120)]
    asked = [ticket(i, THINGS[6 + i % 2]) for i in range(300, 340)]
    answers = rule_of(task, pairs).answers([text for text, _ in asked])
    assert [json.loads(answer) for answer in answers] == [json.loads(answer) for _, answer in asked]
    assert rule_of(task, pairs).answers([text for text, _ in asked]) == answers


def drowned(i: int, word: str, intent: str) -> tuple[str, str]:
    """One word says the intent, and twenty that no other number has say nothing."""
    common = " ".join(f"{COLOURS[i % 5]}{THINGS[n % 8]}{n}{i}" for n in range(20))
    answer = {"intent": intent, "product": f"{COLOURS[i % 5]}x", "amount": None, "date": None, "issues": []}
    return f"{common} {word} for my {COLOURS[i % 5]}x", json.dumps(answer, separators=(",", ":"))


@pytest.mark.parametrize("neighbours", [1, 3])
def test_a_linear_model_says_what_the_nearest_records_get_wrong(tmp_path: Path, neighbours: int) -> None:
    """Also where none of the nearest has the form that it says."""
    task = task_of(tmp_path, "extraction", SCHEMA, REFUSAL)
    kinds = [("refund", "refund"), ("parcel", "delivery"), ("secret", None)]
    pairs = []
    for i in range(126):
        word, intent = kinds[i % 3]
        pairs.append(drowned(i, word, intent) if intent else (drowned(i, word, "")[0], REFUSAL))
    asked = [drowned(i + 1, word, intent or "")[0] for i, (word, intent) in enumerate(kinds * 4)]  # nearest: i + 1
    right = [intent for _, intent in kinds * 4]

    def intents(linear: Classical | None) -> list[str | None]:
        answers = rule_of(task, pairs, neighbours, linear).answers(asked)
        return [None if answer == REFUSAL else json.loads(answer)["intent"] for answer in answers]

    assert intents(LINEAR) == right
    assert intents(None) != right


def room(i: int, name: str) -> tuple[str, str]:
    day, many = ["monday", "tuesday", "friday"][i % 3], ["two", "six", "ten"][i // 3 % 3]
    number = {"two": 2, "six": 6, "ten": 10}[many]
    if i % 2:
        calls = [{"name": "book", "arguments": {"day": day, "room": name, "seats": number}}]
        return f"Book {name} on {day.title()} for {many} people", json.dumps(calls, separators=(",", ":"))
    calls = [{"name": "remind", "arguments": {"about": f"the {name}"}}]
    return f"Remind me about the {name}, please", json.dumps(calls, separators=(",", ":"))


def test_the_arguments_of_a_call_are_copied_and_words_stand_for_numbers(tmp_path: Path) -> None:
    task = task_of(tmp_path, "tool_call", CALLS)
    rule = rule_of(task, [room(i, f"{COLOURS[i % 5]}{THINGS[i % 7]}") for i in range(90)])
    asked = [room(i, f"{THINGS[i % 7]}yard") for i in range(200, 230)]
    assert [json.loads(answer) for answer in rule.answers([text for text, _ in asked])] == [
        json.loads(answer) for _, answer in asked
    ]


def test_a_class_is_voted_on_and_a_reply_is_the_nearest_one(tmp_path: Path) -> None:
    task = task_of(tmp_path, "classification", {"enum": ["a", "b"]})
    pairs = [("red lamp", "a"), ("red lamp there", "b"), ("the red lamp there", "b"), ("blue", "a")]
    assert rule_of(task, pairs, 3).answers(["red lamp"]) == ["b"]
    assert rule_of(task, pairs, 1).answers(["red lamp"]) == ["a"]
    text = task_of(tmp_path, "text", {"type": "string"})
    assert rule_of(text, [("red lamp", "It is red."), ("blue", "No.")], 2).answers(["a red lamp"]) == ["It is red."]


ODD = st.text(max_size=60) | st.sampled_from(["", "!?", "1.2.3,4", "31.02.2025", "0/0/0", "\n\n", "a" * 3000, "\ud800"])


@settings(max_examples=10)
@given(st.lists(ODD, min_size=1, max_size=3), st.lists(ODD, min_size=1, max_size=5), st.sampled_from([None, LINEAR]))
def test_whatever_the_texts_the_answers_have_the_form(
    tmp_path_factory: Any, asked: list[str], odd: list[str], linear: Classical | None
) -> None:
    folder = tmp_path_factory.getbasetemp()
    task = task_of(folder, "extraction", SCHEMA, REFUSAL)
    answers = [ticket(i, text or "x")[1] for i, text in enumerate(odd)]
    pairs = [*zip(odd, answers, strict=True), *(ticket(i, THINGS[i % 6]) for i in range(12))]
    for answer in rule_of(task, pairs, linear=linear).answers(asked):
        assert task.parse(answer).kind in ("answer", "refusal")
    pairs = [*((text, "[]") for text in odd), *(room(i, THINGS[i % 7]) for i in range(12))]
    task = task_of(folder, "tool_call", CALLS)
    for answer in rule_of(task, pairs, linear=linear).answers(asked):
        assert task.parse(answer).kind == "answer"
