"""The two buildings: recipes import rooms, a room imports only those below it, and what a change in one runs again."""

from __future__ import annotations

import ast
import shutil
from functools import cache
from pathlib import Path

import pytest

from hallmark.base import loaded_code
from tests.workspace import ROOT, append

# From the bottom to the top, as hallmark/__init__.py says: a room imports only rooms before it. A recipe imports any but
# `service`, and nothing imports a recipe. With the lines of Python that each may have: who needs more decides it here.
ROOMS = {
    "base": 3_867, "task": 1_214, "records": 2_195, "mask": 11_506, "corpus": 1_324, "model": 3_941, "serve": 2_362, "answer": 4_225, "judge": 4_255,
    "release": 2_015, "page": 875, "params": 938, "plan": 1_337, "draft": 908, "commands": 4_905, "service": 7_215,
}  # fmt: skip
OTHERS = {"stages": 2_361, "tests": 35_175, "noxfile.py": 238}  # lines
PAGES, WORDS = 20, 28_924  # of docs/


@cache
def arrows() -> list[tuple[str, str]]:
    """(module, module of this repo that it imports), for all of both buildings, without what only a type checker reads."""
    found = []
    for file in sorted([*(ROOT / "stages").rglob("*.py"), *(ROOT / "hallmark").rglob("*.py")]):
        own = file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for node in loaded_code._running(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                deeper = (ROOT / node.module.replace(".", "/") / "__init__.py").exists()
                names = [f"{node.module}.{alias.name}" if deeper else node.module for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            found += [(own, name) for name in names if name.split(".")[0] in ("stages", "hallmark")]
    return found


def allowed(own: str, other: str) -> bool:
    """Whether a module may import another."""
    if other == "hallmark" or (other.startswith("stages.") and own.startswith("stages.") and other.count(".") > 1):
        return True
    if other.startswith("stages"):
        return False
    target = other.split(".")[1]
    if own.startswith("stages."):
        return target != "service"
    return own == "hallmark.__init__" or [*ROOMS].index(target) <= [*ROOMS].index(own.split(".")[1])


def test_arrows_go_only_down() -> None:
    assert [f"{own} imports {other}" for own, other in arrows() if not allowed(own, other)] == []


def test_no_part_has_more_lines_than_was_decided() -> None:
    """Each change pays for what is there: see docs/extending.md."""
    allowed = {f"hallmark/{room}": lines for room, lines in ROOMS.items()} | OTHERS
    files = {part: [ROOT / part] if part.endswith(".py") else sorted((ROOT / part).rglob("*.py")) for part in allowed}
    lines = {part: sum(len(file.read_bytes().splitlines()) for file in found) for part, found in files.items()}
    assert {part: (count, allowed[part]) for part, count in lines.items() if count > allowed[part]} == {}
    pages = sorted((ROOT / "docs").glob("*.md"))
    assert len(pages) <= PAGES
    assert sum(len(page.read_text(encoding="utf-8").split()) for page in pages) <= WORDS


def test_every_room_is_read_and_named() -> None:
    folders = {folder.name for folder in (ROOT / "hallmark").iterdir() if (folder / "__init__.py").exists()}
    assert folders == {*ROOMS} == {own.split(".")[1] for own, _ in arrows() if own.startswith("hallmark.")}
    text = (ROOT / "hallmark/__init__.py").read_text(encoding="utf-8")
    assert [text.index(f"{room}: ") for room in ROOMS] == sorted(text.index(f"{room}: ") for room in ROOMS)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of both buildings, in the working directory."""
    for name in ("stages", "hallmark"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "requirements.lock", tmp_path / "requirements.lock")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lists() -> dict[str, str]:
    """The list of code of each stage, as the stage `code` would write it now."""
    loaded_code._used.cache_clear()
    modules = [file for file in sorted(Path("stages").glob("*.py")) if file.stem not in ("__init__", "code")]
    return {file.stem: loaded_code.listing(file.as_posix()) for file in modules}


def changed(before: dict[str, str]) -> set[str]:
    return {name for name, text in lists().items() if text != before[name]}


def test_a_change_runs_what_loads_it_again_and_no_other_stage(copied: Path) -> None:
    before = lists()
    append(copied / "hallmark/judge/params.py", "\n\nclass Knob(Block):\n    knob: Positive\n")
    append(copied / "hallmark/service/gateway/app.py", "\n\nKNOB = 1\n")
    assert changed(before) == set(), "a setting of the gate, and the gateway"
    append(copied / "hallmark/model/kernels.py", "\n\nKNOB = 1\n")  # sft and dpo
    (copied / "hallmark/serve/engines/another.py").write_text("ENGINE = None\n", encoding="utf-8")
    assert changed(before) == {"sft", "dpo", "eval", "benchmark"}
