"""Draft `stages/records.py` from a data file and at most five answers: `python -m hallmark.commands.propose data/raw/FILE`.

It asks what the answer is, what the model reads, whose rows stay together, which rows are not to be learned from, and which
columns are private; if a file next to it has the same keys, also whether to join it. It writes the script, `data/schema.json`
and the params that follow, and shows what the model will see. Without a terminal, options answer, or `--yes`. Without FILE,
nothing is asked or written: it shows what the script makes now.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from hallmark.base.document import value_at
from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import HOLDOUT_LOCK, write_json
from hallmark.base.markup import plain_text
from hallmark.commands.asking import Asker
from hallmark.commands.committed import NoRepositoryError, index, text_of
from hallmark.commands.rehearsal import faults_of, rehearse
from hallmark.draft.questions import ask
from hallmark.draft.reading import open_file
from hallmark.draft.script import Taken, script
from hallmark.draft.task import Drafted, task_of
from hallmark.params import checked
from hallmark.params.loader import Params, load_params
from hallmark.records import Record
from hallmark.records.observed import BROKEN, prompt_of
from hallmark.records.recipe import RECIPE, Run, load
from hallmark.release.model_card import FILL_IN
from hallmark.task.kinds import KINDS
from hallmark.task.task import Task

SCHEMA = Path("data/schema.json")
MOST, WARNED = 20_000, 12  # records looked at; warnings shown
SAMPLE = Path("data/raw/sample.sha256")  # the list of made-up files
CLEARED: dict[str, Any] = {  # what speaks of the values of other data
    "task.refusal": None, "mask.allow": [], "mask.allow_patterns": [], "mask.gold": None, "dedupe.gold": None, "eval.facts": {},
}  # fmt: skip
OPTIONS = {
    "--answer": ("COLUMN", "the right answer; again for several, which become fields"),
    "--read": ("COLUMN", "what the model reads; again for several"),
    "--group": ("COLUMN", "whose rows stay together; none: each row by itself"),
    "--leave-out": ("COLUMN=VALUE", "rows not to be learned from; again for several; none"),
    "--private": ("COLUMN[=KIND]", "a column that identifies somebody; again for several; none"),
    "--join": ("FILE[:COLUMN]", "a second file, and the column that both have (A=B if it has two names); none"),
}


def run(file: Path, params: Path, given: Mapping[str, list[str]], *, yes: bool) -> None:
    """Ask, write the script, its params and the schema, and show what comes of them."""
    now = load_params(params)
    taken = ask(open_file(file), Asker(given, yes))
    before = RECIPE.read_text(encoding="utf-8") if RECIPE.exists() else ""
    keep(before, text := script(taken))
    RECIPE.parent.mkdir(exist_ok=True)
    RECIPE.write_text(text, encoding="utf-8")
    print(f"\nwritten: {RECIPE}")
    records, _ = made(taken.block, None)
    task = task_of(records, taken, now.mask)
    write_json(SCHEMA, task.schema)
    new = of_sample(before)
    set_params(params, follows(task, taken, records, now, new=new))
    print(f"written: {SCHEMA}, {params}: {task.kind}")
    if new and HOLDOUT_LOCK.exists():
        HOLDOUT_LOCK.unlink()
        print(f"removed: {HOLDOUT_LOCK}, the holdout of the sample")
    show(params, write=True)


def show(params: Path, *, write: bool = False) -> None:
    """What the script makes; a HallmarkError if a stage would stop. `write`: set the limits in tokens."""
    now = load_params(params)
    records, done = made(now.records, Task(now.task))
    found = rehearse(records, now)
    if write:
        set_params(params, found.params)
    warned = [f"warning: {one}" for one in done.warnings()]
    more = [f"and {len(warned) - WARNED} more, which mask prints"] * (len(warned) > WARNED)
    lines = [*found.lines, "", *done.lines(), *warned[:WARNED], *more]
    print(printable("\n".join(lines), keep="\n"))
    text = RECIPE.read_text(encoding="utf-8").split("\n")
    line = next((number for number, one in enumerate(text, 1) if "Record(" in one), 1)
    if now.data.pseudonyms == "keyed":
        print("ids and groups get pseudonyms (data.pseudonyms: keyed), which takes a key: `nox -s key` makes it")
    if found.refused:
        problem = "\n  ".join(["a stage would stop:", *found.refused])
        raise HallmarkError(
            problem, file=RECIPE, row=line, remedy=f"edit the script or {params}; then look again with `nox -s propose`"
        )
    print(
        f"\nNext: improve task.system_prompt in {params}; to change a record, edit {RECIPE}, line {line}; then `dvc repro split`"
    )


def made(block: Mapping[str, Any], task: Task | None) -> tuple[list[Record], Run]:
    """The records of the script, and its run; if one is wrong, an error with all that are."""
    recipe = load(RECIPE)
    done = recipe.run(block, task=task)
    try:
        return list(islice(done, MOST)), done
    except HallmarkError as error:
        faults = faults_of(recipe, dict(block)) if error.field else []
        if len(faults) < 1:
            raise
        problem = "\n  ".join(["some rows make no record:", *faults])
        raise HallmarkError(
            problem, file=RECIPE, remedy="edit the script, then look again with `nox -s propose`"
        ) from None


def follows(task: Drafted, taken: Taken, records: list[Record], params: Params, *, new: bool) -> dict[str, Any]:
    """The values for params.yaml by dotted name. `new`: it speaks of sample data so far."""
    found: dict[str, Any] = CLEARED | {"task.kind": task.kind, "task.system_prompt": task.system_prompt}
    found |= {"task.schema": SCHEMA.as_posix(), "records": taken.block}
    if not any(record.tools for record in records):
        found["task.tool_format"] = "json"
    private = {value.casefold() for record in records for of in record.private.values() for value in of}
    if any({record.group.casefold(), record.id.casefold()} & private for record in records):
        found["data.pseudonyms"] = "keyed"
    marked = sum(bool(BROKEN["HTML"].search(prompt_of(record))) for record in records)
    answers = [record.target for record in records if isinstance(record.target, str)]
    plain = sum(plain_text(answer, "html") != answer for answer in answers) < 0.02 * len(records)
    found["mask.markup"] = "html" if 2 * marked >= len(records) and (plain or task.kind == "text") else "none"
    if new or task.kind != params.task.kind:
        baselines = ("base", "classical", *params.eval.comparators)
        for key, rules in KINDS[task.kind].gate.items():
            fitting = {name: value for name, value in rules.items() if key != "superiority" or name in baselines}
            found |= (
                {f"gate.serving.{name}": value for name, value in fitting.items()}
                if key == "serving"
                else {f"gate.{key}": fitting}
            )
    return found | ({"certify.intended_use": FILL_IN, "certify.limits": [FILL_IN], "certify.tags": []} if new else {})


def of_sample(before: str) -> bool:
    """Whether the script so far reads sample data."""
    names = [line[66:] for line in SAMPLE.read_text(encoding="utf-8").splitlines()] if SAMPLE.is_file() else []
    return any(f"data/raw/{name}" in before for name in names)


def keep(before: str, text: str) -> None:
    """Keep a script that git doesn't have next to the new one."""
    try:
        files = index()
        known = RECIPE.as_posix() in files and text_of(files[RECIPE.as_posix()], RECIPE.as_posix()) == before
    except (NoRepositoryError, HallmarkError):
        known = False
    if before not in ("", text) and not known:
        shutil.copyfile(RECIPE, f"{RECIPE}~")
        print(f"kept: {RECIPE}~, the script so far, which git doesn't have")


def set_params(params: Path, values: Mapping[str, Any]) -> None:
    """Write params, each on its line; those that are so already stay as they are written."""
    before = params.read_text(encoding="utf-8")
    old = checked.loaded(before)
    changed = {name: [f" {on_a_line(value)}"] for name, value in values.items() if value_at(old, name) != value}
    checked.write(params, checked.replaced(before, changed))


def on_a_line(value: Any) -> str:
    """A value as YAML on one line, with escapes for characters that are not printable."""
    from ruamel.yaml import YAML

    def dumped(*, readable: bool) -> str:
        yaml: Any = YAML(typ="safe", pure=True)  # its types know of no order
        stream = StringIO()
        yaml.default_flow_style, yaml.allow_unicode, yaml.width = True, readable, 2**31
        yaml.sort_base_mapping_type_on_output = False  # the order says something to a reader
        yaml.dump(value, stream)
        return stream.getvalue().strip("\n").removesuffix("...").strip("\n")

    text = dumped(readable=True)
    return text if text.isprintable() else dumped(readable=False)


def main(arguments: argparse.Namespace) -> None:
    """Command line."""
    given = {name: value for name in OPTIONS if (value := getattr(arguments, name[2:].replace("-", "_"))) is not None}
    if arguments.file is None:
        show(arguments.params)
    else:
        run(arguments.file, arguments.params, given, yes=arguments.yes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.propose", description=__doc__)
    words = "a file below data/raw (CSV, TSV, Parquet, Arrow, JSON), or a folder of them"
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help=words)
    for option, (form, words) in OPTIONS.items():
        parser.add_argument(option, action="append", metavar=form, help=words)
    parser.add_argument("--yes", action="store_true", help="ask nothing: take the first choices")
    run_stage("propose", __doc__, main, parser)
