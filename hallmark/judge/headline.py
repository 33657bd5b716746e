"""The few measures that DVC's own commands show of a run, `reports/headline.json`: everything else is in the other reports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hallmark.base.reports import Report
from hallmark.judge.comparison import Comparison
from hallmark.judge.verdict import Verdict

OTHERS = 2  # measures besides exact match: with more than ten values, nobody finds the one that changed


def headline(
    result: Verdict, floors: Iterable[str], comparison: Comparison, benchmark: Report, sft: Report
) -> dict[str, Any]:
    """At most ten values by a short name, what matters first. Rates and differences are shares of 1, times seconds.

    The measures are exact match and the first two others of `floors`, those that the gate asks for. `over_base` and
    `over_linear`: how far the tuned model is ahead in exact match, and in records with all labels right, of those that
    both answered.
    """
    base, linear, tuned = comparison.against.base, comparison.against.classical.right, comparison.of_tuned
    level = benchmark.at("models", "tuned", "levels")[0]
    measured = {row.name: row.tuned.value for row in comparison.tuned.measures if not row.given}
    others = [name for name in floors if name in measured and name != "exact_match"][:OTHERS]
    return {
        "verdict": result.verdict,
        "exact_match": measured["exact_match"],
        **{name: measured[name] for name in others},
        "over_base": base.exact_match.difference.value,
        **({"over_linear": linear.difference.value} if linear else {}),
        "unsafe_answer": tuned.rates["unsafe_answer"].value,
        "validation_loss": sft.at("validation_loss"),
        "latency_p95_s": level["latency_s"]["p95"],
        "requests_per_s": level["requests_per_second"],
    }
