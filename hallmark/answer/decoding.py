"""Greedy decoding of a batch: what all prompts start with is read once, and rows that have ended leave the batch.

Models whose cache can't be shared or cut row by row write with transformers' `generate`; the answers are the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig, GenerationMixin, LogitsProcessor
from transformers.cache_utils import Cache, DynamicLayer, DynamicSlidingWindowLayer

# Told how many rows are being written, each time the scores of their next tokens are known.
Watcher = Callable[[int], None]
# Given which rows these are, the last token of each (None before the first), and their scores: it closes what may not
# follow (-inf), and changes no other.
Limiter = Callable[[Sequence[int], Sequence[int] | None, torch.Tensor], None]

NEEDED = {"attention_mask", "position_ids", "cache", "logits_to_keep"}  # what a model's `forward` must take
# Models whose own preparation of inputs only acts where the rotary factors change, which `fits` leaves to it.
SAME_PREPARATION = {"Phi3ForCausalLM"}


@dataclass(frozen=True)
class Written:
    """The tokens written after a prompt, the one that ends it included, and the log-probability of each.

    It is the model's own, over all tokens: what a limiter closes doesn't change it.
    """

    tokens: list[int]
    logs: list[float]


class Decoder:
    """Writes greedily after batches of prompts, with one model."""

    def __init__(self, model: Any, *, ends: set[int], pad: int, limit: int) -> None:
        """`ends`: the tokens that end an answer. `pad`: the token that fills up. `limit`: most tokens of an answer."""
        self._model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._ends, self._pad, self._limit = ends, pad, limit
        # A generation config of the model's own (sampling, penalties) must not reach what is measured.
        model.generation_config = self._model.generation_config = GenerationConfig(
            max_new_tokens=limit, do_sample=False, eos_token_id=sorted(ends), pad_token_id=pad
        )
        self._plain = not decodable(self._model)
        self._prefix: list[int] = []
        self._read: Any = None  # the cache of the prefix, once it has been read

    def share(self, prompts: Sequence[Sequence[int]]) -> int:
        """From now on, read what all these prompts start with once; returns how many tokens that is.

        Each prompt keeps a token of its own at least. All rows that `write` gets must start with these tokens.
        """
        self._prefix, self._read = [] if self._plain or len(prompts) < 2 else common_start(prompts), None
        return len(self._prefix)

    @torch.inference_mode()
    def write(self, rows: Sequence[Sequence[int]], *watching: Watcher, limiter: Limiter | None = None) -> list[Written]:
        """What is written after each row, up to the token that ends it or the limit."""
        room = max(map(len, rows)) + self._limit
        if self._plain or not fits(self._model.config, room):
            return self._generate(rows, watching, limiter)
        shared = len(self._prefix)
        ids, known = padded([row[shared:] for row in rows], self._pad)
        start, end = shared, shared + ids.shape[1]
        mask = torch.ones(len(rows), room, dtype=torch.long)
        mask[:, start:end] = known
        places = (mask.cumsum(1) - 1).clamp(min=0)
        ids, mask, places = (tensor.to(self._model.device) for tensor in (ids, mask, places))
        layers = self._layers(len(rows), room)
        cache = Cache(layers=[*layers])
        written = [Written([], []) for _ in rows]
        steps: list[tuple[list[int], torch.Tensor]] = []  # rows, and the log-probability of each one's token
        present = list(range(len(rows)))
        last: list[int] | None = None
        for _ in range(self._limit):
            scores = self._scores(ids, mask[:, :end], places[:, start:end], cache)
            for watch in watching:
                watch(len(present))
            chosen, logs = chosen_of(scores, present, last, limiter)
            steps.append((present, logs))
            last = chosen.tolist()
            for row, token in zip(present, last, strict=True):
                written[row].tokens.append(token)
            kept = closed_up([token not in self._ends for token in last])
            if not kept:
                break
            if len(kept) < len(present):
                present, last = [present[place] for place in kept], [last[place] for place in kept]
                mask, places = mask[kept], places[kept]
                for layer in layers:
                    layer.keep(kept)
            ids = torch.tensor(last, device=mask.device)[:, None]
            start, end = end, end + 1
        for numbers, logs in steps:  # now: on a GPU, each look at a number waits for it
            for row, log in zip(numbers, logs.tolist(), strict=True):
                written[row].logs.append(log)
        return written

    def _scores(self, ids: torch.Tensor, mask: torch.Tensor, places: torch.Tensor, cache: Cache) -> torch.Tensor:
        """The scores of the token after the last: (rows, vocabulary)."""
        # A slice would not be contiguous: for such a batch, a CPU copies the weights of the head once a row.
        keep = torch.tensor([ids.shape[1] - 1], device=ids.device)
        out = self._model(
            input_ids=ids, attention_mask=mask, position_ids=places, cache=cache, use_cache=True, logits_to_keep=keep
        )
        scores: torch.Tensor = out.logits[:, -1]
        return scores

    def _layers(self, rows: int, room: int) -> list[Slots]:
        """The layers of the cache of a batch, with the prefix in them."""
        if self._prefix and self._read is None:
            self._read = DynamicCache(config=self._model.config)
            ids = torch.tensor([self._prefix], device=self._model.device)
            places = torch.arange(len(self._prefix), device=ids.device)[None]
            self._scores(ids, torch.ones_like(ids), places, self._read)
        layers = [Slots(rows, room) for _ in range(self._model.config.get_text_config().num_hidden_layers)]
        if self._read is not None:
            for layer, read in zip(layers, self._read.layers, strict=True):
                layer.update(read.keys.expand(rows, -1, -1, -1), read.values.expand(rows, -1, -1, -1))
        return layers

    def _generate(
        self, rows: Sequence[Sequence[int]], watching: Sequence[Watcher], limiter: Limiter | None
    ) -> list[Written]:
        ids, mask = (tensor.to(self._model.device) for tensor in padded(rows, self._pad))
        told = Told(ids.shape[1], watching, limiter)
        out = self._model.generate(input_ids=ids, attention_mask=mask, logits_processor=[told])
        tokens: list[list[int]] = out[:, ids.shape[1] :].tolist()
        logs = torch.stack(told.logs, 1).tolist()
        ends = (next((number for number, token in enumerate(row) if token in self._ends), len(row)) for row in tokens)
        return [
            Written(row[: end + 1], row_logs[: end + 1]) for row, row_logs, end in zip(tokens, logs, ends, strict=True)
        ]


class Slots(DynamicLayer):
    """The keys and values of a layer, with room for all tokens to come: none is copied to write the next."""

    def __init__(self, rows: int, room: int) -> None:
        super().__init__()
        self._rows, self._room = rows, room
        self._all: list[torch.Tensor] = []  # keys and values: (rows, heads, room, width of a head)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put these after the others; returns all."""
        new = key_states, value_states
        if not self.is_initialized:
            self.lazy_initialization(*new)
            self._all = [each.new_empty(self._rows, each.shape[1], self._room, each.shape[3]) for each in new]
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        for every, each in zip(self._all, new, strict=True):
            every[:, :, start:end] = each
        self.keys, self.values = (every[:, :, :end] for every in self._all)
        return self.keys, self.values

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order, which is that of `closed_up`: only few move, to places that are free."""
        moved = [(place, row) for place, row in enumerate(rows) if place != row]
        end = self.get_seq_length()
        for every in self._all:
            for place, row in moved:
                every[place, :, :end] = every[row, :, :end]
        self._all = [every[: len(rows)] for every in self._all]


class Told(LogitsProcessor):
    """Tells watchers and a limiter of the tokens that `generate` writes, and keeps their log-probabilities."""

    def __init__(self, prompt: int, watching: Sequence[Watcher], limiter: Limiter | None) -> None:
        """`prompt`: the tokens of each row before generation starts."""
        self._prompt, self._watching, self._limiter = prompt, watching, limiter
        self.logs: list[torch.Tensor] = []  # of each step: (rows,)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        for watch in self._watching:
            watch(len(scores))
        told = self._limiter is not None and input_ids.shape[1] > self._prompt
        last = input_ids[:, -1].tolist() if told else None
        _, logs = chosen_of(scores, range(len(scores)), last, self._limiter)
        self.logs.append(logs)
        return scores


def chosen_of(
    scores: torch.Tensor, rows: Sequence[int], last: Sequence[int] | None, limiter: Limiter | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The next token of each row, and its log-probability in fp32 (see `Written`); the limiter changes `scores`."""
    total = scores.float().logsumexp(-1)
    if limiter is not None:
        limiter(rows, last, scores)
    chosen = scores.argmax(-1)
    return chosen, scores.gather(1, chosen[:, None])[:, 0].float() - total


def decodable(model: Any) -> bool:
    """Whether a model takes what `Decoder` gives it, and `generate` would give it nothing else."""
    own = type(model).prepare_inputs_for_generation is not GenerationMixin.prepare_inputs_for_generation
    return (
        inspect.signature(model.forward).parameters.keys() >= NEEDED
        and (not own or type(model).__name__ in SAME_PREPARATION)
        and not model.config.is_encoder_decoder
        and model._supports_default_dynamic_cache()
    )


def fits(config: Any, room: int) -> bool:
    """Whether every layer attends to all tokens before it, if there are no more than `room`.

    Then padding between the prefix and the rest of a prompt changes nothing. States of recurrent layers would take it in,
    and sliding windows and rotary factors that change with the length count it.
    """
    config = config.get_text_config(decoder=True)
    rope = getattr(config, "rope_parameters", None) or {}
    factors = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    if any(each.get("rope_type") == "longrope" and room > each["original_max_position_embeddings"] for each in factors):
        return False
    return all(
        type(layer) is DynamicLayer or (type(layer) is DynamicSlidingWindowLayer and layer.sliding_window > room)
        for layer in DynamicCache(config=config).layers
    )


def common_start(prompts: Sequence[Sequence[int]]) -> list[int]:
    """The tokens that all prompts start with, and at least one less than each has."""
    first, last = min(map(list, prompts)), max(map(list, prompts))  # what these share, all between them in order share
    most = min(map(len, prompts)) - 1
    same = next((number for number, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), most)
    return first[: min(same, most)]


def closed_up(stays: Sequence[bool]) -> list[int]:
    """The places that stay, the last of them moved to those that become free before them."""
    count = sum(stays)
    movers = [place for place in range(count, len(stays)) if stays[place]]
    return [place if stays[place] else movers.pop() for place in range(count)]


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows filled up on the left to the longest, and their attention mask: (rows, tokens) each."""
    width = max(map(len, rows))
    ids = [[pad] * (width - len(row)) + list(row) for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids), torch.tensor(mask)
