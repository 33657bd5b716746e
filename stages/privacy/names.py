"""Names of people, organisations and places: word lists, and the words that introduce or follow a name.

A line that is all capitals or all lower case says nothing by its capitals, so there the word lists decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from stages.privacy.lexicon import (
    EVERYDAY,
    countries,
    first_names,
    fold,
    is_common,
    is_family_name,
    is_given_name,
    is_misspelt,
    is_noun,
    is_plain,
    is_stop,
    is_word,
    last_names,
    places,
    towns,
)
from stages.privacy.rules import Found

_UP = r"[^\W\d_a-zà-öø-ÿ]"  # a letter that is not a Latin small letter
_PARTICLE = r"(?:van|von|der|den|de|del|della|di|da|dos|das|do|du|la|le|el|al|bin|ibn|ter|ten|zu|af|av|y|e|nad|of)"
_CAP = rf"(?:{_UP}\.(?=\W)|(?:St|Jr|Sr|Ph)\.(?=\W)|{_UP}[^\W\d_]*(?:['’-][^\W\d_]+)*(?=\W|$))"
RUN = re.compile(
    rf"(?<![\w@.#/-])(?![\w-]*\d){_CAP}(?:(?:[ \u00a0]{{1,2}}|-){_CAP}|[ ](?:{_PARTICLE}[ ]){{1,2}}(?={_UP}){_CAP})*"
)
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*\.?")
_NAME = rf"{_UP}[^\W\d_]*(?:['’-][^\W\d_]+)*(?:[ ](?:{_UP}\.?(?=[ ])|{_PARTICLE}(?=[ ])|{_UP}[^\W\d_]*(?:['’-][^\W\d_]+)*)){{0,4}}"
_ANY = r"[^\W\d_]+(?:['’-][^\W\d_]+)*(?:[ ][^\W\d_]+\.?(?:['’-][^\W\d_]+)*){0,3}"

_TITLES = r"(?:mr|mrs|ms|miss|mx|dr|prof|sir|madam|dame|lord|herr|frau|mme|mlle|monsieur|madame|señor|señora|sr|sra|signor|signora)"
_TITLED = re.compile(rf"\b((?i:{_TITLES})\b\.?)[ ]({_NAME})")
_TITLED_LOWER = re.compile(rf"\b({_TITLES}\b\.?)[ ]([a-z][\w'-]+(?: [a-z][\w'-]+)?)")

# After these words comes a person's name.
_PERSON_CUE = re.compile(
    r"\b(?:(?:my|his|her|their|the|your|full|first|last|maiden|given|family|middle|contact|customer|user|account holder|card holder|"
    r"cardholder)(?:'s)? name(?:'s| is| was|:)?|name(?::| is)|i am called|(?:call|calls|called|named|name) (?:me|him|her|it)|known as|"
    r"i am|i'm|im|this is|it's|here is|signed(?: by)?|attn\.?:?|attention:?|contact(?: person)?:|from:|to:|cc:|author:|by|dear|hi|hello|"
    r"hey|regards|best|thanks|sincerely|cheers|greetings|yours|speak (?:to|with)|talk (?:to|with)|ask for|with|via|met|heard|see|add|under|"
    r"between|starring|directed by|sung by|written by|beneficiary|payee|patient|recipient|names?)[,:]?[ \n]+(?:is |are |was )?$",
    re.IGNORECASE,
)
_STRONG_CUE = re.compile(
    r"\b(?:(?:my|his|her|their|full|first|last|maiden|given|family|middle|contact|customer|user|your) name(?:'s| is| was|:)?|^name(?: is|:)|"
    r"name:|call(?:s|ed)? me|named (?:him|her)|i am called|regards,?|sincerely,?|cheers,?|dear|ask for|speak (?:to|with)|attn\.?:?|caller:|contact:|from:)[,:]?[ \n]+"
    r"(?:is |was )?$",
    re.IGNORECASE,
)
_PERSON_CUE_LOWER = re.compile(
    r"\b(?:name(?: is)?|i am|i'm|im|this is|with|by|to|for|from|called|see|met|heard|and)[ ]$"
)
# After these comes a person even where the name is a word of every day ("my sister Rose").
_RELATED = re.compile(
    r"\b(?:my|his|her|their|our|your|the)(?: \w+)? (?:wife|husband|spouse|fianc[eé]e?|partner|girlfriend|boyfriend|mother|father|mom|mum|dad|"
    r"parents?|brother|sister|siblings?|son|daughter|child|kids?|cousin|niece|nephew|aunt|uncle|grand(?:ma|pa|mother|father|son|daughter)|"
    r"friend|buddy|flatmate|roommate|housemate|neighbou?r|colleague|coworker|co-worker|boss|manager|supervisor|assistant|landlord|tenant|"
    r"lawyer|doctor|nurse|teacher|coach|driver|client|patient|customer|guest|late)[ ]$",
    re.IGNORECASE,
)
# A person does these things: "Sofie lives on ...", "Megan is a very ..."
_PERSON_AFTER = re.compile(
    r"^(?:'s (?:\w+ )?(?:wife|husband|mother|father|brother|sister|son|daughter|account|address|house|birthday|phone|email|card|order|"
    r"killers?|friend|boss|team)\b|,? (?:lives|lived|said|says|told|asked|wrote|called|emailed|works|worked|is (?:my|his|her|very|so|an? (?:very|really|good|great|nice|old|close|friend|colleague|person|man|woman|student|nurse|doctor|teacher))\b|"
    r"was born|has been\b|moved|married|thinks|wants|listed|spent|here\b)|: |, (?:the |a |our |my |head |chief |senior |vice |can |could )|"
    r" so \w+\?|[,]? aged? \d)",
)

_ORG_END = (
    r"(?:Inc|Incorporated|LLC|L\.L\.C|Ltd|Limited|Corp|Corporation|Co|Company|GmbH|AG|KG|S\.?A|S\.?r\.?l|S\.?p\.?A|B\.?V|N\.?V|AB|Oyj?|"
    r"ApS|A/S|ASA|PLC|LLP|LP|Pty|Pvt|Kft|Zrt|Sp\. z o\.o|d\.o\.o|s\.r\.o|Group|Holdings?|Partners|Associates|Bank|University|College|"
    r"Institute|Hospital|Clinic|Foundation|Association|Agency|Technologies|Consulting|Insurance|Investments|Ventures|Industries|"
    r"Enterprises|Laboratories|Airlines|Airways|Motors|Pharmaceuticals|Bros|Brothers|Sons)"
)
_ORG = re.compile(
    rf"(?<![\w-])(?:\d+ )?{_UP}[\w&'’.-]*(?:,? (?:&|and|of|the|for|{_UP}[\w&'’.-]*|{_ORG_END})){{0,5}},? {_ORG_END}\b\.?(?![\w-])"
)
_ORG_ANY = re.compile(r"(?<![\w-])((?:[a-z][\w&'-]* ){1,4})(?:inc|llc|ltd|corp|gmbh|incorporated|corporation)\b\.?")
_FIRM = re.compile(r"[^\W\d_][\w'’-]+(?:, [^\W\d_][\w'’-]+){1,3},? (?:and|&) [^\W\d_][\w'’-]+")
_LEADS = frozenset(["work", "works", "worked", "working", "company", "named", "called", "became"])
_HYPHENED = re.compile(rf"(?<![\w-]){_UP}[^\W\d_]+-{_UP}[^\W\d_]+(?![\w-])")
_ORG_CUE = re.compile(
    r"\b(?:work(?:s|ed|ing)? (?:for|at|with)|job at|employ(?:ed|er|ee)s? (?:by|at|of|is|:)?|company(?: name)?(?: is|:| called| named)?|"
    r"(?:ceo|cto|cfo|founder|co-founder|director|president|owner|manager|employee|intern|analyst|partner|chair) (?:of|at|for)|"
    r"(?:years?|months?|time|career|position|role|office) at|later became|formerly|acquired(?: by)?|subsidiary of|merged with|brand|"
    r"organi[sz]ation:?|firm(?: called)?|startup|bank with|insured (?:by|with)|studied at|graduated from|on behalf of|meet \w+ at)[ ]+$",
    re.IGNORECASE,
)
_ORG_AFTER = re.compile(
    r"^(?:'s)? (?:(?:offices?|branch|store) (?:is|was|in|at|of|on|are)|headquarters|hq|ceo|employees?|shareholders?|founders?|"
    r"(?:is|was) (?:an?|the|our) (?:\w+[ -]){0,3}(?:company|agency|firm|startup|bank|brand|supplier|brainchild|business|employer|vendor|"
    r"organi[sz]ation|manufacturer|studio|publisher))\b",
    re.IGNORECASE,
)

_PLACE_CUE = re.compile(
    r"\b(?:(?:live[sd]?|living|based|born|located|reside[sd]?|residing|stay(?:ed|ing)?|grew up|raised|staying|situated|arriv(?:ed?|ing)|work(?:s|ed)?|"
    r"i am|i'm|i was|here|office|branch|factory|store|street|road|city|town|village|flight|trip) (?:in|at|near|outside|of)|"
    r"(?:came?|come|comes|moved?(?: here| back)?|originally|flew|flying|travel(?:l?ed|l?ing)?|return(?:ed|ing)?|back|went|go|going|"
    r"visit(?:ed|ing)?|driv(?:e|ing)|mov(?:e|ing)|relocat(?:ed|ing)|ship(?:ped|ping)?|deliver(?:ed|y)?|sent|heading|morning|waist down|flights?|trains?|is|am|are)"
    r"(?: from| to)|citizen of|resident of|native of|capital of|city of|town of|village of|north of|south of|east of|west of|serving|"
    r"visit(?:ed|ing)?|via|destination:?|city:|town:|country:|state:|location:|place of birth:?|(?:southern|northern|eastern|western|central))[ ]+$",
    re.IGNORECASE,
)
_IN = re.compile(
    r"\b(?:in|near|to|from|at|for|via|reach(?:ed)?|leav(?:e|ing)|left|towards?|between|around|outside)[ ]+$",
    re.IGNORECASE,
)
_PLACE_AFTER = re.compile(
    r"^(?:,? (?:was|is) (?:super |so |very |really )?(?:fun|nice|great|beautiful|cold|hot|lovely) |, (?:[A-Z]{2}\b))"
)

_NRP = re.compile(
    r"\b(?:afghan|albanian|algerian|american|andorran|angolan|argentin(?:ian|e)|armenian|australian|austrian|azerbaijani|bahamian|"
    r"bahraini|bangladeshi|barbadian|belarusian|belgian|beli[sz][ei]an|beninese|bhutanese|bolivian|bosnian|brazilian|british|bruneian|"
    r"bulgarian|burmese|burundian|cambodian|cameroonian|canadian|chadian|chechen|chilean|chinese|colombian|congolese|costa rican|croat(?:ian)?|"
    r"cuban|cypriot|czech|dane|danish|dominican|dutch|ecuadorian|egyptian|emirati|english|eritrean|estonian|ethiopian|fijian|filipino|"
    r"finn|finnish|french|gabonese|gambian|georgian|german|ghanaian|greek|greenlandic|grenadian|guatemalan|guinean|guyanese|haitian|honduran|"
    r"hungarian|icelander|icelandic|indian|indonesian|iranian|iraqi|irish|israeli|italian|ivorian|jamaican|japanese|jordanian|kazakh|"
    r"kenyan|korean|kosovar|kurdish|kuwaiti|kyrgyz|lao(?:tian)?|latvian|lebanese|liberian|libyan|lithuanian|luxembourgish|macedonian|"
    r"malagasy|malawian|malaysian|maldivian|malian|maltese|mauritanian|mauritian|mexican|moldovan|monegasque|mongolian|montenegrin|"
    r"moroccan|mozambican|namibian|nepal(?:ese|i)|nicaraguan|nigerian?|nigerien|norwegian|omani|pakistani|palestinian|panamanian|paraguayan|"
    r"peruvian|pole|portuguese|qatari|romanian|russian|rwandan|salvadoran|samoan|saudi|scottish|scot|senegalese|serb(?:ian)?|singaporean|"
    r"slovak(?:ian)?|slovene|slovenian|somali|spaniard|spanish|sri lankan|sudanese|surinamese|swazi|swede|swedish|swiss|syrian|taiwanese|tajik|"
    r"tanzanian|thai|tibetan|togolese|tongan|trinidadian|tunisian|turk|turkish|turkmen|ugandan|ukrainian|uruguayan|uzbek|venezuelan|"
    r"vietnamese|welsh|yemeni|zambian|zimbabwean|christian|muslim|jewish|hindu|buddhist|sikh|catholic|protestant|orthodox|republican|democrat)s?\b",
    re.IGNORECASE,
)
_NOT_NRP = frozenset(["pole", "poles", "finn", "finns", "scot", "dane", "swede", "turk", "turks", "chilean", "polish"])
_LOWER_NRP = re.compile(r"\b(?:i am|i'm|im|an?|the|is|are|was)[ ]+$", re.IGNORECASE)

_JOB_HEAD = (
    r"(?:manager|director|engineer|technician|operator|officer|clerk|assistant|consultant|administrator|analyst|specialist|supervisor|"
    r"coordinator|developer|designer|accountant|teacher|nurse|physician|surgeon|lawyer|attorney|secretary|driver|mechanic|electrician|"
    r"plumber|carpenter|painter|cleaner|librarian|scientist|researcher|therapist|pharmacist|dentist|editor|writer|journalist|architect|"
    r"programmer|controller|inspector|installer|distributor|agent|broker|planner|soldier|cinematographer|packager|cashier|waiter|chef|cook|"
    r"baker|butcher|farmer|gardener|guard|worker|attendant|representative|executive|president|ceo|cto|cfo|chairman|professor|lecturer|"
    r"instructor|trainer|coach|counselor|psychologist|biologist|chemist|physicist|geologist|economist|statistician|\w{3,}ographer|\w{3,}ologist|"
    r"\w{3,}ician)s?"
)
_JOB_LINE = re.compile(rf"^[ \t>?|]*((?:[\w'’,/&-]+ ){{0,6}}{_JOB_HEAD})[ \t]*$", re.IGNORECASE | re.MULTILINE)
_JOB_AFTER_NAME = re.compile(
    rf"[^\W\d_], (?:the|an?|our) ((?:[\w'’/&-]+ ){{0,4}}(?:{_JOB_HEAD}))(?=[,.])", re.IGNORECASE
)


def names(text: str) -> Iterator[Found]:
    """People, organisations, places, groups and job titles."""
    yield from _titles(text)
    yield from _groups(text)
    yield from _organisations(text)
    for start, end, case in _lines(text):
        if case == "mixed":
            for run in RUN.finditer(text, start, end):
                yield from _run(text, run)
        else:
            yield from _flat(text, start, end, case == "lower")


def _lines(text: str) -> Iterator[tuple[int, int, str]]:
    """Lines that are all capitals ("upper"), without any ("lower"), or as people write ("mixed")."""
    for line in re.finditer(r"[^\n]+", text):
        capitals = sum(map(str.isupper, line[0]))
        small = sum(map(str.islower, line[0]))
        case = "lower" if not capitals and small else "upper" if capitals > 7 and capitals > 4 * small else "mixed"
        if capitals + small:
            yield line.start(), line.end(), case


def _titles(text: str) -> Iterator[Found]:
    for match in _TITLED.finditer(text):
        yield Found(*match.span(1), "TITLE", 0.66, "title")
        end = _name_end(text, match.start(2), match.end(2))
        yield Found(match.start(2), end, "PERSON", 0.72, "title")
    for match in _TITLED_LOWER.finditer(text):
        words = match[2].split()
        kept = [word for word in words if not is_word(fold(word))] or ([] if is_common(fold(words[0])) else words[:1])
        if kept and words[0] == kept[0]:
            yield Found(*match.span(1), "TITLE", 0.6, "title")
            yield Found(match.start(2), match.start(2) + len(" ".join(kept)), "PERSON", 0.66, "title")
    for pattern in (_JOB_LINE, _JOB_AFTER_NAME):
        for match in pattern.finditer(text):
            if (len(match[1]) < 60 and "\n" in text) or pattern is _JOB_AFTER_NAME:
                yield Found(*match.span(1), "TITLE", 0.5, "job")


def _groups(text: str) -> Iterator[Found]:
    for match in _NRP.finditer(text):
        word = match[0].lower()
        if (word in _NOT_NRP and word != "polish") or (word in ("polish", "pole") and not match[0][0].isupper()):
            continue
        if match[0][0].isupper() or _LOWER_NRP.search(text, max(0, match.start() - 12), match.start()):
            yield Found(*match.span(), "NRP", 0.6, "nationality")


def _organisations(text: str) -> Iterator[Found]:
    for match in _ORG.finditer(text):
        if len(match[0].split()) > 1:
            yield Found(*match.span(), "ORGANIZATION", 0.68, "company_form")
    for match in _ORG_ANY.finditer(text):  # all lower case: the words since the last little word
        words = match[1].split()
        while words and any(is_stop(word) or word in _LEADS for word in words):
            words.pop(0)
        if words:
            yield Found(match.end(1) - len(" ".join(words)) - 1, match.end(), "ORGANIZATION", 0.6, "company_form")
    for match in _FIRM.finditer(text):
        parts = [fold(part) for part in re.split(r",? (?:and|&) |, ", match[0]) if part]
        if len(parts) > 2 and all(part in last_names() for part in parts):
            yield Found(*match.span(), "ORGANIZATION", 0.67, "firm")
    for match in _HYPHENED.finditer(text):
        if all(fold(part) in last_names() or fold(part) in first_names() for part in match[0].split("-")):
            yield Found(*match.span(), "PERSON", 0.56, "double_name")


def _run(text: str, run: re.Match[str]) -> Iterator[Found]:
    """What one run of capitalised words is."""
    tokens = [(match.start(), match.end(), match[0]) for match in _TOKEN.finditer(text, *run.span())]
    yield from _countries(tokens)
    tokens = [token for token in tokens if not _is_date(text, token)]
    dropped = None
    full = next((at for at in range(len(tokens)) if _full_name(tokens[at:])), None)
    if full is not None and fold(tokens[0][2]) not in things(text):
        start = tokens[full][0]
        yield Found(start, _name_end(text, start, tokens[-1][1]), "PERSON", 0.61, "full_name")
        tokens = tokens[:full]
    while tokens and _opens(text, tokens[0]) and not _is_place(tokens):
        dropped = tokens.pop(0)
    while tokens and not tokens[-1][2][0].isupper():
        tokens.pop()
    if not tokens:
        if (
            dropped
            and fold(dropped[2]) in first_names("en")
            and _PERSON_AFTER.search(text[dropped[1] : dropped[1] + 60])
        ):
            yield Found(dropped[0], dropped[1], "PERSON", 0.53, "name_cue")
        return
    folded = [fold(token.rstrip(".")) for _, _, token in tokens]
    start, end = tokens[0][0], tokens[-1][1]
    if text[end - 1] == "." and len(tokens[-1][2]) > 2:
        end -= 1
    before, after = text[max(0, start - 60) : start], text[end : end + 60]
    unknown = [word for word in folded if not is_word(word)]
    first = next((i for i, word in enumerate(folded) if is_given_name(word)), None)
    if first is None and len(folded) > 1 and len(folded[0]) > 2 and folded[0] in first_names():
        last = folded[-1]  # "Will Smith", "Rose Kowalska"
        if (last in last_names() and not is_common(last)) or (not is_word(last) and last not in places()):
            first = 0
    if folded[0] in things(text) and not _STRONG_CUE.search(before):
        return
    if len(unknown) == 1 and first is None and is_misspelt(unknown[0]):
        unknown = []
    if _is_place(tokens):
        if unknown or len(folded) > 1 or _PLACE_CUE.search(before) or _IN.search(before):
            yield Found(start, end, "LOCATION", 0.52, "place")
    elif _ORG_CUE.search(before) or _ORG_AFTER.search(after):
        if dropped and not (unknown and len(folded) > 1) and dropped[1] + 1 == start:
            start = dropped[0]  # "Collective Ip is a company": the first word is no less a name than the others
        if unknown or len(folded) > 1 or not _SENTENCE_START.search(before):
            yield Found(start, end, "ORGANIZATION", 0.56, "organisation_cue")
    elif _PLACE_CUE.search(before) and not _PERSON_AFTER.search(after) and (unknown or first is not None):
        yield Found(start, end, "LOCATION", 0.56, "place_cue")
    elif (
        unknown
        and len(unknown) == len(folded)
        and first is None
        and _IN.search(before)
        and not _PERSON_AFTER.search(after)
    ):
        yield Found(start, end, "LOCATION", 0.51, "place_cue")
    elif " ".join(folded) in towns() and (_IN.search(before) or _in_country(after)) and first is None:
        yield Found(start, end, "LOCATION", 0.52, "place")
    elif first is not None and not (len(folded) == 1 and _is_short_form(text, tokens[0])):
        name_start = tokens[first][0]
        yield Found(name_start, _name_end(text, name_start, end), "PERSON", 0.62, "name_list")
        if first:
            yield from _named(text, start, tokens[first - 1][1], folded[:first], before)
    elif _RELATED.search(before):
        yield Found(start, _name_end(text, start, end), "PERSON", 0.58, "name_cue")
    elif _STRONG_CUE.search(before) and not all(is_common(word) for word in folded):
        yield Found(start, _name_end(text, start, end), "PERSON", 0.64, "name_cue")
    elif len(folded) == 1 and is_family_name(folded[0]):
        yield Found(start, end, "PERSON", 0.55, "name_list")
    elif _PERSON_CUE.search(before) and unknown and len(unknown) == len(folded):
        yield Found(start, _name_end(text, start, end), "PERSON", 0.54, "name_cue")
    elif unknown and len(folded) <= 3 and _PERSON_AFTER.search(after):
        yield Found(start, end, "PERSON", 0.53, "name_cue")
    elif len(folded) > 1 and folded[-1] in last_names() and not is_word(folded[0]) and folded[0] not in towns():
        yield Found(start, end, "PERSON", 0.55, "name_list")
    elif (
        1 < len(folded) < 5
        and len(unknown) == len(folded)
        and _ALONE.match(text, run.start() - 1 if run.start() else 0, end + 2)
    ):
        yield Found(start, end, "PERSON", 0.52, "signature")
    elif _PLACE_AFTER.search(after) and unknown:
        yield Found(start, end, "LOCATION", 0.52, "place_cue")


def _full_name(tokens: list[tuple[int, int, str]]) -> bool:
    """Whether the words begin with a given and a family name: both listed, or with an initial between ("Rose Q. Marsh")."""
    if len(tokens) < 2 or not all(token[0].isupper() and not token.isupper() for _, _, token in tokens[:1]):
        return False
    words = [fold(token.rstrip(".")) for _, _, token in tokens]
    if len(words) > 2 and len(words[1]) == 1 and tokens[2][2][0].isupper() and len(words[2]) > 2:
        return words[0] in first_names() or not is_word(words[0])
    return words[0] in first_names("en") and len(words[0]) > 2 and words[1] in last_names() and words[0] not in _MONTHS


_SHORT = frozenset(["nas", "sim", "dsl", "ram", "rom"])
_MONTHS = frozenset(["april", "august", "may", "june", "july", "march", "january", "jan", "summer", "autumn", "sunday"])
_DATED = re.compile(
    r"(?:\d(?:st|nd|rd|th)?(?: of)?|\b(?:in|on|since|until|till|by|of|from|to|last|next|this|early|late|mid|and|or|for))[ -]$",
    re.I,
)


def _is_date(text: str, token: tuple[int, int, str]) -> bool:
    """Whether a word is a month, not someone's name."""
    start, end, word = token
    return fold(word.rstrip(".")) in _MONTHS and bool(
        re.match(r"\.?,? ?\d", text[end : end + 4]) or _DATED.search(text, max(0, start - 12), start)
    )


def _is_short_form(text: str, token: tuple[int, int, str]) -> bool:
    """Whether a word is an abbreviation in capitals ("NAS"), not a name."""
    return token[2].isupper() and len(token[2]) < 5 and any(map(str.islower, text))


def _in_country(after: str) -> bool:
    """Whether a country follows after a comma."""
    words = re.match(r", ([A-Z][\w'-]+(?: [A-Z][\w'-]+)?)", after)
    return words is not None and (fold(words[1]) in countries() or fold(words[1].split()[0]) in countries())


_ALONE = re.compile(r"(?:\A|[\n ])[^\n]+(?=\n|\Z)")


def _is_place(tokens: list[tuple[int, int, str]]) -> bool:
    """Whether the words together are a place (or each of them is)."""
    folded = [fold(token.rstrip(".")) for _, _, token in tokens]
    if " ".join(folded) in places():
        return not (len(folded) == 1 and is_family_name(folded[0]) and folded[0] not in countries())
    return (
        len(folded) > 1 and all(word in places() for word in folded) and not any(is_given_name(word) for word in folded)
    )


def _countries(tokens: list[tuple[int, int, str]]) -> Iterator[Found]:
    """Countries inside a run."""
    folded = [fold(token) for _, _, token in tokens]
    at = 0
    while at < len(folded):
        for stop in range(min(len(folded), at + 4), at, -1):
            name = " ".join(folded[at:stop])
            if name in countries() and not (stop - at == 1 and is_given_name(name)):
                yield Found(tokens[at][0], tokens[stop - 1][1], "LOCATION", 0.63, "country")
                at = stop - 1
                break
        at += 1


def _named(text: str, start: int, end: int, folded: list[str], before: str) -> Iterator[Found]:
    """The words of a run before a given name, where they are no common words."""
    if all(not is_word(word) for word in folded) and not _SENTENCE_START.search(before):
        yield Found(start, end, "PERSON", 0.5, "name_list")


_SENTENCE_START = re.compile(r"(?:^|[.!?:\n>*\"“•(-])\s*$")


def _opens(text: str, token: tuple[int, int, str]) -> bool:
    """Whether a capitalised word is only the first of its sentence, or a word of courtesy."""
    word = fold(token[2].rstrip("."))
    if word in (
        "hi",
        "hey",
        "hello",
        "dear",
        "thanks",
        "regards",
        "best",
        "mr",
        "mrs",
        "ms",
        "dr",
        "i",
        "im",
        "i'm",
        "the",
        "my",
        "a",
    ):
        return True
    return is_common(word) and (
        bool(_SENTENCE_START.search(text, max(0, token[0] - 4), token[0])) or (word in EVERYDAY and len(word) < 4)
    )


def _name_end(text: str, start: int, end: int) -> int:
    """Where a person's name ends in a run: before common words that follow it."""
    tokens = list(_TOKEN.finditer(text, start, end))
    while len(tokens) > 1:
        word = fold(tokens[-1][0].rstrip("."))
        capital = tokens[-1][0][0].isupper()
        if capital and (
            len(word) == 1 or not is_common(word) or word in last_names() or (len(tokens) == 2 and not is_plain(word))
        ):
            break
        tokens.pop()
    if not tokens:
        return end
    last = tokens[-1]
    return last.end() - (last[0].endswith(".") and len(last[0]) > 2)


def _flat(text: str, start: int, end: int, lower: bool) -> Iterator[Found]:
    """Names in a line whose capitals say nothing: by word lists alone.

    In small letters a given name amid other words is masked only with a family name or a cue: it may be any word, and
    "thank you alex" to the agent is in every second chat.
    """
    tokens = [(match.start(), match.end(), fold(match[0].rstrip("."))) for match in _TOKEN.finditer(text, start, end)]
    i = 0
    while i < len(tokens):
        name = tokens[i][2]
        i += 1
        for length in (3, 2, 1):
            part = tokens[i - 1 : i - 1 + length]
            if len(part) == length and " ".join(word for _, _, word in part) in countries():
                yield Found(part[0][0], part[-1][1], "LOCATION", 0.55, "place")
                i += length - 1
                break
        else:
            known = is_given_name(name) and (name in first_names("en") or not is_word(name))
            known = known and not _is_date(text, (*tokens[i - 1][:2], name)) and name not in _SHORT
            cue = _STRONG_CUE.search(text, max(start, tokens[i - 1][0] - 40), tokens[i - 1][0]) is not None
            if not known and not (cue and not is_common(name) and len(name) > 1):
                continue
            first, last = tokens[i - 1][0], tokens[i - 1][1]
            while i < len(tokens) and text[last : tokens[i][0]].strip(" .") == "" and _follows(tokens[i][2]):
                last = tokens[i][1] - (text[tokens[i][1] - 1] == ".")
                i += 1
            alone = " " not in text[first:last]
            if (
                lower
                and alone
                and len(tokens) > 2
                and not cue
                and not _PERSON_AFTER.search(text[last : last + 40])
                and not _PERSON_CUE_LOWER.search(text, max(start, first - 30), first)
            ):
                continue
            yield Found(first, last, "PERSON", 0.6, "name_list" if known else "name_cue")


def _follows(word: str) -> bool:
    """Whether a word after a given name belongs to the name."""
    return (
        (len(word) == 1 and word.isalpha() and word not in "ai")
        or (word in last_names() and not is_common(word))
        or is_given_name(word)
        or (len(word) > 2 and not is_word(word))
    )


# --- what the words around say against a name

_DETERMINED = re.compile(
    rf"\b(?:the|an?|my|our|your|this|that|these|those|another|new)[ ]({_CAP}(?:[ ]{_CAP}){{0,3}})[ ]([^\W\d_]{{3,}})",
    re.IGNORECASE,
)
_HEADED = re.compile(rf"(?:^|[:\n] ?)({_CAP}(?:[ ]{_CAP}){{0,3}})[ ]([a-z-]{{3,}})(?:[ ]([a-z-]{{3,}}))?(?=[\n:,.]|$)")


@lru_cache(256)
def things(text: str) -> frozenset[str]:
    """First words of what a text uses like a product: "the Aurora label printer", "Aurora label printer: broken"."""
    found = set()
    for match in _DETERMINED.finditer(text):
        head, noun = match[1].split()[0], match[2]
        if (
            head[0].isupper()
            and (noun.islower() or match[0].isupper())
            and is_noun(fold(noun))
            and fold(noun) not in _RELATIVES
        ):
            found.add(fold(head))
    for match in _HEADED.finditer(text):
        if all(is_noun(fold(word)) for word in (match[2], match[3] or match[2])):
            found.add(fold(match[1].split()[0]))
    return frozenset(found)


_RELATIVES = frozenset(
    [
        "family",
        "household",
        "account",
        "accounts",
        "estate",
        "office",
        "team",
        "brothers",
        "sisters",
        "group",
        "company",
        "bank",
        "street",
        "road",
    ]
)


def accept(text: str, found: Found) -> Found | None:
    """What an English NER model found, trimmed to the name, or None where it can't be what the model says.

    The small models take product names, order numbers and shouted words for people and companies.
    """
    line = text.find("\n", found.start, found.end)
    if line > found.start:
        found = found._replace(end=line)  # the models take the start of the next line along
    tokens = [(match.start(), match.end(), match[0]) for match in _TOKEN.finditer(text, found.start, found.end)]
    digits = re.search(r"\d", text[found.start : found.end])
    if digits and (
        found.kind != "ORGANIZATION" or re.search(r"[A-Z]+[ -]?[A-Z\d-]*\d{3}", text[found.start : found.end])
    ):
        return None
    while tokens and ((tokens[0][2][0].islower() and is_common(fold(tokens[0][2]))) or fold(tokens[0][2]) == "the"):
        tokens.pop(0)
    if found.kind == "PERSON" and tokens:
        while tokens and _opens(text, tokens[0]):
            tokens.pop(0)
        if tokens:
            end = _name_end(text, tokens[0][0], tokens[-1][1])
            tokens = [token for token in tokens if token[0] < end]
    while tokens and tokens[-1][2][0].islower() and is_common(fold(tokens[-1][2])):
        tokens.pop()
    if not tokens:
        return None
    folded = [fold(token.rstrip(".")) for _, _, token in tokens]
    folded = [word.removesuffix("'s") for word in folded]
    start, end = tokens[0][0], max(tokens[-1][1], found.end if found.kind == "ORGANIZATION" else 0)
    before, after = text[max(0, start - 60) : start], text[end : end + 60]
    common = all(is_common(word) for word in folded)
    if folded[0] in things(text) and not _TITLED.search(before + text[start:end]):
        return None
    if len(folded) == 1 and not is_word(folded[0]) and not is_given_name(folded[0]) and is_misspelt(folded[0]):
        return None
    if found.kind == "PERSON" and ((common and not _STRONG_CUE.search(before)) or text[start].islower()):
        return None
    if found.kind == "ORGANIZATION" and not (
        _ORG_CUE.search(before)
        or _ORG_AFTER.search(after)
        or _ORG.search(text[start:end])
        or (any(not is_word(word) for word in folded) and not (len(folded) == 1 and len(folded[0]) < 5))
        or (len(folded) > 2 and not text[start:end].isupper())
    ):
        return None
    town = " ".join(folded) in towns()
    if found.kind != "PERSON" and town and (_IN.search(before) or _in_country(after)) and text[start].isupper():
        return found._replace(start=start, end=end, kind="LOCATION")
    if found.kind == "LOCATION" and town and not is_plain(folded[0]) and not _SENTENCE_START.search(before):
        return found._replace(start=start, end=end)
    if found.kind == "LOCATION" and common and " ".join(folded) not in places() and not _PLACE_CUE.search(before):
        return None
    if found.kind == "NRP" and (common or text[start].islower()):
        return None
    return found._replace(start=start, end=end)


def truecase(text: str) -> str:
    """Lines in capitals as one would write them, so that NER can read them; of the same length."""
    pieces, at = [], 0
    for start, end, case in _lines(text):
        if case == "upper":
            line = re.sub(
                r"[^\W\d_]+",
                lambda word: word[0].lower() if is_word(fold(word[0])) else word[0].capitalize(),
                text[start:end],
            )
            if len(line) == end - start:
                pieces += [text[at:start], line]
                at = end
    return "".join([*pieces, text[at:]])
