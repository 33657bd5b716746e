"""The base and the tuned model as `eval` asks them: in this process or behind a server, as `eval.engine` says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.answer.answers import Answerer, room_in
from hallmark.answer.params import HfEngine
from hallmark.base.files import ADAPTER, BASE, HOLDOUT, QUANTIZED
from hallmark.model.tool_form import ToolForm
from hallmark.serve.engine import Asking
from hallmark.serve.engines import ENGINES
from hallmark.task.task import Task

if TYPE_CHECKING:
    from hallmark.params.loader import Params

WEIGHTS = {"base": BASE, "tuned": QUANTIZED}  # both folders have the same tokenizer


def own_answerers(
    params: Params,
    model: str,
    task: Task,
    form: ToolForm | None,
    stack: ExitStack,
    source: Path = HOLDOUT,
    stage: str = "eval",
) -> Callable[[int, bool], Answerer]:
    """What makes the answerer for a batch size, constrained by the schema or not.

    The model is loaded once, or its server started, until `stack` ends. The base is loaded without a look at the adapter.
    `source`: the prompts' file, for errors; `stage`: whose progress it is.
    """
    settings, asking = params.eval, params.eval.engine
    shared: dict[str, Any] = {"max_new_tokens": settings.max_new_tokens, "stage": stage}
    if not isinstance(asking, HfEngine):
        from hallmark.answer.endpoint import ServedModel, answer_schema
        from hallmark.serve.server import free_ports, served

        assert isinstance(asking, Asking)
        ports = free_ports([model], asking, "eval.engine.port")
        server = stack.enter_context(served([model], ports, ADAPTER, asking, params.compute))[model]
        shared |= {"logs": ENGINES[asking.kind].gives_logs(asking), "source": source}
        room = room_in(WEIGHTS[model])
        shared["fits"] = lambda prompt: room(prompt) >= settings.max_new_tokens
        return lambda _, constrained: ServedModel(
            server, model, asking, **shared, form=form, schema=answer_schema(task) if constrained else None
        )
    from hallmark.answer.constrained import grammar_of
    from hallmark.answer.generation import LocalModel
    from hallmark.model.loading import load_base, load_tokenizer, load_tuned
    from hallmark.model.packing import pack

    options: dict[str, Any] = {
        "dtype": settings.dtype,
        "attention": settings.attention,
        "device": params.compute.device,
    }
    tokenizer = load_tokenizer(WEIGHTS[model])
    if model == "tuned":
        loaded = load_tuned(QUANTIZED, ADAPTER, **options, merge=settings.merge)
    else:
        loaded = load_base(BASE, **options)
    pack(loaded)
    return lambda batch_size, constrained: LocalModel(
        loaded, tokenizer, batch_size=batch_size, **shared, grammar=grammar_of(task) if constrained else None
    )
