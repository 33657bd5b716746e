"""Parts about training: it runs and learns, repeats to the byte, and the settings that save memory do what they say."""

from __future__ import annotations

import importlib.util

from ruamel.yaml import YAML

from tests.gpu.models import LARGE_CARD, LLAMA, QWEN, SMOLLM, Workspace, card_bytes, difference, mib, workspace
from tests.gpu.registry import Bench, Line, Skipped, part
from tests.workspace import ROOT, report

METHODS = {"QLoRA": "qlora", "LoRA": "lora"}


def learns(line: Line, made: Workspace, **overrides: object) -> None:
    """Train, and note speed, memory and losses; the validation loss must fall."""
    seen = made.train(**overrides)
    curve = (made.folder / "reports/sft_curve.csv").read_text(encoding="utf-8").splitlines()
    losses = [float(row.split(",")[2]) for row in curve if ",validation," in row]
    measured = seen["measured"]
    line.values |= {
        "tokens_per_second": measured["tokens_per_second"],
        "steps": seen["steps"],
        "step_seconds": seen["step_seconds"],
        "peak_bytes": seen["peak_bytes"],
        "validation_loss": [losses[0], losses[-1]],
        "fingerprint": measured["fingerprint"],
    }
    line.words = (
        f"{measured['tokens_per_second']:,.0f} tokens/s with its validations, {mib(seen['peak_bytes'])}, "
        f"validation loss {losses[0]:.3f} to {losses[-1]:.3f}"
    )
    line.expect(losses[-1] < losses[0], f"the validation loss did not fall: {losses[0]} to {losses[-1]}")


def trained(bench: Bench, name: str, batch_size: int, **overrides: object) -> None:
    """Both methods on one model."""
    made = workspace(bench, name, **overrides)
    if not bench.tiny:
        made.set(sft__batch_size=batch_size)
    for words, method in METHODS.items():
        with bench.line(f"{name}: {words}") as line:
            learns(line, made, sft__method=method)


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
    if importlib.util.find_spec("hallmark.params.presets") is None:
        raise Skipped("absent: this version has no hallmark.params.presets")
    from hallmark.params.loader import merged
    from hallmark.params.presets import prepared

    machine = "cpu" if bench.device == "cpu" else "gpu-80gb" if card_bytes() >= LARGE_CARD else "gpu-24gb"
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    for name, billions in bench.some([(QWEN, 0.6), (LLAMA, 3.2)]):
        made = workspace(bench, name, data__rejected="worse", dpo__enabled=True)
        shipped = merged(YAML(typ="safe", pure=True).load(prepared(text, machine, billions)))
        for block in ("sft", "dpo", "eval"):
            keys = ["batch_size", "gradient_accumulation_steps", "gradient_checkpointing", "dequantize_once"]
            keys += ["attention", "dtype"]
            made.change({f"{block}.{key}": shipped[block][key] for key in keys if key in shipped[block]})
        made.set(sft__max_steps=bench.size(8, 2), dpo__max_steps=bench.size(4, 1), sft__method="qlora")
        with bench.line(f"{name}: sft as set up for {machine}") as line:
            learns(line, made)
        with bench.line(f"{name}: dpo as set up for {machine}") as line:
            seen = made.stage("dpo")
            line.values |= {"peak_bytes": seen["peak_bytes"], "step_seconds": seen["step_seconds"]}
            line.words = mib(seen["peak_bytes"])


@part("same-bytes", "two runs give the same adapter, or which tensor differs first")
def same_bytes(bench: Bench) -> None:
    """Twice each, with dropout and accumulation."""
    for name, methods in bench.some([(QWEN, METHODS), (LLAMA, {"QLoRA": "qlora"})]):
        made = workspace(bench, name, sft__lora__dropout=0.1, sft__gradient_accumulation_steps=2)
        made.set(sft__batch_size=bench.size(4, 2), sft__max_steps=bench.size(8, 2))
        for words, method in bench.some([*methods.items()]):
            with bench.line(f"{name}: {words}, two runs, the same bytes") as line:
                made.train(sft__method=method)
                first = made.kept("first")
                made.train()
                same(line, difference(first, made.adapter))


def same(line: Line, problem: str | None) -> None:
    """The check that two adapters have the same bytes."""
    line.values["difference"] = problem
    line.words = "the same bytes"
    line.expect(problem is None, problem or "")


@part("checkpointing", "gradient checkpointing with bfloat16 and dropout: it runs, and what it saves")
def checkpointing(bench: Bench) -> None:
    """On and off."""
    made = workspace(bench, QWEN, sft__lora__dropout=0.1)
    made.set(sft__max_steps=bench.size(6, 2))
    peaks = {}
    for words, method in bench.some([*METHODS.items()]):
        for on in (False, True):
            with bench.line(f"{words}, checkpointing {'on' if on else 'off'}") as line:
                learns(line, made, sft__method=method, sft__gradient_checkpointing=on)
                peaks[method, on] = line.values["peak_bytes"]
                made.kept(f"{method}-{on}")
        with bench.line(f"{words}: checkpointing changes memory, not the adapter") as line:
            without, with_it = (made.folder / f"{method}-{on}.safetensors" for on in (False, True))
            line.expect(without.exists() and with_it.exists(), "one of the two runs did not end")
            line.values |= {"peak_bytes": [peaks[method, False], peaks[method, True]]}
            problem = difference(without, with_it)
            line.values["difference"] = problem
            line.words = f"{mib(peaks[method, False])} to {mib(peaks[method, True])}; {problem or 'the same bytes'}"
            if peaks[method, True] is not None:
                line.expect(peaks[method, True] < peaks[method, False], f"it saves nothing: {line.words}")


@part("four-bits", "a base that is kept in 4 bits against one that is written out once")
def four_bits(bench: Bench) -> None:
    """Memory, speed, and whether the adapters are equal, which they are on a CPU."""
    made = workspace(bench, LLAMA, sft__method="qlora")
    made.set(sft__batch_size=bench.size(4, 2), sft__max_steps=bench.size(8, 2))
    peaks = {}
    for once in (True, False):
        with bench.line(f"dequantize_once: {str(once).lower()}") as line:
            learns(line, made, sft__dequantize_once=once)
            peaks[once] = line.values["peak_bytes"]
            made.kept(str(once))
    with bench.line("4 bits kept: less memory") as line:
        line.expect(len(peaks) == 2, "one of the two runs did not end")
        problem = difference(made.folder / "True.safetensors", made.folder / "False.safetensors")
        line.values |= {"difference": problem, "peak_bytes": [peaks[True], peaks[False]]}
        line.words = f"{mib(peaks[True])} to {mib(peaks[False])}; adapters: {problem or 'the same bytes'}"
        if peaks[False] is not None:
            line.expect(peaks[False] < peaks[True], f"it saves nothing: {line.words}")


@part("dpo", "preference tuning on top of sft: it runs and repeats")
def dpo(bench: Bench) -> None:
    """Twice."""
    made = workspace(bench, QWEN, sft__method="qlora")
    made.set(data__rejected="worse", dpo__enabled=True, dpo__max_steps=bench.size(8, 2), dpo__max_length=2048)
    made.set(dpo__batch_size=bench.size(4, 2), dpo__gradient_accumulation_steps=1, dpo__learning_rate=1.0e-3)
    files = []
    with bench.line("sft, which it starts from") as line:
        learns(line, made)
    for number in (1, 2):
        with bench.line(f"dpo, run {number}") as line:
            seen = made.stage("dpo")
            found = report(made.folder, "dpo")
            line.values |= {"peak_bytes": seen["peak_bytes"], "step_seconds": seen["step_seconds"]}
            line.values["validation"] = found["validation"]
            line.words = f"{mib(seen['peak_bytes'])}, margin {found['validation']['reward_margin']:.4f}"
            target = made.folder / f"dpo-{number}.safetensors"
            target.write_bytes((made.folder / "models/adapter/adapter_model.safetensors").read_bytes())
            files.append(target)
    with bench.line("dpo: two runs, the same bytes") as line:
        line.expect(len(files) == 2, "one of the two runs did not end")
        same(line, difference(*files))
