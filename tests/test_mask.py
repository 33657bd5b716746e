"""The mask stage: the same stand-in throughout a record, known values first, nothing passed through unseen."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import logging
import re
import socket
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.key import VARIABLE, digest_of, pseudonym
from hallmark.mask import rows as masked_rows
from hallmark.mask.identity_values import KnownValues
from hallmark.mask.kinds import PLACEHOLDER
from hallmark.mask.masking import Drafts, Masker
from hallmark.mask.rules import ibans
from hallmark.mask.second_check import residue
from hallmark.params.loader import load_params
from stages import mask
from tests.rows import mask_with, write_lines
from tests.workspace import (
    KEY,
    ROOT,
    add_to_recipe,
    change_params,
    give_records,
    make_workspace,
    run_here,
    stage,
    write_recipe,
)

RULES = {"mask.ner.engine": "none", "mask.ner.model": None}
TARGET = {
    "intent": "refund",
    "urgency": "normal",
    "product": "red kettle",
    "amount": 5,
    "date": "2026-03-01",
    "issues": [],
}
ROW: dict[str, Any] = {
    "id": "T-1",
    "customer": "C-1",
    "contact_name": "Marta Quill",
    "contact_email": "marta.quill@acme-tools.io",
    "contact_phone": "+1 202-555-0143",
    "received": "2026-03-02",
    "subject": "Refund for the red kettle",
    "body": "Please refund 5 EUR, MARTA QUILL here, mail marta.quill@acme-tools.io, bought 2026-03-01, order NL-20931.",
    "target": TARGET,
    "tags": ["short"],
}


@pytest.fixture(scope="module")
def masker() -> Masker:
    """The masker with the spaCy model, loaded once."""
    return Masker(load_params(ROOT / "params.yaml").mask)


@pytest.fixture(scope="module")
def rules() -> Masker:
    return Masker(mask_with())


def workspace(folder: Path, rows: list[Any], overrides: dict[str, Any] | None = None) -> Path:
    make_workspace(folder, {"mask.gold": None} | RULES | (overrides or {}))
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "data/raw/tickets.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return folder


@pytest.fixture
def run_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the stage on rows, in this process; returns the records."""

    def run(rows: list[Any], overrides: dict[str, Any] | None = None, *fields: str) -> list[dict[str, Any]]:
        folder = tmp_path / "repo"
        if not folder.exists():
            workspace(folder, rows, overrides)
            for field in fields:
                add_to_recipe(folder, field)
        else:
            change_params(folder, overrides or {})
        monkeypatch.chdir(folder)
        mask.run(load_params(Path("params.yaml")))
        return pl.read_parquet("data/masked.parquet").to_dicts()

    return run


def user_text(record: dict[str, Any]) -> str:
    return str(record["prompt"][-1]["content"])


# --- known values


@pytest.mark.parametrize("text", ["MARTA QUILL here", "martaquill wrote", "M A R T A Q U I L L", "Mrs. Quil wrote"])
def test_a_known_name_is_found_in_any_spelling(rules: Masker, text: str) -> None:
    record = Drafts([text], known=KnownValues([("PERSON", "Marta Quill")]))
    masked = rules.records([record])[0][0].text.lower()
    assert not re.search(r"quil|marta", re.sub(r"[^a-z]", "", masked))


@pytest.mark.parametrize("text", ["call 202.555.0143", "call (202) 5550143", "2 0 2 5 5 5 0 1 4 3"])
def test_a_known_number_is_found_in_any_spacing(rules: Masker, text: str) -> None:
    record = Drafts([text], known=KnownValues([("PHONE_NUMBER", "+1 202-555-0143")]))
    assert not re.search(r"\d{3}", rules.records([record])[0][0].text)


def test_a_customers_values_are_masked_in_its_other_records_and_in_no_others(run_mask: Any) -> None:
    body = "someone told zorblatt about the kettle"
    rows = [
        ROW | {"contact_name": "Ina Zorblatt"},
        ROW | {"id": "T-2", "contact_name": "Marta Quill", "body": body},
        ROW | {"id": "T-3", "customer": "C-2", "contact_name": "Marta Quill", "body": body},
    ]
    _, same, other = run_mask(rows)
    assert "zorblatt" not in user_text(same)
    assert "zorblatt" in user_text(other)


# --- lists, patterns, actions, surrogates


WORSE = "Marta Quill, mail marta.quill@acme-tools.io, is angry since Rosa Miller was rude."


@pytest.mark.parametrize(
    ("worse", "masked"),
    [
        (WORSE, "<PERSON_1>, mail <EMAIL_1>, is angry since <PERSON_2> was rude."),
        (json.dumps(TARGET | {"product": "Marta Quill"}, indent=2), None),
        ({"intent": "refuse"}, '{"intent":"refuse"}'),
    ],
    ids=["text", "JSON object", "refusal"],
)
def test_a_rejected_answer_uses_the_stand_ins_of_the_prompt_whatever_its_form(
    run_mask: Any, worse: Any, masked: str | None
) -> None:
    if masked is None:
        values = TARGET | {"product": "<PERSON_1>"}
        masked = json.dumps(values, separators=(",", ":"))
    ner = load_params(ROOT / "params.yaml").mask.ner
    overrides = {"mask.ner.engine": ner.engine, "mask.ner.model": ner.model}
    (record,) = run_mask([ROW | {"worse": worse}], overrides, 'rejected=row["worse"]')
    assert "<PERSON_1> here, mail <EMAIL_1>" in user_text(record)
    assert record["rejected"] == [{"role": "assistant", "content": masked}]


def test_deny_allow_and_patterns(rules: Masker) -> None:
    text = "Badge B-123456 of Projekt Falke, seen by Annelie Marsh."
    masked = Masker(
        mask_with(deny=["projekt falke"], allow=["Annelie Marsh"], patterns=[{"kind": "BADGE", "regex": r"B-\d{6}"}])
    )(text)
    assert masked.text == "Badge <BADGE_1> of <DENIED_1>, seen by Annelie Marsh."
    assert [span.recognizer for span in masked.spans] == ["pattern BADGE", "deny_list"]
    assert "Annelie" not in rules(text).text


def test_each_kind_has_its_own_action(run_mask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    plain = {"contact_name": "Ed Voss", "contact_email": None, "contact_phone": None}
    rows = [
        ROW | plain | {"body": "Mail zoe@acme-tools.io from 81.2.69.142."},
        ROW | plain | {"id": "T-2", "body": "My card is 4539 1488 0343 6467."},
    ]
    actions = {"IP_ADDRESS": "keep", "EMAIL_ADDRESS": "surrogate", "CREDIT_CARD": "drop"}
    (record,) = run_mask(rows, {"mask.actions": actions, "data.key": digest_of(KEY)})
    text = user_text(record)
    assert "81.2.69.142" in text
    assert "zoe@" not in text
    assert re.search(r"[\w.]+@example\.com", text)
    assert json.loads(Path("reports/mask.json").read_text())["rows"] == {
        "read": 2,
        "records": 2,
        "left_out": {},
        "written": 1,
        "dropped": 1,
    }


def test_surrogates_follow_the_key_and_are_no_ones() -> None:
    text = (
        "Mail jane.roe@acme-tools.io or ring +44 20 8599 6728; card 4539 1488 0343 6467, IBAN DE89370400440532013000."
    )
    params, key = mask_with(style="surrogate"), bytes.fromhex(KEY)
    one, again = Masker(params, key=key)(text).text, Masker(params, key=key)(text).text
    other = Masker(params, key=bytes(32))(text).text
    assert one == again != other
    assert not PLACEHOLDER.search(one)
    for private in ("jane", "acme-tools", "8599", "0343", "DE8937"):
        assert private not in one
    assert residue(one, allow_reserved=True) == []


@pytest.mark.parametrize("settings", [{"mask.style": "surrogate"}, {"mask.actions": {"EMAIL_ADDRESS": "surrogate"}}])
def test_surrogates_need_the_repos_key(run_mask: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(HallmarkError, match=r"data\.key': surrogates are made with a key.*\n.*hallmark\.commands\.key"):
        run_mask([ROW], settings)
    with pytest.raises(HallmarkError, match="surrogates are made with the repo's key, and none was given"):
        Masker(load_params(Path("params.yaml")).mask)


# --- pseudonyms


NAMED = [
    ROW | {"id": "ann.marsh@acme-tools.io", "customer": "Ann Marsh"},
    ROW | {"id": "4539 1488 0343 6467", "customer": "Ann Marsh"},
]


def test_ids_and_groups_become_keyed_pseudonyms(run_mask: Any) -> None:
    first, second = run_mask(NAMED, {"data.pseudonyms": "keyed"})
    key = bytes.fromhex(KEY)
    assert [first["id"], second["id"]] == [pseudonym(key, "id", row["id"]) for row in NAMED]
    assert first["group"] == second["group"] == pseudonym(key, "group", "Ann Marsh")
    everything = json.dumps([first, second])
    assert not [word for word in ("acme-tools", "Marsh", "4539", "6467") if word in everything]
    guess = {algorithm(value.encode()).hexdigest()[:16] for algorithm in (hashlib.sha256, hashlib.md5) for value in
             ("Ann Marsh", "group\0Ann Marsh")}  # fmt: skip
    assert not [word for word in guess if word in everything]
    change_params(Path.cwd(), {"data.key": digest_of("f" * 64)})
    Path("data/pseudonyms.key").write_text("f" * 64)
    other, _ = run_mask([])
    assert other["id"] != first["id"]
    assert other["group"] != first["group"]
    assert other["source"] != first["source"]
    assert other["prompt"] == first["prompt"]


def test_no_key_no_pseudonyms(run_mask: Any) -> None:
    (record,) = run_mask([ROW])
    assert (record["id"], record["group"]) == ("T-1", "C-1")
    Path("data/raw/tickets.jsonl").write_text(json.dumps(ROW | {"customer": "Marta Quill"}) + "\n")
    with pytest.raises(HallmarkError, match="is one of the record's private values") as caught:
        run_mask([])
    assert (caught.value.field, caught.value.row) == ("group", 1) and "data.pseudonyms" in caught.value.remedy


@pytest.mark.parametrize("kind", ["id", "group"])
def test_no_pseudonym_looks_like_private_data(kind: str) -> None:
    """Sixteen hexadecimal digits, as there were before, can be a Belgian IBAN."""
    names = [pseudonym(bytes.fromhex(KEY), kind, str(number)) for number in range(10_000)]
    assert len(set(names)) == len(names)
    assert not [name for name in names if re.search(r"\d", name)]
    assert [found for at in range(0, len(names), 500) if (found := residue("\n".join(names[at : at + 500])))] == []
    assert residue("id-be71096123456769") == ["IBAN_CODE"]


def test_the_beginning_of_a_run_of_codes_is_no_iban() -> None:
    """One in 97 has right check digits: a listed country's must have its length and form, too."""
    numbers = [f"INV SI{n} DTD 2024-03-30 Job HWE{n + 7} GRSU{n}4" for n in range(224000, 224800)]
    assert not [text for text in numbers if [*ibans(text)]]
    assert [*ibans("pay to SI56 2633 0001 2039 086 now")] and [*ibans("pay to ZZ87 1234 5678 9012 3456 789 now")]


def test_find_names_the_raw_row_and_nothing_of_it(run_mask: Any) -> None:
    first, second = run_mask(NAMED, {"data.pseudonyms": "keyed", "mask.workers": 1})
    folder, raw = Path.cwd(), "data/raw/tickets.jsonl"
    assert stage(folder, "mask", "--find", second["id"]).stdout == f"{raw}:2\n"
    assert stage(folder, "mask", "--find", first["group"]).stdout == f"{raw}:1\n{raw}:2\n"
    for name in ("Ann Marsh", "id-bbbbbbbbbbbbbbbb"):
        done = stage(folder, "mask", "--find", name, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "no record has this name" in done.stderr
        assert name not in done.stderr


def test_the_source_follows_what_a_record_is_made_of(run_mask: Any) -> None:
    (old,) = run_mask([ROW])
    for change in ({"contact_name": "Ed Voss"}, {"new": 1}, {"target": dict(reversed(TARGET.items()))}, {"id": "T-2"}):
        Path("data/raw/tickets.jsonl").write_text(json.dumps(ROW | change) + "\n")
        assert run_mask([])[0]["source"] == old["source"], change
    for change in ({"body": ROW["body"] + "."}, {"customer": "C-2"}, {"target": TARGET | {"amount": 6}}):
        Path("data/raw/tickets.jsonl").write_text(json.dumps(ROW | change) + "\n")
        assert run_mask([])[0]["source"] != old["source"], change


# --- structured targets


def test_a_target_that_a_placeholder_would_break_says_so_and_takes_values_that_fit_its_schema(
    run_mask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["mail", "people"],
        "properties": {
            "mail": {"type": "string", "pattern": r"^[^@<>]+@[^@<>]+$"},
            "people": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        },
    }
    target = {"mail": "jane.roe@acme-tools.io", "people": [{"name": "Marta Quill"}, {"name": "marta quill"}]}
    row = ROW | {"body": "Jane writes from jane.roe@acme-tools.io for Marta Quill", "target": target}
    folder = Path.cwd()
    with pytest.raises(HallmarkError, match=r"breaks data/schema\.json"):
        run_mask([row])
    assert Path.cwd() != folder
    Path("data/schema.json").write_text(json.dumps(schema))
    with pytest.raises(HallmarkError, match=r"breaks the schema") as caught:
        run_mask([row], {"task.refusal": None})
    assert "mask.actions: {EMAIL_ADDRESS: surrogate}" in caught.value.remedy
    monkeypatch.setenv("HALLMARK_KEY", "5" * 64)
    actions = {"mask.actions": {"EMAIL_ADDRESS": "surrogate"}, "data.key": digest_of("5" * 64)}
    (record,) = run_mask([row], {"task.refusal": None} | actions)
    answer = json.loads(record["completion"][0]["content"])
    assert re.fullmatch(schema["properties"]["mail"]["pattern"], answer["mail"])  # type: ignore[index]
    assert "acme" not in json.dumps(answer)
    assert answer["mail"] in user_text(record)
    assert answer["people"][0] == answer["people"][1]
    assert "Quill" not in json.dumps(answer)


# --- the report, and the second check


@pytest.mark.parametrize("keyed", [False, True])
def test_gold_spans_name_a_record_by_its_id_or_its_pseudonym(
    run_mask: Any, keyed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    name = pseudonym(bytes.fromhex(KEY), "id", "T-1") if keyed else "T-1"
    prompt = f"{ROW['subject']}\n{ROW['body']}"
    span = {"id": name, "start": prompt.index("MARTA"), "end": len(prompt), "kind": "PERSON"}
    run_mask([ROW], {"data.pseudonyms": "keyed", "data.key": digest_of(KEY)})
    Path("data/gold/named.jsonl").write_text(json.dumps(span) + "\n")
    run_mask([ROW], {"mask.gold": "data/gold/named.jsonl"})
    assert json.loads(Path("reports/mask.json").read_text())["gold"]["spans"] == 1


def test_the_report_counts_and_nothing_tells_a_private_value(run_mask: Any, caplog: pytest.LogCaptureFixture) -> None:
    at = f"{ROW['subject']}\n{ROW['body']}".index("MARTA")
    with caplog.at_level(logging.INFO):
        gold = [
            {"id": "T-1", "start": at, "end": at + 11, "kind": "PERSON"},
            {"id": "T-1", "start": 0, "end": 6, "kind": "MISSED"},
        ]
        with pytest.raises(HallmarkError, match="gold"):
            run_mask([ROW], {"mask.gold": "data/gold/mine.jsonl"})
        write_lines(Path("data/gold/mine.jsonl"), gold)
        run_mask([ROW])
    found = json.loads(Path("reports/mask.json").read_text())
    assert found["rows"] == {"read": 1, "records": 1, "left_out": {}, "written": 1, "dropped": 0}
    assert found["records_with_spans"] == 1
    assert found["spans"]["total"] == 2
    assert found["spans"]["by_kind"] == {"EMAIL_ADDRESS": 1, "PERSON": 1}
    assert found["spans"]["by_kind_and_recognizer"]["PERSON"] == {"known_value": 1}
    assert found["gold"]["recall_by_kind"] == {"MISSED": 0.0, "PERSON": 1.0}
    assert found["gold"]["precision_by_kind"] == {"EMAIL_ADDRESS": 0.0, "PERSON": 1.0}
    assert found["gold"]["records_that_leak"] == 1
    told = Path("reports/mask.json").read_text() + caplog.text
    assert not re.search("quill|marta|acme", told, re.IGNORECASE)


# --- any length, any language, no network, any number of workers


def test_private_data_at_any_place_of_a_long_text_is_found(rules: Masker) -> None:
    text = "the kettle is fine and red. " * 900 + "Write to late.comer@acme-tools.io today. " + "so it is. " * 900
    assert len(text[: text.index("late")].split()) > 5000
    assert "late.comer" not in rules(text).text
    for shift in range(3960, 4040, 7):  # across the edge of a window
        assert "4539" not in rules("x " * (shift // 2) + " card 4539 1488 0343 6467 ").text


@pytest.fixture(scope="module")
def token_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real token classifier of 64 tokens, with weights set by hand: `zorblat` is a person, nothing else is."""
    import torch
    from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("ner")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "zorblat", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words))
    labels = {0: "O", 1: "B-PER"}
    sizes = {"vocab_size": len(words), "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 0}
    config = BertConfig(**sizes, num_attention_heads=2, max_position_embeddings=64, id2label=labels)
    model = BertForTokenClassification(config)
    with torch.no_grad():
        for parameter in (*model.bert.embeddings.parameters(), *model.classifier.parameters()):
            parameter.zero_()
        model.bert.embeddings.LayerNorm.weight.fill_(1)
        model.bert.embeddings.word_embeddings.weight[:, 0] = 1
        model.bert.embeddings.word_embeddings.weight[words.index("zorblat"), :2] = torch.tensor([0.0, 1.0])
        model.classifier.weight[0, 0] = model.classifier.weight[1, 1] = 5
    model.save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    return folder


def test_a_token_classifier_finds_names_past_its_window(token_classifier: Path) -> None:
    ner = {"engine": "transformers", "model": str(token_classifier)}
    masked = Masker(mask_with(ner=ner))("the dog saw " * 200 + "zorblat there, not the zor blat")
    assert masked.text.endswith("saw <PERSON_1> there, not the zor blat")
    assert [span.recognizer for span in masked.spans] == ["transformers"]


@pytest.mark.parametrize("engine", ["transformers", "gliner"])
def test_an_ner_model_is_a_folder_with_safetensors(token_classifier: Path, tmp_path: Path, engine: str) -> None:
    with pytest.raises(HallmarkError, match="no folder") as caught:
        Masker(mask_with(ner={"engine": engine, "model": "dslim/bert-base-NER"}))("hello")
    assert caught.value.field == "mask.ner.model"
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(HallmarkError, match=r"no model\.safetensors"):
        Masker(mask_with(ner={"engine": engine, "model": str(tmp_path)}))("hello")


@pytest.mark.skipif(find_spec("gliner") is not None, reason="GLiNER is installed")
def test_gliner_that_is_not_installed_is_one_clear_error(token_classifier: Path) -> None:
    with pytest.raises(HallmarkError, match="GLiNER is not installed") as caught:
        Masker(mask_with(ner={"engine": "gliner", "model": str(token_classifier)}))("hello")
    packages = re.search("pip install --no-deps (.+?)`", str(caught.value))
    assert packages
    for place in ("hallmark/params/defaults.yaml", "docs/choices.md"):
        assert f"pip install --no-deps {packages[1]}`" in (ROOT / place).read_text(encoding="utf-8")
    assert str(packages[1].split()).replace("'", '"') in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_no_network_is_asked(masker: Masker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Any:
        raise AssertionError("the masker went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    text = masker(
        "Mail jane.roe@acme-tools.co.uk, see https://www.acme-tools.co.uk/x, or ask Priyanka Raghunathan."
    ).text
    assert text == "Mail <EMAIL_1>, see <URL_1>, or ask <PERSON_1>."


def test_workers_and_groups_do_not_change_the_bytes(run_mask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [ROW | {"id": f"T-{number}", "body": f"a{number}@acme-tools.io asks"} for number in range(150)]
    run_mask(rows, {"mask.workers": 2})
    two = Path("data/masked.parquet").read_bytes()
    run_mask(rows, {"mask.workers": 1})
    assert Path("data/masked.parquet").read_bytes() == two
    monkeypatch.setattr(masked_rows, "GROUP_ROWS", 40)
    records = run_mask(rows)
    assert [record["id"] for record in records] == [row["id"] for row in rows]
    assert all("acme" not in user_text(record) for record in records)


# --- bad input

EMAIL, CARD = "jane.roe@acme-tools.io", "4539 1488 0343 6467"
DISGUISES = {
    "zero-width space": EMAIL.replace("@", "\u200b@\u200b"),
    "soft hyphen": EMAIL.replace("roe", "r\u00adoe"),
    "decimal entity": EMAIL.replace("@", "&#64;"),
    "entity of an entity": html.escape(EMAIL.replace("@", "&#64;")),
    "quoted printable": "".join(f"={ord(char):02X}" for char in EMAIL),
    "escapes of JSON": "".join(f"\\u{ord(char):04x}" for char in CARD),
    "grapheme joiners": "\u034f".join(EMAIL),
    "keycaps": "".join(char + "\ufe0f\u20e3" if char.isdigit() else char for char in CARD),
    "codes of a terminal": f"{CARD[:6]}\x1b[1m{CARD[6:]}",
    "base64": base64.b64encode(f"To: x\n{EMAIL}\n".encode()).decode(),
    "NUL": EMAIL.replace("roe", "r\0oe"),
    "Arabic digits": "".join(chr(ord(char) - 48 + 0x660) if char.isdigit() else char for char in CARD),
    "no-break spaces": CARD.replace(" ", "\u00a0"),
    "en dashes": CARD.replace(" ", "\u2013"),
}


@pytest.mark.parametrize("value", DISGUISES.values(), ids=DISGUISES)
def test_a_disguised_value_is_masked_whole(rules: Masker, value: str) -> None:
    masked = rules(f"It is {value} as said.")
    assert re.fullmatch(r"It is \W*<(EMAIL|CARD)_1>\W* as said\.", masked.text)
    assert residue(f"It is {value} as said.") != []


@pytest.mark.parametrize(
    "piece",
    [
        "1 ", "A1", "nos. 1/2, ", "4539 ", "+1 ", "DE89 ", "a@a.", "Elm Street 1 ", "JALAN A 1,\n", "A ", "J.R. ", "我叫",
        '"name": ', "name=", '{"a":[', '"', "name,phone\n", "|", "<a>", "[1.1234,", "\\", "O'", "A.", "Mc", "王伟先生",
        "name -> a ", "name:\n- a\n", "name  age\n", "(name) VALUES ('", "(name) VALUES (1),(", "[a(", "curl -u ", "login -p ", "name%5D=",
    ],
)  # fmt: skip
def test_time_grows_with_the_length_of_a_hostile_text(rules: Masker, piece: str) -> None:
    def taken(length: int) -> float:
        times = []
        for _ in range(2):  # the faster one: in the other, the garbage of all other tests may have been collected
            start = time.process_time()
            rules(piece * (length // len(piece)))
            times.append(time.process_time() - start)
        return min(times)

    assert taken(16_000) < 6 * taken(4_000) + 0.5


@given(st.lists(st.integers(0, 10**8), min_size=10, max_size=80))
@example(list(range(1000, 1400)))
def test_no_card_is_left_in_a_row_of_numbers(rules: Masker, numbers: list[int]) -> None:
    masked = rules(" ".join(map(str, numbers)))
    assert "CREDIT_CARD" not in residue(masked.text)


FRAGMENTS = [EMAIL, CARD, "Marta Quill", "12 Elm Street", "+1 202-555-0143", "<EMAIL_3>", "<PERSON_1>", "my name is", "&#64;",
             "card", "\u200b", "John", ", ", "\n", "password: hunter2", "<", ">", "_1", "at", "born on 3 March 1971"]  # fmt: skip


@given(st.one_of(st.text(max_size=120), st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(" ".join)))
def test_masking_is_idempotent(masker: Masker, text: str) -> None:
    once = masker(text).text
    assert masker(once).text == once


@given(st.lists(st.one_of(st.text(max_size=10), st.sampled_from(FRAGMENTS)), max_size=12).map(" ".join))
def test_spans_are_of_the_input_and_rebuild_the_output(rules: Masker, text: str) -> None:
    masked = rules(text)
    at, pieces = 0, []
    for span in masked.spans:
        assert at <= span.start < span.end <= len(text)
        pieces.append(re.escape(text[at : span.start]) + r"<[A-Z_]+_\d+>")
        at = span.end
    whole = "".join([*pieces, re.escape(text[at:])])
    assert re.fullmatch(re.sub(r"<([A-Z_]+)_\d>", r"<\1_\\d+>", whole), masked.text)  # what came in is numbered again


# --- the recipe


def test_the_preview_shows_the_first_records_masked_and_writes_nothing(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "repo", [ROW, ROW | {"id": "T-2"}])
    (line,) = run_here(folder, "hallmark.commands.preview", "--first", "1").stdout.splitlines()
    shown = json.loads(line)
    assert shown["source"] == "data/raw/tickets.jsonl:1"
    assert "<PERSON_1> here, mail <EMAIL_1>" in shown["prompt"][0]["content"]
    assert {"kind": "EMAIL_ADDRESS", "recognizer": "known_value"} in shown["spans"]
    assert not (folder / "data/masked.parquet").exists()


UNLIKE = "import os\nfor row in json_lines('data/raw/tickets.jsonl'):\n    "
MADE = "yield Record(id=row['id'], group='g', prompt={}, target={}, source=row['source'], {})"


@pytest.mark.parametrize(
    ("record", "words", "field"),
    [
        (MADE.format("f'{hash(row[\"body\"])}'", "row['target']", ""), "ran a second time", None),
        (MADE.format("row['body']", "row['target']", "private={'PERSONN': ['Bo']}"), "no kind PERSONN", "private"),
        (MADE.format("row['body']", "row['target']", "tools=[{'name': 'x'}]"), "only for tasks", "tools"),
        (MADE.format("row['body']", "{'intent': 'x'}", ""), "breaks data/schema.json", "target"),
    ],
)
def test_a_recipe_that_cannot_be_masked_is_one_error_and_writes_nothing(
    run_mask: Any, record: str, words: str, field: str | None
) -> None:
    run_mask([ROW])
    Path("data/masked.parquet").unlink()
    write_recipe(Path(), UNLIKE + record)
    with pytest.raises(HallmarkError, match=words) as caught:
        run_mask([])
    assert caught.value.field == field
    assert not Path("data/masked.parquet").exists()


def test_raw_files_that_change_between_the_two_runs_stop_it(run_mask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(*_: Any) -> list[str]:
        write_lines(Path("data/raw/tickets.jsonl"), [ROW | {"body": "another"}])
        return []

    monkeypatch.setattr(mask, "check_people", changed)
    with pytest.raises(HallmarkError, match="made other records than the run before"):
        run_mask([ROW])
    assert not Path("data/masked.parquet").exists()


def test_messages_keep_their_roles_and_turns_and_the_context_stands_before_what_is_asked(run_mask: Any) -> None:
    turns = [
        {"role": "system", "content": "Be kind to Marta Quill."},
        {"role": "user", "content": "I am Marta Quill."},
        {"role": "assistant", "content": "Hello Marta Quill."},
        {"role": "user", "content": "Mail ann@acme-tools.io"},
    ]
    run_mask([ROW])
    give_records(Path(), [{"id": "a", "group": "g", "prompt": turns, "context": "About Marta Quill", "target": TARGET,
                           "private": {"PERSON": ["Marta Quill"]}}])  # fmt: skip
    write_recipe(Path(), "for row in json_lines('data/raw/rows.jsonl'):\n    yield Record(**row)")
    (record,) = run_mask([])
    prompt = load_params().task.system_prompt
    assert [(one["role"], one["content"]) for one in record["prompt"]] == [
        ("system", f"{prompt}\n\nBe kind to <PERSON_1>."),
        ("user", "I am <PERSON_1>."),
        ("assistant", "Hello <PERSON_1>."),
        ("user", "About <PERSON_1>\n\nMail <EMAIL_1>"),
    ]
    assert record["context"] == "About <PERSON_1>"


def test_live_records_follow_those_of_the_recipe_and_keep_their_names(run_mask: Any) -> None:
    run_mask(NAMED, {"data.pseudonyms": "keyed"})
    group = pseudonym(bytes.fromhex(KEY), "group", "Ann Marsh")
    live = {"id": "trace:1", "group": group, "prompt": "Marta Quill of <EMAIL_1> asks", "target": TARGET}
    Path("data/raw/live").mkdir()
    write_lines(Path("data/raw/live/collected-1.jsonl"), [live])
    *made, last = run_mask([])
    assert len(made) == 2 and (last["id"], last["group"]) == ("trace:1", group) == (last["id"], made[0]["group"])
    assert user_text(last) == "<PERSON_1> of <EMAIL_1> asks"  # what the recipe knows of the customer is known here too
    write_lines(Path("data/raw/live/collected-2.jsonl"), [live])
    with pytest.raises(HallmarkError, match="two records have the same id"):
        run_mask([])


def test_the_part_that_a_record_names_stands_in_the_rows(run_mask: Any) -> None:
    """`split` reads it; without one it is null."""
    rows = [ROW | {"part": "holdout"}, ROW | {"id": "T-2", "part": None}]
    assert [record["part"] for record in run_mask(rows, None, 'part=row["part"]')] == ["holdout", None]
