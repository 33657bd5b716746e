"""Whether a record speaks of a person: where it does not, a place, a nationality or a year identifies no one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hallmark.mask.lexicon import any_of, word_list
from hallmark.mask.name_cues import PLACE_AFTER, PLACE_CUE
from hallmark.mask.rules import Found

# Findings that count only with a person: those of our rules for general words, and of a small NER model.
_GENERAL = frozenset(["country", "place", "nationality", "adjective", "date", "spacy"])
_KINDS = frozenset(["LOCATION", "NRP", "DATE_TIME"])
# Kinds that are no sign of a person: those above, and what a text about machines, shops and firms has too.
_NO_SIGN = _KINDS | {"ORGANIZATION", "URL", "IP_ADDRESS", "MAC_ADDRESS", "SECRET", "CRYPTO", "DENIED", "UUID", "MISC"}
_PERSON = re.compile(
    r"(?<![\w.-])(?:I|(?:i|my|me|mine|myself|he|she|his|him|her|hers|himself|herself|mrs?|ms|born|lives?|lived|resides?|"
    rf"{any_of(word_list('words/relations.txt'))})(?=[\s,.;:!?'’)]|$))(?![\w/)-])",
    re.IGNORECASE,
)
# Where a place lies, not who lives there.
_GEOGRAPHY = re.compile(
    r"\b(?:capital|city|town|village|north|south|east|west) of[ ]+$|\b(?:northern|southern|eastern|western|central)[ ]+$",
    re.IGNORECASE,
)
_END = re.compile(r"[.!?\n](?!\w)")


def only_with_person(text: str, found: Found) -> bool:
    """Whether a finding identifies someone only in a record that speaks of a person."""
    if (
        found.kind not in _KINDS
        or found.recognizer not in _GENERAL
        or (found.kind == "DATE_TIME" and found.score >= 0.6)
    ):
        return False
    before, after = text[max(0, found.start - 60) : found.start], text[found.end : found.end + 40]
    if found.kind != "LOCATION" or _GEOGRAPHY.search(before):
        return True
    return not (PLACE_CUE.search(before) or PLACE_AFTER.search(after))


def weighed(texts: Sequence[str], found: Sequence[Sequence[Found]]) -> list[list[Found]]:
    """The findings in a record's texts without those that identify no one, as the record speaks of no person.

    A year counts only with a name, a number or a firm; the origin of a thing only with a name or a number.
    """
    kinds = {one.kind for spans in found for one in spans}
    if kinds - _NO_SIGN:
        return [list(spans) for spans in found]
    return [
        [one for one in spans if not only_with_person(text, one) or _is_someones(text, one, "ORGANIZATION" in kinds)]
        for text, spans in zip(texts, found, strict=True)
    ]


def _is_someones(text: str, found: Found, firm: bool) -> bool:
    """Whether a finding is one of a person that its sentence speaks of, or stands in a record with a firm."""
    if firm:
        return found.recognizer != "adjective"
    if found.recognizer in ("adjective", "date"):
        return False
    start = max((end.end() for end in _END.finditer(text, max(0, found.start - 200), found.start)), default=0)
    stop = _END.search(text, found.end, found.end + 200)
    return _PERSON.search(text[max(start, found.start - 200) : stop.start() if stop else found.end + 200]) is not None
