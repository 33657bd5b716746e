"""The values that a target copies from its input: their fields, those that stay, and what masking does to them."""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from stages.core.document import objects, referred
from stages.core.errors import HallmarkError
from stages.core.reading import NotJsonError, strict_json
from stages.privacy.kept import Place, places
from stages.privacy.masking import Record
from stages.privacy.spans import Draft, Span
from stages.privacy.unmaskable import digits_of
from stages.tasks.kind import Kind
from stages.tasks.task import Task
from stages.tasks.values import closed_paths, properties_of

Counts = Counter[tuple[str, str]]  # by field, and one of OUTCOMES or a kind of private data
COPIED = "copied"
OUTCOMES = ("kept", "replaced", "lost")
MANY = 0.05  # share of a field's values above which the stage says that they are masked
MOST = 10  # fields that it names
UNNAMED = "?"  # a key that the schema doesn't list, which may be private
EXACT = 10**15  # larger numbers are not written with decimals or commas


class Fields:
    """The fields of a task's answers, and those of `mask.keep_targets`. Answers must be JSON.

    A field's name is the dotted path of its keys, without the indices of lists, such as `items.price`.
    """

    def __init__(self, kind: Kind, schema: Any, keep: Sequence[str] = ()) -> None:
        self.kind = kind
        self.keep = tuple(plain(path) for path in keep)
        self.names = {*keys(schema), *(step for path in self.keep for step in path.split("."))}
        self.listed = {plain(path) for path in closed_paths(schema)} if isinstance(schema, dict) else set()

    def kept(self, target: Any) -> list[str]:
        """What the fields of `mask.keep_targets` hold in a target, in every spelling of it."""
        if not self.keep:
            return []
        values = [value for path, value, _ in pairs(target, target) if any(lies_in(path, name) for name in self.keep)]
        return [spelling for value in values for spelling in spellings(value)]

    def copied(self, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
        """Each value that the schema doesn't list, with its field and what it is after masking."""
        for path, value, masked in pairs(before, after):
            if path not in self.listed and not self.kind.is_listed(path):
                yield ".".join(step if step in self.names else UNNAMED for step in path.split(".")), value, masked

    def count(self, before: Any, after: Any, record: Record, masked: Sequence[str], counts: Counts) -> None:
        """Count what became of the values of a target that stand in the first texts of its record.

        `before` and `after` are the target without and with masking, `masked` those first texts after masking.
        """
        values = [
            (field, spellings(old), spellings(new), old, old == new) for field, old, new in self.copied(before, after)
        ]
        drafts = record.texts[: len(masked)]
        stood = [places(draft.text, [text for _, old, *_ in values for text in old]) for draft in drafts]
        untouched = all(not draft.spans and not draft.given for draft in drafts) and all(same for *_, same in values)
        stand = (
            stood
            if untouched
            else [places(text, [new for _, _, news, *_ in values for new in news]) for text in masked]
        )
        for field, old, new, value, same in values:
            found = [
                (draft, place)
                for draft, of in zip(drafts, stood, strict=True)
                for text in old
                for place in of.get(text, ())
            ]
            if not found:
                continue
            counts[field, COPIED] += 1
            stays = any(text in of for of in stand for text in new)
            outcome = "lost" if not stays else "kept" if same else "replaced"
            counts[field, outcome] += 1
            if outcome != "kept":
                kinds = {span.kind for draft, place in found for span in touching(draft, place)}
                counts.update((field, kind) for kind in kinds or kinds_of(value, record.texts[len(masked) :]))


def report(counts: Counts) -> dict[str, Any]:
    """The block `target_values` of `reports/mask.json`: fields that the schema names, and no value."""
    fields: dict[str, Any] = {}
    for field in sorted({field for field, _ in counts}):
        of = {name: count for (other, name), count in sorted(counts.items()) if other == field}
        kinds = {name: count for name, count in of.items() if name not in (COPIED, *OUTCOMES)}
        fields[field] = {name: of.get(name, 0) for name in (COPIED, *OUTCOMES)} | {"kinds": kinds}
    return fields


def advice(counts: Counts, keep: Sequence[str] = ()) -> list[str]:
    """A line for each field of which more than a few values are masked, the most first."""
    fields = report(counts)
    touched = {field: of["replaced"] + of["lost"] for field, of in fields.items()}
    masked = [field for field in fields if touched[field] > MANY * fields[field][COPIED]]
    lines = []
    for field in sorted(masked, key=lambda field: -touched[field])[:MOST]:
        of = fields[field]
        kinds = ", ".join(
            f"{kind} {n}" for kind, n in sorted(of["kinds"].items(), key=lambda item: (-item[1], item[0]))
        )
        lost = f", {of['lost']} of them differently in input and target" if of["lost"] else ""
        named = field.partition(UNNAMED)[0].rstrip(".")
        if any(lies_in(field, plain(path)) for path in keep):
            remedy = "mask.identity_columns goes before mask.keep_targets"
        elif named:
            remedy = f"if they identify no one, set mask.keep_targets: [{', '.join([*keep, named])}]"
        else:
            remedy = "if they identify no one, name the field in task.schema and in mask.keep_targets"
        lines.append(
            f"{touched[field]} of {of[COPIED]} values of '{field}' that the target copies from its input are masked"
            f"{f' ({kinds})' if kinds else ''}{lost}; {remedy}"
        )
    return lines


def check_fields(task: Task, keep: Sequence[str]) -> None:
    """Fail if `mask.keep_targets` names a field that no answer has."""
    if keep and not task.is_json:
        raise HallmarkError(
            f"an answer of task.kind {task.kind} is no JSON and has no fields",
            param="mask.keep_targets",
            remedy="set it to [], or keep words with mask.allow",
        )
    fields, open_fields = known_fields(task.schema or {})
    if task.kind.calls_tools:
        open_fields.add("arguments")  # may be JSON text
    for path in map(plain, keep):
        if path in fields or any(lies_in(path, field) for field in open_fields):
            continue
        similar = difflib.get_close_matches(path, sorted(fields), n=1)
        known = f"did you mean '{similar[0]}'?" if similar else f"its fields: {', '.join(sorted(fields)) or 'none'}"
        raise HallmarkError(
            f"{task.schema_file} has no field '{path}'",
            param="mask.keep_targets",
            remedy=f"fix or remove the name ({known})",
        )


def known_fields(schema: Any) -> tuple[set[str], set[str]]:
    """The fields that a schema names, and those below which it accepts any name ("": everywhere)."""
    fields: set[str] = set()
    open_fields: set[str] = set()

    def walk(part: Any, path: str, seen: tuple[str, ...]) -> None:
        if path:
            fields.add(path)
        if not isinstance(part, dict):
            if part is not False:
                open_fields.add(path)
            return
        options = [option for name in ("anyOf", "oneOf", "allOf") for option in part.get(name) or () if option]
        reference = part.get("$ref")
        if isinstance(reference, str) and reference in seen:
            open_fields.add(path)  # a part that holds itself
        elif isinstance(reference, str):
            options.append(referred(schema, reference))
            seen = (*seen, reference)
        for option in options:
            walk(option, path, seen)
        for name, below in properties_of(part).items():
            walk(below, f"{path}.{name}" if path else name, seen)
        if isinstance(part.get("items"), dict):
            walk(part["items"], path, seen)
        more = part.get("additionalProperties")
        bare = not options and not properties_of(part) and "items" not in part and more is not False
        types = part.get("type", "object")
        if isinstance(more, dict) or "patternProperties" in part or (bare and "object" in types and "enum" not in part):
            open_fields.add(path)

    walk(schema, "", ())
    return fields, open_fields


def plain(path: str) -> str:
    """A field's name without the marks of lists."""
    return path.replace("[]", "").strip(".")


def lies_in(path: str, field: str) -> bool:
    """Whether a path is the field, or lies below it."""
    return not field or path == field or path.startswith(f"{field}.")


def pairs(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each scalar of a document, with its field and what stands there in the masked document."""
    before, after = opened(before), opened(after)
    if isinstance(before, dict):
        for name, item in before.items():
            below = after.get(name) if isinstance(after, dict) else None
            yield from pairs(item, below, f"{path}.{name}" if path else str(name))
    elif isinstance(before, list):
        for number, item in enumerate(before):
            below = after[number] if isinstance(after, list) and number < len(after) else None
            yield from pairs(item, below, path)
    else:
        yield path, before, after


def opened(value: Any) -> Any:
    """The object or list that a text holds as JSON, as the arguments of tool calls may be; else the value."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return strict_json(value)
        except (NotJsonError, RecursionError):
            return value
    return value


def spellings(value: Any) -> list[str]:
    """How a text writes a value: a text as it is, a number with and without decimals and commas. Others have none."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    number = abs(value)
    if number >= EXACT:
        return [str(value)]
    written = [f"{number:.2f}", f"{number:,.2f}"] if round(number, 2) == number else []
    if number == int(number):
        return [f"{int(number)}", f"{int(number):,}", *written]
    return [f"{number}", f"{number:,}", *written]


def touching(draft: Draft, place: Place) -> Iterator[Span]:
    """The masked spans of a text that touch a place in it."""
    spans = sorted(draft.spans, key=lambda span: span.start)
    for span in spans[max(0, bisect_right(spans, place[0], key=lambda span: span.start) - 1) :]:
        if span.start >= place[1]:
            return
        if span.end > place[0]:
            yield span


def kinds_of(value: Any, drafts: Sequence[Draft]) -> set[str]:
    """The kinds of private data found in a value of the target itself."""
    text = value if isinstance(value, str) else digits_of(value)
    return {span.kind for draft in drafts if draft.text == text for span in draft.spans}


def keys(schema: Any) -> Iterator[str]:
    """The keys that a JSON Schema lists."""
    for part in objects(schema):
        properties = part.get("properties")
        yield from properties if isinstance(properties, dict) else ()


def listed(schema: Any) -> Iterator[str]:
    """The texts that a JSON Schema lists as the allowed values of a field."""
    for part in objects(schema):
        enum = part.get("enum")
        values: list[Any] = enum if isinstance(enum, list) else []
        yield from (value for value in [*values, part.get("const")] if isinstance(value, str))
