"""Work on chunks of rows, on several processes that each load the models once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context
from typing import Any, TypeVar

CHUNK = 64  # rows masked together, which is one batch of the NER model: a different number may give different bytes
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
) -> Iterator[tuple[T, R]]:
    """Every chunk, in order, with `work` applied to it on that many processes; a single chunk runs in this process.

    `ready` is called when the models are loaded.
    """
    first = list(islice(items, 2))
    if len(first) < 2 or workers == 1:
        start(*args)
        ready()
        yield from ((chunk, work(chunk)) for chunk in chain(first, items))
        return
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # parallel by process, not by thread
    with ProcessPoolExecutor(workers, get_context("spawn"), start, args) as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        try:
            pool.submit(int).result()
            ready()
            for chunk in chain(first, items):
                waiting.append((chunk, pool.submit(work, chunk)))
                if len(waiting) > 4 * workers:  # keep only enough in memory to keep every worker busy
                    done, result = waiting.popleft()
                    yield done, result.result()
            while waiting:
                done, result = waiting.popleft()
                yield done, result.result()
        finally:
            pool.shutdown(cancel_futures=True)
