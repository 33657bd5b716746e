"""Generation in this process: batches of a fixed composition, exact texts, and no prompt cut short."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from hallmark.answer.answers import UNREAD, Answer, Prompt, asked_of
from hallmark.answer.confidence import opens_object, spans_of
from hallmark.answer.decoding import Decoder, Limiter, Watcher, Written
from hallmark.base.progress import Progress
from hallmark.model.chat_template import render


class LocalModel:
    """A loaded model that answers prompts.

    Prompts are sorted by length in tokens (longest first; equal lengths by text) and cut into batches of `batch_size`,
    so the same prompts are always batched in the same way. No prompt is padded to over twice its length: among many
    short prompts, the few long ones make batches of their own. One that leaves no room for an answer is not asked.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        batch_size: int,
        max_new_tokens: int,
        grammar: str | None = None,
        stage: str = "eval",
    ) -> None:
        """`grammar`: what decoding is constrained by (`constrained.py`).

        `stage`: whose progress it is.
        """
        self.model, self.tokenizer, self.seconds = model, tokenizer, 0.0
        self._batch_size, self._max_new_tokens = batch_size, max_new_tokens
        self._grammar, self._stage = grammar, stage
        stated = model.generation_config.eos_token_id
        self.ends = {tokenizer.eos_token_id, *(stated if isinstance(stated, list) else [stated])} - {None}
        self._decoder = Decoder(model, ends=self.ends, pad=tokenizer.pad_token_id, limit=max_new_tokens)

    def answer(self, prompts: Sequence[Prompt], what: str = "records") -> list[Answer]:
        """One answer for each prompt, in the order given. `what`: which prompts these are, for the progress."""
        texts = [self.text(prompt) for prompt in prompts]
        encoded = [self.encode(text) for text in texts]
        asked = asked_of([len(ids) + self._max_new_tokens <= self._window for ids in encoded])
        order = sorted(asked, key=lambda i: (-len(encoded[i]), texts[i]))
        batches = [
            run[start : start + self._batch_size]
            for run in of_like_length(order, [len(ids) for ids in encoded])
            for start in range(0, len(run), self._batch_size)
        ]
        answers: dict[int, Answer] = {}
        shared = self._decoder.share([encoded[i] for i in asked])
        sizes = [(len(batch), len(encoded[batch[0]]) - shared) for batch in batches]
        with Progress(self._stage, len(asked), what, work=dict.fromkeys(Pace.KINDS, 0)) as progress:
            pace = Pace(progress, sizes, self._max_new_tokens)
            for batch in batches:
                written = self.generate([encoded[i] for i in batch], pace)
                answers |= dict(zip(batch, map(self.read, written), strict=True))
                pace.ended()
        return [answers.get(i, UNREAD) for i in range(len(prompts))]

    def text(self, prompt: Prompt) -> str:
        """The prompt through the chat template."""
        return str(render(self.tokenizer, prompt.messages, add_generation_prompt=True, tools=prompt.tools))

    def encode(self, text: str) -> list[int]:
        """The tokens of a prompt. The template writes whatever it starts with, so the tokenizer adds nothing."""
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def generate(self, rows: Sequence[Sequence[int]], *watching: Watcher) -> list[Written]:
        """What is written after each prompt of a batch, up to the token that ends it or the limit."""
        limiter: Limiter | None = None
        if self._grammar is not None:
            from hallmark.answer.constrained import Constraint

            vocabulary = self.model.get_output_embeddings().out_features
            limiter = Constraint(self.tokenizer, self.ends, self._grammar, vocabulary)
        start = time.perf_counter()
        written = self._decoder.write(rows, *watching, limiter=limiter)
        self.seconds += time.perf_counter() - start
        return written

    def read(self, written: Written) -> Answer:
        """The exact text up to the end token, special tokens in it shown."""
        tokens, logs = written.tokens, tuple(written.logs)
        end = next((number for number, token in enumerate(tokens) if token in self.ends), None)
        text = self._decode(tokens[:end])
        spans = None
        if opens_object(text):
            spans = (*spans_of(self._decode, tokens[:end], text), *([] if end is None else [(len(text), len(text))]))
        if end is None:
            return Answer(text, len(tokens), "length", logs, spans)
        return Answer(text, end, "stop", logs[: end + 1], spans)

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    @property
    def _window(self) -> int:
        """The most tokens that the model reads and writes."""
        config = self.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", None) or self.tokenizer.model_max_length)


class Pace:
    """Says how far generation is, token by token.

    To read a prompt's token takes another time than to write one, and the longest prompts come first: both are measured
    separately. How many tokens the next rows will write is taken from those that have ended.
    """

    KINDS = ("read", "written")  # tokens, with those that only fill up a batch

    def __init__(self, progress: Progress, batches: list[tuple[int, int]], limit: int) -> None:
        """`batches`: how many prompts each has, and the tokens to read of each. `limit`: most tokens of an answer."""
        self._progress, self._batches, self._limit = progress, batches, limit
        self._number = self._steps = self._present = 0  # the batch under way, its tokens, the rows that are left in it
        self._here = self._written = self._over = 0  # tokens written in it and in those before, whose rows are over
        self._rows = sum(rows for rows, _ in batches)  # of the batches that have not begun, as is what is unread
        self._unread = sum(rows * width for rows, width in batches)
        self._foresee()

    def __call__(self, present: int) -> None:
        """The scores of the next tokens of `present` rows are known."""
        if self._steps:
            self._progress.spent("written", self._present)
        else:
            rows, width = self._batches[self._number]
            self._progress.spent("read", rows * width)
            self._rows, self._unread = self._rows - rows, self._unread - rows * width
        self._steps, self._present = self._steps + 1, present
        self._here += present
        self._foresee()

    def ended(self) -> None:
        """The batch under way has ended."""
        self._progress.spent("written", self._present)
        self._progress.add(self._batches[self._number][0])
        self._over += self._batches[self._number][0]
        self._written, self._here = self._written + self._here, 0
        self._number, self._steps = self._number + 1, 0
        self._foresee()

    def _foresee(self) -> None:
        each = self._written / self._over if self._over else self._limit
        here = self._present * max(1.0, each - self._steps + 1) if self._steps else 0.0
        self._progress.left("read", self._unread)
        self._progress.left("written", self._rows * each + here)


def of_like_length(order: list[int], lengths: list[int]) -> list[list[int]]:
    """`order` (indices, longest first) cut into runs in which no length is under half of the run's first."""
    runs: list[list[int]] = []
    for index in order:
        if not runs or 2 * lengths[index] < lengths[runs[-1][0]]:
            runs.append([])
        runs[-1].append(index)
    return runs
