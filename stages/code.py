"""Write which code each stage runs, and the values of all params: `python -m stages.code`.

`code/sft` has a line for each file that `stages/sft.py` loads: its SHA-256 and its name. In dvc.yaml a stage depends on the
list of its own module, so it runs again if something that it loads has changed, and only then. `code/params.json` has the
values of params.yaml over the defaults of the library, except those that change no output. A stage names its params there,
so it also runs again if a default of one has changed. This stage first makes the repo's key, if one is needed and none has
been set up. It runs if params.yaml or any file of the recipes or the library has changed, and takes a second or two.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import write_text
from hallmark.base.loaded_code import FOLDER, PARAMS, check_installed, listing, tracked
from hallmark.commands import key
from hallmark.params.loader import resolved

log = logging.getLogger("code")

STAGES = Path("stages")


def run(params: Path) -> None:
    """Read every module of `stages/` and what it loads; write a list for each, and the params."""
    check_installed()
    key.run(params, if_missing=True)
    modules = [file for file in sorted(STAGES.glob("*.py")) if file.stem not in ("__init__", FOLDER.name)]
    FOLDER.mkdir(exist_ok=True)
    for old in sorted(FOLDER.iterdir()):
        if old.name not in {PARAMS.name, *(module.stem for module in modules)}:
            remove_list(old)
    for module in modules:
        write_text(FOLDER / module.stem, listing(module.as_posix()))
    write_text(PARAMS, json.dumps(tracked(resolved(params)), indent=2, ensure_ascii=False) + "\n")
    log.info("%d lists and %s in %s", len(modules), PARAMS.name, FOLDER)


def remove_list(file: Path) -> None:
    """Remove the list of a module that is gone; what is no list is somebody's, and an error."""
    if not file.is_file() or not re.fullmatch(
        r"([0-9a-f]{64}  .+\n)*", file.read_text(encoding="utf-8", errors="replace")
    ):
        raise HallmarkError("is no list of code", file=file, remedy=f"move it: {FOLDER}/ is written by this stage")
    file.unlink()


if __name__ == "__main__":
    run_stage("code", __doc__, lambda given: run(given.params))
