"""One made-up run with all that a report can show: its gate, decision, summary, card and page are those in tests/golden.

A change of any of them shows in the diff: `GOLDEN=1 pytest tests/test_golden.py` writes them again.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hallmark.base.files import write_json
from hallmark.base.reading import read_json_lines
from hallmark.commands import summary
from hallmark.judge.reported import DPO
from hallmark.judge.results import read_results
from hallmark.params.loader import load_params
from hallmark.release.model_card import model_card
from hallmark.task.predictions import predictions_of
from stages import compare, decide, gate, report
from tests.made_up import (
    BENCHMARKED,
    ROOT,
    outcomes,
    prediction,
    sure,
    without_comparators,
    write_models,
    write_other_reports,
    write_predictions,
)
from tests.rows import with_changes

FOLDER = Path(__file__).parent / "golden"
WHOLE = without_comparators(load_params(ROOT / "params.yaml"), "few_shot")
PARAMS = with_changes(
    WHOLE,
    compare__bootstrap_samples=500,
    benchmark__price_per_hour=3.6,
    gate__floors=WHOLE.gate.floors | {"exact_match": 0.99},
    gate__waive={"floor.exact_match": "<b>read</b> by a person", "data.leaks": "none are expected"},
)
LIVE = {
    "by": "word", "name": "<b>outage", "reference": 0.05, "today": 0.25,
    "difference": {"value": 0.2, "low": 0.1, "high": 0.3},
}  # fmt: skip
DRIFT = {
    "verdict": "drift", "words": "Today differs.", "alpha": 0.05, "auc": 0.7, "chance": 0.55, "p": 0.005, "slices": [LIVE],
    "reference": {"records": 400, "groups": 40}, "today": {"records": 400, "groups": 40},
}  # fmt: skip
FREE = {"parses": 8, "schema_validity": 7, "exact_match": 2, "cut_off": 1, "tokens": 90}
HELD = {"records": 10, "free": FREE, "constrained": FREE | {"schema_validity": 10}, "fixed": 1, "hidden": 2, "lost": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the run, which is the working directory."""
    root = tmp_path_factory.mktemp("golden")
    drawn = outcomes(1, 150, wrong_format=0.5, wrong_value=0.2)
    write_models(
        root,
        drawn,
        outcomes(2, 150, wrong_value=0.1, hallucination=0.06, omission=0.05),
        linear=outcomes(3, 150, wrong_value=0.3),
        few_shot=outcomes(4, 150, wrong_format=0.2, wrong_value=0.3),
    )
    for model in ("base", "few_shot"):  # which were asked half of the records
        write_predictions(root, model, list(read_json_lines(root / predictions_of(model)))[::2])
    later = [prediction(1000 + i, f"Customer {i % 12:02d}", "pass" if i % 3 else "omission") for i in range(60)]
    write_predictions(root, "online", later)
    write_other_reports(root)
    for model in ("base", "tuned"):
        timing = {"records": 10, "free_seconds": 2.0, "seconds": 3.5}
        measured = BENCHMARKED | {"server": "hf", "answer_seconds": 100.0, "constrained": timing}
        write_json(root / f"reports/measured/eval_{model}.json", measured)
        write_json(
            root / f"reports/eval/{model}/metrics.json",
            {"model": model, "records": 150, "failures": {}, "constrained": HELD},
        )
    write_json(root / "reports/measured/comparators.json", {"few_shot": {"answer_seconds": 80.0}, "seconds": 90.0})
    write_json(root / "reports/measured/classical.json", {"seconds": 3.0})
    write_json(root / "reports/cascade.json", sure())
    write_json(root / "reports/collect.json", {"traces": 1234, "drift": DRIFT, "records": 7})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        compare.run(PARAMS)
        gate.run(PARAMS)
        decide.run(PARAMS)
        report.run(PARAMS)
        yield root


def held(name: str, text: str) -> None:
    """The text is that of the golden file."""
    file = FOLDER / name
    if os.environ.get("GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text.splitlines() == file.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", ["gate", "headline", "decision"])
def test_a_report_is_as_before(run: Path, name: str) -> None:
    text = (run / f"reports/{name}.json").read_text(encoding="utf-8")
    held(f"{name}.json", json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n")


def test_the_summary_is_the_same(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "fingerprint_here", lambda _: None)
    monkeypatch.setattr(summary, "load_params", lambda _: PARAMS)
    summary.main(argparse.Namespace(params=None))
    held("summary.txt", capsys.readouterr().out)


def test_the_card_is_as_before(run: Path) -> None:
    made_of = {"base": {"weights": "model.safetensors", "files": {}}, "dpo": DPO(), "rows": {}}
    held("card.txt", model_card(PARAMS, read_results(), made_of, {}))


def test_the_words_of_the_page_are_as_before(run: Path) -> None:
    """Without its styles, scripts and records: those are looked at in a browser."""
    page = (run / "reports/comparison.html").read_text(encoding="utf-8").split('id="island"')[0]
    page = re.sub(r"<(style|script)\b.*?</\1>|<svg\b.*?</svg>", "", page, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]+>", "\n", page))
    held("page.txt", "\n".join(line.strip() for line in text.splitlines() if line.strip()) + "\n")
