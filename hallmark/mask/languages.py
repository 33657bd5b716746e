"""What the rules can do in the language of the texts, and whether the NER model is of that language.

`unsupported("pt")` lists the rules that a language lacks, for a line in the log of a run; `Languages` counts texts that
are in another language, by spaCy's lists of stop words. `ner_for("pt")` is what can look for names in that language here.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

from hallmark.base.errors import HallmarkError
from hallmark.mask.identifiers import CUES
from hallmark.mask.params import Ner

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


def ner_for(language: str) -> Ner:
    """The installed spaCy model for a language, or for several; engine `none` without one."""
    models = sorted(model.name for model in entry_points(group="spacy_models"))
    fitting = [model for tag in (language, ANY) for model in models if model.startswith(f"{tag}_")]
    return Ner(engine="spacy", model=fitting[0]) if fitting else Ner(engine="none", model=None)


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


_OTHERS = (
    "cs", "da", "de", "el", "en", "es", "fi", "fr", "hr", "hu", "it", "nb", "nl", "pl", "pt", "ro", "ru", "sv", "tr", "uk",
)  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+")


@cache
def _stop_words() -> dict[str, list[str]]:
    """The languages that have a word as a stop word, by word; read from the files, since importing spaCy's languages is slow."""
    spacy = find_spec("spacy")
    folder = Path(str(spacy and spacy.origin)).parent / "lang"
    languages: dict[str, list[str]] = {}
    for language in _OTHERS:
        for word in run_path(str(folder / language / "stop_words.py"))["STOP_WORDS"]:
            languages.setdefault(word.lower(), []).append(language)
    return languages


def is_stop_word(word: str, language: str) -> bool:
    """Whether a word is a stop word of that language, or, without one, of any."""
    languages = _stop_words().get(word.lower(), [])
    return language in languages if language else bool(languages)


class Languages:
    """Counts the languages that the first texts of a run are in, if their own language is one of those with a list."""

    MOST = 2_000  # texts that are looked at
    SHORTEST = 6  # words without which a text tells nothing

    def __init__(self, language: str) -> None:
        self.language, self.seen = language, 0
        self.found: Counter[str] = Counter()  # texts whose stop words tell their language

    def add(self, text: str) -> None:
        """Count a text."""
        if self.seen >= self.MOST or self.language not in _OTHERS:
            return
        words = _WORD.findall(text[:600].lower())
        if len(words) < self.SHORTEST:
            return
        self.seen += 1
        counts = Counter(language for word in words for language in _stop_words().get(word, ()))
        best = max(counts, key=lambda language: (counts[language], language == self.language), default=self.language)
        if counts[best] >= max(3, len(words) / 4, 2 * counts[self.language] * (best != self.language)):
            self.found[best] += 1

    @property
    def main(self) -> str | None:
        """The language that more than half of the texts are in; None if their stop words don't tell."""
        return next((language for language, count in self.found.items() if 2 * count > self.seen), None)

    def warning(self) -> str | None:
        """What to say if more than one text in twenty is in another language."""
        others = Counter({language: count for language, count in self.found.items() if language != self.language})
        if (count := others.total()) < 3 or count * 20 <= self.seen:
            return None
        named = ", ".join(f"{number} in '{language}'" for language, number in others.most_common(3))
        return (
            f"of {self.seen} texts, {count} look as if they were not in mask.language '{self.language}' ({named}), and "
            "names in them may stay: prepare each language on its own, or set mask.language and an NER model for several"
        )
