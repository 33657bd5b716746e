"""The benchmark with the schema sent along: what is asked, what it fixes, hides and loses, and which servers can."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hallmark.answer.endpoint import answer_schema
from hallmark.base.errors import HallmarkError
from hallmark.base.records import schema as columns
from hallmark.base.records import write_records
from hallmark.params.loader import Params, load_params, resolved
from hallmark.serve.bench import WARMUP_TOKENS
from hallmark.task.task import Task
from stages import benchmark
from tests.rows import refused
from tests.stub_model import ChatServer, Reply
from tests.workspace import ROOT, report

RIGHT = {"intent": "refund", "urgency": "normal", "product": None, "amount": None, "date": None, "issues": []}
WRONG = RIGHT | {"intent": "other"}
# What the server answers to each record freely, and with a schema; None: it refuses.
ANSWERS: list[tuple[Any, Any]] = [
    (RIGHT, RIGHT),
    ("It is a refund.", RIGHT),  # fixed
    ("It is a refund.", WRONG),  # hidden
    (RIGHT, WRONG),  # lost
    (WRONG, WRONG),
    (RIGHT, None),
]


class Server(ChatServer):
    """Streams the answers above; with `closed`, it takes no schema at all."""

    closed = False

    def reply(self, body: dict[str, Any]) -> Reply:
        number = int(body["messages"][-1]["content"].split()[-1])
        held = "response_format" in body
        said = ANSWERS[number][held] if number < len(ANSWERS) else RIGHT
        if said is None or (held and self.closed):
            return 400, {}, b""
        text = said if isinstance(said, str) else json.dumps(said)
        chunks: list[dict[str, Any]] = [
            {"choices": [{"delta": {"content": text}}]},
            {"choices": [{"delta": {}, "finish_reason": "length" if number == 4 else "stop"}]},
            {"choices": [], "usage": {"completion_tokens": 5}},
        ]
        return 200, {}, "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode() + b"data: [DONE]\n\n"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def params_with(folder: Path, **changes: Any) -> Params:
    """The reference's params with a block `benchmark` that differs."""
    values = resolved(ROOT / "params.yaml")
    values["benchmark"] |= changes
    values["task"]["schema"] = str(ROOT / "data/schema.json")
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(values, file)
    return load_params(folder / "params.yaml")


def measured(folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, Any]:
    """The report of a benchmark of the server, on a holdout of seven records."""
    import polars as pl

    rows = [
        {
            "id": f"r{number}",
            "group": f"g{number}",
            "prompt": [{"role": "user", "content": f"Order {number}"}],
            "completion": [{"role": "assistant", "content": json.dumps(RIGHT)}],
            "tags": [],
        }
        for number in range(len(ANSWERS) + 1)
    ]
    monkeypatch.chdir(folder)
    write_records(folder / "data/split/holdout.parquet", pl.DataFrame(rows, schema=columns()))
    settings = {
        "server": {"kind": "endpoint", "url": server.url, "names": {"base": "the-base", "tuned": "the-tuned"}},
        "parity": {"records": 0, "artefacts": []},
        "requests": len(rows) - 1,
        "warmup": 1,
        "concurrency": [2, 4],
        "schema": True,
    }
    benchmark.run(params_with(folder, **settings | changes))
    return dict(report(folder, "benchmark"))


def test_answers_held_to_the_schema_are_compared_with_free_ones_at_the_same_load(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(tmp_path, server, monkeypatch)["schema"]
    assert found["load"] == {"concurrency": 2}
    answers = found["answers"]
    assert answers["records"] == 5, "the one that was refused is not compared"
    assert (answers["fixed"], answers["hidden"], answers["lost"]) == (1, 1, 1)
    assert answers["free"] == {"parses": 3, "schema_validity": 3, "exact_match": 2, "cut_off": 1, "tokens": 25}
    assert answers["constrained"] == {"parses": 5, "schema_validity": 5, "exact_match": 2, "cut_off": 1, "tokens": 25}
    free, held = (found["measured"][name] for name in ("free", "constrained"))
    assert (free["errors"], held["errors"], held["failures"]) == (0, 1, {"HTTP 400": 1})
    assert free["latency_s"]["p95"] > 0 < held["latency_s"]["p95"]

    asked = [body for body in server.asked if "response_format" in body]
    task = Task(load_params(tmp_path / "params.yaml").task)
    form = asked[0]["response_format"]
    assert form == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": answer_schema(task), "strict": True},
    }
    assert all(body["response_format"] == form and body["model"] == "the-tuned" for body in asked)
    timed = [body for body in asked if body["max_tokens"] > WARMUP_TOKENS]
    free_asked = [body for body in server.asked if "response_format" not in body and body["model"] == "the-tuned"]
    first = [body["messages"] for body in free_asked if body["max_tokens"] > WARMUP_TOKENS][: len(timed)]
    assert sorted(map(str, first)) == sorted(str(body["messages"]) for body in timed)
    assert len(asked) == len(timed) + 1, "one to warm up"
    assert server.asked.index(asked[0]) > server.asked.index(free_asked[-1]), "after all free ones"


def test_a_server_that_takes_no_schema_is_an_error(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.closed = True
    with refused(field="benchmark.schema"):
        measured(tmp_path, server, monkeypatch)
    assert not (tmp_path / "reports/benchmark.json").exists()


def test_a_kind_of_server_that_ignores_schemas_is_an_error_that_names_those_that_do_not(tmp_path: Path) -> None:
    with pytest.raises(HallmarkError, match="endpoint or vllm"):
        params_with(tmp_path, schema=True)
    endpoint = {"kind": "endpoint", "url": "http://127.0.0.1:1/v1", "names": {"base": "b", "tuned": "t"}}
    with pytest.raises(HallmarkError, match="measured on the tuned model"):
        params_with(tmp_path, schema=True, server=endpoint, models=["base"])
