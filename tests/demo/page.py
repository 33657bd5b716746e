"""The page that the demo leaves: what happened in a few sentences, a line of time, tables, and all that was said, folded."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from html import escape

from tests.demo.loop import Played, Size
from tests.demo.tickets import LATER

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
table { border-collapse: collapse; display: block; overflow-x: auto; } td, th { padding: .3rem .8rem .3rem 0; vertical-align: top;
border-bottom: 1px solid #d5dae1; text-align: left; font-variant-numeric: tabular-nums; } svg { width: 100%; }
.lead { font-size: 1.15rem; } .bad { border-left: 4px solid #c8452f; padding-left: .7rem; } summary { cursor: pointer; }
pre { background: #f4f6f8; padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
"""
WHAT = """A small model reads support tickets, and says what the customer wants and how urgent it is. It goes into service, learns
from people's corrections, and is released again; then a bad release has to be taken back."""
REAL = """the commands, the model (SmolLM2-135M) and its trainings, the gateway and its model servers, the registry, and the
verdicts on canaries, which are computed as for any canary."""
PLAYED = """the tickets are made up. The first {rows} have none about {later}; a third of what callers ask is. Whoever judges an
answer knows the right one, and a fifth of the answers is judged by nobody. v0.3.0 is bad on purpose: its training was stopped
after two steps, and the gate's refusal was waived. A canary has minutes here, and weeks in life; with so few customers, it may
be 15 points worse. An answer that breaks the schema does not go out: the call is left for a person."""
COLOURS = ("#4c78a8", "#2a9d8f", "#8e5572")  # of the versions, in order
BECAME = {"right": "#5aa469", "wrong": "#d9694f", "for a person": "#c9a227", "failed": "#3b3b3b"}
LEFT, WIDTH, BIN = 80, 920, 8.0  # of the line of time, in its own units
ENDS = {"promote": "its verdict promoted it", "roll_back": "its verdict took it out", "too_little_data": "undecided"}
BAD = "v0.3.0"
WANTED = {"v0.2.0": ENDS["promote"], BAD: ENDS["roll_back"]}


def render(played: Played, size: Size) -> str:
    """The whole page; it loads nothing, but itself again while the demo runs."""
    ended, _, error = (played.ended or f"Still running: {played.now}").partition("\n")
    phases: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in played.answers:
        phases[one.phase, one.version or "nobody"].update([one.became, one.judged or "not judged"])
    said = (*BECAME, "corrected", "accepted", "not judged")
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>The service loop, played</title>",
        "" if played.ended else "<meta http-equiv='refresh' content='5'>",
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<style>{STYLE}</style><h1>The service loop, played in {played.seconds / 60:.0f} minutes</h1>",
        f"<p class=lead><b>{escape(verdict(played) if ended == 'done' else ended)}</b></p><p>{WHAT}</p>",
        *(f"<p class=lead>{escape(sentence)}</p>" for sentence in story(played)),
        folded("The error", error, " class=bad") if error else "",
        f"<h2>Who answered when, and what became of the calls</h2>{line_of_time(played)}",
        f"<p><b>Real:</b> {REAL} <b>Played:</b> {PLAYED.format(rows=size.rows, later=' or '.join(sorted(LATER)))}</p>",
        "<h2>The releases</h2>" + table("version, right on its holdout, the gate, what became of it", releases(played)),
        "<h2>The calls</h2>",
        table(", ".join(("calls", "answered by", *said)), ((*of, *(found[name] for name in said)) for of, found in phases.items())),
        "<h2>Step by step</h2>" + table("at, seconds, what, what came of it", ((clock(it.at), it.seconds, it.title, it.outcome) for it in played.steps)),
        "<h2>All that was said</h2>",
        *(folded(f"{clock(step.at)} {step.title}", f"$ {step.command}\n{step.said}") for step in played.steps),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def verdict(played: Played) -> str:
    """Whether each canary came to the end that it was made for."""
    found = {version: ENDS[end] for version, (end, _) in played.verdicts.items()}
    if found == WANTED:
        return "As it should be: v0.2.0 was promoted by its verdict as a canary, and v0.3.0, planted as bad, taken out by its own."
    wrong = [f"{version}: {found.get(version)}" for version, end in WANTED.items() if found.get(version) != end]
    return f"Not as it should be: {'; '.join(wrong)}."


def folded(title: str, text: str, more: str = "") -> str:
    return f"<details{more}><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def story(played: Played) -> Iterator[str]:
    """A sentence for each release, of what has happened until now."""

    def right(phase: str, version: str) -> str:
        mine = [one.became == "right" for one in played.answers if (one.phase, one.version) == (phase, version)]
        return f"{100 * sum(mine) / max(len(mine), 1):.0f} % of {len(mine)}"

    if played.answers:
        learned = f"; {played.collected} of them, judged by people, became training data" if played.collected else ""
        yield f"v0.1.0 got {right('New customers, first release', 'v0.1.0')} answers to new customers right{learned}."
    back = (
        f"; put into prod all the same, it was rolled back, and v0.2.0 got {right('After going back', 'v0.2.0')} right"
    )
    for phase, new, old, what, then in (
        ("A canary", "v0.2.0", "v0.1.0", "learned from that", ""),
        (
            "A bad canary",
            "v0.3.0",
            "v0.2.0",
            "is bad on purpose",
            back if any(one.phase == "After going back" for one in played.answers) else "",
        ),
    ):
        if new in played.verdicts:
            verdict, seconds = played.verdicts[new]
            got = f"as a canary it got {right(phase, new)} right, and {old} {right(phase, old)}"
            yield f"{new} {what}: {got}; after {seconds:.0f} s {ENDS[verdict]}{then}."


def releases(played: Played) -> Iterator[tuple[object, ...]]:
    for version, (right, failed) in played.releases.items():
        mine = [stay for stay in sorted(stays(played)) if stay[3] == version]
        lived = [f"{side} {clock(at)} to {clock(end)}" for at, end, side, _ in mine]
        if version in played.verdicts:
            lived.insert(1, ENDS[played.verdicts[version][0]])
        gate = f"refused: {', '.join(failed)}; waived" if failed else "passed"
        yield version + ", planted as bad" * (version == BAD), f"{100 * right:.0f} %", gate, "; ".join(lived)


def stays(played: Played) -> Iterator[tuple[float, float, str, str]]:
    """(from, until, side, version) for each time that a version was prod or canary."""
    for side in ("prod", "canary"):
        mine = [(at, who) for at, which, who in played.sides if which == side]
        ends = [*(at for at, _ in mine[1:]), played.seconds]
        yield from ((at, end, side, who) for (at, who), end in zip(mine, ends, strict=False) if who)


def line_of_time(played: Played) -> str:
    """A picture: trainings, who was prod and canary, and the calls in columns, by what became of them."""
    whole = max(played.seconds, 1.0)
    colours = dict(zip(played.releases, COLOURS, strict=False))
    bars = [(0, it.at, it.at + it.seconds, "#9aa3ad", "training") for it in played.steps if it.command == "dvc repro"]
    at_y = {"prod": 30, "canary": 60}
    bars += [(at_y[side], at, end, colours.get(who, "#777"), who) for at, end, side, who in stays(played)]
    parts = [f"<svg viewBox='0 0 {LEFT + WIDTH} 210' font-size='13'>"]

    def rect(x: float, y: float, width: float, height: float, colour: str) -> None:
        parts.append(f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}' fill='{colour}'/>")

    def text(x: float, y: float, words: object, colour: str = "#1c2430") -> None:
        parts.append(f"<text x='{x:.1f}' y='{y}' fill='{colour}'>{words}</text>")

    for minute in range(int(whole // 60) + 1):
        rect(x := LEFT + WIDTH * 60 * minute / whole, 0, 1, 186, "#e3e7ec")
        text(x, 202, minute)
    for y, name in ((16, "training"), (46, "prod"), (76, "canary"), (150, "calls"), (202, "minutes")):
        text(0, y, name)
    for y, at, end, colour, name in bars:
        rect(x := LEFT + WIDTH * at / whole, y, width := WIDTH * (end - at) / whole, 22, colour)
        text(x + 4, y + 16, name if width > 6 * len(name) else "", "#fff")
    columns = Counter((int(WIDTH * one.at / whole / BIN), one.became) for one in played.answers)
    totals = Counter(int(WIDTH * one.at / whole / BIN) for one in played.answers)
    for column in totals:
        top = 180.0
        for became, colour in BECAME.items():
            top -= (height := 86 * columns[column, became] / max(totals.values()))
            rect(LEFT + column * BIN, top, BIN - 1, height, colour)
    legend = "".join(f"<span style='color:{colour}'>&#9632;</span> {name} &nbsp; " for name, colour in BECAME.items())
    return f"{''.join(parts)}</svg><p>{legend} (one column: {BIN / WIDTH * whole:.0f} seconds)</p>"


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


def table(head: str, rows: Iterator[tuple[object, ...]]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head.split(", "))
    lines = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    return f"<table><tr>{names}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
