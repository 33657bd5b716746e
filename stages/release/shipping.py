"""Ship a finished release: copy and sign it, or merge the adapter into its base weights."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from stages.core.errors import HallmarkError
from stages.core.files import atomic, atomic_folder, sha256_folder
from stages.core.reading import read_json
from stages.release import provenance as prov
from stages.release.checking import check, import_signing, release_files

log = logging.getLogger("certify")
PASSWORD_VARIABLE = "HALLMARK_KEY_PASSWORD"  # noqa: S105 (a name, not a password)


def release(source: Path, target: Path, private_key: Path | None) -> None:
    """Copy a valid release that passed the gate to `target`, a new folder; sign it if a key is given."""
    finding = check(source)
    if finding.wrong:
        raise HallmarkError("; ".join(finding.wrong), file=source, remedy="run `dvc repro certify`")
    if not finding.passed:
        raise HallmarkError(
            "the gate did not pass this adapter, so it is not released",
            file=source / prov.VERDICT,
            remedy="see reports/comparison.html and reports/gate.json for the rules that are not met",
        )
    if target.exists():
        raise HallmarkError("already exists", file=target, remedy="give the name of a new folder")
    with atomic_folder(target) as folder:
        copy(source, folder)
        if private_key is not None:
            sign(folder, private_key)
    log.info("%s: released%s", target, " and signed" if private_key else "")


def copy(source: Path, target: Path) -> None:
    """Copy the files of a release to `target`, except a signature."""
    for file in release_files(source):
        copied = target / file.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied)


def sign(folder: Path, private_key: Path) -> None:
    """Write `model.sig` (OpenSSF model signing, a Sigstore bundle) over all files of a release folder.

    The key is an elliptic-curve PEM file (P-256, P-384 or P-521); if it is encrypted, the password is read from the
    environment variable HALLMARK_KEY_PASSWORD.
    """
    model_signing = import_signing()
    password = os.environ.get(PASSWORD_VARIABLE)
    hashing = model_signing.hashing.Config().set_ignored_paths(paths=[prov.SIGNATURE])
    try:
        signing = model_signing.signing.Config().use_elliptic_key_signer(
            private_key=private_key, password=password.encode() if password else None
        )
    except (OSError, ValueError, TypeError) as error:
        raise HallmarkError(
            f"can't be used to sign ({error})",
            file=private_key,
            remedy="make a key with `openssl ecparam -name prime256v1 -genkey -noout -out key.pem`; "
            f"put its password, if any, in {PASSWORD_VARIABLE}",
        ) from None
    signing.set_hashing_config(hashing).sign(folder, folder / prov.SIGNATURE)


def merge(source: Path, base: Path, target: Path) -> None:
    """Merge the adapter into the base weights and write the whole model to `target`, a new folder of safetensors.

    A `target` that ends in `.gguf` is converted from such a folder with llama.cpp's converter, which must be installed.
    """
    to_gguf = target.suffix == ".gguf"
    converter = shutil.which("convert_hf_to_gguf.py") or shutil.which("convert-hf-to-gguf")
    if to_gguf and converter is None:
        raise HallmarkError(
            "llama.cpp's convert_hf_to_gguf.py is not on the PATH",
            file=target,
            remedy="install llama.cpp and its Python requirements, or merge to a folder",
        )
    if target.exists():
        raise HallmarkError("already exists", file=target, remedy="give a new name")
    wrong = check(source).wrong
    if wrong:
        raise HallmarkError(
            "; ".join(wrong), file=source, remedy="use an unchanged release, or run `dvc repro certify`"
        )
    build = read_json(source / prov.PROVENANCE)["predicate"]["buildDefinition"]
    check_base(source, base, remedy="run `dvc repro base` at the adapter's commit, or name that base with --base")
    dtype = build["externalParameters"]["params"]["sft"]["dtype"]
    with tempfile.TemporaryDirectory(dir=target.parent) if to_gguf else atomic_folder(target) as folder:
        write_merged(source, base, dtype, Path(folder))
        if to_gguf:
            _convert(str(converter), Path(folder), target)
    log.info("%s: written", target)


def base_files(source: Path) -> dict[str, str]:
    """The files of the base that a release was trained on (weights, tokenizer and all), with their SHA-256."""
    build = read_json(source / prov.PROVENANCE)["predicate"]["buildDefinition"]
    return {
        entry["name"].removeprefix("models/base/"): entry["digest"]["sha256"]
        for entry in build["resolvedDependencies"]
        if entry["annotations"]["role"] == "base weights"
    }


def check_base(source: Path, base: Path, remedy: str) -> None:
    """Raise a HallmarkError unless `base` is, file by file, the base the release was trained on."""
    differing = prov.differences(base_files(source), sha256_folder(base))
    if differing:
        raise HallmarkError(
            f"not the base that the adapter was trained on ({', '.join(differing)})", file=base, remedy=remedy
        )


def write_merged(adapter: Path, base: Path, dtype: str, folder: Path) -> None:
    """Write the whole model, weights and tokenizer, with the adapter merged in, to `folder`."""
    from stages.models.loading import load_tokenizer, load_tuned

    model = load_tuned(base, adapter, dtype=dtype, attention="eager", device="cpu", merge=True)
    model.save_pretrained(folder)
    load_tokenizer(adapter).save_pretrained(folder)


def _convert(converter: str, folder: Path, target: Path) -> None:
    with atomic(target) as temporary:
        command = [converter, str(folder), "--outfile", str(temporary)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise HallmarkError(
                f"llama.cpp's converter failed: {(result.stderr.strip() or 'no message').splitlines()[-1]}",
                file=converter,
                remedy="merge to a folder, and convert it by hand to see the whole output",
            )
