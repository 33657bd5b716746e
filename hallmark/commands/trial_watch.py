"""Follows the validation losses of a training that runs as a DVC experiment, and stops it, for `python -m hallmark.commands.tune`.

An experiment runs in a copy of the repository whose place only DVC knows. So the copy is found by what runs in it: the
stage's process works there, and writes `reports/live/sft_curve.csv` as it goes.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from hallmark.base.files import REPORTS

CURVE = REPORTS / "live/sft_curve.csv"  # as `Curve` in hallmark/model/trainer.py writes it
EVERY = 1.0  # seconds between two looks


def follow(process: subprocess.Popen[bytes], worth: Callable[[float], bool]) -> None:
    """Call `worth` with each validation loss as it comes; when it is not worth going on, stop the training and return.

    Returns when the process, that of `dvc exp run`, has ended. The last loss may be missed: the curve is removed then.
    """
    seen = 0
    while process.poll() is None:
        time.sleep(EVERY)
        found = next((losses for stage in stages_of(process) if (losses := _losses_in(stage))), [])
        for loss in found[seen:]:
            seen += 1
            if not worth(loss):
                stop(process)
                return


def stages_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes below this one that work in another folder: the stage that runs in the copy, and its own."""
    found = []
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error, OSError):
                if Path(child.cwd()) != Path.cwd():
                    found.append(child)
    return found


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the stage that runs to stop. DVC then says that it failed, removes the copy and ends by itself."""
    for stage in reversed(stages_of(process)):  # from the inside: a shell must not be left without its child
        with suppress(psutil.Error):
            stage.terminate()


def validation_losses(text: str) -> list[float]:
    """The validation losses in a curve, without that before the first step. A line that is half written doesn't count."""
    losses = []
    for line in text.split("\n")[:-1]:
        step, _, rest = line.partition(",")
        split, _, loss = rest.partition(",")
        if split == "validation" and step != "0":
            with suppress(ValueError):
                losses.append(float(loss))
    return losses


def _losses_in(stage: psutil.Process) -> list[float]:
    with suppress(psutil.Error, OSError, UnicodeDecodeError):
        return validation_losses((Path(stage.cwd()) / CURVE).read_text(encoding="utf-8"))
    return []
