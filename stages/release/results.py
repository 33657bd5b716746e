"""The results of a run, put together once from its reports for the summary, the model card and the report page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.core.machine import Fingerprint, when_and_where
from stages.core.outcomes import in_words
from stages.core.reports import Report
from stages.evaluation.comparison import Comparison, FailureResult, MeasureResult
from stages.evaluation.measures import known_measures
from stages.release.verdict import Verdict


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
    benchmark = Report("benchmark")
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
        served=[_served(model, report) for model, report in sorted(benchmark.at("models").items())],
        served_measured=when_and_where(benchmark.content, here),
    )


def constrained(counts: dict[str, Any], here: Fingerprint | None) -> Constrained:
    """A row of `constrained` in comparison.json, with the seconds that it took."""
    model = counts["name"]
    timing = Report(f"measured/eval_{model}", f"eval@{model}")
    seconds = timing.at("constrained")
    return Constrained(model, counts, seconds["free_seconds"], seconds["seconds"], when_and_where(timing.content, here))


def _served(model: str, report: dict[str, Any]) -> Served:
    level = report["levels"][0]
    latency = level["latency_s"]
    return Served(
        model, latency["p50"], latency["p95"], level["output_tokens_per_second"], report["largest_load"]["words"]
    )
