"""Limits on the lengths of records, checked before an hour of training meets the first that is too long."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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


@dataclass
class Measured:
    """What is measured of the records of a part, all in tokens. `most`: the limit; None: there is none."""

    part: str
    kind: str  # of `WORDS`
    param: str
    most: int | None
    records: int = 0
    longest: int = 0
    over: dict[str, int] = field(default_factory=dict)  # the records that are too long, by id

    def add(self, lengths: Mapping[str, int]) -> None:
        """Note more records, by id."""
        self.records += len(lengths)
        self.longest = max(self.longest, *lengths.values(), 0)
        if self.most is not None:
            self.over |= {name: length for name, length in lengths.items() if length > self.most}

    @property
    def counts(self) -> dict[str, int | None]:
        return {"measured": self.records, "longest": self.longest, "limit": self.most, "over": len(self.over)}


class Limits:
    """Measures records of a file in tokens of the base, against the limits of params."""

    def __init__(self, base: Path, file: Path, params: Params) -> None:
        self._tokenizer, self._context, self._file, self._params = load_tokenizer(base), context_of(base), file, params
        self._form = tool_form(params.task, self._tokenizer)

    def unfit(self, rows: Rows) -> set[str]:
        """The ids of the records that would be too long in some part of the split."""
        found = [*self._measured("train", [rows]), *self._measured("holdout", [rows])]
        return {name for measured in found if measured.kind != "pairs" for name in measured.over}

    def left_out(self, batches: Iterable[Rows], frozen: set[str]) -> set[str]:
        """The same, for `split.too_long: drop` to leave out; an error if one of them is frozen, or if they are all."""
        unfit, count = set[str](), 0
        for rows in batches:
            unfit |= self.unfit(rows)
            count += len(rows)
        if held := sorted(unfit & frozen):
            raise HallmarkError(
                f"{len(held)} records of the frozen holdout, which keeps its records, are too long; the first is '{held[0]}'",
                param="split.too_long",
                remedy=f"set it to count, raise the limit that they are over (error names it), or {REFREEZE}",
            )
        if len(unfit) == count:
            raise HallmarkError(
                f"all {count} records are too long, and none is left",
                param="split.too_long",
                remedy="set it to error: split then says which sft.max_length and eval.max_new_tokens would fit",
            )
        if unfit:
            log.warning("%d of %d records are too long and left out (split.too_long: drop)", len(unfit), count)
        return unfit

    def check(self, records: Mapping[str, Iterable[Rows]]) -> tuple[dict[str, Any], set[str]]:
        """The counts of all parts of the split, each in batches, for a report, and the ids of what is too long to be learned from.

        Stops if a record is too long and `split.too_long` is error.
        """
        found = [measured for part, batches in records.items() for measured in self._measured(part, batches)]
        if any(measured.over for measured in found):
            if self._params.split.too_long == "error":
                raise self._error(found)
            log.warning("%s (split.too_long: %s)", self._counted(found), self._params.split.too_long)
        unlearned = [of.over for of in found if of.part in LEARNED and of.kind == "records"]
        counts = {part: {of.kind: of.counts for of in found if of.part == part} for part in records}
        return counts, {name for over in unlearned for name in over}

    def _measured(self, part: str, batches: Iterable[Rows]) -> list[Measured]:
        sft, dpo, limit = self._params.sft, self._params.dpo, self._params.eval.max_new_tokens
        room = None if self._context is None else self._context - limit
        records = Measured(part, "records", "sft.max_length", sft.max_length)
        pairs = Measured(part, "pairs", "dpo.max_length", dpo.max_length)
        answers = Measured(part, "answers", "eval.max_new_tokens", limit)
        prompts = Measured(part, "prompts", "eval.max_new_tokens", room)
        for rows in batches:
            if part not in LEARNED:
                answers.add(_by_id(rows, answer_lengths(rows, self._tokenizer, self._form)))
                prompts.add(_by_id(rows, prompt_lengths(rows, self._tokenizer)))
                continue
            whole = _by_id(rows, self._whole(rows))
            records.add(whole)
            if dpo.enabled:
                paired = [row for row in rows if row["rejected"] and row["rejected"] != row["completion"]]
                other = _by_id(paired, self._whole(paired, answer="rejected"))
                pairs.add({name: max(length, whole[name]) for name, length in other.items()})
        if part not in LEARNED:
            return [answers, prompts]
        return [records, pairs] if dpo.enabled else [records]

    def _whole(self, rows: Rows, answer: Literal["completion", "rejected"] = "completion") -> list[int]:
        return record_lengths(rows, self._tokenizer, self._form, self._file, answer)

    def _counted(self, found: list[Measured]) -> str:
        """How many records of each part are too long."""
        records = {of.part: of.records for of in found if of.kind != "pairs"}
        over = {part: len({name for of in found if of.part == part for name in of.over}) for part in records}
        of_parts = [f"{count} of {records[part]} in {part}" for part, count in over.items() if count]
        return f"{sum(over.values())} records are too long: {', '.join(of_parts)}"

    def _error(self, found: list[Measured]) -> HallmarkError:
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
            f"{self._counted(found)}. The longest: {'; '.join(named)}",
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
            return max((of.longest for of in found if of.kind == kind), default=0)

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


def _by_id(rows: Rows, lengths: Iterable[int]) -> dict[str, int]:
    return dict(zip((row["id"] for row in rows), lengths, strict=True))
