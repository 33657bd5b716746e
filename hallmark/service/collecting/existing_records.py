"""The records that there are, with which new ones are compared: those that `mask` has made, and those collected since."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hallmark.base.files import HOLDOUT, HOLDOUT_LOCK, MASKED
from hallmark.base.holdout import read_lock
from hallmark.base.records import read_parquet, scan_records, whole_parquet
from hallmark.corpus.texts import text_of
from hallmark.mask.rows import LIVE
from hallmark.mask.two_runs import live_records
from hallmark.records import Record
from hallmark.task.answers import canonical


@dataclass
class Known:
    """What new records are compared with."""

    ids: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)  # what a model is asked
    targets: list[str] = field(default_factory=list)  # canonical
    held: set[str] = field(default_factory=set)  # groups of the frozen holdout


def read_known(folder: Path = LIVE) -> Known:
    """Read `data/masked.parquet`, if there is one, and the live records."""
    import polars as pl

    known = Known()
    if MASKED.exists():
        with whole_parquet(MASKED):
            text = {"text": text_of("prompt"), "target": text_of("completion")}
            masked = scan_records(MASKED).select("id", "group", **text).collect()
        known.ids |= {*masked["id"]}
        known.texts += masked["text"].to_list()
        known.targets += map(canonical, masked["target"].to_list())
        frozen = list(read_lock().records) if HOLDOUT_LOCK.exists() else []
        known.held |= {*masked.filter(pl.col("id").is_in(frozen))["group"]}
    for record in live_records(folder):
        if record.id not in known.ids:
            known.ids.add(record.id)
            known.texts.append(asked(record))
            known.targets.append(canonical(record.target))
    if HOLDOUT.exists():
        known.held |= {*read_parquet(HOLDOUT, "run `dvc repro split`")["group"]}
    return known


def asked(record: Record) -> str:
    """What a model is asked by a record, as texts are compared."""
    if isinstance(record.prompt, str):
        return record.prompt
    said = (one["content"] for one in record.prompt if one["role"] != "system")
    return "\n".join(text for text in said if text)
