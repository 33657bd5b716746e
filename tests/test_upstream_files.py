"""The configuration files in docs/upstreams: each is what its tool reads, and names models and metrics that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

from hallmark.service.gateway.telemetry import METRICS
from tests.test_serve import ask, folder, gateway  # noqa: F401 (fixtures)
from tests.workspace import ROOT

FOLDER = ROOT / "docs/upstreams"


def read(name: str) -> Any:
    return YAML(typ="safe").load((FOLDER / name).read_text(encoding="utf-8"))


def test_every_file_is_shown() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    for file in FOLDER.iterdir():
        assert f"upstreams/{file.name})" in pages


def test_litellm_passes_on_what_is_asked_and_answers_by_no_other_model() -> None:
    found = read("litellm.yaml")
    assert found["litellm_settings"]["drop_params"] is False
    assert found["router_settings"]["num_retries"] == 0
    assert "fallbacks" not in found["router_settings"] | found["litellm_settings"]
    for model in found["model_list"]:
        key = model["litellm_params"]["api_key"]
        assert key == "none" or key.startswith("os.environ/")


def test_the_dashboard_asks_for_metrics_and_labels_that_the_gateway_exports(folder: Path) -> None:  # noqa: F811
    with gateway(folder) as (_, line):
        base = line.split("/v1 ")[0]
        trace = ask(line, text="so it is").headers["x-hallmark-trace"]
        assert httpx.post(f"{base}/v1/chat/completions", json={}, trust_env=False).status_code == 400
        said = {"trace_id": trace, "verdict": "accepted"}
        assert httpx.post(f"{base}/v1/feedback", json=said, trust_env=False).status_code == 202
        exported = httpx.get(f"{base}/metrics", trust_env=False).text
    board = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    asked = [(target["expr"], target["legendFormat"]) for target in targets]
    asked += [(one["expr"], one["titleFormat"]) for one in board["annotations"]["list"]]
    seen: set[str] = set()
    for query, legend in asked:
        shown = set(re.findall(r"{{(\w+)}}", legend))
        grouped = {name for names in re.findall(r"by \(([^)]*)\)", query) for name in names.split(", ")}
        assert shown <= grouped or "by (" not in query
        metrics = re.findall(r"(hallmark_\w+)(?:{(\w+)(!?=)\"(\w+)\"})?", query)
        assert metrics
        for name, label, sign, value in metrics:
            family = re.sub(r"(_seconds)_(sum|count|bucket)$", r"\1", name)
            assert family in METRICS
            lines = [line for line in exported.splitlines() if re.match(rf"{name}[ {{]", line)]
            seen |= {name} if lines else set()
            for one in ({label} - {""}) | grouped | shown if lines else ():
                assert all(f'{one}="' in line for line in lines)
            if lines and sign == "=":
                assert any(f'{label}="{value}"' in line for line in lines)
    assert len(seen) >= 12, seen
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]}) == len(board["panels"])
