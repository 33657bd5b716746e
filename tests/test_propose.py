"""What `python -m hallmark.commands.propose` says about a file, before it tries anything, and what it writes."""

from __future__ import annotations

import json
import os
import re
import sys
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
from hallmark.base.records import columns_of
from hallmark.commands import propose
from hallmark.mask.kinds import KINDS
from hallmark.params.checked import changed
from hallmark.params.edit import replaced
from hallmark.params.loader import load_params
from hallmark.propose.columns import Column
from hallmark.propose.evidence import Evidence, add_told
from hallmark.propose.inferred_task import infer, schema_of
from hallmark.propose.proposal import Proposal
from hallmark.propose.proposing import try_out
from hallmark.propose.questions import ask_to_keep
from hallmark.propose.reading import data_in
from hallmark.propose.roles import IDENTITY, Known
from hallmark.task.values import folded
from tests import tool_exports
from tests.rows import refused, write_lines
from tests.test_conversations import labelled as labelled_spans
from tests.workspace import ROOT, change_params, git_init, make_tiny_workspace, make_workspace, repro_here, run, stage

RULES: dict[str, Any] = {"mask.ner": {"engine": "none", "model": None}, "mask.workers": 1}
REFUSAL = '{"intent":"refuse"}'
LOCK = "data/holdout.lock.json"


@cache
def rules() -> Path:
    """The reference's params without NER, which takes seconds to load."""
    folder = Path(tempfile.mkdtemp())
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    change_params(folder, RULES)
    return folder / "params.yaml"


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    return write_lines(folder / "rows.jsonl", rows)


def proposed(file: Path, **known: Any) -> Proposal:
    return propose.proposed(file, rules(), Known(**known))


def order(number: int) -> dict[str, Any]:
    """A usual target."""
    return {"shop": f"Shop {number}", "total": number, "day": "2024-01-02"}


def labelled(count: int = 40, **changes: Any) -> list[dict[str, Any]]:
    return [{"id": f"r{n}", "text": f"this is text {n}", "label": "ab"[n % 2]} | changes for n in range(count)]


@given(st.integers(0, 12), st.integers(0, 3), st.integers(20, 900), st.sampled_from([{"kind": "no"}, "Not possible.", "[]"]))  # fmt: skip
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


@pytest.mark.parametrize(("tagged", "markup"), [(40, "html"), (8, "none")])
def test_html_in_the_input_is_noticed(tmp_path: Path, tagged: int, markup: str) -> None:
    rows = labelled()
    for row in rows[:tagged]:
        row["text"] = f"<p>{row['text']}</p> <NAME_1>"
    found = proposed(write(tmp_path, rows))
    assert found.edits["data"]["markup"] == markup
    assert bool(tagged) == (f"{tagged} of 40 rows have HTML tags" in f"{found.reasons} {found.warnings}")


@pytest.mark.parametrize(
    ("text", "answer", "markup", "said"),
    [
        ("{0}", "<p>Of {1}.</p><ul><li>{0}</li></ul>", "none", "60 targets have HTML tags: if"),
        ("{0}", "<b>{0}</b>", "none", "60 targets have HTML tags: if"),
        ("Mark up: <p>{0}</p>", "<p>Mark up: <b>{0}</b></p>", "none", "60 of 60 rows and 60 targets have HTML tags: if"),
        ("<p>{0}</p>", "{0}", "none", "60 of 60 rows have HTML tags: if"),
        ("{0}", "Use `<br>` to break the lines of {0} where {1} ends.", "none", None),
        ("<p>What is a List<String> of {0}?</p>", "It has {0} and {1}.", "none", "60 rows would lose tags that are not HTML"),
        ("<p>What is {0}?</p>", "It is {0}.<br>It has {1}.", "html", "takes the tags out of 60 answers too"),
        ("<p>What is {0}?</p>", "It is {0} and has {1}.", "html", None),
    ],
)  # fmt: skip
def test_tags_that_are_the_answer_stay(tmp_path: Path, text: str, answer: str, markup: str, said: str | None) -> None:
    both = [[made.format(words(n), words(n + 9)) for made in (text, answer)] for n in range(60)]
    file = write(tmp_path, [{"text": of, "answer": reply} for of, reply in both])
    found = proposed(file, inputs=("text",), targets=("answer",), kind="text")
    assert found.edits["data"]["markup"] == markup
    assert said in str(found.warnings) if said else not re.search("HTML|markup", str(found.warnings))


@pytest.mark.parametrize("form", ["studio", "texts", "bounds", "triples", "tags"])
def test_spans_are_proposed_as_fields_of_their_text(tmp_path: Path, form: str) -> None:
    rows = []
    for number in range(30):
        row = labelled_spans(tool_exports.body(number).split(), [("x", None, "city")[n % 3] for n in range(40)])
        text = "words" if form == "tags" else "text"
        rows.append({"id": number, text: row[text], form: row[form], "note": "a longer text than that " * 9})
    if form == "studio":
        rows += [row | {"id": row["id"] + 30, form: [], "total_annotations": 0} for row in rows[:6]]  # not labelled yet
    found = proposed(write(tmp_path, rows))
    data = found.edits["data"]
    assert "--refusal" not in str(found.warnings)
    assert (data["input"], data["target"]) == ("words.joined" if form == "tags" else "text", f"{form}.by_label")
    assert proposed(write(tmp_path, rows), targets=(form,)).edits["data"]["target"] == form


def test_annotations_are_counted_and_their_spans_are_open(tmp_path: Path) -> None:
    rows = []
    for number in range(60):
        text = f"{'Anna' if number % 2 else 'Otto'} and {words(number)} {'in Metz' if number % 3 else ''}"
        spans = [(0, 4, "WHO"), *([(text.index("Metz"), len(text), "PLACE")] if number % 3 else [])]
        result = [{"value": {"start": start, "end": end, "text": text[start:end], "labels": [label]}} for start, end, label in spans]  # fmt: skip
        done = [{"result": result, "was_cancelled": number == 9}] * (2 if number == 4 else 1)
        rows.append({"data": {"text": text}, "annotations": done})
    rows += [{"data": {"text": words(n)}, "annotations": []} for n in range(4)]  # nobody has labelled them
    found = proposed(write(tmp_path, rows))
    propose.try_out(found, rules())
    assert "5 left out: 5 without target" in "\n".join(found.tried)
    said = str(found.warnings)
    assert "1 of 64 rows have only cancelled" in said and "1 of 64 rows have several annotations" in said
    assert "enum" not in json.dumps(found.task.schema) and "unlike the others" not in said


@pytest.mark.parametrize(
    ("said", "language", "card"),
    [
        ("Ich habe von der Lieferung {0}, die Sie mir schicken wollten, noch nichts gesehen.", "de", "de"),
        ("I have not seen anything of the delivery {0} that you wanted to send me.", None, "en"),
        ("{0} {0}", None, "FILL-IN"),
    ],
)
def test_masking_is_for_the_language_of_the_texts(tmp_path: Path, said: str, language: str | None, card: str) -> None:
    rows = [{"text": said.format(words(number)), "topic": "ab"[number % 2]} for number in range(40)]
    found = proposed(write(tmp_path, rows))
    propose.try_out(found, rules())
    assert found.edits["mask"].get("language") == language and found.edits["certify"]["languages"] == [card]
    none = {"engine": "none", "model": None}  # the English model would take common words for names
    assert found.edits["mask"].get("ner") == (none if language else None)
    assert ("no spaCy model for it is installed" in str(found.warnings)) == bool(language)


@pytest.mark.parametrize(
    ("systems", "prompt", "context"),
    [
        (["Be kind."], "Be kind.", None),
        (["Rules:\n- Be kind.\n\n- Be brief"], "Rules:\n- Be kind.\n\n- Be brief", None),
        ([f"Rules:\n- Be kind\nFor {one}" for one in ("Ann", "old Bo")], "Rules:\n- Be kind", "turns.system"),
        (["Be kind.", "Be brief."], "Answer the request.", "turns.system"),
        (["Be kind. Today is Monday, 3 March 2025.", "Be kind. Today is Friday, 2 May 2025."], "Be kind.", "turns.system"),
        (["Be kind on 2025-03-04.", "Be kind on 2025-03-05."], "Answer the request.", "turns.system"),
        ([f"You answer for {one} in short and kind words, never in lists of 20." for one in ("Ann", "Bo")], "Answer the request.", None),
        ([f"Be kind. The customer is {one}, with {of}." for one, of in (("Ann", "a cat"), ("Bo", "two old dogs"))], "Be kind.", "turns.system"),
        (["Send them to help@northwind-traders.com."], "Answer the request.", "turns.system"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("earlier", [False, True])
def test_system_messages_are_the_prompt_if_all_are_one(
    tmp_path: Path, systems: list[str | None], prompt: str, context: str | None, earlier: bool
) -> None:
    rows = []
    for number in range(20):
        system = systems[number % len(systems)]
        before = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes?"}] if earlier else []
        reply = {"role": "assistant", "content": f"Reply {number}."}
        asked = [{"role": "user", "content": tool_exports.body(number)}, reply]
        rows.append({"messages": [*([{"role": "system", "content": system}] if system else []), *before, *asked]})
    found = proposed(write(tmp_path, rows))
    if earlier:
        context = f"{{{context}}}\n{{turns.earlier}}" if context else "turns.earlier"
    assert (found.edits["task"]["system_prompt"], found.edits["data"]["context"]) == (prompt, context)
    assert "no other turn is trained" in found.reasons["data", "target"]
    assert ("differ only in dates" in str(found.warnings)) == ("never in lists" in str(systems))


@pytest.mark.parametrize(
    ("known", "field", "remedy"),
    [
        ({"targets": ("categori",)}, "categori", "--target: category"),
        ({"inputs": ("{categori}",)}, "categori", "--input: category"),
        ({"group": "categori"}, "categori", "--group: category"),
        ({"targets": ("category", "nothing")}, "nothing", "leave it out"),
        ({"refusal": "no"}, None, "as it is in the file"),
    ],
)
def test_what_the_user_names_is_there(tmp_path: Path, known: dict[str, Any], field: str | None, remedy: str) -> None:
    file = write(tmp_path, requests(nothing=lambda n, _: None))
    with refused(remedy, file=file, field=field):
        proposed(file, **known)


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


def test_the_id_is_named_like_one_and_the_group_is_the_coarser_entity(tmp_path: Path) -> None:
    """Each row has its own amount too, and a thread holds all rows of its two sessions, also where these come first."""
    rows = [{"amount": 100 + n, "ticket_id": 5000 + n, "session_id": f"s{n // 4}", "thread": f"t{n // 8}"}
            | {"text": f"this is text {n}", "label": "ab"[n % 2], "sig": f"k{n:04x}", "meta": {"uid": f"x{n:04x}"}} for n in range(240)]  # fmt: skip
    roles = proposed(write(tmp_path, rows)).roles
    assert (roles.id, roles.group) == ("ticket_id", "thread")
    assert "holds all rows of each session_id" in roles.why["group"]
    rows = [{name: row[name] for name in ("amount", "sig", "text", "label")} for row in rows]
    assert proposed(write(tmp_path, rows)).roles.id == "sig"


def test_an_official_split_is_proposed_if_no_group_crosses_it(tmp_path: Path) -> None:
    rows = [row | {"customer": f"c{n % 50}"} for n, row in enumerate(labelled(300))]
    rows = [row | {"part": "test" if int(row["customer"][1:]) < 10 else "train"} for row in rows]
    assert proposed(write(tmp_path, rows)).edits["data"]["split"] == "part"
    rows[0]["part"] = "train"
    proposal = proposed(write(tmp_path, rows))
    assert proposal.edits["data"]["split"] is None
    assert "'part' names parts of a split, but 1 groups have rows in several" in str(proposal.warnings)


@pytest.mark.parametrize(("name", "target"), [("pii_spans", "intent"), ("entities", "entities.by_label")])
def test_spans_of_private_data_are_no_answer_next_to_another(tmp_path: Path, name: str, target: str) -> None:
    rows = []
    for number in range(90):
        text = f"Anna{number % 7} asks: {words(number)}"
        spans = [{"start": 0, "end": text.index(" "), "label": "PERSON"}]
        rows.append({"text": text, name: spans, "intent": f"kind {number % 3}"})
    assert proposed(write(tmp_path, rows)).roles.target == target
    alone = [{key: value for key, value in row.items() if key != "intent"} for row in rows]
    assert proposed(write(tmp_path, alone)).roles.target == f"{name}.by_label"


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


def test_calls_have_the_parameters_of_their_tools_unless_they_break_them(tmp_path: Path) -> None:
    file = tool_exports.openai_tools(tmp_path)
    assert "targets are the same and unlike the others" in proposed(file).task.doubts[0]
    assert proposed(file).edits["data"]["no_call"] == "empty"
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
    assert task.doubts[1].startswith("1 of 51 targets are words and call no tool")
    for row in rows:
        row["tools"] = None
    file = write(tmp_path, rows)
    assert "no column has the tools" in proposed(file, refusal=tool_exports.CANNOT).task.doubts[-1]
    (tmp_path / "tools.json").write_text(json.dumps(tool_exports.TOOLS), encoding="utf-8")
    found = proposed(file, refusal=tool_exports.CANNOT).task
    assert "stand next to the data" in found.doubts[-1] and "oneOf" in found.schema["items"]


def test_a_few_calls_among_texts_are_no_task_of_calls_unless_there_are_tools(tmp_path: Path) -> None:
    call = json.dumps([{"name": "find", "arguments": {"order": 7}}])
    rows = requests(reply=lambda n, _: f"We will look for {words(n)} at once, and write again." if n % 5 else call)
    file = write(tmp_path, rows)
    assert proposed(file, targets=("reply",)).kind == "text"
    (tmp_path / "tools.json").write_text(json.dumps(tool_exports.TOOLS), encoding="utf-8")
    assert proposed(file, targets=("reply",)).kind == "tool_call"


def test_calls_before_the_last_are_answers_that_the_schema_must_admit(tmp_path: Path) -> None:
    file = tool_exports.openai_tools(tmp_path)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["messages"] += [
            {"role": "tool", "content": "none"},
            {"role": "user", "content": "And now?"},
            row["messages"][1],
        ]
        row["messages"] += [{"role": "tool", "content": "one"}, {"role": "assistant", "content": "There it is."}]
    call = json.loads(json.dumps(rows[1]["messages"][1]))
    call["tool_calls"][0]["function"]["arguments"] = '{"order": "none"}'
    rows[1]["messages"][1] = call
    found = proposed(write(tmp_path, rows))
    assert found.edits["data"]["answers"] == "calls" and "break the parameters" in str(found.task.doubts)
    try_out(found, rules())
    assert not any("mask will stop" in said for said in found.warnings)


@pytest.mark.parametrize("text", ["", "[1]\n", "{}\n", '{"a": null}\n', '{"messages": [{"role": "user", "content": "x"}]}\n'])  # fmt: skip
def test_what_cannot_be_read_ends_in_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(HallmarkError) as raised:
        proposed(tmp_path / "rows.jsonl")
    assert raised.value.file == tmp_path / "rows.jsonl"
    assert raised.value.remedy


def test_a_saved_dataset_is_read_with_the_names_of_its_splits(tmp_path: Path) -> None:
    """As the stages read it: `data.split` has its splits, unless a name is no part of one."""
    from datasets import Dataset, DatasetDict

    def saved(**parts: str) -> Proposal:
        rows = {
            name: Dataset.from_list([row | {"id": f"{word}{row['id']}"} for row in labelled(60, words=word)])
            for name, word in parts.items()
        }
        DatasetDict(rows).save_to_disk(str(tmp_path / "-".join(parts)))
        return proposed(tmp_path / "-".join(parts), inputs=("{words} {text}",))

    found = saved(train="a", test="b")
    assert (found.edits["data"]["split"], len(found.rows)) == ("split", 120)
    assert saved(train="a", extra="b").edits["data"]["split"] is None
    (tmp_path / "other").mkdir()
    (tmp_path / "train-test").rename(tmp_path / "other/dataset")
    with refused(str(tmp_path / "other/dataset/train")):
        proposed(tmp_path / "other")


def test_the_reference_data() -> None:
    file = ROOT / "data/raw/tickets.jsonl"
    asked = proposed(file)
    assert asked.task.refusal is None
    assert f"add --refusal '{REFUSAL}'" in asked.warnings[0]
    found = proposed(file, refusal=REFUSAL)
    assert found.edits["data"] | {"path": ""} == {
        "path": "", "id": "id", "group": "customer", "input": "{subject}\n{body}", "target": "target", "labels": {}, "context": None,
        "tools": None, "rejected": None, "tags": "tags", "tag_separator": ",", "split": None, "no_answer": [], "chat": None, "markup": "none",
        "where": {},
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


def test_the_warnings_are_seen_after_the_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(make_workspace(tmp_path))
    Path(".dvc").mkdir()
    monkeypatch.setattr(propose, "dvc_repro", lambda stage: print(f"Running {stage}"))
    monkeypatch.setattr(propose, "from_file_to_split", lambda: iter(["kept 1"]))
    propose.run(write(Path("data"), labelled()), Path("params.yaml"), write=True)
    before, _, after = capsys.readouterr().out.partition("Running split\n")
    warnings = re.findall("^warning.*", before, re.MULTILINE)
    assert warnings
    assert re.findall("^kept 1|^warning.*|^Next", after, re.MULTILINE) == ["kept 1", *warnings, "Next"]


def test_it_writes_only_what_it_proposes_and_the_facts_of_the_sample_go(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write(workspace / "data", labelled())
    file = workspace / "params.yaml"
    before = changed((ROOT / "params.yaml").read_text(encoding="utf-8"), "task.kind: text\neval.facts: {order: A-1}")
    file.write_text(before, encoding="utf-8")
    stage(workspace, "hallmark.commands.propose", "data/rows.jsonl", *["--target", "label"] * 2)
    assert file.read_text(encoding="utf-8") == before
    said = stage(workspace, "hallmark.commands.propose", "data/rows.jsonl", "--write").stdout
    assert "task.kind changes from text to classification" in said
    assert "certify.limits is FILL-IN: write what" in said and said.endswith("and `nox -s repro`\n")
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
        (["SMITH, JOHN (Tier 2)", "hardware", "software", "billing"], "PERSON"),
        (["tmokoena", "akhan", "Brandvold L.", "JS"], "PERSON"),
        (["ann@acme-tools.io", "bob@acme-tools.io"], "EMAIL_ADDRESS"),
        (["billing", "hardware", "access", "other"], None),
    ],
)
def test_labels_that_look_like_people_are_written_only_if_somebody_says_so(
    tmp_path: Path, labels: list[str], kinds: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": f"r{n}", "text": f"this is text {n}", "assignee": labels[n % len(labels)]} for n in range(40)]
    params, known = tmp_path / "params.yaml", Known(targets=("assignee",))
    params.write_text(before := rules().read_text(encoding="utf-8"), encoding="utf-8")
    file = write(tmp_path, rows)
    found = propose.proposed(file, params, known)
    assert found.private == ([kinds] if kinds else [])
    assert any("--public" in warning for warning in found.warnings) == bool(kinds)
    with chdir(make_workspace(tmp_path / "repo")):
        if kinds:
            with refused("--public", file=file, field="assignee") as raised:
                propose.run(file, params, write=True, known=known)
            assert not any(label in str(raised.value) for label in labels)
            assert (params.read_text(), labels[0] in Path("data/schema.json").read_text()) == (before, False)
        propose.run(file, params, write=True, known=known, public=True)
        for said in ("", "public"):  # or at a terminal
            monkeypatch.setattr("builtins.input", lambda _, said=said: said)
            ask_to_keep(found)
            assert bool(found.private) == (bool(kinds) and not said)
        assert labels[0] in Path("data/schema.json").read_text()


def words(number: int) -> str:
    """Some words that are others in each row."""
    return " ".join(f"{word}{number * 7919 % 997}" for word in ("lamp", "desk", "chair"))


def requests(count: int = 240, **columns: Any) -> list[dict[str, Any]]:
    """Requests with a kind; of further columns, each is made from a row's number and its kind."""
    kinds = [("late parcel", "broken goods", "wrong bill", "lost login")[n * 7 % 4] for n in range(count)]
    return [
        {"body": f"Please look at {words(n)}.", "category": kind} | {name: of(n, kind) for name, of in columns.items()}
        for n, kind in enumerate(kinds)
    ]


CODES = {"late parcel": "K7", "broken goods": "K2", "wrong bill": "K9", "lost login": "K1"}


@pytest.mark.parametrize(
    ("holds", "sure"),
    [
        (lambda n, kind: f"<case no='{n}'><note>{words(n)}</note><kind>{kind}</kind></case>", True),
        (lambda n, kind: f'<case code="{CODES[kind]}">{words(n)} and more of it</case>', True),
        (lambda n, kind: json.dumps({"note": words(n), "path": {"kind": kind.upper()}}), True),
        (lambda n, kind: f"{words(n)} was filed under: {kind}. {words(n + 1)}", False),
        (lambda n, kind: f"{words(n)} late parcel, broken goods, wrong bill, lost login", None),
        (lambda n, kind: f"{words(n)} {kind if n % 3 else ''} {words(n + 1)}", None),
    ],
    ids=["an element", "a code in an attribute", "JSON", "words", "a list of all", "some"],
)
def test_no_column_that_holds_the_answer_is_read(tmp_path: Path, holds: Any, sure: bool | None) -> None:
    file = write(tmp_path, requests(record=holds))
    found = proposed(file, targets=("category",))
    said = [line for line in found.warnings if "'record'" in line]
    assert ("record" in found.roles.leaks) == (sure is not None)
    if sure is None:
        assert (said, set(columns_of(found.roles.input))) == ([], {"body", "record"})
        return
    assert found.roles.input == "body"
    if sure:
        with refused("--target", file=file, field="record"):
            proposed(file, inputs=("{body} {record}",), targets=("category",))
    else:  # a text may name its kind for a good reason
        assert "is left out of the input" in said[0] and "add it with --input" in said[0]
        assert "the model reads the answer" in str(proposed(file, inputs=("record",), targets=("category",)).warnings)


def test_the_only_text_is_read_unless_the_answer_is_a_value_in_it(tmp_path: Path) -> None:
    kinds = [("lost", "late")[n % 2] for n in range(80)]
    rows = [{"text": f"{words(n)}: {kind}", "label": kind} for n, kind in enumerate(kinds)]
    found = proposed(write(tmp_path, rows))
    assert found.roles.input == "text" and "the model reads the answer" in str(found.warnings)
    told, labels = Evidence(), ["late", "lost"] * 40
    add_told(told, [Column("text", [f"it is {label}" for label in labels])], Column("label", labels))
    assert told.reasons == ["predicted from the text in 100 % of the rows, by guessing in 50 %"]
    rows = [row | {"text": f"<a><b>{row['label']}</b><c>{row['text']}</c></a>"} for row in rows]
    with refused(field="text"):
        proposed(write(tmp_path, rows))


@pytest.mark.parametrize(
    ("xml", "target"),
    [
        (lambda n, kind: f"<job no='{n}' kind='{kind}'><what>{words(n)}</what><at>{n}</at></job>", "xml"),
        (lambda n, kind: f"<job kind='{kind}'><note>Take {words(n)} to {n}.</note></job>", "category"),  # a record
        (lambda n, kind: f"<p>{words(n)}</p><p>{n}</p>", "category"),  # HTML
    ],
)
def test_xml_that_is_read_off_a_text_is_the_answer(tmp_path: Path, xml: Any, target: str) -> None:
    rows = requests(body=lambda n, _: f"Take {words(n)} to {n}.", xml=xml)
    found = proposed(write(tmp_path, rows), inputs=("body",))
    assert (found.roles.target, found.kind) == (target, "text" if target == "xml" else "classification")


MARKUPS = [
    "<seg>Take the <obj>{0}</obj> to {1}.</seg>", "<rec n='x'><obj>{0}</obj><to>{1}</to></rec>", "Take the <b>{0}</b> to <place>{1}</place>.",
    "@job{{k{1}, object = {{{0}}}, number = {{{1}}}}}", "Take the [{0}](thing) to [{1}](place).", "[obj]{0}[/obj] [to]{1}[/to]",
]  # fmt: skip


@pytest.mark.parametrize("name", ["raw_line", "reference"])
@pytest.mark.parametrize("markup", MARKUPS)
def test_markup_around_the_words_of_a_text_is_its_answer_whatever_the_names(
    tmp_path: Path, markup: str, name: str
) -> None:
    rows = [
        {
            name: f"Take the {words(n)} to {n}.",
            "annotated": markup.format(words(n), n),
            "label_code": f"k{n * 7 % 40}",
            "remark": f"It was read twice by {words(n + 3)}.",
        }
        for n in range(240)
    ]
    found = proposed(write(tmp_path, [row | {"guests": n % 8, "pages": n % 31} for n, row in enumerate(rows)]))
    assert "pages" not in str(found.roles.runners_up["group"]) and found.roles.group != "guests"
    assert (found.roles.target, found.roles.input, found.kind) == ("annotated", name, "text")
    assert ("the elements rec, obj, to." in found.edits["task"]["system_prompt"]) == ("<rec" in markup)


@pytest.mark.parametrize("owner", ["", " of='H{:04}'"])
def test_what_markup_needs_besides_its_text_is_read_too(tmp_path: Path, owner: str) -> None:
    """Even the group; not an id that is named like a text, or a note after the answer."""
    rows = [
        {
            "came": f"{2019 + n % 4}-03-{n % 28 + 1:02}",
            "title": f"{['Sale', 'Rent'][n % 2]} of {words(n + 2)}",
            "house": f"H{n // 3 * 7:04}",
            "letter": f"Take the {words(n)} to {n}.",
            "message_id": f"<{n * 7919:08x}@mail.example>",
            "xml": f"<rec on='{2019 + n % 4}-03-{n % 28 + 1:02}'{owner.format(n // 3 * 7)}><obj>{words(n)}</obj><to>{n}</to></rec>",
            "clerk_note": f"Told them about {words(n)} as it was asked in the letter, no. {n}.",
        }
        for n in range(240)
    ]
    found = proposed(write(tmp_path, rows)).roles
    house = "{house}\n" * bool(owner)
    assert (found.input, found.target, found.group) == (
        f"{{came}}\n{{title}}\n{house}{{letter}}",
        "xml",
        "house",
    )


def test_a_label_that_no_text_tells_is_no_target_next_to_one_that_it_tells(tmp_path: Path) -> None:
    """Names decide only between labels that the text tells; a rating is one if there is no other."""
    kinds = ["lost", "late", "torn", "wet"]
    rows = [{"label_no": f"k{n * 7 % 40}", "stars": 1 + n * 7 % 4, "x7": "abcd"[n * 7 % 4], "note": f"The {kinds[n * 7 % 4]} box of {words(n)}."} for n in range(240)]  # fmt: skip
    assert proposed(write(tmp_path, rows)).roles.target == "x7"
    assert (
        proposed(write(tmp_path, [row | {"x7": "a", "label_no": n} for n, row in enumerate(rows)])).roles.target
        == "stars"
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mandate", "'mandate' is the group by its values alone: 45 for 240"),
        ("product", "CHECK THE GROUP: 'product' is the group by"),
    ],
)
def test_a_group_by_its_values_is_said(tmp_path: Path, name: str, said: str) -> None:
    found = proposed(write(tmp_path, requests(**{name: lambda n, _: f"Mill {'abcde'[n % 5]} {n % 9}"})))
    assert found.roles.group == name and said in str(found.warnings)


@pytest.mark.parametrize(
    ("book", "names"),
    [
        ("codebook.json", json.dumps({"category": dict(enumerate(CODES))})),
        (
            "b.json",
            json.dumps(
                {
                    "values": [{"no": n, "name": of, "on": True} for n, of in enumerate(CODES)]
                    + [{"no": 12, "name": next(iter(CODES)), "on": False, "replaced_by": 0}]
                }
            ),
        ),
        ("b.csv", "no;name;on\n" + "".join(f"{n};{of};1\n" for n, of in enumerate(CODES))),
        (
            "of_all.csv",
            "of,code,name\nmood,0,bad\nmood,1,good\nplace,,\n"
            + "".join(f"category,{n},{of}\n" for n, of in enumerate(CODES)),
        ),
    ],
)
def test_a_folder_of_a_table_and_a_codebook_is_the_table(tmp_path: Path, book: str, names: str) -> None:
    import polars as pl

    file = tmp_path / "visits.parquet"
    pl.DataFrame(requests(category=lambda n, kind: [*CODES].index(kind))).write_parquet(file)
    (tmp_path / book).write_text(names, encoding="utf-8")
    found = proposed(tmp_path)
    assert found.file == file and set(found.task.schema["enum"]) == {*CODES}
    (tmp_path / "more.json").write_text(json.dumps(requests(4)), encoding="utf-8")
    assert data_in(tmp_path) == tmp_path, "both have rows"


def test_labels_in_several_spellings_are_one(tmp_path: Path) -> None:
    rows = requests(category=lambda n, kind: f" {kind.title()} ".replace(" ", "  ") if n % 9 == 0 else kind)
    found = proposed(write(tmp_path, rows))
    assert set(found.task.schema["enum"]) == {*CODES}
    assert "'category' has 8 spellings of 4 labels" in str(found.warnings)
    propose.try_out(found, rules())
    assert "mask will stop" not in str(found.warnings)
    assert "combinations" not in str(found.warnings)
    signs = requests(category=lambda n, kind: kind.replace(" ", (" ", " / ", "-")[n % 3]) + "." * (n % 5 == 0))
    assert len(proposed(write(tmp_path, signs)).task.schema["enum"]) == 4
    assert len({*map(folded, ("C", "C++", "1.5", "1-5", "-1", "1", "a b", "ab"))}) == 8
    orders = [order(n) | {"lines": [{"sign": ("EUR", "eur", "GBP")[n % 3]}]} for n in range(90)]
    assert "'lines[].sign' has 3 spellings of 2 labels" in str(infer(Column("order", orders)).doubts)
    pairs = [f"{a}|{b}" for a in "abcd" for b in "abcd" if a < b]
    rows = requests(category=lambda n, _: [*pairs, *"abc"][n % 9])
    several = proposed(write(tmp_path, rows), kind="classification", targets=("category",))
    assert "the 9 labels are combinations of 4 with '|'" in str(several.warnings)


@pytest.mark.parametrize(
    "names", [["late ", "broken", "bill", "login"], {"0": "late", "1": "broken", "2": "bill", "3": "login"},
              {"features": {"category": {"names": ["late", "broken", "bill", "login"]}}}]
)  # fmt: skip
def test_labels_that_are_numbers_take_the_names_next_to_the_file(tmp_path: Path, names: Any) -> None:
    file = write(tmp_path, requests(category=lambda n, kind: [*CODES].index(kind)))
    assert "the labels are numbers" in str(proposed(file).warnings)
    (tmp_path / "others.json").write_text(json.dumps({"0": "none", "names": ["a"], "words": 3}), encoding="utf-8")
    (tmp_path / "zz.json").write_text(json.dumps(names), encoding="utf-8")
    found = proposed(file)
    assert set(found.task.schema["enum"]) == {"late", "broken", "bill", "login"}
    assert found.edits["data"]["labels"] == {"0": "late", "1": "broken", "2": "bill", "3": "login"}
    propose.try_out(found, rules())
    assert "240 can be read" in "\n".join(found.tried)


def test_an_id_that_repeats_is_said_with_its_rows(tmp_path: Path) -> None:
    rows = requests(ticket_no=lambda n, _: f"T{n - 5 if n in (20, 30) else n}", channel=lambda n, _: ("web", "phone")[n % 2],
                    tags=lambda n, _: json.dumps([("new", "vip", "old")[n % 3]]))  # fmt: skip
    found = proposed(write(tmp_path, rows))
    assert (found.roles.id, found.roles.tags) == ("row.id", "tags")
    assert "'ticket_no' would be the id, but 2 of its values repeat: rows 16 and 21; 26 and 31" in str(found.warnings)
    propose.try_out(found, rules())
    assert "mask will stop" not in str(found.warnings)


def test_of_a_wrapper_the_object_that_varies_is_the_answer(tmp_path: Path) -> None:
    """Rows in which it is null have no answer."""
    rows = [
        {"letter": f"Bill B{n}0 of {words(n)}, {n}.25 EUR", "answer": {"form": "bill-2", "tool": "desk",
         "found": None if n % 16 == 5 else {"bill": f"B{n}0", "sum": n + 0.25, "what": words(n)}}}
        for n in range(96)
    ]  # fmt: skip
    found = proposed(write(tmp_path, rows))
    assert (found.roles.target, found.roles.input, found.kind) == ("answer.found", "letter", "extraction")
    assert [*found.task.schema["properties"]] == ["bill", "sum", "what"]
    propose.try_out(found, rules())
    assert "90 can be read, 6 left out: 6 without target (answer.found)" in "\n".join(found.tried)
    assert found.edits["data"]["missing"] == "drop" and "mask will stop" not in str(found.warnings)


def test_an_object_next_to_the_notes_of_a_tool_is_the_answer_and_what_it_copies_is_open(tmp_path: Path) -> None:
    """Values that stand in the text are no list, categories are; a text with all of them was written afterwards."""
    fields = [{"bill": f"B{n * 337 % 9000 + 1000}", "town": ("Metz", "Ghent", None)[n % 3], "way": ("post", "van")[n % 2]} for n in range(120)]  # fmt: skip
    rows = [
        {"scan": f"{of['bill']} of {words(n)} to {of['town'] or 'nobody'}, {words(n + 1)}, {words(n + 2)}", "sent": f"We sent {words(n)} by {of['way']} as {of['bill']} to {of['town']} then.",
         "check": {"by": ("al", "bo")[n % 2], "at": f"2025-03-{n % 28 + 1:02}", "state": ("new", "ok")[n // 2 % 2], "got": of}}
        for n, of in enumerate(fields)
    ]  # fmt: skip
    found = proposed(write(tmp_path, rows))
    assert (found.roles.target, found.roles.input) == ("check.got", "scan")
    properties = found.task.schema["properties"]
    assert properties["town"] == {"type": ["string", "null"]} and properties["way"] == {"enum": ["post", "van"]}
    assert "'sent' is left out of the input: it has more values of the answer" in str(found.warnings)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda n, kind: f"Done on day {n}, with {words(n + 300)} and so on." if kind else None, "missing where the answer is"),
        (lambda n, kind: f"This was about {kind or 'something'}, {words(n + 300)} or so." if n % 3 else f"Told {words(n + 300)}.", "names the answer more"),
        (lambda n, kind: f"It was entered at desk {n % 9} of {words(n + 300)}.", "tells hardly more than 'body' does"),
        (lambda n, kind: None if n % 4 else f"It came with {words(n + 300)} and a label on it.", "tells hardly more"),
    ],
)  # fmt: skip
def test_a_text_that_may_be_written_after_the_answer_is_not_read(tmp_path: Path, made: Any, why: str) -> None:
    rows = requests(body=lambda n, kind: f"{words(n + 500)}, it is {['slow', 'in parts', 'too much', 'locked'][[*CODES].index(kind)]}: {words(n)}.")  # fmt: skip
    for n, row in enumerate(rows):
        row["category"] = None if n % 20 == 7 else row["category"]
        row["x7"] = made(n, row["category"])
    found = proposed(write(tmp_path, rows))
    assert (found.roles.target, found.roles.input) == ("category", "body")
    assert why in found.roles.leaks["x7"].why and "'x7' is left out of the input" in str(found.warnings)


def test_what_is_proposed_does_not_stop_its_own_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers with a unit stay; what else masking takes stays masked, unless a person says otherwise."""
    rows = [{"ad": f"Flat of {words(n)}, account {1900 + n} sq m, {'of' if n % 3 else 'account no.'} {48213 + 7 * n}",
             "found": {"area": 1900 + n, "deed": 48213 + 7 * n, "what": words(n)}} for n in range(90)]  # fmt: skip
    found = proposed(write(tmp_path, rows))
    propose.try_out(found, rules())
    mask = found.edits["mask"]
    said = str(found.warnings)
    assert "mask will stop" not in said and "30 of 90 values of 'deed' (ACCOUNT 30)" in said
    assert (mask["allow_patterns"], mask["max_lost"]) == ([r"\d{1,7}(?:[.,]\d{1,3})* ?(?:sq m)(?!\w)"], 0.37)
    for said, kept in (("", None), ("keep", "keep")):
        monkeypatch.setattr("builtins.input", lambda _, said=said: said)
        ask_to_keep(found)
        assert mask.get("actions", {}).get("ACCOUNT") == kept
    assert "area: 90 values are in the input, 90 after" in "\n".join(found.tried)


def test_tags_in_which_masking_finds_someone_are_not_proposed(tmp_path: Path) -> None:
    rows = requests()
    for n, row in enumerate(rows):
        row["keywords"] = ["press", f"jo{n % 3}@acme-tools.io"]
    found = proposed(write(tmp_path, rows))
    assert found.roles.tags == "keywords"
    propose.try_out(found, rules())
    assert found.edits["data"]["tags"] is None and "mask will stop" not in str(found.warnings)


def test_ids_and_time_stamps_are_no_part_of_an_answer(tmp_path: Path) -> None:
    rows = [
        {"scan": f"Bill no. B{n}0 of {words(n)}, 2025-03-{n % 28 + 1:02}, {n}.25 EUR, 3 {words(n + 1)}",
         "found": {"id": f"x{n * 7919}", "proofread_at": "2025-07-01T10:00:00Z", "reviewer": f"team {n % 9}", "made": 1735689600 + n * 77, "trace": f"{n:032x}", "bill_no": f"B{n}0", "bill_date": f"2025-03-{n % 28 + 1:02}", "sum": n + 0.25}}
        for n in range(90)
    ]  # fmt: skip
    found = proposed(write(tmp_path, rows))
    assert found.roles.target == ["found.bill_no", "found.bill_date", "found.sum"]
    assert [*found.task.schema["properties"]] == ["bill_no", "bill_date", "sum"]
    propose.try_out(found, rules())
    assert "90 can be read" in "\n".join(found.tried) and "mask will stop" not in str(found.warnings)
    assert "without found.id, found.proofread_at, found.reviewer, found.made, found.trace" in found.roles.why["target"]


@pytest.mark.parametrize(
    ("kind", "target", "wanted"),
    [("text", "category", "text"), ("extraction", "category", "extraction"), ("classification", "body", "classification"),
     ("extraction", None, "extraction"), ("tool_call", "category", None)],
)  # fmt: skip
def test_the_kind_can_be_said(tmp_path: Path, kind: str, target: str | None, wanted: str | None) -> None:
    file = write(tmp_path, requests(note=lambda n, _: f"this is note {n} of them"))
    known = {"kind": kind, "inputs": ("note",)} | ({"targets": (target,)} if target else {})
    if wanted is None:
        with refused("--kind", field=target):
            proposed(file, **known)
        return
    found = proposed(file, **known)
    propose.try_out(found, rules())
    assert (found.kind, "mask will stop" in str(found.warnings)) == (wanted, False)


def test_a_file_of_tokens_and_tags_is_proposed_as_fields_of_its_text(tmp_path: Path) -> None:
    file = tmp_path / "news.conll"
    said = [f"Acme{n % 9} NN B-firm\nbought O O\n{words(n).replace(' ', ' O O' + chr(10))} O O\n" for n in range(60)]
    documents = ["\n".join(said[n : n + 3]) for n in range(0, 60, 3)]
    file.write_text("-DOCSTART- O O\n\n".join(["", *documents]), encoding="utf-8")
    found = proposed(file)
    data = found.edits["data"]
    assert (data["input"], data["target"], data["group"]) == ("tokens.joined", "tags.by_label", "document")
    assert list(found.task.schema["properties"]) == ["firm"]
    propose.try_out(found, rules())
    assert "60 can be read" in "\n".join(found.tried)


def at_a_terminal(typed: bytes, workspace: Path, *options: str) -> str:
    """What the command prints, with `--write`, where somebody types that."""
    keyboard, terminal = os.openpty()
    os.write(keyboard, typed)
    with pytest.MonkeyPatch.context() as patch, os.fdopen(terminal, encoding="utf-8") as typing:
        patch.setattr(sys, "stdin", typing)
        patch.setattr("hallmark.commands.repro.dvc_repro", lambda target: repro_here(workspace, target))
        said = stage(workspace, "hallmark.commands.propose", *options, "--write").stdout
    os.close(keyboard)
    return said


def test_it_asks_writes_and_splits(tmp_path: Path) -> None:
    """At a terminal: two answers are taken, a wrong one is asked for again, and then the stages run on the file."""
    workspace = make_tiny_workspace(tmp_path / "repo", RULES, rows=1)
    git_init(workspace)
    held = workspace / LOCK
    held.write_text("an earlier try", encoding="utf-8")
    rows = requests(note=lambda n, _: f"note {words(n + 1)}", shop=lambda n, _: f"S{n % 40}")
    write_lines(workspace / "data/raw/mine.jsonl", rows)
    typed = b"<\n\n,\n\xff\nshop\n<\n{body} - {note}\nwhat\nrow.id\n\n"  # `<`: back to the input
    printed = at_a_terminal(typed, workspace, "data/raw/mine.jsonl")
    params = load_params(workspace / "params.yaml")
    assert (params.data.target, params.data.input, params.data.group) == ("category", "{body} - {note}", "row.id")
    assert params.task.kind == "classification"
    asked, _, said = printed.partition("Proposed for params.yaml")
    assert asked.count("  [") == 10 and "'what': no such column" not in said
    assert "field 'what': no such column" in asked
    assert "rows      240" in said and "then `nox -s plan`" in said and "`nox -s repro`" in said
    assert "(score " not in printed and "rejected:" not in said, "which stays as params.yaml has it"
    kept = re.search(r"kept +train (\d+) .* holdout (\d+)", said)
    sides = json.loads((workspace / "reports/split.json").read_text(encoding="utf-8"))["rows"]
    assert kept and [*map(int, kept.groups())] == [sides["train"], sides["holdout"]]
    assert "an earlier try" not in held.read_text(encoding="utf-8")
    with chdir(workspace):  # what a person has written stays, for the same answers of the same file
        change_params(Path(), {"task.system_prompt": "Sort the post."})
        for target, prompt in (("category", True), ("shop", False)):
            found = propose.proposed(Path("data/raw/mine.jsonl"), Path("params.yaml"), Known(targets=(target,)))
            propose.try_out(found, Path("params.yaml"))
            assert (found.edits["task"]["system_prompt"] == "Sort the post.") == prompt


def test_the_kind_that_a_repo_was_stamped_for_is_no_question_if_the_data_agree(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "repo", RULES, rows=1)
    rows = [{"id": f"r{n}", "text": f"Shop {n} has {words(n)} for {n}.", "answer": order(n)} for n in range(40)]
    said = at_a_terminal(b"\n\n\n", workspace, str(write(tmp_path, rows)), "--no-split")
    assert said.count("  [") == 3 and "kind: extraction, as in params.yaml" in said
    assert "\nwarning 2: " in said and propose.numbered(["Look."]) == ["warning: Look."]


def test_it_asks_for_what_it_can_not_guess(tmp_path: Path) -> None:
    """Enter takes nothing where nothing is suggested, and `<` goes back."""
    kinds, plans = enumerate(("late", "lost") * 40), ("basic", "plus", "team")
    rows = [{"record": f"<a><b>{kind}</b></a>", "kind": kind, "plan": plans[n % 3]} for n, kind in kinds]
    file = write(tmp_path, rows)
    with refused("--target", file=file, field="record"):
        proposed(file)
    workspace = make_workspace(tmp_path / "repo", RULES, rows=1)
    said = at_a_terminal(b"\n\n<\n\nplan\n\n\n", workspace, str(file), "--no-split")
    assert said.count("the input would hold the answer") == 3
    data = load_params(workspace / "params.yaml").data
    assert (data.target, data.input) == ("kind", "plan")


@pytest.mark.parametrize(
    ("named", "has", "stays"),
    [
        (None, (), False),  # an earlier try
        (None, ("params.yaml", LOCK), False),  # the sample's
        ("again", ("params.yaml", LOCK), False),  # the sample's, and then an earlier try
        ("before", ("params.yaml", LOCK), True),
        ("before", (LOCK,), True),
        ("sample again", ("params.yaml", LOCK), True),  # params went back to the sample since: git has one's own
        ("again", None, True),  # no git, which says nothing
    ],
)
def test_a_holdout_that_git_has_of_ones_own_data_stays(
    tmp_path: Path, named: str | None, has: tuple[str, ...] | None, stays: bool
) -> None:
    workspace = make_workspace(tmp_path / "repo", RULES, rows=1)
    file = write(workspace / "data/raw", requests())
    sample = load_params(workspace / "params.yaml").data.path
    (workspace / LOCK).write_text("{}", encoding="utf-8")
    with chdir(workspace):
        if named and named != "again":
            change_params(workspace, {"data.path": "data/raw/rows.jsonl"})
        if has is not None:
            run(workspace, "git", "init", "--quiet")
            run(workspace, "git", "add", "data/raw/sample.sha256", *has)
        change_params(workspace, {"data.path": sample if named in (None, "sample again") else "data/raw/rows.jsonl"})
        propose.run(file.relative_to(workspace), Path("params.yaml"), write=True)
        assert Path(LOCK).exists() == stays
