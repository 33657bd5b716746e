"""The server: routes, the frame around each endpoint, and uvicorn as it is, until SIGTERM or Ctrl-C.

Whatever goes wrong becomes an error that is counted, and quotes nothing. Slow readers and idle connections are for the
proxy in front.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import resource
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from hallmark.base.errors import HallmarkError
from hallmark.base.refusal import Refusal
from hallmark.serve import front
from hallmark.service.gateway.feedback import judged
from hallmark.service.gateway.limits import RETRY

if TYPE_CHECKING:
    from hallmark.service.gateway.app import Gateway

MOST_CONNECTIONS = 1_024
# Seconds that an unused connection stays open: longer than callers and load balancers keep theirs (5 to 60), as one that closes
# in the moment in which it is used again is a request without an answer.
KEEP_ALIVE = 75
FILES = 8_192  # open files that are asked of the system; each connection is one, and each request to a server
GONE = 499  # what web servers write down of a caller who hung up
Handle = Callable[[Request], Awaitable[Response]]
Result = TypeVar("Result")
log = logging.getLogger("gateway")


def app(gateway: Gateway) -> Starlette:
    """The ASGI app of a gateway that runs."""

    async def feedback(request: Request) -> Response:
        return await judged(gateway, request)

    async def models(request: Request) -> Response:
        gateway.caller(request)
        return front.models_listed(gateway.deployments.names)

    async def health(request: Request) -> Response:
        """Whether there is a model that answers, and what each server does. It needs no key."""
        gateway.check_sender(request)
        if not gateway.deployments.names:
            return front.json_response({"status": "no model answers yet"}, 503, RETRY)
        return front.json_response({"status": "ok", "servers": gateway.deployments.servers})

    async def metrics(request: Request) -> Response:
        gateway.caller(request)
        if gateway.metrics.registry is None:
            raise Refusal(404, "metrics_off", "nothing is counted here: prometheus_client is not installed")
        return Response(gateway.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    methods: dict[str, tuple[str, str, Handle]] = {
        "chat": ("POST", "/v1/chat/completions", gateway.chat),
        "models": ("GET", "/v1/models", models),
        "feedback": ("POST", "/v1/feedback", feedback),
        "health": ("GET", "/health", health),
        "metrics": ("GET", "/metrics", metrics),
    }
    allowed = {path: method for method, path, _ in methods.values()}

    async def elsewhere(request: Request) -> Response:
        gateway.check_sender(request)
        raise front.elsewhere(request.scope["path"], allowed)

    async def unrouted(request: Request, _: Exception) -> Response:
        return await _framed("other", elsewhere, gateway)(request)

    routes = [
        Route(path, _framed(name, handle, gateway), methods=[method])
        for name, (method, path, handle) in methods.items()
    ]
    made = Starlette(routes=routes, exception_handlers={HTTPException: unrouted})
    made.router.redirect_slashes = False  # a redirect would go to whatever host the caller named
    return made


def _framed(name: str, handle: Handle, gateway: Gateway) -> Handle:
    """`handle` as an endpoint: whatever it raises is an answer, and counted."""
    metrics = gateway.metrics

    def refused(refusal: Refusal) -> Response:
        metrics.count("hallmark_errors_total", endpoint=name, code=refusal.code)
        return front.refused(refusal)

    async def framed(request: Request) -> Response:
        start = time.monotonic()
        try:
            response = await handle(request)
        except Refusal as refusal:
            response = refused(refusal)
            if refusal.__cause__ is not None:
                front.note(refusal.__cause__, log)
        except ClientDisconnect:
            response = Response(status_code=GONE)  # which nobody reads
        except asyncio.CancelledError:  # the time to stop in is over
            response = refused(Refusal(503, "stopping", "this gateway is stopping; ask again", headers=RETRY))
        except Exception as error:
            front.note(error, log)
            response = refused(Refusal(500, "server_error", "the gateway failed"))
        metrics.count("hallmark_requests_total", endpoint=name, status=response.status_code)
        metrics.observe("hallmark_request_seconds", time.monotonic() - start, endpoint=name)
        return response

    return framed


async def unless_gone(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]], work: Coroutine[Any, Any, Result]
) -> Result:
    """What `work` gives; ClientDisconnect if the caller hangs up first, and then `work` is cancelled.

    The body must have been read: what `receive` gives after it is that the caller has hung up.
    """

    async def hung_up() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task, gone = asyncio.create_task(work), asyncio.create_task(hung_up())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


def run(gateway: Gateway, host: str, port: int, drain: float, announce: Callable[[str], None]) -> None:
    """Serve until a signal; then finish what is under way, for at most `drain` seconds.

    `announce` is told the address once it answers. A HallmarkError if the address can't be used, or nothing can be started.
    """
    listener = _listener(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # also before uvicorn looks after both
    with listener, suppress(KeyboardInterrupt):
        asyncio.run(_serve(gateway, listener, math.ceil(drain), lambda: announce(address)))


async def _serve(gateway: Gateway, listener: socket.socket, drain: int, announce: Callable[[], None]) -> None:
    import uvicorn

    async with gateway.running():
        gc.collect()
        gc.freeze()  # what is loaded now stays: no collection looks at it again
        config = uvicorn.Config(
            app(gateway), ws="none", lifespan="off", access_log=False, proxy_headers=False, server_header=False,
            log_level="error", limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=drain,
        )  # fmt: skip
        listener.listen()
        announce()
        await uvicorn.Server(config).serve([listener])
        with suppress(asyncio.CancelledError):  # uvicorn raises the signal again once it has stopped
            await asyncio.sleep(0)


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends without delay only where the protocol is named: else the body of an answer waits up to 40 ms for the
    # receipt of its head (Nagle's algorithm and delayed acknowledgements).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise HallmarkError(
            f"{host}, port {port} can't be used ({os.strerror(error.errno or 0)})",
            param="serve.port",
            remedy="stop what listens there, or set serve.port to 0 for any free port, and serve.host to an address of this machine",
        ) from None
    return listener
