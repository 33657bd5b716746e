"""Evaluate a model on the holdout, every prediction kept: `python -m stages.eval --model base` (or `tuned`).

lm-evaluation-harness runs the repo's own task (see `stages/evaluation/harness.py`); `stages/evaluation/scoring.py` says what
counts as right and names each failure. `stages/evaluation/metrics.py` sums it up.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from stages.core.errors import HallmarkError, run_stage
from stages.core.files import ADAPTER, BASE, HOLDOUT, REPORTS, write_json
from stages.core.machine import stamp
from stages.core.measured import measured
from stages.core.records import read_records
from stages.evaluation.metrics import metrics
from stages.evaluation.params import EndpointEngine, VllmEngine
from stages.evaluation.predictions import Row, prediction, readable
from stages.evaluation.scoring import Score, Scorer
from stages.models.chat_template import tool_form
from stages.models.tool_form import ToolForm, calls_in
from stages.params.loader import Params, load_params
from stages.tasks.predictions import predictions_of, write_predictions
from stages.tasks.task import Task

log = logging.getLogger("eval")

MODELS = ("base", "tuned")
Answers = list[tuple[Any, Score]]


def run(params: Params, model: str) -> None:
    """Generate, score, and write reports/eval/<model>/predictions.jsonl and metrics.json."""
    from stages.core.compute import fingerprint, set_up
    from stages.models.loading import load_tokenizer

    settings, task = params.eval, Task(params.task)
    set_up(params.compute, params.seed)
    form = tool_form(params.task, load_tokenizer(BASE))
    scorer = Scorer(task, settings.policy, form, settings.facts)
    records = read_records(HOLDOUT).rows(named=True)
    if not records:
        raise HallmarkError("holds no record", file=HOLDOUT, remedy="raise split.holdout")
    with measured(f"eval_{model}") as measure, ExitStack() as stack:
        measure |= {"measured": stamp(fingerprint(params.compute)), "server": settings.engine.kind}
        start = time.perf_counter()
        make = engines(params, model, task, form, stack)
        from stages.evaluation.harness import evaluate

        def answer(places: list[int], batch_size: int, *, constrained: bool = False) -> tuple[Answers, float, float]:
            engine, began = make(batch_size, constrained), time.perf_counter()
            chosen = [records[place] for place in places]
            answers = evaluate(engine, chosen, lambda record, text: scorer.score(**readable(record), prediction=text))
            return answers, round(time.perf_counter() - began, 2), round(engine.spent, 2)

        log.info("%s: %d records in batches of %d", model, len(records), settings.batch_size)
        unreachable = out_of_reach(records, settings.max_new_tokens, form)
        measure["load_seconds"] = round(time.perf_counter() - start, 2)
        answers, seconds, pure = answer(list(range(len(records))), settings.batch_size)
        tokens = sum(answer.tokens for answer, _ in answers)
        measure |= {"answer_seconds": seconds, "generate_seconds": pure, "tokens": tokens}
        measure["tokens_per_second"] = round(tokens / seconds, 1)
        places = evenly(len(records), settings.again if model == "base" else 0)
        second = answer(places, len(places))[0] if places else []
        sample = evenly(len(records), settings.constrained)
        if sample:  # free once more in the same batches, so that nothing but the constraint differs
            batch_size = min(settings.batch_size, len(sample))
            free, _, free_seconds = answer(sample, batch_size)
            held, _, held_seconds = answer(sample, batch_size, constrained=True)
            measure["constrained"] = {"records": len(sample), "seconds": held_seconds, "free_seconds": free_seconds}
        known = []
        if settings.general.tasks:
            from stages.evaluation.general import general

            engine = make(settings.batch_size, False)
            known = general(engine.model, engine.tokenizer, settings.general, settings.batch_size)
    rows = [
        prediction(record, str(answer), score, finish=answer.finish, tokens=answer.tokens)
        for record, (answer, score) in zip(records, answers, strict=True)
    ]
    scores = [score for _, score in answers]
    result = metrics(model, rows, scores, settings=params.eval, task=task, seed=params.seed) | {
        "out_of_reach": unreachable
    }
    if second:
        result["again"] = again([answers[place] for place in places], second)
    if known:
        result["general"] = known
    if sample:
        result["constrained"] = beside_free(free, held)
        for place, (answered, score) in zip(sample, held, strict=True):
            second_answer = {"prediction": str(answered), "finish": answered.finish, "outcome": score.outcome}
            rows[place] = replace(rows[place], constrained=second_answer)
    write_predictions(predictions_of(model), rows)
    write_json(REPORTS / "eval" / model / "metrics.json", result)
    log.info(
        "%s: exact match %.1f %%, valid %.1f %%, %d tokens, %.0f a second",
        model,
        100 * result["exact_match"]["value"],
        100 * result["schema_validity"]["value"],
        tokens,
        tokens / seconds,
    )


def engines(
    params: Params, model: str, task: Task, form: ToolForm | None, stack: ExitStack
) -> Callable[[int, bool], Any]:
    """What makes the engine of `eval.engine` for a batch size, constrained by the schema or not.

    The model is loaded once, or its server started, until `stack` ends. The base is loaded without a look at the adapter.
    """
    settings = params.eval
    shared: dict[str, Any] = {"max_new_tokens": settings.max_new_tokens, "source": HOLDOUT}
    if isinstance(settings.engine, EndpointEngine | VllmEngine):
        from stages.evaluation.endpoint import Endpoint, answer_schema

        asked = settings.engine
        if isinstance(asked, VllmEngine):
            from stages.serving.server import free_port, served

            port = free_port(asked.port, "eval.engine.port")
            server = stack.enter_context(served({model: port}, ADAPTER, asked, params.compute))[model]
            shared["fields"] = server.fields
            names = dict.fromkeys(MODELS, model)
            asked = EndpointEngine(
                kind="endpoint",
                url=server.url,
                names=names,
                key=None,
                concurrency=asked.concurrency,
                timeout=asked.timeout,
            )
        return lambda _, constrained: Endpoint(
            asked, asked.names[model], **shared, form=form, schema=answer_schema(task) if constrained else None
        )
    from stages.evaluation.harness import Engine
    from stages.models.loading import load_base, load_tokenizer, load_tuned

    options: dict[str, Any] = {
        "dtype": settings.dtype,
        "attention": settings.attention,
        "device": params.compute.device,
    }
    tokenizer = load_tokenizer(BASE)
    if model == "tuned":
        loaded = load_tuned(BASE, ADAPTER, **options, merge=settings.merge)
    else:
        loaded = load_base(BASE, **options)

    def make(batch_size: int, constrained: bool) -> Engine:
        grammar = None
        if constrained:
            from stages.evaluation.constrained import grammar_of

            grammar = grammar_of(task)
        return Engine(loaded, tokenizer, batch_size=batch_size, **shared, grammar=grammar)

    return make


def out_of_reach(records: list[Row], limit: int, form: ToolForm | None) -> int:
    """How many records are due an answer that is longer than may be generated: they can't pass."""
    from stages.models.loading import load_tokenizer

    tokenizer = load_tokenizer(BASE)
    due = [readable(record)["target"] for record in records]
    if form:
        due = [form.write(calls) if (calls := calls_in(target)) else target for target in due]
    lengths = [len(tokenizer(text, add_special_tokens=False).input_ids) for text in due]
    log.info("the longest answer that is due has %d tokens; eval.max_new_tokens is %d", max(lengths), limit)
    found = sum(length >= limit for length in lengths)
    if found:
        log.warning("%d records are due answers that take more tokens than may be generated: they can't pass", found)
    return found


def evenly(n: int, wanted: int) -> list[int]:
    """`wanted` of `n` places (all, where there are fewer), evenly spread."""
    wanted = min(n, wanted)
    return [place * n // wanted for place in range(wanted)]


def again(first: Answers, second: Answers) -> dict[str, int]:
    """How far the same records, answered in other batches, came out otherwise: exact match `lost` and `won`."""
    pairs = list(zip(first, second, strict=True))
    return {
        "records": len(pairs),
        "texts_changed": sum(one != two for (one, _), (two, _) in pairs),
        "outcomes_changed": sum(one.outcome != two.outcome for (_, one), (_, two) in pairs),
        "lost": sum(one.exact_match and not two.exact_match for (_, one), (_, two) in pairs),
        "won": sum(two.exact_match and not one.exact_match for (_, one), (_, two) in pairs),
    }


def beside_free(free: Answers, held: Answers) -> dict[str, Any]:
    """The same records, decoded freely and held to the schema: what that `fixed` (now an exact match), what it only
    `hid` (was not valid, now is, and is wrong all the same), and what it `lost` (was an exact match)."""
    pairs = [(one, two) for (_, one), (_, two) in zip(free, held, strict=True)]
    return {
        "records": len(pairs),
        **{
            name: {
                "parses": sum(score.parses for _, score in answers),
                "schema_validity": sum(score.schema_valid for _, score in answers),
                "exact_match": sum(score.exact_match for _, score in answers),
                "cut_off": sum(answer.finish == "length" for answer, _ in answers),
                "tokens": sum(answer.tokens for answer, _ in answers),
            }
            for name, answers in (("free", free), ("constrained", held))
        },
        "fixed": sum(not one.exact_match and two.exact_match for one, two in pairs),
        "hidden": sum(not one.schema_valid and two.schema_valid and not two.exact_match for one, two in pairs),
        "lost": sum(one.exact_match and not two.exact_match for one, two in pairs),
    }


def main(arguments: argparse.Namespace) -> None:
    """Load the parameters and run."""
    run(load_params(arguments.params), arguments.model)


if __name__ == "__main__":
    own = argparse.ArgumentParser(prog="python -m stages.eval", description=__doc__)
    own.add_argument("--model", choices=MODELS, required=True, help="which model to evaluate")
    run_stage("eval", __doc__, main, own)
