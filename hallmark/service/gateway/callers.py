"""Who sends a request: a caller with an API key, no page in a browser, and the customer that it is for.

API keys come from an environment variable, as `name=key,name=key`. A name may have two keys, so that one can be
replaced while the other still works. Only their SHA-256 is kept here, and nothing ever prints one.

The id of a trace ends in a mark of its caller's key and one of its name: whoever judges it later must be the same caller, in
whatever process, and also if a key was renamed or a name got another key meanwhile.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence

from starlette.requests import Request

from hallmark.base.errors import HallmarkError
from hallmark.base.key import pseudonym
from hallmark.base.refusal import Refusal
from hallmark.base.visible import MOST_NAME, hidden_at, shows
from hallmark.mask.second_check import in_name
from hallmark.params.service import Serve
from hallmark.serve import front

SHORTEST = 16  # characters: a shorter key could be guessed
MARK = 6  # hexadecimal digits of each of the two marks
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEY = re.compile(rf"[!-+\--~]{{{SHORTEST},}}")  # ASCII that shows, without a comma
_BEARER = re.compile(rb"bearer +(\S+)", re.IGNORECASE)


class Keys:
    """The keys of all callers; with none, everyone may ask, as the caller ""."""

    def __init__(self, named: Sequence[tuple[str, str]] = ()) -> None:
        self._named = [(name, _digest(key.encode())) for name, key in named]

    def __bool__(self) -> bool:
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

    def marked(self, trace: str, caller: str) -> str:
        """The id of a trace, with the marks of its caller for its last digits."""
        head = trace[: -2 * MARK]
        key = next((digest for name, digest in self._named if name == caller), b"")
        return head + _mark(head, key) + _mark(head, caller.encode())

    def check_own(self, trace: str, caller: str) -> None:
        """A Refusal unless the trace is of this caller: by its key if that is still known, whatever it is called by now."""
        if self.marked(trace, "") == trace:  # nobody's: of a gateway without keys, or of `batch`
            return
        head, of_key, of_name = trace[: -2 * MARK], trace[-2 * MARK : -MARK], trace[-MARK:]
        owners = {name for name, digest in self._named if _mark(head, digest) == of_key}
        if self._named and (caller not in owners if owners else _mark(head, caller.encode()) != of_name):
            message = "no request with your API key has this trace, and only the caller who asked may judge its answer"
            raise Refusal(403, "not_your_trace", message, "trace_id")


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
    variable = f"environment variable {serve.keys}"
    named = [_entry(entry, number, variable) for number, entry in enumerate(entries, 1)]
    if len({key for _, key in named}) < len(named):
        raise HallmarkError("the same key twice", file=variable, remedy="give each caller its own key")
    return Keys(named)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _entry(entry: str, number: int, variable: str) -> tuple[str, str]:
    """The name and the key of an entry. No error quotes it: it may be a key whose name was forgotten."""
    name, _, key = entry.partition("=")
    if not _NAME.fullmatch(name) or not _KEY.fullmatch(key):
        raise HallmarkError(
            f"entry {number} is not a name of letters, digits, dots and dashes, `=`, and a key of {SHORTEST} or more characters "
            "of plain ASCII without spaces",
            file=variable,
            remedy="write `name=key,name=key`; `python -c 'import secrets; print(secrets.token_urlsafe(32))'` makes a key",
        )
    return name, key


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _mark(head: str, secret: bytes) -> str:
    return hmac.new(secret, head.encode(), hashlib.sha256).hexdigest()[:MARK]


def check_sender(request: Request, host: str, *, keyed: bool) -> None:
    """Refuse what a page in a browser could send. With API keys, any name of this host is taken: a proxy may stand in front,
    and no page knows a key."""
    port = (request.scope.get("server") or (host, None))[1]
    names = dict.fromkeys(("127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host))
    allowed = None if keyed else front.hosts([*names], port)
    front.check_sender(request, allowed, "without API keys, this server")


def customer(request: Request, header: str, key: bytes | None) -> str | None:
    """The customer that a header names, as records have it; None without one. A Refusal if no record could have it."""
    given = [value for name, value in request.headers.raw if name == header.lower().encode()]
    if not given:
        return None
    problem = "there more than once" if len(given) > 1 else _problem(given[0])
    if problem:
        raise Refusal(400, "invalid_customer", f"the header {header}: {problem}", header)
    return known_as(given[0].decode(), key, header)


def known_as(customer: str, key: bytes | None, field: str = "group") -> str:
    """The name of a customer in records: a pseudonym if there is a key, else his own; a Refusal if that looks private."""
    if key is not None:
        return pseudonym(key, "group", customer)
    if kinds := in_name(customer):
        problem = (
            f"{field}: looks like private data ({', '.join(kinds)}), which is taken only with data.pseudonyms: keyed"
        )
        raise Refusal(400, "invalid_customer", problem, field)
    return customer


def _problem(value: bytes) -> str | None:
    try:
        name = value.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    if not any(map(shows, name)):
        return "empty"
    if (place := hidden_at(name)) is not None:
        return f"an invisible or control character at character {place}"
    if name != name.strip():
        return "starts or ends with a space"
    if not unicodedata.is_normalized("NFC", name):
        return "not in Unicode's form NFC"
    return f"longer than {MOST_NAME} characters" if len(name) > MOST_NAME else None
