"""What callers say of answers, kept in lines that are on the disk before the caller hears that they were accepted."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

from hallmark.service.traces.lines import LineFile, line_of, read_lines
from hallmark.service.traces.trace import TRACES, Feedback

FEEDBACK = "feedback"  # the folder, in that of the traces


class FeedbackJournal:
    """Appends feedback to a file that this process alone writes, a new one each day (UTC)."""

    def __init__(self, folder: Path = TRACES) -> None:
        self._folder, self._lock = folder / FEEDBACK, threading.Lock()
        self._file: LineFile | None = None
        self._day = ""

    def accept(self, feedback: Feedback) -> None:
        """Keep it. Returns when it is on the disk, or raises OSError; then nothing of it is kept."""
        line = line_of(feedback)
        with self._lock:
            self._of_today().append(line, sync=True)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        done, self._file = self._file, None  # first: if the next one can't be opened, nobody may close this one again
        if done:
            done.close()

    def _of_today(self) -> LineFile:
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        if self._file and day == self._day:
            return self._file
        self._close()
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.mkdir(exist_ok=True)
        self._file, self._day = LineFile(self._folder, day), day
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name of the file too
        finally:
            os.close(folder)
        return self._file


def read_feedback(folder: Path = TRACES) -> list[Feedback]:
    """The last word of each caller on each trace, by time. Raises HallmarkError if a file is damaged."""
    last = {(one.trace, one.caller): one for one in every_word(folder)}
    return sorted(last.values(), key=lambda one: (one.time, one.trace, one.caller))


def every_word(folder: Path = TRACES) -> list[Feedback]:
    """All that was ever said, by time: what the last word was at any moment. Raises HallmarkError if a file is damaged."""
    every = [
        one
        for path in sorted((folder / FEEDBACK).glob("*.jsonl"))
        if path.is_file()
        for one in read_lines(path, Feedback)
    ]
    return sorted(every, key=lambda one: one.time)
