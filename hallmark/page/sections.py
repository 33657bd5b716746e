"""Sections of the page: the data stages, the training, how sure the model is, and live traffic."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hallmark.base.figures import NONE, percent, share
from hallmark.base.reading import read_text
from hallmark.base.reports import Report
from hallmark.judge.cascade import AskedRisk, CascadeReport
from hallmark.judge.online import Online
from hallmark.page.charts import line_chart

ACRONYMS = {"IBAN", "ID", "IP", "MAC", "NRP", "SSN", "URL", "US", "UUID", "ZIP"}


@dataclass(frozen=True)
class MaskedKind:
    """A kind of private data: spans masked, spans labelled in the gold data, and what masking finds of these."""

    name: str
    masked: int
    labelled: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class DataStages:
    """Everything in that section of the page: the reports of three stages, and what follows from them."""

    mask: dict[str, Any]
    dedupe: dict[str, Any]
    split: dict[str, Any]
    kinds: list[MaskedKind]  # most frequent first
    lost: int  # records that the split drops


def read_data_stages() -> DataStages:
    mask, dedupe, split = (Report(name).content for name in ("mask", "dedupe", "split"))
    gold = mask["gold"]
    labelled = gold["spans_by_kind"] if gold else {}
    kinds = [
        MaskedKind(
            in_words(kind),
            mask["spans"]["by_kind"].get(kind, 0),
            labelled.get(kind, 0),
            gold["recall_by_kind"].get(kind) if gold else None,
            gold["precision_by_kind"].get(kind) if gold else None,
        )
        for kind in {**mask["spans"]["by_kind"], **labelled}
    ]
    kinds.sort(key=lambda kind: (-kind.masked, kind.name))
    return DataStages(mask, dedupe, split, kinds, dedupe["rows"]["out"] - sum(split["rows"].values()))


def in_words(kind: str) -> str:
    """A kind of private data as people read it: `IBAN code`."""
    return " ".join(word if word in ACRONYMS else word.lower() for word in kind.split("_"))


def kept(trained: dict[str, Any]) -> str:
    """Which adapter of the training is kept, as a phrase, from reports/sft.json."""
    early = "stopped early; " if trained["stopped_early"] else ""
    if trained["undertrained"]:
        early = "undertrained: the validation loss was still falling when training ended; "
    return (
        f"{early}the adapter of step {trained['kept_step']:,} is kept: validation loss {trained['validation_loss']:.3f}"
    )


def read_curve(path: Path) -> dict[str, list[tuple[float, float]]]:
    """The training curve, `step,split,loss`, as {split: [(step, loss)]}."""
    curve: dict[str, list[tuple[float, float]]] = {}
    for row in csv.DictReader(read_text(path, "run `dvc repro sft`, which makes it").splitlines()):
        curve.setdefault(row["split"], []).append((float(row["step"]), float(row["loss"])))
    return curve


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


COLLECT = "run `nox -s collect`, which makes it; without traffic, `git checkout reports/collect.json`"
KINDS = {"label": "label of the answer", "length": "length", "word": "word"}


@dataclass(frozen=True)
class Live:
    """The section of the page. `kinds`: what a kind of slice is called."""

    traces: int
    online: Online | None
    drift: dict[str, Any] | None  # as `collect` reports it
    kinds: dict[str, str]


def live(online: Online | None) -> Live | None:
    """What there is to show; None without online records and traces."""
    found = Report("collect", remedy=COLLECT)
    traces = found.at("traces")
    if online is None and not traces:
        return None
    return Live(traces, online, found.at("drift"), KINDS)
