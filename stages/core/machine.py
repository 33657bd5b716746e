"""When and on which machine a figure was measured: how a report records it, and how it is shown to people."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

Fingerprint = dict[str, Any]
# The parts of a fingerprint that identify the machine. Threads, device and code path are params, and torch with its
# libraries is in requirements.lock: when these change, DVC runs a stage again by itself. Python, libc and driver are
# left out: they hardly affect latency, and a security update is no reason to measure again.
IDENTITY = ("machine", "processor", "instruction_set", "gpu")
ENDPOINT = "endpoint"  # what a benchmark calls a server that is not its own
UNKNOWN = "when and where is not recorded"  # for reports older than this stamp


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
