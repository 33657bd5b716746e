"""Will it fit, how long will it take, and what will it cost? Before weights are downloaded or a machine is rented.

`python -m hallmark.commands.plan` (`nox -s plan`) looks at params.yaml, the records and the base's config.json. Exit code 1 if
the run doesn't fit. `--rows 100000000 --workers 32` instead estimates the masking of that many rows, by the last run of `mask`.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import tempfile
from pathlib import Path

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import REPORTS
from hallmark.base.progress import duration
from hallmark.base.reading import read_object
from hallmark.commands.repro import before_release
from hallmark.commands.sweep import number
from hallmark.params.loader import Params, load_params
from hallmark.plan.advice import Change, changes, gib, remedy
from hallmark.plan.bases import folder_of
from hallmark.plan.batches import training
from hallmark.plan.estimate import Estimate, estimate
from hallmark.plan.lengths import lengths
from hallmark.plan.machine import Machine, at_hand, named, usable
from hallmark.plan.sizes import configuration, sizes

FILE = REPORTS / "measured/mask.json"
ROW_BYTES = 60  # that the main process takes for each further row: it remembers ids, to find one that is there twice
MANY = 100_000  # rows of a run, of which starting takes little
FEW = "much of its time was start-up, so this is too high"


def main(arguments: argparse.Namespace) -> None:
    """Print the plan; a HallmarkError if it doesn't fit, which says by how much, and what would."""
    from hallmark.model.tuning import quiet

    quiet()
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # which PEFT imports
    params = load_params(arguments.params)
    price = arguments.price_per_hour if arguments.price_per_hour is not None else params.benchmark.price_per_hour
    if arguments.rows is not None:
        print("\n".join(masking(arguments.rows, arguments.workers or params.mask.workers, price)))
        return
    machine = named(arguments.gpu) if arguments.gpu else at_hand(params.compute)
    with tempfile.TemporaryDirectory() as temporary:
        name, base = folder_of(params, arguments.base, Path(temporary))
        found = estimate(params, base, machine)
        if arguments.seconds:
            print(json.dumps(found.seconds))
            return
        print("\n".join(table(name, params, machine, found, price)))
        print("".join(f"{line}\n" for line in before_release(params, arguments.params)), end="")
        if not found.fits:
            raise too_large(params, base, machine, found)


def masking(rows: int, workers: int, price: float | None) -> list[str]:
    """Time, memory and price, in lines. `price`: of a machine like this one, an hour; a worker takes one of its cores."""
    try:
        last = read_object(FILE)
        share = rows / last["rows"]
        of_workers = share * last["mask_seconds"] * last["workers"] / workers
        # Of one worker that is this process itself, only the reading tells what this process would do for others.
        of_main = share * (last["main_seconds"] if last["workers"] > 1 else last["read_seconds"])
        seconds = share * last["read_seconds"] + max(of_workers, of_main)
        more = max(0, rows - last["rows"]) * ROW_BYTES
        main, worker = last["peak_memory_mib"] / 2**10 + more / 2**30, last["worker_memory_mib"] / 2**10
    except (HallmarkError, OSError, KeyError):  # there is none, or one of an earlier version
        raise HallmarkError("does not say how long mask took", file=FILE, remedy="run `dvc repro mask` first") from None
    machines = math.ceil(workers / (os.cpu_count() or 1))
    cost = "" if price is None else f", price {price * machines * seconds / 3600:,.2f}"
    slow = "The process that reads and writes is slower than the workers: more of them would bring nothing."
    return [
        f"mask: {rows:,} rows, {workers} workers: {duration(seconds)}{cost}",
        *([slow] if of_main > of_workers else []),
        f"memory: {worker:.1f} GiB for each worker, {main:.1f} GiB for the process that reads and writes",
        f"machines like this one: {machines}",
        f"by the last run of mask ({FILE}), of {last['rows']:,} rows: {FEW if last['rows'] < MANY else 'enough to go by'}",
    ]


def too_large(params: Params, base: Path, machine: Machine, found: Estimate) -> HallmarkError:
    """By how much the run is too large, and with which params it would fit."""
    assert found.limit_bytes is not None
    most, fitting = usable(found.limit_bytes), list[Change]()
    if found.training_bytes > most:
        batch, size = training(params, lengths(params, base)).largest, sizes(configuration(base), params.sft.lora)
        fitting = changes(size, params.sft, batch, machine.device, most)
    fewer = f"lower eval.batch_size ({params.eval.batch_size}), or take a smaller base"
    cache = "give the server a smaller cache, measure one model, or take a smaller base"
    parts = [
        (found.training_bytes, "training", "sft", remedy(fitting)),
        (found.evaluation_bytes, "evaluation", "eval.batch_size", fewer),
        (found.serving_bytes, "serving", "benchmark.server", cache),
    ]
    large = [part for part in parts if part[0] > most]
    over = ", ".join(f"{what} by {gib(size - most)}" for size, what, _, _ in large)
    return HallmarkError(
        f"over the {gib(most)} that tensors may take of {gib(found.limit_bytes)}, {over}",
        param=", ".join(param for _, _, param, _ in large),
        remedy=". ".join(f"{what}: {change}" for _, what, _, change in large),
    )


def table(name: str, params: Params, machine: Machine, found: Estimate, price: float | None) -> list[str]:
    device = machine.gpu.name if machine.gpu else "a GPU" if machine.device == "cuda" else "this machine"
    if machine.gpu and machine.gpu.memory != machine.memory and not machine.here:
        device = f"a GPU as fast as {machine.gpu.name}"
    memory = "unknown memory (name a GPU with --gpu)" if machine.memory is None else gib(machine.memory)
    rows = [
        ("training", found.training_bytes, found.training_seconds),
        ("evaluation", found.evaluation_bytes, found.evaluation_seconds),
        ("serving", found.serving_bytes, None),
    ]
    lines = [f"{name} on {device}, {memory}", "", f"{'':14}{'memory':>10}{'time':>12}{'price':>10}"]
    for what, size, seconds in rows:
        known = seconds is not None and not math.isnan(seconds)
        cost = f"{price * seconds / 3600:,.2f}" if known and price is not None and seconds is not None else ""
        took = duration(seconds) if known and seconds is not None else "" if seconds is None else "unknown"
        lines.append(f"{what:14}{gib(size):>10}{took:>12}{cost:>10}".rstrip())
    lines.append("")
    if machine.usable is not None:
        verdict = "fits" if found.fits else "does not fit"
        lines.append(f"{verdict}: {gib(found.needed_bytes)} of the {gib(machine.usable)} that tensors may take")
    lines.append(f"by {found.basis}")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.plan", description=__doc__)
    parser.add_argument("--base", metavar="BASE", help="a folder with config.json, a known base, or OWNER/NAME@COMMIT of the hub (default: the base in the params)")  # fmt: skip
    parser.add_argument("--gpu", metavar="GPU", help="a GPU that is not at hand: its model (L4, A100, H100, ...) or its memory (24GiB)")  # fmt: skip
    count, price = number(int, 1, 10**12), number(float, 0, 1e12)
    parser.add_argument("--price-per-hour", type=price, metavar="PRICE", help="default: benchmark.price_per_hour")
    parser.add_argument("--rows", type=count, metavar="ROWS", help="instead: what masking that many rows would take")
    parser.add_argument("--workers", type=count, metavar="WORKERS", help="for --rows (default: mask.workers)")
    parser.add_argument(
        "--seconds", action="store_true", help="instead: the seconds of each stage that computes, as JSON"
    )
    run_stage("plan", __doc__, main, parser)
