"""A file answered offline: one line of output a line of input, in order, whatever ends a run."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.refusal import Refusal
from hallmark.mask.restoring import Masked
from hallmark.service.commands import batch as tool
from hallmark.service.commands.batch import Batch
from hallmark.service.commands.batch_file import Answers, answers_in, requests_in
from tests.gateway_toys import environment, served_folder
from tests.stub_model import Stub, stub, told, wait_for
from tests.toy_gateway import Gateway as Toy
from tests.toy_gateway import Masking

PROMPT = "Ticket to JSON"


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def request(number: int, **what: Any) -> dict[str, Any]:
    return {"id": f"r{number}", "messages": [{"role": "user", "content": told(**{"text": f"answer {number}"} | what)}]}


@pytest.fixture
def folder(tmp_path: Path, server: Stub) -> Path:
    changes = {"serve.traces": False, "serve.limits.under_way_per_key": 4}
    return served_folder(tmp_path / "repo", server.url, **changes)


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "hallmark.service.commands.batch", "in.jsonl", *options]


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *options), cwd=folder, env=environment(), capture_output=True, text=True, timeout=120
    )


def test_each_line_has_its_answer_in_its_place(folder: Path, server: Stub) -> None:
    rows = [request(number, sleep=0.3 if number % 5 == 0 else 0.0) for number in range(1, 31)]
    rows.append({"input": told(text="from a prompt"), "context": "what was found", "group": "acme"})
    write(folder / "in.jsonl", *rows)
    result = run(folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "in.answers.jsonl: 31 of 31 lines: 31 answered\n"
    found = read(folder / "in.answers.jsonl")
    assert [(row["line"], row["id"], row["text"]) for row in found[:30]] == [
        (number, f"r{number}", f"answer {number}") for number in range(1, 31)
    ]
    assert found[30]["id"] == 31
    assert {row["outcome"] for row in found} == {"answered"}
    assert {row["version"] for row in found} == {"unregistered"}
    assert len({row["trace"] for row in found}) == 31
    digests = [hashlib.sha256(line.encode()).hexdigest() for line in (folder / "in.jsonl").read_text().splitlines()]
    assert [row["request"] for row in found] == digests
    assert (folder / "in.answers.jsonl").stat().st_mode & 0o777 == 0o600
    sent = [body["messages"] for body in server.counts()["bodies"] if len(body["messages"]) == 2]
    assert sent[-1][0]["content"].startswith("Ticket to JSON")
    assert sent[-1][1]["content"] == f"what was found\n\n{told(text='from a prompt')}"
    again = run(folder)
    assert again.stdout == result.stdout


def test_a_killed_run_goes_on_where_it_was(folder: Path, server: Stub) -> None:
    write(folder / "in.jsonl", *(request(number, sleep=0.05) for number in range(1, 121)))
    out = folder / "in.answers.jsonl"
    before = server.counts()["asked"]
    for _ in range(2):
        count = out.read_bytes().count(b"\n") if out.exists() else 0
        process = subprocess.Popen(command(folder), cwd=folder, env=environment(), stderr=subprocess.DEVNULL)
        while process.poll() is None and not (out.exists() and out.read_bytes().count(b"\n") > count + 10):
            time.sleep(0.02)
        process.kill()
        process.wait()
        with out.open("ab") as file:
            file.write(b'{"line": 5000, "te')  # what a kill in the middle of a line would leave
    result = run(folder)
    assert result.returncode == 0, result.stderr
    assert "lines are answered already" in result.stderr
    assert [(row["line"], row["text"]) for row in read(out)] == [(n, f"answer {n}") for n in range(1, 121)]
    assert server.counts()["asked"] - before < 120 + 2 * 20  # a kill loses what was under way, and no more


def test_a_server_that_is_down_ends_the_run_and_leaves_no_failed_lines(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tool, "PAUSES", (0.01,))
    write(folder / "in.jsonl", *(request(number) for number in range(1, 4)), *({"input": told(status=500)},) * 30)
    from hallmark.params.loader import load_params

    with pytest.raises(HallmarkError, match="no answer to lines 4 to 19"):
        tool.answer_file(load_params(), Path("in.jsonl"), Path("out"))
    assert [row["line"] for row in read(folder / "out")] == [1, 2, 3]


def test_a_line_at_fault_is_failed_and_the_others_are_answered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tool, "PAUSES", (0.01,))
    rows = [request(1), request(2, status=500), request(3), request(4, status=400), request(5, status=500)]
    write(folder / "in.jsonl", *rows)
    from hallmark.params.loader import load_params

    tool.answer_file(load_params(), Path("in.jsonl"), Path("out"))
    assert [(row["outcome"], row["reason"], row["text"]) for row in read(folder / "out")] == [
        ("answered", "no_cascade", "answer 1"),
        ("failed", "upstream", None),
        ("answered", "no_cascade", "answer 3"),
        ("failed", "refused", None),
        ("failed", "upstream", None),
    ]


@pytest.mark.parametrize(
    ("row", "field", "problem"),
    [
        ("{", None, "not JSON"),
        ({"input": "x", "inptu": "y"}, "inptu", "unknown field"),
        ({"id": "x"}, None, "either messages, or input"),
        ({"messages": [], "context": "x"}, None, "either messages, or input"),
        ({"messages": [{"role": "owner", "content": "x"}]}, "messages[0].role", "Input should be"),
        ({"input": "x", "id": 1.5}, "id", "valid"),
        ({"input": "x", "group": ""}, "group", "at least 1 character"),
        ('{"input": "a", "input": "b"}', None, "same key twice"),
        ('{"input": "\\ud800"}', None, "half of a surrogate pair"),
        ("[" * 2000, None, "not JSON"),
    ],
)
def test_a_bad_line_is_told_by_its_number_before_anything_is_asked(
    tmp_path: Path, row: Any, field: str | None, problem: str
) -> None:
    file = write(tmp_path / "in.jsonl", {"input": "fine"}, row)
    with pytest.raises(HallmarkError, match="row 2") as caught:
        list(requests_in(file, PROMPT))
    assert problem in caught.value.problem
    assert caught.value.field == field
    assert str(file) in str(caught.value)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_requests_or_one_error(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    file = tmp_path_factory.getbasetemp() / "any.jsonl"
    file.write_bytes(b"\n".join(lines))
    try:
        found = list(requests_in(file, PROMPT))
    except HallmarkError as error:
        assert error.row is not None
    else:
        assert [line.row for line in found] == [*range(1, len(found) + 1)]


def answer(row: int, digest: str = "a") -> dict[str, Any]:
    return {"line": row, "request": digest, "version": "v1", "outcome": "answered"}


@given(st.integers(0, 4), st.integers(0, 200))
def test_a_cut_leaves_whole_lines_to_go_on_from(tmp_path_factory: pytest.TempPathFactory, count: int, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    path.unlink(missing_ok=True)
    with answers_in(path) as answers:
        for row in range(1, count + 1):
            answers.append(answer(row))
    assert path.exists() == bool(count), "an empty file would say that somebody was answered"
    content = path.read_bytes() if count else b""
    path.write_bytes(content[:cut])
    with answers_in(path) as answers:
        assert answers.done == content[:cut].count(b"\n")
        answers.append(answer(answers.done + 1))
        done = answers.done
    assert [row["line"] for row in read(path)] == [*range(1, done + 1)]


def test_answers_to_something_else_are_not_continued(tmp_path: Path) -> None:
    file, out = write(tmp_path / "in.jsonl", {"input": "x"}), tmp_path / "out"
    (line,) = requests_in(file, PROMPT)
    with answers_in(out) as answers:
        answers.append(answer(1, "another"))
        with pytest.raises(HallmarkError, match=r"out, row 1.*another request"):
            answers.check(line)
        with pytest.raises(HallmarkError, match="another run"), answers_in(out):
            pass
    write(out, {"line": 1})
    with pytest.raises(HallmarkError, match="not a line that this command wrote"), answers_in(out):
        pass
    with pytest.raises(HallmarkError, match="can't be written"), answers_in(tmp_path / "none/out"):
        pass


class Masker(Masking):
    """Two texts can't be masked: one is refused as too long, at the other the masker fails, and would again."""

    async def mask(self, messages: list[dict[str, Any]], *of: Any) -> tuple[Masked, list[str]]:
        for word, status in (("long", 400), ("broken", 500)):
            if word in messages[-1]["content"]:
                raise Refusal(status, "masking_failed", "not masked")
        return await super().mask(messages, *of)


def test_the_model_sees_masked_text_and_the_file_has_the_callers_own_again(tmp_path: Path) -> None:
    asking = "ann@x.example asks"
    rows = [{"input": asking}, {"input": "long"}, {"input": "broken"}, {"input": asking, "group": "acme"}]
    file, out = write(tmp_path / "in.jsonl", *rows), tmp_path / "out"
    toy = Toy(names_key=b"k" * 32)
    toy.steps.masking = Masker()  # type: ignore[assignment]
    batch = Batch(toy.steps, concurrency=2)

    def work(answers: Answers) -> None:
        asyncio.run(batch.run(requests_in(file, PROMPT), answers, lambda: None))

    with answers_in(out) as answers:
        work(answers)
    assert [row["text"] for row in read(out)] == [asking, None, None, asking]
    assert [row["outcome"] for row in read(out)] == ["answered", "failed", "failed", "answered"]
    assert not any("ann@" in str(asked) for asked in toy.models.asked)
    assert [str(trace.group).partition("-")[0] for trace in toy.kept.traces] == ["None", "group"]
    assert [trace.route for trace in toy.kept.traces] == ["batch", "batch"]
    assert toy.kept.traces[0].deadline > time.monotonic() + 60


def test_servers_share_a_file_and_what_one_had_when_it_died_is_asked_of_another(tmp_path: Path, server: Stub) -> None:
    with stub("v2") as other:
        upstream = {"url": [other.url, server.url], "model": "served-as", "key": None}
        changes = {"serve.traces": False, "serve.upstreams": {"prod": upstream}}
        folder = served_folder(tmp_path / "repo", server.url, **changes)
        write(folder / "in.jsonl", *(request(n, sleep=0.05 if n < 50 else 1.5) for n in range(1, 76)))
        before = server.counts()["asked"]
        process = subprocess.Popen(command(folder), cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True)
        wait_for(lambda: other.counts()["asked"] > 20)
        between = server.counts()["asked"] - before
        other.stop()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert between > 5, "each has about half of them"
    assert "gave no answer: for 30 s, the other servers are asked" in said
    found = read(folder / "in.answers.jsonl")
    assert [(row["line"], row["text"]) for row in found] == [(n, f"answer {n}") for n in range(1, 76)]
