"""The dry run of `mask`, `dedupe` and `split` in `propose`, and the params that follow from it."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hallmark.base.files import HOLDOUT_LOCK
from hallmark.commands import dry_run, propose
from hallmark.commands.dry_run import Drawn, passes, split_warnings
from hallmark.commands.infer import Inferred
from hallmark.commands.proposal import Proposal
from hallmark.commands.roles import Guess, Known
from hallmark.params.loader import load_params, resolved
from hallmark.release.model_card import FILL_IN, unfilled
from hallmark.task.kinds import KINDS
from tests.made_up import without_comparators
from tests.test_propose import RULES, rules, write
from tests.tiny import make_tiny_base
from tests.workspace import ROOT, change_params, make_workspace, stage

MAILS = [f"jo{n}@acme-tools.io" for n in range(7)]
LABELS = ("billing", "other", "return")


def made(number: int, **changes: Any) -> dict[str, Any]:
    """A row of one of 30 customers; each has its own words."""
    words = " ".join(f"{word}{number * 7919 % 997}" for word in ("lamp", "desk", "chair", "shelf", "table"))
    row = {"id": f"T{number}", "customer": f"C{number % 30}", "text": f"About {words}", "queue": LABELS[number % 3]}
    return row | changes


def rows(count: int = 300) -> list[dict[str, Any]]:
    """Some lack something, some repeat a text, and some have an address in them."""
    found = [made(number) for number in range(count)]
    for number, mail in enumerate(MAILS):
        found[number]["text"] += f" write to {mail} please"
    found[10]["queue"], found[11]["customer"], found[12]["text"] = None, "", "  "
    for number in range(20, 30):
        found[number + 30] |= {"text": found[number]["text"], "queue": LABELS[(number + (number == 20)) % 3]}
    return found


def tried(folder: Path, data: list[dict[str, Any]], **known: Any) -> Proposal:
    """The proposal for the rows, after its dry run."""
    proposal = propose.proposed(write(folder, data), rules(), Known(**known))
    propose.try_out(proposal, rules())
    return proposal


def said(folder: Path, data: list[dict[str, Any]], *options: str) -> tuple[str, Path]:
    """What `propose` prints for the rows, in a workspace of the reference, and the workspace."""
    workspace = folder / "repo"
    if not workspace.exists():
        make_workspace(workspace, RULES, rows=1)
    write(workspace / "data/raw", data)
    return stage(workspace, "hallmark.commands.propose", "data/raw/rows.jsonl", *options).stdout, workspace


def test_the_result_is_shown_without_private_values(tmp_path: Path) -> None:
    found = tried(tmp_path, rows())
    text = "\n".join(found.tried)
    assert "Dry run of mask, dedupe and split on all 300 rows" in text
    assert "297 can be read, 3 left out: 1 without group (customer), 1 without input (text), 1 without target" in text
    assert re.search(r"EMAIL_ADDRESS 7: .*write to <EMAIL_1> please", text)
    assert not any(mail in text + str(found.warnings) for mail in MAILS)
    assert "dropped as duplicates: 2 conflict, 9 exact" in text
    assert "2 rows (0.7 %) have the same text as another row but a different answer" in str(found.warnings)
    (stay,) = map(int, re.findall(r"dedupe +(\d+) rows stay", text))
    (sides,) = re.findall(r"train (\d+) .* validation (\d+) .* calibration (\d+) .* holdout (\d+) .*; (\d+) drop", text)
    assert sum(map(int, sides)) == stay <= 287
    (leaks,) = re.findall(r"of (\d+) held-out rows, (\d+) share their group with training, (\d+) their text", text)
    assert int(leaks[0]) == int(leaks[1]) > int(leaks[2]) > 0
    assert "estimated from their characters, since the base's tokenizer is not there yet" in text


def test_what_is_written_runs_and_fits(tmp_path: Path) -> None:
    """With a base there, lengths are in its tokens: `split` finds that all fit."""
    make_workspace(tmp_path / "repo", RULES, rows=1)
    make_tiny_base(tmp_path / "repo/models/base")
    text, workspace = said(tmp_path, rows(), "--write")
    assert "of the tokenizer in models/base" in text
    params = load_params(workspace / "params.yaml")
    assert params.data.missing == "drop"
    assert params.sft.epochs == 6.0, "some 250 lines of a few labels"
    assert (params.sft.lr_scheduler, params.sft.early_stopping_patience) == ("warmup_stable_decay", 2)
    assert params.sft.max_length % 64 == params.eval.max_new_tokens % 8 == 0
    assert params.benchmark.max_tokens == params.eval.max_new_tokens
    assert not (workspace / HOLDOUT_LOCK).exists()
    for name in ("mask", "dedupe", "split"):
        stage(workspace, name)
    lengths = json.loads((workspace / "reports/split.json").read_text(encoding="utf-8"))["lengths"]
    for found in (lengths["train"]["records"], lengths["holdout"]["answers"]):
        assert found["over"] == 0
        assert found["longest"] < found["limit"] < 4 * found["longest"] + 200


@pytest.mark.full
def test_records_that_the_base_cannot_read_are_warned_of(tmp_path: Path) -> None:
    make_workspace(tmp_path / "repo", RULES, rows=1)
    make_tiny_base(tmp_path / "repo/models/base")
    data = [made(number) for number in range(300)]
    for row in data[:3]:
        row["text"] += " lamp" * 9000
    text, workspace = said(tmp_path, data, "--write")
    assert "split will stop at records that are too long (split.too_long): at least 3, for the 8192 tokens" in text
    for name in ("mask", "dedupe"):
        stage(workspace, name)
    assert "3 records are too long: " in stage(workspace, "split", check=False).stderr
    change_params(workspace, {"split.too_long": "count"})
    assert "split will not train on records that are too long" in said(tmp_path, data)[0]


@pytest.mark.parametrize(
    ("records", "labels", "wanted"),
    [
        (1, 0, 6.0),
        (1_911, 0, 3.1),
        (8_000, 0, 1.0),
        (40_000, 0, 0.5),
        (8_636, 77, 2.7),
        (40_000, 77, 0.58),
        (10**7, 0, 0.002),
    ],
)
def test_passes_follow_from_records_and_labels(records: int, labels: int, wanted: float) -> None:
    assert passes(records, labels) == wanted


def test_what_speaks_of_the_sample_is_to_fill_in_once(tmp_path: Path) -> None:
    _, workspace = said(tmp_path, rows(), "--write")
    file = workspace / "params.yaml"
    params = load_params(file)
    assert unfilled(params.certify) == ["certify.languages", "certify.intended_use", "certify.limits"]
    assert params.certify.tags == []
    gate = KINDS["classification"].gate
    written = params.gate.model_dump()
    assert {key: {name: written[key][name] for name in values} for key, values in gate.items()} == gate
    text = file.read_text(encoding="utf-8")
    assert "  requests_per_second: 1.0  # fewest requests" in text, "the other lines stay"
    assert "superiority: {base: 0.1, few_shot: 0.05, classical: 0.0}" in text, "on one line, as before"
    file.write_text(text.replace(FILL_IN, "English").replace("macro_f1: 0.5", "macro_f1: 0.7"), encoding="utf-8")
    said(tmp_path, rows(), "--write")  # the second time, the words are the user's own
    params = load_params(file)
    assert (params.certify.intended_use, params.gate.floors["macro_f1"]) == ("English", 0.7)


def test_the_gate_names_only_opponents_that_are_there_and_facts_that_are_named() -> None:
    found = Proposal(Path("mine.jsonl"), [], {}, Guess(), Inferred("text", {}, ""))
    found.set_gate(without_comparators(load_params(ROOT / "params.yaml")))
    assert found.edits["gate"]["superiority"] == {"base": 0.1, "classical": 0.0}
    assert found.edits["gate"]["floors"] == {"schema_validity": 0.95}
    assert "once eval.facts names the facts of a reply, add a floor" in found.reasons["gate", "floors"]


@pytest.mark.skipif(not (ROOT / "template").is_dir(), reason="the kinds' samples are in the template")
@pytest.mark.parametrize(("sample", "kind"), [*zip(KINDS, KINDS, strict=True), ("documents", "extraction")])
def test_the_gate_of_a_kind_is_that_of_its_sample(sample: str, kind: str) -> None:
    values = resolved(ROOT / "params.yaml")["gate"]
    lines = (ROOT / f"template/choices/kinds/{sample}/params.yaml").read_text(encoding="utf-8").splitlines()
    for name, value in (line.split(": ", 1) for line in lines if line.startswith("gate.")):
        key, _, inner = name.removeprefix("gate.").partition(".")
        value = YAML(typ="safe").load(value)
        values[key] = values[key] | {inner: value} if inner else value
    for key, expected in KINDS[kind].gate.items():
        assert {name: values[key][name] for name in expected} == expected
        more = values[key].keys() - expected.keys()
        assert not more or key == "serving" or (KINDS[kind].free_text and more == {"field_f1"}), "of the sample's facts"
    assert not {name for name in ("superiority", "floors", "ceilings") if name not in KINDS[kind].gate}


def alike(n: int) -> dict[str, Any]:
    """One of 20 texts with small changes, in rows of many customers: what isn't held out is nearly what is."""
    words = [
        f"{word}{(n // 60 * 7919 + k * 31) % 997}" for k in range(8) for word in ("lamp", "desk", "mat", "rug", "bed")
    ]
    words[n % 40], words[n * 7 % 40] = f"new{n}", f"own{n}"
    return {"id": f"T{n}", "customer": f"C{n % 60}", "text": " ".join(words), "queue": f"q{n % 40}"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (rows(120), r"holds out about \d+ of \d+ rows that stay, and the gate needs at least 100"),
        ([made(n, customer=f"C{n % 6}") for n in range(900)], r"the holdout would have \d groups, and the gate needs 8"),
        ([made(n, customer="big" if n % 2 else f"C{n % 30}") for n in range(90)], "'customer' has 50 % of the rows"),
        ([made(n, customer="C1") for n in range(90)], "dedupe or split will stop: .* belong to 1 group"),
        ([alike(n) for n in range(1200)], "dedupe or split will stop: .*no record is left for train"),
    ],
)  # fmt: skip
def test_what_stops_the_split_or_decides_nothing_is_warned_of(
    tmp_path: Path, data: list[dict[str, Any]], words: str
) -> None:
    assert re.search(words, "\n".join(tried(tmp_path, data, group="customer").warnings))


def test_a_sample_stands_for_all_rows() -> None:
    params = load_params(ROOT / "params.yaml")
    counts = {"train": 4_000, "validation": 700, "calibration": 2_700, "holdout": 16}
    found = Drawn(stay=9_000, rows=counts, groups=dict.fromkeys(counts, 90))
    assert split_warnings(found, 10, params) == []
    (few,) = split_warnings(found, 1, params)
    assert "holds out about 16 of 7416 rows" in few
    found.texts, found.pairs, found.largest = 10_000, 200_000, 300
    (alike,) = split_warnings(found, 10, params)
    assert (
        "about 3,000 of 100,000 different texts form one duplicate cluster, and dedupe stops at more than 5,000"
        in alike
    )
    found.largest = 1
    (alike,) = split_warnings(found, 10, params)
    assert "about 20,000,000 pairs of texts will look alike" in alike
    found.pairs = 0
    counts |= {"train": 6, "validation": 1}
    assert [re.findall(r"about (\d+) of .* left for (\w+)", line) for line in split_warnings(found, 10, params)] == [
        [("60", "train")],
        [("10", "validation")],
    ]


def test_a_large_file_is_sampled_by_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "ROWS", 100)
    data = [made(number) for number in range(300)]
    taken = dry_run.chosen(data, "customer")
    assert len(taken) == 100
    assert all(len({number for number in taken if number % 30 == customer}) in (0, 10) for customer in range(30))
    assert dry_run.chosen(data, "customer") == taken
    assert len(dry_run.chosen(data, "row.id")) == 100


def test_questions_without_an_answer_are_left_out(tmp_path: Path) -> None:
    talks = [
        {"messages": [{"role": "user", "content": made(n)["text"]}, {"role": "assistant", "content": LABELS[n % 3]}]}
        for n in range(60)
    ]
    talks[5]["messages"].pop()
    found = tried(tmp_path, talks)
    assert "59 can be read, 1 left out: 1 without target (turns.target)" in "\n".join(found.tried)
    assert "no column says which rows belong together" in "\n".join(found.warnings)


def copying(number: int) -> dict[str, Any]:
    """A row whose target copies a date that is masked, an address of someone, and numbers of one form."""
    code, mail = f"NL-{number * 337 % 90000 + 10000}", f"b{number}@acme.io"
    day, member = f"{1990 + number % 9}-05-{number % 27 + 1:02}", f"MEM-{number * 77 % 9000 + 1000}"
    target = {"date": day, "mail": mail, "code": code, "member_no": member, "amount": number + 20}
    text = f"It has been a long time, and nobody ever told me why: since {day} I have {code}, {number + 20}.00 EUR, {member}, mail {mail}."
    return {"id": f"r{number}", "text": text, "target": target}


def test_it_sets_what_the_task_needs_and_leaves_to_the_user_what_may_be_someones(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, RULES | {"data.pseudonyms": "none"})
    write(workspace / "data", [copying(number) for number in range(60)])
    text = stage(workspace, "hallmark.commands.propose", "data/rows.jsonl", "--write").stdout
    assert "# else 60 of 60 copied values of 'date' are lost (DATE_TIME 60)" in text
    assert "# 60 numbers of this form are copied by targets, 60 of them different" in text
    assert "are lost in masking" not in text, "an address is the same placeholder in input and target"
    mask = load_params(workspace / "params.yaml").mask
    assert mask.actions == {"DATE_TIME": "surrogate"}, "the schema has no room for a placeholder"
    assert mask.allow_patterns == [r"NL-\d{5}"]
    stage(workspace, "mask")
    values = json.loads((workspace / "reports/mask.json").read_text(encoding="utf-8"))["target_values"]
    assert {field: (of["kept"], of["replaced"]) for field, of in values.items() if field != "member_no"} == {
        "date": (0, 60), "code": (60, 0), "amount": (60, 0), "mail": (0, 60),
    }  # fmt: skip


def test_dates_are_read_as_the_targets_do_and_moved(tmp_path: Path) -> None:
    def row(number: int) -> dict[str, Any]:
        day = date(2004, 1, 1) + timedelta(11 * number)
        return {"id": f"r{number}", "text": f"Lease of {day:%d/%m/%Y}.", "target": {"signed": f"{day}"}}

    found = tried(tmp_path, [row(number) for number in range(60)])
    assert found.edits["mask"]["day_first"] is True
    assert found.edits["mask"]["actions"] == {"DATE_TIME": "surrogate"}
    line = "signed: 60 values stand in the input, 60 after masking (60 different, 60 after); 0 stand in none"
    assert line in "\n".join(found.tried)
    same = [copying(n) | {"text": f"Order {n} of 05/05/2007.", "target": {"n": f"{n}"}} for n in range(60)]
    assert "day_first" not in tried(tmp_path, same).edits["mask"], "a day that is its month says nothing"
    same[0]["text"] = "Order 0 of 05/05/2007 and 13/05/2007."
    assert tried(tmp_path, same).edits["mask"]["day_first"] is True


def test_it_says_if_mask_would_stop(tmp_path: Path) -> None:
    def row(number: int) -> dict[str, Any]:
        last = f"{chr(65 + number // 26 % 26)}{'aeiou'[number % 5]}{chr(97 + number % 26)}lard"
        return {"id": f"r{number}", "text": f"My name is Rosa {last}, order {number}.", "target": {"who": last}}

    warned = "\n".join(tried(tmp_path, [row(number) for number in range(60)]).warnings)
    assert (
        "mask will stop: values that the target copies from its input are lost in masking, 60 of 60 values of 'who'"
        in warned
    )
    few = [row(n) | ({"text": f"Where is {n}?", "target": {"who": "nobody"}} if n % 20 else {}) for n in range(2000)]
    assert "mask will stop: " in "\n".join(tried(tmp_path, few).warnings), "a few of 300 rows are many of 2,000"
    tags = [copying(number) | {"tags": ["new"] if number else ["ina.roe@acme-tools.io"]} for number in range(40)]
    warned = "\n".join(tried(tmp_path, tags).warnings)
    assert "mask will stop: " in warned
    assert "row 1, field 'tags'" in warned
    assert "ina.roe" not in warned
    broken = [copying(number) for number in range(40)]
    for row in broken[2:]:
        row["target"]["date"] = None
    found = tried(tmp_path, broken)  # two dates are too few to move all, and a placeholder breaks the schema
    warned = "\n".join(found.warnings)
    assert "mask will stop: " in warned
    assert "private data in 38 of 38 rows" in warned, "the other rows are masked all the same"
    assert "EMAIL_ADDRESS 76" in "\n".join(found.tried)


def test_values_that_no_input_has_are_told(tmp_path: Path) -> None:
    """Ten of 40 names are spelled otherwise in the input, and two are not there at all."""
    names = [f"Shop {chr(65 + number % 26)}{number // 26} Ltd" for number in range(40)]
    texts = [name.upper() if number < 10 else name for number, name in enumerate(names)]
    texts[20:22] = ["Sh0p", "Sh0p"]
    data = [
        {"id": f"r{number}", "customer": f"c{number % 12}", "text": f"{text}\nbread {number}.50\npaid in cash, thank you",
         "answer": {"shop": name, "total": number + 0.5}}
        for number, (name, text) in enumerate(zip(names, texts, strict=True))
    ]  # fmt: skip
    told = [line for line in tried(tmp_path, data).warnings if "copying can't" in line]
    assert [re.findall(r"(\d+) of (\d+) values of '(\w+)'", line) for line in told] == [[("2", "40", "shop")]]
    for row in data:
        row["text"] = f"{row['answer']['shop']}, {row['text']}"
    assert "copying can't" not in str(tried(tmp_path, data).warnings)


def test_an_address_next_to_an_organisation_is_the_organisations(tmp_path: Path) -> None:
    def shop(number: int, name: str) -> dict[str, Any]:
        target = {"name": name, "address": f"{number + 3} Elm Street"}  # a part of what is masked as one value
        return {"id": f"r{number}", "text": f"{name}\n{number + 3} Elm Street, Springfield", "target": target}

    shops = [shop(number, f"{chr(65 + number)}lmbrook Lamps Ltd") for number in range(20)]
    assert tried(tmp_path, shops).edits["mask"]["actions"] == {"STREET_ADDRESS": "keep"}
    people = [shop(number, f"Mr Ben {chr(65 + number)}ollard") for number in range(20)]
    assert "actions" not in tried(tmp_path, people).edits["mask"]


def test_fields_of_calls_have_names(tmp_path: Path) -> None:
    days = [f"199{n % 9}-04-0{n % 9 + 1}" for n in range(60)]
    found = tried(tmp_path, [
        {"request": f"find {day} for {n}", "answer": [{"name": "find", "arguments": json.dumps({"day": day})}]}
        for n, day in enumerate(days)
    ])  # fmt: skip
    assert found.kind == "tool_call"
    assert "arguments.day: 60 values stand in the input, 60 after masking" in "\n".join(found.tried)
    assert "actions" not in found.edits["mask"], "a placeholder fits, and stands in the request too"


def test_conflicts_are_those_that_dedupe_finds(tmp_path: Path) -> None:
    """The same question with another context is no conflict, and no repeat."""
    data = [
        {"id": f"q{n}", "patient": f"P{n % 20}", "history": made(n)["text"], "question": f"May they {('work', 'travel')[n % 2]}?",
         "answer": ("yes", "no", "later")[n % 3]}
        for n in range(120)
    ]  # fmt: skip
    data[7] |= {"history": data[5]["history"], "question": data[5]["question"]}
    data[9] |= {"history": data[3]["history"], "question": data[3]["question"]}
    text, workspace = said(tmp_path, data, "--write")
    params = load_params(workspace / "params.yaml")
    assert (params.data.input, params.data.context) == ("question", "history")
    for name in ("mask", "dedupe"):
        stage(workspace, name)
    found = json.loads((workspace / "reports/dedupe.json").read_text(encoding="utf-8"))
    assert f"{found['conflicts']['records']} rows (" in text and "2 rows (" in text
