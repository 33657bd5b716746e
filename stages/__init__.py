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

# Commands were here, in `tools`, until November 2026: their old names work for one release.
_argv = getattr(sys, "orig_argv", sys.argv)  # which Python 3.9, still on some systems, does not have
_called = next((_argv[index + 1] for index in range(len(_argv) - 1) if _argv[index] == "-m"), "")
if _old := re.fullmatch(r"stages\.(?:tools|params)\.(\w+)", _called):
    for _room in ("commands", "service.commands", "params"):
        if find_spec(f"hallmark.{_room}.{_old[1]}"):
            print(
                f"{_called} is now hallmark.{_room}.{_old[1]}; the old name goes with the next release", file=sys.stderr
            )
            runpy.run_module(f"hallmark.{_room}.{_old[1]}", run_name="__main__", alter_sys=True)
            sys.exit()
