"""Words: our own word lists have a head, are sorted and used; and code, params and docs are in plain English."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hallmark.mask.lexicon import any_of, word_list
from tests.workspace import ROOT

ROOM = ROOT / "hallmark/mask"
FILES = sorted(file for file in (ROOM / "words").iterdir())

# Not idiomatic, and what to write instead.
PLAIN = {
    "mend(?:ed)?": "fix, fixed",
    "anew": "again",
    "beside": "next to, alongside, compared with",
    "so many": "the number of, as many as",
    "in its place": "instead",
    "worse answers?": "rejected answers",
    "dearer|gravest": "more expensive, most serious",
    "logs? of others": "other systems' logs",
    "in no time": "instantly",
}
PHRASES = "|".join(phrase.replace(" ", r"(?:\s|#)+") for phrase in PLAIN)  # across lines and comment signs, too
ODD = re.compile(rf"\b(?:{PHRASES})\b", re.IGNORECASE)
DATA = {"data/clauses.py"}  # sentences of made-up customers
PROSE = sorted(
    file
    for pattern in (
        "stages/**/*.py", "hallmark/**/*.py", "hallmark/**/*.jinja", "hallmark/**/*.js", "hallmark/**/*.css", "hallmark/mask/words/*.txt", "README.md",
        "docs/*.md", "docs/*.yaml", "data/*.md", "data/*.py", "params.yaml", "dvc.yaml", "pyproject.toml", "noxfile.py",
        "template/**/*.py", "template/**/*.md", "template/**/*.yaml", "template/**/*.yml", "template/cookiecutter.json",
    )
    for file in ROOT.glob(pattern)
    if file.is_file() and not file.is_symlink() and file.relative_to(ROOT).as_posix() not in DATA
)  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_list_has_a_head_and_is_sorted_without_duplicates(file: Path) -> None:
    assert file.suffix == ".txt"
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    head = [line for line in lines if line.startswith("#")]
    entries = lines[len(head) :]
    assert len(head) >= 2 and lines[: len(head)] == head
    assert "Source: " in head[-1] and "Licence: Apache-2.0" in head[-1]
    assert entries == sorted(set(entries))
    assert all(entry and entry == entry.strip().lower() for entry in entries)
    assert word_list(f"words/{file.name}") == set(entries)


def test_a_blank_line_is_no_entry(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("# head\n\nb \n \na\n", encoding="utf-8")
    assert word_list(str(tmp_path / "few.txt")) == {"a", "b"}  # an absolute path stays one


def test_an_expression_of_a_list_takes_the_longest_and_nothing_literally() -> None:
    assert re.findall(any_of({"a", "a.b", "ab"}), "a.b axb abc") == ["a.b", "a", "ab"]


def test_it_is_in_plain_english() -> None:
    odd = [
        f"{file.relative_to(ROOT)}, line {text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for file in PROSE
        for text in [file.read_text(encoding="utf-8")]
        for match in ODD.finditer(text)
    ]
    assert not odd, f"write instead: {PLAIN}"
