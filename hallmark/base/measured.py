"""Numbers that differ from run to run (seconds, memory, speed), kept out of the reports whose bytes must repeat."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hallmark.base.files import REPORTS, write_json
from hallmark.base.reports import Amount, shape

RAN = shape(seconds=(Amount, 0.0))  # what is read again of such a report


@contextmanager
def measured(stage: str) -> Iterator[dict[str, Any]]:
    """Time the block and write `reports/measured/<stage>.json`: seconds, peak_memory_mib, and the keys the block adds.

    A block that used a GPU also gets peak_device_memory_mib: the most that torch's tensors held there at once.
    """
    values: dict[str, Any] = {}
    file = REPORTS / "measured" / f"{stage}.json"
    with suppress(FileNotFoundError):
        file.open("r+b").close()  # if it can't be written, fail before the work and not after it
    start = time.perf_counter()
    yield values
    values |= {
        "seconds": round(time.perf_counter() - start, 2),
        "peak_memory_mib": max(peak_mib(), peak_mib(resource.RUSAGE_CHILDREN)),
    }
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        values["peak_device_memory_mib"] = torch.cuda.max_memory_allocated() // 2**20
    write_json(file, values)


def peak_mib(who: int = resource.RUSAGE_SELF) -> int:
    """The most memory that this process has taken, or the largest of its children that have ended."""
    kibibytes = resource.getrusage(who).ru_maxrss
    return kibibytes // (2**20 if sys.platform == "darwin" else 1024)  # macOS reports bytes
