"""Not a stage: say what a release was made of and whether everything fits: `python -m hallmark.commands.check DIR`.

Exit code 0: everything fits, and `--key` or `--clone` proves it; 1: something does not fit; 3: it fits, and nothing proves it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hallmark.base.errors import in_red, printable, run_stage
from hallmark.release.checking import WAIVER, check


def main(arguments: argparse.Namespace) -> None:
    finding = check(arguments.dir, arguments.clone, arguments.key)
    for line in finding.lines:  # someone else's release may hold anything, terminal codes too
        print(in_red(printable(line), sys.stdout) if line.startswith(WAIVER) else printable(line))
    sys.exit(finding.exit_code)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.check", description=__doc__)
    parser.add_argument("dir", type=Path, metavar="DIR", help="the release folder")
    parser.add_argument("--clone", type=Path, metavar="REPO", help="compare with this clone as well")
    parser.add_argument("--key", type=Path, metavar="PEM", help="the public key that the signature must hold for")
    run_stage("check", __doc__, main, parser)
