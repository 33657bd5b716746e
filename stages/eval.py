"""Evaluate a model on the holdout, every prediction kept: `python -m stages.eval --model base` (`tuned`, `--comparators`).

`--calibration`, `--online`: the tuned model answers that part of the split in the same way (docs/confidence.md,
docs/online.md). The model answers in this process or behind a server (`hallmark/answer/answers.py`), all records or, if
`eval.sample` names it, some (`hallmark/answer/fair_order.py`). `hallmark/answer/scoring.py` says what counts as right and names each
failure. `hallmark/judge/metrics.py` sums it up.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from hallmark.answer.answers import UNREAD, Answer, Answerer, Prompt, Sampling, prompts_of
from hallmark.answer.comparator import Asked, Means, Questions
from hallmark.answer.comparators import COMPARATORS as KINDS
from hallmark.answer.confidence import sure_of
from hallmark.answer.evaluated_models import WEIGHTS, own_answerers
from hallmark.answer.fair_order import drawn_fairly, fair_order
from hallmark.answer.params import HfEngine
from hallmark.answer.predictions import Row, prediction, readable
from hallmark.answer.scoring import Score, Scorer
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import CALIBRATION, HOLDOUT, ONLINE, write_json
from hallmark.base.machine import stamp
from hallmark.base.measured import measured
from hallmark.base.records import read_records
from hallmark.judge import schema_effect
from hallmark.judge.metrics import metrics
from hallmark.model.chat_template import tool_form
from hallmark.model.lengths import answer_lengths, context_of
from hallmark.model.tool_form import ToolForm
from hallmark.params.loader import Params, load_params
from hallmark.task.predictions import COMPARATORS, Prediction, metrics_of, predictions_of, write_predictions
from hallmark.task.task import Task

log = logging.getLogger("eval")

APART = {"calibration": CALIBRATION, "online": ONLINE}  # parts next to the holdout that the tuned model answers
Answers = list[tuple[Answer, Score]]


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
    tuned, source = model == "tuned" or model in APART, APART.get(model, HOLDOUT)
    weights = weights_of(params, "tuned" if tuned else model)
    set_up(params.compute, params.seed)
    if isinstance(settings.engine, HfEngine):  # a server may convert weights to what its GPU can do
        check_dtype(params.compute, settings.dtype, "eval.dtype")
    tokenizer = load_tokenizer(weights)
    form = tool_form(params.task, tokenizer)
    scorer = Scorer(task, settings.policy, form, settings.facts)
    holdout = read_records(source).rows(named=True)
    if not holdout:
        raise HallmarkError("holds no record", file=source, remedy="raise split.holdout")
    ids, groups = [row["id"] for row in holdout], [row["group"] for row in holdout]
    drawn = drawn_fairly(ids, groups, settings.sample.get(model, len(holdout)), params.seed)
    records, prompts = [holdout[row] for row in drawn], prompts_of(holdout)
    asked = asked_of(
        params,
        model,
        Questions(
            task=task,
            records=records,
            prompts=[prompts[row] for row in drawn],
            tokenizer=tokenizer,
            form=form,
            room=None if (context := context_of(weights)) is None else context - settings.max_new_tokens,
            seed=params.seed,
        ),
    )
    prompts = asked.prompts
    repeats = deterministic("eval.attention", "set eval.attention to eager, which is deterministic everywhere")
    with repeats, ExitStack() as stack:
        measure |= {"measured": stamp(fingerprint(params.compute)), "server": settings.engine.kind}
        start = time.perf_counter()
        make = answerers(params, "tuned" if tuned else model, task, form, stack, source)

        def answer(
            rows: list[int], batch_size: int, what: str, *, within_schema: bool = False
        ) -> tuple[Answers, float, float]:
            answerer, began = make(batch_size, within_schema), time.perf_counter()
            answers = answerer.answer([prompts[row] for row in rows], f"records answered by {model}{what}")
            scores = [
                scorer.score(**readable(records[row]), prediction=answer.text)
                for row, answer in zip(rows, answers, strict=True)
            ]
            seconds = time.perf_counter() - began
            return list(zip(answers, scores, strict=True)), round(seconds, 2), round(answerer.seconds, 2)

        beyond = out_of_reach(records, settings.max_new_tokens, form, weights)
        measure["load_seconds"] = round(time.perf_counter() - start, 2)
        answers, seconds, pure = answer(list(range(len(records))), settings.batch_size, "")
        check_read(model, [answer for answer, _ in answers], params)
        unreachable = sum(far or answer is UNREAD for far, (answer, _) in zip(beyond, answers, strict=True))
        tokens = sum(answer.tokens for answer, _ in answers)
        measure |= {"answer_seconds": seconds, "generate_seconds": pure, "tokens": tokens}
        measure["tokens_per_second"] = round(tokens / max(seconds, 0.01), 1)  # answers that are looked up take no time
        repeated = evenly(len(records), settings.again if model == "base" else 0)
        second = answer(repeated, len(repeated), " a second time")[0] if repeated else []
        # The same records for base and tuned, however many each answers.
        few = min(settings.constrained if model in WEIGHTS else 0, len(records))
        sample = [drawn.index(row) for row in sorted(fair_order(ids, groups, params.seed)[:few])]
        if sample:  # freely once more in the same batches, so that only the constraint differs
            batch_size = min(settings.batch_size, len(sample))
            free, _, free_seconds = answer(sample, batch_size, " freely")
            constrained, _, seconds_constrained = answer(sample, batch_size, " within the schema", within_schema=True)
            measure["constrained"] = {
                "records": len(sample),
                "seconds": seconds_constrained,
                "free_seconds": free_seconds,
            }
        again_same: dict[int, float] = {}
        if model in ("tuned", "calibration") and settings.agreement.records:
            chosen = sorted(fair_order(ids, groups, params.seed)[: settings.agreement.records])
            texts = {row: answers[row][0].text for row in chosen if answers[row][0] is not UNREAD}
            local: Any = make(settings.batch_size, False)
            again_same, measure["agreement"] = agreements(params, local, [prompts[row] for row in texts], texts, scorer)
        known = []
        if settings.general.tasks and model in WEIGHTS:
            from hallmark.answer.general import general

            local = make(settings.batch_size, False)
            known = general(local.model, local.tokenizer, settings.general, settings.batch_size)
    rows = [
        replace(
            prediction(record, answer.text, score, finish=answer.finish, tokens=answer.tokens),
            examples=examples,
            confidence=sure_of(answer, form, is_json=task.is_json),
            agreement=again_same.get(row),
        )
        for row, (record, (answer, score), examples) in enumerate(zip(records, answers, asked.examples, strict=True))
    ]
    if model in APART:
        write_predictions(predictions_of(model), rows)
        write_json(metrics_of(model), counts(rows))
        return
    scores = [score for _, score in answers]
    result = metrics(model, rows, scores, settings=params.eval, task=task, seed=params.seed) | {
        "out_of_reach": unreachable,
        "held_out": len(holdout),
    }
    if model in settings.comparators:
        comparator = settings.comparators[model]
        result["words"] = KINDS[comparator.kind].words(comparator)
        result["examples"] = round(sum(map(len, asked.examples)) / len(records), 2)
        result |= KINDS[comparator.kind].measures(comparator, [answer for answer, _ in answers])
    if again_same:
        result["agreement"] = round(sum(again_same.values()) / len(again_same), 6)
    if second:
        result["again"] = again([answers[row] for row in repeated], second)
    if known:
        result["general"] = known
    if sample:
        result["constrained"] = schema_effect.counts(free, constrained)
        for row, (second_answer, score) in zip(sample, constrained, strict=True):
            content = {"prediction": second_answer.text, "finish": second_answer.finish, "outcome": score.outcome}
            rows[row] = replace(rows[row], constrained=content)
    write_predictions(predictions_of(model), rows)
    write_json(metrics_of(model), result)
    log.info(
        "%s: %d records, exact match %.1f %%, valid %.1f %%, %d tokens, %.0f a second",
        model,
        len(records),
        100 * result["exact_match"]["value"],
        100 * result["schema_validity"]["value"],
        tokens,
        measure["tokens_per_second"],
    )


def weights_of(params: Params, model: str) -> Path:
    """The folder of the model whose chat template and tokenizer count."""
    comparator = params.eval.comparators.get(model)
    return WEIGHTS[model] if comparator is None else KINDS[comparator.kind].weights(comparator)


def agreements(
    params: Params, model: Any, prompts: list[Prompt], texts: dict[int, str], scorer: Scorer
) -> tuple[dict[int, float], dict[str, Any]]:
    """For each row of `texts`, the greedy answers, the share of its sampled answers that say the same; and what it took."""
    settings, same = params.eval.agreement, dict.fromkeys(texts, 0)
    start = time.perf_counter()
    for number in range(settings.samples):
        sampling = Sampling(params.seed * 1000 + number, settings.temperature)
        what = f"answers sampled to records, {number + 1} of {settings.samples}"
        for row, answer in zip(texts, model.answer(prompts, what, sampling), strict=True):
            same[row] += scorer.same(texts[row], answer.text)
    seconds = round(time.perf_counter() - start, 2)
    return {row: count / settings.samples for row, count in same.items()}, {"records": len(texts), "seconds": seconds}


def counts(rows: list[Prediction]) -> dict[str, Any]:
    """The measures of a part of `APART`: how much there is to learn from, and how much of it is right."""
    sampled = [row.agreement for row in rows if row.agreement is not None]
    return {
        "model": "tuned",
        "records": len(rows),
        "groups": len({row.group for row in rows}),
        "exact_match": sum(row.exact_match for row in rows),
        "with_confidence": sum(row.confidence is not None for row in rows),
        "with_agreement": len(sampled),
    }


def asked_of(params: Params, model: str, questions: Questions) -> Asked:
    """What a model is asked: of base and tuned the records' own prompts, of a comparator what its kind makes of them."""
    settings = params.eval.comparators.get(model)
    if settings is None:
        return Asked(list(questions.prompts), [[] for _ in questions.prompts])
    return KINDS[settings.kind].asked(settings, questions)


def answerers(
    params: Params, model: str, task: Task, form: ToolForm | None, stack: ExitStack, source: Path = HOLDOUT
) -> Callable[[int, bool], Answerer]:
    """What makes the answerer for a batch size, constrained by the schema or not; see `own_answerers`.

    A comparator is the base, unless its kind says otherwise.
    """
    if comparator := params.eval.comparators.get(model):
        kind, base = KINDS[comparator.kind], cache(lambda: answerers(params, "base", task, form, stack))
        means = partial(Means, model, params.eval, params.compute, task, form, params.seed)
        return lambda size, constrained: kind.answerer(comparator, lambda: base()(size, constrained), means(size))
    return own_answerers(params, model, task, form, stack, source)


def check_read(model: str, answers: list[Answer], params: Params) -> None:
    """Stop at prompts that were not asked, unless they are to count as wrong; a comparator may read less than the base."""
    unread = sum(answer is UNREAD for answer in answers)
    if unread and params.split.too_long == "error":
        raise HallmarkError(
            f"{unread} of {len(answers)} prompts leave no room for an answer in what {model} reads",
            param="eval.max_new_tokens",
            remedy="lower it; set split.too_long to count, and they count as wrong; or take a model that reads more",
        )


def out_of_reach(records: list[Row], limit: int, form: ToolForm | None, weights: Path) -> list[bool]:
    """Which records have a target that is longer than may be generated: they can't pass."""
    from hallmark.model.loading import load_tokenizer

    lengths = answer_lengths(records, load_tokenizer(weights), form)
    log.info("the longest target has %d tokens; eval.max_new_tokens is %d", max(lengths), limit)
    too_long = [length > limit for length in lengths]
    if any(too_long):
        log.warning("%d records have targets with more tokens than may be generated: they can't pass", sum(too_long))
    return too_long


def evenly(n: int, wanted: int) -> list[int]:
    """`wanted` of `n` rows (all, if there are fewer), evenly spread."""
    wanted = min(n, wanted)
    return [number * n // wanted for number in range(wanted)]


def again(first: Answers, second: Answers) -> dict[str, int]:
    """What changed when the same records were answered in other batches; `lost` and `won` count exact matches."""
    pairs = list(zip(first, second, strict=True))
    return {
        "records": len(pairs),
        "texts_changed": sum(before.text != after.text for (before, _), (after, _) in pairs),
        "outcomes_changed": sum(before.outcome != after.outcome for (_, before), (_, after) in pairs),
        "lost": sum(before.exact_match and not after.exact_match for (_, before), (_, after) in pairs),
        "won": sum(after.exact_match and not before.exact_match for (_, before), (_, after) in pairs),
    }


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
