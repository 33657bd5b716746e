"""What `data.path` holds already: the records that new ones are compared with, its customers, and who is held out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hallmark.base.files import HOLDOUT, HOLDOUT_LOCK, MASKED
from hallmark.base.holdout import read_lock
from hallmark.base.key import pseudonym
from hallmark.base.progress import Progress
from hallmark.base.records import columns_of, read_parquet, scan_records, whole_parquet
from hallmark.base.rows import files_of, read_rows
from hallmark.data.conversations import Extra
from hallmark.data.missing import MissingValueError, is_kept, spaced_tags
from hallmark.data.near import text_of
from hallmark.data.raw import Raw, Values, checked_rows
from hallmark.mask.second_check import in_name
from hallmark.params.loader import Params
from hallmark.service.collecting.columns import Habits
from hallmark.task.answers import canonical
from hallmark.task.task import Task

PSEUDONYM = re.compile("group-[b-df-hj-np-t]{16}")
NAME = "trace_id"  # the column with the name of a collected row, where data.id names no column


@dataclass
class Known:
    """The raw rows that there are, in the form in which new ones are compared with them."""

    ids: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)  # what a model is asked, as it is and, if `mask` has run, masked
    targets: list[str] = field(default_factory=list)  # canonical
    groups: dict[str, Values] = field(default_factory=dict)  # with the identity values of each
    held: set[str] = field(default_factory=set)  # groups of the frozen holdout
    habits: Habits = field(default_factory=Habits)


def read_known(params: Params, key: bytes | None) -> Known:
    """Read and check all raw rows; an error if one is bad, as `mask` would say it."""
    known = Known()
    path, data = Path(params.data.path), params.data
    task, extra = Task(params.task), Extra(data, params.mask.identity_columns, params.task.system_prompt)
    identities: dict[str, set[tuple[str, str]]] = defaultdict(set)
    frozen = set(read_lock().records) if HOLDOUT_LOCK.exists() else set()
    with Progress("collect", None, "rows read", brief=True) as progress:
        for file in files_of(path):
            for number, row in read_rows(file):
                progress.add()
                if not is_kept(row, data.where, spaced_tags(data)):
                    continue
                try:
                    found = checked_rows(row, extra, file, number, data, params.mask, task)
                except MissingValueError:
                    if data.missing == "error":
                        raise
                    continue
                for raw in found:
                    known.ids.update({raw.id, str(row.get(NAME, raw.id))})
                    known.texts.append(asked(raw))
                    known.targets.append(canonical(raw.target))
                    known.habits.note(raw.context, raw.input)
                    identities[raw.group].update(raw.identity)
                    if raw.id in frozen or (key is not None and pseudonym(key, "id", raw.id) in frozen):
                        known.held.add(raw.group)
    if MASKED.exists():  # a request that was masked is compared with records that were
        with whole_parquet(MASKED):
            masked = scan_records(MASKED).select(text=text_of("prompt"), target=text_of("completion")).collect()
        known.texts += masked["text"].to_list()
        known.targets += map(canonical, masked["target"].to_list())
    known.groups = {group: tuple(sorted(values)) for group, values in identities.items()}
    if HOLDOUT.exists():
        names = set(read_parquet(HOLDOUT, "run `dvc repro split`")["group"].to_list())
        known.held |= {
            group
            for group in known.groups
            if group in names or (key is not None and pseudonym(key, "group", group) in names)
        }
    return known


class Customers:
    """The customers in the raw data. `key` is the repo's, or None if names stay as they are.

    A trace has the name that records have, which is a pseudonym if `data.pseudonyms` is keyed. `mask` makes a pseudonym of
    every raw name, so a row with a pseudonym for its raw name would be a new customer's, whom no split knows. So the raw name
    of a known customer is found again, by the pseudonyms of all raw names. A customer who is not in the data is called by his
    pseudonym there; once the data has his own name, his rows get that.
    """

    def __init__(self, groups: Iterable[str], key: bytes | None) -> None:
        self.key, self.groups = key, set(groups)
        self.by_pseudonym = {pseudonym(key, "group", group): group for group in self.groups} if key else {}

    def raw_name(self, group: str, own: bool) -> str:
        """The raw name of a customer, as a log has him; `own`: a log of our gateway."""
        if self.key is None:
            return group
        name = group if own and PSEUDONYM.fullmatch(group) else pseudonym(self.key, "group", group)
        return self.by_pseudonym.get(name, name)

    def may_be_named(self, name: str) -> bool:
        """Whether records may have this name as it is."""
        return self.key is not None or not in_name(name)

    def renamed(self) -> dict[str, str]:
        """Customers who are in the data under their pseudonym and now under their name too: the one, and the other."""
        return {name: raw for name, raw in self.by_pseudonym.items() if name in self.groups and raw != name}


def asked(raw: Raw) -> str:
    return f"{raw.context}\n\n{raw.input}" if raw.context else raw.input


def mapped(params: Params) -> set[Any]:
    """The columns that `data:` and `mask.identity_columns` name."""
    data = params.data
    targets = data.target if isinstance(data.target, list) else [data.target]
    templates = [data.id, data.group, data.input, *targets, data.context, data.tools, data.rejected, data.tags]
    return {column for one in templates if one for column in columns_of(one)} | set(params.mask.identity_columns)
