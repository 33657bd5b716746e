"""Adapted matrices, RMS norms and the loss of a token, each with its own backward pass and the fewest passes over memory.

PEFT, transformers and autograd compute them operation by operation, and each operation reads and writes all activations.
Such operations were over a third of a training step on a CPU. Results are the same up to rounding.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft.tuners import lora
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from transformers.models.llama.modeling_llama import LlamaRMSNorm


def use_kernels(model: Any) -> None:
    """Let the adapted matrices over dense weights, and on a CPU the norms that are Llama's, compute with these functions.

    Parameters, and what is saved of them, stay. A layer's forward pass is still PEFT's where it does more than here.
    """
    for layer in model.modules():
        if type(layer) is lora.Linear and type(layer.base_layer) is torch.nn.Linear:
            layer.__class__ = AdaptedLinear
        if is_llamas_norm(layer) and layer.weight.device.type == "cpu" and not layer.weight.requires_grad:
            layer.forward = partial(_norm, layer)


def is_llamas_norm(layer: Any) -> bool:
    """Whether a module computes Llama's RMS norm: each family has a class of its own with the same code."""
    code, norm = getattr(type(layer).forward, "__code__", None), LlamaRMSNorm.forward.__code__
    return code is not None and (code.co_code, code.co_names) == (norm.co_code, norm.co_names)


def token_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The fp32 loss in nats of each of the tokens, of shape (tokens,), from logits of shape (tokens, vocabulary).

    As `cross_entropy(logits.float(), targets, reduction="none")`, whose softmax takes five times as long on a CPU.
    """
    losses: torch.Tensor = _TokenLosses.apply(logits, targets)
    return losses


class AdaptedLinear(lora.Linear):
    """PEFT's adapted linear layer, for the plain case: one active adapter, without dropout, on weights in `x`'s dtype."""

    def forward(self, x: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        """The layer's output, of shape (..., out)."""
        weight, name = self.base_layer.weight, self.active_adapters[0] if self.active_adapters else ""
        if (
            len(self.active_adapters) != 1
            or name not in self.lora_A
            or self.merged
            or self.disable_adapters
            or arguments
            or options
            or x.dtype != weight.dtype
            or name in self.lora_variant
            or not isinstance(self.lora_dropout[name], torch.nn.Identity)
            or self.lora_B[name].bias is not None
        ):
            out: torch.Tensor = super().forward(x, *arguments, **options)
            return out
        down, up = self.lora_A[name].weight, self.lora_B[name].weight
        product: torch.Tensor = _Product.apply(x, weight, self.base_layer.bias, down, up, self.scaling[name])
        return product


class _Product(torch.autograd.Function):
    """`x W' + bias + x A' B' * scaling`: the adapter's product is added by the matrix product itself."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        rows, narrow, wide = x.flatten(0, -2), down.to(x.dtype), up.to(x.dtype)
        inner = rows @ narrow.t()
        out = linear(rows, weight, bias).addmm_(inner, wide.t(), alpha=scaling)
        ctx.save_for_backward(rows, weight, narrow, wide, inner)
        ctx.scaling, ctx.dtypes = scaling, (down.dtype, up.dtype)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, narrow, wide, inner = ctx.saved_tensors
        of_out = gradient.flatten(0, -2)
        of_inner = (of_out @ wide).mul_(ctx.scaling)
        of_down = (of_inner.t() @ rows).to(ctx.dtypes[0])
        of_up = (inner.t() @ of_out).t().to(ctx.dtypes[1]) * ctx.scaling
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (of_out @ weight).addmm_(of_inner, narrow).view(*gradient.shape[:-1], -1)
        return of_x, None, None, of_down, of_up, None


def _norm(layer: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = _Norm.apply(hidden_states, layer.weight, layer.variance_epsilon)
    return out


class _Norm(torch.autograd.Function):
    """Llama's RMS norm with a frozen weight."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        states = x.to(torch.float32, copy=True)
        scale = (states * states).mean(-1, keepdim=True).add_(epsilon).rsqrt_()
        normed = states.mul_(scale).to(x.dtype)
        ctx.save_for_backward(normed, weight, scale)
        return weight * normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        normed, weight, scale = ctx.saved_tensors
        of_normed, states = (gradient * weight).float(), normed.float()
        share = (of_normed * states).mean(-1, keepdim=True)
        return torch.addcmul(of_normed, states, share, value=-1).mul_(scale).to(normed.dtype), None, None


class _TokenLosses(torch.autograd.Function):
    """The fp32 exponentials of the logits are kept, and become the gradient in place: there is one backward pass."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        values, column = logits.to(torch.float32, copy=True), targets[:, None]
        values.sub_(values.amax(-1, keepdim=True))
        due = values.gather(1, column)
        total = values.exp_().sum(-1, keepdim=True)
        ctx.dtype, ctx.kept = logits.dtype, (values, total, column)
        return (total.log() - due)[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        values, total, column = ctx.kept
        del ctx.kept  # its values are used up
        values.mul_(gradient[:, None] / total)
        return values.scatter_add_(1, column, -gradient[:, None]).to(ctx.dtype), None
