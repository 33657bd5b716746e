"""The results of a run, put together once from its reports for the summary, the model card and the report page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from stages.core.machine import Fingerprint, when_and_where
from stages.core.outcomes import in_words
from stages.core.reports import Report
from stages.evaluation.comparison import Comparison, FailureResult, MeasureResult
from stages.evaluation.measures import known_measures
from stages.evaluation.parity import Parity
from stages.release.verdict import Verdict

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)] | None


class Percentiles(TypedDict):
    """Seconds that half, or 95 of 100 requests took at most; None if none was answered."""

    p50: Seconds
    p95: Seconds


class Level(TypedDict):
    """What the readers of benchmark.json use of a level of load."""

    concurrency: NotRequired[Count]
    requests: Annotated[int, Field(ge=1)]
    errors: Count
    timeouts: Count
    latency_s: Percentiles
    ttft_s: NotRequired[Percentiles]
    output_tokens_per_second: float
    requests_per_second: Annotated[float, Field(ge=0)]


class Load(TypedDict):
    """The largest load that a model bears."""

    words: str


class Levels(TypedDict):
    """A model in benchmark.json."""

    levels: Annotated[list[Level], Field(min_length=1)]
    largest_load: NotRequired[Load]


class Machine(TypedDict, total=False):
    """What is told of a machine."""

    processor: str | None
    machine: str | None
    threads: int | None
    gpu: str | None
    instruction_set: str | None


class Stamp(TypedDict):
    """When and where something was measured."""

    date: str
    machine: Machine


class Benchmark(TypedDict):
    """What the readers of benchmark.json rely on."""

    models: dict[str, Levels]
    measured: NotRequired[Stamp | None]
    parity: NotRequired[Parity]  # reports of older versions have none


def read_benchmark() -> Report:
    """The report of `benchmark`; an error if it has not the shape that its readers rely on."""
    report = Report("benchmark")
    report.as_(Benchmark)
    return report


def read_parity(benchmark: Report) -> Parity:
    """What the report of `benchmark` says of the artefacts that ship."""
    benchmark.at("parity")
    return benchmark.as_(Benchmark)["parity"]


@dataclass(frozen=True)
class Failures:
    """How many records of each model failed in one way."""

    words: str
    base: int
    tuned: int
    result: FailureResult


@dataclass(frozen=True)
class Served:
    """What the benchmark measured of a model at its first level of load: seconds, and output tokens a second."""

    model: str
    latency_p50: float | None
    latency_p95: float | None
    tokens_per_second: float
    largest_load: str


@dataclass(frozen=True)
class Constrained:
    """A model that answered the same records freely and within the schema's grammar: counts, and seconds it took."""

    model: str
    counts: dict[str, Any]  # as in comparison.json
    free_seconds: float
    seconds: float
    measured: str  # when and where


@dataclass(frozen=True)
class Results:
    """What people are shown of a run."""

    comparison: Comparison
    verdict: Verdict
    measures: list[MeasureResult]  # those that say something: not the ones that every answer meets
    failures: list[Failures]  # those that some answer has
    constrained: list[Constrained]
    served: list[Served]
    served_measured: str  # when and where
    parity: Parity | None

    @property
    def hub_metrics(self) -> list[tuple[MeasureResult, str]]:
        """The measures with their names on the Hugging Face Hub."""
        known = known_measures()
        return [(measure, known[measure.name].hub) for measure in self.measures if measure.name in known]


def read_results(here: Fingerprint | None = None) -> Results:
    """Read the reports of `compare`, `gate`, `benchmark` and `eval`. A missing one is an error that names its stage.

    `here`: the fingerprint of this machine; figures measured on another machine then say so.
    """
    comparison = Report("comparison", "compare").as_(Comparison)
    benchmark = read_benchmark()
    base = comparison.against.base
    counts = {
        side: {
            failure.name: sum(move.records for move in base.transitions if getattr(move, side) == failure.name)
            for failure in base.failures
        }
        for side in ("other", "tuned")
    }
    failures = [
        Failures(in_words(failure.name), counts["other"][failure.name], counts["tuned"][failure.name], failure)
        for failure in base.failures
    ]
    return Results(
        comparison=comparison,
        verdict=Report("gate").as_(Verdict),
        measures=[measure for measure in base.measures if not measure.given],
        failures=[row for row in failures if row.base or row.tuned],
        constrained=[constrained(counts, here) for counts in comparison.constrained],
        served=[_served(model, benchmark) for model in sorted(benchmark.at("models"))],
        served_measured=when_and_where(benchmark.content, here),
        parity=read_parity(benchmark) if "parity" in benchmark.content else None,
    )


def constrained(counts: dict[str, Any], here: Fingerprint | None) -> Constrained:
    """A row of `constrained` in comparison.json, with the seconds that it took."""
    model = counts["name"]
    timing = Report(f"measured/eval_{model}", f"eval@{model}")
    seconds = timing.at("constrained")
    return Constrained(model, counts, seconds["free_seconds"], seconds["seconds"], when_and_where(timing.content, here))


def _served(model: str, benchmark: Report) -> Served:
    level = benchmark.at("models", model, "levels")[0]
    latency, words = level["latency_s"], benchmark.at("models", model, "largest_load", "words")
    return Served(model, latency["p50"], latency["p95"], level["output_tokens_per_second"], words)
