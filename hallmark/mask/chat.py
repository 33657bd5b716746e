"""Private values in chat: short lines without capitals or punctuation, where a bare word or number is often the answer.

"mona 31 gmailcom", "john 4494", "password is cam 123": neither format nor capitals give them away, only the words
around them and the short line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from hallmark.mask.identity_values import within_edits
from hallmark.mask.lexicon import (
    EVERYDAY,
    amounts,
    cities,
    first_names,
    fold,
    is_common,
    is_given_name,
    is_misspelt,
    is_plain,
    is_stop,
    is_word,
    last_names,
    places,
    products,
    stop_words,
    word_list,
)
from hallmark.mask.prefilter import compiled
from hallmark.mask.rules import Found

LONGEST = 200  # longest line that can be chat, in characters
_MARKUP = re.compile(r"[ ]*(?:[\"=<>|(]|[ ]--?\w)")  # a value ends before it
_FLAG = re.compile(r"(?:^|\s)--?$")
_TOKEN = re.compile(r"\d+[.]\d+|[^\W_]+(?:['’/-][^\W_]+)*")
_CHAT = word_list("words/chat.txt")
_SECRETS = word_list("words/secret_cues.txt")
_ACCOUNTS = word_list("words/account_cues.txt")
_YEAR = re.compile(r"(?:19|20)\d\d")
_GROUPS = word_list("words/groups.txt")
# Words that are written together with the one before or after them: "nothanks", "finethank", "pleaseconfirm".
_GLUED = _CHAT | {"yes", "no", "not", "nothing", "thank", "you", "fine", "good", "all"}
_FILLERS = word_list("words/fillers.txt")
_THINGS = word_list("words/things.txt")
_USERS = word_list("words/user_cues.txt")
_NUMBERED = frozenset(["number", "no", "num", "code", "id", "#", "nr", "locator"])
_NAMES = frozenset(["name", "names", "surname", "firstname", "lastname", "myname", "fullname"])
# Cues of two words or more: a pattern of the words, joined by spaces, and the role of what follows.
_PHRASES = (
    (re.compile(r"(?:security|verification|access|secret|one time) (?:code|pin|passcode|password|word)\b"), "SECRET"),
    (re.compile(r"(?:maiden|full|first|last|middle|given|family) names?\b"), "PERSON"),
    (re.compile(r"name for (?:the |my |this )?(?:order|booking|reservation|account)\b"), "PERSON"),
    (re.compile(r"name on (?:the |my |this )?(?:card|order|booking|reservation|account|policy|ticket)\b"), "PERSON"),
    (re.compile(r"(?:account|card|policy) ?holder\b|passengers?(?= (?:name|is|are)\b)|beneficiary\b"), "PERSON"),
    (re.compile(r"under (?:the |my )?name(?: of)?\b"), "PERSON"),
    (re.compile(r"card (?:number|no|ending|ends?)\b(?: (?:in|with|is))*|end(?:s|ing) (?:in|with)\b"), "ACCOUNT"),
    (re.compile(r"last (?:four|4)\b(?: (?:digits?|numbers?|of|my|the|on|account|card|ssn|social|are|is))*"), "ACCOUNT"),
    (re.compile(r"license plate\b|number plate\b|(?:drivers?|driving) licen[cs]e\b|social security\b"), "ACCOUNT"),
    (re.compile(r"(?:member|customer|client|patient|employee) (?:id|number|no|code)\b"), "ACCOUNT"),
    (re.compile(r"record locator\b"), "booking"),
    (re.compile(r"(?:user|login) (?:name|id)\b"), "USERNAME"),
    (re.compile(r"date of birth\b|birth ?da(?:te|y)\b|dob\b|d o b\b|born(?: on)?\b"), "DATE_OF_BIRTH"),
)
_LINKS = frozenset(["is", "my", "no", "of", "so", "to"])  # never the first part of a password: "password is 4412"
# How the words of these phrases start: most words don't, and twelve patterns are not tried on them.
_OPENS = re.compile(
    "security|verif|access|secret|one|maiden|full|first|last|middle|given|family|name|account|card|policy|passenger|beneficiary|"
    "under|end|licen|number|driv|social|member|customer|client|patient|employee|record|user|login|date|birth|dob|d$|born"
)
_BOOKED = frozenset(["confirmation", "booking", "reservation", "reference", "locator", "pnr"])
_I = re.compile(r"(?:im|iam|i'm|i|myself|this|its|it's|it)\b")
_I_AM = re.compile(r"(?:im|iam|i'm|i am|myself|this is|its|it's|it is)\b")
_UNSAID = re.compile(r".|[b-df-hj-np-tv-z]{2}")  # "gy" is a unit, but nothing that anyone says
_MONTH = re.compile(r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*")
_MAIL = re.compile(
    r"(?:gmail|hotmail|yahoo|outlook|icloud|protonmail|proton|aol|gmx|live|msn)(?:com|couk|coin|net|org)?"
)
_HOSTS = frozenset(["gmail", "hotmail", "yahoo", "outlook", "icloud", "live", "proton", "aol", "msn"])  # words too
_LIVES = compiled(
    r"\b(?:address(?: is)?|live at|living at|moved to|deliver(?: it)? to|ship(?: it)? to|house is|reside at)[ :]+"
    r"(\d+\w? (?:(?!(?:and|in|please|but|for|is|my|thanks?|with|on|at|by)\b)[^\W\d_]+\.?(?: \d+\w?)?(?: |$)){1,6})"
)


# "what is 2347 + 12", "2347 times 8": a number to reckon with.
_RECKONED = compiled(
    r"\d ?[+*×÷=^] ?\d|\d [/x-] \d|\d ?% of|\d (?:plus|minus|times|divided by|multiplied by|to the power)(?![^\W_])"
    r"|(?<![^\W_])(?:(?:square root|sum|product|difference|factorial|cube|log) of (?:the )?|"
    r"(?:multiply|divide|subtract|add|square|double|triple|halve|round|convert|calculate|compute)(?: up| down)? )\d"
)


def chat(text: str) -> Iterator[Found]:
    """Names, passwords and account numbers in lines of chat."""
    line = text.strip()
    if len(line) > LONGEST or "\n" in line or not (line.islower() or line.isdigit()):
        return
    tokens = [(token.start(), token.end(), token[0]) for token in _TOKEN.finditer(text)]
    if tokens:
        found = _line(tokens, _RECKONED.search(text) is not None)
        for one in found:
            cut = _MARKUP.search(text, one.start, one.end)
            if not _FLAG.search(text[max(0, one.start - 3) : one.start]):
                yield one._replace(end=cut.start()) if cut else one
        for match in _LIVES.finditer(text):
            yield Found(match.start(1), match.start(1) + len(match[1].rstrip()), "STREET_ADDRESS", 0.77, "chat_address")


def _line(tokens: list[tuple[int, int, str]], reckoned: bool) -> Iterator[Found]:
    words = [fold(token) for _, _, token in tokens]
    taken: set[int] = set()  # words that are part of a value
    cued: set[int] = set()  # words that announce one

    def found(start: int, stop: int, kind: str, score: float, name: str) -> Found:
        taken.update(range(start, stop))
        return Found(tokens[start][0], tokens[stop - 1][1], kind, score, name)

    for start, stop in _mails(words):
        yield found(start, stop, "EMAIL_ADDRESS", 0.78, "chat_email")
    at, role = 0, ""
    while at < len(words):
        if at in taken:
            at, role = at + 1, ""
            continue
        length, cue = _cue(words, at)
        if cue:
            cued.update(range(at, at + length))
            role, at = cue, at + length
        elif role and (stop := _value_end(words, at, role)) > at:
            yield found(at, stop, "ACCOUNT" if role == "booking" else role.removesuffix("?"), 0.74, "chat_cue")
            at, role = stop, ""
        elif words[at] in _FILLERS:
            at += 1
        else:
            at, role = at + 1, ""
    bare = [at for at in range(len(words)) if at not in taken and at not in cued]
    money = len(words) > 12 or reckoned or any(words[at] in amounts() for at in bare)
    numbered = len(taken)
    for at in bare:
        if not money and _is_code(words, at):
            yield found(at, at + 1, "ACCOUNT", 0.7, "chat_number")
    numbered = len(taken) - numbered
    rest = [at for at in bare if at not in taken and (words[at] not in _FILLERS or is_given_name(words[at]))]
    if rest and len(rest) <= 4:
        if len(words) > 1 and not cued and not numbered and _is_split_code(words):
            yield found(0, len(words), "ACCOUNT", 0.66, "chat_code")
        elif not cued or _opens_with_name(words, rest):
            for span in list(_answer(words, rest, bool(numbered or cued))):
                yield found(*span)


def _opens_with_name(words: list[str], rest: list[int]) -> bool:
    """Whether the only words outside cues and values are a given name at the start: "linda and the last four are 3391"."""
    name = words[rest[0]]
    return rest[-1] - rest[0] == len(rest) - 1 < 3 and (is_given_name(name) or name in first_names("en_US"))


def _answer(words: list[str], rest: list[int], numbered: bool) -> Iterator[tuple[int, int, str, float, str]]:
    """A line that is only a name, a code, or both: "john smith", "jane doe lagqgp"; next to a number: "john 4494"."""
    start, stop = rest[0], rest[-1] + 1
    if _is_locator(words[stop - 1]):
        stop -= 1
        yield stop, stop + 1, "ACCOUNT", 0.69, "chat_code"
        if start == stop:
            return
    name = words[start:stop]
    if rest[: stop - start] != list(range(start, stop)) or len(name) > 3:
        return
    alone = len(name) == len(words)
    if _is_name(name, alone, numbered):
        yield start, stop, "PERSON", 0.6, "chat_pair" if numbered else "chat_word"
        if stop + 1 == len(words) and _YEAR.fullmatch(words[stop]):
            yield stop, stop + 1, "ACCOUNT", 0.6, "chat_pair"


def _cue(words: list[str], at: int) -> tuple[int, str]:
    """The number of words of the cue that starts at `at`, and the role of what it announces."""
    word = words[at]
    if not _may_be_cue(word):
        return 0, ""
    ahead = " ".join(words[at : at + 8])
    for pattern, role in _PHRASES if _OPENS.match(word) else ():
        if match := pattern.match(ahead):
            return match[0].count(" ") + 1, role
    if _is_like(word, _SECRETS) and not (word == "pass" and at + 1 == len(words)):
        return 1, "SECRET"
    if _is_like(word, _USERS):
        return 1, "USERNAME"
    if _is_like(word, _ACCOUNTS):
        numbered = at + 1 < len(words) and words[at + 1] in _NUMBERED
        return 1 + numbered, "booking" if word in _BOOKED else "ACCOUNT" if numbered else "ACCOUNT?"
    if (word in _NAMES or (word[0] == "n" and within_edits(word, "name", 1) and not is_word(word))) and not (
        _THINGS.intersection(words[max(0, at - 2) : at] + words[at + 1 : at + 4])
    ):
        return 1, "PERSON"
    if match := _I_AM.match(ahead):
        return match[0].count(" ") + 1, "PERSON?"
    return 0, ""


@lru_cache(2**14)
def _may_be_cue(word: str) -> bool:
    """Whether a cue may start with the word; few do."""
    if (
        _OPENS.match(word)
        or _I.match(word)
        or word in _NAMES
        or any(_is_like(word, cues) for cues in (_SECRETS, _USERS, _ACCOUNTS))
    ):
        return True
    return word[0] == "n" and within_edits(word, "name", 1) and not is_word(word)


@lru_cache(2**14)
def _is_like(word: str, cues: frozenset[str]) -> bool:
    """Whether a word is one of the cues, or a long one with a typo."""
    if word in cues or word.removesuffix("s") in cues:
        return True
    if len(word) < 5 or is_word(word) or is_given_name(word):
        return False
    return any(len(cue) > 5 and word[0] == cue[0] and within_edits(word, cue, 1 + (len(cue) > 6)) for cue in cues)


def _value_end(words: list[str], at: int, role: str) -> int:
    """The end of the value that a cue announces; `at` if there is none."""
    if role in ("PERSON", "PERSON?"):
        return _name_end(words, at, role == "PERSON")
    if role == "SECRET":
        return _secret_end(words, at)
    if role == "DATE_OF_BIRTH":
        return _date_end(words, at)
    if role == "USERNAME":
        return _user_end(words, at)
    if role == "booking" and _is_letters(words[at]) and _is_reference(words[at]):
        return at + 1
    return _number_end(words, at, 4 if role == "ACCOUNT?" else 2) if role in ("ACCOUNT", "ACCOUNT?", "booking") else at


def _name_end(words: list[str], at: int, sure: bool) -> int:
    stop = at
    while stop < len(words) and stop - at < 4:
        word = words[stop]
        if not _is_letters(word) or word in _FILLERS or word in _CHAT or _cue(words, stop)[1]:
            break
        if len(word) == 1:
            if stop + 1 == len(words) or not _is_letters(words[stop + 1]):
                break
        elif _is_small(word) or word in amounts():
            break
        elif stop > at:
            if not (word in last_names() or word in first_names() or _is_strange(word)) or (
                is_common(word) and stop + 1 < len(words) and word not in first_names("en")
            ):
                break
        elif not (is_given_name(word) or (sure and (word in first_names("en") or word in last_names()))):
            last = len(words) - at <= 2 or words[at + 1] in ("and", "from", "my")
            if not (_is_strange(word) if sure else _is_unknown(word) and last):
                break
        stop += 1
    return stop if any(len(word) > 1 for word in words[at:stop]) else at


def _secret_end(words: list[str], at: int) -> int:
    stop = at
    while stop < len(words) and stop - at < 6:
        word = words[stop]
        if _cue(words, stop)[1] or (stop - at > 2 and _is_letters(word) and is_word(word)):
            break
        # "password is as 4412"
        led = stop == at and len(word) == 2 and word not in _LINKS and _has_digit(words[stop + 1 : stop + 2])
        if len(word) > 1 and _is_letters(word) and not led and (word in _FILLERS or _is_small(word) or word in _CHAT):
            break
        if stop == at and _is_letters(word) and not _has_digit(words[at + 1 : at + 2]):
            last = at + 1 == len(words) and words[at - 1] == "is" and not is_plain(word)
            if (len(word) == 1 or is_word(word)) and not last:
                break  # "password reset is not working"; but "password is sunflower 19"
        stop += 1
    if stop == at + 1 and words[at].isalpha() and len(words) - at > 3 and words[stop] not in ("and", "my"):
        return at
    return stop


def _user_end(words: list[str], at: int) -> int:
    word = words[at]
    if (_is_letters(word) and (is_word(word) or word in _CHAT)) or word in _FILLERS:
        return at
    return at + 1 + (at + 1 < len(words) and words[at + 1].isdigit())


def _number_end(words: list[str], at: int, least: int) -> int:
    stop = at
    while stop < len(words) and stop - at < 5:
        word = words[stop]
        if word in _FILLERS or _is_small(word) or word in amounts() or (word in _CHAT and len(word) > 1):
            break
        tail = stop > at and len(word) < 4 and not is_word(word) and not all(map(str.isdigit, words[at:stop]))
        if not _has_digit([word]) and not tail and not (len(word) <= 4 and _has_digit(words[stop + 1 : stop + 2])):
            break  # a tail: "gy 65 tg"
        stop += 1
    digits = sum(char.isdigit() for word in words[at:stop] for char in word)
    if stop == at + 1 and least > 2 and _YEAR.fullmatch(words[at]):
        return at
    if stop > at + 1 and any(map(str.isalpha, words[at:stop])):
        least = min(least, 3)  # "bdf 714"
    return stop if digits >= least and len("".join(words[at:stop])) > 2 else at


def _date_end(words: list[str], at: int) -> int:
    stop = at
    while (
        stop < len(words)
        and stop - at < 4
        and re.fullmatch(
            rf"\d{{1,2}}(?:st|nd|rd|th)?|\d{{4}}|\d{{1,2}}[/-]\d{{1,2}}[/-]\d{{2,4}}|of|{_MONTH.pattern}", words[stop]
        )
    ):
        stop += 1
    return stop if _has_digit(words[at:stop]) else at


def _mails(words: list[str]) -> Iterator[tuple[int, int]]:
    """E-mail addresses in words: "mona 31 gmailcom", "kate dot brown at hotmail dot com"."""
    for at, word in enumerate(words):
        if not _MAIL.fullmatch(word):
            continue
        stop = at + 1
        while stop < len(words) and words[stop] in ("dot", "com", "co", "uk", "in", "net", "org"):
            stop += 1
        if stop == at + 1 and word in _HOSTS:
            continue
        start = at
        while start and at - start < 6:
            before = words[start - 1]
            if before in _FILLERS - {"a", "i"} or before in ("email", "mail", "e-mail", "address", "gmail"):
                break
            if _is_small(before) and before != "at":
                break
            start -= 1
        if start < at:
            yield start, stop


# --- which words are names, codes, and frequent words with typos or run together


def _is_code(words: list[str], at: int) -> bool:
    """Whether a bare number is an identifier: four digits or more, and not a year, a date or a round number."""
    word = words[at]
    if not re.fullmatch(r"\d{4,}", word) or _YEAR.fullmatch(word) or (len(word) <= 5 and word.endswith("00")):
        return False
    return not (at and words[at - 1] in products())


def _is_split_code(words: list[str]) -> bool:
    """Whether words are the pieces of one code: "xb 71 k", "pk 4417"."""
    if any(
        word in amounts() or word in products() or (word[1:] and (word in _CHAT or is_stop(word))) for word in words
    ):
        return False
    digits = "".join(word for word in words if word.isdigit())
    pieces = all(
        word.isdigit() or (word.isalpha() and len(word) < 5 and not is_word(word)) or _UNSAID.fullmatch(word)
        for word in words
    )
    unspoken = any(word.isalpha() and len(word) > 2 and not re.search("[aeiou]", word) for word in words)
    return (
        pieces
        and (len(digits) > 3 - unspoken or len(words) > 2)
        and not all(map(str.isdigit, words))
        and len(words) < 7
    )


def _is_locator(word: str) -> bool:
    """Whether a word is a booking code: letters that no one can speak, or letters and digits mixed."""
    if not 5 <= len(word) <= 10 or not word.isascii() or not word.isalnum():
        return False
    if (
        re.fullmatch(r"[a-z]{1,3}\d[a-z]{2,4}", word)
        and len(word) == 6
        and not is_word(word.lstrip("abcdefghijklmnopqrstuvwxyz").lstrip("0123456789"))
    ):
        return True
    if word.isalpha():
        return re.search(r"q(?!u)|[^aeiouy]{5}", word) is not None and _is_reference(word) and not is_misspelt(word)
    return len(re.findall(r"\d+", word)) > 1 and word[0].isalpha()


def _is_reference(word: str) -> bool:
    """Whether a word of letters can be a booking code after its cue."""
    return 5 <= len(word) <= 8 and not is_word(word) and not is_given_name(word) and word not in _CHAT


def _is_name(words: list[str], alone: bool, numbered: bool) -> bool:
    """Whether words are a name. `alone`: they are the whole line; `numbered`: a number or a cue is next to them."""
    whole = " ".join(words)
    if not all(map(_is_letters, words)) or any(whole in names for names in (products(), cities(), places())):
        return False
    if any(_is_other(word) or _is_small(word) for word in words):
        return False
    first, *rest = words
    if not rest:
        if is_given_name(first) or ((alone or numbered) and first in first_names("en_US")):
            return True
        return _is_strange(first) if numbered else _is_unknown(first)
    if len(rest[-1]) == 1:
        return False
    if is_given_name(first) or first in first_names("en_US"):
        plain = not is_given_name(first)
        return all(
            len(word) == 1 or (word in last_names() and not (plain and is_common(word))) or _is_strange(word)
            for word in rest
        )
    if not any(word in first_names() or word in last_names() for word in words) and any(map(is_misspelt, words)):
        return False  # "gud mornin"
    return all(_is_unknown(word) or (word in last_names() and not is_common(word)) for word in rest) and (
        _is_unknown(first) or (first in first_names() and not is_plain(first))
    )


def _is_other(word: str) -> bool:
    """Whether a word that may be a name is more often something else."""
    return word in _CHAT or word in amounts() or word in products() or word in cities() or word in _GROUPS


@lru_cache(2**14)
def _is_strange(word: str) -> bool:
    """Whether a word of three letters or more is no English or chat word, and can be spoken."""
    if len(word) < 3 or not _is_letters(word) or _is_other(word):
        return False
    if is_given_name(word):
        return True
    if "-" in word:  # "smith-jones", not "web-shop"
        parts = word.split("-")
        names = [part in first_names() or part in last_names() or _is_strange(part) for part in parts]
        return all(names) and not (all(map(is_word, parts)) or any(map(is_stop, parts)))
    spoken = len(set(word)) > 2 and re.search(r"[aeiouy]", word)  # not "hmmm", not an abbreviation
    return bool(spoken) and not is_word(word) and word not in places()


@lru_cache(2**14)
def _is_unknown(word: str) -> bool:
    """Whether a strange word is no frequent word with a typo either, nor two of them run together."""
    if not _is_strange(word) or is_given_name(word) or word in last_names():
        return _is_strange(word)
    typo = any(
        within_edits(word, other, 1 + (len(other) > 7))
        for other in _frequent(word[0])
        if abs(len(other) - len(word)) < 3
    )
    return not typo and not _runs_together(word)


@cache
def _frequent(letter: str) -> tuple[str, ...]:
    """The frequent words of five letters or more that start with a letter."""
    words = _CHAT | EVERYDAY | amounts() | _SECRETS | _ACCOUNTS | stop_words()
    return tuple(sorted(word for word in words if len(word) > 4 and word[0] == letter))


def _runs_together(word: str) -> bool:
    """Whether a word is two words written together, one of which is a word of chat ("okthanks", "pleaseconfirm")."""
    for cut in range(2, len(word) - 1):
        left, right = word[:cut], word[cut:]
        for chat, other in ((left, right), (right, left)):
            if chat in _GLUED and (other in _GLUED or is_common(other)):
                return True
    return False


def _is_small(word: str) -> bool:
    """Whether a word is a stop word or a contraction ("doesn't")."""
    return is_stop(word) or word.endswith(("n't", "'s", "'re", "'ll", "'ve", "'d", "'m"))


def _is_letters(word: str) -> bool:
    return word.replace("'", "").replace("-", "").isalpha()


def _has_digit(words: list[str]) -> bool:
    return any(map(str.isdigit, "".join(words)))
