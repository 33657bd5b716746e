"""Not a stage: fold a release's adapter into its base weights, in a new folder: `python -m hallmark.commands.merge OUT`.

It refuses a release that the gate did not pass, unless you add `--ungated`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hallmark.base.errors import run_stage
from hallmark.base.files import QUANTIZED, RELEASE
from hallmark.model.gguf import DEFAULT, KINDS
from hallmark.release.shipping import merge


def main(arguments: argparse.Namespace) -> None:
    from hallmark.model.quantized import pin_rounding

    pin_rounding(os.environ)  # for a base that has to be rounded, before torch is imported
    merge(RELEASE, arguments.base, arguments.out, arguments.ungated, arguments.gguf)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.merge", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="the new folder")
    parser.add_argument(
        "--gguf", nargs="?", const=DEFAULT, choices=list(KINDS), help="as a GGUF file, with llama.cpp's converter, with "
        f"weights of this type (default: {DEFAULT})"
    )  # fmt: skip
    parser.add_argument("--ungated", action="store_true", help="also one that the gate did not pass")
    parser.add_argument("--base", type=Path, default=QUANTIZED, help="what it was trained over (default: %(default)s)")
    run_stage("merge", __doc__, main, parser)
