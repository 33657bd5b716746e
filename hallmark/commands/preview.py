"""Print the first records of `stages/records.py` as masking leaves them: `python -m hallmark.commands.preview --first 20`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import islice

from hallmark.base.errors import run_stage
from hallmark.base.key import read_key
from hallmark.base.printing import show
from hallmark.mask.record import spoken
from hallmark.mask.rows import RowMaker, Values
from hallmark.mask.surrogates import uses_key
from hallmark.mask.two_runs import Runs
from hallmark.params.loader import Params, load_params
from hallmark.records import Record
from hallmark.task.task import Task


def preview(params: Params, first: int) -> None:
    """Print one JSON line a record: what is asked and answered, masked, and each masked span; nothing is written.

    Only what a record itself calls private is known of it, and not what others of its group do.
    """
    key = read_key(params.data, surrogates=True) if uses_key(params.mask) else None
    maker = RowMaker(params.data, params.task, params.mask, None, key)
    maker.masker.load()
    show(_lines(maker, islice(Runs(params, Task(params.task)).records(check=False), first)))


def _lines(maker: RowMaker, records: Iterator[Record]) -> Iterator[str]:
    for record in records:
        known: Values = tuple((kind, value) for kind, values in record.private.items() for value in values)
        work = maker.work(record, known)
        maker.masker.find([work])
        maker.masker.render(work)
        spans = [(span.kind, span.recognizer) for text in work.drafts.texts for span in text.spans]
        line = {
            "source": record.source,
            "prompt": [spoken(message) for message in work.messages if message["role"] != "system"],
            "target": work.answered[0],
            "spans": [{"kind": kind, "recognizer": recognizer} for kind, recognizer in spans],
        }
        yield json.dumps(line, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.preview", description=__doc__)
    parser.add_argument("--first", type=int, default=10, metavar="N", help="how many (default: %(default)s)")
    run_stage("preview", __doc__, lambda given: preview(load_params(given.params), given.first), parser)
