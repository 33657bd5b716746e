"""The frame of every endpoint: whatever goes wrong becomes an error in OpenAI's form, is counted, and quotes nothing."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from hallmark.base.refusal import Refusal
from hallmark.service.gateway import responses

if TYPE_CHECKING:
    from starlette.requests import Request

    from hallmark.service.gateway.metrics import Metrics

log = logging.getLogger("gateway")
GONE = 499  # what web servers write down of a caller who hung up
Result = TypeVar("Result")
Handle = Callable[["Request"], Awaitable[Response]]


def endpoint(name: str, handle: Handle, metrics: Metrics) -> Handle:
    """`handle` in its frame."""

    async def framed(request: Request) -> Response:
        start = time.monotonic()
        try:
            response = await handle(request)
        except Refusal as refusal:
            response = _refused(name, refusal, metrics)
            if refusal.__cause__ is not None:
                _note(refusal.__cause__)
        except ClientDisconnect:
            response = Response(status_code=GONE)  # which nobody reads
        except asyncio.CancelledError:  # the time to stop in is over
            stopping = Refusal(503, "stopping", "this gateway is stopping; ask again", headers={"retry-after": "1"})
            response = _refused(name, stopping, metrics)
        except Exception as error:
            _note(error)
            response = _refused(name, Refusal(500, "server_error", "the gateway failed"), metrics)
        metrics.count("requests", endpoint=name, status=response.status_code)
        metrics.observe("request", time.monotonic() - start, endpoint=name)
        return response

    return framed


async def unless_gone(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]], work: Coroutine[Any, Any, Result]
) -> Result:
    """What `work` gives; ClientDisconnect if the caller hangs up first, and then `work` is cancelled.

    The body must have been read: what `receive` gives after it is that the caller has hung up.
    """
    task, gone = asyncio.create_task(work), asyncio.create_task(_hung_up(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _hung_up(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _refused(name: str, refusal: Refusal, metrics: Metrics) -> Response:
    metrics.count("errors", endpoint=name, code=refusal.code)
    return responses.refused(refusal)


def _note(error: BaseException) -> None:
    """Log what failed and where; its message may quote a request, so that is left out."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    log.error("%s at %s, line %s", type(error).__name__, Path(place.filename).name, place.lineno)
