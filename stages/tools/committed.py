"""Refuse files that must stay out of git: `python -m stages.tools.committed`, run by `nox -s fresh` and the commit hook.

It reads git's index, so `git add --force` does not get past it. Refused are raw records, other data files in `data/` that
are not known, keys and environment files, weights, whatever `.gitignore` names, and files of DVC that let `dvc push` send
raw records to the default remote. Sample data is known by its SHA-256, in `sample.sha256` next to it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.core.errors import HallmarkError, run_stage
from stages.core.files import HOLDOUT_LOCK
from stages.core.records import READERS

RAW = "data/raw"
GOLD = ("data/gold/spans.jsonl", "data/gold/duplicates.jsonl")  # positions and ids, no text
SAMPLES = "sample.sha256"  # lines of `SHA-256  name`, as sha256sum writes them
BESIDE_RAW = {"README.md", ".gitignore", SAMPLES}
DATA = {
    *READERS,
    *(".avro", ".db", ".duckdb", ".feather", ".ndjson", ".npy", ".npz", ".ods", ".orc", ".sqlite", ".tsv", ".xls", ".xlsx"),
    *(".7z", ".bz2", ".gz", ".tar", ".tgz", ".xz", ".zip", ".zst"),
}  # fmt: skip
WEIGHTS = re.compile(r".*\.(?:safetensors|gguf|bin|pt|pth|ckpt|pkl|pickle|joblib|onnx)", re.IGNORECASE)
SECRET = re.compile(r"\.env.*|.*\.(?:env|pem|key|p12|pfx)", re.IGNORECASE)
SHOWN = 5  # files named in one message

UNTRACK = (
    "take it out of git: `git rm --cached FILE`. If it was ever committed, it stays in the history: rewrite that before "
    "you push (`git filter-repo --invert-paths --path FILE`), or treat the content as public"
)
SHARING = 'docs/your-data.md of Hallmark, "Share the raw data"'
OWN_REMOTE = f"give it `push: false`, or `remote:` with the name of a remote of its own: {SHARING}"


def findings() -> dict[tuple[str, str], list[str]]:
    """What must not be in git, as {(problem, remedy): files}; empty if there is no repository here."""
    files = index()
    raw, known = names_in_params()
    found: dict[tuple[str, str], list[str]] = {}
    judged: set[str] = set()

    def refuse(file: str, problem: str, remedy: str = UNTRACK) -> None:
        if file not in judged:
            judged.add(file)
            found.setdefault((problem, remedy), []).append(file)

    for file, content in files.items():
        name, folder = PurePosixPath(file).name, PurePosixPath(file).parent.as_posix()
        samples = samples_of(files, folder) if file.startswith("data/") else {}
        if SECRET.fullmatch(name):
            refuse(file, "looks like a key or an environment file", f"{UNTRACK}. A public key may end in .pub")
        elif WEIGHTS.fullmatch(name):
            refuse(file, "looks like weights, which DVC keeps")
        elif name in samples:
            if sha256(content) == samples[name]:
                judged.add(file)
            else:
                refuse(
                    file,
                    f"is not the sample that {folder}/{SAMPLES} lists",
                    f"restore it (`git checkout HEAD -- FILE`) and give your records a file of their own; if they are in "
                    f"git already, {UNTRACK}. If it is made up too, put its hash into {SAMPLES} (`sha256sum FILE`)",
                )
        elif any(within(file, folder) for folder in raw):
            if not (name.endswith(".dvc") or name in BESIDE_RAW):
                refuse(file, "raw records don't belong in git", f"{UNTRACK}. How to share them: {SHARING}")
        elif file.startswith("data/") and PurePosixPath(name).suffix.lower() in DATA and file not in known:
            refuse(
                file,
                "a data file that no param names",
                f"{UNTRACK}. If it is made up, list it in {folder}/{SAMPLES} (`sha256sum FILE`)",
            )
    for file in ignored():
        refuse(file, "is in git although a .gitignore names it")
    for file in files:
        if PurePosixPath(file).name == "dvc.yaml" or file.endswith(".dvc"):
            for out in outs_of(file, text_of(files[file], file)):
                if any(within(out["path"], folder) or within(folder, out["path"]) for folder in raw) and pushed(out):
                    refuse(file, f"lets `dvc push` send {out['path']} to the default remote", OWN_REMOTE)
    return found


def index() -> dict[str, str]:
    """The files in git's index below this folder, each with the id of its content."""
    return {file: head.split()[1] for head, file in (entry.split("\t", 1) for entry in listed("--stage"))}


def ignored() -> list[str]:
    """Files in the index that a .gitignore names (of this repository, not of its user)."""
    return listed("--cached", "--ignored", "--exclude-per-directory=.gitignore")


def listed(*options: str) -> list[str]:
    """What `git ls-files` prints; nothing outside of a repository."""
    try:
        text = git("ls-files", "-z", *options).decode(errors="surrogateescape")
    except NoRepositoryError:
        return []
    return [entry for entry in text.split("\0") if entry]


class NoRepositoryError(Exception):
    """This folder is in no git repository."""


def git(*arguments: str) -> bytes:
    """The output of git. If git fails, so does the check: what could not be looked at is not taken to be fine."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    except FileNotFoundError:
        raise HallmarkError("is not installed", file="git", remedy="install git") from None
    if b"not a git repository" in done.stderr:
        raise NoRepositoryError
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().split("\n")[0]
        raise HallmarkError(
            f"git failed: {reason}", file=".git", remedy=f"run `git {arguments[0]}` and do what it says"
        )
    return done.stdout


def content_of(blob: str) -> bytes:
    """What is staged."""
    return git("cat-file", "blob", blob)


def sha256(blob: str) -> str:
    """SHA-256 of what is staged: the file itself may have changed since."""
    return hashlib.sha256(content_of(blob)).hexdigest()


def text_of(blob: str, file: str) -> str:
    """A staged text."""
    try:
        return content_of(blob).decode()
    except UnicodeDecodeError:
        raise HallmarkError("is not text in UTF-8", file=file, remedy="restore it from git") from None


def samples_of(files: dict[str, str], folder: str) -> dict[str, str]:
    """The sample data of a folder: {name: SHA-256}."""
    file = f"{folder}/{SAMPLES}"
    return _samples(file, files[file]) if file in files else {}


@cache
def _samples(file: str, blob: str) -> dict[str, str]:
    samples = {}
    for number, line in enumerate(text_of(blob, file).splitlines(), 1):
        entry = re.fullmatch(r"([0-9a-f]{64}) [ *]([^/]+)", line)
        if not entry:
            raise HallmarkError(
                "not a SHA-256, two spaces and a name in this folder",
                file=file,
                row=number,
                remedy="write the line with `sha256sum NAME`, run in the folder",
            )
        samples[entry[2]] = entry[1]
    return samples


def names_in_params() -> tuple[set[str], set[str]]:
    """The folders and files of raw records, and other data files that are known, as far as params.yaml can be read."""
    try:
        params = YAML(typ="safe").load(Path("params.yaml"))
    except (OSError, YAMLError, UnicodeDecodeError, RecursionError):
        params = None

    def at(block: str, key: str) -> str | None:
        value = params.get(block) if isinstance(params, dict) else None
        value = value.get(key) if isinstance(value, dict) else None
        return normal(value) if isinstance(value, str) else None

    raw = {RAW, *filter(None, [at("data", "path")])}
    known = filter(None, (at("task", "schema"), at("mask", "gold"), at("dedupe", "gold")))
    return raw, {HOLDOUT_LOCK.as_posix(), *GOLD, *known} - raw


def normal(path: str, folder: str = "") -> str:
    """A path from the root of the repository, without `.` and `..` where they can be resolved."""
    parts: list[str] = []
    for part in PurePosixPath(folder, path).parts:
        if part == ".." and parts:
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def within(file: str, folder: str) -> bool:
    """Whether a file is that one or lies below it; `folder` may be empty, for the root."""
    return not folder or f"{file}/".startswith(f"{folder}/")


def outs_of(file: str, text: str) -> Iterator[dict[str, Any]]:
    """The outputs in a `.dvc` file or a dvc.yaml that DVC keeps, each with its path from the root of the repository."""
    try:
        document = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, RecursionError):
        raise HallmarkError("is not YAML", file=file, remedy="restore it: `git checkout HEAD -- FILE`") from None
    top = document if isinstance(document, dict) else {}
    stages = top.get("stages")
    stages = [stage for stage in (stages.values() if isinstance(stages, dict) else ()) if isinstance(stage, dict)]
    for block in [top, *(stage.get("do", stage) for stage in stages)]:
        if not isinstance(block, dict) or not isinstance(block.get("outs"), list):
            continue
        folder = normal(str(block.get("wdir") or "."), PurePosixPath(file).parent.as_posix())
        for out in block["outs"]:
            if isinstance(out, str):
                out = {out: {}}
            if isinstance(out, dict) and "path" not in out and len(out) == 1:
                [(path, flags)] = out.items()
                out = {**(flags if isinstance(flags, dict) else {}), "path": path}
            if isinstance(out, dict) and isinstance(out.get("path"), str) and out.get("cache", True):
                yield {**out, "path": normal(out["path"], folder)}


def pushed(out: dict[str, Any]) -> bool:
    """Whether a plain `dvc push` would send this output to the default remote, or to another name of the same place."""
    if out.get("push") is False:
        return False
    remote = out.get("remote")
    if not isinstance(remote, str):
        return True
    from dvc.config import Config, ConfigError

    try:
        config = Config(str(Path(".dvc").resolve()))
    except ConfigError as error:
        raise HallmarkError(f"can't be read ({type(error).__name__})", file=".dvc/config", remedy="fix it") from None
    default = config["core"].get("remote")
    urls = {name: block.get("url") for name, block in config["remote"].items()}
    return remote == default or (default in urls and urls.get(remote) == urls[default])


def main(arguments: argparse.Namespace) -> None:
    """Command line: no options of its own. One error for each problem, with the files that have it."""
    errors = []
    for (problem, remedy), files in findings().items():
        others = [*files[1:SHOWN], *([f"{len(files) - SHOWN} more"] if len(files) > SHOWN else [])]
        more = f" (and {', '.join(others)})" if others else ""
        errors.append(HallmarkError(problem + more, file=files[0], remedy=remedy.replace("FILE", files[0])))
    for error in errors[:-1]:
        print(f"committed: error: {error}", file=sys.stderr)
    if errors:
        raise errors[-1]
    print("nothing in git's index that must stay out of it")


if __name__ == "__main__":
    run_stage("committed", __doc__, main)
