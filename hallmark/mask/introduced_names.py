"""People whom the words before them name, in whatever case: "my name is ...", greetings, closings, answers, pairs.

In chat and mail, names have no capitals, so a cue must say where one stands. How much a word must look like a name
depends on the cue: after "my name is" nearly any word is one, after "I'm" hardly any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from hallmark.mask.lexicon import (
    any_of,
    cities,
    first_names,
    fold,
    is_common,
    is_family_name,
    is_given_name,
    is_misspelt,
    is_plain,
    is_product,
    is_stop,
    is_word,
    last_names,
    products,
    titles,
    towns,
    word_list,
    words_of,
)
from hallmark.mask.name_cues import JOB_HEADS, MONTHS
from hallmark.mask.prefilter import compiled
from hallmark.mask.rules import DIGIT, Found

FORM_WORDS = word_list("words/form_words.txt")
NO_NAMES = (
    FORM_WORDS
    | word_list("words/chat.txt")
    | word_list("words/relations.txt")
    | word_list("words/person_roles.txt")
    | word_list("words/things.txt")
)
# Forms of address that are no other word and no adjective: what follows is a name, even one that is also a word.
_ADDRESS = frozenset(["mr", "mrs", "ms", "mx", "dr", "prof"])
_PARTICLES = frozenset(
    ["van", "von", "de", "del", "della", "di", "da", "der", "den", "la", "le", "el", "al", "bin", "ter", "ten"]
)
_BACKING = ("from", "here", "speaking", "calling")  # "I'm Jack from ..."
_LINKS = frozenset(
    ["and", "from", "here", "with", "speaking", "calling", "again", "my", "i", "but", "at", "of", "on", "for"]
)
_GAP = r"(?:[ \t\u00a0]|<[^<>\n]{1,60}>|[*_\"“(])*"  # blanks and markup
_BREAK = rf"{_GAP}(?:\r?\n{_GAP}){{0,2}}"
_NEXT = re.compile(r"[ \u00a0]{0,2}([^\W\d_]+(?:['’-][^\W\d_]+)*)(\.?)")
_CLOSED = re.compile(r"(?:[ ]x{1,4}(?!\w))?[ \t]*(?:[.,;:!?)<>\n\r\"”*/|–—-]|$)")

_LABELS = any_of(word_list("words/name_labels.txt"))
_SURE = compiled(
    r"(?<![^\W_])(?:(?:my|his|her|their|your|our|full|first|last|middle|maiden|given|family|customer(?:'s)?|caller(?:'s)?)"
    r"(?: (?:full|first|last|middle|maiden|given|family))? ?(?:sur)?name|(?<![^\W_] )(?:sur)?name)"
    r"(?:['’]s|:| is:?| was:?)(?: (?:is|it['’]?s))?(?![\w'’])"
    r"|(?<![^\W_])(?:(?:sur|(?:full|first|last|middle|maiden|given|family) )name(?= (?-i:[A-Z])))"
    rf"|(?<![^\W_])(?:call(?:s|ed)? me|(?:i am|i['’]m|is) called|i go by|(?:{_LABELS}):|c/o(?= (?-i:[A-Z])))(?!\w)",
    re.IGNORECASE,
)
# Types of programming languages and databases that are no English words, or are listed as names too: "name: str".
_TYPE = re.compile(
    r"(?<=:)[ ](?:bigint|bool|char|date|datetime|dict|enum|int|iterable|list|str|struct|timestamp|tuple|uuid|varchar|vec)"
    r"[ ]*(?:[\n,;)=|\[]|$)",
    re.IGNORECASE,
)
_PARAMETER = re.compile(r"\w\([^()]*$")  # "def f(size, name: Foo)"
_ATTENTION = compiled(r"(?<![^\W_])attention:(?=[ <\n])", re.IGNORECASE)
_LIKELY = compiled(
    r"(?<![\w'’])(?:i am|i['’]?m|this is|(?P<asks>(?:ask|asking|asked) for|(?:speak|speaking|spoke|talk|talking|talked) (?:to|with)))"
    r"(?![\w'’])",
    re.IGNORECASE,
)
# Whom something is told or sent.
_MET = compiled(
    r"(?<![\w'’])(?:it['’]?s|tell|told|remind|reminder for|ask(?:ed)?|call|text(?:ed)?|thank|met|saw|(?:ship|send|sent|deliver|forward|hand)(?:ed)?(?: (?:it|this|that|them))? to)(?![\w'’])",
    re.IGNORECASE,
)
_TITLE = compiled(rf"(?<![^\W_])(?P<title>{any_of(titles())})\.?(?= [^\W\d_])", re.IGNORECASE)
_HELLO = (
    r"(?:hi|hello|hey|hiya|dear|hallo|greetings|welcome|congratulations|happy birthday|good (?:morning|afternoon|evening|day)|morning|evening)"
    r"(?: there| again)?"
)
_GREETING = compiled(rf"(?:^|[\n>.!?:\"“])[ \t]*{_HELLO}(?![\w'’]),?(?=[ <])", re.IGNORECASE)
_BYE = (
    r"(?:(?:many |kind |best |warm )?(?:thanks|thank you|thx|tnx|ty|cheers|regards|wishes)(?: again| so much| a lot| a million| very much| in advance)?"
    r"|(?:yours )?(?:sincerely|truly|faithfully)|best|love|yours)"
)
_CLOSING = compiled(rf"(?<![\w'’]){_BYE}(?![\w'’])[ ]?[,.!-]{{0,2}}(?=[\s<])", re.IGNORECASE)
# What only letters say, so that a name follows in any case and whatever comes after it.
_LETTER = compiled(
    r"(?<![\w'’-])(?:dear|regards|sincerely|cheers|attn)(?![\w'’])[ ]?[,.:!-]{0,2}(?=[\s<])", re.IGNORECASE
)
_ASKED = compiled(
    r"(?:(?:first|last|full|maiden|middle|given|family|your) (?:sur)?names?|surnames?|(?<![^\W_])whom? (?:am i|is)(?: this)?)(?![^\W_])"
    r"[^\n?.]{0,40}\?",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"\s{0,3}(?:[^\W\d_]{2,20}:[ ])?(?:(?:yes|yeah|sure|ok|okay|it['’]?s|it is|my name is|i['’]?m|i am)[,.]?[ ])*",
    re.IGNORECASE,
)
# rosa_kumar, Rosa.Kumar, Rosa2024, rosa_k, r.kumar
_USER = compiled(
    r"(?<![\w@./:-])(?P<one>[^\W\d_]++)(?:(?P<joint>[._])(?P<other>[^\W\d_]+)\d{0,4}|\d{2,4})(?![\w@/(]|[.-]\w)",
)
_USER_NAME = re.compile(r"[^\W\d_]+(?:[._][^\W\d_]+)+(?:['’](?!s\b)[^\W\d_]+)?\d{0,4}(?![\w@/(]|[.-]\w)")
_PAIR = compiled(
    r"(?<![\w@.'’-])(?P<one>[a-z][a-zß-öø-ÿ'’-]++) (?:and|&|n|or) (?P<other>[a-z][a-zß-öø-ÿ'’-]+)(?![\w@'’-])"
)


def introduced(text: str) -> Iterator[Found]:
    """The names of people by what is said right before them."""
    for match in _SURE.finditer(text):
        parameter = _PARAMETER.search(text, max(0, match.start() - 200), match.start())
        if not (parameter or _TYPE.match(text, match.end())):
            yield from _after(text, match.end(), _is_sure, 0.66, "introduced")
    for match in _ATTENTION.finditer(text):
        yield from _after(text, match.end(), _is_listed, 0.66, "introduced")
    for match in _LIKELY.finditer(text):
        yield from _after(text, match.end(), _is_asked if match["asks"] else _is_likely, 0.6, "introduced")
    for match in _MET.finditer(text):
        yield from _after(text, match.end(), _is_met, 0.6, "introduced")
    for match in () if titles().isdisjoint(words_of(text)) else _TITLE.finditer(text):
        if not match["title"][0].isupper() or text.isupper():
            led = _is_titled if fold(match["title"]) in _ADDRESS else _is_unknown
            yield from (name._replace(start=match.start()) for name in _after(text, match.end(), led, 0.66, "title"))
    for match in _GREETING.finditer(text):
        yield from _after(text, match.end(), _is_greeted, 0.58, "greeting", whole=True)
    for match in _LETTER.finditer(text):
        yield from _after(text, match.end(), _is_addressed, 0.58, "closing", breaks=True)
    for match in _CLOSING.finditer(text):
        yield from _after(text, match.end(), _is_called, 0.58, "closing", whole=True)
    for match in _ASKED.finditer(text):
        if answer := _ANSWER.match(text, match.end()):
            yield from _after(text, answer.end(), _is_sure, 0.66, "answer", whole=True)
    for match in _USER.finditer(text) if "." in text or "_" in text or DIGIT.may_match(text) else ():
        one, other = match["one"], match["other"]
        if len(one) == 1 or (other and len(other) == 1):
            if other and _is_initialed(one, match["joint"], other):
                yield Found(*match.span(), "USERNAME", 0.6, "user_name")
            continue
        listed = is_given_name(fold(one)) or (one[0].isupper() and other and fold(one) in first_names("en"))
        if listed and (other is None or _is_family(other, one[0].isupper())):
            yield Found(*match.span(), "USERNAME", 0.6, "user_name")
    for match in _PAIR.finditer(text):
        pair = fold(match["one"]), fold(match["other"])
        if any(map(is_given_name, pair)) and all(map(_is_given, pair)) and not all(word in towns() for word in pair):
            yield Found(*match.span("one"), "PERSON", 0.57, "pair")
            yield Found(*match.span("other"), "PERSON", 0.57, "pair")


def _after(
    text: str,
    at: int,
    accepts: Callable[[str, bool, bool], bool],
    score: float,
    name: str,
    *,
    whole: bool = False,
    breaks: bool = False,
) -> Iterator[Found]:
    """The name that starts at a place, after blanks, markup and line breaks; `whole`: nothing follows on its line.

    Line breaks are skipped only if it is `whole` or `breaks` says so. A user name made of a listed name is one too.

    `accepts` decides on the first word by its folded form, whether it has a capital, and whether what follows backs it.
    """
    gap = (_BREAKS if whole or breaks else _GAPS).match(text, at)
    start = end = gap.end() if gap else at
    user = _USER_NAME.match(text, start) if accepts not in (_is_likely, _is_met) else None
    if user and (of_names(user[0]) or (accepts is _is_titled and "_" in user[0])):
        yield Found(*user.span(), "USERNAME", score, name)
        return
    words = list(_words(text, start))
    closed = [_CLOSED.match(text, stop) is not None for _, stop, _ in words] + [False]
    for number, (word, stop, capital) in enumerate(words):
        follows = words[number + 1][0] if number + 1 < len(words) else ""
        if not number:
            if follows in _GROUPS and word not in first_names() and word not in last_names():
                return  # "Dear suport team"
            backed = follows in _BACKING or (bool(follows) and _is_further(follows, False, closed[1]))
            if not accepts(word, capital, backed or (closed[0] and accepts not in (_is_likely, _is_asked, _is_met))):
                return
        elif follows and word in _PARTICLES:
            continue
        elif not _is_further(word, capital, closed[number] or follows in _LINKS or is_stop(follows)):
            break
        end = stop
    folded = [word for word, stop, _ in words if stop <= end]
    if not folded or (whole and not _CLOSED.match(text, end)):
        return
    if not (is_product(folded) or " ".join(folded) in products()):
        yield Found(start, end, "PERSON", score, name)


_GROUPS = frozenset(("team", "service", "support", "department", "desk", "staff"))
_GAPS, _BREAKS = re.compile(_GAP), re.compile(_BREAK)


def _words(text: str, at: int) -> Iterator[tuple[str, int, bool]]:
    """Up to five words from a place on: folded, where each ends, and whether it has a capital that tells something."""
    for _ in range(5):
        match = _NEXT.match(text, at)
        if match is None or (
            text[match.end(1) : match.end(1) + 1] in ("_", "@") or text[match.end(1) : match.end(1) + 1].isdigit()
        ):
            return
        word = match[1]
        initial = len(word) == 1 and match[2]
        at = match.end() if initial else match.end(1)
        yield fold(word).removesuffix("'s"), at, word[0].isupper() and not (word.isupper() and len(word) > 1)
        if match[2] and not initial:
            return


def _is_sure(word: str, capital: bool, backed: bool) -> bool:
    """Whether a word is a name after "my name is", where only "wrong" or "on the card" may follow too."""
    if _is_no_name(word, capital):
        return False
    if word in first_names("en") or word in last_names() or word in first_names():
        return capital or backed or not is_plain(word)
    return not is_word(word) and (capital or backed or not is_misspelt(word))


def _is_likely(word: str, capital: bool, backed: bool) -> bool:
    """Whether a word is a name after "I'm", where any adjective may follow too."""
    if _is_no_name(word, capital):
        return False
    return is_given_name(word) or (backed and word in first_names("en") and word not in MONTHS)


def _is_met(word: str, capital: bool, backed: bool) -> bool:
    """Whether a word is a given name after "tell" or "ship to", and no town's."""
    return _is_likely(word, capital, False) and word not in cities()


def _is_asked(word: str, capital: bool, backed: bool) -> bool:
    """Whether a word is a name after "speak to"."""
    return _is_likely(word, capital, backed) or (not _is_no_name(word, capital) and _is_unmistaken(word))


def _is_titled(word: str, capital: bool, backed: bool) -> bool:
    """Whether a word is a name after "mr", where a noun in no list of names is one too, but for an office ("mr president")."""
    if _is_no_name(word, capital):
        return False
    return word in first_names() or word in last_names() or not (is_plain(word) or JOB_HEADS.fullmatch(word))


def _is_unknown(word: str, capital: bool, backed: bool) -> bool:
    """Whether a word is no other, or at least no frequent one."""
    return not _is_no_name(word, capital) and not (is_word(word) and is_common(word))


def _is_greeted(word: str, capital: bool, backed: bool) -> bool:
    """Whether a word is a name where nothing else stands between "hi" and the end of its line, even one of a town."""
    if _is_no_name(word, capital):
        return False
    listed = word in first_names() or word in last_names() or not is_word(word)
    return _is_given(word) or (capital and listed) or _is_unmistaken(word)


def _is_called(word: str, capital: bool, backed: bool) -> bool:
    """Whether a word is a name where nothing else stands between "thanks" and the end of its line."""
    return _is_greeted(word, capital, backed) and (_is_given(word) or word not in towns() or is_family_name(word))


def _is_addressed(word: str, capital: bool, backed: bool) -> bool:
    """Whether a word is a name after "dear", whatever follows: a listed one, or one that no dictionary has."""
    return not _is_no_name(word, capital) and not is_common(word) and len(word) > 2 and word not in MONTHS


def _is_listed(word: str, capital: bool, backed: bool) -> bool:
    """Whether a word is in a list of names and no plain word."""
    if _is_no_name(word, capital) or not (word in first_names() or word in last_names()):
        return False
    return capital or not is_plain(word)


def _is_name(word: str) -> bool:
    return len(word) > 2 and (word in first_names() or word in last_names()) and not is_stop(word)


def of_names(text: str) -> bool:
    """Whether what dots, underscores or digits join are names, initials or no words, one of them a name; not "Rosa.Please"."""
    parts = [fold(part) for part in re.split(r"[._\d-]+", text) if part]
    names = list(map(_is_name, parts))
    return any(names) and all(
        name or (part != "i" if len(part) == 1 else not is_word(part)) for part, name in zip(parts, names, strict=True)
    )


def _is_unmistaken(word: str) -> bool:
    """Whether a word in lower case is a family name, or no other word and no mistyped one."""
    return is_family_name(word) or (len(word) > 4 and not is_word(word) and not is_misspelt(word))


def _is_initialed(one: str, joint: str, other: str) -> bool:
    """Whether a name and an initial make a user name ("rosa_k", "r.kumar"), not a file or two sentences ("rosa.c")."""
    initial, word = (one, other) if len(one) == 1 else (other, one)
    if joint == "." and (initial is other or initial.isupper()):
        return False
    return is_given_name(fold(word)) or is_family_name(fold(word))


def _is_further(word: str, capital: bool, ends: bool) -> bool:
    """Whether a word after a given name is part of the name; one that is also another word only where the name ends."""
    if len(word) == 1:
        return word not in "ai" or capital
    if _is_no_name(word, capital):
        return False
    if len(word) == 2 and capital:
        return True  # "Mark Ng"
    listed = word in last_names() or word in first_names()
    return (listed and (ends or capital or not is_plain(word))) or not is_word(word)


def _is_family(word: str, capital: bool) -> bool:
    """Whether a word joined to a given name is a family name, not a file's ending or the next sentence."""
    folded = fold(word)
    if folded in last_names() or folded in first_names():
        return not is_stop(folded)
    return capital and word[0].isupper() and not is_word(folded)


def _is_given(word: str) -> bool:
    return (is_given_name(word) or word in first_names("en")) and not is_stop(word) and word not in MONTHS


def _is_no_name(word: str, capital: bool) -> bool:
    if len(word) == 1 or (is_stop(word) and not (capital and word in first_names("en"))):
        return True
    return (
        word in NO_NAMES
        and not (capital and word in first_names("en") and word not in FORM_WORDS)
        and not is_given_name(word)
    )
