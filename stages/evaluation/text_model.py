"""The linear model of texts that `classical` answers with and `split` looks for label errors with: TF-IDF, logistic regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from stages.evaluation.params import Classical


def linear_model(settings: Classical, records: int, solver: str = "lbfgs") -> Pipeline:
    """A model to be trained on that number of records. Training raises a ValueError if no word is in enough of them.

    Any solver finds the same optimum but for rounding: newton-cg in a fifth of the time.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(
        ngram_range=(1, settings.ngrams), min_df=min(settings.min_records, records), sublinear_tf=True
    )
    return make_pipeline(words, LogisticRegression(C=settings.strength, solver=solver, max_iter=1000))
