"""What can answer a user, put together from what earlier stages measured of each: quality, failures, latency and price."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hallmark.answer.measures import COMMON
from hallmark.base.errors import HallmarkError
from hallmark.base.figures import percent, share
from hallmark.base.files import REPORTS
from hallmark.base.reports import Amount, Report, shape
from hallmark.base.stats import Interval
from hallmark.judge.benchmarked import Benchmark, Quantiles
from hallmark.judge.cascade import CascadeReport
from hallmark.judge.comparison import Comparison, MeasureAlone, Model
from hallmark.judge.decision import Failed, Gate, Handed, Kind, Main, Option, Source, per_right
from hallmark.judge.judge import WORST, Asked, Judge, ceiling, floor
from hallmark.judge.reported import read_metrics
from hallmark.task.kinds import KINDS

if TYPE_CHECKING:
    from hallmark.params.loader import Params

HOUR = 3600  # seconds
FORM = {"parses", "schema_validity"}  # measures that a wrong answer meets too


@dataclass(frozen=True)
class Cost:
    """The latency of an option and its price for 1,000 requests, each with where it is from, named as in `Option`."""

    latency_p95_s: float | None
    latency_from: Source
    price_per_1000: float | None
    price_from: Source
    in_batches: float | None = None

    def of(self, exact_match: Interval | None) -> dict[str, Any]:
        """The same as fields of an option that gets this share right."""
        return vars(self) | {"price_per_1000_right": per_right(self.price_per_1000, exact_match)}


BOUGHT = shape(price=(shape(per_1000=Amount | None) | None, None), latency_s=(Quantiles | None, None))
TOOK = shape(answer_seconds=Amount)


def read_options(params: Params, comparison: Comparison, benchmark: Benchmark) -> list[Option]:
    """The options that answer by themselves: the tuned model first, then the base, the linear model and the comparators; and
    the cascade."""
    base, *comparators, tuned = comparison.models
    if {model.name for model in comparators} != {*params.eval.comparators}:
        problem = "about other comparators than eval.comparators"
        raise HallmarkError(problem, file=REPORTS / "comparison.json", remedy="run `dvc repro comparators compare`")
    main = main_measure(params, comparison)
    right = comparison.against.classical.right
    own = model_option("tuned", tuned, main, served(params, benchmark, tuned))
    options = [
        replace(own, labels=right.tuned if right else None),
        model_option("base", base, main, served(params, benchmark, base)),
        *linear_option(params, comparison),
        *(model_option("comparator", model, main, bought_or_here(params, model)) for model in comparators),
    ]
    return [judged(params, comparison, option) for option in options + cascade_option(options, benchmark)]


def judged(params: Params, comparison: Comparison, option: Option) -> Option:
    """The option, and whether it keeps the floors and ceilings of the gate: those that it is measured by, judged as the gate does.

    Where nothing but the form of an answer has a floor, a class must be right more often than the most frequent one would be.
    """
    gate, model = params.gate, next((model for model in comparison.models if model.name == option.name), None)
    if model:
        measures, rates = model.measures, model.rates
    else:
        measures, rates = {"exact_match": option.exact_match} if option.exact_match else {}, {}
    words = {row.name: row.words for row in comparison.tuned.measures if not row.given}
    asked = [(floor(name, words[name], gate.floors[name]), measures[name]) for name in gate.floors if name in {*words} & {*measures}]  # fmt: skip
    usual = next((label.floor for label in comparison.against.classical.labels), None)
    if KINDS[params.task.kind].listed and measures and usual is not None and not {*gate.floors} & {*measures} - FORM:
        needed = f"more than the most frequent class gets right, {percent(round(usual, 3))}"
        about = Asked("floor.exact_match", words["exact_match"], needed, ">", usual, "share")
        asked.append((about, measures["exact_match"]))
    asked += [(ceiling(name, gate.ceilings[name]), rates[name]) for name in gate.ceilings if name in rates]
    judge = Judge(gate, option.paired, option.groups)
    rules = [judge(it, found, WORST, share) for it, found in asked if it.name not in gate.waive]
    outcomes: tuple[Gate, Gate] = ("fail", "too_little_data")
    for outcome, rule in ((outcome, rule) for outcome in outcomes for rule in rules if rule.outcome == outcome):
        said = f"{rule.about[0].lower()}{rule.about[1:]} {rule.measured}, needed: {rule.needed}"
        return replace(option, limits=outcome, missed=said)
    return option


def main_measure(params: Params, comparison: Comparison) -> MeasureAlone | None:
    """The measure by which this kind of task is known: the last of its own, else the F1 of fields; None if it has neither."""
    measured = {measure.name: measure for measure in comparison.tuned.measures}
    own = reversed(KINDS[params.task.kind].measures)
    common = (measure for measure in COMMON.values() if measure.statistic == "f1")  # of the fields
    return next((measured[measure.name] for measure in (*own, *common) if measure.name in measured), None)


def model_option(kind: Kind, model: Model, main: MeasureAlone | None, cost: Cost) -> Option:
    """The tuned model, the base or a comparator, on the records that it answered."""
    exact = model.measures["exact_match"]
    return Option(
        name=model.name,
        title=model.title,
        kind=kind,
        opponent=model.opponent,
        records=model.records,
        exact_match=exact,
        main=Main(main.name, main.words, model.measures[main.name]) if main else None,
        failures=[Failed(name, records) for name, records in model.failed.items()],
        lead=model.lead,
        paired=model.records,
        groups=model.groups,
        **cost.of(exact),
    )


def linear_option(params: Params, comparison: Comparison) -> list[Option]:
    """The linear model, if the task has labels. Only where a label is the whole answer does it answer at all."""
    found = comparison.against.classical.right
    if found is None:
        return []
    answers = KINDS[params.task.kind].listed
    exact = found.classical if answers else None
    seconds = Report("measured/classical", "classical").as_(shape(seconds=Amount)).seconds
    return [
        Option(
            name="classical",
            title="Linear",
            kind="linear",
            opponent="the linear model",
            records=found.records,
            exact_match=exact,
            labels=found.classical,
            lead=found.difference if answers else None,
            paired=found.records,
            groups=comparison.groups,
            **here(params, seconds, found.records).of(exact),
        )
    ]


def cascade_option(options: list[Option], benchmark: Benchmark) -> list[Option]:
    """Tuned model and fallback as one, if there is a threshold. Each request costs the tuned model's price, and each that
    is handed over what the fallback asks, too: both as served or bought, or both in batches."""
    report = Report("cascade").as_(CascadeReport)
    system = report.system
    if system is None:
        return []
    fallback = next((option for option in options if option.name == system.fallback), None)
    human, batches = report.human_price, fallback is not None and fallback.price_from == "batches"
    own = options[0].in_batches if batches else options[0].price_per_1000
    theirs = fallback.price_per_1000 if fallback else None if human is None else 1000 * human
    handed_over = 1 - system.coverage.value
    price = None if own is None or theirs is None else round(own + handed_over * theirs, 6)
    latency = one_after_the_other(benchmark, fallback)
    cost = Cost(
        latency,
        "none" if latency is None else "at_most",
        price,
        "none" if price is None else "batches" if batches else "served",
        price if batches else None,
    )
    return [
        Option(
            name="cascade",
            title="Cascade",
            kind="cascade",
            opponent=f"the cascade with {fallback.opponent if fallback else 'a person'}",
            records=system.records,
            exact_match=system.exact_match,
            lead=opposite(system.over_tuned),
            paired=system.records,
            groups=system.groups,
            handed=Handed(
                to=system.fallback,
                alone=system.coverage.value,
                wrong_at_most=report.max_risk,
                confidence=report.confidence,
                behind=opposite(system.over_fallback) if fallback else None,
            ),
            **cost.of(system.exact_match),
        )
    ]


def one_after_the_other(benchmark: Benchmark, fallback: Option | None) -> float | None:
    """Seconds within which 95 of 100 requests are answered: the tuned model first, then the fallback for what it hands over.

    At most 1 % of the requests take the model longer than its p99, and 1 % the fallback longer than its own, also if those
    are the ones handed over: so the sum is enough. None without both, and for a person.
    """
    first = slowest(benchmark, "tuned")
    if fallback is None or first is None:
        return None
    if fallback.latency_from == "bought":
        own = read_metrics(fallback.name).as_(BOUGHT).latency_s
        second = own.p99 if own else None
    else:
        second = slowest(benchmark, fallback.name)
    return None if second is None else round(first + second, 4)


def slowest(benchmark: Benchmark, model: str) -> float | None:
    """The p99 of a model's latency at the benchmark's first level; None if it was not served."""
    level = benchmark.first(model)
    return level.latency_s.p99 if level else None


def opposite(difference: Interval) -> Interval:
    return Interval(0.0 - difference.value, 0.0 - difference.high, 0.0 - difference.low)


def served(params: Params, benchmark: Benchmark, model: Model) -> Cost:
    """What the benchmark's first level says of the base or the tuned model; else what answering the holdout took."""
    timing = Report(f"measured/eval_{model.name}", f"eval@{model.name}").as_(TOOK)
    batches, level = here(params, timing.answer_seconds, model.records), benchmark.first(model.name)
    if level is None:
        return batches
    latency, rate = level.latency_s.p95, level.requests_per_second
    price = per_thousand(params, 1, rate) if rate > 0 else None
    return Cost(
        latency,
        "none" if latency is None else "served",
        price,
        "none" if price is None else "served",
        batches.price_per_1000,
    )


def bought_or_here(params: Params, model: Model) -> Cost:
    """What a comparator costs: what it states of itself if its answers are bought, else what this machine took."""
    report = read_metrics(model.name)
    own = report.as_(BOUGHT)
    if params.eval.comparators[model.name].kind == "endpoint" or "price" in report.content:
        price, latency = own.price.per_1000 if own.price else None, own.latency_s.p95 if own.latency_s else None
        return Cost(latency, "none" if latency is None else "bought", price, "none" if price is None else "bought")
    took = Report("measured/comparators", "comparators").as_(TOOK, model.name)
    return here(params, took.answer_seconds, model.records)


def here(params: Params, seconds: float, records: int) -> Cost:
    """What this machine's time costs, if it took that long to answer these records in batches."""
    price = per_thousand(params, seconds, records)
    return Cost(None, "batches", price, "none" if price is None else "batches", price)


def per_thousand(params: Params, seconds: float, records: float) -> float | None:
    """The price of 1,000 requests if this machine took these seconds for that number of records; None if it has no stated price."""
    per_hour = params.benchmark.price_per_hour
    return None if per_hour is None else round(1000 * per_hour / HOUR * seconds / records, 6)
