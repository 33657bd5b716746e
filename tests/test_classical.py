"""The linear model: it learns what words tell, repeats to the byte, and is held against the tuned model on labels."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hallmark.answer.labels import labels_of, right_labels
from hallmark.answer.predictions import prediction, readable
from hallmark.answer.scoring import Scorer
from hallmark.base.files import HOLDOUT, TRAIN, VALIDATION, write_json
from hallmark.base.reading import read_json
from hallmark.base.records import read_records, write_records
from hallmark.commands import summary
from hallmark.params.loader import Params, load_params
from hallmark.task.predictions import ONLINE, predictions_of, write_predictions
from hallmark.task.task import Task
from stages import classical, compare, gate
from tests.made_up import ROOT, without_comparators, write_lock, write_other_reports, write_sft
from tests.rows import with_changes
from tests.test_sft import some_records

PARAMS = without_comparators(load_params(ROOT / "params.yaml"))
SCHEMA = {
    "properties": {
        "intent": {"enum": ["refund", "delivery"]},
        "urgent": {"type": "boolean"},
        "seen": {"properties": {"how": {"enum": ["web", "shop", None]}}},
        "version": {"const": 1},
        "tags": {"items": {"enum": ["a", "b"]}},
        "product": {"type": "string"},
    },
    "required": ["intent"],
}
WORDS = {"refund": "give my money back please", "delivery": "where is the parcel now"}


def params_of(
    folder: Path, kind: str = "extraction", schema: Any = SCHEMA, refusal: str | None = '{"refusal":"policy"}'
) -> Params:
    write_json(folder / "data/schema.json", schema)
    file = None if schema is None else str(folder / "data/schema.json")
    task = {"task__kind": kind, "task__schema_file": file, "task__refusal": refusal}
    return with_changes(PARAMS, **task, compare__bootstrap_samples=300)


def write_split(path: Path, answers: list[str], texts: list[str]) -> None:
    n = len(answers)
    records = some_records(n).with_columns(
        group=pl.Series([f"C{i % 9}" for i in range(n)]),
        prompt=pl.Series([[{"role": "user", "content": text}] for text in texts]),
        completion=pl.Series([[{"role": "assistant", "content": answer}] for answer in answers]),
    )
    write_records(path, records)


def some_tickets(n: int) -> tuple[list[str], list[str]]:
    """Answers and texts: the words tell the intent and the refusal; each fifth is due a refusal."""
    answers, texts = [], []
    for i in range(n):
        intent = "refund" if i % 2 else "delivery"
        refuse = i % 5 == 0
        answer = {"intent": intent, "urgent": i % 3 == 0, "version": 1, "product": f"kettle {i}"}
        answers.append('{"refusal":"policy"}' if refuse else json.dumps(answer, separators=(",", ":")))
        texts.append(f"{WORDS[intent]} {'or my lawyer sues' if refuse else ''} {'today' if i % 3 == 0 else ''} {i}")
    return answers, texts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_split(TRAIN, *some_tickets(120))
    write_split(VALIDATION, *some_tickets(30))
    write_split(HOLDOUT, *some_tickets(60))
    write_sft(tmp_path, records=120)
    return tmp_path


def answered(params: Params, model: str, spoil: dict[int, str] | None = None) -> None:
    """Predictions of a model that is right but for the records in `spoil`."""
    scorer, rows = Scorer(Task(params.task)), []
    for number, record in enumerate(read_records(HOLDOUT).rows(named=True)):
        text = (spoil or {}).get(number, readable(record)["target"])
        score = scorer.score(**readable(record), prediction=text)
        rows.append(prediction(record, text, score, finish="stop", tokens=1))
    write_predictions(predictions_of(model), rows)
    write_predictions(predictions_of(ONLINE), [])
    failures = {"wrong_value": sum(not row.exact_match for row in rows)}
    write_json(Path("reports/eval", model, "metrics.json"), {"records": len(rows), "failures": failures})


def test_labels_are_what_the_schema_lists(folder: Path) -> None:
    task = Task(params_of(folder).task)
    names = task.kind.label_names(task)
    assert names == ["intent", "seen.how", "urgent", "version", "(refusal)"]
    said = labels_of(task, '{"urgent":true,"seen":{"how":"web"},"intent":"refund","version":1.0,"product":"x"}', names)
    given = {"intent": '["refund"]', "urgent": "[true]", "seen.how": '["web"]', "version": "[1]"}
    assert said == given | {"(refusal)": "false"}
    assert labels_of(task, task.kind.completion(task, said), names) == said
    assert labels_of(task, '{"refusal": "policy"}', names) == {"(refusal)": "true"}
    assert task.kind.completion(task, said | {"(refusal)": "true"}) == '{"refusal":"policy"}'
    assert labels_of(task, "no JSON", names) == labels_of(task, "[" * 100_000, names) == {}
    right = right_labels(
        task,
        ["seen.how", "(refusal)"],
        [('{"intent":"refund"}', '{"intent":"delivery"}'), ('{"refusal":"policy"}', "x")],
    )
    assert right == {"seen.how": [True, None], "(refusal)": [True, False]}  # no value was due, and none was given


def test_it_learns_what_words_tell_and_repeats_to_the_byte(folder: Path) -> None:
    params = params_of(folder)
    classical.run(params)
    files = [Path("reports/eval/classical", name) for name in ("predictions.jsonl", "metrics.json")]
    first = [file.read_bytes() for file in files]
    labels = {row["name"]: row for row in read_json(files[1])["labels"]}
    assert set(labels) == {"intent", "urgent", "(refusal)"}  # the others never vary
    assert labels["intent"]["value"] == labels["(refusal)"]["value"] == 1.0
    assert labels["intent"]["floor"] == pytest.approx(0.5)
    assert labels["(refusal)"]["floor"] == pytest.approx(0.8)
    assert (labels["(refusal)"]["records"], labels["intent"]["records"]) == (60, 48)
    rows = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert rows[0]["prediction"] == '{"refusal":"policy"}'
    answer = {"intent": "refund", "seen": {"how": None}, "urgent": False, "version": 1}
    assert json.loads(rows[1]["prediction"]) == answer
    classical.run(params)
    assert [file.read_bytes() for file in files] == first


def test_a_linear_model_that_wins_is_said_first_and_fails_the_gate(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = params_of(folder)
    classical.run(params)
    wrong = {i: '{"intent":"delivery","urgent":false,"version":1}' for i in range(60) if i % 2}
    answered(params, "base", dict.fromkeys(range(60), "no JSON"))
    answered(params, "tuned", wrong)
    write_other_reports(folder)
    compare.run(params)
    result = read_json(Path("reports/comparison.json"))["against"]["classical"]
    assert result["applies"] and result["wins"]
    intent = next(row for row in result["labels"] if row["name"] == "intent")
    assert (intent["records"], intent["classical"]["value"], intent["others"]["base"]["value"]) == (48, 1.0, 0.0)
    assert intent["tuned"]["value"] == pytest.approx(0.5)
    assert intent["verdict"] == "worse"
    write_lock(folder, read_records(HOLDOUT).rows(named=True))
    gate.run(params)
    rule = next(r for r in read_json(Path("reports/gate.json"))["rules"] if r["name"] == "superiority.classical")
    assert rule["outcome"] == "fail"
    summary.main(Namespace(params=ROOT / "params.yaml"))
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == result["words"]
    assert any(line.split()[:2] == ["intent", "50.0"] and "100.0 %" in line for line in printed)


def test_a_classification_is_held_against_it_in_exact_match(folder: Path) -> None:
    params = params_of(folder, "classification", {"enum": ["refund", "delivery"]}, None)
    for path, n in ((TRAIN, 120), (VALIDATION, 30), (HOLDOUT, 60)):
        write_split(path, ["refund" if i % 2 else "delivery" for i in range(n)], some_tickets(n)[1])
    classical.run(params)
    rows = [json.loads(line) for line in Path("reports/eval/classical/predictions.jsonl").read_text().splitlines()]
    assert all(row["exact_match"] for row in rows)
    answered(params, "base")
    answered(params, "tuned", {3: "delivery", 4: "neither"})
    compare.run(params)
    result = read_json(Path("reports/comparison.json"))["against"]["classical"]
    assert result["right"]["tuned"]["value"] == pytest.approx(58 / 60, abs=1e-6)
    assert (result["right"]["lost"], result["right"]["won"]) == (2, 0)
    assert result["verdict"] == "not_shown"


def by_endings(n: int, start: int = 0) -> tuple[list[str], list[str]]:
    """Labels that only the ending of a word tells, each word once."""
    labels = ["refund" if i % 2 else "delivery" for i in range(n)]
    return labels, [f"the qz{start + i:03}{'ungo' if i % 2 else 'ette'}" for i in range(n)]


def chosen_of(folder: Path, train: Any, validation: Any, holdout: Any) -> dict[str, Any]:
    params = params_of(folder, "classification", {"enum": ["refund", "delivery"]}, None)
    for path, part in ((TRAIN, train), (VALIDATION, validation), (HOLDOUT, holdout)):
        if part[0]:
            write_split(path, *part)
        else:
            write_records(path, some_records(1).clear())
    classical.run(params)
    content: dict[str, Any] = read_json(Path("reports/eval/classical/metrics.json"))
    return content


def opposite(part: tuple[list[str], list[str]]) -> tuple[list[str], list[str]]:
    return [{"refund": "delivery", "delivery": "refund"}[label] for label in part[0]], part[1]


def test_the_candidate_that_is_best_on_validation_is_the_bar(folder: Path) -> None:
    found = chosen_of(folder, by_endings(80), by_endings(20, 500), by_endings(40, 700))
    scores = {row["name"]: (row["validation"], row["holdout"]) for row in found["candidates"]}
    assert [*scores] == ["words", "words_and_chars", "words_rare", "words_and_chars_rare"]
    assert scores["words"][0] < scores["words_and_chars"][0] == 1.0
    assert (found["chosen"], found["chosen_on"]) == ("words_and_chars", 20)
    rows = [json.loads(line) for line in Path("reports/eval/classical/predictions.jsonl").read_text().splitlines()]
    assert sum(row["exact_match"] for row in rows) / len(rows) == scores["words_and_chars"][1]


def test_the_holdout_has_no_say(folder: Path) -> None:
    """There the characters are always wrong, so that whoever looked would take another."""
    found = chosen_of(folder, by_endings(80), by_endings(20, 500), opposite(by_endings(40, 700)))
    scores = {row["name"]: row["holdout"] for row in found["candidates"]}
    assert found["chosen"] == "words_and_chars"
    assert scores["words_and_chars"] == 0.0 < scores["words"]
