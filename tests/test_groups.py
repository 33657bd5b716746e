"""Which column `propose` takes for the group: by how its values repeat, and by what is the same in the rows of one."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.propose.columns import Column, columns_in
from hallmark.propose.evidence import is_id, named_like_id, of_tags
from hallmark.propose.roles import Guess, Known, guess

Make = Callable[[int, int, random.Random], Any]  # of a row's number, its customer's, and chance
THINGS = "Lamp Hose Valve Ticket Crane Blanket Engine Bill Router Pump Socket Pallet Kettle Ladder Brake Roof Sail Oven".split()  # noqa: SIM905


def pick(*values: Any) -> Make:
    return lambda n, e, r: r.choice(values)


def number(low: int, high: int) -> Make:
    return lambda n, e, r: r.randint(low, high)


def own(form: str, step: int = 1) -> Make:
    """A value of each customer, or of each few of them."""
    things = [(THINGS[at % 18], THINGS[at * 5 % 17]) for at in range(70)]
    return lambda n, e, r: form.format(e // step * 7919 % 9973, "AKMRST"[e // step % 6], *things[e // step])


def part(form: str) -> Make:
    """One of three values within each customer."""
    return lambda n, e, r: form.format(e * 3 + r.randrange(3))


# Columns of a table by name, the first of which is the group; a name with a dot lies in an object.
TABLES: dict[str, dict[str, Make]] = {
    "hotel": {"meta.booking": own("ST{0:05}"), "meta.house": own("{2}", 9), "logged": lambda n, e, r: f"2025-07-{n % 28 + 1:02}T10:00:00Z"},
    "turbines": {"unit": own("WT{0}-{1}"), "wind_ms": number(0, 25), "crew": pick("A", "B"), "downtime_h": number(0, 90)},
    "ships": {"vessel": own("MV {2} {3}"), "berth": number(1, 30), "imo_flag": pick("PA", "LR", "MT")},
    "bank": {"iban_end": lambda n, e, r: 190000 + e * 331, "amount": number(5, 4000), "booked": lambda n, e, r: 20250101 + n % 28},
    "laboratory": {"chip": own("c{0:x}9f3"), "run": part("R-{0:04}"), "ph": number(3, 9)},
    "farm": {"field_plot": own("{2} {3} 3"), "crop": pick("rye", "oats", "beet"), "ha": number(1, 40)},
    "software": {"ctx.ws": own("{1}-{0}-ws"), "ctx.tier": own("plan {1}", 30), "ts": lambda n, e, r: 1735689600 + n * 4001},
    "flats": {"house_ref": own("H{0}", 3), "flat": own("F{0}/{1}"), "rent": number(400, 2000)},
    "school": {"kid": lambda n, e, r: e + 1001, "room": lambda n, e, r: THINGS[e % 7], "marks": number(1, 15)},
    "post": {"shipper": own("{2} & {3} Ltd"), "stop": pick("Leiden", "Metz", "Trier", "Breda"), "kg": number(1, 300)},
    "phones": {"callerHash": own("{0:05x}e7{0:04x}"), "seconds_ms": lambda n, e, r: 1735689600000 + n * 61007},
    "insurer": {"mandate": own("P-{0}"), "letter": part("L{0:05}"), "adjuster": pick(*"ABCDE"), "premium": number(100, 900)},
    "hospital": {"mpi": own("{0:07}"), "ward": pick("W1", "W2", "W3"), "episode_no": part("E{0:05}"), "days": number(1, 20)},
    "mill": {"site": own("Mill {2} {3}"), "autor": own("{1}.l"), "opened": lambda n, e, r: f"{n % 28 + 1:02}.03.2025"},
    "masts": {"mast": lambda n, e, r: f"{'BCDFGHKLM'[e % 9]}{'KLMNPRST'[e // 9]}-{'WX'[e % 2]}Q", "signed": pick(*[f"T{at:03}" for at in range(31)])},
    "members": {"stem": lambda n, e, r: None if n % 97 == 5 else 480000 + e // 3 * 331, "member_id": own("m{0}"), "pages": number(1, 40)},
    "herd": {"ear_tag": own("DE {0:05}"), "device": pick("scale", "gate"), "age": number(1, 12)},
}  # fmt: skip
# Nothing says which rows belong together.
LOOSE: dict[str, dict[str, Make]] = {
    "amounts": {"total": number(1, 150), "net": number(1, 150), "when": lambda n, e, r: f"{n % 28 + 1} March 2025"},
    "labels": {"medium": pick("phone", "mail", "web"), "reason": pick(*THINGS[:12]), "c": pick(1, 2, 3)},
    "places": {"step": lambda n, e, r: min(r.randint(1, 40), r.randint(1, 40)), "clinic": pick("north", "south"), "always": pick("AB-1")},
    "codes": {"code": lambda n, e, r: f"{'AKTZ'[n * 7 % 4]}{r.randrange(9)}7", "age": number(18, 80), "agegroup": pick(1, 2)},
    "counts": {"age": number(18, 80), "agegroup": pick(1, 2), "guests": number(1, 30), "kwh": lambda n, e, r: int(r.lognormvariate(5, 1)), "pay": lambda n, e, r: 25 * r.randint(400, 440) - 1},
    "days": {"on": lambda n, e, r: f"Mar {n % 28 + 1}, 2025", "booked": lambda n, e, r: 20250101 + n % 28, "week": lambda n, e, r: f"2025-W{n % 50 + 1:02}", "mm": lambda n, e, r: f"{r.randint(1, 60)} mm"},
}  # fmt: skip


def roles(made: dict[str, Make], chance: random.Random, names: dict[str, str]) -> Guess:
    """The roles of the columns of a table of 300 rows, of which some have other names, in any order."""
    kinds, rows = ("late", "broken", "unclear", "lost"), []
    all_made = {"category": lambda n, *_: kinds[n * 7 % 4], **made}
    order = chance.sample([*all_made], len(all_made)) if names else [*all_made]
    for n in range(300):
        customer = int(70 * chance.random() ** 1.4)
        row: dict[str, Any] = {
            "body": f"The {chance.choice(THINGS)} of day {n * 31 % 977} is {chance.choice(THINGS)} again"
        }
        for name in order:
            outer, _, inner = names.get(name, name).rpartition(".")
            (row.setdefault(outer, {}) if outer else row)[inner] = all_made[name](n, customer, chance)
        rows.append(row)
    return guess(columns_in(rows), Known(("body",), (names.get("category", "category"),)))


@pytest.mark.parametrize("table", [*TABLES, *LOOSE])
def test_a_group_is_known_by_its_values(table: str) -> None:
    found = roles((TABLES | LOOSE)[table], random.Random(1), {})
    assert found.group == (next(iter(TABLES[table])) if table in TABLES else "row.id"), (found.why, found.runners_up)


@given(st.sampled_from([*TABLES, *LOOSE]), st.integers(0, 999))
def test_neither_names_nor_order_nor_constants_change_the_group(table: str, seed: int) -> None:
    made = (TABLES | LOOSE)[table] | {"shuffled": pick("always"), "constant": pick(4711)}
    names = {name: f"c{at}" for at, name in enumerate(["category", *made])}
    found = roles(made, random.Random(seed), names)
    assert found.group == (names[next(iter(made))] if table in TABLES else "row.id"), (found.why, found.runners_up)


@pytest.mark.parametrize(("values", "tags"), [(["e-mail", "Web form"], True), (["en-GB", "de"], True), (["open", "on hold"], False), (["red", "blue"], None)])  # fmt: skip
def test_channels_languages_and_states_are_known_by_their_values(values: list[str], tags: bool | None) -> None:
    found = of_tags(Column("x7", values * 20))
    assert found is not None and (found.score > 0, found.score == 0) == (tags is True, tags is None)


def test_what_is_named_for_staff_is_a_group_if_it_repeats_like_a_customer() -> None:
    """Staff are few, with many rows each; the wider of two wins here too."""
    made = {"talk": own("V{0:05}"), "agent_no": own("A-{0:04}", 2), "tier": pick("a", "b")}
    assert roles(made, random.Random(1), {}).group == "talk", "35 with 9 rows each"
    rows = [{"talk": f"V{n // 2 * 7919 % 9973:05}", "agent_no": f"A-{n // 4 * 331 + 100}", "body": f"It is {n} again", "category": "ab"[n % 2]} for n in range(300)]  # fmt: skip
    assert guess(columns_in(rows), Known(("body",), ("category",))).group == "agent_no"


def test_a_code_that_repeats_is_taken_to_check_and_a_few_rows_without_it_count_for_nothing() -> None:
    """Better a split that is too coarse than a leak; of numbers, only a numbering is an id."""
    codes = {"error": lambda n, e, r: None if n % 90 == 5 else f"{r.choice('AKTZ')}{r.randrange(9)}7"}
    found = roles({**codes, "branch": pick("A1", "A2"), "km": number(1, 40)}, random.Random(1), {})
    assert (found.group, found.unsure) == ("error", True) and "please check" in found.why["group"]
    assert not [name for name in ("amount_paid", "number_of_rooms", "num_pages", "grid") if named_like_id(name)]
    assert all(map(named_like_id, ("customerid", "ticket_number", "paid_id", "no")))
    values = ([*range(7, 207)], [n * 7919 % 9000 + 1000 for n in range(200)], [n * n for n in (*range(50), 99, 60)])
    assert [is_id(Column("x", [*of])) for of in values] == [True, True, False]


def test_what_goes_with_the_name_of_staff_is_no_group_and_two_that_are_as_likely_are_said() -> None:
    signed = {"no2": lambda n, *_: f"P{n * 7 % 31:03}", "technician": lambda n, *_: f"Pat {THINGS[n * 7 % 31 % 18]} {n * 7 % 31}"}  # fmt: skip
    found = roles({"lift_no": own("S{0}"), **signed}, random.Random(1), {})
    assert found.group == "lift_no"
    found = roles({"user_id": own("u{0}"), "firm_of": own("F{0:04}", 3)}, random.Random(1), {"firm_of": "c7"})
    assert found.group == "c7" and "holds all rows of each user_id" in found.why["group"]
    found = roles({"user_id": own("u{0}"), "thing_of": own("{2} and {3}", 3)}, random.Random(1), {"thing_of": "c7"})
    assert (found.group, found.runners_up["group"][0][0]) == ("user_id", "c7")  # words that ids share
    del signed["technician"]
    found = roles({"lift": own("S{0}"), **signed}, random.Random(1), {})
    assert (found.group, found.runners_up["group"][0][0]) == ("lift", "no2")
