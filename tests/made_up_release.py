"""A tiny release and the clone it came from, made in milliseconds, and the work of a careful forger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hallmark.base import provenance as prov
from hallmark.base.files import canonical_json, sha256_file, write_json
from tests.workspace import written

FILES = {
    "adapter_config.json": b'{"r": 4}\n',
    "adapter_model.safetensors": bytes(range(256)),
    "training.json": b'{"base_precision": "nf4"}\n',
}
MADE = {"README.md": b"# A card\n", "LICENSE": b"Free\n"}
CASCADE: dict[str, Any] = {
    "version": 1,
    "raw_scores": ["mean", "least", "sum", "least_field"],
    "score": {
        "means": [0.0] * 4,
        "scales": [1.0] * 4,
        "weights": [1.0, 0.0, 0.0, 0.0],
        "intercept": 0.0,
        "method": "platt",
        "slope": 1.0,
        "offset": 0.0,
        "knots": [],
    },
    "threshold": 0.9,
    "max_risk": 0.05,
    "confidence": 0.9,
    "groups": 60,
    "fallback": "human",
}
PARAMS = {
    "seed": 7,
    "certify": {"name": "tickets"},
    "sft": {"method": "qlora", "learning_rate": 0.001, "dtype": "bfloat16", "lora": {"r": 4}},
}
INPUTS = {"data/raw/tickets.jsonl": ("raw data", b'{"id": "1"}\n'), "stages/sft.py": ("code", b"LOSS = 1\n")}
RULES = [{"name": "floor.parses", "outcome": "fail"}, {"name": "sample.records", "outcome": "pass"}]
GATE = {"verdict": "fail", "words": "Must not ship.", "rules": RULES}

Parts = dict[str, Any]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def parts() -> Parts:
    """What the release says, to be changed before it is written."""
    inputs = [
        prov.descriptor(name, hashlib.sha256(content).hexdigest(), role) for name, (role, content) in INPUTS.items()
    ]
    base = {"source": "folder", "revision": "local", "licence": "apache-2.0", "role": "base model"}
    library = {"role": "installed library", "version": "2.0"}
    dependencies = [
        *inputs,
        prov.descriptor("models/base/config.json", "0" * 64, "base weights"),
        {"name": "tiny", "annotations": base},
        {"name": "source", "annotations": {"role": "commit", "changed": [], "note": ""}},
        {"name": "torch", "annotations": library},
        prov.descriptor("fingerprint", "0" * 64, "environment", threads=2),
    ]
    return {"files": dict(FILES), "made": dict(MADE), "params": PARAMS, "gate": GATE, "dependencies": dependencies}


def write_release(folder: Path, it: Parts) -> prov.Stages:
    """Write a release all of whose hashes are right; returns the stages that it names."""
    written(folder, it["files"] | it["made"])
    gate = canonical_json(it["gate"]).encode()
    adapter = prov.folder_md5({name: md5(content) for name, content in it["files"].items()})
    stages = {
        "sft": {"cmd": "train", "deps": {"stages/sft.py": md5(b"LOSS = 1\n")}, "params": {}, "outs": {}},
        "gate": {"cmd": "judge", "deps": {"models/adapter": adapter}, "params": {}, "outs": {}},
    }
    stages["sft"]["outs"] = {"models/adapter": adapter}
    stages["gate"]["outs"] = {"reports/gate.json": md5(gate)}
    subjects = {name: hashlib.sha256(content).hexdigest() for name, content in it["files"].items()}
    byproducts = [
        prov.descriptor(name, hashlib.sha256(content).hexdigest(), "release file")
        for name, content in it["made"].items()
    ]
    byproducts.append(prov.descriptor("reports/gate.json", hashlib.sha256(gate).hexdigest(), "report"))
    statement = prov.provenance(
        subjects=subjects, params=it["params"], stages=stages, dependencies=it["dependencies"], byproducts=byproducts
    )
    write_json(folder / prov.PROVENANCE, statement)
    write_json(folder / prov.VERDICT, prov.verdict(subjects, sha256_file(folder / prov.PROVENANCE), it["gate"]))
    return stages


def write_clone(root: Path, release: Path, stages: prov.Stages) -> None:
    """Write the repository that the release came from, its `dvc.lock` included."""
    written(root, {name: content for name, (_, content) in INPUTS.items()})
    hashes = {file.relative_to(release).as_posix(): md5(file.read_bytes()) for file in prov.files_in(release)}
    certify = {"cmd": "certify", "deps": {}, "params": {}, "outs": {"models/release": prov.folder_md5(hashes)}}
    lock = {
        name: {"cmd": stage["cmd"]}
        | {part: [{"path": path, "md5": at} for path, at in stage[part].items()] for part in ("deps", "outs")}
        for name, stage in (stages | {"certify": certify}).items()
    }
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": lock}), encoding="utf-8")  # JSON is YAML
    (root / "params.yaml").write_text(json.dumps(PARAMS), encoding="utf-8")


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    """Change the value of a JSON file, and write it as `certify` would."""
    value = json.loads(file.read_text(encoding="utf-8"))
    change(value)
    write_json(file, value)
