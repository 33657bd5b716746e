"""Bought answers: what is sent and what it is found by, servers that fail, and that nothing paid for is lost or asked twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from hallmark.answer.answers import Prompt
from hallmark.answer.bought import Bought, file_of, is_model, key_of, read_bought, write_bought
from hallmark.answer.comparators.endpoint import EndpointSettings, requests_for
from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, BOUGHT, HOLDOUT, TRAIN, sha256_folder
from hallmark.base.provenance import read_lock
from hallmark.base.records import read_records, write_records
from hallmark.base.single_run import alone
from hallmark.commands import ask, buying, verify
from hallmark.params.loader import load_params
from hallmark.task.predictions import metrics_of, read_predictions
from hallmark.task.task import Task
from stages import eval as stage_eval
from tests.rows import refused
from tests.stub_model import ChatServer, Reply
from tests.test_eval import SETTINGS, some_holdout, some_train
from tests.tiny import make_tiny_base
from tests.workspace import (
    ROOT,
    add_remote,
    change_params,
    dvc_init,
    git_commit,
    git_init,
    make_workspace,
    repro_here,
    run,
)

ENDPOINT: dict[str, Any] = {
    "kind": "endpoint", "url": "http://127.0.0.1:9/v1", "model": "gpt-x", "accept_model": None, "key": None,
    "system_prompt": None, "structured": False, "max_tokens": 20, "fields": {}, "examples": 0, "rule": "nearest",
    "example_tokens": 400, "concurrency": 3, "timeout": 60.0, "retries": 2, "price": {"input": 2.0, "output": 10.0},
    "max_cost": None,
}  # fmt: skip
USAGE = {"prompt_tokens": 100, "completion_tokens": 7}
LOGPROBS = {"content": [{"token": "about", "logprob": -0.25, "bytes": None, "top_logprobs": []}]}


def completion(text: str | None = "about it", **changes: Any) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop", "logprobs": LOGPROBS}
    whole = {"model": "gpt-x-2026-01-01", "choices": [choice], "usage": USAGE}
    return whole | changes


class Server(ChatServer):
    """Answers each request with what its last message says; `script` holds what it sends first."""

    def __init__(self) -> None:
        super().__init__()
        self.script: list[Reply] = []
        self.always: bytes | None = None
        self.slow = 0.0
        self.usage: Any = USAGE

    def reply(self, body: dict[str, Any]) -> Reply:
        time.sleep(self.slow)
        if self.script:
            return self.script.pop(0)
        answer = completion(f"about {body['messages'][-1]['content']}", usage=self.usage)
        return 200, {}, self.always or json.dumps(answer).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(buying, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(buying, "LONGEST_PAUSE", 0.02)
    with Server() as running:
        yield running


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with base and split, at the point where `ask` is next."""
    folder = make_workspace(tmp_path_factory.mktemp("ask"), SETTINGS)
    make_tiny_base(folder / BASE)
    write_records(folder / HOLDOUT, some_holdout())
    write_records(folder / TRAIN, some_train())
    return folder


@pytest.fixture
def at(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    for file in BOUGHT.iterdir():
        if file.name != "README.md":
            file.unlink()
    return made


def use(server: Server, **changes: Any) -> None:
    """Make the server the comparator `big`."""
    settings = ENDPOINT | {"url": server.url} | changes
    change_params(Path(), {"eval.comparators": {"big": settings}})


def buy(**options: Any) -> None:
    ask.run(load_params(), **options)


def look_up() -> tuple[list[Any], dict[str, Any]]:
    stage_eval.run_comparators(load_params())
    return read_predictions("big"), json.loads(metrics_of("big").read_text(encoding="utf-8"))


def test_what_is_missing_is_bought_once_and_the_stage_only_looks_it_up(
    at: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    use(server)
    with refused("nox -s ask"):
        look_up()
    buy(dry=True)
    assert "10 of 10 requests missing" in capsys.readouterr().out
    assert server.asked == []
    buy()
    assert "spent 0.0027" in capsys.readouterr().out  # 10 * (100 * 2 + 7 * 10) / 1e6
    records = read_records(HOLDOUT).rows(named=True)
    sent = sorted(json.dumps(body["messages"]) for body in server.asked)
    assert sent == sorted(json.dumps(row["prompt"]) for row in records)  # the texts of the split, which are masked
    assert all(
        (body["model"], body["temperature"], body["max_tokens"]) == ("gpt-x", 0, 20) and "response_format" not in body
        for body in server.asked
    )
    rows, metrics = look_up()
    assert [row.prediction for row in rows] == [f"about {row['prompt'][-1]['content']}" for row in records]
    assert {(row.finish, row.tokens) for row in rows} == {("stop", 7)}
    assert metrics["price"] == {"input_tokens": 1000, "output_tokens": 70, "cost": 0.0027, "per_1000": 0.27}
    assert 0 < metrics["latency_s"]["p50"] <= metrics["latency_s"]["p95"]
    before, first = sha256_folder(Path("reports/comparators")), file_of("big").read_bytes()
    buy()
    look_up()
    assert len(server.asked) == 10 and sha256_folder(Path("reports/comparators")) == before
    assert file_of("big").read_bytes() == first
    assert {one.logprobs[0][0] for one in read_bought("big").values() if one.logprobs} == {"about"}
    server.shutdown()  # what was bought needs no server
    look_up()


def test_a_key_depends_on_all_that_determines_the_answer_and_not_on_ids() -> None:
    task = Task(load_params(ROOT / "params.yaml").task)

    def key(row: int = 1, text: str = "a", tools: Any = None, seed: int = 1, **changes: Any) -> str:
        prompt = Prompt([{"role": "user", "content": text}], tools, row)
        return requests_for(EndpointSettings.model_validate(ENDPOINT | changes), [prompt], task, seed)[0].key

    same = {"key": "SOME_KEY", "timeout": 9.0, "concurrency": 9, "retries": 0, "price": None, "accept_model": "x"}
    assert key() == key(row=7) == key(**same) == key(url="http://127.0.0.1:9/v1/")
    others = [
        key(text="b"),
        key(tools=[{"type": "function"}]),
        key(seed=2),
        key(model="gpt-y"),
        key(url="http://127.0.0.1:9/v2"),
        key(max_tokens=21),
        key(structured=True),
        key(fields={"temperature": None}),
    ]
    assert len({key(), *others}) == 9


def test_the_estimate_stops_before_the_first_request(at: Path, server: Server) -> None:
    use(server, max_cost=0.001)
    with refused():
        buy()
    assert server.asked == [] and not file_of("big").exists()
    use(server, max_cost=1.0)
    buy()
    assert len(server.asked) == 10


def garbage(status: int, body: bytes = b"{}", **headers: str) -> Reply:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, body


def answered(message: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """A response whose choice is another one."""
    choice = {"message": message or {"content": "about it"}, "finish_reason": "stop"} | changes
    return json.dumps(completion(choices=[choice])).encode()


WHOLE = json.dumps(completion()).encode()
CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ås"}'}}


FOR_THE_MOMENT = {
    "statuses": [garbage(429, Retry_After="0"), garbage(500), garbage(408)],
    "a date of no calendar": [garbage(429, Retry_After="Mon, 01 Jan 2024 00:00:00 +99999999999999")],
    "half a body": [(200, {"Content-Length": str(len(WHOLE))}, WHOLE[:40])],
    "half a JSON": [garbage(200, WHOLE[:40])],
    "no text": [garbage(200, json.dumps(completion(None)).encode())],
    "a part of another kind": [garbage(200, answered({"content": [{"type": "image", "text": "x"}]}))],
    "an error of its own status": [garbage(200, b'{"error": {"code": 429}, "choices": []}')],
    "an end that is none": [garbage(200, answered(finish_reason=end)) for end in ("error", 5)],
    "not UTF-8": [garbage(200, b'{"choices": [{"message": {"content": "\xff"}}]}')],
}


@pytest.mark.parametrize("name", FOR_THE_MOMENT)
def test_what_fails_for_the_moment_is_sent_again(at: Path, server: Server, name: str) -> None:
    use(server)
    server.script = list(FOR_THE_MOMENT[name])
    buy()
    assert len(server.asked) == 10 + len(FOR_THE_MOMENT[name])
    assert len(look_up()[0]) == 10


def test_a_time_out_is_sent_again_and_what_keeps_failing_ends_in_one_error(at: Path, server: Server) -> None:
    use(server, timeout=0.2, retries=1)
    server.slow = 0.6
    with refused():
        buy()
    assert len(server.asked) < 20  # five in a row end it
    server.slow = 0.0
    use(server)
    buy()
    assert len(read_bought("big")) == 10


def test_a_request_that_is_refused_is_not_sent_again_and_its_reason_quotes_nothing(at: Path, server: Server) -> None:
    use(server, concurrency=1)
    error = {"error": {"message": "my kettle is broken", "type": "invalid_request_error", "param": "temperature"}}
    server.script = [garbage(200, WHOLE), garbage(400, json.dumps(error).encode())]
    with pytest.raises(HallmarkError, match="HTTP 400, invalid_request_error, temperature") as caught:
        buy()
    assert "kettle" not in str(caught.value)
    assert len(server.asked) == 2 and len(read_bought("big")) == 1  # what was paid for stays
    server.script = [garbage(429, Retry_After="3600")]
    with pytest.raises(HallmarkError, match="asks to wait 3600 s"):
        buy()
    assert len(server.asked) == 3


def test_another_models_answer_is_kept_and_asked_no_more(at: Path, server: Server) -> None:
    use(server, concurrency=1)
    server.always = json.dumps(completion(model="gpt-x-mini")).encode()
    with pytest.raises(HallmarkError, match="another model answered"):
        buy()
    for _ in range(2):
        with refused("remove its line to ask again") as caught:
            buy()
        [key] = read_bought("big")
        assert key[:12] in str(caught.value)
    assert len(server.asked) == 1
    use(server, accept_model="gpt-x(-mini)?")
    buy()
    assert len(server.asked) == 10 and len(look_up()[0]) == 10


def test_answers_without_logprobs_usage_or_text_say_so(at: Path, server: Server) -> None:
    use(server)
    choice = {"message": {"content": None}, "finish_reason": "length", "logprobs": None}
    server.always = json.dumps({"model": "gpt-x", "choices": [choice]}).encode()  # its reasoning took all tokens
    buy()
    rows, metrics = look_up()
    assert {(row.prediction, row.finish, row.tokens) for row in rows} == {("", "length", 0)}
    assert metrics["price"] == dict.fromkeys(("input_tokens", "output_tokens", "cost", "per_1000"))
    assert {one.logprobs for one in read_bought("big").values()} == {None}
    use(server, price=None)
    assert look_up()[1]["price"]["cost"] is None


def test_its_own_prompt_examples_schema_and_key_are_sent(
    at: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"system_prompt": "Be brief.", "examples": 2, "structured": True, "key": "HALLMARK_TEST_KEY"}
    use(server, **own, fields={"max_tokens": None, "max_completion_tokens": 30, "temperature": None})
    with refused():
        buy()
    monkeypatch.setenv("HALLMARK_TEST_KEY", "top-secret")
    buy()
    assert set(server.keys) == {"Bearer top-secret"}
    body = server.asked[0]
    assert body["max_completion_tokens"] == 30 and not {"max_tokens", "temperature"} & body.keys()
    assert body["response_format"]["json_schema"]["schema"]
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert body["messages"][0]["content"] == "Be brief."
    assert all(len(row.examples) == 2 for row in look_up()[0])
    held = b"".join(file.read_bytes() for file in [*BOUGHT.iterdir(), *Path("reports").rglob("*.json*")])
    assert b"top-secret" not in held and b"Be brief." not in held


def test_a_kill_loses_nothing_and_nothing_is_asked_twice(at: Path, server: Server) -> None:
    use(server, concurrency=2)
    server.slow = 0.5
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "hallmark.commands.ask"]
    process = subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while time.monotonic() < until and not (file_of("big").exists() and file_of("big").read_bytes().count(b"\n") >= 3):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.7)  # what was on the way has ended
    kept, sent = read_bought("big", cut=True), len(server.asked)
    assert 3 <= len(kept) < 10
    with file_of("big").open("ab") as file:
        file.write(b'{"key": "half a li')
    with pytest.raises(HallmarkError, match="the last line is not whole"):
        look_up()
    server.slow = 0.0
    buy()
    again = [key_of(load_params().eval.comparators["big"].url, body) for body in server.asked[sent:]]  # type: ignore[attr-defined]
    assert not kept.keys() & {*again} and len(again) == 10 - len(kept)
    assert read_bought("big").items() >= kept.items() and len(look_up()[0]) == 10


def test_dvc_keeps_the_file_and_pushes_it_only_if_told_to(at: Path, server: Server, tmp_path: Path) -> None:
    use(server)
    run(at, "git", "init", "--quiet")
    dvc_init(at)
    try:
        buy()
        note = Path(f"{file_of('big')}.dvc")
        [out] = YAML(typ="safe").load(note.read_text(encoding="utf-8"))["outs"]
        assert out["push"] is False and out["path"] == "big.jsonl" and len(out["md5"]) == 32
        add_remote(at, str(tmp_path))
        run(at, "dvc", "push", str(note))
        assert not [file for file in tmp_path.rglob("*") if file.is_file()]
        note.write_text(note.read_text(encoding="utf-8").replace("  push: false\n", ""), encoding="utf-8")
        use(server, max_tokens=21)
        buy()
        [out] = YAML(typ="safe").load(note.read_text(encoding="utf-8"))["outs"]
        assert "push" not in out and len(read_bought("big")) == 20  # what is not asked any more was paid for
        seen = run(at, "git", "status", "--porcelain", "data/bought", "--untracked-files=all").stdout.splitlines()
        assert seen == ["?? data/bought/README.md", "?? data/bought/big.jsonl.dvc"]
    finally:
        for folder in (".git", ".dvc"):
            run(at, "rm", "-rf", folder)


ALONE = {  # the stage as it is in dvc.yaml, where git has what it reads, and one that reads no answers
    "comparators": {
        "cmd": "python -m stages.eval --comparators",
        "deps": ["data/bought", "data/split", "models/base"],
        "outs": [
            {"reports/comparators": {"persist": True}},
            {"reports/measured/comparators.json": {"cache": False, "persist": True, "meta": {"measured": True}}},
        ],
    },
    "other": {"cmd": "ls data/split > seen", "deps": ["data/split"], "outs": ["seen"]},
}


@pytest.mark.full
def test_a_rebuild_looks_the_answers_up_and_says_so_if_a_clone_lacks_them(
    at: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    repo, clone = shutil.copytree(at, tmp_path / "repo"), tmp_path / "clone"
    (repo / "dvc.yaml").write_text(json.dumps({"stages": ALONE}), encoding="utf-8")
    monkeypatch.chdir(repo)
    git_init(repo)
    run(repo, "git", "add", "--force", "data/split", "models/base")
    use(server)
    buy()
    repro_here(repo, "comparators")
    run(repo, "dvc", "repro", "other")
    git_commit(repo, "bought")
    assert len(server.asked) == 10
    assert verify.run() == 0
    said = capfd.readouterr().out
    assert "same      reports/comparators\n" in said
    assert len(server.asked) == 10, "bought once"

    run(tmp_path, "git", "clone", "--quiet", str(repo), str(clone))
    monkeypatch.chdir(clone)
    for stage in (None, "comparators"):
        with refused():
            verify.run(stage)
    assert verify.run("other") == 0
    shutil.copy(repo / file_of("big"), clone / file_of("big"))
    run(clone, "sh", "-c", "dvc commit data/bought/*.dvc")  # what the remedy says
    lock = read_lock((clone / "dvc.lock").read_bytes())
    (tmp_path / "again").mkdir()
    rebuilt = verify._clone(tmp_path / "again", "HEAD", "comparators", lock)
    assert (rebuilt / file_of("big")).read_bytes() == (repo / file_of("big")).read_bytes()
    assert len(server.asked) == 10


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "https://user:word@api.example.com/v1"}, "url"),
        ({"url": "https://api.example.com/v1?key=word"}, "url"),
        ({"key": "sk-123"}, "key"),
        ({"price": None, "max_cost": 1.0}, "max_cost needs a price"),
        ({"fields": {"n": 5}}, "fields can't set 'n'"),
        ({"url": "https://x:abc/v1"}, "url is not an address"),
        ({"url": "http://8.8.8.8/v1", "key": "KEY"}, "url with a key must begin with https"),
        ({"url": "http://localhost.example.com/v1", "key": "KEY"}, "url with a key must begin with https"),
        ({"fields": {"max_tokens": None}}, "fields must leave a limit"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        EndpointSettings.model_validate(ENDPOINT | changes)
    for url in ("http://localhost:8000/v1", "http://[::1]:8000/v1", "http://192.168.1.7/v1"):
        EndpointSettings.model_validate(ENDPOINT | {"url": url, "key": "KEY"})  # nobody else reads the key there


def test_a_dated_name_is_the_same_model() -> None:
    assert is_model("gpt-x-2026-01-01", "gpt-x", None) and is_model(None, "gpt-x", ".*")
    assert not is_model("gpt-x-mini", "gpt-x", None) and not is_model("gpt-x-70b", "gpt-x", None)
    assert not is_model(None, "gpt-x", "gpt-x") and not is_model("another", "gpt-x", "oth.*")


TEXTS = st.text() | st.text(st.characters(categories=("Cc", "Lu"))).map(lambda text: text + "\ud800")  # half a pair


@given(
    st.lists(
        st.builds(
            Bought,
            key=st.text("0123456789abcdef", min_size=64, max_size=64),
            model=st.none() | st.text(),
            text=TEXTS,
            calls=st.none() | st.lists(st.fixed_dictionaries({"name": TEXTS, "arguments": TEXTS}), min_size=1),
            finish=st.sampled_from(["stop", "length"]),
            read=st.none() | st.integers(0, 2**31),
            written=st.none() | st.integers(0, 2**31),
            logprobs=st.none() | st.lists(st.tuples(TEXTS, st.floats(-1e4, 0), st.just([255])).map(list)),
            seconds=st.floats(0, 1e6),
            cost=st.none() | st.floats(0, 1e6),
        ),
        unique_by=lambda one: one.key,
        max_size=4,
    ),
    st.integers(1, 10**6),
)
def test_lines_come_back_as_they_were_and_half_a_line_is_dropped(
    tmp_path_factory: pytest.TempPathFactory, answers: list[Bought], short: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.getbasetemp())
        write_bought("any", answers)
        assert list(read_bought("any").values()) == sorted(answers, key=lambda one: one.key)
        whole = file_of("any").read_bytes()
        if whole:
            last = len(whole.split(b"\n")[-2]) + 1
            file_of("any").write_bytes(whole[: len(whole) - 1 - short % last])
            assert len(read_bought("any", cut=True)) == len(answers) - 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"finish": "stop"', '"finish": "end"'),
        ('"seconds": 1.0', '"seconds": -1.0'),
        ('"read": 1', '"read": true'),
        ('"cost": null', '"cost": 1e999'),
        ('"text": "x"', '"text": "x", "more": 1'),
        ('"logprobs": null', '"logprobs": [["a", 0.5, null]]'),
        ('"calls": null', '"calls": [{"name": "a"}]'),
        ("{", ""),
    ],
)
def test_a_line_that_is_no_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    monkeypatch.chdir(tmp_path)
    one = Bought("0" * 64, "m", "x", None, "stop", 1, 1, None, 1.0, None)
    write_bought("any", [one])
    text = file_of("any").read_text(encoding="utf-8")
    damaged = text.replace(old, new, 1)  # as the last line too: it is whole, so no kill has cut it
    for wrong in (text + text, damaged + text, text.replace("0" * 64, "1" * 64) + damaged):
        file_of("any").write_text(wrong, encoding="utf-8")
        with pytest.raises(HallmarkError, match=r"data/bought/any\.jsonl, row [12]"):
            read_bought("any", cut=True)


def test_two_runs_at_once_do_not_buy_the_same_answers(at: Path, server: Server) -> None:
    use(server)
    with alone(BOUGHT, "", ""), refused():
        buy()
    assert server.asked == []


def test_a_text_in_parts_is_joined_and_calls_count_as_text(at: Path, server: Server) -> None:
    use(server)
    content = [{"type": "text", "text": part} for part in ("about ", "it")]
    server.script = [garbage(200, answered({"content": content, "tool_calls": None}))]
    server.script += [garbage(200, answered({"content": content, "tool_calls": [CALL]}))]
    server.script += [garbage(200, answered({"content": None, "tool_calls": [CALL]}, finish_reason="tool_calls"))]
    buy()
    assert [one.text for one in read_bought("big").values()].count("about it") == 2
    assert '{"name":"weather","arguments":{"city":"Ås"}}' in {row.prediction for row in look_up()[0]}
    assert len(server.asked) == 10


def guess() -> float:
    """What the records cost at most, by the guess."""
    params = load_params()
    need = ask.need_of(params, "big", params.eval.comparators["big"])  # type: ignore[arg-type]
    assert need.most is not None
    return need.most


def test_attempts_that_may_have_been_charged_count(at: Path, server: Server) -> None:
    use(server, retries=20, concurrency=1)
    most = guess()
    use(server, retries=20, concurrency=1, max_cost=1.05 * most)
    server.always = b"{}"
    with refused():
        buy()
    assert 5 < len(server.asked) < 16
    server.asked.clear()
    server.always = json.dumps(completion(None, usage=USAGE)).encode()  # no text, and a usage
    with refused():
        buy()
    assert 12 < len(server.asked) < 20 and len(server.asked) * 0.00027 <= 1.05 * most
    server.asked.clear()
    server.always, server.script = None, [garbage(500)] * 15
    buy()
    assert len(server.asked) == 25  # what a status refuses costs nothing


def test_an_api_that_charges_more_than_the_guess_is_asked_no_more(at: Path, server: Server) -> None:
    use(server, concurrency=2, max_cost=0.03)
    server.usage = {"prompt_tokens": 4000, "completion_tokens": 20}  # 0.0082 each
    with refused():
        buy()
    assert 3 <= len(server.asked) == len(read_bought("big")) <= 5
    file_of("big").unlink()
    use(server, concurrency=10, max_cost=1.05 * guess())
    server.usage = None  # counts as the guess
    buy()
    assert len(read_bought("big")) == 10


def test_answers_that_were_bought_and_are_not_here_are_not_bought_again(at: Path, server: Server) -> None:
    use(server)
    note = Path(f"{file_of('big')}.dvc")
    note.write_text("outs:\n- path: big.jsonl\n  push: false\n", encoding="utf-8")  # not kept yet
    buy(dry=True)
    note.write_text(f"outs:\n- path: big.jsonl\n  md5: {'a' * 32}\n  push: false\n", encoding="utf-8")
    for dangling in (False, True):
        if dangling:
            file_of("big").symlink_to(at / "no-such-cache")
        with refused("dvc checkout data/bought/big.jsonl.dvc"):
            buy()
    assert server.asked == []
    file_of("big").unlink()
    note.unlink()
    buy()
    assert len(read_bought("big")) == 10


def test_records_of_an_old_split_are_not_bought(at: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    use(server)
    stale = ["mask", "split", "sft"]
    monkeypatch.setattr(ask, "stale_stages", lambda: stale)
    buy(dry=True)  # nothing has run here, so there is nothing to go by
    Path("dvc.lock").write_text("", encoding="utf-8")
    try:
        with refused(file=Path("dvc.lock")):
            buy()
        assert server.asked == []
        stale[:] = ["sft"]
        buy()
    finally:
        Path("dvc.lock").unlink()
    assert len(server.asked) == 10
