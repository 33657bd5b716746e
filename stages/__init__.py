"""The pipeline: one file per stage, in the order of `dvc.yaml`. Run one with `python -m stages.<name>`."""

import sys

# Commands that used to be here, so that `python -m stages.propose` says where it is now.
MOVED = tuple(f"stages.{name}" for name in ("propose", "verify", "join", "intact", "summary"))

_argv = sys.orig_argv
_called = next((_argv[index + 1] for index in range(len(_argv) - 1) if _argv[index] == "-m"), "")
if _called in MOVED:
    _new = _called.replace("stages.", "stages.tools.")
    sys.exit(f"{_called} has moved: run `python -m {_new}` with the same options")
