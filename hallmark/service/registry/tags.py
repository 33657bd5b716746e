"""The tags of a model in git, in the form of GTO: `model@v1.2.0` registers a version, `model#prod#7` puts one into a stage.

`model#canary!#8` takes one out of its stage. The number counts the events of a model, whatever their stage, and orders
them. Git's own time orders them too, for GTO and DVC, which read nothing else; it counts whole seconds, so each event is
dated a second after the one before at least. Tags are read as if a stranger had made them, by programs that start none.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError

ARTIFACT = "model"  # as `artifacts` of dvc.yaml names it
VERSION = re.compile(r"v(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})", re.ASCII)
LONGEST = 250  # letters of a name; none that this project or GTO makes comes near
BODY = 64 * 2**10  # bytes of a message; a longer one is not read
LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
SECONDS = 20.0  # for git to list the tags
FIELDS = (
    *("%(refname:strip=2)", "%(objecttype)", "%(*objecttype)", "%(*objectname)", "%(objectname)"),
    *("%(taggerdate:unix)", "%(contents:body)"),
)


@dataclass(frozen=True)
class Tag:
    """A tag of the model, as git has it. `version` or `stage` is set, as its name says; `commit`: what it points at."""

    name: str
    annotated: bool
    commit: str | None
    date: datetime | None
    body: str
    version: str | None
    stage: str | None
    cancels: bool
    number: int | None


def full_name(repo: Path) -> str:
    """The name of the model for GTO and DVC: with the folder of this project, if that is not the root of its repository."""
    prefix = prov.git("rev-parse", "--show-prefix", at=repo)
    if prefix is None:
        raise HallmarkError("not a git repository", file=repo, remedy="run it in a clone of the project")
    folder = prefix.decode(errors="surrogateescape").strip("\n").rstrip("/")
    return f"{folder}:{ARTIFACT}" if folder else ARTIFACT


def in_tag(name: str) -> str:
    """The name of a model as its tags begin with it."""
    return name.replace(":", "=")


def read_tags(repo: Path, name: str) -> list[Tag]:
    """Every tag of the model, in the order of their names."""
    from gto.tag import Action, parse_name

    beginning = in_tag(name)
    form = "%00".join(FIELDS) + "%00"
    output = prov.git("for-each-ref", f"--format={form}", "refs/tags", at=repo, seconds=SECONDS)
    if output is None:
        raise HallmarkError("git could not list the tags", file=repo, remedy="run `git tag`, and do what it says")
    parts = output.decode("utf-8", "replace").split("\0")
    tags = []
    for at in range(0, len(parts) - len(FIELDS), len(FIELDS)):
        ref, kind, of, target, own, date, body = parts[at : at + len(FIELDS)]
        ref = ref.removeprefix("\n")
        if not ref.startswith((f"{beginning}@", f"{beginning}#")) or len(ref) > LONGEST:
            continue
        parsed = parse_name(ref, raise_on_fail=False)
        if not parsed or parsed["name"] != name:
            continue
        annotated = kind == "tag"
        tags.append(
            Tag(
                name=ref,
                annotated=annotated,
                commit=(target if of == "commit" else None) if annotated else own,
                date=_date(date),
                body=body if len(body) <= BODY else "",
                version=parsed.get("version"),
                stage=parsed.get("stage"),
                cancels=parsed["action"] in (Action.DEREGISTER, Action.UNASSIGN),
                number=parsed.get("counter"),
            )
        )
    return tags


def _date(seconds: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(min(max(0, int(seconds)), LATEST), UTC)
    except ValueError:
        return None


def event_tag(name: str, stage: str, number: int, *, stop: bool = False) -> str:
    """The name of the tag of an event."""
    return f"{in_tag(name)}#{stage}{'!' if stop else ''}#{number}"


def version_tag(name: str, version: str) -> str:
    """The name of the tag of a version."""
    return f"{in_tag(name)}@{version}"


def date_after(tags: list[Tag]) -> datetime:
    """Now, or a second after the last of the events, so that git's times have the order of the events."""
    last = max((tag.date.timestamp() for tag in tags if tag.stage and tag.date), default=0.0)
    return datetime.fromtimestamp(min(max(int(time.time()), last + 1), LATEST), UTC)


def write_tag(repo: Path, tag: str, commit: str, message: str, date: datetime) -> None:
    """Make an annotated tag, signed if git is set up to sign tags; a HallmarkError if there is one of that name."""
    environment = {key: value for key, value in os.environ.items() if key not in prov.OF_ANOTHER}
    environment["GIT_COMMITTER_DATE"] = f"{int(date.timestamp())} +0000"
    command = ["git", "-C", str(repo), "tag", "--annotate", "--cleanup=verbatim", "--file=-", "--", tag, commit]
    done = subprocess.run(command, input=message.encode(), capture_output=True, env=environment, check=False)
    if done.returncode == 0:
        return
    said = " ".join(done.stderr.decode(errors="replace").split())[:300]
    if "already exists" in said:
        raise HallmarkError(
            "there is such a tag by now", file=tag, remedy="look at `nox -s releases`, and run it again"
        )
    remedy = "run `git tag -a try`, and do what git says; set `git config user.name` and `user.email` if they are not"
    raise HallmarkError(f"git made no tag: {said}", file=tag, remedy=remedy)


def push_tags(repo: Path, tags: list[str]) -> None:
    """Push tags to `origin`, all or none. If it takes none they are removed here too, since another may have that number."""
    command = ["git", "-C", str(repo), "push", "--quiet", "--atomic", "origin", *(f"refs/tags/{tag}" for tag in tags)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode == 0:
        return
    for tag in tags:
        prov.git("update-ref", "-d", f"refs/tags/{tag}", at=repo)
    said = " ".join(done.stderr.decode(errors="replace").split())[:300]
    remedy = "run `git fetch --tags origin`, look at `nox -s releases`, and run it again; or leave out --push"
    raise HallmarkError(f"origin did not take {', '.join(tags)}, so nothing was changed here: {said}", remedy=remedy)


@contextmanager
def one_at_a_time(repo: Path) -> Iterator[None]:
    """Let no other process of this machine make tags of the registry during the block."""
    folder = prov.git("rev-parse", "--path-format=absolute", "--git-common-dir", at=repo)
    if folder is None:
        raise HallmarkError("not a git repository", file=repo, remedy="run it in a clone of the project")
    place = Path(folder.decode(errors="surrogateescape").rstrip("\n")) / "hallmark-registry.lock"
    handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
