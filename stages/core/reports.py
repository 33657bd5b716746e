"""Reading what earlier stages reported. What is not there is an error that names the stage to run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stages.core.errors import HallmarkError
from stages.core.files import REPORTS
from stages.core.outcomes import OUTCOMES

Prediction = dict[str, Any]

KEYS: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "group": str,
    "tags": (list, type(None)),
    "input": str,
    "context": (str, type(None)),
    "length": int,
    "target": str,
    "prediction": str,
    "finish": (str, type(None)),
    "parses": bool,
    "schema_valid": bool,
    "exact_match": bool,
    "outcome": str,
    "reason": (str, type(None)),
    "fields": list,
}


class Report:
    """A JSON report, read key by key."""

    def __init__(self, name: str, stage: str | None = None) -> None:
        """Reads `reports/<name>.json`, which the stage of that name (or `stage`) writes."""
        self.path = REPORTS / f"{name}.json"
        stage = stage or name
        self.remedy = f"run `dvc repro {stage}`, which makes it"
        try:
            self.content: Any = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise HallmarkError("no such file", file=self.path, remedy=self.remedy) from None
        except ValueError:
            raise HallmarkError("not JSON", file=self.path, remedy=self.remedy) from None

    def at(self, *keys: str) -> Any:
        """The value at that path of keys."""
        value = self.content
        for depth, key in enumerate(keys, 1):
            if not isinstance(value, dict) or key not in value:
                raise HallmarkError("missing", file=self.path, field=".".join(keys[:depth]), remedy=self.remedy)
            value = value[key]
        return value

    def row(self, *keys: str, name: str) -> dict[str, Any]:
        """The row of that `name` in the list at that path of keys."""
        for row in self.at(*keys):
            if row["name"] == name:
                return row
        raise HallmarkError("missing", file=self.path, field=".".join((*keys, name)), remedy=self.remedy)


def predictions_of(model: str) -> Path:
    """Where the predictions of a model (`base`, `tuned`) lie."""
    return REPORTS / "eval" / model / "predictions.jsonl"


def read_predictions(model: str) -> list[Prediction]:
    """The predictions of a model, in record order; at least one. A missing key or a wrong type is an error."""
    path, remedy = predictions_of(model), f"run `dvc repro eval@{model}`, which makes it"
    rows: list[Prediction] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                row = json.loads(line)
                wrong = [key for key, kind in KEYS.items() if key not in row or not isinstance(row[key], kind)]
                if wrong:
                    raise HallmarkError(
                        "missing, or of the wrong type", file=path, row=number, field=wrong[0], remedy=remedy
                    )
                if row["outcome"] not in OUTCOMES:
                    raise HallmarkError("not a known outcome", file=path, row=number, field="outcome", remedy=remedy)
                rows.append(row)
    except FileNotFoundError:
        raise HallmarkError("no such file", file=path, remedy=remedy) from None
    except (ValueError, TypeError):
        raise HallmarkError("not a JSON object", file=path, row=len(rows) + 1, remedy=remedy) from None
    if not rows:
        raise HallmarkError("holds no prediction", file=path, remedy=remedy)
    return rows


def read_as(row: Prediction) -> str:
    """The answer in the form of a target: calls in the chat template's own form are read (empty where they can't be)."""
    return str(row.get("read", row["prediction"]))


def check_paired(one: str, first: list[Prediction], two: str, second: list[Prediction]) -> None:
    """Raise unless both models answered the same records, in the same order."""
    path, remedy = predictions_of(one), "run `dvc repro eval`, so that both models answer the same holdout"
    if len(first) != len(second):
        problem = f"has {len(first)} records, {predictions_of(two)} has {len(second)}"
        raise HallmarkError(problem, file=path, remedy=remedy)
    for number, (a, b) in enumerate(zip(first, second, strict=True), 1):
        for key in ("id", "group", "input", "target"):
            if a[key] != b[key]:
                problem = f"not what {predictions_of(two)} has there"
                raise HallmarkError(problem, file=path, row=number, field=key, remedy=remedy)
