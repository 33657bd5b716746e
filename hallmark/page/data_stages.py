"""What the page says of the data stages: what was masked, which duplicates were dropped, and how the split is made."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from hallmark.base.files import CALIBRATION, HOLDOUT, ONLINE, TRAIN, VALIDATION
from hallmark.base.records import scan_records
from hallmark.base.reports import Report

PARTS = {
    "train": TRAIN,
    "validation": VALIDATION,
    "calibration": CALIBRATION,
    "holdout": HOLDOUT,
    "online": ONLINE,
}
SIZES = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)  # lowest number of records of each band of group sizes
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)] | None
ACRONYMS = {"IBAN", "ID", "IP", "MAC", "NRP", "SSN", "URL", "US", "UUID", "ZIP"}
Piece = tuple[str, str | None, str | None]


class Rows(TypedDict):
    """Rows of `mask`."""

    read: Count
    dropped: Count
    written: Count


class Spans(TypedDict):
    """Masked spans."""

    total: Count
    by_kind: dict[str, Count]


class Gold(TypedDict):
    """Masking against labelled spans."""

    spans: Count
    recall: Share
    precision: Share
    recall_by_kind: dict[str, Share]
    precision_by_kind: dict[str, Share]
    spans_by_kind: dict[str, Count]


class Example(TypedDict):
    """A made-up sentence in pieces: text, what it was masked to, and the kind (None where nothing is masked)."""

    dropped: bool
    pieces: list[Piece]


class Copied(TypedDict):
    """What masking did to the values of a target's field that stand in the input."""

    copied: Count
    found_after: Count
    different: dict[str, Count]


class Masking(TypedDict):
    """What the page uses of mask.json."""

    level: str
    style: str
    rows: Rows
    records_with_spans: Count
    spans: Spans
    gold: Gold | None
    target_values: dict[str, Copied]
    examples: list[Example]


class Clusters(TypedDict):
    """Clusters of duplicates."""

    clusters: Count
    records: Count
    largest: Count


class Found(TypedDict):
    """Duplicates against labelled ones."""

    precision: Share
    recall: Share


class Kept(TypedDict):
    """Records that `dedupe` keeps."""

    out: Count


class Dropped(TypedDict):
    """Records that `dedupe` drops, by cause."""

    exact: Count
    near: Count
    conflict: Count
    only_placeholders: NotRequired[Count]


class Duplicates(TypedDict):
    """What the page uses of dedupe.json."""

    rows: Kept
    dropped: Dropped
    clusters: Clusters
    gold: Found | None


class Leaks(TypedDict):
    """Held-out records, and those of them that share something with training."""

    held_out: Count
    same_group: Count
    same_text: Count
    near_text: NotRequired[Count]


class RandomSplit(TypedDict):
    """What a split that draws rows at random would have leaked."""

    before_dedupe: Leaks
    after_dedupe: Leaks


class Parts(TypedDict):
    """A count for each part of the split."""

    train: Count
    validation: Count
    calibration: Count
    holdout: Count
    online: Count


class Splitting(TypedDict):
    """What the page uses of split.json."""

    rows: Parts
    largest_group_share: Annotated[float, Field(ge=0, le=1)]
    leaks: Count
    random_row_split: RandomSplit


@dataclass(frozen=True)
class MaskedKind:
    """A kind of private data: spans masked, spans labelled in the gold data, and what masking finds of these."""

    name: str
    masked: int
    labelled: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class DataStages:
    """Everything in that section of the page."""

    mask: Masking
    dedupe: Duplicates
    split: Splitting
    kinds: list[MaskedKind]  # most frequent first
    lost: int  # records that the split drops
    sizes: list[tuple[str, dict[str, int]]]  # band of sizes, and its groups in each part

    @property
    def parts(self) -> list[str]:
        """The parts to show: those that may be empty only if they have records."""
        optional = {"calibration": self.split["rows"]["calibration"], "online": self.split["rows"]["online"]}
        return [part for part in PARTS if optional.get(part, 1)]


def read_data_stages() -> DataStages:
    """Read the reports of the data stages, and the sizes of the groups in the split."""
    mask = Report("mask").as_(Masking)
    dedupe, split = Report("dedupe").as_(Duplicates), Report("split").as_(Splitting)
    gold = mask["gold"]
    labelled = gold["spans_by_kind"] if gold else {}
    kinds = [
        MaskedKind(
            in_words(kind),
            mask["spans"]["by_kind"].get(kind, 0),
            labelled.get(kind, 0),
            gold["recall_by_kind"].get(kind) if gold else None,
            gold["precision_by_kind"].get(kind) if gold else None,
        )
        for kind in {**mask["spans"]["by_kind"], **labelled}
    ]
    kinds.sort(key=lambda kind: (-kind.masked, kind.name))
    rows = split["rows"]
    written = rows["train"] + rows["validation"] + rows["calibration"] + rows["holdout"] + rows["online"]
    lost = dedupe["rows"]["out"] - written
    return DataStages(mask, dedupe, split, kinds, lost, group_sizes())


def in_words(kind: str) -> str:
    """A kind of private data as people read it: `IBAN code`."""
    return " ".join(word if word in ACRONYMS else word.lower() for word in kind.split("_"))


def group_sizes(parts: Mapping[str, Path] = PARTS) -> list[tuple[str, dict[str, int]]]:
    """How many groups of each part have how many records, in bands from the smallest to the largest size."""
    bands: dict[str, Counter[int]] = {}
    for part, path in parts.items():
        sizes = Counter(scan_records(path).select("group").collect()["group"].to_list())
        bands[part] = Counter(bisect_right(SIZES, size) - 1 for size in sizes.values())
    there = [band for counts in bands.values() for band in counts]
    return [
        (_band(band), {part: counts[band] for part, counts in bands.items()})
        for band in range(min(there, default=0), max(there, default=-1) + 1)
    ]


def _band(band: int) -> str:
    if band + 1 == len(SIZES):
        return f"{SIZES[band]:,} or more"
    low, high = SIZES[band], SIZES[band + 1] - 1
    return str(low) if low == high else f"{low} to {high}"
