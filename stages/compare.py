"""Compare the tuned model with the base and the linear model on the same records: `python -m stages.compare`.

Everything is paired. The verdict asks two things of exact match: the interval of the difference, from a bootstrap that
draws customers, must leave out zero (records of one customer resemble each other), and the exact McNemar test on the
records that changed must agree (it knows small counts better). The page that shows this is made by `report`.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from pathlib import Path
from typing import Any

from stages.core.files import REPORTS, atomic, write_json
from stages.core.outcomes import FAILURES
from stages.core.reports import Prediction, Report, check_paired, read_predictions
from stages.core.task import Task
from stages.evaluation.linear import against_linear
from stages.evaluation.params import Compare, Eval
from stages.evaluation.possible import given, possible
from stages.evaluation.predictions import BANDS, band
from stages.evaluation.scoring import field_counts
from stages.evaluation.spans import span_columns
from stages.evaluation.stats import (
    ClusterBootstrap,
    Interval,
    f1,
    judge,
    label_counts,
    macro_f1,
    mcnemar,
    newcombe_paired,
    precision,
    ratio,
    recall,
)
from stages.params.loader import Params, run_with_params

log = logging.getLogger("compare")

CONTENT = ("hallucination", "wrong_value", "omission")  # classes of answers that can be read; the form is judged first


def run(params: Params) -> None:
    """Read the predictions of all models; write reports/comparison.json and reports/transitions.csv."""
    tuned = read_predictions("tuned")
    bootstrap = ClusterBootstrap(
        [row["group"] for row in tuned],
        confidence=params.compare.confidence,
        draws=params.compare.draws,
        seed=params.seed,
    )
    base = read_predictions("base")
    check_paired("base", base, "tuned", tuned)
    task = Task(params.task)
    against = {
        "base": compare(base, tuned, bootstrap, params.compare, task, params.eval),
        "classical": against_linear(base, tuned, task, params.compare, params.seed),
    }
    for result in against.values():
        log.info(result["words"])
    comparison = {
        "records": bootstrap.records,
        "groups": bootstrap.clusters,
        "confidence": params.compare.confidence,
        "against": against,
        "noise_floor": noise_floor(Report("eval/base/metrics", "eval@base"), params.compare.confidence),
        "constrained": constrained(),
        "general": general(),
        "retrieval": retrieval(base, tuned),
    }
    write_json(REPORTS / "comparison.json", comparison)
    write_transitions(REPORTS / "transitions.csv", base, tuned)


def compare(
    other: list[Prediction],
    tuned: list[Prediction],
    bootstrap: ClusterBootstrap,
    params: Compare,
    task: Task,
    scored: Eval,
) -> dict[str, Any]:
    """The tuned model against the base, on the same records in the same order.

    Lists hold what a page shows and DVC's metric tables need not; rates and differences are shares of 1.
    """
    passed = {"other": _flags(other, "exact_match"), "tuned": _flags(tuned, "exact_match")}
    difference = bootstrap.rate_difference(passed["other"], passed["tuned"])
    test = mcnemar(passed["other"], passed["tuned"])
    needed = bootstrap.records_needed(passed["other"], passed["tuned"], params.difference, params.power)
    verdict = judge(difference, test.p, 1 - params.confidence)
    return {
        "verdict": verdict,
        "words": words(verdict, passed, difference, test, params.confidence),
        "exact_match": {
            "other": round(sum(passed["other"]) / len(tuned), 6),
            "tuned": round(sum(passed["tuned"]) / len(tuned), 6),
            "difference": difference.rounded(),
            "worst": bootstrap.rate_difference(passed["other"], [False] * len(tuned)).rounded(),
            "lost": test.lost,
            "won": test.won,
            "p": float(f"{test.p:.6g}"),
        },
        "power": {
            "difference_asked_for": params.difference,
            "power": params.power,
            "records_needed": needed,
            "smallest_difference": None
            if needed is None
            else round(params.difference * math.sqrt(needed / bootstrap.records), 6),
        },
        "measures": measures(other, tuned, bootstrap, task, scored.spans),
        "failures": failures(other, tuned, bootstrap, possible(task, [row["target"] for row in tuned], scored.facts)),
        "transitions": transitions(other, tuned),
        "slices": slices(other, tuned, params.confidence),
    }


def words(verdict: str, passed: dict[str, list[bool]], difference: Interval, test: Any, confidence: float) -> str:
    """The comparison in one line."""
    start = {
        "better": "The tuned model beats the base",
        "worse": "The tuned model is worse than the base",
        "not_shown": "No difference between the tuned model and the base is shown",
    }[verdict]
    n = len(passed["tuned"])
    rates = {model: sum(flags) / n for model, flags in passed.items()}
    p = "p < 0.0001" if test.p < 1e-4 else f"p = {test.p:.4f}"
    return (
        f"{start}: exact match {rates['tuned']:.1%} against {rates['other']:.1%} of {n} records, "
        f"{100 * difference.value:+.1f} points ({confidence:.0%} interval {100 * difference.low:+.1f} to "
        f"{100 * difference.high:+.1f}); {test.won} records won, {test.lost} lost, {p}."
    )


def measures(
    other: list[Prediction], tuned: list[Prediction], bootstrap: ClusterBootstrap, task: Task, spans: list[str]
) -> list[dict[str, Any]]:
    """The ladder: each measure of both models and their paired difference, with intervals.

    `given`: any answer to this task fulfils it, so that it tells nothing.
    """
    rows = []
    for name, key in (("parses", "parses"), ("schema_validity", "schema_valid"), ("exact_match", "exact_match")):
        before, after = _flags(other, key), _flags(tuned, key)
        rows.append((name, bootstrap.rate(before), bootstrap.rate(after), bootstrap.rate_difference(before, after)))
    fields = [[field_counts(row["fields"]) for row in model] for model in (other, tuned)]
    if any(sum(counts) for model in fields for counts in model):  # a task without fields has no such measures
        for name, of in (("field_precision", precision), ("field_recall", recall), ("field_f1", f1)):
            ones, twos = (bootstrap.statistic(model, of) for model in fields)
            rows.append((name, ones, twos, bootstrap.difference(fields[0], fields[1], of)))
    if spans:
        columns = [span_columns(model, spans) for model in (other, tuned)]
        for way, spans_of_other in columns[0].items():
            ones, twos = bootstrap.statistic(spans_of_other, ratio), bootstrap.statistic(columns[1][way], ratio)
            rows.append((f"span_{way}_f1", ones, twos, bootstrap.difference(spans_of_other, columns[1][way], ratio)))
    if task.kind == "classification":
        counts = label_counts(*([_label(row) for row in model] for model in (other, tuned)))
        ones, twos = (bootstrap.statistic(model, macro_f1) for model in counts)
        rows.append(("macro_f1", ones, twos, bootstrap.difference(counts[0], counts[1], macro_f1)))
    return [
        {
            "name": name,
            "given": name in given(task),
            "other": one.rounded(),
            "tuned": two.rounded(),
            "difference": difference.rounded(),
        }
        for name, one, two, difference in rows
    ]


def failures(
    other: list[Prediction], tuned: list[Prediction], bootstrap: ClusterBootstrap, can: dict[str, list[bool]]
) -> list[dict[str, Any]]:
    """The rate of each failure class, of all records, and how far the tuned model lets it `grow`.

    For the growth of a class of content a record counts where both answers are valid (`judged`), else a base that
    answers in no form at all would seem never to hallucinate, and every model that answers to have got worse. For
    the other classes every record counts in which the class is `possible` (`can`, by class and record). The plain
    `difference` of the rates stands beside it. `worst` and `worst_growth` are what a tuned model would be measured at
    that fails so wherever it can: the gate's rules can say no only where these are too much.
    """
    readable = [one["schema_valid"] and two["schema_valid"] for one, two in zip(other, tuned, strict=True)]
    rows = []
    for name in FAILURES:
        one, two = ([row["outcome"] == name for row in model] for model in (other, tuned))
        anywhere = [any(flags) for flags in zip(can[name], one, two, strict=True)]  # what happened was possible
        judged = [here and (name not in CONTENT or valid) for here, valid in zip(anywhere, readable, strict=True)]
        before, after = ([flag and counts for flag, counts in zip(flags, judged, strict=True)] for flags in (one, two))
        rows.append(
            {
                "name": name,
                "other": bootstrap.rate(one).rounded(),
                "tuned": bootstrap.rate(two).rounded(),
                "difference": bootstrap.rate_difference(one, two).rounded(),
                "possible": sum(anywhere),
                "worst": bootstrap.rate(anywhere).rounded(),
                "growth": bootstrap.rate_difference(before, after).rounded(),
                "judged": sum(judged),
                "worst_growth": bootstrap.rate_difference(before, judged).rounded(),
            }
        )
    return rows


def transitions(other: list[Prediction], tuned: list[Prediction]) -> list[dict[str, Any]]:
    """How many records went from each outcome to each outcome."""
    counts = Counter((before["outcome"], after["outcome"]) for before, after in zip(other, tuned, strict=True))
    return [{"other": before, "tuned": after, "records": n} for (before, after), n in sorted(counts.items())]


def slices(other: list[Prediction], tuned: list[Prediction], confidence: float) -> list[dict[str, Any]]:
    """Exact match by customer, tag and input length, with Newcombe's paired interval of the difference.

    Inside a slice records count as independent, and many slices are looked at: they show where to look, not proof.
    """
    members: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    for before, after in zip(other, tuned, strict=True):
        pair = (before["exact_match"], after["exact_match"])
        for key in (("group", after["group"]), ("length", band(after)), *(("tag", tag) for tag in after["tags"] or ())):
            members.setdefault(key, []).append(pair)
    rows = []
    for (by, name), pairs in members.items():
        both, lost, won = (pairs.count(case) for case in ((True, True), (True, False), (False, True)))
        difference = newcombe_paired(both, lost, won, len(pairs), confidence)
        rows.append(
            {
                "by": by,
                "name": name.encode("utf-8", "replace").decode(),  # half a surrogate pair is JSON, but no UTF-8
                "records": len(pairs),
                "other": round((both + lost) / len(pairs), 6),
                "tuned": round((both + won) / len(pairs), 6),
                "lost": lost,
                "won": won,
                "difference": difference.rounded(),
            }
        )
    return sorted(
        rows,
        key=lambda row: (
            row["by"],
            BANDS.index(row["name"]) if row["by"] == "length" else -row["records"],
            row["name"],
        ),
    )


def noise_floor(metrics: Report, confidence: float) -> dict[str, Any]:
    """How much the base differs from itself: what `eval` reports of the records it had the base answer `again`.

    Greedy decoding in the same batches gives the same bytes again (that is what `verify` checks), so a second run says
    something only where the batches are others, as they are in serving. Not measured where `eval` made no second run.
    """
    again = metrics.content.get("again")
    if not again:
        return {"measured": False}
    lost, won, n = again["lost"], again["won"], again["records"]
    difference = newcombe_paired(0, lost, won, n, confidence)
    return {"measured": True, **again, "difference": difference.rounded()}


def general() -> list[dict[str, Any]]:
    """Both models at the general tasks that `eval` was asked for, a row a metric."""
    metrics = (Report(f"eval/{model}/metrics", f"eval@{model}").content for model in ("base", "tuned"))
    base, tuned = ({row["name"]: row["value"] for row in found.get("general", ())} for found in metrics)
    return [{"name": name, "base": base[name], "tuned": tuned[name]} for name in base if name in tuned]


def retrieval(base: list[Prediction], tuned: list[Prediction]) -> dict[str, Any] | None:
    """Of the failing records with context, those whose context lacks what was due; None where no record has context."""
    judged = [(one, two) for one, two in zip(base, tuned, strict=True) if two.get("retrieved") is not None]
    if not judged:
        return None
    failing: dict[str, Any] = {}
    for place, model in enumerate(("base", "tuned")):
        rows = [pair[place] for pair in judged if not pair[place]["exact_match"]]
        lacking = sum(not row["retrieved"] for row in rows)
        failing[model] = {"retrieval": lacking, "model": len(rows) - lacking}
    return {"records": len(judged), "not_retrieved": sum(not two["retrieved"] for _, two in judged), **failing}


def constrained() -> list[dict[str, Any]]:
    """What `eval` found of decoding held to the schema beside free decoding, a row a model; none where it was not asked."""
    rows = ((model, Report(f"eval/{model}/metrics", f"eval@{model}").content) for model in ("base", "tuned"))
    return [{"name": model} | metrics["constrained"] for model, metrics in rows if "constrained" in metrics]


def write_transitions(path: Path, other: list[Prediction], tuned: list[Prediction]) -> None:
    """One line a record, `base,tuned`, for DVC's confusion plot."""
    lines = ["base,tuned", *(f"{a['outcome']},{b['outcome']}" for a, b in zip(other, tuned, strict=True))]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _label(row: Prediction) -> tuple[str, str | None]:
    """The expected label, and the one predicted: None where the output breaks the schema."""
    return row["target"].strip(), row["prediction"].strip() if row["schema_valid"] else None


def _flags(rows: list[Prediction], key: str) -> list[bool]:
    return [bool(row[key]) for row in rows]


if __name__ == "__main__":
    run_with_params("compare", __doc__, run)
