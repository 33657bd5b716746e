"""What `nox -s release` and `nox -s releases` say: what changed since the version before, and the table."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hallmark.base.files import RELEASE, sha256_folder, write_json
from hallmark.params.loader import load_params
from hallmark.service.commands.releases import table
from hallmark.service.registry.changes import compared, since
from hallmark.service.registry.promotion import promote, register
from hallmark.service.registry.registry import CANARY, PROD, Registry
from hallmark.task.predictions import Prediction
from tests.made_up import prediction, typed
from tests.registered import tool
from tests.small_pipeline import ROOT, shell

PARAMS = load_params(ROOT / "params.yaml")


def answer(number: int, right: bool, group: int = 0) -> Prediction:
    return typed(prediction(number, f"g{group}", "pass" if right else "wrong_value"))


def test_only_records_that_both_answered_are_compared() -> None:
    then = [answer(number, number % 2 == 0, number % 10) for number in range(60)]
    now = [answer(number, number % 4 != 3, number % 10) for number in range(20, 80)]
    now[0] = replace(now[0], input="another text")
    lines = compared(then, now, "v1.0.0", PARAMS)
    assert lines[0].startswith("on the 39 holdout records of both (10 groups), in points against v1.0.0; 41 others")
    assert any(line.startswith("  Exact match: 74.4 %, +25.6 [+") for line in lines)
    assert lines[-1].startswith("  right now and not before: 10; right before and not now: 0 ")
    assert compared(then[:10], now[30:], "v1.0.0", PARAMS) == [
        "measures: not compared with v1.0.0, with which no holdout record is shared"
    ]


def test_what_changed_is_told(registered_repo: Path) -> None:
    first, second, third = Registry.read().versions[:3]
    lines = since(first, load_params())
    assert lines[:4] == [
        "base: the same",
        "data: the same",
        "param sft.learning_rate: 0.003; before, 0.002",
        "code: the same",
    ]
    waived = 'param gate.waive.superiority.base: not there; before, "it can\'t write the product: see #12"'
    assert waived in since(third, load_params())
    assert "on the 1 holdout records of both (1 group), in points against v0.1.0:" in lines
    Path("reports/eval/tuned/predictions.jsonl").write_text("{}\n", encoding="utf-8")
    changed = since(first, load_params())
    assert (changed[:4], len(changed)) == (lines[:4], 5), "answers that can't be read are told, and the rest stays"
    shutil.rmtree(".dvc/cache")
    assert len(since(first, load_params())) == 5, "what was fetched once is there"
    shutil.rmtree("models/versions")
    assert since(second, load_params())[0].startswith("not known: v0.2.0 can't be read (not available at commit")


def test_the_command_registers_and_copies_out(
    registered_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*options: str) -> str:
        tool("release", *options)
        return capsys.readouterr().out

    shell("git tag -d model@v0.2.0", registered_repo)
    with pytest.raises(SystemExit):
        said("models", "--version", "v0.2.0")
    assert said("--version", "v0.2.0", "--dry").startswith("would be registered: v0.2.0 (pass, provenance ")
    assert shell("git tag -l model@v0.2.0", registered_repo) == "", "nor is what can't be copied out registered"
    lines = said(str(tmp_path / "out"), "--version", "v0.2.0")
    assert lines.startswith("registered: model@v0.2.0 (pass, provenance ")
    assert "\nchanged since v0.1.0:\n  base: the same\n" in lines
    assert "\nshare it: nox -s release -- --push\n" in lines
    assert said(str(tmp_path / "again")).startswith("this is v0.2.0 already")
    assert sha256_folder(tmp_path / "out") == sha256_folder(tmp_path / "again") == sha256_folder(RELEASE)


def test_the_table_has_stages_verdicts_measures_and_waivers(
    registered_repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*options: str) -> str:
        tool("releases", *options)
        return capsys.readouterr().out

    headline = {"verdict": "pass", "exact_match": 0.821, "field_f1": 0.96, "over_base": 0.8, "unsafe_answer": 0.0}
    write_json(Path("reports/headline.json"), headline)
    shell("git tag -d model@v0.2.0 && git add -A && git commit -qm headline", registered_repo)
    assert register(registered_repo).version.version == "v0.5.0"
    promote(registered_repo, "v0.3.0", PROD)
    promote(registered_repo, "v0.5.0", CANARY)
    registry = Registry.read()
    date = f"{registry.versions[0].date:%Y-%m-%d}"
    assert table(registry) == [
        "version  date        stage   verdict            exact match  field f1  unsafe answer  waived",
        f"v0.5.0   {date}  canary  pass               82.1 %       96.0 %    0.0 %          -",
        f"v0.4.0   {date}  -       pass               -            -         -              -",
        f"v0.3.0   {date}  prod    pass with waivers  -            -         -              1",
        f"v0.1.0   {date}  -       pass               -            -         -              -",
    ]
    lines = said("--events")
    assert "\nprod: v0.3.0 since 20" in lines
    assert "\nv0.3.0 waived superiority.base: it can't write the product: see #12\n" in lines
    assert lines.rstrip().endswith("prod: promote v0.3.0")
    shell("git tag -f model@v0.3.0 main", registered_repo)
    lines = said()
    assert "\nprod: not known: v0.3.0 with the digest" in lines
    assert "\nmodel@v0.3.0: a lightweight tag" in lines
