"""The `eval`, `classical`, `compare`, `cascade` and `decide` blocks of `params.yaml`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, StringConstraints, model_validator

from hallmark.answer.comparator import ComparatorSettings
from hallmark.answer.comparators import comparator_settings
from hallmark.base.params import Batch, Block, ByKind, NotNegative, Positive, Regex, Share, Text, Tokens
from hallmark.serve.engine import Settings
from hallmark.serve.engines import ENGINES
from hallmark.serve.params import asked_settings

Run = Annotated[int, Field(ge=1, le=8)]
# Models of the pipeline, parts that the tuned one answers, and a person: no comparator can be called so.
OWN_NAMES = ("base", "tuned", "classical", "calibration", "online", "human")
Name = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")
]  # of a comparator: also of a stage and a folder
ONE_OF = ByKind("eval.comparators", comparator_settings)
AComparator = Annotated[SerializeAsAny[ComparatorSettings], BeforeValidator(ONE_OF)]


class HfEngine(Settings):
    kind: Literal["hf"]


def answering() -> dict[str, type[Settings]]:
    """What can answer the holdout: the model in this process, or a server of any kind."""
    return {"hf": HfEngine, **asked_settings()}


class Eval(Block):
    engine: Annotated[SerializeAsAny[Settings], BeforeValidator(ByKind("eval.engine", answering))]
    batch_size: Batch
    max_new_tokens: Tokens
    dtype: Literal["bfloat16", "float32"]
    attention: Literal["eager", "sdpa"]
    merge: bool
    sample: dict[Name, Positive]
    comparators: dict[Name, AComparator]
    constrained: NotNegative
    policy: dict[Text, Regex]
    facts: dict[Text, Regex]

    @model_validator(mode="after")
    def _both_models(self) -> Eval:
        if isinstance(self.engine, HfEngine):
            return self
        address = ENGINES[self.engine.kind].address(self.engine)
        if address and (missing := {"base", "tuned"} - set(address.names)):
            raise ValueError(f"eval.engine.names: name the model to ask for as {', '.join(sorted(missing))}")
        return self

    @model_validator(mode="after")
    def _names_of_models(self) -> Eval:
        if taken := [name for name in self.comparators if name in OWN_NAMES]:
            raise ValueError(f"eval.comparators: '{taken[0]}' is a model of the pipeline; choose another name")
        known = ["base", *self.comparators]
        if unknown := [name for name in self.sample if name not in known]:
            raise ValueError(f"eval.sample: '{unknown[0]}' can't be sampled; there are {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _one_value_a_fact(self) -> Eval:
        if wide := [name for name, regex in self.facts.items() if re.compile(regex).groups > 1]:
            raise ValueError(
                f"eval.facts: one group at most says what the value is; make the others of {', '.join(wide)} (?:...)"
            )
        return self


class Classical(Block):
    ngrams: Annotated[int, Field(ge=1, le=5)]
    min_records: Positive
    C: Annotated[float, Field(gt=0, le=1e9)]
    chars: Annotated[tuple[Run, Run], Field(strict=False)] | None

    @model_validator(mode="after")
    def _shortest_first(self) -> Classical:
        if self.chars is not None and self.chars[0] > self.chars[1]:
            raise ValueError("classical.chars: the shortest run of characters comes first, then the longest")
        return self


class Compare(Block):
    confidence: Share
    bootstrap_samples: Annotated[int, Field(ge=200, le=1_000_000)]
    min_detectable_effect: Share
    power: Share
    online_margin: Share


class Cascade(Block):
    max_risk: Share | None
    confidence: Share
    report_risks: list[Share]
    fallback: Name
    human_price: Annotated[float, Field(ge=0, le=1e9)] | None


class Decide(Block):
    margin: Annotated[float, Field(ge=0, lt=1)]
