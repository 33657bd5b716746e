"""What a column of raw rows looks like: states that sound unfit to learn from, and values that look private."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

MOST_VALUES, MOST_LENGTH = 50, 40  # of a column of states
SAMPLE = 200  # values
# Words of a state that is not to be learned from, and of one that is, whose opposite then isn't.
_UNFIT = re.compile(
    r"""(?x) draft | test | dummy | sample | spam | open | todo | pending | bad | wrong | void | junk | trash | hidden | dupes?
    | (?:reject|duplicat|delet|remov|cancel|discard|invalid|broken|fail|error|skipp|ignor|unlabel|unverif|unreview|unconfirm
        |unapprov|obsolet|outdat|archiv|deprecat|withdrawn|expir|disput|flagg|unsure|uncertain|retract|abort|incomplet
        |unfinish|progress|review)\w*
    | entwurf | doppelt | falsch | papierkorb | (?:abgelehnt|dublette|gelöscht|storniert|verworfen|ungültig|offen|ungeprüft
        |veraltet|abgebrochen|unvollständig|unbestätigt|bearbeitung|prüfung)\w*
    | essai | attente | corbeille | (?:brouillon|rejet|doublon|supprim|annul|invalide|ouvert|périm|refus)\w*
    | prueba | pendiente | (?:borrador|rechaz|duplicad|elimin|anulad|inválid|abiert|descartad)\w*
    | bozz[ae] | prova | (?:rifiut|annullat|apert|scartat|sospes)\w*
    | rascunho | teste | (?:rejeitad|excluíd|abert|cancelad)\w*
    | concept | dubbel | (?:afgewezen|verwijderd|geannuleerd|ongeldig)\w*
    | (?:szkic|odrzucon|duplikat|usunięt|anulowan|robocz)\w*"""
)
_FIT = re.compile(
    r"""(?x) (?:verif|vérif|approv|approuv|aprobad|valid|review|check|confirm|accept|final|complete|publish|correct|label)\w*
    | gold | done | active | (?:geprüft|bestätigt|freigegeben|gültig|fertig|controll)\w*"""
)
_NO = re.compile("not?|non|un|never|nicht|keine?|pas|sin|nie|niet|não|awaiting|needs|to")
_TRUE = re.compile(r"true|1(?:\.0)?|yes|[yxt]|ja|oui|s[ií]|sim|tak|wahr|vrai")
_FALSE = re.compile(r"false|0(?:\.0)?|no?|nein|non|nee|nie|não|f|falsch|faux")
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])")
_PERSON = re.compile(
    "(?:full|first|last|sur|user|vor|nach)?names?|person|contact|customer|client|patient|requester|reporter|author|employee|agent"
    "|assignee|owner|sender|recipient|user|kund(?:e|in)|nom|prénom|nombre|apellidos?|cognome|nome|naam|imię"
)
_NO_PERSON = re.compile(
    "product|file|company|org|organi[sz]ation|event|tool|model|brand|city|country|category|class|label|team|project|column|type"
    "|status|host|domain|plan|id"
)
_SHAPES = {  # of the whole of a value
    "EMAIL_ADDRESS": re.compile(r"[^\s@<>]+@[^\s@<>]+\.[^\W\d_]{2,}"),
    "IBAN_CODE": re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z\d]{2,4}){3,8}"),
    "PHONE_NUMBER": re.compile(r"(?=(?:\D*\d){7})(?:\+|00?|\()[\d ()/.-]{6,22}"),
    "STREET_ADDRESS": re.compile(
        r"(?=.*\d)(?=.*[^\W\d_]{4})\d{0,5}[^\W\d_][\w .'-]{4,40},? \d{1,5}.*|\d{1,5} [A-Z][\w .'-]{4,60}"
    ),
    "PERSON": re.compile(r"[A-ZÀ-Þ][\w'’.-]*(?:,? (?:[a-z]{2,3} )?[A-ZÀ-Þ][\w'’.-]*){1,3}"),
}
_NAMED = {"email": "EMAIL_ADDRESS", "mail": "EMAIL_ADDRESS", "phone": "PHONE_NUMBER", "tel": "PHONE_NUMBER",
          "mobile": "PHONE_NUMBER", "iban": "IBAN_CODE", "street": "STREET_ADDRESS", "address": "STREET_ADDRESS",
          "birth": "DATE_OF_BIRTH", "birthday": "DATE_OF_BIRTH", "dob": "DATE_OF_BIRTH"}  # fmt: skip


@dataclass
class Column:
    """One column: how often each value occurs, as long as there are few, and some of its values."""

    filled: int = 0
    kept: int = 0  # of the rows that became records
    values: dict[str, list[int]] | None = field(default_factory=dict)  # count, kept, first row kept; None: too many
    sample: dict[str, int] = field(default_factory=dict)  # kept values, each with its row
    all_text: bool = True

    def add(self, value: Any, row: int, *, kept: bool) -> None:
        """Count the value of a row."""
        text = value if isinstance(value, str) else str(value)
        self.filled += 1
        self.kept += kept
        self.all_text &= isinstance(value, str)
        if kept and len(self.sample) < SAMPLE:
            self.sample.setdefault(text, row)
        if self.values is not None:
            counts = self.values.setdefault(text, [0, 0, 0])
            counts[0] += 1
            counts[1] += kept
            counts[2] = counts[2] or row * kept
            if len(self.values) > MOST_VALUES or len(text) > MOST_LENGTH:
                self.values = None

    @property
    def states(self) -> dict[str, list[int]]:
        """Its values if they recur, as states do."""
        return self.values if self.values and (2 * len(self.values) <= self.filled or self.filled < 10) else {}


def scalars_of(row: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """(column, value) of a row: `above.below` inside objects, `name[]` for each item of a list, nothing of a list of objects."""
    for name, value in row.items():
        if isinstance(value, dict):
            yield from scalars_of(value, f"{above}{name}.")
            continue
        for one in value if isinstance(value, list) else [value]:
            if one is not None and not isinstance(one, dict | list) and str(one).strip():
                yield above + name + "[]" * isinstance(value, list), one


def words_of(name: str) -> list[str]:
    """The words of a column's name or of a state: `isTest_row` has is, test and row."""
    return [word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", name))]


def state_word(value: Any, column: str = "") -> str | None:
    """The word by which a state sounds unfit to learn from, as `draft`, or `verified = 0` does; None if none does."""
    text = str(value).strip().casefold()
    named = words_of(column.rpartition(".")[2])
    if _TRUE.fullmatch(text):
        return _first(_UNFIT, named) if len(named) <= 3 else None
    if _FALSE.fullmatch(text):
        return _first(_FIT, named) if len(named) <= 3 and not _first(_NO, named) else None
    words = words_of(text)
    if len(words) > 3:
        return None
    return _first(_UNFIT, words) or (_first(_FIT, words) if _first(_NO, words) else None)


def _first(pattern: re.Pattern[str], words: list[str]) -> str | None:
    return next((word for word in words if pattern.fullmatch(word)), None)


def looks_private(name: str, values: Iterable[Any]) -> str | None:
    """The kind of private value that a column seems to hold, by its name and by what its values look like; None if none."""
    texts = [text for value in values if (text := str(value).strip())]
    named = words_of(name.rpartition(".")[2])
    if not texts:
        return None

    def share(kind: str) -> float:
        return sum(bool(_SHAPES[kind].fullmatch(text)) for text in texts) / len(texts)

    for kind in ("EMAIL_ADDRESS", "IBAN_CODE", "PHONE_NUMBER"):
        if share(kind) >= 0.6:
            return kind
    said = next((_NAMED[word] for word in named if word in _NAMED), None)
    if said in ("PHONE_NUMBER", "DATE_OF_BIRTH") and sum(any(map(str.isdigit, text)) for text in texts) >= 0.6 * len(
        texts
    ):
        return said
    if said == "STREET_ADDRESS" and share(said) >= 0.5:
        return said
    if _first(_PERSON, named) and not _first(_NO_PERSON, named) and max(map(len, texts)) <= 60:
        single = sum(text[:1].isupper() and not any(map(str.isdigit, text)) for text in texts) / len(texts)
        return "PERSON" if max(share("PERSON"), single) >= 0.7 and len({*texts}) > 0.2 * len(texts) else None
    distinct = len({*texts}) >= max(10, 0.5 * len(texts))
    return "PERSON" if distinct and share("PERSON") >= 0.9 and not _first(_NO_PERSON, named) else None
