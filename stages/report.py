"""Render reports/comparison.html, the page for deciding on the release: `python -m stages.report`.

It reads the answers to the holdout, the reports of the stages before, and the split. The page shows the gate's verdict and
the serving curves, so it is made after `gate`, not by `compare`: comparison.json has the same bytes in each run, this page
has not. Its templates, style and script, and the parts of it that need more than a line, are in `hallmark/page/`.
"""

from __future__ import annotations

import logging
from typing import Any

from hallmark.answer.grounding import Grounding
from hallmark.answer.predictions import answers_of
from hallmark.base.figures import percent
from hallmark.base.files import REPORTS, write_text
from hallmark.base.outcomes import OUTCOMES
from hallmark.base.reports import Report
from hallmark.judge.cascade import CascadeReport
from hallmark.judge.quality_rules import baseline
from hallmark.judge.reported import DPO, TRAINED
from hallmark.judge.results import read_results
from hallmark.judge.retrieval import sorts_of
from hallmark.judge.verdict import VERDICTS
from hallmark.page.charts import latency_charts, line_chart, matrix
from hallmark.page.labels import by_label
from hallmark.page.origin import origin
from hallmark.page.records import SORTS, Labeller, answered, examples, filters, for_script, island
from hallmark.page.sections import kept, live, read_curve, read_data_stages, sure
from hallmark.page.text import whole_page
from hallmark.params.loader import Params, run_with_params
from hallmark.release.private_data import private_data
from hallmark.task.predictions import Prediction, read_predictions
from hallmark.task.task import Task

log = logging.getLogger("report")

PAGE = REPORTS / "comparison.html"


def run(params: Params) -> None:
    """Read what the stages before reported; write the page."""
    tuned = answers_of("tuned", params)
    results = read_results()
    comparison = results.comparison

    # Whose answers are shown: of the base and the tuned model, then of the comparators, last of the linear model.
    of = {column.name: column for column in results.models}
    names = ["base", "tuned", *(name for name in of if name not in ("base", "tuned"))]
    titles = {name: of[name].title for name in names}
    models = [answered(tuned if name == "tuned" else answers_of(name, params), tuned) for name in names]
    linear: list[Prediction] = []
    if comparison.against.classical.applies:
        linear, titles["classical"] = read_predictions("classical"), "Linear"

    # What is shown of each label, and of each record: a linear model gives labels only, and no other field.
    task = Task(params.task)
    answers: dict[str, list[str | None]] = {
        name: [row.answer if row else None for row in rows]
        for name, rows in zip(titles, [*models, *([answered(linear, tuned)] if linear else [])], strict=True)
    }
    labels = by_label(task, [row.target for row in tuned], answers)
    labellers = [Labeller(linear, task.kind.label_names(task), labels.right["classical"])] if linear else []
    records = island(
        models,
        labellers,
        labels.places,
        sorts_of(tuned, Grounding(task, params.eval.facts)),
    )

    base, against = comparison.against.base, baseline(params.gate.margins_against, "margins_against", comparison)
    slices = [
        (label, [row for row in base.slices if row.by == by])
        for by, label in (("group", "group"), ("tag", "tag"), ("length", "input length"))
    ]
    benchmark, curve, dpo = results.benchmark, read_curve(REPORTS / "sft_curve.csv"), Report("dpo").as_(DPO)
    shown: dict[str, Any] = {
        # The head: score, decision and verdict; then examples. Where it all comes from is at the foot.
        "title": params.base.name,
        "titles": titles,
        "gate": results.verdict,
        "verdicts": VERDICTS,
        "comparison": comparison,
        "linear": comparison.against.classical,
        "examples": examples(tuned),
        "origin": origin(params, results.served_measured),
        # What to use.
        "decision": results.decision,
        # Results, and the outcomes that they count.
        "results": results,
        "percent": percent(comparison.confidence),
        "sampled": any(column.records < comparison.records for column in results.models),
        "base": base,
        "tuned": comparison.tuned,
        "matrices": [(model, matrix(model.transitions, model.records)) for model in comparison.against.models],
        "margins": {"title": titles[against.name], "against": against},
        "sorts": SORTS,
        # Where they are better or worse: by label, by slice, by how sure the model is, and in live traffic.
        "labels": labels,
        "slices": [(label, rows) for label, rows in slices if rows],
        "sure": sure(Report("cascade").as_(CascadeReport)),
        "live": live(comparison.online),
        # Training and serving.
        "curve": line_chart(curve, zero=True) if any(curve.values()) else None,
        "kept": kept(Report("sft").as_(TRAINED)),
        "dpo": dpo.words,
        "serving": {
            "charts": latency_charts(benchmark),
            "models": benchmark.models,
            "server": benchmark.server,
            "taken": results.served_measured,
        },
        "shipped": results.shipped,
        # The data, and the records with their filters.
        "data": read_data_stages(),
        "selects": filters(titles),
        "outcomes": OUTCOMES,
    }
    write_text(PAGE, whole_page(shown, for_script(records, comparison.records, titles, labels)))
    private_data([PAGE], "error", params.mask)  # DVC takes no page of a stage that fails
    log.info("%s shows %d records", PAGE, comparison.records)


if __name__ == "__main__":
    run_with_params("report", __doc__, run)
