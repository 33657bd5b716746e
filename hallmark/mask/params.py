"""The `mask` block of `params.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from hallmark.base.markup import Markup
from hallmark.base.params import Block, Line, Positive, Processes, Regex, Text
from hallmark.mask.kinds import KINDS, nearest, short

KindName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z_]*[A-Z]$")]


def _shows(text: str) -> str:
    if not any(letter.isprintable() and not letter.isspace() for letter in text):
        raise ValueError("nothing that shows")
    return text


Word = Annotated[Text, AfterValidator(_shows)]


class Ner(Block):
    engine: Literal["spacy", "transformers", "gliner", "none"]
    model: Line | None

    @model_validator(mode="after")
    def _model_if_needed(self) -> Ner:
        if (self.engine == "none") != (self.model is None):
            raise ValueError("mask.ner.model: name a model, or set it to null with engine none")
        return self


class Pattern(Block):
    kind: KindName
    regex: Regex

    @model_validator(mode="after")
    def _no_placeholder_name(self) -> Pattern:
        taken = {short(kind): kind for kind in KINDS if short(kind) != kind}
        if self.kind in taken:
            raise ValueError(f"mask.patterns: {self.kind} is the placeholder name of {taken[self.kind]}; use that kind")
        return self


class Mask(Block):
    level: Literal["direct", "quasi", "all"]
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
    countries: list[Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]]
    ner: Ner
    markup: Markup
    style: Literal["placeholder", "surrogate"]
    actions: dict[KindName, Literal["placeholder", "surrogate", "keep", "drop"]]
    thresholds: dict[KindName, Annotated[float, Field(ge=0, le=1)]]
    dates_before: Annotated[int, Field(ge=1000, le=9999)] | None
    day_first: bool
    deny: list[Word]
    allow: list[Word]
    allow_patterns: list[Regex]
    patterns: list[Pattern]
    max_lost: Annotated[float, Field(ge=0, le=1)]
    max_chars: Positive
    window: Annotated[int, Field(ge=200, le=10_000_000)]
    workers: Processes
    gold: Line | None

    @model_validator(mode="after")
    def _kinds_are_known(self) -> Mask:
        own = [rule.kind for rule in self.patterns]
        named = [(f"actions.{kind}", kind) for kind in self.actions]
        named += [(f"thresholds.{kind}", kind) for kind in self.thresholds]
        unknown = [
            f"mask.{field}: there is no kind {kind} (did you mean {nearest(kind, own)}?)"
            for field, kind in named
            if kind not in KINDS and kind not in own
        ]
        if unknown:
            raise ValueError(
                f"{'; '.join(unknown)}; hallmark/mask/kinds.py lists all kinds, and a rule in mask.patterns adds your own"
            )
        return self
