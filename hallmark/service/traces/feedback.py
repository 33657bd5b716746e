"""What callers say of answers, kept in lines that are on the disk before the caller hears that they were accepted."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

from hallmark.service.traces.lines import DayFiles, line_of, read_lines
from hallmark.service.traces.trace import TRACES, Feedback

FEEDBACK = "feedback"  # the folder, in that of the traces


class FeedbackJournal:
    """Appends feedback to a file that this process alone writes, a new one each day (UTC)."""

    def __init__(self, folder: Path = TRACES) -> None:
        self._files, self._lock = DayFiles(folder, FEEDBACK + "/{day}-{name}.jsonl"), threading.Lock()

    def accept(self, feedback: Feedback) -> None:
        """Keep it. Returns when it is on the disk, or raises OSError; then nothing of it is kept."""
        with self._lock:
            self._files.append(f"{datetime.now(UTC):%Y-%m-%d}", line_of(feedback), sync=True)

    def close(self) -> None:
        with self._lock:
            self._files.close()


def read_feedback(folder: Path = TRACES) -> list[Feedback]:
    """The last word of each caller on each trace, by time. Raises HallmarkError if a file is damaged."""
    last = {(one.trace, one.caller): one for one in every_word(folder)}
    return sorted(last.values(), key=lambda one: (one.time, one.trace, one.caller))


def every_word(folder: Path = TRACES) -> list[Feedback]:
    """All that was ever said, by time: what the last word was at any moment. Raises HallmarkError if a file is damaged."""
    every = [
        Feedback(**row)
        for path in sorted((folder / FEEDBACK).glob("*.jsonl"))
        for row in read_lines(path, Feedback).rows(named=True)
    ]
    return sorted(every, key=lambda one: one.time)
