"""Whether a record speaks of a person: where it does not, a place, a nationality or a year identifies no one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hallmark.mask.lexicon import any_of, word_list
from hallmark.mask.name_cues import PLACE_AFTER, PLACE_CUE, is_related
from hallmark.mask.rules import Found

# Findings that count only with a person: those of our rules for general words, and of a small NER model.
_GENERAL = frozenset(["country", "place", "nationality", "adjective", "date", "spacy"])
_KINDS = frozenset(["LOCATION", "NRP", "DATE_TIME"])
# Kinds that are no sign of a person: those above, and what a text about machines, shops and firms has too.
NO_SIGN = _KINDS | {"ORGANIZATION", "URL", "IP_ADDRESS", "MAC_ADDRESS", "SECRET", "CRYPTO", "DENIED", "UUID", "MISC"}
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
# A spoken request that wants a work or a place of the world: who made the one, and what the other is called, says nothing
# of who asks. Not one about what people have ("show the orders of ..."), or who are to be reached.
_ASKS = re.compile(
    r"\W*(?:(?:please|h(?:i|ey|ello)(?: \w+)?|ok(?:ay)?|now|(?:can|could|will|would) (?:you|u|i|we)|(?:i|we)(?: would|'d)? (?:want|like|need|wish|wanna)(?: you)?(?: to)?"
    r"|let'?s|let me|go|help me)[, ]+){0,3}"
    r"(?:(?P<media>play|listen|hear|watch|stream|queue|rate)|add|put|include|find|get|look|search|show|see|give|tell|recommend|start|open|turn|book|reserve|"
    r"make|need|want|what(?:'?s)?|where|when|which|who|how|is|are|will|does|do|i|we)(?![\w'])",
    re.IGNORECASE,
)
_WORK = re.compile(
    r"(?<![\w-])(?:songs?|tracks?|tunes?|albums?|music|playlists?|soundtracks?|concerts?|artists?|bands?|singers?|movies?|films?|cinemas?|"
    r"movie times|showtimes?|novels?|series|sagas?|episodes?|trailers?|video ?games?|paintings?|poems?|textbooks?|essays?|stars"
    r"|(?:the|this|that|an?|any|some|tv|current)(?: \w+)? (?:book|show|game|picture|photograph))(?![\w-])",
    re.IGNORECASE,
)
_TOWN = re.compile(
    r"(?<![\w-])(?:weather|forecasts?|temperatures?|rain\w*|snow\w*|sunny|cloudy|windy|storm\w*|humid\w*|hot|hotter|cold|colder|warm\w*|chilly|freezing|"
    r"restaurants?|table|reservations?|bars?|pubs?|cafes?|taverns?|bistros?|diners?|hotels?|theat(?:re|er)s?|museums?)(?![\w-])",
    re.IGNORECASE,
)
_REACHES = re.compile(
    r"(?<![\w-])(?:call|phone|e-?mail|text|message|mail|send|sent|contact|ask|invite|accounts?|orders?|address|appointments?|patients?|customers?|"
    r"employees?|tickets?|records?|files?|invoices?|lives?|born|name(?:d|'s)?|mrs?|ms)(?![\w-])",
    re.IGNORECASE,
)
_AT = re.compile(r"\b(?:in|at|near|of|around|to)[ ]+$", re.IGNORECASE)
_GIVEN = frozenset(["known_value", "deny_list", "introduced", "answer"])
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


def of_the_world(text: str, found: Sequence[Found]) -> set[Found]:
    """The findings in a request for a work or a place that name it or its makers, not a person who is anyone's business."""
    if (
        not found
        or len(text) > 200
        or not {one.kind for one in found} <= _KINDS | {"PERSON", "ORGANIZATION", "TITLE", "MISC"}
    ):
        return set()
    asks = _ASKS.match(text)
    if asks is None or _END.search(text, 0, len(text.rstrip()) - 1) or _REACHES.search(text):
        return set()
    general = {
        one
        for one in found
        if not (one.recognizer in _GIVEN or one.recognizer.startswith("pattern") or is_related(text[: one.start]))
    }
    if asks["media"] or _WORK.search(text):
        return general
    if not _TOWN.search(text):
        return set()
    return {one for one in general if one.kind != "PERSON" or _AT.search(text, max(0, one.start - 10), one.start)}


def weighed(texts: Sequence[str], found: Sequence[Sequence[Found]]) -> list[list[Found]]:
    """The findings in a record's texts without those that identify no one, as the record speaks of no person.

    A year counts only with a name, a number or a firm; the origin of a thing only with a name or a number.
    """
    found = [
        [one for one in spans if one not in public]
        for spans, public in ((spans, of_the_world(text, spans)) for text, spans in zip(texts, found, strict=True))
    ]
    kinds = {one.kind for spans in found for one in spans}
    if kinds - NO_SIGN:
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
