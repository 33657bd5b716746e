"""Hold the records of today against the holdout lock: the same, masked differently, changed, or missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hallmark.base.errors import HallmarkError
from hallmark.base.files import HOLDOUT_LOCK
from hallmark.base.holdout import REFREEZE, HoldoutLock
from hallmark.base.key import keyed_source, pseudonym
from hallmark.data.grouping import Cut, digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl


@dataclass(frozen=True)
class Compared:
    """The names of frozen records that are missing or have changed, and of those that only the masking has changed.

    `lock` is the lock that fits the records if none is missing or has changed.
    """

    missing: list[str]
    changed: list[str]
    masked_differently: list[str]
    lock: HoldoutLock


def digests_of(rows: Iterable[pl.DataFrame]) -> tuple[dict[str, str], dict[str, str]]:
    """A hash of each record's group, texts and target, and the digest of the raw row behind it, by name.

    The system prompt is left out of the hash: it may change.
    """
    hashes, sources = {}, {}
    for part in rows:
        for name, group, content, source in part.select("id", "group", "content", "source").iter_rows():
            hashes[name], sources[name] = digest(group, content), source
    return hashes, sources


def renamed(lock: HoldoutLock, key: bytes | None, key_digest: str | None) -> HoldoutLock:
    """The lock with the names that records have today: pseudonyms, if it was frozen with raw ids and there is a key now."""
    if lock.key == key_digest:
        return lock
    if lock.key is not None or key is None:
        raise HallmarkError(
            "the frozen holdout has pseudonyms that were made with another key, so its records can't be recognized",
            param="data.key",
            remedy=f"restore data.pseudonyms and data.key (`git checkout params.yaml`) and the key itself; or {REFREEZE}",
        )
    names = {name: pseudonym(key, "id", name) for name in lock.records}
    return replace(
        lock,
        records={names[name]: value for name, value in lock.records.items()},
        sources={names[name]: keyed_source(key, value) for name, value in lock.sources.items()},
        before={names[name]: value for name, value in lock.before.items()},
        key=key_digest,
    )


def cutoffs(lock: HoldoutLock | None) -> dict[str, Cut]:
    frozen = {"validation": lock.validation, "calibration": lock.calibration} if lock else {}
    return {side: cut for side, cut in frozen.items() if cut}


def compare(lock: HoldoutLock, rows: Iterable[pl.DataFrame]) -> Compared:
    """Compare the records with the lock, whose names are those of today.

    A record whose masked form has changed, but not the raw row behind it, is still the same record.
    """
    now, sources = digests_of(rows)
    differ = sorted(name for name, frozen in lock.records.items() if name in now and now[name] != frozen)
    trusted = {name for name in differ if sources[name] == lock.sources[name]}
    before = lock.before | {
        name: [*lock.before.get(name, []), lock.records[name]] for name in differ if name in trusted
    }
    frozen = sorted(lock.records.keys() & now.keys())
    return Compared(
        missing=sorted(lock.records.keys() - now.keys()),
        changed=[name for name in differ if name not in trusted],
        masked_differently=sorted(trusted),
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
            remedy="restore them in data.path, or the data parameters that made them; after an update of the code, run it "
            f"first on the committed data (docs/extending.md); or {REFREEZE}",
        )
