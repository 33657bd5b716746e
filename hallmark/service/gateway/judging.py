"""What becomes of an answer: it goes out, or someone else must answer. By its form, and by how sure the model was of it.

A second answer is asked for only where the first breaks the schema and the cascade would let it out. In the calibration
such an answer counts as one that goes out and is wrong. To put another answer there, or none, can only lower the share of
wrong answers, so the cascade's bound holds all the same. An answer that would hold a placeholder, or part of one, once the
caller's values are back in it is wrong too. It is not asked for again: the request leads the model to it, not chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from hallmark.answer.answers import Answer
from hallmark.answer.confidence import sure_of
from hallmark.answer.endpoint import answer_schema, response_format
from hallmark.answer.scoring import Scorer
from hallmark.base.errors import HallmarkError
from hallmark.base.provenance import CASCADE
from hallmark.base.reading import NotJsonError, read_text, strict_json
from hallmark.judge.cascade import Shipped, apply, read_shipped
from hallmark.mask.restoring import Masked
from hallmark.model.tool_form import ToolForm
from hallmark.service.traces.trace import Trace
from hallmark.task.task import Task

CASCADE_BYTES = 2**20
TEMPERATURE = 0.5  # of a second answer that no schema can hold: at 0 it would be the first one again


class Judge:
    """Decides about answers to one task. `cascade` None: there is none, or it is off."""

    def __init__(self, task: Task, form: ToolForm | None, cascade: Shipped | None, *, check_schema: bool) -> None:
        self.cascade, self._task, self._form, self._check = cascade, task, form, check_schema
        self._scorer = Scorer(task, form=form)

    @property
    def only_json(self) -> bool:
        return self._check and self._task.is_json

    def judge(self, answer: Answer, trace: Trace, *, cut: bool = False) -> bool:
        """Whether a model's answer goes out; the trace gets why. `cut`: it is as long as the caller allows, so no schema
        holds for it."""
        trace.schema_valid = None if cut else self.is_valid(answer.text)
        trace.score = trace.probability = None
        trace.reason, goes_out = "no_cascade", True
        if self.cascade is not None:
            decision = apply(self.cascade, sure_of(answer, self._form, is_json=self._task.is_json))
            trace.score, goes_out = decision.score, decision.answer
            trace.probability = None if decision.score is None else decision.probability
            trace.reason = "sure" if goes_out else "no_score" if decision.score is None else "unsure"
        wrong = self.wrong(answer.text, trace.prompt, valid=trace.schema_valid is not False) if goes_out else None
        if wrong is not None:
            trace.reason = wrong
        return goes_out and wrong is None

    def is_valid(self, text: str) -> bool:
        """Whether a text is an answer or the refusal, as the task's form and schema have it."""
        try:
            return self._scorer.said(text).kind != "invalid"
        except RecursionError:
            return False

    def wrong(self, text: str, prompt: Masked, *, valid: bool | None = None) -> Literal["schema", "placeholder"] | None:
        """Why a text may not go out, whoever wrote it. `valid`: whether it is, if that is known."""
        if self._check and not (self.is_valid(text) if valid is None else valid):
            return "schema"
        return "placeholder" if prompt.leftover(text) else None

    def second(self, constrains: bool) -> Mapping[str, Any] | None:
        """What a second question has that the first had not; None if the server would only give the same answer again.

        Held to the schema if the server can do that and the answer is JSON; else by chance. A server that can't be told
        either (`transformers serve` decodes greedily) is not asked a second time.
        """
        if not constrains:
            return None
        if self._task.is_json and self._task.schema is not None and self._form is None:
            return {"response_format": response_format(answer_schema(self._task))}
        return {"temperature": TEMPERATURE}


def read_cascade(release: Path | None) -> Shipped | None:
    file = None if release is None else release / CASCADE
    if file is None or not file.exists():
        return None
    remedy = "use an unchanged release"
    try:
        return read_shipped(strict_json(read_text(file, remedy, CASCADE_BYTES)))
    except (ValueError, NotJsonError) as error:
        problem = f"not of the form that certify writes ({str(error)[:200]})"
        raise HallmarkError(problem, file=file, remedy=remedy) from None
