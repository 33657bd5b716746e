"""Records compared with their raw rows: a right script is quiet, and of the usual mistakes in one few stay silent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.records.columns import looks_private, state_word
from hallmark.records.recipe import Run, load
from hallmark.records.second_run import SecondRun
from hallmark.task.params import Task as TaskParams
from hallmark.task.task import Task
from tests.recipes import ran, recipe_in

REASONS = ("billing", "access", "delivery")
NAMES = (
    "Ann Lee",
    "Bob Ray",
    "Cy Doe",
    "Dee Fox",
    "Eve Orr",
    "Flo Kay",
    "Gus Hill",
    "Hal Byrne",
    "Ida Cole",
    "Jo Marsh",
)
SUBJECTS = ("Paid twice", "Can't log in", "Parcel is late")
BODIES = ("the card was charged two times", "my password does not work", "nothing came for two weeks")
RAW = {
    "tickets.csv": "id,status,verified,duplicate,prio,subject,body,reason,customer,agent,created,resolution,split\n"
    + "".join(
        f"t{n},{'draft' if n % 9 == 0 else 'solved'},{int(n % 7 != 0)},{int(n % 11 == 0)},{n % 3},{SUBJECTS[n % 3]} ({n}),"
        f"Hello: {BODIES[n % 3]} since day {n},{REASONS[n % 3]},c{n % 40},{NAMES[n % 10]},2024-05-{n % 28 + 1:02}T10:{n % 60:02}:00,"
        f"we fixed number {n},train\n"
        for n in range(120)
    ),
    "customers.csv": "id,name,mail\n" + "".join(f"c{n},{NAMES[n % 10]}{n},p{n}@example.com\n" for n in range(40)),
}
RIGHT = """
customers = {one["id"]: one for one in table("data/raw/customers.csv").iter_rows(named=True)}
for row in table("data/raw/tickets.csv").iter_rows(named=True):
    if row["status"] == "draft":
        skip(row, "draft")
        continue
    if row["verified"] == "0" or row["duplicate"] == "1":
        skip(row, "state")
        continue
    who = customers[row["customer"]]
    yield Record(
        id=row["id"],
        group=row["customer"],
        prompt=f"{row['subject']}\\n{row['body']}",
        target=row["reason"],
        private={"PERSON": [who["name"], row["agent"]], "EMAIL_ADDRESS": [who["mail"]]},
        tags=[row["prio"]],
        source=row["source"],
    )
expect("unread: created, resolution, split", "they are for people")
"""
Change = tuple[str, str]
MISTAKES: dict[str, tuple[list[Change], list[Change], str | None]] = {  # in the script, in the raw files, the warning's code
    "drafts are learned from": ([('if row["status"] == "draft"', "if False")], [], "state"),
    "a state in another spelling": ([('== "draft"', '== "Draft"')], [], "state"),
    "a state misspelt": ([('== "draft"', '== "drfat"')], [], "compared"),
    "a state in two spellings": ([('if row["status"] == "draft"', 'if row["status"] not in ("Solved",)')], [("solved", "Solved"), ("t5,Solved", "t5,solved")], "spelling"),
    "a state in German": ([('if row["status"] == "draft"', "if False")], [("draft", "Entwurf")], "state"),
    "a column compared with a number": ([('row["verified"] == "0"', 'row["verified"] == 0')], [], "compared"),
    "a text taken for false": ([('row["verified"] == "0"', 'not row["verified"]')], [], "state"),
    "a text taken for true": ([('row["duplicate"] == "1"', 'row["duplicate"]')], [], "error"),
    "a state by its code": ([('if row["status"] == "draft"', "if False"), ("customers =", 'table("data/raw/codes.csv")\ncustomers =')], [("draft", "3"), ("solved", "4"), ("", "codes.csv:code,means\n3,draft\n4,solved\n")], "state"),
    "the answer in the prompt": ([("{row['body']}", "{row['body']} {row['reason']}")], [], "answer_in_prompt"),
    "the whole row as prompt": ([("f\"{row['subject']}\\n{row['body']}\"", "str(row)")], [], "answer_in_prompt"),
    "what was written afterwards in the prompt": ([("{row['body']}", "{row['body']} {row['resolution']}")], [], None),
    "each row a group": ([('group=row["customer"]', 'group=row["id"]')], [], "groups"),
    "one group": ([('group=row["customer"]', 'group="all"')], [], "groups"),
    "a column of three values as group": ([('group=row["customer"]', 'group=row["prio"]')], [], "groups"),
    "the agent as group": ([('group=row["customer"]', 'group=row["agent"]')], [], None),
    "a name that is not private": ([('who["name"], row["agent"]', 'who["name"]')], [], "private"),
    "an address that is not private": ([(', "EMAIL_ADDRESS": [who["mail"]]', "")], [], "private"),
    "kinds of private values swapped": ([('"PERSON"', '"EMAIL"'), ('"EMAIL_ADDRESS"', '"PERSON"')], [], "private_kind"),
    "labels in two cases": ([], [("day 4,access", "day 4,Access"), ("day 10,access", "day 10,Access")], "spelling"),
    "labels with a space": ([], [("day 4,access", "day 4,access ")], "spelling"),
    "a label misspelt": ([], [("day 5,delivery", "day 5,delivry")], "spelling"),
    "a missing label as text": ([('target=row["reason"]', 'target=str(row["reason"])')], [("day 4,access", "day 4,")], "none"),
    "a missing text as text": ([], [("Hello: my password does not work since day 4,", ","), ("Hello: my password does not work since day 10,", ",")], "broken"),
    "HTML": ([], [("Hello: ", "<p>Hello</p> ")], "broken"),
    "escaped line breaks": ([], [("Hello: ", "Hello\\n")], "broken"),
    "a wrong encoding": ([], [("Hello: ", "GrÃ¼ÃŸe: ")], "broken"),
    "the agent as answer": ([('target=row["reason"]', 'target=row["agent"]')], [], "answer_private"),
    "the id as answer": ([('target=row["reason"]', 'target=row["id"]')], [], "labels"),
    "a time as answer": ([('target=row["reason"]', 'target=row["created"]')], [], "made"),
    "a time in the answer": ([('target=row["reason"]', 'target={"reason": row["reason"], "at": row["created"]}')], [], "made"),
    "a constant in the answer": ([('target=row["reason"]', 'target={"reason": row["reason"], "by": row["split"]}')], [], "constant"),
    "one answer for all": ([('target=row["reason"]', 'target="billing"')], [], "constant"),
    "one prompt for all": ([("f\"{row['subject']}\\n{row['body']}\"", '"What is it?"')], [], "prompts"),
    "the id as prompt": ([("f\"{row['subject']}\\n{row['body']}\"", 'row["id"]')], [], "prompts"),
    "prompt and answer swapped": ([("prompt=f\"{row['subject']}\\n{row['body']}\"", 'prompt=row["reason"]'), ('target=row["reason"]', 'target=row["body"]')], [], "prompts"),
    "half of the text": ([("\\n{row['body']}", "")], [], "unread"),
    "the text cut off": ([("{row['body']}", "{row['body'][:20]}")], [], None),
    "a file that is not read": ([], [("", "more.csv:id,text\n1,a\n")], "unread"),
    "a join that multiplies": ([('table("data/raw/tickets.csv")', 'table("data/raw/tickets.csv").join(table("data/raw/customers.csv").select("id", "mail"), left_on="customer", right_on="id")')], [("", "customers.csv+c1,Ann Two,q@example.com\n")], "error"),
    "a key with two rows": ([], [("", "customers.csv+c1,Ann Two,q@example.com\n")], "join"),
    "a join that loses rows": ([('table("data/raw/tickets.csv")', 'table("data/raw/tickets.csv").join(table("data/raw/customers.csv").select("id"), left_on="customer", right_on="id")')], [("\nc1,", "\nC1,"), ("\nc2,", "\nC2,")], "join"),
    "the first rows only": ([('table("data/raw/tickets.csv")', 'table("data/raw/tickets.csv").head(20)')], [], "left_out"),
    "a group in two parts": ([("source=row", 'part="train" if row["prio"] == "1" else "holdout", source=row')], [], "part"),
    "a draw": ([('table("data/raw/tickets.csv")', 'table("data/raw/tickets.csv").sample(60)')], [], "error"),
    "the order turned round": ([('{one["id"]: one for one in table("data/raw/customers.csv")', '{one["id"]: one for one in table("data/raw/customers.csv").reverse()')], [], None),
    "a key in another case": ([("customers[row", "customers.get(row"), ('["customer"]]', '["customer"].upper(), {"name": None, "mail": None})')], [], "private"),
}  # fmt: skip


def changed(body: str, changes: list[Change], files: list[Change]) -> tuple[str, dict[str, str]]:
    """The right script and files with changes in them; "" is changed into a new file NAME:TEXT, or NAME+TEXT after an old one."""
    raw = dict(RAW)
    for old, new in changes:
        assert old in body
        body = body.replace(old, new)
    for old, new in files:
        if not old and "+" in new.partition(":")[0]:
            name, _, text = new.partition("+")
            raw[name] += text
        elif not old:
            name, _, text = new.partition(":")
            raw[name] = text
        else:
            assert any(old in text for text in raw.values())
            raw = {name: text.replace(old, new) for name, text in raw.items()}
    return body, raw


def codes_of(folder: Path, body: str, raw: dict[str, str]) -> set[str]:
    """The codes of the warnings of a script; `error` if it stops. An answer that is not a label is an object here."""
    kind = "extraction" if "target={" in body else "classification"
    task = TaskParams.model_construct(kind=kind, system_prompt="", schema_file=None, refusal=None)
    try:
        script = recipe_in(folder, body, raw)
        run = load(script).run({}, folder, Task(task))
        list(run)
        if ".sample(" in body:
            with SecondRun(script, {}, folder) as second:
                second.compare(run)
    except HallmarkError:
        return {"error"}
    return {one.code for one in run.warnings()}


def test_a_right_script_is_quiet(tmp_path: Path) -> None:
    assert codes_of(tmp_path, RIGHT, RAW) == set()


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told(tmp_path: Path, name: str) -> None:
    script, files, code = MISTAKES[name]
    found = codes_of(tmp_path, *changed(RIGHT, script, files))
    assert (code in found) if code else found <= {"unread", "expect"}  # other columns are read than the script expects


def test_few_mistakes_are_silent() -> None:
    assert len(MISTAKES) >= 40
    assert sum(code is None for _, _, code in MISTAKES.values()) <= 6


TOOLS = json.dumps([{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("find", "book")])
CHATS = "".join(
    json.dumps(
        {
            "user": f"u{n % 12}",
            "tools": json.loads(TOOLS),
            "messages": [
                {"role": "user", "content": f"{'find' if n % 2 else 'reserve'} number {n} for me"},
                {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": ("book", "find")[n % 2], "arguments": f'{{"n": {n}}}'}}]},
            ],
        }
    )
    + "\n"
    for n in range(40)
)  # fmt: skip
CHAT = """
for number, row in enumerate(json_lines("data/raw/chats.jsonl")):
    for at, prompt, target in answers(row["messages"], "all"):
        yield Record(id=f"{number}-{at}", group=row["user"], prompt=prompt, target=target, tools=row["tools"], source=row["source"])
"""
OF_TOOLS: dict[str, tuple[Change, str | None]] = {
    "right": (("all", "all"), None),
    "calls lost": (("target=target", "target=[]"), "tools"),
    "tools not given": (('tools=row["tools"]', "tools=row['tools'][:1]"), "tools"),
    "no tools": ((', tools=row["tools"]', ""), "tools"),
    "a tool that nobody calls": (('tools=row["tools"]', 'tools=[*row["tools"], {"name": "pay"}]'), "tools"),
}


@pytest.mark.parametrize(("change", "code"), OF_TOOLS.values(), ids=OF_TOOLS)
def test_mistakes_with_tools(tmp_path: Path, change: Change, code: str | None) -> None:
    task = Task(TaskParams.model_construct(kind="tool_call", system_prompt="", schema_file=None, refusal=None))
    script = recipe_in(tmp_path, CHAT.replace(*change), {"chats.jsonl": CHATS})
    run = load(script).run({}, tmp_path, task)
    list(run)
    found = {one.code for one in run.warnings()}
    assert (code in found) if code else found <= {"unread"}


def test_warnings_name_a_line_count_and_are_answered(tmp_path: Path) -> None:
    body = RIGHT.replace('if row["status"] == "draft"', "if False")
    (one,) = (found for found in ran(tmp_path, body, RAW).warnings() if found.key == "status = draft")
    kept = [n for n in range(120) if n % 9 == 0 and n % 7 and n % 11]
    assert (one.count, one.source) == (len(kept), f"data/raw/tickets.csv:{kept[0] + 2}")
    answered = ran(tmp_path, body + 'expect("Status  = draft", "labelled all the same")\n', RAW)
    assert "state" not in {found.code for found in answered.warnings()}
    idle = ran(tmp_path, RIGHT + 'expect("status = draft")\n', RAW).warnings()
    assert [(found.code, found.key) for found in idle if found.code == "expect"] == [("expect", "status = draft")]


def test_rows_left_out_are_counted_by_reason(tmp_path: Path) -> None:
    run = ran(tmp_path, RIGHT, RAW)
    drafts = sum(n % 9 == 0 for n in range(120))
    assert run.skipped["draft"] == drafts
    assert run.count + sum(run.skipped.values()) == 120
    assert {file.name: file.rows for file in run.read} == {"data/raw/tickets.csv": 120, "data/raw/customers.csv": 40}


def test_columns_of_the_prompt_are_known(tmp_path: Path) -> None:
    run = ran(tmp_path, RIGHT, RAW)
    run.warnings()
    assert sorted(run.prompt_columns) == ["data/raw/tickets.csv: body", "data/raw/tickets.csv: subject"]


def test_params_that_no_script_uses_are_told(tmp_path: Path) -> None:
    run: Run = ran(tmp_path, "p['a']\n" + RIGHT, RAW, a=1, b=2)
    assert [one.key for one in run.warnings() if one.code == "param"] == ["records.b"]


def test_no_value_of_the_data_is_in_a_warning(tmp_path: Path) -> None:
    for script, files, _ in MISTAKES.values():
        body, raw = changed(RIGHT, script, files)
        try:
            words = "\n".join(map(str, ran(tmp_path, body, raw).warnings()))
        except HallmarkError as error:
            words = str(error)
        assert not any(name in words for name in NAMES) and "@" not in words and "password" not in words


@pytest.mark.parametrize(
    ("value", "column", "unfit"),
    [
        ("draft", "", True), ("Not verified", "", True), ("unverified", "", True), ("Verified", "", False),
        ("1", "is_test", True), ("0", "is_test", False), ("false", "verified", True), ("true", "verified", False),
        ("Abgelehnt", "", True), ("nicht geprüft", "", True), ("brouillon", "", True), ("rechazado", "", True),
        ("duplicato", "", True), ("rascunho", "", True), ("open", "", True), ("solved", "", False), ("billing", "", False),
        ("testimony", "", False), ("we had to test this for a while", "", False), ("1", "rating", False),
    ],
)  # fmt: skip
def test_states_that_sound_unfit(value: str, column: str, unfit: bool) -> None:
    assert (state_word(value, column) is not None) == unfit


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("contact", ["a@b.com", "c@d.org"], "EMAIL_ADDRESS"), ("x", ["+49 30 1234567", "0171 2345678"], "PHONE_NUMBER"),
        ("x", ["DE89 3704 0044 0532 0130 00"], "IBAN_CODE"), ("customer_name", ["Ann Lee", "Bo Fox"], "PERSON"),
        ("product_name", ["Ann Lee", "Bo Fox"], None), ("status", ["open", "closed"], None), ("body", ["Hello there, it broke"], None),
        ("street", ["12 High Street", "Hauptstr. 5"], "STREET_ADDRESS"), ("dob", ["1980-01-02"], "DATE_OF_BIRTH"),
        ("amount", ["12.50", "1000"], None), ("created", ["2024-05-01T10:00:00"], None), ("x", [], None),
    ],
)  # fmt: skip
def test_columns_that_look_private(name: str, values: list[str], kind: str | None) -> None:
    assert looks_private(name, values) == kind
