"""HTML as text: one function for rows, requests, batches and collected rows, in linear time, whoever wrote it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.markup import plain_text, with_markup
from hallmark.data.gold import gold_spans
from hallmark.data.raw import raw_rows
from hallmark.serve.chat_request import read_request
from hallmark.task.task import Task
from tests.rows import checked_rows, params_with, refused, write_lines
from tests.test_conversations import read_spans
from tests.test_gateway import ask, chat
from tests.toy_gateway import Gateway

PART = st.sampled_from(
    ["<p>", "</p>", "<div class='x>y'>", "</div>", "<br>", "<td>", "<b>", "</b>", "<!-- x -->", "<style>a</style>", "&lt;b&gt;",
     "&nbsp;", "&amp;", " ", "\n", "\n\n", "word", "a < b", "<EMAIL_1>", "<ann@example.com>", "ü"]
)  # fmt: skip
TEXT = st.lists(PART, max_size=12).map("".join)


@given(TEXT, TEXT)
def test_a_request_is_read_as_its_row_is(context: str, text: str) -> None:
    """Also in one message, as callers send it; what is plain stays as it is, written as HTML."""
    plain = [plain_text(each, "html") for each in (context, text)]
    if all(plain):
        body = chat(
            f"{context.strip()}\n\n{text.strip()}", messages=[{"role": "user", "content": f"{context}\n\n{text}"}]
        )
        (message,) = read_request(json.dumps(body).encode(), "html").prompt()
        assert message["content"] == "\n\n".join(plain)
    assert plain_text(with_markup(plain[1], "html"), "html") == plain[1]
    assert plain_text(text, "none") == with_markup(text, "none") == text
    assert plain[1].count("<EMAIL_1>") == text.count("<EMAIL_1>")


@pytest.mark.parametrize(
    ("html", "plain"),
    [
        ("<h1>Hi</h1><p>one<br/>two</p>\n<p>three", "Hi\none\ntwo\nthree"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ("AT&amp;T &lt;b&gt; &#8364;&#x20AC; AT&T &copy", "AT&T <b> €€ AT&T &copy"),
        ("a<script>if (x < 1) '</b>'</script>b<STYLE>p {}</STYLE >c", "abc"),
        ('<a title="x > y" href=z>link</a> <o:p></o:p>', "link"),
        ("<!doctype html><![if !mso]>x<![endif]><!-- <p> never closed", "x"),
        ("if a <b and 3<4", "if a <b and 3<4"),  # never closed, so no tag
        (f"&#{'9' * 9_000}; &#xD800; &#0;", f"&#{'9' * 9_000}; \ufffd \ufffd"),
    ],
)
def test_html_is_plain_text(html: str, plain: str) -> None:
    assert plain_text(html, "html") == plain


@pytest.mark.parametrize("unit", ["<a", "<a '\"", "<!--", "<div></p>", "<script", "<![", "&#1", "<p> "])
def test_a_hostile_megabyte_takes_no_longer_than_another(unit: str) -> None:
    start = time.process_time()
    plain_text(unit * (1_000_000 // len(unit)), "html")
    assert time.process_time() - start < 5  # with the square of the length, it would be minutes


def test_rows_have_no_markup_nor_have_the_spans_in_them(tmp_path: Path) -> None:
    row: dict[str, Any] = {"id": "1", "customer": "A", "body": "<p>Rosa &amp; Bo</p>", "about": "<i>x</i>", "spans": []}
    row |= {"target": "<p>Ja &amp;<br>nein</p>", "rejected": "<b>no</b>"}
    columns: dict[str, Any] = {"group": "customer", "input": "{about}\n{body}", "context": "about", "markup": "html"}
    columns |= {"target": "target", "rejected": "rejected"}
    (raw,) = checked_rows(write_lines(tmp_path / "rows.jsonl", [row]), **columns)
    assert (raw.input, raw.context, raw.target, raw.rejected) == ("x\nRosa & Bo", "x", "Ja &\nnein", "no")
    empty = write_lines(tmp_path / "empty.jsonl", [row | {"body": "<p>&nbsp;</p>"}])
    with refused("data.missing", row=1, field="body"):
        list(checked_rows(empty, **columns | {"input": "body"}))
    for about in ("see <!-- this", "<style>p {}", "see <a title="):  # of a caller's one text, it takes what follows
        swallowing = write_lines(tmp_path / "open.jsonl", [row | {"about": about, "body": "late > &amp; lost"}])
        with refused("data.missing", row=1, field="about"):
            list(checked_rows(swallowing, **columns | {"input": "body"}))
    known = params_with().mask.model_copy(update={"identity_columns": {"about": "PERSON"}})
    given = params_with().data.model_copy(
        update={"path": str(write_lines(tmp_path / "name.jsonl", [row | {"about": "O&#39;Neil"}])), "tags": None}
        | columns
    )
    (raw,) = raw_rows(given, known, Task(params_with().task))
    assert raw.identity == (("PERSON", "O'Neil"),)
    row["spans"] = [[3, 16, "who"]]
    (raw,) = read_spans(tmp_path, row, "spans", "body", markup="html")
    assert (raw.input, raw.target) == ("Rosa & Bo", {"who": ["Rosa & Bo"]})
    with refused("data.markup", field="mask.gold"):
        gold_spans(tmp_path / "gold.jsonl", params_with().data.model_copy(update={"markup": "html"}))


@pytest.mark.parametrize("mask", [True, False])
def test_the_gateway_takes_the_markup_out_of_all_but_the_prompt(mask: bool) -> None:
    gateway = Gateway(mask=mask, markup="html")
    said = [{"role": "system", "content": "<b>"}, {"role": "user", "content": "<p>Hello<br>there</p>"}]
    assert ask(gateway, chat(messages=said)).status_code == 200
    asked = gateway.models.asked[0]
    assert [message["content"] for message in asked.masked.messages] == ["<b>", "Hello\nthere"]
    assert [message.content for message in asked.chat.messages] == ["<b>", "Hello\nthere"]


@pytest.mark.parametrize(
    ("target", "read"),
    [
        ({"shop": "Tee &amp; Co", "all": ["A<br>B", "x&gt;y"]}, {"shop": "Tee & Co", "all": ["A\nB", "x>y"]}),
        ({"shop": "Tee & Co", "all": ["&amp;lt;"]}, {"shop": "Tee & Co", "all": ["&lt;"]}),
        ({"shop": "Els &amp; Co", "all": []}, {"shop": "Els &amp; Co", "all": []}),  # nobody copied that
        ({"shop": "R&amp;D", "all": ["x&gt;y"]}, {"shop": "R&amp;D", "all": ["x>y"]}),  # the schema lists the first
        ({"shop": "&lt;", "all": []}, {"shop": "&lt;", "all": []}),  # the plain text has it
    ],
)
@pytest.mark.parametrize("form", [dict, json.dumps])
def test_what_an_answer_copies_is_read_as_its_input_is(tmp_path: Path, form: Any, target: Any, read: Any) -> None:
    listed = {"enum": ["R&amp;D"]}
    shop = listed if target["shop"] in listed["enum"] else {"type": "string"}
    schema = {"type": "object", "properties": {"shop": shop, "all": {"type": "array"}}}
    (tmp_path / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    task = {"kind": "extraction", "schema_file": str(tmp_path / "schema.json"), "refusal": None}
    row = {"id": "1", "body": "<p>Tee &amp; Co: A<br>B, x&gt;y, &amp;lt; R&amp;D</p>", "target": form(target)}
    row["no"] = form(target)
    columns = {"group": "id", "input": "body", "target": "target", "rejected": "no", "markup": "html"}
    (raw,) = checked_rows(write_lines(tmp_path / "rows.jsonl", [row]), task=task, **columns)
    parsed = [json.loads(value) if isinstance(value, str) else value for value in (raw.target, raw.rejected)]
    assert parsed == [read, read]
