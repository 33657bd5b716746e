"""Drop exact and near duplicates, and label every record with its duplicate cluster: `python -m stages.dedupe`.

Of records with the same text and target one stays; `dedupe.conflicts` says which stay of those with the same text and
different targets. A near duplicate goes if a record that stays has its target.

`python -m stages.dedupe --preview FILE --field text` prints the clusters of any JSONL, CSV or Parquet file,
`python -m stages.dedupe --thresholds` what each threshold would find among the masked records, with examples.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hallmark.base.errors import run_stage
from hallmark.base.files import DEDUPED, MASKED, REPORTS, json_bytes, write_all
from hallmark.base.key import namer
from hallmark.base.measured import measured
from hallmark.base.printing import show
from hallmark.base.records import check_filled, parquet, scan_records, whole_parquet
from hallmark.data.duplicate_lines import at_thresholds, clusters_in
from hallmark.data.duplicates import Clusters, resolve
from hallmark.data.gold_clusters import compare_with_gold
from hallmark.data.near import normalise, text_of
from hallmark.data.params import Dedupe
from hallmark.data.placeholders import kinds_in, only_placeholders, surplus
from hallmark.params.loader import Params, load_params

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)


def run(params: Params) -> None:
    """Read the masked records; write the ones that stay, with the column `cluster`, and the report."""
    import polars as pl

    with measured("dedupe") as measure:
        settings = params.dedupe
        rows = read(settings)
        # Texts of which masking left nothing are all alike, and no copies: each is a cluster of its own.
        empty, rows = rows.filter("hollow"), rows.filter(~pl.col("hollow"))
        clusters = Clusters(rows["id"], rows["text"], settings, MASKED)
        dropped, conflicts = resolve(rows, clusters, settings.conflicts)
        gone = surplus(empty, settings.only_placeholders)
        dropped.update(dict.fromkeys(gone, "only_placeholders"))
        labelled = pl.concat([rows.select("id", clusters.cluster), empty.select("id", cluster="id")])
        kept = labelled.filter(~pl.col("id").is_in(list(dropped)))
        causes = Counter(dropped.values())
        report = {
            "rows": {"in": len(labelled), "out": len(kept)},
            "dropped": {cause: causes[cause] for cause in ("exact", "near", "conflict", "only_placeholders")},
            "only_placeholders": {
                "texts": len(empty),
                "kept": len(empty) - len(gone),
                "dropped": len(gone),
                "kinds": kinds_in(empty["text"]),
            },
            "clusters": clusters.sizes(),
            "conflicts": conflicts,
            "gold": None,
        }
        if settings.gold:
            found = labelled["id"], labelled["cluster"], dropped
            report["gold"] = compare_with_gold(Path(settings.gold), *found, namer(params.data))
        with whole_parquet(MASKED):
            records = scan_records(MASKED).join(kept.lazy(), on="id").sort("id").collect()
        write_all({DEDUPED: parquet(records), REPORTS / "dedupe.json": json_bytes(report)})
        measure["rows"] = len(labelled)
    if len(empty):
        log.warning(
            "%d texts are nothing but placeholders (%s): dedupe.only_placeholders = %s keeps %d of them",
            len(empty), ", ".join(kinds_in(empty["text"])), settings.only_placeholders, len(empty) - len(gone),
        )  # fmt: skip
    log.info("%d of %d records stay; dropped: %s", len(kept), len(labelled), report["dropped"])


def read(settings: Dedupe) -> pl.DataFrame:
    """The records by id: the normalised text, the target, and whether the text is nothing but placeholders (`hollow`)."""
    parts = ["prompt", "completion"] if settings.over == "prompt_and_completion" else ["prompt"]
    columns = {
        "text": normalise(text_of(*parts)),
        "target": text_of("completion"),
        "hollow": only_placeholders(text_of(*parts)),
    }
    with whole_parquet(MASKED):
        rows = scan_records(MASKED).select("id", "group", "tools", **columns).collect().sort("id")
    check_filled(rows.drop("tools"), MASKED)
    return rows


def thresholds(params: Params) -> None:
    """Print what each of some thresholds would find among the masked records, with the least similar pairs as examples."""
    rows = read(params.dedupe)
    show(at_thresholds(rows.filter(~rows["hollow"]), params.dedupe))


def main(arguments: argparse.Namespace) -> None:
    """Command line: `--preview FILE --field NAME` and `--thresholds` print; without them the stage runs."""
    params = load_params(arguments.params)
    if arguments.thresholds:
        thresholds(params)
    elif arguments.preview is None:
        run(params)
    else:
        show(clusters_in(arguments.preview, arguments.field, params.dedupe))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.dedupe", description=__doc__)
    parser.add_argument("--preview", type=Path, metavar="FILE", help="print the clusters of this file; write nothing")
    parser.add_argument(
        "--thresholds", action="store_true", help="print what each threshold would find, with examples; write nothing"
    )
    parser.add_argument("--field", default="text", help="the text field of the previewed file (default: %(default)s)")
    run_stage("dedupe", __doc__, main, parser)
