"""Not a stage: look at a data file and propose what params.yaml should say of it: `python -m stages.tools.propose FILE`.

FILE is JSONL, JSON, CSV, Parquet, or a folder of a Hugging Face dataset. With `--write` the proposal goes into
params.yaml, its comments kept, and the schema into data/schema.json; without it nothing is written.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from stages.core.errors import HallmarkError, run_stage
from stages.core.files import HOLDOUT_LOCK, write_json
from stages.core.records import READERS, files_of, fill, read_rows
from stages.corpus.conversations import layout_of, turns
from stages.params.loader import load_params
from stages.privacy.params import Ner
from stages.tasks.kinds import KINDS
from stages.tools.infer import Inferred, infer
from stages.tools.profile import Column, Guess, Rows, canonical_or_text, guess

SCHEMA = Path("data/schema.json")
MANY = 0.2  # share of the rows from which one group is a giant
LOOKED_AT = 300  # inputs in which private data is looked for
LONG = 3000  # characters: about 800 tokens of English


def run(file: Path, params: Path, write: bool) -> None:
    """Print the proposal, with reasons and warnings; write it where asked to."""
    rows = read(file)
    columns = {name: Column(name, [row.get(name) for row in rows]) for name in names(rows)}
    found = guess(columns)
    if not found.target or not found.input or not columns[found.target].given:
        raise HallmarkError(
            "no column for an input and an answer", file=file, remedy="a row needs a text and what is due"
        )
    task = infer(columns[found.target])
    print(text(file, rows, found, task))
    for number, warning in enumerate(warnings(rows, columns, found, task, params), 1):
        print(f"warning {number}: {warning}")
    if write:
        put(file, params, found, task)


def read(path: Path) -> Rows:
    """All rows, with the columns of a conversation where they are one."""
    if path.is_dir() and not files_of(path):
        files = [file for file in sorted(path.rglob("*")) if file in files_of(file.parent)]
        below = dict.fromkeys(file.parent for file in files)
        names = ", ".join(str(folder) for folder in below) or f"none; {', '.join(READERS)} are read"
        raise HallmarkError("no rows in the folder itself", file=path, remedy=f"name one of its parts: {names}")
    rows: Rows = []
    for file in files_of(path):
        for number, row in read_rows(file):
            rows.append(row | turns(row, file, number) if layout_of(row) else row)
    if not rows:
        raise HallmarkError("holds no rows", file=path, remedy="name a file with rows")
    return rows


def names(rows: Rows) -> list[str]:
    """All columns, in the order they come up."""
    return list(dict.fromkeys(name for row in rows for name in row))


def blocks(file: Path, found: Guess, task: Inferred) -> dict[str, dict[str, Any]]:
    """What params.yaml should say, by block."""
    path = Path(os.path.relpath(file)).as_posix()
    data: dict[str, str | None] = {
        "path": path,
        "id": found.id,
        "group": found.group,
        "input": found.input,
        "target": found.target,
    }
    data |= {"context": found.context, "tools": found.tools, "rejected": found.rejected, "tags": found.tags}
    return {
        "data": data,
        "task": {
            "kind": task.kind,
            "system_prompt": KINDS[task.kind].prompt_hint(str(found.target), task.schema),
            "schema": SCHEMA.as_posix(),
            "refusal": task.refusal,
        },
        "mask": {"identity_columns": found.identity, "allow": [], "gold": None},
        "dedupe": {"gold": None},
        "eval": {"spans": [], "facts": {}},
    }


def text(file: Path, rows: Rows, found: Guess, task: Inferred) -> str:
    """The proposal as it would stand in params.yaml, with a reason on each line that has one."""
    lines = [f"{len(rows)} rows. Proposed for params.yaml (`--write` puts it there):", ""]
    for block, values in blocks(file, found, task).items():
        lines.append(f"{block}:")
        for key, value in values.items():
            reason = found.why.get(key) if block == "data" else {"kind": task.why}.get(key)
            if key == "identity_columns":
                reason = "; ".join(f"{name} {found.why[name]}" for name in found.identity) or "none found"
            elif key in ("id", "group") and value == "row.id":
                reason = "no column fits; a hash of the row"
            lines.append(f"  {key}: {json.dumps(value, ensure_ascii=False)}{f'  # {reason}' if reason else ''}")
    if found.unused:
        lines.append(f"# not used: {', '.join(found.unused)}")
    return "\n".join([*lines, "", f"{SCHEMA}:", json.dumps(task.schema, ensure_ascii=False, indent=2), ""])


def warnings(rows: Rows, columns: dict[str, Column], found: Guess, task: Inferred, params: Path) -> list[str]:
    """What will go wrong, or needs a look, most serious first."""
    warned = [
        f"column '{name}' is missing or empty in {columns[name].empty} of {len(rows)} rows: give it a value there, or drop them"
        for name in dict.fromkeys([found.target, *([found.group] if found.group in columns else [])])
        if columns[name].empty
    ]
    warned += of_groups(rows, columns, found)
    inputs = [fill(found.input, row) for row in rows]
    warned += of_conflicts(inputs, [canonical_or_text(row.get(found.target)) for row in rows])
    long = [len(one) for one in inputs if len(one) > LONG]
    if long:
        warned.append(
            f"{len(long)} inputs are longer than {LONG} characters (the longest {max(long)}): raise sft.max_length, or "
            "set sft.too_long to drop"
        )
    if KINDS[task.kind].listed:
        rare = sorted(label for label, count in columns[found.target].keys.items() if count < 10)
        if rare:
            warned.append(
                f"{len(rare)} labels stand in fewer than 10 rows and can hardly be learned: {', '.join(rare)}"
            )
    if len(rows) < 100 * 5:
        warned.append(f"{len(rows)} rows: few to learn from, and a holdout of 100 is the least the gate takes")
    return warned + of_private(inputs, params)


def of_private(inputs: list[str], params: Path) -> list[str]:
    """What the rules of `mask` find in some of the inputs; names that no rule finds are not counted."""
    from stages.privacy.masking import Masker

    rules = load_params(params).mask.model_copy(update={"ner": Ner(engine="none", model=None)})
    some = inputs[:: max(1, len(inputs) // LOOKED_AT)]
    masker = Masker(rules)
    found = [{span.kind for span in masker(one).spans} for one in some]
    kinds = Counter(kind for kinds in found for kind in kinds)
    if not kinds:
        return []
    return [
        f"private data in {sum(map(bool, found))} of {len(some)} inputs looked at "
        f"({', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))}): mask takes it out; see how with "
        "`python -m stages.mask --preview FILE --field COLUMN`, and name columns of names in mask.identity_columns"
    ]


def of_groups(rows: Rows, columns: dict[str, Column], found: Guess) -> list[str]:
    """Groups decide what the holdout is worth."""
    if found.group == "row.id":
        return [
            "no column says which rows belong together (a customer, document, conversation): every row counts as its own "
            "group, and a split may put the same customer on both sides. Add such a column if there is one"
        ]
    groups = columns[found.group].keys
    largest = max(groups.values()) / len(rows)
    warned = []
    if len(groups) < 20:
        warned.append(
            f"only {len(groups)} groups in '{found.group}': the intervals will be wide, and the gate asks for 8 held out"
        )
    if largest > MANY:
        warned.append(
            f"the largest group of '{found.group}' has {100 * largest:.0f} % of the rows: it is held out whole, or not at all"
        )
    return warned


def of_conflicts(inputs: list[str], targets: list[str]) -> list[str]:
    """The same text with different answers, and the same text again."""
    answers: dict[str, set[str]] = defaultdict(set)
    for one, target in zip(inputs, targets, strict=True):
        answers[" ".join(one.lower().split())].add(target)
    keys = Counter(" ".join(one.lower().split()) for one in inputs)
    conflicting = sum(keys[one] for one, due in answers.items() if len(due) > 1)
    repeats = len(inputs) - len(keys)
    warned = []
    if conflicting:
        warned.append(
            f"{conflicting} rows ({100 * conflicting / len(inputs):.1f} %) have a text that stands elsewhere with another "
            "answer: dedupe.conflicts says what happens (majority, drop or keep); or add to data.input what tells them apart"
        )
    if repeats > 0.1 * len(inputs):
        warned.append(
            f"{repeats} rows ({100 * repeats / len(inputs):.0f} %) repeat a text: dedupe drops them before the split"
        )
    return warned


def put(file: Path, params: Path, found: Guess, task: Inferred) -> None:
    """Write the proposal into params.yaml, comments kept, and the schema beside the data."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    document = yaml.load(params.read_text(encoding="utf-8"))
    for block, values in blocks(file, found, task).items():
        for key, value in values.items():
            document[block][key] = value
    with params.open("w", encoding="utf-8", newline="\n") as stream:
        yaml.dump(document, stream)
    write_json(SCHEMA, task.schema)
    print(f"written: {params}, {SCHEMA}. Better the system prompt by hand.")
    if HOLDOUT_LOCK.exists():
        print(f"{HOLDOUT_LOCK} is of other data: remove it, or run `python -m stages.split --refreeze`")


def main(arguments: argparse.Namespace) -> None:
    """Command line: FILE, and `--write`."""
    run(arguments.file, arguments.params, arguments.write)


if __name__ == "__main__":
    own = argparse.ArgumentParser(prog="python -m stages.tools.propose", description=__doc__)
    own.add_argument("file", type=Path, metavar="FILE", help="JSONL, JSON, CSV, Parquet, or a dataset's folder")
    own.add_argument("--write", action="store_true", help="put the proposal into params.yaml and data/schema.json")
    run_stage("propose", __doc__, main, own)
