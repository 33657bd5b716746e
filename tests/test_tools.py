"""Tools and schemas in words of other languages, read as what they mean, and nothing else of them changed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.tools import PYTHON_TYPES, in_words, normal_schema, normal_tools
from hallmark.task.schema import load_schema
from tests.test_files import JSON

ALIKE = {"object": ["dict"], "array": ["list", "tuple"], "string": ["str"], "integer": ["int"], "number": ["float"], "boolean": ["bool"]}  # fmt: skip
NAMES = st.sampled_from(["type", "properties", "items", "enum", "dict", "city"])  # of arguments, some misleading
PLAIN = st.dictionaries(st.sampled_from(["type", "a"]), st.sampled_from(["dict", "float", None]), max_size=2)


@st.composite
def schemas(draw: st.DrawFn, depth: int = 3) -> tuple[dict[str, Any], dict[str, Any], Counter[str]]:
    """A schema with some types as Python names them, what it means, and the Python types in it."""
    written: dict[str, Any] = {}
    meant: dict[str, Any] = {}
    found: Counter[str] = Counter()

    def both(key: str, value: Any) -> None:
        written[key] = meant[key] = value

    def below(add: Any) -> None:
        schema, standard, inner = draw(schemas(depth=depth - 1))
        add(written, schema)
        add(meant, standard)
        found.update(inner)

    standard = draw(st.sampled_from([*ALIKE, "null", None, "several"]))
    if standard == "several":
        both("type", ["string", "null"])
        if draw(st.booleans()):
            written["type"] = ["str", "null"]
            found["str"] += 1
    elif standard is None:
        if draw(st.booleans()):
            written["type"] = "any"
            found["any"] += 1
    else:
        both("type", standard)
        if standard in ALIKE and draw(st.booleans()):
            written["type"] = draw(st.sampled_from(ALIKE[standard]))
            found[written["type"]] += 1
    for key in draw(st.sets(st.sampled_from(["default", "const", "description", "title"]))):
        both(key, draw(PLAIN) if key in ("default", "const") else "dict")
    if draw(st.booleans()):
        both("enum", ["dict", "float", {"type": "any"}])
    if depth and draw(st.booleans()):
        for name in draw(st.sets(NAMES, max_size=2)):
            below(lambda schema, value, name=name: schema.setdefault("properties", {}).update({name: value}))
    if depth and draw(st.booleans()):
        below(lambda schema, value: schema.update(items=value))
    if depth and draw(st.booleans()):
        below(lambda schema, value: schema.update(anyOf=[value, {"type": "null"}]))
    return written, meant, found


@given(made=schemas())
def test_python_types_are_read_as_what_they_mean(made: Any) -> None:
    written, meant, found = made
    read, counted = normal_schema(written)
    assert json.dumps(read) == json.dumps(meant), "and the keys keep their order"
    assert counted == found
    jsonschema_rs.validator_for(read, offline=True)
    assert normal_schema(read) == (read, Counter())


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
