"""The kinds of comparator by name. Every module in this folder is one: its `COMPARATOR` is put into the dictionary."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from hallmark.answer.comparator import Comparator, ComparatorSettings

COMPARATORS: dict[str, Comparator[Any]] = {}

for _module in iter_modules(__path__):
    _comparator: Comparator[Any] = import_module(f"{__name__}.{_module.name}").COMPARATOR
    COMPARATORS[_comparator.kind] = _comparator


def comparator_settings() -> dict[str, type[ComparatorSettings]]:
    """The blocks of all kinds, by kind."""
    return {kind: comparator.settings for kind, comparator in COMPARATORS.items()}
