"""An engine for lm-evaluation-harness that asks a server with the OpenAI chat API, so that what is served is measured.

Every record's own messages and tools are sent, greedy. A request that fails is sent again, twice; if it still fails the
stage ends: a measure over the records that happened to be answered would be another measure.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from stages.core.errors import HallmarkError
from stages.evaluation.harness import Answer
from stages.evaluation.params import EndpointEngine
from stages.models.tool_form import ToolForm
from stages.tasks.task import Task

if TYPE_CHECKING:
    from httpx import AsyncClient

PAUSES = (1.0, 4.0)  # seconds before a request is sent a second and a third time


class Endpoint(LM):
    """Answers by a server's model of that `name`; `schema`: the server is asked to constrain answers by it.

    `fields` are what every request to it must say besides; `form`: how the model was trained to write calls.
    """

    def __init__(
        self,
        settings: EndpointEngine,
        name: str,
        *,
        max_new_tokens: int,
        source: Path,
        schema: dict[str, Any] | None = None,
        fields: dict[str, str] | None = None,
        form: ToolForm | None = None,
    ) -> None:
        super().__init__()
        self._form = form
        self.max_new_tokens = max_new_tokens
        self.spent = 0.0  # seconds until all answers were there
        self._settings, self._source = settings, source
        self._body: dict[str, Any] = {"model": name, "max_tokens": max_new_tokens, "temperature": 0, "stream": False}
        self._body |= fields or {}
        if schema is not None:
            asked = {"name": "answer", "schema": schema, "strict": True}
            self._body["response_format"] = {"type": "json_schema", "json_schema": asked}

    @property
    def tokenizer_name(self) -> str:
        return ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True, **more: Any
    ) -> str:
        """The messages (and tools) as JSON: the server has the template."""
        return json.dumps({"messages": chat_history, **more})

    def loglikelihood(self, requests: list[Instance]) -> Any:
        raise NotImplementedError("the chat API gives no likelihoods; the task asks for none")

    loglikelihood_rolling = loglikelihood

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Answer]:
        """One answer a request, in the order given."""
        bodies = [self._body | json.loads(request.args[0]) for request in requests]
        start = time.perf_counter()
        answers = asyncio.run(self._ask_all(bodies))
        self.spent += time.perf_counter() - start
        return answers

    async def _ask_all(self, bodies: list[dict[str, Any]]) -> list[Answer]:
        import httpx

        settings = self._settings
        headers = {"Authorization": f"Bearer {self._key(settings.key)}"} if settings.key else {}
        slots = asyncio.Semaphore(settings.concurrency)
        url = settings.url.rstrip("/") + "/"
        async with httpx.AsyncClient(base_url=url, timeout=settings.timeout, headers=headers) as client:

            async def ask(row: int, body: dict[str, Any]) -> Answer:
                async with slots:
                    return await self._ask(client, row, body)

            return list(await asyncio.gather(*(ask(row, body) for row, body in enumerate(bodies, 1))))

    async def _ask(self, client: AsyncClient, row: int, body: dict[str, Any]) -> Answer:
        import httpx

        for pause in (*PAUSES, None):
            try:
                response = await client.post("chat/completions", json=body)
                response.raise_for_status()
                return answer_of(response.json(), self._form)
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                problem, final = f"HTTP {status}", status < 500 and status not in (408, 429)
            except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
                problem, final = type(error).__name__, False
            if final or pause is None:
                break
            await asyncio.sleep(pause)
        raise HallmarkError(
            f"the server gave no answer to this record ({problem})",
            file=self._source,
            row=row,
            remedy=f"see that {self._settings.url} serves {self._body['model']} (eval.engine), and run the stage again",
        )

    def _key(self, variable: str) -> str:
        try:
            return os.environ[variable]
        except KeyError:
            raise HallmarkError(
                f"the environment has no variable {variable}",
                param="eval.engine.key",
                remedy="export it, or set eval.engine.key to null",
            ) from None


def answer_schema(task: Task) -> dict[str, Any]:
    """The JSON Schema of what may be answered, the refusal included, for a server to constrain by."""
    if not task.is_json or task.schema is None:
        raise HallmarkError(
            f"a server can't be told how to constrain a {task.kind} task",
            param="eval.constrained",
            remedy="set eval.constrained to 0, or eval.engine.kind to hf",
        )
    if task.refusal is None:
        return task.schema
    inner = {key: part for key, part in task.schema.items() if key not in ("$schema", "$defs")}
    shared = {"$defs": task.schema["$defs"]} if "$defs" in task.schema else {}
    return {"anyOf": [inner, {"const": json.loads(task.render(task.refusal))}]} | shared


def answer_of(response: dict[str, Any], form: ToolForm | None = None) -> Answer:
    """The text of a chat completion, as served. Calls that the server took out of the text are text again, as trained."""
    choice = response["choices"][0]
    text = choice["message"].get("content") or ""
    if calls := choice["message"].get("tool_calls"):
        made = [{"name": call["function"]["name"], "arguments": call["function"]["arguments"]} for call in calls]
        for call in made:
            with contextlib.suppress(ValueError, TypeError):  # what is no JSON stays as it came, and counts as that
                call["arguments"] = json.loads(call["arguments"])
        plain = json.dumps(made[0] if len(made) == 1 else made, ensure_ascii=False, separators=(",", ":"))
        text = form.write(made) if form else plain
    finish = "length" if choice.get("finish_reason") == "length" else "stop"
    return Answer.of(text, (response.get("usage") or {}).get("completion_tokens", 0), finish)
