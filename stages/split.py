"""Split the records by whole groups into train, validation, calibration and a frozen holdout: `python -m stages.split`.

The holdout is exactly the records named in `data/holdout.lock.json`; if that file doesn't exist, the holdout is drawn and
the file written. Later records of held-out groups form the part `online`, a second holdout that grows. A record that is now
masked differently stays frozen, and the lock gets its new hash; a record whose raw row has changed is an error.
Validation and calibration are frozen too, as cutoffs for the hashes of groups: no group ever moves to another part.

`--refreeze` draws a new holdout, whose scores can't be compared with earlier ones; `--differences` prints the names of frozen
records that are missing or have changed.
"""

from __future__ import annotations

import argparse
import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from hallmark.base.errors import printable, run_stage
from hallmark.base.files import BASE, DEDUPED, HOLDOUT_LOCK, MASKED, REPORTS, SPLIT, atomic, json_bytes
from hallmark.base.holdout import HoldoutLock
from hallmark.base.measured import measured
from hallmark.base.printing import counted, show
from hallmark.base.records import scan_records
from hallmark.corpus.checks import TOO_LONG, check_named, check_not_empty, left_out, shared_groups, warn_of_shares
from hallmark.corpus.draw import BY_CUTOFF, assign
from hallmark.corpus.frozen import check_frozen, compare, current_lock, digests_of, names_of
from hallmark.corpus.leaks import called_functions, count_leaks, drop_leaks, joined_across, row_split_leaks
from hallmark.corpus.near import near_pairs
from hallmark.corpus.records import Records, write_sorted
from hallmark.corpus.texts import numbers_of
from hallmark.judge.label_errors import suspects
from hallmark.model.limits import LEARNED, Limits
from hallmark.params.loader import Params, load_params
from hallmark.task.task import Task

log = logging.getLogger(__name__)

MUST_HAVE = ("train", "validation", "calibration", "holdout")  # records, unless no calibration is asked for
FILES = {side: SPLIT / f"{side}.parquet" for side in (*MUST_HAVE, "online")}


def run(params: Params, refreeze: bool = False) -> None:
    """Read the deduplicated records and the lock if it exists; write the parts, the lock and the report."""
    import numpy as np
    import polars as pl

    with measured("split") as measure:
        # The records: those that deduplication kept, and frozen ones that it dropped for a new duplicate.
        there = HOLDOUT_LOCK.exists() or HOLDOUT_LOCK.is_symlink()  # a broken link is no reason to draw again
        lock = current_lock(params.data) if there and not refreeze else None
        frozen = set(lock.records) if lock else set()
        records = Records(frozen, params.task.system_prompt)
        rows, texts = records.read()
        gone, unknown = set[str](), 0
        if name := params.split.leave_out:
            gone, unknown = left_out(Path(name), scan_records(MASKED).select("id").collect()["id"], frozen)
            rows = rows.filter(~pl.col("id").is_in(list(gone)))

        # What is frozen must be as it was, but for its masking.
        compared = None
        if lock:
            compared = compare(lock, records.contents(frozen))
            check_frozen(compared)
        check_named(rows, frozen)

        # With `split.too_long: drop`, what would not fit in every part goes before the draw, so that no record moves later.
        limits = Limits(BASE, DEDUPED, params) if BASE.is_dir() else None  # a run by hand can be without a base
        unfit: set[str] = set()
        if limits and params.split.too_long == "drop":
            unfit = limits.left_out(records.batches(rows["id"]), frozen)
            rows = rows.filter(~pl.col("id").is_in(list(unfit)))

        # The draw, by whole groups.
        cutoffs = {side: getattr(lock, side) for side in BY_CUTOFF} if lock else {}
        sides, cuts = assign(rows, frozen, cutoffs, params.split)
        shared = shared_groups(rows, sides, params.split.shared_groups)
        joined = joined_across(rows, sides)
        shares = {side: float((sides == side).mean()) for side in cuts}
        wanted = [side for side in MUST_HAVE if side != "calibration" or (sides == side).any()]

        # Leaks: of two sides with the same or nearly the same text, the weaker one loses it.
        text, rows = rows["text"].to_numpy(), rows.select("id", "group")
        pairs = near_pairs(texts, params.dedupe, DEDUPED, stage="split")
        del texts
        sides, dropped = drop_leaks(sides, text, pairs)

        def ids(side: str) -> pl.Series:
            return rows["id"].filter(pl.Series(sides == side))

        # The parts: what is too long to be learned from is left out of them, and elsewhere counts as a wrong answer.
        lengths, unlearned = None, set[str]()
        if limits:
            lengths, unlearned = limits.check({side: records.batches(ids(side)) for side in FILES})
        else:
            log.warning("no %s: lengths in tokens are not checked; with `dvc repro split`, it is made first", BASE)
        sides[rows["id"].is_in(list(unlearned)).to_numpy()] = TOO_LONG
        check_not_empty(sides, wanted, LEARNED)

        # The lock: of what was frozen before, only names and hashes may be new.
        held_out, sources = digests_of(records.contents(ids("holdout")))
        cut, calibration = (cuts.get(side, {}) for side in BY_CUTOFF)
        new = HoldoutLock(held_out, cut, sources, key=names_of(params.data), calibration=calibration)
        if compared:  # the other draws are frozen too
            calibration = calibration or compared.lock.calibration
            new = replace(compared.lock, validation=compared.lock.validation or cut, calibration=calibration)

        groups, task = numbers_of(rows["group"]), Task(params.task)
        leaks = count_leaks(sides, text, pairs, groups)
        held = leaks.pop("held_out") / len(rows)
        on_sides = rows.with_columns(side=pl.Series(sides, dtype=pl.String))
        report: dict[str, Any] = {
            "rows": {side: int((sides == side).sum()) for side in FILES},
            "groups": {side: len(np.unique(groups[sides == side])) for side in FILES},
            "largest_group_share": round(int(np.bincount(groups).max()) / len(rows), 6),
            "dropped": dropped,
            "restored": len(records.restored.difference(gone, unfit)),
            "left_out": {"records": len(gone), "unknown": unknown, "too_long": len(unfit) + len(unlearned)},
            "shared_groups": shared,
            "joined_across": joined,
            "near_missed_at_threshold": round(pairs.missed, 6),
            "leaks": sum(leaks.values()),
            "rehashed": len(new.before),
            "holdout_unchanged": held_out == new.records,
            "random_row_split": row_split_leaks(rows["id"], text, pairs, groups, held, params.split.salt),
            "label_errors": suspects(on_sides, records.judged, task, params.split, params.classical),
            "lengths": lengths,
        }
        called = None
        if task.kind.calls_tools:
            called = called_functions(*(records.those(ids(side)) for side in ("train", "holdout")))
            report["functions"] = called
        with ExitStack() as stack:  # the last one entered is moved into place first
            # The lock comes last: a run stopped before that has frozen nothing.
            lock_file = stack.enter_context(atomic(HOLDOUT_LOCK)) if lock is None or new != lock else None
            report_file = stack.enter_context(atomic(REPORTS / "split.json"))
            for side, path in reversed(FILES.items()):
                write_sorted(stack.enter_context(atomic(path)), records.those(ids(side)))
            report_file.write_bytes(json_bytes(report))
            if lock_file:
                lock_file.write_bytes(new.text().encode())
        measure["rows"] = len(rows)

    if compared and (count := len(compared.masked_differently)):
        log.info("%d frozen records are masked or named differently than before: hashed again", count)
    warn_of_shares(shares, cuts)
    if called:
        say_new(called)
    if joined:
        log.info("%d groups share a duplicate with a group on another side: they keep their sides", joined)
    leaked = {side: sum(counts.values()) for side, counts in dropped.items()}
    log.info("records: %s; dropped as leaks: %s", counted(report["rows"]), counted(leaked) or "none")


def say_new(called: dict[str, int]) -> None:
    """Say what share of the holdout no model can get right but by chance, or how many functions it has to read up."""
    new = f"{called['new']} of the {called['called']} functions that the holdout calls do not occur in training"
    if called["unknown"]:
        log.warning(
            "%s, and in %d of its %d records (%.1f %%) the model is not shown one that it must call, so these can't be "
            "right; give the records their `tools` in stages/records.py",
            new, called["unknown"], called["records"], 100 * called["unknown"] / called["records"],
        )  # fmt: skip
    elif called["new"]:
        log.info("%s: the model must look them up in the tools it is shown", new)


def differences(params: Params) -> None:
    """Print the names of frozen records that are missing, have changed, or are masked differently."""
    lock = current_lock(params.data)
    frozen = set(lock.records)
    compared = compare(lock, Records(frozen, params.task.system_prompt).contents(frozen))
    for what in ("missing", "changed", "masked_differently"):
        show(f"{what.replace('_', ' ')}: {printable(name)}\n" for name in getattr(compared, what))


def main(arguments: argparse.Namespace) -> None:
    """Command line: `--refreeze` draws a new holdout, `--differences` prints."""
    params = load_params(arguments.params)
    if arguments.differences:
        differences(params)
    else:
        run(params, arguments.refreeze)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.split", description=__doc__)
    parser.add_argument("--refreeze", action="store_true", help="draw a new holdout and write its lock")
    parser.add_argument(
        "--differences", action="store_true", help="print the frozen records that have changed; write nothing"
    )
    run_stage("split", __doc__, main, parser)
