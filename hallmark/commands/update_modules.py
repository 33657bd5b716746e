"""Which module of the template is now which, from git's rename detection, and old names rewritten in the text of a file."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

NAME = re.compile(r"\b(?:stages|hallmark)(?:\.\w+)+")
FROM = re.compile(
    r"^([ \t]*)from ((?:stages|hallmark)(?:\.\w+)*) import (?:\(([^)#]*)\)|([^\n#(]+?)(?=[ \t]*(?:#|$)))", re.MULTILINE
)
OWN = ("kinds", "measures", "engines", "comparators")  # folders below stages/ whose modules the library loads


def moved_files(status: str) -> dict[str, str]:
    """The old and the new name of each file that moved, from `git diff --name-status`. One that was rewritten keeps its name."""
    rows = [line.split("\t") for line in status.splitlines()]
    moved = {row[1]: row[2] for row in rows if row[0].startswith("R")}
    gone, new = ([row[1] for row in rows if row[0] == kind] for kind in "DA")
    for file in gone:
        same = [other for other in new if PurePosixPath(other).name == PurePosixPath(file).name]
        if len(same) == 1:
            moved[file] = same[0]
    return moved


def modules_of(moved: dict[str, str]) -> dict[str, str]:
    """The old and the new name of each module; of a package, where most of its files went."""
    packages: dict[str, Counter[str]] = {}
    for old, new in moved.items():
        packages.setdefault(_module(str(PurePosixPath(old).parent)), Counter())[
            _module(str(PurePosixPath(new).parent))
        ] += 1
    modules = {_module(old): _module(new) for old, new in moved.items() if old.endswith(".py")}
    return modules | {old: new.most_common(1)[0][0] for old, new in packages.items() if "." in old}


def own_place(file: str) -> str:
    """Where a file that the template never had goes: an own kind, engine or comparator to its folder below `stages/`."""
    path = PurePosixPath(file)
    own = path.parts[0] == "stages" and len(path.parts) == 4 and path.parts[2] in OWN and path.suffix == ".py"
    return f"stages/{path.parts[2]}/{path.name}" if own else file


def rewritten(text: str, modules: dict[str, str]) -> str:
    """The text with the new names of modules."""

    def imports(found: re.Match[str]) -> str:
        names = [name.split(" as ") for name in re.split(r"\s*,\s*", (found[3] or found[4]).strip()) if name]
        if not any(f"{found[2]}.{name[0].strip()}" in modules for name in names):
            return found[0]
        sources: dict[str, list[str]] = {}
        for name, *alias in ([part.strip() for part in name] for name in names):
            source, _, new = _renamed(f"{found[2]}.{name}", modules).rpartition(".")
            known = alias[0] if alias else name
            sources.setdefault(source, []).append(new if new == known else f"{new} as {known}")
        return "\n".join(f"{found[1]}from {source} import {', '.join(new)}" for source, new in sorted(sources.items()))

    return NAME.sub(lambda found: _renamed(found[0], modules), FROM.sub(imports, text))


def problems(file: Path, root: Path, library: Path) -> Iterator[str]:
    """What of the recipes (below `root`) and the library (below `library`) a file imports that is not there."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        yield f"is not Python: {error}"
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = file.relative_to(root).parts
            package = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            wanted = [(".".join(filter(None, (package, node.module))), alias.name) for alias in node.names]
        else:
            continue
        for module, name in wanted:
            place = (library if module.startswith("hallmark") else root) / module.replace(".", "/")
            source = next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)
            if module.split(".")[0] not in ("stages", "hallmark") or (place / f"{name}.py").is_file():
                continue
            if source is None or not re.search(rf"\b{re.escape(name)}\b|^\*$", source.read_text(encoding="utf-8")):
                yield f"imports {f'{name} of ' if name else ''}{module}, which is gone"


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _renamed(name: str, modules: dict[str, str]) -> str:
    parts = name.split(".")
    for end in range(len(parts), 1, -1):
        if new := modules.get(".".join(parts[:end])):
            return ".".join([new, *parts[end:]])
    return name
