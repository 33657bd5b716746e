"""Write the sample data, the same bytes each time: `python data/generate.py`.

Lines that people in many offices write to one help desk, and the queue each belongs in. Single words give away what a
line mentions, but not what it asks for: half of the lines mention two topics with the same words, in either order, and
only one of them is still open. Some say that all is well again (`nothing_open`), others say that it still isn't. Some
belong to no queue (`out_of_scope`). There are also very short lines, typos, similar and rare queues, copies, and an
occasional wrong label.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

ROWS, OFFICES, SEED = 1150, 150, 11
TWO, SOLVED, STILL, OUT_OF_SCOPE, SHORT = 0.52, 0.09, 0.08, 0.11, 0.06  # shares of the lines, by what makes them hard
WRONG, COPIED = 0.01, 0.04  # shares of the rows
DATA = Path(__file__).resolve().parent
# queue: (what it looks after, what people say about it); earlier queues are more frequent
QUEUES: dict[str, tuple[list[str], list[str]]] = {
    "vpn_access": (
        ["the VPN", "remote access", "the VPN client"],
        ["{it} drops every few minutes", "I can't get on to {it} from home", "{it} asks for a certificate I don't have", "{it} hasn't worked since the update", "{it} won't connect in the hotel"],
    ),
    "password_reset": (
        ["my password", "the login for the intranet", "my PIN"],
        ["{it} has expired", "{it} isn't accepted any more", "I have forgotten {it}", "{it} was blocked after three tries", "I get an error when I try to change {it}"],
    ),
    "printer": (
        ["the printer on floor 2", "the big copier", "the label printer"],
        ["{it} only prints stripes", "{it} is out of toner", "{it} reports a paper jam that isn't there", "{it} ignores everything I send it", "{it} prints everything twice"],
    ),
    "laptop_repair": (
        ["my laptop", "the docking station", "the loan notebook"],
        ["{it} gets hot and switches itself off", "{it} has a cracked hinge", "{it} doesn't charge", "I spilled coffee over {it}", "{it} makes a grinding noise"],
    ),
    "new_hardware": (
        ["a second monitor", "a headset", "a Swiss keyboard"],
        ["I would like to order {it}", "our new colleague needs {it}", "I asked for {it} a month ago and have heard nothing", "we need {it} by Monday", "my boss approved {it} weeks ago, and it still isn't here"],
    ),
    "software_licence": (
        ["the licence for the drawing program", "my seat in the office suite", "the trial of the PDF editor"],
        ["{it} runs out on Friday", "{it} has to move to my new computer", "{it} says that no seats are left", "we have to renew {it}", "{it} was never activated"],
    ),
    "software_bug": (
        ["the time sheet tool", "the booking app", "the new CRM"],
        ["{it} crashes when I save", "{it} shows yesterday's numbers", "{it} forgets my settings", "{it} freezes on the second page", "I can't export anything from {it}"],
    ),
    "meeting_room": (
        ["room Aare", "the large meeting room", "the room for tomorrow's review"],
        ["{it} is booked twice", "the screen in {it} stays black", "we need {it} for an hour longer", "{it} is too small, since there are twelve of us", "somebody is sitting in {it} without a booking"],
    ),
    "building_access": (
        ["my badge", "the door to the lab", "the car park gate"],
        ["{it} just beeps red", "{it} doesn't work before seven", "a guest got stuck because of {it}", "{it} stopped working over the weekend", "{it} only works at the third attempt"],
    ),
    "heating": (
        ["the heating in our corner", "the air conditioning", "the radiator by the window"],
        ["{it} blows cold air", "{it} can't be turned down", "{it} knocks all day long", "{it} has been off since Monday", "{it} is leaking"],
    ),
    "payroll": (
        ["my payslip", "my overtime pay", "the bonus"],
        ["{it} is missing this month", "{it} was worked out wrongly", "{it} is lower than we agreed", "{it} went to my old bank account", "I have a question about {it}"],
    ),
    "expenses": (
        ["my taxi receipt", "my expense claim from June", "the hotel bill from the fair"],
        ["{it} hasn't been refunded", "{it} was rejected without a reason", "I uploaded {it} twice by mistake", "{it} was charged to the wrong cost centre", "I don't know where to enter {it}"],
    ),
    "leave_request": (
        ["my holiday in August", "my day off on Thursday", "my parental leave"],
        ["{it} still hasn't been approved", "I have to move {it} by a week", "{it} isn't in the calendar", "{it} was turned down", "I need to cancel {it}"],
    ),
    "travel_booking": (
        ["the train to Lyon", "my flight to the fair", "the hotel in Graz"],
        ["{it} has to be a day later", "I need the confirmation for {it}", "{it} was booked in the wrong name", "two more people need {it}", "{it} was cancelled by the company"],
    ),
    "cleaning": (
        ["the kitchen on our floor", "the carpet by the lift", "the bin room"],
        ["{it} is filthy after the party", "{it} smells", "{it} was skipped this week", "there is paint all over {it}", "nobody has cleaned {it} since Tuesday"],
    ),
    "supplier_invoice": (
        ["the caterer's invoice", "a reminder from a supplier", "the printer company's bill"],
        ["{it} has no order number", "{it} was paid twice", "{it} is meant for another office", "the amount on {it} is wrong", "I can't find {it} in the system"],
    ),
}  # fmt: skip
NOT_OURS = [
    "Can you recommend a pizza place near the station?", "Who won the match last night?", "Could somebody water my plants at home?", "Will it rain on the team day?",
    "I'm selling my bike, can you put that on the notice board?", "Please write a poem for my boss's birthday.", "What is the meaning of life?",
    "Do you know a dentist who takes new patients?", "My son needs help with his maths homework.", "How do I return shoes that I bought online?",
    "Which phone should I buy for my mother?", "Can you translate this menu for me?", "Is the bakery open on Sundays?", "Where can I get theatre tickets for tonight?",
    "I've lost my cat, have you seen her?", "What should I cook for six people?", "Who do I ask about a kindergarten place?", "Could you lend me 20 francs until Friday?",
]  # fmt: skip
# `a` is said of the topic that is still open, and `own` is what it is about; `b` and `thing` belong to the other one
ONE_OPEN = [
    "My ticket from last week ({b}) has been dealt with. Now {a}.", "{a}. My ticket from last week ({b}) has been dealt with.",
    "I reported that {b}. That one is solved, please close it. What isn't solved: {a}.", "I reported that {a}. That one isn't solved. What is solved, so please close it: {b}.",
    "Forget that {b}. It's {own} that I need help with.", "It's {own} that I need help with. Forget that {b}.",
    "{thing} is fine again, thanks. But {a}.", "{a}. {thing} is fine again, by the way, thanks.",
    "My colleague has already told you that {b}, so I won't repeat it. I'm writing because {a}.", "I'm writing because {a}. My colleague has already told you that {b}, so I won't repeat it.",
    "{b}, but that can wait. More urgent: {a}.", "{a}. Also, {b}, but that can wait.",
    "{b}, and somebody is already on it. Nobody is looking into this one: {a}.", "{a}, and nobody is looking into it. On top of that {b}, but somebody is already on it.",
    "{b}? No, sorry, wrong ticket. I meant: {a}.", "{a}. (I first opened a ticket saying that {b}. That was the wrong one, sorry.)",
    "Don't confuse this with my other ticket ({b}), which is closed. This one is about {own}.", "This one is about {own}. Don't confuse it with my other ticket ({b}), which is closed.",
    "{b}: done, thank you. {a}: not done.", "{a}: not done. {b}: done, thank you.",
    "You asked me about two things. {b}: no longer. {a}: still.", "You asked me about two things. {a}: still. {b}: no longer.",
    "Of my two tickets, the one about {thing} can be closed, the one about {own} can't.", "Of my two tickets, the one about {own} can't be closed yet, the one about {thing} can.",
    "{thing} has been settled. Please look at {own}.", "Please look at {own}. {thing} has been settled.",
]  # fmt: skip
ALL_SOLVED = [
    "{b} - never mind, it works again.", "I wrote that {b}. It has sorted itself out, so please close the ticket.", "No need to do anything about {thing} any more, it's all fine now.",
    "You can close my ticket ({b}). Everything is as it should be.", "Thanks for taking care of {thing} so quickly!", "It's about {thing}: all good again, thank you.",
    "Yesterday I complained that {b}. I was wrong, sorry. Nothing to do.", "{b}. Update: solved, please ignore this.", "{thing} is fine now, and so is {other}. Thanks!",
    "Neither {thing} nor {other} gives me any trouble now, so you can close both tickets.",
]  # fmt: skip
STILL_OPEN = [
    "{a} - and no, it doesn't work again.", "I wrote that {a}. It hasn't sorted itself out, so please don't close the ticket.", "Somebody closed my ticket ({a}), but nothing has changed.",
    "You said it was all fine now. It isn't: {a}.", "{a}. Update: not solved, please don't ignore this.", "{a}. Thanks for trying, but it's as it was.",
    "I was told to restart and everything would be as it should be. Still, {a}.", "Yesterday I complained that {a}. Nothing has been done.",
]  # fmt: skip
PLAIN = [
    "{a}.",
    "{a}.",
    "{a}",
    "Could somebody look at this: {a}?",
    "{a} - again.",
    "Just so that you know: {a}.",
    "I'm not sure who to ask, but {a}.",
    "{a}. What can I do?",
]
BESIDES = ["{thing} is fine again, thanks. Another question: {wish}", "{wish} And {thing} is fine again, by the way.", "You needn't do anything about {thing}. {wish}", "{wish}", "{wish}", "{wish}"]  # fmt: skip
CRIES = ["{thing}?? help", "{thing} again!!", "{thing}, please, asap", "help with {thing}", "{thing}..."]
OPEN = ["", "", "", "", "Hi,", "Hello team,", "Good morning,", "Dear colleagues,", "hey", "Sorry to bother you again."]
CLOSE = ["", "", "", "", "Thanks!", "Kind regards", "Cheers", "It's rather urgent.", "No hurry.", "Please call me."]
FIRST = ["Ana", "Bo", "Chen", "Dilek", "Emil", "Fatou", "Goran", "Hana", "Ivo", "Jonas", "Keiko", "Luca", "Mira", "Noor", "Oskar", "Petra"]  # fmt: skip
LAST = ["Amsler", "Brunner", "Costa", "Dahl", "Egli", "Fontana", "Graf", "Huber", "Ito", "Jansen", "Keller", "Lindt", "Moser", "Novak"]  # fmt: skip


def typo(text: str, draw: random.Random) -> str:
    """The text with two adjacent letters of a word swapped."""
    positions = [at for at in range(1, len(text) - 2) if text[at : at + 2].isalpha()]
    if not positions:
        return text
    at = draw.choice(positions)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def sentences(text: str) -> str:
    """The text with a capital letter at the start of each sentence."""
    letters = list(text)
    for at, letter in enumerate(letters):
        if at == 0 or text[max(0, at - 2) : at] in (". ", "? ", "! "):
            letters[at] = letter.upper()
    return "".join(letters)


def said(form: str, queue: str, other: str, draw: random.Random) -> str:
    """A form filled in: `a` and `own` are about the queue, `b` and `thing` about the other one."""
    words = {}
    for name, what, of in (("a", "own", queue), ("b", "thing", other)):
        things, problems = QUEUES[of]
        words[what] = draw.choice(things)
        words[name] = draw.choice(problems).format(it=words[what])
    third = draw.choice([name for name in QUEUES if name not in (queue, other)])
    return sentences(form.format(**words, other=draw.choice(QUEUES[third][0])))


def line(draw: random.Random) -> tuple[str, str, list[str]]:
    """A line, its queue, and tags for what makes it hard."""
    names: Sequence[str] = list(QUEUES)
    weights = [1 / (at + 12) for at in range(len(names))]
    queue = draw.choices(names, weights)[0]
    other = draw.choice([name for name in names if name != queue])
    case = draw.random()
    for share, forms, label, tag in (
        (TWO, ONE_OPEN, queue, "two_topics"),
        (SOLVED, ALL_SOLVED, "nothing_open", "solved"),
        (STILL, STILL_OPEN, queue, "still_open"),
        (SHORT, CRIES, queue, "short"),
    ):
        if case < share:
            if tag == "short":
                return draw.choice(forms).format(thing=draw.choice(QUEUES[queue][0])), label, [tag]
            return said(draw.choice(forms), queue, other, draw), label, [tag]
        case -= share
    if case < OUT_OF_SCOPE:
        wish = draw.choice(NOT_OURS)
        thing = draw.choice(QUEUES[other][0])
        return sentences(draw.choice(BESIDES).format(wish=wish, thing=thing)), "out_of_scope", ["out_of_scope"]
    return said(draw.choice(PLAIN), queue, other, draw), queue, []


def rows() -> list[dict[str, object]]:
    """All rows, in file order."""
    draw = random.Random(SEED)
    labels = [*QUEUES, "nothing_open", "out_of_scope"]
    people = {f"O-{at:03}": (draw.choice(FIRST), draw.choice(LAST)) for at in range(1, OFFICES + 1)}
    sizes = [1 / (at + 40) for at in range(OFFICES)]
    made: list[dict[str, object]] = []
    for number in range(1, ROWS + 1):
        if made and draw.random() < COPIED:
            copy = dict(draw.choice(made))
            made.append(copy | {"id": f"L-{number:04}", "text": str(copy["text"]) + draw.choice(["", "", " please"])})
            continue
        core, queue, tags = line(draw)
        text = " ".join(part for part in (draw.choice(OPEN), core, draw.choice(CLOSE)) if part)
        if draw.random() < 0.15:
            text = typo(text.lower(), draw)
            tags.append("typo")
        office = draw.choices(list(people), sizes)[0]
        first, last = people[office]
        mail = f"{first}.{last}@example.org".lower()
        if draw.random() < 0.2:
            phone = f"{draw.randint(201, 989)}-555-01{draw.randint(0, 99):02}"
            text += draw.choice(
                [f"\n{first} {last}", f"\n{first}", f"\n{first} {last}, {phone}", f" Mail me at {mail}."]
            )
            tags.append("signature")
        if draw.random() < WRONG:
            queue = draw.choice(labels)
        made.append({
            "id": f"L-{number:04}", "office": office, "sender": f"{first} {last}", "mail": mail, "text": text,
            "queue": queue, "tags": tags,
        })  # fmt: skip
    return made


if __name__ == "__main__":
    made = rows()
    (DATA / "raw").mkdir(exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
    (DATA / "raw/lines.jsonl").write_text(text, encoding="utf-8", newline="\n")
    labels = [*QUEUES, "nothing_open", "out_of_scope"]
    (DATA / "schema.json").write_text(json.dumps({"enum": labels}, indent=2) + "\n", encoding="utf-8", newline="\n")
    print(f"{len(made)} lines of {len({row['office'] for row in made})} offices for {len(labels)} labels")
