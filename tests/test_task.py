"""What a completion says: answer, refusal or invalid; and how a target becomes a completion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.errors import HallmarkError
from stages.tasks.answers import canonical
from stages.tasks.params import Task as TaskParams
from stages.tasks.task import Task
from tests.test_files import JSON

SCHEMA = {
    "type": "object",
    "properties": {
        "intent": {"enum": ["refund", "other"]},
        "amount": {"type": ["number", "null"]},
        "date": {"type": ["string", "null"], "format": "date"},
    },
    "required": ["intent", "amount", "date"],
    "additionalProperties": False,
}


def make_task(folder: Path, schema: Any = SCHEMA, kind: str = "extraction") -> Task:
    file = folder / "schema.json"
    file.write_text(json.dumps(schema), encoding="utf-8")
    values = {
        "kind": kind,
        "system_prompt": "Do it.",
        "tool_format": "json",
        "schema": str(file),
        "refusal": '{"refusal":"policy"}',
    }
    return Task(TaskParams.model_validate(values))


def test_render_is_compact_and_in_schema_order(tmp_path: Path) -> None:
    target = {"date": None, "amount": 1.5, "intent": "refund"}
    assert make_task(tmp_path).render(target) == '{"intent":"refund","amount":1.5,"date":null}'


@pytest.mark.parametrize(
    ("text", "kind", "parses"),
    [
        ('{"intent":"refund","amount":1,"date":null}', "answer", True),
        (' {"intent":"refund","amount":1,"date":"2024-02-29"}\n', "answer", True),
        ('{"refusal":"policy"}', "refusal", True),
        ('{ "refusal" : "policy" }', "refusal", True),
        ('{"intent":"refund","amount":1,"date":"2023-02-29"}', "invalid", True),
        ('{"intent":"praise","amount":1,"date":null}', "invalid", True),
        ('{"intent":"refund","amount":1}', "invalid", True),
        ('{"intent":"refund","amount":NaN,"date":null}', "invalid", False),
        ('```json\n{"intent":"refund","amount":1,"date":null}\n```', "invalid", False),
        ('{"intent":"refund","amount":1,"date":null} Hope this helps!', "invalid", False),
        ("", "invalid", False),
        ("[" * 100_000, "invalid", False),
        ('{"intent":"refund","amount":1e999,"date":null}', "invalid", False),
        ('{"intent":"refund","intent":"other","amount":1,"date":null}', "invalid", False),
        ('{"intent":"refund","amount":' + "9" * 1_000_000 + ',"date":null}', "invalid", False),
        ('{"intent":"refund","amount":1,"date":"\\ud800"}', "invalid", True),
        ('{"intent":"refund","amount":1,"date":' + "[" * 101 + "]" * 101 + "}", "invalid", False),
    ],
)
def test_parse_is_strict(tmp_path: Path, text: str, kind: str, parses: bool) -> None:
    parsed = make_task(tmp_path).parse(text)
    assert (parsed.kind, parsed.parses) == (kind, parses)
    assert (parsed.problem is None) == (kind != "invalid")


@given(st.text())
def test_parse_never_raises(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    assert make_task(tmp_path_factory.getbasetemp()).parse(text).kind in ("answer", "refusal", "invalid")


@given(JSON)
def test_one_value_has_one_canonical_text(value: Any) -> None:
    spaced = json.dumps(value, ensure_ascii=True, indent=3)
    assert canonical(spaced) == canonical(json.dumps(value, ensure_ascii=False, sort_keys=True))


def test_whole_floats_are_integers_to_json() -> None:
    assert canonical("12.0") == canonical("12")
    assert canonical("12.5") != canonical("12")


def test_a_label_is_parsed_as_text(tmp_path: Path) -> None:
    task = make_task(tmp_path, {"enum": ["yes", "no"]}, "classification")
    assert task.labels == ["yes", "no"]
    assert task.parse("yes").value == "yes"
    assert task.parse("maybe").kind == "invalid"


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "not JSON"), ("[]", "not an object"), ('{"type": "nothing"}', "not a valid JSON Schema")],
)
def test_a_bad_schema_names_its_file(tmp_path: Path, content: str, words: str) -> None:
    task = make_task(tmp_path)
    (tmp_path / "schema.json").write_text(content, encoding="utf-8")
    with pytest.raises(HallmarkError, match=words) as caught:
        task.parse('{"intent":"refund"}')
    assert "schema.json" in str(caught.value)


def test_a_missing_schema_names_its_file(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    (tmp_path / "schema.json").unlink()
    with pytest.raises(HallmarkError, match="no such schema"):
        task.parse("{}")
