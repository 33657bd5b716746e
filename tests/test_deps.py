"""Writing the code that stages use into dvc.yaml, in whatever style that is written, and saying where it can't."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stages.core.errors import HallmarkError
from stages.tools import deps
from tests.workspace import ROOT, run

MODULES = {
    "stages/__init__.py": "",
    "stages/one.py": 'import polars\nfrom stages.room import helper\n\nPAGE = "page.html"\n',
    "stages/page.html": "<p>\n",
    "stages/two.py": "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from stages.room import helper\n",
    "stages/room/__init__.py": '"""A room."""\n',
    "stages/room/helper.py": 'from . import near\nfrom .far import far\n\nWORDS = "words/few.txt"\n',
    "stages/room/near.py": 'RUN = "stages.room.started"\n',
    "stages/room/far.py": "def far():\n    from stages.room.params import Block\n",
    "stages/room/params.py": "import pydantic\n",
    "stages/room/started.py": "",
    "stages/room/words/few.txt": "a\n",
}
CODE = [
    "requirements.lock",
    "stages/one.py",
    "stages/page.html",
    "stages/room/far.py",
    "stages/room/helper.py",
    "stages/room/near.py",
    "stages/room/started.py",
    "stages/room/words/few.txt",
]
# Each has one dependency of its own, `data/in.csv`.
STYLES = {
    "as the repository writes it": "stages:\n  one:\n    cmd: python -m stages.one\n    deps:\n      - data/in.csv\n    outs:\n      - out\n",
    "as DVC writes it": "stages:\n  one:\n    cmd: python -m stages.one\n    deps:\n    - data/in.csv\n    outs:\n    - out\n",
    "deps after outs": "stages:\n  one:\n    cmd: python -m stages.one\n    outs:\n      - out\n    deps:\n      - data/in.csv\n",
    "no newline at the end": "stages:\n  one:\n    cmd: python -m stages.one\n    deps:\n      - data/in.csv",
    "a name with a hyphen, after another stage": "stages:\n  zero:\n    cmd: echo\n  my-own:\n    cmd: python -m stages.one\n    deps:\n      - data/in.csv\n",
    "a quoted name and a comment": "stages:\n  'one':  # mine\n    cmd: python3 -u -m stages.one --fast\n    deps:  # all\n      - data/in.csv\n",
    "a folded command": "stages:\n  one:\n    cmd: >-\n      python -m stages.one\n    deps:\n      - data/in.csv\n",
    "commands in a list": "stages:\n  one:\n    cmd:\n      - echo\n      - python -m stages.one\n    deps:\n      - data/in.csv\n",
    "a stage for each of several": "stages:\n  one:\n    foreach: [a]\n    do:\n      cmd: python -m stages.one\n      deps:\n        - data/in.csv\n",
    "comments, blanks, old and double code": "stages:\n  one:\n    cmd: python -m stages.one\n    deps:\n      # mine\n      - stages/gone.py\n\n      - data/in.csv  # the data\n      - stages/one.py\n      - 'stages/one.py'\n      # the end\n    outs:\n      - out\n",
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(text: str) -> list[str]:
    (block,) = [block for block in deps._stages(text).values() if "deps" in block]
    return list(block["deps"])


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_checked_and_written(project: Path, style: str) -> None:
    text = STYLES[style]
    ((missing, _),) = deps.differences(text).values()
    assert set(missing) <= set(CODE)
    new = deps.written(text)
    assert listed(new) == ["data/in.csv", *CODE]
    assert deps.differences(new) == {}
    assert deps.written(new) == new
    for name in CODE:
        assert list(deps.differences(without(new, name)).values()) == [([name], [])]
    comments = [line for line in text.splitlines() if "#" in line]
    assert [line for line in new.splitlines() if "#" in line] == comments


def without(text: str, dependency: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if line.strip() != f"- {dependency}")


def test_a_stage_without_a_module_needs_no_list(project: Path) -> None:
    assert deps.differences("stages:\n  other:\n    cmd: python make.py\n    deps: [data/in.csv]\n") == {}


def test_a_stage_can_depend_on_the_code_of_all_stages(project: Path) -> None:
    (project / "stages/last.py").write_text("", encoding="utf-8")
    text = (
        "stages:\n  one:\n    cmd: python -m stages.one\n    deps:\n      - data/in.csv\n"
        "  last:\n    cmd: python -m stages.last\n    meta: {code: all}\n    deps:\n      - data/in.csv\n"
    )
    new = deps.written(text)
    lists = {name: block["deps"] for name, block in deps._stages(new).items()}
    assert lists["one"] == ["data/in.csv", *CODE]
    assert lists["last"] == ["data/in.csv", *sorted([*CODE, "stages/last.py"])]
    assert deps.differences(new) == {}


@pytest.mark.parametrize("lines", ["deps: [data/in.csv]", "outs:\n      - out"])
def test_a_list_that_cannot_be_edited_is_an_error_with_the_list(project: Path, lines: str) -> None:
    text = f"stages:\n  one:\n    cmd: python -m stages.one\n    {lines}\n"
    with pytest.raises(HallmarkError, match=r"stages.one.deps.*\+ requirements.lock, \+ stages/one.py") as caught:
        deps.written(text)
    assert "one dependency a line" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages:\n  one:\n    cmd: python -m stages.gone\n", "no module stages.gone"),
        ("stages:\n  one:\n    cmd: python -m stages.room\n", "no module stages.room"),
        ("stages: [1]\n", "has no stages"),
        ("a: [\n", "has no stages"),
        ("", "has no stages"),
    ],
)
def test_a_broken_pipeline_is_an_error(project: Path, text: str, words: str) -> None:
    with pytest.raises(HallmarkError, match=words):
        deps.differences(text)


def test_broken_code_is_an_error_with_its_row(project: Path) -> None:
    (project / "stages/room/near.py").write_text("x = 1\ny = = 2\n", encoding="utf-8")
    with pytest.raises(HallmarkError, match=r"stages/room/near.py, row 2: not Python"):
        deps.differences(STYLES["as DVC writes it"])


def test_code_in_a_package_file_counts(project: Path) -> None:
    (project / "stages/room/__init__.py").write_text('"""A room."""\n\nLEVEL = 1\n', encoding="utf-8")
    assert "stages/room/__init__.py" in listed(deps.written(STYLES["as DVC writes it"]))


def test_a_package_that_loads_its_folder_depends_on_every_module_in_it(project: Path) -> None:
    """Whatever imports the package, or one of its modules, depends on all of them, and on what they import."""
    kinds = project / "stages/room/kinds"
    (kinds / "words").mkdir(parents=True)
    loop = "for module in pkgutil.iter_modules(__path__):\n    importlib.import_module(f'{__name__}.{module.name}')\n"
    (kinds / "__init__.py").write_text(f"import importlib, pkgutil\n\n{loop}", encoding="utf-8")
    (kinds / "first.py").write_text("from stages.room import far\n", encoding="utf-8")
    (kinds / "second.py").write_text('WORDS = "words/own.txt"\n', encoding="utf-8")
    (kinds / "words/own.txt").write_text("a\n", encoding="utf-8")
    files = ["__init__.py", "first.py", "second.py", "words/own.txt"]
    wanted = {*(f"stages/room/kinds/{name}" for name in files), "stages/room/far.py"}
    for line in (
        "from stages.room.kinds import KINDS",
        "import stages.room.kinds.first",
        "from stages.room import kinds",
    ):
        deps._used.cache_clear()
        (project / "stages/two.py").write_text(f"{line}\n", encoding="utf-8")
        assert set(deps.code_of("stages.two")) == {*wanted, "stages/two.py"}
    (kinds / "third.py").write_text("import polars\n", encoding="utf-8")
    deps._used.cache_clear()
    assert set(deps.code_of("stages.two")) == {
        *wanted,
        "stages/two.py",
        "stages/room/kinds/third.py",
        "requirements.lock",
    }


def test_the_command_writes_and_checks(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text(text.replace("      - stages/core/reports.py\n", ""), encoding="utf-8")
    command = ("python", "-m", "stages.tools.deps")
    refused = run(tmp_path, *command, "--check", check=False)
    assert refused.returncode == 1
    assert "gate: + stages/core/reports.py" in refused.stderr
    assert "written: dvc.yaml" in run(tmp_path, *command).stdout
    assert (tmp_path / "dvc.yaml").read_text(encoding="utf-8") == text
    run(tmp_path, *command, "--check")
    (tmp_path / "dvc.yaml").unlink()
    assert "no such file" in run(tmp_path, *command, check=False).stderr
