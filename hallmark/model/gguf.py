"""GGUF files: written by llama.cpp's converter, and read back by transformers."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import write_json
from hallmark.base.model_folder import check_loaded, explained

CONVERTERS = ("convert_hf_to_gguf.py", "convert-hf-to-gguf")  # llama.cpp's, as its sources and packages name it
QUANTIZER = "llama-quantize"
DEFAULT = "16"
KINDS = {DEFAULT: "16-bit", "q8_0": "Q8_0", "q4_k_m": "Q4_K_M"}  # types of weights, and their names
# Those that the converter writes, with its options; the others are made from a 16-bit file.
CONVERTED: dict[str, list[str]] = {DEFAULT: [], "q8_0": ["--outtype", "q8_0"]}


def missing(kind: str) -> str | None:
    """What of llama.cpp a GGUF file of that type needs and is not on the PATH, in words; None if all is there."""
    if _converter() is None:
        return f"llama.cpp's {CONVERTERS[0]} is not on the PATH"
    if kind not in CONVERTED and shutil.which(QUANTIZER) is None:
        return f"llama.cpp's {QUANTIZER} is not on the PATH"
    return None


def check_programs(kind: str, target: Path) -> None:
    """A HallmarkError about the folder or file `target` if a program for that type is not on the PATH."""
    if problem := missing(kind):
        raise HallmarkError(
            problem,
            file=target,
            remedy="install llama.cpp and its Python requirements, or merge to a folder",
        )


def write_gguf(folder: Path, target: Path, kind: str, about: dict[str, str] | None = None) -> None:
    """Write the whole model in `folder` to the GGUF file `target`, with weights of that type (a key of `KINDS`).

    `about`: what the file says of itself, by llama.cpp's keys. A HallmarkError if a program is missing or fails.
    """
    check_programs(kind, target)
    if kind in CONVERTED:
        _convert(folder, target, CONVERTED[kind], about)
        return
    wide = target.with_name(f"wide-{target.name}")
    try:
        _convert(folder, wide, [], about)
        _run([QUANTIZER, str(wide), str(target), KINDS[kind]], target, "run it by hand to see the whole output")
    finally:
        wide.unlink(missing_ok=True)


def _converter() -> str | None:
    return next(filter(None, map(shutil.which, CONVERTERS)), None)


def _convert(folder: Path, target: Path, options: list[str], about: dict[str, str] | None) -> None:
    command = [str(_converter()), str(folder), "--outfile", str(target), *options]
    if about:
        write_json(folder / "metadata.json", about)
        command += ["--metadata", str(folder / "metadata.json")]
    _run(command, target, "merge to a folder, and convert it by hand to see the whole output")


def _run(command: list[str], target: Path, remedy: str) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        message, failed = result.stderr.strip(), result.returncode != 0
    except OSError as error:  # not on the PATH, or no program
        message, failed = str(error.strerror), True
    if failed or not target.is_file():
        what = "converter" if command[0].endswith(CONVERTERS) else Path(command[0]).name
        raise HallmarkError(
            f"llama.cpp's {what} failed: {(message or 'no message').splitlines()[-1]}", file=command[0], remedy=remedy
        )


def load_gguf(file: Path, *, dtype: str, attention: str, device: str) -> Any:
    """The model in a GGUF file, its weights unpacked to `dtype`: what llama.cpp computes with, less its own rounding."""
    from tqdm import tqdm
    from transformers import AutoModelForCausalLM, GgufConfig, modeling_gguf_pytorch_utils

    # Its bar has no switch:
    # https://github.com/huggingface/transformers/blob/main/src/transformers/modeling_gguf_pytorch_utils.py
    modeling_gguf_pytorch_utils.tqdm = partial(tqdm, disable=True)
    remedy = "use an architecture whose GGUF files transformers can read"
    with explained("can't be read as a GGUF model", file, remedy=remedy):
        auto: Any = AutoModelForCausalLM  # the stubs don't know `output_loading_info`
        model, info = auto.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=dtype,
            attn_implementation=attention,
            device_map={"": device},
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    check_loaded(info, file)
    return model
