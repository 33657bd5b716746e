"""What `python -m hallmark.commands.propose` says about a file: right on real data, and with the warnings that matter."""

from __future__ import annotations

import json
import re
import tempfile
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from hallmark.base.errors import HallmarkError
from hallmark.commands import propose
from hallmark.commands.column_roles import IDENTITY, Known
from hallmark.commands.infer import infer, schema_of
from hallmark.commands.profile import Column
from hallmark.mask.kinds import KINDS
from hallmark.mask.params import Mask
from hallmark.params.edit import replaced
from hallmark.params.loader import load_params
from tests.workspace import ROOT, change_params, make_workspace, stage

REAL = ROOT.parent / "shared/realdata"
PARAMS = ROOT / "params.yaml"
RULES = {"mask.ner": {"engine": "none", "model": None}}


@cache
def rules() -> Path:
    """The reference's params without NER, which takes seconds to load."""
    folder = Path(tempfile.mkdtemp())
    (folder / "params.yaml").write_text(PARAMS.read_text(encoding="utf-8"), encoding="utf-8")
    change_params(folder, RULES)
    return folder / "params.yaml"


def proposed(file: Path, known: Known | None = None) -> dict[str, Any]:
    """The proposal's blocks, and `warnings`, `schema`."""
    proposal = propose.proposed(file, rules(), known)
    propose.try_out(proposal, rules())
    return proposal.edits | {"warnings": "\n".join(proposal.warnings), "schema": proposal.task.schema}


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def order(number: int) -> dict[str, Any]:
    """A usual target."""
    return {"shop": f"Shop {number}", "total": number, "day": "2024-01-02"}


def test_one_odd_record_is_no_refusal(tmp_path: Path) -> None:
    rows = [
        {"id": f"r{n}", "text": f"Shop {n}, {n} in all on 2024-01-02 {'lamp ' * (n % 9)}", "target": order(n)}
        for n in range(254)
    ]
    rows[17]["target"] = {"total": 17}
    found = proposed(write(tmp_path, rows))
    assert found["task"]["refusal"] is None
    assert "must not" not in found["task"]["system_prompt"]
    assert "1 of 254 targets are unlike the others, and too few" in found["warnings"]
    assert "--refusal" not in found["warnings"]


@given(
    st.integers(0, 12),
    st.integers(0, 3),
    st.integers(20, 900),
    st.sampled_from([{"kind": "no"}, "Not possible.", "[]"]),
)
@example(5, 0, 495, {"kind": "no"})
@example(5, 0, 496, {"kind": "no"})
@example(4, 0, 20, {"kind": "no"})
def test_a_refusal_is_asked_about_and_never_assumed(equal: int, odd: int, usual: int, refusal: Any) -> None:
    """Objects unlike the others stay answers until the user says which of them refuses."""
    import jsonschema_rs

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


def test_a_refusal_that_no_target_is_ends_in_an_error(tmp_path: Path) -> None:
    rows = [{"id": n, "text": f"text {n}", "label": "ab"[n % 2]} for n in range(40)]
    with pytest.raises(HallmarkError, match="no target is the text of --refusal"):
        propose.proposed(write(tmp_path, rows), rules(), Known(refusal="c"))
    found = propose.proposed(write(tmp_path, rows), rules(), Known(refusal="b")).task
    assert (found.kind, found.schema, found.refusal) == ("classification", {"enum": ["a"]}, "b")


def test_the_reference_data() -> None:
    file, refusal = ROOT / "data/raw/tickets.jsonl", '{"intent":"refuse"}'
    asked = propose.proposed(file, rules())
    assert asked.task.refusal is None
    assert (
        f"are the same and unlike the others. Do they refuse what must not or can't be done? Then add --refusal '{refusal}'"
        in asked.warnings[0]
    )
    found = proposed(file, Known(refusal=refusal))
    assert found["data"] | {"path": ""} == {
        "path": "", "id": "id", "group": "customer", "input": "{subject}\n{body}", "target": "target", "context": None,
        "tools": None, "rejected": None, "tags": "tags", "tag_separator": ",", "split": None, "missing": "error",
    }  # fmt: skip
    assert (found["task"]["kind"], found["task"]["refusal"]) == ("extraction", refusal)
    truth = load_params(PARAMS)
    assert found["mask"]["identity_columns"] == truth.mask.identity_columns
    schema = json.loads((ROOT / "data/schema.json").read_text(encoding="utf-8"))
    assert set(found["schema"]["required"]) == set(schema["required"])
    assert set(found["schema"]["properties"]["intent"]["enum"]) == set(schema["properties"]["intent"]["enum"])
    assert found["schema"]["properties"]["date"]["format"] == "date"
    assert found["schema"]["properties"]["product"]["type"] == ["string", "null"]
    assert "private data" in found["warnings"]
    assert "a different answer" in found["warnings"]


@pytest.mark.skipif(not REAL.exists(), reason="the real data is not there")
def test_multidogo() -> None:
    found = proposed(REAL / "multidogo_software.jsonl")
    data = found["data"]
    assert [data[key] for key in ("id", "group", "input", "target")] == ["id", "conversation", "text", "intent"]
    assert found["task"]["kind"] == "classification"
    assert len(found["schema"]["enum"]) == 17
    assert found["mask"]["identity_columns"] == {}
    for words in ("but a different answer", "repeat a text", "can hardly be learned", "private data"):
        assert words in found["warnings"]


@pytest.mark.skipif(not (ROOT / "template").is_dir(), reason="the other kinds' samples are in the template")
@pytest.mark.parametrize("kind", ["classification", "tool_call", "text"])
def test_the_samples_of_the_other_kinds(kind: str) -> None:
    folder = ROOT / "template/choices/kinds" / kind
    (file,) = (folder / "raw").glob("*.jsonl")
    found = proposed(file)
    truth = {}
    for line in (folder / "params.yaml").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(": ")
        truth[name] = value
    assert found["task"]["kind"] == truth["task.kind"]
    assert found["data"]["group"] == truth.get("data.group", "customer")
    assert found["data"]["target"] == truth["data.target"]
    assert truth["data.input"] in found["data"]["input"]
    assert found["mask"]["identity_columns"] == YAML(typ="safe").load(truth["mask.identity_columns"])
    assert found["data"]["tags"] == "tags"


def test_every_line_that_is_not_proposed_stays_as_it_was(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (workspace / "params.yaml").write_text(before, encoding="utf-8")
    write(workspace / "data", [{"id": f"r{n}", "text": f"text {n}", "label": "ab"[n % 2]} for n in range(40)])
    said = stage(workspace, "hallmark.commands.propose", "data/rows.jsonl", "--write").stdout
    assert "FILL-IN stands for, in certify.intended_use, certify.limits, certify.languages\nthen `nox -s repro`" in said
    after = (workspace / "params.yaml").read_text(encoding="utf-8")
    assert not [line for line in after.splitlines() if re.search(r"\S( | {3,})# [a-z]", line)]  # as ruamel leaves them
    changed = {match[1] for line in after.splitlines() if line not in before and (match := re.match(r" *(\w+):", line))}
    assert changed <= {"path", "id", "group", "input", "target", "tags", "kind", "system_prompt", "refusal", "spans",
                       "context", "tools", "rejected", "gold", "identity_columns", "schema", "allow", "allow_patterns", "actions", "day_first", "facts", "missing", "max_length", "epochs", "max_new_tokens", "max_tokens", "superiority", "floors", "ceilings", "requests_per_second",
                       "intended_use", "limits", "languages"}  # fmt: skip


PRINTED = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | PRINTED,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PRINTED, inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
@example("a  # b")
@example("\x85\u2028")
@example("${seed}")
@example({"?0": None})
def test_any_value_is_written_on_one_line_and_read_back(value: Any) -> None:
    params = "a:\n  b: 1  # of b\n  c:  # of c\n  - 2\nd: 3\n"
    line = f" {propose.on_a_line(value)}"
    for name, rest in (("b", {"c": [2]}), ("c", {"b": 1})):
        after = replaced(params, {f"a.{name}": [line]})
        assert YAML(typ="safe").load(after) == {"a": {name: value} | rest, "d": 3}


def test_the_facts_of_the_sample_go_with_it(tmp_path: Path) -> None:
    """For another kind they are an error, and in other replies they find nothing."""
    workspace = make_workspace(tmp_path, {"task.kind": "text", "eval.facts": {"order": r"A-\d{4}"}})
    write(workspace / "data", [{"id": f"r{n}", "text": f"text {n}", "label": "ab"[n % 2]} for n in range(40)])
    stage(workspace, "hallmark.commands.propose", "data/rows.jsonl", "--write")
    params = load_params(workspace / "params.yaml")
    assert (params.task.kind, params.eval.facts) == ("classification", {})


def test_what_it_writes_is_what_the_pipeline_reads(tmp_path: Path) -> None:
    """From raw rows to masked records, with nothing but `--write`."""
    workspace = make_workspace(tmp_path, {"mask.ner": {"engine": "none", "model": None}, "mask.workers": 1})
    rows = [
        {"messages": [{"role": "user", "content": f"question {n % 40} please"}, {"role": "assistant", "content": "yes no"[3 * (n % 2) :][:3].strip()}]}
        for n in range(200)
    ]  # fmt: skip
    write(workspace / "data", rows)
    before = (workspace / "params.yaml").read_text(encoding="utf-8")
    stage(workspace, "hallmark.commands.propose", "data/rows.jsonl")
    assert (workspace / "params.yaml").read_text(encoding="utf-8") == before
    said = stage(workspace, "hallmark.commands.propose", "data/rows.jsonl", "--write").stdout
    assert "no column says which rows belong together" in said
    params = load_params(workspace / "params.yaml")
    assert params.task.kind == "classification"
    assert params.data.input == "turns.input"
    assert json.loads((workspace / "data/schema.json").read_text(encoding="utf-8")) == {"enum": ["no", "yes"]}
    comment = "# column whose values the split keeps together"
    assert comment in (workspace / "params.yaml").read_text(encoding="utf-8")
    document = YAML(typ="safe").load((workspace / "params.yaml").read_text(encoding="utf-8"))
    assert document["dedupe"]["gold"] is None
    assert document["eval"]["spans"] == []  # the sample's fields are not there
    stage(workspace, "mask")
    assert "200 rows" not in stage(workspace, "dedupe").stdout


def test_few_groups_and_a_giant_are_warned_of(tmp_path: Path) -> None:
    rows = [
        {"key": n, "account": "big" if n % 2 else f"c{n % 6}", "body": "word " * (10 if n else 1000), "label": "ab"[n % 3 == 0]}
        for n in range(60)
    ]  # fmt: skip
    found = proposed(write(tmp_path, rows))
    assert found["data"]["group"] == "account"
    assert found["data"]["id"] == "key"
    for words in ("only 4 groups", "has 50 % of the rows", "too few for train, validation, calibration and holdout"):
        assert words in found["warnings"], words


def test_identity_columns_by_their_values(tmp_path: Path) -> None:
    rows = [{"ref": f"someone{n}@mail{n}.de", "text": "hello there " * n, "label": "ab"[n % 2]} for n in range(40)]
    found = proposed(write(tmp_path, rows))
    assert found["mask"]["identity_columns"] == {"ref": "EMAIL_ADDRESS"}
    assert found["data"]["target"] == "label"


def test_identity_columns_by_their_names_have_kinds_that_the_masker_knows(tmp_path: Path) -> None:
    assert set(IDENTITY) <= set(KINDS)
    rows = [
        {"date_of_birth": f"3 May 19{n + 50}", "dob": "1.2.1990", "text": f"text {n}", "label": "ab"[n % 2]}
        for n in range(40)
    ]
    identity = proposed(write(tmp_path, rows))["mask"]["identity_columns"]
    assert identity == {"date_of_birth": "DATE_OF_BIRTH", "dob": "DATE_OF_BIRTH"}
    block = load_params(PARAMS).mask.model_dump()
    assert Mask.model_validate(block | {"identity_columns": identity}).identity_columns == identity


def test_tool_calls(tmp_path: Path) -> None:
    call = {"name": "find", "arguments": {"city": "Rome"}}
    rows = [{"request": f"weather number {n}", "answer": [call] * (n % 3), "user": n % 30} for n in range(90)]
    found = proposed(write(tmp_path, rows))
    assert found["task"]["kind"] == "tool_call"
    assert found["schema"]["type"] == "array"
    assert found["schema"]["items"]["properties"]["name"] == {"enum": ["find"]}


def function_rows(functions: int) -> list[dict[str, Any]]:
    """Each row calls one of many functions, whose types are named as Python does."""
    offered = [
        {"name": f"do_{n}", "description": "It does. " * 40, "parameters": {"type": "dict", "properties": {"x": {"type": "float"}}}}
        for n in range(functions)
    ]  # fmt: skip
    return [
        {"request": f"please do {n} for me", "answer": [{"name": f"do_{n % functions}", "arguments": {"x": 1.5}}],
         "offered": [offered[n % functions]], "user": f"u{n % 30}"}
        for n in range(90)
    ]  # fmt: skip


def test_types_of_python_are_read_and_a_long_schema_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    propose.run(write(tmp_path, function_rows(80)), PARAMS, write=False)
    said = capsys.readouterr().out.splitlines()
    (warning,) = (line for line in said if "JSON Schema names them" in line)
    assert warning.endswith("read as JSON Schema names them: 90 dict (object), 90 float (number)")
    assert "break the parameters" not in str(said)
    (cut,) = (line for line in said if line.startswith("... and "))
    assert cut.endswith("more lines, which --write writes")
    assert len(said) < propose.MOST_LINES + 80


def test_the_tools_count_for_lengths_and_are_missed(tmp_path: Path) -> None:
    rows = function_rows(80)
    shown = propose.proposed(write(tmp_path, rows), PARAMS)
    propose.try_out(shown, PARAMS)
    options = shown.task.schema["oneOf"]
    assert options[0]["properties"]["arguments"] == {"type": "object", "properties": {"x": {"type": "number"}}}
    bare = propose.proposed(
        write(tmp_path, [{key: row[key] for key in row if key != "offered"} for row in rows]), PARAMS
    )
    propose.try_out(bare, PARAMS)
    assert shown.edits["sft"]["max_length"] > bare.edits["sft"]["max_length"] + 64
    assert not any("no column has the tools" in warning for warning in shown.warnings)
    (missed,) = (warning for warning in bare.warnings if "no column has the tools" in warning)
    assert "of 80 functions, 70 are called once" in missed


@pytest.mark.parametrize(
    ("values", "schema"),
    [
        ([1, 2], {"type": "integer"}),
        ([1, 2.5], {"type": "number"}),
        ([True, None], {"type": ["boolean", "null"]}),
        (["a"] * 20 + ["b"] * 20 + [None], {"enum": ["a", "b", None]}),
        (["me@home.de"] * 40, {"type": "string"}),  # private values are no enum
        (["2024-01-02", None], {"type": ["string", "null"], "format": "date"}),
        ([["x"], []], {"type": "array", "items": {"type": "string"}}),
        (
            [{"a": 1}, {"a": 1, "b": None}],
            {
                "type": "object", "additionalProperties": False, "required": ["a"],
                "properties": {"a": {"type": "integer"}, "b": {"type": "null"}},
            },
        ),
    ],
)  # fmt: skip
def test_every_value_keeps_to_the_schema_made_of_it(values: list[Any], schema: dict[str, Any]) -> None:
    import jsonschema_rs

    assert schema_of(values) == schema
    assert all(jsonschema_rs.is_valid(schema, value) for value in values)


def test_free_text_has_a_schema_file_too(tmp_path: Path) -> None:
    rows = [{"question": f"what is number {n}", "answer": f"it is the number {n * n} and so on"} for n in range(30)]
    found = proposed(write(tmp_path, rows))
    assert found["task"]["kind"] == "text"
    assert found["schema"] == {"type": "string", "minLength": 1}


def test_a_dataset_in_parts_says_which_to_name(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    part = Dataset.from_list([{"text": "a", "label": "b"}])
    DatasetDict({"train": part, "test": part}).save_to_disk(str(tmp_path / "all"))
    with pytest.raises(HallmarkError, match="train"):
        propose.read(tmp_path / "all")
    assert len(propose.read(tmp_path / "all/train")) == 1


@pytest.mark.parametrize(
    "text", ["", "[1]\n", "{}\n", '{"a": null}\n', '{"messages": [{"role": "user", "content": "x"}]}\n']
)
def test_what_cannot_be_read_ends_in_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    result = stage(ROOT, "hallmark.commands.propose", str(tmp_path / "rows.jsonl"), check=False)
    assert result.returncode == 1
    assert "remedy:" in result.stderr
    assert "Traceback" not in result.stderr


def copying(number: int) -> dict[str, Any]:
    """A row whose target copies a date that is masked, an address of someone, and numbers of one form."""
    code, date, mail = (
        f"NL-{number * 337 % 90000 + 10000}",
        f"{1990 + number % 9}-05-{number % 27 + 1:02}",
        f"b{number}@acme.io",
    )
    member = f"MEM-{number * 77 % 9000 + 1000}"
    target = {"date": date, "mail": mail, "code": code, "member_no": member, "amount": number + 20}
    text = f"It has been a long time, and nobody ever told me why: since {date} I have {code}, {number + 20}.00 EUR, {member}, mail {mail}."
    return {"id": f"r{number}", "text": text, "target": target}


def test_it_sets_what_the_task_needs_and_leaves_to_the_user_what_may_be_someones(tmp_path: Path) -> None:
    found = proposed(write(tmp_path, [copying(number) for number in range(60)]))
    assert found["mask"]["actions"] == {"DATE_TIME": "surrogate"}  # the schema has no room for a placeholder
    assert found["mask"]["allow_patterns"] == [r"NL-\d{5}"]
    assert "lost" not in found["warnings"]  # an address is the same placeholder in input and target


def test_a_date_whose_day_is_its_month_says_nothing_of_the_order(tmp_path: Path) -> None:
    rows = [copying(n) | {"text": f"Order {n} of 05/05/2007.", "target": {"n": f"{n}"}} for n in range(60)]
    assert "day_first" not in proposed(write(tmp_path, rows))["mask"]
    rows[0]["text"] = "Order 0 of 05/05/2007 and 13/05/2007."
    assert proposed(write(tmp_path, rows))["mask"]["day_first"] is True


def test_it_reads_dates_in_numbers_as_the_targets_do_and_moves_them(tmp_path: Path) -> None:
    def row(number: int) -> dict[str, Any]:
        day = date(2004, 1, 1) + timedelta(11 * number)
        return {"id": f"r{number}", "text": f"Lease of {day:%d/%m/%Y}.", "target": {"signed": f"{day}"}}

    found = proposed(write(tmp_path, [row(number) for number in range(60)]))
    assert found["mask"]["day_first"] is True
    assert found["mask"]["actions"] == {"DATE_TIME": "surrogate"}
    said = stage(ROOT, "hallmark.commands.propose", str(tmp_path / "rows.jsonl")).stdout
    assert "signed: 60 values stand in the input, 60 after masking (60 different, 60 after); 0 stand in none" in said


def test_a_field_that_masking_would_take_is_a_warning_that_mask_will_stop(tmp_path: Path) -> None:
    def row(number: int) -> dict[str, Any]:
        last = f"{chr(65 + number // 26 % 26)}{'aeiou'[number % 5]}{chr(97 + number % 26)}lard"
        return {"id": f"r{number}", "text": f"My name is Rosa {last}, order {number}.", "target": {"who": last}}

    warned = proposed(write(tmp_path, [row(number) for number in range(60)]))["warnings"]
    assert "mask will stop: 60 of 60 values of 'who' that the target copies from its input are lost" in warned

    def other(number: int) -> dict[str, Any]:
        return {"id": f"r{number}", "text": f"Where is order {number}?", "target": {"who": "nobody"}}

    rows = [other(number) if number % 20 else row(number) for number in range(2000)]
    warned = proposed(write(tmp_path, rows))["warnings"]  # a few of 300 rows are many of 2,000
    assert "mask will stop: " in warned


def test_an_address_next_to_an_organisation_is_the_organisations(tmp_path: Path) -> None:
    def shop(number: int, name: str) -> dict[str, Any]:
        address = f"{number + 3} Elm Street, Springfield"
        return {"id": f"r{number}", "text": f"{name}\n{address}", "target": {"name": name, "address": address}}

    shops = [shop(number, f"{chr(65 + number)}lmbrook Lamps Ltd") for number in range(20)]
    for row in shops:
        row["target"]["address"] = row["target"]["address"].split(",")[0]  # a part of what is masked as one value
    assert proposed(write(tmp_path, shops))["mask"]["actions"] == {"STREET_ADDRESS": "keep"}
    people = [shop(number, f"Mr Ben {chr(65 + number)}ollard") for number in range(20)]
    assert "actions" not in proposed(write(tmp_path, people))["mask"]


def test_what_it_sets_is_explained_and_written_on_the_lines_of_the_comments(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, RULES | {"mask.workers": 1, "data.pseudonyms": "none"})
    write(workspace / "data", [copying(number) for number in range(60)])
    said = stage(workspace, "hallmark.commands.propose", "data/rows.jsonl", "--write").stdout
    assert "# else 60 of 60 copied values of 'date' are lost (DATE_TIME 60)" in said
    assert "# 60 numbers of this form are copied by targets, 60 of them different" in said
    written = (workspace / "params.yaml").read_text(encoding="utf-8")
    assert re.search(r"^  actions: \{DATE_TIME: surrogate\} +# ", written, re.MULTILINE)
    assert re.search(r"^  allow_patterns: \['?NL-\\d\{5\}'?\] +# ", written, re.MULTILINE)
    stage(workspace, "mask")
    values = json.loads((workspace / "reports/mask.json").read_text(encoding="utf-8"))["target_values"]
    assert {field: (of["kept"], of["replaced"]) for field, of in values.items() if field != "member_no"} == {
        "date": (0, 60), "code": (60, 0), "amount": (60, 0), "mail": (0, 60),
    }  # fmt: skip


def test_it_says_if_mask_would_stop(tmp_path: Path) -> None:
    rows = [copying(number) | {"tags": ["new"] if number else ["ina.roe@acme-tools.io"]} for number in range(40)]
    warned = proposed(write(tmp_path, rows))["warnings"]
    assert "mask will stop: " in warned
    assert "row 1, field 'tags'" in warned
    assert "ina.roe" not in warned


def test_fields_of_calls_have_names(tmp_path: Path) -> None:
    rows = [
        {
            "request": f"find 199{n % 9}-04-0{n % 9 + 1} for {n}",
            "answer": [{"name": "find", "arguments": json.dumps({"day": f"199{n % 9}-04-0{n % 9 + 1}"})}],
        }
        for n in range(60)
    ]
    proposal = propose.proposed(write(tmp_path, rows), rules())
    propose.try_out(proposal, rules())
    assert proposal.task.kind == "tool_call"
    said = "\n".join(proposal.tried)
    assert "arguments.day: 60 values stand in the input, 60 after masking" in said
    assert "actions" not in proposal.edits["mask"]  # a placeholder fits, and stands in the request too
