"""Ship a finished release: copy and sign it, or merge the adapter into what it was trained over, with the card of the release."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import atomic_folder, sha256_file, sha256_folder, write_text
from hallmark.base.reading import read_text
from hallmark.model.adapter import base_precision
from hallmark.model.gguf import DEFAULT, KINDS, check_programs, write_gguf
from hallmark.model.loading import write_merged
from hallmark.release.checking import LOCK, check, check_release, differing, read_lock_file, refuse, release_files
from hallmark.release.signing import check_private_key, import_signing, sign
from hallmark.release.statements import read_provenance
from hallmark.release.usage import gguf_usage, merged_usage

USE = re.compile(r"(?<=^## Use\n\n).*?(?=^## )", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r"^# .*\n", re.MULTILINE)
COPIED = (prov.LICENCE, prov.VERDICT)


def describe_export(release: Path, folder: Path, *, dtype: str, gguf: str | None = None) -> None:
    """Write card and licence of `release` to `folder`, and its verdict as it is; `gguf` names the GGUF file in it."""
    provenance = sha256_file(release / prov.PROVENANCE)
    write_text(folder / prov.CARD, exported_card(card_of(release), provenance, dtype=dtype, gguf=gguf))
    for name in COPIED:
        if (release / name) in release_files(release):  # older releases have no licence
            (folder / name).write_bytes((release / name).read_bytes())


def card_of(release: Path) -> str:
    """The card of a release that was checked."""
    return read_text(release / prov.CARD, "use an unchanged release")


def exported_card(card: str, provenance: str, *, dtype: str, gguf: str | None = None) -> str:
    """The card of a release, changed into that of the whole model; `provenance` is the SHA-256 of its provenance.json."""
    from huggingface_hub import ModelCard

    parsed = ModelCard(card)
    data: Any = parsed.data
    text = parsed.text
    data.library_name = "gguf" if gguf else "transformers"
    data.tags = [tag for tag in data.tags or [] if tag != "lora"]
    if data.base_model:
        data.base_model_relation = "quantized" if gguf else "finetune"
    what = f"`{gguf}`, the GGUF file of the whole model" if gguf else "the whole model, in safetensors"
    note = (
        f"**This is {what}: the adapter of a release, merged into its base.** The release's `provenance.json` has the SHA-256 "
        f"`{provenance}`; its `verdict.json` is here. What is said of the adapter below was measured before it was exported"
        + (", and a GGUF file can give other answers: see What ships.\n" if gguf else ".\n")
    )
    text = TITLE.sub(lambda title: f"{title[0]}\n{note}", text, count=1)
    section = USE.search(text)
    if section:
        use = gguf_usage(section[0], gguf) if gguf else merged_usage(section[0], dtype)
        text = f"{text[: section.start()]}{use.strip()}\n\n{text[section.end() :]}"
    head = data.to_yaml(line_break="\n")
    return f"---\n{head}\n---\n\n{text.lstrip()}"


def gguf_metadata(name: str, card: str) -> dict[str, str]:
    """What a GGUF file says of itself, since it is often passed on alone: its name, and the first lines of the card.

    These have the verdict. The keys are those of llama.cpp's converter.
    """
    from huggingface_hub import ModelCard

    first = TITLE.split(ModelCard(card).text, maxsplit=1)[0]
    return {"general.name": name, "general.description": " ".join(first.replace("**", "").split())}


log = logging.getLogger("certify")
FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")  # what no name of a GGUF file has


def release(source: Path, target: Path, private_key: Path | None) -> None:
    """Copy the release that `dvc.lock` names to `target`, a new folder; sign it if a key is given.

    It must have passed the gate, by the report that `dvc.lock` names too: a folder whose parts fit each other may still
    have been made by anyone.
    """
    if private_key is not None:  # a key that can't be used is told before anything is copied
        import_signing()
        check_private_key(private_key)
    finding = check(source)
    refuse(source, finding.wrong, "run `dvc repro certify`")
    refuse(source, differing(finding, read_lock_file(LOCK)), "run `dvc repro certify`, in the repository that made it")
    if not finding.passed:
        raise HallmarkError(
            "the gate did not pass this adapter, so it is not released",
            file=source / prov.VERDICT,
            remedy="see reports/comparison.html and reports/gate.json for the rules that are not met",
        )
    check_target(source, target)
    with atomic_folder(target) as folder:
        copy(source, folder)
        if check(folder).release != finding.release:
            raise HallmarkError("was changed while it was copied", file=source, remedy="run it again")
        if private_key is not None:
            sign(folder, private_key)
    log.info("%s: released%s", target, " and signed" if private_key else "")


def check_target(source: Path, target: Path) -> None:
    """Raise a HallmarkError unless `target` is a new name in an existing folder, outside the release."""
    if os.path.lexists(target):
        raise HallmarkError("already exists", file=target, remedy="give a new name")
    if not os.path.isdir(target.parent):  # noqa: PTH112 (Path.is_dir raises OSError if a name is too long)
        raise HallmarkError("no such folder", file=target.parent, remedy="make it, or name another")
    if target.resolve().is_relative_to(source.resolve()):
        raise HallmarkError("inside the release, which it would change", file=target, remedy="name another place")


def copy(source: Path, target: Path) -> None:
    """Copy the files of a release to `target`, except a signature."""
    for file in release_files(source):
        copied = target / file.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied, follow_symlinks=False)


def merge(source: Path, base: Path, target: Path, ungated: bool = False, gguf: str | None = None) -> None:
    """Merge the adapter into the base weights and write the whole model to `target`, a new folder of safetensors.

    `base` is the folder that it was trained over, or that of its base, which is then rounded again. Card, licence and verdict
    of the release go with it. `gguf`: the folder has one GGUF file instead, with weights of that type, made with llama.cpp's
    converter, which must be installed. `ungated` also merges an adapter that the gate did not pass.
    """
    if target.suffix == ".gguf":
        raise HallmarkError("a folder is written, not a file", file=target, remedy="name a new folder, and add --gguf")
    if gguf:
        check_programs(gguf, target)
    check_target(source, target)
    passed = check_release(source, ungated).passed
    params = read_provenance(source).build.params
    name = FILE_NAME.sub("-", params.certify.name).strip("-") or "model"
    file = f"{name}.gguf" if gguf in (None, DEFAULT) else f"{name}.{KINDS[gguf]}.gguf"
    with trained_over(source, base) as weights, atomic_folder(target) as folder:
        if gguf:
            with tempfile.TemporaryDirectory(dir=target.parent) as whole:
                write_merged(source, weights, params.sft.dtype, Path(whole))
                about = gguf_metadata(params.certify.name, card_of(source))
                write_gguf(Path(whole), folder / file, gguf, about)
        else:
            write_merged(source, weights, params.sft.dtype, folder)
        describe_export(source, folder, dtype=params.sft.dtype, gguf=file if gguf else None)
    log.info("%s: written%s", target, "" if passed else "; its gate did not pass it: do not release it")


def check_weights(source: Path, weights: Path, remedy: str) -> None:
    """Raise a HallmarkError unless `weights` is, file by file, the folder that the release was trained over."""
    named = read_provenance(source).quantized_files
    if not named:
        raise HallmarkError(
            "made before the weights that it was trained over were kept",
            file=source / prov.PROVENANCE,
            remedy="make it again with `dvc repro`, or merge it: `python -m hallmark.commands.merge OUT --base models/base`",
        )
    if other := prov.differences(named, sha256_folder(weights)):
        raise HallmarkError(
            f"not the weights that the adapter was trained over ({', '.join(other)})", file=weights, remedy=remedy
        )


@contextmanager
def trained_over(source: Path, folder: Path) -> Iterator[Path]:
    """A folder with the weights that a release was trained over: `folder`, or what `quantize` makes of it if it is the base.

    A HallmarkError if it is neither, by its SHA-256, or if the rounding gives other weights here.
    """
    provenance, found = read_provenance(source), sha256_folder(folder)
    if provenance.quantized_files and found == provenance.quantized_files:
        yield folder
        return
    if other := prov.differences(provenance.base_files, found):
        raise HallmarkError(
            f"neither what the adapter was trained over nor its base ({', '.join(other)})",
            file=folder,
            remedy="run `dvc repro quantize` at the adapter's commit, or name one of them with --base",
        )
    from hallmark.model.quantized import write_quantized

    with tempfile.TemporaryDirectory() as name:
        weights = Path(name)
        write_quantized(folder, weights, nf4=base_precision(source) == "nf4", dtype=provenance.build.params.sft.dtype)
        made = sha256_folder(weights)
        if provenance.quantized_files and made != provenance.quantized_files:
            raise HallmarkError(
                "rounded here, it is not what the adapter was trained over: other kinds of processor round the last bits differently",
                file=folder,
                remedy="name a copy of its models/quantized with --base, or merge on x86-64, where it was trained",
            )
        yield weights
