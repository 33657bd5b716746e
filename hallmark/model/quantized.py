"""The weights that adapters are trained over, made from a base: rounded to 4-bit NF4 and written out, or left as they are."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from hallmark.base.files import write_json
from hallmark.base.model_folder import INDEX, check_files, open_tensors, weight_files
from hallmark.base.reading import read_object
from hallmark.model.loading import load_base

SHARD = "5GB"  # most of a file of weights, as hubs have them


def pin_rounding(environment: MutableMapping[str, str]) -> None:
    """Make NF4 rounding give the same weights on every x86-64 processor; call it before torch is imported.

    Double quantization takes a mean over each matrix, whose last bits depend on how the sum is split: by the width of the
    processor's vectors, and by threads (`write_quantized` uses one).
    """
    if platform.machine() in ("x86_64", "AMD64"):
        environment["ATEN_CPU_CAPABILITY"] = "avx2"


def write_quantized(base: Path, folder: Path, *, nf4: bool, dtype: str) -> int:
    """Write the model in `base` to `folder` in `dtype`, with the linear layers rounded to NF4 (`nf4`); in the same layout.

    Returns how many parameters were rounded. Always on the CPU, whatever trains: a GPU rounds the last bits differently, and the
    weights would then depend on it. What is in `dtype` already and isn't rounded is copied byte for byte. The whole model in
    `dtype` must fit into memory, as it must for an evaluation.
    """
    check_files(base)
    weights = weight_files(base)
    same = not nf4 and all(_is_all(file, dtype) for file in weights)
    for file in sorted(base.iterdir()):
        if file.is_file() and (same or (file.name != INDEX and file.suffix != ".safetensors")):
            shutil.copyfile(file, folder / file.name)
    if same:
        return 0

    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model: Any = load_base(base, dtype=dtype, attention="eager", device="cpu", nf4=nf4)
        rounded = sum(
            module.in_features * module.out_features
            for module in model.modules()
            if getattr(getattr(module, "weight", None), "quant_state", None) is not None
        )
        if nf4:
            model = model.dequantize()
    finally:
        torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(dir=folder) as saved:
        model.save_pretrained(saved, max_shard_size=SHARD)
        for file in [*sorted(Path(saved).glob("*.safetensors")), Path(saved) / INDEX]:
            if file.exists():
                file.replace(folder / file.name)
    config = read_object(folder / "config.json")
    named = {key: dtype for key in ("dtype", "torch_dtype") if config.get(key) not in (None, dtype)}
    if named:
        write_json(folder / "config.json", config | named)
    return rounded


def _is_all(file: Path, dtype: str) -> bool:
    """Whether every tensor in the file is of this type of number."""
    stored = {"bfloat16": "BF16", "float32": "F32"}.get(dtype)
    with open_tensors(file) as tensors:
        return all(tensors.get_slice(name).get_dtype() == stored for name in sorted(tensors.keys()))
