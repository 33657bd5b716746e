"""Parts about two cards: several processes must learn what one learns at the same global batch."""

from __future__ import annotations

from tests.gpu.models import LLAMA, QWEN, Workspace, difference, last_words, workspace
from tests.gpu.registry import Bench, Failed, Skipped, expect, part
from tests.gpu.training import same
from tests.workspace import report

TOLERANCE = 1e-2  # nats between the curves, in bfloat16; the sums are added up in another order


def trained_by(made: Workspace, processes: int) -> list[tuple[str, float]]:
    """Train, without instruments: they would be in the launcher only; the curve, a (step and split, loss) each."""
    made.set(sft__parallel__processes=processes)
    made.round()
    done = made.process("stages.sft")
    if done.returncode != 0:
        raise Failed(f"sft ended with exit code {done.returncode}: {last_words(done.stderr)}")
    rows = (made.folder / "reports/sft_curve.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [(row.rpartition(",")[0], float(row.rpartition(",")[2])) for row in rows]


def two(bench: Bench, name: str, strategy: str, **overrides: object) -> None:
    """Two processes twice, then one with twice the accumulation."""
    if bench.device == "cuda":
        import torch

        if (count := torch.cuda.device_count()) < 2:
            raise Skipped(f"torch sees {count} CUDA device{'' if count == 1 else 's'}, and it takes two")
    made = workspace(bench, name, sft__parallel__strategy=strategy, sft__gradient_accumulation_steps=1, **overrides)
    made.set(sft__batch_size=bench.size(4, 2), sft__max_steps=bench.size(8, 2))
    curve: list[tuple[str, float]] = []
    with bench.check(f"{name}: {strategy}, two cards") as told:
        curve = trained_by(made, 2)
        told.append(f"{report(made.folder, 'measured/sft')['tokens_per_second']:,.0f} tokens/s")
        made.kept("first")
    with bench.check(f"{name}: {strategy}, two runs, the same bytes"):
        expect(bool(curve), "the first run did not end")
        trained_by(made, 2)
        same(difference(made.folder / "first.safetensors", made.adapter))
    with bench.check(f"{name}: {strategy}, the curve of one card at the same global batch") as told:
        expect(bool(curve), "the run on two cards did not end")
        made.set(sft__gradient_accumulation_steps=2)
        alone = trained_by(made, 1)
        expect([at for at, _ in curve] == [at for at, _ in alone], "the curves have other steps")
        furthest = max(abs(one - other) for (_, one), (_, other) in zip(curve, alone, strict=True))
        told.append(f"at most {furthest:.6f} nats apart")
        expect(furthest < TOLERANCE, told[0])


@part("ddp", "two cards, each with the whole base")
def ddp(bench: Bench) -> None:
    """QLoRA at 0.6B."""
    two(bench, QWEN, "ddp", sft__method="qlora")


@part("fsdp", "two cards, each with a shard of the base")
def fsdp(bench: Bench) -> None:
    """QLoRA at 3B, kept in 4 bits, which is what FSDP is for."""
    two(bench, LLAMA, "fsdp", sft__method="qlora", sft__dequantize_once=False, sft__gradient_checkpointing=True)
