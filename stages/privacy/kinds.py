"""The kinds of private data: all code that finds, counts or replaces values uses these names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind, and how its values are handled."""

    name: str
    short: str | None = None  # the name in its placeholder, if the full name is long: <EMAIL_1>
    reads_as: str = "it"  # the word shown instead of a masked value while the rest of the text is searched
    repeated: bool = False  # a value found once is masked everywhere else in the record too
    in_parts: bool = False  # adjacent parts of a value are joined into one value


KINDS = {
    kind.name: kind
    for kind in (
        Kind("PERSON", reads_as="Mary", repeated=True, in_parts=True),
        Kind("TITLE"),  # a form of address ("Dr") or a job title
        Kind("NRP"),  # nationality, religion, party
        Kind("AGE"),
        Kind("DATE_OF_BIRTH", short="BIRTH_DATE"),
        Kind("EMAIL_ADDRESS", short="EMAIL", repeated=True),
        Kind("PHONE_NUMBER", short="PHONE", repeated=True),
        Kind("USERNAME", repeated=True),
        Kind("STREET_ADDRESS", short="ADDRESS", repeated=True, in_parts=True),
        Kind("ZIP_CODE", short="ZIP"),
        Kind("LOCATION"),
        Kind("ORGANIZATION", repeated=True),
        Kind("PASSPORT"),
        Kind("DRIVER_LICENSE"),
        Kind("NATIONAL_ID"),
        Kind("US_SSN", short="SSN"),
        Kind("CREDIT_CARD", short="CARD"),
        Kind("IBAN_CODE", short="IBAN"),
        Kind("ACCOUNT", repeated=True),  # with a bank, a shop, an insurer; also a policy or a membership
        Kind("CRYPTO"),  # a cryptocurrency address
        Kind("SECRET", repeated=True),  # a password, a PIN, an API key
        Kind("IP_ADDRESS", short="IP"),
        Kind("MAC_ADDRESS", short="MAC"),
        Kind("URL"),
        Kind("DATE_TIME", short="DATE"),
        Kind("DENIED"),  # the words of mask.deny
        Kind("MISC"),  # some NER models' label for any other name
        Kind("PLACEHOLDER"),  # came with the text in the form of a placeholder, but its name is no kind
    )
}


def kind_of(name: str) -> Kind:
    """The kind with that name; an unlisted one is the user's own (from `mask.patterns`), with default settings."""
    return KINDS.get(name) or Kind(name)


def short(name: str) -> str:
    """The name used in a kind's placeholders."""
    return kind_of(name).short or name


def listed(name: str) -> str:
    """The listed kind for another tool's label: matched by kind name or placeholder name, else MISC."""
    return name if name in KINDS else next((kind for kind in KINDS if short(kind) == name), "MISC")


def nearest(name: str, own: Iterable[str] = ()) -> str:
    """The kind, listed or the user's own, whose name or placeholder name is closest to `name`."""
    names = {short(kind): kind for kind in KINDS} | {kind: kind for kind in (*KINDS, *own)}
    return names[difflib.get_close_matches(name, names, n=1, cutoff=0)[0]]
