"""Turn feedback on answers into records, and the rest into a queue for review: `python -m hallmark.service.commands.collect`.

It reads the gateway's traces and feedback in `data/traces`. Masked records go to `data/raw/live`, where `mask` reads them after
those of the recipe; answers that nobody has judged go to `data/review/queue.html`, and `--reviewed FILE` takes the file that
this page saves. docs/service-loop.md says how.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from hallmark.base.errors import printable, run_stage
from hallmark.base.files import REPORTS, TRAIN, json_bytes, write_all
from hallmark.base.key import read_key
from hallmark.base.reading import read_object
from hallmark.base.records import scan_records, whole_parquet
from hallmark.base.single_run import alone
from hallmark.corpus.texts import text_of
from hallmark.judge.drift import drift
from hallmark.mask.record import RecordMasker
from hallmark.mask.rows import LIVE
from hallmark.mask.surrogates import uses_key
from hallmark.params.loader import Params, load_params
from hallmark.service.collecting.collection import Collection, collect
from hallmark.service.collecting.existing_records import Known, read_known
from hallmark.service.collecting.live import Maker, write_live
from hallmark.service.collecting.logged import REASONS, read_logged
from hallmark.service.collecting.queue import FOLDER, REVIEWED, lines_of, queue, read_reviewed
from hallmark.service.commands.review import PAGE, page
from hallmark.service.monitoring.requests import of_holdout, of_traces
from hallmark.service.traces.store import read_traces
from hallmark.service.traces.trace import TRACES
from hallmark.task.predictions import predictions_of, read_predictions
from hallmark.task.task import Task

REPORT = REPORTS / "collect.json"
OF_A_RUN = ("added", "collected_before", "online", "pairs", "reviewed")  # what it says of one run, not of the traces


def run(params: Params, reviewed: Path | None, since: datetime | None, dry: bool) -> None:
    """Collect the traces, and write what came of it: the records last, so that a run that was killed before has added none."""
    data, task = params.data, Task(params.task)
    said = read_reviewed(REVIEWED, task, params.mask.max_chars) if REVIEWED.exists() else {}
    new = read_reviewed(reviewed, task, params.mask.max_chars) if reviewed is not None else {}
    said |= new
    key = read_key(data, surrogates=uses_key(params.mask))
    left: Counter[str] = Counter()
    logs, known = read_logged(TRACES, since, left), read_known()
    done = collect(
        logs, left, said, new.keys(), Maker(RecordMasker(params.task, params.mask, key), data, known), known, params
    )
    opened = queue(done.waiting, trained(known, [one.text for one in done.records]), params.dedupe)
    shown = opened[: params.collect.review.most]
    report = done.report() | {"queue": len(shown), "drift": drift_of(TRACES, since, params)}
    added = None
    if not dry:
        outputs: dict[Path, bytes | memoryview] = {REVIEWED: lines_of(said)} if said else {}
        outputs |= {PAGE: page(shown, task).encode(), REPORT: json_bytes(report)}
        if not done.records:
            outputs[REPORT] = json_bytes(last_word(report))
        write_all({path: text for path, text in outputs.items() if not path.exists() or path.read_bytes() != text})
        added = write_live([one.record for one in done.records])
    for line in summary(done, report, added or LIVE, params):
        print(printable(line))


def last_word(report: dict[str, Any]) -> dict[str, Any]:
    """The report of a run that added no records: that of the run before, unless there was more to read since then."""
    before = read_object(REPORT, "remove it") if REPORT.exists() else {}
    own = {name: before[name] for name in OF_A_RUN if name in before}
    return before if report | own == before else report


def trained(known: Known, new: list[str]) -> list[str]:
    """The requests that training has, or if there is no split yet, those of all records, `new` ones too."""
    if not TRAIN.exists():
        return [*known.texts, *new]
    with whole_parquet(TRAIN):
        texts: list[str] = scan_records(TRAIN).select(text=text_of("prompt")).collect()["text"].to_list()
    return texts


def drift_of(folder: Path, since: datetime | None, params: Params) -> dict[str, Any] | None:
    """Whether the requests are still those of the holdout; None as long as no holdout was answered."""
    if not predictions_of("tuned").exists():
        return None
    task = Task(params.task)
    traces = [trace for trace in read_traces(folder, since).iter_rows(named=True) if trace["masked"]]
    holdout = of_holdout(read_predictions("tuned"), task)
    return asdict(drift(holdout, of_traces(traces, task), params.seed))


def summary(done: Collection, report: dict[str, Any], target: Path, params: Params) -> Iterator[str]:
    """What is said in the terminal."""
    days = report["days"]
    span = f" from {days['first']} to {days['last']}" if days else ""
    verdicts = ", ".join(f"{count} {word}" for word, count in report["verdict"].items() if count and word != "none")
    yield f"read {len(done.read)} traces{span}: {verdicts or 'none judged'}"
    if done.before:
        yield f"collected before: {done.before}"
    yield f"added {report['added']} records to {target}" if report["added"] else "added no records"
    if report["online"]:
        yield f"  {report['online']} of held-out customers: `split` puts them into the part `online`, never into training"
    if report["pairs"]:
        yield f"  {report['pairs']} with the model's own wrong answer as `rejected`"
        if not params.dpo.enabled:
            yield "  to learn from these pairs: set dpo.enabled to true"
    for reason, count in report["left_out"].items():
        if count:
            yield f"left out {count} {REASONS[reason]}"
    if report["left_out"]["no_customer"]:
        yield f"  callers name the customer in the header `{params.serve.routing.group_header}`"
    if unknown := done.reviewed["unknown"]:
        yield f"{unknown} reviewed answers belong to traces that are not there"
    if report["waiting"]:
        yield f"{report['waiting']} need a person, {report['queue']} of them in {PAGE} (one of each kind, most useful first)"
    if report["drift"]:
        yield report["drift"]["words"]
    if report["added"]:
        yield "next: `dvc repro`"


def main(arguments: argparse.Namespace) -> None:
    remedy = "wait until it has ended: two would add the same rows twice"
    with alone(FOLDER, "another collection runs", remedy):
        since = datetime.combine(arguments.since, datetime.min.time(), UTC) if arguments.since else None
        run(load_params(arguments.params), arguments.reviewed, since, arguments.dry)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.service.commands.collect", description=__doc__)
    parser.add_argument("--reviewed", type=Path, metavar="FILE", help="what a person said on the review page")
    parser.add_argument("--since", type=date.fromisoformat, metavar="DAY", help="leave out days before 2026-01-31, say")
    parser.add_argument("--dry", action="store_true", help="only say what would be added; write nothing")
    run_stage("collect", __doc__, main, parser)
