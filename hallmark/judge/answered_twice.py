"""The same records answered twice: freely, and held to the task's schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hallmark.answer.predictions import readable
from hallmark.answer.scoring import Score, Scorer
from hallmark.task.task import Task

if TYPE_CHECKING:
    from hallmark.params.loader import Params
    from hallmark.serve.load import Outcome

Served = tuple[dict[str, Any], Sequence["Outcome"]]  # a level of load as measured, and the outcomes of its requests
MEASURED = ("requests", "errors", "timeouts", "failures", "latency_s", "requests_per_second")


def held_to_schema(free: Sequence[tuple[Any, Score]], held: Sequence[tuple[Any, Score]]) -> dict[str, Any]:
    """How many records holding `fixed` (now an exact match), only `hid` (was not valid, is now valid but still wrong), and
    `lost` (was an exact match). Each is an answer, which has `tokens` and `cut_off`, and its score."""
    pairs = [(before, after) for (_, before), (_, after) in zip(free, held, strict=True)]
    return {
        "records": len(pairs),
        **{
            name: {
                "parses": sum(score.parses for _, score in answers),
                "schema_validity": sum(score.schema_valid for _, score in answers),
                "exact_match": sum(score.exact_match for _, score in answers),
                "cut_off": sum(answer.cut_off for answer, _ in answers),
                "tokens": sum(answer.tokens for answer, _ in answers),
            }
            for name, answers in (("free", free), ("constrained", held))
        },
        "fixed": sum(not before.exact_match and after.exact_match for before, after in pairs),
        "hidden": sum(
            not before.schema_valid and after.schema_valid and not after.exact_match for before, after in pairs
        ),
        "lost": sum(before.exact_match and not after.exact_match for before, after in pairs),
    }


def served(
    params: Params, records: Sequence[dict[str, Any]], rows: Sequence[int], free: Served, held: Served
) -> dict[str, Any]:
    """What the schema does to answers and latency, of the records (each once) that a server answered both ways.

    `rows`: the record that each request was about.
    """
    scorer = Scorer(Task(params.task), params.eval.policy, None, params.eval.facts)
    pairs = {
        row: pair
        for row, pair in zip(rows, zip(free[1], held[1], strict=True), strict=True)
        if all(outcome.failure is None and not outcome.calls for outcome in pair)
    }
    scored = [
        [(pair[way], scorer.score(**readable(records[row]), prediction=pair[way].text)) for row, pair in pairs.items()]
        for way in (0, 1)
    ]
    return {
        "load": {kind: free[0][kind] for kind in ("concurrency", "rate") if kind in free[0]},
        "answers": held_to_schema(*scored),
        "measured": {
            name: {key: level[key] for key in MEASURED} for name, (level, _) in (("free", free), ("constrained", held))
        },
    }
