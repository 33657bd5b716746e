"""The benchmark with the real server and a tiny model."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from ruamel.yaml import YAML

from hallmark.answer import artefact_sample
from hallmark.answer.parity import Cost
from hallmark.base.files import ADAPTER, BASE, HOLDOUT, QUANTIZED, write_json
from hallmark.base.records import read_records
from hallmark.model.adapter import TRAINING, weights_in
from hallmark.params.loader import load_params
from hallmark.serve.bench import largest_load
from hallmark.serve.server import free_port, machine
from tests import hostile
from tests.rows import record, refused, write_masked
from tests.test_model_card import make_adapter, write_gguf
from tests.tiny import quantize
from tests.workspace import change_params, make_tiny_workspace, program, report, stage

JSON = {"content-type": "application/json"}
WAIT = 300  # seconds: a server starts in five, unless the machine is busy


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = make_benchmark_workspace(tmp_path_factory.mktemp("benchmark"))
    change_params(folder, {"benchmark.max_tokens": 16, "benchmark.parity.records": 10})  # 16: as in eval
    stage(folder, "eval", "--model", "tuned")
    return folder


def make_benchmark_workspace(folder: Path) -> Path:
    """A workspace with a base, an adapter that changes every answer, and a holdout of ten records."""
    # its records are made up, so there are no raw rows to ask again
    folder = make_tiny_workspace(folder, {"benchmark.server.startup_timeout": WAIT, "serve.mask": False})
    (folder / "models").mkdir()
    (folder / "tiny").rename(folder / "models/base")
    base = folder / "models/base"
    adapter = make_adapter(base, folder / "models/adapter")
    write_json(adapter / TRAINING, {"base_precision": "nf4", "weights": weights_in(quantize(base))})
    texts = [f'Order {i} arrived broken. <b>"quoted"</b> {{{{ x }}}} ' * (1 + i % 3) for i in range(10)]
    rows = [record(f"r{i}", text, '{"intent":"refund"}', f"g{i}") for i, text in enumerate(texts)]
    write_masked(rows, folder / HOLDOUT)
    return folder


def left_over(folder: Path) -> list[str]:
    """Temporary folders in the workspace's models, and processes that run in it or were started for it."""
    found = [path.name for path in (folder / "models").iterdir() if path.name.startswith(".")]
    for process in psutil.process_iter():
        try:
            if any(str(folder) in part for part in [process.cwd(), *process.cmdline()]):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.mark.full
def test_both_models_are_measured_in_a_closed_and_an_open_loop(workspace):
    change_params(
        workspace,
        {
            "benchmark.models": ["base", "tuned"],
            "benchmark.concurrency": [2],
            "benchmark.rates": [20.0],
            "benchmark.objective": {"ttft": WAIT, "latency": WAIT, "share": 0.95},
            "benchmark.price_per_hour": 1.0,
            "benchmark.timeout": WAIT,
        },
    )
    half = "import time\nwhile True:\n    while time.time() % 0.1 < 0.05: pass\n    time.sleep(0.05)"  # of a core
    with subprocess.Popen([sys.executable, "-c", half]) as other:  # next to the benchmark, not below it
        try:
            result = stage(workspace, "benchmark")
        finally:
            other.kill()
    found = report(workspace, "benchmark")
    params = load_params(workspace / "params.yaml")
    assert found["measured"]["machine"] == machine(params.benchmark.server, params.compute)
    assert set(found["models"]) == {"base", "tuned"}
    for model in found["models"].values():
        assert [set(level) & {"concurrency", "rate"} for level in model["levels"]] == [{"concurrency"}, {"rate"}]
        assert 0 < model["startup_s"] < WAIT
        assert model["peak_memory_mib"] > 100
        assert model["largest_load"].items() >= {"concurrency": 2, "rate": 20.0}.items()
        for level in model["levels"]:
            assert (level["requests"], level["errors"], level["timeouts"]) == (4, 0, 0)
            assert 4 <= level["output_tokens"] <= 4 * 16
            assert 0 < level["ttft_s"]["p50"] <= level["latency_s"]["p50"] <= level["latency_s"]["p99"]
            if sys.platform == "linux":
                assert 0.2 / (os.cpu_count() or 1) < level["load_by_others"]["processes"] < 1
    compared = found["parity"]
    assert (compared["records"], compared["groups"]) == (10, 10)
    shipped = {one["name"]: one for one in compared["artefacts"]}
    assert list(shipped) == ["adapter", "merged", "q8_0", "q4_k_m", "server"]
    assert shipped["q8_0"]["reason"] == "llama.cpp's convert_hf_to_gguf.py is not on the PATH"
    # The file that ships holds what was evaluated, and answers in the same batch: any change is a mistake in its making.
    assert shipped["merged"]["changes"]["texts"] == 0
    at_once = {name: shipped[name]["cost"]["at_once"] for name in ("adapter", "merged", "server")}
    assert at_once == {"adapter": 6, "merged": 6, "server": 2}  # the longest four are a batch of their own
    assert "Order" not in result.stdout + result.stderr
    assert left_over(workspace) == []


def test_a_gguf_file_is_scored_where_llama_cpp_is_and_an_adapter_in_4_bits(workspace, tmp_path, monkeypatch):
    """llama.cpp is not installed here: in place of its programs stands one that copies a file made with its library."""
    from hallmark.answer.artefacts import Options, measure_artefacts
    from hallmark.answer.shipped import Shipped, read_evaluated
    from hallmark.model.loading import write_merged

    monkeypatch.chdir(workspace)
    write_merged(ADAPTER, QUANTIZED, "bfloat16", tmp_path / "merged")
    made = write_gguf(tmp_path / "merged", tmp_path / "gguf/made.gguf")
    for name, script in (
        ("convert_hf_to_gguf.py", f'test -f "$1/model.safetensors" && cp "{made}" "$3"'),
        ("llama-quantize", 'test "$3" = Q4_K_M && cp "$1" "$2"'),
    ):
        program(tmp_path / "bin" / name, script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    params, records = load_params(), read_records(HOLDOUT).rows(named=True)
    sample = Shipped(params, records, read_evaluated(records, params), [], range(len(records)))
    options = Options("bfloat16", "sdpa", "cpu", 10, 16)
    names = ["nf4", "merged", "q8_0", "q4_k_m"]
    found = {
        one.name: one
        for one in measure_artefacts(names, BASE, QUANTIZED, ADAPTER, sample._sample, sample._prompts, options)
    }
    for name in ("q8_0", "q4_k_m"):
        assert found[name].reason is None
        assert found[name].cost == Cost(disk_mib=round(made.stat().st_size / 2**20, 1))
    assert found["nf4"].cost.memory_mib < found["merged"].cost.memory_mib

    write_json(tmp_path / "adapter/training.json", {"base_precision": "bfloat16"})
    for file in ADAPTER.iterdir():
        if file.name != TRAINING:
            shutil.copyfile(file, tmp_path / "adapter" / file.name)
    (tmp_path / "bin/llama-quantize").write_text("#!/bin/sh\nexit 3\n")
    names = ["nf4", "q4_k_m"]
    found = measure_artefacts(names, BASE, QUANTIZED, tmp_path / "adapter", sample._sample, sample._prompts, options)
    assert [one.reason for one in found] == [
        "the adapter was trained over a base in bfloat16",
        "llama.cpp's llama-quantize failed",
    ]
    assert [entry.name for entry in Path("models").iterdir() if entry.name.startswith(".")] == []


def test_a_taken_port_is_an_error_before_a_model_is_loaded_and_the_report_stays(workspace):
    before = b"{}"
    (workspace / "reports/benchmark.json").write_bytes(before)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        change_params(workspace, {"benchmark.server.port": port})
        result = stage(workspace, "benchmark", check=False)
    change_params(workspace, {"benchmark.server.port": 0})
    assert result.returncode == 1
    assert result.stderr.startswith("benchmark: error: params.yaml, field 'benchmark.server.port'")
    assert (workspace / "reports/benchmark.json").read_bytes() == before
    assert left_over(workspace) == []


@contextmanager
def serving(workspace: Path, *options: str, **changes: Any) -> Iterator[tuple[subprocess.Popen, str]]:
    """`nox -s serve` with the adapter, which is no release, and the line that it said; params.yaml is put back."""
    before = (workspace / "params.yaml").read_bytes()
    change_params(workspace, {"certify.name": "tickets", "benchmark.server.cache_blocks": 4} | changes)
    command = [sys.executable, "-m", "hallmark.service.commands.serve", "models/adapter", "--ungated", *options]
    environment = os.environ | {"PYTHONPATH": str(workspace)}
    process = subprocess.Popen(command, cwd=workspace, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        (workspace / "params.yaml").write_bytes(before)


def test_what_is_served_answers_as_the_model_does_and_is_measured_as_an_endpoint(workspace, monkeypatch):
    monkeypatch.setattr(hostile, "MODEL", "tickets")
    port = free_port(0)
    url = f"http://127.0.0.1:{port}/v1"
    with serving(workspace, "--direct", "--port", str(port)) as (process, line):
        assert line.startswith(f"{url} answers as the model 'tickets'; it is not")
        listening = [c for c in psutil.net_connections() if c.laddr and c.laddr.port == port and c.status == "LISTEN"]
        assert {c.laddr.ip for c in listening} == {"127.0.0.1"}

        messages = [{"role": "user", "content": "Order 1 arrived broken"}]
        body = {"model": "tickets", "messages": messages, "temperature": 0, "max_tokens": 12}

        def answer() -> str:
            answered = httpx.post(f"{url}/chat/completions", json=body, timeout=WAIT, trust_env=False)
            return answered.json()["choices"][0]["message"]["content"]

        right = generate(workspace, messages, 12)
        assert answer() == right
        wrong = httpx.post(f"{url}/chat/completions", json=body | {"model": "tuned"}, timeout=WAIT, trust_env=False)
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (404, "model_not_found")
        attack(port, 4 * 256)
        assert answer() == right

        endpoint = {"kind": "endpoint", "url": url, "names": {"tuned": "tickets"}}
        params = YAML(typ="safe", pure=True).load(workspace / "params.yaml")
        params["benchmark"] |= {"server": endpoint, "models": ["tuned"], "rates": []}
        (workspace / "params.yaml").write_text(json.dumps(params))  # JSON is YAML
        stage(workspace, "benchmark")
        found = report(workspace, "benchmark")
        assert found["server"] == "endpoint"
        assert found["models"]["tuned"]["levels"][0]["load_by_others"] is None, "it may run here, as this one does"
        assert found["models"]["tuned"]["startup_s"] is found["models"]["tuned"]["peak_memory_mib"] is None
        assert found["models"]["tuned"]["levels"][0]["errors"] == 0
        assert process.poll() is None  # it isn't ours to stop

        before = (workspace / "reports/benchmark.json").read_bytes()
        change_params(workspace, {"benchmark.server.names.tuned": "another-name"})
        result = stage(workspace, "benchmark", check=False)
        assert (result.returncode, "HTTP 404" in result.stderr) == (1, True)
        assert (workspace / "reports/benchmark.json").read_bytes() == before

        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert left_over(workspace) == []


def attack(port: int, limit: int) -> None:
    """A hundred hostile requests, prompts of all lengths around the limit, and connections that say nothing or little."""
    url = f"http://127.0.0.1:{port}"
    chat = f"{url}/v1/chat/completions"
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    for number, connection in enumerate(idle):
        sent = head + "Content-Length: 999\r\n\r\n{" if number % 2 else head
        connection.sendall(sent.encode()[: 20 * (number + 1)])
    with httpx.Client(timeout=WAIT, trust_env=False) as client:
        for number, request in enumerate(hostile.requests(2, 100, port, limit)):
            content, headers = request.body, request.headers
            status = client.request(request.method, url + request.path, content=content, headers=headers).status_code
            assert 400 <= status < 500, f"request {number} was let through: {status}"
        largest = 0
        for length in range(limit - 30, limit + 10, 3):  # one token a letter, and a few of the template
            response = client.post(chat, content=hostile.chat("x" * length), headers=JSON)
            if response.status_code == 200:
                largest = response.json()["usage"]["prompt_tokens"]
            else:
                assert response.json()["error"]["code"] == "context_length_exceeded"
        assert limit - 5 <= largest <= limit - 2
    asyncio.run(attack_at_once(chat, limit))
    assert httpx.get(f"{url}/health", trust_env=False).json() == {"status": "ok"}
    for connection in idle:
        connection.close()


async def attack_at_once(chat: str, limit: int) -> None:
    """More than the cache holds, and requests that claim to be the same one: each gets its own answer."""
    async with httpx.AsyncClient(timeout=WAIT, trust_env=False) as client:

        async def ask(content: str, tokens: int) -> int:
            body = hostile.chat(content, max_tokens=tokens)
            response = await client.post(chat, content=body, headers=JSON | {"x-request-id": "the same"})
            assert isinstance(response.json()["choices"][0]["message"]["content"], str)
            return response.json()["usage"]["prompt_tokens"]

        await asyncio.gather(*(ask("x" * (limit - 60), 40) for _ in range(6)))
        contents = ["Order 1", "arrived in pieces", "broken, as the two before it were"]
        alone = [await ask(content, 9) for content in contents]
        assert len(set(alone)) == len(contents)
        # The texts of a random model depend on what else is in the batch; whose prompt an answer is to does not.
        assert await asyncio.gather(*(ask(content, 9) for content in contents)) == alone
        assert len(set(alone)) > 1


def generate(workspace: Path, messages: list[dict[str, str]], tokens: int) -> str:
    """The greedy answer of the base with the adapter, by transformers alone."""
    from hallmark.model.loading import load_tokenizer, load_tuned

    base, adapter = workspace / "models/quantized", workspace / "models/adapter"
    model = load_tuned(base, adapter, dtype="bfloat16", attention="sdpa", device="cpu", merge=True)
    tokenizer = load_tokenizer(base)
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    return tokenizer.decode(output, skip_special_tokens=True)


def test_prompts_without_room_for_a_timed_answer_are_not_timed(monkeypatch):
    monkeypatch.setattr(artefact_sample, "room_in", lambda _: len)  # of made-up prompts, as long as their room
    prompts = ["x" * room for room in (50, 90, 200)]
    assert artefact_sample.rows_with_room(prompts, 60, 100) == ([1, 2], [2])
    with refused():
        artefact_sample.rows_with_room(prompts, 60, 300)


def test_the_largest_load_is_the_last_before_the_objective_breaks():
    levels = [{"concurrency": load, "objective_kept": kept} for load, kept in ((8, 0.9), (1, 1.0), (4, 0.95))]
    found = largest_load([*levels, {"rate": 1, "objective_kept": 0.5}], 0.95)
    assert (found["concurrency"], found["rate"]) == (4, None)
    assert largest_load([*levels, {"concurrency": 16, "objective_kept": 1.0}], 0.95)["concurrency"] == 4
