"""Private values where they are not looked for: in what looks like a placeholder, in numbers, tags, keys, and on the way out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.files import MASKED, REPORTS
from hallmark.mask.masking import Drafts, Masker
from hallmark.mask.rules import card_ok
from hallmark.params.loader import load_params
from hallmark.release.private_data import private_data
from stages import dedupe, mask, split
from tests.rows import mask_with, write_lines
from tests.workspace import KEY, ROOT, change_params, give_key, make_workspace

# --- what looks like a placeholder

PLACEHOLDER = r"<[A-Z][A-Z_]*_[1-9][0-9]{0,6}>"
MAIL = "jane.roe@acme-tools.io"


def masker_with(public: list[str] | None = None, key: bytes | None = None, **changes: Any) -> Masker:
    return Masker(mask_with(**changes), public or [], key)


@pytest.fixture(scope="module")
def rules() -> Masker:
    return masker_with()


def texts(masker: Masker, *given_texts: str, values: tuple[str, ...] = ()) -> list[str]:
    return [masked.text for masked in masker.records([Drafts(given_texts, values)])[0]]


@pytest.mark.parametrize(
    "text", ["<THANDEKA_MKHWANAZI_1>", "&lt;THANDEKA_MKHWANAZI_1&gt;", "\uff1cTHANDEKA_\u200bMKHWANAZI_1\uff1e"]
)
def test_a_name_in_the_form_of_a_placeholder_is_masked(rules: Masker, text: str) -> None:
    assert texts(rules, f"From {text} today", values=(text,)) == ["From <PLACEHOLDER_1> today", "<PLACEHOLDER_1>"]


def test_what_the_params_or_the_schema_know_stays() -> None:
    own = masker_with(patterns=[{"kind": "BADGE", "regex": r"B-\d{6}"}])
    assert own("B-123456 for <BADGE_9>").text == "<BADGE_1> for <BADGE_2>"
    assert masker_with(allow=["<STEP_3>"])("Go to <STEP_3>, <STEP_4>").text == "Go to <STEP_3>, <PLACEHOLDER_1>"
    assert masker_with(actions={"PLACEHOLDER": "keep"})("Go to <STEP_4>").text == "Go to <STEP_4>"
    listed = masker_with(public=["<EMAIL_1>"])
    assert listed(f"Is it <EMAIL_1> or {MAIL}?").text == "Is it <EMAIL_1> or <EMAIL_2>?"


def test_a_surrogate_can_be_told_from_what_came_in() -> None:
    masked = masker_with(style="surrogate", key=bytes.fromhex(KEY))(f"{MAIL} or <EMAIL_4> or <ROSA_MILLER_2>").text
    assert re.fullmatch(r"\S+@example\.com or <EMAIL_2> or [A-Z]\w+ [A-Z]\w+", masked)


PIECES = st.sampled_from(
    ["<EMAIL_1>", "<EMAIL_2>", "<EMAIL_12>", "<PERSON_1>", "<ROSA_MILLER_1>", "<ROSAMILLER_1>", "<A_B_1>", "<AB_1>",
     "<PLACEHOLDER_1>", MAIL, "ann@acme-tools.io", "<", ">", "_1>", "<EMAIL_", "&lt;", "<<EMAIL_1>>", "<EMAIL_0>"]
)  # fmt: skip


@given(st.lists(st.one_of(PIECES, st.from_regex(PLACEHOLDER, fullmatch=True), st.text(max_size=6)), max_size=10))
@example(["<A_B_1>", "<AB_1>", "<PLACEHOLDER_1>", "<EMAIL_1>", MAIL])
def test_no_two_values_get_one_placeholder_and_masking_again_changes_nothing(rules: Masker, pieces: list[str]) -> None:
    """Each piece is a value of one record, and all of them are its text."""
    text, *masked = texts(rules, " | ".join(pieces), values=tuple(pieces))
    originals: dict[str, str] = {}
    for piece, one in zip(pieces, masked, strict=True):
        if re.fullmatch(PLACEHOLDER, one) and re.fullmatch(rf"{PLACEHOLDER}|[\w.]+@acme-tools\.io", piece):
            assert originals.setdefault(one, piece) == piece
            assert one in text
    assert texts(rules, text, values=tuple(masked)) == [text, *masked]


# --- numbers, tags, keys

CARD = 4539148803436467
TOOL = {
    "name": "pay",
    "description": "Pays.",
    "parameters": {"type": "object", "properties": {"sum": {"type": "number"}}},
}
ROW: dict[str, Any] = {
    "id": "T-1",
    "customer": "C-1",
    "contact_name": "Thandeka Mkhwanazi",
    "contact_email": "thandeka@acme-tools.io",
    "contact_phone": "+27 82 555 0143",
    "account": "00448812",
    "text": "It was Rosa-Lee Quill (phone +44 20 8599 6728) who paid 1250000 twice.",
    "answer": {
        "note": "paid twice",
        "amount": 1250000,
        "year": 2026,
        "big": 1.5e12,
        "part": 4539148.8,
        "order": 123456789,
    },
    "tools": [TOOL],
    "worse": {"note": "no"},
    "tags": ["long", "two_products"],
    "more": "",
}
COLUMNS = {
    "task.kind": "tool_call",  # the one that shows tools
    "task.refusal": None,
    "mask.gold": None,
    "mask.ner": {"engine": "none", "model": None},
    "mask.workers": 1,
}
RECIPE = """
    kinds = {"contact_name": "PERSON", "contact_email": "EMAIL_ADDRESS", "contact_phone": "PHONE_NUMBER", "account": "ACCOUNT"}
    for file in sorted(Path("data/raw").glob("*.jsonl")):
        for row in json_lines(file):
            known = {column: row[column] if isinstance(row[column], list) else [row[column]] for column in kinds}
            yield Record(
                id=row["id"], group=row["customer"], prompt=row["text"], target=row["answer"], tools=row["tools"],
                rejected=row["worse"], tags=row["tags"], context=row["more"] or None, source=row["source"],
                private={kinds[name]: [str(one) for one in values if one] for name, values in known.items()},
            )
"""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"note": {"type": "string"}, "amount": {"type": ["number", "null"]}},
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_workspace(
        tmp_path_factory.mktemp("planted"), COLUMNS, recipe=f"from pathlib import Path\n{dedent(RECIPE)}"
    )
    (folder / "data/schema.json").write_text(json.dumps(SCHEMA))
    return folder


@pytest.fixture
def masked(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Mask rows that differ from `ROW`; returns the records."""
    monkeypatch.chdir(workspace)

    def run(*changes: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
        write_lines(Path("data/raw/tickets.jsonl"), [ROW | change for change in changes])
        before = Path("params.yaml").read_text()
        change_params(Path(), {name.replace("__", "."): value for name, value in params.items()})
        try:
            mask.run(load_params(Path("params.yaml")))
        finally:
            Path("params.yaml").write_text(before)
        return pl.read_parquet(MASKED).to_dicts()

    return run


def answer(**values: Any) -> dict[str, Any]:
    return {"answer": {"note": "paid"} | values}


def test_ordinary_numbers_tags_and_keys_stay(masked: Any) -> None:
    (record,) = masked({})
    assert json.loads(record["completion"][0]["content"]) == ROW["answer"]
    assert json.loads(record["tools"]) == [{"type": "function", "function": tool} for tool in ROW["tools"]]
    assert record["tags"] == ROW["tags"]


@pytest.mark.parametrize(
    ("key", "number", "kind"),
    [
        ("paid_with", CARD, "CARD"),
        ("customer", 448812, "ACCOUNT"),  # the account, which has zeros before it
        ("line", 27825550143, "PHONE"),  # a known number
        ("line", 2085996728, "PHONE"),  # the same, as it is dialled inside the country
        ("phone", 447911123456, "PHONE"),  # nowhere but here: the key says it
    ],
)
@pytest.mark.parametrize("column", ["answer", "worse"])
def test_a_private_number_is_masked_as_a_text(masked: Any, column: str, key: str, number: float, kind: str) -> None:
    numbered = 1 if kind != "PHONE" or str(number).endswith("2085996728") else 2  # a phone number is in the text
    (record,) = masked(
        {"text": ROW["text"].replace("1250000", "twice"), column: {"note": "paid", "list": [1, {key: number}, 2]}}
    )
    (message,) = record["completion" if column == "answer" else "rejected"]
    assert json.loads(message["content"])["list"] == [1, {key: f"<{kind}_{numbered}>"}, 2]


def test_a_private_number_is_an_error_if_the_schema_takes_no_text(masked: Any) -> None:
    with pytest.raises(HallmarkError, match=r"\(CREDIT_CARD by number\) breaks the schema") as caught:
        masked({}, {"id": "T-2"} | answer(amount=CARD))
    assert (caught.value.row, caught.value.field) == (2, "target")
    assert "make it one in recipe and schema" in str(caught.value)
    assert str(CARD) not in str(caught.value)
    (record,) = masked(answer(amount=CARD), mask__actions={"CREDIT_CARD": "keep"})
    assert str(CARD) in record["completion"][0]["content"]


def test_all_places_that_are_left_are_one_error(masked: Any) -> None:
    """Each with file, row, field, position and kind; and none with a value."""
    card, mail = "4539-1488-0343-6467", "jane.roe@acme-tools.io"
    rows = [
        {"id": card},
        {"id": "T-2", "customer": mail},
        {"id": "T-3", "tags": ["long", f"card_{card}"]},
        {"id": "T-4"} | answer(**{mail: 1}),
        {"id": "T-5", "tools": [TOOL | {"default": CARD}]},
    ]
    with pytest.raises(HallmarkError, match=r"in 5 places \(CREDIT_CARD 3, EMAIL_ADDRESS 2\)") as caught:
        masked(*rows)
    told = re.findall(r"row (\d), field '(\w+)'.*: ([A-Z_]+)\n", str(caught.value))
    assert told == [
        ("1", "id", "CREDIT_CARD"),
        ("2", "group", "EMAIL_ADDRESS"),
        ("3", "tags", "CREDIT_CARD"),
        ("4", "target", "EMAIL_ADDRESS"),
        ("5", "tools", "CREDIT_CARD"),
    ]
    assert not any(value in str(caught.value) for value in (card, mail, str(CARD)))
    with pytest.raises(HallmarkError, match="in 23 places") as caught:
        masked(*({"id": f"{number}@acme-tools.io"} for number in range(23)))
    assert str(caught.value).count("EMAIL_ADDRESS\n") == 20, "the error stays short"
    masked(*({"id": f"{number}@acme-tools.io"} for number in range(23)), mask__actions={"EMAIL_ADDRESS": "keep"})


def cards(count: int) -> list[str]:
    """Numbers of 16 digits from one issuer's, each with its check digit."""
    return [digits for number in range(12 * count) if card_ok(digits := f"45391488{number:08}")][:count]


@pytest.mark.parametrize(
    ("column", "names", "fits"),
    [
        ("id", cards(6), True),
        ("customer", cards(8), True),
        ("customer", [cards(1)[0]] * 8, False),  # one customer
        ("id", [str(CARD + number) for number in range(30)], False),  # a counter: every tenth fits
        ("tags", [str(1790000000000 + number) for number in range(20)], False),  # milliseconds
    ],
)
def test_a_column_of_cards_is_an_error_and_a_counter_is_none(
    masked: Any, column: str, names: list[str], fits: bool
) -> None:
    rows = [{"id": f"T-{n}", column: [name] if column == "tags" else name} for n, name in enumerate(names)]
    if not fits:
        assert len(masked(*rows)) == len(names)
        return
    with pytest.raises(HallmarkError, match="have the issuer and the check digit of a payment card") as caught:
        masked(*rows)
    assert caught.value.field == {"customer": "group"}.get(column, column)
    assert names[0] not in str(caught.value)
    assert len(masked(*rows, mask__actions={"CREDIT_CARD": "keep"})) == len(names)


def test_a_key_that_the_schema_lists_and_the_word_that_a_name_is_are_no_errors(masked: Any) -> None:
    public = SCHEMA | {"properties": SCHEMA["properties"] | {"thandeka": {"type": "string"}}}
    Path("data/schema.json").write_text(json.dumps(public))
    try:
        masked(answer(thandeka="x"))
    finally:
        Path("data/schema.json").write_text(json.dumps(SCHEMA))
    (record,) = masked({"contact_name": "Long", "tags": ["long", "Long", "shop.example.org"]})
    assert record["tags"] == ["long", "Long", "shop.example.org"]


# --- everything that git or a remote takes

# A value in each part of a row that is masked, replaced by a pseudonym, or not read at all. tests/test_places.py: those that stop.
PLANTED: dict[str, Any] = {
    "id": "Twelve Values",
    "customer": "thirteen.values@acme-tools.io",
    "contact_email": "eleven.values@acme-tools.io",
    "text": "I am at one.value@acme-tools.io, and <NOMSA_DLAMINI_1> paid 12 EUR. Rosa-Lee Quill (phone +44 20 8599 6728) too.",
    "more": "Earlier mail from two.values@acme-tools.io",
    "answer": {"note": "write to three.values@acme-tools.io", "paid": 5425233430109903},
    "worse": {"note": "write to six.values@acme-tools.io"},
    "tools": [TOOL | {"description": "asks eight.values@acme-tools.io"}],
    "internal": "ten.values@acme-tools.io",
}


def test_a_planted_value_is_in_nothing_that_leaves(masked: Any) -> None:
    give_key(Path())
    change_params(Path(), {"data.pseudonyms": "keyed"})
    words = ("alpha", "bravo", "crane", "delta", "eagle", "fable", "grape", "house", "igloo", "joker", "kayak", "lemon")
    others = [
        {"id": f"T-{i}", "customer": f"C-{i}", "text": f"{word} {word[::-1]} {i}. I paid {i} EUR, {word * 2}"}
        for i, word in enumerate(words, 2)
    ]
    masked(PLANTED, *others)
    params = load_params(Path("params.yaml"))
    dedupe.run(params.model_copy(update={"dedupe": params.dedupe.model_copy(update={"gold": None})}))
    split.run(params)
    left = []
    for file in [*REPORTS.rglob("*"), *Path("data").glob("*.json"), *Path("data").rglob("*.parquet")]:
        if file.suffix == ".parquet":
            left.append(repr(pl.read_parquet(file).to_dicts()))
        elif file.is_file():
            left.append(file.read_text(encoding="utf-8"))
    assert len(left) > 6
    private = re.compile(
        r"(?:one|two|three|six|eight|ten|eleven|twelve|thirteen)[. ]values?|nomsa|quill|8599|5425233430109903", re.I
    )
    assert [found for text in left for found in private.findall(text)] == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("reports/curve.csv", "step,loss\n1,joe.bloggs@acme-tools.io\n"),
        ("reports/page.html", "<p title='x'>mail joe.bloggs@acme-tools.io</p>"),
        ("reports/page.html", '<script type="application/json" id="data">[{"id":"joe.bloggs@acme-tools.io"}]</script>'),
        ("data/holdout.lock.json", '{"records": {"joe.bloggs@acme-tools.io": "0"}}'),
    ],
)
def test_the_last_check_reads_all_that_git_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(name)
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(HallmarkError, match=re.escape(name)) as caught:
        private_data([file], "error", load_params(ROOT / "params.yaml").mask)
    assert "bloggs" not in str(caught.value)


def test_the_last_check_leaves_answers_on_the_page_and_hashes_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def page(island: dict[str, Any]) -> list[Path]:
        data = f'<script type="application/json" id="data">{json.dumps([island])}</script>'
        Path("page.html").write_text(f"{data}<style>a{{b:4539148803436467}}</style>")
        return [Path("page.html")]

    hashed = {"id": "2632170365579328", "group": "4539148803436467", "models": [{"text": "joe.bloggs@acme-tools.io"}]}
    assert private_data(page(hashed), "error", load_params(ROOT / "params.yaml").mask) == {}
    for text in ("card 4539148803436467", "joe.bloggs@acme-tools.io", "4539-1488-0343-6467"):
        with pytest.raises(HallmarkError, match="holds what looks like private data"):
            private_data(page(hashed | {"text": text}), "error", load_params(ROOT / "params.yaml").mask)
