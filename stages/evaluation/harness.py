"""lm-evaluation-harness with this repo's task: records in, every answer and its score out.

Its `hf` engine does the batching, left padding and generation. What is overridden keeps an answer exactly as the model
wrote it, up to the token that ends the turn, and makes what would be silent an error.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task
from lm_eval.evaluator import evaluate as run_harness
from lm_eval.models.huggingface import HFLM
from transformers import GenerationConfig

from stages.core.errors import HallmarkError
from stages.evaluation.scoring import Score
from stages.models.chat_template import render

Record = dict[str, Any]


class Answer(str):
    """The text a model wrote, with the `tokens` generated for it (the end token not counted) and why it ended.

    `finish` is `stop` (the model ended its turn) or `length` (it was cut off at the limit).
    """

    tokens: int
    finish: str

    @classmethod
    def of(cls, text: str, tokens: int, finish: str) -> Answer:
        answer = cls(text)
        answer.tokens, answer.finish = tokens, finish
        return answer


class Engine(HFLM):
    """The harness's `hf` engine over a loaded model: greedy, batches of a fixed composition, exact texts.

    Requests are sorted by prompt length (longest first; equal lengths by text) and cut into batches of `batch_size`, so
    the same records are always batched in the same way. No prompt is padded to over twice its length: among many short
    records, the few long ones make batches of their own.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        batch_size: int,
        max_new_tokens: int,
        source: Path,
        grammar: str | None = None,
    ) -> None:
        """`source`: the records' file, for errors. `grammar`: what decoding is constrained by (`constrained.py`)."""
        # The template writes whatever the prompt starts with; a tokenizer that adds to it would not ask as was trained.
        super().__init__(
            pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size, add_bos_token=False
        )
        stated = model.generation_config.eos_token_id
        ends = {tokenizer.eos_token_id, *(stated if isinstance(stated, list) else [stated])} - {None}
        # A generation config of the model's own (sampling, penalties) must not reach what is measured.
        model.generation_config = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=sorted(ends),
            pad_token_id=tokenizer.pad_token_id,
        )
        self._ends, self._source, self.max_new_tokens, self._grammar = ends, source, max_new_tokens, grammar
        self._written: list[Answer] = []
        self.spent = 0.0  # seconds in the model's own `generate`

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True, **more: Any
    ) -> str:
        """The prompt as text. Where a template refuses the system message, the harness would leave it out."""
        return str(render(self.tokenizer, chat_history, add_generation_prompt=add_generation_prompt, **more))

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Answer]:
        """One answer a request, in the order given."""
        lengths = [len(self.tok_encode(request.args[0])) for request in requests]
        for request, length in zip(requests, lengths, strict=True):
            if length + self.max_new_tokens > self.max_length:  # the harness would cut the prompt, with a warning
                raise HallmarkError(
                    f"the prompt has {length} tokens; with {self.max_new_tokens} to generate it is over the model's "
                    f"{self.max_length}",
                    file=self._source,
                    row=request.doc_id + 1,
                    field="prompt",
                    remedy="lower eval.max_new_tokens, or take a base model with a longer context",
                )
        order = sorted(range(len(requests)), key=lambda place: (-lengths[place], requests[place].args[0]))
        self._written = []
        texts: list[str] = []
        for places in of_like_length(order, lengths):
            texts += super().generate_until([requests[place] for place in places], disable_tqdm)
        answers = dict(zip(order, self._written, strict=True))
        if list(texts) != self._written:
            raise RuntimeError("lm-eval returned answers in another order than they were generated in")
        return [answers[place] for place in range(len(requests))]

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **kwargs: Any) -> Any:
        """Stops at end tokens. The harness would look for text, decoding the last tokens of every row at every step."""
        limits = []
        if self._grammar is not None:
            from stages.evaluation.constrained import Constraint

            vocabulary = self.model.get_output_embeddings().out_features
            limits = [Constraint(self.tokenizer, self._ends, self._grammar, context.shape[1], vocabulary)]
        start = time.perf_counter()
        made = self.model.generate(input_ids=context, attention_mask=kwargs["attention_mask"], logits_processor=limits)
        self.spent += time.perf_counter() - start
        return made

    def tok_decode(self, tokens: Any, skip_special_tokens: bool = True) -> str:
        """The exact text of a generated row up to its end token, special tokens in it shown; the row is noted.

        For a single token, which the harness asks for as text to cut answers at: nothing, they are cut by token.
        """
        if isinstance(tokens, int):
            return ""
        end = next((place for place, token in enumerate(tokens) if token in self._ends), None)
        text = self.tokenizer.decode(tokens[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        self._written.append(Answer.of(text, len(tokens) if end is None else end, "length" if end is None else "stop"))
        return text


def of_like_length(order: list[int], lengths: list[int]) -> list[list[int]]:
    """`order` (places, longest first) cut into runs in which no length is under half of the run's first."""
    runs: list[list[int]] = []
    for place in order:
        if not runs or 2 * lengths[place] < lengths[runs[-1][0]]:
            runs.append([])
        runs[-1].append(place)
    return runs


class RecordTask(Task):
    """This repo's task: a record's prompt through the chat template, its answer to `score`."""

    VERSION = 1
    OUTPUT_TYPE = "generate_until"

    def __init__(self, records: list[Record], score: Callable[[Record, str], Score], max_new_tokens: int) -> None:
        self._records, self._score, self._max_new_tokens = records, score, max_new_tokens
        self.scored: dict[int, tuple[Answer, Score]] = {}
        super().__init__(config={"task": "holdout", "num_fewshot": 0})

    def download(self, *_: Any, **__: Any) -> None:
        """The records are already here."""

    def has_training_docs(self) -> bool:
        return False

    def has_validation_docs(self) -> bool:
        return False

    def has_test_docs(self) -> bool:
        return True

    def test_docs(self) -> Iterable[Record]:
        return [{"row": row, **record} for row, record in enumerate(self._records)]

    def doc_to_text(self, doc: Record) -> str:
        return doc["prompt"][-1]["content"]

    def doc_to_target(self, doc: Record) -> str:
        return doc["completion"][-1]["content"]

    def fewshot_context(self, doc: Record, *_: Any, chat_template: Callable[..., str], **__: Any) -> str:
        """The record's own messages, system prompt included, and its tools: nothing is added."""
        tools = {"tools": json.loads(doc["tools"])} if doc["tools"] else {}
        return chat_template(doc["prompt"], **tools)

    def construct_requests(self, doc: Record, ctx: str, **kwargs: Any) -> Instance:
        settings = {"until": [], "max_gen_toks": self._max_new_tokens, "do_sample": False}
        return Instance("generate_until", doc, (ctx, settings), 0, metadata=kwargs["metadata"])

    def process_results(self, doc: Record, results: list[Answer]) -> dict[str, float]:
        score = self._score(doc, results[0])
        self.scored[doc["row"]] = results[0], score
        return {
            "parses": float(score.parses),
            "schema_validity": float(score.schema_valid),
            "exact_match": float(score.exact_match),
        }

    def aggregation(self) -> dict[str, Callable[[list[float]], float]]:
        return dict.fromkeys(self.higher_is_better(), lambda values: sum(values) / len(values))

    def higher_is_better(self) -> dict[str, bool]:
        return {"parses": True, "schema_validity": True, "exact_match": True}


def evaluate(engine: Any, records: list[Record], score: Callable[[Record, str], Score]) -> list[tuple[Answer, Score]]:
    """Let the harness run the records through an engine; an answer and its score a record, in their order.

    The harness's `evaluate` is called rather than its `simple_evaluate`, which would also run `git` and `pip` to
    describe the machine, in a report that isn't used here.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns that a loaded model is passed in, which is meant
    task = RecordTask(records, score, engine.max_new_tokens)
    run_harness(
        lm=engine,
        task_dict={"tasks": {"holdout": task}},
        bootstrap_iters=0,
        log_samples=False,
        apply_chat_template=True,
    )
    return [task.scored[row] for row in range(len(records))]
