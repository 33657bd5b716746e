"""The gate's recount: it sees each way in which a split can be wrong, and shares no code with the split."""

from __future__ import annotations

import ast
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.judge.recount import Frozen, Leaks, Plain, Record, count_leaks, recount
from tests.made_up import made_up_records, write_split
from tests.rows import record
from tests.workspace import ROOT


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_split(tmp_path)
    return tmp_path


def test_the_files_as_split_left_them_have_nothing_wrong() -> None:
    assert recount() == (Leaks(18, 0, 0, 0), Frozen(7, 0, 0, 0, 3))


def test_what_training_shares_with_the_held_out_is_counted(folder: Path) -> None:
    """In the files; which pairs count is below."""
    parts = made_up_records()
    parts["train"].append(parts["holdout"][0] | {"id": "copy"})  # four records of its group are held out, one online
    text = parts["holdout"][3]["prompt"][1]["content"].upper().replace(" ", "\u00a0\n").replace("?", " \u2014 (!)")
    parts["validation"].append(record("other", f"\u201c{text}\u200b\u201d", group="another"))
    write_split(folder, parts)
    assert recount()[0] == Leaks(19, 4, 2, 4)


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda held: held[2]["completion"][0].update(content="early"), (1, 0, 0)),
        (lambda held: held.pop(2), (0, 1, 0)),
        (lambda held: held.append(record("new", "What is new?", group="another")), (0, 0, 1)),
        (lambda held: held.append(held[2]), (0, 0, 1)),
    ],
    ids=["answered", "removed", "added", "doubled"],
)
def test_a_holdout_that_is_not_the_frozen_one_is_seen(
    folder: Path, change: Callable[[list[dict[str, Any]]], object], counts: tuple[int, int, int]
) -> None:
    parts = made_up_records()
    change(parts["holdout"])
    write_split(folder, parts)
    found = recount()[1]
    assert (found.changed, found.gone, found.added) == counts
    assert found.differ == sum(counts)


TEXTS = st.sampled_from(["a", "A", "a b", "A, b!", "a  B", "b a", "?", "!", "ab", "\uff21", "a-b", "a_b", "$a", ""])
ROWS = st.lists(st.tuples(st.sampled_from("pqrs"), TEXTS), max_size=6)


def words_by_hand(text: str) -> list[str]:
    kept = "".join(c if unicodedata.category(c)[0] in "LNS" else " " for c in unicodedata.normalize("NFKC", text))
    return kept.lower().split() or [text]


@given(ROWS, ROWS, ROWS, ROWS, ROWS)
def test_the_count_is_that_of_all_pairs(
    train: list[tuple[str, str]],
    validation: list[tuple[str, str]],
    calibration: list[tuple[str, str]],
    holdout: list[tuple[str, str]],
    online: list[tuple[str, str]],
) -> None:
    plain, rows = Plain(), (train, validation, calibration, holdout, online)
    parts = [[Record("", group, plain.words(text), "") for group, text in part] for part in rows]
    group, words, either = 0, 0, 0
    for held, known, same in (
        (validation, train, []),
        (calibration, train + validation, []),
        (holdout, train + validation + calibration, []),
        (online, train + validation + calibration, holdout),  # of the same customers
    ):
        for mine, text in held:
            kin = any(mine == other for other, _ in known)
            copy = any(words_by_hand(text) == words_by_hand(other) for _, other in known + same)
            group, words, either = group + kin, words + copy, either + (kin or copy)
    assert count_leaks(*parts) == Leaks(sum(map(len, rows[1:])), group, words, either)


def test_nothing_is_shared_with_what_is_counted_again() -> None:
    tree = ast.parse((ROOT / "hallmark/judge/recount.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert {name for name in imported if name.startswith("hallmark")} == {
        "hallmark.base.files",
        "hallmark.base.reading",  # refuses what is no file
        "hallmark.base.holdout",  # reads the lock, for `split` too: what it refuses, nobody counts
    }
