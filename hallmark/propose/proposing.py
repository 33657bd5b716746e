"""From a file to a proposal, in steps: its table, the roles of the columns, the rows to leave out, the answers, and the task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.records import columns_of
from hallmark.data.conversations import PART
from hallmark.data.missing import is_blank, stands_for_none
from hallmark.data.spans import BY_COMMA, LABELS
from hallmark.params.loader import load_params
from hallmark.propose.chats import all_answers
from hallmark.propose.column_words import words_of
from hallmark.propose.columns import MOSTLY, Column, answers_of, labels_in, merged, related
from hallmark.propose.dry_run import rehearse
from hallmark.propose.evidence import copies, is_free, is_translation, named_like_id, no_labels, stand_ins
from hallmark.propose.inferred_task import Inferred, held_by, infer, is_refusal
from hallmark.propose.kept_rows import ALL, About, Marks, marked
from hallmark.propose.label_signs import defaults, renamed, respelled, same_class
from hallmark.propose.near_files import Near, choices_in
from hallmark.propose.proposal import FEW, Proposal
from hallmark.propose.questions import UndecidedError
from hallmark.propose.reading import Table, data_in, read
from hallmark.propose.roles import Guess, Known, guess
from hallmark.task.values import folded

SHOWN = 30  # columns named in an error


Names = Mapping[str, Mapping[str, str]]  # of the codes in columns


@dataclass
class Answers:
    """The answers of a table, without those that stand for none."""

    column: Column
    names: dict[str, str]  # of its codes
    none: set[str] = field(default_factory=set)  # what stands for no answer
    gone: int = 0  # how many stand for none
    doubts: list[str] = field(default_factory=list)  # what to ask a person


def proposed(file: Path, params: Path, known: Known | None = None) -> Proposal:
    """What is proposed for a file before anything is tried; an UndecidedError if a person must say more."""
    known, now, file = known or Known(), load_params(params), data_in(file)
    table, near = read(file, known), Near(file)
    check_known(known, table)
    codes = {name: of for name, column in table.columns.items() if (of := names_of(column, table, near)) is not None}
    guessed = guessed_roles(table, near, codes)
    if known.where and guessed.tags and guessed.tag_separator == " ":
        table = table.keeping(known.where, guessed.tags)
    roles, marks = settled(guessed, table), Marks()
    if known.where is None:
        table, roles, marks = without_marked(table, guessed, roles, codes)
    answers = answers_in(table, roles, near)
    proposal = Proposal(file, table.rows, table.columns, roles, task_of(answers, table, roles, near), table.numbers)
    proposal.set_values()
    left_out = f"{'; '.join(marks.sure)}: left out" if marks.where else None
    proposal.set("data", "where", marks.where or known.where or {}, "as you said" if known.where else left_out)
    if answers.none:
        why = f"{answers.gone} targets are no answer: short texts, codes or empty objects that stand for a missing one"
        why += f", or copies of '{roles.input}'" * (f"{{{roles.input}}}" in answers.none)
        proposal.set("data", "no_answer", sorted(answers.none), why)
    proposal.warnings += [*answers.doubts, *near.other_lists(len(table.rows)), *table.unread]
    if not roles.system_prompt:
        proposal.instruct([*near.instructions()], now.mask)
    if roles.target == "turns.target":
        set_answers_of_chats(proposal, table)
    if proposal.task.may_call_nothing:
        proposal.set("data", "no_call", "empty", "what is said without a call is the answer []")
    proposal.warn(now)
    if left_out:
        proposal.warnings.insert(0, f"{left_out} (data.where). If a model should learn from them, add `--where {ALL}`")
    doubt = f"{'; '.join(marks.perhaps)}: if a model should not learn from these, name the rows to keep with --where"
    proposal.warnings += [doubt] if marks.perhaps else []
    return proposal


def try_out(proposal: Proposal, params: Path) -> None:
    """Add to a proposal what a dry run shows, and what is due when the data are new."""
    now = load_params(params)
    rehearse(proposal, now)
    proposal.set_for_new_data(now)


def check_known(known: Known, table: Table) -> None:
    """A HallmarkError if the user names a column that the file doesn't have."""
    named = {"--target": known.targets, "--group": [known.group] if known.group else []}
    named["--input"] = [name for text in known.inputs for name in columns_of(text)]
    for option, given in named.items():
        for name in given:
            if name not in table.columns and not (option == "--group" and name == "row.id"):
                near = get_close_matches(name, table.columns, 3, 0.5) or list(table.columns)[:SHOWN]
                remedy = f"name another with {option}: {', '.join(near)}"
                raise HallmarkError("no such column", file=table.file, field=name, remedy=remedy)
            if option == "--target" and not table.columns[name].given:
                remedy = "leave it out of --target"
                raise HallmarkError("no row has a value", file=table.file, field=name, remedy=remedy)


def names_of(column: Column, table: Table, near: Near) -> dict[str, str] | None:
    """The names of the codes in a column, as far as they are known; None if it has no codes."""
    listed = choices_in(table.rows[0])
    if column.keys and column.keys.keys() <= listed.keys():
        return listed
    if column.name.endswith(LABELS):
        labels = merged(Counter(label for of in column.given for label in of))
        column = Column(column.name.removesuffix(BY_COMMA).removesuffix(LABELS), [*labels.elements()])
    return near.names_of(column, table.columns.keys()) if column.is_code() else None


def in_words(labels: Column, names: Mapping[str, str]) -> dict[str, str]:
    """The names of codes that stand in the data in place of these, each as the list spells it."""
    spelled = {folded(name): name for name in names.values()}
    return {key.strip(): spelled[folded(key)] for key in labels.keys if folded(key) in spelled}


def guessed_roles(table: Table, near: Near, names: Names) -> Guess:
    """The roles of the columns, by their codes' names if these are known."""
    columns = dict(table.columns)
    together = near.coded_together([columns[name] for name in names])
    for name, of in names.items():
        values = [of.get(str(value), value) for value in columns[name].values]
        columns[name] = Column(name, values, has_names=bool(of) or name in together)
    for name, several in ((name, labels_in(column)) for name, column in columns.items() if column.is_text):
        columns[name].has_names |= bool(several and names_of(several, table, near))
    return guess(columns, table.known, table.note, together)


def settled(guessed: Guess, table: Table) -> Guess:
    """The roles with a list in place of several labels in one text; an UndecidedError if there is no answer, or no input without it."""
    columns, roles = table.columns, replace(guessed, chat=table.chat.model_dump() if table.chat else None)
    target = columns.get(roles.targets[0]) if table.known.kind in (None, "extraction") else None
    if target and not roles.targets[1:] and (several := labels_in(target)):
        columns[several.name] = several
        why = roles.why | {"target": f"{roles.why['target']}; several labels in one text"}
        roles = replace(roles, target=several.name, why=why)
    for name in columns_of(roles.input):
        if name in roles.leaks and roles.leaks[name].sure:
            problem = f"the input would hold the answer: {roles.leaks[name].why}"
            remedy = "leave this column out with --input, add one with the text as it is before the answer is known, or name "
            remedy += "another answer with --target"
            raise UndecidedError(problem, "inputs", roles, columns, file=table.file, field=name, remedy=remedy)
    answered = all(name in columns and columns[name].given for name in roles.targets)
    if not roles.input or not answered:
        problem, unsaid = "no column for an input and an answer", "inputs" if answered else "targets"
        remedy = "give each row a text and the expected answer, or name them with --input and --target; "
        remedy += f"the columns are {', '.join(list(columns)[:SHOWN])}"
        raise UndecidedError(problem, unsaid, roles, columns, file=table.file, remedy=remedy)
    return roles


def without_marked(table: Table, guessed: Guess, roles: Guess, names: Names) -> tuple[Table, Guess, Marks]:
    """The table without rows that are surely marked as unfit, its roles, and the marks; all rows if no answer would be left."""
    columns, targets = table.columns, roles.targets
    answered = [not all(map(is_blank, of)) for of in zip(*(columns[name].values for name in targets), strict=True)]
    # Not what has a role, an answer or its name, nor what is made of other columns, which `data.where` doesn't know.
    own = {_leaf(name) for name in columns if any(related(name, target) for target in targets)}
    out = {*roles.read, *roles.identity, roles.group, roles.split, PART, *table.made}
    others = [of for name, of in columns.items() if name not in out and _leaf(name) not in own]
    ids = (name for name, of in columns.items() if named_like_id(name) and of.distinct > MOSTLY * len(of.values))
    what, spaced = words_of(next(ids, ""))[0], guessed.tag_separator == " "  # a row is, by the first id
    marks = marked(others, About(answered, names, what, columns.get(roles.group), guessed.tags, spaced))
    if marks.where:
        kept = table.keeping(marks.where, guessed.tags if spaced else None)
        found = [kept.columns[name] for name in targets if name in kept.columns]
        if found and all(of.distinct < 2 for of in found):
            guessed = guess(kept.columns, table.known, kept.note)  # what was an answer was one of what is left out
        doubted = kept.columns.get(guessed.doubted or "")
        guessed = replace(guessed, doubted=doubted.name if doubted and doubted.distinct > 1 else None)
        with suppress(UndecidedError):
            return kept, settled(guessed, kept), marks
    return table, roles, replace(marks, where={})


def _leaf(name: str) -> str:
    """The last key of a dotted name: not a place in a list."""
    return next((part for part in reversed(name.split(".")) if not part.isdecimal()), name)


def answers_in(table: Table, roles: Guess, near: Near) -> Answers:
    """The answers that a model can learn; a HallmarkError if none is the user's refusal."""
    columns, known = table.columns, table.known
    answers = answers_of(columns, roles.target)
    read = [columns[name] for name in columns_of(roles.input) if name in columns]
    codes = names_of(answers, table, near) or {}
    found = Answers(answers, renamed({**in_words(answers, codes), **codes} or near.spelled(answers)))
    besides = [of for name, of in columns.items() if not related(name, answers.name) and of not in read]
    labels, read_each = one_a_row(answers, read)
    no_label, asked = no_labels(labels, found.names)
    listed = {key.casefold() for key in found.names}
    no_label += (unnamed := [key for key in labels.keys if codes and key.strip().casefold() not in listed])
    unlike, perhaps = defaults(answers, besides, read)
    if isinstance(roles.target, str):
        found.none = {*no_label, *stand_ins(answers, read)} - {known.refusal, ""}
    found.none |= {*unlike}
    blank = [stands_for_none(value, found.none) for value in answers.values]
    source = columns.get(roles.input)
    found.gone, same = sum(blank), copies(answers, source) if source and source.all(str) and is_free(answers) else 0
    if source and same and is_translation(answers, source):
        found.none.add(f"{{{source.name}}}")
        found.gone += same
        blank = [gone or value == of for gone, value, of in zip(blank, answers.values, source.values, strict=True)]
    found.column = Column(answers.name, [None if gone else of for gone, of in zip(blank, answers.values, strict=True)])
    if maybe := sorted({*asked, *perhaps} - {known.refusal, "", *found.none}):
        count = sum(str(value).strip() in maybe for value in labels.values)
        said = "may stand for no answer: if so, add to data.no_answer; else a model learns it as a label"
        found.doubts.append(f"{', '.join(maybe)} ({count} rows) {said}")
    if unnamed:
        count = sum(map(labels.keys.__getitem__, unnamed))
        said = "which no list next to the data names: left out (data.no_answer). If they are labels, add them there"
        found.doubts.append(f"{count} rows have the code {', '.join(sorted(unnamed))}, {said}")
    one_class = same_class(labels, besides if labels is answers else (), read_each)
    if labels is answers and not found.names:
        found.names = respelled(one_class, answers)
    named = [[*dict.fromkeys(f"'{found.names.get(label, label)}'" for label in of)] for of in one_class]
    if sets := [" and ".join(of) for of in named if of[1:]]:
        more = f"; and {len(sets) - FEW} more" * (len(sets) > FEW)
        said = "each may be one label under several names, which the text does not tell apart. If so, write the same one in the data"
        found.doubts.append(f"{'; '.join(sets[:FEW])}{more}: {said}")
    if known.refusal is not None and not any(is_refusal(value, known.refusal) for value in found.column.given):
        remedy = "give the target that refuses, as it is in the file"
        raise HallmarkError("no target is the text of --refusal", file=table.file, remedy=remedy)
    return found


def one_a_row(answers: Column, texts: list[Column]) -> tuple[Column, list[Column]]:
    """Lists of labels as single ones, each with the texts of its row; other answers as they are."""
    if not answers.name.endswith(LABELS):
        return answers, texts
    each = [(at, label) for at, of in enumerate(answers.values) for label in of or ()]
    read = [Column(text.name, [text.values[at] for at, _ in each]) for text in texts]
    return Column(answers.name, [label for _, label in each]), read


def task_of(answers: Answers, table: Table, roles: Guess, near: Near) -> Inferred:
    """The task, with the kind that the user names; a HallmarkError if the answers are not of that kind."""
    known, columns = table.known, table.columns
    read = [columns[name].values for name in columns_of(roles.input) if name in columns]
    held = held_by([" ".join(map(str, of)) for of in zip(*read, strict=True)], answers.column)
    said: dict[str, Any] = {"said": bool(known.targets), "refusal": known.refusal, "kind": known.kind}
    try:
        tools = columns[roles.tools] if roles.tools else Column("tools", near.tools) if near.tools else None
        every = Column(answers.column.name, [*answers.column.values, *table.earlier_calls()])
        task = infer(every, tools, names=answers.names, held=held, **said)
    except ValueError as error:
        problem, remedy = f"not of kind {known.kind}: {error}", "name another column with --target, or another --kind"
        raise HallmarkError(problem, file=table.file, field=answers.column.name, remedy=remedy) from None
    if task.kind == "tool_call" and near.tools and not roles.tools:
        shown = "the tools stand next to the data and not in its rows, so the schema has their parameters, but the model is not shown them"
        task.doubts.append(f"{shown}. It learns when to call which")
    return task


def set_answers_of_chats(proposal: Proposal, table: Table) -> None:
    """Propose which answers of a chat are trained: the last, the calls of tools, or all."""
    kind = proposal.kind
    one = table.chat is not None and table.chat.answer is not None and kind == "tool_call"  # a response is one answer
    calls = None if one else table.calls
    if calls:
        proposal.set("data", "target", "turns.target", "the assistant's calls, or its last answer if it calls nothing")
        proposal.set("data", "answers", "calls", calls)
    elif kind == "text" and (stock := all_answers(table.rows)):
        proposal.set("data", "answers", "all", stock)
