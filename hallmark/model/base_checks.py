"""Whether the weights, config and tokenizer of a base model are whole and fit each other; and where its generation stops."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import write_json
from hallmark.base.model_folder import (
    check_finite,
    explained,
    open_tensors,
    tensor_names,
    weight_files,
)
from hallmark.base.reading import read_object


def check_objects(folder: Path) -> None:
    """A HallmarkError unless every JSON file holds an object."""
    for file in sorted(folder.glob("*.json")):
        read_object(file, "get the folder again, complete and unchanged")


def check_generation(folder: Path) -> None:
    """A HallmarkError if transformers can't read how the model is to generate."""
    from transformers import GenerationConfig

    if (folder / "generation_config.json").exists():
        with explained("transformers refuses it", folder / "generation_config.json"):
            GenerationConfig.from_pretrained(folder, local_files_only=True)


def check_tokenizer(tokenizer: Any, folder: Path, model: Any) -> None:
    """A HallmarkError unless the tokenizer makes the same tokens of a text each time, the text of the tokens, and none that the
    model has no embedding for.
    """
    text = 'The order 42 for a "kettle" cost 9.90 EUR, and more ' + "words " * 40
    ids = tokenizer(text, add_special_tokens=False).input_ids
    if any(tokenizer(text, add_special_tokens=False).input_ids != ids for _ in range(3)):
        problem = "makes other tokens of the same text each time"
    elif tokenizer.decode(ids).casefold().split() != text.casefold().split():
        problem = "does not make a text again of its tokens: words are lost, changed, joined or broken"
    elif (tokens := max(tokenizer.get_vocab().values(), default=0) + 1) > (
        rows := model.get_input_embeddings().num_embeddings
    ):
        problem = f"{tokens} tokens, but the model has embeddings for {rows}"
    else:
        return
    raise HallmarkError(problem, file=folder / "tokenizer.json", remedy="use the tokenizer of this model")


def check_runs(model: Any, folder: Path) -> None:
    """A HallmarkError if the model can't read two tokens."""
    with explained("describes a model that can't be run", folder / "config.json"):
        _run(model)


def _run(model: Any) -> None:
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


log = logging.getLogger("base")


def stop_at(end: int, tokenizer: Any, folder: Path) -> None:
    """Write the token `end` into the folder as one that generation stops at, unless it is one already."""
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
