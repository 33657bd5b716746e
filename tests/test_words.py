"""Our own word lists: each says what it is for and where it is from, is in order, and is used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from stages.privacy.lexicon import any_of, word_list
from tests.workspace import ROOT

ROOM = ROOT / "stages/privacy"
FILES = sorted(file for file in (ROOM / "words").iterdir())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_list_has_a_head_and_is_sorted_without_duplicates(file: Path) -> None:
    assert file.suffix == ".txt"
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    head = [line for line in lines if line.startswith("#")]
    entries = lines[len(head) :]
    assert text.endswith("\n")
    assert lines[: len(head)] == head
    assert len(head) >= 2
    assert all(line.startswith("# ") for line in head)
    assert "Source: " in head[-1]
    assert "Licence: Apache-2.0" in head[-1]
    assert entries == sorted(set(entries))
    assert all(entry and entry == entry.strip().lower() for entry in entries)
    assert word_list(f"words/{file.name}") == set(entries)


def test_every_list_is_used() -> None:
    named = {
        node.value
        for module in ROOM.glob("*.py")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and str(node.value).startswith("words/")
    }
    assert named == {f"words/{file.name}" for file in FILES}


def test_a_blank_line_is_no_entry(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("# head\n\nb \n \na\n", encoding="utf-8")
    assert word_list(str(tmp_path / "few.txt")) == {"a", "b"}  # an absolute path stays one


def test_an_expression_of_a_list_takes_the_longest_and_nothing_literally() -> None:
    assert any_of({"a", "a.b", "ab"}) == r"a\.b|ab|a"
