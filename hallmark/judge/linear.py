"""The tuned model against the linear model of `classical`, on the same records: are the labels right?

A linear model can say no more than labels, so a record counts if all its labels are right (for a classification, exact
match). Each label is also compared alone, together with the base, the comparators and the floor, the most frequent value
in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hallmark.answer.labels import right_labels
from hallmark.answer.params import Compare
from hallmark.base.figures import rate
from hallmark.base.reports import Count, Report, shape
from hallmark.base.stats import ClusterBootstrap, McNemar, Signed, judge, mcnemar
from hallmark.judge.comparison import AgainstLinear, LabelResult, LinearCandidate
from hallmark.judge.paired_records import evidence
from hallmark.task.predictions import Prediction, read_predictions
from hallmark.task.task import Task

CLASSICAL = shape(
    labels=list[shape(name=str, floor=Signed)],  # type: ignore[misc]
    candidates=(list[LinearCandidate], []),
    chosen=(str, ""), chosen_on=(Count, 0), trained_on=(Count, 0),
)  # fmt: skip
Flags = dict[str, list[bool | None]]  # by model, or by label


def against_linear(
    others: Mapping[str, list[Prediction]],
    tuned: list[Prediction],
    task: Task,
    params: Compare,
    seed: int,
    read: int,
) -> AgainstLinear:
    """What `comparison.json` has under `against.classical`. `others`: the answers of base and comparators.

    `read`: the training records that the tuned model was shown.
    """
    metrics = Report("eval/classical/metrics", "classical").as_(CLASSICAL)
    floors = {row.name: row.floor for row in metrics.labels}
    if not floors:
        words = "There is no linear model to compare with: the task has no labels (a class, a field with listed values, refusals)."
        return AgainstLinear(applies=False, verdict="not_applicable", wins=False, words=words, trained="", labels=[])
    linear = read_predictions("classical")
    words = next((row.words for row in metrics.candidates if row.name == metrics.chosen), metrics.chosen)
    name = f"{words}, logistic regression"
    answers = {"classical": linear, "tuned": tuned, **others}
    right = {
        model: right_labels(task, list(floors), [(row.target, row.answer) for row in rows])
        for model, rows in answers.items()
    }
    groups = {model: [row.group for row in rows] for model, rows in answers.items()}

    def result(flags: Flags) -> LabelResult:
        return _result(flags, groups, params, seed)

    labels = [
        replace(result({model: flags[name] for model, flags in right.items()}), name=name, floor=floor)
        for name, floor in floors.items()
    ]
    whole = result(
        {model: [False not in row for row in zip(*flags.values(), strict=True)] for model, flags in right.items()}
    )
    lost = [str(label.name) for label in labels if label.verdict == "worse"]
    return AgainstLinear(
        applies=True,
        verdict=whole.verdict,
        wins=whole.difference.value < 0 or bool(lost),
        words=_words(whole, labels, lost, params.confidence, name),
        trained=_trained(metrics.trained_on, read),
        right=whole,
        labels=labels,
        chosen=metrics.chosen,
        chosen_on=metrics.chosen_on,
        candidates=metrics.candidates,
    )


def _result(flags: Flags, groups: Mapping[str, Sequence[str]], params: Compare, seed: int) -> LabelResult:
    """Rates in the records whose target has the label and that the model answered; and tuned minus linear, paired."""

    def judged(model: str) -> tuple[ClusterBootstrap, list[bool]]:
        rows = [row for row, flag in enumerate(flags[model]) if flag is not None]
        of = [groups[model][row] for row in rows]
        bootstrap = ClusterBootstrap(of, confidence=params.confidence, draws=params.bootstrap_samples, seed=seed)
        return bootstrap, [bool(flags[model][row]) for row in rows]

    (bootstrap, tuned), (_, linear) = judged("tuned"), judged("classical")
    asked = [model for model in flags if model not in ("tuned", "classical") and {*flags[model]} - {None}]
    others = {model: judged(model) for model in asked}
    test = mcnemar(linear, tuned)
    difference = bootstrap.rate_difference(linear, tuned)
    return LabelResult(
        records=len(tuned),
        classical=bootstrap.rate(linear).rounded(),
        tuned=bootstrap.rate(tuned).rounded(),
        others={model: of.rate(right).rounded() for model, (of, right) in others.items()},
        difference=difference.rounded(),
        worst=bootstrap.rate_difference(linear, [False] * len(tuned)).rounded(),
        lost=test.lost,
        won=test.won,
        p=float(f"{test.p:.6g}"),
        verdict=judge(difference, test.p, 1 - params.confidence),
    )


def _trained(records: int, read: int) -> str:
    if read == records:
        return f"trained on the same {records:,} records"
    return f"trained on all {records:,} training records, of which the tuned model read {read:,}"


def _words(whole: LabelResult, labels: Sequence[LabelResult], lost: Sequence[str], confidence: float, name: str) -> str:
    """The comparison in one line, which starts with who wins."""
    difference, names = whole.difference, ", ".join(str(label.name) for label in labels)
    start = {
        "better": f"The tuned model beats a linear model ({name})",
        "worse": f"A linear model wins: {name} beats the tuned model",
        "not_shown": f"No difference between the tuned model and a linear model ({name}) is shown",
    }[whole.verdict]
    if whole.verdict == "not_shown" and difference.value < 0:
        start = f"A linear model is ahead of the tuned one, though perhaps by chance ({name})"
    if lost and whole.verdict != "worse":
        start = f"A linear model wins at {', '.join(lost)}. {start}"
    what = f"the label ({names})" if len(labels) == 1 else f"all labels ({names})"
    return (
        f"{start}: {what} right in {rate(whole.tuned.value)} against the linear model's {rate(whole.classical.value)} of "
        f"{whole.records} records, {evidence(whole.verdict, difference, McNemar(whole.lost, whole.won, whole.p), confidence)}"
    )
