"""Names of people in texts of a language other than English, whose words the English lists would take for names.

Only what a title, a given and a family name, a legal form or an introduction ("me llamo ...") shows; the rest is up to NER.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stages.privacy.lexicon import any_of, word_list
from stages.privacy.name_cues import RUN
from stages.privacy.names import names
from stages.privacy.rules import Found

# Findings of name rules that rest on no list of English words.
SURE = frozenset(("title", "full_name", "company_form", "initials"))
_INTRODUCED = re.compile(rf"(?<!\w)(?:{any_of(word_list('words/introductions.txt'))})[,:]?\s+", re.IGNORECASE)


def foreign_names(text: str) -> Iterator[Found]:
    """People and companies that lists, forms and introductions prove."""
    yield from (found for found in names(text) if found.recognizer in SURE)
    for cue in _INTRODUCED.finditer(text):
        name = RUN.match(text, cue.end())
        if name:
            yield Found(*name.span(), "PERSON", 0.64, "name_cue")
