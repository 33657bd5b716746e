"""Lines of predictions.jsonl: what a model could read, what was due, what it said, and how that was scored."""

from __future__ import annotations

import json
from bisect import bisect_left
from pathlib import Path
from typing import Any

from stages.core.files import atomic
from stages.evaluation.scoring import Score

Row = dict[str, Any]
LENGTHS = (200, 500, 1000, 2000, 5000)  # upper bounds of the bands of input length, in characters
BANDS = (*(f"up to {top}" for top in LENGTHS), f"over {LENGTHS[-1]}")


def band(row: Row) -> str:
    """The band of input length that a prediction is in."""
    return BANDS[bisect_left(LENGTHS, row["length"])]


def readable(record: Row) -> dict[str, Any]:
    """What the model could read, and what was due, as the scorer takes it."""
    user = [message["content"] for message in record["prompt"] if message["role"] == "user"]
    return {"input": "\n".join(user), "context": record["context"], "target": record["completion"][-1]["content"]}


def prediction(record: Row, text: str, score: Score, *, finish: str, tokens: int) -> Row:
    """One line of predictions.jsonl."""
    read = readable(record)
    return {
        "id": record["id"],
        "group": record["group"],
        "tags": record["tags"] or [],
        **read,
        "length": len(read["input"]),
        "prediction": str(text),
        "finish": finish,
        "tokens": tokens,
        "parses": score.parses,
        "schema_valid": score.schema_valid,
        "exact_match": score.exact_match,
        "outcome": score.outcome,
        "reason": score.reason,
        "fields": score.fields,
        "retrieved": score.retrieved,
        **({} if score.read is None else {"read": score.read}),
    }


def write_rows(path: Path, rows: list[Row]) -> None:
    """One JSON object a line, keys sorted. Half a surrogate pair, which UTF-8 can't hold, stays an escape."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False, sort_keys=True)
            if not line.isascii() and any("\ud800" <= char <= "\udfff" for char in line):
                line = json.dumps(row, sort_keys=True)
            file.write(line + "\n")
