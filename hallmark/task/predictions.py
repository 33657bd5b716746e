"""Lines of predictions.jsonl: what a model could read, what was expected, what it answered, and how that was scored."""

from __future__ import annotations

import json
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from hallmark.base.errors import HallmarkError
from hallmark.base.files import REPORTS, atomic
from hallmark.base.outcomes import OUTCOMES
from hallmark.base.reading import read_json_lines
from hallmark.base.reports import Count, mistyped
from hallmark.task.values import FieldResult

# The tuned model's answers to these parts of the split: under the name of the part, and maybe none.
CALIBRATION, ONLINE = "calibration", "online"
# Of the pipeline's own models.
STAGES = {
    "base": "eval@base",
    "tuned": "eval@tuned",
    "classical": "classical",
    CALIBRATION: CALIBRATION,
    ONLINE: ONLINE,
}
# One folder that DVC keeps as a whole: what depends on it needn't know the names in it, nor have it to be up to date.
COMPARATORS = REPORTS / "comparators"

LENGTHS = (200, 500, 1000, 2000, 5000)  # upper bounds of the bands of input length, in characters
BANDS = (*(f"up to {top}" for top in LENGTHS), f"over {LENGTHS[-1]}")


def band_of(length: int) -> str:
    """The band of an input of this many characters."""
    return BANDS[bisect_left(LENGTHS, length)]


Outcome = Annotated[str, Field(pattern=f"^({'|'.join(OUTCOMES)})$")]  # "pass", or the primary class of failure


@dataclass(frozen=True, slots=True)
class Confidence:
    """Natural log-probabilities of the tokens of a greedy answer, that of its end included.

    `fields`: of an answer that is a JSON object, by path (see `FieldResult.path`) the sum over the tokens of the value.
    """

    sum: float
    mean: float
    least: float
    fields: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One record's answer by one model. Optional parts are left out of the file if they have nothing to say."""

    id: str
    group: str
    tags: list[str] | None
    input: str
    context: str | None
    length: Count  # of the input, in characters
    target: str
    prediction: str
    finish: Literal["stop", "length"] | None  # ended by the model, or cut off at the limit
    tokens: Count = 0  # generated, without the end token
    parses: bool
    schema_valid: bool
    exact_match: bool
    outcome: Outcome
    reason: str | None
    fields: list[FieldResult]
    retrieved: bool | None = None  # whether context and input had what was expected; None: there was no context
    read: str | None = None  # calls in the chat template's form, as a target has them; empty if they can't be read
    scores: dict[str, bool | float] = field(default_factory=dict)  # what only this kind of task is scored by
    constrained: dict[str, Any] | None = None  # the same record answered within the schema's grammar
    examples: list[str] = field(default_factory=list)  # ids of the training records that the prompt showed, in order
    confidence: Confidence | None = None  # None: the engine gives no log-probabilities

    @property
    def answer(self) -> str:
        """The answer in the form of a target."""
        return self.prediction if self.read is None else self.read

    @property
    def length_band(self) -> str:
        return band_of(self.length)


OPTIONAL = ("read", "scores", "constrained", "examples", "confidence")
NAMES = tuple(part.name for part in fields(Prediction))
PARTS = tuple(part.name for part in fields(FieldResult))
SUMS = ("sum", "mean", "least")
HIGHEST = 1e-6  # of a log-probability: 0, and what rounding adds to it


def predictions_of(model: str) -> Path:
    """Where the predictions of a model (`base`, `tuned`, `classical`, `calibration`, `online` or a comparator) are."""
    return (REPORTS / "eval" if model in STAGES else COMPARATORS) / model / "predictions.jsonl"


def metrics_of(model: str) -> Path:
    return predictions_of(model).with_name("metrics.json")


def stage_of(model: str) -> str:
    """The stage of dvc.yaml that makes the predictions of a model."""
    return STAGES.get(model, "comparators")


def write_predictions(path: Path, rows: Sequence[Prediction]) -> None:
    """One JSON object per line, keys sorted. Half a surrogate pair, which UTF-8 can't hold, stays an escape."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            content = {name: getattr(row, name) for name in NAMES}
            content["fields"] = [{name: getattr(value, name) for name in PARTS} for value in row.fields]
            if row.confidence is not None:
                content["confidence"] = _rounded(row.confidence)
            said = {name: name not in OPTIONAL or value not in (None, {}, []) for name, value in content.items()}
            content = {name: value for name, value in content.items() if said[name]}
            line = json.dumps(content, ensure_ascii=False, sort_keys=True)
            if not line.isascii() and any("\ud800" <= char <= "\udfff" for char in line):
                line = json.dumps(content, sort_keys=True)
            file.write(line + "\n")
        if not rows:
            file.write("\n")  # of an empty file DVC warns at every stage that reads it


def _rounded(confidence: Confidence) -> dict[str, Any]:
    """To six digits. A sum over zero that is due to rounding is zero, and there is no negative zero."""
    content = asdict(confidence)
    numbers = {name: round(min(content[name], 0.0), 6) + 0.0 for name in SUMS}
    return numbers | {"fields": {path: round(min(log, 0.0), 6) + 0.0 for path, log in confidence.fields.items()}}


def read_predictions(model: str, path: Path | None = None) -> list[Prediction]:
    """The predictions of a model, in record order. `path`: the file, if it is not that of the last run."""
    path, remedy = path or predictions_of(model), f"run `dvc repro {stage_of(model)}`, which makes it"
    adapter, rows = TypeAdapter(Prediction), []
    for number, content in enumerate(read_json_lines(path, remedy), 1):
        try:
            rows.append(adapter.validate_python(content))
        except ValidationError as error:
            raise mistyped(error, path, remedy, number) from None
    return rows


def is_log(value: Any) -> bool:
    """Whether a value can be a log-probability: a finite number of at most 0, a tiny rounding aside."""
    return isinstance(value, float | int) and not isinstance(value, bool) and -sys.float_info.max <= value <= HIGHEST


def paired(model: str, rows: Sequence[Prediction], tuned: Sequence[Prediction]) -> list[Prediction]:
    """The answers of the tuned model to the records that `model` answered, in its order, which is the holdout's."""
    by_id = {row.id: row for row in tuned}
    try:
        return [by_id[row.id] for row in rows]
    except KeyError:
        problem = f"a record that is not in {predictions_of('tuned')}"
        remedy = f"run `dvc repro {stage_of(model)} eval@tuned`: all answer the same holdout"
        raise HallmarkError(problem, file=predictions_of(model), field="id", remedy=remedy) from None
