"""Not a stage: find outputs whose bytes are not what dvc.lock says, so that DVC makes them again: `python -m stages.tools.intact`.

DVC 3.67 reads a file's bytes once. A file in its cache that is damaged afterwards is checked out and pulled without a
word, and `dvc status` takes it for right. `nox -s repro` runs this first.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from pathlib import Path

from stages.core.errors import HallmarkError, run_stage
from stages.release import provenance as prov

log = logging.getLogger("intact")
LOCK = Path("dvc.lock")


def run() -> list[str]:
    """Remove damaged files from the cache and have DVC look anew at outputs that are not as recorded; returns what it found.

    What was changed by hand is among them: DVC sees that by itself, and runs the stage as well.
    """
    if not LOCK.exists():
        return []
    outs: dict[str, str] = {}
    for stage in prov.read_lock(LOCK.read_text(encoding="utf-8"), LOCK).values():
        outs |= stage["outs"]
    found = _clear(_cache(), outs)
    for path, md5 in sorted(outs.items()):
        place = Path(path)
        if place.exists() and prov.dvc_md5(place) != md5:
            for file in [place] if place.is_file() else prov.files_in(place):
                file.touch()  # of a file with another time DVC reads the bytes
            found.append(f"{path} is not what dvc.lock says")
    return found


def _cache() -> Path:
    """Where DVC keeps files by their hash."""
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HallmarkError(
            f"DVC does not say where its cache is: {done.stderr.strip()}", file=LOCK, remedy="mend .dvc/config"
        )
    return Path(done.stdout.strip()) / "files" / "md5"


def _clear(cache: Path, outs: dict[str, str]) -> list[str]:
    """Remove the files of outputs that are damaged in the cache, which DVC would trust."""
    found = []
    for path, md5 in sorted(outs.items()):
        files = [(path, cache / md5[:2] / md5[2:], md5.removesuffix(".dir"))]
        if md5.endswith(".dir") and _whole(*files[0][1:]):
            for entry in json.loads(files[0][1].read_text(encoding="utf-8")):
                files.append((f"{path}/{entry['relpath']}", cache / entry["md5"][:2] / entry["md5"][2:], entry["md5"]))
        for name, file, digest in files:
            if file.is_file() and not _whole(file, digest):
                file.unlink()
                if Path(name).is_symlink():  # a link into the cache, at which DVC would stumble
                    Path(name).unlink()
                found.append(f"{name} is damaged in DVC's cache, and was removed there")
    return found


def _whole(file: Path, md5: str) -> bool:
    return file.is_file() and prov.dvc_md5(file) == md5


def main(arguments: argparse.Namespace) -> None:
    """Command line: no options of its own."""
    found = run()
    for words in found:
        log.warning("%s", words)
    if found:
        log.warning("`dvc repro` makes it again, from what the commit says")


if __name__ == "__main__":
    run_stage("intact", __doc__, main)
