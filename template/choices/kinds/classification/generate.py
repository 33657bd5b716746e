"""Write the sample data, the same bytes each time: `python data/generate.py`.

Lines that people in many offices write to one help desk, and the queue each belongs in. They are as hard as real ones:
two queues in one line of which only one is meant, chit-chat, typos, very short lines, similar labels, rare labels,
requests that belong to no queue (`out_of_scope`), copies, and an occasional wrong label.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

ROWS, OFFICES, SEED = 480, 40, 11
WRONG, COPIED, OUT_OF_SCOPE = 0.01, 0.06, 0.12  # shares of the rows
DATA = Path(__file__).resolve().parent
# queue: (subjects, their problems); earlier queues are more frequent
QUEUES = {
    "vpn_access": (["the vpn", "the tunnel from home", "remote access"], ["drops every few minutes", "asks for a certificate", "won't connect since the update"]),
    "password_reset": (["my password", "the login for the intranet", "my account"], ["has expired", "is locked after three tries", "isn't taken any more"]),
    "printer": (["the printer on floor 2", "the big copier", "the label printer"], ["prints only stripes", "is out of toner", "shows a paper jam that isn't there"]),
    "laptop_repair": (["my laptop", "the notebook from the pool", "the docking station"], ["gets hot and turns off", "has a cracked hinge", "doesn't charge"]),
    "new_hardware": (["a second monitor", "a headset", "a keyboard with a Swiss layout"], ["is what I'd like to order", "is needed for the new colleague", "was approved, when does it come"]),
    "software_licence": (["the licence of the drawing program", "my seat for the office suite", "the trial of the editor"], ["runs out on Friday", "has to be moved to my new computer", "says no seats are left"]),
    "software_bug": (["the time sheet tool", "the booking app", "the new editor"], ["crashes when I save", "shows yesterday's numbers", "forgets my settings"]),
    "mailbox": (["my mailbox", "the shared inbox of the team", "the out-of-office reply"], ["is full", "doesn't take new senders", "can't be opened by my deputy"]),
    "shared_drive": (["the project drive", "the folder of the audit", "drive T"], ["says access denied", "lost a file I need back", "is gone from my list"]),
    "meeting_room": (["room Aare", "the large meeting room", "the booking for tomorrow"], ["is booked twice", "has a screen that stays black", "has to be bigger, we are twelve"]),
    "building_access": (["my badge", "the door to the lab", "the gate of the car park"], ["beeps red", "doesn't open before seven", "has to be unlocked for a guest"]),
    "heating": (["the heating in our corner", "the air conditioning", "the thermostat"], ["blows cold air", "can't be turned down", "knocks all day"]),
    "cleaning": (["the kitchen on our floor", "the carpet near the lift", "the bin room"], ["has to be cleaned after the party", "smells", "was skipped this week"]),
    "parking": (["my parking space", "the visitors' space", "the charger for the car"], ["was taken by someone", "is needed on Monday", "gives no power"]),
    "payroll": (["my pay slip", "the overtime of last month", "the bonus"], ["is missing", "was counted wrong", "isn't on the statement"]),
    "expenses": (["the taxi bill", "the hotel of the fair", "my claim from June"], ["hasn't been paid back", "was turned down without a word", "needs another cost centre"]),
    "leave_request": (["my holiday in August", "half a day on Thursday", "the parental leave"], ["is still not approved", "has to be moved a week", "isn't in the calendar"]),
    "sick_note": (["the doctor's note", "my certificate", "the note for my knee"], ["is on its way by post", "is valid until Friday", "has to go to whom"]),
    "training": (["the course on first aid", "the language class", "the safety training"], ["is full, is there a second date", "has to be booked for two", "wasn't put on my record"]),
    "travel_booking": (["the train to Lyon", "the flight to the fair", "my hotel in Graz"], ["has to be one day later", "needs a window seat", "is still not confirmed"]),
    "supplier_invoice": (["the invoice of the caterer", "a reminder from a supplier", "the credit note"], ["has no order number", "was paid twice", "is for another office"]),
    "contract_question": (["the notice period in my contract", "the clause on side jobs", "my fixed term"], ["isn't clear to me", "ends in May, what then", "differs from what we said"]),
}  # fmt: skip
NOT_OURS = [
    "can you tell me a good pizza place near the station", "who won the match last night", "please water my plants at home",
    "is it going to rain on the team day", "i'd like to sell my bike, can you put it on the board",
    "write a poem for my boss's birthday", "what is the meaning of life", "do you know a dentist who takes new patients",
    "my son needs help with his maths homework", "how do i get a refund for shoes i bought online",
    "which phone should i buy for my mother", "translate this menu for me please", "is the bakery open on sunday",
]  # fmt: skip
OPEN = ["", "", "", "Hi,", "Hello team,", "Good morning,", "Dear colleagues,", "hey", "sorry to bother you again,"]
CLOSE = [
    "",
    "",
    "",
    "Thanks!",
    "Thank you and kind regards",
    "cheers",
    "It is rather urgent.",
    "No hurry.",
    "Please call me.",
]
ASIDE = [
    "{other} works again, thanks for that.", "This is not about {other}, that is solved.", "I wrote about {other} last week, that is done.",
    "Unlike {other}, which is fine:", "Forget what I said about {other}.",
]  # fmt: skip
FORMS = [
    "{thing} {state}.",
    "{thing} {state}",
    "It's {thing}: it {state}.",
    "Could someone look at this: {thing} {state}?",
    "{thing} {state} - again.",
]
FIRST = [
    "Ana",
    "Bo",
    "Chen",
    "Dilek",
    "Emil",
    "Fatou",
    "Goran",
    "Hana",
    "Ivo",
    "Jonas",
    "Keiko",
    "Luca",
    "Mira",
    "Noor",
    "Oskar",
    "Petra",
]
LAST = [
    "Amsler",
    "Brunner",
    "Costa",
    "Dahl",
    "Egli",
    "Fontana",
    "Graf",
    "Huber",
    "Ito",
    "Jansen",
    "Keller",
    "Lindt",
    "Moser",
    "Novak",
]


def typo(text: str, draw: random.Random) -> str:
    """The text with two adjacent letters of a word swapped."""
    positions = [at for at in range(1, len(text) - 2) if text[at : at + 2].isalpha()]
    if not positions:
        return text
    at = draw.choice(positions)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def line(queue: str, draw: random.Random) -> tuple[str, list[str]]:
    """A line for a queue, and tags for what makes it hard."""
    tags = []
    if queue == "out_of_scope":
        core = draw.choice(NOT_OURS)
    else:
        things, states = QUEUES[queue]
        core = draw.choice(FORMS).format(thing=draw.choice(things), state=draw.choice(states))
        if draw.random() < 0.12:
            core, tags = f"{draw.choice(things)}?? {draw.choice(['help', 'again', 'pls', 'broken', 'asap'])}", ["short"]
    if draw.random() < 0.3 and "short" not in tags:
        other = draw.choice([name for name in QUEUES if name != queue])
        core = f"{draw.choice(ASIDE).format(other=draw.choice(QUEUES[other][0]))} {core}"
        tags.append("two_topics")
    text = " ".join(part for part in (draw.choice(OPEN), core, draw.choice(CLOSE)) if part)
    if draw.random() < 0.2:
        text = typo(text.lower(), draw)
        tags.append("typo")
    return text, tags


def rows() -> list[dict[str, object]]:
    """All rows, in file order."""
    draw = random.Random(SEED)
    names = list(QUEUES)
    weights = [1 / (at + 4) for at in range(len(names))]
    people = {f"O-{at:02}": (draw.choice(FIRST), draw.choice(LAST)) for at in range(1, OFFICES + 1)}
    sizes = [1 / (at + 3) for at in range(OFFICES)]
    made: list[dict[str, object]] = []
    for number in range(1, ROWS + 1):
        if made and draw.random() < COPIED:
            copy = dict(draw.choice(made))
            made.append(copy | {"id": f"L-{number:04}", "text": str(copy["text"]) + draw.choice(["", "", " please"])})
            continue
        queue = "out_of_scope" if draw.random() < OUT_OF_SCOPE else draw.choices(names, weights)[0]
        text, tags = line(queue, draw)
        office = draw.choices(list(people), sizes)[0]
        first, last = people[office]
        if draw.random() < 0.35:
            phone = f"{draw.randint(201, 989)}-555-01{draw.randint(0, 99):02}"
            text += draw.choice(
                [
                    f"\n{first} {last}",
                    f"\n{first}",
                    f"\n{first} {last}, {phone}",
                    f" Mail me at {last.lower()}@example.org.",
                ]
            )
            tags.append("signature")
        if draw.random() < WRONG:
            queue = draw.choice(names)
        mail = f"{first}.{last}@example.org".lower()
        made.append(
            {
                "id": f"L-{number:04}",
                "office": office,
                "sender": f"{first} {last}",
                "mail": mail,
                "text": text,
                "queue": queue,
                "tags": tags,
            }
        )
    return made


if __name__ == "__main__":
    made = rows()
    (DATA / "raw").mkdir(exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
    (DATA / "raw/lines.jsonl").write_text(text, encoding="utf-8", newline="\n")
    labels = [*QUEUES, "out_of_scope"]
    (DATA / "schema.json").write_text(json.dumps({"enum": labels}, indent=2) + "\n", encoding="utf-8", newline="\n")
    print(f"{len(made)} lines of {len({row['office'] for row in made})} offices for {len(labels)} labels")
