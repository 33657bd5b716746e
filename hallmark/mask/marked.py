"""Values that their own form or the words before them give away: plates, postcodes, handles, coordinates, codes of doors.

What scores below 0.45 is unsure, and masked at mask.level all only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from hallmark.mask.dates import EVENT_DATE
from hallmark.mask.lexicon import any_of, first_names, fold, is_common, is_plain, is_stop, is_word, towns, word_list
from hallmark.mask.name_cues import is_destination
from hallmark.mask.people import is_login
from hallmark.mask.prefilter import Filtered, compiled
from hallmark.mask.rules import Form, Found, formed

_SURE, _LIKELY, _UNSURE = 0.87, 0.6, 0.3
# door code 4482#, memorable word bluebell
_CODE = compiled(
    r"\b(?:(?P<word>memorable word|security answer|secret answer|safe word|first pet(?:'s name)?|first (?:school|car)|(?:mother's )?maiden name\)?)|(?:door|gate|entry|alarm|(?:key ?)?safe|(?:pad)?lock(?:box)?|key ?box|intercom|garage|2fa|sms|recovery|activation|telephone|"
    r"auth(?:ori[sz]ation)?|one[- ]time|access|unlock|verification|security|wi-?fi)[ ](?:code|password|key|pin|passcode))"
    r"(?:[ ](?:is|was|given|used|set to|for (?:the |my )?\w+))?(?:[ ]is)?[ ]?[:=]?[ ]?[\"'“]?(?P<value>(?:\d{3}[ -]\d{3}(?!\d))|[^\s,;\"'”<>]{3,40})",
    re.IGNORECASE,
)
# "user rosa_k", "posted by night_owl77"; and, of names: "user xmendez", "edited by pwilliams", "shipped for zoe_k99"
_USER = compiled(
    r"(?<![\w.@/-])(?:(?P<sure>(?:[Uu]ser|USER)(?:[ _-]?(?:[Nn]ame|NAME|[Ii][Dd]))?|[Ll]og-?in|[Oo]wner|[Aa]uthor|[Rr]eporter|[Aa]ssignee|[Uu]id|UID|[Nn]ick(?:name)?|[Gg]amer ?tag|"
    r"(?:[Ll]ogged|[Ss]igned)[ -]in as|(?:[Pp]osted|[Uu]ploaded|[Ss]ubmitted|[Cc]ommented|[Oo]pened|[Rr]eported|[Cc]ommitted|[Cc]ommit) by|[Uu]ser ?name for [a-z ]{3,20})|"
    r"[Uu]nlock|[Bb]lock|[Bb]an|[Ss]uspend|[Rr]eset|[Ii]nvite|[Nn]otify|[Rr]emove|[Cc]ontact|[Aa]ccount|[Pp]rofile|[Hh]andle|[Ss]creen name|[Aa]lias|goes by|"
    r"(?:[Uu]sed|[Cc]reated|[Ee]dited|[Aa]pproved|[Cc]laimed|[Aa]ssigned|[Ss]hared|[Ss]hipped|[Ss]ent|[Oo]wned|[Mm]ade|[Ww]ritten|[Bb]ooked|[Pp]aid|[Rr]eserved) (?:by|for|to)|"
    r"(?:[Rr]eply|[Mm]essage|[Ss]ession|[Oo]rder|[Rr]equest|[Cc]omment|[Pp]ost|[Tt]icket|[Cc]all|[Mm]ail) (?:by|for|from|of))"
    r"(?:[ ]?[:=][ ]?|[ ](?P<said>is[ ])?)(?P<value>[a-z][\w.-]{2,31}\w)(?![\w@/(])"
)
_WROTE = compiled(r"[ ](?:wrote|said|says|posted|replied|commented|reported|asked|answered|uploaded)(?![\w'’])")
_LOGIN = re.compile(r"(?<![\w.@/-])[a-z][a-z._-]{3,30}\d{0,4}$")
_OWN = re.compile(r"\b(?:[Mm]y|[Hh]is|[Hh]er)[ ]$")
_GOES_ON = re.compile(r"[ ](?:[a-z]+ing|to|by|not|for)\b|[^\s.,;!?]")
_HANDLE = compiled(r"(?<![\w.@/])@[A-Za-z_][\w.]{1,29}\w(?![\w@(/-])")
_HANDLE_CUE = re.compile(
    r"\b(?:tweets?|posts?|blogs?|telegram|insta(?:gram)?|twitter|tiktok|slack|discord|snap(?:chat)?|mastodon|handle|ig|venmo|cash ?app|follow|username|user|known)"
    r"[^\n.!?@]{0,20}$",
    re.IGNORECASE,
)
_NICK = compiled(
    r"^[\[(<]?\d{1,2}:\d\d(?::\d\d)?[\])>]?[ ]+<?(?P<name>[a-z](?=[a-z]*[._\d-])[\w.-]{1,30}\w)>?[:>]", re.MULTILINE
)
_PLATE_CUE = compiled(rf"(?<![^\W_])(?:{any_of(word_list('words/plate_cues.txt'))})(?![^\W_])", re.IGNORECASE)
_TO_PLATE = re.compile(r"[ ]?(?:[(:#]|(?:no|nr|number|is|was|with|est|ist|es|è|lautet|mark)\b[.:]?|[ ]){0,4}[ ]?")
_PLATE = re.compile(r"(?=[A-ZÄÖÜ -]{0,6}\d)(?=[\d -]{0,6}[A-ZÄÖÜ])[A-ZÄÖÜ\d]{1,4}(?:[ ·-]?[A-Z\d]{1,4}){1,3}(?![\w-])")
# Two degrees with three places or more: a point on a map.
_POINT = compiled(
    r"(?=[-+\d])(?<![\w.,-])(?<!\d[,;] )(?P<first>[-+]?[1-9]?\d\.\d{3,})[ ]?[,; /][ ]?(?:(?i:lo?ng?(?:itude)?)[ :=]{1,3})?(?P<second>[-+]?(?:1[0-7]\d|[1-9]?\d)\.\d{3,})(?![\w]|[.,;]?[ ]?[-+]?\d)"
)
_POINT_CUE = re.compile(r"(?i)\b(?:gps|[ck]oord[ei]n\w+|coordonnées|lat(?:itude)?|position|location)\b[^\n\d]{0,24}$")
_FORMS: list[Form] = [
    ("ACCOUNT", _LIKELY, compiled(r"[A-Z](?<![\w-].)[A-Z]\d\d[ ]?[A-Z]{3}(?![\w-])")),  # plates: Great Britain,
    ("ACCOUNT", _LIKELY, compiled(r"[A-HJ-NP-TV-Z](?<![\w-].)[A-HJ-NP-TV-Z]-\d{3}-[A-HJ-NP-TV-Z]{2}(?![\w-])")),  # France,
    ("ACCOUNT", _LIKELY, compiled(r"[A-Z](?<![\w-].)[A-Z][ -]?\d{1,2}[ -]?[A-Z]{1,2}[ -]?\d{4}(?![\w-])")),  # India,
    ("ACCOUNT", 0.5, compiled(r"[A-ZÄÖÜ](?<![\w-].)(?<!D(?=IN)|I(?=SO))[A-ZÄÖÜ]{0,2}-[A-Z]{1,2}[ ]\d{2,4}(?![\w-])")),  # Germany
    ("ACCOUNT", 0.9, compiled(r"\d(?<![\w:].)\d?:\d\d-[a-z]{2}-\d{3,6}(?:-[A-Z]{1,4}){0,3}(?![\w-])")),  # US docket
    ("NATIONAL_ID", _SURE, compiled(r"\d(?<!\w.)\d[A-Z]{5}\d{4}[A-Z][1-9A-Z]Z[A-Z\d](?!\w)")),  # Indian GSTIN
    ("ZIP_CODE", 0.7, compiled(r"[A-Z](?<![\w-].)[A-Z]?\d[A-Z\d]?[ ]\d[ABD-HJLNP-UW-Z]{2}(?![\w-])")),  # Great Britain
    ("ZIP_CODE", 0.7, compiled(r"[ABCEGHJ-NPR-TV-Z](?<![\w-].)\d[A-Z][ -]\d[A-Z]\d(?![\w-])")),  # Canada
    ("ZIP_CODE", 0.7, compiled(r"[AC-FHKNPRTV-Y](?<![\w-].)(?:\d{2}|(?<=D)6W)[ ](?=[A-Z]*\d)(?=\d*[A-Z])[0-9AC-FHKNPRTV-Y]{4}(?![\w-])")),  # Ireland
    ("CREDIT_CARD", 0.7, compiled(r"(?:(?:[*•][*•][*•]{2}|(?<!\w)[xX][xX][xX]{2})[ -]?){1,3}\d{4}(?!\w)|[*•xX][*•xX][*•xX]{4,10}\d{4}(?!\w)")),
    ("LOCATION", 0.985, compiled(  # degrees with minutes or directions
        r"\d(?:(?<!\w\d)\d{0,2}[°º](?:[ ]?\d{1,2}(?:\.\d+)?['′](?:[ ]?\d{1,2}(?:\.\d+)?(?:[\"″]|''))?|\.\d+[°º]?)?[ ]?[NS][,;]?[ ]{0,2}"
        r"\d{1,3}(?:\.\d+)?[°º]?(?:[ ]?\d{1,2}(?:\.\d+)?['′](?:[ ]?\d{1,2}(?:\.\d+)?(?:[\"″]|''))?)?[ ]?[EWO](?!\w)"
        r"|(?<![\w.]\d)\d?\.\d{2,}[°º]?[ ]?[NS][,;]?[ ]{0,2}\d{1,3}\.\d{2,}[°º]?[ ]?[EWO](?!\w))")),
    ("PASSPORT", 0.99, compiled(  # the machine-readable zone of a passport or an identity card (ICAO 9303)
        r"(?<![\w<])(?=[A-Z0-9<]{0,46}(?:\s[A-Z0-9<]{0,46}){0,2}<<)[ACIPV][A-Z<][A-Z<]{3}[A-Z0-9<]{23,41}(?:\s{1,2}[A-Z0-9<]{26,46}){0,2}(?![\w<])")),
    ("ACCOUNT", _LIKELY, compiled(r"(?<![\w-])(?:DESKTOP|LAPTOP|MACBOOK|WIN|PC)-(?=[A-Z]*\d)[A-Z\d]{5,15}(?![\w-])")),  # names that systems give
    ("ACCOUNT", 0.7, compiled(  # a booking's letters: "PNR: LWQHTN"
        r"\b(?i:pnr|record locator|(?:booking|reservation|confirmation)[ ](?:code|ref(?:erence)?|number|no\.?))(?:[ ](?:is|was))?[ ]?[:#]?[ ]{0,2}(?=[A-Z]*(?:\d|[B-DF-HJ-NP-TV-Z]{3}))(?P<v>[A-Z\d]{6})(?![\w-])")),
    ("ACCOUNT", _LIKELY, compiled(r"(?<![\w-])S/?N[ ]?[ :#-][ ]?(?=[A-Z-]*\d)[A-Z\d][A-Z\d-]{4,20}(?![\w-])")),
    ("SECRET", 0.5, compiled(r"\d(?<![\w#.,/-]\d)\d{3,5}#(?!\w)")),  # keyed in at a door
    ("SECRET", 0.7, compiled(r"(?<!\w)(?:tok|sess|sid)_(?=[A-Za-z]*\d)[A-Za-z0-9]{8,}(?!\w)")),
    ("ACCOUNT", 0.7, compiled(r"(?<!\w)(?:cus|cust|acct|usr|sub|ch|pi|pm)_(?=[A-Za-z]*\d)[A-Za-z0-9]{6,}(?!\w)")),
    ("ACCOUNT", _UNSURE, compiled(r"[#A-Z\d](?<![\w/.-].)(?:(?<=#)(?=[A-Z/-]*\d)[A-Z\d]{1,8}|(?<=\d|[A-Z](?=[A-Z/-]*\d))[A-Z\d]{0,7})(?:[-/][A-Z\d]{1,10}){1,4}(?![\w/-])")),
    ("ACCOUNT", _UNSURE, compiled(r"[A-Z\d](?<![\w/.-].)(?<=\d(?=\d*[A-Z])|[A-Z](?=[A-Z]*\d))[A-Z\d]{4,19}(?![\w/-])")),
    ("ACCOUNT", _UNSURE, compiled(r"[A-Z\d](?<![\w/.,-].)(?:(?<=[A-Z])[A-Z]{0,3}[ ]\d{2,}|(?<=\d)\d+)(?:[ ]\d{2,}){0,4}(?<=\d{4})(?![\w/-]|[.,]\d)")),
]  # fmt: skip
_STREET_WORD = r"(?:Road|Street|Lane|Avenue|Close|Drive|Crescent|Terrace|Court|Way|Place|Gardens|Grove|Row|Hill|Mews|Square|Park|Rd|St|Ave|Ln|Dr|Ct)\b\.?"
# "Flat 9, Tudor Court", "Rose Cottage, Mill Lane", "B-42, Sector 19", "Maliebaan 71" before a postcode
_HOUSES = compiled(
    rf"(?=[A-Z])(?:(?<![\w-])(?:Flat|Apartment|Apt\.?|Unit|Plot|Suite|House|Block|Villa)[ ](?:no\.?[ ])?\d+[A-Z]?,?[ ](?:\d+[A-Za-z]?,?[ ])?(?:[A-Z][\w'’-]{{1,40}}[ ]){{1,3}}{_STREET_WORD}"
    r"|[A-Z](?<![\w-].)[\w'’-]{1,40}(?:[ ][A-Z][\w'’-]{1,40})?[ ](?:Cottage|House|Farm|Lodge|Villa|Barn|Manor|Hall)(?:,[ ][A-Z][\w'’-]{1,40}(?:[ ][A-Z][\w'’-]{1,40}){0,2}){1,3},?[ ][A-Z]{1,2}\d[A-Z\d]?[ ]\d[A-Z]{2}(?!\w)"
    rf"|[A-Z](?<![\w-].)[\w'’-]{{1,40}}(?:[ ][A-Z][\w'’-]{{1,40}})?[ ](?:Cottage|House|Farm|Lodge|Villa|Barn|Manor),[ ](?:\d+[ ])?(?:[A-Z][\w'’-]{{1,40}}[ ]){{1,3}}{_STREET_WORD}"
    r"|(?:(?<= in )|(?<= on )|(?<= at )|(?<= to ))(?:[A-Z][\w'’-]{1,40}[ ]){1,2}(?:Road|Street|Lane|Close|Avenue|Drive|Crescent|Terrace|Mews)(?=[,.;!?)\n]|$|[ ](?:and|since|with|where|near|when|last|but|today|yesterday)\b)"
    rf"|(?:(?<=lives on )|(?<=lived on )|(?<=live on )|(?<=missing from )|(?<=home on )|(?<=home in )|(?<=house on )|(?<=house in ))(?:[A-Z][\w'’-]{{1,40}}[ ]){{1,3}}{_STREET_WORD}"
    r"|[A-Z](?<![\w-].)[^\W\d_]+(?:-[A-Z][^\W\d_]+){0,3}(?:[ ][A-Z][^\W\d_]+){0,2}[ ]\d{1,4}[ ]?[a-zA-Z]?(?=,?[ \n](?:\d{4}[ ]?[A-Z]{2},?|\d{5})[ ][A-Z'’][a-z]))"
)
# The town after a street: "23 Ballymore Terrace, Cork, ..."
_STREET_TOWN = compiled(
    rf"[A-Z](?<![\w-].)[\w'’-]{{1,40}}[ ](?:[A-Z][\w'’-]{{1,40}}[ ]){{0,2}}{_STREET_WORD},[ ](?P<town>[A-Z][\w'’-]{{1,40}}(?:[ ][A-Z][\w'’-]{{1,40}}){{0,2}})(?=[,.;\n]|$|[ ][A-Z]{{1,2}}\d)"
)
# "Terrence Oakes Jr.", 'Zbigniew "Zbig" Kowal', "HOLLOWAY v STANHOPE"
_WHOLE_NAME = compiled(
    r"[A-Z](?<![\w-].)[\w'’-]{1,40}(?:[ ][A-Z]\.)?[ ][A-Z][\w'’-]{1,40},?[ ](?:Jr\.?|Sr\.)(?!\w)"
    r"|(?P<last>[A-Z](?<![\w-].)[\w'’-]{1,40},[ ][A-Z][a-z]+(?:[ ][A-Z]\.?)?(?=[ \t]*(?:$|[\n;|)]))|[A-Z]{3,20}/[A-Z]{3,20}(?=[ ](?:MR|MRS|MS|MISS)\b))"
    r"|[^\W\d_a-z](?<![\w-].)[\w'’-]{1,40}[ ][\"“'(][^\W\d_a-z][\w'’-]{1,40}[\"”')][ ][^\W\d_a-z][\w'’-]{1,40}"
)
# What was asked for in the turn before: the last digits of a number.
_LAST_FOUR = compiled(
    r"\blast (?:four|4)\b(?P<what>[^\n]{0,60})\n[^\n:]{0,24}:?[ ]{0,2}(?P<value>\d{4})(?!\w)", re.IGNORECASE
)
# "67000 Strasbourg", "7010 Trondheim", "3581 CG Utrecht", "Victoria 3220"
_CODE_TOWN = compiled(
    r"(?=[A-Z\d])(?<![\w.,/-])(?P<code>(?:[A-Z]{1,2}-)?(?:\d{5}|\d{4}(?:[ ]?[A-Z]{2})?|\d{3}[ ]\d\d|\d\d-\d{3}|\d{4}-\d{3}))(?:(?<=[A-Z]),)?[ ]"
    r"(?P<town>[^\W\d_a-zß-öø-ÿ][^\W\d_]+(?:['’ -][^\W\d_a-zß-öø-ÿ][^\W\d_]+){0,2})"
)
# "in South Kopan", "from Fort Bell": one place, not a side of the sky and a person
_SIDE = compiled(
    r"(?<![^\W_])(?:in|from|near|at|to|of|left|visited|(?P<the>the|our|your|their))[ ](?P<place>(?:North|South|East|West|Port|Lake|Saint|St\.|San|Santa|Mount|Fort|New)[ ][A-Z][\w'’-]*[a-z])(?(the)(?=[ ](?:branch|office|store|depot|warehouse|campus|clinic)\b)|(?![\w-]|['’]s|[ ][A-Z]))"
)
_STATES = "NSW|VIC|QLD|TAS|ACT|New South Wales|Victoria|Queensland|Tasmania|South Australia|Western Australia"
_REGION = compiled(rf"(?<!\w)(?:{_STATES})(?=,?[ ]\d{{4}}(?![\w.,]\w))")
_REGION_CODE = compiled(rf"(?<!\w)(?:{_STATES}),?[ ](?P<code>\d{{4}})(?![\w.,]\w)")


def marked(text: str) -> Iterator[Found]:
    """The values, of any kind."""
    for pattern, finder in _FINDERS:
        for match in pattern.finditer(text):
            yield from finder(text, match)
    yield from formed(text, _FORMS)


def _point(text: str, match: re.Match[str]) -> Iterator[Found]:
    listed = text[match.start() - 1 : match.start()] == "[" and text[match.end() : match.end() + 1] == "]"
    precise = min(len(match["first"]), len(match["second"])) > 6
    cued = not precise and _POINT_CUE.search(text, max(0, match.start() - 40), match.start())
    if (listed or precise or cued) and max(abs(float(match[name])) for name in ("first", "second")) > 1:
        for name in ("first", "second") if listed else (0,):
            yield Found(*match.span(name), "LOCATION", 0.985, "form")


def _code(text: str, match: re.Match[str]) -> Iterator[Found]:
    value = match["value"].rstrip(".:?)")
    if any(map(str.isdigit, value)) or (match["word"] and len(value) > 2 and not is_stop(fold(value))):
        yield Found(match.start("value"), match.start("value") + len(value), "SECRET", _SURE, "code_cue")


def _user(text: str, match: re.Match[str]) -> Iterator[Found]:
    value = match["value"]
    sure = match["sure"] and re.search(r"[\d_]|\.\w", value)
    own = match["said"] and _OWN.search(text, max(0, match.start() - 5), match.start())
    said = own and not (_GOES_ON.match(text, match.end()) or is_plain(value) or is_stop(value))
    if sure or said or is_login(value):
        yield Found(*match.span("value"), "USERNAME", 0.72, "key")


def _writer(text: str, match: re.Match[str]) -> Iterator[Found]:
    login = _LOGIN.search(text, max(0, match.start() - 40), match.start())
    if login and is_login(login[0]):
        yield Found(*login.span(), "USERNAME", 0.72, "key")


def _handle(text: str, match: re.Match[str]) -> Iterator[Found]:
    cued = _HANDLE_CUE.search(text, max(0, match.start() - 40), match.start())
    personal = re.search(r"[\d_]", match[0][1:])
    yield Found(*match.span(), "USERNAME", 0.7 if cued else _LIKELY if personal else 0.4, "handle")


def _plate(text: str, match: re.Match[str]) -> Iterator[Found]:
    gap = _TO_PLATE.match(text, match.end())
    plate = _PLATE.match(text, gap.end()) if gap else None
    if plate and 4 < sum(map(str.isalnum, plate[0])) < 10:
        yield Found(*plate.span(), "ACCOUNT", _SURE, "plate")


def _last_four(text: str, match: re.Match[str]) -> Iterator[Found]:
    kind = "CREDIT_CARD" if "card" in match["what"].lower() else "ACCOUNT"
    kind = "US_SSN" if re.search(r"(?i)social|ssn", match["what"]) else kind
    yield Found(*match.span("value"), kind, _SURE, "last_digits")


def _code_town(text: str, match: re.Match[str]) -> Iterator[Found]:
    code, words = match["code"], re.split(r"(?<=[ ])", match["town"])
    name = next((name for count in (3, 2, 1) if fold(name := "".join(words[:count]).rstrip()) in towns()), None)
    led = text[max(0, match.start() - 2) : match.start()] in ("", ", ") or text[match.start() - 1] == "\n"
    name = name or (words[0].rstrip() if code[-1].isalpha() else None)  # "5269 IA Hellum"
    if name is None or (len(code) == 4 and (not led or code[:2] in ("19", "20"))):
        return
    yield Found(*match.span("code"), "ZIP_CODE", _LIKELY, "code_town")
    yield Found(match.start("town"), match.start("town") + len(name), "LOCATION", _LIKELY, "code_town")


def _side(text: str, match: re.Match[str]) -> Iterator[Found]:
    word = fold(match["place"].split()[1])
    before, after = text[max(0, match.start("place") - 60) : match.start("place")], text[match.end() : match.end() + 20]
    other = is_word(word) and (is_common(word) if match["the"] else word not in first_names())
    if not (other or is_destination(before, after, country=False)):
        yield Found(*match.span("place"), "LOCATION", 0.9, "place_cue")


def _whole_name(text: str, match: re.Match[str]) -> Iterator[Found]:
    first, last = [*map(fold, re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", match[0])), ""][:2]
    turned = "/" in match[0] or (last in first_names("en") and not (is_plain(first) or first in towns()))
    if turned if match["last"] else first in first_names():
        yield Found(*match.span(), "PERSON", 0.73, "whole_name")


_FORMS += [
    ("USERNAME", 0.72, _NICK),
    ("DATE_TIME", 0.55, EVENT_DATE),
    ("STREET_ADDRESS", 0.76, _HOUSES),
    ("LOCATION", 0.5, _STREET_TOWN),
    ("LOCATION", _LIKELY, _REGION),
    ("ZIP_CODE", _LIKELY, _REGION_CODE),
]
_FINDERS: list[tuple[Filtered, Callable[[str, re.Match[str]], Iterator[Found]]]] = [
    (_CODE, _code),
    (_USER, _user),
    (_WROTE, _writer),
    (_POINT, _point),
    (_HANDLE, _handle),
    (_PLATE_CUE, _plate),
    (_LAST_FOUR, _last_four),
    (_CODE_TOWN, _code_town),
    (_SIDE, _side),
    (_WHOLE_NAME, _whole_name),
]
