"""`transformers serve`, which has no way to serve an adapter on top of its base, behind our admission."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hallmark.base.params import Compute, Tokens
from hallmark.serve import launcher
from hallmark.serve.engine import CacheAsked, Settings, StartedEngine, StartedSettings, importable

BLOCK = 256  # tokens in one of the blocks of its cache


class TransformersServer(StartedSettings):
    kind: Literal["transformers"]
    attention: Literal["eager", "sdpa", "flash_attention_2"]
    cache_blocks: Tokens | None
    batch_tokens: Tokens


class TransformersServe(StartedEngine[TransformersServer]):
    """The server that comes with transformers, with continuous batching."""

    settings = TransformersServer
    constrains = False  # version 5 ignores response_format

    def version(self, settings: TransformersServer, compute: Compute) -> str:
        """That of the locked transformers: it runs in the pipeline's own environment."""
        return f"transformers {importlib.metadata.version('transformers')}"

    def command(
        self, models: Sequence[str], folder: Path, port: int, settings: TransformersServer, compute: Compute
    ) -> list[str]:
        (model,) = models
        line = [sys.executable, "-m", launcher.MODULE, model, "--port", str(port), "--device", compute.device]
        line += ["--dtype", settings.dtype, "--attention", settings.attention]
        line += ["--batch-tokens", str(settings.batch_tokens)]
        if settings.cache_blocks is not None:
            line += ["--cache-blocks", str(settings.cache_blocks)]
        return line

    def gives_logs(self, settings: Settings) -> bool:
        """Our launcher adds them."""
        return True

    def cache_asked(self, settings: TransformersServer) -> CacheAsked:
        """Blocks of tokens."""
        return CacheAsked(tokens=None if settings.cache_blocks is None else settings.cache_blocks * BLOCK)

    def variables(self, settings: TransformersServer, compute: Compute) -> dict[str, str]:
        """Where our code is. No entry may be relative: it would be one of the models' folder."""
        given = [str(Path(entry).absolute()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
        return {"PYTHONPATH": os.pathsep.join([str(importable()), *given])}


ENGINE = TransformersServe()
