"""What came of each base, for `python -m hallmark.commands.choose`: what its run measured, the limits, table and report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from hallmark.answer.measures import known_measures
from hallmark.base.errors import HallmarkError
from hallmark.base.figures import in_brackets, shown
from hallmark.base.measured import RAN
from hallmark.base.stats import Interval
from hallmark.commands import sweep
from hallmark.commands.candidates import GIB, Exclusion, Facts
from hallmark.commands.experiments import report_in
from hallmark.commands.sweep import UNKNOWN
from hallmark.judge.benchmarked import Benchmark
from hallmark.judge.comparison import Comparison
from hallmark.judge.verdict import SHIPS, VERDICTS, Verdict
from hallmark.model.base_params import Choose
from hallmark.params.loader import Params

TIMED = ("quantize", "sft", "dpo", "eval_base", "eval_tuned", "comparators")  # stages whose seconds depend on the base


@dataclass(frozen=True)
class Measured:
    words: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Run:
    """What an experiment measured of the tuned model: the share that is `right`, times at the first load, `minutes` in all."""

    experiment: str
    commit: str
    minutes: float
    measure: Measured
    right: float
    latency_p95_s: float | None
    requests_per_second: float
    verdict: str
    words: str
    served: str

    def price(self, per_hour: float | None) -> float | None:
        """What 1,000 right answers cost at the benchmark's throughput; None if no price is stated, or none was right."""
        if per_hour is None or not self.requests_per_second or not self.right:
            return None
        return 1000 * per_hour / 3600 / self.requests_per_second / self.right


@dataclass
class Row:
    """A base and how far it came: `excluded` by a limit, before its run or after it, or `error`, why its run failed."""

    facts: Facts
    excluded: Exclusion | None = None
    run: Run | None = None
    error: str | None = None
    price_per_1000_right: float | None = None

    @property
    def passes(self) -> bool:
        return self.run is not None and self.run.verdict in SHIPS and self.excluded is None

    @property
    def verdict(self) -> str:
        if self.run:
            return VERDICTS[self.run.verdict] + (f", but {self.excluded.constraint}" if self.excluded else "")
        if self.error:
            return "Run failed"
        return f"Excluded: {self.excluded.constraint}" if self.excluded else "Not run"

    @property
    def why(self) -> str:
        """Why it is not the one, or what the gate says; empty if there is nothing to say."""
        if self.excluded:
            return self.excluded.reason
        return self.error or (self.run.words if self.run else "")

    def measured(self, run: Run, limits: Choose, price_per_hour: float | None) -> None:
        """Note what its run measured, and which limit that breaks. What was not measured can't be within one."""
        self.run, self.price_per_1000_right = run, run.price(price_per_hour)
        p95, price = run.latency_p95_s, self.price_per_1000_right
        if (most := limits.latency_p95_s) is not None and (p95 is None or p95 > most):
            words = f"p95 {shown(p95, '.2f')} s; choose.latency_p95_s allows {most:.2f} s"
            self.excluded = Exclusion("latency", words)
        elif (most := limits.price_per_1000_right) is not None and (price is None or price > most):
            words = f"1,000 right answers cost {shown(price, ',.4g')}; choose.price_per_1000_right allows {most:,.4g}"
            self.excluded = Exclusion("price", words)


@dataclass
class Choice:
    """All bases in the order of params.yaml, and the name of the first that passes."""

    rows: list[Row]
    limits: Choose
    price_per_hour: float | None  # of the machine; None: not stated
    everything: bool  # whether those after the first that passes ran too
    dry: bool
    records: int
    warnings: list[str] = field(default_factory=list)

    @property
    def chosen(self) -> Row | None:
        return next((row for row in self.rows if row.passes), None)

    @property
    def headline(self) -> str:
        if self.chosen:
            return f"{self.chosen.facts.name} is the smallest base that will do."
        left = sum(row.excluded is None for row in self.rows)
        return f"{left} of {len(self.rows)} bases would run, smallest first." if self.dry else "No base passes."


def read(name: str, commit: str, params: Params) -> Run:
    """What the reports in an experiment's commit say; a HallmarkError if one is missing or not of its form."""
    comparison = report_in(commit, "comparison", Comparison)
    verdict = report_in(commit, "gate", Verdict)
    benchmark = report_in(commit, "benchmark", Benchmark)
    if (level := benchmark.first("tuned")) is None:
        remedy = "add tuned to benchmark.models"
        raise HallmarkError("the tuned model was not measured", param="benchmark.models", remedy=remedy)
    seconds = [report_in(commit, f"measured/{stage}", RAN).seconds for stage in TIMED]
    right = comparison.records - sum(failure.records for failure in comparison.tuned.failures)
    return Run(
        experiment=name,
        commit=commit,
        minutes=sum(seconds) / 60,
        measure=main_measure(comparison, list(params.gate.floors)),
        right=right / max(1, comparison.records),
        latency_p95_s=level.latency_s.p95,
        requests_per_second=level.requests_per_second,
        verdict=verdict.verdict,
        words=verdict.words,
        served=benchmark.taken(),
    )


def main_measure(comparison: Comparison, floors: Sequence[str]) -> Measured:
    rows = comparison.of_tuned.measures
    name = sweep.deciding(floors, rows)
    tuned = rows.get(name, Interval(0.0, 0.0, 0.0))
    return Measured(known_measures()[name].words, tuned.value, tuned.low, tuned.high)


def cells(row: Row) -> list[str]:
    """The row of the table. `~`: expected, not measured."""
    facts, run, price = row.facts, row.run, row.price_per_1000_right
    known = [
        facts.name,
        shown(facts.parameters and facts.parameters / 1e6, ",.0f"),
        shown(facts.tokens, ".0f"),
        shown(facts.memory.most[1] / GIB if facts.memory else None, ".1f"),
    ]
    if run is None:
        minutes = UNKNOWN if facts.planned_minutes is None else f"~{facts.planned_minutes:.1f}"
        return [*known, minutes, UNKNOWN, UNKNOWN, UNKNOWN, row.verdict]
    right = in_brackets(Interval(run.measure.value, run.measure.low, run.measure.high))
    return [*known, f"{run.minutes:.1f}", right, shown(run.latency_p95_s, ".2f"), shown(price, ",.4g"), row.verdict]


def table(choice: Choice) -> sweep.Table:
    """What terminal and reports/choose.md show; below the table, for each base why it is not the one."""
    measure = next((row.run.measure.words for row in choice.rows if row.run), "right")
    head = ("base", "M params", "tokens", "GiB", "minutes", f"{measure} %", "p95 s", "1,000 right", "verdict")
    notes = [
        f"{row.facts.name}: {text}"
        for row in choice.rows
        for text in [*([row.why] if row.why and not row.passes else []), *row.facts.notes]
    ]
    return sweep.Table(choice.headline, head, [cells(row) for row in choice.rows], [*choice.warnings, *notes])


def write(choice: Choice) -> list[str]:
    bases = [
        asdict(row) | {"verdict": row.verdict, "why": row.why, "passes": row.passes, "number": number}
        for number, row in enumerate(choice.rows, 1)
    ]
    report = {
        "bases": bases,
        "chosen": choice.chosen.facts.name if choice.chosen else None,
        "headline": choice.headline,
        "all": choice.everything,
        "limits": choice.limits.model_dump(exclude={"bases"}) | {"price_per_hour": choice.price_per_hour},
        "records": choice.records,
        "warnings": choice.warnings,
    }
    return sweep.write("choose", report, table(choice))
