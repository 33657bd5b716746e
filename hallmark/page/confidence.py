"""How sure the tuned model is: charts and tables of what the stage `cascade` found."""

from __future__ import annotations

from typing import Any

from hallmark.base.figures import NONE, percent, share
from hallmark.judge.cascade import AskedRisk, CascadeReport
from hallmark.page.charts import line_chart


def sure(report: CascadeReport | None) -> dict[str, Any] | None:
    """What the page shows of cascade.json; None if no answer has a score."""
    if report is None or not report.curves:
        return None
    curves = sorted(report.curves, key=lambda curve: curve.score != "calibrated")
    lines = {curve.score: [(point.coverage, point.risk) for point in curve.points] for curve in curves if curve.points}
    found = report.reliability
    fit = {"ideal": [(0.0, 0.0), (1.0, 1.0)]}
    if found:
        fit["calibrated"] = [(each.expected, each.right) for each in found.bins]
    return {
        "report": report,
        "risk": line_chart(lines, zero=True) if lines else None,
        "reliability": line_chart(fit, zero=True) if found else None,
        "fits": f"calibration error {found.error:.3f}, Brier score {found.brier:.3f}" if found else "",
        "curves": [
            (
                curve.score.capitalize(),
                f"{curve.records:,}",
                f"{curve.area.value:.3f} ({curve.area.low:.3f} to {curve.area.high:.3f})",
                f"{curve.excess:.3f}",
            )
            for curve in curves
        ],
        "asked": [row(risk) for risk in report.risks],
    }


def row(asked: AskedRisk) -> tuple[str, str, str, str, str]:
    """A risk that was asked for: the probability at its threshold, and what that does on the holdout."""
    at, probability = asked.holdout, asked.probability if asked.holdout else None
    return (
        percent(asked.risk),
        "none" if probability is None else f"{probability:.3f}",
        share(at.coverage) if at else NONE,
        share(at.risk) if at else NONE,
        asked.words,
    )
