"""The `mask` block of `params.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from stages.core.params import Block, Kind, Positive, Regex, Text


class Ner(Block):
    engine: Literal["spacy", "transformers", "gliner", "none"]
    model: Text | None

    @model_validator(mode="after")
    def _model_where_needed(self) -> Ner:
        if (self.engine == "none") != (self.model is None):
            raise ValueError("mask.ner.model: name a model, or null with engine none")
        return self


class Pattern(Block):
    kind: Kind
    regex: Regex


class Mask(Block):
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
    ner: Ner
    identity_columns: dict[Text, Kind]
    style: Literal["placeholder", "surrogate"]
    actions: dict[Kind, Literal["placeholder", "surrogate", "keep", "drop"]]
    dates_before: Annotated[int, Field(ge=1000, le=9999)] | None
    deny: list[Text]
    allow: list[Text]
    patterns: list[Pattern]
    secret: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None
    max_chars: Positive
    window: Annotated[int, Field(ge=200)]
    workers: Positive
    gold: Text | None

    @model_validator(mode="after")
    def _secret_where_needed(self) -> Mask:
        if self.secret is None and (self.style == "surrogate" or "surrogate" in self.actions.values()):
            raise ValueError("mask.secret: surrogates need the name of an environment variable that holds a secret")
        return self
