"""The kinds of private data: all code that finds, counts or replaces values uses these names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_[1-9][0-9]{0,6}>")
# What mask.level masks, each with all before it. direct: what points at one person by itself. quasi: what does so together
# with other things (quasi-identifiers). all: every date, and whatever any recognizer finds, however unsure.
LEVELS = ("direct", "quasi", "all")
DATES = frozenset(("DATE_TIME", "DATE_OF_BIRTH"))  # the kinds whose values are dates


@dataclass(frozen=True)
class Kind:
    """One kind, and how its values are handled."""

    name: str
    level: str = "direct"  # the lowest mask.level that masks it, one of LEVELS
    short: str | None = None  # the name in its placeholder, if the full name is long: <EMAIL_1>
    reads_as: str = "it"  # the word shown instead of a masked value while the rest of the text is searched
    repeated: bool = True  # a value found once is masked everywhere else in the record too
    in_parts: bool = False  # adjacent parts of a value are joined into one value


KINDS = {
    kind.name: kind
    for kind in (
        Kind("PERSON", reads_as="Mary", in_parts=True),
        Kind("TITLE", "quasi", repeated=False),  # a job title; a form of address ("Dr Meier") is part of the name
        Kind("NRP", "quasi"),  # nationality, religion, party
        Kind("AGE", "quasi", repeated=False),
        Kind("DATE_OF_BIRTH", short="BIRTH_DATE"),
        Kind("EMAIL_ADDRESS", short="EMAIL"),
        Kind("PHONE_NUMBER", short="PHONE"),
        Kind("USERNAME"),
        Kind("STREET_ADDRESS", short="ADDRESS", in_parts=True),
        Kind("ZIP_CODE", "quasi", short="ZIP"),
        Kind("LOCATION", "quasi"),
        Kind("ORGANIZATION", "quasi"),
        Kind("PASSPORT"),
        Kind("DRIVER_LICENSE"),
        Kind("NATIONAL_ID"),
        Kind("US_SSN", short="SSN"),
        Kind("CREDIT_CARD", short="CARD"),
        Kind("IBAN_CODE", short="IBAN"),
        Kind("ACCOUNT"),  # with a bank, a shop, an insurer; also the number of a policy, a case, a patient
        Kind("CRYPTO"),  # a cryptocurrency address
        Kind("SECRET"),  # a password, a PIN, an API key
        Kind("IP_ADDRESS", short="IP"),
        Kind("MAC_ADDRESS", short="MAC"),
        Kind("URL"),
        Kind("DATE_TIME", "quasi", short="DATE", repeated=False),  # at quasi, only those before mask.dates_before
        Kind("UUID", "all"),
        Kind("DENIED"),  # the words of mask.deny
        Kind("MISC", "all"),  # some NER models' label for any other name
        Kind("PLACEHOLDER"),  # came with the text in the form of a placeholder, but its name is no kind
    )
}


def kind_of(name: str) -> Kind:
    """The kind with that name; an unlisted one is the user's own (from `mask.patterns`), with default settings."""
    return KINDS.get(name) or Kind(name)


def short(name: str) -> str:
    """The name used in a kind's placeholders."""
    return kind_of(name).short or name


# Parts of Presidio's names for identifiers of one country (US_BANK_NUMBER, IN_PASSPORT), and the kind each one is.
_PARTS = (
    ("SSN", "US_SSN"),
    ("PASSPORT", "PASSPORT"),
    ("DRIV", "DRIVER_LICENSE"),
    ("BANK", "ACCOUNT"),
    ("VEHICLE", "ACCOUNT"),
    ("POSTCODE", "ZIP_CODE"),
)


def listed(name: str) -> str:
    """The listed kind for another tool's label: by kind name, placeholder name or the identifier it names, else MISC."""
    if name in KINDS:
        return name
    if kind := next((kind for kind in KINDS if short(kind) == name), None):
        return kind
    if kind := next((kind for part, kind in _PARTS if part in name), None):
        return kind
    return "NATIONAL_ID" if "_" in name else "MISC"


def masked_at(level: str, name: str) -> bool:
    """Whether a kind is masked at that `mask.level`."""
    return LEVELS.index(kind_of(name).level) <= LEVELS.index(level)


def nearest(name: str, own: Iterable[str] = ()) -> str:
    """The kind, listed or the user's own, whose name or placeholder name is closest to `name`."""
    names = {short(kind): kind for kind in KINDS} | {kind: kind for kind in (*KINDS, *own)}
    return names[difflib.get_close_matches(name, names, n=1, cutoff=0)[0]]
