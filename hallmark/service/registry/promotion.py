"""What changes the registry: a release is registered, promoted, taken out of its stage, or prod goes back.

Nothing is written before all is checked, and no tag is ever moved or removed: each of these adds one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import RELEASE
from hallmark.base.loaded_code import PARAMS
from hallmark.release.checking import check, differing, refuse
from hallmark.release.statements import Provenance, read_provenance, read_verdict
from hallmark.service.registry.arrival import check_commit, lock_at, what_it_says
from hallmark.service.registry.materialize import materialize, release_of
from hallmark.service.registry.message import Action, Happened, message_of_event, message_of_version
from hallmark.service.registry.registry import CANARY, HEADLINE, LOCK, PROD, STAGES, Registry, Version, order
from hallmark.service.registry.tags import (
    VERSION,
    date_after,
    event_tag,
    full_name,
    one_at_a_time,
    push_tags,
    version_tag,
    write_tag,
)

FIRST = "v0.1.0"
COMMITTED = (LOCK, "dvc.yaml", "params.yaml", PARAMS.as_posix(), prov.GATE.as_posix(), HEADLINE)
COMPARED = ("non_inferiority.prod", "superiority.prod")


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

    `tags` is empty if it is registered already. `dry`: all checks, and no tag.
    """
    if asked is not None and not VERSION.fullmatch(asked):
        raise HallmarkError("not a version", file=f"--version {asked[:80]}", remedy="give one such as v1.2.0")
    with one_at_a_time(repo):
        registry = Registry.read(repo)
        commit, release = committed_release(repo)
        said = what_it_says(repo / RELEASE, commit, release)
        same = [version for version in registry.versions if version.digest == said.provenance]
        if same:
            if asked not in (None, same[-1].version):
                remedy = "make another release, or use that version"
                raise HallmarkError(
                    f"this release is {same[-1].version} already", file=f"--version {asked}", remedy=remedy
                )
            return Done(same[-1], before(registry, same[-1].version), [])
        name = asked or next_version(registry)
        tag = version_tag(registry.name, name)
        if any(one.name == tag or one.version == name for one in registry.tags):
            remedy = "give another version; one that was registered is never given to another release"
            raise HallmarkError("is registered already, for another release", file=tag, remedy=remedy)
        date = date_after([])
        version = Version(
            name, commit, date, said.provenance, said.verdict, said.waived, {}, said.release, said.adapter
        )
        release_of(version, repo, lock_at(commit, repo))  # what DVC does not have, nobody could fetch
        if dry:
            return Done(version, before(registry, name), [])
        write_tag(repo, tag, commit, message_of_version(name, said), date)
        if push:
            push_tags(repo, [tag])
    return Done(Registry.read(repo).find(name), before(registry, name), [tag])


def committed_release(repo: Path) -> tuple[str, str]:
    """The commit that is checked out, and the hash of its release; a HallmarkError unless both fit and the gate passed."""
    full_name(repo)
    head = prov.git("rev-parse", "--verify", "--quiet", "HEAD", at=repo)
    if head is None:
        raise HallmarkError("has no commit", file=repo, remedy="commit what the pipeline made")
    commit = head.decode().strip()
    status = prov.git("status", "--porcelain", "-z", "--no-renames", "--", *COMMITTED, at=repo)
    changed = [entry[3:] for entry in (status or b"").decode(errors="replace").split("\0") if entry]
    if status is None or changed:
        problem = f"not as they are in git: {', '.join(changed)}" if changed else "git could not say what has changed"
        remedy = f"commit {LOCK}, dvc.yaml, params.yaml, code/ and reports/ together: the tag names a commit, which must hold them"
        raise HallmarkError(problem, file=repo, remedy=remedy)
    stages = lock_at(commit, repo)
    finding = check(repo / RELEASE)
    refuse(repo / RELEASE, finding.wrong, "run `dvc repro certify`")
    refuse(repo / RELEASE, differing(finding, stages), f"run `dvc repro certify`, and commit {LOCK}")
    if not finding.passed:
        raise HallmarkError(
            "the gate did not pass this release, so it is not registered",
            file=repo / RELEASE / prov.VERDICT,
            field="predicate.result",
            remedy="see reports/gate.json for the rules; one that need not hold is waived in params, with a reason (gate.waive)",
        )
    check_commit(read_provenance(repo / RELEASE), commit, repo, stages)
    return commit, finding.release


def next_version(registry: Registry) -> str:
    """The next minor version after all that there ever were, withdrawn ones and those that can't be trusted too."""
    taken = [order(str(tag.version)) for tag in registry.tags if tag.version and VERSION.fullmatch(tag.version)]
    if not taken:
        return FIRST
    major, minor, _ = max(taken)
    return f"v{major}.{minor + 1}.0"


def before(registry: Registry, name: str) -> Version | None:
    """The highest version that is lower than this."""
    return max(
        (version for version in registry.versions if version.order < order(name)),
        key=lambda version: version.order,
        default=None,
    )


# --- stages ------------------------------------------------------------------------------------------------------


def promote(repo: Path, name: str, stage: str, *, push: bool = False) -> Done:
    """Put a version into a stage. It must be whole, be what its tag says, and have passed its gate.

    A canary that goes to prod is no canary any more.
    """
    if stage not in STAGES:
        raise HallmarkError("no such stage", file=stage[:80], remedy=f"give one of {', '.join(STAGES)}")
    with changing(repo) as (registry, tags):
        version, current = registry.find(name), current_in(registry, stage)
        if current is not None and current.version == name:
            event = registry.event_of(stage)
            since = f" since {event.date:%Y-%m-%d %H:%M} UTC" if event else ""
            raise HallmarkError(f"{name} is in {stage}{since}", remedy="nothing is to be done")
        in_prod = current if stage == PROD else current_in(registry, PROD)
        if stage == CANARY and in_prod is not None and in_prod.version == name:
            raise HallmarkError(f"{name} is in prod, so it can't be tried against it", remedy="name another version")
        if not version.ships:
            raise HallmarkError(
                f"{name} did not pass its gate ({version.verdict})",
                file=version_tag(registry.name, name),
                remedy="see reports/gate.json at its commit; waive a rule that need not hold, with a reason (gate.waive), and release again",
            )
        release = materialize(version, repo).release
        notes = check_against_prod(release, name, in_prod) if stage == PROD else []
        tags += [add(registry, stage, version, "promote", registry.next_number)]
        if stage == PROD:
            notes += [f"{one} is no canary any more" for one in registry.still_in(CANARY) if one == name]
            tags += stopped(Registry.read(repo), CANARY, only=name)
        if push:
            push_tags(repo, tags)
    return Done(version, current, tags, notes)


def roll_back(repo: Path, *, push: bool = False) -> Done:
    """Put the version that was in prod before the one that is there into prod again."""
    with changing(repo) as (registry, tags):
        version, current = registry.before_in_prod(), current_in(registry, PROD)
        if version is None:
            there = f"{current.version} is the only one that was" if current else "no version was"
            remedy = "promote another version: `nox -s promote -- VERSION prod`; `nox -s releases` lists them"
            raise HallmarkError(f"prod has no version to go back to: {there} ever there", remedy=remedy)
        release_of(version, repo, lock_at(version.commit, repo))
        tags += [add(registry, PROD, version, "roll back", registry.next_number)]
        if push:
            push_tags(repo, tags)
    return Done(version, current, tags)


def stop(repo: Path, stage: str = CANARY, *, push: bool = False) -> Done:
    """Take what is in a stage out of it. Prod is never empty once it was taken: it goes back."""
    if stage != CANARY:
        raise HallmarkError(
            f"{stage} can't be stopped", remedy="prod goes back with `nox -s rollback`; only a canary stops"
        )
    with changing(repo) as (registry, tags):
        current = current_in(registry, stage)
        if current is None:
            raise HallmarkError("there is no canary", remedy="`nox -s releases` shows what is in which stage")
        tags += stopped(registry, stage)
        if push:
            push_tags(repo, tags)
    return Done(current, None, tags)


@contextmanager
def changing(repo: Path) -> Iterator[tuple[Registry, list[str]]]:
    """The registry as it is, with nobody else on this machine changing it, and a list for the tags that are made."""
    with one_at_a_time(repo):
        yield Registry.read(repo), []


def current_in(registry: Registry, stage: str) -> Version | None:
    """What is in a stage; None too if the stage's last event can't be trusted, since a decision is about to replace it."""
    return None if stage in registry.unsound else registry.in_stage(stage)


def add(registry: Registry, stage: str, version: Version, action: Action, number: int) -> str:
    """Make the tag of an event; returns its name."""
    tag = event_tag(registry.name, stage, number, stop=action == "stop")
    said = Happened(action=action, provenance=version.digest, version=version.version)
    write_tag(registry.repo, tag, version.commit, message_of_event(stage, said), date_after(registry.tags))
    return tag


def stopped(registry: Registry, stage: str, only: str | None = None) -> list[str]:
    """Take every version out of a stage that GTO takes to be there: it remembers those that others have followed.

    `only`: nothing is done unless this version is the one that is there now.
    """
    current = current_in(registry, stage)
    if only is not None and (current is None or current.version != only):
        return []
    tags: list[str] = []
    for name in registry.still_in(stage):
        tags.append(add(registry, stage, registry.find(name), "stop", registry.next_number))
        registry = Registry.read(registry.repo)
    return tags


# --- against prod ------------------------------------------------------------------------------------------------


def check_against_prod(release: Path, name: str, in_prod: Version | None) -> list[str]:
    """Raise a HallmarkError if the gate compared this release with an adapter that is not in prod; returns what to know."""
    if in_prod is None:
        return []
    rules = [rule for rule in read_verdict(release).gate.rules if rule.name in COMPARED]
    if not rules:
        return [
            f"{name} was not compared with {in_prod.version}, which was in prod: `nox -s promote -- --compare` sets that up for the next"
        ]
    settings = comparator(read_provenance(release))
    against = settings.get("sha256") if settings.get("kind") == "adapter" else None
    if against == in_prod.adapter or all(rule.waiver is not None for rule in rules):
        return []
    what = f"an adapter with the SHA-256 {str(against)[:64]}" if against else "no adapter"
    raise HallmarkError(
        f"{name} was compared with {what} as eval.comparators.prod, and {in_prod.version} is in prod, whose adapter has {in_prod.adapter}",
        file=release / prov.VERDICT,
        field=rules[0].name,
        remedy="run `nox -s promote -- --compare` and `nox -s repro`, commit, and release again; or waive the rule, with a reason (gate.waive)",
    )


def comparator(provenance: Provenance) -> dict[str, Any]:
    """The settings of `eval.comparators.prod` that a release was made with, {} if it had none."""
    value: Any = provenance.build.externalParameters.params
    for key in ("eval", "comparators", "prod"):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
