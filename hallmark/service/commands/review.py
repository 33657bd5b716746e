"""The review queue as one page that a person works through with the keyboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hallmark.page.text import STYLE, UNSEEN, csp_hash, environment, read_part, to_script
from hallmark.service.collecting.queue import FOLDER, Open
from hallmark.task.task import Task

PAGE = FOLDER / "queue.html"
PARTS = Path(__file__).parent
TEMPLATE, SCRIPT, OWN_STYLE = "review.html.jinja", "review.js", "review.css"


def _row(one: Open) -> dict[str, Any]:
    logged = one.logged
    same = ("probability", "score", "route", "outcome", "reason", "version", "answer", "fallback", "shown")
    why = {"useful": one.useful, "count": one.count, "likeness": round(one.likeness, 4)}
    about = {name: getattr(logged, name) for name in same}
    return {"trace": logged.id, "day": logged.time, "input": one.text} | why | about


def page(opened: Sequence[Open], task: Task) -> str:
    """The page as one text, which loads nothing. Its script sets every text of a trace as text."""
    style = read_part(STYLE) + (PARTS / OWN_STYLE).read_text(encoding="utf-8")
    script = (PARTS / SCRIPT).read_text(encoding="utf-8")
    data = {
        "rows": [_row(one) for one in opened],
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
