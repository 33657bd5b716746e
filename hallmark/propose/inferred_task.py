"""Guess the task and the JSON Schema from a file's targets, for `python -m hallmark.commands.propose`."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hallmark.base.document import objects as objects_in
from hallmark.base.tools import normal_schema
from hallmark.data.copied import opened, pairs
from hallmark.data.spans import BY_LABEL, LABELS
from hallmark.mask import second_check
from hallmark.propose.column_words import says
from hallmark.propose.columns import Column, canonical_or_text, mean_words, merged, parameters_of, tools_in

STAND = 0.9  # share of a field's values in the texts from which on it is read off them
MOST_IN_ENUM = 20  # most different values of an enum; a text field with more is free text
MOST_WORDS_IN_ENUM = 3  # of its values, on average: more are a description
NAMED = 10  # functions named in a warning
DATE = re.compile(r"\d{4}-\d\d-\d\d")
OTHERWISE = "; otherwise the schema accepts such objects as answers, and mask stops at such texts"
UNLIKE = f"are unlike the others, and too few are equal to be a refusal: correct them, or leave them out{OTHERWISE}"
NO_CALL = (
    "are words and call no tool: their answer is [], so that a model learns when to call nothing. To leave these rows out, set "
    "data.no_call: missing and data.missing: drop"
)
LEFT_OUT = "are words and call no tool: data.missing: drop leaves these rows out and counts them"
SOME_CALLS = 0.1  # share of the answers that call tools, where there are some
REFUSALS = (5, 0.01)  # fewest equal targets, and their least share of all, that may be a refusal: fewer are odd records


@dataclass
class Inferred:
    """The inferred task: its kind and schema, the reason, what a person should look at, and the refusal."""

    kind: str
    schema: dict[str, Any]
    why: str
    doubts: list[str] = field(default_factory=list)
    refusal: str | None = None
    names: dict[str, str] = field(
        default_factory=dict
    )  # of labels that are codes in the data, or spelled in several ways
    may_call_nothing: bool = False  # some answers are words where others are lists of calls


def infer(
    column: Column,
    tools: Column | None = None,
    *,
    said: bool = False,
    refusal: str | None = None,
    kind: str | None = None,
    names: Mapping[str, str] | None = None,
    held: Collection[str] = (),
) -> Inferred:
    """Kind and schema from all targets but the refusal; ValueError if they can't be of this kind. `said`: the user named them."""
    if refusal is not None:
        column = Column(column.name, [value for value in column.given if not is_refusal(value, refusal)])
    values = [opened(value) for value in column.given]
    documents = [value for value in values if isinstance(value, dict | list)]
    calls = any(documents) and all(map(_is_calls, documents))
    least = SOME_CALLS if calls and tools else 0.5  # an assistant with tools may ask back
    many = len(documents) > least * len(values)
    label = column.is_label(2 if said else 5)
    own = "tool_call" if calls and many else "extraction" if many else "classification" if label else "text"
    possible = {own, "extraction"} if many else {"text", "classification"} if column.all((str, int)) else {"text"}
    if kind is not None and kind not in possible:
        raise ValueError(f"the targets are like those of kind {own}")
    found = {
        "tool_call": lambda: _tool_calls(values, tools),
        "extraction": lambda: _extraction(values, held, column.name),
        "classification": lambda: _classification(column, names or {}),
        "text": lambda: Inferred("text", {"type": "string", "minLength": 1}, "targets are free text"),
    }[kind or own]()
    found.refusal = refusal
    return found


def _classification(column: Column, names: Mapping[str, str]) -> Inferred:
    counts = merged(column.keys)
    labels = [label for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    used = {label: names[label] for label in dict.fromkeys([*labels, *map(str.strip, column.keys)]) if label in names}
    spelled = [*dict.fromkeys(used.get(label, label) for label in labels)]  # 00110 and 110 have one name
    found = Inferred("classification", {"enum": spelled}, f"{len(spelled)} labels")
    found.names = used
    if 2 * len(used) > len(labels):
        found.why += ", whose names are known"
    elif column.form == "number":
        found.why += ", written as numbers"
        said = 'the labels are numbers: write their names, ["first", ...] or {"0": "first", ...}, to a JSON file next to the data, or to '
        found.doubts.append(f"{said}data.labels. A model that answers in numbers learns less from the words of a label")
    for sign in "|;,+":
        parts = {part.strip() for label in labels for part in label.split(sign)}
        if 2 * len(parts) < len(labels):
            said = f"the {len(labels)} labels are combinations of {len(parts)} with '{sign}' between them, and each is a label by itself"
            found.doubts.append(f"{said} here. To train lists, write ; between labels, and take --kind extraction")
    found.doubts += respelled(column.name, sum(bool(key.strip()) for key in column.keys), labels)
    return found


def respelled(name: str, before: int, labels: Sequence[str]) -> list[str]:
    if before == len(labels):
        return []
    said = f"'{name}' has {before} spellings of {len(labels)} labels, which differ only in case, spaces or signs between words. Each label is one "
    return [f"{said}here, and mask writes it as the schema does. If two of them differ, list both in the schema"]


def _respellings(name: str, schema: Mapping[str, Any], values: Sequence[Any]) -> list[str]:
    """What to say of labels that were merged, in fields however deep."""
    listed = [value for value in schema.get("enum", ()) if value is not None]
    doubts = respelled(name, len({value for value in values if isinstance(value, str)}), listed) if listed else []
    for key, part in schema.get("properties", {}).items():
        inner = [value[key] for value in values if isinstance(value, dict) and key in value]
        doubts += _respellings(f"{name}.{key}".lstrip("."), part, inner)
    inner = [item for value in values if isinstance(value, list) for item in value]
    return doubts + (_respellings(f"{name}[]", schema["items"], inner) if inner else [])


def is_refusal(value: Any, refusal: str) -> bool:
    """Whether a target is this refusal; JSON may be written in any way."""
    return canonical_or_text(opened(value)) == canonical_or_text(opened(refusal))


def _is_calls(value: Any) -> bool:
    calls = value if isinstance(value, list) else [value]
    return all(isinstance(call, dict) and isinstance(call.get("name"), str) and "arguments" in call for call in calls)


def _tool_calls(values: list[Any], tools: Column | None) -> Inferred:
    lists = [value if isinstance(value, list) else [value] for value in values]
    calls = [call for value in lists for call in value if isinstance(call, dict)]
    called: dict[str, list[Any]] = defaultdict(list)
    for call in calls:
        called[call["name"]].append(call["arguments"])
    given = _parameters(tools)
    names = sorted(called.keys() | given.keys())
    texts = {isinstance(call.get("arguments"), str) for call in calls}  # as in OpenAI's API, or objects
    call_schema: dict[str, Any] = {
        "type": "object",
        "required": ["name", "arguments"],
        "additionalProperties": False,
        "properties": {"name": {"enum": names}, "arguments": {"type": "object"}},
    }
    doubts: list[str] = []
    if True in texts:
        call_schema["properties"]["arguments"] = {"type": "string" if texts == {True} else ["object", "string"]}
    elif given:
        options, broken = [], []
        for name in names:
            parameters = next((schema for schema in given.get(name, []) if _all_valid(schema, called[name])), None)
            if parameters is None and given.get(name):
                broken.append(name)
            options.append({"properties": {"name": {"const": name}, "arguments": parameters or {"type": "object"}}})
        call_schema["oneOf"] = options
        if broken:
            more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
            said = f"calls of {', '.join(broken[:NAMED])}{more} break the parameters that the data's own tools give"
            doubts.append(f"{said}, so the schema takes any arguments for them: fix the calls or the tools")
    listed = any(isinstance(value, list) for value in values)
    schema = {"type": "array", "items": call_schema} if listed else call_schema
    words = [value for value in values if isinstance(value, str)]
    doubts += _odd(words, len(values), NO_CALL if listed else LEFT_OUT)
    if not given:
        once = sum(len(called[name]) == 1 for name in names)
        said = "no column has the tools (JSON Schemas), so the model is not shown them and can only call what it was trained to call: of "
        said += f"{len(names)} functions, {once} are called once and can't be in both training and the holdout"
        doubts.append(f"{said}. Add such a column, unless the input lists the functions")
    why = f"{len(names)} tools" + (", with the parameters that the data give" if given else "")
    return Inferred("tool_call", schema, why, doubts, may_call_nothing=listed and bool(words))


def _parameters(tools: Column | None) -> dict[str, list[dict[str, Any]]]:
    """The different schemas of each tool's arguments, the most frequent first. Those with references can't be moved."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for value in tools.given if tools else ():
        for tool in tools_in(value):
            schema, _ = normal_schema(parameters_of(tool))
            text = json.dumps(schema, ensure_ascii=False)
            counts[tool["name"]][text if isinstance(schema, dict) and '"$ref"' not in text else "{}"] += 1
    return {name: [made for text, _ in of.most_common() if (made := json.loads(text))] for name, of in counts.items()}


def _all_valid(schema: dict[str, Any], values: list[Any]) -> bool:
    import jsonschema_rs

    try:
        validator = jsonschema_rs.validator_for(schema, offline=True)
        return all(validator.is_valid(value) for value in values)
    except (jsonschema_rs.ValidationError, ValueError):
        return False


def held_by(texts: Sequence[str], answers: Column) -> set[str]:
    """The fields of answers whose texts nearly always stand in the texts of their rows."""
    if answers.form not in ("object", "list"):
        return set()
    stand, count = Counter[str](), Counter[str]()
    for text, answer in list(zip(texts, answers.values, strict=True))[:: 1 + len(texts) // 2_000]:
        for path, value, _ in pairs(answer, None):
            if isinstance(value, str) and value:
                count[path] += 1
                stand[path] += re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None
    return {path for path in count if stand[path] > STAND * count[path]}


def _open(schema: dict[str, Any], held: Collection[str], path: str = "") -> None:
    """Take the lists of values from the fields that are read off a text: the next text has others."""
    if path in held and "enum" in schema:
        schema |= {"type": ["string", "null"] if None in schema.pop("enum") else "string"}
    for key, part in schema.get("properties", {}).items():
        _open(part, held, f"{path}.{key}" if path else key)
    if "items" in schema:
        _open(schema["items"], held, path)


def _extraction(values: list[Any], held: Collection[str], name: str) -> Inferred:
    lists = [value for value in values if isinstance(value, list)]
    objects, of_spans = [value for value in values if isinstance(value, dict)], name.endswith(BY_LABEL)
    if name.endswith(LABELS):
        labels = sorted(merged(Counter(label for value in lists for label in value)))
        return Inferred("extraction", {"type": "array", "items": {"enum": labels}}, f"lists of {len(labels)} labels")
    if len(lists) > len(objects):
        odd = [value for value in values if not isinstance(value, list)]
        _open(schema := schema_of(lists), held)
        return Inferred("extraction", schema, "targets are lists", _odd(odd, len(values)))
    keys = Counter(key for value in objects for key in value)
    usual = {key for key, count in keys.items() if count > 0.5 * len(objects)}
    odd = [value for value in values if not isinstance(value, dict) or 2 * len(usual & value.keys()) < len(usual)]
    shapes = len({frozenset(value) for value in objects})
    why = f"objects with {shapes} sets of keys" if shapes > 1 else "every target is an object with the same keys"
    _open(schema := schema_of(objects), held)
    for part in objects_in(schema) if of_spans else ():  # a new text has other ones, and not all labels
        part |= {"type": "string"} if part.pop("enum", None) else {}
    doubts = _odd([] if of_spans else odd, len(values)) + _respellings("", schema, objects)
    return Inferred("extraction", schema, why, doubts)


def _odd(values: list[Any], rows: int, others: str = UNLIKE) -> list[str]:
    """Ask about targets unlike the others: is the most frequent a refusal? `others`: what to say of those that are too few."""
    counts = Counter(map(canonical_or_text, values))
    text, count = counts.most_common(1)[0] if counts else ("", 0)
    doubts: list[str] = []
    rest = len(values)
    if count >= max(REFUSALS[0], REFUSALS[1] * rows) and not second_check.residue(text):
        rest -= count
        said = f"{count} of {rows} targets are the same and unlike the others. Do they refuse what must not or can't be done? Then add"
        otherwise = {UNLIKE: OTHERWISE, NO_CALL: "; else their answer is [], no call"}.get(others, "")
        doubts.append(f"{said} --refusal {shlex.quote(text)}{otherwise}")
    if rest:
        doubts.append(f"{rest} of {rows} targets {others}")
    return doubts


def schema_of(values: list[Any], field_name: str = "") -> dict[str, Any]:
    """A JSON Schema that all the values satisfy, texts in its lists in any case; `field_name`: where they stand."""
    types: list[str] = []
    schema: dict[str, Any] = {}
    kinds: list[tuple[str, type | tuple[type, ...]]] = [
        ("object", dict), ("array", list), ("boolean", bool), ("integer", int), ("number", float), ("string", str),
    ]  # fmt: skip
    for name, kind in kinds:
        but: type | tuple[type, ...] = bool if name in ("integer", "number") else ()
        some: list[Any] = [value for value in values if isinstance(value, kind) and not isinstance(value, but)]
        if not some:
            continue
        types.append(name)
        if name == "object":
            keys = list(dict.fromkeys(key for value in some for key in value))
            schema["additionalProperties"] = False
            schema["required"] = [key for key in keys if all(key in value for value in some)]
            schema["properties"] = {key: schema_of([value[key] for value in some if key in value], key) for key in keys}
        elif name == "array":
            schema["items"] = schema_of([item for value in some for item in value], field_name)
        elif name == "string":
            schema |= _of_texts(some, field_name)
    if "integer" in types and "number" in types:
        types.remove("integer")
    if "enum" in schema and types == ["string"]:
        return {"enum": [*schema["enum"], *([None] if None in values else [])]}
    schema.pop("enum", None)  # of the texts alone
    if any(value is None for value in values):
        types.append("null")
    if types:
        schema["type"] = types[0] if len(types) == 1 else types
    return schema


def _of_texts(texts: list[str], name: str) -> dict[str, Any]:
    """An enum if the texts are labels: a few, each in several rows, of few words, and not in a field named for free text."""
    counts = merged(Counter(texts))
    few = 0 < len(counts) <= MOST_IN_ENUM and min(counts.values()) >= 3 and len(texts) >= 5 * len(counts)
    short = few and max(map(len, counts)) <= 40 and mean_words(counts) <= MOST_WORDS_IN_ENUM
    prose = says(name, "body") and not says(name, "channel")
    private = short and not prose and any(second_check.residue(text) for text in counts)
    if short and not prose and not private and "" not in map(str.strip, texts):
        return {"enum": sorted(counts)}
    return {"format": "date"} if all(DATE.fullmatch(text) for text in texts) else {}
