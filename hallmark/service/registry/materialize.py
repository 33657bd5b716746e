"""The files of a version, in folders of their own: from DVC's cache or a remote, and checked before anyone can read them.

models/versions/v1.2.0/            the release
models/versions/weights/<md5>/     what it was trained over, unless that is models/quantized; shared by versions
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hallmark.answer.comparators.adapter import VERSIONS
from hallmark.base import provenance as prov
from hallmark.base.dvc_lock import is_inside
from hallmark.base.errors import HallmarkError, unwritable
from hallmark.base.files import QUANTIZED, RELEASE, clear_remains, sha256_folder
from hallmark.release.clone import made
from hallmark.release.shipping import check_weights
from hallmark.release.statements import Provenance
from hallmark.service.registry.arrival import check_arrival, lock_at
from hallmark.service.registry.registry import Version

WEIGHTS = VERSIONS / "weights"


@dataclass(frozen=True)
class Materialized:
    """The folders of a version: the release, and the weights that it was trained over."""

    release: Path
    weights: Path


def materialize(version: Version, repo: Path = Path()) -> Materialized:
    """The folders of a version, whole and checked: those that are there, or fetched."""
    stages = lock_at(version.commit, repo)
    release, provenance = release_of(version, repo, stages)
    return Materialized(release, weights_of(version, release, provenance, repo, stages))


def release_of(version: Version, repo: Path, stages: prov.Stages) -> tuple[Path, Provenance]:
    """The folder of the release, and what it was made of."""
    target = repo / VERSIONS / version.version
    if os.path.lexists(target):
        with suppress(HallmarkError):  # a damaged one is replaced
            return target, check_arrival(target, version, repo, stages)
    with arriving(target) as folder:
        take(str(repo.resolve()), version.commit, RELEASE.as_posix(), folder)
        provenance = check_arrival(folder, version, repo, stages)
    return target, provenance


def weights_of(version: Version, release: Path, provenance: Provenance, repo: Path, stages: prov.Stages) -> Path:
    """The folder with the weights that a release was trained over: models/quantized if that holds them."""
    named = provenance.quantized_files
    here = repo / QUANTIZED
    if named and here.is_dir() and sha256_folder(here) == named:
        return here
    hashes = made(stages, QUANTIZED.as_posix())
    if len(hashes) != 1:
        raise HallmarkError(
            f"{version.version} was made before the weights that adapters are trained over were kept",
            file=release / prov.PROVENANCE,
            remedy="make a new release with `dvc repro`",
        )
    target = repo / WEIGHTS / next(iter(hashes)).removesuffix(".dir")
    again = "remove the folder; it is fetched again"
    if os.path.lexists(target):
        with suppress(HallmarkError):
            check_weights(release, target, again)
            return target
    with arriving(target) as folder:
        take(str(repo.resolve()), version.commit, QUANTIZED.as_posix(), folder)
        check_weights(release, folder, again)
    return target


@contextmanager
def arriving(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of `target` if the block ends without an error, and else is gone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_remains(target.parent)
    with tempfile.TemporaryDirectory(prefix=".arriving-", dir=target.parent) as name:
        scratch = Path(name)
        handle = os.open(scratch, os.O_RDONLY)
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # so that others see that this process is alive
            folder = scratch / "new"
            folder.mkdir()
            yield folder
            try:
                with suppress(FileNotFoundError):
                    target.rename(scratch / "old")
                folder.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process was faster, with the same
                    raise
        finally:
            os.close(handle)


def take(repo: str, commit: str, path: str, target: Path) -> None:
    """Copy a folder that DVC keeps, as it was at a commit, into a folder that is there: from the cache or a remote."""
    with files_at(repo, commit, path) as files:
        names = files.find(path)
        if not names:
            raise _missing(path, commit, "no files")
        for name in names:
            inside = name.removeprefix("/").removeprefix(f"{path}/")
            if not is_inside(inside):
                remedy = f"its list at commit {commit[:12]} was forged: don't use it"
                raise HallmarkError("lists a file outside of it", file=path, remedy=remedy)
            files.get_file(name, str(target / inside))


def take_file(repo: str, commit: str, path: str, target: Path) -> None:
    """Copy one file that DVC or git keeps, as it was at a commit."""
    with files_at(repo, commit, path) as files:
        files.get_file(path, str(target))


@contextmanager
def files_at(repo: str, commit: str, path: str) -> Iterator[Any]:
    """The files of a commit, those of DVC too. What DVC can't get is a HallmarkError about `path`."""
    from dvc.api import DVCFileSystem

    files = None
    try:
        files = DVCFileSystem(repo, rev=commit)
        yield files
    except HallmarkError:
        raise
    except Exception as error:  # DVC and its file systems raise many types, and each means: it can't be had
        if unwritable(error) is not None:
            raise
        raise _missing(path, commit, type(error).__name__) from None
    finally:
        if files is not None:
            files.close()


def _missing(path: str, commit: str, reason: str) -> HallmarkError:
    return HallmarkError(
        f"not to be had at commit {commit[:12]}: it is neither in DVC's cache nor in a remote that could be read ({reason})",
        file=path,
        remedy=f"run `dvc push {path}` where it was made, and set the remote here (docs/dvc.md); or make it again at that commit",
    )
