"""What masking did to the records: counts for the report, and what it could not reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.mask import copied
from hallmark.mask.gold import Measured
from hallmark.mask.leftover import Left, Names, check, note
from hallmark.mask.params import Mask

if TYPE_CHECKING:
    from hallmark.records import Record


@dataclass
class Counts:
    """Counts of records and masked spans."""

    records: int = 0
    dropped: int = 0
    invalid: int = 0  # targets that break the schema once they are masked
    touched: int = 0
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind, recognizer)
    left: list[Left] = field(default_factory=list)
    names: Names = field(default_factory=dict)
    gold: Measured = field(default_factory=Measured)
    values: copied.Values = field(default_factory=dict)  # that targets copy
    examples: list[dict[str, Any]] = field(default_factory=list)  # made-up sentences, before and after masking
    crashed: list[str] = field(default_factory=list)  # sources of records that no worker survived, left out

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

    def add(self, other: Counts) -> None:
        """Add another chunk's counts."""
        for name in ("records", "dropped", "invalid", "touched"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.kinds.update(other.kinds)
        self.left += other.left
        self.gold.add(other.gold)
        copied.add(self.values, other.values)
        for field_, names in other.names.items():
            note(self.names, field_, names)

    def leave_out(self, chunk: Sequence[tuple[Record, Any]]) -> None:
        """Note records that no worker survived."""
        self.crashed += [record.source for record, _ in chunk]

    def check(self, file: str) -> None:
        """Fail if the second check found what could not be masked."""
        check(self.left, self.names, file)

    def check_all(self, mask: Mask, file: str) -> None:
        """Fail for the same, if masking took from the targets what they copy, or if it dropped every record."""
        self.check(file)
        copied.check(self.values, mask, file)
        if self.dropped == self.records:
            raise HallmarkError("every record was dropped", file=file, field="mask.actions", remedy="drop fewer kinds")

    def report(self, mask: Mask, rows: dict[str, Any]) -> dict[str, Any]:
        """The content of `reports/mask.json`, which has no value of any record. `rows`: what the recipe read and left out."""
        by_kind: dict[str, dict[str, int]] = {}
        for (kind, recognizer), count in sorted(self.kinds.items()):
            by_kind.setdefault(kind, {})[recognizer] = count
        report: dict[str, Any] = {
            "style": mask.style,
            "language": mask.language,
            "ner": mask.ner.model,
            "level": mask.level,
            "examples": self.examples,
            "rows": rows | {"dropped": self.dropped, "written": self.records - self.dropped},
            "records_with_spans": self.touched,
            "spans": {
                "total": self.total,
                "by_kind": {kind: sum(counts.values()) for kind, counts in by_kind.items()},
                "by_kind_and_recognizer": by_kind,
            },
            "found_by_second_check": self.second,
            "target_values": copied.report(self.values),
            "gold": self.gold.report() if mask.gold else None,
        }
        if self.crashed:
            report["crashed"] = self.crashed
        return report
