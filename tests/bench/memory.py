"""The memory that `plan` foresees, next to what a real training holds: `python -m tests.bench.memory` (after `dvc repro quantize`)."""

from __future__ import annotations

import argparse
import tempfile
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hallmark.base.files import BASE, QUANTIZED
from hallmark.model.loading import IGNORED, load_base, load_tokenizer
from hallmark.model.packing import Packed
from hallmark.params.loader import Params, load_params
from hallmark.plan.memory import answering_bytes, training_bytes
from hallmark.plan.sizes import Batch, configuration, sizes
from tests.bench.page import show, table

BLOCK = 512  # bytes that CUDA's allocator rounds every tensor up to
STEPS = 2  # the optimizer's state is made in the first


class Storages(TorchDispatchMode):
    """Counts the bytes of the storages that operations make for as long as they live: `now`, and `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def add(self, tensor: torch.Tensor) -> None:
        """Count the storage of a tensor, once."""
        if tensor.is_mkldnn:  # opaque
            return
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


@dataclass(frozen=True)
class Shape:
    """A training, or a batch of answers if no token is labelled."""

    name: str
    batch: Batch
    settings: dict[str, Any]  # params of `sft` that differ from the reference's
    config: dict[str, Any] | None = None  # of an architecture with made-up weights; None: the reference's base


# Widths that are to each other as those of real bases, and few layers.
SMALL: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
}
SMALL |= {"head_dim": 48, "num_hidden_layers": 4, "vocab_size": 8192, "tie_word_embeddings": True, "pad_token_id": 0}
CONFIGS: dict[str, dict[str, Any]] = {
    "Llama": SMALL | {"model_type": "llama"},
    "Qwen3": SMALL | {"model_type": "qwen3", "head_dim": 96},
    "Phi-3": SMALL | {"model_type": "phi3", "num_key_value_heads": 16},
    "Gemma 2": SMALL | {"model_type": "gemma2", "intermediate_size": 3072, "num_attention_heads": 8, "head_dim": 96},
    "Granite": SMALL | {"model_type": "granite"},
    "Qwen3-MoE": SMALL
    | {"model_type": "qwen3_moe", "moe_intermediate_size": 192, "num_experts": 16, "num_experts_per_tok": 8},
    "Mixtral": SMALL | {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2},
}
BATCH, ANSWERS = Batch(4, 256, 64), Batch(8, 256, 0)
SOME = r".*\.(qkv|q|v)_proj"
SETTINGS: dict[str, dict[str, Any]] = {
    "all matrices": {},
    "checkpointed": {"gradient_checkpointing": True},
    "some matrices": {"lora": {"target_modules": SOME}},
    "dropout": {"lora": {"dropout": 0.1, "target_modules": r".*_proj"}},
}
SHAPES = (
    Shape("as shipped", BATCH, {}),
    Shape("checkpointed, sdpa", Batch(4, 512, 64), {"gradient_checkpointing": True, "attention": "sdpa"}),
    Shape("4 bits kept", Batch(8, 128, 32), {"dequantize_once": False}),
    Shape("answers", ANSWERS, {}),
    *(
        Shape(f"{name}, {how}", BATCH, values, config)
        for name, config in CONFIGS.items()
        for how, values in SETTINGS.items()
        if how != "dropout" or name != "Qwen3-MoE"  # PEFT has none for its experts
    ),
    *(Shape(f"{name}, answers", ANSWERS, {}, config) for name, config in CONFIGS.items()),
)


def changed(params: Params, shape: Shape) -> Params:
    """The params with the settings of a shape, for two steps or two tokens."""
    size = {"batch_size": shape.batch.records, "gradient_accumulation_steps": 1, "max_steps": STEPS}
    every = {} if shape.config is None else {"layers": None}
    lora = params.sft.lora.model_copy(update=every | shape.settings.get("lora", {}))
    sft = params.sft.model_copy(update=shape.settings | size | {"lora": lora, "lr_scheduler": "constant"})
    answers = params.eval.model_copy(update={"max_new_tokens": STEPS, "attention": sft.attention})
    return params.model_copy(update={"sft": sft, "eval": answers})


def configuration_of(shape: Shape) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(**shape.config) if shape.config else configuration(BASE)


def foreseen(params: Params, shape: Shape) -> int:
    """The peak in bytes that `plan` foresees on a CPU."""
    size = sizes(configuration_of(shape), params.sft.lora)
    if shape.batch.labelled:
        return training_bytes(size, params.sft, shape.batch, "cpu")
    return answering_bytes(size, params, shape.batch, "cpu")


def held(params: Params, shape: Shape) -> int:
    """The peak in bytes of the storages alive in two steps of the trainer of `sft`, or in a batch of answers."""
    if not shape.batch.labelled:
        return answered(params, shape)
    import datasets

    from hallmark.model.lora import lora_config
    from hallmark.model.trainer import CompletionTrainer
    from hallmark.model.tuning import adapter_parameters, load_frozen, sft_arguments

    batch = shape.batch
    labels = [IGNORED] * (batch.tokens - batch.labelled) + [1] * batch.labelled
    ids = ([3 + number, *[1] * (batch.tokens - 1)] for number in range(batch.records * STEPS))  # which share no token
    rows = [{"input_ids": tokens, "labels": labels} for tokens in ids]
    model = made_up(shape, params.sft) if shape.config else load_frozen(params.sft, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        arguments = sft_arguments(params, folder)
        arguments.eval_strategy, arguments.eval_on_start = "no", False
        trainer: Any = CompletionTrainer(
            model=model,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=load_tokenizer(BASE),
            peft_config=lora_config(model, params.sft.lora),
        )
        for tensor in adapter_parameters(trainer.model).values():
            tensor.data = tensor.data.float()
        with Storages() as storages:
            for tensor in (*trainer.model.parameters(), *trainer.model.buffers()):
                storages.add(tensor)
            trainer.train()
    return storages.peak


def made_up(shape: Shape, settings: Any) -> Any:
    """A frozen model with random weights."""
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, settings.dtype)
    model: Any = AutoModelForCausalLM.from_config(
        configuration_of(shape), dtype=dtype, attn_implementation=settings.attention
    )
    return model.eval().requires_grad_(False)


def answered(params: Params, shape: Shape) -> int:
    """The peak in bytes of the storages alive while a batch is answered."""
    from hallmark.answer.decoding import Decoder
    from hallmark.model.packing import pack

    options: dict[str, Any] = {"dtype": params.eval.dtype, "attention": params.eval.attention}
    model = made_up(shape, params.eval) if shape.config else load_base(BASE, **options, device="cpu")
    pack(model)
    decoder = Decoder(model, ends={0}, pad=0, limit=params.eval.max_new_tokens)
    with Storages() as storages:
        for tensor in (*model.parameters(), *model.buffers()):
            storages.add(tensor)
        packed = [module for module in model.modules() if isinstance(module, Packed)]
        storages.now += sum(2 * module.in_features * module.out_features for module in packed)  # opaque to torch
        decoder.write([[1] * shape.batch.tokens] * shape.batch.records)
    return storages.peak


def main() -> None:
    """Print the peaks of each shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", default="", help="only shapes with this in their names")
    part = parser.parse_args().part
    if not BASE.exists() or not QUANTIZED.exists():
        raise SystemExit(f"{BASE} or {QUANTIZED} is not there: run `dvc repro quantize` first")
    rows = []
    for shape in SHAPES:
        if part in shape.name:
            params = changed(load_params(), shape)
            plan, real = foreseen(params, shape), held(params, shape)
            size = f"{shape.batch.records} x {shape.batch.tokens}"
            rows.append([shape.name, size, round(plan / 2**20), round(real / 2**20), f"{plan / real - 1:+.1%}"])
    head = ["training or answers", "records x tokens", "`plan`, MiB", "real, MiB", "difference"]
    text = (
        "`plan` reckons by a formula; real is what the storages alive in two steps of the trainer hold, or in a batch of "
        "answers, on a CPU. The first rows are of the reference's base and its weights, the others of small models with "
        "made-up weights. What libraries take on top is in neither.\n\n"
    )
    show("Memory foreseen by plan", text + table(head, rows))


if __name__ == "__main__":
    main()
