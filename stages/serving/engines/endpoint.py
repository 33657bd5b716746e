"""A server with the OpenAI chat API that already runs somewhere."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from stages.core.errors import HallmarkError
from stages.core.params import Line, Variable
from stages.serving.engine import SHARE_REMEDY, Address, Asking, Engine, Settings


class EndpointServer(Settings):
    kind: Literal["endpoint"]
    url: Annotated[Line, StringConstraints(pattern=r"^https?://[^\s/]+")]
    names: dict[Line, Line]


class EndpointAsking(Asking):
    key: Variable | None


class Endpoint(Engine[EndpointServer]):
    """A server that the pipeline asks but does not start."""

    settings = EndpointServer
    asking = EndpointAsking

    def address(self, settings: EndpointServer) -> Address:
        """Where it is, as the settings say."""
        return Address(settings.url.rstrip("/"), settings.names)

    def check_shares_base(self, settings: EndpointServer) -> None:
        """It can't be given anything to serve."""
        raise HallmarkError(
            "an endpoint that runs elsewhere can't be given adapters",
            param="benchmark.server.kind",
            remedy=SHARE_REMEDY,
        )


ENGINE = Endpoint()
