"""The line that says how far a stage is: on a terminal, in a log, when nobody reads it, and whether its time left is true."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from hallmark.base import progress as module
from hallmark.base.progress import LOG_SECONDS, Progress


class Clock:
    """Shows the time that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """The lines that a terminal shows: a carriage return goes back to the start of one."""
        lines = []
        for written in self.getvalue().split("\n"):
            shown = ""
            for part in written.split("\r"):
                shown = part + shown[len(part) :]
            lines.append(shown.rstrip())
        return lines


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock of the test's own; the thread that redraws stays quiet, so that tests call `show`."""
    monkeypatch.setattr(module, "DRAW_SECONDS", 1000)
    return Clock()


def test_a_log_has_a_line_every_half_minute_and_one_at_the_end(clock: Clock) -> None:
    log = io.StringIO()
    with Progress("sft", 200, "steps", stream=log, clock=clock) as progress:
        for step in range(1, 201):
            clock.now += 1
            progress.to(step, loss=1 / step, validation_loss=0.5 if step > 100 else None)
            progress.show()
    lines = log.getvalue().splitlines()
    assert lines[0] == "sft: 25 of 200 steps, 2 min 55 s left, loss 0.040"
    assert lines[4] == "sft: 125 of 200 steps, 1 min 15 s left, loss 0.008, validation loss 0.500"
    assert lines[-1] == "sft: 200 of 200 steps in 3 min 20 s, loss 0.005, validation loss 0.500"
    assert len(lines) == 200 // LOG_SECONDS + 1
    assert set(log.getvalue()) & {"\r", "\x1b"} == set()


def test_what_may_end_earlier_has_a_bound_for_the_time_left(clock: Clock) -> None:
    with Progress("sft", 20, "steps", bound=True, silent=True, clock=clock) as progress:
        clock.now += 5
        progress.to(10)
        assert progress.line() == "sft: 10 of 20 steps, at most 5 s left, 2.0 a second"


def test_a_terminal_has_one_line_that_is_redrawn(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "width", lambda _: 40)
    terminal = Terminal()
    with Progress("mask", 20_000, "rows", stream=terminal, clock=clock) as progress:
        progress.show()
        clock.now += 10
        progress.to(10_000)
        progress.show()
        assert terminal.screen() == ["mask: 10,000 of 20,000 rows, 10 s left, "[:39].rstrip()]
        progress.to(10_000, loss=0.5)
        progress.keep()
        clock.now += 9
        progress.to(19_000, loss=None)
        progress.show()
    assert terminal.screen() == [
        "mask: 10,000 of 20,000 rows, 10 s left, loss 0.500",
        "mask: 19,000 of 20,000 rows in 19 s, 1,000 a second",
        "",
    ]
    assert "\x1b" not in terminal.getvalue()


class Broken(Terminal):
    """A stream that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("kind", ["closed", "broken pipe", "none"])
def test_nobody_has_to_read_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream: Any = Terminal()
    if kind == "closed":
        stream.close()
    elif kind != "none":
        stream = Broken()
    monkeypatch.setattr(sys, "stderr", None if kind == "none" else stream)
    with Progress("eval", 3, "records") as progress:
        progress.add(asking="x")
        progress.show()
        progress.keep()
        progress.add(2)
    assert progress.done == 3
