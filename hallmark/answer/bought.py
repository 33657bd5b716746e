"""Answers that were bought: one line of `data/bought/<name>.jsonl` for each request, found again by what was asked.

`nox -s ask` writes these files (`hallmark/commands/ask.py`); the stage only reads them. What a line is found by, its key, is the
SHA-256 of all that determines the answer: the address, and the whole request with model, messages, tools, schema and limits.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, InstanceOf, Strict, TypeAdapter, ValidationError

from hallmark.base.errors import HallmarkError
from hallmark.base.files import BOUGHT, atomic
from hallmark.base.reading import check_regular, strict_json

ASK = "nox -s ask"
REMEDY = f"restore the file (`git checkout data/bought` and `dvc checkout`), or remove the line and run `{ASK}`"
LARGEST = 2**53  # of a count
PARTS = ("key", "model", "text", "calls", "finish", "read", "written", "logprobs", "seconds", "cost")


def is_bytes(value: Any) -> bool:
    """Whether it is a list of bytes as numbers, or None."""
    return value is None or (isinstance(value, list) and all(type(one) is int and 0 <= one < 256 for one in value))


def _logprob(value: list[Any]) -> list[Any]:
    if len(value) != 3 or not isinstance(value[0], str) or not is_bytes(value[2]):
        raise ValueError("not a token, its log-probability and its bytes")
    if type(value[1]) not in (int, float) or value[1] > 0:
        raise ValueError("not a log-probability")
    return value


def _call(value: dict[str, str]) -> dict[str, str]:
    if value.keys() != {"name", "arguments"}:
        raise ValueError("not a name and arguments")
    return value


Said = InstanceOf[str]  # half a surrogate pair too, which pydantic takes for no text
Call = Annotated[dict[str, Said], AfterValidator(_call)]
Count = Annotated[int, Strict(), Field(ge=0, lt=LARGEST)]
Amount = Count | Annotated[float, Strict(), Field(ge=0, lt=LARGEST)]


@dataclass(frozen=True)
class Bought:
    """One answer as it came, and what it took.

    `calls`: the tool calls that the server took out of the text, as {"name", "arguments"} with the arguments as they came.
    `read`, `written`: tokens of prompt and answer, as the server counted them. `logprobs`: [token, natural logarithm of its
    probability, its bytes if the token's text is not them] for each token of the answer. `cost`: by the price at that time. None: not known.
    """

    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    model: Said | None  # what the server says that it is
    text: Said
    calls: Annotated[list[Call], Field(min_length=1)] | None
    finish: Literal["stop", "length"]
    read: Count | None
    written: Count | None
    logprobs: list[Annotated[list[Any], AfterValidator(_logprob)]] | None
    seconds: Amount
    cost: Amount | None

    def line(self) -> bytes:
        """Its line, keys sorted. Half a surrogate pair, which UTF-8 can't hold, stays an escape."""
        content = {part: getattr(self, part) for part in PARTS}
        text = json.dumps(content, ensure_ascii=False, sort_keys=True, allow_nan=False)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            text = json.dumps(content, sort_keys=True, allow_nan=False)
        return f"{text}\n".encode()


FORM = TypeAdapter(Bought)


def file_of(name: str) -> Path:
    return BOUGHT / f"{name}.jsonl"


def key_of(url: str, body: dict[str, Any]) -> str:
    """The SHA-256 that an answer to this request is found by. No record's id is part of it."""
    asked = json.dumps({"url": url, "request": body}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(asked.encode()).hexdigest()


def read_bought(name: str, *, cut: bool = False) -> dict[str, Bought]:
    """The answers of a comparator by key; none if there is no file.

    `cut`: half a last line, without its line end, as a killed `nox -s ask` leaves it, is left out. It is an error
    otherwise, as any whole line that is no answer is: it was paid for, and may be repaired.
    """
    path = file_of(name)
    if not path.exists():
        return {}
    check_regular(path, REMEDY)
    lines = path.read_bytes().split(b"\n")
    rest = lines.pop()  # after the last line end: nothing, or half a line
    if rest and not cut:
        raise HallmarkError("the last line is not whole", file=path, row=len(lines) + 1, remedy=f"run `{ASK}`")
    found: dict[str, Bought] = {}
    for row, line in enumerate(lines, 1):
        try:
            one = answer_in(line)
        except ValueError as error:
            raise HallmarkError(f"not a bought answer ({error})", file=path, row=row, remedy=REMEDY) from None
        if one.key in found:
            raise HallmarkError(
                "an answer to the same request as before", file=path, row=row, field="key", remedy=REMEDY
            )
        found[one.key] = one
    return found


def write_bought(name: str, answers: Iterable[Bought]) -> None:
    """Write all answers of a comparator, sorted by key, atomically: the same answers make the same bytes."""
    with atomic(file_of(name)) as temporary:
        temporary.write_bytes(content_of(answers))


def tidy(name: str) -> None:
    """Write the answers of a comparator again if its file is not as `write_bought` leaves it, after a kill for one."""
    answers = read_bought(name, cut=True).values()
    if file_of(name).exists() and file_of(name).read_bytes() != content_of(answers):
        write_bought(name, answers)


def content_of(answers: Iterable[Bought]) -> bytes:
    return b"".join(one.line() for one in sorted(answers, key=lambda one: one.key))


def answer_in(line: bytes) -> Bought:
    """The answer in a line; a ValueError, which names the part that is wrong, if there is none."""
    value = strict_json(line.decode())
    if not isinstance(value, dict) or value.keys() != set(PARTS):
        raise ValueError("other parts than an answer has")
    try:
        return FORM.validate_python(value)
    except ValidationError as error:
        raise ValueError(str(error.errors(include_url=False, include_input=False)[0]["loc"][0])) from None


def is_model(said: str | None, asked: str, accepted: str | None) -> bool:
    """Whether the model that answered is the one that was asked for.

    That is: the same name, or that and a date ("gpt-x" and "gpt-x-2026-01-01" or "gpt-x-0613", but not "gpt-x-mini" or
    "gpt-x.1"); or a name that `accepted`, a regular expression, matches as a whole. A server that names none is taken to
    say "", which only `accepted` can match.
    """
    said = said or ""
    if accepted is not None and re.fullmatch(accepted, said):
        return True
    dated = rf"{re.escape(asked)}(?:[-@:]\d{{4,8}}(?:-\d\d){{0,2}}(?:-preview)?)?"
    return re.fullmatch(dated, said) is not None


def nearest_rank(values: Iterable[float], share: float) -> float:
    """The value that this share of all values is not above."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]
