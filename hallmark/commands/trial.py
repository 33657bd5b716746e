"""Mask a sample of a file's rows, to see what masking takes from the targets, for `python -m hallmark.commands.propose`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from hallmark.base.errors import HallmarkError, printable
from hallmark.base.params import Data
from hallmark.base.records import fill
from hallmark.commands.column_roles import IDENTITY
from hallmark.commands.dry_run_rows import Sample, told
from hallmark.commands.naming import ENTITIES, says
from hallmark.commands.profile import Rows
from hallmark.data.copied import MANY, Field, advice, pairs
from hallmark.data.raw import Raw, Values, identities
from hallmark.data.recording import Recorder, Written, masked_schema
from hallmark.mask.date_values import Reader
from hallmark.mask.dates import DATE
from hallmark.mask.kinds import DATES, PLACEHOLDER
from hallmark.mask.params import Mask, Ner
from hallmark.task.kinds import KINDS
from hallmark.task.params import Task as TaskParams

ROWS = 300  # masked, at most
CHARS = 100_000  # of their inputs, at most: some seconds with a small NER model
CHUNK = 16  # rows masked together
AROUND = 30  # characters shown on each side of a placeholder
FEW = 5  # different values, or copies, from which nothing is concluded yet
MOST_COPIED = 0.8  # share of the numbers of one form that must stand in the input
# Kinds whose values mostly point at no one: they are kept where a field loses its values for them. Others are left to the user.
OF_NO_ONE = frozenset(("LOCATION", "MISC", "ORGANIZATION", "TITLE"))
# Letters that are the same in all of them, then digits: an order, a product, a ticket. A user's or patient's number may look
# like it, and is told by the name of its field.
_ODD = re.compile(
    r".*[\d_@\\/].*", re.DOTALL
)  # a word that might be a value which masking has missed: an example shows none
_CODE = re.compile(r"(?<![^\W_])([A-Z]{1,6}[-/_.#]?)(\d{3,12})(?![^\W_])")
_OF_PEOPLE = re.compile("|".join(IDENTITY.values()), re.IGNORECASE)


@dataclass
class Trial:
    """What masking a sample did, and the params that follow from it, each with its reason."""

    searched_by: str = "nothing"
    rows: int = 0
    written: Written = field(default_factory=Written)
    stops: str | None = None  # the first error of a row
    actions: dict[str, str] = field(default_factory=dict)  # by kind
    reasons: list[str] = field(default_factory=list)  # of the actions
    mask: Mask | None = None  # as it was tried
    of: int = 0  # rows of the file
    day_first: tuple[bool, str] | None = None  # and why
    allow_patterns: dict[str, str] = field(default_factory=dict)
    masked: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)  # records, by id
    examples: dict[str, str] = field(default_factory=dict)  # placeholder, without its number: where one stands

    @property
    def kinds(self) -> dict[str, int]:
        """How many spans of each kind were masked."""
        kinds: Counter[str] = Counter()
        for (kind, _), count in self.written.kinds.items():
            kinds[kind] += count
        return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))

    def show(self, row: dict[str, Any]) -> None:
        """Note a place in the masked texts of a record for each kind that has none yet."""
        for text in (row["prompt"][-1]["content"], row["completion"][-1]["content"]):
            for match in PLACEHOLDER.finditer(text):
                start, end = max(0, match.start() - AROUND), match.end() + AROUND
                cut = ("..." if start else "", "..." if end < len(text) else "")
                words = " ".join(
                    word if PLACEHOLDER.search(word) else _ODD.sub("#", word) for word in text[start:end].split()
                )
                self.examples.setdefault(match[0][1:].rsplit("_", 1)[0], printable(f"{cut[0]}{words}{cut[1]}"))

    def warnings(self) -> list[str]:
        """What the user should look at."""
        warned = [f"mask will stop: {self.stops}"] if self.stops else []
        if self.written.total:
            warned.append(
                f"private data in {self.written.touched} of {self.rows} rows: mask replaces it; see how with "
                "`python -m hallmark.commands.preview FILE --field COLUMN`, and name columns of names in mask.identity_columns"
            )
        return warned + (advice(self.written.values, self.mask, self.of / max(1, self.rows)) if self.mask else [])

    def fields(self) -> list[str]:
        """A line for each field of the targets: where its values stand before and after masking."""
        return [
            f"{name}: {of.copied:,} values stand in the input, {of.kept + of.replaced:,} after masking ({len(of.before):,} "
            f"different, {len(of.after):,} after); {of.elsewhere + of.alone:,} stand in none"
            for name, of in sorted(self.written.values.items())
        ]


def trial(sample: Sample, data: Data, mask: Mask, params: TaskParams) -> Trial:
    """Mask some rows of the sample, choose what masking must leave or move, and mask them again so."""
    order = day_first(sample.rows)
    actions = {
        kind: action for kind, action in mask.actions.items() if action != "surrogate" or kind in DATES
    }  # no key
    changes: dict[str, Any] = {"style": "placeholder", "actions": actions, "allow": []}
    patterns = allow_patterns(sample.columns, data, params.kind)
    changes |= {"allow_patterns": list(patterns), "day_first": order[0] if order else mask.day_first}
    tried = attempt(sample, data, mask.model_copy(update=changes), params, strict=False)
    found, reasons = chosen(tried.written.values)
    if found or tried.written.invalid:
        tried = attempt(sample, data, mask.model_copy(update=changes | {"actions": actions | found}), params)
    tried.actions, tried.reasons, tried.allow_patterns, tried.day_first = found, reasons, patterns, order
    return tried


def attempt(sample: Sample, data: Data, mask: Mask, params: TaskParams, *, strict: bool = True) -> Trial:
    """Mask some rows of the sample."""
    tried = Trial(stops=sample.stops, mask=mask, of=sample.of)
    try:
        recorder, tried.searched_by = loaded(data, params, mask, strict=strict)
        recorder.fields.names |= usual_keys(sample.columns, data)  # of a call's arguments, say
        raws = spread(sample.rows)
        known, _ = identities(raws, mask)
        for first in range(0, len(raws), CHUNK):
            chunk = [(raw, known.get(raw.group, ())) for raw in raws[first : first + CHUNK]]
            record(recorder, chunk, tried)
        tried.written.check(data.path)
    except HallmarkError as error:  # of the schema, say
        tried.stops = tried.stops or told(error)
    tried.stops = tried.stops and tried.stops.replace(str(params.schema_file), "the proposed schema")
    return tried


def chosen(values: dict[str, Field]) -> tuple[dict[str, str], list[str]]:
    """The actions for kinds whose values masking takes from the targets, and why: dates move, what points at no one stays."""
    lost = {name: of for name, of in values.items() if of.lost >= max(FEW, MANY * of.copied)}
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
    """Whether more than half of what was masked of a field is of these kinds."""
    return 2 * sum(count for kind, count in of.kinds.items() if kind in kinds) > sum(of.kinds.values())


def day_first(rows: list[Raw]) -> tuple[bool, str] | None:
    """How the inputs write dates in numbers, by those that can be read in one way only or that the target has too."""
    votes: Counter[bool] = Counter()
    month_first, day_first = Reader(day_first=False), Reader(day_first=True)
    for raw in rows:
        wanted = {
            day
            for _, value, _ in pairs(raw.target, None)
            if isinstance(value, str) and (day := month_first.read(value))
        }
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
    return (
        order,
        f"{votes[order]} dates in numbers have the {'day' if order else 'month'} first, {votes[not order]} have not",
    )


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
    """Some of the rows, from all over the sample."""
    taken: list[Raw] = []
    chars = 0
    for raw in rows[:: max(1, -(-len(rows) // ROWS))]:
        if chars < CHARS:
            taken.append(raw)
            chars += len(raw.input) + len(raw.context or "")
    return taken


def record(recorder: Recorder, chunk: list[tuple[Raw, Values]], tried: Trial) -> None:
    """Count a chunk; of one with a row that `mask` refuses, the other rows."""
    try:
        masked, written = recorder.records(chunk)
        tried.written.add(written)
        tried.rows += len(chunk)
        for values in masked:
            row = dict(zip(masked_schema(), values, strict=True))
            tried.masked[row["id"]] = row
            tried.show(row)
    except HallmarkError as error:
        if len(chunk) == 1:
            tried.stops = tried.stops or told(error)
        else:
            for one in chunk:
                record(recorder, [one], tried)


def allow_patterns(rows: Rows, data: Data, kind: str) -> dict[str, str]:
    """Patterns for numbers of one form that targets copy from their input, such as `NL-20931`, each with its reason."""
    if KINDS[kind].listed:
        return {}
    copies: dict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for row in rows:
        texts = [fill(template, row) for template in (data.input, data.context) if template]
        inputs = {match[0] for text in texts for match in _CODE.finditer(text)}
        for prefix, code in codes(row, data):
            total[prefix] += 1
            if code in inputs:
                copies[prefix][code] += 1
    patterns = {}
    for prefix, found in sorted(copies.items()):
        lengths = sorted({len(code) - len(prefix) for code in found})
        copied = found.total()
        if len(found) < FEW or copied < MOST_COPIED * total[prefix]:
            continue
        digits = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]},{lengths[-1]}"
        reason = f"{copied} numbers of this form are copied by targets, {len(found)} of them different"
        patterns[prefix.replace(".", r"\.") + rf"\d{{{digits}}}"] = reason
    return patterns


def usual_keys(rows: Rows, data: Data) -> set[str]:
    """The keys of many targets: they are names of fields, not values."""
    keys = Counter(key for row in rows for key in {key for path, _ in scalars(row, data) for key in path.split(".")})
    return {key for key, count in keys.items() if count >= max(FEW, MANY * len(rows))}


def scalars(row: dict[str, Any], data: Data) -> Iterator[tuple[str, Any]]:
    """The values in a row's target, with their fields."""
    for column in data.target if isinstance(data.target, list) else [data.target]:
        for path, value, _ in pairs(row.get(column), None, column if isinstance(data.target, list) else ""):
            yield path, value


def codes(row: dict[str, Any], data: Data) -> Iterator[tuple[str, str]]:
    """The letters and the whole of each number in a row's target, but for fields that are named after people."""
    for path, value in scalars(row, data):
        name = path or str(data.target)
        of_people = _OF_PEOPLE.search(name) or any(says(name, of) for of in ENTITIES)
        if isinstance(value, str) and not of_people:
            yield from ((match[1], match[0]) for match in _CODE.finditer(value))
