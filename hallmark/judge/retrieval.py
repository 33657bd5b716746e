"""Of records with retrieved context: whose failures they are, the retriever's or the model's, and when a model abstains.

A record is of one sort, by what its target needs: it was *held* (context and input have all that is expected), it was
*lacking*, or to abstain is expected, although there was context (*silent*) or since there was none (*empty*). A failure is
the retriever's if it was lacking. To abstain is to answer with the refusal, or without any value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hallmark.answer.grounding import Grounding
from hallmark.judge.comparison import Answered, ByEvidence, Retrieval
from hallmark.task.predictions import Prediction
from hallmark.task.task import Task

HELD, LACKING, SILENT, EMPTY = SORTS = ("held", "lacking", "silent", "empty")
EXAMPLES = 5  # failing records of a sort that are named


def sorts_of(rows: Sequence[Prediction], grounding: Grounding) -> list[str | None]:
    """The sort of each record, None if it can't be told; of all, if no record has context, or none can be told."""
    if all(row.context is None for row in rows):
        return [None] * len(rows)
    sorts = [_sort(row, grounding) for row in rows]
    return sorts if HELD in sorts or LACKING in sorts else [None] * len(rows)


def _sort(row: Prediction, grounding: Grounding) -> str | None:
    expected = grounding.task.parse(row.target)
    if grounding.abstains(expected):
        return SILENT if row.context else EMPTY
    found = row.retrieved
    if found is None and not row.context:
        found = grounding.evidence(expected, row.input, "")
    return {True: HELD, False: LACKING, None: None}[found]


def retrieval(
    base: Sequence[Prediction], tuned: Sequence[Prediction], task: Task, facts: Mapping[str, str]
) -> Retrieval | None:
    """Each model's answers, by sort; None if no record has context, or none can be judged."""
    grounding = Grounding(task, facts)
    if not any(sorts_of(tuned, grounding)):
        return None
    return Retrieval(base=_by_evidence(base, grounding), tuned=_by_evidence(tuned, grounding))


def _by_evidence(rows: Sequence[Prediction], grounding: Grounding) -> ByEvidence:
    members: dict[str | None, list[Prediction]] = {sort: [] for sort in SORTS}
    for row, sort in zip(rows, sorts_of(rows, grounding), strict=True):
        members.setdefault(sort, []).append(row)
    sorts = {sort: _answered(members[sort], grounding) for sort in SORTS}
    failing = sum(found.failing for found in sorts.values())
    return ByEvidence(**sorts, fixable=round(sorts[LACKING].failing / failing, 6) if failing else None)


def _answered(rows: Sequence[Prediction], grounding: Grounding) -> Answered:
    failing = [row.id for row in rows if not row.exact_match]
    return Answered(
        records=len(rows),
        failing=len(failing),
        abstained=sum(grounding.abstains(grounding.task.parse(row.answer)) for row in rows),
        examples=failing[:EXAMPLES],
    )
