"""Files as tools and offices write them: chats, splits in files, other encodings, answers that are texts or are missing."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Chat
from hallmark.base.records import columns_of
from hallmark.base.rows import read_rows
from hallmark.commands import propose
from hallmark.data.conversations import with_messages
from hallmark.data.spans import is_open
from hallmark.propose.chats import all_answers, chat_in
from hallmark.propose.columns import Column
from hallmark.propose.encodings import copy_of, encoding_of, in_utf8
from hallmark.propose.evidence import is_id, stand_ins
from hallmark.propose.proposal import Proposal
from tests import tool_exports
from tests.rows import checked_rows, write_lines
from tests.test_propose import CODES, proposed, requests, rules, words, write

READ = {"id": "row.id", "group": "reader", "input": "turns.input", "target": "turns.target"}
SAYS = {"lender": "May I keep {0}?", "desk": "Yes, {0} is yours for two more weeks.", "notice": "desk has joined"}


def tried(found: Proposal) -> str:
    propose.try_out(found, rules())
    return "\n".join(found.tried)


def talk(number: int, speakers: str, who: str, what: str) -> list[dict[str, Any]]:
    """Turns of a chat in a library, by the first letters of who speaks."""
    said = {name[0]: (name, text) for name, text in SAYS.items()}
    return [{who: said[one][0], what: said[one][1].format(words(number + at)), "at": at} for at, one in enumerate(speakers)]  # fmt: skip


@pytest.mark.parametrize(
    ("who", "what", "names"),
    [
        ("speaker", "utterance", {}),
        ("user.kind", "text", {"lender": "visitor", "desk": "operator", "notice": "event"}),
        ("fromVisitor", "msg", {"lender": "True", "desk": "False"}),
        ("dir", "line", {"lender": "inbound", "desk": "outbound"}),
    ],
)
def test_a_chat_is_known_by_its_shape(tmp_path: Path, who: str, what: str, names: dict[str, str]) -> None:
    """Who opens it is the user, unless the names say otherwise; events are left out, and turns of one in a row are one."""
    rows = []
    for number in range(40):
        turns = talk(number, "lnlddld"[number % 2 :] if "notice" in names or not names else "lldld", who, what)
        for turn in turns:
            name = names.get(turn[who], turn[who])
            turn[who] = {"True": True, "False": False}.get(name, name)
            if "." in who:
                turn["user"] = {"kind": turn.pop(who)}
        rows.append({"chat": {"no": number, "lines": turns}, "reader": f"R{number % 15 + 700}", "topic": ("fees", "loans")[number % 2]})  # fmt: skip
    file = tmp_path / "export.json"
    file.write_text(json.dumps({"made": "2025-02-03", "chats": rows}), encoding="utf-8")
    found = proposed(file)
    chat = found.edits["data"]["chat"]
    assert (chat["turns"], chat["role"], chat["text"]) == ("chat.lines", who, what)
    assert sorted(chat["roles"].values()) == ["assistant", "user"]
    assert (found.kind, found.roles.input, found.roles.target) == ("text", "turns.input", "turns.target")
    assert found.roles.group == "reader"
    assert "40 can be read" in tried(found)
    assert ("are left out: if they are" in str(found.warnings)) == ("event" in str(rows) or "notice" in str(rows))
    file = write_lines(tmp_path / "rows.jsonl", rows[:1])
    read = list(checked_rows(file, **READ, answers="all", chat=Chat(**chat)))
    assert len(read) == 2 and all(row.target.startswith("Yes, lamp") for row in read)


def test_calls_that_a_text_follows_are_the_answers(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "book", "arguments": '{"court": 2}'}}
    rows = []
    for number in range(40):
        asked = [{"role": "user", "content": f"Book {words(number)}"}]
        called = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "ok"}]
        steps = called * (2 if number == 1 else 1) if number % 8 else []
        rows.append({"messages": [*asked, *steps, {"role": "assistant", "content": f"Done with {words(number)}."}]})
    found = proposed(write(tmp_path, rows))
    data = found.edits["data"]
    assert (found.kind, data["answers"], data["no_call"]) == ("tool_call", "calls", "empty")
    assert "35 of 40 rows" in found.reasons["data", "answers"]
    assert "41 can be read" in tried(found), "a row with two calls is two records"
    read: dict[str, Any] = READ | {"group": "row.id", "answers": "calls"}
    never = {"messages": [*rows[1]["messages"][:3], {"role": "assistant", "content": None}]}
    assert len([*checked_rows(write_lines(tmp_path / "never.jsonl", [never]), **read)]) == 1  # the call
    first, second = checked_rows(write_lines(tmp_path / "two.jsonl", rows[1:2]), **read)
    assert first.target == second.target and "tool: ok" in second.input and "tool: ok" not in first.input


@pytest.mark.parametrize("names", [("train.jsonl", "dev.jsonl", "test.jsonl"), ("a.jsonl", "test.jsonl")])
def test_the_names_of_files_are_a_split(tmp_path: Path, names: tuple[str, ...]) -> None:
    rows = [{"id": f"r{n}", "member": f"M{n // 4 + 100}", "ask": f"Where is {words(n)}?", "answer": f"At {words(n)}"} for n in range(240)]  # fmt: skip
    for at, name in enumerate(names):
        write_lines(tmp_path / name, rows[at * 80 : (at + 1) * 80])
    found = proposed(tmp_path)
    whole = len(names) == 3
    assert found.edits["data"]["split"] == ("file.part" if whole else None)
    assert f"{80 * len(names)} can be read" in tried(found) and "mask will stop" not in str(found.warnings)
    assert not any("file.part" in str(found.edits["data"][key]) for key in ("input", "target", "group", "tags"))
    if whole:
        write_lines(tmp_path / "test.jsonl", [*rows[160:], rows[0] | {"id": "again"}])
        assert "'file.part' names parts of a split, but 1 groups" in str(proposed(tmp_path).warnings)


def exhibits(title: str = "caption", count: int = 240) -> list[dict[str, Any]]:
    """A museum's records: a text, a label that it tells, and in a column after it a short text about it."""
    halls = ("coins", "ships", "maps")
    return [
        {"no": f"X{n:04}", "hall": halls[n % 3], "records": f"This {halls[n % 3][:-1]} of {words(n)} came from {words(n + 300)} by sea.",
         title: None if n % 20 == 3 else f"How {words(n)[:9]} and {words(n + 300)} came", "slug": f"how-{words(n)[:9]}-and-{words(n + 300).replace(' ', '-')}-came"}
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("title", ["caption", "headline"])
def test_a_text_may_be_the_answer_and_the_label_is_asked_about(tmp_path: Path, title: str) -> None:
    found = proposed(write(tmp_path, exhibits(title)))
    assert (found.kind, found.roles.target, found.roles.input, found.roles.id) == ("text", title, "records", "no")
    assert found.warnings[0].startswith(f"CHECK THE TARGET: '{title}'") and "'hall' (3 labels)" in found.warnings[0]
    rows = [row | {"category": row["hall"]} for row in exhibits(title)]
    for row in rows:
        row["hall"] = "north"
    assert proposed(write(tmp_path, rows)).roles.target == "category", "a label that is named like one, and told"


def test_short_columns_that_the_answer_has_are_read_and_what_stands_after_it_is_not(tmp_path: Path) -> None:
    """And what stands for an answer that is not there is none."""
    makers, rows = [f"{name} Works" for name in ("Alba", "Brook", "Corvo", "Dune")], []
    for n in range(240):
        maker, model = makers[n % 4], f"Swift {'abcdefghijkl'[n % 12]}"
        text = (
            f"<p>The {model} of {maker} has {words(n)}.</p>"
            if n % 12 != 5
            else ("to follow", "<p></p>", None)[n // 12 % 3]
        )
        rows.append({"item": f"N{n:04}", "maker": maker, "model": model, "facts": f"gears {n % 9 + 3}; {words(n)}; weight {n % 13 + 20}", "copy": text,
                     "clerk": f"c{n % 5}", "teaser": f"{maker}: {words(n)} for you {n}" if n % 12 != 5 else None})  # fmt: skip
    found = proposed(write(tmp_path, rows))
    assert (found.roles.target, found.roles.input) == ("copy", "{maker}\n{model}\n{facts}")
    assert found.edits["data"]["no_answer"] == ["<p></p>", "to follow"]
    assert "'teaser' is left out of the input" in str(found.warnings)
    assert "220 can be read, 20 left out: 20 without target (copy)" in tried(found)


def test_labels_of_spans_in_other_cases_are_one(tmp_path: Path) -> None:
    spelled = ("Tool", "tool", "Tool ")
    rows = [{"id": n, "note": f"drill and {words(n)}", "found": [[0, 5, spelled[max(0, n % 8 - 5)]], [10, 14, "Stock"]]} for n in range(40)]  # fmt: skip
    found = proposed(write(tmp_path, rows))
    assert [*found.task.schema["properties"]] == ["Tool", "Stock"]
    assert "4 spellings of 2 labels" in str(found.warnings)
    assert "40 can be read" in tried(found) and "mask will stop" not in str(found.warnings)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Größe 20 €, „Straße“, 3 m²", "cp1252"),
        ("l’été à côté, año ¿qué?, coração", "cp1252"),
        ("Zażółć gęślą jaźń", "cp1250"),
        ("Привет, как дела", "cp1251"),
        ("Müller", "utf-16"),
        ("Müller", "utf-16-le"),
    ],
)
def test_a_file_in_another_encoding_is_read_from_a_copy(tmp_path: Path, text: str, encoding: str) -> None:
    assert encoding_of(text.encode(encoding)) == encoding
    lines = [f'{n};"{text} {words(n)}";{("fine", "lost")[n % 2]}\r\n' for n in range(30)]
    file = tmp_path / "books.csv"
    file.write_bytes("".join(["no;note;state of it\r\n", *lines]).encode(encoding))
    with in_utf8(file, write=False) as (copy, found):
        assert found == (None if encoding == "utf-16" else encoding), "a table with a mark is read as it is"
        assert sorted(tmp_path.iterdir()) == [file]
        assert [row["note"] for _, row in read_rows(copy)][4] == f"{text} {words(4)}"
    with in_utf8(file, write=True) as (copy, found):
        assert copy == (copy_of(file) if found else file)
    assert not found or copy.read_bytes().decode() == file.read_bytes().decode(encoding)


def test_what_is_said_of_another_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tool_exports.helpdesk(tmp_path)
    text = file.read_text(encoding="utf-8")
    file.write_bytes(text.replace("the", "thé").encode("cp1252", "replace"))
    with in_utf8(file, write=False) as (copy, found):
        assert found == "cp1252"
        propose.run(copy, rules(), write=False, copied=(copy_of(file), found))
    said = capsys.readouterr().out
    assert f'{file.stem}.utf8{file.suffix}"' in said and "warning 1:" in said and "looks like cp1252" in said
    assert str(copy.parent) not in said


def test_the_longer_list_of_a_wrapper_is_the_rows_and_the_others_are_named(tmp_path: Path) -> None:
    file, plots = tmp_path / "export.json", [{"id": f"p{n}", "from": f"bed {n}", "note": f"Dig {words(n)} by noon", "label": ("beds", "paths")[n % 2]} for n in range(40)]  # fmt: skip
    wrapper = {"made": "2025", "gardeners": [{"name": "Ida"}, {"name": "Per"}], "plots": plots}
    file.write_text(json.dumps(wrapper), encoding="utf-8")
    found = proposed(file)
    assert len(found.rows) == 40 and "longest list (40), not 'gardeners' (2)" in str(found.warnings)
    said = "You label plots. Answer with beds or paths. Never guess."
    file.write_text(json.dumps(wrapper | {"config": {"systemPrompt": said}}), encoding="utf-8")
    assert proposed(file).edits["task"]["system_prompt"].startswith(said)
    file.write_text(json.dumps(wrapper | {"beds": [{"id": n, "soil": words(n)} for n in range(30)]}), encoding="utf-8")
    with pytest.raises(HallmarkError, match="3 lists of objects"):
        proposed(file)


def test_an_empty_object_or_the_word_null_is_no_answer_among_objects_with_keys(tmp_path: Path) -> None:
    def answer(n: int) -> Any:
        return ({}, "null", None, "", [])[n // 8 % 5] if n % 8 == 3 else {"dish": words(n), "cups": n % 5}

    rows = [{"id": f"c{n}", "text": f"Bake {words(n)} with {n % 5} cups", "recipe": answer(n)} for n in range(120)]
    found = proposed(write(tmp_path, rows))
    assert found.edits["data"]["no_answer"] == ["[]", "null", "{}"]
    assert found.reasons["data", "no_answer"].startswith("9 targets are no answer")
    assert "105 can be read, 15 left out: 15 without target (recipe)" in tried(found)


def test_words_that_repeat_are_no_owner_of_ids_and_a_name_does_not_win_over_its_id(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"key": f"s{n:04}", "dig": f"TR-{n // 3 + 100}", "tool": f"{words(n // 3 % 24)[:5]} {'abcdefghijklmnopqrstuvwx'[n // 3 % 24]}",
             "text": f"Found {words(n)} under {words(n + 7)}", "label": ("bone", "coin")[n % 2]} for n in range(240)]  # fmt: skip
    assert proposed(write(tmp_path, rows)).roles.group == "dig"
    for n, row in enumerate(rows):
        row["guest"] = {"id": f"g{n // 3}x", "name": f"Ann {chr(65 + n // 3 % 26)}"}
    assert proposed(write(tmp_path, rows)).roles.group == "guest.id"


def test_spans_that_people_corrected_win_over_those_of_a_machine(tmp_path: Path) -> None:
    """Both in the form of Ground Truth; an empty list is an answer, a row without one is none."""

    def spans(n: int, start: int) -> dict[str, Any]:
        pairs = ("LOT", start, 9), ("WHO", 13, 16)
        found = [{"label": label, "startOffset": first, "endOffset": end} for label, first, end in pairs]
        return {"annotations": {"entities": found if n % 11 else []}}

    rows = [{"source": f"violin {n:02} by Bob, {words(n)}", "ref": f"R{n}", "job": spans(n + 1, 7)} | ({"job-adj": spans(n, 0)} if n % 9 else {})
            for n in range(90)]  # fmt: skip
    found = proposed(write(tmp_path, rows))
    assert (found.roles.target, found.roles.input) == ("job-adj.annotations.entities.by_label", "source")
    assert [*found.task.schema["properties"]] == ["LOT", "WHO"]
    assert "80 can be read, 10 left out" in tried(found)


def test_a_reason_that_stands_before_the_text_is_known_first(tmp_path: Path) -> None:
    """The text after it, which some rows do not have yet, is the answer, whoever it is named for."""
    reasons = [f"{what} {how}" for what in ("door", "lift", "lamp", "gate") for how in ("shut", "loud", "dark", "wet")]
    rows = [{"no": f"X{n:04}", "reason": reasons[n * 7 % 16], "site_log": f"seen {words(n)}, {words(n + 300)} replaced, {n} min",
             "letter_to_tenant": None if n % 20 == 3 else "none yet" if n % 20 == 7 else f"Good day, we found that {words(n)} was broken. We replaced {words(n + 300)} today."} for n in range(240)]  # fmt: skip
    found = proposed(write(tmp_path, rows))
    assert (found.kind, found.roles.target, found.roles.input) == ("text", "letter_to_tenant", "site_log")
    assert found.edits["data"]["no_answer"] == ["none yet"]


@pytest.mark.parametrize("prefix", ["", "payload"])
def test_a_log_of_requests_and_responses_has_its_answer_in_the_response(tmp_path: Path, prefix: str) -> None:
    """Earlier answers in the request are other rows' answers; a row without a response has none."""
    tool = {"type": "function", "function": {"name": "water", "parameters": {"type": "object", "properties": {"bed": {"type": "integer"}}}}}  # fmt: skip

    def entry(n: int) -> dict[str, Any]:
        call = {"id": f"c{n}", "type": "function", "function": {"name": "water", "arguments": json.dumps({"bed": n})}}
        said = {"role": "assistant", "content": f"Which bed, {words(n)}?" if n % 12 else ""}
        said |= {"content": None, "tool_calls": [call]} if n % 3 else {}
        hello = [{"role": "assistant", "content": "Hello."}] * (n % 2)
        asked = [*hello, {"role": "user", "content": f"Water bed {n} of {words(n)}"}]
        response = {"choices": [{"message": said}] if n % 10 != 7 else []}
        return {"request": {"messages": asked, "tools": [tool]}, "response": response if n % 10 != 8 else None}

    rows = [{"no": f"r{n}", "garden": f"G-{n // 4 + 10}", **({prefix: entry(n)} if prefix else entry(n))} for n in range(60)]  # fmt: skip
    found = proposed(write(tmp_path, rows))
    data, dot = found.edits["data"], f"{prefix}." if prefix else ""
    assert data["chat"]["turns"] == f"{dot}request.messages"
    assert data["chat"]["answer"] == f"{dot}response.choices.0.message"
    assert (found.kind, data["no_call"], data["tools"]) == ("tool_call", "empty", f"{dot}request.tools")
    answered = sum(n % 10 not in (7, 8) and n % 12 != 0 for n in range(60))
    assert f"{answered} can be read" in tried(found)


WANTED = {"review.expected": "output.message", "chosen": "rejected", "corrected": "answer", "gold": "model_gold"}


@pytest.mark.parametrize("names", WANTED.items())
def test_of_messages_that_answer_a_chat_one_that_a_person_wants_is_the_answer(names: tuple[str, ...]) -> None:
    """As long as the chat ends with the user's turn, and in any order."""
    for order, ends in ((names, 1), (names[::-1], 1), (names, 2)):
        rows: list[dict[str, Any]] = []
        for n in range(20):
            said = [{"role": role, "content": words(n)} for role in ("user", "assistant")]
            rows.append({"chat": {"messages": said[:ends]}})
            for name in order:
                outer, _, inner = name.rpartition(".")
                rows[-1] |= {outer: {inner: said[1]}} if outer else {inner: said[1]}
        assert ((chat := chat_in(rows)) and chat.answer) == (names[0] if ends == 1 else None)


@pytest.mark.parametrize(("layout", "where"), [("who", "sent.body"), ("role", "response"), ("role", "review.calls")])
def test_the_answer_to_a_chat_that_ends_without_one_may_stand_next_to_it(
    tmp_path: Path, layout: str, where: str
) -> None:
    """A text, or calls of tools: not files, and not a model's draft."""
    rows: list[dict[str, Any]] = []
    outer, _, inner = where.rpartition(".")
    tool = {"type": "function", "function": {"name": "renew", "parameters": {"type": "object"}}}
    for n in range(60):
        text = f"We have {words(n)} for you, and {words(n + 1)} too."
        call = [{"name": "renew", "arguments": {"book": words(n)}}] if n % 9 else []
        answer = call if inner == "calls" else text
        row = {
            "garden": f"G-{n // 4 + 10}",
            "files": [{"name": "a.pdf", "size": 3}],
            "chat": talk(n, "ldl", layout, "content"),
        }
        rows.append(
            row | {"tools": [tool], "draft": {"body": text}} | ({outer: {inner: answer}} if outer else {inner: answer})
        )
    found = proposed(write(tmp_path, rows))
    chat = found.edits["data"]["chat"]
    assert (chat["turns"], chat["answer"], found.roles.target) == ("chat", where, "turns.target")
    assert found.kind == ("tool_call" if inner == "calls" else "text")
    assert "60 can be read" in tried(found)


def test_not_every_text_next_to_a_chat_is_its_answer() -> None:
    """Neither files, in an empty list, nor what staff looked up; and a chat may be missing."""
    rows: list[dict[str, Any]] = []
    for n in range(60):
        more = {
            "files": "[]",
            "kb": {"article": f"How to find {words(n)}: look at {words(n + 1)}."},
            "queue": "ab"[n % 2],
        }
        rows.append(
            {"turns": talk(n, "ldl", "role", "content") if n else None, "messages": [{"id": n, "note": "x"}]} | more
        )
    assert (chat := chat_in(rows)) is None or chat.answer is None
    for row in rows:
        row["reply"] = {"text": f"We have it: {row['kb']['article']}"}
    assert (chat := chat_in(rows)) and chat.answer == "reply.text"


@pytest.mark.parametrize("said", ['{"intent": "refund"}', "[1]", "Done.", [{"type": "text", "text": "Done."}]])
def test_an_answer_next_to_a_chat_is_read_as_it_is(said: Any) -> None:
    chat = Chat(
        turns="turns", role="role", text="content", roles={"user": "user"}, answer="said", internal={}, opening=None
    )
    found = with_messages({"turns": [{"role": "user", "content": "Well?"}], "said": said}, chat)["messages"]
    assert found[-1] == {"role": "assistant", "content": said if isinstance(said, str) else "Done."}


def test_what_a_user_wrote_before_the_list_of_turns_opens_the_chat() -> None:
    names = {"lender": "customer", "desk": "agent"}
    for order, opens in (("ddl", "ticket.description"), ("ldl", None)):
        rows: list[dict[str, Any]] = []
        for n in range(30):
            said = [turn | {"role": names[turn["role"]]} for turn in talk(n, order, "role", "text")]
            rows.append(
                {"ticket": {"description": f"Where is {words(n)}?", "turns": said, "note": f"Good: {words(n)}"}}
            )
        assert (chat := chat_in(rows)) and chat.opening == opens
    for row in rows:  # an object like a turn, whoever comes next
        row["ticket"]["source"] = row["ticket"]["turns"][0] | {"text": row["ticket"].pop("description")}
    assert (chat := chat_in(rows)) and (chat.opening, chat.turns) == ("ticket.source", "ticket.turns")


def test_a_note_on_a_whole_conversation_is_the_answer(tmp_path: Path) -> None:
    rows = [{"reader": f"R{n % 15 + 700}", "lines": talk(n, "dlldld", "who", "msg"), "wrap_up_note": f"Wants {words(n)} and {words(n + 1)}, two more weeks given."} for n in range(60)]  # fmt: skip
    found = proposed(write(tmp_path, rows))
    assert (found.kind, found.roles.input, found.roles.target) == ("text", "turns.all", "wrap_up_note")
    assert "60 can be read" in tried(found)


@pytest.mark.parametrize("several", [False, True])
def test_choices_of_label_studio_are_the_answer(tmp_path: Path, several: bool) -> None:
    """Of several controls, or choices, an object of lists; what was cancelled is none, and what was left empty is {}."""
    rows, flat = [], []
    for n, row in enumerate(requests(160)):
        chosen = {"theme": [row["category"].upper() if n % 30 == 1 else row["category"]]}
        chosen |= {"mood": ["calm", "cross"][n % 2 : n % 2 + 1 + n % 3 // 2]} if several else {}
        chosen = {} if several and n % 11 == 3 else chosen
        result = [{"from_name": name, "to_name": "t", "type": "choices", "value": {"choices": of}} for name, of in chosen.items()]  # fmt: skip
        done = [{"id": n, "result": [], "was_cancelled": True}] + [{"id": n, "result": result, "was_cancelled": False}] * (n % 20 != 0)  # fmt: skip
        data = {"body": row["body"], "reader": f"R{n % 15}"}
        rows.append({"id": n, "data": data, "annotations": done, "predictions": [done[0] | {"result": result[:1]}], "total_annotations": 1})  # fmt: skip
        flat.append(
            data
            | {"id": n, "topics": {"choices": ["loans", "fees"]} if n % 3 else ("fees", "loans", "rules")[n % 5 % 3]}
        )
    found = proposed(write(tmp_path, rows))
    assert found.kind == ("extraction" if several else "classification")
    assert found.roles.target == f"annotations.by_choice{'' if several else '.theme.0'}"
    assert f"152 can be read, 8 left out: 8 without target ({found.roles.target})" in tried(found)
    found = proposed(write(tmp_path, flat))  # the format JSON-MIN
    assert (found.kind, found.roles.target) == ("extraction", "topics.parts")


def test_a_folder_of_tables_by_year_with_a_codebook_in_another_encoding(tmp_path: Path) -> None:
    folder = tmp_path / "Gärten"
    folder.mkdir()
    codes = {"210": "Früchte", "220": "Bäume", "230": "Wege"}
    for year, form in ((2021, "{}"), (2022, "{}"), (2023, "{:0>5}")):
        rows = [f'{year}{n:03};G{n // 4 + 100};"Für {words(n)}:\r\n{[*codes.values()][n % 3]} {words(n + 5)}";{form.format([*codes][n % 3])};{n % 7}' for n in range(60)]  # fmt: skip
        (folder / f"calls_{year}.csv").write_bytes(
            "\r\n".join(["no;garden;said;code;days", *rows, ""]).encode("cp1252")
        )
    book = "".join(f"{code};{name};x\r\n" for code, name in codes.items())
    (folder / "codes.csv").write_bytes(f"code;name;active\r\n{book}".encode("cp1252"))
    (folder / "README.txt").write_bytes("Für alle".encode("cp1252"))
    for write_it in (False, True):
        with in_utf8(folder, write=write_it) as (copy, encoding):
            found = proposed(copy)
            data = found.edits["data"]
            assert (encoding, len(found.rows), data["target"], data["split"]) == ("cp1252", 180, "code", None)
            assert data["labels"] == codes | {f"00{code}": name for code, name in codes.items()}
            assert sorted(found.task.schema["enum"]) == sorted(codes.values())
            assert "180 can be read" in tried(found) and "few" not in str(found.warnings)
    assert copy == copy_of(folder) and sorted(path.name for path in copy.iterdir())[-1] == "codebook"
    with in_utf8(copy, write=False) as (again, encoding):
        assert (again, encoding) == (copy, None)


@pytest.mark.parametrize(
    ("key", "seen", "hidden"),
    [("public", True, False), ("is_internal", 0, 1), ("type", "comment", "note"), ("visibility", "everyone", "team")],
)
@pytest.mark.parametrize("names", [{}, {"lender": "user", "desk": "assistant"}])
def test_turns_that_the_user_never_saw_are_left_out(
    tmp_path: Path, names: dict[str, str], key: str, seen: Any, hidden: Any
) -> None:
    rows = []
    for n in range(40):
        said = [turn | {key: seen} for turn in talk(n, "ldld", "role", "content")]
        said.append({"role": "desk", "content": f"Tell nobody {words(n)}", key: hidden})
        said = [turn | {"role": names.get(turn["role"], turn["role"])} for turn in said]
        rows.append({"reader": f"R{n % 15}", "messages": said})
    found = proposed(write(tmp_path, rows))
    chat = found.edits["data"]["chat"]
    assert chat["internal"] == {key: [str(hidden)]}
    assert f"turns with {key} {hidden} (40) are left out" in str(found.warnings)
    read = checked_rows(write_lines(tmp_path / "a.jsonl", rows), **READ, chat=Chat(**chat))
    assert all(row.target.startswith("Yes") for row in read)


def test_labels_that_say_there_is_none_are_no_answer_and_one_in_doubt_is_asked_about(tmp_path: Path) -> None:
    codes = {kind: 10 * at + 10 for at, kind in enumerate(CODES)}
    rows = requests(category=lambda n, kind: 0 if n % 24 == 0 else 999 if n % 25 == 0 else codes[kind])
    file, book = write(tmp_path, rows), tmp_path / "kinds.csv"
    found = proposed(file)
    assert "0, 999 (19 rows) may stand for no answer" in str(found.warnings) and not found.edits["data"]["no_answer"]
    names = "code;text\n0;not yet classified\n10;seat not assigned\n20;b\n30;c\n40;d\n999;unknown\n"
    book.write_text(names, encoding="utf-8")
    found = proposed(file)
    assert found.edits["data"]["no_answer"] == ["0"] and "10, 999 (" in str(found.warnings)
    assert sorted(found.task.schema["enum"]) == ["b", "c", "d", "seat not assigned", "unknown"]
    assert "10 without target (category)" in tried(found) and "not yet" not in str(found.edits["data"]["labels"])
    for none, signs in (("-1", [-1, -1]), ("(nog te doen)", ["(nog te doen)", "[other]"])):
        other = [row | {"category": row["category"] or signs[n // 24 % 2]} for n, row in enumerate(rows)]
        assert proposed(write(tmp_path, other)).edits["data"]["no_answer"] == [none]
    thanks = [f"Yes, {words(n)} are yours for {n} weeks." if n % 9 else "Sure!" for n in range(90)]
    assert stand_ins(Column("turns.target", [*thanks])) == [] and stand_ins(Column("reply", thanks)) == ["Sure!"]


@pytest.mark.parametrize("name", ["{}", "gold_{}"])
def test_several_columns_that_are_read_off_a_text_are_the_answer(tmp_path: Path, name: str) -> None:
    rows = []
    for n in range(200):
        grain, town = ("oats", "rye", "malt")[n % 3], ("Bath", "Cork", "Deal", "Elgin")[n * 7 % 4]
        read = {"crates": n % 90, "grain": grain, "town": town}
        mail = f"Bring {n % 90} crates of {grain} to {town}. {words(n)}"
        said = {"mail": mail, "mill": f"M{n % 40 + 100}"}
        rows.append(said | {name.format(of): value for of, value in read.items()} | {"eur": n * 13 % 97})
        if name == "{}":  # a desk is known where nothing is read, by its paper; a year is a part of its date
            day = date(1950 + n % 50, 3, n % 28 + 1)
            rows[-1] |= {"mail": f"{mail} {day:%d.%m.%Y}, {'east' if n % 3 else 'west'}ern desk"}
            rows[-1] |= {"type": "EW"[n % 3 == 0], "day": f"{day}", "year": day.year}
            rows[-1] |= dict.fromkeys((*read, "day", "year")) if n % 20 == 7 else {}
    found = proposed(write(tmp_path, rows))
    if name == "{}":
        assert found.roles.target == ["crates", "grain", "town", "day"] and found.roles.group == "mill"
        return
    assert found.roles.target == [name.format(of) for of in ("crates", "grain", "town")]
    assert (found.roles.group, found.kind) == ("mill", "extraction")
    assert "200 can be read" in tried(found)


def test_a_long_text_that_has_words_of_the_answer_is_read_too(tmp_path: Path) -> None:
    names, rows = ("sluice weir", "culvert gate", "ditch lock", "levee pump"), []
    for n in range(200):
        stock = " ".join(f"{name}{'abcd'[n % 4]}" for name in names)
        said = {"ask": f"How many {words(n)}?", "stock": stock, "kind": "xy"[n % 2]}
        rows.append(said | {"query": f"COUNT {stock[:40]} {n % 31}"})
    found = proposed(write(tmp_path, rows), targets=("query",))
    assert columns_of(found.roles.input) == ["ask", "stock"]


def test_a_context_that_most_rows_share_makes_none_of_them_a_leak(tmp_path: Path) -> None:
    policy = " ".join(words(n) for n in range(30))
    rows = requests(policy=lambda n, kind: policy, member=lambda n, _: f"K{n // 2 + 100}")
    for n, row in enumerate(rows):
        row["body"] = " ".join(f"{n * (at + 91) ** 3 % 99991:x}" for at in range(9))
    found = proposed(write(tmp_path, rows))
    propose.try_out(found, rules())
    assert found.roles.context == "policy" and "0 dropped as leaks" in "\n".join(found.tried)


@pytest.mark.parametrize("name", ["svar", "x7"])
def test_a_reply_is_the_answer_next_to_a_label_that_the_text_hardly_tells(tmp_path: Path, name: str) -> None:
    """What is said of the reply isn't, and a type is its house's own."""
    rows = []
    for n in range(240):
        text = f"We had {words(n)} and {('a pool', 'a barn')[(n % 40 + n % 3 // 2) % 2]} there."
        reply = {3: None, 7: "-"}.get(n % 20, f"Dear guest, thank you for {words(n)}, do come back soon.")
        rows.append({"no": f"R{n:04}", "house": f"H{n % 40 + 100}", "type": "AB"[n % 40 % 2], "text": text})
        rows[-1] |= {name: reply, f"{name}_kind": ("thanks", "sorry")[n * 7 % 3 % 2]}
    found = proposed(write(tmp_path, rows))
    assert (found.roles.target, found.roles.input, found.roles.group) == (name, "text", "house")
    assert found.edits["data"]["no_answer"] == ["-"]


def test_what_people_confirmed_of_an_object_is_the_answer_and_its_guess_is_not_read(tmp_path: Path) -> None:
    rows = []
    for n in range(90):
        got = {"lot": f"L{n * 37 % 997}", "wood": [["oak", "elm"][n % 2]], "note": f"for {words(n)}"}
        passed = {"at": f"2025-03-{n % 28 + 1:02}", "got": got if n % 9 != 5 else None} if n % 9 != 3 else None
        scan = f"{got['lot']} {got['wood'][0]} {got['note']} {words(n + 9)}"
        rows.append({"scan": scan, "passed": passed, "engine": {"sure": n / 90, "got": got}})
    found = proposed(write(tmp_path, rows))
    assert (found.roles.target, found.roles.input, found.roles.tags) == ("passed.got", "scan", None)


def test_people_go_before_the_articles_that_answers_are_from(tmp_path: Path) -> None:
    people: dict[str, Any] = {"persoon": lambda n, _: f"p{n // 3:04x}"}
    for more in (people, {}):
        rows = requests(**more, leaf=lambda n, kind: f"KB-{CODES[kind][1]}{n % 3}", theme=lambda n, kind: kind)
        for row in rows:
            answer = {"role": "assistant", "content": f"It is {row.pop('category')}"}
            row["messages"] = [{"role": "user", "content": row.pop("body")}, answer]
            row["topic"] = row.pop("theme")
        group = proposed(write(tmp_path, rows)).roles.group
        assert group == "persoon" if more else group != "leaf"
    assert is_id(Column("x", [f"M24 {n:04}" for n in range(40)]))
    assert not is_id(Column("x", [f"box {n} of {n}" for n in range(40)]))


def test_ids_of_owners_are_the_group_and_what_prodigy_did_not_accept_is_no_answer(tmp_path: Path) -> None:
    assert proposed(write(tmp_path, requests(320, owner=lambda n, _: 2000 + n * 11 % 60 * 7))).roles.group == "owner"
    assert is_open({"_task_hash": 1, "answer": "reject"}, "spans") and not is_open({"answer": "reject"}, "spans")


@pytest.mark.parametrize(("who", "what"), [("role", "content"), ("sender", "said")])
def test_messages_that_are_none_are_passed_over_and_untrained_answers_are_not_counted(who: str, what: str) -> None:
    usual = [("user", "Where is {0}?"), ("assistant", "It is near {0}."), ("user", "Thanks."), ("assistant", "Bye!")]
    rows: list[dict[str, Any]] = [{"messages": [{who: role, what: text.format(words(n))} for role, text in usual]} for n in range(60)]  # fmt: skip
    rows += [{"messages": of} for of in ("none", [None], 5, {"role": "user"}, [{"role": "user"}, None], None)]
    chat = chat_in(rows)
    read = [with_messages(row, chat) if chat else row for row in rows]
    assert "of 60 chats with several answers, the last are 1 texts" in str(all_answers(read))
    for row in read[:60]:
        row["messages"][1]["weight"] = 0
    assert all_answers(read) is None
