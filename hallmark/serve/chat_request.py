"""What a chat request may hold: fields of OpenAI's chat API, each of its type, and no others.

Clients send more fields than matter here: those that change no answer are left out of the request (`WITHOUT_EFFECT`). One
that doesn't fit raises `Refusal`, which becomes an answer in OpenAI's error form. No message quotes a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from hallmark.base.markup import Markup, plain_text
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.refusal import Refusal
from hallmark.base.tools import normal_tools

NAME_CHARS = 100  # longest name of a field that an answer repeats
ANY = object()
# Fields that are taken and left out, by the value with which they change no answer; ANY: whatever it is.
WITHOUT_EFFECT: dict[str, Any] = {
    "user": ANY, "safety_identifier": ANY, "metadata": ANY, "store": ANY, "service_tier": ANY,
    "prompt_cache_key": ANY, "prompt_cache_retention": ANY, "prediction": ANY, "reasoning_effort": ANY,
    "n": 1, "presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}, "top_logprobs": 0, "modalities": ["text"],
    "verbosity": "medium",
}  # fmt: skip
CODES = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter"}


class Strict(BaseModel):
    """Unknown keys are errors, and no value is taken for one of another type."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Function(Strict):
    name: Annotated[str, Field(min_length=1)]
    arguments: str

    @field_validator("arguments")
    @classmethod
    def _an_object(cls, text: str) -> str:
        try:
            value = strict_json(text)
        except NotJsonError as error:
            raise ValueError(f"not JSON ({error})") from None
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        return text


class Call(Strict):
    id: str | None = None
    type: Literal["function"] = "function"
    function: Function


def _role(role: Any) -> Any:
    return "system" if role == "developer" else role  # OpenAI's newer word for it, which no chat template knows


def _text(content: Any) -> Any:
    """The text of content that comes in parts. A line end keeps a value of one part apart from the next one's."""
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict) and part.keys() == {"type", "text"}]
    texts = [part["text"] for part in parts if part["type"] == "text" and isinstance(part["text"], str)]
    if not texts or len(texts) < len(content):
        raise ValueError('must be text, or parts that are {"type": "text", "text": "..."}')
    return "\n".join(texts)


class Message(Strict):
    """A message; keys that servers put into their answers, so that callers send them back, may be there as null."""

    role: Annotated[Literal["system", "user", "assistant", "tool"], BeforeValidator(_role)]
    content: Annotated[str | None, BeforeValidator(_text)] = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    refusal: Annotated[str | None, Field(exclude=True)] = None  # stands in for the content of an answer that has none
    annotations: None = None
    audio: None = None
    function_call: None = None
    reasoning_content: None = None

    @model_validator(mode="after")
    def _whole(self) -> Message:
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only a message of the assistant has tool_calls")
        if self.tool_call_id is not None and self.role != "tool":
            raise ValueError("only a message of a tool has tool_call_id")
        if self.refusal is not None and self.role != "assistant":
            raise ValueError("only a message of the assistant has refusal")
        self.content = self.refusal if self.content is None else self.content
        if self.content is None and not self.tool_calls:
            raise ValueError("content must be text; only a message with tool_calls may leave it out")
        return self


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: Annotated[bool | None, Field(exclude=True)] = None


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_trained(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return normal_tools(tools)[0]


class ChatRequest(Strict):
    """The fields that are taken; null stands for a field that is not there. Tools have the form of those in records."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    tools: Annotated[list[dict[str, Any]], Field(min_length=1), AfterValidator(_as_trained)] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[list[str], Field(max_length=16), BeforeValidator(_listed)] | None = None
    parallel_tool_calls: Annotated[bool | None, AfterValidator(lambda given: None if given else given)] = (
        None  # null: true
    )
    logprobs: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_what_changes_nothing(cls, given: Any) -> Any:
        """The request without such fields; a Refusal for one that asks for another answer than there is."""
        if not isinstance(given, dict):
            return given
        for name, neutral in WITHOUT_EFFECT.items():
            value = given.get(name)
            if value is not None and neutral is not ANY and (isinstance(value, bool) or value != neutral):
                raise unsupported(name, f"only {json.dumps(neutral)} can be had here, which is the default")
        return {name: value for name, value in given.items() if name not in WITHOUT_EFFECT}

    @property
    def answer_tokens(self) -> int | None:
        """The longest answer that the caller wants."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def limit_field(self) -> str:
        return "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"

    def prompt(self) -> list[dict[str, Any]]:
        """The messages as plain values."""
        return plain(self.messages)

    def ignored_by_greedy(self, logs: bool) -> str | None:
        """The field that would change the answer of a server that only decodes greedily, and so ignores it.

        `logs`: it gives log-probabilities, but streams none.
        """
        form = self.response_format
        asked = {
            "temperature": bool(self.temperature),
            "stop": bool(self.stop),
            "logprobs": bool(self.logprobs) and (bool(self.stream) or not logs),
            "response_format": form is not None and form.get("type") != "text",
            "tool_choice": self.tool_choice not in (None, "none", "auto"),
            "parallel_tool_calls": self.parallel_tool_calls is False,
        }
        return next((field for field, is_asked in asked.items() if is_asked), None)


Form = TypeVar("Form", bound=Strict)


def unsupported(field: str, why: str, headers: dict[str, str] | None = None) -> Refusal:
    """An error about a field that would change the answer, and can't here."""
    return Refusal(400, "unsupported_parameter", f"{field}: {why}; leave it out", field, headers)


def plain(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages as plain values, without what is null; but always with `content`."""
    dumped = [message.model_dump(exclude_none=True) for message in messages]
    return [{"role": message["role"], "content": None} | message for message in dumped]


def read_request(body: bytes, markup: Markup = "none") -> ChatRequest:
    """The request in a body, with its texts as those of records are; a Refusal if it is not strict JSON or not a request."""
    chat = read_as(ChatRequest, body)
    if markup == "none":
        return chat
    return chat.model_copy(update={"messages": without_markup(chat.messages, markup)})


def without_markup(messages: list[Message], markup: Markup) -> list[Message]:
    """The messages with plain texts, but for the system's: the task's own prompt is none of a row."""
    return [
        message
        if message.role == "system" or message.content is None
        else message.model_copy(update={"content": plain_text(message.content, markup)})
        for message in messages
    ]


def read_as(form: type[Form], body: bytes) -> Form:
    """What a body holds; a Refusal if it is not strict JSON or not of that form."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(400, "invalid_json", f"byte {error.start + 1} of the body is not UTF-8") from None
    try:
        value = strict_json(text)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except NotJsonError as error:
        line = f", line {error.line}" if error.line else ""
        raise Refusal(400, "invalid_json", f"the body is not JSON: {error}{line}") from None
    except UnicodeEncodeError:
        raise Refusal(400, "invalid_json", "a text of the body holds half of a surrogate pair") from None
    if not isinstance(value, dict):
        raise Refusal(400, "invalid_json", "the body is not a JSON object")
    try:
        return form.model_validate(value)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> Refusal:
    """The first problem, with the path of its field."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    unknown = problem["type"] == "extra_forbidden"
    *parents, last = problem["loc"] or ("",)  # of the body as a whole
    # in a union, pydantic adds the name of the type that it tried
    parts = [part for part in parents if isinstance(part, int) or re.fullmatch(r"\w+", part)]
    if unknown or isinstance(last, int) or re.fullmatch(r"\w+", last):
        parts.append(last)
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    path = path if len(path) <= NAME_CHARS else path[:NAME_CHARS] + "…"
    message = problem["msg"].removeprefix("Value error, ").replace("Extra inputs are not permitted", "unknown field")
    code = CODES.get(problem["type"], "invalid_value")
    return Refusal(400, code, f"{path}: {message}" if path else message, path or None)
