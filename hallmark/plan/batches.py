"""The batches that training and evaluation will make of the records, and the operations in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean

from hallmark.model.params import Sft
from hallmark.params.loader import Params
from hallmark.plan.lengths import NO_PART, Lengths, Part
from hallmark.plan.sizes import Batch, Sizes

WEIGHTS = ("base", "tuned")  # the models with a stage of their own
Pairs = list[tuple[int, int]]  # the tokens of a record, and how many of them are its answer's


@dataclass(frozen=True)
class Training:
    """The batches of a training, and of its validations."""

    largest: Batch
    batches: list[Batch]  # of one pass over the records whose tokens were counted
    steps: int
    watched: list[Batch]  # of a pass over the validation records whose tokens were counted
    watched_count: int  # in a pass over all validation records

    def work(self, sizes: Sizes, checkpointed: bool, count: int, validations: int) -> float:
        """The operations of this number of batches of training, and of passes over the validation records."""
        trained = fmean(sizes.training(batch, checkpointed) for batch in self.batches)
        read = fmean(sizes.reading(batch, batch.labelled, adapter=True) for batch in self.watched)
        return trained * count + read * validations * self.watched_count


@dataclass(frozen=True)
class Answering:
    """The batches of an evaluation of one model, the tokens of the longest answer of each, and those of all its answers."""

    batches: list[Batch]
    steps: list[int]
    written: list[int]
    stage: str  # of dvc.yaml
    shared: int  # tokens that all prompts start with, which are read once
    share: float  # of the holdout: how many times as many records there are


def training(params: Params, found: Lengths) -> Training:
    """The batches of `sft`, records of like length together, as its sampler makes them."""
    sft = params.sft
    kept = [pair for pair in zip(found.train.whole, found.train.answers, strict=True) if pair[0] <= sft.max_length]
    kept = kept or [(sft.max_length, min(sft.max_length, params.eval.max_new_tokens))]
    watched = list(zip(found.validation.whole, found.validation.answers, strict=True)) or kept
    size = min(sft.batch_size, found.train.records)
    batches = in_batches(kept, sft, size, params.seed)
    steps = step_count(found.train.records, len(batches) * found.train.records / len(kept), sft)
    return Training(
        largest=largest(kept, sft, size, params.seed),
        batches=batches,
        steps=steps,
        watched=cut(sorted(watched), size),
        watched_count=-(-found.validation.records // size),
    )


def validations(steps: float, every: float) -> int:
    """How many passes over the validation records these steps of training take, with the one before the first step."""
    return 1 + math.ceil(steps / every)


def step_count(records: int, of_tokens: float, sft: Sft) -> int:
    """How many optimizer steps there will be; `of_tokens`: batches that a pass has with `batch_tokens`."""
    if sft.max_steps:
        return sft.max_steps
    count = math.ceil(of_tokens) if sft.batch_tokens else math.ceil(records / sft.batch_size)
    return math.ceil(
        math.ceil(math.ceil(count / sft.parallel.processes) / sft.gradient_accumulation_steps) * sft.epochs
    )


def largest(pairs: Pairs, sft: Sft, size: int, seed: int) -> Batch:
    """The largest batch that training can get: of the longest records, each with the longest answer."""
    tokens, answer = max(whole for whole, _ in pairs), max(answer for _, answer in pairs)
    if not sft.batch_tokens:
        return Batch(size, tokens, min(answer, tokens))
    batch = max(in_batches(pairs, sft, size, seed), key=lambda batch: batch.all_tokens)
    return batch if sft.packing else Batch(batch.records, batch.tokens, min(answer, batch.tokens))


def in_batches(pairs: Pairs, sft: Sft, size: int, seed: int) -> list[Batch]:
    """The batches that the samplers of `sft` make of pairs: a record's tokens, and those of its answer."""
    from hallmark.model.batches import packed_batches, padded_batches
    from hallmark.model.trainer import LengthSampler

    lengths = [whole for whole, _ in pairs]
    if sft.batch_tokens and sft.packing:
        groups = packed_batches(lengths, sft.batch_tokens, seed)
        rows = [[pairs[index] for index in group] for group in groups]
        return [Batch(1, sum(whole for whole, _ in row), sum(answer for _, answer in row)) for row in rows]
    if sft.batch_tokens:
        groups = padded_batches(lengths, sft.batch_tokens, seed)
        return [_padded([pairs[index] for index in group]) for group in groups]
    return cut([pairs[index] for index in LengthSampler(lengths, size, seed)], size)


def cut(pairs: Pairs, size: int) -> list[Batch]:
    return [_padded(pairs[start : start + size]) for start in range(0, len(pairs), size)]


def _padded(pairs: Pairs) -> Batch:
    return Batch(
        len(pairs), max(whole for whole, _ in pairs), math.ceil(sum(answer for _, answer in pairs) / len(pairs))
    )


def all_answering(params: Params, part: Part, calibration: Part, online: Part = NO_PART) -> list[Answering]:
    """What `eval` asks of base, tuned model and comparators, in this order; of those that are sampled, fewer records.

    A comparator that does not run here, but whose answers were bought, takes no time and no memory. Last come the tuned
    model's answers to the parts calibration and online.
    """
    whole = sorted(part.whole)[len(part.whole) // 2]
    comparators = params.eval.comparators.items()
    longer = {name: settings.longer_by(whole) for name, settings in comparators if settings.runs_here}
    models = {**dict.fromkeys(WEIGHTS, 0), **longer}
    apart = [(stage, each) for stage, each in (("calibration", calibration), ("online", online)) if each.records]
    more = [answering(params, stage, each, base=False, records=each.records) for stage, each in apart]
    return [
        answering(
            params,
            f"eval@{name}" if name in WEIGHTS else "comparators",
            part,
            base=name != "tuned",
            records=min(part.records, params.eval.sample.get(name, part.records)),
            longer=longer,
        )
        for name, longer in models.items()
    ] + more


def answering(params: Params, stage: str, part: Part, *, base: bool, records: int, longer: int = 0) -> Answering:
    """The batches of `eval`: longest prompts first. `records`: how many are asked; `longer`: tokens added to each prompt.

    A record leaves its batch when its answer ends. The base rambles up to the limit; the tuned model ends where it should.
    """
    limit, size = params.eval.max_new_tokens, params.eval.batch_size
    pairs = sorted(zip(part.prompts, part.answers, strict=True), reverse=True)
    size = min(size, records)
    batches, steps, written = [], [], []
    for start in range(0, len(pairs), size):
        chunk = pairs[start : start + size]
        answers = [limit if base else min(limit, answer) for _, answer in chunk]
        batches.append(Batch(len(chunk), chunk[0][0] + longer, 0))
        steps.append(max(answers))
        written.append(sum(answers))
    return Answering(batches, steps, written, stage, part.shared, records / len(pairs))


def middle(batches: list[Batch]) -> Batch:
    return sorted(batches, key=lambda batch: batch.all_tokens)[len(batches) // 2]
