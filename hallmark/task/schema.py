"""The JSON Schema of a task: read strictly, checked once when it is loaded, never completed from another file or host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hallmark.base.document import objects, referred
from hallmark.base.errors import HallmarkError
from hallmark.base.reading import DEPTH, NotJsonError, read_text, strict_json
from hallmark.base.tools import in_words, normal_schema

LARGEST = 4_000_000  # characters
UNFOLDED = 50_000  # objects and lists with every reference followed: checking a value may take time in proportion
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
FIX = "fix the schema"


@dataclass(frozen=True)
class Schema:
    """A schema that was checked. `recursive`: a part of it refers to itself; `names`: the properties it knows."""

    content: dict[str, Any]
    validator: Any
    recursive: bool
    names: frozenset[str]

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, without anything of the value: names that the schema doesn't know are `?`."""
        try:
            if self.validator.is_valid(value):
                return None
            if self.recursive:  # the validator would collect the problems of every branch at every depth
                return "not valid under the schema"
            problem = next(iter(self.validator.iter_errors(value)))
        except ValueError:  # half a surrogate pair, or a number beyond what the validator can hold
            return "not valid under the schema: a value that can't be checked"
        steps = (str(step) if isinstance(step, int) or step in self.names else "?" for step in problem.instance_path)
        return f"not valid under the schema at {'/'.join(steps) or 'the root'}: {problem.kind.name}"


def load_schema(file: Path) -> Schema:
    """The schema in a file; a HallmarkError if it isn't one, or if it could take for ever."""
    if not file.exists() and not file.is_symlink():
        raise HallmarkError("no such schema", file=file, remedy="write the file, or fix task.schema")
    text = read_text(file, "put a JSON Schema there, or fix task.schema")
    if len(text) > LARGEST:
        raise HallmarkError(f"a schema of more than {LARGEST} characters", file=file, remedy="shorten it")
    try:
        content = strict_json(text)
    except NotJsonError as error:
        raise HallmarkError(f"not JSON: {error}", file=file, row=error.line, remedy=FIX) from None
    if not isinstance(content, dict):
        raise HallmarkError("the schema is not an object", file=file, remedy=FIX)
    if found := normal_schema(content)[1]:
        raise HallmarkError(
            f"types that JSON Schema does not know: {in_words(found)}", file=file, remedy="name them as in brackets"
        )
    _check_references(content, file)
    recursive = _is_recursive(content, file)
    validator = _compiled(content, file)
    properties = (part["properties"] for part in objects(content) if isinstance(part.get("properties"), dict))
    return Schema(content, validator, recursive, frozenset(name for part in properties for name in part))


def _compiled(content: dict[str, Any], file: Path) -> Any:
    """The validator. It fetches nothing, and a `pattern` that backtracks for a million steps counts as not matched."""
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(content, validate_formats=True, offline=True)
    except jsonschema_rs.ValidationError as error:
        place = "/".join(map(str, error.instance_path))
        problem = f"{error.kind.name} at {place}" if place else error.message
    except ValueError as error:
        problem = str(error)
    raise HallmarkError(f"not a valid JSON Schema: {problem[:200]}", file=file, remedy=FIX)


def _check_references(content: dict[str, Any], file: Path) -> None:
    """Another file would have to be a dependency in dvc.yaml too, and what a host answers can change."""
    named = ("$id", "id") if "draft-04" in str(content.get("$schema")) else ("$id",)
    for part in objects(content):
        for name in REFERENCES:
            reference = part.get(name)
            if isinstance(reference, str) and not reference.startswith("#"):
                raise HallmarkError(
                    f"a {name} leads out of the file",
                    file=file,
                    remedy='put what it refers to under "$defs" in this file, and write "#/$defs/NAME"',
                )
        if part is not content and any(isinstance(part.get(name), str) for name in named):
            raise HallmarkError(
                "an $id below the root", file=file, remedy='remove it, and refer to that part as "#/$defs/NAME"'
            )


def _is_recursive(content: dict[str, Any], file: Path) -> bool:
    """Whether a part refers to itself, found by following all references; a HallmarkError if that takes too long."""
    recursive, unfolded = False, 0
    todo: list[tuple[Any, int, tuple[str, ...]]] = [(content, 1, ("#",))]
    while todo:
        part, depth, seen = todo.pop()
        unfolded += 1
        if unfolded > UNFOLDED or depth > 2 * DEPTH:
            raise HallmarkError(
                f"the schema has over {UNFOLDED} parts, or {2 * DEPTH} levels, when its references are followed",
                file=file,
                remedy="refer less often to what itself refers on",
            )
        todo += [(below, depth + 1, seen) for below in _containers(part)]
        for name in REFERENCES if isinstance(part, dict) else ():
            reference = part.get(name)
            if isinstance(reference, str) and reference in seen:
                recursive = True
            elif isinstance(reference, str):
                todo.append((referred(content, reference), depth + 1, (*seen, reference)))
    return recursive


def _containers(part: Any) -> Iterator[Any]:
    below = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return (item for item in below if isinstance(item, dict | list))
