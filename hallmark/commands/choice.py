"""The bases that were tried and what came of each: reports/choose.json, the table in the terminal, reports/choose.html."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hallmark.base.errors import printable
from hallmark.base.files import REPORTS, write_json, write_text
from hallmark.commands.candidates import GIB, Exclusion, Facts
from hallmark.commands.experiments import Run
from hallmark.judge.verdict import SHIPS, VERDICTS
from hallmark.page.text import STYLE, csp_hash, environment, read_part

REPORT, PAGE = REPORTS / "choose.json", REPORTS / "choose.html"
TEMPLATE = Path(__file__).with_name("choose.html.jinja")
UNKNOWN = "-"
HEADER = ("", "size", "tokens", "memory", "minutes", "right", "p95", "1,000 right", "verdict")


@dataclass
class Row:
    """A base and how far it came: `excluded` by a limit, before its run or after it, or `error`, why its run failed."""

    facts: Facts
    excluded: Exclusion | None = None
    run: Run | None = None
    error: str | None = None
    price_per_1000_right: float | None = None

    @property
    def passes(self) -> bool:
        """Whether it ran, the gate lets it ship, and no limit excludes it."""
        return self.run is not None and self.run.verdict in SHIPS and self.excluded is None

    @property
    def verdict(self) -> str:
        """What came of it, in two words or so."""
        if self.run:
            return VERDICTS[self.run.verdict] + (f", but {self.excluded.constraint}" if self.excluded else "")
        if self.error:
            return "Run failed"
        return f"Excluded: {self.excluded.constraint}" if self.excluded else "Not run"

    @property
    def tone(self) -> str:
        """The class of the verdict in the page's style: as the gate's, or grey if it did not run."""
        if self.run and not self.excluded:
            return self.run.verdict
        return "fail" if self.run or self.error else "not_applicable"

    @property
    def why(self) -> str:
        """Why it is not the one, or what the gate says; empty if there is nothing to say."""
        if self.excluded:
            return self.excluded.reason
        return self.error or (self.run.words if self.run else "")


@dataclass(frozen=True)
class Limits:
    """The hard limits, and the price of an hour of the machine; None: no limit, or not stated."""

    licences: list[str] | None
    memory_gib: float | None
    latency_p95_s: float | None
    price_per_1000_right: float | None
    price_per_hour: float | None


@dataclass
class Choice:
    """All bases in the order of params.yaml, and the name of the first that passes."""

    rows: list[Row]
    limits: Limits
    everything: bool  # whether those after the first that passes ran too
    dry: bool
    records: int
    warnings: list[str] = field(default_factory=list)

    @property
    def chosen(self) -> Row | None:
        """The first base that passes."""
        return next((row for row in self.rows if row.passes), None)

    @property
    def headline(self) -> str:
        """The outcome in a sentence."""
        if self.chosen and self.chosen.run:
            return f"{self.chosen.facts.name} is the smallest base that will do."
        left = sum(row.excluded is None for row in self.rows)
        if self.dry:
            return f"{left} of {len(self.rows)} bases would run, smallest first."
        return "No base passes."


def price_of(run: Run, price_per_hour: float | None) -> float | None:
    """What 1,000 right answers cost at the benchmark's throughput; None if no price is stated, or none was right."""
    if price_per_hour is None or not run.requests_per_second or not run.right:
        return None
    return 1000 * price_per_hour / 3600 / run.requests_per_second / run.right


def over_limit(row: Row, limits: Limits) -> Exclusion | None:
    """The limit that a measured base breaks. What was not measured can't be within it."""
    if row.run is None:
        return None
    p95, most = row.run.latency_p95_s, limits.latency_p95_s
    if most is not None and (p95 is None or p95 > most):
        return Exclusion("latency", f"p95 {seconds(p95)}; choose.latency_p95_s allows {seconds(most)}")
    price, most = row.price_per_1000_right, limits.price_per_1000_right
    if most is not None and (price is None or price > most):
        words = f"1,000 right answers cost {money(price)}; choose.price_per_1000_right allows {money(most)}"
        return Exclusion("price", words)
    return None


def size(parameters: int | None) -> str:
    """`135 M` or `3.2 B` parameters."""
    if parameters is None:
        return UNKNOWN
    billions = parameters / 1e9
    return f"{billions:.1f} B" if billions >= 1 else f"{parameters / 1e6:.3g} M"


def seconds(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f} s"


def money(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2g}" if value < 1 else f"{value:,.2f}"


def gib(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value / GIB:.1f} GiB"


def cells(row: Row) -> tuple[str, ...]:
    """The row of the table, in the order of `HEADER`."""
    facts, run = row.facts, row.run
    measure = run.measure if run else None
    return (
        facts.name,
        size(facts.parameters),
        UNKNOWN if facts.tokens is None else f"{facts.tokens:.0f}",
        gib(facts.memory.most[1]) if facts.memory else UNKNOWN,
        minutes(row),
        f"{100 * measure.value:.1f} % [{100 * measure.low:.1f}, {100 * measure.high:.1f}]" if measure else UNKNOWN,
        seconds(run.latency_p95_s) if run else UNKNOWN,
        money(row.price_per_1000_right),
        row.verdict,
    )


def minutes(row: Row) -> str:
    """Minutes of training and evaluation: measured, or `~` and what is expected."""
    if row.run:
        return f"{row.run.minutes:.1f}"
    return UNKNOWN if row.facts.planned_minutes is None else f"~{row.facts.planned_minutes:.1f}"


def known(facts: Facts) -> list[tuple[str, str]]:
    """What else is known of a base before it runs, as (what, how it is)."""
    yes = {True: "yes", False: "no", None: "not known"}
    lines = [("Licence", facts.licence), ("Source", facts.source), ("Gated", yes[facts.gated])]
    if facts.chat_template is not None:
        lines.append(("Chat template", yes[facts.chat_template]))
        lines.append(("Context", f"{facts.context:,} tokens" if facts.context else "not stated"))
    if facts.longest is not None:
        lines.append(("Longest record", f"{facts.longest:,} tokens"))
    if facts.nf4 is not None:
        leaves = f", not {', '.join(facts.nf4_leaves)}" if facts.nf4_leaves else ""
        lines.append(("In 4 bits", f"{100 * facts.nf4:.0f} % of its layers' weights{leaves}"))
    if memory := facts.memory:
        parts = f"training {gib(memory.training)}, evaluation {gib(memory.evaluation)}, serving {gib(memory.serving)}"
        lines.append(("Memory", f"{parts}: {memory.basis}"))
    return lines


def table(choice: Choice) -> list[str]:
    """The table in lines for a terminal; below each row why it is not the one."""
    rows = [HEADER, *(tuple(map(printable, cells(row))) for row in choice.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]

    def line(row: Sequence[str]) -> str:
        texts = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)),
        ]
        return "  ".join(["", *texts, row[-1]]).rstrip()

    lines = [line(HEADER)]
    for row, shown in zip(choice.rows, rows[1:], strict=True):
        lines.append(line(shown))
        said = [row.why] if row.why and not row.passes else []
        lines += [f"      {printable(text)}" for text in [*said, *row.facts.notes]]
    return lines


def content(choice: Choice) -> dict[str, Any]:
    """reports/choose.json."""
    bases = [
        asdict(row) | {"verdict": row.verdict, "why": row.why, "passes": row.passes, "number": number}
        for number, row in enumerate(choice.rows, 1)
    ]
    return {
        "bases": bases,
        "chosen": choice.chosen.facts.name if choice.chosen else None,
        "headline": choice.headline,
        "all": choice.everything,
        "limits": asdict(choice.limits),
        "records": choice.records,
        "warnings": choice.warnings,
    }


def page(choice: Choice) -> str:
    """reports/choose.html as one text, which loads nothing and has no script."""
    style = read_part(STYLE)
    template = environment(**{TEMPLATE.name: TEMPLATE.read_text(encoding="utf-8")}).get_template(TEMPLATE.name)
    limits = choice.limits
    asked = [
        ("Licences", ", ".join(limits.licences) if limits.licences is not None else "any"),
        ("Memory", f"{limits.memory_gib:g} GiB" if limits.memory_gib else "what the machine has"),
        ("Latency p95", seconds(limits.latency_p95_s) if limits.latency_p95_s else "as the gate asks"),
        ("1,000 right", money(limits.price_per_1000_right) if limits.price_per_1000_right else "any price"),
        ("Price per hour", money(limits.price_per_hour) if limits.price_per_hour is not None else "not stated"),
    ]
    rows = [
        {"row": row, "cells": cells(row), "known": known(row.facts), "tone": row.tone, "chosen": row is choice.chosen}
        for row in choice.rows
    ]
    measure = next((row.run.measure.words for row in choice.rows if row.run), "Right")
    return template.render(
        choice=choice, rows=rows, asked=asked, measure=measure, style=style, style_hash=csp_hash(style)
    )


def write(choice: Choice) -> None:
    """Write report and page."""
    write_json(REPORT, content(choice))
    write_text(PAGE, page(choice))
