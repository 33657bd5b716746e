"""A serving engine that is one object: registered here, measured by `benchmark` and asked by `eval`, no other file edited."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from hallmark.base.params import Compute, Text
from hallmark.params.loader import load_params
from hallmark.serve.engine import Engine, StartedEngine, StartedSettings
from hallmark.serve.engines import ENGINES
from hallmark.task.predictions import read_predictions
from stages import benchmark
from stages import eval as stage_eval
from tests.test_benchmark import WAIT, left_over, make_benchmark_workspace
from tests.test_params import problem
from tests.workspace import ROOT, change_params, report

# Answers in the way of the OpenAI chat API, as a stream or whole, with its model's name and what it was told. Told to, it
# falls ill, and says so from then on, or says nothing any more.
SERVER = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    told = ""

    def do_GET(self):
        if Handler.told == "stand still":
            time.sleep(99)
        self.reply(b"ok", 503 if Handler.told == "fall ill" else 200 if self.path == "/up" else 404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if Handler.told == "fall ill":
            return self.reply(b"{}", 503)
        if body["messages"][-1]["content"] in ("fall ill", "stand still"):
            Handler.told = body["messages"][-1]["content"]
            print("some.kind.OfError: in the text of a request", flush=True)
        text = " ".join([sys.argv[2], os.environ["TOY_WORD"], body["model"], body["toy"]])
        end = {"finish_reason": "stop", "delta": {"content": text}, "message": {"role": "assistant", "content": text}}
        chunk = json.dumps({"choices": [end], "usage": {"completion_tokens": 3}})
        self.reply((f"data: {chunk}\\n\\n" if body.get("stream") else chunk).encode(), 200)

    def reply(self, content, status):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class ToySettings(StartedSettings):
    kind: Literal["toy"]
    greeting: Text


class Toy(StartedEngine[ToySettings]):
    settings = ToySettings
    fields = {"toy": "yes"}  # noqa: RUF012
    ready = "/up"

    def version(self, settings: ToySettings, compute: Compute) -> str:
        return "toy 1.0"

    def command(
        self, models: Sequence[str], folder: Path, port: int, settings: ToySettings, compute: Compute
    ) -> list[str]:
        assert (folder / models[0] / "config.json").exists()
        return [sys.executable, "-c", SERVER, str(port), settings.greeting]

    def variables(self, settings: ToySettings, compute: Compute) -> dict[str, str]:
        return {"TOY_WORD": "there"}


BLOCK: dict[str, Any] = {"kind": "toy", "port": 0, "dtype": "float32", "startup_timeout": WAIT, "greeting": "hello"}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    engine = Toy()
    monkeypatch.setitem(ENGINES, engine.kind, engine)
    return engine


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_benchmark_workspace(tmp_path_factory.mktemp("engines"))


def test_every_module_of_the_folder_is_an_engine() -> None:
    files = {file.stem for file in (ROOT / "hallmark/serve/engines").glob("*.py")} - {"__init__"}
    assert {type(engine).__module__.rpartition(".")[2] for engine in ENGINES.values()} == files
    assert ENGINES.keys() == {"transformers", "vllm", "endpoint"}
    assert all(engine.kind == kind for kind, engine in ENGINES.items())


def test_a_new_engine_is_measured_and_asked(toy: Engine[Any], workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    asking = {"concurrency": 2, "timeout": 30.0}
    settings = {"benchmark.server": BLOCK, "benchmark.models": ["base", "tuned"], "eval.engine": BLOCK | asking}
    change_params(workspace, settings | {"benchmark.parity.artefacts": ["server"]})
    params = load_params()
    for model in ("base", "tuned"):
        stage_eval.run(params, model)
        rows = read_predictions(model)
        assert len(rows) == 10
        assert {(row.prediction, row.tokens, row.finish) for row in rows} == {(f"hello there {model} yes", 3, "stop")}
        assert report(workspace, f"measured/eval_{model}")["server"] == "toy"
    benchmark.run(params)
    measured = report(workspace, "benchmark")
    assert measured["server"] == "toy 1.0"
    for model in ("base", "tuned"):
        (level,) = measured["models"][model]["levels"]
        assert (level["requests"], level["errors"], level["output_tokens"]) == (4, 0, 12)
        assert 0 < measured["models"][model]["startup_s"] < WAIT
    (shipped,) = measured["parity"]["artefacts"]
    assert (shipped["name"], shipped["changes"]["texts"]) == ("server", 0)
    monkeypatch.chdir(ROOT)
    assert left_over(workspace) == []


@pytest.mark.parametrize("block", ["benchmark.server", "eval.engine"])
def test_the_keys_of_an_engine_are_checked_as_strictly_as_all_others(toy: Toy, tmp_path: Path, block: str) -> None:
    asking = {"concurrency": 2, "timeout": 30.0} if block == "eval.engine" else {}
    given = BLOCK | asking
    known = "endpoint, hf, toy" if asking else "endpoint, toy, transformers, vllm"
    for wrong in (BLOCK | {"kind": "toyy"}, "vllm", {"kind": ["vllm"]}):
        assert f"{block}.kind: must be one of {known}" in problem(tmp_path, {block: wrong})
    text = problem(tmp_path, {block: given | {"greetin": "hi"}})
    assert f"'{block}.greetin' is not a known parameter" in text and "did you mean 'greeting'?" in text
    text = problem(tmp_path, {block: {key: value for key, value in given.items() if key != "greeting"}})
    assert f"'{block}.greeting' is missing" in text
    for key, value in {"greeting": "", "port": 70000, "port ": 1, "dtype": "int8", "startup_timeout": "60"}.items():
        assert f"'{block}.{key}'" in problem(tmp_path, {block: given | {key: value}})


def test_how_a_server_is_asked_is_for_eval_alone(toy: Toy, tmp_path: Path) -> None:
    text = problem(tmp_path, {"benchmark.server": BLOCK | {"concurrency": 2}})
    assert "'benchmark.server.concurrency' is not a known" in text
    text = problem(tmp_path, {"eval.engine": BLOCK})
    assert "'eval.engine.concurrency' is missing; 'eval.engine.timeout' is missing" in text
    server = {"kind": "endpoint", "url": "http://x/v1", "names": {"base": "b"}}
    asked = server | {"concurrency": 1, "timeout": 1.0, "key": None, "logprobs": True}
    for block, given in (("eval.engine", asked), ("benchmark.server", server)):
        assert f"{block}.names: name the model to ask for as tuned" in problem(tmp_path, {block: given})
