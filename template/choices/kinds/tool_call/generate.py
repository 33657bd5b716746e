"""Write the sample data, the same bytes each time: `python data/generate.py`.

Requests to an office assistant, and the tool calls each needs. They are as hard as real ones: different tools are offered
each time (so the right tool may be missing), two calls at once, omitted optional arguments, numbers in words, tools that
are easily confused, and requests that no tool fits (an empty list).
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

ROWS, FIRMS, SEED = 420, 36, 12
MISSING, NONE_FITS, TWO = 0.1, 0.12, 0.18  # shares of the rows
DATA = Path(__file__).resolve().parent
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday"]
ROOMS = ["aare", "birs", "emme", "limmat", "reuss", "saane", "thur", "wiese"]
CITIES = ["Basel", "Bern", "Chur", "Geneva", "Lugano", "Olten", "Sion", "Zug"]
ITEMS = ["paper", "pens", "coffee", "toner", "envelopes", "milk", "batteries"]
WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 8: "eight", 10: "ten", 12: "a dozen"}
# tool: its arguments as JSON Schema; those in OPTIONAL may be left out
TOOLS: dict[str, dict[str, Any]] = {
    "book_room": {
        "room": {"enum": ROOMS},
        "day": {"enum": DAYS},
        "hour": {"type": "integer", "minimum": 7, "maximum": 19},
    },
    "cancel_room": {"room": {"enum": ROOMS}, "day": {"enum": DAYS}},
    "find_room": {"people": {"type": "integer", "minimum": 1}, "day": {"enum": DAYS}},
    "order_items": {"item": {"enum": ITEMS}, "count": {"type": "integer", "minimum": 1}},
    "train_times": {"to": {"enum": CITIES}, "day": {"enum": DAYS}},
    "book_train": {"to": {"enum": CITIES}, "day": {"enum": DAYS}, "class": {"enum": [1, 2]}},
    "set_reminder": {"about": {"type": "string", "minLength": 1}, "day": {"enum": DAYS}},
}
DOES = {
    "book_room": "Reserve a room for a day, or for an hour of it",
    "cancel_room": "Give a reserved room back",
    "find_room": "Find a room that is large enough",
    "order_items": "Order office supplies",
    "train_times": "Look up when trains leave",
    "book_train": "Buy a train ticket",
    "set_reminder": "Remind the user of something",
}
OPTIONAL = {"book_room": ["hour"], "find_room": ["day"], "train_times": ["day"], "book_train": ["class"]}
ABOUT = ["the audit", "the rent", "the birthday card", "the fire drill", "the contract", "the fair"]
NONE = [
    "what's the weather like in {city}?", "tell me a joke about {item}", "who was in room {room} yesterday?", "is {city} nice in spring?",
    "turn the lights off on floor two", "call me a taxi to the station in {city}", "how much did we spend on {item} last year?",
    "translate \"{about}\" into French", "thanks, that was all for {day}", "play some music in room {room}",
]  # fmt: skip
OPEN = ["", "", "", "Hi, ", "please ", "could you help? ", "hey, ", "Good morning. "]
CLOSE = ["", "", "", " thanks", " Thank you!", " It's for {person}.", " Send the details to {mail}."]
PEOPLE = ["Anke Vogt", "Bilal Demir", "Carla Rossi", "Dev Patel", "Elin Berg", "Femi Ade", "Greta Lang", "Hugo Roy"]


def signature(tool: str) -> str:
    """A tool's signature in one line; `?` marks optional arguments."""
    arguments = [f"{name}{'?' if name in OPTIONAL.get(tool, []) else ''}" for name in TOOLS[tool]]
    return f"{tool}({', '.join(arguments)})"


def parameters(tool: str) -> dict[str, Any]:
    """A tool's parameters, as a JSON Schema."""
    required = [argument for argument in TOOLS[tool] if argument not in OPTIONAL.get(tool, [])]
    return {"type": "object", "required": required, "properties": TOOLS[tool]}


def function(tool: str) -> dict[str, Any]:
    """A tool in the form that chat templates and servers accept."""
    about = {"name": tool, "description": DOES[tool], "parameters": parameters(tool)}
    return {"type": "function", "function": about}


def number(count: int, draw: random.Random) -> str:
    """A number, sometimes in words."""
    return WORDS[count] if count in WORDS and draw.random() < 0.4 else str(count)


def ask(tool: str, draw: random.Random) -> tuple[str, dict[str, Any]]:
    """A request, and the arguments of the call it needs."""
    room, day, city, item, about = (draw.choice(values) for values in (ROOMS, DAYS, CITIES, ITEMS, ABOUT))
    count, hour, give = draw.choice(list(WORDS)), draw.randint(7, 19), draw.random() < 0.6
    if tool == "book_room":
        at = draw.choice([f" at {hour}", f", {hour} o'clock", f" from {hour}:00"]) if give else ""
        said = draw.choice(
            [f"book {room} for {day}{at}", f"I need room {room} on {day}{at}", f"reserve {room} {day}{at}"]
        )
        return said, {"room": room, "day": day} | ({"hour": hour} if give else {})
    if tool == "cancel_room":
        said = draw.choice(
            [f"cancel {room} on {day}", f"we don't need room {room} on {day} any more", f"free {room} {day} again"]
        )
        return said, {"room": room, "day": day}
    if tool == "find_room":
        on = f" on {day}" if give else ""
        said = draw.choice(
            ["which room takes {n} of us{on}", "find a room for {n} people{on}", "we are {n}{on}, where can we sit"]
        )
        return said.format(n=number(count, draw), on=on), {"people": count} | ({"day": day} if give else {})
    if tool == "order_items":
        said = draw.choice(["order {n} {item}", "we are out of {item}, get {n}", "{n} times {item}, please"])
        return said.format(n=number(count, draw), item=item), {"item": item, "count": count}
    if tool == "train_times":
        on = f" on {day}" if give else ""
        said = draw.choice(
            [f"when do trains go to {city}{on}", f"train times {city}{on}", f"how do I get to {city} by train{on}"]
        )
        return said, {"to": city} | ({"day": day} if give else {})
    if tool == "book_train":
        how = draw.choice([(" first class", 1), (" in second class", 2)])
        said = draw.choice([f"get me a ticket to {city} on {day}", f"book the train to {city} for {day}"]) + (
            how[0] if give else ""
        )
        return said, {"to": city, "day": day} | ({"class": how[1]} if give else {})
    said = draw.choice([f"remind me of {about} on {day}", f"on {day} I must not forget {about}, remind me"])
    return said, {"about": about, "day": day}


def rows() -> list[dict[str, Any]]:
    """All rows, in file order."""
    draw = random.Random(SEED)
    firms, sizes = [f"F-{at:02}" for at in range(1, FIRMS + 1)], [1 / (at + 3) for at in range(FIRMS)]
    made = []
    for number_of_row in range(1, ROWS + 1):
        kind, tags = draw.random(), []
        wanted: list[str] = [] if kind < NONE_FITS else draw.sample(list(TOOLS), 2 if kind < NONE_FITS + TWO else 1)
        parts = [ask(tool, draw) for tool in wanted]
        calls = [{"name": tool, "arguments": arguments} for tool, (_, arguments) in zip(wanted, parts, strict=True)]
        text = draw.choice([" and ", ", then ", ". Also, "]).join(said for said, _ in parts)
        if not wanted:
            text = draw.choice(NONE).format(
                city=draw.choice(CITIES),
                item=draw.choice(ITEMS),
                room=draw.choice(ROOMS),
                day=draw.choice(DAYS),
                about=draw.choice(ABOUT),
            )
            tags = ["none_fits"]
        elif len(wanted) == 2:
            tags = ["two_calls"]
        offered = {*wanted, *draw.sample(list(TOOLS), draw.randint(2, 4))}
        if wanted and draw.random() < MISSING:  # the right tool is not offered, so it can't be called
            missing = wanted[0]
            offered.discard(missing)
            calls = [call for call in calls if call["name"] != missing]
            tags.append("tool_missing")
        person = draw.choice(PEOPLE)
        mail = person.lower().replace(" ", ".") + "@example.net"
        text = draw.choice(OPEN) + text + draw.choice(CLOSE).format(person=person, mail=mail)
        if draw.random() < 0.2:
            text, tags = text.lower(), [*tags, "lower_case"]
        made.append({
            "id": f"R-{number_of_row:04}", "firm": draw.choices(firms, sizes)[0], "asked_by": person, "request": text,
            "offered": "\n".join(["Tools:", *(signature(tool) for tool in sorted(offered))]),
            "tools": [function(tool) for tool in sorted(offered)], "calls": calls, "tags": tags,
        })  # fmt: skip
    return made


def schema() -> dict[str, Any]:
    """A list of calls, each to one tool with that tool's arguments; a call's keys are in the order of `properties`."""
    options = []
    for name in TOOLS:
        inner = {"type": "object", "additionalProperties": False} | parameters(name)
        options.append({"properties": {"name": {"const": name}, "arguments": inner}})
    call = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "arguments"],
        "properties": {"name": {"enum": list(TOOLS)}, "arguments": {"type": "object"}},
        "oneOf": options,
    }
    return {"type": "array", "maxItems": 2, "items": call}


if __name__ == "__main__":
    made = rows()
    (DATA / "raw").mkdir(exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
    (DATA / "raw/requests.jsonl").write_text(lines, encoding="utf-8", newline="\n")
    (DATA / "schema.json").write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8", newline="\n")
    print(f"{len(made)} requests of {len({row['firm'] for row in made})} firms, {len(TOOLS)} tools")
