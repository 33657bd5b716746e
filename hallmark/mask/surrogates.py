"""Replacements for private values: a numbered placeholder, or a realistic value that belongs to no one."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from hallmark.mask.checksums import iban_ok, luhn
from hallmark.mask.kinds import DATES, short
from hallmark.mask.lexicon import fold
from hallmark.mask.params import Mask

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


def canonical(value: str) -> str:
    """A form that is equal for all spellings of a value: letters and digits only, without case and accents."""
    return re.sub(r"[\W_]+", "", fold(value)) or value


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


LOCALES = {
    "en": "en_US",
    "de": "de_DE",
    "fr": "fr_FR",
    "es": "es_ES",
    "it": "it_IT",
    "nl": "nl_NL",
    "pt": "pt_PT",
    "pl": "pl_PL",
}

NATIONALITIES = (
    "Belgian", "Canadian", "Chilean", "Danish", "Estonian", "Finnish", "Greek", "Irish", "Kenyan", "Maltese", "Peruvian", "Thai",
)  # fmt: skip


def surrogate(kind: str, seed: bytes, language: str = "en") -> str:
    """A realistic value of a kind, chosen by `seed`; if possible, from a range reserved for examples.

    For the user's own kinds, nothing is known about realistic values: they get a name and a number ("badge-00000001").
    """
    faker = _faker(LOCALES.get(language, "en_US"))
    faker.seed_instance(int.from_bytes(seed[:8], "big"))
    number = int.from_bytes(seed[8:16], "big")
    match kind:
        case "PERSON":
            return str(faker.first_name() + " " + faker.last_name())
        case "EMAIL_ADDRESS":
            return f"{canonical(faker.first_name())}.{canonical(faker.last_name())}{number % 1000}@example.com"
        case "PHONE_NUMBER":
            return f"+1 {(201, 212, 303, 312, 415, 503, 617, 702)[number % 8]} 555 01{number // 8 % 100:02d}"
        case "CREDIT_CARD":  # of no issuer, since its check digit is wrong
            head = f"400000{number % 10**9:09d}"
            return next(f"{head}{check}" for check in range(10) if not luhn(f"{head}{check}"))
        case "IBAN_CODE":  # check digits 00 are never assigned, but are correct for one number in 97
            digits = number % 10**14
            while iban_ok(f"GB00TEST{digits:014d}"):
                digits = (digits + 1) % 10**14
            return f"GB00TEST{digits:014d}"
        case "US_SSN":  # area 000 is never assigned
            return f"000-{number % 99 + 1:02d}-{number // 99 % 9999 + 1:04d}"
        case "IP_ADDRESS":
            return f"{('192.0.2', '198.51.100', '203.0.113')[number % 3]}.{number // 3 % 254 + 1}"
        case "MAC_ADDRESS":  # RFC 7042
            return f"00-00-5E-00-53-{number % 256:02X}"
        case "URL":
            return f"https://www.example.com/{number % 10**6}"
        case "STREET_ADDRESS":
            return str(faker.street_address()).replace("\n", ", ")
        case "LOCATION":
            return str(faker.city())
        case "ORGANIZATION":
            return str(faker.company())
        case "TITLE":
            return str(faker.job())
        case "AGE":
            return str(20 + number % 60)
        case "ZIP_CODE":
            return f"000{number % 100:02d}"
        case "USERNAME":
            return f"user{number % 10**6}"
        case "PASSPORT":
            return f"X000{number % 10**5:05d}"
        case "DRIVER_LICENSE":
            return f"D000-{number % 10**4:04d}-{number // 10**4 % 10**4:04d}"
        case "NATIONAL_ID":  # starts like a social security number that is never assigned
            return f"000{number % 10**6:06d}"
        case "ACCOUNT":
            return f"0000{number % 10**6:06d}"
        case "SECRET":
            return f"example-{number % 16**8:08x}"
        case "UUID":  # version 0 is not assigned
            return f"00000000-0000-0000-8000-{number % 16**12:012x}"
        case "CRYPTO":  # no one can have the key of an address with that many zeros
            return f"0x{number % 16**8:040x}"
        case "NRP":
            return NATIONALITIES[number % len(NATIONALITIES)]
        case "DENIED" | "MISC" | "PLACEHOLDER":  # may be anything: two words that look like a name
            return " ".join(faker.words(2)).title()
    return f"{short(kind).lower()}-{number % 10**8:08d}"
