"""The questions of `propose --write`: target, input, group, rows to leave out and kind, each with what the data suggest as the answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from hallmark.base.errors import HallmarkError, printable
from hallmark.base.records import FIELD
from hallmark.propose.kept_rows import ALL, in_words, where_of
from hallmark.propose.proposal import UNGROUPED, Proposal
from hallmark.propose.roles import Guess, Known
from hallmark.propose.trial import in_a_line
from hallmark.task.kinds import KINDS

QUESTIONS = {  # by what `Known` has for the answer
    "targets": ("target", "the right answer: a column, or several with commas between them"),
    "inputs": ("input", "what the model reads: columns with commas, or a template such as {subject}\\n{body}"),
    "group": ("group", "which rows must stay together, such as those of a customer; row.id: each row is by itself"),
    "where": ("where", f"the rows to keep: COLUMN=VALUE, with commas between several; {ALL}: all rows"),
    "kind": ("kind", f"the task: {', '.join(sorted(KINDS))}"),
}
BACK = "<"


class UndecidedError(HallmarkError):
    """The data don't say what the answer or the input is: a person must. `unsaid` is the name that `Known` has for it."""

    def __init__(self, problem: str, unsaid: str, roles: Guess, columns: Iterable[str], **where: Any) -> None:
        super().__init__(problem, **where)
        self.unsaid, self.roles, self.columns = unsaid, roles, columns


def asked(propose: Callable[[Known], Proposal], known: Known, kind: str) -> Proposal:
    """The proposal with the user's answers; Enter takes what it suggests, and an answer that it refuses is asked for again.

    `kind`: what params.yaml has, from the stamp; if the data agree, it is no question.
    """
    every = [name for name in QUESTIONS if not getattr(known, name) and (name != "where" or known.where is None)]
    unsaid = [*every]

    def found_with(known: Known, later: list[str]) -> Proposal | UndecidedError:
        try:
            return propose(known)
        except UndecidedError as error:
            if error.unsaid in later:
                return error
            raise

    found = found_with(known, unsaid)
    print(printable(f"The columns are {', '.join(found.columns)}"))
    print(f"Enter takes the answer in brackets; {BACK} goes back to the previous question.")
    earlier: list[tuple[Known, Proposal | UndecidedError]] = []
    while len(earlier) < len(unsaid):
        name, later = unsaid[len(earlier)], unsaid[len(earlier) + 1 :]
        if name == "kind" and isinstance(found, Proposal) and found.kind == kind:
            print(f"\nkind: {kind}, as in params.yaml ({printable(found.task.why)}); name another with --kind")
            break
        title, words = QUESTIONS[name]
        suggested = _suggested(found)
        if name == "where" and not suggested[name]:  # no row is marked as unfit
            unsaid.remove(name)
            continue
        print(f"\n{title}: {words}")
        print(printable(f"  {evidence(found, title)}"))
        said = suggested[name] if isinstance(suggested[name], str) else ", ".join(suggested[name])
        said = in_words(suggested[name]) if name == "where" else said
        given = _line(printable("  [{}] ".format(said.replace("\n", "\\n"))))
        if given == BACK:
            unsaid, (known, found) = [*every], earlier.pop() if earlier else (known, found)
        if given == BACK or not (given or suggested[name]):
            continue
        try:  # with what was taken before: it stays, whatever this answer makes of the evidence
            taken = {before: suggested[before] for before in unsaid[: len(earlier)]}
            now = replace(known, **taken | {name: _answer(name, given, found)}) if given else known
            after = found_with(now, later) if given else found
        except HallmarkError as error:
            print(printable(f"  {in_a_line(error)}"))
            continue
        earlier.append((known, found))
        known, found = now, after
    print()
    assert isinstance(found, Proposal)  # nothing is left to decide
    return found


def ask_to_keep(proposal: Proposal) -> None:
    """What to do with values that masking takes from the answers, and labels like names: Enter is safe."""
    if proposal.keep:
        lost, actions = proposal.keep
        said = f"masking removes {lost}; or type keep, if they identify no one: mask.actions becomes {actions}"
        if _said("mask", said) == "keep":
            proposal.edits["mask"].pop("max_lost", None)
            proposal.set("mask", "actions", actions, "as you said")
    if proposal.private:
        said = f"the schema would hold what looks like {', '.join(proposal.private)}; or type public: anyone may see it, in git and the release"
        if _said("stop", said) == "public":
            proposal.private = []


def evidence(found: Proposal | UndecidedError, title: str) -> str:
    """Why it suggests what it does, and what would be next."""
    why = dict(found.roles.why)
    if isinstance(found, UndecidedError) and title == QUESTIONS[found.unsaid][0]:
        why[title] = found.problem
    elif isinstance(found, Proposal):
        why |= {"kind": found.task.why, "where": found.reasons.get(("data", "where"), "")}
        if title == "group" and found.roles.group == "row.id":
            why[title] = UNGROUPED
    others = ", ".join(name for name, _ in found.roles.runners_up.get(title, ()))
    return f"{why.get(title, '')}{f'; next: {others}' if others else ''}"


def _suggested(found: Proposal | UndecidedError) -> dict[str, Any]:
    roles = found.roles
    targets = tuple(filter(None, roles.targets))
    said: dict[str, Any] = {"targets": targets, "inputs": (roles.input,), "group": roles.group}
    said["where"] = found.edits["data"]["where"] if isinstance(found, Proposal) else {}
    return said | ({found.unsaid: ()} if isinstance(found, UndecidedError) else {"kind": found.kind})


def _answer(name: str, given: str, found: Proposal | UndecidedError) -> Any:
    """What was typed, as `Known` has it."""
    if name == "kind" and given not in KINDS:
        raise HallmarkError("no such kind", field=given, remedy=f"name one of {', '.join(sorted(KINDS))}")
    if name in ("group", "kind"):
        return given
    if name == "where":
        return where_of(re.split(r",(?=[^,=]+=)", given))  # a value may have a comma itself
    whole = given in found.columns or FIELD.search(given)
    parts = [given] if whole else [word.strip() for word in given.split(",")]
    return tuple(unescaped(part) for part in parts if part) or (given,)


def unescaped(text: str) -> str:
    """A template with line breaks where a user typed `\\n`, which a shell leaves as two characters."""
    return text.replace("\\n", "\n")


def _said(default: str, question: str) -> str:
    print(printable(f"\n{default}: {question}", keep="\n"))
    return _line(f"  [{default}] ")


def _line(prompt: str) -> str:
    try:
        return input(prompt).strip()
    except EOFError:  # Ctrl-D
        raise KeyboardInterrupt from None
    except UnicodeDecodeError:  # typed in another code page: no column's name
        return "\ufffd"
