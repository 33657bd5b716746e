"""What a person said on the review page (or in the queue's CSV): read strictly, and kept from one collection to the next."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, cast, get_args

from hallmark.base.errors import HallmarkError
from hallmark.base.rows import only_texts, read_rows
from hallmark.task.task import Task

FOLDER = Path("data/review")
REVIEWED = FOLDER / "reviewed.jsonl"
Word = Literal["accepted", "corrected", "dropped"]
KEYS = {"trace", "verdict", "target"}
FORMULA = (
    *"=+-@",
    *"\uff1d\uff0b\uff0d\uff20",
    "\t",
    "\r",
    "\n",
)  # how a cell begins that a spreadsheet takes for a formula
REMEDY = "save the file from the page again"


@dataclass(frozen=True)
class Reviewed:
    """What a person said of one answer."""

    trace: str  # the id that its record has or would have
    verdict: Word
    target: str | None  # only if corrected


def read_reviewed(path: Path, task: Task, most: int) -> dict[str, Reviewed]:
    """What was said, by trace; the last word on each counts. `most`: characters of the longest answer."""
    said: dict[str, Reviewed] = {}
    table = only_texts(path)
    for number, row in read_rows(path):
        if table:  # the queue's CSV, with the last two columns filled in where somebody judged
            row = {key: row.get(key) for key in KEYS}
            if row["verdict"] is None:
                continue
            row["target"] = _plain(row["target"])
        one = _checked(row, path, number, task, most)
        said[one.trace] = one
    return said


def _checked(row: dict[str, Any], path: Path, number: int, task: Task, most: int) -> Reviewed:
    def fail(problem: str, field: str | None, remedy: str = REMEDY) -> NoReturn:
        raise HallmarkError(problem, file=path, row=number, field=field, remedy=remedy)

    if row.keys() - KEYS:
        fail("has other keys than trace, verdict and target", None)
    trace, verdict, target = (row.get(key) for key in ("trace", "verdict", "target"))
    if not isinstance(trace, str) or not trace.startswith("trace:") or len(trace) > 100:
        fail("not the name of a trace", "trace")
    if verdict not in get_args(Word):
        fail(f"not one of {', '.join(get_args(Word))}", "verdict")
    if verdict != "corrected":
        if target is not None and not (isinstance(target, str) and verdict != "corrected" and not target):
            fail("an answer, though the verdict is not corrected", "target")
        return Reviewed(trace, cast("Word", verdict), None)
    if not isinstance(target, str) or not target.strip():
        fail("no answer, though the verdict is corrected", "target")
    if len(target) > most:
        fail(f"longer than mask.max_chars ({most} characters)", "target", "shorten it")
    parsed = task.parse(target)
    if parsed.kind == "invalid":
        fail(
            f"the answer breaks {task.schema_file}: {parsed.problem}",
            "target",
            "correct it on the page, and save again",
        )
    return Reviewed(trace, "corrected", target)


def lines_of(said: dict[str, Reviewed]) -> bytes:
    """The file that keeps what was said."""
    lines = [json.dumps(asdict(said[trace]), ensure_ascii=False, sort_keys=True) + "\n" for trace in sorted(said)]
    return "".join(lines).encode("utf-8", "backslashreplace")


def cell(value: Any) -> Any:
    """A value of the queue's CSV that no spreadsheet runs as a formula: with a quote before it, which shows a text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _plain(value: Any) -> Any:
    """The value of a cell."""
    return value[1:] if isinstance(value, str) and value[:1] == "'" and value[1:].startswith(FORMULA) else value
