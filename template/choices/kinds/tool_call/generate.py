"""Write the sample data, the same bytes each time: `python data/generate.py`.

Requests to an office assistant, and the tool calls that each needs. Words give away which tools a request mentions, but
not which to call: often one is called off, has been used already, or is somebody else's job. Different tools are offered
each time, so the right one may be missing. Some requests need two calls, some none (an empty list). Optional arguments
may be left out, numbers are in words, and people correct themselves (`monday, sorry, tuesday`).
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

ROWS, FIRMS, SEED = 950, 140, 12
NONE_FITS, TWO, ASIDE, CALLED_OFF, MISSING = 0.1, 0.14, 0.3, 0.06, 0.1  # shares of the rows, by what makes them hard
CORRECTED = 0.12  # share of the values that people correct as they write
DATA = Path(__file__).resolve().parent
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday"]
ROOMS = ["aare", "birs", "emme", "limmat", "reuss", "saane", "thur", "wiese"]
CITIES = ["Basel", "Bern", "Chur", "Geneva", "Lugano", "Olten", "Sion", "Zug"]
ITEMS = ["paper", "pens", "coffee", "tea", "envelopes", "milk", "batteries"]
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
ABOUT = [
    "the audit",
    "the rent",
    "the birthday card",
    "the fire drill",
    "the contract",
    "the trade fair",
    "the tax return",
]
NONE = [
    "what's the weather like in {city}?", "tell me a joke about {item}", "who was in room {room} yesterday?", "is {city} nice in spring?",
    "turn off the lights in room {room}", "call me a taxi to the station in {city}", "how much did we spend on {item} last year?",
    'translate "{about}" into French', "thanks, that was all for {day}", "play some music in room {room}", "who can tell me more about {about}?",
    "is {day} a public holiday?", "why is {item} so expensive these days?", "I'm off on {day}, by the way",
]  # fmt: skip
# `ask` is what the user wants, `not_this` what nobody should do (now)
ASIDES = [
    "you don't have to {not_this}, {who} has done that. {ask}", "{ask}. You don't have to {not_this}, {who} has done that",
    "I asked {who} to {not_this}, so leave that. {ask}", "{ask}. I asked {who} to {not_this}, so leave that",
    "{who} wanted me to {not_this}, but that's off. {ask}", "{ask}. {who} wanted me to {not_this}, but that's off",
    "don't {not_this} before I say so. {ask}", "{ask}, but don't {not_this} before I say so",
    "yesterday I told you to {not_this}, thanks for that. Now {ask}", "{ask}, please. And thanks for yesterday, when I told you to {not_this}",
    "{not_this}? No, that can wait. {ask}", "{ask}. I'd also have to {not_this}, but that can wait",
]  # fmt: skip
OFF = [
    "you don't have to {not_this} any more", "I asked {who} to {not_this}, so there is nothing to do for you", "don't {not_this} before I say so",
    "yesterday I told you to {not_this}, thanks for that", "please don't {not_this}, {who} has done it", "{who} wanted me to {not_this}, but that's off",
]  # fmt: skip
OPEN = ["", "", "", "", "Hi, ", "Hello, ", "Hey, ", "Good morning. "]
CLOSE = ["", "", "", "", ". Thanks", ". Thank you!", ". It's for {person}", ". Send the details to {mail}"]
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


def corrected(right: str, wrong: str, draw: random.Random) -> str:
    """A value as someone writes it, sometimes with a slip that they take back."""
    if draw.random() >= CORRECTED or right == wrong:
        return right
    return draw.choice(
        [f"{wrong}, sorry, {right}", f"{wrong}, no, {right}", f"{right} (not {wrong})", f"{wrong} - I mean {right}"]
    )


def wish(tool: str, draw: random.Random) -> tuple[str, dict[str, Any]]:
    """What someone wants the assistant to do, as a verb phrase, and the arguments of the call that does it."""
    room, day, city, item, about = (draw.choice(values) for values in (ROOMS, DAYS, CITIES, ITEMS, ABOUT))
    count, hour, give = draw.choice(list(WORDS)), draw.randint(7, 19), draw.random() < 0.6
    on = corrected(day.capitalize(), draw.choice(DAYS).capitalize(), draw)
    many = corrected(number(count, draw), number(draw.choice(list(WORDS)), draw), draw)
    to = corrected(city, draw.choice(CITIES), draw)
    name = room.capitalize()
    if tool == "book_room":
        at = draw.choice([f" at {hour}", f" at {hour}:00", f" from {hour}:00"]) if give else ""
        forms = [f"book {name} for {on}{at}", f"book room {name} on {on}{at}", f"reserve {name} for {on}{at}"]
        return draw.choice(forms), {"room": room, "day": day} | ({"hour": hour} if give else {})
    if tool == "cancel_room":
        forms = [f"cancel {name} on {on}", f"give room {name} back for {on}", f"cancel the booking of {name} on {on}"]
        return draw.choice(forms), {"room": room, "day": day}
    if tool == "find_room":
        when = f" on {on}" if give else ""
        forms = [
            f"find a room for {many} people{when}",
            f"find a room for {many}{when}",
            f"look for a room that seats {many}{when}",
        ]
        return draw.choice(forms), {"people": count} | ({"day": day} if give else {})
    if tool == "order_items":
        forms = [f"order {many} packs of {item}", f"get {many} packs of {item}", f"buy {item}, {many} packs"]
        return draw.choice(forms), {"item": item, "count": count}
    if tool == "train_times":
        when = f" on {on}" if give else ""
        forms = [
            f"look up the trains to {to}{when}",
            f"find out when trains leave for {to}{when}",
            f"check the train times to {to}{when}",
        ]
        return draw.choice(forms), {"to": city} | ({"day": day} if give else {})
    if tool == "book_train":
        how = draw.choice([("first", 1), ("second", 2)])
        by = f", {how[0]} class" if give else ""
        forms = [
            f"get a ticket to {to} for {on}{by}",
            f"book the train to {to} on {on}{by}",
            f"buy a train ticket to {to} for {on}{by}",
        ]
        return draw.choice(forms), {"to": city, "day": day} | ({"class": how[1]} if give else {})
    forms = [
        f"set a reminder for {on} about {about}",
        f"set a reminder about {about} for {on}",
        f"put {about} down as a reminder for {on}",
    ]
    return draw.choice(forms), {"about": about, "day": day}


def request(draw: random.Random) -> tuple[str, list[dict[str, Any]], list[str], list[str]]:
    """A request, the calls that it needs, the tools that it mentions, and tags for what makes it hard."""
    tools = draw.sample(list(TOOLS), 2)
    (first, arguments), (second, others) = (wish(tool, draw) for tool in tools)
    calls = [{"name": tools[0], "arguments": arguments}, {"name": tools[1], "arguments": others}]
    who, case = draw.choice(PEOPLE).split()[0], draw.random()
    if case < NONE_FITS:
        room, day, city, item, about = (draw.choice(values) for values in (ROOMS, DAYS, CITIES, ITEMS, ABOUT))
        return (
            draw.choice(NONE).format(room=room.capitalize(), day=day.capitalize(), city=city, item=item, about=about),
            [],
            [],
            ["none_fits"],
        )
    case -= NONE_FITS
    if case < TWO:
        return draw.choice([" and ", ", then ", ". Also, "]).join((first, second)), calls, tools, ["two_calls"]
    case -= TWO
    if case < ASIDE:
        return draw.choice(ASIDES).format(ask=first, not_this=second, who=who), calls[:1], tools, ["aside"]
    case -= ASIDE
    if case < CALLED_OFF:
        return draw.choice(OFF).format(not_this=first, who=who), [], tools[:1], ["called_off"]
    form = draw.choice(
        ["{ask}", "{ask}", "please {ask}", "can you {ask}?", "I need you to {ask}", "could you {ask}, please?"]
    )
    return form.format(ask=first), calls[:1], tools[:1], []


def sentences(text: str) -> str:
    """The text with a capital letter at the start of each sentence."""
    starts = (". ", "? ", "! ", ": ")
    return "".join(
        letter.upper() if at == 0 or text[max(0, at - 2) : at] in starts else letter for at, letter in enumerate(text)
    )


def rows() -> list[dict[str, Any]]:
    """All rows, in file order."""
    draw = random.Random(SEED)
    firms, sizes = [f"F-{at:03}" for at in range(1, FIRMS + 1)], [1 / (at + 40) for at in range(FIRMS)]
    made = []
    for number_of_row in range(1, ROWS + 1):
        text, calls, mentioned, tags = request(draw)
        offered = {*mentioned, *draw.sample(list(TOOLS), 4 - len(mentioned))}
        if calls and draw.random() < MISSING:  # the right tool is not offered, so it can't be called
            missing = calls[0]["name"]
            offered.discard(missing)
            calls = [call for call in calls if call["name"] != missing]
            tags.append("tool_missing")
        person = draw.choice(PEOPLE)
        mail = person.lower().replace(" ", ".") + "@example.net"
        text = draw.choice(OPEN) + text
        close = draw.choice(CLOSE).format(person=person, mail=mail)
        text = sentences(text) + (close.removeprefix(".") if text[-1] in "?!" else close)
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
