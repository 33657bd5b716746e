"""The classes of failure, and the outcomes of a record."""

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


def in_words(name: str) -> str:
    """A class of failure as people read it: `Missed refusal`."""
    return name.replace("_", " ").capitalize()
