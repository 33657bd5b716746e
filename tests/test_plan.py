"""The plan: what a run would take, on the tiny model and, by its sizes alone, on the bases that the template offers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.files import BASE, QUANTIZED, write_json
from hallmark.base.reading import read_object
from hallmark.commands import plan
from hallmark.commands.repro import before_release
from hallmark.model.params import Sft
from hallmark.params.loader import Params, load_params
from hallmark.plan import advice, bases, estimate, machine, speed
from hallmark.plan.batches import all_answering
from hallmark.plan.lengths import NO_PART, lengths, tokens_of
from hallmark.plan.machine import GIB, GPUS
from hallmark.plan.memory import training_bytes
from hallmark.plan.sizes import Batch, configuration, sizes
from tests.bench.memory import SHAPES, Shape, changed, foreseen, held
from tests.rows import refused
from tests.tiny import make_tiny_base
from tests.workspace import ROOT, make_tiny_workspace, run_here

BATCH = Batch(4, 96, 24)
NAMES = ["HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen3-0.6B", "meta-llama/Llama-3.2-3B-Instruct"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the tiny model in models/base, as if it were rounded too, and as the base of its params."""
    folder = make_tiny_workspace(tmp_path_factory.mktemp("plan") / "repo", rows=40)
    for name in (BASE, QUANTIZED):
        make_tiny_base(folder / name)
    return folder


@pytest.fixture
def here(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Params]:
    """Its params, with the workspace as working directory."""
    monkeypatch.chdir(tiny)
    yield load_params()


def with_all_layers(sft: Sft) -> Sft:
    return sft.model_copy(update={"lora": sft.lora.model_copy(update={"layers": None})})


def config_of(name: str, folder: Path) -> Any:
    found = bases.known(name, folder)
    assert found is not None
    return configuration(found)


NARROW = {"hidden_size": 192, "intermediate_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2}
NARROW |= {"num_hidden_layers": 2, "vocab_size": 1024}
WIDER = {"Phi-3": {"num_key_value_heads": 4}, "Qwen3-MoE": {"moe_intermediate_size": 48}}

TESTED = ["Llama, dropout", "Phi-3, answers", "Mixtral, all matrices"]
FULL = [
    "Llama, some matrices",
    "Gemma 2, all matrices",
    "Granite, checkpointed",
    "Qwen3-MoE, some matrices",
    "Qwen3-MoE, answers",
]


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(Shape("some layers", BATCH, {"lora": {"layers": 1}}), marks=pytest.mark.full),
        pytest.param(Shape("checkpointed", BATCH, {"gradient_checkpointing": True}), marks=pytest.mark.full),
        pytest.param(Shape("four bits", BATCH, {"dequantize_once": False}), marks=pytest.mark.full),
        *(
            pytest.param(
                replace(
                    shape,
                    batch=Batch(8, 96, min(24, shape.batch.labelled)),
                    config=(shape.config or {}) | NARROW | WIDER.get(shape.name.split(",")[0], {}),
                ),
                marks=[pytest.mark.full] if shape.name in FULL else [],
            )
            for shape in SHAPES
            if shape.name in TESTED + FULL
        ),
    ],
    ids=lambda shape: shape.name,
)
def test_memory_is_that_of_real_runs(here: Params, shape: Shape) -> None:
    """The real trainer, or decoder, on real tensors, counted in the same way, holds as much within 15 %."""
    params = changed(here.model_copy(update={"sft": with_all_layers(here.sft)}), shape)
    assert foreseen(params, shape) == pytest.approx(held(params, shape), rel=0.15)


def test_what_fits_comes_with_the_smallest_change_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting that is said to save memory does, and one that saves too little is passed over."""
    monkeypatch.setattr(advice, "MOST", 2)
    config = config_of(NAMES[2], tmp_path)
    config.num_hidden_layers = 4
    sft = load_params(ROOT / "params.yaml").sft
    sft = sft.model_copy(update={"lora": sft.lora.model_copy(update={"layers": None}), "attention": "sdpa"})
    batch = Batch(4, 1024, 128)
    size = sizes(config, sft.lora)
    most = int(0.6 * training_bytes(size, sft, batch, "cuda"))
    found = advice.changes(size, sft, batch, "cuda", most)
    assert [change.text() for change in found] == [
        "sft.batch_size: 1, sft.gradient_accumulation_steps: 4",
        "sft.gradient_checkpointing: true, sft.batch_size: 1, sft.gradient_accumulation_steps: 4",
    ]
    assert all(change.training_bytes <= most for change in found)


def test_the_estimate_of_the_params(here: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hallmark.plan.speed.TIMES", 1)
    found = estimate.estimate(here, BASE)
    assert found.fits and found.limit_bytes == machine.host_memory()
    assert min(found.training_seconds, found.evaluation_seconds) > 0
    size = sizes(configuration(BASE), here.sft.lora)
    assert found.serving_bytes == 2 * 2 * (size.parameters + size.cache(32 * 256))


def test_on_a_busy_machine_one_thread_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
    assert str(speed.Clock("cpu", 2)).endswith("2 may be far slower than compute.threads: 1")
    assert str(speed.Clock("cpu", 1)) == "one thread, since the machine is busy"
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    assert str(speed.Clock("cpu", 2)) == "2 threads"


def test_a_gpu_that_is_not_at_hand(here: Params, tmp_path: Path) -> None:
    at, (name, base) = machine.named("rtx-4090"), bases.folder_of(here, None, tmp_path)
    found = estimate.estimate(here, base, at)
    assert found.limit_bytes == 24 * GIB and found.fits
    done = run_here(Path.cwd(), "hallmark.commands.plan", "--gpu", "rtx-4090", "--price-per-hour", "0.5")
    assert (done.returncode, done.stdout.splitlines()) == (0, plan.table(name, here, at, found, 0.5)), done.stderr


def test_what_does_not_fit_is_refused(here: Params) -> None:
    """With what would fit: here, on a GPU that has a tenth less for tensors than training takes."""
    needed = estimate.estimate(here, BASE, machine.named("24GiB")).training_bytes
    size = (0.9 * needed + machine.RESERVED) / machine.SHARE / GIB
    done = run_here(Path.cwd(), "hallmark.commands.plan", "--gpu", f"{size:.4f}GiB")
    assert (done.returncode, "does not fit" in done.stdout) == (1, True)
    assert "training: set sft." in done.stderr


def test_what_keeps_a_run_from_a_release_is_said_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = ROOT / "params.yaml"
    params = load_params(file)
    assert before_release(params, file) == []
    for rows, groups in ((params.gate.min_records - 1, 99), (999, params.gate.min_groups - 1), (999, 99)):
        write_json(Path("reports/split.json"), {"rows": {"holdout": rows}, "groups": {"holdout": groups}})
        said = [f"holds out {rows} records of {groups} groups" in line for line in before_release(params, file)]
        assert said == [True] * (rows < 999 or groups < 99)


def test_sft_refuses_what_does_not_fit_into_its_gpu(here: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    train = [{"input_ids": [1] * 400, "labels": [-100] * 300 + [1] * 100}] * 8
    device = here.model_copy(update={"compute": here.compute.model_copy(update={"device": "cuda"})})
    memory = [24 * GIB, GIB + 2**26]
    monkeypatch.setattr("hallmark.plan.advice.at_hand", lambda _: machine.Machine("cuda", memory.pop(0), None, True))
    advice.check_training(device, BASE, train)
    with refused(field="sft"):
        advice.check_training(device, BASE, train)


@pytest.mark.parametrize("name", sorted(read_object(ROOT / "hallmark/plan/known.json")))
def test_known_sizes_are_those_of_the_models(name: str, tmp_path: Path) -> None:
    millions = {"HuggingFaceTB": 134.5, "Qwen": 596.0, "meta-llama": 3212.7, "microsoft": 3821.1}
    size = sizes(config_of(name, tmp_path), load_params(ROOT / "params.yaml").sft.lora)
    assert size.parameters / 1e6 == pytest.approx(millions[name.split("/")[0]], abs=0.1)


def test_the_bases_of_the_template_are_known() -> None:
    names = [
        line.split()[1]
        for file in sorted((ROOT / "template/choices/bases").glob("*.yaml"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("  name:") and file.stem != "own"
    ]
    assert set(names) <= set(read_object(ROOT / "hallmark/plan/known.json"))


def test_where_the_configuration_comes_from(here: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bases.folder_of(here, None, tmp_path) == ("tests/tiny", Path("tiny"))  # no report says what models/base is
    assert bases.folder_of(here, str(BASE), tmp_path) == (str(BASE), BASE)
    assert bases.folder_of(here, NAMES[0], tmp_path) == (NAMES[0], tmp_path)
    with refused():
        bases.folder_of(here, "owner/unknown", tmp_path)
    asked = []

    def download(name: str, file: str, *, revision: str) -> str:
        asked.append((name, file, revision))
        return str(BASE / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    name, folder = bases.folder_of(here, f"owner/unknown@{'a' * 40}", tmp_path)
    assert asked == [("owner/unknown", "config.json", "a" * 40)]
    assert (name, configuration(folder).hidden_size) == ("owner/unknown", 64)


def test_lengths_before_there_is_a_tokenizer(here: Params, tmp_path: Path) -> None:
    found = lengths(here, tmp_path)
    assert "estimated from their characters" in found.basis
    parts = (found.train, found.validation, found.calibration, found.holdout)
    assert sum(part.records for part in parts) == 40
    assert found.calibration.records == 2, "of 40, by the share of the tests"
    assert max(found.train.whole) > max(found.train.prompts) > max(found.train.answers)


@pytest.mark.parametrize(
    ("text", "tokens"),  # those of SmolLM2's tokenizer
    [
        ("The order arrived on Monday, but the charger is missing from the box.", 15),
        ("LOT 12-A, JALAN MAWAR 3,\n81100 JOHOR BAHRU\nTOTAL RM 1,204.50\n", 43),
        ('{"intent":"refund","product":"NAS","amount":120.5,"issues":["late","broken"]}', 27),
    ],
)
def test_tokens_are_estimated_closely_in_prose_receipts_and_json(text: str, tokens: int) -> None:
    assert 0.85 * tokens <= tokens_of(text) <= 1.25 * tokens
    assert tokens_of(400 * text) == pytest.approx(400 * tokens_of(text), rel=0.01)


def test_gpus_by_name_and_by_memory() -> None:
    for text in ("", "0GiB", "fast", "24 parsecs", "1e99GiB"):
        with refused():
            machine.named(text)
    assert machine.named("rtx4090") == machine.named("RTX 4090")
    assert machine.named("80 GiB").gpu == GPUS["A100"]  # the slowest that has as much
    assert machine.named("999GiB").gpu is None


def test_without_a_gpu_its_memory_and_speed_are_unknown(here: Params) -> None:
    at = machine.at_hand(here.compute.model_copy(update={"device": "cuda"}))
    found = estimate.estimate(here, BASE, at)
    assert (found.limit_bytes, found.training_seconds != found.training_seconds) == (None, True)
    assert "unknown memory" in plan.table("tiny", here, at, found, None)[0]


def test_the_plan_counts_who_is_asked_what(here: Params) -> None:
    """The base and a comparator some records, the tuned model all; a comparator's prompts hold its examples."""
    part = lengths(here, BASE).holdout
    asked = {"sample": {"base": 2, "few_shot": 1}}
    params = here.model_copy(update={"eval": here.eval.model_copy(update=asked)})
    base, tuned, few = all_answering(params, part, NO_PART)
    *_, answers = all_answering(params, part, replace(part, records=2))
    assert round(answers.share * len(part.prompts)) == 2
    assert [round(each.share * len(part.prompts)) for each in (base, tuned, few)] == [2, part.records, 1]
    longer = few.batches[0].tokens - base.batches[0].tokens
    assert 0 < longer <= params.eval.comparators["few_shot"].max_tokens


def test_masking_of_more_rows_goes_by_the_last_run_of_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    last = {"rows": 1000, "workers": 2, "read_seconds": 1.0, "mask_seconds": 30.0, "main_seconds": 3.0}
    write_json(plan.FILE, last | {"peak_memory_mib": 500, "worker_memory_mib": 400, "seconds": 40.0})
    few, many = (plan.masking(10_000, workers, 2.0) for workers in (4, 64))
    assert few[0].startswith("mask: 10,000 rows, 4 workers: 2 min 40 s, price ")
    assert few[1] == "memory: 0.4 GiB for each worker, 0.5 GiB for the process that reads and writes"
    assert "2.2 GiB for the process that reads and" in plan.masking(30_001_000, 4, None)[1], (
        "60 bytes more for each row"
    )
    assert "of 1,000 rows: much of its time was start-up" in few[-1]
    assert "64 workers: 40 s" in many[0], "as fast as the one process that reads and writes"
    assert "more of them would bring nothing" in many[1]
    write_json(plan.FILE, {"rows": 1000, "seconds": 40.0})  # of an earlier version
    with refused("repro mask", file=plan.FILE):
        plan.masking(10_000, 4, None)
