"""What the words of a column's name say: lists of words in several languages, and which of them name whom a row belongs to."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any
from unicodedata import combining, normalize

from hallmark.data.nested import ALL

WORDS = Path(__file__).with_name("role_words.toml")
ENTITIES = ("organisation", "person", "document")  # the coarsest first
# Words that name no thing of their own: `author.login` is an author, `labels.0.name` a label.
GENERIC = frozenset(
    ("id", "ids", "value", "values", "name", "login", "key", "code", "cod", "kod", "kode", "no", "nr", "number", "text", "list", "item", "items",
     "content", "email", "mail", "uuid", "data", "fields")
)  # fmt: skip
OF = frozenset(("of", "de", "du", "des", "do", "da", "del", "della", "di"))
GLUED = ("un", "non", "nicht", "on", "o", "u", "ej", "nie", "ne")  # before what was not done
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_STROKES = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "æ": "ae", "ß": "ss"})
_ENDING = r"(?:s|es|n|en|e)?(?:id|ids|no|nr|num|number|nummer|name|key|code|ref|guid|mail|email)?"


@cache
def role_words() -> dict[str, dict[str, Any]]:
    """The lists of `role_words.toml`, with the points for each."""
    return tomllib.loads(WORDS.read_text(encoding="utf-8"))


@cache
def vocabulary() -> dict[str, tuple[tuple[re.Pattern[str], ...], ...]]:
    """Each entry of the lists as the patterns of its words."""
    words = {name: entry.get("words", ()) for name, entry in role_words().items()}
    return {name: tuple(tuple(map(_pattern, one.split("+"))) for one in entries) for name, entries in words.items()}


def _pattern(word: str) -> re.Pattern[str]:
    """A whole word; a long one also with a plural and what is glued to it, as in `customerid` or `Kundennummer`."""
    forms = {bare(word), bare(word.translate(_UMLAUTS))}
    spelled = "|".join(sorted(re.sub("(?<=[^o]{3}[dt])o$", "[oa]", form) for form in forms))  # rechazado, rechazada
    return re.compile(f"(?:{spelled})" + (_ENDING if len(word) > 3 else "(?:s|id)?"))


@cache
def bare(word: str) -> str:
    """A word without accents, which names of columns often lack."""
    return "".join(sign for sign in normalize("NFKD", word.translate(_STROKES)) if not combining(sign))


@cache
def words_of(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of a column's own name, and those of the objects that it lies in."""
    segments = [split(segment) for segment in name.split(".") if not segment.isdigit() and segment != ALL] or [()]
    own, parents = segments[-1], segments[:-1]
    while parents and all(word in GENERIC for word in own):
        own = (*parents.pop(), *own)
    return own, tuple(word for segment in parents for word in segment)


def split(text: str) -> tuple[str, ...]:
    spaced = re.sub(r"(?<=[a-zà-ÿ0-9])(?=[A-Z])", " ", text)
    return tuple(re.findall(r"[^\W_]+", spaced.lower()))


@cache
def says(name: str, of: str, *, whole: bool = False) -> bool:
    """Whether a name has a word of a list; `whole`: and no other words."""
    return _any(words := words_of(name)[0], of, len(words) if whole else None)


@cache
def inside(name: str, of: str) -> bool:
    return _any(words_of(name)[1], of)


def _any(words: tuple[str, ...], of: str, parts: int | None = None) -> bool:
    """Whether some words have all those of an entry; `parts`: only entries of that many."""
    words = tuple(map(bare, words))
    entries = [entry for entry in vocabulary()[of] if parts in (None, len(entry))]
    return any(all(any(part.fullmatch(word) for word in words) for part in entry) for entry in entries)


def says_undone(label: str, deed: str = "deed", *, whole: bool = True) -> bool:
    """Whether a label's words (`whole`: all of them) say that nobody classified yet: `Not yet assigned`, `Por definir`.

    `deed`: the list with what was not done.
    """
    words = split(label)
    if len(words) == 1:
        return bare(label.casefold()).startswith(tuple(f"{no}{stem}" for no in GLUED for stem in _stems(deed)))
    deeds = [at for at, word in enumerate(map(bare, words)) if word.startswith(_stems(deed))]
    undone = [at for at, word in enumerate(words) if _any((word,), "undone")]
    if not deeds or not undone or not (undone[0] < deeds[0] or len(words[undone[-1]]) > 4):
        return False
    if not whole:  # among other words, a short one says nothing
        return any(at and at - 1 in undone and len(words[at - 1]) > 2 for at in deeds)
    return all(at in (*deeds, *undone) or _any((word,), "filler") for at, word in enumerate(words))


@cache
def _stems(deed: str) -> tuple[str, ...]:
    return tuple(map(bare, role_words()[deed]["stems"]))


@cache
def entity(name: str) -> str | None:
    """Which kind of entity a column names: its last word that isn't generic must say so (`customer_tier` is a tier)."""
    own, parents = words_of(name)
    at = next((at for at, word in enumerate(own) if word in OF), 0)
    if any(word not in GENERIC and _any((word,), "kind_of") for word in own[:at]):  # so is a `motif de contact`
        own = own[:at]
    heads = [word for word in own if word not in GENERIC and not _any((word,), "identifier")] or list(parents[-1:])
    # By the number of words that an entry has: a contact reason is no contact.
    ends = {1: tuple(heads[-1:]), 2: tuple(heads[-2:])}
    return next((of for of in ENTITIES for most, words in ends.items() if _any(words, of, most)), None)
