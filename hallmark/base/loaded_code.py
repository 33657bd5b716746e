"""Which code a stage loads: its file of `stages/` and what that uses of `stages/` and `hallmark/`, for `python -m stages.code`.

A stage loads the modules that its own imports, directly or through others, the data files that these name (a string that
is the path of a file, seen from the folder of the module), and `requirements.lock` if one of them imports a library. A
package that reads its own `__path__` loads whatever is in its folder, and so every module there; `own_modules("kinds")`
loads those of `stages/kinds`.
"""

from __future__ import annotations

import ast
import copy
import re
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import sha256_file

LOCK = "requirements.lock"
LIBRARY = Path("library")  # where a stamped repo has the library, as a wheel
FOLDER = Path("code")  # where the stage `code` writes a list for each module of stages/
PARAMS = (
    FOLDER / "params.json"
)  # and the params: those of params.yaml over the defaults; DVC reads YAML ten times as slowly
# Where a stage works and how fast, never what it writes: code/params.json lacks them, so that another value runs nothing again.
WITHOUT_EFFECT = ("data.engine", "data.cluster", "mask.workers")
OURS = ("stages", "hallmark")
EJECTED = "stages/"  # before the name of a module of the library that the repository has taken over
# These change no output, so a change in them runs nothing again. The parameters: no field of them has a default and
# none changes a value on the way (a test holds them to that), and DVC tracks the values in `PARAMS`. `errors` only ends
# a run, `progress` only says which stage runs and how far it is, what `measured` writes is never
# compared, this module only names the code, and `plan` only refuses what would not fit.
NO_OUTPUT = re.compile(
    r"hallmark/params/(?:\w+\.py|defaults\.yaml)|hallmark/\w+/(?:base_)?params\.py"
    r"|hallmark/base/(?:errors|loaded_code|measured|progress)\.py|hallmark/plan/\w+\.py"
)


def tracked(values: dict[str, Any]) -> dict[str, Any]:
    """The values that can change an output, as code/params.json has them: of blocks, or by dotted name."""
    found = copy.deepcopy(values)
    for name in WITHOUT_EFFECT:
        block, _, key = name.partition(".")
        found.pop(name, None)
        if isinstance(found.get(block), dict):
            found[block].pop(key, None)
    return found


def code_of(file: str) -> list[str]:
    """What a module uses, itself included, and `requirements.lock` if it uses a library: names of files, sorted.

    Raises HallmarkError if a module is not Python.
    """
    files, libraries = {file}, False
    todo = [file]
    while todo:
        used, uses_library = _used(todo.pop())
        libraries |= uses_library
        new = {name for name in used if name not in files and not NO_OUTPUT.fullmatch(name)}
        files |= new
        todo += [name for name in sorted(new) if name.endswith(".py")]
    return sorted([*([LOCK] if libraries else []), *files])


def listing(file: str) -> str:
    """What a module uses, a line a file: its SHA-256 and its name."""
    return "".join(f"{sha256_file(place(name))}  {name}\n" for name in code_of(file))


def place(name: str) -> Path:
    """Where a file of a list is: below the working directory, or else where the library is installed."""
    here = Path(name)
    if here.exists() or not name.startswith("hallmark/"):
        return here
    return _installed() / name


def reads_its_folder(name: str) -> bool:
    """Whether a module names files of its folder, by a path or by `__file__`."""
    text = place(name).read_text(encoding="utf-8")
    constants = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    return "__file__" in text or any(isinstance(one, str) and _data_file(Path(name).parent, one) for one in constants)


def library() -> Path | None:
    """The library's wheel, in a repository that has it in that form."""
    return next(iter(sorted(LIBRARY.glob("hallmark-*.whl"))), None)


def check_installed() -> None:
    """Raise a HallmarkError if the library that Python finds is not the one of the repository's wheel."""
    wheel = library()
    if wheel is None or Path("hallmark").exists():
        return
    with zipfile.ZipFile(wheel) as archive:
        apart = ("hallmark/docs/", "hallmark/LICENSE")  # which no stage loads
        names = [name for name in archive.namelist() if name.startswith("hallmark/") and not name.startswith(apart)]
        other = [
            name
            for name in names
            if not (_installed() / name).is_file() or (_installed() / name).read_bytes() != archive.read(name)
        ]
    if other:
        raise HallmarkError(
            f"is not the library that is installed, which differs in {other[0]}",
            file=wheel,
            remedy="run `python -m nox -s setup`, which installs it",
        )


def check_current(module: str) -> None:
    """Raise a HallmarkError if a file that `stages/<module>.py` loads is not the one that the stage `code` listed.

    It is asked by every stage that DVC runs: what changed in the meantime would leave no trace in dvc.lock.
    """
    check_installed()
    lines = (FOLDER / module).read_text(encoding="utf-8").splitlines() if (FOLDER / module).is_file() else []
    for digest, name in (line.split("  ", 1) for line in lines):
        if not place(name).is_file() or sha256_file(place(name)) != digest:
            raise HallmarkError(
                "has changed since the stage `code` listed it", file=name, remedy="run `dvc repro` again"
            )


@cache
def _installed() -> Path:
    spec = find_spec("hallmark")
    return Path(spec.origin).parent.parent if spec and spec.origin else Path()


@cache
def _used(name: str) -> tuple[frozenset[str], bool]:
    """The files that one module names, and whether it imports a library."""
    module = Path(name)
    try:
        tree = ast.parse(place(name).read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise HallmarkError("not Python", file=module, row=error.lineno, remedy="fix the syntax at that row") from None
    files: set[str] = set()
    library = False
    for node in _running(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = Path(name.removeprefix(EJECTED) if name.startswith(f"{EJECTED}hallmark/") else name).parts
            package = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            source = ".".join(filter(None, (package, node.module)))
            names = [source, *(f"{source}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Name) and node.id == "__path__":  # the modules of its folder are loaded by a loop
            package = ".".join(module.parent.parts)
            names = [f"{package}.{of.stem}" for of in sorted(place(name).parent.glob("*.py")) if of.stem != "__init__"]
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == "own_modules"
            and isinstance(node.args[0], ast.Constant)
        ):
            own = Path("stages", str(node.args[0].value))
            files |= {file.as_posix() for file in sorted([*own.glob("*.py"), *own.glob("*/__init__.py")])}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # A module that is run by its name, in a process of its own.
            names = [node.value] if re.fullmatch(rf"(?:{'|'.join(OURS)})(\.\w+)+", node.value) else []
            files |= _data_file(module.parent, node.value)
        files |= {file for file in map(_file, names) if file}
        files |= {file for name in names for file in _packages(name)}
        if isinstance(node, ast.Import | ast.ImportFrom):
            others = {top for top in (of.split(".")[0] for of in names) if top not in {*sys.stdlib_module_names, *OURS}}
            library |= bool(others)
            if outside := sorted(
                top for top in others if Path(f"{top}.py").is_file() or Path(top, "__init__.py").is_file()
            ):
                raise HallmarkError(
                    f"imports {outside[0]}, which is here and neither in stages/ nor in the library: DVC would not see a change",
                    file=module,
                    row=node.lineno,
                    remedy="move it into stages/",
                )
    return frozenset(files), library


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below, but what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from _running(other)
            continue
        yield child
        yield from _running(child)


def _file(module: str) -> str | None:
    """The file of a module of this project; None for any other name."""
    if not re.fullmatch(rf"(?:{'|'.join(OURS)})(\.\w+)+", module):
        return None
    name = module.replace(".", "/") + ".py"
    for each in (EJECTED + name, name):  # an ejected module wins
        if place(each).is_file():
            return each
    return None


def _packages(module: str) -> Iterator[str]:
    """The `__init__.py` of the packages that a module is in, if one holds more than its docstring."""
    parts = module.split(".")
    for depth in range(2, len(parts) + 1) if parts[0] in OURS else ():
        name = "/".join([*parts[:depth], "__init__.py"])
        if place(name).is_file() and not only_a_docstring(place(name)):
            yield name


def only_a_docstring(file: Path) -> bool:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return all(isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) for each in body)


def _data_file(folder: Path, text: str) -> set[str]:
    if not re.fullmatch(r"\w[\w./-]{0,80}\.\w+", text) or text.endswith(".py") or ".." in text:
        return set()
    names = [f"{folder.as_posix()}/{text}", *([text] if text.startswith("stages/") else [])]
    return {name for name in names if place(name).is_file()}
