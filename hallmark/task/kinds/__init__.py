"""The kinds of task by name, as `task.kind` gives it: the `KIND` of every module here, and in a repository's `stages/kinds/`."""

from importlib import import_module
from pkgutil import iter_modules

from hallmark.base.own_modules import own_modules
from hallmark.task.kind import Kind

_here = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
KINDS: dict[str, Kind] = {module.KIND.name: module.KIND for module in (*_here, *own_modules("kinds"))}
