"""The queue for people: what nobody has judged, the most useful first, and what they say of it.

Each answer has three shares from 0 to 1, which are its ranks among all in the queue: how unsure the model was (by the
cascade's probability, else by its score; an answer without either counts as the least sure), how unlike every training
record the request is (one minus the highest TF-IDF cosine), and how often much the same was asked (the size of its cluster of
near duplicates). Their mean is the order, in which the first counts as much as the others together. Of a cluster, only the
least sure is shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from hallmark.answer.nearest import nearest
from hallmark.base.errors import HallmarkError
from hallmark.base.params import Dedupe
from hallmark.base.reading import read_json_lines
from hallmark.corpus.near import near_pairs
from hallmark.corpus.texts import Texts, normalise
from hallmark.service.collecting.logged import Logged
from hallmark.task.task import Task

if TYPE_CHECKING:
    import polars as pl

FOLDER = Path("data/review")
REVIEWED = FOLDER / "reviewed.jsonl"
Word = Literal["accepted", "corrected", "dropped"]


@dataclass(frozen=True)
class Open:
    """A request that waits for a person: the masked text that was asked, and why it is where it is in the queue."""

    logged: Logged
    text: str
    likeness: float  # of the training record that is most like it
    count: int  # requests that are much the same
    useful: float


def queue(waiting: Sequence[tuple[Logged, str]], trained: Sequence[str], settings: Dedupe) -> list[Open]:
    """All that waits, one of each cluster, the most useful first."""
    import polars as pl

    if not waiting:
        return []
    texts, places = Texts.kept([normalise(pl.Series([text for _, text in waiting], dtype=pl.String))])
    pairs = near_pairs(texts, settings, Path("data/traces"), stage="collect")
    requests = pl.DataFrame(
        {
            "cluster": pairs.cluster[places],
            "sure": _sure([logged for logged, _ in waiting]),
            "name": [logged.name.encode("utf-8", "surrogatepass") for logged, _ in waiting],
        }
    ).with_row_index("number")
    requests = requests.with_columns(count=pl.len().over("cluster"))
    shown = requests.sort("sure", "name").unique("cluster", keep="first", maintain_order=True)
    asked = [waiting[number][1] for number in shown["number"]]
    found = (nearest(trained, asked, 1) if trained else None) or [[]] * len(asked)
    shown = shown.with_columns(likeness=pl.Series([best[0][1] if best else 0.0 for best in found], dtype=pl.Float64))
    useful = _rank("sure", down=True) / 2 + _rank("likeness", down=True) / 4 + _rank("count", down=False) / 4
    shown = shown.with_columns(useful=useful.round(6)).sort("useful", "name", descending=[True, False])
    return [
        Open(logged=logged, text=text, likeness=row["likeness"], count=row["count"], useful=row["useful"])
        for row in shown.iter_rows(named=True)
        for logged, text in [waiting[row["number"]]]
    ]


def _sure(waiting: Sequence[Logged]) -> list[float]:
    """How sure the model was, by the one number that all have who have any; only the order counts."""
    calibrated = any(logged.probability is not None for logged in waiting)
    numbers = [logged.probability if calibrated else logged.score for logged in waiting]
    return [float("-inf") if number is None else number for number in numbers]


def _rank(column: str, *, down: bool) -> pl.Expr:
    """The share of the others that each value is above, equal ones counted half: from 0 to 1, and 0.5 if all are equal."""
    import polars as pl

    rank = pl.col(column).rank("average", descending=down)
    return pl.when(pl.len() > 1).then((rank - 1) / (pl.len() - 1)).otherwise(0.5)


class Reviewed(BaseModel):
    """What was said of an answer. `trace`: the id that its record has or would have; `target`: only if corrected."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    trace: Annotated[str, StringConstraints(pattern=r"^trace:.{1,94}$")]
    verdict: Word
    target: str | None = None


def read_reviewed(path: Path, task: Task, most: int) -> dict[str, Reviewed]:
    """What was said, by trace; the last word on each counts. `most`: characters of the longest answer."""
    said: dict[str, Reviewed] = {}
    for number, row in enumerate(read_json_lines(path, "save it again from the page"), 1):
        field, problem = None, None
        try:
            one = Reviewed.model_validate(row)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field, problem = (
                ".".join(map(str, first["loc"])) if first["type"] != "extra_forbidden" else None,
                first["msg"],
            )
        else:
            field = "target"
            if (one.verdict == "corrected") != bool(one.target and one.target.strip()):
                problem = "an answer comes with the verdict corrected, and with no other"
            elif one.target and len(one.target) > most:
                problem = f"longer than mask.max_chars ({most} characters)"
            elif one.target and (parsed := task.parse(one.target)).kind == "invalid":
                problem = f"the answer breaks {task.schema_file}: {parsed.problem}"
        if problem:
            remedy = "correct it on the page, and save the file again"
            raise HallmarkError(problem, file=path, row=number, field=field, remedy=remedy)
        said[one.trace] = one
    return said


def lines_of(said: dict[str, Reviewed]) -> bytes:
    lines = [json.dumps(said[trace].model_dump(), ensure_ascii=False, sort_keys=True) + "\n" for trace in sorted(said)]
    return "".join(lines).encode("utf-8", "backslashreplace")
