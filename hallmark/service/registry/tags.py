"""The tags of a model in git, in the form of GTO: `model@v1.2.0` registers a version, `model#prod#7` puts one into a stage.

`model#canary!#8` takes one out of its stage. The number counts the events of a model, whatever their stage, and orders
them. Below a line for people, a tag's message is one JSON object that says which release is meant, by its digest. Tags are
read as if a stranger had made them, by programs that start none.

Only the grammar of names is GTO's. Its API (1.10) fails on all tags if one has no tagger, points at a tree or is not UTF-8,
or if a commit has two versions; it can't tell a lightweight, moved or forged tag; it can't date a tag, so that of two events
in one second it shows either; it pushes tag by tag; and it reads 1,000 tags in 5 s, where this takes 0.06 s.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import canonical_json
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.release.statements import Hex, Md5, Word

ARTIFACT = "model"  # as `artifacts` of dvc.yaml names it
VERSION = re.compile(r"v(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})", re.ASCII)
LONGEST = 250  # letters of a name; none that this project or GTO makes comes near
BODY = 64 * 2**10  # bytes of a message; a longer one is not read
LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
SECONDS = 20.0  # for git to list the tags
FIELDS = (
    *("%(refname:strip=2)", "%(objecttype)", "%(*objecttype)", "%(*objectname)"),
    *("%(taggerdate:unix)", "%(contents:body)"),
)
Action = Literal["promote", "roll back", "stop"]


# --- messages ----------------------------------------------------------------------------------------------------


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def read(cls, body: str) -> Self | None:
        """From the body of a tag; None if another tool wrote it, such as `gto` or DVC Studio."""
        try:
            return cls.model_validate(strict_json(body))
        except (NotJsonError, ValidationError):
            return None

    def below(self, subject: str) -> str:
        return f"{subject}\n\n{canonical_json(self.model_dump())}"


class Registered(Message):
    """Of a version. `provenance`: SHA-256 of its provenance.json; `release`: what dvc.lock calls `models/release`.

    `adapter`: SHA-256 of its adapter_model.safetensors. `waived`: the rules of the gate that do not hold and were waived.
    """

    adapter: Hex
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
    provenance: Hex
    release: Md5
    verdict: Literal["pass", "pass_with_waivers", "fail", "too_little_data"]
    waived: dict[Word, Annotated[str, StringConstraints(min_length=1, max_length=300)]]


class Happened(Message):
    action: Action
    provenance: Hex
    version: Word


# --- reading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tag:
    """A tag of the model, as git has it. `version` or `stage` is set, as its name says; `commit`: what it points at.

    A lightweight tag has neither commit nor date; an annotated one may lack its date too, if another tool made it.
    """

    name: str
    annotated: bool
    commit: str | None
    date: datetime | None
    body: str
    version: str | None
    stage: str | None
    cancels: bool
    number: int | None


def read_tags(repo: Path, name: str) -> list[Tag]:
    from gto import tag as gto

    form = "%00".join(FIELDS) + "%00"
    output = prov.git("for-each-ref", f"--format={form}", "refs/tags", at=repo, seconds=SECONDS)
    if output is None:
        raise HallmarkError("git could not list the tags", file=repo, remedy="run `git tag`, and do what it says")
    parts = output.decode("utf-8", "replace").split("\0")
    tags = []
    for at in range(0, len(parts) - len(FIELDS), len(FIELDS)):
        ref, kind, of, commit, date, body = parts[at : at + len(FIELDS)]
        ref = ref.removeprefix("\n")
        if not ref.startswith((version_tag(name, ""), event_tag(name, ""))) or len(ref) > LONGEST:
            continue
        parsed = gto.parse_name(ref, raise_on_fail=False)
        if not parsed or parsed["name"] != name:
            continue
        tags.append(
            Tag(
                name=ref,
                annotated=kind == "tag",
                commit=commit if of == "commit" else None,
                date=_date(date),
                body=body if len(body) <= BODY else "",
                version=parsed.get("version"),
                stage=parsed.get("stage"),
                cancels=parsed["action"] in (gto.Action.DEREGISTER, gto.Action.UNASSIGN),
                number=parsed.get("counter"),
            )
        )
    return tags


def _date(seconds: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(min(max(0, int(seconds)), LATEST), UTC)
    except ValueError:
        return None


def full_name(repo: Path) -> str:
    """The name of the model for GTO and DVC: with the folder of this project, if that is not the root of its repository."""
    folder = _path(repo, "--show-prefix").rstrip("/")
    return f"{folder}:{ARTIFACT}" if folder else ARTIFACT


def version_tag(name: str, version: str) -> str:
    return f"{name.replace(':', '=')}@{version}"


def event_tag(name: str, event: str) -> str:
    """The name of the tag of an event, such as `prod#7` or `canary!#8`."""
    return f"{name.replace(':', '=')}#{event}"


def _path(repo: Path, what: str) -> str:
    said = prov.git("rev-parse", what, at=repo)
    if said is None:
        raise HallmarkError("not a git repository", file=repo, remedy="run it in a clone of the project")
    return said.decode(errors="surrogateescape").rstrip("\n")


# --- writing -----------------------------------------------------------------------------------------------------


def one_at_a_time(repo: Path) -> AbstractContextManager[Any]:
    """No other process of this machine changes the registry during the block: it waits until this one is done."""
    from filelock import FileLock

    return FileLock(repo / _path(repo, "--git-common-dir") / "hallmark-registry.lock")


def write_tag(repo: Path, tag: str, commit: str, message: str, date: datetime) -> None:
    """Make an annotated tag of that time, signed if git is set up to sign tags; a HallmarkError if it is there already."""
    words = ("tag", "--annotate", "--cleanup=verbatim", "--file=-", "--", tag, commit)
    if problem := run_git(*words, at=repo, stdin=message, GIT_COMMITTER_DATE=f"{int(date.timestamp())} +0000"):
        remedy = (
            "if it exists by now, run it again; if git does not know you, set `git config user.name` and `user.email`"
        )
        raise HallmarkError(f"git made no tag: {problem}", file=tag, remedy=remedy)


def push_tags(repo: Path, tags: list[str], older: Sequence[str] = ()) -> None:
    """Push new tags and older ones to `origin`, all or none. If it takes none, the new ones are removed here too, since
    another may have that number."""
    refs = [f"refs/tags/{tag}" for tag in (*older, *tags)]
    if problem := run_git("push", "--quiet", "--atomic", "origin", *refs, at=repo):
        for tag in tags:
            prov.git("update-ref", "-d", f"refs/tags/{tag}", at=repo)
        remedy = "run `git fetch --tags origin`, look at `nox -s releases`, and run it again; or leave out --push"
        problem = f"origin did not take {', '.join([*tags, *older])}, so nothing was changed here: {problem}"
        raise HallmarkError(problem, file="origin", remedy=remedy)


def run_git(
    *words: str, at: Path = Path(), stdin: str = "", seconds: float | None = None, **environment: str
) -> str | None:
    """Run git as the user has set it up; why it failed, or None."""
    inherited = {key: value for key, value in os.environ.items() if key not in prov.OF_ANOTHER}
    try:
        done = subprocess.run(
            ["git", "-C", str(at), *words],
            input=stdin.encode(),
            capture_output=True,
            check=False,
            timeout=seconds,
            env=inherited | environment,
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {seconds:g} s"
    said = " ".join(done.stderr.decode(errors="replace").split())[:300]
    return said or f"it ended with {done.returncode}" if done.returncode else None
