"""The holdout lock `data/holdout.lock.json`: which records are held out, for good, and how to tell that one has changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import HOLDOUT_LOCK, canonical_json
from hallmark.base.reading import read_json

REFREEZE = "draw a new holdout with `python -m stages.split --refreeze` (scores before and after don't compare)"
RESTORE = f"restore it with `git checkout {HOLDOUT_LOCK}`, or {REFREEZE}"


@dataclass(frozen=True)
class HoldoutLock:
    """A lock, of version 3.

    `records` has the hash of each record's group, texts and target as masked, `sources` that of the raw row behind it, so
    that a change in the masking can be told from one in the data. `before` has the hashes from before such a change.
    `key` is `data.key` if the names are pseudonyms made with it, `validation` the cutoff of the validation draw (empty if the records
    name their part), `calibration` that of the calibration draw (empty if there was none; then the file
    doesn't name it). A cutoff holds for each group's own hash.
    """

    records: dict[str, str]
    validation: dict[str, Any]
    sources: dict[str, str] = field(default_factory=dict)
    before: dict[str, list[str]] = field(default_factory=dict)
    key: str | None = None
    calibration: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """The file, with the number of records and a digest that shows an edit."""
        content: dict[str, Any] = {
            "before": {name: " ".join(hashes) for name, hashes in self.before.items()},
            "count": len(self.records),
            "key": self.key,
            "records": self.records,
            "sources": self.sources,
            "validation": self.validation,
            "version": 3,
        }
        if self.calibration:
            content["calibration"] = self.calibration
        return canonical_json(content | {"digest": _digest(content)})


def read_lock() -> HoldoutLock:
    """The lock in the working directory; anything but a whole, unedited lock is an error."""
    content = read_json(HOLDOUT_LOCK, RESTORE)
    if not isinstance(content, dict) or content.get("version") != 3:
        raise HallmarkError("not a holdout lock of version 3", file=HOLDOUT_LOCK, remedy=RESTORE)
    if content.pop("digest", None) != _digest(content):
        problem = "the holdout lock was edited or cut: its digest does not fit its records"
        raise HallmarkError(problem, file=HOLDOUT_LOCK, remedy=RESTORE)
    del content["count"], content["version"]
    content["before"] = {name: hashes.split(" ") for name, hashes in content["before"].items()}
    return HoldoutLock(**content)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode("utf-8", "surrogatepass")).hexdigest()
