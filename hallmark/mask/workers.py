"""Work on chunks of rows, in order, by several workers that each load the models once: processes here, or on a Ray cluster."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice
from multiprocessing import get_context
from typing import Any, Generic, TypeVar

from hallmark.base.errors import HallmarkError
from hallmark.mask.ray_cluster import Actor, Ray

CHUNK = 64  # rows masked together, which is one batch of the NER model: a different number may give different bytes
AHEAD = 4  # most chunks that a worker has; and, for each worker, that are not done or wait for an earlier one
TRIES = 3  # workers that a chunk may end before its rows are tried alone, and that a row may end before it is left out
MOST_CRASHED = 10  # rows that may be left out
REMEDY = "memory may have run out: lower mask.workers, or take a machine with more"
WORKER: dict[str, Any] = {}  # what a process has loaded: each has its own masker
Chunk = list[Any]
Where = Callable[[Chunk], dict[str, Any]]
LeaveOut = Callable[[Chunk], None] | None
T = TypeVar("T")
R = TypeVar("R")


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of `CHUNK` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def spread(
    workers: int,
    start: Callable[..., T],
    args: tuple[Any, ...],
    work: Callable[[Chunk], R],
    items: Iterator[Chunk],
    ready: Callable[[T], None] = lambda _: None,
    where: Where = lambda _: {},
    ray: Ray | None = None,
    leave_out: LeaveOut = None,
) -> Iterator[tuple[Chunk, R]]:
    """Every chunk, in order, with `work` applied to it on that many workers; a single chunk runs in this process.

    `ready` gets what `start` returned once the models are loaded. A chunk whose worker dies is done again by another. Of one
    that no worker survives, the rows that none survives alone go to `leave_out`, and the others are a chunk without them; it
    is an error, without `leave_out` or such rows: `where` says which file and row. `ray`: the cluster; None: processes here.
    """
    first = list(islice(items, 2))
    items = chain(first, items)
    if len(first) < 2 or (workers == 1 and ray is None):
        ready(start(*args))
        yield from ((chunk, work(chunk)) for chunk in items)
        return
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # parallel by process, not by thread
    with ray.connected(workers) if ray else nullcontext(Process) as new:
        lanes = [Lane(new, start, args, work) for _ in range(workers)]
        try:
            yield from _in_order(lanes, items, ready, where, leave_out)
        finally:
            for lane in lanes:
                lane.worker.close()


class Process:
    """A worker on this machine. `died`: the errors of calls that a worker did not survive, or had no memory for."""

    died = (BrokenExecutor, MemoryError)

    def __init__(self) -> None:
        self.pool = ProcessPoolExecutor(1, get_context("spawn"))

    def call(self, function: Callable[..., R], *args: Any) -> Future[R]:
        """The result to come."""
        try:
            return self.pool.submit(function, *args)
        except BrokenExecutor as error:  # it died with nothing to do
            lost: Future[R] = Future()
            lost.set_exception(error)
            return lost

    start = call

    def close(self) -> None:
        """End it after the call that it is in."""
        self.pool.shutdown(cancel_futures=True)


@dataclass
class Task(Generic[R]):
    """A chunk. `result`: of the last call for it, which counts once it is `done`. `alone`: a worker that had it died, and
    another does it with no other task, so that its `tries` are workers that died in it, and in nothing else."""

    chunk: Chunk
    alone: bool = False
    is_row: bool = False  # of a chunk that no worker survived
    result: Future[R] | None = None
    done: bool = False
    tries: int = 0
    rows: list[Task[R]] = field(default_factory=list)  # tried alone
    crashed: Chunk = field(default_factory=list)  # rows that were left out of it


@dataclass
class Lane(Generic[R]):
    """A worker and the tasks that it has, in the order in which it does them; another follows if it dies."""

    new: Callable[[], Process | Actor]
    start: Callable[..., Any]
    args: tuple[Any, ...]
    work: Callable[[Chunk], R]
    tasks: deque[Task[R]] = field(default_factory=deque)
    up: bool = False
    deaths: int = 0  # before it was up

    def __post_init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.up, self.worker = False, self.new()
        self.started = self.worker.start(self.start, *self.args)

    def give(self, task: Task[R]) -> None:
        """Have the worker do it after those that it has."""
        task.result = self.worker.call(self.work, task.chunk)
        self.tasks.append(task)

    @property
    def free(self) -> bool:
        """Whether it can have another task."""
        return self.up and len(self.tasks) < AHEAD and not any(task.alone for task in self.tasks)

    def next(self) -> list[Future[Any]]:
        """What it is at; nothing if it has no task."""
        results = [task.result for task in islice(self.tasks, 1) if task.result]
        return results if self.up else [self.started]

    def look(self) -> list[Task[R]]:
        """Take note of what is done. Returns the tasks of a worker that died, or nothing."""
        while (futures := self.next()) and futures[0].done():
            error = futures[0].exception()
            if isinstance(error, self.worker.died):
                return self._died()
            if self.up:
                self.tasks.popleft().done = True  # an error too, which is raised in its turn
            elif error:
                raise error
            self.up, self.deaths = True, 0
        return []

    def _died(self) -> list[Task[R]]:
        lost, self.tasks = [*self.tasks], deque()
        if self.up:
            for task in lost:
                task.alone, task.tries = True, task.tries + (len(lost) == 1)
        else:
            self.deaths += 1
            if self.deaths == TRIES:
                raise HallmarkError(
                    f"{TRIES} workers died while they loaded the models", param="mask.workers", remedy=REMEDY
                )
        self.worker.close()
        self._begin()
        return lost


def _in_order(
    lanes: list[Lane[R]], items: Iterator[Chunk], ready: Callable[[Any], None], where: Where, leave_out: LeaveOut
) -> Iterator[tuple[Chunk, R]]:
    """The chunks with their results; a task goes to the worker that is up and has the fewest."""
    taken: deque[Task[R]] = deque()  # in order
    again: deque[Task[R]] = deque()  # of them, those whose worker died, and rows of those
    is_ready, more, crashed = False, True, 0

    def ended(task: Task[R], others: str = "") -> HallmarkError:
        place = where(task.chunk)
        what = f"{place.pop('what', 'a chunk')} ended {TRIES} workers, one after the other (killed, or crashed){others}"
        return HallmarkError(what, **place, remedy=f"leave those rows out, or shorten them; or {REMEDY}")

    while more or taken:
        for task in [task for lane in lanes for task in lane.look()]:
            if task.tries < TRIES:
                again.append(task)
            elif leave_out is None or (task.is_row and crashed == MOST_CRASHED):
                raise ended(task, f", as {crashed} rows did before" if crashed else "")
            elif task.is_row:
                task.done, crashed = True, crashed + 1
            else:
                task.rows = [Task([row], alone=True, is_row=True) for row in task.chunk]
                again += task.rows
        for task in [task for task in taken if task.rows and all(row.done for row in task.rows)]:
            if not (out := [row.chunk[0] for row in task.rows if row.tries == TRIES]):
                raise ended(task)
            task.crashed += out
            task.chunk, task.rows, task.tries = [row.chunk[0] for row in task.rows if row.tries < TRIES], [], 0
            again.append(task)
        if not is_ready and (up := [lane for lane in lanes if lane.up]):
            is_ready = True
            ready(up[0].started.result())
        while (again or (more and len(taken) < AHEAD * len(lanes))) and (free := [lane for lane in lanes if lane.free]):
            lane = min(free, key=lambda lane: len(lane.tasks))
            if again and lane.tasks:  # it is done alone
                break
            if again:
                task = again.popleft()
            else:
                try:
                    task = Task(next(items))
                except StopIteration:
                    more = False
                    break
                taken.append(task)
            lane.give(task)
        while taken and taken[0].done and (result := taken[0].result):
            if leave_out:
                leave_out(taken[0].crashed)
            yield taken.popleft().chunk, result.result()
        if more or taken:
            wait([future for lane in lanes for future in lane.next()], return_when=FIRST_COMPLETED)
