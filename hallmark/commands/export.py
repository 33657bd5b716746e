"""Not a stage: copy the release to a new folder, and sign it: `python -m hallmark.commands.export OUT`.

It refuses a release that the gate did not pass, or that is not the one that `dvc.lock` names.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hallmark.base.errors import run_stage
from hallmark.base.files import RELEASE
from hallmark.release.shipping import release

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.export", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="the new folder")
    parser.add_argument("--sign", type=Path, metavar="PEM", help="sign with this private key (an elliptic curve)")
    run_stage("export", __doc__, lambda given: release(RELEASE, given.out, given.sign), parser)
