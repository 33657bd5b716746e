"""Numbers that differ from run to run (seconds, memory, speed), kept out of the reports whose bytes must repeat."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hallmark.base.files import REPORTS, write_json


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
    kibibytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    if sys.platform == "darwin":  # which reports bytes
        kibibytes //= 1024
    values |= {"seconds": round(time.perf_counter() - start, 2), "peak_memory_mib": kibibytes // 1024}
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        values["peak_device_memory_mib"] = torch.cuda.max_memory_allocated() // 2**20
    write_json(file, values)
