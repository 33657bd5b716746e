"""How a release is loaded and asked, as code for its card: what can be pasted, with every name defined.

The same card can be made for what a release is exported to, which needs no adapter: `merged_usage` and `gguf_usage`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.files import BASE, TRAIN
from hallmark.base.reading import read_object
from hallmark.base.records import scan_records
from hallmark.base.reports import shape
from hallmark.model.base_params import FolderBase, HubBase, PackageBase

if TYPE_CHECKING:
    from hallmark.params.loader import Params

NF4 = (
    "It was trained over the base in 4-bit NF4 and has adapted to that rounding, so the code below loads the "
    "base in NF4; over unrounded weights it is a worse model. As in training, the CPU rounds: a GPU rounds the last bits "
    "differently.\n\n"
)
NOTE = re.compile(
    r"It was trained over the base in 4-bit NF4 .*?\n\n", re.DOTALL
)  # this one, or that of older releases
QUANTIZED = re.compile(r"[.-]((?:I?Q\d\w*)|B?F16|F32)\.gguf$", re.IGNORECASE)  # as GGUF files are named
LOADED = re.compile(r"(?<=```python\n).*?\nmodel = [^\n]*\n", re.DOTALL)
CODE = re.compile(r"^(`{3,})python\n.*?^\1$", re.DOTALL | re.MULTILINE)
SYSTEM_PROMPT = re.compile(r"^system_prompt = .*?(?=^\w)", re.DOTALL | re.MULTILINE)
INSTALLED = "<!-- not run: installs packages -->"
TOOL = {
    "type": "function",
    "function": {
        "name": "name_of_a_tool",
        "description": "What it does.",
        "parameters": {"type": "object", "properties": {"argument": {"type": "string"}}},
    },
}


BASED = shape(source=str, name=str, revision=str, licence=str)  # of base.json


def base_words(base: HubBase | PackageBase | FolderBase, report: Mapping[str, Any]) -> str:
    """Which weights the adapter was trained over, for a sentence; `report` is that of the stage `base`."""
    if isinstance(base, HubBase):
        return f"[{base.name}](https://huggingface.co/{base.name}) at commit `{base.revision}`"
    if isinstance(base, FolderBase):
        return f"`{base.name}`, from a folder (`models/base` of the repository)"
    stored = QUANTIZED.search(base.file)
    rounded = f", which holds them as {stored[1].upper()}," if stored else ","
    version = f" {report['revision']}" if report.get("revision") else ""
    return (
        f"the weights of `{base.name}` in the file `{base.file}` of the Python package `{base.package}`{version}{rounded} "
        f"written out as bfloat16 (SHA-256 of the file: `{base.sha256}`). The hub's repo of that name has other weights: the "
        "adapter was not trained over those"
    )


def usage(
    params: Params,
    report: Mapping[str, Any],
    ends: list[int],
    installed: Mapping[str, str],
    given: Collection[str] = (),
) -> str:
    """What to install, and the code that loads the adapter over its base and asks it, as Markdown.

    `ends` are the tokens that end an answer, if they are known, `installed` the versions that it was made with, and `given`
    what records have besides the prompt: context, tools.
    """
    note = NF4 if params.sft.method == "qlora" else ""
    if params.task.tool_format == "template":
        note += "Calls of `tools` (JSON Schemas) come in the form of its chat template.\n\n"
    code = "\n".join([*_loading(params), *_asking(params, ends, given)])
    return f"{note}{INSTALLED}\n\n{_fenced('sh', _install(params, installed))}\n\nIn this folder:\n\n{_fenced('python', code)}"


def _install(params: Params, installed: Mapping[str, str]) -> str:
    packages = ["torch", "transformers", "peft", "accelerate"]
    packages += ["bitsandbytes"] if params.sft.method == "qlora" else []
    packages += ["gguf"] if isinstance(params.base, PackageBase) else []
    lines = [f"python -m pip install {' '.join(_pinned(name, installed) for name in packages)}"]
    if isinstance(params.base, PackageBase):
        lines.append(f"python -m pip install --no-deps {_pinned(params.base.package, installed)}")
    return "\n".join(lines)


def _pinned(name: str, installed: Mapping[str, str]) -> str:
    version = installed.get(name, "absent").partition("+")[0]  # a local version is one index's build
    return name if version == "absent" else f"{name}=={version}"


def _loading(params: Params) -> Iterator[str]:
    base, dtype = params.base, params.sft.dtype
    qlora, package = params.sft.method == "qlora", isinstance(params.base, PackageBase)
    yield from (
        ["import hashlib", "import tempfile", "from importlib.metadata import distribution", ""] if package else []
    )
    yield "from peft import PeftModel"
    names = ["AutoModelForCausalLM", "AutoTokenizer", *(["BitsAndBytesConfig"] if qlora else [])]
    yield f"from transformers import {', '.join([*names, *(['GgufConfig'] if package else [])])}"
    yield ""
    how = f'dtype="{dtype}"'
    if qlora:
        yield "nf4 = BitsAndBytesConfig("
        yield '    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,'
        yield f'    bnb_4bit_compute_dtype="{dtype}",'
        yield ")"
        how += ', quantization_config=nf4, device_map="cpu"'
    whole = ".dequantize()" if qlora else ""
    if isinstance(base, HubBase):
        yield f'base = AutoModelForCausalLM.from_pretrained("{base.name}", revision="{base.revision}", {how}){whole}'
    elif isinstance(base, FolderBase):
        yield 'folder = "../base"  # put the base there; provenance.json has the SHA-256 of its files'
        yield f"base = AutoModelForCausalLM.from_pretrained(folder, {how}){whole}"
    else:
        yield f"gguf = distribution({base.package!r}).locate_file({base.file!r})"
        yield f'assert hashlib.sha256(gguf.read_bytes()).hexdigest() == "{base.sha256}"'
        yield "with tempfile.TemporaryDirectory() as folder:"
        yield "    AutoModelForCausalLM.from_pretrained("
        yield '        gguf.parent, gguf_file=gguf.name, dtype="bfloat16", quantization_config=GgufConfig(dequantize=True)'
        yield "    ).save_pretrained(folder)"
        yield f"    base = AutoModelForCausalLM.from_pretrained(folder, {how}){whole}"
    yield 'model = PeftModel.from_pretrained(base, ".")'


def _asking(params: Params, ends: list[int], given: Collection[str]) -> Iterator[str]:
    yield 'tokenizer = AutoTokenizer.from_pretrained(".")'
    yield ""
    first, *rest = params.task.system_prompt.splitlines(keepends=True)
    yield "system_prompt = (  # the one that it was trained with"
    yield from (f"    {line!r}" for line in (first, *rest))
    yield ")"
    content = "text"
    if "context" in given:
        yield 'context = "Put what was retrieved for it here."'
        content = 'f"{context}\\n\\n{text}"'
    yield 'text = "Put the input here."  # as stages/records.py makes a prompt'
    if "tools" in given:
        yield f"tools = [{TOOL!r}]"
    yield f'messages = [{{"role": "system", "content": system_prompt}}, {{"role": "user", "content": {content}}}]'
    tools = "tools=tools, " if "tools" in given else ""
    yield "inputs = tokenizer.apply_chat_template("
    yield f'    messages, {tools}add_generation_prompt=True, return_tensors="pt", return_dict=True'
    yield ")"
    stops = f", eos_token_id={ends}" if ends else ""
    yield f"output = model.generate(**inputs, max_new_tokens={params.eval.max_new_tokens}, do_sample=False{stops})"
    yield 'print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))'


def ends(base: Path = BASE) -> list[int]:
    """The tokens that end an answer, as `base` has settled them."""
    file = base / "generation_config.json"
    stated = read_object(file).get("eos_token_id") if file.exists() else None
    return stated if isinstance(stated, list) else [stated] if stated is not None else []


def given(records: Path = TRAIN) -> list[str]:
    """What records have besides the prompt: context, tools."""
    import polars as pl

    there = scan_records(records).select(pl.col("context", "tools").is_not_null().any()).collect()
    return [name for name, values in there.to_dict().items() if values[0]]


def merged_usage(section: str, dtype: str) -> str:
    """The same section for the whole model: it is loaded alone, and needs neither base nor rounding."""
    code = f"""from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(".", dtype="{dtype}")
"""
    lines = [line for line in NOTE.sub("", section, count=1).splitlines(keepends=True) if " --no-deps " not in line]
    unneeded = re.compile(r" (?:peft|accelerate|bitsandbytes|gguf)(?:==\S+)?(?=\s)")
    plain = "".join(unneeded.sub("", line) if "pip install" in line else line for line in lines)
    return LOADED.sub(lambda _: code, plain)


def gguf_usage(section: str, file: str) -> str:
    """The same section for a GGUF file, which llama.cpp loads; the system prompt stays."""
    prompt = SYSTEM_PROMPT.search(section)
    shown = f"\n\nWith this system prompt:\n\n{_fenced('python', prompt[0].strip())}" if prompt else ""
    return f"<!-- not run: needs llama.cpp -->\n\n{_fenced('sh', f'llama-server --model {file} --jinja')}{shown}"


def _fenced(language: str, text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
