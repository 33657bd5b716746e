"""The split: whole groups, a frozen holdout, no leak, whatever the order of the rows."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from stages import dedupe, split
from stages.core.errors import HallmarkError
from stages.core.files import DEDUPED, HOLDOUT_LOCK, REPORTS, sha256_file
from stages.corpus.near import normalise, text_of
from tests.rows import near_pairs_by_hand, params_with, record, write_masked
from tests.workspace import ROOT, git_init, make_workspace, run

REAL = ROOT.parent / "shared" / "realdata"
FILES = [*split.FILES.values(), HOLDOUT_LOCK, REPORTS / "split.json"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(rows: int, groups: int, start: int = 0, seed: int = 1) -> list[dict[str, Any]]:
    """Records that have nothing in common except their groups."""
    draw = random.Random(seed)
    return [
        record(
            f"{number:04}",
            " ".join(str(draw.randrange(10**9)) for _ in range(3)),
            "ab"[number % 2],
            f"g{number % groups}",
        )
        for number in range(start, start + rows)
    ]


def splitted(records: list[dict[str, Any]], refreeze: bool = False, **changes: Any) -> dict[str, Any]:
    """Deduplicate and split; returns the report."""
    changes = {"split__holdout": 0.2, "split__validation": 0.07, "split__salt": "a", "dedupe__threshold": 0.7} | changes
    write_masked(records)
    dedupe.run(params_with(**changes))
    split.run(params_with(**changes), refreeze)
    return json.loads((REPORTS / "split.json").read_text())


def ids(side: str, column: str = "id") -> set[str]:
    return set(pl.read_parquet(split.FILES[side])[column])


def hashes() -> list[str]:
    return [sha256_file(path) for path in FILES]


def test_shares_by_rows_and_no_group_on_two_sides() -> None:
    report = splitted(made(1000, 100))
    assert report["rows"] == {"train": 730, "validation": 70, "holdout": 200}
    assert report["groups"] == {"train": 73, "validation": 7, "holdout": 20}
    assert report["leaks"] == 0
    assert not ids("train", "group") & ids("holdout", "group")
    columns = [pl.read_parquet(path).columns for path in split.FILES.values()]
    assert columns == [[name for name in pl.read_parquet(DEDUPED).columns if name != "source"]] * 3


def test_a_large_customer_goes_to_training() -> None:
    records = [row | {"group": "large"} if number % 3 == 0 else row for number, row in enumerate(made(600, 59))]
    for salt in "abcdefgh":
        HOLDOUT_LOCK.unlink(missing_ok=True)
        report = splitted(records, split__salt=salt)
        assert "large" in ids("train", "group")
        assert 100 <= report["rows"]["holdout"] <= 140
        assert 35 <= report["rows"]["validation"] <= 49
        assert report["largest_group_share"] == pytest.approx(1 / 3)


def test_three_customers_are_enough_and_two_are_not() -> None:
    report = splitted(made(30, 3))
    assert report["groups"] == {"train": 1, "validation": 1, "holdout": 1}
    HOLDOUT_LOCK.unlink()
    before = [sha256_file(path) for path in split.FILES.values()]
    for groups in (1, 2):
        with pytest.raises(HallmarkError, match=rf"belong to {groups} group\(s\), too few.*\n.*map data.group"):
            splitted(made(30, groups))
    assert [sha256_file(path) for path in split.FILES.values()] == before
    assert not HOLDOUT_LOCK.exists()


def test_the_second_run_keeps_to_the_lock_and_writes_the_same_bytes() -> None:
    splitted(made(300, 40))
    first = hashes()
    splitted(made(300, 40))
    assert hashes() == first


def test_the_lock_names_records_without_their_text() -> None:
    records = made(100, 20)
    splitted(records)
    lock = json.loads(HOLDOUT_LOCK.read_text())
    assert lock["records"].keys() == ids("holdout")
    assert all(len(value) == 32 for value in lock["records"].values())
    held = [row for row in records if row["id"] in lock["records"]]
    assert not [row["id"] for row in held if row["prompt"][1]["content"].split()[0] in HOLDOUT_LOCK.read_text()]


def test_growth_moves_nobody_and_leaves_the_holdout_alone() -> None:
    records = made(400, 50)
    splitted(records)
    before = {side: ids(side, "group") for side in split.FILES}
    held = pl.read_parquet(split.FILES["holdout"])
    report = splitted(records + made(900, 75, start=400, seed=2))
    assert pl.read_parquet(split.FILES["holdout"]).equals(held)
    assert report["holdout_unchanged"]
    assert ids("train", "group") & before["train"] == before["train"]
    assert ids("validation", "group") & before["validation"] == before["validation"]
    assert ids("validation", "group") > before["validation"]
    assert report["held_back"] == 12 * len(before["holdout"])
    assert sum(report["rows"].values()) + report["held_back"] == 1300


def test_other_shares_and_salts_leave_the_holdout_alone() -> None:
    splitted(made(400, 50))
    held, validation = ids("holdout"), ids("validation")
    report = splitted(made(400, 50), split__salt="other", split__validation=0.2, split__holdout=0.5)
    assert ids("holdout") == held
    assert ids("validation") != validation
    assert report["rows"]["validation"] == 80
    splitted(made(400, 50))
    assert ids("validation") == validation


def test_a_new_row_near_the_holdout_goes_not_the_holdout_row() -> None:
    records = made(200, 30)
    splitted(records)
    held = pl.read_parquet(split.FILES["holdout"])
    text = held["prompt"][0][1]["content"]
    near = record("0-new", text + " 7", "b", "new customer"), record("1-new", "quite new", "b", "new customer")
    report = splitted([*records, *near])
    assert pl.read_parquet(split.FILES["holdout"]).drop("cluster").equals(held.drop("cluster"))
    assert report["dropped"]["train"] | report["dropped"]["validation"] == {"same_text": 0, "near_text": 0} or (
        report["dropped"]["train"]["near_text"] + report["dropped"]["validation"]["near_text"] == 1
    )
    assert "0-new" not in ids("train") | ids("validation")
    assert "1-new" in ids("train") | ids("validation")


@pytest.mark.parametrize("target", ["a", "b"])
def test_a_copy_of_a_holdout_record_does_not_take_its_place(target: str) -> None:
    """Deduplication keeps the copy with the smaller id, or neither if the targets differ; the holdout stays."""
    records = made(200, 30)
    splitted(records)
    held = pl.read_parquet(split.FILES["holdout"])
    copied = next(row for row in records if row["id"] == held["id"][0])
    copy = record("0-copy", copied["prompt"][1]["content"], target, "new customer")
    report = splitted([*records, copy])
    assert held["id"][0] not in set(pl.read_parquet(DEDUPED)["id"])
    assert report["restored"] == 1
    assert report["leaks"] == 0
    assert pl.read_parquet(split.FILES["holdout"]).equals(held)
    assert "0-copy" not in ids("train") | ids("validation")


@pytest.mark.parametrize("change", ["text", "target", "group", "gone"])
def test_a_changed_holdout_record_is_an_error_with_a_way_out(change: str) -> None:
    records = made(200, 30)
    splitted(records)
    before, name = hashes(), min(ids("holdout"))
    place = next(number for number, row in enumerate(records) if row["id"] == name)
    old = records[place]
    text, target = old["prompt"][1]["content"], old["completion"][0]["content"]
    new = {
        "text": [record(name, text + "!", target, old["group"])],
        "target": [record(name, text, "c", old["group"])],
        "group": [record(name, text, target, "g1" if old["group"] != "g1" else "g2")],
        "gone": [],
    }[change]
    records[place : place + 1] = new
    counts = "0 have changed and 1 are missing" if change == "gone" else "1 have changed and 0 are missing"
    with pytest.raises(HallmarkError, match=rf"{counts} \(.*\n.*--refreeze") as caught:
        splitted(records)
    assert name not in str(caught.value)
    assert hashes() == before
    splitted(records, refreeze=True)
    assert splitted(records)["holdout_unchanged"]


def test_another_system_prompt_is_no_change() -> None:
    records = made(100, 20)
    splitted(records)
    for row in records:
        row["prompt"] = [{"role": "system", "content": "Other words."}, row["prompt"][1]]
    assert splitted(records)["holdout_unchanged"]


CUT = {"below": "1" * 16, "but_not": [], "salt": "a", "share": 0.1}
BROKEN: dict[str, dict[str, Any]] = {  # by the field that the error names
    "records": {"version": 1, "records": {}, "validation": CUT},
    "validation": {"version": 1, "records": {"a": "0" * 32}, "validation": {}},
    "validation ": {"version": 1, "records": {"a": "0" * 32}, "validation": CUT | {"but_not": ["b"]}},
    "records ": {"version": 1, "records": {"a": None}, "validation": CUT},
    "records  ": {"version": 1, "records": ["a"], "validation": CUT},
}


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", '{"version": 2}', '{"version": true}', '{"version": 3}', *BROKEN])
def test_a_broken_lock_is_an_error(text: str) -> None:
    splitted(made(100, 20))
    HOLDOUT_LOCK.write_text(json.dumps(BROKEN[text]) if text in BROKEN else text)
    words = f"field '{text.strip()}': not a holdout lock" if text in BROKEN else "not (a holdout lock|JSON)"
    with pytest.raises(HallmarkError, match=rf"{HOLDOUT_LOCK}.*{words}.*\n.*git checkout {HOLDOUT_LOCK}"):
        split.run(params_with())


@pytest.mark.parametrize("change", ["half gone", "one more", "a hash", "a source", "the draw", "twice", "the count"])
def test_a_lock_that_was_edited_is_an_error(change: str) -> None:
    """Half the records gone from a lock made the holdout shrink without a word."""
    splitted(made(100, 20))
    lock = json.loads(HOLDOUT_LOCK.read_text())
    first = min(lock["records"])
    if change == "half gone":
        gone = sorted(lock["records"])[::2]
        for part in ("records", "sources"):
            lock[part] = {name: value for name, value in lock[part].items() if name not in gone}
        lock["count"] = len(lock["records"])
    elif change == "one more":
        lock["records"]["x"] = lock["sources"]["x"] = "0" * 32
    elif change in ("a hash", "a source"):
        lock["records" if change == "a hash" else "sources"][first] = "0" * 32
    elif change == "the draw":
        lock["validation"]["below"] = "f" * 16
    elif change == "the count":
        lock["count"] -= 1
    text = json.dumps(lock)
    HOLDOUT_LOCK.write_text(text.replace(f'"{first}": ', f'"{first}": "{"0" * 32}", "{first}": ', 1) if change == "twice" else text)
    words = "same key twice" if change == "twice" else "was edited or cut"
    with pytest.raises(HallmarkError, match=rf"{words}.*\n.*git checkout {HOLDOUT_LOCK}"):
        split.run(params_with())


def test_groups_that_share_a_cluster_go_to_one_side() -> None:
    """Their near duplicates have other targets, so that deduplication keeps both."""
    pairs = {f"g{number}": f"g{number + 10}" for number in range(10)}
    records = made(400, 40)
    for number, (one, two) in enumerate(pairs.items()):
        text = made(1, 1, seed=number + 100)[0]["prompt"][1]["content"] + " is the order that never came"
        records += [record(f"x{number}", text, "a", one), record(f"y{number}", text + " now", "b", two)]
    report = splitted(records)
    assert sum(sum(counts.values()) for counts in report["dropped"].values()) == 0
    side = {group: name for name in split.FILES for group in ids(name, "group")}
    assert all(side[one] == side[two] for one, two in pairs.items())
    assert set(side.values()) == set(split.FILES)


def test_short_turns_of_everyone_do_not_melt_the_groups() -> None:
    """Every conversation says yes or no, with labels that differ: all are kept, and each is shared by 20 groups."""
    records = made(400, 80)
    for number in range(80):
        said = ("yes", "thank you", "no", "ok")[number % 4]
        records.append(record(f"s{number:03}", said, str(number), f"g{number}"))
    report = splitted(records, dedupe__conflicts="keep")
    assert report["leaks"] == 0
    assert report["rows"]["holdout"] == pytest.approx(96, abs=6)
    assert report["rows"]["validation"] == pytest.approx(34, abs=14)
    dropped = report["dropped"]["train"]["same_text"] + report["dropped"]["validation"]["same_text"]
    assert 40 < dropped < 80
    assert sum(report["rows"].values()) == 480 - dropped


def test_a_random_row_split_leaks_and_is_counted() -> None:
    records = made(300, 50)
    records += [row | {"id": f"c{row['id']}"} for row in records[:100]]
    report = splitted(records)
    held = report["rows"]["holdout"] + report["rows"]["validation"]
    report = report["random_row_split"]
    assert report["before_dedupe"]["held_out"] == round(held / 300 * 400)
    assert report["before_dedupe"]["same_text"] > 30
    assert report["before_dedupe"]["same_group"] > 90
    assert report["after_dedupe"]["same_text"] == 0
    assert report["after_dedupe"]["held_out"] == held


def test_label_balance(tmp_path: Path) -> None:
    schema = {"properties": {"kind": {"enum": ["a", "b", None]}, "deep": {"properties": {"yes": {"type": "boolean"}}}}}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    records = made(400, 50)
    for number, row in enumerate(records):
        target = {"kind": [None, "a", "b", "b"][number % 4], "deep": {"yes": number % 2 == 0}, "free": str(number)}
        row["completion"][0]["content"] = "no" if number % 10 == 0 else json.dumps(target)
    changes = {"task__kind": "extraction", "task__schema_file": "schema.json", "task__refusal": "no"}
    balance = splitted(records, **changes)["balance"]
    assert balance["difference"].keys() == {"(kind)", "kind", "deep.yes"}
    shares = {(row["field"], row["value"]): row["train"] for row in balance["shares"]}
    assert shares["(kind)", "refusal"] == pytest.approx(0.1, abs=0.05)
    assert shares["kind", "b"] == pytest.approx(0.5, abs=0.1)
    assert shares["deep.yes", "true"] + shares["deep.yes", "false"] == pytest.approx(1)
    assert "free" not in json.dumps(balance)


WORDS = st.lists(st.sampled_from(["blue", "kettle", "lid", "late", "refund", "broken"]), min_size=1, max_size=6)
ROWS = st.lists(st.tuples(WORDS.map(" ".join), st.sampled_from("ab"), st.integers(0, 11)), min_size=1, max_size=40)


@settings(max_examples=40)
@given(ROWS, ROWS, st.randoms(use_true_random=False))
def test_whatever_the_data_nothing_leaks_and_order_does_not_matter(
    rows: list[tuple[str, str, int]], more: list[tuple[str, str, int]], shuffler: random.Random
) -> None:
    HOLDOUT_LOCK.unlink(missing_ok=True)
    changes = {"dedupe__conflicts": "keep", "dedupe__threshold": 0.6}
    records = made(60, 12) + [
        record(f"x{i:02}", text, target, f"g{group}") for i, (text, target, group) in enumerate(rows)
    ]
    splitted(records, **changes)
    first = hashes()
    check_sides(0.6)
    shuffler.shuffle(records)
    splitted(records, **changes)
    assert hashes() == first, "with the lock there"
    HOLDOUT_LOCK.unlink()
    splitted(records, **changes)
    assert hashes() == first, "without the lock"

    held = pl.read_parquet(split.FILES["holdout"]).drop("cluster")
    records += [record(f"w{i:02}", text, target, f"g{group + 6}") for i, (text, target, group) in enumerate(more)]
    try:
        splitted(records, **changes)
    except HallmarkError as error:  # so many records resemble the holdout that a side would be empty
        assert "no record is left" in str(error)
        return
    assert pl.read_parquet(split.FILES["holdout"]).drop("cluster").equals(held)
    check_sides(0.6)


def check_sides(threshold: float) -> None:
    """No group, no text and no near duplicate on two sides; every record on at most one."""
    parts = [pl.read_parquet(path).with_columns(side=pl.lit(side)) for side, path in split.FILES.items()]
    frame = pl.concat(parts).with_columns(text=normalise(text_of("prompt")))
    assert frame["id"].is_unique().all()
    assert frame.group_by("group").agg(pl.col("side").n_unique())["side"].max() == 1
    side = dict(frame.select("id", "side").iter_rows())
    near = near_pairs_by_hand(dict(frame.select("id", "text").iter_rows()), threshold)
    assert not [pair for pair in near if side[pair[0]] != side[pair[1]]]


def test_hash_seed_and_threads_do_not_matter(tmp_path: Path) -> None:
    from tests.bench.made import write_masked as write_many

    folder = make_workspace(tmp_path / "repo", {"dedupe.gold": None, "task.kind": "text", "task.refusal": None})
    write_many(folder / "data/masked.parquet", 3000)
    seen = set()
    for seed, threads in (("0", "1"), ("1", "2")):
        (folder / HOLDOUT_LOCK).unlink(missing_ok=True)
        for name in ("dedupe", "split"):
            environment = {"PYTHONHASHSEED": seed, "POLARS_MAX_THREADS": threads, "RAYON_NUM_THREADS": threads}
            run(folder, "python", "-m", f"stages.{name}", TZ="Asia/Tokyo" if seed == "1" else "UTC", **environment)
        seen.add(tuple(sha256_file(folder / path) for path in [DEDUPED, REPORTS / "dedupe.json", *FILES]))
    assert len(seen) == 1


@pytest.mark.skipif(not REAL.exists(), reason="the real data (../shared/realdata) is not here")
def test_real_conversations_leave_no_leak() -> None:
    from tests.bench.split import brute_force_leaks, multidogo

    usual = params_with().dedupe
    report = splitted(multidogo(), dedupe__threshold=usual.threshold)
    assert report["leaks"] == 0
    assert brute_force_leaks(usual) == 0
    assert (
        report["random_row_split"]["before_dedupe"]["same_text"]
        > 0.4 * report["random_row_split"]["before_dedupe"]["held_out"]
    )
    assert report["rows"]["holdout"] > 1000


@pytest.mark.full
def test_dvc_keeps_the_lock_and_sees_what_becomes_of_it(tmp_path: Path) -> None:
    """The lock is an output that the stage reads: clean after the first run, kept by a rerun, drawn again if it is deleted."""
    folder = make_workspace(tmp_path / "repo", {"dedupe.gold": None, "task.kind": "text", "task.refusal": None})
    yaml = YAML()
    pipeline = yaml.load((folder / "dvc.yaml").read_text(encoding="utf-8"))
    stages = {name: pipeline["stages"][name] for name in ("dedupe", "split")}
    with (folder / "dvc.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump({"stages": stages}, stream)
    write_masked(made(200, 30), folder / "data/masked.parquet")
    git_init(folder)

    def repro() -> str:
        run(folder, "dvc", "repro", "--quiet")
        assert "up to date" in run(folder, "dvc", "status").stdout
        return (folder / HOLDOUT_LOCK).read_text()

    first = repro()
    write_masked(made(200, 30) + made(200, 40, start=200, seed=2), folder / "data/masked.parquet")
    assert repro() == first
    assert run(folder, "git", "status", "--porcelain", HOLDOUT_LOCK.as_posix()).stdout.startswith("??"), "left to git"
    write_masked(made(100, 30), folder / "data/masked.parquet")
    assert "--refreeze" in run(folder, "dvc", "repro", check=False).stderr
    assert (folder / HOLDOUT_LOCK).read_text() == first
    run(folder, "python", "-m", "stages.split", "--refreeze")
    second = (folder / HOLDOUT_LOCK).read_text()
    assert second != first
    assert repro() == second
    (folder / HOLDOUT_LOCK).unlink()
    assert repro() == second
