"""Expressions behind a filter find what they find without it."""

from __future__ import annotations

import importlib
import pkgutil
import re
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

import hallmark.mask
from hallmark.mask.identity_values import parts_of, within_edits
from hallmark.mask.lexicon import any_of
from hallmark.mask.prefilter import Filtered, _Automaton, compiled, fewest_digits, needed, opening, parser
from hallmark.mask.recognizers import _filters, _presidio
from tests import labelled

# Letters that `re` takes for others if it ignores case are among them.
LETTERS = "aAbkKsSiIſK1İı2 -@éÉπϖ"
ATOMS = st.one_of(
    st.text(LETTERS, min_size=1, max_size=4).map(re.escape),
    st.sampled_from(
        [r"\d", r"\w", ".", "[ab]", "[ks1]", "[^a]", "[0-9]", "[a-z]", r"(?<=a)", r"(?<!b)", r"(?=s)", r"\b", "$"]
    ),
)


def combined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(parts, min_size=1, max_size=3).map("".join),
        st.lists(parts, min_size=2, max_size=3).map(lambda branches: f"(?:{'|'.join(branches)})"),
        st.tuples(parts, st.sampled_from(["?", "*", "+", "{2}", "{0,2}", "+?", "*+"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
        parts.map(lambda part: f"(?i:{part})"),
        parts.map(lambda part: f"({part})"),
        parts.map(lambda part: f"(?={part})"),
    )


@given(st.recursive(ATOMS, combined, max_leaves=8), st.text(LETTERS, max_size=12), st.booleans())
def test_a_text_with_a_match_passes(pattern: str, text: str, ignored: bool) -> None:
    flags = re.IGNORECASE if ignored else re.NOFLAG
    matches = list(re.finditer(pattern, text, flags))
    if matches:
        automaton = _Automaton()
        sets = automaton.numbers(needed(pattern, flags))
        number = automaton.opening(opening(pattern, flags))
        _, held, digits, opened = automaton.read(text)
        assert sets <= held and fewest_digits(parser.parse(pattern, flags)) <= digits
        assert number is None or {match.start() for match in matches} <= set(chain.from_iterable(opened[number]))
    assert [match.span() for match in Filtered(pattern, flags).finditer(text)] == [match.span() for match in matches]


def test_a_filter_knows_expressions_that_come_later() -> None:
    first = compiled("kestrel")
    assert not first.may_match("an osprey")
    second = compiled("osprey")
    assert second.may_match("an osprey")
    assert not first.may_match("an osprey")
    assert first.search("a Kestrel") is None
    assert first.search("a kestrel \ud83d") is not None  # half a surrogate pair
    assert [match.span() for match in first.finditer("a kestrel, kestrel")] == [(2, 9), (11, 18)]


def filtered() -> list[tuple[str, Filtered]]:
    """All of them that the rules use."""
    found: list[tuple[str, Filtered]] = []
    for info in pkgutil.iter_modules(hallmark.mask.__path__):
        for name, value in vars(importlib.import_module(f"hallmark.mask.{info.name}")).items():
            parts = value if isinstance(value, list) else [value]
            flat = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
            found += [(f"{info.name}.{name}", one) for one in flat if isinstance(one, Filtered)]
    return found


def test_no_rule_loses_a_match() -> None:
    rules = filtered()
    assert len(rules) > 80
    texts = [text.text for text in labelled.read()[::12]]
    for text in [*texts, *map(str.upper, texts[::4])]:
        assert [name for name, rule in rules if not rule.may_match(text) and rule.regex.search(text)] == []
    for one, filters in ((one, _filters(one)) for one in _presidio("en", ("in", "uk", "us"))):
        missed = [text for text in texts[::4] if not any(each.search(text) for each in filters)]
        assert not any(one.analyze(text, one.supported_entities, None) for text in missed), one.name


@given(st.sets(st.text("aAbsSſkKiİı é.\u0301", max_size=4), min_size=1), st.text(LETTERS), st.booleans())
def test_a_list_is_read_like_its_entries_one_by_one(entries: set[str], text: str, ignored: bool) -> None:
    flags = re.IGNORECASE if ignored else re.NOFLAG
    flat = "|".join(re.escape(entry) for entry in sorted(entries, key=lambda entry: (-len(entry), entry)))
    found = re.finditer(f"(?:{any_of(entries)})s?", text, flags)
    assert [match.span() for match in found] == [match.span() for match in re.finditer(f"(?:{flat})s?", text, flags)]


EDITS = st.lists(st.tuples(st.integers(0, 13), st.sampled_from(["", "a", "b", "1", "b1"])), max_size=3)


@given(st.text("ab1", min_size=2, max_size=14), EDITS)
def test_a_value_with_typos_has_one_of_its_parts(value: str, edits: list[tuple[int, str]]) -> None:
    spelt = value
    for at, letters in edits:
        spelt = spelt[:at] + letters + spelt[at + 1 :]
    if spelt == value or within_edits(spelt, value, len(parts_of(value)) - 1):
        assert any(part in spelt for part in parts_of(value))
