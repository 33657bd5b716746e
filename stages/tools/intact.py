"""Not a stage: find outputs that differ from dvc.lock, so that DVC makes them again: `python -m stages.tools.intact`.

DVC 3.67 hashes a file only once. If a file in its cache is damaged later, DVC silently checks it out and pulls it, and
`dvc status` reports it as unchanged. `nox -s repro` runs this first.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from pathlib import Path

from stages.core.errors import HallmarkError, run_stage
from stages.core.files import ADAPTER, MASKED, REPORTS, clear_remains
from stages.release import provenance as prov

log = logging.getLogger("intact")
LOCK = Path("dvc.lock")


def run() -> list[str]:
    """Remove damaged files from the cache, and make DVC rehash outputs that differ from dvc.lock; returns its findings.

    It also removes half-written files of killed runs.

    Outputs changed by hand are included: DVC notices those by itself, and also reruns the stage.
    """
    clear_remains(MASKED.parent, ADAPTER.parent, REPORTS)
    if not LOCK.exists():
        return []
    outs: dict[str, str] = {}
    for stage in prov.read_lock(LOCK.read_text(encoding="utf-8"), LOCK).values():
        outs |= stage["outs"]
    findings = _clear(_cache(), outs)
    for path, md5 in sorted(outs.items()):
        output = Path(path)
        if output.exists() and prov.dvc_md5(output) != md5:
            for file in [output] if output.is_file() else prov.files_in(output):
                file.touch()  # DVC rehashes a file whose time has changed
            findings.append(f"{path} differs from dvc.lock")
    return findings


def _cache() -> Path:
    """The folder where DVC stores files by hash."""
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise HallmarkError(f"DVC can't find its cache: {result.stderr.strip()}", file=LOCK, remedy="fix .dvc/config")
    return Path(result.stdout.strip()) / "files" / "md5"


def _clear(cache: Path, outs: dict[str, str]) -> list[str]:
    """Remove damaged files of outputs from the cache, since DVC would trust them."""
    findings = []
    for path, md5 in sorted(outs.items()):
        files = [(path, cache / md5[:2] / md5[2:], md5.removesuffix(".dir"))]
        if md5.endswith(".dir") and _is_undamaged(*files[0][1:]):
            for entry in json.loads(files[0][1].read_text(encoding="utf-8")):
                files.append((f"{path}/{entry['relpath']}", cache / entry["md5"][:2] / entry["md5"][2:], entry["md5"]))
        for name, file, digest in files:
            if file.is_file() and not _is_undamaged(file, digest):
                file.unlink()
                if Path(name).is_symlink():  # a link into the cache that now dangles, which would break DVC
                    Path(name).unlink()
                findings.append(f"{name} was damaged in DVC's cache, and was removed from it")
    return findings


def _is_undamaged(file: Path, md5: str) -> bool:
    return file.is_file() and prov.dvc_md5(file) == md5


def main(arguments: argparse.Namespace) -> None:
    """Command line without options of its own."""
    findings = run()
    for finding in findings:
        log.warning("%s", finding)
    if findings:
        log.warning("`dvc repro` makes them again")


if __name__ == "__main__":
    run_stage("intact", __doc__, main)
