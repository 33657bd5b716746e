"""The values that a target copies from its input: their fields, and what masking does to them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.mask.allowed_places import near_places
from hallmark.mask.copies import Spot, Standing
from hallmark.mask.date_values import Reader
from hallmark.mask.kinds import DATES, PLACEHOLDER
from hallmark.mask.masking import Drafts
from hallmark.mask.params import Mask
from hallmark.mask.record import keys
from hallmark.mask.restoring import restore
from hallmark.mask.spans import Draft
from hallmark.mask.surrogates import canonical
from hallmark.mask.unmaskable import digits_of
from hallmark.task.kind import Kind
from hallmark.task.values import closed_paths

FEW = 20  # copied or different values of a field from which something is concluded
MANY = 0.05  # share of a field's values above which the stage says what masking does to them
MOST = 10  # fields that it names
COLLAPSED = 4  # times fewer different values than before
COUNTED = 5_000  # different values of a field that are told apart
UNNAMED = "?"  # a key that the schema doesn't list, which may be private
EXACT = 10**15  # larger numbers are not written with decimals or commas


@dataclass
class Field:
    """What masking did to the values of one field of the targets, in values.

    `copied`: stand in the input before masking. Of these: `kept`, as they are; `replaced`, and the caller gets his own value
    back; `lost`: the masked input does not have the masked value, or what would be given back is another one. `alone`:
    values that stand in no input and were masked all the same. `kinds`: why values were replaced or lost.
    """

    copied: int = 0
    kept: int = 0
    replaced: int = 0
    lost: int = 0
    elsewhere: int = 0
    alone: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    before: set[int] = field(default_factory=set)  # digests of different values
    after: set[int] = field(default_factory=set)
    drawn_before: set[int] = field(default_factory=set)  # of those whose masked value is no placeholder
    drawn_after: set[int] = field(default_factory=set)
    example: str | None = None  # source of the first that is lost

    def add(self, other: Field) -> None:
        """Add another chunk's counts."""
        for name, value in vars(other).items():
            if isinstance(value, set):
                _note(getattr(self, name), value)
            elif isinstance(value, Counter):
                self.kinds.update(value)
            elif name != "example":
                setattr(self, name, getattr(self, name) + value)
        self.example = self.example or other.example

    def over(self, most_lost: float, times: float = 1) -> bool:
        """Whether it loses too many for a model to learn to copy the rest; `times`: in that many times as many rows."""
        return times * self.lost >= FEW and self.lost > most_lost * self.copied

    @property
    def collapsed(self) -> bool:
        """Whether many different values became few that are no placeholders: a model would learn a constant."""
        return len(self.drawn_before) >= FEW and COLLAPSED * len(self.drawn_after) < len(self.drawn_before)

    def report(self) -> dict[str, Any]:
        """The field's block in `reports/mask.json`."""
        return {
            "copied": self.copied,
            "found_after": self.kept + self.replaced,
            "kept": self.kept,
            "replaced": self.replaced,
            "lost": self.lost,
            "not_in_input": {"unchanged": self.elsewhere, "masked": self.alone},
            "different": {"before": len(self.before), "after": len(self.after)},
            "kinds": dict(sorted(self.kinds.items())),
        }


Values = dict[str, Field]


def add(values: Values, other: Values) -> None:
    """Add another chunk's counts."""
    for name, counts in other.items():
        values.setdefault(name, Field()).add(counts)


def _note(known: set[int], new: Iterable[int]) -> None:
    for one in sorted(new):
        if len(known) >= COUNTED:
            return
        known.add(one)


def _digest(value: Any) -> int:
    return int.from_bytes(hashlib.sha256(str(value).encode("utf-8", "surrogatepass")).digest()[:8], "big")


class Fields:
    """The fields of a task's answers, which must be JSON.

    A field's name is the dotted path of its keys, without the indices of lists, such as `items.price`.
    """

    def __init__(self, kind: Kind, schema: Any) -> None:
        self.kind = kind
        self.names = set(keys(schema))
        self.listed = {plain(path) for path in closed_paths(schema)} if isinstance(schema, dict) else set()

    def copied(self, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
        """Each value that the schema doesn't list, with its field and what it is after masking."""
        for path, value, masked in pairs(before, after):
            if path not in self.listed and not self.kind.is_listed(path):
                yield ".".join(step if step in self.names else UNNAMED for step in path.split(".")), value, masked

    def count(
        self,
        targets: tuple[Any, Any],
        record: Drafts,
        masked: Sequence[str],
        dates: Reader,
        source: str,
        *,
        valid: bool = True,
    ) -> Values:
        """What became of the values of a target; those that stand in the first texts of its record are copied.

        `targets` are the target without and with masking, `masked` those first texts after masking, `source` is the record's,
        `valid` whether the schema still accepts the target.
        """
        before, after = targets
        values: Values = {}
        found = [(name, old, new, spellings(old), spellings(new)) for name, old, new in self.copied(before, after)]
        drafts = record.texts[: len(masked)]
        stood = [Standing(draft.text, [text for *_, olds, _ in found for text in olds], dates) for draft in drafts]
        untouched = all(not draft.spans and not draft.given for draft in drafts) and before == after
        stand = (
            stood if untouched else [Standing(text, [t for *_, news in found for t in news], dates) for text in masked]
        )
        for name, old, new, olds, news in found:
            if not olds:
                continue
            of = values.setdefault(name, Field())
            spots = [
                Spot(draft, place)
                for draft, places in zip(drafts, stood, strict=True)
                for text in olds
                for place in places.of(text)
            ]
            if not spots:
                of.elsewhere += old == new
                of.alone += old != new
                continue
            of.copied += 1
            stays = any(places.of(text) for places in stand for text in news)
            same = old == new
            near = all(text in places.near for places in stood for text in olds if places.of(text))
            lost = not stays or (not same and not (valid and _returns(old, new, record, dates, near=near)))
            outcome = "lost" if lost else "kept" if same else "replaced"
            setattr(of, outcome, getattr(of, outcome) + 1)
            if outcome == "lost":
                of.example = of.example or source
            _note(of.before, [_digest(old)])
            _note(of.after, [_digest(new)])
            if old != new and not PLACEHOLDER.search(str(new)):
                _note(of.drawn_before, [_digest(old)])
                _note(of.drawn_after, [_digest(new)])
            if outcome != "kept":
                kinds = {span.kind for spot in spots for span in spot.spans}
                of.kinds.update(kinds or kinds_of(old, record.texts[len(masked) :]))
        return values


def _returns(old: Any, new: Any, record: Drafts, dates: Reader, *, near: bool) -> bool:
    """Whether a caller who is answered with the masked value gets the value itself, but for case and punctuation.

    `near`: or the text's spelling of it, where that differs from the target's by a few letters.
    """
    if not isinstance(new, str):
        return False
    back = restore(new, record.values, dates.day_first)
    return canonical(back) == canonical(str(old)) or (near and bool(near_places(back, str(old))))


def report(values: Values) -> dict[str, Any]:
    """The block `target_values` of `reports/mask.json`: fields that the schema names, and no value."""
    return {name: of.report() for name, of in sorted(values.items()) if of.copied or of.alone}


def _kinds(of: Field) -> str:
    return ", ".join(f"{kind} {n}" for kind, n in sorted(of.kinds.items(), key=lambda item: (-item[1], item[0])))


def remedy(fields: Sequence[Field], actions: Mapping[str, str]) -> str:
    """What keeps the values of all these fields, as params.yaml has it, with the actions that are set."""
    usual = [min(of.kinds, key=lambda kind: (-of.kinds[kind], kind)) for of in fields if of.kinds]
    moved = {kind: "surrogate" for kind in usual if kind in DATES and actions.get(kind) != "surrogate"}
    kept = {kind: "keep" for kind in usual if kind not in moved}
    merged = ", ".join(f"{kind}: {action}" for kind, action in sorted((dict(actions) | kept | moved).items()))
    set_them = f"set mask.actions: {{{merged}}}"
    if not usual:
        return "name the form of the values in mask.allow_patterns"
    if not kept:
        return f"{set_them}, which moves dates and keeps their spelling"
    return f"if such values identify no one, {set_them} or name their form in mask.allow_patterns"


def check(values: Values, mask: Mask, file: str) -> None:
    """Fail if masking takes from a field what a model must learn to copy."""
    for name, of in sorted(values.items(), key=lambda item: -item[1].lost):
        if of.over(mask.max_lost):
            where, _, row = (of.example or f"{file}:").rpartition(":")
            raise HallmarkError(
                f"masking loses {of.lost} of {of.copied} values of '{name}' that targets copy from their input "
                f"({_kinds(of) or 'no kind'}): this row is the first whose masked input no longer says what its target says, or says it "
                "in a spelling that can't be put back",
                file=where,
                row=int(row) if row else None,
                field=name,
                remedy=f"{remedy([of], mask.actions)}; or raise mask.max_lost ({mask.max_lost:g})",
            )
        if of.collapsed:
            raise HallmarkError(
                f"{len(of.drawn_before)} different values of '{name}' become {len(of.drawn_after)}: a model would learn these, and "
                "not to read",
                file=file,
                field=name,
                remedy=remedy([of], mask.actions),
            )


def advice(values: Values, mask: Mask, times: float = 1) -> list[str]:
    """A line on all fields of which more than a few values are lost, and one for each that is masked without an input.

    `times`: how many times as many rows `mask` will see.
    """
    fields = sorted(values.items(), key=lambda item: -item[1].lost)
    lost = [(name, of) for name, of in fields if of.lost > MANY * of.copied]
    lines = []
    if lost:
        stops = "mask will stop: " if any(of.over(mask.max_lost, times) or of.collapsed for _, of in lost) else ""
        counts = [
            f"{of.lost} of {of.copied} values of '{name}' ({_kinds(of) or 'no kind'})" for name, of in lost[:MOST]
        ]
        lines.append(
            f"{stops}values that the target copies from its input are lost in masking, {', '.join(counts)}: "
            f"{remedy([of for _, of in lost], mask.actions)}"
        )
    lines += [
        f"{of.alone} values of '{name}' stand in no input and are masked all the same: the model is taught to make them up"
        for name, of in fields
        if of.alone > MANY * (of.copied + of.elsewhere + of.alone)
    ]
    return lines[:MOST]


def plain(path: str) -> str:
    """A field's name without the marks of lists."""
    return path.replace("[]", "").strip(".")


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


def kinds_of(value: Any, drafts: Sequence[Draft]) -> set[str]:
    """The kinds of private data found in a value of the target itself."""
    text = value if isinstance(value, str) else digits_of(value)
    return {span.kind for draft in drafts if draft.text == text for span in draft.spans}
