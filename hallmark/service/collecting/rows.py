"""Raw rows made of judged requests: every one is checked as `mask` will check it, and masked as `mask` will mask it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.markup import Markup, plain_text, with_markup
from hallmark.base.records import fill
from hallmark.data.conversations import TURNS, Extra
from hallmark.data.missing import NOT, wanted
from hallmark.data.nested import keys_of
from hallmark.data.raw import Raw, Values, checked_rows
from hallmark.data.recording import Recorder
from hallmark.params.loader import Params
from hallmark.service.collecting.columns import split_prompt
from hallmark.service.collecting.existing_records import NAME, Customers, Known, asked, mapped
from hallmark.service.collecting.log_masking import Again
from hallmark.service.collecting.logged import LeftOutError, Logged, Message
from hallmark.task.answers import canonical, strict_answer
from hallmark.task.task import Task

TAG = "collected"
REJECTED = "rejected"  # the column of the model's wrong answers, as long as data.rejected names none


@dataclass(frozen=True)
class Row:
    """A raw row, and what it is compared by."""

    content: dict[str, Any]
    id: str
    text: str
    target: str  # canonical
    online: bool
    pair: bool  # it has a rejected answer


class Rows:
    """Makes raw rows for `data.path`, in the columns that `data:` names."""

    def __init__(self, params: Params, known: Known, recorder: Recorder, key: bytes | None) -> None:
        self.params, self.data, self.known, self.recorder = params, params.data, known, recorder
        self.task = Task(params.task)
        self.again = Again(recorder)
        self.customers = Customers(known.groups, key)
        self.with_extra = Extra(params.data, params.mask.identity_columns, params.task.system_prompt)
        targets = params.data.target if isinstance(params.data.target, list) else [params.data.target]
        self.turns = not set(TURNS).isdisjoint({params.data.input, params.data.context, *targets})
        self.grouped = params.data.group not in ("row.id", params.data.id)
        self.rejected = params.data.rejected or (REJECTED if REJECTED not in mapped(params) else None)

    def masked(self, logged: Logged) -> tuple[Logged, str]:
        """The request, masked, and the raw name of its customer; LeftOutError if no row can be made of it."""
        if not logged.own:  # our gateway has done so
            logged = replace(logged, messages=self._each(logged.messages, plain_text))
        texts = [message["content"] for message in logged.messages]
        texts += [text for text in (logged.group, logged.answer, logged.fallback, logged.target) if text]
        if any(len(text) > self.params.mask.max_chars or not is_sound(text) for text in texts):
            raise LeftOutError("row")
        if not self.grouped:
            group = logged.id
        elif not logged.group or not logged.group.strip():
            raise LeftOutError("no_customer")
        else:
            group = self.customers.raw_name(logged.group, logged.own)
            if not self.customers.may_be_named(group):
                raise LeftOutError("customer_name")
        systems = [one["content"].strip() for one in logged.messages if one["role"] == "system"]
        if logged.own and any(one not in self.again.system_prompts for one in systems):
            raise LeftOutError("system_prompt")
        if logged.tools and self.data.tools is None:
            raise LeftOutError("tools")
        return self.again(logged, self._identity(group)), group

    def asked(self, logged: Logged) -> str:
        """What a masked request asks, as its record will have it; LeftOutError if the columns can't be told."""
        _, context, text = self._question(logged)
        return f"{context}\n\n{text}" if context else text

    def row(self, logged: Logged, group: str, target: str, rejected: str | None) -> Row:
        """The row of a masked request with this answer, and if it has one, the wrong answer of the model."""
        if self.task.parse(target).kind == "invalid":
            raise LeftOutError("target")
        value = self._json(target)
        content, context, text = self._question(logged)
        content |= self._target(content, self._text(target), self._json(self._text(target)))
        names = {NAME if self.data.id == "row.id" else self.data.id: logged.id}
        if self.grouped:
            names[self.data.group] = group
        kept = {column: next(iter(wanted(of)), TAG if NOT in of else None) for column, of in self.data.where.items()}
        content = {**names, **dict.fromkeys(self.params.mask.identity_columns), **kept, **content, **names}
        if self.data.tools:
            content[self.data.tools] = logged.tools
        if self.data.tags:
            content[self.data.tags] = [TAG]
        if self.rejected:
            content[self.rejected] = None if rejected is None else self._json(self._text(rejected))
        log = Path("log")  # no error names it: the row is counted
        try:
            *_, raw = checked_rows(content, self.with_extra, log, 1, self.data, self.params.mask, self.task)
        except HallmarkError:
            raise LeftOutError("row") from None
        if not self.turns and (raw.context or None, raw.input) != (context, text):
            raise LeftOutError("template")
        if canonical(raw.target) != canonical(value):
            raise LeftOutError("target")
        self._check_masking(raw)
        return Row(
            content=content,
            id=logged.id,
            text=asked(raw),
            target=canonical(raw.target),
            online=group in self.known.held,
            pair=rejected is not None,
        )

    def _question(self, logged: Logged) -> tuple[dict[str, Any], str | None, str]:
        """The columns that hold what was asked, and the context and the input that they make."""
        said = [message for message in logged.messages if message["role"] != "system"]
        if self.turns:
            turns = self._each(self._turns(said), with_markup)
            return {"messages": turns}, None, said[-1]["content"] if said else ""
        if [message["role"] for message in said] != ["user"]:
            raise LeftOutError("conversation")
        columns = split_prompt(said[0]["content"], self.data, self.known.habits)
        context = fill(self.data.context, columns) if self.data.context else None
        written = {name: value and with_markup(value, self.data.markup) for name, value in columns.items()}
        return written, context or None, fill(self.data.input, columns)

    def _each(self, messages: list[Message], change: Callable[[str, Markup], str]) -> list[Message]:
        """The messages, each text with its markup changed."""
        return [message | {"content": change(message["content"], self.data.markup)} for message in messages]

    def _turns(self, said: list[Message]) -> list[Message]:
        """The turns of a conversation, unless the caller had joined them to one text, which can't be undone."""
        if not said or said[-1]["role"] == "assistant" or all(message["role"] != "user" for message in said):
            raise LeftOutError("conversation")
        first = said[0]["content"]
        if len(said) == 1 and "\n\n" in first and first.startswith(("user: ", "assistant: ", "tool: ")):
            raise LeftOutError("conversation")
        return said

    def _target(self, content: dict[str, Any], target: str, value: Any) -> dict[str, Any]:
        if self.turns:
            return {"messages": [*content["messages"], {"role": "assistant", "content": target}]}
        if isinstance(self.data.target, str):
            return {self.data.target: value}
        keys = keys_of(self.data.target)
        if not isinstance(value, dict) or value.keys() != {*keys.values()}:
            raise LeftOutError("target")
        return {column: value[key] for column, key in keys.items()}

    def _text(self, answer: str) -> str:
        """An answer with the markup that is taken out of running text."""
        return with_markup(answer, self.data.markup) if self.task.kind.free_text else answer

    def _json(self, answer: str) -> Any:
        """An answer as rows have it: JSON as a value, anything else as a text."""
        with suppress(ValueError, RecursionError):
            return strict_answer(answer.strip()) if self.task.is_json else answer.strip()
        return answer.strip()

    def _check_masking(self, raw: Raw) -> None:
        """Refuse what `mask` would stop at: private values that are left, and an answer that masking breaks."""
        try:
            records, written = self.recorder.records([(raw, self._identity(raw.group))])
        except HallmarkError:
            raise LeftOutError("target") from None
        if not records:
            raise LeftOutError("dropped")
        if any(left.field == self.data.group for left in written.left):
            raise LeftOutError("customer_name")
        if written.left:
            raise LeftOutError("private")

    def _identity(self, group: str) -> Values:
        return self.known.groups.get(group, ())


def is_sound(text: str) -> bool:
    """Whether it is Unicode that can be written, without NUL."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
