"""The tuned model against the linear model of `classical`, on the same records: are the labels right?

A linear model can't say more than labels, so the records count of which all labels are right (of a classification:
exact match). Each label stands beside, with the base and the floor, the most frequent value in training.
"""

from __future__ import annotations

from typing import Any

from stages.core.reports import Prediction, Report, check_paired, read_as, read_predictions
from stages.core.task import Task
from stages.evaluation.labels import right_labels
from stages.evaluation.params import Compare
from stages.evaluation.stats import ClusterBootstrap, judge, mcnemar

MODELS = ("classical", "base", "tuned")
NAME = "TF-IDF with logistic regression"


def against_linear(
    base: list[Prediction], tuned: list[Prediction], task: Task, params: Compare, seed: int
) -> dict[str, Any]:
    """What `comparison.json` has under `against.classical`; `applies` is false where the task has no labels.

    `wins`: the linear model is right more often than the tuned one, or is shown to be so at one label.
    """
    names = {row["name"]: row["floor"] for row in Report("eval/classical/metrics", "classical").at("labels")}
    if not names:
        return {
            "applies": False,
            "verdict": "not_applicable",
            "wins": False,
            "words": "No linear model stands beside: the task has no labels (a class, a field with listed values, refusals).",
            "labels": [],
        }
    linear = read_predictions("classical")
    check_paired("classical", linear, "tuned", tuned)
    groups = [row["group"] for row in tuned]
    right = {
        model: right_labels(task, list(names), [(row["target"], read_as(row)) for row in rows])
        for model, rows in zip(MODELS, (linear, base, tuned), strict=True)
    }
    labels = []
    for name, floor in names.items():
        flags = {model: right[model][name] for model in MODELS}
        labels.append({"name": name, "floor": floor} | _paired(flags, groups, params, seed))
    together: dict[str, list[bool | None]] = {
        model: [False not in flags for flags in zip(*right[model].values(), strict=True)] for model in MODELS
    }
    whole = _paired(together, groups, params, seed)
    lost = [row["name"] for row in labels if row["verdict"] == "worse"]
    return {
        "applies": True,
        "verdict": whole["verdict"],
        "wins": whole["difference"]["value"] < 0 or bool(lost),
        "words": words(whole, labels, lost, params.confidence),
        "right": whole,
        "labels": labels,
    }


def _paired(flags: dict[str, list[bool | None]], groups: list[str], params: Compare, seed: int) -> dict[str, Any]:
    """Rates of the three models, and the tuned one's difference from the linear one, where a label was due."""
    due = [place for place, flag in enumerate(flags["tuned"]) if flag is not None]
    bootstrap = ClusterBootstrap(
        [groups[place] for place in due], confidence=params.confidence, draws=params.draws, seed=seed
    )
    of = {model: [bool(column[place]) for place in due] for model, column in flags.items()}
    difference, test = bootstrap.rate_difference(of["classical"], of["tuned"]), mcnemar(of["classical"], of["tuned"])
    return {
        "records": len(due),
        **{model: bootstrap.rate(column).rounded() for model, column in of.items()},
        "difference": difference.rounded(),
        "worst": bootstrap.rate_difference(of["classical"], [False] * len(due)).rounded(),
        "lost": test.lost,
        "won": test.won,
        "p": float(f"{test.p:.6g}"),
        "verdict": judge(difference, test.p, 1 - params.confidence),
    }


def words(whole: dict[str, Any], labels: list[dict[str, Any]], lost: list[str], confidence: float) -> str:
    """The comparison in one line, which starts with who wins."""
    difference, names = whole["difference"], ", ".join(row["name"] for row in labels)
    start = {
        "better": f"The tuned model beats a linear model ({NAME})",
        "worse": f"A linear model wins: {NAME} beats the tuned model",
        "not_shown": f"No difference between the tuned model and a linear model ({NAME}) is shown",
    }[whole["verdict"]]
    if whole["verdict"] == "not_shown" and difference["value"] < 0:
        start = f"A linear model is ahead of the tuned one, though perhaps by chance ({NAME})"
    if lost and whole["verdict"] != "worse":
        start = f"A linear model wins at {', '.join(lost)}. {start}"
    what = f"the label ({names})" if len(labels) == 1 else f"all labels ({names})"
    p = "p < 0.0001" if whole["p"] < 1e-4 else f"p = {whole['p']:.4f}"
    return (
        f"{start}: {what} right in {whole['tuned']['value']:.1%} against the linear model's {whole['classical']['value']:.1%} of "
        f"{whole['records']} records, {100 * difference['value']:+.1f} points ({confidence:.0%} interval "
        f"{100 * difference['low']:+.1f} to {100 * difference['high']:+.1f}); {whole['won']} records won, "
        f"{whole['lost']} lost, {p}."
    )
