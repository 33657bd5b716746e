"""Raw rows as tools write them: tables of Excel, JSON by any name, labels as numbers, values inside other values."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.class_labels import named_labels
from hallmark.base.errors import HallmarkError
from hallmark.base.rows import read_rows
from hallmark.data.conversations import Extra
from hallmark.data.nested import value_at
from tests.rows import checked_rows, params_with, refused, write_lines


def read(file: Path, content: str | bytes) -> list[tuple[int, dict[str, Any]]]:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_rows(file))


@pytest.mark.parametrize(
    ("name", "content", "row"),
    [
        ("a.csv", "id;betrag\r\n1;1.234,50\r\n", {"id": "1", "betrag": "1.234,50"}),
        ("a.csv", "sep=;\r\nid;text\r\n1;a,b\r\n", {"id": "1", "text": "a,b"}),
        ("a.csv", '"a;b;c",id\nx,1\n', {"a;b;c": "x", "id": "1"}),  # semicolons inside quotes separate nothing
        ("a.tsv", 'id\ttext\n1\t"tab\there"\n', {"id": "1", "text": "tab\there"}),
        ("a.csv", "id,text\n,\n1,a\n,\n", {"id": "1", "text": "a"}),  # Excel's empty rows
        ("a.tsv", 'id\ttext\n1\t"he said" no\n', {"id": "1", "text": '"he said" no'}),  # no quoting: benchmarks
        ("a.txt", "id\ttext\r\n1\tü\r\n".encode("utf-16"), {"id": "1", "text": "ü"}),
        ("a.json", '{"id": 1}\n{"id": 2}\n', {"id": 1}),
        ("a.jsonl", b'\xef\xbb\xbf{"id": 1}\n', {"id": 1}),
        ("a.csv", b"\xef\xbb\xbfid\n1\n", {"id": "1"}),
        ("a.json", '{"count": 1, "tickets": [{"id": 1}]}', {"id": 1}),
        ("a.csv", "id,x,x,y\n1,a,b,c\n", {"id": "1", "x": ["a", "b"], "y": "c"}),
        ("a.tsv", "id\ttext\ty\n1\t\\N\tC:\\New\n", {"id": "1", "text": None, "y": "C:\\New"}),  # a dump of MySQL
    ],
)
def test_what_tools_write_is_read(tmp_path: Path, name: str, content: str | bytes, row: dict[str, Any]) -> None:
    assert read(tmp_path / name, content)[0][1] == row


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "id;text\n1;ä\n".encode("cp1252"), "not UTF-8 at or after this row\n.*in Excel: CSV UTF-8"),
        ("a.csv", "id;text\n1;a;b\n", r"row 2: .*\(3, not 2; separator: ';'\)"),
        ("a.csv", "id,text,kind\n1,one line\nand the rest,x\n", r"row 2: .*\(2, not 3"),  # a line break without quotes
        ("a.csv", 'id,text,kind\n1,"a,b\n2,c,d\n3,e"\n', r"row 2: .*\(2, not 3"),  # a quote that ends rows later
        ("a.csv", 'sep="\nid\n', "names another separator"),
        ("a.txt", "only words\n", r"'\.txt' can't be read\n.*in Excel, save as CSV UTF-8"),
        ("a.json", '{"a": [{"id": 1}], "b": [{"id": 1}]}', "2 lists of objects"),
        ("a.jsonl", b'{"id": "\xff"}\n', "row 1.*not UTF-8|row 1: byte"),
        ("a.parquet", "no parquet", "not Parquet"),
    ],
)
def test_what_cant_be_read_is_said(tmp_path: Path, name: str, content: str | bytes, words: str) -> None:
    with pytest.raises(HallmarkError, match=words):
        read(tmp_path / name, content)


def test_empty_cells_that_an_export_drops_are_null_which_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert [row["kind"] for _, row in read(tmp_path / "a.tsv", 'id\tsaid\tkind\n1\t"a\nb"\n2\tc\n3\td\tx\n')] == [
            None,
            None,
            "x",
        ]
    assert [record.getMessage().split(": ")[1][:8] for record in caplog.records] == ["2 row(s)"]


def test_lines_are_numbered_as_in_an_editor(tmp_path: Path) -> None:
    assert [line for line, _ in read(tmp_path / "a.csv", 'sep=;\nid;t\n1;"a\nb"\n\n2;c\n')] == [3, 6]


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


def test_values_inside_others() -> None:
    row = {"user": {"login": "x", "a.b": 5}, "labels": [{"name": "p"}, {"name": "q"}, {}], "d.e": {"f": 1}}
    paths = {
        "user.login": "x", "user.a.b": 5, "labels.0.name": "p", "labels.*.name": ["p", "q"], "labels.9.name": None,
        "labels.name": None, "user.none.more": None, "user.login.more": None, "d.e.f": 1, "labels.²": None,
    }  # fmt: skip
    assert {path: value_at(row, path) for path in paths} == paths


def test_a_column_goes_before_a_path_and_a_missing_one_stays_missing() -> None:
    columns = {"id": "row.id", "group": "user.id", "input": "{a.b} {none.c}", "target": "label", "tags": None}
    extra = Extra(params_with().data.model_copy(update=columns), ["user.name"])
    row = {"user.id": "column", "user": {"id": "path", "name": "N"}, "a": {}}
    assert extra(row, Path("x"), 1) == row | {
        "user.name": "N",
        "a.b": None,
        "row.id": extra(row, Path("x"), 1)["row.id"][:16],
    }


COLUMNS = {"id": "row.id", "group": "row.id", "input": "text", "target": "label"}


@pytest.mark.parametrize(("label", "text"), [(3, "3"), (True, "true"), ("x", "x")])
def test_a_label_may_be_a_number(tmp_path: Path, label: Any, text: str) -> None:
    pl.DataFrame({"text": ["a"], "label": [label]}).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "schema.json").write_text(json.dumps({"enum": [text]}), encoding="utf-8")
    task = {"kind": "classification", "schema_file": str(tmp_path / "schema.json")}
    assert [row.target for row in checked_rows(tmp_path / "a.parquet", task=task, **COLUMNS)] == [text]


@pytest.mark.parametrize(("sign", "tags"), [(",", ["mobile  vip"]), (" ", ["mobile", "vip"])])
def test_the_separator_of_tags(tmp_path: Path, sign: str, tags: list[str]) -> None:
    (tmp_path / "a.csv").write_text("text,label,tags\na,x,mobile  vip\n", encoding="utf-8")
    found = checked_rows(tmp_path / "a.csv", **COLUMNS, tags="tags", tag_separator=sign)
    assert [row.tags for row in found] == [tags]


def test_a_refusal_in_plain_words_among_objects(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "I can't."}, {"text": "b", "label": '{"a": 1}'}, {"text": "c", "label": "Else."}]
    (tmp_path / "schema.json").write_text('{"type": "object"}', encoding="utf-8")
    task = {"kind": "extraction", "schema_file": str(tmp_path / "schema.json"), "refusal": "I can't."}
    found = checked_rows(write_lines(tmp_path / "a.jsonl", rows), task=task, **COLUMNS)
    assert [next(found).target, next(found).target] == ["I can't.", {"a": 1}]
    with refused(row=3, field="label"):
        next(found)


TOKEN = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=" \ufeff"), min_size=1, max_size=5)
SENTENCE = st.lists(
    st.tuples(TOKEN.filter(lambda token: token.strip() == token), st.sampled_from(["O", "B-x", "I-x", "S-a b"])),
    min_size=1, max_size=4,
)  # fmt: skip


@given(
    st.lists(st.lists(SENTENCE, min_size=1, max_size=3), min_size=1, max_size=3),
    st.sampled_from([("\t", ""), ("\t", "NN\t-\t"), (" \t ", ""), (" ", ""), ("  ", "NN _ ")]),
    st.sampled_from(["\n", "\r\n", " \n", "\r", "\r\r\n"]),
    st.booleans(),
)
def test_tokens_with_tags_are_read_as_their_sentences(
    documents: list[Any], columns: tuple[str, str], end: str, marked: bool
) -> None:
    """The row of a sentence is its first line, and documents are kept apart where the file marks them."""
    separator, between = columns
    lines: list[str] = []
    wanted = []
    for number, document in enumerate(documents, 1):
        lines += ["-DOCSTART- -X- O O", ""] if marked else []
        for sentence in document:
            tags = [tag.replace(" ", "-") if "\t" not in separator else tag for _, tag in sentence]
            row = {"document": f"some.train {number}"} if marked else {}
            row |= {"tokens": [token for token, _ in sentence], "tags": tags}
            wanted.append((len(lines) + 1, row))
            lines += [f"{token}{separator}{between}{tag}" for (token, _), tag in zip(sentence, tags, strict=True)]
            lines += [""]
    with tempfile.TemporaryDirectory() as folder:
        assert read(Path(folder) / "some.train.conll", end.join(lines)) == wanted
        assert [row["tags"] for _, row in read(Path(folder) / "x.bio", "\ufeff" + "\n".join(lines))] == [
            row["tags"] for _, row in wanted
        ]


def test_comments_of_a_document_are_columns_and_what_nobody_tagged_has_no_tags(tmp_path: Path) -> None:
    text = (
        "# doc = 1\n# firm = Nord = AB\n\nMix\tO\n#\tB-X\n\n# sent = 2\nno\tO\n\n# doc = 2\n# a remark\nyes\t_\nno\t_\n"
    )
    one = {"doc": "1", "firm": "Nord = AB"}
    assert read(tmp_path / "a.conll", text) == [
        (4, one | {"tokens": ["Mix", "#"], "tags": ["O", "B-X"]}),
        (8, one | {"sent": "2", "tokens": ["no"], "tags": ["O"]}),
        (12, {"doc": "2", "tokens": ["yes", "no"], "tags": None}),
    ]


def test_the_first_line_of_conll_u_plus_names_the_columns(tmp_path: Path) -> None:
    """Words of several tokens have no tag; tags of a machine, and of nobody, are none."""
    text = "# newdoc id = a\n{}1\tzu\tADP\tO\tB-Q\n2\tHof\tNOUN\tB-TO\tO\n\n# newdoc id = b\n1\tja\tX\t_\tO\n"
    for names, word in (
        ("ID FORM UPOS X:NER NER_AUTO", "1-2\tzum\t_\t_\t_\n"),
        ("NO WORD UPOS NER MODEL:NER", "# zum\n"),
    ):
        assert read(tmp_path / "a.conllup", f"# global.columns = {names}\n{text.format(word)}") == [
            (4, {"newdoc id": "a", "tokens": ["zu", "Hof"], "tags": ["O", "B-TO"]}),
            (8, {"newdoc id": "b", "tokens": ["ja"], "tags": None}),
        ]


def test_a_long_sentence_takes_time_by_its_length(tmp_path: Path) -> None:
    start = time.process_time()
    [(_, row)] = read(tmp_path / "a.conll", "a\tO\n" * 40_000)
    assert len(row["tags"]) == 40_000 and time.process_time() - start < 4


@pytest.mark.parametrize(
    ("content", "row", "words"),
    [
        ("a O\nb\n", 2, "but 1"),
        ("-DOCSTART-\n\na\n", 3, "no tag"),
        ("a NN\n", 1, "no BIO tag"),
        ("a\tO\n\tO\n", 2, "no token"),
        ("a\t_\nb\tO\n", 2, "no BIO tag"),
        ("# global.columns = ID FORM UPOS\n1\ta\tX\n", 1, "no column of ID, FORM, UPOS"),
    ],
)
def test_a_broken_line_of_tokens_is_named(tmp_path: Path, content: str | bytes, row: int, words: str) -> None:
    with refused(file=tmp_path / "a.conll", row=row) as caught:
        read(tmp_path / "a.conll", content)
    assert words in caught.value.problem
