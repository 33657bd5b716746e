"""The pipeline: one file per stage, in the order of `dvc.yaml`. Run one with `python -m stages.<name>`."""

import re
import runpy
import sys
from importlib.util import find_spec

if not find_spec("hallmark"):
    sys.exit(
        "hallmark: the library isn't installed here; run `python -m nox -s setup`, then `source .venv/bin/activate`"
    )

import hallmark  # noqa: F401 (which says what else is missing)

# Commands were here, in `tools` or as an option of a stage, until November 2026: their old names work for one release.
_argv = getattr(sys, "orig_argv", sys.argv)  # which Python 3.9, still on some systems, does not have
_called = next((_argv[index + 1] for index in range(len(_argv) - 1) if _argv[index] == "-m"), "")
_names: list[tuple[str, str]] = []  # old and new
if _old := re.fullmatch(r"stages\.(?:tools|params)\.(\w+)", _called):
    _rooms = ("commands", "service.commands", "params")
    _names = [(_called, f"{_room}.{_old[1]}") for _room in _rooms if find_spec(f"hallmark.{_room}.{_old[1]}")]
# So were options that are commands of their own now, whose first argument is what the option took.
MOVED_OPTIONS = {
    ("stages.certify", "--check"): "commands.check",
    ("stages.certify", "--merge"): "commands.merge",
    ("stages.certify", "--release"): "commands.export",
    ("stages.mask", "--preview"): "commands.preview",
}
for _place, _word in enumerate(sys.argv):
    _option, _equals, _value = _word.partition("=")
    if _new := MOVED_OPTIONS.get((_called, _option)):
        _names = [(f"{_called} {_option}", _new)]
        sys.argv[1:] = [*([_value] if _equals else []), *sys.argv[_place + 1 :], *sys.argv[1:_place]]
        break
for _before, _now in _names[:1]:
    print(f"{_before} is now hallmark.{_now}; the old name goes with the next release", file=sys.stderr)
    runpy.run_module(f"hallmark.{_now}", run_name="__main__", alter_sys=True)
    sys.exit()
