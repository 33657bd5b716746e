"""`transformers serve` behind our admission, in one process: `python -m hallmark.serve.launcher --help`.

The app of `transformers serve` answers whoever asks: it resets and loads models, and a prompt over the size of its cache
ends its worker for good. A proxy would leave that app open on a second port, so this builds the same `Serve`, keeps it
from listening, and serves its app with `Admission` around it: no port leads past. What it uses of transformers, which is
pinned: `Serve` with `start_server`, `server.config.app`, its model manager, its schedulers, the size of the cache once it
is made, and the log-probabilities that its batching keeps for each answer if it is told to.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.serve.admission import Admission, App, Limits
from hallmark.serve.engine import HOST
from hallmark.serve.logprobs import LogProbabilities, Note, token_bytes

if TYPE_CHECKING:
    from transformers.cli.serve import Serve

MODULE = __name__
NEVER = 2**31  # tokens: no limit, until the cache is made


def build(options: argparse.Namespace) -> Serve:
    """The server of `transformers serve`, with its model loaded, not listening."""
    from transformers.cli.serve import Serve

    unblock_schedulers()

    class Silent(Serve):
        def start_server(self) -> None:
            """Listen nowhere."""

    return Silent(
        options.model,
        continuous_batching=True,
        attn_implementation=options.attention,
        device=options.device,
        dtype=options.dtype,
        cb_max_batch_tokens=options.batch_tokens,
        cb_num_blocks=options.cache_blocks,
        log_level="error",  # lower levels write a line a request
        non_blocking=True,
    )


def unblock_schedulers() -> None:
    """Make the schedulers take waiting requests again once callers of all active ones have hung up.

    A full cache makes them take no more until an active request is finished. If all were cancelled instead, none would
    ever finish, and no request would be answered again.
    """
    from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING

    def unblocking(scheduler: Any) -> Any:
        class Unblocking(scheduler):
            def clear_cancelled_requests(self) -> Any:
                cancelled = super().clear_cancelled_requests()
                if not self.active_requests:
                    self.block_new_requests = False
                return cancelled

        return Unblocking

    SCHEDULER_MAPPING.update({name: unblocking(scheduler) for name, scheduler in SCHEDULER_MAPPING.items()})


def admitted(serve: Serve, model: str) -> Admission:
    from transformers.cli.serving.utils import BaseHandler, Modality

    from hallmark.model.loading import load_tokenizer

    tokenizer = load_tokenizer(Path(model))  # not the server's own, which another thread uses
    config = serve._model_manager.load_model_and_processor(model)[0].config.get_text_config()
    context = getattr(config, "max_position_embeddings", None) or NEVER

    behind: Any = serve.server.config.app
    app = LogProbabilities(behind, token_bytes(tokenizer))
    keep_logs(serve, model, app.note)

    def count(messages: list[dict[str, Any]], tools: list[Any] | None) -> int:
        given = BaseHandler.get_processor_inputs_from_messages(messages, Modality.LLM)
        encoded: Any = tokenizer.apply_chat_template(given, add_generation_prompt=True, tools=tools, return_dict=True)
        return len(encoded["input_ids"])

    def tokens() -> int:
        return min(context, cache_tokens(serve))

    return Admission(app, Limits((model,), tokens, greedy=True, logs=True), count)


def keep_logs(serve: Serve, model: str, note: Note) -> None:
    """Have the batching of `serve` compute the log-probability of each token, and tell `note` of each answer's.

    It takes the softmax of the scores that choose the tokens, for all requests, and the same tokens win.
    """
    from transformers.cli.serving.utils import CBGenerateManager

    class Noting(CBGenerateManager):
        def init_cb(self, model: Any, gen_config: Any) -> None:
            there = self._cb is not None
            super().init_cb(model, gen_config)
            if not there:
                note_outputs(self._cb, note)

    state: Any = serve._generation_state
    state._cb_config.return_logprobs = True
    state._cb_manager = Noting(cb_config=state._cb_config)
    state._cb_model_id = serve._model_manager.process_model_name(model)


def note_outputs(batching: Any, note: Note) -> None:
    """Tell `note` of each output of the batching, on the event loop, before whoever waits for it."""
    register = batching.register_result_handler

    def register_noting(request: str, callback: Callable[[Any], None]) -> None:
        def noting(output: Any) -> None:
            if output.is_finished():
                note(request, output.generated_tokens, output.logprobs)
            callback(output)

        register(request, noting)

    batching.register_result_handler = register_noting


def cache_tokens(serve: Serve) -> int:
    """How many tokens of the cache a request may take: all, or all but a page if batches are scheduled ahead (on a GPU).

    The cache is made at the first request, which is our own and short.
    """
    batching = serve._generation_state._cb_manager
    if batching is None or batching._cb is None or batching._cb.batch_processor is None:
        return NEVER
    processor = batching._cb.batch_processor
    page = min(allocator.tokens_per_page for allocator in processor.cache.cache_allocators.values())
    return int(page * (processor.cache.num_blocks - processor.use_async_batching))


def run(app: App, port: int) -> None:
    """Serve the app until SIGTERM. Neither request lines nor messages of exceptions are logged: they are the callers'."""
    import uvicorn

    from hallmark.serve.impatient import Impatient

    uvicorn.run(
        app, host=HOST, port=port, http=Impatient, ws="none", access_log=False, proxy_headers=False,
        server_header=False, log_level="warning",
    )  # fmt: skip


def main(options: argparse.Namespace) -> None:
    """Load, then listen."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    run(admitted(build(options), options.model), options.port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.serve.launcher", description=__doc__)
    parser.add_argument("model", help="name of a folder in the working directory, which is also the model's name")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--attention", default="sdpa")
    parser.add_argument("--batch-tokens", type=int, required=True)
    parser.add_argument("--cache-blocks", type=int)
    main(parser.parse_args())
