"""Not a stage: look at a data file and propose params.yaml values for it: `python -m stages.tools.propose FILE`.

FILE is JSONL, JSON, CSV, Parquet, or the folder of a Hugging Face dataset. With `--write`, the proposal is written to
params.yaml, which keeps its comments, and the schema to data/schema.json; without it, nothing is written.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter, defaultdict
from io import StringIO
from pathlib import Path

from stages.core.errors import HallmarkError, run_stage
from stages.core.files import HOLDOUT_LOCK, write_json
from stages.core.records import READERS, files_of, fill, read_rows
from stages.corpus.conversations import layout_of, turns
from stages.params.loader import load_params
from stages.tasks.kinds import KINDS
from stages.tools.infer import Inferred, infer
from stages.tools.profile import Column, Guess, Rows, canonical_or_text, guess
from stages.tools.proposal import Proposal
from stages.tools.new_data import set_for_new_data
from stages.tools.rehearsal import rehearse

SCHEMA = Path("data/schema.json")
MANY = 0.2  # share of the rows above which a group gets a warning
LONG = 3000  # characters: about 800 tokens of English


def run(file: Path, params: Path, write: bool) -> None:
    """Print the proposal with reasons and warnings, and write it if `write` is true."""
    proposal = proposed(file)
    try:
        text(proposal).encode()
    except UnicodeEncodeError:
        raise HallmarkError(
            "half a surrogate pair in the file's name, a column's name, a label or a key",
            file=file,
            remedy="remove it; text must be valid Unicode",
        ) from None
    rehearse(proposal, load_params(params))
    set_for_new_data(proposal, load_params(params))
    print(text(proposal))
    print("\n".join(proposal.tried))
    for number, warning in enumerate(proposal.warnings, 1):
        print(f"warning {number}: {warning}")
    if write:
        write_proposal(params, proposal)


def proposed(file: Path) -> Proposal:
    """What is proposed for a file before anything is tried."""
    rows = read(file)
    columns = {name: Column(name, [row.get(name) for row in rows]) for name in names(rows)}
    roles = guess(columns)
    if not roles.target or not roles.input or not columns[roles.target].given:
        raise HallmarkError(
            "no column for an input and an answer", file=file, remedy="give each row a text and the expected answer"
        )
    proposal = Proposal(file, rows, columns, roles, infer(columns[roles.target]))
    set_values(proposal)
    proposal.warnings += warnings(rows, columns, roles, proposal.task)
    return proposal


def read(path: Path) -> Rows:
    """All rows; if they are conversations, with the columns of the turns."""
    if path.is_dir() and not files_of(path):
        files = [file for file in sorted(path.rglob("*")) if file in files_of(file.parent)]
        subfolders = dict.fromkeys(file.parent for file in files)
        names = ", ".join(str(folder) for folder in subfolders) or f"none; files must be {', '.join(READERS)}"
        raise HallmarkError("no rows in the folder itself", file=path, remedy=f"name one of its subfolders: {names}")
    rows: Rows = []
    for file in files_of(path):
        for number, row in read_rows(file):
            rows.append(row | turns(row, file, number) if layout_of(row) else row)
    if not rows:
        raise HallmarkError("has no rows", file=path, remedy="name a file with rows")
    return rows


def names(rows: Rows) -> list[str]:
    """All columns, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def set_values(proposal: Proposal) -> None:
    """The values for params.yaml that follow from roles and task, each with its reason."""
    roles, task = proposal.roles, proposal.task
    proposal.set("data", "path", Path(os.path.relpath(proposal.file)).as_posix())
    for key in ("id", "group", "input", "target", "context", "tools", "rejected", "tags"):
        value = getattr(roles, key)
        absent = "no column fits; a hash of the row" if key in ("id", "group") and value == "row.id" else None
        proposal.set("data", key, value, roles.why.get(key, absent))
    proposal.set("data", "split", None)
    proposal.set("task", "kind", task.kind, task.why)
    proposal.set("task", "system_prompt", KINDS[task.kind].prompt_hint(str(roles.target), task.schema))
    proposal.set("task", "schema", SCHEMA.as_posix())
    proposal.set("task", "refusal", task.refusal)
    why = "; ".join(f"{name} {roles.why[name]}" for name in roles.identity) or "none found"
    proposal.set("mask", "identity_columns", roles.identity, why)
    for key in ("allow", "allow_patterns", "keep_targets"):
        proposal.set("mask", key, [])
    proposal.set("mask", "gold", None)
    proposal.set("dedupe", "gold", None)
    proposal.set("eval", "spans", [])
    proposal.set("eval", "facts", {})


def text(proposal: Proposal) -> str:
    """The proposal in the form of params.yaml, with reasons as comments."""
    lines = [f"{len(proposal.rows)} rows. Proposed for params.yaml (`--write` writes it):", ""]
    for block, values in proposal.edits.items():
        lines.append(f"{block}:")
        for key, value in values.items():
            reason = proposal.reasons.get((block, key))
            lines.append(f"  {key}: {json.dumps(value, ensure_ascii=False)}{f'  # {reason}' if reason else ''}")
    if proposal.roles.unused:
        lines.append(f"# not used: {', '.join(proposal.roles.unused)}")
    return "\n".join([*lines, "", f"{SCHEMA}:", json.dumps(proposal.task.schema, ensure_ascii=False, indent=2), ""])


def warnings(rows: Rows, columns: dict[str, Column], roles: Guess, task: Inferred) -> list[str]:
    """Things that will go wrong or need a look, most serious first."""
    warned = [
        f"column '{name}' is missing or empty in {columns[name].empty} of {len(rows)} rows: fill it in, or drop those rows"
        for name in dict.fromkeys([roles.target, *([roles.group] if roles.group in columns else [])])
        if columns[name].empty
    ]
    warned += group_warnings(rows, columns, roles)
    inputs = [fill(roles.input, row) for row in rows]
    warned += conflict_warnings(inputs, [canonical_or_text(row.get(roles.target)) for row in rows])
    long = [len(text) for text in inputs if len(text) > LONG]
    if long:
        warned.append(
            f"{len(long)} inputs are longer than {LONG} characters (the longest {max(long)}): raise sft.max_length, or "
            "set sft.too_long to drop"
        )
    if KINDS[task.kind].listed:
        rare = sorted(label for label, count in columns[roles.target].keys.items() if count < 10)
        if rare:
            warned.append(
                f"{len(rare)} labels have fewer than 10 rows each and can hardly be learned: {', '.join(rare)}"
            )
    if len(rows) < 100 * 5:
        warned.append(f"{len(rows)} rows: few to learn from, and the gate needs a holdout of at least 100")
    return warned


def group_warnings(rows: Rows, columns: dict[str, Column], roles: Guess) -> list[str]:
    """Warnings about groups that would make the holdout less reliable."""
    if roles.group == "row.id":
        return [
            "no column says which rows belong together (a customer, document, conversation): every row counts as its own "
            "group, and a split may put the same customer on both sides. Add such a column if you have one"
        ]
    groups = columns[roles.group].keys
    largest = max(groups.values()) / len(rows)
    warned = []
    if len(groups) < 20:
        warned.append(
            f"only {len(groups)} groups in '{roles.group}': the intervals will be wide, and the gate needs 8 in the holdout"
        )
    if largest > MANY:
        warned.append(
            f"the largest group of '{roles.group}' has {100 * largest:.0f} % of the rows: all of it is held out, or none"
        )
    return warned


def conflict_warnings(inputs: list[str], targets: list[str]) -> list[str]:
    """Warnings about equal texts with different answers, and about repeated texts."""
    answers: dict[str, set[str]] = defaultdict(set)
    for text, target in zip(inputs, targets, strict=True):
        answers[" ".join(text.lower().split())].add(target)
    counts = Counter(" ".join(text.lower().split()) for text in inputs)
    conflicting = sum(counts[text] for text, different in answers.items() if len(different) > 1)
    repeats = len(inputs) - len(counts)
    warned = []
    if conflicting:
        warned.append(
            f"{conflicting} rows ({100 * conflicting / len(inputs):.1f} %) have the same text as another row but a different "
            "answer: set dedupe.conflicts (majority, drop or keep), or add to data.input whatever distinguishes them"
        )
    if repeats > 0.1 * len(inputs):
        warned.append(
            f"{repeats} rows ({100 * repeats / len(inputs):.0f} %) repeat a text: dedupe drops them before the split"
        )
    return warned


def write_proposal(params: Path, proposal: Proposal) -> None:
    """Write the proposal to params.yaml, keeping its comments, and the schema next to the data."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    document = yaml.load(params.read_text(encoding="utf-8"))
    for block, values in proposal.edits.items():
        for key, value in values.items():
            old = document[block].get(key)
            if isinstance(value, list):
                value = CommentedSeq(value)
                value.fa.set_flow_style()  # on the line of its comment
            elif isinstance(value, dict) and isinstance(old, CommentedMap) and old.fa.flow_style():
                value = CommentedMap(value)
                value.fa.set_flow_style()
            document[block][key] = value
    stream = StringIO()  # whatever can't be written leaves the file as it is
    yaml.dump(document, stream)
    params.write_text(stream.getvalue(), encoding="utf-8", newline="\n")
    write_json(SCHEMA, proposal.task.schema)
    print(f"written: {params}, {SCHEMA}. Now improve the system prompt by hand.")
    if HOLDOUT_LOCK.exists():
        print(f"{HOLDOUT_LOCK} belongs to other data: remove it, or run `python -m stages.split --refreeze`")


def main(arguments: argparse.Namespace) -> None:
    """Command line: FILE, and `--write`."""
    run(arguments.file, arguments.params, arguments.write)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.tools.propose", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="JSONL, JSON, CSV, Parquet, or a dataset folder")
    parser.add_argument("--write", action="store_true", help="write the proposal to params.yaml and data/schema.json")
    run_stage("propose", __doc__, main, parser)
