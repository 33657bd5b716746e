"""Names as people type them, and what looks like one: possessives, cues without capitals, markup, forms, requests."""

from __future__ import annotations

import re
from functools import cache

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hallmark.mask.languages import Languages
from hallmark.mask.masking import Masker
from tests.rows import mask_with


@cache
def masker(level: str) -> Masker:
    return Masker(mask_with(level=level))


LEVELS = st.sampled_from(["quasi", "all"])
FIRST = st.sampled_from(["Rajiv", "Elena", "Lisa", "Sanne", "Tomasz", "Chris", "Anna", "Larry"])
LISTED = ["Kumar", "Petrova", "Zhang", "Weber"]
LAST = st.sampled_from([*LISTED, "Kowalska", "Brandvold", "Zielenko"])
NOUNS = st.sampled_from(["phone", "printer", "account", "mother", "order", "file"])
SEEN = st.sampled_from(
    [
        "Note that {0}'s {1} is broken.",
        "I heard that {0}\u2019s {1} is gone.",
        "This is {0}'s {1}.",
        "Please check the {0} {1} again.",
        "We know that {0} {1}s a lot.",
        "{0} {1}: broken.",
    ]
)


@given(LEVELS, FIRST, LAST, NOUNS, SEEN)
def test_no_words_around_a_name_unmask_it_elsewhere(level: str, first: str, last: str, noun: str, seen: str) -> None:
    assume("s {1}" in seen or last in LISTED)  # "the Zephyr Brandvold phone" can be a product
    name = f"{first} {last}"
    masked = masker(level)(f"{seen.format(name, noun)} {name} wants a refund. Please ask {name} about it.").text
    (wants,), (asked,) = re.findall(r"(\S+) wants", masked), re.findall(r"ask (\S+) about", masked)
    assert name not in masked
    assert wants == asked, "one person has one stand-in"


TYPED = st.sampled_from(
    [
        "my name is {0} {1}",
        "MY NAME IS {0} {1}",
        "Hi, I'm {0} {1} from the sales team",
        "ask for mr {1} pls",
        "What's your last name? {1}",
        "agent: may i have your full name please?\ncustomer: {0} {1}",
        "It broke.\nThanks, {0}",
        "It broke. Best regards,<br>{0} {1}",
        "user {0}.{1} can't log in",
    ]
)
CASES = st.sampled_from([str, str.lower, str.upper])


@given(LEVELS, st.sampled_from(["Elena", "Lisa", "Chris", "Anna", "Larry"]), LAST, TYPED, CASES)
def test_a_name_after_a_cue_is_masked_in_any_case(
    level: str, first: str, last: str, typed: str, case: type[str]
) -> None:
    left = masker(level)(typed.format(case(first), case(last))).text.lower()
    assert not {first.lower(), last.lower()} & set(re.findall(r"[a-z]+", left))


TAGS = st.sampled_from(["<br>", "<br/>", "<p>", "</p>", "<b>", "</b>", '<a href="#">', "</a>", "</td><td>", "<DIV>"])
PIECES = st.lists(
    st.one_of(TAGS, FIRST, LAST, st.sampled_from([" ", ", ", "Thx,", "IBAN", "my name is ", "\n"])), max_size=12
)


@given(LEVELS, PIECES)
def test_tags_keep_their_form(level: str, pieces: list[str]) -> None:
    text = "".join(pieces)
    tags = re.compile(r"</?(?:br|p|b|a|td|div)(?: [^<>]*)?/?>", re.IGNORECASE)
    assert tags.findall(masker(level)(text).text) == tags.findall(text)


RUNS = st.text(alphabet="abeilrnsMRTK0479 .,'@-/\n", max_size=40) | st.lists(
    st.sampled_from(
        ["Mark", "Rosa.Kumar", "rosa_kumar", "I've", "IBAN", "DE89", "3704", "Friday", "anna@x.org", "Attn"]
    ),
    max_size=14,
).map(" ".join)


@given(LEVELS, RUNS)
def test_no_span_ends_inside_a_word(level: str, text: str) -> None:
    for span in masker(level)(text).spans:
        for at in (span.start, span.end):
            assert not (0 < at < len(text) and text[at - 1].isalpha() and text[at].isalpha()), span.recognizer


PRONOUNS = st.sampled_from(
    ["I've", "We're", "You'll", "They'd", "It's", "What's", "Don't", "Doesn\u2019t", "Ive", "Dont"]
)
LABELS = st.sampled_from(["Attn", "Rechnung Nr", "Invoice No", "Ref", "IBAN", "Tel", "Facture N\u00b0", "Kunden Nr."])
AFTER = st.sampled_from([" 22", ": ", " been told.", " said so.", ": 22 B", "\n"])


@given(st.one_of(PRONOUNS, LABELS), AFTER)
def test_contractions_and_what_forms_print_are_no_one(words: str, after: str) -> None:
    assert "PERSON" not in {span.kind for span in masker("quasi")(words + after).spans}


def test_a_language_that_is_not_covered_is_warned_about_once() -> None:
    languages = Languages("en")
    for _ in range(20):
        languages.add("I have not heard from you about the refund that you said would be here by now.")
    assert languages.warning() is None
    for _ in range(5):
        languages.add("Ich habe von der Rechnung, die Sie mir schicken wollten, noch nichts gesehen.")
        languages.add("Rechnung 4711")
    assert "5 in 'de'" in str(languages.warning())


# --- values that a word announces, in whatever quotes and languages


CUES = st.sampled_from(
    ["password {}", "the PIN is {}", "my passcode: {}", "api key = {}", "Das Passwort lautet {}", "Kennwort: {}",
     "le mot de passe est {}", "la contraseña es {}", "OTP was {}"]
)  # fmt: skip
QUOTES = st.sampled_from(["''", '""', "``", "‘’", "“”", "„“", "«»", "»«"])
INSIDE = st.tuples(st.from_regex(r"[A-Za-z]{2,6}", fullmatch=True), st.integers(10, 9999)).map(
    lambda two: "{}.{}".format(*two)
)


@settings(max_examples=120)
@given(LEVELS, CUES, QUOTES, INSIDE)
def test_a_secret_in_quotes_is_masked_whole_and_its_quotes_stay(level: str, cue: str, quotes: str, value: str) -> None:
    masked = masker(level)(cue.format(f"{quotes[0]}{value}{quotes[1]}") + " bye").text
    assert re.search(rf"{quotes[0]}<SECRET_1>{quotes[1]} bye$", masked), masked


@settings(max_examples=60)
@given(
    LEVELS,
    st.sampled_from(
        ["GPS: {}", "gps={}", "my coordinates are {}", "die Koordinaten: {}", "position {}", '"gps": "{}"']
    ),
    st.floats(2, 85).map("{:.4f}".format),
    st.floats(2, 175).map("{:.4f}".format),
    st.sampled_from([", ", ",", " ", ";"]),
)
def test_a_point_on_a_map_is_masked_whole(level: str, cue: str, north: str, east: str, joint: str) -> None:
    assert masker(level)(cue.format(f"{north}{joint}{east}")).text == cue.format("<LOCATION_1>")


@settings(max_examples=60)
@given(
    st.sampled_from(
        ["multiply {} by 12", "what is {} times 8", "add {} and 12", "{} + 4412", "round {} up", "3 % of {}"]
    ),
    st.integers(1001, 99_999).filter(lambda number: number % 100 and not 1900 <= number < 2100),
)
def test_a_number_to_reckon_with_is_no_ones(asked: str, number: int) -> None:
    assert masker("quasi")(asked.format(number)).text == asked.format(number)
