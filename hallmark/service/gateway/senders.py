"""Who sends a request: no page in a browser, and the customer that it is for."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from hallmark.base.refusal import Refusal
from hallmark.base.visible import MOST_NAME, hidden_at, shows

if TYPE_CHECKING:
    from starlette.requests import Request


def check_sender(request: Request, host: str, *, keyed: bool) -> None:
    """Refuse what a page in a browser could send: by its origin, or by a name that it has made lead here.

    With API keys, any name is taken, since a proxy may stand in front and no page knows a key.
    """
    if "origin" in request.headers:
        raise Refusal(403, "origin_not_allowed", "pages in a browser may not use this server")
    if keyed:
        return
    port = (request.scope.get("server") or (host, None))[1]
    names = dict.fromkeys(("127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host))
    allowed = [f"{name}{end}" for end in ([f":{port}", ""] if port == 80 else [f":{port}"]) for name in names]
    given = [value.lower() for value in request.headers.getlist("host")]
    if len(given) != 1 or given[0] not in allowed:
        raise Refusal(421, "wrong_host", f"without API keys, this server answers only as {allowed[0]}")


def customer(request: Request, header: str) -> str | None:
    """The customer that a header names, None without one; a Refusal if raw data could not have such a name."""
    given = [value for name, value in request.headers.raw if name == header.lower().encode()]
    if not given:
        return None
    problem, name = None, ""
    try:
        name = given[0].decode()
    except UnicodeDecodeError:
        problem = "not UTF-8"
    if len(given) > 1:
        problem = "there more than once"
    elif problem is None:
        problem = _problem(name)
    if problem:
        raise Refusal(400, "invalid_customer", f"the header {header}: {problem}", header)
    return name


def _problem(name: str) -> str | None:
    if not any(map(shows, name)):
        return "empty"
    if (place := hidden_at(name)) is not None:
        return f"an invisible or control character at character {place}"
    if name != name.strip():
        return "starts or ends with a space"
    if not unicodedata.is_normalized("NFC", name):
        return "not in Unicode's form NFC"
    return f"longer than {MOST_NAME} characters" if len(name) > MOST_NAME else None
