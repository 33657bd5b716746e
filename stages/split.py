"""Split the records by whole groups into train, validation, calibration and a frozen holdout: `python -m stages.split`.

What comes later of the held-out groups is the part `online`, a second holdout that grows. The holdout itself is exactly the records named in `data/holdout.lock.json`; if that file doesn't exist, the holdout is drawn
and the file written. A record that is masked differently than before stays frozen, and the lock gets its new hash; a
record whose raw row has changed is an error. `--refreeze` draws a new holdout, whose scores don't compare with earlier
ones; `--differences` prints the names of frozen records that are missing or have changed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.answer.text_model import text_with_tools
from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import (
    BASE,
    CALIBRATION,
    DEDUPED,
    HOLDOUT,
    HOLDOUT_LOCK,
    MASKED,
    ONLINE,
    REPORTS,
    TRAIN,
    VALIDATION,
    json_bytes,
    write_all,
)
from hallmark.base.holdout import REFREEZE, RESTORE, HoldoutLock, read_lock
from hallmark.base.key import read_key
from hallmark.base.measured import measured
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.records import check_filled, parquet, scan_records, whole_parquet
from hallmark.base.tools import names_of
from hallmark.data.balance import balance
from hallmark.data.frozen import Compared, compare, hashes_of, renamed, sources_of
from hallmark.data.grouping import BY_CUTOFF, MOST_OFF, assign, draw_hash, joined_across, random_sides, shared_groups
from hallmark.data.leaks import count_leaks, drop_leaks
from hallmark.data.left_out import left_out
from hallmark.data.near import distinct, near_pairs, normalise, text_of
from hallmark.data.raw import raw_rows
from hallmark.judge.history import raw_data_unchanged, written_by_split
from hallmark.judge.label_errors import label_errors
from hallmark.model import limits
from hallmark.params.loader import Params, load_params
from hallmark.task.kinds.tool_call import calls_in
from hallmark.task.task import Task

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

FILES = {"train": TRAIN, "validation": VALIDATION, "calibration": CALIBRATION, "holdout": HOLDOUT, "online": ONLINE}
MUST_HAVE = ("train", "validation", "calibration", "holdout")  # records, unless no calibration is asked for
TOO_LONG = "long"  # in place of a side
MOST_JUDGED = 20_000  # records that label errors are looked for in, at most


def run(params: Params, refreeze: bool = False) -> None:
    """Read the deduplicated records and the lock if it exists; write the parts, the lock and the report."""
    import polars as pl

    with measured("split") as measure:
        near = params.dedupe
        there = HOLDOUT_LOCK.exists() or HOLDOUT_LOCK.is_symlink()  # a broken link is no reason to draw again
        lock = current_lock(params) if there and not refreeze else None
        frozen = set(lock.records) if lock else set()
        rows, restored = read(frozen)
        gone, unknown = left_out(Path(name), frozen) if (name := params.split.leave_out) else (set(), 0)
        rows, restored = rows.filter(~pl.col("id").is_in(list(gone))), restored - gone
        compared = compare(lock, rows, partial(raw_data_unchanged, params.data)) if lock else None
        if compared:
            check_frozen(compared)
        check_named(rows, frozen)
        measuring = measured_by(params)
        unfit = too_long(rows, restored, frozen, params, measuring)
        rows, restored = rows.filter(~pl.col("id").is_in(list(unfit))), restored - unfit
        older = lock is not None and lock.version < 3
        sides, cuts = assign(rows, frozen, cutoffs(lock), params.split, older=older)
        shared = check_shared(rows, sides, params)
        joined = joined_across(rows, sides)
        shares = {side: float((sides == side).mean()) for side in cuts}
        wanted = [side for side in MUST_HAVE if side != "calibration" or (sides == side).any()]
        texts, text = distinct(rows["text"])
        pairs = near_pairs(
            texts,
            size=near.shingle,
            threshold=near.threshold,
            permutations=near.permutations,
            file=DEDUPED,
            stage="split",
        )
        sides, dropped = drop_leaks(sides, text, pairs)
        records = {side: full_records(rows.filter(sides == side), restored) for side in FILES}
        measured_lengths, unlearned = lengths(records, measuring)
        sides[rows["id"].is_in(list(unlearned)).to_numpy()] = TOO_LONG
        records |= {side: records[side].filter(~pl.col("id").is_in(list(unlearned))) for side in limits.LEARNED}
        check_not_empty(sides, wanted)
        rows = rows.with_columns(side=pl.Series(sides))
        held_out = rows.filter(pl.col("side") == "holdout")
        cut, calibration = (cuts.get(side, {}) for side in BY_CUTOFF)
        new = HoldoutLock(hashes_of(held_out), cut, sources_of(held_out), key=name_key(params), calibration=calibration)
        if compared:  # the other draws are frozen too, by the names of groups; other names are another draw
            kept = {} if older else compared.lock.validation
            calibration = calibration or compared.lock.calibration
            new = replace(compared.lock, validation=kept or cut, calibration=calibration)
        written = {HOLDOUT_LOCK: new.text().encode()} if lock is None or new != lock else {}
        groups, salt = distinct(rows["group"])[1], params.split.salt
        leaks = count_leaks(sides, text, pairs, groups)
        held = leaks.pop("held_out") / len(rows)
        with whole_parquet(MASKED):
            before = scan_records(MASKED).select("id", "group", text=normalise(text_of("prompt"))).collect()
        check_filled(before, MASKED)
        report = {
            "rows": {side: int((sides == side).sum()) for side in FILES},
            "groups": {side: rows.filter(pl.col("side") == side)["group"].n_unique() for side in FILES},
            "largest_group_share": round(max(Counter(groups.tolist()).values()) / len(rows), 6),
            "dropped": dropped,
            "restored": len(restored),
            "left_out": {"records": len(gone), "unknown": unknown, "too_long": len(unfit) + len(unlearned)},
            "shared_groups": shared,
            "joined_across": joined,
            "near_missed_at_threshold": round(pairs.missed, 6),
            "leaks": sum(leaks.values()),
            "rehashed": len(new.before),
            "holdout_unchanged": hashes_of(held_out) == new.records,
            "random_row_split": {
                "after_dedupe": count_leaks(random_sides(rows["id"], held, salt), text, pairs, groups),
                "before_dedupe": count_leaks(
                    random_sides(before["id"], held, salt),
                    distinct(before["text"])[1],
                    None,
                    distinct(before["group"])[1],
                ),
            },
            "balance": balance(rows, Task(params.task), FILES),
            "label_errors": suspects(rows, params),
            "lengths": measured_lengths,
        }
        called = functions(records["train"], records["holdout"]) if Task(params.task).kind.calls_tools else None
        report |= {"functions": called} if called else {}
        parts = {path: parquet(records[side]) for side, path in FILES.items()}
        # The lock comes last: a run stopped before that has frozen nothing.
        write_all({**parts, REPORTS / "split.json": json_bytes(report), **written})
        measure["rows"] = len(rows)
    if compared and compared.masked_differently:
        count = len(compared.masked_differently)
        log.info("%d frozen records are masked or named differently than before: hashed again", count)
    for side, share in shares.items():
        if abs(share - cuts[side]["share"]) > MOST_OFF:
            log.warning(
                "%s has %.1f %% of the rows, split.%s asks for %.1f %%: groups are few, or one that was drawn has grown; a "
                "different split.salt draws others",
                side,
                100 * share,
                side,
                100 * cuts[side]["share"],
            )
    if called:
        say_unknown(called, params)
    if joined:
        log.info("%d groups share a duplicate with a group on another side: they keep their sides", joined)
    log.info("rows: %s; dropped as leaks: %s", report["rows"], dropped)


def read(frozen: set[str]) -> tuple[pl.DataFrame, set[str]]:
    """The records by id, and which holdout records were restored from the state before deduplication.

    New data may contain a duplicate of a frozen record that deduplication keeps instead of it. The holdout takes
    precedence, so the record is restored here from `data/masked.parquet`, and its new duplicate is dropped as a leak.
    So is a holdout that the data names: scores on an official one only compare if it is whole.
    """
    import polars as pl

    columns = {
        "text": normalise(text_of("prompt")),
        "content": text_of("prompt", "completion"),
        "target": pl.col("completion").list.last().struct.field("content"),
        "tools": pl.col("tools"),
    }
    for path in (MASKED, DEDUPED):
        for column in ("source", "part"):
            if column not in scan_records(path).collect_schema():
                raise HallmarkError(
                    f"has no column '{column}'", file=path, remedy="run `dvc repro`, which makes it again"
                )
    with whole_parquet(DEDUPED):
        rows = scan_records(DEDUPED).select("id", "group", "source", "part", "cluster", **columns).collect()
    with whole_parquet(MASKED):
        wanted = frozen or set(scan_records(MASKED).filter(part="holdout").select("id").collect()["id"])
    missing = wanted - set(rows["id"].to_list())
    if missing:
        restored = scan_records(MASKED).filter(pl.col("id").is_in(list(missing)))
        with whole_parquet(MASKED):
            rows = pl.concat(
                [rows, restored.select("id", "group", "source", "part", cluster="id", **columns).collect()]
            )
    check_filled(rows.drop("part", "tools"), DEDUPED)
    return rows.sort("id"), missing & set(rows["id"].to_list())


def full_records(part: pl.DataFrame, restored: set[str]) -> pl.DataFrame:
    """The records with the ids in `part`, all columns but `source` and `part`, sorted by id."""
    import polars as pl

    records = [scan_records(DEDUPED)]
    if restored:
        extra = scan_records(MASKED).filter(pl.col("id").is_in(list(restored))).with_columns(cluster="id")
        records.append(extra.select(records[0].collect_schema().names()))
    chosen = pl.concat(records).join(part.lazy().select("id"), on="id", how="semi").drop("source", "part")
    with whole_parquet(DEDUPED):
        return chosen.sort("id").collect()


def name_key(params: Params) -> str | None:
    """The digest of the key that names are made with."""
    return params.data.key if params.data.pseudonyms == "keyed" else None


def current_lock(params: Params) -> HoldoutLock:
    """The lock, with the names that records have today."""
    lock = read_lock()
    if lock.version == 1 and not written_by_split():
        raise HallmarkError("the holdout lock is not the one that `split` wrote", file=HOLDOUT_LOCK, remedy=RESTORE)
    if lock.key == name_key(params):
        return lock
    key = read_key(params.data)
    ids = (raw.id for raw in raw_rows(params.data, params.mask, Task(params.task)))
    return replace(renamed(lock, key, name_key(params), lambda: ids), validation={}, calibration={})


def cutoffs(lock: HoldoutLock | None) -> dict[str, dict[str, Any]]:
    """The cutoffs that are frozen, by side."""
    frozen = {"validation": lock.validation, "calibration": lock.calibration} if lock else {}
    return {side: cut for side, cut in frozen.items() if cut}


def check_frozen(compared: Compared) -> None:
    """Stop if a frozen record is missing or has changed."""
    missing, changed = len(compared.missing), len(compared.changed)
    if missing or changed:
        raise HallmarkError(
            f"of the frozen holdout records, {changed} have changed and {missing} are missing "
            "(`python -m stages.split --differences` names them)",
            file=HOLDOUT_LOCK,
            remedy="restore them in data.path, or the data parameters that made them; after an update of the code, run it "
            f"first on the committed data (docs/updating.md); or {REFREEZE}",
        )


def check_named(rows: pl.DataFrame, frozen: set[str]) -> None:
    """Stop if `data.split` puts a frozen record anywhere but in the holdout."""
    import polars as pl

    elsewhere = [*BY_CUTOFF, "train"] if (rows["part"] == "holdout").any() else list(BY_CUTOFF)
    count = rows.filter(pl.col("id").is_in(list(frozen)) & pl.col("part").is_in(elsewhere)).height
    if count:
        raise HallmarkError(
            f"{count} records of the frozen holdout are named as another part of the split",
            param="data.split",
            remedy=f"restore the column, or set data.split to null; or {REFREEZE}",
        )


def check_shared(rows: pl.DataFrame, sides: Array, params: Params) -> int:
    """How many groups `data.split` puts on several sides; stop if `split.shared_groups` says so."""
    count = shared_groups(rows, sides) if params.data.split else 0
    if count and params.split.shared_groups == "error":
        raise HallmarkError(
            f"{count} of {rows['group'].n_unique()} groups have rows in several parts of the split",
            param="data.split",
            remedy="put each group in one part; or set split.shared_groups to count, which allows it (the gate counts their "
            "records as leaks); or set data.split to null, which draws whole groups",
        )
    if count:
        log.warning("%d groups have rows in several parts of the split (split.shared_groups: count)", count)
    return count


def differences(params: Params) -> None:
    """Print the names of frozen records that are missing, have changed, or are masked differently."""
    lock = current_lock(params)
    compared = compare(lock, read(set(lock.records))[0], partial(raw_data_unchanged, params.data))
    lines = [
        f"{what.replace('_', ' ')}: {printable(name)}\n"
        for what in ("missing", "changed", "masked_differently")
        for name in getattr(compared, what)
    ]
    try:
        sys.stdout.write("".join(lines))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (`| head`, say) has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_not_empty(sides: Array, wanted: Iterable[str]) -> None:
    """Stop if a side has no rows left."""
    for side in wanted:
        if not (sides == side).any():
            long = int((sides == TOO_LONG).sum()) if side in limits.LEARNED else 0
            raise HallmarkError(
                f"no record is left for {side}",
                file=DEDUPED,
                remedy=f"{f'raise sft.max_length ({long} records are longer); ' if long else ''}add records of more groups, change split.salt, or raise dedupe.threshold; "
                f"if new data is too similar to the frozen holdout, {REFREEZE}",
            )


def measured_by(params: Params) -> limits.Limits | None:
    """What measures records in tokens of the base; None without a base, as only a run by hand can be."""
    return limits.Limits(BASE, DEDUPED, params) if BASE.is_dir() else None


def too_long(
    rows: pl.DataFrame, restored: set[str], frozen: set[str], params: Params, measuring: limits.Limits | None
) -> set[str]:
    """The records that `split.too_long: drop` leaves out: those that would not fit in every part, so that none moves later."""
    if params.split.too_long != "drop" or measuring is None:
        return set()
    unfit = measuring.unfit(full_records(rows, restored).rows(named=True))
    if held := sorted(unfit & frozen):
        raise HallmarkError(
            f"{len(held)} records of the frozen holdout, which keeps its records, are too long; the first is '{held[0]}'",
            param="split.too_long",
            remedy=f"set it to count, raise the limit that they are over (error names it), or {REFREEZE}",
        )
    if len(unfit) == len(rows):
        raise HallmarkError(
            f"all {len(rows)} records are too long, and none is left",
            param="split.too_long",
            remedy="set it to error: split then says which sft.max_length and eval.max_new_tokens would fit",
        )
    if unfit:
        log.warning("%d of %d records are too long and left out (split.too_long: drop)", len(unfit), len(rows))
    return unfit


def lengths(
    records: dict[str, pl.DataFrame], measuring: limits.Limits | None
) -> tuple[dict[str, Any] | None, set[str]]:
    """The lengths of the records in tokens, for the report, and the ids of those that are too long to be learned from.

    Stops if there are any and `split.too_long` says so.
    """
    if measuring is None:
        log.warning("no %s: lengths in tokens are not checked; with `dvc repro split`, it is made first", BASE)
        return None, set()
    return measuring.check({side: part.rows(named=True) for side, part in records.items()})


def functions(train: pl.DataFrame, held_out: pl.DataFrame) -> dict[str, int]:
    """How many functions the holdout calls, and how many of them training does not; its records, and how many of them call
    one that the model can't know: not called in training, and not among the record's tools.
    """
    trained = {name for answer in train["completion"] for name in names_in(answer)}
    answers = [names_in(answer) for answer in held_out["completion"]]
    shown = [set(names_of(json.loads(tools or "[]"))) for tools in held_out["tools"]]
    every = set[str]().union(*answers)
    unknown = sum(not names <= trained | offered for names, offered in zip(answers, shown, strict=True))
    return {"called": len(every), "new": len(every - trained), "records": len(held_out), "unknown": unknown}


def names_in(answer: list[dict[str, str]]) -> set[str]:
    """The functions that an answer calls."""
    try:
        return {str(call["name"]) for call in calls_in(strict_json(answer[-1]["content"])) if "name" in call}
    except NotJsonError:  # a refusal in plain words
        return set()


def say_unknown(found: dict[str, int], params: Params) -> None:
    """Say what share of the holdout no model can get right but by chance, or how many functions it has to read up."""
    new = f"{found['new']} of the {found['called']} functions that the holdout calls do not occur in training"
    if found["unknown"]:
        log.warning(
            "%s, and in %d of its %d records (%.1f %%) the model is not shown one that it must call, so these can't be right%s",
            new,
            found["unknown"],
            found["records"],
            100 * found["unknown"] / found["records"],
            ""
            if params.data.tools
            else " unless the input lists the functions: name the column of tools in data.tools",
        )
    elif found["new"]:
        log.info("%s: the model must read them up in the tools it is shown", new)


def suspects(rows: pl.DataFrame, params: Params) -> dict[str, Any] | None:
    """Labels of train and validation that are probably wrong, the worst first; null if none are looked for.

    Of more than `MOST_JUDGED` records, those of the groups with the lowest hashes are judged.
    """
    import polars as pl

    task = Task(params.task)
    if not params.split.label_errors or not task.kind.label_names(task):
        return None
    judged = rows.filter(pl.col("side").is_in(["train", "validation"]))
    order = {group: draw_hash(params.split.salt, "label errors", group) for group in judged["group"].unique()}
    judged = judged.sort(pl.col("group").replace_strict(order), "id").head(MOST_JUDGED)
    columns: dict[str, Sequence[str]] = {
        name: judged[column].to_list() for name, column in {"ids": "id", "groups": "group", "targets": "target"}.items()
    }
    columns["texts"] = [text_with_tools(*row) for row in judged.select("text", "tools").iter_rows()]
    count, found = label_errors(task, params.classical, **columns)
    if found:
        log.info(
            "%d labels of %d records look wrong; reports/split.json names the worst %d, and split.leave_out leaves out "
            "those that are",
            len(found),
            count,
            min(len(found), params.split.label_errors),
        )
    return {"judged": count, "found": len(found), "worst": found[: params.split.label_errors]}


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
