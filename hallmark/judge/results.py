"""The results of a run, put together once from its reports for the summary, the model card and the report page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hallmark.answer.measures import known_measures
from hallmark.base.figures import share
from hallmark.base.files import REPORTS
from hallmark.base.machine import Fingerprint, when_and_where
from hallmark.base.reports import Amount, Report, shape
from hallmark.judge.benchmarked import Benchmark, Stamp
from hallmark.judge.comparison import Comparison, MeasureAlone, Model
from hallmark.judge.decision import Decision
from hallmark.judge.tables import Table, options_table, shipped_table
from hallmark.judge.verdict import Verdict

TIMES = shape(constrained=shape(free_seconds=Amount, seconds=Amount), measured=Stamp)


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
    models: list[Model]  # base, comparators, tuned
    constrained: list[Constrained]
    benchmark: Benchmark
    served_measured: str  # when and where
    decision: Decision | None  # None in a repo whose pipeline has not run since `decide` is there

    @property
    def measures(self) -> list[MeasureAlone]:
        """Those that say something: not the ones that every answer meets."""
        return [row for row in self.comparison.tuned.measures if not row.given]

    @property
    def failures(self) -> list[str]:
        """The classes of failure that some answer has."""
        failed = [model.failed for model in self.models]
        return [row.name for row in self.comparison.tuned.failures if any(of[row.name] for of in failed)]

    @property
    def score(self) -> str:
        """The tuned model's exact match and that of the best baseline, the one that it is least ahead of, in a sentence."""
        found = [(model.lead, model.measures["exact_match"], model.opponent) for model in self.models[:-1]]
        if self.decision:
            baselines = (one for one in self.decision.ways if one.kind not in ("tuned", "cascade"))
            found = [(one.lead, one.exact_match, one.opponent) for one in baselines if one.exact_match]
        own = f"Exact match: {share(self.models[-1].measures['exact_match'])}"
        compared = [(lead.value, exact, words) for lead, exact, words in found if lead]
        if not compared:
            return f"{own}."
        _, exact, words = min(compared, key=lambda one: one[0])
        return f"{own}. The best baseline ({words}): {share(exact)}."

    @property
    def options(self) -> Table | None:
        """What the decision is about: the tuned model, the baselines and the cascade."""
        return options_table(self.decision) if self.decision else None

    @property
    def shipped(self) -> Table | None:
        """What ships and how it answers; None if nothing was to be compared."""
        parity = self.benchmark.parity
        return shipped_table(parity) if parity and (parity.artefacts or parity.live) else None

    @property
    def hub_metrics(self) -> list[tuple[MeasureAlone, str]]:
        """The measures with their names on the Hugging Face Hub."""
        known = known_measures()
        return [(measure, known[measure.name].hub) for measure in self.measures if measure.name in known]


def read_results(here: Fingerprint | None = None) -> Results:
    """Read the reports of `compare`, `gate`, `benchmark` and `eval`. A missing one is an error that names its stage.

    `here`: the fingerprint of this machine; figures measured on another machine then say so.
    """
    comparison = Report("comparison", "compare").as_(Comparison)
    benchmark = Report("benchmark").as_(Benchmark)
    return Results(
        comparison=comparison,
        verdict=Report("gate").as_(Verdict),
        models=comparison.models,
        constrained=[constrained(counts, here) for counts in comparison.constrained],
        benchmark=benchmark,
        served_measured=benchmark.taken(here),
        decision=Report("decision", "decide").as_(Decision) if (REPORTS / "decision.json").exists() else None,
    )


def constrained(counts: dict[str, Any], here: Fingerprint | None) -> Constrained:
    """A row of `constrained` in comparison.json, with the seconds that it took."""
    model = counts["name"]
    timing = Report(f"measured/eval_{model}", f"eval@{model}").as_(TIMES)
    took, taken = timing.constrained, when_and_where({"measured": asdict(timing.measured)}, here)
    return Constrained(model, counts, took.free_seconds, took.seconds, taken)
