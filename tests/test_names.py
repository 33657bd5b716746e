"""Names in sentences, in lines of chat, on receipts and in other scripts; and what only looks like one."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.mask.caseless_names import lines
from hallmark.mask.chat import LONGEST, chat
from hallmark.mask.kinds import KINDS
from hallmark.mask.lexicon import cities, first_names
from hallmark.mask.masking import Masker, Record
from hallmark.mask.names import names
from hallmark.mask.ner import accept, truecase
from hallmark.mask.plain_view import view
from hallmark.mask.rules import Found
from tests.rows import mask_with

QUASI = Masker(mask_with(level="quasi"))


def found(text: str) -> dict[str, str]:
    """What names and chat find in a text, with the longest span where two overlap: each value and its kind."""
    text = view(text).text
    spans = sorted([*names(text), *chat(text)], key=lambda span: (span.start, -span.end, -span.score))
    values: dict[str, str] = {}
    end = 0
    for span in spans:
        if span.start >= end:
            values[text[span.start : span.end]] = span.kind
            end = span.end
    return values


SENTENCES = [
    ("Crystal will join us on Monday.", {"Crystal": "PERSON"}),
    ("The applicant, Mr January Lipski, was born here.", {"Mr January Lipski": "PERSON"}),
    ("It was signed by A. Demetriades and J.R. Smith.", {"A. Demetriades": "PERSON", "J.R. Smith": "PERSON"}),
    ("We met Anna, Ben and Carla there.", {"Anna": "PERSON", "Ben": "PERSON", "Carla": "PERSON"}),
    ("Our founders: Dervaux, Stone and Marsh.", {"Dervaux": "PERSON", "Stone": "PERSON", "Marsh": "PERSON"}),
    ("Yesterday my sister Rose came.", {"Rose": "PERSON"}),
    ("Come back, Mark!", {"Mark": "PERSON"}),
    ("I spoke to Sanne van de Wiel there.", {"Sanne van de Wiel": "PERSON"}),
    ("Please change it to Nora Savage on the account.", {"Nora Savage": "PERSON"}),
    ("She lives in Lyon.", {"Lyon": "LOCATION"}),
    ("He is a Polish citizen.", {"Polish": "NRP"}),
]


@pytest.mark.parametrize(("text", "values"), SENTENCES, ids=lambda value: str(value)[:24])
def test_a_name_in_a_sentence_is_found_whole(text: str, values: dict[str, str]) -> None:
    assert found(text) == values


CLEAN = [
    "The Aurora printer jams every day.",
    "Will my Mastercard work in Japan?",
    "I would like to book a flight to Paris.",
    "please transfer 1200 dollars",
    "pleaseconfirm",
    "TOTAL RM\n10.00\nROUNDING ADJ\nAMOUNT INCL GST\nRM 9.90",
    "A storm named after no one: Hurricane Katrina passed by.",
    "Wilson's disease and Bell's palsy are rare.",
    "The Clayton Act followed the Sherman Act.",
    "My Dell Latitude does not wake up.",
    "Заказ не пришёл. Помогите, пожалуйста.",
]


@pytest.mark.parametrize("text", CLEAN)
def test_what_only_looks_like_a_name_stays(text: str) -> None:
    assert found(text) == {}


NO_ONES = [
    "Italian coffee is dearer than French bread.",
    "I would like a Swiss army knife and a Greek salad.",
    "German law differs from English law.",
    "Cover applies in Morocco, Tunisia and Turkey.",
    "I add a card for you. Members earn points in Norway.",
    "The dog is a German Shepherd.",
]


@pytest.mark.parametrize("text", NO_ONES)
def test_what_identifies_no_one_stays_where_no_person_is_spoken_of(text: str) -> None:
    assert QUASI(text).text == text


SOMEONES = [
    ("I am a Turkish citizen.", ["Turkish"]),
    ("Anna Kowalska likes Italian coffee.", ["Anna Kowalska", "Italian"]),
    ("Mr Franz Cede joined in 1991.", ["Mr Franz Cede", "1991"]),
    ("The Marram Orchestra was founded in 1983.", ["Marram Orchestra", "1983"]),
]


@pytest.mark.parametrize(("text", "values"), SOMEONES, ids=lambda value: str(value)[:24])
def test_what_is_said_of_a_person_or_a_firm_is_masked(text: str, values: list[str]) -> None:
    masked = QUASI(text)
    assert [text[span.start : span.end] for span in masked.spans] == values


def test_the_fields_of_a_record_speak_of_one_person() -> None:
    (alone,) = QUASI.records([Record(["Sales in Norway rose."])])
    (together,) = QUASI.records([Record(["Sales in Norway rose.", "Ask Anna Kowalska."])])
    assert alone[0].spans == []
    assert [span.kind for span in together[0].spans] == ["LOCATION"]


CHAT = [
    ("john smith", {"john smith": "PERSON"}),
    ("jane doe lagqgp", {"jane doe": "PERSON", "lagqgp": "ACCOUNT"}),
    ("my mothers maiden name is anderson", {"anderson": "PERSON"}),
    ("the pasword is sunflower 19", {"sunflower 19": "SECRET"}),
    ("account 00982231 and pin 2213", {"00982231": "ACCOUNT", "2213": "SECRET"}),
    ("my license plate is bdf 714", {"bdf 714": "ACCOUNT"}),
    ("dob 04 05 1990", {"04 05 1990": "DATE_OF_BIRTH"}),
    ("d.o.b: 4 may 1990", {"4 may 1990": "DATE_OF_BIRTH"}),
    ("email it to kate dot brown at hotmail dot com", {"kate dot brown at hotmail dot com": "EMAIL_ADDRESS"}),
    ("my username is vincent88", {"vincent88": "USERNAME"}),
    ("i live at 77 lakeview drive in dallas", {"77 lakeview drive": "STREET_ADDRESS"}),
]


@pytest.mark.parametrize(("text", "values"), CHAT, ids=lambda value: str(value)[:24])
def test_a_value_in_a_line_of_chat_is_found(text: str, values: dict[str, str]) -> None:
    assert found(text) == values


RECEIPT = "MERIDIAN STATIONERY SDN BHD\nNO. 12 HARBOUR ROAD\nCASHIER: SITI\nQTY RM\nREG 0012\nTOTAL INCL GST\nRM 12.00\nCASH\n"


def test_a_company_on_a_receipt_is_no_person() -> None:
    values = found(RECEIPT)
    assert values["MERIDIAN STATIONERY SDN BHD"] == "ORGANIZATION"
    assert [value for value, kind in values.items() if kind == "PERSON"] in ([], ["SITI"])
    assert found("LAKESIDE\nSDN BHD\nINVOICE NO 12\nTOTAL 9.00 RM CASH\nTHANK YOU") == {
        "LAKESIDE\nSDN BHD": "ORGANIZATION"
    }


SCRIPTS = [
    ("我叫王小明，电话是1", "王小明"),
    ("私は田中太郎です。", "田中太郎"),
    ("マリアさんは来ません", "マリア"),
    ("제 이름은 김민수입니다", "김민수"),
    ("اسمي محمد علي وأحتاج مساعدة", "محمد علي"),
    ("שמי דוד כהן ואני גר בחיפה", "דוד כהן"),
    ("मेरा नाम राजेश कुमार है", "राजेश कुमार"),
    ("ผมชื่อสมชาย ครับ", "สมชาย"),
    ("ჩემი სახელია გიორგი", "გიორგი"),
    ("Меня зовут Анна Иванова.", "Анна Иванова"),
    ("Իմ անունը Արմեն Պետրոսյան է", "Արմեն Պետրոսյան"),
]


@pytest.mark.parametrize(("text", "name"), SCRIPTS, ids=lambda value: str(value)[:8])
def test_a_name_in_another_script_is_found_by_its_cue_or_capitals(text: str, name: str) -> None:
    assert found(text).get(view(name).text) == "PERSON"


@pytest.mark.parametrize(
    ("text", "span", "kind", "value"),
    [
        ("He wrote to Berger-Lundin in Kassel.", (12, 25), "PERSON", "Berger-Lundin"),
        ("It is called a draft (Vertragsentwurf) there.", (22, 37), "PERSON", None),
        ("The Aurora printer broke.", (4, 10), "PERSON", None),
        ("A taxi from Gatwick to Luton.", (12, 19), "LOCATION", None),
        ("They appealed to the Constitutional Council.", (21, 43), "ORGANIZATION", "Constitutional Council"),
        ("Is the Glasgow Coma Scale used?", (7, 25), "ORGANIZATION", None),
        ("Then comes Lake Victoria too.", (16, 24), "PERSON", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_ner_says_is_accepted_or_not(text: str, span: tuple[int, int], kind: str, value: str | None) -> None:
    accepted = accept(text, Found(*span, kind, 0.5, "spacy"))
    assert (accepted and text[accepted.start : accepted.end]) == value


def test_ner_reads_a_receipt_without_capitals_and_a_letter_with_them() -> None:
    assert truecase(RECEIPT.replace("SITI", "CN")).islower()
    assert truecase("PLEASE CALL ROSA LINDQVIST TODAY") == "please call Rosa Lindqvist today"


WORDS = st.sampled_from(
    [*sorted(first_names("en"))[::400], "the", "my", "name", "is", "password", "account", "Mr", "Judge", "A.", "said", "2015", "4494",
     "from", "to", "Paris", "SDN", "BHD", "in", "our", "founders:", "and", "さん", "我叫", "السيد", "\n", ",", "(", "van", "de"]
)  # fmt: skip
TEXTS = st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=80)


@given(TEXTS)
def test_every_span_is_in_the_text_and_of_a_kind(text: str) -> None:
    for span in [*names(text), *chat(text)]:
        assert 0 <= span.start < span.end <= len(text)
        assert span.kind in KINDS
        assert 0.45 <= span.score < 1
    assert len(truecase(text)) == len(text)
    assert [text[start:end] for start, end, _ in lines(text)] == [
        line for line in text.split("\n") if any(char.isupper() or char.islower() for char in line)
    ]


@given(st.lists(st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=9), min_size=1, max_size=12))
def test_chat_reads_any_words_and_only_short_lines(words: list[str]) -> None:
    line = " ".join(words)
    ends = [(span.start, span.end) for span in chat(line)]
    for start, end in ends:
        assert start == 0 or line[start - 1] == " "
        assert end == len(line) or line[end] == " "
    assert not list(chat(line + " word" * LONGEST))
    assert not list(chat(f"{line}\n{line}"))


@given(st.sampled_from(sorted(cities())), st.sampled_from(sorted(cities())))
def test_no_city_of_a_trip_is_masked(start: str, end: str) -> None:
    assert found(f"i need a flight from {start} to {end} please") == {}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("my passcode doesn't work", None),
        ("my password is hunter2", "my password is <SECRET_1>"),
        ("Please tell Rose that it broke", "Please tell <PERSON_1> that it broke"),
        ("We asked Rose Hotel about it", None),
    ],
)
def test_a_cue_takes_its_value_and_nothing_else(text: str, masked: str | None) -> None:
    assert QUASI(text).text == (masked or text)
