"""Are today's requests still those of the holdout? What `nox -s collect` reports and the page shows (docs/service-loop.md).

`two_sample.py` says whether they differ, `changed_slices.py` in what. All texts are masked before they come here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from hallmark.answer.fair_order import fair_order
from hallmark.judge.changed_slices import By, Slice, moved
from hallmark.judge.two_sample import separation
from hallmark.task.predictions import BANDS, band_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ALPHA = 0.05  # how often drift may be reported where there is none
PERMUTATIONS = 200  # of customers, for the p value
MOST = 2_000  # requests of each side that are compared
GROUPS = 8  # customers that each side must have; a word or label that fewer of them use is not shown


@dataclass(frozen=True, slots=True)
class Request:
    """What a customer (`group`) asked, masked, and the labels of the model's own answer, by name."""

    group: str
    text: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """How many different requests were compared, and of how many customers."""

    records: int
    groups: int


@dataclass(frozen=True)
class Drift:
    """What came of the test. `auc` and `p` are None with too little data; `chance`: the AUC that chance stays under."""

    verdict: Literal["drift", "not_shown", "too_little_data"]
    words: str
    reference: Sample
    today: Sample
    alpha: float
    auc: float | None = None
    chance: float | None = None
    p: float | None = None
    slices: list[Slice] = field(default_factory=list)  # those that have moved


def drift(
    reference: Sequence[Request],
    today: Sequence[Request],
    seed: int,
    *,
    alpha: float = ALPHA,
    permutations: int = PERMUTATIONS,
) -> Drift:
    """Compare the requests of the holdout with those of today.

    The holdout has each text once, since duplicates were dropped before it was drawn; so of equal texts of a sample one
    counts here. Of more than `MOST` texts, each customer's fair share is taken.
    """
    import numpy as np

    samples = capped([different(requests, MOST, seed) for requests in (reference, today)])
    sizes = [Sample(len(rows), len({row.group for row in rows})) for rows in samples]
    if min(size.groups for size in sizes) < GROUPS:
        return Drift("too_little_data", _too_little(sizes), sizes[0], sizes[1], alpha)
    rows = [*samples[0], *samples[1]]
    later = np.arange(len(rows)) >= len(samples[0])
    groups = [row.group for row in rows]
    found = separation(
        [row.text for row in rows],
        groups,
        later.tolist(),
        alpha=alpha,
        permutations=permutations,
        seed=seed,
    )
    slices = moved(groups, later, slices_of(rows), confidence=1 - alpha, least_groups=GROUPS)
    verdict: Literal["drift", "not_shown"] = "drift" if found.p <= alpha else "not_shown"
    start = {
        "drift": "Today's requests are not those of the holdout",
        "not_shown": "No drift is shown: today's requests may be those of the holdout",
    }[verdict]
    words = (
        f"{start}. A classifier tells {_in_words(sizes[1])} of today from {_in_words(sizes[0])} of the holdout with an AUC "
        f"of {found.auc:.3f}; by chance it stays under {found.chance:.3f} (p = {found.p:.4f}, {permutations:,} "
        "permutations of whole customers)."
    )
    return Drift(
        verdict=verdict,
        words=words,
        reference=sizes[0],
        today=sizes[1],
        alpha=alpha,
        auc=round(found.auc, 6),
        chance=round(found.chance, 6),
        p=round(found.p, 6),
        slices=slices,
    )


def different(requests: Sequence[Request], most: int, seed: int) -> list[Request]:
    """One request of each text (case and spaces aside), at most `most` of all, evenly from the customers."""
    order = fair_order([f"{row.group}\n{row.text}" for row in requests], [row.group for row in requests], seed)
    kept: dict[str, Request] = {}
    for row in (requests[number] for number in order):
        kept.setdefault(" ".join(row.text.lower().split()), row)
        if len(kept) == most:
            break
    return list(kept.values())


def capped(samples: Sequence[Sequence[Request]]) -> list[list[Request]]:
    """The samples with at most as many texts of a customer in each as the median customer has, both together.

    The limit has nothing to do with the side, so customers stay exchangeable; a few who send most of the texts on one side
    would be too much of the statistic for a permutation to do justice to.
    """
    counts = [Counter(row.group for row in rows) for rows in samples]
    sizes = [size for count in counts for size in count.values()]
    most = max(1, int(median(sizes))) if sizes else 1
    found = []
    for rows in samples:
        seen: Counter[str] = Counter()
        kept = []
        for row in rows:
            seen[row.group] += 1
            if seen[row.group] <= most:
                kept.append(row)
        found.append(kept)
    return found


def slices_of(rows: Sequence[Request]) -> dict[tuple[By, str], Sequence[int]]:
    """The rows of each slice: those with a word, of a length, or whose answer has a label."""
    from sklearn.feature_extraction.text import CountVectorizer

    found: dict[tuple[By, str], Sequence[int]] = {}
    read = CountVectorizer(binary=True)
    try:
        has = read.fit_transform([row.text for row in rows]).tocsc()
        for word, column in sorted(read.vocabulary_.items()):
            found["word", word] = sorted(has.indices[has.indptr[column] : has.indptr[column + 1]].tolist())
    except ValueError:  # there is no word
        pass
    members: dict[tuple[By, str], list[int]] = {("length", band): [] for band in BANDS}
    for number, row in enumerate(rows):
        members["length", band_of(len(row.text))].append(number)
        for name, value in sorted(row.labels.items()):
            members.setdefault(("label", f"{name}: {value}"), []).append(number)
    return found | {key: numbers for key, numbers in members.items() if numbers}


def _in_words(sample: Sample) -> str:
    return f"{sample.records:,} requests of {sample.groups:,} customers"


def _too_little(sizes: Sequence[Sample]) -> str:
    return (
        f"Too little data to look for drift: {_in_words(sizes[1])} today and {_in_words(sizes[0])} in the holdout; it takes "
        f"{GROUPS} customers of each."
    )
