"""What customers got from two releases: of each measure, the mean of each customer's requests.

A customer belongs to the release that answered him first. Whoever changes sides later (the share of the canary was
raised) is counted there alone, with the requests that it answered. Requests without a group count for their API key.

A request that prod answered, and the canary in the shadow, is a pair. Nobody judged what the canary said there, so what was
said of prod's answer says what is right. `wrong`, `slow` and `price` count pairs that both answered themselves: what a
fallback or a person would have made of the other is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from hallmark.judge.calibration import by_hash
from hallmark.service.traces.trace import Feedback

if TYPE_CHECKING:
    import polars as pl

SIDES = ("prod", "canary")
SURE, UNSURE = "sure", "unsure"
Means = list[tuple[float, float]]  # of each customer: now, and before the canary; nan if he was not there then
OUT = (SURE, "no_cascade")  # reasons with which a release's own answer goes out; with others, the fallback's may
Pair = tuple[float, float, float]  # of a customer: the canary's mean, at least and at most, and prod's
Same = Callable[[str, str], bool]  # whether two answers say the same
MEASURES = ("wrong", "complaints", "schema_breaks", "handed_over", "failed", "slow", "price")


@dataclass(frozen=True)
class Side:
    """The customers of one release: for each measure, a mean from 0 to 1 for each customer that has any.

    Each comes with the mean before the canary. `risk`: of those to whom the cascade let an answer out that was judged, the share of these that is wrong; None if
    the release has no cascade. `p95`: of seconds. A price of 1 is the most that is counted.
    """

    version: str
    requests: int
    customers: int
    judged: int
    means: dict[str, Means]
    risk: list[float] | None
    p95: float | None


@dataclass(frozen=True)
class Shadow:
    """The pairs: how many, of how many customers, how many with a known right answer; and the means of each measure."""

    requests: int
    customers: int
    judged: int
    means: dict[str, list[Pair]]


@dataclass(frozen=True)
class Live:
    """Both releases from one time to another. `changed_sides`: customers whom both answered."""

    prod: Side
    canary: Side
    shadow: Shadow
    changed_sides: int
    without_group: int


def first_answer(traces: pl.DataFrame, canary: str, since: datetime) -> datetime | None:
    """When the canary answered first, a caller or in the shadow. Until then, prod answers its customers too, the busiest above all."""
    import polars as pl

    own = pl.col("route").is_in(["canary", "shadow"]) & (pl.col("version") == canary) & (pl.col("time") >= since)
    found = traces.filter(own)["time"].min()
    return found if isinstance(found, datetime) else None


def live(
    traces: pl.DataFrame,
    feedback: Sequence[Feedback],
    versions: tuple[str, str],
    times: tuple[datetime, datetime, datetime],
    slow_seconds: float,
    price_at_most: float,
    same: Same | None = None,
) -> Live:
    """What was there of prod and canary, whose `versions` these are.

    `times`: from when on a customer's history counts, from when on the releases are compared, and until when. `same`: None
    if two answers may be right in different words.
    """
    import polars as pl

    history, since, until = times
    of_side = pl.lit(False)
    for side, version in zip(SIDES, versions, strict=True):
        of_side |= (pl.col("route") == side) & (pl.col("version") == version)
    between = (pl.col("time") >= since) & (pl.col("time") <= until)
    customer = (
        pl.when(pl.col("group").is_null())
        .then(pl.lit("key ") + pl.col("caller"))
        .otherwise(pl.lit("group ") + pl.col("group"))
    )
    traces = traces.with_columns(customer=customer)
    rows = traces.filter(of_side & between)
    first = rows.sort("time", "id").group_by("customer", maintain_order=True).agg(first=pl.col("route").first())
    sides_of = rows.group_by("customer").agg(pl.col("route").n_unique())
    rows = rows.join(first, on="customer").filter(pl.col("route") == pl.col("first"))
    began = min(since, first_answer(traces, versions[1], history) or since)  # from then on, arms may differ
    earlier = (pl.col("time") >= history) & (pl.col("time") < began) & (pl.col("route") == "prod")

    def measured(rows: pl.DataFrame, until: datetime) -> pl.DataFrame:
        rows = rows.join(_verdicts(feedback, until), left_on="id", right_on="trace", how="left", maintain_order="left")
        answered = pl.col("outcome") != "failed"
        went_out = (pl.col("outcome") != "handed_over") | pl.col("fallback").is_not_null()
        rows = rows.with_columns(judged_wrong=pl.when(went_out).then(pl.col("judged_wrong")))
        return rows.with_columns(
            wrong=pl.col("judged_wrong").cast(pl.Float64),
            complaints=pl.when(answered & went_out).then(
                pl.col("judged_wrong").fill_null(value=False).cast(pl.Float64)
            ),
            schema_breaks=(~pl.col("schema_valid")).cast(pl.Float64),
            handed_over=(answered & ~pl.col("reason").is_in(OUT)).cast(pl.Float64),
            failed=(~answered).cast(pl.Float64),
            slow=pl.when(answered).then((pl.col("total_s") > slow_seconds).cast(pl.Float64)),
            price=pl.col("price").clip(0, price_at_most) / price_at_most,
        )

    asked, shown = (
        traces.filter(between & (pl.col("route") == route) & (pl.col("version") == version))
        for route, version in (("shadow", versions[1]), ("prod", versions[0]))
    )
    masking = shown.select("request", masking=pl.col("masking_s").fill_null(0))  # once, for both
    asked = asked.join(masking, on="request").with_columns(total_s=pl.col("total_s") + pl.col("masking"))
    pairs = measured(asked, until).join(measured(shown, until), on="request", suffix="_prod")
    rows, before = measured(rows, until), _means(measured(traces.filter(earlier), began))
    prod, canary = (
        _side(rows.filter(pl.col("route") == side), before, version)
        for side, version in zip(SIDES, versions, strict=True)
    )
    changed, without = int((sides_of["route"] > 1).sum()), int(rows["group"].is_null().sum())
    return Live(prod, canary, _shadow(pairs, same), changed, without)


def _verdicts(feedback: Sequence[Feedback], until: datetime) -> pl.DataFrame:
    """Whether the answer of each judged trace was wrong, and what is right, if that was said; the last word counts."""
    import polars as pl

    last = {one.trace: one for one in sorted(feedback, key=lambda one: one.time) if one.time <= until}
    said = [(one.trace, one.verdict != "accepted", one.target) for one in last.values()]
    schema = {"trace": pl.String, "judged_wrong": pl.Boolean, "target": pl.String}
    return pl.DataFrame(said, schema=schema, orient="row")


def _shadow(rows: pl.DataFrame, same: Same | None) -> Shadow:
    """What pairs say: a row each, with prod's columns as `..._prod`."""
    import polars as pl

    themselves = pl.lit(True)
    for side in ("", "_prod"):
        themselves &= (pl.col(f"outcome{side}") == "answered") & pl.col(f"reason{side}").is_in(OUT)
    rows = rows.with_columns(pl.when(themselves).then(pl.col("wrong_prod", "slow", "price")))
    known = rows.select("answer", "answer_prod", "target_prod", "wrong_prod").rows()
    ends = [inherited(*values, same=same) if same and values[3] is not None else (None, None) for values in known]
    of_wrong = pl.DataFrame(ends, schema={"wrong": pl.Float64, "wrong_most": pl.Float64}, orient="row")
    rows, means = rows.with_columns(of_wrong.get_columns()), {}
    for name in MEASURES:
        columns = [name, "wrong_most" if name == "wrong" else name, f"{name}_prod"]
        finite = pl.all_horizontal(pl.col(column).is_finite() for column in columns)
        found = rows.filter(finite if name != "complaints" else pl.lit(False)).group_by("customer")
        of = found.agg(pl.col(column).mean().alias(f"{at}") for at, column in enumerate(columns)).sort("customer")
        means[name] = of.drop("customer").rows()
    judged = int(rows["wrong"].is_not_null().sum())
    return Shadow(rows.height, rows["customer"].n_unique(), judged, means)


def inherited(shadow: str, prod: str, target: str | None, wrong: float, *, same: Same) -> tuple[float, float]:
    """Whether the shadow's answer is wrong, at least and at most, by what was said of prod's (`wrong`; `target`: corrected).

    An answer that was rejected without the right one may have been wrong, as prod's was, or right.
    """
    if same(shadow, prod):
        return wrong, wrong
    if not wrong:
        return 1.0, 1.0
    if target is None:
        return 0.0, 1.0
    found = float(not same(shadow, target))
    return found, found


def _side(rows: pl.DataFrame, before: pl.DataFrame, version: str) -> Side:
    import polars as pl

    cascaded = rows.filter(pl.col("reason").is_in([SURE, UNSURE]))
    out = rows.filter((pl.col("reason") == SURE) & (pl.col("outcome") == "answered"))
    means = _means(rows).join(before, on="customer", how="left", suffix="_before", maintain_order="left")
    rates = {customer: wrong for customer, wrong in _means(out).select("customer", "wrong").rows() if wrong is not None}
    timed = rows.filter((pl.col("outcome") != "failed") & pl.col("total_s").is_finite())
    return Side(
        version=version,
        requests=rows.height,
        customers=rows["customer"].n_unique(),
        judged=int(rows["judged_wrong"].is_not_null().sum()),
        means={
            name: [
                (now, math.nan if earlier is None else earlier)
                for now, earlier in means.select(name, f"{name}_before").rows()
                if now is not None
            ]
            for name in MEASURES
        },
        risk=[rates[customer] for customer in by_hash([*rates], 0, "bets")] if cascaded.height else None,
        p95=timed["total_s"].quantile(0.95, "higher"),
    )


def _means(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each customer, the mean of each measure; null if there is no value."""
    import polars as pl

    finite = [pl.col(name).filter(pl.col(name).is_finite()).mean() for name in MEASURES]
    return rows.group_by("customer").agg(finite).sort("customer")
