"""The training records whose inputs are most like others, by TF-IDF."""

from __future__ import annotations

from collections.abc import Sequence

CHUNK = 256  # records whose likeness to all of train is held at once


def nearest(known: Sequence[str], asked: Sequence[str], count: int) -> list[list[tuple[int, float]]] | None:
    """For each text asked, the known ones that are most like it, and how like; of equally like ones, the earlier.

    None if no known text has a word.
    """
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import linear_kernel

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    try:
        vectors = vectorizer.fit_transform(known)
    except ValueError:
        return None
    found: list[list[tuple[int, float]]] = []
    for start in range(0, len(asked), CHUNK):
        # Rounded: the last bits depend on the processor, and must not decide.
        alike = np.round(linear_kernel(vectorizer.transform(asked[start : start + CHUNK]), vectors), 9)
        best = np.argsort(-alike, axis=1, kind="stable")[:, :count]
        shares = np.take_along_axis(alike, best, axis=1)
        found += [list(zip(*row, strict=True)) for row in zip(best.tolist(), shares.tolist(), strict=True)]
    return found
