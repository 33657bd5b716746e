"""What is set for a machine: valid for every base, nothing that belongs to the data, and the same lines at stamping and later."""

from __future__ import annotations

import difflib
import itertools
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.files import write_json
from hallmark.commands import machine as tool
from hallmark.params.checked import loaded as loaded_text
from hallmark.params.edit import changed, value_of
from hallmark.params.loader import Params, load_params
from hallmark.params.presets import machines, prepared, size_by_name
from hallmark.serve.engines import vllm
from hallmark.serve.memory import cache_bytes
from tests.rows import refused
from tests.workspace import ROOT

CHOICES = ROOT / "template/choices"

REFERENCE = (ROOT / "params.yaml").read_text(encoding="utf-8")
ASKED = json.loads((ROOT / "template/cookiecutter.json").read_text(encoding="utf-8"))
BASES = ASKED["base_model"]
OF_THE_DATA = ("max_length", "max_new_tokens", "max_tokens", "epochs", "max_steps", "eval_steps", "learning_rate")
# Of the real models: layers, heads of keys, their width, billions of parameters.
SHAPES = {
    "smollm2-135m": (30, 3, 64, 0.135),
    "qwen3-0.6b": (28, 8, 128, 0.75),
    "llama-3.2-3b": (28, 8, 128, 3.21),
    "phi-3.5-mini": (32, 32, 96, 3.82),
    "own": (32, 8, 128, 8.0),
}


def stamped(kind: str, base: str) -> str:
    """params.yaml of a new repo, before the machine's lines, as the hook makes it."""
    text = REFERENCE
    for file in (f"kinds/{kind}/params.yaml", f"bases/{base}.yaml", f"kinds/{kind}/bases/{base}.yaml"):
        if (CHOICES / file).exists():
            text = changed(text, (CHOICES / file).read_text(encoding="utf-8"))
    return text.replace("revision: fill-in", f"revision: {'a' * 40}")


@cache
def finished(kind: str, base: str, machine: str) -> str:
    text = stamped(kind, base)
    return prepared(text, machine, size_by_name(value_of(text, "base.name")))


def loaded(text: str, folder: Path) -> Params:
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    return load_params(folder / "params.yaml")


def test_the_reference_is_of_a_cpu_and_comes_back_from_any_machine() -> None:
    assert prepared(REFERENCE, "cpu", 0.135) == REFERENCE
    for machine, billions in itertools.product(machines(), (0.135, 0.6, 3, 8, None)):
        there = prepared(REFERENCE, machine, billions)
        assert prepared(there, machine, billions) == there, "twice is once"
        back = prepared(there, "cpu", 0.135)
        assert loaded_text(back) == loaded_text(REFERENCE), "no value of it stays"


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("machine", ASKED["machine"])
def test_params_are_valid_for_every_base_and_machine(tmp_path: Path, base: str, machine: str) -> None:
    text = finished("extraction", base, machine)
    params = loaded(text, tmp_path)
    assert params.compute.device == ("cpu" if machine == "cpu" else "cuda")
    assert params.sft.attention == ("eager" if machine == "cpu" else "sdpa")
    assert params.benchmark.server.kind == ("transformers" if machine == "cpu" else "vllm")
    sft = params.sft
    records = sft.batch_size * sft.gradient_accumulation_steps * sft.parallel.processes
    assert records == (4 if machine == "cpu" else 16), "a step is the same on every GPU, and so is what is learned"
    assert (sft.parallel.processes > 1) == (machine == "gpus")
    assert params.dpo.batch_size * params.dpo.gradient_accumulation_steps == 8
    before = stamped("extraction", base).splitlines()
    lines = [line for line in difflib.ndiff(before, text.splitlines()) if line[0] in "+-"]
    assert not [
        line for line in lines if line[2:].split(":")[0].strip() in OF_THE_DATA and "prompt and answer" not in line
    ]


@pytest.mark.parametrize("base", SHAPES)
@pytest.mark.parametrize(("machine", "gib"), [("gpu-24gb", 22.5), ("gpu-80gb", 79.2), ("gpus", 22.5)])
def test_the_servers_of_a_preset_fit_on_its_card(tmp_path: Path, base: str, machine: str, gib: float) -> None:
    server: Any = loaded(finished("extraction", base, machine), tmp_path).benchmark.server
    layers, pairs, width, billions = SHAPES[base]
    config = {"num_hidden_layers": layers, "num_key_value_heads": pairs, "head_dim": width}
    write_json(tmp_path / "config.json", config)
    cache = cache_bytes(tmp_path, server.dtype, server.max_num_seqs, server.max_length)
    servers = 2 if server.adapter == "merged" else 1
    assert servers * (2e9 * billions + cache + vllm.WORKING) < gib * 2**30


def test_a_name_tells_the_size() -> None:
    assert size_by_name("google/gemma-3-270m-it") == 0.27
    assert size_by_name("Qwen/Qwen3-30B-A3B") == 30
    assert size_by_name("mistralai/Mixtral-8x7B-v0.1") == 56
    assert size_by_name("owner/model-4bit") is None


def test_the_hook_can_use_it_without_packages() -> None:
    code = "import hallmark.params.presets as p, sys; print(p.machines(), [n for n in sys.modules if 'pydantic' in n])"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"{machines()} []\n", done.stderr


def test_lines_that_are_edited_keep_their_place_and_comment() -> None:
    text = "a:  # one\n  b: 1  # two\n  # three\n  c:\n    d: 2\n    # of d\n\n  # four\n  e: '  # no'\nf: {x: 1}\n"
    assert changed(text, "a.b: 3\na.c: null\nf: {y: ${a.b}}  # new\n# a comment") == (
        "a:  # one\n  b: 3  # two\n  # three\n  c: null\n\n  # four\n  e: '  # no'\nf: {y: 1}  # new\n"
    )
    with pytest.raises(HallmarkError, match=r"params.yaml: has no line for a.z, g\n"):
        changed(text, "a.z: 1\ng: 2\na.b: 1")
    with pytest.raises(HallmarkError, match=r"has no line for h.i"):
        changed(text, "a.b: ${h.i}")


def test_a_param_that_is_not_in_the_text_is_added_with_its_comment() -> None:
    text = "seed: 7\n\nsft:  # here\n  lora:\n    r: 16\n  epochs: 2\n  # last\n\ncertify:\n  name: a\n"
    new = changed(text, "sft.lora.dropout: 0.1\nsft.packing: true\nmask.level: all\nsft.keep: best")
    lines = [re.sub(r"(?<=\S)  #.*", "", line) for line in new.splitlines()]
    assert lines == [
        *("seed: 7", "", "mask:", "  level: all", "", "sft:", "  lora:", "    r: 16", "    dropout: 0.1"),
        *("  packing: true", "  epochs: 2", "  # last", "", "certify:", "  name: a"),
    ], "a default is not written"
    assert (
        "    dropout: 0.1  # share of adapter inputs dropped in training; more reduces overfitting on little data\n"
        in new
    )
    assert changed(new, "sft.packing: false") == new.replace("packing: true", "packing: false"), "what is there stays"
    assert value_of(text, "sft.packing") == "false"
    assert "  # The most by which each failure class may grow" in changed(text, "gate.margins:\n  omission: 0.5")
    for name in ("task.kind", "sft.rank"):
        with pytest.raises(HallmarkError, match=f"has no line for {name}"):
            value_of(text, name)


# --- nox -s machine ---


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the reference's params.yaml, which is then the current one."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(REFERENCE, encoding="utf-8")
    return Path("params.yaml")


def test_without_a_name_it_lists_what_each_would_change(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool.run(repo, None, dry=False)
    said = capsys.readouterr().out
    sections = dict(part.split(": ", 1) for part in said.split("\n\n")[1:-1])
    assert list(sections) == machines()
    assert sections["cpu"].endswith("params.yaml is set up for it")
    assert "  compute.device: cpu -> cuda\n" in sections["gpu-24gb"]
    assert "  benchmark.server.kind: transformers -> vllm" in sections["gpu-24gb"]
    assert "cache_gib" not in said, "of another server, only the kind"
    assert "  sft.parallel.processes: 1 -> 2\n" in sections["gpus"]
    assert repo.read_text(encoding="utf-8") == REFERENCE


def test_it_writes_the_lines_that_stamping_writes(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = stamped("extraction", "smollm2-135m")
    repo.write_text(new, encoding="utf-8")
    tool.run(repo, "gpu-80gb", dry=True)
    said = capsys.readouterr().out
    assert "\n  compute.device: cpu -> cuda\n" in said
    assert repo.read_text(encoding="utf-8") == new
    tool.run(repo, "gpu-80gb", dry=False)
    assert repo.read_text(encoding="utf-8") == finished("extraction", "smollm2-135m", "gpu-80gb")
    assert "`nox -s vllm`" in capsys.readouterr().out
    tool.run(repo, "gpu-80gb", dry=False)
    assert "params.yaml is set up for gpu-80gb\n" in capsys.readouterr().out
    assert sorted(file.name for file in Path().iterdir()) == ["params.yaml"]


def test_an_unknown_machine_names_those_like_it(repo: Path) -> None:
    for given, near in {"gpu": "gpus", "gpu-24": "gpu-24gb", "CPU": "cpu", "": "", "../cpu": "cpu", "tpu": ""}.items():
        with refused(near):
            tool.run(repo, given, dry=False)


def test_params_that_would_not_be_valid_stay_as_they_are(repo: Path) -> None:
    repo.write_text(changed(REFERENCE, "eval.engine: {kind: transformers}"), encoding="utf-8")
    with pytest.raises(HallmarkError):
        tool.run(repo, "gpu-24gb", dry=False)
    with pytest.raises(HallmarkError, match="'seed'"):
        tool.write(repo, REFERENCE.replace("seed: 7", "seed: x"))
    assert sorted(file.name for file in Path().iterdir()) == ["params.yaml"]
    repo.write_text(changed(REFERENCE, "compute.portable: true"), encoding="utf-8")
    tool.run(repo, "gpu-24gb", dry=False)
    assert not load_params(repo).compute.portable, "which no GPU can do"


def test_the_table_in_the_docs_has_these_values() -> None:
    page = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    for name, billions in {"up to 0.3B": 0.3, "up to 1B": 1, "up to 5B": 5, "larger": None}.items():
        cells = []
        for machine in machines():
            sft = loaded_text(prepared(REFERENCE, machine, billions))["sft"]
            marks = "c" * sft["gradient_checkpointing"] + "4" * (not sft["dequantize_once"])
            cells.append(f"{sft['batch_size']} x {sft['gradient_accumulation_steps']} {marks}".strip())
        assert f"| {name} | {' | '.join(cells)} |\n" in page
