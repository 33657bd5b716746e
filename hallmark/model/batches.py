"""Batches by a budget of tokens (`sft.batch_tokens`): records of similar length that are padded, or packed end to end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hallmark.base.errors import HallmarkError

STRETCH = 16  # batches' worth of tokens that is sorted at once; more means less padding and less randomness
MOST_CHANGED = (
    0.01  # share of a record's hidden states that may depend on others in its row: rounding, not what they say
)


class TokenBatches(torch.utils.data.Dataset[list[Any]]):
    """The records of each batch. The batches stay the same in every pass, so that all passes have as many."""

    def __init__(self, records: Any, budget: int, seed: int, *, packed: bool) -> None:
        self.records = records
        lengths = [len(ids) for ids in records["input_ids"]]
        self.batches = packed_batches(lengths, budget, seed) if packed else padded_batches(lengths, budget, seed)
        self.tokens = [sum(lengths[index] for index in batch) for batch in self.batches]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> list[Any]:
        return [self.records[record] for record in self.batches[index]]


def padded_batches(lengths: Sequence[int], budget: int, seed: int) -> list[list[int]]:
    """Batches of indices in which the longest record's length times the number of records is at most `budget`."""
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed)).tolist()
    batches: list[list[int]] = []
    while order:
        size, tokens = 0, 0
        while size < len(order) and tokens < STRETCH * budget:
            tokens += lengths[order[size]]
            size += 1
        stretch, order = order[:size], order[size:]
        batch: list[int] = []
        for index in sorted(stretch, key=lambda index: (lengths[index], index)):
            if batch and lengths[index] * (len(batch) + 1) > budget:
                batches.append(batch)
                batch = []
            batch.append(index)
        batches.append(batch)
    return batches


def packed_batches(lengths: Sequence[int], budget: int, seed: int) -> list[list[int]]:
    """Batches of indices whose records have at most `budget` tokens together: TRL's best fit, the longest first."""
    import datasets
    from trl import pack_dataset

    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed)).tolist()
    rows = datasets.Dataset.from_dict({"record": [[index] * lengths[index] for index in order]})
    return [list(dict.fromkeys(row)) for row in pack_dataset(rows, budget, "bfd")["record"]]


def records_in(batch: dict[str, Any]) -> int:
    """How many records a batch has: one in each row, or in the one row of a packed batch as many as start there."""
    return int((batch["position_ids"] == 0).sum()) if "position_ids" in batch else len(batch["labels"])


def record_weights(labelled: torch.Tensor, position_ids: torch.Tensor | None, power: float) -> torch.Tensor:
    """For each token that has a label, the number of such tokens in its record to this power, as float32.

    `labelled`: which tokens have one, without the first of each row. `position_ids`: of all tokens, if they are packed.
    """
    if position_ids is None:
        lengths = labelled.sum(dim=1, keepdim=True).clamp(min=1)
        return (labelled * lengths.float() ** power)[labelled]
    record = (position_ids == 0).cumsum(dim=1)[:, 1:][labelled]
    return (torch.bincount(record).clamp(min=1).float() ** power)[record]


@torch.no_grad()
def check_apart(base: Any) -> None:
    """A HallmarkError unless this model, told only by positions that a new record starts, keeps packed records apart.

    Most models in transformers do; not those with a state (Mamba) or with positions counted from the mask (OPT, BLOOM).
    """
    length, training = 16, base.training
    ids = torch.arange(3 * length, device=base.device)[None] % base.config.get_text_config().vocab_size
    first, other, second = ids.split(length, dim=1)
    positions = torch.arange(length, device=base.device).repeat(2)[None]
    base.eval()
    one, two = (
        base.get_decoder()(
            input_ids=torch.cat([before, second], dim=1), position_ids=positions, use_cache=False
        ).last_hidden_state[:, length:].float()
        for before in (first, other)
    )  # fmt: skip
    base.train(training)
    if (one - two).norm() > MOST_CHANGED * one.norm():
        raise HallmarkError(
            f"a base of type {base.config.model_type} does not keep packed records apart",
            param="sft.packing",
            remedy="set sft.packing to false; sft.batch_tokens works without it",
        )
