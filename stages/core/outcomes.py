"""The names of what is counted: failure classes, outcomes of a record, and the measures that a gate can put a floor under."""

from __future__ import annotations

from typing import Literal, get_args

# Worst first: silent harm comes before what a consumer's parser catches.
FailureClass = Literal[
    "unsafe_answer",
    "missed_refusal",
    "hallucination",
    "wrong_value",
    "omission",
    "wrong_refusal",
    "wrong_format",
]
FAILURES: tuple[str, ...] = get_args(FailureClass)
OUTCOMES = (*FAILURES, "pass")  # worst first

Measure = Literal[
    "parses",
    "schema_validity",
    "exact_match",
    "field_precision",
    "field_recall",
    "field_f1",
    "span_strict_f1",
    "span_exact_f1",
    "span_partial_f1",
    "span_type_f1",
    "macro_f1",
]
