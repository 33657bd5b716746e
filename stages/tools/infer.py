"""Guess the task and the JSON Schema from a file's targets, for `python -m stages.tools.propose`."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from stages.privacy import second_check
from stages.tools.profile import Column, canonical_or_text, is_label, parsed_target

MOST_IN_ENUM = 20  # most different values of an enum; a text field with more is free text
DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass
class Inferred:
    """The inferred task: its kind, schema and refusal, and the reason."""

    kind: str
    schema: dict[str, Any]
    refusal: str | None
    why: str


def infer(column: Column) -> Inferred:
    """Kind, schema and refusal from all targets."""
    values = [parsed_target(value) for value in column.given]
    objects = [value for value in values if isinstance(value, dict)]
    lists = [value for value in values if isinstance(value, list)]
    if len(objects) + len(lists) > 0.5 * len(values):
        if all(_is_calls(value) for value in objects + lists):
            return _tool_calls(values)
        return _extraction(values, objects)
    if is_label(column):
        labels = [label for label, _ in sorted(Counter(column.texts).items(), key=lambda item: (-item[1], item[0]))]
        return Inferred("classification", {"enum": labels}, None, f"{len(labels)} labels")
    return Inferred("text", {"type": "string", "minLength": 1}, None, "targets are free text")


def _is_calls(value: Any) -> bool:
    calls = value if isinstance(value, list) else [value]
    return all(isinstance(call, dict) and isinstance(call.get("name"), str) and "arguments" in call for call in calls)


def _tool_calls(values: list[Any]) -> Inferred:
    calls = [
        call for value in values for call in (value if isinstance(value, list) else [value]) if isinstance(call, dict)
    ]
    names = sorted({call["name"] for call in calls if isinstance(call.get("name"), str)})
    texts = {isinstance(call.get("arguments"), str) for call in calls}  # as in OpenAI's API, or objects
    arguments = (
        {"type": "object"} if texts == {False} else {"type": "string" if texts == {True} else ["object", "string"]}
    )
    call = {
        "type": "object",
        "required": ["name", "arguments"],
        "additionalProperties": False,
        "properties": {"name": {"enum": names}, "arguments": arguments},
    }
    schema = {"type": "array", "items": call} if any(isinstance(value, list) for value in values) else call
    return Inferred("tool_call", schema, _constant([v for v in values if isinstance(v, str)]), f"{len(names)} tools")


def _extraction(values: list[Any], objects: list[dict[str, Any]]) -> Inferred:
    shapes = Counter(frozenset(value) for value in objects)
    usual = frozenset(
        key
        for key in {key for value in objects for key in value}
        if sum(key in v for v in objects) > 0.5 * len(objects)
    )
    odd = [value for value in values if not isinstance(value, dict) or 2 * len(usual & value.keys()) < len(usual)]
    refusal = _constant(odd)
    answers = [
        value
        for value in objects
        if refusal is None or canonical_or_text(value) != canonical_or_text(parsed_target(refusal))
    ]
    why = (
        f"objects with {len(shapes)} sets of keys"
        if len(shapes) > 1
        else "every target is an object with the same keys"
    )
    return Inferred("extraction", schema_of(answers), refusal, why)


def _constant(values: list[Any]) -> str | None:
    """The only value, as the exact text of a refusal; None if there is none, or several different ones."""
    texts = {
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for value in values
    }
    return texts.pop() if len(texts) == 1 else None


def schema_of(values: list[Any]) -> dict[str, Any]:
    """A JSON Schema that all the values satisfy."""
    types: list[str] = []
    schema: dict[str, Any] = {}
    kinds: list[tuple[str, type | tuple[type, ...]]] = [
        ("object", dict), ("array", list), ("boolean", bool), ("integer", int), ("number", float), ("string", str),
    ]  # fmt: skip
    for name, kind in kinds:
        some: list[Any] = [
            v for v in values if isinstance(v, kind) and not (name in ("integer", "number") and isinstance(v, bool))
        ]
        if not some:
            continue
        types.append(name)
        if name == "object":
            keys = list(dict.fromkeys(key for value in some for key in value))
            schema["additionalProperties"] = False
            schema["required"] = [key for key in keys if all(key in value for value in some)]
            schema["properties"] = {key: schema_of([value[key] for value in some if key in value]) for key in keys}
        elif name == "array":
            schema["items"] = schema_of([item for value in some for item in value])
        elif name == "string":
            schema |= _of_texts(some)
    if "integer" in types and "number" in types:
        types.remove("integer")
    if "enum" in schema and types == ["string"]:
        return {"enum": [*schema["enum"], *([None] if None in values else [])]}
    if any(value is None for value in values):
        types.append("null")
    if types:
        schema["type"] = types[0] if len(types) == 1 else types
    return schema


def _of_texts(texts: list[str]) -> dict[str, Any]:
    counts = Counter(texts)
    private = any(second_check.residue(text) for text in counts)
    few = len(counts) <= MOST_IN_ENUM and min(counts.values()) >= 3 and len(texts) >= 5 * len(counts)
    if few and not private and max(map(len, counts)) <= 40:
        return {"enum": sorted(counts)}
    return {"format": "date"} if all(DATE.fullmatch(text) for text in texts) else {}
