"""Split the records by whole groups into train, validation and a frozen holdout: `python -m stages.split`.

The holdout is exactly the records named in `data/holdout.lock.json`; if that file doesn't exist, the holdout is drawn
and the file written. `python -m stages.split --refreeze` draws a new one; its scores don't compare with earlier ones.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from stages.core.errors import HallmarkError, run_stage
from stages.core.files import (
    DEDUPED,
    HOLDOUT,
    HOLDOUT_LOCK,
    MASKED,
    REPORTS,
    TRAIN,
    VALIDATION,
    json_bytes,
    write_all,
)
from stages.core.measured import measured
from stages.core.records import parquet, scan_records
from stages.corpus.grouping import assign, digest, draw_hash
from stages.corpus.leaks import count_leaks, drop_leaks
from stages.corpus.near import distinct, near_pairs, normalise, text_of
from stages.params.loader import Params, load_params
from stages.tasks.task import Task

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

FILES = {"train": TRAIN, "validation": VALIDATION, "holdout": HOLDOUT}
REFREEZE = "draw a new holdout with `python -m stages.split --refreeze` (scores before and after don't compare)"


def run(params: Params, refreeze: bool = False) -> None:
    """Read the deduplicated records and the lock if it exists; write the parts, the lock and the report."""
    import polars as pl

    with measured("split") as measure:
        near = params.dedupe
        lock = read_lock() if HOLDOUT_LOCK.exists() and not refreeze else None
        frozen = set(lock["records"]) if lock else set()
        rows, restored = read(frozen)
        if lock:
            check_frozen(lock["records"], rows)
        sides, cut = assign(rows, frozen, lock["validation"] if lock else None, params.split)
        texts, text = distinct(rows["text"])
        pairs = near_pairs(
            texts, size=near.shingle, threshold=near.threshold, permutations=near.permutations, file=DEDUPED
        )
        sides, dropped = drop_leaks(sides, text, pairs)
        check_not_empty(sides)
        rows = rows.with_columns(side=pl.Series(sides))
        hashes = hashes_of(rows.filter(pl.col("side") == "holdout"))
        written = {} if lock else {HOLDOUT_LOCK: json_bytes({"records": hashes, "validation": cut, "version": 1})}
        groups, salt = distinct(rows["group"])[1], params.split.salt
        leaks = count_leaks(sides, text, pairs, groups)
        held = leaks.pop("held_out") / len(rows)
        before = scan_records(MASKED).select("id", "group", text=normalise(text_of("prompt"))).collect()
        report = {
            "rows": {side: int((sides == side).sum()) for side in FILES},
            "groups": {side: rows.filter(pl.col("side") == side)["group"].n_unique() for side in FILES},
            "largest_group_share": round(max(Counter(groups.tolist()).values()) / len(rows), 6),
            "dropped": dropped,
            "held_back": int((sides == "held back").sum()),
            "restored": len(restored),
            "near_missed_at_threshold": round(pairs.missed, 6),
            "leaks": sum(leaks.values()),
            "holdout_unchanged": lock is None or hashes == lock["records"],
            "random_row_split": {
                "after_dedupe": count_leaks(random_sides(rows["id"], held, salt), text, pairs, groups),
                "before_dedupe": count_leaks(
                    random_sides(before["id"], held, salt),
                    distinct(before["text"])[1],
                    None,
                    distinct(before["group"])[1],
                ),
            },
            "balance": balance(rows, Task(params.task)),
        }
        parts = {path: parquet(full_records(rows.filter(side=side), restored)) for side, path in FILES.items()}
        # The lock comes last: a run stopped before that has frozen nothing.
        write_all({**parts, REPORTS / "split.json": json_bytes(report), **written})
        measure["rows"] = len(rows)
    log.info("rows: %s; dropped as leaks: %s", report["rows"], dropped)


def read(frozen: set[str]) -> tuple[pl.DataFrame, set[str]]:
    """The records by id, and which frozen records were restored from the state before deduplication.

    New data may contain a duplicate of a frozen record that deduplication keeps instead of it. The holdout takes
    precedence, so the record is restored here from `data/masked.parquet`, and its new duplicate is dropped as a leak.
    """
    import polars as pl

    columns = {
        "text": normalise(text_of("prompt")),
        "content": text_of("prompt", "completion"),
        "target": pl.col("completion").list.last().struct.field("content"),
    }
    rows = scan_records(DEDUPED).select("id", "group", "cluster", **columns).collect()
    missing = frozen - set(rows["id"].to_list())
    if missing:
        restored = scan_records(MASKED).filter(pl.col("id").is_in(list(missing)))
        rows = pl.concat([rows, restored.select("id", "group", cluster="id", **columns).collect()])
    return rows.sort("id"), missing & set(rows["id"].to_list())


def full_records(part: pl.DataFrame, restored: set[str]) -> pl.DataFrame:
    """The records with the ids in `part`, all columns, sorted by id."""
    import polars as pl

    records = [scan_records(DEDUPED)]
    if restored:
        extra = scan_records(MASKED).filter(pl.col("id").is_in(list(restored))).with_columns(cluster="id")
        records.append(extra.select(records[0].collect_schema().names()))
    return pl.concat(records).join(part.lazy().select("id"), on="id", how="semi").sort("id").collect()


def read_lock() -> dict[str, Any]:
    """The lock: `records` (id: hash of group, texts and target) and `validation` (the cutoff of its draw)."""
    try:
        lock = json.loads(HOLDOUT_LOCK.read_text(encoding="utf-8"))
        if lock["version"] != 1 or not lock["records"] or lock["validation"].keys() < {"salt", "share", "below"}:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise HallmarkError(
            "not a holdout lock", file=HOLDOUT_LOCK, remedy=f"restore it (`git checkout {HOLDOUT_LOCK}`); or {REFREEZE}"
        ) from None
    return dict(lock)


def check_frozen(frozen: dict[str, str], rows: pl.DataFrame) -> None:
    """Stop if a frozen record is missing or has changed."""
    import polars as pl

    now = hashes_of(rows.filter(pl.col("id").is_in(list(frozen))))
    missing = sorted(frozen.keys() - now.keys())
    changed = sorted(name for name in now if now[name] != frozen[name])
    if missing or changed:
        raise HallmarkError(
            f"of {len(frozen)} frozen holdout records, {len(changed)} have changed and {len(missing)} are missing "
            f"(such as {', '.join([*missing, *changed][:5])})",
            file=HOLDOUT_LOCK,
            remedy=f"restore them in data.path, or the data and mask parameters that made them; or {REFREEZE}",
        )


def hashes_of(rows: pl.DataFrame) -> dict[str, str]:
    """A hash of each record's group, texts and target, by id. The system prompt is left out: it may change."""
    return {name: digest(group, content) for name, group, content in rows.select("id", "group", "content").iter_rows()}


def check_not_empty(sides: Array) -> None:
    """Stop if a side has no rows."""
    for side in FILES:
        if not (sides == side).any():
            raise HallmarkError(
                f"no record is left for {side}",
                file=DEDUPED,
                remedy="add records of more groups, change split.salt, or raise dedupe.threshold; "
                f"if new data is too similar to the frozen holdout, {REFREEZE}",
            )


def random_sides(names: pl.Series, share: float, salt: str) -> Array:
    """The sides of a split that draws rows instead of groups, by a hash of their ids."""
    import numpy as np

    order = np.argsort([draw_hash(salt, "row", name) for name in names.to_list()])
    sides = np.full(len(names), "train", dtype="<U7")
    sides[order[: round(share * len(names))]] = "holdout"
    return sides


def balance(rows: pl.DataFrame, task: Task) -> dict[str, Any]:
    """Share of each value of the target's enums and booleans, and of answers and refusals (`(kind)`), on each side.

    `difference` has, for each field, the largest difference in share between train and holdout.
    """
    fields = list(enums(task.schema or {}))
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for side, target in rows.select("side", "target").iter_rows():
        if side in FILES:
            parsed = task.parse(target)
            counts["(kind)", side][parsed.kind] += 1
            for path in fields if parsed.kind == "answer" else []:
                counts[".".join(path) or "label", side][value_at(parsed.value, path)] += 1
    shares: list[dict[str, Any]] = []
    difference: dict[str, float] = {}
    for field in sorted({field for field, _ in counts}):
        for value in sorted({value for side in FILES for value in counts[field, side]}):
            share = {side: round(counts[field, side][value] / max(counts[field, side].total(), 1), 6) for side in FILES}
            shares.append({"field": field, "value": value, **share})
            difference[field] = max(difference.get(field, 0), round(abs(share["train"] - share["holdout"]), 6))
    return {"difference": difference, "shares": shares}


def value_at(answer: Any, path: tuple[str, ...]) -> str:
    """The value at a path of keys, as text."""
    for key in path:
        answer = answer.get(key) if isinstance(answer, dict) else None
    return answer if isinstance(answer, str) else json.dumps(answer)


def enums(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    """Paths of a schema's enums and booleans: their values are in the schema, so showing them reveals nothing private."""
    if "enum" in schema or schema.get("type") in ("boolean", ["boolean", "null"]):
        yield path
    for key, subschema in schema.get("properties", {}).items():
        if isinstance(subschema, dict):
            yield from enums(subschema, (*path, key))


def main(arguments: argparse.Namespace) -> None:
    """Command line: `--refreeze` draws a new holdout."""
    run(load_params(arguments.params), arguments.refreeze)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.split", description=__doc__)
    parser.add_argument("--refreeze", action="store_true", help="draw a new holdout and write its lock")
    run_stage("split", __doc__, main, parser)
