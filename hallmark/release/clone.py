"""The clone that a release is compared with. It may be anyone's: nothing in it is run, and no link is followed."""

from __future__ import annotations

import re
import stat
import time
from pathlib import Path

from hallmark.base import provenance as prov
from hallmark.base.dvc_lock import YAML_BYTES, is_inside
from hallmark.base.errors import HallmarkError
from hallmark.base.files import RELEASE
from hallmark.release.listing import digests, read_plain

LARGEST = 2**30  # bytes of a file that is read from git
SECONDS = 30.0  # for all that git reads: a FIFO as its config never ends, nor does a history of a million locks


class Clone:
    """A clone's files: those in its working directory (`commit` None), or those of one of its commits."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commit: str | None = None
        self.until = time.monotonic() + SECONDS
        if self.read("dvc.lock") is None:
            raise HallmarkError(
                "no such file, or not a plain one of at most 1 MiB",
                file=root / "dvc.lock",
                remedy="give a clone of the adapter's repository",
            )

    @property
    def words(self) -> str:
        """Where the files come from."""
        return f"commit {self.commit}" if self.commit else "the working directory"

    def read(self, path: str, limit: int = YAML_BYTES) -> bytes | None:
        """A file's bytes, or None if there is no plain file of that name and size."""
        if self.commit is not None:
            left = self._seconds_left()
            return prov.git_file(path, self.commit, self.root, limit, left) if is_inside(path) else None
        file = self._plain(path)
        return read_plain(file, limit) if file else None

    def sha256(self, path: str) -> str | None:
        """SHA-256 of a file; None if there is no plain file of that name."""
        if self.commit is not None:
            content = self.read(path, LARGEST)
            return None if content is None else prov.sha256(content)
        file = self._plain(path)
        found = digests(file) if file else None
        return found.sha256 if found else None

    def _plain(self, path: str) -> Path | None:
        """The path of a plain file in the working directory, unless the name or a link on the way leads elsewhere."""
        if not is_inside(path):  # a name from the release, which may be hostile
            return None
        top = self.root.resolve()
        file = top / path
        try:
            plain = file.resolve() == file and stat.S_ISREG(file.lstat().st_mode)
        except (OSError, RuntimeError):  # RuntimeError: links in a circle
            return None
        return file if plain else None

    def stages(self) -> prov.Stages:
        return prov.read_lock(self.read("dvc.lock") or b"", self.root / "dvc.lock")

    def find(self, release: str) -> bool:
        """Select the working directory, or else the oldest commit up to HEAD, whose `dvc.lock` has that release.

        Other branches don't count: a fork's commits are in a clone too, once someone has fetched them.
        """
        if self._has(release):
            return True
        search = ("rev-list", "--reverse", "--full-history", "HEAD", "--", "dvc.lock")
        commits = prov.git(*search, at=self.root, seconds=self._seconds_left())
        self._seconds_left()
        for commit in (commits or b"").decode("ascii", "replace").split():
            if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
                break
            self.commit = commit
            if release.encode() in (self.read("dvc.lock") or b"") and self._has(release):
                return True
        self.commit = None
        return False

    def _seconds_left(self) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise HallmarkError(
                f"git did not read its history within {SECONDS:g} s",
                file=self.root,
                remedy="make a fresh clone, and check out the release's commit in it",
            )
        return left

    def _has(self, release: str) -> bool:
        try:
            return release in made(self.stages(), RELEASE.as_posix())
        except HallmarkError:
            return False


def made(stages: prov.Stages, path: str) -> set[str]:
    """The hashes that a `dvc.lock` has for an output (a lock may keep stages that no longer exist)."""
    return {stage["outs"][path] for stage in stages.values() if path in stage["outs"]}
