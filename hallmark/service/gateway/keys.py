"""API keys: who may ask, and by which name a caller is known in traces and limits.

They come from an environment variable, as `name=key,name=key`. A name may have two keys, so that one can be replaced while
the other still works. Only their SHA-256 is kept here, and nothing ever prints one.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
from collections.abc import Mapping, Sequence

from hallmark.base.errors import HallmarkError
from hallmark.base.refusal import Refusal
from hallmark.params.gateway import Serve

SHORTEST = 16  # characters: a shorter key could be guessed
MOST = 1_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEY = re.compile(r"[!-+\--~]+")  # ASCII that shows, without a comma
_BEARER = re.compile(rb"bearer +(\S+)", re.IGNORECASE)


class Keys:
    """The keys of all callers; with none, everyone may ask, as the caller ""."""

    def __init__(self, named: Sequence[tuple[str, str]] = ()) -> None:
        self._named = [(name, _digest(key.encode())) for name, key in named]

    def __bool__(self) -> bool:
        """Whether a key is needed."""
        return bool(self._named)

    def caller(self, authorization: Sequence[bytes]) -> str:
        """The name of the key in the headers `Authorization` of a request; a Refusal if it is none of ours.

        Each key is compared, in constant time, so that the time tells nothing about any of them.
        """
        if not self._named:
            return ""
        match = _BEARER.fullmatch(authorization[0]) if len(authorization) == 1 else None
        given, found = _digest(match[1] if match else b""), None
        for name, digest in self._named:
            if hmac.compare_digest(given, digest):
                found = name
        if found is None:
            problem = "this API key is not known" if match else "an API key is needed"
            message = f"{problem}; send it as `Authorization: Bearer KEY`"
            raise Refusal(401, "invalid_api_key", message, headers={"www-authenticate": "Bearer"})
        return found


def read_keys(serve: Serve, environment: Mapping[str, str] = os.environ) -> Keys:
    """The keys that the environment holds; a HallmarkError if they can't be used, or if there are none and must be some."""
    text = environment.get(serve.keys, "").strip() if serve.keys else ""
    if not text:
        if not is_loopback(serve.host):
            name = serve.keys or "GATEWAY_API_KEYS, and name it in serve.keys"
            raise HallmarkError(
                "API keys are needed: others than this machine can reach this address",
                param="serve.host",
                remedy=f"export {name}, as `name=key,name=key`, or set serve.host to 127.0.0.1",
            )
        return Keys()
    entries = [entry.strip() for entry in text.split(",")]
    named = [_entry(entry, number, str(serve.keys)) for number, entry in enumerate(entries, 1)]
    if len({key for _, key in named}) < len(named):
        raise HallmarkError("the same key twice", file=_variable(serve.keys), remedy="give each caller its own key")
    if len(named) > MOST:
        raise HallmarkError(f"more than {MOST} keys", file=_variable(serve.keys), remedy="take old ones out")
    return Keys(named)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _entry(entry: str, number: int, variable: str) -> tuple[str, str]:
    """The name and the key of an entry. No error quotes it: it may be a key whose name was forgotten."""
    name, equals, key = entry.partition("=")
    remedy = f"write `name=key,name=key`; `python -c 'import secrets; print(secrets.token_urlsafe(32))'` makes a key of {SHORTEST} characters or more"
    where = _variable(variable)
    if not equals or not _NAME.fullmatch(name):
        raise HallmarkError(
            f"entry {number} has no name of letters, digits, dots and dashes before a `=`", file=where, remedy=remedy
        )
    if not _KEY.fullmatch(key) or len(key) < SHORTEST:
        raise HallmarkError(
            f"the key of entry {number} is shorter than {SHORTEST} characters, or not plain ASCII without spaces",
            file=where,
            remedy=remedy,
        )
    return name, key


def _variable(name: str | None) -> str:
    return f"environment variable {name}"


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
