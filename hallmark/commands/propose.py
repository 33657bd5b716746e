"""Not a stage: look at a data file and propose params.yaml values for it: `python -m hallmark.commands.propose FILE`.

FILE is JSON lines, JSON, CSV, TSV, CoNLL, Parquet, or the folder of a Hugging Face dataset. Say what you know with `--input`,
`--target`, `--group`, `--kind` and `--refusal`; the rest is chosen by scored evidence, and the runners-up are shown.

Without `--write`, nothing is written. With it, at a terminal, you are asked for what you didn't say. The proposal is then
written to params.yaml, which keeps its comments, and the schema to data/schema.json; and the pipeline runs up to the split,
to show what the stages make of the file.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import sys
from collections.abc import Iterator, Set
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from io import StringIO
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

from hallmark.base.document import objects
from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import HOLDOUT_LOCK, write_json
from hallmark.base.params import Chat
from hallmark.base.printing import counted
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.records import columns_of
from hallmark.base.reports import Report
from hallmark.base.rows import READERS, files_of, lists_in, read_rows
from hallmark.commands.chats import all_answers, chat_in, left_out, wrapped_up
from hallmark.commands.columns import (
    Column,
    Rows,
    answers_of,
    columns_in,
    labels_in,
    tools_in,
    with_fields_of_spans,
    with_passages,
)
from hallmark.commands.committed import NoRepositoryError, git, index, text_of
from hallmark.commands.dry_run import rehearse
from hallmark.commands.encodings import CODEBOOK, TABLES, codebook, copy_of, encoding_of, in_utf8, read_csv, successors
from hallmark.commands.evidence import copies, gives_orders, is_free, is_translation, no_labels, stand_ins
from hallmark.commands.infer import LEFT_OUT, SOME_CALLS, held_by, infer, is_refusal
from hallmark.commands.kept_rows import ALL as KEEP_ALL
from hallmark.commands.kept_rows import in_words, marked, where_of
from hallmark.commands.label_signs import defaults, same_class
from hallmark.commands.proposal import FEW, SCHEMA, Proposal, is_sample
from hallmark.commands.questions import UndecidedError, ask_to_keep, asked, unescaped
from hallmark.commands.repro import before_release, dvc_repro
from hallmark.commands.roles import Guess, Known, guess, related
from hallmark.data.conversations import PART, TURNS, WHOLE, layout_of, part_of, turns, whole, with_messages
from hallmark.data.copied import pairs
from hallmark.data.missing import MissingValueError, is_blank, is_kept, stands_for_none
from hallmark.data.spans import LABELS
from hallmark.params.checked import replaced
from hallmark.params.edit import value_of
from hallmark.params.loader import Params, load_params
from hallmark.task.kinds import KINDS

PARAMS = Path("params.yaml")  # as the pipeline reads it
MOST_LINES = 200  # of the schema shown
MOST_NAMES = 2**20  # bytes of a file with the names of labels
PROMPT = re.compile(r"(?i)(prompt|instru[ck][ct]i[^\W\d_]*|anweisung(en)?|consignes?|istruzioni)[\W_\dv]*$")
WORDY = 6  # words from which on a text that is named a prompt is one, and no version of it
SHOWN = 30  # columns named in an error


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
        (text(proposal) + json.dumps(proposal.task.schema, ensure_ascii=False)).encode()
    except UnicodeEncodeError:
        problem = "half a surrogate pair in the file's name, a column's name, a label or a key"
        raise HallmarkError(problem, file=file, remedy="remove it; text must be valid Unicode") from None
    try_out(proposal, params)
    if copied:
        proposal.warnings = [warning.replace(str(file), str(copied[0])) for warning in proposal.warnings]
    print(printable(text(proposal, now if write else None), keep="\n"))
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


def proposed(file: Path, params: Path, known: Known | None = None, first: Guess | None = None) -> Proposal:
    """What is proposed for a file before anything is tried. `first`: the roles, if they are known from all of its rows."""
    known, file = known or Known(), data_in(file)
    chosen = {*known.targets, *(name for text in known.inputs for name in columns_of(text))}
    rows, chat, calls, gone = read(file, chosen, known.where)
    note = wrapped_up(chat, rows) if chat and WHOLE in rows[0] else None
    try:
        found = columns_in(rows)
        told = tuple(f"{name}." for name in (chat.turns, chat.opening) if name) if chat else ()
        found = {name: of for name, of in found.items() if not f"{name}.".startswith(told)}
        columns = with_passages(with_fields_of_spans(found, known.targets))
    except HallmarkError as error:  # it knows the row by its place among all
        places = ((path, number, row) for path in files_of(file) for number, row in read_rows(path))
        path, number, _ = [place for place in places if is_kept(place[2], known.where or {})][error.row or 0]
        raise HallmarkError(error.problem, file=path, row=number, field=error.field, remedy=error.remedy) from None
    check_known(known, columns, file)
    names = {name: label_names(file, of, columns.keys()) for name, of in columns.items() if of.is_code()}
    listed = choices_in(rows[0])
    names |= {name: listed for name, of in columns.items() if of.keys and of.keys.keys() <= listed.keys()}
    read_as, together = dict(columns), coded_together(file, [columns[name] for name in names])
    for name, of in names.items():
        values = [of.get(str(value), value) for value in columns[name].values]
        read_as[name] = Column(name, values, has_names=bool(of) or name in together)
    first = first or guess(read_as, known, note, together)
    roles = deepcopy(first)
    roles.chat = chat.model_dump() if chat else None
    target = columns.get(roles.targets[0]) if known.kind in (None, "extraction") else None
    if target and not roles.targets[1:] and (several := labels_in(target)):
        columns[several.name], roles.target = several, several.name
        roles.why["target"] = f"{roles.why['target']}; several labels in one text"
    for name in columns_of(roles.input):
        if name in roles.leaks and roles.leaks[name].sure:
            problem = f"the input would hold the answer: {roles.leaks[name].why}"
            remedy = "leave this column out with --input, add one with the text as it is before the answer is known, or name "
            remedy += "another answer with --target"
            raise UndecidedError(problem, "inputs", roles, columns, file=file, field=name, remedy=remedy)
    answered = all(name in columns and columns[name].given for name in roles.targets)
    if not roles.input or not answered:
        problem, unsaid = "no column for an input and an answer", "inputs" if answered else "targets"
        remedy = "give each row a text and the expected answer, or name them with --input and --target; "
        remedy += f"the columns are {', '.join(list(columns)[:SHOWN])}"
        raise UndecidedError(problem, unsaid, roles, columns, file=file, remedy=remedy)
    for name in (name for name in columns if "." in name):  # what a record is made of, as the stages see it
        for row, value in zip(rows, columns[name].values, strict=True):
            row.setdefault(name, value)
    answers = answers_of(columns, roles.target)
    read_texts = [columns[name] for name in columns_of(roles.input) if name in columns]
    labels, read_each = one_a_row(answers, read_texts)
    none, asked = ({*of} - {known.refusal, ""} for of in no_labels(labels, names.get(answers.name, {})))
    none = {*none, *stand_ins(answers, read_texts)} - {known.refusal, ""} if isinstance(roles.target, str) else set()
    besides = [of for name, of in columns.items() if not related(name, answers.name) and of not in read_texts]
    surely, perhaps = defaults(answers, besides, read_texts)
    none, asked = {*none, *surely}, {*asked, *perhaps}
    one_class = same_class(labels, besides if labels is answers else (), read_each)
    blank = [stands_for_none(value, none) for value in answers.values]
    counted = sum(blank)
    source = columns.get(roles.input)
    if (
        source
        and source.all(str)
        and is_free(answers)
        and (same := copies(answers, source))
        and is_translation(answers, source)
    ):
        none.add(f"{{{source.name}}}")
        counted += same
        blank = [gone or value == of for gone, value, of in zip(blank, answers.values, source.values, strict=True)]
    answers = Column(answers.name, [None if gone else of for gone, of in zip(blank, answers.values, strict=True)])
    if known.refusal is not None and not any(is_refusal(value, known.refusal) for value in answers.given):
        remedy = "give the target that refuses, as it is in the file"
        raise HallmarkError("no target is the text of --refusal", file=file, remedy=remedy)
    tools = columns[roles.tools] if roles.tools else None
    spoken = [columns[name].values for name in columns_of(roles.input) if name in columns]
    held = held_by([" ".join(map(str, of)) for of in zip(*spoken, strict=True)], answers)
    try:
        said: dict[str, Any] = {"said": bool(known.targets), "refusal": known.refusal, "kind": known.kind}
        task = infer(answers, tools, names=names.get(answers.name), held=held, **said)
    except ValueError as error:
        problem, remedy = f"not of kind {known.kind}: {error}", "name another column with --target, or another --kind"
        raise HallmarkError(problem, file=file, field=answers.name, remedy=remedy) from None
    proposal = Proposal(file, rows, columns, roles, task)
    proposal.set_values()
    proposal.set("data", "where", known.where or {}, "as you said" if known.where else None)
    if none:
        why = f"{counted} targets are no answer: short texts, codes or empty objects that stand for a missing one"
        why += f", or copies of '{roles.input}'" * (f"{{{roles.input}}}" in none)
        proposal.set("data", "no_answer", sorted(none), why)
    if maybe := sorted(asked - none):
        doubt = f"{', '.join(maybe)} ({sum(str(value).strip() in maybe for value in labels.values)} rows) may stand for no answer"
        proposal.warnings.append(f"{doubt}: if so, add to data.no_answer; else a model learns it as a label")
    if one_class:
        sets = [" and ".join(f"'{names.get(answers.name, {}).get(label, label)}'" for label in of) for of in one_class]
        more = f"; and {len(sets) - FEW} more" * (len(sets) > FEW)
        doubt = f"{'; '.join(sets[:FEW])}{more}: each may be one label under several names, which the text does not tell apart"
        proposal.warnings.append(f"{doubt}. If so, write the same one in the data")
    around = wrapper(file)
    proposal.warnings += other_lists(around, len(rows)) + gone
    if not roles.system_prompt:
        proposal.instruct([*instructions(file, around)], load_params(params).mask)
    calls = "" if chat and chat.answer and task.kind == "tool_call" else calls  # a response is one answer
    if calls and roles.target == "turns.target":
        proposal.set("data", "target", "turns.target", "the assistant's calls, or its last answer if it calls nothing")
        proposal.set("data", "answers", "calls", calls)
    if calls is not None and roles.target == "turns.target":
        proposal.set("data", "no_call", "empty", "what is said without a call is the answer []")
        task.doubts = [doubt.replace(LEFT_OUT, "; else their answer is [], no call") for doubt in task.doubts]
    if not calls and roles.target == "turns.target" and task.kind == "text" and (stock := all_answers(rows)):
        proposal.set("data", "answers", "all", stock)
    proposal.warn(load_params(params))
    if known.where is not None:
        return proposal
    done = [not all(map(is_blank, of)) for of in zip(*(columns[name].values for name in roles.targets), strict=True)]
    own = {_leaf(name) for name in columns if any(related(name, target) for target in roles.targets)}
    # Not what has a role, an answer or its name, nor what is made of other columns, which `data.where` doesn't know.
    out = {*proposal.read, *roles.identity, roles.group, roles.split, PART, *(columns.keys() - found)}
    others = [of for name, of in columns.items() if name not in out and _leaf(name) not in own]
    where, sure, perhaps = marked(others, done)
    if doubted := columns.get(first.doubted or ""):
        left = [value for row, value in zip(rows, doubted.values, strict=True) if is_kept(row, where)]
        first.doubted = doubted.name if Column("", left).distinct > 1 else None
    with suppress(UndecidedError):
        proposal = proposed(file, params, replace(known, where=where), first) if where else proposal
        if where:
            why = f"{'; '.join(sure)}: left out"
            proposal.set("data", "where", where, why)
            proposal.warnings[:0] = [f"{why} (data.where). If a model should learn from them, add `--where {KEEP_ALL}`"]
    doubt = f"{'; '.join(perhaps)}: if a model should not learn from these, name the rows to keep with --where"
    proposal.warnings += [doubt] if perhaps else []
    return proposal


def _leaf(name: str) -> str:
    """The last key of a dotted name: not a place in a list."""
    return next((part for part in reversed(name.split(".")) if not part.isdecimal()), name)


def one_a_row(answers: Column, texts: list[Column]) -> tuple[Column, list[Column]]:
    """Lists of labels as single ones, each with the texts of its row; other answers as they are."""
    if not answers.name.endswith(LABELS):
        return answers, texts
    each = [(at, label) for at, of in enumerate(answers.values) for label in of or ()]
    read = [Column(text.name, [text.values[at] for at, _ in each]) for text in texts]
    return Column(answers.name, [label for _, label in each]), read


def data_in(path: Path) -> Path:
    """The file itself; of a folder, the largest file (packed ones count more), if no other has such rows, but names of labels, say."""
    files = sorted(
        files_of(path) if path.is_dir() else (),
        key=lambda of: of.stat().st_size * (10 if of.suffix in (".parquet", ".arrow") else 1),
    )
    columns = {*next((row for _, row in read_rows(files[-1])), {})} if files else set()
    for file in files[:-1]:
        with suppress(HallmarkError):
            if any(2 * len(columns & row.keys()) > len(columns) for _, row in read_rows(file)):
                return path
    return files[-1] if files[1:] else path


def wrapper(file: Path) -> dict[str, Any]:
    """The object around the rows of a JSON file; empty if there is none."""
    if file.suffix == ".json" and file.is_file():
        with suppress(NotJsonError):
            value = strict_json(file.read_text(encoding="utf-8-sig"))
            return value if isinstance(value, dict) else {}
    return {}


def other_lists(around: dict[str, Any], count: int) -> list[str]:
    """What to say of the lists of objects in a JSON file that are not its rows."""
    lists = {key: len(items) for key, items in lists_in(around).items()}
    said = ", ".join(f"'{key}' ({length})" for key, length in lists.items() if length != count)
    wanted = count in lists.values() and len(lists) > 1
    return [f"the rows are the longest list ({count}), not {said}: write another one into a file of its own"] * wanted


def instructions(file: Path, around: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Texts around the rows, or next to their file, that tell somebody what to do: where, what, and whether their names say a model."""
    inside = pairs({key: of for key, of in around.items() if key not in lists_in(around)}, None)
    found = [(f"'{path}' of the file", path.rpartition(".")[2], said) for path, said, _ in inside]
    beneath = [(near, said) for near, said in texts_near(file) if near.suffix in (".txt", ".md")]
    for where, name, said in [*found, *((f"{near.name} next to the rows", near.stem, said) for near, said in beneath)]:
        named = bool(PROMPT.search(name))
        if isinstance(said, str) and (gives_orders(said) or (named and len(said.split()) >= WORDY)):
            yield where, said.strip(), named


def texts_near(file: Path) -> Iterator[tuple[Path, str]]:
    """The small files of text next to the data, and what they say."""
    folder = file if file.is_dir() else file.parent
    near = {*folder.iterdir(), *folder.glob(f"{CODEBOOK}/*")} - {*files_of(file)}  # sorted below
    for path in sorted(path for path in near if path.suffix in (*TABLES, ".json", ".md") and path.is_file()):
        if path.stat().st_size <= MOST_NAMES:
            with suppress(UnicodeDecodeError):
                yield path, (read := path.read_bytes()).decode(encoding_of(read) or "utf-8-sig")


def coded_together(file: Path, codes: list[Column]) -> list[str]:
    """Two columns of codes that are the key of a table next to the data only together, as a group and a code in it."""
    spelled = [["" if value is None else str(value) for value in of.values] for of in codes]
    for path, said in texts_near(file):
        with suppress(csv.Error):
            table = [*zip(*[*read_csv(said)][1:], strict=False)] if path.suffix in TABLES else []
            for one, other in combinations(table, 2):
                keys = {*zip(one, other, strict=True)}
                alone = len(keys) < len(one) or len(keys) in (len({*one}), len({*other}))
                for pair in () if alone else permutations(range(len(codes)), 2):
                    rows = {row for row in zip(*(spelled[at] for at in pair), strict=True) if all(row)}
                    if len(rows) > max(codes[at].distinct for at in pair) and rows <= keys:
                        return [codes[at].name for at in sorted(pair)]
    return []


def choices_in(row: dict[str, Any]) -> dict[str, str]:
    """The names of choices that a row lists itself, as Prodigy's `options`: `[{"id": "FF", "text": "Crime"}]`."""
    items = [item for value in row.values() if isinstance(value, list) for item in value if isinstance(item, dict)]
    pairs = [(item["id"], item["text"]) for item in items if item.keys() >= {"id", "text"}]
    return {key: name for key, name in pairs if isinstance(key, str) and isinstance(name, str)}


def label_names(file: Path, answers: Column, columns: Set[str]) -> dict[str, str]:
    """The names of labels that are numbers or codes, from a small table or JSON file next to the data: a list, or `{"0": "name"}`."""
    bare = {key: key.lstrip("0") or "0" for key in answers.keys}  # 00110 is 110
    for path, said in texts_near(file):
        try:
            value = codebook(said) if path.suffix in TABLES else strict_json(said)
            later = successors(said) if path.suffix in TABLES else {}
            gone = {key.lstrip("0") for key in later}
        except (NotJsonError, csv.Error):
            continue
        if isinstance(value, dict) and columns & value.keys() and answers.name not in value:  # of another column
            continue
        lists = [part for inner in objects(value) for part in inner.values() if isinstance(part, list)]
        for part in (value, *objects(value), *lists):
            items = enumerate(part) if isinstance(part, list) else part.items() if isinstance(part, dict) else ()
            names = {str(number): name.strip() for number, name in items if isinstance(name, str) and name.strip()}
            names = {key: names.get(later.get(key, key), name) for key, name in names.items()}
            plain = {key.lstrip("0") or "0": name for key, name in names.items()}
            names |= {key: plain[code] for key, code in bare.items() if key not in names and code in plain}
            fits = answers.keys.keys() - {"-1"} <= names.keys() and len({*names.values()}) <= 2 * answers.distinct
            used = {names[key] for key in bare if key in names} if fits else set()
            if fits and len(used) == len({*bare.values()} - {"-1"} - gone):
                return names
    return {}


def check_known(known: Known, columns: dict[str, Column], file: Path) -> None:
    """A HallmarkError if the user names a column that the file doesn't have."""
    named = {"--target": known.targets, "--group": [known.group] if known.group else []}
    named["--input"] = [name for text in known.inputs for name in columns_of(text)]
    for option, given in named.items():
        for name in given:
            if name not in columns and not (option == "--group" and name == "row.id"):
                near = get_close_matches(name, columns, 3, 0.5) or list(columns)[:SHOWN]
                remedy = f"name another with {option}: {', '.join(near)}"
                raise HallmarkError("no such column", file=file, field=name, remedy=remedy)
            if option == "--target" and not columns[name].given:
                raise HallmarkError("no row has a value", file=file, field=name, remedy="leave it out of --target")


def try_out(proposal: Proposal, params: Path) -> None:
    """Add to a proposal what a dry run shows, and what is due when the data are new."""
    now = load_params(params)
    rehearse(proposal, now)
    proposal.set_for_new_data(now)


def read(
    path: Path, said: Set[str] = frozenset(), where: dict[str, list[Any]] | None = None
) -> tuple[Rows, Chat | None, str | None, list[str]]:
    """All rows that `data.where` keeps, chats with the columns of their turns; where chats of another layout are; why only calls of tools are answers; and the turns left out."""
    if path.is_dir() and not files_of(path):
        files = [file for file in sorted(path.rglob("*")) if file in files_of(file.parent)]
        subfolders = dict.fromkeys(file.parent for file in files)
        names = ", ".join(str(folder) for folder in subfolders) or f"none; files must be {', '.join(READERS)}"
        raise HallmarkError("no rows in the folder itself", file=path, remedy=f"name one of its subfolders: {names}")
    files = files_of(path)
    places = [(file, number, row) for file in files for number, row in read_rows(file)]
    if not places:
        raise HallmarkError("has no rows", file=path, remedy="name a file with rows")
    places = [place for place in places if is_kept(place[2], where or {})]
    if not places:
        raise HallmarkError(
            "no row has these values", file=path, field=in_words(where or {}), remedy="name others with --where"
        )
    if len({*map(part_of, files)} - {None}) > 1 and None not in map(part_of, files):
        places = [(file, number, row | {PART: part_of(file)}) for file, number, row in places]
    gone = []
    if chat := chat_in([row for _, _, row in places]):
        gone = left_out(chat, [row for _, _, row in places])
        places = [(file, number, with_messages(row, chat)) for file, number, row in places]
        if said.isdisjoint(TURNS) and wrapped_up(chat, [row for _, _, row in places]):
            return [row | {WHOLE: whole(row)} for _, _, row in places], chat, None, gone

    def told(*, calls: bool) -> Rows:
        rows = []
        for file, number, row in places:
            try:
                rows.append(row | turns(row, file, number, calls=calls) if layout_of(row) else row)
            except MissingValueError:  # a question without an answer, say: the dry run counts it
                rows.append(row)
        return rows

    rows, called = told(calls=False), told(calls=True)
    same = [of == one for of, one in zip(called, rows, strict=True)]
    tools = any(tools_in(value) for row in rows[:20] for value in row.values())  # an assistant with tools may ask back
    if sum(same) > len(rows) * (1 - SOME_CALLS if tools else 0.5):
        return rows, chat, None, gone
    why = f"in {len(rows) - sum(same)} of {len(rows)} rows, calls of tools are followed by a text: each call is trained, the text is not"
    return called, chat, why, gone


def text(proposal: Proposal, now: Params | None = None) -> str:
    """The proposal in the form of params.yaml, with reasons as comments, and the schema; `now`: only what differs from that."""
    old = now.model_dump(by_alias=True) if now else {}
    how = "all else stays the same" if now else "`--write` writes it"
    lines = [f"{len(proposal.rows)} rows. Proposed for params.yaml ({how}):", ""]
    for block, values in proposal.edits.items():
        shown = {key: value for key, value in values.items() if not now or value != old[block][key]}
        lines += [f"{block}:"] * bool(shown)
        for key, value in shown.items():
            reason = proposal.reasons.get((block, key))
            lines.append(f"  {key}: {json.dumps(value, ensure_ascii=False)}{f'  # {reason}' if reason else ''}")
    for role, found in proposal.roles.runners_up.items():
        for name, given in found:
            lines.append(f"# {role}, next: {name}: {given}")
    if proposal.roles.unused:
        lines.append(f"# not used: {', '.join(proposal.roles.unused)}")
    if now is None:
        schema = json.dumps(proposal.task.schema, ensure_ascii=False, indent=2).split("\n")
        if (more := len(schema) - MOST_LINES) > 0:
            schema[MOST_LINES:] = [f"... and {more:,} more lines, which --write writes"]
        lines += ["", f"{SCHEMA}:", *schema]
    return "\n".join([*lines, ""])


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
