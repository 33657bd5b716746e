"""Loading the base model, its tokenizer and an adapter: always from disk, safetensors only, never remote code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.document import objects
from hallmark.base.errors import HallmarkError
from hallmark.base.model_folder import (
    check_config,
    check_files,
    check_loaded,
    explained,
    weight_files,
)
from hallmark.base.reading import read_object
from hallmark.model.adapter import TRAINING as TRAINING
from hallmark.model.adapter import base_precision, check_trained_over, load_adapter

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


MOST_GROWTH = 1000  # of a text by all replacements of a tokenizer; real ones replace a letter or two by as many
IGNORED = -100  # the label of a token that carries no loss
TOKENIZER_JSON = (
    "config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a model folder, with a pad token; a HallmarkError if there is none or it has no chat template."""
    from transformers import AutoTokenizer

    check_files(folder)
    remedy = "put tokenizer.json and tokenizer_config.json into the folder, next to the weights"
    for name in TOKENIZER_JSON:  # the library would blame another file, or none
        if (folder / name).exists():
            read_object(folder / name, remedy)
    if (folder / "tokenizer.json").exists():
        check_growth(folder / "tokenizer.json")
    with explained("no tokenizer can be loaded", folder, remedy=remedy):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not tokenizer.chat_template:
        raise HallmarkError(
            "the tokenizer has no chat template",
            file=folder,
            remedy="use an instruct model, or put its chat_template.jinja into the folder",
        )
    with explained("the tokenizer does not work", folder / "tokenizer_config.json", remedy=remedy):
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        # transformers takes any value for these, and fails where they are used.
        tokenizer.convert_tokens_to_ids("no token of any vocabulary")
        works = isinstance(tokenizer.pad_token_id, int) and tokenizer("text", add_special_tokens=False).input_ids
    if not works:
        problem = "no token to pad with, and none that ends a text" if tokenizer.pad_token is None else "knows no token"
        raise HallmarkError(problem, file=folder / "tokenizer_config.json", remedy=remedy)
    return tokenizer


def check_growth(file: Path) -> None:
    """A HallmarkError if the rules of a tokenizer could make a text grow without end: its library has no limit."""
    growth = 1
    for part in objects(read_object(file)):
        if part.get("type") == "Replace" and isinstance(part.get("content"), str):
            growth *= max(1, len(part["content"]))
    if growth > MOST_GROWTH:
        problem = f"its replacements could make a text over {MOST_GROWTH} times as long"
        raise HallmarkError(problem, file=file, remedy="use the tokenizer of this model")


def load_base(
    folder: Path, *, dtype: str, attention: str, device: str, nf4: bool = False, sharded: bool = False
) -> PreTrainedModel:
    """The base model in `dtype`, or (`nf4`) in 4-bit NF4 with double quantization, computing in `dtype`.

    NF4 and double quantization: Dettmers et al., QLoRA, 2023 (arXiv:2305.14314). `sharded`: FSDP will shard the model and
    accepts only floats, so the 4-bit values are packed into `dtype`, two or more in each.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    compute_dtype: torch.dtype = getattr(torch, dtype)
    options: dict[str, Any] = {}
    if nf4:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute_dtype,
            bnb_4bit_quant_storage=compute_dtype if sharded else torch.uint8,
        )
    check_files(folder)
    check_config(folder, weight_files(folder))
    remedy = "the folder needs config.json and *.safetensors of a model that transformers supports"
    with explained("no model can be loaded", folder, remedy=remedy):
        auto: Any = AutoModelForCausalLM  # the stubs don't know `output_loading_info`
        model, info = auto.from_pretrained(
            folder,
            dtype=compute_dtype,
            attn_implementation=attention,
            device_map={"": device},
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            **options,
        )
    check_loaded(info, folder)
    module: Any
    for module in model.modules():
        # On a CPU with AVX512-BF16, bitsandbytes 0.50.2 repacks 4-bit weights at the first forward pass in eval mode, for
        # a kernel without a backward pass: after one validation, no gradient would reach the layers below.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def load_tuned(weights: Path, adapter: Path, *, dtype: str, attention: str, device: str, merge: bool) -> Any:
    """The model that was tuned: `weights`, those the adapter was trained over, with the adapter on them.

    `merge` folds the adapter into the weights (faster, the same function). The weights are those of `models/quantized`: an
    adapter trained over a 4-bit base has learned to compensate for its rounding, and on the original weights the model is
    clearly worse (see docs/choices.md). Weights that are not the adapter's are a HallmarkError.
    """
    base_precision(adapter)  # a HallmarkError if it doesn't say
    check_trained_over(adapter, weights)
    model = load_adapter(load_base(weights, dtype=dtype, attention=attention, device=device), adapter)
    return model.merge_and_unload() if merge else model


def write_merged(adapter: Path, weights: Path, dtype: str, folder: Path) -> None:
    """Write the whole model to `folder`, weights and tokenizer, with the adapter merged into what it was trained over."""
    model = load_tuned(weights, adapter, dtype=dtype, attention="eager", device="cpu", merge=True)
    model.save_pretrained(folder)
    load_tokenizer(adapter).save_pretrained(folder)
