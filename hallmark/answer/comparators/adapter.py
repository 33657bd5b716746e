"""Another adapter than the one that is made here: an older release, or one that was tuned on another base."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from hallmark.answer.answers import Answerer
from hallmark.answer.comparator import Comparator, ComparatorSettings, Means
from hallmark.base.errors import HallmarkError
from hallmark.base.files import QUANTIZED, json_bytes, sha256_file
from hallmark.base.model_folder import check_files, weight_files
from hallmark.base.params import Line, Sha256
from hallmark.base.reading import check_regular, read_object
from hallmark.model.adapter import CONFIG, TENSORS, TRAINING, check_trained_over

VERSIONS = Path("models/versions")  # where `nox -s promote` and `nox -s fetch` put registered releases; not in git
WHOLE = "give the folder of a release or of an adapter that this pipeline made, complete and unchanged"
OTHER_BASE = (
    "set the comparator's base to the folder of the weights it was trained over: models/quantized of its project"
)


class AdapterSettings(ComparatorSettings):
    kind: Literal["adapter"] = Field(description="another adapter over the base, or over weights of its own")
    folder: Line = Field(description="the folder of the adapter, such as a release that was copied out")
    sha256: Sha256 = Field(description="SHA-256 of its adapter_model.safetensors, by which a change of it is seen")
    config_sha256: Sha256 = Field(description="SHA-256 of its adapter_config.json")
    base: Line | None = Field(
        description="the folder of the weights it was trained over, with tokenizer; null: models/quantized of this project"
    )
    base_sha256: Sha256 | None = Field(
        description="digest of the adapter's training.json, which names the weights, and of what base holds besides: "
        "tokenizer, chat template, configs; an error states it; "
        "null: base is null"
    )

    @model_validator(mode="after")
    def _digest_of_a_base(self) -> AdapterSettings:
        if self.base is None and self.base_sha256 is not None:
            raise ValueError("base_sha256 is for another base; name that in base, or set base_sha256 to null")
        return self


class Adapter(Comparator[AdapterSettings]):
    """It is asked what the tuned model is asked, and answers as that does, with the chat template of its own base."""

    settings = AdapterSettings

    def words(self, settings: AdapterSettings) -> str:
        """Where it is."""
        return f"the adapter in {settings.folder}"

    def weights(self, settings: AdapterSettings) -> Path:
        weights = QUANTIZED if settings.base is None else Path(settings.base)
        check_there(Path(settings.folder), weights)
        return weights

    def answerer(self, settings: AdapterSettings, base: Callable[[], Answerer], means: Means) -> Answerer:
        """The adapter on its weights, in this process whatever `eval.engine` says."""
        from hallmark.answer.generation import LocalModel
        from hallmark.base.compute import check_dtype
        from hallmark.model.loading import load_tokenizer, load_tuned
        from hallmark.model.packing import pack

        folder, weights, evaluation = Path(settings.folder), self.weights(settings), means.evaluation
        check_pinned(folder, {TENSORS: settings.sha256, CONFIG: settings.config_sha256})
        if settings.base is not None and read_object(folder / TRAINING, WHOLE).get("weights") is None:
            problem = f"does not say over which weights it was trained, so those in {settings.base} may be others"
            raise HallmarkError(problem, file=folder / TRAINING, field="weights", remedy=WHOLE)
        check_trained_over(folder, weights, OTHER_BASE)
        if settings.base is not None:
            check_base(weights, folder / TRAINING, settings.base_sha256, f"eval.comparators.{means.name}.base_sha256")
        check_dtype(means.compute, evaluation.dtype, "eval.dtype")
        options: dict[str, Any] = {"dtype": evaluation.dtype, "attention": evaluation.attention}
        loaded = load_tuned(weights, folder, **options, device=means.compute.device, merge=evaluation.merge)
        pack(loaded)
        return LocalModel(
            loaded,
            load_tokenizer(weights),
            batch_size=means.batch_size,
            max_new_tokens=evaluation.max_new_tokens,
        )


def check_there(folder: Path, weights: Path) -> None:
    """A HallmarkError that names the command if a registered release or its weights are not here, as in a fresh clone."""
    absent = [place for place in (folder, weights) if not place.is_dir()]
    if absent and folder.is_relative_to(VERSIONS) and folder != VERSIONS:
        version = folder.relative_to(VERSIONS).parts[0]
        raise HallmarkError(
            "not here: git does not keep it, and no stage makes it",
            file=absent[0],
            remedy=f"run `nox -s fetch -- . {version}`, which takes it from DVC's cache or a remote",
        )


def check_pinned(folder: Path, hashes: dict[str, str]) -> None:
    """A HallmarkError unless the folder holds plain files, and those named have these hashes."""
    check_files(folder)
    for name, pinned in hashes.items():
        check_regular(folder / name, WHOLE)
        if (found := sha256_file(folder / name)) != pinned:
            raise HallmarkError(
                f"not the file that eval.comparators pins: its SHA-256 is {found}",
                file=folder / name,
                remedy="restore the file, or, if it is the one you want, pin that",
            )


def check_base(folder: Path, training: Path, pinned: str | None, param: str) -> None:
    """A HallmarkError unless what the folder holds besides weights, and the adapter's own record, have this digest.

    That record has the hash of the weights, but not of tokenizer and chat template, which change every answer.
    """
    if (found := digest_of_base(folder, training)) != pinned:
        raise HallmarkError(
            f"tokenizer, chat template or configs in {folder.as_posix()}, or {training.as_posix()}, which names the "
            f"weights, are not what it pins: their digest is {found}",
            param=param,
            remedy="restore the files, or, if they are those you want, set this param to that digest",
        )


def digest_of_base(folder: Path, training: Path) -> str:
    """One SHA-256 for an adapter's record and all files in the folder of its base, but for weights and hidden files."""
    check_files(folder)
    weights, hashes = set(weight_files(folder)), {f"adapter/{TRAINING}": sha256_file(training)}
    for file in sorted(folder.rglob("*")):
        place = file.relative_to(folder)
        if file.is_file() and file not in weights and not any(part.startswith(".") for part in place.parts):
            hashes[place.as_posix()] = sha256_file(file)
    return hashlib.sha256(json_bytes(hashes)).hexdigest()


COMPARATOR = Adapter()
