"""General tasks of lm-evaluation-harness, by name: does the tuned model still do what it could before?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import datasets
import lm_eval.api.task as harness_task
import torch
from lm_eval.api.model import CacheHook
from lm_eval.evaluator import evaluate as run_harness
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tqdm import tqdm
from transformers import LogitsProcessor

from hallmark.answer.params import General
from hallmark.base.errors import HallmarkError
from hallmark.base.progress import Progress


def general(model: Any, tokenizer: Any, settings: General, batch_size: int) -> list[dict[str, Any]]:
    """One row per task and metric. The tasks' data must be on this machine: nothing is fetched."""
    quiet()
    try:
        manager = TaskManager(include_path=settings.folder, include_defaults=False)
        if not {*settings.tasks} <= {*manager.all_tasks}:  # thousands of files are read to know the harness's own
            manager = TaskManager(include_path=settings.folder)
        tasks = manager.load(list(settings.tasks))
    except Exception as error:  # the harness and the datasets library raise errors of all kinds
        raise HallmarkError(
            f"the tasks can't be loaded ({type(error).__name__}: {str(error).splitlines()[0][:200]})",
            param="eval.general.tasks",
            remedy="name tasks that `lm-eval ls tasks` or eval.general.folder has, and put their data on this machine",
        ) from None
    engine = Watched(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size)
    harness = run_harness(lm=engine, task_dict=tasks, limit=settings.limit, bootstrap_iters=0, log_samples=False)
    return [
        {"name": f"{task} {key.removesuffix(',none')}", "value": round(float(value), 6)}
        for task, results in sorted(harness["results"].items())
        for key, value in sorted(results.items())
        if isinstance(value, int | float) and "," in key and "_stderr" not in key
    ]


def quiet() -> None:
    """Silence what the harness says of its own workings, which nobody who runs the stage can act on."""
    # "Many other model arguments may be ignored" for any model that is loaded already:
    # https://github.com/EleutherAI/lm-evaluation-harness/blob/main/lm_eval/models/huggingface.py
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.disable_progress_bars()  # "Generating test split"
    # One more bar for each task, without a switch:
    # https://github.com/EleutherAI/lm-evaluation-harness/blob/main/lm_eval/api/task.py (`build_all_requests`)
    harness_task.tqdm = partial(tqdm, disable=True)


class Hook(CacheHook):
    """Told by the harness of each request that is done."""

    def __init__(self, done: Callable[[Any], None]) -> None:
        """`done` gets the arguments of the request."""
        super().__init__(None)
        self._done = done

    def add_partial(self, attr: str, req: Any, res: Any) -> None:
        """Pass it on."""
        self._done(req)


class FirstToken(LogitsProcessor):
    """Calls `read` once, when the prompts of a batch have been read; changes no score."""

    def __init__(self, read: Callable[[], None]) -> None:
        self._read: Callable[[], None] | None = read

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if self._read:
            self._read()
            self._read = None
        return scores


class Watched(HFLM):
    """The harness's model with our progress. The harness's own counts requests, of which the longest come first."""

    _progress = Progress("eval", None, "", silent=True)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> Any:
        sizes = sum(size_of(request.args) for request in requests)
        progress = Progress("eval", len(requests), "answers of general tasks scored", work={"characters": sizes})

        def done(arguments: Any) -> None:
            progress.spent("characters", size_of(arguments))
            progress.add()

        self.set_cache_hook(Hook(done))
        with progress:
            return super().loglikelihood(requests, disable_tqdm=True)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> Any:
        work = {"tokens": sum(len(self.tok_encode(request.args[0])) for request in requests), "answers": len(requests)}
        progress = Progress("eval", len(requests), "answers of general tasks written", work=work)

        def done(_: Any) -> None:
            progress.spent("answers", 1)
            progress.add()

        self.set_cache_hook(Hook(done))
        with progress as self._progress:
            return super().generate_until(requests, disable_tqdm=True)

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
        progress, tokens = self._progress, int(options["attention_mask"].sum())
        first = FirstToken(lambda: progress.spent("tokens", tokens))
        return super()._model_generate(context, max_length, stop, logits_processor=[first], **options)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> Any:
        with Progress("eval", None, "parts of the texts of general tasks read") as self._progress:
            return super().loglikelihood_rolling(requests, disable_tqdm=True)

    def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = True, override_bs: int | None = None) -> Any:
        found = super()._loglikelihood_tokens(requests, disable_tqdm=True, override_bs=override_bs)
        if self._progress.total is None:  # of texts, whose parts come batch by batch
            self._progress.add(len(requests))
        return found


def size_of(arguments: Any) -> int:
    """The characters of the texts in a request's arguments, with which the time that it takes grows."""
    return sum(len(text) for text in arguments if isinstance(text, str))
