"""HTML as text: one function for records, requests and batches, in linear time, whoever wrote it."""

from __future__ import annotations

import html
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.markup import plain_text
from hallmark.mask.gold import gold_spans
from hallmark.mask.rows import RowMaker, masked_schema
from hallmark.records import Record
from hallmark.serve.chat_request import read_request
from hallmark.task.params import Task as TaskParams
from tests.rows import mask_with, refused, shipped
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
    assert plain_text(html.escape(plain[1], quote=False), "html") == plain[1]
    assert plain_text(text, "none") == text
    assert plain[1].count("<EMAIL_1>") == text.count("<EMAIL_1>")


@pytest.mark.parametrize(
    ("written", "plain"),
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
def test_html_is_plain_text(written: str, plain: str) -> None:
    assert plain_text(written, "html") == plain


@pytest.mark.parametrize("unit", ["<a", "<a '\"", "<!--", "<div></p>", "<script", "<![", "&#1", "<p> "])
def test_a_hostile_megabyte_takes_no_longer_than_another(unit: str) -> None:
    start = time.process_time()
    plain_text(unit * (1_000_000 // len(unit)), "html")
    assert time.process_time() - start < 5  # with the square of the length, it would be minutes


def made(record: dict[str, Any], kind: str = "text", schema: Any = None) -> Any:
    """What masking makes of a record with HTML: its row, by column."""
    task = TaskParams.model_validate(
        {"kind": kind, "system_prompt": "Do it.", "tool_format": "json", "refusal": None, "schema": schema}
    )
    stays = {"PERSON": "keep", "ORGANIZATION": "keep"}
    maker = RowMaker(shipped().data, task, mask_with(markup="html", actions=stays), None, None)
    given = Record(**({"id": "1", "group": "A", "source": "x.jsonl:1"} | record))
    (row,), _ = maker.rows([(given, ())])
    return dict(zip(masked_schema(), row, strict=True))


def test_records_have_no_markup(tmp_path: Path) -> None:
    record = {"prompt": "<p>Rosa &amp; Bo</p>", "context": "<i>x</i>", "target": "<p>Ja &amp;<br>nein</p>"}
    row = made(record | {"rejected": "<b>no</b>"})
    assert [row["prompt"][-1]["content"], row["context"]] == ["x\n\nRosa & Bo", "x"]
    assert [row[name][0]["content"] for name in ("completion", "rejected")] == ["Ja &\nnein", "no"]
    for open_end in ("see <!-- this", "<style>p {}", "see <a title="):  # of a caller's one text, it takes what follows
        with refused(row=1, field="context"):
            made(record | {"context": open_end, "prompt": "late > &amp; lost"})
    with refused("mask.markup", field="mask.gold"):
        gold_spans(tmp_path / "gold.jsonl", mask_with(markup="html"))


@pytest.mark.parametrize("mask", [True, False])
def test_the_gateway_takes_the_markup_out_of_all_but_the_prompt(mask: bool) -> None:
    gateway = Gateway(mask=mask, markup="html")
    said = [{"role": "system", "content": "<b>"}, {"role": "user", "content": "<p>Hello<br>there</p>"}]
    assert ask(gateway, chat(messages=said)).status_code == 200
    asked = gateway.models.asked[0]
    assert [message["content"] for message in asked["messages"]] == ["<b>", "Hello\nthere"]


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
    text = "<p>Tee &amp; Co: A<br>B, x&gt;y, &amp;lt; R&amp;D</p>"
    record = {"prompt": text, "target": form(target), "rejected": form(target)}
    row = made(record, "extraction", str(tmp_path / "schema.json"))
    assert [json.loads(row[name][0]["content"]) for name in ("completion", "rejected")] == [read, read]
