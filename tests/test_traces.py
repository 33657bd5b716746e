"""Traces and feedback: written while a disk is full, a process is killed or a file half done, and read once each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.service.traces import store
from hallmark.service.traces.feedback import FeedbackJournal, read_feedback
from hallmark.service.traces.lines import line_of, read_lines
from hallmark.service.traces.store import TraceWriter, read_traces
from hallmark.service.traces.trace import Feedback, Trace, new_id

ROOT = Path(__file__).resolve().parent.parent
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def a_trace(number: int = 0, time: datetime = NOON, **values) -> Trace:
    given = {
        "id": new_id(time),
        "request": new_id(time),
        "time": time,
        "group": f"C-{number}",
        "caller": "desk",
        "route": "prod",
        "version": "v1.0.0",
        "digest": "0" * 64,
        "outcome": "answered",
        "reason": "sure",
        "messages": f'[{{"role":"user","content":"ticket {number}"}}]',
        "tools": None,
        "answer": '{"intent":"refund"}',
        "fallback": None,
        "finish": "stop",
        "schema_valid": True,
        "score": 1.5,
        "probability": 0.9,
        "prompt_tokens": 40,
        "answer_tokens": 8,
        "masking_s": 0.01,
        "model_s": 0.2,
        "fallback_s": None,
        "total_s": 0.25,
        "price": 0.0001,
        "masked": True,
    }
    return Trace(**given | values)


def wait_for(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def in_a_process(code: str, *arguments: str) -> subprocess.Popen[str]:
    lines = f"import sys\nfrom tests.test_traces import *\nfolder = Path(sys.argv[1])\n{textwrap.dedent(code)}"
    return subprocess.Popen([sys.executable, "-c", lines, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_what_is_put_is_read_as_it_was_by_day_and_once(tmp_path):
    writer = TraceWriter(tmp_path)
    traces = [a_trace(n, NOON + timedelta(hours=6 * n)) for n in range(4)]
    for trace in traces:
        writer.put(trace)
    wait_for(lambda: writer.counts.written == 4)
    assert read_traces(tmp_path).height == 4  # from the journal
    writer.close()
    assert not list((tmp_path / store.OPEN).iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026-03-04", "2026-03-05", store.OPEN]
    rows = read_traces(tmp_path)
    assert [Trace(**row) for row in rows.rows(named=True)] == traces
    assert read_traces(tmp_path, since=NOON + timedelta(hours=6), until=NOON + timedelta(hours=18)).height == 2
    assert read_traces(tmp_path / "none").height == 0
    assert read_traces(tmp_path / "none").schema == rows.schema


@pytest.mark.parametrize("size", [0, 1, 70])
def test_a_half_line_is_not_read_and_its_writer_is_taken_up(tmp_path, size):
    journal = tmp_path / store.OPEN / "dead.jsonl"
    journal.parent.mkdir()
    journal.write_bytes(line_of(a_trace(1)) + line_of(a_trace(2))[:size])
    assert read_traces(tmp_path).height == 1
    TraceWriter(tmp_path).close()
    assert not journal.exists()
    assert read_traces(tmp_path)["group"].to_list() == ["C-1"]


def test_a_journal_sealed_twice_counts_once(tmp_path):
    journal = tmp_path / store.OPEN / "dead.jsonl"
    journal.parent.mkdir()
    journal.write_bytes(line_of(a_trace(1)) + line_of(a_trace(2)))
    text = journal.read_bytes()
    store.recover(tmp_path)
    journal.write_bytes(text)  # as if the process was killed before it removed the journal
    assert read_traces(tmp_path).height == 2
    store.recover(tmp_path)
    assert read_traces(tmp_path).height == 2
    assert len(list(tmp_path.glob("2026-*/*.parquet"))) == 1


def test_a_journal_in_use_is_left_to_its_writer(tmp_path):
    writer = TraceWriter(tmp_path)
    writer.put(a_trace(1))
    wait_for(lambda: writer.counts.written == 1)
    store.recover(tmp_path)
    assert len(list((tmp_path / store.OPEN).iterdir())) == 1
    writer.put(a_trace(2))
    writer.close()
    assert read_traces(tmp_path).height == 2


@pytest.mark.parametrize("rows", [3, 10_000])
def test_a_kill_at_any_moment_loses_no_line_that_was_written_and_shows_no_half_file(tmp_path, rows):
    code = f"""
    writer = TraceWriter(folder, rows={rows})
    for number in range(100_000):
        writer.put(a_trace(number))
        print(writer.counts.written, flush=True)
        time.sleep(0.0005)
    """
    process = in_a_process(code, str(tmp_path))
    written = 0
    end = time.monotonic() + 1.5
    while written < 50 or time.monotonic() < end:
        written = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    for line in process.stdout.read().splitlines():
        written = int(line) if line.isdigit() else written
    before = read_traces(tmp_path)
    assert before.height >= written > 0
    TraceWriter(tmp_path).close()
    assert read_traces(tmp_path).equals(before)
    assert not list((tmp_path / store.OPEN).iterdir())


def test_a_full_disk_fails_nothing_and_what_is_lost_is_counted(tmp_path):
    code = """
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store.MOST_WAITING, store.PAUSE = 30, 0.05
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, resource.RLIM_INFINITY))
    writer = TraceWriter(folder)
    for number in range(100):
        writer.put(a_trace(number))
        time.sleep(0.002)
    counts = [writer.counts.written, writer.counts.lost]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))  # there is room again
    writer.close()
    print(*counts, writer.counts.written, writer.counts.lost, writer.counts.errors > 0)
    """
    process = in_a_process(code, str(tmp_path))
    written, lost, in_all, lost_in_all, errors = process.communicate(timeout=30)[0].split()
    assert 0 < int(written) < 10
    assert int(lost) > 30
    assert errors == "True"
    assert lost == lost_in_all
    assert int(in_all) == 100 - int(lost) == read_traces(tmp_path).height


def test_a_disk_that_fills_while_parquet_is_written_loses_nothing_and_is_not_asked_all_the_time(tmp_path):
    code = """
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store.PUT_OFF = 0.3
    sealed = []
    real, store.seal = store.seal, lambda *parts: (sealed.append(1), real(*parts))
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, resource.RLIM_INFINITY))  # a journal of four, no Parquet file
    writer = TraceWriter(folder, rows=2)
    writer.put(a_trace(0))
    writer.put(a_trace(1))
    wait_for(lambda: writer.counts.errors)
    writer.put(a_trace(2))
    wait_for(lambda: writer.counts.written == 3)
    tries = len(sealed)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    time.sleep(0.3)
    writer.put(a_trace(3))
    writer.close()
    print(writer.counts.written, writer.counts.lost, tries, *folder.glob("open/*"))
    """
    process = in_a_process(code, str(tmp_path))
    assert process.communicate(timeout=60)[0].split() == ["4", "0", "1"]
    assert read_traces(tmp_path).height == 4


def test_a_trace_that_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "LINE_BYTES", 2_000)
    writer = TraceWriter(tmp_path)
    writer.put(a_trace(messages="x" * 2_000))
    writer.put(a_trace(1))
    writer.close()
    assert (writer.counts.written, writer.counts.lost) == (1, 1)
    assert read_traces(tmp_path)["group"].to_list() == ["C-1"]


def test_a_damaged_journal_keeps_no_other_from_being_taken_up(tmp_path):
    journals = tmp_path / store.OPEN
    journals.mkdir()
    (journals / "a.jsonl").write_bytes(b"no trace\n")
    (journals / "b.jsonl").write_bytes(line_of(a_trace(1)))
    TraceWriter(tmp_path).close()
    assert [path.name for path in journals.iterdir()] == ["a.jsonl"]
    assert len(list(tmp_path.glob("2026-*/*.parquet"))) == 1


def test_a_journal_that_another_takes_for_a_dead_ones_is_not_written_to(tmp_path, monkeypatch):
    real = store.fcntl.flock

    def late(file, how):
        monkeypatch.setattr(store.fcntl, "flock", real)
        store.recover(tmp_path)  # another gateway starts just now
        real(file, how)

    monkeypatch.setattr(store, "PAUSE", 0.01)
    writer = TraceWriter(tmp_path)
    time.sleep(0.05)  # its own look at what the dead left
    monkeypatch.setattr(store.fcntl, "flock", late)
    writer.put(a_trace(1))
    wait_for(lambda: writer.counts.written)
    writer.close()
    assert read_traces(tmp_path).height == 1


def test_a_damaged_file_is_named(tmp_path):
    writer = TraceWriter(tmp_path)
    writer.put(a_trace(1))
    writer.close()
    (file,) = tmp_path.glob("*/*.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HallmarkError, match=f"{file.name}.*not a whole Parquet file"):
        read_traces(tmp_path)
    pl.DataFrame({"id": ["tr-1"]}).write_parquet(file)
    with pytest.raises(HallmarkError, match="other columns"):
        read_traces(tmp_path)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b'{"id": "private words"}\n', "request|group"),
        (line_of(a_trace(1)).replace(b'"prod"', b'"elsewhere"'), "route"),
        (line_of(a_trace(1)).replace(b"0.25", b'"0.25"'), "total_s"),
        (b"private words\n", ""),
    ],
)
def test_a_line_that_is_no_trace_is_named_and_not_quoted(tmp_path, line, field):
    path = tmp_path / "open" / "x.jsonl"
    path.parent.mkdir()
    path.write_bytes(line_of(a_trace(1)) + line)
    with pytest.raises(HallmarkError, match=f"x.jsonl, row 2.*{field}") as caught:
        list(read_lines(path, Trace))
    assert "private words" not in str(caught.value)


def test_a_line_that_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("hallmark.service.traces.lines.LINE_BYTES", 2_000)
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"{" * 3_000)
    with pytest.raises(HallmarkError, match="over 2000 bytes"):
        list(read_lines(path, Trace))


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(codec=None), max_size=40), score=st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_comes_back(tmp_path_factory, text, score):
    folder = tmp_path_factory.mktemp("traces")
    writer = TraceWriter(folder)
    writer.put(a_trace(1, answer=text, score=score, group=None))
    writer.close()
    (row,) = read_traces(folder).rows(named=True)
    assert row["answer"] == text.encode("utf-8", "replace").decode()
    assert (row["score"], row["group"]) == (score, None)


def feedback(trace: str, verdict: str = "accepted", minutes: int = 0, caller: str = "desk") -> Feedback:
    target = '{"intent":"refuse"}' if verdict == "corrected" else None
    return Feedback(trace=trace, time=NOON + timedelta(minutes=minutes), caller=caller, verdict=verdict, target=target)


def test_the_last_word_of_each_caller_counts(tmp_path):
    one, two = FeedbackJournal(tmp_path), FeedbackJournal(tmp_path)
    one.accept(feedback("tr-a", "corrected", 5))
    two.accept(feedback("tr-a", "accepted", 3))
    two.accept(feedback("tr-a", "rejected", 1, caller="other"))
    two.close()
    assert [(it.caller, it.verdict) for it in read_feedback(tmp_path)] == [("other", "rejected"), ("desk", "corrected")]
    assert read_feedback(tmp_path / "none") == []


def test_accepted_feedback_is_there_after_a_kill(tmp_path):
    code = """
    journal = FeedbackJournal(folder)
    for number in range(100_000):
        journal.accept(feedback(f"tr-{number}"))
        print(number, flush=True)
    """
    process = in_a_process(code, str(tmp_path))
    for _ in range(20):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    accepted = [line for line in process.stdout.read().splitlines() if line.isdigit()]
    assert len(read_feedback(tmp_path)) >= 20 + len(accepted[:-1])
    (file,) = (tmp_path / "feedback").iterdir()
    with file.open("ab") as half:
        half.write(line_of(feedback("tr-x"))[:30])
    assert "tr-x" not in {one.trace for one in read_feedback(tmp_path)}


def test_feedback_that_does_not_fit_on_the_disk_is_an_error_and_leaves_no_part(tmp_path):
    code = """
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = FeedbackJournal(folder)
    journal.accept(feedback("tr-a"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
    try:
        journal.accept(feedback("tr-b", "corrected"))
    except OSError as error:
        print(type(error).__name__)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    journal.accept(feedback("tr-c"))
    """
    process = in_a_process(code, str(tmp_path))
    assert process.communicate(timeout=30)[0].strip() == "OSError"
    assert [one.trace for one in read_feedback(tmp_path)] == ["tr-a", "tr-c"]


def test_a_day_whose_file_can_not_be_opened_at_first_is_kept_later(tmp_path, monkeypatch):
    journal = FeedbackJournal(tmp_path)
    journal.accept(feedback("tr-a"))
    journal._day = "2026-03-03"  # midnight has passed
    with monkeypatch.context() as full:
        full.setattr("hallmark.service.traces.feedback.secrets.token_hex", lambda _: "x" * 300)  # too long for a name
        with pytest.raises(OSError):
            journal.accept(feedback("tr-b"))
    other = os.open(tmp_path, os.O_RDONLY)  # gets the number that the journal's file had
    journal.accept(feedback("tr-c"))
    assert os.path.samestat(os.fstat(other), tmp_path.stat())
    os.close(other)
    assert [one.trace for one in read_feedback(tmp_path)] == ["tr-a", "tr-c"]


def test_files_are_for_their_owner_only(tmp_path):
    folder = tmp_path / "traces"
    FeedbackJournal(folder).accept(feedback("tr-a"))
    writer = TraceWriter(folder)
    writer.put(a_trace())
    wait_for(lambda: writer.counts.written == 1)
    files = list(folder.rglob("*.jsonl"))
    assert len(files) == 2
    assert {file.stat().st_mode & 0o077 for file in (*files, folder)} == {0}
    writer.close()


def test_ids_sort_by_time():
    ids = [new_id(NOON + timedelta(seconds=n)) for n in range(3)]
    assert ids == sorted(ids)
    assert len({new_id(NOON) for _ in range(100)}) == 100
