"""What a person is shown of duplicates, line by line: the clusters in any file, and what other thresholds would find."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hallmark.base.errors import HallmarkError, printable
from hallmark.base.files import MASKED
from hallmark.base.rows import read_texts
from hallmark.data.duplicates import Clusters, resolve
from hallmark.data.near import normalise
from hallmark.data.params import Dedupe
from hallmark.data.placeholders import only_placeholders
from hallmark.data.texts import Texts

if TYPE_CHECKING:
    import polars as pl

THRESHOLDS = (0.9, 0.8, 0.7, 0.6, 0.5)
EXAMPLES = 3  # pairs shown for each of them


def clusters_in(file: Path, field: str, dedupe: Dedupe) -> Iterator[str]:
    """`id` (the row's own, or else its number) and `cluster` of every row of a file, as JSON lines."""
    import polars as pl

    ids, texts = [], []
    for number, row, text in read_texts(file, field):
        ids.append(_storable(str(number if row.get("id") is None else row["id"])))
        texts.append(_storable(text))
    frame = pl.DataFrame({"id": ids, "text": texts}, schema={"id": pl.String, "text": pl.String})
    hollow = only_placeholders(frame["text"])
    compared = frame.filter(~hollow)
    clusters = Clusters(compared["id"], *Texts.kept([normalise(compared["text"])]), dedupe, file)
    own = iter(clusters.cluster)
    labels = [name if empty else next(own) for name, empty in zip(ids, hollow, strict=True)]
    for name, cluster in zip(ids, labels, strict=True):
        yield json.dumps({"id": name, "cluster": cluster}, ensure_ascii=False) + "\n"


def at_thresholds(rows: pl.DataFrame, texts: Texts, dedupe: Dedupe) -> Iterator[str]:
    """What each of some thresholds would find among records that are not hollow, with the least similar pairs."""
    import numpy as np

    for threshold in THRESHOLDS:
        settings = dedupe.model_copy(update={"threshold": threshold})
        try:
            clusters = Clusters(rows["id"], texts, rows["text"].to_numpy(), settings, MASKED)
        except HallmarkError as error:  # a lower threshold finds even more
            yield f"{threshold:.1f} and lower: {error.problem}\n"
            return
        causes = Counter(resolve(rows, clusters, settings.conflicts)[0])
        dropped = ", ".join(f"{causes[cause]} {cause}" for cause in ("exact", "near", "conflict"))
        pairs = clusters.pairs
        yield f"{threshold:.1f}: {len(pairs)} pairs of near duplicates; rows dropped: {dropped}\n"
        for at in np.argsort(pairs.jaccard, kind="stable")[:EXAMPLES].tolist():
            yield f"  {pairs.jaccard[at]:.3f}\n"
            for side in (pairs.left, pairs.right):
                yield f"    {printable(_storable(texts.read(side[at : at + 1])[0][:200]))}\n"


def _storable(text: str) -> str:
    """The text with lone surrogates, which no column can store, escaped."""
    return text.encode(errors="backslashreplace").decode()
