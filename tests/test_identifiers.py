"""Identifiers by cue and by check digits, dates, ages, fields and addresses in five languages: found whole, and nothing else is."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.mask.identifiers import CUES, cues, identifiers
from hallmark.mask.languages import check_language, unsupported
from hallmark.mask.lexicon import word_list
from hallmark.mask.official_ids import _OFFICIAL
from hallmark.mask.rules import Finder, Found, dates
from hallmark.params.loader import load_params
from stages.mask import run
from tests.workspace import ROOT

FINDERS = {language: identifiers(language) for language in ("en", "es", "de", "fr", "it")}


def values(finder: Finder, text: str) -> list[str]:
    """The texts of the findings, each once, in their order."""
    found = sorted({(one.start, one.end) for one in finder(text)})
    return [text[start:end] for start, end in found]


def every(text: str) -> Iterator[Found]:
    return dates(text, None)


def old(text: str) -> Iterator[Found]:
    return dates(text, 2015)


# --- identifiers by cue


def test_every_cue_has_a_kind() -> None:
    entries = [entry for file in CUES.values() for entry in word_list(file)]
    pattern = re.compile(
        r".+: (?:account|credit_card|driver_license|national_id|passport|us_ssn|iban_code)(?:, (?:thing|ending))?"
    )
    assert [entry for entry in entries if not pattern.fullmatch(entry)] == []


NUMBER = st.from_regex(r"[A-Z]{0,2}[1-9]\d{5,8}(?:[-/]\d{2,4}){0,2}", fullmatch=True)


@given(data=st.data(), language=st.sampled_from(sorted(FINDERS)), number=NUMBER)
def test_any_number_after_any_cue_is_found_whole(data: st.DataObject, language: str, number: str) -> None:
    known = {cue: kind for cue, kind in cues(language).known.items() if not kind.ending and kind.kind != "CREDIT_CARD"}
    cue = data.draw(st.sampled_from(sorted(known)))
    text = f"Here it is ({cue}: {number}), thank you."
    assert number in values(FINDERS[language], text)


# --- official identifiers

# One valid number of each check and shape, as it is printed, after a word that says what it is where the check asks for it.
OFFICIAL = {
    "it.codicefiscale AAAAAA00A00A000A": "RSSMRA85T10A562S", "mx.curp AAAA000000AAAAAA*0": "BOXW310820HNERXN09",
    "_pan AAAAA0000A": "ABCPE1234F", "_nino AA000000A": "SZ 36 81 93 A", "_german_pension 00000000A000": "54 611111 H 137",
    "_hetu 000000*000*": "131052A308T", "pt.cc 000000000AA0": "000000000ZZ4", "_mbi 0A*0A*0AA00": "1EG4-TE5-MK73",
    "es.nie A0000000A": "nie X3591510Z", "es.dni 00000000A": "dni 52669857H", "ie.pps 0000000A": "pps 4888515B",
    "ie.pps 0000000AA": "pps 4978002TX", "_vin *****************": "1HGCM538323640562",
    "_chinese 000000000000000000": "11010519491231002X", "_chinese 00000000000000000A": "11010519491231002X",
    "_nir 000000000000000": "nir 151077502631173", "_nir 000000A00000000": "117072A07921016",
    "br.cpf 00000000000": "cpf 113.586.606-62", "be.nn 00000000000": "rijksregister 85071471322",
    "ch.ssn 0000000000000": "ahv 7565657972757", "_swedish 000000000000": "personnummer 198507145582",
    "_swedish 0000000000": "personnummer 8507149303", "gb.nhs 0000000000": "nhs 642 621 2997",
    "_npi 0000000000": "npi 2755828235", "dk.cpr 0000000000": "cpr 1407853021", "imei 000000000000000": "imei 608656907029313",
    "us.ssn 000000000": "ssn 157 36 8193", "us.itin 000000000": "itin 945807302", "nl.bsn 000000000": "bsn 945807302",
    "pt.nif 000000000": "nif 506749657", "ca.sin 000000000": "sin 997220033", "de.idnr 00000000000": "steuer 94580730215",
    "pl.pesel 00000000000": "pesel 85071430215", "gr.amka 00000000000": "amka 14078553832",
    "no.fodselsnummer 00000000000": "fodselsnummer 14078521997", "tr.tckimlik 00000000000": "tckn 11358660662",
    "_spanish_insurance 000000000000": "nuss 383462756692", "in_.aadhaar 000000000000": "aadhaar 4148 8594 5266",
    "za.idnr 0000000000000": "id 8507141954061", "ro.cnp 0000000000000": "cnp 1850714124061",
}  # fmt: skip


@pytest.mark.parametrize("official", [f"{one.check} {one.shape}" for one in _OFFICIAL])
def test_an_official_number_is_found_whole(official: str) -> None:
    name, _, rest = OFFICIAL[official].partition(" ")
    shown = rest if name.isalpha() and name.islower() else OFFICIAL[official]
    assert shown in values(FINDERS["en"], f"She wrote {OFFICIAL[official]} on it.")


@pytest.mark.parametrize("length", (7, 9, 11, 13, 16, 19))
def test_random_digits_without_a_cue_are_no_identifier(length: int) -> None:
    rng = random.Random(length)
    taken = [
        text for text in ("value " + "".join(rng.choices("0123456789", k=length)) for _ in range(400))
        if values(FINDERS["en"], text)
    ]  # fmt: skip
    assert taken == []


# --- dates and ages


@pytest.mark.parametrize(
    "date",
    [
        "31 May 1991", "12 de marzo de 2001", "12. März 2001", "1er août 1998", "3 gennaio 2001", "April 2001", "12/03/2001",
        "2001-03-12 04:34:22", "15 November and 3 December 2001", "29 and 30 June 1992",
    ],
)  # fmt: skip
def test_a_date_is_found_whole_by_its_year(date: str) -> None:
    assert values(old, f"it was {date}, so") == [date]
    assert values(every, f"it was {date}, so") == [date]
    assert values(old, f"it was {date.replace('2001', '2021').replace('199', '202')}, so") == []


# --- languages


def test_a_model_of_another_language_is_one_clear_error() -> None:
    check_language("es", "es")
    check_language("xx", "es")
    with pytest.raises(HallmarkError) as error:
        check_language("en", "es")
    assert "mask.ner.model" in str(error.value)


def test_the_rules_that_a_language_lacks_are_listed() -> None:
    assert unsupported("en") == []
    assert 0 < len(unsupported("es")) == len(unsupported("pt")) < len(unsupported("pl"))


def test_a_run_says_which_rules_the_language_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    params = load_params(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)  # without data: the run ends after the warnings
    mask = params.mask.model_copy(update={"language": "pt"})
    with pytest.raises(HallmarkError), caplog.at_level("WARNING"):
        run(params.model_copy(update={"mask": mask}))
    assert [record.getMessage() for record in caplog.records if record.name == "mask"] == [
        f"mask.language is 'pt', which lacks {rules}" for rules in unsupported("pt")
    ]
