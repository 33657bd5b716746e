"""The batches that training and evaluation will make of the records, and the work in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.planning.lengths import Lengths, Part
from stages.planning.memory import Batch
from stages.planning.work import NOTHING, Matrices, Work

if TYPE_CHECKING:
    from stages.params.loader import Params
    from stages.training.params import Sft


@dataclass(frozen=True)
class Training:
    """The batches of a training: the largest, a middle one, and the work of all of them."""

    largest: Batch
    middle: Batch
    steps: int
    validations: int  # passes over the validation records
    records: int
    batches: list[Batch]  # of one pass over the records whose tokens were counted
    validation: list[Batch]
    validation_records: int

    def work(self, sizes: Matrices, count: int, validations: int) -> Work:
        """The work of so many batches of training, and of so many passes over the validation records."""
        each = _mean([sizes.training(*_totals(batch)) for batch in self.batches])
        watched = _mean([sizes.reading(*_totals(batch)) for batch in self.validation])
        passes = validations * -(-self.validation_records // max(batch.records for batch in self.validation))
        return each.times(count) + watched.times(passes)


@dataclass(frozen=True)
class Answering:
    """The batches of an evaluation of one model, and the tokens that each writes for every record of it."""

    batches: list[Batch]
    written: list[int]
    share: float  # of the holdout: how many times as many records there are

    @property
    def largest(self) -> Batch:
        """The batch with the longest prompts."""
        return max(self.batches, key=lambda batch: batch.records * batch.tokens)


def training(params: Params, found: Lengths) -> Training:
    """The batches of `sft`, records of like length together, as its sampler makes them."""
    sft = params.sft
    kept = [pair for pair in zip(found.train.whole, found.train.answers, strict=True) if pair[0] <= sft.max_length]
    kept = kept or [(sft.max_length, min(sft.max_length, params.eval.max_new_tokens))]
    watched = list(zip(found.validation.whole, found.validation.answers, strict=True)) or kept
    size = min(sft.batch_size, found.train.records)
    batches = by_tokens(kept, sft, params.seed) if sft.batch_tokens else in_batches(kept, size, params.seed)
    steps = step_count(found.train.records, sft, len(kept) / len(batches))
    middle = sorted(batches, key=lambda batch: batch.records * batch.tokens)[len(batches) // 2]
    return Training(
        largest=largest(kept, sft, found.train.records, params.seed),
        middle=middle if sft.batch_tokens else Batch(size, middle.tokens, middle.labelled),
        steps=steps,
        validations=1 + math.ceil(steps / sft.eval_steps),
        records=found.train.records,
        batches=batches,
        validation=in_batches(sorted(watched), size, None),
        validation_records=found.validation.records,
    )


def largest(pairs: list[tuple[int, int]], sft: Sft, records: int, seed: int) -> Batch:
    """The batch that takes most memory: `batch_size` of the longest records, or the fullest by `batch_tokens`."""
    longest, answer = max(whole for whole, _ in pairs), max(answer for _, answer in pairs)
    if sft.batch_tokens is None:
        return Batch(min(sft.batch_size, records), longest, min(answer, longest))
    return max(by_tokens(pairs, sft, seed), key=lambda batch: (batch.records * batch.tokens, batch.labelled))


def step_count(records: int, sft: Sft, per_batch: float = 1.0) -> int:
    """How many optimizer steps there will be; `per_batch`: the records of a batch, if they are counted by their tokens."""
    if sft.max_steps:
        return sft.max_steps
    batches = math.ceil(records / (per_batch if sft.batch_tokens else sft.batch_size))
    return math.ceil(math.ceil(math.ceil(batches / sft.parallel.processes) / sft.accumulation) * sft.epochs)


def by_tokens(pairs: list[tuple[int, int]], sft: Sft, seed: int) -> list[Batch]:
    """Pairs of a record's tokens and those of its answer, in batches of `sft.batch_tokens`; a packed one is one long row."""
    from stages.training.batches import packed_batches, padded_batches

    assert sft.batch_tokens is not None
    batches = []
    for indices in (packed_batches if sft.packing else padded_batches)(
        [whole for whole, _ in pairs], sft.batch_tokens, seed
    ):
        whole, answers = zip(*(pairs[index] for index in indices), strict=True)
        labelled = math.ceil(sum(answers) / len(answers))
        batches.append(Batch(1, sum(whole), sum(answers)) if sft.packing else Batch(len(whole), max(whole), labelled))
    return batches


def in_batches(pairs: list[tuple[int, int]], size: int, seed: int | None) -> list[Batch]:
    """Pairs of a record's tokens and those of its answer, in batches: in order, or as the sampler of `sft` orders them."""
    order = list(range(len(pairs)))
    if seed is not None:
        from stages.training.trainer import LengthSampler

        order = list(LengthSampler([whole for whole, _ in pairs], size, seed))
    batches = []
    for start in range(0, len(order), size):
        batch = [pairs[index] for index in order[start : start + size]]
        labelled = math.ceil(sum(answer for _, answer in batch) / len(batch))
        batches.append(Batch(len(batch), max(whole for whole, _ in batch), labelled))
    return batches


def answering(params: Params, part: Part, *, base: bool) -> Answering:
    """The batches of `eval`: longest prompts first.

    A batch runs until its last answer ends. The base rambles up to the limit; the tuned model ends where it should.
    """
    limit, size = params.eval.max_new_tokens, params.eval.batch_size
    pairs = sorted(zip(part.prompts, part.answers, strict=True), reverse=True)
    size = min(size, part.records)
    batches, written = [], []
    for start in range(0, len(pairs), size):
        chunk = pairs[start : start + size]
        batches.append(Batch(len(chunk), chunk[0][0], 0))
        written.append(limit if base else min(limit, max(answer for _, answer in chunk)))
    return Answering(batches, written, part.records / len(pairs))


def _totals(batch: Batch) -> tuple[int, int, int]:
    tokens = batch.records * batch.tokens
    return tokens, tokens * batch.tokens, batch.records * batch.labelled


def _mean(works: list[Work]) -> Work:
    return sum(works, NOTHING).times(1 / len(works)) if works else NOTHING
