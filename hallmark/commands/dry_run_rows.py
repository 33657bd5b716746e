"""Which rows of a file the dry run of `python -m hallmark.commands.propose` looks at: all, or some whole groups."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hallmark.base.errors import HallmarkError
from hallmark.base.files import write_json
from hallmark.base.params import Data
from hallmark.commands.profile import Rows
from hallmark.commands.proposal import Proposal
from hallmark.data.grouping import draw_hash
from hallmark.data.missing import Missing
from hallmark.data.raw import Raw, raw_rows
from hallmark.mask.params import Mask
from hallmark.params.loader import Params
from hallmark.task.kinds import KINDS
from hallmark.task.params import Task as TaskParams
from hallmark.task.task import Task

ROWS = 10_000  # looked at, at most: some seconds


@dataclass
class Sample:
    """Checked rows of a file, up to the first that `mask` refuses."""

    of: int  # rows in the file
    columns: Rows = field(repr=False)  # the rows to look at, as they are in the file
    rows: list[Raw] = field(default_factory=list, repr=False)
    missing: Missing = field(default_factory=Missing)
    stops: str | None = None  # the error of the row that `mask` refuses

    @property
    def looked_at(self) -> int:
        """How many rows of the file there are to look at."""
        return len(self.columns)

    @property
    def whole(self) -> bool:
        """Whether it is all of the file."""
        return self.looked_at == self.of


def chosen(rows: Rows, group: str) -> set[int]:
    """Which of the rows to look at, at most `ROWS`: all, or whole groups, drawn by a hash of their names."""
    if len(rows) <= ROWS:
        return set(range(len(rows)))
    places: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        places[str(row.get(group, number))].append(number)
    taken: list[int] = []
    for name in sorted(places, key=lambda name: draw_hash("propose", "sample", name)):
        taken += places[name]
        if len(taken) >= ROWS:
            break
    return set(taken[:ROWS])  # the last group may be cut


def sampled(proposal: Proposal, data: Data, mask: Mask, task: Task) -> Sample:
    """The rows to look at, as `mask` reads them with the proposed values."""
    only = chosen(proposal.rows, data.group)
    sample = Sample(len(proposal.rows), [proposal.rows[number] for number in sorted(only)])
    try:
        sample.rows += raw_rows(data, mask, task, sample.missing, None if len(only) == sample.of else only)
    except HallmarkError as error:
        sample.stops = told(error)
    return sample


@contextmanager
def proposed_task(proposal: Proposal, params: Params) -> Iterator[TaskParams]:
    """The proposed block `task`, its schema in a file that lasts as long as the block of code."""
    with tempfile.TemporaryDirectory() as folder:
        schema = Path(folder) / "schema.json"
        write_json(schema, proposal.task.schema)
        tools = KINDS[proposal.kind].calls_tools and proposal.edits["data"]["tools"]
        yield TaskParams.model_construct(
            kind=proposal.kind,
            system_prompt=proposal.edits["task"]["system_prompt"],
            schema_file=str(schema),
            tool_format=params.task.tool_format if tools else "json",
            refusal=proposal.task.refusal,
        )


def told(error: HallmarkError) -> str:
    """An error in one line."""
    return str(error).replace("\n  remedy: ", "; to fix it: ").replace("\n  ", "; ")
