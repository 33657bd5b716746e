"""A serving engine that is one object: registered here, measured by `benchmark` and asked by `eval`, no other file edited."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Compute, Text
from hallmark.commands import elsewhere
from hallmark.params.loader import load_params
from hallmark.serve.engine import Engine, StartedEngine, StartedSettings
from hallmark.serve.engines import ENGINES
from hallmark.service.commands import join
from hallmark.task.predictions import read_predictions
from stages import benchmark
from stages import eval as stage_eval
from tests.test_benchmark import WAIT, left_over, make_benchmark_workspace
from tests.test_params import problem, write
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
    change_params(workspace, settings | {"benchmark.parity.artefacts": ["server"], "eval.self_consistency.records": 0})
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
    assert (shipped["name"], shipped["changes"]["texts"], shipped["logits"]) == ("server", 0, None)
    monkeypatch.chdir(ROOT)
    assert left_over(workspace) == []


def test_tools_take_a_new_engine_for_what_it_is(
    toy: Toy, workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    params = load_params(write(tmp_path, {"benchmark.server": BLOCK}))
    with pytest.raises(HallmarkError, match=r"benchmark.server.kind': a server of kind toy can't serve several"):
        join.server_of(params)
    monkeypatch.setattr(Toy, "shares_base", lambda self, settings: True)
    assert join.server_of(params) == params.benchmark.server
    monkeypatch.chdir(workspace)
    (workspace / "reports").mkdir(exist_ok=True)
    (workspace / elsewhere.REPORT).write_text("{}", encoding="utf-8")
    assert elsewhere.reason_to_rerun(params) is not None
    monkeypatch.setattr(Toy, "installed", lambda self, settings: False)
    assert elsewhere.reason_to_rerun(params) is None


@pytest.mark.parametrize("block", ["benchmark.server", "eval.engine"])
def test_an_unknown_kind_lists_the_known_ones(toy: Toy, tmp_path: Path, block: str) -> None:
    known = "endpoint, hf, toy" if block == "eval.engine" else "endpoint, toy, transformers, vllm"
    text = problem(tmp_path, {block: BLOCK | {"kind": "toyy"}})
    assert f"field '{block}.kind': {block}.kind: must be one of {known}" in text
    assert "it is 'toyy'" in text
    for wrong in ("vllm", {"kind": ["vllm"]}):
        assert f"{block}.kind: must be one of {known}" in problem(tmp_path, {block: wrong})


@pytest.mark.parametrize("block", ["benchmark.server", "eval.engine"])
def test_the_keys_of_an_engine_are_checked_as_strictly_as_all_others(toy: Toy, tmp_path: Path, block: str) -> None:
    asking = {"concurrency": 2, "timeout": 30.0} if block == "eval.engine" else {}
    given = BLOCK | asking
    text = problem(tmp_path, {block: given | {"greetin": "hi"}})
    assert f"'{block}.greetin' is not a known parameter" in text
    assert "did you mean 'greeting'?" in text
    text = problem(tmp_path, {block: given | {"zzz": 1}})
    assert f"known here: {', '.join(sorted(given))})" in text  # of this kind alone
    text = problem(tmp_path, {block: {key: value for key, value in given.items() if key != "greeting"}})
    assert f"'{block}.greeting' is missing" in text
    for key, value in {"greeting": "", "port": 70000, "port ": 1, "dtype": "int8", "startup_timeout": "60"}.items():
        assert f"'{block}.{key}'" in problem(tmp_path, {block: given | {key: value}})


def test_how_a_server_is_asked_is_for_eval_alone(toy: Toy, tmp_path: Path) -> None:
    assert "'benchmark.server.concurrency' is not a known" in problem(
        tmp_path, {"benchmark.server": BLOCK | {"concurrency": 2}}
    )
    text = problem(tmp_path, {"eval.engine": BLOCK})
    assert "'eval.engine.concurrency' is missing; 'eval.engine.timeout' is missing" in text
    endpoint = {"kind": "endpoint", "url": "http://x/v1", "names": {"base": "b"}, "concurrency": 1, "timeout": 1.0}
    assert "'eval.engine.key' is missing" in problem(tmp_path, {"eval.engine": endpoint})
    assert "'eval.engine.logprobs' is missing" in problem(tmp_path, {"eval.engine": endpoint | {"key": None}})
    text = problem(tmp_path, {"eval.engine": endpoint | {"key": None, "logprobs": True}})
    assert "field 'eval.engine.names': eval.engine.names: name the model to ask for as tuned" in text
    server = {key: endpoint[key] for key in ("kind", "url", "names")}
    text = problem(tmp_path, {"benchmark.server": server})
    assert "benchmark.server.names: name the model to ask for as tuned" in text


def test_an_engine_is_told_apart_by_its_block_alone(toy: Toy, tmp_path: Path) -> None:
    """What load_params returns is what the file says, for a kind that no file of the pipeline names."""
    asked = BLOCK | {"concurrency": 2, "timeout": 30.0}
    alone = {"eval.engine": asked, "eval.self_consistency.records": 0}
    params = load_params(write(tmp_path, {"benchmark.server": BLOCK, **alone}))
    assert params.benchmark.server == ToySettings(**BLOCK)
    dumped = params.model_dump(mode="json", by_alias=True)
    assert (dumped["benchmark"]["server"], dumped["eval"]["engine"]) == (BLOCK, asked)
    with pytest.raises(HallmarkError, match=r"eval.general.tasks: the chat API gives no likelihoods"):
        load_params(write(tmp_path, {**alone, "eval.general.tasks": ["arc_easy"]}))
    with pytest.raises(
        HallmarkError, match=r"eval.self_consistency.records: set it to 0; answers are sampled in this process"
    ):
        load_params(write(tmp_path, {**alone, "eval.self_consistency.records": 1}))
