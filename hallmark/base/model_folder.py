"""The one door to a model or adapter folder: plain files only, safetensors that fit their index, JSON that is JSON.

Libraries that load models follow links and index files out of the folder, fall back to pickles, and fill missing
tensors with random values. So every loader here calls these checks before it hands a folder to a library.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import check_regular, read_object, time_limit

PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".joblib", ".npy", ".npz")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
LICENCES = tuple(
    f"{name}{ending}" for name in ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY") for ending in ("", ".txt", ".md")
)
LFS = b"version https://git-lfs"
LARGEST = 2**40  # no size, count or token id in a config.json comes near it
COUNT_OF_LAYERS = re.compile(r"(num|n)_(\w+_)?(layers?|blocks?)")
WIDTH, WIDEST = re.compile(r"\w*(dim|size|heads|rank)"), 2**24
LABELS = 2**16
LOAD_SECONDS = 300  # for a library to build an empty model: real ones take a few
WHOLE = "get the folder again, complete and unchanged (`hf download NAME --revision COMMIT --local-dir FOLDER`)"
REMOVE_PICKLES = "delete it: pickles can run code when they are read, so a folder with one is never loaded"


def check_files(folder: Path) -> None:
    """A HallmarkError unless all that a library could read in the folder is plain files, none of them a pickle.

    Hidden folders (`.git`, `.cache`) are left alone: no library looks there.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 (Path.is_dir raises OSError if a name is too long)
        raise HallmarkError("no such folder", file=folder, remedy=WHOLE)
    for place, folders, files in os.walk(folder):  # sorted below
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted([*folders, *files]):
            path = Path(place) / name
            if path.is_symlink():
                raise HallmarkError(
                    "a link", file=path, remedy="copy the folder with `cp -rL`, which makes plain files"
                )
            if name in folders:
                continue
            if path.suffix.lower() in PICKLED:
                raise HallmarkError("a pickle, or another format that can hold code", file=path, remedy=REMOVE_PICKLES)
            check_regular(path, WHOLE)


def weight_files(folder: Path) -> list[Path]:
    """The weights of a model: one file, or those its index names; each is whole, and holds the tensors it should."""
    if (folder / WEIGHTS).is_file():
        tensor_names(folder / WEIGHTS)
        return [folder / WEIGHTS]
    if not os.path.lexists(folder / INDEX):
        some = next(iter(sorted(folder.glob("*.safetensors"))), None)
        problem = f"neither {WEIGHTS} nor {INDEX}" if some else "no *.safetensors in the model folder"
        raise HallmarkError(
            problem,
            file=folder,
            remedy="convert the weights to safetensors; pickled weights (*.bin, *.pt) are never loaded",
        )
    files: dict[str, set[str]] = {}
    weight_map = read_object(folder / INDEX, WHOLE).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise HallmarkError("not an object of tensors", file=folder / INDEX, field="weight_map", remedy=WHOLE)
    for tensor, name in weight_map.items():
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*\.safetensors", name, re.ASCII):
            raise HallmarkError(
                f"{tensor[:100]!r} is not in a *.safetensors file of the folder",
                file=folder / INDEX,
                field="weight_map",
                remedy="an index may only name files next to it, without a folder; " + WHOLE,
            )
        files.setdefault(name, set()).add(tensor)
    for name, listed in sorted(files.items()):
        held = tensor_names(folder / name)
        if lacking := sorted(listed - held):
            raise HallmarkError(f"lacks {count_of(lacking)} that {INDEX} lists", file=folder / name, remedy=WHOLE)
        if extra := sorted(held - listed):
            raise HallmarkError(f"has {count_of(extra)} that {INDEX} does not list", file=folder / name, remedy=WHOLE)
    return [folder / name for name in sorted(files)]


def tensor_names(file: Path) -> set[str]:
    """The names of the tensors in a safetensors file, whose header the library checks; a HallmarkError if it isn't one."""
    with open_tensors(file) as tensors:
        return set(tensors.keys())


def tensor_sizes(file: Path) -> dict[str, int]:
    with open_tensors(file) as tensors:
        return {name: math.prod(tensors.get_slice(name).get_shape()) for name in sorted(tensors.keys())}


@contextmanager
def open_tensors(file: Path) -> Iterator[Any]:
    """safetensors' own handle of the file. Its reader checks the header against the file's size, shapes and types."""
    from safetensors import SafetensorError, safe_open

    if file.is_symlink():
        raise HallmarkError("a link", file=file, remedy="copy the folder with `cp -rL`, which makes plain files")
    check_regular(file, WHOLE)
    with file.open("rb") as stream:
        if stream.read(len(LFS)) == LFS:
            remedy = "fetch the file itself: `git lfs pull` in the clone that the folder came from"
            raise HallmarkError("a Git LFS pointer, not the weights", file=file, remedy=remedy)
    try:
        handle = safe_open(file, framework="pt")
    except (SafetensorError, MemoryError, OSError) as error:  # larger than what can be mapped: far over any disk
        raise HallmarkError(f"not a whole safetensors file ({_line(error)})", file=file, remedy=WHOLE) from None
    with handle as tensors:
        if not tensors.keys():
            raise HallmarkError("has no tensors", file=file, remedy=WHOLE)
        yield tensors


def check_finite(files: Sequence[Path], remedy: str = WHOLE, floats: set[str] | None = None) -> None:
    """A HallmarkError if a tensor in the files has a value that is not a number, or is infinite.

    Those named in `floats` must hold floats, or all of them: the quantized values of a layer are not its weights.
    """
    import torch

    for file in files:
        with open_tensors(file) as tensors:
            for name in sorted(tensors.keys()):
                values = tensors.get_tensor(name)
                if not values.is_floating_point():
                    if floats is None or name in floats:  # a library would convert it, whatever it meant
                        problem = f"tensor {name[:200]!r} holds {str(values.dtype).removeprefix('torch.')}, not floats"
                        raise HallmarkError(problem, file=file, remedy=remedy)
                    continue
                # As bfloat16, in which models are run: a number beyond its range becomes infinite there.
                if not torch.isfinite(values.to(torch.bfloat16)).all():
                    problem = f"tensor {name[:200]!r} has values that are infinite or not numbers, at least as bfloat16"
                    raise HallmarkError(problem, file=file, remedy=remedy)


def check_config(folder: Path, files: Sequence[Path]) -> dict[str, Any]:
    """The object in `config.json`, if it names nothing outside the folder and no size that the weights can't have."""
    file = folder / "config.json"
    config = read_object(file, WHOLE)
    if not isinstance(config.get("model_type"), str):
        raise HallmarkError("not the name of an architecture", file=file, field="model_type", remedy=WHOLE)
    for key, problem in (
        ("quantization_config", "the weights are quantized"),
        ("transformers_weights", "it names a file of weights"),
    ):
        if config.get(key) is not None:
            remedy = "use the original weights, in model.safetensors, and a config.json without this field"
            raise HallmarkError(problem, file=file, field=key, remedy=remedy)
    if os.path.lexists(folder / "adapter_config.json"):  # transformers would load that adapter, and its base
        problem, remedy = "an adapter's, in a folder with a whole model", "give the folder of the model alone"
        raise HallmarkError(problem, file=folder / "adapter_config.json", remedy=remedy)
    tensors = sum(len(tensor_names(each)) for each in files)
    for key, value in _integers(config):
        # Lists as long as the number of layers or labels, and tables as wide as a head, are made before the weights are
        # looked at.
        limit = tensors if COUNT_OF_LAYERS.fullmatch(key) else WIDEST if WIDTH.fullmatch(key) else LARGEST
        limit = min(limit, LABELS) if key == "num_labels" else limit
        if abs(value) > limit:
            raise HallmarkError("a number that no such model has", file=file, field=key, remedy=WHOLE)
    return config


def _integers(value: Any, key: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        for inner, item in value.items():
            yield from _integers(item, inner)
    elif isinstance(value, list):
        for item in value:
            yield from _integers(item, key)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield key, value


def check_fit(folder: Path, auto: str = "AutoModelForCausalLM") -> Any:
    """A model without memory for its weights, built by one of transformers' auto classes as `config.json` says.

    A HallmarkError if it can't be built, or if the folder's tensors are not exactly the model's, in name and shape
    (tied weights aside, and those that the architecture itself ignores): transformers fills gaps with random values.
    """
    import transformers

    check_files(folder)
    check_config(folder, weight_files(folder))
    with explained(f"no {auto.removeprefix('AutoModelFor')} model can be built from it", folder / "config.json"):
        transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with explained("does not describe a model that transformers can build", folder / "config.json"):
        model, info = getattr(transformers, auto).from_pretrained(
            folder,
            device_map={"": "meta"},
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # to name them
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    check_loaded(info, folder)
    return model


def check_loaded(info: dict[str, Any], folder: Path) -> None:
    """A HallmarkError if transformers' loading info names tensors that are missing, unexpected or of another shape."""
    for key, problem in (
        ("missing_keys", "the weights lack {}, which would be random"),
        ("unexpected_keys", "the weights have {} that the model in config.json has not"),
        ("mismatched_keys", "the shapes of {} are not those in config.json"),
        ("error_msgs", "the weights can't be loaded: {}"),
    ):
        names = sorted(name if isinstance(name, str) else str(name[0]) for name in info.get(key) or ())
        if names:
            raise HallmarkError(problem.format(count_of(names)), file=folder, remedy=WHOLE)


def count_of(names: Sequence[str]) -> str:
    """How many tensors, and the first five names."""
    shown = ", ".join(name[:200] for name in names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({shown})"


@contextmanager
def explained(
    problem: str, file: Path | None = None, *, param: str | None = None, remedy: str = WHOLE
) -> Iterator[None]:
    """Whatever a library raises about a folder's content is one HallmarkError about `file` or `param`.

    Libraries raise nearly every exception there is on a broken file; those written in Rust raise a BaseException.
    """
    try:
        with time_limit(LOAD_SECONDS, HallmarkError("takes too long to load", file=file, param=param, remedy=remedy)):
            yield
    except (HallmarkError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        reason = f"{problem} ({type(error).__name__}: {_line(error)})"
        if file is not None:
            folder = file if file.is_dir() else file.parent
            reason = reason.replace(f"{folder}/", "").replace(str(folder.absolute()), ".").replace(str(folder), ".")
        raise HallmarkError(reason, file=file, param=param, remedy=remedy) from None


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].removeprefix("Error while deserializing header: ").rstrip(".:")[:200] if lines else "no message"


@contextmanager
def shown_as(folder: Path, name: str | Path) -> Iterator[None]:
    """In an error about a file in `folder`, name the folder that the user gave instead of the temporary one."""
    try:
        yield
    except HallmarkError as error:
        if error.file is None or not Path(error.file).is_relative_to(folder):
            raise
        file = Path(name) / Path(error.file).relative_to(folder)
        raise HallmarkError(error.problem, file=file, row=error.row, field=error.field, remedy=error.remedy) from None
