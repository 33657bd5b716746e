"""The `report` block of `params.yaml`."""

from __future__ import annotations

from hallmark.base.params import Block, Positive


class ReportPage(Block):
    field_chars: Positive
    records: Positive
