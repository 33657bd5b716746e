"""What the rules can do in the language of the texts, and whether the NER model is of that language.

`unsupported("pt")` lists the rules that a language lacks, for a line in the log of a run.
"""

from __future__ import annotations

from hallmark.base.errors import HallmarkError
from hallmark.mask.identifiers import CUES

ANY = "xx"  # the language of spaCy's multi-language models
COVERED = sorted(CUES.keys() - {"any"})  # languages with lists of cues


def check_language(model_language: str, language: str) -> None:
    """A HallmarkError if the NER model, by the language in its metadata, was made for another language than the texts are in."""
    if model_language not in (language, ANY):
        raise HallmarkError(
            f"the NER model is made for the language '{model_language}', and mask.language is '{language}'",
            param="mask.ner.model",
            remedy=f"use a model for '{language}' (`python -m spacy info` lists installed ones) or a multi-language one, "
            "or correct mask.language",
        )


def unsupported(language: str) -> list[str]:
    """The rules that do not exist for a language; English has all of them."""
    missing = []
    if language != "en":
        missing += [
            "names, job titles and groups by the words around them",
            "names, passwords and numbers in chat without capitals",
            "passwords and user names by every cue (a few words only)",
            "corrections of the NER model's findings",
        ]
    if language not in COVERED:
        missing += [
            "numbers announced by a word (medical records, policies, cases)",
            "dates in words, dates of birth and ages",
            "street addresses by every word for a street (many European ones only)",
        ]
    return missing
