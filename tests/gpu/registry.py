"""What a part is, and the record that it fills: one line a check, each of which stands alone.

A part is a function with the decorator `part` in one of `MODULES`; to add one, add a function there.
"""

from __future__ import annotations

import importlib
import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

MODULES = ("training", "batches", "memory", "resume", "evaluation", "serving", "several")
LIMIT = 480  # seconds for a part, unless it says otherwise
TRACE = 12  # last lines of a traceback that are kept

State = Literal["passed", "failed", "skipped"]
T = TypeVar("T")


class Skipped(Exception):  # noqa: N818
    """What a check or a part needs is not on this machine."""


class Failed(Exception):  # noqa: N818
    """A check that does not hold."""


@dataclass
class Line:
    """One check: `words` for a reader, `values` for a program."""

    check: str
    state: State = "passed"
    words: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    traceback: list[str] = field(default_factory=list)

    def expect(self, holds: bool, problem: str) -> None:
        """End the check with this problem, unless it holds. What was measured so far stays."""
        if not holds:
            raise Failed(problem)


@dataclass
class Bench:
    """Where a part runs, and its lines so far, which are written to `file` after each."""

    device: Literal["cpu", "cuda"]
    tiny: bool  # tiny models and few steps
    here: bool  # run stages in this process: for tests; a stage that dies then takes the part along
    scratch: Path  # a folder that the parts of a run share
    file: Path | None = None
    lines: list[Line] = field(default_factory=list)

    def size(self, real: T, tiny: T) -> T:
        """The number for this run."""
        return tiny if self.tiny else real

    def some(self, items: Sequence[T]) -> Sequence[T]:
        """All of the items; of a tiny run only the first, which shows that the code works."""
        return items[:1] if self.tiny else items

    @contextmanager
    def line(self, check: str) -> Iterator[Line]:
        """One check. Whatever goes wrong in the block is recorded, and the part goes on after it."""
        line, start = Line(check), time.perf_counter()
        try:
            yield line
        except Exception as error:
            line.state = "skipped" if isinstance(error, Skipped) else "failed"
            line.error = str(error) or type(error).__name__
            if not isinstance(error, Skipped | Failed):
                line.error = f"{type(error).__name__}: {error}"
                line.traceback = traceback.format_exc().splitlines()[-TRACE:]
        line.seconds = round(time.perf_counter() - start, 1)
        self.lines.append(line)
        said = line.error or line.words
        print(f"  {line.state:7} {check}{': ' if said else ''}{said.splitlines()[0] if said else ''}", flush=True)
        if self.file:
            write(self.file, {"state": "running", "lines": [asdict(one) for one in self.lines]})


@dataclass(frozen=True)
class Part:
    """A part by its name; `does` is a sentence for `--list` and the page."""

    name: str
    does: str
    run: Callable[[Bench], None]
    limit: int


PARTS: dict[str, Part] = {}


def part(name: str, does: str, limit: int = LIMIT) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Register a function as the part of this name, stopped after `limit` seconds."""

    def register(run: Callable[[Bench], None]) -> Callable[[Bench], None]:
        PARTS[name] = Part(name, does, run, limit)
        return run

    return register


def parts() -> dict[str, Part]:
    """All parts by name, in the order in which they run."""
    for module in MODULES:
        importlib.import_module(f"tests.gpu.{module}")
    return PARTS


def run_part(part: Part, bench: Bench) -> dict[str, Any]:
    """Run a part; its state, its seconds and its lines, which are also in `bench.file`."""
    start, reason = time.perf_counter(), None
    try:
        part.run(bench)
    except Skipped as skipped:
        reason = str(skipped)
    except Exception:
        with bench.line("the part itself"):  # what was not inside any line
            raise
    result = {
        "state": "skipped" if reason else state_of([line.state for line in bench.lines]),
        "reason": reason,
        "seconds": round(time.perf_counter() - start, 1),
        "lines": [asdict(line) for line in bench.lines],
    }
    if bench.file:
        write(bench.file, result)
    return result


def state_of(states: list[State]) -> State:
    """The state of a part with these lines."""
    if "failed" in states or not states:
        return "failed"
    return "passed" if "passed" in states else "skipped"


def write(file: Path, result: dict[str, Any]) -> None:
    """Write a result whole or not at all: the process may be stopped at any moment."""
    half = file.with_suffix(".half")
    half.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    half.replace(file)
