"""Drop exact and near duplicates, and label every record with its duplicate cluster: `python -m stages.dedupe`.

`python -m stages.dedupe --preview FILE --field text` prints the clusters of any JSONL, CSV or Parquet file,
`python -m stages.dedupe --thresholds` what each threshold would find among the masked records, with examples.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import DEDUPED, MASKED, REPORTS, json_bytes, write_all
from hallmark.base.key import pseudonym, read_key
from hallmark.base.measured import measured
from hallmark.base.records import check_filled, parquet, scan_records, whole_parquet
from hallmark.base.rows import read_rows, read_texts
from hallmark.data.duplicates import SHOWN, Clusters, resolve
from hallmark.data.near import normalise, text_of
from hallmark.data.params import Dedupe
from hallmark.data.placeholders import kinds_in, only_placeholders, surplus
from hallmark.params.loader import Params, load_params

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)

THRESHOLDS = (0.9, 0.8, 0.7, 0.6, 0.5)
EXAMPLES = 3  # pairs shown for each of them


def run(params: Params) -> None:
    """Read the masked records; write the ones that stay, with the column `cluster`, and the report."""
    import polars as pl

    with measured("dedupe") as measure:
        settings = params.dedupe
        rows = read(settings)
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
            "gold": compare_with_gold(Path(settings.gold), labelled["id"], labelled["cluster"], dropped, namer(params))
            if settings.gold
            else None,
        }
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


def namer(params: Params) -> Callable[[str], str]:
    """What gives a raw id the name that its record has."""
    if params.data.pseudonyms == "none":
        return str
    key = read_key(params.data)
    assert key is not None, "keyed"
    return partial(pseudonym, key, "id")


def compare_with_gold(
    path: Path, ids: pl.Series, clusters: pl.Series, dropped: dict[str, str], named: Callable[[str], str] = str
) -> dict[str, Any]:
    """Precision and recall of the clusters, over pairs of records, against gold rows with `id`, `cluster`, `kind`.

    Gold rows have the names of the records, or raw ids, which `named` turns into those.
    `wrong_drops` counts the records dropped as copies that have no copy according to the gold rows.
    """
    known = dict(zip(ids.to_list(), clusters.to_list(), strict=True))
    gold: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    for number, row in read_rows(path):
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
    gone = [name for name, cause in dropped.items() if cause in ("exact", "near")]
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
    """How many pairs of items have the same key."""
    return sum(count * (count - 1) // 2 for count in Counter(keys).values())


def _apart(cluster_of: dict[str, str], other: dict[str, str]) -> list[tuple[str, str]]:
    """Some pairs that share a cluster here but not in the other clustering."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, cluster in sorted(cluster_of.items()):
        groups[cluster].append(name)
    mixed = (names for names in groups.values() if len({other[name] for name in names}) > 1)
    pairs = (pair for names in mixed for pair in combinations(names, 2) if other[pair[0]] != other[pair[1]])
    return list(islice(pairs, SHOWN))


def preview(params: Params, file: Path, field: str) -> None:
    """Print `id` (the row's own, or else its number) and `cluster` of every row of a file, as JSON lines."""
    import polars as pl

    ids, texts = [], []
    for number, row, text in read_texts(file, field):
        ids.append(_storable(str(number if row.get("id") is None else row["id"])))
        texts.append(_storable(text))
    frame = pl.DataFrame({"id": ids, "text": texts}, schema={"id": pl.String, "text": pl.String})
    hollow = only_placeholders(frame["text"])
    compared = frame.filter(~hollow)
    clusters = Clusters(compared["id"], normalise(compared["text"]), params.dedupe, file)
    own = iter(clusters.cluster)
    labels = [name if empty else next(own) for name, empty in zip(ids, hollow, strict=True)]
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    try:
        for name, cluster in zip(ids, labels, strict=True):
            print(json.dumps({"id": name, "cluster": cluster}, ensure_ascii=False))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (`| head`, say) has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def thresholds(params: Params) -> None:
    """Print what each of some thresholds would find among the masked records, with the least similar pairs as examples."""
    import numpy as np

    rows = read(params.dedupe)
    rows = rows.filter(~rows["hollow"])
    for threshold in THRESHOLDS:
        settings = params.dedupe.model_copy(update={"threshold": threshold})
        try:
            clusters = Clusters(rows["id"], rows["text"], settings, MASKED)
        except HallmarkError as error:  # a lower threshold finds even more
            print(f"{threshold:.1f} and lower: {error.problem}")
            return
        causes = Counter(resolve(rows, clusters, settings.conflicts)[0].values())
        dropped = ", ".join(f"{causes[cause]} {cause}" for cause in ("exact", "near", "conflict"))
        print(f"{threshold:.1f}: {len(clusters.pairs)} pairs of near duplicates; rows dropped: {dropped}")
        pairs = clusters.pairs
        for at in np.argsort(pairs.jaccard, kind="stable")[:EXAMPLES].tolist():
            texts = (clusters.texts[int(side[at])] for side in (pairs.left, pairs.right))
            print(
                "\n".join(
                    [f"  {pairs.jaccard[at]:.3f}", *(f"    {printable(_storable(text[:200]))}" for text in texts)]
                )
            )


def _storable(text: str) -> str:
    """The text with lone surrogates, which no column can store, escaped."""
    return text.encode(errors="backslashreplace").decode()


def main(arguments: argparse.Namespace) -> None:
    """Command line: `--preview FILE --field NAME` and `--thresholds` print; without them the stage runs."""
    params = load_params(arguments.params)
    if arguments.thresholds:
        thresholds(params)
    elif arguments.preview is None:
        run(params)
    else:
        preview(params, arguments.preview, arguments.field)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.dedupe", description=__doc__)
    parser.add_argument("--preview", type=Path, metavar="FILE", help="print the clusters of this file; write nothing")
    parser.add_argument(
        "--thresholds", action="store_true", help="print what each threshold would find, with examples; write nothing"
    )
    parser.add_argument("--field", default="text", help="the text field of the previewed file (default: %(default)s)")
    run_stage("dedupe", __doc__, main, parser)
