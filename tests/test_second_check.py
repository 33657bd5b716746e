"""The independent check after masking: what has a valid checksum or form is found, however it is disguised."""

from __future__ import annotations

import hashlib
import random
import re
import uuid
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hallmark.mask import rules, second_check
from hallmark.mask.kinds import PLACEHOLDER
from hallmark.mask.rules import iban_ok, ibans
from hallmark.mask.second_check import could_be_card, in_name, matches, residue

# Cards and addresses as no one writes them who does not hide them, or whose form breaks lines: both checks read them.


# IBANs with correct check digits, most of them of countries that one of two tables once lacked.
IBANS = [
    *("BA391290079401028494", "BI1320001100010000123456789", "DJ2110002010010409943020008", "FK12SC987654321098"),
    *("LY38021001000000123456789", "MN580050099123456789", "NI79BAMC00000000000003123123", "OM040280000012345678901"),
    *(
        "RU0204452560040702810412345678901",
        "SD8811123456789012",
        "SO061000001123123456789",
        "YE09CBKU0000000000001234560101",
    ),
]


@pytest.mark.parametrize("iban", IBANS)
def test_masker_and_check_each_know_the_account_of_any_country(iban: str) -> None:
    printed = " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))
    for text in (iban, printed, iban.lower()):
        assert residue(f"pay to {text}, please") == ["IBAN_CODE"]
        assert in_name(text) == ["IBAN_CODE"]
    assert [*ibans(iban)] and iban_ok(iban)
    wrong = iban[:2] + f"{(int(iban[2:4]) + 1) % 97:02}" + iban[4:]
    assert residue(wrong) == [] and not iban_ok(wrong)


def test_the_two_checks_share_no_function() -> None:
    """The only code that both use shows them the text: the view, and what base64 stands for."""
    own = {name: value for name, value in vars(rules).items() if callable(value)}
    others = [value for value in vars(second_check).values() if callable(value)]
    shared = {name for name, value in own.items() if value in others}
    assert shared <= {"Callable", "Iterator", "decoded"}


ALPHABETS = {
    "ulid": "0123456789ABCDEFGHJKMNPQRSTVWXYZ",
    "base32": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    "base58": "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
    "base64url": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
}
NAMES: dict[str, Callable[[random.Random, int], str]] = {
    **{f"uuid{version}": lambda draw, _, v=version: str(uuid.UUID(int=draw.getrandbits(128), version=v)) for version in (1, 3, 4, 5)},
    "uuid in braces": lambda draw, _: f"{{{uuid.UUID(int=draw.getrandbits(128), version=4)}}}".upper(),
    "turn of a uuid": lambda draw, number: f"conv-{uuid.UUID(int=draw.getrandbits(128), version=4)}-{number}",
    **{f"hex{size}": lambda draw, _, s=size: f"{draw.getrandbits(4 * s):0{s}x}" for size in (16, 24, 32, 40, 56, 64, 96, 128)},
    **{f"HEX{size}": lambda draw, _, s=size: f"{draw.getrandbits(4 * s):0{s}X}" for size in (16, 24, 32, 40, 56, 64, 96, 128)},
    **{f"counter{size}": lambda _, number, s=size: str(int("4539148803436460000"[:s]) + number) for size in range(12, 20)},
    **{f"T-counter{size}": lambda _, number, s=size: f"T-{int('4539148803436460000'[:s]) + number}" for size in range(12, 20)},
    "snowflake": lambda draw, number: str((370_000_000_000 + 37 * number) << 22 | draw.getrandbits(22)),
    **{
        name: lambda draw, _, letters=letters: "".join(draw.choices(letters, k=26))
        for name, letters in ALPHABETS.items()
    },
    "date and number": lambda _, number: f"2603{number % 28 + 1:02d}-{number:04d}",
    "two numbers": lambda draw, _: f"NL-{draw.randrange(10**5):05}-{draw.randrange(10**8):08}",
    "three numbers": lambda draw, _: f"{draw.randrange(1000):03}-{draw.randrange(10**7):07}-{draw.randrange(10**7):07}",
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMES)
def test_no_name_that_a_machine_gave_is_anyones(kind: str) -> None:
    """Of 100,000 of each there is none either. The first digits of the counters are a card's."""
    draw, count = random.Random(5), 400
    names = [NAMES[kind](draw, number) for number in range(count)]
    assert [in_name(name) for name in names if in_name(name)] == []
    if not kind.startswith(("counter", "T-", "snow")):  # digits in one run may be a card in a text, but not in a name
        assert [residue(name) for name in names if residue(name)] == []
    assert sum(bool(could_be_card(name)) for name in names) <= count / 9


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("jane.roe@acme-tools.io", "EMAIL_ADDRESS"),
        ("+4930771234567", "PHONE_NUMBER"),
        ("4539-1488-0343-6467", "CREDIT_CARD"),
        ("DE89370400440532013000", "IBAN_CODE"),
        ("536-90-4399", "US_SSN"),
        ("AKIAIOSFODNN7EXAMPLE", "SECRET"),
    ],
)
def test_a_name_that_is_a_private_value_is_found(name: str, kind: str) -> None:
    assert in_name(name) == [kind]


@given(
    st.lists(
        st.sampled_from(["<PERSON_1>", "<PHONE_12>", "<CARD_4539148>", "00", "4539", "-4", " ", "+4930"]), max_size=8
    )
)
@example(["<PERSON_1>", "00100000060-4"])
@example(["45391488", "<PHONE_0343646>", "7"])
@example(["+49 30 ", "<ZIP_7712345>"])
def test_a_placeholder_is_part_of_no_value(pieces: list[str]) -> None:
    """What is found in a text with placeholders lies between two of them, and is found there without them too."""
    text = "".join(pieces)
    for start, end, kind in matches(text):
        (piece,) = [part for part in re.split(PLACEHOLDER, text) if text[start:end] in part][:1]
        assert kind in residue(piece)


VALUES = ["4539148803436467", "DE89370400440532013000", "+49 30 7712345", "jane.roe@acme-tools.io", "81.2.69.142"]


@given(st.text(max_size=12), st.sampled_from(VALUES), st.text(max_size=12))
def test_places_are_in_characters_of_the_text(before: str, value: str, after: str) -> None:
    text = f"{before}\n({value})\n{after}"
    places = [text[start:end] for start, end, _ in matches(text)]
    assert value in places


def test_what_stands_next_to_a_hash_is_still_found() -> None:
    name = hashlib.sha256(b"1").hexdigest()
    assert residue(f"{name} 4539148803436467") == ["CREDIT_CARD"]
    assert residue(f"{name}, DE89370400440532013000") == ["IBAN_CODE"]
