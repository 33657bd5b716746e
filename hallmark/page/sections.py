"""Sections of the page: the data stages, the training, how sure the model is, and live traffic."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal

from hallmark.base.errors import HallmarkError
from hallmark.base.figures import NONE, percent, share
from hallmark.base.reading import read_text
from hallmark.base.reports import Count, Report, shape
from hallmark.base.stats import Signed
from hallmark.judge.cascade import AskedRisk, CascadeReport
from hallmark.judge.drift import Drift
from hallmark.judge.online import Online
from hallmark.judge.reported import COPIED
from hallmark.page.charts import line_chart

ACRONYMS = {"IBAN", "ID", "IP", "MAC", "NRP", "SSN", "URL", "US", "UUID", "ZIP"}


# What is shown of three reports. None: there was nothing to count.
PART = dict[Literal["train", "validation", "calibration", "holdout", "online"], Count]
BY_KIND = dict[str, Signed | None]
GOLD = shape(
    spans=Count, recall=Signed | None, precision=Signed | None,
    spans_by_kind=dict[str, Count], recall_by_kind=BY_KIND, precision_by_kind=BY_KIND,
)  # fmt: skip
MASK = shape(
    level=str, rows=shape(records=Count, left_out=dict[str, Count], dropped=Count),
    files=list[shape(file=str, rows=Count)],  # type: ignore[misc]
    warnings=list[shape(words=str, source=(str | None, None))],  # type: ignore[misc]
    records_with_spans=Count, spans=shape(total=Count, by_kind=dict[str, Count]), gold=GOLD | None,
    examples=list[shape(dropped=bool, pieces=list[tuple[str, str, str | None]])],  # type: ignore[misc]
    target_values=COPIED,
)  # fmt: skip
DEDUPE = shape(
    rows=shape(out=Count),
    dropped=shape(exact=Count, near=Count, conflict=Count, only_placeholders=(Count, 0)),
    clusters=shape(clusters=Count, records=Count, largest=Count),
    gold=shape(recall=Signed | None, precision=Signed | None) | None,
)
LEAKS = shape(held_out=Count, same_group=Count, same_text=Count, near_text=(Count | None, None))
RANDOM = shape(before_dedupe=LEAKS, after_dedupe=LEAKS)
SPLIT = shape(rows=PART, leaks=Count, largest_group_share=Signed, random_row_split=RANDOM)
COLLECTED = shape(traces=Count, drift=Drift | None)


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

    mask: Any
    dedupe: Any
    split: Any
    kinds: list[MaskedKind]  # most frequent first
    lost: int  # records that the split drops


def read_data_stages() -> DataStages:
    mask, dedupe, split = Report("mask").as_(MASK), Report("dedupe").as_(DEDUPE), Report("split").as_(SPLIT)
    gold, masked = mask.gold, mask.spans.by_kind
    labelled = gold.spans_by_kind if gold else {}
    kinds = [
        MaskedKind(
            in_words(kind),
            masked.get(kind, 0),
            labelled.get(kind, 0),
            gold.recall_by_kind.get(kind) if gold else None,
            gold.precision_by_kind.get(kind) if gold else None,
        )
        for kind in {**masked, **labelled}
    ]
    kinds.sort(key=lambda kind: (-kind.masked, kind.name))
    return DataStages(mask, dedupe, split, kinds, dedupe.rows.out - sum(split.rows.values()))


def in_words(kind: str) -> str:
    """A kind of private data as people read it: `IBAN code`."""
    return " ".join(word if word in ACRONYMS else word.lower() for word in kind.split("_"))


def kept(trained: Any) -> str:
    """Which adapter of the training is kept, as a phrase, from reports/sft.json."""
    early = "stopped early; " if trained.stopped_early else ""
    if trained.undertrained:
        early = "undertrained: the validation loss was still falling when training ended; "
    return f"{early}the adapter of step {trained.kept_step:,} is kept: validation loss {trained.validation_loss:.3f}"


def read_curve(path: Path) -> dict[str, list[tuple[float, float]]]:
    """The training curve, `step,split,loss`, as {split: [(step, loss)]}."""
    remedy = "run `dvc repro sft`, which makes it"
    curve: dict[str, list[tuple[float, float]]] = {}
    for number, row in enumerate(csv.DictReader(read_text(path, remedy).splitlines()), 2):
        try:
            step, loss = int(row["step"]), float(row["loss"])
        except (KeyError, TypeError, ValueError):
            step, loss = -1, inf
        if not (0 <= step < 2**53 and abs(loss) < 1e12):
            raise HallmarkError("not a step and its loss", file=path, row=number, remedy=remedy)
        curve.setdefault(str(row["split"]), []).append((float(step), loss))
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
    drift: Drift | None
    kinds: dict[str, str]


def live(online: Online | None) -> Live | None:
    """What there is to show; None without online records and traces."""
    found = Report("collect", remedy=COLLECT).as_(COLLECTED)
    if online is None and not found.traces:
        return None
    return Live(found.traces, online, found.drift, KINDS)
