"""Private values in chat: short lines without capitals or punctuation, where a bare word or number is often the answer.

"rufi 78 gmailcom", "john 4494", "password is cam 123": neither format nor capitals give them away, only the words
around them and the short line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stages.privacy.known import within_edits
from stages.privacy.lexicon import first_names, fold, is_given_name, is_stop, is_word, last_names, places, word_list
from stages.privacy.rules import Found

LONGEST = 200  # longest line that can be chat, in characters
_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SECRET = re.compile(
    r"^(?:p[aeo]*s+\w{0,2}(?:w[aoer]*r?d\w?|code|key|cord|wrd)|pas+|pw|pwd|pin|otp|passcode|pincode|security|secret|pasword|passwod)s?$"
)
_ACCOUNT = re.compile(
    r"^(?:ac|acc|acct|ac+o?u?n?t|a/c|accno|acno|id|userid|customerid|policy|membership|reference|registration|licen[cs]e|ssn|social)$"
)
_NAME = re.compile(r"^(?:n[ae]me|nam|names|myname|username|myself|mynam)$")
_CHAT = word_list("words/chat.txt")
_LONG_CHAT = [word for word in sorted(_CHAT) if len(word) > 4]
_FILLERS = word_list("words/chat_fillers.txt")
_AMOUNTS = word_list("words/chat_amounts.txt")
_THINGS = word_list("words/chat_things.txt")


def chat(text: str) -> Iterator[Found]:
    """Names, passwords and account numbers in lines of chat."""
    for line in re.finditer(r"[^\n]+", text):
        if (len(line[0]) <= LONGEST and line[0].islower()) or line[0].strip().isdigit():
            tokens = [
                (line.start() + token.start(), line.start() + token.end(), token[0])
                for token in _TOKEN.finditer(line[0])
            ]
            if tokens and ("\n" not in text.strip()):
                yield from _line(tokens)


def _line(tokens: list[tuple[int, int, str]]) -> Iterator[Found]:
    words = [fold(token) for _, _, token in tokens]
    money = any(word in _AMOUNTS for word in words)
    role = ""  # the kind of value that the last cue announced
    at = 0
    while at < len(words):
        word = words[at]
        if _SECRET.match(word) or (word == "pass" and at + 1 < len(words)):
            role = "SECRET"
        elif _ACCOUNT.match(word) and not (word == "id" and len(words) > 6):
            role = "ACCOUNT"
        elif _NAME.match(word) and not _THINGS.intersection(words[max(0, at - 2) : at] + words[at + 1 : at + 4]):
            role = "PERSON"
        elif role == "" and (
            word in ("im", "iam", "i'm", "myself")
            or words[at : at + 2] in (["i", "am"], ["this", "is"], ["its"], ["it's"])
        ):
            at += words[at : at + 2] in (["i", "am"], ["this", "is"])
            role = "PERSON?"
        elif word in _FILLERS and not (role == "SECRET" and word.isdigit()):
            pass
        elif role:
            stop = _value_end(words, at, role)
            if stop > at:
                yield _found(tokens, at, stop, role.rstrip("?"), 0.74, "chat_cue")
                at = stop - 1
                role = "NEXT" if role != "ACCOUNT" else ""
            else:
                role = ""
        elif _is_code(words, at, money):
            yield _found(tokens, at, at + 1, "ACCOUNT", 0.7, "chat_number")
        at += 1
    if len(words) <= 2 and all(_unknown(word) for word in words):
        yield _found(tokens, 0, len(words), "PERSON", 0.58, "chat_word")
    elif 1 < len(words) <= 4 and re.fullmatch(r"\d{4,}", words[-1]) and not money:
        yield from _pair(tokens, words)


def _pair(tokens: list[tuple[int, int, str]], words: list[str]) -> Iterator[Found]:
    """ "john 4494", "rosy and 9715": a name and its number."""
    names = [i for i, word in enumerate(words[:-1]) if word not in _FILLERS]
    if names and all(words[i].isalpha() and (_unknown(words[i]) or words[i] in first_names()) for i in names):
        yield _found(tokens, names[0], names[-1] + 1, "PERSON", 0.6, "chat_pair")


def _value_end(words: list[str], at: int, role: str) -> int:
    """The end of a cue's value; `at` if there is none."""
    stop = at
    if role in ("PERSON", "PERSON?"):
        while (
            stop < len(words)
            and stop - at < 3
            and words[stop].isalpha()
            and words[stop] not in _FILLERS
            and not _SECRET.match(words[stop])
            and not _ACCOUNT.match(words[stop])
        ):
            word = words[stop]
            known = is_given_name(word) or word in first_names("en")
            if not known and _unknown(word):
                known = (
                    role == "PERSON"
                    or stop > at
                    or len(words) - at <= 2
                    or words[at + 1] in ("and", "from", "my", "password")
                )
            doubtful = role == "PERSON?" or stop > at or is_stop(word) or word in _CHAT
            if not known and doubtful and not (stop > at and word in last_names() and not is_stop(word)):
                break
            stop += 1
        return stop
    if role == "SECRET":
        while (
            stop < len(words)
            and stop - at < 3
            and words[stop] not in _FILLERS - {"4"}
            and not _ACCOUNT.match(words[stop])
        ):
            if words[stop].isalpha() and (
                is_stop(words[stop]) or (words[stop] in _AMOUNTS and stop == at) or words[stop] in _CHAT
            ):
                break
            if words[stop].isalpha() and stop == at and is_word(words[stop]) and len(words) - at > 2:
                break  # "password reset is not working"
            stop += 1
        if stop - at == 1 and words[at].isalpha() and is_word(words[at]) and len(words) > 8:
            return at
        return stop
    if role == "NEXT":
        return at
    while (
        stop < len(words)
        and stop - at < 3
        and (
            any(map(str.isdigit, words[stop]))
            or (len(words[stop]) <= 4 and stop + 1 < len(words) and words[stop + 1].isdigit())
        )
    ):
        if words[stop] in _FILLERS:
            break
        stop += 1
    return stop if any(any(map(str.isdigit, word)) for word in words[at:stop]) else at


def _is_code(words: list[str], at: int, money: bool) -> bool:
    """Whether a bare number is an identifier: four digits or more, and not an amount or quantity."""
    word = words[at]
    if not re.fullmatch(r"\d{4,}", word):
        return False
    if money or (len(word) <= 5 and word.endswith("00")):
        return False
    return len(words) <= 12


def _unknown(word: str) -> bool:
    """Whether a word of three or more letters is no English or chat word, and no misspelling of a chat word."""
    if not word.isalpha() or len(word) < 3 or word in _CHAT or word in _AMOUNTS:
        return False
    if is_given_name(word):
        return True
    if is_word(word) or word in places():
        return False
    return len(set(word)) > 2 and not any(
        within_edits(word, other, 1 if len(other) < 8 else 2) for other in _LONG_CHAT if word[0] == other[0]
    )


def _found(tokens: list[tuple[int, int, str]], start: int, stop: int, kind: str, score: float, name: str) -> Found:
    return Found(tokens[start][0], tokens[stop - 1][1], kind, score, name)
