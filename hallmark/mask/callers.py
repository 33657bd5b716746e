"""Records as their callers would send them: made by the recipe again, masked as the gateway masks a request. Raw text is in memory only."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import MASKED
from hallmark.base.key import read_key
from hallmark.base.progress import Progress
from hallmark.base.records import scan_records
from hallmark.base.refusal import Refusal
from hallmark.mask.live import LiveMasker
from hallmark.mask.plain_answers import plain_answer
from hallmark.mask.record import place, request_of
from hallmark.mask.restoring import Masked
from hallmark.mask.rows import Namer
from hallmark.mask.surrogates import uses_key
from hallmark.mask.two_runs import Runs
from hallmark.task.answers import compact_json
from hallmark.task.task import Task

if TYPE_CHECKING:
    from hallmark.params.loader import Params
    from hallmark.records import Record

RAW = Path("data/raw")


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


def lacking() -> str | None:
    """Why records can't be sent again here, with the remedy; None if the raw data is there."""
    if any(file.is_file() and file.suffix != ".sha256" and file.name[0] != "." for file in RAW.rglob("*")):
        return None
    return f"the raw data is not here: put it into {RAW}, run `dvc repro --single-item --force benchmark`, then `dvc repro`"


def sent(records: Sequence[Mapping[str, Any]], params: Params) -> list[Sent]:
    """The records as their callers send them, in their order.

    A HallmarkError if a record is not made any more, or of other data than it was.
    """
    key = read_key(params.data, surrogates=uses_key(params.mask))
    task, named = Task(params.task), Namer(params.data, key)
    wanted = {record["id"] for record in records}
    made = {name: one for one in Runs(params, task).records(check=False) if (name := named("id", one)) in wanted}
    sources = _sources(wanted)
    for name in sorted(wanted):
        if name not in made or named.source(made[name]) != sources.get(name):
            raise HallmarkError(
                f"the record '{name}' of the holdout was not made of the data that is there now",
                file=RAW,
                remedy="run `dvc repro`, which masks and splits it again, or bring the data back",
            )
    masker = LiveMasker(params.task, params.mask, key)
    masker.load()
    with Progress("benchmark", len(records), "records masked as a caller's", brief=True) as progress:
        found = []
        for record in records:
            found.append(_sent(masker, made[record["id"]]))
            progress.add()
    return found


def _sent(masker: LiveMasker, record: Record) -> Sent:
    task, markup = masker.task, masker.mask.markup
    request = request_of(record, task.system_prompt, markup)
    said = [message["content"] for message in request.messages if message["role"] != "system" and message["content"]]
    asked = "\n".join(said)
    target = plain_answer(record.target, f"{record.context or ''}\n{asked}", task, markup)
    texts = {"input": asked, "context": record.context, "target": masker.answer(target).text}
    try:
        masked, _ = masker(request.messages, request.tools)
    except Refusal as refusal:
        return Sent(None, refusal.code, texts)
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} at {Path(at.filename).name}, line {at.lineno}"
    else:
        return Sent(masked, None, texts)
    # outside the block: what was raised may quote the text
    raise HallmarkError(
        f"masking it as a live request fails ({what})",
        **place(record),
        remedy="leave the row out, and report this: it is a bug",
    )


def _sources(names: set[str]) -> dict[str, str]:
    """What `mask` says that records were made of."""
    import polars as pl

    found = scan_records(MASKED).filter(pl.col("id").is_in(sorted(names))).select("id", "source").collect()
    return dict(found.iter_rows())
