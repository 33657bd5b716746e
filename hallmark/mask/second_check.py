"""The second check: private values that prove themselves by check digits, ranges or a fixed format, found by other libraries.

It shares no function with the recognizers that mask: phonenumbers, python-stdnum and ipaddress decide here. It prefers
missing a value to a false alarm. Ids, groups and tags are read by `in_name`, since a counter or a hash proves nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from hallmark.mask.kinds import PLACEHOLDER
from hallmark.mask.plain_view import BASE64, decoded, view

Found = tuple[int, int, str]  # start, end, kind

_OPAQUE = "\ue000"  # a placeholder's characters: part of no value, and no digit of it counts

# Values reserved for documentation, which belong to no one: RFC 2606 (domains), RFC 5737 and 3849 (networks), NANP 555-01xx and
# Ofcom's drama numbers (telephones), and the test cards of payment processors. Surrogates are drawn from them.
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

# --- e-mail addresses and keys

_DOMAIN = re.compile(
    r"@[\w-]{1,63}(?:\.[\w-]{1,63}){0,5}\.(?:[^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})(?![^\W_])", re.IGNORECASE
)
_SECRET = re.compile(
    r"\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{40,255}|glpat-[\w-]{20,255}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,255}|AIza[\w-]{35}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}|sk-(?:[A-Za-z0-9]{1,20}-)?\w[\w-]{19,255}"
    r"|hf_[A-Za-z0-9]{30,255}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{40,255}|SG\.[\w-]{16,80}\.[\w-]{16,80}"
    r"|eyJ[\w-]{10,4096}\.[\w-]{10,4096}\.[\w-]{5,4096})|-----BEGIN (?:[A-Z]+ ){0,4}PRIVATE KEY-----"
)
_SECRET_SIGNS = [  # one of these is in every text with a key
    "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "AIza", "_live_",
    "_test_", "sk-", "hf_", "npm_", "pypi-", "SG.", "eyJ", "-----BEGIN",
]  # fmt: skip


def _emails(text: str, allow_reserved: bool) -> Iterator[Found]:
    last = 0
    for match in _DOMAIN.finditer(text):
        first = max(last, match.start() - 64)
        local = re.search(r"[\w.+'-]*\Z", text[first : match.start()], re.ASCII if text.isascii() else 0)
        start = match.start() - len(local[0] if local else "")
        last = match.end()
        if start < match.start() and not (allow_reserved and RESERVED_DOMAIN.search(match[0][1:])):
            yield start, last, "EMAIL_ADDRESS"


def _secrets(text: str, allow_reserved: bool) -> Iterator[Found]:
    return ((*match.span(), "SECRET") for match in _SECRET.finditer(text))


# --- numbers

# Each pattern starts with a digit or sign, and looks back after it: a text of few digits is passed over at full speed.
_RUN = re.compile(r"\d(?<![\w.,-]\d)(?=(?:[ -]?\d){12})\d*+(?:[ -]\d++)*+")
# With the same odd separator between all groups, or broken by one line end.
_GROUPED_CARD = re.compile(
    r"\d(?<![^\W_]\d)(?<!\d[._/,-]\d)\d{3}(?:([._/])\d{4}\1\d{4}\1\d{4}|([._/])\d{6}\2\d{4,5}"
    r"|[ -]\d{4}[ -]\d{4}[ -]?\r?\n\d{4}|[ -]\d{4}[ -]?\r?\n\d{4}[ -]\d{4}"
    r"|[ -]?\r?\n\d{4}[ -]\d{4}[ -]\d{4})(?![^\W_]|[._/,-]\d)"
)
_DIGIT = re.compile(r"\d")
# First digits of an issuer's numbers (from, to), and how many digits they have.
_ISSUERS = [
    (3000, 3059, (14,)), (3095, 3095, (14,)), (3600, 3699, (14,)), (3800, 3999, (14,)),  # Diners Club
    (3400, 3499, (15,)), (3700, 3799, (15,)),  # American Express
    (3528, 3589, (16,)),  # JCB
    (4000, 4999, (13, 16, 19)),  # Visa
    (5100, 5599, (16,)), (2221, 2720, (16,)), (2200, 2204, (16,)),  # Mastercard, Mir
    (6011, 6011, (16, 19)), (6440, 6599, (16, 19)), (6200, 6299, (16, 17, 18, 19)),  # Discover, UnionPay
    (5018, 5018, (16, 18, 19)), (5020, 5020, (16, 18, 19)), (5038, 5038, (16, 18, 19)), (5893, 5893, (16, 18, 19)),  # Maestro
    (6304, 6304, (16, 18, 19)), (6759, 6763, (16, 18, 19)),
]  # fmt: skip
_BARE = (14, 15, 16)  # digits in one group: 13 may be a bar code, 18 or 19 a message's number
# How cards are printed, by the digits of the first group.
_PRINTED: dict[int, list[tuple[int, ...]]] = {
    1: [(1,) * 16, (1,) * 15],
    4: [(4, 4, 4, 4, 3), (4, 4, 4, 4), (4, 6, 5), (4, 6, 4)],
} | {size: [(size,)] for size in _BARE}


def _is_card(digits: str) -> bool:
    """Whether an issuer's first digits, the length and the check digit all fit."""
    head, size = int(digits[:4]), len(digits)
    if not any(low <= head <= high and size in sizes for low, high, sizes in _ISSUERS):
        return False
    from stdnum import luhn

    return len(set(digits)) > 1 and luhn.is_valid(digits)


def _cards(text: str, allow_reserved: bool) -> Iterator[Found]:
    def valid(digits: str) -> bool:
        return _is_card(digits) and not (allow_reserved and digits in RESERVED_CARDS)

    for run in _RUN.finditer(text):
        groups = list(re.finditer(r"\d+", run[0]))
        if re.match(r"\w|[.,]\d", text[run.end() : run.end() + 2]):
            groups.pop()  # the last one goes on
        sizes = [len(group[0]) for group in groups]
        at = 0
        while at < len(groups):
            for shape in (
                _PRINTED.get(sizes[at], ()) if groups[at][0][0] in "23456" else ()
            ):  # no issuer has another digit
                printed = groups[at : at + len(shape)]
                if tuple(sizes[at : at + len(shape)]) == shape and valid("".join(group[0] for group in printed)):
                    yield run.start() + printed[0].start(), run.start() + printed[-1].end(), "CREDIT_CARD"
                    at += len(shape) - 1
                    break
            at += 1
    for match in _GROUPED_CARD.finditer(text):
        if valid(re.sub(r"\D", "", match[0])):
            yield *match.span(), "CREDIT_CARD"


_IBAN = re.compile(r"\d\d(?<=[A-Za-z]{2}\d\d)(?=[ -]?[A-Za-z0-9])")


def _ibans(text: str, allow_reserved: bool) -> Iterator[Found]:
    last = 0
    for match in _IBAN.finditer(text):
        start = match.start() - 2
        form = _iban_form(text[start : start + 2].upper())
        if start < last or (start and text[start - 1].isalnum()) or not (value := form.match(text, start)):
            continue
        from stdnum import iban

        if iban.is_valid(value[0], check_country=False):
            last = value.end()
            yield *value.span(), "IBAN_CODE"


@lru_cache(maxsize=2000)
def _iban_form(country: str) -> re.Pattern[str]:
    """How a country's IBANs may be written, by their length in the registry; nothing if it has none."""
    from stdnum import numdb

    structure = numdb.get("iban").info(country)[0][1].get("bban", "")
    size = sum(map(int, re.findall(r"(\d+)!", structure)))
    return re.compile(rf"[A-Za-z]{{2}}\d\d(?:[ -]?[A-Za-z0-9]){{{size}}}(?![^\W_])" if size else r"(?!)")


_IP4 = re.compile(r"\d(?<![\w.]\d)\d{0,2}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IP6 = re.compile(r"(?<![\w:])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{6,39}(?![\w:])")
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")


def _ips(text: str, allow_reserved: bool) -> Iterator[Found]:
    patterns = (_IP4, _IP6) if _COLONS.search(text) else (_IP4,)
    for match in chain.from_iterable(pattern.finditer(text) for pattern in patterns):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        if address.is_unspecified or address.is_loopback or match[0].endswith(".0.0"):
            continue  # "1.0.0.0" is a version, "0.0.0.0" and "::1" belong to no one
        if not (allow_reserved and any(address in network for network in RESERVED_NETWORKS)):
            yield *match.span(), "IP_ADDRESS"


_INTERNATIONAL = re.compile(r"\+(?<![\w+]\+)[ (]?\d(?:[ ./()-]{0,3}\d){6}")
# The same with zeros for the plus, in groups: without them it may be a bar code.
_WITH_ZEROS = re.compile(r"00(?<![\w.,/+-]00)([1-9]\d{0,2})[ ./-](?:[ ./()-]{0,2}\d){6}")
_NORTH_AMERICAN = re.compile(
    r"[(2-9](?<![\w.,/+-].)(?:(?<=\()[2-9])?\d\d(?:(?<=\(\d\d\d)\)[ -]?|[.-])[2-9]\d\d[.-]\d{4}(?![\w]|[.,/-]\d)"
)
_LONGEST_PHONE = 32  # characters in which a number is looked for


def _phones(text: str, allow_reserved: bool) -> Iterator[Found]:
    last = 0
    for pattern, sign in ((_INTERNATIONAL, "+"), (_WITH_ZEROS, "00"), (_NORTH_AMERICAN, "")):
        for match in pattern.finditer(text) if sign in text else ():
            start = match.start()
            value = text[start : start + _LONGEST_PHONE] if sign else match[0]
            code, size = _phone("+" + value[2:] if sign == "00" else value) if start >= last or not sign else (0, 0)
            if not size or (sign == "00" and str(code) != match[1]):
                continue
            last = start + size + (sign == "00")
            digits = re.sub(r"\D", "", text[start:last]).lstrip("0")
            if not (allow_reserved and RESERVED_PHONE.match(digits)):
                yield start, last, "PHONE_NUMBER"
        last = 0


@lru_cache(maxsize=4096)
def _phone(text: str) -> tuple[int, int]:
    """The country code and the length of the valid telephone number at the start of `text`; zeros if there is none."""
    from phonenumbers import Leniency, PhoneNumberMatcher

    # The region matters only to numbers without a plus: those in the North American form.
    for match in PhoneNumberMatcher(text, "US", leniency=Leniency.VALID):
        if not text[: match.start].strip("(") and not text[match.end : match.end + 1].isalnum():
            return match.number.country_code or 0, match.end
        break
    return 0, 0


# Identifiers of people whose printed form and check digits prove them, by their modules of stdnum.
_NATIONAL = {
    "us.ssn": r"\d{3}-\d\d-\d{4}(?![/-])",
    "us.itin": r"9\d\d-\d\d-\d{4}(?![/-])",
    "ch.ssn": r"756\.\d{4}\.\d{4}\.\d\d",
    "be.nn": r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d",
    "br.cpf": r"\d{3}\.\d{3}\.\d{3}-\d\d",
    "cl.rut": r"\d{1,2}\.\d{3}\.\d{3}-[\dkK]",
    "fr.nir": r"[12] \d\d [01]\d \d[\dAB] \d{3} \d{3} \d\d",
    "it.codicefiscale": r"[A-Z]{6}\d\d[A-EHLMPR-T]\d\d[A-Z]\d{3}[A-Z]",
    "mx.curp": r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d",
    "cn.ric": r"[1-8]\d{5}(?:19|20)\d\d[01]\d[0-3]\d{4}[\dX]",
}


_NATIONALS = re.compile(
    "(?:" + "|".join(f"(?P<{name.replace('.', '_')}>{form})" for name, form in _NATIONAL.items()) + r")(?!\w|[.,]\d)"
)
_STARTS = [
    re.compile(r"\d(?<![\w.,-]\d)(?=\d{0,2}[ .-]|\d{17})"),
    re.compile(r"[A-Z](?<![\w.,-].)(?=[A-Z]{3}[A-Z\d]{12})"),
]


def _nationals(text: str, allow_reserved: bool) -> Iterator[Found]:
    for start in chain.from_iterable(starts.finditer(text) for starts in _STARTS):
        match = _NATIONALS.match(text, start.start())
        name = (match.lastgroup or "").replace("_", ".") if match else ""
        for one in (name, "us.itin") if name == "us.ssn" else (name,):
            if match and _module(one).is_valid(match[0]):
                yield *match.span(), "US_SSN" if one == "us.ssn" else "NATIONAL_ID"
                break


@lru_cache
def _module(name: str) -> Any:
    from stdnum import get_cc_module

    return get_cc_module(*name.split("."))


# --- the check

Finder = Callable[[str, bool], Iterator[Found]]
# The least digits of a text in which each can find anything.
_NUMBERS: list[tuple[int, Finder]] = [(4, _ips), (7, _phones), (7, _nationals), (12, _ibans), (13, _cards)]

# What stands for no one however its digits fall: a UUID, and a hexadecimal hash (an IBAN in small letters has none of
# them after its country and check digits, and none with hexadecimal letters is as long as 32).
_HASH = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?=[0-9]*[a-f])[0-9a-f]{32,128}"
    r"|(?-i:(?=[0-9a-f]{4}[0-9]*[a-f])[0-9a-f]{16,31}))(?![0-9A-Za-z])",
    re.IGNORECASE,
)


def matches(text: str, *, allow_reserved: bool = False) -> Sequence[Found]:
    """Private patterns left in `text`, as (start, end, kind) in characters of `text`; see `residue`."""
    if len(text) > 1000:
        return tuple(_matches(text, allow_reserved))
    return _remembered(text, allow_reserved)


@lru_cache(2**12)
def _remembered(text: str, allow_reserved: bool) -> Sequence[Found]:
    """The same for a short text: the masker checks it, and the finished row is checked once more."""
    return tuple(_matches(text, allow_reserved))


def _matches(text: str, allow_reserved: bool) -> Iterator[Found]:
    seen = view(text)
    plain = seen.text
    if "<" in plain:
        plain = PLACEHOLDER.sub(lambda match: _OPAQUE * len(match[0]), plain)
    for start, end, kind in _plain_matches(plain, allow_reserved):
        yield *seen.source(start, end), kind
    for token in BASE64.finditer(plain):
        if token[0].islower() or token[0].isupper():
            continue  # a word
        for _, _, kind in _plain_matches(decoded(token[0]) or "", allow_reserved):
            yield *seen.source(*token.span()), kind


def _plain_matches(text: str, allow_reserved: bool) -> Iterator[Found]:
    if "@" in text:
        yield from _emails(text, allow_reserved)
    if any(sign in text for sign in _SECRET_SIGNS):
        yield from _secrets(text, allow_reserved)
    digits = len(_DIGIT.findall(text))
    for least, find in _NUMBERS:
        if digits < least:
            return
        for start, end, kind in find(text, allow_reserved):
            if kind == "IP_ADDRESS" or not _in_hash(text, start, end):
                yield start, end, kind


def _in_hash(text: str, start: int, end: int) -> bool:
    """Whether the span lies in a UUID or a hash, or is part of one and of what is next to it."""
    return any(
        other.start() < end and start < other.end() for other in _HASH.finditer(text, max(0, start - 128), end + 128)
    )


def residue(text: str, *, allow_reserved: bool = False) -> list[str]:
    """The kinds of private patterns left in `text`, sorted; empty means clean.

    `allow_reserved` accepts documentation values (example.com, test cards, 555-01xx), for texts with surrogates.
    """
    return sorted({kind for _, _, kind in matches(text, allow_reserved=allow_reserved)})


# --- names: ids, groups, tags

_ANNOUNCED = re.compile(
    r"(?:card|visa|mastercard|amex|karte|tarjeta|carte)(?:[ _.-]?(?:number|no|nr|num))?\W*\Z", re.IGNORECASE
)


def in_name(name: str, *, allow_reserved: bool = False) -> list[str]:
    """The kinds of private patterns in an id, a group or a tag, sorted.

    A counter passes a card's check digit one time in ten, so digits in one run prove nothing here, unless the words before
    them say what they are; whether a whole column holds cards, `could_be_card` helps to tell.
    """
    plain = _HASH.sub(_OPAQUE, name)
    spelled = re.sub(r"(?<=[A-Za-z])[-_:=/.#]+(?=[\d+])", " ", plain.replace("_", " "))
    found = set()
    for text in {plain, spelled}:
        for start, end, kind in matches(text, allow_reserved=allow_reserved):
            bare = text[start:end].isdigit()
            zeros = kind == "PHONE_NUMBER" and text[start] == "0"
            if not zeros and (not bare or _ANNOUNCED.search(text[:start])):
                found.add(kind)
    return sorted(found)


def in_words(text: str, *, allow_reserved: bool = False) -> list[str]:
    """The kinds of private patterns in a text that may be a name: one word is read by `in_name`."""
    return (residue if re.search(r"\s", text) else in_name)(text, allow_reserved=allow_reserved)


def could_be_card(name: str) -> bool | None:
    """Whether a name of 13 to 19 digits has a card's issuer and check digit; None if it isn't of that form."""
    return _is_card(name) if name.isascii() and name.isdigit() and 13 <= len(name) <= 19 else None
