"""A corpus's row of docs/results.md, from the reports of its stamped repo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import write_text
from hallmark.base.machine import describe
from hallmark.base.reading import read_object
from hallmark.judge.verdict import VERDICTS
from tests.bench.corpora.causes import causes
from tests.bench.corpora.causes import table as causes_table
from tests.bench.corpora.recipe import Recipe
from tests.workspace import ROOT

PAGE = ROOT / "docs/results.md"
LINEAR = "linear"  # what the linear model is called here: its labels count, since it predicts nothing else
NAMES = {
    LINEAR: "linear model, labels",
    "few_shot": "few-shot",
}  # of a model, if it is shown otherwise


def figures(repo: Path, seconds: float) -> dict[str, Any]:
    """What a finished repo found: records and groups, what each model got right, verdict, machine; `seconds` it took."""
    reports = repo / "reports"
    split = read_object(reports / "split.json")
    right, fields = {}, {}
    comparison = read_object(reports / "comparison.json")
    against = comparison["against"]
    others = [
        (one["name"], one["records"], one["measures"], "other") for one in (against["base"], *against["comparators"])
    ]
    for name, records, measures, side in (
        *others,
        ("tuned", comparison["records"], comparison["tuned"]["measures"], "tuned"),
    ):
        found = {measure["name"]: measure[side] for measure in measures}
        right[name] = found["exact_match"] | {"records": records}
        if f1 := found.get("field_f1"):
            fields[name] = f1
    if linear := against["classical"]["right"]:
        right[LINEAR] = linear["classical"] | {"records": linear["records"]}
    return {
        "rows": read_object(reports / "mask.json")["rows"],
        "parts": {part: [split["rows"][part], split["groups"][part]] for part in ("train", "holdout")},
        "right": right,
        "fields": fields,
        "causes": causes(reports / "eval/tuned/predictions.jsonl") if "tuned" in fields else {},
        "verdict": read_object(reports / "gate.json")["verdict"],
        "minutes": round(seconds / 60, 1),
        "machine": describe(read_object(reports / "measured/sft.json")["fingerprint"]),
    }


def table(found: dict[str, Any]) -> str:
    """What every model got right, with intervals, as a table."""
    held, groups = found["parts"]["holdout"]
    head = [
        f"| of {held:,} records in {groups:,} groups that training never saw | exact match | field F1 |",
        "| --- | --- | --- |",
    ]
    rows = [
        f"| {name_of(who, rate, held)} | {percent(rate)} | {percent(found['fields'][who]) if who in found['fields'] else ''} |"
        for who, rate in sorted(found["right"].items(), key=lambda item: item[1]["value"])
    ]
    return "\n".join([*head, *rows])


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
        command(name),
    ]
    return f"| {' | '.join(cells)} |"


def command(name: str) -> str:
    """The command that makes a corpus's row, which also marks the row."""
    return f"`nox -s corpora -- {name}`"


def write_row(name: str, recipe: Recipe, found: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put the row into docs/results.md: over the one that its command made before, or first in the table.

    Print it, and what each model got right.
    """
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    new = line(name, recipe, found, changes)
    at = next((at for at, old in enumerate(lines) if old.endswith(f"| {command(name)} |")), None)
    if at is not None:
        lines[at] = new
    else:
        head = next((at for at, old in enumerate(lines) if old.startswith("| corpus |")), None)
        if head is None:
            raise HallmarkError(
                "has no table of corpora", file=PAGE, remedy="restore the page: `git checkout docs/results.md`"
            )
        lines.insert(head + 2, new)
    write_text(PAGE, "\n".join(lines) + "\n")
    print(f"{new}\n\n{table(found)}")
    if found["causes"]:
        print(f"\n{causes_table(found['causes'])}")
