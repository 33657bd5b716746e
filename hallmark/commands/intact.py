"""Not a stage: find outputs that differ from dvc.lock, so that DVC makes them again: `python -m hallmark.commands.intact`.

DVC 3.67 hashes a file only once. If a file in its cache is damaged later, DVC silently checks it out and pulls it, and
`dvc status` reports it as unchanged. `nox -s repro` runs this first.
"""

from __future__ import annotations

import argparse
import logging
import stat
import subprocess
import sys
from pathlib import Path

from hallmark.base import provenance as prov
from hallmark.base.dvc_lock import is_md5, read_dir_object
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import ADAPTER, MASKED, REPORTS, clear_remains
from hallmark.release.checking import read_lock_file

log = logging.getLogger("intact")
LOCK = Path("dvc.lock")


def run() -> list[str]:
    """Remove damaged files from the cache, and make DVC rehash outputs that differ from dvc.lock; returns its findings.

    Outputs changed by hand are included: DVC notices those by itself, and also reruns the stage. Only files in the cache
    are removed, links that led to one of them, and half-written files of killed runs.
    """
    clear_remains(MASKED.parent, ADAPTER.parent, REPORTS)
    if not LOCK.exists():
        return []
    outs: dict[str, str] = {}
    for stage in read_lock_file(LOCK).values():
        outs |= stage["outs"]
    cache = _cache()
    findings = _clear(cache, outs)
    for path, md5 in sorted(outs.items()):
        output = Path(path)
        if output.exists() and prov.dvc_md5(output) != md5:
            for file in [output] if output.is_file() else prov.files_in(output):
                if file.resolve().is_relative_to(Path.cwd()) or file.resolve().is_relative_to(cache):
                    file.touch()  # DVC rehashes a file whose time has changed
            findings.append(f"{path} differs from dvc.lock")
    return findings


def _cache() -> Path:
    """The folder where DVC stores files by hash."""
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise HallmarkError(f"DVC can't find its cache: {result.stderr.strip()}", file=LOCK, remedy="fix .dvc/config")
    return (Path(result.stdout.strip()) / "files" / "md5").resolve()


def _clear(cache: Path, outs: dict[str, str]) -> list[str]:
    """Remove damaged files of outputs from the cache, since DVC would trust them."""
    findings = []
    for path, md5 in sorted(outs.items()):
        files = [(path, md5)]
        listed = _object(cache, md5)
        if md5.endswith(".dir") and _is_undamaged(listed, md5.removesuffix(".dir")):
            files += [(f"{path}/{name}", entry) for name, entry in read_dir_object(listed).items()]
        for name, entry in files:
            file = _object(cache, entry)
            if not file.is_file() or _is_undamaged(file, entry.removesuffix(".dir")):
                continue
            if not _is_plain(file):
                findings.append(f"{name} was damaged; {file} is a link, and was not removed: do so by hand")
                continue
            output = Path(name)
            led_here = output.is_symlink() and output.resolve() == file
            file.unlink()
            if led_here:  # it now dangles, which would break DVC
                output.unlink()
            findings.append(f"{name} was damaged in DVC's cache, and was removed from it")
    return findings


def _object(cache: Path, md5: str) -> Path:
    """The place of a file in the cache. The hash may come from anyone: nothing else than one names a file in there."""
    if not is_md5(md5):
        raise HallmarkError("not an MD5 of 32 hexadecimal digits", file=LOCK, remedy="restore it with `git checkout`")
    return cache / md5[:2] / md5[2:]


def _is_plain(file: Path) -> bool:
    """Whether it is a file of the cache itself: neither it nor its folder is a link that leads elsewhere."""
    return file.resolve() == file and stat.S_ISREG(file.lstat().st_mode)


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
