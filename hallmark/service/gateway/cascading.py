"""What becomes of an answer: it goes out, or someone else must answer. By its form, and by how sure the model was of it.

A second answer is asked for only where the first breaks the schema and the cascade would let it out. In the calibration
such an answer counts as one that goes out and is wrong. To put another answer there, or none, can only lower the share of
wrong answers, so the cascade's bound holds all the same. An answer that would hold a placeholder, or part of one, once the
caller's values are back in it is wrong too. It is not asked for again: the request leads the model to it, not chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from hallmark.service.traces.trace import Reason
from hallmark.task.task import Task

CASCADE_BYTES = 2**20
TEMPERATURE = 0.5  # of a second answer that no schema can hold: at 0 it would be the first one again


@dataclass(frozen=True, slots=True)
class Judged:
    """Of one answer. `reason`: `sure` or `no_cascade` if it goes out, else why not."""

    reason: Reason
    schema_valid: bool | None
    score: float | None
    probability: float | None

    @property
    def goes_out(self) -> bool:
        return self.reason in ("sure", "no_cascade")


class Judge:
    """Decides about answers to one task. `cascade` None: there is none, or it is off."""

    def __init__(self, task: Task, form: ToolForm | None, cascade: Shipped | None, *, check_schema: bool) -> None:
        self.cascade, self._task, self._form, self._check = cascade, task, form, check_schema
        self._scorer = Scorer(task, form=form)

    @property
    def needs_logs(self) -> bool:
        return self.cascade is not None

    @property
    def only_json(self) -> bool:
        return self._check and self._task.is_json

    def judge(self, answer: Answer, masked: Masked, *, cut: bool = False) -> Judged:
        """What becomes of a model's answer to a request. `cut`: it is as long as the caller allows, so no schema holds for it."""
        valid, score, probability = None if cut else self.is_valid(answer.text), None, None
        reason: Reason = "no_cascade"
        if self.cascade is not None:
            decision = apply(self.cascade, sure_of(answer, self._form, is_json=self._task.is_json))
            score = decision.score
            probability = None if score is None else decision.probability
            reason = "sure" if decision.answer else "no_score" if score is None else "unsure"
        if reason in ("sure", "no_cascade"):
            reason = self.wrong(answer.text, masked, valid=valid is not False) or reason
        return Judged(reason, valid, score, probability)

    def is_valid(self, text: str) -> bool:
        """Whether a text is an answer or the refusal, as the task's form and schema have it."""
        try:
            return self._scorer.said(text).kind != "invalid"
        except RecursionError:
            return False

    def wrong(self, text: str, masked: Masked, *, valid: bool | None = None) -> Literal["schema", "placeholder"] | None:
        """Why a text may not go out, whoever wrote it. `valid`: whether it is, if that is known."""
        if self._check and not (self.is_valid(text) if valid is None else valid):
            return "schema"
        return "placeholder" if masked.leftover(text) else None

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
