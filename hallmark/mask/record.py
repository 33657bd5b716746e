"""One record masked: its prompt as its caller sends it, its tools and its answers, in the one way that stage and gateway share.

All texts of a record are masked together, so that a value has one stand-in in all of them. The answers come last: what is
masked with a prompt changes no number in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hallmark.base.document import changed, keys_of, objects, scalars
from hallmark.base.errors import HallmarkError
from hallmark.base.markup import Markup, plain_text
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.mask.examples import masked_examples
from hallmark.mask.identity_values import KnownValues
from hallmark.mask.masking import Drafts, Masker
from hallmark.mask.params import Mask
from hallmark.mask.second_check import in_name, matches, residue
from hallmark.mask.spans import Draft
from hallmark.mask.surrogates import uses_key
from hallmark.mask.unmaskable import Telling, digits_of
from hallmark.task.answers import compact_json
from hallmark.task.params import Task as TaskParams
from hallmark.task.task import Task

if TYPE_CHECKING:
    from hallmark.records import Record

Message = dict[str, Any]
BREAK = "\n\n"  # between context and prompt, and between the task's system prompt and what a record's own says


@dataclass(frozen=True)
class Request:
    """What a caller sends: messages and tools in the form of OpenAI's API. `context`: the characters of it in the message `asks`."""

    messages: list[Message]
    tools: list[Any] | None
    context: int = 0
    asks: int = -1


def request_of(record: Record, system_prompt: str, markup: Markup = "none") -> Request:
    """The request by which a caller sends a record: the task's system prompt first, and the context before what is asked."""
    said = [{"role": "user", "content": record.prompt}] if isinstance(record.prompt, str) else record.prompt
    messages = [_sent(message, markup) for message in said]
    own = [message["content"] for message in messages if message["role"] == "system" and message["content"]]
    system = BREAK.join([system_prompt, *(text for text in map(_beyond(system_prompt), own) if text)])
    messages = [{"role": "system", "content": system}, *(one for one in messages if one["role"] != "system")]
    if not record.context:
        return Request(messages, record.tools)
    asks = max((at for at, one in enumerate(messages) if one["role"] == "user"), default=len(messages) - 1)
    context, asked = plain_text(record.context, markup), messages[asks]["content"] or ""
    if markup != "none" and isinstance(record.prompt, str):
        whole = plain_text(f"{record.context}{BREAK}{record.prompt}", markup)
        if whole != BREAK.join(part for part in (context, asked) if part):
            problem = "a comment, script or tag runs on into the prompt: callers send both as one text"
            raise fault(record, problem, "context", "end it in the context, or leave the row out with `skip`")
    messages[asks] = messages[asks] | {"content": f"{context}{BREAK}{asked}" if context else asked}
    return Request(messages, record.tools, len(context), asks)


def _beyond(system_prompt: str) -> Any:
    """What a record's own system message says beyond the task's."""
    return lambda text: "" if text.strip() == system_prompt.strip() else text.removeprefix(f"{system_prompt}{BREAK}")


def _sent(message: Message, markup: Markup) -> Message:
    """A message of a record as OpenAI's API has it, without markup; the system's is the task's business."""
    sent = dict(message)
    if message["content"] is not None and message["role"] != "system":
        sent["content"] = plain_text(message["content"], markup)
    if calls := message.get("tool_calls"):
        sent["tool_calls"] = [
            {"type": "function", "function": {"name": call["name"], "arguments": compact_json(call["arguments"])}}
            for call in calls
        ]
    return sent


def spoken(message: Message) -> Message:
    """A message as training reads it: its role, and its text with calls of tools as JSON."""
    parts = [message["content"]] if message.get("content") else []
    if calls := message.get("tool_calls"):
        functions = [call["function"] for call in calls]
        parts.append(
            compact_json([{"name": one["name"], "arguments": strict_json(one["arguments"])} for one in functions])
        )
    return {"role": message["role"], "content": "\n".join(parts)}


def place(record: Record) -> dict[str, Any]:
    """File and row of a record, for an error."""
    file, _, row = record.source.rpartition(":")
    return {"file": file, "row": int(row)}


def fault(record: Record, problem: str, field: str, remedy: str) -> HallmarkError:
    """The error about a field of a record."""
    return HallmarkError(problem, **place(record), field=field, remedy=remedy)


@dataclass(frozen=True)
class Answer:
    """An answer. `form`: its JSON value in a list, whose values are masked one by one; an empty list: it stays; None: it is text."""

    text: str
    form: list[Any] | None


@dataclass
class Work:
    """A request and answers to it, with the drafts of their texts; once it is rendered, also as they are masked."""

    request: Request
    answers: list[Answer]
    drafts: Drafts
    heads: list[str]  # of each message: the part of its text that is not masked
    texts: list[Draft | None]  # of each message: the rest; None if there is none
    structures: list[list[Any]]  # of each message: name and calls
    of_tools: list[Draft]
    of_answers: list[list[Draft]]
    messages: list[Message] = field(default_factory=list)
    tools: list[Any] | None = None
    answered: list[str] = field(default_factory=list)
    filled: list[list[Any]] = field(default_factory=list)  # the masked structures
    forms: list[Any] = field(default_factory=list)  # the masked values of answers, texts where they are text

    @property
    def said(self) -> list[Draft]:
        """The texts of the prompt."""
        return [text for text in self.texts if text is not None]

    def context(self) -> str | None:
        """The masked context, which is in the message that asks."""
        text = self.texts[self.request.asks]
        if not self.request.context or text is None:
            return None
        content: str = self.messages[self.request.asks]["content"]
        return content[: text.masked_place(self.request.context)]


Place = tuple[str, str, str, str]  # field, position, kind, and what it stands in: a key of `REMEDIES` in leftover.py


class RecordMasker:
    """Masks records and requests with the params, public values and key of the stage `mask`."""

    def __init__(self, task: TaskParams, mask: Mask, key: bytes | None) -> None:
        self.mask, self.task = mask, Task(task)
        schema = self.task.schema
        self.keys = frozenset(keys(schema))
        self.masker = Masker(mask, listed(schema), key)

    def load(self) -> list[dict[str, Any]]:
        """Load the models, and let every rule run once on made-up sentences, which are returned for the report."""
        self.masker.load()
        return masked_examples(self.masker)

    def answer(self, value: Any) -> Answer:
        """An answer, as text or JSON value. The refusal and listed labels come from the task, not from a person: they stay."""
        if isinstance(value, str):
            text, form = value, None
            if self.task.is_json:
                with suppress(NotJsonError):
                    form = [strict_json(value)] if not isinstance(strict_json(value), str) else None
        else:
            text, form = self.task.render(value), [value]
        kind = self.task.parse(text).kind
        public = kind == "refusal" or (self.task.kind.listed and kind == "answer")
        return Answer(text, [] if public else form)

    def work(
        self,
        request: Request,
        answers: Sequence[Answer] = (),
        known: KnownValues | None = None,
        name: str = "",
    ) -> Work:
        """The drafts of a request and its answers. `name`: of the record, by which its dates move."""
        parted = [self._parted(message) for message in request.messages]
        structures = [_structure(message) for message in request.messages]
        of_structures, of_tools = self.masker.slots_of(structures), self.masker.slots_of(request.tools)
        texts = [text for _, text in parted if text is not None]
        drafts = Drafts(texts, [*of_structures, *of_tools], known, name=name)
        asked = len(drafts.texts)
        running = [one.text for one in answers if one.form is None]
        slots = [self.masker.slots_of(one.form) if one.form else [] for one in answers]
        later = Drafts(running, [slot for of in slots for slot in of], copies=sum(map(len, slots)))
        drafts.texts, drafts.copies = drafts.texts + later.texts, later.copies
        own, single = iter(drafts.texts[: len(texts)]), iter(later.texts[len(running) :])
        words = iter(later.texts[: len(running)])
        return Work(
            request=request,
            answers=list(answers),
            drafts=drafts,
            heads=[head for head, _ in parted],
            texts=[None if text is None else next(own) for _, text in parted],
            structures=structures,
            of_tools=drafts.texts[asked - len(of_tools) : asked],
            of_answers=[
                [next(words)] if one.form is None else [next(single) for _ in of]
                for one, of in zip(answers, slots, strict=True)
            ],
        )

    def _parted(self, message: Message) -> tuple[str, str | None]:
        """The task's own prompt at the start of a system message, which nobody masks, and what is masked of a message's text."""
        content, prompt = message["content"], self.task.system_prompt
        if not isinstance(content, str) or message["role"] != "system":
            return "", content
        if content.strip() == prompt.strip():
            return content, None
        head = f"{prompt}{BREAK}" if content.startswith(f"{prompt}{BREAK}") else ""
        return head, content[len(head) :]

    def find(self, works: Sequence[Work]) -> None:
        """Find what is private in each. Many at once are faster: what the NER model reads is read together."""
        self.masker.find([work.drafts for work in works])
        for work in works:
            if work.request.context and (text := work.texts[work.request.asks]):
                text.part(work.request.context, work.request.context + len(BREAK))

    def dropped(self, work: Work) -> list[str]:
        """The kinds in it whose action is `drop`."""
        kinds = {span.kind for text in work.drafts.texts for span in text.spans}
        return sorted(kind for kind in kinds if self.mask.actions.get(kind) == "drop")

    def render(self, work: Work) -> None:
        """Put the stand-ins in."""
        by_draft = {
            id(draft): text.text for draft, text in zip(work.drafts.texts, self.masker.render(work.drafts), strict=True)
        }
        count, end = len(work.said), len(work.drafts.texts) - sum(map(len, work.of_answers))
        single = iter([by_draft[id(draft)] for draft in work.drafts.texts[count:end]])
        work.filled = self.masker.filled(work.structures, single)
        work.tools = self.masker.filled(work.request.tools, single)
        contents = [
            head + by_draft[id(text)] if text is not None else head or message["content"]
            for head, text, message in zip(work.heads, work.texts, work.request.messages, strict=True)
        ]
        work.messages = [
            _rebuilt(*each) for each in zip(work.request.messages, contents, work.structures, work.filled, strict=True)
        ]
        work.answered, work.forms = [], []
        for answer, drafts in zip(work.answers, work.of_answers, strict=True):
            masked = [by_draft[id(draft)] for draft in drafts]
            form = self.masker.filled(answer.form, iter(masked)) if answer.form else answer.form
            text = masked[0] if form is None else answer.text
            work.answered.append(text if form in (None, answer.form) else self.task.render(form[0]))
            work.forms.append(form[0] if form else text)

    def left(self, work: Work, fields: Sequence[str] = ()) -> Iterator[Place]:
        """What is private in a rendered record, and where; `fields`: the names of the answers. Of a kind that may stay, nothing."""
        for place in self._left(work, fields):
            if self.mask.actions.get(place[2]) != "keep":
                yield place

    def _left(self, work: Work, fields: Sequence[str]) -> Iterator[Place]:
        reserved = uses_key(self.mask)
        for number, (message, head, text) in enumerate(zip(work.messages, work.heads, work.texts, strict=True), 1):
            before = f"message {number}, " if len(work.messages) > 2 else ""
            if text is not None:
                yield from self._in(message["content"][len(head) :], "prompt", before, reserved)
        documents: list[tuple[str, Any, Any]] = [
            ("prompt", work.filled, work.structures),
            ("tools", work.tools, work.request.tools),
        ]
        for name, answer, form in zip(fields, work.answers, work.forms, strict=False):
            if answer.form is None:
                yield from self._in(form, name, "", reserved)
            elif answer.form:
                documents.append((name, form, answer.form))
        telling: Telling | None = None
        for name, masked, raw in documents:
            yield from self._in(masked, name, "", reserved)
            for number, key in enumerate(keys_of(raw), 1):
                if key not in self.keys:
                    telling = telling or Telling(work.drafts.texts, work.drafts.known)
                    yield from ((name, f"key {number}", kind, "key") for kind in telling.kinds(key, key=True))
        numbers = {span.kind for text in work.of_tools if text.number for span in text.spans}
        yield from (("tools", "a number", kind, "number") for kind in sorted(numbers))
        for called in _ids(work.messages):
            yield from (("prompt", "", kind, "id of a call") for kind in in_name(called, allow_reserved=reserved))

    def _in(self, value: Any, field: str, before: str, reserved: bool) -> Iterator[Place]:
        """What is private in a masked text or document."""
        shown = changed(value, self.masker.kept.hidden)
        if isinstance(shown, str):
            for start, _, kind in matches(shown, allow_reserved=reserved):
                yield field, f"{before}character {start + 1} of the masked text", kind, "value"
            return
        for number, item in enumerate(scalars(shown), 1):
            text = item if isinstance(item, str) else digits_of(item) or ""
            yield from ((field, f"value {number}", kind, "value") for kind in residue(text, allow_reserved=reserved))
        for number, key in enumerate(keys_of(shown), 1):
            yield from ((field, f"key {number}", kind, "key") for kind in residue(key, allow_reserved=reserved))


def _structure(message: Message) -> list[Any]:
    """What a message has besides its text: the name, and of each call the function and its arguments."""
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    return [message.get("name"), [[call["name"], strict_json(call["arguments"])] for call in calls]]


def _rebuilt(message: Message, content: str | None, before: list[Any], after: list[Any]) -> Message:
    """The message with what is masked; arguments in which nothing is masked stay as they were written."""
    masked = message | {"content": content}
    if before[0] is not None:
        masked["name"] = after[0]
    if before[1]:
        masked["tool_calls"] = [
            call
            | {"function": call["function"] | {"name": name} | ({"arguments": compact_json(new)} if new != old else {})}
            for call, (_, old), (name, new) in zip(message["tool_calls"], before[1], after[1], strict=True)
        ]
    return masked


def _ids(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        names = [message.get("tool_call_id"), *(call.get("id") for call in message.get("tool_calls") or ())]
        yield from (name for name in names if name)


def keys(schema: Any) -> Iterator[str]:
    """The keys that a JSON Schema lists."""
    for part in objects(schema):
        properties = part.get("properties")
        yield from properties if isinstance(properties, dict) else ()


def listed(schema: Any) -> Iterator[str]:
    """The texts that a JSON Schema lists as the allowed values of a field."""
    for part in objects(schema):
        enum = part.get("enum")
        values: list[Any] = enum if isinstance(enum, list) else []
        yield from (value for value in [*values, part.get("const")] if isinstance(value, str))
