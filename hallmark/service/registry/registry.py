"""The versions of the model and what is in which stage, from the tags of a repository: only git, no network.

A tag that can't be trusted is never followed. It is listed with the reason, and if it is the last event of a stage, asking
for that stage is an error: going on with the version before would be a rollback that nobody decided. That a release is what
its tag says is checked where one is taken (`arrival.py`), since its files are DVC's.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from hallmark.base import provenance as prov
from hallmark.base.dvc_lock import YAML_BYTES
from hallmark.base.errors import HallmarkError
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.judge.verdict import SHIPS, VERDICTS
from hallmark.service.registry.message import Action, happened, registered
from hallmark.service.registry.tags import SECONDS, VERSION, Tag, full_name, read_tags, version_tag

PROD, CANARY = "prod", "canary"
STAGES = (PROD, CANARY)
LOCK, HEADLINE = "dvc.lock", "reports/headline.json"
HEADLINE_BYTES = 64 * 2**10


@dataclass(frozen=True)
class Version:
    """A registered release, as its tag says. `digest`: SHA-256 of its provenance.json; `release`: its hash in dvc.lock.

    `adapter`: SHA-256 of its adapter_model.safetensors. `headline`: reports/headline.json of its commit, {} if none is there.
    """

    version: str
    commit: str
    date: datetime
    digest: str
    verdict: str
    waived: dict[str, str] = field(hash=False)
    headline: dict[str, Any] = field(hash=False)
    release: str
    adapter: str

    @property
    def order(self) -> tuple[int, ...]:
        """By which versions are sorted."""
        return order(self.version)

    @property
    def ships(self) -> bool:
        """Whether its gate passed, with waivers or without."""
        return self.verdict in SHIPS


@dataclass(frozen=True)
class Event:
    """A version went into a stage, back into it, or out of it."""

    tag: str
    number: int
    date: datetime
    stage: str
    version: str
    action: Action


@dataclass(frozen=True)
class Problem:
    """A tag that can't be followed, and why."""

    tag: str
    reason: str


@dataclass(frozen=True)
class Registry:
    """`versions`: the lowest first. `events`: of the tags that can be trusted, in their order. `unsound`: stages whose last
    event can't be. `tags`: all of the model."""

    repo: Path
    name: str
    versions: list[Version]
    events: list[Event]
    problems: list[Problem]
    unsound: dict[str, Problem]
    tags: list[Tag]

    @classmethod
    def read(cls, repo: Path = Path()) -> Registry:
        """The registry of a repository."""
        name = full_name(repo)
        tags = read_tags(repo, name)
        problems: list[Problem] = []
        versions = _versions(repo, name, [tag for tag in tags if tag.version], problems)
        events: list[Event] = []
        unsound: dict[str, Problem] = {}
        known = {version.version: version for version in versions}
        for tag in sorted((tag for tag in tags if tag.stage in STAGES), key=_sequence):
            stage = str(tag.stage)
            try:
                events.append(_event(tag, known, name))
                unsound.pop(stage, None)
            except _UnsoundError as error:
                problem = Problem(tag.name, str(error))
                problems.append(problem)
                if tag.annotated and tag.number is not None:  # GTO and DVC pass over one that is not, too
                    unsound[stage] = problem
        problems += [*_out_of_order(events), *_missing(tags, name)]
        return cls(repo, name, versions, events, problems, unsound, tags)

    def find(self, version: str) -> Version:
        """A version by its name; a HallmarkError that says why there is none."""
        found = next((one for one in self.versions if one.version == version), None)
        if found is not None:
            return found
        tag = version_tag(self.name, version)
        reasons = [problem.reason for problem in self.problems if problem.tag == tag]
        if reasons:
            remedy = "take the tag as it was (`git fetch origin --tags --force`), or register another version"
            raise HallmarkError("; ".join(reasons), file=tag, remedy=remedy)
        listed = ", ".join(one.version for one in self.versions[-5:]) or "none"
        remedy = f"name one that is registered ({listed}); `nox -s releases` lists all; another clone's tags: `git fetch --tags`"
        raise HallmarkError("no such version", file=tag if VERSION.fullmatch(version) else version[:80], remedy=remedy)

    def in_stage(self, stage: str) -> Version | None:
        """The version in a stage; a HallmarkError if the stage's last event can't be trusted."""
        if problem := self.unsound.get(stage):
            remedy = f"take the tags as they were (`git fetch origin --tags --force`), or decide again: `nox -s promote -- VERSION {stage}`"
            if stage == PROD:
                remedy += ", or `nox -s rollback`"
            raise HallmarkError(problem.reason, file=problem.tag, remedy=remedy)
        event = self.event_of(stage)
        return self.find(event.version) if event else None

    def event_of(self, stage: str) -> Event | None:
        """The event that put the version that is in a stage there."""
        current: Event | None = None
        for event in self.events:
            if event.stage != stage:
                continue
            if event.action != "stop":
                current = event
            elif current is not None and current.version == event.version:
                current = None
        return current

    def before_in_prod(self) -> Version | None:
        """What prod goes back to: the version before the one that is there, and after a rollback the one before that.

        If the last event can't be trusted, it is the last version before it that could.
        """
        stack: list[str] = []
        for event in self.events:
            if event.stage != PROD:
                continue
            if event.action == "roll back" and event.version in stack:
                while stack[-1] != event.version:  # it may have been there earlier too, and others between
                    stack.pop()
            elif event.action != "stop" and event.version not in stack[-1:]:
                stack.append(event.version)
        before = stack if PROD in self.unsound else stack[:-1]
        return self.find(before[-1]) if before else None

    def still_in(self, stage: str) -> list[str]:
        """The versions that went into a stage and were never taken out of it: to GTO, each is still there, or may be again."""
        inside: dict[str, None] = {}
        for event in self.events:
            if event.stage == stage:
                inside.pop(event.version, None)
                if event.action != "stop":
                    inside[event.version] = None
        return [*inside]

    @property
    def next_number(self) -> int:
        """The number of the next event, as GTO counts."""
        return 1 + max((tag.number for tag in self.tags if tag.number is not None), default=0)


class _UnsoundError(Exception):
    """Why a tag is not followed."""


def order(version: str) -> tuple[int, ...]:
    """The numbers of a version."""
    return tuple(int(part) for part in version[1:].split("."))


def _sequence(tag: Tag) -> tuple[int, float, str]:
    """Events by their number: git's time counts whole seconds, and the clocks of two machines differ."""
    return tag.number or 0, tag.date.timestamp() if tag.date else 0.0, tag.name


def _versions(repo: Path, name: str, tags: list[Tag], problems: list[Problem]) -> list[Version]:
    withdrawn = {tag.version for tag in tags if tag.cancels and tag.annotated}
    plain = [tag for tag in tags if not tag.cancels]
    files = read_at(repo, [(tag.commit, path) for tag in plain if tag.commit for path in (LOCK, HEADLINE)])
    found = []
    for tag in plain:
        try:
            found.append(_version(tag, name, withdrawn, files))
        except _UnsoundError as error:
            problems.append(Problem(tag.name, str(error)))
    return sorted(found, key=lambda version: version.order)


def _version(
    tag: Tag, name: str, withdrawn: Iterable[str | None], files: dict[tuple[str, str], bytes | None]
) -> Version:
    version = str(tag.version)
    if not VERSION.fullmatch(version) or tag.name != version_tag(name, version):
        raise _UnsoundError("not of the form model@v1.2.3, which `nox -s release` writes")
    if not tag.annotated:
        raise _UnsoundError(
            "a lightweight tag, which holds no digest of the release; `nox -s release` registers versions"
        )
    if tag.commit is None or tag.date is None:
        raise _UnsoundError("does not point at a commit")
    said = registered(tag.body)
    if said is None:
        raise _UnsoundError("its message holds no digest of the release, so `nox -s release` did not register it")
    if said.commit != tag.commit:
        raise _UnsoundError(
            f"was moved, or forged: it points at {tag.commit[:12]}, and was made for {said.commit[:12]}"
        )
    lock = files[tag.commit, LOCK]
    if lock is None or said.release.encode() not in lock:
        raise _UnsoundError(f"the {LOCK} of its commit does not name the release that its message does")
    if version in withdrawn:
        raise _UnsoundError("was withdrawn (`gto deregister`)")
    return Version(
        version=version,
        commit=tag.commit,
        date=tag.date,
        digest=said.provenance,
        verdict=said.verdict,
        waived=said.waived,
        headline=_object(files[tag.commit, HEADLINE]),
        release=said.release,
        adapter=said.adapter,
    )


def _object(content: bytes | None) -> dict[str, Any]:
    """A JSON object of scalars; {} for anything else."""
    try:
        value = strict_json((content or b"").decode())
    except (NotJsonError, UnicodeDecodeError):
        return {}
    plain = isinstance(value, dict) and all(isinstance(one, str | int | float | None) for one in value.values())
    return value if plain else {}


def _event(tag: Tag, known: dict[str, Version], name: str) -> Event:
    """What a tag says that happened."""
    if not tag.annotated:
        raise _UnsoundError(
            "a lightweight tag, which says neither when nor by whom; `nox -s promote` makes annotated ones"
        )
    if tag.number is None:
        raise _UnsoundError("has no number, so its place among the events is not known; `nox -s promote` numbers them")
    if tag.commit is None or tag.date is None:
        raise _UnsoundError("does not point at a commit")
    said = happened(tag.body)
    at = [version for version in known.values() if version.commit == tag.commit]
    if said is not None:
        version = known.get(said.version)
        if version is None:
            raise _UnsoundError(
                f"is about {said.version[:40]}, and {version_tag(name, said.version[:40])} can't be trusted or is gone"
            )
        if version.commit != tag.commit:
            raise _UnsoundError(f"was moved, or forged: it is not on the commit of {said.version}")
        if version.digest != said.provenance:
            raise _UnsoundError(f"was made for another release than {said.version}, whose digest is another")
        if (said.action == "stop") != tag.cancels:
            raise _UnsoundError("its name and its message contradict each other")
        action = said.action
    elif not at:
        raise _UnsoundError("is on a commit that no version is on which can be trusted")
    else:  # `gto assign`, or DVC Studio: on one commit there is one version, unless someone forced it
        version, action = max(at, key=lambda one: one.order), "stop" if tag.cancels else "promote"
    if not version.ships and action != "stop":
        raise _UnsoundError(f"{version.version} did not pass its gate ({VERDICTS[version.verdict].lower()})")
    return Event(tag.name, tag.number, tag.date, str(tag.stage), version.version, action)


def _out_of_order(events: list[Event]) -> list[Problem]:
    """Events of one stage whose times have not the order of their numbers: other tools go by the time alone."""
    last: dict[str, Event] = {}
    found = []
    for event in events:
        before = last.get(event.stage)
        if before is not None and event.date <= before.date:
            reason = f"followed, but dated no later than {before.tag}: GTO and DVC may take that for the last event"
            found.append(Problem(event.tag, reason))
        last[event.stage] = event
    return found


def _missing(tags: list[Tag], name: str) -> list[Problem]:
    """Numbers that no event has, though a later one is there: a tag that was not fetched, was deleted, or only pushed in part."""
    numbers = sorted({tag.number for tag in tags if tag.number})
    gaps = [(before + 1, after - 1) for before, after in pairwise([0, *numbers]) if after - before > 1]
    if not gaps:
        return []
    which = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in gaps[:10])
    more = f" and {len(gaps) - 10} more" if len(gaps) > 10 else ""
    reason = (
        f"no tag has the event number {which}{more}: what happened then is not known; get it with `git fetch --tags`"
    )
    return [Problem(f"{name}#", reason)]


def read_at(repo: Path, places: list[tuple[str, str]]) -> dict[tuple[str, str], bytes | None]:
    """Files of commits, by (commit, path): None for one that is missing, no plain file, or too large to be what it should."""
    names = {place: f"{place[0]}:./{place[1]}" for place in places}
    sizes: dict[tuple[str, str], str] = {}
    for place, line in zip(names, _batch(repo, "--batch-check", names.values()).splitlines(), strict=False):
        parts = line.decode("utf-8", "replace").split(" ")
        most = YAML_BYTES if place[1] == LOCK else HEADLINE_BYTES
        if len(parts) == 3 and parts[1] == "blob" and int(parts[2]) <= most:
            sizes[place] = parts[0]
    contents: dict[str, bytes] = {}
    output, at = _batch(repo, "--batch", dict.fromkeys(sizes.values())), 0
    while at < len(output):
        end = output.index(b"\n", at)
        blob, _, size = output[at:end].decode().split(" ")
        contents[blob] = output[end + 1 : end + 1 + int(size)]
        at = end + 1 + int(size) + 1
    found: dict[tuple[str, str], bytes | None] = dict.fromkeys(names)
    return found | {place: contents.get(blob) for place, blob in sizes.items()}


def _batch(repo: Path, how: str, names: Iterable[str]) -> bytes:
    """What `git cat-file` says of objects, one after the other."""
    asked = "".join(f"{name}\n" for name in names)
    if not asked:
        return b""
    environment = {key: value for key, value in os.environ.items() if key not in prov.OF_ANOTHER}
    command = ["git", "-C", str(repo), *prov.SAFE, "cat-file", how]
    try:
        return subprocess.run(
            command,
            input=asked.encode(),
            capture_output=True,
            env=environment | prov.SAFE_ENVIRONMENT,
            check=True,
            timeout=SECONDS,
        ).stdout
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, FileNotFoundError):
        raise HallmarkError("git could not read its commits", file=repo, remedy="run `git fsck`") from None
