"""Bring a stamped repo to the template's state: `nox -s update` there, or `nox -s update -- ../my-domain` in the template.

The template is stamped from the commit in `.cruft.json` and from the newest one, with the same answers. Git merges the
difference into the repo, as it merges any commit; clashes are conflicts in git's index. Nothing is committed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import write_text
from hallmark.base.provenance import OF_ANOTHER
from hallmark.base.reading import read_object

KEPT = (
    ".cruft.json",
    "LICENSE",
    "README.md",
    "data",
    "dvc.lock",
    "reports",
    "stages/records.py",
)  # the owner's: left alone
RESTORE = "restore it from git's history"
LINK = "write it with `cruft link TEMPLATE --directory template`, which asks for the commit and the answers; commit it"
COMMIT = "commit them, or put them away with `git stash --include-untracked`; `git reset --merge` takes an update back"
ANOTHER = "`nox -s update -- TEMPLATE` names another folder or address of the template"
RESOLVE = (
    "resolve the lines between <<<<<<< (yours) and >>>>>>> (the template's); `git checkout --ours FILE` takes yours "
    "(of params.yaml, that is enough), `--theirs` the template's; `git add` or `git rm` each, and commit. `git reset --merge` takes the update back"
)
SETTINGS = (  # whatever the owner has: no hook stops an update halfway, and no own file moves with a folder of the template
    *("user.name=Hallmark", "user.email=hallmark@localhost", f"core.hooksPath={os.devnull}", "core.safecrlf=false"),
    *("core.quotePath=false", "merge.directoryRenames=false", "rerere.enabled=false"),
)
SAFE = {"LC_ALL": "C", "GIT_ALLOW_PROTOCOL": "https:ssh:file"}  # a template is run: nobody on the way may change it


def update(repo: Path, template: str | None, checkout: str | None) -> list[str]:
    """Merge into `repo` what changed in the template since its last update; returns the conflicts."""
    changes = git(repo, "status", "--porcelain", "--untracked-files=all", "--", ".")
    if changes := changes or staged(repo):  # `git reset --merge` would take those of other folders back too
        first = changes.splitlines()[0]
        raise HallmarkError(f"has changes that are not committed, such as `{first}`", file=repo, remedy=COMMIT)
    record = repo / ".cruft.json"
    if not record.is_file():
        raise HallmarkError("is missing, so template and answers are not known", file=record, remedy=LINK)
    state = read_object(record, RESTORE)
    try:
        old, answers, source = str(state["commit"]), dict(state["context"]["cookiecutter"]), str(state["template"])
        followed = str(state["checkout"]) if state.get("checkout") else None
    except (KeyError, TypeError, ValueError):
        raise HallmarkError("damaged", file=record, remedy=RESTORE) from None
    if followed and old.startswith(followed):  # stamped from a commit, which is no branch to follow
        followed = None
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place, "template")
        git(repo, "clone", "--quiet", "--", template or source, str(clone), file=record, remedy=ANOTHER)
        if branch := checkout or followed:
            remedy = "name a branch, tag or commit that the template has, with `--checkout`"
            git(clone, "checkout", "--quiet", branch, "--", file=record, remedy=remedy)
        new = git(clone, "rev-parse", "HEAD")
        if new == old:
            return []
        old_tree, new_tree = (stamped(repo, clone, commit, answers) for commit in (old, new))
    check_nothing_is_in_the_way(repo, old_tree, new_tree)
    base = git(repo, "commit-tree", old_tree, "-m", "the template before")
    change = git(repo, "commit-tree", new_tree, "-p", base, "-m", "the template")
    said, where = "", git(repo, "rev-parse", "--show-prefix")
    try:
        git(repo, "cherry-pick", "--no-commit", *([f"-Xsubtree={where}"] if where else []), change)
    except HallmarkError as error:
        said = error.problem
        if not git(repo, "ls-files", "--unmerged"):
            raise
    write_text(record, json.dumps(state | {"commit": new, "checkout": followed}, ensure_ascii=False, indent=2) + "\n")
    git(repo, "add", record.name)
    print(f"{repo}: from {old[:7]} to {new[:7]} of the template")
    return [*conflicts(repo, said)]


def stamped(repo: Path, clone: Path, commit: str, answers: dict[str, str]) -> str:
    """Stamp a repo from a commit; its tree in `repo`'s objects, without what is kept, but with modules that it has taken over."""
    remedy = "`git fetch --unshallow` gets the whole history of a clone; `nox -s update -- TEMPLATE` names another"
    git(clone, "checkout", "--quiet", "--detach", commit, file=repo / ".cruft.json", remedy=remedy)
    out = Path(tempfile.mkdtemp(dir=clone.parent))
    given = [f"{key}={of}" for key, of in (answers | {"initialise_git": "no"}).items() if not key.startswith("_")]
    options = ("--directory", "template", "--output-dir", str(out), "--no-input", "--default-config")
    command = [sys.executable, "-m", "cookiecutter", str(clone), *options, *given]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    folders = sorted(out.iterdir())
    if done.returncode or len(folders) != 1:
        said = (done.stdout + done.stderr).strip()[-2000:]
        problem = f"commit {commit[:7]} of the template can't be stamped with its answers:\n{said}"
        raise HallmarkError(problem, file=repo / ".cruft.json", remedy="change the answers there, and commit it")
    (folder,) = folders
    for name in git(repo, "ls-files", "-z", "stages/hallmark").split("\0")[:-1]:
        if (source := clone / name.removeprefix("stages/")).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
    where = ("--git-dir", git(repo, "rev-parse", "--absolute-git-dir"), "--work-tree", str(folder))
    index = str(out / "index")
    without = (f":(exclude,top){name}" for name in KEPT)
    git(folder, *where, "add", "--all", "--force", "--", ".", *without, index=index)
    return git(folder, *where, "write-tree", index=index)


def check_nothing_is_in_the_way(repo: Path, old: str, new: str) -> None:
    """A HallmarkError if the update would write where the repo has a file that is not in git: git overwrites ignored ones."""
    tracked = {*git(repo, "ls-files", "-z").split("\0")}
    written = git(repo, "diff-tree", "-r", "-z", "--name-only", "--diff-filter=d", "--no-renames", old, new)
    for name in map(Path, written.split("\0")[:-1]):
        for path in (name, *name.parents[:-1]):
            place = repo / path
            there = place.is_symlink() or (place.exists() if path == name else place.is_file())
            if there and path.as_posix() not in tracked:
                remedy = "move it, and update again; nothing was changed"
                raise HallmarkError("is not in git, and the template has a file there", file=place, remedy=remedy)


def conflicts(repo: Path, said: str) -> Iterator[str]:
    """Each place where both changed the same: file and line, or what git says of a file without such lines."""
    unmerged = git(repo, "ls-files", "--unmerged", "-z").split("\0")[:-1]
    for name in sorted({entry.partition("\t")[2] for entry in unmerged}):
        lines = (repo / name).read_bytes().split(b"\n") if (repo / name).is_file() else []
        marked = [f"{name}:{number}" for number, line in enumerate(lines, 1) if line.startswith(b"<<<<<<< ")]
        why = next((line for line in said.splitlines() if line.startswith("CONFLICT") and name in line), "CONFLICT")
        yield from marked or [f"{name}: {why}"]


def staged(repo: Path) -> str:
    return git(repo, "diff-index", "--cached", "--name-only", "HEAD")


def git(
    folder: Path, *command: str, index: str | None = None, file: Path | None = None, remedy: str = "see what git says"
) -> str:
    """What git prints, run in a folder, without its last line end. `file`: the one to blame, if not the folder."""
    environment = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER} | SAFE
    settings = (part for setting in SETTINGS for part in ("-c", setting))
    try:
        done = subprocess.run(
            ["git", *settings, *command],
            cwd=folder,
            env=environment | ({"GIT_INDEX_FILE": index} if index else {}),
            capture_output=True,
            text=True,
            errors="surrogateescape",
        )
    except OSError as error:
        remedy = "install git, or name the right folder"
        raise HallmarkError("can't be used", file=error.filename, remedy=remedy) from None
    if done.returncode:
        problem = f"git failed ({done.returncode}):\n{done.stdout}{done.stderr.strip()}"
        raise HallmarkError(problem, file=file or folder, remedy=remedy)
    return done.stdout.rstrip("\n")


def main(arguments: argparse.Namespace) -> None:
    here, where = Path("template/cookiecutter.json").is_file(), arguments.where
    if here and where is None:
        raise HallmarkError("which repo?", remedy="name its folder: `nox -s update -- ../my-domain`")
    repo = Path(where if here else ".").resolve()
    if found := update(repo, str(Path.cwd()) if here else where, arguments.checkout):
        print("\n".join(found), file=sys.stderr)
        count = "1 conflict" if len(found) == 1 else f"{len(found)} conflicts"
        raise HallmarkError(f"{count}, listed above", file=repo, remedy=RESOLVE)
    if not staged(repo):
        print(f"{repo}: nothing to update")
        return
    print("no conflicts; next: look at `git diff --staged`, commit, and run `python -m nox -s repro`")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.update", description=__doc__)
    parser.add_argument("where", nargs="?", help="the template, if another than .cruft.json names; there: the repo")
    parser.add_argument("--checkout", help="the template's branch, tag or commit to take")
    run_stage("update", __doc__, main, parser)
