"""The comparison: what it says, that it repeats, and that its verdict is wrong as often as it says it is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hallmark.base.files import write_json
from hallmark.base.reading import read_json
from hallmark.params.loader import load_params
from stages import compare
from tests.made_up import ROOT, outcomes, prediction, without_comparators, write_models, write_predictions, write_sft
from tests.rows import refused, with_changes

PARAMS = without_comparators(load_params(ROOT / "params.yaml"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compared(root, base, tuned):
    write_models(root, base, tuned)
    compare.run(PARAMS)
    return read_json(root / "reports/comparison.json")


def row(rows, name):
    return next(row for row in rows if row["name"] == name)


def test_a_clear_win_is_a_win_with_the_counts_that_make_it_one(folder):
    base = outcomes(1, 200, wrong_format=0.8, wrong_value=0.1)
    tuned = outcomes(2, 200, wrong_value=0.2)
    report = compared(folder, base, tuned)
    result = report["against"]["base"]
    assert (report["records"], report["groups"], report["online"]) == (200, 12, None)
    assert result["verdict"] == "better"
    assert result["words"].startswith("The tuned model beats the base: exact match 80.0 % against 10.0 % of 200")
    exact = result["exact_match"]
    assert (exact["other"], exact["tuned"]) == (0.1, 0.8)
    assert exact["won"] - exact["lost"] == 140
    assert exact["difference"]["low"] < exact["difference"]["value"] == 0.7 < exact["difference"]["high"]
    pairs = list(zip(base, tuned, strict=True))
    assert {(cell["other"], cell["tuned"]): cell["records"] for cell in result["transitions"]} == {
        pair: pairs.count(pair) for pair in pairs
    }
    validity = row(result["measures"], "schema_validity")
    assert (validity["other"]["value"], validity["tuned"]["value"]) == (0.2, 1.0)
    assert validity["tuned"]["low"] < 1.0  # no failure among 200 is no proof that there is none
    recall = row(result["measures"], "field_recall")
    assert recall["tuned"]["value"] == pytest.approx(1 - 0.2 / 5)  # one field of five is wrong in a fifth


def test_answers_that_are_said_to_be_right_and_are_not_are_refused(folder):
    write_models(folder, ["wrong_value"] * 20, ["wrong_value"] * 20)
    rows = [prediction(i, "Customer", "wrong_value") | {"exact_match": True, "outcome": "pass"} for i in range(20)]
    write_predictions(folder, "tuned", rows)
    with refused("dvc repro eval@tuned", row=1, field="exact_match"):
        compare.run(PARAMS)


def test_a_loss_is_a_loss_and_no_difference_is_not_called_one(folder):
    passing, failing = outcomes(1, 200, wrong_value=0.1), outcomes(2, 200, wrong_value=0.5)
    assert compared(folder, passing, failing)["against"]["base"]["verdict"] == "worse"
    same = compared(folder, passing, passing)["against"]["base"]
    assert same["verdict"] == "not_shown"
    assert same["exact_match"]["p"] == 1.0
    assert same["power"]["records_needed"] is None


def test_a_base_that_answers_in_no_form_does_not_make_every_answer_a_growth_of_failures(folder):
    report = compared(folder, ["wrong_format"] * 150, outcomes(2, 150, hallucination=0.1))
    hallucination = row(report["against"]["base"]["failures"], "hallucination")
    assert hallucination["difference"]["value"] == 0.1
    assert hallucination["growth"]["value"] == 0.0
    assert (hallucination["judged"], hallucination["possible"]) == (0, 143)  # seven are due a refusal
    assert row(report["tuned"]["failures"], "hallucination")["worst"]["value"] == pytest.approx(143 / 150, abs=1e-6)
    assert hallucination["worst_growth"]["value"] == 0.0
    refusing = compared(folder, ["wrong_format"] * 150, outcomes(2, 150, missed_refusal=0.1))
    assert row(refusing["against"]["base"]["failures"], "missed_refusal")["growth"]["value"] == 0.1  # form or no form
    broken = compared(folder, outcomes(3, 150, wrong_format=0.1), outcomes(2, 150, wrong_format=0.2))
    assert row(broken["against"]["base"]["failures"], "wrong_format")["growth"]["value"] == 0.1


def test_slices_count_each_record_where_it_belongs(folder):
    slices = compared(folder, outcomes(1, 90, wrong_value=0.5), outcomes(2, 90, wrong_value=0.2))["against"]["base"][
        "slices"
    ]
    for by, records in (("group", 90), ("length", 90), ("tag", 90 + 30)):
        assert sum(row["records"] for row in slices if row["by"] == by) == records
    typos = row(slices, "typos")
    assert (typos["other"], typos["tuned"]) == (0.5, 0.8)
    assert typos["tuned"] - typos["other"] == pytest.approx((typos["won"] - typos["lost"]) / 90)


NOTHING = {"answer": None, "source": None}
SAID = {"answer": "9:30", "source": "K1"}


def asked(number, target, said, context, **changes):
    """A line of predictions.jsonl of a question about documents."""
    right = target == said
    outcome = "pass" if right else "wrong_value"
    texts = {"target": json.dumps(target), "prediction": said if isinstance(said, str) else json.dumps(said)}
    return prediction(number, f"C{number % 3}", outcome, context=context, input="when?", **texts, fields=[]) | changes


def documents(folder, refusal=None):
    """The params of a task whose answers are copied from documents, or null."""
    nullable = {"type": ["string", "null"]}
    fields = {"topic": {"enum": ["hours", "fees"]}, "answer": nullable, "source": nullable}
    write_json(folder / "data/documents.json", {"type": "object", "properties": fields})
    return with_changes(PARAMS, task__schema_file="data/documents.json", task__refusal=refusal)


@pytest.mark.parametrize("refusal", [None, json.dumps(NOTHING)])
def test_failures_of_retrieval_are_told_from_the_models_own_and_who_abstains_when(folder, refusal):
    assert compared(folder, ["pass"] * 9, ["pass"] * 9)["retrieval"] is None
    none_due = {"retrieved": None if refusal else True}
    topic = {} if refusal else {"topic": "hours"}  # listed by the schema, so not from the context
    held = [
        asked(i, SAID, [SAID, NOTHING, SAID | {"source": "K2"}][i % 3], "K1: 9:30", retrieved=True) for i in range(6)
    ]
    lacking = [asked(6 + i, SAID, [NOTHING, SAID | {"answer": "7"}][i % 2], "K2: 8", retrieved=False) for i in range(4)]
    lacking.append(asked(10, SAID, SAID, None, retrieved=None))  # nothing was retrieved, and it guessed right
    silent = [asked(11 + i, topic | NOTHING, [topic | NOTHING, "no"][i], "K2: 8", **none_due) for i in range(2)]
    empty = [asked(13 + i, NOTHING, [NOTHING, SAID, SAID][i], None, retrieved=None) for i in range(3)]
    rows = [*held, *lacking, *silent, *empty]
    write_predictions(folder, "tuned", rows)
    write_predictions(
        folder, "base", [row | {"prediction": "?", "exact_match": False, "outcome": "wrong_format"} for row in rows[:8]]
    )
    compare.run(documents(folder, refusal))
    found = read_json(folder / "reports/comparison.json")["retrieval"]
    assert found["tuned"] == {
        "held": {
            "records": 6,
            "failing": 4,
            "abstained": 2,
            "examples": [row["id"] for row in held if not row["exact_match"]],
        },
        "lacking": {"records": 5, "failing": 4, "abstained": 2, "examples": [row["id"] for row in lacking[:4]]},
        "silent": {"records": 2, "failing": 1, "abstained": 1, "examples": [silent[1]["id"]]},
        "empty": {"records": 3, "failing": 2, "abstained": 1, "examples": [row["id"] for row in empty[1:]]},
        "fixable": round(4 / 11, 6),
    }
    assert found["base"]["held"] == {
        "records": 6,
        "failing": 6,
        "abstained": 0,
        "examples": [row["id"] for row in held[:5]],
    }
    assert (found["base"]["lacking"]["failing"], found["base"]["fixable"]) == (2, 0.25)


def test_labels_have_a_macro_f1_that_a_frequent_label_does_not_carry(folder):
    due = ["often"] * 90 + ["seldom"] * 10
    for model, said in (("base", ["often"] * 100), ("tuned", ["often"] * 90 + ["seldom"] * 5 + ["broken"] * 5)):
        rows = []
        for i, (target, text) in enumerate(zip(due, said, strict=True)):
            outcome = "pass" if target == text else "wrong_format" if text == "broken" else "wrong_value"
            valid = {"parses": True, "schema_valid": text != "broken", "fields": []}
            rows.append(prediction(i, f"C{i % 10}", outcome, target=target, prediction=text, **valid))
        write_predictions(folder, model, rows)
    write_predictions(folder, "online", [])
    write_json(folder / "reports/eval/classical/metrics.json", {"labels": []})
    write_sft(folder)
    compare.run(with_changes(PARAMS, task__kind="classification"))
    rows = read_json(folder / "reports/comparison.json")["against"]["base"]["measures"]
    macro = row(rows, "macro_f1")
    assert macro["other"]["value"] == pytest.approx(np.mean([2 * 90 / 190, 0]), abs=1e-6)
    assert macro["tuned"]["value"] == pytest.approx(np.mean([1, 2 * 5 / 15]), abs=1e-6)
    assert not any(row["name"].startswith("field") for row in rows)


def test_a_record_that_the_tuned_model_did_not_answer_is_an_error(folder):
    drawn = outcomes(1, 20, wrong_value=0.5)
    write_models(folder, drawn, drawn[:-1])
    with refused("dvc repro eval@base eval@tuned", field="id") as error:
        compare.run(PARAMS)
    assert "T-0019" not in str(error.value)  # no value of a record
