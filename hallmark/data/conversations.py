"""Extra columns for rows: turns of conversations in OpenAI's or ShareGPT's layout, nested values, spans, an id made from the row.

`data:` can use these if a row has `messages` (OpenAI: role, content, tool_calls) or `conversations` (ShareGPT: from,
value), or a chat in another layout, which `data.chat` describes; an Alpaca row (instruction, input, output) needs no conversion, since its keys are plain columns.

    turns.input    the user's last message before that answer
    turns.target   the assistant's last answer, or the last without `weight: 0` (OpenAI's mark of turns that are not
                   trained); with `data.answers: all`, each of them, with `calls`, each that calls tools; calls are JSON
    turns.earlier  everything before that, one line per turn ("user: ..."); for data.context
    turns.system   what the system messages say beyond task.system_prompt, which goes without saying
    turns.all      what user, assistant and tools say, one line per turn: the input, if the answer is a note on it
    file.part      the part of a split that the file's name has, as train.jsonl and dev-00001.parquet do
    row.id         a hash of the row, for data without ids
    user.login     a value inside another one: see hallmark/data/nested.py
    spans.by_label, results.by_choice, tokens.joined, contexts.passages, topics.parts: see hallmark/data/spans.py
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Chat, Data
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.records import columns_of
from hallmark.data.copied import opened
from hallmark.data.missing import OR_DROP, MissingValueError, Part
from hallmark.data.nested import is_path, value_at
from hallmark.data.spans import BY_CHOICE, BY_LABEL, JOINED, MADE, PASSAGES, by_choice, by_label, is_open, passages

TURNS = ("turns.input", "turns.target", "turns.earlier", "turns.system")
WHOLE = "turns.all"
PART = "file.part"
PARTS = {  # what a column of an official split, or a file's name, may say, in any case
    "train": ("train", "training", "apprentissage", "entrainement", "entrenamiento", "addestramento", "treino"),
    "validation": (
        "validation",
        "valid",
        "val",
        "dev",
        "development",
        "validierung",
        "validación",
        "validazione",
        "validação",
    ),
    "calibration": ("calibration", "calib"),
    "holdout": ("holdout", "test", "eval", "evaluation", "prueba", "teste"),
}
CALLS = ("tool_calls", "function_call")
LAYOUTS = {"messages": ("role", "content"), "conversations": ("from", "value")}
ROLES = {
    "system": "system", "developer": "system", "human": "user", "user": "user", "gpt": "assistant", "bing": "assistant",
    "chatgpt": "assistant", "model": "assistant", "assistant": "assistant", "function_call": "assistant", "tool": "tool",
    "function": "tool", "function_response": "tool", "observation": "tool",
}  # fmt: skip


class Extra:
    """Adds to each row the extra columns that `data:` names, and no others."""

    def __init__(self, data: Data, others: Iterable[str] = (), system_prompt: str = "") -> None:
        targets = data.target if isinstance(data.target, list) else [data.target]
        optional = (data.context, data.tools, data.rejected, data.tags, data.split)
        templates = [data.id, data.group, data.input, *targets, *optional]
        named = {column for template in templates if template for column in columns_of(template)}
        self.turns, self.name, self.part = not named.isdisjoint(TURNS), "row.id" in named, PART in named
        self.whole = WHOLE in named
        own = (*TURNS, WHOLE, "row.id", PART)
        self.paths = sorted(name for name in named.union(others) if "." in name and name not in own)
        self.chat, self.calls = data.chat, data.answers == "calls"
        self.markup, self.system_prompt = data.markup, system_prompt
        self.source = data.input if columns_of(data.input) == [data.input] else None  # of offsets
        self.seen: Counter[str] = Counter()

    def __call__(self, row: dict[str, Any], file: Path, number: int) -> dict[str, Any]:
        """The row with its extra columns; a `HallmarkError` if it needs a conversation and has none."""
        row = with_messages(row, self.chat) if self.chat else row
        extra: dict[str, Any] = turns(row, file, number, self.system_prompt, calls=self.calls) if self.turns else {}
        extra |= {WHOLE: whole(row)} if self.whole else {}
        extra |= {PART: part_of(file)} if self.part and PART not in row else {}
        extra |= {path: self.value(path, row, file, number) for path in self.paths if is_path(path, row)}
        if self.name:
            text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
            name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            self.seen[name] += 1  # a repeated row counts as two rows
            extra["row.id"] = name if self.seen[name] == 1 else f"{name}-{self.seen[name]}"
        return row | extra if extra else row

    def value(self, path: str, row: dict[str, Any], file: Path, number: int) -> Any:
        """The value at a path, or what is made of the spans or tokens there."""
        if (found := value_at(row, path)) is not None:
            return found
        head, named, rest = path.partition(BY_CHOICE)
        if named:
            answers = by_choice(opened(value_at(row, head)))
            return value_at(answers, rest.removeprefix(".")) if rest else answers
        for suffix, made in MADE.items():
            if path.endswith(suffix):
                found = opened(value_at(row, head := path.removesuffix(suffix)))
                above, _, key = head.rpartition(".")
                if found is None and suffix == PASSAGES and isinstance(items := opened(value_at(row, above)), list):
                    return passages(items, key)
                return made(found)
        if not path.endswith(BY_LABEL) or is_open(row, path.removesuffix(BY_LABEL)):
            return None
        source = value_at(row, self.source.removesuffix(JOINED)) if self.source else None
        source = opened(source) if self.source and self.source.endswith(JOINED) else source
        return by_label(opened(value_at(row, path.removesuffix(BY_LABEL))), source, file, number, path, self.markup)


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text."""
    return [part for part in re.split(r"(?<=[.!?])\s+|\s*\n\s*", text.strip()) if part]


def beyond(system: str, prompt: str) -> str:
    """What a system message says beyond the prompt, line by line; all of it if it lacks a sentence of the prompt."""
    known = {*sentences(prompt)}
    if not known or not known <= {*sentences(system)}:
        return system
    lines = ([part for part in sentences(line) if part not in known] for line in system.split("\n"))
    return "\n".join(" ".join(line) for line in lines if line)


def part_of(file: Path) -> str | None:
    """The part of a split that the words of a file's name say; None if they say none, or several."""
    words = {*re.findall(r"[^\W\d_]+", file.stem.casefold())}
    said = [part for part, names in PARTS.items() if not words.isdisjoint(names)]
    return said[0] if len(said) == 1 else None


def with_messages(row: dict[str, Any], chat: Chat) -> dict[str, Any]:
    """The row with its chat in OpenAI's layout: turns of one role in a row are one, those without a named role are left out."""
    found: list[dict[str, Any]] = []
    said = opened(value_at(row, chat.turns))
    first = opened(value_at(row, chat.opening)) if chat.opening else None
    if isinstance(first, str):  # what the user says
        first = {chat.role: next((name for name, role in chat.roles.items() if role == "user"), None), chat.text: first}
    for turn in [*([first] if isinstance(first, dict) else []), *(said if isinstance(said, list) else [])]:
        hidden = any(str(value_at(turn, key)) in values for key, values in chat.internal.items())
        role = None if hidden else chat.roles.get(str(value_at(turn, chat.role)))
        text = plain(value_at(turn, chat.text))
        more = {key: turn[key] for key in (*CALLS, "weight") if turn.get(key) is not None} if role else {}
        if role is None or not (more or (text and text.strip())):
            continue
        if found and not more and found[-1].keys() == {"role", "content"} and found[-1]["role"] == role:
            found[-1]["content"] += f"\n{text}"
        else:
            found.append({"role": role, "content": text, **more})
    if chat.answer:  # what was said before is the answer of other rows
        found = [turn | {"weight": 0} if turn["role"] == "assistant" else turn for turn in found]
        message = _as_message(value_at(row, chat.answer))
        if isinstance(message, dict) and (called(message) or (text_in(message, "content") or "").strip()):
            found.append({"role": "assistant", **{key: message[key] for key in ("content", *CALLS) if key in message}})
    return row | {"messages": found} if isinstance(said, list) else row


def _as_message(answer: Any) -> Any:
    """An answer that stands outside of its chat, as a message: a text, or a list of calls; a message as it is."""
    value = opened(answer)
    if isinstance(value, dict) and not value.keys().isdisjoint(("content", *CALLS)):
        return value
    if not isinstance(value, list) or not are_calls(value):
        return {"content": plain(answer)}
    return {"tool_calls": [{"function": of.get("function", of)} for of in value]} if value else {"content": "[]"}


def are_calls(value: Any) -> bool:
    """Whether a value is a list of calls of tools; it may be empty."""
    functions = (
        [of.get("function", of) if isinstance(of, dict) else of for of in value] if isinstance(value, list) else [None]
    )
    return all(isinstance(of, dict) and isinstance(of.get("name"), str) and "arguments" in of for of in functions)


def turns(
    row: dict[str, Any], file: Path, number: int, system_prompt: str = "", *, calls: bool = False
) -> dict[str, Any]:
    """The columns `turns.*` of a row; `calls`: as `data.answers: calls` has them."""
    column = layout_of(row)
    if column is None:
        raise HallmarkError(
            "no conversation in the row", file=file, row=number, field="messages",
            remedy="give each row a list 'messages' (role, content) or 'conversations' (from, value); or name other "
            "columns in data:",
        )  # fmt: skip

    def fail(problem: str, remedy: str) -> NoReturn:
        raise HallmarkError(problem, file=file, row=number, field=column, remedy=remedy)

    def lack(part: Part, problem: str, remedy: str) -> NoReturn:
        raise MissingValueError(problem, part=part, file=file, row=number, field=column, remedy=f"{remedy}; {OR_DROP}")

    role_key, text_key = LAYOUTS[column]
    messages: list[tuple[str, str]] = []
    system = plain(row.get("system")) if column == "messages" else None  # where Anthropic has it
    for number_in_row, message in enumerate(row[column], 1):
        if not isinstance(message, dict) or not isinstance(message.get(role_key), str):
            fail(
                f"message {number_in_row} has no '{role_key}'",
                f"each message is an object with '{role_key}' and '{text_key}'",
            )
        role = ROLES.get(message[role_key])
        if role is None:
            fail(f"message {number_in_row} has an unknown role", f"use one of {', '.join(ROLES)} as '{role_key}'")
        if isinstance(parts := message.get(text_key), list) and "tool_result" in map(_type, parts):
            role = "tool"  # which Anthropic's user gives
        text = text_in(message, text_key)
        if role == "assistant" and message.get(text_key, "") is None and not called(message):
            text = ""  # an answer that never came
        if text is None and called(message):
            problem = f"message {number_in_row} calls a tool without a name, or with arguments that are no JSON"
            lack("target", problem, "fix the call, or drop the row")
        if text is None:
            fail(
                f"message {number_in_row} has no text in '{text_key}'",
                "images and sound can't be read; write text, or drop the row",
            )
        messages.append((role, text))
        if message.get("weight") not in (None, 0, 1):
            fail(f"message {number_in_row} has a weight other than 0 and 1", "give an answer that is not trained 0")
    answer = max(_answers(row[column], role_key, calls=calls), default=None)
    if answer is None:
        lack(
            "target",
            "no answer from the assistant without weight 0",
            "the last such answer is what the model learns: add it, or drop the row",
        )
    question = next((index for index in reversed(range(answer)) if messages[index][0] == "user"), None)
    if question is None:
        lack("input", "no message from the user before the last answer", "add the question, or drop the row")
    said = [text for role, text in messages if role == "system"]
    # Anything between question and answer (a tool's result, say) belongs to the question.
    between = [f"{role}: {text}" for role, text in messages[question + 1 : answer]]
    return {
        "turns.input": "\n".join([messages[question][1], *between]),
        "turns.target": messages[answer][1],
        "turns.earlier": "\n".join(f"{role}: {text}" for role, text in messages[:question] if role != "system"),
        "turns.system": beyond("\n".join([*filter(None, [system]), *said]), system_prompt),
    }


def whole(row: dict[str, Any]) -> str | None:
    """What all but the system say in the row's conversation; None if there is nothing."""
    if (column := layout_of(row)) is None:
        return None
    role_key, text_key = LAYOUTS[column]
    said = [(ROLES.get(str(turn.get(role_key))), text_in(turn, text_key)) for turn in row[column]]
    return "\n".join(f"{role}: {text}" for role, text in said if role != "system" and text) or None


def _answers(messages: list[dict[str, Any]], role_key: str, *, calls: bool) -> list[int]:
    """The places of the answers that are trained: the assistant's without weight 0; with `calls`, those that call tools, if any does."""
    own = ((at, one) for at, one in enumerate(messages) if ROLES[one[role_key]] == "assistant")
    trained = [at for at, one in own if one.get("weight") != 0]
    calling = [at for at in trained if called(messages[at]) or messages[at][role_key] == "function_call"]
    return (calling if calls else []) or trained


def earlier_answers(
    row: dict[str, Any], file: Path, number: int, system_prompt: str = "", *, calls: bool = False
) -> Iterator[tuple[int, dict[str, str]]]:
    """For each answer before the last that is trained: its place among the messages, and the columns `turns.*` up to it.

    The row was checked before. An answer before the first question is none.
    """
    if (column := layout_of(row)) is None:
        return
    messages, role_key = row[column], LAYOUTS[column][0]
    roles = [ROLES[message[role_key]] for message in messages]
    ends = [at + 1 for at in _answers(messages, role_key, calls=calls) if "user" in roles[:at]]
    for end in ends[:-1]:
        yield end, turns(row | {column: messages[:end]}, file, number, system_prompt, calls=calls)


def layout_of(row: dict[str, Any]) -> str | None:
    """The column that holds the row's conversation, if any."""
    for column, (role_key, _) in LAYOUTS.items():
        value = row.get(column)
        if isinstance(value, list) and all(isinstance(one, dict) and role_key in one for one in value[:1]):
            return column
    return None


def text_in(message: dict[str, Any], text_key: str) -> str | None:
    """The text of a message: its tool calls as JSON, else its content, or the texts of its content's parts."""
    return calls(found) if (found := called(message)) else plain(message.get(text_key))


def called(message: dict[str, Any]) -> Any:
    """The calls of tools in a message, as OpenAI's API has them; they may be one `function_call`, or Anthropic's parts."""
    if message.get("tool_calls") or message.get("function_call"):
        return message.get("tool_calls") or [{"function": message["function_call"]}]
    parts = message.get("content")
    used = [part for part in parts if _type(part) == "tool_use"] if isinstance(parts, list) else ()
    return [{"function": {"name": part.get("name"), "arguments": part.get("input") or {}}} for part in used]


def plain(content: Any) -> str | None:
    """A text, or those of its parts and of the results of tools there as one; None if it has others."""
    if isinstance(content, list) and all(_type(part) in ("text", "tool_result") for part in content):
        parts = [plain(part.get("text", part.get("content"))) for part in content]
        content = "\n".join(part for part in parts if part is not None) if None not in parts else None
    return content if isinstance(content, str) else None


def _type(part: Any) -> Any:
    return part.get("type") if isinstance(part, dict) else None


def calls(tool_calls: Any) -> str | None:
    """OpenAI's tool calls as a JSON list of names and arguments."""
    result = []
    for call in tool_calls if isinstance(tool_calls, list) else [None]:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return None
        arguments = function.get("arguments", {})
        try:
            arguments = strict_json(arguments) if isinstance(arguments, str) else arguments
        except NotJsonError:
            return None
        result.append({"name": function["name"], "arguments": arguments})
    return json.dumps(result, ensure_ascii=False)
