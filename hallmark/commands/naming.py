"""What the name of a column says about it: its words, compared with the lists in `role_words.toml`."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

WORDS = Path(__file__).with_name("role_words.toml")
ENTITIES = ("organisation", "person", "document")  # the coarsest first
# Words that name no thing of their own: `author.login` is an author, `labels.0.name` a label.
GENERIC = frozenset(
    ("id", "ids", "value", "values", "name", "login", "key", "code", "no", "nr", "number", "text", "list", "item", "items",
     "content", "email", "mail", "uuid", "data", "fields")
)  # fmt: skip
_ENDING = r"(?:s|es|n|en|e)?(?:id|ids|no|nr|num|number|nummer|name|key|code|ref|guid|mail|email)?"


@cache
def vocabulary() -> dict[str, tuple[tuple[re.Pattern[str], ...], ...]]:
    """By list: each entry as the patterns of its words."""
    lists = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    return {
        name: tuple(tuple(_pattern(word) for word in entry.split("+")) for entry in entries)
        for name, entries in lists.items()
    }


def _pattern(word: str) -> re.Pattern[str]:
    """A whole word; a long one also with a plural and what is glued to it, as in `customerid` or `Kundennummer`."""
    return re.compile(re.escape(word) + (_ENDING if len(word) > 3 else "(?:s|id)?"))


@cache
def words_of(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of a column's own name, and those of the objects that it lies in."""
    segments = [_split(segment) for segment in name.split(".") if not segment.isdigit() and segment != "*"] or [()]
    own, parents = segments[-1], segments[:-1]
    while parents and all(word in GENERIC for word in own):
        own = (*parents.pop(), *own)
        if not all(word in GENERIC for word in own):
            break
    return own, tuple(word for segment in parents for word in segment)


def _split(text: str) -> tuple[str, ...]:
    spaced = re.sub(r"(?<=[a-zà-ÿ0-9])(?=[A-Z])", " ", text)
    return tuple(re.findall(r"[^\W_]+", spaced.lower()))


@cache
def says(name: str, of: str) -> bool:
    """Whether a column's own name has a word of a list."""
    return _any(words_of(name)[0], of)


@cache
def inside(name: str, of: str) -> bool:
    """Whether a column lies in an object whose name has a word of a list."""
    return _any(words_of(name)[1], of)


def _any(words: tuple[str, ...], of: str) -> bool:
    return any(all(any(part.fullmatch(word) for word in words) for part in entry) for entry in vocabulary()[of])


@cache
def entity(name: str) -> str | None:
    """Which kind of entity a column names: its last word that isn't generic must say so (`customer_tier` is a tier)."""
    own, parents = words_of(name)
    heads = [word for word in own if word not in GENERIC]
    pairs = [(heads[-1],), tuple(heads[-2:])] if heads else [(parents[-1],)] if parents else []
    found = (of for of in ENTITIES for words in pairs if _any(words, of))
    return next(found, None)
