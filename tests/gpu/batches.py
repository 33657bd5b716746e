"""Parts about how records become batches: a budget of tokens, and packing; skipped while params.yaml has no such keys."""

from __future__ import annotations

from hallmark.model.params import Sft
from tests.gpu.models import QWEN, Workspace, mib, workspace
from tests.gpu.registry import Bench, Line, Skipped, part
from tests.gpu.training import learns

TOLERANCE = 1e-2  # nats, in bfloat16, whose products keep three digits


def needs(param: str) -> None:
    """Skip what needs a key that this version of params.yaml does not have."""
    if param.removeprefix("sft.") not in Sft.model_fields:
        raise Skipped(f"absent: params.yaml has no {param}")


def compared(bench: Bench, made: Workspace, words: str, **overrides: object) -> None:
    """One pass as shipped and one with the overrides: speed, memory, and the validation loss before the first step."""
    found: list[Line] = []
    for name, values in (("batches of records", {}), (words, overrides)):
        with bench.line(name) as line:
            learns(line, made, sft__max_steps=None, sft__epochs=1.0, **values)
            found.append(line)
    with bench.line(f"{words}: the same validation loss before the first step, and the speed") as line:
        line.expect(len(found) == 2, "one of the two runs did not end")
        before, after = (one.values for one in found)
        apart = abs(before["validation_loss"][0] - after["validation_loss"][0])
        faster = after["tokens_per_second"] / before["tokens_per_second"]
        line.values |= {"nats_apart": apart, "times_as_fast": round(faster, 3)}
        memory = f"{mib(before['peak_bytes'])} to {mib(after['peak_bytes'])}"
        line.words = f"{apart:.6f} nats apart, {faster:.2f} times the tokens a second, {memory}"
        line.expect(apart < TOLERANCE, f"the losses differ by {apart:.6f} nats")


@part("token-batches", "batches by a budget of tokens against batches by records")
def token_batches(bench: Bench) -> None:
    """The budget is about what a batch of records has."""
    needs("sft.batch_tokens")
    made = workspace(bench, QWEN)
    compared(bench, made, "batches of tokens", sft__batch_tokens=bench.size(8192, 2048))


@part("packing", "records packed without padding against padded ones")
def packing(bench: Bench) -> None:
    """The same loss, fewer wasted tokens."""
    needs("sft.packing")
    made = workspace(bench, QWEN)
    compared(bench, made, "packed", sft__packing=True, sft__batch_tokens=bench.size(8192, 2048))
