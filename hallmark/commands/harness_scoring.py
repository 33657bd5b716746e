"""Exact match as the pipeline counts it, for lm-evaluation-harness: `harness_task` copies this file, as `utils.py`.

It needs nothing of the pipeline. Answers in JSON are compared as values (key order and spelling of numbers don't count),
strings after NFC and trimming, date-times by instant. The schema is not checked: what breaks it is not an exact match of
a target that keeps it, save for what trimming and NFC hide.
"""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime
from pathlib import Path
from typing import Any


def load(**_: Any) -> Any:
    """The holdout's records, from the file next to this one."""
    from datasets import Dataset, DatasetDict

    lines = Path(__file__).with_name("holdout.jsonl").read_text(encoding="utf-8").split("\n")
    return DatasetDict({"test": Dataset.from_list([json.loads(line) for line in lines if line])})


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """The metrics of one record."""
    return {"exact_match": float(exact_match(doc["target"], results[0], doc["json"]))}


def exact_match(target: str, prediction: str, is_json: bool) -> bool:
    """Whether two answers are the same, as JSON or as texts."""
    try:
        return bool(_key(target, is_json) == _key(prediction, is_json))
    except RecursionError:
        return False


def _key(text: str, is_json: bool) -> Any:
    text = text.strip()
    if is_json:
        try:
            return _comparable(json.loads(text, parse_constant=_refuse))
        except ValueError:
            pass  # the refusal may be a plain text; any other text equals no target
    return _plain(text)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _comparable(value: Any) -> Any:
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, dict):
        return frozenset((name, _comparable(item)) for name, item in value.items())
    if isinstance(value, list):
        return tuple(_comparable(item) for item in value)
    return (value,) if isinstance(value, bool) else value  # or True would equal 1


def _plain(text: str) -> Any:
    text = unicodedata.normalize("NFC", text).strip()
    if len(text) > 15 and text[:4].isdigit() and text[4] == "-":
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    return text
