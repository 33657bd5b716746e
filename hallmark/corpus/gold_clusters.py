"""Labelled duplicates, by which the clusters of duplicates are measured."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import read_json_lines
from hallmark.corpus.duplicates import SHOWN

if TYPE_CHECKING:
    import polars as pl


def compare_with_gold(path: Path, rows: pl.DataFrame, named: Callable[[str], str] = str) -> dict[str, Any]:
    """Precision and recall of the clusters, over pairs of records, against gold rows with `id`, `cluster`, `kind`.

    Gold rows have the names of the records, or raw ids, which `named` turns into those.
    `wrong_drops` counts the records dropped as copies that have no copy according to the gold rows.
    """
    known = dict(rows.select("id", "cluster").iter_rows())
    gold: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    for number, row in enumerate(read_json_lines(path, "write JSON lines with id, cluster and kind"), 1):
        for key in ("id", "cluster", "kind"):
            if not isinstance(row.get(key), str):
                raise HallmarkError("not a text", file=path, row=number, field=key, remedy="give id, cluster and kind")
        if row["id"] in seen:
            raise HallmarkError(
                "the id has a row already", file=path, row=number, field="id", remedy="keep one of the two"
            )
        seen.add(row["id"])
        if (name := row["id"] if row["id"] in known else named(row["id"])) in known:
            gold[name] = row["cluster"], row["kind"]
    if not seen:
        raise HallmarkError("has no rows", file=path, remedy="label some duplicates, or set dedupe.gold to null")
    both = [(cluster, gold.get(name, (name, ""))[0]) for name, cluster in known.items()]
    exact = [(known[name], cluster) for name, (cluster, kind) in gold.items() if kind == "exact"]
    right, right_exact = _pairs(both), _pairs(exact)
    found, true, true_exact = (_pairs(row[side] for row in rows) for rows, side in ((both, 0), (both, 1), (exact, 1)))
    shared = {pair for pair, count in Counter(both).items() if count > 1}
    gone = rows.filter(rows["cause"].is_in(["exact", "near"]))["id"]
    return {
        "pairs": {"gold": true, "found": found, "right": right},
        "precision": round(right / found, 6) if found else None,
        "recall": round(right / true, 6) if true else None,
        "recall_by_kind": {
            "exact": round(right_exact / true_exact, 6) if true_exact else None,
            "near": round((right - right_exact) / (true - true_exact), 6) if true > true_exact else None,
        },
        "wrong_drops": sum((known[name], gold.get(name, (name, ""))[0]) not in shared for name in gone),
        "missed": _apart({name: cluster for name, (cluster, _) in gold.items()}, known),
        "wrong": _apart(known, {name: gold.get(name, (name, ""))[0] for name in known}),
    }


def _pairs(keys: Iterable[Any]) -> int:
    return sum(count * (count - 1) // 2 for count in Counter(keys).values())


def _apart(cluster_of: dict[str, str], other: dict[str, str]) -> list[tuple[str, str]]:
    """Some pairs that share a cluster here but not in the other clustering."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, cluster in sorted(cluster_of.items()):
        groups[cluster].append(name)
    mixed = (names for names in groups.values() if len({other[name] for name in names}) > 1)
    pairs = (pair for names in mixed for pair in combinations(names, 2) if other[pair[0]] != other[pair[1]])
    return list(islice(pairs, SHOWN))
