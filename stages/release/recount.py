"""What the gate counts again in the split files on disk: leaks, and whether the frozen holdout is what was frozen.

`split` stops on what it finds, so a rule that read its report could never fail. This reads the files that training and
evaluation read, by code of its own: it shares nothing with `split`, so a mistake there (or a file changed since) shows
here. Near duplicates are not counted again; the same words are.
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

from stages.core.errors import HallmarkError
from stages.core.files import HOLDOUT, HOLDOUT_LOCK, TRAIN, VALIDATION

AGAIN = "run `dvc checkout`, which restores it, or else `dvc repro split`, which makes it"
RESTORE = (
    f"run `git checkout {HOLDOUT_LOCK}`, which restores it; or else `python -m stages.split --refreeze`, which draws a "
    "new holdout (scores before and after it do not compare)"
)
SPACES = "\t\n\v\f\r\x85"  # control characters that act as spaces
Message = dict[str, Any]


@dataclass(frozen=True)
class Leaks:
    """How many records are `held_out`, and how many of them share a group, the words, or either with training."""

    held_out: int
    group: int
    words: int
    either: int


@dataclass(frozen=True)
class Frozen:
    """How many records are frozen, and how many differ from the lock."""

    records: int
    changed: int
    gone: int
    added: int

    @property
    def differ(self) -> int:
        """Records that differ in any way."""
        return self.changed + self.gone + self.added


@dataclass(frozen=True)
class Record:
    """What is counted of a record: the `words` of its prompt, and the `digest` of its group and its texts."""

    id: str
    group: str
    words: str
    digest: str


def recount() -> tuple[Leaks, Frozen]:
    """Read the three parts and the lock, and count."""
    train, validation, holdout = map(read_part, (TRAIN, VALIDATION, HOLDOUT))
    return count_leaks(train, validation, holdout), count_changes(holdout, read_lock())


def count_leaks(train: list[Record], validation: list[Record], holdout: list[Record]) -> Leaks:
    """Training is, for the holdout, also the validation part: it chooses which weights are kept."""
    found = [*_shared(validation, train), *_shared(holdout, [*train, *validation])]
    return Leaks(
        held_out=len(found),
        group=sum(group for group, _ in found),
        words=sum(words for _, words in found),
        either=sum(group or words for group, words in found),
    )


def _shared(held: list[Record], known: list[Record]) -> list[tuple[bool, bool]]:
    """For each held-out record: is its group known, are its words?"""
    groups, words = {record.group for record in known}, {record.words for record in known}
    return [(record.group in groups, record.words in words) for record in held]


def count_changes(holdout: list[Record], lock: dict[str, str]) -> Frozen:
    """Compare the records of the holdout, one by one, with the hashes they were frozen with."""
    there = Counter(record.id for record in holdout)
    return Frozen(
        records=len(lock),
        changed=len({record.id for record in holdout if lock.get(record.id, record.digest) != record.digest}),
        gone=sum(name not in there for name in lock),
        added=sum(times - (name in lock) for name, times in there.items()),  # a second copy is one more, too
    )


def read_part(path: Path) -> list[Record]:
    """The records of a Parquet file of the split."""
    import polars as pl

    texts = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    wanted = {"id": pl.String, "group": pl.String, "prompt": texts, "completion": texts}
    try:
        frame = pl.read_parquet(path, columns=list(wanted))
    except FileNotFoundError:
        raise HallmarkError("no such file", file=path, remedy=AGAIN) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise HallmarkError(f"not a file of records ({type(error).__name__})", file=path, remedy=AGAIN) from None
    for name, kind in wanted.items():
        if frame.schema[name] != kind or frame[name].null_count():
            raise HallmarkError("not what a record has there", file=path, field=name, remedy=AGAIN)
    plain = Plain()
    return [
        Record(name, group, plain.words("\n".join(spoken(prompt))), digest(group, [*prompt, *completion]))
        for name, group, prompt, completion in frame.select(*wanted).iter_rows()
    ]


def read_lock() -> dict[str, str]:
    """The hash that each record of the holdout was frozen with, by id."""
    try:
        lock = json.loads(HOLDOUT_LOCK.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HallmarkError("no such file", file=HOLDOUT_LOCK, remedy=RESTORE) from None
    except ValueError:
        raise HallmarkError("not JSON", file=HOLDOUT_LOCK, remedy=RESTORE) from None
    records = lock.get("records") if isinstance(lock, dict) and lock.get("version") == 1 else None
    if not isinstance(records, dict) or not records or not all(isinstance(one, str) for one in records.values()):
        raise HallmarkError("not a holdout lock", file=HOLDOUT_LOCK, field="records", remedy=RESTORE)
    return records


def spoken(messages: Iterable[Message]) -> list[str]:
    """The texts of the messages, but not that of the system prompt, which may change while a record stays the same."""
    return [one["content"] for one in messages if one["role"] != "system" and one["content"] is not None]


def digest(group: str, messages: Iterable[Message]) -> str:
    """What the lock has of a record: 32 hex digits of SHA-256, of the JSON list of its group and its texts by line."""
    pair = json.dumps([group, "\n".join(spoken(messages))], ensure_ascii=True)
    return hashlib.sha256(pair.encode("ascii")).hexdigest()[:32]


class Plain(dict[int, str]):
    """What is left of a character (by its number) where punctuation, spaces and what can't be seen don't count."""

    def __missing__(self, number: int) -> str:
        character = chr(number)
        category = unicodedata.category(character)
        left = " " if category[0] in "PZ" or character in SPACES else character
        self[number] = "" if left == character and category[0] == "C" else left
        return self[number]

    def words(self, text: str) -> str:
        """The words of a text in one case; a text of punctuation alone is taken as it is."""
        text = unicodedata.normalize("NFKC", text).lower()
        return " ".join(text.translate(self).split()) or " ".join(text.split())
