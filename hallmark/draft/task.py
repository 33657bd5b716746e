"""The task that records have: its kind, the schema of its answers, and the system prompt's first line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hallmark.base.reading import NotJsonError, strict_json
from hallmark.draft.script import Taken
from hallmark.mask.leftover import private_labels
from hallmark.mask.params import Mask
from hallmark.records import Record
from hallmark.records.observed import prompt_of
from hallmark.task.kinds import KINDS

MOST_LABELS, MOST_LISTED = 200, 200  # of a classification; fields and tools that a schema lists
MOST = 0.5  # share of labels that look like people's names
Pairs = Sequence[tuple[Any, str]]  # values, each with the prompt of its record


@dataclass
class Drafted:
    """The task of the records."""

    kind: str
    schema: dict[str, Any]
    system_prompt: str


def task_of(records: Sequence[Record], taken: Taken, mask: Mask) -> Drafted:
    """The task that all targets are answers of."""
    pairs = [(_opened(record.target), prompt_of(record).casefold()) for record in records]
    values = [value for value, _ in pairs]
    kind, schema = "text", dict[str, Any]({"type": "string", "minLength": 1})
    if any(values) and all(isinstance(value, list) and all(map(_is_call, value)) for value in values):
        kind, schema = "tool_call", _calls(values, records)
    elif all(isinstance(value, dict | list) for value in values):
        kind, schema = "extraction", schema_of(pairs)
        schema = schema_of(pairs, listed=False) if private_labels(schema, mask, MOST) else schema
    elif _are_labels(labels := Counter(value.strip() for value in values if isinstance(value, str)), MOST_LABELS):
        listed = {"enum": [label for label, _ in labels.most_common()]}
        kind, schema = (kind, schema) if private_labels(listed, mask, MOST) else ("classification", listed)
    said = {_system(record) for record in records}
    prompt = said.pop() if len(said) == 1 else ""
    names = ", ".join(column.leaf for column in taken.columns(taken.answer))
    return Drafted(kind, schema, prompt or KINDS[kind].prompt_hint(names, schema))


def schema_of(pairs: Pairs, *, listed: bool = True) -> dict[str, Any]:
    """A JSON Schema that all values satisfy; it lists texts that recur as labels and don't stand in their prompts."""
    schema: dict[str, Any] = {}
    of_type: dict[type, Pairs] = {
        kind: [pair for pair in pairs if type(pair[0]) is kind] for kind in (dict, list, str, bool, int, float)
    }
    names = [(dict, "object"), (list, "array"), (bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")]
    types = [name for kind, name in names if of_type[kind] and not (kind is int and of_type[float])]
    if objects := of_type[dict]:
        keys = Counter(key for value, _ in objects for key in value)
        if len(keys) <= MOST_LISTED:
            inner = {key: [(value[key], prompt) for value, prompt in objects if key in value] for key in keys}
            required = [key for key, count in keys.items() if count == len(objects)]
            schema = {"additionalProperties": False, "required": required}
            schema["properties"] = {key: schema_of(of, listed=listed) for key, of in inner.items()}
    if of_type[list]:
        items = [(item, prompt) for value, prompt in of_type[list] for item in value]
        schema["items"] = schema_of(items, listed=listed)
    empty = [None] * any(value is None for value, _ in pairs)
    labels = Counter(value for value, _ in of_type[str])
    copied = sum(value.casefold() in prompt for value, prompt in of_type[str])
    if (
        types == ["string"]
        and listed
        and 2 * copied < len(of_type[str])
        and _are_labels(labels, 30)
        and min(labels.values()) > 2
    ):
        return {"enum": [*sorted(labels), *empty]}
    types += ["null"] * len(empty)
    return schema | ({"type": types[0] if len(types) == 1 else types} if types else {})


def _are_labels(labels: Counter[str], most: int) -> bool:
    few = 1 < len(labels) <= min(most, max(8, labels.total() / 5))
    return few and max(map(len, labels)) <= 80 and sum(len(label.split()) for label in labels) <= 5 * len(labels)


def _calls(values: Sequence[Any], records: Sequence[Record]) -> dict[str, Any]:
    names = {call["name"] for value in values for call in value}
    names |= {tool["function"]["name"] for record in records for tool in record.tools or ()}
    name = {"enum": sorted(names)} if len(names) <= MOST_LISTED else {"type": "string", "minLength": 1}
    call = {"type": "object", "required": ["name", "arguments"], "additionalProperties": False}
    return {"type": "array", "items": call | {"properties": {"name": name, "arguments": {"type": "object"}}}}


def _is_call(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"name", "arguments"} and isinstance(value["arguments"], dict)


def _opened(target: Any) -> Any:
    """A target, JSON text as what it says."""
    try:
        return strict_json(target) if isinstance(target, str) and target.lstrip()[:1] in ("{", "[") else target
    except NotJsonError:
        return target


def _system(record: Record) -> str:
    """What the system says in a record; nothing if it is more than one line to start from."""
    first = record.prompt[0] if isinstance(record.prompt, list) else {}
    return (first.get("content") or "") if first.get("role") == "system" else ""
