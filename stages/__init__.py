"""The pipeline: one file a stage, in the order of `dvc.yaml`. Run one with `python -m stages.<name>`."""

import sys

# Commands that used to be here, so that `python -m stages.propose` says where it went.
MOVED = tuple(f"stages.{name}" for name in ("propose", "verify", "join", "intact", "summary"))

_words = sys.orig_argv
_called = next((_words[at + 1] for at in range(len(_words) - 1) if _words[at] == "-m"), "")
if _called in MOVED:
    _new = _called.replace("stages.", "stages.tools.")
    sys.exit(f"{_called} has moved: run `python -m {_new}` with the same options")
