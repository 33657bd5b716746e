"""Regular expressions from params.yaml, which may take exponential time: each search ends within a limit."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from hallmark.base.errors import HallmarkError

SECONDS = 10.0  # of processor time, for one search of one text
Result = TypeVar("Result")


class Pattern:
    """A regular expression of `re` that a param holds: same matches, but a HallmarkError if a search takes too long.

    Python's `re` looks for signals while it searches, so a timer can stop it. The timer counts the process's own
    processor time: a busy machine changes nothing. Signals reach only the main thread; on another there is no limit.
    """

    def __init__(self, regex: str, param: str) -> None:
        self._regex, self._param = re.compile(regex), param

    @property
    def groups(self) -> int:
        return self._regex.groups

    def search(self, text: str) -> re.Match[str] | None:
        return self._limited(lambda: self._regex.search(text))

    def finditer(self, text: str) -> list[re.Match[str]]:
        return self._limited(lambda: list(self._regex.finditer(text)))

    def _limited(self, search: Callable[[], Result]) -> Result:
        if threading.current_thread() is not threading.main_thread():
            return search()
        before = signal.signal(signal.SIGVTALRM, self._stop)
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            return search()
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)

    def _stop(self, *_: Any) -> None:
        raise HallmarkError(
            f"the regular expression takes more than {SECONDS:.0f} seconds for one text",
            param=self._param,
            remedy="write it without a repetition inside a repetition, such as (a+)+ or (a|a)*",
        )
