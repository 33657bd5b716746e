"""The samples: all that is private in the tickets is made up, with gold around it, and every recipe reads all rows."""

from __future__ import annotations

import json
import re
import shutil
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from hallmark.params.edit import changed
from hallmark.params.loader import load_params
from hallmark.records.recipe import load
from hallmark.task.task import Task
from tests.workspace import ROOT

DATA = ROOT / "data"


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
    inside = {(span["id"], at) for span in spans for at in range(span["start"], span["end"])}
    for row in rows:
        known = [re.escape(row["contact_name"])] if row["contact_name"] else []
        for found in re.finditer("|".join([r"[\w.]+@[\w.]*\w", r"https?://\S+", *known]), prompt(row), re.I):
            assert all((row["id"], at) in inside for at in range(*found.span())), (row["id"], found[0])


def test_private_values_are_made_up(rows: list[dict[str, Any]], spans: list[dict[str, Any]]) -> None:
    by_id = {row["id"]: row for row in rows}
    nets = [ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]
    numbers = re.compile(r"55501\d\d|0?2079460\d{3}|07700900\d{3}|441632960\d{3}|03023125\d{3}|3363998\d{4}")
    for span in spans:
        value = prompt(by_id[span["id"]])[span["start"] : span["end"]]
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


def prompt(row: dict[str, Any]) -> str:
    """What stages/records.py makes of a ticket, in which gold spans count."""
    return f"{row['subject']}\n{row['body']}".strip()


def luhn(digits: str) -> bool:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0


@pytest.mark.parametrize("kind", ["extraction", "classification", "documents", "text", "tool_call"])
def test_the_recipe_of_a_sample_makes_a_record_of_each_row_and_has_nothing_to_look_at(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = ROOT / "template/choices/kinds" / kind
    shutil.copytree(sample, tmp_path / "data")
    params = changed((ROOT / "params.yaml").read_text(encoding="utf-8"), (sample / "params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    values = load_params()
    run = load(Path("data/records.py")).run(values.records, task=Task(values.task))
    records = list(run)
    (file,) = Path("data/raw").glob("*.jsonl")
    assert [record.source for record in records] == [
        f"{file}:{number}" for number in range(1, 1 + len(file.read_bytes().splitlines()))
    ]
    assert [str(one) for one in run.warnings()] == []
