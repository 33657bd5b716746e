"""200 texts with hand-marked private values, to measure masking with: `read()` returns them; README.md says what is marked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
DOMAINS = ("tickets", "chat", "bank", "insurance", "medical", "legal", "biographies", "receipts", "travel", "forms")
LANGUAGES = ("en", "es", "de", "fr", "it", "nl", "pt")
KEEP = "KEEP"
# What a kind gives away: a person by itself (direct), a person together with others (quasi), or hardly anything (all).
LEVELS = {
    **dict.fromkeys(
        ("PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER", "USERNAME", "STREET_ADDRESS", "DATE_OF_BIRTH"), "direct"
    ),
    **dict.fromkeys(("PASSPORT", "DRIVER_LICENSE", "NATIONAL_ID", "US_SSN", "CREDIT_CARD", "IBAN_CODE"), "direct"),
    **dict.fromkeys(("ACCOUNT", "CRYPTO", "SECRET", "IP_ADDRESS", "MAC_ADDRESS", "URL"), "direct"),
    **dict.fromkeys(("TITLE", "NRP", "AGE", "ZIP_CODE", "LOCATION", "DATE_TIME"), "quasi"),
    "ORGANIZATION": "all",
}
IMPERSONAL = ("LOCATION", "DATE_TIME")  # may be marked `:all`: a date or a place, but not of a person

HEAD = re.compile(r"=== (?P<id>(?P<domain>[a-z]+)-\d\d) (?P<language>[a-z]{2})")
MARK = re.compile(r"\[\[(?P<kind>[A-Z_]+)(?P<impersonal>:all)?\|(?P<value>.*?)\]\]", re.DOTALL)
ABBREVIATION = re.compile(r"(?:^|[\W\d_])[^\W\d_]{0,4}\.$")  # ends in a full stop of its own: Dr., 2.º Esq., 28.01.


class LabelError(ValueError):
    """A file of labelled texts is not in its form. The message names the file, the text and the fix, and quotes no text."""


@dataclass(frozen=True)
class Labelled:
    """One text. `spans` are (start, end, kind) of private values, `levels` has the level of each; `keep` has to stay."""

    id: str
    domain: str
    language: str
    text: str
    spans: tuple[tuple[int, int, str], ...]
    levels: tuple[str, ...]
    keep: tuple[tuple[int, int], ...]


def read(folder: Path = FOLDER) -> list[Labelled]:
    """All texts, in the order of domains and files."""
    found = [text for domain in DOMAINS for text in read_file(folder / f"{domain}.txt")]
    seen: set[str] = set()
    for text in found:
        if text.id in seen:
            raise LabelError(f"{text.domain}.txt: {text.id} occurs twice: give the second one another number")
        seen.add(text.id)
    return found


def read_file(file: Path) -> list[Labelled]:
    """The texts of one domain."""
    texts: list[tuple[re.Match[str], list[str]]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("==="):
            head = HEAD.fullmatch(line)
            if not head or head["domain"] != file.stem or head["language"] not in LANGUAGES:
                raise LabelError(
                    f"{file.name}, line {number}: a text starts with `=== {file.stem}-NN language`, "
                    f"and the language is one of {', '.join(LANGUAGES)}"
                )
            texts.append((head, []))
        elif texts:
            texts[-1][1].append(line)
        elif line and not line.startswith("#"):
            raise LabelError(f"{file.name}, line {number}: before the first text, only comments (#) may stand")
    return [parsed(file.name, head, "\n".join(lines).strip("\n")) for head, lines in texts]


def parsed(file: str, head: re.Match[str], marked: str) -> Labelled:
    """A text without its marks, and where they were."""
    where = f"{file}, {head['id']}"
    text, spans, levels, keep, done = "", [], [], [], 0
    for count, mark in enumerate(MARK.finditer(marked), start=1):
        kind, value, place = mark["kind"], mark["value"], f"{where}, mark {count}"
        if kind != KEEP and kind not in LEVELS:
            raise LabelError(f"{place}: {kind} is no kind; the kinds are {', '.join(LEVELS)} and {KEEP}")
        if mark["impersonal"] and kind not in IMPERSONAL:
            raise LabelError(f"{place}: only {' and '.join(IMPERSONAL)} may be marked `:all`; leave it out")
        if "[[" in value:
            raise LabelError(f"{place}: a mark inside a mark, or a mark that doesn't end; close it with ]]")
        check_edges(place, value)
        text += marked[done : mark.start()]
        start, done = len(text), mark.end()
        text += value
        if kind == KEEP:
            keep.append((start, len(text)))
        else:
            spans.append((start, len(text), kind))
            levels.append("all" if mark["impersonal"] else LEVELS[kind])
    text += marked[done:]
    if "[[" in text or "]]" in text:
        raise LabelError(f"{where}: [[ or ]] outside a mark; a mark is [[KIND|value]]")
    if not text.strip():
        raise LabelError(f"{where}: there is no text; write one or delete the line that starts it")
    return Labelled(
        head["id"], head["domain"], head["language"], text, tuple(spans), tuple(levels), tuple(keep)
    )  # fmt: skip


def check_edges(place: str, value: str) -> None:
    """A span begins and ends with what it names."""
    if not value or value != value.strip():
        raise LabelError(f"{place}: empty, or a blank at its edge; put blanks outside the mark")
    loose = value[0] in ".,;:!?)" or value[-1] in ",;:?(" or (value[-1] == "." and not ABBREVIATION.search(value))
    if loose:
        raise LabelError(f"{place}: punctuation at its edge; put it outside the mark")
