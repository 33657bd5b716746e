"""Listens for callers with uvicorn, until SIGTERM or Ctrl-C; what is under way then is finished within a limit."""

from __future__ import annotations

import gc
import math
import os
import resource
import socket
from asyncio import TimerHandle
from collections.abc import Callable
from types import FrameType
from typing import Any

from hallmark.base.errors import HallmarkError

MOST_CONNECTIONS = 1_024
# Seconds that an unused connection stays open: longer than callers and load balancers keep theirs (5 to 60), as one that closes
# in the moment in which it is used again is a request without an answer.
KEEP_ALIVE = 75
UNREAD_SECONDS = 30.0  # within which a caller must read some of an answer that fills the buffers
FILES = 8_192  # open files that are asked of the system; each connection is one


def run(app: Any, host: str, port: int, drain: float, announce: Callable[[str], None] = lambda address: None) -> None:
    """Serve the app at an address until a signal; then finish what is under way, for at most `drain` seconds.

    `announce` is told the address once it answers. A HallmarkError if the address can't be used.
    """
    import uvicorn

    from hallmark.serve.impatient import HEAD_SECONDS, Impatient

    most = _most_connections()

    class Protocol(Impatient):
        """Never holds more connections than there are files for, nor one of a caller who doesn't read his answer."""

        since: float  # when it came, or had its last answer
        stuck: TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.since = self.loop.time()
            if len(self.connections) > most:  # whoever has waited longest without a request makes room
                idle = [
                    other
                    for other in self.connections
                    if isinstance(other, Protocol) and not other.under_way and not other.transport.is_closing()
                ]
                min(idle, key=lambda other: other.since, default=self).transport.close()

        def on_response_complete(self) -> None:
            self.since = self.loop.time()
            super().on_response_complete()

        def hang_up_if_idle(self) -> None:
            """Leave a connection that has had its answer, and no byte since, to uvicorn's timer of `KEEP_ALIVE`."""
            answered = self.cycle is not None and not self.under_way
            if answered and self.timeout_keep_alive_task is not None and not self.transport.is_closing():
                self.look = self.loop.call_later(HEAD_SECONDS, self.hang_up_if_idle)
            elif self.transport.is_closing():  # with an answer that nobody reads
                self.transport.abort()
            else:
                super().hang_up_if_idle()
                if self.transport.is_closing():
                    self.look = self.loop.call_later(HEAD_SECONDS, self.hang_up_if_idle)

        def pause_writing(self) -> None:
            """Hang up on who doesn't read his answers: they would wait for him for ever."""
            super().pause_writing()
            self.stuck = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._unstuck()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unstuck()
            self._unset_keepalive_if_required()  # uvicorn leaves it, and with it all of this, after a reset
            super().connection_lost(exc)

        def _unstuck(self) -> None:
            if self.stuck is not None:
                self.stuck.cancel()
                self.stuck = None

        def send_400_response(self, msg: str) -> None:
            import h11

            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                super().send_400_response(msg)
            else:  # an answer is half sent
                self.transport.close()

    class Server(uvicorn.Server):
        """Lets its caller go on after a signal: uvicorn's own would raise it again once it has stopped."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit
            self.should_exit = True

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                gc.collect()
                gc.freeze()  # what is loaded now stays: no collection looks at it again
                announce(address)

    listener = _listener(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        app, http=Protocol, ws="none", access_log=False, proxy_headers=False, server_header=False, log_level="error",
        lifespan="on", timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=math.ceil(drain),
    )  # fmt: skip
    server = Server(config)
    server.run([listener])
    if not server.started:
        raise HallmarkError("the gateway did not start", remedy="see the lines above")


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


def _most_connections() -> int:
    """As many as there may be files, less those that all else needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        soft = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(MOST_CONNECTIONS, soft // 2)
