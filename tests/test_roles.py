"""The roles that `python -m hallmark.commands.propose` gives to columns: what the user knows, evidence, runners-up, warnings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.commands import propose
from hallmark.commands.column_evidence import separator
from hallmark.commands.column_roles import Known, guess
from hallmark.commands.infer import schema_of
from hallmark.commands.profile import Column, columns_in
from hallmark.task.kinds import KINDS as TASK_KINDS
from tests import tool_exports
from tests.test_propose import rules, write


def test_what_the_user_knows_goes_first(tmp_path: Path) -> None:
    file = tool_exports.helpdesk(tmp_path)
    known = Known(("description",), ("team",), "requester_email")
    proposal = propose.proposed(file, rules(), known)
    data = proposal.edits["data"]
    assert [data[key] for key in ("input", "target", "group")] == ["description", "team", "requester_email"]
    assert proposal.reasons["data", "target"] == "as you said"
    assert proposal.roles.identity["requester_email"] == "EMAIL_ADDRESS"
    two = propose.proposed(file, rules(), Known(("subject", "description"), ("category", "team")))
    assert two.edits["data"]["input"] == "{subject}\n{description}"
    assert two.edits["data"]["target"] == ["category", "team"]
    assert (two.kind, set(two.task.schema["properties"])) == ("extraction", {"category", "team"})
    template = propose.proposed(file, rules(), Known(("{subject} - {description}",)))
    assert template.edits["data"]["input"] == "{subject} - {description}"


@pytest.mark.parametrize("known", [Known(targets=("categori",)), Known(("{categori}",)), Known(group="categori")])
def test_a_column_that_is_not_there_is_an_error_with_near_matches(tmp_path: Path, known: Known) -> None:
    with pytest.raises(HallmarkError, match=r"field 'categori': no such column\n.*: category"):
        propose.proposed(tool_exports.helpdesk(tmp_path), rules(), known)


def test_the_runners_up_are_shown_with_reasons_and_scores(tmp_path: Path) -> None:
    proposal = propose.proposed(tool_exports.helpdesk(tmp_path), rules())
    assert [proposal.edits["data"][key] for key in ("tags", "tag_separator")] == ["tags", " "]
    shown = propose.text(proposal)
    assert re.search(r"^# target, next: team: 3 values, 20.0 rows each, where it goes \(score \d", shown, re.MULTILINE)
    assert "satisfaction" not in shown.split("# not used:")[0]


def test_a_proposed_target_is_no_identity_column(tmp_path: Path) -> None:
    rows = [{"id": n, "letter": f"dear madam {n}, it is I", "customer_name": f"Ann {n % 9}"} for n in range(45)]
    file = write(tmp_path, rows)
    assert guess(columns_in(rows)).identity == {"customer_name": "PERSON"}
    assert propose.proposed(file, rules(), Known(targets=("customer_name",))).roles.identity == {}


@pytest.mark.parametrize(
    ("values", "sign"),
    [
        (["a, b", "b"], ","),
        (["a;b", "b"], ";"),
        (["a|b", "a"], "|"),
        (["a b", "b", "a"], " "),
        (["New York", "Rome"], ","),
    ],
)
def test_what_separates_tags(values: list[str], sign: str) -> None:
    assert separator(Column("tags", values * 5)) == sign


def test_the_parameters_of_tools_are_copied(tmp_path: Path) -> None:
    task = propose.proposed(tool_exports.openai_tools(tmp_path), rules(), Known(refusal=tool_exports.CANNOT)).task
    assert task.refusal == tool_exports.CANNOT
    arguments = {
        option["properties"]["name"]["const"]: option["properties"]["arguments"]
        for option in task.schema["items"]["oneOf"]
    }
    assert arguments == {tool["function"]["name"]: tool["function"]["parameters"] for tool in tool_exports.TOOLS}


def test_calls_that_break_their_parameters_and_other_texts_are_told(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in tool_exports.openai_tools(tmp_path).read_text(encoding="utf-8").splitlines()]
    rows[1]["messages"][1]["tool_calls"][0]["function"]["arguments"] = '{"order": "none"}'
    rows[0]["messages"][1]["content"] = "Something else."
    task = propose.proposed(write(tmp_path, rows), rules(), Known(refusal=tool_exports.CANNOT)).task
    assert task.schema["items"]["oneOf"][0]["properties"]["arguments"] == {"type": "object"}
    assert "calls of find_order break" in task.doubts[0]
    assert task.doubts[1].startswith("1 of 51 targets are unlike the others")
    asked = propose.proposed(write(tmp_path, rows), rules()).task
    assert (asked.refusal, asked.schema) == (None, task.schema)
    assert asked.doubts[1].startswith("9 of 60 targets are the same and unlike the others")


def test_of_many_functions_that_are_called_wrongly_some_are_named(tmp_path: Path) -> None:
    parameters = {"type": "object", "properties": {"x": {"type": "integer"}}}
    rows = [
        {"text": f"text number {n}", "calls": [{"name": f"f{n:02}", "arguments": {"x": "no"}}],
         "tools": [{"name": f"f{n:02}", "parameters": parameters}]}
        for n in range(40)
    ]  # fmt: skip
    (doubt,) = propose.proposed(write(tmp_path, rows), rules()).task.doubts
    assert doubt.startswith(
        "calls of f00, f01, f02, f03, f04, f05, f06, f07, f08, f09 and 30 more break the parameters"
    )


def test_the_prompt_says_null_only_where_the_schema_takes_it() -> None:
    def hint(values: list[Any]) -> str:
        return TASK_KINDS["extraction"].prompt_hint("target", schema_of(values))

    assert hint([{"a": 1, "b": 2}]) == "Text to JSON: a, b."
    assert hint([{"a": 1, "b": 2}, {"a": None, "b": 2}]) == "Text to JSON: a, b; null for a if the text does not say."
    assert hint([{"a": None}]) == "Text to JSON: a; null if the text does not say."
    assert hint([{"a": 1}, {"a": 1, "b": 2}]) == "Text to JSON: a, b; leave out b if the text does not say."
    assert hint([["x"], ["y"]]) == "Name the target of the text, as JSON."


def many(groups: list[str]) -> list[dict[str, Any]]:
    return [
        {"id": n, "text": f"this is text {n}", "label": "ab"[n % 2], "customer": group}
        for n, group in enumerate(groups)
    ]


def test_a_change_of_kind_is_shown(tmp_path: Path) -> None:
    warned = propose.proposed(tool_exports.alpaca(tmp_path), rules()).warnings
    assert warned[0].startswith("task.kind changes from extraction to text (targets are free text)")
    assert not [
        line for line in propose.proposed(tool_exports.json_in_csv(tmp_path), rules()).warnings if "changes" in line
    ]


def test_an_official_split_is_proposed_if_no_group_crosses_it(tmp_path: Path) -> None:
    rows = [
        row | {"part": "test" if int(row["customer"][1:]) < 10 else "train"}
        for row in many([f"c{n % 50}" for n in range(300)])
    ]
    assert propose.proposed(write(tmp_path, rows), rules()).edits["data"]["split"] == "part"
    rows[0]["part"] = "train"
    proposal = propose.proposed(write(tmp_path, rows), rules())
    assert proposal.edits["data"]["split"] is None
    assert "1 groups have rows in several" in propose.text(proposal)
