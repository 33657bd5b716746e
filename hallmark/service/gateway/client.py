"""The HTTP client of the gateway, for model servers and the collector of traces.

It reads no more than it is told, follows no redirect, keeps no cookie and unpacks nothing. What a server says in an
error is never repeated: it may quote the request.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from hallmark.answer.comparators.endpoint import is_near
from hallmark.base.errors import HallmarkError
from hallmark.commands.completions import retry_after

if TYPE_CHECKING:
    import ssl

    from aiohttp import ClientSession

IDLE_SECONDS = 2.0  # a connection that is idle longer is not used again: servers close theirs after about 5
CLOSE_SECONDS = 2.0  # for connections that are being closed
LEAST_WAIT = 0.2  # seconds before a server that was busy is asked again, also if it says 0


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. `after`: the header `Retry-After`. `content`: None if it can't be read, or the server failed."""

    status: int
    after: str
    content: bytes | None = None

    @property
    def success(self) -> bool:
        return 200 <= self.status < 300


class Client:
    """Asks one address, JSON unless `content_type` says otherwise. aiohttp takes half of httpx's time.

    `own`: a server on this machine that was started here, which is asked past any proxy of the environment.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], *, own: bool = False, content_type: str = "application/json"
    ) -> None:
        self._url, self._proxy = url, None if own else proxy_of(url)
        # Of each request, not of the session, whose headers aiohttp sends to a proxy too.
        ours = {"Accept-Encoding": "identity", "Content-Type": content_type}
        self._headers = {**headers, **ours}
        self._session: ClientSession | None = None  # made in the loop that asks

    async def ask(self, body: bytes | None, largest: int) -> Response:
        """What comes back of a POST, or without a body of a GET; aiohttp.ClientError or OSError if nothing does. Cancelling hangs up on the server.

        There is no content if it has over `largest` bytes, or is compressed, which nobody asked for: a megabyte can unpack
        to gigabytes.
        """
        self._session = self._session or self._connected()
        method, data = ("GET", None) if body is None else ("POST", io.BytesIO(body))
        asked = self._session.request(
            method, self._url, data=data, headers=self._headers, allow_redirects=False, proxy=self._proxy
        )
        async with asked as response:
            said = Response(response.status, response.headers.get("retry-after", ""))
            if not 200 <= said.status < 500 or response.headers.get("content-encoding", "identity") != "identity":
                return said
            content = bytearray()
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > largest:
                    return said
        return replace(said, content=bytes(content))

    async def close(self) -> None:
        """Close its connections; the next request makes new ones."""
        session, self._session = self._session, None
        if session is not None:
            with suppress(TimeoutError):  # one to a server that reads no more would be waited for
                async with asyncio.timeout(CLOSE_SECONDS):
                    await session.close()

    @cached_property
    def _tls(self) -> ssl.SSLContext | bool:
        """With certifi's authorities; True for clear text, where nothing is to be checked."""
        import httpx

        return httpx.create_ssl_context() if self._url.startswith("https:") else True

    def _connected(self) -> ClientSession:
        import aiohttp

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )


def proxy_of(url: str) -> str | None:
    """The proxy for a URL, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. A HallmarkError if it is one of another kind.

    Clear text for this machine, or for the number of a private address, goes there directly: a key in it is for nobody else.
    aiohttp's `trust_env` would also read ~/.netrc at every request, in a thread, and fail if it has an entry for the server.
    """
    parts, proxies = urlsplit(url), getproxies()
    host, named = parts.hostname or "", proxies.get(parts.scheme) or proxies.get("all")
    passed = proxy_bypass(parts.netloc.rpartition("@")[2]) or (":" in host and proxy_bypass(host))
    if not named or passed or (parts.scheme == "http" and is_near(host)):
        return None
    proxy = named if "://" in named else f"http://{named}"
    if not proxy.startswith(("http://", "https://")):
        raise HallmarkError(
            f"the proxy that the environment names for {parts.scheme} is no http:// or https:// URL",
            remedy=f"set {parts.scheme.upper()}_PROXY to one, or name {host} in NO_PROXY",
        )
    return proxy


def wait_of(response: Response) -> float | None:
    """Seconds after which a busy server wants to be asked again; None if it is not busy, or doesn't say."""
    wait = retry_after(response.after) if response.status in (429, 503) else None
    return None if wait is None else max(wait, LEAST_WAIT)


def secret_of(variable: str, url: str, param: str, name: str) -> str:
    """What goes to a URL from an environment variable, which `param` has under `name`.

    A HallmarkError if it is not there, or would go over the network as clear text.
    """
    if not (secret := os.environ.get(variable, "").strip()):
        problem = f"the environment has no variable {variable}"
        raise HallmarkError(problem, param=f"{param}.{name}", remedy=f"export it, or set the {name} to null")
    address = urlsplit(url)
    if address.scheme != "https" and not is_near(address.hostname or ""):
        remedy = "begin it with https://; only localhost and the number of a private address go without"
        raise HallmarkError(f"its {name} would be sent as clear text", param=f"{param}.url", remedy=remedy)
    return secret
