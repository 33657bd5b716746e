"""Labelled: the set of hand-marked texts is whole."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.labelled import LEVELS, Labelled, read


@pytest.fixture(scope="module")
def texts() -> list[Labelled]:
    return read()


def test_every_kind_occurs_and_no_text_is_there_twice(texts: list[Labelled]) -> None:
    assert {kind for text in texts for _, _, kind in text.spans} == set(LEVELS)
    assert {level for text in texts for level in text.levels} == {"direct", "quasi", "all"}
    assert len({text.text for text in texts}) == len(texts)
    assert all(len(text.spans) == len(text.levels) for text in texts)
    for text in texts:
        edges = sorted([(start, end) for start, end, _ in text.spans] + list(text.keep))
        assert all(end <= after for (_, end), (after, _) in pairwise(edges)), text.id
