"""The names of labels in files of Hugging Face's `datasets`, which stores a `ClassLabel` as a number.

The names are in the metadata of the file's schema, under the key `huggingface`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError

KEY = "huggingface"
NO_LABEL = -1  # what `datasets` writes for a row without one


def named_labels(
    rows: Iterator[tuple[int, dict[str, Any]]], metadata: str | bytes | None, path: Path
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows with names in place of the numbers of labels; unchanged if the metadata of the file names none."""
    named = {name: feature for name, feature in _features(metadata).items() if _has_names(feature)}
    for number, row in rows:
        for name, feature in named.items():
            if name in row:
                try:
                    row[name] = _with_names(row[name], feature)
                except IndexError:
                    problem, remedy = "a number that is no label", "fix it, or the names in the file's metadata"
                    raise HallmarkError(problem, file=path, row=number, field=name, remedy=remedy) from None
        yield number, row


def named_columns(metadata: str | bytes | None) -> list[str]:
    """The columns in which numbers stand for labels with names."""
    return [name for name, feature in _features(metadata).items() if _has_names(feature)]


def _features(metadata: str | bytes | None) -> dict[str, Any]:
    """The features by column; {} if the metadata are not those of `datasets`."""
    try:
        value = json.loads(metadata or "{}")
        features = value["info"]["features"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _names(feature: Any) -> list[str] | None:
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _inner(feature: Any) -> Any:
    return feature.get("feature") if isinstance(feature, dict) else feature[0] if isinstance(feature, list) else None


def _has_names(feature: Any) -> bool:
    """Whether a label is in it; not recursive without end, since JSON isn't."""
    if _names(feature) is not None:
        return True
    inner = feature.values() if isinstance(feature, dict) else feature if isinstance(feature, list) else []
    return any(isinstance(part, dict | list) and _has_names(part) for part in inner)


def _with_names(value: Any, feature: Any) -> Any:
    names = _names(feature)
    if names is not None and isinstance(value, int) and not isinstance(value, bool):
        if value == NO_LABEL:
            return None
        if not 0 <= value < len(names):
            raise IndexError
        return names[value]
    if isinstance(value, list):
        return [_with_names(item, _inner(feature)) if names is None else _with_names(item, feature) for item in value]
    if isinstance(value, dict) and isinstance(feature, dict):
        parts = feature["feature"] if isinstance(feature.get("feature"), dict) and "_type" in feature else feature
        return {key: _with_names(item, parts.get(key)) for key, item in value.items()}
    return value
