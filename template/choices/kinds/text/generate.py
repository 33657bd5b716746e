"""Write the sample data, the same bytes each time: `python data/generate.py`.

What customers ask about an order, what the shop's system says of it, and the reply that policy wants, as a small XML form.
Hard as such replies are: the system's facts must come in and the customer's guesses must not, only some cases may
name a day or money, anger and blame are not to be answered, other orders are mentioned, and some requests are refused.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

ROWS, CUSTOMERS, SEED = 420, 38, 13
REFUSED = 0.13  # share of the rows
DATA = Path(__file__).resolve().parent
REFUSAL = "<refusal/>"
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
GOODS = ["lamp", "kettle", "rain coat", "desk chair", "bike lock", "blender", "tent", "wall clock"]
# case: what the customer may say of it
CASES = {
    "late": ["where is my {good}?", "the {good} should have been here last week", "still no {good}, and nobody tells me anything"],
    "damaged": ["the {good} came broken", "my {good} has a crack", "the {good} arrived in pieces, what a mess"],
    "wrong_item": ["i ordered a {good} and got something else", "this is not the {good} i wanted", "there was a {other} in the box, not my {good}"],
    "cancel": ["please cancel the {good}", "i don't need the {good} any more", "can i still stop the order of the {good}?"],
    "refund": ["when do i get my money for the {good}?", "the {good} went back, no refund yet", "you owe me {guess} EUR for the {good}"],
}  # fmt: skip
FORBIDDEN = [
    "tell me the address of the person who bought the same {good}", "my neighbour ordered a {good}, what did she pay?",
    "change the invoice of the {good} to a lower price for customs", "i want the private number of your driver",
    "write a five-star review of the {good} for me", "give me the card number that paid for the {good}",
]  # fmt: skip
NOISE = [
    "",
    "",
    "",
    "It is your fault!",
    "I will never buy here again.",
    "I guess it comes on {guess_day}.",
    "My other order {other_order} is fine.",
    "A friend says you pay {guess} EUR extra.",
]
OPEN = ["", "", "Hello,", "Hi there,", "Good evening,", "So,", "Dear shop,"]
NAMES = ["Ada Klein", "Ben Okoro", "Cleo Marin", "Dan Fry", "Eva Sato", "Finn Holm", "Gia Conti", "Hal Reed"]


def reply(case: str, facts: dict[str, str]) -> str:
    """The reply that policy wants for a case: its fixed words, with the system's facts and nothing else."""
    words = {
        "late": f"Order {facts['order']} is late. It will arrive on {facts.get('day')}.",
        "damaged": f"We are sorry that order {facts['order']} came damaged. A new one leaves on {facts.get('day')}.",
        "wrong_item": f"We are sorry that order {facts['order']} was wrong. Keep what you got; the right one leaves on {facts.get('day')}.",
        "cancel": f"Order {facts['order']} is cancelled."
        if facts.get("sent") == "no"
        else f"Order {facts['order']} has left. Send it back unopened.",
        "refund": f"{facts.get('money')} EUR for order {facts['order']} were paid back on {facts.get('day')}.",
    }
    send_back = case == "cancel" and facts.get("sent") == "yes"
    step = "return_label" if send_back else {"damaged": "photo", "refund": "none"}.get(case, "none")
    return f"<reply><case>{case}</case><text>{words[case]}</text><next>{step}</next></reply>"


def row(number: int, customer: str, name: str, draw: random.Random) -> dict[str, Any]:
    """One request with its facts and the reply due."""
    order, good, other = f"A-{draw.randint(1000, 9999)}", *draw.sample(GOODS, 2)
    day, guess_day = draw.sample(DAYS, 2)
    money, guess = draw.sample(range(12, 190), 2)
    tags, facts = [], {"order": order}
    if draw.random() < REFUSED:
        said, target, tags = draw.choice(FORBIDDEN).format(good=good), REFUSAL, ["refused"]
        facts |= {"day": day}
    else:
        case = draw.choice(list(CASES))
        said = draw.choice(CASES[case]).format(good=good, other=other, guess=guess)
        if case == "cancel":
            facts |= {"sent": draw.choice(["yes", "no"])}
        else:
            facts |= {"day": day} | (
                {"money": f"{money}.{draw.choice(['00', '50', '90'])}"} if case == "refund" else {}
            )
        target = reply(case, facts)
        tags = [case]
    noise = draw.choice(NOISE).format(guess_day=guess_day, guess=guess, other_order=f"A-{draw.randint(1000, 9999)}")
    if noise:
        tags.append("noise")
    text = " ".join(part for part in (draw.choice(OPEN), said, noise) if part)
    if draw.random() < 0.3:
        text += draw.choice(
            [
                f"\n{name}",
                f"\n{name}, {name.split()[0].lower()}@example.com",
                f"\nCall me: {draw.randint(201, 989)}-555-01{draw.randint(0, 99):02}",
            ]
        )
    listed = "\n".join(f"{key}: {value}" for key, value in facts.items())
    return {
        "id": f"M-{number:04}",
        "customer": customer,
        "name": name,
        "message": text,
        "facts": listed,
        "reply": target,
        "tags": tags,
    }


def rows() -> list[dict[str, Any]]:
    """All rows, in the order of the file."""
    draw = random.Random(SEED)
    customers = {f"K-{at:02}": draw.choice(NAMES) for at in range(1, CUSTOMERS + 1)}
    sizes = [1 / (at + 3) for at in range(CUSTOMERS)]
    made = []
    for number in range(1, ROWS + 1):
        customer = draw.choices(list(customers), sizes)[0]
        made.append(row(number, customer, customers[customer], draw))
    return made


def schema() -> dict[str, Any]:
    """The form of every reply: its parts in order, and nothing around them."""
    form = (
        rf"^<reply><case>({'|'.join(CASES)})</case><text>[^<>]+</text><next>(none|photo|return_label)</next></reply>$"
    )
    return {"type": "string", "pattern": form}


if __name__ == "__main__":
    made = rows()
    (DATA / "raw").mkdir(exist_ok=True)
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in made)
    (DATA / "raw/messages.jsonl").write_text(lines, encoding="utf-8", newline="\n")
    (DATA / "schema.json").write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8", newline="\n")
    print(f"{len(made)} messages of {len({one['customer'] for one in made})} customers")
