"""What English texts say about a person next to a name: job title, home, nationality."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from hallmark.mask.lexicon import (
    any_of,
    first_names,
    fold,
    is_family_name,
    is_given_name,
    is_word,
    last_names,
    towns,
    word_list,
)
from hallmark.mask.name_cues import DOES, GROUPS, IRREGULAR, MONTHS
from hallmark.mask.prefilter import compiled
from hallmark.mask.rules import Found, formed

_LISTED = word_list("words/jobs.txt")
_SMALL = word_list("words/small_words.txt")
_STOPS = any_of(_SMALL)
_PARTIES = "accused|appellant|applicant|claimant|complainant|deceased|defendant|insured|patient|plaintiff|respondent|tenant|victim|witness"
_PEOPLE = any_of(word_list("words/relations.txt") | word_list("words/person_roles.txt"))
_ENDINGS = ("ographer", "ologist", "ician", "therapist")
JOBS = any_of(_LISTED)
_HEAD = rf"(?:(?:\w+-)?(?:{JOBS})|\w{{3,}}(?:{any_of(_ENDINGS)}))"
_RANK = r"(?:head|vice president|vp|director|chief|manager|secretary|officer|professor|president|dean|supervisor)"
_FIELDS = r"(?:[ ](?:of|for)(?:[ ](?:the[ ])?[\w&'’-]+){1,3}?(?=[ ]?(?:[).,;|\n]|at\b|in\b|and\b|who\b|since\b|$)))"
_MODIFIERS = r"(?:(?!(?:a|an|the|and|or|of|in|on|at|to|for|very|really|good|great|new|nice|bad|your|my|his|her)\b)[\w/&'’-]+[ ]){0,3}?"
_JOB = rf"(?:(?:[\w/]+[ ]and[ ](?=\w+[ ]\w))?{_MODIFIERS}{_HEAD}s?(?:/[a-z]+){{0,2}}(?![\w'’-]){_FIELDS}?|{_RANK}[ ]of[ ][\w&'’-]+(?:[ ][A-Z][\w'’-]+)?)"
# "works as a nurse", "I'm a school nurse", "she was appointed chief engineer", "a retired librarian"
_IS = compiled(
    r"(?<![^\W_])(?i:(?:work(?:s|ed|ing)?|employed|apply(?:ing)?|applied|appointed|hired|trained|qualified|career|job|retired|started|joins?|joined|position|speaking|served)"
    r"(?:[ ]\w+){0,3}?[ ]as(?:[ ](?:an?|the|our|their))?"
    r"|(?:i am|i'm|he is|he's|she is|she's|who is|he was|she was|who was|i was)(?:[ ](?:an?|the|our|their|now an?|now the|currently an?)(?:[ ]new)?)"
    r"|(?:became|becomes|become|been named|was named|been appointed|was appointed|promoted to)(?:[ ](?:an?|the|our|their))?"
    r"|(?:i am|i'm|he is|he's|she is|she's|who is|he was|she was|who was|i was)(?:[ ]now)?(?=[ ](?:head|chief|deputy|assistant|senior|managing)[ ])"
    r"|(?:train|study|trained|training|studying|wants?|wanted|hop(?:es?|ed|ing)|used)[ ]to[ ](?:be|become)[ ]an?"
    rf"|(?:my|his|her|our|their|whose)[ ](?:(?:late|older|younger|elder)[ ])?(?:{_PEOPLE}),?[ ]an?"
    r"|then[ ]as[ ]an?|former|retired|(?:occupation|profession)(?=[ ][a-z])"
    r"|(?<=[a-z],[ ])is[ ]an?|(?<=[a-z][ ])(?:is|was)[ ](?:an?|the)(?:[ ][A-Z][a-z]+(?:n|sh|ese|ch|k|i))"
    r"|(?:job title|occupation|profession|position|job|designation|employment)[ ]?(?::|is)(?:[ ]an?)?)[ ]+"
    r"(?:(?:former|retired|self-employed|qualified|freelance|strong|good|great|new|part-time|full-time)[ ])?"
    rf"(?P<job>(?i:{_JOB}))"
)
_LOWER = r"(?!(?:an?|the|or|to|of|in|on|at|for|by|my|your|our|new|and)\b)[a-z][a-z'’/-]+"
_FREE = rf"(?:[A-Z](?=[a-z]))?{_LOWER}(?:[ ]{_LOWER}){{0,3}}?"
_NAME = r"[^\W\d_a-zß-öø-ÿ][\w'’-]*[^\W\d_](?:[ ](?:(?:de|del|da|van|von|der|al|el|bin)[ ]){0,2}[^\W\d_a-zß-öø-ÿ][\w'’.-]*){0,3}"
_ENDS = r"(?=[ ]?(?:[),;.|\n(]|$)|[ ](?:at|in|from|of|who|for|with|since|until)[ ])"
# What follows a job in official lists of occupations: "Engineer, civil (consulting)", "Therapist, speech and language"
_FIELD = rf"(?!(?:{_STOPS})\b)[a-z][\w/&'’-]*"
_SAID = re.compile(
    rf", (?!chartered|registered|licensed)(?:[a-z]+ed|{any_of(IRREGULAR.values())}|came|left|got|went|took|made|became|works|lives|has|had|rents|owns|uses|gets|goes|takes|makes|keeps|needs)\b"
)
_SORT = re.compile(
    rf"(?:,[ ](?!then\b){_FIELD}(?:[ ]{_FIELD}){{0,3}}(?:,?[ ]and[ ]{_FIELD}(?:[ ]{_FIELD})?{_ENDS})?(?=[ ]?(?:[),;.|\n(]|$)|[ ](?:{_STOPS})\b))?(?:[ ]\([A-Za-z][A-Za-z ,/&-]{{1,60}}\))?"
)
# "Tobias Renn, audiologist, ...", "Saoirse Byrne (head of logistics)"
_AFTER = compiled(
    rf"(?P<last>[^\W\d_a-zß-öø-ÿ][\w'’-]*)(?<=[^\W\d_])(?:,[ ]|[ ]\(|:[ ]|[ ][–—-][ ])(?:(?:an?|the|our|my|his|her)[ ](?:new[ ])?)?(?P<job>(?i:{_JOB})){_ENDS}"
)
# "hired her as a lobbyist", "As a patent examiner at Lumbre, I ...": what somebody works as is a job, whatever it is called
_WORKS_AS = compiled(
    r"(?<![^\W_])(?:(?:(?P<works>work(?:s|ed|ing)?|employed)|hired|appointed|trained)(?:[ ](?!not\b)[\w'’-]+){0,3}?[ ]as[ ]an?[ ]"
    rf"(?P<job>{_FREE})(?=[ ]?(?:[.,;\n(]|$)|[ ](?:at|for|with|in|by|and|after|before|since|until|when|while|from|on|who)[ ])"
    rf"|As[ ]an?[ ](?P<led>{_FREE})(?=[ ](?:at|for)[ ][A-Z])"
    rf"|(?i:occupation|profession|job title)[ ]?:[ ]+(?P<form>(?:[A-Z](?=[a-z]))?{_LOWER}(?:[ ]{_LOWER}){{0,4}})(?=[ ]?(?:[.,;|\n(]|$)))"
)
# "after ten years as a prison officer", "As a nurse I ...": a person holds it, who stands in the sentence
_AS = compiled(rf"(?<![^\W_])[Aa]s[ ](?:an?|the|our)[ ](?P<job>(?i:{_JOB}))(?:{_ENDS}|(?=[ ](?:I|he|she|and)\b))")
_OF_PERSON = re.compile(
    r"\b(?:I|[Ii]'m|[Mm]y|[Hh]e|[Ss]he|[Hh]is|[Hh]er|who|living|career|years|months)\b[^.!?\n]{0,60}[ ]$"
)
_SAYS_I = re.compile(r",?[ ](?:I|he|she|my)\b")
# "Pedro is a tree surgeon", "my dad was a coal miner"
_IS_A = compiled(
    rf"(?:(?<=[^\W_][ ])(?:is|was)|(?<=[^\W_])['’]s)[ ](?:(?:now|currently|also|still)[ ])?(?:an?|our|the)[ ](?:retired[ ])?(?P<job>(?i:{_JOB}))(?:{_ENDS}|(?=[ ](?:and|all|there|here|now|again|by|aged|but)\b))"
)
_SUBJECT = re.compile(
    rf"(?:(?<![^\W_])(?i:he|she|who|i|the[ ](?:{_PARTIES})|(?:my|his|her|our|their)[ ](?:[\w-]+[ ])?(?:{_PEOPLE})(?:[ ]{_NAME})?)|(?P<name>{_NAME}))"
    r"(?:,?[ ](?:has|had|have|now|currently|also|is|was|been|who|still)){0,4}[ ]?$"
)
_NO_JOBS = word_list("words/relations.txt") | frozenset(
    ("customer", "guest", "member", "user", "subscriber", "visitor", "whole", "result")
)
# "our accounts clerk Tomasz Lis", "the actress Thandeka Mokoena", "Professor Eze"
_BEFORE = compiled(
    rf"(?:(?<![^\W_])(?i:our|the|their|an?|my|his|her)[ ])?(?<![\w'’-])(?P<job>(?i:(?:[a-z'’-]+[ ])?{_HEAD})),?[ ](?P<name>{_NAME})"
)
_TO_CAPITAL = re.compile(r"([\w'’-]+),?[ ](?=[^\W\d_a-zß-öø-ÿ])")
_AND = re.compile(rf"[ ](?:and|&)[ ](?P<job>(?i:{_JOB}))")
# "an Italian cyclist", "Guinean, hairdresser"
_OF_NATION = compiled(rf"(?P<group>[A-Z](?<![^\W_].)[a-z]+),?[ ](?P<job>(?i:{_HEAD}))(?![\w'’-])")
# "lives in Newark", "worked as a chef in Cork"
_HOME = compiled(
    r"(?<![^\W_])(?i:liv(?:es?|ed|ing)|based|born|resid(?:es?|ed|ing)|raised|grew up|settled|emigrated|arrested|stationed|buried|schooled|employed|nurse|teacher|surgeon|"
    r"works?|worked|working|appeared|studied|studying|moved(?: from [A-Z][\w-]+)?|came|comes)[ ](?:(?!to\b|in\b)\w+[ ]){0,4}?(?:in|to|near|from)[ ]"
    r"(?P<place>[A-Z][\w'’-]+(?:[ ][A-Z][\w'’-]+){0,2})(?![\w'’])"
)
_NATION = compiled(
    r"(?<![^\W_])(?i:nationality|citizenship|religion|ethnicity|ethnic origin|denomination|faith)[\"']?(?:[ ]?[:=][ ]?|[ ]is[ ])[\"']?(?P<group>[A-Za-z]{4,20}(?:[ ](?:[A-Z][a-z]{3,}))?)"
)
_IT = re.compile(
    r"(?i)\b(?:it|this|that|which|app|tool|software|model|script|device|setup|feature|bot)(?:[ ](?:also|just|only))?[ ]$"
)
_NAME_BEFORE = re.compile(rf"(?P<name>{_NAME})$")


def jobs(text: str) -> Iterator[Found]:
    """The job titles of people, and the names, homes and nationalities next to them."""
    owned = (match for match in _IS_A.finditer(text) if _is_subject(text, match.start()))
    for match in chain(_IS.finditer(text), owned):
        if match[0][:4].lower() == "work" and _IT.search(text, max(0, match.start() - 30), match.start()):
            continue
        yield _title(text, *match.span("job"))
        if more := _AND.match(text, match.end("job")):
            yield Found(*more.span("job"), "TITLE", 0.55, "job")
    for match in _WORKS_AS.finditer(text):
        job = next(name for name in ("job", "led", "form") if match[name])
        if match[job].rpartition(" ")[2] not in _NO_JOBS and (not match["works"] or _is_subject(text, match.start())):
            yield _title(text, *match.span(job))
    for match in _AS.finditer(text):
        held = _title(text, *match.span("job"))
        if _OF_PERSON.search(text, max(0, match.start() - 90), match.start()) or _SAYS_I.match(text, held.end):
            yield held
    for match in _AFTER.finditer(text):
        before = _NAME_BEFORE.search(text, max(0, match.end("last") - 50), match.end("last"))
        if before and _is_person(before["name"]):
            yield _title(text, *match.span("job"))
    for match in _OF_NATION.finditer(text):
        if match["group"].lower() in GROUPS:
            yield Found(*match.span("job"), "TITLE", 0.55, "job")
    for match in _before_names(text):
        if _is_person(match["name"]):
            start, job = match.start("job"), match["job"]
            first = job.split()[0]
            if " " in job and fold(first) in _SMALL:
                start += len(first) + 1
            yield Found(start, match.end("job"), "TITLE", 0.55, "job")
            yield Found(*match.span("name"), "PERSON", 0.56, "job")
    for match in _HOME.finditer(text):
        words = match["place"].split(" ")
        name = next((name for count in (3, 2, 1) if fold(name := " ".join(words[:count])) in towns()), None)
        if name is None and not any(is_word(fold(word)) for word in words):
            name = match["place"]
        if name and fold(name) not in MONTHS:
            yield Found(match.start("place"), match.start("place") + len(name), "LOCATION", 0.57, "home")
    yield from formed(text, [("NRP", 0.6, _NATION)], "nationality")


def _before_names(text: str) -> Iterator[re.Match[str]]:
    """The jobs right before what may be a name. The expression is slow, so it is tried only around such a job."""
    done = 0
    for word in _TO_CAPITAL.finditer(text) if _BEFORE.may_match(text) else ():
        head = word[1].lower()
        if head not in _LISTED and not head.endswith(_ENDINGS):
            continue
        for match in _BEFORE.finditer(text, max(done, word.start() - 80), word.end() + 200):
            yield match
            done = match.end()


def _title(text: str, start: int, end: int) -> Found:
    """A job with what official lists put after it: "Surveyor, quantity"."""
    if not DOES.search(text[end : end + 40]) and not _SAID.match(text, end) and (sort := _SORT.match(text, end)):
        end = sort.end()
    return Found(start, end, "TITLE", 0.55, "job")


def _is_subject(text: str, at: int) -> bool:
    """Whether what does something there is a person, not a thing: "Rosa Miller works", "it works"."""
    subject = _SUBJECT.search(text, max(0, at - 60), at)
    return subject is not None and (subject["name"] is None or _is_person(subject["name"]))


def _is_person(name: str) -> bool:
    """Whether a word of the name can be nothing but a name, or none is a word."""
    words = [fold(word) for word in re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", name)]
    long = [word for word in words if len(word) > 2]
    sure = any(is_given_name(word) or is_family_name(word) for word in long)
    sure = sure or (len(long) > 1 and long[0] in first_names("en") and long[-1] in last_names())  # "Will Price"
    initials = len(long) < len(words)  # "L. Whitcombe"
    return sure or (len(long) + initials > 1 and bool(long) and not any(map(is_word, long)))
