"""Write the code that each stage uses into the `deps` of dvc.yaml: `python -m stages.tools.deps` (`--check` only looks).

A stage depends on the files of `stages/` that it imports, directly or through others, on the data files that these
name (a string that is the path of a file, seen from the folder of the module), and on `requirements.lock` where one of
them imports a library. All other dependencies in dvc.yaml are written by hand and left as they are.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from stages.core.errors import HallmarkError, run_stage

PIPELINE = Path("dvc.yaml")
LOCK = "requirements.lock"
# These change no output, so a change in them runs nothing again. The parameters: no field of them has a default and
# none changes a value on the way (a test holds them to that), and DVC tracks the values themselves. `errors` only ends
# a run; what `measured` writes is never compared.
NO_OUTPUT = re.compile(
    r"stages/params/\w+\.py|stages/\w+/params\.py|stages/core/(?:errors|measured)\.py|stages/__init__\.py"
)
COMMAND = re.compile(r"^ +cmd: python -m (stages\.\w+)", re.MULTILINE)


def code_of(module: Path) -> list[str]:
    """What the module at that path uses: `requirements.lock` if it uses a library, and files below `stages/`, sorted."""
    files, libraries = {module.as_posix()}, False
    todo = [module]
    while todo:
        found, uses_library = _used(todo.pop())
        libraries |= uses_library
        new = {name for name in found if name not in files and not NO_OUTPUT.fullmatch(name)}
        files |= new
        todo += [Path(name) for name in sorted(new) if name.endswith(".py")]
    return [*([LOCK] if libraries else []), *sorted(files)]


@cache
def _used(module: Path) -> tuple[frozenset[str], bool]:
    """The files that one module names, and whether it imports a library."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    files: set[str] = set()
    library = False
    for node in _running(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if node.value.startswith("stages.") else []  # run by its name, in a process of its own
            files |= _data_file(module.parent, node.value)
        files |= {file.as_posix() for file in map(_module, names) if file.exists()}
        files |= {file.as_posix() for name in names for file in _packages(name)}
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


def _module(name: str) -> Path:
    return Path(*name.split(".")).with_suffix(".py") if re.fullmatch(r"stages(\.\w+)+", name) else Path(".no")


def _packages(name: str) -> Iterator[Path]:
    """The `__init__.py` of the packages that a module lies in, where one holds more than its docstring."""
    parts = name.split(".")
    for depth in range(2, len(parts) + 1) if parts[0] == "stages" else ():
        file = Path(*parts[:depth], "__init__.py")
        if file.exists() and len(ast.parse(file.read_text(encoding="utf-8")).body) > 1:
            yield file


def _data_file(folder: Path, text: str) -> set[str]:
    if not re.fullmatch(r"[\w./-]{1,80}\.\w+", text) or text.endswith(".py") or ".." in text:
        return set()
    file = folder / text
    return {file.as_posix()} if file.is_file() else set()


def written(text: str) -> str:
    """The text of dvc.yaml with the dependencies of every stage as the code has them."""
    _used.cache_clear()
    blocks = re.split(r"(?m)^(?=  \w+:$)", text)
    return "".join(_block(block) for block in blocks)


def _block(block: str) -> str:
    command = COMMAND.search(block)
    deps = re.search(r"^( +)deps:\n((?:\1  - .*\n)+)", block, re.MULTILINE)
    if not command or not deps:
        return block
    lines = deps[2].splitlines()
    items = [re.sub(r"^ +- ", "", line) for line in lines]
    if "stages" in items:  # all the code there is
        return block
    own = [item for item in items if item.split()[0] != LOCK and not item.startswith("stages/")]
    items = own + code_of(_module(command[1]))
    return block[: deps.start(2)] + "".join(f"{deps[1]}  - {item}\n" for item in items) + block[deps.end(2) :]


def main(arguments: argparse.Namespace) -> None:
    """Command line: `--check`."""
    text = PIPELINE.read_text(encoding="utf-8")
    new = written(text)
    if arguments.check and new != text:
        stale = [line for line in new.splitlines() if line not in text.splitlines()]
        raise HallmarkError(
            f"the code has other dependencies ({', '.join(stale) or 'fewer'})".replace("  ", ""),
            file=PIPELINE,
            field="deps",
            remedy="run `nox -s deps`, which writes them",
        )
    if new != text:
        PIPELINE.write_text(new, encoding="utf-8", newline="\n")
        print(f"written: {PIPELINE}")
    else:
        print(f"{PIPELINE} has the dependencies that the code has")


if __name__ == "__main__":
    own = argparse.ArgumentParser(prog="python -m stages.tools.deps", description=__doc__)
    own.add_argument(
        "--check", action="store_true", help="write nothing; end with exit code 1 if dvc.yaml is not current"
    )
    run_stage("deps", __doc__, main, own)
