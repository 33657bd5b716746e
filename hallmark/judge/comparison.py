"""The content of comparison.json: what `compare` found, and what the gate, the page, the card and the summary read.

Rates and differences are shares of 1. Lists hold what a page shows and DVC's metric tables need not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ValidationError

from hallmark.base.outcomes import FAILURES, OUTCOMES
from hallmark.base.params import Share
from hallmark.base.reports import Count, Some, add_up, shape
from hallmark.base.stats import Interval, Signed
from hallmark.judge.online import Online
from hallmark.task.predictions import Outcome

RIGHT = OUTCOMES[-1]
ROUNDED = 1e-6  # of a share


def _share(found: Interval) -> Interval:
    if found.low < 0:
        raise ValueError("a share below 0")
    return found


Rate = Annotated[Interval, AfterValidator(_share)]
DECODED = shape(schema_validity=Count, exact_match=Count, cut_off=Count)
WITHIN = shape(
    name=Literal["base", "tuned"],
    records=Count,
    free=DECODED,
    constrained=DECODED,
    fixed=Count,
    hidden=Count,
    lost=Count,
)


def _within(found: dict[str, Any]) -> dict[str, Any]:
    try:
        WITHIN.model_validate(found)
    except ValidationError:
        raise ValueError("not the counts of a model") from None
    return found


@dataclass(frozen=True)
class Change:
    """A rate of the other model and of the tuned one, on the same records. `worst`: the difference if all were wrong."""

    other: Signed
    tuned: Signed
    difference: Interval
    worst: Interval
    lost: Count
    won: Count
    p: Signed


@dataclass(frozen=True)
class Power:
    """How many records would show `difference_asked_for` with that power, and the smallest difference these can show."""

    difference_asked_for: float
    power: float
    records_needed: int | None = None
    smallest_difference: float | None = None


@dataclass(frozen=True)
class MeasureResult:
    """A measure of both models on the records that both answered, and their difference."""

    name: str
    words: str
    other: Rate
    tuned: Rate
    difference: Interval


@dataclass(frozen=True)
class MeasureAlone:
    """A measure of the tuned model on all records. `given`: any answer to this task meets it."""

    name: str
    words: str
    given: bool
    tuned: Rate


@dataclass(frozen=True)
class FailureResult:
    """The rate of a class of failure, of the records that both answered, and how far the tuned model lets it grow.

    For the growth of a class of content a record counts if both answers are valid (`judged`); otherwise a base whose every
    answer breaks the format would seem never to hallucinate, and every model that answers to have got worse. For the other
    classes every record counts in which the class is `possible`. `worst_growth` is the figure of a tuned model that fails in
    this way wherever it can: a rule of the gate can say no only if it is too much.
    """

    name: str
    other: Rate
    tuned: Rate
    difference: Interval
    possible: Count
    growth: Interval
    judged: Count
    worst_growth: Interval


@dataclass(frozen=True)
class FailureAlone:
    """How many of all records, and at which rate, the tuned model fails in one way; `possible` and `worst` as above."""

    name: str
    records: Count
    tuned: Rate
    possible: Count
    worst: Rate


@dataclass(frozen=True)
class Alone:
    """The tuned model by itself, on all records."""

    measures: list[MeasureAlone]
    failures: list[FailureAlone]


@dataclass(frozen=True)
class Transition:
    """How many records went from one outcome to another."""

    other: Outcome
    tuned: Outcome
    records: Some


@dataclass(frozen=True)
class Slice:
    """Exact match of the records of one customer (`by` is group), tag or band of input length."""

    by: str
    name: str
    records: Some
    other: Signed
    tuned: Signed
    lost: Count
    won: Count
    difference: Interval


@dataclass(frozen=True)
class AgainstModel:
    """The tuned model against the base or a comparator, on the `records` that both answered.

    `opponent`: what it is, as a phrase.
    """

    name: str
    opponent: str
    records: Some
    groups: Some
    verdict: str
    words: str
    exact_match: Change
    power: Power
    measures: list[MeasureResult]
    failures: list[FailureResult]
    transitions: list[Transition]
    slices: list[Slice]

    def __post_init__(self) -> None:
        """Count once more who was right, from what became of each record."""
        found, moves = self.exact_match, self.transitions
        before = sum(move.records for move in moves if move.other == RIGHT)
        after = sum(move.records for move in moves if move.tuned == RIGHT)
        both = sum(move.records for move in moves if move.other == move.tuned == RIGHT)
        add_up(
            sum(move.records for move in moves) == self.records >= self.groups,
            (found.lost, found.won) == (before - both, after - both),
            abs(found.other - before / self.records) < ROUNDED,
            abs(found.tuned - after / self.records) < ROUNDED,
            abs(found.difference.value - (after - before) / self.records) < ROUNDED,
            all(failure.judged <= failure.possible <= self.records for failure in self.failures),
        )


@dataclass(frozen=True)
class LabelResult:
    """How often a label is right in the records that have it; without a `name`, how often all labels of a record are.

    `difference`: the tuned model minus the linear one. `floor`: the share of the most frequent value in training.
    `others`: base and comparators, each in the records that it answered; one that answered none with the label is left out.
    """

    records: Some
    classical: Rate
    tuned: Rate
    others: dict[str, Rate]
    difference: Interval
    worst: Interval
    lost: Count
    won: Count
    p: Signed
    verdict: str
    name: str | None = None
    floor: float | None = None

    def __post_init__(self) -> None:
        """Refuse more changes than records, or another number of them than the difference says."""
        gained = (self.won - self.lost) / self.records
        add_up(self.lost + self.won <= self.records, abs(self.difference.value - gained) < ROUNDED)


@dataclass(frozen=True)
class LinearCandidate:
    """A linear model that was tried: the shares of records with all labels right; None if no validation record has any."""

    name: str
    words: str
    validation: Signed | None
    holdout: Signed | None


@dataclass(frozen=True)
class AgainstLinear:
    """The tuned model against the linear model. `right` is None if the task has no labels.

    `trained`: what the linear model was trained on, in words, and how much of that the tuned model read. `candidates`:
    the models that it was chosen from, `chosen` by name, on that number of validation records (`chosen_on`).
    """

    applies: bool
    verdict: str
    wins: bool  # the linear model is right more often than the tuned one, or is shown to be so at one label
    words: str
    trained: str
    labels: list[LabelResult]
    right: LabelResult | None = None
    chosen: str = ""
    chosen_on: int = 0
    candidates: list[LinearCandidate] = field(default_factory=list)


@dataclass(frozen=True)
class Against:
    """The baselines of the tuned model. `comparators`: those of `eval.comparators`, in their order."""

    base: AgainstModel
    classical: AgainstLinear
    comparators: list[AgainstModel]

    @property
    def models(self) -> list[AgainstModel]:
        """The baselines that answer as the tuned model does: the base, and the comparators."""
        return [self.base, *self.comparators]

    def model(self, name: str) -> AgainstModel | None:
        """The baseline of that name among them."""
        return next((model for model in self.models if model.name == name), None)


@dataclass(frozen=True)
class Answered:
    """A model's answers to one sort of records. `failing`: not an exact match; `examples`: ids of some of these."""

    records: Count
    failing: Count
    abstained: Count
    examples: list[str]


@dataclass(frozen=True)
class ByEvidence:
    """A model's answers by what was retrieved: all that is expected, not all of it, or nothing is expected to be said.

    `fixable`: the share of its failures that better retrieval would fix at most, as a share of 1; None: it has none.
    """

    held: Answered
    lacking: Answered
    silent: Answered  # to abstain is expected, although there is context
    empty: Answered  # the same without context
    fixable: float | None

    @property
    def own(self) -> int:
        """The failures that no retriever would fix."""
        return self.held.failing + self.silent.failing + self.empty.failing


@dataclass(frozen=True)
class Retrieval:
    """Records with retrieved context, answered by each model: of the base those that it was asked."""

    base: ByEvidence
    tuned: ByEvidence


@dataclass(frozen=True)
class Model:
    """What was found of a model on the `records` that it answered: the base, a comparator or the tuned model.

    `opponent`: what it is, as a phrase. By name: its `measures`, the `rates` of its failures, and how many records these
    are (`failed`). `ahead`: by measure, the tuned model minus this one on the records that both answered.
    """

    name: str
    opponent: str
    records: int
    groups: int
    measures: dict[str, Interval]
    rates: dict[str, Interval]
    failed: dict[str, int]
    ahead: dict[str, Interval]
    lead: Interval | None  # of the tuned model, in exact match; None: it is this one

    @property
    def title(self) -> str:
        """Its name as the head of a column: `few_shot` is "Few shot"."""
        return self.name.replace("_", " ").capitalize()


@dataclass(frozen=True)
class Comparison:
    """All of comparison.json. `records` and `groups`: those of the holdout, all of which the tuned model answered.

    `online`: what came of the same customers after the holdout was frozen; None if nothing has.
    """

    records: Some
    groups: Some
    confidence: Share
    tuned: Alone
    against: Against
    constrained: list[Annotated[dict[str, Any], AfterValidator(_within)]]
    retrieval: Retrieval | None = None
    online: Online | None = None

    def __post_init__(self) -> None:
        """Refuse more groups or failures than there are records, and models without what the others have."""
        total, classes = self.records, [row.name for row in self.tuned.failures]
        measures = [row.name for row in self.tuned.measures]
        for model in self.against.models:
            if [row.name for row in model.measures] != measures or [row.name for row in model.failures] != classes:
                raise ValueError(f"other measures or failures of {model.name} than of the tuned model")
        names = [model.name for model in self.against.models]
        if (
            len({*names}) < len(names)
            or names[0] != "base"
            or "exact_match" not in measures
            or not {*classes} <= {*FAILURES}
        ):
            raise ValueError("not the measures, failures or models that are compared")
        add_up(
            self.groups <= total,
            all(model.records <= total and model.groups <= self.groups for model in self.against.models),
            all(failure.records <= failure.possible <= total for failure in self.tuned.failures),
            all(abs(one.tuned.value - one.records / total) < ROUNDED for one in self.tuned.failures),
        )

    @property
    def models(self) -> list[Model]:
        """All that answer by themselves: the base, the comparators, and last the tuned model."""
        return [*map(_opponent, self.against.models), self.of_tuned]

    @property
    def of_tuned(self) -> Model:
        """The tuned model, on all records."""
        alone = self.tuned
        return Model(
            name="tuned",
            opponent="the tuned model",
            records=self.records,
            groups=self.groups,
            measures={row.name: row.tuned for row in alone.measures},
            rates={row.name: row.tuned for row in alone.failures},
            failed={row.name: row.records for row in alone.failures},
            ahead={},
            lead=None,
        )


def _opponent(found: AgainstModel) -> Model:
    return Model(
        name=found.name,
        opponent=found.opponent,
        records=found.records,
        groups=found.groups,
        measures={row.name: row.other for row in found.measures},
        rates={row.name: row.other for row in found.failures},
        failed={name: sum(move.records for move in found.transitions if move.other == name) for name in FAILURES},
        ahead={row.name: row.difference for row in found.measures},
        lead=found.exact_match.difference,
    )
