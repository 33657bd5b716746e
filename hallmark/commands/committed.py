"""Refuse files that must stay out of git: `python -m hallmark.commands.committed`, run by `nox -s fresh` and the commit hook.

It reads git's index, so `git add --force` does not get past it. It refuses raw records, unknown files in `data/`, data
files anywhere, keys (and the repo's key in any file), environment files, weights, whatever `.gitignore` names, and .dvc
files that let `dvc push` send raw records to the default remote. It knows sample data by its SHA-256, in `sample.sha256`
next to it. Upper and lower case are the same, as they are to the file systems of macOS and Windows.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import posixpath
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from hallmark.base import provenance as prov
from hallmark.base.document import value_at
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import HOLDOUT_LOCK
from hallmark.base.key import digest_of
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.mask.second_check import in_name

RAW = "data/raw"
SAMPLES = "sample.sha256"  # of a folder with raw data: lines of `SHA-256  name`, as sha256sum writes them
GOLD = ("data/gold/spans.jsonl", "data/gold/duplicates.jsonl")  # positions and ids, no text
GOLD_FIELDS = {"id", "start", "end", "kind", "cluster"}
BESIDE_RAW = {"README.md", ".gitignore", SAMPLES}
DATA = {
    *(".arrow", ".conll", ".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".tsv"),
    *(".avro", ".db", ".duckdb", ".feather", ".npy", ".npz", ".ods", ".orc", ".sqlite", ".xls", ".xlsx"),
    *(".7z", ".bz2", ".gz", ".tar", ".tgz", ".xz", ".zip", ".zst"),
}  # fmt: skip
NO_DATA = {".py", ".md", ".dvc", ".yaml"}  # of files in `data/` that need no param
# Elsewhere, a data file is taken for records.
NO_RECORDS = ("reports/", "docs/", "hallmark/", "stages/", "tests/", "template/")
WEIGHTS = re.compile(r".*\.(?:safetensors|gguf|bin|pt|pth|ckpt|pkl|pickle|joblib|onnx)", re.IGNORECASE)
SECRET = re.compile(r"\.env.*|.*\.(?:env|pem|key|p12|pfx)", re.IGNORECASE)
OF_REMOTES = (".dvc/config", ".cruft.json")  # addresses, which may hold a password
PASSWORD = re.compile(
    r"^\s*(?:password|account_key|connection_string|\w*secret\w*|\w*token)\s*=|https?://[^/\s]*@|://[^/\s]*:[^/\s]*@",
    re.IGNORECASE | re.MULTILINE,
)
SHOWN = 5  # files named in one message

UNTRACK = (
    "take it out of git: `git rm --cached FILE`. If it was ever committed, it stays in the history: rewrite that before "
    "you push (`git filter-repo --invert-paths --path FILE`), or treat the content as public"
)
SHARING = 'docs/dvc.md, "Share the raw data"'
OWN_REMOTE = f"give it `push: false`, or `remote:` with the name of a remote of its own: {SHARING}"


def findings() -> dict[tuple[str, str], list[str]]:
    """What must not be in git, as {(problem, remedy): files}; empty if there is no repository here."""
    files = index()
    known, gold = names_in_params()
    left_out = normal(in_params("split", "leave_out") or "")
    found: dict[tuple[str, str], list[str]] = {}
    judged: set[str] = set()

    def refuse(file: str, problem: str, remedy: str = UNTRACK) -> None:
        if file not in judged:
            judged.add(file)
            found.setdefault((problem, remedy), []).append(file)

    for file, content in files.items():
        name, folder = PurePosixPath(file).name, PurePosixPath(file).parent.as_posix()
        samples = samples_of(files, folder)
        suffix = PurePosixPath(name).suffix.lower()
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
        elif within(file, RAW):
            if not (name.endswith(".dvc") or name in BESIDE_RAW):
                refuse(file, "raw records don't belong in git", f"{UNTRACK}. How to share them: {SHARING}")
        elif file in gold:
            if not (is_gold(content_of(content)) or (file == left_out and is_ids(content_of(content)))):
                keep = f"keep only {', '.join(sorted(GOLD_FIELDS))} in its rows, as short values; if it was committed, {UNTRACK}"
                refuse(file, "holds more than positions and ids", keep)
        elif (
            file not in known
            and name not in BESIDE_RAW
            and (
                suffix not in NO_DATA
                if within(file, "data")
                else suffix in DATA - {".json"} and not file.startswith(NO_RECORDS)
            )
        ):
            made_up = f"{UNTRACK}. If it is made up, list it in {folder}/{SAMPLES} (`sha256sum FILE`)"
            refuse(file, "a data file that no param names", made_up)
    for file in ignored():
        refuse(file, "is in git although a .gitignore names it")
    for file in with_key(files):
        new = f"take the key out and make another one (data.key: null, then `nox -s key`). {UNTRACK}"
        refuse(file, "holds the repo's key", new)
    for file in (file for file in OF_REMOTES if file in files and PASSWORD.search(text_of(files[file], file))):
        local = "keep it out of git with `dvc remote modify --local` or git's credential helper"
        refuse(file, "holds a password or a key", f"make it invalid, and take it out of the file: {local}")
    for file in files:
        if PurePosixPath(file).name == "dvc.yaml" or file.endswith(".dvc"):
            for out in outs_of(file, content_of(files[file])):
                if (within(out["path"], RAW) or within(RAW, out["path"])) and pushed(out):
                    refuse(file, f"lets `dvc push` send {out['path']} to the default remote", OWN_REMOTE)
    return found


def index() -> dict[str, str]:
    return {file: head.split()[1] for head, file in (entry.split("\t", 1) for entry in listed("--stage"))}


def ignored() -> list[str]:
    """Files in the index that a .gitignore names (of this repository, not of its user)."""
    return listed("--cached", "--ignored", "--exclude-per-directory=.gitignore")


def listed(*options: str) -> list[str]:
    try:
        text = git("ls-files", "-z", *options).decode(errors="surrogateescape")
    except NoRepositoryError:
        return []
    return [entry for entry in text.split("\0") if entry]


class NoRepositoryError(Exception):
    """This folder is in no git repository."""


def git(*arguments: str, codes: tuple[int, ...] = (0,)) -> bytes:
    """The output of git. If git fails, so does the check: what could not be looked at is not taken to be fine."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    except FileNotFoundError:
        raise HallmarkError("is not installed", file="git", remedy="install git") from None
    if b"not a git repository" in done.stderr:
        raise NoRepositoryError
    if done.returncode not in codes:
        reason = done.stderr.decode(errors="replace").strip().split("\n")[0]
        raise HallmarkError(f"git failed: {reason}", file=".git", remedy=f"run `git {arguments[0]}`, do what it says")
    return done.stdout


def content_of(blob: str) -> bytes:
    return git("cat-file", "blob", blob)


def sha256(blob: str) -> str:
    """SHA-256 of what is staged: the file itself may have changed since."""
    return hashlib.sha256(content_of(blob)).hexdigest()


def text_of(blob: str, file: str) -> str:
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
            remedy = "write the line with `sha256sum NAME`, run in the folder"
            problem = "not a SHA-256, two spaces and a name in this folder"
            raise HallmarkError(problem, file=file, row=number, remedy=remedy)
        samples[entry[2]] = entry[1]
    return samples


def with_key(files: dict[str, str]) -> list[str]:
    """The files in the index that hold the key of which `data.key` in params.yaml is the digest."""
    digest = in_params("data", "key")
    if digest is None or not files:
        return []
    named = git("grep", "--cached", "-a", "-i", "-l", "-z", "-E", "[0-9a-f]{64}", codes=(0, 1))
    return [
        file
        for file in named.decode(errors="surrogateescape").split("\0")
        if file in files
        for runs in [re.findall(rb"[0-9a-f]{64,4096}", content_of(files[file]).lower())]
        if any(digest_of(run[at : at + 64].decode()) == digest for run in runs for at in range(len(run) - 63))
    ]


def is_gold(content: bytes) -> bool:
    """Whether each line is an object with the fields of a gold row and short values, so that no text hides in it."""
    try:
        rows = [strict_json(line) for line in content.decode().splitlines() if line.strip()]
    except (UnicodeDecodeError, NotJsonError):
        return False
    return all(
        isinstance(row, dict)
        and row.keys() <= GOLD_FIELDS
        and all(isinstance(value, int) or (isinstance(value, str) and is_name(value)) for value in row.values())
        for row in rows
    )


def is_ids(content: bytes) -> bool:
    """Whether each line is one word, as short as an id, so that no text hides in it."""
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        return False
    return all(is_name(line) and len(line.split()) <= 1 for line in lines)


def is_name(text: str) -> bool:
    """Whether it is as short as an id, and no private value that proves itself."""
    return len(text) <= 200 and not in_name(text)


def names_in_params() -> tuple[set[str], set[str]]:
    """Other data files that are known, and gold files, as far as params.yaml can be read."""
    schema, lists = in_params("task", "schema"), (("mask", "gold"), ("dedupe", "gold"), ("split", "leave_out"))
    gold = {*GOLD, *(normal(file) for place in lists if (file := in_params(*place)))}
    return {HOLDOUT_LOCK.as_posix(), *([normal(schema)] if schema else [])}, gold


def in_params(block: str, key: str) -> str | None:
    """A text of params.yaml, if that can be read and has it."""
    with suppress(OSError, HallmarkError):
        value = value_at(prov.parse_yaml(Path("params.yaml").read_bytes(), "params.yaml"), f"{block}.{key}")
        return value if isinstance(value, str) else None
    return None


def normal(path: str, folder: str = "") -> str:
    """A path from the root of the repository, without `.` and `..` where they can be resolved."""
    place = posixpath.normpath(posixpath.join(folder, path))
    return "" if place == "." else place


def within(file: str, folder: str) -> bool:
    """Whether a file is that one or lies below it; `folder` may be empty, for the root."""
    return not folder or f"{file}/".casefold().startswith(f"{folder}/".casefold())


def outs_of(file: str, content: bytes) -> Iterator[dict[str, Any]]:
    """The outputs in a `.dvc` file or a dvc.yaml that DVC keeps, each with its path from the root of the repository."""
    try:
        top = prov.parse_yaml(content, file)
    except HallmarkError:
        if file.endswith(".dvc"):
            raise HallmarkError("is no file of DVC", file=file, remedy=UNTRACK.replace("FILE", file)) from None
        raise
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
