"""A corpus's row of docs/results.md, from the reports of its stamped repo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hallmark.base.machine import describe
from hallmark.base.reading import read_object
from hallmark.judge.verdict import VERDICTS
from tests.bench.corpora.recipe import Recipe

LINEAR = "linear"  # what the linear model is called here: its labels count, since it predicts nothing else
NAMES = {LINEAR: "linear model, labels", "few_shot": "few-shot"}  # of a model, if it is shown otherwise


def figures(repo: Path, seconds: float) -> dict[str, Any]:
    """What a finished repo found: records and groups, what each model got right, verdict, machine; `seconds` it took."""
    reports = repo / "reports"
    split = read_object(reports / "split.json")
    right = {}
    comparison = read_object(reports / "comparison.json")
    against = comparison["against"]
    others = [
        (one["name"], one["records"], one["measures"], "other") for one in (against["base"], *against["comparators"])
    ]
    for name, records, measures, side in (
        *others,
        ("tuned", comparison["records"], comparison["tuned"]["measures"], "tuned"),
    ):
        exact = next(measure[side] for measure in measures if measure["name"] == "exact_match")
        right[name] = exact | {"records": records}
    if linear := against["classical"]["right"]:
        right[LINEAR] = linear["classical"] | {"records": linear["records"]}
    return {
        "parts": {part: [split["rows"][part], split["groups"][part]] for part in ("train", "holdout")},
        "right": right,
        "verdict": read_object(reports / "gate.json")["verdict"],
        "minutes": round(seconds / 60, 1),
        "machine": describe(read_object(reports / "measured/sft.json")["fingerprint"]),
    }


def name_of(model: str, rate: dict[str, float], held: int) -> str:
    """A model as the tables call it, with the number of records that it was asked if those are not all."""
    few = f" (of {rate['records']:,} records)" if rate["records"] != held else ""
    return NAMES.get(model, model.replace("_", " ")) + few


def percent(rate: dict[str, float]) -> str:
    """`50.0 % [40.0, 60.0]`."""
    return f"{100 * rate['value']:.1f} % [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def line(name: str, recipe: Recipe, found: dict[str, Any], changes: Mapping[str, Any]) -> str:
    """The row of the table in docs/results.md; `changes` are params that were set for the machine."""
    (train, _), (held, groups) = found["parts"]["train"], found["parts"]["holdout"]
    right = dict(found["right"])
    tuned = right.pop("tuned")
    bars = ", ".join(f"{name_of(who, rate, held)} {100 * rate['value']:.1f} %" for who, rate in right.items())
    cells = [
        recipe.title,
        f"{recipe.kind}: {train:,} records train, {held:,} of {groups:,} groups are held out",
        bars,
        f"**{percent(tuned)}**",
        VERDICTS[found["verdict"]].lower(),
        recipe.looked_at,
        "; ".join([found["machine"], *(f"`{param}: {value}`" for param, value in changes.items())]),
        f"{found['minutes']:.0f}",
        f"`nox -s corpora -- {name}`",
    ]
    return f"| {' | '.join(cells)} |"
