"""The independent check after masking: what has a valid checksum or form is found, however it is disguised."""

from __future__ import annotations

import pytest

from stages.privacy.patterns import residue


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
