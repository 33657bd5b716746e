"""Provenance of a release: DVC's lock file, the state of git, and the in-toto statements made from both.

A release has two statements that refer to each other, so that neither can be changed alone. `provenance.json` (SLSA)
has the digest of the gate's report; `verdict.json` (test result) contains that report and the digest of
`provenance.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hallmark.base.dvc_lock import Stages, is_inside
from hallmark.base.dvc_lock import parse_yaml as parse_yaml  # these three are also read from here, as prov.read_lock
from hallmark.base.dvc_lock import read_lock as read_lock
from hallmark.base.errors import without_secrets
from hallmark.base.files import HOLDOUT_LOCK, REPORTS, canonical_json, sha256_file
from hallmark.base.loaded_code import FOLDER, LIBRARY, PARAMS, tracked

STATEMENT = "https://in-toto.io/Statement/v1"
SLSA = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
BUILD_TYPE = "urn:hallmark:dvc-pipeline:v1"
PROVENANCE, VERDICT, CARD, LICENCE, SBOM, CASCADE, SIGNATURE = (
    "provenance.json",
    "verdict.json",
    "README.md",
    "LICENSE",
    "sbom.cdx.json",
    "cascade.json",
    "model.sig",
)
GATE = REPORTS / "gate.json"


# --- DVC ---------------------------------------------------------------------------------------------------------


def upstream(stages: Stages, paths: list[str]) -> Stages:
    """The stages that made `paths`, and all stages they depend on (a lock file may have stages that no longer exist).

    The stage `code` is not one of them: what it lists went in, and it reads all code, of which the stages use a part.
    """
    makers = {out: name for name, stage in stages.items() if name != FOLDER.name for out in stage["outs"]}
    names: set[str] = set()
    todo = list(paths)
    while todo:
        path = todo.pop()
        for name in {makers[out] for out in makers if overlap(out, path)} - names:
            names.add(name)
            todo += stages[name]["deps"]
    return {name: stages[name] for name in sorted(names)}


def sources(stages: Stages) -> list[str]:
    """The dependencies that no stage makes: raw data, schema, and the lists of code, which `upstream` leaves unmade."""
    made = [out for stage in stages.values() for out in stage["outs"]]
    deps = {dep for stage in stages.values() for dep in stage["deps"]}
    return sorted(dep for dep in deps if not any(overlap(out, dep) for out in made))


def code_in(files: list[str]) -> list[Path]:
    """The files of the project that the lists of code among `files` name; what is installed is named by its artefact."""
    lists = [Path(file) for file in files if Path(file).parent == FOLDER]
    names = {line.partition("  ")[2] for file in lists for line in file.read_text(encoding="utf-8").splitlines()}
    return [Path(name) for name in sorted(names) if Path(name).exists()]


def dvc_md5(path: Path) -> str:
    """The hash `dvc.lock` records for a file or folder."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return folder_md5({file.relative_to(path).as_posix(): dvc_md5(file) for file in files_in(path)})


def folder_md5(files: dict[str, str]) -> str:
    """The hash `dvc.lock` records for a folder with these files {path inside: md5}.

    As in DVC 3, it is the MD5 of a JSON list of them, sorted by path.
    """
    entries = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    text = json.dumps(entries, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def files_in(folder: Path) -> list[Path]:
    """All files below a folder except Python byte code, sorted."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def stale(stages: Stages, params: dict[str, Any]) -> list[str]:
    """In words, how the files on disk differ from what `stages` recorded as read and made (empty if nothing differs)."""
    hashes: dict[str, str] = {}
    problems: list[str] = []
    now = tracked(params)
    for name, stage in stages.items():
        for key, value in tracked(stage["params"]).items():
            if _at(now, key) != value:
                problems.append(f"param {key} is not what {name} ran with")
        for path, md5 in {**stage["deps"], **stage["outs"]}.items():
            if path not in hashes:
                hashes[path] = dvc_md5(Path(path)) if Path(path).exists() else "nothing"
            if hashes[path] != md5:
                problems.append(f"{path} is not what {name} {'made' if path in stage['outs'] else 'read'}")
    return list(dict.fromkeys(problems))


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """The dotted keys where two plain values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new}, key=str)
        missing = object()
        return [
            line
            for key in keys
            for line in differences(old.get(key, missing), new.get(key, missing), f"{at}.{key}" if at else str(key))
        ]
    return [] if old == new and type(old) is type(new) else [at]


def params_at(read: Callable[[str], bytes | None], where: str, stages: Stages) -> tuple[dict[str, Any], list[str]]:
    """The params of a commit, as `code` resolved them there, and the keys of its params.yaml that were changed since then.

    `read` has the content of a file, `stages` are those of its dvc.lock. Commits of before there were defaults have only
    params.yaml, and all params in it.
    """
    written, resolved = read("params.yaml"), read(PARAMS.as_posix())
    params = parse_yaml(written or b"", f"params.yaml {where}".strip())
    if resolved is None:
        return params, []
    made_from = stages.get(FOLDER.name, {"params": {}})["params"]
    return parse_yaml(resolved, f"{PARAMS} {where}".strip()), differences(made_from, params)


def overlap(left: str, right: str) -> bool:
    """Whether two paths are the same, or one is inside the other."""
    return left == right or left.startswith(f"{right}/") or right.startswith(f"{left}/")


def _at(params: dict[str, Any], key: str) -> Any:
    value: Any = params
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


# --- git ---------------------------------------------------------------------------------------------------------


# A clone may be anyone's, and its .git/config can name programs that git starts. These start none, and fetch nothing.
SAFE = (
    *("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "-c", "log.showSignature=false"),
    *("-c", "diff.external=", "--no-pager", "--literal-pathspecs"),
)
SAFE_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_GRAFT_FILE": os.devnull,  # a graft gives a commit other parents, and a replace ref another content
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
# Set by git for its hooks; with them, `git -C clone` would read the repository of the hook.
OF_ANOTHER = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE")
GIT_SECONDS = 300


def git(*arguments: str, at: Path = Path(), seconds: float = GIT_SECONDS) -> bytes | None:
    """The output of git, or None if it fails (no repository, no commit yet, no git)."""
    environment = {key: value for key, value in os.environ.items() if key not in OF_ANOTHER} | SAFE_ENVIRONMENT
    command = ["git", "-C", str(at), *SAFE, *arguments]
    try:
        return subprocess.run(command, capture_output=True, env=environment, check=True, timeout=seconds).stdout
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, FileNotFoundError):
        return None


def git_file(path: str, commit: str, at: Path, limit: int, seconds: float = GIT_SECONDS) -> bytes | None:
    """A file of a commit as it was committed (no filter runs), or None if there is none or it is larger than `limit`."""
    name = f"{commit}:./{path}"
    size = git("cat-file", "-s", name, at=at, seconds=seconds)
    fits = size is not None and int(size) <= limit
    return git("cat-file", "blob", name, at=at, seconds=seconds) if fits else None


def git_state(paths: list[str]) -> dict[str, Any]:
    """Commit and public address of the repository, and the `paths` that differ from that commit."""
    commit = git("rev-parse", "HEAD")
    ours = filter(is_inside, paths)  # git fails at one outside of the repository
    status = git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *ours) or b""
    prefix = (git("rev-parse", "--show-prefix") or b"").decode().strip()
    changed = [entry[3:].removeprefix(prefix) for entry in status.decode(errors="replace").split("\0") if entry]
    origin = (git("remote", "get-url", "origin") or b"").decode(errors="replace").strip()
    return {
        "commit": commit.decode().strip() if commit else None,
        "address": without_secrets(origin) if origin.startswith(("https://", "http://", "ssh://")) else None,
        "changed": sorted(changed),
    }


def sha256(content: str | bytes) -> str:
    """SHA-256 of bytes or of a text in UTF-8, as lower-case hex."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


# --- statements --------------------------------------------------------------------------------------------------


def descriptor(name: str, sha256: str, role: str, **annotations: Any) -> dict[str, Any]:
    """An in-toto ResourceDescriptor of a file."""
    return {"name": name, "digest": {"sha256": sha256}, "annotations": {"role": role, **annotations}}


def role_of(path: str, schema: str | None) -> str:
    """The role of a pipeline file for the adapter, in words."""
    if path.startswith("data/raw/"):
        return "raw data"
    if path == schema:
        return "output schema"
    if path.startswith(f"{LIBRARY}/"):
        return "library"
    if path.startswith(f"{FOLDER}/"):
        return "list of code"
    if path.endswith(".py"):
        return "code"
    if path.startswith("models/base/"):
        return "base weights"
    if path.startswith("models/quantized/"):
        return "quantized weights"
    if path == HOLDOUT_LOCK.as_posix():
        return "holdout lock"
    if path.startswith("data/split/"):
        return "split"
    if path.startswith("data/"):
        kinds = {"data/gold/": "gold labels", "data/bought/": "bought answers"}
        return next((role for folder, role in kinds.items() if path.startswith(folder)), "data")
    return "library lock" if path == "requirements.lock" else "other input"


def materials(
    files: list[Path],
    *,
    schema: str | None,
    base: dict[str, Any],
    state: dict[str, Any],
    environment: dict[str, Any],
) -> list[dict[str, Any]]:
    """The resolved dependencies: every input file, git, the installed libraries and the environment."""
    from packageurl import PackageURL

    result = []
    for file in files:
        path = file.as_posix()
        extra = {"rows": _rows(file)} if file.suffix == ".parquet" else {}
        result.append(descriptor(path, sha256_file(file), role_of(path, schema), **extra))
    facts = {key: base[key] for key in ("source", "revision", "licence")}
    uri = f"https://huggingface.co/{base['name']}/tree/{base['revision']}" if base["source"] == "hub" else None
    result.append(
        {"name": base["name"], **({"uri": uri} if uri else {}), "annotations": {"role": "base model", **facts}}
    )
    commit = state["commit"]
    result.append(
        {
            "name": "source",
            **({"uri": f"git+{state['address']}@{commit}"} if state["address"] and commit else {}),
            **({"digest": {"gitCommit": commit}} if commit else {}),
            "annotations": {
                "role": "commit",
                "changed": state["changed"],
                "note": "the commit that the run started from; `changed` lists inputs that differed from it",
            },
        }
    )
    for name, installed in environment["installed"].items():
        purl = PackageURL("pypi", name=name, version=installed).to_string()
        about = {"role": "installed library", "version": installed}
        result.append({"name": name, **({"uri": purl} if installed != "absent" else {}), "annotations": about})
    fingerprint = environment["fingerprint"]
    digest = sha256(canonical_json(fingerprint))
    result.append(descriptor("fingerprint", digest, "environment", **fingerprint))
    return result


def provenance(
    *,
    subjects: dict[str, str],
    params: dict[str, Any],
    stages: Stages,
    dependencies: list[dict[str, Any]],
    byproducts: list[dict[str, Any]],
) -> dict[str, Any]:
    """The in-toto Statement with SLSA provenance v1 whose subjects are the adapter's files {path: sha256}.

    It has no times or run ids: a rebuild differs only in measured reports, the commit, versions and the environment.
    """
    return {
        "_type": STATEMENT,
        "subject": _subjects(subjects),
        "predicateType": SLSA,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"command": "dvc repro", "params": params},
                "internalParameters": {"stages": stages},
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {"id": BUILD_TYPE, "version": {"dvc": version("dvc"), "python": platform.python_version()}},
                "byproducts": byproducts,
            },
        },
    }


def verdict(
    subjects: dict[str, str], provenance_sha256: str, gate: dict[str, Any], *, older: bool = False
) -> dict[str, Any]:
    """The in-toto test-result statement of the gate: PASSED, WARNED (pass with waivers) or FAILED.

    Rules with too little data are warnings, and so are failed rules with a waiver, whose reason is in the gate's report. A
    rule that is not applicable is not a test, so it is only in the gate's report. `older`: the form used until November
    2026, which listed such a rule as a warning.
    """
    outcomes: dict[str, list[str]] = {"pass": [], "fail": [], "undecided": []}
    for rule in gate.get("rules", []):
        outcome = rule.get("outcome")
        if outcome == "not_applicable" and not older:
            continue
        waived = outcome == "fail" and rule.get("waiver") is not None
        outcomes[outcome if outcome in ("pass", "fail") and not waived else "undecided"].append(str(rule.get("name")))
    report = sha256(canonical_json(gate))
    return {
        "_type": STATEMENT,
        "subject": _subjects(subjects),
        "predicateType": TEST_RESULT,
        "predicate": {
            "result": {"pass": "PASSED", "pass_with_waivers": "WARNED"}.get(str(gate.get("verdict")), "FAILED"),
            "configuration": [
                {"name": PROVENANCE, "digest": {"sha256": provenance_sha256}},
                {"name": GATE.as_posix(), "digest": {"sha256": report}, "annotations": gate},
            ],
            "passedTests": outcomes["pass"],
            "warnedTests": outcomes["undecided"],
            "failedTests": outcomes["fail"],
        },
    }


def _subjects(files: dict[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in sorted(files.items())]


def _rows(parquet: Path) -> int:
    import polars as pl

    return int(pl.scan_parquet(parquet).select(pl.len()).collect().item())
