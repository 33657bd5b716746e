"""A value whose key, name or form says what it is: masked whole in any form, and what only looks like one stays."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hallmark.mask.kinds import KINDS
from hallmark.mask.live import LiveMasker
from hallmark.mask.masking import Drafts, Masker
from hallmark.mask.numbering import StandIns
from hallmark.mask.plain_view import hidden
from hallmark.mask.rules import iban_ok, luhn
from hallmark.params.loader import load_params
from tests.rows import mask_with
from tests.workspace import KEY, ROOT


def masker(**changes: Any) -> Masker:
    """Rules alone, which mask nothing but what they find."""
    return Masker(mask_with(**{"allow_patterns": []} | changes), key=KEY_BYTES)


KEY_BYTES = bytes.fromhex(KEY)
RULES = masker()

# By kind: keys, and values of that kind.
NAMES = st.sampled_from(["Lotte Brandvold", "lotte brandvold", "Miller", "Ngozi Okonjo", "van der Zorblatt", "O'Quill"])
VALUES: dict[str, tuple[list[str], st.SearchStrategy[str]]] = {
    "PERSON": (["first name", "last name", "surname", "patient name", "customer name", "Nachname", "apellidos"], NAMES),
    "SECRET": (
        ["password", "api key", "client secret", "access token", "passphrase", "db password"],
        st.from_regex(r'[A-Za-z]{2,8}[!$%#*_"\\-]?[0-9]{3,8}[A-Z]{0,3}!?', fullmatch=True),
    ),
    "USERNAME": (["user name", "username", "login", "screen name"], st.from_regex(r"[a-z]{3,9}[._][a-z]{2,9}[0-9]{0,3}", fullmatch=True)),
    "AGE": (["age", "patient age", "Alter"], st.integers(10, 119).map(str)),
    "PHONE_NUMBER": (["phone", "phone number", "mobile", "home phone", "Telefon"], st.from_regex(r"0[1-9][0-9]{6,9}", fullmatch=True)),
    "DATE_OF_BIRTH": (["dob", "date of birth", "birthday"], st.from_regex(r"[12][0-9]/0[1-9]|(19[5-9][0-9])-0[1-9]-1[0-9]", fullmatch=True)),
    "ACCOUNT": (["account number", "customer id", "policy number", "member id"], st.from_regex(r"([A-Z]{2,4}-)?[1-9][0-9]{5,8}", fullmatch=True)),
    "PASSPORT": (["passport", "passport number"], st.from_regex(r"[A-Z][0-9]{2}[A-Z][0-9]{5}", fullmatch=True)),
    "IBAN_CODE": (["iban"], st.from_regex(r"DE[0-9]{2}( [0-9]{4}){4} [0-9]{2}", fullmatch=True)),
    "ZIP_CODE": (["zip", "postal code", "PLZ"], st.from_regex(r"[1-9][0-9]{4}", fullmatch=True)),
    "STREET_ADDRESS": (["street address", "billing address"], st.sampled_from(["12 Elm Street", "Hauptstr. 5, Ulm", "Calle Mayor 3"])),
    "EMAIL_ADDRESS": (["email", "e-mail address"], st.sampled_from(["rosa@acme-tools.io", "rosa at acme-tools dot io"])),
}  # fmt: skip
SPELLINGS: list[Callable[[list[str]], str]] = [
    " ".join,
    "_".join,
    "-".join,
    lambda words: "_".join(words).upper(),
    lambda words: "".join([words[0].lower(), *map(str.capitalize, words[1:])]),
    lambda words: "".join(map(str.capitalize, words)),
]
KEYED = st.sampled_from(sorted(VALUES)).flatmap(
    lambda kind: st.tuples(
        st.tuples(st.sampled_from(VALUES[kind][0]), st.sampled_from(SPELLINGS)).map(lambda one: one[1](re.split("[ -]", one[0]))),
        VALUES[kind][1],
    )
)  # fmt: skip


def table(sign: str) -> Callable[[str, str], str]:
    def written(key: str, value: str) -> str:
        lines = io.StringIO()
        csv.writer(lines, delimiter=sign, lineterminator="\n").writerows(
            [["status", key, "e-mail"], ["open", value, "x"], ["shut", value, ""]]
        )
        return lines.getvalue()

    return written


JSON: dict[str, Callable[[str, str], str]] = {
    "json": lambda key, value: json.dumps({"status": "open", key: value}),
    "nested": lambda key, value: json.dumps([{"status": {key: value, "n": 1}}], indent=2),
    "list": lambda key, value: json.dumps({key: [value, value]}),
    "bare": lambda key, value: json.dumps({"a": {key: int(value) if re.fullmatch(r"[1-9]\d*", value) else value}}),
}
TEXT: dict[str, Callable[[str, str], str]] = {
    "python": lambda key, value: f"args = {{{key!r}: {value!r}}}",
    "escaped": lambda key, value: json.dumps({"body": json.dumps({key: value})}),
    "yaml": lambda key, value: f'status: open\n{key}: "{value}"\n',
    "xml": lambda key, value: f"<row><{key.replace(' ', '_')}>{value}</{key.replace(' ', '_')}></row>",
    "comma": table(","),
    "semicolon": table(";"),
    "tab": table("\t"),
    "markdown": lambda key, value: f"| status | {key} |\n|---|:---|\n| open | {value} |\n| shut | {value} |",
    "cdata": lambda key, value: f"<{key.replace(' ', '_')}><![CDATA[{value}]]></{key.replace(' ', '_')}>",
    "attribute": lambda key, value: f'<row n="1" {key.replace(" ", "-")}="{value}"/>',
    "input": lambda key, value: f'<input type="text" name="{key}" value="{value}">',
    "element": lambda key, value: f"<dt>{key}</dt><dd>{value}</dd>",
    "label": lambda key, value: f"<p><b>{key}:</b> {value}</p>",
    "row": lambda key, value: f"<tr><td>{key}</td>\n<td>{value}</td></tr>",
    "columns": lambda key, value: f"<tr><th>status</th><th>{key}</th></tr>\n<tr><td>open</td><td>{value}</td></tr>",
    "markdown row": lambda key, value: f"| field | value |\n|---|---|\n| {key} | {value} |\n| password | none |",
    "pair": lambda key, value: json.dumps({"field": key, "op": "=", "value": value}),
    "flag": lambda key, value: f'find --{key.replace(" ", "-")} "{value}" --dry-run',
    "ruby": lambda key, value: f'{{"{key}" => "{value}"}}',
    "log": lambda key, value: f'ok {key.replace(" ", "_")}="{value}" n=1',
    "query": lambda key, value: f"/find?{key.replace(' ', '_')}={value.replace(' ', '+')}&n=1",
    "escaped query": lambda key, value: f"/find?a%5B{quote(key).replace('_', '%5F')}%5D={quote(value)}&n=1",
    "arrow": lambda key, value: f"status -> open\n{key} -> {value}\n",
    "fat arrow": lambda key, value: f"status => open, {key} => {json.dumps(value)}",
    "aligned": lambda key, value: f"status  {key}   e-mail\n------  -----  ----\nopen    {value}   x\n\n",
    "aligned gaps": lambda key, value: f"status  {key}   e-mail\n        {value}\nshut    {value}",
    "insert": lambda key, value: " ".join(
        ["INSERT INTO t", f"(n, `{key}`)", "VALUES", f"(now(), '{value}')".replace("O'Q", "O''Q")]
    ),
    "items": lambda key, value: f"{key}:\n  - {value}\n  - '{value}'\nstatus: open",
    "below": lambda key, value: f"{key}: |\n    {value}\nstatus: open",
    "flow": lambda key, value: f"{key}: [{value}, {value}]",
}


def left(value: str, text: str) -> list[str]:
    """The runs of letters and digits of a value that stand in a text."""
    shown = re.sub(r"<[A-Z_]+_\d+>", " ", text)
    runs = re.findall(r"[^\W_]{2,}", value)
    return [run for run in runs if re.search(rf"(?<![^\W_]){re.escape(run)}(?![^\W_])", shown)]


def keys(value: Any) -> Any:
    """A document without its values."""
    if isinstance(value, dict):
        return {key: keys(item) for key, item in value.items()}
    return [keys(item) for item in value] if isinstance(value, list) else None


@given(KEYED, st.sampled_from(sorted(JSON)))
def test_no_value_of_a_private_key_is_left_and_json_stays_json(pair: tuple[str, str], form: str) -> None:
    text = JSON[form](*pair)
    masked = RULES(text).text
    assert left(pair[1], masked) == [], masked
    assert keys(json.loads(masked)) == keys(json.loads(text))


@given(KEYED, st.sampled_from(sorted(TEXT)))
def test_no_value_of_a_private_key_is_left_in_other_forms(pair: tuple[str, str], form: str) -> None:
    assume(not set(pair[1]) & set('"\\'))
    assume(
        form in ("comma", "semicolon", "tab", "python", "escaped", "yaml", "log", "pair", "flag", "ruby")
        or not set(pair[1]) & set("#%&<+,")
    )
    masked = RULES(TEXT[form](*pair)).text
    assert left(pair[1], masked) == [], masked


@given(KEYED, st.sampled_from(["{}", "default", "const", "examples"]))
def test_a_value_of_a_document_is_masked_by_its_key(pair: tuple[str, str], place: str) -> None:
    key, value = pair
    document: dict[str, Any] = {key: value if place == "{}" else {place: [value] if place == "examples" else value}}
    (masked,) = RULES.records([Drafts([], RULES.slots_of(document))])[0]
    assert re.fullmatch(r"<[A-Z_]+_1>", masked.text)
    filled = RULES.filled(document, iter([masked.text]))
    assert keys(filled) == keys(document)


def read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"password": "my_dog_is_blue"}', "my_dog_is_blue"),
        ('{"password": "correct horse battery staple"}', "correct horse battery staple"),
        ("/x?db_password=correct+horse+battery+staple", "correct+horse+battery+staple"),
        ('{"doctor": "Will"}', "Will"), ('{"Hausarzt":"Stein"}', "Stein"), ("<doctor>Miller</doctor>", "Miller"),
        ('{"assignee": "anna_k"}', "anna_k"),
        ('{"iban": -3.25}', "-3.25"), ("[-4111111111111111, 2]", "-4111111111111111"),
        ('{"card": 1.4111111111111111}', "1.4111111111111111"), ('{"a": [4111111111111111.5]}', "4111111111111111.5"),
        ('{"ids": [{"x": 1}, 4111111111111111]}', "4111111111111111"), ('["a", [1], 4111111111111111]', "4111111111111111"),
        ("Address: 12 Elm Street<x>Thanks", "12 Elm Street"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("level", ["quasi", "all"])
def test_a_key_says_what_its_value_is_whatever_its_words(text: str, value: str, level: str) -> None:
    before, _, after = text.partition(value)
    masked = masker(level=level)(text).text
    assert re.fullmatch(rf'{re.escape(before)}"?<[A-Z]+_1>"?{re.escape(after)}', masked), masked
    assert (read_json(masked) is None) == (read_json(text) is None), masked
    document = read_json(text)
    if isinstance(document, dict) and document in ({key: value} for key in document):
        assert re.fullmatch(r"<[A-Z]+_1>", RULES.records([Drafts([], RULES.slots_of(document))])[0][0].text)


def test_a_repeated_value_cuts_no_escape() -> None:
    text = r'{"a": "M\u00fcller", "password": "u00fcller"}'
    assert RULES(text).text == '{"a": "M<SECRET_1>", "password": "<SECRET_2>"}'


# --- numbers announced by name, dates of birth without a year, places, zones, hidden text


@given(
    st.sampled_from(["IBAN", "card number", "passport number", "social security number", "driver's license number", "account number"]),
    st.from_regex(r"[A-Z]{2}[0-9]{2}( ?[0-9]{4}){3,5}( ?[0-9]{2})?|[0-9]{4}([ -][0-9]{4}){3}|[A-Z][0-9]{7,8}", fullmatch=True),
    st.sampled_from(["is {}", ": {}", "{}", "is '{}'", "= {}"]),
)  # fmt: skip
def test_a_number_announced_by_its_name_is_masked_whole_whatever_its_check_digits(
    name: str, number: str, said: str
) -> None:
    plain = re.sub(r"\W", "", number)
    assume(not iban_ok(plain) and not (plain.isdigit() and luhn(plain)))
    masked = RULES(f"My {name} {said.format(number)}, please check.").text
    assert left(number, masked) == [], masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (r'{"csv": "name,phone\nlotte brandvold,01715558342"}', r'{"csv": "name,phone\n<PERSON_1>,<PHONE_1>"}'),
        (r'{"said": "Regards\nRajiv Kumar\tCEO"}', r'{"said": "Regards\n<PERSON_1>\tCEO"}'),
    ],
)
def test_an_escaped_line_break_of_json_parts_words(text: str, masked: str) -> None:
    assert RULES(text).text == masked


CARRIERS: list[Callable[[str], str]] = [
    lambda text: "".join(chr(0xE0000 + ord(char)) for char in text),
    lambda text: "".join(chr(0xE0100 + ord(char)) for char in text),
    lambda text: "".join("\u200b" if bit == "0" else "\u200c" for char in text for bit in f"{ord(char):08b}"),
    lambda text: "a".join(chr(0xE0000 + ord(char)) for char in text),
    lambda text: "".join("\xad" if bit == "0" else "\ufeff" for char in text for bit in f"{ord(char):08b}"),
]


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=9, max_size=40), st.sampled_from(CARRIERS))
def test_invisible_characters_carry_nothing_through(value: str, carrier: Callable[[str], str]) -> None:
    assert hidden(RULES(f"Hello {carrier(value)}, bye").text) == []


@given(
    st.sampled_from(
        "\xad\u034f\u061c\u0332\u0487\u1160\u17b4\u180b\u1ab0\u200b\u2060\u2800\u3164\ufe0f\ufe20\uffa0\U000e0101"
    )
)
def test_what_shows_nothing_parts_no_value(char: str) -> None:
    assert RULES(f"card {char.join('4929722653797141')} thanks").text == "card <CARD_1> thanks"


def test_flags_emoji_and_joined_letters_stay() -> None:
    text = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f ok \U0001f469\u200d\U0001f4bb \u2764\ufe0f می\u200cخواهم"
    assert RULES(text).text == text


def call(**arguments: Any) -> dict[str, Any]:
    function = {"name": "find", "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}


def test_a_request_is_masked_by_its_keys() -> None:
    live = LiveMasker(load_params(ROOT / "params.yaml").task, RULES.params, None)
    place = [{"role": "user", "content": "At [48.1374,11.5755]"}, call(gps=[48.1374, 11.5755])]
    assert "48.1374" not in str(live(place, None)[0].messages), "a point that a text tells is masked in the call too"
    asked = call(last_name="Miller", age=47, where=[{"field": "surname", "op": "=", "value": "drossel"}])
    (masked,) = live([asked], None)[0].messages
    where = [{"field": "surname", "op": "=", "value": "<PERSON_2>"}]
    arguments = json.loads(masked["tool_calls"][0]["function"]["arguments"])
    assert arguments == {"last_name": "<PERSON_1>", "age": "<AGE_1>", "where": where}


# --- stand-ins


def test_spellings_share_a_stand_in_and_an_internet_address_gets_a_reserved_one() -> None:
    masked = RULES("+49 171 5551234, 0049 171 5551234, phone 0171 5551234").text
    assert masked == "<PHONE_1>, <PHONE_1>, phone <PHONE_1>"
    masked = masker(style="surrogate")("from 84.1.101.22").text
    assert re.fullmatch(r"from (192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}", masked)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"DATE_TIME", "DATE_OF_BIRTH", "PLACEHOLDER", "UUID"}))
def test_different_values_of_a_record_have_different_surrogates(kind: str) -> None:
    written = [f"v{number:03d}q" for number in range(40)]
    one = masker(style="surrogate", level="all", patterns=[{"kind": kind, "regex": r"v\d{3}q"}])
    masked = one(" | ".join(written)).text.split(" | ")
    assert len(set(masked)) == len(written)


def test_parts_of_different_names_have_different_surrogates() -> None:
    stand_ins = StandIns(mask_with(style="surrogate"), KEY_BYTES, frozenset(), [])
    names = [f"F{number} L{number}" for number in range(60)]
    whole = [stand_ins.replacement("PERSON", name, name)[0] for name in names]
    parts = [stand_ins.replacement("PERSON", part, part)[0] for name in names for part in name.split()]
    assert " ".join(whole).split() == " ".join(parts).split()
    assert len(set(parts)) == len(parts)
