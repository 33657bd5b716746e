"""Made-up records in the form in which `mask` leaves them, and parameters changed in a test."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.files import MASKED
from hallmark.base.key import source_digest
from hallmark.base.records import schema, write_records
from hallmark.mask.params import Mask
from hallmark.mask.rows import masked_schema
from hallmark.params.loader import Params, load_params
from hallmark.task.params import Task as TaskParams
from hallmark.task.task import Task
from tests.workspace import ROOT

SYSTEM = {"role": "system", "content": "Answer with a label."}


def record(name: str, text: str, target: str = "a", group: str = "g", tools: str | None = None) -> dict[str, Any]:
    return {
        "id": name,
        "group": group,
        "prompt": [SYSTEM, {"role": "user", "content": text}],
        "completion": [{"role": "assistant", "content": target}],
        "context": None,
        "tools": tools,
        "rejected": None,
        "tags": None,
    }


def write_masked(records: Iterable[dict[str, Any]], path: Path = MASKED) -> None:
    """Write records to `data/masked.parquet`, each with its `source` or else one of what it is made of; or a part of a split."""
    rows = list(records)
    if path.name != MASKED.name:
        write_records(path, pl.DataFrame(rows, schema=schema()))
        return
    parts = ([one["group"], one["prompt"][1]["content"], one["completion"][0]["content"]] for one in rows)
    rows = [{"source": source_digest(None, *part)} | one for one, part in zip(rows, parts, strict=True)]
    write_records(path, pl.DataFrame(rows, schema=masked_schema()))


@cache
def shipped() -> Params:
    """The repository's parameters, read once: they can't be changed."""
    return load_params(ROOT / "params.yaml")


def params_with(**changes: Any) -> Params:
    """The repository's parameters for text answers without gold labels; `dedupe__threshold=0.6` changes one."""
    usual = {"task__kind": "text", "task__schema_file": None, "task__refusal": None, "dedupe__gold": None}
    return with_changes(shipped(), **usual | changes)


def with_changes(params: Params, **changes: Any) -> Params:
    """The parameters with `dedupe__threshold=0.6` and the like."""
    for key, value in changes.items():
        block, field = key.split("__")
        params = params.model_copy(update={block: getattr(params, block).model_copy(update={field: value})})
    return params


def task_of(folder: Path, kind: str, schema: Any, refusal: str | None = None, tool_format: str = "json") -> Task:
    """A task whose schema is a file in the folder; without one if it is None."""
    file = folder / "schema.json"
    file.write_text(json.dumps(schema), encoding="utf-8")
    values = {"kind": kind, "system_prompt": "Do it.", "tool_format": tool_format, "refusal": refusal}
    return Task(TaskParams.model_validate(values | {"schema": None if schema is None else str(file)}))


def mask_with(**changes: Any) -> Mask:
    """The repository's params for masking by rules alone, which allow no words, with changes."""
    rules = {"ner": {"engine": "none", "model": None}, "allow": []}
    return Mask.model_validate(shipped().mask.model_dump() | rules | changes)


def write_lines(file: Path, rows: Iterable[Any]) -> Path:
    """Write rows as JSON lines; returns the file."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@contextmanager
def refused(remedy: str = "", **place: Any) -> Iterator[pytest.ExceptionInfo[HallmarkError]]:
    """What is in it ends in one error with this `file`, `row` and `field`, as far as they are given, and this in its remedy."""
    with pytest.raises(HallmarkError) as caught:
        yield caught
    assert {name: getattr(caught.value, name) for name in place} == place
    assert remedy in caught.value.remedy


def words(text: str) -> str:
    """A normal text without its punctuation; the text where it has nothing else."""
    kept = "".join(" " if unicodedata.category(character).startswith("P") else character for character in text)
    return " ".join(kept.split()) or text


def shingle_set(text: str, size: int) -> set[str]:
    """All runs of `size` characters; a shorter text is one shingle."""
    return {text[start : start + size] for start in range(len(text) - size + 1)} or {text}


def near_pairs_by_hand(texts: dict[str, str], threshold: float, size: int = 4) -> dict[tuple[str, str], float]:
    """Pairs of ids whose texts, which are normal already, are similar enough (or the same), and how similar by definition."""
    sets = {name: shingle_set(words(text), size) for name, text in texts.items()}
    pairs = combinations(sorted(texts), 2)
    alike = {(one, two): len(sets[one] & sets[two]) / len(sets[one] | sets[two]) for one, two in pairs}
    return {pair: jaccard for pair, jaccard in alike.items() if jaccard >= threshold - 1e-12}
