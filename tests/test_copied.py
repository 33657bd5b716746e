"""What becomes of the values that targets copy from their input: counted before anything is trained, and an error if they go."""

from __future__ import annotations

import json
import logging
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.mask.copied import Field, Fields, check, report
from hallmark.mask.date_values import Reader
from hallmark.mask.masking import Drafts
from hallmark.mask.spans import Span
from hallmark.params.loader import load_params
from hallmark.task.kinds import KINDS
from stages import mask
from tests.workspace import ROOT, make_workspace
from tests.workspace import report as report_of

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "state": {"enum": ["open", "closed"]},
        "mail": {"type": "string"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
        "more": {"type": "object"},
    },
    "$defs": {"item": {"type": "object", "properties": {"price": {"type": "number"}, "code": {"type": "string"}}}},
}
MAIL, OTHER = "ina.roe@acme-tools.io", "bo.lind@acme-tools.io"
TARGET = {"state": "open", "mail": MAIL, "items": [{"price": 9.5, "code": "NL-20931"}]}
ROW = {
    "id": "r1",
    "group": "c1",
    "prompt": f"It is open.\n{MAIL.upper()} wrote to {OTHER}: NL-20931 for RM9.50.",
    "target": TARGET,
}
MASK = load_params(ROOT / "params.yaml").mask
PARAMS: dict[str, Any] = {
    "task.refusal": None, "mask.gold": None,
    "mask.ner": {"engine": "none", "model": None}, "mask.workers": 1,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the stage on rows; returns the texts of the records (user's message and completion), and the report's block."""

    def masked(
        rows: list[dict[str, Any]], schema: dict[str, Any] = SCHEMA, **changes: Any
    ) -> tuple[list[tuple[str, str]], Any]:
        import polars as pl

        folder = make_workspace(tmp_path / f"repo-{len(list(tmp_path.iterdir()))}", PARAMS | changes, records=rows)
        (folder / "data/schema.json").write_text(json.dumps(schema), encoding="utf-8")
        monkeypatch.chdir(folder)
        mask.run(load_params(Path("params.yaml")))
        records = pl.read_parquet("data/masked.parquet").to_dicts()
        texts = [(row["prompt"][-1]["content"], row["completion"][0]["content"]) for row in records]
        return texts, report_of(folder, "mask")["target_values"]

    return masked


def block(**changes: Any) -> dict[str, Any]:
    """A field's block of the report, with one value that stays."""
    usual = {"copied": 1, "found_after": 1, "kept": 1, "replaced": 0, "lost": 0, "kinds": {}}
    return usual | {"not_in_input": {"unchanged": 0, "masked": 0}, "different": {"before": 1, "after": 1}} | changes


def test_the_stage_counts_what_becomes_of_what_the_target_copies(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ((text, completion),), counts = run([ROW])
    assert MAIL not in text.lower() + completion
    assert counts == {
        "items.code": block(),
        "items.price": block(),
        "mail": block(kept=0, replaced=1, kinds={"EMAIL_ADDRESS": 1}),
    }
    assert "lost" not in caplog.text


def test_a_field_that_loses_its_values_stops_the_stage_and_names_what_keeps_them(run: Any) -> None:
    day = date(2004, 2, 3)
    rows = [
        {"id": f"r{n}", "group": "c1", "prompt": f"Paid on {day + timedelta(n):%B %d, %Y}.",
         "target": {"mail": f"{day + timedelta(n)}"}}
        for n in range(40)
    ]  # fmt: skip
    with pytest.raises(HallmarkError, match="masking loses 40 of 40 values of 'mail'") as caught:
        run(rows)
    assert (caught.value.row, caught.value.field) == (1, "mail")
    assert "mask.actions: {DATE_TIME: surrogate}" in caught.value.remedy and "mask.max_lost" in caught.value.remedy
    assert not Path("data/masked.parquet").exists()
    texts, counts = run(rows, **{"mask.actions": {"DATE_TIME": "surrogate"}})
    assert counts["mail"]["found_after"] == 40 and counts["mail"]["different"] == {"before": 40, "after": 40}
    for text, completion in texts:
        moved = date.fromisoformat(json.loads(completion)["mail"])
        assert text == f"Paid on {moved:%B} {moved.day}, {moved.year}." or text == f"Paid on {moved:%B %d, %Y}."


def test_many_values_that_become_few_stop_the_stage() -> None:
    of = Field(copied=100, replaced=100, drawn_before=set(range(100)), drawn_after={1})
    with pytest.raises(HallmarkError, match="100 different values of 'day' become 1"):
        check({"day": of}, MASK, "x.jsonl")
    check({"day": Field(copied=100, replaced=100, drawn_before=set(range(100)), drawn_after=set(range(90)))}, MASK, "x")


def test_words_that_the_schema_lists_stay_in_the_input_too(run: Any) -> None:
    row = ROW | {"prompt": "Ship it to Chicago for Chicago Miller.", "target": TARGET | {"state": "Chicago"}}
    schema = SCHEMA | {"properties": SCHEMA["properties"] | {"state": {"enum": ["Chicago", "Leeds"]}}}  # type: ignore[operator]
    ((text, completion),), _ = run([row], schema=schema, **{"mask.deny": ["Miller"]})
    assert "Ship it to Chicago for" in text and "Miller" not in text
    assert json.loads(completion)["state"] == "Chicago"


def counted(kind: str, before: Any, after: Any, text: str, spans: list[Span], masked: str, **values: str) -> Any:
    record = Drafts([text], [])
    record.texts[0].spans = spans
    record.values = {f"<{name}>": value for name, value in values.items()}
    dates = Reader(day_first=False)
    return report(Fields(KINDS[kind], SCHEMA).count((before, after), record, [masked], dates, "x.jsonl:1"))


def test_a_value_that_is_another_one_in_the_masked_target_is_lost() -> None:
    text = "Shop: Ann Lee Tools, by Ann Lee"
    spans = [Span(6, 13, "PERSON", "x"), Span(24, 31, "PERSON", "x")]
    before, masked = {"mail": "ANN LEE TOOLS", "more": {"Zed": "Ann Lee"}}, "Shop: <PERSON_1> Tools, by <PERSON_1>"
    lost = counted("extraction", before, before | {"mail": "<ORGANIZATION_1>"}, text, spans, masked, PERSON_1="Ann Lee")
    assert lost["mail"] == block(found_after=0, kept=0, lost=1, kinds={"PERSON": 1})
    assert lost["more.?"]["lost"] == 1  # left in the target, masked in the input; the key may be private
    same = counted("extraction", before, before | {"mail": "<PERSON_1> TOOLS"}, text, spans, masked, PERSON_1="Ann Lee")
    assert same["mail"]["replaced"] == 1
    other = counted(
        "extraction", before, before | {"mail": "<PERSON_1> TOOLS"}, text, spans, masked, PERSON_1="Ann Lees"
    )
    assert other["mail"]["lost"] == 1  # a caller would get another value
    assert counted("extraction", {"mail": "Bo"}, {"mail": "Bo"}, text, spans, masked) == {}  # not copied
    made_up = counted("extraction", {"mail": "Bo"}, {"mail": "<PERSON_2>"}, text, spans, masked)
    assert made_up["mail"]["not_in_input"] == {"unchanged": 0, "masked": 1}


def test_the_arguments_of_a_tool_call_count_also_as_json_text() -> None:
    text, span = f"mail {MAIL} the code NL-1", [Span(5, 5 + len(MAIL), "EMAIL_ADDRESS", "x")]
    call = {"name": "mail", "arguments": json.dumps({"mail": MAIL, "items": [{"code": "NL-1"}]})}
    after = call | {"arguments": call["arguments"].replace(MAIL, "<EMAIL_1>")}
    counts = counted("tool_call", [call], [after], text, span, "mail <EMAIL_1> the code NL-1", EMAIL_1=MAIL)
    assert {field.replace("?", "arguments"): of["replaced"] for field, of in counts.items()} == {
        "arguments.mail": 1,
        "arguments.items.code": 0,
    }
