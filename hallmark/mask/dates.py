"""Dates, times and ages in texts in English, Spanish, German, French and Italian: where they stand, and in what year.

`rules.py` makes findings of them, and no other finder takes what is a date or a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from hallmark.mask.date_values import month_names
from hallmark.mask.lexicon import any_of, fold, is_family_name, is_given_name, is_word, word_list
from hallmark.mask.prefilter import compiled

_MONTH = rf"(?:{any_of(month_names())})(?![^\W\d_])\.?"
_DAY = r"(?:[12]\d|3[01]|0?[1-9])"
_CLOCK = r"(?:[01]?\d|2[0-4])[:.][0-5]\d(?:[:.][0-5]\d(?:[.,]\d{1,6})?)?"
_AT = r"(?:(?:T|,?[ ])[ ]?(?:at |a las |um |à |alle )?(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d(?:[.,]\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?(?:[ ]?[ap]\.?m\b\.?)?)?"
_OF = r"(?:,?[ ](?:of |de |del |di |d'|vom )?)"
# A day of a year, with its time if one follows.
DATE = compiled(
    r"(?<![^\W_])(?<!\d[./,:-])(?:"
    rf"(?P<y1>\d{{4}})(?P<s1>[-/.])(?:1[0-2]|0?[1-9])(?P=s1){_DAY}{_AT}"
    rf"|(?:1[0-2]|0?[1-9])(?P<s2>[ ]?[-/.][ ]?){_DAY}(?P=s2)(?P<y2>(?:1[5-9]|20)\d\d|\d\d){_AT}"
    rf"|{_DAY}(?P<s3>[ ]?[-/.][ ]?)(?:1[0-2]|0?[1-9])(?P=s3)(?P<y3>(?:1[5-9]|20)\d\d|\d\d){_AT}"
    rf"|{_DAY}(?:st|nd|rd|th|er|º|°|\.)?{_OF}?{_MONTH}{_OF}(?P<y4>(?:1[5-9]|20)\d\d){_AT}"
    rf"|{_DAY}(?P<s4>[-/.]){_MONTH}(?P=s4)(?P<y5>(?:1[5-9]|20)\d\d|\d\d){_AT}"
    rf"|{_MONTH}[ ]{_DAY}(?:st|nd|rd|th)?,?[ ](?P<y6>(?:1[5-9]|20)\d\d){_AT}"
    r")(?![^\W_]|[/-]\d|\.\d)",
    re.IGNORECASE,
)
_YEAR_CUE = (
    r"in|since|from|of|until|till|to|by|before|after|during|between|circa|a|the|year|en|de|desde|hasta|del|año|entre|seit|bis|ab|von|nach|vor|"
    r"jahr|jahre|depuis|avant|après|jusqu'en|année|nel|dal|al|fino al|anno|early|late|mid"
)
_YEAR = compiled(r"[12](?<![^\W_].)(?<!\d[.,/:-].)(?:(?<=1)[5-9]|(?<=2)0)\d\d(?![^\W_]|[.,:/-]\d)")
_MONTH_BEFORE = re.compile(rf"(?<![^\W_]){_MONTH}{_OF}$", re.IGNORECASE)
_CUE_BEFORE = re.compile(rf"(?<![^\W_])(?:(?:{_YEAR_CUE})[ ]|(?:early|late|mid)-)$", re.IGNORECASE)
_AMOUNT = re.compile(
    r"[ ]?(?:%|€|\$|(?:eur|usd|gbp|euro|dollar|pound|unit|piece|item|x\b|(?:[kmcµ]?g|mcg|[mc]?l|k?wh?|[kmc]?m|mah|rpm|kcal|hz|[kmg]b|words|people|calories|miles|steps)\b))",
    re.IGNORECASE,
)
_AND = r"(?:[ ]?(?:,|/|–|-)[ ]?|,?[ ](?:and|or|to|y|o|al?|und|oder|bis|et|ou|au|e)[ ](?:del? |the )?)"
_SERIES = re.compile(
    rf"(?<![^\W_])(?<!\d[.,/:-])(?:(?:{_DAY}(?:[ ]{_MONTH})?|{_MONTH}(?:[ ]{_DAY})?){_AND}){{1,4}}$", re.IGNORECASE
)
_MORE_YEARS = re.compile(rf"(?:{_AND}(?:1[89]|20)\d\d(?![^\W_]|[.,:/-]\d)){{1,6}}", re.IGNORECASE)
# What only a search for every date and time finds.
_OTHER = [
    compiled(
        rf"(?<![^\W_])(?:{_DAY}(?:st|nd|rd|th|er|º|°|\.)?{_OF}{_MONTH}|{_MONTH}[ ]{_DAY}(?:st|nd|rd|th)?)(?![^\W_]|[./-]\d)",
        re.IGNORECASE,
    ),
    compiled(rf"(?<![^\W_])(?<!\d[:.,/-]){_CLOCK.replace('[:.]', ':')}(?:[ ]?(?:[ap]\.?m\b\.?|uhr\b|h\b))?(?![^\W_]|[:.]\d)", re.IGNORECASE),
    compiled(rf"(?<![^\W_])(?<!\d[:.,/-])(?:{_CLOCK}|1?\d)[ ]?(?:[ap]\.m\.|[ap]m\b|uhr\b|o'clock\b)", re.IGNORECASE),
    compiled(r"(?<![^\W_])(?:[01]?\d|2[0-3])[ ]?h(?:[ ]?[0-5]\d)?(?![^\W_])"),
    compiled(rf"(?<![^\W_])(?:{any_of(word_list('words/weekdays.txt'))})(?![^\W_])", re.IGNORECASE),
    compiled(r"(?<![^\W_])(?<!\d[.,:/-])(?<![$€£#])(?:1[89]|20)\d\d(?:[-/](?:(?:1[89]|20)?\d\d))?(?:s\b)?(?![^\W_]|[.,:/-]\d|[ ]?[%€$£])"),
]  # fmt: skip
_BIRTH = re.compile(
    rf"(?<![^\W_])(?:{any_of(word_list('words/birth_cues.txt'))})(?![^\W_])[^\n\d]{{0,25}}\n?[^\w\n]{{0,5}}$",
    re.IGNORECASE,
)

# Someone's birthday: a day without its year, or a year or month that no other rule reads.
_BIRTHDAY = compiled(
    rf"(?<![^\W_])(?:{any_of(word_list('words/birth_cues.txt'))})(?![^\W_])[^\n\d]{{0,25}}?\n?[^\w\n]{{0,5}}"
    rf"(?P<date>(?:the )?{_DAY}(?:st|nd|rd|th|er|º|°|\.)?{_OF}{_MONTH}|{_MONTH}[ ](?:the )?{_DAY}(?:st|nd|rd|th)?"
    rf"|{_DAY}[./-](?:1[0-2]|0?[1-9])\.?|(?:1[0-2]|0?[1-9])[./-](?:{_DAY}|(?:1[89]|20)\d\d))(?![^\W_]|[/-]\d|\.\d)",
    re.IGNORECASE,
)
# What happened to a person, and its date, with or without a year.
EVENT_DATE = compiled(
    rf"(?<![^\W_])(?i:{any_of(word_list('words/event_cues.txt'))})(?![^\W_])(?:[:,]?[ ](?![A-Z\d])[^\W\d_]+){{0,3}}?(?:[:,]?[ ][A-Z][a-z]+)?[:,]?[ ]"
    rf"(?P<date>(?:\d{{4}}-\d\d-\d\d|{_DAY}[./-](?:1[0-2]|0?[1-9])[./-](?:(?:1[5-9]|20)\d\d|\d\d)|{_DAY}[./-]{_DAY}[./-](?:1[5-9]|20)\d\d"
    rf"|(?i:(?:the )?{_DAY}(?:st|nd|rd|th|\.)?{_OF}{_MONTH}(?:,?[ ](?:de |of )?(?:19|20)\d\d)?|{_MONTH}[ ]{_DAY}(?:st|nd|rd|th)?(?:,?[ ](?:19|20)\d\d)?"
    rf"|{_MONTH},?[ ](?:de |of )?(?:19|20)\d\d)|(?:19|20)\d\d))(?![\w/-]|[.,:]\d)"
)


class Moment(NamedTuple):
    """A date or time in a text; `year` is 0 if it has none of four digits."""

    start: int
    end: int
    year: int
    full: bool  # a day of a year
    birth: bool  # someone's date of birth


def moments(text: str, every: bool) -> Iterator[Moment]:
    """Dates with a year; if `every`, also days and months without one, bare years, weekdays and times."""
    end = 0
    for moment in sorted(_moments(text, every), key=lambda moment: (moment.start, -moment.end)):
        if moment.end > end:  # not part of a longer one
            end = moment.end
            yield moment


def _moments(text: str, every: bool) -> Iterator[Moment]:
    for match in DATE.finditer(text):
        year = next((match[name] for name in ("y1", "y2", "y3", "y4", "y5", "y6") if match[name]), "")
        start = _series(text, match.start())
        yield Moment(start, match.end(), int(year) if len(year) == 4 else 0, True, _is_birth(text, start))
    for match in _YEAR.finditer(text):
        start, end = match.span()
        if month := _MONTH_BEFORE.search(text, max(0, start - 24), start):
            start = _series(text, month.start())
        elif _CUE_BEFORE.search(text, max(0, start - 12), start) and not _AMOUNT.match(text, end):
            more = _MORE_YEARS.match(text, end)
            end = more.end() if more else end
        else:
            continue
        yield Moment(start, end, int(match[0]), False, _is_birth(text, start))
    for match in _BIRTHDAY.finditer(text):
        yield Moment(match.start("date"), match.end("date") - match["date"].endswith("."), 0, False, True)
    for pattern in _OTHER if every else ():
        for match in pattern.finditer(text):
            yield Moment(*match.span(), 0, False, False)


def _series(text: str, start: int) -> int:
    """Where the days or months that share a date's year begin: "15 November and 3 December 2001"."""
    series = _SERIES.search(text, max(0, start - 80), start) if text[start - 1 : start] in tuple(" /-–") else None
    return series.start() if series else start


def is_moment(text: str, start: int, end: int) -> bool:
    """Whether a date or a time of day stands in, or reaches into, that part of a text."""
    dates = DATE.finditer(text, max(0, start - 20), end + 20)
    return any(match.start() < end and start < match.end() for match in dates) or bool(
        re.match(r":\d", text[end : end + 2]) or re.match(r"\d:", text[max(0, start - 2) : start])
    )


def _is_birth(text: str, start: int) -> bool:
    return _BIRTH.search(text, max(0, start - 60), start) is not None


# --- ages

_SMALL = r"(?P<n>\d(?<![^\W_]\d)(?<!\d[.,:/-]\d)\d{0,2})"
_YEARS = r"(?:años?|anos?|meses|mes|d[íi]as?|semanas?|ans|mois|jours|semaines|anni|mesi|giorni|settimane|jahren?|monaten?|wochen|tagen?)"
_UNITS = compiled(
    rf"{_SMALL}[ ]{_YEARS}(?![^\W_])(?P<age>[ ](?:de edad|de nacid[oa]|de vida|d'âge|di età|alt)\b)?", re.IGNORECASE
)
_BEFORE_UNITS = re.compile(
    r"(?<![^\W_])(?:edad[ ]?:?(?: actual)?(?: de)?|a los|tiene|cumplió|cumple|âgée?s?(?: de)?|[âa]ge[ ]?:|(?:il|elle|patiente?) a|età[ ]?:?(?: di)?|ha|alter[ ]?:?(?: von)?|"
    rf"(?:{any_of(word_list('words/age_people.txt'))})(?:,?[ ][^\W\d_]+){{0,3}},?(?:[ ](?:de|di|von|mit|of|con))?)[ ]*$",
    re.IGNORECASE,
)
_MEASURES = r"(?:percent|degrees?|km|miles?|met(?:er|re)s?|feet|ft|pounds?|dollars?|euros?|kilos?|kg|cm|min|seconds?|hours?|days?|weeks?|months?|points?|people|times|pages?)"
# What an age ends before, and a count does not: "turned 47 in May", not "turned 40 tickets into tasks"
_THEN = r"(?=[ ]?(?:[.,;:!?)\n]|$)(?!\d)|[ ](?:in|on|at|this|last|next|today|yesterday|tomorrow|now|then|soon|and|or|but|so|when|while|before|after|as|years|yrs)(?![\w'’-]))(?![.,:]\d)"
_NO_AGE = rf"(?![\w%-]|[.:]\d|[ ](?:%|of|hundred|thousand|million|o'clock|[ap]\.?m|(?!weeks?|months?){_MEASURES}))"
_KIN = r"(?:(?:grand|step|god)?(?:mother|father|son|daughter|child)|grand(?:ma|pa)|mum|mom|dad|husband|wife|brother|sister|uncle|aunt|niece|nephew|cousin|partner|fianc[eé]e?|kids|children|sons|daughters|twins|man|woman|boys?|girls?|patient|victim|applicant|claimant|suspect|tenant|pensioner)"
_AGE = compiled(
    rf"{_SMALL}(?=[ ]?-?(?:years?|yrs?|months?|weeks?)[ -](?:old|young|of age)\b|[ ]?(?-i:[MF])(?=,?[ ](?:with|c/o|present|admitted|smoker))|[ ]?(?:y/?o|yo)\b|-?jährige?[rnms]?\b|enne\b)"
    rf"|\b(?:age[ds]?:?|age of|when (?:he|she|they|i) (?:was|were)|i(?:'| a)m|edad[ ]?:|âge[ ]?:|età[ ]?:|alter[ ]?:)[ ]*(?P<m>\d{{1,3}})"
    rf"(?![ ]?(?:%|(?:(?:and|or) (?:over|above|older|under|below|younger)|to|up)\b|{_MEASURES}|[.:/-]?\d))\b(?=\W|$)"
    rf"|\b(?:turn(?:s|ed|ing)|(?:will|to|would|'ll) turn)[ ](?P<t>\d{{1,3}}){_THEN}"
    r"|(?<=[a-z])(?<![0-9]),[ ](?P<k>[1-9]\d),(?=[ ][a-z]{2})",
    re.IGNORECASE,
)
_NAMED = re.compile(r"(?:[^\W\d_a-zß-öø-ÿ][\w'’.-]*[ ]){1,3}[^\W\d_a-zß-öø-ÿ][\w'’-]*$")
_ONES = "one|two|three|four|five|six|seven|eight|nine"
_IN_WORDS = (
    rf"(?:(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:[ -](?:{_ONES}))?|ten|eleven|twelve|thirteen|fourteen|fifteen|"
    rf"sixteen|seventeen|eighteen|nineteen|{_ONES})"
)
_AGED = compiled(
    rf"(?<![^\W_])(?:aged|at the age of|age of|(?:when|until|since) (?:he|she|they|i) (?:was|were)|(?:he|she|who|son|daughter) (?:has )?(?:just )?turn(?:s|ed)|died at)"
    rf"[ ](?P<n>{_IN_WORDS}|\d{{1,3}}){_NO_AGE}"
    rf"|(?<![^\W_])(?P<w>{_IN_WORDS})(?=[ -](?:years?|months?|weeks?)[ -]olds?\b|[ ]years of age\b)"
    rf"|(?<![^\W_])(?:(?:he|she|who|(?:mrs?|ms|miss|dr)\.?[ ][\w'’-]+,)[ ](?:is|was)|(?:he|she)['’]s)(?:[ ](?:now|only|already|just))?[ ](?P<m>[1-9]\d)(?=[.,;!?]?(?:$|\s(?!years?[ ](?!old)|%|{_MEASURES})))",
    re.IGNORECASE,
)
# "my son is 9", "a boy of 12", "mother (58)", "retired at 60", "his 40th birthday": what stands before it says so; "in her late fifties"
_SAID = compiled(
    rf"(?:is|was|are|were|turns|turned|be)[ ](?:(?:now|only|already|just|nearly|about|almost|over|still)[ ])?(?P<kin>\d{{1,2}}|{_IN_WORDS}){_THEN}|of[ ](?P<of>\d{{1,2}}){_NO_AGE}|\((?P<put>\d{{1,2}})\)"
    rf"|at[ ](?P<life>\d{{2,3}}){_THEN}|At[ ](?P<led>[1-9]\d)(?=,?[ ](?:he|she|I)\b|,[ ](?:my|his|her|[A-Z][\w'’-]+)\b)|(?P<day>\d{{1,3}}(?:st|nd|rd|th))(?=[ ]birthday)"
    r"|in[ ](?:my|his|her|their)[ ](?:early |mid[ -]?|late )?(?P<tens>[2-9]0s|(?:twen|thir|for|fif|six|seven|eigh|nine)ties)\b"
)
_BEFORE_SAID = dict.fromkeys(
    ("kin", "of", "put"),
    re.compile(rf"(?i)(?<![^\W_])(?:{_KIN}(?:,?[ ][A-Z][\w'’-]+)?,?|(?:he|she|who|i)(?:['’]ll|[ ]will|[ ]would)?)[ ]$"),
) | {
    "life": re.compile(
        r"\b(?:died(?: (?:of|from) [\w -]{2,30}?)?|retired|married|widowed|divorced|graduated|emigrated|diagnosed|pregnant|passed away|mother|father|orphan|parent|school|first (?:child|baby|job)|(?:started|began) work)[ ]$"
    ),
    "day": re.compile(r"(?:\b(?:[Mm]y|[Hh]is|[Hh]er|[Yy]our|[Hh]appy)|['’]s?)[ ]$"),
}
AND_AGE = re.compile(rf",?[ ]and[ ](?P<n>\d{{1,3}}){_THEN}")  # "aged 9 and 12"
# "the driver, 44, was"
_SOMEONE = re.compile(
    rf"(?i)\b(?:the|an?|my|his|her|our)[ ](?:[\w-]+[ ])?(?:{any_of(word_list('words/relations.txt'))}|{_KIN})$"
)
# "Tobe (4)", "Lars Holm (son, 19)", "Eze, 46, succeeds", "Mia Forde, seven, went", "Mia Forde is 70 and well"
_BY_NAME = compiled(
    rf"(?P<name>[^\W\d_a-zß-öø-ÿ][^\W\d_]*(?:['’-][^\W\d_]+)*)(?:,?[ ](?:Jr|Sr)\.)?(?:(?P<open>[ ]\((?:[a-z]+,[ ]){{0,2}}(?:aged?[ ])?)(?P<n>\d{{1,2}}(?:[ ]?[mfMF])?|\d{{1,2}}[ ](?:weeks|months|days|years|yrs))(?=[,;)])"
    rf"|(?:,|[ ](?:is|was|turned)(?:[ ](?:now|only|already|just))?|[ ][–—-])[ ](?P<m>[1-9]\d|{_IN_WORDS})(?=,[ ]|[.!?](?:\s|$)|[ ](?:and|but)[ ][a-z]|(?P<more>[ ]?(?:;|\n|$)|[ ](?:yrs|years)\b|[ ][–—-][ ])))"
)


_RELATIONS = word_list("words/relations.txt") | {"f", "m"}


def _by_name(text: str) -> Iterator[tuple[int, int]]:
    """Ages right after a name, in brackets or between commas."""
    for match in _BY_NAME.finditer(text):
        name, group = fold(match["name"]), "n" if match["n"] else "m"
        related = match["open"] is not None and _RELATIONS.intersection(re.findall(r"[a-z-]+", match["open"]))
        whole = _NAMED.search(text, max(0, match.start() - 40), match.end("name"))
        led = whole is not None and any(is_given_name(fold(word)) for word in whole[0].split())  # "Rosa Miller"
        if match["more"] and not led:
            continue
        if led or is_given_name(name) or is_family_name(name) or not is_word(name) or related:
            yield match.span(group)


NO_AGE_AFTER = re.compile(r"\+|[ ](?:and|or)[ ](?:over|older|above|up|under|younger|below)\b", re.IGNORECASE)


def age_spans(text: str) -> Iterator[tuple[int, int]]:
    """Ages of people, by the words around the number; before `NO_AGE_AFTER`, it is no one's ("65 and over")."""
    for match in _AGED.finditer(text):
        yield match.span(next(name for name in "nwm" if match[name]))
    yield from _by_name(text)
    for match in _SAID.finditer(text):
        group = match.lastgroup or ""
        before = _BEFORE_SAID.get(group)
        whose = fold(text[match.end() + 2 : match.end() + 40].split(" ", 1)[0].strip(",.")) if group == "led" else ""
        if (before is None or before.search(text, max(0, match.start() - 40), match.start())) and (
            len(whose) < 4 or not is_word(whose) or is_given_name(whose)
        ):
            yield match.span(group)
    for match in _AGE.finditer(text):
        group = next(name for name in ("n", "m", "t", "k") if match[name])
        place = max(0, match.start() - 60), match.start()
        if group != "k" or _NAMED.search(text, *place) or _SOMEONE.search(text, *place):
            yield match.span(group)
    for match in _UNITS.finditer(text):
        if match["age"] or _BEFORE_UNITS.search(text, max(0, match.start() - 60), match.start()):
            yield match.start("n"), match.end() - len(match["age"] or "")
