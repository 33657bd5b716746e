"""Write the code that each stage uses into the `deps` of dvc.yaml: `python -m stages.tools.deps` (`--check` only looks).

A stage depends on the files of `stages/` that it imports, directly or through others, on the data files that these
name (a string that is the path of a file, seen from the folder of the module), and on `requirements.lock` if one of
them imports a library. A package that reads its own `__path__` loads whatever is in its folder, and so depends on every
module there. A stage with `meta: {code: all}` depends on the code of every stage, so a change in any of it, even one
that changed no result, runs it again. All other dependencies in dvc.yaml are written by hand and left as they are.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.core.errors import HallmarkError, run_stage

PIPELINE = Path("dvc.yaml")
LOCK = "requirements.lock"
ALL = "all"  # under `meta.code`: the stage depends on the code of every stage
# These change no output, so a change in them runs nothing again. The parameters: no field of them has a default and
# none changes a value on the way (a test holds them to that), and DVC tracks the values themselves. `errors` only ends
# a run, `heading` only prints a line, `progress` only says how far a stage is, what `measured` writes is never
# compared, and `planning` only refuses what would not fit.
NO_OUTPUT = re.compile(
    r"stages/params/\w+\.py|stages/\w+/params\.py|stages/core/(?:errors|heading|measured|progress)\.py"
    r"|stages/planning/\w+\.py"
)


def code_of(module: str) -> list[str]:
    """What a module uses: `requirements.lock` if it uses a library, and files below `stages/`, sorted."""
    start = _file(module)
    if start is None:
        raise HallmarkError(
            f"no module {module}", file=PIPELINE, field="cmd", remedy="write the module, or fix the cmd"
        )
    files, libraries = {start}, False
    todo = [start]
    while todo:
        used, uses_library = _used(todo.pop())
        libraries |= uses_library
        new = {name for name in used if name not in files and not NO_OUTPUT.fullmatch(name)}
        files |= new
        todo += [name for name in sorted(new) if name.endswith(".py")]
    return [*([LOCK] if libraries else []), *sorted(files)]


@cache
def _used(name: str) -> tuple[frozenset[str], bool]:
    """The files that one module names, and whether it imports a library."""
    module = Path(name)
    try:
        tree = ast.parse(module.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise HallmarkError("not Python", file=module, row=error.lineno, remedy="fix the syntax at that row") from None
    files: set[str] = set()
    library = False
    for node in _running(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(module.parts[: len(module.parts) - node.level]) if node.level else ""
            source = ".".join(filter(None, (package, node.module)))
            names = [source, *(f"{source}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Name) and node.id == "__path__":  # the modules of its folder are loaded by a loop
            files |= {file.as_posix() for file in sorted(module.parent.glob("*.py")) if file != module}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if node.value.startswith("stages.") else []  # run by its name, in a process of its own
            files |= _data_file(module.parent, node.value)
        files |= {file for file in map(_file, names) if file}
        files |= {file for name in names for file in _packages(name)}
        if isinstance(node, ast.Import | ast.ImportFrom):
            library |= any(name.split(".")[0] not in {*sys.stdlib_module_names, "stages"} for name in names)
    return frozenset(files), library


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below, but what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _running(child)


def _file(module: str) -> str | None:
    """The file of a module of `stages`; None for any other name."""
    file = Path(*module.split(".")).with_suffix(".py")
    return file.as_posix() if re.fullmatch(r"stages(\.\w+)+", module) and file.is_file() else None


def _packages(module: str) -> Iterator[str]:
    """The `__init__.py` of the packages that a module is in, if one holds more than its docstring."""
    parts = module.split(".")
    for depth in range(2, len(parts) + 1) if parts[0] == "stages" else ():
        file = Path(*parts[:depth], "__init__.py")
        if file.is_file() and not only_a_docstring(file):
            yield file.as_posix()


def only_a_docstring(file: Path) -> bool:
    """Whether a module has no code."""
    return len(ast.parse(file.read_text(encoding="utf-8")).body) <= 1


def _data_file(folder: Path, text: str) -> set[str]:
    if not re.fullmatch(r"\w[\w./-]{0,80}\.\w+", text) or text.endswith(".py") or ".." in text:
        return set()
    file = folder / text
    return {file.as_posix()} if file.is_file() else set()


def differences(text: str) -> dict[str, tuple[list[str], list[str]]]:
    """The stages of a dvc.yaml whose code dependencies are not those of the code: which are missing, and which too many."""
    _used.cache_clear()
    stale = {}
    stages = _stages(text)
    for name, block in stages.items():
        given = [str(dep) for dep in block.get("deps") or []]
        wanted = wanted_by(name, stages)
        if wanted is None:
            continue
        code = [dep for dep in given if dep == LOCK or dep.startswith("stages/")]
        missing = [dep for dep in wanted if dep not in code]
        extra = [dep for number, dep in enumerate(code) if dep not in wanted or dep in code[:number]]
        if missing or extra:
            stale[name] = (missing, extra)
    return stale


def wanted_by(name: str, stages: dict[str, dict[str, Any]]) -> list[str] | None:
    """The code that a stage depends on: its module's, or with `meta: {code: all}` that of all stages; None: no module."""
    block = stages[name]
    if (block.get("meta") or {}).get("code") != ALL:
        module = _module_of(block)
        return None if module is None else code_of(module)
    modules = filter(None, map(_module_of, stages.values()))
    return sorted({file for module in modules for file in code_of(module)})


def _stages(text: str) -> dict[str, dict[str, Any]]:
    """The stages by name; of those that run for each of several items, the block that says what runs."""
    try:
        stages = YAML(typ="safe", pure=True).load(text)["stages"]
        return {name: block.get("do", block) for name, block in stages.items()}
    except (YAMLError, TypeError, KeyError, AttributeError):
        raise HallmarkError(
            "has no stages",
            file=PIPELINE,
            remedy="finish the merge if it has lines of `<<<<<<<`, or else restore it: `git checkout dvc.yaml`",
        ) from None


def _module_of(block: dict[str, Any]) -> str | None:
    """The module of `stages` that a stage runs."""
    command = re.search(r"\bpython3? (?:\S+ )*?-m (stages(?:\.\w+)+)", str(block.get("cmd", "")))
    return command[1] if command else None


def written(text: str) -> str:
    """The text of dvc.yaml with the code dependencies of every stage; lines written by hand, and comments, stay.

    Raises HallmarkError if the list of a stage is in a form that this can't edit.
    """
    for name in differences(text):
        new = _edited(text, name, wanted_by(name, _stages(text)) or [])
        if left := differences(new).get(name):
            raise HallmarkError(
                f"its list can't be edited here: {_in_words(*left)}",
                file=PIPELINE,
                field=f"stages.{name}.deps",
                remedy="write it as a list with one dependency a line below `deps:`, then run `nox -s deps` again",
            )
        text = new
    return text


def _edited(text: str, stage: str, code: list[str]) -> str:
    block = re.search(rf"(?m)^( +)(['\"]?){re.escape(stage)}\2:.*\n(?:\1 .*\n?|[ \t]*\n)*", text)
    deps = re.search(r"(?m)^( +)deps:[ \t]*(?:#.*)?\n((?:\1 *(?:- |#).*\n?|[ \t]*\n)+)", block[0]) if block else None
    if block is None or deps is None:
        return text
    lines = deps[2].rstrip("\n").split("\n")
    items = [line for line in lines if line.lstrip().startswith("- ")]
    own = [line for line in lines if not re.match(rf"\s*- ['\"]?(?:stages/|{LOCK}\b)", line)]
    dash = items[0][: items[0].index("- ") + 2] if items else f"{deps[1]}  - "
    last = max((number for number, line in enumerate(own) if line.lstrip().startswith("- ")), default=-1)
    new = "\n".join([*own[: last + 1], *(dash + name for name in code), *own[last + 1 :]]) + "\n"
    return text[: block.start() + deps.start(2)] + new + text[block.start() + deps.end(2) :]


def _in_words(missing: list[str], extra: list[str]) -> str:
    return ", ".join([*(f"+ {name}" for name in missing), *(f"- {name}" for name in extra)])


def main(arguments: argparse.Namespace) -> None:
    """Command line: `--check`."""
    try:
        text = PIPELINE.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise HallmarkError("no such file", file=PIPELINE, remedy="run from the root of the repository") from None
    stale = differences(text)
    if arguments.check and stale:
        raise HallmarkError(
            "the code has other dependencies: "
            + "; ".join(f"{name}: {_in_words(*lists)}" for name, lists in stale.items()),
            file=PIPELINE,
            field="deps",
            remedy="run `nox -s deps`, which writes them",
        )
    if stale:
        PIPELINE.write_text(written(text), encoding="utf-8", newline="\n")
        print(f"written: {PIPELINE} ({', '.join(stale)})")
    else:
        print(f"{PIPELINE} has the dependencies that the code has")


if __name__ == "__main__":
    own = argparse.ArgumentParser(prog="python -m stages.tools.deps", description=__doc__)
    own.add_argument(
        "--check", action="store_true", help="write nothing; end with exit code 1 if dvc.yaml is not current"
    )
    run_stage("deps", __doc__, main, own)
