"""Limits on the lengths of records, checked before an hour of training meets the first that is too long."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import HallmarkError
from stages.models.chat_template import tool_form
from stages.models.lengths import (
    STEP_ANSWER,
    STEP_RECORD,
    Rows,
    answer_lengths,
    context_of,
    prompt_lengths,
    record_lengths,
    rounded_up,
)
from stages.models.loading import load_tokenizer

if TYPE_CHECKING:
    from stages.params.loader import Params

log = logging.getLogger("lengths")

LONGER_CONTEXT = "take a base with a longer context"


@dataclass(frozen=True)
class Limit:
    """A param that limits lengths, and the lengths of the records that it holds for, all in tokens."""

    param: str
    most: int
    choice: str  # the param that says what happens to longer ones
    chosen: str
    leave: str  # the value of `choice` that lets them pass
    of: str  # what is measured
    step: int  # a limit that fits is rounded up to a multiple of it
    rows: Rows
    lengths: Sequence[int]

    @property
    def over(self) -> int:
        """How many are too long."""
        return sum(length > self.most for length in self.lengths)

    @property
    def longest(self) -> int:
        """The longest; 0 if there are none."""
        return max(self.lengths, default=0)

    def words(self) -> str:
        """How many are too long, and which is the longest."""
        name = self.rows[self.lengths.index(self.longest)]["id"]
        return (
            f"{self.over} of {len(self.lengths)} {self.of} are longer than {self.param} = {self.most} tokens "
            f"(the longest: {self.longest}, in record '{name}')"
        )

    def remedy(self, context: int | None) -> str:
        """What to set so that all pass."""
        leave = f"{self.choice} to {self.leave}"
        if context and self.longest > context:
            return f"set {leave}, shorten them to the {context} tokens that the base reads, or {LONGER_CONTEXT}"
        return f"set {self.param} to {rounded_up(self.longest, self.step, context)} or more, or {leave}"


def check(records: Mapping[str, Rows], base: Path, file: Path, params: Params) -> dict[str, dict[str, int]]:
    """Stop if a record of `file` is too long to be trained on, to be read or to be answered; else the counts, for a report.

    `records` has the parts of the split by name.
    """
    sft, dpo, evaluation = params.sft, params.dpo, params.eval
    tokenizer, context = load_tokenizer(base), context_of(base)
    form = tool_form(params.task, tokenizer)
    learned = [*records["train"], *records["validation"]]
    answered = [name for name in ("holdout", "calibration", "online") if records[name]]
    held, where = [row for name in answered for row in records[name]], f"the {' and '.join(answered)}"
    limits = {
        "records": Limit(
            "sft.max_length", sft.max_length, "sft.too_long", sft.too_long, "drop", "training records", STEP_RECORD,
            learned, record_lengths(learned, tokenizer, form, file),
        ),
        "answers": Limit(
            "eval.max_new_tokens", evaluation.max_new_tokens, "eval.too_long", evaluation.too_long, "count",
            f"expected answers in {where}", STEP_ANSWER, held, answer_lengths(held, tokenizer, form),
        ),
    }  # fmt: skip
    if dpo.enabled:
        pairs = [row for row in learned if row["rejected"] and row["rejected"] != row["completion"]]
        lengths = record_lengths(pairs, tokenizer, form, file, "rejected")
        of = "training records with their rejected answers"
        limits["pairs"] = Limit(
            "dpo.max_length", dpo.max_length, "dpo.too_long", dpo.too_long, "drop", of, STEP_RECORD, pairs, lengths
        )
    broken = []
    for limit in limits.values():
        if limit.over and limit.chosen == limit.leave:
            log.warning("%s; %s is %s", limit.words(), limit.choice, limit.leave)
        elif limit.over:
            broken.append((limit.param, limit.words(), limit.remedy(context)))
    prompts = prompt_lengths(held, tokenizer)
    room = (context or 0) - evaluation.max_new_tokens
    if context and (over := sum(length > room for length in prompts)):
        longest = max(prompts)
        problem = (
            f"{over} of {len(held)} prompts of {where} leave no room for eval.max_new_tokens = "
            f"{evaluation.max_new_tokens} in the {context} tokens that the base reads (the longest: {longest}, in record "
            f"'{held[prompts.index(longest)]['id']}')"
        )
        broken.append(("eval.max_new_tokens", problem, f"lower it, shorten the prompts, or {LONGER_CONTEXT}"))
    if broken:
        raise HallmarkError(
            "; ".join(problem for _, problem, _ in broken),
            param=", ".join(dict.fromkeys(param for param, _, _ in broken)),
            remedy="; ".join(remedy for _, _, remedy in broken),
        )
    counts = {
        name: {"measured": len(limit.lengths), "longest": limit.longest, "limit": limit.most, "over": limit.over}
        for name, limit in limits.items()
    }
    return counts | {"prompts": {"measured": len(prompts), "longest": max(prompts, default=0)}}
