"""Tools and schemas in words of other languages, read as what they mean, and nothing else of them changed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given

from hallmark.base.errors import HallmarkError
from hallmark.base.tools import PYTHON_TYPES, in_words, normal_schema, normal_tools
from hallmark.task.schema import load_schema
from tests.test_files import JSON

ALIKE = {"object": ["dict"], "array": ["list", "tuple"], "string": ["str"], "integer": ["int"], "number": ["float"], "boolean": ["bool"]}  # fmt: skip


def test_python_types_are_read_as_what_they_mean() -> None:
    """Also below arguments that are called as a keyword is; values, titles and defaults stay."""

    def schema(dict_: str, str_: str, tuple_: str, more: dict[str, str]) -> dict[str, Any]:
        inner = {
            "type": [str_, "null"],
            "default": {"type": "dict"},
            "title": "dict",
            "enum": ["dict", {"type": "any"}],
        }
        properties = {"type": {"type": str_}, "properties": inner, "city": more | {"const": {"a": "float"}}}
        return {"type": dict_, "properties": properties, "items": {"anyOf": [{"type": tuple_}, {"type": "null"}]}}

    written, meant = schema("dict", "str", "tuple", {"type": "any"}), schema("object", "string", "array", {})
    read, counted = normal_schema(written)
    assert json.dumps(read) == json.dumps(meant), "and the keys keep their order"
    assert counted == Counter(dict=1, str=2, tuple=1, any=1)
    assert normal_schema(read) == (read, Counter())
    jsonschema_rs.validator_for(read, offline=True)
    for standard, names in ALIKE.items():
        assert [normal_schema({"type": name})[0] for name in names] == [{"type": standard}] * len(names)


@given(value=JSON, tool=JSON)
def test_whatever_a_tool_is_it_is_read_once(value: Any, tool: Any) -> None:
    """Also what is no schema and no tool at all: a live request can hold anything."""
    for given_tools in (
        [tool],
        [{"name": "f", "parameters": value}],
        [{"function": {"name": "f", "parameters": value}}],
    ):
        read, _ = normal_tools(given_tools)
        assert normal_tools(read) == (read, Counter())


FULL = {
    "name": "repair",
    "description": "Repairs.",
    "parameters": {"type": "object", "properties": {"a": {"type": "number"}}},
}
FUNCTION = {"type": "function", "function": FULL}


@pytest.mark.parametrize(
    "tool",
    [
        FUNCTION,
        FULL,
        {"name": "repair", "input_schema": FULL["parameters"], "description": "Repairs."},  # Anthropic's
        {"type": "function", **FULL},  # that of OpenAI's Responses
        {"function": {"parameters": {"type": "dict", "properties": {"a": {"type": "float"}}}, "name": "repair", "description": "Repairs."}},
        {"function": FULL | {"parameters": {"type": "object", "required": None, "properties": {"a": {"type": "number"}, "b": None}}}},
    ],
)  # fmt: skip
def test_every_form_of_a_tool_makes_the_same_bytes(tool: Any) -> None:
    assert json.dumps(normal_tools([tool])[0]) == json.dumps([FUNCTION])


def test_a_tool_that_says_little_has_all_keys_and_what_is_more_stays() -> None:
    (tool,), _ = normal_tools([{"function": {"strict": True, "name": "f"}, "cache": 1}])
    parameters = {"type": "object", "properties": {}}
    function = {"name": "f", "description": "", "parameters": parameters, "strict": True}
    assert json.dumps(tool) == json.dumps({"type": "function", "function": function, "cache": 1})


def test_nulls_that_parquet_adds_are_left_out() -> None:
    parameters = {
        "properties": {"a": {"type": "string", "default": None}, "b": {"type": ["string", "null"], "default": None}}
    }
    (tool,), _ = normal_tools([{"function": {"name": "f", "parameters": parameters}, "strict": None}])
    assert list(tool) == ["type", "function"]
    assert tool["function"]["parameters"] == {
        "properties": {"a": {"type": "string"}, "b": {"type": ["string", "null"], "default": None}}
    }


def test_a_schema_of_python_types_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps({"type": "dict", "properties": {str(n): {"type": "float"} for n in range(999)}}))
    with pytest.raises(HallmarkError) as caught:
        load_schema(file)
    assert caught.value.problem == "types that JSON Schema does not know: 1 dict (object), 999 float (number)"
    assert set(PYTHON_TYPES) == {"any", *(name for names in ALIKE.values() for name in names)}
    assert in_words(Counter(["any"])) == "1 any (no type)"


def test_linear_models_read_the_names_of_the_tools_that_a_record_offers() -> None:
    from hallmark.answer.text_model import text_with_tools

    tools = json.dumps(normal_tools([FULL, {"name": "send"}])[0])
    assert text_with_tools("repair it", tools) == "repair it\nrepair\nsend"
    assert text_with_tools("repair it", None) == "repair it"
