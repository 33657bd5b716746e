"""The sample tickets and their gold labels: made as committed, true to the text, and as hard as the data card says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import date
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

DATA = Path(__file__).resolve().parents[1] / "data"
pytestmark = pytest.mark.skipif(not (DATA / "generate.py").exists(), reason="this domain brought its own data")
sys.path.insert(0, str(DATA))
MADE = ("raw/tickets.jsonl", "gold/spans.jsonl", "gold/duplicates.jsonl")
REFUSAL = {"intent": "refuse"}


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return read(MADE[0])


@pytest.fixture(scope="module")
def spans() -> list[dict[str, Any]]:
    return read(MADE[1])


def answers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["target"] != REFUSAL]


def text_of(row: dict[str, Any]) -> str:
    return f"{row['subject']}\n{row['body']}"


def test_generator_writes_the_committed_bytes(tmp_path: Path) -> None:
    for name in ("generate.py", "clauses.py", "wording.py"):
        (tmp_path / name).write_bytes((DATA / name).read_bytes())
    strange = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "generate.py")], cwd=tmp_path, env=strange, capture_output=True, check=True
    )
    assert b"rows       2800" in done.stdout
    for name in MADE:
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes(), name


def test_targets_are_valid_and_their_spans_lie_in_the_text(rows: list[dict[str, Any]]) -> None:
    schema = json.loads((DATA / "schema.json").read_text(encoding="utf-8"))
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    for row in answers(rows):
        target = row["target"]
        assert [error.message for error in validator.iter_errors(target)] == [], row["id"]
        assert list(target) == list(schema["properties"])
        for span in (target["product"], *target["issues"]):
            assert span is None or span in text_of(row), (row["id"], span)
        assert target["date"] is None or date.fromisoformat(target["date"]) < date.fromisoformat(row["received"])
        assert len(set(target["issues"])) == len(target["issues"])


def test_gold_spans_lie_in_order(rows: list[dict[str, Any]], spans: list[dict[str, Any]]) -> None:
    by_id = {row["id"]: row for row in rows}
    seen: dict[tuple[str, str], int] = defaultdict(int)
    for span in spans:
        assert seen[span["id"], span["field"]] <= span["start"] < span["end"] <= len(by_id[span["id"]][span["field"]])
        seen[span["id"], span["field"]] = span["end"]
    assert all(count >= 6 for count in Counter(span["kind"] for span in spans).values())


def test_no_private_value_escapes_the_gold_spans(rows: list[dict[str, Any]], spans: list[dict[str, Any]]) -> None:
    """What looks like an e-mail address, a link, or a contact's name in a text has a gold span around it."""
    inside = {(span["id"], span["field"], at) for span in spans for at in range(span["start"], span["end"])}
    for row in rows:
        for field in ("subject", "body"):
            known = [re.escape(row["contact_name"])] if row["contact_name"] else []
            for found in re.finditer(
                "|".join([r"[\w.]+@[\w.]*\w", r"https?://\S+", *known]), row[field], re.IGNORECASE
            ):
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


def test_shares_are_as_the_data_card_says(rows: list[dict[str, Any]]) -> None:
    share = {tag: count / len(rows) for tag, count in Counter(tag for row in rows for tag in row["tags"]).items()}
    ends = {"refusal": (0.08, 0.11), "near_refusal": (0.07, 0.1), "short": (0.03, 0.08), "long": (0.005, 0.02)}
    ends |= {"two_wishes": (0.4, 0.5), "told_urgency": (0.25, 0.35)}
    assert [tag for tag, (low, high) in ends.items() if not low <= share[tag] <= high] == []
    sizes = Counter(row["customer"] for row in rows)
    assert len(sizes) == 450
    assert max(sizes.values()) / len(rows) <= 0.03, "a larger one would widen the intervals of a holdout that has it"
    intents = Counter(row["target"]["intent"] for row in answers(rows))
    assert len(intents) == 8
    assert min(intents.values()) >= 100


def test_duplicate_clusters_are_true(rows: list[dict[str, Any]]) -> None:
    by_id = {row["id"]: row for row in rows}
    clusters = defaultdict(list)
    for line in read(MADE[2]):
        clusters[line["cluster"]].append((line["kind"], by_id[line["id"]]))
    torn = across = 0
    for members in clusters.values():
        kinds, texts = {kind for kind, _ in members}, {(row["received"], text_of(row)) for _, row in members}
        targets = {json.dumps(row["target"]) for _, row in members}
        assert len(members) >= 2
        assert kinds == ({"exact"} if len(texts) == 1 else {"near"})
        conflict = any("label_conflict" in row["tags"] for _, row in members)
        assert (len(targets) > 1) == conflict
        torn += conflict
        across += len({row["customer"] for _, row in members}) > 1
    assert torn == 8
    assert across >= 2
    gold = {line["id"] for line in read(MADE[2])}
    assert sum("another_case" in row["tags"] and row["id"] not in gold for row in rows) == 16
    texts = Counter(
        (row["received"], text_of(row)) for row in rows if row["id"] not in gold and "short" not in row["tags"]
    )
    assert max(texts.values()) == 1, "no exact duplicate is missing from the gold labels"
