"""Replacements for private values: a numbered placeholder, or a realistic value that belongs to no one."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from hallmark.mask.kinds import DATES, short
from hallmark.mask.lexicon import fold
from hallmark.mask.params import Mask
from hallmark.mask.rules import iban_ok, luhn

SHORTEST_NUMBER = 7  # digits of a telephone number that is the same with or without the codes before it


def uses_surrogates(mask: Mask) -> bool:
    """Whether any value becomes a surrogate."""
    return mask.style == "surrogate" or "surrogate" in mask.actions.values()


def uses_key(mask: Mask) -> bool:
    """Whether surrogates take the repo's key: all do but dates, which are moved."""
    return mask.style == "surrogate" or any(
        action == "surrogate" and kind not in DATES for kind, action in mask.actions.items()
    )


def placeholder(kind: str, number: int) -> str:
    """`<EMAIL_1>` for the first e-mail address of a record."""
    return f"<{short(kind)}_{number}>"


_BETWEEN = re.compile(r"[\W_]+")


def canonical(value: str) -> str:
    """A form that is equal for all spellings of a value: letters and digits only, without case and accents."""
    return _BETWEEN.sub("", fold(value)) or value


def in_the_form_of(written: str, value: str) -> str:
    """A value in the case of another, and with what that has between its letters and digits, if it has as many of them."""
    places = [place for place, char in enumerate(written) if char.isalnum()]
    letters = [char for char in value if char.isalnum()]
    if 2 * sum(map(str.isdigit, value)) >= len(letters) and any(map(str.isdigit, written)):  # a number or a code
        if len(places) == len(letters):
            shown = list(written)
            for place, char in zip(places, letters, strict=True):
                shown[place] = char
            value = "".join(shown)
        elif len(places) == len(written):
            value = "".join(letters)
    if written.isupper() and any(map(str.isalpha, written)):
        return value.upper()
    if value.isupper() and written.istitle():
        return value.title()
    return value.lower() if written.islower() else value


@cache
def _faker(locale: str) -> Any:
    from faker import Faker

    return Faker(locale)


LOCALES = {"en": "en_US"} | {code: f"{code}_{code.upper()}" for code in ("de", "fr", "es", "it", "nl", "pt", "pl")}

NATIONALITIES = (
    "Belgian", "Canadian", "Chilean", "Danish", "Estonian", "Finnish", "Greek", "Irish", "Kenyan", "Maltese", "Peruvian", "Thai",
)  # fmt: skip


# From a number: of a range that is reserved for examples, or that is never assigned.
_NUMBERED: dict[str, Callable[[int], str]] = {
    "PHONE_NUMBER": lambda n: f"+1 {(201, 212, 303, 312, 415, 503, 617, 702)[n % 8]} 555 01{n // 8 % 100:02d}",
    "US_SSN": lambda n: f"000-{n % 99 + 1:02d}-{n // 99 % 9999 + 1:04d}",  # area 000 is never assigned
    "IP_ADDRESS": lambda n: f"{('192.0.2', '198.51.100', '203.0.113')[n % 3]}.{n // 3 % 254 + 1}",
    "MAC_ADDRESS": lambda n: f"00-00-5E-00-53-{n % 256:02X}",  # RFC 7042
    "URL": lambda n: f"https://www.example.com/{n % 10**6}",
    "AGE": lambda n: str(20 + n % 60),
    "ZIP_CODE": lambda n: f"000{n % 100:02d}",
    "USERNAME": lambda n: f"user{n % 10**6}",
    "PASSPORT": lambda n: f"X000{n % 10**5:05d}",
    "DRIVER_LICENSE": lambda n: f"D000-{n % 10**4:04d}-{n // 10**4 % 10**4:04d}",
    "NATIONAL_ID": lambda n: f"000{n % 10**6:06d}",  # starts like a social security number that is never assigned
    "ACCOUNT": lambda n: f"0000{n % 10**6:06d}",
    "SECRET": lambda n: f"example-{n % 16**8:08x}",
    "UUID": lambda n: f"00000000-0000-0000-8000-{n % 16**12:012x}",  # version 0 is not assigned
    "CRYPTO": lambda n: f"0x{n % 16**8:040x}",  # no one can have the key of an address with that many zeros
    "NRP": lambda n: NATIONALITIES[n % len(NATIONALITIES)],
}
_FAKED = {"STREET_ADDRESS": "street_address", "LOCATION": "city", "ORGANIZATION": "company", "TITLE": "job"}


def surrogate(kind: str, seed: bytes, language: str = "en") -> str:
    """A realistic value of a kind, chosen by `seed`; if possible, from a range reserved for examples.

    For the user's own kinds, nothing is known about realistic values: they get a name and a number ("badge-00000001").
    """
    faker = _faker(LOCALES.get(language, "en_US"))
    faker.seed_instance(int.from_bytes(seed[:8], "big"))
    number = int.from_bytes(seed[8:16], "big")
    if kind in _NUMBERED:
        return _NUMBERED[kind](number)
    if kind in _FAKED:
        return str(getattr(faker, _FAKED[kind])()).replace("\n", ", ")
    match kind:
        case "PERSON":
            return str(faker.first_name() + " " + faker.last_name())
        case "EMAIL_ADDRESS":
            return f"{canonical(faker.first_name())}.{canonical(faker.last_name())}{number % 1000}@example.com"
        case "CREDIT_CARD":  # of no issuer, since its check digit is wrong
            head = f"400000{number % 10**9:09d}"
            return next(f"{head}{check}" for check in range(10) if not luhn(f"{head}{check}"))
        case "IBAN_CODE":  # check digits 00 are never assigned, but are correct for one number in 97
            digits = number % 10**14
            while iban_ok(f"GB00TEST{digits:014d}"):
                digits = (digits + 1) % 10**14
            return f"GB00TEST{digits:014d}"
        case "DENIED" | "MISC" | "PLACEHOLDER":  # may be anything: two words that look like a name
            return " ".join(faker.words(2)).title()
    return f"{short(kind).lower()}-{number % 10**8:08d}"
