"""A base model small enough for tests: a two-layer Llama, a byte-level tokenizer and a chat template, made in a second.

Make one by hand: `python -m tests.tiny FOLDER`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "Hello, my order ORD-1042 from 2024-03-05 arrived broken and I want a refund of 49.90 EUR, thank you.",
    '{"intent":"refund","product":"kettle","amount":49.9,"date":"2024-03-05","order":null,"symptoms":["broken"]}',
    "You are a support assistant. Answer with one JSON object: system user assistant",
]


def make_tiny_base(folder: Path, seed: int = 0) -> Path:
    """Write the model into `folder` (made where missing) in the Hugging Face layout, and return `folder`.

    The same seed gives the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tiny_files(seed).items():
        (folder / name).write_bytes(content)
    return folder


def quantize(base: Path, *, nf4: bool = True, dtype: str = "bfloat16") -> Path:
    """Write what the stage `quantize` makes of a base to the folder `quantized` next to it, and return that."""
    from hallmark.model.quantized import write_quantized

    folder = base.parent / "quantized"
    folder.mkdir()
    write_quantized(base, folder, nf4=nf4, dtype=dtype)
    return folder


@cache
def tiny_files(seed: int) -> dict[str, bytes]:
    """The files of the model, made once per process. Sizes are multiples of 64, as NF4 blocks need; vocabulary 320."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_bpe(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        model_max_length=8192,
    )
    tokenizer.chat_template = CHAT_TEMPLATE

    config = LlamaConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.1,  # spread enough that a random model says more than one token over and over
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    if len(tokenizer) != config.vocab_size:
        raise AssertionError(f"the tokenizer has {len(tokenizer)} tokens, the model {config.vocab_size}")
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir())}


def byte_level_bpe(special: list[str]) -> Any:
    """A tokenizer of 320 tokens that can write any text; the special ones come first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    return bpe


if __name__ == "__main__":
    print(json.dumps(sorted(file.name for file in make_tiny_base(Path(sys.argv[1])).iterdir())))
