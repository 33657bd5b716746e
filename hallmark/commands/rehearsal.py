"""What `stages/records.py` makes, before any stage runs: every fault at once, records raw and masked, duplicates, split, lengths."""

from __future__ import annotations

import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, MASKED
from hallmark.mask import copied
from hallmark.mask.counts import Counts
from hallmark.mask.languages import Languages
from hallmark.mask.params import Mask, Ner
from hallmark.mask.rows import Namer, RowMaker, masked_schema
from hallmark.mask.two_runs import first_run
from hallmark.params.loader import Params
from hallmark.records import Record
from hallmark.records.reading import Seen, reading
from hallmark.records.recipe import RECIPE, Recipe
from hallmark.records.recipe import Params as Block
from hallmark.task.answers import compact_json
from hallmark.task.task import Task

FAULTS = 20  # kinds of faults that are listed
SECONDS, CHUNK = 30, 200  # that masking may take; records at a time
SHOWN, WIDE, LINES = 5, 52, 12  # records; characters and lines of each side
FLOPS = 5e10  # operations a second of one processor core in training, about: 1e11 with AVX-512
HOUR = 3600

Row = dict[str, Any]


@dataclass
class Rehearsal:
    """Lines to print, params that follow, and what a stage would refuse."""

    lines: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def faults_of(recipe: Recipe, block: dict[str, Any]) -> list[str]:
    """Every record that is none, by field and fault, each with its first place: a run stops at the first one."""
    found: Counter[tuple[str, ...]] = Counter()
    first: dict[tuple[str, ...], Any] = {}

    def tolerant(**fields: Any) -> None:
        try:
            Record(**fields)
        except HallmarkError as error:
            fault = (str(error.field), error.problem, error.remedy)
            found[fault] += 1
            first.setdefault(fault, fields.get("source"))

    space: dict[str, Any] = {"__name__": "stages.records"}
    with reading(Seen()):
        exec(compile(recipe.tree, str(recipe.file), "exec"), space)  # noqa: S102  # the repo's own
        space["Record"] = tolerant
        for _ in space["records"](Block(block)):
            pass
    return [
        f"{count:,} rows, the first {first[fault]}: field '{fault[0]}': {fault[1]}: {fault[2]}"
        for fault, count in found.most_common(FAULTS)
    ]


def rehearse(records: Sequence[Record], params: Params) -> Rehearsal:
    """What masking, deduplication and the split make of the records. Nothing is written."""
    found = Rehearsal()
    rows = masked(records, params, found)
    if rows:
        found.lines[:0] = side_by_side(records, rows)
        train = drawn(rows, params, found)
        measured(rows, round(train * len(records) / len(rows)), params, found)
    return found


def masked(records: Sequence[Record], params: Params, found: Rehearsal) -> list[Row]:
    """Masked rows, evenly spread and as many as the time allows; and what `mask` would refuse, all of it."""
    data = params.data.model_copy(update={"pseudonyms": "none"})
    try:
        first = first_run(
            records, params, Task(params.task), Namer(data, None), Languages(params.mask.language), lambda _: None
        )
    except HallmarkError as error:
        found.refused.append(in_a_line(error))
        return []
    plain = params.mask.model_copy(update={"style": "placeholder", "gold": None, "actions": _without_key(params.mask)})
    maker = RowMaker(data, params.task, plain, None, None, strict=False)
    try:
        maker.masker.load()
    except HallmarkError:  # the NER model is not installed
        plain = plain.model_copy(update={"ner": Ner(engine="none", model=None)})
        maker = RowMaker(data, params.task, plain, None, None, strict=False)
    faults: Counter[str] = Counter()
    fine = []
    for record in records:
        try:
            maker.work(record, ())
            fine.append(record)
        except HallmarkError as error:
            faults[in_a_line(error)] += 1
    found.refused += [f"{count:,} records: {fault}" for fault, count in faults.most_common(FAULTS)]
    counts, rows, begun = Counts(), list[Row](), time.monotonic()
    parts = max(1, -(-len(fine) // CHUNK))
    for start in range(parts):
        if time.monotonic() - begun > SECONDS:
            break
        made, new = maker.rows([(record, first.known.get(record.group, ())) for record in fine[start::parts]])
        counts.add(new)
        rows += [dict(zip(masked_schema(), row, strict=True)) for row in made]
    kinds: Counter[str] = Counter()
    for (kind, _), count in counts.kinds.items():
        kinds[kind] += count
    part = f" (of {counts.records:,} of {len(records):,}: `mask` takes longer)" * (counts.records < len(fine))
    named = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common(8))
    found.lines.append(f"masked: {counts.total:,} values in {counts.touched:,} records{part}: {named or 'none'}")
    if counts.invalid:
        fix = f"let {params.task.schema_file} accept a text there, or keep its kind (mask.actions)"
        found.refused.append(f"{counts.invalid:,} records: masking a value of the target breaks the schema: {fix}")
    _note(found, lambda: counts.check(str(RECIPE)))
    _note(found, lambda: copied.check(counts.values, params.mask, str(RECIPE)))
    return rows


def _without_key(mask: Mask) -> dict[str, Any]:
    """The actions, without those that take the repo's key."""
    return {kind: action for kind, action in mask.actions.items() if action != "surrogate"}


def side_by_side(records: Sequence[Record], rows: Sequence[Row]) -> Iterator[str]:
    """Some records, evenly spread: what the model reads and should answer, raw on the left and masked on the right."""
    by_id = {row["id"]: row for row in rows}
    some = [record for record in records if record.id in by_id]
    for record in some[:: max(1, len(some) // SHOWN)][:SHOWN]:
        yield f"\n{record.source}, group {record.group}"
        row = by_id[record.id]
        if isinstance(record.prompt, str):
            raw, shown = record.prompt, row["prompt"][-1]["content"]
        else:
            said = [f"{one['role']}: {one['content'] or compact_json(one['tool_calls'])}" for one in record.prompt]
            raw = "\n".join(said)
            shown = "\n".join(f"{one['role']}: {one['content']}" for one in row["prompt"][-len(said) :])
        target = record.target if isinstance(record.target, str) else compact_json(record.target)
        yield from _in_two_columns(raw, shown)
        yield from _in_two_columns(f"-> {target}", f"-> {row['completion'][-1]['content']}")


def _in_two_columns(*texts: str) -> Iterator[str]:
    sides = [[part for line in text.split("\n") for part in textwrap.wrap(line, WIDE) or [""]] for text in texts]
    sides = [lines[:LINES] + ["..."] * (len(lines) > LINES) for lines in sides]
    for at in range(max(map(len, sides))):
        left, right = (lines[at] if at < len(lines) else "" for lines in sides)
        yield f"  {left:{WIDE}} | {right}".rstrip()


def drawn(rows: Sequence[Row], params: Params, found: Rehearsal) -> int:
    """Near duplicates among the masked texts, and the parts that would be drawn; how many records are left to train on."""
    import polars as pl

    from hallmark.corpus.draw import assign
    from hallmark.corpus.duplicates import Clusters, answers_of, resolve
    from hallmark.corpus.texts import Texts, compared, only_placeholders, text_of

    frame = pl.DataFrame(rows, schema=masked_schema()).sort("id")
    columns = {
        "text": compared(params.task.system_prompt, "prompt"),
        "target": text_of("completion"),
        "hollow": only_placeholders(text_of("prompt")),
    }
    said = frame.select("id", "group", "part", "tools", **columns).filter(~pl.col("hollow"))
    try:
        texts, text = Texts.kept([said["text"]])
        clusters = Clusters(said["id"], texts, text, params.dedupe, MASKED)
        known = said.select("id", **answers_of(said["tools"], said["target"])).with_columns(text=text)
        causes, conflicts = resolve(known, clusters, params.dedupe.conflicts)
        stay = said.with_columns(clusters.cluster.rank("dense").alias("cluster"), cause=causes)
        stay = stay.filter(pl.col("cause").is_null())
        sides, _ = assign(stay.select("id", "group", "part", "cluster"), set(), {}, params.split)
    except HallmarkError as error:
        found.refused.append(in_a_line(error))
        return 0
    gone = ", ".join(f"{count:,} {cause}" for cause, count in Counter(causes.drop_nulls()).items())
    largest = clusters.sizes()["largest"]
    found.lines.append(f"duplicates, of masked texts: {gone or 'none'}; the largest cluster has {largest:,} records")
    if conflicts["records"]:
        words = f"{conflicts['records']:,} records have the same text as another one, and another answer"
        found.lines.append(f"{words} (dedupe.conflicts: {params.dedupe.conflicts})")
    groups: dict[str, list[str]] = {}
    for side, group in zip(sides, stay["group"], strict=True):
        groups.setdefault(side, []).append(group)
    parts = [f"{side} {len(of):,} records of {len({*of}):,} groups" for side, of in sorted(groups.items())]
    found.lines.append(f"split: {', '.join(parts)}")
    held, gate = groups.get("holdout", []), params.gate
    if len(held) < gate.min_records or len({*held}) < gate.min_groups:
        wanted = f"{gate.min_records} held-out records of {gate.min_groups} groups"
        found.lines.append(f"the gate needs {wanted}: get more rows, or raise split.holdout")
    return len(groups.get("train", []))


def measured(rows: Sequence[Row], trained: int, params: Params, found: Rehearsal) -> None:
    """The limits in tokens, never over what the base reads, and whether training takes hours."""
    from hallmark.model.lengths import STEP_ANSWER, STEP_RECORD, context_of, rounded_up
    from hallmark.plan.bases import is_there, known
    from hallmark.plan.lengths import counter

    with tempfile.TemporaryDirectory() as folder:
        base = BASE if is_there(params) else known(params.base.name, Path(folder))
        context = context_of(base) if base else None
        tokens, _, whose = counter(params.task, base or Path(folder))
        size = base and _parameters(base)
    ordered = sorted(rows, key=lambda row: sum(len(one["content"]) for one in (*row["prompt"], *row["completion"])))
    some = ordered[: -CHUNK or None : max(1, len(ordered) // CHUNK)]
    prompts, whole, answers = tokens([*some, *ordered[-CHUNK:]])
    answer = rounded_up(1.25 * max(answers), STEP_ANSWER, context and context // 2)
    limit = rounded_up(1.1 * max(whole) + STEP_RECORD, STEP_RECORD, context)
    found.params = {"sft.max_length": limit, "eval.max_new_tokens": answer, "benchmark.max_tokens": answer}
    reads = f"{params.base.name} reads {f'{context:,}' if context else 'an unknown number'}"
    found.lines.append(f"longest record {max(whole):,} tokens, longest answer {max(answers):,} ({whose}); {reads}")
    over = sum(max(end, start + answer) > (context or end) for start, end in zip(prompts, whole, strict=True))
    if over and context:
        found.params["split.too_long"] = "drop"
        found.lines.append(f"at least {over:,} records are longer than that, and left out (split.too_long: drop)")
    if size and params.compute.device == "cpu":
        usual = whole[: len(some)] or whole
        mean = sum(usual) / len(usual)
        hours = 6 * size * mean * trained * params.sft.epochs / (FLOPS * params.compute.threads) / HOUR
        if hours > 1:
            less = "fewer sft.epochs, a GPU or a smaller base take less; `nox -s plan` says more"
            found.lines.append(f"training will take about {hours:,.0f} hours on this machine: {less}")


def _parameters(base: Path) -> float:
    """About how many parameters a base has, without its embeddings."""
    from hallmark.base.reading import read_object

    config = read_object(base / "config.json")
    hidden, inner, layers = (
        config.get(name) or 0 for name in ("hidden_size", "intermediate_size", "num_hidden_layers")
    )
    return float(layers * hidden * (3 * hidden + 3 * inner))


def _note(found: Rehearsal, check: Callable[[], None]) -> None:
    try:
        check()
    except HallmarkError as error:
        found.refused.append(in_a_line(error))


def in_a_line(error: HallmarkError) -> str:
    """An error without its place, on one line."""
    return " ".join(f"{error.field or error.file or ''}: {error.problem}: {error.remedy}".split()).lstrip(": ")
