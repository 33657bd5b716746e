"""What the second check finds in a finished row, where masking can't reach: all of it is counted, and one error lists it.

No value is kept or shown: a place is a file, a row, a field and a position in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hallmark.base.document import keys_of, scalars
from hallmark.base.errors import HallmarkError
from hallmark.mask.second_check import could_be_card, matches, residue
from hallmark.mask.unmaskable import digits_of

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
    "value": "take it out of mask.allow, add a rule to mask.patterns or a word to mask.deny, or name the column in mask.identity_columns",
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


def left_in(value: Any, allow_reserved: bool) -> Iterator[tuple[str, str, str]]:
    """What is left in a masked column: the position, the kind, and what it stands in."""
    if isinstance(value, str):
        for start, _, kind in matches(value, allow_reserved=allow_reserved):
            yield f"character {start + 1} of the masked text", kind, "value"
        return
    for number, item in enumerate(scalars(value), 1):
        for kind in residue(item if isinstance(item, str) else digits_of(item) or "", allow_reserved=allow_reserved):
            yield f"value {number}", kind, "value"
    for number, key in enumerate(keys_of(value), 1):
        for kind in residue(key, allow_reserved=allow_reserved):
            yield f"key {number}", kind, "key"


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
                file=file,
                field=column,
                remedy=f"{REMEDIES['name']}; or, if they are none, give CREDIT_CARD the action keep in mask.actions",
            )
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
        file=places[0].file,
        row=places[0].row,
        field=places[0].field,
        remedy="; ".join([remedy for holder, remedy in REMEDIES.items() if holder in holders] + [f"or, {KEEP}"]),
    )
