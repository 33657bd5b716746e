"""What the tags of the registry say, below a line for people: one JSON object, read as if a stranger had written it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from hallmark.base.files import canonical_json
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.judge.verdict import VERDICTS
from hallmark.release.statements import Hex, Md5, Word

Action = Literal["promote", "roll back", "stop"]
Line = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Registered(Form):
    """Of a version. `provenance`: SHA-256 of its provenance.json; `release`: what dvc.lock calls `models/release`.

    `adapter`: SHA-256 of its adapter_model.safetensors. `waived`: the rules of the gate that do not hold and were waived.
    """

    adapter: Hex
    commit: Commit
    provenance: Hex
    release: Md5
    verdict: Literal["pass", "pass_with_waivers", "fail", "too_little_data"]
    waived: dict[Word, Line]


class Happened(Form):
    """Of an event: what was done, and with which version."""

    action: Action
    provenance: Hex
    version: Word


def registered(body: str) -> Registered | None:
    """What the tag of a version says; None if it is not of the form that `nox -s release` writes."""
    try:
        return Registered.model_validate(strict_json(body))
    except (NotJsonError, ValidationError, RecursionError):
        return None


def happened(body: str) -> Happened | None:
    """What the tag of an event says; None if another tool wrote it, such as `gto assign` or DVC Studio."""
    try:
        return Happened.model_validate(strict_json(body))
    except (NotJsonError, ValidationError, RecursionError):
        return None


def message_of_version(version: str, said: Registered) -> str:
    """The message of the tag of a version."""
    waived = f", {len(said.waived)} waived" if said.waived else ""
    return f"{version}: {VERDICTS[said.verdict].lower()}{waived}\n\n{canonical_json(said.model_dump())}"


def message_of_event(stage: str, said: Happened) -> str:
    """The message of the tag of an event."""
    words = {"promote": f"{said.version} to {stage}", "roll back": f"{stage} back to {said.version}"}
    subject = words.get(said.action, f"{said.version} out of {stage}")
    return f"{subject}\n\n{canonical_json(said.model_dump())}"
