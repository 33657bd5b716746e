"""Not a stage: look at a data file and propose params.yaml values for it: `python -m hallmark.commands.propose FILE`.

FILE is JSON lines, JSON, CSV, TSV, CoNLL, Parquet, or the folder of a Hugging Face dataset. Say what you know with `--input`,
`--target`, `--group`, `--kind` and `--refusal`; the rest is chosen by scored evidence, and the runners-up are shown.

Without `--write`, nothing is written. With it, at a terminal, you are asked for what you didn't say. The proposal is then
written to params.yaml, which keeps its comments, and the schema to data/schema.json; and the pipeline runs up to the split,
to show what the stages make of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import HOLDOUT_LOCK, write_json
from hallmark.base.printing import counted
from hallmark.base.reports import Report
from hallmark.commands.committed import NoRepositoryError, git, index, text_of
from hallmark.commands.repro import before_release, dvc_repro
from hallmark.params.checked import replaced
from hallmark.params.edit import value_of
from hallmark.params.loader import load_params
from hallmark.propose.codebooks import CODEBOOK
from hallmark.propose.encodings import copy_of, in_utf8
from hallmark.propose.kept_rows import where_of
from hallmark.propose.proposal import SCHEMA, Proposal
from hallmark.propose.proposing import proposed, try_out
from hallmark.propose.questions import ask_to_keep, asked, unescaped
from hallmark.propose.roles import Known
from hallmark.propose.sample import is_sample
from hallmark.task.kinds import KINDS

PARAMS = Path("params.yaml")  # as the pipeline reads it


def run(
    file: Path,
    params: Path,
    write: bool,
    known: Known | None = None,
    *,
    ask: bool = False,
    public: bool = False,
    split: bool = True,
    copied: tuple[Path, str] | None = None,
) -> None:
    """Print the proposal, and write it if `write`; what looks private only if `public`. `ask`: first; `split`: then run so far.

    `copied`: of a file in another encoding, where its copy in UTF-8 stands or will, and the encoding.
    """
    known, now = known or Known(), load_params(params)
    proposal = asked(partial(proposed, file, params), known, now.task.kind) if ask else proposed(file, params, known)
    if copied:
        named, encoding = copied
        why = f"a copy in UTF-8, which --write writes: the file looks like {encoding}"
        said = f"the file is not UTF-8 but looks like {encoding}: check letters with accents below and in {named.name}, which --write writes"
        said = f"{said} and the pipeline reads. Write new rows in UTF-8" * (encoding != "utf-8")
        if books := ", ".join(sorted(book.stem for book in file.glob(f"{CODEBOOK}/*"))):
            why = "a copy, which --write writes: the tables with the rows alone"
            said = f"a table with other columns is no row but taken for names of codes: {books}; {said}".rstrip("; ")
        proposal.set("data", "path", Path(os.path.relpath(named)).as_posix(), why)
        proposal.warnings.insert(0, said)
    try:
        (proposal.text() + json.dumps(proposal.task.schema, ensure_ascii=False)).encode()
    except UnicodeEncodeError:
        problem = "half a surrogate pair in the file's name, a column's name, a label or a key"
        raise HallmarkError(problem, file=file, remedy="remove it; text must be valid Unicode") from None
    try_out(proposal, params)
    if copied:
        proposal.warnings = [warning.replace(str(file), str(copied[0])) for warning in proposal.warnings]
    print(printable(proposal.text(now if write else None), keep="\n"))
    print(printable("\n".join(proposal.tried), keep="\n"))
    warnings = [*map(printable, numbered(proposal.warnings))]
    print("".join(f"{warning}\n" for warning in warnings), end="")
    proposal.private = [] if public else proposal.private
    if ask:
        ask_to_keep(proposal)
    if write and proposal.private:
        problem = f"nothing is written: the schema would hold what looks like {', '.join(proposal.private)}"
        remedy = "name another column with --target; or add --public, if anyone may see these values"
        raise HallmarkError(problem, file=file, field=", ".join(proposal.roles.targets), remedy=remedy)
    if write:
        write_proposal(params, proposal)
        if split and Path(".dvc").is_dir() and params.resolve() == PARAMS.resolve():
            dvc_repro("split")
            print(f"\nFrom {printable(str(proposal.file))} to the split:\n")
            again = ["\nThe warnings from before the split:", *warnings] if warnings else []
            print("\n".join([*map(printable, from_file_to_split()), *again]))
        print(f"\nNext, in {params}:\n  improve task.system_prompt, which every record starts with")
        lines = [f"  {line}" for line in before_release(load_params(params), params)]
        print("\n".join([*lines, "then `nox -s plan`, which says how long it takes, and `nox -s repro`"]))


def numbered(warnings: list[str]) -> list[str]:
    """Warnings as they are shown: one alone has no number."""
    return [f"warning{f' {number}' * bool(warnings[1:])}: {warning}" for number, warning in enumerate(warnings, 1)]


def write_proposal(params: Path, proposal: Proposal) -> None:
    """Write the proposal to params.yaml, keeping its comments, and the schema next to the data."""
    before, outdated = params.read_text(encoding="utf-8"), lock_is_outdated(params, proposal)
    old = load_params(params).model_dump(by_alias=True)
    new: dict[str, Any] = {}
    for block, values in proposal.edits.items():
        for key, value in values.items():
            name = f"{block}.{key}"
            if block == "gate" and isinstance(value, dict) and not value_of(before, name):
                new |= {f"{name}.{rule}": threshold for rule, threshold in value.items()}
            elif value != old[block][key]:  # else the line stays as it is written
                new[name] = value
    after = replaced(before, {name: [f" {on_a_line(value)}"] for name, value in new.items()})
    params.write_text(after, encoding="utf-8", newline="\n")
    write_json(SCHEMA, proposal.task.schema)
    print(f"written: {params}, {SCHEMA}")
    if outdated:
        HOLDOUT_LOCK.unlink()
        print(f"removed: {HOLDOUT_LOCK}, the holdout of other data, or of an earlier try that git doesn't have")


def lock_is_outdated(params: Path, proposal: Proposal) -> bool:
    """Whether the holdout lock is the sample's, or of an earlier try; one that git has with params of one's own data stays."""
    if not HOLDOUT_LOCK.exists() or params.resolve() != PARAMS.resolve():
        return False
    try:
        git("rev-parse", "--git-dir")
    except NoRepositoryError:  # nothing says whose lock it is
        return proposal.leaves_sample
    files = index()
    if HOLDOUT_LOCK.as_posix() not in files:
        return True
    if PARAMS.as_posix() not in files:
        return False
    named = Path(value_of(text_of(files[PARAMS.as_posix()], PARAMS.as_posix()), "data.path"))
    return is_sample(named) and named.resolve() != proposal.file.resolve()


def from_file_to_split() -> Iterator[str]:
    """How many rows each stage took in, changed and left out, as their reports say."""
    mask, dedupe, split = map(Report, ("mask", "dedupe", "split"))

    rows, missing = mask.at("rows"), counted(mask.at("missing"))
    unwanted = mask.content.get("unwanted", 0)
    gone = ", ".join([f"without {missing}"] * bool(missing) + [f"by data.where {unwanted:,}"] * bool(unwanted))
    yield f"  rows      {rows['read']:,}{f'; left out {gone}' if gone else ''}"
    kinds = sorted(mask.at("spans", "by_kind").items(), key=lambda kind: -kind[1])
    found = f": {counted(dict(kinds))}" if kinds else ""
    yield f"  masked    {mask.at('spans', 'total'):,} spans in {mask.at('records_with_spans'):,} rows{found}"
    leaks = sum(count for side in split.at("dropped").values() for count in side.values())
    too_long = split.at("left_out", "too_long")
    more = {"leak": leaks, "too long": too_long}
    dropped = counted({"by mask.actions": rows["dropped"]} | dedupe.at("dropped") | more)
    yield f"  dropped   {dropped or 'none'}"
    rows = {side: split.at("rows", side) for side in ("train", "validation", "calibration", "holdout", "online")}
    sides = [f"{side} {count:,} of {split.at('groups', side):,} groups" for side, count in rows.items() if count]
    yield f"  kept      {', '.join(sides)}"


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
    """Command line: FILE, what the user knows, and `--write`."""
    inputs = tuple(map(unescaped, arguments.input))
    known = Known(inputs, tuple(dict.fromkeys(arguments.target)), arguments.group, arguments.refusal, arguments.kind)
    known = replace(known, where=where_of(arguments.where)) if arguments.where else known
    ask = arguments.write and not arguments.yes and sys.stdin.isatty()
    with in_utf8(arguments.file, write=arguments.write) as (file, encoding):
        more: dict[str, Any] = {"public": arguments.public, "split": not arguments.no_split}
        more["copied"] = (copy_of(arguments.file), encoding) if encoding else None
        run(file, arguments.params, arguments.write, known, ask=ask, **more)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.propose", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="JSON lines, a table, CoNLL, or a dataset's folder")
    for option, words in (
        ("--input", "what the model reads: a column or a template such as '{subject}\\n{body}'; again for several"),
        ("--target", "the right answer; again for several, which become one JSON object"),
    ):
        parser.add_argument(option, action="append", default=[], metavar="COLUMN", help=words)
    words = "which rows must stay together: those of a customer, document or conversation"
    parser.add_argument("--group", metavar="COLUMN", help=words)
    words = "the target of what must not or can't be done, as it is in the file"
    parser.add_argument("--refusal", metavar="TEXT", help=words)
    words = "the rows to keep: a column and a value of it; again for several; all: all rows"
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE", help=words)
    parser.add_argument("--kind", choices=sorted(KINDS), help="the kind of task, if the guess is wrong")
    parser.add_argument("--write", action="store_true", help="ask, write params.yaml and data/schema.json, and split")
    parser.add_argument("--yes", action="store_true", help="ask nothing, and take what is proposed")
    parser.add_argument("--no-split", action="store_true", help="with --write, run no stage: params will change first")
    parser.add_argument("--public", action="store_true", help="write labels too that look like people's names")
    run_stage("propose", __doc__, main, parser)
