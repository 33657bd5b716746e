"""Sign a release folder, and check its signature (OpenSSF model signing, in the form of a Sigstore bundle)."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.reading import check_regular, strict_json
from hallmark.release.listing import list_folder, read_plain

PASSWORD_VARIABLE = "HALLMARK_KEY_PASSWORD"  # noqa: S105 (a name, not a password)
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
KEY_BYTES, SIGNATURE_BYTES = 64 * 2**10, 4 * 2**20
MAKE = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
PUBLIC_HALF = "openssl ec -in key.pem -pubout -out public.pem"


def import_signing() -> Any:
    """The package `model_signing`, or an error that says how to install it."""
    try:
        import model_signing.signing
        import model_signing.verifying
    except ImportError:
        raise HallmarkError(
            "the package model-signing is not installed",
            file=prov.SIGNATURE,
            remedy="python -m pip install model-signing pyopenssl",
        ) from None
    return model_signing


def check_private_key(path: Path) -> str | None:
    """The password of a private key that can sign, None if it has none; a HallmarkError if it can't be used."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    remedy = f"make a key with `{MAKE}`; {PASSWORD_VARIABLE} in the environment holds the password of an encrypted one"
    content = _read(path, remedy)
    password = os.environ.get(PASSWORD_VARIABLE) if b"ENCRYPTED" in content else None
    _check_curve(lambda: load_pem_private_key(content, password.encode() if password else None), path, remedy)
    return password


def check_public_key(path: Path) -> None:
    """Raise a HallmarkError unless a signature can be checked with this file."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    remedy = (
        f"take the signer's public key, which `{PUBLIC_HALF}` writes, and `openssl x509 -in certificate.pem -pubkey -noout` "
        "of a certificate"
    )
    content = _read(path, remedy)
    _check_curve(lambda: load_pem_public_key(content), path, remedy)


def _check_curve(load: Callable[[], Any], path: Path, remedy: str) -> None:
    try:
        curve = load().curve.name
    except Exception:  # the library raises many types: damaged, a wrong password, an algorithm without curves
        curve = None
    if curve not in CURVES:
        problem = (
            f"can't be read as such a key of an elliptic curve that model signing takes ({', '.join(CURVES.values())})"
        )
        raise HallmarkError(problem, file=path, remedy=remedy)


def sign(folder: Path, private_key: Path) -> None:
    """Write `model.sig` over all files of a release folder.

    The key is an elliptic-curve PEM file (P-256, P-384 or P-521); if it is encrypted, the password is read from the
    environment variable HALLMARK_KEY_PASSWORD.
    """
    model_signing = import_signing()
    password = check_private_key(private_key)
    hashing = model_signing.hashing.Config().set_ignored_paths(paths=[prov.SIGNATURE])
    signing = model_signing.signing.Config().use_elliptic_key_signer(
        private_key=private_key, password=password.encode() if password else None
    )
    signing.set_hashing_config(hashing).sign(folder, folder / prov.SIGNATURE)


def problem_of_signature(folder: Path, public_key: Path) -> str | None:
    """Why the signature of a folder of plain files does not hold for a key that `check_public_key` took; None if it does."""
    content = read_plain(folder / prov.SIGNATURE, SIGNATURE_BYTES)
    if content is None:
        return f"larger than {SIGNATURE_BYTES // 2**20} MiB"
    model_signing = import_signing()
    try:
        verifying = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public_key)
        verifying.verify(folder, folder / prov.SIGNATURE)
    except Exception as error:  # the library raises many types, and each means: not verified
        return str(error) or type(error).__name__
    return _left_out(content, {*list_folder(folder).files} - {prov.SIGNATURE})


def _left_out(signature: bytes, files: set[str]) -> str | None:
    """Why a signature that holds does not hold for all of these files: its signer may have left some out."""
    try:
        payload = base64.b64decode(strict_json(signature.decode())["dsseEnvelope"]["payload"])
        predicate = strict_json(payload.decode())["predicate"]
        method = predicate["serialization"]["method"]
        signed = {entry["name"] for entry in predicate["resources"]}
    except (ValueError, KeyError, TypeError):
        return "it has not the form of a signature of model signing"
    if method != "files":
        return "it was not made file by file, so sign again with `python -m hallmark.commands.export OUT --sign KEY`"
    if left_out := sorted(files - signed):
        return f"it leaves out {', '.join(left_out[:5])}" + (", ..." if len(left_out) > 5 else "")
    return None


def _read(path: Path, remedy: str) -> bytes:
    check_regular(path, remedy)
    if path.stat().st_size > KEY_BYTES:
        raise HallmarkError("too large for a key", file=path, remedy=remedy)
    content = path.read_bytes()
    if not content.strip():
        raise HallmarkError("is empty", file=path, remedy=remedy)
    return content
