"""The last check for private data: what git or a remote takes of the data is read once more before it is released."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hallmark.base.document import strings
from hallmark.base.errors import HallmarkError
from hallmark.base.reading import REMADE, NotJsonError, read_json, read_json_lines, read_text, strict_json
from hallmark.task.predictions import predictions_of

if TYPE_CHECKING:
    from hallmark.mask.params import Mask

DATA = re.compile(r'<script type="application/json"[^>]*>(.*?)</script>', re.DOTALL)


def private_data(files: list[Path], made_up: Literal["error", "count"], mask: Mask) -> dict[str, int]:
    """Repeat the independent check of `mask` on reports, pages, curves and the holdout lock; count what answers hold.

    `mask` checked the prompts, so what only an answer holds was made up by the model: for the tuned model that is an error
    or a count, as `made_up` says; for the base it does not concern the release. Elsewhere it is an error. What `mask` lets
    through stays.
    """
    from hallmark.mask.leftover import proves
    from hallmark.mask.second_check import in_words, residue

    proven = proves(mask)
    made_up_kinds: Counter[str] = Counter()
    for file in files:
        for number, row in enumerate(_rows(file), 1):
            given, answer = row, ""
            read: Callable[..., list[str]] = in_words  # a word in a report is a name: most often of a record
            if file.name == "predictions.jsonl":  # the rest are scores, and parts of the answer
                read = residue
                given, answer = [row.get(name) for name in ("input", "context", "target")], row.get("prediction")
                if not isinstance(answer, str):
                    raise HallmarkError("not a text", file=file, row=number, field="prediction", remedy=REMADE)
            kinds = {kind for text in strings(given, keys=True) for kind in proven(text, read)}
            in_answer = proven(answer, residue) if file == predictions_of("tuned") else set()
            if kinds or (in_answer and made_up == "error"):
                raise HallmarkError(
                    f"holds what looks like private data ({', '.join(sorted(kinds or in_answer))})",
                    file=file,
                    row=number if file.suffix not in (".json", ".html") else None,
                    field=None if kinds else "prediction",
                    remedy="add a mask rule for it, and run `dvc repro`"
                    + ("" if kinds else "; or set certify.private_data to count, if it is the model's invention"),
                )
            made_up_kinds.update(in_answer)
    return dict(made_up_kinds)


def _rows(file: Path) -> list[Any]:
    if file.suffix == ".json":
        return [read_json(file)]
    if file.suffix == ".jsonl":
        return list(read_json_lines(file))
    if file.suffix == ".html":
        return [_texts_of_page(file)]
    return [line.split(",") for line in read_text(file).splitlines()]  # a curve


def _texts_of_page(file: Path) -> list[Any]:
    """The texts between a page's tags, and what its JSON has of the records, without the answers and parts of them."""
    page = read_text(file)

    def given(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: given(item) for key, item in value.items() if key not in ("models", "fields")}
        return [given(item) for item in value] if isinstance(value, list) else value

    shown = re.sub(r"<(script|style|svg)\b.*?</\1>", "", DATA.sub("", page), flags=re.DOTALL)
    try:
        islands = [given(strict_json(island)) for island in DATA.findall(page)]
    except NotJsonError:
        raise HallmarkError("holds data that is not JSON", file=file, remedy=REMADE) from None
    return [*islands, "\n\n".join(re.split(r"<[^>]*>", shown))]
