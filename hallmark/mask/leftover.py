"""Private values where masking can't reach: in a masked record, in ids, groups and tags, and in what a person wrote for git.

No value is shown: a place is a file, a row, a field and a position in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hallmark.base.document import objects, strings
from hallmark.base.errors import HallmarkError
from hallmark.mask.allowed_places import BLANK, Kept
from hallmark.mask.lexicon import first_names, fold
from hallmark.mask.masking import Drafts, Masker
from hallmark.mask.params import Mask, Ner
from hallmark.mask.second_check import could_be_card, in_words
from hallmark.mask.unmaskable import SHARED

MOST_SHOWN = 20  # places that the error lists
MOST_LEFT = 1000  # places after which the run ends: it is not one value that was forgotten
# A column holds cards if every name in it could be one, or most of many; a counter passes a check digit one time in ten.
FEW, MANY = 6, 20
MOST_NAMES = 1000  # names of a column that are looked at
REMEDIES = {
    "tag": "rename the tag in the data, or drop it",
    "key": "make the key a value in the data, or list it among the properties of task.schema",
    "name": "set data.pseudonyms to keyed, or take another column for it",
    "number": "make the number a text in the data, which can be masked",
    "id of a call": "give calls other ids, or none",
    "value": "take it out of mask.allow, add a rule to mask.patterns or a word to mask.deny, or give the record its value in `private`",
}
KEEP = "if anyone may see values of that kind, give it the action keep in mask.actions"
Names = dict[str, dict[str, bool]]  # by column: names of 13 to 19 digits, and whether each could be a card


@dataclass(frozen=True)
class Left:
    """One private value that is left: where, its kind, and what it stands in (a key of `REMEDIES`)."""

    file: str
    row: int
    field: str
    position: str
    kind: str
    holder: str


def note(names: Names, column: str, new: Iterable[str] | dict[str, bool]) -> None:
    """Remember names of a column that have as many digits as a card."""
    known = names.setdefault(column, {})
    for name in new:
        if len(known) < MOST_NAMES and (could := could_be_card(name)) is not None:
            known[name] = could


def check(left: Collection[Left], names: Names, file: str) -> None:
    """Fail if anything is left, with all places at once; or if a column of names holds payment cards."""
    for column, known in names.items():
        cards = sum(known.values())
        if (len(known) >= FEW and cards == len(known)) or (len(known) >= MANY and 2 * cards > len(known)):
            raise HallmarkError(
                f"{cards} of {len(known)} long numbers have the issuer and the check digit of a payment card",
                file=file, field=column,
                remedy=f"{REMEDIES['name']}; or, if they are none, give CREDIT_CARD the action keep in mask.actions",
            )  # fmt: skip
    if not left:
        return
    places = sorted(dict.fromkeys(left), key=lambda one: (one.file, one.row))
    kinds = Counter(one.kind for one in places)
    lines = [
        f"\n  {one.file}, row {one.row}, field '{one.field}'{', ' * bool(one.position)}{one.position}: {one.kind}"
        for one in places[:MOST_SHOWN]
    ]
    if len(places) > MOST_SHOWN:
        lines.append(f"\n  and {len(places) - MOST_SHOWN} more")
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    holders = {one.holder for one in places}
    raise HallmarkError(
        f"private patterns are left after masking in {len(places)} place{'s' * (len(places) > 1)} ({counts})"
        + "".join(lines),
        file=places[0].file, row=places[0].row, field=places[0].field,
        remedy="; ".join([remedy for holder, remedy in REMEDIES.items() if holder in holders] + [f"or, {KEEP}"]),
    )  # fmt: skip


# --- people in columns of names and in lists of labels

_FULL_NAME = re.compile(r"[^\W\d_]+(?:[ _.,'’-]{1,2}[^\W\d_]+){1,3}\.?")
FEWEST_PEOPLE = 3


def rules_only(mask: Mask) -> Masker:
    """A masker that finds, without NER, what points at one person; its stand-ins are of no use."""
    actions = {kind: action for kind, action in mask.actions.items() if action == "keep"}
    without = {"level": "direct", "ner": Ner(engine="none", model=None), "style": "placeholder", "actions": actions}
    return Masker(mask.model_copy(update=without))


def people(labels: Sequence[str], masker: Masker) -> list[str]:
    """The labels that are a person's name and little else; a single word must be a known given name too."""
    records = [Drafts([], [label.replace("_", " ")]) for label in labels]
    masker.find(records)
    found = []
    for label, record in zip(labels, records, strict=True):
        (text,) = record.texts
        named = sum(span.end - span.start for span in text.spans if span.kind == "PERSON")
        if 2 * named > len(label) and (_FULL_NAME.fullmatch(label) or fold(label) in first_names()):
            found.append(label)
    return found


def check_people(columns: Mapping[str, Collection[str]], mask: Mask, file: str) -> None:
    """Fail if most names in a field, of those looked at, are full names of people."""
    for column, names in columns.items():
        full = [name for name in names if _FULL_NAME.fullmatch(name)]
        if 2 * len(full) <= len(names) or len(full) < FEWEST_PEOPLE:
            continue
        count = len(people(full, rules_only(mask)))
        if count >= FEWEST_PEOPLE and 2 * count > len(names):
            problem = f"{count} of {len(names)} values look like people's names, and are not masked there"
            remedy = f"{REMEDIES['name']}; or, if anyone may see them, list them in mask.allow"
            raise HallmarkError(problem, file=file, field=column, remedy=remedy)


# --- what a person wrote: params and schema


def proves(mask: Mask) -> Callable[[str, Callable[..., list[str]]], set[str]]:
    """What finds the kinds of values in a text that prove themselves, with `residue` or `in_words`, but for what `mask` lets through."""
    kept = Kept(mask.allow_patterns)

    def kinds(text: str, read: Callable[..., list[str]]) -> set[str]:
        shown = kept.blanked(text)
        for word in mask.allow:
            shown = shown.replace(word, BLANK)
        return {kind for kind in read(shown, allow_reserved=True) if mask.actions.get(kind) != "keep"}

    return kinds


def check_written(places: Iterable[tuple[str | Path, Any]], mask: Mask) -> None:
    """Fail if a text or key of these params and files holds a value that proves itself: git takes it as it is."""
    proven = proves(mask)
    for place, document in places:
        if kinds := {kind for text in strings(document, keys=True) for kind in proven(text, in_words)}:
            raise HallmarkError(
                f"holds what looks like private data ({', '.join(sorted(kinds))}), and git and the release have it as it is",
                file=place if isinstance(place, Path) else None,
                param=place if isinstance(place, str) else None,
                remedy=f"take it out; or, if anyone may see it, list it in mask.allow. {KEEP[0].upper()}{KEEP[1:]}",
            )


def private_labels(schema: Any, mask: Mask, share: float) -> list[str]:
    """The kinds of private values in a schema: those that prove themselves, and people where a list has more than this share of them."""
    kinds = {kind for text in strings(schema, keys=True) for kind in in_words(text, allow_reserved=True)}
    masker = rules_only(mask)
    if any(are_people(labels, masker, share) for labels in enums(schema)):
        kinds.add("PERSON")
    return sorted(kind for kind in kinds if mask.actions.get(kind) != "keep")


def enums(document: Any) -> list[list[str]]:
    """The texts of each list of values in a schema."""
    return [list(strings(part["enum"])) for part in objects(document) if isinstance(part.get("enum"), list)]


def names_written(places: Iterable[tuple[str | Path, Any]], mask: Mask) -> Iterator[str]:
    """A warning for each of them that seems to name a person: whether anyone may know, only its writer can say."""
    masker = rules_only(mask)
    for place, document in places:
        labels = {label for listed in enums(document) for label in listed}
        record = Drafts([text for text in strings(document) if text not in labels])
        masker.find([record])
        kinds = {span.kind for text in record.texts for span in text.spans} - SHARED
        if any(are_people(listed, masker) for listed in enums(document)):
            kinds.add("PERSON")
        if kinds:
            yield f"{place} holds what looks like {', '.join(sorted(kinds))}: git and the release have it as you wrote it"


def are_people(labels: Sequence[str], masker: Masker, share: float = 0.5) -> bool:
    """Whether more than this share of the labels look like people's names."""
    return len(labels) > 1 and len(people(labels, masker)) > share * len(labels)
