"""Render reports/comparison.html, the page on which the release is decided: `python -m stages.report`.

The page shows the gate's verdict and the serving curves, so it is made after `gate`, not by `compare`; comparison.json has
the same bytes from run to run, this page can't. Every text in it is escaped, or set as text by the script; it loads nothing,
and its content security policy lets no other script or style run.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from itertools import zip_longest
from pathlib import Path
from typing import Any

from stages.core.errors import HallmarkError
from stages.core.files import REPORTS, write_text
from stages.core.outcomes import OUTCOMES, in_words
from stages.core.reports import Report
from stages.evaluation.comparison import Transition
from stages.params.loader import Params, run_with_params
from stages.release.results import Results, read_benchmark, read_results
from stages.release.verdict import VERDICTS
from stages.tasks.predictions import Prediction, check_paired, read_predictions
from stages.tasks.values import FieldResult

PAGE = REPORTS / "comparison.html"
FOLDER = Path(__file__).parent
# Characters that can't be seen or that reorder others; the script gets the same pattern. The joiners and variation
# selectors of emoji, Persian and the like are left alone, but after a plain letter they only hide a difference.
UNSEEN = (
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
    "|(?<![^\x00-\x7f])[\u200c\u200d\ufe00-\ufe0f](?!\u20e3)"
)
# In a name, also white space other than a space: two names that look alike must not be two names.
UNSEEN_IN_NAME = f"{UNSEEN}|[\t\n\r\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000]|^ | $"
LABEL = 80  # longest name of a customer or tag that is shown whole


def run(params: Params) -> None:
    """Read what the stages before reported; write the page."""
    base, tuned = read_predictions("base"), read_predictions("tuned")
    check_paired("base", base, "tuned", tuned)
    results = read_results()
    if results.comparison.records != len(tuned):
        report = Report("comparison", "compare")
        raise HallmarkError("not about these predictions", file=report.path, remedy=report.remedy)
    dpo = Report("dpo")
    page = render(
        title=params.base.name,
        group=params.data.group,
        results=results,
        benchmark=read_benchmark(),
        curve=read_curve(REPORTS / "sft_curve.csv"),
        dpo=dpo.at("words") if dpo.at("enabled") else None,
        records=island(base, tuned, params.report.field_chars),
    )
    write_text(PAGE, page)


def read_curve(path: Path) -> dict[str, list[tuple[float, float]]]:
    """The training curve, `step,split,loss`, as {split: [(step, loss)]}."""
    curve: dict[str, list[tuple[float, float]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                curve.setdefault(row["split"], []).append((float(row["step"]), float(row["loss"])))
    except FileNotFoundError:
        raise HallmarkError("no such file", file=path, remedy="run `dvc repro sft`, which makes it") from None
    except (KeyError, TypeError, ValueError):
        raise HallmarkError(
            "not a table of step, split and loss", file=path, remedy="run `dvc repro sft`, which makes it"
        ) from None
    return curve


def island(base: list[Prediction], tuned: list[Prediction], limit: int) -> list[dict[str, Any]]:
    """Every record as the page's script reads it, worst first; no text longer than `limit` characters is put in."""
    rows = []
    for number, (before, after) in enumerate(zip(base, tuned, strict=True)):
        failing = sum(field.result != "match" for field in after.fields)
        rank = (
            after.outcome == "pass",
            before.outcome != "pass",  # what the base could do and the tuned model can't comes first
            OUTCOMES.index(after.outcome),
            -failing,
            number,
        )
        row = {
            "number": number + 1,
            "id": clip(after.id, LABEL),
            "group": clip(after.group, LABEL),
            "tags": [clip(tag, LABEL) for tag in after.tags or ()],
            "input": cut(after.input, limit),
            "context": cut(after.context, limit) if after.context else None,
            "target": cut(after.target, limit),
            "models": [
                {
                    "text": cut(row.answer or row.prediction, limit),
                    "outcome": row.outcome,
                    "reason": clip(row.reason or "", 300),
                    "cut_off": row.finish == "length",
                }
                for row in (before, after)
            ],
            "fields": merge_fields(before.fields, after.fields, limit),
        }
        rows.append((rank, row))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def merge_fields(base: list[FieldResult], tuned: list[FieldResult], limit: int) -> list[list[Any]]:
    """One row per field: path, target, and value and result of the base and of the tuned model (None: not judged)."""
    rows: dict[str, tuple[list[FieldResult], list[FieldResult]]] = {}
    for model, results in enumerate((base, tuned)):
        for result in results:
            rows.setdefault(result.path, ([], []))[model].append(result)
    merged = []
    for path, both in rows.items():
        for pair in zip_longest(*both):
            fields = [field for field in pair if field is not None]
            cells = [[value(field.prediction, limit), field.result] if field else None for field in pair]
            target = value(fields[0].target, limit)
            merged.append([clip(path, LABEL), target, *cells])
    return merged


def value(content: Any, limit: int) -> str:
    """A field's value as text: JSON, so that the text `null` and null differ."""
    return clip(json.dumps(content, ensure_ascii=False), limit)


def cut(text: str, limit: int) -> str | list[Any]:
    """The text, or `[its start, its length]` if it is longer than `limit`."""
    return text if len(text) <= limit else [text[:limit], len(text)]


def clip(text: str, limit: int) -> str:
    """The text, its end replaced by an ellipsis if it is longer than `limit`."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def to_script(data: Any) -> str:
    """JSON that is safe inside `<script type="application/json">`: it can't close the element nor open a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def spelled_out(text: Any, unseen: str = UNSEEN) -> Any:
    """A text with what can't be seen, or would reorder the rest, spelled out; markup and other values as they are."""
    if not isinstance(text, str) or hasattr(text, "__html__"):
        return text
    return re.sub(unseen, lambda match: f"[U+{ord(match[0]):04X}]", text)


def visible(name: str) -> str:
    """A name in full view, cut at `LABEL` characters."""
    return str(spelled_out(clip(name, LABEL), UNSEEN_IN_NAME))


def line_chart(series: dict[str, list[tuple[float, float]]], *, zero: bool) -> dict[str, Any]:
    """Points and ticks of a line chart on a canvas of 100 x 100, y downwards. `zero`: the y axis starts at 0."""
    points = [point for line in series.values() for point in line]
    x_ticks = ticks(min(x for x, _ in points), max(x for x, _ in points))
    y_ticks = ticks(0.0 if zero else min(y for _, y in points), max(y for _, y in points))

    def scaled(number: float, axis: list[float]) -> float:
        return round(100 * (number - axis[0]) / (axis[-1] - axis[0]), 2)

    return {
        "x": [(scaled(tick, x_ticks), f"{tick:g}") for tick in x_ticks],
        "y": [(round(100 - scaled(tick, y_ticks), 2), f"{tick:g}") for tick in y_ticks],
        "legend": list(dict.fromkeys(name.split()[0] for name in series)),
        "lines": {
            name: [(scaled(x, x_ticks), round(100 - scaled(y, y_ticks), 2)) for x, y in sorted(line)]
            for name, line in series.items()
        },
    }


def ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers, the first at or below `low`, the last at or above `high`."""
    if high <= low:
        high = low + 1
    rough = (high - low) / 4
    power = (
        10.0 ** (len(str(int(rough))) - 1) if rough >= 1 else 10.0 ** -next(n for n in range(30) if rough * 10**n >= 1)
    )
    step = next(nice * power for nice in (1, 2, 5, 10) if nice * power >= rough)
    first, last = int(low // step), -int(-high // step)
    return [round(step * n, 12) for n in range(first, last + 1)]


def latency_charts(benchmark: Report) -> dict[str, Any]:
    """Latency over load, for each kind of load that has more than one level."""
    charts = {}
    for kind in ("concurrency", "rate"):
        lines = {
            f"{model} {quantile}": [
                (float(level[kind]), level["latency_s"][quantile])
                for level in report["levels"]
                if kind in level and level["latency_s"][quantile] is not None
            ]
            for model, report in sorted(benchmark.at("models").items())
            for quantile in ("p50", "p95")
        }
        lines = {name: line for name, line in lines.items() if len(line) > 1}
        if lines:
            charts[kind] = line_chart(lines, zero=True)
    return charts


def matrix(transitions: list[Transition], records: int) -> dict[str, Any]:
    """The outcomes of the base (rows) by those of the tuned model (columns), passes first, with totals and shades."""
    counts = {(move.other, move.tuned): move.records for move in transitions}
    before, after = ([name for name in OUTCOMES[::-1] if name in side] for side in zip(*counts, strict=True))
    rows = []
    for was in before:
        cells: list[dict[str, Any]] = []
        for became in after:
            n = counts.get((was, became), 0)
            kind = "" if (was == "pass") == (became == "pass") else "lost" if was == "pass" else "won"
            heat = 1 + sum(n > share * records for share in (0.02, 0.1, 0.3))
            cells.append({"name": became, "records": n, "heat": heat, "kind": kind})
        rows.append({"name": was, "cells": cells, "total": sum(cell["records"] for cell in cells)})
    totals = [sum(counts.get((was, became), 0) for was in before) for became in after]
    return {"columns": after, "rows": rows, "totals": totals}


def render(
    *,
    title: str,
    group: str,
    results: Results,
    benchmark: Report,
    curve: dict[str, list[tuple[float, float]]],
    dpo: str | None,
    records: list[dict[str, Any]],
) -> str:
    """The page as one HTML text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=spelled_out,  # of every expression, whatever its words quote
    )
    environment.filters |= {"visible": visible, "in_words": in_words}
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    comparison = results.comparison
    base = comparison.against.base
    slices = [
        (label, [row for row in base.slices if row.by == by])
        for by, label in (("group", group), ("tag", "tag"), ("length", "input length"))
    ]
    return environment.get_template("report.html.jinja").render(
        title=title,
        group=group,
        results=results,
        comparison=comparison,
        base=base,
        linear=comparison.against.classical,
        gate=results.verdict,
        verdicts=VERDICTS,
        matrix=matrix(base.transitions, comparison.records),
        slices=[(label, rows) for label, rows in slices if rows],
        percent=f"{100 * comparison.confidence:g}%",
        serving={
            "charts": latency_charts(benchmark),
            "models": benchmark.at("models"),
            "server": benchmark.at("server"),
            "taken": results.served_measured,
        },
        curve=line_chart(curve, zero=True) if any(curve.values()) else None,
        dpo=dpo,
        outcomes=OUTCOMES,
        style=style,
        script=script,
        hashes={"style": csp_hash(style), "script": csp_hash(script)},
        data=to_script({"records": records, "outcomes": OUTCOMES, "unseen": [UNSEEN, UNSEEN_IN_NAME]}),
    )


def csp_hash(text: str) -> str:
    """The source expression with which a content security policy allows exactly this inline text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


if __name__ == "__main__":
    run_with_params("report", __doc__, run)
