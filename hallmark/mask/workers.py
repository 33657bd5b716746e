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
TRIES = 3  # workers that a chunk may end before it is an error
WORKER: dict[str, Any] = {}  # what a process has loaded: each has its own masker
T = TypeVar("T")
R = TypeVar("R")


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of `CHUNK` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def spread(
    workers: int,
    start: Callable[..., None],
    args: tuple[Any, ...],
    work: Callable[[T], R],
    items: Iterator[T],
    ready: Callable[[], None] = lambda: None,
    where: Callable[[T], dict[str, Any]] = lambda _: {},
    ray: Ray | None = None,
) -> Iterator[tuple[T, R]]:
    """Every chunk, in order, with `work` applied to it on that many workers; a single chunk runs in this process.

    `ready` is called when the models are loaded. A chunk whose worker dies is done again by another; `where` says of one
    that no worker survives which file and row it is, for the error. `ray`: the cluster; None: processes of this machine.
    """
    first = list(islice(items, 2))
    items = chain(first, items)
    if len(first) < 2 or (workers == 1 and ray is None):
        start(*args)
        ready()
        yield from ((chunk, work(chunk)) for chunk in items)
        return
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # parallel by process, not by thread
    with ray.connected(workers) if ray else nullcontext(Process) as new:
        lanes = [Lane[T, R](new, start, args, work, where) for _ in range(workers)]
        try:
            yield from _in_order(lanes, items, ready)
        finally:
            for lane in lanes:
                lane.worker.close()


class Process:
    """A worker on this machine. `died`: the errors of calls that a worker did not survive."""

    died = (BrokenExecutor,)

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
class Task(Generic[T, R]):
    """A chunk. `result`: of the last call for it, which counts once it is `done`. `alone`: a worker that had it died, and
    another does it with no other task, so that its `tries` are workers that died in it, and in nothing else."""

    chunk: T
    result: Future[R] | None = None
    done: bool = False
    alone: bool = False
    tries: int = 0


@dataclass
class Lane(Generic[T, R]):
    """A worker and the tasks that it has, in the order in which it does them; another follows if it dies."""

    new: Callable[[], Process | Actor]
    start: Callable[..., None]
    args: tuple[Any, ...]
    work: Callable[[T], R]
    where: Callable[[T], dict[str, Any]]
    tasks: deque[Task[T, R]] = field(default_factory=deque)
    up: bool = False
    deaths: int = 0  # before it was up

    def __post_init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.up, self.worker = False, self.new()
        self.started = self.worker.start(self.start, *self.args)

    def give(self, task: Task[T, R]) -> None:
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

    def look(self) -> list[Task[T, R]]:
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

    def _died(self) -> list[Task[T, R]]:
        lost, self.tasks = [*self.tasks], deque()
        remedy = "memory may have run out: lower mask.workers, or take a machine with more"
        if self.up:
            for task in lost:
                task.alone, task.tries = True, task.tries + (len(lost) == 1)
            if lost and lost[0].tries == TRIES:
                place = self.where(lost[0].chunk)
                raise HallmarkError(
                    f"{place.pop('what', 'a chunk')} ended {TRIES} workers, one after the other (killed, or crashed)",
                    **place,
                    remedy=f"leave those rows out, or shorten them; or {remedy}",
                )
        else:
            self.deaths += 1
            if self.deaths == TRIES:
                raise HallmarkError(
                    f"{TRIES} workers died while they loaded the models", param="mask.workers", remedy=remedy
                )
        self.worker.close()
        self._begin()
        return lost


def _in_order(lanes: list[Lane[T, R]], items: Iterator[T], ready: Callable[[], None]) -> Iterator[tuple[T, R]]:
    """The chunks with their results; a task goes to the worker that is up and has the fewest."""
    taken: deque[Task[T, R]] = deque()  # in order
    again: deque[Task[T, R]] = deque()  # of them, those whose worker died
    is_ready, more = False, True
    while more or taken:
        for lane in lanes:
            again += lane.look()
        if not is_ready and any(lane.up for lane in lanes):
            is_ready = True
            ready()
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
            yield taken.popleft().chunk, result.result()
        if more or taken:
            wait([future for lane in lanes for future in lane.next()], return_when=FIRST_COMPLETED)
