"""What git knows of earlier runs: whether the raw data is still what it was when a holdout lock was last accepted.

A lock of version 1 holds only hashes of masked records, so it can't tell a change in the masking from one in the data.
DVC's lock file in some commit can: it records which raw data `mask` read, what it made of it, and that `split` read just
that and accepted the lock.
"""

from __future__ import annotations

from pathlib import Path

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import HOLDOUT_LOCK, MASKED
from hallmark.base.holdout import RESTORE
from hallmark.base.params import Data

DVC_LOCK = Path("dvc.lock")
COLUMNS = ("id", "group", "input", "target", "context")  # what a record of the holdout is made of


def check_written_by_split() -> None:
    """A HallmarkError if the holdout lock is not the one that `split` last left, as far as dvc.lock knows."""
    if not DVC_LOCK.exists():
        return
    recorded = prov.read_lock(DVC_LOCK.read_text(encoding="utf-8")).get("split", {"outs": {}})["outs"]
    if recorded.get(HOLDOUT_LOCK.as_posix()) not in (None, prov.dvc_md5(HOLDOUT_LOCK)):
        raise HallmarkError("the holdout lock is not the one that `split` wrote", file=HOLDOUT_LOCK, remedy=RESTORE)


def raw_data_unchanged(data: Data) -> bool:
    """Whether a commit shows that `split` accepted the holdout lock for the raw data and the columns of today."""
    if not Path(data.path).exists():
        return False
    lock, raw = prov.dvc_md5(HOLDOUT_LOCK), prov.dvc_md5(Path(data.path))
    commits = prov.git("log", "--format=%H", "--", DVC_LOCK.name) or b""
    for commit in commits.decode().split():
        content = (prov.git("show", f"{commit}:./{DVC_LOCK}") or b"").decode(errors="replace")
        if lock in content and raw in content and _accepted(content, lock, raw, data):
            return True
    return False


def _accepted(dvc_lock: str, lock: str, raw: str, data: Data) -> bool:
    """Whether a dvc.lock says that `mask` read this raw data, and `split` accepted this lock for what `mask` made of it."""
    try:
        stages = prov.read_lock(dvc_lock)
        mask, split = stages["mask"], stages["split"]
        then = mask["params"]["data"]
        return (
            mask["deps"].get(then["path"]) == raw
            and all(then[name] == getattr(data, name) for name in COLUMNS)
            and split["outs"][HOLDOUT_LOCK.as_posix()] == lock
            and split["deps"][MASKED.as_posix()] == mask["outs"][MASKED.as_posix()]
        )
    except (HallmarkError, KeyError, TypeError):  # an unfinished merge, or a lock of other stages
        return False
