"""The recipes of real corpora, and what `nox -s corpora` does with them short of a whole pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.files import sha256_file
from hallmark.params.edit import changed
from hallmark.params.loader import load_params
from hallmark.task.evidence import Source
from tests.bench.corpora import causes, row
from tests.bench.corpora.__main__ import command_line, main
from tests.bench.corpora.recipe import VARIABLE, corpus_file, difference, names, read_recipe, set_up
from tests.workspace import ROOT, committed

if not (ROOT / "template").is_dir():
    pytest.skip("the recipes are only in the repo with the template", allow_module_level=True)

CORPORA = ROOT.parent / "shared/realdata"


def made(folder: Path, name: str) -> Path:
    """A made-up file with the columns that a recipe reads."""
    recipe = read_recipe(name)
    (folder / recipe.file).write_text(json.dumps(dict.fromkeys(recipe.columns, "x")) + "\n", encoding="utf-8")
    return folder / recipe.file


@pytest.mark.parametrize("name", names())
def test_the_params_of_a_recipe_are_valid_in_a_repo_of_its_kind(tmp_path: Path, name: str) -> None:
    recipe = read_recipe(name)
    kind = (ROOT / f"template/choices/kinds/{recipe.kind}/params.yaml").read_text(encoding="utf-8")
    before = changed((ROOT / "params.yaml").read_text(encoding="utf-8"), kind)
    (tmp_path / "params.yaml").write_text(before, encoding="utf-8")
    set_up(tmp_path, recipe, {"compute.threads": 1})
    params = load_params(tmp_path / "params.yaml")
    assert (params.task.kind, params.compute.threads) == (recipe.kind, 1)
    assert {"certify.intended_use", "certify.languages", "certify.limits"} <= set(recipe.params), "else certify stops"
    assert params.data.pseudonyms == "none", "else each stamped repo would hold out other groups"
    after = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    assert after.count("  # ") >= before.count("  # ") - len(recipe.params), "comments stay"


@pytest.mark.parametrize("name", names())
def test_a_recipe_is_of_the_file_at_hand(name: str) -> None:
    recipe = read_recipe(name)
    if not (CORPORA / recipe.file).is_file():
        pytest.skip(f"{recipe.file} is not there")
    file = corpus_file(recipe, CORPORA)
    assert difference(recipe, file) is None
    with file.open("rb") as lines:
        assert sum(1 for _ in lines) == recipe.rows


def test_without_the_data_it_says_where_they_come_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(HallmarkError, match=rf"{VARIABLE}.*ICDAR-2019-SROIE.*licence MIT.*text: the lines"):
        main(command_line().parse_args(["receipts"]))
    with pytest.raises(HallmarkError, match=r"multidogo_software\.jsonl: no such file"):
        main(command_line().parse_args(["multidogo", "--folder", str(tmp_path)]))
    (tmp_path / "receipts.jsonl").write_text('{"id": 1, "text": "a"}\n', encoding="utf-8")
    with pytest.raises(HallmarkError, match=r"lacks columns"):
        main(command_line().parse_args(["receipts", "--folder", str(tmp_path)]))
    with pytest.raises(HallmarkError, match=r"no such corpus"):
        main(command_line().parse_args(["nothing"]))


@pytest.mark.parametrize(("param", "value"), [(None, None), ("sft.dtype", "float32"), ("sft.epochs", 3)])
def test_what_is_finished_stays_and_writes_its_row(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    param: str | None,
    value: object,
) -> None:
    """No stage runs: `call` would fail in a folder without a repo."""
    file, into, page = made(tmp_path, "receipts"), tmp_path / "into", tmp_path / "results.md"
    page.write_text("| corpus |\n| --- |\n| another | `nox -s corpora -- multidogo` |\n", encoding="utf-8")
    monkeypatch.setattr(row, "PAGE", page)
    into.mkdir()
    recipe_file = ROOT / "tests/bench/corpora/receipts.yaml"
    started = {
        "recipe": sha256_file(recipe_file),
        "corpus": sha256_file(file),
        "changes": {param: value} if param else {},
    }
    (into / "receipts.started.json").write_text(json.dumps({"made_from": started, "seconds": 9}), encoding="utf-8")
    rate = {"value": 0.5, "low": 0.4, "high": 0.6, "records": 120}
    found = {
        "parts": {"train": [1_400, 70], "holdout": [120, 40]},
        "fields": {"tuned": rate | {"value": 0.55}},
        "causes": {"left out": {"total": 2}, "made up": {"date": 1, "total": 3}},
        "right": {"base": rate | {"value": 0.0}, "few_shot": rate | {"value": 0.25, "records": 60}, "tuned": rate},
        "verdict": "too_little_data",
        "minutes": 12.4,
        "machine": "Some Processor, 2 threads",
    }
    (into / "receipts.json").write_text(json.dumps(found), encoding="utf-8")
    options = ["receipts", "--folder", str(tmp_path), "--into", str(into)]
    changed = ["--set", f"{param}={value}"] if param else []
    for _ in range(2):  # the second time over the first row
        main(command_line().parse_args([*options, *changed]))
    if param == "sft.epochs":
        assert len(page.read_text(encoding="utf-8").splitlines()) == 3, "what is not of the machine writes no row"
        return
    head, _, first, second = page.read_text(encoding="utf-8").splitlines()
    assert (head, second) == ("| corpus |", "| another | `nox -s corpora -- multidogo` |")
    assert first.startswith("| Receipts | extraction: 1,400 records train, 120 of 40 groups are held out")
    for words in (
        "base 0.0 %, few-shot (of 60 records) 25.0 %",
        "**50.0 % [40.0, 60.0]**",
        "too little data",
        "2 threads; `sft.dtype: float32` |" if param else "2 threads |",
        "| 12 |",
    ):
        assert words in first
    said = capsys.readouterr().out
    assert "finished already" in said
    assert "| made up | 4 | date 1, total 3 |\n| left out | 2 | total 2 |" in said
    assert "| tuned | 50.0 % [40.0, 60.0] | 55.0 % [40.0, 60.0] |" in said
    with pytest.raises(HallmarkError, match=r"another recipe, corpus or --set"):
        main(command_line().parse_args([*options, "--set", "compute.threads=1"]))


RECEIPT = "HUA SENG TRADING\nLOT 5, JALAN MAWAR 3\n81100 JOHOR\nSUBTOTAL 9.40\nTOTAL RM9.50"


@pytest.mark.parametrize(
    ("target", "answer", "why"),
    [
        ("LOT 5, JALAN MAWAR 3, 81100 JOHOR", "LOT 5 JALAN MAWAR 3 81100 JOHOR", causes.SPELLING),
        ("LOT 5, JALAN MAWAR 3, 81100 JOHOR", "LOT 5, JALAN MAWAR 3", causes.SHORT),
        ("LOT 5, JALAN MAWAR 3", "LOT 5, JALAN MAWAR 3 81100", causes.LONG),
        ("LOT 5, JALAN MAWAR 3, 81100 JOHOR", "LOT 5, JALAN MEWAR 3, 81100 JOHOR", causes.SLIPS),
        ("LOT 5, JALAN MAWAR 3, 81100 JOHOR", "12 JALAN SAGU, MELAKA", causes.MADE_UP),
        ("LOT 5, JALAN MAWAR 3, 81100 JOHORE", "LOT 5, JALAN MAWAR 3", causes.NOT_THERE),
        ("9.50", "RM9.50", causes.AMOUNT),
        ("9.50", "9.40", causes.ANOTHER),
        ("9.50", None, causes.LEFT_OUT),
    ],
)
def test_a_wrong_field_has_a_cause(target: str, answer: str | None, why: str) -> None:
    assert causes.cause(target, answer, Source(RECEIPT)) == why


def test_the_figures_are_of_what_answered_the_holdout(tmp_path: Path) -> None:
    """The reports of the reference, which git has: the tuned model's answers to the calibration part are not among them."""
    committed(tmp_path, "reports")
    (tmp_path / "reports/eval/tuned/predictions.jsonl").write_text("", encoding="utf-8")
    assert (tmp_path / "reports/eval/calibration/metrics.json").is_file()
    found = row.figures(tmp_path, 60)
    assert found["right"].keys() == {"base", "tuned", row.LINEAR}
    assert all(0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1 for rate in found["right"].values())
