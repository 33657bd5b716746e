"""What callers get of the tuned model, from the raw row to the raw answer, next to what was evaluated on masked records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hallmark.answer.answers import Prompt
from hallmark.answer.parity import Received, changes
from hallmark.answer.predictions import bootstrap_of
from hallmark.answer.scoring import Scorer
from hallmark.mask.restoring import Masked
from hallmark.model.tool_form import ToolForm
from hallmark.task.answers import compact_json
from hallmark.task.predictions import Prediction

if TYPE_CHECKING:
    from hallmark.mask.callers import Sent
    from hallmark.params.loader import Params


def received(
    sent: Sequence[Sent],
    records: Sequence[Mapping[str, Any]],
    evaluated: Sequence[Prediction],
    answer: Callable[[list[Prompt]], list[str]],
    scorer: Scorer,
    form: ToolForm | None,
    params: Params,
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
    was, bootstrap = [row.exact_match for row in evaluated], bootstrap_of(evaluated, params)
    return Received(
        records=len(records),
        groups=bootstrap.clusters,
        same=sum(same),
        refused=dict(sorted(Counter(one.refused for one in sent if one.refused is not None).items())),
        leftover=leftover,
        evaluated=bootstrap.rate(was).rounded(),
        exact_match=bootstrap.rate(right).rounded(),
        changes=changes(texts, was, right, bootstrap),
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
