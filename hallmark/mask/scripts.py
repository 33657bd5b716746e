"""Names in scripts without capitals (Arabic, Chinese, Hebrew, Indic, Japanese, Korean, Thai, Georgian), after or before a cue.

Without capitals, and in some of these scripts without spaces, a name is told from other words only by the word that
announces it ("我叫", "اسمي") or follows it ("さん", "씨"), and in Chinese and Korean by its family name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from hallmark.mask.lexicon import any_of, first_names, fold, last_names, raw_names, word_list
from hallmark.mask.rules import Found

_CASELESS = re.compile(
    r"[\u0590-\u06ff\u0750-\u077f\u0900-\u0dff\u0e00-\u0eff\u10d0-\u10ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"
)
_HAN = "\u3400-\u9fff々"
_KANA = "\u3040-\u30ffー"


def script_names(text: str) -> Iterator[Found]:
    """Names of people in the scripts without capitals that the text has."""
    if not _CASELESS.search(text):
        return
    before, after = _cues()
    patterns = (_KOREAN, _JAPANESE, _NAME) if _KANA_OR_HANGUL.search(text) else (_chinese(), _NAME)
    for match in before.finditer(text):
        yield from _following(text, match.end(), patterns)
    for match in after.finditer(text):
        start = _family_start(match[1])
        if start is not None:
            yield Found(match.start(1) + start, match.end(1), "PERSON", 0.6, "script_cue")
    for match in _ALONE.finditer(text):
        if _is_full(match[0]):
            yield Found(*match.span(), "PERSON", 0.5, "script_name")


def _following(text: str, at: int, patterns: tuple[re.Pattern[str], ...]) -> Iterator[Found]:
    """The name after a cue: in scripts with spaces, its first word and those after it that are listed names."""
    match = next((match for pattern in patterns if (match := pattern.match(text, at))), None)
    if match is None:
        return
    first, *more = match[0].split(" ")
    end = match.start() + len(first)
    for word in more:
        if fold(word) not in first_names() and fold(word) not in last_names():
            break
        end += 1 + len(word)
    yield Found(at, end, "PERSON", 0.6, "script_cue")


_KANA_OR_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7a3]")
_KOREAN = re.compile("[\uac00-\ud7a3]{2,4}?(?=입니다|이고|이에요|예요|라고|이라고|이며|[^\uac00-\ud7a3]|$)")
_JAPANESE = re.compile(
    rf"[{_HAN}]{{2,5}}|[\u30a1-\u30ffー]{{2,10}}|[\u3041-\u309f]{{2,6}}?(?=です|と|で|[^\u3041-\u309f]|$)"
)
# Up to three words with spaces between them.
_LETTERS = ("\u0590-\u06ff\u0750-\u077f", "\u10d0-\u10ff", "\u0900-\u0dff", "\u0e00-\u0eff")
_NAME = re.compile("|".join(rf"[{letters}]{{2,}}(?: [{letters}]{{2,}}){{0,2}}" for letters in _LETTERS))


# Two to five characters between others: it may be a full name.
_ALONE = re.compile(
    rf"(?<![{_HAN}{_KANA}])[{_HAN}]{{2,5}}(?: [{_HAN}]{{1,3}})?(?![{_HAN}{_KANA}])|(?<![\uac00-\ud7a3])[\uac00-\ud7a3]{{3,4}}(?![\uac00-\ud7a3])"
)


@cache
def _cues() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The cues before a name and those after one."""
    cues = word_list("words/script_cues.txt")
    before = any_of({cue.removesuffix("~").rstrip() for cue in cues if cue.endswith("~")})
    after = any_of({cue.removeprefix("~") for cue in cues if cue.startswith("~")})
    return re.compile(rf"(?:(?<![^\W_])|(?<=[{_HAN}{_KANA}]))(?:{before})[:： ]{{0,2}}"), re.compile(
        rf"([{_HAN}]{{1,4}}?|[\u30a1-\u30ffー]{{2,10}}|[\uac00-\ud7a3]{{2,4}}?) ?(?:{after})"
    )


@cache
def _listed(part: str) -> frozenset[str]:
    """Chinese, Japanese and Korean "first" or "last" names."""
    names = raw_names(part, "zh") | raw_names(part, "ja") | raw_names(part, "ko")
    return frozenset(name for name in names if re.fullmatch(rf"[{_HAN}\uac00-\ud7a3]{{1,3}}", name))


def _family_start(name: str) -> int | None:
    """Where the family name starts in the characters before a form of address."""
    if re.match("[\u30a1-\u30ff]", name):
        return 0
    starts = range(max(0, len(name) - 4), len(name))
    return next((at for at in starts if any(name[at : at + size] in _listed("last") for size in (3, 2, 1))), None)


def _is_full(name: str) -> bool:
    """Whether characters are a family name and a given name, both listed."""
    plain = name.replace(" ", "")
    return any(plain[:at] in _listed("last") and plain[at:] in _listed("first") for at in (1, 2, 3))


@cache
def _chinese() -> re.Pattern[str]:
    """A Chinese name: a family name and one or two more characters."""
    surnames = any_of({name for name in raw_names("last", "zh") if re.fullmatch(rf"[{_HAN}]{{1,2}}", name)})
    return re.compile(rf"(?:{surnames})[{_HAN}]{{1,2}}")
