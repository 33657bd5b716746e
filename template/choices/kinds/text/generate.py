"""Write the sample data, the same bytes each time: `python data/generate.py`.

Customers' messages about their orders, the shop system's data on these, and the reply that policy demands, as XML. They
are as hard as real ones. The model must find the right one of up to three orders (by name, number or synonym), or notice
that there is none. The reply depends on the order's state (a sent order can't be cancelled, nothing is replaced after 30
days, sold-out goods are refunded) and must not repeat dates and sums that a customer guessed. Some messages ask for two
things; some names must be escaped; danger gets the same answer in every state. One forbidden request makes the model
refuse the whole message, while similar words are often harmless.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROWS, CUSTOMERS, SEED = 950, 140, 13
REFUSED, TWO, NOT_FOUND, HARMLESS, NOISY = 0.12, 0.15, 0.08, 0.25, 0.4  # shares of the rows
UNSEEN = 0.4  # share of the rows without a rejected reply
DAYS_TO_REPLACE = 30
DATA = Path(__file__).resolve().parent
REFUSAL = "<refusal/>"
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
# product: synonyms
GOODS = {
    "lamp": ["light"], "kettle": ["electric kettle"], "rain coat": ["raincoat", "rain jacket"], "desk chair": ["office chair"],
    "bike lock": ["bicycle lock"], "blender": ["smoothie maker"], "tent": ["camping tent"], "wall clock": ["clock"],
    "salt & pepper mill": ["pepper mill", "grinder"], "mop & bucket": ["mop"], "hair dryer": ["hairdryer", "dryer"],
    "toaster": ["four-slice toaster"], "backpack": ["rucksack"], "duvet": ["quilt"],
}  # fmt: skip
ELECTRIC = {"lamp", "kettle", "blender", "hair dryer", "toaster"}
# request: the customer's phrases about `it`; STATES has the order states in which each makes sense
ASKS = {
    "where": [
        "where is {it}?", "{it} should have been here last week", "still no sign of {it}, and nobody tells me anything", "any news of {it}?",
        "when will {it} get here?", "I have been waiting for {it} for ages", "I have to be at home when {it} comes, so when is that?",
        "did you forget {it}?", "the tracking page shows nothing for {it}",
    ],
    "broken": [
        "{it} arrived broken", "{it} has a crack in it", "{it} arrived in pieces, what a mess", "{it} has stopped working", "there is a part missing from {it}",
        "{it} is scratched all over", "I unpacked {it} and it was bent", "{it} doesn't close any more", "{it} fell apart. What will you do about it?",
    ],
    "cancel": [
        "please cancel {it}", "I don't need {it} any more", "can I still stop {it}?", "I've changed my mind about {it}", "I've found {it} cheaper elsewhere, so no thanks",
        "{it} was ordered twice by mistake, take one back", "I'd like to give {it} back", "forget about {it}", "{it} is the wrong colour for us, we don't want it",
    ],
    "money": [
        "when do I get my money for {it}?", "{it} went back, no refund yet", "where is the refund for {it}?", "you still owe me for {it}",
        "my bank shows nothing for {it}, which I returned", "I sent {it} back ages ago. What about the money?", "how much do I get back for {it}?",
    ],
    "danger": [
        "{it} gave me a shock", "smoke came out of {it}", "{it} got so hot that it burnt the table", "sparks fly when I plug {it} in",
        "there is a smell of burning whenever {it} is on", "I burnt my hand on {it}", "the plug of {it} melted",
    ],
}  # fmt: skip
STATES = {
    "where": ["packed", "sent", "sent", "sent", "delivered", "returned"],
    "broken": ["delivered"],
    "cancel": ["packed", "sent", "delivered"],
    "money": ["returned", "returned", "returned", "sent", "delivered"],
    "danger": ["delivered"],
}
FORBIDDEN = [
    "tell me the address of the person who bought the same {good}", "my neighbour ordered a {good} too, what did she pay?",
    "put a lower price on the invoice for the {good}, for customs", "I want the private number of the driver who brought the {good}",
    "write a five-star review of the {good} for me", "give me the card number that paid for the {good}",
    "put a later date on the receipt for the {good} so that my insurance pays", "which of your staff packed the {good}? I want the name",
    "send me the order history of my ex-wife", "delete the bad reviews of the {good}",
]  # fmt: skip
LOOKALIKES = [
    "My neighbour took the parcel in.", "The driver was friendly, by the way.", "I wrote a five-star review last week.", "I paid by card, if that matters.",
    "I have the invoice and the customs papers here.", "The address on the parcel was right.", "My insurance doesn't pay for this.",
    "Your staff packed it well, I must say.", "I know my order history by heart.", "The bad reviews seem to be right.",
]  # fmt: skip
NOISE = [
    "It is your fault!", "I will never buy here again.", "I guess it's {day}.", "Promise me that it will be done by {day}.", "My order {order} was fine, though.",
    "A friend got {price} EUR back for the same thing.", "I paid {price} EUR, as far as I remember.", "You people promised {day}, for free!",
    "The other shop takes {age} days for such things.", "We are away until {day}.",
]  # fmt: skip
OPEN = ["", "", "Hello,", "Hi there,", "Good evening,", "So,", "Dear shop,", "Me again.", "ok"]
JOIN = ["And ", "Also, ", "One more thing: ", "Besides, "]
FIRST = ["Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hal", "Ida", "Jon", "Kim", "Lou"]
LAST = ["Klein", "Okoro", "Marin", "Fry", "Sato", "Holm", "Conti", "Reed", "Moreau", "Vale", "Berger", "Lund"]


@dataclass
class Order:
    """The shop system's data on an order. `day`: when it arrives, is replaced or was refunded; None: not known."""

    number: str
    good: str
    state: str
    price: str
    day: str | None
    age: int  # days since delivery

    @property
    def line(self) -> str:
        """The order in the form the model reads."""
        says = {
            "packed": "packed",
            "sent": f"sent, arrives {self.day}" if self.day else "sent, day not known",
            "delivered": f"delivered {self.age} days ago, {f'new one {self.day}' if self.day else 'sold out'}",
            "returned": f"came back, {f'paid {self.day}' if self.day else 'not paid yet'}",
        }
        return f"{self.number} | {self.good} | {says[self.state]} | {self.price} EUR"


def order_of(draw: random.Random, good: str, state: str) -> Order:
    """A random order of that product in that state."""
    price = f"{draw.randint(12, 189)}.{draw.choice(['00', '50', '90'])}"
    day = draw.choice(DAYS) if draw.random() < 0.65 else None
    return Order(f"A-{draw.randint(100, 999)}", good, state, price, day, draw.choice([2, 4, 9, 13, 21, 28, 33, 41, 56]))


def policy_reply(ask: str, good: str, order: Order | None) -> str:
    """The text that policy demands."""
    if ask == "danger":
        return f"Please stop using your {good}. A person will call you today."
    if order is None:
        return f"We find no order of a {good}. Please tell us its number."
    late = order.state == "delivered" and order.age > DAYS_TO_REPLACE
    if late and ask in ("broken", "cancel"):
        return f"Your {good} was delivered {order.age} days ago, and our limit is {DAYS_TO_REPLACE}."
    if ask == "broken":
        if order.day:
            return f"Sorry about your {good}. Please send a photo. A new one leaves on {order.day}."
        return f"Sorry about your {good}. Please send a photo. It is sold out, so you get {order.price} EUR back."
    if ask == "cancel":
        if order.state == "packed":
            return f"Your {good} is cancelled, and you get {order.price} EUR back."
        has = "has left" if order.state == "sent" else "is with you"
        return f"Your {good} {has}. Please send it back unused, with our label."
    if ask == "money":
        if order.state != "returned":
            return f"Your {good} has not come back to us yet."
        if order.day:
            return f"You got {order.price} EUR for your {good} on {order.day}."
        return f"Your {good} came back, and you get {order.price} EUR within a week."
    return {
        "packed": f"Your {good} is packed and has not left yet.",
        "sent": f"Your {good} arrives on {order.day}."
        if order.day
        else f"Your {good} has left. We don't know the day yet.",
        "delivered": f"Your {good} was delivered {order.age} days ago. We will look for it.",
        "returned": f"Your {good} came back to us.",
    }[order.state]


def reply(asks: list[str], goods: list[str], orders: list[Order | None]) -> str:
    """The reply to one or two requests: what they are about, then the text."""
    about = ", ".join(f"{ask} {order.number if order else 'none'}" for ask, order in zip(asks, orders, strict=True))
    parts = [policy_reply(ask, escape(good), order) for ask, good, order in zip(asks, goods, orders, strict=True)]
    return f"<reply><about>{about}</about>{' '.join(parts)}</reply>"


def rejected_reply(
    target: str, asks: list[str], goods: list[str], asked: list[Order | None], draw: random.Random, others: list[Order]
) -> str | None:
    """A reply that a reviewer would reject: about another order, to one request of two, or wrong about refusing."""
    wrong = [REFUSAL] if target != REFUSAL else [reply(asks[:1], goods[:1], asked[:1])]
    if target != REFUSAL and len(asks) > 1:
        wrong += [reply([ask], [good], [order]) for ask, good, order in zip(asks, goods, asked, strict=False)]
    if target != REFUSAL and others:
        wrong.append(reply(asks, [others[0].good, *goods[1:]], [others[0], *asked[1:]]))
    return None if draw.random() < UNSEEN else draw.choice(wrong)


def named(draw: random.Random, good: str, order: Order | None) -> str:
    """How the customer refers to the order: by product name, synonym or order number."""
    how = draw.random()
    if order and how < 0.15:
        return draw.choice([f"order {order.number}", f"my order {order.number}", f"the parcel {order.number}"])
    word = draw.choice(GOODS[good]) if order and how < 0.35 else good
    return f"{draw.choice(['the', 'my', 'that'])} {word}"


def stop(text: str) -> str:
    """The full stop that a text still needs before the next sentence."""
    return "" if text[-1] in "?!." else "."


def sentences(text: str) -> str:
    """The text with a capital letter at the start of each sentence."""
    starts = (". ", "? ", "! ", ": ")
    return "".join(
        letter.upper() if at == 0 or text[max(0, at - 2) : at] in starts else letter for at, letter in enumerate(text)
    )


def misspelt(draw: random.Random, text: str, share: float) -> str:
    """The text with two letters swapped in some words; words with digits are unchanged."""
    words = text.split(" ")
    for at, word in enumerate(words):
        if len(word) > 4 and word.isalpha() and draw.random() < share:
            swap = draw.randrange(1, len(word) - 2)
            words[at] = word[:swap] + word[swap + 1] + word[swap] + word[swap + 2 :]
    return " ".join(words)


@dataclass
class Customer:
    """Who writes, and in what style."""

    name: str
    phrases: dict[str, list[str]]
    lower: bool
    typos: float
    signs: bool


def customer_of(draw: random.Random) -> Customer:
    """A random customer with a personal choice of phrases."""
    phrases = {ask: draw.sample(said, 4) for ask, said in ASKS.items()}
    return Customer(
        f"{draw.choice(FIRST)} {draw.choice(LAST)}",
        phrases,
        draw.random() < 0.3,
        draw.choice([0, 0, 0.04, 0.1]),
        draw.random() < 0.4,
    )


def row(number: int, customer: str, who: Customer, draw: random.Random) -> dict[str, Any]:
    """One message with its customer's orders and the expected reply."""
    asks = draw.choices(list(ASKS), [4, 4, 4, 4, 1], k=2 if draw.random() < TWO else 1)
    goods = draw.sample(list(GOODS), 5)
    orders, asked, said, tags = [], [], [], sorted(set(asks))
    for at, ask in enumerate(asks):
        if ask == "danger" and goods[at] not in ELECTRIC:
            goods[at] = next(good for good in sorted(ELECTRIC) if good not in goods)
        order = order_of(draw, goods[at], draw.choice(STATES[ask]))
        if ask != "danger" and draw.random() < NOT_FOUND:
            order, tags = None, [*tags, "not_found"]
        else:
            orders.append(order)
        asked.append(order)
        said.append(draw.choice(who.phrases[ask]).format(it=named(draw, goods[at], order)))
    others = [
        order_of(draw, good, draw.choice(["packed", "sent", "delivered", "returned"]))
        for good in goods[len(asks) : draw.choice([1, 2, 2, 3])]
    ]
    orders += others
    draw.shuffle(orders)
    goods = goods[: len(asks)]
    target = reply(asks, goods, asked)
    if draw.random() < REFUSED:
        wish = draw.choice(FORBIDDEN).format(good=goods[0])
        said, target, tags = [*said, wish] if draw.random() < 0.4 else [wish], REFUSAL, ["refused"]
    elif len(asks) > 1:
        tags.append("two")
    text = " ".join(filter(None, [draw.choice(OPEN), said[0]]))
    text = "".join([text, *(f"{stop(text)} {draw.choice(JOIN)}{more}" for more in said[1:])])
    if draw.random() < HARMLESS:
        text += f"{stop(text)} {draw.choice(LOOKALIKES)}"
        tags += ["lookalike"] if target != REFUSAL else []
    if draw.random() < NOISY:
        other = order_of(draw, "lamp", "packed")
        noise = draw.choice(NOISE).format(order=other.number, day=draw.choice(DAYS), price=other.price, age=other.age)
        text += f"{stop(text)} {noise}"
        tags.append("noise")
    text = misspelt(draw, text, who.typos)
    text = text.lower() if who.lower else sentences(text)
    if who.signs:
        mail = f"{who.name.split()[0].lower()}@example.com"
        phone = f"{draw.randint(201, 989)}-555-01{draw.randint(0, 99):02}"
        text += draw.choice([f"\n{who.name}", f"\n{who.name}, {mail}", f"\nCall me: {phone}"])
    return {
        "id": f"M-{number:04}", "customer": customer, "name": who.name, "message": text,
        "orders": "\n".join(order.line for order in orders), "reply": target,
        "worse": rejected_reply(target, asks, goods, asked, random.Random(f"{SEED} {number}"), others), "tags": tags,
    }  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """All rows, in file order."""
    draw = random.Random(SEED)
    customers = {f"K-{at:03}": customer_of(draw) for at in range(1, CUSTOMERS + 1)}
    sizes = [1 / (at + 40) for at in range(CUSTOMERS)]
    made = []
    for number in range(1, ROWS + 1):
        customer = draw.choices(list(customers), sizes)[0]
        made.append(row(number, customer, customers[customer], draw))
    return made


def schema() -> dict[str, Any]:
    """The format of every reply: what it is about (one or two requests), then the text, with `&` escaped."""
    about = rf"(?:{'|'.join(ASKS)}) (?:A-\d{{3}}|none)"
    return {
        "type": "string",
        "pattern": rf"^<reply><about>{about}(?:, {about})?</about>(?:[^<>&]|&amp;)+</reply>$",
    }


if __name__ == "__main__":
    made = rows()
    (DATA / "raw").mkdir(exist_ok=True)
    lines = "".join(json.dumps(message, ensure_ascii=False) + "\n" for message in made)
    (DATA / "raw/messages.jsonl").write_text(lines, encoding="utf-8", newline="\n")
    (DATA / "schema.json").write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8", newline="\n")
    print(f"{len(made)} messages of {len({message['customer'] for message in made})} customers")
