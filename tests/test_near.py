"""Near duplicates: what counts as the same text, exact Jaccard, and that LSH finds what brute force finds."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.files import MASKED
from hallmark.data import bands, near, shingles
from hallmark.data.texts import Texts
from tests.bench.made import texts as made_texts
from tests.rows import near_pairs_by_hand, words

ALPHABET = st.sampled_from("abcd é中😀.-")
PLAIN = st.text(st.sampled_from("abcd é中😀"), max_size=30).map(lambda text: " ".join(text.split()) or "a")
FEW = st.lists(st.text(ALPHABET, max_size=30), max_size=30)


def by_hand(texts: list[str], size: int, threshold: float) -> dict[tuple[str, str], float]:
    return near_pairs_by_hand({text: text for text in texts}, threshold, size)


def found(texts: list[str], size: int, threshold: float, permutations: int = 256) -> dict[tuple[str, str], float]:
    """The pairs that `near_pairs` finds, as texts."""
    kept, _ = Texts.kept([pl.Series(texts, dtype=pl.String)])
    pairs = near.near_pairs(kept, size=size, threshold=threshold, permutations=permutations, file=MASKED)
    named = zip(pairs.left.tolist(), pairs.right.tolist(), pairs.jaccard.tolist(), strict=True)
    assert sorted(zip(pairs.left, pairs.right, strict=True)) == list(zip(pairs.left, pairs.right, strict=True))
    return {(min(texts[one], texts[two]), max(texts[one], texts[two])): jaccard for one, two, jaccard in named}


@pytest.mark.parametrize(
    ("text", "normal"), [("ＡＢＣ ﬁ ①", "abc fi 1"), ("a\u200bb\u00adc\x00d\u202e", "abcd"), (" \u200b ", "")]
)
def test_normalise(text: str, normal: str) -> None:
    assert near.normalise(pl.Series([text])).to_list() == [normal]


def test_punctuation_is_nothing_but_where_there_is_nothing_else() -> None:
    texts = ["don't: wait, now", "?!", "...", "x > 5", "“so-so”", "a_b", ""]
    assert shingles.bare(pl.Series(texts)).to_list() == ["don t wait now", "?!", "...", "x > 5", "so so", "a b", ""]
    assert [words(text) for text in texts] == shingles.bare(pl.Series(texts)).to_list()
    assert found(["yes", "yes!", "?!", "...", "x > 5", "x < 5"], 4, 1.0) == {("yes", "yes!"): 1.0}


@given(FEW, st.integers(2, 5), st.sampled_from([0.3, 0.5, 2 / 3, 0.7, 0.9, 1.0]))
def test_finds_what_brute_force_finds(texts: list[str], size: int, threshold: float) -> None:
    texts = list(dict.fromkeys(" ".join(text.split()) for text in texts))
    assert found(texts, size, threshold) == pytest.approx(by_hand(texts, size, threshold))


@given(st.lists(st.tuples(PLAIN, PLAIN), max_size=30, unique=True), st.sampled_from([0.3, 0.5, 0.7, 1.0]))
def test_questions_with_passages_must_be_alike_in_both(asked: list[tuple[str, str]], threshold: float) -> None:
    alike = {pair: 1.0 for question, _ in asked for pair in [(question, question)]}
    alike |= by_hand(list({question for question, _ in asked}), 3, threshold)
    texts = ["\n".join(parts) for parts in asked]
    pairs = by_hand(texts, 3, threshold)
    wanted = {
        pair: of for pair, of in pairs.items() if tuple(sorted(text.partition("\n")[0] for text in pair)) in alike
    }
    assert found(texts, 3, threshold) == pytest.approx(wanted)


@pytest.mark.parametrize("system", ["", "You sell tea.\nThe shop: north"])
@pytest.mark.parametrize("earlier", ["", "user: hello\nassistant: Hi!\n\nuser: is that you?"])
def test_a_system_message_comes_after_what_is_said(system: str, earlier: str) -> None:
    context = "\n".join(filter(None, (system, earlier)))
    content = "\n\n".join(filter(None, (context, "Two packs, please.")))
    prompt = [{"role": "system", "content": "Answer."}, {"role": "user", "content": content}]
    records = pl.DataFrame({"prompt": [prompt], "context": [context or None]})
    for template in ("{turns.system}\n{turns.earlier}", "{turns.earlier}", None):
        (text,) = records.select(near.compared(template, "prompt")).to_series()
        given = near.normalise(pl.Series([system])).item() if template and "system" in template else ""
        said = [part for part in (earlier, "Two packs, please.") if part]
        whole = near.normalise(pl.Series(["\n".join(said if given else filter(None, (system, *said)))])).item()
        assert text == "\n".join(filter(None, (whole, given)))


def test_finds_what_brute_force_finds_among_short_records() -> None:
    texts = list(dict.fromkeys(text for text, _ in made_texts(400)))
    true = by_hand(texts, 4, 0.6)
    assert len(true) > 40
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


def test_alike_texts_are_compared_all_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"Dear customer, your order {number} has been sent to you and will arrive soon." for number in range(300)]
    kept, _ = Texts.kept([pl.Series(texts)])
    assert bands.rows_per_band(bands.signatures_of(kept, np.arange(300), 4, 256), 300, 0.6, MASKED) == 0
    assert len(found(texts, 4, 0.6)) == 300 * 299 / 2
    monkeypatch.setattr(near, "rows_per_band", lambda *_: 3)
    assert len(found(texts, 4, 0.6)) == 300 * 299 / 2


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
    texts, _ = Texts.kept([pl.Series([*map(letter, range(3000)), *(text for text, _ in made_texts(500))])])
    for threshold in (0.5, 0.6, 0.7):
        verified.clear()
        with pytest.raises(HallmarkError, match=r"more than 100 of 3500 different texts .* one template"):
            near.near_pairs(texts, size=4, threshold=threshold, permutations=64, file=MASKED, most=100)
        assert len(verified) <= 2, "of 4,498,500 pairs, nearly all of them near duplicates"
        assert sum(verified) < 100_000


def test_a_template_whose_texts_are_not_near_enough_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, _ = Texts.kept([pl.Series([letter(number) for number in range(500)])])
    monkeypatch.setattr(near, "rows_per_band", lambda *_: 1)
    monkeypatch.setattr(bands, "BATCH", 100)
    for module, name, value in ((near, "UNLIKE", (1000, 0)), (bands, "EASY", 100), (bands, "MOST", 100)):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            with pytest.raises(HallmarkError, match=r"pairs of texts look alike, too many .* one template"):
                near.near_pairs(texts, size=4, threshold=0.85, permutations=64, file=MASKED, most=499)
