"""The logs that can be collected: our gateway's traces, and what other tools write.

An entry of another tool's log is a row of its file, for the most part. A table says at which paths the parts of a request
stand in it, the first that there is counts:

- `openai`: a row with `request` and `response`, or a stored completion with its `messages`.
- `langfuse`: exports of traces or observations from its UI, or files of its blob storage. Scores are in the row, or are rows
  of their own in the same folder; a corrected output is a score of the type CORRECTION.
- `otel`: spans and log records of OpenTelemetry's GenAI conventions, as the collector's file exporter writes them.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import NotJsonError, is_folder, strict_json
from hallmark.base.rows import read_rows
from hallmark.data.nested import value_at
from hallmark.params.service import Collect
from hallmark.service.collecting.logged import LeftOutError, Logged, Said, message_of, messages_of, rows_below
from hallmark.service.collecting.otel import ANSWERED, ASKED, is_otel, otel
from hallmark.service.traces.store import read_feedback, read_traces
from hallmark.service.traces.trace import Feedback, Verdict
from hallmark.task.answers import canonical, compact_json

OWN = "hallmark"
CORRECTION = "CORRECTION"
LARGEST_TIME = 1e11  # seconds; a larger number of a time is in milliseconds or nanoseconds

Row = dict[str, Any]


def _verdict(value: Any, accepted_from: float) -> Verdict | None:
    """What a value of the score says; None if there is none, or if it is no number."""
    if isinstance(value, list):  # some exports list all values of a score
        value = value[-1] if value else None
    if isinstance(value, str):
        word = value.strip().casefold()
        value = {"true": 1.0, "false": 0.0}.get(word, word)
    with suppress(TypeError, ValueError, OverflowError):
        if math.isfinite(number := float(value)):
            return "accepted" if number >= accepted_from else "rejected"
    return None


def read_log(
    path: Path, form: str | None, since: datetime | None, settings: Collect, left: Counter[str]
) -> tuple[str, list[Logged]]:
    """The form of a log, and the requests in it, each once; those with nothing to read are counted in `left`."""
    form = form or _guessed(path)
    if form == OWN and path.exists() and not is_folder(path):
        raise HallmarkError("not a folder of traces", file=path, remedy="name the folder, such as data/traces")
    once: dict[str, Logged] = {}
    for entry in _traces(path, since) if form == OWN else TOOLS[form].entries(path):
        try:
            logged = _own(entry) if form == OWN else _foreign(form, entry, settings)
        except LeftOutError as error:
            left[error.reason] += 1
        else:
            once[logged.name] = logged
    day = "" if since is None or form == OWN else f"{since:%Y-%m-%d}"
    return form, [logged for logged in once.values() if not logged.time or logged.time >= day]


def _guessed(path: Path) -> str:
    if is_folder(path) and any(path.glob("[0-9]*-[0-9]*-[0-9]*")):
        return OWN
    first = next(read_rows(path), None)
    if first is None:
        raise HallmarkError("has no rows", file=path, remedy="export the log again")
    for form, tool in TOOLS.items():
        if tool.fits(first[1]):
            return form
    remedy = f"say which it is: --format {'|'.join(FORMATS)}"
    raise HallmarkError("not a row of a log that is known here", file=path, row=first[0], remedy=remedy)


# --- our gateway


def _traces(folder: Path, since: datetime | None) -> Iterator[Row]:
    """The traces in a folder with what was said of them, by time."""
    said: dict[str, list[Feedback]] = defaultdict(list)
    for feedback in read_feedback(folder):
        said[feedback.trace].append(feedback)
    for trace in read_traces(folder, since).iter_rows(named=True):
        yield trace | {"said": said[trace["id"]]}


def _own(trace: Row) -> Logged:
    verdict, target = judged(trace["said"])
    if verdict == "accepted" and trace["outcome"] == "handed_over" and trace["fallback"] is None:
        verdict = None  # the caller got no answer, so nobody accepted the model's own
    try:
        messages, tools = strict_json(trace["messages"]), strict_json(trace["tools"] or "null")
    except NotJsonError:
        raise LeftOutError("not_text") from None
    same = ("masked", "group", "route", "outcome", "reason", "version", "answer", "fallback", "score", "probability")
    return Logged(
        name=f"{OWN} {trace['id']}",
        time=f"{trace['time']:%Y-%m-%d}",
        own=True,
        messages=messages_of(messages),
        tools=tools if isinstance(tools, list) else None,
        verdict=verdict,
        target=target,
        **{field: trace[field] for field in same},
    )


def judged(said: list[Feedback]) -> tuple[Said | None, str | None]:
    """What callers say together: their word if they agree, else that they contradict each other."""
    words = {(one.verdict, canonical(one.target) if one.target is not None else None) for one in said}
    if not words:
        return None, None
    if len(words) > 1:
        return "contradicted", None
    return said[-1].verdict, said[-1].target


# --- other tools


@dataclass(frozen=True)
class Tool:
    """What a tool writes: how its rows look, the entries in its files, and the paths of the parts of an entry."""

    fits: Callable[[Row], bool]
    entries: Callable[[Path], Iterator[Row]]
    messages: Sequence[str]
    answer: str  # as a message
    id: str
    time: Sequence[str]
    version: Sequence[str]
    customer: Sequence[str]
    scores: Sequence[str]  # where values of scores stand under their names
    output: str | None = None  # an answer in any form
    tools: str | None = None
    target: str | None = None


def _foreign(form: str, entry: Row, settings: Collect) -> Logged:
    tool = TOOLS[form]
    asked = _first(entry, tool.messages)
    if not asked:
        raise LeftOutError("no_content")
    messages = messages_of(asked)
    answer = _answer(entry, tool)
    tools = value_at(entry, tool.tools) if tool.tools else None
    target = value_at(entry, tool.target) if tool.target else None
    places = [f"{place}{settings.score}" for place in tool.scores] if settings.score else []
    verdicts = (_verdict(value_at(entry, place), settings.accepted_from) for place in places)
    name = value_at(entry, tool.id)
    if not name or not isinstance(name, str):
        text = f"{compact_json(messages)}\0{answer or ''}"
        name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Logged(
        name=f"{form} {name}",
        time=day_of(_first(entry, tool.time)),
        group=_customer(entry, [settings.customer] if settings.customer else tool.customer),
        outcome="failed" if answer is None else "answered",
        version=str(_first(entry, tool.version) or ""),
        messages=messages,
        tools=tools if isinstance(tools, list) and tools else None,
        answer=answer,
        verdict="corrected" if isinstance(target, str) else next((said for said in verdicts if said), None),
        target=target if isinstance(target, str) else None,
    )


def _first(entry: Row, paths: Sequence[str]) -> Any:
    """The value at the first path where there is any."""
    return next((value for path in paths if (value := value_at(entry, path)) not in (None, "")), None)


def _answer(entry: Row, tool: Tool) -> str | None:
    """What the model said: a message; in `output` also a text, a list of one message, or else an answer in JSON."""
    message = value_at(entry, tool.answer)
    if message is None and tool.output and (output := value_at(entry, tool.output)):
        message = output
        if isinstance(output, list) and len(output) == 1 and isinstance(output[0], dict) and "role" in output[0]:
            message = output[0]
        if isinstance(message, dict) and isinstance(message.get("choices"), list) and message["choices"]:
            raise LeftOutError("not_text")  # a response without a message
        keys = message.keys() if isinstance(message, dict) else set()
        if keys.isdisjoint(("role", "tool_calls")) and keys != {"content"}:
            message = {"content": output if isinstance(output, str) else compact_json(output)}
    if message is None:
        return None
    return message_of({"role": "assistant"} | message if isinstance(message, dict) else message)["content"]


def _customer(entry: Row, paths: Sequence[str]) -> str | None:
    for path in paths:
        value = value_at(entry, path)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None


def day_of(value: Any) -> str:
    """The day of a time (seconds, milliseconds or nanoseconds since 1970, or ISO 8601) in UTC; "" if it is none."""
    with suppress(ValueError, OverflowError, OSError):
        if isinstance(value, str) and not value.isdigit():
            moment = datetime.fromisoformat(value.strip())
            return f"{moment.astimezone(UTC) if moment.tzinfo else moment:%Y-%m-%d}"
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            number = float(value)
            for unit in (1, 1e3, 1e6, 1e9):
                if abs(number) / unit < LARGEST_TIME:
                    return f"{datetime.fromtimestamp(number / unit, UTC):%Y-%m-%d}"
    return ""


def _decoded(value: Any) -> Any:
    """A value of a table, which has objects and lists as JSON texts."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
        with suppress(NotJsonError):
            return strict_json(value)
    return value


def _is_openai(row: Row) -> bool:
    return isinstance(row.get("request"), dict) or row.get("object") == "chat.completion"


def _openai(path: Path) -> Iterator[Row]:
    """Each row with a `request` and a `response`: a stored completion is both."""
    for file, number, row in rows_below(path):
        entry = row if "request" in row else row | {"request": row, "response": row}
        response: Any = entry.get("response")
        if problem := _wrong(entry["request"], response):
            field, what, remedy = problem
            raise HallmarkError(what, file=file, row=number, field=field, remedy=remedy)
        failed = response and "error" in response
        yield entry | {"response": response | {"choices": None}} if failed else entry


def _wrong(request: Any, response: Any) -> tuple[str, str, str] | None:
    """What is wrong with a request and its response: the field, the problem and the remedy."""
    if not isinstance(request, dict) or not isinstance(response, dict | None):
        field = "response" if isinstance(request, dict) else "request"
        return field, "not an object", 'write each row as {"request": {...}, "response": {...}}'
    if "messages" not in request:
        stored = "to a stored completion, add what `client.chat.completions.messages.list(id)` returns"
        return "messages", "no messages", f"log the request's body; {stored}"
    if not isinstance(request.get("tools"), list | None):
        return "tools", "not a list", "log the request's body as it was sent"
    if response is not None and "error" not in response and not isinstance(response.get("choices"), list):
        return "choices", "not a list", "log the response's body, not its stream of chunks"
    return None


def _is_langfuse(row: Row) -> bool:
    return "id" in row and ({"input", "output"} <= row.keys() or _is_score(row))


def _is_score(row: Row) -> bool:
    return not row.keys().isdisjoint(("data_type", "dataType")) and "name" in row and "input" not in row


def _langfuse(path: Path) -> Iterator[Row]:
    """The model calls: traces, or observations of the type GENERATION, each with the scores that it got.

    The first row that is neither a call nor a score is an error.
    """
    judged: dict[str, Row] = defaultdict(dict)  # by the id of a trace or an observation
    corrected: dict[str, Any] = {}
    for file, number, row in rows_below(path):
        if _is_score(row):
            place = _first(row, ("observation_id", "observationId", "trace_id", "traceId"))
            if not isinstance(place, str):
                continue
            if CORRECTION in (row.get("data_type"), row.get("dataType")):
                corrected[place] = _first(row, ("string_value", "stringValue", "value"))
            else:
                judged[place][str(row["name"])] = row.get("value")
        elif not _is_langfuse(row):
            problem = "neither a trace, nor an observation, nor a score of Langfuse"
            remedy = "export traces or observations with their input and output"
            raise HallmarkError(problem, file=file, row=number, remedy=remedy)
    for file, number, row in rows_below(path):
        if not _is_score(row) and row.get("type") in (None, "GENERATION"):
            if not isinstance(row["id"], str):
                raise HallmarkError("not a text", file=file, row=number, field="id", remedy="export the table again")
            entry = {name: _decoded(value) for name, value in row.items()} | {"id": row["id"]}
            places = [row["id"], str(_first(row, ("traceId", "trace_id")))]
            entry["judged"] = next((judged[place] for place in places if place in judged), {})
            entry["corrected"] = next((corrected[place] for place in places if place in corrected), None)
            yield entry


TOOLS = {
    "otel": Tool(
        fits=is_otel,
        entries=otel,
        messages=(ASKED,),
        answer=f"{ANSWERED}.0",
        id="id",
        time=("time",),
        version=("gen_ai.response.model", "gen_ai.request.model"),
        customer=("user.id", "enduser.id", "gen_ai.user.id"),
        scores=("judged.value.", "judged.label."),
    ),
    "openai": Tool(
        fits=_is_openai,
        entries=_openai,
        messages=("request.messages",),
        answer="response.choices.0.message",
        id="response.id",
        time=("response.created", "timestamp"),
        version=("request.model",),
        # in this order; OpenAI has renamed it twice
        customer=("request.user", "request.safety_identifier", "user", "input_user", "safety_identifier"),
        scores=("request.metadata.", "response.metadata."),
        tools="request.tools",
    ),
    "langfuse": Tool(
        fits=_is_langfuse,
        entries=_langfuse,
        messages=("input.messages", "input"),
        answer="output.choices.0.message",
        output="output",
        id="id",
        time=("startTime", "start_time", "timestamp"),
        version=("model", "version"),
        customer=("userId", "user_id", "metadata.langfuse_user_id"),
        scores=("judged.", "scores.", ""),
        tools="input.tools",
        target="corrected",
    ),
}
FORMATS = (OWN, *TOOLS)
