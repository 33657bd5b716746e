"""The sample of answers from documents: each answer stands in the passage it names, and where it is null, none says it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from hallmark.answer.scoring import Scorer
from hallmark.params.edit import changed
from hallmark.params.loader import load_params
from hallmark.task.task import Task
from tests.workspace import ROOT

SAMPLE = ROOT / "template/choices/kinds/documents"
if not SAMPLE.is_dir():
    pytest.skip("this repo was stamped from the template and has none of its own", allow_module_level=True)
ABSTAIN = {"answer": None, "source": None}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLE / "raw/questions.jsonl").read_text(encoding="utf-8").splitlines()]


def passages(row: dict[str, Any]) -> dict[str, str]:
    """The passages by number."""
    found = dict(re.findall(r"^\[(\w+)\] (.+)$", row["passages"], re.MULTILINE))
    assert len(found) == len(row["passages"].splitlines())
    return found


def names_of(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The names of the organisations: those that their questions name."""
    sorts = "Library|Pool|Museum|Cycles|Furniture|Books|Nursery|Theatre|Gym|Clinic|Hostel|Foods"
    found: dict[str, set[str]] = {}
    for row in rows:
        (name,) = re.findall(rf"[a-z]+ (?:{sorts})\b", row["question"], re.IGNORECASE)
        found.setdefault(row["organisation"], set()).add(name.lower())
    assert all(len(given) == 1 for given in found.values())
    return {code: given.pop() for code, given in found.items()}


def test_an_answer_stands_in_the_newest_passage_of_its_organisation(rows: list[dict[str, Any]]) -> None:
    names = names_of(rows)
    assert len(set(names.values())) == len(names) >= 110
    for row in rows:
        found, name = passages(row), names[row["organisation"]]
        if "answerable" not in row["tags"]:
            assert row["answer"] == ABSTAIN
            continue
        text = found[row["answer"]["source"]]
        heading, _, said = text.partition(": ")
        assert f" {row['answer']['answer']}" in f" {said}"
        assert name in heading.lower()
        title = title_of(heading, name)
        same = [other.split(": ")[0] for other in found.values() if name in other.lower()]
        same = [heading for heading in same if title_of(heading, name) == title]
        years = sorted(int(year_of(heading)) for heading in same)
        assert len(years) == 1 + ("older_version" in row["tags"]) == len(set(years))
        assert int(year_of(heading)) == years[-1]


def year_of(heading: str) -> str:
    (year,) = re.findall(r"\b20\d\d\b", heading)
    return str(year)


def title_of(heading: str, name: str) -> str:
    """What is left of a heading without year, name and punctuation."""
    return re.sub(r"[\W\d]+", " ", heading.lower().replace(name, " ")).strip()


def test_what_is_lacking_is_in_no_passage_of_the_organisation_and_rivals_tempt(rows: list[dict[str, Any]]) -> None:
    names = names_of(rows)
    asked: dict[str, str] = {}  # a question without the organisation's name, and what it is about
    for row in rows:
        name = names[row["organisation"]]
        if "answerable" in row["tags"]:
            heading = passages(row)[row["answer"]["source"]].split(": ")[0]
            asked[bare(row, name)] = title_of(heading, name)
    known = 0
    for row in rows:
        name, found = names[row["organisation"]], passages(row)
        assert ("empty" in row["tags"]) == (not found)
        title = asked.get(bare(row, name))
        if "lacking" in row["tags"] and title:
            known += 1
            own = [heading for heading in (text.split(": ")[0] for text in found.values()) if name in heading.lower()]
            assert title not in [title_of(heading, name) for heading in own]
            rivals = [text.split(": ")[0].lower() for text in found.values() if name not in text.lower()]
            assert any(title in heading for heading in rivals) == ("misleading" in row["tags"])
    assert known > 150


def bare(row: dict[str, Any], name: str) -> str:
    """What is asked, without a greeting and the name."""
    text = row["question"].lower().rstrip("?").replace(name, "it")
    openers = ("hello, ", "hi, ", "quick question: ", "sorry to bother you, ", "one thing: ", "can you tell me, ")
    for opener in openers:
        text = text.removeprefix(opener)
    return text


def test_abstaining_is_the_tasks_refusal_and_every_answer_has_its_evidence(
    rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    text = changed(
        (ROOT / "params.yaml").read_text(encoding="utf-8"), (SAMPLE / "params.yaml").read_text(encoding="utf-8")
    )
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "data").symlink_to(SAMPLE)
    monkeypatch.chdir(tmp_path)
    params = load_params(tmp_path / "params.yaml")
    scorer = Scorer(Task(params.task))
    for row in rows:
        target = scorer.task.render(row["answer"])
        score = scorer.score(input=row["question"], context=row["passages"] or None, target=target, prediction=target)
        assert score.exact_match
        assert score.refusal_expected == (row["answer"] == ABSTAIN)
        assert score.retrieved == (True if "answerable" in row["tags"] else None)
