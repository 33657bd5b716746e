"""The blocks of `params.yaml` for what comes after a release: `serve`, `canary` and `collect`."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from hallmark.base.params import Block, Limit, Line, Positive, Processes, Seconds, Share, Tokens, Variable


def _has_port(url: str) -> str:
    _ = urlsplit(url).port  # a ValueError if it is out of range
    return url


# Without a name, a password or a query in it, where a secret could be.
Url = Annotated[Line, StringConstraints(pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$"), AfterValidator(_has_port)]
Header = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,100}$")]
Price = Annotated[float, Field(ge=0, le=1e12)]
PositivePrice = Annotated[float, Field(gt=0, le=1e12)]
Hours = Annotated[float, Field(ge=0.001, le=8_760)]
Number = Annotated[float, Field(ge=-1e12, le=1e12)]


class ServeLimits(Block):
    body_bytes: Annotated[int, Field(ge=1_024, le=2**26)]
    answer_tokens: Tokens
    seconds: Seconds
    under_way: Positive
    under_way_per_key: Positive


class _Server(Block):
    """A model server that already runs, and what it calls the model."""

    model: Line = Field(description="what the server calls the model")
    key: Variable | None = Field(description="environment variable that holds its API key; null: none")


class Upstream(_Server):
    """One of a release, or several."""

    model: Line = Field(
        description="what the server calls the model; {version} in it stands for the release that is there now, as in tickets-{version}"
    )
    url: Url | Annotated[list[Url], Field(min_length=1)] = Field(
        description="where the server answers, such as http://127.0.0.1:9000/v1; a list: servers of the same release, which share the requests"
    )


class Fallback(_Server):
    url: Url = Field(description="where the server answers, such as http://127.0.0.1:9000/v1")
    price_in: Price = Field(description="price of a million tokens of the prompt, in the currency of benchmark")
    price_out: Price = Field(description="price of a million tokens of the answer")
    spend_per_day: Price = Field(
        description="most to spend on it in a day (UTC), by each gateway; then a person must look"
    )


class Otlp(Block):
    url: Url = Field(description="where it takes OTLP over HTTP, such as http://127.0.0.1:4318; /v1/traces is added")
    texts: bool = Field(description="true: masked messages and answers are sent too; false: all but these")
    headers: Variable | None = Field(
        description="environment variable with more headers, such as an API key, as `name=value,name=value` with values percent-encoded; null: none"
    )


class ServeRouting(Block):
    group_header: Header
    canary: Annotated[float, Field(ge=0, le=1)]
    shadow: bool


class Serve(Block):
    host: Line
    port: Annotated[int, Field(ge=0, le=65535)]
    keys: Variable | None
    upstreams: dict[Annotated[str, StringConstraints(pattern=r"^(prod|canary)$")], Upstream]
    limits: ServeLimits
    mask: bool
    maskers: Processes
    routing: ServeRouting
    cascade: bool
    check_schema: bool
    fallback: Fallback | None
    traces: bool
    otlp: Otlp | None
    poll_seconds: Seconds
    drain_seconds: Seconds
    warm_seconds: Annotated[float, Field(ge=0, le=604_800)]

    @model_validator(mode="after")
    def _canary_needs_prod(self) -> Serve:
        if "canary" in self.upstreams and "prod" not in self.upstreams:
            raise ValueError("serve.upstreams: a canary without a prod; name that too")
        return self


class CanaryMargins(Block):
    wrong: Limit | None
    complaints: Limit | None
    schema_breaks: Limit | None
    handed_over: Limit | None
    failed: Limit | None
    slow: Limit | None
    price: Annotated[float, Field(ge=0, le=100)] | None


class Canary(Block):
    confidence: Annotated[Share, Field(gt=0.5)]
    first_look_hours: Hours
    days: Annotated[float, Field(ge=0.001, le=365)]
    margins: CanaryMargins
    slow_seconds: Seconds
    price_at_most: PositivePrice

    @model_validator(mode="after")
    def _has_a_look(self) -> Canary:
        if self.first_look_hours > 24 * self.days:
            raise ValueError("canary.first_look_hours: later than canary.days; take fewer hours, or more days")
        return self


class Review(Block):
    most: Positive


class Collect(Block):
    routes: list[Literal["prod", "canary", "shadow", "batch"]]
    review: Review
