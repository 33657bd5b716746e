"""Official identifiers that their letters, dates and check digits prove: tax, insurance and health numbers, vehicles, phones.

A number whose form chance hits less than once in 10,000 is found wherever it stands. Any other needs its name before it on
the line ("NHS", "PESEL"), or a text in the language of its country. Checks are `python-stdnum`'s, where it has them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from importlib import import_module
from typing import NamedTuple

from hallmark.mask.lexicon import fold
from hallmark.mask.prefilter import compiled
from hallmark.mask.rules import Found

NEAR = 60  # characters before a number in which its name may stand
LONGEST = 7  # groups of a printed number


class Official(NamedTuple):
    """A kind of identifier: its shape without separators (A letter, 0 digit, * either), its check, and when that is enough."""

    shape: str
    kind: str
    check: str  # a module of stdnum, or a function of this module
    names: str = ""  # words of which one stands before it, if the form is not enough
    printed: str = ""  # the form that is enough; empty: any
    language: str = ""  # the language whose texts need no name before it
    alone: bool = False  # whether the (printed) form is enough


_OFFICIAL = [
    # Letters in fixed places.
    Official("AAAAAA00A00A000A", "NATIONAL_ID", "it.codicefiscale", alone=True),
    Official("AAAA000000AAAAAA*0", "NATIONAL_ID", "mx.curp", alone=True),
    Official("AAAAA0000A", "NATIONAL_ID", "_pan", alone=True),
    Official("AA000000A", "NATIONAL_ID", "_nino", alone=True),
    Official("00000000A000", "NATIONAL_ID", "_german_pension", alone=True),
    Official("000000*000*", "NATIONAL_ID", "_hetu", printed=r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]", alone=True),
    Official("000000000AA0", "NATIONAL_ID", "pt.cc", alone=True),
    Official("0A*0A*0AA00", "NATIONAL_ID", "_mbi", alone=True),
    Official("A0000000A", "NATIONAL_ID", "es.nie", "nie nif dni extranjer", language="es"),
    Official("00000000A", "NATIONAL_ID", "es.dni", "dni nif", language="es"),
    Official("0000000A", "NATIONAL_ID", "ie.pps", "pps"),
    Official("0000000AA", "NATIONAL_ID", "ie.pps", "pps"),
    Official("*" * 17, "ACCOUNT", "_vin", alone=True),
    # Digits with a date and a strong check, or printed in a form of their own.
    Official("0" * 18, "NATIONAL_ID", "_chinese", alone=True),
    Official("0" * 17 + "A", "NATIONAL_ID", "_chinese", alone=True),
    Official("0" * 15, "NATIONAL_ID", "_nir", "nir securite sociale insee", r"\d \d\d \d\d \d\d \d{3} \d{3} \d\d", "fr", True),
    Official("000000A00000000", "NATIONAL_ID", "_nir", alone=True),
    Official("0" * 11, "NATIONAL_ID", "br.cpf", "cpf", r"\d{3}\.\d{3}\.\d{3}-\d\d", alone=True),
    Official("0" * 11, "NATIONAL_ID", "be.nn", "rijksregister registre national niss insz", r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d", alone=True),
    Official("0" * 13, "NATIONAL_ID", "ch.ssn", "ahv avs", r"756\.\d{4}\.\d{4}\.\d\d", alone=True),
    Official("0" * 12, "NATIONAL_ID", "_swedish", "personnummer", r"\d{8}[-+]\d{4}", alone=True),
    # Only next to their names.
    Official("0" * 10, "NATIONAL_ID", "_swedish", "personnummer"),
    Official("0" * 10, "NATIONAL_ID", "gb.nhs", "nhs"),
    Official("0" * 10, "ACCOUNT", "_npi", "npi national provider"),
    Official("0" * 10, "NATIONAL_ID", "dk.cpr", "cpr"),
    Official("0" * 15, "ACCOUNT", "imei", "imei"),
    Official("0" * 9, "US_SSN", "us.ssn", "ssn social security"),
    Official("0" * 9, "NATIONAL_ID", "us.itin", "itin taxpayer"),
    Official("0" * 9, "NATIONAL_ID", "nl.bsn", "bsn burgerservice"),
    Official("0" * 9, "NATIONAL_ID", "pt.nif", "nif contribuinte"),
    Official("0" * 9, "NATIONAL_ID", "ca.sin", "sin nas social insurance"),
    Official("0" * 11, "NATIONAL_ID", "de.idnr", "steuer idnr tin", language="de"),
    Official("0" * 11, "NATIONAL_ID", "pl.pesel", "pesel"),
    Official("0" * 11, "NATIONAL_ID", "gr.amka", "amka αμκα"),
    Official("0" * 11, "NATIONAL_ID", "no.fodselsnummer", "fodselsnummer personnummer"),
    Official("0" * 11, "NATIONAL_ID", "tr.tckimlik", "tckn kimlik"),
    Official("0" * 12, "NATIONAL_ID", "_spanish_insurance", "nuss nass naf seguridad social afiliacion"),
    Official("0" * 12, "NATIONAL_ID", "in_.aadhaar", "aadhaar uidai"),
    Official("0" * 13, "NATIONAL_ID", "za.idnr", "id number identity"),
    Official("0" * 13, "NATIONAL_ID", "ro.cnp", "cnp numeric personal"),
]  # fmt: skip

_RUN = compiled(
    r"(?<![^\W_])(?<![^\W_][@#/+&.-])(?:[A-Z]{1,6}[ -]){0,2}(?:[A-Z]{0,6}|[a-z]{0,6})\d[A-Za-z0-9]{0,24}"
    r"(?:(?:[ ./+-]| - )(?:[A-Z]{0,3}\d[A-Za-z0-9]{0,24}|[A-Z]{1,3}(?![a-z]))){0,11}(?![^\W_])"
)
_GROUP = re.compile(r"[A-Za-z0-9]+")
_SHAPE = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "A" * 52 + "0" * 10)
_MOST = max(len(one.shape) for one in _OFFICIAL)


@cache
def _by_shape() -> dict[str, list[Official]]:
    """The identifiers by shape; each `*` of a shape is written out, except in one of nothing else."""
    shapes: dict[str, list[Official]] = {}
    for one in _OFFICIAL:
        spelt = [""]
        for char in one.shape if set(one.shape) != {"*"} else "":
            spelt = [start + other for start in spelt for other in ("A0-" if char == "*" else char)]
        for shape in spelt:
            shapes.setdefault(shape.replace("-", ""), []).append(one)
    return shapes


def official(text: str, language: str) -> Iterator[Found]:
    """Official identifiers in `text`."""
    shapes = _by_shape()
    for run in _RUN.finditer(text):
        groups = [match.span() for match in _GROUP.finditer(text, *run.span())]
        before = ""
        first = 0
        while first < len(groups):
            compact, found, single = "", None, 0
            for last in range(first, min(len(groups), first + LONGEST)):
                start, end = groups[last]
                compact += text[start:end]
                single += end - start == 1
                if len(compact) > _MOST or single > 2:
                    break
                shape = compact.translate(_SHAPE)
                candidates = shapes.get(shape, ())
                if len(compact) == 17 and first == last and shape not in shapes:
                    candidates = [_VIN]
                if candidates:
                    start = groups[first][0]
                    before = before or fold(text[max(0, start - NEAR) : start].rpartition("\n")[2]) or " "
                    for one in candidates:
                        if _named(one, text[start:end], before, language) and _valid(one.check)(compact.upper()):
                            found = (start, end, one.kind, last)
                            break
            if found:
                yield Found(found[0], found[1], found[2], 0.9, "official")
                first = found[3]
            first += 1


_VIN = next(one for one in _OFFICIAL if one.check == "_vin")


def _named(one: Official, printed: str, before: str, language: str) -> bool:
    """Whether the form of a number, the language, or the words before it say that it can be this one."""
    if one.alone and not (one.printed and not re.fullmatch(one.printed, printed)):
        return True
    return language == one.language or bool(one.names and _names(one.names).search(before))


@cache
def _names(names: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(names.split())})")


@cache
def _valid(check: str) -> Callable[[str], bool]:
    if check.startswith("_"):
        function: Callable[[str], bool] = globals()[check]
        return function
    module = import_module(f"stdnum.{check}")
    return lambda compact: bool(module.is_valid(compact))


# --- checks that stdnum has not, or has without the dates and codes that make a number plausible


def _day(year: int, month: int, day: int) -> bool:
    try:
        return 1900 <= date(year, month, day).year < 2100
    except ValueError:
        return False


def _nino(compact: str) -> bool:
    return bool(re.fullmatch(r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]", compact))


def _mbi(compact: str) -> bool:
    letter = "[AC-HJKMNP-RT-Y]"
    return bool(re.fullmatch(rf"[1-9]{letter}(?:{letter}|\d)\d{letter}(?:{letter}|\d)\d{letter}{{2}}\d\d", compact))


def _pan(compact: str) -> bool:
    """An Indian tax number of a person; in those of firms the fourth letter is another."""
    return compact[3] == "P" and compact[5:9] != "0000"


def _german_pension(compact: str) -> bool:
    digits = f"{compact[:8]}{ord(compact[8]) - 64:02}{compact[9:11]}"
    total = sum(
        sum(divmod(int(digit) * weight, 10))
        for digit, weight in zip(digits, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1), strict=True)
    )
    return total % 10 == int(compact[11]) and 1 <= int(compact[2:4]) % 51 <= 31 and 1 <= int(compact[4:6]) <= 12


def _hetu(compact: str) -> bool:
    """A Finnish identity code, whose sign of the century may be a letter or was a separator."""
    from stdnum.fi import hetu

    return any(bool(hetu.is_valid(form)) for form in (compact, f"{compact[:6]}-{compact[6:]}") if len(form) == 11)


def _nir(compact: str) -> bool:
    """A French social security number: sex, month and department are plausible, and its key is right."""
    from stdnum.fr import nir

    return bool(re.match(r"[12]\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[1-8]\d|9[0-57-9]|2[AB])", compact)) and bool(
        nir.is_valid(compact)
    )


def _chinese(compact: str) -> bool:
    from stdnum.iso7064 import mod_11_2

    day = _day(int(compact[6:10]), int(compact[10:12]), int(compact[12:14]))
    return day and compact[0] in "12345678" and bool(mod_11_2.is_valid(compact))


def _swedish(compact: str) -> bool:
    from stdnum.se import personnummer

    return bool(personnummer.is_valid(f"{compact[:-4]}-{compact[-4:]}"))


def _spanish_insurance(compact: str) -> bool:
    return int(compact[:10]) % 97 == int(compact[10:])


def _npi(compact: str) -> bool:
    from stdnum import luhn

    return compact[0] in "12" and bool(luhn.is_valid(f"80840{compact}"))


_VIN_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", map(int, "123456781234579234567890123456789"), strict=True))
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def _vin(compact: str) -> bool:
    """A vehicle identification number with a check digit, as all of North America's have."""
    if not re.fullmatch(r"(?=.*[A-Z].*[A-Z])[A-HJ-NPR-Z\d]{8}[\dX][A-HJ-NPR-Z\d]{4}\d{4}", compact):
        return False
    rest = sum(_VIN_VALUES[char] * weight for char, weight in zip(compact, _VIN_WEIGHTS, strict=True)) % 11
    return compact[8] == ("X" if rest == 10 else str(rest))
