"""What English texts say about a person next to a name: job title, home, nationality."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hallmark.mask.lexicon import any_of, fold, is_family_name, is_given_name, is_word, towns, word_list
from hallmark.mask.name_cues import MONTHS
from hallmark.mask.prefilter import compiled
from hallmark.mask.rules import Found

_LISTED = word_list("words/jobs.txt")
_ENDINGS = ("ographer", "ologist", "ician", "therapist")
JOBS = any_of(_LISTED)
_HEAD = rf"(?:{JOBS}|\w{{3,}}(?:{any_of(_ENDINGS)}))"
_RANK = r"(?:head|vice president|vp|director|chief|manager|secretary|officer|professor|president|dean|supervisor)"
_FIELDS = r"(?:[ ](?:of|for)(?:[ ](?:the[ ])?[\w&'’-]+){1,3}?(?=[ ]?(?:[).,;|\n]|at\b|in\b|and\b|who\b|since\b|$)))"
_MODIFIERS = r"(?:(?!(?:a|an|the|and|or|of|in|on|at|to|for|very|really|good|great|new|nice|bad|your|my|his|her)\b)[\w/&'’-]+[ ]){0,3}?"
_JOB = rf"(?:{_MODIFIERS}{_HEAD}s?(?![\w'’-]){_FIELDS}?|{_RANK}[ ]of[ ][\w&'’-]+(?:[ ][A-Z][\w'’-]+)?)"
# "works as a nurse", "I'm a school nurse", "she was appointed chief engineer", "a retired librarian"
_IS = compiled(
    r"(?<![^\W_])(?i:(?:work(?:s|ed|ing)?|employed|apply(?:ing)?|applied|appointed|hired|trained|qualified|career|job|retired|started|joins?|joined|position)"
    r"(?:[ ]\w+){0,3}?[ ]as(?:[ ](?:an?|the|our|their))?"
    r"|(?:i am|i'm|he is|he's|she is|she's|who is|he was|she was|who was|i was)(?:[ ](?:an?|the|our|their|now an?|now the|currently an?)(?:[ ]new)?)"
    r"|(?:became|becomes|become|been named|was named|been appointed|was appointed|promoted to)(?:[ ](?:an?|the|our|their))?"
    r"|former|retired"
    r"|(?<=[a-z],[ ])is[ ]an?|(?<=[a-z][ ])(?:is|was)[ ](?:an?|the)(?:[ ][A-Z][a-z]+(?:n|sh|ese|ch|k|i))"
    r"|(?:job title|occupation|profession|position|job|designation|employment)[ ]?(?::|is)(?:[ ]an?)?)[ ]+"
    r"(?:(?:former|retired|self-employed|qualified|freelance|strong|good|great|new|part-time|full-time)[ ])?"
    rf"(?P<job>(?i:{_JOB}))"
)
_LOWER = r"(?!(?:an?|the|or|to|of|in|on|at|for|by|my|your|our|new|and)\b)[a-z][a-z'’-]+"
_NAME = r"[^\W\d_a-zß-öø-ÿ][\w'’-]*[^\W\d_](?:[ ](?:(?:de|del|da|van|von|der|al|el|bin)[ ]){0,2}[^\W\d_a-zß-öø-ÿ][\w'’.-]*){0,3}"
# "Tobias Renn, audiologist, ...", "Saoirse Byrne (head of logistics)"
_AFTER = compiled(
    rf"(?<=[^\W\d_])(?:,[ ]|[ ]\()(?:(?:an?|the|our)[ ])?(?P<job>(?i:{_JOB}))(?=[ ]?(?:[),;.|\n]|$|(?:at|in|from|of|who)[ ]))"
)
# "hired her as a lobbyist", "As a patent examiner at Lumbre, I ...": what somebody works as is a job, whatever it is called
_WORKS_AS = compiled(
    r"(?<![^\W_])(?:(?:hired|employed|appointed|trained|(?:he|she|who|I) work(?:s|ed)?)(?:[ ](?!not\b)[\w'’-]+){0,3}?[ ]as[ ]an?[ ]"
    rf"(?P<job>(?:{_LOWER}[ ]){{0,3}}?{_LOWER})(?=[ ]?(?:[.,;\n]|$|(?:at|for|with|in|by|and|after|before|since|until|when|while|from|on|who)[ ]))"
    rf"|As[ ]an?[ ](?P<led>(?:{_LOWER}[ ]){{0,3}}?{_LOWER})(?=[ ](?:at|for)[ ][A-Z]))"
)
_NO_JOBS = word_list("words/relations.txt") | frozenset(
    ("customer", "guest", "member", "user", "subscriber", "visitor", "whole", "result")
)
# "our accounts clerk Tomasz Lis", "the actress Thandeka Mokoena", "Professor Eze"
_BEFORE = compiled(
    rf"(?:(?<![^\W_])(?i:our|the|their|an?|my|his|her)[ ])?(?<![\w'’-])(?P<job>(?i:(?:[a-z'’-]+[ ])?{_HEAD}))[ ](?P<name>{_NAME})"
)
_TO_CAPITAL = re.compile(r"([\w'’-]+)[ ](?=[^\W\d_a-zß-öø-ÿ])")
_AND = re.compile(rf"[ ](?:and|&)[ ](?P<job>(?i:{_JOB}))")
# "Alejandra is the founder and CEO of Lumbre"
_IS_AT = compiled(
    rf"(?<=[a-z][ ])(?:is|was)[ ](?:the|an?|our)[ ](?P<job>(?i:(?:[a-z-]+[ ]){{0,2}}?{_HEAD}))(?:[ ](?:and|&)[ ](?P<other>(?i:(?:[a-z-]+[ ])?{_HEAD})))?"
    r"(?=[ ](?:of|at|for|with)[ ][A-Z])"
)
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
_NAME_BEFORE = re.compile(rf"(?P<name>{_NAME})$")
GROUPS = word_list("words/groups.txt")
_SMALL = word_list("words/small_words.txt")


def jobs(text: str) -> Iterator[Found]:
    """The job titles of people, and the names, homes and nationalities next to them."""
    for match in _IS.finditer(text):
        yield Found(*match.span("job"), "TITLE", 0.55, "job")
        more = _AND.match(text, match.end("job"))
        if more:
            yield Found(*more.span("job"), "TITLE", 0.55, "job")
    for match in _WORKS_AS.finditer(text):
        job = "job" if match["job"] else "led"
        if match[job].rpartition(" ")[2] not in _NO_JOBS:
            yield Found(*match.span(job), "TITLE", 0.55, "job")
    for match in _IS_AT.finditer(text):
        yield Found(*match.span("job"), "TITLE", 0.55, "job")
        if match["other"]:
            yield Found(*match.span("other"), "TITLE", 0.55, "job")
    for match in _AFTER.finditer(text):
        before = _NAME_BEFORE.search(text, max(0, match.start() - 50), match.start())
        if before and _is_person(before["name"]):
            yield Found(*match.span("job"), "TITLE", 0.55, "job")
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
    for match in _NATION.finditer(text):
        yield Found(*match.span("group"), "NRP", 0.6, "nationality")


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


def _is_person(name: str) -> bool:
    """Whether a word of the name can be nothing but a name, or none is a word."""
    words = [fold(word) for word in re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", name)]
    long = [word for word in words if len(word) > 2]
    sure = any(is_given_name(word) or is_family_name(word) for word in long)
    initials = len(long) < len(words)  # "L. Whitcombe"
    return sure or (len(long) + initials > 1 and bool(long) and not any(map(is_word, long)))
