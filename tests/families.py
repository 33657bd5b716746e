"""Tiny random models of the families that a repo can start from, each with what is peculiar to the real one.

Two layers, 320 tokens; the chat templates are short ones in the family's documented format. Make one by hand:
`python -m tests.families llama-3.2-3b FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.tiny import byte_level_bpe

HEADER = "'<|start_header_id|>' + {} + '<|end_header_id|>\\n\\n'"
# The date of the day where none is given, and a system turn of its own; tools in it; one call at a time.
LLAMA = (
    "{{ bos_token }}"
    "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{% set system = '' %}"
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content | trim %}{% set messages = messages[1:] %}{% endif %}"
    "{{ " + HEADER.format("'system'") + " + 'Today Date: ' + date_string + '\\n\\n' }}"
    '{% if tools %}{{ \'Call with {"name": function, "parameters": arguments}.\\n\\n\' }}'
    "{% for tool in tools %}{{ (tool | tojson) + '\\n\\n' }}{% endfor %}{% endif %}"
    "{{ system + '<|eot_id|>' }}"
    "{% for message in messages %}{{ " + HEADER.format("message.role") + " }}"
    "{% if message.tool_calls %}"
    "{% if message.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}"
    "{% set call = message.tool_calls[0].function %}"
    "{{ '{\"name\": \"' + call.name + '\", \"parameters\": ' + (call.arguments | tojson) + '}' }}"
    "{% else %}{{ message.content | trim }}{% endif %}{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ " + HEADER.format("'assistant'") + " }}{% endif %}"
)
# The last answer always has a block of thoughts, be it empty; the prompt has one where thinking is switched off.
QWEN = (
    "{% set system = '' %}"
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set messages = messages[1:] %}{% endif %}"
    "{% if system or tools %}{{ '<|im_start|>system\\n' + system }}"
    "{% if tools %}{{ '\\n\\n# Tools\\n<tools>' }}"
    "{% for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor %}{{ '\\n</tools>' }}{% endif %}"
    "{{ '<|im_end|>\\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% if message.role == 'assistant' and loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}"
    "{% if message.content or not loop.first %}{{ '\\n' }}{% endif %}"
    '{{ \'<tool_call>\\n{"name": "\' + call.function.name + \'", "arguments": \' }}'
    "{{ (call.function.arguments | tojson) + '}\\n</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}"
)
# A turn ends with one token, the whole conversation with another; tools are not known.
PHI = (
    "{% for message in messages %}{{ '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
# A system message of its own where none is given; tools are not known.
SMOLLM = (
    "{% for message in messages %}"
    "{% if loop.first and message.role != 'system' %}{{ '<|im_start|>system\\nYou are tiny<|im_end|>\\n' }}{% endif %}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# What the system says stands before what the first user does, since there is no such role; they alternate; no tools.
GEMMA = (
    "{{ bos_token }}{% set system = '' %}"
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content + '\\n\\n' %}{% set messages = messages[1:] %}{% endif %}"
    "{% for message in messages %}"
    "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}"
    "{{ (system if loop.first else '') + (message.content | trim) + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
SIZES = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.1,
}


def make_family(name: str, folder: Path) -> Path:
    """Write a tiny model of that family into `folder`."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    tokenizer, config, generation = FAMILIES[name]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    model.generation_config = GenerationConfig(**generation)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if name == "phi-3.5-mini":  # as on the hub: code of its own, which is never run
        file = folder / "config.json"
        code = {"auto_map": {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}}
        file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | code), encoding="utf-8")
    return folder


def _tokenizer(special: list[str], template: str, **named: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level_bpe(special), model_max_length=131072, **named)
    tokenizer.chat_template = template
    return tokenizer


def _smollm() -> tuple[Any, Any, dict[str, Any]]:
    """The padding token is the one that ends a turn."""
    from transformers import LlamaConfig

    tokenizer = _tokenizer(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        SMOLLM,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )
    config = LlamaConfig(
        **SIZES, num_key_value_heads=1, max_position_embeddings=8192, tie_word_embeddings=True, eos_token_id=2
    )
    return tokenizer, config, {"eos_token_id": 2, "pad_token_id": 2}


def _llama() -> tuple[Any, Any, dict[str, Any]]:
    """No padding token; the tokenizer puts `<|begin_of_text|>` before every text, and so does the template."""
    from tokenizers import processors
    from transformers import LlamaConfig

    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>"]  # fmt: skip
    tokenizer = _tokenizer(special, LLAMA, bos_token=special[0], eos_token="<|eot_id|>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special[0]} $A", special_tokens=[(special[0], 0)]
    )
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    config = LlamaConfig(
        **SIZES,
        num_key_value_heads=1,
        max_position_embeddings=131072,
        tie_word_embeddings=True,
        rope_parameters=rope | {"original_max_position_embeddings": 8192},
        bos_token_id=0,
        eos_token_id=[1, 4, 5],
    )
    return tokenizer, config, {"eos_token_id": [1, 4, 5], "do_sample": True, "temperature": 0.6, "top_p": 0.9}


def _qwen() -> tuple[Any, Any, dict[str, Any]]:
    """Norms on queries and keys, heads that are wider than their share of the hidden size, no first token."""
    from transformers import Qwen3Config

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>"]
    tokenizer = _tokenizer(special, QWEN, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    config = Qwen3Config(
        **SIZES,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=40960,
        tie_word_embeddings=True,
        eos_token_id=2,
    )
    return tokenizer, config, {"eos_token_id": [2, 0], "pad_token_id": 0, "do_sample": True, "top_k": 20}


def _phi() -> tuple[Any, Any, dict[str, Any]]:
    """Fused projections, untied embeddings, two sets of rotary factors; role tokens swallow the space after them."""
    from tokenizers import AddedToken
    from transformers import Phi3Config

    special = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    tokenizer = _tokenizer(
        special, PHI, bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [AddedToken(token, rstrip=True, special=True) for token in special[1:]]}
    )
    config = Phi3Config(
        **SIZES,
        num_key_value_heads=2,
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 1e4,
            "short_factor": [1.0 + 0.1 * place for place in range(16)],
            "long_factor": [1.0 + 2.0 * place for place in range(16)],
            "original_max_position_embeddings": 4096,
        },
        sliding_window=262144,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    return tokenizer, config, {"eos_token_id": [4, 3, 0], "pad_token_id": 0}


def _gemma() -> tuple[Any, Any, dict[str, Any]]:
    """Windows in some layers, scaled embeddings, norms of one plus a weight, and before and after each block."""
    from transformers import Gemma3TextConfig

    special = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = _tokenizer(special, GEMMA, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")
    windows = {"sliding_window": 48, "layer_types": ["sliding_attention", "full_attention"]}
    config = Gemma3TextConfig(**SIZES, **windows, num_key_value_heads=1, head_dim=64, query_pre_attn_scalar=64)
    return tokenizer, config, {"eos_token_id": [1, 4], "pad_token_id": 0, "do_sample": True, "top_k": 64}


FAMILIES = {
    "smollm2-135m": _smollm,
    "qwen3-0.6b": _qwen,
    "llama-3.2-3b": _llama,
    "phi-3.5-mini": _phi,
    "gemma-3-270m": _gemma,
}

if __name__ == "__main__":
    print(json.dumps(sorted(file.name for file in make_family(sys.argv[1], Path(sys.argv[2])).iterdir())))
