"""The content of benchmark.json, as far as it is read: each model's levels, when and where they were measured, and what ships."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

from pydantic import Field

from hallmark.answer.parity import Parity
from hallmark.base.machine import Fingerprint, busy, when_and_where
from hallmark.base.reports import Amount, Count, Some, add_up


@dataclass(frozen=True)
class Machine:
    """What identifies a machine, and how people are told of it; see `describe`."""

    machine: str | None = None
    processor: str | None = None
    instruction_set: str | None = None
    gpu: str | None = None
    threads: Count | None = None


@dataclass(frozen=True)
class Stamp:
    """When and on which machine a figure was measured."""

    date: str
    machine: Machine


@dataclass(frozen=True)
class Quantiles:
    """Seconds within which 50, 95 and 99 of 100 requests were served; None if none was."""

    p50: Amount | None
    p95: Amount | None
    p99: Amount | None = None


@dataclass(frozen=True)
class Level:
    """A load (`concurrency` or `rate`), and what was measured at it."""

    requests: Some
    errors: Count
    timeouts: Count
    requests_per_second: Amount
    output_tokens_per_second: Amount
    latency_s: Quantiles
    ttft_s: Quantiles
    concurrency: Some | None = None
    rate: Amount | None = None
    load_by_others: dict[str, Amount] | None = None

    def __post_init__(self) -> None:
        """Refuse more requests that failed than were sent."""
        add_up(self.errors + self.timeouts <= self.requests, (self.concurrency is None) != (self.rate is None))

    @property
    def busy(self) -> str:
        """What made the machine too busy, in a sentence; empty if nothing did, or nobody looked."""
        return busy(self.load_by_others and {"processes": 0.0, "stolen": 0.0} | self.load_by_others)


@dataclass(frozen=True)
class Largest:
    """The largest load that met the objective, in words."""

    words: str


@dataclass(frozen=True)
class Served:
    """What was measured of a model."""

    levels: Annotated[list[Level], Field(min_length=1)]
    largest_load: Largest


@dataclass(frozen=True)
class Benchmark:
    """All of it. `models`: by name; `measured`: None in reports older than this stamp."""

    models: dict[str, Served]
    server: str
    measured: Stamp | None = None
    parity: Parity | None = None

    def first(self, model: str) -> Level | None:
        """The first level of a model; None if it was not served."""
        return self.models[model].levels[0] if model in self.models else None

    def taken(self, here: Fingerprint | None = None) -> str:
        """When and where, in words."""
        return when_and_where(asdict(self), here)
