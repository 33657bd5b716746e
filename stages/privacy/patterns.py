"""Private patterns that must not be left in any text: those that prove themselves (check digits, ranges, fixed formats).

This is the second, independent check: it shares no rules with the recognizers that mask and needs no model. It prefers
missing a value to a false alarm, since any finding stops the pipeline.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator

from stages.privacy.normal import BASE64, decoded, view

# Ranges reserved for documentation (RFC 2606, 5737, 3849; NANP 555-01xx; Ofcom drama numbers; processors' test cards):
# surrogates are drawn from them, so they belong to no one.
RESERVED_DOMAIN = re.compile(
    r"(?:^|[.@])(?:example\.(?:com|net|org|edu)|[a-z0-9-]+\.(?:example|test|invalid|localhost))$", re.IGNORECASE
)
RESERVED_NETWORKS = [
    ipaddress.ip_network(network) for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
RESERVED_CARDS = frozenset(
    ("4111111111111111", "4242424242424242", "5555555555554444", "378282246310005", "6011111111111117")
)
RESERVED_PHONE = re.compile(r"^(?:00)?1?\d{3}5550(?:1\d\d)$|^(?:00)?44(?:1632960\d{3}|7700900\d{3}|2079460\d{3})$")

# What stands for no one however its digits fall: a UUID, and a hexadecimal hash (no IBAN of such letters is that long).
_NO_ONES = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?=\d*[a-f])[0-9a-f]{32,128})(?![0-9A-Za-z])",
    re.IGNORECASE,
)
# Countries whose IBANs have only digits after the country.
_ALL_DIGITS = "AE AT BA BE CR CZ DE DK EE EG ES FI FO GL HR HU IL IS LT LY ME MR NO PL PT RS SE SI SK ST TL TN VA XK"

IBAN_LENGTHS = dict(
    pair.split(":")
    for pair in [
        "AD:24",
        "AE:23",
        "AL:28",
        "AT:20",
        "AZ:28",
        "BA:20",
        "BE:16",
        "BG:22",
        "BH:22",
        "BR:29",
        "BY:28",
        "CH:21",
        "CR:22",
        "CY:28",
        "CZ:24",
        "DE:22",
        "DK:18",
        "DO:28",
        "EE:20",
        "EG:29",
        "ES:24",
        "FI:18",
        "FO:18",
        "FR:27",
        "GB:22",
        "GE:22",
        "GI:23",
        "GL:18",
        "GR:27",
        "GT:28",
        "HR:21",
        "HU:28",
        "IE:22",
        "IL:23",
        "IQ:23",
        "IS:26",
        "IT:27",
        "JO:30",
        "KW:30",
        "KZ:20",
        "LB:28",
        "LC:32",
        "LI:21",
        "LT:20",
        "LU:20",
        "LV:21",
        "LY:25",
        "MC:27",
        "MD:24",
        "ME:22",
        "MK:19",
        "MR:27",
        "MT:31",
        "MU:30",
        "NL:18",
        "NO:15",
        "PK:24",
        "PL:28",
        "PS:29",
        "PT:25",
        "QA:29",
        "RO:24",
        "RS:22",
        "SA:24",
        "SC:31",
        "SE:24",
        "SI:19",
        "SK:24",
        "SM:27",
        "ST:25",
        "SV:28",
        "TL:23",
        "TN:24",
        "TR:26",
        "UA:29",
        "VA:22",
        "VG:24",
        "XK:20",
    ]
)


def luhn(digits: str) -> bool:
    """Whether the check digit of a card number is correct (ISO/IEC 7812-1)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def iban_ok(iban: str) -> bool:
    """Whether length and check digits of an IBAN without spaces are correct (ISO 13616, mod 97)."""
    iban = iban.upper()
    if IBAN_LENGTHS.get(iban[:2]) != str(len(iban)) or not iban.isascii() or not iban.isalnum():
        return False
    return int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97 == 1


def card_ok(digits: str) -> bool:
    """Whether the digits are a payment card number: issuer range, length and check digit all fit."""
    return bool(_ISSUER.fullmatch(digits)) and len(set(digits)) > 1 and luhn(digits)


_ISSUER = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12,15}|35\d{14}|(?:2131|1800)\d{11}|(?:50|5[6-9]|6\d)\d{10,17}"
)


def _digits(value: str) -> str:
    return re.sub(r"\D", "", value)


def _email(value: str, allow_reserved: bool) -> bool:
    return not (allow_reserved and RESERVED_DOMAIN.search(value.rpartition("@")[2]))


def _card(value: str, allow_reserved: bool) -> bool:
    groups = re.findall(r"\d+", value)
    for first in range(len(groups)):
        digits = ""
        for group in groups[first : first + 19]:  # a number and digits after it look like one longer number
            digits += group
            if len(digits) > 19:
                break
            if len(digits) >= 12 and card_ok(digits) and not (allow_reserved and digits in RESERVED_CARDS):
                return True
    return False


def _grouped_card(value: str, allow_reserved: bool) -> bool:
    digits = _digits(value)
    return card_ok(digits) and not (allow_reserved and digits in RESERVED_CARDS)


def _iban(value: str, allow_reserved: bool) -> bool:
    compact = re.sub(r"[ -]", "", value).upper()
    iban = compact[: int(IBAN_LENGTHS.get(compact[:2], 0))]
    return iban_ok(iban) and (iban[:2] not in _ALL_DIGITS or iban[2:].isdigit())


def _ip(value: str, allow_reserved: bool) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    if address.is_unspecified or address.is_loopback or (address.version == 4 and value.endswith(".0.0")):
        return False  # "1.0.0.0" is a version, "0.0.0.0" and "::1" belong to no one
    return not (allow_reserved and any(address in network for network in RESERVED_NETWORKS))


def _phone(value: str, allow_reserved: bool) -> bool:
    digits = _digits(value)
    return 8 <= len(digits) <= 15 and not (allow_reserved and RESERVED_PHONE.match(digits.lstrip("0")))


def _ssn(value: str, allow_reserved: bool) -> bool:
    area, group, serial = value.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _always(value: str, allow_reserved: bool) -> bool:
    return True


_EMAIL = re.compile(r"[\w.+'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,5}\.[^\W\d_]{2,24}")
# A card in its printed groups: with the same odd separator between all of them, or broken by one line end.
_GROUPED_CARD = re.compile(
    r"(?<![^\W_])(?<!\d[._/,-])(?:\d{4}([._/])\d{4}\1\d{4}\1\d{4}|\d{4}([._/])\d{6}\2\d{4,5}"
    r"|\d{4}[ -]\d{4}[ -]\d{4}[ -]?\r?\n\d{4}|\d{4}[ -]\d{4}[ -]?\r?\n\d{4}[ -]\d{4}"
    r"|\d{4}[ -]?\r?\n\d{4}[ -]\d{4}[ -]\d{4})(?![^\W_]|[._/,-]\d)"
)

CHECKS: list[tuple[str, re.Pattern[str], Callable[[str, bool], bool]]] = [
    ("EMAIL_ADDRESS", _EMAIL, _email),
    ("CREDIT_CARD", re.compile(r"(?<![\w.,-])\d(?:[ -]?\d){11,200}(?![\w]|[.,-]\d)"), _card),
    ("CREDIT_CARD", _GROUPED_CARD, _grouped_card),
    ("IBAN_CODE", re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d\d(?:[ -]?[A-Za-z0-9]){11,40}"), _iban),
    ("IP_ADDRESS", re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)"), _ip),
    ("IP_ADDRESS", re.compile(r"(?<![\w:])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{6,39}(?![\w:])"), _ip),
    ("PHONE_NUMBER", re.compile(r"(?<![\w+])(?:\+|00)[1-9]\d{0,2}(?:[ ./()-]{0,3}\d){7,13}(?!\w)"), _phone),
    ("PHONE_NUMBER", re.compile(r"(?<![\w.,-])\(?[2-9]\d\d(?:\) ?|[-.])[2-9]\d\d[-.]\d{4}(?![\w]|[-.]\d)"), _phone),
    ("US_SSN", re.compile(r"(?<![\w-])\d{3}-\d\d-\d{4}(?![\w-])"), _ssn),
    (
        "SECRET",
        re.compile(
            r"\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,}|glpat-[\w-]{20,}"
            r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|AIza[\w-]{35}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|sk-(?:\w+-)?[A-Za-z0-9_-]{20,}"
            r"|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{40,}|SG\.[\w-]{16,}\.[\w-]{16,}"
            r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,})|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"
        ),
        _always,
    ),
]


NUMBERS = ("CREDIT_CARD", "IBAN_CODE", "PHONE_NUMBER")


def matches(text: str, *, allow_reserved: bool = False) -> Iterator[tuple[int, int, str]]:
    """Private patterns left in `text`, as (start, end, kind) in characters of `text`; see `residue`."""
    seen = view(text)
    for start, end, kind in _plain_matches(seen.text, allow_reserved):
        yield *seen.source(start, end), kind
    for token in BASE64.finditer(seen.text):
        for _, _, kind in _plain_matches(decoded(token[0]) or "", allow_reserved):
            yield *seen.source(*token.span()), kind


def _plain_matches(text: str, allow_reserved: bool) -> Iterator[tuple[int, int, str]]:
    for kind, pattern, valid in CHECKS:
        for match in pattern.finditer(text):
            if valid(match[0], allow_reserved) and not (kind in NUMBERS and _no_ones(text, *match.span())):
                yield *match.span(), kind


def _no_ones(text: str, start: int, end: int) -> bool:
    """Whether the span lies in a UUID or a hash, or is part of one and of what is next to it."""
    return any(
        other.start() < end and start < other.end() for other in _NO_ONES.finditer(text, max(0, start - 128), end + 128)
    )


def residue(text: str, *, allow_reserved: bool = False) -> list[str]:
    """The kinds of private patterns left in `text`, sorted; empty means clean.

    `allow_reserved` accepts documentation values (example.com, test cards, 555-01xx), for texts with surrogates.
    """
    return sorted({kind for _, _, kind in matches(text, allow_reserved=allow_reserved)})
