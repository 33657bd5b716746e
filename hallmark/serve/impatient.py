"""uvicorn's protocol of a connection, less its patience. It is imported only by what listens."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0  # within which a connection must make a request


class Impatient(H11Protocol):
    """Hangs up on who makes no request: one byte a second would otherwise hold a connection for ever."""

    seen: Any = None  # the request at the last look
    look: asyncio.TimerHandle

    @property
    def under_way(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        """Start to look at the connection from time to time."""
        super().connection_made(transport)
        self.look = self.loop.call_later(HEAD_SECONDS, self.hang_up_if_idle)

    def hang_up_if_idle(self) -> None:
        """Close the connection unless it has made a request since the last look, or one is under way."""
        if self.under_way or self.cycle is not self.seen:
            self.seen = self.cycle
            self.look = self.loop.call_later(HEAD_SECONDS, self.hang_up_if_idle)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        self.look.cancel()
        super().connection_lost(exc)
