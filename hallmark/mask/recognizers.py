"""All recognizers but NER: our rules, and those of Presidio for the language and the countries of the params.

Import this module only where a text is analysed: Presidio takes seconds to import.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

from presidio_analyzer import EntityRecognizer, PatternRecognizer, RecognizerRegistry
from presidio_analyzer import predefined_recognizers as presidio

from hallmark.base.patterns import Pattern
from hallmark.mask.addresses import addresses
from hallmark.mask.chat import chat
from hallmark.mask.foreign import foreign_names
from hallmark.mask.identifiers import identifiers
from hallmark.mask.kinds import listed
from hallmark.mask.lexicon import any_of
from hallmark.mask.marked import marked
from hallmark.mask.names import names
from hallmark.mask.params import Mask
from hallmark.mask.prefilter import Filtered, compiled
from hallmark.mask.rules import Finder, Found, ages, cued, dates, phones, structured

# what can be a telephone number, and an extension after it
_DIGITS = re.compile(r"\d(?:[^a-zA-Z\n]{0,4}\d){3,}[^\n]{0,24}")


class Recognizers:
    """Finds private spans in a text. `threshold` gives the lowest score at which a kind is masked."""

    def __init__(self, params: Mask, threshold: Callable[[str], float]) -> None:
        everything = params.level == "all"
        self.finders: list[Finder] = [
            structured,
            phones,
            cued,
            ages,
            identifiers(params.language),
            marked,
            addresses,
            *([names, chat] if params.language == "en" else [partial(foreign_names, language=params.language)]),
            partial(dates, before=None if everything else params.dates_before),
            *deny_finders(params),
        ]
        self.others = [
            (one, _filters(one))
            for one in _presidio(params.language, tuple(params.countries))
            if (everything or _proves(one))
            and any(threshold(listed(kind)) <= _best(one) for kind in one.supported_entities)
        ]

    def find(self, text: str) -> Iterator[Found]:
        """The spans that rules and Presidio's recognizers find."""
        for finder in self.finders:
            yield from finder(text)
        yield from self.presidio(text)

    def presidio(self, text: str) -> Iterator[Found]:
        """The spans that Presidio's recognizers find, with their scores before any word of context is looked at."""
        for one, filters in self.others:
            if not any(each.search(text) for each in filters):
                continue
            if isinstance(one, presidio.PhoneRecognizer):
                yield from _phones(one, text)
                continue
            for result in one.analyze(text, one.supported_entities, None):
                yield Found(result.start, result.end, listed(result.entity_type), float(result.score), one.name)


def _phones(recognizer: Any, text: str) -> Iterator[Found]:
    """Presidio's telephone numbers: it tries eight countries at every character, so it gets only what has the digits."""
    for part in _DIGITS.finditer(text):
        start = max(text.rfind(" ", 0, max(part.start() - 3, 0)), text.rfind("\n", 0, part.start())) + 1
        for result in recognizer.analyze(text[start : part.end()], recognizer.supported_entities, None):
            yield Found(start + result.start, start + result.end, "PHONE_NUMBER", float(result.score), recognizer.name)


@cache
def _presidio(language: str, countries: tuple[str, ...]) -> list[Any]:
    """Presidio's recognizers that are on by default for a language, and all it has of those countries, sorted by name."""
    _offline()
    # For each recognizer of another language, the registry warns that it leaves it out:
    # https://github.com/microsoft/presidio/blob/main/presidio-analyzer/presidio_analyzer/recognizer_registry/recognizers_loader_utils.py
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language])
    chosen = {type(one): one for one in registry.recognizers if not isinstance(one, presidio.SpacyRecognizer)}
    kinds: list[tuple[str, Any]] = inspect.getmembers(presidio, inspect.isclass)
    for _, kind in kinds:
        if issubclass(kind, EntityRecognizer) and kind.COUNTRY_CODE in countries and kind not in chosen:
            chosen[kind] = kind(supported_language=language)
    return sorted(chosen.values(), key=lambda one: one.name)


def _offline() -> None:
    """Let tldextract, which two recognizers use, read the suffix list it comes with instead of fetching one."""
    import tldextract

    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())


def _proves(recognizer: Any) -> bool:
    """Whether what a recognizer finds is checked by more than its form (check digits); our rules do the other kinds better."""
    ours = (presidio.EmailRecognizer, presidio.UrlRecognizer, presidio.DateRecognizer, presidio.IpRecognizer)
    return (
        isinstance(recognizer, PatternRecognizer)
        and type(recognizer).validate_result is not PatternRecognizer.validate_result
        and not isinstance(recognizer, ours)
    )


def _filters(recognizer: Any) -> list[Filtered]:
    """One of them must match in a text for a recognizer to find anything in it; without patterns, it needs a digit."""
    patterns = [pattern.regex for pattern in getattr(recognizer, "patterns", [])]
    flags = re.DOTALL | re.MULTILINE | re.IGNORECASE  # Presidio's own
    try:
        return [compiled(pattern, flags) for pattern in patterns or [r"\d"]]
    except re.error:  # Presidio uses `regex`, which reads more than `re`
        return [compiled("")]


def _best(recognizer: Any) -> float:
    """The highest score that a recognizer gives."""
    patterns: list[Any] = getattr(recognizer, "patterns", [])
    if patterns:
        checked = type(recognizer).validate_result is not PatternRecognizer.validate_result
        return 1.0 if checked else max(float(pattern.score) for pattern in patterns)
    return float(getattr(recognizer, "SCORE", 1.0))


def deny_finders(params: Mask) -> Iterator[Finder]:
    """Finders for the words and regular expressions in `params`."""
    if params.deny:
        pattern = re.compile(rf"(?<!\w)(?:{any_of(params.deny)})(?!\w)", re.IGNORECASE)
        yield partial(_matches, patterns=[(pattern, "DENIED", "deny_list")])
    if params.patterns:
        yield partial(
            _matches,
            patterns=[
                (Pattern(rule.regex, f"mask.patterns.{number}.regex"), rule.kind, f"pattern {rule.kind}")
                for number, rule in enumerate(params.patterns)
            ],
        )


def _matches(text: str, patterns: Sequence[tuple[re.Pattern[str] | Pattern, str, str]]) -> Iterator[Found]:
    for pattern, kind, name in patterns:
        for match in pattern.finditer(text):
            if match.end() > match.start():
                yield Found(*match.span(), kind, 1.0, name)
