"""An owner's own changes of `params.yaml` and `dvc.yaml`, made in the template's new text of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML

from hallmark.base.errors import HallmarkError
from hallmark.params import checked
from hallmark.params.edit import added, comment_on, end_of, places, replaced, written
from hallmark.params.loader import Params

MOVED = dict.fromkeys(("sft.too_long", "dpo.too_long", "eval.too_long"), "split.too_long")
RESOLVED = "code/params.yaml"  # where the stages' params are, if the library has their defaults
REMOVED = object()
LISTS = ("deps", "params", "outs", "metrics", "plots")
CODE = re.compile(r"(?:stages|library)/|requirements\.lock$")  # the template's files of code, in a stamped repo


def merged_params(old: str, mine: str, new: str) -> tuple[str, list[str], list[str]]:
    """The new text with the owner's values; what must be decided by hand; what was left out, since nothing reads it."""
    conflicts, left_out = [], []
    before, own = written(old), written(mine)
    for name, value, known in _changes(_loaded(old), _loaded(mine), _loaded(new), {*written(new)}, Params):
        line = f"`{name}: {json.dumps(value, default=str)}`"
        if value is REMOVED:
            conflicts.append(f"you removed {name}, which the template's text has: remove it again")
        elif not known and name in MOVED:
            conflicts.append(f"{line} is gone: set {MOVED[name]}, which took its place")
        elif not known:
            left_out.append(f"{line} is gone, and was left out")
        else:
            first, *block = own.get(name, [f" {json.dumps(value, default=str)}"])
            if (comment := comment_on(first)) and comment in before.get(name, [""])[0]:
                first = first.removesuffix(comment)  # the template's own, which may have changed
            try:
                new = checked.replaced(new, {name: [first, *block]})
            except HallmarkError as error:
                conflicts.append(f"{line} could not be written ({error.problem}): add it by hand")
    return new, conflicts, left_out


def _changes(
    old: Any, mine: Any, new: Any, lines: AbstractSet[str], model: type[BaseModel] | None, above: str = ""
) -> Iterator[tuple[str, Any, bool]]:
    """The owner's own values: dotted name, value, whether there still is such a param."""
    fields = {info.alias or name: info.annotation for name, info in (model.model_fields if model else {}).items()}
    for key, value in {**dict.fromkeys(old.keys() & new.keys(), REMOVED), **mine}.items():
        name, was, now, inner = above + key, old.get(key), new.get(key), fields.get(key)
        block = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
        # A mapping with names of the owner's is one value, unless he changed only values that have lines of their own.
        deep = isinstance(value, dict) and isinstance(was, dict) and isinstance(now, dict)
        if deep and (block or (value.keys() == was.keys() and all(f"{name}.{part}" in lines for part in value))):
            yield from _changes(was, value, now, lines, block, f"{name}.")
        elif key not in old or value != was:
            yield name, value, key in (fields if model else new)


def merged_pipeline(
    old: str, mine: str, new: str, then: AbstractSet[str], here: AbstractSet[str], moved: Mapping[str, str]
) -> tuple[str, list[str], list[str]]:
    """The new text with the owner's stages and the entries that he added to the template's; what must be done by hand.

    And what was left out of the dependencies, since another one covers it. `then`: the old template's files; `here`: those
    that the repo will have; `moved`: old and new names.
    """
    was, own, now = map(_loaded, (old, mine, new))
    resolved = RESOLVED in new
    conflicts: list[str] = []
    notes: list[str] = []
    lists = "code" in now["stages"] and "code" not in was["stages"]  # which took the place of files as dependencies
    before, after, today = (_facts(pipeline, was["stages"], resolved) for pipeline in (was, own, now))

    def code_deps(stage: str, deps: list[str], covered: list[str]) -> list[str]:
        """An owner's dependencies, with those on the template's code as they are called now."""
        found: dict[str, None] = {}
        left_out: dict[str, list[str]] = {}
        for dep in deps:
            place = moved.get(dep, dep)
            code = {name for name in then if CODE.match(name) and (name == dep or name.startswith(f"{dep}/"))}
            gone = not any(name == dep or name.startswith(f"{dep}/") for name in here)
            if covered and (dep in code or dep in moved or re.sub(r"^stages/(\w+)\.py$", r"code/\1", dep) in covered):
                found |= dict.fromkeys(covered)
                left_out.setdefault(", ".join(covered), []).append(dep)
            elif place != dep and place in here:
                found[place] = None
            elif code and gone and any(moved.get(name, "").startswith("hallmark/") for name in code):
                found["library"] = None
                left_out.setdefault("library", []).append(dep)
            elif code and gone:
                conflicts.append(f"{stage}: your `deps: {dep}` was not taken over: the template no longer has it")
            else:
                found[dep] = None
        notes.extend(f"{stage}: {name} covers, and replaces, {', '.join(dep)}" for name, dep in left_out.items())
        return sorted(found, key=lambda dep: dep not in covered)

    for name, stage in own["stages"].items():
        if name in now["stages"] and name not in was["stages"]:
            conflicts.append(f"the template now has a stage `{name}` too: give yours another name, and add it")
        elif name not in was["stages"]:
            inner = stage.get("do", stage)
            modules = dict.fromkeys(re.findall(r"\bstages\.(\w+)", str(inner.get("cmd")))) if lists else {}
            covered = [f"code/{module}" for module in modules if f"stages/{module}.py" in here]
            deps = code_deps(name, _entries("deps", inner.get("deps", []), resolved), covered)
            try:
                new = added(new, "stages", _own_stage(mine, name, stage, deps, resolved))
            except HallmarkError as error:
                conflicts.append(f"your stage `{name}` could not be written ({error.problem}): add it by hand")
    own_facts = [fact for fact in after if fact not in before and fact not in today]
    for stage, key, text in own_facts:
        others = map(_about, before)
        if key in LISTS and stage in now["stages"] and _about((stage, key, text)) not in others:
            given = [dep for name, kind, dep in today if (name, kind) == (stage, "deps")]
            covered = [dep for dep in given if dep.startswith("code/")] if lists else []
            for entry in code_deps(stage, [text], covered) if key == "deps" else [text]:
                try:
                    new = new if entry in given else _with_entry(new, stage, key, entry)
                except HallmarkError as error:
                    problem = f"your `{key}: {entry}` could not be written ({error.problem}): add it by hand"
                    conflicts.append(f"{stage}: {problem}")
        else:
            conflicts.append(f"{stage or 'top level'}: your `{key}: {text}` was not taken over")
    lost = [
        fact for fact in before if fact in today and fact not in after and _about(fact) not in map(_about, own_facts)
    ]
    conflicts += [f"{stage}: you removed `{key}: {text}`, which the template still has" for stage, key, text in lost]
    return new, conflicts, notes


def _facts(pipeline: Any, known: Any, resolved: bool) -> list[tuple[str, str, str]]:
    """What a dvc.yaml says outside the owner's own stages: stage, key, and a value or an entry of a list."""
    found = [("", key, _flow(value)) for key, value in pipeline.items() if key != "stages"]
    for name, stage in pipeline["stages"].items():
        if name in known:
            for key, value in {**stage, **stage.get("do", {})}.items():
                entries = _entries(key, value, resolved) if key in LISTS else [_flow(value)] if key != "do" else []
                found += [(name, key, entry) for entry in entries]
    return found


def _entries(key: str, entries: Any, resolved: bool) -> list[str]:
    """The entries of a list of a stage, as they are written."""
    if key != "params":
        return [_flow(entry) for entry in entries]
    found = []
    for entry in entries:
        for file, names in entry.items() if isinstance(entry, dict) else [("params.yaml", [entry])]:
            target = RESOLVED if resolved and file == "params.yaml" and names else file
            found += [
                _flow(name if name and target == "params.yaml" else {target: name and [name]})
                for name in names or [None]
            ]
    return found


def _about(fact: tuple[str, str, str]) -> tuple[str, ...]:
    """What of a stage a fact is about: the key, and in a list the path."""
    stage, key, text = fact
    return stage, key, text if key == "params" else text.lstrip("{").split(":")[0] if key in LISTS else ""


def _own_stage(text: str, name: str, stage: Any, deps: list[str], resolved: bool) -> list[str]:
    """The lines of an own stage as they are written, but with these dependencies, and the params where they are now."""
    lines = text.splitlines()
    start = places(lines).get(f"stages.{name}")
    if start is None:
        raise HallmarkError(
            "stands on one line", file="dvc.yaml", field=name, remedy="write its keys on lines of their own"
        )
    stop, above, indent = end_of(lines, start), start, len(lines[start]) - len(lines[start].lstrip())
    while lines[above - 1].lstrip().startswith("#"):
        above -= 1
    path, inner = (f"{name}.do", stage["do"]) if "do" in stage else (name, stage)
    lists = {"deps": deps, "params": _entries("params", inner.get("params", []), resolved)}
    now = {
        key: entries for key, entries in lists.items() if entries != _entries(key, inner.get(key, []), resolved=False)
    }
    own = "\n".join(line[indent:] for line in lines[start:stop])
    own = replaced(own, {f"{path}.{key}": [f" [{', '.join(entries)}]"] for key, entries in now.items()})
    return [*(line[indent:] for line in lines[above:start]), *own.splitlines()]


def _with_entry(text: str, stage: str, key: str, entry: str) -> str:
    """The text with an entry at the end of a list of a stage, in the form that the list has."""
    lines = text.splitlines()
    there = places(lines)
    inner = f"stages.{stage}.do" if f"stages.{stage}.do" in there else f"stages.{stage}"
    at = there.get(f"{inner}.{key}")
    if at is None:
        return added(text, inner, [f"{key}: [{entry}]"])
    last = end_of(lines, at) - 1
    if not (re.match(r"\s*\w+:\s*\[", lines[at]) and lines[last].endswith("]")):
        return added(text, f"{inner}.{key}", [f"- {entry}"])
    lines[last] = f"{lines[last][:-1]}, {entry}]"
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./-]*", value) else json.dumps(value)


def _loaded(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)
