"""Traces and feedback as lines of JSON, read back as if a stranger had written them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from hallmark.base.errors import HallmarkError
from hallmark.service.traces.trace import Feedback, Trace

LINE_BYTES = 2**23  # of the longest line that is read
Kind = TypeVar("Kind", Trace, Feedback)


def line_of(entry: Trace | Feedback) -> bytes:
    """One line, with its line break. Half a surrogate pair, which UTF-8 can't hold, stays an escape."""
    content = asdict(entry) | {"time": entry.time.isoformat(timespec="milliseconds")}
    return json.dumps(content, sort_keys=True).encode() + b"\n"


@cache
def _reader(kind: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    return TypeAdapter(with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))(kind))


def read_lines(path: Path, kind: type[Kind]) -> Iterator[Kind]:
    """The entries in a file. A line without its end is one that is being written, or was when its writer died: it is left out.

    Any other line that is no entry is a HallmarkError, which quotes nothing of it.
    """
    from pydantic import ValidationError

    number, hashable = 0, cast("Any", kind)  # mypy takes a dataclass for one that has no hash
    reader = _reader(hashable)
    with path.open("rb") as file:
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            if not line.endswith(b"\n"):
                if len(line) <= LINE_BYTES:
                    return
                raise HallmarkError(
                    f"a line of over {LINE_BYTES} bytes", file=path, row=number, remedy="remove the line"
                )
            try:
                entry: Kind = reader.validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False, include_context=False, include_input=False)[0]
                field = ".".join(map(str, first["loc"])) or None
                raise HallmarkError(
                    first["msg"].lower(), file=path, row=number, field=field, remedy="remove the line, or the file"
                ) from None
            yield entry
