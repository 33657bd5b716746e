"""Near duplicates: what counts as the same text, exact Jaccard, and that LSH finds what brute force finds."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base import progress
from hallmark.base.errors import HallmarkError
from hallmark.base.files import MASKED
from hallmark.base.progress import Progress
from hallmark.data import bands, near, shingles
from tests.bench.made import texts as made_texts
from tests.rows import shingle_set, words
from tests.workspace import ROOT

REAL = ROOT.parent / "shared" / "realdata"

ALPHABET = st.sampled_from("abcd é中😀.-")
FEW = st.lists(st.text(ALPHABET, max_size=30), max_size=30)


def by_hand(texts: list[str], size: int, threshold: float) -> dict[tuple[str, str], float]:
    """Brute force: each pair of texts, in order, that is similar enough."""
    sets = {text: shingle_set(words(text), size) for text in texts}
    pairs = {}
    for one, two in combinations(sorted(texts), 2):
        jaccard = len(sets[one] & sets[two]) / len(sets[one] | sets[two])
        if jaccard >= threshold:
            pairs[one, two] = jaccard
    return pairs


def found(texts: list[str], size: int, threshold: float, permutations: int = 256) -> dict[tuple[str, str], float]:
    """The pairs that `near_pairs` finds, as texts."""
    pairs = near.near_pairs(
        pl.Series(texts, dtype=pl.String), size=size, threshold=threshold, permutations=permutations, file=MASKED
    )
    named = zip(pairs.left.tolist(), pairs.right.tolist(), pairs.jaccard.tolist(), strict=True)
    assert sorted(zip(pairs.left, pairs.right, strict=True)) == list(zip(pairs.left, pairs.right, strict=True))
    return {(min(texts[one], texts[two]), max(texts[one], texts[two])): jaccard for one, two, jaccard in named}


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Hello\t\n World  ", "hello world"),
        ("ＡＢＣ ﬁ ①", "abc fi 1"),
        ("a\u200bb\u00adc\x00d\u202e", "abcd"),
        ("a\u00a0 \u2003b", "a b"),
        ("x > 5, y!", "x > 5, y!"),
        (" \u200b ", ""),
    ],
)
def test_normalise(text: str, normal: str) -> None:
    assert near.normalise(pl.Series([text])).to_list() == [normal]


def test_text_of_leaves_the_system_prompt_out() -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    frame = pl.DataFrame({"prompt": [turns], "completion": [[{"role": "assistant", "content": "hello"}]]})
    row = frame.select(one=near.text_of("prompt"), both=near.text_of("prompt", "completion")).row(0)
    assert row == ("hi", "hi\nhello")


@given(FEW, st.integers(2, 6))
def test_shingles_are_the_sets(texts: list[str], size: int) -> None:
    hashes, offsets = shingles.shingles(texts, size)
    rows = [set(hashes[offsets[row] : offsets[row + 1]].tolist()) for row in range(len(texts))]
    assert [len(row) for row in rows] == [len(shingle_set(text, size)) for text in texts] == np.diff(offsets).tolist()
    for (one, mine), (two, other) in combinations(zip(texts, rows, strict=True), 2):
        assert len(mine & other) == len(shingle_set(one, size) & shingle_set(two, size))


def test_punctuation_is_nothing_but_where_there_is_nothing_else() -> None:
    texts = ["don't: wait, now", "?!", "...", "x > 5", "“so-so”", "a_b", ""]
    assert shingles.bare(pl.Series(texts)).to_list() == ["don t wait now", "?!", "...", "x > 5", "so so", "a b", ""]
    assert [words(text) for text in texts] == shingles.bare(pl.Series(texts)).to_list()
    assert found(["yes", "yes!", "?!", "...", "x > 5", "x < 5"], 4, 1.0) == {("yes", "yes!"): 1.0}


@given(FEW, st.integers(2, 5), st.sampled_from([0.3, 0.5, 2 / 3, 0.7, 0.9, 1.0]))
def test_finds_what_brute_force_finds(texts: list[str], size: int, threshold: float) -> None:
    texts = list(dict.fromkeys(" ".join(text.split()) for text in texts))
    assert found(texts, size, threshold) == pytest.approx(by_hand(texts, size, threshold))


def test_finds_what_brute_force_finds_among_short_records() -> None:
    texts = list(dict.fromkeys(text for text, _ in made_texts(600)))
    true = by_hand(texts, 4, 0.6)
    assert len(true) > 90
    for order in (texts, texts[::-1]):
        assert found(order, 4, 0.6) == pytest.approx(true)


def test_large_chunks_are_cut_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = list(dict.fromkeys(text for text, _ in made_texts(300)))
    whole = found(texts, 4, 0.6)
    monkeypatch.setattr(shingles, "CHUNK", 500)
    monkeypatch.setattr(bands, "CHUNK", 500)
    monkeypatch.setattr(bands, "BATCH", 5)
    monkeypatch.setattr(bands, "STEP", 50)
    assert found(texts, 4, 0.6) == whole


def test_a_text_of_a_megabyte() -> None:
    text = " ".join(str(number) for number in range(150_000))
    assert list(found([text, text[:-100_000], "short"], 4, 0.7)) == [(text[:-100_000], text)]


def test_many_candidates_are_handled_with_longer_bands(caplog: pytest.LogCaptureFixture) -> None:
    texts = list(dict.fromkeys(text for text, _ in made_texts(400)))
    true = by_hand(texts, 4, 0.6)
    rows = {}
    signatures = bands.signatures_of(pl.Series(texts), 4, 256, Progress("dedupe", None, "texts", silent=True))
    for easy, most in ((bands.EASY, bands.MOST), (1, bands.MOST), (1, 1600)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bands, "EASY", easy)
            patch.setattr(bands, "MOST", most)
            rows[easy, most] = bands.rows_per_band(signatures, 0.6, MASKED)
    few, many, most = rows.values()
    assert few < many < most
    assert bands.missed(0.6, few, 256) <= 1e-6
    assert 1e-6 < bands.missed(0.6, many, 256) <= 0.02
    assert bands.missed(0.6, most, 256) > 0.02 >= bands.missed(0.8, most, 256)
    assert not caplog.records
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "rows_per_band", lambda *_: most)
        assert true.keys() >= found(texts, 4, 0.6).keys() >= {pair for pair in true if true[pair] > 0.85}
    assert "many texts look alike" in caplog.text


def test_alike_texts_are_compared_all_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"Dear customer, your order {number} has been sent to you and will arrive soon." for number in range(300)]
    signatures = bands.signatures_of(pl.Series(texts), 4, 256, Progress("dedupe", None, "texts", silent=True))
    assert bands.rows_per_band(signatures, 0.6, MASKED) == 0
    assert len(found(texts, 4, 0.6)) == 300 * 299 / 2
    monkeypatch.setattr(near, "rows_per_band", lambda *_: 3)
    assert len(found(texts, 4, 0.6)) == 300 * 299 / 2


def test_one_template_is_an_error_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "EASY", 100)
    monkeypatch.setattr(bands, "MOST", 1000)
    texts = [f"Dear customer, your order {number} has been sent to you and will arrive soon." for number in range(100)]
    with pytest.raises(HallmarkError, match=r"masked\.parquet: .*one template"):
        found(texts, 4, 0.7)


def letter(number: int) -> str:
    """One of many letters of one template."""
    return f"Dear customer {number * 7919 % 4001}, your order {number} has been sent to you and will arrive soon."


def test_a_search_stops_at_a_cluster_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    exact = near.Similarity.__call__

    def counted(self: near.Similarity, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        verified.append(len(left))
        return exact(self, left, right)

    monkeypatch.setattr(near.Similarity, "__call__", counted)
    monkeypatch.setattr(bands, "BATCH", 2000)
    texts = pl.Series([*(letter(number) for number in range(3000)), *(text for text, _ in made_texts(500))])
    for threshold in (0.5, 0.6, 0.7):
        verified.clear()
        with pytest.raises(HallmarkError, match=r"more than 100 of 3500 different texts .* one template"):
            near.near_pairs(texts, size=4, threshold=threshold, permutations=64, file=MASKED, most=100)
        assert len(verified) <= 2, "of 4,498,500 pairs, nearly all of them near duplicates"
        assert sum(verified) < 100_000


def test_a_template_whose_texts_are_not_near_enough_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pl.Series([letter(number) for number in range(500)])
    monkeypatch.setattr(near, "rows_per_band", lambda *_: 1)
    monkeypatch.setattr(bands, "BATCH", 100)
    for module, name, value in ((near, "UNLIKE", (1000, 0)), (bands, "EASY", 100), (bands, "MOST", 100)):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            with pytest.raises(HallmarkError, match=r"pairs of texts look alike, too many .* one template"):
                near.near_pairs(texts, size=4, threshold=0.85, permutations=64, file=MASKED, most=499)


def test_long_work_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [letter(number) for number in range(50)]
    found(texts, 4, 0.6)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0)  # all is long
    found(texts, 4, 0.6)
    said = capsys.readouterr().err
    assert "dedupe: 50 of 50 texts read in" in said
    assert "dedupe: 1 of 1 parts of the texts compared in" in said


def test_sets_that_are_kept_give_the_same_similarities(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pl.Series(list(dict.fromkeys(text for text, _ in made_texts(120))))
    left, right = np.triu_indices(len(texts), 1)
    once = shingles.Similarity(texts, 4)
    similar = once(left[:200], right[:200])
    assert once.sets is None
    monkeypatch.setattr(shingles, "CHUNK", 3000)
    kept = shingles.Similarity(texts, 4)
    every = kept(left, right)
    assert kept.sets is not None
    assert every[:200].tolist() == similar.tolist()
    assert kept(left[:0], right[:0]).tolist() == [], "no pair is left to compare"
    true = by_hand(texts.to_list(), 4, 0.0)
    assert every.tolist() == [
        true[min(pair), max(pair)] for pair in zip(texts.gather(left), texts.gather(right), strict=True)
    ]


@pytest.mark.parametrize("permutations", [32, 100, 200])
def test_any_length_of_a_signature(permutations: int) -> None:
    texts = list(dict.fromkeys(text for text, _ in made_texts(200)))
    true = by_hand(texts, 4, 0.7)
    mine = found(texts, 4, 0.7, permutations)
    assert {pair for pair in true if true[pair] > 0.8} <= mine.keys() <= true.keys()
    assert len(true) > 10


def test_bucket_pairs_are_all_pairs_of_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "CHUNK", 10)
    keys = np.array([5, 3, 5, 3, 5, 9, 5], np.uint64)
    pairs = [
        pair for left, right in bands._bucket_pairs(keys) for pair in zip(left.tolist(), right.tolist(), strict=True)
    ]
    assert sorted(pairs) == [(0, 2), (0, 4), (0, 6), (1, 3), (2, 4), (2, 6), (4, 6)]
    assert bands._collisions(keys) == 7


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40))
def test_components(edges: list[tuple[int, int]]) -> None:
    expected = list(range(20))
    for _ in expected:
        for one, two in edges:
            expected[one] = expected[two] = min(expected[one], expected[two])
    left, right = (np.array([edge[side] for edge in edges], np.int64) for side in (0, 1))
    assert near.components(20, left, right).tolist() == expected


@pytest.mark.skipif(not REAL.exists(), reason="the real data (../shared/realdata) is not here")
def test_real_short_turns_lose_no_pair() -> None:
    lines = (REAL / "multidogo_software.jsonl").read_text(encoding="utf-8").splitlines()[:2500]
    texts = near.normalise(pl.Series([json.loads(line)["text"] for line in lines])).unique().sort().to_list()
    sets = [shingle_set(text, 4) for text in texts]
    true = {
        (one, two)
        for (one, mine), (two, other) in combinations(zip(texts, sets, strict=True), 2)
        if len(mine & other) >= 0.6 * len(mine | other)
    }
    assert len(true) > 100
    assert found(texts, 4, 0.6).keys() == true
