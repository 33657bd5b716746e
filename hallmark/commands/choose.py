"""Not a stage: find the smallest of the bases in `choose.bases` that will do: `python -m hallmark.commands.choose`.

Licence, chat template, context, 4-bit kernels and memory are checked before any weights are fetched. The remaining bases
are run with `dvc exp run`, smallest first, until one passes the gate and is within the limits on latency and price.
`--all` runs all of them, `--dry` none. Writes reports/choose.json and reports/choose.md, which belong in git. Needs
data/deduped.parquet, which `dvc repro dedupe` makes without any base.
"""

from __future__ import annotations

import argparse
import logging
import re
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hallmark.base.document import value_at
from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import DEDUPED
from hallmark.base.records import read_records
from hallmark.commands import sweep
from hallmark.commands.candidates import Facts, examine, told
from hallmark.commands.choice import Choice, Row, read, write
from hallmark.commands.experiments import check_repository, tried, with_values
from hallmark.model.base_params import Candidate
from hallmark.params.loader import Params, load_params, merged, resolved

log = logging.getLogger("choose")

LAST = "gate"  # the stage that an experiment ends with: page and release are made of the base that is chosen


def candidates(params: Params, raw: dict[str, Any]) -> list[tuple[Params, dict[str, Any]]]:
    """The params of each base of `choose.bases`, checked, and the same as plain data."""
    if not params.choose.bases:
        remedy = "list them, smallest first, as docs/decision.md shows"
        raise HallmarkError("no bases to choose from", param="choose.bases", remedy=remedy)
    found: list[tuple[Params, dict[str, Any]]] = []
    for number, candidate in enumerate(params.choose.bases):
        wanted = merged(changed(raw, candidate, number))
        try:
            own = Params.model_validate(wanted)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise HallmarkError(
                f"with the params of {candidate.base.name}: '{where}': {first['msg']}",
                param=f"choose.bases.{number}.set",
                remedy=f"change it in `set`; `nox -s params -- {where}` shows value, default and effect",
            ) from None
        if wanted in (other for _, other in found):
            remedy = "remove one, or let their `set` differ"
            raise HallmarkError(f"{candidate.base.name} is named twice", param="choose.bases", remedy=remedy)
        found.append((own, wanted))
    return found


def changed(raw: dict[str, Any], candidate: Candidate, number: int) -> dict[str, Any]:
    """All params as they are for a base: with its `base` block, and its own params; a HallmarkError for a key that is none."""
    try:
        params = with_values(raw, {"base": candidate.base.model_dump(mode="json")} | candidate.set)
    except HallmarkError as error:
        problem, where = f"{error.problem}: '{error.field}'", f"choose.bases.{number}.set"
        raise HallmarkError(problem, param=where, remedy=error.remedy) from None
    base = params["base"]
    if base["source"] == "folder" and not Path(base["path"]).is_absolute() and ".." in Path(base["path"]).parts:
        base["path"] = str(Path(base["path"]).resolve())  # it runs in another folder
    for name in ("benchmark.server", "eval.engine"):  # python: an environment, which can't be copied
        server = value_at(params, name)
        if isinstance(server, dict) and isinstance(server.get("python"), str):
            server["python"] = str(Path(server["python"]).absolute())
    return params


def choose(
    params: Params,
    raw: dict[str, Any],
    *,
    everything: bool = False,
    dry: bool = False,
    price_per_hour: float | None = None,
) -> Choice:
    price_per_hour = params.benchmark.price_per_hour if price_per_hour is None else price_per_hour
    if params.choose.price_per_1000_right is not None and price_per_hour is None:
        problem, remedy = "a limit, but no price of the machine", "set benchmark.price_per_hour, or --price-per-hour"
        raise HallmarkError(problem, param="choose.price_per_1000_right", remedy=remedy)
    check_repository()
    bases = candidates(params, raw)
    records = read_records(DEDUPED)
    found = Choice([], params.choose, price_per_hour, everything, dry, len(records))
    for own, _ in bases:
        log.info("looking at %s", printable(own.base.name))
        with tempfile.TemporaryDirectory() as scratch:
            facts, excluded = examine(own, records, Path(scratch))
        found.rows.append(Row(facts, excluded))
    found.warnings = warnings([row.facts for row in found.rows])
    write(found)
    for row, (own, wanted) in zip(found.rows, bases, strict=True):
        if dry or (found.chosen and not everything):
            break
        if row.excluded is None:
            run(row, own, raw, wanted, price_per_hour)
            write(found)
    return found


def run(row: Row, own: Params, raw: dict[str, Any], wanted: dict[str, Any], price_per_hour: float | None) -> None:
    """Run a base, or take the experiment there is, and note what came of it. A failed run is noted too."""
    slug = re.sub(r"[^a-z0-9]+", "-", own.base.name.rpartition("/")[2].lower()).strip("-")[:40]
    try:
        experiment, commit = tried(f"choose-{slug or 'base'}", raw, wanted, LAST)
        row.measured(read(experiment, commit, own), own.choose, price_per_hour)
    except HallmarkError as error:
        row.error = error.problem if error.file is None else told(error)
        log.warning("%s: %s", printable(own.base.name), printable(row.error))


def warnings(facts: list[Facts]) -> list[str]:
    """What deserves a word of the list as a whole: bases that are not in the order of their size."""
    sized = [fact for fact in facts if fact.parameters is not None]
    return [
        f"{after.name} is smaller than {before.name}, which is before it: choose.bases is tried in its order."
        for before, after in pairwise(sized)
        if (after.parameters or 0) < (before.parameters or 0)
    ]


def main(arguments: argparse.Namespace) -> None:
    params = load_params(arguments.params)
    raw = resolved(arguments.params)
    found = choose(params, raw, everything=arguments.all, dry=arguments.dry, price_per_hour=arguments.price_per_hour)
    print(printable("\n".join(write(found)), keep="\n"))
    if found.chosen and found.chosen.run:
        print(f"next: `dvc exp apply {found.chosen.run.experiment}`, then `nox -s repro` for its page and release")
    elif not arguments.dry:
        remedy = "the lines below the table say what each lacks: add a larger base, or more data, or relax a limit"
        raise HallmarkError("no base passes the gate within the limits", param="choose.bases", remedy=remedy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.choose", description=__doc__)
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--all", action="store_true", help="run every base within the limits, also after one has passed")
    some.add_argument("--dry", action="store_true", help="run none: show what is known of each, and which would run")
    price = sweep.number(float, 0, 1e12)
    parser.add_argument("--price-per-hour", type=price, metavar="PRICE", help="default: benchmark.price_per_hour")
    run_stage("choose", __doc__, main, parser)
