"""What a completion says: answer, refusal or invalid; and how a target becomes a completion."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given

from hallmark.base.errors import HallmarkError
from hallmark.task.answers import canonical
from hallmark.task.task import Task
from hallmark.task.values import closed_paths
from tests.rows import task_of
from tests.stub_model import ChatServer, Reply
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
    return task_of(folder, kind, schema, '{"refusal":"policy"}')


def test_render_is_compact_and_in_schema_order(tmp_path: Path) -> None:
    target = {"date": None, "amount": 1.5, "intent": "refund"}
    assert make_task(tmp_path).render(target) == '{"intent":"refund","amount":1.5,"date":null}'


@pytest.mark.parametrize(
    ("text", "kind", "parses"),
    [
        ('{"intent":"refund","amount":1,"date":null}', "answer", True),
        ('{"refusal":"policy"}', "refusal", True),
        ('{"intent":"refund","amount":1,"date":"2023-02-29"}', "invalid", True),
        ('{"intent":"refund","amount":NaN,"date":null}', "invalid", False),
        ('```json\n{"intent":"refund","amount":1,"date":null}\n```', "invalid", False),
        ('{"intent":"refund","intent":"other","amount":1,"date":null}', "invalid", False),
        ('{"intent":"refund","amount":1,"date":' + "[" * 101 + "]" * 101 + "}", "invalid", False),
    ],
)
def test_parse_is_strict(tmp_path: Path, text: str, kind: str, parses: bool) -> None:
    parsed = make_task(tmp_path).parse(text)
    assert (parsed.kind, parsed.parses) == (kind, parses)
    assert (parsed.problem is None) == (kind != "invalid")


@given(JSON)
def test_one_value_has_one_canonical_text(value: Any) -> None:
    spaced = json.dumps(value, ensure_ascii=True, indent=3)
    assert canonical(spaced) == canonical(json.dumps(value, ensure_ascii=False, sort_keys=True))


def chain(keyword: str, length: int) -> dict[str, Any]:
    """A schema whose parts each refer twice to the next."""
    parts: dict[str, Any] = {f"a{n}": {keyword: [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(length)}
    return {"$defs": parts | {f"a{length}": {"type": "string"}}, "$ref": "#/$defs/a0"}


SCHEMAS: dict[str, Any] = {
    "a pattern of gigabytes": {"pattern": "((a{100}){100}){100}"},
    "references that unfold": chain("anyOf", 40),
    "a reference to a file": {"items": {"$ref": "file:///etc/hostname"}},
    "four megabytes": {"description": "x" * 4_000_000},
}


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "object", "type": "array"}', *SCHEMAS])
def test_a_bad_schema_is_one_error_of_its_file(tmp_path: Path, text: str) -> None:
    task = make_task(tmp_path, SCHEMAS.get(text, {}))
    if text not in SCHEMAS:
        (tmp_path / "schema.json").write_text(text, encoding="utf-8")
    with pytest.raises(HallmarkError) as caught:
        task.parse('{"a":1}')
    assert caught.value.file == tmp_path / "schema.json"
    assert len(str(caught.value)) < 600


def test_nothing_is_fetched_for_a_schema(tmp_path: Path) -> None:
    """A server that would answer is not asked, whichever keyword names it."""

    class Answering(ChatServer):
        def reply(self, body: dict[str, Any]) -> Reply:
            return 200, {}, b'{"type": "string"}'

    with Answering() as server:
        url = f"{server.url}/a"
        assert jsonschema_rs.is_valid({"$ref": url}, "x")  # the library would fetch it
        assert len(server.asked) == 1
        keywords: list[dict[str, Any]] = [{name: url} for name in ("$ref", "$dynamicRef", "$recursiveRef", "$schema")]
        keywords += [{"properties": {"a": part}} for part in keywords]
        keywords += [
            {"$id": url, "$ref": "b"},
            {"$id": url, "$ref": "#/b"},
            {"$vocabulary": {url: True}, "$schema": url},
        ]
        keywords += [
            {"$schema": "http://json-schema.org/draft-04/schema#", "id": url, "properties": {"a": {"$ref": "b"}}}
        ]
        for schema in keywords:
            with contextlib.suppress(HallmarkError):
                make_task(tmp_path, schema).parse('{"a":1}')
    assert len(server.asked) == 1


def test_a_schema_that_refers_to_itself_is_checked_at_any_depth(tmp_path: Path) -> None:
    branch = {"type": "array", "items": {"$ref": "#"}}
    task = make_task(tmp_path, {"anyOf": [branch, branch | {"maxItems": 9}, {"type": "string"}]})
    assert task.parse("[" * 90 + '"x"' + "]" * 90).kind == "answer"
    parsed = task.parse("[" * 90 + "1" + "]" * 90)
    assert (parsed.kind, parsed.problem) == ("invalid", "not valid under the schema")
    assert make_task(tmp_path, {"$ref": "#"}).parse("1").kind == "answer"


def test_a_pattern_of_a_schema_that_backtracks_gives_up(tmp_path: Path) -> None:
    task = make_task(tmp_path, {"pattern": r"^(a|aa)+\1$"})
    assert task.parse(json.dumps("a" * 5_000 + "!")).kind == "invalid"


def test_a_problem_names_only_what_the_schema_knows(tmp_path: Path) -> None:
    text = {"type": "string"}
    schema = {"properties": {"a": {"items": {"additionalProperties": text}}}, "additionalProperties": {"items": text}}
    task = make_task(tmp_path, schema)
    assert task.parse('{"a":[{},{"Rosa":1}]}').problem == "not valid under the schema at a/1/?: type"
    assert task.parse('{"Rosa":["x",2]}').problem == "not valid under the schema at ?/1: type"


def test_parts_of_a_schema_that_are_true_or_of_no_known_keyword(tmp_path: Path) -> None:
    task = make_task(tmp_path, {"properties": {"a": True, "b": {"items": True}}, "items": False})
    assert task.render({"b": [{"d": 1, "c": 2}], "a": {"f": 1, "e": 2}}) == '{"a":{"e":2,"f":1},"b":[{"c":2,"d":1}]}'
    assert closed_paths({"$ref": "#/odd", "odd": {"properties": [], "anyOf": 3, "items": 7}}) == set()


def test_equal_keys_of_calls_and_refusals_are_no_answer(tmp_path: Path) -> None:
    task = make_task(tmp_path, {"type": "object"}, "tool_call")
    assert task.parse('{"name":"a","name":"b","arguments":{}}').kind == "invalid"
    assert task.parse('{"refusal":"policy","refusal":"policy"}').kind == "invalid"
