"""What a part is, and how its checks are told: a line each, printed as it ends; each stands alone.

A part is a function with the decorator `part` in one of `MODULES`; to add one, add a function there.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

MODULES = ("training", "batches", "memory", "resume", "evaluation", "serving", "several")
LIMIT = 480  # seconds for a part, unless it says otherwise
TRACE = -12  # frames of a traceback that are shown

State = Literal["passed", "failed", "skipped"]
T = TypeVar("T")


class Skipped(Exception):  # noqa: N818
    """What a check or a part needs is not on this machine."""


class Failed(Exception):  # noqa: N818
    """A check that does not hold."""


def expect(holds: bool, problem: str) -> None:
    """End the check with this problem, unless it holds."""
    if not holds:
        raise Failed(problem)


@dataclass
class Bench:
    """Where a part runs, and the states of its checks so far."""

    device: Literal["cpu", "cuda"]
    tiny: bool  # tiny models and few steps
    here: bool  # run stages in this process: for tests; a stage that dies then takes the part along
    scratch: Path  # a folder that the parts of a run share
    states: list[State] = field(default_factory=list)

    def size(self, real: T, tiny: T) -> T:
        """The number for this run."""
        return tiny if self.tiny else real

    def some(self, items: Sequence[T]) -> Sequence[T]:
        """All of the items; of a tiny run only the first, which shows that the code works."""
        return items[:1] if self.tiny else items

    @contextmanager
    def check(self, name: str) -> Iterator[list[str]]:
        """One check; what the block puts into the list is told with it. Whatever goes wrong is told, and the part goes on."""
        words: list[str] = []
        state: State = "passed"
        try:
            yield words
        except (Skipped, Failed) as error:
            state = "skipped" if isinstance(error, Skipped) else "failed"
            words = [str(error)]
        except Exception:
            state = "failed"
            words = [traceback.format_exc(limit=TRACE).strip()]
        self.states.append(state)
        print(f"  {state:7} {name}{': ' if words else ''}{'; '.join(words)}", flush=True)

    @property
    def state(self) -> State:
        if "failed" in self.states or not self.states:
            return "failed"
        return "passed" if "passed" in self.states else "skipped"


@dataclass(frozen=True)
class Part:
    """A part by its name; `does` is a sentence for `--list`."""

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


def run_part(part: Part, bench: Bench) -> State:
    """Run a part, and tell its checks and what went wrong outside of any."""
    try:
        part.run(bench)
    except Skipped as skipped:
        print(f"  skipped: {skipped}", flush=True)
        return "skipped"
    except Exception:
        with bench.check("the part itself"):
            raise
    return bench.state
