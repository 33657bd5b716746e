"""No model at all: the answer of the most similar training records, its values copied from the text that asks.

Of the training records most like the text, those of the most frequent form (a refusal or not; the same tools) give the
answer's frame. A field whose values stand in the training texts is copied, by the rule of
`hallmark/answer/copying.py`; how sure that has to be is chosen on the training records alone. All other fields, and
the form itself, are said by a linear model, or by vote of the nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from hallmark.answer.answers import Answer, Answerer, Prompt
from hallmark.answer.comparator import Comparator, ComparatorSettings
from hallmark.answer.imitation import Imitation
from hallmark.answer.predictions import readable
from hallmark.base.params import Positive

if TYPE_CHECKING:
    from hallmark.answer.comparator import Means


# What the linear model reads, whatever `classical` says: the rule is the same in every project.
LINEAR = {"ngrams": 2, "min_records": 2, "C": 30.0, "chars": (2, 5)}


class LinearCopySettings(ComparatorSettings):
    runs_here: ClassVar[bool] = False
    kind: Literal["linear_copy"] = Field(
        description="no language model: values copied from the text, the rest as similar training records have it"
    )
    neighbours: Positive = Field(
        description="training records that vote; more: a steadier vote; fewer: it follows rare cases"
    )
    labels: Literal["linear", "vote"] = Field(
        description="what chooses the values that are not copied: linear (a linear model of words and characters) or vote (the "
        "nearest training records)"
    )


class Imitator:
    """Answers prompts by the rule."""

    seconds = 0.0

    def __init__(self, rule: Imitation) -> None:
        self._rule = rule

    def answer(self, prompts: Sequence[Prompt], what: str = "records") -> list[Answer]:
        """The rule's answers to what the user says."""
        asked = ["\n".join(said["content"] for said in one.messages if said["role"] == "user") for one in prompts]
        return [Answer(text, 0, "stop") for text in self._rule.answers(asked)]


class LinearCopy(Comparator[LinearCopySettings]):
    """The rule reads the record's own prompt, and needs no base."""

    settings = LinearCopySettings

    def words(self, settings: LinearCopySettings) -> str:
        """What it is."""
        if settings.labels == "linear":
            return "a linear model, with values copied from the text"
        several = f" {settings.neighbours}" if settings.neighbours > 1 else ""
        return f"a rule that copies from the{several} nearest training record{'s' if several else ''}"

    def answerer(self, settings: LinearCopySettings, base: Callable[[], Answerer], means: Means) -> Answerer:
        """The rule, learned from train."""
        from hallmark.answer.examples import train_records
        from hallmark.answer.params import Classical

        train = train_records()
        known = [readable(row) for row in train]
        return Imitator(
            Imitation(
                means.task,
                [row["input"] for row in known],
                [row["target"] for row in known],
                [row["group"] for row in train],
                settings.neighbours,
                Classical.model_validate(LINEAR) if settings.labels == "linear" else None,
            )
        )


COMPARATOR = LinearCopy()
