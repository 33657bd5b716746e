"""The tools that a model may call, in one form, whoever wrote them: that of OpenAI's API, with types as JSON Schema names them.

A prompt shows tools as they are. So rows of data and live requests are both brought into this form when they are read: else
a model would be asked with other bytes than it was trained with. The keys are those that servers write, in their order (vLLM
writes a missing description as null).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

PYTHON_TYPES = {  # what JSON Schema calls them; None: a value of any type, which it says by no type at all
    "dict": "object",
    "list": "array",
    "tuple": "array",
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "any": None,
}
# Keys of a schema under which there are schemas: one or a list of them, and schemas by name.
BELOW = frozenset(
    ("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains", "additionalProperties", "not", "if", "then",
     "unevaluatedProperties", "propertyNames", "else", "anyOf", "oneOf", "allOf", "contentSchema")
)  # fmt: skip
BY_NAME = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"))
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}
ARGUMENTS = ("parameters", "input_schema")  # keys of the arguments' schema: OpenAI's, Anthropic's


def function_of(tool: Any) -> Any:
    """What a tool says of its function: under `function`, or the tool itself."""
    return tool.get("function", tool) if isinstance(tool, dict) else None


def names_of(tools: list[Any]) -> list[str]:
    functions = map(function_of, tools)
    return [str(function["name"]) for function in functions if isinstance(function, dict) and "name" in function]


def normal_tools(tools: list[Any]) -> tuple[list[Any], Counter[str]]:
    """The tools in the one form, and the Python types in them by name. What has no name is no tool, and stays as it is."""
    found: Counter[str] = Counter()
    return [_normal(tool, found) for tool in tools], found


def _normal(tool: Any, found: Counter[str]) -> Any:
    function = function_of(tool)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return tool
    around = (
        {}
        if function is tool
        else {key: value for key, value in tool.items() if key not in ("type", "function") and value is not None}
    )
    arguments = next((function[key] for key in ARGUMENTS if function.get(key) is not None), NO_ARGUMENTS)
    known = {"name": function["name"], "description": function.get("description") or ""}
    known["parameters"] = _read(arguments, found)
    left = {*known, *ARGUMENTS, *(("type",) if function is tool else ())}
    more = {key: value for key, value in function.items() if key not in left and value is not None}
    return {"type": "function", "function": known | more} | around


def normal_schema(schema: Any) -> tuple[Any, Counter[str]]:
    """A JSON Schema with types as JSON Schema names them, and the Python types that it had, by name.

    Keys whose value is null, where that says nothing, are left out: Parquet adds them to every object of a column.
    """
    found: Counter[str] = Counter()
    return _read(schema, found), found


def _read(schema: Any, found: Counter[str]) -> Any:
    if isinstance(schema, list):
        return [_read(part, found) for part in schema]
    if not isinstance(schema, dict):
        return schema
    read: dict[str, Any] = {}
    for key, value in schema.items():
        if value is None and not (key in ("const", "default") and _may_be_null(schema)):
            continue
        if key in BELOW:
            read[key] = _read(value, found)
        elif key in BY_NAME and isinstance(value, dict):
            read[key] = {name: _read(part, found) for name, part in value.items() if part is not None}
        elif key != "type":
            read[key] = value
        elif (types := _types(value, found)) is not None:
            read[key] = types
    return read


def _may_be_null(schema: dict[str, Any]) -> bool:
    types = schema.get("type")
    return types is None or "null" in (types if isinstance(types, list) else [types])


def _types(value: Any, found: Counter[str]) -> Any:
    """The value of `type`; None if there is none to name."""
    names = value if isinstance(value, list) else [value]
    python = [name for name in names if isinstance(name, str) and name in PYTHON_TYPES]
    if not python:
        return value
    found.update(python)
    read = [PYTHON_TYPES[name] if name in python else name for name in names]
    if None in read:
        return None
    return list(dict.fromkeys(read)) if isinstance(value, list) else read[0]


def in_words(found: Counter[str]) -> str:
    """Python types and what they are in JSON Schema, with counts: "3 dict (object), 1 any (no type)"."""
    return ", ".join(f"{count} {name} ({PYTHON_TYPES[name] or 'no type'})" for name, count in sorted(found.items()))
