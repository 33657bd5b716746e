"""Render reports/comparison.html, the page on which the release is decided: `python -m stages.report`.

The page shows the gate's verdict and the serving curves, so it is made after `gate`, not by `compare`; comparison.json has
the same bytes from run to run, this page can't. What it consists of is in `hallmark/page/`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hallmark.answer.grounding import Grounding
from hallmark.answer.parity import Parity
from hallmark.base.errors import HallmarkError
from hallmark.base.files import REPORTS, write_text
from hallmark.base.outcomes import OUTCOMES
from hallmark.base.reports import Report
from hallmark.judge import decision_words, shipped_words
from hallmark.judge.cascade import CascadeReport
from hallmark.judge.decision import Decision
from hallmark.judge.results import Results, read_benchmark, read_results
from hallmark.judge.retrieval import sorts_of
from hallmark.judge.verdict import VERDICTS
from hallmark.page.charts import latency_charts, line_chart, matrix
from hallmark.page.confidence import sure
from hallmark.page.data_stages import DataStages, read_data_stages
from hallmark.page.labels import ByLabel, by_label
from hallmark.page.live import Live, live
from hallmark.page.origin import origin
from hallmark.page.records import Labeller, island
from hallmark.page.text import SCRIPT, STYLE, UNSEEN, UNSEEN_IN_NAME, csp_hash, environment, read_part, to_script
from hallmark.params.loader import Params, run_with_params
from hallmark.task.predictions import Prediction, check_all, paired, read_predictions
from hallmark.task.task import Task

PAGE = REPORTS / "comparison.html"
SORTS = {  # of records with retrieval, by what they are called in comparison.json
    "held": {"what": "all that is expected", "abstaining": "wrong"},
    "lacking": {"what": "not all that is expected", "abstaining": "better than to make something up"},
    "silent": {"what": "something, but no answer is expected", "abstaining": "right"},
    "empty": {"what": "nothing, and no answer is expected", "abstaining": "right"},
}


def run(params: Params) -> None:
    """Read what the stages before reported; write the page."""
    tuned = read_predictions("tuned")
    results = read_results()
    if results.comparison.records != len(tuned):
        report = Report("comparison", "compare")
        raise HallmarkError("not about these predictions", file=report.path, remedy=report.remedy)
    of = {column.name: column for column in results.columns}
    names = ["base", "tuned", *(name for name in of if name not in ("base", "tuned"))]
    titles = {name: of[name].title for name in names}
    models: list[Sequence[Prediction | None]] = [
        tuned if name == "tuned" else answered(name, of[name].records, tuned) for name in names
    ]
    task = Task(params.task)
    linear: list[Prediction] = []
    if results.comparison.against.classical.applies:
        linear, titles["classical"] = read_predictions("classical"), "Linear"
        check_all("classical", linear, tuned)
    answers: dict[str, list[str | None]] = {
        name: [row.answer if row else None for row in rows]
        for name, rows in zip(titles, [*models, *([linear] if linear else [])], strict=True)
    }
    labels = by_label(task, [row.target for row in tuned], answers)
    labellers = [Labeller(linear, task.kind.label_names(task), labels.right["classical"])] if linear else []
    grounding = Grounding(task, params.eval.facts)
    dpo = Report("dpo")
    page = render(
        title=params.base.name,
        group=params.data.group,
        margins_against=params.gate.margins_against,
        origin=origin(params, results.served_measured),
        results=results,
        labels=labels,
        titles=titles,
        data_stages=read_data_stages(),
        benchmark=read_benchmark(),
        curve=read_curve(REPORTS / "sft_curve.csv"),
        kept=kept(Report("sft").as_(Trained)),
        cascade=Report("cascade").as_(CascadeReport),
        traffic=live(results.comparison.online),
        dpo=dpo.at("words") if dpo.at("enabled") else None,
        records=island(
            models,
            labellers,
            labels.places,
            sorts_of(tuned, grounding),
            chars=params.report.field_chars,
            records=params.report.records,
        ),
    )
    write_text(PAGE, page)


def answered(name: str, count: int, tuned: Sequence[Prediction]) -> list[Prediction | None]:
    """A model's answer to each record of the holdout; None if it was not asked. `count`: how many were compared."""
    rows = read_predictions(name)
    paired(name, rows, tuned)
    if len(rows) != count:
        report = Report("comparison", "compare")
        raise HallmarkError("not about these predictions", file=report.path, remedy=report.remedy)
    given = {row.id: row for row in rows}
    return [given.get(row.id) for row in tuned]


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


@dataclass(frozen=True)
class Trained:
    """What the page reads of `reports/sft.json`."""

    kept_step: int
    validation_loss: float
    stopped_early: bool


def kept(trained: Trained) -> str:
    """Which adapter of the training is kept, as a phrase."""
    early = "stopped early; " if trained.stopped_early else ""
    return f"{early}the adapter of step {trained.kept_step:,} is kept: validation loss {trained.validation_loss:.3f}"


def render(
    *,
    title: str,
    group: str,
    margins_against: str,
    origin: list[tuple[str, str]],
    results: Results,
    labels: ByLabel,
    titles: dict[str, str],
    data_stages: DataStages,
    benchmark: Report,
    curve: dict[str, list[tuple[float, float]]],
    kept: str,
    cascade: CascadeReport | None,
    traffic: Live | None,
    dpo: str | None,
    records: list[dict[str, Any]],
) -> str:
    """The page as one HTML text."""
    style, script = read_part(STYLE), read_part(SCRIPT)
    # The fields of the page's form by which outcomes are chosen; a comparator could be called as another field.
    selects = {name: name if name in ("base", "tuned") else f"vs_{name}" for name in titles if name != "classical"}
    comparison = results.comparison
    base = comparison.against.base
    slices = [
        (label, [row for row in base.slices if row.by == by])
        for by, label in (("group", group), ("tag", "tag"), ("length", "input length"))
    ]
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            title=title,
            group=group,
            origin=origin,
            results=results,
            **decided(results.decision),
            sure=sure(cascade),
            live=traffic,
            comparison=comparison,
            base=base,
            linear=comparison.against.classical,
            gate=results.verdict,
            verdicts=VERDICTS,
            matrices=[(model, matrix(model.transitions, model.records)) for model in comparison.against.models],
            tuned=comparison.tuned,
            sampled=any(column.records < comparison.records for column in results.columns),
            margins={"title": titles[margins_against], "against": comparison.against.model(margins_against)},
            slices=[(label, rows) for label, rows in slices if rows],
            percent=f"{100 * comparison.confidence:g}%",
            labels=labels,
            titles=titles,
            selects=selects,
            data=data_stages,
            serving={
                "charts": latency_charts(benchmark),
                "models": benchmark.at("models"),
                "server": benchmark.at("server"),
                "taken": results.served_measured,
                "held": benchmark.content.get("schema"),
            },
            shipped=shipped(results.parity),
            curve=line_chart(curve, zero=True) if any(curve.values()) else None,
            kept=kept,
            dpo=dpo,
            outcomes=OUTCOMES,
            sorts=SORTS,
            style=style,
            script=script,
            hashes={"style": csp_hash(style), "script": csp_hash(script)},
            island=to_script(
                {
                    "records": records,
                    "total": comparison.records,
                    "outcomes": OUTCOMES,
                    "titles": list(titles.values()),
                    "models": list(selects.values()),
                    "labels": [
                        [
                            label.name,
                            [head.name for head in label.rows],
                            [head.name for head in label.matrices["tuned"].columns],
                        ]
                        for label in labels.labels
                    ],
                    "unseen": [UNSEEN, UNSEEN_IN_NAME],
                }
            ),
        )
    )


def decided(decision: Decision | None) -> dict[str, Any]:
    """What the page shows of the decision; nothing if there is none yet."""
    if decision is None:
        return {"decision": None}
    table = {"ways_head": decision_words.head(decision), "ways": decision_words.rows(decision)}
    return {"decision": decision, "ways_note": decision_words.note(decision)} | table


def shipped(parity: Parity | None) -> dict[str, Any] | None:
    """The table of what ships; None if nothing was to be compared."""
    if parity is None or not (parity.artefacts or parity.live):
        return None
    return {"head": shipped_words.HEAD, "rows": shipped_words.rows(parity), "note": shipped_words.note(parity)}


if __name__ == "__main__":
    run_with_params("report", __doc__, run)
