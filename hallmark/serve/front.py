"""What the gateway and the admission to a model server ask of whoever sends a request, and the answers that both have."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hallmark.base.refusal import Refusal

BODY_SECONDS = 10.0  # within which a body must be here
STARTED = int(time.time())


def hosts(names: Sequence[str], port: int | None) -> list[str]:
    """The names that a caller may use, with the port that it has reached; clients leave out port 80."""
    return [f"{name}{end}" for end in ([f":{port}", ""] if port == 80 else [f":{port}"]) for name in names]


def check_sender(request: Request, allowed: Sequence[str] | None, who: str) -> None:
    """Refuse what a page in a browser could send: by its origin, or by a name that it has made lead here.

    `allowed`: the hosts by which it may be asked; None: by any.
    """
    if "origin" in request.headers:
        raise Refusal(403, "origin_not_allowed", "pages in a browser may not use this server")
    given = [value.lower() for value in request.headers.getlist("host")]
    if allowed is not None and (len(given) != 1 or given[0] not in allowed):
        raise Refusal(421, "wrong_host", f"{who} answers only as {allowed[0]}")


def elsewhere(path: str, methods: Mapping[str, str]) -> Refusal:
    """What is told who asks a path by another method than it has, or another path than there are."""
    if (method := methods.get(path)) is not None:
        return Refusal(405, "method_not_allowed", f"{path} is asked by {method}", headers={"allow": method})
    return Refusal(404, "unknown_url", f"there are only {', '.join(f'{one} {at}' for at, one in methods.items())}")


def unknown_model(names: Sequence[str]) -> Refusal:
    known = ", ".join(f"'{name}'" for name in names)
    return Refusal(404, "model_not_found", f"there is no such model; the models here: {known}", "model")


def too_many(message: str) -> Refusal:
    """An answer that says when to try again."""
    return Refusal(429, "too_many_requests", message, headers={"retry-after": "1"})


class Slots:
    """Requests under way, of all callers and of each. `noted` is told how many there are."""

    def __init__(
        self, all_callers: int, each: int | None = None, noted: Callable[[int], None] = lambda count: None
    ) -> None:
        self.all_callers, self.each, self._noted = all_callers, each, noted
        self.under_way: Counter[str] = Counter()

    @contextmanager
    def taken(self, caller: str = "") -> Iterator[None]:
        """One slot, until the block ends; a Refusal if there is none."""
        if self.under_way.total() >= self.all_callers:
            raise too_many(f"{self.all_callers} requests are under way, which is the limit")
        if self.each is not None and self.under_way[caller] >= self.each:
            raise too_many(f"{self.each} requests of this API key are under way, which is its limit")
        self.under_way[caller] += 1
        self._noted(self.under_way.total())
        try:
            yield
        finally:
            self.under_way[caller] -= 1
            self._noted(self.under_way.total())


async def read_body(
    request: Request, most: int, seconds: float | None = None, keep: Callable[[int], None] = lambda size: None
) -> bytes:
    """The body of a request; a Refusal, or Starlette's ClientDisconnect if the caller hangs up before it is whole.

    `keep` is told the size of each piece before it is kept.
    """
    kinds = [value.split(";")[0].strip().lower() for value in request.headers.getlist("content-type")]
    if kinds != ["application/json"] or "content-encoding" in request.headers:
        raise Refusal(415, "unsupported_media_type", "the body must be application/json, not compressed")
    too_large = Refusal(413, "request_too_large", f"the body is larger than {most} bytes")
    lengths = [value for value in request.headers.getlist("content-length") if value.isdecimal()]
    if any(len(value) > 18 or int(value) > most for value in lengths):
        raise too_large
    body, seconds = bytearray(), BODY_SECONDS if seconds is None else seconds
    try:
        async with asyncio.timeout(seconds), aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                if len(body) + len(chunk) > most:
                    raise too_large
                keep(len(chunk))
                body += chunk
    except TimeoutError:
        late = f"the body did not come within {seconds:g} s"
        raise Refusal(408, "request_timeout", late, headers={"connection": "close"}) from None
    return bytes(body)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON document in ASCII, so that half of a surrogate pair, which a model server may send, can't break it."""
    return Response(json.dumps(value), status, headers, media_type="application/json")


def models_listed(names: Sequence[str]) -> Response:
    entry = {"object": "model", "created": STARTED, "owned_by": "hallmark"}
    return json_response({"object": "list", "data": [{"id": name} | entry for name in names]})


def refused(refusal: Refusal) -> Response:
    return Response(refusal.body(), refusal.status, refusal.headers, media_type="application/json")


def note(error: BaseException, log: logging.Logger) -> None:
    """Log what failed and where; its message may quote a request, so that is left out."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    log.error("%s at %s, line %s", type(error).__name__, Path(place.filename).name, place.lineno)
