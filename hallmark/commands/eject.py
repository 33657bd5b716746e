"""Copy a module of the library into this repository, to change it: `python -m hallmark.commands.eject hallmark.judge.verdict`.

The copy in `stages/hallmark/` takes precedence over the installed module and is hashed as the repository's own code. An update
merges the library's changes into it; delete it to go back to the library's. What a model server loads in its own process stays
the library's.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.loaded_code import EJECTED, place, reads_its_folder


def run(module: str) -> None:
    """Copy the module from the installed library."""
    name = module.removesuffix(".py").replace("/", ".")
    file = name.replace(".", "/") + ".py"
    if not re.fullmatch(r"hallmark(\.\w+){2,}", name) or not place(file).is_file() or name.endswith("__init__"):
        raise HallmarkError("no module of the library", field=module, remedy="name it in full: hallmark.judge.verdict")
    if Path("hallmark").exists():
        raise HallmarkError("is here as sources", file="hallmark", remedy=f"change {file} itself")
    if (Path(EJECTED) / file).exists():
        raise HallmarkError("is there already", file=Path(EJECTED) / file, remedy="change it, or delete it first")
    if reads_its_folder(file):
        remedy = "change it in the library: take the template, and `nox -s update`"
        raise HallmarkError("reads files next to it, or is found by its folder", file=file, remedy=remedy)
    target = Path(EJECTED) / file
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(place(file), target)
    print(f"written: {target}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.eject", description=__doc__)
    parser.add_argument("module", metavar="MODULE", help="its full name, such as hallmark.judge.verdict")
    run_stage("eject", __doc__, lambda arguments: run(arguments.module), parser)
