"""Reading what earlier stages reported. Whatever is missing is an error that names the stage to run again."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from hallmark.base.errors import HallmarkError
from hallmark.base.files import REPORTS
from hallmark.base.reading import read_json

Content = TypeVar("Content")
Count = Annotated[int, Field(ge=0)]
Some = Annotated[int, Field(ge=1)]


def add_up(*agree: bool) -> None:
    """Refuse counts of the same records that don't agree: who runs a stage by hand may read a report that was edited."""
    if not all(agree):
        raise ValueError("counts that don't add up")


class Report:
    """A JSON report, read key by key."""

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
        """The report, or the value at that path of keys, as a dataclass or TypedDict, all that its types say checked."""
        try:
            return TypeAdapter(kind).validate_json(json.dumps(self.at(*keys)), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            told = {"missing": "missing", "value_error": str(first.get("ctx", {}).get("error"))}
            problem = told.get(first["type"], "of the wrong type, or out of range")
            name = ".".join(map(str, (*keys, *first["loc"])))
            raise HallmarkError(problem, file=self.path, field=name or None, remedy=self.remedy) from None
