"""The kinds of comparator: the `COMPARATOR` of every module in this folder, and in a repository's `stages/comparators/`."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from hallmark.answer.comparator import Comparator, ComparatorSettings
from hallmark.base.own_modules import own_modules

COMPARATORS: dict[str, Comparator[Any]] = {}

_here = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
for _module in (*_here, *own_modules("comparators")):
    COMPARATORS[_module.COMPARATOR.kind] = _module.COMPARATOR


def comparator_settings() -> dict[str, type[ComparatorSettings]]:
    return {kind: comparator.settings for kind, comparator in COMPARATORS.items()}
