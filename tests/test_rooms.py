"""The rooms of the code: which may import which, and what a change in one runs again."""

from __future__ import annotations

import ast
import re
import shutil
from functools import cache
from pathlib import Path

import pytest

from stages.tools import deps
from tests.workspace import ROOT, run

# What a room may import, besides core and its own modules: the second paragraph of its docstring says the same.
ROOMS = sorted(folder.name for folder in (ROOT / "stages").iterdir() if (folder / "__init__.py").exists())


@cache
def arrows() -> list[tuple[str, str, bool]]:
    """(module, module of this repo that it imports, whether only a type checker reads that), for all of `stages/`."""
    found = []
    for file in sorted((ROOT / "stages").rglob("*.py")):
        own = file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        tree = ast.parse(file.read_text(encoding="utf-8"))
        typing = {
            id(node)
            for branch in ast.walk(tree)
            if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
            for node in ast.walk(branch)
        }
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stages"):
                names = [
                    f"{node.module}.{alias.name}" if is_package(node.module) else node.module for alias in node.names
                ]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.startswith("stages")]
            found += [(own, name, id(node) in typing) for name in names]
    return found


def is_package(module: str) -> bool:
    return (ROOT / module.replace(".", "/") / "__init__.py").exists()


def room_of(module: str) -> str:
    """The room that a module lies in, however deep; "" for a stage."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 else ""


def may_import(room: str) -> set[str]:
    """The rooms that the docstring of a room says it may import."""
    text = ast.get_docstring(ast.parse((ROOT / "stages" / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    said = next(part for part in text.split("\n\n") if "may import" in part)
    if "every room" in said:
        return set(ROOMS)
    return {name for name in ROOMS if re.search(rf"\b{name}\b", said)}


def allowed(own: str, other: str, typing: bool = False) -> bool:
    """Whether a module may import another: stage -> room -> core, as the docstrings of the rooms say."""
    room, target = room_of(own), room_of(other)
    if typing and other == "stages.params.loader":
        return True
    return bool(target) and (room in ("", target) or target in may_import(room))


def test_arrows_go_from_stages_to_rooms_to_core() -> None:
    assert [f"{own} imports {other}" for own, other, typing in arrows() if not allowed(own, other, typing)] == []


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ("stages.mask", "stages.split"),
        ("stages.tools.propose", "stages.mask"),
        ("stages.training.tuning", "stages.sft"),
        ("stages.core.files", "stages.corpus.raw"),
        ("stages.corpus.near", "stages.evaluation.stats"),
        ("stages.evaluation.metrics", "stages.params.loader"),
        ("stages.serving.engines.vllm", "stages.evaluation.stats"),
        ("stages.core.machine", "stages.serving.engines"),
    ],
)
def test_other_arrows_are_seen(own: str, other: str) -> None:
    assert not allowed(own, other)


def test_a_package_in_a_room_belongs_to_it() -> None:
    """Its modules are read, and may import what the room may."""
    own = {own for own, _, _ in arrows() if own.startswith("stages.serving.engines.")}
    assert {f"stages.serving.engines.{name}" for name in ("__init__", "endpoint", "vllm")} <= own
    assert {room_of(name) for name in own} == {"serving"}
    assert allowed("stages.serving.params", "stages.serving.engines")
    assert allowed("stages.benchmark", "stages.serving.engines")


def test_only_the_blocks_of_params_lie_above_the_rooms() -> None:
    """The loader imports the blocks of every room and nothing else of them."""
    wrong = [
        other
        for own, other, _ in arrows()
        if room_of(own) == "params" and not other.endswith(".params") and room_of(other) not in ("core", "params")
    ]
    assert wrong == []


def test_no_two_rooms_import_each_other() -> None:
    pairs = {(room_of(own), room_of(other)) for own, other, typing in arrows() if not typing and room_of(own)}
    assert [pair for pair in pairs if pair[0] < pair[1] and pair[::-1] in pairs] == []
    assert [pair for pair in pairs if pair[0] == "core" and pair[1] != "core"] == []


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `stages/`, in the working directory."""
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_a_knob_of_the_gate_and_a_gateway_retrain_nothing(copied: Path) -> None:
    append(copied / "stages/release/params.py", "\n\nclass Knob(Block):\n    knob: Positive\n")
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert deps.differences(text) == {}
    (copied / "stages/serving/gateway.py").write_text("from stages.serving import server\n", encoding="utf-8")
    append(copied / "stages/benchmark.py", "\nfrom stages.serving import gateway\n")
    assert deps.differences(text) == dict.fromkeys(("benchmark", "certify"), (["stages/serving/gateway.py"], []))


def test_a_new_engine_is_a_dependency_of_what_starts_servers(copied: Path) -> None:
    (copied / "stages/serving/engines/another.py").write_text("ENGINE = None\n", encoding="utf-8")
    found = deps.differences((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    starting = ("eval", "calibration", "online", "comparators", "benchmark", "certify")
    assert found == dict.fromkeys(starting, (["stages/serving/engines/another.py"], []))


def test_new_code_and_new_data_of_a_stage_become_dependencies(copied: Path) -> None:
    (copied / "stages/corpus/words").mkdir()
    (copied / "stages/corpus/words/few.txt").write_text("a\n", encoding="utf-8")
    (copied / "stages/corpus/extra.py").write_text('import polars\nWORDS = "words/few.txt"\n', encoding="utf-8")
    append(copied / "stages/gate.py", "\ndef late() -> None:\n    from stages.corpus import extra\n")
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    block = deps.written(text).split("  gate:\n")[1].split("  report:\n")[0]
    for name in ("stages/corpus/extra.py", "stages/corpus/words/few.txt", "requirements.lock"):
        assert f"      - {name}\n" in block


@pytest.mark.parametrize("options", [["-m"], ["-u", "-m"], ["-X", "dev", "-m"]])
@pytest.mark.parametrize("name", ["propose", "verify", "join", "intact", "summary"])
def test_a_command_that_moved_says_where_to(name: str, options: list[str]) -> None:
    done = run(ROOT, "python", *options, f"stages.{name}", "--help", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"stages.{name} has moved: run `python -m stages.tools.{name}`" in done.stderr
    assert (ROOT / f"stages/tools/{name}.py").exists()
