"""The recipes of real corpora, and what `nox -s corpora` does with them short of a whole pipeline."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hallmark.params.edit import changed
from hallmark.params.loader import load_params
from hallmark.records.recipe import load
from tests.bench.corpora.recipe import VARIABLE, corpus_file, difference, names, read_recipe, script_file, set_up
from tests.workspace import ROOT

CORPORA = Path(os.environ.get(VARIABLE, "corpora"))


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
def test_a_recipe_is_of_the_file_at_hand_and_its_script_makes_a_record_of_each_row(tmp_path: Path, name: str) -> None:
    recipe = read_recipe(name)
    if not (CORPORA / recipe.file).is_file():
        pytest.skip(f"{recipe.file} is not there")
    file = corpus_file(recipe, CORPORA)
    assert difference(recipe, file) is None
    with file.open("rb") as lines:
        assert sum(1 for _ in lines) == recipe.rows
    raw = tmp_path / "data/raw"
    raw.mkdir(parents=True)
    shutil.copyfile(file, raw / recipe.file)
    run = load(script_file(name)).run({}, tmp_path)
    assert len(list(run)) == recipe.rows
