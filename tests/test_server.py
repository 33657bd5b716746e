"""The server's guard: whatever happens to us, nothing of the server is left."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from stages.core.errors import HallmarkError
from stages.core.params import Compute
from stages.serving import server
from stages.serving.engines.transformers_serve import TransformersServer

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


def wait_for(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def gone(processes: list[psutil.Process]) -> bool:
    return all(not process.is_running() or process.status() == psutil.STATUS_ZOMBIE for process in processes)


def up(folder: Path) -> bool:
    log = folder / server.LOG
    return log.exists() and "up" in log.read_text()


@pytest.mark.parametrize("program", [POLITE, STUBBORN])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
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
        from stages.serving import server
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
        process.wait(20)
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
        from stages.serving import server
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
        guard.wait(20)
        assert "exit code 7" in (tmp_path / server.LOG).read_text()
        wait_for(lambda: gone(processes))


def test_a_taken_port_is_an_error_that_names_it_and_a_left_one_is_free():
    with socket.create_server((server.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HallmarkError) as caught:
            server.free_port(port)
        assert str(port) in caught.value.problem
        assert caught.value.field == "benchmark.server.port"
        with pytest.raises(HallmarkError, match=rf"^port {port} can't be used .*\n.*set --port to 0"):
            server.free_port(port, "--port")
    assert server.free_port(port) == port
    assert server.free_port(0) > 0


def test_a_server_that_dies_at_start_says_why(tmp_path):
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "config.json").write_text('{"model_type": "llama"}')
    params = TransformersServer(
        kind="transformers",
        port=0,
        dtype="bfloat16",
        attention="sdpa",
        cache_blocks=4,
        batch_tokens=64,
        startup_timeout=120,
    )
    with (
        pytest.raises(HallmarkError, match="died while starting") as caught,
        server.serve(["tuned"], tmp_path, 0, params, Compute(device="cpu", threads=1, portable=False)),
    ):
        pass
    assert "processing class in tuned" in str(caught.value)  # transformers' words for a folder without a tokenizer
    assert "exit code 1" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
