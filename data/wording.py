"""Wording: marks in a text, typos and slang, private values, a customer's orders, money and days."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import clauses as say

MARK = re.compile(r"(\x01[A-Za-z_]+\x02|\x03)")
FACTS = ("product", "order", "date", "amount", "issue")
STRAY, STRAY_CODE = "stray", "stray_code"  # distractors, not part of the answer
FIXED = (*FACTS, STRAY, STRAY_CODE, *say.PRIVATE)


def mark(name: str, text: str) -> str:
    """`text` inside a mark; marks may nest."""
    return f"\x01{name}\x02{text}\x03"


def unmark(marked: str) -> tuple[str, list[tuple[str, int, int]]]:
    """The text without its marks, and (name, start, end) of each mark, in the order of the text."""
    text = ""
    spans: list[tuple[str, int, int]] = []
    opened: list[tuple[str, int]] = []
    for piece in MARK.split(marked):
        if piece == "\x03":
            name, start = opened.pop()
            spans.append((name, start, len(text)))
        elif piece.startswith("\x01"):
            opened.append((piece[1:-1], len(text)))
        else:
            text += piece
    return text, sorted(spans, key=lambda span: (span[1], -span[2]))


def rewrite(marked: str, change: Callable[[str], str], keep: Container[str]) -> str:
    """Apply `change` to all text except inside the marks named in `keep`."""
    pieces: list[str] = []
    opened: list[str] = []
    for piece in MARK.split(marked):
        if piece == "\x03":
            opened.pop()
        elif piece.startswith("\x01"):
            opened.append(piece[1:-1])
        elif not any(name in keep for name in opened):
            piece = change(piece)
        pieces.append(piece)
    return "".join(pieces)


def slots(clause: str) -> set[str]:
    """The facts that a clause states."""
    names = {name.lower() for _, name, _, _ in string.Formatter().parse(clause) if name}
    return {"date" if name in ("on", "day") else name for name in names} & set(FACTS)


def telegram(text: str) -> str:
    """An agent's note: no "I" and "my" at the start of a sentence."""
    return re.sub(r"(^|[.!?] |\n)(?:I|My|We) (\w)", lambda found: found[1] + found[2].upper(), text)


def casual(text: str) -> str:
    for word, slang in say.SLANG.items():
        text = re.sub(rf"\b{word}\b", slang, text, flags=re.IGNORECASE)
    return text.lower()


def misspell(rng: random.Random, text: str, chance: float) -> str:
    """Typos in a share `chance` of the words with four or more letters: two letters swapped, one lost or one doubled."""

    def slip(match: re.Match[str]) -> str:
        word = match[0]
        if rng.random() > chance:
            return word
        at = rng.randint(1, len(word) - 2)
        return rng.choice(
            (
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at + 1 :],
                word[: at + 1] + word[at:],
            )
        )

    return re.sub(r"[A-Za-z]{4,}", slip, text)


def private_value(rng: random.Random, kind: str, name: str = "") -> str:
    """A made-up value: reserved domains, test cards, phone and IP ranges for examples, SSN areas that are never issued."""

    def digits(count: int) -> str:
        return "".join(rng.choices(string.digits, k=count))

    def token(count: int) -> str:
        return "".join(rng.choices(string.ascii_letters + string.digits, k=count))

    name = name or f"{rng.choice(say.FIRST_NAMES)} {rng.choice(say.LAST_NAMES)}"
    first, last = name.lower().split()
    login = rng.choice((f"{first}.{last}", f"{first}{digits(2)}", f"{first[0]}_{last}"))
    street, town, number = rng.choice(say.STREETS), rng.choice(say.TOWNS), rng.randint(1, 180)
    born = date(1948, 1, 1) + timedelta(days=rng.randrange(20000))
    word, ending = rng.choice(say.PASSWORD_WORDS), rng.choice(("com", "org", "net"))
    passport = f"{rng.choice('CKLX')}0{rng.choice('XZ')}{digits(6)}"
    card = rng.choice(say.TEST_CARDS)
    bank = rng.choice(
        (("DE", digits(18)), ("GB", f"XMPL{digits(14)}"), ("NL", f"XMPL{digits(10)}"), ("FR", digits(23)))
    )
    host, page = rng.choice((("shop", "track"), ("my", "share"), ("id", "reset")))
    forms = {
        "PERSON": (name,),
        "EMAIL_ADDRESS": (f"{login}@example.{ending}", f"{login}@mail.example.{ending}"),
        "PHONE_NUMBER": (
            f"+1 {rng.choice((202, 312, 415, 617))}-555-01{digits(2)}",
            f"({rng.choice((212, 503, 808))}) 555-01{digits(2)}",
            f"555-01{digits(2)}",
            f"020 7946 0{digits(3)}",
            f"07700 900{digits(3)}",
            f"+44 1632 960{digits(3)}",
            f"030 23125 {digits(3)}",
            f"+33 6 39 98 {digits(2)} {digits(2)}",
        ),
        "STREET_ADDRESS": (
            f"{number} {street}, {town}",
            f"{street} {number}, {digits(5)} {town}",
            f"{number} {street}, Apt {rng.randint(1, 40)}, {town}",
        ),
        "CREDIT_CARD": (card, spaced(card), spaced(card, "-")),
        "IBAN_CODE": (iban(*bank), spaced(iban(*bank))),
        "US_SSN": (f"9{digits(2)}-{rng.randint(10, 49)}-{rng.randint(1000, 9999)}",),
        "IP_ADDRESS": (
            *(f"{net}.{rng.randint(1, 254)}" for net in ("192.0.2", "198.51.100", "203.0.113")),
            f"2001:db8::{rng.randint(16, 4095):x}",
        ),
        "DATE_OF_BIRTH": (
            f"{born.day}.{born.month}.{born.year}",
            f"{born:%m/%d/%Y}",
            f"{born.day} {say.MONTHS[born.month - 1]} {born.year}",
            born.isoformat(),
        ),
        "PASSPORT": (passport,),
        "SECRET": (
            f"{word}!{digits(2)}",
            f"{word}{digits(3)}#{rng.choice(say.PASSWORD_WORDS)}",
            f"demo_{token(20)}",
            f"key-{token(24)}",
            f"tok_{token(16)}",
        ),
        "USERNAME": (login, f"{first}_{digits(3)}", f"{last}{digits(2)}"),
        "URL": (f"https://{host}.example.{ending}/{page}?token={token(14)}",),
    }
    return rng.choice(forms[kind])


def spaced(text: str, by: str = " ") -> str:
    """The text in groups of four characters."""
    return by.join(re.findall(".{1,4}", text))


def iban(country: str, account: str) -> str:
    """An IBAN with correct check digits (ISO 13616)."""
    digits = "".join(str(int(character, 36)) for character in account + country + "00")
    return f"{country}{98 - int(digits) % 97:02d}{account}"


@dataclass(frozen=True)
class Customer:
    """An account with its own products, voice and habits, which uses only a part of each bank of clauses."""

    code: str
    voice: str
    products: tuple[str, ...]
    parts: dict[str, list[str]]  # parts of its products, with their possible faults
    order_form: str
    order_word: str
    letters: str
    locale: str
    people: tuple[tuple[str, str, str], ...]  # name, e-mail, phone

    def own(self, bank: Sequence[Any]) -> Sequence[Any]:
        """The half of a bank that this customer uses, always the same."""
        if len(bank) < 6:
            return bank
        return random.Random(f"{self.code} {bank[0]} {len(bank)}").sample(bank, max(5, len(bank) // 2))

    def order(self, rng: random.Random) -> str:
        form = self.order_form.replace("{P}", self.letters)
        return re.sub(r"\{(\d)\}", lambda size: str(rng.randrange(10 ** (int(size[1]) - 1), 10 ** int(size[1]))), form)

    def money(self, rng: random.Random, value: float) -> str:
        number = f"{value:,.2f}" if value % 1 or rng.random() < 0.4 else f"{value:,.0f}"
        if rng.random() < 0.3:
            number = number.replace(",", "")
        return rng.choice(say.LOCALES[self.locale][1]).format(n=number, c=number.translate(str.maketrans(",.", ".,")))

    def day(self, rng: random.Random, day: date, year: bool = False) -> str:
        """A wording of a day; with `year`, one that includes the full year."""
        forms = [form for form in say.LOCALES[self.locale][0] if not year or "{Y}" in form]
        month = say.MONTHS[day.month - 1]
        parts = {"d": day.day, "dd": f"{day.day:02d}", "mm": f"{day.month:02d}", "Y": day.year}
        return rng.choice(forms).format(B=month, b=month[:3], **parts)


def make_customers(rng: random.Random, count: int, products: int = 5, known: Sequence[Customer] = ()) -> list[Customer]:
    """New customers, each with that many products; `known`: those that have their account codes and products already."""
    sectors, voices, locales = list(say.SECTORS), list(say.VOICES), list(say.LOCALES)
    brands = [say.BRANDS[number % len(say.BRANDS)] for number in range(count)]
    rng.shuffle(brands)
    codes = rng.sample(sorted({*range(100, 1000)} - {int(customer.code[2:]) for customer in known}), count)
    customers, taken = [], {product for customer in known for product in customer.products}
    for number, (brand, code) in enumerate(zip(brands, codes, strict=True)):
        sector = sectors[number % len(sectors)]
        nouns, parts = say.SECTORS[sector]
        own: list[str] = []
        for noun in rng.sample(nouns.split(", "), len(nouns.split(", ")) if known else products):
            forms = [f"{colour} {noun}" for colour in rng.sample(say.COLOURS, len(say.COLOURS))]
            if rng.random() < 0.05:
                forms.insert(0, f"{brand} {noun}")
            free = [form for form in forms if form not in taken]  # no two customers have the same product
            own += free[: 1 if len(own) < products else 0]
        taken.update(own)
        people = []
        for _ in range(rng.randint(2, 6)):
            name = private_value(rng, "PERSON")
            people.append((name, private_value(rng, "EMAIL_ADDRESS", name), private_value(rng, "PHONE_NUMBER")))
        customers.append(
            Customer(
                code=f"C-{code:03d}",
                voice=voices[(number * 3 + number // 7) % len(voices)] if number % 4 else "plain",
                products=tuple(own),
                parts={
                    part: faults.split(", ") for part, faults in re.findall(r"^\s*(.+?): (.+)$", parts, re.MULTILINE)
                },
                order_form=say.ORDER_FORMS[number % len(say.ORDER_FORMS)],
                order_word=rng.choice(say.ORDER_WORDS),
                letters=brand[0] + rng.choice(string.ascii_uppercase),
                locale=rng.choice(locales),
                people=tuple(people),
            )
        )
    return customers
