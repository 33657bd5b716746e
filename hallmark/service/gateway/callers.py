"""Who sends a request: a caller with an API key, no page in a browser, and the customer that it is for.

API keys come from an environment variable, as `name=key,name=key`. A name may have two keys, so that one can be
replaced while the other still works. Only their SHA-256 is kept here, and nothing ever prints one.

The id of a trace ends in a mark of its caller's name: only the same caller may judge it later, in whatever process.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
from collections.abc import Mapping, Sequence

from pydantic_core import PydanticCustomError
from starlette.requests import Request

from hallmark.base.errors import HallmarkError
from hallmark.base.key import pseudonym
from hallmark.base.refusal import Refusal
from hallmark.mask.second_check import in_name
from hallmark.params.service import Serve
from hallmark.records.record import name_of
from hallmark.serve import front

SHORTEST = 16  # characters: a shorter key could be guessed
MARK = 12  # hexadecimal digits
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
        given = _digest(match[1] if match else b"")
        found = [name for name, digest in self._named if hmac.compare_digest(given, digest)]
        if not found:
            problem = "this API key is not known" if match else "an API key is needed"
            message = f"{problem}; send it as `Authorization: Bearer KEY`"
            raise Refusal(401, "invalid_api_key", message, headers={"www-authenticate": "Bearer"})
        return found[0]

    def check_own(self, trace: str, caller: str) -> None:
        """A Refusal if the trace is another caller's. One of a gateway without keys, or of `batch`, is everyone's."""
        if self._named and trace not in (marked(trace, caller), marked(trace, "")):
            message = "no request with your API key has this trace, and only the caller who asked may judge its answer"
            raise Refusal(403, "not_your_trace", message, "trace_id")


def marked(trace: str, caller: str) -> str:
    """The id of a trace, with the mark of its caller for its last digits."""
    head = trace[:-MARK]
    return head + hmac.new(caller.encode(), head.encode(), hashlib.sha256).hexdigest()[:MARK]


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
    variable, named = f"environment variable {serve.keys}", list[tuple[str, str]]()
    for number, entry in enumerate(text.split(","), 1):
        name, _, key = entry.strip().partition("=")
        if not _NAME.fullmatch(name) or not _KEY.fullmatch(key):  # quoted nowhere: it may be a key without its name
            raise HallmarkError(
                f"entry {number} is not a name of letters, digits, dots and dashes, `=`, and a key of {SHORTEST} or more "
                "characters of plain ASCII without spaces",
                file=variable,
                remedy="write `name=key,name=key`; `python -c 'import secrets; print(secrets.token_urlsafe(32))'` makes a key",
            )
        named.append((name, key))
    if len({key for _, key in named}) < len(named):
        raise HallmarkError("the same key twice", file=variable, remedy="give each caller its own key")
    return Keys(named)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
    try:
        (value,) = given
        return known_as(name_of(value.decode()), key, header)
    except (ValueError, PydanticCustomError) as error:
        expected = (
            error.context["expected"] if isinstance(error, PydanticCustomError) and error.context else "one in UTF-8"
        )
        message = f"the header {header}: not a name that records could have: {expected}"
        raise Refusal(400, "invalid_customer", message, header) from None


def known_as(customer: str, key: bytes | None, field: str = "group") -> str:
    """The name of a customer in records: a pseudonym if there is a key, else his own; a Refusal if that looks private."""
    if key is not None:
        return pseudonym(key, "group", customer)
    if kinds := in_name(customer):
        kind = ", ".join(kinds)
        problem = f"{field}: looks like private data ({kind}), which is taken only with data.pseudonyms: keyed"
        raise Refusal(400, "invalid_customer", problem, field)
    return customer


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
