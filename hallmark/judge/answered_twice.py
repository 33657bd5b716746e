"""The same records answered twice: freely, and held to the task's schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hallmark.answer.scoring import Score


def held_to_schema(free: Sequence[tuple[Any, Score]], held: Sequence[tuple[Any, Score]]) -> dict[str, Any]:
    """How many records holding `fixed` (now an exact match), only `hid` (was not valid, is now valid but still wrong), and
    `lost` (was an exact match). Each is an answer, which has `tokens` and `cut_off`, and its score."""
    pairs = [(before, after) for (_, before), (_, after) in zip(free, held, strict=True)]
    return {
        "records": len(pairs),
        **{
            name: {
                "parses": sum(score.parses for _, score in answers),
                "schema_validity": sum(score.schema_valid for _, score in answers),
                "exact_match": sum(score.exact_match for _, score in answers),
                "cut_off": sum(answer.cut_off for answer, _ in answers),
                "tokens": sum(answer.tokens for answer, _ in answers),
            }
            for name, answers in (("free", free), ("constrained", held))
        },
        "fixed": sum(not before.exact_match and after.exact_match for before, after in pairs),
        "hidden": sum(
            not before.schema_valid and after.schema_valid and not after.exact_match for before, after in pairs
        ),
        "lost": sum(before.exact_match and not after.exact_match for before, after in pairs),
    }
