"""The versions of the model and what is in which stage, from the tags of a repository: only git, no network.

A tag that can't be trusted is never followed. It is listed with the reason, and if it is the last event of a stage, asking
for that stage is an error: going on with the version before would be a rollback that nobody decided. That a release is what
its tag says is checked where one is taken (`folders.py`), since its files are DVC's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hallmark.base.errors import HallmarkError
from hallmark.judge.verdict import SHIPS, VERDICTS
from hallmark.service.registry.tags import (
    VERSION,
    Action,
    Happened,
    Registered,
    Tag,
    full_name,
    read_tags,
    version_tag,
)

PROD, CANARY = "prod", "canary"
STAGES = (PROD, CANARY)


class Version(Registered):
    version: str
    date: datetime

    @property
    def digest(self) -> str:
        """By which the release is known: SHA-256 of its provenance.json, which has that of every other file."""
        return self.provenance

    @property
    def ships(self) -> bool:
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
class Registry:
    """`versions`: the lowest first. `events`: of the tags that can be trusted, in their order. `problems`: tags that can't
    be followed, and why. `unsound`: stages whose last event can't be, with its tag. `tags`: all of the model."""

    repo: Path
    name: str
    versions: list[Version]
    events: list[Event]
    problems: dict[str, str]
    unsound: dict[str, str]
    tags: list[Tag]

    @classmethod
    def read(cls, repo: Path = Path()) -> Registry:
        name = full_name(repo)
        tags = read_tags(repo, name)
        found = cls(repo, name, [], [], {}, {}, tags)
        withdrawn = {tag.version for tag in tags if tag.cancels and tag.annotated}
        for tag in (tag for tag in tags if tag.version and not tag.cancels):
            try:
                found.versions.append(_version(tag, name, withdrawn))
            except _UnsoundError as error:
                found.problems[tag.name] = str(error)
        found.versions.sort(key=lambda version: order(version.version))
        # By number: git's time counts whole seconds, and the clocks of two machines differ.
        for tag in sorted((tag for tag in tags if tag.stage in STAGES), key=lambda tag: (tag.number or 0, tag.name)):
            stage = str(tag.stage)
            try:
                found.events.append(_event(tag, found.versions))
                found.unsound.pop(stage, None)
            except _UnsoundError as error:
                found.problems[tag.name] = str(error)
                if tag.annotated and tag.number is not None:  # GTO and DVC pass over a lightweight one, too
                    found.unsound[stage] = tag.name
        return found

    @property
    def decided(self) -> list[Tag]:
        """All that ever put a version into a stage or out of it, whether it can be trusted or not."""
        return [tag for tag in self.tags if tag.stage in STAGES]

    def find(self, version: str) -> Version:
        """A version by its name; a HallmarkError that says why there is none."""
        found = next((one for one in self.versions if one.version == version), None)
        if found is not None:
            return found
        tag = version_tag(self.name, version)
        if tag in self.problems:
            remedy = "take the tag as it was (`git fetch origin --tags --force`), or register another version"
            raise HallmarkError(self.problems[tag], file=tag, remedy=remedy)
        listed = ", ".join(one.version for one in self.versions[-5:]) or "none"
        remedy = f"name one that is registered ({listed}); `nox -s releases` lists all; another clone's tags: `git fetch --tags`"
        raise HallmarkError("no such version", file=tag if VERSION.fullmatch(version) else version[:80], remedy=remedy)

    def in_stage(self, stage: str) -> Version | None:
        """The version in a stage; a HallmarkError if the stage's last event can't be trusted."""
        if tag := self.unsound.get(stage):
            remedy = f"take the tags as they were (`git fetch origin --tags --force`), or decide again: `nox -s promote -- VERSION {stage}`"
            if stage == PROD:
                remedy += ", or `nox -s rollback`"
            raise HallmarkError(self.problems[tag], file=tag, remedy=remedy)
        event = self.event_of(stage)
        return self.find(event.version) if event else None

    def event_of(self, stage: str) -> Event | None:
        """The event that put the version that is in a stage there; None too if the stage's last event can't be trusted."""
        current: Event | None = None
        for event in self.events:
            if event.stage == stage and event.action != "stop":
                current = event
            elif event.stage == stage and current is not None and current.version == event.version:
                current = None
        return None if stage in self.unsound else current

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

    def still_in(self, stage: str) -> list[Version]:
        """The versions that went into a stage and were never taken out of it: to GTO, each is still there, or may be again."""
        last = {event.version: event.action for event in self.events if event.stage == stage}
        return [self.find(version) for version, action in last.items() if action != "stop"]


class _UnsoundError(Exception):
    """Why a tag is not followed."""


def order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version[1:].split("."))


def _target(tag: Tag) -> tuple[str, datetime]:
    """The commit and the time of a tag that can have a message."""
    if tag.commit is None or tag.date is None:
        raise _UnsoundError(
            "a lightweight tag, without a date, or not of a commit; `nox -s release` and `nox -s promote` make others"
        )
    return tag.commit, tag.date


def _version(tag: Tag, name: str, withdrawn: set[str | None]) -> Version:
    commit, date = _target(tag)
    version = str(tag.version)
    if not VERSION.fullmatch(version) or tag.name != version_tag(name, version):
        raise _UnsoundError("not of the form model@v1.2.3, which `nox -s release` writes")
    said = Registered.read(tag.body)
    if said is None:
        raise _UnsoundError("its message holds no digest of the release, so `nox -s release` did not register it")
    if said.commit != commit:
        raise _UnsoundError(f"was moved, or forged: it points at {commit[:12]}, and was made for {said.commit[:12]}")
    if version in withdrawn:
        raise _UnsoundError("was withdrawn (`gto deregister`)")
    return Version(version=version, date=date, **said.model_dump())


def _event(tag: Tag, versions: list[Version]) -> Event:
    """What a tag says that happened."""
    commit, date = _target(tag)
    if tag.number is None:
        raise _UnsoundError("has no number, so its place among the events is not known; `nox -s promote` numbers them")
    said = Happened.read(tag.body)
    here = [version for version in versions if version.commit == commit]
    if said is not None:
        here = [version for version in here if (version.version, version.digest) == (said.version, said.provenance)]
        if (said.action == "stop") != tag.cancels:
            raise _UnsoundError("its name and its message contradict each other")
    if not here:
        which = f"{said.version[:40]} with the digest that it names" if said else "a version"
        raise _UnsoundError(f"{which} is not registered at its commit by a tag that can be trusted")
    version = here[-1]  # by `gto assign` or DVC Studio: on one commit there is one version, unless someone forced it
    action: Action = said.action if said else "stop" if tag.cancels else "promote"
    if not version.ships and action != "stop":
        raise _UnsoundError(f"{version.version} did not pass its gate ({VERDICTS[version.verdict].lower()})")
    return Event(tag.name, tag.number, date, str(tag.stage), version.version, action)
