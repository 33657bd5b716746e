"""The tokens that all records of a batch start with, computed once: the batch as one row, the shared tokens first.

In the row, after the shared tokens, come those of each record that are its own, padded to the same length. Only attention
reads more than one token; `attend` lets each record see the shared tokens and its own, so losses and gradients are those
of the records one by one, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import dropout as drop
from torch.nn.functional import scaled_dot_product_attention, softmax
from transformers import AttentionInterface

from hallmark.model.loading import IGNORED

NAME = "shared_prefix"  # of `attend` among transformers' attention functions
LAYERS = {"full_attention", "sliding_attention"}  # layers whose tokens only attention connects
# What models may pass to their attention besides its own arguments, without a change to its result.
HARMLESS = {"position_ids", "use_cache", "output_attentions", "output_hidden_states", "is_causal", "sliding_window"}
TRIED = 8  # tokens that two made-up records share, and that each has of its own
MOST_OFF = 0.1  # share of the change by a wrong reading that roundings may reach


@dataclass(frozen=True)
class Row:
    """A batch as one row: its tokens, labels and positions, each of shape (1, shared + records * own)."""

    input_ids: torch.Tensor
    labels: torch.Tensor
    position_ids: torch.Tensor
    shared: int  # tokens that all records start with
    records: int
    attention: str  # of the model: eager or sdpa


_row: ContextVar[Row] = ContextVar("row")


def as_row(input_ids: torch.Tensor, labels: torch.Tensor, attention: str) -> Row:
    """The row of a batch of shape (records, tokens), padded on the right.

    The token before a record's first label is never shared: that label is learned from the record's own state.
    """
    records, tokens = input_ids.shape
    alike = (input_ids == input_ids[:1]).all(dim=0)
    unlabelled = (labels == IGNORED).all(dim=0)
    alike[:-1] &= unlabelled[1:]
    alike[-1] = False
    shared = int((alike & unlabelled).long().cumprod(dim=0).sum())
    positions = torch.arange(tokens, device=input_ids.device).expand(records, tokens)
    ids, due, places = (
        torch.cat([of[0, :shared], of[:, shared:].flatten()])[None] for of in (input_ids, labels, positions)
    )
    return Row(ids, due, places, shared, records, attention)


@contextmanager
def in_row(decoder: Any, row: Row) -> Iterator[None]:
    """Let the decoder read this row in the block; not for a backward pass that computes the layers again."""
    before, decoder.config._attn_implementation = decoder.config._attn_implementation, NAME
    token = _row.set(row)
    try:
        yield
    finally:
        _row.reset(token)
        decoder.config._attn_implementation = before


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of a row, of states of shape (1, heads, tokens, width), as transformers' models call it."""
    changes = sorted(name for name, value in others.items() if value is not None and name not in HARMLESS)
    if changes or attention_mask is not None:
        raise NotImplementedError(f"attention with {', '.join(changes) or 'a mask'}")
    row, scale = _row.get(), query.shape[-1] ** -0.5 if scaling is None else scaling
    compute = _grouped if row.attention == "eager" else _fused
    own_query, own_key, own_value = (
        states[0, :, row.shared :].unflatten(1, (row.records, -1)).transpose(0, 1) for states in (query, key, value)
    )
    if not row.shared:
        return compute(own_query, own_key, own_value, scale, dropout).flatten(0, 1)[None], None
    query, key, value = (states[:, :, : row.shared] for states in (query, key, value))
    keys, values = (
        torch.cat([first.expand(row.records, -1, -1, -1), rest], dim=2)
        for first, rest in ((key, own_key), (value, own_value))
    )
    common = compute(query, key, value, scale, dropout)
    out = torch.cat([common, compute(own_query, keys, values, scale, dropout).flatten(0, 1)[None]], dim=1)
    return out, None


AttentionInterface.register(NAME, attend)


def _grouped(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, dropout: float) -> torch.Tensor:
    """Causal attention whose last query sees the last key, of shape (records, tokens, heads, width).

    The query heads that share a key are multiplied with it at once, where transformers would copy the key for each.
    """
    records, heads, tokens, width = query.shape
    shared, length = key.shape[1:3]
    hidden = torch.full((tokens, length), torch.finfo(query.dtype).min, dtype=query.dtype, device=query.device)
    mask = hidden.triu_(1 + length - tokens).repeat(heads // shared, 1)
    grouped = query.reshape(records * shared, -1, width)
    scores = torch.baddbmm(mask, grouped, key.reshape(records * shared, length, -1).transpose(1, 2), alpha=scale)
    with torch.autocast(query.device.type, enabled=False):  # sums in fp32 either way, and would copy to and from it
        weights = softmax(scores, dim=-1)
    weights = drop(weights, dropout) if dropout else weights
    out = torch.bmm(weights, value.reshape(records * shared, length, -1))
    return out.view(records, heads, tokens, -1).transpose(1, 2)


def _fused(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, dropout: float) -> torch.Tensor:
    """The same by torch's fused attention; on a GPU, flash attention in bf16."""
    bias: Any = causal_lower_right(query.shape[2], key.shape[2])
    several = query.shape[1] != key.shape[1]
    out = scaled_dot_product_attention(query, key, value, bias, dropout, scale=scale, enable_gqa=several)
    return out.transpose(1, 2)


def may_share(base: Any, longest: int) -> bool:
    """What the configuration says of `can_share`."""
    config = base.get_decoder().config
    window = getattr(config, "sliding_window", None)
    return (
        base._supports_attention_backend
        and config._attn_implementation in ("eager", "sdpa")
        and LAYERS.issuperset(getattr(config, "layer_types", None) or ())
        and getattr(config, "attn_logit_softcapping", None) is None
        and (window is None or window >= longest)
    )


@torch.no_grad()
def can_share(base: Any, longest: int) -> bool:
    """Whether this model can read records of up to `longest` tokens in a row, and gives them the states they have one by one.

    Not if it has a state (Mamba) or attention of its own (BLOOM), and not with a window that a record is longer than. It is
    tried in the first layers, where roundings are still small against what a wrong reading would change.
    """
    decoder = base.get_decoder()
    config = decoder.config
    if not may_share(base, longest):
        return False
    first, *own = (torch.arange(3 * TRIED, device=base.device) % config.vocab_size).split(TRIED)
    records = torch.stack([torch.cat([first, rest]) for rest in own])
    row = as_row(records, torch.full_like(records, IGNORED), config._attn_implementation)
    in_a_row = {"input_ids": row.input_ids, "position_ids": row.position_ids}
    training, bf16 = base.training, base.dtype == torch.bfloat16

    def states(**inputs: torch.Tensor) -> torch.Tensor:
        layers = decoder(**inputs, use_cache=False, output_hidden_states=True).hidden_states
        return layers[min(2, len(layers) - 1)].float()

    base.eval()
    try:
        with torch.autocast(base.device.type, dtype=torch.bfloat16, enabled=bf16):
            due, wrong = states(input_ids=records), states(**in_a_row)
            with in_row(decoder, row):
                found = states(**in_a_row)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False  # its layers take something else
    finally:
        base.train(training)
    due = torch.cat([due[:1, : row.shared], due[:, row.shared :].flatten(0, 1)[None]], dim=1)
    return bool((found - due).norm() <= MOST_OFF * (wrong - due).norm())
