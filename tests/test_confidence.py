"""How sure a model was: tokens are mapped to the characters that they write, and to the values of a JSON answer."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.answer.answers import Answer
from hallmark.answer.confidence import confidence_of, spans_of, sure_of, values_in
from hallmark.answer.decoding import Written
from hallmark.answer.generation import LocalModel
from hallmark.model.tool_form import ToolForm
from hallmark.params.loader import load_params
from hallmark.task.predictions import Confidence, read_predictions, write_predictions
from hallmark.task.task import Task
from hallmark.task.values import leaves
from tests.made_up import prediction, typed
from tests.workspace import ROOT

TEXT = st.text(st.sampled_from('aé€😀\ufffd ▁\\"{}[]:,0n\n') | st.characters(codec="utf-8"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=5)


@cache
def byte_level() -> Any:
    from tests.tiny import byte_level_bpe

    return byte_level_bpe(["<|end|>"])


@cache
def pieces() -> Any:
    """As SentencePiece's models are converted: `▁` is a space, the first one is stripped, and bytes stand for the rest."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    words = ["▁", "a", "e", "n", "0", '"', "{", "}", ":", ",", "[", "]", '":', '"a', "▁a", "€"]
    vocabulary = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    model = models.BPE(
        {piece: number for number, piece in enumerate(vocabulary)},
        [('"', ":"), ('"', "a"), ("▁", "a")],
        unk_token="<unk>",
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def characters(bytes_of: list[bytes], text: str) -> list[tuple[int, int]]:
    """The characters that each token touches, by counting bytes."""
    starts = [len(text[:place].encode()) for place in range(len(text) + 1)]
    spans, at = [], 0
    for piece in bytes_of:
        touched = [place for place in range(len(text)) if starts[place] < at + len(piece) and at < starts[place + 1]]
        spans.append((touched[0], touched[-1] + 1) if touched else (0, 0))
        at += len(piece)
    return spans


@given(TEXT)
def test_byte_level_tokens_are_mapped_as_their_bytes_say(text: str) -> None:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokenizer = byte_level()
    decoded = {char: byte for byte, char in bytes_to_unicode().items()}
    encoded = tokenizer.encode(text, add_special_tokens=False)
    by_bytes = characters([bytes(decoded[char] for char in token) for token in encoded.tokens], text)
    found = spans_of(lambda ids: tokenizer.decode(ids, skip_special_tokens=False), encoded.ids, text)
    if "\ufffd" not in text:
        assert found == by_bytes
    assert len(found) == len(by_bytes)
    assert [end for _, end in found[-1:]] == [len(text)] * bool(found)


@given(TEXT.filter(lambda text: "▁" not in text and "\ufffd" not in text))
def test_pieces_and_the_bytes_between_them_are_mapped_as_their_bytes_say(text: str) -> None:
    tokenizer = pieces()
    encoded = tokenizer.encode(text)
    assert tokenizer.decode(encoded.ids, skip_special_tokens=False) == text
    raw = [
        bytes([int(token[3:5], 16)]) if token.startswith("<0x") else token.replace("▁", " ").encode()
        for token in encoded.tokens
    ]
    raw[:1] = [piece.removeprefix(b" ") for piece in raw[:1]]
    found = spans_of(lambda ids: tokenizer.decode(ids, skip_special_tokens=False), encoded.ids, text)
    for (start, end), piece, by_bytes in zip(found, raw, characters(raw, text), strict=True):
        assert (start, end) == by_bytes or (not piece and start == end)


@given(OBJECTS, st.sampled_from([None, 1]), st.booleans(), st.sampled_from(["", " ", "\n\t"]))
def test_values_are_found_where_they_are(value: dict[str, Any], indent: int | None, plain: bool, around: str) -> None:
    text = around + json.dumps(value, indent=indent, ensure_ascii=plain) + around
    found = values_in(text)
    read = {path: [json.loads(text[start:end]) for start, end in places] for path, places in found.items()}
    said = {path: [item for item in items if item is not None] for path, items in read.items()}
    said = {path: items for path, items in said.items() if items and items != [[]]}
    expected = {path: items for path, items in leaves(value).items() if items != [[]]}
    assert said == expected
    places = sorted(place for places in found.values() for place in places)
    assert all(end <= start for (_, end), (start, _) in pairwise(places)), "no two overlap"


def test_a_path_is_the_sum_over_the_tokens_of_its_values() -> None:
    text = '{"city":"Åre","tags":["a",null],"who":{"n":null},"l":[]}'
    tokenizer = byte_level()
    tokens = tokenizer.encode(text, add_special_tokens=False).ids
    spans = (*spans_of(lambda ids: tokenizer.decode(ids, skip_special_tokens=False), tokens, text), (len(text),) * 2)
    logs = tuple(-(2.0**-place) for place in range(len(spans)))
    confidence = confidence_of(Answer(text, len(tokens), "stop", logs, spans), is_json=True)
    assert confidence is not None
    assert (confidence.sum, confidence.least) == (sum(logs), -1.0)
    assert confidence.mean == pytest.approx(sum(logs) / len(logs))
    assert list(confidence.fields) == ["city", "tags[]", "who.n", "l[]"]
    for path, values in {"city": ['"Åre"'], "tags[]": ['"a"', "null"], "who.n": ["null"], "l[]": ["[]"]}.items():
        places = []
        for value in values:
            start = text.index(":" + value) + 1 if path != "tags[]" else text.index(value, text.index("tags"))
            places.append((start, start + len(value)))
        touched = [
            log for log, (a, b) in zip(logs, spans, strict=True) if any(a < end and start < b for start, end in places)
        ]
        assert confidence.fields[path] == math.fsum(touched)


CALL = {"name": "pay", "arguments": {"to": "Bérn", "days": [2, 30], "who": {"n": 1}}}
CALLS = Task(load_params(ROOT / "params.yaml").task.model_copy(update={"kind": "tool_call"}))
LLAMA = ToolForm("", None, "", "title", "parameters")


def sure(text: str, form: ToolForm | None) -> Confidence:
    """Of an answer that a model in this process wrote with that text, each token with another log-probability."""
    tokenizer = byte_level()
    tokens = tokenizer.encode(text, add_special_tokens=False).ids
    written = Written(tokens, [-(2.0**-place) for place in range(len(tokens))])
    reader = SimpleNamespace(ends={0}, _decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=False))
    answer = LocalModel.read(reader, written)  # type: ignore[arg-type]
    assert answer.text == text
    found = sure_of(answer, form, is_json=CALLS.is_json)
    assert found is not None
    assert found.sum == math.fsum(written.logs)
    return found


@pytest.mark.parametrize("form", [None, LLAMA])
def test_parts_of_a_call_have_the_paths_that_its_score_gives_them(form: ToolForm | None) -> None:
    text = form.write([CALL]) if form else json.dumps(CALL, ensure_ascii=False)
    fields = sure(text, form).fields
    assert fields.keys() == CALLS.kind.fields(CALL, {}).keys() == {
        "name", "arguments.to", "arguments.days[]", "arguments.who.n"
    }  # fmt: skip
    tokens = byte_level().encode(text, add_special_tokens=False).ids
    spans = spans_of(lambda ids: byte_level().decode(ids, skip_special_tokens=False), tokens, text)
    at = text.index('"Bérn"')
    touched = [-(2.0**-place) for place, (start, end) in enumerate(spans) if start < at + 6 and at < end]
    assert fields["arguments.to"] == math.fsum(touched)


def test_without_numbers_there_is_no_confidence() -> None:
    for logs in (None, (), (-1.0, float("nan")), (-float("inf"),)):
        assert confidence_of(Answer("a", 1, "stop", logs), is_json=False) is None
    assert confidence_of(Answer("a", 1, "stop", (-1.0, -3.0)), is_json=True) is not None
    found = confidence_of(Answer('{"a":1}', 1, "stop", (-1.0, -3.0)), is_json=True)
    assert found is not None
    assert (found.sum, found.mean, found.least, found.fields) == (-4.0, -2.0, -3.0, {})


def test_a_line_keeps_six_digits_and_no_sum_over_zero(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    sure = Confidence(-1.23456789, 1e-8, -1e-9, {"a": -0.5, "b": 2e-7})
    one = typed(prediction(1, "g", "pass"))
    write_predictions(file, [replace(one, confidence=sure), typed(prediction(2, "g", "pass"))])
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert lines[0]["confidence"] == {"sum": -1.234568, "mean": 0.0, "least": 0.0, "fields": {"a": -0.5, "b": 0.0}}
    assert "-0.0" not in json.dumps(lines[0]["confidence"]).replace("-0.5", "")
    assert "confidence" not in lines[1]
    again = tmp_path / "again.jsonl"
    write_predictions(again, read_predictions("tuned", file))
    assert again.read_bytes() == file.read_bytes()
