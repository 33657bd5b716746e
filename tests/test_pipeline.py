"""The pipeline as DVC knows it: everything a stage uses is declared, and the whole of it runs on a tiny model."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

from hallmark.base.files import sha256_folder
from hallmark.params.loader import Params
from hallmark.release.checking import check
from tests.browser import chromium
from tests.workspace import ROOT, change_params, report, run

PIPELINE = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def stages() -> list[tuple[str, dict[str, Any]]]:
    """Every stage with its command; of `foreach` and `matrix`, the block that each item fills."""
    return [(name, block.get("do", block)) for name, block in PIPELINE.items()]


def module_of(block: dict[str, Any]) -> str:
    match = re.search(r"python -m (stages\.\w+)", block["cmd"])
    assert match, block["cmd"]
    return match[1]


def declared(block: dict[str, Any], key: str) -> set[str]:
    return {item if isinstance(item, str) else next(iter(item)) for item in block.get(key, [])}


def test_every_stage_names_its_params_among_the_resolved_ones() -> None:
    files = {name: declared(block, "params") for name, block in stages()}
    assert files.pop("code") == {"params.yaml"}
    assert {file for each in files.values() for file in each} == {"code/params.json"}


@pytest.mark.parametrize(("name", "block"), stages())
def test_every_stage_depends_on_the_list_of_its_code(name: str, block: dict[str, Any]) -> None:
    wanted = {"code": {"hallmark", "stages", "requirements.lock"}, "certify": {"code"}}
    assert wanted.get(name, {f"code/{module_of(block).split('.')[1]}"}) <= declared(block, "deps")


@pytest.mark.parametrize(("name", "block"), stages())
def test_every_stage_declares_the_params_it_reads(name: str, block: dict[str, Any]) -> None:
    """Rooms are given the blocks that they need, so only a stage's own file reads from all of the params."""
    source = (ROOT / (module_of(block).replace(".", "/") + ".py")).read_text(encoding="utf-8")
    read = {match for match in re.findall(r"\bparams\.(\w+)", source) if match in Params.model_fields}
    (named,) = block["params"][0].values()
    if named is None:  # all of them
        return
    tracked = {param.split(".")[0] for param in named}
    assert read - tracked == set(), f"add to params of '{name}' in dvc.yaml"


@pytest.mark.parametrize(("name", "block"), stages())
def test_every_output_stays_until_there_is_a_new_one(name: str, block: dict[str, Any]) -> None:
    for key in ("outs", "metrics", "plots"):
        for item in block.get(key, []):
            assert isinstance(item, dict), f"{name}: {item} needs persist: true"
            ((path, options),) = item.items()
            assert options.get("persist") is True, f"{name}: {path}"


def test_the_stages_are_those_of_the_pipeline() -> None:
    files = {file.stem for file in (ROOT / "stages").glob("*.py")} - {"__init__", "records"}
    assert files == {module_of(block).split(".")[1] for _, block in stages()}


def test_no_listing_is_unsorted() -> None:
    """The order of a directory listing differs between file systems."""
    listing = re.compile(r"\.(r?glob|iterdir)\(|\bos\.(listdir|walk|scandir)\(")
    safe = re.compile(r"temporary\.rglob|sorted\(|any\(|next\(|set\(|list\(folder\.glob|for pattern in|# sorted below")
    for file in sorted([*(ROOT / "stages").rglob("*.py"), *(ROOT / "hallmark").rglob("*.py")]):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            assert not listing.search(line) or safe.search(line), f"{file.name}:{number}: {line.strip()}"


def test_help_starts_fast() -> None:
    """No stage or tool imports torch, transformers, spaCy or polars before it has work to do."""
    modules = [module_of(block) for _, block in stages()]
    for room in ("commands", "service/commands"):
        names = [file.stem for file in sorted((ROOT / "hallmark" / room).glob("*.py"))]
        modules += [f"hallmark.{room.replace('/', '.')}.{name}" for name in names]
    heavy = ("torch", "transformers", "spacy", "polars", "datasets", "lm_eval", "sklearn", "dvc")
    code = f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\n"
    found = run(ROOT, "python", "-c", f"{code}print([name for name in {heavy} if name in sys.modules])").stdout
    assert found.strip() == "[]"
    assert "usage:" in run(ROOT, "python", "-m", modules[0], "--help").stdout


@pytest.fixture
def copied(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished repository to run commands in."""
    return Path(shutil.copytree(tiny_run, tmp_path / "repo", symlinks=True))


def test_the_whole_pipeline_runs(copied: Path) -> None:
    assert report(copied, "gate")["verdict"] in ("fail", "too_little_data")  # a model of random weights
    for model in ("base", "tuned"):
        predictions = (copied / f"reports/eval/{model}/predictions.jsonl").read_text(encoding="utf-8").splitlines()
        holdout = pl.read_parquet(copied / "data/split/holdout.parquet")
        assert [json.loads(line)["id"] for line in predictions] == holdout["id"].to_list()
    assert (copied / "reports/comparison.html").stat().st_size > 10_000
    assert (copied / "models/release/provenance.json").exists()
    few = report(copied, "headline")
    assert len(few) <= 10
    assert all(isinstance(value, str | int | float) for value in few.values())
    table = run(copied, "python", "-m", "hallmark.commands.summary").stdout
    assert "Exact match" in table
    assert "gate: " in table
    assert "reports/comparison.html" in table


def test_calibration_cascade_and_decision_have_content(tiny_run: Path) -> None:
    """The stages that have little to say without a calibration part: here, they have one."""
    part = pl.read_parquet(tiny_run / "data/split/calibration.parquet")
    answers = (tiny_run / "reports/eval/calibration/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in answers]
    assert len(rows) > 4
    assert [row["id"] for row in rows] == part["id"].to_list()
    assert all(row["confidence"]["sum"] <= row["confidence"]["least"] < 0 for row in rows)
    cascade = report(tiny_run, "cascade")
    assert cascade["applies"]
    assert cascade["fit"]["fitted"]["groups"] + cascade["fit"]["kept"]["groups"] == part["group"].n_unique()
    assert [curve["score"] for curve in cascade["curves"]] == ["mean", "least", "sum", "calibrated"]
    assert [risk["risk"] for risk in cascade["risks"]] == [0.1, 0.05, 0.02]
    assert cascade["words"].startswith("No threshold for 10 %")
    assert cascade["handed_over"] is None
    assert not (tiny_run / "models/release/cascade.json").exists(), "there is no threshold"
    decision = report(tiny_run, "decision")
    ways = ["tuned", "base", "classical", "few_shot", "linear_copy"]
    assert [way["name"] for way in decision["ways"]] == ways


def test_the_release_fits_the_commit_that_made_it(tiny_run: Path) -> None:
    assert check(tiny_run / "models/release", clone=tiny_run).wrong == []


def test_no_private_value_is_in_any_file_after_mask(tiny_run: Path) -> None:
    raw = [json.loads(line) for line in (tiny_run / "data/raw/tickets.jsonl").read_text(encoding="utf-8").splitlines()]
    spans = [json.loads(line) for line in (tiny_run / "data/gold/spans.jsonl").read_text(encoding="utf-8").splitlines()]
    prompts = {row["id"]: f"{row['subject']}\n{row['body']}".strip() for row in raw}
    certain = {"EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "IP_ADDRESS"}
    private = {
        prompts[span["id"]][span["start"] : span["end"]]
        for span in spans
        if span["kind"] in certain and span["id"] in prompts
    }
    private |= {row["contact_email"] for row in raw if row["contact_email"]}
    assert len(private) > 50
    for file in sorted(tiny_run.rglob("*")):
        place = file.relative_to(tiny_run).as_posix()
        if not file.is_file() or place.startswith((".git/", ".dvc/", "tiny/", "stages/", "hallmark/")):
            continue
        if place.startswith("data/") and file.suffix != ".parquet":
            continue
        text = (
            str(pl.read_parquet(file).to_dicts())
            if file.suffix == ".parquet"
            else file.read_text(encoding="utf-8", errors="ignore")
        )
        left = [value for value in private if value in text]
        assert left == [], f"{len(left)} private values in {place}"


@pytest.mark.full
def test_one_metrics_file_is_what_dvc_compares(copied: Path) -> None:
    metrics = [path for _, block in stages() for item in block.get("metrics", []) for path in item]
    assert metrics == ["reports/headline.json"]
    path = copied / "reports/headline.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"exact_match": 0.0', '"exact_match": 0.5'), encoding="utf-8"
    )
    change_params(copied, {"sft.lora.r": 3})
    head = run(copied, "dvc", "exp", "show", "--only-changed", "--csv").stdout.splitlines()[0]
    assert [name for name in head.split(",") if name not in ("rev", "Created")] == [
        "exact_match",
        "params.yaml:sft.lora.r",
    ]
    assert run(copied, "dvc", "metrics", "diff", "HEAD").stdout.split()[5:7] == ["reports/headline.json", "exact_match"]


@pytest.mark.full
def test_the_plots_of_two_revisions_open_without_a_network(copied: Path) -> None:
    curve = copied / "reports/sft_curve.csv"
    curve.write_text(curve.read_text(encoding="utf-8") + "9,validation,0.1\n", encoding="utf-8")
    for name in ("config", "plots.html"):  # the second is named in the first
        shutil.copy(ROOT / ".dvc" / name, copied / ".dvc")
    run(copied, "dvc", "plots", "diff", "HEAD")
    page = copied / "dvc_plots/index.html"
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"<(?:script|link|img)[^>]*(?:src|href)", text)
    assert text.count("vegaEmbed('#") == 3
    with chromium() as browser:
        opened = browser.new_context(offline=True).new_page()
        opened.goto(page.as_uri())
        opened.wait_for_selector("path >> nth=3", state="attached")
        shown = opened.content()
    assert shown.count("<path") == 4  # training and validation, then and now
    assert "<caption>workspace: base down, tuned across</caption>" in shown


def test_all_but_the_release_is_made_before_somebody_says_what_it_is_for(copied: Path) -> None:
    before = sha256_folder(copied / "models/release")
    change_params(copied, {"certify.limits": ["FILL-IN"]})
    done = run(copied, "python", "-m", "hallmark.commands.repro", check=False)
    assert done.returncode == 1
    table = done.stdout.index("report: reports/comparison.html")
    assert done.stdout.index("certify.limits is FILL-IN: write what") < table and "no release yet: line" in done.stderr
    assert "code: " in done.stderr and "nothing to run" in done.stdout
    assert sha256_folder(copied / "models/release") == before


def test_with_nothing_to_do_nothing_heavy_is_loaded(copied: Path) -> None:
    heavy = ("torch", "transformers", "sklearn", "scipy", "numpy", "polars", "spacy")
    code = "import runpy, sys\nrunpy.run_module('hallmark.commands.repro', run_name='__main__')\n"
    done = run(copied, "python", "-c", f"{code}print([name for name in {heavy} if name in sys.modules])")
    assert "nothing to run" in done.stdout and "\ngate: " in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_run_says_what_comes_and_each_stage_what_it_found(copied: Path) -> None:
    change_params(copied, {"gate.min_records": 31})
    done = run(copied, "python", "-m", "hallmark.commands.repro")
    wanted = ["gate", "decide", "report", "certify"]
    plan = done.stdout[done.stdout.index("up to 4 stages") :].splitlines()[1]
    assert re.findall(r"(\w+) \?", plan) == wanted, "how long they take is not known before the first run"
    assert re.findall(r"^\[(\d)/4\] (\w+)", done.stderr, re.M) == [(str(n), name) for n, name in enumerate(wanted, 1)]
    last = {name: re.findall(rf"^{name}: (.+)", done.stderr, re.M)[-1] for name in wanted}
    assert last["gate"].startswith(("fail", "too little data")) and last["report"].endswith("records")
    times = json.loads((copied / "reports/measured/times.json").read_text(encoding="utf-8"))
    assert sorted(times) == sorted(wanted)
    assert all(took["seconds"] < 60 and took["yardstick"] > 0 for took in times.values())
    change_params(copied, {"gate.min_records": 32})
    again = run(copied, "python", "-m", "hallmark.commands.repro")
    assert re.search(r"up to 4 stages, about [\d.]+ s, until \d\d:\d\d", again.stdout)
    assert re.search(r"^\[1/4\] gate: about [\d.]+ s, all done at about \d\d:\d\d$", again.stderr, re.M)
