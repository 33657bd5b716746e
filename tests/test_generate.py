"""The sample tickets and their gold labels: all that is private is made up, and has gold around it."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[1] / "data"


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return read("raw/tickets.jsonl")


@pytest.fixture(scope="module")
def spans() -> list[dict[str, Any]]:
    return read("gold/spans.jsonl")


def test_no_private_value_escapes_the_gold_spans(rows: list[dict[str, Any]], spans: list[dict[str, Any]]) -> None:
    """What looks like an e-mail address, a link, or a contact's name in a text has a gold span around it."""
    inside = {(span["id"], span["field"], at) for span in spans for at in range(span["start"], span["end"])}
    for row in rows:
        for field in ("subject", "body"):
            known = [re.escape(row["contact_name"])] if row["contact_name"] else []
            for found in re.finditer("|".join([r"[\w.]+@[\w.]*\w", r"https?://\S+", *known]), row[field], re.I):
                assert all((row["id"], field, at) in inside for at in range(*found.span())), (row["id"], found[0])


def test_private_values_are_made_up(rows: list[dict[str, Any]], spans: list[dict[str, Any]]) -> None:
    by_id = {row["id"]: row for row in rows}
    nets = [ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]
    numbers = re.compile(r"55501\d\d|0?2079460\d{3}|07700900\d{3}|441632960\d{3}|03023125\d{3}|3363998\d{4}")
    for span in spans:
        value = by_id[span["id"]][span["field"]][span["start"] : span["end"]]
        plain = re.sub(r"\W", "", value)
        if span["kind"] == "CREDIT_CARD":
            assert luhn(plain), value
        elif span["kind"] == "IBAN_CODE":
            assert int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1, value
        elif span["kind"] == "IP_ADDRESS":
            assert any(ip_address(value.lower()) in net for net in nets)
        elif span["kind"] == "PHONE_NUMBER":
            assert numbers.search(plain), value
    assert not luhn("4111111111111112")


def luhn(digits: str) -> bool:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0
