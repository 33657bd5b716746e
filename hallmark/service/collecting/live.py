"""Records made of judged requests: masked as `mask` masks them, and written for it to `data/raw/live`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hallmark.base.document import strings
from hallmark.base.errors import HallmarkError
from hallmark.base.files import atomic, clear_remains
from hallmark.base.params import Data
from hallmark.base.reading import strict_json
from hallmark.mask.record import BREAK, RecordMasker, Request
from hallmark.mask.rows import LIVE
from hallmark.mask.second_check import in_name
from hallmark.records import Record
from hallmark.records.targets import check_target
from hallmark.service.collecting.existing_records import Known, asked
from hallmark.service.collecting.logged import LeftOutError, Logged, Message
from hallmark.task.answers import canonical

TAG = "collected"
ANSWERS = ("answer", "fallback", "target")
ADDED = re.compile(r"collected-(\d{1,9})\.jsonl")
SOURCE = f"{LIVE.as_posix()}/collected.jsonl:1"  # of a record that is not written yet


@dataclass(frozen=True)
class New:
    """A record to add, and what it is compared by."""

    record: Record
    text: str
    target: str  # canonical
    online: bool

    @property
    def pair(self) -> bool:
        """Whether it has a rejected answer."""
        return self.record.rejected is not None


class Maker:
    """Makes records of requests, with the masker that `mask` has."""

    def __init__(self, masker: RecordMasker, data: Data, known: Known) -> None:
        self.masker, self.task, self.known = masker, masker.task, known
        self.keyed = data.pseudonyms == "keyed"

    def masked(self, logged: Logged) -> Logged:
        """The request with nothing private in it, answers too; LeftOutError if that can't be, or if no record can be made of it.

        Our gateway has masked it before, if it masks. Where nothing new is found, placeholders keep their numbers.
        """
        texts = (logged.group, logged.answer, logged.fallback, logged.target, *strings(logged.messages))
        if any(len(text) > self.masker.mask.max_chars or not is_sound(text) for text in texts if text):
            raise LeftOutError("row")
        if not logged.group or not logged.group.strip():
            raise LeftOutError("no_customer")
        if not self.keyed and in_name(logged.group):
            raise LeftOutError("customer_name")
        if logged.tools and not self.task.kind.calls_tools:
            raise LeftOutError("tools")
        self.prompt(logged)
        given = {name: text for name in ANSWERS if (text := getattr(logged, name)) is not None}
        try:
            work = self.masker.work(
                Request(logged.messages, logged.tools), [*map(self.masker.answer, given.values())], name=logged.id
            )
        except (LookupError, TypeError, ValueError):  # a call that is none
            raise LeftOutError("not_text") from None
        self.masker.find([work])
        if self.masker.dropped(work):
            raise LeftOutError("dropped")
        self.masker.render(work)
        if any(self.masker.left(work, [*given])):
            raise LeftOutError("private")
        if not any(text.spans for text in work.drafts.texts):
            return logged
        answered: dict[str, Any] = dict(zip(given, work.answered, strict=True))
        return replace(logged, messages=work.messages, tools=work.tools, **answered)

    def prompt(self, logged: Logged) -> str | list[Message]:
        """What is asked, as a record has it; LeftOutError if nothing is, or if the task's prompt was another."""
        task, said = self.task.system_prompt, list[Message]()
        for message in logged.messages:
            text = message["content"] or ""
            if message["role"] != "system":
                said.append(_message(message))
            elif text.startswith(f"{task}{BREAK}"):
                said.append({"role": "system", "content": text.removeprefix(f"{task}{BREAK}")})
            elif text.strip() != task.strip():
                raise LeftOutError("system_prompt")
        if [message["role"] for message in said] == ["user"]:
            return str(said[0]["content"])
        if not said or said[-1]["role"] == "assistant":
            raise LeftOutError("row")
        return said

    def new(self, logged: Logged, target: str, rejected: str | None = None) -> New:
        """The record of a masked request with this answer, and the wrong one of the model; LeftOutError if none can be made."""
        fields: dict[str, Any] = {"id": logged.id, "group": logged.group, "prompt": self.prompt(logged), "tags": [TAG]}
        if rejected is not None and (form := self.masker.answer(rejected).form):
            fields["rejected"] = form[0]
        try:
            fields = (
                {"rejected": rejected} | fields | {"target": target, "tools": logged.tools or None, "source": SOURCE}
            )
            record = Record(**fields)
        except HallmarkError as error:
            raise LeftOutError("target" if error.field == "target" else "row") from None
        try:
            record = check_target(record, self.task)
        except HallmarkError:
            raise LeftOutError("target") from None
        return New(record, asked(record), canonical(record.target), record.group in self.known.held)

    def asked(self, logged: Logged) -> str:
        """What a masked request asks, as texts are compared."""
        prompt = self.prompt(logged)
        said = [prompt] if isinstance(prompt, str) else [one["content"] for one in prompt if one["role"] != "system"]
        return "\n".join(text for text in said if text)


def is_sound(text: str) -> bool:
    """Whether it is Unicode that can be written, without NUL."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def _message(message: Message) -> Message:
    """A message of OpenAI's API as a record has it."""
    kept = {key: message[key] for key in ("role", "content", "tool_call_id", "name") if message.get(key) is not None}
    if calls := message.get("tool_calls"):
        functions = [call["function"] for call in calls]
        kept["tool_calls"] = [{"name": of["name"], "arguments": strict_json(of["arguments"])} for of in functions]
    return {"content": None} | kept


def write_live(records: Sequence[Record], folder: Path = LIVE) -> Path | None:
    """Write records to the next file of the folder, which appears as a whole; None if there are none."""
    if not records:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    clear_remains(folder)  # of a run that was killed
    numbers = [int(match[1]) for file in sorted(folder.iterdir()) if (match := ADDED.fullmatch(file.name))]
    path = folder / f"collected-{max(numbers, default=0) + 1}.jsonl"
    with atomic(path) as temporary:
        temporary.write_text("".join(map(_line, records)), encoding="utf-8", newline="\n")
    return path


def _line(record: Record) -> str:
    unset = Record.model_fields
    fields = {
        name: value for name, value in record.model_dump(exclude={"source"}).items() if value != unset[name].default
    }
    return json.dumps(fields, ensure_ascii=False) + "\n"
