"""Street addresses in the formats of many countries: find a core (street and number), then extend it.

The core needs a street word ("Street", "rue", "-gatan"), or a house number where an address is expected. It is extended
over unit, postcode, city, state and country, on the same line and the following ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hallmark.mask.dates import DATE
from hallmark.mask.lexicon import (
    any_of,
    countries,
    fold,
    is_common,
    is_family_name,
    is_given_name,
    last_names,
    towns,
    word_list,
)
from hallmark.mask.prefilter import compiled
from hallmark.mask.rules import DIGIT, Found

_UP = r"[^\W\d_a-zà-öø-ÿ]"
_LITTLE = r"(?:van|von|der|den|de|del|della|dei|di|da|do|dos|das|du|des|la|le|les|el|los|las|y|e|na|pod|nad|u|i|of|en|auf|am|im)"
_CAPS = rf"(?:{_LITTLE}[ ]){{0,2}}{_UP}[^\W\d_]*(?:['’.-]+[^\W\d_]+)*\.?"
_NO = r"\d{1,5}(?:[ ]?(?:[a-zA-Z]|bis|ter)(?!\w))?(?:[-/]\d{1,4}[a-zA-Z]?)?"
_FIRST_NO = r"\d(?<![\w.,-]\d)" + _NO.replace("{1,5}", "{0,4}")  # no part of a longer one
_AFTER = (  # separate street words that come last
    r"(?:streets?|str|st|avenue|ave|av|road|rd|lane|ln|boulevard|blvd|highway|hwy|parkway|pkwy|crescent|cres|alley|mews|"
    r"crossroads?|turnpike|expressway|freeway|bypass|esplanade|plaza|quay|wharf|"
    r"utca|útja|út|u|tér|tere|körút|köz|sor|tee|tänav|mnt|pst|gatv[eė]|iela|sokak|caddesi|allé|vej|gade|plads|vei|veg|gate|plass|"
    r"terrasse|väg|gata|gränd|katu|tie|polku|kuja|laan|weg|straat|plein|gracht|straße|strasse|platz|allee|gasse|ring|damm|chaussee)\b\.?"
)
_NAMED_WORDS = (  # words with other uses too: only after a capital
    r"Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Terr?|Way|Circle|Cir|Close|Trail|Trl|Loop|Row|Walk|Grove|Hills?|Gardens?|Park|Ridge|"
    r"View|Crossing|Route|Heights|Estates?|Villas?|Station|Point|Path|Pass|Green|Rise|End|Nagar|Marg|Chowk|Ganj|Colony|Vihar|Enclave|Layout"
)
_AFTER_NAME = rf"(?:{_NAMED_WORDS})\b\.?"
_BEFORE = (  # street words that come first
    r"(?:rue|avenue|av|ave|boulevard|bd|bld|all[ée]e|chemin|impasse|sentier|faubourg|via|viale|piazza|"
    r"piazzetta|corso|vicolo|largo|lungomare|contrada|strada|calle|avenida|avda|plaza|paseo|carretera|ctra|camino|ronda|travesía|pasaje|"
    r"cuesta|rambla|carrer|r[úu]a|travessa|praça|alameda|estrada|rodovia|quadra|beco|ladeira|plazuela|glorieta|"
    r"ulica|ulice|aleja|plac|osiedle|náměstí|třída|trg|cesta|bulevardul|jl|jln|jalan|lorong|persiaran|lebuh|lebuhraya|taman|kampung|λεωφόρος|οδός|πλατεία|улица|ул|проспект|(?:ul|al|pl|os|nám|tř|bul|пр|пер|cl)(?=\.))\b\.?"
)
_COMPOUND = (  # words with the ending of a street name
    r"[^\W\d_]{3,}(?:stra(?:ss|ß)e|strase|str\.|gasse|weg|platz|allee|damm|ufer|steig|gade|vej|vangen|vænget|stræde|vegen|veien|gata|gatan|"
    r"gaten|vägen|gränd|stigen|katu|tie|polku|kuja|straat|laan|plein|kade|gracht|dijk|singel|dreef|hove|wei|tänav|götu|vegur|stígur|"
    r"stræti|braut|tunet|bakken|haugen|lia|backen|torget|torg|ínova|ova|ská|ského|ní|utca|poort|pad|markt)"
)
_WORDS = rf"{_CAPS}(?:[ ]{_CAPS}){{0,3}}"
_ANYWORDS = r"[^\W\d_]+(?:['’.-]+[^\W\d_]+)*\.?(?:[ ][^\W\d_]+(?:['’.-]+[^\W\d_]+)*\.?){0,3}"

# After a street name that comes before its number: "22", ", nº 5, 3ºB", "s/n", "km 12,500".
_THEN_NO = (
    rf"(?:[ ]?,?[ ](?:n[.º°o]{{0,2}}[ ]?|núm\.?[ ]?)?{_NO}(?![\w-])|,{_NO}(?![\w-])|,?[ ]s/n(?!\w)\.?|,?[ ]km\.?[ ]?\d[\d.,]*(?<=\d))"
    r"(?:[ ]?[,.-]?[ ]?-?[ ]?\d{1,2}(?:[ ]?[ºª°](?:[ ]?-?[ ]?(?:[A-Z](?!\w)|piso|planta|izq\w*|dcha?\w*|pta))?|[ ]?-?[A-Z](?!\w)|(?=[ ]?(?:[.\n]|$)))(?![.,]\d)){0,2}"
)
_DOOR = r"(?i:flat|apartment|apt\.?|studio|suite)[ ]?(?!\d+(?:st|nd|rd|th)\b)\d{1,5}[a-zA-Z]?(?![\w-])"
_STARTS = rf"(?=[\dfasFAS])(?<![\w.,/-])(?=\d|{_DOOR})"
# Words of a place without a full stop between them, where the next sentence would begin.
_PLACE_WORD = rf"(?:{_LITTLE}[ ]){{0,2}}(?:(?:St|Ste|Mt|Ft)\.|{_UP}[^\W\d_]*(?:['’-]+[^\W\d_]+)*)"
_PLACE = rf"{_PLACE_WORD}(?:[ ]{_PLACE_WORD}){{0,3}}"
# A postcode that is no year.
_POSTED = r"(?:(?!(?:19|20)\d\d(?!\d))\d{4,6}(?:-\d{3,4})?|[A-Z]{1,2}\d[\dA-Z]?[ ]?\d[A-Z]{2}|[A-Z]\d[A-Z][ ]?\d[A-Z]\d)(?![\w-])"
_LESS = any_of(word_list("words/street_ends.txt"))
_CORES = [
    # 12 Elm Street; 370 3911 Fourth Avenue
    compiled(
        rf"{_FIRST_NO},?[ ](?:{_NO},?[ ])?(?:[NSEW]{{1,2}}\.?[ ])?(?:\d+(?:st|nd|rd|th)|{_ANYWORDS}?)[ ]{_AFTER}(?![\w-])",
        re.IGNORECASE,
    ),
    compiled(rf"{_FIRST_NO},?[ ](?:{_NO},?[ ])?(?:[NSEW]{{1,2}}\.?[ ])?{_WORDS}[ ](?:{_AFTER_NAME})(?![\w-])"),
    compiled(
        rf"{_FIRST_NO},?[ ](?!(?:at|for|from|with)[ ])(?:(?:[a-z'-]+[ ]){{1,3}}(?:(?:{_NAMED_WORDS.lower()})\b\.?)(?=[ ]?(?:,|\n|apt|suite|$))"
        rf"|(?:[A-Z'-]+[ ]){{1,3}}(?:(?:{_NAMED_WORDS.upper()})\b\.?)(?=[ ]?(?:,|\n|APT|SUITE|$)))"
    ),
    # 56 rue La Boétie; Rua Diadema 1903; ul. Północna 73; C/ Mayor, 3, 2ºB; JALAN SAGU 18
    compiled(rf"(?<![\w.])(?:{_NO},?[ ])?(?i:{_BEFORE}|c/|p/|pº|pza\.?)[ ]?(?<=[ ./º]){_WORDS}(?:{_THEN_NO})?"),
    compiled(
        rf"(?<![\w.])(?:{_NO},?[ ])?(?:(?:rue|via|calle|rua|rúa|avenida|avda\.?|piazza|plaza|paseo|carretera|ctra\.?|camino|jalan|jln)[ ]|(?:av|ul)\.[ ]?|c/[ ]?|p/[ ]?|pº[ ]?)"
        rf"{_ANYWORDS}?{_THEN_NO}",
        re.IGNORECASE,
    ),
    # 7 Larkspur Knoll, Weston, QLD, 4870; Flat 81, Larkspur Knoll; 48 Larkspur Knoll Suite 9: whatever a street is called
    compiled(
        rf"{_STARTS}(?:{_DOOR},?[ ])?(?:{_NO},?[ ]){{0,2}}{_PLACE}(?:[ ](?:{_LESS}))?(?:,?[ ]{_DOOR})?(?:,[ ]|\n){_PLACE}(?:,?[ ][A-Z]{{2,3}}(?=[ ,]))?,?[ ]{_POSTED}"
    ),
    compiled(rf"{_STARTS}{_DOOR}(?:,[ ](?:{_NO}[ ])?|[ ]{_NO}[ ]){_PLACE}(?:[ ](?:{_LESS})(?!\w))?"),
    compiled(rf"(?<![^\W_])(?:H\.|(?i:house|door|plot|flat))[ ]?(?i:no)\b\.?[ ]?{_NO},[ ]{_PLACE}"),
    # 14, Sector 9, Chandigarh 160009; 98/32, Gandhi Chowk, Pune-411001
    compiled(
        rf"(?=\d)(?<![\w.,/-])(?:{_NO}),?[ ]{_PLACE}(?:[ ]\d{{1,3}})?(?:,[ ]{_PLACE}){{0,2}},?(?:[ ]|[ ]?-[ ]?)[1-9]\d{{2}}[ ]?\d{{3}}(?![\w-])"
    ),
    compiled(rf"{_STARTS}(?:{_NO}[ ]){{1,2}}{_PLACE},?[ ]{_DOOR}"),
    # Am Markt 3, 89073 Ulm
    compiled(
        rf"(?<![\w.])(?:Am|An de[rnm]|Auf de[rmn]|Im|In de[rn]|Unter den|Zum|Zur|Beim|Hinter de[rm]|Vor de[rm])[ ](?:{_CAPS}[ ]){{1,2}}\d{{1,3}}[ ]?[a-z]?(?=,?\s+\d{{5}}[ ]{_UP})"
    ),
]
_LAST_NO = [
    # Orchard Close 13; Kálmán Imre u. 12.
    re.compile(rf"(?<![\w.])(?:{_WORDS})[ -](?:{_AFTER_NAME}|(?i:{_AFTER}))[ ]{_NO}(?![\w-])\.?"),
    re.compile(
        rf"(?<![\w.])(?:(?!\d)\w[\w'’.-]*[ ]){{1,3}}(?:{_AFTER})[ ]{_NO}(?![\w-])\.?(?=[ ]?(?:,|\n|apt|suite|$))",
        re.IGNORECASE,
    ),
    # Brucker Bundesstrasse 31; Magasinsgatan 7
    re.compile(rf"(?<![\w.])(?:{_NO},?[ ])?(?:{_WORDS}[ ])??{_COMPOUND}[ ]{_NO}(?![\w-])\.?", re.IGNORECASE),
]
# The word before a number that may end a street: these expressions are slow, and only tried around one.
_STREET_WORD = re.compile(rf"(?<![^\W_])(?:{_AFTER_NAME}|(?i:{_AFTER}|{_COMPOUND}))[ ]$")
_NUMBER = compiled(r"\d(?<=[^\W\d_][ ]\d|\.[ ]\d)\d{0,4}")
# 20789 Allika 46; 4923 Parmova 109
# 1180 Lisa Mountains; 26 Rowe fork, Leeds
_LESS_STREET = compiled(
    rf"{_FIRST_NO}[ ](?P<name>{_UP}[^\W\d_]+(?:[ ]{_UP}[^\W\d_]+)?)[ ](?i:{_LESS})(?![\w-])(?P<ends>,|[ ]*(?:\n|$)|[.;])?"
)
_NUMBERED = compiled(
    rf"\d(?<![\w.,:/-]\d)\d{{1,5}}[ ]{_WORDS}[ ]{_NO}(?![\w-])\.?(?![ ]?(?:%|x\b|pcs|units|items|EUR|USD|€|\$))"
)
_BOX = compiled(
    r"(?:\b(?:p\.?[ ]?o\.?[ ]?box|post[ ]?box|postfach|postbus|apartado(?: de correos)?|casilla(?: postal)?|casella postale|c\.p\.|caixa postal|bo[îi]te postale|bp)[ ]?(?:\d{2}(?:[ ]\d\d){1,2}|\d+)"
    r"|\bpsc[ ]\d+,?\s+box[ ]\d+|\bunit[ ]\d+,?\s+box[ ]\d+|\b(?:uss|usns|usnv|usav|uscgc)[ ][\w'’-]+(?=\s+(?:apo|fpo|dpo)\b))"
    r"(?:,?\s+(?:apo|fpo|dpo)[ ]a[aep][ ]\d{5})?|\b(?:apo|fpo|dpo)[ ]a[aep][ ]\d{5}",
    re.IGNORECASE,
)
_CORNER = compiled(
    rf"\b(?:the )?corner of ((?:{_NO} )?[\w'’./-]+(?: [\w'’./-]+){{0,4}}?(?: {_NO})?) (?:and|&) ((?:{_NO} )?(?:{_CAPS}[ ]?){{1,3}}(?:{_NO})?|[\w'’-]+ [\w'’-]+)",
    re.IGNORECASE,
)
_STREET_ALONE = compiled(
    rf"(?<![\w.])((?:{_UP}[\w'’-]+[ ]){{1,3}}(?i:street|road|avenue|lane|boulevard|drive|crescent|terrace|st\.))(?![\w-])"
)
# Where an address is expected, a name and a number make an address ("lives on Hoge Wei 32").
_CUE = re.compile(
    r"\b(?:address(?:es)?(?: (?:is|was|are|:)|:)?|liv(?:es?|ed|ing) (?:on|at|in)|resid(?:es?|ing) (?:on|at)|located (?:at|on)|based at|"
    r"(?:office|restaurant|shop|store|house|hotel|clinic|school|branch|it)(?:'s| is| was) (?:at|on|in)|meet (?:me|you|us|\w+) (?:at|on)|"
    r"(?:taxi|cab|package|parcel|letter|one|it) to|(?:ship|send|deliver|return|move|drive|go|come|sent|shipped|delivered|moved) (?:\w+ ){0,2}to|"
    r"drops? (?:you|me|us) off at|(?:side|corner|end|north|south|east|west) of|enter on|at|near|between|refers to|it is|here they are:?|user:)\s+$",
    re.IGNORECASE,
)
_CUED = re.compile(
    rf"(?:\d{{2,6}}[ ])?(?:{_UP}[\w'’-]+ and )?(?:{_WORDS}|(?:[^\W\d_]{{4,}}[ ]){{0,2}}[^\W\d_]{{4,}})[ ]{_NO}(?![\w%-])(?![.,]\d)\.?(?:[ ]{_AFTER})?"
)
_CUED_NAME = re.compile(rf"(?:\d{{2,6}}[ ])+{_WORDS}(?=\s*(?:[.,\n?!]|$|(?i:suite|apt)))")
UNIT = compiled(
    r"(?:\b(?:suite|ste|apt|apartment|unit|floor|flat|room|rm|building|bldg|apto|appt|piso|wohnung|lägenhet)\b\.?[ ]*#?[ ]*(?:\d[\w-]*|[a-z]\b)|#[ ]?\d+[a-z]?\b)",
    re.IGNORECASE,
)
_ZIP = r"(?:\d{4,5}(?:-\d{3,4})?(?:[ ]?[A-Z]{2}\b)?|\d{3}[ ]\d{2}|\d{2}-\d{3}|[A-Z]{1,2}\d[\dA-Z]?[ ]?\d[A-Z]{2}|[A-Z]\d[A-Z][ ]?\d[A-Z]\d)(?![\w-])"
_BETWEEN = re.compile(r"[ ,]*(?:\n[ \t>?|]*){0,2}[ ,]*")
_NUMBER_BEFORE = re.compile(r"(?<![\w.,/-])(?:\d{2,6}[ ]){1,2}$")
_INTERSECTION = re.compile(
    rf"(?:(?<=\n)|(?<=^)|(?<=at )|(?<=to )|(?<=in )|(?<=: )|(?<=is )|(?<=on ))({_UP}[\w'’-]+ and )$"
)
_CITY = re.compile(rf"(?:{_UP}[\w'’.-]*|[a-zà-ÿ][\w'’-]+)(?:[ -](?:{_UP}[\w'’.()-]*|[a-zà-ÿ][\w'’-]*|\(\w+\))){{0,3}}")
_STATE = re.compile(r"(?:[A-Z]{1,3}|nan)\b(?![.'’-])")
_LOWER_CITY = re.compile(r"(?:[^\W\d_]+[ ]){1,4}?(?=[^\W\d_]+(?:[ \n.,]|$))")
_TWO_SPACES = re.compile("(?<! )  (?! )")
_ENDS = word_list("words/address_ends.txt")
_PARTICLES = word_list("words/town_particles.txt")


def addresses(text: str) -> Iterator[Found]:
    """Street addresses, each as one span with all its parts, however its words are typed: two spaces count as one."""
    if not _TWO_SPACES.search(text):
        yield from _addresses(text)
        return
    places = [place for place in range(len(text)) if not _TWO_SPACES.match(text, place)]
    for found in _addresses("".join(text[place] for place in places)):
        yield found._replace(start=places[found.start], end=places[found.end - 1] + 1)


def _addresses(text: str) -> Iterator[Found]:
    if not DIGIT.may_match(text) and "orner of" not in text and (text.islower() or not _STREET_ALONE.search(text)):
        return
    cores = [_lead(match) for pattern in _CORES for match in pattern.finditer(text) if _is_street(match[0])]
    cores += [match.span() for match in _NUMBERED.finditer(text) if _is_name(match[0])]
    cores += [match.span() for pattern in (_BOX, _CORNER) for match in pattern.finditer(text)]
    for match in _LESS_STREET.finditer(text):
        words = fold(match["name"]).split()
        sure = match["ends"] is not None or match[0][2].isdigit()
        if any(map(is_given_name, words)) or any(map(is_family_name, words)) or (sure and any(map(_may_name, words))):
            cores.append((match.start(), match.end() - len(match["ends"] or "")))
    cores += _last_numbers(text)
    for cue in _CUE_WORDS.finditer(text):
        cued = _CUED.match(text, cue.end()) or _CUED_NAME.match(text, cue.end())
        if cued and _CUE.search(text, max(0, cue.end() - 40), cue.end()) and _is_name(cued[0]):
            cores.append(_lead(cued))
    for match in UNIT.finditer(text):
        cores += _around_unit(text, match)
    first, last = 0, 0  # the address so far: cores inside it or that it runs into are parts of it
    for start, end in sorted(cores, key=lambda core: (core[0], -core[1])):
        if end <= last or any(date.span() == (start, end) for date in DATE.finditer(text, start, end)):
            continue
        start, grown = _grow(text, start, end)
        start, grown = _before(text, start), _to_postcode(text, grown, end)
        if last and start < last:
            last = max(last, grown)
            continue
        if last:
            yield Found(first, last, "STREET_ADDRESS", 0.75, "address")
        first, last = start, grown
    if last:
        yield Found(first, last, "STREET_ADDRESS", 0.75, "address")
    for match in _STREET_ALONE.finditer(text):
        if not is_common(fold(match[1].split()[0])):
            yield Found(*match.span(1), "STREET_ADDRESS", 0.57, "street")


def _may_name(word: str) -> bool:
    """Whether a word can be somebody's whom a street is named after."""
    return word in last_names() or not is_common(word)


def _last_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Streets whose number comes last."""
    done = 0
    for number in _NUMBER.finditer(text):
        start = max(done, number.start() - 100)
        if _STREET_WORD.search(text, max(start, number.start() - 40), number.start()):
            for pattern in _LAST_NO:
                for match in pattern.finditer(text, start, min(len(text), number.end() + 12)):
                    if match.end() >= number.end() and _is_street(match[0]):
                        yield _lead(match)
                        done = match.end()


_CUE_WORDS = re.compile(r"\b(?:at|on|in|to|is|of|are|address|addresses|near|between)\b:?\s+|:\s+", re.IGNORECASE)
_PRODUCTS = re.compile(
    r"\b(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b|\b(?:version|model|order|invoice|ticket|page|step|chapter|section|part|"
    r"item|article|windows|error|code|number|line|room|gate|level|no|nr|ref|case|day|week|year|size|talla|taglia|tamanho|taille|grö(?:ß|ss)e|maat|channel|port|platform|about|under|over|"
    r"than|least|most|only|all|eur|usd|gbp|chf|euros?|dollars?|pounds?|percent|cents?|pieces?|units?|these|those|first|next|last)\b",
    re.IGNORECASE,
)


_LITTLE_BEFORE = re.compile(r"^(?:.*[ ])?(?:at|in|to|on|is|from|near|of|for|the|my|and)[ ](?=\S+[ ]|\d)", re.IGNORECASE)


def _lead(match: re.Match[str]) -> tuple[int, int]:
    """The span of the street without the small words before it ("live at harbour road 132")."""
    if not match[0][0].islower():
        return match.span()
    little = _LITTLE_BEFORE.match(match[0])
    return match.start() + (little.end() if little else 0), match.end()


def _is_street(text: str) -> bool:
    """Whether it is a street, not a date, version, amount or item number that looks like one."""
    return not _PRODUCTS.search(text) or bool(
        re.search(r"(?i)\b(?:street|road|avenue|lane|rue|via|calle|rua|ul\.)", text)
    )


def _is_name(text: str) -> bool:
    """Whether the words before a number can be a street name: not all everyday words, and not a numbered item."""
    words = re.findall(r"[^\W\d_][\w'’-]*", text)
    return _is_street(text) and any(not is_common(fold(word)) for word in words) and not re.search(r"[a-z][A-Z]", text)


def _around_unit(text: str, unit: re.Match[str]) -> Iterator[tuple[int, int]]:
    """A line or phrase before "Apt. 5" is its street; without one, only some unit words count as an address."""
    before = re.search(
        rf"(?:\d{{1,6}}[ ]+)?{_ANYWORDS}[ ]{_NO}[ ,]*\n?[ \t>?|]*$", text[max(0, unit.start() - 80) : unit.start()]
    )
    if before:
        yield max(0, unit.start() - 80) + before.start(), unit.end()
    elif re.match(r"(?i:suite|apt|apartment)", unit[0]):
        yield unit.span()


def _grow(text: str, start: int, end: int) -> tuple[int, int]:
    """Extend the core by house numbers before it and by unit, city, state, postcode and country after it."""
    number = _NUMBER_BEFORE.search(text, max(0, start - 14), start)
    if number:
        start = number.start()
    crossing = _INTERSECTION.search(text, max(0, start - 30), start)
    if crossing:
        start = crossing.start(1)
    sure = end  # end of the certain part; a city counts once something after it confirms it, or it ends the line
    at, guesses = end, 0
    # "92, rue Pires, 25652" ends with its code
    coded = digits = re.search(r"^\d.*, \d{4,5}$", text[start:end]) is not None
    for _ in range(8):
        gap = _BETWEEN.match(text, at)
        here = gap.end() if gap else at
        broke = "\n" in text[at:here]
        unit = UNIT.match(text, here)
        if unit:
            at = sure = unit.end()
            continue
        code = re.match(_ZIP, text[here : here + 12])
        if code:
            at = sure = here + code.end()
            coded, digits = True, code[0][:4].isdigit()
            continue
        country = _country(text, here)
        if country:
            at = sure = country
            continue
        state = _STATE.match(text, here)
        if state and (at > end or "," in text[at:here]) and state[0] != "I" and fold(state[0]) not in _ENDS:
            at = state.end()
            guesses += 1
            if len(state[0]) > 1 or text[at : at + 1] in ("", "\n", ".", "?", ","):
                sure = at
            continue
        if text[start:at].islower():
            words = _LOWER_CITY.match(text, here)
            ending = words and _country(text, words.end())
            if ending:
                at = sure = ending
                continue
        city = _CITY.match(text, here) if guesses < 3 and (here > at) else None
        if not city or not _may_be_city(text, at, here, city, broke):
            break
        stop = _city_end(text, here, city.end())
        if stop <= here:
            break
        guesses += 1
        at = stop
        town = _listed(text, here, at, towns())
        if coded and not broke and not text[here].islower():  # a postcode, then a name
            coded = False
            at = sure = at if digits else max(town, here + len(re.split(r"[ ,]", text[here:at])[0]))
            continue
        if town and town < at:
            at = sure = town
            continue
        if (
            town
            or (not broke and text[at : at + 1] in ("", "\n", ".", "?", "!"))
            or (
                broke
                and re.match(rf"[ ]*(?:$|\n[ \t>?|]*(?:$|\n|,|{_ZIP}|{_UP}))", text[at:])
                and len(text[here:at].split()) <= 4
                and UNIT.search(text, start, end + 40)
            )
        ):
            sure = at
    return start, sure


_HOUSE = re.compile(
    r"(?<![^\W_])(?:(?i:(?:(?:house|door|flat|h\.)[ ]?no|plot|no|nr|lot|unit|blk|block|blok|level|suite)\b[.:]?[ ]?(?:[A-Z0-9][\w-]{0,8}(?:[ ]?[,&/-][ ]?\d{1,4}[A-Z]?|[ ]\d{1,4}[A-Z]?){0,4})?)"
    r"|(?i:(?:ground|first|second|third|\d{1,2}(?:st|nd|rd|th)) floor)|[A-Z]{1,2}\d?(?:-[A-Z0-9]{1,4}){1,2}|\d{1,4}(?:[ ]?[&-][ ]?\d{1,4})?(?=,))"
    r"[ ]?[,.&]?[ ]?\n?[ ]?$"
)
_POSTCODE = re.compile(rf"(?<![\d.])(?:[A-Z]{{1,2}}-)?\d{{5}}(?!\d)[,.-]{{0,2}}[ ]{{0,2}}\n?(?={_UP})")
_TOWN = re.compile(rf"{_UP}{{2,}}(?:[ ]{_UP}{{2,}}){{0,3}}(?![^\W_])|{_CAPS}(?:[ ]{_CAPS}){{0,3}}")
_WORDS_OF_COUNTRY = re.compile(r"[^\W\d_][\w'’.-]*(?:[ ](?:\(\w+\)|[^\W\d_][\w'’.-]*)){0,3}")
_REGION = re.compile(
    rf"[ ]?[,.]{{1,2}}[ ]?\n?[ ]?{_UP}{{3,}}(?:[ ]{_UP}{{3,}}){{0,2}}(?![^\W_:])|[.,]?[ ]\({_UP}[^\W\d_]+\)"
)
FAR = 120  # characters from a street to the postcode of its address


def _before(text: str, start: int) -> int:
    """The start with the house, unit and floor before a street: "UNIT G-13, GROUND FLOOR, NO.1"."""
    for _ in range(3):
        house = _HOUSE.search(text, max(0, start - 40), start)
        if not house or house.start() == start:
            break
        start = house.start()
    return start


def _to_postcode(text: str, end: int, core: int) -> int:
    """The end with the parts up to a postcode and its town, over line ends, if a postcode follows."""
    code = _POSTCODE.search(text, core, core + FAR)
    if not code:
        return end
    between = text[core : code.start()]
    words = between.split()
    if ":" in between or between.count("\n") > 4 or _PRODUCTS.search(between) or len(words) > 16:
        return end
    if any(word[0].islower() and fold(word) not in _PARTICLES for word in words):
        return end
    town = _TOWN.match(text, code.end(), code.end() + 60)
    if not town:
        return end
    stop = _city_end(text, code.end(), town.end())
    if stop <= code.end():
        return end
    region = _REGION.match(text, stop)
    if region and not _ENDS.intersection(fold(region[0]).split()):
        stop = region.end()
    return max(end, stop)


def _listed(text: str, start: int, end: int, names: frozenset[str]) -> int:
    """The end of the longest of the names that starts at `start`; 0 if there is none."""
    name = text[start:end]
    while name:
        if fold(name.rstrip(".")) in names or fold(re.sub(r" \(\w+\)$", "", name)) in names:
            return start + len(name.rstrip("."))
        name = name.rpartition(" ")[0]
    return 0


def _country(text: str, at: int) -> int:
    """The end of the country name at `at`; 0 if there is none."""
    words = _WORDS_OF_COUNTRY.match(text, at, at + 60)
    return _listed(text, *words.span(), countries()) if words else 0


def _may_be_city(text: str, at: int, here: int, city: re.Match[str], broke: bool) -> bool:
    first = fold(city[0].split()[0].rstrip("."))
    if first in _ENDS or text[city.end() : city.end() + 1] == ":":
        return False
    if city[0][0].islower():  # all lower case: only after a comma or on a line of its own, before a postcode or the end
        return (broke or "," in text[at:here]) and text[max(0, at - 20) : at].islower()
    return True


def _city_end(text: str, start: int, end: int) -> int:
    """Cut a run of words where the sentence continues."""
    lower = text[start].islower()
    at = start
    for word in re.finditer(r"\S+", text[start:end]):
        plain = fold(word[0].strip(".,()"))
        if at > start and text[at - 1] == "." and at - start > 4:
            break
        if plain in _ENDS or (not lower and word[0][0].islower() and plain not in _PARTICLES):
            break
        at = start + word.end()
    if at and text[at - 1 : at] == "." and at > start:
        at -= 1
    return at
