"""What `python -m hallmark.commands.propose` says about a file, before it tries anything, and what it writes."""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from hallmark.base.errors import HallmarkError
from hallmark.commands import propose
from hallmark.commands.columns import Column
from hallmark.commands.evidence import separator
from hallmark.commands.infer import infer, schema_of
from hallmark.commands.proposal import Proposal
from hallmark.commands.roles import IDENTITY, Known
from hallmark.mask.kinds import KINDS
from hallmark.params.checked import changed
from hallmark.params.edit import replaced
from hallmark.params.loader import load_params
from hallmark.task.kinds import KINDS as TASK_KINDS
from tests import tool_exports
from tests.workspace import ROOT, change_params, make_workspace, stage

RULES: dict[str, Any] = {"mask.ner": {"engine": "none", "model": None}, "mask.workers": 1}
REFUSAL = '{"intent":"refuse"}'


@cache
def rules() -> Path:
    """The reference's params without NER, which takes seconds to load."""
    folder = Path(tempfile.mkdtemp())
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    change_params(folder, RULES)
    return folder / "params.yaml"


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def proposed(file: Path, **known: Any) -> Proposal:
    return propose.proposed(file, rules(), Known(**known))


def order(number: int) -> dict[str, Any]:
    """A usual target."""
    return {"shop": f"Shop {number}", "total": number, "day": "2024-01-02"}


def labelled(count: int = 40, **changes: Any) -> list[dict[str, Any]]:
    return [{"id": f"r{n}", "text": f"this is text {n}", "label": "ab"[n % 2]} | changes for n in range(count)]


@given(
    st.integers(0, 12),
    st.integers(0, 3),
    st.integers(20, 900),
    st.sampled_from([{"kind": "no"}, "Not possible.", "[]"]),
)
@example(0, 1, 253, "")
@example(5, 0, 495, {"kind": "no"})
@example(5, 0, 496, {"kind": "no"})
@example(4, 0, 20, {"kind": "no"})
def test_a_refusal_is_asked_about_and_never_assumed(equal: int, odd: int, usual: int, refusal: Any) -> None:
    """Objects unlike the others stay answers until the user says which of them refuses."""
    answers = [order(n) for n in range(usual)]
    values = [refusal] * equal + [{"other": n} for n in range(odd)] + answers
    found = infer(Column("target", values))
    asked = [doubt for doubt in found.doubts if "--refusal" in doubt]
    assert (found.kind, found.refusal) == ("extraction", None)
    assert len(asked) == (equal >= max(5, 0.01 * len(values)))
    assert bool(found.doubts) == bool(equal + odd)
    if equal:
        text = refusal if isinstance(refusal, str) else json.dumps(refusal)
        said = infer(Column("target", values), refusal=text)
        assert said.refusal == text
        assert "--refusal" not in str(said.doubts)
        assert said.schema == infer(Column("target", values[equal:])).schema
        assert all(jsonschema_rs.is_valid(said.schema, value) for value in values[equal:])


@pytest.mark.parametrize(
    ("known", "field", "remedy"),
    [
        ({"targets": ("categori",)}, "categori", "--target: category"),
        ({"inputs": ("{categori}",)}, "categori", "--input: category"),
        ({"group": "categori"}, "categori", "--group: category"),
        ({"refusal": "no"}, None, "as it is in the file"),
    ],
)
def test_what_the_user_says_must_be_there(
    tmp_path: Path, known: dict[str, Any], field: str | None, remedy: str
) -> None:
    file = tool_exports.helpdesk(tmp_path)
    with pytest.raises(HallmarkError) as raised:
        proposed(file, **known)
    assert (raised.value.file, raised.value.field) == (file, field)
    assert remedy in raised.value.remedy


def test_what_the_user_knows_goes_first(tmp_path: Path) -> None:
    file = tool_exports.helpdesk(tmp_path)
    found = proposed(file, inputs=("description",), targets=("team",), group="requester_email")
    data = found.edits["data"]
    assert [data[key] for key in ("input", "target", "group")] == ["description", "team", "requester_email"]
    assert found.reasons["data", "target"] == "as you said"
    assert found.roles.identity["requester_email"] == "EMAIL_ADDRESS"
    two = proposed(file, inputs=("subject", "description"), targets=("category", "team"))
    assert two.edits["data"]["input"] == "{subject}\n{description}"
    assert two.edits["data"]["target"] == ["category", "team"]
    assert (two.kind, set(two.task.schema["properties"])) == ("extraction", {"category", "team"})
    template = proposed(file, inputs=("{subject} - {description}",))
    assert template.edits["data"]["input"] == "{subject} - {description}"
    labels = proposed(write(tmp_path, labelled()), refusal="b").task
    assert (labels.kind, labels.schema, labels.refusal) == ("classification", {"enum": ["a"]}, "b")


def test_the_runners_up_are_shown_with_reasons_and_scores(tmp_path: Path) -> None:
    proposal = proposed(tool_exports.helpdesk(tmp_path))
    assert [proposal.edits["data"][key] for key in ("tags", "tag_separator")] == ["tags", " "]
    shown = propose.text(proposal)
    assert re.search(r"^# target, next: team: 3 values, 20.0 rows each, where it goes \(score \d", shown, re.MULTILINE)
    assert "satisfaction" not in shown.split("# not used:")[0]


def test_the_id_is_named_like_one_and_the_group_is_the_coarser_entity(tmp_path: Path) -> None:
    """Each row has its own amount too, and a thread holds all rows of its two sessions, also where these come first."""
    rows = [{"amount": 100 + n, "ticket_id": 5000 + n, "session_id": f"s{n // 4}", "thread": f"t{n // 8}"}
            | {"text": f"this is text {n}", "label": "ab"[n % 2]} for n in range(240)]  # fmt: skip
    roles = proposed(write(tmp_path, rows)).roles
    assert (roles.id, roles.group) == ("ticket_id", "thread")
    assert "holds all rows of each session_id" in roles.why["group"]


def test_what_separates_tags() -> None:
    lists = {",": ["a, b", "b"], ";": ["a;b", "b"], "|": ["a|b", "a"], " ": ["a b", "b", "a"]}
    assert {sign: separator(Column("tags", values * 5)) for sign, values in lists.items()} == {
        sign: sign for sign in lists
    }
    assert separator(Column("tags", ["New York", "Rome"] * 5)) == ","


def test_an_official_split_is_proposed_if_no_group_crosses_it(tmp_path: Path) -> None:
    rows = [row | {"customer": f"c{n % 50}"} for n, row in enumerate(labelled(300))]
    rows = [row | {"part": "test" if int(row["customer"][1:]) < 10 else "train"} for row in rows]
    assert proposed(write(tmp_path, rows)).edits["data"]["split"] == "part"
    rows[0]["part"] = "train"
    proposal = proposed(write(tmp_path, rows))
    assert proposal.edits["data"]["split"] is None
    assert "1 groups have rows in several" in propose.text(proposal)


def test_identity_columns_by_values_and_names_have_kinds_that_the_masker_knows(tmp_path: Path) -> None:
    assert set(IDENTITY) <= set(KINDS)
    rows = [row | {"ref": f"u{n}@mail{n}.de", "dob": f"3 May 19{n + 50}"} for n, row in enumerate(labelled())]
    identity = {"ref": "EMAIL_ADDRESS", "dob": "DATE_OF_BIRTH"}
    assert proposed(write(tmp_path, rows)).edits["mask"]["identity_columns"] == identity
    named = [{"letter": f"dear madam {n}, it is I", "customer_name": f"Ann {n % 9}"} for n in range(45)]
    assert proposed(write(tmp_path, named), targets=("customer_name",)).roles.identity == {}, "it is the target"


@given(st.lists(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
), min_size=1, max_size=6))  # fmt: skip
@example(["a"] * 20 + ["b"] * 20 + [None])
@example(["2024-01-02", None])
@example([1, 2.5, True])
def test_every_value_keeps_to_the_schema_made_of_it(values: list[Any]) -> None:
    assert all(jsonschema_rs.is_valid(schema_of(values), value) for value in values)


def test_a_schema_says_what_the_values_have_in_common() -> None:
    assert schema_of([1, 2]) == {"type": "integer"}
    assert schema_of(["a"] * 20 + ["b"] * 20 + [None]) == {"enum": ["a", "b", None]}
    assert schema_of(["me@home.de"] * 40) == {"type": "string"}, "private values are no enum"
    assert schema_of(["2024-01-02", None]) == {"type": ["string", "null"], "format": "date"}
    assert schema_of([{"a": 1}, {"a": 1, "b": None}]) == {
        "type": "object", "additionalProperties": False, "required": ["a"],
        "properties": {"a": {"type": "integer"}, "b": {"type": "null"}},
    }  # fmt: skip


def test_the_prompt_says_null_only_where_the_schema_takes_it() -> None:
    def hint(values: list[Any]) -> str:
        return TASK_KINDS["extraction"].prompt_hint("target", schema_of(values))

    assert hint([{"a": 1, "b": 2}, {"a": None, "b": 2}]) == "Text to JSON: a, b; null for a if the text does not say."
    assert hint([{"a": 1}, {"a": 1, "b": 2}]) == "Text to JSON: a, b; leave out b if the text does not say."
    assert hint([["x"], ["y"]]) == "Name the target of the text, as JSON."


def test_calls_have_the_parameters_of_their_tools_unless_they_break_them(tmp_path: Path) -> None:
    file = tool_exports.openai_tools(tmp_path)
    task = proposed(file, refusal=tool_exports.CANNOT).task
    options = [option["properties"] for option in task.schema["items"]["oneOf"]]
    assert {option["name"]["const"]: option["arguments"] for option in options} == {
        tool["function"]["name"]: tool["function"]["parameters"] for tool in tool_exports.TOOLS
    }
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows[1]["messages"][1]["tool_calls"][0]["function"]["arguments"] = '{"order": "none"}'
    rows[0]["messages"][1]["content"] = "Something else."
    task = proposed(write(tmp_path, rows), refusal=tool_exports.CANNOT).task
    assert task.schema["items"]["oneOf"][0]["properties"]["arguments"] == {"type": "object"}
    assert "calls of find_order break" in task.doubts[0]
    assert task.doubts[1].startswith("1 of 51 targets are unlike the others")
    for row in rows:
        row["tools"] = None
    doubts = proposed(write(tmp_path, rows), refusal=tool_exports.CANNOT).task.doubts
    assert "no column has the tools" in doubts[-1]


@pytest.mark.parametrize(
    "text", ["", "[1]\n", "{}\n", '{"a": null}\n', '{"messages": [{"role": "user", "content": "x"}]}\n']
)
def test_what_cannot_be_read_ends_in_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(HallmarkError) as raised:
        proposed(tmp_path / "rows.jsonl")
    assert raised.value.file == tmp_path / "rows.jsonl"
    assert raised.value.remedy


def test_a_dataset_in_parts_says_which_to_name(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    part = Dataset.from_list([{"text": "a", "label": "b"}])
    DatasetDict({"train": part, "test": part}).save_to_disk(str(tmp_path / "all"))
    with pytest.raises(HallmarkError) as raised:
        propose.read(tmp_path / "all")
    assert str(tmp_path / "all/train") in raised.value.remedy
    assert len(propose.read(tmp_path / "all/train")) == 1


def test_the_reference_data() -> None:
    file = ROOT / "data/raw/tickets.jsonl"
    asked = proposed(file)
    assert asked.task.refusal is None
    assert f"add --refusal '{REFUSAL}'" in asked.warnings[0]
    found = proposed(file, refusal=REFUSAL)
    assert found.edits["data"] | {"path": ""} == {
        "path": "", "id": "id", "group": "customer", "input": "{subject}\n{body}", "target": "target", "context": None,
        "tools": None, "rejected": None, "tags": "tags", "tag_separator": ",", "split": None,
    }  # fmt: skip
    assert (found.kind, found.task.refusal) == ("extraction", REFUSAL)
    assert found.roles.identity == load_params(ROOT / "params.yaml").mask.identity_columns
    schema = json.loads((ROOT / "data/schema.json").read_text(encoding="utf-8"))
    assert set(found.task.schema["required"]) == set(schema["required"])
    own = found.task.schema["properties"]
    assert set(own["intent"]["enum"]) == set(schema["properties"]["intent"]["enum"])
    assert (own["date"]["format"], own["product"]["type"]) == ("date", ["string", "null"])


@pytest.mark.skipif(not (ROOT / "template").is_dir(), reason="the other kinds' samples are in the template")
@pytest.mark.parametrize("kind", ["classification", "tool_call", "text"])
def test_the_samples_of_the_other_kinds(kind: str) -> None:
    folder = ROOT / "template/choices/kinds" / kind
    (file,) = (folder / "raw").glob("*.jsonl")
    found = proposed(file)
    lines = (folder / "params.yaml").read_text(encoding="utf-8").splitlines()
    truth = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    assert (found.kind, found.roles.target) == (truth["task.kind"], truth["data.target"])
    assert (found.roles.group, found.roles.tags) == (truth.get("data.group", "customer"), "tags")
    assert truth["data.input"] in found.roles.input
    assert found.roles.identity == YAML(typ="safe").load(truth["mask.identity_columns"])


# Of a key that starts with a question mark, `replaced` says that it is to be written by hand.
PRINTED = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(lambda text: not text.startswith("?"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | PRINTED,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PRINTED, inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
@example("a  # b")
@example("\x85\u2028")
@example("${seed}")
def test_any_value_is_written_on_one_line_and_read_back(value: Any) -> None:
    params = "a:\n  b: 1  # of b\n  c:  # of c\n  - 2\nd: 3\n"
    line = f" {propose.on_a_line(value)}"
    for name, rest in (("b", {"c": [2]}), ("c", {"b": 1})):
        after = replaced(params, {f"a.{name}": [line]})
        assert YAML(typ="safe").load(after) == {"a": {name: value} | rest, "d": 3}


def test_it_writes_only_what_it_proposes_and_the_facts_of_the_sample_go(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write(workspace / "data", labelled())
    file = workspace / "params.yaml"
    before = changed((ROOT / "params.yaml").read_text(encoding="utf-8"), "task.kind: text\neval.facts: {order: A-1}")
    file.write_text(before, encoding="utf-8")
    stage(workspace, "hallmark.commands.propose", "data/rows.jsonl")
    assert file.read_text(encoding="utf-8") == before
    said = stage(workspace, "hallmark.commands.propose", "data/rows.jsonl", "--write").stdout
    assert "task.kind changes from text to classification" in said
    assert "certify.intended_use, certify.limits, certify.languages\nthen `nox -s repro`" in said
    after = file.read_text(encoding="utf-8")
    new = {match[1] for line in after.splitlines() if line not in before and (match := re.match(r" *(\w+):", line))}
    shown = {match[1] for line in said.splitlines() if (match := re.match(r"  (\w+): ", line))}
    assert new <= shown | {"requests_per_second"}, "of gate.serving"
    params = load_params(file)
    assert (params.task.kind, params.eval.facts) == ("classification", {})


@pytest.mark.parametrize(
    ("labels", "kinds"),
    [
        (["Thandiwe Mokoena", "Aisha Khan", "Lotte Brandvold", "John Smith"], "PERSON"),
        (["Aisha", "Lotte", "Team A", "Nobody"], "PERSON"),  # few, but the column is named for who works on it
        (["ann@acme-tools.io", "bob@acme-tools.io"], "EMAIL_ADDRESS"),
        (["billing", "hardware", "access", "other"], None),
    ],
)
def test_labels_that_look_like_people_are_written_only_if_somebody_says_so(
    tmp_path: Path, labels: list[str], kinds: str | None
) -> None:
    rows = [{"id": f"r{n}", "text": f"this is text {n}", "assignee": labels[n % len(labels)]} for n in range(40)]
    params, known = tmp_path / "params.yaml", Known(targets=("assignee",))
    params.write_text(before := rules().read_text(encoding="utf-8"), encoding="utf-8")
    file = write(tmp_path, rows)
    found = propose.proposed(file, params, known)
    assert found.private == ([kinds] if kinds else [])
    assert any("--yes" in warning for warning in found.warnings) == bool(kinds)
    with chdir(make_workspace(tmp_path / "repo")):
        if kinds:
            with pytest.raises(HallmarkError) as raised:
                propose.run(file, params, write=True, known=known)
            assert (raised.value.file, raised.value.field) == (file, "assignee")
            assert "--yes" in raised.value.remedy
            assert not any(label in str(raised.value) for label in labels)
            assert (params.read_text(), labels[0] in Path("data/schema.json").read_text()) == (before, False)
        propose.run(file, params, write=True, known=known, yes=True)
        assert labels[0] in Path("data/schema.json").read_text()


def test_a_long_schema_is_cut_and_types_of_python_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offered = [
        {"name": f"do_{n}", "parameters": {"type": "dict", "properties": {"x": {"type": "float"}}}} for n in range(80)
    ]
    rows = [
        {"request": f"please do {n} for me", "answer": [{"name": f"do_{n % 80}", "arguments": {"x": 1.5}}],
         "offered": [offered[n % 80]], "user": f"u{n % 30}"}
        for n in range(90)
    ]  # fmt: skip
    propose.run(write(tmp_path, rows), rules(), write=False)
    said = capsys.readouterr().out.splitlines()
    assert any(line.endswith("JSON Schema names them: 90 dict (object), 90 float (number)") for line in said)
    assert any(line.startswith("... and ") and line.endswith("more lines, which --write writes") for line in said)
    assert len(said) < propose.MOST_LINES + 80
