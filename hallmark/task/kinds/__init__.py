"""The kinds of task by name: each module in this folder is one, under the name that `task.kind` in params.yaml gives it."""

from importlib import import_module
from pkgutil import iter_modules

from hallmark.task.kind import Kind

KINDS: dict[str, Kind] = {
    module.name: import_module(f"{__name__}.{module.name}").KIND for module in iter_modules(__path__)
}
