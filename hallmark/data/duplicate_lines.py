"""What a person is shown of other thresholds for near duplicates, line by line: what each would find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hallmark.base.errors import HallmarkError, printable
from hallmark.base.files import MASKED
from hallmark.data.duplicates import Clusters, resolve
from hallmark.data.params import Dedupe
from hallmark.data.texts import Texts

if TYPE_CHECKING:
    import polars as pl

THRESHOLDS = (0.9, 0.8, 0.7, 0.6, 0.5)
EXAMPLES = 3  # pairs shown for each of them


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
                yield f"    {printable(texts.read(side[at : at + 1])[0][:200])}\n"
