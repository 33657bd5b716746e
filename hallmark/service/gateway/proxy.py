"""The proxy that the environment names for a server, as aiohttp is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from hallmark.answer.comparators.endpoint import is_near
from hallmark.base.errors import HallmarkError


@dataclass(frozen=True, slots=True)
class Proxy:
    """`url`: None if there is none. Who asks is told in `headers` of the request, or, with TLS, in `tunnel` headers before it."""

    url: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    tunnel: dict[str, str] = field(default_factory=dict)


def proxy_of(url: str) -> Proxy:
    """The proxy for a URL, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. A HallmarkError if it is one of another kind.

    Clear text for this machine, or for the number of a private address, goes there directly: a key in it is for nobody else.
    aiohttp's `trust_env` would also read ~/.netrc at every request, in a thread, and fail if it has an entry for the server.
    """
    import aiohttp
    import yarl

    parts, proxies = urlsplit(url), getproxies()
    host, named = parts.hostname or "", proxies.get(parts.scheme) or proxies.get("all")
    passed = proxy_bypass(parts.netloc.rpartition("@")[2]) or (":" in host and proxy_bypass(host))
    if not named or passed or (parts.scheme == "http" and is_near(host)):
        return Proxy()
    try:
        proxy = yarl.URL(named if "://" in named else f"http://{named}")
    except ValueError:
        proxy = yarl.URL()
    if proxy.scheme not in ("http", "https") or not proxy.host:
        raise HallmarkError(
            f"the proxy that the environment names for {parts.scheme} is no http:// or https:// URL",
            remedy=f"set {parts.scheme.upper()}_PROXY to one, or name {host} in NO_PROXY",
        )
    sender = {}
    if proxy.user:
        sender = {"Proxy-Authorization": aiohttp.encode_basic_auth(proxy.user, proxy.password or "")}
    shown = str(proxy.with_user(None))
    return Proxy(shown, tunnel=sender) if parts.scheme == "https" else Proxy(shown, sender)
