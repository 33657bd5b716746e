"""The search of sft's params: what is drawn, which trials are stopped, that it goes on after a kill, and what it writes."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, TRAIN, VALIDATION
from hallmark.commands import tune as tool
from hallmark.commands.tune import Trial
from hallmark.params.loader import Params, load_params, resolved
from tests.rows import record, shipped, write_masked
from tests.workspace import ROOT, change_params, git_init, run, run_here, spell_out

needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="`nox -s tune` installs Optuna")

# One stage plays the training: its loss falls with every validation, to a floor that the step size decides.
TRAIN_HERE = """
import json, time
from pathlib import Path
from ruamel.yaml import YAML

sft = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text())["sft"]
steps = 8 * sft["epochs"]
floor = abs(sft["learning_rate"] - 0.002) * 100
losses = []
for number in range(5):
    losses.append(round(floor + 1 / (1 + number), 6))
    print(f"sft: step {number * sft['eval_steps']}: validation loss {losses[-1]}", flush=True)
    time.sleep(0.05 if number < 2 or sft["learning_rate"] < 0.006 else 600)  # who is worse is stopped before that ends
Path("reports/measured").mkdir(parents=True, exist_ok=True)
Path("reports/sft.json").write_text(json.dumps({"validation_loss": losses[-1]}))
Path("reports/measured/sft.json").write_text(json.dumps({"seconds": 6.0}))
"""
PIPELINE = f"""
stages:
  sft: {{cmd: "'{sys.executable}' make.py", params: [seed, sft], deps: [make.py, {TRAIN}, {VALIDATION}],
    outs: [{", ".join(f"{name}: {{cache: false, persist: true}}" for name in ("reports/sft.json", "reports/measured/sft.json"))}]}}
"""
SPACE = {"learning_rate": [0.1, 3.0], "epochs": None, "r": None, "layers": None}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose training takes a moment. The records are in git, so that each copy has them."""
    root = tmp_path_factory.mktemp("repo")
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    spell_out(root)
    (root / "make.py").write_text(TRAIN_HERE, encoding="utf-8")
    (root / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (root / ".gitignore").write_text("/.hallmark/\n", encoding="utf-8")
    (root / ".dvcignore").write_text("/.hallmark/\n", encoding="utf-8")
    records = [record(str(number), "my kettle is broken") for number in range(32)]
    write_masked(records, root / TRAIN)
    write_masked(records[:4], root / VALIDATION)
    change_params(root, {"tune.space": SPACE, "tune.startup_trials": 1, "sft.learning_rate": 0.004, "sft.epochs": 1})
    git_init(root)
    return root


@pytest.fixture
def here(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(repo)
    return repo


@needs_optuna
def test_trials_run_as_experiments_and_bad_ones_are_stopped(here: Path) -> None:
    """With real `dvc exp run`: params.yaml as it is, then others; run again, it goes on; `--write` sets the best."""
    done = run_here(here, "hallmark.commands.tune", "--trials", "2")
    assert done.returncode == 0, done.stderr
    report = json.loads((here / "reports/tune.json").read_text(encoding="utf-8"))
    first, second = report["trials"]
    assert first["params"] == {"sft.learning_rate": 0.004, "sft.eval_steps": 2}
    assert (first["state"], first["loss"]) == ("complete", pytest.approx(0.4))
    assert first["minutes"] == 0.1, "as sft measured it"
    assert second["params"]["sft.learning_rate"] > 0.006, "what this seed draws is worse than params.yaml as it is"
    assert (second["state"], second["loss"], second["experiment"]) == ("stopped", None, None), done.stderr
    assert 1 <= len(second["losses"]) < 4
    assert run(here, "dvc", "exp", "list", "--name-only").stdout.split() == [first["experiment"]]
    copies = [path.name for path in (here / ".dvc/tmp/exps/standalone").iterdir()]
    assert copies == ["run"], "DVC removes the copy of a stopped trial too; `run` has its notes"
    assert run(here, "git", "status", "--porcelain").stdout.split() == ["??", "reports/"]

    # A search that was killed in its third trial has no trace of it, and draws the same again.
    params = load_params()
    drawn = tool.study_of(params, tool.earlier(report["search"])).ask(tool.space_of(params)).params
    again = run_here(here, "hallmark.commands.tune", "--trials", "1")
    assert "goes on after 2 earlier trials" in again.stderr
    earlier, report = report, json.loads((here / "reports/tune.json").read_text(encoding="utf-8"))
    assert report["trials"][:2] == earlier["trials"] and len(report["trials"]) == 3
    assert report["trials"][2]["draw"] == drawn

    best = report["trials"][-1]
    assert (best["number"], best["state"]) == (report["best"], "complete"), again.stderr
    assert f"or `dvc exp apply {best['experiment']}`" in again.stdout
    before = (here / "params.yaml").read_text(encoding="utf-8").splitlines()
    said = run_here(here, "hallmark.commands.tune", "--write")
    assert said.returncode == 0
    assert f"  sft.learning_rate: 0.004 -> {best['params']['sft.learning_rate']:g}\n" in said.stdout
    assert "  sft.eval_steps: " in said.stdout
    assert load_params().sft.learning_rate == best["params"]["sft.learning_rate"]
    after = (here / "params.yaml").read_text(encoding="utf-8").splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [line.split(":")[0] for line in changed] == ["  learning_rate", "  eval_steps"]
    assert all("  # " in line for line in changed), "comments stay"
    refused = run_here(here, "hallmark.commands.tune", "--write")
    assert "no trial has succeeded with the current data, code and params" in refused.stderr
    run(here, "git", "checkout", "--quiet", "params.yaml")


@needs_optuna
def test_trials_of_another_search_do_not_count_and_a_second_search_is_refused(here: Path) -> None:
    tool.write(load_params(), "key", [Trial(0, {}, {}, "complete", 0.5)])
    assert tool.earlier("another") == [] and tool.earlier("key")[0].loss == 0.5
    with tool.alone(tool.FOLDER, "", ""):
        done = run_here(here, "hallmark.commands.tune", "--write")
    assert "another search runs in this repository" in done.stderr


def params_with(**changes: Any) -> Params:
    values = shipped().model_dump(mode="json", by_alias=True)
    for name, value in changes.items():
        values["tune"]["space"][name] = value
    return Params.model_validate(values)


@needs_optuna
def test_a_draw_is_around_what_params_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    BASE.mkdir(parents=True)
    (BASE / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 15}', encoding="utf-8")
    params = params_with(learning_rate=[0.5, 2.0], epochs=None, r=[8, 64], layers=[10, 15, 30, None])
    sft, space = params.sft, tool.space_of(params)
    assert tool.values_of({"learning_rate": 1.2345, "r": 64, "layers": 10}, params) == {
        "sft.learning_rate": float(f"{sft.learning_rate * 1.2345:.2g}"),
        "sft.lora.r": 64,
        "sft.lora.alpha": round(sft.lora.alpha * 64 / sft.lora.r),
        "sft.lora.layers": 10,
    }
    choices: Any = {name: getattr(of, "choices", None) for name, of in space.items()}
    assert choices["r"] == tuple(sorted({8, 64, sft.lora.r}))
    assert choices["layers"] == (*sorted({10, *([sft.lora.layers] if sft.lora.layers else [])}), None), "15 is all"
    first = tool.study_of(params, []).ask(space).params
    own = {"sft.learning_rate": sft.learning_rate, "sft.lora.layers": sft.lora.layers}
    assert tool.values_of(first, params) == own | {"sft.lora.r": sft.lora.r, "sft.lora.alpha": sft.lora.alpha}


def test_steps_are_those_that_sft_will_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_masked((record(str(number), "my kettle") for number in range(30)), TRAIN)
    values = shipped().model_dump(mode="json", by_alias=True)
    values["sft"] |= {"batch_size": 4, "gradient_accumulation_steps": 2, "epochs": 1.5}
    values["sft"] |= {"max_steps": None, "batch_tokens": None}
    assert tool.steps_of(Params.model_validate(values)) == 6
    values["sft"]["max_steps"] = 5
    with pytest.raises(HallmarkError, match=r"which tune\.space has, does nothing"):
        tool.steps_of(Params.model_validate(values))


def test_no_other_line_is_written_than_is_said(tmp_path: Path) -> None:
    file = Path(shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml"))
    own, before = resolved(file), file.read_text(encoding="utf-8").splitlines()
    values = {"sft.learning_rate": own["sft"]["learning_rate"], "sft.epochs": float(own["sft"]["epochs"])}
    tool.write_best(file, own, [Trial(1, {}, values | {tool.EVAL_STEPS: 13}, "complete", 0.5)])
    assert [line[:16] for line in {*file.read_text("utf-8").splitlines()} - {*before}] == ["  eval_steps: 13"]
