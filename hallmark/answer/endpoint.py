"""Answers of a server with the OpenAI chat API, so that what is served is measured.

Every record's own messages and tools are sent, greedy. A request that fails is sent again, to each server twice, and to one
that is alone three times; if it still fails the stage ends: a measure over the records that happened to be answered would be another
measure.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hallmark.answer.answers import UNREAD, Answer, Prompt, Span, asked_of
from hallmark.answer.confidence import opens_object
from hallmark.base.errors import HallmarkError
from hallmark.base.progress import Progress
from hallmark.base.reading import strict_json
from hallmark.model.tool_form import ToolForm
from hallmark.serve.engine import Asking
from hallmark.serve.server import Server
from hallmark.serve.several import Several
from hallmark.task.predictions import is_log
from hallmark.task.task import Task

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

log = logging.getLogger("eval")

MALFORMED = (ValueError, LookupError, TypeError, AttributeError)  # raised by a response of another shape
# The most bytes of a response without its answer, of each token in it, and of a token's log-probability.
FRAME, PER_TOKEN, PER_LOG = 2**16, 512, 1024
PAUSES = (1.0, 4.0)  # seconds before a request is sent a second and a third time


class UnreadableError(ValueError):
    """A response that is not read to its end; the same request would bring another such."""


class ServedModel:
    """Answers by a server's `model`; `schema`: the server is asked to constrain answers by it.

    `logs`: it is asked for the log-probabilities of the tokens too. `form`: how the model was trained to write calls; `source`: the prompts' file, for errors; `stage`: whose progress it is.
    `fits`: whether a prompt leaves room for an answer; one that doesn't is not sent.
    """

    def __init__(
        self,
        server: Server,
        model: str,
        asking: Asking,
        *,
        max_new_tokens: int,
        source: Path,
        schema: dict[str, Any] | None = None,
        form: ToolForm | None = None,
        stage: str = "eval",
        logs: bool = False,
        fits: Callable[[Prompt], bool] = lambda _: True,
    ) -> None:
        self.seconds, self._stage, self._logs, self._fits = 0.0, stage, logs, fits
        self._server, self._asking, self._source, self._form = server, asking, source, form
        self._body = server.body(model, max_new_tokens) | {"stream": False} | ({"logprobs": True} if logs else {})
        self._several = Several((server.url, *server.others))
        self._largest = FRAME + (PER_TOKEN + logs * PER_LOG) * max_new_tokens
        if schema is not None:
            self._body["response_format"] = response_format(schema)

    def answer(self, prompts: Sequence[Prompt], what: str = "records") -> list[Answer]:
        """One answer for each prompt, in the order given. `what`: which prompts these are, for the progress."""
        start = time.perf_counter()
        asked = asked_of(list(map(self._fits, prompts)))
        with Progress(self._stage, len(asked), what) as progress:
            answers = asyncio.run(self._ask_all([prompts[place] for place in asked], progress))
        self.seconds += time.perf_counter() - start
        if self._logs and (without := sum(answer.logs is None for answer in answers)):
            log.warning(
                "%d of %d answers came without the log-probabilities that were asked for: how sure the model was of them is "
                "not known",
                without,
                len(answers),
            )
        given = dict(zip(asked, answers, strict=True))
        return [given.get(place, UNREAD) for place in range(len(prompts))]

    async def _ask_all(self, prompts: Sequence[Prompt], progress: Progress) -> list[Answer]:
        import httpx

        key = getattr(self._asking, "key", None)
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {_variable(key)}"} if key else {})
        slots = asyncio.Semaphore(self._asking.concurrency)
        own = self._server.process is not None
        options: dict[str, Any] = {"timeout": self._asking.timeout, "headers": headers, "trust_env": not own}
        async with contextlib.AsyncExitStack() as stack:
            clients = {
                url: await stack.enter_async_context(httpx.AsyncClient(base_url=url, **options))
                for url in self._several.urls
            }

            async def ask(prompt: Prompt) -> Answer:
                async with slots:
                    answer = await self._ask(clients, prompt)
                progress.add()
                return answer

            return list(await asyncio.gather(*map(ask, prompts)))

    async def _ask(self, clients: dict[str, AsyncClient], prompt: Prompt) -> Answer:
        import httpx

        body = self._body | {"messages": prompt.messages} | ({"tools": prompt.tools} if prompt.tools else {})
        tried: Counter[str] = Counter()
        others = len(self._several.urls) - 1
        for pause in (*[0.0] * others, *PAUSES, *[0.0] * (others - 1), None):
            try:
                with self._several.asked(tried) as url:
                    async with asyncio.timeout(self._asking.timeout):  # of the whole: httpx counts each read separately
                        text = await response_text(clients[url], body, self._largest)
                return answer_of(strict_json(text), self._form)
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                problem, final = f"HTTP {status}", status < 500 and status not in (408, 429)
                problem += self._reason(error.response)
            except UnreadableError as error:
                problem, final = str(error), True
            except (httpx.HTTPError, httpx.StreamError, TimeoutError, *MALFORMED) as error:
                problem, final = type(error).__name__, False
            if final or pause is None:
                break
            self._several.failed(url, tried)
            await asyncio.sleep(pause)
        if trouble := await asyncio.to_thread(self._server.trouble):
            problem = f"it {trouble}{self._server.last_words}"
        raise HallmarkError(
            f"the server gave no answer to this record ({problem})",
            file=self._source,
            row=prompt.row,
            remedy=f"see that {' and '.join(self._several.urls)} serves {self._body['model']} (eval.engine), and run the stage again",
        )

    def _reason(self, response: Response) -> str:
        """Why a server of ours refused the request: code and field, which quote nothing of it."""
        if self._server.process is None or not response.content.startswith(b'{"error": {'):
            return ""
        error = response.json()["error"]
        return "".join(f", {error[key]}" for key in ("code", "param") if isinstance(error.get(key), str))


async def response_text(client: AsyncClient, body: dict[str, Any], largest: int) -> str:
    """The text of a response; httpx.HTTPStatusError, with what was read of the response, if it is no success.

    UnreadableError if it has more bytes than `largest`, or is compressed, which nobody asked for: a megabyte can unpack to
    gigabytes. What a response without success holds does not matter: its status is what it says.
    """
    async with client.stream("POST", "chat/completions", json=body) as response:
        if not response.is_success:
            await _raise_for(response, largest)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise UnreadableError("a compressed response, though none was asked for")
        content = bytearray()
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > largest:
                raise UnreadableError(f"a response of over {largest} bytes, more than the longest answer has")
    return content.decode()


async def _raise_for(response: Response, largest: int) -> None:
    """The httpx.HTTPStatusError of a response without success, with the start of its content, as it came."""
    from httpx import HTTPError, Response

    content = bytearray()
    with contextlib.suppress(HTTPError):  # a connection that breaks changes nothing
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > largest:
                break
    headers = [(name, value) for name, value in response.headers.items() if name != "content-encoding"]
    whole = Response(response.status_code, content=bytes(content), headers=headers, request=response.request)
    whole.raise_for_status()


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise HallmarkError(
            f"the environment has no variable {name}",
            param="eval.engine.key",
            remedy="export it, or set eval.engine.key to null",
        ) from None


def response_format(schema: dict[str, Any]) -> dict[str, Any]:
    """What a request has so that a server holds the answer to a schema."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def answer_schema(
    task: Task,
    param: str = "eval.constrained",
    remedy: str = "set eval.constrained to 0, or eval.engine.kind to hf",
) -> dict[str, Any]:
    """The JSON Schema of what may be answered, the refusal included, for a server to constrain by; `param` asks for it."""
    if not task.is_json or task.schema is None:
        problem = f"a server can't be told how to constrain a {task.kind} task"
        raise HallmarkError(problem, param=param, remedy=remedy)
    if task.refusal is None:
        return task.schema
    inner = {key: part for key, part in task.schema.items() if key not in ("$schema", "$defs")}
    shared = {"$defs": task.schema["$defs"]} if "$defs" in task.schema else {}
    return {"anyOf": [inner, {"const": json.loads(task.render(task.refusal))}]} | shared


def answer_of(response: Any, form: ToolForm | None = None) -> Answer:
    """The text of a chat completion, as served. Calls that the server took out of the text are text again, as trained.

    Raises one of `MALFORMED` if the response has another shape.
    """
    choice = response["choices"][0]
    text = choice["message"].get("content") or ""
    if calls := choice["message"].get("tool_calls"):
        made = [{"name": call["function"]["name"], "arguments": call["function"]["arguments"]} for call in calls]
        for call in made:
            with contextlib.suppress(ValueError, TypeError):  # what is no JSON stays as it came, and counts as that
                call["arguments"] = strict_json(call["arguments"])
        plain = json.dumps(made[0] if len(made) == 1 else made, ensure_ascii=False, separators=(",", ":"))
        text = form.write(made) if form else plain
    if not isinstance(text, str):
        raise TypeError("not a text")
    tokens = (response.get("usage") or {}).get("completion_tokens", 0)
    finish: Literal["stop", "length"] = "length" if choice.get("finish_reason") == "length" else "stop"
    logs, spans = logs_of(choice, text)
    return Answer(text, tokens if type(tokens) is int and 0 <= tokens < 2**31 else 0, finish, logs, spans)


def logs_of(choice: Any, text: str) -> tuple[tuple[float, ...] | None, tuple[Span, ...] | None]:
    """The log-probabilities of the tokens that a choice lists, and the characters of its text that each writes.

    None if it lists none, or what it lists are no log-probabilities; and if the tokens' bytes are not those of the text.
    """
    given = choice.get("logprobs")
    listed = given.get("content") if isinstance(given, dict) else None
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        return None, None
    logs = [one.get("logprob") for one in listed]
    if not all(map(is_log, logs)):
        return None, None
    try:
        pieces = [_bytes(one) for one in listed]
    except (ValueError, TypeError):  # no bytes, or no text that could be written as such
        pieces = []
    whole = text.encode("utf-8", "surrogatepass")
    if not pieces or not b"".join(pieces).startswith(whole) or not opens_object(text):  # the end token comes after it
        return tuple(map(float, logs)), None
    # Of each byte, the character that it is of, and one more for the end.
    places = [place for place, char in enumerate(text) for _ in char.encode("utf-8", "surrogatepass")] + [len(text)]
    spans, at = [], 0
    for piece in pieces:
        start, end = min(at, len(whole)), min(at + len(piece), len(whole))
        spans.append((places[start], places[end - 1] + 1 if end > start else places[start]))
        at += len(piece)
    return tuple(map(float, logs)), tuple(spans)


def _bytes(listed: dict[str, Any]) -> bytes:
    """The bytes of a listed token; a server that leaves them out means those of the token as it is shown."""
    given = listed.get("bytes")
    if given is None:
        return str(listed.get("token") or "").encode()
    if not isinstance(given, list):  # `bytes` takes a number for a length
        raise TypeError("not a list")
    return bytes(given)
