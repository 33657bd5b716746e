"""The split: whole groups, a frozen holdout, no leak, whatever the order of the rows."""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, DEDUPED, HOLDOUT_LOCK, REPORTS, sha256_file
from hallmark.base.key import VARIABLE, digest_of, keyed_source, pseudonym, source_digest
from hallmark.corpus.draw import assign, draw
from hallmark.corpus.texts import normalise, text_of
from hallmark.judge.recount import recount
from stages import dedupe, split
from tests import workspace
from tests.rows import near_pairs_by_hand, params_with, record, refused, write_masked
from tests.tiny import make_tiny_base
from tests.workspace import git_init, make_workspace, run

FILES = [*split.FILES.values(), HOLDOUT_LOCK, REPORTS / "split.json"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(rows: int, groups: int, start: int = 0, seed: int = 1) -> list[dict[str, Any]]:
    """Records that have nothing in common except their groups."""
    draw = random.Random(seed)
    words = [" ".join(str(draw.randrange(10**9)) for _ in range(3)) for _ in range(rows)]
    return [record(f"{n:04}", text, "ab"[n % 2], f"g{n % groups}") for n, text in enumerate(words, start)]


def splitted(records: list[dict[str, Any]], refreeze: bool = False, **changes: Any) -> dict[str, Any]:
    """Deduplicate and split, without calibration unless it is asked for; returns the report."""
    usual = {"split__holdout": 0.2, "split__validation": 0.07, "split__calibration": 0.0, "split__salt": "a"}
    changes = usual | {"dedupe__threshold": 0.7} | changes
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
    assert report["rows"] == {"train": 730, "validation": 70, "calibration": 0, "holdout": 200, "online": 0}
    assert report["groups"] == {"train": 73, "validation": 7, "calibration": 0, "holdout": 20, "online": 0}
    assert report["leaks"] == 0
    assert not ids("train", "group") & ids("holdout", "group")
    for path in split.FILES.values():
        assert {*pl.read_parquet(path).columns} == {*pl.read_parquet(DEDUPED).columns} - {"source", "part"}


def test_a_large_customer_goes_to_training() -> None:
    records = [row | {"group": "large"} if number % 3 == 0 else row for number, row in enumerate(made(600, 59))]
    for salt in "abcdefgh":
        HOLDOUT_LOCK.unlink(missing_ok=True)
        report = splitted(records, split__salt=salt)
        assert "large" in ids("train", "group")
        assert 100 <= report["rows"]["holdout"] <= 140
        assert 35 <= report["rows"]["validation"] <= 49
        assert report["largest_group_share"] == pytest.approx(1 / 3)


def test_whatever_the_key_the_holdout_has_several_customers() -> None:
    """Pseudonyms decide the draw: with a few large customers in it, one key in three made a holdout the gate won't take."""
    sizes = Counter({("group", str(i)): max(1, round(110 / (i + 1) ** 0.6)) for i in range(45)})
    total = sum(sizes.values())
    for key in range(60):
        names = {pseudonym(key.to_bytes(32, "big"), *group): size for group, size in sizes.items()}
        drawn, _ = draw([(name,) for name in names], Counter(names), "desk", "holdout", 0.14 * total)
        assert len(drawn) >= 7
        assert 0.12 * total <= sum(names[name] for (name,) in drawn) <= 0.16 * total


def test_three_customers_are_enough_and_two_are_not() -> None:
    report = splitted(made(30, 3))
    assert report["groups"] == {"train": 1, "validation": 1, "calibration": 0, "holdout": 1, "online": 0}
    HOLDOUT_LOCK.unlink()
    before = [sha256_file(path) for path in split.FILES.values()]
    for groups in (1, 2):
        with refused("finer", field="group"):
            splitted(made(30, groups))
    assert [sha256_file(path) for path in split.FILES.values()] == before
    assert not HOLDOUT_LOCK.exists()


def test_the_lock_names_records_without_their_text() -> None:
    records = made(100, 20)
    splitted(records)
    lock = json.loads(HOLDOUT_LOCK.read_text())
    assert lock["records"].keys() == ids("holdout")
    assert all(len(value) == 32 for value in lock["records"].values())
    held = [row for row in records if row["id"] in lock["records"]]
    assert not [row["id"] for row in held if row["prompt"][1]["content"].split()[0] in HOLDOUT_LOCK.read_text()]


def test_what_comes_later_of_held_out_customers_is_the_online_part_and_grows() -> None:
    """A text that the holdout has is no new evidence; one that training has is dropped there, as for the holdout."""
    records = made(400, 50)
    assert splitted(records)["rows"]["online"] == 0
    assert pl.read_parquet(split.FILES["online"]).schema == pl.read_parquet(split.FILES["train"]).schema
    held, group = pl.read_parquet(split.FILES["holdout"]), min(ids("holdout", "group"))
    trained = pl.read_parquet(split.FILES["train"])
    of_training, of_holdout = (rows["prompt"][0][1]["content"] for rows in (trained, held))
    late = [
        record("x-new", "something that nobody has said before", "a", group),
        record("x-trained", of_training + " please", "c", group),
        record("x-held", of_holdout + " please", "c", group),
    ]
    report = splitted(records + late)
    assert ids("online") == {"x-new", "x-trained"}
    assert trained["id"][0] not in ids("train"), "training loses a text that is evidence now"
    assert report["dropped"]["online"] == {"near_text": 1, "same_text": 0}
    assert report["dropped"]["train"] == {"near_text": 1, "same_text": 0}
    assert (report["leaks"], report["groups"]["online"]) == (0, 1)
    assert pl.read_parquet(split.FILES["holdout"]).equals(held)
    assert recount()[0].either == 0
    more = [row | {"id": f"y-{row['id']}", "group": group} for row in made(5, 1, seed=9)]
    splitted(records + late + more)
    assert ids("online") == {"x-new", "x-trained", *(row["id"] for row in more)}
    splitted(records + late, refreeze=True)
    assert ids("online") == set(), "a new holdout is drawn from all there is"


def test_other_shares_and_salts_leave_the_holdout_alone() -> None:
    splitted(made(400, 50))
    held, validation = ids("holdout"), ids("validation")
    report = splitted(made(400, 50), split__salt="other", split__validation=0.2, split__holdout=0.5)
    assert ids("holdout") == held
    assert ids("validation") != validation
    assert report["rows"]["validation"] == 80
    splitted(made(400, 50))
    assert ids("validation") == validation


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
    with refused("--refreeze", file=HOLDOUT_LOCK) as caught:
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


LOCKS = [f'{{"version": {rest}}}' for rest in ("4", "2", "3.0", '3, "records": {}', '3, "a": "\\ud800"')]


@pytest.mark.parametrize("text", ["", *LOCKS, None])
def test_a_broken_or_older_lock_is_an_error(text: str | None) -> None:
    """A broken link, too, is no reason to draw a new holdout."""
    splitted(made(100, 20))
    HOLDOUT_LOCK.unlink()
    HOLDOUT_LOCK.symlink_to("nowhere.json") if text is None else HOLDOUT_LOCK.write_text(text)
    with refused("--refreeze", file=HOLDOUT_LOCK):
        split.run(params_with())


@pytest.mark.parametrize("change", ["half gone", "the draw", "twice"])
def test_a_lock_that_was_edited_is_an_error(change: str) -> None:
    """Half the records gone from a lock made the holdout shrink without a word."""
    splitted(made(100, 20))
    lock = json.loads(HOLDOUT_LOCK.read_text())
    first, *rest = sorted(lock["records"])
    if change == "half gone":
        for part in ("records", "sources"):
            lock[part] = {name: lock[part][name] for name in rest[::2]}
        lock["count"] = len(lock["records"])
    elif change == "the draw":
        lock["validation"]["below"] = "f" * 16
    text = json.dumps(lock)
    again = f'"{first}": "{"0" * 32}", "{first}": '
    HOLDOUT_LOCK.write_text(text.replace(f'"{first}": ', again, 1) if change == "twice" else text)
    with refused(f"git checkout {HOLDOUT_LOCK}", file=HOLDOUT_LOCK):
        split.run(params_with())


# --- what may change of a frozen record

KEY = bytes.fromhex(workspace.KEY)
KEYED = {"data__pseudonyms": "keyed", "data__key": digest_of(workspace.KEY)}


def changed_text(records: list[dict[str, Any]], name: str, source: str | None = None) -> list[dict[str, Any]]:
    """The records, one with another text; without a `source` the raw row behind it is another one too."""
    (old,) = (one for one in records if one["id"] == name)
    new = record(name, old["prompt"][1]["content"] + " <PERSON_1>", old["completion"][0]["content"], old["group"])
    return [(new | ({"source": source} if source else {})) if one is old else one for one in records]


def plain_source(one: dict[str, Any]) -> str:
    """The source that `write_masked` gives a record."""
    return source_digest(None, one["group"], one["prompt"][1]["content"], one["completion"][0]["content"])


def with_pseudonyms(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records as `mask` writes them with the key of the tests."""
    names = ({"id": pseudonym(KEY, "id", one["id"]), "group": pseudonym(KEY, "group", one["group"])} for one in records)
    return [
        one | name | {"source": keyed_source(KEY, one.get("source", plain_source(one)))}
        for one, name in zip(records, names, strict=True)
    ]


def read() -> dict[str, Any]:
    return json.loads(HOLDOUT_LOCK.read_text())


def sources(records: list[dict[str, Any]]) -> dict[str, str]:
    return {one["id"]: plain_source(one) for one in records}


def test_better_masking_keeps_the_holdout_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    records = made(200, 30)
    splitted(records)
    first, held = read(), ids("holdout")
    name = min(held)
    better = changed_text(records, name, sources(records)[name])
    with caplog.at_level("INFO"):
        report = splitted(better)
    assert "1 frozen records are masked or named differently than before: hashed again" in caplog.text
    assert ids("holdout") == held
    lock = read()
    assert lock["before"] == {name: first["records"][name]}
    assert lock["records"][name] != first["records"][name]
    assert lock["sources"] == first["sources"]
    assert report["rehashed"] == 1
    before = hashes()
    caplog.clear()
    splitted(better)
    assert hashes() == before, "the second run changes nothing, the report included"
    assert "hashed again" not in caplog.text
    splitted(records)
    assert read()["before"] == {name: f"{first['records'][name]} {lock['records'][name]}"}
    with refused("--refreeze", file=HOLDOUT_LOCK):
        splitted(changed_text(records, name))


def test_pseudonyms_switched_on_keep_the_holdout(monkeypatch: pytest.MonkeyPatch) -> None:
    records = made(200, 30)
    splitted(records)
    held = ids("holdout")
    monkeypatch.setenv(VARIABLE, workspace.KEY)
    report = splitted(with_pseudonyms(records), **KEYED)
    assert ids("holdout") == {pseudonym(KEY, "id", name) for name in held}
    assert report["rehashed"] == len(held)
    assert report["leaks"] == 0
    assert not [name for name in held if f'"{name}"' in HOLDOUT_LOCK.read_text()]
    before = hashes()
    monkeypatch.delenv(VARIABLE)
    splitted(with_pseudonyms(records), **KEYED)
    assert hashes() == before, "and need no key from then on"
    monkeypatch.setenv(VARIABLE, workspace.KEY)
    for changes in ({}, KEYED | {"data__key": "0" * 64}):
        with pytest.raises(HallmarkError, match=r"data\.key"):
            splitted(with_pseudonyms(records) if changes else records, **changes)


def test_differences_names_what_an_error_only_counts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = made(200, 30)
    splitted(records)
    first, second, third = sorted(ids("holdout"))[:3]
    after = [one for one in changed_text(records, first) if one["id"] != second]
    write_masked(changed_text(after, third, sources(records)[third]))
    dedupe.run(params_with())
    before = hashes()
    monkeypatch.setattr(split, "load_params", lambda path: params_with())
    split.main(argparse.Namespace(params=None, differences=True, refreeze=False))
    assert capsys.readouterr().out == f"missing: {second}\nchanged: {first}\nmasked differently: {third}\n"
    assert hashes() == before


def test_groups_that_share_a_cluster_are_held_out_together_and_keep_their_sides_else() -> None:
    """Their near duplicates have other targets, so that deduplication keeps both."""
    pairs = {f"g{number}": f"g{number + 20}" for number in range(20)}
    records = made(800, 160)
    splitted(records)
    alone = ids("validation", "group")
    HOLDOUT_LOCK.unlink()
    for number, (one, two) in enumerate(pairs.items()):
        text = made(1, 1, seed=number + 100)[0]["prompt"][1]["content"] + " is the order that never came"
        records += [record(f"x{number}", text, "a", one), record(f"y{number}", text + " now", "b", two)]
    report = splitted(records)
    side = {group: name for name in split.FILES for group in ids(name, "group")}
    assert all((side[one] == "holdout") == (side[two] == "holdout") for one, two in pairs.items())
    assert any(side[one] == "holdout" for one in pairs)
    across = [(one, two) for one, two in pairs.items() if side[one] != side[two]]
    assert across
    assert report["joined_across"] == 2 * len(across)
    assert report["dropped"]["train"] == {"same_text": 0, "near_text": len(across)}
    assert sum(report["dropped"]["validation"].values()) == 0
    assert len(alone & ids("validation", "group")) >= len(alone) - 2, "but for those at the edge of a share"


def grown(draw: random.Random, count: int, start: int, groups: int, common: float) -> pl.DataFrame:
    """Rows as `assign` takes them; a share of them are one of fifty short texts that everyone says."""
    numbers = range(start, start + count)
    return pl.DataFrame(
        {
            "id": [f"{number:06}" for number in numbers],
            "group": [f"g{draw.randrange(groups)}" for _ in numbers],
            "cluster": [
                f"short{draw.randrange(50)}" if draw.random() < common else f"{number:06}" for number in numbers
            ],
            "part": pl.Series([None] * count, dtype=pl.String),
        }
    )


@settings(max_examples=8)
@given(st.integers(0, 2**32), st.floats(0, 1), st.sampled_from([0, 300, 3000]), st.sampled_from([0.02, 0.1, 1.0]))
def test_whoever_says_the_same_no_group_moves_and_the_shares_hold(
    seed: int, common: float, new: int, growth: float
) -> None:
    """Bundles of joined groups followed their lowest hash: 10 % new rows moved 598 of 3,001 groups, validation tripled."""
    draw, block = random.Random(seed), params_with(split__holdout=0.14, split__validation=0.07).split
    first = grown(draw, 9_000, 0, 3001, common)
    sides, cut = assign(first, set(), {}, block)
    frozen = {name for name, side in zip(first["id"], sides, strict=True) if side == "holdout"}
    rows = pl.concat([first, grown(draw, int(9_000 * growth), 9_000, 3001 + new, common)])
    later, same = assign(rows, frozen, cut, block)
    assert same == cut
    before = dict(zip(first["group"], sides.tolist(), strict=True))
    after = dict(zip(rows["group"], np.where(later == "online", "holdout", later).tolist(), strict=True))
    assert [group for group in before if before[group] != after[group]] == []
    assert abs((sides == "holdout").mean() - 0.14) < 0.02
    for found in (sides, later):
        assert abs((found == "validation").mean() - 0.07) < 0.02


# --- calibration


def kept() -> dict[str, set[str]]:
    """The groups of each part."""
    return {side: ids(side, "group") for side in split.FILES}


def test_calibration_is_drawn_from_train_alone_and_stays_as_data_grow() -> None:
    """Its cutoff is frozen too, in a lock that was made without one; validation and holdout are what they were."""
    records = made(800, 160)
    splitted(records)
    plain, lock = kept(), read()
    assert "calibration" not in lock and plain["calibration"] == set()
    report = splitted(records, split__calibration=0.1)
    first, frozen = kept(), read()
    assert report["rows"]["calibration"] == 80 and report["leaks"] == 0
    assert (first["holdout"], first["validation"]) == (plain["holdout"], plain["validation"])
    assert first["calibration"] | first["train"] == plain["train"] and not first["calibration"] & first["train"]
    assert {name: value for name, value in frozen.items() if name not in ("calibration", "digest")} == {
        name: value for name, value in lock.items() if name != "digest"
    }
    assert (frozen["calibration"]["share"], frozen["calibration"]["salt"]) == (0.1, "a")
    splitted(records + made(400, 320, start=800, seed=2), split__calibration=0.1)
    assert read() == frozen
    later = kept()
    assert all(later[side] >= first[side] for side in split.FILES), "no group has moved"
    assert len(later["calibration"]) > len(first["calibration"]), "and new ones are drawn"
    splitted(records)
    assert kept() == plain and read() == frozen, "without it, it is train's again, and its cutoff waits"
    splitted(records, split__calibration=0.1)
    assert kept() == first
    splitted(records, split__calibration=0.2)
    assert read()["calibration"]["share"] == 0.2
    assert (kept()["holdout"], kept()["validation"]) == (plain["holdout"], plain["validation"])


def test_rows_may_be_named_calibration_and_a_frozen_one_may_not() -> None:
    parts = {"g1": "holdout", "g2": "calibration", "g3": "validation"}
    report = splitted(parted(**parts))
    assert report["rows"] == {"train": 45, "validation": 5, "calibration": 5, "holdout": 5, "online": 0}
    assert ids("calibration", "group") == {"g2"}
    assert "calibration" not in read(), "it was not drawn"
    splitted(parted(**parts), split__calibration=0.3)
    assert ids("calibration", "group") == {"g2"}, "named, so not drawn"
    with refused(field="part"):
        splitted(parted(**parts | {"g1": "calibration"}))


def test_calibration_without_a_group_is_an_error() -> None:
    for records, validation, field in ((made(30, 3), 0.07, "group"), (made(50, 5), 0.6, "split.calibration")):
        with refused("to 0", field=field):
            splitted(records, split__validation=validation, split__calibration=0.1)
        assert not HOLDOUT_LOCK.exists()


# --- parts that the data names


def parted(count: int = 60, groups: int = 12, **parts: str) -> list[dict[str, Any]]:
    """Records, those of each group in the part that is named for it, else in train."""
    return [row | {"part": parts.get(row["group"], "train")} for row in made(count, groups)]


OFFICIAL = {"g1": "holdout", "g2": "holdout", "g3": "validation"}


@pytest.mark.parametrize(
    ("parts", "drawn"), [({"g1": "holdout", "g2": "holdout"}, "validation"), ({"g3": "validation"}, "holdout")]
)
def test_a_part_that_no_row_names_is_drawn_from_train(parts: dict[str, str], drawn: str) -> None:
    records = parted(200, 40, **parts)
    report = splitted(records)
    assert 0 < report["rows"][drawn] <= 45
    assert not ids(drawn, "group") & parts.keys()
    before = {side: ids(side, "group") for side in split.FILES}
    splitted([*records, *parted(400, 80, **parts)[200:]])
    after = {side: ids(side, "group") for side in split.FILES}
    assert all(after[side] >= before[side] for side in split.FILES)
    assert after["holdout"] == before["holdout"]


def test_a_named_holdout_is_whole_then_frozen_and_train_loses_its_texts() -> None:
    """Deduplication keeps one of two copies, in whichever part; an official holdout keeps both of its own, and wins."""
    records = parted(**OFFICIAL)
    held = next(row for row in records if row["group"] == "g1")
    copies = [held | {"id": "a-copy"}, held | {"id": "0-train", "group": "g5", "part": "train"}]
    report = splitted(records + copies)
    assert {"a-copy", held["id"]} <= ids("holdout")
    assert "0-train" not in ids("train")
    assert report["dropped"]["train"]["same_text"] == 1
    assert report["leaks"] == 0
    frozen = ids("holdout")
    late = [row | {"part": "holdout", "group": f"late {row['group']}"} for row in made(70, 14)[60:]]
    report = splitted([*records, *copies, *late])
    assert ids("holdout") == frozen
    assert report["rows"]["online"] == 10
    with refused("split.shared_groups", field="part"):
        splitted([*records, *copies, *(row | {"group": "g7"} for row in late)])
    moved = [row | {"part": "train"} if row["id"] == held["id"] else row for row in records + copies]
    with refused("--refreeze", field="part"):
        splitted(moved)
    splitted(moved, refreeze=True, split__shared_groups="count")
    assert held["id"] not in ids("holdout")


def test_groups_in_several_parts_are_an_error_or_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    records = [row | {"group": "g1"} if row["group"] == "g7" else row for row in parted(**OFFICIAL)]
    with refused("split.shared_groups", field="part") as caught:
        splitted(records)
    assert "g1 " not in str(caught.value)
    assert not HOLDOUT_LOCK.exists()
    report = splitted(records, split__shared_groups="count")
    assert report["shared_groups"] == 1
    assert report["leaks"] == 5, "the holdout rows that share a group with train"
    assert report["rows"] == {"train": 45, "validation": 5, "calibration": 0, "holdout": 10, "online": 0}
    assert "hallmark.corpus.checks" in {line.name for line in caplog.records if line.levelname == "WARNING"}


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


def calls(*names: str) -> str:
    return json.dumps([{"name": name, "arguments": {"type": "dict"}} for name in names])


@pytest.mark.parametrize("shown", ["nothing", "some", "all"])
def test_functions_that_the_model_can_not_know_are_counted(shown: str, caplog: pytest.LogCaptureFixture) -> None:
    """Half of the groups call functions of their own, two a record; the other half the same one, or refuse."""
    records = made(400, 50)
    for number, row in enumerate(records):
        own = [f"{row['group']}.a", f"{row['group']}.b"]
        names = own if int(row["group"][1:]) % 2 else ["find"][: number % 4]
        row["completion"][0]["content"] = "no" if number % 40 == 0 else calls(*names)
        offered = [*own, "find"] if shown == "all" or (shown == "some" and number % 100 < 50) else []
        tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in offered]
        row["tools"] = json.dumps(tools) if offered else None
    report = splitted(records, task__kind="tool_call", task__refusal="no", split__label_errors=0)["functions"]
    held, trained = (pl.read_parquet(split.FILES[side]) for side in ("holdout", "train"))
    own = [row for row in held.rows(named=True) if int(row["group"][1:]) % 2]
    groups = {row["group"] for row in own}
    assert groups
    assert not groups & set(trained["group"])
    unknown = sum(row["tools"] is None for row in own)
    assert report == {"called": 2 * len(groups) + 1, "new": 2 * len(groups), "records": len(held), "unknown": unknown}
    said = f"{report['new']} of the {report['called']} functions that the holdout calls do not occur in training"
    warned = [line.getMessage() for line in caplog.records if said in line.getMessage() and line.levelname == "WARNING"]
    assert len(warned) == (shown != "all")


WORDS = st.lists(st.sampled_from(["blue", "kettle", "lid", "late", "refund", "broken"]), min_size=1, max_size=6)
ROWS = st.lists(st.tuples(WORDS.map(" ".join), st.sampled_from("ab"), st.integers(0, 11)), min_size=1, max_size=40)


@settings(max_examples=8)
@given(ROWS, ROWS, st.randoms(use_true_random=False))
def test_whatever_the_data_nothing_leaks_and_order_does_not_matter(
    rows: list[tuple[str, str, int]], more: list[tuple[str, str, int]], shuffler: random.Random
) -> None:
    HOLDOUT_LOCK.unlink(missing_ok=True)
    changes = {"split__calibration": 0.3, "dedupe__conflicts": "keep", "dedupe__threshold": 0.6}
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
    """No text and no near duplicate on two sides, no group but those that are held out; every record on at most one."""
    parts = [pl.read_parquet(path).with_columns(side=pl.lit(side)) for side, path in split.FILES.items()]
    frame = pl.concat(parts).with_columns(text=normalise(text_of("prompt")))
    assert frame["id"].is_unique().all()
    customers = frame.with_columns(pl.col("side").replace("online", "holdout")).group_by("group")
    assert customers.agg(pl.col("side").n_unique())["side"].max() == 1
    side = dict(frame.select("id", "side").iter_rows())
    near = near_pairs_by_hand(dict(frame.select("id", "text").iter_rows()), threshold)
    assert not [pair for pair in near if side[pair[0]] != side[pair[1]]]


@pytest.mark.full
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


@pytest.mark.full
def test_dvc_keeps_the_lock_and_sees_what_becomes_of_it(tmp_path: Path) -> None:
    """The lock is an output that the stage reads: clean after the first run, kept by a rerun, drawn again if it is deleted."""
    folder = make_workspace(tmp_path / "repo", {"dedupe.gold": None, "task.kind": "text", "task.refusal": None})
    yaml = YAML()
    pipeline = yaml.load((folder / "dvc.yaml").read_text(encoding="utf-8"))
    stages = {name: pipeline["stages"][name] for name in ("code", "dedupe", "split")}
    with (folder / "dvc.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump({"stages": stages}, stream)
    write_masked(made(200, 30), folder / "data/masked.parquet")
    make_tiny_base(folder / BASE)
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
