"""Names of people, organisations and places: word lists, and the words that introduce or follow a name.

In a line that is all capitals or all lower case, capitals carry no information, so only the word lists decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from hallmark.mask.caseless_names import flat, is_month, lines
from hallmark.mask.introduced_names import NO_NAMES
from hallmark.mask.jobs import jobs
from hallmark.mask.lexicon import (
    EVERYDAY,
    any_of,
    cities,
    countries,
    first_names,
    fold,
    is_common,
    is_family_name,
    is_given_name,
    is_misspelt,
    is_noun,
    is_plain,
    is_product,
    is_stop,
    is_word,
    last_names,
    places,
    products,
    towns,
    word_list,
)
from hallmark.mask.name_cues import (
    CAP,
    CAPITAL_NRP,
    DOES,
    FIRM,
    GROUP,
    GROUPS,
    IN,
    LEADS,
    LOWER_NRP,
    MONTHS,
    NOT_NRP,
    ORG,
    ORG_AFTER,
    ORG_ANY,
    ORG_CUE,
    PERSON_AFTER,
    PERSON_CUE,
    PLACE_AFTER,
    PLACE_CUE,
    RUN,
    SENTENCE_START,
    STRONG_CUE,
    THING_ENDS,
    TOKEN,
    UP,
    WEEKDAYS,
    is_destination,
    is_of_person,
    is_of_thing,
    is_related,
)
from hallmark.mask.people import does, people
from hallmark.mask.prefilter import compiled
from hallmark.mask.rules import Found
from hallmark.mask.scripts import script_names

_SALUTATIONS = word_list("words/salutations.txt")
_OF_FAMILIES = word_list("words/of_families.txt")
_FIRMS = word_list("words/shops.txt")
_FORMS = word_list("words/company_forms.txt")
_GROUP_STARTS = frozenset(group.split()[0] for group in GROUPS if " " in group)
_ANY_GROUP = compiled(any_of({group.split()[0] for group in GROUPS}), re.IGNORECASE)


_SCHOOLS = frozenset(("academy", "convent", "nursery", "school", "surgery"))  # "Driving School" is no one's
_BRANCH = re.compile(r"^ (?:branch|office|store|depot|warehouse|campus)\b")  # "the Leeds branch"
_AMOUNT = re.compile(r": ?(?:[^\w\s]|\d)")  # "Price: £34.50" is a field
_SMALL = re.compile(r"(?<![\w'-])[a-zà-öø-ÿ]")
_CAPITAL = re.compile(rf"(?<![\w'-]){UP}")


def names(text: str) -> Iterator[Found]:
    """People, organisations, places, groups and job titles."""
    yield from people(text)
    yield from jobs(text)
    yield from script_names(text)
    yield from _groups(text)
    yield from _organisations(text)
    for start, end, case in lines(text):
        if case == "mixed":
            for run in RUN.finditer(text, start, end):
                yield from _run(text, run)
        else:
            yield from flat(text, start, end, case == "lower")


def _groups(text: str) -> Iterator[Found]:
    if not _ANY_GROUP.may_match(text):
        return
    for match in GROUP.finditer(text):
        word, end = match[0].lower(), match.end()
        if word not in _GROUP_STARTS and not _one_of(word):
            continue
        next_word = re.match(r" ([\w'-]+)", text[end : end + 30])
        if next_word and _one_of(f"{word} {next_word[1].lower()}"):
            word, end, next_word = f"{word} {next_word[1].lower()}", end + next_word.end(), None
        elif not _one_of(word):
            continue
        following = fold(next_word[1]) if next_word else ""
        firm = next_word is not None and next_word[1][0].isupper() and following in _FIRMS
        if word in NOT_NRP or firm or f"{word} {following}" in products():
            continue  # "American Express", "British Airways"
        if match[0][0].isupper() or (
            word not in CAPITAL_NRP and LOWER_NRP.search(text, max(0, match.start() - 12), match.start())
        ):
            of_person = is_of_person(word, text[max(0, match.start() - 12) : match.start()], text[end : end + 30])
            yield Found(match.start(), end, "NRP", 0.6, "nationality" if of_person else "adjective")


def _one_of(word: str) -> bool:
    return word in GROUPS or (word[-1] == "s" and word[:-1] in GROUPS)


def _organisations(text: str) -> Iterator[Found]:
    plain = text.islower()
    for match in ORG.finditer(text) if not plain else ():
        words = [fold(word) for word in match[0].split()]
        if len(words) > 1 and not (words[-1] in _SCHOOLS and all(map(is_common, words))):
            yield Found(*match.span(), "ORGANIZATION", 0.68, "company_form")
    for match in ORG_ANY.finditer(text):  # all lower case: the words since the last stop word
        words = match[1].split()
        while words and any(is_stop(word) or word in LEADS for word in words):
            words.pop(0)
        if words:
            yield Found(match.end(1) - len(" ".join(words)) - 1, match.end(), "ORGANIZATION", 0.6, "company_form")
    for match in FIRM.finditer(text) if ", " in text else ():
        parts = [fold(part) for part in re.split(r",? (?:and|&) |, ", match[0]) if part]
        if len(parts) > 2 and all(part in last_names() for part in parts):
            yield Found(*match.span(), "ORGANIZATION", 0.67, "firm")


def _run(text: str, run: re.Match[str]) -> Iterator[Found]:
    """Classify one run of capitalised words."""
    tokens = [(match.start(), match.end(), match[0]) for match in TOKEN.finditer(text, *run.span())]
    yield from _countries(text, tokens)
    tokens = [token for token in tokens if not is_month(text, (*token[:2], fold(token[2].rstrip("."))))]
    dropped = None
    full = next((at for at in range(len(tokens)) if _full_name(tokens[at : at + 3])), None)
    if full is not None and not _is_thing(text, tokens, full):
        start = tokens[full][0]
        yield Found(start, name_end(text, start, tokens[-1][1]), "PERSON", 0.61, "full_name")
        tokens = tokens[:full]
    while tokens and opens(text, tokens[0]) and not _is_place(tokens):
        dropped = tokens.pop(0)
    while tokens and not tokens[-1][2][0].isupper():
        tokens.pop()
    if not tokens:
        after = text[dropped[1] : dropped[1] + 60] if dropped else ""
        if dropped and (
            (fold(dropped[2]) in first_names("en") and PERSON_AFTER.search(after) and not _AMOUNT.match(after))
            or does(fold(dropped[2]), after)
        ):
            yield Found(dropped[0], dropped[1], "PERSON", 0.53, "name_cue")
        return
    folded = [fold(token.rstrip(".")).removesuffix("'s") for _, _, token in tokens]
    start, end = tokens[0][0], tokens[-1][1]
    if text[end - 1] == "." and len(tokens[-1][2]) > 2:
        end -= 1
    before, after = text[max(0, start - 60) : start], text[end : end + 60]
    linked = any(token[0].islower() and token not in ("of", "y", "e") for *_, token in tokens)
    unknown = [word for word in folded if not is_word(word)]
    first = next((i for i, word in enumerate(folded) if tokens[i][2][0].isupper() and is_given_name(word)), None)
    if first is None and len(folded) > 1 and len(folded[0]) > 2 and folded[0] in first_names():
        last = folded[-1]  # "Will Smith", "Rose Kowalska"
        if (last in last_names() and not is_common(last)) or (not is_word(last) and last not in places()):
            first = 0
    thing = (
        folded[0] in things(text)
        or is_of_thing(folded[0], before, after, alone=len(folded) == 1 and "'" not in tokens[0][2])
        or (len(folded) > 1 and folded[-1] in THING_ENDS)
        or is_product(folded)
    ) and not STRONG_CUE.search(before)
    acts = PERSON_AFTER.search(after) or DOES.search(after)
    if after[:1] == ":" and (text[start - 1 : start] == " " or not _speaks(after)):
        acts = None  # "Affected: 37. Workaround: restart": only a line begins with who speaks
    if len(unknown) == 1 and first is None and not acts and not PERSON_CUE.search(before) and is_misspelt(unknown[0]):
        unknown = []
    phrase = " ".join(folded)
    if phrase in _FORMS or (phrase in products() and not STRONG_CUE.search(before)):
        return
    if (phrase in cities() or _is_place(tokens)) and not is_related(before) and not acts:
        branch = _BRANCH.match(after)
        if is_destination(before, after, country=True) or (thing and not branch and not PLACE_CUE.search(before)):
            return
        if branch or unknown or len(folded) > 1 or PLACE_CUE.search(before) or IN.search(before):
            yield Found(start, end, "LOCATION", 0.52, "place")
    elif ORG_CUE.search(before) or ORG_AFTER.search(after):
        if dropped and not (unknown and len(folded) > 1) and dropped[1] + 1 == start:
            start = dropped[0]  # "Collective Ip is a company": the first word is as much a name as the others
        if unknown or len(folded) > 1 or not SENTENCE_START.search(before):
            yield Found(start, end, "ORGANIZATION", 0.56, "organisation_cue")
    elif is_destination(before, after, country=False) and first is None:
        return
    elif (
        PLACE_CUE.search(before)
        and not (acts or WEEKDAYS.issuperset(folded))
        and (unknown or first is not None or not any(map(is_plain, folded)))
    ):
        yield Found(start, end, "LOCATION", 0.56, "place_cue")
    elif unknown and len(unknown) == len(folded) and first is None and IN.search(before) and not acts:
        yield Found(start, end, "LOCATION", 0.51, "place_cue")
    elif phrase in towns() and (IN.search(before) or in_country(after) or _BRANCH.match(after)) and first is None:
        yield Found(start, end, "LOCATION", 0.52, "place")
    elif thing:
        return
    elif first is not None and not (first == len(folded) - 1 and _is_short_form(text, tokens[first])):
        name_start = tokens[first][0]
        yield Found(name_start, name_end(text, name_start, end), "PERSON", 0.62, "name_list")
        if first:
            yield from _named(text, start, tokens[first - 1][1], folded[:first], before)
    elif is_related(before):
        yield Found(start, name_end(text, start, end), "PERSON", 0.58, "name_cue")
    elif STRONG_CUE.search(before) and not all(is_common(word) and word not in last_names() for word in folded):
        yield Found(start, name_end(text, start, end), "PERSON", 0.64, "name_cue")
    elif len(folded) == 1 and is_family_name(folded[0]):
        yield Found(start, end, "PERSON", 0.55, "name_list")
    elif PERSON_CUE.search(before) and unknown and len(unknown) == len(folded) and not _is_short_form(text, tokens[0]):
        yield Found(start, name_end(text, start, end), "PERSON", 0.54, "name_cue")
    elif (
        unknown and len(folded) <= 3 and acts and not (cities().intersection(folded) or _is_short_form(text, tokens[0]))
    ):
        yield Found(start, end, "PERSON", 0.53, "name_cue")
    elif len(folded) > 2 and linked and not is_common(folded[-1]) and not is_plain(folded[0]):  # "Sanne van de Wiel"
        yield Found(start, end, "PERSON", 0.53, "particle")
    elif len(folded) > 1 and folded[-1] in last_names() and not is_word(folded[0]) and folded[0] not in towns():
        yield Found(start, end, "PERSON", 0.55, "name_list")
    elif 1 < len(folded) < 5 and len(unknown) == len(folded) and (start == 0 or text[start - 1] in "\n "):
        yield Found(start, end, "PERSON", 0.52, "unknown_words")
    elif PLACE_AFTER.search(after) and unknown:
        yield Found(start, end, "LOCATION", 0.52, "place_cue")


def _speaks(after: str) -> bool:
    """Whether a colon is followed by what someone says, which has stop words, not by the value of a field."""
    return any(
        is_stop(word) or word in _SALUTATIONS for word in re.findall(r"[a-z']+", after.partition("\n")[0].lower())
    )


def _is_thing(text: str, tokens: list[tuple[int, int, str]], at: int) -> bool:
    """Whether a full name within a run is part of a thing's name."""
    folded = [fold(token) for *_, token in tokens]
    start, end = tokens[at][0], tokens[-1][1]
    return (
        folded[0] in things(text)
        or " ".join(folded[at : at + 2]) in products()
        or folded[-1] in THING_ENDS
        or is_of_thing(folded[at], text[max(0, start - 20) : start], text[end : end + 30], alone=False)
    )


def _full_name(tokens: list[tuple[int, int, str]]) -> bool:
    """Whether the words start with a full name: both listed, or with an initial in between ("Rose Q. Marsh")."""
    if len(tokens) < 2 or not all(token[0].isupper() and not token.isupper() for _, _, token in tokens[:1]):
        return False
    words = [fold(token.rstrip(".")).removesuffix("'s") for _, _, token in tokens]
    if len(words) > 2 and len(words[1]) == 1 and tokens[2][2][0].isupper() and len(words[2]) > 2:
        return words[0] in first_names() or not is_word(words[0])
    if words[0] in MONTHS or (words[0] in GROUPS and is_common(words[1])):  # "German Shepherd"
        return False
    return words[0] in first_names("en") and len(words[0]) > 2 and words[1] in last_names()


def _is_short_form(text: str, token: tuple[int, int, str]) -> bool:
    """Whether a word is an abbreviation in capitals ("NAS"), not a name."""
    return token[2].isupper() and len(token[2]) < 6 and any(map(str.islower, text))


def in_country(after: str) -> bool:
    """Whether a comma and a country follow."""
    words = re.match(r", ([A-Z][\w'-]+(?: [A-Z][\w'-]+)?)", after)
    return words is not None and (fold(words[1]) in countries() or fold(words[1].split()[0]) in countries())


def _is_place(tokens: list[tuple[int, int, str]]) -> bool:
    """Whether the words together, or each on its own, are a place."""
    folded = [fold(token.rstrip(".")) for _, _, token in tokens]
    if " ".join(folded) in places():
        return not (len(folded) == 1 and is_family_name(folded[0]) and folded[0] not in countries())
    return (
        len(folded) > 1 and all(word in places() for word in folded) and not any(is_given_name(word) for word in folded)
    )


def _countries(text: str, tokens: list[tuple[int, int, str]]) -> Iterator[Found]:
    """Countries inside a run, unless they only say where a trip goes or a card is used."""
    folded = [fold(token) for _, _, token in tokens]
    at = 0
    while at < len(folded):
        for stop in range(min(len(folded), at + 4), at, -1):
            name = " ".join(folded[at:stop])
            start, end = tokens[at][0], tokens[stop - 1][1]
            before, after = text[max(0, start - 60) : start], text[end : end + 20]
            if (
                name not in countries()
                or name in GROUPS
                or (stop - at == 1 and is_given_name(name) and not IN.search(before))
            ):
                continue
            if not is_destination(before, after, country=True):
                yield Found(start, end, "LOCATION", 0.63, "country")
            at = stop - 1
            break
        at += 1


def _named(text: str, start: int, end: int, folded: list[str], before: str) -> Iterator[Found]:
    """The words of a run before a given name, if they are not common words."""
    opens_line = SENTENCE_START.search(before)
    if not any(map(is_word, folded)) and not (opens_line and (folded[0] in NO_NAMES or is_misspelt(folded[0]))):
        yield Found(start, end, "PERSON", 0.5, "name_list")


def opens(text: str, token: tuple[int, int, str]) -> bool:
    """Whether a word is capitalised only because it starts a sentence or is a salutation."""
    word = fold(token[2].rstrip("."))
    if word in _SALUTATIONS:
        return True
    return is_common(word) and (
        bool(SENTENCE_START.search(text, max(0, token[0] - 4), token[0])) or (word in EVERYDAY and len(word) < 4)
    )


def name_end(text: str, start: int, end: int) -> int:
    """The end of a person's name in a run: before the common words that follow it.

    In a sentence, a word with a capital right after a given name belongs to it ("Alex River"); in a heading, it may not.
    """
    tokens = list(TOKEN.finditer(text, start, end))
    around = text[max(0, start - 80) : start], text[end : end + 80]
    sentence = sum(len(_SMALL.findall(part)) - len(_CAPITAL.findall(part)) for part in around) > 1
    while len(tokens) > 1:
        word = fold(tokens[-1][0].rstrip(".")).removesuffix("'s")
        if tokens[-1][0][0].isupper() and _may_end(word, len(tokens) == 2, sentence):
            break
        tokens.pop()
    if not tokens:
        return end
    last = tokens[-1]
    return last.end() - (last[0].endswith(".") and len(last[0]) > 2)


def _may_end(word: str, second: bool, sentence: bool) -> bool:
    if len(word) == 1 or not is_common(word) or word in last_names() or (second and not is_plain(word)):
        return True
    return second and sentence and not (is_stop(word) or word in MONTHS or word in _FIRMS or word in _SALUTATIONS)


# --- surrounding words that speak against a name

_DETERMINED = re.compile(
    rf"\b(?i:the|an?|my|our|your|this|these|those|another|new)[ ]({CAP}(?:[ ]{CAP}){{0,3}})[ ]([^\W\d_]{{3,}})"
)
_POSSESSED = re.compile(r"(?i:['’]s|s['’])$")
_HEADED = re.compile(rf"(?:^|[:\n] ?)({CAP}(?:[ ]{CAP}){{0,3}})[ ]([a-z-]{{3,}})(?:[ ]([a-z-]{{3,}}))?(?=[\n:,.]|$)")


@lru_cache(256)
def things(text: str) -> frozenset[str]:
    """First words of things a text treats as products: "the Aurora label printer", "Aurora label printer: broken".

    What belongs to somebody ("this Rosa Kumar's printer") or has a person's full name tells nothing of the name.
    """
    first_words = set()
    for match in _DETERMINED.finditer(text):
        head, noun = match[1].split()[0], match[2]
        if (
            head[0].isupper()
            and not _is_persons(match[1])
            and (noun.islower() or match[0].isupper())
            and is_noun(fold(noun))
            and fold(noun) not in _OF_FAMILIES
        ):
            first_words.add(fold(head))
    for match in _HEADED.finditer(text):
        if all(is_noun(fold(word)) for word in (match[2], match[3] or match[2])) and not _is_persons(match[1]):
            first_words.add(fold(match[1].split()[0]))
    return frozenset(first_words)


def _is_persons(name: str) -> bool:
    """Whether a name before a noun is a person's: it owns what the noun names, or ends in a family name."""
    words = [fold(word) for word in name.split()]
    return _POSSESSED.search(name) is not None or (
        len(words) > 1 and words[-1] in last_names() and (words[0] in first_names("en") or not is_plain(words[-1]))
    )
