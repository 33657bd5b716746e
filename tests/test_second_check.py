"""The independent check after masking: what has a valid checksum or form is found, however it is disguised."""

from __future__ import annotations

import base64
import hashlib
import random
import uuid
from collections.abc import Callable

import pytest

from stages.privacy.normal import view
from stages.privacy.rules import phones, structured
from stages.privacy.second_check import residue


@pytest.mark.parametrize(
    "text",
    [
        "write to jane.roe@acme-tools.io please",
        "card 4539 1488 0343 6467",
        "card 4539-1488-0343-6467.",
        "IBAN GB82 WEST 1234 5698 7654 32",
        "DE89370400440532013000",
        "server 81.2.69.142 is down",
        "jane.roe\u200b@acme-tools.io",
        "４５３９１４８８０３４３６４６７",
        "jane.roe&#64;acme-tools.io",
    ],
)
def test_private_values_are_found(text: str) -> None:
    assert residue(text) != []


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# Cards and addresses as no one writes them who does not hide them, or whose form breaks lines: both checks read them.
SPELLINGS = [
    "4539.1488.0343.6467",
    "4539_1488_0343_6467",
    "paid with card 4539/1488/0343/6467, thanks",
    "4539 1488\n0343 6467",
    "4539-1488-0343-\r\n6467",
    "3782.822463.10005",
    "4539\u200b.1488.0343.6467",
    encoded("jane.roe@acme-tools.io"),
    encoded("jane.roe@acme-tools.io").rstrip("="),
    base64.urlsafe_b64encode('{"user": "jö?ne>roe@acme-tools.io"}'.encode()).decode(),
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_the_check_and_the_masker_read_other_spellings(text: str) -> None:
    (kind,) = residue(text)
    assert kind in {found.kind for found in structured(text.replace("\u200b", ""))}


@pytest.mark.parametrize(
    "text",
    [
        "4539.1488.0343.6468",  # a wrong check digit
        "4539.1488/0343.6467",  # separators of two kinds
        "12.4539.1488.0343.6467",
        "4539\n1488\n0343\n6467",  # a column of numbers
        encoded("jane.roe, no address at all"),
        encoded("write to jane@example.com")[:-3],
        "data/raw/internationalisation/settings",
    ],
)
def test_what_proves_nothing_is_no_other_spelling(text: str) -> None:
    assert residue(text) == []


@pytest.mark.parametrize(
    "write",
    [
        lambda text: "".join(f"%{ord(letter):02X}" for letter in text),
        lambda text: "".join(f"={ord(letter):02X}" for letter in text),
        lambda text: "".join(f"\\u{ord(letter):04x}" for letter in text),
        lambda text: "\u034f".join(text),
        lambda text: "".join(letter + "\u0329" if letter.isalpha() else letter for letter in text),
        lambda text: "".join(letter + "\ufe0f\u20e3" if letter.isdigit() else letter for letter in text),
        lambda text: f"{text[:6]}\x1b[1m{text[6:]}",
        lambda text: base64.b64encode(f"To: x\n{text}\n".encode()).decode(),
    ],
)
@pytest.mark.parametrize(
    "value", ["jane7.roe@acme-tools.io", "4539148803436467", "GB82WEST12345698765432", "+49 30 7712345"]
)
def test_escapes_marks_and_base64_hide_nothing_from_check_and_rules(write: Callable[[str], str], value: str) -> None:
    text = f"Write to {write(value)} please."
    assert residue(text)
    shown = view(text)
    found = [shown.source(span.start, span.end) for span in (*structured(shown.text), *phones(shown.text))]
    assert (len("Write to "), len(text) - len(" please.")) in found, "all of it"


@pytest.mark.parametrize("text", ["x=20 y=30", "save 20%25 now", r"C:\users\u", "https://a.io/a%20b?q=%22", "50%30"])
def test_what_only_looks_like_an_escape_says_nothing(text: str) -> None:
    assert residue(text) == []


def test_no_uuid_and_no_hash_is_anyones() -> None:
    """Of 100,000 there is none either; before, it was 44 UUIDs and 12 hashes."""
    draw, count = random.Random(5), 15_000
    names = (str(uuid.UUID(int=draw.getrandbits(128), version=4)) for _ in range(count))
    assert sum(bool(residue(name)) for name in names) == 0
    assert sum(bool(residue(hashlib.sha256(str(number).encode()).hexdigest())) for number in range(count)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "order NL-20931 of 2026-03-14 for 49.90 EUR",
        "card 4539 1488 0343 6468",  # a wrong check digit
        "IBAN GB82 WEST 1234 5698 7654 33",
        "version 1.2.3 of the app, 12:30 on 14.03.2026",
        "<EMAIL_1> asked <PERSON_2> about <CARD_1>",
    ],
)
def test_other_numbers_are_not(text: str) -> None:
    assert residue(text) == []


def test_what_stands_next_to_a_hash_is_still_found() -> None:
    name = hashlib.sha256(b"1").hexdigest()
    assert residue(f"{name} 4539148803436467") == ["CREDIT_CARD"]
    assert residue(f"{name}, DE89370400440532013000") == ["IBAN_CODE"]
