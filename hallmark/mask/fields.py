"""Values that a key names: in forms, JSON, query strings, logs, tables, and in the documents of tools and answers.

`kind_of_value` says what a key makes of a value; all else finds the two in a text. A key is read as words, whatever joins
them ("lastName", "LAST_NAME"). A value is masked whole. Labels in five languages and numbers of people are lists in `words/`.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Container, Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from hallmark.mask.identifiers import every_cue, keyed_number
from hallmark.mask.lexicon import (
    first_names,
    fold,
    is_common,
    is_given_name,
    is_plain,
    is_stop,
    is_word,
    last_names,
    word_list,
)
from hallmark.mask.rules import Found, is_prose

SCORE = 0.985  # above all but an e-mail address and a URL: what else is in the value is a part of it
REACH = 64  # characters of a key
LONGEST = 2000  # characters of a value
LISTED = 50  # values of a list

_LABELS = {
    label: kind.upper() for label, _, kind in (entry.rpartition(": ") for entry in word_list("words/field_labels.txt"))
}
_KEYS = {re.sub(r"[^\w]+", " ", fold(label)).strip(): kind for label, kind in _LABELS.items()}
_JOINED = {key.replace(" ", ""): key for key in _KEYS}
_PEOPLE = (word_list("words/relations.txt") | word_list("words/person_roles.txt")) - {"producer"}
_GENERAL = frozenset(("name", "age", "recipient"))  # with any other word before it, of a thing
_OF = frozenset(("de", "del", "do", "da", "du", "di", "della", "van"))  # between a label and whose it is
_HUMP = re.compile(r"(?<=[a-zß-ÿ\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+")
_NOTHING = re.compile(
    r"(?i:true|false|null|none|nil|nan|n/?a|yes|no|unknown|required|optional|string|str|text|number|integer|undefined|empty|"
    r"default|hidden|any|all|on|off|tb[acd]|not (?:applicable|available|given|known|set|specified)|\*+|x+|[\[<(].*[\])>])"
)
_NAMES = re.compile(r"n[ao]o?m|apell|cogn|pr[eé]n")  # of labels for names, not for the people who have them
# Keys that often have a value that is no one's: it counts if it looks like one.
_OPEN = frozenset(
    ("token", "session", "csc", "user", "login", "handle", "uid", "acct", "authorization", "cookie", "sid")
)
_OWNERS = frozenset(("owner", "author", "assignee", "reporter", "committer"))  # often a name, a team or a firm
# Keys with a name, a number or a word that says who, not one of those whose work is sought, as an artist.
_ROLES = word_list("words/named_roles.txt")
_POINTER = re.compile(r"0x[\da-fA-F]{1,16}")  # the address of a place in memory
_POINTS = frozenset((
    "coordinates", "geo", "geolocation", "gps", "lat", "latitude", "lng", "lon", "long", "longitude", "gps coordinates", "lat lng",
))  # fmt: skip

_WORDS = r"[^\W\d_][\w'’.-]*(?:,?[ ][^\W\d_][\w'’.-]*){0,4}"
_CHECKS: dict[str, re.Pattern[str]] = {
    "PERSON": re.compile(_WORDS),
    "LOCATION": re.compile(r"[^\W\d_][^\n:;|\d]{1,40}"),
    "ZIP_CODE": re.compile(r"(?=[^\s.]*\d)[^\W_]{2,8}(?:[ -](?=[^\W_]*\d)[^\W_]{2,4})?"),
    "STREET_ADDRESS": re.compile(r"(?=.*[^\W\d_]{3})(?!.*(?:@|://))[^\W_][^\n|]{4,120}"),
    "SECRET": re.compile(r"(?=.{3})\S+(?:[ ]\S+){0,23}"),
    "USERNAME": re.compile(r"(?=.*[^\W\d_])[\w.@+-]{2,64}"),
    "PHONE_NUMBER": re.compile(r"(?=(?:\D*\d){6})[\d ()+./xX-]{6,30}"),
    "EMAIL_ADDRESS": re.compile(r"(?i)(?=.*(?:@|\bat\b|\bdot\b))[^\n]{5,100}"),
    "AGE": re.compile(r"(?:1[01]\d|[1-9]?\d)(?:[.]\d)?(?:[ ]?[^\W\d_]{1,9})?"),
    "DATE_OF_BIRTH": re.compile(r"(?=.*\d)[\w ,./:+-]{2,40}"),
    "NRP": re.compile(_WORDS),
    "TITLE": re.compile(_WORDS),
}
_COORDINATES = re.compile(r"-?\d{1,3}\.\d+(?:°?[ ]?[NSEW])?(?:[ ]?[,; ][ ]?-?\d{1,3}\.\d+(?:°?[ ]?[NSEW])?)?")


@lru_cache(2**12)
def kind_of_value(key: str, value: str, of_person: bool = False, digits: int = 3) -> str | None:
    """The kind of private value that a key makes of a value, or None.

    `of_person`: other fields of a person stand next to it. `digits`: the fewest of a number that its key may name.
    """
    words = _words(key)
    if not words or not value or _NOTHING.fullmatch(value):
        return None
    label = _label(words)
    if label is None:
        return (
            "PERSON"
            if _is_one(words[-1], _ROLES) and _fits("name", value, of_person)
            else keyed_number(words, value, digits)
        )
    if not label or (_KEYS[label] != "SECRET" and _POINTER.fullmatch(value)):
        return None
    return _KEYS[label] if _fits(label, value, of_person) else None


def _words(key: str) -> list[str]:
    """The words of a key, without a number at its end."""
    words = [fold(word) for word in _HUMP.split(key) if word]
    while len(words) > 1 and words[-1].isdigit():
        words.pop()
    return words[-6:]


def _label(words: list[str]) -> str | None:
    """The label that a key is or ends with; empty if it is that of a thing ("file name"), None if it is none."""
    for first in range(len(words)):
        label = _is_one(" ".join(words[first:]), _KEYS) or _JOINED.get("".join(words[first:]))
        if label:
            return "" if first and label in _GENERAL and not _is_one(words[first - 1], _PEOPLE | _ROLES) else label
    if len(words) > 1 and (_is_one(words[-1], _ROLES) or words[-1] in _OF):  # "nombreCliente", "nome do cliente"
        return _label(words[:-1])
    return None


def _is_one(word: str, known: Container[str]) -> str:
    """The word, or that of which it is the plural in English, German or Dutch, if it is known; else an empty text."""
    return next((one for end in ("", "s", "n", "en") if (one := word.removesuffix(end)) in known), "")


def _is_label(value: str) -> bool:
    """Whether a cell of a table is the name of a row or column, and no one's own."""
    words = _words(value)
    return bool(_label(words)) and not is_given_name(words[-1])


def _fits(label: str, value: str, of_person: bool) -> bool:
    """Whether a value can be what its label says."""
    kind = _KEYS[label]
    if label in _POINTS or not _CHECKS[kind].fullmatch(value):
        return kind == "LOCATION" and bool(_COORDINATES.fullmatch(value))
    words = [fold(word) for word in re.findall(r"[^\W\d_]+", value)]
    plain = all(map(is_common, words))
    mixed = any(map(str.isdigit, value))
    if kind == "PERSON":
        if label == "name":
            return "_" not in value and (_is_person(words) or (of_person and not plain))
        return bool(_NAMES.search(label)) or not plain or _may_be_person(value)
    if kind == "SECRET":
        if label.startswith("pin"):
            return mixed and len(value) < 13
        if label == "pass":
            return mixed and not value.isdigit()  # "pass: 1200" counts tests
        if label in _OPEN:
            return (mixed and len(value) > 5) or (len(value) > 15 and not re.search(r" |^\w+\.[a-z_]+$", value))
        return not is_prose(value)
    if kind == "USERNAME":
        if label in _OWNERS:
            return bool(re.search(r"[\d_.@]", value))
        return not (label in _OPEN and not mixed and all(map(is_plain, words)))
    if kind == "AGE":
        return not re.search(r"\d[ ]?(?:m?s|h|d|secs?|seconds?|mins?|minutes?|hours?)$", value)
    return kind != "STREET_ADDRESS" or mixed or not plain


def _may_be_person(value: str) -> bool:
    """Whether everyday words can be the name of someone, where a key says that one follows: "June Brown", not "To be set"."""
    written = re.findall(r"[^\W\d_]+", value)
    words = [fold(word) for word in written]
    stops = [is_stop(word) and word not in first_names("en") for word in words]
    capital = any(word != word.lower() and not stop for word, stop in zip(written, stops, strict=True))
    return capital or (not any(stops) and any(word in first_names() or word in last_names() for word in words))


def _is_person(words: list[str]) -> bool:
    """Whether words are a name by themselves."""
    if len(words) < 2:
        return bool(words) and is_given_name(words[0])
    known = words[0] in first_names() or (words[-1] in last_names() and not is_common(words[-1]))
    return (known and not any(map(is_plain, words))) or not any(map(is_word, words))


# --- keys and values in a text


class Pair(NamedTuple):
    """A key, and where its value stands."""

    key: str
    start: int
    end: int
    score: float = SCORE  # lower where the value may be a part of a URL


_ASSIGN = re.compile(
    r"(?P<closed>\\{0,3}[\"'`])?\]?\*{0,2}[ \t]{0,8}(?:[:=](?![:=/])[>*]{0,2}(?:[ ][|>][+-]?(?=\n))?|(?P<arrow>--?>|==>|[→⇒]))\s{0,8}(?P<open>\\{0,3}[\"'`])?"
)
_ARGUMENTS = r"[^\n|]{0,200}?[ ]"  # of a command, up to one
_QUOTE = r"(?P<quote>[\"'])?(?!\$)"
_TO_QUOTE = r"(?:(?!(?P=quote))[^\n]){3,200}(?=(?P=quote))"
_TAG_END = r"(?:\s[^<>]{0,120})?>\s{0,8}"
# Other forms of a key and its value, each after what every text has that holds one.
_PAIRS = [
    (needed, re.compile(form, re.IGNORECASE | re.MULTILINE))
    for needed, form in (
        # <age>47</age>
        ("</", rf"<(?:\w{{1,20}}:)?(?P<key>[a-z][\w.-]{{0,40}}){_TAG_END}(?:<!\[CDATA\[)?(?P<value>[^<>\n]{{1,200}}?)(?:\]\]>)?\s{{0,8}}</"),
        # <dt>Age</dt><dd>47</dd>, <b>Age:</b> 47
        ("</", rf"<(?P<tag>dt|b|strong|label){_TAG_END}(?P<key>[^<>\n:]{{1,40}}):?\s{{0,8}}</(?P=tag)>(?:(?<=dt>)|(?<=label>)|(?<=:</b>)|(?<=:</strong>)|[ ]?:)\s{{0,40}}(?:<\w{{1,10}}{_TAG_END}){{0,2}}(?P<value>[^<>\n]{{1,200}}?)\s{{0,8}}(?=<|$)"),
        # {"name": "age", "value": "47"}, <input name="age" value="47">, <field name="age">47</field>
        ("=", r"\b(?:name|key|field|column|label|property)=[\"'](?P<key>[^\"'<>\n]{1,64})[\"'][^<>\n]{0,80}?(?:\bvalue=[\"']|>)(?P<value>[^\"'<>\n]{1,200})"),
        ("alue", r"[\"'](?:name|key|field|column|label|property)[\"']\s?:\s?[\"'](?P<key>[^\"'{}\n]{1,64})[\"'][^{}]{0,80}?[\"']value[\"']\s?:\s?[\"']?(?P<value>[^\"'\n,}]{1,200})"),
        # curl -u user:password, mysql -ppassword, docker login -u user -p password
        ("-", rf"\bcurl\b{_ARGUMENTS}(?:-u|--(?:proxy-)?user)[ =]?{_QUOTE}(?P<password>(?(quote)(?=[^:\n]{{1,64}}:){_TO_QUOTE}|[^\s:\"'$]{{1,64}}:[^\s\"']{{2,64}}))"),
        ("-", rf"\b(?:(?:mysql|mariadb)[\w-]{{0,10}}{_ARGUMENTS}(?-i:-p)|(?:sshpass|login){_ARGUMENTS}(?-i:-p)[ ]?|redis-cli{_ARGUMENTS}(?-i:-a)[ ]|ldap\w{{1,9}}{_ARGUMENTS}(?-i:-w)[ ]|pass:|htpasswd[ ]-\w{{0,6}}b\w{{0,6}}[ ]\S{{1,200}}[ ]\S{{1,64}}[ ]){_QUOTE}(?P<password>(?(quote){_TO_QUOTE}|[^\s\"'-][^\s\"']{{2,64}}))"),
        ("-", rf"\b(?:login{_ARGUMENTS}-u[ ]|htpasswd[ ]-\w{{0,6}}b\w{{0,6}}[ ]\S{{1,200}}[ ])[\"']?(?P<login>[^\s\"'$-][^\s\"']{{2,64}})"),
        ("/user:", rf"\b(?:net|runas|cmdkey)\b{_ARGUMENTS}/user:(?P<password>\S{{1,64}}[ ](?!/)\S{{3,64}})"),
        # --age 47
        ("--", r"(?<![\w-])--(?P<key>[a-z][\w-]{1,40})[ ](?:(?P<quote>[\"'])(?P<value>[^\"'\n]{1,200})(?P=quote)|(?P<bare>[^\s\"'-][^\s\"']{0,200}))"),
        # | Age | 47 |
        ("|", r"^[> ]{0,8}\|[ \t]{0,8}(?P<key>[^|\n]{1,64}?)[ \t]{0,8}\|[ \t]{0,8}(?P<value>[^|\n]{1,200}?)[ \t]{0,8}\|[ \t\r]{0,8}$(?!\n[> \t|:-]{3,80}$)"),
    )
]  # fmt: skip
_INSIDE = {quote: re.compile(rf"(?:[^{quote}\\\n]|\\.){{1,{LONGEST}}}+(?={quote})") for quote in "\"'`"}
_BRACE = re.compile("[{}]")
_NO_KEY = re.compile(r"[^\w .'-]|[ ]{2}|(?<=\w\w)\.[ ]")
_RUN = re.compile(r"(?:[^\s,;&\"'`<>()\[\]{}|\\]|(?<=[^\W_])'(?=[^\W_])){1,200}")
_NUMBER = re.compile(r"-?\d[\d.]{0,40}(?:[eE][+-]?\d{1,3})?(?=\s{0,8}[,}\]\n])")
_ITEM = re.compile(
    r"\s{0,8}(?:[NE]?(?P<open>\\{0,3}[\"'])(?P<text>(?:(?!(?P=open))(?:\\.|[^\n\\])|(?P=open){2}){0,1000})(?P=open)"
    r"|(?P<bare>[^\s,\"'()\[\]{}][^,\"()\[\]{}\n]{0,200}?)(?:\s{0,8}\([^()\n]{0,99}\))?)\s{0,8}(?P<more>[,\])])"
)
_LINE = re.compile(
    r"(?:[ \t]{0,40}(?P<bullet>(?:[-*•]|\d{1,3}[.)])[ \t]{1,8})|[ \t]{1,40})(?P<quote>[\"']?)(?P<value>[^\s\"'][^\n]{0,200}?)(?P=quote)[ \t\r]{0,8}(?:\n|\Z)"
)
_OWN_KEY = re.compile(r"[\w.-]{1,40}[\"']?[ \t]{0,8}[:=](?!/)")
_INSERT = re.compile(r"\((?P<columns>[^()]{1,2000})\)\s{0,8}VALUES\s{0,8}\(", re.IGNORECASE)
_NEXT_ROW = re.compile(r"['\"]?(?:\([^()\n]{0,99}\))?\s{0,8}\)\s{0,8},\s{0,8}\(")
# Values of more than a word after a label that is all there is before the colon: "Apellidos: Rico Pedroza".
_FORMS = {
    "PERSON": re.compile(
        r"(?:dr[a.]{0,2}[ ]?|d\.ª?[ ]?|dña\.?[ ])?(?i:)[^\W\d_][\w'’.-]*(?:[ ](?:(?:de|del|la|las|los|y|von|van|der|du|di|da)[ ]){0,3}[^\W\d_a-zß-öø-ÿ][\w'’-]*){0,4}"
    ),
    "LOCATION": re.compile(r"[^\W\d_][^\n:;.,|<=\"\d]{1,40}"),
    "ZIP_CODE": re.compile(r"(?=[^\s.]*\d)[^\W_]{2,8}(?:[ -](?=[^\W_]*\d)[^\W_]{2,4})?(?![^\W_])"),
    "STREET_ADDRESS": re.compile(r"(?=[^\n<]{0,100}\d)(?![^\n<]{0,100}(?:@|://))[^\W_][^\n:|<]{4,100}"),
}
# All that there is, without capitals too.
_NAME = re.compile(rf"{_WORDS.replace(',?', '')}(?=[ \t]{{0,8}}(?:[\r\n,;|&<>)\]}}\"'`]|[ ]{{2}}|\Z))")
_STOP = re.compile(r"[ ]{2}|(?<=[^\W_]{5})\.\s|(?<=\d)\.\s")  # a gap, or a full stop after no abbreviation
_IN_URL = 0.92  # below a URL, which is masked whole


def fields(text: str) -> Iterator[Found]:
    """The values in a text that their keys make private."""
    pairs = [*_assigned(text), *_inserted(text), *_cells(text)]
    braces = [brace.start() for brace in _BRACE.finditer(text)] if pairs else []
    kinds: list[str | None] = []
    persons: set[int] = set()  # the objects with another field of a person than a name
    for pair in pairs:
        written = text[pair.start : pair.end].strip()
        kinds.append(kind_of_value(pair.key, written) or kind_of_value(pair.key, _read(text, pair)))
        if kinds[-1] and _words(pair.key)[-1] not in ("name", *_OWNERS):
            persons.add(bisect(braces, pair.start))
    for pair, kind in zip(pairs, kinds, strict=True):
        if kind is None and bisect(braces, pair.start) in persons:
            kind = kind_of_value(pair.key, _read(text, pair), of_person=True)
        if kind is not None:
            place = kind == "LOCATION" and text[pair.end - 1].isdigit()
            yield Found(pair.start, pair.end, kind, pair.score, "place" if place else "field")


def _read(text: str, pair: Pair) -> str:
    """A value as it is compared: a query string has escapes, and a plus or, in a view, a hyphen for a space."""
    value = unquote(text[pair.start : pair.end].strip())
    return re.sub(r"(?<=.)[+]|(?<=[^\W\d_])-(?=[^\W\d_])", " ", value) if text[pair.start - 1] == "=" else value


def _assigned(text: str) -> Iterator[Pair]:
    """Keys and values with a colon or equals sign between them, or in the form of XML."""
    for needed, written in _PAIRS:
        for pair in written.finditer(text) if needed in text else ():
            if not _is_label(pair[pair.lastgroup or 0]):
                yield Pair(pair.groupdict().get("key") or pair.lastgroup or "", *pair.span(pair.lastgroup or 0))
    last = _last_words()
    for match in _ASSIGN.finditer(text) if any(sign in text for sign in ":=>→⇒") else ():
        closed, opened, at = match["closed"], match["open"], match.end()
        before = text[max(0, match.start() - REACH) : match.start()]
        if "%" in before:
            before = unquote(before).rstrip("]")
        key = before.rpartition(closed[-1])[2] if closed else _NO_KEY.split(before)[-1]
        if not closed and (match[0].startswith("=") or ("=" in match[0] and _label(_words(key)) == "")):
            key = key.rpartition(" ")[2]  # "ok age=47", "SET age = 47"
        words = _words(key)
        if not words or not (words[-1] in last or _label(words)) or at >= len(text):
            continue
        if opened in _INSIDE:
            if inside := _INSIDE[opened].match(text, at):
                yield Pair(key, *inside.span())
        elif opened:  # JSON in a text of JSON
            end = text.find(opened, at, at + LONGEST)
            if end > at and "\n" not in text[at:end]:
                yield Pair(key, at, end)
        elif text[at] == "[":
            yield from (Pair(key, *item) for item in _items(text, at + 1) if _one_value(words, text, item))
        elif closed:
            if number := _NUMBER.match(text, at):
                yield Pair(key, *number.span())
        elif "\n" in match[0]:
            block = match[0].rstrip().endswith(("|", ">", "-", "+"))  # YAML: all lines are one text
            yield from (Pair(key, *line) for line in _lines(text, at, block) if _one_value(words, text, line))
        elif run := _RUN.match(text, at):
            if match["arrow"] and text[run.end() : run.end() + 1] == " " and is_plain(fold(run[0])):
                continue  # "password -> reset page -> home"
            label, bare = _label(words) or "", ":" in match[0] and "*" not in match[0]
            kind, end = _KEYS.get(label, ""), at + len(run[0].rstrip(".:?"))
            kind = kind or ("PERSON" if _is_one(words[-1], _ROLES) else "")
            alone = label not in ("", "name") and (" " not in key or "".join(words) == label.replace(" ", ""))
            whole = (alone and (bare or match["arrow"])) or (kind == "PERSON" and not bare)
            form = _FORMS[kind].match(text, at) if kind in _FORMS and whole else None
            name = _NAME.match(text, at) if form and kind == "PERSON" else None
            if name and not any(is_plain(fold(word)) for word in name[0].split()):
                end = name.end()
            elif form:
                end = max(end, at + len(_STOP.split(form[0])[0].rstrip(" .,;-")))
            elif bare:  # prose has rules of its own
                plain = label in _OPEN or is_common(fold(run[0].rstrip(".?!")))
                coded = not label and re.search(r"(?:_|[a-z][A-Z])\w*$", key)  # "policy_number: 12"
                sought = kind in ("SECRET", "USERNAME", "AGE") and not (plain and not any(map(str.isdigit, run[0])))
                if not (coded or sought):
                    continue
            yield Pair(key, at, end, _IN_URL if "=" in match[0] else SCORE)


# In quotes, or of a header or an error at the start of a line: "Content-Type: ", "TypeError: ".
_KEY = re.compile(
    r"(?P<quote>[\"'])(?P<key>[^\"'\n\\]{1,64})\\{0,3}(?P=quote)\s{0,8}:|^(?P<head>(?:[A-Z]-|[A-Z][a-z]{2,30}-?)(?:[A-Z][a-z]{2,30}-?){1,3}):[ ]",
    re.MULTILINE,
)


@lru_cache(64)  # several ask for those of one text, one after the other
def label_places(text: str) -> Sequence[tuple[int, int]]:
    """Where keys stand that say what their value is, and so are no one's name."""
    places = []
    for key in _KEY.finditer(text) if ":" in text else ():
        words = _words(key["key"] or key["head"])
        plain = key["head"] and words and is_common(words[-1]) and words[0] not in first_names()
        if plain or (key["key"] and (_label(words) or _last_words().intersection(words[-1:]))):
            places.append(key.span("head" if plain else "key"))
    return tuple(places)


def _items(text: str, at: int) -> Iterator[tuple[int, int]]:
    """Where the values of a list of JSON, YAML or SQL stand."""
    for _ in range(LISTED):
        item = _ITEM.match(text, at)
        if not item:
            return
        yield item.span("text" if item["open"] else "bare")
        if item["more"] != ",":
            return
        at = item.end()


def _lines(text: str, at: int, block: bool) -> Iterator[tuple[int, int]]:
    """Where the values stand that are below their key, in a list or indented; up to a line with a key of its own."""
    at = text.rfind("\n", 0, at) + 1
    for _ in range(LISTED):
        line = _LINE.match(text, at)
        if not line or _OWN_KEY.match(line["value"]):
            return
        yield line.span("value")
        if not (line["bullet"] or block):
            return
        at = line.end()


def _one_value(words: list[str], text: str, place: tuple[int, int]) -> bool:
    """Whether what has no quotes can be a value of its key: a secret is one word there, and a name has no everyday words."""
    kind, value = _KEYS.get(_label(words) or ""), text[slice(*place)]
    if kind == "PERSON":
        return not all(is_plain(fold(word)) for word in value.split())
    return kind not in ("SECRET", "USERNAME") or " " not in value


def _inserted(text: str) -> Iterator[Pair]:
    """The values of SQL's INSERT, which names the columns first."""
    at = 0
    while insert := _INSERT.search(text, at):
        names = [name.strip("\"`'[] \t\r\n") for name in insert["columns"].split(",")]
        following: re.Match[str] | None = insert
        while following:
            at = following.end()
            row = list(_items(text, at))
            if len(row) == len(names):
                yield from _row(text, names, row)
            following = _NEXT_ROW.match(text, row[-1][1]) if row else None


@cache
def _last_words() -> frozenset[str]:
    """Every word with which a key can end that names a private value."""
    last = every_cue().last | {key.rpartition(" ")[2] for key in _KEYS} | _ROLES
    return last | {f"{word}s" for word in last}


# --- tables

_HEADER_CELL = re.compile(r"[^\W\d_][\w .'’()/-]{0,40}")
_RULE = re.compile(r"[\s|:+=-]*")
_OPENED = re.compile(r"[:=]\s{0,8}\"")  # a table in a string of JSON
_GAP = "  "  # between aligned columns
_REPLY = re.compile(r"^(?:>[ ]?)+")
_CELL = {
    sign: re.compile(rf"[ ]*\"(?:[^\"\n]|\"\")*\"(?=[{sign}\n]|\Z)|[^{sign}\n]*") for sign in (",", ";", "\t", r"\|")
}
_CELL[_GAP] = re.compile(r"[ ]*\S+(?:[ ]\S+)*")


_ROW = re.compile(r"<tr[\s>].{1,4000}?(?=</?(?:tr|table|tbody)[\s>]|\Z)", re.DOTALL | re.IGNORECASE)
_DATA = re.compile(
    rf"<t[dh]{_TAG_END}(?:<\w{{1,10}}{_TAG_END}){{0,2}}(?P<value>[^<>]{{0,200}}?)\s{{0,8}}<", re.IGNORECASE
)


def _cells(text: str) -> Iterator[Pair]:
    """The cells of tables whose first line names the columns."""
    names: list[str] = []
    for element in _ROW.finditer(text) if "<t" in text else ():
        cells = [cell.span("value") for cell in _DATA.finditer(text, *element.span())]
        written = [text[low:high] for low, high in cells]
        if element[0].count("<th") == len(cells) or (not names and _names_columns(written)):
            names = written
        elif len(cells) == len(names):
            yield from _row(text, names, cells)
        if len(cells) == 2 and element[0].count("<th") < 2:  # a name and its value
            yield from _row(text, written[:1], cells[1:])
    if "\n" not in text:
        return
    header: dict[int, str] = {}
    sign, at = "", 0
    for line in text.splitlines(keepends=True):
        start, at = at, at + len(line)
        start += len(line) - len(_REPLY.sub("", line))
        bare = text[start:at].rstrip("\r\n")
        if _RULE.fullmatch(bare) and bare.strip():
            continue
        row = _split(bare, sign) if header else []
        # Some cells of aligned columns may be empty; below the first alone, a text can stand.
        placed = sign == _GAP and all(low in header for low, _ in row) and [low for low, _ in row] != [*header][:1]
        if not row or not (placed or len(row) == len(header)):
            sign, header = _header(_OPENED.split(bare)[-1])
            continue
        names = [header[low] for low, _ in row] if placed else list(header.values())
        yield from _row(text, names, [(start + low, start + high) for low, high in row])


def _row(text: str, names: Sequence[str], cells: Sequence[tuple[int, int]]) -> Iterator[Pair]:
    for key, (low, high) in zip(names, cells, strict=True):
        if key and low < high and not _is_label(text[low:high]):
            yield Pair(key, low, high)


def _header(line: str) -> tuple[str, dict[int, str]]:
    """The sign between the cells and the columns' names by place, if a line is the head of a table with private columns."""
    for sign in _CELL if len(line) < 4000 else ():
        if sign.lstrip("\\") not in line:
            continue
        names = {low: line[low:high] for low, high in _split(line, sign)}
        if _names_columns(list(names.values()), sign in (r"\|", _GAP) or " " not in line):
            return sign, names
    return "", {}


def _names_columns(names: Sequence[str], sure: bool = True) -> bool:
    """Whether the cells of a row name the columns of a table, one of which is private; most are, unless it is `sure`."""
    filled = [name for name in names if name]
    if len(filled) < 2 or not all(_HEADER_CELL.fullmatch(name) and name.count(" ") < 3 for name in filled):
        return False
    known = [name for name in filled if _words(name)[-1:] and _words(name)[-1] in _last_words()]
    return bool(known) and (sure or 2 * len(known) >= len(filled))


def _split(line: str, sign: str) -> list[tuple[int, int]]:
    """Where the cells of a line stand, without white space and quotes around them."""
    cells, at = [], 0
    while at <= len(line):
        match = _CELL[sign].match(line, at)
        if match is None:
            break
        low = match.end() - len(match[0].lstrip(' \t"'))
        cells.append((low, low + len(match[0].strip(' \t"'))))
        at = match.end() + 1
    return cells
