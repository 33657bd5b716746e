"""Deduplication compared with datasketch and brute force: `python -m tests.bench.dedupe`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import polars as pl

from hallmark.base.files import MASKED
from hallmark.data.duplicates import Clusters
from hallmark.data.near import components, near_pairs, normalise
from hallmark.data.params import Dedupe
from hallmark.data.shingles import bare, shingles
from hallmark.data.texts import Texts
from tests.bench.made import texts as made_texts
from tests.bench.page import show, table
from tests.rows import params_with
from tests.workspace import ROOT

REAL = ROOT.parent / "shared" / "realdata"


def main() -> None:
    """Print the comparison."""
    settings = params_with().dedupe
    parts = [
        f"Character {settings.shingle}-grams, Jaccard from {settings.threshold:g}, {settings.permutations} "
        "permutations: the defaults.",
        quality(settings),
        recall(settings),
    ]
    show("Dedupe", "\n\n".join(parts))


def quality(settings: Dedupe) -> str:
    """Precision and recall on labelled duplicates, ours and datasketch's."""
    if not REAL.exists():
        return "The labelled duplicates (`../shared/realdata`) were not there: no table of precision and recall."
    rows = [json.loads(line) for line in (REAL / "near_duplicate_sites.jsonl").read_text(encoding="utf-8").splitlines()]
    gold = [row["cluster"] for row in rows]
    texts = normalise(pl.Series([row["text"] for row in rows]))
    ids = pl.Series([row["id"] for row in rows])
    lines = []
    for threshold in sorted({settings.threshold, 0.5, 0.7}):
        here = settings.model_copy(update={"threshold": threshold})
        ways: dict[str, Callable[[], list[Any]]] = {
            "ours": lambda here=here: Clusters(ids, *Texts.kept([texts]), here, MASKED).cluster.to_list(),
            "datasketch, verified": lambda here=here: with_datasketch(texts.to_list(), here),
            "the same without punctuation, as ours": lambda here=here: with_datasketch(bare(texts).to_list(), here),
            "datasketch, not verified": lambda here=here: with_datasketch(texts.to_list(), here, verified=False),
        }
        for name, way in ways.items():
            start = time.process_time()
            score = pair_scores(way(), gold)
            lines.append([f"{threshold:g}", name, score["precision"], score["recall"], time.process_time() - start])
    head = ["threshold", "", "precision", "recall", "CPU s"]
    about = f"{len(rows):,} messy records with gold clusters; all pairs inside a cluster count, the same text for all:"
    return f"{about}\n\n{table(head, lines)}"


def pair_scores(clusters: Iterable[Any], gold: Iterable[Any]) -> dict[str, float]:
    """Precision and recall over the pairs of records that share a cluster."""
    both = list(zip(clusters, gold, strict=True))
    right, found, true = (
        sum(count * (count - 1) // 2 for count in Counter(keys).values())
        for keys in (both, [cluster for cluster, _ in both], [cluster for _, cluster in both])
    )
    return {"precision": right / found if found else 1.0, "recall": right / true}


def with_datasketch(texts: list[str], settings: Dedupe, verified: bool = True) -> list[int]:
    """Clusters the usual way: datasketch's MinHashLSH, each candidate verified by exact Jaccard, linked pairs joined."""
    from datasketch import MinHash, MinHashLSH

    sets = [
        {text[at : at + settings.shingle] for at in range(max(1, len(text) - settings.shingle + 1))} for text in texts
    ]
    index = MinHashLSH(threshold=settings.threshold, num_perm=settings.permutations)
    left, right = [], []
    for number, mine in enumerate(sets):
        signature = MinHash(num_perm=settings.permutations)
        signature.update_batch([shingle.encode() for shingle in mine])
        for other in index.query(signature):
            if not verified or len(mine & sets[other]) >= settings.threshold * len(mine | sets[other]):
                left.append(other)
                right.append(number)
        index.insert(number, signature)
    return components(len(texts), np.array(left, np.int64), np.array(right, np.int64)).tolist()


def recall(settings: Dedupe) -> str:
    """Verified pairs against brute force."""
    sets = {"made-up records": normalise(pl.Series([text for text, _ in made_texts(20_000)])).unique().sort()}
    if REAL.exists():
        for name, file in (("sites", "near_duplicate_sites"), ("MultiDoGO turns", "multidogo_software")):
            lines = (REAL / f"{file}.jsonl").read_text(encoding="utf-8").splitlines()
            sets[name] = normalise(pl.Series([json.loads(line)["text"] for line in lines])).unique().sort()
    lines = []
    for name, texts in sets.items():
        pairs = near_pairs(
            Texts.kept([texts])[0],
            size=settings.shingle,
            threshold=settings.threshold,
            permutations=settings.permutations,
            file=MASKED,
        )
        true = brute_force(texts.to_list(), settings)
        mine = set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
        lines.append([name, len(texts), len(true), len(mine & true) / len(true), len(mine - true)])
    head = ["", "distinct texts", "pairs by brute force", "found", "too many"]
    return f"Verified pairs against brute force over all pairs:\n\n{table(head, lines)}"


def brute_force(texts: list[str], settings: Dedupe) -> set[tuple[int, int]]:
    """All pairs with a Jaccard similarity from the threshold, by products of the sparse shingle matrix."""
    from scipy.sparse import csr_matrix

    hashes, offsets = shingles(bare(pl.Series(texts, dtype=pl.String)).to_list(), settings.shingle)
    columns = np.unique(hashes, return_inverse=True)[1]
    matrix = csr_matrix((np.ones(len(columns), np.int32), columns, offsets))
    sizes = np.diff(offsets)
    found: set[tuple[int, int]] = set()
    for start in range(0, len(texts), 2000):
        common = (matrix[start : start + 2000] @ matrix.T).tocoo()
        one, two, both = common.row + start, common.col, common.data
        near = (one < two) & (both >= settings.threshold * (sizes[one] + sizes[two] - both) - 1e-9)
        found.update(zip(one[near].tolist(), two[near].tolist(), strict=True))
    return found


if __name__ == "__main__":
    main()
