"""Recount for the gate, from the split files on disk: leaks, and changes in the frozen holdout.

`split` stops if it finds a problem, so a rule that read its report could never fail. This reads the files that training
and evaluation read, and shares no code with `split` except what reads the lock, so a mistake there (or a file changed
since) shows up here. Equal words are counted again; near duplicates are not.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hallmark.base.files import CALIBRATION, HOLDOUT, ONLINE, TRAIN, VALIDATION
from hallmark.base.holdout import read_lock
from hallmark.base.reading import check_regular

AGAIN = "restore it with `dvc checkout`, or make it again with `dvc repro split`"
SPACES = "\t\n\v\f\r\x85"  # control characters that act as spaces
Message = dict[str, Any]


@dataclass(frozen=True)
class Leaks:
    """The number of `held_out` records, and how many of them share a group, the words, or either with a part before them."""

    held_out: int
    group: int
    words: int
    either: int


@dataclass(frozen=True)
class Frozen:
    """The number of frozen records, how many differ from the lock, and the number of groups there now."""

    records: int
    changed: int
    gone: int
    added: int
    groups: int

    @property
    def differ(self) -> int:
        """The number of records that differ in any way."""
        return self.changed + self.gone + self.added


@dataclass(frozen=True)
class Record:
    """The counted parts of a record: the `words` of its prompt, and the `digest` of its group and texts."""

    id: str
    group: str
    words: str
    digest: str


def recount() -> tuple[Leaks, Frozen]:
    """Read the five parts and the lock, and count leaks and changes."""
    parts = map(read_part, (TRAIN, VALIDATION, CALIBRATION, HOLDOUT, ONLINE))
    train, validation, calibration, holdout, online = parts
    return count_leaks(train, validation, calibration, holdout, online), count_changes(holdout, read_lock().records)


def count_leaks(
    train: list[Record],
    validation: list[Record],
    calibration: list[Record],
    holdout: list[Record],
    online: list[Record],
) -> Leaks:
    """Count leaks: each part is held against all before it.

    Validation guides the training, and calibration sets a threshold: what the holdout shares with them flatters it too.
    The online part has the holdout's groups, but none of its words: these would be evidence counted twice.
    """
    before = [*train, *validation, *calibration]
    held_out_already = _shared(online, holdout)
    shared = [
        *_shared(validation, train),
        *_shared(calibration, [*train, *validation]),
        *_shared(holdout, before),
        *(
            (group, words or again)
            for (group, words), (_, again) in zip(_shared(online, before), held_out_already, strict=True)
        ),
    ]
    return Leaks(
        held_out=len(shared),
        group=sum(group for group, _ in shared),
        words=sum(words for _, words in shared),
        either=sum(group or words for group, words in shared),
    )


def _shared(held: list[Record], known: list[Record]) -> list[tuple[bool, bool]]:
    """For each held-out record, whether its group and its words occur in the known records."""
    groups, words = {record.group for record in known}, {record.words for record in known}
    return [(record.group in groups, record.words in words) for record in held]


def count_changes(holdout: list[Record], lock: dict[str, str]) -> Frozen:
    """Compare each record of the holdout with the hash frozen in the lock."""
    present = Counter(record.id for record in holdout)
    return Frozen(
        records=len(lock),
        changed=len({record.id for record in holdout if lock.get(record.id, record.digest) != record.digest}),
        gone=sum(name not in present for name in lock),
        added=sum(times - (name in lock) for name, times in present.items()),  # a second copy counts as added
        groups=len({record.group for record in holdout}),
    )


def read_part(path: Path) -> list[Record]:
    """The records of a Parquet file of the split."""
    import polars as pl

    check_regular(path, AGAIN)
    columns = ["id", "group", "prompt", "completion"]
    frame = pl.read_parquet(path, columns=columns, glob=False)
    plain = Plain()
    return [
        Record(name, group, plain.words("\n".join(spoken(prompt))), digest(group, [*prompt, *completion]))
        for name, group, prompt, completion in frame.select(columns).iter_rows()
    ]


def spoken(messages: Iterable[Message]) -> list[str]:
    """The texts of the messages except the system prompt, which may change while a record stays the same."""
    return [
        message["content"] for message in messages if message["role"] != "system" and message["content"] is not None
    ]


def digest(group: str, messages: Iterable[Message]) -> str:
    """A record's hash in the lock: 32 hex digits of SHA-256 over the JSON list of its group and its joined texts."""
    pair = json.dumps([group, "\n".join(spoken(messages))], ensure_ascii=True)
    return hashlib.sha256(pair.encode("ascii")).hexdigest()[:32]


class Plain(dict[int, str]):
    """A `str.translate` table that turns punctuation and spaces into spaces and removes invisible characters."""

    def __missing__(self, number: int) -> str:
        character = chr(number)
        category = unicodedata.category(character)
        replacement = " " if category[0] in "PZ" or character in SPACES else character
        self[number] = "" if replacement == character and category[0] == "C" else replacement
        return self[number]

    def words(self, text: str) -> str:
        """The words of a text in lower case; a text of punctuation alone is left unchanged."""
        text = unicodedata.normalize("NFKC", text).lower()
        return " ".join(text.translate(self).split()) or " ".join(text.split())
