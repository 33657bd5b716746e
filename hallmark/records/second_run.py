"""A script once more, in another process: one that draws, asks the clock or walks a set gives other records there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import hallmark
from hallmark.base.errors import HallmarkError
from hallmark.records.recipe import Run, load

FAILED = 3  # exit code: an error that was told
UNEQUAL = "make them alike: sort what has no order (a set, Polars' `unique` and `group_by`), and draw with a fixed seed"


class SecondRun:
    """The second run, which starts at once and goes on alongside the first."""

    def __init__(self, file: Path, block: Mapping[str, Any], root: Path = Path()) -> None:
        seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        paths = [str(Path(hallmark.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self.file = file
        self._told: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `stop`
        self._made: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hallmark.records.second_run"],
            stdin=subprocess.PIPE, stdout=self._made, stderr=self._told, cwd=root, env=environment,
        )  # fmt: skip
        if self._process.stdin is not None:
            with self._process.stdin as into:
                into.write(json.dumps([str(file.resolve()), dict(block)], default=str).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._told.close()
        self._made.close()

    def compare(self, run: Run) -> None:
        """Wait for it; a HallmarkError if its records are not those of the first run, in the same order."""
        code = self._process.wait()
        self._told.seek(0)
        if code:
            told = (
                self._told.read().decode(errors="replace").strip() if code == FAILED else f"it ended with code {code}"
            )
            raise HallmarkError(f"failed when it ran a second time: {told}", file=self.file, remedy=UNEQUAL)
        self._made.seek(0)
        second: array[int] = array("Q", self._made.read())
        if second == run.digests:
            return
        if len(second) != run.count:
            problem = f"made {run.count:,} records, and {len(second):,} when it ran a second time"
        elif sorted(second) == sorted(run.digests):
            problem = "made its records in another order when it ran a second time"
        else:
            unlike = sum(one != other for one, other in zip(second, run.digests, strict=True))
            problem = f"made {unlike:,} other records when it ran a second time"
        at = next(
            (at for at, (one, other) in enumerate(zip(second, run.digests, strict=False), 1) if one != other), None
        )
        first = f", first at record {at:,}" if at else ""
        raise HallmarkError(problem + first, file=self.file, remedy=UNEQUAL)


def main() -> None:
    """Run the script that stdin names, and write the digests of its records."""
    file, block = json.load(sys.stdin)
    out, sys.stdout = sys.stdout, sys.stderr  # what the script prints is not the answer
    try:
        run = load(Path(file)).run(block, check=False)
        for _ in run:
            pass
    except HallmarkError as error:
        print(error, file=sys.stderr)
        sys.exit(FAILED)
    out.buffer.write(run.digests.tobytes())


if __name__ == "__main__":
    main()
