"""Write the sample data, the same bytes each time: `python data/generate.py`.

Questions about the rules of made-up organisations, each with the passages that a search found for it. The answer is a
few words copied from the one passage that holds, with its number; null where no passage says it. They are as hard as
what searches find: the passage of another organisation with another value, an older version, a passage about
something near, or nothing at all. Headings tell which passage is whose, and of when. Passages state more than one
thing, and organisations word their rules in their own ways.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROWS, ORGANISATIONS, SEED = 920, 120, 17
LACKING, EMPTY = 0.24, 0.06  # shares of the rows whose passages don't say what was asked, and that have none
TEMPTED = 0.5  # share of the rows with passages that have the same rule of another organisation or time
OLDER = 0.5  # share of these with an older version, if it may be one
FILLED, TWO, SLOPPY = 0.55, 0.35, 0.3  # share of passages with a filler, with a second rule; of sloppy organisations
DATA = Path(__file__).resolve().parent

START = [
    "Alder",
    "Amber",
    "Ash",
    "Birch",
    "Bramble",
    "Brook",
    "Cinder",
    "Clover",
    "Copper",
    "Crane",
    "Dapple",
    "Elder",
    "Ember",
    "Fallow",
    "Fern",
    "Finch",
    "Gorse",
    "Hazel",
    "Heron",
    "Holly",
    "Ivy",
    "Juniper",
    "Larch",
    "Linnet",
    "Maple",
    "Marl",
    "Mistle",
    "Moss",
    "Otter",
    "Pebble",
    "Plover",
    "Quill",
    "Rowan",
    "Saffron",
    "Sorrel",
    "Tansy",
    "Teasel",
    "Thistle",
    "Wick",
    "Yarrow",
]
END = [
    "bank",
    "bridge",
    "combe",
    "croft",
    "dale",
    "field",
    "ford",
    "gate",
    "ham",
    "hurst",
    "mere",
    "moor",
    "stead",
    "thorpe",
    "wick",
    "worth",
]
SORTS = [
    "Library",
    "Pool",
    "Museum",
    "Cycles",
    "Furniture",
    "Books",
    "Nursery",
    "Theatre",
    "Gym",
    "Clinic",
    "Hostel",
    "Foods",
]
TIMES = ["7:30", "8:00", "8:15", "8:30", "9:00", "9:30", "10:00", "10:30", "11:00"]
EVENINGS = ["16:30", "17:00", "17:30", "18:00", "18:30", "19:00", "19:45", "20:00", "21:00"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DESKS = [
    "the front desk",
    "the night porter",
    "the duty manager",
    "the back office",
    "the side entrance",
    "the first counter",
]


def counted(low: int, high: int, unit: str) -> list[str]:
    """Numbers of a unit, some in words."""
    words = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 10: "ten", 12: "twelve"}
    return [f"{form} {unit}" for n in range(low, high + 1) for form in ([str(n), words[n]] if n in words else [str(n)])]


def money(low: int, high: int, cents: bool = False) -> list[str]:
    """Sums."""
    ends = [".50", ".90", ".95"] if cents else [""]
    return [f"{n}{end} EUR" for n in range(low, high + 1) for end in ends]


@dataclass(frozen=True)
class Topic:
    """Something that organisations have a rule for: its title, the rules' wordings, what is asked, the values."""

    title: str
    rules: tuple[str, ...]
    asks: tuple[str, ...]
    values: tuple[str, ...]


TOPICS = [
    Topic("annual leave", (
        "Full-time staff get {v} of paid leave a year.", "The yearly leave of employees is {v}.",
        "Whoever works here full time may take {v} off each year.", "We grant {v} of holiday per calendar year.",
    ), (
        "how much annual leave do I get at {o}?", "I start at {o} in spring: how many days of holiday is that?",
        "what is the yearly leave of someone employed by {o}?", "how long may staff of {o} be on paid leave in a year?",
    ), tuple(counted(21, 36, "days"))),
    Topic("giving notice", (
        "Either side can end the contract with a notice of {v}.", "Notice must be given {v} ahead.",
        "A resignation takes effect after {v}.", "Those who leave us tell us {v} in advance.",
    ), (
        "how far ahead must I resign from {o}?", "what is the notice period at {o}?",
        "I want to leave {o}. How long do I still have to work?", "my contract with {o}: how much notice?",
    ), tuple(counted(2, 12, "weeks"))),
    Topic("opening", (
        "Our doors open at {v}.", "From {v} on, visitors are welcome.", "The first guests may come in at {v}.",
        "In the morning we unlock at {v}.",
    ), (
        "when does {o} open?", "from what time can I visit {o}?", "I want to be first at {o}, when do the doors open?",
        "how early can we get into {o}?",
    ), tuple(TIMES)),
    Topic("closing", (
        "We close at {v}.", "The last visitors must be out by {v}.", "Lights go out at {v}.", "Business ends at {v}.",
    ), (
        "until when is {o} open?", "how late can I still be at {o}?", "when does {o} close in the evening?",
        "at what time do I have to leave {o}?",
    ), tuple(EVENINGS)),
    Topic("day of rest", (
        "On {v} we stay shut.", "Nobody works here on {v}.", "There is one day without service: {v}.",
        "All rooms are cleaned on {v}, so there is no admission then.",
    ), (
        "on which day is {o} shut?", "what is the closing day of {o}?",
        "which day of the week should I not come to {o}?",
        "when in the week does {o} rest?",
    ), tuple(DAYS)),
    Topic("warranty", (
        "Whatever we sell has a warranty of {v}.", "We repair faults free of charge for {v}.",
        "Our guarantee runs for {v}.", "Defects are covered for {v} after the purchase.",
    ), (
        "how long is the warranty at {o}?", "it broke. For how long does {o} cover defects?",
        "what guarantee does {o} give?", "until when will {o} repair what I bought, without pay?",
    ), tuple(counted(8, 60, "months")[::2])),
    Topic("returns", (
        "Unused goods can be brought back within {v}.", "You may change your mind for {v}.",
        "We take things back up to {v} after they were bought.", "Refunds need the receipt and are possible for {v}.",
    ), (
        "how long can I return things to {o}?", "I don't like it. How much time to take it back to {o}?",
        "within what time does {o} refund?", "what is the return period of {o}?",
    ), tuple(counted(5, 60, "days")[::2])),
    Topic("delivery", (
        "Parcels reach you within {v}.", "It takes {v} until an order is at your door.",
        "Our carriers need {v} for a delivery.", "Orders arrive after {v} at most.",
    ), (
        "how long does a delivery from {o} take?", "I ordered at {o}, when will it be here?",
        "what is the delivery time of {o}?", "how many working days do parcels of {o} need?",
    ), tuple(counted(2, 14, "working days"))),
    Topic("postage", (
        "Sending a parcel costs {v}.", "We charge {v} for shipping.", "For each order we add {v} of postage.",
        "The carrier's fee is {v}, however heavy the box.",
    ), (
        "what does shipping cost at {o}?", "how much postage does {o} charge?",
        "what do I pay {o} for sending it to me?",
        "what is the carrier's fee of {o}?",
    ), tuple(money(2, 14, cents=True))),
    Topic("deposit", (
        "We ask for a deposit of {v}.", "You leave {v} with us as a security, and get it back later.",
        "Whoever borrows something puts down {v}.", "A security of {v} is due when you sign.",
    ), (
        "how high is the deposit at {o}?", "what security do I have to leave with {o}?",
        "how much must I put down at {o}?", "I want to borrow something from {o}. What deposit is that?",
    ), tuple(money(15, 140))),
    Topic("membership", (
        "Members pay {v} a month.", "The monthly fee is {v}.", "Joining costs nothing, then it is {v} per month.",
        "A membership comes to {v} monthly.",
    ), (
        "what does a membership of {o} cost?", "how much do members pay {o} each month?",
        "I want to join {o}. What is the fee?", "monthly fee of {o}?",
    ), tuple(money(9, 79, cents=True)[::3])),
    Topic("cancelling a booking", (
        "Bookings can be cancelled free of charge up to {v} before.", "Call off your booking no later than {v} ahead.",
        "If you can't come, tell us {v} earlier, or we charge the full price.",
        "Free cancellation ends {v} before the date.",
    ), (
        "until when can I cancel my booking at {o} for free?", "I can't make it. How early do I have to tell {o}?",
        "how long before the date does {o} let me call a booking off?", "what is the deadline for cancelling at {o}?",
    ), tuple(counted(6, 96, "hours")[::3])),
    Topic("lost property", (
        "What is found is kept for {v}.", "Lost things stay in our store for {v}.",
        "After {v}, whatever nobody has claimed is given away.", "You have {v} to collect what you left behind.",
    ), (
        "I left my scarf at {o}. How long do they keep it?", "how long does {o} store lost things?",
        "when will {o} give away what was found?", "how much time do I have to collect my umbrella from {o}?",
    ), tuple(counted(3, 26, "weeks"))),
    Topic("keys", (
        "Keys are handed out by {v}.", "For a key, turn to {v}.", "The keys are with {v}.", "Every key is kept by {v}.",
    ), (
        "where do I get a key at {o}?", "who hands out keys at {o}?",
        "I need the key for the cellar of {o}, where to go?",
        "to whom do I turn for a key of {o}?",
    ), tuple(DESKS)),
]  # fmt: skip
# Topics whose rules look alike; a search finds these for each other.
NEAR = [
    ["opening", "closing", "day of rest"], ["annual leave", "giving notice"], ["warranty", "returns", "lost property"],
    ["delivery", "postage", "returns"], ["deposit", "membership", "postage"], ["cancelling a booking", "returns",
    "opening"],
    ["keys", "lost property", "deposit"],
]  # fmt: skip
FILLERS = [
    "Please ask if anything is unclear.", "This notice hangs at the entrance as well.", "Exceptions take a signature.",
    "The rule was agreed with the works council.", "Staff may not decide otherwise.", "It applies to all sites.",
    "A copy is in the blue folder.", "Complaints go to the office by letter.", "Groups should write first.",
    "It is the same for guests and regulars.", "We thank you for your patience.", "Children are treated alike.",
    "In bad weather we may have to improvise.", "Our neighbours have rules of their own.", "Nothing else was promised.",
]  # fmt: skip
OPEN = [
    "",
    "",
    "",
    "",
    "Hello, ",
    "Hi, ",
    "Quick question: ",
    "Sorry to bother you, ",
    "One thing: ",
    "Can you tell me, ",
]
ABSTAIN = {"answer": None, "source": None}
HEADS = ["[{n}] {o}, {t}, {y}: ", "[{n}] {o} ({y}), {t}: ", "[{n}] {y} | {o} | {t}: ", "[{n}] {t}, {o}, {y}: "]


@dataclass(frozen=True)
class Rule:
    """One rule of an organisation, as it was from a year on."""

    topic: Topic
    value: str
    number: str
    year: int


@dataclass
class Organisation:
    """Who has the rules, and how it writes."""

    code: str
    name: str
    rules: dict[str, Rule]
    before: dict[str, Rule]  # the older versions of these
    wording: dict[str, list[str]]
    head: str
    sloppy: bool


def organisations(draw: random.Random) -> list[Organisation]:
    """Each with its own name, rules for most topics, and older versions of these."""
    names = draw.sample([f"{start}{end}" for start in START for end in END if start.lower() != end], ORGANISATIONS)
    numbers = [f"{letter}{n}" for letter in "ABDFGHKLMN" for n in range(100, 1000)]
    draw.shuffle(numbers)
    made = []
    for at, name in enumerate(names):
        rules, before = {}, {}
        for topic in draw.sample(TOPICS, 10):
            old, new = draw.sample(topic.values, 2)
            year = draw.randint(2022, 2026)
            rules[topic.title] = Rule(topic, new, numbers.pop(), year)
            before[topic.title] = Rule(topic, old, numbers.pop(), year - draw.randint(1, 5))
        wording = {topic.title: draw.sample(topic.rules, 2) for topic in TOPICS}
        name = f"{name} {SORTS[at % len(SORTS)]}"
        sloppy = draw.random() < SLOPPY
        made.append(Organisation(f"O-{at + 101}", name, rules, before, wording, draw.choice(HEADS), sloppy))
    return made


def passage(of: Organisation, rule: Rule, draw: random.Random, never: str) -> str:
    """A rule as the search finds it: heading, rule, perhaps a filler or another rule, but none about `never`."""
    title = rule.topic.title
    said = [draw.choice(of.wording[title]).format(v=rule.value)]
    others = [name for name in near(title) if name in of.rules and name != never]
    if others and draw.random() < TWO:
        other = draw.choice(others)
        second = draw.choice(of.wording[other]).format(
            v=(of.rules if rule in of.rules.values() else of.before)[other].value
        )
        said.insert(draw.choice([0, 1]), second)
    if draw.random() < FILLED:
        said.insert(draw.randint(0, len(said)), draw.choice(FILLERS))
    return of.head.format(n=rule.number, o=of.name, t=title, y=rule.year) + " ".join(said)


def near(title: str) -> list[str]:
    """The topics whose rules look like those of a topic."""
    return list(dict.fromkeys(name for names in NEAR if title in names for name in names if name != title))


def question(of: Organisation, topic: Topic, draw: random.Random) -> str:
    """What somebody wants to know of an organisation."""
    text = draw.choice(OPEN) + draw.choice(topic.asks).format(o=of.name)
    if of.sloppy:
        return text.lower().rstrip("?")
    return text[0].upper() + text[1:]


def row(number: int, of: Organisation, others: list[Organisation], draw: random.Random) -> dict[str, Any]:
    """One question, the passages that were found for it, and the answer that these allow."""
    kind = draw.choices(["answerable", "lacking", "empty"], [1 - LACKING - EMPTY, LACKING, EMPTY])[0]
    rule = of.rules[draw.choice(list(of.rules))]
    title, tags, found = rule.topic.title, [kind], []
    if kind == "answerable":
        found.append(passage(of, rule, draw, title))
    if kind != "empty":
        if draw.random() < TEMPTED:
            tags.append("misleading")
            if kind == "answerable" and draw.random() < OLDER:
                tags.append("older_version")
                found.append(passage(of, of.before[title], draw, title))
            else:
                tags.append("other_organisation")
                rival = draw.choice([other for other in others if title in other.rules and other is not of])
                found.append(passage(rival, rival.rules[title], draw, title))
        about = [name for name in near(title) if name in of.rules] or [name for name in of.rules if name != title]
        rest = draw.sample(about, min(len(about), draw.choice([1, 1, 2])))
        found += [passage(of, of.rules[name], draw, title) for name in rest]
        draw.shuffle(found)
    answer = {"answer": rule.value, "source": rule.number} if kind == "answerable" else ABSTAIN
    return {
        "id": f"Q-{number:04}", "organisation": of.code, "question": question(of, rule.topic, draw),
        "passages": "\n".join(found), "answer": answer, "tags": tags,
    }  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """All rows, in file order."""
    draw = random.Random(SEED)
    all_of_them = organisations(draw)
    sizes = [1 / (at + 40) for at in range(ORGANISATIONS)]
    asked = draw.choices(all_of_them, sizes, k=ROWS)
    return [row(number, of, all_of_them, draw) for number, of in enumerate(asked, 1)]


def schema() -> dict[str, Any]:
    """The form of an answer."""
    values = {
        "answer": "What the passage says, word for word; null if no passage says it",
        "source": "The number in square brackets of the passage that says it; null if none does",
    }
    fields = {name: {"description": text, "type": ["string", "null"], "minLength": 1} for name, text in values.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "An answer from documents",
        "type": "object",
        "additionalProperties": False, "required": list(fields), "properties": fields,
    }  # fmt: skip


if __name__ == "__main__":
    made = rows()
    (DATA / "raw").mkdir(exist_ok=True)
    lines = "".join(json.dumps(asked, ensure_ascii=False) + "\n" for asked in made)
    (DATA / "raw/questions.jsonl").write_text(lines, encoding="utf-8", newline="\n")
    (DATA / "schema.json").write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8", newline="\n")
    print(f"{len(made)} questions about {len({asked['organisation'] for asked in made})} organisations")
