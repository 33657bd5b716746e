"""What `nox -s release` and `nox -s releases` say: what changed since the version before, and the table."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.params.loader import load_params
from hallmark.service.commands.release import since
from hallmark.service.commands.releases import table
from hallmark.service.registry.changes import compare, pair, paired_lines
from hallmark.service.registry.promotion import promote
from hallmark.service.registry.registry import CANARY, PROD, Registry
from hallmark.task.predictions import Prediction
from hallmark.task.task import Task
from tests.registered import tool
from tests.small_pipeline import ROOT, shell

PARAMS = load_params(ROOT / "params.yaml")


@pytest.fixture
def repo(registered_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with registered releases, as the working directory."""
    copy = tmp_path / "repo"
    shutil.copytree(registered_run, copy)
    monkeypatch.chdir(copy)
    return copy


def answer(number: int, right: bool, group: int = 0) -> Prediction:
    return Prediction(
        id=str(number),
        group=f"g{group}",
        tags=None,
        input=f"record {number}",
        context=None,
        length=8,
        target="{}",
        prediction="{}",
        finish="stop",
        parses=True,
        schema_valid=True,
        exact_match=right,
        outcome="pass" if right else "wrong_value",
        reason=None,
        fields=[],
    )


def test_only_records_that_both_answered_are_compared() -> None:
    then = [answer(number, number % 2 == 0, number % 10) for number in range(60)]
    now = [answer(number, number % 4 != 3, number % 10) for number in range(20, 80)]
    now[0] = replace(now[0], input="another text")
    found = compare(then, now, Task(PARAMS.task), [], confidence=0.95, draws=500, seed=7)
    assert found is not None
    assert (found.records, found.groups, found.unpaired, found.lost) == (39, 10, 41, 0)
    assert found.won == 10
    exact = next(one for one in found.measures if one.name == "exact_match")
    assert exact.difference.value == pytest.approx(exact.after - exact.before) == pytest.approx(10 / 39)
    assert exact.difference.low < exact.difference.value < exact.difference.high
    lines = paired_lines(found, "v1.0.0")
    assert lines[0].startswith("on the 39 holdout records of both (10 groups), in points against v1.0.0; 41 others")
    assert any(line.startswith("  Exact match: 74.4 %, +25.6 [+") for line in lines)
    assert compare(then[:10], now[30:], Task(PARAMS.task), [], confidence=0.95, draws=50, seed=7) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), unique_by=lambda it: it[0]), st.data())
def test_pairs_are_of_one_record(rows: list[tuple[int, bool]], data: st.DataObject) -> None:
    then = [answer(*row) for row in rows]
    now = [replace(row, exact_match=True) for row in data.draw(st.permutations(then))]
    assert sorted((one.id, two.id) for one, two in pair(then, now)) == sorted((row.id, row.id) for row in then)


def test_what_changed_is_told(repo: Path) -> None:
    params = load_params()
    first, second, third = Registry.read().versions[:3]
    lines = since(first, params)
    assert lines[:4] == [
        "base: the same",
        "data: the same",
        "param sft.learning_rate: 0.002; before, 0.003",
        "code: the same",
    ]
    assert 'param gate.waive.superiority.base: not there; before, "it can\'t write the product: see #12"' in since(
        third, params
    )
    assert "on the 1 holdout records of both (1 group), in points against v0.1.0:" in lines
    shutil.rmtree(".dvc/cache")
    assert since(first, params) == lines, "what was fetched once is there"
    shutil.rmtree("models/versions")
    assert since(second, params)[0].startswith("not known: v0.2.0 can't be read (not to be had at commit")


def test_answers_that_cannot_be_had_are_told(repo: Path) -> None:
    Path("reports/eval/tuned/predictions.jsonl").write_text("{}\n", encoding="utf-8")
    last = since(Registry.read().find("v0.1.0"), load_params())[-1]
    assert (
        last
        == "measures: not compared with v0.1.0, whose answers can't be read (not the file that the release's provenance names)"
    )


def test_the_command_registers_and_copies_out(repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell("git tag -d model@v0.2.0", repo)
    with pytest.raises(SystemExit):
        tool("release", "models", "--version", "v0.2.0")
    assert "models: already exists" in capsys.readouterr().err
    assert shell("git tag -l model@v0.2.0", repo) == "", "what can't be copied out is not registered"
    tool("release", "--version", "v0.2.0", "--dry")
    said = capsys.readouterr().out
    assert said.startswith("would be registered: v0.2.0 (pass, provenance ")
    assert shell("git tag -l model@v0.2.0", repo) == ""
    tool("release", str(tmp_path / "out"), "--version", "v0.2.0")
    said = capsys.readouterr().out
    assert said.startswith("registered: model@v0.2.0 (pass, provenance ")
    assert "\nchanged since v0.1.0:\n  base: the same\n" in said
    assert "\nshare it: git push origin model@v0.2.0 && dvc push models/release models/quantized\n" in said
    assert (tmp_path / "out/provenance.json").exists()
    tool("release", str(tmp_path / "again"))
    said = capsys.readouterr().out
    assert said.startswith("this is v0.2.0 already")
    assert (tmp_path / "again/provenance.json").exists()


def test_the_table_has_stages_verdicts_measures_and_waivers(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promote(repo, "v0.3.0", PROD)
    promote(repo, "v0.2.0", CANARY)
    registry = Registry.read()
    headline = {"verdict": "pass", "exact_match": 0.821, "field_f1": 0.96, "over_base": 0.8, "unsafe_answer": 0.0}
    versions = [replace(version, headline=headline) for version in registry.versions]
    date = f"{versions[0].date:%Y-%m-%d}"
    assert table(replace(registry, versions=versions)) == [
        "version  date        stage   verdict            exact match  field f1  unsafe answer  waived",
        f"v0.4.0   {date}  -       pass               82.1 %       96.0 %    0.0 %          -",
        f"v0.3.0   {date}  prod    pass with waivers  82.1 %       96.0 %    0.0 %          1",
        f"v0.2.0   {date}  canary  pass               82.1 %       96.0 %    0.0 %          -",
        f"v0.1.0   {date}  -       pass               82.1 %       96.0 %    0.0 %          -",
    ]
    tool("releases", "--events")
    said = capsys.readouterr().out
    assert "\nprod: v0.3.0 since 20" in said
    assert "\nv0.3.0 waived superiority.base: it can't write the product: see #12\n" in said
    assert said.rstrip().endswith("prod: promote v0.3.0")
    tool("releases", "--json")
    machine = json.loads(capsys.readouterr().out)
    assert machine["stages"] == {"prod": "v0.3.0", "canary": "v0.2.0"}
    shell("git tag -f model@v0.3.0 main", repo)
    tool("releases")
    said = capsys.readouterr().out
    assert "\nprod: not known: is about v0.3.0, and model@v0.3.0 can't be trusted or is gone\n" in said
    assert "\nmodel@v0.3.0: a lightweight tag, which holds no digest" in said


def test_without_versions_it_says_how_to_make_one(tmp_path: Path) -> None:
    shell("git init -q", tmp_path)
    said = shell(f"PYTHONPATH='{ROOT}' python -m hallmark.service.commands.releases", tmp_path)
    assert said.startswith("no version is registered: `nox -s release` registers the first\nprod: nothing\n")
