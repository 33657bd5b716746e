"""The page that the demo leaves: its steps with their commands, the calls of each phase, and the figures of each version."""

from __future__ import annotations

from html import escape

from tests.demo.loop import Played, Size

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .3rem .8rem; border-bottom: 1px solid #d5dae1;
text-align: left; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: #f4f6f8; padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; } summary { cursor: pointer; }
"""
MEASURES = ("exact_match", "field_f1", "schema_validity")


def render(played: Played, size: Size, seconds: float) -> str:
    """The whole page; it loads nothing."""
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>The service loop, played</title>",
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<style>{STYLE}</style><h1>The service loop, played</h1>",
        f"<p>{size.rows} tickets of {size.customers} customers to start with, {size.callers} new customers who call, "
        f"{seconds / 60:.1f} minutes. Everything is made up by the reference's generator; feedback comes from the known "
        "answers. Every step is the command that is shown.</p>",
        "<h2>The releases, on their own holdout</h2>",
        table(
            ["version", *MEASURES], [[version, *map(rate, figures(found))] for version, found in played.metrics.items()]
        ),
        "<h2>The calls</h2>",
        table(
            ["phase", "calls", "failed", "for a person", "right, by version", "seconds"],
            [
                [it.title, it.calls, it.failed, it.review, right(it.answered, it.right), it.seconds]
                for it in played.phases
            ],
        ),
        "<h2>The steps</h2>",
        *(
            f"<h3>{number}. {escape(step.title)}</h3><pre>{escape(step.command)}</pre><p>{step.seconds} s</p>"
            f"<details open><summary>what it said</summary><pre>{escape(last(step.said))}</pre></details>"
            for number, step in enumerate(played.steps, 1)
        ),
    ]
    return "\n".join(parts) + "\n"


def figures(found: dict[str, object]) -> list[object]:
    """The measures of a version."""
    return [found.get(name) for name in MEASURES]


def rate(value: object) -> str:
    """A share in percent."""
    return f"{100 * value:.1f} %" if isinstance(value, float | int) else "-"


def right(answered: dict[str, int], correct: dict[str, int]) -> str:
    """How many answers of each version were right."""
    return "; ".join(f"{version}: {correct.get(version, 0)} of {n}" for version, n in sorted(answered.items()))


def last(said: str, lines: int = 40) -> str:
    """The end of what a command said."""
    return "\n".join(said.splitlines()[-lines:])


def table(head: list[str], rows: list[list[object]]) -> str:
    """An HTML table."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td{' class=n' if isinstance(cell, int | float) else ''}>{escape(str(cell))}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )  # fmt: skip
    return f"<table><tr>{cells}</tr>{body}</table>"
