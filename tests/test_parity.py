"""What ships, compared with what was evaluated: the sample, what counts as changed, and how people are told."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from hallmark.answer.artefact_sample import Sample, drawn
from hallmark.answer.parity import Artefact, Cost, Parity
from hallmark.answer.scoring import Scorer
from hallmark.answer.shipped import read_evaluated
from hallmark.base.files import write_json
from hallmark.base.reports import Report
from hallmark.judge.tables import shipped_table
from hallmark.params.loader import load_params
from hallmark.task.task import Task
from tests.made_up import ROOT, TARGET, prediction, typed, write_models, write_other_reports
from tests.rows import record, refused

RIGHT = json.dumps(TARGET, separators=(",", ":"))
SPACED = json.dumps(TARGET)  # another text, and the same answer
WRONG = json.dumps(TARGET | {"intent": "delivery"}, separators=(",", ":"))


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40), st.integers(0, 50), st.randoms())
def test_a_sample_is_drawn_evenly_from_all_groups_and_holds_what_is_asked_anyway(groups, count, random):
    first = random.sample(range(len(groups)), random.randint(0, len(groups)))
    rows = drawn(groups, count, first)
    assert rows == sorted(set(rows))
    assert len(rows) == min(count, len(groups))
    assert set(rows) <= set(first) or set(first) <= set(rows)
    alone = drawn(groups, count)
    taken, there = Counter(groups[row] for row in alone), Counter(groups)
    most = max(taken.values(), default=0)
    assert all(taken[group] >= min(most - 1, there[group]) for group in there)


def make_sample(monkeypatch, texts: list[str]) -> Sample:
    """A sample of ten records whose evaluated answers are these, repeated."""
    monkeypatch.chdir(ROOT)
    records = [record(f"r{i}", "It came late, ORD-1042, 49.90", RIGHT, f"g{i % 5}") for i in range(10)]
    outcomes = ["pass" if texts[i % len(texts)] == RIGHT else "wrong_value" for i in range(10)]
    evaluated = [typed(prediction(i, f"g{i % 5}", outcome)) for i, outcome in enumerate(outcomes)]
    params = load_params()
    return Sample(records, evaluated, range(10), Scorer(Task(params.task)), params)


def test_a_text_may_change_without_a_loss_and_losses_are_not_paid_for_by_wins(monkeypatch):
    sample = make_sample(monkeypatch, [RIGHT, RIGHT, WRONG, RIGHT, RIGHT])  # two of ten are wrong
    same = sample.changes([row.prediction for row in sample.evaluated])
    assert (same.texts, same.lost, same.won, same.behind.value) == (0, 0, 0, 0.0)
    assert same.behind.low < 0 < same.behind.high, "ten records can't exclude a loss"
    spaced = sample.changes([SPACED, *(row.prediction for row in sample.evaluated[1:])])
    assert (spaced.texts, spaced.lost, spaced.won) == (1, 0, 0)
    found = sample.changes([WRONG] * 2 + [RIGHT] * 8)  # the two wrong ones are right now
    assert (found.lost, found.won, found.behind.value) == (2, 2, 0.0)
    worse = sample.changes([WRONG] * 10)
    assert (worse.lost, worse.won, worse.behind.value) == (8, 0, 0.8)
    whole = sample.parity([Artefact("server", "bfloat16", None, worse), Artefact("adapter", "bfloat16", "none")])
    assert [one.name for one in whole.artefacts] == ["adapter", "server"]
    assert (whole.records, whole.groups, whole.right) == (10, 5, 8)
    assert whole.worst == worse.behind


def test_the_evaluated_answers_must_be_to_the_records_of_the_holdout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_models(tmp_path, ["pass"] * 3, ["pass"] * 3)
    params = load_params(ROOT / "params.yaml")
    assert [row.id for row in read_evaluated([{"id": f"T-0000{i}"} for i in range(3)], params)] == [
        "T-00000", "T-00001", "T-00002"
    ]  # fmt: skip
    with refused("dvc repro eval@tuned"):
        read_evaluated([{"id": "T-00000"}], params)


def test_a_report_comes_back_as_it_was_written_and_is_told_in_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_other_reports(tmp_path)
    sample = make_sample(monkeypatch, [RIGHT])
    monkeypatch.chdir(tmp_path)
    answers = [WRONG, SPACED, *[RIGHT] * 8]
    cost = Cost(disk_mib=271.4, memory_mib=256.6, at_once=10, latency_p95_s=1.234, tokens_per_second=61.2)
    whole = sample.parity(
        [
            Artefact("merged", "bfloat16", None, sample.changes(answers), cost),
            Artefact("q8_0", "Q8_0", None, sample.changes([RIGHT] * 10), Cost(disk_mib=138.0)),
            Artefact("q4_k_m", "Q4_K_M", "llama-quantize is not on the PATH"),
        ]
    )
    path = tmp_path / "reports/benchmark.json"
    write_json(path, Report("benchmark").content | {"parity": asdict(whole)})
    assert Report("benchmark").as_(Parity, "parity") == whole
    assert shipped_table(whole).rows == [
        ("Merged model (bfloat16)", "2 of 10", "1 lost, 0 won", "271 MiB", "257 MiB",
         "1.23 s (10 at once)", "61.2"),
        ("GGUF file (Q8_0)", "0 of 10", "as evaluated", "138 MiB", "-", "-", "-"),
    ]  # fmt: skip
    assert "llama-quantize is not on the PATH" in shipped_table(whole).note
