"""Check a release folder: do its parts match each other and the repository it claims to come from?

On its own, a release proves only that no single part was changed. To prove that it wasn't all forged, it needs a
signature, or a clone whose committed `dvc.lock` has the release's hash.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.core.errors import HallmarkError
from stages.core.files import ADAPTER, RELEASE, canonical_json, sha256_file
from stages.release import provenance as prov


@dataclass
class Finding:
    """The results of a check, in words: `made_of` describes the release, `wrong` lists the problems."""

    made_of: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    passed: bool = False


def check(folder: Path, clone: Path | None = None, public_key: Path | None = None) -> Finding:
    """Check `folder` itself, against `clone` if one is given, and its signature if `public_key` is given."""
    if not (folder / prov.PROVENANCE).is_file() or not (folder / prov.VERDICT).is_file():
        raise HallmarkError(
            f"lacks {prov.PROVENANCE} or {prov.VERDICT}", file=folder, remedy="give a complete release folder"
        )
    finding = Finding()
    try:
        provenance = json.loads((folder / prov.PROVENANCE).read_text(encoding="utf-8"))
        verdict = json.loads((folder / prov.VERDICT).read_text(encoding="utf-8"))
        _check_files(folder, provenance, finding)
        _check_verdict(folder, provenance, verdict, finding)
        _describe(folder, provenance, verdict, finding)
        if clone is not None:
            _check_clone(folder, clone, provenance, finding)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        finding.wrong.append(f"the statements can't be read as those of a release ({type(error).__name__})")
    _check_signature(folder, public_key, finding)
    return finding


def release_files(folder: Path) -> list[Path]:
    """The files of a release: all except the signature and hidden top-level files, which hubs and git add."""
    return [file for file in _entries(folder) if file.is_file() and file != folder / prov.SIGNATURE]


def _entries(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if not path.relative_to(folder).parts[0].startswith(".")]


def _check_files(folder: Path, provenance: dict[str, Any], finding: Finding) -> None:
    """Every file is named in the provenance with its hash; the adapter is the one trained according to `dvc.lock`."""
    if provenance["_type"] != prov.STATEMENT or provenance["predicateType"] != prov.SLSA:
        finding.wrong.append(f"{prov.PROVENANCE} is not an in-toto statement of SLSA provenance")
    if provenance["predicate"]["buildDefinition"]["buildType"] != prov.BUILD_TYPE:
        finding.wrong.append(
            f"{prov.PROVENANCE} has a build type other than {prov.BUILD_TYPE}, which is all this program reads"
        )
    subjects = _digests(provenance["subject"])
    byproducts = provenance["predicate"]["runDetails"]["byproducts"]
    expected = subjects | _digests([entry for entry in byproducts if entry["annotations"]["role"] == "release file"])
    names = {file.relative_to(folder).as_posix(): file for file in release_files(folder)}
    actual = {name: sha256_file(file) for name, file in names.items() if name not in (prov.PROVENANCE, prov.VERDICT)}
    for path in _entries(folder):
        if not path.is_file() and (path.is_symlink() or not path.is_dir()):
            finding.wrong.append(f"{path.relative_to(folder).as_posix()} is neither a file nor a folder")
    for name in sorted({*expected, *actual}):
        if name not in actual:
            finding.wrong.append(f"{name} is missing")
        elif name not in expected:
            finding.wrong.append(f"{name} is not named in {prov.PROVENANCE}")
        elif actual[name] != expected[name]:
            finding.wrong.append(f"{name} is not the file that {prov.PROVENANCE} names (SHA-256 {actual[name]})")
    stages = provenance["predicate"]["buildDefinition"]["internalParameters"]["stages"]
    trained = {md5 for stage in stages.values() for path, md5 in stage["outs"].items() if path == ADAPTER.as_posix()}
    if {*subjects} <= {*actual} and trained != {prov.dvc_md5(folder, [folder / name for name in subjects])}:
        finding.wrong.append("the adapter's files are not those that the training stage made (hash in dvc.lock)")


def _check_verdict(folder: Path, provenance: dict[str, Any], verdict: dict[str, Any], finding: Finding) -> None:
    """The verdict belongs to this provenance, and follows from the gate's report, which the provenance names by hash."""
    made, gate = verdict["predicate"]["configuration"]
    if made["digest"]["sha256"] != sha256_file(folder / prov.PROVENANCE):
        finding.wrong.append(f"{prov.PROVENANCE} does not belong to {prov.VERDICT}: one of them was changed")
    report = gate["annotations"]
    recorded = _digests(provenance["predicate"]["runDetails"]["byproducts"]).get(prov.GATE.as_posix())
    subjects, digest = _digests(provenance["subject"]), made["digest"]["sha256"]
    rebuilt, older = (prov.verdict(subjects, digest, report, older=older) for older in (False, True))
    if rebuilt["predicate"]["configuration"][1]["digest"]["sha256"] != recorded:
        finding.wrong.append(f"the gate's report in {prov.VERDICT} is not the one that {prov.PROVENANCE} names")
    if (folder / prov.VERDICT).read_bytes() not in [canonical_json(form).encode() for form in (rebuilt, older)]:
        finding.wrong.append(f"{prov.VERDICT} contradicts the gate's report in it")
    finding.passed = rebuilt["predicate"]["result"] == "PASSED"


def _describe(folder: Path, provenance: dict[str, Any], verdict: dict[str, Any], finding: Finding) -> None:
    """Describe what the adapter was made from."""
    build = provenance["predicate"]["buildDefinition"]
    params, by_role = build["externalParameters"]["params"], _by_role(provenance)
    size = sum(
        (folder / entry["name"]).stat().st_size for entry in provenance["subject"] if (folder / entry["name"]).is_file()
    )
    say = finding.made_of.append
    say(f"adapter: {params['certify']['name']}, {len(provenance['subject'])} files, {size / 2**20:.1f} MiB")
    for entry in by_role["base model"]:
        facts = entry["annotations"]
        say(f"base: {entry['name']}, revision {facts['revision']} ({facts['source']}), {facts['licence']}")
        say(f"base weights: {len(by_role['base weights'])} files, each with its SHA-256 in {prov.PROVENANCE}")
    for role in ("raw data", "holdout lock"):
        for entry in by_role[role]:
            say(f"{role}: {entry['name']}, SHA-256 {entry['digest']['sha256']}")
    rows = ", ".join(f"{Path(entry['name']).stem} {entry['annotations'].get('rows')}" for entry in by_role["split"])
    say(f"records: {rows}")
    sft = params["sft"]
    dpo = params.get("dpo", {"enabled": False})  # older releases have no dpo block
    preference = (
        f", then DPO ({dpo['loss']}, beta {dpo['beta']}, learning rate {dpo['learning_rate']})"
        if dpo["enabled"]
        else ""
    )
    say(
        f"params: {sft['method']}, rank {sft['lora']['r']}, learning rate {sft['learning_rate']}{preference}, "
        f"seed {params['seed']}"
    )
    for source in by_role["commit"]:
        changed = source["annotations"]["changed"]
        examples = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        commit = source.get("digest", {}).get("gitCommit")
        state = (
            f"commit {commit}, {'with changes in ' + examples if changed else 'without changes'}"
            if commit
            else "no commit"
        )
        say(f"code: {state}; {len(by_role['code'])} files")
    libraries = {entry["name"]: entry["annotations"]["version"] for entry in by_role["installed library"]}
    known = [f"{name} {libraries[name]}" for name in ("torch", "transformers", "peft", "trl") if name in libraries]
    say(
        f"libraries: {len(libraries)} installed, including {', '.join(known) or 'none of torch, transformers, peft, trl'}"
    )
    for entry in by_role["environment"]:
        facts = {key: value for key, value in entry["annotations"].items() if key != "role"}
        say("made on: " + ", ".join(f"{key} {value}" for key, value in sorted(facts.items())))
    outcome = verdict["predicate"]
    met, not_met, open_ = (len(outcome[key]) for key in ("passedTests", "failedTests", "warnedTests"))
    counts = f"{met} rules met, {not_met} not, {open_} undecided"
    failed = f" ({', '.join(outcome['failedTests'])})" if outcome["failedTests"] else ""
    say(f"gate: {outcome['result']}, {counts}{failed}")


def _check_signature(folder: Path, public_key: Path | None, finding: Finding) -> None:
    signature = folder / prov.SIGNATURE
    if not signature.exists():
        finding.made_of.append("signature: none")
        if public_key is not None:
            finding.wrong.append(f"a key was given, but there is no {prov.SIGNATURE}")
        return
    if public_key is None:
        finding.made_of.append("signature: present, not checked (give the signer's public key with --key)")
        return
    model_signing = import_signing()
    try:
        model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public_key).verify(folder, signature)
    except Exception as error:  # the library raises many types, and each means: not verified
        finding.wrong.append(f"the signature is not valid for {public_key.name}: {error or type(error).__name__}")
        return
    finding.made_of.append(f"signature: valid for {public_key.name}")


def import_signing() -> Any:
    """The package `model_signing`, or an error that says how to install it."""
    try:
        import model_signing.signing
        import model_signing.verifying
    except ImportError:
        raise HallmarkError(
            "the package model-signing is not installed",
            file=prov.SIGNATURE,
            remedy="python -m pip install model-signing pyopenssl",
        ) from None
    return model_signing


class _Clone:
    """A clone's files: those in its working directory (`commit` None), or those of one of its commits."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commit: str | None = None

    def read(self, path: str) -> bytes | None:
        if Path(path).is_absolute() or ".." in Path(path).parts:  # a name from the release, which may be hostile
            return None
        if self.commit is not None:
            return prov.git("show", f"{self.commit}:./{path}", at=self.root)
        return (self.root / path).read_bytes() if (self.root / path).is_file() else None

    def stages(self) -> prov.Stages:
        return prov.read_lock((self.read("dvc.lock") or b"").decode(), self.root / "dvc.lock")

    def has(self, release: str) -> bool:
        try:
            return any(stage["outs"].get(RELEASE.as_posix()) == release for stage in self.stages().values())
        except HallmarkError:
            return False

    def find(self, release: str) -> bool:
        """Select the working directory or the commit whose `dvc.lock` has the release with that hash."""
        if self.has(release):
            return True
        log = prov.git("log", "--all", "--format=%H", f"-S{release}", "--", "dvc.lock", at=self.root) or b""
        for commit in reversed(log.decode().split()):
            self.commit = commit
            if self.has(release):
                return True
        self.commit = None
        return False


def _check_clone(folder: Path, root: Path, provenance: dict[str, Any], finding: Finding) -> None:
    """The clone's `dvc.lock`, params and files match the provenance."""
    clone = _Clone(root)
    if clone.read("dvc.lock") is None:
        raise HallmarkError("no such file", file=root / "dvc.lock", remedy="give a clone of the adapter's repository")
    release = prov.dvc_md5(folder, release_files(folder))
    if not clone.find(release):
        finding.wrong.append(f"no dvc.lock in the clone's history has this release ({RELEASE} with hash {release})")
    state = f"commit {clone.commit}" if clone.commit else "the working directory"
    build = provenance["predicate"]["buildDefinition"]
    recorded, now = build["internalParameters"]["stages"], clone.stages()
    for name in sorted(recorded):
        for key in prov.differences(recorded[name], now.get(name), name):
            finding.wrong.append(f"dvc.lock of the clone differs at {key}")
    params = prov.parse_yaml((clone.read("params.yaml") or b"").decode(), root / "params.yaml")
    for key in prov.differences(build["externalParameters"]["params"], params):
        finding.wrong.append(f"param {key} is not the same in the clone")
    compared, absent = 0, 0
    for entry in _files(build["resolvedDependencies"]):
        content = clone.read(entry["name"])
        if content is None:
            absent += 1
        elif prov.sha256(content) == entry["digest"]["sha256"]:
            compared += 1
        else:
            finding.wrong.append(f"{entry['name']} is not the same in the clone ({entry['annotations']['role']})")
    note = f", {absent} are missing (get data and weights with `dvc pull` or `dvc repro`)" if absent else ""
    finding.made_of.append(f"clone: compared with {state}; {compared} of its inputs are the same{note}")


def _files(dependencies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        entry
        for entry in dependencies
        if "sha256" in entry.get("digest", {}) and entry["annotations"]["role"] != "environment"
    ]


def _digests(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {entry["name"]: entry["digest"]["sha256"] for entry in entries}


def _by_role(provenance: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    roles: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in provenance["predicate"]["buildDefinition"]["resolvedDependencies"]:
        roles[entry["annotations"]["role"]].append(entry)
    return roles
