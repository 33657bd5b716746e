"""Parts about how records become batches: a budget of tokens, and packing."""

from __future__ import annotations

from tests.gpu.models import QWEN, mib, workspace
from tests.gpu.registry import Bench, expect, part
from tests.gpu.training import Learned, learns

TOLERANCE = 1e-2  # nats, in bfloat16, whose products keep three digits


def compared(bench: Bench, words: str, **overrides: object) -> None:
    """One pass as shipped and one with the overrides: speed, memory, and the validation loss before the first step."""
    made, found = workspace(bench, QWEN), list[Learned]()
    for name, values in (("batches of records", {}), (words, overrides)):
        with bench.check(name) as told:
            found.append(learns(told, made, sft__max_steps=None, sft__epochs=1.0, **values))
    with bench.check(f"{words}: the same validation loss before the first step, and the speed") as told:
        expect(len(found) == 2, "one of the two runs did not end")
        before, after = found
        apart = abs(before.losses[0] - after.losses[0])
        memory = f"{mib(before.peak)} to {mib(after.peak)}"
        told += [f"{apart:.6f} nats apart", f"{after.speed / before.speed:.2f} times the tokens a second", memory]
        expect(apart < TOLERANCE, f"the losses differ by {apart:.6f} nats")


@part("token-batches", "batches by a budget of tokens against batches by records")
def token_batches(bench: Bench) -> None:
    """The budget is about what a batch of records has."""
    compared(bench, "batches of tokens", sft__batch_tokens=bench.size(8192, 2048))


@part("packing", "records packed without padding against padded ones")
def packing(bench: Bench) -> None:
    """The same loss, fewer wasted tokens."""
    compared(bench, "packed", sft__packing=True, sft__batch_tokens=bench.size(8192, 2048))
