"""The answers of a conversation, each with what was said before it; and calls of tools in one form, whoever wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from hallmark.base.errors import HallmarkError
from hallmark.base.markup import Markup
from hallmark.base.markup import plain_text as without_markup
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.task.answers import compact_json

Which = Literal["last", "first", "all", "calls"]
WHICH = ("last", "first", "all", "calls")
ROLES = {
    "system": "system", "developer": "system", "human": "user", "user": "user", "gpt": "assistant", "bing": "assistant",
    "chatgpt": "assistant", "model": "assistant", "bot": "assistant", "assistant": "assistant", "function_call": "assistant",
    "tool_call": "assistant", "tool": "tool", "function": "tool", "function_response": "tool", "observation": "tool",
    "tool_response": "tool",
}  # fmt: skip
ARGUMENTS = ("arguments", "parameters", "args", "input")
_HERMES = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
MESSAGE = "give each message a role (system, user, assistant, tool) and a text"
CALL = 'write a call as {"name": ..., "arguments": {...}}, as OpenAI\'s API or as Hermes does'

Messages = list[dict[str, Any]]


def answers(messages: Any, which: Which = "last") -> Iterator[tuple[int, Messages, str | list[Any]]]:
    """(place, messages before it, target) of the assistant's answers; the target of one that calls tools is the list of calls.

    `which`: last, first, all, or calls (all that call tools). Messages are OpenAI's, ShareGPT's or Anthropic's, or JSON text
    of them. A message with `weight: 0`, one without text, and one before the user's first is no answer.
    """
    if which not in WHICH:
        raise HallmarkError("`answers` doesn't know which", remedy=f"write one of {', '.join(WHICH)}")
    said: Messages = []
    found: list[tuple[int, int, str | list[Any]]] = []
    for place, message in enumerate(_list_of(messages)):
        parts = _read(message, place + 1)
        for one in parts:
            target = one.get("tool_calls") or one["content"]
            asked = any(earlier["role"] == "user" for earlier in said)
            trained = message.get("weight") != 0 and (which != "calls" or isinstance(target, list))
            if one["role"] == "assistant" and asked and trained and (isinstance(target, list) or target.strip()):
                found.append((place, len(said), target))
            said.append(one)
    chosen = {"last": found[-1:], "first": found[:1]}.get(which, found)
    for place, before, target in chosen:
        yield place, [dict(one) for one in said[:before]], target


def _list_of(messages: Any) -> list[Any]:
    if isinstance(messages, str):
        try:
            messages = strict_json(messages)
        except NotJsonError as error:
            raise HallmarkError(f"the messages are not JSON ({error})", remedy=MESSAGE) from None
    if not isinstance(messages, list):
        raise HallmarkError(f"expected a list of messages, not {type(messages).__name__}", remedy=MESSAGE)
    return messages


def _read(message: Any, number: int) -> Messages:
    """A message as a record has it; Anthropic's may hold several results of tools, and then what the user says."""
    if not isinstance(message, dict):
        raise HallmarkError(f"message {number} is no object", remedy=MESSAGE)
    named = message.get("role", message.get("from"))
    role = ROLES.get(named) if isinstance(named, str) else None
    if role is None:
        raise HallmarkError(f"message {number} has no role that is known", remedy=f"use one of {', '.join(ROLES)}")
    content = message.get("content", message.get("value"))
    results: Messages = []
    if isinstance(content, list):
        kinds = [part.get("type") if isinstance(part, dict) else None for part in content]
        results = [_result(part) for part, kind in zip(content, kinds, strict=True) if kind == "tool_result"]
        if unread := sorted({str(kind) for kind in kinds} - {"text", "tool_result", "tool_use", "thinking"}):
            problem = f"message {number} has {', '.join(unread)[:50]}, which can't be read"
            raise HallmarkError(problem, remedy="leave the row out with `skip(row, reason)`")
        texts = [str(part.get("text") or "") for part, kind in zip(content, kinds, strict=True) if kind == "text"]
        if results and not texts:
            return results
    called = calls(message) if role == "assistant" else []
    text = "\n".join(texts) if isinstance(content, list) else _text(content, role, called, named)
    one: dict[str, Any] = {"role": role, "content": text}
    if called:
        one |= {"content": text.strip() or None, "tool_calls": called}
    one |= {key: message[key] for key in ("tool_call_id", "name") if isinstance(message.get(key), str)}
    return [*results, one]


def _text(content: Any, role: str, called: list[Any], named: Any) -> str:
    if content is None or (called and named in ("function_call", "tool_call")):
        return ""
    if isinstance(content, str):
        return _HERMES.sub("", content) if called else content
    return compact_json(content) if role == "tool" else str(content)


def _result(part: dict[str, Any]) -> dict[str, Any]:
    """What a tool gave back, as Anthropic's API has it."""
    content = part.get("content")
    if isinstance(content, list):
        content = "\n".join(str(one.get("text", "")) for one in content if isinstance(one, dict))
    text = content if isinstance(content, str) else compact_json(content)
    known = {"tool_call_id": part["tool_use_id"]} if isinstance(part.get("tool_use_id"), str) else {}
    return {"role": "tool", "content": text, **known}


def calls(value: Any) -> list[dict[str, Any]]:
    """The calls of tools in a message, a list of calls, one call, or a text; [] where there are none.

    Each is `{"name": ..., "arguments": {...}}`, from OpenAI's form, Anthropic's, Hermes' `<tool_call>` in a text, or the plain one.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return _in_text(value)
    if isinstance(value, list):
        return [_call(one) for one in value]
    if not isinstance(value, dict):
        raise HallmarkError(f"expected calls of tools, not {type(value).__name__}", remedy=CALL)
    if isinstance(value.get("role", value.get("from")), str):
        return _in_message(value)
    if value.get("tool_calls") is not None or value.get("function_call"):
        return calls(value.get("tool_calls") or [{"function": value["function_call"]}])
    return [_call(value)]


def _in_message(message: dict[str, Any]) -> list[dict[str, Any]]:
    if message.get("tool_calls"):
        return calls(message["tool_calls"])
    if message.get("function_call"):
        return [_call(message["function_call"])]
    content = message.get("content", message.get("value"))
    if isinstance(content, list):
        used = [part for part in content if isinstance(part, dict) and part.get("type") == "tool_use"]
        return [_call({"name": part.get("name"), "arguments": part.get("input")}) for part in used]
    said = message.get("role", message.get("from")) in ("function_call", "tool_call")
    return calls(content) if said or (isinstance(content, str) and "<tool_call>" in content) else []


def _in_text(text: str) -> list[dict[str, Any]]:
    marked = _HERMES.findall(text)
    if marked:
        return [call for one in marked for call in _of_json(one, must=True)]
    return _of_json(text, must=False) if text.lstrip()[:1] in ("[", "{") else []


def _of_json(text: str, *, must: bool) -> list[dict[str, Any]]:
    try:
        value = strict_json(text)
    except NotJsonError as error:
        if must:
            raise HallmarkError(f"a call in `<tool_call>` is not JSON ({error})", remedy=CALL) from None
        return []
    items = value if isinstance(value, list) else [value]
    named = all(isinstance(one, dict) and ("name" in one or "function" in one or "tool_calls" in one) for one in items)
    return calls(value) if must or named else []


def _call(value: Any) -> dict[str, Any]:
    function = value.get("function", value) if isinstance(value, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name.strip():
        raise HallmarkError("a call has no name", remedy=CALL)
    arguments = next((function[key] for key in ARGUMENTS if function.get(key) is not None), None)
    if isinstance(arguments, str):
        try:
            arguments = strict_json(arguments) if arguments.strip() else {}
        except NotJsonError as error:
            raise HallmarkError(f"the arguments of a call are not JSON ({error})", remedy=CALL) from None
    if arguments is not None and not isinstance(arguments, dict):
        raise HallmarkError(f"the arguments of a call are {type(arguments).__name__}, no object", remedy=CALL)
    return {"name": name, "arguments": arguments or {}}


def plain_text(text: str, markup: Markup = "html") -> str:
    """A text without its HTML or Markdown. What callers send with markup, too, is `mask.markup`, and no business of a script."""
    if not isinstance(text, str):
        raise HallmarkError(
            f"expected a text, not {type(text).__name__}", remedy='write `plain_text(row["..."] or "")`'
        )
    return without_markup(text, markup)
