"""Evaluate a model on the holdout, every prediction kept: `python -m stages.eval --model base` (or `tuned`).

lm-evaluation-harness runs the repo's own task (see `stages/common/harness.py`); `stages/common/scoring.py` says what
counts as right and names each failure. Intervals are from a bootstrap that draws customers (`stages/common/stats.py`).
"""

from __future__ import annotations

import argparse
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

from stages.common.errors import HallmarkError, run_stage
from stages.common.files import ADAPTER, BASE, HOLDOUT, REPORTS, write_json
from stages.common.measured import measured
from stages.common.params import FailureClass, Params, load_params
from stages.common.predictions import Row, prediction, readable, write_rows
from stages.common.records import read_records
from stages.common.scoring import Score, Scorer, field_counts
from stages.common.stats import ClusterBootstrap, f1, macro_f1, precision, recall
from stages.common.task import Task

log = logging.getLogger("eval")

MODELS = ("base", "tuned")
LENGTHS = (200, 500, 1000, 2000, 5000)  # upper bounds of the bands of input length, in characters
LARGEST = 50  # so many customers, and tags, are listed one by one


def run(params: Params, model: str) -> None:
    """Generate, score, and write reports/eval/<model>/predictions.jsonl and metrics.json."""
    from stages.common.compute import set_up

    settings = params.eval
    set_up(params.compute, params.seed)
    scorer = Scorer(Task(params.task), settings.policy)
    records = read_records(HOLDOUT).rows(named=True)
    if not records:
        raise HallmarkError("holds no record", file=HOLDOUT, remedy="raise split.holdout")
    with measured(f"eval_{model}") as measure:
        start = time.perf_counter()
        loaded, tokenizer = load(params, model)
        from stages.common.harness import evaluate

        def answer(chosen: list[Row], batch_size: int) -> list[tuple[Any, Score]]:
            return evaluate(
                loaded,
                tokenizer,
                chosen,
                lambda record, text: scorer.score(**readable(record), prediction=text),
                batch_size=batch_size,
                max_new_tokens=settings.max_new_tokens,
                source=HOLDOUT,
            )

        log.info("%s: %d records in batches of %d", model, len(records), settings.batch_size)
        lengths = [len(tokenizer(readable(record)["target"]).input_ids) for record in records]
        out_of_reach = sum(length >= settings.max_new_tokens for length in lengths)
        if out_of_reach:
            log.warning(
                "%d records are due answers of more tokens than eval.max_new_tokens (the longest has %d): they can't pass",
                out_of_reach,
                max(lengths),
            )
        ready = time.perf_counter()
        answers = answer(records, settings.batch_size)
        seconds = time.perf_counter() - ready
        tokens = sum(answer.tokens for answer, _ in answers)
        measure["load_seconds"], measure["generate_seconds"] = round(ready - start, 2), round(seconds, 2)
        measure["tokens"], measure["tokens_per_second"] = tokens, round(tokens / seconds, 1)
        places = evenly(len(records), settings.again if model == "base" else 0)
        second = answer([records[place] for place in places], len(places)) if places else []
    rows = [
        prediction(record, answer, score, finish=answer.finish, tokens=answer.tokens)
        for record, (answer, score) in zip(records, answers, strict=True)
    ]
    scores = [score for _, score in answers]
    folder = REPORTS / "eval" / model
    write_rows(folder / "predictions.jsonl", rows)
    result = metrics(model, rows, scores, params) | {"out_of_reach": out_of_reach}
    if second:
        result["again"] = again([answers[place] for place in places], second)
    write_json(folder / "metrics.json", result)
    log.info(
        "%s: exact match %.1f %%, valid %.1f %%, %d tokens, %.0f a second",
        model,
        100 * result["exact_match"]["value"],
        100 * result["schema_validity"]["value"],
        tokens,
        tokens / seconds,
    )


def load(params: Params, model: str) -> tuple[Any, Any]:
    """The model and its tokenizer. The base is loaded without a look at the adapter."""
    from stages.common.model import load_base, load_tokenizer, load_tuned

    settings = params.eval
    options: dict[str, Any] = {
        "dtype": settings.dtype,
        "attention": settings.attention,
        "device": params.compute.device,
    }
    tokenizer = load_tokenizer(BASE)
    if model == "tuned":
        return load_tuned(BASE, ADAPTER, **options, merge=settings.merge), tokenizer
    return load_base(BASE, **options), tokenizer


def evenly(n: int, wanted: int) -> list[int]:
    """`wanted` of `n` places (all, where there are fewer), evenly spread."""
    wanted = min(n, wanted)
    return [place * n // wanted for place in range(wanted)]


def again(first: list[tuple[Any, Score]], second: list[tuple[Any, Score]]) -> dict[str, int]:
    """How far the same records, answered in other batches, came out otherwise: exact match `lost` and `won`."""
    pairs = list(zip(first, second, strict=True))
    return {
        "records": len(pairs),
        "texts_changed": sum(one != two for (one, _), (two, _) in pairs),
        "outcomes_changed": sum(one.outcome != two.outcome for (_, one), (_, two) in pairs),
        "lost": sum(one.exact_match and not two.exact_match for (_, one), (_, two) in pairs),
        "won": sum(two.exact_match and not one.exact_match for (_, one), (_, two) in pairs),
    }


def metrics(model: str, rows: list[Row], scores: list[Score], params: Params) -> dict[str, Any]:
    """The ladder with intervals, failures, refusals and slices, as metrics.json has them."""
    bootstrap = ClusterBootstrap(
        [row["group"] for row in rows], confidence=params.eval.confidence, draws=params.eval.draws, seed=params.seed
    )

    def rate(of: Callable[[Score], Any]) -> dict[str, float]:
        return bootstrap.rate([bool(of(score)) for score in scores]).rounded()

    found: dict[str, Any] = {
        "model": model,
        "records": bootstrap.records,
        "groups": bootstrap.clusters,
        "parses": rate(lambda score: score.parses),
        "schema_validity": rate(lambda score: score.schema_valid),
        "exact_match": rate(lambda score: score.exact_match),
        "failures": {name: sum(score.outcome == name for score in scores) for name in get_args(FailureClass)},
        "refusals": {
            "should_and_did": sum(score.refusal_due and score.refused for score in scores),
            "should_not_but_did": sum(not score.refusal_due and score.refused for score in scores),
            "should_but_did_not": sum(score.refusal_due and not score.refused for score in scores),
        },
        "cut_off": sum(row["finish"] == "length" for row in rows),
        **slices(rows),
    }
    if any(score.fields for score in scores):
        counts = [field_counts(score.fields) for score in scores]
        for name, of in (("field_precision", precision), ("field_recall", recall), ("field_f1", f1)):
            found[name] = bootstrap.statistic(counts, of).rounded()
        found["by_field"] = by_field(scores)
    if params.task.kind == "classification":
        found["label_accuracy"] = found["exact_match"]
        found["macro_f1"] = bootstrap.statistic(label_counts(scores), macro_f1).rounded()
    elif params.task.kind == "tool_call":
        found["tool_names"] = rate(lambda score: score.tool_names)
        found["tool_calls"] = rate(lambda score: score.tool_calls)
    elif params.task.kind == "text":
        found["token_f1"] = bootstrap.mean([score.token_f1 or 0.0 for score in scores]).rounded()
    return found


def slices(rows: list[Row]) -> dict[str, list[Row]]:
    """Exact match (`value`) of `n` records by customer, tag and input length; of many customers, the largest.

    Lists, not mappings: DVC's metric tables leave lists out, and would have a column for every customer.
    """
    by: dict[str, dict[str, list[bool]]] = {"by_group": {}, "by_tag": {}, "by_length": {}}
    for row in rows:
        band = next((f"up to {top}" for top in LENGTHS if row["length"] <= top), f"over {LENGTHS[-1]}")
        places = [("by_group", row["group"]), ("by_length", band), *(("by_tag", tag) for tag in set(row["tags"]))]
        for kind, name in places:
            by[kind].setdefault(writable(name), []).append(row["exact_match"])
    return {
        kind: [
            {"name": name, "n": len(passed), "value": round(sum(passed) / len(passed), 6)}
            for name, passed in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))[:LARGEST]
        ]
        for kind, found in by.items()
    }


def by_field(scores: list[Score]) -> list[Row]:
    """Precision, recall and F1 of each field of an answer, and how many values of it were due (`n`)."""
    results: dict[str, Counter[str]] = {}
    for score in scores:
        for row in score.fields:
            results.setdefault(writable(row["path"]), Counter())[row["result"]] += 1
    found = []
    for path, counts in sorted(results.items()):
        right, given = counts["match"], counts["match"] + counts["wrong"] + counts["spurious"]
        due = counts["match"] + counts["wrong"] + counts["missing"]
        if due:  # a base model can make up any number of fields
            shares = {
                "precision": right / given if given else 0.0,
                "recall": right / due,
                "f1": 2 * right / (given + due),
            }
            found.append({"name": path, "n": due} | {name: round(share, 6) for name, share in shares.items()})
    return found


def writable(text: str) -> str:
    """The text, with a question mark for each half of a surrogate pair: JSON has those, UTF-8 has not."""
    return text.encode("utf-8", "replace").decode()


def label_counts(scores: list[Score]) -> list[list[int]]:
    """(n, 3 L): true positive, false positive and false negative of each label that was due or said, for `macro_f1`."""
    pairs = [score.labels for score in scores if score.labels]
    names = sorted({label for pair in pairs for label in pair if label is not None})
    return [
        [int(flag) for name in names for flag in (due == said == name, due != said == name, said != due == name)]
        for due, said in pairs
    ]


def main(arguments: argparse.Namespace) -> None:
    """Load the parameters and run."""
    run(load_params(arguments.params), arguments.model)


if __name__ == "__main__":
    own = argparse.ArgumentParser(prog="python -m stages.eval", description=__doc__)
    own.add_argument("--model", choices=MODELS, required=True, help="which model to evaluate")
    run_stage("eval", __doc__, main, own)
