"""What callers get of the tuned model, from the raw row to the raw answer, next to what was evaluated on masked records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from hallmark.answer.answers import Prompt
from hallmark.answer.parity import Changes, Received
from hallmark.answer.scoring import Scorer
from hallmark.base.stats import ClusterBootstrap
from hallmark.mask.restoring import Masked
from hallmark.model.tool_form import ToolForm
from hallmark.task.answers import compact_json
from hallmark.task.predictions import Prediction


class Sent(Protocol):
    """A record as its caller sends it (`hallmark/data/callers.py`)."""

    @property
    def masked(self) -> Masked | None:
        """What the model is asked, and what the stand-ins in it stand for; None: the masker refused it."""

    @property
    def refused(self) -> str | None:
        """The code of the refusal."""

    @property
    def raw(self) -> dict[str, Any]:
        """The raw texts and the right answer, as the scorer takes them."""

    def asks_as(self, record: Mapping[str, Any]) -> bool:
        """Whether the model is asked the same as with the record."""


def received(
    sent: Sequence[Sent],
    records: Sequence[Mapping[str, Any]],
    evaluated: Sequence[Prediction],
    answer: Callable[[list[Prompt]], list[str]],
    scorer: Scorer,
    form: ToolForm | None,
    *,
    confidence: float,
    draws: int,
    seed: int,
) -> Received:
    """What callers get. Where a caller's prompt is the one that was evaluated, so is the answer; `answer` gives the others.

    A request that the masker refuses, and an answer with what is left of a placeholder, which is not handed out, are not
    right. All others are compared with the raw target once the caller's values are back in them.
    """
    same = [one.asks_as(record) for one, record in zip(sent, records, strict=True)]
    prompts = {
        row: Prompt(one.masked.messages, one.masked.tools, row + 1)
        for row, one in enumerate(sent)
        if one.masked is not None and not same[row]
    }
    answered = dict(zip(prompts, answer(list(prompts.values())), strict=True)) if prompts else {}
    right, texts, leftover = [], 0, 0
    for row, (one, before) in enumerate(zip(sent, evaluated, strict=True)):
        text = before.prediction if same[row] else answered.get(row)
        texts += text != before.prediction
        damaged = one.masked is not None and text is not None and bool(one.masked.leftover(text))
        leftover += damaged
        if one.masked is None or text is None or damaged:
            right.append(False)
        else:
            right.append(scorer.score(**one.raw, prediction=_restored(text, one.masked, form)).exact_match)
    was = [row.exact_match for row in evaluated]
    bootstrap = ClusterBootstrap([row.group for row in evaluated], confidence=confidence, draws=draws, seed=seed)
    pairs = list(zip(was, right, strict=True))
    return Received(
        records=len(records),
        groups=bootstrap.clusters,
        same=sum(same),
        refused=dict(sorted(Counter(one.refused for one in sent if one.refused is not None).items())),
        leftover=leftover,
        evaluated=bootstrap.rate(was).rounded(),
        exact_match=bootstrap.rate(right).rounded(),
        changes=Changes(
            texts=texts,
            lost=sum(before and not after for before, after in pairs),
            won=sum(after and not before for before, after in pairs),
            behind=bootstrap.rate_difference(right, was).rounded(),
        ),
        worst=bootstrap.rate_difference([False] * len(was), was).rounded(),
    )


def _restored(text: str, masked: Masked, form: ToolForm | None) -> str:
    """An answer as its caller gets it: of calls in a template's form, name and arguments each for themselves."""
    calls = None if form is None else form.read(text)
    if form is None or calls is None:
        return masked.restored(text)
    return form.write(
        [
            {
                "name": masked.restored(call["name"]),
                "arguments": json.loads(masked.restored(compact_json(call["arguments"]))),
            }
            for call in calls
        ]
    )
