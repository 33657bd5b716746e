"""The files of a release folder. It is a closed list of plain files: no link is followed, and what else is there is told."""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hallmark.base.dvc_lock import is_inside
from hallmark.base.errors import HallmarkError

ENTRIES, DEPTH = 10_000, 16  # most entries of a release folder, and folders in each other
LARGEST = 64 * 2**30  # bytes of one file; a sparse file of 2^60 would be read for years
# Written by hubs and git next to a model's files; it says how git treats files, and nothing of the model is in it.
ATTRIBUTES, ATTRIBUTES_BYTES = ".gitattributes", 16 * 2**10
HINTS = {".git": "check a copy without it", ".cache": "`hf download --local-dir` leaves it behind: remove it"}


@dataclass
class Listing:
    """Plain files and folders by their path inside the folder, and in words what is neither or should not be there."""

    files: dict[str, os.stat_result] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Digests:
    """Both hashes of a file: SHA-256 is what a release names, MD5 what DVC does."""

    sha256: str
    md5: str


def list_folder(folder: Path) -> Listing:
    """All entries below a folder, however deep, hidden ones too, except a small `.gitattributes` in the folder itself."""
    listing = Listing()
    todo, count = [("", 0)], 0
    while todo:
        inside, depth = todo.pop()
        try:
            with os.scandir(folder / inside) as scan:  # sorted below
                entries = sorted(scan, key=lambda entry: entry.name)
        except NotADirectoryError:
            raise HallmarkError("not a folder", file=folder / inside, remedy="give a release folder") from None
        except FileNotFoundError:
            raise HallmarkError("no such folder", file=folder / inside, remedy="give a release folder") from None
        except OSError as error:
            if not inside:
                raise HallmarkError(f"{error.strerror}", file=folder, remedy="give a folder you can read") from None
            listing.odd.append(f"{inside} can't be read ({error.strerror})")
            continue
        for entry in entries:
            count += 1
            if count > ENTRIES:
                listing.odd.append(f"there are more than {ENTRIES} entries")
                return listing
            name = f"{inside}/{entry.name}" if inside else entry.name
            info = entry.stat(follow_symlinks=False)
            if problem := _problem(name, info):
                if problem != ATTRIBUTES:
                    listing.odd.append(problem)
            elif stat.S_ISREG(info.st_mode):
                listing.files[name] = info
            elif depth == DEPTH:
                listing.odd.append(f"{name} is more than {DEPTH} folders deep")
            else:
                listing.folders.append(name)
                todo.append((name, depth + 1))
    listing.odd += clashes(listing.files)
    return listing


def _problem(name: str, info: os.stat_result) -> str | None:
    """Why an entry is no part of a release; ATTRIBUTES if it is that file and may be there."""
    own = name.rsplit("/", 1)[-1]
    regular = stat.S_ISREG(info.st_mode)
    if name == ATTRIBUTES and regular and info.st_size <= ATTRIBUTES_BYTES:
        return ATTRIBUTES
    if stat.S_ISLNK(info.st_mode):
        return f"{name} is a link (DVC makes links if `cache.type` says so: set it to reflink,copy and `dvc checkout --relink`)"
    if not regular and not stat.S_ISDIR(info.st_mode):
        return f"{name} is neither a file nor a folder"
    if own.startswith("."):
        hint = HINTS.get(name)
        return f"{name} is hidden, and no part of a release" + (f" ({hint})" if hint else "")
    if not is_inside(name):
        return f"{name} has a name that can't be shown"
    if regular and info.st_size > LARGEST:
        return f"{name} is larger than {LARGEST // 2**30} GiB"
    return None


def is_release_name(name: object) -> bool:
    """Whether a release may hold a file of that name."""
    return is_inside(name) and not any(part.startswith(".") for part in str(name).split("/"))


def clashes(names: Iterable[str]) -> list[str]:
    """In words, the names that are one file on a system that ignores case or the form of accents."""
    seen: dict[str, str] = {}
    found = []
    for name in sorted(names):
        first = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if first != name:
            found.append(f"{first} and {name} are one file on a system that ignores case")
    return found


def read_plain(path: Path, limit: int) -> bytes | None:
    """The bytes of a plain file, or None if it is a link, no file, or larger than `limit`."""
    try:
        handle = _open(path)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        content = file.read(limit + 1)
    return None if len(content) > limit else content


def digests(path: Path) -> Digests | None:
    """The hashes of a plain file; None if it is a link, no file, or can't be read."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    try:
        handle = _open(path)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            while part := file.read(2**20):
                sha256.update(part)
                md5.update(part)
    except OSError:
        return None
    return Digests(sha256.hexdigest(), md5.hexdigest())


def _open(path: Path) -> int:
    """A file descriptor: of a link it is an error, and a FIFO does not make it wait for a writer."""
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
