"""A dry run of `mask`, `dedupe` and `split` on a proposal, for `python -m hallmark.commands.propose`: nothing is written.

Its result is shown, and sets what follows from it: what masking must leave, the limits on lengths, how many passes
training makes, and what to do with rows that lack something.
"""

from __future__ import annotations

import math
from collections import Counter

from hallmark.base.files import BASE
from hallmark.base.records import columns_of
from hallmark.base.tools import in_words
from hallmark.commands import copied_share
from hallmark.commands.draw import FEW, Drawn, drawn
from hallmark.commands.dry_run_rows import Sample, proposed_task, sampled
from hallmark.commands.proposal import Proposal
from hallmark.commands.proposed_epochs import set_passes
from hallmark.commands.sizes import Sizes, sizes
from hallmark.commands.trial import Trial, trial
from hallmark.data.bands import EASY
from hallmark.data.duplicates import most_in_cluster
from hallmark.data.raw import ESSENTIAL
from hallmark.mask.kinds import short
from hallmark.params.loader import Params
from hallmark.task.task import Task

MOST_HELD = 0.3  # share of the rows above which a holdout takes too much from training
MOST_FIELDS = 12  # of the targets, shown
LEAST = {"train": 100, "validation": 20, "calibration": 50}  # rows under which what a part is for hardly works
MOST_LOST = 0.2  # share of the rows that stay above which leaks are more than a few common texts
NEARLY = 0.5  # share of a limit from which on more rows, or masked ones, may reach it
MOST_OF_FEW = 0.6  # share of a holdout above which its `FEW` largest groups decide the result


def rehearse(proposal: Proposal, params: Params) -> None:
    """Add to a proposal what a dry run shows: values with reasons, warnings, and the result in `proposal.tried`."""
    data = proposal.data.model_copy(update={"missing": "drop"})
    mask = params.mask.model_copy(update={"identity_columns": proposal.identity_columns})
    with proposed_task(proposal, params) as block:
        task = Task(block)
        sample = sampled(proposal, data, mask, task)
        tried = trial(sample, data, mask, block)
        split = drawn(sample.rows, task, params) if sample.rows else Drawn()
        long = sizes(sample.rows, tried.masked, block, task, BASE) if sample.rows else None
        absent = copied_share.warnings(sample.rows, task)
    proposal.set("mask", "allow_patterns", list(tried.allow_patterns), "; ".join(tried.allow_patterns.values()))
    if tried.actions:
        proposal.set("mask", "actions", params.mask.actions | tried.actions, "; ".join(tried.reasons))
    if tried.day_first:
        proposal.set("mask", "day_first", *tried.day_first)
    set_missing(proposal, sample)
    if long:
        set_lengths(proposal, long)
    set_passes(proposal, split, sample)
    proposal.tried += told(sample, tried, split, long, proposal, params)
    if python := sum((raw.python_types for raw in sample.rows), Counter[str]()):
        proposal.warnings.append(f"types in the tools are read as JSON Schema names them: {in_words(python)}")
    proposal.warnings += tried.warnings()
    proposal.warnings += split_warnings(split, sample, params)
    proposal.warnings += long.warnings(params.split.too_long) if long else []
    proposal.warnings += absent


def set_missing(proposal: Proposal, sample: Sample) -> None:
    """Rows that lack something are dropped, if there are any; also where the sample has none of them."""
    named = [getattr(proposal.data, name.removeprefix("data.")) for name in ESSENTIAL]
    columns = {column for name in named for column in (name if isinstance(name, list) else columns_of(name))}
    empty = any(proposal.columns[name].empty for name in columns if name in proposal.columns)
    if sample.missing.rows:
        reason = f"{sample.missing.rows} of {sample.looked_at} rows are left out: {sample.missing.words(proposal.data)}"
        proposal.set("data", "missing", "drop", reason)
    elif empty and not sample.whole:
        proposal.set("data", "missing", "drop", "some columns have empty values")
    else:
        proposal.set("data", "missing", "error", "no row lacks anything")


def set_lengths(proposal: Proposal, long: Sizes) -> None:
    """The limits on lengths that fit, with room to spare."""
    record = f"the longest record has {long.record} tokens (see `longest`); with room"
    proposal.set("sft", "max_length", long.max_length, record)
    proposal.set(
        "eval", "max_new_tokens", long.max_new_tokens, f"the longest answer has {long.answer} tokens; with room"
    )
    proposal.set("benchmark", "max_tokens", long.max_new_tokens, "as in eval")


def told(
    sample: Sample, tried: Trial, split: Drawn, long: Sizes | None, proposal: Proposal, params: Params
) -> list[str]:
    """The result in lines. An example of private data is the masked text around it, never the value."""
    of = f"all {sample.of:,} rows" if sample.whole else f"{sample.looked_at:,} of {sample.of:,} rows, in whole groups"
    left_out = (
        f", {sample.missing.rows:,} left out: {sample.missing.words(proposal.data)}" if sample.missing.rows else ""
    )
    lines = [f"Dry run of mask, dedupe and split on {of}; nothing is written:", ""]
    lines.append(f"  rows      {len(sample.rows):,} can be read{left_out}")
    if sample.stops:
        lines[-1] += "; then mask would stop (see the warnings)"
    if tried.rows:
        lines.append(
            f"  private   {tried.written.total:,} spans in {tried.written.touched:,} of {tried.rows:,} rows, found by "
            f"{tried.searched_by}"
        )
    for kind, count in tried.kinds.items():
        example = tried.examples.get(short(kind))
        lines.append(f"            {kind} {count:,}{f': {example}' if example else ''}")
    for number, line in enumerate(tried.fields()[:MOST_FIELDS]):
        lines.append(f"  {'' if number else 'targets':<9} {line}")
    if split.stay:
        causes = ", ".join(f"{count:,} {cause}" for cause, count in sorted(split.dropped.items())) or "none"
        lines.append(f"  dedupe    {split.stay:,} rows stay; dropped as duplicates: {causes} (before masking)")
    if split.rows:
        sides = ", ".join(f"{side} {split.rows[side]:,} rows of {split.groups[side]:,} groups" for side in split.rows)
        lines.append(f"  split     {sides}; {split.leaks:,} dropped as leaks")
        held, found = split.random["held_out"], split.random
        lines.append(
            f"            a random split of the rows would leak: of {held:,} held-out rows, {found['same_group']:,} share "
            f"their group with training, {found['same_text']:,} their text, and {found['near_text']:,} nearly so even after "
            "dedupe"
        )
    if long:
        lines.append(
            f"  longest   input {long.characters:,} characters; record {long.record:,} tokens, answer {long.answer:,} "
            f"({long.counted_by})"
        )
    return [*lines, ""]


def split_warnings(split: Drawn, sample: Sample, params: Params) -> list[str]:
    """What will stop dedupe or split, leaves too little to train on or makes the holdout too small to decide on.

    Judged by the real split of the sample, as if the other rows were like these.
    """
    scale = sample.of / sample.looked_at
    warned = cluster_warnings(split, scale, params)
    if split.stops:
        return [*warned, f"dedupe or split will stop: {split.stops}"]
    if not split.rows:
        return warned
    gate, share = params.gate, params.split.holdout
    total = scale * sum(split.rows.values())
    if split.leaks > MOST_LOST * split.stay:
        warned.append(
            f"split would drop {split.leaks:,} of {split.stay:,} rows, since their texts are nearly those of other groups on "
            "another side: raise dedupe.threshold, map data.input to what differs from row to row, or name a coarser column "
            "with --group"
        )
    left = {
        side: round(scale * split.rows[side])
        for side in LEAST
        if side in split.rows and (side != "calibration" or params.split.calibration)
    }
    if empty := [side for side, rows in left.items() if not rows]:
        warned.append(
            f"split will stop, since no row is left for {' and '.join(empty)}: get rows of more groups, change the shares in "
            "split, or raise dedupe.threshold"
        )
    for side, rows in left.items():
        if 0 < rows < LEAST[side]:
            lower = "lower split.holdout and split.calibration" if side == "train" else f"raise split.{side}"
            warned.append(
                f"about {rows} of {round(total)} rows are left for {side}, under {LEAST[side]}: get more, or {lower}"
            )
    held, groups = round(scale * split.rows["holdout"]), split.groups["holdout"]
    if held < gate.min_records:
        needed = math.ceil(110 * gate.min_records / total) / 100  # a tenth more, since whole groups are drawn
        fix = f"set it to {needed:g}" if needed <= MOST_HELD else f"get {round(1.1 * gate.min_records / share)} rows"
        warned.append(
            f"split.holdout = {share:g} holds out about {held} of {round(total)} rows that stay, and the gate needs at least "
            f"{gate.min_records} (gate.min_records): {fix}"
        )
    elif round(scale * groups) < gate.min_groups:
        warned.append(
            f"the holdout would have {round(scale * groups)} groups, and the gate needs {gate.min_groups} "
            "(gate.min_groups): raise split.holdout, or name a finer column with --group"
        )
    elif split.few_hold > MOST_OF_FEW:
        warned.append(
            f"{100 * split.few_hold:.0f} % of the holdout would belong to {FEW} of its {groups} groups: what it shows is true "
            "of them; raise split.holdout, try another split.salt, or name a finer column with --group"
        )
    return warned


def cluster_warnings(split: Drawn, scale: float, params: Params) -> list[str]:
    """Whether all rows, `scale` times those of the sample, may be too much alike for `dedupe`."""
    most = most_in_cluster(scale * split.texts, params.dedupe.max_cluster)
    remedy = "raise dedupe.threshold, or map data.input to the columns that differ from row to row"
    if scale * split.largest > NEARLY * most:
        return [
            f"about {round(scale * split.largest):,} of {round(scale * split.texts):,} different texts form one duplicate cluster, "
            f"and dedupe stops at more than {most:,} (dedupe.max_cluster): {remedy}, or raise dedupe.max_cluster"
        ]
    if scale**2 * split.pairs > NEARLY * EASY:
        return [
            f"about {round(scale**2 * split.pairs):,} pairs of texts will look alike, and dedupe compares at most {EASY:,}: {remedy}"
        ]
    return []
