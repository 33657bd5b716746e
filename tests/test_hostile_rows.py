"""Whatever stands in a data file, in params.yaml, in a schema or in an answer ends in a HallmarkError, if in any error.

`HALLMARK_FUZZ=5000 pytest tests/test_hostile_rows.py` tries more.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hallmark.answer.endpoint import MALFORMED, answer_of
from hallmark.answer.scoring import Scorer
from hallmark.base.errors import HallmarkError
from hallmark.mask.rows import RowMaker
from hallmark.params.loader import load_params
from hallmark.records import Record
from hallmark.records.recipe import load
from hallmark.records.targets import check_target
from hallmark.task.params import Task as TaskParams
from hallmark.task.schema import load_schema
from hallmark.task.task import Task
from tests.rows import mask_with
from tests.workspace import ROOT
from tests.workspace import written as written_files

FEWER = settings(max_examples=max(1, settings.default.max_examples // 4))  # of what takes long
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.text('{}[]":,0eE\\ud8', max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
ROWS = [
    {"id": f"r{n}", "group": "g", "text": 'a "b", c', "target": {"a": [n, None], "b": {"c": 1.5}}} for n in range(3)
]
PARAMS = load_params(ROOT / "params.yaml")
SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": [1, "x"]}, "b": {"type": ["array", "null"], "items": {"type": "string"}}},
}


@st.composite
def damaged(draw: Any, content: bytes) -> bytes:
    """The content with a few runs of bytes taken out, put in or written over."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 20)))
        new = draw(
            st.binary(max_size=4)
            | st.sampled_from([b"", b"{", b"[", b'"', b"\xed\xa0\x80", b"\\ud800", b"1e999", b"&a *a", b"\n"])
        )
        content = content[:start] + new + content[end:]
    return content


def written(write: Callable[[pl.DataFrame, BytesIO], Any]) -> bytes:
    buffer = BytesIO()
    write(pl.DataFrame(ROWS), buffer)
    return buffer.getvalue()


FILES = {
    "jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    "json": json.dumps(ROWS).encode(),
    "csv": b'id,text,target\n1,"a ""b""\nc",3\n2,x,\n',
    "tsv": b'id\ttext\ttarget\n1\t"a" b\t3\n2\tx\t\n',
    "parquet": written(lambda frame, buffer: frame.write_parquet(buffer)),
    "arrow": written(lambda frame, buffer: frame.write_ipc_stream(buffer)),
}


def only_a_hallmark_error(call: Callable[[], Any]) -> None:
    try:
        call()
    except HallmarkError as error:
        assert "remedy:" in str(error)


READERS = {"jsonl": "json_lines", "json": "json_rows"}


@pytest.mark.parametrize("kind", FILES)
@given(data=st.data())
@FEWER
def test_a_damaged_file_of_rows(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject) -> None:
    root = tmp_path_factory.getbasetemp() / f"damaged_{kind}"
    content = data.draw(st.binary() | damaged(FILES[kind]) | damaged(FILES[kind]))
    reader = READERS.get(kind, "table")
    rows = "rows" if kind in READERS else "rows.iter_rows(named=True)"
    recipe = f"from hallmark.records import *\ndef records(p):\n  rows = {reader}('data/raw/x.{kind}')\n  for row in {rows}:\n"
    recipe += "    yield Record(id=str(row['id']), group='g', prompt='x', target='y', source=row['source'])\n"
    files = {f"data/raw/x.{kind}": content, "records.py": recipe}
    run = load(written_files(root, files) / "records.py").run({}, root)
    only_a_hallmark_error(lambda: [list(run), run.warnings()])


FIELDS = sorted(Record.model_fields)


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1, max_size=4), min_size=1, max_size=3))
def test_records_of_any_shape(tmp_path_factory: pytest.TempPathFactory, changes: list[dict[str, Any]]) -> None:
    """One that is taken can be masked."""
    schema = tmp_path_factory.getbasetemp() / "shapes_schema.json"
    schema.write_text(json.dumps(SCHEMA), encoding="utf-8")
    task = PARAMS.task.model_copy(update={"schema_file": str(schema)})
    maker = RowMaker(PARAMS.data, task, mask_with(markup="html"), None, None)
    good = {"id": "1", "group": "g", "prompt": "x", "target": {"a": 1}, "source": "x.jsonl:1"}

    def taken(record: dict[str, Any]) -> None:
        made = check_target(Record(**record), maker.task)
        maker.rows([(made, tuple((kind, one) for kind, values in made.private.items() for one in values))])

    for change in changes:
        only_a_hallmark_error(lambda: taken(good | change))  # noqa: B023


@given(damaged((ROOT / "params.yaml").read_bytes()))
@FEWER
def test_damaged_params(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.yaml"
    file.write_bytes(content)
    only_a_hallmark_error(lambda: load_params(file))


KEYWORDS = [
    "type", "properties", "items", "enum", "const", "anyOf", "oneOf", "allOf", "not", "$ref", "$defs", "$id", "$anchor", "$schema",
    "$dynamicRef", "pattern", "required", "additionalProperties", "patternProperties", "prefixItems", "minimum", "format", "definitions",
]  # fmt: skip
REFERENCES = st.sampled_from([
    "#", "#/$defs/a", "#/$defs/b", "#/anyOf/0", "#a", "#/%zz", "other.json", "http://127.0.0.1:9/x",
    "http://json-schema.org/draft-07/schema#",
])  # fmt: skip
SCHEMAS = st.recursive(
    SCALARS | REFERENCES | st.sampled_from(["string", "object", "(", "(a|aa)+$"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYWORDS) | st.sampled_from("ab"), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(SCHEMAS | st.dictionaries(st.sampled_from(KEYWORDS), SCHEMAS, max_size=4), JSON)
def test_schemas_of_any_shape(tmp_path_factory: pytest.TempPathFactory, schema: Any, value: Any) -> None:
    """A schema that is loaded can be used by all that walks it."""
    file = tmp_path_factory.getbasetemp() / "any_schema.json"
    file.write_text(json.dumps(schema), encoding="utf-8")
    task = Task(PARAMS.task.model_copy(update={"schema_file": str(file)}))
    try:
        load_schema(file)
    except HallmarkError as error:
        assert error.file == file
        assume(False)
    target = json.dumps(value).replace("NaN", "0").replace("Infinity", "0")
    score = Scorer(task).score(input="", context="x", target=target, prediction=target)
    assert score.exact_match or not score.schema_valid
    task.render(target)
    assert isinstance(task.kind.label_names(task), list)


ANSWERS = (
    st.text()
    | JSON.map(json.dumps)
    | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))
    | damaged(b'{"a":[1,{"b":"c"}],"a":2}').map(lambda raw: raw.decode("latin-1"))
)


@pytest.mark.parametrize("kind", ["extraction", "tool_call", "text", "classification"])
@given(target=ANSWERS, prediction=ANSWERS)
@FEWER
def test_answers_of_any_text(tmp_path_factory: pytest.TempPathFactory, kind: str, target: str, prediction: str) -> None:
    file = tmp_path_factory.getbasetemp() / "answers_schema.json"
    file.write_text(json.dumps(SCHEMA if kind != "classification" else {"enum": ["x", "y"]}), encoding="utf-8")
    params = {
        "kind": kind,
        "system_prompt": "x",
        "tool_format": "json",
        "schema": str(file),
        "refusal": '{"refusal":1}',
    }
    scorer = Scorer(Task(TaskParams.model_validate(params)), {"a": "a+"}, None, {"f": r"\d+"})
    for one, two in ((target, prediction), (target, target)):
        score = scorer.score(input="1 January", context=target, target=one, prediction=two)
        assert score.exact_match or score.outcome != "pass"


CALLS = {"function": {"name": "x", "arguments": "{}"}}


@given(JSON, JSON, JSON, JSON)
def test_responses_of_any_shape(content: Any, finish: Any, usage: Any, calls: Any) -> None:
    message = {"content": content, "tool_calls": calls}
    wrapped = {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}
    called = {"choices": [{"message": {"tool_calls": [CALLS | {"function": {"name": content, "arguments": calls}}]}}]}
    for response in (wrapped, called, content, {"choices": content}, {"choices": [content]}):
        try:
            answer = answer_of(response)
        except MALFORMED:
            continue
        assert isinstance(answer.text, str)
        assert answer.tokens >= 0
