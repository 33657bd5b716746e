"""The plan: what a run would take, on the tiny model and, by its sizes alone, on the bases that the template offers."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import get_peft_model
from ruamel.yaml import YAML
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig

from hallmark.base.dvc_lock import read_lock
from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, QUANTIZED, write_json
from hallmark.base.reading import read_object
from hallmark.commands import plan
from hallmark.model.kernels import use_kernels
from hallmark.model.lora import lora_config
from hallmark.model.params import Sft
from hallmark.params.loader import Params, load_params
from hallmark.plan import advice, bases, estimate, machine, masking, speed
from hallmark.plan.batches import all_answering, in_batches, step_count
from hallmark.plan.lengths import NO_PART, lengths, tokens_of
from hallmark.plan.machine import GIB, GPUS
from hallmark.plan.memory import training_bytes
from hallmark.plan.sizes import Batch, configuration, sizes
from hallmark.plan.speed import Clock
from tests.bench.memory import CONFIGS, SHAPES, Shape, Storages, changed, foreseen, held
from tests.tiny import make_tiny_base
from tests.workspace import ROOT, change_params, make_tiny_workspace, run_here

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


def with_sft(params: Params, **values: Any) -> Params:
    return params.model_copy(update={"sft": params.sft.model_copy(update=values)})


def with_all_layers(sft: Sft) -> Sft:
    return sft.model_copy(update={"lora": sft.lora.model_copy(update={"layers": None})})


def config_of(name: str, folder: Path) -> Any:
    found = bases.known(name, folder)
    assert found is not None
    return configuration(found)


NARROW = {"hidden_size": 192, "intermediate_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2}
NARROW |= {"num_hidden_layers": 2, "vocab_size": 1024}
WIDER = {"Phi-3": {"num_key_value_heads": 4}, "Qwen3-MoE": {"moe_intermediate_size": 48}}

TESTED = "Llama, dropout; Llama, some matrices; Phi-3, answers; Gemma 2, all matrices; Granite, checkpointed; "
TESTED += "Mixtral, all matrices; Qwen3-MoE, some matrices; Qwen3-MoE, answers"


@pytest.mark.parametrize(
    "shape",
    [
        Shape("some layers", BATCH, {"lora": {"layers": 1}}),
        Shape("checkpointed", BATCH, {"gradient_checkpointing": True}),
        Shape("four bits", BATCH, {"dequantize_once": False}),
        *(
            replace(
                shape,
                batch=Batch(8, 96, min(24, shape.batch.labelled)),
                config=(shape.config or {}) | NARROW | WIDER.get(shape.name.split(",")[0], {}),
            )
            for shape in SHAPES
            if shape.name in TESTED.split("; ")
        ),
    ],
    ids=lambda shape: shape.name,
)
def test_memory_is_that_of_real_runs(here: Params, shape: Shape) -> None:
    """The real trainer, or decoder, on real tensors, counted in the same way, holds as much within 15 %."""
    params = changed(here.model_copy(update={"sft": with_all_layers(here.sft)}), shape)
    assert foreseen(params, shape) == pytest.approx(held(params, shape), rel=0.15)


@pytest.mark.parametrize("name", sorted(read_object(ROOT / "hallmark/plan/known.json")))
def test_each_setting_that_saves_memory_does_by_the_formula(name: str, tmp_path: Path) -> None:
    """Fused attention, checkpoints, four bits, fewer adapted layers, fewer records: each alone, on each device."""
    config, sft = config_of(name, tmp_path), load_params(ROOT / "params.yaml").sft
    lora = sft.lora.model_copy(update={"layers": None})
    usual = sft.model_copy(update={"attention": "eager", "lora": lora})
    long = Batch(4, 1024, 128)

    def peak(device: str, batch: Batch = long, **values: Any) -> int:
        changed = usual.model_copy(update=values)
        return training_bytes(sizes(config, changed.lora), changed, batch, device)

    for device in ("cpu", "cuda"):
        whole = peak(device)
        less = [
            peak(device, attention="sdpa"),
            peak(device, gradient_checkpointing=True),
            peak(device, dequantize_once=False),
            peak(device, lora=lora.model_copy(update={"layers": 4})),
            peak(device, replace(long, records=2)),
        ]
        assert max(less) < whole, (device, whole, less)
        assert peak(device, dtype="float32") > 1.4 * whole


def test_storages_count_what_lives_once() -> None:
    with Storages() as storages:
        first = torch.zeros(1024)
        view = first.view(2, 512)
        assert storages.now == 4096
        second = view + 1
        assert storages.now == 8192
        del first, view
        assert storages.now == 4096
        del second
    assert (storages.now, storages.peak) == (0, 8192)


def products_in_place(_: Any, left: tuple[int, int], right: tuple[int, int], **__: Any) -> int:
    """The operations of `addmm_`, which torch's counter doesn't know."""
    return 2 * left[0] * left[1] * right[1]


def test_work_is_what_torch_counts(here: Params) -> None:
    """The formulas give the operations that torch's own counter sees in a forward and a backward pass."""
    sft, config = with_sft(here, dtype="float32", attention="eager").sft, configuration(BASE)
    model = speed.filled(config, "float32", "eager", "cpu")
    tuned: Any = get_peft_model(model, lora_config(model, sft.lora))
    use_kernels(tuned)
    base, ids = tuned.get_base_model(), torch.zeros(2, 64, dtype=torch.long)
    counters = []
    for backward in (False, True):
        counters.append(FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: products_in_place}))
        with counters[-1]:
            hidden = base.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
            loss = base.get_output_embeddings()(hidden.reshape(-1, 64)[:20]).sum()
            if backward:
                loss.backward()
    size, batch = sizes(config, sft.lora), Batch(2, 64, 10)
    assert size.reading(batch, 10, adapter=True) == pytest.approx(counters[0].get_total_flops(), rel=0.01)
    assert size.training(batch, False) == pytest.approx(counters[1].get_total_flops(), rel=0.1)


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


def test_the_changes_that_are_tried() -> None:
    sft = load_params(ROOT / "params.yaml").sft
    tried = list(advice.candidates(sft, "cuda"))
    assert tried[0] == {"attention": "sdpa"}
    assert tried[-1] == {
        "attention": "sdpa",
        "gradient_checkpointing": True,
        "dequantize_once": False,
        "batch_size": 1,
        "gradient_accumulation_steps": 4,
    }
    assert {"attention": "sdpa"} not in list(advice.candidates(sft, "cpu"))
    of_tokens = sft.model_copy(update={"batch_tokens": 4 * sft.max_length})
    assert {"batch_tokens": 2048, "gradient_accumulation_steps": 2} in list(advice.candidates(of_tokens, "cuda"))
    assert "smaller base" in advice.remedy([])


def test_the_estimate_of_the_params(here: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hallmark.plan.speed.TIMES", 1)
    found = estimate.estimate(here, BASE)
    assert found.fits
    assert found.limit_bytes == machine.host_memory()
    assert found.training_seconds > 0
    assert found.evaluation_seconds > 0
    assert "40 rows" in found.basis
    assert "this machine" in found.basis
    size = sizes(configuration(BASE), here.sft.lora)
    assert found.serving_bytes == 2 * 2 * (size.parameters + size.cache(32 * 256))


def test_a_cache_has_the_values_that_are_reckoned(here: Params) -> None:
    model = speed.filled(configuration(BASE), "bfloat16", "sdpa", "cpu")
    layers = model(input_ids=torch.zeros(3, 10, dtype=torch.long)).past_key_values.layers
    held = sum(part.numel() for layer in layers for part in (layer.keys, layer.values))
    assert held == sizes(model.config, here.sft.lora).cache(30)


def test_a_gpu_that_is_not_at_hand(here: Params, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = run_here(Path.cwd(), "hallmark.commands.plan", "--gpu", "rtx-4090", "--price-per-hour", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["limit_bytes"] == 24 * GIB
    assert found["price"] == round(0.5 * (found["training_seconds"] + found["evaluation_seconds"]) / 3600, 4)
    assert "RTX 4090" in found["basis"]
    table = run_here(Path.cwd(), "hallmark.commands.plan", "--gpu", "24GiB").stdout
    assert "training" in table
    assert "fits: " in table


def test_what_does_not_fit_is_refused(here: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what would fit: here, on a GPU that has a tenth less for tensors than training takes."""
    monkeypatch.setattr(advice, "MOST", 1)
    needed = json.loads(run_here(Path.cwd(), "hallmark.commands.plan", "--gpu", "24GiB", "--json").stdout)[
        "training_bytes"
    ]
    size = (0.9 * needed + machine.RESERVED) / machine.SHARE / GIB
    done = run_here(Path.cwd(), "hallmark.commands.plan", "--gpu", f"{size:.4f}GiB")
    assert done.returncode == 1
    assert "does not fit" in done.stdout
    assert "more than the" in done.stderr
    assert "training: set sft." in done.stderr


def test_sft_refuses_what_does_not_fit_into_its_gpu(here: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    train = [{"input_ids": [1] * 400, "labels": [-100] * 300 + [1] * 100}] * 8
    device = here.model_copy(update={"compute": here.compute.model_copy(update={"device": "cuda"})})
    for memory, refused in ((24 * GIB, False), (GIB + 2**26, True)):
        given = machine.Machine("cuda", memory, None, True)
        monkeypatch.setattr("hallmark.plan.advice.at_hand", lambda _, given=given: given)
        if not refused:
            advice.check_training(device, BASE, train)
            continue
        with pytest.raises(HallmarkError, match=r"at the longest record, of 400 tokens: .* more than") as raised:
            advice.check_training(device, BASE, train)
        assert raised.value.field == "sft"


def test_sft_checks_before_it_loads_weights(here: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages import sft

    order: list[str] = []

    class StoppedError(Exception):
        pass

    def load(*_: Any, **__: Any) -> None:
        order.append("weights")
        raise StoppedError

    on_gpu = here.model_copy(update={"compute": here.compute.model_copy(update={"device": "cuda"})})
    monkeypatch.setattr("hallmark.base.compute.set_up", lambda *_: None)
    monkeypatch.setattr(sft, "base_report", lambda: {"context": None})
    monkeypatch.setattr(sft, "tokenized_records", lambda *_, **__: ([], 0))
    monkeypatch.setattr("hallmark.plan.advice.check_training", lambda *_: order.append("check"))
    monkeypatch.setattr(sft, "load_frozen", load)
    monkeypatch.setattr("hallmark.base.compute.check_dtype", lambda *_: None)
    monkeypatch.setattr(sft, "own_device", lambda *_: "cuda")
    with pytest.raises(StoppedError):
        sft.run(on_gpu)
    assert order == ["check", "weights"]


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
    with pytest.raises(HallmarkError, match="has no commit"):
        bases.folder_of(here, "owner/unknown", tmp_path)
    asked = []

    def download(name: str, file: str, *, revision: str) -> str:
        asked.append((name, file, revision))
        return str(BASE / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    name, folder = bases.folder_of(here, f"owner/unknown@{'a' * 40}", tmp_path)
    assert asked == [("owner/unknown", "config.json", "a" * 40)]
    assert (name, configuration(folder).hidden_size) == ("owner/unknown", 64)


def test_a_hub_that_can_not_be_reached_is_an_error(
    here: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HallmarkError, match=r"cannot download config\.json of 'owner/unknown'"):
        bases.from_hub("owner/unknown", "a" * 40, tmp_path, "--base")


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


def test_batches_are_those_of_the_samplers() -> None:
    sft = load_params(ROOT / "params.yaml").sft
    pairs = [(length, 3) for length in (9, 5, 7, 2, 8, 6)]
    batches = in_batches(pairs, sft, 4, seed=7)
    assert sorted((batch.records, batch.tokens) for batch in batches) == [(2, 9), (4, 7)]
    of_tokens = sft.model_copy(update={"batch_tokens": 18})
    padded = in_batches(pairs, of_tokens, 4, seed=7)
    assert sum(batch.records for batch in padded) == 6
    assert max(batch.records * batch.tokens for batch in padded) <= 18
    packed = in_batches(pairs, of_tokens.model_copy(update={"packing": True}), 4, seed=7)
    assert (sum(batch.tokens for batch in packed), {batch.records for batch in packed}) == (37, {1})
    assert sum(batch.labelled for batch in packed) == 18


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({}, 231),
        ({"gradient_accumulation_steps": 4}, 59),
        ({"max_steps": 9}, 9),
        ({"batch_size": 16, "epochs": 1.0}, 45),
        ({"batch_tokens": 4096, "epochs": 2.0}, 60),
    ],
)
def test_steps(values: dict[str, Any], steps: int) -> None:
    """As many as the trainer takes: 231 for 1.3 passes over 706 records, of an earlier reference."""
    usual = {"max_steps": None, "batch_size": 4, "gradient_accumulation_steps": 1, "epochs": 1.3}
    sft = load_params(ROOT / "params.yaml").sft.model_copy(update=usual | values)
    assert step_count(706, 29.5, sft) == steps


@pytest.mark.parametrize("text", ["", "0GiB", "fast", "24 parsecs", "1e99GiB"])
def test_what_is_no_gpu(text: str) -> None:
    with pytest.raises(HallmarkError, match="neither a GPU with known figures nor a size"):
        machine.named(text)


def test_gpus_by_name_and_by_memory() -> None:
    assert machine.named("rtx4090") == machine.named("RTX 4090")
    assert machine.named("80 GiB").gpu == GPUS["A100"]  # the slowest that has as much
    assert machine.named("999GiB").gpu is None


def test_a_gpu_at_hand_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA L40S")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=48 * GIB))
    found = machine.at_hand(load_params(ROOT / "params.yaml").compute.model_copy(update={"device": "cuda"}))
    assert (found.gpu, found.memory, found.here) == (GPUS["L40S"], 48 * GIB, True)


def test_without_a_gpu_its_memory_and_speed_are_unknown(here: Params) -> None:
    change_params(Path.cwd(), {"compute.device": "cuda"})
    try:
        done = run_here(Path.cwd(), "hallmark.commands.plan", "--json")
    finally:
        change_params(Path.cwd(), {"compute.device": "cpu"})
    found = json.loads(done.stdout)
    assert (done.returncode, found["limit_bytes"], found["training_seconds"]) == (0, None, None)


@pytest.mark.parametrize(("field", "value"), [("model_type", "no-such-model"), ("hidden_size", "wide")])
def test_a_configuration_that_is_none(here: Params, tmp_path: Path, field: str, value: str) -> None:
    shutil.copytree(BASE, tmp_path / "bad")
    file = tmp_path / "bad/config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {field: value}), encoding="utf-8")
    with pytest.raises(HallmarkError, match=r"config\.json"):
        configuration(tmp_path / "bad")


@pytest.mark.parametrize(("load", "said"), [(0.0, "2 threads"), (9.0, "one thread, for the machine is busy")])
def test_a_busy_machine_is_measured_by_the_time_of_one_thread(
    here: Params, monkeypatch: pytest.MonkeyPatch, load: float, said: str
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("hallmark.plan.speed.TIMES", 1)
    found = speed.measured(configuration(BASE), here, [BATCH], [BATCH], Clock("cpu", 2))
    assert said in found.basis
    assert min(found.training, found.reading, found.writing) > 0


def test_the_faster_data_type_is_named_where_it_is_not_that_of_the_params(
    here: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.0, 1.0, 0.0, 0.0, 0.4])  # a call to warm up, then start and end, in each data type
    config = configuration(BASE)
    with monkeypatch.context() as clocked:
        clocked.setattr("hallmark.plan.speed.TIMES", 1)
        clocked.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
        clocked.setattr("time.perf_counter", lambda: next(clock))
        assert speed.float32_ahead(config, 64, Clock("cpu", 1)) == pytest.approx(2.5)
    fast = estimate.estimate(here, BASE)
    assert fast.float32_ahead is not None and fast.float32_ahead > 0
    said = {
        times: "\n".join(
            plan.table("tiny", here, machine.at_hand(here.compute), replace(fast, float32_ahead=times), None)
        )
        for times in (None, 1.2, 2.5)
    }
    assert [times for times, text in said.items() if "float32" in text] == [2.5]
    assert "2.5 times as fast in float32" in said[2.5]
    slow = here.model_copy(update={"sft": here.sft.model_copy(update={"dtype": "float32"})})
    assert estimate.estimate(slow, BASE).float32_ahead is None
    assert estimate.estimate(here, BASE, machine.named("L4")).float32_ahead is None


@pytest.fixture
def ran(here: Params, monkeypatch: pytest.MonkeyPatch) -> Params:
    """What an earlier run on this machine left: the reference's reports, as of this machine, and its dvc.lock."""
    params = load_params(ROOT / "params.yaml")
    data = lengths(params, Path())
    tokens, asked = round(fmean(data.train.whole) * data.train.records), data.holdout.records
    lock = read_lock((ROOT / "dvc.lock").read_bytes())
    known = {name: value for name, value in lock["sft"]["params"]["sft"].items() if name in Sft.model_fields}
    sft = params.sft.model_dump() | known  # The lock may be of a time when `sft` had a param that is gone.
    reports = {
        "reports/base.json": {"name": params.base.name, "source": params.base.source},
        "reports/sft.json": {"steps": 231, "records": {"train": data.train.records}, "tokens": {"train": tokens}},
        "reports/eval/base/metrics.json": {"records": min(asked, params.eval.sample["base"])},
        "reports/eval/tuned/metrics.json": {"records": asked},
        "reports/measured/sft.json": {"fingerprint": {"processor": "this"}, "train_seconds": 1299.1},
        "reports/measured/eval_base.json": {"measured": {"machine": {"processor": "this"}}, "answer_seconds": 30.0},
        "reports/measured/eval_tuned.json": {"measured": {"machine": {"processor": "this"}}, "answer_seconds": 40.0},
    }
    here_is = {"processor": "this"}
    monkeypatch.setattr("hallmark.base.compute.fingerprint", lambda _: here_is)
    monkeypatch.setattr(speed, "OF_MACHINE", ())
    for name, content in reports.items():
        write_json(Path(name), content)
    written = YAML(typ="safe").load((ROOT / "dvc.lock").read_text(encoding="utf-8"))
    for model, own in speed.OF_MODEL.items():
        asked = {f"eval.{name}": getattr(params.eval, name) for name in (*speed.OF_EVAL, own)}
        asked["eval.engine"] = params.eval.engine.model_dump()
        written["stages"][f"eval@{model}"]["params"]["params.yaml"] = asked
    with Path("dvc.lock").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(written, file)
    return params.model_copy(update={"sft": Sft.model_validate(sft)})


def test_the_last_run_says_the_time(ran: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only if it ran on this machine with the same base, as much data and the same settings that decide how long a step takes."""
    data = lengths(ran, tmp_path)
    assert speed.trained_here(ran, data) == speed.Trained(1299.1, 231, 145)
    assert speed.answered_here(ran, data) == {"base": 30.0, "tuned": 40.0}
    base = bases.known(NAMES[0], tmp_path)
    assert base is not None
    found = estimate.estimate(with_sft(ran, max_steps=231), base)
    assert found.training_seconds == pytest.approx(1299.1)
    assert found.evaluation_seconds > 70
    assert "the last run of sft on this machine; the last run of eval on this machine" in found.basis
    monkeypatch.setattr("hallmark.plan.speed.TIMES", 1)
    assert "layers of it run" in estimate.estimate(ran, base, past=False).basis
    sampled = ran.model_copy(update={"eval": ran.eval.model_copy(update={"sample": {"base": 7}})})
    assert speed.answered_here(sampled, data) == {"tuned": 40.0}
    assert speed.trained_here(with_sft(ran, learning_rate=0.1), data) is not None
    for changed_run in (
        with_sft(ran, batch_size=8),
        with_sft(ran, lora=ran.sft.lora.model_copy(update={"dropout": 0.1})),
        ran.model_copy(update={"base": ran.base.model_copy(update={"name": "another"})}),
        ran.model_copy(update={"base": ran.base.model_copy(update={"source": "hub"})}),
    ):
        assert speed.trained_here(changed_run, data) is None
    longer = replace(data, train=replace(data.train, whole=[2 * tokens for tokens in data.train.whole]))
    assert speed.trained_here(ran, longer) is None and speed.answered_here(ran, longer) == {}
    larger = replace(data, holdout=replace(data.holdout, records=10 * data.holdout.records))
    assert "tuned" not in speed.answered_here(ran, larger)
    monkeypatch.setattr("hallmark.base.compute.fingerprint", lambda _: {"processor": "another"})
    assert speed.trained_here(ran, data) is None and speed.answered_here(ran, data) == {}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("reports/base.json", "{"),
        ("reports/sft.json", "{"),
        ("reports/sft.json", "{}"),
        ("reports/measured/sft.json", '{"fingerprint": {"processor": "this"}, "train_seconds": null}'),
        ("reports/measured/sft.json", '{"fingerprint": {"processor": "this"}, "train_seconds": 0.0}'),
        ("reports/measured/sft.json", '{"measured": "yesterday", "train_seconds": 1.0}'),
        ("dvc.lock", "<<<<<<< ours"),
        ("dvc.lock", "stages: {sft: {cmd: x, params: {params.yaml: {sft: {}}}}}"),
    ],
)
def test_a_run_that_can_not_be_read_is_none(ran: Params, tmp_path: Path, file: str, text: str) -> None:
    Path(file).write_text(text, encoding="utf-8")
    assert speed.trained_here(ran, lengths(ran, tmp_path)) is None


def test_another_base_is_measured(here: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although it has the params of the base that ran here."""
    asked: list[bool] = []

    def estimated(*_: Any, past: bool) -> Any:
        asked.append(past)
        raise HallmarkError("stop", remedy="")

    monkeypatch.setattr(plan, "estimate", estimated)
    for options in (list[str](), ["--base", NAMES[1]]):
        with pytest.raises(HallmarkError, match="stop"):
            plan.main(argparse.Namespace(params=Path("params.yaml"), **vars(plan._parser().parse_args(options))))
    assert asked == [True, False]


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (CONFIGS["Gemma 2"], "eval.attention"),  # transformers has no sdpa for it
        ({"model_type": "lfm2", "num_hidden_layers": 2, "layer_types": ["conv", "full_attention"]}, None),
    ],
    ids=["Gemma 2", "LFM2"],
)
def test_what_can_not_run_here_is_an_error(
    here: Params, tmp_path: Path, config: dict[str, Any], field: str | None
) -> None:
    write_json(tmp_path / "config.json", NARROW | config | NARROW)
    with pytest.raises(HallmarkError) as raised:
        estimate.estimate(here, tmp_path)
    assert raised.value.field == field


def test_experts_are_work(here: Params) -> None:
    """Those that a token goes to."""
    config = AutoConfig.for_model(**CONFIGS["Mixtral"])
    size, (hidden, inner) = sizes(config, with_all_layers(here.sft).lora), (768, 2048)
    attention = 2 * hidden * hidden + 2 * hidden * size.keys
    routed = 4 * (attention + 2 * 3 * hidden * inner)
    assert size.reading(Batch(1, 1, 0), 0) == pytest.approx(2 * routed, rel=0.01)


def test_room_is_left_for_what_is_no_tensor() -> None:
    found = estimate.Estimate(23 * GIB, 0, 0, 1.0, 1.0, 24 * GIB, None, "")
    assert not found.fits
    assert replace(found, training_bytes=20 * GIB).fits
    assert replace(found, limit_bytes=None).fits


def test_the_plan_counts_who_is_asked_what(here: Params) -> None:
    """The base and a comparator some records, the tuned model all; a comparator's prompts hold its examples."""
    part = lengths(here, BASE).holdout
    asked = {"sample": {"base": 2, "few_shot": 1}}
    params = here.model_copy(update={"eval": here.eval.model_copy(update=asked)})
    base, tuned, few, *samples = all_answering(params, part, NO_PART)
    assert [round(each.share * len(part.prompts)) for each in samples] == [2 * min(3, part.records)]
    apart = replace(part, records=2)
    *_, answers, sampled, again = all_answering(params, part, apart)
    assert sampled.share == samples[0].share
    assert round(answers.share * len(part.prompts)) == 2 and again.share == 2 * answers.share
    assert [round(each.share * len(part.prompts)) for each in (base, tuned, few)] == [2, part.records, 1]
    longer = few.batches[0].tokens - base.batches[0].tokens
    assert 0 < longer <= params.eval.comparators["few_shot"].max_tokens


def test_masking_of_more_rows_goes_by_the_last_run_of_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    last = {"rows": 1000, "workers": 2, "read_seconds": 1.0, "mask_seconds": 30.0, "main_seconds": 3.0}
    write_json(masking.FILE, last | {"peak_memory_mib": 500, "worker_memory_mib": 400, "seconds": 40.0})
    few, many = masking.masking(10_000, 4, 2.0), masking.masking(10_000, 64, 2.0)
    assert (few.seconds, few.main_is_slower) == (10 + 150, False)
    assert (many.seconds, many.main_is_slower) == (10 + 30, True), "as fast as the one process that reads and writes"
    assert many.price is not None and many.price == pytest.approx(2.0 * many.machines * many.seconds / 3600)
    assert (few.worker_bytes, few.main_bytes > 500 * 2**20) == (400 * 2**20, True)
    write_json(masking.FILE, {"rows": 1000, "seconds": 40.0})  # of an earlier version
    with pytest.raises(HallmarkError) as failure:
        masking.masking(10_000, 4, None)
    assert (failure.value.file, "repro mask" in failure.value.remedy) == (masking.FILE, True)
