"""Answer a file of requests offline: `python -m hallmark.service.commands.batch FILE`, or `nox -s batch -- FILE`.

Not a stage. The release in prod answers, with masking, cascade and fallback as `serve` in params.yaml says; no HTTP, no
canary. Each line of FILE is {"messages": [...]} or {"input": "...", "context": "..."} (the prompt is then made as in
training), with "id", "group" (the customer) and "tools" if you like. Each line of the output answers the line with the same
number. However a run ended, the next one continues it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.progress import Progress
from hallmark.base.refusal import Refusal
from hallmark.params.loader import Params, load_params
from hallmark.service.commands.answering import gateway_of
from hallmark.service.commands.batch_file import Answers, Line, answers_in, requests_in
from hallmark.service.gateway.app import Gateway
from hallmark.service.gateway.callers import known_as, marked
from hallmark.service.traces.trace import Trace, new_id

SECONDS = 3600.0  # for one answer: nobody waits for it
PAUSES = (1.0, 10.0)  # seconds before a request without an answer is asked a second and a third time
MOST_FAILED = 16  # lines in a row without an answer: then the server is at fault, not the lines
WRITTEN = ("text", "tool_calls", "outcome", "reason", "finish", "score", "probability", "price", "version")
Row = dict[str, Any]  # of the file of answers
log = logging.getLogger("batch")


class Batch:
    """Answers lines by a gateway's steps, `concurrency` at once."""

    def __init__(self, gateway: Gateway, *, concurrency: int) -> None:
        self._gateway, self._concurrency = gateway, concurrency

    async def run(self, lines: Iterator[Line], answers: Answers, tell: Callable[[], None]) -> None:
        """Answer the lines, in their order in the file of answers."""
        slots = asyncio.Semaphore(self._concurrency)
        under_way: deque[asyncio.Task[tuple[Row, bool]]] = deque()
        failed: list[Row] = []  # the last lines, if nobody answered them; not written yet

        async def answer(line: Line) -> tuple[Row, bool]:
            async with slots:
                return await self._answer(line)

        def write(*rows: Row) -> None:
            for row in rows:
                answers.append(row)
                tell()

        async def next_one() -> None:
            row, unanswered = await under_way.popleft()
            if not unanswered:
                write(*failed, row)
                failed.clear()
                return
            failed.append(row)
            if len(failed) >= MOST_FAILED:
                raise HallmarkError(
                    f"the model server gave no answer to lines {failed[0]['line']} to {row['line']}",
                    file=answers.path,
                    remedy="see the lines above; run the same command again, which goes on from there",
                )

        try:
            for line in lines:
                under_way.append(asyncio.create_task(answer(line)))
                if len(under_way) >= 4 * self._concurrency:  # one slow answer holds up no other
                    await next_one()
            while under_way:
                await next_one()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        write(*failed)  # only these: the lines are at fault

    async def _answer(self, line: Line) -> tuple[Row, bool]:
        """The answer to a line, and whether the server is at fault that there is none."""
        gateway, now = self._gateway, datetime.now(UTC)
        head: Row = {"line": line.row, "id": line.id, "request": line.digest}
        asked = Trace(
            id="", request=f"batch-{line.digest[:16]}-{line.row}", time=now, started=time.monotonic(), chat=line.chat
        )
        try:
            asked.group = None if line.group is None else known_as(line.group, gateway.names_key)
            await gateway.mask(asked)
        except Refusal as refusal:
            if refusal.status == 503:  # the maskers are at fault, not the line
                raise HallmarkError(
                    refusal.message, row=line.row, remedy="run the same command again, which goes on from there"
                ) from None
            log.warning("line %d can't be masked: %s", line.row, refusal.message)
            none = {"text": None, "tool_calls": None, "outcome": "failed", "reason": "refused", "version": ""}
            return head | none, False
        for pause in (*PAUSES, None):
            trace = replace(asked, id=marked(new_id(now), ""), deadline=time.monotonic() + SECONDS)
            await gateway.answer(trace)
            unanswered = (trace.outcome, trace.reason) == ("failed", "upstream")
            if pause is None or not unanswered:
                break
            await asyncio.sleep(pause)
        gateway.restore(trace)
        trace.route = "batch"
        gateway.write(trace)
        given = {name: getattr(trace, name) for name in WRITTEN}
        return head | given | {"by_fallback": trace.fallback is not None, "trace": trace.id}, unanswered


def answer_file(params: Params, file: Path, out: Path) -> None:
    prompt, markup = params.task.system_prompt, params.mask.markup
    if file.resolve() == out.resolve():
        raise HallmarkError("the file of the requests", file=out, remedy="name another file with --out")
    with answers_in(out) as answers:
        total = 0
        for line in requests_in(file, prompt, markup):  # all of it, before a model is loaded
            if line.row <= answers.done:
                answers.check(line)
            total = line.row
        if answers.done > total:
            problem = f"has {answers.done} answers, and the file of requests only {total} lines"
            raise HallmarkError(problem, file=out, remedy="name another file with --out")
        if answers.done < total:
            if answers.done:
                log.info("%s: %d of %d lines are answered already", out, answers.done, total)
            first = answers.done
            left = (line for line in requests_in(file, prompt, markup) if line.row > first)
            with suppress(KeyboardInterrupt), Progress("batch", total - first, "lines") as progress:
                asyncio.run(_run(params, left, answers, progress.add))
        with out.open(encoding="utf-8") as file_of_answers:
            counts = Counter(str(json.loads(line)["outcome"]) for line in file_of_answers)
        words = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in sorted(counts.items()))
        print(f"{out}: {answers.done} of {total} lines: {words or 'none'}")
        if answers.done < total:
            raise KeyboardInterrupt


async def _run(params: Params, lines: Iterator[Line], answers: Answers, tell: Callable[[], None]) -> None:
    gateway = gateway_of(params, None, ungated=False, follow=False)
    async with gateway.running():
        await Batch(gateway, concurrency=params.serve.limits.under_way_per_key).run(lines, answers, tell)


def main(arguments: argparse.Namespace) -> None:
    file: Path = arguments.file
    out = arguments.out or file.with_name(f"{file.name.removesuffix('.jsonl')}.answers.jsonl")
    answer_file(load_params(arguments.params), file, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.service.commands.batch", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="the requests, as JSON Lines")
    parser.add_argument("--out", type=Path, help="where the answers go (default: FILE, as .answers.jsonl)")
    run_stage("batch", __doc__, main, parser)
