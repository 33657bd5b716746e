"""A model behind an API with the OpenAI chat form, such as one that is paid by the token: its answers are bought beforehand.

The stage sends nothing. `nox -s ask` asks what is missing (`hallmark/commands/ask.py`), from the masked records of the split; the
stage looks the answers up, so that to run it again costs nothing and gives the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from hallmark.answer.answers import Answer, Answerer, Prompt
from hallmark.answer.bought import ASK, Bought, file_of, is_model, key_of, nearest_rank, read_bought
from hallmark.answer.comparator import Asked, Comparator, ComparatorSettings, Means, Questions
from hallmark.answer.examples import Rule, in_words, with_examples
from hallmark.base.errors import HallmarkError
from hallmark.base.params import Block, Line, NotNegative, Regex, Seconds, Text, Tokens, Variable
from hallmark.model.tool_form import ToolForm
from hallmark.serve.engine import Concurrency
from hallmark.task.task import Task

TOKENS_PER_BYTE = 0.5  # a guess on the upper side: text has 3 to 5 bytes a token, digits and signs have 1 to 3
TOKENS_PER_MESSAGE = 16  # what an API adds to a message: its role, its ends
MILLION = 1_000_000
LIMITS = ("max_tokens", "max_completion_tokens")
OWN = ("model", "messages", "tools", "response_format", "stream", "n")  # of the request, which `fields` can't set
LARGER = ("top_logprobs", "best_of")  # nor these: with them, an answer is larger or costs more than estimated

Money = Annotated[float, Field(ge=0, le=1e9)]


class Price(Block):
    input: Money = Field(description="price of a million tokens of the prompts")
    output: Money = Field(description="price of a million tokens of the answers")

    def of(self, read: float, written: float) -> float:
        """What these numbers of tokens cost."""
        return (read * self.input + written * self.output) / MILLION


class EndpointSettings(ComparatorSettings):
    runs_here: ClassVar[bool] = False
    kind: Literal["endpoint"] = Field(description="a model behind an API")
    url: Annotated[Line, StringConstraints(pattern=r"^https?://[^\s/@?#]+(?:/[^\s@?#]*)?$")] = Field(
        description="where the API answers, such as https://api.example.com/v1; without a key in it"
    )
    model: Annotated[Line, StringConstraints(pattern=r"^[\w./:@+-]{1,200}$")] = Field(
        description="what the API calls the model"
    )
    accept_model: Regex | None = Field(
        description="regular expression of other names under which it may answer; null: its name, or that and a version"
    )
    key: Variable | None = Field(description="environment variable that holds the API key; null: none")
    system_prompt: Text | None = Field(description="its own system prompt; null: that of the task")
    structured: bool = Field(description="send the schema of the task, so that the API constrains its answers by it")
    max_tokens: Tokens = Field(description="longest answer, in tokens; with a model that reasons, its reasoning counts")
    fields: dict[Variable, str | bool | int | float | None] = Field(
        description="other fields of the request; null leaves out one that would be sent, such as {temperature: null}"
    )
    examples: NotNegative = Field(description="most examples from train before a record; 0: none")
    rule: Rule = Field(description="which examples, as few_shot chooses them: nearest, stratified or fixed")
    example_tokens: Tokens = Field(description="most tokens of the examples together, as the base counts them")
    concurrency: Concurrency = Field(description="most requests in progress at once")
    timeout: Seconds = Field(description="seconds for one request")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(description="times a request that fails is sent again")
    price: Price | None = Field(description="in any currency; null: not known, so no cost is computed")
    max_cost: Money | None = Field(description="most that one run of `nox -s ask` may cost; null: no limit")

    @model_validator(mode="after")
    def _price_for_a_limit(self) -> EndpointSettings:
        if self.price is None and self.max_cost is not None:
            raise ValueError("max_cost needs a price; state price, or set max_cost to null")
        return self

    @model_validator(mode="after")
    def _fields_of_their_own(self) -> EndpointSettings:
        if taken := [name for name in self.fields if name in OWN]:
            raise ValueError(f"fields can't set '{taken[0]}', which is the request's own")
        if larger := [name for name in self.fields if name in LARGER]:
            raise ValueError(
                f"fields can't set '{larger[0]}', since answers would be larger or cost more than estimated"
            )
        values = self.limits
        if not values or not all(type(value) is int and value >= 1 for value in values):
            raise ValueError(
                "fields must leave a limit of the answer: max_tokens or max_completion_tokens, as a number"
            )
        return self

    @model_validator(mode="after")
    def _an_address(self) -> EndpointSettings:
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host:
            raise ValueError("url is not an address: its host or port can't be read")
        if self.key is not None and parts.scheme != "https" and not is_near(host):
            raise ValueError(
                "url with a key must begin with https://, or the key is sent as clear text, except to localhost or the "
                "number of a private address"
            )
        return self

    @property
    def limits(self) -> list[Any]:
        """The limits of an answer that a request has, under the names that APIs have for it."""
        sent = {"max_tokens": self.max_tokens} | self.fields
        return [sent[name] for name in LIMITS if sent.get(name) is not None]

    @property
    def longest(self) -> int:
        """Most tokens of an answer."""
        return max(self.limits)


@dataclass(frozen=True)
class Request:
    """What is sent for a prompt: the body of the request, and the key that its answer is found by."""

    key: str
    body: dict[str, Any]

    def most(self, settings: EndpointSettings) -> float:
        """The most that it costs: by a guess of the prompt's tokens, and the longest answer."""
        parts = {name: self.body[name] for name in ("messages", "tools", "response_format") if name in self.body}
        size = len(json.dumps(parts, ensure_ascii=False).encode(errors="surrogatepass"))
        read = math.ceil(size * TOKENS_PER_BYTE) + TOKENS_PER_MESSAGE * (1 + len(self.body["messages"]))
        return settings.price.of(read, settings.longest) if settings.price else 0.0


class Endpoint(Comparator[EndpointSettings]):
    """A model that this project neither has nor runs."""

    settings = EndpointSettings

    def words(self, settings: EndpointSettings) -> str:
        """The model's name, and how many examples it is shown."""
        return f"{settings.model} by its API" + (f" with {in_words(settings.examples)}" if settings.examples else "")

    def asked(self, settings: EndpointSettings, questions: Questions) -> Asked:
        """Each record's prompt, with its own system prompt and with examples if the settings say so."""
        prompts = [_with_system(prompt, settings.system_prompt) for prompt in questions.prompts]
        if not settings.examples:
            return Asked(prompts, [[] for _ in prompts])
        if any(prompt.tools for prompt in prompts):
            raise HallmarkError(
                "examples of tool calls can't be shown to an API, which has a form of its own for them",
                param="eval.comparators",
                remedy="set the comparator's examples to 0",
            )
        plain = replace(questions, prompts=prompts, form=None, room=None)
        return with_examples(plain, count=settings.examples, rule=settings.rule, max_tokens=settings.example_tokens)

    def answerer(self, settings: EndpointSettings, base: Callable[[], Answerer], means: Means) -> Answerer:
        """What was bought."""
        return Purchases(means.name, settings, means.task, means.form, means.seed)

    def measures(self, settings: EndpointSettings, answers: Sequence[Answer]) -> dict[str, Any]:
        """What the answers cost by the usage that the server stated, and how long they took; `per_1000` records.

        Without a stated usage or a price, no cost is known.
        """
        stated = all(answer.read is not None for answer in answers)
        read = sum(answer.read or 0 for answer in answers) if stated else None
        written = sum(answer.tokens for answer in answers) if stated else None
        cost = settings.price.of(read, written) if settings.price and read is not None and written is not None else None
        seconds = [answer.seconds for answer in answers if answer.seconds is not None]
        return {
            "price": {
                "input_tokens": read,
                "output_tokens": written,
                "cost": None if cost is None else round(cost, 6),
                "per_1000": None if cost is None else round(1000 * cost / len(answers), 6),
            },
            "latency_s": {f"p{of}": round(nearest_rank(seconds, of / 100), 3) for of in (50, 95, 99)},
        }


class Purchases:
    """An answerer that looks answers up."""

    def __init__(self, name: str, settings: EndpointSettings, task: Task, form: ToolForm | None, seed: int) -> None:
        self.seconds = 0.0
        self._name, self._settings, self._task, self._form, self._seed = name, settings, task, form, seed

    def answer(self, prompts: Sequence[Prompt], what: str = "records") -> list[Answer]:
        """One answer for each prompt, in the order given; a HallmarkError if one was not bought yet."""
        keys = [request.key for request in requests_for(self._settings, prompts, self._task, self._seed)]
        bought = read_bought(self._name)
        if missing := len({key for key in keys if key not in bought}):
            raise HallmarkError(
                f"{missing} of {len(set(keys))} answers of the comparator {self._name} are missing",
                file=file_of(self._name),
                remedy=f"run `{ASK}`, which says what they cost before it asks (`-- --dry` only says so), or fetch the "
                "file from where it was bought",
            )
        found = [bought[key] for key in keys]
        check_models(self._name, self._settings, found)
        return [_answer(one, self._form) for one in found]


def requests_for(settings: EndpointSettings, prompts: Sequence[Prompt], task: Task, seed: int) -> list[Request]:
    """What is sent for each prompt: nothing but what the prompt and the settings say."""
    common: dict[str, Any] = {"max_tokens": settings.max_tokens, "temperature": 0, "seed": seed, "logprobs": True}
    if settings.structured:
        from hallmark.answer.endpoint import answer_schema, response_format

        schema = answer_schema(task, "eval.comparators", "set the comparator's structured to false")
        common["response_format"] = response_format(schema)
    common = {name: value for name, value in (common | settings.fields).items() if value is not None}
    common |= {"model": settings.model, "stream": False}
    url = settings.url.rstrip("/")
    bodies = [
        common | {"messages": prompt.messages} | ({"tools": prompt.tools} if prompt.tools else {}) for prompt in prompts
    ]
    return [Request(key_of(url, body), body) for body in bodies]


def check_models(name: str, settings: EndpointSettings, answers: Sequence[Bought]) -> None:
    """A HallmarkError if an answer is another model's than was asked for."""
    others = [one for one in answers if not is_model(one.model, settings.model, settings.accept_model)]
    if others:
        said = f"'{others[0].model[:200]}'" if others[0].model else "a model without a name"
        what = "its name" if others[0].model else 'the empty text, as in "(name)?"'
        raise HallmarkError(
            f"{len(others)} answers for {name} are not of '{settings.model}' but of {said}, the first in the line with the "
            f"key {others[0].key[:12]}...",
            file=file_of(name),
            field="model",
            remedy=f"if it is the one you want, let the comparator's accept_model match {what}; else fix model or url, or "
            "remove its line to ask again",
        )


def is_near(host: str) -> bool:
    """Whether what is sent to a host stays in a private network: this machine, or the number of a private address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:  # a name, which may lead anywhere
        return False
    return address.is_private or address.is_loopback or address.is_link_local


def _with_system(prompt: Prompt, system: str | None) -> Prompt:
    if system is None:
        return prompt
    others = [message for message in prompt.messages if message["role"] != "system"]
    return replace(prompt, messages=[{"role": "system", "content": system}, *others])


def _answer(one: Bought, form: ToolForm | None) -> Answer:
    from hallmark.answer.endpoint import answer_of

    message = {"content": one.text, "tool_calls": [{"function": call} for call in one.calls or ()]}
    logs = [{"token": token, "logprob": of, "bytes": exact} for token, of, exact in one.logprobs or ()]
    choice = {"message": message, "finish_reason": one.finish, "logprobs": {"content": logs} if logs else None}
    answer = answer_of({"choices": [choice], "usage": {"completion_tokens": one.written or 0}}, form)
    return replace(answer, read=one.read, seconds=one.seconds)


COMPARATOR = Endpoint()
