"""What `propose` concludes from signs that have no name: translations, labels that stand for none, two names of one class."""

from __future__ import annotations

import json
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.records import columns_of
from hallmark.commands import propose
from hallmark.propose.codebooks import codebook, read_csv, tables_in
from hallmark.propose.column_words import entity, says_undone
from hallmark.propose.columns import Column, is_cited, keys_in, labels_in
from hallmark.propose.evidence import stand_ins
from hallmark.propose.kept_rows import in_words, where_of
from hallmark.propose.label_signs import renamed
from hallmark.propose.near_files import Near
from hallmark.propose.proposing import without_marked
from hallmark.propose.questions import asked
from hallmark.propose.reading import read
from hallmark.propose.roles import Known, guess
from hallmark.task.values import folded
from tests.rows import checked_rows, write_lines
from tests.test_propose import CODES, proposed, requests, rules, words, write

OTHER = str.maketrans("adehklmpst", "ekuvornzib")  # a language that has none of English's words


def sentence(n: int) -> str:
    return f"Put the {words(n)} into {'the hall and ' * (n % 4)}box {n * 7 % 90}."


@pytest.mark.parametrize("nested", [False, True])
def test_a_translation_is_the_answer_to_its_source_and_a_copy_of_that_is_none(tmp_path: Path, nested: bool) -> None:
    """Not the kind of its document, which the text tells. A heading that repeats is as short in both."""
    rows = []
    for n in range(240):
        text = "Contents" if n % 40 == 9 else f"{sentence(n)} {('Oil', 'Warranty')[n // 12 % 2]}"
        other = text if n % 24 == 5 else None if n % 24 == 7 else text.translate(OTHER)
        pair = {"xx": text, "yy": other}
        kind = ("manual", "law")[n // 12 % 2]
        rows.append(
            {"no": f"S{n:04}", "file": f"D{n // 6}", "kind": kind} | ({"translation": pair} if nested else pair)
        )
    found = proposed(write(tmp_path, rows))
    where = "translation." * nested
    assert (found.kind, found.roles.input, found.roles.target) == ("text", f"{where}xx", f"{where}yy")
    assert found.edits["data"]["no_answer"] == [f"{{{where}xx}}"]
    propose.try_out(found, rules())
    assert "220 can be read, 20 left out: 20 without target" in "\n".join(found.tried)


@pytest.mark.parametrize(
    "label",
    ["A classificar", "Not yet classified", "por definir", "Noch nicht zugeordnet", "À définir", "nog te bepalen", "Da classificare",
     "Ej klassad", "do ustalenia", "Ikke kategoriseret", "ei luokiteltu", "nezařazeno", "classification pending", "unassigned"],
)  # fmt: skip
def test_labels_say_in_many_languages_that_nobody_has_classified(label: str) -> None:
    assert says_undone(label)


@pytest.mark.parametrize(
    "label", ["Class A", "A class", "Label A", "No decision", "Not classified waste", "in the set", ""]
)
def test_labels_of_other_words_say_no_such_thing(label: str) -> None:
    assert not says_undone(label)


@pytest.mark.parametrize("gaps", [False, True])
def test_a_label_that_only_one_state_has_may_be_none_and_is_if_empty_ones_have_it_too(
    tmp_path: Path, gaps: bool
) -> None:
    rows = requests(300, body=lambda n, kind: f"{kind} of {words(n)}", step=lambda n, _: "xy"[n * 5 % 2])
    for n, row in enumerate(rows):
        if n % 15 == 4:
            row |= {"step": "z", "category": None if gaps and n % 2 else "Inbox"}
    found = proposed(write(tmp_path, rows))
    assert found.edits["data"]["no_answer"] == ["Inbox"] * gaps
    assert ("Inbox (20 rows) may stand for no answer" in str(found.warnings)) != gaps


def test_two_names_of_one_class_are_asked_about(tmp_path: Path) -> None:
    """One that ends when the other begins, or that shares its words, if the text takes it for the other."""
    old = {"late parcel": "courier", "wrong bill": "a wrong bill"}
    rows = requests(
        300, body=lambda n, kind: f"{kind} of {words(n)}", on=lambda n, _: f"2025-{n // 30 + 1:02}-{n % 28 + 1:02}"
    )
    for n, row in enumerate(rows):
        early = n < 90 if row["category"] == "late parcel" else n % 5 == 0
        row["category"] = old.get(row["category"], row["category"]) if early else row["category"]
    rows += [row | {"body": f"lost login of {words(n)}", "category": "late sack"} for n, row in enumerate(rows[:9])]
    rows += [row | {"category": "late sack of flour"} for row in rows[-2:]]
    rows += [row | {"body": f"a lost cup of {words(n)}", "category": f"cup {n % 2}"} for n, row in enumerate(rows[:9])]
    said = [warning for warning in proposed(write(tmp_path, rows)).warnings if "several names" in warning]
    pairs = "'late sack of flour' and 'late sack'; 'a wrong bill' and 'wrong bill'; 'courier' and 'late parcel'"
    assert [warning.split(": each may be")[0] for warning in said] == [pairs], "and no cups 0 and 1"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("Objets trouvés", "Objet trouvé", True), ("Cobranca", "Cobrança", True), ("Factuur vraag", "factuurvraag", True),
     ("Damp & mould", "Damp and mould", True), ("Login", "Logout", False), ("Hepatitis E", "Hepatitis", False), ("Charged", "Charge", False), ("Pump 3", "Pump 4", False), ("C", "C++", False)],
)  # fmt: skip
def test_labels_that_are_spelled_alike_are_one_unless_the_text_tells_them_apart(
    tmp_path: Path, one: str, other: str, same: bool
) -> None:
    forms = (one, one.upper(), other, f"{other} ")
    rows = requests(300, body=lambda n, kind: f"{kind} of {words(n)}")
    for n, row in enumerate(rows):
        row["category"] = forms[n // 4 % 4] if row["category"] == "late parcel" else row["category"]
    found = proposed(write(tmp_path, rows), targets=("category",))
    assert (other in found.edits["data"]["labels"]) == same == (other not in found.task.schema["enum"])
    assert [folded(label) for label in found.task.schema["enum"]].count(folded(one)) == 1
    told = [row | {"body": folded(row["category"])} if row["category"] in forms else row for row in rows]
    assert proposed(write(tmp_path, told), targets=("category",)).edits["data"]["labels"] == {}


def test_a_kind_of_somebody_is_nobody_and_an_automatic_answer_is_a_guess() -> None:
    names = ("Motif de contact", "tipo di cliente", "customer_type", "id de client", "code du client")
    assert [*map(entity, names)] == [None, None, None, "person", "person"]
    assert all("guess" in Column(name).lists for name in ("estrazione_auto", "auto_label"))


def test_labels_that_are_alike_are_asked_about_in_one_line(tmp_path: Path) -> None:
    rows = requests(300, body=lambda n, kind: f"{kind} of {words(n)}")
    for n, row in enumerate(rows):
        row["category"] = f"{('', 'the ', 'a ')[n // 4 % 3]}{row['category']}"
    said = [warning for warning in proposed(write(tmp_path, rows)).warnings if "several names" in warning]
    assert len(said) == 1 and all(said[0].count(kind) == 3 for kind in CODES)


def test_what_tools_write_for_none_is_no_answer_and_values_in_attributes_are() -> None:
    made = [f'<order crates="{n}" to="{n % 9}"/>' for n in range(60)]
    assert stand_ins(Column("xml", [*made, "<order/>", "ERR: no mapping (3)"])) == ["<order/>", "ERR: no mapping (3)"]
    long = [f"<order><to>{sentence(n)}</to><by>{sentence(n + 1)}</by></order>" for n in range(60)]
    assert stand_ins(Column("xml", [*long, *3 * ['<order state="new"/>']])) == ['<order state="new"/>']
    replies = [sentence(n) for n in range(60)]
    assert stand_ins(Column("turns.target", [*replies, *3 * ["[Not taken]"], *3 * ["Sure!"]])) == ["[Not taken]"]
    assert stand_ins(Column("note", [*replies, *3 * ["[SUMMARY NOT WRITTEN]"]])) == ["[SUMMARY NOT WRITTEN]"]
    forms: list[Any] = [{"crates": n, "to": {"town": f"T{n}"}, "with": []} for n in range(60)]
    empty = {"crates": None, "to": {"town": ""}, "with": []}
    assert stand_ins(Column("form", [*forms, empty])) == [str(empty)]
    objects = [json.dumps({"crates": n}) for n in range(60)]
    assert stand_ins(Column("json", [*objects, "{}", "ERROR: timeout"])) == ["ERROR: timeout", "{}"]


def test_a_subject_is_read_however_short_and_labels_side_by_side_are_one_answer(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = requests(betreff=lambda n, _: ("My order", "Urgent", "A question")[n % 3])
    assert proposed(write(tmp_path, rows)).roles.input == "{betreff}\n{body}"
    flags = [{kind: int(row["category"] == kind) for kind in CODES} for row in rows]
    rows = [{"text": f"{row['category']} {row['body']}"} | of for row, of in zip(rows, flags, strict=True)]
    found = proposed(write(tmp_path, rows))
    assert (found.roles.target, found.kind) == ([*CODES], "extraction")


def test_questions_about_one_passage_stay_together_and_offsets_are_no_answer(tmp_path: Path) -> None:
    rows = []
    for n in range(200):
        passage = " ".join(words(n // 5 * 9 + at) for at in range(6))
        answer = {"text": [passage.split()[n % 5]], "answer_start": [n % 5]}
        rows.append(
            {
                "title": f"Page {n // 5}",
                "context": passage,
                "question": f"Which is {words(n + 400)}?",
                "answers": answer,
            }
        )
    roles = proposed(write(tmp_path, rows)).roles
    assert (roles.target, roles.group, roles.context, roles.input) == ("answers.text.0", "title", "context", "question")


def test_people_are_known_in_many_languages_without_accents() -> None:
    names = (
        "resenar_id",
        "Fahrgastnr",
        "passager_no",
        "cestujici_id",
        "potilas_nro",
        "huurder",
        "utente",
        "ubezpieczony",
        "leietaker",
    )
    assert {entity(name) for name in names} == {"person"}


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("code,label\n1,late\n2,lost", {"code": {"1": "late", "2": "lost"}}),
        ("code,area,label\n1,N,late\n2,S,lost\n3,S,late\n4,N,new", {"code": {"1": "late", "2": "lost", "3": "late", "4": "new"}}),
        ("code,valid_from,label\n1,2024-01-01,late\n2,2024-02-01,lost", {"code": {"1": "late", "2": "lost"}}),
        ("var,code,label\nx,1,late\nx,2,lost\ny,1,old\ny,3,new", {"x": {"1": "late", "2": "lost"}, "y": {"1": "old", "3": "new"}}),
        ("code,on\n1,yes\n2,yes\n3,no\n4,no", {}),
        ("code\n1\n2", {}),
    ],
)  # fmt: skip
def test_names_of_codes_stand_after_them(table: str, names: dict[str, dict[str, str]]) -> None:
    lines = [*read_csv(table)]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    for one in (lines, *tables_in({"security": [{}], "list": rows})):
        assert codebook(one) == names
    assert [*tables_in({"security": [{}], "nested": [{"a": {}}]})] == [[["a"], ["{}"]]]


def test_a_last_comment_is_not_there_when_the_model_is_asked(tmp_path: Path) -> None:
    late = requests(**{"Last public comment": lambda n, _: f"We have sent part {n % 7} of it to your shop"})
    assert proposed(write(tmp_path, late)).edits["data"]["input"] == "body"


@pytest.mark.parametrize(
    ("column", "value", "kept"),
    [
        ("status", lambda n: "Rejected" if n % 20 == 3 else "Closed", ["!Rejected"]),
        ("error", lambda n: f"Timed out after {n} s" if n % 20 in (3, 4, 5) else None, [None]),
        ("state", lambda n: "pending" if n % 20 in (3, 4, 5) else "done", ["!pending"]),  # most of them have no answer
        ("meta.review", lambda n: "wrong" if n % 20 == 3 else ("ok", None)[n % 2], ["!wrong"]),
        ("review", lambda n: "negative" if n % 20 == 3 else "positive", []),  # a customer's
        ("order", lambda n: "cancelled" if n % 20 == 3 else "sent", []),  # which the row may be about
        ("topic", lambda n: "Rejected" if n % 3 else "Closed", []),  # most rows
    ],
)
def test_rows_marked_as_unfit_are_left_out_unless_a_person_keeps_them(
    tmp_path: Path, column: str, value: Any, kept: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = requests(shop=lambda n, _: f"S{n % 40}")
    for n, row in enumerate(rows):
        row |= {"meta": {"review": value(n)}} if "." in column else {column: value(n)}
        row["category"] = None if column in ("error", "state") and n % 20 in (4, 5) else row["category"]
    file = write(tmp_path, rows)
    found = proposed(file, targets=("category",), inputs=("body",))
    assert found.edits["data"]["where"] == ({column: kept} if kept else {})
    marked = 36 if column in ("error", "state") else 12
    assert len(found.rows) == len(rows) - (marked if kept else 0)
    assert (f"{marked} rows have" in found.warnings[0] and "--where all" in found.warnings[0]) == bool(kept)
    assert [*map(len, [proposed(file, targets=("category",), inputs=("body",), where={}).rows])] == [len(rows)]
    assert (
        where_of(in_words(found.edits["data"]["where"]).split(", ") if kept else ["all"])
        == found.edits["data"]["where"]
    )
    for typed, stay in (("", len(found.rows)), ("all", len(rows))):
        monkeypatch.setattr("builtins.input", lambda _, typed=typed: typed)
        known = Known(inputs=("body",), targets=("category",), group="shop", kind="classification")
        assert len(asked(partial(propose.proposed, file, rules()), known, "classification").rows) == stay


def some(value: Any, other: Any, *more: Any) -> Any:
    """The first in a 20th of the rows, as each of the last; the other in the rest."""
    return lambda n, _: dict(enumerate((value, *more))).get(n % 20, other)


PEOPLE = some("Test", "Anna Schmidt", *["Bob Lee"] * 7)


@pytest.mark.parametrize(
    ("name", "value", "kept", "asks"),
    [
        # Exports of tools for labels
        ("answer", some("reject", "accept", "ignore"), ["!ignore", "!reject"], False),
        ("status", some("discarded", "submitted", "pending"), ["!discarded"], False),
        ("x", lambda n, _: {"responses": {"status": [("discarded", "submitted")[n % 20 > 0]]}}, ["!discarded"], False),
        ("review", lambda n, _: {"state": ("rejected", "approved", "pending")[min(n % 20, 2)]}, ["!rejected"], False),
        ("feedback", lambda n, _: {"correctness": {3: 0.0, 4: 1.0}.get(n % 20)}, ["!0"], False),
        ("is_test", some(True, False), ["!true"], False),
        ("deleted", some(True, None), [None], False),
        ("metadata", lambda n, _: {"isDeleted": n % 20 == 3}, ["!true"], False),
        ("test_flag", some("X", None), [None], False),
        ("duplicate_of", lambda n, _: f"R-{n - 1}" if n % 20 == 3 else None, [None], False),
        # Of several words, of systems in other languages
        ("status", some("a_verifier", "validee"), ["!a_verifier"], False),
        ("Prüfstatus", some("verworfen", "ok"), ["!verworfen"], False),
        ("status", some("AWAITING_INFO", "DONE"), ["!AWAITING_INFO"], False),
        ("qa_check", some("FAIL", "PASS", None), ["!FAIL"], False),
        ("qa", lambda n, _: {"verdict": ("fail", "pass")[n % 20 > 0]}, ["!fail"], False),
        ("qa_verdict", some("rejected", "fine", "not_reviewed_yet"), ["!rejected"], False),
        ("qa_status", some("agent_error", "ok"), ["!agent_error"], False),
        ("review_status", some("pending", "approved"), ["!pending"], False),
        ("outcome", some("rolled_back", "handed over"), ["!rolled_back"], False),
        ("made_by", some("Automatic, not reviewed", "by hand"), ["!Automatic, not reviewed"], False),
        ("tags", some("new spam", "vip", "test_request new"), ["!spam", "!test_request"], False),
        ("shop_id", lambda n, _: "TEST-01" if n % 20 == 3 else f"S-{n % 40}", ["!TEST-01"], False),
        ("status", some("not duplicate", "DONE"), None, False),
        ("qa_check", some("No errors", "PASS", "errors corrected"), None, False),
        ("status", some("Rejected by Anna Schmidt", "DONE"), None, False),
        ("status", some("anna rejected", "DONE"), None, False),
        ("status_history", lambda n, _: ["open", *["rejected"] * (n % 20 == 3), "approved"], None, False),
        ("parcel_outcome", some("abandoned", "found"), None, True),
        ("phase", some("concept design", "tender"), None, False),
        ("merged_at", lambda n, _: f"2025-03-{n % 28 + 1:02}" if n % 20 == 3 else None, None, False),
        ("duplicate_check", some("no match", "not asked"), None, False),
        # What may be of what the row is about, or of too many rows
        ("answer", some("reject", "accept", *["reject"] * 5), None, True),
        ("is_archived", some(True, False, *[True] * 6), None, True),
        ("order_cancelled", some(True, False), None, True),
        ("covid_test", some(1, 0), None, True),
        ("tests", some(1, 0), None, True),
        ("contains_spam", some(1, 0), None, True),
        ("exam_type", some("test", "quiz"), None, True),
        ("claim_status", some("rejected", "paid"), None, True),
        ("claim", lambda n, _: {"status": ("rejected", "paid")[n % 20 > 0]}, None, True),
        ("decision", some("reject", "accept"), None, True),
        ("product_rating", some("bad", "good"), None, True),
        ("chat", lambda n, _: {"feedback": ("down", "up")[n % 20 > 0]}, None, True),
        # Values that are no states: they may be names
        ("record", PEOPLE, None, True),
        ("label", some("x.test", "Anna Schmidt"), None, False),
        ("agent", PEOPLE, None, False),
        # No mark
        ("feedback_requested", some(False, True, *[False] * 7), None, False),
        ("feedback_sent", some("no", "yes"), None, False),
        ("deleted_items", some(1, 0), None, False),
    ],
)  # fmt: skip
def test_a_row_is_left_out_only_for_a_mark_of_its_own(
    tmp_path: Path, name: str, value: Any, kept: list[Any] | None, asks: bool
) -> None:
    file = write(tmp_path, requests(400, **{name: value}))
    found = proposed(file, targets=("category",), inputs=("body",))
    assert [*found.edits["data"]["where"].values()] == ([kept] if kept else [])
    assert ("name the rows to keep with --where" in str(found.warnings)) == asks
    assert "Anna" not in str(found.warnings) + str(found.edits["data"]["where"])


def test_marks_that_are_codes_are_known_by_their_names(tmp_path: Path) -> None:
    """And what a row is, by its id: no request, then."""
    state = lambda n, _: {3: 4, 5: 5}.get(n % 20, 1)  # noqa: E731
    file = write(tmp_path, requests(400, request_id=lambda n, _: f"R{n}", cd_state=state))
    names = {"1": "Done", "4": "Closed - duplicate", "5": "Closed - no request"}
    (tmp_path / "lists.json").write_text(json.dumps({"lists": {"cd_state": names}}), encoding="utf-8")
    found = proposed(file, targets=("category",), inputs=("body",))
    assert found.edits["data"]["where"] == {"cd_state": ["!4", "!5"]}
    assert "Closed - duplicate, Closed - no request in 'cd_state'" in found.warnings[0]


def test_codes_that_a_list_does_not_name_are_said_and_names_in_place_of_codes_are_theirs(tmp_path: Path) -> None:
    names = dict(zip(CODES, "0123", strict=True))
    (tmp_path / "names.json").write_text(json.dumps({code: name for name, code in names.items()}), encoding="utf-8")
    odd = {7: "Late Parcel", 8: "17", 407: "late parcel"}
    file = write(
        tmp_path, requests(480, kind=lambda n, name: odd.get(n % 480, names[name]), category=lambda n, _: None)
    )
    found = proposed(file, targets=("kind",), inputs=("body",))
    assert found.edits["data"]["no_answer"] == ["17"] and {*found.task.schema["enum"]} == {*CODES}
    assert "1 rows have the code 17, which no list next to the data names" in str(found.warnings)
    odd[8] = "ask Anna Meier 0171 2345678"
    found = proposed(
        write(tmp_path, requests(480, kind=lambda n, name: odd.get(n, names[name]), category=lambda n, _: None)),
        targets=("kind",),
        inputs=("body",),
    )
    assert "Meier" not in str(found.edits["data"])


@pytest.mark.parametrize(
    ("texts", "made"),
    [
        (
            [
                "Card, lost; Phone, stolen",
                "Phone, lost",
                "Card, stolen",
                "Phone, lost; Card, lost",
                "Card, stolen; Phone, stolen",
            ],
            "x.parts",
        ),
        (["Smith, John", "Smith, Ann", "Lee, John", "Lee, Ann"], None),
        (["1,3", "12,50", "7,1"], None),
        (["late", "lost", "torn", "late, lost", "torn, late"], "x.comma.parts"),
        (["D1", "D2", "D3", "D1;D2", "D2, D3", "D1, D3"], "x.comma.parts"),
    ],
)
def test_commas_part_labels_that_stand_alone_too(texts: list[str], made: str | None) -> None:
    found = labels_in(Column("x", texts * 20))
    assert (found and found.name) == made


def test_what_an_answer_needs_may_stand_after_the_text_but_not_a_record_of_it(tmp_path: Path) -> None:
    for more, wanted in (((), "{body}\n{currency}"), (("thing", "day"), "body")):
        rows = []
        for n in range(240):
            own = {"currency": ("EUR", "CHF", "SEK")[n // 3 % 3], "thing": f"T{n % 40}", "day": f"D{n % 28}"}
            gold = {"amount": n, "what": words(n)} | {key: own[key] for key in ("currency", *more)}
            row = {
                "shop": f"S{n % 30}",
                "body": f"Send {words(n)} for {n}, please, and soon.",
                "channel": "web",
                "lane": "x",
            }
            rows.append(row | {key: own[key] for key in ("currency", *more)} | {"extracted": gold})
        assert proposed(write(tmp_path, rows)).roles.input == wanted


def test_names_that_many_share_are_no_group(tmp_path: Path) -> None:
    """Nor are codes of which no name says that they are somebody's, around known ones."""
    more: dict[str, Any] = {
        "account_id": lambda n, _: f"K-{n // 4 + 100}",
        "account_name": lambda n, _: f"{words(n // 4 % 80)} Ltd",
    }
    more["producer_code"] = lambda n, _: f"P-{n // 16 + 10}"
    assert proposed(write(tmp_path, requests(480, **more))).roles.group == "account_id"


def test_former_codes_and_names_in_place_of_codes_are_the_labels_of_today(tmp_path: Path) -> None:
    names = {
        "1": "Late",
        "2": "Broken",
        "3": "Late (old, until 2023)",
        "4": "Tardy (obsolete, replaced by 2)",
        "5": "Box (old)",
        "6": "late_old",
        "7": "very_old",
        "8": "Late (retired)",
    }
    assert renamed(names) == names | {"3": "Late", "4": "Broken", "6": "Late"}
    (tmp_path / "list.csv").write_text("code,name\nlate,Came late\nlost,Was lost\n", encoding="utf-8")
    near = Near(tmp_path / "rows.jsonl")
    assert near.spelled(Column("c", ["late"] * 5 + ["lost"] * 5 + ["Came late", "Was lost"])) == {
        "Came late": "late",
        "Was lost": "lost",
    }
    assert near.spelled(Column("c", ["late", "lost", *["came late", "Was lost"] * 5])) == {
        "late": "Came late",
        "lost": "Was lost",
    }
    assert near.spelled(Column("c", ["late", "other", "Came late"] * 5)) == {}
    for other in ({"late": "lost", "lost": "found"}, {"late": {"en": "Came late"}, "lost": "Was lost"}):
        (tmp_path / "list.csv").unlink(missing_ok=True)
        (tmp_path / "map.json").write_text(json.dumps(other), encoding="utf-8")
        assert Near(tmp_path / "rows.jsonl").spelled(Column("c", ["late", "lost", "found", "Was lost"] * 5)) == {}


def test_codes_next_to_each_other_that_the_same_rows_lack_are_one_answer(tmp_path: Path) -> None:
    """A text that other rows lack is read, and XML of the whole row is not."""
    rows = requests(480, phoned=lambda n, kind: f"about {words(n)}: {kind}" if n % 3 else None)
    for n, row in enumerate(rows):
        codes = [None] * 3 if n % 20 == 3 else [CODES[row["category"]], f"C{n // 3 % 3}", f"A{n // 5 % 3}"]
        row |= dict(zip(("code_part", "code_cause", "code_deed"), codes, strict=True))
        row["body"] = f"{row['body']} caused {codes[1] or ''}x done {codes[2] or ''}x"
        row["xml"] = "<row>" + "".join(f"<one code='{code}'>x{n * 31}</one>" for code in codes) + "</row>"
        del row["category"]
    found = proposed(write(tmp_path, rows)).roles
    assert found.target == ["code_part", "code_cause", "code_deed"]
    assert "xml" not in found.read and "phoned" in found.read


def test_what_was_the_answer_of_rows_that_are_left_out_alone_is_none(tmp_path: Path) -> None:
    """The fields that nobody read off the text are no answer, and their source isn't read."""
    rows = []
    for n in range(400):
        other = n % 12 == 3
        text = f"{'Waybill' if other else 'Receipt'} from {words(n)}, {words(n + 7)} no. {n}: {n * 7 % 90} boxes of {words(n + 3)}"
        data = {"from": words(n), "what": words(n + 3), "boxes": n * 7 % 90}
        booked = {"owner": f"V-{n // 5 % 40 + 700}", "voucher": f"B{n + 5000}"}
        row = {
            "doc": f"D{n}",
            "vendor_no": f"V-{n // 5 % 40 + 700}",
            "text": text,
            "status": "rejected" if other else "done",
        }
        rows.append(
            row
            | {
                "doctype": "waybill" if other else "receipt",
                "data": None if other else {"head": data, "lines": [data], "booked": booked},
            }
        )
    found = proposed(write(tmp_path, rows)).roles
    assert (found.target, found.input) == (["data.head", "data.lines"], "text")


def test_what_was_made_of_a_raw_text_is_the_answer(tmp_path: Path) -> None:
    """Unless a program cleaned it."""
    for name, target in (("billed_note", "billed_note"), ("clean_note", "category"), ("short_note", "category")):
        more: dict[str, Any] = {"raw_note": lambda n, _: f"asked {words(n)} re {words(n + 3)}, no reply yet"}
        more[name] = lambda n, _: f"Asked {words(n)} about {words(n + 3)}; there is no reply yet."
        more |= (
            {name: lambda n, kind: f"ASKED {words(n)}, re {words(n + 3)} no reply yet {kind}"}
            if name == "short_note"
            else {}
        )
        rows = [{key: of for key, of in row.items() if key != "body"} for row in requests(**more)]
        rows = [row | {"raw_note": f"{row['raw_note']} {row['category']}"} for row in rows]
        assert proposed(write(tmp_path, rows)).roles.target == target


def test_codes_between_commas_are_several_labels_that_a_list_next_to_them_names(tmp_path: Path) -> None:
    codes = {kind: f"D{at}10" for at, kind in enumerate(CODES)}
    rows = requests(480, fecod=lambda n, kind: codes[kind] + (", " + [*codes.values()][n // 5 % 4]) * (n % 3 == 0))
    for row in rows:
        del row["category"]
    (tmp_path / "list.csv").write_text("fecod,name\n" + "".join(f"{of},{name}\n" for name, of in codes.items()))
    assert proposed(write(tmp_path, rows)).roles.target == "fecod.comma.parts"


def test_an_error_is_not_quoted_and_a_choice_that_is_no_column_is_no_mark(tmp_path: Path) -> None:
    rows = requests(
        error=lambda n, _: f"SMTP: {(words(n), 'user@x.de')[n % 2]} refused" if n % 20 in (3, 4, 5) else None
    )
    rows = [row | {"category": None if row["error"] and n % 20 > 3 else row["category"]} for n, row in enumerate(rows)]
    said = proposed(write(tmp_path, rows), targets=("category",), inputs=("body",)).warnings[0]
    assert said.startswith("36 rows have a value in 'error' (12 of them with an answer)")
    rows = []
    for n in range(120):
        result = {"type": "choices", "from_name": "review", "value": {"choices": [("Reject", "Accept")[n % 20 > 0]]}}
        data = {"text": f"Where is {words(n)}?", "reply": f"It is next to {words(n + 5)}, as it was before."}
        rows.append({"id": n, "data": data, "annotations": [{"result": [result]}], "predictions": []})
    found = proposed(write(tmp_path, rows), targets=("data.reply",), inputs=("data.text",))
    assert "annotations.by_choice.review.0" in found.columns and found.edits["data"]["where"] == {}


def test_a_column_left_with_one_value_may_not_be_the_answer(tmp_path: Path) -> None:
    table = read(write(tmp_path, requests(400, label_status=some("rejected", "approved"))), Known())
    roles = guess(table.columns)
    for roles.doubted, still in (("label_status", None), ("category", "category")):
        kept, left, _ = without_marked(table, roles, roles, {})
        assert len(kept.rows) < 400 and left.doubted == still


def test_the_rows_to_keep_are_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first target is the mark; a value with a comma is one."""
    rows = requests(400, label_status=some("rejected", "kept, as it is"), shop=lambda n, _: f"S{n % 40}")
    said = iter(["label_status", "", "<", "<", "category", "", "label_status=kept, as it is,shop=S1", "", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(said))
    found = asked(partial(propose.proposed, write(tmp_path, rows), rules()), Known(inputs=("body",)), "text")
    assert found.edits["data"]["where"] == {"label_status": ["kept, as it is"], "shop": ["S1"]}


def test_rows_of_one_request_with_another_answer_each_are_named(tmp_path: Path) -> None:
    """A join writes one call a row: each would be a record that contradicts the others."""
    rows = [row | {"call_id": f"c{n}"} for n, row in enumerate(requests(shop=lambda n, _: f"S{n % 40}"))]
    joined = [
        one for n, row in enumerate(rows) for one in [row, *([row | {"category": "another"}] if n % 8 == 1 else [])]
    ]
    said = proposed(write(tmp_path, joined), targets=("category",), inputs=("body",)).warnings[0]
    assert "60 rows share their 'call_id' and their text" in said and "rows 2 and 3; 11 and 12;" in said
    assert "one row for each 'call_id'" in said
    for others in (rows, [row | {"body": f"{row['body']} {n}"} for n, row in enumerate(joined)]):  # of a conversation
        assert "share their" not in str(
            proposed(write(tmp_path, others), targets=("category",), inputs=("body",)).warnings
        )


def test_rows_to_keep_are_named_with_their_values() -> None:
    assert where_of(["a=b", "a=null", "c = d=e", "c!=f", "g!=null"]) == {
        "a": ["b", None],
        "c": ["d=e", "!f"],
        "g": ["!"],
    }
    assert in_words({"g": ["!", "!f", None]}) == "g!=null, g!=f, g=null"
    with pytest.raises(HallmarkError, match="COLUMN=VALUE"):
        where_of(["a"])


@pytest.mark.parametrize("sign", ["; ", "|", " + ", None])
def test_several_labels_in_one_text_are_a_list(tmp_path: Path, sign: str | None) -> None:
    """In any order in the file, in one for the model; a label that holds the sign itself stays one."""
    rows = requests(note=lambda n, _: f"note {words(n + 1)}")
    for n, row in enumerate(rows):
        label = row.pop("category")
        several = [label, "urgent"][:: 1 if n % 2 else -1] if n % 3 else [label]
        row["topics"] = json.dumps(several) if sign is None else sign.join(several)
        row["shop"] = ("bread; cake", "fish")[n % 2]
    found = proposed(write(tmp_path, rows))
    assert (found.kind, found.roles.target) == ("extraction", "topics.parts")
    assert found.task.schema == {"type": "array", "items": {"enum": sorted({*found.task.schema["items"]["enum"]})}}
    assert "topics of the text, as a JSON list of: " in found.edits["task"]["system_prompt"]
    propose.try_out(found, rules())
    assert "240 can be read" in "\n".join(found.tried) and "mask will stop" not in str(found.warnings)
    assert all(one == sorted(one) for one in found.columns["topics.parts"].values)
    assert proposed(write(tmp_path, rows), targets=("shop",)).task.schema == {"enum": ["bread; cake", "fish"]}
    if sign:  # each set as a label, if somebody wants that
        sets = proposed(write(tmp_path, rows), targets=("topics",), kind="classification")
        assert "several names" not in str(sets.warnings)


@pytest.mark.parametrize("key", [None, "content"])
def test_retrieved_passages_in_a_list_are_the_context_in_their_order(tmp_path: Path, key: str | None) -> None:
    rows: list[dict[str, Any]] = []
    for n in range(60):
        found = [f"The {words(n + at)} is open until {at + 8}." for at in range(3)]
        passages = [{key: text, "url": f"x/{n}"} for text in found] if key else found
        answer = f"Until {n % 3 + 8}, since {words(n)} says so."
        rows.append({"id": f"q{n}", "question": f"When does {words(n)} close?", "passages": passages, "answer": answer})
    proposal = proposed(write(tmp_path, rows))
    assert (proposal.roles.context, proposal.roles.input) == ("passages.passages", "question")
    assert proposal.columns["passages.passages"].values[0] == "\n\n".join(
        f"The {words(at)} is open until {at + 8}." for at in range(3)
    )
    propose.try_out(proposal, rules())
    assert "60 can be read" in "\n".join(proposal.tried)
    rows[3]["passages"] = [{"url": "x/3"}]
    with pytest.raises(HallmarkError, match=r"row 4, field 'passages\.passages': not a text but list"):
        list(
            checked_rows(
                write_lines(tmp_path / "rows.jsonl", rows),
                id="id",
                group="id",
                input="question",
                target="answer",
                tags=None,
                context="passages.passages",
            )
        )


def test_rows_without_a_group_are_named_with_the_param_that_leaves_them_out(tmp_path: Path) -> None:
    """They are not a group that crosses the parts of an official split either."""
    rows = requests(shop=lambda n, _: None if n in (3, 8) else f"S{n % 40}")
    for n, row in enumerate(rows):
        row["fold"] = "train" if n % 40 < 30 and n != 3 else "test"
    found = proposed(write(tmp_path, rows), group="shop")
    said = str(found.warnings)
    assert "2 of 240 rows have no 'shop' (rows 4, 9) and are a group each" in said and "data.missing: drop" in said
    assert found.roles.split == "fold"
    propose.try_out(found, rules())
    assert found.edits["data"]["missing"] == "own_group" and "240 can be read" in "\n".join(found.tried)


def test_of_a_label_and_its_codes_the_words_are_the_answer(tmp_path: Path) -> None:
    rows = requests(team=lambda n, kind: f"T{[*CODES].index(kind)}0", work=lambda n, kind: kind)
    for row in rows:
        del row["category"]
    assert proposed(write(tmp_path, rows)).roles.target == "work"


def test_two_columns_that_have_names_only_together_are_the_answer(tmp_path: Path) -> None:
    """Not a label that nearly all rows share, and not the titles of the texts as their group."""
    groups = {"late parcel": "TRA 10", "broken goods": "TRA 20", "wrong bill": "INV 10", "lost login": "INV 20"}
    rows = []
    for n, row in enumerate(requests(300)):
        area, code = groups[row.pop("category")].split()
        said = f"{area}{code} {words(n)}" if n % 60 else f"trial {words(n)}"
        rows.append(
            {
                "sort": "R1" if n % 60 else "RT",
                "RNUM": n // 2 + 1000,
                "about": f"Query on lamp{n % 120}",
                "message": f"We have {said} here.",
            }
        )
        rows[-1] |= {"area": area, "code": code}
    book = "".join(f"9;{of.replace(' ', ';')};{name}\n" for name, of in groups.items())
    (tmp_path / "catalogue.csv").write_text(f"cat;grp;code;name\n{book}", encoding="utf-8")
    roles = proposed(write(tmp_path, rows)).roles
    assert (roles.target, roles.group, roles.input) == (["area", "code"], "RNUM", "{about}\n{message}")


def test_what_no_part_of_a_split_shares_is_the_group_and_names_of_ids_are_no_answer(tmp_path: Path) -> None:
    rows = requests(
        400,
        split=lambda n, _: ("train", "test")[n // 10 % 3 == 2],
        herb=lambda n, _: f"Herb {'abcdefgh'[n // 80]}{'xyzuvwab'[n // 10 % 8]}",
    )
    found = proposed(write(tmp_path, [row | {"answer": f"It is {words(n)}."} for n, row in enumerate(rows)]))
    assert (found.roles.group, found.roles.split) == ("herb", "split")
    wide = [row | {"answer": f"It is {words(n)}.", "shop_no": f"S{n // 20 % 11}"} for n, row in enumerate(rows)]
    assert proposed(write(tmp_path, wide)).roles.group == "herb", "a wider one that the split cuts loses"
    rows = requests(device=lambda n, _: f"FR-{n % 30:03}", named=lambda n, _: f"Press {'abcde'[n % 5]} of hall {n % 6}")
    roles = proposed(write(tmp_path, [{"trade": row.pop("category")} | row for row in rows])).roles
    assert (roles.target, roles.group) == ("trade", "device")


def test_choices_in_the_rows_name_their_codes_and_what_never_varies_is_no_name(tmp_path: Path) -> None:
    options = [{"id": code, "text": kind} for kind, code in CODES.items()]
    rows = requests(options=lambda n, kind: options, accept=lambda n, kind: [CODES[kind]], name=lambda n, kind: "Kate")
    for row in rows:
        del row["category"]
    found = proposed(write(tmp_path, rows))
    assert found.roles.target == "accept.0" and "name" not in found.roles.identity
    assert found.edits["data"]["labels"] == {code: kind for kind, code in CODES.items()}


def test_a_table_of_a_join_and_a_name_with_its_arguments_are_one_answer(tmp_path: Path) -> None:
    lines = ["s.text\ts.day\tq.kind\tq.place\tq.crates\tq.by\ti.desk"]
    for n, row in enumerate(requests(240)):
        place, crates = f"{('Mill', 'Lake', 'Hill')[n % 3]} {'abcdefgh'[n % 8]}", n * 7 % 90 + 10
        lines.append(
            f"{row['category']}: {words(n)}, {crates} at {place}\t{n}\t{CODES[row['category']]}\t{place}\t{crates}\tK{n // 3 % 4}\t{row['category'][:1]}"
        )
    (tmp_path / "rows.tsv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    assert proposed(tmp_path / "rows.tsv").roles.target == ["q.kind", "q.place", "q.crates"]
    rows = []
    for n in range(300):
        at, place = n * 7 % 9, f"{('Mill', 'Lake', 'Hill')[n % 3]}"
        call = {"does": f"{'abcdefghi'[at]}_turn", "with": json.dumps({f"in{at % 3}": place, "to": n})}
        rows.append(
            {
                "text": f"{'abcdefghi'[at] * 4} turn {place} to {n} {words(n)}",
                **call,
                "spoken_answer": f"It is {place}",
            }
        )
    assert proposed(write(tmp_path, rows)).roles.target == ["does", "with"]


def test_values_that_a_letter_quotes_or_follows_are_read(tmp_path: Path) -> None:
    rows = []
    for n in range(200):
        yes, eur, day = n % 3 == 0, n * 13 % 400 + 20, date(2024, n % 12 + 1, n % 28 + 1)
        text = f"You wrote on {day.day} {day:%B %Y}. {'We are sorry' if yes else 'We were right'}, and pay {eur}.00 by post as soon as this can be done. {words(n)}"
        rows.append(
            {
                "no": f"B{n:04}",
                "story": f"I said {words(n)} to you, and nobody came.",
                "day": f"{day}",
                "eur": eur,
                "ruling": ("no", "in part", "yes")[2 * yes],
                "final_answer": text,
            }
        )
        rows[-1]["env"] = "staging" if n % 20 == 3 else "live"
    (tmp_path / "style_prompt.txt").write_text(
        "You write letters.\nWrite plainly. Start with the day.\n", encoding="utf-8"
    )
    found = proposed(write(tmp_path, rows))
    assert {"story", "day", "eur"} <= {*columns_of(found.roles.input)}
    assert "10 rows have staging in 'env'" in str(found.warnings)
    assert found.edits["task"]["system_prompt"].startswith("You write letters.")
    assert "is what style_prompt.txt next to the rows says: check that" in str(found.warnings)


ORDERS = "You sort requests.\nAnswer with one word. Never guess."


@pytest.mark.parametrize(
    ("around", "near", "taken"),
    [
        ({"meta": {"systemPrompt": ORDERS}}, {}, True),
        ({}, {"instructions.md": ORDERS}, True),
        ({"prompt": ORDERS}, {"README.md": f"{ORDERS} Always test."}, True),
        ({"prompt": ORDERS}, {"system_prompt.txt": f"{ORDERS} Always test."}, False),
        ({"prompt": f"{ORDERS} Always greet Anna Schmidt."}, {}, False),
        ({"note": ORDERS}, {"README.md": ORDERS}, False),
        ({"prompt_author": "Ada of sales", "prompt_version": "sorting v3 final", "prompt": "be kind"}, {}, False),
    ],
)
def test_only_one_text_that_is_named_a_prompt_and_names_nobody_is_taken(
    tmp_path: Path, around: dict[str, Any], near: dict[str, str], taken: bool
) -> None:
    (tmp_path / "rows.json").write_text(json.dumps({**around, "rows": requests(60)}), encoding="utf-8")
    for name, text in near.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = proposed(tmp_path / "rows.json")
    assert (ORDERS in found.edits["task"]["system_prompt"]) == taken
    assert ("check that it is meant for the model and names nobody" in str(found.warnings)) == taken
    hinted = sum("reads like instructions" in line for line in found.warnings)
    assert hinted == str([around, near]).count("You sort") - taken


@pytest.mark.parametrize(("title", "later"), [("replaced_by", True), ("parent", False)])
def test_a_retired_code_has_the_name_of_its_successor_and_a_few_labels_slice_the_results(
    tmp_path: Path, title: str, later: bool
) -> None:
    rows = requests(320, way=lambda n, _: ("x1", "y2", "z3")[n * 7 % 3], by=lambda n, _: ("ab", "cd")[n * 3 % 2])
    codes = {name: f"01{at}0" for at, name in enumerate(sorted({row["category"] for row in rows}), 1)}
    for n, row in enumerate(rows):
        code = codes[row.pop("category")]
        row["kz"] = "0115" if code == "0110" and n % 3 == 0 else code
    lines = [f"{code};{name};;" for name, code in codes.items()]
    (tmp_path / "kz.csv").write_text(
        "\n".join([f"kz;name;until;{title}", *lines, "0115;old;2023;0110", ""]), encoding="utf-8"
    )
    found = proposed(write(tmp_path, rows))
    labels = found.edits["data"]["labels"]
    assert (labels["0115"] == labels["0110"]) == later and found.roles.tags == "way"
    assert ("0110 and 0115 are" in str(found.warnings) or "0115 and 0110 are" in str(found.warnings)) == later


def test_a_form_that_the_text_fills_is_the_answer_with_the_day_and_sender_that_it_needs(tmp_path: Path) -> None:
    rows = []
    for n in range(240):
        guest, room = words(n * 7), ("twin", "suite", "loft")[n * 5 % 3]
        form = {"guest": guest, "from": f"2024-05-{n % 28 + 1:02}", "room": room, "beds": n % 4 + 1}
        text = f"A {room} for {n % 4 + 1} from the {n % 28 + 1}, please, near {words(n)}{f'. {guest}' * (n % 3 > 0)}"
        mail = {
            "got": f"2024-04-{n % 30 + 1:02}",
            "sender": guest,
            "text": text,
            "agent_form": form if n % 12 else None,
        }
        rows.append({"no": f"M{n:04}"} | mail | {"is_test": n % 120 == 5})
    found = proposed(write(tmp_path, rows))
    assert found.roles.target == "agent_form" and set(columns_of(found.roles.input)) == {"got", "sender", "text"}
    assert found.roles.identity == {"sender": "PERSON"}, "read, and masked in the texts too"


def test_passages_have_the_name_by_which_answers_cite_them(tmp_path: Path) -> None:
    rows = []
    for n in range(60):
        found = [{"key": f"KB-{n + at}", "text": f"The {words(n + at)} is open until {at + 8}."} for at in range(3)]
        rows.append({"id": f"q{n}", "question": f"When does {words(n)} close?", "passages": found})
        rows[-1]["answer"] = f"Until {n % 3 + 8}, since {words(n)} says so [KB-{n}]."
    proposal = proposed(write(tmp_path, rows))
    assert proposal.roles.context == "passages.key.passages"
    propose.try_out(proposal, rules())
    assert "60 can be read" in "\n".join(proposal.tried)


@pytest.mark.parametrize(
    ("key", "text", "cited"),
    [("k7", "See [k7].", True), ("", "See [].", False), (None, "See [None].", False), (1, "See [1].", True), ("x" * 41, f"[{'x' * 41}].", False)],
)  # fmt: skip
def test_only_short_values_of_objects_are_cited(key: Any, text: str, cited: bool) -> None:
    lists = [[{"key": key}]] * 9
    assert is_cited("key", lists, [Column("answer", [text] * 9)]) == cited
    assert keys_in(lists) == ["key"] and keys_in([*lists, ["text"]]) == [] == keys_in([*lists, {"key": key}])


def test_a_label_in_lists_that_may_stand_for_none_is_counted_there(tmp_path: Path) -> None:
    topics = ["late; lost", "lost; broken", "broken; late", "unknown", "late; unknown"]
    rows = [{"body": row["body"], "topics": topics[n % 5]} for n, row in enumerate(requests(100))]
    found = proposed(write(tmp_path, rows), targets=("topics",))
    assert "unknown (40 rows) may stand for no answer" in str(found.warnings)
