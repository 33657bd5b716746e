"""What a serving engine is: its block in params.yaml, how its server is started, when it is ready, what requests need.

Each module in `engines/` holds one engine, as `ENGINE`. To add one, add a module there, or in a repo's `stages/engines/`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

from pydantic import Field

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Block, Compute, Seconds

Concurrency = Annotated[int, Field(ge=1, le=10_000)]  # requests in progress at once
HOST = "127.0.0.1"
LIBRARY = Path(__file__).resolve().parents[1]
IMPORTABLE = Path(".hallmark/importable")  # from which Python imports the library and nothing else
SHARE_REMEDY = "set it to vllm, with adapter lora (docs/serving.md), or serve each release alone"


def importable() -> Path:
    """A folder from which Python imports the library and nothing else: other packages there would be of our environment."""
    link = IMPORTABLE.absolute() / LIBRARY.name
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or link.readlink() != LIBRARY:
        link.unlink(missing_ok=True)
        link.symlink_to(LIBRARY)
    return link.parent


class Settings(Block):
    """The block that selects an engine; a subclass makes `kind` the `Literal` it is selected by."""

    kind: str


class StartedSettings(Settings):
    """What every engine is told whose server the pipeline starts."""

    port: Annotated[int, Field(ge=0, le=65535)]
    dtype: Literal["bfloat16", "float16", "float32"]
    startup_timeout: Annotated[int, Field(ge=1, le=604_800)]


class Asking(Settings):
    """What `eval.engine` says in addition to the engine's settings."""

    concurrency: Concurrency = Field(description="most requests in progress at once")
    timeout: Seconds = Field(description="seconds for one request")


@dataclass(frozen=True)
class Address:
    """A server that already runs, and what it calls the models `base` and `tuned`; `others`: where they answer too."""

    url: str
    names: Mapping[str, str]
    others: Sequence[str] = ()


S = TypeVar("S", bound=Settings)
Started = TypeVar("Started", bound=StartedSettings)


@dataclass(frozen=True)
class CacheAsked:
    """The size of a KV cache, in tokens or in bytes; neither: the server takes a share of the memory."""

    tokens: int | None = None
    size: int | None = None


class Engine(Generic[S]):
    """One kind of server with the OpenAI chat API."""

    settings: type[S]
    asking: type[Asking] = Asking
    fields: Mapping[str, Any] = {}  # what every request must have in addition to model, messages and limits
    constrains: bool = True  # it can hold an answer to a JSON Schema that a request has (response_format)

    @property
    def kind(self) -> str:
        """The value of `kind` that selects it."""
        return str(get_args(self.settings.model_fields["kind"].annotation)[0])

    def address(self, settings: S) -> Address | None:
        """Where its server runs already; None for a server that the pipeline starts."""
        return None

    def gives_logs(self, settings: Settings) -> bool:
        """Whether its server gives the log-probabilities of an answer's tokens (`logprobs`)."""
        return False

    def cache_asked(self, settings: S) -> CacheAsked:
        """How large a KV cache the settings ask for."""
        return CacheAsked()

    def shares_base(self, settings: S) -> bool:
        """Whether one server answers for the base and for adapters on top of it."""
        return False

    def check_shares_base(self, settings: S) -> None:
        """Raise a HallmarkError if `shares_base` is False, with what to change in `benchmark.server`."""
        if not self.shares_base(settings):
            raise HallmarkError(
                f"a server of kind {self.kind} can't serve several adapters on one base",
                param="benchmark.server.kind",
                remedy=SHARE_REMEDY,
            )


class StartedEngine(Engine[Started], ABC):
    """An engine whose server the pipeline starts, on the loopback interface, and stops."""

    ready: str = "/health"  # a path that answers with a status below 300 once the server takes requests

    @abstractmethod
    def version(self, settings: Started, compute: Compute) -> str:
        """Its name and version for the report. Raises HallmarkError if it is not installed for `compute.device`.

        Asked before any weights are written.
        """

    @abstractmethod
    def command(self, models: Sequence[str], folder: Path, port: int, settings: Started, compute: Compute) -> list[str]:
        """The command line that serves `models`, which are names in `folder`, on HOST; it runs in that folder.

        There is one model, with its adapter merged; or, if the engine `shares_base`, the base and then adapters.
        """

    def admission(self) -> list[str]:
        """Options that put our admission in front of its server, where the pipeline runs it and our code is at hand."""
        return []

    def variables(self, settings: Started, compute: Compute) -> dict[str, str]:
        """Environment variables for the server, on top of those for `compute`."""
        return {}

    def check_room(self, base: Path, servers: int, settings: Started, compute: Compute) -> None:
        """Raise a HallmarkError if this number of servers at once, each with a model of the base's size, have no room here.

        Asked before any weights are written.
        """

    def installed(self, settings: Started) -> bool:
        """Whether this machine can start it; a quick look, `version` says for certain."""
        return True
