"""Reading what earlier stages reported. Whatever is missing is an error that names the stage to run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, create_model

from hallmark.base.errors import HallmarkError
from hallmark.base.files import REPORTS
from hallmark.base.reading import read_json

Content = TypeVar("Content")
Count = Annotated[int, Field(ge=0, le=2**53)]  # what a float can hold
Some = Annotated[int, Field(ge=1, le=2**53)]
Amount = Annotated[float, Field(ge=0, le=1e12)]
Loss = Annotated[float, Field(ge=-1e12, le=1e12)]


def add_up(*agree: bool) -> None:
    """Refuse counts of the same records that don't agree: who runs a stage by hand may read a report that was edited."""
    if not all(agree):
        raise ValueError("counts that don't add up")


def shape(**fields: Any) -> Any:
    """A type of content for `Report.as_` that has these attributes: of a type each, or of a (type, default)."""
    return create_model("Shape", __config__=ConfigDict(strict=True), **fields)


def typed(kind: type[Content], text: str | bytes, file: str | Path, remedy: str, *keys: str) -> Content:
    """The JSON text of the value at that path of keys in a file, as a dataclass, all that its types say checked."""
    try:
        return TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        raise mistyped(error, file, remedy, keys=keys) from None


def mistyped(
    error: ValidationError, file: str | Path, remedy: str, row: int | None = None, keys: tuple[str, ...] = ()
) -> HallmarkError:
    """What is wrong with a value below that path of keys, without the value."""
    first = error.errors(include_input=False)[0]
    told = {"missing": "missing", "value_error": str(first.get("ctx", {}).get("error"))}
    problem = told.get(first["type"], "of the wrong type, or out of range")
    name = ".".join(map(str, (*keys, *first["loc"])))
    return HallmarkError(problem, file=file, row=row, field=name or None, remedy=remedy)


class Report:
    """A JSON report, read as the types that a stage or command needs of it."""

    def __init__(self, name: str, stage: str | None = None, *, remedy: str | None = None) -> None:
        """Reads `reports/<name>.json`, which the stage of that name (or `stage`) writes; `remedy`: if no stage does."""
        self.path = REPORTS / f"{name}.json"
        self.remedy = remedy or f"run `dvc repro {stage or name}`, which makes it"
        self.content: Any = read_json(self.path, self.remedy)

    def at(self, *keys: str) -> Any:
        """The value at that path of keys."""
        value = self.content
        for depth, key in enumerate(keys, 1):
            if not isinstance(value, dict) or key not in value:
                raise HallmarkError("missing", file=self.path, field=".".join(keys[:depth]), remedy=self.remedy)
            value = value[key]
        return value

    def as_(self, kind: type[Content], *keys: str) -> Content:
        """The report, or the value at that path of keys, all that its types say checked."""
        return typed(kind, json.dumps(self.at(*keys)), self.path, self.remedy, *keys)
