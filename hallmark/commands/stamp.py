"""Make a new domain repo next to this one: `nox -s stamp -- ../my-domain-parent [key=value ...]`.

With answers as key=value, the others get their defaults and no question is asked.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from hallmark.base.errors import HallmarkError, run_stage


def main(arguments: argparse.Namespace) -> None:
    """Command line: the folder that will hold the repo, and answers."""
    if not Path("template").is_dir():
        raise HallmarkError(
            "is not here: this repo was itself stamped", file="template", remedy="stamp from the template's repo"
        )
    if not os.access(arguments.folder, os.W_OK):
        remedy = "name another folder to hold the new repo"
        raise HallmarkError("does not exist or is not writable", file=arguments.folder, remedy=remedy)
    command = [sys.executable, "-m", "cookiecutter", str(Path.cwd()), "--directory", "template"]
    command += [
        "--output-dir",
        str(arguments.folder),
        *(["--no-input"] if arguments.answers else []),
        *arguments.answers,
    ]
    sys.exit(subprocess.run(command).returncode)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.stamp", description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(".."), help="where to make it (default: %(default)s)"
    )
    parser.add_argument("answers", nargs="*", metavar="KEY=VALUE", help="answers to the template's questions")
    run_stage("stamp", __doc__, main, parser)
