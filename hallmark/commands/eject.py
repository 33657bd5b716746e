"""Take a module of the library over into this repository, to change it: `python -m hallmark.commands.eject hallmark.judge.verdict`.

It is copied to `stages/hallmark/`, where it wins over the installed one and is hashed as the repository's own code. Updates
leave it alone: take its changes over by hand, or delete it to have the library's again.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.loaded_code import EJECTED, data_files, place


def run(module: str) -> None:
    """Copy the module, and the data files that it names, from the installed library."""
    name = module.removesuffix(".py").replace("/", ".")
    file = name.replace(".", "/") + ".py"
    if not re.fullmatch(r"hallmark(\.\w+){2,}", name) or not place(file).is_file() or name.endswith("__init__"):
        raise HallmarkError(
            "no module of the library", field=module, remedy="give its full name, such as hallmark.judge.verdict"
        )
    if Path("hallmark").exists():
        raise HallmarkError("is here as sources", file="hallmark", remedy=f"change {file} itself")
    if (Path(EJECTED) / file).exists():
        raise HallmarkError("is there already", file=Path(EJECTED) / file, remedy="change it, or delete it first")
    for each in [file, *data_files(file)]:
        target = Path(EJECTED) / each
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place(each), target)
        print(f"written: {target}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.eject", description=__doc__)
    parser.add_argument("module", metavar="MODULE", help="its full name, such as hallmark.judge.verdict")
    run_stage("eject", __doc__, lambda arguments: run(arguments.module), parser)
