"""Numbers that stand for labels in a dataset's files become their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.class_labels import named_labels
from tests.rows import refused

FEATURES = {
    "label": {"names": ["no", "yes"], "_type": "ClassLabel"},
    "many": {"feature": {"names": ["a", "b"], "_type": "ClassLabel"}, "_type": "List"},
    "old": [{"part": {"names": ["a", "b"], "_type": "ClassLabel"}}],
    "text": {"dtype": "string", "_type": "Value"},
}


def named(row: dict[str, Any], features: Any = FEATURES) -> dict[str, Any]:
    metadata = json.dumps({"info": {"features": features}})
    return next(named_labels(iter([(1, row)]), metadata, Path("x.parquet")))[1]


def test_numbers_of_labels_become_their_names() -> None:
    row = {"label": 1, "many": [1, 0, None], "old": [{"part": 1}], "text": "0"}
    assert named(row) == {"label": "yes", "many": ["b", "a", None], "old": [{"part": "b"}], "text": "0"}
    assert named({"label": -1}) == {"label": None}
    with refused(row=1, field="label"):
        named({"label": 2})


@pytest.mark.parametrize("features", [None, {"label": None}, {"label": {"_type": "ClassLabel", "names": [1]}}])
def test_metadata_that_name_no_labels_change_nothing(features: Any) -> None:
    assert named({"label": 1}, features) == {"label": 1}
    assert next(named_labels(iter([(1, {"label": 1})]), "no JSON", Path("x")))[1] == {"label": 1}
