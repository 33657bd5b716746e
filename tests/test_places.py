"""Every place for a private value: how one gets there, and what happens to it. docs/security.md has the same table."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import polars as pl
import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.files import MASKED, REPORTS
from hallmark.base.refusal import Refusal
from hallmark.commands.committed import is_gold, is_ids
from hallmark.mask.leftover import people, rules_only
from hallmark.params.loader import load_params
from hallmark.release.private_data import private_data
from hallmark.service.gateway.callers import known_as
from stages import certify, mask
from tests.rows import write_lines
from tests.test_planted import COLUMNS, RECIPE, ROW, SCHEMA, TOOL, answer, cards
from tests.workspace import KEY, ROOT, change_params, give_key, make_workspace

Put = Callable[[list[str], list[str]], str]  # puts values, or sentences with them, in a place; returns what is kept
VALUES = {
    "mail": [f"{name}@acme-tools.io" for name in ("jane.roe", "rosa.quill", "tom.ford", "ann.lee")],
    "card": [f"{card[:4]}-{card[4:8]}-{card[8:12]}-{card[12:]}" for card in cards(4)],
    "name": ["Thandiwe Mokoena", "Aisha Khan", "Rosa Miller", "John Smith"],
}
CUES = {"mail": "Write to {}, please.", "card": "I paid by card {} twice.", "name": "The customer's name is {}."}


def masked(
    rows: list[dict[str, Any]], params: dict[str, Any] | None = None, schema: Any = None, name: str = "t"
) -> str:
    """What is kept of rows, params, schema and the name of the raw file."""
    before, raw = Path("params.yaml").read_text(), Path("data/raw", f"{name}.jsonl")
    write_lines(raw, [{**ROW, "id": f"T-{n}", **row} for n, row in enumerate(rows)])
    Path("data/schema.json").write_text(json.dumps(schema or SCHEMA))
    try:
        change_params(Path(), params or {})
        mask.run(load_params())
        kept = [Path("params.yaml"), Path("data/schema.json"), REPORTS / "mask.json"]
        return "\n".join([repr(pl.read_parquet(MASKED).to_dicts()), *(file.read_text() for file in kept)])
    finally:
        Path("params.yaml").write_text(before)
        raw.unlink()


def in_rows(change: Callable[[str], dict[str, Any]], *, cue: bool = False, keyed: bool = False) -> Put:
    pseudonyms = {"data.pseudonyms": "keyed"} if keyed else {}
    return lambda values, texts: masked([change(one) for one in (texts if cue else values)], pseudonyms)


def in_params(name: str, *, as_list: bool = False) -> Put:
    return lambda _, texts: masked([{}], {name: texts if as_list else f"Answer briefly. {texts[0]}"})


def in_schema(change: Callable[[list[str]], dict[str, Any]]) -> Put:
    return lambda values, _: masked([{}], schema=SCHEMA | {"properties": SCHEMA["properties"] | change(values)})


def argument(**schema: Any) -> dict[str, Any]:
    return {"tools": [TOOL | {"parameters": {"type": "object", "properties": {"sum": {"type": "string"} | schema}}}]}


def certified(_: list[str], texts: list[str]) -> str:
    """What `certify` takes from params.yaml to the card and the provenance, before it looks for what else it needs."""
    before = Path("params.yaml").read_text()
    change_params(Path(), {"gate.waive": {"data.leaks": " ".join(texts)}})
    try:
        certify.run(load_params())
    except HallmarkError as error:
        if error.field == "gate":
            raise
    finally:
        Path("params.yaml").write_text(before)
    return "\n".join(texts)


def reported(name: str, content: Callable[[str, str], str]) -> Put:
    def put(values: list[str], texts: list[str]) -> str:
        file = REPORTS / name
        file.write_text(content(values[0], texts[0]))
        try:
            private_data([file], "error", load_params().mask)
            return file.read_text()
        finally:
            file.unlink()

    return put


def judged(is_fine: Callable[[bytes], bool], line: Callable[[str], str]) -> Put:
    def put(values: list[str], texts: list[str]) -> str:
        content = line(values[0]).encode()
        if not is_fine(content):
            raise HallmarkError("holds more than positions and ids", remedy="take it out")
        return content.decode()

    return put


# What happens to an e-mail address, a card number and a name. gone: masked, replaced by a pseudonym, or not read at all;
# stopped: an error; told: kept, with a warning; stays: kept.
PLACES: dict[str, tuple[Put, str]] = {
    "input": (in_rows(lambda text: {"text": f"It broke. {text}"}, cue=True), "gone gone gone"),
    "context": (in_rows(lambda text: {"more": text}, cue=True), "gone gone gone"),
    "target, text": (in_rows(lambda text: answer(note=text), cue=True), "gone gone gone"),
    "target, value": (in_rows(lambda value: answer(who=value)), "gone gone gone"),
    "target, key": (in_rows(lambda value: answer(**{value: 1})), "stopped stopped stays"),
    "rejected": (in_rows(lambda text: {"worse": {"note": text}}, cue=True), "gone gone gone"),
    "rejected, key": (in_rows(lambda value: {"worse": {value: "no"}}), "stopped stopped stays"),
    "tool, name": (in_rows(lambda value: {"tools": [TOOL | {"name": value}]}), "gone gone gone"),
    "tool, description": (in_rows(lambda text: {"tools": [TOOL | {"description": text}]}, cue=True), "gone gone gone"),
    "tool, enum": (in_rows(lambda value: argument(enum=[value, "none"])), "gone gone gone"),
    "tool, title": (in_rows(lambda value: argument(x={"title": value})), "gone gone gone"),
    "tool, keyword of one's own": (in_rows(lambda value: {"tools": [TOOL | {"x-owner": value}]}), "gone gone gone"),
    "tool, key": (in_rows(lambda value: argument(properties={value: {}})), "stopped stopped stays"),
    "tags": (in_rows(lambda value: {"tags": [value]}), "stopped stopped stopped"),
    "id": (in_rows(lambda value: {"id": value}), "stopped stopped stopped"),
    "id, keyed": (in_rows(lambda value: {"id": value}, keyed=True), "gone gone gone"),
    "group": (in_rows(lambda value: {"customer": value}), "stopped stopped stopped"),
    "group, keyed": (in_rows(lambda value: {"customer": value}, keyed=True), "gone gone gone"),
    "identity column": (in_rows(lambda value: {"contact_name": value}), "gone gone gone"),
    "a column that data: doesn't name": (in_rows(lambda text: {"internal": text}, cue=True), "gone gone gone"),
    "name of a raw file": (lambda values, _: masked([{}], name=values[0]), "stopped stopped stays"),
    "task.system_prompt": (in_params("task.system_prompt"), "stopped stopped told"),
    "task.refusal": (in_params("task.refusal"), "stopped stopped told"),
    "other params": (certified, "stopped stopped stays"),
    "schema, labels": (in_schema(lambda values: {"who": {"enum": values}}), "stopped stopped told"),
    "schema, title": (in_schema(lambda values: {"who": {"title": values[0]}}), "stopped stopped told"),
    "schema, $defs": (lambda values, _: masked([{}], schema=SCHEMA | {"$defs": {values[0]: {}}}), "stopped stopped stays"),
    "schema, key": (in_schema(lambda values: {values[0]: {"type": "string"}}), "stopped stopped stays"),
    "gold, holdout ids": (
        judged(is_gold, lambda value: json.dumps({"id": value.replace(" ", ""), "start": 1})),
        "stopped stopped stays",
    ),
    "split.leave_out": (judged(is_ids, lambda value: value.replace(" ", "")), "stopped stopped stays"),
    "customer of a request": (lambda values, _: known_as(values[0], None), "stopped stopped stays"),
    "customer of a request, keyed": (lambda values, _: known_as(values[0], bytes.fromhex(KEY)), "gone gone gone"),
    "report": (reported("x.json", lambda value, text: json.dumps({"group": value})), "stopped stopped stays"),
    "page": (reported("x.html", lambda value, text: f"<p>{text}</p>"), "stopped stopped stays"),
}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = f"from pathlib import Path\n{dedent(RECIPE)}"
    folder = make_workspace(tmp_path_factory.mktemp("places"), COLUMNS, recipe=recipe)
    (folder / "data/raw/tickets.jsonl").unlink()
    give_key(folder)
    (folder / REPORTS).mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("place", PLACES)
def test_a_value_in_each_place_is_gone_or_stopped_or_told(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    monkeypatch.chdir(workspace)
    put, expected = PLACES[place]
    found = []
    for kind, values in VALUES.items():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            try:
                left = put(values, [CUES[kind].format(value) for value in values])
            except (HallmarkError, Refusal) as error:
                assert not any(value in str(error) for value in values)
                found.append("stopped")
                continue
        assert not any(value in caplog.text for value in values)
        stays = any(value.lower() in left.lower() or value.replace(" ", "") in left for value in values)
        told = "as you wrote it" in caplog.text
        found.append("told" if stays and told else "stays" if stays else "gone")
    assert " ".join(found) == expected


def test_what_the_params_let_through_stays(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    prompt = {"task.system_prompt": f"Answer briefly, as {VALUES['mail'][0]}."}
    assert VALUES["mail"][0] in masked([{}], prompt | {"mask.allow": [VALUES["mail"][0]]})
    assert VALUES["mail"][0] in masked([{}], prompt | {"mask.allow_patterns": [r"[\w.]+@acme-tools\.io"]})
    groups = [{"customer": name} for name in VALUES["name"]]
    assert VALUES["name"][0] in masked(groups, {"mask.allow": VALUES["name"]})


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        (["Thandiwe Mokoena", "aisha_khan", "rosa.miller", "John Smith"], 4),
        (["billing", "hardware", "software access", "lost_card", "card arrival", "other"], 0),
        (["aare", "birs", "limmat", "saane", "wiese"], 0),  # a word that no list has is no name
        (["Dell Latitude", "Apple Watch", "HP", "Lenovo"], 0),
    ],
)
def test_labels_that_are_people(labels: list[str], count: int) -> None:
    assert len(people(labels, rules_only(load_params(ROOT / "params.yaml").mask))) == count
