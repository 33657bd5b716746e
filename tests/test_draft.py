"""Drafts of `stages/records.py`: the script runs, and makes the records that are written down here by hand."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hallmark.base.errors import HallmarkError
from hallmark.commands import propose, rehearsal
from hallmark.commands.asking import Asker
from hallmark.draft import choices, reading
from hallmark.draft.questions import ask
from hallmark.params.loader import Params, load_params
from hallmark.records import Record
from hallmark.records.recipe import RECIPE, load
from tests.workspace import ROOT

RULES = {"mask.ner": {"engine": "none", "model": None}}
Draft = Callable[..., list[Record]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repo with params.yaml and an empty data/raw, which masks by rules alone."""
    (tmp_path / "data/raw").mkdir(parents=True)
    for name in ("params.yaml", "data/schema.json"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    propose.set_params(Path("params.yaml"), RULES)
    return tmp_path


def records_of(params: Params) -> list[Record]:
    return list(load(RECIPE).run(params.records))


def draft(name: str, **given: str | list[str]) -> list[Record]:
    """Take the first choices for a file, but what is given; the records of the script, even where a stage would stop."""
    said = {f"--{key.replace('_', '-')}": [value] if isinstance(value, str) else value for key, value in given.items()}
    try:
        propose.run(Path("data/raw") / name, Path("params.yaml"), said, yes=True)
    except HallmarkError as error:
        assert "a stage would stop" in error.problem  # few rows are no split
    return records_of(load_params(Path("params.yaml")))


def write_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


REASONS = ("refund", "delivery", "login")
CODES = ("paper", "toner", "network")
NAMES = ("Ada Nilsen", "Bo Larsen", "Cy Okafor", "Di Marino", "Ed Kowalski", "Fay Dubois", "Gus Weber", "Hal Jensen")


def ticket(number: int) -> dict[str, str]:
    return {
        "Id": str(4000 + number), "Status": ("closed", "solved", "spam")[number % 9 // 4],
        "Subject": f"Case of parcel {number}",
        "Description": f"<p>Good morning, my parcel {number} is not what I wanted.<br>What now? &amp; thanks a lot</p>",
        "Requester": NAMES[number % 8], "Requester email": f"{NAMES[number % 8].split()[0].lower()}@mail.example",
        "Organization": f"Firm {number % 12}" if number % 7 else "", "Created at": f"2024-03-{number % 28 + 1:02} 10:00",
        "Reason": "" if number == 5 else REASONS[number % 3],
    }  # fmt: skip


def test_tickets_of_a_help_desk(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [ticket(number) for number in range(60)]
    write_csv(folder / "data/raw/zendesk.csv", rows)
    found = draft("zendesk.csv", read=["Subject", "Description"])
    expected = [
        Record(
            id=row["Id"], group=row["Organization"] or row["Id"], prompt=f"{row['Subject']}\n{row['Description']}",
            target=row["Reason"], private={"PERSON": [row["Requester"]], "EMAIL_ADDRESS": [row["Requester email"]]},
            source=f"data/raw/zendesk.csv:{number}",
        )
        for number, row in enumerate(rows, 2)
        if row["Status"] != "spam" and row["Reason"]
    ]  # fmt: skip
    assert found == expected
    params, script, said = load_params(Path("params.yaml")), RECIPE.read_text(encoding="utf-8"), capsys.readouterr().out
    assert (params.task.kind, params.mask.markup) == ("classification", "html")
    assert json.loads(Path("data/schema.json").read_text(encoding="utf-8")) == {"enum": ["refund", "delivery", "login"]}
    assert "# Status: closed 28, solved 26, spam 6" in script
    assert "# Not used: Created at" in script
    assert "6 rows left out: Status: spam" in said
    assert "1 rows left out: no answer" in said
    assert "data/raw/zendesk.csv:2, group" in said


def tool(name: str) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": name, "description": name, "parameters": {"type": "object", "properties": {}}},
    }


def call(number: int) -> dict[str, Any]:
    return {
        "id": "c",
        "type": "function",
        "function": {"name": "find_order", "arguments": json.dumps({"order": number})},
    }


def test_a_log_of_calls_of_tools(folder: Path) -> None:
    rows = []
    for number in range(40):
        answer: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [call(number)]}
        answer = {"role": "assistant", "content": "Which order do you mean?"} if number % 5 == 4 else answer
        asked = {
            "messages": [{"role": "user", "content": f"Where is order {number}?"}],
            "tools": [tool("find_order"), tool("cancel")],
        }
        rows.append(
            {
                "id": f"r{number}",
                "user": f"u{number % 9}",
                "request": asked,
                "response": {"choices": [{"message": answer}]},
            }
        )
    write_lines(folder / "data/raw/log.jsonl", rows)
    found = draft("log.jsonl")
    assert [(one.id, one.group, one.prompt, one.target, one.tools) for one in found] == [
        (
            f"r{number}-1", f"u{number % 9}", [{"role": "user", "content": f"Where is order {number}?"}],
            [] if number % 5 == 4 else [{"name": "find_order", "arguments": {"order": number}}],
            [tool("find_order"), tool("cancel")],
        )
        for number in range(40)
    ]  # fmt: skip
    params = load_params(Path("params.yaml"))
    assert (params.task.kind, params.records) == ("tool_call", {"answers": "last"})


def test_codes_are_joined_with_their_names(folder: Path) -> None:
    rows = [
        {"key": f"k{n}", "text": f"The printer on floor {n} prints only in grey.", "code": n % 3, "site": f"s{n % 10}"}
        for n in range(40)
    ]
    pl.DataFrame(rows).write_parquet(folder / "data/raw/reports.parquet")
    write_csv(
        folder / "data/raw/codes.csv",
        [{"code": n, "label": name} for n, name in enumerate(CODES)],
    )
    found = draft("reports.parquet", answer="codes.label", group="site", read="text")
    assert [(one.id, one.group, one.prompt, one.target) for one in found] == [
        (row["key"], row["site"], row["text"], CODES[int(str(row["code"]))]) for row in rows
    ]
    assert found[3].source == "data/raw/reports.parquet:4"


def test_documents_with_fields(folder: Path) -> None:
    rows = [
        {
            "doc_id": f"d{n}",
            "supplier": f"s{n % 6}",
            "text": f"Invoice {n}\nTotal due {n}.50 EUR until March",
            "fields": {"number": str(n), "total": f"{n}.50", "paid": None},
        }
        for n in range(30)
    ]
    (folder / "data/raw/invoices.json").write_text(json.dumps({"version": 2, "items": rows}), encoding="utf-8")
    found = draft("invoices.json", answer="fields", group="supplier")
    assert [(one.id, one.prompt, one.target) for one in found] == [
        (row["doc_id"], row["text"], row["fields"]) for row in rows
    ]
    schema = json.loads(Path("data/schema.json").read_text(encoding="utf-8"))
    assert schema["required"] == ["number", "total", "paid"]
    assert schema["properties"]["total"] == {"type": "string"}


def test_conversations_as_sharegpt_has_them(folder: Path) -> None:
    said = [
        ("human", "Hello there"),
        ("gpt", "How can I help?"),
        ("human", "Tell me a joke"),
        ("gpt", "A joke is better short."),
    ]
    rows = [
        {"id": f"c{n}", "conversations": [{"from": who, "value": f"{text} {n}"} for who, text in said]}
        for n in range(20)
    ]
    write_lines(folder / "data/raw/chats.jsonl", rows)
    found = draft("chats.jsonl")
    assert [one.id for one in found] == [f"c{n}-3" for n in range(20)]
    assert [one["role"] for one in found[0].prompt if isinstance(one, dict)] == ["user", "assistant", "user"]
    assert found[7].target == "A joke is better short. 7"
    assert load_params(Path("params.yaml")).task.kind == "text"


def test_pairs_of_texts(folder: Path) -> None:
    rows = [
        {
            "question": f"How long does parcel {n} take to arrive in town?",
            "answer": f"About {n} days, which is longer than we would like it to be.",
        }
        for n in range(2, 30)
    ]
    write_csv(folder / "data/raw/pairs.tsv", rows, "\t")
    found = draft("pairs.tsv")
    assert [(one.prompt, one.target) for one in found] == [(row["question"], row["answer"]) for row in rows]
    assert found[0].id == found[0].group == found[0].source == "data/raw/pairs.tsv:2"


def test_the_folder_of_a_dataset(folder: Path) -> None:
    for part, numbers in (("train", range(30)), ("test", range(30, 40))):
        (folder / f"data/raw/reviews/{part}").mkdir(parents=True)
        rows = [
            {"text": f"I bought number {n} and it works as it should.", "label": ("good", "bad")[n % 2]}
            for n in numbers
        ]
        pl.DataFrame(rows).write_ipc(folder / f"data/raw/reviews/{part}/data-00000-of-00001.arrow")
    found = draft("reviews")
    assert sorted(str(one.target) for one in found) == ["bad"] * 20 + ["good"] * 20
    assert {one.source.rpartition(":")[0] for one in found} == {
        f"data/raw/reviews/{part}/data-00000-of-00001.arrow" for part in ("test", "train")
    }


def test_an_export_of_label_studio(folder: Path) -> None:
    rows = []
    for n in range(20):
        text = f"Send {n} boxes to Oslo by Friday."
        where = {"start": text.index("Oslo"), "end": text.index("Oslo") + 4, "text": "Oslo", "labels": ["place"]}
        old = {"id": 1, "was_cancelled": False, "updated_at": "2024-01-01", "result": []}
        new = {
            "id": 2,
            "was_cancelled": n == 3,
            "updated_at": "2024-02-01",
            "result": [{"type": "labels", "value": where}],
        }
        rows.append(
            {
                "id": n,
                "annotations": [new, old] if n != 4 else [{**new, "was_cancelled": True}],
                "data": {"text": text, "document": f"d{n % 7}"},
            }
        )
    (folder / "data/raw/project.json").write_text(json.dumps(rows), encoding="utf-8")
    found = draft("project.json", group="data.document")
    assert [(one.id, one.group, one.target) for one in found] == [
        (str(n), f"d{n % 7}", {} if n == 3 else {"place": ["Oslo"]}) for n in range(20) if n != 4
    ]


def test_names_of_functions_stay_with_their_arguments(folder: Path) -> None:
    """Calls of many functions, each {name: arguments}: they were narrowed to one column for each argument."""
    rows = [
        {
            "id": f"q{n}", "question": [[{"role": "user", "content": f"Please run function {n % 50}"}]],
            "function": [{"name": f"f{n % 50}", "description": "x", "parameters": {"type": "dict", "properties": {}}}],
            "ground_truth": [{f"f{n % 50}": {f"argument_{n}": n, "other": "x"}}],
        }
        for n in range(300)
    ]  # fmt: skip
    write_lines(folder / "data/raw/functions.jsonl", rows)
    found = draft("functions.jsonl", read="question")
    assert len(found) == 300
    assert found[60].target == [{"name": "f10", "arguments": {"argument_60": 60, "other": "x"}}]
    assert load_params(Path("params.yaml")).task.kind == "tool_call"


def test_a_second_answer_is_not_left_out_in_silence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"utterance": f"play song {n} now please", "intent": ("play", "stop")[n % 2], "slots": {"song": f"song {n}"}}
        for n in range(40)
    ]
    write_lines(folder / "data/raw/requests.jsonl", rows)
    draft("requests.jsonl", answer="slots")
    assert "not part of the answer, though it may be: intent" in capsys.readouterr().out
    found = draft("requests.jsonl", answer=["intent", "slots"])
    assert found[1].target == {"intent": "stop", "slots": {"song": "song 1"}}


def test_limits_stay_below_what_the_base_reads(folder: Path) -> None:
    rows = [
        {"text": f"page {n} " + "of the annual report " * (20_000 if n == 9 else 5), "label": ("long", "short")[n % 2]}
        for n in range(60)
    ]
    write_lines(folder / "data/raw/reports.jsonl", rows)
    draft("reports.jsonl", read="text", answer="label")
    params = load_params(Path("params.yaml"))
    assert params.sft.max_length == 8192
    assert params.split.too_long == "drop"


def test_a_template_is_named_with_its_size_and_what_would_pass(folder: Path) -> None:
    words = [
        "hello",
        "i",
        "would",
        "like",
        "to",
        "know",
        "where",
        "my",
        "parcel",
        "is",
        "since",
        "it",
        "was",
        "due",
        "last",
        "week",
        "and",
        "nobody",
        "answers",
        "my",
        "calls",
        "today",
    ]
    rows = [
        {"text": f"{' '.join(words)} {n:04}", "label": ("a", "b", "c")[n % 3], "conversation": f"c{n % 40}"}
        for n in range(700)
    ]
    write_lines(folder / "data/raw/turns.jsonl", rows)
    with pytest.raises(HallmarkError, match=r"700 of 700 .* would pass"):
        propose.run(Path("data/raw/turns.jsonl"), Path("params.yaml"), {}, yes=True)


def test_all_that_is_refused_is_said_at_once(folder: Path) -> None:
    RECIPE.parent.mkdir()
    RECIPE.write_text(
        'from hallmark.records import Record\n\n\ndef records(params):\n    for n in range(30):\n        yield Record(id=str(n) if n % 2 else n, '
        'group="g", prompt="x y", target="" if n % 3 == 1 else "b", source=f"data/raw/x.csv:{n + 1}")\n',
        encoding="utf-8",
    )  # fmt: skip
    faults = rehearsal.faults_of(load(RECIPE), {})
    assert [fault.split(":")[0] for fault in faults] == [
        "15 rows, the first data/raw/x.csv",
        "5 rows, the first data/raw/x.csv",
    ]
    assert [field in fault for field, fault in zip(("'id'", "'target'"), faults, strict=True)] == [True, True]


def test_a_long_list_of_names_is_not_repeated(folder: Path) -> None:
    write_lines(folder / "data/raw/wide.jsonl", [{f"column {n}": "x" for n in range(1000)}])
    with pytest.raises(HallmarkError) as caught:
        propose.run(Path("data/raw/wide.jsonl"), Path("params.yaml"), {"--answer": ["columm 7"]}, yes=True)
    assert len(str(caught.value)) < 1000


def test_hours_of_training_are_said(folder: Path) -> None:
    rows = [{"text": f"request {n}: " + f"word{n} " * 300, "label": ("a", "b")[n % 2]} for n in range(40)]
    write_lines(folder / "data/raw/long.jsonl", rows)
    draft("long.jsonl", read="text")
    params = load_params(Path("params.yaml"))
    row = {
        "prompt": [{"role": "user", "content": "word " * 2000}],
        "completion": [{"role": "assistant", "content": "a"}],
        "tools": None,
    }
    said = []
    for count in (10, 100_000):
        rehearsal.measured([row], count, params, found := rehearsal.Rehearsal())
        said.append(any("hours" in line for line in found.lines))
    assert said == [False, True]


def test_options_that_are_no_more_are_refused() -> None:
    assert "--public" not in propose.OPTIONS
    assert "--public" not in (ROOT / "hallmark/mask/leftover.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(("typed", "answer", "left_out"), [
    (["", "", "", "", ""], "Reason", 6), (["Status", "2", "none", "none", "none"], "Status", 0), (["7", "", "", "Status=closed", ""], None, 28),
])  # fmt: skip
def test_questions_at_a_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str], answer: str | None, left_out: int
) -> None:
    write_csv(folder / "data/raw/zendesk.csv", [ticket(number) for number in range(60)])
    said = iter(typed)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: next(said))
    taken = ask(reading.open_file(Path("data/raw/zendesk.csv")), Asker({}, yes=False))
    assert next(said, None) is None or not typed
    assert answer is None or taken.answer == [answer]
    column = taken.file.columns["Status"]
    assert sum(column.counts[value] for _, value in taken.leave_out) == left_out


@pytest.mark.parametrize("option", ["--answer", "--read"])
@pytest.mark.parametrize("said", ["none", ","])
def test_a_record_needs_an_answer_and_something_to_read(folder: Path, option: str, said: str) -> None:
    write_csv(folder / "data/raw/zendesk.csv", [ticket(number) for number in range(60)])
    with pytest.raises(HallmarkError, match=f"no column is taken for {option}"):
        ask(reading.open_file(Path("data/raw/zendesk.csv")), Asker({option: [said]}, yes=True))


def test_without_a_terminal_nothing_is_guessed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(folder / "data/raw/zendesk.csv", [ticket(number) for number in range(60)])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(HallmarkError, match="--yes"):
        propose.run(Path("data/raw/zendesk.csv"), Path("params.yaml"), {}, yes=False)
    assert not RECIPE.exists()


def test_a_column_that_holds_the_answer_is_no_first_choice(folder: Path) -> None:
    rows = [
        {
            "body": f"My parcel {n} did not come and I am waiting.",
            "comment": f"closed as {REASONS[n % 3]} by the desk, no more to do",
            "reason": REASONS[n % 3],
        }
        for n in range(60)
    ]
    write_csv(folder / "data/raw/tickets.csv", rows)
    file = reading.open_file(Path("data/raw/tickets.csv"))
    assert choices.read_choices(file, ["reason"])[0].name == "body"


def test_a_script_that_git_lacks_is_kept(folder: Path) -> None:
    RECIPE.parent.mkdir()
    RECIPE.write_text("# mine\n", encoding="utf-8")
    write_csv(folder / "data/raw/zendesk.csv", [ticket(number) for number in range(60)])
    draft("zendesk.csv")
    assert Path(f"{RECIPE}~").read_text(encoding="utf-8") == "# mine\n"


@pytest.mark.parametrize(("name", "given"), [
    ("receipts", {"answer": "target"}), ("snips", {"answer": ["intent", "slots"]}), ("multidogo_software", {"answer": "intent"}),
])  # fmt: skip
def test_real_files(folder: Path, name: str, given: dict[str, Any]) -> None:
    real = ROOT.parent / "shared/realdata" / f"{name}.jsonl"
    if not real.exists():
        pytest.skip(f"{real} is not there")
    rows = [json.loads(line) for line in real.read_text(encoding="utf-8").splitlines()[:300]]
    write_lines(folder / "data/raw/rows.jsonl", rows)
    found = draft("rows.jsonl", **given)
    names = [given["answer"]] if isinstance(given["answer"], str) else given["answer"]
    expected = [{one: row[one] for one in names} if len(names) > 1 else row[names[0]] for row in rows]
    assert [one.target for one in found] == [one for one in expected if one]
