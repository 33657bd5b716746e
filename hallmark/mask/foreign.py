"""People in texts of a language other than English, whose words the English lists would take for names.

Names by a title, role, relation, greeting or closing before them, by an introduction ("me llamo ..."), by a legal form, and
by a given name of the six languages with lists; homes, ages, jobs and nationalities by the words next to them. The rest is
up to NER.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from hallmark.mask.languages import is_stop_word
from hallmark.mask.lexicon import any_of, cities, first_names, fold, last_names, places, products, word_list
from hallmark.mask.name_cues import CAP, MONTHS, PARTICLE, RUN, UP
from hallmark.mask.names import names
from hallmark.mask.prefilter import compiled
from hallmark.mask.rules import Form, Found, formed

# Findings of name rules that rest on no list of English words.
SURE = frozenset(("full_name", "company_form", "initials"))
_INTRODUCED = compiled(rf"(?<!\w)(?:{any_of(word_list('words/introductions.txt'))})[,:]?\s+", re.IGNORECASE)
_ENTRIES = [entry.rpartition(": ") for entry in word_list("words/people_before.txt")]
_TITLES, _ROLES, _GREETINGS, _CLOSINGS, _CUES = (
    any_of(word for word, _, kind in _ENTRIES if kind == of) for of in ("title", "role", "greeting", "closing", "cue")
)
_NOBODY = word_list("words/nobody.txt") | {fold(word) for word, _, kind in _ENTRIES if kind == "role"}
_AMBIGUOUS = word_list("words/given_words.txt")
_JOBS = any_of(word_list("words/jobs_foreign.txt"))
_NAME = rf"(?:(?:{PARTICLE}[ ]){{1,2}}|(?:De|Van|Von|Le|La)[ ](?:(?:den|der|de)[ ])?)?{CAP}(?:[ -](?:(?:{PARTICLE}|Le|La)[ ]){{0,2}}{CAP}){{0,3}}"
_TITLED = compiled(
    rf"(?<![^\W_])(?:(?:[DM]\.|(?:Me|Pr)(?=[ .])|(?i:{_TITLES}))(?:\.|(?<=\.)|(?![\w.]))[ ]){{1,3}}(?P<name>{_NAME})"
)
_ROLED = re.compile(
    rf"(?<![^\W_])(?i:{_ROLES})(?:[ ]?:[ ]|,?[ ]|[ ](?:ist|es|è|é|est|is)[ ])(?:\(?(?:n[°ºo]|nr)\.?[^()\n]{{1,20}}\)?[ ])?(?P<name>{_NAME})"
)
_LABELLED = compiled(
    r"(?:(?:^|[,;|])[ \t]*|(?<![^\W_])(?=[^\W\d_]+(?:[ ][^\W\d_]+)?[ ]?\?))(?i:(?:vor|nach|familien|zu)?name|(?:nom|prénom)s?|nom de famille|nome(?: completo)?|cognome|sobrenome|apelido|(?:voor|achter)?naam|nombre(?: completo)?|apellidos?)"
    rf"[ ]?(?::[ \t]*|\?\s{{1,2}}(?:[^\W\d_]{{2,20}}:[ ])?)(?P<name>{UP}[^\W\d_]*(?:[ '’-](?:{PARTICLE}[ ])?{UP}[^\W\d_]*){{0,4}}(?:,[ ]{UP}[^\W\d_]+(?=[ \t]*$))?)[ \t]*(?=\.?$|[,;|])",
    re.MULTILINE,
)
_ANY_CASE = rf"(?:{_NAME}|[^\W\d_]{{3,}}(?=[ \t]*(?:[,.!?;)\n]|$)))"
_I_AM = compiled(
    rf"(?<![^\W_])(?i:soy|ich bin|hier ist|hier spricht|je suis|c['’]est|sono|ik ben|met|sou(?: o| a)?|eu sou|aqu[ií](?: [eé])?|habla|ici|am apparat)[ ](?:el |la |der |die |il |de |o |a )?(?P<name>{_ANY_CASE})"
)
_CALLED = compiled(rf"(?<![^\W_])(?i:{_CUES}),?[ ](?P<name>{_NAME})")
_GREETED = compiled(rf"(?:^|[\n.!?:,>\"“])[ \t]*(?i:{_GREETINGS})[ ](?P<name>{_ANY_CASE})(?=[ \t]*(?:[,.!:;\n–-]|$))")
_CLOSED = compiled(
    rf"(?<![^\W_])(?i:{_CLOSINGS})(?![^\W_])[ \t]*[,.!]?(?:[ \t]|\n){{1,3}}(?P<name>{_ANY_CASE})(?=[ \t]*(?:[,.;|\n]|$))"
)
# A given name, and what may be a family name after it.
_GIVEN = compiled(
    rf"(?<![\w.@/'’&-])(?<!\b(?:San|São|Sao|Don)[ ])(?<!\b(?:Sant|Sint)[ ])(?<!\b(?:Santa|Santo|Saint|Sankt)[ ])(?P<first>{UP}[^\W\d_]+(?:-{UP}[^\W\d_]+)?)(?![\w@/'’-])"
    rf"(?P<more>(?:[ ](?:(?:(?![ye][ ]){PARTICLE}|El|De|Van|Von|Le|La)[ ]){{0,3}}{UP}(?:\.|[^\W\d_]+(?:-{UP}[^\W\d_]+)?)(?![\w@/-])){{1,3}})?"
)
_NOUN = re.compile(r".*(?:ung|heit|keit|schaft|tion|tät|nummer|chen|ismus|e)\Z")  # of German nouns
_HOME = compiled(
    r"(?<![^\W_])(?i:(?:wohn(?:e|t|en|haft|te)|leb(?:e|t|en|te)|geboren|komm(?:e|t)|stamm(?:e|t))[ ](?:\w+[ ]){0,2}?(?:in|aus)"
    r"|(?:viv(?:o|e|en|imos|ía)|vecin[oa]|natural|reside(?:nte|n)?|resido|nacid[oa]|nació|domiciliad[oa]|procedente)[ ](?:\w+[ ]){0,2}?(?:en|de)"
    r"|(?:habit(?:e|ons|ent|ait)|demeurant|domicilié?e?|résid(?:e|ant)|vi[st]|née?[ ](?:le[ ][\w ]{5,20}[ ])?|originaire)[ ]?(?:\w+[ ]){0,2}?(?:à|de|d['’])"
    r"|(?:abit(?:o|a|ano|iamo)|viv(?:o|e)|residente|risied(?:o|e)|nat[oa](?:[ ]il[ ][\w/. ]{5,20})?|origini|lavoro come \w+|lavora come \w+)[ ](?:\w+[ ]){0,2}?(?:a|in|di)"
    r"|(?:woon(?:t|achtig|de)?|wonen|wonende?|geboren|afkomstig)[ ](?:\w+[ ]){0,2}?(?:in|te|uit)"
    r"|(?:mor(?:o|a|amos|ador|adora)|viv(?:o|e)|resid(?:o|e|ente)|natural|nascid[oa]|nasceu)[ ](?:\w+[ ]){0,2}?(?:em|no|na|de|do))"
    rf"[ ]?(?P<place>{CAP}(?:[ -](?:(?:{PARTICLE}|am|an der|sur|sobre)[ ])?{CAP}){{0,3}})"
)
_CITY = re.compile(
    rf"(?<![^\W_])(?i:in|en|à|a|te|em|aus|uit|von|nach|desde|hasta|vers|naar|para|bei)[ ](?P<place>{CAP}(?:[ ]{CAP})?)"
)
_RESIDENCE = compiled(
    rf"^[ \t]*(?:Residenza|Domicilio|Domicile|Wohnsitz|Residencia|Residência)[ ]?:[ \t]*(?P<place>{CAP}(?:[ -]{CAP}){{0,3}})[ \t.]*$",
    re.MULTILINE,
)
_AGE = compiled(
    rf"(?<![^\W_])(?i:(?-i:{UP})[^\W\d_]+,(?=[ ]\d\d)|(?:ik ben|bin|ist|is|tengo|tiene|tenía|tenho|tem|tinha|ho|ha|aveva|j['’]ai|a|avait|mit|con|met)|(?<=,[ ])(?:de|di|von|van))[ ]"
    r"(?P<age>\d{1,3})[ ](?:jahre[ ]alt|jaar(?:[ ]oud)?(?=[ ](?:en|oud)|[,.])|años|anos|ans|anni)(?![^\W_])(?![ ](?:d[ei][ ]|d['’][ ]?)(?!edad|idade|età|âge))",
    re.IGNORECASE,
)
_NATION = compiled(
    r"(?<![^\W_])(?:nacionalidade?|nationalité|cittadinanza|nazionalità|nationaliteit|staatsangehörigkeit|staatsbürgerschaft|konfession|religi[oó]n|"
    r"religione|religião|geloof|confession)(?:[ ]?:[ ]?|[ ])(?:(?:ist|es|est|è|é)[ ])?(?P<group>[^\W\d_]{4,20})|(?<![^\W_])(?P<before>[^\W\d_]{3,}isch(?:e[rnm]?)?)[ ]staats(?:angehör|bürger)",
    re.IGNORECASE,
)
_WORK = compiled(
    r"(?m:^[ \t]*)(?i:beruf|tätigkeit|profesión|ocupación|cargo|puesto|profession|métier|poste|fonction|professione|mansione|beroep|functie|profissão|função)[ ]?:[ \t]*(?P<field>[^\W\d_][^\n.,;:\d]{2,40})"
    r"|(?<![^\W_])(?i:arbeite(?:t|te)?[ ]als|trabaj(?:o|a|aba)[ ](?:como|de)|travaill(?:e|ait)[ ]comme|lavor(?:o|a|ava)[ ]come|werk(?:t|te)?[ ]als|trabalh(?:o|a|ava)[ ]como)[ ](?:une?[ ]|uma?[ ]|een[ ]|eine?[ ])?(?P<as>[^\W\d_]{3,25})"
)
_JOB = compiled(
    rf"(?<![^\W_])(?i:(?:ist|es|est|è|é|is|bin|soy|suis|sono|sou|ben|alt und|era|war|était|fu|foi)[ ](?:une?[ ]|uma?[ ]|een[ ]|eine?[ ])?|(?<=[^\W\d_],[ ]))(?P<job>(?i:{_JOBS})(?:[ ](?:comercial|general|financier[oa]|médic[oa]|général|générale|commercial|commerciale))?)(?![\w-])"
)
# Where someone works, and what someone says to be: "travaille chez Lumbre", "soy peruana", "ist eine Türkin".
_EMPLOYER = compiled(
    r"(?<![^\W_])(?i:(?:arbeit|angestellt|beschäftigt)(?:e|et|ete)?[ ](?:\w+[ ]){0,3}?(?:bei|für)(?:[ ]der)?|trabaj(?:o|a|aba|ando)[ ](?:\w+[ ]){0,3}?(?:en|para)(?:[ ](?:el|la))?|travaill(?:e|ait|ant)[ ](?:\w+[ ]){0,3}?(?:chez|pour)"
    r"|lavor(?:o|a|ava|ando)[ ](?:\w+[ ]){0,3}?(?:presso|per|alla|da)(?:[ ]la)?|werk(?:t|te|zaam)?[ ](?:\w+[ ]){0,3}?(?:bij|voor)(?:[ ]de)?|trabalh(?:o|a|ava|ando)[ ](?:\w+[ ]){0,3}?(?:na|no|para)(?:[ ][ao])?)[ ]"
    rf"(?P<firm>{CAP}(?:[ ](?:&[ ])?(?:(?:{PARTICLE})[ ]){{0,2}}{CAP}){{0,3}})"
)
_GROUPS = word_list("words/groups_foreign.txt")
_GROUP = compiled(
    r"(?<![^\W_])(?i:(?:bin|soy|suis|sono|ben|sou)[ ](?:une?[ ]|uma?[ ]|een[ ]|eine?[ ])?|(?:ist|es|est|è|is|é|era|war|était)[ ](?:une?|uma?|een|eine?)[ ])(?P<group>[^\W\d_]{3,16})(?![\w-])"
)
_PLACES: list[Form] = [("LOCATION", 0.56, _HOME), ("LOCATION", 0.56, _RESIDENCE), ("ORGANIZATION", 0.56, _EMPLOYER)]
_SAID: list[Form] = [("AGE", 0.7, _AGE), ("NRP", 0.6, _NATION), ("TITLE", 0.55, _WORK), ("TITLE", 0.55, _JOB)]
_LOWER = re.compile(r"(?P<first>[^\W\d_]{3,})(?:[ ](?P<last>[^\W\d_]{3,}))?(?![\w'’-])")
_LOCALES = ("de", "es", "fr", "it", "nl", "pt")


@cache
def _given() -> frozenset[str]:
    """Given names of the six languages, folded."""
    return frozenset(name for locale in _LOCALES for name in first_names(locale))


def foreign_names(text: str, language: str = "") -> Iterator[Found]:
    """People and companies that lists, forms and introductions prove, and what the words next to it show."""
    for found in names(text):
        if found.recognizer in SURE and not is_stop_word(text[found.start : found.end].split()[0], language):
            yield found
    for cue in _INTRODUCED.finditer(text):
        if name := RUN.match(text, cue.end()):
            yield Found(*name.span(), "PERSON", 0.64, "name_cue")
        elif (name := _LOWER.match(text, cue.end())) and not is_stop_word(name["first"], language):
            last = name["last"] if name["last"] and not is_stop_word(name["last"], language) else ""
            if _is_given(name["first"]) or fold(last) in last_names():
                yield Found(name.start(), name.end("last" if last else "first"), "PERSON", 0.64, "name_cue")
    for match in _TITLED.finditer(text):
        yield Found(*match.span(), "PERSON", 0.72, "title")
    for match in _LABELLED.finditer(text):
        if not text[match.end() : match.end() + 1].strip() or _is_name(match["name"]):
            yield Found(*match.span("name"), "PERSON", 0.72, "field")
    for pattern in (_ROLED, _I_AM, _CALLED):
        for match in pattern.finditer(text):
            if _is_name(match["name"]) or (pattern is not _I_AM and _is_whole(text, match, language)):
                yield Found(*match.span("name"), "PERSON", 0.62, "role")
    for pattern in (_GREETED, _CLOSED):
        for match in pattern.finditer(text):
            if _is_addressed(match["name"]):
                yield Found(*match.span("name"), "PERSON", 0.6, "greeting")
    yield from _given_names(text, language)
    yield from _about(text, language)


@lru_cache(2**14)
def _is_given(word: str) -> bool:
    """Whether a word is a given name and no other word."""
    return all(part in _given() and part not in _AMBIGUOUS and part not in MONTHS for part in fold(word).split("-"))


def _is_name(name: str) -> bool:
    """Whether the first word is a name of any language, since German writes every noun with a capital."""
    if name.islower():
        return _is_given(name)
    words = [fold(word) for word in re.findall(rf"(?<![^\W_]){UP}[^\W\d_]+", name)][:1]
    return any((word in first_names() or word in last_names()) and word not in _NOBODY for word in words)


def _is_whole(text: str, match: re.Match[str], language: str) -> bool:
    """Whether a name that is in no list reads as one: two words, the second no German noun, or one where nouns have no capital."""
    words = match["name"].split()
    if fold(words[0]) in _NOBODY or fold(match["name"]) in places() or fold(words[0]) in products():
        return False
    if language == "de":
        ends = text[match.end() : match.end() + 1] in ("", *",.;:()\n")
        return len(words) > 1 and ends and not _NOUN.match(words[-1])
    return len(words) > 1 or (match.re is _ROLED and not words[0].isupper())


def _is_addressed(name: str) -> bool:
    """Whether a greeting or closing is followed by a name, not by a group or a role ("Ihr Serviceteam")."""
    words = [fold(word) for word in name.split()]
    if name.islower():
        return _is_given(name)
    led = words[0] in _NOBODY and re.fullmatch(PARTICLE, words[0]) is None
    return not (led or words[-1] in _NOBODY or words[-1] in products() or fold(name) in places())


def _given_names(text: str, language: str) -> Iterator[Found]:
    """Given names with the family names after them, and alone, if they are no other word."""
    for match in _GIVEN.finditer(text):
        first, more = fold(match["first"]), (match["more"] or "").split()
        last = [fold(word) for word in more if word[0].isupper()]
        if not all(word in _given() for word in first.split("-")) or first in _NOBODY or fold(match[0]) in places():
            continue
        listed = bool(last) and set("-".join(last).split("-")) <= last_names()
        short = match["first"].isupper() and not text.isupper()  # "EMA"
        other = (
            not _is_given(first) or is_stop_word(match["first"], language) or first in places() or first in products()
        )
        if listed:
            yield Found(*match.span(), "PERSON", 0.61, "full_name")
        elif not (other or short):
            whole = bool(last) and (language != "de" or not _NOUN.match(last[-1]))
            yield Found(match.start(), match.end() if whole else match.end("first"), "PERSON", 0.6, "given_name")


def _about(text: str, language: str) -> Iterator[Found]:
    """Homes, ages, jobs and nationalities."""
    for match in _CITY.finditer(text):
        for name in (match["place"], match["place"].split()[0]):
            if fold(name) in cities() or (language != "de" and fold(name) in places()):
                yield Found(match.start("place"), match.start("place") + len(name), "LOCATION", 0.52, "place")
                break
    for match in _GROUP.finditer(text):
        if fold(match["group"]) in _GROUPS:
            yield Found(*match.span("group"), "NRP", 0.6, "nationality")
    yield from formed(text, _PLACES, "place_cue")
    yield from formed(text, _SAID)
