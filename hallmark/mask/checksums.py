"""Check digits as the masker reads them: generous, so that a number of an unlisted country or issuer is masked too.

The second check has its own, from other libraries: a mistake here is not repeated there.
"""

from __future__ import annotations

import re

_ISSUER = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12,15}|35\d{14}|(?:2131|1800)\d{11}|(?:50|5[6-9]|6\d)\d{10,17}"
)
# 15 to 34 characters (ISO 13616), at least ten of them digits: words after a code such as "RM12" are no account.
_IBAN = re.compile(r"(?=(?:[A-Z]*\d){12})[A-Z]{2}\d\d[A-Z0-9]{11,30}", re.ASCII)


def luhn(digits: str) -> bool:
    """Whether the check digit of a card number is correct (ISO/IEC 7812-1)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def card_ok(digits: str) -> bool:
    """Whether the digits are a payment card number: issuer range, length and check digit all fit."""
    return bool(_ISSUER.fullmatch(digits)) and len(set(digits)) > 1 and luhn(digits)


def iban_ok(iban: str) -> bool:
    """Whether form and check digits are those of an IBAN without spaces, of any country (ISO 13616, mod 97)."""
    iban = iban.upper()
    if not _IBAN.fullmatch(iban):
        return False
    return int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97 == 1
