"""The dry run of `mask`, `dedupe` and `split` in `propose`, and the params that follow from it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hallmark.base.files import HOLDOUT_LOCK
from hallmark.commands import dry_run_rows
from hallmark.commands.column_roles import Known, guess
from hallmark.commands.draw import Drawn
from hallmark.commands.dry_run import split_warnings
from hallmark.commands.infer import Inferred
from hallmark.commands.new_data import set_gate
from hallmark.commands.proposal import Proposal
from hallmark.commands.proposed_epochs import passes
from hallmark.model import limits
from hallmark.params.loader import load_params, resolved
from hallmark.release.model_card import FILL_IN, unfilled
from hallmark.task.kinds import KINDS
from tests.made_up import without_comparators
from tests.tiny import make_tiny_base
from tests.workspace import ROOT, change_params, make_workspace, stage

RULES: dict[str, Any] = {"mask.ner": {"engine": "none", "model": None}, "mask.workers": 1}
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
        found[number + 30]["text"] = found[number]["text"]
        found[number + 30]["queue"] = found[number]["queue"]
    return found


def tried(folder: Path, data: list[dict[str, Any]], *options: str) -> tuple[str, Path]:
    """What `propose` prints for the rows, in a workspace of the reference, and the workspace."""
    workspace = folder / "repo"
    if not workspace.exists():
        make_workspace(workspace, RULES, rows=1)
    (workspace / "data/raw/mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data), encoding="utf-8")
    return stage(workspace, "hallmark.commands.propose", "data/raw/mine.jsonl", *options).stdout, workspace


def test_the_result_is_shown_and_nothing_is_written(tmp_path: Path) -> None:
    said, workspace = tried(tmp_path, rows())
    before = {file: file.stat().st_mtime_ns for file in workspace.rglob("*") if file.is_file()}
    assert tried(tmp_path, rows())[0] == said
    changed = {
        file.name for file in workspace.rglob("*") if file.is_file() and before.get(file) != file.stat().st_mtime_ns
    }
    assert changed == {"mine.jsonl"}, "by this test"
    assert "Dry run of mask, dedupe and split on all 300 rows" in said
    assert "297 can be read, 3 left out: 1 without group (customer), 1 without input (text), 1 without target" in said
    assert re.search(r"EMAIL_ADDRESS 7: .*write to <EMAIL_1> please", said)
    assert not any(mail in said for mail in MAILS)
    assert "dropped as duplicates: 10 exact" in said
    stay = re.search(r"dedupe +(\d+) rows stay", said)
    sides = re.search(
        r"train (\d+) rows of \d+ groups, validation (\d+) .* calibration (\d+) .* holdout (\d+) .*; (\d+) dropped as leaks",
        said,
    )
    assert stay is not None
    assert sides is not None
    assert sum(map(int, sides.groups())) == int(stay[1]) <= 287
    leaks = re.search(r"of (\d+) held-out rows, (\d+) share their group with training, (\d+) their text", said)
    assert leaks is not None
    assert int(leaks[1]) == int(leaks[2]) > int(leaks[3]) > 0
    assert "estimated from their characters, since the base's tokenizer is not there yet" in said


def test_what_is_written_runs_and_fits(tmp_path: Path) -> None:
    """With a base there, lengths are in its tokens: `split` finds that all fit."""
    make_workspace(tmp_path / "repo", RULES, rows=1)
    make_tiny_base(tmp_path / "repo/models/base")
    said, workspace = tried(tmp_path, rows(), "--write")
    assert "of the tokenizer in models/base" in said
    params = load_params(workspace / "params.yaml")
    assert params.data.missing == "drop"
    assert params.sft.epochs == 4.0, "some 250 lines of a few labels"
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
    [
        (1, 0, 4.0),
        (250, 0, 4.0),
        (706, 0, 1.4),
        (1_000, 0, 1.0),
        (19_000, 0, 1.0),
        (40_000, 0, 0.5),
        (336, 8, 4.0),
        (4_005, 17, 1.3),
        (8_636, 77, 2.7),
        (40_000, 77, 0.58),
    ],
)
def test_passes_follow_from_records_and_labels(records: int, labels: int, wanted: float) -> None:
    assert passes(records, labels) == wanted


def test_what_speaks_of_the_sample_is_to_fill_in_once(tmp_path: Path) -> None:
    _, workspace = tried(tmp_path, rows(), "--write")
    file = workspace / "params.yaml"
    params = load_params(file)
    assert unfilled(params.certify) == ["certify.languages", "certify.intended_use", "certify.limits"]
    assert params.certify.tags == []
    gate = KINDS["classification"].gate
    written = params.gate.model_dump()
    assert {key: {name: written[key][name] for name in values} for key, values in gate.items()} == gate
    assert "  requests_per_second: 1.0  # fewest requests" in file.read_text(encoding="utf-8"), "the other lines stay"
    assert params.gate.floors == gate["floors"]
    text = file.read_text(encoding="utf-8")
    assert "superiority: {base: 0.1, few_shot: 0.05, classical: 0.0}" in text, "on one line, as before"
    file.write_text(text.replace(FILL_IN, "English").replace("macro_f1: 0.5", "macro_f1: 0.7"), encoding="utf-8")
    tried(tmp_path, rows(), "--write")  # the second time, the words are the user's own
    params = load_params(file)
    assert (params.certify.intended_use, params.gate.floors["macro_f1"]) == ("English", 0.7)


def test_nothing_is_asked_of_a_comparator_that_is_not_there() -> None:
    found = Proposal(Path("mine.jsonl"), [], {}, guess({}, Known()), Inferred("text", {}, None, ""))
    set_gate(found, without_comparators(load_params(ROOT / "params.yaml")))
    assert found.edits["gate"]["superiority"] == {"base": 0.1, "classical": 0.0}


def test_replies_have_no_floor_for_facts_that_nobody_has_named(tmp_path: Path) -> None:
    replies = [
        made(number, queue=f"We are sorry about {number} and send you another one on day {number * 7}.")
        for number in range(200)
    ]
    said, workspace = tried(tmp_path, replies, "--write")
    assert load_params(workspace / "params.yaml").gate.floors == {"schema_validity": 0.95}
    assert "once eval.facts names the facts of a reply, add a floor" in said


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (rows(120), r"holds out about \d+ of \d+ rows that stay, and the gate needs at least 100"),
        ([made(n, customer=f"C{n % 6}") for n in range(900)], r"the holdout would have \d groups, and the gate needs 8"),
        ([made(n, customer="C1") for n in range(90)], "dedupe or split will stop: .* belong to 1 group"),
    ],
)  # fmt: skip
def test_a_holdout_that_decides_nothing_is_warned_of(tmp_path: Path, data: list[dict[str, Any]], words: str) -> None:
    assert re.search(words, tried(tmp_path, data, "--group", "customer")[0])


def test_records_that_the_base_cannot_read_are_warned_of(tmp_path: Path) -> None:
    make_workspace(tmp_path / "repo", RULES, rows=1)
    make_tiny_base(tmp_path / "repo/models/base")
    data = [made(number) for number in range(300)]
    for row in data[:3]:
        row["text"] += " lamp" * 9000
    said, workspace = tried(tmp_path, data, "--write")
    assert "split will stop at records: at least 3 are too long for the 8192 tokens that the base reads" in said
    change_params(workspace, {"split.too_long": "count"})
    assert "count them as wrong elsewhere: at least 3 are too long" in tried(tmp_path, data)[0]
    change_params(workspace, {"split.too_long": "error"})
    for name in ("mask", "dedupe"):
        stage(workspace, name)
    assert "3 records are too long: " in stage(workspace, "split", check=False).stderr
    change_params(workspace, {"split.too_long": "drop"})
    stage(workspace, "split")


def test_a_split_that_leaves_nothing_is_warned_of(tmp_path: Path) -> None:
    """20 texts, each with small changes in rows of many customers: what isn't held out is nearly what is."""

    def row(n: int) -> dict[str, Any]:
        words = [
            f"{word}{(n // 60 * 7919 + k * 31) % 997}"
            for k in range(8)
            for word in ("lamp", "desk", "mat", "rug", "bed")
        ]
        words[n % 40], words[n * 7 % 40] = f"new{n}", f"own{n}"
        return {"id": f"T{n}", "customer": f"C{n % 60}", "text": " ".join(words), "queue": f"q{n % 40}"}

    data = [row(n) for n in range(1200)]
    said, workspace = tried(tmp_path, data, "--group", "customer", "--write")
    assert "split     train 0 rows of 0 groups" in said
    assert re.search(r"split would drop \d+ of \d+ rows, since their texts are nearly those of other groups", said)
    assert "split will stop, since no row is left for train" in said
    for name in ("mask", "dedupe"):
        stage(workspace, name)
    assert "no record is left for train" in stage(workspace, "split", check=False).stderr


def test_rows_that_will_be_too_few_or_too_much_alike_are_warned_of() -> None:
    """What a sample shows holds for all rows, as `dedupe` judges clusters by their share of the texts."""
    params = load_params(ROOT / "params.yaml")
    tenth = dry_run_rows.Sample(100_000, [{}] * 10_000)

    def warned(of: dry_run_rows.Sample = tenth, **changes: Any) -> str:
        usual: dict[str, Any] = {"stay": 9_000, "texts": 10_000, "largest": 200, "pairs": 20_000}
        usual |= {"rows": {"train": 4_000, "validation": 700, "calibration": 2_700, "holdout": 1_600}}
        usual |= {"groups": dict.fromkeys(usual["rows"], 90)} | changes
        return "\n".join(split_warnings(Drawn(**usual), of, params))

    assert warned() == ""
    assert "about 3,000 of 100,000 different texts form one duplicate cluster, and dedupe stops at more than 5,000" in (
        warned(largest=300)
    )
    assert "form one duplicate cluster" in warned(largest=600, rows={}, stops="more than 500 of 10000")
    assert "about 20,000,000 pairs of texts will look alike" in warned(pairs=200_000)
    assert warned(dry_run_rows.Sample(10_000, [{}] * 10_000), pairs=200_000) == ""
    few = {"train": 6, "validation": 1, "calibration": 8, "holdout": 1_600}
    said = warned(rows=few)
    assert "about 60 of 16150 rows are left for train, under 100: get more, or lower split.holdout" in said
    assert "about 10 of 16150 rows are left for validation, under 20: get more, or raise split.validation" in said
    assert "calibration, under" not in said
    assert "would have 7 groups" in warned(tenth, groups=dict.fromkeys(few, 0.7))


def test_a_holdout_of_few_customers_is_warned_of() -> None:
    """A draw leaves large groups to training, so that it takes many rows of few middling ones to get there."""
    params, rows = load_params(ROOT / "params.yaml"), {"train": 700, "validation": 70, "holdout": 130}
    found = Drawn(stay=900, rows=rows, groups={"train": 9, "validation": 2, "holdout": 9}, few_hold=0.7)
    (warning,) = split_warnings(found, dry_run_rows.Sample(900, [{}] * 900), params)
    assert "70 % of the holdout would belong to 3 of its 9 groups" in warning
    found.few_hold = 0.5
    assert split_warnings(found, dry_run_rows.Sample(900, [{}] * 900), params) == []


def test_a_large_file_is_sampled_by_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run_rows, "ROWS", 100)
    data = [made(number) for number in range(300)]
    taken = dry_run_rows.chosen(data, "customer")
    assert len(taken) == 100
    assert all(len({number for number in taken if number % 30 == customer}) in (0, 10) for customer in range(30))
    assert dry_run_rows.chosen(data, "customer") == taken
    assert len(dry_run_rows.chosen(data, "row.id")) == 100


def test_questions_without_an_answer_are_left_out(tmp_path: Path) -> None:
    talks = [
        {"messages": [{"role": "user", "content": made(n)["text"]}, {"role": "assistant", "content": LABELS[n % 3]}]}
        for n in range(60)
    ]
    talks[5]["messages"].pop()
    assert "59 can be read, 1 left out: 1 without target (turns.target)" in tried(tmp_path, talks)[0]


@pytest.mark.skipif(not (ROOT / "template").is_dir(), reason="the kinds' samples are in the template")
@pytest.mark.parametrize(
    ("sample", "kind"),
    [*zip(KINDS, KINDS, strict=True), ("documents", "extraction")],
)
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


def test_the_limits_of_propose_are_those_of_split() -> None:
    assert limits.rounded_up(65, 64, None) == 128
    assert limits.rounded_up(128, 64, 100) == 100


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
    said, _ = tried(tmp_path, data)
    assert "copying can't give every answer: 2 of 40 values of 'shop' are not in the input" in said
    assert "95 % of the rows have all copied values in the input, 70 % in the target's own spelling" in said
    for row in data:
        row["text"] = f"{row['answer']['shop']}, {row['text']}"
    assert "copying can't" not in tried(tmp_path, data)[0]
