"""The review queue as a table and as one page that a person works through with the keyboard."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hallmark.page.text import STYLE, UNSEEN, csp_hash, environment, read_part, spelled_out, to_script
from hallmark.service.collecting.queue import FOLDER, Open, cell
from hallmark.task.task import Task

PAGE, TABLE = FOLDER / "queue.html", FOLDER / "queue.csv"
PARTS = Path(__file__).parent
TEMPLATE, SCRIPT, OWN_STYLE = "review.html.jinja", "review.js", "review.css"
COLUMNS = (
    "trace", "useful", "count", "likeness", "probability", "score", "route", "outcome", "reason", "version", "day",
    "input", "answer", "fallback", "verdict", "target",
)  # fmt: skip


def table(opened: Sequence[Open]) -> str:
    """The queue as CSV, safe in a spreadsheet, what can't be seen spelled out; the last two columns are for the person to fill in."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for one in opened:
        row = _row(one)
        values = [row.get(name) for name in COLUMNS]
        writer.writerow(["" if value is None else cell(spelled_out(value)) for value in values])
    return text.getvalue().encode("utf-8", "backslashreplace").decode()


def _row(one: Open) -> dict[str, Any]:
    logged = one.logged
    return {
        "trace": logged.id,
        "useful": one.useful,
        "count": one.count,
        "likeness": round(one.likeness, 4),
        "probability": logged.probability,
        "score": logged.score,
        "route": logged.route,
        "outcome": logged.outcome,
        "reason": logged.reason,
        "version": logged.version,
        "day": logged.time,
        "input": one.text,
        "answer": logged.answer,
        "fallback": logged.fallback,
    }


def page(opened: Sequence[Open], task: Task) -> str:
    """The page as one text, which loads nothing. Its script sets every text of a trace as text."""
    style = read_part(STYLE) + (PARTS / OWN_STYLE).read_text(encoding="utf-8")
    script = (PARTS / SCRIPT).read_text(encoding="utf-8")
    rows = [_row(one) | {"shown": one.logged.shown} for one in opened]
    data = {
        "rows": rows,
        "json": task.is_json,
        "schema": task.schema,
        "refusal": task.refusal,
        "labels": task.labels,
        "unseen": UNSEEN,
    }
    template = environment(**{TEMPLATE: (PARTS / TEMPLATE).read_text(encoding="utf-8")}).get_template(TEMPLATE)
    return template.render(
        count=len(opened),
        style=style,
        style_hash=csp_hash(style),
        script=script,
        script_hash=csp_hash(script),
        data=to_script(data),
    )
