"""What `stages/records.py` imports: the record, and helpers that read files and make prompts and targets of what is in them."""

from __future__ import annotations

from hallmark.records.record import Record

__all__ = ["Record"]
