"""Decoding writes what `generate` writes, token for token, in fewer operations: for each family, and where it can't be."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.families import FAMILIES, make_family

LIMIT = 10
PAD = 0
START = [7, 8, 9, 10, 11]  # what all prompts start with


@cache
def model_of(family: str, attention: str = "sdpa") -> Any:
    """A tiny model of a family, in fp32."""
    import tempfile

    from hallmark.model.loading import load_base

    with tempfile.TemporaryDirectory() as folder:
        return load_base(make_family(family, Path(folder) / "tiny"), dtype="float32", attention=attention, device="cpu")


def built(config: Any) -> Any:
    """A model of a configuration, in fp32."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def prompts(lengths: Sequence[int], seed: int = 0, start: Sequence[int] = START) -> list[list[int]]:
    """Prompts with that many tokens after the start."""
    draw = random.Random(seed)
    return [[*start, *(draw.randrange(20, 300) for _ in range(length))] for length in lengths]


def generated(model: Any, rows: list[list[int]], ends: set[int], limit: int = LIMIT) -> list[list[int]]:
    """What transformers' `generate` writes to the limit, cut off after the first token that ends."""
    from hallmark.answer.decoding import padded

    ids, mask = padded(rows, PAD)
    out = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=limit, do_sample=False, eos_token_id=None, pad_token_id=PAD
    )
    written = []
    for row in out[:, ids.shape[1] :].tolist():
        end = next((place for place, token in enumerate(row) if token in ends), limit)
        written.append(row[: end + 1])
    return written


def decoded(
    model: Any, rows: list[list[int]], ends: set[int], limit: int = LIMIT, **options: Any
) -> tuple[list[list[int]], list[int], int]:
    """What the decoder writes, how many rows there were at each token, and the tokens that are shared."""
    from hallmark.answer.decoding import Decoder

    at_once: list[int] = []
    decoder = Decoder(model, ends=ends, pad=PAD, limit=limit)
    shared = decoder.share(rows)
    return tokens_of(decoder.write(rows, at_once.append, **options)), at_once, shared


def tokens_of(written: Sequence[Any]) -> list[list[int]]:
    """The tokens of rows, each of which has a log-probability."""
    assert all(len(row.tokens) == len(row.logs) for row in written)
    return [row.tokens for row in written]


def some_ends(written: list[list[int]], places: Sequence[int] = (2, 6)) -> set[int]:
    """Two tokens that end answers at different places."""
    return {written[number % len(written)][place] for number, place in enumerate(places)}


@pytest.mark.parametrize(
    ("family", "attention"), [*((family, "sdpa") for family in FAMILIES), ("phi-3.5-mini", "eager")]
)
def test_a_family_writes_what_generate_writes_and_rows_that_have_ended_leave(family: str, attention: str) -> None:
    model, rows = model_of(family, attention), prompts((9, 8, 6, 6, 3, 1))
    ends = some_ends(generated(model, rows, set()))
    expected = generated(model, rows, ends)
    assert len({len(row) for row in expected}) > 1, "they end at different places"
    written, at_once, shared = decoded(model, rows, ends)
    assert written == expected
    assert shared == len(START)
    assert at_once == [sum(len(row) > step for row in expected) for step in range(max(map(len, expected)))]


@pytest.mark.parametrize(
    ("rows", "shared"),
    [
        (prompts((4,)), 0),  # one alone shares nothing
        ([[30, 31, 32]] * 3, 2),  # a token is left of each
        ([[30, 31], [30, 31, 32, 33], [30, 31, 32]], 1),
        (prompts((4, 4, 4)), len(START)),  # no padding
    ],
)
def test_what_prompts_share_makes_no_difference(rows: list[list[int]], shared: int) -> None:
    model = model_of("smollm2-135m")
    ends = some_ends(generated(model, rows, set()))
    assert decoded(model, rows, ends)[::2] == (generated(model, rows, ends), shared)


def test_windows_states_and_changing_rotary_factors_are_left_to_generate() -> None:
    from transformers import FalconMambaConfig, MistralConfig, Qwen3NextConfig

    from hallmark.answer.decoding import decodable, fits

    small = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.3}
    heads = {"intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    window = built(MistralConfig(**small, **heads, sliding_window=12))
    states = built(FalconMambaConfig(**small, intermediate_size=64))
    both = built(
        Qwen3NextConfig(
            **small, **heads, linear_num_value_heads=2, linear_num_key_heads=2, linear_key_head_dim=16,
            linear_value_head_dim=16, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=32,
            shared_expert_intermediate_size=32, layer_types=["linear_attention", "full_attention"],
        )
    )  # fmt: skip
    assert fits(window.config, 11) and not fits(window.config, 12)
    assert not decodable(states)
    assert not fits(both.config, 12)
    longrope = model_of("phi-3.5-mini").config
    assert fits(longrope, 4096) and not fits(longrope, 4097)
    rows = prompts((9, 8, 6, 6, 3, 1))
    for model in (window, states, both):
        ends = some_ends(generated(model, rows, set()), (1, 3))
        written, at_once, _ = decoded(model, rows, ends)
        assert written == generated(model, rows, ends)
        assert set(at_once) == {6}, "generate keeps all rows"
    short = prompts((2, 1), start=[7])
    written, at_once, shared = decoded(window, short, {319}, limit=3)
    assert (written, at_once, shared) == (generated(window, short, {319}, 3), [2, 2, 2], 1)


def forward_logs(model: Any, row: list[int], tokens: list[int]) -> list[float]:
    """The log-softmax of the tokens after a row, by one plain forward pass of that row alone."""
    import torch

    with torch.inference_mode():
        scores = model(input_ids=torch.tensor([row + tokens])).logits[0].float().log_softmax(-1)
    places = range(len(row) - 1, len(row) + len(tokens) - 1)
    return [float(scores[place, token]) for place, token in zip(places, tokens, strict=True)]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("family", "limited"), [("smollm2-135m", False), ("qwen3-0.6b", True)])
def test_log_probabilities_are_those_of_a_plain_forward_pass(family: str, limited: bool, plain: bool) -> None:
    """With a start that is shared, padding, and rows that leave; over all tokens, whatever a limiter closes."""
    from hallmark.answer.decoding import Decoder

    model, rows = model_of(family), prompts((9, 8, 6, 6, 3, 1))
    ends = some_ends(generated(model, rows, set()))

    def limiter(present: Sequence[int], last: Sequence[int] | None, scores: Any) -> None:
        scores[:, 200:] = -float("inf")

    decoder = Decoder(model, ends=ends, pad=PAD, limit=LIMIT)
    decoder._plain = plain
    assert decoder.share(rows) == (0 if plain else len(START))
    written = decoder.write(rows, limiter=limiter if limited else None)
    assert len({len(each.tokens) for each in written}) > 1 or limited, "they end at different places"
    for row, each in zip(rows, written, strict=True):
        assert each.logs == pytest.approx(forward_logs(model, row, each.tokens), abs=1e-4)
        assert all(log <= 1e-6 for log in each.logs)


@settings(max_examples=10)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(0, 99), st.integers(1, 5))
def test_no_row_is_lost_or_written_twice(lengths: list[int], seed: int, size: int) -> None:
    """In batches of any size, each prompt gets the answer that it gets in one."""
    from hallmark.answer.decoding import Decoder

    model, rows = model_of("smollm2-135m"), prompts(lengths, seed)
    ends = {20 + seed, 40 + seed, *some_ends(generated(model, rows, set()), (seed % 3, seed % 7))}
    decoder = Decoder(model, ends=ends, pad=PAD, limit=LIMIT)
    decoder.share(rows)
    written = [row for start in range(0, len(rows), size) for row in decoder.write(rows[start : start + size])]
    assert tokens_of(written) == generated(model, rows, ends)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Several threads may split the sums of a packed layer differently."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.usefixtures("one_thread")
def test_packed_layers_give_the_same_bytes_and_only_where_they_can() -> None:
    import torch

    from hallmark.model.packing import Packed, pack, packable

    supported = torch.backends.mkldnn.enabled and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    draw = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        layers = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.SiLU(), torch.nn.Linear(96, 64, bias=False))
    assert pack(layers) == 0, "fp32 is left as it is"
    layers = layers.bfloat16()
    inputs = [torch.randn(*shape, 64, generator=draw).bfloat16() for shape in ((1,), (3, 7), (64, 1), (100,))]
    with torch.inference_mode():
        before = [layers(states) for states in inputs]
        assert packable(layers[0]) == supported
        assert pack(layers) == (2 if supported else 0)
        assert all(torch.equal(layers(states), out) for states, out in zip(inputs, before, strict=True))
    assert isinstance(layers[2], Packed) == supported
    with torch.backends.mkldnn.flags(enabled=False):
        assert not packable(torch.nn.Linear(4, 4).bfloat16())


@pytest.mark.usefixtures("one_thread")
def test_a_packed_model_answers_as_before_and_its_embedding_stays() -> None:
    import torch

    from hallmark.model.packing import pack

    rows = prompts((9, 8, 6, 6, 3, 1))
    for family in ("smollm2-135m", "phi-3.5-mini"):
        model = copy.deepcopy(model_of(family)).bfloat16()
        embedding = model.get_input_embeddings().weight.clone()
        expected = decoded(model, rows, {319})
        pack(model)
        assert decoded(model, rows, {319}) == expected
        assert torch.equal(model.get_input_embeddings().weight, embedding)
        assert model.get_output_embeddings().out_features == 320
