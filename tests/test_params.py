"""The loader of `params.yaml`: every key is known, typed, and written or a default; every problem says how to fix it."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from ruamel.yaml import YAML

from hallmark.base.errors import HallmarkError
from hallmark.base.loaded_code import NO_OUTPUT
from hallmark.base.params import Block
from hallmark.params.edit import DEFAULTS, defaults
from hallmark.params.loader import Params, load_params, merged, resolved
from tests.workspace import ROOT, make_workspace


def write(folder: Path, change: dict[str, Any], remove: str | None = None) -> Path:
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for key, value in change.items():
        *blocks, last = key.split(".")
        block = params
        for name in blocks:
            block = block.setdefault(name, {})
        block[last] = value
    if remove:
        *blocks, last = remove.split(".")
        block = params
        for name in blocks:
            block = block[name]
        del block[last]
    file = folder / "params.yaml"
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(params, stream)
    return file


def problem(folder: Path, change: dict[str, Any], remove: str | None = None) -> str:
    with pytest.raises(HallmarkError) as caught:
        load_params(write(folder, change, remove))
    assert "remedy:" in str(caught.value)
    return str(caught.value)


FEW_SHOT = {"kind": "few_shot", "examples": 2, "rule": "nearest", "max_tokens": 64}


def test_the_shipped_parameters_load() -> None:
    assert isinstance(load_params(ROOT / "params.yaml"), Params)


def test_an_unknown_key_is_an_error_with_a_near_name(tmp_path: Path) -> None:
    text = problem(tmp_path, {"sft.learning_rat": 0.1})
    assert "'sft.learning_rat' is not a known parameter" in text
    assert "did you mean 'learning_rate'?" in text


def test_an_unknown_block_lists_the_known_ones(tmp_path: Path) -> None:
    assert "known here: " in problem(tmp_path, {"zzz": {}})


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("sft.learning_rate", "2e-4x", "sft.learning_rate"),
        ("sft.batch_size", "8", "sft.batch_size"),
        ("sft.batch_size", 0, "sft.batch_size"),
        ("sft.batch_size", 8.0, "sft.batch_size"),
        ("sft.gradient_checkpointing", "yes", "sft.gradient_checkpointing"),
        ("sft.method", "dora", "sft.method"),
        ("sft.lora.dropout", 1.0, "sft.lora.dropout"),
        ("compute.device", "mps", "compute.device"),
        ("task.kind", "chat", "task.kind"),
        ("dedupe.max_cluster", 500, "dedupe.max_cluster: 500 is no share; 0.05 allows"),
    ],
)
def test_a_wrong_type_or_value_is_an_error_that_names_the_key(tmp_path: Path, key: str, value: Any, words: str) -> None:
    assert words in problem(tmp_path, {key: value})


def test_a_check_of_a_block_names_its_key_and_not_the_block(tmp_path: Path) -> None:
    text = problem(
        tmp_path, {"mask.identity_columns": {"contact": "PERSN"}, "mask.patterns": [{"kind": "A_B", "regex": "("}]}
    )
    assert "field 'mask.patterns.0.regex'" in text
    text = problem(tmp_path, {"mask.identity_columns": {"contact": "PERSN"}})
    assert (
        "field 'mask.identity_columns.contact': mask.identity_columns.contact: there is no kind PERSN (did you" in text
    )
    assert "got dict" not in text


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("eval.general.folder", 3, "eval.general.folder"),  # also a kind of base
        ("base.file", 3, "base.file"),
        ("mask.patterns", [{"kind": "A_B", "regex": 3}], "mask.patterns.0.regex"),
        ("sft.lora", 3, "sft.lora"),
    ],
)
def test_an_error_names_the_keys_of_the_file_and_nothing_else(tmp_path: Path, key: str, value: Any, field: str) -> None:
    with pytest.raises(HallmarkError) as caught:
        load_params(write(tmp_path, {key: value}))
    assert caught.value.field is not None
    assert field in caught.value.field.split(", ")
    assert all(other == field or other.startswith(f"{key}.") for other in caught.value.field.split(", "))


@pytest.mark.parametrize("base", [{"source": "zip"}, {}, None])
def test_an_unknown_source_lists_the_known_ones(tmp_path: Path, base: Any) -> None:
    assert "base.source: must be one of folder, hub, package; it is " in problem(tmp_path, {"base": base})


def test_an_unknown_key_in_a_list_is_an_error_with_a_near_name(tmp_path: Path) -> None:
    text = problem(tmp_path, {"mask.patterns": [{"kind": "A_B", "regx": "a"}]})
    assert "'mask.patterns.0.regx' is not a known parameter" in text
    assert "did you mean 'regex'?" in text


def test_a_missing_key_is_an_error(tmp_path: Path) -> None:
    assert "'data.path' is missing" in problem(tmp_path, {}, remove="data.path")


@pytest.mark.parametrize(
    ("change", "name", "there"),
    [
        ({"sft": {"lora": {"r": 3}}}, "sft", {"method": "qlora", "lora": {"r": 3, "alpha": 32}}),
        ({"gate.margins": {"omission": 0.2}}, "gate.margins", {"omission": 0.2}),
        ({"eval.policy": {"own": "x"}}, "eval.policy", {"own": "x"}),
        ({"mask.countries": ["uk"]}, "mask.countries", ["uk"]),
        ({"mask.ner": {"engine": "none", "model": None}}, "mask.ner", {"engine": "none", "model": None}),
        ({"mask.ner": {"model": "mine"}}, "mask.ner", {"engine": "spacy", "model": "mine"}),
        ({"benchmark.server": {"port": 1}}, "benchmark.server", {"kind": "transformers", "port": 1, "batch_tokens": 512}),
        ({"benchmark.server": {"kind": "transformers", "port": 1}}, "benchmark.server", {"port": 1, "batch_tokens": 512}),
        ({"eval.engine": {"kind": "vllm"}}, "eval.engine", {"kind": "vllm"}),
        ({"serve.fallback": {"url": "x"}}, "serve.fallback", {"url": "x"}),
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


def test_a_changed_default_changes_no_other_value() -> None:
    first = merged({})
    first["sft"]["lora"]["r"] = 3
    assert merged({})["sft"]["lora"]["r"] != 3


@pytest.mark.parametrize("revision", ["main", "v1.0", "abc123", ""])
def test_a_branch_or_short_hash_says_how_to_pin(tmp_path: Path, revision: str) -> None:
    base = {"source": "hub", "name": "org/model", "licence": "mit", "revision": revision, "chat_template_kwargs": {}}
    assert "full 40-digit commit hash" in problem(tmp_path, {"base": base})


def test_a_missing_commit_says_how_to_pin(tmp_path: Path) -> None:
    assert "full 40-digit commit hash" in problem(
        tmp_path, {"base": {"source": "hub", "name": "o/m", "licence": "mit", "chat_template_kwargs": {}}}
    )


@pytest.mark.parametrize(
    ("change", "field", "near"),
    [
        ({"mask.identity_columns": {"born": "BIRTH_DATE"}}, "mask.identity_columns.born", "DATE_OF_BIRTH"),
        ({"mask.actions": {"EMAIL": "keep"}}, "mask.actions.EMAIL", "EMAIL_ADDRESS"),
        ({"mask.actions": {"BADGES": "keep"}, "mask.patterns": [{"kind": "BADGE", "regex": "B-1"}]},
         "mask.actions.BADGES", "BADGE"),
    ],
)  # fmt: skip
def test_a_kind_that_no_one_finds_is_an_error_with_a_near_one(
    tmp_path: Path, change: dict[str, Any], field: str, near: str
) -> None:
    text = problem(tmp_path, change)
    assert f"{field}: there is no kind" in text
    assert f"did you mean {near}?" in text


def test_a_kind_of_ones_own_is_one_with_a_pattern(tmp_path: Path) -> None:
    own = {
        "mask.patterns": [{"kind": "BADGE", "regex": "B-1"}],
        "mask.identity_columns": {"badge": "BADGE"},
        "mask.actions": {"BADGE": "keep", "PERSON": "keep"},
    }
    assert load_params(write(tmp_path, own)).mask.actions["BADGE"] == "keep"


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    file = write(tmp_path, {})
    text = re.sub(r"learning_rate: \d\S+", "learning_rate: 2e-4", file.read_text(encoding="utf-8"))
    file.write_text(text, encoding="utf-8")
    assert load_params(file).sft.learning_rate == 2e-4


def test_broken_yaml_names_the_row(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("seed: 1\nsft: {r: 3\nx: ]\n", encoding="utf-8")
    with pytest.raises(HallmarkError, match="row 3"):
        load_params(file)


@pytest.mark.parametrize("text", ["", "- 1\n", "just words\n"])
def test_a_file_without_a_mapping_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(HallmarkError, match="has no parameters"):
        load_params(file)


def test_an_error_of_a_param_names_file_and_key_in_another_process_too() -> None:
    error = HallmarkError("too small", param="sft.lora.r", remedy="give more")
    assert str(error) == "params.yaml, field 'sft.lora.r': too small\n  remedy: give more"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HallmarkError, match="no such file"):
        load_params(tmp_path / "params.yaml")


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
    assert {block.__module__.split(".")[1] for block in found} >= {
        "base",
        "mask",
        "data",
        "model",
        "answer",
    }
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


def test_no_parameter_is_changed_on_the_way() -> None:
    """load_params returns exactly the values in the file and the defaults."""
    loaded = load_params(ROOT / "params.yaml").model_dump(mode="json", by_alias=True)
    assert loaded == resolved(ROOT / "params.yaml")


def test_params_are_what_a_user_decides() -> None:
    assert len((ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("file", [ROOT / "params.yaml", DEFAULTS], ids=["params", "defaults"])
def test_every_line_says_its_effect(file: Path) -> None:
    """Each key of params.yaml has a comment, on its line or right above it."""
    silent, covered, above = [], {-1: False}, False
    for line in re.sub(r"(?m)^( *)#(?=\w+:)", r"\1", file.read_text(encoding="utf-8")).splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith(("#", "- ")):
            above = stripped.startswith("#")
            continue
        indent = len(line) - len(stripped)
        if re.match(r"\w+:", stripped):
            parent = covered[max(level for level in covered if level < indent)]
            covered = {level: state for level, state in covered.items() if level < indent}
            covered[indent] = "  #" in line or above or (parent and indent > 2)
            if not covered[indent] and not re.fullmatch(r"\w+:", stripped):
                silent.append(line)
        above = False
    assert silent == []


def test_facts_are_for_replies_in_words_and_have_one_value(tmp_path: Path) -> None:
    facts = {"order": r"(A)-(\d+)"}
    assert "eval.facts: one group at most" in problem(tmp_path, {"task.kind": "text", "eval.facts": facts})
    assert "(?:...)" in problem(tmp_path, {"task.kind": "text", "eval.facts": facts})
    assert "task.kind text" in problem(tmp_path, {"eval.facts": {"order": r"(?:A)-(\d+)"}})
    assert load_params(write(tmp_path, {"task.kind": "text", "eval.facts": {"order": r"(?:A)-(\d+)"}}))


def test_a_task_without_a_schema_file_is_told_what_free_text_needs(tmp_path: Path) -> None:
    """DVC ends in "unexpected error" if a dependency is null."""
    workspace = make_workspace(tmp_path, {"task.kind": "text", "task.schema": None})
    with pytest.raises(HallmarkError, match="for free text, one that holds"):
        load_params(workspace / "params.yaml")


HOSTILE: dict[str, tuple[str, str]] = {
    "brackets": ("a: " + "[" * 1_000, "nested too deep"),
    "a billion laughs": (
        "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)),
        "more than 20 aliases",
    ),
    "a list in itself": ("a: &a [*a, *a, *a, *a]", "holds itself"),
    "equal keys": ("seed: 1\nseed: 2\n", "duplicate key"),
    "a tag that fails": ("seed: !!int seven", "can't read"),
    "a number of 5,000 digits": ("seed: " + "9" * 5_000, "can't read"),
    "an object of Python's": ("seed: !!python/object/apply:os.getcwd []", "not valid YAML"),
    "half a megabyte": ("# " + "x" * 500_000, "larger than"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_error(tmp_path: Path, name: str) -> None:
    text, words = HOSTILE[name]
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(HallmarkError, match=words) as caught:
        load_params(tmp_path / "params.yaml")
    assert len(str(caught.value)) < 1_000


def test_params_that_are_no_file_or_no_text(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    os.mkfifo(file)
    with pytest.raises(HallmarkError, match="not a regular file"):
        load_params(file)
    with pytest.raises(HallmarkError, match="not a regular file"):
        load_params(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"seed: \xff")
    with pytest.raises(HallmarkError, match="byte 7 is not UTF-8"):
        load_params(tmp_path / "latin.yaml")


def test_aliases_and_merges_can_be_used(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("max_new_tokens: 72", "max_new_tokens: &most 72").replace(
        "  max_tokens: 72", "  max_tokens: *most"
    )
    assert "*most" in text
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    assert load_params(tmp_path / "params.yaml") == load_params(ROOT / "params.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 2**32),
        ("seed", -1),
        ("compute.threads", 10**6),
        ("mask.workers", 10**6),
        ("mask.window", 10**9),
        ("mask.max_chars", 2**31),
        ("eval.batch_size", 10**6),
        ("eval.max_new_tokens", 10**9),
        ("eval.draws", 10**9),
        ("compare.draws", 10**9),
        ("classical.strength", float("inf")),
        ("gate.serving.latency_p95_s", float("nan")),
        ("gate.superiority", {"base": float("nan")}),
        ("benchmark.timeout", float("inf")),
        ("benchmark.concurrency", [10**6]),
        ("benchmark.server.startup_timeout", 10**9),
        ("base.chat_template_kwargs", {"temperature": float("inf")}),
        ("data.path", "data/raw\ncat"),
        ("data.path", "data/\u202eraw"),
        ("data.id", "a\x1b[2J"),
        ("task.schema", "x" * 1_001),
        ("mask.deny", ["a\x07b"]),
        ("mask.patterns", [{"kind": "A_B", "regex": "(" * 5_000 + ")" * 5_000}]),
        ("eval.policy", {"a": "a" * 10_001}),
    ],
)
def test_a_value_that_makes_no_sense_is_an_error(tmp_path: Path, key: str, value: Any) -> None:
    assert key in problem(tmp_path, {key: value})


def test_an_error_names_the_first_problems_only(tmp_path: Path) -> None:
    text = problem(tmp_path, {f"a{number}": 1 for number in range(500)})
    assert text.count("is not a known parameter") == 20


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"eval.comparators": {"tuned": FEW_SHOT}}, "eval.comparators: 'tuned' is a model of the pipeline"),
        ({"eval.comparators": {"a/b": FEW_SHOT}}, "String should match pattern"),
        (
            {"eval.comparators": {"few_shot": FEW_SHOT | {"kind": "few"}}},
            "must be one of adapter, endpoint, few_shot, neighbour; it is 'few'",
        ),
        ({"eval.comparators": {"few_shot": FEW_SHOT | {"exampels": 1}}}, "did you mean 'examples'"),
        ({"eval.comparators": {"few_shot": FEW_SHOT | {"examples": 0}}}, "eval.comparators.few_shot.examples"),
        ({"eval.sample": {"other": 3}}, "eval.sample: 'other' can't be sampled; there are base, few_shot"),
        ({"eval.sample": {"tuned": 3}}, "eval.sample: 'tuned' can't be sampled"),
        (
            {"gate.superiority": {"base": 0.1, "few": 0.1}},
            "no opponent 'few'; there are base, few_shot, neighbour, classical",
        ),
        ({"gate.non_inferiority": {"few": 0.1}}, "gate.non_inferiority: no opponent 'few'; there are base, few_shot"),
        ({"gate.superiority": {"base": -0.02}}, "gate.non_inferiority: {base: 0.02}"),
        ({"gate.non_inferiority": {"base": -0.02}}, "gate.non_inferiority.base"),
        ({"gate.margins_against": "classical"}, "no opponent 'classical'; there are base, few_shot"),
        (
            {"eval.comparators": {}, "eval.sample": {}},
            "gate.superiority: no opponent 'few_shot'; there are base, classical",
        ),
    ],
)
def test_a_comparator_is_named_where_it_is_used(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in problem(tmp_path, changes)


def test_a_repo_can_have_no_comparator_and_several(tmp_path: Path) -> None:
    none = {
        "eval.comparators": {},
        "eval.sample": {},
        "gate.superiority": {"base": 0.1},
        "gate.margins_against": "base",
    }
    assert load_params(write(tmp_path, none)).eval.comparators == {}
    two = {"few_shot": FEW_SHOT, "fixed": FEW_SHOT | {"rule": "fixed"}}
    loaded = load_params(write(tmp_path, {"eval.comparators": two, "gate.superiority": {"base": 0.1, "fixed": 0.0}}))
    assert list(loaded.eval.comparators) == ["few_shot", "fixed"]
