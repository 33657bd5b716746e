"""Fields of forms that hold a private value: "Apellidos: Rico Pedroza", "Wohnort: Ulm", "CP: 46271".

The labels of five languages are a list in `words/`; a label counts at the start of a line or sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hallmark.mask.keyed_values import marked
from hallmark.mask.lexicon import any_of, word_list
from hallmark.mask.prefilter import compiled
from hallmark.mask.rules import Found

_KINDS = {
    label: kind.upper() for label, _, kind in (entry.rpartition(": ") for entry in word_list("words/field_labels.txt"))
}
_FIELD = compiled(
    rf"(?:^|(?<=[\n.;|•*\t\ufeff])|(?<=[ ]{{2}}))[ \t\ufeff]{{0,8}}(?P<label>{any_of(_KINDS)})[ ]?:[ \t]{{0,8}}(?=[^\s:])",
    re.IGNORECASE,
)
# "city": "Graz", addr="...", name='...'
_KEY_KINDS = {
    **{label: kind for label, kind in _KINDS.items() if label.isascii()},
    **dict.fromkeys(("name", "customer name"), "PERSON"),
    **dict.fromkeys(("addr", "street"), "STREET_ADDRESS"),
    "zip": "ZIP_CODE",
}
_KEYS = {label.replace(" ", ""): kind for label, kind in _KEY_KINDS.items()}
_JSON = compiled(
    rf"(?<![^\W_])(?P<label>{any_of(_KEY_KINDS).replace(re.escape(' '), '[ _-]?')})(?:[\"'][ ]?:[ ]?|=)"
    r"(?P<quote>[\"'])(?P<value>[^\"'\n]{2,80})(?P=quote)",
    re.IGNORECASE,
)
_PEOPLE = re.compile(r"[^\W\d_][\w'’.-]+(?:[ ][^\W\d_][\w'’.-]*){0,4}")
_NAME = re.compile(
    r"(?:dr[a.]{0,2}[ ]?|d\.ª?[ ]?|dña\.?[ ])?(?i:)[^\W\d_][\w'’.-]*(?:[ ](?:(?:de|del|la|las|los|y|von|van|der|du|di|da)[ ]){0,3}[^\W\d_a-zß-öø-ÿ][\w'’-]*){0,4}"
)
_PLACE = re.compile(r"[^\W\d_][^\n:;.,|\d]{1,40}")
_CODE = re.compile(r"(?=[^\s.]*\d)[^\W_]{2,8}(?:[ -](?=[^\W_]*\d)[^\W_]{2,4})?(?![^\W_])")
_ADDRESS = re.compile(r"(?=[^\n]{0,100}\d)(?![^\n]{0,100}(?:@|://))[^\W_][^\n:|]{4,100}")
_STOP = re.compile(r"[ ]{2}|(?<=[^\W_]{5})\.\s|(?<=\d)\.\s")  # a gap, or a full stop after no abbreviation
_VALUES = {"PERSON": _NAME, "LOCATION": _PLACE, "ZIP_CODE": _CODE, "STREET_ADDRESS": _ADDRESS}


def fields(text: str) -> Iterator[Found]:
    """The values of labelled fields, and those that their form or key gives away."""
    yield from marked(text)
    for match in _JSON.finditer(text):
        key = re.sub(r"[ _-]", "", match["label"].lower())
        kind = _KEYS[key]
        if kind != "PERSON" or (_PEOPLE.fullmatch(match["value"]) and (key != "name" or " " in match["value"])):
            yield Found(*match.span("value"), kind, 0.8, "field")
    if ":" not in text:
        return
    for label in _FIELD.finditer(text):
        kind = _KINDS[label["label"].lower()]
        value = _VALUES[kind].match(text, label.end())
        if value:
            end = value.start() + len(_STOP.split(value[0])[0].rstrip(" .,;-"))
            if end > value.start() + 1:
                yield Found(value.start(), end, kind, 0.8, "field")
