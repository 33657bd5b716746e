"""Peak memory of training and of generation, counted in a run of the real architecture that allocates nothing.

The model is built from `config.json` alone under torch's FakeTensorMode: every operation is dispatched with its shapes and
types and computes no values. `Storages` counts the bytes of all storages alive, in a fake run as in a real one.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import torch
from torch.nn.functional import linear
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hallmark.model import prefix
from hallmark.model.kernels import token_losses, use_kernels
from hallmark.model.lora import lora_config
from hallmark.model.params import Sft
from hallmark.model.prefix import Row, in_row, may_share
from hallmark.model.tuning import leave_input_dtype
from hallmark.plan.work import Batch, head_width

if TYPE_CHECKING:
    from transformers import PretrainedConfig

BLOCK = 512  # bytes that CUDA's allocator rounds every tensor up to
STEPS = 2  # the optimizer's state is made in the first
TILE = (4096, 32_768)  # tokens and words of the vocabulary whose logits TRL's fused head holds at once, on CUDA
NF4_BLOCK, NF4_NESTED = 64, 256  # values that share a scale, and scales that share one
# The rotary embeddings of these look at positions, which have no values in a fake run; the default's have the same sizes.
LOOKING = ("longrope", "dynamic")


class Storages(TorchDispatchMode):
    """Counts the bytes of the storages that operations make for as long as they live: `now`, and `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def add(self, tensor: torch.Tensor) -> None:
        """Count the storage of a tensor, once."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK

        def gone(_: Any) -> None:
            if self._alive.pop(key, None) is not None:
                self.now -= size

        self._alive[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf)
        return out


class Nf4Linear(torch.nn.Linear):
    """A stand-in for bitsandbytes' `Linear4bit`: the packed bytes, made whole for a product and then forgotten."""

    def __init__(self, inputs: int, outputs: int, bias: torch.nn.Parameter | None, dtype: torch.dtype) -> None:
        torch.nn.Module.__init__(self)
        self.in_features, self.out_features, self.dtype = inputs, outputs, dtype
        values = inputs * outputs
        scales = -(-values // NF4_BLOCK)  # each of 8 bits, and an fp32 number for every `NF4_NESTED` of them
        size = -(-values // 2) + scales + 4 * -(-scales // NF4_NESTED)
        self.weight = torch.nn.Parameter(torch.empty(size, dtype=torch.uint8), requires_grad=False)
        self.register_parameter("bias", bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """The product, of the same shape as a dense layer's."""
        product: torch.Tensor = _Dequantized.apply(states, (self.out_features, self.in_features), self.dtype)
        return product if self.bias is None else product + self.bias


class _Dequantized(torch.autograd.Function):
    """A product with weights that exist only while it is computed, in the forward pass and in the backward pass."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
        ctx.shape, ctx.dtype = shape, dtype
        return linear(states.to(dtype), torch.empty(shape, dtype=dtype))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient.to(ctx.dtype) @ torch.empty(ctx.shape, dtype=ctx.dtype), None, None


class _Tiled(torch.autograd.Function):
    """What TRL's fused head holds on CUDA: the logits of one tile, and in the backward pass the gradient in fp32."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(rows, head)
        rows.new_empty(min(len(rows), TILE[0]), min(len(head), TILE[1]))
        return rows.new_empty(len(rows), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, _: torch.Tensor) -> tuple[torch.Tensor, None]:
        rows, head = ctx.saved_tensors
        gradient = torch.empty_like(rows, dtype=torch.float32)
        rows.new_empty(min(len(rows), TILE[0]), min(len(head), TILE[1]))
        return gradient.to(rows.dtype), None


def flash(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """SDPA as CUDA's flash kernel computes it: no matrix of tokens times tokens."""
    out = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, True, False, scale=scaling)[0]
    return out.transpose(1, 2).contiguous(), None


@contextmanager
def fake() -> Iterator[None]:
    """Let tensors made in the block have no memory, and modules stay where they are made."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register("planned_fused", flash)
    AttentionMaskInterface.register("planned_fused", lambda *_, **__: None)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch.nn.Module, "to", lambda self, *_, **__: self))
        stay = mock.patch.object(BaseTunerLayer, "_move_adapter_to_device_of_base_layer", lambda *_, **__: None)
        stack.enter_context(stay)
        # A row's mask is a class of tensors that can't be fake. Without it, fused attention takes as much memory.
        stack.enter_context(mock.patch.object(prefix, "causal_lower_right", lambda *_: None))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield


def kernel(attention: str, device: str) -> str:
    """The attention that a training without a mask gets: what `attention` says, and on CUDA what sdpa selects there.

    Flash takes no fp32; the memory-efficient kernel that does needs as little memory.
    """
    return "planned_fused" if device == "cuda" and attention == "sdpa" else attention


def build(config: PretrainedConfig, *, dtype: str, attention: str, nf4: bool = False) -> Any:
    """The model of a configuration, frozen; `nf4`: its matrices in 4 bits. To be called within `fake`."""
    from transformers import AutoModelForCausalLM

    precision = getattr(torch, dtype)
    model: Any = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=precision)
    model.requires_grad_(False)
    head = model.get_output_embeddings()
    for name, module in list(model.named_modules()) if nf4 else ():
        if isinstance(module, torch.nn.Linear) and module is not head:
            quantized = Nf4Linear(module.in_features, module.out_features, module.bias, precision)
            model.set_submodule(name, quantized)
    return model


def with_default_rope(config: PretrainedConfig) -> PretrainedConfig:
    """The configuration with rotary embeddings of the default kind, where its own would look at values."""
    rope = getattr(config, "rope_parameters", None)
    if isinstance(rope, dict) and rope.get("rope_type") in LOOKING:
        config.rope_parameters = {"rope_type": "default", "rope_theta": rope.get("rope_theta", 10_000.0)}
    return config


def planned(config: PretrainedConfig, sft: Sft, device: str) -> Any:
    """The model that `sft` trains, base and adapter. To be called within `fake`."""
    nf4 = sft.method == "qlora" and not sft.dequantize_once
    attention = kernel(sft.attention, device)
    return adapted(build(with_default_rope(config), dtype=sft.dtype, attention=attention, nf4=nf4), sft)


def adapted(model: Any, sft: Sft) -> Any:
    """The model with the adapter of `sft` on it, as the trainer would have it: in fp32, checkpointed or not."""
    from peft import get_peft_model

    tuned: Any = get_peft_model(model, lora_config(model, sft.lora))
    use_kernels(tuned)
    if sft.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    return tuned.train()


def training_peak(tuned: Any, sft: Sft, batch: Batch, device: str) -> int:
    """Two optimizer steps of a tuned model, on tokens that mean nothing; the peak in bytes of storages.

    It counts the same in a real run, of a model with values, as in a fake one.
    """
    base, bf16 = tuned.get_base_model(), sft.dtype == "bfloat16"
    head = base.get_output_embeddings()
    trainable = [tensor for tensor in tuned.parameters() if tensor.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-4, fused=True)
    ids = torch.zeros(batch.records, batch.tokens, dtype=torch.long)
    labelled = torch.arange(batch.records * batch.labelled) % (batch.records * batch.tokens)
    due = torch.zeros(batch.records * batch.labelled, dtype=torch.long)
    places: dict[str, torch.Tensor] = {}
    decoder, reading = base.get_decoder(), cast(AbstractContextManager[None], nullcontext())
    if device == "cpu" and not base.is_activation_checkpointing and may_share(base, batch.tokens):
        ids = ids.view(1, -1)  # nothing is shared: that would take less
        places = {"position_ids": ids}
        reading = in_row(decoder, Row(ids, ids, ids, 0, batch.records, decoder.config._attn_implementation))
    if bf16:
        leave_input_dtype(tuned)
    with Storages() as storages, reading:
        for tensor in (*tuned.parameters(), *tuned.buffers(), ids, labelled, due):
            storages.add(tensor)
        for _ in range(STEPS):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                hidden = decoder(input_ids=ids, use_cache=False, **places).last_hidden_state
                rows = hidden.reshape(-1, hidden.shape[-1])[labelled]
                if device == "cuda":
                    loss = _Tiled.apply(rows, head.weight).sum()
                else:
                    logits = head(rows)
                    loss = token_losses(logits, due).sum()
                    del logits
            del hidden, rows
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trainable, sft.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
    return storages.peak


def generation_peak(model: Any, batch: Batch, new: int) -> int:
    """The peak while a model reads prompts of `batch.tokens` and then writes `new` tokens, greedily; in bytes of storages."""
    rows = batch.records
    with Storages() as storages, torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            storages.add(tensor)
        out = model(
            input_ids=torch.zeros(rows, batch.tokens, dtype=torch.long),
            attention_mask=padding_mask(model, rows, batch.tokens, batch.tokens),
            use_cache=True,
            logits_to_keep=1,
        )
        scores = out.logits[:, -1].float()
        del out, scores
        length = batch.tokens + new
        out = model(
            input_ids=torch.zeros(rows, 1, dtype=torch.long),
            position_ids=torch.zeros(rows, 1, dtype=torch.long),
            attention_mask=padding_mask(model, rows, 1, length),
            cache=cache_of(model, rows, length - 1),
            use_cache=True,
        )
        out.logits[:, -1].float()
    return storages.peak


def padding_mask(model: Any, rows: int, queries: int, keys: int) -> torch.Tensor:
    """A mask as padding on the left makes it, which differs from record to record; here, all may be seen."""
    eager = model.config._attn_implementation == "eager"
    shape = (rows, 1, queries, keys)
    if eager:
        return torch.zeros(shape, dtype=model.dtype, device=model.device)
    return torch.ones(shape, dtype=torch.bool, device=model.device)


def cache_of(model: Any, rows: int, tokens: int) -> Any:
    """A cache with the keys and values of this number of tokens for each record."""
    from transformers import DynamicCache

    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    cache: Any = DynamicCache()
    for number in range(config.num_hidden_layers):
        shape = (rows, heads, tokens, head_width(config))
        cache.update(*(torch.zeros(shape, dtype=model.dtype, device=model.device) for _ in range(2)), number)
    return cache


def weight_bytes(model: Any) -> int:
    """The bytes of a model's parameters; those that two modules share count once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())


def cache_bytes(config: PretrainedConfig, tokens: int, width: int = 2) -> int:
    """The bytes of keys and values of this many tokens, at `width` bytes a number."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 2 * width * tokens * config.num_hidden_layers * heads * head_width(config)
