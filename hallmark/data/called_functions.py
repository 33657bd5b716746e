"""The functions that the holdout calls and training does not."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.tools import names_of
from hallmark.task.kinds.tool_call import calls_in

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)


def called_functions(train: Iterable[pl.DataFrame], held_out: Iterable[pl.DataFrame]) -> dict[str, int]:
    """How many functions the holdout calls, and how many of them training does not; its records, and how many of them call
    one that the model can't know: not called in training, and not among the record's tools.
    """
    trained = {name for part in train for answer in part["completion"] for name in names_in(answer)}
    every, unknown, records = set[str](), 0, 0
    for part in held_out:
        for answer, tools in part.select("completion", "tools").iter_rows():
            names = names_in(answer)
            every |= names
            unknown += not names <= trained.union(names_of(json.loads(tools or "[]")))
            records += 1
    return {"called": len(every), "new": len(every - trained), "records": records, "unknown": unknown}


def names_in(answer: list[dict[str, str]]) -> set[str]:
    try:
        return {str(call["name"]) for call in calls_in(strict_json(answer[-1]["content"])) if "name" in call}
    except NotJsonError:  # a refusal in plain words
        return set()


def say_unknown(found: dict[str, int], tools: str | None) -> None:
    """Say what share of the holdout no model can get right but by chance, or how many functions it has to read up.

    `tools`: the column of the records' tools.
    """
    new = f"{found['new']} of the {found['called']} functions that the holdout calls do not occur in training"
    if found["unknown"]:
        log.warning(
            "%s, and in %d of its %d records (%.1f %%) the model is not shown one that it must call, so these can't be right%s",
            new,
            found["unknown"],
            found["records"],
            100 * found["unknown"] / found["records"],
            "" if tools else " unless the input lists the functions: name the column of tools in data.tools",
        )
    elif found["new"]:
        log.info("%s: the model must look them up in the tools it is shown", new)
