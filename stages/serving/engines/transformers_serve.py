"""`transformers serve`, which has no way to serve an adapter on top of its base."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from stages.core.params import Compute, Tokens
from stages.serving.engine import HOST, StartedEngine, StartedSettings


class TransformersServer(StartedSettings):
    kind: Literal["transformers"]
    attention: Literal["eager", "sdpa", "flash_attention_2"]
    cache_blocks: Tokens | None
    batch_tokens: Tokens


class TransformersServe(StartedEngine[TransformersServer]):
    """The server that comes with transformers, with continuous batching."""

    settings = TransformersServer

    def version(self, settings: TransformersServer, compute: Compute) -> str:
        """That of the locked transformers: it runs in the pipeline's own environment."""
        return f"transformers {importlib.metadata.version('transformers')}"

    def command(
        self, models: Sequence[str], folder: Path, port: int, settings: TransformersServer, compute: Compute
    ) -> list[str]:
        """Serve the only one of `models`."""
        (model,) = models
        line = [sys.executable, "-m", "transformers.cli.transformers", "serve", model]
        line += ["--host", HOST, "--port", str(port), "--device", compute.device, "--dtype", settings.dtype]
        line += ["--continuous-batching", "--attn-implementation", settings.attention]
        line += ["--cb-max-batch-tokens", str(settings.batch_tokens)]
        if settings.cache_blocks is not None:
            line += ["--cb-num-blocks", str(settings.cache_blocks)]
        return line

    def variables(self, settings: TransformersServer, compute: Compute) -> dict[str, str]:
        """Its command line asks a registry for newer versions unless told not to."""
        return {"HF_HUB_DISABLE_UPDATE_CHECK": "1"}


ENGINE = TransformersServe()
