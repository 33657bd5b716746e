"""The values in an answer by path, and whether two of them are the same.

An object's leaves have dotted paths; a list is a multiset of items with one path, which ends in `[]`. Null, absent and
empty are all "no value". Key order and the spelling of numbers don't count, strings count after NFC and trimming,
date-times by instant.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from hallmark.base.document import referred
from hallmark.task.answers import Parsed

Values = dict[str, list[Any]]  # by path


@dataclass(frozen=True, slots=True)
class FieldResult:
    """One value of the target, of the prediction, or of both: a match, wrong, missing or spurious."""

    path: str
    target: Any
    prediction: Any
    result: Literal["match", "wrong", "missing", "spurious"]


def key(value: Any, string: Callable[[str], Any] | None = None) -> Any:
    """A hashable key that is equal for equal values: numbers by value, strings as `string` reads them (see `plain`)."""
    if isinstance(value, str):
        return (string or plain)(value)
    if isinstance(value, dict):
        return frozenset([(name, key(item, string)) for name, item in value.items()])
    if isinstance(value, list):
        return tuple([key(item, string) for item in value])
    return (value,) if isinstance(value, bool) else value  # else True would equal 1


def folded(text: str) -> str:
    """A label without what doesn't make it another one: its case, white space, and signs between its words."""
    signs = r"(?<=[^\W\d])[\s/_,.;:-]+(?=\w)|(?<=\w)[\s/_,.;:-]+(?=[^\W\d])|\s+"  # not between two numbers
    return re.sub(signs, " ", text.strip().rstrip(".,;:")).casefold()


def as_listed(value: Any, schema: Any) -> Any:
    """A text in the spelling of the one value that the schema lists and that differs only as `folded` says."""
    listed = schema.get("enum") if isinstance(schema, dict) else None
    if not isinstance(value, str) or not isinstance(listed, list) or value in listed:
        return value
    same = [option for option in listed if isinstance(option, str) and folded(option) == folded(value)]
    return same[0] if len(same) == 1 else value


def same_answer(one: Parsed, other: Parsed) -> bool:
    """Whether two completions that were read say the same."""
    return one is other or (one.kind == other.kind and (one.kind == "refusal" or key(one.value) == key(other.value)))


def plain(text: str) -> Any:
    """A string after NFC and trimming; a date-time as the instant it names."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = text.strip()
    if len(text) > 15 and text[:4].isdigit() and text[4] == "-":
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    return text


def leaves(value: Any) -> Values:
    """The values of a JSON document by path; None and empty containers have none."""
    values: Values = {}
    _gather(value, "", values)
    return values


def _gather(value: Any, path: str, values: Values) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            _gather(item, f"{path}.{name}" if path else name, values)
    elif isinstance(value, list):
        if kept := [item for item in value if item is not None]:
            values.setdefault(f"{path}[]", []).extend(kept)
    elif value is not None:
        values.setdefault(path, []).append(value)


def compare_fields(expected: Values, predicted: Values) -> list[FieldResult]:
    """One result per value, in the order of the paths."""
    results = []
    for path in dict.fromkeys([*expected, *predicted]):
        targets, values = expected.get(path, []), predicted.get(path, [])
        if len(targets) == len(values) == 1 and not path.endswith("[]"):
            same = key(targets[0]) == key(values[0])
            results.append(FieldResult(path, targets[0], values[0], "match" if same else "wrong"))
            continue
        spare = Counter(map(key, values))
        for target in targets:
            name = key(target)
            matched = spare[name] > 0
            spare[name] -= matched
            results.append(FieldResult(path, target, target if matched else None, "match" if matched else "missing"))
        for value in reversed(values):  # of equal values, the last ones are too many
            if spare[name := key(value)] > 0:
                spare[name] -= 1
                results.append(FieldResult(path, None, value, "spurious"))
    return results


def field_counts(fields: Sequence[FieldResult]) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of a record's fields; a wrong value is one of both falses."""
    results = Counter(field.result for field in fields)
    return results["match"], results["wrong"] + results["spurious"], results["wrong"] + results["missing"]


def closed_paths(schema: dict[str, Any]) -> set[str]:
    """The paths (as `leaves` writes them) whose values the schema itself lists: enum, const or boolean."""
    closed: set[str] = set()
    _walk(schema, "", schema, closed, ())
    return closed


def _walk(part: Any, path: str, root: dict[str, Any], closed: set[str], seen: tuple[str, ...]) -> None:
    if not isinstance(part, dict):
        return
    if "enum" in part or "const" in part or part.get("type") == "boolean":
        closed.add(path)
    for branch in ("anyOf", "oneOf", "allOf"):
        options = part.get(branch)
        for option in options if isinstance(options, list) else ():
            _walk(option, path, root, closed, seen)
    for name, below in properties_of(part).items():
        _walk(below, f"{path}.{name}" if path else name, root, closed, seen)
    _walk(part.get("items"), f"{path}[]", root, closed, seen)
    reference = part.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        _walk(referred(root, reference), path, root, closed, (*seen, reference))


def properties_of(schema: Any) -> dict[str, Any]:
    """The schemas of the properties that a schema names; what an unknown keyword holds can have any shape."""
    named = schema.get("properties") if isinstance(schema, dict) else None
    return named if isinstance(named, dict) else {}


def lists_every_value(schema: Any) -> bool:
    """Whether a schema lists every value that it accepts, so that none can be made up."""
    if not isinstance(schema, dict):
        return False
    if "enum" in schema or "const" in schema or schema.get("type") == "boolean":
        return True
    if "patternProperties" in schema or "prefixItems" in schema:
        return False
    if schema.get("type") == "array":
        return lists_every_value(schema.get("items"))
    closed = schema.get("type") == "object" and schema.get("additionalProperties") is False
    return closed and all(lists_every_value(part) for part in properties_of(schema).values())
