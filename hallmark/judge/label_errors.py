"""Labels that are probably wrong: those that a linear model, trained on the records of other groups, finds unlikely.

Confident learning (Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021;
cleanlab) reads the probabilities that each record gets from a model that saw nothing of its group, and flags the records
whose label is less likely than the noise in the data explains.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hallmark.answer.labels import labels_of
from hallmark.answer.text_model import linear_model, text_with_tools
from hallmark.base.document import objects
from hallmark.corpus.draw import draw_hash
from hallmark.task.kind import REFUSAL

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from hallmark.answer.params import Classical
    from hallmark.base.params import Split
    from hallmark.task.task import Task

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

FOLDS = 5
MOST_JUDGED = 20_000  # records that label errors are looked for in, at most
MOST_WORK = 400_000  # records times values of a field, so that it takes a minute at most
FEWEST = 5  # records with a value: of rarer ones the model learns too little to judge them


def suspects(
    rows: pl.DataFrame, read: Callable[[pl.Series], pl.DataFrame], task: Task, split: Split, settings: Classical
) -> dict[str, Any] | None:
    """Labels of train and validation that are probably wrong, the worst first; null if none are looked for.

    `rows` have `id`, `group` and `side`; `read` gives `text`, `tools` and `target` of the records with some ids.

    Of more than `MOST_JUDGED` records, those of the groups with the lowest hashes are judged.
    """
    import polars as pl

    if not split.label_errors or not task.kind.label_names(task):
        return None
    judged = rows.filter(pl.col("side").is_in(["train", "validation"]))
    groups = judged["group"].value_counts()
    order = pl.Series("order", [draw_hash(split.salt, "label errors", name) for name in groups["group"]], pl.String)
    groups = groups.with_columns(order).sort("order").filter(pl.col("count").cum_sum() - pl.col("count") < MOST_JUDGED)
    judged = judged.join(groups, on="group").sort("order", "id").head(MOST_JUDGED)
    judged = judged.select("id", "group").join(read(judged["id"]), on="id", how="left", maintain_order="left")
    columns: dict[str, Sequence[str]] = {
        name: judged[column].to_list() for name, column in {"ids": "id", "groups": "group", "targets": "target"}.items()
    }
    columns["texts"] = [text_with_tools(*row) for row in judged.select("text", "tools").iter_rows()]
    count, found = label_errors(task, settings, **columns)
    if found:
        log.info(
            "%d labels of %d records look wrong; reports/split.json names the worst %d, and split.leave_out leaves out "
            "those that are",
            len(found),
            count,
            min(len(found), split.label_errors),
        )
    return {"judged": count, "found": len(found), "worst": found[: split.label_errors]}


def label_errors(
    task: Task,
    settings: Classical,
    *,
    ids: Sequence[str],
    groups: Sequence[str],
    texts: Sequence[str],
    targets: Sequence[str],
) -> tuple[int, list[dict[str, Any]]]:
    """How many records could be judged, and their labels that are probably wrong, the worst first.

    Of a field with many values, the first records are judged, as many as `MOST_WORK` allows.

    `score` is the probability that the model gives to the record's own label. A label is shown only if the schema lists
    it, so that nothing of a record is.
    """
    names = task.kind.label_names(task)
    labels = [labels_of(task, target, names) for target in targets]
    public = {"true", "false", "null", REFUSAL, *_listed(task.schema)}
    judged: set[int] = set()
    found = []
    for name in names:
        counts = Counter(known[name] for known in labels if name in known)
        usual = sorted(value for value, count in counts.items() if count >= FEWEST)
        most = MOST_WORK // max(len(usual), 1)
        rows = [row for row, known in enumerate(labels) if known.get(name) in usual][:most]
        given = [usual.index(labels[row][name]) for row in rows]
        kept, chances = _chances(settings, [texts[row] for row in rows], given, [groups[row] for row in rows])
        judged.update(rows[place] for place in kept)
        shown = [label if (label := _text(value)) in public else None for value in usual]
        for place, proposed, score in _unlikely([given[place] for place in kept], chances):
            row = rows[kept[place]]
            found.append(
                {
                    "id": ids[row],
                    "field": name,
                    "given": shown[given[kept[place]]],
                    "proposed": shown[proposed],
                    "score": score,
                }
            )
    return len(judged), sorted(found, key=lambda one: (one["score"], one["id"], one["field"]))


def _chances(
    settings: Classical, texts: Sequence[str], given: Sequence[int], groups: Sequence[str]
) -> tuple[list[int], Array]:
    """The rows whose label the model of the other folds knows, and the probabilities of all labels for each."""
    import numpy as np
    from sklearn.model_selection import GroupKFold
    from threadpoolctl import threadpool_limits

    labels, chances = np.array(given, int), np.zeros((len(given), max(given, default=0) + 1))
    known = np.zeros(len(given), bool)
    folds = min(FOLDS, len(set(groups)))
    if len(set(given)) < 2 or folds < 2:
        return [], chances[:0]
    with threadpool_limits(1):  # the same sums whatever `compute.threads` is, and faster on matrices this small
        for train, rest in GroupKFold(folds).split(labels, groups=groups):
            if len(set(labels[train])) < 2:
                continue
            model = linear_model(settings, len(train))
            try:
                model.fit([texts[row] for row in train], labels[train])
            except ValueError:  # no word is in enough records
                continue
            chances[np.ix_(rest, model.classes_)] = model.predict_proba([texts[row] for row in rest])
            known[rest] = np.isin(labels[rest], model.classes_)
    kept = np.flatnonzero(known)
    return kept.tolist(), chances[kept]


def _unlikely(given: Sequence[int], chances: Array) -> Iterator[tuple[int, int, float]]:
    """Of the rows that confident learning flags: the place, the likeliest label and the probability of the given one."""
    import numpy as np
    from cleanlab.filter import find_label_issues

    present, labels = np.unique(np.array(given, int), return_inverse=True)
    if len(present) < 2:
        return
    chances = chances[:, present]
    flagged = np.flatnonzero(find_label_issues(labels, chances, n_jobs=1))
    for place in flagged.tolist():
        yield place, int(present[chances[place].argmax()]), round(float(chances[place, labels[place]]), 4)


def _text(label: str) -> str:
    """A label as the data has it: one value stands for itself."""
    try:
        values = json.loads(label)
    except ValueError:
        return label
    value = values[0] if isinstance(values, list) and len(values) == 1 else values
    return value if isinstance(value, str) else json.dumps(value)


def _listed(schema: Any) -> Iterator[str]:
    """The values that a JSON Schema lists, as text."""
    for part in objects(schema):
        enum = part.get("enum")
        for value in [*(enum if isinstance(enum, list) else []), *([part["const"]] if "const" in part else [])]:
            yield value if isinstance(value, str) else json.dumps(value)
