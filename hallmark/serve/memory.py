"""What a model takes on the device that serves it, in bytes: its weights, and the cache of keys and values."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.model_folder import tensor_sizes, weight_files
from hallmark.base.reading import read_object

WIDTHS = {"bfloat16": 2, "float16": 2, "float32": 4}  # bytes of a value
CGROUP = Path("/sys/fs/cgroup")  # where a container has its limit
BLOCK = 16  # tokens: servers hand out the cache in blocks of this number


def weight_bytes(folder: Path, dtype: str) -> int:
    """Bytes of a model's weights in `dtype`, whatever they are stored in; the headers of the files are enough."""
    return WIDTHS[dtype] * sum(sum(tensor_sizes(file).values()) for file in weight_files(folder))


def cache_bytes(folder: Path, dtype: str, requests: int, length: int) -> int:
    """Bytes of the cache for that many requests of `length` tokens each, by the model's config.json.

    A model whose layers keep less than every token (a sliding window, compressed keys) takes less. Raises HallmarkError if
    config.json doesn't say how many values a token has.
    """
    file = folder / "config.json"
    config = read_object(file)
    if isinstance(inner := config.get("text_config"), dict):
        config = inner
    heads = _count(config, "num_attention_heads")
    layers, pairs = _count(config, "num_hidden_layers"), _count(config, "num_key_value_heads") or heads
    width = _count(config, "head_dim") or (_count(config, "hidden_size") // heads if heads else 0)
    if not (layers and pairs and width):
        raise HallmarkError(
            "doesn't say how much cache a token takes (num_hidden_layers, num_key_value_heads, head_dim)",
            file=file,
            remedy="set the server's cache_gib to a number",
        )
    blocks = requests * -(-length // BLOCK) + 1  # vLLM keeps one empty
    return blocks * BLOCK * 2 * layers * pairs * width * WIDTHS[dtype]


def _count(config: dict[str, Any], key: str) -> int:
    """A number above 0 in config.json; 0 if it has none."""
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def free_bytes(device: str) -> int:
    """Memory that nothing uses now: of the GPU that is used here, or of the machine; 0 if nobody can say."""
    if device == "cpu":
        import psutil

        return min(int(psutil.virtual_memory().available), _left_in_container())
    card = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits", f"--id={card}"]
    try:  # torch would take some of it to look
        return int(subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def _left_in_container() -> int:
    """What the limit of this container leaves; cached files, which go when memory is needed, don't count as used."""
    try:
        limit, used = (int((CGROUP / f"memory.{name}").read_text("ascii")) for name in ("max", "current"))
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text("ascii").splitlines())
        return max(0, limit - used + int(stat["inactive_file"]))
    except (OSError, ValueError, KeyError):  # the limit is the machine's
        return sys.maxsize


def card_bytes() -> int | None:
    """Memory of the first CUDA device; None if torch sees none."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None
