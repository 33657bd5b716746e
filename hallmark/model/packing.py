"""Weights of linear layers put into the order in which the processor reads them, once and not at each multiplication.

oneDNN, which multiplies bf16 for torch on a CPU, reorders a weight each time that it is used. For the few rows of a step
of decoding, that takes as long as the product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import linear

ROWS = 64  # of the products that the order is chosen for


class Packed(torch.nn.Module):
    """A linear layer with such a weight; the plain one is not kept."""

    def __init__(self, plain: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = plain.in_features, plain.out_features, plain.bias
        # Private, but what torch's own compiler writes for a frozen model on a CPU.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(plain.weight.detach(), ROWS)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """The product of the plain layer: the same bytes with one thread, up to how threads split sums with several."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, self.weight, self.bias, "none", [], "")
        return product


def pack(model: Any) -> int:
    """Pack the linear layers of a model that will only be read; returns how many, 0 if it can't be done here.

    An embedding that shares its weight with the head keeps its own. Takes no more memory than the model and, if there is
    such a head, its weight once more.
    """
    if hasattr(model, "get_base_model"):  # an adapter's layers look into the layers that they are on
        return 0
    places = [
        (parent, name, module)
        for parent in model.modules()
        for name, module in parent.named_children()
        if type(module) is torch.nn.Linear and module.weight.dtype == torch.bfloat16
    ]
    if not places or not packable(places[0][2]):
        return 0
    with torch.no_grad():
        while places:
            parent, name, module = places.pop()
            setattr(parent, name, Packed(module))
    return sum(isinstance(module, Packed) for module in model.modules())


def packable(example: torch.nn.Linear) -> bool:
    """Whether this torch has the operations here, uses them, and gets the same bytes with them for few rows."""
    operations = torch.ops.mkldnn
    if example.weight.device.type != "cpu" or not torch.backends.mkldnn.enabled:
        return False
    try:
        if not operations._is_mkldnn_bf16_supported():
            return False
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():
            packed = Packed(example)
            for rows in (1, ROWS):
                states = torch.randn(rows, example.in_features, generator=draw).to(example.weight.dtype)
                if not torch.equal(packed(states), linear(states, example.weight, example.bias)):
                    return False
    except (AttributeError, RuntimeError):  # another version of torch
        return False
    return True
