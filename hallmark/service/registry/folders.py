"""The files of a version, in folders of their own: from DVC's cache or a remote, and checked before anyone can read them.

models/versions/v1.2.0/            the release
models/versions/weights/<md5>/     what it was trained over, unless that is models/quantized; shared by versions

A tag holds the digest of provenance.json, which holds that of every other file. The commit's `dvc.lock` and params must be
those that the release was made with: else the commit was made while they were changed, or the tag is not its own.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from hallmark.answer.comparators.adapter import VERSIONS
from hallmark.base import provenance as prov
from hallmark.base.dvc_lock import YAML_BYTES, is_inside
from hallmark.base.errors import HallmarkError, unwritable
from hallmark.base.files import QUANTIZED, RELEASE, atomic_folder, clear_remains
from hallmark.model.adapter import TENSORS
from hallmark.release.checking import changed_params, check, differing, first_of, refuse
from hallmark.release.clone import made
from hallmark.release.shipping import check_weights
from hallmark.release.statements import read_provenance, read_verdict
from hallmark.service.registry.registry import STAGES, Registry, Version
from hallmark.service.registry.tags import Registered, run_git

LOCK = "dvc.lock"
WEIGHTS = VERSIONS / "weights"
SECONDS = 600.0  # for git to clone
# A URL, a path, or [user@]host:path: in anything else, nobody could say where a password ends.
ADDRESS = re.compile(r"[\w+.-]+://\S+|(?![\w+.-]+://)(?:[^@]*|[^:@]+@[^@]*)")
SHARED = (RELEASE, QUANTIZED)  # what a version needs elsewhere, besides its tag


def materialize(version: Version, repo: Path = Path()) -> tuple[Path, Path]:
    """The folders of the release and of the weights that it was trained over, whole and checked: those there, or fetched."""
    release = release_of(version, repo)
    return release, weights_of(version, release, repo)


def release_of(version: Version, repo: Path) -> Path:
    """The folder of the release of a version, whole and checked."""
    target = repo / VERSIONS / version.version
    if target.is_dir():
        with suppress(HallmarkError):
            check_version(target, version, repo)
            return target
    with arriving(target) as folder:
        take_version(version, repo, folder)
    return target


def weights_of(version: Version, release: Path, repo: Path) -> Path:
    """The folder with the weights that a release was trained over: models/quantized if that holds them."""
    if holds_weights(repo / QUANTIZED, release):
        return repo / QUANTIZED
    hashes = made(_lock_at(version.commit, repo), QUANTIZED.as_posix())
    if len(hashes) != 1:
        problem = f"{version.version} was made before the weights that adapters are trained over were kept"
        raise HallmarkError(problem, file=release / prov.PROVENANCE, remedy="make a new release with `dvc repro`")
    target = repo / WEIGHTS / hashes.pop().removesuffix(".dir")
    if not holds_weights(target, release):
        with arriving(target) as folder:
            take(repo, version.commit, QUANTIZED, folder)
            check_weights(release, folder, "fetch it again")
    return target


def holds_weights(folder: Path, release: Path) -> bool:
    """Whether a folder is what the release was trained over."""
    with suppress(HallmarkError):
        check_weights(release, folder, "fetch it again")
        return True
    return False


@contextmanager
def arriving(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of whatever is at `target` if the block ends without an error, and else is gone."""
    new = target.with_name(f".new-{uuid4().hex}")
    clear_remains(target.parent)
    with atomic_folder(new) as folder:
        yield folder
    try:
        with tempfile.TemporaryDirectory(dir=target.parent) as old:
            with suppress(FileNotFoundError):
                target.rename(Path(old, "old"))
            new.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process was faster, with the same
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


# --- checking ----------------------------------------------------------------------------------------------------


def check_version(folder: Path, version: Version, repo: Path) -> None:
    """Raise a HallmarkError unless the folder is the release of that version, and its commit says the same."""
    remedy = "fetch it again; if it is the same then, take the tags as they were (`git fetch origin --tags --force`)"
    found = check_release_at(folder, version.commit, repo, remedy).model_dump()
    if wrong := prov.differences(found, {key: getattr(version, key) for key in found}):
        problem = f"not the release that the tag of {version.version} names: it has another {', '.join(wrong)}"
        raise HallmarkError(problem, file=folder, remedy=remedy)


def check_release_at(folder: Path, commit: str, repo: Path, remedy: str) -> Registered:
    """What a tag has to say of a release; a HallmarkError unless it is whole, passed its gate, and is that of the commit."""
    finding, stages = check(folder), _lock_at(commit, repo)
    refuse(folder, finding.wrong, remedy)
    refuse(folder, differing(finding, stages), remedy)
    provenance, gate = read_provenance(folder), read_verdict(folder).gate
    refuse(folder, [] if TENSORS in provenance.subjects else [f"has no {TENSORS}"], remedy)
    if not finding.passed:
        raise HallmarkError(
            "the gate did not pass this release",
            file=folder / prov.VERDICT,
            field="predicate.result",
            remedy="see reports/gate.json at its commit; a rule that need not hold is waived in params, with a reason (gate.waive)",
        )
    build = provenance.build
    wrong = [
        f"{LOCK} differs at {key}"
        for name, stage in sorted(build.stages.items())
        for key in prov.differences(stage, stages.get(name), name)
    ]
    others = changed_params(
        build, lambda file: prov.git_file(file, commit, repo, YAML_BYTES), f"at {commit[:12]}", stages
    )
    wrong += [f"param {key} differs" for key in others]
    if wrong:
        problem = f"commit {commit[:12]} does not hold what the release was made with: {'; '.join(first_of(wrong, 5))}"
        raise HallmarkError(problem, file=LOCK, remedy=remedy)
    return Registered(
        adapter=provenance.subjects[TENSORS],
        commit=commit,
        provenance=prov.sha256((folder / prov.PROVENANCE).read_bytes()),
        release=finding.release,
        verdict=gate.verdict,
        waived={rule.name: str(rule.waiver) for rule in gate.waived},
    )


def _lock_at(commit: str, repo: Path) -> prov.Stages:
    content = prov.git_file(LOCK, commit, repo, YAML_BYTES)
    if content is None:
        remedy = "register a commit that the pipeline ran in"
        raise HallmarkError(f"commit {commit[:12]} has none", file=LOCK, remedy=remedy)
    return prov.read_lock(content, f"{LOCK} at {commit[:12]}")


# --- fetching ----------------------------------------------------------------------------------------------------


def wanted(registry: Registry, name: str) -> Version:
    """The version of that name, or the one in the stage of that name."""
    if name not in STAGES:
        return registry.find(name)
    version = registry.in_stage(name)
    if version is None:
        remedy = "name a version instead: `nox -s releases` there lists them"
        raise HallmarkError(f"nothing is in {name} there", file=registry.repo, remedy=remedy)
    return version


def fetch(url: str, name: str, out: Path, weights: Path | None = None) -> Version:
    """Fetch a release from a repository (a folder, or what git can clone) to a new folder.

    `weights`: a new folder for what it was trained over. Neither is there unless both are whole, and what the tag says.
    """
    for folder in filter(None, (out, weights)):
        if os.path.lexists(folder):
            raise HallmarkError("already exists", file=folder, remedy="give a new name")
    with clone_of(url) as clone:
        version = wanted(Registry.read(clone), name)
        with atomic_folder(out) as folder:
            take_version(version, clone, folder)
            if weights is not None:
                with atomic_folder(weights) as other:
                    take(clone, version.commit, QUANTIZED, other)
                    check_weights(folder, other, "fetch it again")
    return version


@contextmanager
def clone_of(url: str) -> Iterator[Path]:
    """The repository itself if it is a working tree here, else a clone without its files, for as long as the block lasts."""
    if Path(url, ".dvc").is_dir():
        yield Path(url)
        return
    remedy = "name a folder, or an https, ssh or file address that `git clone` takes"
    if not ADDRESS.fullmatch(url):
        raise HallmarkError("not an address", file="REPO", remedy=remedy)
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "clone"
        words = ("clone", "--quiet", "--no-checkout", "--template=", "--", url, str(clone))
        if problem := run_git(
            *prov.SAFE, *words, seconds=SECONDS, GIT_TERMINAL_PROMPT="0", GIT_ALLOW_PROTOCOL="https:ssh:file"
        ):
            raise HallmarkError(f"git can't clone it: {problem}", file=url, remedy=remedy)
        yield clone


def take_version(version: Version, repo: Path, target: Path) -> None:
    take(repo, version.commit, RELEASE, target)
    check_version(target, version, repo)


def take(repo: Path, commit: str, path: Path, target: Path) -> None:
    """Copy what DVC keeps at a path, as it was at a commit, into a folder: from the cache or a remote."""
    from dvc.api import DVCFileSystem

    files, top = None, path.as_posix()
    try:
        files = DVCFileSystem(str(repo.resolve()), rev=commit, config=remote_of(repo))
        names = files.find(top)
        if not names:
            raise FileNotFoundError(top)
        for name in names:
            inside = name.removeprefix("/").removeprefix(f"{top}/")
            if not is_inside(inside):
                remedy = f"its list at commit {commit[:12]} was forged: don't use it"
                raise HallmarkError("lists a file outside of it", file=path, remedy=remedy)
            files.get_file(name, str(target / inside))
    except HallmarkError:
        raise
    except Exception as error:  # DVC and its file systems raise many types, and each means: it can't be had
        if unwritable(error) is not None:
            raise
        problem = f"not available at commit {commit[:12]}: it is neither in DVC's cache nor in a remote that could be read ({type(error).__name__})"
        remedy = f"run `dvc push {path}` where it was made, and `dvc remote add --default NAME URL` here if the repository names no remote; or make it again at that commit"
        raise HallmarkError(problem, file=path, remedy=remedy) from None
    finally:
        if files is not None:
            files.close()


def remote_of(repo: Path) -> dict[str, Any]:
    """The settings of DVC's default remote as they are now: a commit may be older than its remote. {} if none is named.

    Of a clone without its files, they are those of the branch that it would have checked out.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with suppress(DvcException), Repo(str(repo), rev=None if (repo / ".dvc").is_dir() else "HEAD") as opened:
        if name := opened.config["core"].get("remote"):
            return {"core": {"remote": name}, "remote": {name: opened.config["remote"][name]}}
    return {}


def push_files(repo: Path, commits: Iterable[str]) -> None:
    """Push the releases of these commits, and what they were trained over, to DVC's default remote as it is named now."""
    from dvc.repo import Repo

    try:
        for commit in dict.fromkeys(commits):
            with Repo(str(repo.resolve()), rev=commit, config=remote_of(repo)) as opened:
                opened.push(targets=[path.as_posix() for path in SHARED])
    except Exception as error:  # as in `take`
        problem = f"DVC could not push that of commit {commit[:12]} ({type(error).__name__}), so nothing was shared"
        remedy = "run `dvc push`, which says why; with no remote yet, first `dvc remote add --default NAME URL`"
        raise HallmarkError(problem, file=RELEASE, remedy=remedy) from None
