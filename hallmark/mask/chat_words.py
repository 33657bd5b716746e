"""Tell the words of chat apart: names, codes, frequent words with typos or run together, and all others."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from hallmark.mask.identity_values import within_edits
from hallmark.mask.lexicon import (
    EVERYDAY,
    amounts,
    cities,
    first_names,
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

CHAT = word_list("words/chat.txt")
SECRETS = word_list("words/secret_cues.txt")
ACCOUNTS = word_list("words/account_cues.txt")
YEAR = re.compile(r"(?:19|20)\d\d")
_GROUPS = word_list("words/groups.txt")
# Words that are written together with the one before or after them: "nothanks", "finethank", "pleaseconfirm".
_GLUED = CHAT | {"yes", "no", "not", "nothing", "thank", "you", "fine", "good", "all"}


def is_code(words: list[str], at: int) -> bool:
    """Whether a bare number is an identifier: four digits or more, and not a year, a date or a round number."""
    word = words[at]
    if not re.fullmatch(r"\d{4,}", word) or YEAR.fullmatch(word) or (len(word) <= 5 and word.endswith("00")):
        return False
    return not (at and words[at - 1] in products())


def is_split_code(words: list[str]) -> bool:
    """Whether words are the pieces of one code: "xb 71 k", "pk 4417"."""
    if any(word in amounts() or word in products() or (len(word) > 1 and word in CHAT) for word in words):
        return False
    digits = "".join(word for word in words if word.isdigit())
    pieces = all(
        word.isdigit() or (word.isalpha() and len(word) < 5 and not is_word(word)) or len(word) == 1 for word in words
    )
    unspoken = any(word.isalpha() and len(word) > 2 and not re.search("[aeiou]", word) for word in words)
    return (
        pieces
        and (len(digits) > 3 - unspoken or len(words) > 2)
        and not all(map(str.isdigit, words))
        and len(words) < 7
    )


def is_locator(word: str) -> bool:
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
        return re.search(r"q(?!u)|[^aeiouy]{5}", word) is not None and is_reference(word) and not is_misspelt(word)
    return len(re.findall(r"\d+", word)) > 1 and word[0].isalpha()


def is_reference(word: str) -> bool:
    """Whether a word of letters can be a booking code after its cue."""
    return 5 <= len(word) <= 8 and not is_word(word) and not is_given_name(word) and word not in CHAT


def is_name(words: list[str], alone: bool, numbered: bool) -> bool:
    """Whether words are a name. `alone`: they are the whole line; `numbered`: a number or a cue is next to them."""
    whole = " ".join(words)
    if not all(map(is_letters, words)) or any(whole in names for names in (products(), cities(), places())):
        return False
    if any(is_other(word) or is_small(word) for word in words):
        return False
    first, *rest = words
    if not rest:
        if is_given_name(first) or ((alone or numbered) and first in first_names("en_US")):
            return True
        return is_strange(first) if numbered else is_unknown(first)
    if len(rest[-1]) == 1:
        return False
    if is_given_name(first) or first in first_names("en_US"):
        plain = not is_given_name(first)
        return all(
            len(word) == 1 or (word in last_names() and not (plain and is_common(word))) or is_strange(word)
            for word in rest
        )
    if not any(word in first_names() or word in last_names() for word in words) and any(map(is_misspelt, words)):
        return False  # "gud mornin"
    return all(is_unknown(word) or (word in last_names() and not is_common(word)) for word in rest) and (
        is_unknown(first) or (first in first_names() and not is_plain(first))
    )


def is_other(word: str) -> bool:
    """Whether a word that may be a name is more often something else."""
    return word in CHAT or word in amounts() or word in products() or word in cities() or word in _GROUPS


@lru_cache(2**14)
def is_strange(word: str) -> bool:
    """Whether a word of three letters or more is no English or chat word, and can be spoken."""
    if len(word) < 3 or not is_letters(word) or is_other(word):
        return False
    if is_given_name(word):
        return True
    spoken = len(set(word)) > 2 and re.search(r"[aeiouy]", word)  # not "hmmm", not an abbreviation
    return bool(spoken) and not is_word(word) and word not in places()


@lru_cache(2**14)
def is_unknown(word: str) -> bool:
    """Whether a strange word is no frequent word with a typo either, nor two of them run together."""
    if not is_strange(word) or is_given_name(word) or word in last_names():
        return is_strange(word)
    typo = any(
        within_edits(word, other, 1 + (len(other) > 7))
        for other in _frequent(word[0])
        if abs(len(other) - len(word)) < 3
    )
    return not typo and not _runs_together(word)


@cache
def _frequent(letter: str) -> tuple[str, ...]:
    """The frequent words of five letters or more that start with a letter."""
    words = CHAT | EVERYDAY | amounts() | SECRETS | ACCOUNTS | stop_words()
    return tuple(sorted(word for word in words if len(word) > 4 and word[0] == letter))


def _runs_together(word: str) -> bool:
    """Whether a word is two words written together, one of which is a word of chat ("okthanks", "pleaseconfirm")."""
    for cut in range(2, len(word) - 1):
        left, right = word[:cut], word[cut:]
        for chat, other in ((left, right), (right, left)):
            if chat in _GLUED and (other in _GLUED or is_common(other)):
                return True
    return False


def is_small(word: str) -> bool:
    """Whether a word is a stop word or a contraction ("doesn't")."""
    return is_stop(word) or word.endswith(("n't", "'s", "'re", "'ll", "'ve", "'d", "'m"))


def is_letters(word: str) -> bool:
    return word.replace("'", "").replace("-", "").isalpha()


def has_digit(words: list[str]) -> bool:
    return any(map(str.isdigit, "".join(words)))
