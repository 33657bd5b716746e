"""What benchmark.json says of the artefacts that ship: whether each answers as the evaluated model did, and what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hallmark.base.reports import Amount, Count, Some, add_up
from hallmark.base.stats import ClusterBootstrap, Interval

WORDS = {  # artefacts by name, in the order in which they are shown
    "adapter": "Adapter over its base",
    "nf4": "Adapter over its base in 4 bits",
    "merged": "Merged model",
    "q8_0": "GGUF file",
    "q4_k_m": "GGUF file",
    "server": "Server",
}


@dataclass(frozen=True)
class Cost:
    """What an artefact takes. `at_once`: requests or records answered together, at which the last two were measured.

    `disk_mib`: all files that it needs. `memory_mib`: of the weights alone. None: not known, or not its own figure.
    """

    disk_mib: Amount | None = None
    memory_mib: Amount | None = None
    at_once: Some | None = None
    latency_p95_s: Amount | None = None
    tokens_per_second: Amount | None = None


@dataclass(frozen=True)
class Changes:
    """What is not as evaluated: texts, and records that are an exact match no more (`lost`) or only now (`won`).

    `behind`: by how much exact match is lower than evaluated, as a share of 1.
    """

    texts: Count
    lost: Count
    won: Count
    behind: Interval


def changes(texts: int, was: Sequence[bool], right: Sequence[bool], bootstrap: ClusterBootstrap) -> Changes:
    """What is not as evaluated. `was`, `right`: whether each answer was an exact match when evaluated, and is one now."""
    pairs = list(zip(was, right, strict=True))
    return Changes(
        texts=texts,
        lost=sum(before and not after for before, after in pairs),
        won=sum(after and not before for before, after in pairs),
        behind=bootstrap.rate_difference(right, was).rounded(),
    )


@dataclass(frozen=True)
class Artefact:
    """Something that ships, in `weights` of a type, and how it answered; or the `reason` why it did not."""

    name: str
    weights: str
    reason: str | None
    changes: Changes | None = None
    cost: Cost | None = None

    @property
    def words(self) -> str:
        """What it is, for people."""
        return f"{WORDS.get(self.name, self.name)} ({self.weights})"


@dataclass(frozen=True)
class Received:
    """What callers get, over all of the holdout: raw rows, masked as the gateway masks, answered, their values put back.

    `same`: prompts that are those that were evaluated. `refused`: requests that the masker turns away, by code. `leftover`:
    answers with what is left of a placeholder, which are not handed out. `exact_match`: against the raw target; `evaluated`:
    on the masked records, as `eval` has it. `worst`: by how much exact match would be lower if all were wrong.
    """

    records: Count
    groups: Count
    same: Count
    refused: dict[str, Count]
    leftover: Count
    evaluated: Interval
    exact_match: Interval
    changes: Changes
    worst: Interval

    def __post_init__(self) -> None:
        """Refuse more of anything than there are records."""
        counts = (self.groups, self.same, self.leftover, self.changes.lost + self.changes.won)
        add_up(max(counts) <= self.records)


@dataclass(frozen=True)
class Live:
    """What was found of what callers get; or the `reason` why it could not be measured."""

    reason: str | None
    found: Received | None = None


@dataclass(frozen=True)
class Parity:
    """The artefacts, and the sample: its records and groups, and how many of them were right when evaluated.

    `worst`: by how much exact match would be lower if an artefact got all of them wrong. `live`: what callers get; None if
    it was not asked for.
    """

    records: Count
    groups: Count
    right: Count
    worst: Interval | None
    artefacts: list[Artefact]
    live: Live | None = None

    def __post_init__(self) -> None:
        """Refuse more of anything than there are records."""
        counts = (self.groups, self.right, *(found.lost + found.won for _, found in self.measured))
        add_up(max(counts) <= self.records)

    @property
    def measured(self) -> list[tuple[Artefact, Changes]]:
        return [(artefact, artefact.changes) for artefact in self.artefacts if artefact.changes is not None]

    @property
    def left_out(self) -> str:
        """Which have not answered, and why, in sentences; empty if all have."""
        reasons: dict[str | None, list[str]] = {}
        for artefact in self.artefacts:
            if artefact.changes is None:
                reasons.setdefault(artefact.reason, []).append(artefact.words)
        return " ".join(f"Not measured: {', '.join(words)}: {reason}." for reason, words in reasons.items())
