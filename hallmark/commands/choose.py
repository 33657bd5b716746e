"""Not a stage: find the smallest base that will do, of those in `choose.bases`: `python -m hallmark.commands.choose`.

Hard limits first: licence, chat template, context, 4-bit kernels and memory are known before any weights are fetched. Each
base that is left is run as a `dvc exp run`, smallest first, until one passes the gate and is within the limits on latency
and price. `--all` runs all of them, `--dry` none. Writes reports/choose.json, which belongs in git, and the page
reports/choose.html. Needs data/deduped.parquet, which `dvc repro dedupe` makes without any base.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import DEDUPED
from hallmark.base.records import read_records
from hallmark.commands import choice as shown
from hallmark.commands.candidates import Facts, examine, told
from hallmark.commands.choice import Choice, Limits, Row
from hallmark.commands.experiments import changed, check_set, copies, find, name_of, overrides, read, run
from hallmark.model.base_params import Candidate
from hallmark.params.loader import Params, load_params, merged, resolved

log = logging.getLogger("choose")

EXAMPLE = """  bases:
    - base: {base}
      set: {{}}
    - base: {{source: hub, name: Qwen/Qwen3-0.6B, licence: apache-2.0, revision: c1899de289a04d12100db370d81485cdf75e47ca,
        chat_template_kwargs: {{enable_thinking: false}}}}
      set: {{sft.learning_rate: 4.0e-4, sft.lora.layers: null}}"""


def candidates(params: Params, raw: dict[str, Any]) -> list[tuple[Candidate, Params, dict[str, Any]]]:
    """Each base of `choose.bases` with the params that it is run with, checked, and the same as plain data."""
    if not params.choose.bases:
        base = ", ".join(f"{key}: {_yaml(value)}" for key, value in params.base.model_dump(mode="json").items())
        raise HallmarkError(
            "no bases to choose from",
            param="choose.bases",
            remedy=f"list them, smallest first (docs/decision.md has more):\n{EXAMPLE.format(base=f'{{{base}}}')}",
        )
    found = []
    for number, candidate in enumerate(params.choose.bases):
        wanted = merged(changed(raw, candidate))
        try:
            found.append((candidate, Params.model_validate(wanted), wanted))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise HallmarkError(
                f"with the params of {candidate.base.name}: '{where}': {first['msg']}",
                param=f"choose.bases.{number}.set",
                remedy=f"change it in `set`; `nox -s params -- {where}` shows value, default and effect",
            ) from None
    names = [name_of(candidate) for candidate, _, _ in found]
    if twice := [
        candidate.base.name for (candidate, _, _), name in zip(found, names, strict=True) if names.count(name) > 1
    ]:
        raise HallmarkError(
            f"{twice[0]} is named twice", param="choose.bases", remedy="remove one, or let their `set` differ"
        )
    return found


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else str(value).replace("True", "true").replace("False", "false")


def choose(
    params: Params,
    raw: dict[str, Any],
    *,
    everything: bool = False,
    dry: bool = False,
    price_per_hour: float | None = None,
) -> Choice:
    """Examine all bases, then run those that are left; report and page are written after each."""
    price_per_hour = params.benchmark.price_per_hour if price_per_hour is None else price_per_hour
    limit = params.choose
    limits = Limits(limit.licences, limit.memory_gib, limit.latency_p95_s, limit.price_per_1000_right, price_per_hour)
    if limits.price_per_1000_right is not None and price_per_hour is None:
        raise HallmarkError(
            "a limit, but no price of the machine",
            param="choose.price_per_1000_right",
            remedy="set benchmark.price_per_hour, or give --price-per-hour",
        )
    if prov.git("rev-parse", "--verify", "HEAD") is None:
        remedy = "`git init`, `dvc init`, and commit the project: experiments are commits"
        raise HallmarkError("not a git repository with a commit", file=Path.cwd(), remedy=remedy)
    bases = candidates(params, raw)
    records = read_records(DEDUPED)
    found = Choice([], limits, everything, dry, len(records))
    for candidate, own, _ in bases:
        log.info("looking at %s", printable(candidate.base.name))
        with tempfile.TemporaryDirectory() as scratch:
            facts, excluded = examine(own, records, Path(scratch))
        found.rows.append(Row(facts, excluded))
    found.warnings = warnings([row.facts for row in found.rows])
    shown.write(found)
    if dry:
        return found
    for row, (candidate, own, wanted) in zip(found.rows, bases, strict=True):
        if row.excluded:
            continue
        tried(row, candidate, own, raw, wanted, limits)
        shown.write(found)
        if row.passes and not everything:
            break
    return found


def tried(
    row: Row, candidate: Candidate, own: Params, raw: dict[str, Any], wanted: dict[str, Any], limits: Limits
) -> None:
    """Run a base, or take the experiment there is, and note what came of it. A failed run is noted too."""
    name = name_of(candidate)
    try:
        if earlier := find(name, wanted):
            log.info("%s: experiment %s has it already", printable(candidate.base.name), earlier[0])
        else:
            log.info("%s: running as experiment %s", printable(candidate.base.name), name)
        row.run = read(*(earlier or run(name, sets(raw, wanted), copies(wanted))), own)
    except HallmarkError as error:
        row.error = error.problem if error.file is None else told(error)
        log.warning("%s: %s", printable(candidate.base.name), printable(row.error))
        return
    row.price_per_1000_right = shown.price_of(row.run, limits.price_per_hour)
    row.excluded = shown.over_limit(row, limits)


def sets(raw: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """The values of `-S` for a base, checked."""
    values = overrides(raw, wanted)
    check_set(values, wanted)
    return values


def warnings(facts: list[Facts]) -> list[str]:
    """What deserves a word of the list as a whole: bases that are not in the order of their size."""
    sized = [fact for fact in facts if fact.parameters is not None]
    return [
        f"{after.name} is smaller than {before.name}, which is before it: choose.bases is tried in its order."
        for before, after in pairwise(sized)
        if (after.parameters or 0) < (before.parameters or 0)
    ]


def main(arguments: argparse.Namespace) -> None:
    """Command line: print the table; an error if no base passes."""
    params = load_params(arguments.params)
    raw = resolved(arguments.params)
    found = choose(params, raw, everything=arguments.all, dry=arguments.dry, price_per_hour=arguments.price_per_hour)
    print("\n".join(["", *shown.table(found), ""]))
    for warning in found.warnings:
        print(printable(warning))
    print(printable(found.headline))
    if found.chosen and found.chosen.run:
        print(f"next: `dvc exp apply {found.chosen.run.experiment}`, then `nox -s repro` for its page and release")
    print(f"page: {shown.PAGE}")
    if not found.chosen and not arguments.dry:
        raise HallmarkError(
            "no base passes the gate within the limits",
            param="choose.bases",
            remedy="the last column says what each lacks: add a larger base, or more data, or change a limit that need not hold",
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.choose", description=__doc__)
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--all", action="store_true", help="run every base within the limits, also after one has passed")
    some.add_argument("--dry", action="store_true", help="run none: show what is known of each, and which would run")
    parser.add_argument(
        "--price-per-hour",
        type=_price,
        metavar="PRICE",
        help="price of the machine (default: benchmark.price_per_hour)",
    )
    return parser


def _price(text: str) -> float:
    price = float(text)
    if not 0 <= price <= 1e12:
        raise argparse.ArgumentTypeError("not a price")
    return price


if __name__ == "__main__":
    run_stage("choose", __doc__, main, _parser())
