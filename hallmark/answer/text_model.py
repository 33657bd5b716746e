"""The linear models of texts, one for each label: `classical` answers with the best, `split` looks for label errors with the first."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from hallmark.answer.predictions import Row
from hallmark.base.tools import names_of
from hallmark.task.task import Task

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from hallmark.answer.params import Classical
    from hallmark.params.loader import Params


@dataclass(frozen=True)
class Features:
    """What a linear model reads of a text: runs of words, and runs of characters within them unless `chars` is None.

    `min_records`: the fewest training records that a run must occur in.
    """

    name: str
    words: str
    min_records: int
    chars: tuple[int, int] | None = None


def text_with_tools(text: str, tools: str | None) -> str:
    """What a linear model reads of a record: its text, and the names of its tools, since the tuned model is shown them."""
    return "\n".join([text, *names_of(json.loads(tools))]) if tools else text


def all_features(settings: Classical) -> list[Features]:
    """The features that `params.yaml` asks for, the plainest first."""
    kinds: list[tuple[str, str, tuple[int, int] | None]] = [("words", "words", None)]
    if settings.chars is not None:
        kinds.append(("words_and_chars", "words and characters", settings.chars))
    found = [Features(name, f"TF-IDF of {words}", settings.min_records, chars) for name, words, chars in kinds]
    if settings.min_records > 1:
        found += [
            Features(f"{name}_rare", f"TF-IDF of {words}, rare ones too", 1, chars) for name, words, chars in kinds
        ]
    return found


def linear_model(settings: Classical, records: int, features: Features | None = None) -> Pipeline:
    """A model to be trained on that number of records. Training raises a ValueError if no word is in enough of them.

    Any solver finds the same optimum but for rounding: newton-cg in a fifth of the time of lbfgs.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    features = features or all_features(settings)[0]
    learner = LogisticRegression(C=settings.C, solver="newton-cg", max_iter=1000)
    shared: dict[str, Any] = {"min_df": min(features.min_records, records), "sublinear_tf": True}
    read = TfidfVectorizer(ngram_range=(1, settings.ngrams), **shared)
    if features.chars is not None:
        read = make_union(read, TfidfVectorizer(analyzer="char_wb", ngram_range=features.chars, **shared))
    return make_pipeline(read, learner)


def predicted(
    settings: Classical, features: Features, texts: Sequence[str], classes: Sequence[str], asked: Sequence[str]
) -> list[str]:
    """The class of each text asked, by a model trained on these texts; a ValueError if no word is in enough."""
    from threadpoolctl import threadpool_limits

    if len({*classes}) == 1 or not asked:
        return [classes[0]] * len(asked)
    model = linear_model(settings, len(texts), features)
    with threadpool_limits(1):  # the same sums whatever `compute.threads` is, and faster on matrices this small
        model.fit(texts, classes)
        return [str(one) for one in model.predict(asked)]


def classes_of(
    settings: Classical, texts: Sequence[str], classes: Sequence[str], asked: Sequence[str]
) -> list[str] | None:
    """The class of each text asked, by the TF-IDF model with characters, if `settings` has one; None if no word is in enough texts."""
    common = [one for one in all_features(settings) if one.min_records == settings.min_records]
    try:
        return predicted(settings, common[-1], texts, classes, asked)
    except ValueError:
        return None


log = logging.getLogger("classical")

Values = Sequence[str | None]  # of one label, for each training record


def answered(
    params: Params,
    task: Task,
    features: Features,
    train: Sequence[Row],
    values: Mapping[str, Values],
    parts: Sequence[Sequence[Row]],
) -> list[list[str]]:
    """The answers to each part, of models trained for each label of `values`."""
    seen, *given = ([text_with_tools(record["input"], record["tools"]) for record in part] for part in (train, *parts))
    asked = [text for part in given for text in part]
    labels = {name: _labels(params, features, seen, column, asked) for name, column in values.items()}
    answers = (
        task.kind.completion(task, {name: column[row] for name, column in labels.items()}) for row in range(len(asked))
    )
    return [list(islice(answers, len(part))) for part in parts]


def most_frequent(values: Values) -> str:
    """The most frequent value; of several, the first by text."""
    counts = Counter(value for value in values if value is not None)
    return min(counts, key=lambda value: (-counts[value], value))


def _labels(
    params: Params, features: Features, train: Sequence[str], values: Values, asked: Sequence[str]
) -> list[str]:
    """The label of each text asked, from the training records that have one."""
    texts = [text for text, value in zip(train, values, strict=True) if value is not None]
    labels = [value for value in values if value is not None]
    try:
        return predicted(params.classical, features, texts, labels, asked)
    except ValueError as error:  # no word is in enough records
        log.warning("no linear model can be trained (%s): it answers the most frequent value", str(error).split(".")[0])
        return [most_frequent(values)] * len(asked)
