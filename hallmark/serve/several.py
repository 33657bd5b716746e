"""Several servers of one release: which one a request goes to, and which are left alone for a while after they failed."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

REST = 30.0  # seconds for which a server that failed is asked only if there is no other
log = logging.getLogger(__name__)


class Several:
    """Servers that give the same answers, by their addresses; one is the usual case."""

    def __init__(self, urls: str | Sequence[str]) -> None:
        given = [urls] if isinstance(urls, str) else urls
        self.urls = tuple(dict.fromkeys(url.rstrip("/") for url in given))
        self._busy = dict.fromkeys(self.urls, 0)  # requests under way
        self._asked = dict.fromkeys(self.urls, 0)  # the number of the last request
        self._failed = dict.fromkeys(self.urls, -math.inf)
        self._count = 0

    @contextmanager
    def asked(self, tried: Counter[str]) -> Iterator[str]:
        """The one to ask: of those that were `tried` least, and haven't failed lately if there are such, the least busy."""
        rested = time.monotonic() - REST
        url = min(
            self.urls, key=lambda one: (tried[one], self._failed[one] > rested, self._busy[one], self._asked[one])
        )
        self._count += 1
        self._asked[url] = self._count
        self._busy[url] += 1
        try:
            yield url
        finally:
            self._busy[url] -= 1

    def failed(self, url: str, tried: Counter[str]) -> int:
        """Note that it gave no answer. How often each was `tried`, at least."""
        now = time.monotonic()
        tried[url] += 1
        if len(self.urls) > 1 and self._failed[url] < now - REST:
            log.warning("%s gave no answer: for %d s, the other servers are asked", urlsplit(url).netloc, REST)
        self._failed[url] = now
        return min(tried[one] for one in self.urls)
