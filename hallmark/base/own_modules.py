"""A repository's own kinds, measures, engines and comparators: each module in the folder of that name below `stages/` is one."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def own_modules(name: str) -> Iterator[ModuleType]:
    """The modules of `stages/<name>`, by name; none if the repository has no such folder.

    Called with a literal, so that `hallmark.base.loaded_code` knows which files a stage loads by it.
    """
    try:
        folder = import_module(f"stages.{name}")
    except ModuleNotFoundError as error:
        if error.name not in ("stages", f"stages.{name}"):
            raise
        return
    for module in sorted(found.name for found in iter_modules(folder.__path__)):
        yield import_module(f"stages.{name}.{module}")
