"""Everything that ships answers a sample of the holdout: the server, while it runs, then the artefacts on disk; then callers ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hallmark.answer.answers import Prompt, prompts_of
from hallmark.answer.artefact_sample import Sample, drawn
from hallmark.answer.callers import received
from hallmark.answer.endpoint import ServedModel
from hallmark.answer.evaluated_models import own_answerers
from hallmark.answer.parity import Artefact, Cost, Live, Parity
from hallmark.answer.predictions import answers_of
from hallmark.answer.scoring import Scorer
from hallmark.base.compute import deterministic, set_up
from hallmark.base.errors import HallmarkError
from hallmark.base.files import ADAPTER, BASE, HOLDOUT, QUANTIZED
from hallmark.model.chat_template import tool_form
from hallmark.model.tool_form import ToolForm
from hallmark.serve.engine import Asking, StartedSettings
from hallmark.serve.engines.endpoint import EndpointAsking
from hallmark.serve.load import Outcome
from hallmark.serve.server import Server
from hallmark.task.predictions import Prediction, predictions_of
from hallmark.task.task import Task

if TYPE_CHECKING:
    from hallmark.mask.callers import Sent
    from hallmark.params.loader import Params

SERVER = "server"


def read_evaluated(records: Sequence[Mapping[str, Any]], params: Params) -> list[Prediction]:
    """The evaluated answers to the holdout's records. Raises HallmarkError if they are to others."""
    evaluated = answers_of("tuned", params)
    if [row.id for row in evaluated] != [record["id"] for record in records]:
        raise HallmarkError(
            "these are not the answers to the records of this holdout",
            file=predictions_of("tuned"),
            remedy="run `dvc repro eval@tuned`, which makes it",
        )
    return evaluated


class Shipped:
    """What ships, as `benchmark.parity` names it, compared with what was evaluated."""

    def __init__(
        self,
        params: Params,
        records: Sequence[dict[str, Any]],
        evaluated: Sequence[Prediction],
        timed: Sequence[int],
        known: Sequence[int],
    ) -> None:
        """`evaluated`: the answers to the records. `timed`: rows that the benchmark asks anyway; the sample has them first.

        `known`: rows whose prompts the model can read, in order; no others are asked.
        """
        parity = params.benchmark.parity
        self._params, self._wanted = params, parity.artefacts if parity.records else []
        self._records, self._evaluated = records, evaluated
        self._found: list[Artefact] = []
        self._sample: Sample | None = None
        if not self._wanted:
            return
        if self._local:
            set_up(params.compute, params.seed)
        first = [known.index(row) for row in timed]
        sample = drawn([records[row]["group"] for row in known], parity.records, first)
        self._rows = [known[at] for at in sample]
        prompts = prompts_of(records)
        self._prompts = [prompts[row] for row in self._rows]
        self._sample = Sample(records, evaluated, self._rows, self._scorer, params)

    @property
    def _local(self) -> list[str]:
        return [name for name in self._wanted if name != SERVER]

    @property
    def _weights(self) -> str:
        server = self._params.benchmark.server
        return server.dtype if isinstance(server, StartedSettings) else server.kind

    def ask(self, server: Server, answered: Mapping[int, Outcome], level: Mapping[str, Any], key: str | None) -> None:
        """Have the server of the tuned model answer the sample; what it has `answered` at a `level`, by row, counts.

        `key`: the environment variable that holds the key of an endpoint.
        """
        if self._sample is None or SERVER not in self._wanted:
            return
        settings, limit = self._params.benchmark, self._params.eval.max_new_tokens
        same = settings.max_tokens == limit  # else an answer may have been cut off elsewhere
        texts = {
            row: outcome.text
            for row, outcome in answered.items()
            if same and outcome.failure is None and not outcome.calls
        }
        asking: dict[str, Any] = {"concurrency": level.get("concurrency", 1), "timeout": settings.timeout}
        model = ServedModel(
            server,
            "tuned",
            EndpointAsking(kind="endpoint", key=key, logprobs=False, **asking)
            if key
            else Asking(kind=settings.server.kind, **asking),
            max_new_tokens=limit,
            source=HOLDOUT,
            form=self._form,
            stage="benchmark",
        )
        rest = [number for number, row in enumerate(self._rows) if row not in texts]
        if rest:
            answers = model.answer([self._prompts[number] for number in rest], "more records answered by the server")
            texts |= {self._rows[number]: answer.text for number, answer in zip(rest, answers, strict=True)}
        cost = Cost(
            at_once=level.get("concurrency"),
            latency_p95_s=level["latency_s"]["p95"],
            tokens_per_second=level["output_tokens_per_second"],
        )
        changes = self._sample.changes([texts[row] for row in self._rows])
        self._found.append(Artefact(SERVER, self._weights, None, changes, cost))

    def parity(self, sent: Sequence[Sent] | Live | None) -> Parity:
        """What was found, once the artefacts on disk have answered too; no server may hold the device's memory.

        `sent`: all records as their callers send them; or why there are none.
        """
        found = self._artefacts()
        return replace(found, live=sent if sent is None or isinstance(sent, Live) else self._live(sent))

    def _live(self, sent: Sequence[Sent]) -> Live:
        params, form = self._params, self._form

        def answer(prompts: list[Prompt]) -> list[str]:
            set_up(params.compute, params.seed)
            repeats = deterministic("eval.attention", "set eval.attention to eager, which is deterministic everywhere")
            with repeats, ExitStack() as stack:
                make = own_answerers(params, "tuned", Task(params.task), form, stack, stage="benchmark")
                answers = make(params.eval.batch_size, False).answer(prompts, "prompts of callers answered again")
            return [answer.text for answer in answers]

        return Live(None, received(sent, self._records, self._evaluated, answer, self._scorer, form, params))

    @cached_property
    def _scorer(self) -> Scorer:
        settings = self._params.eval
        return Scorer(Task(self._params.task), settings.policy, self._form, settings.facts)

    @cached_property
    def _form(self) -> ToolForm | None:
        from hallmark.model.loading import load_tokenizer

        return tool_form(self._params.task, load_tokenizer(BASE))

    def _artefacts(self) -> Parity:
        params = self._params
        if self._sample is None:
            return Parity(0, 0, 0, None, [])
        if SERVER in self._wanted and not self._found:
            self._found.append(Artefact(SERVER, self._weights, "benchmark.models does not name the tuned model"))
        if self._local:
            from hallmark.answer.artefacts import Options, measure_artefacts

            options = Options(
                dtype=params.sft.dtype,
                attention=params.eval.attention,
                device=params.compute.device,
                batch_size=params.eval.batch_size,
                max_new_tokens=params.eval.max_new_tokens,
            )
            self._found += measure_artefacts(
                self._local, BASE, QUANTIZED, ADAPTER, self._sample, self._prompts, options
            )
        return self._sample.parity(self._found)
