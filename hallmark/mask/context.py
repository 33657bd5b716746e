"""Whether a record speaks of a person: where it does not, a place, a nationality or a year identifies no one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hallmark.mask.lexicon import any_of, countries, fold, towns, word_list
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
# of who asks. Not one about what people have ("show the orders of ..."), or who are to be reached, looked after or told.
_ASKS = re.compile(
    r"\W*(?:(?:please|h(?:i|ey|ello)(?: \w+)?|ok(?:ay)?|now|(?:can|could|will|would) (?:you|u|i|we)|(?:i|we)(?: would|'d)? (?:want|like|need|wish|wanna)(?: you)?(?: to)?"
    r"|let'?s|let me|go|help me)[, ]+){0,3}"
    r"(?:(?P<media>play|listen|stream|put on)|hear|watch|rate|add|put|include|find|get|look|search|(?:show|give|tell) (?:me|us)|see|recommend|start|open|turn|book|reserve|"
    r"make|need|want|what(?:'?s)?|where|when|which|who|how|is|are|will|does|do|i|we)(?![\w'])",
    re.IGNORECASE,
)
_WORK = re.compile(
    r"(?<![\w-])(?:songs?|tracks?|tunes?|albums?|music|playlists?|soundtracks?|concerts?|artists?|bands?|singers?|movies?|films?|cinemas?|"
    r"movie times|showtimes?|novels?|sagas?|trailers?|video ?games?|paintings?|poems?|textbooks?|essays?|stars"
    r"|(?:the|this|that|an?|any|some|tv|current)(?: \w+)? (?:book|show|game|picture|photograph))(?![\w-])",
    re.IGNORECASE,
)
# Where who made a work stands: "a song by", "the music of", and before "'s new album".
_TUNE = r"(?:songs?|tracks?|tunes?|albums?|music|soundtracks?)"
_MADE_BY = re.compile(
    rf"(?<![\w-])(?:{_TUNE} of|(?:{_TUNE}|movies?|films?|novels?|poems?|paintings?|books?)(?: [\w'’]+){{0,5}}? by)[ ](?:[^\W\d_]+[ ]){{0,2}}$",
    re.IGNORECASE,
)
_BY = re.compile(r"(?<!ed) by[ ]$", re.IGNORECASE)  # not "recorded by"
_MAKES = re.compile(rf"['’]s?(?: [\w-]+){{0,2}} {_TUNE}(?![\w-])", re.IGNORECASE)
_TOWN = re.compile(
    r"(?<![\w-])(?:weather|forecasts?|temperatures?|rain\w*|snow\w*|sunny|cloudy|windy|storm\w*|humid\w*|hot|hotter|cold|colder|warm\w*|chilly|freezing|"
    r"restaurants?|table|reservations?|bars?|pubs?|cafes?|taverns?|bistros?|diners?|hotels?|theat(?:re|er)s?|museums?)(?![\w-])",
    re.IGNORECASE,
)
_REACHES = re.compile(
    r"(?<![\w-])(?:call|phone|e-?mail|text|message|mail|send|sent|contact|ask|invite|accounts?|orders?|address|appointments?|patients?|customers?|"
    r"employees?|tickets?|records?|files?|voice ?mails?|voice|recordings?|memos?|notes?|invoices?|lives?|born|name(?:d|'s)?|mrs?|ms)(?![\w-])",
    re.IGNORECASE,
)
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
    work = asks["media"] or _WORK.search(text)
    if not work and not _TOWN.search(text):
        return set()
    return {
        one
        for one in general
        if (work and _makes(text, one, asks["media"] is not None) if one.kind == "PERSON" else _is_known(text, one))
    }


def _is_known(text: str, found: Found) -> bool:
    """Whether what was taken for a place is a listed one: what only stands like a place may be a person."""
    parts = [fold(part.strip()) for part in text[found.start : found.end].split(",")]
    return found.kind != "LOCATION" or all(part in towns() or part in countries() for part in parts)


def _makes(text: str, found: Found, media: bool) -> bool:
    """Whether a name stands where who made a work does; in a request to play something, "by" is enough."""
    before = text[max(0, found.start - 80) : found.start]
    return bool(_MADE_BY.search(before) or (media and _BY.search(before)) or _MAKES.match(text, found.end))


def weighed(texts: Sequence[str], found: Sequence[Sequence[Found]]) -> list[list[Found]]:
    """The findings in a record's texts without those that identify no one, as the record speaks of no person.

    A year counts only with a name, a number or a firm; the origin of a thing only with a name or a number.
    """
    public = [of_the_world(text, spans) for text, spans in zip(texts, found, strict=True)]
    left = [[one for one in spans if one not in lifted] for spans, lifted in zip(found, public, strict=True)]
    kinds = {one.kind for spans in left for one in spans}
    if kinds - NO_SIGN:  # what is near a person stays masked
        return [
            [one for one in spans if one.kind != "PERSON" or one not in lifted]
            for spans, lifted in zip(found, public, strict=True)
        ]
    return [
        [one for one in spans if not only_with_person(text, one) or _is_someones(text, one, "ORGANIZATION" in kinds)]
        for text, spans in zip(texts, left, strict=True)
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
