"""Traces and feedback: written while a disk is full, a process is killed or a file half done, and read once each."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hallmark.service.traces import store  # noqa: F401 (in code that runs in a process)
from hallmark.service.traces.store import FeedbackJournal, TraceWriter, line_of, read_feedback, read_traces
from hallmark.service.traces.trace import Feedback, Trace, new_id
from tests.rows import refused
from tests.stub_model import wait_for

ROOT = Path(__file__).resolve().parent.parent
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def a_trace(number: int = 0, time: datetime = NOON, **values) -> Trace:
    given = {
        "id": new_id(time), "request": new_id(time), "time": time, "group": f"C-{number}", "caller": "desk", "route": "prod",
        "version": "v1.0.0", "digest": "0" * 64, "outcome": "answered", "reason": "sure",
        "messages": f'[{{"role":"user","content":"ticket {number}"}}]', "tools": None, "answer": '{"intent":"refund"}',
        "fallback": None, "finish": "stop", "schema_valid": True, "score": 1.5, "probability": 0.9, "prompt_tokens": 40,
        "answer_tokens": 8, "masking_s": 0.01, "model_s": 0.2, "fallback_s": None, "total_s": 0.25, "price": 0.0001,
        "masked": True,
    }  # fmt: skip
    return Trace(**given | values)


def in_a_process(code: str, *arguments: str) -> subprocess.Popen[str]:
    lines = f"import sys, time\nfrom tests.test_traces import *\nfolder = Path(sys.argv[1])\n{textwrap.dedent(code)}"
    return subprocess.Popen([sys.executable, "-c", lines, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def written(folder: Path, *traces: Trace, **options) -> TraceWriter:
    writer = TraceWriter(folder, **options)
    for trace in traces:
        writer.put(trace)
    writer.close()
    return writer


LIMIT = """
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    def disk(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
"""


def test_what_is_put_is_read_as_it_was_by_day_and_once(tmp_path):
    folder = tmp_path / "traces"
    traces = [a_trace(n, NOON + timedelta(hours=6 * n)) for n in range(4)]
    writer = TraceWriter(folder)
    for trace in traces:
        writer.put(trace)
    wait_for(lambda: writer.counts["written"] == 4)
    assert read_traces(folder).height == 4  # before it is closed, too
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.glob("*/*"))} == {0}
    writer.close()
    assert sorted(path.name for path in folder.iterdir()) == ["2026-03-04", "2026-03-05"]
    assert [Trace(**row) for row in read_traces(folder).rows(named=True)] == traces
    assert read_traces(folder, since=NOON + timedelta(hours=6), until=NOON + timedelta(hours=18)).height == 2
    assert read_traces(tmp_path / "none").height == 0


@settings(max_examples=25)
@given(text=st.text(st.characters(codec=None), max_size=40), score=st.floats())
def test_any_text_and_number_comes_back(tmp_path_factory, text, score):
    folder = tmp_path_factory.mktemp("traces")
    written(folder, a_trace(1, answer=text, score=score, group=None))
    (row,) = read_traces(folder).rows(named=True)
    number = score if math.isfinite(score) else None
    assert (row["answer"], row["score"], row["group"]) == (text.encode("utf-8", "replace").decode(), number, None)


def test_a_kill_at_any_moment_loses_no_line_that_was_written_and_half_a_line_is_left_out(tmp_path):
    code = """
    writer = TraceWriter(folder)
    for number in range(100_000):
        writer.put(a_trace(number))
        print(writer.counts["written"], flush=True)
        time.sleep(0.0005)
    """
    process = in_a_process(code, str(tmp_path))
    count = 0
    while count < 50:
        count = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = read_traces(tmp_path)
    assert before.height >= count
    (file,) = tmp_path.glob("*/*.jsonl")
    with file.open("ab") as half:
        half.write(line_of(a_trace(1))[:70])
    written(tmp_path, a_trace(1))
    assert read_traces(tmp_path).height == before.height + 1


def test_a_full_disk_fails_nothing_and_what_is_lost_is_counted(tmp_path):
    code = f"""{LIMIT}
    store.MOST_WAITING, store.PAUSE = 30, 0.05
    disk(5_000)
    writer = TraceWriter(folder)
    for number in range(100):
        writer.put(a_trace(number))
        time.sleep(0.002)
    lost = writer.counts["lost"]
    disk(resource.RLIM_INFINITY)
    writer.close()
    print(lost, writer.counts["written"], writer.counts["lost"], writer.counts["errors"] > 0)
    """
    lost, count, lost_in_all, errors = in_a_process(code, str(tmp_path)).communicate(timeout=120)[0].split()
    assert int(lost) > 30
    assert (int(lost_in_all), errors) == (int(lost), "True")
    assert int(count) == 100 - int(lost) == read_traces(tmp_path).height


@pytest.mark.parametrize("content", [b'{"id": "private words"}\n', b"private words\n"])
def test_a_damaged_file_is_named_and_not_quoted(tmp_path, content):
    file = tmp_path / "2026-03-04/a.jsonl"
    file.parent.mkdir()
    file.write_bytes(line_of(a_trace(1)) + content)
    with refused(file=file) as caught:
        read_traces(tmp_path)
    assert "private words" not in str(caught.value)


def feedback(trace: str, verdict: str = "accepted", minutes: int = 0, caller: str = "desk") -> Feedback:
    target = '{"intent":"refuse"}' if verdict == "corrected" else None
    return Feedback(trace=trace, time=NOON + timedelta(minutes=minutes), caller=caller, verdict=verdict, target=target)


def test_the_last_word_of_each_caller_counts(tmp_path):
    tmp_path = tmp_path / "traces"
    one, two = FeedbackJournal(tmp_path), FeedbackJournal(tmp_path)
    one.accept(feedback("tr-a", "corrected", 5))
    two.accept(feedback("tr-a", "accepted", 3))
    two.accept(feedback("tr-a", "rejected", 1, caller="other"))
    assert [(it.caller, it.verdict) for it in read_feedback(tmp_path)] == [("other", "rejected"), ("desk", "corrected")]
    assert {path.stat().st_mode & 0o077 for path in (tmp_path, *(tmp_path / "feedback").iterdir())} == {0}
    assert read_feedback(tmp_path / "none") == []


def test_accepted_feedback_is_there_after_a_full_disk_and_a_kill(tmp_path):
    code = f"""{LIMIT}
    journal = FeedbackJournal(folder)
    journal.accept(feedback("tr-a"))
    disk(200)
    try:
        journal.accept(feedback("tr-lost", "corrected"))
    except OSError:
        disk(resource.RLIM_INFINITY)
    for number in range(100_000):
        journal.accept(feedback(f"tr-{{number}}"))
        print(number, flush=True)
    """
    process = in_a_process(code, str(tmp_path))
    for _ in range(20):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    (file,) = (tmp_path / "feedback").iterdir()
    with file.open("ab") as half:
        half.write(line_of(feedback("tr-x"))[:30])
    kept = {one.trace for one in read_feedback(tmp_path)}
    assert {"tr-a", *(f"tr-{number}" for number in range(20))} <= kept
    assert kept.isdisjoint({"tr-x", "tr-lost"})
