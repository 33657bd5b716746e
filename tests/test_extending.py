"""A kind of task and a measure that this repository does not have, registered without an edit in `stages/`.

`docs/extending.md` walks through the same two; `tests/test_engines.py` does it for a serving engine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hallmark.answer.measures import COMMON
from hallmark.answer.predictions import prediction, readable
from hallmark.answer.scoring import Scorer
from hallmark.base.errors import HallmarkError
from hallmark.base.files import HOLDOUT, HOLDOUT_LOCK, write_json
from hallmark.base.reading import read_json
from hallmark.base.records import read_records
from hallmark.commands import summary
from hallmark.judge.metrics import metrics
from hallmark.judge.reported import DPO
from hallmark.judge.results import read_results
from hallmark.params.loader import load_params
from hallmark.release.model_card import model_card
from hallmark.task.answers import Parsed
from hallmark.task.kind import Kind
from hallmark.task.kinds import KINDS
from hallmark.task.measure import Measure, of_score
from hallmark.task.predictions import ONLINE, predictions_of, write_predictions
from hallmark.task.task import Task
from stages import classical, compare, dedupe, gate, mask, report, split
from tests.made_up import write_other_reports
from tests.workspace import NO_COMPARATORS, change_params, make_workspace, run, written


class Rating(Kind):
    """A text to a whole number, such as the stars of a review."""

    name = "rating"
    listed = True
    measures = (of_score("within_one", "Within one star", "rate", "accuracy"),)

    def prompt_hint(self, target: str, schema: Mapping[str, Any]) -> str:
        return f"Rate the text: {target} from {schema['minimum']} to {schema['maximum']}."

    def parse(self, text: str) -> Any:
        return int(text)

    def scores(self, expected: Parsed, predicted: Parsed, target: str, prediction: str) -> dict[str, bool | float]:
        values = (expected.value, predicted.value)
        return {"within_one": None not in values and abs(values[0] - values[1]) <= 1}


SHORT = Measure(
    "short", "Answers of one character", lambda rows: [len(row.prediction) == 1 for row in rows], "rate", "short"
)
WORDS = ["awful", "poor", "fine", "good", "splendid"]
OVERRIDES = NO_COMPARATORS | {
    "task.kind": "rating",
    "task.schema": "data/rating.json",
    "task.refusal": None,
    "mask.gold": None,
    "mask.workers": 1,  # a new process would not have the kind that this one registers
    "mask.ner": {"engine": "none", "model": None},
    "dedupe.gold": None,
    "dedupe.threshold": 0.95,
    "split.holdout": 0.4,
    "gate.superiority": {"base": 0.1},
    "gate.floors": {"within_one": 0.5, "short": 0.9},
    "gate.ceilings": {},
}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose task is of the new kind, with 300 reviews of 30 shops."""
    monkeypatch.setitem(KINDS, "rating", Rating())
    monkeypatch.setitem(COMMON, "short", SHORT)
    texts = [f"Order {n * 7919}: {WORDS[n % 5]} {n * 104729 % 9973}" for n in range(300)]
    rows = [
        {"id": f"r{n}", "group": f"shop {n % 30}", "prompt": text, "target": str(n % 5 + 1)}
        for n, text in enumerate(texts)
    ]
    make_workspace(tmp_path, OVERRIDES, records=rows)
    monkeypatch.chdir(tmp_path)
    write_json(Path("data/rating.json"), {"type": "integer", "minimum": 1, "maximum": 5})
    return tmp_path


def test_a_new_kind_and_measure_go_through_the_pipeline(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = load_params()
    write_other_reports(workspace)  # benchmark, dpo and the training curve; and a split, which the stage's own replaces
    HOLDOUT_LOCK.unlink()
    mask.run(params)
    dedupe.run(params)
    split.run(params, False)
    answer_with(params, "base", lambda stars: "fine")
    answer_with(params, "tuned", lambda stars: str(stars if stars > 1 else 3))
    classical.run(params)  # a kind without labels: the linear model sits this one out
    write_predictions(predictions_of(ONLINE), [])
    compare.run(params)
    gate.run(params)
    report.run(params)
    within = 0.8  # one star of five is answered with three

    assert read_json(Path("reports/eval/tuned/metrics.json"))["within_one"] == pytest.approx(within, abs=0.1)
    rules = {rule["name"]: rule for rule in read_json(Path("reports/gate.json"))["rules"]}
    assert rules["floor.within_one"]["outcome"] == "pass"
    assert rules["floor.short"]["outcome"] == "pass"
    results = read_results()
    shown = {measure.name: measure for measure in results.measures}
    assert shown["within_one"].tuned.value > results.comparison.models[0].measures["within_one"].value == 0
    card = model_card(params, results, {"base": {}, "dpo": DPO(), "rows": {}}, {})
    summary.show(summary.rows(results, short=False))
    page, table = Path("reports/comparison.html").read_text(encoding="utf-8"), capsys.readouterr().out
    for words in ("Within one star", "Answers of one character"):
        assert words in card and words in page and words in table
    failing = [json.loads(line) for line in predictions_of("tuned").read_text().splitlines()]
    assert {row["outcome"] for row in failing} == {"pass", "wrong_value"}
    assert {row["scores"]["within_one"] for row in failing} == {True, False}


def answer_with(params: Any, model: str, answer: Any) -> None:
    """What `eval` would leave of a model that answers in this way."""
    task = Task(params.task)
    scorer, rows = Scorer(task), []
    for record in read_records(HOLDOUT).rows(named=True):
        text = answer(int(readable(record)["target"]))
        score = scorer.score(**readable(record), prediction=text)
        rows.append(prediction(record, text, score, finish="stop", tokens=1))
    write_predictions(predictions_of(model), rows)
    write_json(predictions_of(model).with_name("metrics.json"), metrics(model, rows, task))


def test_unknown_kinds_and_measures_name_the_known_ones(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_params(workspace, {"task.kind": "ratings"})
    with pytest.raises(HallmarkError, match=r"no kind 'ratings'.*\brating\b"):
        load_params()
    change_params(workspace, {"task.kind": "rating", "gate.floors": {"within_two": 0.5}})
    with pytest.raises(HallmarkError, match=r"gate.floors: .*within_one"):
        load_params()
    monkeypatch.setitem(COMMON, "short", replace(SHORT, gate=False))
    change_params(workspace, {"gate.floors": {"short": 0.5}})
    with pytest.raises(HallmarkError, match=r"gate.floors: no measure 'short'"):
        load_params()


OWN = {
    "stages/kinds/rating.py": """from hallmark.task.kind import Kind
class Rating(Kind):
    name = "rating"
    def prompt_hint(self, target, schema):
        return f"Rate the text: {target}."
KIND = Rating()
""",
    "stages/measures/short.py": """from hallmark.task.measure import Measure
MEASURE = Measure("short", "Short", lambda rows: [len(row.prediction) == 1 for row in rows], "rate", "short")
""",
    "stages/engines/toy.py": """from typing import Literal
from hallmark.serve.engines.transformers_serve import TransformersServe, TransformersServer
class Server(TransformersServer):
    kind: Literal["toy"]
class Toy(TransformersServe):
    settings = Server
ENGINE = Toy()
""",
    "stages/comparators/parrot.py": """from typing import Literal
from hallmark.answer.comparators.few_shot import FewShot, FewShotSettings
class ParrotSettings(FewShotSettings):
    kind: Literal["parrot"]
class Parrot(FewShot):
    settings = ParrotSettings
COMPARATOR = Parrot()
""",
}


def test_files_of_ones_own_are_found_listed_and_hashed(tmp_path: Path) -> None:
    """Each lies in its folder of `stages/`: the params know it, `--help` lists it, and the stages that load it depend on it."""
    written(make_workspace(tmp_path, {}), OWN)
    said = " ".join(run(tmp_path, "python", "-m", "hallmark.commands.params", "--help").stdout.split())
    for words in (
        r"task.kind: [\w, ]*\brating\b",
        r"server: [\w, ]*\btoy\b",
        r"comparator: [\w, ]*\bparrot\b",
        r"\bshort\b",
    ):
        assert re.search(words, said), words
    run(tmp_path, "python", "-m", "stages.code")
    listed = {file.name: file.read_text(encoding="utf-8") for file in sorted((tmp_path / "code").iterdir())}
    for name, stages in zip(
        OWN, (("mask", "eval"), ("eval", "compare"), ("eval", "benchmark"), ("eval",)), strict=True
    ):
        for stage in stages:
            assert f"  {name}\n" in listed[stage], (name, stage)
        assert f"  {name}\n" not in listed["quantize"]
