"""Mask a sample of a file's rows, to see what masking takes from the targets, for `python -m stages.tools.propose`."""

from __future__ import annotations

import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.core.errors import HallmarkError
from stages.core.files import write_json
from stages.core.params import Data
from stages.core.records import fill
from stages.corpus.copied import COPIED, MANY, UNNAMED, advice, pairs, report
from stages.corpus.raw import Raw, Values, identities, raw_rows
from stages.corpus.recording import Recorder, Written
from stages.privacy.params import Mask, Ner
from stages.tasks.kinds import KINDS
from stages.tasks.params import Task as TaskParams
from stages.tasks.task import Task
from stages.tools.infer import Inferred
from stages.tools.naming import ENTITIES, says
from stages.tools.profile import Rows
from stages.tools.roles import IDENTITY

ROWS = 300  # masked, at most
CHARS = 100_000  # of their inputs, at most: some seconds with a small NER model
CHUNK = 16  # rows masked together
FEW = 5  # different values, or copies, from which nothing is concluded yet
MOST_COPIED = 0.8  # share of the numbers of one form that must stand in the input
# Kinds whose values mostly point at no one: a field that is masked for these is kept. Others are left to the user.
OF_NO_ONE = frozenset(("DATE_TIME", "LOCATION", "MISC", "ORGANIZATION", "TITLE"))
# Letters that are the same in all of them, then digits: an order, a product, a ticket. A user's or patient's number may look
# like it, and is told by the name of its field.
_CODE = re.compile(r"(?<![^\W_])([A-Z]{1,6}[-/_.#]?)(\d{3,12})(?![^\W_])")
_OF_PEOPLE = re.compile("|".join(IDENTITY.values()), re.IGNORECASE)


@dataclass
class Trial:
    """What masking a sample did, and the params that follow from it, each with its reason."""

    searched_by: str = "nothing"
    rows: int = 0
    written: Written = field(default_factory=Written)
    stops: str | None = None  # the first error of a row
    keep_targets: dict[str, str] = field(default_factory=dict)
    allow_patterns: dict[str, str] = field(default_factory=dict)

    def warnings(self) -> list[str]:
        """What the user should look at."""
        warned = [f"mask will stop: {self.stops}"] if self.stops else []
        if self.written.total:
            kinds: Counter[str] = Counter()
            for (kind, _), count in self.written.kinds.items():
                kinds[kind] += count
            warned.append(
                f"private data in {self.written.touched} of {self.rows} sampled rows, searched by {self.searched_by} "
                f"({', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))}): mask replaces it; see how with "
                "`python -m stages.mask --preview FILE --field COLUMN`, and name columns of names in mask.identity_columns"
            )
        left = Counter({key: n for key, n in self.written.values.items() if key[0] not in self.keep_targets})
        return warned + advice(left, list(self.keep_targets))


def trial(rows: Rows, data: Data, mask: Mask, task: Inferred) -> Trial:
    """Mask a sample of the rows of `data.path`, and choose `mask.keep_targets` and `mask.allow_patterns`."""
    tried = Trial(allow_patterns=allow_patterns(rows, data, task))
    keep = {kind: action for kind, action in mask.actions.items() if action != "surrogate"}  # which take a key
    changes: dict[str, Any] = {"style": "placeholder", "actions": keep, "allow": [], "keep_targets": []}
    mask = mask.model_copy(update=changes | {"allow_patterns": list(tried.allow_patterns)})
    with tempfile.TemporaryDirectory() as folder:
        schema = Path(folder) / "schema.json"
        write_json(schema, task.schema)
        params = TaskParams.model_construct(
            kind=task.kind, system_prompt="-", schema_file=str(schema), tool_format="json", refusal=task.refusal
        )
        try:
            recorder, tried.searched_by = loaded(data, params, mask)
            recorder.fields.names |= usual_keys(rows, data)  # of a call's arguments, say
            sample = sampled(len(rows), data, mask, Task(params), tried)
            known, _ = identities(sample, mask)
            for first in range(0, len(sample), CHUNK):
                chunk = [(raw, known.get(raw.group, ())) for raw in sample[first : first + CHUNK]]
                record(recorder, chunk, tried)
            tried.written.check(data.path)
        except HallmarkError as error:  # of the schema, say
            tried.stops = tried.stops or told(error)
    tried.stops = tried.stops and tried.stops.replace(str(schema), "the proposed schema")
    values = {
        name: of
        for name, of in report(tried.written.values).items()
        if UNNAMED not in name and of["replaced"] + of["lost"] >= max(FEW, MANY * of[COPIED])
    }
    # Next to the name of an organisation, and where no field holds a person's, an address is the organisation's.
    organised = any(_mostly(of, {"ORGANIZATION"}) for of in values.values())
    organised = organised and not any(_mostly(of, {"PERSON"}) for of in values.values())
    for name, of in values.items():
        masked = of["replaced"] + of["lost"]
        if _mostly(of, OF_NO_ONE | ({"STREET_ADDRESS", "ZIP_CODE"} if organised else set())):
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(of["kinds"].items()))
            tried.keep_targets[name] = f"else {masked} of {of[COPIED]} copied values of '{name}' are masked ({kinds})"
    return tried


def _mostly(counts: dict[str, Any], kinds: AbstractSet[str]) -> bool:
    """Whether more than half of what was masked of a field is of these kinds."""
    return 2 * sum(count for kind, count in counts["kinds"].items() if kind in kinds) > sum(counts["kinds"].values())


def loaded(data: Data, task: TaskParams, mask: Mask) -> tuple[Recorder, str]:
    """A recorder with the NER model of the params, or with rules alone if it is slow or not installed, and which it is."""
    if mask.ner.engine == "spacy":
        recorder = Recorder(data, task, mask, None, None)
        try:
            recorder.masker.load()
        except HallmarkError:
            pass
        else:
            return recorder, f"rules and {mask.ner.model}"
    rules = mask.model_copy(update={"ner": Ner(engine="none", model=None)})
    return Recorder(data, task, rules, None, None), "rules alone"


def sampled(count: int, data: Data, mask: Mask, task: Task, tried: Trial) -> list[Raw]:
    """Checked rows from all over the file, up to the first that `mask` refuses."""
    sample: list[Raw] = []
    chars, step = 0, max(1, -(-count // ROWS))
    rows = raw_rows(data, mask, task)
    try:
        for number, raw in enumerate(rows):
            if number % step == 0 and chars < CHARS:
                sample.append(raw)
                chars += len(raw.input) + len(raw.context or "")
    except HallmarkError as error:
        tried.stops = told(error)
    return sample


def record(recorder: Recorder, chunk: list[tuple[Raw, Values]], tried: Trial) -> None:
    """Count a chunk; of one with a row that `mask` refuses, the other rows."""
    try:
        tried.written.add(recorder.records(chunk)[1])
        tried.rows += len(chunk)
    except HallmarkError as error:
        if len(chunk) == 1:
            tried.stops = tried.stops or told(error)
        else:
            for row in chunk:
                record(recorder, [row], tried)


def told(error: HallmarkError) -> str:
    """An error in one line."""
    return str(error).replace("\n  remedy: ", "; to fix it: ").replace("\n  ", "; ")


def allow_patterns(rows: Rows, data: Data, task: Inferred) -> dict[str, str]:
    """Patterns for numbers of one form that targets copy from their input, such as `NL-20931`, each with its reason."""
    if KINDS[task.kind].listed:
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
