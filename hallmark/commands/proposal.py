"""A proposal for one data file: what `python -m hallmark.commands.propose` found, tries on a sample, prints and writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hallmark.base.params import Data
from hallmark.commands.column_roles import Guess
from hallmark.commands.infer import Inferred
from hallmark.commands.profile import Column, Rows

Edits = dict[str, dict[str, Any]]  # block of params.yaml: key: value; a nested block is a value


@dataclass
class Proposal:
    """The rows of a file, the roles of its columns, the task, and the values for params.yaml that follow from them."""

    file: Path
    rows: Rows = field(repr=False)
    columns: dict[str, Column] = field(repr=False)
    roles: Guess
    task: Inferred  # kind, schema and refusal
    edits: Edits = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)  # (block, key): why, shown as its comment
    tried: list[str] = field(default_factory=list)  # lines: what a dry run shows
    warnings: list[str] = field(default_factory=list)

    def set(self, block: str, key: str, value: Any, reason: str | None = None) -> None:
        """Propose a value for params.yaml, or another one in place of it."""
        self.edits.setdefault(block, {})[key] = value
        self.reasons.pop((block, key), None)
        if reason:
            self.reasons[block, key] = reason

    @property
    def kind(self) -> str:
        """The kind of task."""
        return self.task.kind

    @property
    def data(self) -> Data:
        """The proposed block `data`, to read this file with; names stay as they are."""
        return Data.model_construct(**self.edits["data"] | {"path": str(self.file), "pseudonyms": "none", "key": None})

    @property
    def identity_columns(self) -> dict[str, str]:
        """The proposed `mask.identity_columns`."""
        return dict(self.edits["mask"]["identity_columns"])
