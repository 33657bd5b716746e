"""What an adapter folder may hold: a LoRA adapter as `sft` and `dpo` write it, and nothing that makes PEFT do more."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hallmark.base.errors import HallmarkError
from hallmark.base.files import sha256_file
from hallmark.base.model_folder import check_files, check_finite, count_of, explained, open_tensors, weight_files
from hallmark.base.params import NotNegative, Text
from hallmark.base.reading import read_object
from hallmark.model.base_params import Rank

TRAINING = "training.json"  # in the adapter folder: the weights it was trained over, and their precision
CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
REMEDY = "use an adapter that `dvc repro` made, complete and unchanged"
UNFIT = "run `dvc repro`, which makes both fit, or at the adapter's commit `dvc repro quantize`"
PRECISIONS = ("nf4", "bfloat16", "float32")


class Written(BaseModel):
    """The fields of PEFT's LoraConfig that differ between adapters; every other must have PEFT's own default.

    PEFT has fields that load files and datasets, replace classes, copy layers, or train tensors that are not LoRA's.
    """

    model_config = ConfigDict(extra="allow", strict=True)

    peft_type: Literal["LORA"]
    task_type: Literal["CAUSAL_LM"] | None = None
    r: Rank
    lora_alpha: Annotated[int | float, Field(gt=0, le=1e6)]
    lora_dropout: Annotated[int | float, Field(ge=0, lt=1)] = 0.0
    target_modules: Text | Annotated[list[Text], Field(min_length=1)]
    layers_to_transform: list[NotNegative] | None = None
    inference_mode: bool = True
    init_lora_weights: bool = True  # any other value may read files or data
    base_model_name_or_path: Text | None = None
    revision: Text | None = None
    peft_version: Text | None = None


def base_precision(folder: Path) -> str:
    """How the base was held while the adapter was trained."""
    precision = read_object(folder / TRAINING, REMEDY).get("base_precision")
    if precision not in PRECISIONS:
        problem = f"not one of {', '.join(PRECISIONS)}"
        raise HallmarkError(problem, file=folder / TRAINING, field="base_precision", remedy=REMEDY)
    return str(precision)


def weights_in(folder: Path) -> dict[str, str]:
    """SHA-256 of the weights of a model, by file name."""
    return {file.name: sha256_file(file) for file in weight_files(folder)}


def check_trained_over(adapter: Path, weights: Path, remedy: str = UNFIT) -> None:
    """A HallmarkError if the adapter says that it was trained over other weights; older ones don't say."""
    stated = read_object(adapter / TRAINING, REMEDY).get("weights")
    if stated is not None and stated != weights_in(weights):
        raise HallmarkError(
            f"trained over other weights than those in {weights.as_posix()}",
            file=adapter / TRAINING,
            field="weights",
            remedy=remedy,
        )


def load_adapter(model: Any, folder: Path, *, trainable: bool = False) -> Any:
    """The model with the adapter on it: all of it, on the modules that it names, and nothing else.

    PEFT only warns of tensors that are missing, ignores those it doesn't know and targets that don't exist, and reads a
    pickle if there is no safetensors file.
    """
    from peft import PeftModel, get_peft_model_state_dict

    config = check_adapter(folder)
    with (
        warnings.catch_warnings(),
        explained("doesn't fit the base model", folder / TENSORS, remedy="use it with the base it was trained on"),
    ):
        # PEFT 0.21 asks for an attribute that transformers 5.24 has renamed.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        tuned: Any = PeftModel.from_pretrained(model, folder, is_trainable=trainable, local_files_only=True)
        expected = set(get_peft_model_state_dict(tuned, save_embedding_layers=False))
    with open_tensors(folder / TENSORS) as tensors:
        held = set(tensors.keys())
    for names, problem in ((expected - held, "lacks {}"), (held - expected, "has {} that the base has no place for")):
        if names:
            problem = problem.format(count_of(sorted(names)))
            raise HallmarkError(problem, file=folder / TENSORS, remedy="use it with the base it was trained on")
    targets = config.target_modules if isinstance(config.target_modules, list) else []
    changed = tuned.base_model.targeted_module_names
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in changed):
            problem = "names a module that the base model does not have"
            raise HallmarkError(problem, file=folder / CONFIG, field="target_modules", remedy=REMEDY)
    if any(layer >= model.config.num_hidden_layers for layer in config.layers_to_transform or ()):
        problem = "names a layer that the base model does not have"
        raise HallmarkError(problem, file=folder / CONFIG, field="layers_to_transform", remedy=REMEDY)
    return tuned


def check_adapter(folder: Path) -> Written:
    """The adapter's config, once folder, config and tensors are checked to be those of a plain LoRA adapter."""
    check_files(folder)
    config = check_config(folder / CONFIG)
    with open_tensors(folder / TENSORS) as tensors:
        for name in sorted(tensors.keys()):
            shape = tensors.get_slice(name).get_shape()
            ranks = {"lora_A": shape[:1], "lora_B": shape[1:]}.get(name.removesuffix(".weight").rpartition(".")[2])
            if ranks is None or len(shape) != 2:
                problem = f"{name[:200]!r} is not a tensor of a LoRA adapter"
                raise HallmarkError(problem, file=folder / TENSORS, remedy=REMEDY)
            if ranks != [config.r]:
                problem = f"{name[:200]!r} has rank {ranks[0]}, but {CONFIG} says {config.r}"
                raise HallmarkError(problem, file=folder / TENSORS, remedy=REMEDY)
    check_finite([folder / TENSORS], REMEDY)
    return config


def check_config(file: Path) -> Written:
    """The fields of `adapter_config.json`, if it has none that `sft` and `dpo` would not write."""
    from peft import LoraConfig

    values = read_object(file, REMEDY)
    try:
        config = Written(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"][:1])
        raise HallmarkError(first["msg"], file=file, field=field, remedy=REMEDY) from None
    default = LoraConfig().to_dict()
    for key, value in sorted((config.model_extra or {}).items()):
        if key not in default or value != default[key] or type(value) is not type(default[key]):
            raise HallmarkError("not a value that this pipeline writes", file=file, field=key, remedy=REMEDY)
    return config
