"""Recognizers of private values by format and by cue words: plain regular expressions over a view, no model.

Each finder takes the text of a `View` and yields `Found`. Scores only rank: if two overlap, the higher one keeps its span.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from stdnum import ean

from hallmark.mask.dates import AND_AGE, NO_AGE_AFTER, age_spans, is_moment, moments
from hallmark.mask.lexicon import fold, is_common
from hallmark.mask.plain_view import BASE64, decoded
from hallmark.mask.prefilter import Filtered, compiled


class Found(NamedTuple):
    """A private span: `start` to `end` in characters, its kind, a score from 0 to 1, and the recognizer that found it."""

    start: int
    end: int
    kind: str
    score: float
    recognizer: str


Finder = Callable[[str], Iterator[Found]]
Form = tuple[
    str, float, Filtered
]  # a kind, its score, and an expression of its values: what it matches, or its last group


def formed(text: str, forms: Iterable[Form], recognizer: str = "form") -> Iterator[Found]:
    """The values that expressions alone find."""
    for kind, score, form in forms:
        for match in form.finditer(text):
            yield Found(*match.span(match.lastgroup or 0), kind, score, recognizer)


DIGIT = compiled(r"\d")
_TLD = (
    "com|net|org|info|biz|io|dev|app|ai|co|me|tv|eu|us|uk|de|at|ch|fr|be|nl|lu|it|es|pt|pl|cz|sk|hu|ro|bg|gr|cy|si|hr|rs|ee|"
    "lv|lt|fi|se|no|dk|is|ie|ru|ua|tr|il|in|cn|jp|kr|au|nz|ca|mx|br|ar|cl|uy|za|ng|ke|eg|ma|tn|edu|gov|mil|int|xyz|online|"
    "shop|store|site|cloud|tech"
)
_EMAIL = compiled(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}+@(?:\[[\d.:a-fA-F]+\]|(?=[\d.]*[^\W\d])[\w-]+(?:\.[\w-]+)*)")
_MAILERS = r"(?:g[ ]?mail|hot[ ]?mail|yahoo|outlook|icloud|proton(?:mail)?|rediffmail|gmx|aol)"
_SPOKEN_EMAILS = [
    compiled(form, re.IGNORECASE)
    for form in (
        r"\b[\w.+-]++[ ]*+(?:\(at\)|\[at\]|\{at\}|<at>)[ ]*[\w-]+(?:[ ]*(?:\(dot\)|\[dot\]|\{dot\}|<dot>|\.|[ ]dot[ ])[ ]*[a-z]{2,12}){1,3}\b",
        r"\b[\w.+-]++[ ]at[ ][\w-]+(?:[ ]dot[ ][a-z]{2,12}){1,3}\b",
        rf"\b[\w.+-]+(?:[ ]\d+)?[ ]?(?:@|\bat\b)?[ ]?\b{_MAILERS}[ ]?(?:\.|dot|[ ])?[ ]?(?:com|co[ ]?uk|co[ ]?in|net|org|de|fr)\b",
        r"\b[\w.+-]++[ ]?@[ ]?[\w-]+[ ]?\.[ ]?(?:com|net|org|de|fr|io|co\.uk)\b",
    )
]
_URL = compiled(
    rf"(?:(?:https?|ftp|sftp|ssh)://|www\.)[^\s<>\"']+|(?<![@\w.-])(?:[a-z0-9-]++\.)+(?:{_TLD})(?:/[^\s<>\"']*)?(?![\w@]|\.\w)",
    re.IGNORECASE,
)
# Python's `re` looks for a first character much faster than for what stands before it.
_IP4 = compiled(r"(?!127\.|0\.0\.0\.0)\d(?<![\w.]\d)\d{0,2}\.(?:\d{1,3}\.){2}\d{1,3}(?:/\d{1,2})?(?![\w]|\.\d)")
_IP6 = compiled(r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?:%\w+)?(?:/\d{1,3})?(?![\w:])", re.IGNORECASE)
_MAC = compiled(
    r"(?<![\w:-])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![\w:-])|(?<![\w.])(?=[\d.]*[a-f])(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}(?![\w.])",
    re.IGNORECASE,
)
_IBAN = compiled(r"(?<![a-z0-9])[a-z]{2}\d\d(?:[ -]?[a-z0-9]){11,36}", re.IGNORECASE)
_NUMBERS = compiled(r"\d(?<![\w.]\d)(?:[ -]{0,2}\d){11,}(?!\w)")
_PRINTED_CARD = compiled(
    r"\d(?<![^\W_]\d)(?<!\d[._/,-]\d)\d{3}(?:(?P<odd>_|[^\w\n]{1,3})\d{4}(?P=odd)\d{4}(?P=odd)\d{4}|(?P<other>_|[^\w\n]{1,3})\d{6}(?P=other)\d{4,5}"
    r"|(?:[ -]\d{4}){0,2}[ -]?\r?\n\d{4}(?:[ -]\d{4}){0,2})(?![^\W_]|[._/,-]\d)"
)
_SSN = compiled(r"\d(?<![\w-]\d)\d\d-\d\d-\d{4}(?![\w-])")
_SECRET = compiled(
    r"\b(?:A(?:KI|SI)A[A-Z0-9]{12,}|gh[a-z]_\w{20,}|github_pat_\w+|glpat-[\w-]+|xox[a-z]-[\w-]+|AIza[\w-]{20,}"
    r"|(?:sk|pk|rk|whsec)[-_](?:live_|test_|proj-|ant-)?[\w-]{16,}|hf_\w{20,}|npm_\w{20,}|pypi-[\w-]{20,}|SG\.[\w-]+\.[\w-]+"
    r"|ey[JK][\w-]{6,}\.[\w-]+\.[\w-]*|(?:(?<=Bearer )|(?<=Basic ))(?=[\w.~+/-]*(?:\d|=))[\w.~+/-]{8,}={0,2})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_CRYPTO = compiled(r"\b(?:bc1[ac-hj-np-z02-9]{25,59}|[13][1-9A-HJ-NP-Za-km-z]{25,34}|0x[0-9a-fA-F]{40})\b")

_STRUCTURED = [
    ("email", "EMAIL_ADDRESS", 0.99, _EMAIL),
    ("ip", "IP_ADDRESS", 0.95, _IP4),
    ("ssn", "US_SSN", 0.95, _SSN),
    ("secret", "SECRET", 0.97, _SECRET),
    ("crypto", "CRYPTO", 0.9, _CRYPTO),
    *(("spoken_email", "EMAIL_ADDRESS", 0.9, spoken) for spoken in _SPOKEN_EMAILS),
]


def structured(text: str) -> Iterator[Found]:
    """Values that can be recognized by their format alone."""
    for name, kind, score, pattern in _STRUCTURED:
        for match in pattern.finditer(text):
            yield Found(*match.span(), kind, score, name)
    # What a text must hold for these to find anything; to look for that is much faster.
    for match in _MAC.finditer(text) if text.count(":") + text.count("-") > 4 or text.count(".") > 1 else ():
        yield Found(*match.span(), "MAC_ADDRESS", 0.95, "mac")
    for match in _URL.finditer(text) if "." in text or "://" in text else ():
        trimmed = match[0].rstrip(".,;:!?)]}'")
        yield Found(match.start(), match.start() + len(trimmed), "URL", 0.995 if "@" in trimmed else 0.93, "url")
    for match in _IP6.finditer(text) if ":" in text else ():
        if match[0].count(":") >= 4 or ("::" in match[0].strip(":") and len(match[0]) > 4):
            yield Found(*match.span(), "IP_ADDRESS", 0.94, "ip")
    for match in BASE64.finditer(text):
        inside = decoded(match[0])
        if inside and (email := _EMAIL.search(inside)) and "." in email[0].rpartition("@")[2]:
            yield Found(*match.span(), "EMAIL_ADDRESS", 0.96, "base64_email")
        elif inside and (numbers := [*ibans(inside), *cards(inside), *international(inside)]):
            yield Found(*match.span(), numbers[0].kind, 0.96, "base64")
    yield from ibans(text)
    yield from cards(text)


def ibans(text: str) -> Iterator[Found]:
    """IBANs, with or without spaces: the longest prefix of a candidate with correct check digits."""
    for match in _IBAN.finditer(text):
        value = match[0]
        for end in range(len(value), 14, -1):
            cut = text[match.start() + end : match.start() + end + 1].isalnum()  # "... 07 by Fr|iday"
            if value[end - 1].isalnum() and not cut and iban_ok(re.sub(r"[ -]", "", value[:end])):
                yield Found(match.start(), match.start() + end, "IBAN_CODE", 0.98, "iban")
                break


def cards(text: str) -> Iterator[Found]:
    """Payment cards: whole groups of digits that form an issuer's number with a correct check digit, and no bar code.

    Cards of 13 digits have not been issued for decades, and those of 12 are rare, while every other article has such a number.
    """
    for match in _NUMBERS.finditer(text):
        groups = [(group.start(), group.end()) for group in re.finditer(r"\d+", match[0])]
        digits = [match[0][start:end] for start, end in groups]
        first = 0
        while first < len(groups):
            number, longest = "", first
            for last in range(first, len(groups)):
                number += digits[last]
                if len(number) > 19:
                    break
                if len(number) >= 12 and card_ok(number) and not _is_other(digits[first : last + 1]):
                    longest = last + 1
            if longest > first:
                low, high = match.start() + groups[first][0], match.start() + groups[longest - 1][1]
                yield Found(low, high, "CREDIT_CARD", 0.98, "card")
                first = longest - 1
            first += 1
    for match in _PRINTED_CARD.finditer(text):
        if card_ok(re.sub(r"\D", "", match[0])):
            yield Found(*match.span(), "CREDIT_CARD", 0.98, "printed_card")


# --- check digits, read generously, so that a number of an unlisted country or issuer is masked too; the second check has its own

_ISSUER = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12,15}|35\d{14}|(?:2131|1800)\d{11}|(?:50|5[6-9]|6\d)\d{10,17}"
)
# 15 to 34 characters (ISO 13616), at least ten of them digits: words after a code such as "RM12" are no account.
_IBAN_FORM = re.compile(r"(?=(?:[A-Z]*\d){12})[A-Z]{2}\d\d[A-Z0-9]{11,30}", re.ASCII)


def luhn(digits: str) -> bool:
    """Whether the check digit of a card number is correct (ISO/IEC 7812-1)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def card_ok(digits: str) -> bool:
    """Whether the digits are a payment card number: issuer range, length and check digit all fit."""
    return bool(_ISSUER.fullmatch(digits)) and len(set(digits)) > 1 and luhn(digits)


def iban_ok(iban: str) -> bool:
    """Whether form and check digits are those of an IBAN without spaces, of any country (ISO 13616, mod 97).

    If the country is listed, its length counts, too: of the many beginnings of a long run of words and numbers, one in 97 fits.
    """
    from stdnum import iban as listed
    from stdnum import numdb

    iban = iban.upper()
    if not _IBAN_FORM.fullmatch(iban):
        return False
    if int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97 != 1:
        return False
    return "bban" not in numdb.get("iban").info(iban)[0][1] or listed.is_valid(iban, check_country=False)


# --- telephone numbers

_PHONE = compiled(
    r"(?=[+(\d])(?<!\d)(?<![\d,/.-][.,/+-])(?<![^\W\d_][./+-])(?<!_)(?:\+|00)?\(?\d{1,5}\)?(?:[ ./-]{0,2}\(?\d{1,5}\)?){1,6}(?:\s?(?:x|ext\.?|extension)\s?\d{1,6})?"
    r"(?![\d_]|[^\W\d_]{1,2}(?![^\W_])|[^\W\d_]+\d|[.,/-]\d)",
    re.IGNORECASE,
)
_PHONE_CUE = re.compile(
    r"\b(?:phone|tel(?:ephone|efon)?|tfno|tlf|mobile?|cell(?:phone|ular)?|fax|call(?:ed|ing)?|ring|dial|text|sms|whatsapp|desk|direct|"
    r"number|reach|contact|handy|nummer|telef(?:oon|ono|one)|celular|telem[oó]vel|gsm|(?:zur[uü]ck|an)?(?:ge)?ruf(?:e|en|t)?|erreich(?:bar|en|t)|(?:terug)?bel(?:len|t)?|"
    r"bereik(?:baar|en)|r?app?el(?:e|ez|er)|joindre|joignable|(?:ri)?chiam\w*|ll[aá]m\w*|lig(?:a|ar|ue|uem)|contat\w+|"
    r"t[eé]l[eé]phone|t[eé]l|tel[eé]fono|m[oó]vil|portable|cellulare|rufnummer|answering)\b[^\n\d]{0,40}\n?\W{0,6}$"
    r"|(?<![^\W_])(?:phone|tel|mob|fax|hp|t|m)$",
    re.IGNORECASE,
)
_DATE_LIKE = re.compile(
    r"(?:19|20)\d\d[ ./-]\d{1,2}[ ./-]\d{1,2}|\d{1,2}[ ./-]\d{1,2}[ ./-](?:19|20)?\d\d|(?:19|20)\d\d ?[/-] ?(?:19|20)\d\d"
)
_PRICES = re.compile(r"(?:\d{1,5} )?\d{1,5}\.\d\d(?: \d{1,5}\.\d\d)+(?: \d{1,5})?")
_PHONE_FORM = re.compile(
    r"(?:\+|00(?=[1-9]))[\d ().\-/]{8,}"  # international
    r"|(?:1[ .-])?\(?\d{3}\)?[ .-]?\d{3}[.-]\d{4}"  # North America
    r"|\(\d{2,5}\)[ -]?\d{3,4}[ -]?\d{3,4}"
    r"|0\d{1,4}[ /-]\d{2,4}(?:[ -]?\d{2,4}){1,3}"  # a trunk zero, then groups
    r"|0[1-9]\d{8,9}"
    r"|0\d(?P<gap>[ .-])\d\d(?:(?P=gap)\d\d){3}"
    r"|\d{2}(?:-\d{2}){3}|\d{3} \d{3} \d{3,4}|\d{3}-\d{4}|\d{2} \d{3} \d{3}",
)


_EXTENSION = compiled(
    r"(?<![\w.])(?:ext\.?|extension|extensión|durchwahl|toestel|ramal|interno)(?:[ ](?:is|no\.?|nr\.?|number))?[ :#]{1,3}(?P<n>\d{3,6})(?![\w%]|[.,]\d)",
    re.IGNORECASE,
)


def phones(text: str) -> Iterator[Found]:
    """Telephone numbers: digits grouped as in some country, or seven to fifteen digits after a cue. No date is one."""
    yield from formed(text, [("PHONE_NUMBER", 0.7, _EXTENSION)], "extension")
    for match in _PHONE.finditer(text):
        value = match[0]
        start = match.start()
        if value.count("(") != value.count(")"):
            trimmed = value.rstrip(")") if value.count(")") > value.count("(") else value.lstrip("(")
            start += value.find(trimmed)
            value = trimmed
        number = re.split(r"\s?(?:x|ext)", value, maxsplit=1, flags=re.IGNORECASE)[0]
        digits = len(re.findall(r"\d", number))
        if not 7 <= digits <= 15 or _DATE_LIKE.fullmatch(number) or _PRICES.fullmatch(number):
            continue
        cued = _PHONE_CUE.search(text, max(0, start - 60), start)
        if not cued and text[start - 1 : start].isalpha() and value[0] != "+":
            continue
        if not cued and not _PHONE_FORM.fullmatch(number):
            continue
        if is_moment(text, start, start + len(value)):
            continue
        if not cued and number.startswith("00") and number.isdigit() and (is_bar_code(number) or not _dialled(number)):
            continue
        yield Found(
            start, start + len(value), "PHONE_NUMBER", 1.0 if value[0] == "+" else 0.85 if cued else 0.8, "phone"
        )


def _is_other(groups: list[str]) -> bool:
    """Whether digits that could be a card's are a bar code or, by how they are grouped, the number of an order."""
    if len(groups) == 1:
        return is_bar_code(groups[0])
    return any(7 <= len(group) <= 11 for group in groups)


def _dialled(number: str) -> bool:
    """Whether a number that starts with 00 and has no groups is a telephone number of some country."""
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(f"+{number[2:]}"))
    except phonenumbers.NumberParseException:
        return False


def is_bar_code(digits: str) -> bool:
    """Whether 12 to 14 digits are the number of an article (GTIN) by their check digit."""
    return digits.isdigit() and 12 <= len(digits) <= 14 and bool(ean.is_valid(digits))


def international(text: str) -> Iterator[Found]:
    """Telephone numbers that start with a plus."""
    return (found for found in phones(text) if text[found.start] == "+")


# --- values announced by the words before them

_CUES: list[tuple[str, str, str]] = [
    (
        "SECRET",
        r"pass\s?words?|pass\s?code|pass(?=(?:\s?[:=]|\s(?:is|was))\s?(?:[\"'`]|(?=\S*\d)\d*[^\W\d]))|passwd|pwd?|pw|pass\s?phrase|pin(?: ?code| number)?|otp|secret|api[ _-]?key|access[ _-]?key|"
        r"(?:access |auth |bearer )?token|security code|verification code|access code|code ?word|cvv2?|cvc|identified by|kennwort|passwort|mot de passe|contrase[nñ]a",
        r"(?=\S*[\w])[^\s,;\"'<>]{3,64}",
    ),
    (
        "SECRET",
        r"wachtwoord|toegangscode|zugangscode|senha|palavra[- ]passe|clave(?: de acceso)?|code secret|codice segreto|parola d['’]ordine",
        r"(?=\S*(?:\d|[^\w\s.,]\w))[^\s,;\"'<>]{3,64}|(?<=: )[^\s,;\"'<>]{3,64}",
    ),
    (
        "USERNAME",
        r"user\s?-?name|user\s?id|login(?: name| id)?|screen name|benutzername|nickname|handle|(?:sign(?:ed)?|log(?:ged)?)[ -]?(?:in|on) as|"
        r"registered as|account(?: name| of)?|benutzer(?:kennung)?|anmeldename|gebruikers(?:naam|id)|nome utente|(?:nome de )?usu[aá]rio|nom d['’]utilisateur|"
        r"utilisateur|identifiant|(?:nombre de )?usuario|(?:instagram|telegram|skype|snapchat|tiktok|twitter)(?=[ :]+\S*[^\W\d])",
        r"(?=[\w.@+-]*[\d._@])[\w.@+-]{2,39}\w|(?<=: )[a-z][\w.-]{2,39}",
    ),
    (
        "ZIP_CODE",
        r"zip(?: ?code)?|post ?code|postal code|plz",
        r"(?=[a-z]*\d)[a-z0-9]{2,6}(?:[ -](?=[a-z]*\d)[a-z0-9]{2,4}|[ ][a-z]{2}\b)?",
    ),
]
_QUOTED = r"(?:(?!(?P=quote))[^\n]){3,64}"
_CUE = [
    (
        kind,
        compiled(
            rf"\b(?:{cue})(?!\w)(?:['’]s\b)?(?:\s+(?:(?P<whose>(?:for|to|of|on)(?:[ ]\w+){{1,3}}[ ])?(?:is|was)|=|are|to|for|of|(?P<foreign>ist|war|lautet|est|était|es|era|è|é))\b)?\s*[:=#-]*\s*"
            rf"(?:[>(*]{{0,2}}\s?(?P<quote>[\"'`]|\*\*)(?!\s*[:,\]}}])(?P<quoted>{_QUOTED if kind == 'SECRET' else value})(?P=quote)|(?P<bare>{value}))(?!['’]?\w)",
            re.IGNORECASE,
        ),
    )
    for kind, cue, value in _CUES
]
_NAMED = ("pass", "pw", "pin", "kenn", "mot", "contra")  # not "Unexpected token 'else'"
SCORE_QUOTED = 0.985  # what is in quotes is the value, whatever else is in it
_NOT_VALUES = re.compile(
    r"(?:reset|change[ds]?|is|was|to|for|and|or|the|my|your|a|an|has|have|not|no|does|doesn't|page|field|link|expired?|wrong|"
    r"please|number|issue|again|incorrect|in|on|at|of|with|that|this|it|can|could|will|would|should|must|from|by|so|as|but|"
    r"problem|protected|manager|policy|required|works?|working|recovery|forgotten|null|none|true|false|optional|undefined|request(?:ed)?|update[ds]?)",
    re.IGNORECASE,
)


_NEXT_PARAMETER = re.compile(r"&(?=[\w.-]{1,40}=)")  # of a query string
_WHOSE = re.compile(r"\s(?:of|for)\s+$", re.IGNORECASE)
_PATH = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)+[\[(]?")
_NAME = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*['’]?")
_OF_PROSE = frozenset(("the", "at", "must", "should", "shall", "cannot", "your", "this", "that"))


def is_prose(value: str) -> bool:
    """Whether a value tells about a secret ("must be at least 8 characters") and is none, as a passphrase may be."""
    if " " not in value or re.search(r"\d{3}|[^\W\d]\d|\d[^\W\d]", value):
        return False
    words = [fold(word) for word in re.findall(r"[^\W\d_]+", value)]
    return 2 < len(words) < 12 and not _OF_PROSE.isdisjoint(words) and all(map(is_common, words))


_CUE_AFTER = compiled(
    r"(?:(?P<quote>[\"'`])(?P<quoted>(?:(?!(?P=quote))[^\n]){3,64})(?P=quote)|(?<!\S)(?P<bare>(?=\S*\d)[^\s\"'`]{3,64}))\s(?:is|was)\s"
    r"(?:my|the|his|her|our|your|their)\s(?:\w+\s)?(?:pass(?:word|code|phrase)?|pin(?: code)?|api[ -]?key)(?!\w)",
    re.IGNORECASE,
)


def cued(text: str) -> Iterator[Found]:
    """Values next to a cue: "password: ...", "the PIN '4711'", "'4711' is the PIN"."""
    yield from formed(text, [("SECRET", SCORE_QUOTED, _CUE_AFTER)], "cue")
    for kind, pattern in _CUE:
        for match in pattern.finditer(text):
            start = match.start("quoted" if match["quote"] else "bare")
            value = match["quoted"] or match["bare"].rstrip(".?):" if kind == "SECRET" else ".!?):")
            if text[match.start() - 1 : match.start()] in ("?", "&"):
                value = _NEXT_PARAMETER.split(value)[0]
            named = match["quote"] and match[0].lower().startswith(_NAMED)
            sure = named or match[0][: start - match.start()].rstrip()[-1:] in ":=#"
            if not value or _NOT_VALUES.fullmatch(value) or (match["quote"] and is_prose(value)):
                continue
            code = (value[0] in ".([" and text[start - 1].isalnum()) or (
                text[start - 2 : start] == "= " and _PATH.fullmatch(value)
            )
            if code and not match["quote"]:
                continue  # "password.length", "token = os.environ["
            if (match["foreign"] or match["whose"]) and not match["quote"] and value.isalpha():
                continue  # "das Passwort ist falsch", "the secret to success is work"
            if not match["quote"] and _WHOSE.search(text, match.start(), start) and _NAME.fullmatch(value):
                continue  # "the password of Rosa Miller"
            if kind in ("SECRET", "USERNAME") and is_common(fold(value)) and not (sure and kind == "SECRET"):
                continue  # "the password expired", "login code"
            yield Found(start, start + len(value), kind, SCORE_QUOTED if match["quote"] else 0.75, "cue")


# --- dates and ages


def dates(text: str, before: int | None) -> Iterator[Found]:
    """Dates of birth by cue, and any date with a year before `before`; with None, every date and time."""
    for moment in moments(text, before is None):
        if moment.birth:
            yield Found(moment.start, moment.end, "DATE_OF_BIRTH", 0.9, "birth")
        elif before is None or 100 < moment.year < before:
            yield Found(moment.start, moment.end, "DATE_TIME", 0.6 if moment.full else 0.5, "date")


def ages(text: str) -> Iterator[Found]:
    """Ages of people, by the words around the number."""
    for start, end in age_spans(text):
        if not NO_AGE_AFTER.match(text, end):
            yield Found(start, end, "AGE", 0.7, "age")
            if more := AND_AGE.match(text, end):
                yield Found(*more.span("n"), "AGE", 0.7, "age")
