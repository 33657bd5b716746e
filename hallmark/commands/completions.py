"""Reading what an API sent for a request: the answer, what it cost, or why there is none."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from hallmark.answer.bought import Bought, answer_in, is_bytes
from hallmark.answer.comparators.endpoint import EndpointSettings
from hallmark.answer.endpoint import MALFORMED, answer_of
from hallmark.base.reading import strict_json

if TYPE_CHECKING:
    from httpx import Response

EMPTY = ("length", "content_filter")  # reasons to end with no text that are an answer, not a fault of the server
ENDS = (None, "stop", "tool_calls", "function_call", *EMPTY)  # reasons to end of an answer
CODE = r"[\w.\[\]-]{1,60}"  # what can be shown of a response: a code, no sentence


class WrongAnswerError(ValueError):
    """A response of the right shape that is no answer. `status`: the HTTP status that it states for itself."""

    def __init__(self, problem: str, status: int | None = None) -> None:
        super().__init__(problem)
        self.status = status


def bought_of(response: Any, key: str, seconds: float, settings: EndpointSettings) -> Bought:
    """The answer in a chat completion, which its line can hold; a WrongAnswerError, or one of `MALFORMED`, if there is none."""
    if not response.get("choices") and response.get("error"):
        status = status_of(response["error"])
        raise WrongAnswerError(f"an error, not an answer{words_of(response['error'])}", status)
    choices = response["choices"]
    if choices == []:
        raise WrongAnswerError("no choice in the response")
    message, reason = choices[0]["message"], choices[0].get("finish_reason")
    if not isinstance(reason, str | None) or reason not in ENDS:
        shown = f" ({reason})" if isinstance(reason, str) and re.fullmatch(CODE, reason) else ""
        raise WrongAnswerError(f"a finish_reason that no answer has{shown}")
    text, made = text_of(message.get("content")), message.get("tool_calls")
    if text is None:
        text = text_of(message.get("refusal"))  # of an API that tells a refusal from an answer
    if text is None and not made and reason not in EMPTY:
        raise WrongAnswerError("no text in the response")
    calls = [{part: call["function"][part] for part in ("name", "arguments")} for call in made or ()]
    if not all(isinstance(value, str) for call in calls for value in call.values()):
        raise TypeError("calls of another form")
    model = response.get("model")
    cost = cost_of(response, settings)
    answer = Bought(
        key=key,
        model=model if isinstance(model, str) else None,
        text=text or "",
        calls=calls or None,
        finish="length" if reason == "length" else "stop",
        read=count_in(response, "prompt_tokens"),
        written=count_in(response, "completion_tokens"),
        logprobs=logprobs_of(choices[0].get("logprobs")),
        seconds=round(seconds, 3),
        cost=None if cost is None else round(cost, 9),
    )
    answer_of({"choices": [{"message": message | {"content": text}}]})  # as the stage will read it
    return answer_in(answer.line())


def text_of(content: Any) -> str | None:
    """The text of a message: as such, or in parts of text; None if it has none."""
    if isinstance(content, list):
        content = "".join(_part(part) for part in content)
    if not isinstance(content, str | None):
        raise TypeError("not a text")
    return content


def _part(part: Any) -> str:
    if part["type"] != "text" or not isinstance(part["text"], str):
        raise TypeError("a part that is no text")
    return part["text"]


def cost_of(response: Any, settings: EndpointSettings) -> float | None:
    """What a response cost, with an answer in it or not; None if it states no usage, or there is no price."""
    read, written = (count_in(response, part) for part in ("prompt_tokens", "completion_tokens"))
    return None if settings.price is None or read is None or written is None else settings.price.of(read, written)


def count_in(response: Any, part: str) -> int | None:
    """A number of tokens in the stated usage; None if it states none."""
    usage = response.get("usage") if isinstance(response, dict) else None
    value = usage.get(part) if isinstance(usage, dict) else None
    return value if type(value) is int and 0 <= value < 2**31 else None


def logprobs_of(value: Any) -> list[list[Any]] | None:
    """[token, log-probability, bytes (unless its text's)] of each token of the answer; None if there are none, or other ones."""
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        return None
    found: list[list[Any]] = []
    for one in content:
        token, of, exact = (one.get(part) for part in ("token", "logprob", "bytes"))
        if not isinstance(token, str) or type(of) not in (int, float) or of > 1e-6 or not is_bytes(exact):
            return None
        same = exact is None or bytes(exact) == token.encode(errors="surrogatepass")
        found.append([token, min(of, 0), None if same else exact])
    return found


def reason_of(response: Response) -> str:
    try:
        return words_of(strict_json(response.content.decode())["error"])
    except MALFORMED:
        return ""


def words_of(error: Any) -> str:
    """The codes of an error; its message, which may quote the request, is left out."""
    words = [error.get(name) for name in ("type", "code", "param")] if isinstance(error, dict) else []
    return "".join(f", {word}" for word in words if isinstance(word, str | int) and re.fullmatch(CODE, str(word)))


def status_of(error: Any) -> int | None:
    code = str(error.get("code")) if isinstance(error, dict) else ""
    return int(code) if re.fullmatch(r"[45][0-9]{2}", code) else None


def retry_after(stated: str) -> float | None:
    """The seconds that a header `Retry-After` asks to wait: a number, or until a date. None if it is neither."""
    stated = stated.strip()
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", stated):
        return float(stated)
    try:
        until = parsedate_to_datetime(stated)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    except (ValueError, LookupError, TypeError, OverflowError):  # no date, or one of no calendar
        return None
