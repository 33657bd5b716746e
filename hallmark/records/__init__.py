"""What `stages/records.py` imports: the record, and helpers that read files and make prompts and targets of what is in them."""

from hallmark.records.fields import fields_of_spans, fields_of_tags
from hallmark.records.json_files import json_lines, json_rows
from hallmark.records.reading import expect, skip
from hallmark.records.record import Record
from hallmark.records.tables import table
from hallmark.records.turns import answers, calls, plain_text

__all__ = [
    "Record",
    "answers",
    "calls",
    "expect",
    "fields_of_spans",
    "fields_of_tags",
    "json_lines",
    "json_rows",
    "plain_text",
    "skip",
    "table",
]
