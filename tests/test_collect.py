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
from hallmark.mask.record import RecordMasker
from hallmark.params.loader import load_params
from hallmark.records import Record
from hallmark.service.collecting.existing_records import Known
from hallmark.service.collecting.live import Maker
from hallmark.service.collecting.logged import LeftOutError, Logged
from hallmark.service.traces.store import FeedbackJournal, TraceWriter
from hallmark.service.traces.trace import Feedback
from tests.browser import chromium
from tests.rows import mask_with, shipped
from tests.test_collecting import TARGET, logged
from tests.test_traces import a_trace
from tests.workspace import ROOT, git_commit, git_init, make_workspace, report, run_here, stage

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
LIVE = Path("data/raw/live")


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


def live(folder: Path) -> list[dict[str, Any]]:
    """What was collected."""
    files = sorted((folder / LIVE).glob("*"), key=lambda file: (len(file.name), file.name))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


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
    assert live(folder) == [] and len(in_queue(folder)) == 1


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
    stage(folder, "mask")
    assert "added 4 records" in collect(folder, "--dry")
    assert "read 0 traces" in collect(folder, "--dry", "--since", "2026-11-02")
    assert not (folder / LIVE).exists() and not (folder / "data/review/queue.html").exists()
    said = collect(folder)
    rows = live(folder)
    found = report(folder, "collect")
    assert [(row["target"]["intent"], row["target"]["urgency"]) for row in rows] == [
        ("refund", "normal"), ("refund", "high"), ("exchange", "normal"), ("refund", "normal"),
    ]  # fmt: skip
    assert [row.get("rejected") for row in rows] == [None, TARGET, None, None]
    assert {row["group"] for row in rows} == {"N-1"}
    assert all(row["tags"] == ["collected"] for row in rows)
    assert rows[0]["prompt"] == ticket(0)
    assert rows[3]["prompt"] == [*user("a"), {"role": "assistant", "content": "b"}, *user("c")]
    assert (found["traces"], found["added"], found["pairs"], found["waiting"], found["online"]) == (15, 4, 1, 3, 0)
    assert sum(found["route"].values()) == sum(found["reason"].values()) == found["traces"]
    assert {reason: count for reason, count in found["left_out"].items() if count} == {
        "no_customer": 1, "target": 1, "system_prompt": 1, "not_text": 1, "route": 1, "tools": 1,
        "no_answer": 1, "exact": 2,
    }  # fmt: skip
    assert found["verdict"] == {"accepted": 10, "corrected": 1, "rejected": 1, "contradicted": 1, "none": 2}
    assert {row["input"] for row in in_queue(folder)} == {ticket(3), ticket(4), ticket(14)}
    assert "set dpo.enabled to true" in said
    assert "the header `x-customer`" in said

    def files() -> dict[Path, tuple[int, bytes]]:
        parts = (LIVE, "data/review", "reports")
        found = [path.relative_to(folder) for part in parts for path in (folder / part).iterdir() if path.is_file()]
        return {path: ((folder / path).stat().st_mtime_ns, (folder / path).read_bytes()) for path in found}

    after = files()
    assert "collected before: 4" in collect(folder)
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
    rows = live(folder)
    assert rows[0]["prompt"].endswith("Write to <EMAIL_2> or <EMAIL_1>, as <PERSON_1> said, about the anvil.")
    assert rows[1]["prompt"].endswith("Write to <EMAIL_1> or to <EMAIL_2> about the basket handle.")
    assert rows[1]["target"]["issues"] == ["<EMAIL_2>"]


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
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", COLLECT], cwd=other, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not (other / "reports/collect.json").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert live(other) in ([], live(folder))
    collect(other)
    assert live(other) == live(folder)
    assert (other / "data/review/queue.html").read_bytes() == (folder / "data/review/queue.html").read_bytes()
    assert not [file for file in other.rglob(".*-????????*") if file.suffix in (".jsonl", ".json", ".html", ".csv")]


def test_where_nothing_can_be_collected_it_says_so(folder: Path) -> None:
    with alone(folder / "data/review", "", ""):
        done = run_here(folder, COLLECT)
    assert (done.returncode, "another collection runs" in done.stderr) == (1, True)


def test_the_report_in_git_is_that_of_no_traffic(folder: Path) -> None:
    collect(folder)
    assert report(folder, "collect") == report(ROOT, "collect")


def test_neither_traces_nor_what_was_collected_get_into_git(folder: Path) -> None:
    git_init(folder)
    traffic = Traffic(folder)
    traffic.ask("accepted")
    traffic.ask()
    traffic.close()
    collect(folder)
    git_commit(folder, "all that git takes")
    os.chdir(folder)
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout
    assert "data/traces" not in tracked
    assert "data/review" not in tracked
    assert "reports/collect.json" in tracked
    assert "data/raw/live" not in tracked


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
    rows = live(folder)
    assert [(row["target"]["urgency"], row.get("rejected")) for row in rows] == [("normal", None), ("high", TARGET)]
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
    (row,) = live(folder)
    (kept,) = map(json.loads, (folder / "data/review/reviewed.jsonl").read_text().splitlines())
    assert row["target"]["issues"] == json.loads(kept["target"])["issues"] == ["<EMAIL_1>"]


# --- other forms of requests


def made(one: Logged, target: str | None = None, kind: str = "extraction") -> Record:
    schema = {"schema_file": str(ROOT / "data/schema.json"), "kind": kind}
    task = shipped().task.model_copy(update=schema)
    maker = Maker(RecordMasker(task, mask_with(), None), shipped().data, Known())
    return maker.new(maker.masked(one), target or answer()).record


def test_a_record_has_what_the_request_said_beyond_the_tasks_prompt() -> None:
    said = [{"role": "system", "content": f"{SYSTEM}\n\nAsk ann@acme-tools.io."}, *user("I am bo@acme-tools.io")]
    assert made(logged(messages=said)).prompt == [
        {"role": "system", "content": "Ask <EMAIL_1>."},
        *user("I am <EMAIL_2>"),
    ]


def test_calls_of_earlier_turns_are_those_of_a_record() -> None:
    function = {"name": "mail", "arguments": '{"to": "ann@acme-tools.io"}'}
    said = [
        *user("Mail ann@acme-tools.io"),
        {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "id": "c1", "function": function}]},
        {"role": "tool", "content": "sent", "tool_call_id": "c1"},
    ]
    prompt = made(logged(messages=said)).prompt
    assert prompt[1] == {"role": "assistant", "content": None,
                         "tool_calls": [{"name": "mail", "arguments": {"to": "<EMAIL_1>"}}]}  # fmt: skip
    assert prompt[2] == {"role": "tool", "content": "sent", "tool_call_id": "c1"}


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
def test_what_makes_no_sound_record_is_left_out(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(LeftOutError, match=f"^{reason}$"):
        made(logged(**changes))
