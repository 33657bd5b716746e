"""What changes in a model's answers when the same records come in other batches, and numbers are summed in another order."""

from __future__ import annotations

from collections.abc import Sequence

from hallmark.answer.answers import Answer
from hallmark.answer.scoring import Score


def counts(first: Sequence[tuple[Answer, Score]], second: Sequence[tuple[Answer, Score]]) -> dict[str, int]:
    """How many texts and outcomes changed; `lost` and `won` count exact matches."""
    pairs = list(zip(first, second, strict=True))
    return {
        "records": len(pairs),
        "texts_changed": sum(before.text != after.text for (before, _), (after, _) in pairs),
        "outcomes_changed": sum(before.outcome != after.outcome for (_, before), (_, after) in pairs),
        "lost": sum(before.exact_match and not after.exact_match for (_, before), (_, after) in pairs),
        "won": sum(after.exact_match and not before.exact_match for (_, before), (_, after) in pairs),
    }
