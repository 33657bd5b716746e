"""A server with the OpenAI chat API that already runs somewhere."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Line, Variable
from hallmark.serve.engine import SHARE_REMEDY, Address, Asking, Engine, Settings
from hallmark.serve.several import Several

Url = Annotated[Line, StringConstraints(pattern=r"^https?://[^\s/]+")]


class EndpointServer(Settings):
    kind: Literal["endpoint"]
    url: Url | Annotated[list[Url], Field(min_length=1)] = Field(
        description="where the server answers, such as http://127.0.0.1:8000/v1; of eval.engine, also a list: servers of the same models, which share the requests"
    )
    names: dict[Line, Line] = Field(description="what the server calls the models: {base: ..., tuned: ...}")


class EndpointAsking(Asking):
    key: Variable | None = Field(description="environment variable that holds the API key; null: none")
    logprobs: bool = Field(
        description="true: ask for the log-probabilities of the answer's tokens, for docs/confidence.md; false: the server has none"
    )


class Endpoint(Engine[EndpointServer]):
    """A server that the pipeline asks but does not start."""

    settings = EndpointServer
    asking = EndpointAsking

    def address(self, settings: EndpointServer) -> Address:
        url, *others = Several(settings.url).urls
        return Address(url, settings.names, others)

    def gives_logs(self, settings: Settings) -> bool:
        return isinstance(settings, EndpointAsking) and settings.logprobs

    def check_shares_base(self, settings: EndpointServer) -> None:
        """It can't be given anything to serve."""
        raise HallmarkError(
            "an endpoint that runs elsewhere can't be given adapters",
            param="benchmark.server.kind",
            remedy=SHARE_REMEDY,
        )


ENGINE = Endpoint()
