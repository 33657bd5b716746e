"""A live request as a record of the masker: masked as `mask` masks a record, and what each stand-in stands for.

Texts and values are passed on as `hallmark/data/recording.py` passes those of a record. A caller can't say who the
customer is (`mask.identity_columns`) nor what the answer will be, so neither is known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from hallmark.base.document import changed, keys_of, strings
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.refusal import Refusal
from hallmark.data.copied import keys, listed
from hallmark.data.leftover import left_in
from hallmark.mask.examples import masked_examples
from hallmark.mask.kinds import PLACEHOLDER
from hallmark.mask.masking import Masker, Record
from hallmark.mask.params import Mask
from hallmark.mask.restoring import Masked, appear
from hallmark.mask.second_check import in_name
from hallmark.mask.surrogates import uses_key, uses_surrogates
from hallmark.mask.unmaskable import Telling
from hallmark.task.answers import compact_json
from hallmark.task.params import Task as TaskParams
from hallmark.task.task import Task

Message = dict[str, Any]


class LiveMasker:
    """Masks requests, one at a time, with the params, public values and key of the stage `mask`."""

    def __init__(self, task: TaskParams, mask: Mask, key: bytes | None) -> None:
        self.mask, self.key = mask, key
        self.task = Task(task)
        self.keys = frozenset(keys(self.task.schema))
        self.masker = Masker(mask, listed(self.task.schema), key)

    def load(self) -> None:
        """Load the models, and let every rule run once, so that the first request takes no longer than others."""
        self.masker.load()
        masked_examples(self.masker)

    def __call__(
        self, messages: Sequence[Message], tools: list[dict[str, Any]] | None, also: Sequence[str] = ()
    ) -> tuple[Masked, list[str]]:
        """The request masked, and the texts in `also` with it.

        A `Refusal` if a kind in it is dropped, or if something private would be left.
        """
        self._check_lengths(messages, tools, also)
        texts = [message["content"] for message in messages if self._is_masked(message)]
        structures = [_structure(message) for message in messages]
        targets = [self._target(text) for text in also]
        of_tools = self.masker.slots_of(tools)
        record = Record(texts, [*self.masker.slots_of(structures), *of_tools])
        asked = len(record.texts)
        # after the request, so that what is masked with it changes no number in it
        running = [text for text, form in targets if form is None]
        of_answers = self.masker.slots_of([form for _, form in targets])
        answers = Record(running, of_answers, copies=len(of_answers))
        record.texts, record.copies = record.texts + answers.texts, answers.copies
        self.masker.find([record])
        self._check_dropped(record)

        rendered, values = self._rendered(record)
        left = iter(rendered)
        contents = [next(left) if self._is_masked(message) else message["content"] for message in messages]
        filled = self.masker.filled(structures, left)
        masked_tools = self.masker.filled(tools, left)
        others = [next(left) if form is None else text for text, form in targets]
        forms = self.masker.filled([form for _, form in targets], left)

        numbers = [text for text in record.texts[asked - len(of_tools) : asked] if text.number]
        self._check_left(
            record,
            [*rendered[: len(texts)], *(text for text, (_, form) in zip(others, targets, strict=True) if form is None)],
            [filled, masked_tools, forms],
            {span.kind for number in numbers for span in number.spans},
            messages,
        )
        rebuilt = [_rebuilt(*each) for each in zip(messages, contents, structures, filled, strict=True)]
        return Masked(messages=rebuilt, tools=masked_tools, values=values, day_first=self.mask.day_first), [
            text if after == form else compact_json(after[0])
            for text, (_, form), after in zip(others, targets, forms, strict=True)
        ]

    def _check_lengths(self, messages: Sequence[Message], tools: list[Any] | None, also: Sequence[str]) -> None:
        for param, value in (("messages", list(messages)), ("tools", tools), ("also", list(also))):
            if any(len(text) > self.mask.max_chars for text in strings(value)):
                problem = f"a text is longer than {self.mask.max_chars} characters, the most that is masked at once"
                raise Refusal(400, "text_too_long", problem, param)

    def _is_masked(self, message: Message) -> bool:
        """Whether the content is masked as a text: the task's own prompt, which every record has, is not."""
        content = message["content"]
        if not isinstance(content, str):
            return False
        return message["role"] != "system" or content.strip() != self.task.system_prompt.strip()

    def _target(self, text: str) -> tuple[str, list[Any] | None]:
        """An answer, and its JSON value in a list; None: it is masked as running text. An empty list: it stays."""
        kind = self.task.parse(text).kind
        if kind == "refusal" or (self.task.kind.listed and kind == "answer"):
            return text, []
        try:
            return text, [strict_json(text)] if self.task.is_json else None
        except NotJsonError:
            return text, None

    def _rendered(self, record: Record) -> tuple[list[str], dict[str, str]]:
        """The masked texts, and what each stand-in stands for; not of surrogates that the caller wrote too."""
        rendered = [text.text for text in self.masker.render(record)]
        values = record.values
        if uses_surrogates(self.mask):
            surrogates = [stand_in for stand_in in values if not PLACEHOLDER.fullmatch(stand_in)]
            clear = [part for text in record.texts for part in text.clear()]
            written = appear(surrogates, "\n".join([*clear, self.task.system_prompt]))
            values = {stand_in: value for stand_in, value in values.items() if stand_in not in written}
        return rendered, values

    def _check_dropped(self, record: Record) -> None:
        if self.masker.dropped(record):
            spans = (span for text in record.texts for span in text.spans)
            kinds = sorted({span.kind for span in spans if self.mask.actions.get(span.kind) == "drop"})
            raise Refusal(400, "drop", f"texts that hold {', '.join(kinds)} are not taken (mask.actions)", "messages")

    def _check_left(
        self, record: Record, texts: list[str], documents: list[Any], numbers: set[str], messages: Sequence[Message]
    ) -> None:
        """Refuse what the second check finds in the masked request, or where no stand-in can go."""
        reserved = uses_key(self.mask)
        found = Counter((kind, "a number of the tools") for kind in numbers)
        for shown in changed([*texts, *documents], self.masker.kept.hidden):
            found.update((kind, f"a {holder}") for _, kind, holder in left_in(shown, reserved))
        unknown = {key for key in keys_of(documents) if key not in self.keys}
        if unknown:
            telling = Telling(record.texts, None)
            found.update((kind, "a key") for key in unknown for kind in telling.kinds(key, key=True))
        for name in _ids(messages):
            found.update((kind, "an id of a call") for kind in in_name(name, allow_reserved=reserved))
        left = sorted(f"{kind} in {holder}" for kind, holder in found if self.mask.actions.get(kind) != "keep")
        if left:
            message = f"private data would be left in the masked request ({', '.join(left)}), so it was not passed on"
            raise Refusal(422, "private_data_left", message, "messages")


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
