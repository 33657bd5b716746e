"""How many floating-point operations training and generation take, from the matrices of the model and the lengths of records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LAYER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True)
class Batch:
    """The shape of a batch: records, tokens of each with padding, and how many of these the loss is of."""

    records: int
    tokens: int
    labelled: int


@dataclass(frozen=True)
class Work:
    """Floating-point operations: of the layers forward, of the layers backward, and of the head both ways."""

    forward: float
    backward: float
    head: float

    def __add__(self, other: Work) -> Work:
        return Work(self.forward + other.forward, self.backward + other.backward, self.head + other.head)

    def times(self, factor: float) -> Work:
        """The same work, this number of times."""
        return Work(self.forward * factor, self.backward * factor, self.head * factor)


NOTHING = Work(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Matrices:
    """How many values the matrices of a model with an adapter have."""

    below: int  # frozen, in the layers below the first that needs gradients
    above: int  # frozen, in that layer and those above it
    adapter: int
    head: int
    layers: int
    layers_above: int
    attention: int  # width of all attention heads of a layer together
    checkpointed: bool

    def reading(self, tokens: int, pairs: int, scored: int) -> Work:
        """A forward pass: tokens, pairs of them that attention multiplies, and how many get logits."""
        layers = 2.0 * (self.below + self.above + self.adapter) * tokens + 4.0 * self.attention * pairs * self.layers
        return Work(layers, 0.0, 2.0 * self.head * scored)

    def training(self, tokens: int, pairs: int, scored: int) -> Work:
        """A forward and a backward pass.

        Frozen matrices get no gradient of their own, and layers below the first adapted one have no backward pass.
        """
        forward = self.reading(tokens, pairs, scored)
        matrices = 2.0 * self.above * tokens + 4.0 * self.adapter * tokens
        attention = 8.0 * self.attention * pairs * self.layers_above
        again = forward.forward if self.checkpointed else 0.0
        return Work(forward.forward + again, matrices + attention, 2 * forward.head)


def matrices(tuned: Any) -> Matrices:
    """The matrices of a model with an adapter, from the shapes of its modules; no value is read."""
    base = tuned.get_base_model()
    config, head = base.config, base.get_output_embeddings()
    frozen: dict[int, int] = {}
    adapter, first = 0, config.num_hidden_layers
    for name, module in tuned.named_modules():
        layer = LAYER.search(name)
        if not hasattr(module, "in_features") or hasattr(module, "base_layer") or module is head or not layer:
            continue
        size, number = module.in_features * module.out_features, int(layer[1])
        if ".lora_" in name:
            adapter, first = adapter + size, min(first, number)
        else:
            frozen[number] = frozen.get(number, 0) + size
    checkpointed = bool(base.is_activation_checkpointing)
    first = (
        0 if checkpointed else first
    )  # checkpoints need inputs with gradients, so the backward pass goes all the way
    return Matrices(
        below=sum(size for number, size in frozen.items() if number < first),
        above=sum(size for number, size in frozen.items() if number >= first),
        adapter=adapter,
        head=head.in_features * head.out_features,
        layers=config.num_hidden_layers,
        layers_above=config.num_hidden_layers - first,
        attention=config.num_attention_heads * head_width(config),
        checkpointed=checkpointed,
    )


def head_width(config: PretrainedConfig) -> int:
    """The width of one attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
