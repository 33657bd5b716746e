"""Where the results come from, at the foot of the page: with it, a printed page leads back to its commit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from hallmark.base.files import REPORTS, TRAIN
from hallmark.base.machine import describe
from hallmark.base.reports import Report, shape
from hallmark.judge.benchmarked import Machine
from hallmark.judge.reported import passes_per_step
from hallmark.task.predictions import predictions_of

if TYPE_CHECKING:
    from hallmark.params.loader import Params

VERDICT = REPORTS / "gate.json"


TRAINED_ON = shape(date=str, fingerprint=Machine)


def origin(params: Params, served: str) -> list[tuple[str, str]]:
    """Terms and their texts. `served`: when and where the serving was measured.

    A page can't name its commit: it is made before that, and DVC keeps it as it is in every later one. It has the name
    that git gives to the content of gate.json, with which git finds the commit; the other digests are those of dvc.lock.
    """
    stage = "dpo" if params.dpo.enabled else "sft"
    trained = Report(f"measured/{stage}", stage).as_(TRAINED_ON)
    return [
        ("Adapter", params.certify.name),
        ("Base", f"{params.base.name}, {version(params)}"),
        ("Trained", f"{trained.date} on {describe(vars(trained.fingerprint))}"),
        ("Served", served),
        ("Params", ", ".join(settings(params))),
        ("Training data", f"MD5 {md5(TRAIN)}"),
        ("Predictions", f"MD5 {md5(predictions_of('tuned'))}"),
        ("Commit", f"git log --find-object {git_blob(VERDICT)}"),
    ]


def version(params: Params) -> str:
    """Which version of the base it is, in a few characters."""
    base = params.base.model_dump()
    if revision := base.get("revision"):
        return f"revision {revision[:12]}"
    return f"SHA-256 {base['sha256'][:12]}…" if base.get("sha256") else str(base["source"])


def settings(params: Params) -> list[str]:
    """The params that decide most, with their values."""
    sft = params.sft
    length = f"{sft.epochs:g} epochs" if sft.max_steps is None else f"{sft.max_steps} steps"
    return [
        f"seed {params.seed}",
        f"task {params.task.kind}",
        f"mask {params.mask.level}, {params.mask.style}",
        f"{sft.method} r {sft.lora.r}, alpha {sft.lora.alpha}",
        f"learning rate {sft.learning_rate:g}",
        length,
        f"{sft.batch_size * passes_per_step(sft)} records a step"
        if sft.batch_tokens is None
        else f"at most {sft.batch_tokens * passes_per_step(sft)} tokens a step",
        f"dpo {params.dpo.loss}" if params.dpo.enabled else "no dpo",
    ]


def md5(path: Path) -> str:
    """The digest of a file that `dvc.lock` has too."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def git_blob(path: Path) -> str:
    """The name that git gives to the content of a file."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
