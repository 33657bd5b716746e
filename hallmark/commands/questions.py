"""The four questions of `propose --write`: target, input, group and kind, each with what the data suggest as the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hallmark.base.errors import HallmarkError, printable
from hallmark.base.records import FIELD
from hallmark.commands.proposal import Proposal
from hallmark.commands.roles import Known
from hallmark.commands.trial import in_a_line
from hallmark.task.kinds import KINDS

QUESTIONS = {  # by what `Known` has for the answer
    "targets": ("target", "the right answer: a column, or several with commas between them"),
    "inputs": ("input", "what the model reads: columns with commas, or a template such as {subject}\\n{body}"),
    "group": ("group", "what the split must not cut, such as a customer; row.id: each row is by itself"),
    "kind": ("kind", f"the task: {', '.join(sorted(KINDS))}"),
}


def asked(propose: Callable[[Known], Proposal], known: Known) -> Proposal:
    """The proposal with the user's answers; Enter takes what it suggests, and an answer that it refuses is asked for again."""
    proposal = propose(known)
    print(printable(f"{len(proposal.rows):,} rows, with the columns {', '.join(proposal.columns)}"))
    print("Enter takes what stands in brackets.")
    unsaid = [name for name in QUESTIONS if not getattr(known, name)]
    for at, name in enumerate(unsaid):
        title, words = QUESTIONS[name]
        print(f"\n{title}: {words}")
        while True:
            print(printable(f"  {evidence(proposal, title)}"))
            given = _line(f"  [{shown(proposal)[name]}] ")
            if not given:
                break
            try:  # with what was taken before: it stays, whatever this answer makes of the evidence
                taken = {earlier: _suggested(proposal)[earlier] for earlier in unsaid[:at]}
                tried = replace(known, **taken | {name: _answer(name, given, proposal)})
                proposal, known = propose(tried), tried
                break
            except HallmarkError as error:
                print(printable(f"  {in_a_line(error)}"))
    print()
    return proposal


def evidence(proposal: Proposal, title: str) -> str:
    """Why it suggests what it does, and what would be next."""
    why = {"kind": proposal.task.why} | proposal.roles.why
    if title == "group" and proposal.roles.group == "row.id":
        why[title] = proposal.ungrouped()
    others = ", ".join(name for name, _ in proposal.roles.runners_up.get(title, ()))
    return f"{why.get(title, '')}{f'; next: {others}' if others else ''}"


def shown(proposal: Proposal) -> dict[str, str]:
    """The suggested answers, as a user may type them."""
    said = {
        name: ", ".join(value) if isinstance(value, tuple) else value for name, value in _suggested(proposal).items()
    }
    return {name: printable(value.replace("\n", "\\n")) for name, value in said.items()}


def _suggested(proposal: Proposal) -> dict[str, Any]:
    roles = proposal.roles
    return {"targets": tuple(roles.targets), "inputs": (roles.input,), "group": roles.group, "kind": proposal.kind}


def _answer(name: str, given: str, proposal: Proposal) -> Any:
    """What was typed, as `Known` has it."""
    if name == "kind" and given not in KINDS:
        raise HallmarkError("no such kind", field=given, remedy=f"name one of {', '.join(sorted(KINDS))}")
    if name in ("group", "kind"):
        return given
    whole = given in proposal.columns or FIELD.search(given)
    parts = [given] if whole else [word.strip() for word in given.split(",")]
    return tuple(unescaped(part) for part in parts if part) or (given,)


def unescaped(text: str) -> str:
    """A template with line breaks where a user typed `\\n`, which a shell leaves as two characters."""
    return text.replace("\\n", "\n")


def _line(prompt: str) -> str:
    try:
        return input(prompt).strip()
    except EOFError:  # Ctrl-D
        raise KeyboardInterrupt from None
    except UnicodeDecodeError:  # typed in another code page: no column's name
        return "\ufffd"
