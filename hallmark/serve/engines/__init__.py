"""The serving engines by kind: the `ENGINE` of every module in this folder, and in a repository's `stages/engines/`."""

import importlib
import pkgutil
from typing import Any

from hallmark.base.own_modules import own_modules
from hallmark.serve.engine import Engine

ENGINES: dict[str, Engine[Any]] = {}

_here = (importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
for _module in (*_here, *own_modules("engines")):
    ENGINES[_module.ENGINE.kind] = _module.ENGINE
