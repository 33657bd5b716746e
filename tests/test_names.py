"""Names by lists and cues: whatever the text, a span is in it and of a known kind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hallmark.mask.kinds import KINDS
from hallmark.mask.lexicon import first_names
from hallmark.mask.names import names

WORDS = st.sampled_from(
    [*sorted(first_names("en"))[::400], "the", "my", "name", "is", "password", "account", "Mr", "Judge", "A.", "said", "2015", "4494",
     "from", "to", "Paris", "SDN", "BHD", "in", "our", "founders:", "and", "さん", "我叫", "السيد", "\n", ",", "(", "van", "de"]
)  # fmt: skip
TEXTS = st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=80)


@given(TEXTS)
def test_every_span_is_in_the_text_and_of_a_kind(text: str) -> None:
    for language in ("en", "de"):
        for span in names(text, language):
            assert 0 <= span.start < span.end <= len(text)
            assert span.kind in KINDS
            assert 0.45 <= span.score < 1
