"""People in texts of a language other than English, whose words the English lists would take for names.

Names by a title, role or relation before them, by an introduction ("me llamo ..."), by a legal form, and where a given and a
family name of the six languages with lists stand together; homes, ages, jobs and nationalities by the words next to them.
The rest is up to NER.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from hallmark.mask.lexicon import any_of, cities, first_names, fold, last_names, places, word_list
from hallmark.mask.name_cues import CAP, PARTICLE, RUN, UP
from hallmark.mask.names import names
from hallmark.mask.prefilter import compiled
from hallmark.mask.rules import Form, Found, formed

# Findings of name rules that rest on no list of English words.
SURE = frozenset(("title", "full_name", "company_form", "initials"))
_INTRODUCED = compiled(rf"(?<!\w)(?:{any_of(word_list('words/introductions.txt'))})[,:]?\s+", re.IGNORECASE)
_ENTRIES = [entry.rpartition(": ") for entry in word_list("words/people_before.txt")]
_TITLES = any_of(word for word, _, kind in _ENTRIES if kind == "title")
_ROLES = any_of(word for word, _, kind in _ENTRIES if kind == "role")
_JOBS = any_of(word_list("words/jobs_foreign.txt"))
_NAME = rf"(?:(?:{PARTICLE}[ ]){{1,2}}|(?:De|Van|Von|Le|La)[ ](?:(?:den|der|de)[ ])?)?{CAP}(?:[ -](?:(?:{PARTICLE}|Le|La)[ ]){{0,2}}{CAP}){{0,3}}"
_TITLED = compiled(
    rf"(?<![^\W_])(?:(?:[DM]\.|(?:Me|Pr)(?=[ .])|(?i:{_TITLES}))(?:\.|(?<=\.)|(?![\w.]))[ ]){{1,3}}(?P<name>{_NAME})"
)
_ROLED = re.compile(rf"(?<![^\W_])(?i:{_ROLES})(?:[ ]?:[ ]|,?[ ]|[ ](?:ist|es|è|é|est|is)[ ])(?P<name>{_NAME})")
_LABELLED = compiled(
    rf"^[ \t]*(?:Name|Nom|Nome|Naam|Nombre)[ ]?:[ \t]*(?P<name>{UP}[^\W\d_]*(?:[ '’-](?:{PARTICLE}[ ])?{UP}[^\W\d_]*){{0,4}})[ \t]*$",
    re.MULTILINE,
)
_I_AM = compiled(
    rf"(?<![^\W_])(?i:soy|ich bin|hier ist|je suis|sono|ik ben|sou(?: o| a)?|eu sou|habla|ici)[ ](?:el |la |der |die |il |de )?(?P<name>{_NAME})"
)
_CALLED = compiled(
    rf"(?<![^\W_])(?i:llam[ae]r? a|contact(?:ar|e) (?:con|a)|preguntar? por|hablar? con|parl[eé]r? (?:à|avec)|contactez|appel(?:er|ez)|parlare con|chiam(?:are|i)|"
    rf"sprechen mit|wenden sich an|contact op met|spreken met|falar com|contact(?:ar|e))[ ](?P<name>{_NAME})"
)
_PAIR = re.compile(
    rf"(?<![\w'’-])(?P<first>{UP}[^\W\d_]+(?:-{UP}[^\W\d_]+)?)[ ](?:(?:{PARTICLE})[ ]){{0,2}}(?P<last>{UP}[^\W\d_]+(?:-{UP}[^\W\d_]+)?)(?:[ ](?P<more>{UP}[^\W\d_]+))?"
)
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
    r"(?<![^\W_])(?i:(?:ik ben|bin|ist|is|tengo|tiene|tenía|tenho|tem|tinha|ho|ha|aveva|j['’]ai|a|avait|mit|con|met)|(?<=,[ ])(?:de|di|von|van))[ ]"
    r"(?P<age>\d{1,3})[ ](?:jahre[ ]alt|jaar(?:[ ]oud)?(?=[ ](?:en|oud)|[,.])|años|anos|ans|anni)(?![^\W_])(?![ ](?:de|di|d['’])[ ](?!edad|idade|età))",
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
_PLACES: list[Form] = [("LOCATION", 0.56, _HOME), ("LOCATION", 0.56, _RESIDENCE)]
_SAID: list[Form] = [("AGE", 0.7, _AGE), ("NRP", 0.6, _NATION), ("TITLE", 0.55, _WORK), ("TITLE", 0.55, _JOB)]
_LOCALES = ("de", "es", "fr", "it", "nl", "pt")


@cache
def _given() -> frozenset[str]:
    """Given names of the six languages, folded."""
    return frozenset(name for locale in _LOCALES for name in first_names(locale))


def foreign_names(text: str) -> Iterator[Found]:
    """People and companies that lists, forms and introductions prove, and what the words next to it show."""
    yield from (found for found in names(text) if found.recognizer in SURE)
    for cue in _INTRODUCED.finditer(text):
        name = RUN.match(text, cue.end())
        if name:
            yield Found(*name.span(), "PERSON", 0.64, "name_cue")
    for match in _TITLED.finditer(text):
        yield Found(*match.span(), "PERSON", 0.72, "title")
    for match in _LABELLED.finditer(text):
        yield Found(*match.span("name"), "PERSON", 0.72, "field")
    for pattern in (_ROLED, _I_AM, _CALLED):
        for match in pattern.finditer(text):
            if _is_name(match["name"]):
                yield Found(*match.span("name"), "PERSON", 0.62, "role")
    yield from _pairs(text)
    yield from _about(text)


def _is_name(name: str) -> bool:
    """Whether the first word is a name of any language, since German writes every noun with a capital."""
    words = [fold(word) for word in re.findall(rf"(?<![^\W_]){UP}[^\W\d_]+", name)][:1]
    return any(word in first_names() or word in last_names() for word in words)


def _pairs(text: str) -> Iterator[Found]:
    for match in _PAIR.finditer(text):
        first, last = (fold(match[part]).split("-") for part in ("first", "last"))
        if not all(word in _given() for word in first) or not all(word in last_names() for word in last):
            continue
        if fold(match[0]) in places() or f"{match['first']} {match['last']}".casefold() in places():
            continue
        more = match["more"] and fold(match["more"]) in last_names()
        yield Found(match.start(), match.end() if more else match.end("last"), "PERSON", 0.61, "full_name")


def _about(text: str) -> Iterator[Found]:
    """Homes, ages, jobs and nationalities."""
    for match in _CITY.finditer(text):
        for name in (match["place"], match["place"].split()[0]):
            if fold(name) in cities():
                yield Found(match.start("place"), match.start("place") + len(name), "LOCATION", 0.52, "place")
                break
    yield from formed(text, _PLACES, "place_cue")
    yield from formed(text, _SAID)
