"""The pipeline: one file a stage, in the order of `dvc.yaml`. Run one with `python -m stages.<name>`."""

import sys

# Commands that used to lie here, so that `python -m stages.propose` says where it went.
MOVED = ("propose", "verify", "join", "intact", "summary")

for _name in MOVED:
    if f"stages.{_name}" in sys.orig_argv[1:3]:
        sys.exit(f"stages.{_name} has moved: run `python -m stages.tools.{_name}` with the same options")
