"""What metrics.json says of a model: the ladder with intervals, failures, refusals, fields and slices.

Intervals are from a bootstrap that draws customers (`stages/evaluation/stats.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

from stages.core.outcomes import FailureClass
from stages.evaluation.params import Eval
from stages.evaluation.predictions import Row, band
from stages.evaluation.scoring import Score, field_counts
from stages.evaluation.spans import span_columns
from stages.evaluation.stats import ClusterBootstrap, f1, label_counts, macro_f1, precision, ratio, recall

LARGEST = 50  # so many customers, and tags, are listed one by one


def metrics(
    model: str, rows: list[Row], scores: list[Score], *, settings: Eval, kind: str, seed: int
) -> dict[str, Any]:
    """The ladder with intervals, failures, refusals and slices, as metrics.json has them."""
    bootstrap = ClusterBootstrap(
        [row["group"] for row in rows], confidence=settings.confidence, draws=settings.draws, seed=seed
    )

    def rate(of: Callable[[Score], Any]) -> dict[str, float]:
        return bootstrap.rate([bool(of(score)) for score in scores]).rounded()

    found: dict[str, Any] = {
        "model": model,
        "records": bootstrap.records,
        "groups": bootstrap.clusters,
        "parses": rate(lambda score: score.parses),
        "schema_validity": rate(lambda score: score.schema_valid),
        "exact_match": rate(lambda score: score.exact_match),
        "failures": {name: sum(score.outcome == name for score in scores) for name in get_args(FailureClass)},
        "refusals": {
            "should_and_did": sum(score.refusal_due and score.refused for score in scores),
            "should_not_but_did": sum(not score.refusal_due and score.refused for score in scores),
            "should_but_did_not": sum(score.refusal_due and not score.refused for score in scores),
        },
        "cut_off": sum(row["finish"] == "length" for row in rows),
        **slices(rows),
    }
    if any(score.fields for score in scores):
        counts = [field_counts(score.fields) for score in scores]
        for name, of in (("field_precision", precision), ("field_recall", recall), ("field_f1", f1)):
            found[name] = bootstrap.statistic(counts, of).rounded()
        found["by_field"] = by_field(scores)
    judged = [score for score in scores if score.retrieved is not None]
    if judged:
        failing = Counter("model" if score.retrieved else "retrieval" for score in judged if not score.exact_match)
        missing = sum(not score.retrieved for score in judged)
        found["retrieval"] = {
            "records": len(judged),
            "not_retrieved": missing,
            "failing": dict(sorted(failing.items())),
        }
    if settings.spans:
        for way, columns in span_columns(rows, settings.spans).items():
            found[f"span_{way}_f1"] = bootstrap.statistic(columns, ratio).rounded()
    if kind == "classification":
        found["label_accuracy"] = found["exact_match"]
        (by_label,) = label_counts([score.labels for score in scores if score.labels])
        found["macro_f1"] = bootstrap.statistic(by_label, macro_f1).rounded()
    elif kind == "tool_call":
        found["tool_names"] = rate(lambda score: score.tool_names)
        found["tool_calls"] = rate(lambda score: score.tool_calls)
    elif kind == "text":
        found["token_f1"] = bootstrap.mean([score.token_f1 or 0.0 for score in scores]).rounded()
    return found


def slices(rows: list[Row]) -> dict[str, list[Row]]:
    """Exact match (`value`) of `n` records by customer, tag and input length; of many customers, the largest.

    Lists, not mappings: DVC's metric tables leave lists out, and would have a column for every customer.
    """
    by: dict[str, dict[str, list[bool]]] = {"by_group": {}, "by_tag": {}, "by_length": {}}
    for row in rows:
        places = [("by_group", row["group"]), ("by_length", band(row)), *(("by_tag", tag) for tag in set(row["tags"]))]
        for kind, name in places:
            by[kind].setdefault(writable(name), []).append(row["exact_match"])
    return {
        kind: [
            {"name": name, "n": len(passed), "value": round(sum(passed) / len(passed), 6)}
            for name, passed in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))[:LARGEST]
        ]
        for kind, found in by.items()
    }


def by_field(scores: list[Score]) -> list[Row]:
    """Precision, recall and F1 of each field of an answer, and how many values of it were due (`n`)."""
    results: dict[str, Counter[str]] = {}
    for score in scores:
        for row in score.fields:
            results.setdefault(writable(row["path"]), Counter())[row["result"]] += 1
    found = []
    for path, counts in sorted(results.items()):
        right, given = counts["match"], counts["match"] + counts["wrong"] + counts["spurious"]
        due = counts["match"] + counts["wrong"] + counts["missing"]
        if due:  # a base model can make up any number of fields
            shares = {
                "precision": right / given if given else 0.0,
                "recall": right / due,
                "f1": 2 * right / (given + due),
            }
            found.append({"name": path, "n": due} | {name: round(share, 6) for name, share in shares.items()})
    return found


def writable(text: str) -> str:
    """The text, with a question mark for each half of a surrogate pair: JSON has those, UTF-8 has not."""
    return text.encode("utf-8", "replace").decode()
