"""The repo's key, from which pseudonyms and surrogates are made: in the environment, or in a file that git ignores.

`params.yaml` holds only its SHA-256 (`data.key`), which is no secret: nobody can guess 256 random bits. It makes sure
that every run uses the same key, and that a run with another key is a change that DVC sees.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Data
from hallmark.base.reading import read_text

log = logging.getLogger(__name__)

VARIABLE = "HALLMARK_KEY"
FILE = Path("data/pseudonyms.key")
RESTORE = (
    f"put the key that this repo was set up with into {FILE}, or into the environment variable {VARIABLE} (ask whoever "
    "keeps it); if it is lost, docs/troubleshooting.md says what to do"
)


def digest_of(key: str) -> str:
    """What `data.key` says of a key: the SHA-256 of its 64 hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_key(data: Data, *, surrogates: bool = False) -> bytes | None:
    """The repo's key, or None if it needs none; a missing or different key is an error that says what to do."""
    if data.pseudonyms == "none" and not surrogates:
        return None
    if data.key is None:
        what = "surrogates are" if data.pseudonyms == "none" else "pseudonyms are"
        raise HallmarkError(
            f"{what} made with a key, and none has been set up",
            param="data.key",
            remedy="run `python -m hallmark.commands.key`, which makes one",
        )
    text, source = _text()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise HallmarkError("not a key: it has 64 hexadecimal digits", file=source, remedy=RESTORE)
    if digest_of(text) != data.key:
        raise HallmarkError("not the key that data.key in params.yaml stands for", file=source, remedy=RESTORE)
    return bytes.fromhex(text)


def _text() -> tuple[str, str]:
    """The key as given, and where it was found."""
    if value := os.environ.get(VARIABLE, "").strip():
        return value.lower(), f"environment variable {VARIABLE}"
    if not FILE.exists():
        raise HallmarkError("the key is missing", file=FILE, remedy=RESTORE)
    text = read_text(FILE, RESTORE).strip().lower()
    if FILE.stat().st_mode & 0o077:
        log.warning("%s can be read by other users of this machine: `chmod 600 %s`", FILE, FILE)
    return text, str(FILE)


def digest(key: bytes | None, kind: str, value: str) -> bytes:
    """A keyed digest of a value (HMAC-SHA-256); without a key, a plain SHA-256, which lets anyone test a guess."""
    message = f"{kind}\0{value}".encode()
    return hmac.digest(key, message, "sha256") if key else hashlib.sha256(message).digest()


_LETTERS = str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst")  # digits could make a card number, vowels a word


def pseudonym(key: bytes, column: str, value: str) -> str:
    """A stable name for an id or group: 64 bits of an HMAC, as consonants, so that it looks like nothing private."""
    return f"{column}-{digest(key, column, value).hex()[:16].translate(_LETTERS)}"


def namer(data: Data) -> Callable[[str], str]:
    """What gives a raw id the name that its record has."""
    if data.pseudonyms == "none":
        return str
    key = read_key(data)
    assert key is not None, "keyed"
    return partial(pseudonym, key, "id")


def source_digest(key: bytes | None, *parts: str) -> str:
    """A digest of a raw row by which `split` knows it again; with the key, nobody can confirm a guess of the row."""
    plain = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    return plain if key is None else keyed_source(key, plain)


def keyed_source(key: bytes, plain: str) -> str:
    """The keyed form of a raw row's plain digest."""
    return digest(key, "source", plain).hex()[:32]
