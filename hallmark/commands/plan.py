"""Will it fit, how long will it take, what will it cost: before weights are downloaded and a machine is rented.

`python -m hallmark.commands.plan` (`nox -s plan`) looks at params.yaml, the records and the base's config.json. Exit code 1 if
the run doesn't fit. `--rows 100000000 --workers 32` instead says what masking that many rows would take, by the last run of `mask`.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.progress import duration
from hallmark.params.loader import Params, load_params
from hallmark.plan.advice import Change, changes, gib, remedy
from hallmark.plan.bases import folder_of
from hallmark.plan.batches import training
from hallmark.plan.estimate import Estimate, estimate
from hallmark.plan.lengths import lengths
from hallmark.plan.machine import Machine, at_hand, named, usable
from hallmark.plan.masking import masking
from hallmark.plan.sizes import configuration, sizes

log = logging.getLogger("plan")

AHEAD = 1.25  # times as fast as bfloat16 that float32 must be to be worth its memory


def main(arguments: argparse.Namespace) -> None:
    """Print the plan; a HallmarkError if it doesn't fit, which says by how much, and what would."""
    from hallmark.model.tuning import quiet

    quiet()
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # which PEFT imports
    params = load_params(arguments.params)
    price = arguments.price_per_hour if arguments.price_per_hour is not None else params.benchmark.price_per_hour
    if arguments.price_per_hour is not None and not 0 <= arguments.price_per_hour < 1e12:
        raise HallmarkError("not a price", field="--price-per-hour", remedy="give a number, such as 1.20")
    if arguments.rows is not None:
        mask = masking(arguments.rows, arguments.workers or params.mask.workers, price)
        print(json.dumps(asdict(mask), indent=2) if arguments.json else "\n".join(mask.lines()))
        return
    machine = named(arguments.gpu) if arguments.gpu else at_hand(params.compute)
    with tempfile.TemporaryDirectory() as temporary:
        name, base = folder_of(params, arguments.base, Path(temporary))
        found = estimate(params, base, machine)
        fitting = [] if found.fits else what_fits(params, base, machine, found)
    if arguments.json:
        print(json.dumps(as_json(name, found, price, fitting), indent=2))
    else:
        print("\n".join(table(name, params, machine, found, price)))
    if not found.fits:
        raise too_large(params, found, fitting)


def what_fits(params: Params, base: Path, machine: Machine, found: Estimate) -> list[Change]:
    """Changes of `sft` with which training fits; none if training is not what is too large."""
    assert machine.usable is not None
    if found.training_bytes <= machine.usable:
        return []
    batch, size = training(params, lengths(params, base)).largest, sizes(configuration(base), params.sft.lora)
    return changes(size, params.sft, batch, machine.device, machine.usable)


def too_large(params: Params, found: Estimate, fitting: list[Change]) -> HallmarkError:
    assert found.limit_bytes is not None
    most = usable(found.limit_bytes)
    batch = f"lower eval.batch_size ({params.eval.batch_size}), or take a smaller base"
    cache = "give the server a smaller cache, measure one model, or take a smaller base"
    parts = [
        (found.training_bytes, "training", "sft", remedy(fitting)),
        (found.evaluation_bytes, "evaluation", "eval.batch_size", batch),
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
    if found.float32_ahead is not None and found.float32_ahead >= AHEAD:
        lines += [
            "",
            f"This processor multiplies {found.float32_ahead:.1f} times as fast in float32 as in bfloat16: `sft.dtype: float32` "
            "trains faster, and takes more memory.",
        ]
    return lines


def as_json(name: str, found: Estimate, price: float | None, fitting: list[Change]) -> dict[str, Any]:
    """The plan for programs; seconds and price are null if the device's speed is unknown."""
    values = {
        key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(found).items()
    }
    seconds = found.training_seconds + found.evaluation_seconds
    cost = None if price is None or math.isnan(seconds) else round(price * seconds / 3600, 4)
    would = [{"params": change.values, "training_bytes": change.training_bytes} for change in fitting]
    return {"base": name, **values, "fits": found.fits, "price": cost, "would_fit": would}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.plan", description=__doc__)
    parser.add_argument("--base", metavar="BASE", help="a folder with config.json, a known base, or OWNER/NAME@COMMIT of the hub (default: the base in the params)")  # fmt: skip
    parser.add_argument("--gpu", metavar="GPU", help="a GPU that is not at hand: its model (L4, A100, H100, ...) or its memory (24GiB)")  # fmt: skip
    parser.add_argument("--price-per-hour", type=float, metavar="PRICE", help="of the machine, in any currency (default: benchmark.price_per_hour)")  # fmt: skip
    parser.add_argument(
        "--rows", type=int, metavar="ROWS", help="what masking that many rows would take, instead of the run"
    )
    parser.add_argument(
        "--workers", type=int, metavar="WORKERS", help="for --rows: by that many (default: mask.workers)"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    run_stage("plan", __doc__, main, parser)
