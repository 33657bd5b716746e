"""The split compared with a random one, on real conversations: `python -m tests.bench.split`."""

from __future__ import annotations

import contextlib
import json
import tempfile
from typing import Any

import polars as pl

from hallmark.base.files import REPORTS
from hallmark.data.near import normalise, text_of
from hallmark.data.params import Dedupe
from hallmark.params.loader import Params
from stages import dedupe, split
from tests.bench.dedupe import REAL, brute_force
from tests.bench.page import show, table
from tests.rows import params_with, record
from tests.rows import write_masked as write_rows


def main() -> None:
    """Print the comparison."""
    show("Split", conversations())


def conversations() -> str:
    """What leaks on MultiDoGO, by our split and by others."""
    if not REAL.exists():
        return "The real conversations (`../shared/realdata`) were not there: no table of leaks."
    records = multidogo()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        report = splitted(records, params_with())
        rows = json.loads((REPORTS / "dedupe.json").read_text())["rows"]
        left = brute_force_leaks(params_with().dedupe)
    official = official_leaks()
    random = report["random_row_split"]
    lines = [
        ["random rows, nothing dropped", *shares(random["before_dedupe"]), "not counted"],
        ["the authors' split by conversation", *shares(official), "not counted"],
        ["random rows after dedupe", *shares(random["after_dedupe"]), random["after_dedupe"]["near_text"]],
        ["ours", report["rows"]["holdout"] + report["rows"]["validation"], 0.0, 0.0, left],
    ]
    cost = sum(count for counts in report["dropped"].values() for count in counts.values())
    return (
        f"MultiDoGO, {rows['in']:,} short turns of {len({row['group'] for row in records}):,} conversations. "
        "How many of the held-out rows (holdout and validation) share something with a training row:\n\n"
        f"{table(['split', 'held out', 'share of a known group', 'share of a known text', 'rows near one'], lines)}\n"
        f"What it costs: dedupe keeps {rows['out']:,} rows, and the leak check drops {cost} of them. Our counts "
        "were verified by brute force over all pairs of texts."
    )


def splitted(records: list[dict[str, Any]], params: Params) -> dict[str, Any]:
    """Deduplicate and split in this folder; the report."""
    write_rows(records)
    dedupe.run(params)
    split.run(params)
    report: dict[str, Any] = json.loads((REPORTS / "split.json").read_text())
    return report


def shares(leaks: dict[str, int]) -> list[float]:
    """Held-out rows, and the shares of them that leak."""
    return [leaks["held_out"], *(leaks[key] / leaks["held_out"] for key in ("same_group", "same_text"))]


def multidogo() -> list[dict[str, Any]]:
    """The turns as records: the conversation is the group, the intent the target."""
    lines = (REAL / "multidogo_software.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [record(row["id"], row["text"], row["intent"] or "none", row["conversation"]) for row in rows]


def official_leaks() -> dict[str, int]:
    """What the authors' own split shares between its training and its other turns."""
    lines = (REAL / "multidogo_software.jsonl").read_text(encoding="utf-8").splitlines()
    frame = pl.DataFrame([json.loads(line) for line in lines], schema=["text", "conversation", "official_split"])
    frame = frame.with_columns(text=normalise(pl.col("text")))
    train = pl.col("official_split") == "train"
    held, known = frame.filter(~train), frame.filter(train)
    return {
        "held_out": len(held),
        "same_group": held["conversation"].is_in(known["conversation"].unique().to_list()).sum(),
        "same_text": held["text"].is_in(known["text"].unique().to_list()).sum(),
    }


def brute_force_leaks(settings: Dedupe) -> int:
    """Pairs of the written parts that are near each other and on two sides, over all pairs of texts."""
    parts = [pl.read_parquet(path).with_columns(side=pl.lit(side)) for side, path in split.FILES.items()]
    frame = pl.concat(parts).select("side", text=normalise(text_of("prompt")))
    sides = frame["side"].to_list()
    return sum(sides[one] != sides[two] for one, two in brute_force(frame["text"].to_list(), settings))


if __name__ == "__main__":
    main()
