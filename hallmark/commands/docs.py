"""Say where the pages of the manual are: `python -m hallmark.commands.docs`. They come with the library."""

from __future__ import annotations

from pathlib import Path

import hallmark
from hallmark.base.errors import run_stage


def manual() -> Path:
    """The folder of the pages: in the template here, in a stamped repo in the installed library."""
    here = Path("docs")
    return here if here.is_dir() else Path(hallmark.__path__[0], "docs")


if __name__ == "__main__":
    run_stage("docs", __doc__, lambda _: print(f"{manual()}: start with README.md"))
