"""Masked records as rows of `data/masked.parquet`: each checked for what is left in it, and counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.key import pseudonym, source_digest
from hallmark.base.params import Data
from hallmark.base.records import schema
from hallmark.mask import copied
from hallmark.mask.copied import Fields
from hallmark.mask.counts import Counts
from hallmark.mask.gold import Gold
from hallmark.mask.identity_values import KnownValues
from hallmark.mask.leftover import Left, note
from hallmark.mask.params import Mask
from hallmark.mask.plain_answers import plain_answer
from hallmark.mask.record import RecordMasker, Work, fault, place, request_of, spoken
from hallmark.mask.second_check import in_name
from hallmark.mask.surrogates import uses_key
from hallmark.mask.unmaskable import Telling
from hallmark.task.answers import canonical, compact_json
from hallmark.task.params import Task as TaskParams

if TYPE_CHECKING:
    from hallmark.records import Record

GROUP_ROWS = 50_000  # rows in a row group of the Parquet file; one row group is in memory at a time
GROUP_CHARS = 100_000_000  # a row group ends earlier if its texts are long
Values = tuple[tuple[str, str], ...]  # (kind, value), known to be private
Row = tuple[Any, ...]
ANSWERS = ("target", "rejected")


class Namer:
    """The id and the group that a record has from `mask` on: pseudonyms, if there is a key for them."""

    def __init__(self, data: Data, key: bytes | None) -> None:
        self.key = key if data.pseudonyms == "keyed" else None

    def __call__(self, column: str, record: Record) -> str:
        value: str = getattr(record, column)
        # What `collect` has written has them already: it is made of traces, and its source is no raw row.
        return value if self.key is None or is_live(record) else pseudonym(self.key, column, value)

    def source(self, record: Record) -> str:
        """A digest of what the record is made of, by which `split` knows it again."""
        asked = record.prompt if isinstance(record.prompt, str) else compact_json(record.prompt)
        return source_digest(self.key, record.group, record.context or "", asked, canonical(record.target))


LIVE = Path("data/raw/live")  # where `collect` writes masked records


def is_live(record: Record) -> bool:
    """Whether `collect` has made the record, and named it as `mask` does."""
    return record.source.startswith(f"{LIVE.as_posix()}/")


class RowMaker:
    """Masks records and makes rows of them. `strict`: a target that breaks the schema once it is masked is an error."""

    def __init__(
        self, data: Data, task: TaskParams, mask: Mask, gold: Gold | None, key: bytes | None, *, strict: bool = True
    ) -> None:
        self.mask, self.gold, self.strict = mask, gold, strict
        self.named = Namer(data, key)
        self.masker = RecordMasker(task, mask, key)
        self.task = self.masker.task
        self.fields = Fields(self.task.kind, self.task.schema)

    def rows(self, chunk: Sequence[tuple[Record, Values]]) -> tuple[list[Row], Counts]:
        """The row of each record that is not dropped, in the order of `masked_schema()`, and the counts."""
        works = [self.work(record, values) for record, values in chunk]
        self.masker.find(works)
        rows, counts = [], Counts(records=len(chunk))
        for (record, _), work in zip(chunk, works, strict=True):
            if spans := [span for text in work.drafts.texts for span in text.spans]:
                counts.kinds.update((span.kind, span.recognizer) for span in spans)
                counts.touched += 1
            if self.gold is not None:
                spans_of = self.gold.get(record.id) or self.gold.get(self.named("id", record)) or ()
                counts.gold.count(work, spans_of, self.mask.gold or "", record.source)
            if self.masker.dropped(work):
                counts.dropped += 1
                continue
            self.masker.render(work)
            self._count(record, work, counts)
            rows.append(self._row(record, work))
        return rows, counts

    def work(self, record: Record, values: Values) -> Work:
        """The drafts of a record, in which nothing is found yet."""
        request = request_of(record, self.task.system_prompt, self.mask.markup)
        for field, texts in (("prompt", [one["content"] for one in request.messages]), ("context", [record.context])):
            if any(len(text) > self.mask.max_chars for text in texts if text):
                problem = f"more characters than mask.max_chars ({self.mask.max_chars})"
                raise fault(record, problem, field, "raise mask.max_chars, or shorten the text")
        source = f"{record.context or ''}\n{record.prompt if isinstance(record.prompt, str) else request.messages}"
        given = [value for value in (record.target, record.rejected) if value is not None]
        read = [plain_answer(value, source, self.task, self.mask.markup) for value in given]
        answers = [self.masker.answer(value) for value in read]
        return self.masker.work(request, answers, _known(values), self.named("id", record))

    def _row(self, record: Record, work: Work) -> Row:
        target, *rejected = work.answered
        return (
            self.named("id", record),
            self.named("group", record),
            [spoken(message) for message in work.messages],
            [{"role": "assistant", "content": target}],
            work.context(),
            None if work.tools is None else compact_json(work.tools),
            [{"role": "assistant", "content": rejected[0]}] if rejected else None,
            record.tags,
            self.named.source(record),
            record.part,
        )

    def _count(self, record: Record, work: Work, counts: Counts) -> None:
        """Count what masking did to a record, and note what is left in it. An error if the masked target is none."""
        valid = self.task.parse(work.answered[0]).kind != "invalid"
        counts.invalid += not valid
        if not valid and self.strict:
            raise self._broken(record, work)
        if work.answers[0].form:
            masked = [
                message["content"][len(head) :]
                for message, head, text in zip(work.messages, work.heads, work.texts, strict=True)
                if text is not None
            ]
            targets = (work.answers[0].form[0], work.forms[0])
            values = self.fields.count(
                targets, work.drafts, masked, self.masker.masker.dates, record.source, valid=valid
            )
            copied.add(counts.values, values)
        where = place(record)
        left = [*self.masker.left(work, ANSWERS), *self._left_in_names(record, work)]
        counts.left += [Left(where["file"], where["row"], *one) for one in left]
        if self.named.key is None and self.mask.actions.get("CREDIT_CARD") != "keep":
            for field, names in (("id", [record.id]), ("group", [record.group]), ("tags", record.tags)):
                note(counts.names, field, names)

    def _left_in_names(self, record: Record, work: Work) -> list[tuple[str, str, str, str]]:
        """What is private in the id, the group and the tags, which have no stand-ins."""
        reserved, found = uses_key(self.mask), []
        for field in ("id", "group"):
            kinds = in_name(self.named(field, record), allow_reserved=reserved)
            found += [(field, "", kind, "name") for kind in kinds]
        if record.tags:
            telling = Telling(work.drafts.texts, work.drafts.known)
            for number, tag in enumerate(record.tags, 1):
                found += [("tags", f"tag {number}", kind, "tag") for kind in telling.kinds(tag, key=False)]
        return [one for one in found if self.mask.actions.get(one[2]) != "keep"]

    def _broken(self, record: Record, work: Work) -> HallmarkError:
        """The error about a target that its masked values break."""
        found = {(span.kind, span.recognizer) for text in work.of_answers[0] for span in text.spans}
        kinds_masked = ", ".join(f"{kind} by {recognizer}" for kind, recognizer in sorted(found))
        kind = min((kind for kind, _ in found), default="DATE_TIME")
        made_up = (
            f"set mask.actions: {{{kind}: surrogate}}, so that an example value stands there, in the prompt too; or "
        )
        if self.mask.actions.get(kind, self.mask.style) == "surrogate":
            made_up = ""  # this value can't be made up: a date in a form that isn't read, say
        return fault(
            record,
            f"masking a value of the target ({kinds_masked}) breaks the schema",
            "target",
            f"{made_up}keep ({{{kind}: keep}}, mask.allow_patterns) or drop ({{{kind}: drop}}) such values; or let the schema accept a placeholder "
            "(a number can only be masked as a text: make it one in recipe and schema)",
        )


def masked_schema() -> dict[str, Any]:
    """The columns of `data/masked.parquet`: those of a record, and two for `split`, which no part of the split has.

    By `source` it knows the raw record again; `part` is the part of the split that the recipe says.
    """
    import polars as pl

    return schema() | {"source": pl.String, "part": pl.String}


def write_groups(path: Path, rows: Iterable[Row]) -> int:
    """Write rows to Parquet one row group at a time, so that memory use stays flat; returns the number of rows.

    Where a group ends depends on the rows alone, so the same rows always make the same bytes.
    """
    import polars as pl
    from pyarrow.parquet import ParquetWriter

    def table(part: list[Row]) -> Any:
        return pl.DataFrame(part, schema=masked_schema(), orient="row").to_arrow(compat_level=pl.CompatLevel.oldest())

    count, chars = 0, 0
    part: list[Row] = []
    with ParquetWriter(path, table([]).schema, compression="zstd", write_statistics=False) as writer:
        for row in rows:
            part.append(row)
            count += 1
            chars += len(row[2][-1]["content"])
            if len(part) >= GROUP_ROWS or chars >= GROUP_CHARS:
                writer.write_table(table(part), row_group_size=len(part))
                part, chars = [], 0
        if part:
            writer.write_table(table(part), row_group_size=len(part))
    return count


@lru_cache(maxsize=256)
def _known(values: Values) -> KnownValues:
    return KnownValues(values)
