"""The server's guard: whatever happens to us, nothing of the server is left; and a server that dies is started again."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from hallmark.answer.endpoint import ServedModel
from hallmark.base.errors import HallmarkError
from hallmark.base.params import Compute
from hallmark.serve import server
from hallmark.serve.engine import Asking
from hallmark.serve.engines import ENGINES
from tests import test_engines as toys
from tests.rows import refused
from tests.stub_model import wait_for
from tests.workspace import run

# A server that is hard to stop: it ignores SIGTERM, and so does its child.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1:]:
    print("up", flush=True)
    time.sleep(99)
subprocess.Popen([*sys.orig_argv, "child"]).wait()
"""
POLITE = "import time; print('up', flush=True); time.sleep(99)"


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    return all(not process.is_running() or process.status() == psutil.STATUS_ZOMBIE for process in processes)


def up(folder: Path) -> bool:
    log = folder / server.LOG
    return log.exists() and "up" in log.read_text()


@pytest.mark.parametrize("program", [POLITE, STUBBORN])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_all_is_stopped_when_the_block_ends_however_it_ends(tmp_path, monkeypatch, program, error):
    monkeypatch.setattr(server, "GUARD", server.GUARD.replace(f"({server.STOP_SECONDS})", "(0.3)"))
    folder = tmp_path / "models"
    folder.mkdir()
    processes: list[psutil.Process] = []
    try:
        with server.guarded([sys.executable, "-c", program], folder, {}) as guard:
            wait_for(lambda: up(folder))
            processes = family(guard.pid)
            if error is not None:
                raise error
    except (KeyboardInterrupt, ValueError):
        pass
    assert len(processes) == (3 if program is STUBBORN else 2)
    wait_for(lambda: gone(processes))
    assert not folder.exists()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_all_is_stopped_when_we_are_killed(tmp_path, sign):
    folder = tmp_path / "models"
    folder.mkdir()
    ours = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from hallmark.serve import server
        server.GUARD = server.GUARD.replace("({server.STOP_SECONDS})", "(0.3)")
        with server.guarded([sys.executable, "-c", {STUBBORN!r}], Path({str(folder)!r}), {{}}):
            time.sleep(99)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", ours], cwd=Path(__file__).parent.parent, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: up(folder))
        processes = family(process.pid)
        assert len(processes) == 4
        os.kill(process.pid, sign)
        process.wait(120)
        wait_for(lambda: gone(processes))
        wait_for(lambda: not folder.exists())
    finally:
        process.kill()


def test_a_killed_guard_does_not_leave_the_server(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    with server.guarded([sys.executable, "-c", POLITE], folder, {}) as guard:
        wait_for(lambda: up(folder))
        processes = family(guard.pid)
        os.kill(guard.pid, signal.SIGKILL)
        guard.wait()
    wait_for(lambda: gone(processes))


def test_what_a_killed_process_left_is_cleared_and_what_a_running_one_serves_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "BASE", tmp_path / "models" / "base")
    server.BASE.mkdir(parents=True)
    ours = textwrap.dedent(
        f"""
        import time
        from pathlib import Path
        from hallmark.serve import server
        server.BASE = Path({str(server.BASE)!r})
        with server.model_folder("base", None, "float32"):
            time.sleep(99)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", ours], cwd=Path(__file__).parent.parent)
    try:
        wait_for(lambda: len(list(server.BASE.parent.glob(".serving-*"))) == 1)
        with server.model_folder("base", None, "float32"):
            assert len(list(server.BASE.parent.glob(".serving-*"))) == 2
    finally:
        process.kill()
    process.wait()
    assert len(list(server.BASE.parent.glob(".serving-*"))) == 1
    with server.model_folder("base", None, "float32"):
        assert len(list(server.BASE.parent.glob(".serving-*"))) == 1
    assert not list(server.BASE.parent.glob(".serving-*"))
    assert server.BASE.exists()


def test_a_command_that_ends_ends_its_guard_and_what_it_left_running(tmp_path):
    leaves_a_child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {POLITE!r}]); sys.exit(7)"
    with server.guarded([sys.executable, "-c", leaves_a_child], tmp_path, {}) as guard:
        processes = family(guard.pid)
        guard.wait(120)
        assert "exit code 7" in (tmp_path / server.LOG).read_text()
        wait_for(lambda: gone(processes))


def test_a_taken_port_is_an_error_that_names_it_and_a_left_one_is_free():
    with socket.create_server((server.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with refused(field="benchmark.server.port"):
            server.free_port(port)
        with refused("--port"):
            server.free_port(port, "--port")
    assert server.free_port(port) == port
    assert server.free_port(0) > 0


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """What starts a server of the engine `toy` of tests/test_engines.py."""
    monkeypatch.setitem(ENGINES, "toy", toys.Toy())
    monkeypatch.setattr(server, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(server, "RESTARTS", (0.05, 0.05))

    @contextmanager
    def start() -> Iterator[server.Server]:
        (tmp_path / "models/tuned").mkdir(parents=True, exist_ok=True)
        (tmp_path / "models/tuned/config.json").touch()
        settings = toys.ToySettings(**toys.BLOCK)
        with server.serve(
            ["tuned"], tmp_path / "models", 0, settings, Compute(device="cpu", threads=1, portable=False)
        ) as running:
            yield running

    return start


def test_a_server_that_dies_at_start_says_why(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(toys, "SERVER", "raise SystemExit(1)")
    with pytest.raises(HallmarkError, match="died while starting") as caught, toy():
        pass
    assert "exit code 1" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def kill(running: server.Server) -> None:
    assert running.process is not None
    (process,) = psutil.Process(running.process.pid).children()
    process.kill()


def tell(words: str) -> Callable[[server.Server], None]:
    def told(running: server.Server) -> None:
        body = running.body("tuned", 1) | {"messages": [{"role": "user", "content": words}]}
        assert httpx.post(f"{running.url}/chat/completions", json=body, trust_env=False).status_code == 200

    return told


TROUBLES = [
    (kill, r"died .*exit code -9.*"),
    (tell("fall ill"), r".*HTTP 503.*OfError.*"),
    (tell("stand still"), r"gave no answer.*OfError.*"),
]


@pytest.mark.parametrize(("harm", "words"), TROUBLES, ids=["killed", "ill", "still"])
def test_a_server_that_dies_is_started_again_and_told_of_in_one_line(toy, capfd, monkeypatch, harm, words):
    started: list[server.Server] = []

    @contextmanager
    def start() -> Iterator[server.Server]:
        with toy() as running:
            started.append(running)
            monkeypatch.setattr(server, "HEALTH_SECONDS", 1.0 if len(started) == 1 and "gave no" in words else 120.0)
            if len(started) == 2:
                assert running.trouble() is None
                raise KeyboardInterrupt
            harm(running)
            yield running

    with pytest.raises(KeyboardInterrupt):
        server.until_stopped(start, "here it is")
    first, second = capfd.readouterr().out.splitlines()
    assert first.startswith("here it is")
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{{4}} the server {words}; starting it again", second)
    assert [running.alive for running in started] == [False, False]


def test_a_server_that_dies_again_and_again_ends_in_an_error(toy, capfd):
    @contextmanager
    def start() -> Iterator[server.Server]:
        with toy() as running:
            kill(running)
            yield running

    with refused():
        server.until_stopped(start, "here it is")
    assert capfd.readouterr().out.count("starting it again") == 2


@pytest.mark.parametrize(("harm", "words"), TROUBLES[:2], ids=["killed", "ill"])
def test_an_evaluation_says_that_its_server_died(toy, monkeypatch, harm, words):
    from hallmark.answer import endpoint
    from hallmark.answer.answers import prompts_of
    from tests.test_eval import some_holdout

    monkeypatch.setattr(endpoint, "PAUSES", ())
    with toy() as running:
        harm(running)
        asking = Asking(kind="toy", concurrency=1, timeout=60.0)
        model = ServedModel(running, "tuned", asking, max_new_tokens=4, source=Path("data/split/holdout.parquet"))
        with pytest.raises(HallmarkError, match=rf"gave no answer to this record \(it {words}") as caught:
            model.answer(prompts_of(some_holdout().rows(named=True)))
    assert "text of a request" not in str(caught.value)


def test_the_folder_of_the_models_is_no_place_to_import_from(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([".", "", "elsewhere"]))
    compute = Compute(device="cpu", threads=1, portable=False)
    variables = server.QUIET | ENGINES["transformers"].variables(None, compute)
    (tmp_path / "torch.py").write_text("raise SystemExit('this is the torch of the models')", encoding="utf-8")
    code = (
        "import sys, importlib.util as u\n"
        "print(*sys.path, u.find_spec('torch').origin, u.find_spec('hallmark').origin, sep='\\n')"
    )
    done = run(tmp_path, sys.executable, "-c", code, **variables)
    *places, torch, ours = done.stdout.splitlines()
    assert all(Path(place).is_absolute() for place in places)
    assert str(tmp_path) not in places
    assert Path(ours).resolve() == toys.ROOT / "hallmark/__init__.py"
    assert "site-packages" in torch


# A server of ours with a model that takes as many tenths of a second to answer as the request names tokens.
IMPATIENT = """
import asyncio, json, sys
from hallmark.serve import impatient, launcher
from hallmark.serve.admission import Admission, Limits

async def app(scope, receive, send):
    if scope["type"] == "http":
        body = (await receive())["body"]
        await asyncio.sleep(json.loads(body)["max_tokens"] / 10 if body else 0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

impatient.HEAD_SECONDS = 1.5
launcher.run(Admission(app, Limits(("tuned",))), int(sys.argv[1]))
"""


def test_who_makes_no_request_is_hung_up_on_and_who_waits_for_an_answer_is_not():
    port = server.free_port(0)
    process = subprocess.Popen([sys.executable, "-c", IMPATIENT, str(port)], cwd=toys.ROOT)
    try:
        wait_for(lambda: answers(port))
        silent, slow = (socket.create_connection((server.HOST, port)) for _ in range(2))
        slow.sendall(b"POST /v1/chat")
        body = {"model": "tuned", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}
        url = f"http://{server.HOST}:{port}/v1/chat/completions"
        assert (
            httpx.post(url, content=json.dumps(body), headers={"content-type": "application/json"}).status_code == 200
        )
        for connection in (silent, slow):
            connection.settimeout(60)
            assert connection.recv(1) == b""
            connection.close()
    finally:
        process.terminate()
        assert process.wait(120) in (0, -signal.SIGTERM)


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://{server.HOST}:{port}/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
