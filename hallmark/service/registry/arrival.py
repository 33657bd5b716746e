"""Is a folder the release that a version's tag names, and does the tag's commit say the same?

The tag holds the digest of provenance.json, which holds that of every other file. The commit's `dvc.lock` and params.yaml
must be those that the release was made with: else the commit was made while they were changed, or the tag is not its own.
"""

from __future__ import annotations

from pathlib import Path

from hallmark.base import provenance as prov
from hallmark.base.dvc_lock import YAML_BYTES
from hallmark.base.errors import HallmarkError
from hallmark.model.adapter import TENSORS
from hallmark.release.checking import check, differing, first_of, refuse
from hallmark.release.statements import Provenance, read_provenance, read_verdict
from hallmark.service.registry.message import Registered
from hallmark.service.registry.registry import LOCK, Version

OTHER = "the tag was moved or forged, or the folder is another release: take the tags as they were (`git fetch origin --tags --force`)"


def lock_at(commit: str, repo: Path) -> prov.Stages:
    """The stages of a commit's `dvc.lock`."""
    content = prov.git_file(LOCK, commit, repo, YAML_BYTES)
    if content is None:
        raise HallmarkError(
            f"commit {commit[:12]} has none", file=LOCK, remedy="register a commit that the pipeline ran in"
        )
    return prov.read_lock(content, f"{LOCK} at {commit[:12]}")


def what_it_says(folder: Path, commit: str, release: str) -> Registered:
    """What the tag of a release must say, from its own files."""
    provenance, gate = read_provenance(folder), read_verdict(folder).gate
    adapter = provenance.subjects.get(TENSORS)
    if adapter is None:
        raise HallmarkError(f"has no {TENSORS}", file=folder, remedy="run `dvc repro`, which makes a complete release")
    return Registered(
        adapter=adapter,
        commit=commit,
        provenance=prov.sha256((folder / prov.PROVENANCE).read_bytes()),
        release=release,
        verdict=gate.verdict,
        waived={rule.name: str(rule.waiver) for rule in gate.waived},
    )


def check_arrival(folder: Path, version: Version, repo: Path, stages: prov.Stages) -> Provenance:
    """Raise a HallmarkError unless the folder is the release of that version; `stages`: of its commit's `dvc.lock`."""
    finding = check(folder)
    refuse(
        folder, finding.wrong, "remove the folder and fetch it again, or run `dvc fetch models/release` at its commit"
    )
    said = what_it_says(folder, version.commit, finding.release)
    if said.provenance != version.digest:
        problem = f"not the release of {version.version}: its {prov.PROVENANCE} has the SHA-256 {said.provenance}, the tag says {version.digest}"
        raise HallmarkError(problem, file=folder, remedy=OTHER)
    refuse(
        folder,
        differing(finding, stages),
        f"{version.version} is on a commit whose {LOCK} is not that of its release: {OTHER}",
    )
    if (said.release, said.adapter) != (version.release, version.adapter):
        raise HallmarkError(f"the tag of {version.version} names other files of it", file=folder, remedy=OTHER)
    if (said.verdict, said.waived) != (version.verdict, version.waived):
        problem = f"the tag of {version.version} says {version.verdict}, and waived: {', '.join(version.waived) or 'nothing'}; the gate said {said.verdict}, and waived: {', '.join(said.waived) or 'nothing'}"
        raise HallmarkError(problem, file=folder / prov.VERDICT, remedy=OTHER)
    if not finding.passed:
        raise HallmarkError(
            f"the gate did not pass {version.version}",
            file=folder / prov.VERDICT,
            field="predicate.result",
            remedy="see reports/gate.json at its commit; a rule that need not hold is waived in params, with a reason (gate.waive)",
        )
    provenance = read_provenance(folder)
    check_commit(provenance, version.commit, repo, stages)
    return provenance


def check_commit(provenance: Provenance, commit: str, repo: Path, stages: prov.Stages) -> None:
    """Raise a HallmarkError unless the release was made with the params.yaml and the stages that are committed there."""
    build = provenance.build
    wrong = [
        f"{LOCK} differs at {key}"
        for name, stage in sorted(build.stages.items())
        for key in prov.differences(stage, stages.get(name), name)
    ]
    params, edited = prov.params_at(
        lambda file: prov.git_file(file, commit, repo, YAML_BYTES), f"at {commit[:12]}", stages
    )
    differing = [*prov.differences(build.externalParameters.params, params), *edited]
    wrong += [f"param {key} differs" for key in dict.fromkeys(differing)]
    if wrong:
        raise HallmarkError(
            f"commit {commit[:12]} does not hold what the release was made with: {'; '.join(first_of(wrong, 5))}",
            file=LOCK,
            remedy=f"run `dvc repro`, commit {LOCK}, params.yaml, code/ and reports/ together, and run `nox -s release` there",
        )
