"""The words around a name that show what it names: words before it, words after it, and its endings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from hallmark.mask.lexicon import any_of, is_given_name, is_noun, is_plain, word_list
from hallmark.mask.prefilter import compiled


def _capitals() -> str:
    """A class of the letters that are written as capitals, in every script that has them."""
    points = [code for code in range(0x41, 0xAB00) if unicodedata.category(chr(code)) in ("Lu", "Lt")]
    runs: list[list[int]] = []
    for code in points:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "[" + "".join(chr(first) + (f"-{chr(last)}" if last > first else "") for first, last in runs) + "]"


UP = _capitals()
PARTICLE = r"(?:van|von|der|den|de|del|della|di|da|dos|das|do|du|la|le|el|al|bin|ibn|ter|ten|zu|af|av|y|e|nad|of)"
CAP = rf"(?:{UP}\.(?=\W)|(?:St|Jr|Sr|Ph)\.(?=\W)|{UP}[^\W\d_]*(?:['’-][^\W\d_]+)*(?=\W|$))"
RUN = re.compile(
    rf"(?<![\w@.#/-])(?![\w-]*\d){CAP}(?:(?:[ \u00a0]{{1,2}}|-){CAP}|[ ](?:{PARTICLE}[ ]){{1,2}}(?={UP}){CAP}){{0,24}}"
)
TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*\.?")
INITIALS = rf"{UP}\.(?:[ -]?{UP}\.){{0,3}}"
NAME_PART = rf"{UP}[^\W\d_]*(?:['’-][^\W\d_]+)*"
# A name in the usual spelling: "Costa", "Franz Cede", "A. Demetriades", "J.R. de la Cruz", "F.L."
NAME = rf"(?:{INITIALS}(?:[ ]?{NAME_PART}|(?![^\W\d_]))|{NAME_PART})(?:[ ](?:{INITIALS}(?=[ ])|(?:{PARTICLE}[ ]){{0,2}}{NAME_PART})){{0,4}}"

# A word, the dot after it, and a capital after both: a title or a role, if it is in one of the lists.
LED = re.compile(rf"(?<![^\W_])([^\W\d_]+)(\.?),?[ \u00a0](?={UP})")
NAMED = re.compile(NAME)
# "A. Demetriades", "J.R. Smith", "K.-J. Lindqvist"
INITIALED = re.compile(
    rf"(?<![\w.])(?:{INITIALS}[ ]?|(?:(?<=by )|(?<=from )|(?<=to )|(?<=for )|(?<=with )|(?<=: )){UP}[ ])((?:{PARTICLE}[ ])?{UP}[^\W\d_]+(?:['’-]{UP}?[^\W\d_]+)*)"
)
# "Anna, Ben and Carla", "Dervaux, Stone and Marsh"
LISTED = compiled(
    rf"(?<![\w-]){NAME_PART}(?: {NAME_PART})?(?:, {NAME_PART}(?: {NAME_PART})?){{0,9}},? (?:and|&|or|und|et|y|e) "
    rf"{NAME_PART}(?: {NAME_PART})?"
)


IRREGULAR = dict(entry.split(": ") for entry in word_list("words/irregular_verbs.txt"))
PARTICIPLES = word_list("words/participles.txt")


def _doing(verbs: Iterable[str]) -> str:
    """A regular expression of what only people do: the verbs as said of one of them, or after an auxiliary."""
    third, past, ing, base = set(), set(IRREGULAR.values()), set(), set(verbs)
    for verb in base:
        soft = verb[-1] == "y" and verb[-2] not in "aeiou"
        third.add(
            verb[:-1] + "ies" if soft else verb + ("es" if verb.endswith(("s", "sh", "ch", "x", "z", "o")) else "s")
        )
        stem = verb.removesuffix("e")
        short = re.fullmatch(r"[^aeiou]*[aeiou][bdgmnpt]", verb) is not None
        if verb not in IRREGULAR:
            past.add(verb[:-1] + "ied" if soft else stem + verb[-1] * short + "ed")
        ing.add((stem if not verb.endswith("ee") else verb) + verb[-1] * short + "ing")
    adverb = r"(?:(?:also|not|never|just|always|already|often|still|then|only|once|later|first) )?"
    helps = r"(?:will|would|can|could|should|must|may|might|does|did|has|have|had|is|was|won't|can't|didn't|doesn't)"
    return rf"{adverb}(?:{any_of(third | past)})\b|{helps} {adverb}(?:{any_of(base | past | ing | PARTICIPLES)})\b"


DOES = re.compile(rf"^,? (?:{_doing(word_list('words/person_verbs.txt'))})")

# A person's name follows these words.
PERSON_CUE = re.compile(
    r"\b(?:(?:my|his|her|their|the|your|full|first|last|maiden|given|family|middle|contact|customer|user|account holder|card holder|"
    r"cardholder)(?:'s)? name(?:'s| is| was|:)?|name(?::| is)|i am called|(?:call|calls|called|named|name) (?:me|him|her|it)|known as|"
    r"i am|i'm|im|this is|it's|here is|signed(?: by)?|attn\.?:?|attention:?|contact(?: person)?:|from:|to:|cc:|author:|by|dear|hi|hello|"
    r"hey|regards|best|thanks|sincerely|cheers|greetings|yours|speak (?:to|with)|talk (?:to|with)|ask for|with|via|met|heard|see|add|under|"
    r"between|starring|said|says|asked|replied|answered|told|directed by|sung by|written by|beneficiary|payee|patient|recipient|names?)[,:]?[ \n]+(?:is |are |was )?$",
    re.IGNORECASE,
)
STRONG_CUE = re.compile(
    r"\b(?:(?:my|his|her|their|full|first|last|maiden|given|family|middle|contact|customer|user|your) name(?:'s| is| was|:)?|^name(?: is|:)|"
    r"name:|call(?:s|ed)? me|named (?:him|her)|i am called|regards,?|sincerely,?|cheers,?|dear|ask for|speak (?:to|with)|attn\.?:?|caller:|contact:|from:)[,:]?[ \n]+"
    r"(?:is |was )?$",
    re.IGNORECASE,
)
PERSON_CUE_LOWER = re.compile(
    r"\b(?:name(?: is)?|i am|i'm|im|this is|with|by|to|for|from|called|see|met|heard|and)[ ]$"
)
_RELATIONS = word_list("words/relations.txt")
_RELATED = re.compile(r"\b(?:my|his|her|their|our|your|the)(?: \w+)? ([\w-]+),? (?:named |called )?$", re.IGNORECASE)
# Things only a person does: "Sofie lives on ...", "Megan is a very ..."
PERSON_AFTER = re.compile(
    r"^(?:'s (?:\w+ )?(?:wife|husband|mother|father|brother|sister|son|daughter|account|address|house|birthday|phone|email|card|order|"
    r"killers?|friend|boss|team)\b|,? (?:lives|lived|said|says|told|asked|wrote|called|emailed|works|worked|is (?:my|his|her|very|so|an? (?:very|really|good|great|nice|old|close|friend|colleague|person|man|woman|student|nurse|doctor|teacher))\b|"
    r"was born|has been\b|moved|married|thinks|wants|listed|spent|here\b)|: |, (?:the |a |our |my |head |chief |senior |vice |can |could )|"
    r" so \w+\?|[,]? aged? \d)",
)

_ORG_END = (
    r"(?:Academy|Convent|Nursery|School|Surgery|Inc|Incorporated|LLC|L\.L\.C|Ltd|Limited|Corp|Corporation|Co|Company|GmbH|AG|KG|S\.?A|S\.?r\.?l|S\.?p\.?A|B\.?V|N\.?V|AB|Oyj?|"
    r"ApS|A/S|ASA|PLC|LLP|LP|Pty|Pvt|Kft|Zrt|Sp\. z o\.o|d\.o\.o|s\.r\.o|Group|Holdings?|Partners|Associates|Bank|University|College|"
    r"Institute|Hospital|Clinic|Foundation|Association|Agency|Technologies|Consulting|Insurance|Investments|Ventures|Industries|"
    r"Enterprises|Laboratories|Airlines|Airways|Motors|Pharmaceuticals|Bros|Brothers|Sons)"
)
ORG = re.compile(
    rf"(?<![\w-])(?:\d+ )?{UP}[\w&'’.-]{{0,40}}(?:,? (?:&|and|of|the|for|{UP}[\w&'’.-]{{0,40}}|{_ORG_END})){{0,5}},? {_ORG_END}\b\.?(?![\w-])"
)
ORG_ANY = compiled(r"(?<![\w-])((?:[a-z][\w&'-]* ){1,4})(?:inc|llc|ltd|corp|gmbh|incorporated|corporation)\b\.?")
FIRM = compiled(r"(?<![\w'’-])[^\W\d_][\w'’-]+(?:, [^\W\d_][\w'’-]+){1,3},? (?:and|&) [^\W\d_][\w'’-]+")
# Words before a company name that are not part of it.
LEADS = frozenset(["work", "works", "worked", "working", "company", "named", "called", "became"])
HYPHENED = re.compile(rf"(?<![\w-]){UP}[^\W\d_]+-{UP}[^\W\d_]+(?![\w-])")
ORG_CUE = re.compile(
    r"\b(?:work(?:s|ed|ing)? (?:for|at|with)|job at|employ(?:ed|er|ee)s? (?:by|at|of|is|:)?|company(?: name)?(?: is|:| called| named)?|"
    r"(?:ceo|cto|cfo|founder|co-founder|director|president|owner|manager|employee|intern|analyst|partner|chair) (?:of|at|for)|"
    r"(?:years?|months?|time|career|position|role|office) at|later became|formerly|acquired(?: by)?|subsidiary of|merged with|brand|"
    r"organi[sz]ation:?|firm(?: called)?|startup|bank with|insured (?:by|with)|studied at|graduated from|on behalf of|meet \w+ at)[ ]+$",
    re.IGNORECASE,
)
ORG_AFTER = re.compile(
    r"^(?:'s)? (?:(?:was|is) (?:founded|established|headquartered|incorporated|acquired)\b|(?:offices?|branch|store) (?:is|was|in|at|of|on|are)|headquarters|hq|ceo|employees?|shareholders?|founders?|"
    r"(?:is|was) (?:an?|the|our) (?:\w+[ -]){0,3}(?:company|agency|firm|startup|bank|brand|supplier|brainchild|business|employer|vendor|"
    r"organi[sz]ation|manufacturer|studio|publisher))\b",
    re.IGNORECASE,
)

PLACE_CUE = re.compile(
    r"\b(?:(?:live[sd]?|living|based|born|located|reside[sd]?|residing|stay(?:ed|ing)?|grew up|raised|staying|situated|arriv(?:ed?|ing)|work(?:s|ed)?|practi[sc](?:es?|ed|ing)|"
    r"i am|i'm|i was|here|office|branch|factory|store|street|road|city|town|village|flight|trip) (?:in|at|near|outside|of)|"
    r"(?:came?|come|comes|moved?(?: here| back)?|originally|flew|flying|travel(?:l?ed|l?ing)?|return(?:ed|ing)?|back|went|go|going|"
    r"visit(?:ed|ing)?|driv(?:e|ing)|mov(?:e|ing)|relocat(?:ed|ing)|ship(?:ped|ping)?|deliver(?:ed|y)?|sent|heading|morning|waist down|flights?|trains?|is|am|are)"
    r"(?: from| to)|citizen of|resident of|native of|capital of|city of|town of|village of|north of|south of|east of|west of|serving|"
    r"visit(?:ed|ing)?|via|destination:?|city:|town:|country:|state:|location:|place of birth:?|(?:southern|northern|eastern|western|central))[ ]+$",
    re.IGNORECASE,
)
IN = re.compile(
    r"\b(?:in|near|to|from|at|for|via|reach(?:ed)?|leav(?:e|ing)|left|towards?|between|around|outside)[ ]+$",
    re.IGNORECASE,
)
PLACE_AFTER = re.compile(
    r"^(?:,? (?:was|is) (?:super |so |very |really )?(?:fun|nice|great|beautiful|cold|hot|lovely) |, (?:[A-Z]{2}\b))"
)

GROUPS = word_list("words/groups.txt")
GROUP = re.compile(r"(?<![\w-])[^\W\d_]{2,}(?:'s)?")
# Those of them that more often mean something else or are someone's name.
NOT_NRP = frozenset(["pole", "poles", "finn", "finns", "scot", "dane", "swede", "turk", "turks", "chilean"])
# Those that mean something else in lower case.
CAPITAL_NRP = frozenset(["polish", "liberal", "orthodox", "republican", "democrat", "conservative"])
LOWER_NRP = re.compile(r"\b(?:i am|i'm|im|an?|the|is|are|was)[ ]+$", re.IGNORECASE)

# A language: what is written in it, or how well someone speaks it.
IN_LANGUAGE = re.compile(r"\b(?:in|into|fluent|some|good|basic|speaks?|spoken)[ ]+$", re.IGNORECASE)
_NRP_PEOPLE = word_list("words/nrp_people.txt") | word_list("words/relations.txt") | word_list("words/person_roles.txt")

_JOBS = any_of(word_list("words/jobs.txt"))
_JOB_HEAD = rf"(?:{_JOBS}|\w{{3,}}ographer|\w{{3,}}ologist|\w{{3,}}ician)s?"
JOB_HEADS = re.compile(_JOB_HEAD)
JOB_LINE = compiled(
    rf"^[ \t>?|]*((?:[\w'’,/&-]+ ){{0,6}}{_JOB_HEAD}|(?:(?!(?:an?|as|at|in|is|of|on|our|the|to|your) )\w+ ){{0,2}}(?:head|director|manager|officer|vp|chief|dean) of(?! an? | the )(?: [\w&'’-]+){{1,4}})[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)

SENTENCE_START = re.compile(r"(?:^|[.!?:\n>*\"“•(-])\s*$")

# Abbreviations that are also given names, and months and the like that are.
ABBREVIATIONS = frozenset(["nas", "sim", "dsl", "ram", "rom"])
MONTHS = word_list("words/months.txt")
WEEKDAYS = word_list("words/weekdays.txt")
DATED = re.compile(
    r"(?:\d(?:st|nd|rd|th)?(?: of)?|\b(?:in|on|since|until|till|by|of|from|to|last|next|this|early|late|mid|and|or|for|each|every))[ -]$",
    re.I,
)

# Where a trip goes, or where a card is used: a place that says little about who somebody is.
_TRIP = re.compile(
    r"\b(?:flights?|fly(?:ing)?|flew|tickets?|trains?|bus(?:es)?|taxis?|cruises?|book(?:ing|ed)?|trips?|tours?|travel(?:s|l?ing|l?ed)?|holidays?|"
    r"vacation|depart(?:s|ing|ure)?|arriv(?:al|ing)|layover|stopover|connect(?:ing|ion)|land(?:s|ing)?|round trip|one way|fares?|hotels?|"
    r"restaurants?|weather|sights?|sightseeing|attractions|museums?|luggage|baggage|visas?)\b"
    r"[^.!?\n]{0,25}\b(?:to|from|in|via|for|through|between|into|at)[ ]+$"
    r"|^\s*from (?:[\w'-]+ ){1,3}to[ ]+$",
    re.IGNORECASE,
)
_TRIP_ON = re.compile(r"^ (?:to|and back to) \w+", re.IGNORECASE)
_BY = re.compile(r"^,? by (?:train|bus|coach|plane|air|car|ferry|boat)\b", re.IGNORECASE)
_USE = re.compile(
    r"\b(?:cards?|pay(?:s|ing|ments?)?|money|transfer\w*|send(?:ing)?|sent|deliver(?:y|ies|ing)|ship(?:ping|ments?)|use[ds]?|using|works?|working|accept\w*|"
    r"available|support\w*|withdraw\w*|charge[ds]?|fees?|atms?|accounts?|currenc\w*|machines?)\b[^.!?\n]{0,40}\b(?:to|in|from|for|at|of|outside|within)[ ]+(?:the )?$",
    re.IGNORECASE,
)
_FROM = re.compile(r"^\s*from[ ]+$", re.IGNORECASE)


_TO = re.compile(r"\b(?:to|from|in|via|for|through|between|into|at|of|outside|within)[ ]+(?:the )?$", re.IGNORECASE)


def is_related(before: str) -> bool:
    """Whether a person follows, even if the name is an everyday word ("my sister Rose")."""
    match = _RELATED.search(before[-40:])
    return match is not None and match[1].lower() in _RELATIONS


def is_destination(before: str, after: str, *, country: bool) -> bool:
    """Whether a place is where a trip starts or ends or, as a country, where something is used or sent."""
    if not _TO.search(before[-16:]):
        return False
    if _TRIP.search(before) or (country and _USE.search(before)):
        return True
    if _BY.search(after):
        return True
    return _FROM.search(before) is not None and _TRIP_ON.search(after) is not None


_THING_HEADS = word_list("words/thing_heads.txt")
_THING_END = re.compile(
    rf"^(?:['’]s|s['’]|['’])? (?:{any_of(word_list('words/thing_ends.txt'))})(?![\w'’-])|^['’]s \d", re.IGNORECASE
)
_LAST_WORD = re.compile(r"([^\W\d_]+)\.? $")
_NEXT_WORD = re.compile(r" ([a-z]{3,})(?![\w'’-])")
_GOES_ON = re.compile(r"[.,;:!?)]|$| (?:is|has|was|and|or|in|of|to|from)\b")
_PRICE = re.compile(r":? ?(?:[$€£][ ]?\d|\d+[.,]\d\d(?![\d:]|\.\d))")
_OF_FAMILIES = word_list("words/of_families.txt")
THING_ENDS = word_list("words/thing_ends.txt")


def is_of_thing(first: str, before: str, after: str, *, alone: bool) -> bool:
    """Whether a name is a thing's by the words around it: "Lake Victoria", "Moore's law", "the Nile", "a Florence sofa"."""
    last = _LAST_WORD.search(before)
    head = last[1].lower() if last else ""
    if first in _THING_HEADS or head in _THING_HEADS or _THING_END.match(after):
        return True
    if not alone:
        return False
    noun = _NEXT_WORD.match(after)
    if noun and is_noun(noun[1]) and not is_plain(noun[1]) and not _is_of_people(noun[1]):
        return True
    return (head == "the" and _GOES_ON.match(after) is not None) or _PRICE.match(after) is not None


def _is_of_people(noun: str) -> bool:
    return (
        noun in _NRP_PEOPLE
        or noun.removesuffix("s") in _NRP_PEOPLE
        or noun in _OF_FAMILIES
        or is_given_name(noun)
        or noun.endswith(("er", "or", "ist"))
        or JOB_HEADS.fullmatch(noun) is not None
    )


def is_of_person(group: str, before: str, after: str) -> bool:
    """Whether a nationality or religion is a person's, not that of a thing or a language: "Italian coffee", "in Dutch"."""
    word = re.match(r" ([\w'’-]+)", after)
    if word is None or not is_noun(word[1].lower()):
        return not (IN_LANGUAGE.search(before) and group[-1] != "s")
    return _is_of_people(word[1].lower())
