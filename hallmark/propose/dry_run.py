"""A dry run of `mask`, `dedupe` and `split` on a proposal, with the code of these stages and in memory: nothing is written.

Its result is shown, and sets what follows from it: what masking must leave, the limits on lengths, how many passes
training makes, and what to do with rows that lack something.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, write_json
from hallmark.base.params import Data
from hallmark.base.records import columns_of
from hallmark.base.tools import in_words
from hallmark.data.duplicates import Clusters, answers_of, resolve
from hallmark.data.grouping import assign, draw_hash, random_sides, row_draws
from hallmark.data.leaks import count_leaks, drop_leaks, numbers_of
from hallmark.data.missing import Missing
from hallmark.data.near import compared, near_pairs, text_of
from hallmark.data.raw import ESSENTIAL, Raw, raw_rows
from hallmark.data.recording import masked_schema
from hallmark.data.split_checks import check_not_empty
from hallmark.data.texts import Texts
from hallmark.mask.languages import Languages, ner_for
from hallmark.mask.params import Mask
from hallmark.model.lengths import STEP_ANSWER, STEP_RECORD, rounded_up
from hallmark.model.params import Sft
from hallmark.params.loader import Params
from hallmark.plan.lengths import counter, estimated, record_of
from hallmark.propose.proposal import Proposal
from hallmark.propose.trial import in_a_line, try_masking
from hallmark.task.answers import compact_json
from hallmark.task.kinds import KINDS
from hallmark.task.params import Task as TaskParams
from hallmark.task.task import Task

TOGETHER = 4  # rows whose language is looked at as one text: a short one tells nothing
ROWS = 10_000  # looked at, at most: some seconds
LEAST = {"train": 100, "validation": 20, "calibration": 50}  # rows under which what a part is for hardly works
MOST_HELD = 0.3  # share of the rows above which a holdout takes too much from training
MOST_LEAKS = 0.2  # share of the rows above which what split drops as leaks is a warning of its own
MEASURED = 1_000  # records whose tokens are counted: the longest in characters
PROMPT = 128  # tokens by which the system prompt may grow: it is a first draft
ROOM = 1.1  # of records: the next ones may be longer
ROOM_ANSWER = 1.25  # of answers: a model may write a longer one than expected, and is cut off at the limit
TOO_LONG = {"error": "stop at", "drop": "leave out", "count": "not train on"}  # what split does, by `split.too_long`
# The rule for passes over the training records is one of thumb, from the trainings in docs/training.md.
SEEN = 6_000  # records that a training may see in all, the same one again counted again
PER_LABEL = 300  # where every answer is a label, if that is more
MOST_PASSES = 6.0  # with more, a small set is learned by heart
PATIENCE, VALIDATIONS = 2, 10  # validations without a gain that end the plateau, and how many there are in all
LARGE = 20_000  # records above which one pass takes hours on a CPU, and part of one will do


@dataclass
class Sample:
    """Checked rows of a file, up to the first that `mask` refuses."""

    of: int  # rows in the file
    looked_at: int
    rows: list[Raw] = field(default_factory=list, repr=False)
    missing: Missing = field(default_factory=Missing)
    stops: str | None = None  # the error of the row that `mask` refuses


@dataclass
class Drawn:
    """Counts of a split that was drawn from a sample."""

    dropped: Counter[str] = field(default_factory=Counter)  # by `dedupe`, by cause
    conflicts: int = 0  # rows with the same text as another one, and another answer
    stay: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    leaks: int = 0  # records that `split` drops
    random: dict[str, int] = field(default_factory=dict)  # what a split by rows would have leaked
    stops: str | None = None


def rehearse(proposal: Proposal, params: Params) -> None:
    """Add to a proposal what a dry run shows: values with reasons, warnings, and the result in `proposal.tried`."""
    no_call = proposal.edits["data"].get("no_call", params.data.no_call)
    keeps = "own_group" if proposal.alone else "drop"
    data = proposal.data.model_copy(update={"missing": keeps, "no_call": no_call})
    mask = params.mask.model_copy(update={"identity_columns": proposal.roles.identity})
    with proposed_task(proposal, params) as block:
        task = Task(block)
        sample = sampled(proposal, data, mask, task)
        set_missing(proposal, sample, keeps)
        mask = in_their_language(proposal, sample.rows, mask)
        tried = try_masking(proposal, sample.rows, data, mask, block)
        if sample.rows:
            split = drawn(sample.rows, task, params, data.context)
            times = sample.of / sample.looked_at
            set_passes(proposal, round(times * split.rows.get("train", 0)), params.sft)
            proposal.tried += split_lines(split)
            proposal.warnings += split_warnings(split, times, params)
            set_lengths(proposal, sample.rows, tried.masked, block, params)
    proposal.tried.append("")


@contextmanager
def proposed_task(proposal: Proposal, params: Params) -> Iterator[TaskParams]:
    """The proposed block `task`, its schema in a file that lasts as long as the block of code."""
    with tempfile.TemporaryDirectory() as folder:
        schema = Path(folder) / "schema.json"
        write_json(schema, proposal.task.schema)
        tools = KINDS[proposal.kind].calls_tools and proposal.edits["data"]["tools"]
        yield TaskParams.model_construct(
            kind=proposal.kind,
            system_prompt=proposal.edits["task"]["system_prompt"],
            schema_file=str(schema),
            tool_format=params.task.tool_format if tools else "json",
            refusal=proposal.task.refusal,
        )


def sampled(proposal: Proposal, data: Data, mask: Mask, task: Task) -> Sample:
    """The rows to look at, as `mask` reads them with the proposed values."""
    column = proposal.columns.get(data.group)
    only = chosen(column.values if column else range(len(proposal.rows)))
    sample = Sample(len(proposal.rows), len(only))
    try:
        sample.rows += raw_rows(data, mask, task, sample.missing, None if len(only) == sample.of else only)
    except HallmarkError as error:
        sample.stops = in_a_line(error)
    return sample


def in_their_language(proposal: Proposal, raws: Sequence[Raw], mask: Mask) -> Mask:
    """The params of `mask` for the language that most texts are in; proposed if they are for another one."""
    languages = Languages(mask.language)
    for start in range(0, len(raws), TOGETHER):
        languages.add(" ".join(raw.input for raw in raws[start : start + TOGETHER]))
    proposal.language = languages.main
    if languages.main in (None, mask.language):
        return mask
    mask = mask.model_copy(update={"language": languages.main, "ner": ner_for(languages.main)})
    proposal.set("mask", "language", mask.language, "most texts look like it, by their stop words")
    proposal.set("mask", "ner", mask.ner.model_dump(), "a model for another language takes common words for names")
    if mask.ner.model is None:
        said = f"most texts look like '{mask.language}', and no spaCy model for it is installed: only rules look for names, and find fewer. "
        proposal.warnings.append(f"{said}Install one, and name it in mask.ner")
    return mask


def chosen(groups: Sequence[Any]) -> set[int]:
    """Which of the rows with these groups to look at, at most `ROWS`: all, or whole groups, drawn by a hash of their names."""
    if len(groups) <= ROWS:
        return set(range(len(groups)))
    places: dict[str, list[int]] = defaultdict(list)
    for number, group in enumerate(groups):
        places[str(number if group is None else group)].append(number)
    taken: list[int] = []
    for name in sorted(places, key=lambda name: draw_hash("propose", "sample", name)):
        taken += places[name]
        if len(taken) >= ROWS:
            break
    return set(taken[:ROWS])  # the last group may be cut


def drawn(raws: Sequence[Raw], task: Task, params: Params, context: str | None) -> Drawn:
    """Deduplicate and split the rows, before masking, with the params of `dedupe` and `split`."""
    import polars as pl

    found, file = Drawn(), Path(raws[0].file)
    rows = [record_of(raw, task) | {"group": raw.group, "part": raw.part, "context": raw.context} for raw in raws]
    texts_of = {"target": text_of("completion"), "text": compared(context, *params.dedupe.over.split("_and_"))}
    frame = pl.DataFrame(rows, masked_schema()).select("id", "group", "part", "tools", **texts_of).sort("id")
    try:
        frame = frame.with_columns(**answers_of(frame["tools"], frame["target"]))
        clusters = Clusters(frame["id"], *Texts.kept([frame["text"]]), params.dedupe, file)
        causes, conflicts = resolve(frame, clusters, params.dedupe.conflicts)
        found.conflicts = conflicts["records"]
        found.dropped = Counter(causes.drop_nulls())
        stay = frame.with_columns(clusters.cluster).filter(causes.is_null())
        found.stay = len(stay)
        sides, _ = assign(stay, set(), None, params.split)
        texts, text = Texts.kept([stay["text"]])
        of = params.dedupe
        pairs = near_pairs(texts, size=of.shingle, threshold=of.threshold, permutations=of.permutations, file=file)
        sides, leaks = drop_leaks(sides, text, pairs)
        found.leaks = sum(count for counts in leaks.values() for count in counts.values())
        for side in ("train", "validation", "calibration", "holdout"):
            groups = Counter(stay.filter(sides == side)["group"].to_list())
            found.rows[side], found.groups[side] = groups.total(), len(groups)
        by_row: Any = random_sides(row_draws(frame["id"], params.split.salt), found.rows["holdout"] / found.stay)
        found.random = count_leaks(by_row, clusters.text, None, numbers_of(frame["group"]))
        wanted = [side for side in found.rows if side != "calibration" or params.split.calibration]
        check_not_empty(sides, wanted, ())
    except HallmarkError as error:
        found.stops = in_a_line(error)
    return found


def set_lengths(
    proposal: Proposal, raws: Sequence[Raw], masked: dict[str, dict[str, Any]], block: TaskParams, params: Params
) -> None:
    """Propose limits for the longest rows, in tokens of the base, else estimated; `masked`: masked records of some, by id."""
    task = Task(block)

    def characters(raw: Raw) -> int:
        return len(raw.input) + len(raw.context or "")

    longest = sorted(raws, key=lambda raw: characters(raw) + len(compact_json(raw.tools or [])))[-MEASURED:]
    answers = sorted(raws, key=lambda raw: len(task.render(raw.target)))[-MEASURED:]
    records = {raw.id: record_of(raw, task) for raw in (*longest, *answers)}
    lists = [list(records.values()), [record_of(raw, task) for raw in raws if raw.id in masked]]
    lists.append([masked[row["id"]] for row in lists[1]])
    try:
        count, context, counted_by = counter(block, BASE)
        found, before, after = map(count, lists)
    except HallmarkError as error:  # of the base, say; `split` will say it again
        context, counted_by = None, f"estimated, since {error.problem}"
        found, before, after = map(estimated, lists)
    prompt, record, answer = map(max, found)
    _, growth, answer_growth = (grown(*lengths) for lengths in zip(before, after, strict=True))
    max_length = rounded_up(ROOM * growth * record + PROMPT, STEP_RECORD, context)
    max_new_tokens = rounded_up(ROOM_ANSWER * answer_growth * answer, STEP_ANSWER, context)
    proposal.set("sft", "max_length", max_length, f"the longest record has {record} tokens (see `longest`); with room")
    proposal.set("eval", "max_new_tokens", max_new_tokens, f"the longest answer has {answer} tokens; with room")
    proposal.set("benchmark", "max_tokens", max_new_tokens, "as in eval")
    said = f"  longest   input {max(map(characters, raws)):,} characters; record"
    proposal.tried.append(f"{said} {record:,} tokens, answer {answer:,} ({counted_by})")
    # Longer than the context, or with a prompt that leaves no room there for an answer.
    over = sum(max(end, start + max_new_tokens) > (context or math.inf) for start, end, _ in zip(*found, strict=True))
    if over:
        proposal.warnings.append(
            f"split will {TOO_LONG[params.split.too_long]} records that are too long (split.too_long): at least {over}, for the "
            f"{context} tokens that the base reads (the longest record: {record}, the longest prompt: {prompt}; "
            f"eval.max_new_tokens: {max_new_tokens}). Shorten such rows, take a base with a longer context, or change "
            "split.too_long"
        )


def grown(before: list[int], after: list[int]) -> float:
    """The most by which masking lengthens the longer half of some texts; at least 1."""
    middle = median(before or [0])
    return max([1.0, *(new / old for old, new in zip(before, after, strict=True) if old >= middle)])


def set_missing(proposal: Proposal, sample: Sample, keeps: str = "drop") -> None:
    """Rows that lack something are dropped, if there are any; also where the sample has none of them. `keeps`: as params say."""
    named = [getattr(proposal.data, name.removeprefix("data.")) for name in ESSENTIAL]
    columns = {column for name in named for column in (name if isinstance(name, list) else columns_of(name))}
    empty = any(proposal.columns[name].empty for name in columns if name in proposal.columns)
    whole, lacking = sample.looked_at == sample.of, sample.missing.words(proposal.data)
    of = f"all {sample.of:,} rows" if whole else f"{sample.looked_at:,} of {sample.of:,} rows, in whole groups"
    line = f"  rows      {len(sample.rows):,} can be read"
    if sample.missing.rows:
        line += f", {sample.missing.rows:,} left out: {lacking}"
        reason = f"{sample.missing.rows} of {sample.looked_at} rows are left out: {lacking}"
        proposal.set("data", "missing", keeps, reason)
    elif sample.missing.alone:
        proposal.set("data", "missing", keeps, f"{sample.missing.alone} rows without group")
    elif empty and not whole:
        proposal.set("data", "missing", keeps, "some columns have empty values")
    else:
        proposal.set("data", "missing", "error", "no row lacks anything")
    if sample.stops:
        line += "; then mask would stop (see the warnings)"
        proposal.warnings.append(f"mask will stop: {sample.stops}")
    if python := sum((raw.python_types for raw in sample.rows), Counter[str]()):
        proposal.warnings.append(f"types in the tools are read as JSON Schema names them: {in_words(python)}")
    proposal.tried += [f"Dry run of dedupe and split on {of}, of mask on some of them; nothing is written:", "", line]


def passes(records: int, labels: int = 0) -> float:
    """The most passes over this number of training records; `labels`: if every answer is one. At least one, unless they are many."""
    wanted = max(SEEN, PER_LABEL * labels)
    if records > LARGE:
        return float(f"{max(LARGE, min(wanted, records)) / records:.2g}")  # two digits, however small it is
    return round(min(MOST_PASSES, max(1.0, wanted / records)), 1)


def set_passes(proposal: Proposal, records: int, sft: Sft) -> None:
    """Propose `sft.epochs` for this number of training records, and a schedule that ends earlier if validation says so."""
    if not records:
        return
    labels = len(proposal.task.schema.get("enum", ())) if KINDS[proposal.kind].listed else 0
    number = passes(records, labels)
    of_labels = f" of {labels} labels" if labels else ""
    seen = round(number * records)
    reason = f"at most; about {records:,} training records{of_labels}: {seen:,} seen in all"
    proposal.set("sft", "epochs", number, reason)
    proposal.set("sft", "lr_scheduler", "warmup_stable_decay", "it can end at any step")
    why = f"training ends when the validation loss has not fallen {PATIENCE} times in a row"
    proposal.set("sft", "early_stopping_patience", PATIENCE, why)
    steps = seen / (sft.batch_size * sft.gradient_accumulation_steps * sft.parallel.processes)
    proposal.set("sft", "eval_steps", max(1, round(steps / VALIDATIONS)), f"about {VALIDATIONS} validations in all")


def split_lines(split: Drawn) -> Iterator[str]:
    if split.stay:
        causes = ", ".join(f"{count:,} {cause}" for cause, count in sorted(split.dropped.items())) or "none"
        yield f"  dedupe    {split.stay:,} rows stay; dropped as duplicates: {causes} (before masking)"
    if split.random:
        sides = ", ".join(f"{side} {split.rows[side]:,} rows of {split.groups[side]:,} groups" for side in split.rows)
        yield f"  split     {sides}; {split.leaks:,} dropped as leaks"
        held, group, same = (f"{split.random[name]:,}" for name in ("held_out", "same_group", "same_text"))
        said = f"            a random split of the rows would leak: of {held} held-out rows, "
        yield f"{said}{group} share their group with training, {same} their text"


def split_warnings(split: Drawn, times: float, params: Params) -> list[str]:
    """What stopped dedupe or split, or leaves too little; the file has `times` as many rows, which are taken to be like these."""
    warned = []
    if split.leaks > MOST_LEAKS * split.stay:
        way = f"if they ask for different things, raise dedupe.threshold ({params.dedupe.threshold:g})"
        said = f"split drops {split.leaks:,} of {split.stay:,} rows, since other groups in other parts have nearly the same text"
        warned.append(f"{said}: {way}")
    if split.stops:
        warned.append(f"dedupe or split will stop: {split.stops}")
    if split.conflicts:
        share = 100 * split.conflicts / (split.stay + split.dropped.total())
        same = f"{split.conflicts:,} rows ({share:.1f} %) have the same text as another row but a different answer"
        drops = f"dedupe drops {split.dropped['conflict']:,} of them (dedupe.conflicts: {params.dedupe.conflicts})"
        warned.append(f"{same}, and {drops}: add to data.input whatever distinguishes them, if something does")
    if not split.rows:
        return warned
    gate = params.gate
    rows = {side: round(times * count) for side, count in split.rows.items()}
    total, held, groups = sum(rows.values()), rows["holdout"], round(times * split.groups["holdout"])
    for side, least in LEAST.items():
        if 0 < rows.get(side, 0) < least and split.leaks <= MOST_LEAKS * split.stay:
            lower = "lower split.holdout and split.calibration" if side == "train" else f"raise split.{side}"
            left = f"about {rows[side]} of {total} rows are left for {side}"
            warned.append(f"{left}, under {least}: get more, or {lower}")
    if held < gate.min_records:
        needed = math.ceil(110 * gate.min_records / total) / 100  # a tenth more, since whole groups are drawn
        enough, now = (math.ceil(1.1 * gate.min_records / share) for share in (MOST_HELD, params.split.holdout))
        more = f"with {MOST_HELD:g}, about {enough} rows would have to stay, with {params.split.holdout:g} about {now}: get more"
        said = f"split.holdout = {params.split.holdout:g} holds out about {held} of {total} rows that stay, and the gate needs at "
        way = f"set it to {needed:g}" if needed <= MOST_HELD else more
        warned.append(f"{said}least {gate.min_records} (gate.min_records): {way}")
    elif groups < gate.min_groups:
        few = f"the holdout would have {groups} groups, and the gate needs {gate.min_groups} (gate.min_groups)"
        warned.append(f"{few}: raise split.holdout, or name a finer column with --group")
    return warned
