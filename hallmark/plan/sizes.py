"""The sizes of a model with an adapter, and the floating-point operations of a pass; from its config.json, without weights."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.model_folder import explained
from hallmark.base.reading import read_object
from hallmark.model.params import Lora

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LAYER = re.compile(r"\.(\d+)\.")
OUTPUT = re.compile(
    r"(o|out|c)_proj|dense|wo"
)  # reads what attention made: the matrices before it read the same states


@dataclass(frozen=True)
class Batch:
    """The shape of a batch: records, tokens of each with padding, and how many of these the loss is of."""

    records: int
    tokens: int
    labelled: int

    @property
    def all_tokens(self) -> int:
        return self.records * self.tokens


@dataclass(frozen=True)
class Sizes:
    """Numbers of values: of all parameters, of matrices, and of a token's activations by their width."""

    parameters: int  # of the base; what two modules share counts once
    matrices: tuple[int, ...]  # of each layer
    experts: tuple[int, ...]  # of each layer's experts, which are no matrices of their own
    routed: int  # to how many experts a token goes
    active: float  # the share of the experts that these are
    adapters: tuple[int, ...]  # of each layer; 0 below the first that is adapted
    adapted_experts: int  # of a layer: those with an adapter
    inputs: int  # a token's, that adapted matrices of all layers read; what several read counts once
    copies: int  # the same, for each matrix
    widest: int  # the largest matrix of a layer
    head: int
    tied: bool  # whether the head shares its matrix with the embedding
    vocabulary: int
    hidden: int
    norms: float  # what the norms of a layer keep, on average: those that are not Llama's keep fp32, as two values
    inner: int  # between the matrices of a layer's MLP
    heads: int
    attention: int  # all attention heads of a layer together
    keys: int  # its keys, or its values
    longest_in_row: (
        float  # tokens of the longest record that training reads with others as one row; 0: it reads none so
    )
    fused_head: bool  # whether TRL's fused head computes the loss even on a CPU

    @property
    def layers(self) -> int:
        return len(self.matrices)

    def trained(self, checkpointed: bool) -> int:
        """How many layers have a backward pass: from the first adapted one. Checkpoints need inputs with gradients: all."""
        first = next((number for number, size in enumerate(self.adapters) if size), self.layers)
        return self.layers if checkpointed else self.layers - first

    def reading(self, batch: Batch, scored: int, before: int = 0, *, adapter: bool = False) -> float:
        """Operations of a forward pass: `scored`: tokens of each record with logits; `before`: tokens in its cache."""
        tokens = batch.all_tokens
        matrices = sum(self.matrices) + self.active * sum(self.experts) + adapter * sum(self.adapters)
        attention = 2.0 * self.attention * self.layers * (batch.tokens + before)
        return 2.0 * tokens * (matrices + attention) + 2.0 * self.head * batch.records * scored

    def training(self, batch: Batch, checkpointed: bool) -> float:
        """Operations of a forward and a backward pass. Frozen matrices get no gradient of their own."""
        tokens, layers = batch.all_tokens, self.trained(checkpointed)
        first = self.layers - layers
        above = sum(self.matrices[first:]) + self.active * sum(self.experts[first:]) + 2.0 * sum(self.adapters)
        backward = 2.0 * tokens * (above + 4.0 * self.attention * layers * batch.tokens)
        head = 2.0 * self.head * batch.records * batch.labelled
        forward = self.reading(batch, 0, adapter=True)
        return forward * (2 if checkpointed else 1) + backward + 2 * head

    def cache(self, tokens: float) -> float:
        return 2.0 * self.keys * self.layers * tokens


def configuration(base: Path) -> PretrainedConfig:
    """The configuration in a model folder, as transformers reads it; never code of the model's own."""
    from transformers import AutoConfig

    file = base / "config.json"
    read_object(file)
    with explained("describes no model that transformers knows", file):
        config: PretrainedConfig = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    return config.get_text_config()


def empty(config: PretrainedConfig, dtype: str = "bfloat16", attention: str = "eager") -> Any:
    """The frozen model of a configuration; its tensors have shapes and no memory."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(
            config, attn_implementation=attention, dtype=getattr(torch, dtype)
        )
    return model.requires_grad_(False)


def sizes(config: PretrainedConfig, lora: Lora) -> Sizes:
    """The sizes of the model of a configuration, with the adapter that `sft` puts on it."""
    import torch
    from peft import get_peft_model

    from hallmark.model.kernels import is_llamas_norm
    from hallmark.model.lora import lora_config
    from hallmark.model.prefix import may_share
    from hallmark.model.trainer import changes_logits

    base = empty(config)
    window = getattr(config, "sliding_window", None) or math.inf
    parameters, head = sum(tensor.numel() for tensor in base.parameters()), base.get_output_embeddings()
    with torch.device("meta"):
        tuned: Any = get_peft_model(base, lora_config(base, lora))
    layers: int = config.num_hidden_layers
    matrices, adapters, experts, widest = [0] * layers, [0] * layers, [0] * layers, 0
    read, copies, adapted_experts, norms = dict[tuple[str, int, bool], int](), 0, [0] * layers, 0
    for name, module in tuned.named_modules():
        if module is head or not (layer := LAYER.search(name)):
            continue
        number = int(layer[1])
        own = {key: tensor.numel() for key, tensor in module.named_parameters(recurse=False) if tensor.ndim == 3}
        experts[number] += sum(own.values())
        if hasattr(module, "parameter_name"):  # PEFT's adapter of experts
            adapted_experts[number] += module.get_param().numel()
        elif hasattr(module, "base_layer"):
            block, _, last = name.rpartition(".")
            read[block, module.in_features, bool(OUTPUT.fullmatch(last))] = module.in_features
            copies += module.in_features
        elif hasattr(module, "in_features"):
            size = module.in_features * module.out_features
            if ".lora_" in name:
                adapters[number] += size
            else:
                matrices[number] += size
                widest = max(widest, size)
        elif getattr(module, "weight", None) is not None and module.weight.shape == (config.hidden_size,):
            norms += config.hidden_size * (1 if is_llamas_norm(module) or isinstance(module, torch.nn.LayerNorm) else 2)
    heads = getattr(config, "num_attention_heads", None) or 1  # a model without attention has none
    keys = getattr(config, "num_key_value_heads", None)
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    routed, active = 0, 0.0
    if any(experts):
        routed = config.num_experts_per_tok
        active = routed / config.num_local_experts
        inner = max(inner if 0 in experts else 0, int(active * max(experts)) // (3 * config.hidden_size))
    return Sizes(
        parameters=parameters,
        matrices=tuple(matrices),
        experts=tuple(experts),
        routed=routed,
        active=active,
        adapters=tuple(adapters),
        adapted_experts=max(adapted_experts),
        inputs=sum(read.values()),
        copies=copies,
        widest=widest,
        head=head.in_features * head.out_features,
        tied=bool(config.tie_word_embeddings),
        vocabulary=config.vocab_size,
        hidden=config.hidden_size,
        norms=norms / layers,
        inner=inner,
        heads=heads,
        attention=heads * width,
        keys=(keys or heads) * width,
        longest_in_row=window if may_share(base, 0) else 0,
        fused_head=changes_logits(config),
    )
