"""GGUF files: written by llama.cpp's converter, and read back by transformers."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from stages.core.errors import HallmarkError
from stages.core.files import write_json
from stages.core.model_folder import check_loaded, explained

CONVERTERS = ("convert_hf_to_gguf.py", "convert-hf-to-gguf")  # llama.cpp's, as its sources and packages name it
QUANTIZER = "llama-quantize"


def converter() -> str | None:
    """llama.cpp's converter, if it is on the PATH."""
    return next(filter(None, map(shutil.which, CONVERTERS)), None)


def quantizer() -> str | None:
    """llama.cpp's quantizer, if it is on the PATH."""
    return shutil.which(QUANTIZER)


def check_converter(target: Path) -> str:
    """The converter; a HallmarkError about the GGUF file or folder `target` if it is not on the PATH."""
    program = converter()
    if program is None:
        raise HallmarkError(
            f"llama.cpp's {CONVERTERS[0]} is not on the PATH",
            file=target,
            remedy="install llama.cpp and its Python requirements, or merge to a folder",
        )
    return program


def convert(folder: Path, target: Path, about: dict[str, str] | None = None, *options: str) -> None:
    """Write the whole model in `folder` to the GGUF file `target`.

    `about`: what the file says of itself, by llama.cpp's keys. A HallmarkError if there is no converter or it fails.
    """
    command = [check_converter(target), str(folder), "--outfile", str(target), *options]
    if about:
        write_json(folder / "metadata.json", about)
        command += ["--metadata", str(folder / "metadata.json")]
    _run(command, target, "merge to a folder, and convert it by hand to see the whole output")


def quantize(source: Path, target: Path, kind: str) -> None:
    """Write a GGUF file with 16-bit weights as one of that kind, such as Q4_K_M. A HallmarkError if that fails."""
    _run([quantizer() or QUANTIZER, str(source), str(target), kind], target, "run it by hand to see the whole output")


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
