"""Which settings would fit into a device's memory: the smallest change of the params first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.model.loading import IGNORED
from hallmark.plan.machine import at_hand, usable
from hallmark.plan.memory import training_bytes
from hallmark.plan.sizes import Batch, Sizes, configuration

if TYPE_CHECKING:
    from hallmark.model.params import Sft
    from hallmark.params.loader import Params

MOST = 3  # changes that are shown


@dataclass(frozen=True)
class Change:
    """Params of `sft` with other values, and the bytes that training would then take."""

    values: dict[str, Any]
    training_bytes: int

    def text(self) -> str:
        return ", ".join(f"sft.{name}: {_yaml(value)}" for name, value in self.values.items())


def changes(sizes: Sizes, sft: Sft, batch: Batch, device: str, most: int) -> list[Change]:
    found: list[Change] = []
    for values in candidates(sft, device):
        changed = sft.model_copy(update=values)
        size = training_bytes(sizes, changed, _at(batch, changed), device)
        if size <= most:
            found.append(Change(values, size))
        if len(found) == MOST:
            break
    return found


def candidates(sft: Sft, device: str) -> Iterator[dict[str, Any]]:
    """Values to try, the smallest change first: one setting at a time, then several together.

    A smaller batch with more accumulation leaves a step's records as they are.
    """
    kernel: dict[str, Any] = {"attention": "sdpa"} if device == "cuda" and sft.attention == "eager" else {}
    checkpointing: dict[str, Any] = {} if sft.gradient_checkpointing else {"gradient_checkpointing": True}
    quantized = {"method": "qlora", "dequantize_once": False}
    four = {name: value for name, value in quantized.items() if getattr(sft, name) != value}
    batches: list[dict[str, Any]] = []
    name, least = ("batch_tokens", sft.max_length) if sft.batch_tokens else ("batch_size", 1)
    size, accumulation = sft.batch_tokens or sft.batch_size, sft.gradient_accumulation_steps
    while size // 2 >= least:
        size, accumulation = size // 2, accumulation * 2
        batches.append({name: size, "gradient_accumulation_steps": accumulation})
    smallest = batches[-1] if batches else {}
    single = [kernel, *batches, checkpointing, four]
    together = [kernel | checkpointing, kernel | four, checkpointing | smallest, kernel | checkpointing | smallest]
    together += [kernel | checkpointing | four, kernel | checkpointing | four | smallest]
    seen: list[dict[str, Any]] = [{}]
    for values in (*single, *together):
        if values not in seen:
            seen.append(values)
            yield values


def _at(batch: Batch, sft: Sft) -> Batch:
    """The largest batch with other settings of `sft`."""
    if sft.packing and sft.batch_tokens:
        tokens = min(batch.tokens, sft.batch_tokens)
        return replace(batch, tokens=tokens, labelled=min(batch.labelled, tokens))
    size = max(1, sft.batch_tokens // batch.tokens) if sft.batch_tokens else sft.batch_size
    return replace(batch, records=min(batch.records, size))


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


def remedy(found: list[Change]) -> str:
    if not found:
        return "take a smaller base, a GPU with more memory, or a lower sft.max_length (with split.too_long: drop or count)"
    return "; or ".join(f"set {change.text()} ({gib(change.training_bytes)})" for change in found)


def check_training(params: Params, base: Path, train: Sequence[Mapping[str, list[int]]]) -> None:
    """A HallmarkError if training does not fit into the GPU at hand, before the weights in `base` are loaded.

    `train`: the records, as `input_ids` and `labels`. With several GPUs, each has its own batches; if FSDP shards the
    base over them, nothing is checked.
    """
    from hallmark.plan.batches import largest  # loads masking, which is none of what `sft` depends on
    from hallmark.plan.sizes import sizes

    memory, sft, device = at_hand(params.compute).memory, params.sft, params.compute.device
    if memory is None or (sft.parallel.strategy == "fsdp" and sft.parallel.processes > 1):
        return
    pairs = [(len(record["input_ids"]), sum(label != IGNORED for label in record["labels"])) for record in train]
    size, most = sizes(configuration(base), sft.lora), usable(memory)
    batch = largest(pairs, sft, min(sft.batch_size, len(pairs)), params.seed)
    needed = training_bytes(size, sft, batch, device)
    if needed > most:
        raise HallmarkError(
            f"training would take {gib(needed)} at the longest record, of {max(pairs)[0]} tokens: {gib(needed - most)} more than "
            f"the {gib(most)} that tensors may take of {gib(memory)}",
            param="sft",
            remedy=remedy(changes(size, sft, batch, device, most)),
        )
