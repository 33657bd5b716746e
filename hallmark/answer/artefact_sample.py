"""Which records of the holdout a benchmark times, the sample that everything that ships answers, and what is not as evaluated.

What was evaluated is in reports/eval/tuned/predictions.jsonl. An artefact may write another text for a good reason (its weights are
rounded, it answers in other batches); what matters is whether it gets fewer records right.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hallmark.answer.answers import Prompt, room_in
from hallmark.answer.parity import WORDS, Artefact, Changes, Parity, changes
from hallmark.answer.predictions import bootstrap_of, readable
from hallmark.answer.scoring import Scorer
from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, HOLDOUT
from hallmark.task.predictions import Prediction

if TYPE_CHECKING:
    from hallmark.params.loader import Params

log = logging.getLogger("benchmark")


def rows_with_room(prompts: list[Prompt], evaluated: int, timed: int) -> tuple[list[int], list[int]]:
    """The rows whose prompts leave room for an answer of that many tokens in the base's context, and for a timed one too."""
    room = list(map(room_in(BASE), prompts))
    known = [row for row, left in enumerate(room) if left >= evaluated]
    timeable = [row for row in known if room[row] >= timed]
    if len(timeable) < len(prompts):
        words = f"{len(prompts) - len(timeable)} of {len(prompts)} prompts leave no room for {max(evaluated, timed)} tokens in the base's context"
        if not timeable:
            raise HallmarkError(
                words,
                file=HOLDOUT,
                param="benchmark.max_tokens, eval.max_new_tokens",
                remedy="lower them, or take a base that reads more",
            )
        log.warning("%s: they are not timed", words)
    return known, timeable


def drawn_rows(records: int, count: int) -> tuple[list[int], list[int]]:
    """Which of the holdout's records are timed, `count` of them, and which are left to warm a server up.

    The timed ones are spread evenly over the holdout, and repeated if it has too few records.
    """
    if not records:
        raise HallmarkError("holds no record", file=HOLDOUT, remedy="give more data, or raise split.holdout")
    step = max(1.0, records / count)
    timed = [int(i * step) % records for i in range(count)]
    return timed, sorted(set(range(records)) - set(timed)) or timed


def body_of(prompt: Prompt) -> dict[str, Any]:
    """What a record asks, as a request has it."""
    return {"messages": prompt.messages} | ({"tools": prompt.tools} if prompt.tools else {})


def drawn(groups: Sequence[str], count: int, first: Sequence[int] = ()) -> list[int]:
    """`count` rows (all, if there are fewer), from as many groups as that takes, evenly; `first` are among them.

    `groups`: the group of each row. The next row is always the first of the group that has been drawn from least.
    """
    count = min(count, len(groups))
    rows = list(dict.fromkeys(first))[:count]
    rest: dict[str, list[int]] = {}
    for row in sorted(set(range(len(groups))) - set(rows), reverse=True):
        rest.setdefault(groups[row], []).append(row)
    taken = Counter(groups[row] for row in rows)
    while len(rows) < count:
        group = min(rest, key=lambda name: (taken[name], rest[name][-1]))
        rows.append(rest[group].pop())
        taken[group] += 1
        if not rest[group]:
            del rest[group]
    return sorted(rows)


class Sample:
    """Records of the holdout with their evaluated answers, to which those of an artefact are compared."""

    def __init__(
        self,
        records: Sequence[dict[str, Any]],
        evaluated: Sequence[Prediction],
        rows: Sequence[int],
        scorer: Scorer,
        params: Params,
    ) -> None:
        """`rows`: which of all the `records` it is; `evaluated` are the answers to all of them."""
        self.records = [records[row] for row in rows]
        self.evaluated = [evaluated[row] for row in rows]
        self._scorer = scorer
        self._right = [row.exact_match for row in self.evaluated]
        self._bootstrap = bootstrap_of(self.evaluated, params)

    def changes(self, texts: Sequence[str]) -> Changes:
        """How an artefact's answers, in the order of the records, differ from those that were evaluated."""
        right = [
            self._scorer.score(**readable(record), prediction=text).exact_match
            for record, text in zip(self.records, texts, strict=True)
        ]
        differ = sum(row.prediction != text for row, text in zip(self.evaluated, texts, strict=True))
        return changes(differ, self._right, right, self._bootstrap)

    def parity(self, artefacts: Sequence[Artefact]) -> Parity:
        none_right = [False] * len(self._right)
        return Parity(
            records=len(self.records),
            groups=self._bootstrap.clusters,
            right=sum(self._right),
            worst=self._bootstrap.rate_difference(none_right, self._right).rounded(),
            artefacts=sorted(artefacts, key=lambda artefact: list(WORDS).index(artefact.name)),
        )
