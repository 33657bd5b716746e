"""Write the reference domain: made-up support tickets with their answers, and gold labels to measure with.

    python data/generate.py

A ticket is composed of clauses (`clauses.py`) that contain marks: `\\x01name\\x02text\\x03`. Lower-case marks are facts,
upper-case marks are private values. Answers and gold spans are extracted from the finished text, so they occur in it
literally, including any typos and changed capitals.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import clauses as say
from wording import (
    FACTS,
    FIXED,
    STRAY,
    STRAY_CODE,
    Customer,
    casual,
    make_customers,
    mark,
    misspell,
    private_value,
    rewrite,
    slots,
    telegram,
    unmark,
)

DATA = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Period:
    """Tickets of some months, from customers who had written none before."""

    seed: int
    first_day: date
    last_day: date
    rows: int
    customers: int
    products: int  # of each customer
    skew: tuple[float, float]  # the size of customer n is proportional to 1 / (n + second) ** first


PERIODS = (
    Period(20938, date(2025, 9, 1), date(2026, 5, 31), rows=1750, customers=160, products=5, skew=(0.6, 6.0)),
    # Many customers with few tickets each: what calibration needs.
    Period(20939, date(2026, 6, 1), date(2026, 8, 31), rows=1050, customers=290, products=3, skew=(0.3, 6.0)),
)

# Shares of all rows.
REFUSAL, NEAR_REFUSAL, SHORT, LONG = 0.10, 0.09, 0.035, 0.006
EXACT_DUPLICATE, NEAR_DUPLICATE = 0.03, 0.06
# Numbers of rows.
LABEL_CONFLICTS, CROSS_CUSTOMER, ANOTHER_CASE = 4, 2, 8
# Probabilities per ticket; a customer's voice changes those for typos and signatures.
QUOTED, SIGNATURE, TYPOS, CAPITALS = 0.07, 0.09, 0.11, 0.01
SECOND_DATE, SECOND_AMOUNT, SECOND_ORDER, SECOND_PRODUCT = 0.16, 0.16, 0.03, 0.22
FINE_PART, FIXED_FAULT = 0.05, 0.04
FILLED = 0.03  # a sentence without information
PRIVATE_SENTENCE, NO_CONTACT = 0.24, 0.12
SECOND_WISH = 0.5  # besides what the customer wants, the ticket names something else that could be wanted
HIGH, RELAXED = 0.31, 0.25  # urgent; or not urgent, but the ticket speaks of it
TOLD = 0.6  # of these: by a sentence of HASTE
SUBJECT_ISSUE = 0.06  # the first issue is in the subject
ISSUE_TYPOS = 0.05  # share of the tickets with typos whose issues have typos too

INTENTS = {
    "refund": 18, "exchange": 14, "delivery": 16, "billing": 14,
    "technical": 15, "cancellation": 8, "account": 8, "other": 7,
}  # fmt: skip
# Probability that a ticket states the fact. An amount is a fact only if it is claimed back or disputed.
STATED = {
    "refund": {"product": 0.93, "order": 0.11, "date": 0.88, "amount": 0.82},
    "exchange": {"product": 0.93, "order": 0.11, "date": 0.88},
    "delivery": {"product": 0.92, "order": 0.13, "date": 0.88},
    "billing": {"product": 0.92, "order": 0.11, "date": 0.88, "amount": 0.88},
    "technical": {"product": 0.93, "order": 0.08, "date": 0.86},
    "cancellation": {"product": 0.93, "order": 0.11, "date": 0.88},
    "account": {"product": 0.88, "order": 0.08, "date": 0.86},
    "other": {"product": 0.90, "order": 0.06, "date": 0.84},
}
ISSUE_COUNT = {  # weights of 0, 1, 2 and 3 issues
    "refund": (8, 77, 14, 1), "exchange": (5, 77, 16, 2), "delivery": (10, 77, 13, 0), "billing": (5, 81, 14, 0),
    "technical": (0, 77, 19, 4), "cancellation": (60, 40, 0, 0), "account": (12, 83, 5, 0), "other": (1, 0, 0, 0),
}  # fmt: skip
# What the trouble is about ("": a faulty part), with weights: most kinds of trouble can lead to several wishes.
TROUBLE = {
    "refund": {"": 11, "delivery": 5, "billing": 4}, "exchange": {"": 15, "delivery": 5},
    "delivery": {"delivery": 1}, "billing": {"billing": 7, "delivery": 3}, "technical": {"": 1},
    "cancellation": {"cancellation": 5, "delivery": 5, "billing": 2}, "account": {"account": 1}, "other": {"": 1},
}  # fmt: skip


CONTACT = {"contact_name": "PERSON", "contact_email": "EMAIL_ADDRESS", "contact_phone": "PHONE_NUMBER"}


@dataclass(frozen=True)
class Ticket:
    """A written ticket; `subject` and `body` contain marks."""

    customer: Customer
    contact: tuple[str | None, ...]
    received: date
    subject: str
    body: str
    intent: str  # "" for a refusal
    urgency: str
    amount: float | None
    day: date | None
    tags: tuple[str, ...]
    family: int = -1  # tickets of one family are duplicates

    def target(self) -> dict[str, Any]:
        if not self.intent:
            return {"intent": "refuse"}
        found: dict[str, list[str]] = {name: [] for name in FACTS}
        for text, spans in (unmark(self.subject), unmark(self.body)):
            for name, start, end in spans:
                found.get(name, []).append(text[start:end])
        return {
            "intent": self.intent,
            "urgency": self.urgency,
            "product": next(iter(found["product"]), None),
            "amount": int(self.amount) if self.amount is not None and self.amount % 1 == 0 else self.amount,
            "date": self.day.isoformat() if self.day else None,
            "issues": found["issue"],
        }


class Writer:
    """Writes one ticket: draws the facts, then clauses until every fact is stated."""

    def __init__(self, rng: random.Random, customer: Customer, received: date) -> None:
        self.rng, self.customer, self.received = rng, customer, received
        self.person = rng.choice(customer.people)
        self.greetings, self.closings, self.register, self.typos, self.signs = say.VOICES[customer.voice]
        self.tags: set[str] = set()
        self.trouble = ""
        product, self.other_product = rng.sample(customer.products, 2)
        whole = rng.randint(*rng.choices(((5, 60), (20, 200), (100, 900), (1000, 2400)), weights=(4, 4, 4, 1))[0])
        self.amount = round(whole + rng.choice((0, 0, 0.5, 0.9, 0.95, 0.99, rng.randint(1, 99) / 100)), 2)
        word = customer.order_word
        self.slot = {
            "product": mark("product", product),
            "order": mark("order", customer.order(rng)),
            "amount": mark("amount", customer.money(rng, self.amount)),
            "ow": word,
            "Ow": word[0].upper() + word[1:],
        }
        self.set_day(received - timedelta(days=rng.randint(2, 80)))

    def set_day(self, day: date) -> None:
        """Set the day of the answer; the ticket always gives it in full."""
        marked = mark("date", self.customer.day(self.rng, day, year=True))
        self.day = day
        self.slot |= {"day": marked, "on": f"on {marked}", "On": f"On {marked}"}

    def pick(self, bank: Sequence[Any]) -> Any:
        return self.rng.choice(self.customer.own(bank))

    def stray_amount(self) -> str:
        value = self.rng.choice((4.95, 6.9, 12, 19, 25, 39.9, 49, 75.5, 110, 237.5, 480, 1290))
        return mark(STRAY, self.customer.money(self.rng, value))

    def stray_day(self, first: int, last: int) -> str:
        """A day that is not the answer's; an earlier message (-30 or later) came after what it is about, if it can."""
        since = (self.day - self.received).days + 1
        first = max(first, min(since, last)) if first >= -30 and last < 0 else first
        day = self.received + timedelta(days=self.rng.randint(first, last))
        return mark(STRAY, self.customer.day(self.rng, day, year=max(-first, last) > 100))

    def stray_order(self) -> str:
        return mark(STRAY_CODE, self.customer.order(self.rng))

    def private(self, kind: str) -> str:
        own = dict(zip(CONTACT.values(), self.person, strict=True))
        value = own[kind] if kind in own and self.rng.random() < 0.5 else private_value(self.rng, kind)
        return mark(kind, value)

    def fill(self, clause: str, **more: str) -> str:
        clause = re.sub(r"\[(.+?)\]", lambda found: self.rng.choice(found[1].split("|")), clause)
        for kind in say.PRIVATE:
            if f"{{{kind}}}" in clause:
                more[kind] = self.private(kind)
        return clause.format(**{**self.slot, **more})

    def write(self, intent: str, first: str = "", issue: str = "", shape: str = "") -> Ticket:
        """A ticket with a request; `first` is an opening sentence, `issue` the only issue."""
        rng = self.rng
        if shape == "short":
            return self.write_short(intent)
        facts = {fact for fact, chance in STATED[intent].items() if rng.random() < chance}
        self.trouble = rng.choices(list(TROUBLE[intent]), weights=list(TROUBLE[intent].values()))[0]
        issues = [mark("issue", self.fill(issue)) for issue in ([issue] if issue else self.draw_issues(intent))]
        ask, other = self.contrast(intent, facts) if rng.random() < SECOND_WISH else (self.plain_ask(intent, facts), "")
        subject, told = self.subject(other if other and rng.random() < 0.5 else intent, facts, issues)
        issues = issues[1:] if "issue" in told else issues
        left = facts - slots(ask) - (told if rng.random() < 0.6 else set())
        urgency, hurry = self.hurry()
        talk = [*([self.fill(first)] if first else []), *self.say_issues(issues, intent, told)]
        talk += self.distractions(intent, facts, issues)
        if self.customer.voice == "form" and shape != "long":
            lines = [self.fill(say.FORM_LINES[fact]) for fact in rng.sample(sorted(left), len(left))]
            body = "\n".join([*lines, "Message: " + together([*talk, self.fill(ask), *hurry])])
        else:
            parts = [self.say_facts(intent, left), talk, [self.fill(ask)], hurry]
            if rng.random() < 0.25:  # the request comes first
                parts.insert(0, parts.pop(2))
            elif rng.random() < 0.3:  # or the urgency does
                parts.insert(0, parts.pop())
            sentences = [sentence for part in parts for sentence in part]
            for clause in rng.sample(say.FILLER, rng.randint(22, 30) if shape == "long" else self.filler()):
                sentences.insert(rng.randint(0, len(sentences)), clause)
            body = self.frame(sentences)
        if {"product", "date", *(["amount"] if "amount" in STATED[intent] else [])} - facts:
            self.tags.add("missing_field")
        self.tags |= {shape} - {""}
        return self.finish(subject, self.attach(body), intent, urgency, facts)

    def plain_ask(self, intent: str, facts: set[str]) -> str:
        asks = say.ASKS[intent][self.register]
        own = [ask for ask in self.customer.own(asks) if slots(ask) <= facts]
        return self.rng.choice(own or [ask for ask in asks if slots(ask) <= facts])

    def contrast(self, intent: str, facts: set[str]) -> tuple[str, str]:
        """A request that also names another wish, which is not the customer's or is one no longer; and that wish's intent."""
        rng = self.rng
        other = rng.choice(say.ALSO[intent])
        # An amount in the other wish could otherwise be taken for the one meant.
        clear = "amount" in facts or "amount" not in STATED[intent]
        clause = self.pick(say.CONTRASTS[self.register])
        wanted = {
            key: rng.choice([wish for wish in bank[intent] if slots(wish) <= facts])
            for key, bank in (("v", say.VERBS), ("n", say.NOUNS))
        }
        unwanted = {
            key: rng.choice([wish for wish in bank[other] if clear or not slots(wish)]).replace("{amount}", "{x}")
            for key, bank in (("w", say.VERBS), ("m", say.NOUNS))
        }
        if "{y}" in clause:
            self.tags.add("two_dates")
        ask = clause.format(**wanted, **unwanted, y=self.stray_day(-20, -1))
        if "{x}" in ask:
            self.tags.add("two_amounts")
        self.tags.add("two_wishes")
        return ask.replace("{x}", self.stray_amount()), other

    def write_short(self, intent: str) -> Ticket:
        """Three to eight words: a casual request, and an order, a product or an issue."""
        rng = self.rng
        facts = {fact for fact, chance in STATED[intent].items() if rng.random() < chance * 0.6}
        ask = rng.choice([ask for ask in say.ASKS[intent][1] if slots(ask) <= facts and len(ask.split()) <= 6])
        more = [self.slot[fact] for fact in ("order", "product") if fact in facts]
        more += [mark("issue", issue) for issue in self.draw_issues(intent) if len(issue.split()) < 5]
        facts = slots(ask) | {fact for fact in facts & {"order", "product"} if self.slot[fact] in more[:1]}
        body = self.fill(rng.choice((f"{more[0]} {ask}", f"{ask}, {more[0]}"))) if more else self.fill(ask)
        self.tags |= {"short", "missing_field"}
        return self.finish(rng.choice((*say.PLAIN_SUBJECTS, *say.SUBJECTS[intent])), body, intent, "normal", facts)

    def write_refusal(self, clause: str) -> Ticket:
        rng = self.rng
        sentences = [self.fill(clause, x=self.stray_amount())]
        for extra in rng.sample(say.REFUSAL_EXTRA, rng.randint(0, 3)):
            sentences.insert(rng.randint(0, 1), self.fill(extra))
        if rng.random() < 0.2:
            sentences.insert(0, rng.choice(say.ISSUES[0]).format(a=self.draw_issues("technical")[0]))
        if rng.random() < 0.4:
            wishes = {
                key: rng.choice([wish for wish in bank[rng.choice(list(INTENTS))] if not slots(wish)])
                for key, bank in (("w", say.VERBS), ("m", say.NOUNS))
            }
            sentences.insert(0, rng.choice(say.BEFORE_REFUSAL).format(**wishes))
        self.tags.add("refusal")
        subjects = (*say.PLAIN_SUBJECTS, *say.SUBJECTS[rng.choice(list(INTENTS))])
        return self.finish(rng.choice(subjects), self.attach(self.frame(sentences)), "", "normal", set())

    def draw_issues(self, intent: str) -> list[str]:
        count = self.rng.choices(range(4), weights=ISSUE_COUNT[intent])[0]
        if self.trouble:
            return self.rng.sample(self.customer.own(say.EVENTS[self.trouble]), count)
        parts = self.rng.sample(sorted(self.customer.parts), count)
        return [f"{part} {self.rng.choice(self.customer.parts[part])}" for part in parts]

    def say_issues(self, issues: list[str], intent: str, told: set[str]) -> list[str]:
        if issues:
            return [self.pick(say.ISSUES[len(issues) - 1]).format(**dict(zip("abc", issues, strict=False)))]
        if intent not in say.REASONS or self.trouble or "issue" in told:
            return []
        sentence, reason = self.pick(say.REASONS[intent])
        return [sentence.format(a=mark("issue", reason))]

    def say_facts(self, intent: str, facts: set[str]) -> list[str]:
        said, left = [], set(facts)
        bank = say.CONTEXT["any"]
        if intent in ("account", "other") or self.rng.random() < 0.4:
            bank = say.CONTEXT.get(self.trouble or intent, say.CONTEXT["purchase"])
        while left:
            fits = [clause for clause in self.customer.own(bank) if slots(clause) and slots(clause) <= left]
            rest = (*bank, *say.CONTEXT["any"], *say.AMOUNT_ALONE)
            clause = self.rng.choice(fits or [clause for clause in rest if slots(clause) and slots(clause) <= left])
            left -= slots(clause)
            said.append(self.fill(clause))
        return said

    def hurry(self) -> tuple[str, list[str]]:
        """The urgency, and the sentence that expresses it."""
        rng, roll = self.rng, self.rng.random()
        if roll >= HIGH + RELAXED:
            return "normal", []
        high = roll < HIGH
        if rng.random() < TOLD:
            urgent, relaxed = self.pick(say.HASTE)
            clause = urgent if high else relaxed
            self.tags.add("told_urgency")
        else:
            clause = self.pick(say.URGENT if high else say.RELAXED)
        if "{x}" in clause:
            self.tags.add("two_dates")
        return "high" if high else "normal", [clause.format(x=self.stray_day(1, 9))]

    def distractions(self, intent: str, facts: set[str], issues: list[str]) -> list[str]:
        """Sentences with private values, and with amounts, days, orders and products that are not part of the answer."""
        rng, said = self.rng, []
        if rng.random() < SECOND_AMOUNT and intent not in ("account", "other"):
            bank = say.OTHER_AMOUNTS.get(intent, say.OTHER_AMOUNTS["any"])
            said.append(self.pick(bank).format(x=self.stray_amount()))
            self.tags.add("two_amounts")
        if rng.random() < SECOND_DATE:
            clause, first, last = self.pick(say.OTHER_DAYS)
            said.append(clause.format(x=self.stray_day(first, last)))
            self.tags.add("two_dates")
        if rng.random() < SECOND_ORDER:
            said.append(self.fill(rng.choice(say.OTHER_ORDERS), x=self.stray_order()))
            self.tags.add("two_orders")
        if "product" in facts and rng.random() < SECOND_PRODUCT:
            clause = rng.choice(say.OTHER_PRODUCTS)
            said.append(clause.format(x=mark(STRAY, self.other_product), y=self.stray_day(-900, -90)))
            self.tags |= {"two_products"} | ({"two_dates"} if "{y}" in clause else set())
        if not self.trouble and issues and rng.random() < FIXED_FAULT:
            part, fault = self.fault([*issues, *said])
            said.append(rng.choice(say.FIXED_FAULTS).format(a=f"{part} {fault}"))
            self.tags.add("another_fault")
        if rng.random() < FINE_PART and intent in ("refund", "exchange", "technical"):
            said.append(rng.choice(say.FINE).format(part=self.fault([*issues, *said])[0]))
            self.tags.add("fine_part")
        if rng.random() < PRIVATE_SENTENCE:
            kind = rng.choice(say.PRIVATE_FOR[intent])
            said.append(rng.choice(say.PRIVATE[kind]).format(v=self.private(kind)))
        return said

    def fault(self, named: list[str]) -> tuple[str, str]:
        """A part that is not named yet, with a fault it could have."""
        whole = [part for part in sorted(self.customer.parts) if not any(part in text for text in named)]
        part = self.rng.choice(whole)
        return part, self.rng.choice(self.customer.parts[part])

    def subject(self, intent: str, facts: set[str], issues: list[str]) -> tuple[str, set[str]]:
        """A subject, and the facts it states."""
        rng, roll = self.rng, self.rng.random()
        words = self.pick(say.SUBJECTS[intent])
        if roll < SUBJECT_ISSUE and issues:
            if "product" in facts:
                return f"{self.slot['product']}: {issues[0]}", {"product", "issue"}
            return issues[0], {"issue"}
        if roll < 0.25:
            return rng.choice(say.PLAIN_SUBJECTS), set()
        if roll < 0.37 and "order" in facts:
            return f"{words} {self.slot['order']}", {"order"}
        if roll < 0.5 and "product" in facts:
            return f"{words}: {self.slot['product']}", {"product"}
        return words, set()

    def filler(self) -> int:
        return self.rng.randint(0, 2) if self.customer.voice == "rambling" else int(self.rng.random() < FILLED)

    def frame(self, sentences: list[str]) -> str:
        greeting = self.rng.choice(self.greetings).format(agent=mark("PERSON", self.rng.choice(say.FIRST_NAMES)))
        return "\n".join(filter(None, (greeting, together(sentences), self.rng.choice(self.closings))))

    def attach(self, body: str) -> str:
        """Sometimes add a signature, or the quoted message that this one answers."""
        rng = self.rng
        if rng.random() < SIGNATURE * self.signs:
            name, email, phone = map(mark, CONTACT.values(), self.person)
            address = mark("STREET_ADDRESS", private_value(rng, "STREET_ADDRESS"))
            more = [email, f"Tel. {phone}", address, rng.choice(say.JOBS)]
            body = "\n".join([body, rng.choice(("", "", "-- \n", "--\n")) + name, *rng.sample(more, rng.randint(0, 2))])
            self.tags.add("signature")
        if rng.random() < QUOTED:
            day, part = self.stray_day(-12, -1), rng.choice(sorted(self.customer.parts))
            who = rng.choice((mark("PERSON", private_value(rng, "PERSON")), "Support", "Customer Service"))
            text = self.fill(rng.choice(say.QUOTED), order=self.stray_order(), amount=self.stray_amount(), part=part)
            body += rng.choice(say.QUOTES).format(day=day, who=who, text=text)
            self.tags.add("quoted_reply")
        return body

    def finish(self, subject: str, body: str, intent: str, urgency: str, facts: set[str]) -> Ticket:
        """Rewrite the text in the customer's style."""
        rng, voice = self.rng, self.customer.voice

        def lose(article: re.Match[str]) -> str:
            return article[0] if rng.random() < 0.6 else ""

        exact = ("order", STRAY_CODE, "SECRET", "URL", "IBAN_CODE", "PASSPORT")  # copied, not typed
        if voice == "note":
            body = rewrite(body, telegram, FIXED)
        if rng.random() < TYPOS * self.typos:
            keep = set(FIXED) - ({"issue"} if rng.random() < ISSUE_TYPOS else set())
            body = rewrite(body, lambda text: misspell(rng, text, 0.08), keep)
            self.tags.add("typos")
        if voice == "casual":
            subject, body = (rewrite(text, casual, exact) for text in (subject, body))
        elif rng.random() < CAPITALS:
            subject, body = (rewrite(text, str.upper, exact) for text in (subject, body))
            self.tags.add("capitals")
        if voice == "foreign":  # articles get lost
            body = rewrite(body, lambda text: re.sub(r"\b(?:the|a) (?=\w)", lose, text), FIXED)
        return Ticket(
            customer=self.customer,
            contact=tuple(value if rng.random() >= NO_CONTACT else None for value in self.person),
            received=self.received,
            subject=subject,
            body=body,
            intent=intent,
            urgency=urgency,
            amount=self.amount if "amount" in facts else None,
            day=self.day if "date" in facts else None,
            tags=tuple(self.tags),
        )


def together(sentences: list[str]) -> str:
    return re.sub(r" ?\n ?", "\n", " ".join(sentences)).strip()


def resend(rng: random.Random, ticket: Ticket) -> Ticket:
    """The same ticket with one to three edits that don't change the answer."""
    name = mark("PERSON", private_value(rng, "PERSON"))
    greetings, closings, *_ = say.VOICES[ticket.customer.voice]
    edits: dict[str, Callable[[str], str]] = {
        "typos": lambda body: rewrite(body, lambda text: misspell(rng, text, 0.07), FIXED),
        "stops": lambda body: rewrite(body, lambda text: text.replace("!", ".").replace(". ", " . "), FIXED),
        "spaces": lambda body: rewrite(body, lambda text: text.replace("\n", "\n\n").replace(". ", ".  "), FIXED),
        "cut": lambda body: "\n".join(line for line in body.split("\n") if line not in (*greetings, *closings)),
        "greet": lambda body: f"{rng.choice(say.VOICES['plain'][0][:4])}\n{rng.choice(say.RESENT)} {body}",
        "sign": lambda body: f"{body}\n{name}",
        "chase": lambda body: f"{rng.choice(say.CHASED)}\n\n> " + body.replace("\n", "\n> "),
    }
    body = ticket.body
    for edit in rng.sample(sorted(edits), rng.randint(1, 3)):
        body = edits[edit](body)
    if body == ticket.body:
        body = edits["greet"](body)
    later = timedelta(days=rng.randint(0, 3))
    subject = rng.choice(("", "", "Re: ")) + ticket.subject
    return replace(ticket, subject=subject, body=body, received=ticket.received + later)


def another_case(rng: random.Random, ticket: Ticket, last_day: date) -> Ticket:
    """A new ticket with the wording of an old one but a new product, order, amount and day: not a duplicate."""
    received = min(ticket.received + timedelta(days=rng.randint(5, 60)), last_day)
    writer = Writer(rng, ticket.customer, received)
    writer.set_day(received - timedelta(days=rng.randint(2, 30)))

    def swap(marked: str) -> str:
        for fact, slot in (("product", "product"), ("order", "order"), ("amount", "amount"), ("date", "day")):
            marked = re.sub(f"\x01{fact}\x02[^\x03]*\x03", writer.slot[slot], marked)
        return marked

    amount, day = ticket.amount and writer.amount, ticket.day and writer.day
    tags = (*(tag for tag in ticket.tags if tag != "duplicate"), "another_case")
    subject, body = swap(ticket.subject), swap(ticket.body)
    return replace(ticket, received=received, subject=subject, body=body, amount=amount, day=day, tags=tags, family=-1)


def make_tickets(rng: random.Random, period: Period, customers: list[Customer]) -> list[Ticket]:
    exact, near = round(period.rows * EXACT_DUPLICATE), round(period.rows * NEAR_DUPLICATE)
    originals = period.rows - exact - near - LABEL_CONFLICTS - ANOTHER_CASE
    refusals, near_refusals, shorts, longs = (
        round(originals * share) for share in (REFUSAL, NEAR_REFUSAL, SHORT, LONG)
    )
    jobs: list[dict[str, str]] = [{"refuse": clause} for clause in cycle(rng, say.REFUSALS, refusals)]
    jobs += [{"intent": intent, "first": first} for intent, first in cycle(rng, say.NEAR_REFUSALS, near_refusals)]
    jobs += [{"intent": intent, "issue": issue} for intent, issue in say.PRIVATE_ISSUES]
    shapes = ["short"] * shorts + ["long"] * longs
    shapes += [""] * (originals - len(jobs) - len(shapes))
    intents = cycle(rng, [intent for intent, weight in INTENTS.items() for _ in range(weight)], len(shapes))
    jobs += [{"intent": intent, "shape": shape} for intent, shape in zip(intents, shapes, strict=True)]
    rng.shuffle(jobs)
    exponent, shift = period.skew
    weights = [1 / (number + shift) ** exponent for number in range(period.customers)]
    owners = [customers[n] for n, weight in enumerate(weights) for _ in range(round(originals * weight / sum(weights)))]
    owners += customers[: max(0, originals - len(owners))]
    rng.shuffle(owners)
    tickets = []
    for job, customer in zip(jobs, owners, strict=False):  # rounding may leave an owner or two
        received = period.first_day + timedelta(days=rng.randrange((period.last_day - period.first_day).days))
        writer = Writer(rng, customer, received)
        writer.tags |= {"near_refusal"} if "first" in job else set()
        tickets.append(writer.write_refusal(job["refuse"]) if "refuse" in job else writer.write(**job))
    return tickets + make_copies(rng, period, customers, tickets, exact, near)


def cycle(rng: random.Random, items: Sequence[Any], count: int) -> list[Any]:
    """`count` items in shuffled order, each equally often (or once more)."""
    drawn: list[Any] = []
    while len(drawn) < count:
        drawn += rng.sample(items, min(len(items), count - len(drawn)))
    return drawn


def make_copies(
    rng: random.Random, period: Period, customers: list[Customer], tickets: list[Ticket], exact: int, near: int
) -> list[Ticket]:
    """Copies of some `tickets`, which get a family number (two families of each kind have three members), and lookalikes."""
    usable = [n for n, ticket in enumerate(tickets) if "short" not in ticket.tags]
    torn = [n for n in usable if tickets[n].intent in ("refund", "exchange") and tickets[n].urgency == "normal"]
    conflicts = rng.sample(torn, LABEL_CONFLICTS)
    chosen = rng.sample([n for n in usable if n not in conflicts], exact + near - 4)
    same, alike = chosen[: exact - 2], chosen[exact - 2 :]
    for n in (*conflicts, *chosen):
        tickets[n] = replace(tickets[n], family=n)
    copies = []
    for n in conflicts:
        tickets[n] = replace(tickets[n], tags=(*tickets[n].tags, "label_conflict"))
        copies.append(replace(tickets[n], intent="exchange" if tickets[n].intent == "refund" else "refund"))
    copies += [tickets[n] for n in (*same, *same[:2])]
    copies += [resend(rng, tickets[n]) for n in (*alike, *alike[:2])]
    for index in range(1, CROSS_CUSTOMER + 1):  # sent again from another account
        others = [customer for customer in customers if customer != copies[-index].customer]
        copies[-index] = replace(copies[-index], customer=rng.choice(others))
    copies = [replace(copy, tags=(*copy.tags, "duplicate")) for copy in copies]
    typed = [n for n in usable if "capitals" not in tickets[n].tags and tickets[n].customer.voice != "casual"]
    reused = [n for n in typed if tickets[n].family < 0 and "\x01order" in tickets[n].body]
    return copies + [another_case(rng, tickets[n], period.last_day) for n in rng.sample(reused, ANOTHER_CASE)]


def make() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """The raw rows, the gold private spans and the gold duplicates, each in order of ids."""
    tickets: list[Ticket] = []
    customers: list[Customer] = []
    for period in PERIODS:
        rng = random.Random(period.seed)
        new = make_customers(rng, period.customers, period.products, customers)
        made = make_tickets(rng, period, new)
        made = [replace(it, family=it.family + len(tickets)) if it.family >= 0 else it for it in made]
        rng.shuffle(made)
        tickets += sorted(made, key=lambda ticket: (ticket.received, "duplicate" in ticket.tags))
        customers += new
    rows, spans = [], []
    families: dict[int, list[dict[str, Any]]] = {}
    for number, ticket in enumerate(tickets, 1):
        contact = dict(zip(CONTACT, ticket.contact, strict=True))
        subject, body = unmark(ticket.subject)[0], unmark(ticket.body)[0]
        joined, found = unmark(f"{ticket.subject}\n{ticket.body}")  # as stages/records.py joins them
        cut = len(joined) - len(joined.lstrip())
        for kind, start, end in found:
            if kind.isupper():
                spans.append({"id": f"T-{number:05d}", "start": start - cut, "end": end - cut, "kind": kind})
        row: dict[str, Any] = {"id": f"T-{number:05d}", "customer": ticket.customer.code, **contact}
        row |= {"received": ticket.received.isoformat(), "subject": subject, "body": body}
        rows.append(row | {"target": ticket.target(), "tags": sorted(ticket.tags)})
        if ticket.family >= 0:
            families.setdefault(ticket.family, []).append(rows[-1])
    duplicates = []
    for cluster, family in enumerate(families.values(), 1):
        kind = "exact" if len({(row["received"], row["subject"], row["body"]) for row in family}) == 1 else "near"
        duplicates += [{"id": row["id"], "cluster": f"D-{cluster:03d}", "kind": kind} for row in family]
    return rows, spans, sorted(duplicates, key=lambda line: line["id"])


def summary(rows: list[dict[str, Any]], spans: list[dict[str, Any]], duplicates: list[dict[str, Any]]) -> str:
    """A summary of the generated data, as a small table."""
    answers = [row["target"] for row in rows if "urgency" in row["target"]]
    words = sorted(len(f"{row['subject']} {row['body']}".split()) for row in rows)
    customers = Counter(row["customer"] for row in rows)
    counts = {
        "intent": Counter(answer["intent"] for answer in answers),
        "urgency": Counter(answer["urgency"] for answer in answers),
        "issues": Counter(len(answer["issues"]) for answer in answers),
        "null": Counter(key for answer in answers for key, value in answer.items() if value is None),
        "tags": Counter(tag for row in rows for tag in row["tags"]),
        "private": Counter(span["kind"] for span in spans),
        "clusters": Counter({line["cluster"]: line["kind"] for line in duplicates}.values()),
    }
    sizes = customers.most_common()
    lines = {
        "rows": f"{len(rows)}, of them answers {len(answers)}, refusals {len(rows) - len(answers)}",
        "customers": f"{len(sizes)}, largest {sizes[0][1] / len(rows):.1%} of the rows, smallest {sizes[-1][1]} row(s)",
        "words": f"median {words[len(words) // 2]}, mean {sum(words) / len(words):.0f}, from {words[0]} to {words[-1]}",
    } | {
        title: ", ".join(f"{name} {number}" for name, number in count.most_common()) for title, count in counts.items()
    }
    return "\n".join(f"{title:10} {line}" for title, line in lines.items())


def main() -> None:
    rows, spans, duplicates = make()
    for name, lines in (("raw/tickets", rows), ("gold/spans", spans), ("gold/duplicates", duplicates)):
        path = DATA / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        path.write_text(text, encoding="utf-8", newline="\n")
    print(summary(rows, spans, duplicates))


if __name__ == "__main__":
    main()
