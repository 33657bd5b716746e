"""Drop exact and near duplicates, and label every record with its duplicate cluster: `python -m stages.dedupe`.

Of records with the same text and target one stays; `dedupe.conflicts` says which stay of those with the same text and
different targets. A near duplicate goes if a record that stays has its target.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import DEDUPED, MASKED, REPORTS, atomic, json_bytes
from hallmark.base.key import namer
from hallmark.base.measured import measured
from hallmark.base.printing import counted
from hallmark.base.records import MADE, check_filled, scan_records
from hallmark.corpus.duplicates import Clusters, answers_of, kinds_in, resolve, surplus
from hallmark.corpus.gold_clusters import compare_with_gold
from hallmark.corpus.records import read_some, row_groups, write_sorted
from hallmark.corpus.texts import Texts, compared, only_placeholders, text_of
from hallmark.params.loader import Params, load_params

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)


def run(params: Params) -> None:
    """Read the masked records; write the ones that stay, with the column `cluster`, and the report."""
    import polars as pl

    with measured("dedupe") as measure:
        settings = params.dedupe
        # Texts of which masking left nothing are all alike, and no copies: each is a cluster of its own.
        rows, texts, empty, kinds = read(params)
        clusters = Clusters(rows["id"], texts, rows["text"].to_numpy(), settings, MASKED)
        causes, conflicts = resolve(rows, clusters, settings.conflicts)
        gone = surplus(empty, settings.only_placeholders)
        labelled = pl.concat(
            [
                rows.select("id", clusters.cluster, cause=causes),
                empty.select("id", cluster="id", cause=pl.when(gone).then(pl.lit("only_placeholders", causes.dtype))),
            ]
        )
        kept = labelled.filter(pl.col("cause").is_null()).drop("cause").sort("id")
        counts = Counter(labelled["cause"].drop_nulls())
        report: dict[str, Any] = {
            "rows": {"in": len(labelled), "out": len(kept)},
            "dropped": {cause: counts[cause] for cause in ("exact", "near", "conflict", "only_placeholders")},
            "only_placeholders": {
                "texts": len(empty),
                "kept": len(empty) - gone.sum(),
                "dropped": gone.sum(),
                "kinds": kinds,
            },
            "clusters": clusters.sizes(),
            "conflicts": conflicts,
            "gold": None,
        }
        if settings.gold:
            report["gold"] = compare_with_gold(Path(settings.gold), labelled, namer(params.data))
        del rows, texts, clusters, causes, labelled
        stay = scan_records(MASKED).filter(pl.col("id").is_in(kept["id"].implode())).collect()
        with atomic(REPORTS / "dedupe.json") as written, atomic(DEDUPED) as file:
            write_sorted(file, stay, kept["cluster"])
            written.write_bytes(json_bytes(report))
        measure["rows"] = report["rows"]["in"]
    if len(empty):
        log.warning(
            "%d texts are nothing but placeholders (%s): dedupe.only_placeholders = %s keeps %d of them",
            len(empty), ", ".join(kinds), settings.only_placeholders, len(empty) - gone.sum(),
        )  # fmt: skip
    log.info("%d of %d records stay; dropped: %s", len(kept), measure["rows"], counted(report["dropped"]) or "none")


def read(params: Params) -> tuple[pl.DataFrame, Texts, pl.DataFrame, dict[str, int]]:
    """The records, by id and without their texts; the texts; the records that are nothing but placeholders, and their kinds."""
    import numpy as np
    import polars as pl

    parts = params.dedupe.over.split("_and_")
    columns = {
        "text": compared(params.task.system_prompt, *parts),
        "target": text_of("completion"),
        "hollow": only_placeholders(text_of(*parts)),
    }
    known = [pl.DataFrame(schema={"id": pl.String, "hollow": pl.Boolean})]
    hollow = []  # with their groups, which no others need
    kinds: Counter[str] = Counter()

    def batches() -> Iterator[pl.Series]:
        for batch in read_some(
            row_groups(MASKED), "id", "group", "tools", *(kind.alias(name) for name, kind in columns.items())
        ):
            check_filled(batch.drop("tools", "id"), MASKED)
            known.append(batch.select("id", "hollow", **answers_of(batch["tools"], batch["target"])))
            empty = batch.filter("hollow")
            hollow.append(empty.select("id", "group"))
            kinds.update(kinds_in(empty["text"]))
            yield batch.filter(~pl.col("hollow"))["text"]

    texts, text = Texts.kept(batches())
    rows = pl.concat(known, how="diagonal")
    known.clear()
    number = np.zeros(len(rows), np.int32)
    number[~rows["hollow"].to_numpy()] = text
    rows = rows.with_columns(text=number).sort("id")
    check_filled(rows if rows["id"].null_count() else rows.drop("id"), MASKED)
    twice = rows["id"].filter(rows["id"] == rows["id"].shift())  # `check_filled` would take 113 bytes of each id
    if len(twice):
        at = (scan_records(MASKED).select("id").collect()["id"] == twice[0]).arg_true() + 1
        problem = f"records {at[0]} and {at[1]} have the same id, '{twice[0]}'"
        raise HallmarkError(problem, file=MASKED, row=at[1], field="id", remedy=MADE)
    empty = rows.filter("hollow").join(pl.concat(hollow), on="id").sort("id")
    rows = rows.filter(~pl.col("hollow")).drop("hollow")
    return rows, texts, empty, dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))


if __name__ == "__main__":
    run_stage("dedupe", __doc__, lambda arguments: run(load_params(arguments.params)))
