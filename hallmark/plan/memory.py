"""Peak memory in bytes of tensors, by formulas: weights, adapter, optimizer, activations and cache.

`python -m tests.bench.memory` compares them with what real trainings and answers of several architectures hold.
"""

from __future__ import annotations

from hallmark.model.params import Sft
from hallmark.params.loader import Params
from hallmark.plan.machine import Machine
from hallmark.plan.sizes import Batch, Sizes
from hallmark.serve.engine import StartedSettings
from hallmark.serve.engines import ENGINES

FP32 = 4
NF4 = 0.5 + 1 / 64 + 1 / 4096  # bytes of a value: 4 bits, and the scales of blocks
OPTIMIZER = 4  # fp32 values for each of the adapter: itself, its gradient, and two of AdamW
TILE = (4096, 32_768)  # tokens and words of the vocabulary whose logits TRL's fused head holds at once, on CUDA
CACHE_SHARE = 0.6  # of the free memory that a server takes for its cache, if the params say nothing


def width(dtype: str) -> int:
    return FP32 if dtype == "float32" else 2


def training_bytes(sizes: Sizes, sft: Sft, batch: Batch, device: str) -> int:
    """The peak of `sft` with its largest batch."""
    wide, tokens = width(sft.dtype), batch.all_tokens
    weights, whole = float(sizes.parameters * wide), 0.0
    if sft.method == "qlora" and not sft.dequantize_once:
        weights -= sum(sizes.matrices) * (wide - NF4)
        whole = sizes.widest * wide  # a matrix in 4 bits is made whole for a product, and then forgotten
    adapter = OPTIMIZER * FP32 * sum(sizes.adapters)
    layers = max(1, sizes.trained(sft.gradient_checkpointing))
    # A layer keeps for its backward pass what its norms read; queries, keys, values, their rotated keys and the result of
    # attention; and of the MLP the gate, before and after its activation, and what that is multiplied with, ...
    kept = tokens * wide * (sizes.norms + 2 * sizes.attention + 3 * sizes.keys + 3 * sizes.inner)
    # Gradients of these three, and of what experts were given and answered.
    backward = tokens * wide * (3 * sizes.inner + 2 * sizes.routed * sizes.hidden) + whole
    # ... what adapted matrices read (with dropout, a copy for each, and which values it dropped), ...
    if sft.lora.dropout:
        kept += tokens * sizes.copies / layers * (wide + (1 if device == "cuda" else wide))
    else:
        kept += tokens * sizes.inputs / layers * wide
    # ... and the answer of each expert that a token went to. Adapted experts are added to their adapter.
    kept += tokens * wide * sizes.routed * sizes.hidden
    if sizes.adapted_experts:
        kept += wide * (sizes.adapted_experts + tokens * (sizes.routed * sizes.hidden + sizes.inner))
    if sft.attention == "eager":
        scores = batch.records * sizes.heads * batch.tokens**2
        if device == "cpu" and not sft.gradient_checkpointing and batch.tokens <= sizes.longest_in_row:
            kept += scores * wide  # the attention of a batch as one row keeps no scores in fp32
        else:
            kept += scores * (wide + FP32)
            backward = max(backward, scores * FP32)
    labelled = batch.records * batch.labelled
    # The last states, before and after the norm, and their gradient; each logit, and its exponential in fp32.
    logits = 3 * tokens * wide * sizes.hidden + labelled * sizes.vocabulary * (wide + FP32)
    if device == "cuda":
        logits = min(labelled, TILE[0]) * min(sizes.vocabulary, TILE[1]) * wide
    elif (
        sizes.fused_head
    ):  # without Triton, it scores all tokens: a whole tile, and eight values in fp32 for each score
        logits = min(tokens, TILE[0]) * (TILE[1] * wide + 8 * FP32 * min(sizes.vocabulary, TILE[1]))
    if sft.gradient_checkpointing:
        activations = layers * tokens * wide * sizes.hidden + max(logits, kept + backward)
    else:
        activations = layers * kept + max(logits, backward)
    return int(weights + adapter + activations)


def answering_bytes(sizes: Sizes, params: Params, batch: Batch, device: str) -> int:
    """The peak of `eval` in this process: a batch of prompts is read, or the last token of its answers written."""
    settings, wide, tokens = params.eval, width(params.eval.dtype), batch.all_tokens
    weights = sizes.parameters * wide
    if device == "cpu" and wide == 2 and sizes.tied:
        weights += sizes.head * wide  # `pack` copies what the embedding shares
    pairs = batch.records * batch.tokens**2
    # One matrix for gate and up, as that of experts, keeps both longer.
    held, routed = 4 if sizes.widest > sizes.hidden * sizes.inner or sizes.routed else 3, sizes.routed * sizes.hidden
    states = 4 * tokens * wide * sizes.hidden  # given to the layer, after attention, and each after its norm
    inner = tokens * wide * max(held * sizes.inner + routed, sizes.inner + 4 * routed) + pairs  # and the mask
    if settings.attention == "eager":
        inner = max(inner, sizes.heads * pairs * (wide + 2 * FP32))  # scores, and before and after the softmax in fp32
    reading = sizes.cache(tokens) * wide + states + inner
    last = sizes.cache(tokens + batch.records * settings.max_new_tokens) * wide
    return int(weights + max(reading, last + batch.records * sizes.vocabulary * (wide + FP32)))


def serving_bytes(sizes: Sizes, params: Params, machine: Machine) -> int:
    """Weights and KV cache of the servers that `benchmark` starts, one for each model unless they share their base."""
    server = params.benchmark.server
    if not isinstance(server, StartedSettings):
        return 0
    engine, wide = ENGINES[server.kind], width(server.dtype)
    weights, asked = sizes.parameters * wide, engine.cache_asked(server)
    if asked.size is not None:
        cache = asked.size
    elif asked.tokens is not None:
        cache = int(sizes.cache(asked.tokens)) * wide
    else:
        cache = int(CACHE_SHARE * max(0, (machine.usable or 0) - weights))
    return (1 if engine.shares_base(server) else len(params.benchmark.models)) * (weights + cache)
