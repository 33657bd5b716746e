"""One line that says how far a stage is: `with Progress("sft", 354, "steps") as progress: progress.to(12, loss=0.4)`.

On a terminal the line is redrawn; a log gets a whole line every `LOG_SECONDS`, even if a step takes longer than that. The
time left is worked out from the work that is left, not from the number of items, so that it also holds where the longest
items come first. tqdm does neither: it counts items, speaks only when one is done, and fills logs with carriage returns.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

LOG_SECONDS = 25.0  # between two lines in a log
DRAW_SECONDS = 0.25  # between two looks at whether there is something new to show
FORGET_SECONDS = 20.0  # after this time, or half the time so far if that is longer, a measurement counts half
UNKNOWN_WIDTH = 80
PLAN = "HALLMARK_PLAN"  # in the environment of stages
TIMES = Path("reports/measured/times.json")  # how long stages took, on any machine; DVC doesn't know it


class Progress:
    """How far a stage is. `to` and `add` say what is done; the line goes to stderr, by a thread of its own.

    By default every item is the same work. Where that is wrong, give `work`, how much there is of each kind, in units of
    your choice (tokens, characters), and tell `spent` what is done; `to` then only counts. The kind `seconds` is for what
    takes a time that is known.
    """

    def __init__(
        self,
        stage: str,
        total: int | None,
        unit: str,
        *,
        work: Mapping[str, float] | None = None,
        brief: bool = False,
        silent: bool = False,
        bound: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`total`: None if nobody knows it. `brief`: the end is not worth a line, unless it took long. `silent`: for
        processes that must not write, such as all but the first of several. `bound`: it may end before `total`."""
        self.stage, self.total, self.unit, self.done = stage, total, unit, 0
        self._by_items = work is None
        work = {"": float(total or 0)} if work is None else work
        self._rates = {kind: Rate(left, known=kind == "seconds") for kind, left in work.items()}
        self._values: dict[str, float | str | None] = {}
        self._brief, self._bound, self._clock = brief, bound, clock
        self._stream = None if silent else stream or sys.stderr  # None too if the process was started without one
        self._terminal = is_terminal(self._stream)
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._start = self._last = self._said = clock()
        self._drawn = ""  # what the terminal shows of the line
        self._waits = False  # one turn, for a line of the log that is about to be written

    def __enter__(self) -> Self:
        self._start = self._last = self._said = self._clock()
        if self._stream is not None:
            threading.Thread(target=self._repeat, daemon=True).start()
        if self._terminal:
            for handler in logging.getLogger().handlers:
                handler.addFilter(self._make_room)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        for handler in logging.getLogger().handlers:
            handler.removeFilter(self._make_room)
        with self._lock:
            self._clear()
            if kind is None and (not self._brief or self._clock() - self._start >= LOG_SECONDS):
                self._write(f"{self.line(ended=True)}\n")
            self._stream = None  # for a last turn of the thread

    def to(self, done: int, **values: float | str | None) -> None:
        """That many items are done. `values` are shown after it, as `validation_loss=0.4`, until they are None.

        Texts say what goes on at the moment, and are left out at the end.
        """
        with self._lock:
            if self._by_items and done > self.done:
                self.spent("", done - self.done)
            self.done = done
            self._values |= values

    def add(self, count: int = 1, **values: float | str | None) -> None:
        """That many more items are done."""
        self.to(self.done + count, **values)

    def spent(self, kind: str, amount: float) -> None:
        """All the time since the last word went into that much work of a kind."""
        with self._lock:
            now = self._clock()
            self._rates[kind].add(amount, now - self._last, max(FORGET_SECONDS, (now - self._start) / 2))
            self._last = now

    def begin(self) -> None:
        """The time since the last word went into preparations, not into work."""
        with self._lock:
            self._last = self._clock()

    def left(self, kind: str, amount: float) -> None:
        """That much work of a kind is left: more or less than was thought."""
        with self._lock:
            self._rates[kind].left = amount

    def keep(self) -> None:
        """Write the line as it is now, so that it stays."""
        with self._lock:
            self._clear()
            self._write(f"{self.line()}\n")
            self._said = self._clock()

    def show(self) -> None:
        """Redraw the line, or write it to the log if it is time: the thread calls this."""
        with self._lock:
            if self._waits:
                self._waits = False
            elif self._terminal:
                line = self.line()[: width(self._stream) - 1]
                if line != self._drawn:
                    self._write(f"\r{line:<{min(len(self._drawn), width(self._stream) - 1)}}")
                    self._drawn = line
            elif self._clock() - self._said >= LOG_SECONDS:
                self.keep()

    def seconds_left(self) -> float | None:
        """The seconds that are left; None as long as nothing tells."""
        seconds = [rate.seconds_left() for rate in self._rates.values() if rate.left > 0]
        if self.total is None or None in seconds:
            return None
        # Time passes while an item is under way, but not the time of the items after it.
        under_way = min(self._clock() - self._last, max((rate.longest for rate in self._rates.values()), default=0))
        return max(0.0, sum(filter(None, seconds)) - under_way)

    def line(self, *, ended: bool = False) -> str:
        """What is shown: `sft: 12 of 354 steps, 4 min 32 s left, loss 0.412`; without numbers, how fast it goes."""
        so_far = self._clock() - self._start
        count = f"{self.done:,}" if self.total is None else f"{self.done:,} of {self.total:,}"
        parts = [f"{self.stage}: {count} {self.unit}"]
        values = {name: value for name, value in self._values.items() if value is not None}
        if ended:
            values = {name: value for name, value in values.items() if not isinstance(value, str)}
            parts[0] += f" in {duration(so_far)}"
        elif seconds := self.seconds_left():
            parts.append(f"{'at most ' * self._bound}{duration(seconds)} left")
        for name, value in values.items():
            parts.append(f"{name.replace('_', ' ')} {value if isinstance(value, str) else format(value, '.3f')}")
        if all(isinstance(value, str) for value in values.values()) and self.done and so_far > 0:
            parts.append(speed(self.done / so_far))
        return ", ".join(parts)

    def _repeat(self) -> None:
        while not self._ended.wait(DRAW_SECONDS):
            self.show()

    def _make_room(self, record: logging.LogRecord) -> bool:
        """A filter of the log that lets all pass: the line of the log comes where ours was, which is drawn again."""
        with self._lock:
            self._clear()
            self._waits = True
        return True

    def _clear(self) -> None:
        if self._drawn:
            self._write(f"\r{' ' * len(self._drawn)}\r")
            self._drawn = ""

    def _write(self, text: str) -> None:
        """Write and flush; from the first failure on (nobody reads it, the terminal is gone) be silent."""
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None


class Rate:
    """How long a kind of work takes, measured on what was done last, and how much of it is left.

    The first measurement often includes what happens only once, such as warming up: it counts until the others have taken
    as long as it did.
    """

    def __init__(self, left: float, *, known: bool = False) -> None:
        """`known`: it takes one second."""
        self.left = left
        self.longest = 0.0  # seconds of one measurement
        self._first: tuple[float, float] | None = (1.0, 1.0) if known else None
        self._amount = self._seconds = self._since = 0.0  # of the others; since the first, with nothing forgotten

    def add(self, amount: float, seconds: float, half_life: float) -> None:
        """So much was done in these seconds; earlier measurements count half after `half_life` seconds."""
        weight = 0.5 ** (seconds / half_life)
        self.left = max(0.0, self.left - amount)
        self.longest = max(self.longest * weight, seconds)
        if self._first is None or (not self._since and seconds < self._first[1] / 100):  # of the same batch
            before = self._first or (0.0, 0.0)
            self._first = before[0] + amount, before[1] + seconds
            return
        self._amount = self._amount * weight + amount
        self._seconds = self._seconds * weight + seconds
        self._since += seconds
        if self._since >= self._first[1]:
            self._first = 0.0, 0.0

    def seconds_left(self) -> float | None:
        """Seconds for what is left; None if nothing was measured."""
        if self._first is None:
            return None
        amount, seconds = self._first[0] + self._amount, self._first[1] + self._seconds
        return self.left * seconds / amount if amount else None


def is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # it is closed
        return False


def width(stream: TextIO | None) -> int:
    """The columns of the terminal, now."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or UNKNOWN_WIDTH if stream else UNKNOWN_WIDTH
    except (OSError, ValueError):
        return UNKNOWN_WIDTH


def duration(seconds: float) -> str:
    """`0.4 s`, `45 s`, `4 min 32 s`, `25 min` or `2 h 5 min`."""
    whole = round(seconds)
    minutes = round(seconds / 60)
    if seconds < 1:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def speed(per_second: float) -> str:
    """Items a second, or a minute if that is less than one."""
    if per_second >= 1:
        return f"{per_second:,.{0 if per_second >= 100 else 1}f} a second"
    return f"{60 * per_second:.1f} a minute"


def coming() -> tuple[str, dict[str, Any]]:
    """The stage that DVC says it runs, and the plan that `nox -s repro` hands on: by stage, what `Expected` has.

    Both are empty without them, and in all but the first of several processes of a stage.
    """
    name, plan = os.environ.get("DVC_STAGE", ""), json.loads(os.environ.get(PLAN, "{}"))
    return (name, plan) if name in plan and "RANK" not in os.environ else ("", {})


def heading() -> str | None:
    """`[7/21] sft: about 4 min 10 s, all done at about 14:32`, less what is not known; None if no plan is there."""
    name, plan = coming()
    if not name:
        return None
    place = list(plan).index(name)
    left = [stage["seconds"] for stage in list(plan.values())[place:]]
    about = [] if left[0] is None else [f"about {duration(left[0])}"]
    about += [] if None in left else [f"all done at about {clock_in(sum(left))}"]
    return f"[{place + 1}/{len(plan)}] {name}{': ' if about else ''}{', '.join(about)}"


def clock_in(seconds: float) -> str:
    return time.strftime("%H:%M", time.localtime(time.time() + seconds))


def record(seconds: float) -> None:
    """Note how long a stage of the plan took, for the next plan."""
    from hallmark.base.files import write_json

    name, plan = coming()
    if name:
        times = json.loads(TIMES.read_text(encoding="utf-8")) if TIMES.exists() else {}
        write_json(TIMES, times | {name: {"seconds": round(seconds, 1), "yardstick": plan[name]["yardstick"]}})
