"""The functions with their own backward pass: the values and gradients of what they replace, and nothing else replaced."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest


def adapted(dtype: Any, **options: Any) -> Any:
    """A model of two linear layers, the first with a bias, each with an adapter of random weights in fp32."""
    import torch
    from peft import LoraConfig, get_peft_model

    from hallmark.model.tuning import leave_input_dtype

    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(24, 40), torch.nn.Tanh(), torch.nn.Linear(40, 16, bias=False))
    config = LoraConfig(r=4, lora_alpha=6, target_modules=["0", "2"], init_lora_weights=False, **options)
    model = get_peft_model(layers.to(dtype), config)
    for name, tensor in model.named_parameters():
        if "lora_" in name:
            tensor.data = tensor.data.float()
    if dtype == torch.bfloat16:
        leave_input_dtype(model)
    return model


def values(model: Any, x: Any) -> list[Any]:
    """The output, and the gradients of the input and of the adapters."""
    import torch

    x = x.clone().requires_grad_()
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        out = model(x)
    out.float().square().sum().backward()
    return [out.detach(), x.grad, *(tensor.grad for tensor in model.parameters() if tensor.requires_grad)]


@pytest.mark.parametrize(("dtype", "off"), [("float32", 1e-6), ("bfloat16", 0.02)])
def test_an_adapted_matrix_has_the_output_and_gradients_of_pefts(dtype: str, off: float) -> None:
    import torch

    from hallmark.model.kernels import use_kernels

    model, x = adapted(getattr(torch, dtype)), torch.randn(2, 5, 24).to(getattr(torch, dtype))
    due = values(model, x)
    use_kernels(model)
    found = values(model, x)
    for one, other in zip(found, due, strict=True):
        assert one.dtype == other.dtype
        assert float((one - other).norm()) < off * float(other.norm())


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.disable_adapter_layers(),
        lambda model: model.merge_adapter(),
        lambda model: (model.add_adapter("other", model.peft_config["default"]), model.set_adapter("other")),
    ],
    ids=["disabled", "merged", "another"],
)
def test_what_is_done_to_the_adapters_is_done_here_too(change: Callable[[Any], Any]) -> None:
    import torch

    from hallmark.model.kernels import use_kernels

    plain, x = adapted(torch.float32), torch.randn(3, 24)
    ours = copy.deepcopy(plain)
    use_kernels(ours)
    with torch.no_grad():
        before = plain(x)
        for model in (plain, ours):
            torch.manual_seed(1)  # of a new adapter
            change(model)
        torch.testing.assert_close(ours(x), plain(x), rtol=1e-5, atol=1e-5)
        if not plain.base_model.model[0].merged:
            assert not torch.allclose(plain(x), before)


def test_dropout_and_dora_are_left_to_peft() -> None:
    import torch

    from hallmark.model.kernels import use_kernels

    for options in ({"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}):
        plain, x = adapted(torch.float32, **options), torch.randn(3, 24)
        ours = copy.deepcopy(plain)
        use_kernels(ours)
        found = []
        for model in (plain, ours):
            torch.manual_seed(2)
            found.append(values(model, x))
        torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_norm_has_the_output_and_gradient_of_transformers(dtype: str) -> None:
    import torch
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

    from hallmark.model.kernels import use_kernels

    precision = getattr(torch, dtype)
    norm = Qwen3RMSNorm(32).to(precision).requires_grad_(False)
    norm.weight.data = (torch.randn(32) + 1).to(precision)
    x, found = (3 * torch.randn(2, 7, 32)).to(precision), []
    for replaced in (False, True):
        if replaced:
            use_kernels(norm)
            assert "forward" in vars(norm)
        leaf = x.clone().requires_grad_()
        out = norm(leaf)
        out.backward(torch.ones_like(out) + x)
        found.append((out.detach(), leaf.grad))
    (due, gradient), (out, ours) = found
    assert torch.equal(out, due) or dtype == "float32"
    torch.testing.assert_close(out, due, rtol=1e-6, atol=1e-6)
    assert float((ours - gradient).norm()) < {"float32": 1e-6, "bfloat16": 0.01}[dtype] * float(gradient.norm())


def test_other_norms_and_trained_ones_stay() -> None:
    import torch
    from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    from hallmark.model.kernels import use_kernels

    for norm in (Gemma2RMSNorm(8).requires_grad_(False), torch.nn.LayerNorm(8), LlamaRMSNorm(8)):
        use_kernels(norm)
        assert "forward" not in vars(norm)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_loss_of_a_token_is_the_cross_entropy(dtype: str) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    from hallmark.model.kernels import token_losses

    torch.manual_seed(0)
    logits = (20 * torch.randn(6, 50)).to(getattr(torch, dtype))
    logits[0, 3] = 3e4  # a loss beyond what an exponential can hold
    targets = torch.tensor([1, 3, 49, 0, 7, 7])
    found = []
    for function in (lambda of, to: cross_entropy(of.float(), to, reduction="none"), token_losses):
        leaf = logits.clone().requires_grad_()
        losses = function(leaf, targets)
        (losses * torch.arange(6)).sum().backward()
        found.append((losses.detach(), leaf.grad))
    assert torch.equal(logits, leaf.detach())
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)
    twice = token_losses(logits.requires_grad_(), targets).sum()
    twice.backward(retain_graph=True)
    with pytest.raises(AttributeError):  # not a wrong gradient
        twice.backward()
