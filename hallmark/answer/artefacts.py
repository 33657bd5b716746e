"""What ships besides the server, each loaded as its user loads it: it answers a sample, and its costs are measured."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hallmark.answer.answers import Prompt
from hallmark.answer.artefact_sample import Sample
from hallmark.answer.decoding import Watcher, Written
from hallmark.answer.generation import LocalModel
from hallmark.answer.parity import Artefact, Cost
from hallmark.base.errors import HallmarkError
from hallmark.model.adapter import base_precision, load_adapter
from hallmark.model.gguf import KINDS, load_gguf, missing, write_gguf
from hallmark.model.loading import load_base, load_tokenizer, load_tuned, write_merged
from hallmark.serve.load import quantiles
from hallmark.serve.server import temporary_folder

MIB = 2**20
log = logging.getLogger(__name__)


class UnavailableError(Exception):
    """Why an artefact can't be made here."""


@dataclass(frozen=True)
class Options:
    """How the artefacts are run."""

    dtype: str
    attention: str
    device: str
    batch_size: int
    max_new_tokens: int


def measure_artefacts(
    names: Sequence[str],
    base: Path,
    weights: Path,
    adapter: Path,
    sample: Sample,
    prompts: Sequence[Prompt],
    options: Options,
) -> list[Artefact]:
    """Each of the named artefacts, one after another, so that only one model is in memory.

    `weights`: what `quantize` made of the base, which the adapter was trained over.
    `prompts`: those of the sample's records. One that can't be made here has the reason instead of figures.
    """
    artefacts = []
    with temporary_folder() as folder:
        made = Artefacts(base, weights, adapter, folder, options)
        for name in names:
            try:
                with made.loaded(name) as (model, disk):
                    timed = Timed(
                        model, load_tokenizer(base), batch_size=options.batch_size, stage="benchmark",
                        max_new_tokens=options.max_new_tokens,
                    )  # fmt: skip
                    answers = timed.answer(prompts, f"records answered by {name}")
                    artefacts.append(
                        Artefact(
                            name,
                            made.weights(name),
                            None,
                            sample.changes([answer.text for answer in answers]),
                            timed.cost(disk, own=name not in KINDS),
                        )
                    )
            except UnavailableError as error:
                artefacts.append(Artefact(name, made.weights(name), str(error)))
                log.warning("%s is not measured: %s", artefacts[-1].words, error)
    return artefacts


class Artefacts:
    """The artefacts: adapter and base as they lie there, the others made in a folder when they are asked for."""

    def __init__(self, base: Path, weights: Path, adapter: Path, folder: Path, options: Options) -> None:
        self._base, self._weights, self._adapter = base, weights, adapter
        self._folder, self._options = folder, options
        self._run: dict[str, Any] = {
            "dtype": options.dtype, "attention": options.attention, "device": options.device
        }  # fmt: skip

    def weights(self, name: str) -> str:
        return KINDS.get(name) or ("NF4" if name == "nf4" else self._options.dtype)

    @contextmanager
    def loaded(self, name: str) -> Iterator[tuple[Any, int]]:
        """The model of an artefact and how many bytes its files have, until the block ends."""
        ways: dict[str, Callable[[], tuple[Any, int]]] = {
            "adapter": self._next_to_base, "nf4": self._in_4_bits, "merged": self._merged
        }  # fmt: skip
        way = ways.get(name)
        model, disk = way() if way else self._gguf(name)
        model.eval()
        yield model, disk
        del model
        gc.collect()
        if self._options.device == "cuda":
            torch.cuda.empty_cache()

    def _next_to_base(self) -> tuple[Any, int]:
        model = load_tuned(self._weights, self._adapter, **self._run, merge=False)
        return model, size(self._weights) + size(self._adapter)

    def _in_4_bits(self) -> tuple[Any, int]:
        if (precision := base_precision(self._adapter)) != "nf4":
            raise UnavailableError(f"the adapter was trained over a base in {precision}")
        model = load_base(self._base, **self._run, nf4=True)
        return load_adapter(model, self._adapter), size(self._base) + size(self._adapter)

    def _merged(self) -> tuple[Any, int]:
        folder = self._whole()
        return load_base(folder, **self._run), size(folder)

    def _gguf(self, kind: str) -> tuple[Any, int]:
        file = self._folder / f"model.{KINDS[kind]}.gguf"
        if problem := missing(kind):
            raise UnavailableError(problem)
        try:
            write_gguf(self._whole(), file, kind)
            return load_gguf(file, **self._run), size(file)
        except HallmarkError as error:  # of other people's programs, which know some architectures and not others
            log.warning("%s", error)
            what = error.problem.partition(":")[0].partition(" (")[0]  # the rest may name folders of this machine
            raise UnavailableError(what) from error

    def _whole(self) -> Path:
        folder = self._folder / "merged"
        if not folder.exists():
            write_merged(self._adapter, self._weights, self._options.dtype, folder)
        return folder


class Timed(LocalModel):
    """A model whose answers are timed: from the start of its batch until each has ended."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.latencies: list[float] = []
        self.tokens = self.at_once = 0

    def generate(self, rows: Sequence[Sequence[int]], *watching: Watcher) -> list[Written]:
        """What is written after each prompt of a batch."""
        clock = Clock()
        written = super().generate(rows, *watching, clock)
        lengths = [self.read(each).tokens for each in written]
        self.latencies += [clock.after(length) for length in lengths]
        self.tokens, self.at_once = self.tokens + sum(lengths), max(self.at_once, len(lengths))
        return written

    def cost(self, disk: int, own: bool) -> Cost:
        """What it took; `own`: memory and speed are those of whoever runs the artefact, too."""
        if not own:
            return Cost(disk_mib=round(disk / MIB, 1))
        return Cost(
            disk_mib=round(disk / MIB, 1),
            memory_mib=round(self.model.get_memory_footprint() / MIB, 1),
            at_once=self.at_once,
            latency_p95_s=quantiles(self.latencies)["p95"],
            tokens_per_second=round(self.tokens / self.seconds, 1),
        )


class Clock:
    """Notes when each token was computed."""

    def __init__(self) -> None:
        self._start, self._times = time.perf_counter(), [0.0]

    def __call__(self, rows: int) -> None:
        """One more token of these rows is known."""
        self._times.append(time.perf_counter() - self._start)

    def after(self, tokens: int) -> float:
        """Seconds until that many tokens and the end token, if there is one, were computed."""
        return self._times[min(tokens + 1, len(self._times) - 1)]


def size(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return sum(file.stat().st_size for file in files if file.is_file())
