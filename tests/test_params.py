"""The loader of `params.yaml`: every key is known, typed, and written or a default; every problem says how to fix it."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.loaded_code import NO_OUTPUT
from hallmark.base.params import Block
from hallmark.params.edit import defaults
from hallmark.params.loader import RENAMED, load_params, resolved
from tests.rows import refused
from tests.workspace import ROOT, change_params


def write(folder: Path, change: dict[str, Any]) -> Path:
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    change_params(folder, change)
    return folder / "params.yaml"


def problem(folder: Path, change: dict[str, Any]) -> str:
    with pytest.raises(HallmarkError) as caught:
        load_params(write(folder, change))
    assert "remedy:" in str(caught.value)
    return str(caught.value)


FEW_SHOT = {"kind": "few_shot", "examples": 2, "rule": "nearest", "max_tokens": 64}
HUB = {"source": "hub", "name": "org/model", "licence": "mit", "chat_template_kwargs": {}}
TEXT = {"task.kind": "text"}
CALLS = {"task.kind": "tool_call", "task.tool_format": "template", "eval.max_new_tokens": 72}
NOTHING = dict.fromkeys(("learning_rate", "epochs", "r", "layers"))
ENGINE = {"kind": "endpoint", "names": {"base": "a", "tuned": "b"}, "key": None, "logprobs": False, "timeout": 1.0}


@pytest.mark.parametrize(
    ("change", "field", "remedy"),
    [
        ({"sft.learning_rat": 0.1}, "sft.learning_rat", "did you mean 'learning_rate'?"),
        ({"mask.patterns": [{"kind": "A_B", "regx": "a"}]}, "mask.patterns.0", "'mask.patterns.0.regx' (did you mean 'regex'?)"),
        ({"zzz": {}}, "zzz", "known here: "),
        ({"base": HUB | {"revision": "main"}}, "base.revision", "full 40-digit commit hash"),
        (TEXT | {"eval.facts": {"order": r"(A)-(\d+)"}}, "eval.facts", "(?:...)"),
        ({"eval.comparators": {"tuned": FEW_SHOT}}, "eval.comparators", "is a model of the pipeline"),
        ({"eval.comparators": {"few": FEW_SHOT | {"kind": "few"}}}, "eval.comparators", "one of adapter, endpoint, few_shot"),
        ({"gate.superiority": {"base": 0.1, "few": 0.1}}, "gate.superiority", "there are base, few_shot, linear_copy, classical"),
        ({"gate.superiority": {"base": -0.02}}, "gate.superiority", "gate.non_inferiority: {base: 0.02}"),
        ({"eval.engine": ENGINE | {"concurrency": 1, "url": ["http://h/v1", "https://u:p@h/v1"]}}, "eval.engine.url", "change it"),
        ({"compute.device": "mps"}, "compute.device", "on Apple silicon, use cpu"),
        ({"sft.lr_scheduler": "warmup_stable_decay", "sft.decay_ratio": 0.99}, "sft.decay_ratio", "with sft.warmup_ratio"),
        ({"sft.batch_tokens": 1023}, "sft.batch_tokens", "1023 could not hold a record"),
        ({"sft.packing": True}, "sft.packing", "needs a length"),
        ({"sft.packing": True, "sft.batch_tokens": 4096}, "sft.packing", "eager attention"),
        (CALLS | {"task.kind": "extraction"}, "task.tool_format", "only tasks of kind tool_call have calls"),
        (CALLS | {"eval.constrained": 4}, "eval.constrained", "constrained decoding supports JSON only"),
        ({"task.tool_format": "xml"}, "task.tool_format", "Input should be 'json' or 'template'"),
        ({"tune.space.learning_rate": [3.0, 0.3]}, "tune.space.learning_rate", "the lowest factor comes first"),
        ({"tune.space.epochs": [2.0, 3.0]}, "tune.space.epochs", "must hold 1, the value in params.yaml"),
        ({"tune.space.r": [0]}, "tune.space.r.0", "greater than or equal to 1"),
        ({"tune.space": NOTHING}, "tune.space", "nothing to search"),
        ({"sft.learning_rate": "2e-4x"}, "sft.learning_rate", ""),
        ({"seed": 2**32}, "seed", ""),
        ({"gate.serving.latency_p95_s": float("nan")}, "gate.serving.latency_p95_s", ""),
        ({"base.chat_template_kwargs": {"temperature": float("inf")}}, "base.chat_template_kwargs", ""),
        ({"task.schema": "data/\u202eschema.json"}, "task.schema", ""),
        ({"mask.patterns": [{"kind": "A_B", "regex": "(" * 5_000 + ")" * 5_000}]}, "mask.patterns", ""),
    ],
)  # fmt: skip
def test_an_error_names_its_key_alone_and_what_to_write_instead(
    tmp_path: Path, change: dict[str, Any], field: str, remedy: str
) -> None:
    with refused() as caught:
        load_params(write(tmp_path, change))
    fields = str(caught.value.field).split(", ")
    assert all(named == field or named.startswith(f"{field}.") for named in fields)
    assert remedy in str(caught.value)


def test_a_missing_key_and_the_first_of_many_problems_are_said(tmp_path: Path) -> None:
    many = problem(tmp_path, {f"a{number}": 1 for number in range(500)})
    assert many.count("is not a known parameter") == 20
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    file = tmp_path / "params.yaml"
    file.write_text(re.sub(r"(?m)^  kind: extraction.*\n", "", text), encoding="utf-8")
    with pytest.raises(HallmarkError, match=r"'task\.kind' is missing"):
        load_params(file)


@pytest.mark.parametrize(
    ("change", "name", "there"),
    [
        ({"sft": {"lora": {"r": 3}}}, "sft", {"method": "qlora", "lora": {"r": 3, "alpha": 32}}),
        ({"gate.margins": {"omission": 0.2}}, "gate.margins", {"omission": 0.2}),
        ({"mask.countries": ["uk"]}, "mask.countries", ["uk"]),
        ({"mask.ner": {"engine": "none", "model": None}}, "mask.ner", {"engine": "none", "model": None}),
        ({"benchmark.server": {"port": 1}}, "benchmark.server", {"kind": "transformers", "port": 1, "batch_tokens": 512}),
        ({"eval.engine": {"kind": "vllm"}}, "eval.engine", {"kind": "vllm"}),
    ],
)  # fmt: skip
def test_what_is_left_out_is_a_default(tmp_path: Path, change: dict[str, Any], name: str, there: Any) -> None:
    """Blocks are merged; lists, mappings with own names, and blocks of another kind are replaced."""
    value: Any = resolved(write(tmp_path, change))
    for part in name.split("."):
        value = value[part]
    assert holds(value, there), value
    if name in change and change[name] == there:
        assert value == there


def holds(value: Any, there: Any) -> bool:
    if isinstance(there, dict):
        return all(key in value and holds(value[key], inner) for key, inner in there.items())
    return bool(value == there)


def test_params_with_only_what_has_no_default_are_valid(tmp_path: Path) -> None:
    """And all that have none are there: nothing more is needed, and no default is unknown or not of its type."""
    needed = [name for name, default in defaults().items() if default.required and "." in name]
    whole = resolved(ROOT / "params.yaml")
    few: dict[str, Any] = {"base": whole["base"]}
    for block, key in (name.split(".") for name in needed):
        few.setdefault(block, {})[key] = whole[block][key]
    few["gate"]["superiority"] = {"base": 0.1}
    file = tmp_path / "params.yaml"
    file.write_text(json.dumps(few), encoding="utf-8")
    assert load_params(file).model_dump(mode="json", by_alias=True) == resolved(file)
    assert list(resolved(file)) == list(dict.fromkeys(name.split(".")[0] for name in defaults())), "in their order"


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    file = write(tmp_path, {})
    text = re.sub(r"learning_rate: \d\S+", "learning_rate: 2e-4", file.read_text(encoding="utf-8"))
    file.write_text(text, encoding="utf-8")
    assert load_params(file).sft.learning_rate == 2e-4


def test_an_error_of_a_param_names_file_and_key_in_another_process_too() -> None:
    error = HallmarkError("too small", param="sft.lora.r", remedy="give more")
    assert str(error) == "params.yaml, field 'sft.lora.r': too small\n  remedy: give more"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301


def blocks(block: type[Block] = Block) -> Iterator[type[Block]]:
    """Every block of params.yaml, whichever room declares it."""
    for below in block.__subclasses__():
        yield below
        yield from blocks(below)


def test_no_parameter_has_a_default() -> None:
    """The files that declare blocks are not dependencies in dvc.yaml, because `resolved` alone says what runs."""
    found = set(blocks())
    defaults = [
        f"{block.__name__}.{name}"
        for block in found
        for name, info in block.model_fields.items()
        if not info.is_required()
    ]
    assert {block.__module__.split(".")[1] for block in found} >= {"base", "mask", "model", "answer"}
    assert len(found) > 30
    assert defaults == []


def test_no_block_decides_anything() -> None:
    """A rule of what to do with params is code that stages depend on, so it stands where it is listed as such."""
    deciding = [
        f"{block.__name__}.{name}"
        for block in set(blocks())
        for name, value in vars(block).items()
        if NO_OUTPUT.fullmatch(f"{block.__module__.replace('.', '/')}.py")
        and not name.startswith("_")
        and isinstance(value, property | cached_property | FunctionType | classmethod | staticmethod)
    ]
    assert deciding == []


def test_params_are_what_a_user_decides() -> None:
    assert len((ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()) <= 200


HOSTILE: dict[str, tuple[str, str]] = {
    "brackets": ("a: " + "[" * 1_000, "maximum depth"),
    "a billion laughs": (
        "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)),
        "more than 250000 values",
    ),
    "equal keys": ("seed: 1\nseed: 2\n", "duplicate key"),
    "a tag that fails": ("seed: !!int seven", "plain values"),
    "a megabyte": ("# " + "x" * 2**20, "larger than"),
    "a bracket open": ("seed: 1\nsft: {r: 3\nx: ]\n", "row 3"),
    "nothing": ("", "not a YAML mapping"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_error(tmp_path: Path, name: str) -> None:
    text, words = HOSTILE[name]
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(HallmarkError, match=words) as caught:
        load_params(tmp_path / "params.yaml")
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_is_an_error_that_says_the_new_one(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(HallmarkError) as caught:
        load_params(write(tmp_path, {old: 1}))
    assert new in caught.value.remedy
