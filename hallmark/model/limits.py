"""Limits on the lengths of records, checked before an hour of training meets the first that is too long."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hallmark.base.errors import HallmarkError
from hallmark.base.holdout import REFREEZE
from hallmark.model.chat_template import tool_form
from hallmark.model.lengths import (
    STEP_ANSWER,
    STEP_RECORD,
    Rows,
    answer_lengths,
    context_of,
    prompt_lengths,
    record_lengths,
    rounded_up,
)
from hallmark.model.loading import load_tokenizer

if TYPE_CHECKING:
    from hallmark.params.loader import Params

log = logging.getLogger("lengths")

LEARNED = ("train", "validation")  # parts that are trained on or give the validation loss; the others are answered
SHOWN = 20  # records named in an error
WORDS = {
    "records": "prompt and answer",
    "pairs": "prompt and the longer answer of a pair",
    "answers": "the answer",
    "prompts": "the prompt",
}


@dataclass(frozen=True)
class Measured:
    """What is measured of the records of a part, all in tokens. `most`: the limit; None: there is none."""

    part: str
    kind: str  # of `WORDS`
    param: str
    most: int | None
    lengths: dict[str, int]  # by id

    @property
    def over(self) -> dict[str, int]:
        """The records that are too long."""
        return {name: length for name, length in self.lengths.items() if self.most is not None and length > self.most}

    @property
    def counts(self) -> dict[str, int | None]:
        """For a report."""
        longest = max(self.lengths.values(), default=0)
        return {"measured": len(self.lengths), "longest": longest, "limit": self.most, "over": len(self.over)}


class Limits:
    """Measures records of a file in tokens of the base, against the limits of params."""

    def __init__(self, base: Path, file: Path, params: Params) -> None:
        self._tokenizer, self._context, self._file, self._params = load_tokenizer(base), context_of(base), file, params
        self._form = tool_form(params.task, self._tokenizer)
        self._known: dict[str, dict[str, int]] = defaultdict(dict)  # by what is measured and id

    def unfit(self, rows: Rows) -> set[str]:
        """The ids of the records that would be too long in some part of the split."""
        found = [*self._measured("train", rows), *self._measured("holdout", rows)]
        return {name for measured in found if measured.kind != "pairs" for name in measured.over}

    def left_out(self, rows: Rows, frozen: set[str]) -> set[str]:
        """The same, for `split.too_long: drop` to leave out; an error if one of them is frozen, or if they are all."""
        unfit = self.unfit(rows)
        if held := sorted(unfit & frozen):
            raise HallmarkError(
                f"{len(held)} records of the frozen holdout, which keeps its records, are too long; the first is '{held[0]}'",
                param="split.too_long",
                remedy=f"set it to count, raise the limit that they are over (error names it), or {REFREEZE}",
            )
        if len(unfit) == len(rows):
            raise HallmarkError(
                f"all {len(rows)} records are too long, and none is left",
                param="split.too_long",
                remedy="set it to error: split then says which sft.max_length and eval.max_new_tokens would fit",
            )
        if unfit:
            log.warning("%d of %d records are too long and left out (split.too_long: drop)", len(unfit), len(rows))
        return unfit

    def check(self, records: Mapping[str, Rows]) -> tuple[dict[str, Any], set[str]]:
        """The counts of all parts of the split, for a report, and the ids of what is too long to be learned from.

        Stops if a record is too long and `split.too_long` is error.
        """
        found = [measured for part, rows in records.items() for measured in self._measured(part, rows)]
        if any(measured.over for measured in found):
            if self._params.split.too_long == "error":
                raise self._error(records, found)
            log.warning("%s (split.too_long: %s)", self._counted(records, found), self._params.split.too_long)
        unlearned = [of.over for of in found if of.part in LEARNED and of.kind == "records"]
        counts = {part: {of.kind: of.counts for of in found if of.part == part} for part in records}
        return counts, {name for over in unlearned for name in over}

    def _measured(self, part: str, rows: Rows) -> Iterator[Measured]:
        sft, dpo, limit = self._params.sft, self._params.dpo, self._params.eval.max_new_tokens

        if part in LEARNED:
            whole = self._lengths("completion", rows, self._whole)
            yield Measured(part, "records", "sft.max_length", sft.max_length, whole)
            if dpo.enabled:
                pairs = [row for row in rows if row["rejected"] and row["rejected"] != row["completion"]]
                other = self._lengths("rejected", pairs, partial(self._whole, answer="rejected"))
                longer = {name: max(length, whole[name]) for name, length in other.items()}
                yield Measured(part, "pairs", "dpo.max_length", dpo.max_length, longer)
            return
        answers = self._lengths("answers", rows, lambda new: answer_lengths(new, self._tokenizer, self._form))
        yield Measured(part, "answers", "eval.max_new_tokens", limit, answers)
        room = None if self._context is None else self._context - limit
        prompts = self._lengths("prompts", rows, lambda new: prompt_lengths(new, self._tokenizer))
        yield Measured(part, "prompts", "eval.max_new_tokens", room, prompts)

    def _lengths(self, what: str, rows: Rows, measure: Callable[[Rows], list[int]]) -> dict[str, int]:
        """By id; none is measured twice."""
        known = self._known[what]
        new = [row for row in rows if row["id"] not in known]
        known.update(zip((row["id"] for row in new), measure(new), strict=True))
        return {row["id"]: known[row["id"]] for row in rows}

    def _whole(self, rows: Rows, answer: Literal["completion", "rejected"] = "completion") -> list[int]:
        return record_lengths(rows, self._tokenizer, self._form, self._file, answer)

    def _counted(self, records: Mapping[str, Rows], found: list[Measured]) -> str:
        """How many records of each part are too long."""
        over = {part: len({name for of in found if of.part == part for name in of.over}) for part in records}
        of_parts = [f"{count} of {len(records[part])} in {part}" for part, count in over.items() if count]
        return f"{sum(over.values())} records are too long: {', '.join(of_parts)}"

    def _error(self, records: Mapping[str, Rows], found: list[Measured]) -> HallmarkError:
        named: list[str] = []
        left = SHOWN
        for of in found:
            longest = sorted(of.over.items(), key=lambda item: (-item[1], item[0]))[:left]
            left -= len(longest)
            if longest:
                shown = ", ".join(f"'{name}' {length}" for name, length in longest)
                named.append(f"{of.part}, {WORDS[of.kind]} over {of.most} tokens: {shown}")
        fits = dict(self._fits(kind, found) for kind in ("records", "pairs", "answers") if self._broken(kind, found))
        return HallmarkError(
            f"{self._counted(records, found)}. The longest: {'; '.join(named)}",
            param=", ".join(fits),
            remedy=f"{'; '.join(fits.values())}; or set split.too_long to drop (they are left out of every part, pairs of dpo alone) or count (they "
            "stay where answers are evaluated, as wrong ones, and are left out of training and validation)",
        )

    @staticmethod
    def _broken(kind: str, found: list[Measured]) -> bool:
        kinds = (kind, "prompts") if kind == "answers" else (kind,)
        return any(of.over for of in found if of.kind in kinds)

    def _fits(self, kind: str, found: list[Measured]) -> tuple[str, str]:
        """The param of a kind, and the words for a value with which all records fit."""

        def longest(kind: str) -> int:
            return max((max(of.lengths.values(), default=0) for of in found if of.kind == kind), default=0)

        param = next(of.param for of in found if of.kind == kind)
        step = STEP_ANSWER if kind == "answers" else STEP_RECORD
        room = None if self._context is None else self._context - (longest("prompts") if kind == "answers" else 0)
        if room is not None and longest(kind) > room:
            answers = (
                f"set it to {rounded_up(longest(kind), step, self._context)} for the answers, and "
                if step == STEP_ANSWER
                else ""
            )
            return (
                param,
                f"no {param} fits: {answers}shorten them, or take a base that reads more than {self._context} tokens",
            )
        return param, f"set {param} to {rounded_up(longest(kind), step, room)}"
