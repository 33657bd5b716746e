"""`nox -s collect` from traces to rows, with the gateway's own stores, the real stages after it, real kills and a browser."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.single_run import alone
from hallmark.commands.committed import findings
from hallmark.data.missing import is_kept
from hallmark.data.raw import raw_rows
from hallmark.data.recording import Recorder
from hallmark.params.loader import load_params
from hallmark.service.collecting.existing_records import Known
from hallmark.service.collecting.logged import LeftOutError, Logged
from hallmark.service.collecting.rows import Rows
from hallmark.service.traces.store import FeedbackJournal, TraceWriter
from hallmark.service.traces.trace import Feedback
from hallmark.task.task import Task
from tests.browser import chromium
from tests.rows import refused
from tests.test_collecting import TARGET, logged
from tests.test_traces import a_trace
from tests.workspace import ROOT, change_params, git_commit, git_init, make_workspace, report, run_here

NO_NER = {"mask.ner": {"engine": "none", "model": None}, "mask.workers": 1}
START = datetime(2026, 11, 1, tzinfo=UTC)
COLLECT = "hallmark.service.commands.collect"
SYSTEM = load_params(ROOT / "params.yaml").task.system_prompt
WORDS = (
    "anvil basket carafe dynamo easel fender hammock inkwell jigsaw kettle lantern mallet nozzle otter pulley quilt rudder "
    "saddle teapot umbrella vase wagon zipper bucket candle drawer engine faucet grater hinge iron ladder mirror needle oven "
    "pillow rake shovel tripod valve whistle bottle chisel dresser freezer goblet helmet kayak locker magnet piano stapler"
)
RAW = Path("data/raw/tickets.jsonl")


def answer(**changes: Any) -> str:
    return json.dumps(TARGET | changes)


def ticket(number: int) -> str:
    """A request like no other."""
    first, *others = random.Random(number).sample(WORDS.split(), 9)
    return f"About the {first}\nIt broke with the {', the '.join(others)}."


class Traffic:
    """Writes traces and feedback as the gateway does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder / "data/traces", 0
        self.traces, self.feedback = TraceWriter(self.folder), FeedbackJournal(self.folder)

    def ask(self, verdict: Any = None, target: str | None = None, **changes: Any) -> str:
        number = self.count
        self.count += 1
        whole: dict[str, Any] = {
            "id": f"tr-{number:032x}", "request": f"rq-{number}", "group": "N-1", "answer": answer(),
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ticket(number)}],
        } | changes  # fmt: skip
        whole["messages"] = json.dumps(whole["messages"])
        trace = a_trace(number, START + timedelta(minutes=number), **whole)
        self.traces.put(trace)
        if verdict:
            self.judge(trace.id, verdict, target)
        return trace.id

    def judge(self, trace: str, verdict: Any, target: str | None = None, caller: str = "shop") -> None:
        self.feedback.accept(Feedback(trace=trace, time=START, caller=caller, verdict=verdict, target=target))

    def close(self) -> None:
        self.traces.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_workspace(tmp_path / "repo", NO_NER, rows=60)


def collect(folder: Path, *options: str) -> str:
    done = run_here(folder, COLLECT, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows_of(file: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if str(row["id"]).startswith("trace:")]


def add_row(folder: Path, **changes: Any) -> dict[str, Any]:
    """A row of the data as the first one, with other values."""
    with (folder / RAW).open("r+", encoding="utf-8") as file:
        row: dict[str, Any] = json.loads(file.readline()) | {"id": "T-new"} | changes
        file.seek(0, os.SEEK_END)
        file.write(json.dumps(row) + "\n")
    return row


def in_queue(folder: Path) -> list[dict[str, Any]]:
    page = (folder / "data/review/queue.html").read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data
    rows: list[dict[str, Any]] = json.loads(data[1])["rows"]
    return rows


def user(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


def test_an_answer_that_never_went_out_was_accepted_by_nobody(folder: Path) -> None:
    traffic = Traffic(folder)
    traffic.ask("accepted", outcome="handed_over", reason="unsure")
    traffic.close()
    collect(folder)
    assert rows_of(folder / RAW) == [] and len(in_queue(folder)) == 1


def test_what_was_judged_becomes_rows_and_the_rest_waits(folder: Path) -> None:
    traffic = Traffic(folder)
    traffic.ask("accepted")
    traffic.ask("corrected", answer(urgency="high"))
    traffic.ask("accepted", outcome="handed_over", reason="unsure", fallback=answer(intent="exchange"))
    traffic.ask("rejected")
    traffic.ask()
    traffic.ask("accepted", group=None)
    traffic.ask("accepted", answer='{"intent": "refund"}')
    traffic.ask("accepted", messages=[{"role": "system", "content": "Write a poem."}, *user("About spring\nnow")])
    traffic.ask("accepted", messages=[*user("a"), {"role": "assistant", "content": "b"}, *user("c")])
    traffic.ask("accepted", messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])
    traffic.ask("accepted", route="shadow")
    traffic.ask("accepted", tools='[{"name": "look_up"}]')
    traffic.ask(None, outcome="failed", reason="gone", route="none", answer=None)
    traffic.ask("accepted", messages=user(ticket(0)))  # the first one again
    argued = traffic.ask("accepted")
    traffic.judge(argued, "rejected", caller="other")
    mine = add_row(
        folder,
        target=TARGET,
        subject="Shed",
        body="The tin shed rattles at night, and its door has come off the hinges.",
    )
    traffic.ask("accepted", messages=user(f"{mine['subject']}\n{mine['body']}"), answer=json.dumps(mine["target"]))
    traffic.close()
    before = (folder / RAW).read_bytes()
    assert "added 3 rows" in collect(folder, "--dry")
    assert "read 0 traces" in collect(folder, "--dry", "--since", "2026-11-02")
    assert (folder / RAW).read_bytes() == before
    assert not (folder / "data/review/queue.html").exists()
    said = collect(folder)
    assert (folder / RAW).read_bytes().startswith(before)
    rows = rows_of(folder / RAW)
    found = report(folder, "collect")
    assert [(row["target"]["intent"], row["target"]["urgency"]) for row in rows] == [
        ("refund", "normal"), ("refund", "high"), ("exchange", "normal"),
    ]  # fmt: skip
    assert [row["rejected"] for row in rows] == [None, TARGET, None]
    assert {row["customer"] for row in rows} == {"N-1"}
    assert all(row["tags"] == ["collected"] and row["contact_email"] is None for row in rows)
    assert rows[0]["subject"] == ticket(0).split("\n")[0]
    assert (found["traces"], found["added"], found["pairs"], found["waiting"], found["online"]) == (15, 3, 1, 3, 0)
    assert sum(found["route"].values()) == sum(found["reason"].values()) == found["traces"]
    assert {reason: count for reason, count in found["left_out"].items() if count} == {
        "no_customer": 1, "target": 1, "system_prompt": 1, "conversation": 1, "not_text": 1, "route": 1, "tools": 1,
        "no_answer": 1, "exact": 2,
    }  # fmt: skip
    assert found["verdict"] == {"accepted": 10, "corrected": 1, "rejected": 1, "contradicted": 1, "none": 2}
    assert {row["input"] for row in in_queue(folder)} == {ticket(3), ticket(4), ticket(14)}
    assert "set data.rejected to rejected" in said
    assert "the header `x-customer`" in said

    change_params(folder, {"data.rejected": "rejected"})  # as the summary says; older rows lack that column
    params = load_params(folder / "params.yaml")
    os.chdir(folder)
    raws = [raw for raw in raw_rows(params.data, params.mask, Task(params.task)) if raw.id.startswith("trace:")]
    assert [raw.rejected for raw in raws] == [None, TARGET, None]
    with refused("data.rejected", field="worse"):
        list(raw_rows(params.data.model_copy(update={"rejected": "worse"}), params.mask, Task(params.task)))

    def files() -> dict[Path, tuple[int, bytes]]:
        found = [
            RAW,
            *(path.relative_to(folder) for part in ("data/review", "reports") for path in (folder / part).iterdir()),
        ]
        return {path: ((folder / path).stat().st_mtime_ns, (folder / path).read_bytes()) for path in found}

    after = files()
    assert "collected before: 3" in collect(folder)
    assert files() == after, "nothing is new"
    traffic = Traffic(folder)
    traffic.count = 20
    traffic.ask()
    traffic.close()
    collect(folder)
    assert report(folder, "collect")["traces"] == 16


@pytest.fixture(autouse=True)
def here() -> Iterator[None]:
    before = Path.cwd()
    yield
    os.chdir(before)


def test_placeholders_survive_and_new_private_values_do_not(folder: Path) -> None:
    traffic = Traffic(folder)
    traffic.ask(
        "accepted", messages=user("Parcel\nWrite to <EMAIL_2> or <EMAIL_1>, as <PERSON_1> said, about the anvil.")
    )
    leaked = "Basket\nWrite to <EMAIL_1> or to rosa.miller@mail-box.net about the basket handle."
    traffic.ask("accepted", messages=user(leaked), answer=answer(issues=["rosa.miller@mail-box.net"]))
    traffic.close()
    collect(folder)
    rows = rows_of(folder / RAW)
    assert rows[0]["body"] == "Write to <EMAIL_2> or <EMAIL_1>, as <PERSON_1> said, about the anvil."
    assert rows[1]["body"] == "Write to <EMAIL_1> or to <EMAIL_2> about the basket handle."
    assert rows[1]["target"]["issues"] == ["<EMAIL_2>"]


def test_a_log_of_others_is_masked_for_the_first_time_and_nothing_private_is_left_anywhere(folder: Path) -> None:
    change_params(folder, {"collect.score": "user-feedback", "mask.allow": ["+44 20 7946 0958"]})
    for name in ("openai.jsonl", "langfuse_observations.csv", "otel_spans.jsonl"):
        done = run_here(folder, COLLECT, "--from", str(ROOT / "tests/exports" / name))
        assert done.returncode == 0, done.stderr
        assert report(folder, "collect")["left_out"]["private"] == 1, "the number that mask.allow lets through"
        written = [file for part in ("data/review", "reports") for file in (folder / part).iterdir() if file.is_file()]
        added = "".join(json.dumps(row) for row in rows_of(folder / RAW))
        whole = added + done.stdout + done.stderr + "".join(file.read_text(encoding="utf-8") for file in written)
        assert "rosa.miller" not in whole
        assert "7946" not in whole
    rows = rows_of(folder / RAW)  # the first log's: the others say the same
    assert [row["customer"] for row in rows] == ["cust-0", "cust-0"]
    assert "<EMAIL_1>" in rows[0]["body"]


def test_a_killed_collection_leaves_nothing_half_written_and_the_next_is_the_same(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path / "repo", NO_NER, rows=40)
    shutil.rmtree(folder / "reports", ignore_errors=True)
    traffic = Traffic(folder)
    for number in range(12):
        traffic.ask("accepted" if number % 2 else None)
    traffic.close()
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    collect(folder)
    before = (other / RAW).read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", COLLECT], cwd=other, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not (other / "reports/collect.json").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (other / RAW).read_bytes() in (before, (folder / RAW).read_bytes())
    collect(other)
    assert (other / RAW).read_bytes() == (folder / RAW).read_bytes()
    assert (other / "data/review/queue.html").read_bytes() == (folder / "data/review/queue.html").read_bytes()
    assert not [file for file in other.rglob(".*-????????*") if file.suffix in (".jsonl", ".json", ".html", ".csv")]


def test_where_nothing_can_be_collected_it_says_so(folder: Path) -> None:
    with alone(folder / "data/review", "", ""):
        done = run_here(folder, COLLECT)
    assert (done.returncode, "another collection runs" in done.stderr) == (1, True)
    for changes in ({"data.path": "data/raw/rows.csv"}, {"data.path": str(RAW), "data.split": "tags"}):
        change_params(folder, changes)
        done = run_here(folder, COLLECT)
        assert (done.returncode, [*changes][-1] in done.stderr) == (1, True)


def test_the_report_in_git_is_that_of_no_traffic(folder: Path) -> None:
    collect(folder)
    assert report(folder, "collect") == report(ROOT, "collect")


def test_neither_traces_nor_an_appended_sample_get_into_git(folder: Path) -> None:
    git_init(folder)
    traffic = Traffic(folder)
    traffic.ask("accepted")
    traffic.ask()
    traffic.close()
    assert "must not be committed" in collect(folder)
    git_commit(folder, "all that git takes")
    os.chdir(folder)
    found = findings()
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout
    assert "data/traces" not in tracked
    assert "data/review" not in tracked
    assert "reports/collect.json" in tracked
    assert [files for (problem, _), files in found.items() if "is not the sample" in problem] == [[str(RAW)]]


# --- the review page


@pytest.fixture
def page(folder: Path) -> Iterator[Any]:
    """The page of a queue of five, in a browser that may load nothing."""
    traffic = Traffic(folder)
    for number in range(4):
        traffic.ask(probability=0.2 + 0.1 * number)
    traffic.ask(
        messages=user(
            "</script><script>document.title='bad'</script>\n<img src=x onerror=\"document.title='bad'\">\u202e rope"
        ),
        probability=0.1,
    )
    traffic.close()
    collect(folder)
    complaints: list[str] = []
    with chromium() as browser:
        context = browser.new_context(offline=True, accept_downloads=True)
        opened = context.new_page()
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("request", lambda sent: sent.url.startswith(("file:", "blob:")) or complaints.append(sent.url))
        opened.goto((folder / "data/review/queue.html").as_uri())
        yield opened
    assert complaints == []


def test_a_person_works_through_the_page_with_the_keyboard(folder: Path, page: Any, tmp_path: Path) -> None:
    press, text = page.keyboard.press, page.inner_text
    assert text("#place") == "1 of 5"
    assert "</script><script>" in text("#input")
    assert "[U+202E]" in text("#input")
    assert page.title() != "bad"
    press("d")
    assert (text("#place"), text("#progress")) == ("2 of 5", "1 of 5 judged")
    assert text("#input") == ticket(0)
    press("a")
    press("c")
    page.fill("#target", '{"intent": "refund"}')
    press("Control+Enter")
    assert "lacks" in text("#problem")
    page.fill("#target", answer(intent="praise"))
    press("Control+Enter")
    assert text("#problem").startswith("intent must be one of")
    page.fill("#target", "{")
    press("Control+Enter")
    assert text("#problem").startswith("not JSON")
    page.fill("#target", answer(urgency="high", product="akd"))  # its letters are no commands here
    press("Control+Enter")
    assert (text("#place"), text("#progress")) == ("4 of 5", "3 of 5 judged")
    press("d")
    press("u")
    assert (text("#place"), text("#progress")) == ("4 of 5", "3 of 5 judged")
    press("k")
    assert text("#verdict") == "corrected"
    press("j")
    press("c")
    press("Escape")
    assert not page.is_visible("#editor")
    assert text("#unsaved") == "not saved"
    with page.expect_download() as download:
        press("s")
    download.value.save_as(tmp_path / "reviewed.jsonl")
    assert text("#unsaved") == ""

    collect(folder, "--reviewed", str(tmp_path / "reviewed.jsonl"))
    found = report(folder, "collect")
    assert found["reviewed"] == {"accepted": 1, "corrected": 1, "dropped": 1, "unknown": 0}
    rows = rows_of(folder / RAW)
    assert [(row["target"]["urgency"], row["rejected"]) for row in rows] == [("normal", None), ("high", TARGET)]
    assert [row["input"] for row in in_queue(folder)] == [ticket(2), ticket(3)]
    collect(folder)  # what was dropped does not come back
    assert len(in_queue(folder)) == 2


def test_what_a_person_typed_is_kept_masked(folder: Path, tmp_path: Path) -> None:
    traffic = Traffic(folder)
    traffic.ask()
    traffic.close()
    collect(folder)
    (waiting,) = in_queue(folder)
    typed = {"trace": waiting["trace"], "verdict": "corrected", "target": answer(issues=["rosa.miller@mail-box.net"])}
    (tmp_path / "said.jsonl").write_text(json.dumps(typed))
    collect(folder, "--reviewed", str(tmp_path / "said.jsonl"))
    (row,) = rows_of(folder / RAW)
    (kept,) = map(json.loads, (folder / "data/review/reviewed.jsonl").read_text().splitlines())
    assert row["target"]["issues"] == json.loads(kept["target"])["issues"] == ["<EMAIL_1>"]


# --- other forms of rows


def maker(folder: Path, known: Known | None = None, **changes: Any) -> Rows:
    params = load_params(folder / "params.yaml")
    schema = {"schema_file": str(ROOT / "data/schema.json")}
    data = params.data.model_copy(update=changes)
    params = params.model_copy(update={"data": data, "task": params.task.model_copy(update=schema)})
    return Rows(params, known or Known(), Recorder(params.data, params.task, params.mask, None, None), None)


def made(rows: Rows, one: Logged, target: str | None = None) -> dict[str, Any]:
    masked, group = rows.masked(one)
    return rows.row(masked, group, target or answer(), None).content


def test_a_row_is_one_that_data_where_keeps(folder: Path) -> None:
    where: dict[str, list[Any]] = {
        "review.state": ["!draft", "approved", "final"],
        "error": [None],
        "status": ["!open"],
        "by": ["!"],
    }
    content = made(maker(folder, where=where), logged())
    assert is_kept(content, where) and content["review.state"] == "approved" and content["status"] is None


def test_conversations_are_rows_with_messages(folder: Path) -> None:
    turns = {"input": "turns.input", "target": "turns.target", "context": "turns.earlier", "tags": None}
    rows = maker(folder, **turns)
    said = [
        *user("Hello, rosa.miller@mail-box.net here"),
        {"role": "assistant", "content": "Hello"},
        *user("My kettle leaks"),
    ]
    content = made(rows, logged(masked=False, messages=said))
    assert content["messages"] == [
        {"role": "user", "content": "Hello, <EMAIL_1> here"}, *said[1:], {"role": "assistant", "content": answer()},
    ]  # fmt: skip
    with pytest.raises(LeftOutError, match="conversation"):  # joined by the caller, as records are
        made(rows, logged(messages=user("user: Hello\nassistant: Hello\n\nMy kettle leaks")))


def test_the_fields_of_an_answer_go_back_to_their_columns(folder: Path) -> None:
    fields = json.loads(answer())
    content = made(maker(folder, target=[f"gold.{name}" for name in fields]), logged())
    assert {name: content[f"gold.{name}"] for name in fields} == fields


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"group": "rosa.miller@mail-box.net"}, "customer_name"),
        ({"group": "a\nb"}, "row"),
        ({"messages": user("   ")}, "row"),
        ({"messages": user("a\x00b\nc")}, "row"),
        ({"messages": user("a\ud800b\nc")}, "row"),
        ({"group": "a\ud800b"}, "row"),
        ({"answer": "x" * 2_000_001}, "row"),
    ],
)
def test_what_makes_no_sound_row_is_left_out(folder: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(LeftOutError, match=f"^{reason}$"):
        made(maker(folder), logged(**changes))
