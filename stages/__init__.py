"""The pipeline: one file per stage, in the order of `dvc.yaml`. Run one with `python -m stages.<name>`."""

import sys
from importlib.util import find_spec

# Commands that used to be here, so that `python -m stages.propose` says where it is now.
MOVED = tuple(f"stages.{name}" for name in ("propose", "verify", "join", "intact", "summary"))
# Packages that every command needs. Looking for them imports none of them.
NEEDED = ("jsonschema_rs", "polars", "pydantic")

if sys.platform == "win32":  # where no stage can start: they need `fcntl`, `resource` and process groups
    sys.exit("Hallmark runs on Linux, macOS and WSL")

_argv = getattr(sys, "orig_argv", sys.argv)  # which Python 3.9, still on some systems, does not have
_called = next((_argv[index + 1] for index in range(len(_argv) - 1) if _argv[index] == "-m"), "")
if _called in MOVED:
    _new = _called.replace("stages.", "stages.tools.")
    sys.exit(f"{_called} has moved: run `python -m {_new}` with the same options")
# While Python looks for `-m stages.<name>`, `-m` stands in for the name of the program.
if sys.argv[:1] == ["-m"] and not all(map(find_spec, NEEDED)):
    sys.exit(
        "hallmark: the packages aren't installed here; run `python -m nox -s setup`, then `source .venv/bin/activate`"
    )
