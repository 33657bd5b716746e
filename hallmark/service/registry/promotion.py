"""What changes the registry: a release is registered, promoted, taken out of its stage, or prod goes back.

Nothing is written before all is checked, and no tag is ever moved or removed: each of these adds one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import RELEASE, REPORTS
from hallmark.base.loaded_code import PARAMS
from hallmark.judge.verdict import VERDICTS
from hallmark.release.statements import read_provenance, read_verdict
from hallmark.service.registry.folders import LOCK, check_release_at, materialize, push_files, release_of
from hallmark.service.registry.registry import CANARY, PROD, Registry, Version, order
from hallmark.service.registry.tags import (
    VERSION,
    Action,
    Happened,
    Tag,
    event_tag,
    one_at_a_time,
    push_tags,
    version_tag,
    write_tag,
)

FIRST = "v0.1.0"
HEADLINE = REPORTS / "headline.json"
COMMITTED = (LOCK, "dvc.yaml", "params.yaml", *(path.as_posix() for path in (PARAMS, prov.GATE, HEADLINE)))
SUBJECTS = {
    "promote": "{version} to {stage}",
    "roll back": "{stage} back to {version}",
    "stop": "{version} out of {stage}",
}
COMPARED = ("non_inferiority.prod", "superiority.prod")
COMMIT = f"run `dvc repro`, commit {LOCK}, dvc.yaml, params.yaml, code/ and reports/ together, and run `nox -s release` there"


@dataclass(frozen=True)
class Done:
    """What came of a command: the version that it was about, the one before it, the tags that it made, and what to know."""

    version: Version
    before: Version | None
    tags: list[str]
    notes: list[str] = field(default_factory=list)


# --- registering -------------------------------------------------------------------------------------------------


def register(repo: Path, asked: str | None = None, *, push: bool = False, dry: bool = False) -> Done:
    """Register the release of the commit that is checked out, as the version asked for, or the next minor one.

    `tags` is empty if it is registered already. `dry`: all checks, and no tag. `push`: share all versions,
    also those that are older than DVC's remote; their files first, since a tag that others have must not name what they can't get.
    """
    if asked is not None and not VERSION.fullmatch(asked):
        raise HallmarkError("not a version", file=f"--version {asked[:80]}", remedy="give one such as v1.2.0")
    with one_at_a_time(repo):
        registry = Registry.read(repo)
        said = check_release_at(repo / RELEASE, committed(repo), repo, COMMIT)
        same = [version for version in registry.versions if version.digest == said.provenance]
        push = push and not dry
        if same and asked in (None, same[-1].version):
            if push:
                push_files(repo, [version.commit for version in registry.versions])
                push_tags(repo, [], [version_tag(registry.name, one.version) for one in registry.versions])
            return Done(same[-1], before(registry, same[-1].version), [])
        if same:
            problem, remedy = f"this release is {same[-1].version} already", "make another release, or use that version"
            raise HallmarkError(problem, file=f"--version {asked}", remedy=remedy)
        name = asked or next_version(registry)
        tag = version_tag(registry.name, name)
        if any(one.version == name for one in registry.tags):
            remedy = "give another version; one that was registered is never given to another release"
            raise HallmarkError("is registered already, for another release", file=tag, remedy=remedy)
        now = datetime.now(UTC).replace(microsecond=0)
        version = Version(version=name, date=now, **said.model_dump())
        release_of(version, repo)  # what DVC does not have, nobody could fetch
        if push:
            push_files(repo, [version.commit for version in (*registry.versions, version)])
        if not dry:
            waived = f", {len(said.waived)} waived" if said.waived else ""
            write_tag(repo, tag, version.commit, said.below(f"{name}: {VERDICTS[said.verdict].lower()}{waived}"), now)
        if push:
            push_tags(repo, [tag], [version_tag(registry.name, one.version) for one in registry.versions])
    return Done(version, before(registry, name), [] if dry else [tag])


def committed(repo: Path) -> str:
    """The commit that is checked out; a HallmarkError unless what the pipeline made is as it is there."""
    head = prov.git("rev-parse", "--verify", "--quiet", "HEAD", at=repo)
    if head is None:
        raise HallmarkError("has no commit", file=repo, remedy="commit what the pipeline made")
    status = prov.git("status", "--porcelain", "-z", "--no-renames", "--", *COMMITTED, at=repo)
    changed = [entry[3:] for entry in (status or b"").decode(errors="replace").split("\0") if entry]
    if status is None or changed:
        problem = f"not as they are in git: {', '.join(changed)}" if changed else "git could not say what has changed"
        raise HallmarkError(problem, file=repo, remedy=COMMIT)
    return head.decode().strip()


def next_version(registry: Registry) -> str:
    """The next minor version after all that there ever were, withdrawn ones and those that can't be trusted too."""
    taken = [order(str(tag.version)) for tag in registry.tags if tag.version and VERSION.fullmatch(tag.version)]
    if not taken:
        return FIRST
    major, minor, _ = max(taken)
    return f"v{major}.{minor + 1}.0"


def before(registry: Registry, name: str) -> Version | None:
    return next((version for version in registry.versions[::-1] if order(version.version) < order(name)), None)


# --- stages ------------------------------------------------------------------------------------------------------


@contextmanager
def deciding(repo: Path, seen: list[Tag] | None) -> Iterator[Registry]:
    """The registry, which no other process of this machine changes during the block.

    A HallmarkError if somebody has decided anything since `seen`, or else since this began to wait for others: whoever asks
    for the block did not know of it, and would undo it.
    """
    seen = Registry.read(repo).decided if seen is None else seen
    with one_at_a_time(repo):
        registry = Registry.read(repo)
        if others := [tag.name for tag in (*registry.decided, *seen) if (tag in seen) != (tag in registry.decided)]:
            remedy = "look at `nox -s releases -- --events`, and run it again if it still is what you want"
            problem = "prod or canary has changed meanwhile, so nothing was done"
            raise HallmarkError(problem, file=others[0], remedy=remedy)
        yield registry


def promote(repo: Path, name: str, stage: str, *, push: bool = False, seen: list[Tag] | None = None) -> Done:
    """Put a version into a stage. It must be whole, be what its tag says, and have passed its gate.

    A canary that goes to prod is no canary any more.
    """
    with deciding(repo, seen) as registry:
        version, event = registry.find(name), registry.event_of(stage)
        tag = version_tag(registry.name, name)
        if event is not None and event.version == name:
            problem = f"{name} has been in {stage} since {event.date:%Y-%m-%d %H:%M} UTC"
            raise HallmarkError(problem, file=event.tag, remedy="there is nothing to do")
        in_prod, canary = current(registry, PROD), current(registry, CANARY)
        if in_prod == version:
            problem = f"{name} is in prod, so it can't be tried against it"
            raise HallmarkError(problem, file=tag, remedy="name another version")
        if not version.ships:
            remedy = "see reports/gate.json at its commit; waive a rule that need not hold, with a reason (gate.waive), and release again"
            raise HallmarkError(f"{name} did not pass its gate ({version.verdict})", file=tag, remedy=remedy)
        release, _ = materialize(version, repo)
        notes = check_against_prod(release, name, in_prod) if stage == PROD else []
        events: list[tuple[str, Action, Version]] = [(stage, "promote", version)]
        if stage == PROD and canary == version:
            notes.append(f"{name} is no canary any more")
            events += [(CANARY, "stop", one) for one in registry.still_in(CANARY)]
        return Done(version, current(registry, stage), add(registry, events, push), notes)


def roll_back(repo: Path, *, push: bool = False) -> Done:
    """Put the version that was in prod before the one that is there into prod again."""
    with deciding(repo, None) as registry:
        version, there = registry.before_in_prod(), current(registry, PROD)
        if version is None:
            only = f"{there.version} is the only one that was" if there else "no version was"
            remedy = "promote another version: `nox -s promote -- VERSION prod`; `nox -s releases` lists them"
            raise HallmarkError(f"no version to go back to: {only} ever there", file=PROD, remedy=remedy)
        release_of(version, repo)
        return Done(version, there, add(registry, [(PROD, "roll back", version)], push))


def stop(repo: Path, *, push: bool = False, seen: list[Tag] | None = None) -> Done:
    """Take the canary out of its stage, and every version that GTO would show there instead: it remembers all that were."""
    with deciding(repo, seen) as registry:
        canary = current(registry, CANARY)
        if canary is None:
            remedy = "`nox -s releases` shows what is in which stage"
            raise HallmarkError("there is no canary", file=repo, remedy=remedy)
        return Done(canary, None, add(registry, [(CANARY, "stop", one) for one in registry.still_in(CANARY)], push))


def current(registry: Registry, stage: str) -> Version | None:
    """What is in a stage; None too if the stage's last event can't be trusted, since a decision is about to replace it."""
    event = registry.event_of(stage)
    return registry.find(event.version) if event else None


def add(registry: Registry, events: list[tuple[str, Action, Version]], push: bool) -> list[str]:
    """Tag events, each (stage, what was done, version); returns the names of the tags.

    They are numbered as GTO counts, and dated a second after the one before at least: git counts whole seconds, and GTO and
    DVC go by the time alone.
    """
    number = 1 + max((tag.number for tag in registry.tags if tag.number is not None), default=0)
    dates = [tag.date + timedelta(seconds=1) for tag in registry.tags if tag.stage and tag.date]
    date, tags = max([datetime.now(UTC).replace(microsecond=0), *dates]), []
    for at, (stage, action, version) in enumerate(events):
        tag = event_tag(registry.name, f"{stage}{'!' if action == 'stop' else ''}#{number + at}")
        said = Happened(action=action, provenance=version.digest, version=version.version)
        message = said.below(SUBJECTS[action].format(version=version.version, stage=stage))
        write_tag(registry.repo, tag, version.commit, message, date + timedelta(seconds=at))
        tags.append(tag)
    if push:
        push_tags(registry.repo, tags)
    return tags


def check_against_prod(release: Path, name: str, in_prod: Version | None) -> list[str]:
    """Raise a HallmarkError if the gate compared this release with an adapter that is not in prod; returns what to know."""
    if in_prod is None:
        return []
    rules = [rule for rule in read_verdict(release).gate.rules if rule.name in COMPARED]
    if not rules:
        return [
            f"{name} was not compared with {in_prod.version}, which was in prod: `nox -s promote -- --compare` sets that up for the next"
        ]
    params = read_provenance(release).build.externalParameters.params
    settings = params.get("eval", {}).get("comparators", {}).get("prod", {})
    against = settings.get("sha256") if settings.get("kind") == "adapter" else None
    if against == in_prod.adapter or all(rule.waiver is not None for rule in rules):
        return []
    what = f"an adapter with the SHA-256 {against}" if against else "no adapter"
    raise HallmarkError(
        f"{name} was compared with {what} as eval.comparators.prod, and {in_prod.version} is in prod, whose adapter has {in_prod.adapter}",
        file=release / prov.VERDICT,
        field=rules[0].name,
        remedy="run `nox -s promote -- --compare` and `nox -s repro`, commit, and release again; or waive the rule, with a reason (gate.waive)",
    )
