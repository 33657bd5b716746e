"""Hold the records of today against the holdout lock: the same, masked differently, changed, or missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hallmark.base.errors import HallmarkError
from hallmark.base.files import HOLDOUT_LOCK
from hallmark.base.holdout import REFREEZE, HoldoutLock, read_lock
from hallmark.base.key import keyed_source, pseudonym, read_key
from hallmark.base.params import Data
from hallmark.corpus.draw import digest


@dataclass(frozen=True)
class Compared:
    """The names of frozen records that are missing or have changed, and of those that only the masking has changed.

    `lock` is the lock that fits the records if none is missing or has changed.
    """

    missing: list[str]
    changed: list[str]
    masked_differently: list[str]
    lock: HoldoutLock


def names_of(data: Data) -> str | None:
    """The digest of the key that names are made with."""
    return data.key if data.pseudonyms == "keyed" else None


def current_lock(data: Data) -> HoldoutLock:
    """The lock with the names that records have today: pseudonyms, if it was frozen with raw ids and they are keyed now.

    The draws of the other parts are by the names of groups; other names are another draw.
    """
    lock = read_lock()
    if lock.key == names_of(data):
        return lock
    key = read_key(data)
    if lock.key is not None or key is None:
        raise HallmarkError(
            "the frozen holdout has pseudonyms that were made with another key, so its records can't be recognized",
            param="data.key",
            remedy=f"restore data.pseudonyms and data.key (`git checkout params.yaml`) and the key itself; or {REFREEZE}",
        )
    names = {name: pseudonym(key, "id", name) for name in lock.records}
    return HoldoutLock(
        records={names[name]: value for name, value in lock.records.items()},
        validation={},
        sources={names[name]: keyed_source(key, value) for name, value in lock.sources.items()},
        before={names[name]: value for name, value in lock.before.items()},
        key=names_of(data),
    )


def digests_of(contents: Iterable[tuple[str, str, str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """A hash of each record's group and texts, and the digest of the raw row behind it, by name."""
    hashes, sources = {}, {}
    for name, group, source, content in contents:
        hashes[name], sources[name] = digest(group, content), source
    return hashes, sources


def compare(lock: HoldoutLock, contents: Iterable[tuple[str, str, str, str]]) -> Compared:
    """Compare the records with the lock, whose names are those of today.

    A record whose masked form has changed, but not the raw row behind it, is still the same record.
    """
    now, sources = digests_of(contents)
    frozen = sorted(lock.records.keys() & now.keys())
    differ = [name for name in frozen if now[name] != lock.records[name]]
    trusted = [name for name in differ if sources[name] == lock.sources[name]]
    before = lock.before | {name: [*lock.before.get(name, []), lock.records[name]] for name in trusted}
    return Compared(
        missing=sorted(lock.records.keys() - now.keys()),
        changed=sorted({*differ}.difference(trusted)),
        masked_differently=trusted,
        lock=replace(
            lock,
            records={name: now[name] for name in frozen},
            sources={name: sources[name] for name in frozen},
            before=before,
        ),
    )


def check_frozen(compared: Compared) -> None:
    """Stop if a frozen record is missing or has changed."""
    missing, changed = len(compared.missing), len(compared.changed)
    if missing or changed:
        raise HallmarkError(
            f"of the frozen holdout records, {changed} have changed and {missing} are missing "
            "(`python -m stages.split --differences` names them)",
            file=HOLDOUT_LOCK,
            remedy="restore them in data/raw, or the stages/records.py that made them; after an update of the code, run it "
            f"first on the committed data (docs/extending.md); or {REFREEZE}",
        )
