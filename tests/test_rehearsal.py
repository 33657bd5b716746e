"""The dry run of `mask`, `dedupe` and `split` in `propose`, and the params that follow from it."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.files import HOLDOUT_LOCK
from hallmark.commands import propose
from hallmark.params.loader import load_params
from hallmark.propose import dry_run
from hallmark.propose.dry_run import passes
from hallmark.propose.proposal import Proposal
from hallmark.propose.roles import Known
from hallmark.release.model_card import FILL_IN, unfilled
from hallmark.task.kinds import KINDS
from tests.test_propose import RULES, rules, write
from tests.tiny import make_tiny_base
from tests.workspace import make_workspace, stage

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
    assert "Dry run of dedupe and split on all 300 rows, of mask on some of them" in text
    assert "298 can be read, 2 left out: 1 without input (text), 1 without target" in text
    assert re.search(r"EMAIL_ADDRESS 7: .*write to <EMAIL_1> please", text)
    assert not any(mail in text + str(found.warnings) for mail in MAILS)
    assert "dropped as duplicates: 2 conflict, 9 exact" in text
    assert "2 rows (0.7 %) have the same text as another row but a different answer" in str(found.warnings)
    (stay,) = map(int, re.findall(r"dedupe +(\d+) rows stay", text))
    (sides,) = re.findall(r"train (\d+) .* validation (\d+) .* calibration (\d+) .* holdout (\d+) .*; (\d+) drop", text)
    assert sum(map(int, sides)) == stay <= 287
    (leaks,) = re.findall(r"of (\d+) held-out rows, (\d+) share their group with training, (\d+) their text", text)
    assert int(leaks[0]) == int(leaks[1]) + 1 > int(leaks[2]) > 0, "all but the row without a group"
    assert "estimated from their characters, since the base's tokenizer is not there yet" in text


def test_what_is_written_runs_and_fits(tmp_path: Path) -> None:
    """With a base there, lengths are in its tokens: `split` finds that all fit."""
    make_workspace(tmp_path / "repo", RULES, rows=1)
    make_tiny_base(tmp_path / "repo/models/base")
    text, workspace = said(tmp_path, rows(), "--write")
    assert "of the tokenizer in models/base" in text
    params = load_params(workspace / "params.yaml")
    assert params.data.missing == "own_group"
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


@pytest.mark.parametrize(
    ("records", "labels", "wanted"),
    [(1, 0, 6.0), (1_911, 0, 3.1), (40_000, 0, 0.5), (8_636, 77, 2.7), (10**7, 0, 0.002)],
)
def test_passes_follow_from_records_and_labels(records: int, labels: int, wanted: float) -> None:
    assert passes(records, labels) == wanted


def test_what_speaks_of_the_sample_is_to_fill_in_once(tmp_path: Path) -> None:
    printed, workspace = said(tmp_path, rows(), "--write")
    file = workspace / "params.yaml"
    params = load_params(file)
    lines = unfilled(params.certify, file)
    for line, name in zip(lines, ("languages", "intended_use", "limits"), strict=True):
        number = int(re.fullmatch(rf"line (\d+), certify.{name} is {FILL_IN}: write .*", line)[1])  # type: ignore[index]
        assert re.match(rf"  {name}: .*{FILL_IN}", file.read_text(encoding="utf-8").splitlines()[number - 1])
        assert line in printed
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
        (rows(120), r"holds out about \d+ of \d+ .* with 0.3, about 367 rows would have to stay, with 0.17 about \d+: get more"),
        ([made(n, customer=f"C{n % 6}") for n in range(900)], r"the holdout would have \d groups, and the gate needs 8"),
        ([made(n, customer="big" if n % 2 else f"C{n % 30}") for n in range(90)], "'customer' has 50 % of the rows"),
        ([made(n, customer="C1") for n in range(90)], "dedupe or split will stop: .* belong to 1 group"),
        ([alike(n) for n in range(1200)], "nearly the same text: if they ask.*\ndedupe or split will stop: .*no record is left for train"),
    ],
)  # fmt: skip
def test_what_stops_the_split_or_decides_nothing_is_warned_of(
    tmp_path: Path, data: list[dict[str, Any]], words: str
) -> None:
    assert re.search(words, "\n".join(tried(tmp_path, data, group="customer").warnings))


def test_a_large_file_is_sampled_by_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "ROWS", 100)
    groups = [made(number)["customer"] for number in range(300)]
    taken = dry_run.chosen(groups)
    assert all(len({number for number in taken if number % 30 == customer}) in (0, 10) for customer in range(30))
    assert dry_run.chosen(groups) == taken and len(taken) == len(dry_run.chosen(range(300))) == 100


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
    line = "signed: 60 values are in the input, 60 after masking (60 different, 60 after); 0 are in no input"
    assert line in "\n".join(found.tried)
    same = [copying(n) | {"text": f"Order {n} of 05/05/2007.", "target": {"n": f"{n}"}} for n in range(60)]
    assert "day_first" not in tried(tmp_path, same).edits["mask"], "a day that is its month says nothing"
    same[0]["text"] = "Order 0 of 05/05/2007 and 13/05/2007."
    assert tried(tmp_path, same).edits["mask"]["day_first"] is True


def test_what_masking_takes_whole_stays_masked_and_is_said(tmp_path: Path) -> None:
    def row(number: int) -> dict[str, Any]:
        last = f"{chr(65 + number // 26 % 26)}{'aeiou'[number % 5]}{chr(97 + number % 26)}lard"
        return {"id": f"r{number}", "text": f"My name is Rosa {last}, order {number}.", "target": {"who": last}}

    few = [row(n) | ({"text": f"Where is {n}?", "target": {"who": "nobody"}} if n % 20 else {}) for n in range(2000)]
    for rows in ([row(number) for number in range(60)], few):  # a few of 300 rows are many of 2,000
        found = tried(tmp_path, rows)
        warned = "\n".join(found.warnings)
        assert "mask will stop" not in warned and "values of 'who' (PERSON" in warned
        assert found.edits["mask"]["max_lost"] == 1.0
