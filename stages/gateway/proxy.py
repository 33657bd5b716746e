"""The proxy that the environment names for a server, as aiohttp is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


@dataclass(frozen=True, slots=True)
class Proxy:
    """`url`: None if there is none. Who asks is told in `headers` of the request, or, with TLS, in `tunnel` headers before it."""

    url: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    tunnel: dict[str, str] = field(default_factory=dict)


def proxy_of(url: str) -> Proxy:
    """The proxy for a URL, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

    aiohttp's `trust_env` would also read ~/.netrc at every request, in a thread, and fail if it has an entry for the server.
    """
    import aiohttp
    import yarl

    parts, proxies = urlsplit(url), getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    if not named or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return Proxy()
    proxy = yarl.URL(named if "://" in named else f"http://{named}")
    sender = {}
    if proxy.user:
        sender = {"Proxy-Authorization": aiohttp.encode_basic_auth(proxy.user, proxy.password or "")}
    shown = str(proxy.with_user(None))
    return Proxy(shown, tunnel=sender) if parts.scheme == "https" else Proxy(shown, sender)
