"""PEFT's configuration of the adapter, from the block `sft.lora`."""

from __future__ import annotations

import re
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import time_limit
from hallmark.model.params import Lora


def lora_config(model: Any, lora: Lora) -> Any:
    """PEFT's `LoraConfig` for the `sft.lora` block, with `layers` counted from the end of `model`."""
    from peft import LoraConfig

    modules: Any = lora.target_modules if isinstance(lora.target_modules, str) else sorted(lora.target_modules)
    linear = {name.rpartition(".")[2] for name, module in model.named_modules() if hasattr(module, "in_features")}
    linear -= {"lm_head"}
    if isinstance(modules, str) and modules != "all-linear":
        check_regex(modules, [name for name, _ in model.named_modules()])
    if isinstance(modules, list) and (missing := [name for name in modules if name not in linear]):
        # PEFT adapts the modules that exist and silently ignores the others.
        raise HallmarkError(
            f"the base model has no matrices {', '.join(missing)}",
            param="sft.lora.target_modules",
            remedy=f"name some of {', '.join(sorted(linear))}, or all-linear",
        )
    chosen = None
    if lora.layers is not None:
        layers = model.config.num_hidden_layers
        if lora.layers > layers:
            raise HallmarkError(
                f"{lora.layers} layers, but the base model has {layers}",
                param="sft.lora.layers",
                remedy=f"set it to at most {layers}, or to null for all",
            )
        chosen = list(range(layers - lora.layers, layers))
        if modules == "all-linear":  # PEFT accepts a choice of layers only with a list of names
            modules = sorted(linear)
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=modules,
        layers_to_transform=chosen,
        task_type="CAUSAL_LM",
    )


def check_regex(regex: str, names: list[str]) -> None:
    """A HallmarkError unless the regular expression matches some of the base's modules, in a reasonable time."""
    remedy = "name matrices, as in [q_proj, v_proj], or all-linear"
    slow = HallmarkError("takes too long to match", param="sft.lora.target_modules", remedy=remedy)
    try:
        with time_limit(10, slow):
            found = any(re.fullmatch(regex, name) for name in names)
    except re.error as error:
        problem = f"not a regular expression: {error}"
        raise HallmarkError(problem, param="sft.lora.target_modules", remedy=remedy) from None
    if not found:
        raise HallmarkError("matches no module of the base", param="sft.lora.target_modules", remedy=remedy)
