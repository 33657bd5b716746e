"""Records as their callers would send them: the raw rows, masked as the gateway masks a request. Raw text is in memory only."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import MASKED
from hallmark.base.key import pseudonym, read_key, source_digest
from hallmark.base.params import Data
from hallmark.base.progress import Progress
from hallmark.base.records import scan_records
from hallmark.base.refusal import Refusal
from hallmark.data.live_record import LiveMasker
from hallmark.data.raw import Raw, raw_rows
from hallmark.mask.params import Mask
from hallmark.mask.restoring import Masked
from hallmark.mask.surrogates import uses_key
from hallmark.task.answers import canonical, compact_json
from hallmark.task.params import Task as TaskParams
from hallmark.task.task import Task


@dataclass(frozen=True, slots=True)
class Sent:
    """A record as its caller sends it. `masked`: what the model is then asked; None: it was `refused`, by this code.

    The rest is raw: the texts and the right answer, as a scorer takes them. It is never shown or written.
    """

    masked: Masked | None
    refused: str | None
    raw: dict[str, Any] = field(repr=False)

    def asks_as(self, record: Mapping[str, Any]) -> bool:
        """Whether the model is asked the same, to the letter, as with the record."""
        if self.masked is None:
            return False
        tools = None if self.masked.tools is None else compact_json(self.masked.tools)
        return self.masked.messages == list(record["prompt"]) and (tools or None) == (record["tools"] or None)


def lacking(data: Data) -> str | None:
    """Why records can't be sent again here, with the remedy; None if their raw rows are there."""
    if Path(data.path).exists():
        return None
    return f"the raw rows are not here: put them into {data.path}, run `dvc repro --single-item --force benchmark`, then `dvc repro`"


def sent(records: Sequence[Mapping[str, Any]], data: Data, mask: Mask, task: TaskParams) -> list[Sent]:
    """The records as their callers send them, in their order.

    A HallmarkError if a raw row is not there, or not the one that its record was made of.
    """
    key = read_key(data, surrogates=uses_key(mask))
    names_key = key if data.pseudonyms == "keyed" else None
    rows: dict[str, Raw] = {}
    wanted = {record["id"] for record in records}
    loaded = Task(task)
    for raw in raw_rows(data, mask, loaded):
        name = raw.id if names_key is None else pseudonym(names_key, "id", raw.id)
        if name in wanted:
            rows[name] = raw
    sources = _sources(wanted)
    for name in sorted(wanted):
        made_of = rows.get(name)
        if made_of is None or _source(names_key, made_of) != sources.get(name):
            raise HallmarkError(
                f"the record '{name}' of the holdout was not made of the rows that are there now",
                file=data.path,
                remedy="run `dvc repro`, which masks and splits them again, or bring the rows back",
            )
    masker = LiveMasker(task, mask, key)
    masker.load()
    with Progress("benchmark", len(records), "raw rows masked as a caller's", brief=True) as progress:
        found = []
        for record in records:
            found.append(_sent(masker, rows[record["id"]], loaded))
            progress.add()
    return found


def _sent(masker: LiveMasker, raw: Raw, task: Task) -> Sent:
    asked = f"{raw.context}\n\n{raw.input}" if raw.context else raw.input
    messages = [{"role": "system", "content": task.system_prompt}, {"role": "user", "content": asked}]
    written = isinstance(raw.target, str) and (task.is_json or task.kind.free_text)
    target = raw.target if written else task.render(raw.target)
    texts = {"input": asked, "context": raw.context, "target": target}
    try:
        masked, _ = masker(messages, raw.tools)
    except Refusal as refusal:
        return Sent(None, refusal.code, texts)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} at {Path(place.filename).name}, line {place.lineno}"
    else:
        return Sent(masked, None, texts)
    # outside the block: what was raised may quote the text
    raise HallmarkError(
        f"masking it as a live request fails ({what})",
        file=raw.file,
        row=raw.number,
        remedy="change the row, and report this: it is a bug",
    )


def _source(names_key: bytes | None, raw: Raw) -> str:
    return source_digest(names_key, raw.group, raw.context or "", raw.input, canonical(raw.target))


def _sources(names: set[str]) -> dict[str, str]:
    """What `mask` says that records were made of."""
    import polars as pl

    found = scan_records(MASKED).filter(pl.col("id").is_in(sorted(names))).select("id", "source").collect()
    return dict(found.iter_rows())
