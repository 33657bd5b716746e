"""What becomes of the values that targets copy from their input: counted before anything is trained, and kept by field."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stages import mask
from stages.core.errors import HallmarkError
from stages.corpus.copied import Fields, advice, check_fields, known_fields, report, spellings
from stages.params.loader import load_params
from stages.privacy.masking import Record
from stages.privacy.spans import Span
from stages.tasks.kinds import KINDS
from stages.tasks.task import Task
from tests.workspace import make_workspace, stage
from tests.workspace import report as report_of

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "state": {"enum": ["open", "closed"]},
        "mail": {"type": "string"},
        "items": {
            "type": "array",
            "items": {"$ref": "#/$defs/item"},
        },
        "more": {"type": "object"},
    },
    "$defs": {"item": {"type": "object", "properties": {"price": {"type": "number"}, "code": {"type": "string"}}}},
}
MAIL, OTHER = "ina.roe@acme-tools.io", "bo.lind@acme-tools.io"
TARGET = {"state": "open", "mail": MAIL, "items": [{"price": 9.5, "code": "NL-20931"}]}
ROW = {
    "id": "r1",
    "customer": "c1",
    "text": f"It is open.\n{MAIL.upper()} wrote to {OTHER}: NL-20931 for RM9.50.",
    "target": TARGET,
}
PARAMS: dict[str, Any] = {
    "data.input": "text", "data.tags": None, "task.refusal": None, "mask.identity_columns": {}, "mask.gold": None,
    "mask.ner": {"engine": "none", "model": None}, "mask.workers": 1, "eval.spans": [],
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the stage on rows; returns the texts of the records (user's message and completion), and the report's block."""

    def masked(rows: list[dict[str, Any]], **changes: Any) -> tuple[list[tuple[str, str]], Any]:
        import polars as pl

        folder = make_workspace(tmp_path / "repo", PARAMS | changes)
        (folder / "data/raw/tickets.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
        )
        (folder / "data/schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
        monkeypatch.chdir(folder)
        mask.run(load_params(Path("params.yaml")))
        records = pl.read_parquet("data/masked.parquet").to_dicts()
        texts = [(row["prompt"][-1]["content"], row["completion"][0]["content"]) for row in records]
        return texts, report_of(folder, "mask")["target_values"]

    return masked


def test_the_stage_counts_what_the_target_copies_and_says_what_to_set(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ((text, completion),), counts = run([ROW])
    assert MAIL not in text.lower() + completion
    one = {"copied": 1, "kept": 1, "replaced": 0, "lost": 0, "kinds": {}}
    assert counts == {
        "items.code": one,
        "items.price": one,
        "mail": one | {"kept": 0, "replaced": 1, "kinds": {"EMAIL_ADDRESS": 1}},
    }
    (line,) = [record.getMessage() for record in caplog.records if "copies" in record.getMessage()]
    assert line == (
        "1 of 1 values of 'mail' that the target copies from its input are masked (EMAIL_ADDRESS 1); if they identify no "
        "one, set mask.keep_targets: [mail]"
    )


def test_a_kept_field_stays_in_input_and_target_and_others_of_its_kind_do_not(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ((text, completion),), counts = run([ROW], **{"mask.keep_targets": ["mail"]})
    assert text == "It is open.\nINA.ROE@ACME-TOOLS.IO wrote to <EMAIL_1>: NL-20931 for RM9.50."
    assert json.loads(completion) == TARGET  # the second check lets it pass too
    assert counts["mail"]["kept"] == 1
    assert "mask.keep_targets" not in caplog.text


def test_what_identifies_the_customer_goes_before_what_the_task_needs(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    changes = {"mask.keep_targets": ["mail"], "mask.identity_columns": {"contact": "EMAIL_ADDRESS"}}
    ((text, completion),), counts = run([ROW | {"contact": MAIL}], **changes)
    assert MAIL not in text.lower() + completion
    assert counts["mail"]["replaced"] == 1
    assert "mask.identity_columns goes before mask.keep_targets" in caplog.text


def test_an_allowed_pattern_is_left_and_passes_the_second_check(run: Any) -> None:
    card = "4539148803436467"
    row = ROW | {"text": f"order {card}, mail {OTHER}", "target": TARGET | {"mail": card}}
    ((text, _),), counts = run([row], **{"mask.allow_patterns": [r"45\d{14}"]})
    assert text == f"order {card}, mail <EMAIL_1>"
    assert counts["mail"]["kept"] == 1


def test_the_preview_keeps_the_same_fields(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path / "repo", PARAMS | {"mask.keep_targets": ["mail"]})
    (folder / "rows.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    line = json.loads(stage(folder, "mask", "--preview", "rows.jsonl").stdout)
    assert line["masked"] == ROW["text"].replace(OTHER, "<EMAIL_1>")


def counted(kind: str, before: Any, after: Any, text: str, spans: list[Span], masked: str) -> Any:
    counts: Counter[tuple[str, str]] = Counter()
    record = Record([text], [])
    record.texts[0].spans = spans
    Fields(KINDS[kind], SCHEMA).count(before, after, record, [masked], counts)
    return report(counts)


def test_a_value_that_is_another_one_in_the_masked_target_is_lost() -> None:
    text = "Shop: Ann Lee Tools, by Ann Lee"
    spans = [Span(6, 13, "PERSON", "x"), Span(24, 31, "PERSON", "x")]
    before, masked = {"mail": "ANN LEE TOOLS", "more": {"Zed": "Ann Lee"}}, "Shop: <PERSON_1> Tools, by <PERSON_1>"
    lost = counted("extraction", before, before | {"mail": "<ORGANIZATION_1>"}, text, spans, masked)
    assert lost["mail"] == {"copied": 1, "kept": 0, "replaced": 0, "lost": 1, "kinds": {"PERSON": 1}}
    assert lost["more.?"]["lost"] == 1  # left in the target, masked in the input; the key may be private
    same = counted("extraction", before, before | {"mail": "<PERSON_1> TOOLS"}, text, spans, masked)
    assert same["mail"]["replaced"] == 1
    assert counted("extraction", {"mail": "Bo"}, {"mail": "Bo"}, text, spans, masked) == {}  # not copied


def test_the_arguments_of_a_tool_call_count_also_as_json_text() -> None:
    text, span = f"mail {MAIL} the code NL-1", [Span(5, 5 + len(MAIL), "EMAIL_ADDRESS", "x")]
    call = {"name": "mail", "arguments": json.dumps({"mail": MAIL, "items": [{"code": "NL-1"}]})}
    after = call | {"arguments": call["arguments"].replace(MAIL, "<EMAIL_1>")}
    counts = counted("tool_call", [call], [after], text, span, "mail <EMAIL_1> the code NL-1")
    assert {field.replace("?", "arguments"): of["replaced"] for field, of in counts.items()} == {
        "arguments.mail": 1,
        "arguments.items.code": 0,
    }
    assert Fields(KINDS["tool_call"], SCHEMA, ["arguments"]).kept(call) == [MAIL, "NL-1"]


def test_lines_are_few_and_the_worst_comes_first() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for number in range(30):
        counts.update(
            {(f"f{number}", "copied"): 100, (f"f{number}", "kept"): 100 - number, (f"f{number}", "lost"): number}
        )
    lines = advice(counts, ["f1"])
    assert len(lines) == 10
    assert lines[0].startswith("29 of 100 values of 'f29' ")
    assert lines[0].endswith(
        "29 of them differently in input and target; if they identify no one, set mask.keep_targets: [f1, f29]"
    )
    few = Counter({("a", "copied"): 100, ("a", "kept"): 96, ("a", "lost"): 4})
    assert advice(few) == []
    unnamed = Counter({("?.a", "copied"): 1, ("?.a", "lost"): 1})
    assert "name the field in task.schema" in advice(unnamed)[0]


@pytest.mark.parametrize("field", ["mial", "items.prices", "state.open", "item"])
def test_a_kept_field_that_the_schema_lacks_is_an_error(run: Any, field: str) -> None:
    with pytest.raises(HallmarkError, match=rf"mask\.keep_targets.*has no field '{field}'") as caught:
        run([ROW], **{"mask.keep_targets": ["mail", field]})
    assert "did you mean" in caught.value.remedy or "its fields: items, items.code" in caught.value.remedy
    assert not Path("data/masked.parquet").exists()


def test_fields_need_answers_that_have_some(run: Any) -> None:
    with pytest.raises(HallmarkError, match="classification is no JSON and has no fields"):
        run([ROW], **{"task.kind": "classification", "mask.keep_targets": ["mail"]})


def test_fields_of_a_schema() -> None:
    fields, open_fields = known_fields(SCHEMA)
    assert fields == {"state", "mail", "items", "items.price", "items.code", "more"}
    assert open_fields == {"more"}
    loop = {"$defs": {"a": {"properties": {"b": {"$ref": "#/$defs/a"}}}}, "$ref": "#/$defs/a"}
    assert known_fields(loop) == ({"b"}, {"b"})
    assert known_fields(True)[1] == {""}
    calls = {"type": "array", "items": {"properties": {"name": {"enum": ["a"]}, "arguments": {"type": "object"}}}}
    assert known_fields(calls) == ({"name", "arguments"}, {"arguments"})
    assert known_fields({"anyOf": [{"properties": {"a": {"type": "null"}}}, {"type": "string"}]}) == ({"a"}, set())


def test_marks_of_lists_are_no_part_of_a_field(tmp_path: Path) -> None:
    params = load_params(make_workspace(tmp_path / "repo") / "params.yaml")
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    task = Task(params.task.model_copy(update={"schema_file": str(tmp_path / "schema.json")}))
    check_fields(task, ["items[].price", "more.anything", "items"])
    fields = Fields(task.kind, SCHEMA, ["items[]"])
    assert fields.kept(TARGET) == [*spellings(9.5), "NL-20931"]


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("a", ["a"]),
        (True, []),
        (None, []),
        (1200, ["1200", "1,200", "1200.00", "1,200.00"]),
        (-9.5, ["9.5", "9.5", "9.50", "9.50"]),
        (0.125, ["0.125", "0.125"]),
        (10**20, [str(10**20)]),
        (1e300, ["1e+300"]),
    ],
)
def test_how_a_text_writes_a_value(value: Any, texts: list[str]) -> None:
    assert spellings(value) == texts
