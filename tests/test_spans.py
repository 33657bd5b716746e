"""Spans: the counts of SemEval 2013, by hand, and where a copied value stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hallmark.answer.spans import count, located, span_columns
from hallmark.task.evidence import words_of
from hallmark.task.values import compare_fields, leaves
from tests.made_up import prediction, typed


@pytest.mark.parametrize(
    ("said", "strict", "exact", "partial", "type_"),
    [
        (("drug", 2, 5), 1, 1, 1, 1),  # surface and type match
        (("brand", 2, 5), 0, 1, 1, 0),  # the type is another
        (("drug", 3, 6), 0, 0, 0.5, 1),  # the bounds overlap
        (("brand", 3, 6), 0, 0, 0.5, 0),  # both
        (("drug", 5, 6), 0, 0, 0, 0),  # they touch: no overlap
    ],
)
def test_one_span_against_another(said: Any, strict: float, exact: float, partial: float, type_: float) -> None:
    points = count([("drug", 2, 5)], [said])
    assert points == {"strict": strict, "exact": exact, "partial": partial, "type": type_}


def test_each_span_is_matched_once_equal_ones_first() -> None:
    assert count([("a", 0, 4)], [("a", 0, 2), ("a", 0, 4), ("a", 2, 4)])["strict"] == 1
    assert count([("a", 0, 4)], [("a", 0, 2), ("a", 2, 4)])["partial"] == 0.5
    assert (
        count([], [("a", 0, 2)]) == count([("a", 0, 2)], []) == dict.fromkeys(("strict", "exact", "partial", "type"), 0)
    )


def test_a_value_stands_where_its_words_do() -> None:
    words = words_of("The Red kettle, the red KETTLE; and a lid.")
    assert located([("p", "red kettle"), ("p", "Red Kettle"), ("p", "a lid")], words) == [
        ("p", 1, 3),
        ("p", 4, 6),
        ("p", 7, 9),
    ]
    nowhere = located([("p", "blue"), ("p", "blue"), ("p", ""), ("p", 5)], words)
    assert len(nowhere) == 4 and all(span[1] < 0 for span in nowhere)
    assert count(nowhere, nowhere)["partial"] == 0
    given = [("e[]", {"start": 3, "end": 9, "label": "DRUG"}), ("e[]", {"start": 9, "end": 3, "label": "DRUG"})]
    assert located(given, words)[1] == ("e[] DRUG", 3, 9)


def test_f1_over_records_counts_due_and_given_spans() -> None:
    text = "I bought a red kettle; the lid is loose and the cable is too short"
    due = {"product": "red kettle", "issues": ["lid is loose", "cable is too short"], "amount": 5}
    said = {"product": "kettle", "issues": ["lid is loose", "no power"], "amount": 6}
    row = typed(prediction(1, "g", "pass", input=text))
    row = replace(row, fields=compare_fields(leaves(due), leaves(said)))
    columns = span_columns([row], ["product", "issues[]"])
    f1 = {way: rows[0][0] / rows[0][1] for way, rows in columns.items()}
    assert columns["strict"][0][1] == 6
    assert f1 == pytest.approx({"strict": 1 / 3, "exact": 1 / 3, "partial": 1.5 / 3, "type": 2 / 3})
