"""Parts about servers: `benchmark`, the stage itself, with each engine on one card, base and tuned."""

from __future__ import annotations

from typing import Any

from tests.gpu.models import QWEN, SMOLLM, Workspace, workspace
from tests.gpu.registry import Bench, Skipped, expect, part
from tests.workspace import ROOT, report

VLLM_PYTHON = ROOT / ".venv-vllm/bin/python"
TRANSFORMERS = {
    "kind": "transformers",
    "port": 0,
    "dtype": "bfloat16",
    "attention": "sdpa",
    "cache_blocks": 64,
    "batch_tokens": 1024,
    "startup_timeout": 200,
}
VLLM = {
    "kind": "vllm",
    "python": str(VLLM_PYTHON),
    "port": 0,
    "dtype": "bfloat16",
    "adapter": "merged",
    "max_length": 2048,
    "max_num_seqs": 32,
    "cache_gib": 2.0,
    "prefix_cache": False,
    "startup_timeout": 300,
}


def ready(bench: Bench, name: str) -> Workspace:
    """A workspace where `benchmark` is next: an adapter is trained."""
    made = workspace(bench, name)
    made.set(sft__max_steps=bench.size(20, 2))
    made.stage("sft")
    made.stage("dpo")
    made.stage("eval", "--model", "tuned")  # what ships is compared with its answers
    return made


def served(
    bench: Bench,
    made: Workspace,
    words: str,
    server: dict[str, Any],
    load: int,
    requests: int,
    artefacts: tuple[str, ...] = ("server",),
) -> None:
    """Run `benchmark` for base and tuned on this server: every request must be answered.

    How many answers of these artefacts are not as evaluated is noted, and no reason to fail.
    """
    with bench.check(words) as told:
        made.set(benchmark__server=server, benchmark__models=["base", "tuned"], benchmark__concurrency=[load])
        made.set(benchmark__requests=requests, benchmark__warmup=1, benchmark__max_tokens=bench.size(48, 8))
        made.set(benchmark__parity={"records": bench.size(16, 2), "artefacts": list(artefacts)})
        made.stage("benchmark")
        found = report(made.folder, "benchmark")
        told.append(found["server"])
        for model, each in found["models"].items():
            (level,) = each["levels"]
            bad = level["errors"] + level["timeouts"]
            expect(bad == 0, f"{model}: {bad} of {level['requests']} requests failed: {level['failures']}")
            speed = f"{level['output_tokens_per_second']:,.0f} tokens/s, p95 {level['latency_s']['p95']} s"
            told.append(f"{model} {speed}, started in {each['startup_s']} s")
        for artefact in found["parity"]["artefacts"]:
            changes, of = artefact["changes"], found["parity"]["records"]
            said = f"{changes['texts']} of {of} texts changed" if changes else f"not measured ({artefact['reason']})"
            told.append(f"{artefact['name']}: {said}")


@part("serve", "transformers serve with continuous batching answers what benchmark sends")
def serve(bench: Bench) -> None:
    """Few requests: whether it works at all, base and tuned next to each other."""
    made = ready(bench, SMOLLM)
    each = ("adapter", "nf4", "merged", "server")
    served(bench, made, "transformers serve, base and tuned, one by one", TRANSFORMERS, 1, bench.size(4, 1), each)
    if not bench.tiny:
        served(bench, made, "transformers serve, base and tuned, 8 at once", TRANSFORMERS, 8, 32)


def vllm(bench: Bench, adapter: str, name: str) -> None:
    """One model: starting vLLM takes most of a part's time."""
    if not VLLM_PYTHON.exists():
        raise Skipped("there is no .venv-vllm, which `nox -s vllm` makes")
    made = ready(bench, name)
    server = VLLM | {"adapter": adapter}
    words = f"{name}: vLLM, {adapter}, base and tuned on one card"
    served(bench, made, f"{words}, 8 at once", server, bench.size(8, 1), bench.size(32, 1))


@part("vllm-lora", "vLLM with the adapter next to the base: one server for both")
def lora(bench: Bench) -> None:
    """SmolLM2, whose answers say something."""
    vllm(bench, "lora", SMOLLM)


@part("vllm-merged", "vLLM with the adapter merged: two servers on one card")
def merged(bench: Bench) -> None:
    """Two servers of a 0.6B, which must share the card."""
    vllm(bench, "merged", QWEN)
