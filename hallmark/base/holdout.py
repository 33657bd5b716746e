"""The holdout lock `data/holdout.lock.json`: which records are held out, for good, and how to tell that one has changed."""

from __future__ import annotations

import hashlib
import re
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
    `key` is `data.key` if the names are pseudonyms made with it, `validation` the cutoff of the validation draw (empty if
    the data names its validation rows), `calibration` that of the calibration draw (empty if there was none; then the file
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
    try:
        canonical_json(content).encode()
    except UnicodeEncodeError:
        raise HallmarkError("half a surrogate pair in the holdout lock", file=HOLDOUT_LOCK, remedy=RESTORE) from None
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is int and version in (1, 2):
        remedy = f"run `dvc repro split` once with the library before, which writes version 3; or {REFREEZE}"
        raise HallmarkError(f"{version} is no longer read", file=HOLDOUT_LOCK, field="version", remedy=remedy)
    if type(version) is not int or version != 3:
        raise HallmarkError("not a holdout lock of version 3", file=HOLDOUT_LOCK, remedy=RESTORE)
    if content.keys() - {"calibration"} != {*_FORMS, "version"} - {"calibration"}:  # without such a part, it has none
        raise HallmarkError("not a holdout lock: it has other fields", file=HOLDOUT_LOCK, remedy=RESTORE)
    for name in content.keys() - {"version"}:
        nothing_drawn = name == "validation" and content[name] == {}
        if not nothing_drawn and not _FORMS[name](content[name]):
            raise HallmarkError("not a holdout lock", file=HOLDOUT_LOCK, field=name, remedy=RESTORE)
    told = content.pop("digest")
    whole = content["records"].keys() == content["sources"].keys() >= content["before"].keys()
    if not whole or len(content["records"]) != content["count"] or told != _digest(content):
        raise HallmarkError(
            "the holdout lock was edited or cut: its digest does not fit its records", file=HOLDOUT_LOCK, remedy=RESTORE
        )
    del content["count"], content["version"]
    content["before"] = {name: hashes.split(" ") for name, hashes in content["before"].items()}
    return HoldoutLock(**content)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def _hashes(value: Any, length: int = 32) -> bool:
    return isinstance(value, dict) and bool(value) and all(name and _hex(text, length) for name, text in value.items())


def _hex(value: Any, length: int) -> bool:
    return isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{length}}}", value) is not None


def _before(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(hashes, str) and all(_hex(text, 32) for text in hashes.split(" ")) for hashes in value.values()
    )


def _cutoff(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"salt", "share", "below", "but_not"}
        and isinstance(value["salt"], str)
        and isinstance(value["share"], float)
        and isinstance(value["below"], str)
        and re.fullmatch(r"[0-9a-f]{16,17}", value["below"]) is not None
        and isinstance(value["but_not"], list)
        and all(_hex(text, 16) for text in value["but_not"])
    )


_FORMS: dict[str, Any] = {
    "before": _before,
    "calibration": _cutoff,
    "count": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "digest": lambda value: _hex(value, 64),
    "key": lambda value: value is None or _hex(value, 64),
    "records": _hashes,
    "sources": _hashes,
    "validation": _cutoff,
}
