"""Turn checked raw rows into masked records in the schema that later stages read, and count for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from hallmark.base.document import changed, keys_of
from hallmark.base.errors import HallmarkError
from hallmark.base.key import pseudonym, source_digest
from hallmark.base.params import Data
from hallmark.base.records import columns_of, schema
from hallmark.data import copied
from hallmark.data.copied import Fields, keys, listed
from hallmark.data.leftover import Left, Names, check, left_in, note
from hallmark.data.missing import Missing
from hallmark.data.raw import Raw, Values
from hallmark.mask.identity_values import KnownValues
from hallmark.mask.masking import Masker, Record, Slot
from hallmark.mask.params import Mask
from hallmark.mask.second_check import in_name
from hallmark.mask.spans import Draft
from hallmark.mask.surrogates import uses_key
from hallmark.mask.unmaskable import Telling
from hallmark.task.answers import canonical, compact_json
from hallmark.task.params import Task as TaskParams
from hallmark.task.task import Task

GROUP_ROWS = 50_000  # rows in a row group of the Parquet file; one row group is in memory at a time
GROUP_CHARS = 100_000_000  # a row group ends earlier if its texts are long
Gold = dict[str, list[tuple[str, int, int, str]]]
Slots = dict[str, list[Slot]]  # what is masked of each structured column


@dataclass
class Written:
    """Counts of masked spans, and what masking could not reach."""

    rows: int = 0
    dropped: int = 0
    invalid: int = 0  # targets that break the schema once they are masked
    touched: int = 0
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind, recognizer)
    left: list[Left] = field(default_factory=list)
    names: Names = field(default_factory=dict)
    gold: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)  # masked spans that touch a gold span
    masked: Counter[str] = field(default_factory=Counter)
    leaks: int = 0
    python_types: Counter[str] = field(default_factory=Counter)  # of tools, read as JSON Schema's
    values: copied.Values = field(default_factory=dict)  # that targets copy
    examples: list[dict[str, Any]] = field(default_factory=list)  # made-up sentences, before and after masking
    crashed: list[Raw] = field(default_factory=list)  # rows that no worker survived, left out

    @property
    def total(self) -> int:
        """Spans masked."""
        return self.kinds.total()

    @property
    def second(self) -> dict[str, int]:
        """Spans by kind that only the second check found, and that were masked for it."""
        found: Counter[str] = Counter()
        for (kind, recognizer), count in sorted(self.kinds.items()):
            if recognizer == "second_check":
                found[kind] += count
        return dict(found)

    def add(self, other: Written) -> None:
        """Add another chunk's counts."""
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            elif name == "values":
                copied.add(self.values, value)
            elif isinstance(value, dict):
                for column, names in value.items():
                    note(self.names, column, names)
            else:
                setattr(self, name, getattr(self, name) + value)

    def leave_out(self, rows: Sequence[tuple[Raw, Values]]) -> None:
        """Note rows that no worker survived."""
        self.crashed += [raw for raw, _ in rows]

    def check(self, file: str) -> None:
        """Fail if the second check found what could not be masked."""
        check(self.left, self.names, file)

    def check_all(self, mask: Mask, file: str) -> None:
        """Fail for the same, if masking took from the targets what they copy, or if it dropped every row."""
        self.check(file)
        copied.check(self.values, mask, file)
        if self.dropped == self.rows:
            raise HallmarkError("every row was dropped", file=file, field="mask.actions", remedy="drop fewer kinds")

    def report(self, mask: Mask, missing: Missing) -> dict[str, Any]:
        """The content of `reports/mask.json`, with the rows that were left out for what they lack; it has no value of any record."""
        by_kind: dict[str, dict[str, int]] = {}
        for (kind, recognizer), count in sorted(self.kinds.items()):
            by_kind.setdefault(kind, {})[recognizer] = count
        read = self.rows + missing.rows + missing.unwanted + len(self.crashed)
        report: dict[str, Any] = {
            "style": mask.style,
            "language": mask.language,
            "ner": mask.ner.model,
            "level": mask.level,
            "examples": self.examples,
            "rows": {"read": read, "dropped": self.dropped, "written": self.rows - self.dropped},
            "missing": missing.report(),
            "records_with_spans": self.touched,
            "spans": {
                "total": self.total,
                "by_kind": {kind: sum(counts.values()) for kind, counts in by_kind.items()},
                "by_kind_and_recognizer": by_kind,
            },
            "found_by_second_check": self.second,
            "target_values": copied.report(self.values),
            "gold": None,
        }
        if missing.unwanted:
            report["unwanted"] = missing.unwanted
        if self.crashed:
            report["crashed"] = [{"file": raw.file, "row": raw.number} for raw in self.crashed]
        if mask.gold:
            report["gold"] = {
                "spans": self.gold.total(),
                "recall": _share(self.found.total(), self.gold.total()),
                "precision": _share(self.right.total(), self.masked.total()),
                "records_that_leak": self.leaks,
                "recall_by_kind": {kind: _share(self.found[kind], n) for kind, n in sorted(self.gold.items())},
                "spans_by_kind": dict(sorted(self.gold.items())),
                "precision_by_kind": {kind: _share(self.right[kind], n) for kind, n in sorted(self.masked.items())},
            }
        return report


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


class Recorder:
    """Masks checked rows and turns them into records. `strict`: a target that breaks the schema once it is masked is an error."""

    def __init__(
        self, data: Data, task: TaskParams, mask: Mask, gold: Gold | None, key: bytes | None, *, strict: bool = True
    ) -> None:
        self.strict = strict
        self.data, self.mask, self.gold = data, mask, gold
        self.names_key = key if data.pseudonyms == "keyed" else None
        self.system_prompt = task.system_prompt
        self.task = Task(task)
        self.keys = frozenset(keys(self.task.schema))
        self.fields = Fields(self.task.kind, self.task.schema)
        self.masker = Masker(mask, listed(self.task.schema), key)

    def records(self, chunk: Sequence[tuple[Raw, Values]]) -> tuple[list[tuple[Any, ...]], Written]:
        """The record of each row that is not dropped, in the order of `masked_schema()`, and the counts."""
        works = [self._texts(raw, values) for raw, values in chunk]
        self.masker.find([record for record, _ in works])
        rows, written = [], Written(rows=len(chunk))
        for raw in (raw for raw, _ in chunk if raw.python_types):
            written.python_types.update(raw.python_types)
        for (raw, _), (record, slots) in zip(chunk, works, strict=True):
            self._count(raw, record, written)
            if self.masker.dropped(record):
                written.dropped += 1
                continue
            rows.append(self._row(raw, record, slots, written))
        return rows, written

    def _texts(self, raw: Raw, values: Values) -> tuple[Record, Slots]:
        """The texts of a row in the masker's form, and the separate texts and numbers of each structured column."""
        texts = [raw.input, *([raw.context] if raw.context else [])]
        slots: Slots = {}
        for column in ("target", "rejected", "tools"):
            value = getattr(raw, column)
            if self._is_text(column, value):
                texts.append(value)
            elif not self._is_public(column, value):
                slots[column] = self.masker.slots_of(value)
        flat = [slot for column in slots for slot in slots[column]]
        copies = sum(len(of) for column, of in slots.items() if column != "tools")
        return Record(texts, flat, _known(values), copies, self._name("id", raw.id)), slots

    def _is_text(self, column: str, value: Any) -> bool:
        """Whether the value is running text: a reply, or a rejected answer that doesn't have the task's form."""
        if not isinstance(value, str):
            return False
        return self.task.kind.free_text or (column == "rejected" and not self._is_public(column, value))

    def _is_public(self, column: str, value: Any) -> bool:
        """Labels and the refusal come from the task, not from a person. A rejected answer need not satisfy the schema."""
        if column == "tools" or value is None:
            return value is None
        if self.task.kind.listed and column == "target":
            return True
        kind = self.task.parse(self._rendered(value) or "").kind
        return kind == "refusal" or (self.task.kind.listed and kind == "answer")

    def _row(self, raw: Raw, record: Record, slots: Slots, written: Written) -> tuple[Any, ...]:
        row = self._filled(raw, record, slots)
        valid = self.task.parse(self._written(raw, row, "target") or "").kind != "invalid"
        written.invalid += not valid
        if not valid and self.strict:
            texts = self._texts_of("target", raw, record, slots)
            found = {(span.kind, span.recognizer) for text in texts for span in text.spans}
            kinds_masked = ", ".join(f"{kind} by {recognizer}" for kind, recognizer in sorted(found))
            kind = min((kind for kind, _ in found), default="DATE_TIME")
            made_up = (
                f"set mask.actions: {{{kind}: surrogate}}, so that an example value stands there, in the input too; or "
            )
            if self.mask.actions.get(kind, self.mask.style) == "surrogate":
                made_up = ""  # this value can't be made up: a date in a form that isn't read, say
            raise HallmarkError(
                f"masking a value of the target ({kinds_masked}) breaks the schema",
                file=raw.file,
                row=raw.number,
                field=self._column("target"),
                remedy=f"{made_up}keep ({{{kind}: keep}}, mask.allow_patterns) or drop ({{{kind}: drop}}) such values; or let the schema accept a placeholder "
                "(a number can only be masked as a text: make it one in data and schema)",
            )
        if "target" in slots:
            masked = [row["input"], *([row["context"]] if raw.context else [])]
            targets, where = (raw.target, row["target"]), (raw.file, raw.number)
            copied.add(
                written.values, self.fields.count(targets, record, masked, self.masker.dates, where, valid=valid)
            )
        reserved = uses_key(self.mask)
        written.left += [
            Left(raw.file, raw.number, column, position, kind, holder)
            for column, position, kind, holder in self._left(raw, record, slots, row, reserved)
            if self.mask.actions.get(kind) != "keep"
        ]
        if self.names_key is None and self.mask.actions.get("CREDIT_CARD") != "keep":
            for column in ("id", "group"):
                if getattr(self.data, column) != "row.id":
                    note(written.names, self._column(column), [row[column]])
            if raw.tags:
                note(written.names, self._column("tags"), raw.tags)
        system = self.system_prompt
        user = f"{row['context']}\n\n{row['input']}" if row["context"] else row["input"]
        target, rejected = (self._written(raw, row, column) for column in ("target", "rejected"))
        return (
            row["id"],
            row["group"],
            [{"role": "system", "content": system}, {"role": "user", "content": user}],
            [{"role": "assistant", "content": target}],
            row["context"],
            None if row["tools"] is None else compact_json(row["tools"]),
            None if rejected is None else [{"role": "assistant", "content": rejected}],
            row["tags"],
            # Of what the record is made of, before masking: columns that it does not use may change.
            source_digest(self.names_key, raw.group, raw.context or "", raw.input, canonical(raw.target)),
            raw.part,
        )

    def _left(
        self, raw: Raw, record: Record, slots: Slots, row: dict[str, Any], reserved: bool
    ) -> Iterator[tuple[str, str, str, str]]:
        """What is private in a finished row: the column, the position in it, the kind, and what it stands in."""
        for column in ("id", "group"):
            if not (column == "id" and self.data.id == "row.id"):
                yield from (
                    (self._column(column), "", kind, "name") for kind in in_name(row[column], allow_reserved=reserved)
                )
        for column in ("input", "context", "target", "rejected", "tools"):
            if row[column] is not None:
                shown = changed(row[column], self.masker.kept.hidden)
                yield from ((self._column(column), *found) for found in left_in(shown, reserved))
        if "tools" in slots:
            held = {
                span.kind for text in self._texts_of("tools", raw, record, slots) if text.number for span in text.spans
            }
            yield from ((self._column("tools"), "a number", kind, "number") for kind in sorted(held))
        keys = {column: list(keys_of(getattr(raw, column))) for column in ("target", "rejected", "tools")}
        if not raw.tags and self.keys.issuperset(key for column in keys.values() for key in column):
            return
        telling = Telling(record.texts, record.known)  # neither tag nor key can be masked without losing what it is for
        for number, tag in enumerate(raw.tags or (), 1):
            yield from ((self._column("tags"), f"tag {number}", kind, "tag") for kind in telling.kinds(tag, key=False))
        for column, names in keys.items():
            for number, name in enumerate(names, 1):
                if name not in self.keys:
                    kinds = telling.kinds(name, key=True)
                    yield from ((self._column(column), f"key {number}", kind, "key") for kind in kinds)

    def _column(self, part: str) -> str:
        """The user's own column for a part of a record."""
        name = getattr(self.data, part)
        return ", ".join(columns_of(name) if isinstance(name, str) else name)

    def _texts_of(self, column: str, raw: Raw, record: Record, slots: Slots) -> list[Draft]:
        """The texts and numbers of a column, as the masker has them."""
        if column in slots:
            last = len(record.texts) - sum(len(slots[later]) for later in list(slots)[list(slots).index(column) + 1 :])
            return record.texts[last - len(slots[column]) : last]
        return record.texts[1 + bool(raw.context) :][:1]  # a target that is running text

    def _filled(self, raw: Raw, record: Record, slots: Slots) -> dict[str, Any]:
        """The row's columns with masked values, not yet rendered."""
        masked = iter([text.text for text in self.masker.render(record)])
        row: dict[str, Any] = {"input": next(masked), "context": next(masked) if raw.context else None}
        for column in ("target", "rejected"):
            if self._is_text(column, getattr(raw, column)):
                row[column] = next(masked)
        for column in ("target", "rejected", "tools"):
            value = getattr(raw, column)
            if column not in row:
                row[column] = self.masker.filled(value, masked) if column in slots else value
        for column in ("id", "group"):
            row[column] = self._name(column, getattr(raw, column))
        row["tags"] = raw.tags
        return row

    def _written(self, raw: Raw, row: dict[str, Any], column: str) -> str | None:
        """Target or rejected answer of a row as the text of a completion."""
        value: str | None = row[column]
        return value if self._is_text(column, getattr(raw, column)) else self._rendered(value)

    def _rendered(self, value: Any) -> str | None:
        return value if value is None or (isinstance(value, str) and self.task.is_json) else self.task.render(value)

    def _name(self, column: str, value: str) -> str:
        """The id or group that the record has: a pseudonym, if there is a key for it."""
        return value if self.names_key is None else pseudonym(self.names_key, column, value)

    def _count(self, raw: Raw, record: Record, written: Written) -> None:
        if spans := [span for text in record.texts for span in text.spans]:
            written.kinds.update((span.kind, span.recognizer) for span in spans)
            written.touched += 1
        if self.gold is None:
            return
        expected = []
        for column, start, end, kind in self.gold.get(raw.id) or self.gold.get(self._name("id", raw.id)) or ():
            first, last = raw.offsets[column]
            if first + end > last:
                raise HallmarkError(
                    f"a span ends past the end of '{column}' in row {raw.number} of {raw.file}",
                    file=self.mask.gold, field="end", remedy="count characters in the column as it is in the data",
                )  # fmt: skip
            start, end = max(0, first + start), min(first + end, last)
            if start < end:
                expected.append((start, end, kind))
        covered = record.texts[0].spans
        masked = {position for span in covered for position in range(span.start, span.end)}
        golden = {position for start, end, _ in expected for position in range(start, end)}
        leak = False
        for start, end, kind in expected:
            hit = masked.issuperset(range(start, end))
            written.gold[kind] += 1
            written.found[kind] += hit
            leak = leak or not hit
        for span in covered:
            written.masked[span.kind] += 1
            written.right[span.kind] += not golden.isdisjoint(range(span.start, span.end))
        written.leaks += leak


def masked_schema() -> dict[str, Any]:
    """The columns of `data/masked.parquet`: those of a record, and two for `split`, which no part of the split has.

    By `source` it knows the raw row again; `part` is what `data.split` says (null without it).
    """
    import polars as pl

    return schema() | {"source": pl.String, "part": pl.String}


def write_groups(path: Path, rows: Iterable[tuple[Any, ...]]) -> int:
    """Write records to Parquet one row group at a time, so that memory use stays flat; returns the number of records.

    Where a group ends depends on the rows alone, so the same rows always make the same bytes.
    """
    import polars as pl
    from pyarrow.parquet import ParquetWriter

    def table(part: list[tuple[Any, ...]]) -> Any:
        return pl.DataFrame(part, schema=masked_schema(), orient="row").to_arrow(compat_level=pl.CompatLevel.oldest())

    count, chars = 0, 0
    part: list[tuple[Any, ...]] = []
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
