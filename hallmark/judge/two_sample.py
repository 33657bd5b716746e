"""Do two samples of texts come from the same source? A classifier two-sample test that takes whole customers as one.

A linear classifier learns to tell the samples apart, and is asked about texts of customers that it has not seen. If it
does better than chance, the samples differ (Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests"; Kim, Ramdas,
Singh & Wasserman 2021, "Classification accuracy as a proxy for two-sample testing", on permutations of such a statistic).
What chance can do is found by permuting which sample is which, of whole customers: texts of one customer resemble each
other, so a permutation of single texts, or a fold with half of a customer's texts, finds customers and calls them drift.

The features are made once, and cut into folds once: neither depends on the labels. A permutation then costs one fit of a
sparse logistic regression for each fold, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FOLDS = 4
MOST_WORDS = 5_000  # of the features: the most frequent ones
TINY = 1e-12  # what rounding may add to a statistic


@dataclass(frozen=True)
class Separation:
    """How well the samples can be told apart. `chance`: what the permutations exceed in a share of `alpha` only."""

    auc: float
    chance: float
    p: float


def separation(
    texts: Sequence[str], groups: Sequence[str], later: Sequence[bool], *, alpha: float, permutations: int, seed: int
) -> Separation:
    """Tell the texts that are `later` from the others: the AUC of held-out customers, and its p value by permutation.

    p counts the observed labels as one of the permutations, so it is never 0 and never too small (Phipson & Smyth 2010).
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    labels = np.asarray(later, dtype=bool)
    with threadpool_limits(1):  # the same sums whatever the machine has
        statistic = CrossFitted(texts, groups)
        observed = statistic.auc(labels)
        found = np.array([statistic.auc(drawn) for drawn in permuted(labels, groups, permutations, seed)])
    exceeding = int((found >= observed - TINY).sum())
    return Separation(observed, float(np.quantile(found, 1 - alpha)), (1 + exceeding) / (1 + permutations))


class CrossFitted:
    """The statistic: features and folds are made once, then any labels can be asked about."""

    def __init__(self, texts: Sequence[str], groups: Sequence[str]) -> None:
        """A word counts if two texts have it. All texts of a group are in one fold, whatever the labels."""
        import numpy as np
        from sklearn.model_selection import GroupKFold

        features = tf_idf(texts)
        _, of_group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        folds = GroupKFold(n_splits=min(FOLDS, len(np.unique(of_group)))).split(of_group, groups=of_group)
        self._folds = [(train, features[train], test, features[test]) for train, test in folds]

    def auc(self, labels: Array) -> float:
        """Of pairs of a later and an earlier text in one fold, the share in which the later one has the higher score."""
        from scipy.stats import rankdata
        from sklearn import config_context
        from sklearn.linear_model import LogisticRegression

        wins, pairs = 0.0, 0
        learner = LogisticRegression(solver="liblinear", random_state=0)
        for train, known, test, asked in self._folds:
            mine, learned = labels[test], labels[train]
            positive = int(mine.sum())
            possible = positive * (len(mine) - positive)
            if not possible:
                continue
            pairs += possible
            if learned.all() or not learned.any():
                wins += possible / 2
                continue
            with config_context(assume_finite=True, skip_parameter_validation=True):
                learner.fit(known, learned)
            ranks = rankdata(asked @ learner.coef_[0])
            wins += float(ranks[mine].sum()) - positive * (positive + 1) / 2
        return wins / pairs if pairs else 0.5


def tf_idf(texts: Sequence[str]) -> Any:
    """A row for each text, a column for each word; without any word that two texts have, one column of zeros."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(min_df=2, max_features=MOST_WORDS, sublinear_tf=True).fit_transform(texts)
    except ValueError:  # no word is left
        return csr_matrix((len(texts), 1))


def permuted(labels: Array, groups: Sequence[str], count: int, seed: int) -> Iterator[Array]:
    """Labels as they could have been if the samples were the same, `count` times.

    A customer in one sample gets the label of another such customer. One who is in both has its two lots of texts swapped
    or not, by a coin: it is compared with itself. The texts of a customer in a sample always stay together.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    names, of_group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    later, earlier = (np.bincount(of_group[of], minlength=len(names)) > 0 for of in (labels, ~labels))
    both, alone = later & earlier, np.flatnonzero(later != earlier)
    for _ in range(count):
        swapped = both & (random.random(len(names)) < 0.5)
        drawn = labels ^ swapped[of_group]
        of_lone = later.copy()
        of_lone[alone] = later[random.permutation(alone)]
        yield np.where(both[of_group], drawn, of_lone[of_group])
