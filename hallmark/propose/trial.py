"""Mask a sample of a file's rows, to see what masking takes from the targets, for `python -m hallmark.commands.propose`."""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any

from hallmark.base.errors import HallmarkError, printable
from hallmark.base.params import Data
from hallmark.base.records import columns_of
from hallmark.data.copied import MANY, Field, advice, pairs, spellings
from hallmark.data.raw import Raw, Values, identities
from hallmark.data.recording import Recorder, Written, masked_schema
from hallmark.mask.date_values import Reader
from hallmark.mask.dates import DATE
from hallmark.mask.kinds import DATES, PLACEHOLDER, short
from hallmark.mask.params import Mask, Ner
from hallmark.propose.column_words import ENTITIES, says
from hallmark.propose.columns import SHAPES
from hallmark.propose.proposal import Proposal
from hallmark.propose.roles import IDENTITY
from hallmark.task.kinds import KINDS
from hallmark.task.params import Task as TaskParams

ROWS = 300  # masked, at most
CHARS = 100_000  # of their inputs, at most: some seconds with a small NER model
CHUNK = 16  # rows masked together
MOST_FIELDS = 12  # of the targets, shown
AROUND = 30  # characters shown on each side of a placeholder
FEW = 5  # different values, or copies, from which nothing is concluded yet
MOST_COPIED = 0.8  # share of the numbers of one form that must stand in the input
ENOUGH = 20  # values of a field from which it is said what copying can't give
COPIES = 0.5  # share of a field's values that stand in the input, from which on the field is one that is copied
ABSENT = 0.02  # share of a copied field's values that stand in no input, above which there is a warning
# Kinds whose values mostly point at no one: they are kept where a field loses its values for them. Others are left to the user.
OF_NO_ONE = frozenset(("LOCATION", "MISC", "ORGANIZATION", "TITLE"))
# A word that might be a value which masking has missed: an example shows none.
_ODD = re.compile(r".*[\d_@\\/].*", re.DOTALL)
# Letters that are the same in all of them, then digits: an order, a product, a ticket. A user's or patient's number may look
# like it, and is told by the name of its field.
_CODE = re.compile(r"(?<![^\W_])([A-Z]{1,6}[-/_.#]?)(\d{3,12})(?![^\W_])")
_OF_PEOPLE = re.compile("|".join(IDENTITY.values()), re.IGNORECASE)


@dataclass
class Trial:
    mask: Mask
    searched_by: str = "nothing"
    rows: int = 0
    written: Written = field(default_factory=Written)
    stops: str | None = None  # the first error of a row
    masked: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)  # records, by id
    examples: dict[str, str] = field(default_factory=dict)  # placeholder, without its number: where one stands

    def show(self, row: dict[str, Any]) -> None:
        """Note a place in the masked texts of a record for each kind that has none yet."""
        for text in (row["prompt"][-1]["content"], row["completion"][-1]["content"]):
            for match in PLACEHOLDER.finditer(text):
                start, end = max(0, match.start() - AROUND), match.end() + AROUND
                cut = ("..." if start else "", "..." if end < len(text) else "")
                near = text[start:end].split()
                words = " ".join(word if PLACEHOLDER.search(word) else _ODD.sub("#", word) for word in near)
                self.examples.setdefault(match[0][1:].rsplit("_", 1)[0], printable(f"{cut[0]}{words}{cut[1]}"))

    def lines(self) -> Iterator[str]:
        """What was masked, and where the values of the targets' fields stand before and after."""
        if self.rows:
            spans = f"{self.written.total:,} spans in {self.written.touched:,} of the {self.rows:,} rows masked"
            yield f"  private   {spans}, found by {self.searched_by}"
        kinds: Counter[str] = Counter()
        for (kind, _), count in sorted(self.written.kinds.items()):
            kinds[kind] += count
        for kind, count in kinds.most_common():
            example = self.examples.get(short(kind))
            yield f"            {kind} {count:,}{f': {example}' if example else ''}"
        for number, (name, of) in enumerate(sorted(self.written.values.items())[:MOST_FIELDS]):
            said = f"  {'' if number else 'targets':<9} {name}: {of.copied:,} values are in the input, {of.kept + of.replaced:,} after masking "
            yield f"{said}({len(of.before):,} different, {len(of.after):,} after); {of.elsewhere + of.alone:,} are in no input"


def try_masking(proposal: Proposal, rows: list[Raw], data: Data, mask: Mask, task: TaskParams) -> Trial:
    """Mask some of the rows, propose what masking must leave or move, and mask them again so."""
    patterns = allow_patterns(rows, str(data.target), task.kind)
    proposal.set("mask", "allow_patterns", list(patterns), "; ".join(patterns.values()))
    # A surrogate needs a key, unless it is a date's.
    actions = {kind: action for kind, action in mask.actions.items() if action != "surrogate" or kind in DATES}
    changes: dict[str, Any] = {"style": "placeholder", "allow": [], "allow_patterns": [*patterns]}
    if order := day_first(rows):
        proposal.set("mask", "day_first", *order)
        changes["day_first"] = order[0]

    def again(found: dict[str, str], rows: list[Raw] = rows, *, strict: bool = True) -> Trial:
        return attempt(rows, data, mask.model_copy(update=changes | {"actions": actions | found}), task, strict=strict)

    tried = again({}, strict=False)
    if measures := measured(rows, {name for name, of in tried.written.values.items() if of.lost or of.replaced}):
        patterns |= measures
        changes["allow_patterns"] = [*patterns]
        proposal.set("mask", "allow_patterns", [*patterns], "; ".join(patterns.values()))
        tried = again({}, strict=False)
    found, reasons = chosen(tried.written.values, 1 if tried.written.invalid else FEW)
    if found or tried.written.invalid:
        tried = again(found)
    if few := {kind for of in tried.written.values.values() if of.collapsed for kind in of.kinds} & found.keys():
        found = {kind: action for kind, action in found.items() if kind not in few}
        tried = again(found)
    if tried.stops and data.tags:  # tags are never masked: a private value in them stops mask
        other = again(found, [replace(raw, tags=None) for raw in rows])
        if not other.stops:
            tried = other
            proposal.set("data", "tags", None, f"masking would stop at private values in '{data.tags}'")
            proposal.roles.tags = None
    if found:
        proposal.set("mask", "actions", mask.actions | found, "; ".join(reasons))
    times = len(proposal.rows) / max(1, tried.rows)
    room = 1.1 if times <= 1 else 1.5  # the other rows may lose more
    if over := {name: of for name, of in tried.written.values.items() if of.over(1.1 / room * mask.max_lost, times)}:
        most = max(of.lost / of.copied for of in over.values())
        why = ", ".join(f"{of.lost} of {of.copied} values of '{name}'" for name, of in over.items())
        most = min(1.0, math.ceil(100 * room * most) / 100)
        proposal.set("mask", "max_lost", most, f"otherwise mask stops: {why} stay masked, and no model can give them")
        tried.mask = tried.mask.model_copy(update={"max_lost": most})
        kinds = {kind for of in over.values() for kind in of.kinds}
        proposal.keep = (why, mask.actions | found | dict.fromkeys(sorted(kinds), "keep"))
    proposal.tried += tried.lines()
    if tried.stops:
        proposal.warnings.append(f"mask will stop: {tried.stops}")
    if tried.written.total:
        shown = f"{shlex.quote(str(proposal.file))} --field {shlex.quote(columns_of(proposal.roles.input)[0])}"
        names = "" if proposal.roles.identity else ", and name columns of names in mask.identity_columns"
        said = f"private data in {tried.written.touched} of {tried.rows} rows: mask replaces it; see how with "
        proposal.warnings.append(f"{said}`python -m hallmark.commands.preview {shown}`{names}")
    proposal.warnings += advice(tried.written.values, tried.mask, times)
    proposal.warnings += absent(tried.written.values, spread(rows))
    return tried


def attempt(rows: list[Raw], data: Data, mask: Mask, params: TaskParams, *, strict: bool = True) -> Trial:
    """Mask some of the rows, and note the first error of those that `mask` refuses."""
    tried = Trial(mask)
    try:
        recorder, tried.searched_by = loaded(data, params, mask, strict=strict)
        recorder.fields.names |= usual_keys(rows)  # of a call's arguments, say
        raws = spread(rows)
        known, _ = identities(raws, mask)
        for first in range(0, len(raws), CHUNK):
            chunk = [(raw, known.get(raw.group, ())) for raw in raws[first : first + CHUNK]]
            record(recorder, chunk, tried)
        tried.written.check(data.path)
    except HallmarkError as error:  # of the schema, say
        tried.stops = tried.stops or in_a_line(error)
    tried.stops = tried.stops and tried.stops.replace(str(params.schema_file), "the proposed schema")
    return tried


def record(recorder: Recorder, chunk: list[tuple[Raw, Values]], tried: Trial) -> None:
    """Mask a chunk and count it; if `mask` refuses a row of it, row by row."""
    try:
        masked, written = recorder.records(chunk)
    except HallmarkError as error:
        if len(chunk) == 1:
            tried.stops = tried.stops or in_a_line(error)
        else:
            for one in chunk:
                record(recorder, [one], tried)
        return
    tried.written.add(written)
    tried.rows += len(chunk)
    for values in masked:
        row = dict(zip(masked_schema(), values, strict=True))
        tried.masked[row["id"]] = row
        tried.show(row)


def absent(values: dict[str, Field], rows: list[Raw]) -> Iterator[str]:
    """A warning for each copied field of which some values stand in no input; single characters stand in all."""
    paths = [(path, spellings(value)) for raw in rows for path, value, _ in pairs(raw.target, None)]
    single = Counter(path for path, spelled in paths if 1 in map(len, spelled))
    for name, of in sorted(values.items()):
        missing = max(0, of.elsewhere + of.alone - single[name])
        count = of.copied + missing
        if count >= ENOUGH and of.copied >= COPIES * count and missing > ABSENT * count:
            said = f"copying can't give every answer: {missing} of {count} values of '{name}' are in no input"
            yield f"{said}. Read some: labels may correct errors of the input, or be wrong"


def in_a_line(error: HallmarkError) -> str:
    return str(error).replace("\n  remedy: ", "; to fix it: ").replace("\n  ", "; ")


def chosen(values: dict[str, Field], few: int) -> tuple[dict[str, str], list[str]]:
    """The actions for kinds whose values masking takes from the targets, and why: dates move, what points at no one stays."""
    lost = {name: of for name, of in values.items() if of.lost >= (max(few, MANY * of.copied) if few > 1 else 1)}
    # Next to the name of an organisation, and where no field holds a person's, an address is the organisation's.
    organised = any(_mostly(of, {"ORGANIZATION"}) for of in values.values())
    organised = organised and not any(_mostly(of, {"PERSON"}) for of in values.values())
    of_no_one = OF_NO_ONE | ({"STREET_ADDRESS", "ZIP_CODE"} if organised else set())
    actions: dict[str, str] = {}
    reasons = []
    for name, of in lost.items():
        kinds = [kind for kind in of.kinds if kind in DATES | of_no_one]
        if kinds and _mostly(of, set(kinds)):
            actions |= {kind: "surrogate" if kind in DATES else "keep" for kind in kinds}
            counts = ", ".join(f"{kind} {count}" for kind, count in sorted(of.kinds.items()))
            reasons.append(f"else {of.lost} of {of.copied} copied values of '{name}' are lost ({counts})")
    return dict(sorted(actions.items())), reasons


def _mostly(of: Field, kinds: AbstractSet[str]) -> bool:
    return 2 * sum(count for kind, count in of.kinds.items() if kind in kinds) > sum(of.kinds.values())


def day_first(rows: list[Raw]) -> tuple[bool, str] | None:
    """How the inputs write dates in numbers, by those that can be read in one way only or that the target has too."""
    votes: Counter[bool] = Counter()
    month_first, day_first = Reader(day_first=False), Reader(day_first=True)
    for raw in rows:
        texts = [value for _, value, _ in pairs(raw.target, None) if isinstance(value, str)]
        wanted = {day for text in texts if (day := month_first.read(text))}
        for match in DATE.finditer(raw.input):
            if not (match["s2"] or match["s3"]) or "." in match[0]:
                continue
            first, last = month_first.read(match[0]), day_first.read(match[0])
            if first == last and first is not None and first.day == first.month:
                continue  # 05/05/2007 says nothing
            votes[True] += bool(match["s3"]) if first == last else last in wanted
            votes[False] += bool(match["s2"]) if first == last else first in wanted
    if votes[True] == votes[False]:
        return None
    order = votes[True] > votes[False]
    part = "day" if order else "month"
    return order, f"{votes[order]} dates in numbers have the {part} first, {votes[not order]} don't"


def loaded(data: Data, task: TaskParams, mask: Mask, *, strict: bool) -> tuple[Recorder, str]:
    """A recorder with the NER model of the params, or with rules alone if it is slow or not installed, and which it is."""
    if mask.ner.engine == "spacy":
        recorder = Recorder(data, task, mask, None, None, strict=strict)
        try:
            recorder.masker.load()
        except HallmarkError:
            pass
        else:
            return recorder, f"rules and {mask.ner.model}"
    rules = mask.model_copy(update={"ner": Ner(engine="none", model=None)})
    return Recorder(data, task, rules, None, None, strict=strict), "rules alone"


def spread(rows: list[Raw]) -> list[Raw]:
    taken: list[Raw] = []
    chars = 0
    for raw in rows[:: max(1, -(-len(rows) // ROWS))]:
        if chars < CHARS:
            taken.append(raw)
            chars += len(raw.input) + len(raw.context or "")
    return taken


def allow_patterns(rows: list[Raw], target: str, kind: str) -> dict[str, str]:
    """Patterns, with reasons, for numbers of one form (`NL-20931`) that targets copy; none for fields named after people."""
    if KINDS[kind].listed:
        return {}
    copies: dict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for raw in rows:
        inputs = {match[0] for match in _CODE.finditer(f"{raw.input}\n{raw.context or ''}")}
        for path, value, _ in pairs(raw.target, None):
            name = path or target
            if not isinstance(value, str) or _OF_PEOPLE.search(name) or any(says(name, of) for of in ENTITIES):
                continue
            for match in _CODE.finditer(value):
                total[match[1]] += 1
                copies[match[1]][match[0]] += match[0] in inputs
    patterns = {}
    for prefix, counts in sorted(copies.items()):
        found, copied = +counts, counts.total()
        if len(found) < FEW or copied < MOST_COPIED * total[prefix]:
            continue
        lengths = sorted({len(code) - len(prefix) for code in found})
        digits = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]},{lengths[-1]}"
        reason = f"{copied} numbers of this form are copied by targets, {len(found)} of them different"
        patterns[prefix.replace(".", r"\.") + rf"\d{{{digits}}}"] = reason
    return patterns


def measured(rows: list[Raw], names: AbstractSet[str]) -> dict[str, str]:
    """A pattern for the numbers with a unit that targets copy to some fields, if most of these fields' values have one."""
    number, count = r"\d{1,7}(?:[.,]\d{1,3})*", Counter[str]()
    units: dict[str, Counter[str]] = defaultdict(Counter)
    for raw in rows:
        for name, value, _ in pairs(raw.target, None):
            written = "|".join(map(re.escape, spellings(value))) if name in names else ""
            if re.match(number, written) and (at := re.search(rf"(?<!\w)(?:{written})(?!\d)", raw.input)):
                count[name] += 1
                if unit := re.match(rf"({number}) ?({SHAPES['unit']})(?!\w)", raw.input[at.start() :]):
                    units[name][unit[2]] += 1
    held = [of for name, of in units.items() if FEW <= of.total() >= MOST_COPIED * count[name]]
    if not (all_units := sum(held, Counter[str]())):
        return {}
    words = "|".join(re.escape(unit).replace(r"\ ", " ") for unit in sorted(all_units))
    return {rf"{number} ?(?:{words})(?!\w)": f"{all_units.total()} numbers with these units are copied by targets"}


def usual_keys(rows: list[Raw]) -> set[str]:
    """The keys of many targets: they are names of fields, not values."""
    paths = [[path for path, *_ in pairs(raw.target, None)] for raw in rows]
    keys = Counter(key for of in paths for key in {key for path in of for key in path.split(".")})
    return {key for key, count in keys.items() if count >= max(FEW, MANY * len(rows))}
