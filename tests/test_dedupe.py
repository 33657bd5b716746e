"""Deduplication: what goes, what stays, which cluster, and how good it is on labelled duplicates."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.files import DEDUPED, MASKED, REPORTS, sha256_file
from hallmark.base.key import VARIABLE, digest_of, pseudonym
from hallmark.corpus import duplicates, records
from hallmark.corpus.texts import only_placeholders
from stages import dedupe
from tests.bench.made import write_masked as write_many
from tests.rows import near_pairs_by_hand, params_with, record, refused, write_lines, write_masked
from tests.workspace import KEY, ROOT, run

LONG = "the blue kettle arrived with a broken lid and a scratched base, please send me a new one"
NEAR = LONG.replace("broken lid", "broken cap")
NEARER = NEAR.replace("scratched base", "scratched foot")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def deduped(*records: dict[str, Any], **changes: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Run the stage; returns {id: cluster} of the records that stay, and the report."""
    write_masked(records)
    dedupe.run(params_with(**{"dedupe__threshold": 0.7, "dedupe__conflicts": "majority"} | changes))
    kept = pl.read_parquet(DEDUPED)
    return dict(kept.select("id", "cluster").iter_rows()), json.loads((REPORTS / "dedupe.json").read_text())


def test_records_with_one_id_are_not_dropped_for_each_other() -> None:
    with pytest.raises(HallmarkError, match="records 1 and 3 have the same id, 'x'") as caught:
        deduped(record("x", LONG), record("a", NEAR), record("x", "nothing like it"))
    assert (caught.value.file, caught.value.row, caught.value.field) == (MASKED, 3, "id")


def test_a_chain_loses_only_what_is_near_to_what_stays() -> None:
    kept, report = deduped(record("1", LONG), record("2", NEAR), record("3", NEARER), dedupe__threshold=0.8)
    assert kept == {"1": "1", "3": "1"}
    assert report["clusters"]["largest"] == 3


@pytest.mark.parametrize(("given", "stay"), [(True, {"1", "2"}), (False, {"1"})])
def test_of_the_same_passages_only_the_same_question_is_a_copy(given: bool, stay: set[str]) -> None:
    asked, passages = ("Who pays for it?", "When is it due?", "Who pays for it"), f"{LONG} {LONG[::-1]} {LONG[::2]}"
    context = {"context": passages if given else None}
    kept, _ = deduped(*(record(f"{n}", f"{passages}\n\n{text}") | context for n, text in enumerate(asked, 1)))
    assert kept.keys() == stay
    assert len({*kept.values()}) == len(kept)


def test_targets_are_compared_as_values() -> None:
    kept, report = deduped(record("1", LONG, '{"a":1,"b":2}'), record("2", LONG, '{"b":2, "a":1.0}'))
    assert kept == {"1": "1"}
    assert report["conflicts"]["texts"] == 0
    assert deduped(record("1", LONG, '"\\ud800"'), record("2", LONG, ' "\\ud800"'))[0] == {"1": "1"}  # half a character


@pytest.mark.parametrize(
    ("policy", "targets", "stay"),
    [
        ("drop", "aab", []),
        ("majority", "aab", ["0"]),
        ("majority", "baa", ["1"]),
        ("majority", "aabb", []),
        ("keep", "aab", ["0", "2"]),
    ],
)
def test_conflicts(policy: str, targets: str, stay: list[str]) -> None:
    records = [record(str(number), LONG, target) for number, target in enumerate(targets)]
    kept, report = deduped(record("z", "another text"), *records, dedupe__conflicts=policy)
    assert kept == {"z": "z"} | dict.fromkeys(stay, "0")
    assert (report["conflicts"]["texts"], report["conflicts"]["records"]) == (1, len(targets))
    assert report["conflicts"]["examples"] == [[str(number) for number in range(len(targets))]]
    assert sum(report["dropped"].values()) == len(targets) - len(stay)


def test_the_report_names_some_of_a_thousand_conflicting_records() -> None:
    """A chat says "ok" a thousand times, and labellers differ: the report is kept in git and must stay small."""
    records = [record(f"{number:04}", LONG, "ab"[number % 3 == 0]) for number in range(1000)]
    _, report = deduped(*records, dedupe__conflicts="majority")
    assert report["conflicts"]["records"] == 1000
    assert report["conflicts"]["examples"] == [[f"{number:04}" for number in range(20)]]


def test_records_with_other_tools_are_no_duplicates() -> None:
    kept, _ = deduped(record("1", LONG, tools='[{"name":"f"}]'), record("2", LONG, tools='[{"name":"g"}]'))
    assert kept == {"1": "1", "2": "1"}


def test_a_template_is_an_error_that_says_what_would_pass_and_leaves_earlier_output_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deduped(record("1", "earlier"))
    before = sha256_file(DEDUPED)
    alike = [record(f"{number:02}", f"{LONG} {number * 7919:06}{number * 104729:08}") for number in range(12)]
    alike += [record(f"x{number}", f"{number} nothing like it {number * 7919}" * 2) for number in range(4)]
    monkeypatch.setattr(duplicates, "ANY_SHARE", 11)
    with refused("dedupe.threshold", file=MASKED) as caught:
        deduped(*alike, dedupe__max_cluster=0.74)
    assert caught.value.problem.startswith("12 of 16 different texts")
    share, threshold = map(float, re.findall(r"dedupe\.\w+: ([\d.]+) would pass", caught.value.problem))
    assert share == 0.75
    assert sha256_file(DEDUPED) == before
    for passes in ({"dedupe__max_cluster": share}, {"dedupe__max_cluster": 0.74, "dedupe__threshold": threshold}):
        _, report = deduped(*alike, **passes)
    assert report["clusters"]["largest_texts"] <= 11
    monkeypatch.setattr(duplicates, "ANY_SHARE", 12)
    _, report = deduped(*alike, dedupe__max_cluster=0.01)
    assert (report["clusters"]["largest_texts"], report["clusters"]["largest_share"]) == (12, 0.75)


EMPTY = ["<ACCOUNT_1>", "<ACCOUNT_2>.", "<PERSON_1>, <PHONE_1>", "\u200b<ACCOUNT_1> \n", "- <ACCOUNT_1>/<ACCOUNT_7>"]


@pytest.mark.parametrize("text", EMPTY)
def test_texts_of_nothing_but_placeholders(text: str) -> None:
    assert only_placeholders(pl.Series([text, f"{text} x", f"{text} 5", "", "...", "< ACCOUNT_1 >"])).to_list() == [
        True, False, False, False, False, False,
    ]  # fmt: skip


def test_placeholders_are_no_template_and_join_no_groups(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "ANY_SHARE", 5)
    caplog.set_level("INFO")
    texts = [EMPTY[number % len(EMPTY)].replace("1>", f"{number + 1}>") for number in range(300)]
    records = [record(f"{n:03}", text, "ab"[n % 2], f"g{n % 3}") for n, text in enumerate(texts)]
    words = [record("x", LONG, "a"), record("y", LONG, "b"), record("z", f"{LONG} <ACCOUNT_1>")]
    kept, report = deduped(*records, *words, dedupe__max_cluster=0.05, dedupe__conflicts="drop")
    first = {f"{number:03}": f"{number:03}" for number in range(6)}
    assert kept == first | {"z": "x"}, "one for each target in each group, each in a cluster of its own"
    assert report["dropped"] == {"exact": 0, "near": 0, "conflict": 2, "only_placeholders": 294}
    assert report["only_placeholders"]["kinds"] == {"ACCOUNT": 240, "PERSON": 60, "PHONE": 60}
    assert "300 texts are nothing but placeholders" in caplog.text
    assert "7 of 303 records stay; dropped: conflict 2, only_placeholders 294" in caplog.text
    kept, report = deduped(*records, *words, dedupe__only_placeholders="drop", dedupe__conflicts="drop")
    assert kept == {"z": "x"}
    assert report["only_placeholders"]["dropped"] == 300


def test_an_answer_in_words_is_not_only_placeholders() -> None:
    pairs = [("<EMAIL_1>", "<EMAIL_1>"), ("<EMAIL_1>", "Thank you"), ("<EMAIL_2>", "No")]
    records = [record(str(number), *pair) for number, pair in enumerate(pairs, 1)]
    kept, report = deduped(*records, dedupe__over="prompt_and_completion")
    assert report["only_placeholders"]["texts"] == 1
    assert kept.keys() == {"1", "2", "3"}


def test_gold_is_compared_by_pairs(tmp_path: Path) -> None:
    gold = [("1", "x", "exact"), ("2", "x", "exact"), ("3", "x", "near"), ("4", "y", "near"), ("5", "y", "near")]
    write_lines(tmp_path / "gold.jsonl", [dict(zip(("id", "cluster", "kind"), row, strict=True)) for row in gold])
    texts = [LONG, LONG, NEAR, "one thing entirely", "and something else", "one thing entirely"]
    records = [record(str(number), text) for number, text in enumerate(texts, 1)]
    _, report = deduped(*records, dedupe__gold="gold.jsonl")
    assert report["gold"] == {
        "pairs": {"gold": 4, "found": 4, "right": 3},
        "precision": 0.75,
        "recall": 0.75,
        "recall_by_kind": {"exact": 1.0, "near": 0.666667},
        "wrong_drops": 1,
        "missed": [["4", "5"]],
        "wrong": [["4", "6"]],
    }


WORDS = st.lists(st.sampled_from(["blue", "kettle", "lid", "late", "refund", "broken"]), min_size=1, max_size=6)
RECORDS = st.lists(st.tuples(WORDS.map(" ".join), st.sampled_from("ab")), min_size=1, max_size=25)


@given(RECORDS, st.sampled_from(["drop", "majority", "keep"]), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_bytes_and_no_survivor_is_near_another(
    rows: list[tuple[str, str]], policy: str, shuffler: random.Random
) -> None:
    records = [record(f"{number:02}", text, target) for number, (text, target) in enumerate(rows)]
    kept, report = deduped(*records, dedupe__conflicts=policy, dedupe__threshold=0.6)
    first = sha256_file(DEDUPED), report
    shuffler.shuffle(records)
    _, report = deduped(*records, dedupe__conflicts=policy, dedupe__threshold=0.6)
    assert (sha256_file(DEDUPED), report) == first

    texts = {f"{number:02}": text for number, (text, _) in enumerate(rows)}
    targets = {f"{number:02}": target for number, (_, target) in enumerate(rows)}
    near = near_pairs_by_hand(texts, 0.6)
    linked = {name: {name} for name in texts}
    for one, two in near:
        if linked[one] is not linked[two]:
            joined = linked[one] | linked[two]
            linked |= dict.fromkeys(joined, joined)
    largest = max(len({texts[name] for name in names}) for names in linked.values())
    assert report["clusters"]["largest_texts"] == largest
    assert report["clusters"]["largest_share"] == round(largest / len(set(texts.values())), 6)
    alike = {pair for pair in near if targets[pair[0]] == targets[pair[1]]}
    assert not [pair for pair in alike if kept.keys() >= set(pair)]
    conflicting = {pair for pair in near if texts[pair[0]] == texts[pair[1]] and targets[pair[0]] != targets[pair[1]]}
    covered = kept.keys() | {name for pair in alike if kept.keys() & set(pair) for name in pair}
    of_conflicts = {name for pair in conflicting for name in pair}
    assert texts.keys() - covered <= (set() if policy == "keep" else of_conflicts | _beside(alike, of_conflicts))
    assert all(kept[one] == kept[two] for one, two in near if kept.keys() >= {one, two})


def _beside(alike: set[tuple[str, str]], names: set[str]) -> set[str]:
    """Copies of records that are in a conflict."""
    return {name for pair in alike if names & set(pair) for name in pair}


def test_gold_rows_have_raw_ids_also_where_records_have_pseudonyms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    names = {name: pseudonym(bytes.fromhex(KEY), "id", name) for name in ("x", "y", "z")}
    write_masked([record(names["x"], LONG), record(names["y"], NEAR), record(names["z"], "nothing like it")])
    rows = [{"id": name, "cluster": "one" if name in "xy" else "two", "kind": "near"} for name in names]
    write_lines(Path("gold.jsonl"), rows)
    changes = {"data__pseudonyms": "keyed", "data__key": digest_of(KEY), "dedupe__gold": "gold.jsonl"}
    dedupe.run(params_with(**changes))
    gold = json.loads((REPORTS / "dedupe.json").read_text())["gold"]
    assert (gold["pairs"], gold["wrong_drops"]) == ({"gold": 1, "found": 1, "right": 1}, 0)


def test_row_groups_have_the_same_bytes_however_the_records_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pl.DataFrame({"id": [f"{number * 7919 % 100_003:0400}" for number in range(20_000)]})
    parts = pl.concat([whole[5000:], whole[:777], whole[777:5000]])
    monkeypatch.setattr(records, "GROUP", 9_000)
    places = pl.Series("cluster", [*range(len(whole))])
    for name, frame in (("whole", whole), ("parts", parts)):
        records.write_sorted(tmp_path / name, frame, places)
    assert parts.n_chunks() == 3
    assert sha256_file(tmp_path / "whole") == sha256_file(tmp_path / "parts")
    assert pl.read_parquet(tmp_path / "parts").equals(whole.sort("id").with_columns(places))


def test_the_columns_that_dedupe_and_split_keep_of_all_rows_are_narrow() -> None:
    """What a row takes in them, in bytes: with ten million rows, each is 10 MB."""
    write_many(MASKED, 400)
    dedupe.run(params_with())
    frames = dedupe.read(params_with())[0], records.Records(set(), "").read()[0]
    assert [frame.estimated_size() // len(frame) for frame in frames if frame.estimated_size() > 30 * len(frame)] == []


PEAKS = """
import os, resource, sys
from hallmark.corpus import near, records
from stages import dedupe, split
from tests.rows import params_with

near.CHUNK, records.ROWS = 1 << 18, 100
for folder in sys.argv[1:]:
    os.chdir(folder)
    for stage in (dedupe, split):
        stage.run(params_with(dedupe__permutations=32, dedupe__threshold=0.9, dedupe__shingle=8))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.full
def test_longer_texts_take_little_more_memory(tmp_path: Path) -> None:
    """A few copies of 12 MB of texts would take 125 MB (they did)."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnop", k=7)) for _ in range(2000)]
    for folder, length in (("short", 40), ("long", 750)):
        file = tmp_path / folder / MASKED
        texts = (" ".join(draw.choices(words, k=length)) for _ in range(2000))
        write_masked(record(f"{number:06}", text, "a", f"g{number % 400}") for number, text in enumerate(texts))
        file.parent.mkdir(parents=True)
        pl.read_parquet(MASKED).write_parquet(file, row_group_size=300)
    done = run(ROOT, "python", "-c", PEAKS, str(tmp_path / "short"), str(tmp_path / "long"))
    short, long = map(int, done.stdout.split())
    assert (long - short) / 1024 < 110
