"""Near duplicates: what counts as the same text, exact Jaccard, and that LSH finds what brute force finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.files import MASKED
from hallmark.corpus import near
from hallmark.corpus.draw import digest
from hallmark.corpus.texts import Texts, bare, compared, normalise
from tests.bench.made import texts as made_texts
from tests.rows import near_pairs_by_hand, params_with, words
from tests.workspace import ROOT

ALPHABET = st.sampled_from("abcd é中😀.-")
PLAIN = st.text(st.sampled_from("abcd é中😀"), max_size=30).map(lambda text: " ".join(text.split()) or "a")
FEW = st.lists(st.text(ALPHABET, max_size=30), max_size=30)
LETTER = "Dear customer {}, your order {} has been sent to you and will arrive soon."
Named = set[tuple[str, str]]


def by_hand(texts: list[str], size: int, threshold: float) -> Named:
    return {*near_pairs_by_hand({text: text for text in texts}, threshold, size)}


def search(texts: list[str], threshold: float, most: int | None = None, size: int = 4) -> tuple[Texts, near.Pairs]:
    kept, _ = Texts.kept([pl.Series(texts, dtype=pl.String)])
    settings = params_with(dedupe__shingle=size, dedupe__threshold=threshold).dedupe
    return kept, near.near_pairs(kept, settings, MASKED, most)


def found(texts: list[str], size: int, threshold: float) -> Named:
    """The pairs that `near_pairs` finds, as texts, which have no punctuation or are unlike without it."""
    original = dict(zip(bare(pl.Series(texts, dtype=pl.String)).to_list(), texts, strict=True))
    kept, pairs = search(texts, threshold, size=size)
    numbers = list(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    assert numbers == sorted(set(numbers)) and all(one < two for one, two in numbers)
    every = [original[text] for text in kept.read(slice(None))]
    return {(min(every[one], every[two]), max(every[one], every[two])) for one, two in numbers}


@pytest.mark.parametrize(
    ("text", "normal"), [("ＡＢＣ ﬁ ①", "abc fi 1"), ("a\u200bb\u00adc\x00d\u202e", "abcd"), (" \u200b ", "")]
)
def test_normalise(text: str, normal: str) -> None:
    assert normalise(pl.Series([text])).to_list() == [normal]


def test_punctuation_is_nothing_but_where_there_is_nothing_else() -> None:
    texts = ["don't: wait, now", "?!", "...", "x > 5", "“so-so”", "a_b", ""]
    assert bare(pl.Series(texts)).to_list() == ["don t wait now", "?!", "...", "x > 5", "so so", "a b", ""]
    assert [words(text) for text in texts] == bare(pl.Series(texts)).to_list()
    _, pairs = search(["yes", "yes!", "?!", "...", "x > 5", "x < 5"], 1.0)
    assert len(pairs) == 1


@given(FEW, st.integers(2, 5), st.sampled_from([0.3, 0.5, 2 / 3, 0.7, 0.9, 1.0]))
def test_finds_what_brute_force_finds(texts: list[str], size: int, threshold: float) -> None:
    texts = [*{words(" ".join(text.split())): " ".join(text.split()) for text in texts}.values()]
    assert found(texts, size, threshold) == by_hand(texts, size, threshold)


@given(st.lists(st.tuples(PLAIN, PLAIN), max_size=30, unique=True), st.sampled_from([0.3, 0.5, 0.7, 1.0]))
def test_questions_with_passages_must_be_alike_in_both(asked: list[tuple[str, str]], threshold: float) -> None:
    alike = {(question, question) for question, _ in asked}
    alike |= by_hand(list({question for question, _ in asked}), 3, threshold)
    texts = ["\n".join(parts) for parts in asked]
    pairs = by_hand(texts, 3, threshold)
    wanted = {pair for pair in pairs if tuple(sorted(text.partition("\n")[0] for text in pair)) in alike}
    assert found(texts, 3, threshold) == wanted


SYSTEM, OWN = (
    {"role": "system", "content": content} for content in ("Answer.", "Answer.\n\nYou sell tea.\nShop: north")
)
EARLIER = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi!"}]


@pytest.mark.parametrize(
    ("before", "context", "text"),
    [
        ([], None, "two packs, please."),
        ([SYSTEM], None, "two packs, please."),
        ([{"role": "system", "content": "Answer, please."}], None, "two packs, please."),
        ([SYSTEM], "Tea:\n\n2 EUR", "two packs, please.\ntea: 2 eur"),
        ([OWN], None, "two packs, please.\nyou sell tea. shop: north"),
        ([SYSTEM, *EARLIER], None, "hello hi! two packs, please."),
        ([SYSTEM, *EARLIER], "Tea", "hello hi! two packs, please.\ntea"),
        ([OWN, *EARLIER], "Tea", "hello hi! two packs, please.\ntea you sell tea. shop: north"),
    ],
)
def test_what_was_given_comes_after_what_is_said(before: list[Any], context: str | None, text: str) -> None:
    """The task's system prompt is not compared at all, whatever it was when the records were made."""
    content = f"{context}\n\nTwo packs, please." if context else "Two packs, please."
    records = pl.DataFrame({"prompt": [[*before, {"role": "user", "content": content}]], "context": [context]})
    assert records.cast({"context": pl.String}).select(compared("Answer.", "prompt")).item() == text


@pytest.mark.parametrize("smaller", [{}, {"CHUNK": 500, "STEP": 50}])
def test_neither_order_nor_chunks_make_a_difference(smaller: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    texts = list(dict.fromkeys(text for text, _ in made_texts(400)))
    true = by_hand(texts, 4, 0.6)
    assert len(true) > 40
    for name, value in smaller.items():
        monkeypatch.setattr(near, name, value)
    for order in (texts, texts[::-1]):
        assert found(order, 4, 0.6) == true


def test_a_text_of_a_megabyte() -> None:
    text = " ".join(str(number) for number in range(150_000))
    assert found([text, text[:-100_000], "short"], 4, 0.7) == {(text[:-100_000], text)}


def test_alike_texts_are_compared_all_with_all_unless_they_are_one_cluster_already() -> None:
    alike = [LETTER.format(number * 7919 % 4001, number) for number in range(300)]
    texts = [*alike, *(f"{text} {more}" for text, more in zip(alike[:50], map(digest, alike), strict=False))]
    for some, threshold in ((alike, 0.6), (texts, 0.5)):
        _, pairs = search([*some, "another"], threshold)
        assert len(pairs) == len(by_hand(some, 4, threshold)) > 0.9 * 300 * 299 / 2
        _, fewer = search([*some, "another"], threshold, most=100)
        assert np.array_equal(fewer.cluster, pairs.cluster), "so that an error can name its size"
        assert np.bincount(pairs.cluster).max() == len(some)
    assert len(fewer) < len(pairs)


@pytest.mark.parametrize("estimate", ["right", "too low"])
def test_more_pairs_than_can_be_compared_are_an_error(estimate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "MOST", 1000)
    if estimate == "too low":
        monkeypatch.setattr(near, "rows_per_band", lambda *_: 3)
    with pytest.raises(HallmarkError, match=r"pairs of texts look alike, up to \d+ texts as one"):
        search([LETTER.format("X", number) for number in range(300)], 0.6)


def test_of_many_texts_that_look_alike_more_pairs_are_missed_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [text for text, _ in made_texts(400)]
    assert search(texts, 0.6)[1].missed <= 1e-6
    monkeypatch.setattr(near, "MOST", 1500)
    assert search(texts, 0.6)[1].missed > 0.02
    assert "is missed with probability" in caplog.text


# (different texts, pairs) at a threshold, as brute force over all pairs found them
REAL = [("near_duplicate_sites", 0.6, 3112, 1551), ("near_duplicate_sites", 0.8, 3112, 445), ("multidogo_software", 0.6, 8284, 4245)]  # fmt: skip


@pytest.mark.parametrize(("name", "threshold", "texts", "pairs"), REAL)
def test_the_pairs_of_real_texts(name: str, threshold: float, texts: int, pairs: int) -> None:
    file = Path(ROOT, "../shared/realdata", f"{name}.jsonl")
    if not file.exists():
        pytest.skip(f"no {file}")
    rows = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
    kept, of_them = search(normalise(pl.Series(rows)).to_list(), threshold)
    assert (len(kept), len(of_them)) == (texts, pairs)
