"""The resolved params: where DVC tracks them, what a changed default runs again, what a commit's are, how they are shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hallmark.base import provenance as prov
from hallmark.commands import params as tool
from hallmark.params.loader import resolved
from hallmark.release.checking import changed_params
from tests.workspace import ROOT


def test_the_params_of_a_commit_are_those_that_code_resolved() -> None:
    files: dict[str, bytes] = {"params.yaml": b"sft: {epochs: 2}\nseed: 7\n"}
    before: tuple[dict[str, Any], list[str]] = ({"sft": {"epochs": 2}, "seed": 7}, [])
    assert prov.params_at(files.get, "", {}) == before, "of before there were defaults"
    lock: Any = {"code": {"params": before[0]}}
    files["code/params.json"] = b'{"sft": {"epochs": 2, "keep": "best"}, "seed": 7}'
    whole: dict[str, Any] = {"sft": {"epochs": 2, "keep": "best"}, "seed": 7}
    assert prov.params_at(files.get, "", lock) == (whole, [])
    made: Any = SimpleNamespace(externalParameters=SimpleNamespace(params=whole | {"mask": {"workers": 2}}))
    files["code/params.json"] = b'{"sft": {"epochs": 2, "keep": "best"}, "seed": 7, "mask": {}}'
    assert changed_params(made, files.get, "", lock) == [], "the number of workers changes no output"
    whole["mask"] = {}
    files["params.yaml"] = b"sft: {epochs: 3}\n"
    assert prov.params_at(files.get, "", lock) == (whole, ["seed", "sft.epochs"]), (
        "changed or removed, and not run since"
    )


def shown(capsys: pytest.CaptureFixture[str], *options: Any) -> str:
    tool.run(ROOT / "params.yaml", *options)
    return capsys.readouterr().out


def test_all_params_are_shown_with_value_default_and_effect(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, None, False)
    assert "\n* sft.lora.layers = 20  (default null)\n      number of layers, counted from the last" in said
    assert "\n  sft.weight_decay = 0.0\n      how strongly adapter weights" in said
    assert '\n* task.kind = "extraction"  (no default)\n' in said
    assert [line[:-1] for line in said.splitlines() if line.endswith(":") and line[0] != " "] == [
        name for name, value in resolved(ROOT / "params.yaml").items() if isinstance(value, dict) and value
    ]
