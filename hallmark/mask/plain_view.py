"""A plain view of a text for matching: entities and escapes decoded, invisible characters removed, digits and letters folded.

A value hidden by `&#64;`, a zero-width space, full-width digits or a NUL looks the same in the view as it would on a
screen, and every character of the view maps to the characters of the text it comes from.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

# Everything that may look different on a screen: entities, escapes, control and invisible characters, combining marks, and
# characters outside the common alphabets.
_ENTITY = r"&(?:amp;){0,3}(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
# Escapes: of a URL (but for what would end it), of JSON, code, expressions and Markdown, of quoted-printable (several in a row, or an @: `x=20` is none),
# and a terminal's colours.
_ESCAPE = (
    r"%(?:4[0-9A-Fa-f]|6[1-9A-Fa-f]|[57][0-9Aa]|5[Ff]|3\d|2[0BDEbde])|\\{1,4}(?:u(?![dD][89A-Fa-f])[0-9A-Fa-f]{4}|x[0-7][0-9A-Fa-f])|\\(?=[.@+_-])"
    r"|(?:(?<==[2-7][0-9A-F])|(?=(?:=[2-7][0-9A-F]){3})|(?<=\w)(?==40[A-Za-z][\w-]*\.))=[2-7][0-9A-F]"
    r"|\x1b\[[0-9;]{0,16}m"
)
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f"  # drawn over the character before them
_ODD = re.compile(
    rf"{_ENTITY}|{_ESCAPE}|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xa0\xad\xb2\xb3\xb9]"
    rf"|.?[{_MARKS}]+|[\u02b0-\u02ff\u0590-\u05cf\u0610-\u061c\u064b-\u066f\u06d6-\u06ff]"
    r"|[^\x00-\u052f\u0531-\u06ff\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]",
    re.DOTALL,
)
_MAYBE_ODD_AT = re.compile(
    r"[^\t\n\r -$'-<>-\[\]-~]"
)  # where an entity or escape may start, or is a character not of ASCII
_MAYBE_ODD = re.compile(rf"[^\t\n\r -%'-~]|&[#A-Za-z]|{_ESCAPE}")
BASE64 = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{12,4096}+={0,2}+(?![\w+/=-])")
# Invisible characters that can spell a text: tags and variation selectors, which stand alone after an emoji, and what has no
# width, of which one joins two letters or emoji.
_HIDDEN = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a"
    "\U000e0000-\U000e01ef]{8,}|[\U000e0000-\U000e01ef]+"
)
_SPELLED = 8  # such characters of a text; the flag of a region has at most seven
_FOLD = str.maketrans("‐‑‒–—−’‘ʼ“”„«»", '------\'\'\'"""""')


@dataclass(frozen=True)
class View:
    """`text` as a matcher should see it; `starts[i]:ends[i]` is the part of the source that `text[i]` comes from.

    Both are None if the view equals the source.
    """

    text: str
    starts: Sequence[int] | None = None
    ends: Sequence[int] | None = None

    def source(self, start: int, end: int) -> tuple[int, int]:
        """The source span behind `text[start:end]` (not empty)."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def view(text: str, stand_ins: Sequence[tuple[int, int, str]] = ()) -> View:
    """The view of `text`. `stand_ins` are (start, end, text to show instead), sorted and disjoint."""
    if not stand_ins and not (_MAYBE_ODD_AT.search(text) and _MAYBE_ODD.search(text)):
        return View(text)
    shown: list[str] = []
    starts: list[int] = []
    ends: list[int] = []

    def add(piece: str, start: int, end: int) -> None:
        shown.append(piece)
        starts.extend([start] * len(piece))
        ends.extend([end] * len(piece))

    def add_plain(start: int, end: int) -> None:
        shown.append(text[start:end].translate(_FOLD))
        starts.extend(range(start, end))
        ends.extend(range(start + 1, end + 1))

    def add_text(start: int, end: int) -> None:
        at = start
        for place in _MAYBE_ODD_AT.finditer(text, start, end):
            first = place.start() - (
                place.start() > at and bool(_MARK.match(place[0]))
            )  # with the letter that it marks
            if first >= at and (odd := _ODD.match(text, first, end)):
                add_plain(at, odd.start())
                add(_plain(odd[0]), odd.start(), odd.end())
                at = odd.end()
        add_plain(at, end)

    at = 0
    for start, end, stand_in in stand_ins:
        add_text(at, start)
        add(stand_in, start, end)
        at = end
    add_text(at, len(text))
    return View(_latin("".join(shown)), starts, ends)


def _latin(text: str) -> str:
    """A text in which letters of other scripts that look like Latin ones, next to such, are Latin."""
    if not _MIXED.search(text):
        return text
    return re.sub(r"\w+", lambda word: word[0].translate(_ALIKE) if _MIXED.search(word[0]) else word[0], text)


def hidden(text: str) -> list[tuple[int, int]]:
    """Where invisible characters stand that can spell a value."""
    if text.isascii():
        return []
    runs = [match.span() for match in _HIDDEN.finditer(text)]
    flags = {run for run in runs if text[run[0] - 1 : run[0]] == "\U0001f3f4" and run[1] - run[0] < _SPELLED}
    runs = [run for run in runs if run not in flags]
    return runs if sum(end - start for start, end in runs) >= _SPELLED else []


def decoded(token: str) -> str | None:
    """The text that a `BASE64` token stands for, in either alphabet, or None if it stands for none."""
    token = token.rstrip("=").translate(_STANDARD)
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return text if re.sub(r"[\t\r\n]", "", text).isprintable() else None


_MIXED = re.compile(r"[A-Za-z][\u0391-\u0458]|[\u0391-\u0458][A-Za-z]")
_ALIKE = str.maketrans("аеорсухіјѕԁһАВЕКМНОРСТУХІЈЅΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "aeopcyxijsdhABEKMHOPCTYXIJSABEZHIKMNOPTYXo")
_STANDARD = str.maketrans("-_", "+/")
_MARK = re.compile(f"[{_MARKS}]")
# Marks, variation selectors, and letters and signs of other scripts that show nothing.
_UNSEEN = re.compile(f"[{_MARKS}\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\U000e0100-\U000e01ef]")


def _plain(odd: str) -> str:
    """How one odd piece looks on a screen; empty if it is invisible."""
    if escape := re.fullmatch(r"(?:[%=]|\\+[ux])([0-9A-Fa-f]{2,4})", odd):
        return "-" if odd == "%20" else _plain(chr(int(escape[1], 16)))  # a space would end the URL
    if odd == "\\" or (odd[0] == "\x1b" and len(odd) > 1):
        return ""
    if odd[0] == "&" and len(odd) > 2:
        for _ in range(4):  # some mail programs turn @ into &amp;amp;#64;
            odd = html.unescape(odd)
        if odd[0] == "&" and len(odd) > 2:
            return odd
    out = []
    for char in unicodedata.normalize(
        "NFKC", odd.replace("\x85", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    ):
        category = unicodedata.category(char)
        if category in ("Cf", "Cs", "Cn") or (category == "Cc" and char not in "\t\n\r") or _UNSEEN.match(char):
            continue
        digit = unicodedata.decimal(char, None)
        out.append(char if digit is None else str(digit))
    return "".join(out).translate(_FOLD)
