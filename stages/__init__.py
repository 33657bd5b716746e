"""The pipeline: one file per stage, in the order of `dvc.yaml`. Run one with `python -m stages.<name>`."""

import sys
from importlib.util import find_spec

if not find_spec("hallmark"):
    sys.exit(
        "hallmark: the library isn't installed here; run `python -m nox -s setup`, then `source .venv/bin/activate`"
    )

import hallmark  # noqa: F401 (which says what else is missing)
