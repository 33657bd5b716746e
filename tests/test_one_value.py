"""One value has one placeholder wherever it stands in a record: in other fields, cases and lines, in lists and in JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hallmark.mask.kinds import PLACEHOLDER
from hallmark.mask.masking import Drafts, Masker
from tests.rows import mask_with

# Values that rules find, with words around them that say what they are.
VALUES = {
    "Rosa Miller": "Dear {},",
    "Klaus-Peter Voss": "my name is {}.",
    "12 Elm Street, Springfield": "I live at {}.",
    "53 Jalan Sagu 18, Taman Daya, 81100 Johor Bahru, Johor": "address: {}.",
    "rosa.miller@acme-tools.io": "mail {}.",
    "+44 1632 960628": "call {}.",
    "4539 1488 0343 6467": "card {}.",
}


@pytest.fixture(scope="module")
def masker() -> Masker:
    """Rules alone."""
    return Masker(mask_with())


def spelled(value: str, case: str, gap: str) -> str:
    """The value in another case, with other white space between its words."""
    return getattr(value, case)().replace(" ", gap)


@settings(phases=[Phase.generate])
@given(data=st.data())
def test_a_value_has_one_placeholder_throughout_its_record(masker: Masker, data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(sorted(VALUES)), label="value")
    other = data.draw(st.sampled_from(sorted(set(VALUES) - {value})), label="other")
    cases = st.sampled_from(["upper", "title", "__str__"])
    gaps = [" ", "  ", "\n", " \n"]
    # JSON text has no line breaks but escaped ones.
    forms = [spelled(value, data.draw(cases), data.draw(st.sampled_from(gaps[:of]))) for of in (4, 4, 4, 2)]
    texts = [f"{VALUES[other].format(other)} {VALUES[value].format(forms[0])} Thanks", f"About {forms[1]}: see above."]
    values = [forms[2], json.dumps({"items": [forms[3], "kettle"]}), "kettle"]
    masked = [text.text for text in masker.records([Drafts(texts, values)])[0]]
    (stand_in,) = PLACEHOLDER.findall(masked[2])
    assert masked[2] == stand_in
    assert stand_in not in PLACEHOLDER.findall(masked[0])[0]  # the other value's
    assert all(stand_in in PLACEHOLDER.findall(text) for text in (*masked[:2], masked[3]))
    assert masked[1] == f"About {stand_in}: see above."
    assert json.loads(masked[3]) == {"items": [stand_in, "kettle"]}
    assert masked[4] == "kettle"


def test_a_number_broken_into_lines_takes_its_sign_with_it(masker: Masker) -> None:
    record = Drafts(["About +44 \n1632 960628: see above. Call +44 1632 960628."], [])
    assert masker.records([record])[0][0].text == "About <PHONE_1>: see above. Call <PHONE_1>."


def test_a_part_of_a_name_has_the_number_of_the_name(masker: Masker) -> None:
    record = Drafts(["Dear Rosa Zorblatt, is ZORBLATT your name?"], ["Zorblatt"])
    masked = [text.text for text in masker.records([record])[0]]
    assert masked == ["Dear <PERSON_1>, is <PERSON_1> your name?", "<PERSON_1>"]
