"""Turn feedback on answers into raw records, and the rest into a queue for review: `python -m hallmark.service.commands.collect`.

It reads the gateway's traces and feedback in `data/traces`, or another system's logs with `--from FILE`. Rows are added to
`data.path`; answers that nobody has judged go to `data/review/queue.html`, and `--reviewed FILE` takes the file that this
page saves. docs/service-loop.md says how.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import REPORTS, TRAIN, json_bytes, write_all
from hallmark.base.key import read_key
from hallmark.base.reading import read_object
from hallmark.base.records import scan_records, whole_parquet
from hallmark.base.single_run import alone
from hallmark.data.near import text_of
from hallmark.data.recording import Recorder
from hallmark.judge.drift import drift
from hallmark.mask.surrogates import uses_key
from hallmark.params.loader import Params, load_params
from hallmark.propose.sample import is_sample
from hallmark.service.collecting.collection import Collection, collect
from hallmark.service.collecting.existing_records import NAME, Customers, Known, read_known
from hallmark.service.collecting.logged import REASONS
from hallmark.service.collecting.logs import FORMATS, OWN, read_log
from hallmark.service.collecting.queue import FOLDER, REVIEWED, lines_of, queue, read_reviewed
from hallmark.service.collecting.rows import REJECTED, Rows
from hallmark.service.collecting.writing import add, destination
from hallmark.service.commands.review import PAGE, page
from hallmark.service.monitoring.requests import of_holdout, of_traces
from hallmark.service.traces.store import read_traces
from hallmark.service.traces.trace import TRACES
from hallmark.task.predictions import predictions_of, read_predictions
from hallmark.task.task import Task

log = logging.getLogger("collect")
REPORT = REPORTS / "collect.json"
OF_A_RUN = ("added", "collected_before", "online", "pairs", "reviewed")  # what it says of one run, not of the traces


def run(
    params: Params, source: Path, form: str | None, reviewed: Path | None, since: datetime | None, dry: bool
) -> None:
    """Collect a log, and write what came of it: the rows last, so that a run that was killed before has added none."""
    data, task = params.data, Task(params.task)
    if data.split is not None:
        raise HallmarkError(
            "with an official split, nobody has said which part a collected row belongs to",
            param="data.split",
            remedy="set data.split to null, so that customers are drawn: those in the frozen holdout stay there",
        )
    target = destination(Path(data.path))
    said = read_reviewed(REVIEWED, task, params.mask.max_chars) if REVIEWED.exists() else {}
    new = read_reviewed(reviewed, task, params.mask.max_chars) if reviewed is not None else {}
    said |= new
    key = read_key(data, surrogates=uses_key(params.mask))
    name_key = key if data.pseudonyms == "keyed" else None
    known = read_known(params, name_key)
    left: Counter[str] = Counter()
    form, logs = read_log(source, form, since, params.collect, left)
    rows = Rows(params, known, Recorder(data, params.task, params.mask, None, key), name_key)
    done = collect(logs, left, said, new.keys(), rows, known, params)
    new_texts = [row.text for row in done.rows]
    opened = queue(done.waiting, trained(known, new_texts), params.dedupe)
    shown = opened[: params.collect.review.most]
    report = done.report(form) | {
        "queue": len(shown),
        "drift": drift_of(source, since, params) if form == OWN else None,
    }
    renamed = Customers(known.groups, name_key).renamed()
    if not dry:
        outputs: dict[Path, bytes | memoryview] = {REVIEWED: lines_of(said)} if said else {}
        outputs |= {PAGE: page(shown, task).encode(), REPORT: json_bytes(report)}
        if not done.rows:
            outputs[REPORT] = json_bytes(last_word(report))
        changed = {path: text for path, text in outputs.items() if not path.exists() or path.read_bytes() != text}
        write_all(changed)
        names = (NAME if data.id == "row.id" else data.id, data.group)
        count = add(Path(data.path), [row.content for row in done.rows], renamed, names)
        if count:
            log.info("%d collected rows got their customer's name back: the customer is now in the data", count)
    for line in summary(done, report, target, params, rows.rejected):
        print(printable(line))


def last_word(report: dict[str, Any]) -> dict[str, Any]:
    """The report of a run that added no rows: that of the run before, unless there was more to read since then."""
    before = read_object(REPORT, "remove it") if REPORT.exists() else {}
    own = {name: before[name] for name in OF_A_RUN if name in before}
    return before if report | own == before else report


def trained(known: Known, new: list[str]) -> list[str]:
    """The requests that training has, or if there is no split yet, those of all rows, `new` ones too."""
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


def summary(
    done: Collection, report: dict[str, Any], target: Path, params: Params, rejected: str | None
) -> Iterator[str]:
    days = report["days"]
    span = f" from {days['first']} to {days['last']}" if days else ""
    verdicts = ", ".join(f"{count} {word}" for word, count in report["verdict"].items() if count and word != "none")
    yield f"read {len(done.read)} traces{span} ({report['format']}): {verdicts or 'none judged'}"
    if done.before:
        yield f"collected before: {done.before}"
    yield f"added {report['added']} rows to {target}" if report["added"] else "added no rows"
    if report["online"]:
        yield f"  {report['online']} of held-out customers: `split` puts them into the part `online`, never into training"
    if report["pairs"]:
        yield f"  {report['pairs']} with the model's own wrong answer in the column '{rejected}'"
        if params.data.rejected is None and rejected:
            yield f"  to learn from these pairs: set data.rejected to {REJECTED}, and dpo.enabled to true"
        elif rejected is None:
            yield f"  (not written: '{REJECTED}' is a column of data: already; name another in data.rejected)"
    for reason, count in report["left_out"].items():
        if count:
            yield f"left out {count} {REASONS[reason]}"
    if report["left_out"]["no_customer"]:
        header = params.serve.routing.group_header
        yield f"  callers name the customer in the header `{header}`; in other logs, collect.customer says where the name is"
    if unknown := done.reviewed["unknown"]:
        yield f"{unknown} reviewed answers belong to traces that this log does not have: name the right log with --from"
    if report["waiting"]:
        yield f"{report['waiting']} need a person, {report['queue']} of them in {PAGE} (one of each kind, most useful first)"
    if report["drift"]:
        yield report["drift"]["words"]
    if report["added"]:
        yield "next: `dvc repro`"
        if is_sample(Path(params.data.path)):
            yield f"{target} was sample data that git keeps; with collected rows it must not be committed (`nox -s fresh` refuses it)"


def main(arguments: argparse.Namespace) -> None:
    remedy = "wait until it has ended: two would add the same rows twice"
    with alone(FOLDER, "another collection runs", remedy):
        since = datetime.combine(arguments.since, datetime.min.time(), UTC) if arguments.since else None
        form = OWN if arguments.source is None else arguments.format
        source = arguments.source or TRACES
        run(load_params(arguments.params), source, form, arguments.reviewed, since, arguments.dry)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.service.commands.collect", description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="another system's log, or its folder")
    parser.add_argument("--format", choices=FORMATS, help="the format of the log (default: the first row decides)")
    parser.add_argument("--reviewed", type=Path, metavar="FILE", help="what a person said on the review page")
    parser.add_argument("--since", type=date.fromisoformat, metavar="DAY", help="leave out days before 2026-01-31, say")
    parser.add_argument("--dry", action="store_true", help="only say what would be added; write nothing")
    run_stage("collect", __doc__, main, parser)
