"""Which code a stage loads: found in whatever way a module names another, or a file, and written to code/."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hallmark.base import loaded_code
from hallmark.base.errors import HallmarkError
from hallmark.base.files import sha256_file
from hallmark.base.loaded_code import code_of
from hallmark.base.reading import read_object
from hallmark.params.loader import load_params, resolved, tracked
from tests.workspace import ROOT, append, replace_in, run, written

MODULES = {
    "stages/__init__.py": "",
    "stages/one.py": 'import polars\nfrom hallmark.room import helper\n\nPAGE = "page.html"\n',
    "stages/page.html": "<p>\n",
    "stages/two.py": "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from hallmark.room import helper\n",
    "hallmark/__init__.py": "",
    "hallmark/room/__init__.py": '"""A room."""\n',
    "hallmark/room/helper.py": 'from . import near\nfrom .far import far\n\nWORDS = "words/few.txt"\n',
    "hallmark/room/near.py": 'RUN = "hallmark.room.started"\n',
    "hallmark/room/far.py": "def far():\n    from hallmark.room.params import Block\n",
    "hallmark/room/params.py": "import pydantic\n",
    "hallmark/room/started.py": "",
    "hallmark/room/words/few.txt": "a\n",
}
CODE = [
    "hallmark/room/far.py",
    "hallmark/room/helper.py",
    "hallmark/room/near.py",
    "hallmark/room/started.py",
    "hallmark/room/words/few.txt",
    "requirements.lock",
    "stages/one.py",
    "stages/page.html",
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    written(tmp_path, MODULES)
    monkeypatch.chdir(tmp_path)
    loaded_code._used.cache_clear()
    return tmp_path


def test_all_that_a_module_names_is_found(project: Path) -> None:
    assert code_of("stages/one.py") == CODE


def test_relative_imports_one_line_packages_and_packages_of_ones_own_are_found(project: Path) -> None:
    files = {
        "stages/mine.py": "from .shared import X\nfrom stages.pkg import f\nfrom hallmark.room import loads\nW = 'stages/w.txt'\n",
        "stages/shared.py": "X = 1\n",
        "stages/w.txt": "a\n",
        "stages/pkg/__init__.py": "from stages.pkg.impl import f\n",
        "stages/pkg/impl.py": "f = 1\n",
        "stages/kinds/big/__init__.py": "from ...shared import X\n",
        "hallmark/room/loads.py": "if not TYPE_CHECKING:\n    from hallmark.room import far\nKINDS = own_modules('kinds')\n",
    }
    written(project, files)
    assert {*code_of("stages/mine.py")} == {*files, "hallmark/room/far.py"}


def test_a_module_outside_both_buildings_is_an_error(project: Path) -> None:
    """DVC would not see a change in it."""
    (project / "helpers.py").write_text("", encoding="utf-8")
    (project / "stages/two.py").write_text("import json\nimport helpers\n", encoding="utf-8")
    with pytest.raises(HallmarkError, match=r"stages/two.py, row 2: imports helpers, which is here"):
        code_of("stages/two.py")


def test_what_only_a_type_checker_reads_is_not_loaded(project: Path) -> None:
    assert code_of("stages/two.py") == ["stages/two.py"]


def test_a_package_that_loads_its_folder_depends_on_every_module_in_it(project: Path) -> None:
    """Whatever imports the package, or one of its modules, depends on all of them, and on what they import."""
    kinds = project / "hallmark/room/kinds"
    (kinds / "words").mkdir(parents=True)
    loop = "for module in pkgutil.iter_modules(__path__):\n    importlib.import_module(f'{__name__}.{module.name}')\n"
    (kinds / "__init__.py").write_text(f"import importlib, pkgutil\n\n{loop}", encoding="utf-8")
    (kinds / "first.py").write_text("from hallmark.room import far\n", encoding="utf-8")
    (kinds / "second.py").write_text('WORDS = "words/own.txt"\n', encoding="utf-8")
    (kinds / "words/own.txt").write_text("a\n", encoding="utf-8")
    files = ["__init__.py", "first.py", "second.py", "words/own.txt"]
    wanted = {*(f"hallmark/room/kinds/{name}" for name in files), "hallmark/room/far.py"}
    for line in (
        "from hallmark.room.kinds import KINDS",
        "import hallmark.room.kinds.first",
        "from hallmark.room import kinds",
    ):
        loaded_code._used.cache_clear()
        (project / "stages/two.py").write_text(f"{line}\n", encoding="utf-8")
        assert {*code_of("stages/two.py")} == {*wanted, "stages/two.py"}
    (kinds / "third.py").write_text("import polars\n", encoding="utf-8")
    loaded_code._used.cache_clear()
    more = {"stages/two.py", "hallmark/room/kinds/third.py", "requirements.lock"}
    assert {*code_of("stages/two.py")} == {*wanted, *more}


def test_the_stage_writes_a_list_for_each_module_and_leaves_those_that_are_current(project: Path) -> None:
    shutil.rmtree(project / "hallmark")
    (project / "code").mkdir()
    (project / "code/gone").write_text("", encoding="utf-8")
    (project / "requirements.lock").write_text("", encoding="utf-8")
    (project / "stages/one.py").write_text("import polars\n", encoding="utf-8")
    for name in ("stages/code.py", "params.yaml"):
        shutil.copyfile(ROOT / name, project / name)
    run(project, "python", "-m", "stages.code", PYTHONPATH=f"{project}:{ROOT}")
    assert sorted(file.name for file in (project / "code").iterdir()) == ["one", "params.json", "two"]
    late = project / "stages/one.py"
    late.write_text("import polars\nLATE = 1\n", encoding="utf-8")
    with pytest.raises(HallmarkError, match=r"stages/one.py.*: has changed since the stage `code` listed it"):
        loaded_code.check_current("one")
    late.write_text("import polars\n", encoding="utf-8")
    loaded_code.check_current("one")
    (project / "code/analysis.py").write_text("mine\n", encoding="utf-8")
    refused = run(project, "python", "-m", "stages.code", PYTHONPATH=f"{project}:{ROOT}", check=False)
    assert "code/analysis.py: is no list of code" in refused.stderr
    assert read_object(project / "code/params.json") == tracked(resolved(ROOT / "params.yaml"))
    digest = sha256_file(project / "stages/one.py")
    lines = (project / "code/one").read_text(encoding="utf-8").splitlines()
    assert lines == [f"{sha256_file(project / 'requirements.lock')}  requirements.lock", f"{digest}  stages/one.py"]


def test_an_ejected_module_wins_and_is_hashed(tmp_path: Path) -> None:
    """In a repository whose library is installed: here, found by PYTHONPATH."""
    for name in ("stages", "hallmark"):
        shutil.copytree(ROOT / name, tmp_path / "repo" / name, ignore=shutil.ignore_patterns("__pycache__"))
    repo, installed = tmp_path / "repo", tmp_path / "installed"
    installed.mkdir()
    (repo / "hallmark").rename(installed / "hallmark")
    for name in ("requirements.lock", "params.yaml"):
        shutil.copyfile(ROOT / name, repo / name)
    both = f"{repo}:{installed}"
    eject = ("python", "-m", "hallmark.commands.eject")
    assert "no module of the library" in run(repo, *eject, "hallmark.gone", PYTHONPATH=both, check=False).stderr
    said = run(repo, *eject, "hallmark.judge.verdict", PYTHONPATH=both).stdout
    assert said == "written: stages/hallmark/judge/verdict.py\n"
    assert "is there already" in run(repo, *eject, "hallmark.judge.verdict", PYTHONPATH=both, check=False).stderr
    own = repo / "stages/hallmark/judge/verdict.py"
    append(own, "\nOWN = 1\n")
    code = "from hallmark.judge.verdict import OWN; import hallmark.judge.results; print(OWN)"
    assert run(repo, "python", "-c", code, PYTHONPATH=both).stdout == "1\n"
    run(repo, "python", "-m", "stages.code", PYTHONPATH=both)
    lines = (repo / "code/gate").read_text(encoding="utf-8").splitlines()
    assert f"{sha256_file(own)}  stages/hallmark/judge/verdict.py" in lines
    assert not any(line.endswith("  hallmark/judge/verdict.py") for line in lines)


def test_a_stage_reads_the_params_that_dvc_compares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was edited while another stage ran would leave no trace in dvc.lock."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "code").mkdir()
    shutil.copyfile(ROOT / "code/params.json", tmp_path / "code/params.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "sft")
    assert load_params().seed == 7
    append(Path("params.yaml"), "# a comment is no other value\n")
    load_params()
    replace_in(Path("params.yaml"), "seed: 7 ", "seed: 8 ")
    with pytest.raises(HallmarkError, match=r"has other values than code/params.json(.*\n)*.*run `dvc repro` again"):
        load_params()
    for name in ("code", None):
        if name is None:
            monkeypatch.delenv("DVC_STAGE")
        else:
            monkeypatch.setenv("DVC_STAGE", name)
        assert load_params().seed == 8
