"""When and on which machine a figure was measured, and what else ran there: how a report records it, and how people are told."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Fingerprint = dict[str, Any]
# The parts of a fingerprint that identify the machine. Threads, device and code path are params, and torch with its
# libraries is in requirements.lock: when these change, DVC runs a stage again by itself. Python, libc and driver are
# left out: they hardly affect latency, and a security update is no reason to measure again. So is the instruction set,
# which the processor decides, and only torch can tell.
IDENTITY = ("machine", "processor", "gpu")
ENDPOINT = "endpoint"  # what a benchmark calls a server that is not its own
UNKNOWN = "when and where is not recorded"  # for reports older than this stamp
# Shares of the cores' time over which a machine is busy. A tenth of two cores is a fifth of one: with less, even threads that
# wait for each other take at most a quarter longer. A hypervisor steals only from cores that have work, so half is too much.
BUSY = {"processes": (0.10, "other processes took"), "stolen": (0.05, "other virtual machines took")}


def today() -> str:
    """Today's date in UTC, as reports write it."""
    return datetime.now(UTC).date().isoformat()


def stamp(fingerprint: Fingerprint) -> dict[str, Any]:
    """The value of a report's `measured` key: today's date in UTC, and the machine."""
    return {"date": today(), "machine": fingerprint}


def same_machine(left: Fingerprint, right: Fingerprint) -> bool:
    """Whether two fingerprints come from the same machine (or identical ones), whatever software it runs."""
    return all(left.get(key) == right.get(key) for key in IDENTITY)


def describe(machine: Fingerprint) -> str:
    """The machine in a short phrase: `AMD EPYC 9B45, 2 threads, AVX512`, or its GPU, processor and threads."""
    processor = re.sub(r" \([^()]*\bfamily [^()]*\)$", "", machine.get("processor") or "")  # family and model numbers
    processor = " ".join(re.sub(r"\((?:R|TM|tm)\)", "", processor).split())
    threads, gpu = machine.get("threads"), machine.get("gpu")
    parts = [gpu, processor or machine.get("machine") or "a machine of unknown kind"]
    parts.append(threads and f"{threads} thread{'' if threads == 1 else 's'}")
    if not gpu and machine.get("instruction_set") != "DEFAULT":  # torch's word for "no special code path"
        parts.append(machine.get("instruction_set"))
    return ", ".join(part for part in parts if part)


def when_and_where(report: dict[str, Any], here: Fingerprint | None = None) -> str:
    """`measured 2026-11-26 on AMD EPYC 9B45, 2 threads, AVX512` for a report with a stamp, else UNKNOWN.

    For an endpoint, the machine is the client. `here` is this machine's fingerprint: if it is given and differs, the
    text says "not this machine".
    """
    measured = report.get("measured")
    if not measured:
        return UNKNOWN
    way = "at an endpoint, asked from" if report.get("server") == ENDPOINT else "on"
    other = ", not this machine" if here is not None and not same_machine(measured["machine"], here) else ""
    return f"measured {measured['date']} {way} {describe(measured['machine'])}{other}"


class Others:
    """What others did on this machine while blocks were measured, summed over these blocks.

    Others are all processes but this one and those it started, and whatever a hypervisor gave the cores to meanwhile.
    """

    def __init__(self) -> None:
        """Nothing was measured yet."""
        self._time = self._used = self._stolen = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count what others do while the block runs."""
        before = _spent()
        yield
        time, used, stolen = (end - start for start, end in zip(before, _spent(), strict=True))
        self._time, self._used, self._stolen = self._time + time, self._used + used, self._stolen + stolen

    @property
    def load(self) -> dict[str, float] | None:
        """Shares of the cores' time, as a report has them; None where the kernel doesn't say (only Linux does)."""
        if self._time <= 0:
            return None
        shares = {"processes": self._used, "stolen": self._stolen}
        return {name: round(min(1.0, max(0.0, spent / self._time)), 4) for name, spent in shares.items()}


def _spent() -> tuple[float, float, float]:
    """Seconds so far of the cores that this process may run on: in all, of processes that are not ours, and stolen."""
    import psutil

    if not psutil.LINUX:
        return 0.0, 0.0, 0.0
    own = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            own += times.user + times.system + times.children_user + times.children_system
    mine = os.sched_getaffinity(0)
    # Of cores that are offline there is no line, so the place of a line is not its core's number.
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    numbers = [int(line.split()[0][3:]) for line in lines if re.match(r"cpu\d", line)]
    cores = [times for core, times in zip(numbers, psutil.cpu_times(percpu=True), strict=True) if core in mine]
    used = sum(core.user + core.nice + core.system for core in cores)
    stolen = sum(core.steal for core in cores)
    idle = sum(core.idle + core.iowait + core.irq + core.softirq for core in cores)
    return used + stolen + idle, used - own, stolen


def busy(load: Mapping[str, Any] | None) -> str:
    """What made a machine too busy for its timings to count, in a sentence; empty if nothing did, or nobody looked."""
    over = {who: load[name] for name, (share, who) in BUSY.items() if load and load[name] > share}
    said = " and ".join(f"{who} {100 * share:.4g} %" for who, share in over.items())
    return f"The machine was busy meanwhile: {said} of its processor time." if said else ""
