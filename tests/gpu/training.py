"""Parts about training: it runs and learns, repeats to the byte, and the settings that save memory do what they say."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML

from hallmark.params.loader import merged
from hallmark.params.presets import prepared
from tests.gpu.models import LARGE_CARD, LLAMA, QWEN, SMOLLM, Workspace, card_bytes, difference, mib, workspace
from tests.gpu.registry import Bench, expect, part
from tests.workspace import ROOT, report

METHODS = {"QLoRA": "qlora", "LoRA": "lora"}


class Learned(NamedTuple):
    """Of a training: tokens a second, the device's peak in bytes, and the first and the last validation loss."""

    speed: float
    peak: int | None
    losses: tuple[float, float]


def learns(told: list[str], made: Workspace, **overrides: object) -> Learned:
    """Train, and tell speed, memory and losses; the validation loss must fall."""
    seen = made.train(**overrides)
    curve = (made.folder / "reports/sft_curve.csv").read_text(encoding="utf-8").splitlines()
    losses = [float(row.split(",")[2]) for row in curve if ",validation," in row]
    found = Learned(seen["measured"]["tokens_per_second"], seen["peak_bytes"], (losses[0], losses[-1]))
    told += [f"{found.speed:,.0f} tokens/s with its validations", mib(found.peak)]
    told.append(f"validation loss {losses[0]:.3f} to {losses[-1]:.3f}")
    expect(losses[-1] < losses[0], f"the validation loss did not fall: {losses[0]} to {losses[-1]}")
    return found


def trained(bench: Bench, name: str, batch_size: int, **overrides: object) -> None:
    """Both methods on one model."""
    made = workspace(bench, name, **overrides)
    if not bench.tiny:
        made.set(sft__batch_size=batch_size)
    for words, method in METHODS.items():
        with bench.check(f"{name}: {words}") as told:
            learns(told, made, sft__method=method)


@part("train-0.6b", "QLoRA and LoRA of Qwen3 0.6B, random weights")
def small(bench: Bench) -> None:
    """Both methods at 0.6B."""
    trained(bench, QWEN, 8)


@part("train-3b", "QLoRA and LoRA of Llama 3.2 3B, random weights")
def large(bench: Bench) -> None:
    """Both methods at 3B."""
    trained(bench, LLAMA, 4)


@part("train-smollm2", "QLoRA and LoRA of SmolLM2 135M, real weights")
def real(bench: Bench) -> None:
    """Both methods on weights that have learned something: the loss falls far in a few steps."""
    trained(bench, SMOLLM, 8, sft__learning_rate=1.0e-3)


@part("presets", "the settings that are shipped for a card of this size: sft and dpo run with them")
def presets(bench: Bench) -> None:
    """With the batches as shipped, on records as long as the sample's."""
    machine = "cpu" if bench.device == "cpu" else "gpu-80gb" if card_bytes() >= LARGE_CARD else "gpu-24gb"
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    for name, billions in bench.some([(QWEN, 0.6), (LLAMA, 3.2)]):
        made = workspace(bench, name, dpo__enabled=True)
        shipped = merged(YAML(typ="safe", pure=True).load(prepared(text, machine, billions)))
        for block in ("sft", "dpo", "eval"):
            keys = ["batch_size", "gradient_accumulation_steps", "gradient_checkpointing", "dequantize_once"]
            keys += ["attention", "dtype"]
            made.change({f"{block}.{key}": shipped[block][key] for key in keys if key in shipped[block]})
        made.set(sft__max_steps=bench.size(8, 2), dpo__max_steps=bench.size(4, 1), sft__method="qlora")
        with bench.check(f"{name}: sft as set up for {machine}") as told:
            learns(told, made)
        with bench.check(f"{name}: dpo as set up for {machine}") as told:
            told.append(mib(made.stage("dpo")["peak_bytes"]))


@part("same-bytes", "two runs give the same adapter, or which tensor differs first")
def same_bytes(bench: Bench) -> None:
    """Twice each, with dropout and accumulation."""
    for name, methods in bench.some([(QWEN, METHODS), (LLAMA, {"QLoRA": "qlora"})]):
        made = workspace(bench, name, sft__lora__dropout=0.1, sft__gradient_accumulation_steps=2)
        made.set(sft__batch_size=bench.size(4, 2), sft__max_steps=bench.size(8, 2))
        for words, method in bench.some([*methods.items()]):
            with bench.check(f"{name}: {words}, two runs, the same bytes"):
                made.train(sft__method=method)
                first = made.kept("first")
                made.train()
                same(difference(first, made.adapter))


def same(problem: str | None) -> None:
    """The check that two adapters have the same bytes."""
    expect(problem is None, problem or "")


@part("checkpointing", "gradient checkpointing with bfloat16 and dropout: it runs, and what it saves")
def checkpointing(bench: Bench) -> None:
    """On and off."""
    made = workspace(bench, QWEN, sft__lora__dropout=0.1)
    made.set(sft__max_steps=bench.size(6, 2))
    for words, method in bench.some([*METHODS.items()]):
        found = []
        for on in (False, True):
            with bench.check(f"{words}, checkpointing {'on' if on else 'off'}") as told:
                found.append(learns(told, made, sft__method=method, sft__gradient_checkpointing=on))
                made.kept(f"{method}-{on}")
        with bench.check(f"{words}: checkpointing changes memory, not the adapter") as told:
            saves(told, found, *(made.folder / f"{method}-{on}.safetensors" for on in (False, True)))


def saves(told: list[str], found: list[Learned], *adapters: Path) -> None:
    """Tell what the second training saved, and whether its adapter is the first's, as on a CPU; it must save something."""
    expect(len(found) == 2, "one of the two runs did not end")
    (before, after), problem = (one.peak for one in found), difference(*adapters)
    told += [f"{mib(before)} to {mib(after)}", f"adapters: {problem or 'the same bytes'}"]
    expect(before is None or after is None or after < before, f"it saves nothing: {told[0]}")


@part("four-bits", "a base that is kept in 4 bits against one that is written out once")
def four_bits(bench: Bench) -> None:
    """Memory, speed, and whether the adapters are equal, which they are on a CPU."""
    made = workspace(bench, LLAMA, sft__method="qlora")
    made.set(sft__batch_size=bench.size(4, 2), sft__max_steps=bench.size(8, 2))
    found = []
    for once in (True, False):
        with bench.check(f"dequantize_once: {str(once).lower()}") as told:
            found.append(learns(told, made, sft__dequantize_once=once))
            made.kept(str(once))
    with bench.check("4 bits kept: less memory") as told:
        saves(told, found, *(made.folder / f"{once}.safetensors" for once in (True, False)))


@part("dpo", "preference tuning on top of sft: it runs and repeats")
def dpo(bench: Bench) -> None:
    """Twice."""
    made = workspace(bench, QWEN, sft__method="qlora")
    made.set(dpo__enabled=True, dpo__max_steps=bench.size(8, 2), dpo__max_length=2048)
    made.set(dpo__batch_size=bench.size(4, 2), dpo__gradient_accumulation_steps=1, dpo__learning_rate=1.0e-3)
    files = []
    with bench.check("sft, which it starts from") as told:
        learns(told, made)
    for number in (1, 2):
        with bench.check(f"dpo, run {number}") as told:
            peak = made.stage("dpo")["peak_bytes"]
            margin = report(made.folder, "dpo")["validation"]["reward_margin"]
            told += [mib(peak), f"margin {margin:.4f}"]
            target = made.folder / f"dpo-{number}.safetensors"
            target.write_bytes((made.folder / "models/adapter/adapter_model.safetensors").read_bytes())
            files.append(target)
    with bench.check("dpo: two runs, the same bytes"):
        expect(len(files) == 2, "one of the two runs did not end")
        same(difference(*files))
