"""Evaluate a model on the holdout, every prediction kept: `python -m stages.eval --model base` (`tuned`, `--comparators`).

`--calibration`, `--online`: the tuned model answers that part of the split in the same way (docs/confidence.md,
docs/service-loop.md). Reads the part, and the model, which answers in this process or behind a server, as `eval.engine`
says. It is asked all records once, or some if `eval.sample` names it, and each answer is scored:
`hallmark/answer/scoring.py` says what counts as right and names each failure. Base and tuned may then be asked some
again, within the task's schema. Writes predictions.jsonl, a line a record, and metrics.json, which sums it up, to `reports/eval/<model>` or `reports/comparators/<name>`, and what it took to
`reports/measured/`.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from hallmark.answer.answers import UNREAD, check_read, prompts_of
from hallmark.answer.comparator import Questions
from hallmark.answer.confidence import sure_of
from hallmark.answer.evaluated_models import WEIGHTS
from hallmark.answer.fair_order import fair_order
from hallmark.answer.model_by_name import Examiner, about, answerers, asked_of, weights_of
from hallmark.answer.params import HfEngine
from hallmark.answer.predictions import prediction
from hallmark.answer.scoring import Scorer
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import CALIBRATION, HOLDOUT, ONLINE, write_json
from hallmark.base.machine import stamp
from hallmark.base.measured import measured
from hallmark.base.records import read_records
from hallmark.judge.metrics import counts, held_to_schema, metrics
from hallmark.model.chat_template import tool_form
from hallmark.model.lengths import context_of, out_of_reach
from hallmark.params.loader import Params, load_params
from hallmark.task.predictions import COMPARATORS, metrics_of, predictions_of, write_predictions
from hallmark.task.task import Task

log = logging.getLogger("eval")

APART = {"calibration": CALIBRATION, "online": ONLINE}  # parts next to the holdout that the tuned model answers


def run(params: Params, model: str) -> None:
    """Evaluate base or tuned model; write reports/eval/<model> and reports/measured/eval_<model>.json."""
    with measured(f"eval_{model}") as measure:
        evaluate(params, model, measure)


def run_apart(params: Params, part: str) -> None:
    """Have the tuned model answer a part of `APART`, which may be empty; write reports/eval/<part>."""
    with measured(part) as measure:
        if len(read_records(APART[part])):
            evaluate(params, part, measure)
            return
        write_predictions(predictions_of(part), [])
        write_json(metrics_of(part), counts([]))
        log.info("the part %s is empty: no model is loaded", part)


def run_comparators(params: Params) -> None:
    """Evaluate all of `eval.comparators`; write reports/comparators, with nothing else in it, and what was measured."""
    COMPARATORS.mkdir(parents=True, exist_ok=True)
    for folder in sorted(COMPARATORS.iterdir()):
        if folder.name not in params.eval.comparators:
            shutil.rmtree(folder)
    with measured("comparators") as measure:
        for name in params.eval.comparators:
            evaluate(params, name, measure.setdefault(name, {}))


def evaluate(params: Params, model: str, measure: dict[str, Any]) -> None:
    """Generate, score, and write predictions and measures of a model; `measure` gets what differs from run to run.

    A part of `APART` is the tuned model on that part.
    """
    from hallmark.base.compute import check_dtype, deterministic, fingerprint, set_up
    from hallmark.model.loading import load_tokenizer

    settings, task = params.eval, Task(params.task)
    asked_model, source = ("tuned", APART[model]) if model in APART else (model, HOLDOUT)
    weights = weights_of(settings, asked_model)
    set_up(params.compute, params.seed)
    if isinstance(settings.engine, HfEngine):  # a server may convert weights to what its GPU can do
        check_dtype(params.compute, settings.dtype, "eval.dtype")
    tokenizer = load_tokenizer(weights)
    form = tool_form(params.task, tokenizer)
    scorer = Scorer(task, settings.policy, form, settings.facts)

    # Which records are asked, and how.
    held_out = read_records(source).rows(named=True)
    if not held_out:
        raise HallmarkError("holds no record", file=source, remedy="raise split.holdout")
    order = fair_order([row["id"] for row in held_out], [row["group"] for row in held_out], params.seed)
    drawn = sorted(order[: settings.sample.get(model, len(held_out))])
    records, prompts = [held_out[row] for row in drawn], prompts_of(held_out)
    wanted, context = [prompts[row] for row in drawn], context_of(weights)
    room = None if context is None else context - settings.max_new_tokens
    asked = asked_of(settings, model, Questions(task, records, wanted, tokenizer, form, room, params.seed))

    repeats = deterministic("eval.attention", "set eval.attention to eager, which is deterministic everywhere")
    with repeats, ExitStack() as stack:  # which ends the server, if there is one
        measure |= {"measured": stamp(fingerprint(params.compute)), "server": settings.engine.kind}
        start = time.perf_counter()
        make = answerers(params, asked_model, task, form, stack, source)
        examiner = Examiner(model, make, records, asked.prompts, scorer)
        beyond = out_of_reach(records, settings.max_new_tokens, tokenizer, form)
        measure["load_seconds"] = round(time.perf_counter() - start, 2)

        # The answers that count: one to each record.
        first = examiner.ask(range(len(records)), settings.batch_size)
        answers = [answer for answer, _ in first.pairs]
        check_read(model, answers, params.split.too_long)
        measure |= first.measured()
        unreachable = sum(far or answer is UNREAD for far, answer in zip(beyond, answers, strict=True))
        extra: dict[str, Any] = {"out_of_reach": unreachable, "held_out": len(held_out)}
        extra |= about(settings, model, asked, answers)

        # Base and tuned within the task's schema: the same records for both, however many each answers. Freely once more in
        # the same batches, so that only the constraint differs.
        few = min(settings.constrained if model in WEIGHTS else 0, len(records))
        within: dict[int, dict[str, Any]] = {}
        if sample := [drawn.index(row) for row in sorted(order[:few])]:
            batch_size = min(settings.batch_size, len(sample))
            free = examiner.ask(sample, batch_size, " freely")
            held = examiner.ask(sample, batch_size, " within the schema", within_schema=True)
            seconds = {"seconds": held.generating, "free_seconds": free.generating}
            measure["constrained"] = {"records": len(sample)} | seconds
            extra["constrained"] = held_to_schema(free.pairs, held.pairs)
            for row, (answer, score) in zip(sample, held.pairs, strict=True):
                within[row] = {"prediction": answer.text, "finish": answer.finish, "outcome": score.outcome}

    rows = [
        replace(
            prediction(record, answer.text, score, finish=answer.finish, tokens=answer.tokens),
            examples=examples,
            confidence=sure_of(answer, form, is_json=task.is_json),
            constrained=within.get(row),
        )
        for row, (record, (answer, score), examples) in enumerate(
            zip(records, first.pairs, asked.examples, strict=True)
        )
    ]
    result = counts(rows)
    if model not in APART:
        result = metrics(model, rows, task) | extra
    write_predictions(predictions_of(model), rows)
    write_json(metrics_of(model), result)
    right = 100 * sum(row.exact_match for row in rows) / len(rows)
    log.info("%s: exact match %.1f %% of %d records", model, right, len(rows))


def main(arguments: argparse.Namespace) -> None:
    """Load the parameters and run."""
    params = load_params(arguments.params)
    if arguments.part:
        run_apart(params, arguments.part)
    elif arguments.comparators:
        run_comparators(params)
    else:
        run(params, arguments.model)


if __name__ == "__main__":
    own = argparse.ArgumentParser(prog="python -m stages.eval", description=__doc__)
    which = own.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", choices=tuple(WEIGHTS), help="which model to evaluate")
    which.add_argument("--comparators", action="store_true", help="evaluate all of eval.comparators")
    for part in APART:
        words = f"have the tuned model answer the {part} part"
        which.add_argument(f"--{part}", action="store_const", dest="part", const=part, help=words)
    run_stage("eval", __doc__, main, own)
