"""Masking of what a log holds: again, if our gateway masked it, and for the first time in logs of other systems.

All texts of a request are masked together, so that a value has one stand-in in all of them. A text in which nothing new is
found stays as it is, placeholders and their numbers too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hallmark.base.document import changed
from hallmark.data.leftover import left_in
from hallmark.data.raw import Values
from hallmark.data.recording import Recorder
from hallmark.mask.identity_values import KnownValues
from hallmark.mask.masking import Record
from hallmark.mask.surrogates import uses_key
from hallmark.service.collecting.logged import LeftOutError, Logged
from hallmark.task.answers import compact_json, strict_answer


@dataclass
class _Part:
    """One text of a request: running text, or a JSON value whose texts and numbers are masked one by one."""

    text: str
    value: Any = None  # of JSON
    public: bool = False  # labels and the refusal come from the task, not from a person


class Again:
    """Masks requests with the masker that `mask` has, and looks for what is left with the independent second check."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder, self.masker, self.task = recorder, recorder.masker, recorder.task
        prompt = recorder.system_prompt
        self.system_prompts = {prompt.strip(), self.masker(prompt).text.strip()}

    def __call__(self, logged: Logged, known: Values) -> Logged:
        """The request with nothing private in it; LeftOutError if that can't be."""
        messages = [message["content"] if message["role"] != "system" else "" for message in logged.messages]
        asked = [_Part(text) for text in messages]
        answers = [self._answer(text) for text in (logged.answer, logged.fallback, logged.target)]
        tools = _Part("", logged.tools) if logged.tools is not None else None
        parts = [*asked, *(part for part in answers if part), *([tools] if tools else [])]
        record = self._record(parts, known, logged.name)
        self.masker.find([record])
        if self.masker.dropped(record):
            raise LeftOutError("dropped")
        if not (logged.own and logged.masked and not any(text.spans for text in record.texts)):
            self._replace(parts, record)
            wanted = answers[2] or answers[1] or answers[0]
            before = logged.target or logged.shown
            if wanted and before and self._fits(before) and not self._fits(wanted.text):
                raise LeftOutError("target")  # a schema accepts no placeholder as a date, say
        reserved = uses_key(self.masker.params)
        for part in parts:
            shown = changed(part.text if part.value is None else part.value, self.masker.kept.hidden)
            if any(self.masker.params.actions.get(kind) != "keep" for _, kind, _ in left_in(shown, reserved)):
                raise LeftOutError("private")
        answer, fallback, target = (part.text if part else None for part in answers)
        return replace(
            logged,
            messages=[
                message if message["role"] == "system" else {**message, "content": part.text}
                for message, part in zip(logged.messages, asked, strict=True)
            ],
            tools=tools.value if tools else None,
            answer=answer,
            fallback=fallback,
            target=target,
        )

    def _answer(self, text: str | None) -> _Part | None:
        """An answer: JSON is masked value by value, so that it stays JSON."""
        if text is None:
            return None
        if self.task.is_json:
            try:
                value = strict_answer(text.strip())
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, dict | list):
                return _Part(text, value, self._is_public(text))
        return _Part(text, public=self._is_public(text))

    def _is_public(self, text: str) -> bool:
        kind = self.task.parse(text).kind
        return kind == "refusal" or (self.task.kind.listed and kind == "answer")

    def _record(self, parts: list[_Part], known: Values, name: str) -> Record:
        """The texts in the masker's form; what the answers hold may be copied from them."""
        texts = [part.text for part in parts if part.value is None and not part.public]
        values = [part.value for part in parts if part.value is not None and not part.public]
        slots = self.masker.slots_of(values)
        return Record(texts, slots, KnownValues(known) if known else None, len(slots), name)

    def _replace(self, parts: list[_Part], record: Record) -> None:
        masked = [one.text for one in self.masker.render(record)]
        count = sum(part.value is None and not part.public for part in parts)
        texts, slots = iter(masked[:count]), iter(masked[count:])
        for part in parts:
            if part.public:
                continue
            if part.value is None:
                part.text = next(texts)
            else:
                part.value = self.masker.filled(part.value, slots)
                part.text = compact_json(part.value)

    def _fits(self, answer: str) -> bool:
        return self.task.parse(answer).kind != "invalid"
