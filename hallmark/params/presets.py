"""What params.yaml says for a kind of machine, by the size of the base: the files in `machines/`.

Such a file holds a line about the machine, `like:` another machine whose lines come first, and sections: `any:` for
every base, `up to 5B:` for those with at most 5 billion parameters, `kind text:` for that kind of task. All sections that
fit apply, the larger size first, so each says only what differs. It needs no packages: the template's hook uses it too.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from hallmark.base.errors import HallmarkError
from hallmark.params.edit import changed, value_of

MACHINES = Path(__file__).with_name("machines")
SECTION = re.compile(r"(any|up to ([\d.]+)B|kind (\w+)):")
# The size in a model's name: -0.6B-, -135M-, 8x7B.
SIZE = re.compile(r"(?<![A-Za-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([BM])(?![A-Za-z0-9])", re.IGNORECASE)
UNSIZED = {"phi-3.5-mini-instruct": 3.8}  # names that don't tell, in lower case: billions of parameters
LARGEST = 1e6  # billions: no model comes near
SLOW = 1.0  # billions of parameters from which on training on a CPU takes hours


def machines() -> list[str]:
    return sorted(file.stem for file in MACHINES.glob("*.yaml"))


def described(machine: str) -> str:
    return _text(machine).splitlines()[0].removeprefix("# ")


def prepared(params: str, machine: str, billions: float | None) -> str:
    """The text of params.yaml for that machine and a base of this size, in billions of parameters; None: not known.

    Raises HallmarkError if there is no such machine, or one of its keys is no param.
    """
    return changed(params, changes_for(params, machine, billions))


def changes_for(params: str, machine: str, billions: float | None) -> str:
    """What changes for that machine, as `changed` takes it."""
    kind = value_of(params, "task.kind")
    return "\n".join(_changes(machine, LARGEST if billions is None else billions, kind))


def size_by_name(name: str) -> float | None:
    short = name.rstrip("/").rpartition("/")[2]
    found = SIZE.search(short)
    if not found:
        return UNSIZED.get(short.lower())
    return float(found[1] or 1) * float(found[2]) / (1 if found[3] in "bB" else 1000)


def advice(params: str, machine: str, billions: float | None) -> list[str]:
    if billions is None:
        return [
            f"the size of the base isn't known, so params.yaml is set up for a large one; once `dvc repro base` has fetched it, "
            f"run `nox -s machine -- {machine}`"
        ]
    if billions >= SLOW and value_of(params, "compute.device") == "cpu":
        return [
            f"warning: training {billions:g} billion parameters on a CPU takes hours, if not days; `nox -s plan` says how long, "
            "and `nox -s machine` lists machines with a GPU"
        ]
    return []


def _changes(machine: str, billions: float, kind: str) -> Iterator[str]:
    """The sections of a machine's file that fit, as texts that `changed` takes, in the order in which they apply."""
    text = _text(machine)
    if like := re.search(r"^like: (\S+)", text, re.MULTILINE):
        yield from _changes(like[1], billions, kind)
    sections: list[tuple[float, str]] = []
    parts = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    for part in parts:
        header, _, body = part.partition("\n")
        if not (section := SECTION.fullmatch(header)):
            continue
        limit = float(section[2]) if section[2] else LARGEST if section[1] == "any" else 0
        if (billions <= limit) if not section[3] else section[3] == kind:
            sections.append((limit, textwrap.dedent(body)))
    yield from (body for _, body in sorted(sections, key=lambda section: -section[0]))


def _text(machine: str) -> str:
    names = machines()
    if machine not in names:
        near = [name for name in names if machine and machine.lower() in name]
        near = near or difflib.get_close_matches(machine.lower(), names, 2)
        remedy = f"did you mean {' or '.join(near)}?" if near else f"name one of {', '.join(names)}"
        raise HallmarkError(f"no machine {machine[:100]!r}", remedy=remedy)
    return (MACHINES / f"{machine}.yaml").read_text(encoding="utf-8")
