"""Print all params with value, default and effect: `python -m hallmark.commands.params`, or those of a block or of one name.

A star marks values that are not the default. The effect, with unit and allowed values, is the comment in defaults.yaml.
"""

from __future__ import annotations

import argparse
import difflib
import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hallmark.answer.comparators import COMPARATORS
from hallmark.answer.measures import known_measures
from hallmark.base.errors import HallmarkError, printable, run_stage, with_pages
from hallmark.params.loader import default_values, load_params, of_same_kind, resolved
from hallmark.params.schema import comments, params_schema
from hallmark.serve.engines import ENGINES
from hallmark.task.kinds import KINDS

WIDTH = 118


class Row(NamedTuple):
    """A param, or a block, whose value is None. `has_default`: False for what params.yaml must say."""

    name: str
    value: Any
    default: Any
    has_default: bool
    effect: str
    is_block: bool = False

    @property
    def changed(self) -> bool:
        return not self.is_block and (not self.has_default or self.value != self.default)


def rows(values: dict[str, Any], defaults: dict[str, Any], schema: dict[str, Any], at: str = "") -> Iterator[Row]:
    """All params of a block and of those in it. `schema`: that of the block, which tells blocks from mappings, and effects."""
    forms = [form.get("properties", {}) for form in (schema, *schema.get("anyOf", []))]
    fields: dict[str, Any] = next((form for form in forms if values.keys() <= form.keys()), {})
    for key, value in values.items():
        inner, default = fields.get(key, {}), defaults.get(key)
        effect = inner.get("description", "")
        if isinstance(value, dict) and any("properties" in form for form in (inner, *inner.get("anyOf", []))):
            yield Row(f"{at}{key}", None, None, False, effect, is_block=True)
            taken = default if isinstance(default, dict) and of_same_kind(default, value) else {}
            yield from rows(value, taken, inner, f"{at}{key}.")
        else:
            yield Row(f"{at}{key}", value, default, key in defaults, effect)


def chosen(found: list[Row], name: str | None, changed: bool) -> list[Row]:
    """The rows of a block or a param, or only those that differ from the default, with the blocks that hold them."""
    if name is not None and name not in (names := [row.name for row in found]):
        near = difflib.get_close_matches(name, [*names, *(each.rpartition(".")[2] for each in names)], 3)
        full = list(dict.fromkeys(each for each in names for word in near if each == word or each.endswith(f".{word}")))
        hint = f"did you mean {' or '.join(full[:3])}?" if full else "without a name, all are shown"
        raise HallmarkError(f"no param or block {printable(name)[:100]!r}", remedy=hint)
    kept = [row for row in found if name is None or f"{row.name}.".startswith(f"{name}.")]
    if not changed:
        return kept
    differing = [row.name for row in kept if row.changed]
    return [row for row in kept if any(f"{other}.".startswith(f"{row.name}.") for other in differing)]


def shown(row: Row) -> list[str]:
    default = "no default" if not row.has_default else f"default {json.dumps(row.default, ensure_ascii=False)}"
    if row.is_block:
        head = f"\n{row.name}:" if "." not in row.name else f"  {row.name}:"
    else:
        head = f"{'*' if row.changed else ' '} {row.name} = {json.dumps(row.value, ensure_ascii=False)}"
        head += f"  ({default})" if row.changed else ""
    wrapped = textwrap.TextWrapper(WIDTH, " " * 6, " " * 6, break_on_hyphens=False)  # a path stays on one line
    return [head, *wrapped.wrap(with_pages(row.effect))]


def run(params: Path, name: str | None, changed: bool) -> None:
    load_params(params)
    schema = params_schema(comments())
    found = chosen(list(rows(resolved(params), default_values(), schema)), name, changed)
    print("\n".join(line for row in found for line in shown(row)).strip("\n"))


if __name__ == "__main__":
    choices: dict[str, Iterable[str]] = {
        "task.kind": KINDS,
        "kinds of server": ENGINES,
        "of comparator": COMPARATORS,
        "measures": known_measures(),
    }
    listed = "; ".join(f"{words}: {', '.join(names)}" for words, names in choices.items())
    own = f"There are {listed}. Your own in stages/kinds/, engines/, comparators/ and measures/ are among them."
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.params", description=__doc__, epilog=own)
    parser.add_argument("name", nargs="?", metavar="NAME", help="a block or param to show, such as sft or sft.lora.r")
    parser.add_argument("--changed", action="store_true", help="show only what differs from its default")
    run_stage("params", __doc__, lambda given: run(given.params, given.name, given.changed), parser)
