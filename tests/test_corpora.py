"""The recipes of real corpora, and what `nox -s corpora` does with them short of a whole pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.params.edit import changed
from hallmark.params.loader import load_params
from tests.bench.corpora import row
from tests.bench.corpora.__main__ import call, command_line, main
from tests.bench.corpora.recipe import VARIABLE, corpus_file, difference, names, read_recipe, set_up
from tests.workspace import ROOT, committed

if not (ROOT / "template").is_dir():
    pytest.skip("the recipes are only in the repo with the template", allow_module_level=True)

CORPORA = ROOT.parent / "shared/realdata"


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
    with pytest.raises(HallmarkError, match=rf"{VARIABLE}.*ICDAR-2019-SROIE.*licence MIT"):
        main(command_line().parse_args(["receipts"]))
    (tmp_path / "receipts.jsonl").write_text('{"id": 1, "text": "a"}\n', encoding="utf-8")
    with pytest.raises(HallmarkError, match=r"lacks columns"):
        main(command_line().parse_args(["receipts", "--folder", str(tmp_path)]))


def test_the_figures_are_of_what_answered_the_holdout(tmp_path: Path) -> None:
    """The reports of the reference, which git has, with the intervals of its comparison."""
    committed(tmp_path, "reports")
    found = row.figures(tmp_path, 60)
    assert {"base", "tuned", row.LINEAR} <= found["right"].keys() and "calibration" not in found["right"]
    assert all(0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1 for rate in found["right"].values())


def test_what_runs_in_a_stamped_repo_finds_the_library(tmp_path: Path) -> None:
    """Nothing is installed there: its own wheel is for people."""
    call(tmp_path, "python", "-c", "import hallmark.commands.propose")
