"""How sure a model was of an answer: the log-probabilities of its tokens, and of those of each value in it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from os.path import commonprefix

from hallmark.answer.answers import Answer, Span
from hallmark.base.reading import STRICT, NotJsonError, strict_json
from hallmark.model.tool_form import ToolForm
from hallmark.task.predictions import Confidence

BLANK = re.compile(r"[ \t\n\r]*")


def confidence_of(answer: Answer, *, is_json: bool) -> Confidence | None:
    """The sums of an answer's log-probabilities; None if the engine gave none, or they are no numbers.

    `is_json`: whether the task's answers are JSON, so that those of the values in it are of use.
    """
    logs = answer.logs
    if not logs or not all(map(math.isfinite, logs)):
        return None
    fields = {}
    for path, places in (values_in(answer.text) if is_json and answer.spans else {}).items():
        spans = zip(logs, answer.spans or (), strict=True)
        touched = [log for log, span in spans if any(_overlap(span, place) for place in places)]
        if touched:
            fields[path] = math.fsum(touched)
    total = math.fsum(logs)
    return Confidence(total, total / len(logs), min(logs), fields)


def sure_of(answer: Answer, form: ToolForm | None, *, is_json: bool) -> Confidence | None:
    """How sure the model was. Parts of a call have the paths that targets give them, whatever the form's own keys are."""
    confidence = confidence_of(answer, is_json=is_json)
    if confidence is None or form is None or form.read(answer.text) is None:
        return confidence
    keys, fields = {form.name: "name", form.arguments: "arguments"}, {}
    for path, log in confidence.fields.items():
        key, dot, rest = path.partition(".")
        fields[f"{keys.get(key, key)}{dot}{rest}"] = log
    return replace(confidence, fields=fields)


def _overlap(token: Span, place: Span) -> bool:
    """Whether a token writes a part of a place. One that adds no character (its part of a broken one) may be inside."""
    if token[0] == token[1]:
        return place[0] < token[0] < place[1]
    return token[0] < place[1] and place[0] < token[1]


def opens_object(text: str) -> bool:
    """Whether a text may be a JSON object, by its first character."""
    return text.lstrip()[:1] == "{"


def values_in(text: str) -> dict[str, list[Span]]:
    """Where the values of a JSON object are in its text, by path: quotes included, and null too, which is an answer.

    Paths are those of `hallmark/task/values.py`: a list is one path with all its items. Nothing for any other text.
    """
    found: dict[str, list[Span]] = {}
    if opens_object(text):
        start = len(text) - len(text.lstrip())
        try:
            strict_json(text.strip())
        except (NotJsonError, RecursionError):
            return {}
        _gather(text, start, "", found)
    return found


def _gather(text: str, start: int, path: str, found: dict[str, list[Span]]) -> int:
    """Note the values in the one that starts there; returns where it ends."""
    if text[start] == "{":
        at = _after_blank(text, start + 1)
        while text[at] != "}":
            name, at = STRICT.raw_decode(text, at)
            at = _after_blank(text, _after_blank(text, at) + 1)
            at = _after_blank(text, _gather(text, at, f"{path}.{name}" if path else name, found))
            at = _after_blank(text, at + 1) if text[at] == "," else at
        return at + 1
    if text[start] != "[":
        _, end = STRICT.raw_decode(text, start)
        found.setdefault(path, []).append((start, end))
        return end
    items, at = [], _after_blank(text, start + 1)
    while text[at] != "]":
        _, end = STRICT.raw_decode(text, at)
        items.append((at, end))
        at = _after_blank(text, end)
        at = _after_blank(text, at + 1) if text[at] == "," else at
    found.setdefault(f"{path}[]", []).extend(items or [(start, at + 1)])
    return at + 1


def _after_blank(text: str, at: int) -> int:
    match = BLANK.match(text, at)
    return match.end() if match else at


def spans_of(decode: Callable[[Sequence[int]], str], tokens: Sequence[int], text: str) -> list[Span]:
    """The characters of `text`, which `decode` makes of the tokens, that each token writes, whole or in part.

    A token may end in the middle of a character. Each is decoded with those since the last whole character before it; with
    all before it, if a decoder looks further back than that.
    """
    for window in (True, False):
        spans, done = _walk(decode, tokens, text, window)
        if done:
            break
    return spans


def _walk(
    decode: Callable[[Sequence[int]], str], tokens: Sequence[int], text: str, window: bool
) -> tuple[list[Span], bool]:
    spans: list[Span] = []
    first = whole = 0  # tokens: the first that is decoded, and how many of them are known to end with a character
    known, place, reached = "", 0, 0  # their text; where it ends; the characters written by all tokens so far
    for number in range(1, len(tokens) + 1):
        piece = decode(tokens[first:number])
        new = piece[len(known) :] if piece.startswith(known) else ""
        fits = piece.startswith(known) and text.startswith(new, place)
        end = place + len(commonprefix([new, text[place : place + len(new)]]))  # noqa: RUF071 (by character is right)
        start, reached = reached, max(reached, end)
        spans.append((start, reached if fits else min(reached + 1, len(text))))
        if fits and window:
            first, whole, place = whole, number, end
            known = decode(tokens[first:whole])
    return spans, reached == len(text)
