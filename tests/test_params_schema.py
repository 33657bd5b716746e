"""The JSON Schema of params.yaml: true to the loader, and a description for every key."""

from __future__ import annotations

import copy
import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from ruamel.yaml import YAML

from hallmark.params import schema as params_schema
from hallmark.params.loader import Params, resolved
from tests.workspace import ROOT

FIRST_LINE = "# yaml-language-server: $schema="


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return params_schema.params_schema(params_schema.comments())


@pytest.fixture(scope="module")
def validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.validator_for(schema)


@pytest.fixture
def params() -> dict[str, Any]:
    return resolved(ROOT / "params.yaml")


def test_the_schema_is_written_where_the_first_line_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schema: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    params_schema.main(Namespace())
    assert json.loads(params_schema.SCHEMA.read_text(encoding="utf-8")) == schema
    first = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == FIRST_LINE + params_schema.SCHEMA.as_posix()


def test_a_block_may_be_left_out_or_have_nothing_below_it(validator: Any) -> None:
    own = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert validator.is_valid(own)
    assert validator.is_valid(own | {"sft": None, "benchmark": {"server": {"kind": "vllm"}}, "eval": {"engine": None}})
    assert not validator.is_valid(own | {"benchmark": {"server": {"kind": "vllm", "cache_blocks": 3}}})


def places(value: Any, *before: str) -> Iterator[tuple[str, ...]]:
    """The path of every block and key of the params, down to what users name themselves."""
    for key, inner in value.items():
        yield (*before, key)
        if isinstance(inner, dict):
            yield from places(inner, *before, key)


def at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


FREE = {"records", "actions", "thresholds", "policy", "facts", "chat_template_kwargs", "patterns", "names"}
# What is in these is called as a comparator is: only the loader can say.
NAMED = {"sample", "comparators", "superiority", "non_inferiority"}


def test_a_typo_in_any_key_is_an_error_to_schema_and_loader_alike(validator: Any, params: dict[str, Any]) -> None:
    tried = 0
    for path in places(params):
        if FREE & {*path[:-1]} or NAMED & {*path[-2:-1]}:
            continue
        wrong = copy.deepcopy(params)
        block = at(wrong, path[:-1])
        block[f"{path[-1]}x"] = block.pop(path[-1])
        assert not validator.is_valid(wrong), path
        with pytest.raises(ValueError, match="validation error"):
            Params.model_validate(wrong)
        tried += 1
    assert tried > 150


def test_every_key_says_what_it_does_in_one_place_only(schema: dict[str, Any]) -> None:
    """In its comment, or in the description of its field if only another base or server has it."""
    silent: list[str] = []

    def look(block: dict[str, Any], path: str) -> None:
        for form in (block, *block.get("anyOf", [])):
            for name, inner in form.get("properties", {}).items():
                if not inner.get("description"):
                    silent.append(f"{path}{name}")
                look(inner, f"{path}{name}.")

    look(schema, "")
    assert silent == []
    comments = params_schema.comments()
    alone = params_schema.params_schema({})
    described = {path for path in comments if "description" in of_key(alone, path.split("."))}
    assert described == set(), "these have a comment and a description of their own"


def of_key(block: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """What a schema says of a key; {} if the key is named by the user."""
    for name in path:
        forms = [form["properties"] for form in (block, *block.get("anyOf", [])) if "properties" in form]
        block = next((form[name] for form in forms if name in form), {})
    return block
