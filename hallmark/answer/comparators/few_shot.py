"""The base, shown records of train as earlier turns of the conversation: what a good prompt alone would achieve."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hallmark.answer.comparator import Asked, Comparator, ComparatorSettings, Questions
from hallmark.answer.examples import Rule, in_words, with_examples
from hallmark.base.params import Positive, Tokens


class FewShotSettings(ComparatorSettings):
    kind: Literal["few_shot"] = Field(description="the base, with examples as earlier turns of the conversation")
    examples: Positive = Field(description="most examples before a record; more take longer to read, and may help")
    rule: Rule = Field(
        description="nearest (most like the record, by TF-IDF; the most alike last), stratified (the same for all, each "
        "label in turn) or fixed (the same for all, evenly by group)"
    )
    max_tokens: Tokens = Field(
        description="most tokens of the examples together; those that don't fit, or are over the base's context, are left out"
    )

    def longer_by(self, record: int) -> int:
        """Those of its examples."""
        return min(self.examples * record, self.max_tokens)


class FewShot(Comparator[FewShotSettings]):
    """Examples stand between the system prompt and the record; the one that the rule ranks first comes last."""

    settings = FewShotSettings

    def words(self, settings: FewShotSettings) -> str:
        """How many examples it is shown."""
        return f"the base with {in_words(settings.examples)}"

    def asked(self, settings: FewShotSettings, questions: Questions) -> Asked:
        """Each record's prompt with as many examples as fit, the best of them."""
        return with_examples(questions, count=settings.examples, rule=settings.rule, max_tokens=settings.max_tokens)


COMPARATOR = FewShot()
