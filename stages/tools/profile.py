"""Guess the role of each column of a file, with a reason, for `python -m stages.tools.propose`.

A guess is based on the column's name first and its values second. No reason quotes a value: values may be private.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from stages.core.reading import NotJsonError, strict_json
from stages.privacy import second_check
from stages.tasks.answers import canonical

Rows = list[dict[str, Any]]

HINTS = {
    "id": r"^(?:.*[_.-])?(?:id|uuid|guid|key)$|^(?:ticket|record|row|example)[_-]?(?:id|no|number)$",
    "group": r"customer|client|account|user|member|patient|tenant|compan|firm|organi[sz]ation|conversation|dialog|session|thread"
    r"|document|doc_?id|author|case|group|household|contract|office|branch|team|shop|store|site|school|clinic",
    "target": r"^(?:target|answer|label|labels|intent|category|class|output|completion|response|reply|expected|summary|gold"
    r"|result|reference|chosen|solution|sql|code|json)$",
    "input": r"^(?:text|input|prompt|question|query|instruction|body|message|subject|title|content|description|utterance|email|ticket"
    r"|request|comment|review|note|source)$",
    "context": r"^(?:context|passages?|documents?|retrieved|evidence|history|earlier|knowledge|policy)$",
    "tools": r"^(?:tools|functions|tool_schemas?)$",
    "rejected": r"^rejected$",
    "tags": r"^(?:tags?|channel|language|lang|locale|region|source|split|official_split|difficulty|segment)$",
}
IDENTITY = {  # kind (of stages.privacy.kinds): pattern for the names of such columns
    "EMAIL_ADDRESS": r"mail",
    "PHONE_NUMBER": r"phone|mobile|fax|\btel\b",
    "PERSON": r"(?:^|first|last|full|sur|user|contact|customer|client|patient|agent|employee)[_ -]?name$|^(?:person|agent|employee|sender|recipient|asked_by|requester)$",
    "STREET_ADDRESS": r"^(?:street|.*address(?!.*mail))$",
    "US_SSN": r"\bssn\b|social_security",
    "IBAN_CODE": r"iban",
    "CREDIT_CARD": r"card_?(?:number|no)|credit_?card",
    "IP_ADDRESS": r"^ip(?:_?addr.*)?$",
    "DATE_OF_BIRTH": r"birth|\bdob\b",
}
MAX_LABELS = 200  # most different short texts that count as labels


@dataclass
class Column:
    """One column, with counts of its values."""

    name: str
    values: list[Any] = field(repr=False, default_factory=list)

    def __post_init__(self) -> None:
        self.given = [value for value in self.values if value is not None and value != ""]
        self.texts = [value for value in self.given if isinstance(value, str)]
        self.keys = Counter(value if isinstance(value, str) else canonical_or_text(value) for value in self.given)
        self.distinct = len(self.keys)
        self.empty = len(self.values) - len(self.given)
        self.mean_chars = sum(map(len, self.texts)) / max(len(self.texts), 1)

    def all(self, kind: type | tuple[type, ...]) -> bool:
        """Whether it has values, all of that type."""
        return bool(self.given) and all(isinstance(value, kind) for value in self.given)

    @property
    def unique(self) -> bool:
        """Whether it identifies each row: no value is missing or repeated."""
        return self.all((str, int)) and not self.empty and self.distinct == len(self.values)

    @property
    def repeated(self) -> float:
        """Mean number of rows per value."""
        return len(self.given) / max(self.distinct, 1)

    def named(self, role: str) -> bool:
        """Whether its name is typical for that role."""
        return bool(re.search(HINTS[role], self.name.lower()))


def canonical_or_text(value: Any) -> str:
    """A text for a value of any type (a Parquet date is not JSON)."""
    try:
        return canonical(value)
    except (TypeError, ValueError, RecursionError):
        return str(value)


@dataclass
class Guess:
    """The column for each role, and the reasons."""

    id: str = "row.id"
    group: str = "row.id"
    input: str = ""
    target: str = ""
    context: str | None = None
    tools: str | None = None
    rejected: str | None = None
    tags: str | None = None
    identity: dict[str, str] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)


def guess(columns: dict[str, Column]) -> Guess:
    """Guess which column has which role."""
    roles, left = Guess(), dict(columns)

    def take(role: str, name: str, why: str) -> None:
        setattr(roles, role, name)
        roles.why[role] = why
        left.pop(name, None)

    if "turns.target" in left:
        take("input", "turns.input", "the last thing the user says")
        take("target", "turns.target", "the assistant's last answer")
        if left["turns.earlier"].given:
            take("context", "turns.earlier", f"{len(left['turns.earlier'].given)} rows have earlier turns")
        for name in [*LAYOUT_COLUMNS, "turns.earlier", "turns.system"]:
            left.pop(name, None)

    for name in list(left):
        if kind := identity(left[name]):
            roles.identity[name] = kind
            roles.why[name] = f"by its {'name' if re.search(IDENTITY[kind], name.lower()) else 'values'}"
            left.pop(name)
    for role in ("tools", "rejected"):
        for name in [name for name in left if left[name].named(role) and left[name].given]:
            take(role, name, "by its name")
    if not roles.target:
        name, why = _target(left)
        take("target", name, why)
    _id(left, take)
    _group(left, take)
    if not roles.input:
        _input(left, roles)
    if roles.context is None:
        for name in [name for name in left if left[name].named("context") and left[name].texts][:1]:
            take("context", name, "by its name")
    lists = [name for name in left if left[name].all(list) and all(_is_texts(value) for value in left[name].given)]
    tagging = [name for name in left if left[name].named("tags") and left[name].distinct <= MAX_LABELS]
    for name in ([name for name in lists if left[name].named("tags")] + tagging + lists)[:1]:
        take("tags", name, "short labels; slices of the evaluation")
    roles.unused = list(left)
    return roles


LAYOUT_COLUMNS = ("messages", "conversations")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and len(item) < 60 for item in value)


def identity(column: Column) -> str | None:
    """The kind of private value in a column, by its name or because most of its values have that format; else None."""
    if not column.texts or column.mean_chars > 80:
        return None
    for kind, name in IDENTITY.items():
        if re.search(name, column.name.lower()):
            return kind
    kinds = Counter(kind for text in column.texts[:500] for kind in second_check.residue(text))
    for kind, count in kinds.most_common(1):
        if count > 0.8 * min(len(column.texts), 500) and kind in IDENTITY:
            return kind
    return None


def _target(left: dict[str, Column]) -> tuple[str, str]:
    named = [name for name in left if left[name].named("target") and left[name].given]
    if named:
        order = re.findall(r"\w+", HINTS["target"])
        return min(named, key=lambda name: order.index(name.lower()) if name.lower() in order else 99), "by its name"
    objects = [name for name in left if left[name].all((dict, list)) and any(map(_has_object, left[name].given))]
    if objects:
        return objects[-1], "its values are objects"
    labels = [name for name, column in left.items() if is_label(column) and not column.named("group")]
    if labels:
        return labels[-1], f"{left[labels[-1]].distinct} short texts, each repeated many times: labels"
    texts = [name for name in left if left[name].texts and not left[name].unique]
    return (texts or list(left) or [""])[-1], "the last text column; nothing else looks like an answer"


def _has_object(value: Any) -> bool:
    """Whether the value is an object or a list that contains one."""
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def is_label(column: Column) -> bool:
    """Whether every value of a column is one of a few short texts."""
    return column.all(str) and column.distinct <= MAX_LABELS and column.repeated >= 5 and column.mean_chars <= 60


def _id(left: dict[str, Column], take: Any) -> None:
    unique = [name for name in left if left[name].unique and left[name].mean_chars <= 100]
    unique.sort(key=lambda name: (not left[name].named("id"), left[name].named("input")))
    if unique and (left[unique[0]].named("id") or not left[unique[0]].named("input")):
        take("id", unique[0], "every row has its own value")


def _group(left: dict[str, Column], take: Any) -> None:
    fit = [
        name
        for name, column in left.items()
        if column.all((str, int)) and not column.empty and column.repeated >= 1.2 and column.distinct >= 2
        and column.mean_chars <= 100 and not column.named("tags") and not column.named("input")
    ]  # fmt: skip
    fit.sort(key=lambda name: (not left[name].named("group"), not left[name].named("id"), -left[name].distinct))
    if fit and (left[fit[0]].named("group") or left[fit[0]].named("id")):
        column = left[fit[0]]
        take("group", fit[0], f"by its name; {column.distinct} values, {column.repeated:.1f} rows each")


def _input(left: dict[str, Column], roles: Guess) -> None:
    texts = [name for name in left if left[name].texts and (left[name].named("input") or left[name].mean_chars > 40)]
    texts = [name for name in texts if not left[name].named("context")]
    if not texts:
        texts = sorted((name for name in left if left[name].texts), key=lambda name: -left[name].mean_chars)[:1]
    roles.input = texts[0] if len(texts) == 1 else "\n".join(f"{{{name}}}" for name in texts)
    roles.why["input"] = "by name and length: " + ", ".join(texts) if texts else "no text column is left"
    for name in texts:
        left.pop(name)


def parsed_target(value: Any) -> Any:
    """The value, parsed if it is a text that holds a JSON object or list."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return strict_json(value)
        except NotJsonError:
            return value
    return value
