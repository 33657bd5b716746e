"""A release of another repository, by its version or stage: fetched, checked on arrival, and there only if all fits."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import QUANTIZED, RELEASE
from hallmark.release.shipping import check_weights
from hallmark.service.registry.arrival import check_arrival, lock_at
from hallmark.service.registry.materialize import arriving, take
from hallmark.service.registry.registry import STAGES, Registry, Version

SECONDS = 600.0  # for git to clone


def wanted(registry: Registry, name: str) -> Version:
    """The version of that name, or the one in the stage of that name."""
    if name not in STAGES:
        return registry.find(name)
    version = registry.in_stage(name)
    if version is None:
        raise HallmarkError(
            f"nothing is in {name} there", remedy="name a version instead: `nox -s releases` there lists them"
        )
    return version


def fetch(url: str, name: str, out: Path, weights: Path | None = None) -> Version:
    """Fetch a release from a repository (a folder, or what git can clone) to a new folder.

    `weights`: a new folder for what it was trained over. Neither is there unless both are whole, and what the tag says.
    """
    for folder in filter(None, (out, weights)):
        if os.path.lexists(folder):
            raise HallmarkError("already exists", file=folder, remedy="give a new name")
    with clone_of(url) as clone:
        version = wanted(Registry.read(clone), name)
        stages = lock_at(version.commit, clone)
        # Of an address of a folder, git reads %20 as a space, and DVC does not.
        address = unquote(url) if url.startswith("file://") else url
        place = str(Path(url).resolve()) if Path(url).is_dir() else address
        with arriving(out) as folder:
            take(place, version.commit, RELEASE.as_posix(), folder)
            check_arrival(folder, version, clone, stages)
            if weights is not None:
                with arriving(weights) as other:
                    take(place, version.commit, QUANTIZED.as_posix(), other)
                    check_weights(folder, other, "fetch it again")
    return version


@contextmanager
def clone_of(url: str) -> Iterator[Path]:
    """The repository itself if it is a folder here, else a clone without its files, for as long as the block lasts."""
    if Path(url).is_dir():
        yield Path(url)
        return
    environment = {key: value for key, value in os.environ.items() if key not in prov.OF_ANOTHER}
    with tempfile.TemporaryDirectory() as name:
        command = ["git", *prov.SAFE, "clone", "--quiet", "--no-checkout", "--template=", "--", url, f"{name}/clone"]
        try:
            subprocess.run(
                command,
                capture_output=True,
                check=True,
                timeout=SECONDS,
                env=environment | {"GIT_TERMINAL_PROMPT": "0"},
            )
        except subprocess.TimeoutExpired:
            raise HallmarkError(
                f"git did not clone it within {SECONDS:g} s", file=url, remedy="clone it, and name the folder"
            ) from None
        except subprocess.CalledProcessError as error:
            said = " ".join(error.stderr.decode(errors="replace").split())[:300]
            raise HallmarkError(
                f"git can't clone it: {said}", file=url, remedy="name a folder, or an address that `git clone` takes"
            ) from None
        yield Path(name) / "clone"
