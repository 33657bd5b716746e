"""The serving engines by kind. Every module in this folder is one: its `ENGINE` is put into the dictionary."""

import importlib
import pkgutil
from typing import Any

from hallmark.serve.engine import Engine

ENGINES: dict[str, Engine[Any]] = {}

for _module in pkgutil.iter_modules(__path__):
    _engine: Engine[Any] = importlib.import_module(f"{__name__}.{_module.name}").ENGINE
    ENGINES[_engine.kind] = _engine
