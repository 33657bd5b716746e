"""The kinds of logs that can be collected, told from each other by their first row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import is_folder
from hallmark.base.rows import read_rows
from hallmark.service.collecting.gateway_log import own_traces
from hallmark.service.collecting.langfuse import is_langfuse, langfuse
from hallmark.service.collecting.logged import Logged
from hallmark.service.collecting.openai_log import is_openai, openai_log
from hallmark.service.collecting.otel import is_otel, otel
from hallmark.service.collecting.scored import Scores

Reader = Callable[[Path, Scores, Counter[str]], Iterator[Logged]]
READERS: dict[str, tuple[Callable[[dict[str, Any]], bool], Reader]] = {
    "otel": (is_otel, otel),
    "openai": (is_openai, openai_log),
    "langfuse": (is_langfuse, langfuse),
}
OWN = "hallmark"
FORMATS = (OWN, *READERS)


def read_log(
    path: Path, form: str | None, since: datetime | None, scores: Scores, left: Counter[str]
) -> tuple[str, list[Logged]]:
    """The form of a log, and the requests in it, each once; those with nothing to read are counted in `left`."""
    form = form or _guessed(path)
    if form == OWN:
        if path.exists() and not is_folder(path):
            raise HallmarkError("not a folder of traces", file=path, remedy="name the folder, such as data/traces")
        found = own_traces(path, since, left)
    else:
        found = READERS[form][1](path, scores, left)
    once = {logged.name: logged for logged in found}
    day = "" if since is None or form == OWN else f"{since:%Y-%m-%d}"
    return form, [logged for logged in once.values() if not logged.time or logged.time >= day]


def _guessed(path: Path) -> str:
    if is_folder(path) and any(path.glob("[0-9]*-[0-9]*-[0-9]*")):
        return OWN
    first = next(read_rows(path), None)
    if first is None:
        raise HallmarkError("has no rows", file=path, remedy="export the log again")
    number, row = first
    for form, (fits, _) in READERS.items():
        if fits(row):
            return form
    raise HallmarkError(
        "not a row of a log that is known here", file=path, row=number, remedy=f"say which it is: --format {'|'.join(FORMATS)}"
    )  # fmt: skip
