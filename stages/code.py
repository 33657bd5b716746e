"""Write which code each stage runs: `python -m stages.code`.

`code/sft` has a line for each file that `stages/sft.py` loads: its SHA-256 and its name. In dvc.yaml a stage depends on the
list of its own module, so it runs again if something that it loads has changed, and only then. This stage runs if any file
of the recipes or the library has changed, and takes a second or two; a list with the same content stays as it is.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from hallmark.base.errors import run_stage
from hallmark.base.files import write_text
from hallmark.base.loaded_code import FOLDER, check_installed, listing

log = logging.getLogger("code")

STAGES = Path("stages")


def run() -> None:
    """Read every module of `stages/` and what it loads; write a list for each."""
    check_installed()
    modules = [file for file in sorted(STAGES.glob("*.py")) if file.stem not in ("__init__", FOLDER.name)]
    FOLDER.mkdir(exist_ok=True)
    for old in sorted(FOLDER.iterdir()):
        if old.name not in {module.stem for module in modules}:
            old.unlink()
    for module in modules:
        write_text(FOLDER / module.stem, listing(module.as_posix()))
    log.info("%d lists in %s", len(modules), FOLDER)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.code", description=__doc__)
    run_stage("code", __doc__, lambda _: run(), parser)
