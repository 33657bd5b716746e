"""Bring a stamped repo to the template's state: `python -m hallmark.commands.update ../my-domain` in a clone of the template.

In a stamped repo, `python -m hallmark.commands.update [TEMPLATE]` (a folder or a git URL; without it, that of `.cruft.json`)
clones the template, and runs the clone's own update on this repo. The template is rendered as it was and as it is now, with
the repo's answers, and the difference is merged. Nothing is committed. Exit code 1: something must be done by hand.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import write_text
from hallmark.base.reading import read_object
from hallmark.commands.update_modules import modules_of, moved_files, own_place, problems, rewritten

KEPT = (".cruft.json", "LICENSE", "README.md", "data", "dvc.lock", "reports")  # the owner's: left alone
BY_VALUE = ("params.yaml", "dvc.yaml")  # not merged as text
RESTORE = "restore it from git's history"
EXAMPLE = "kind=classification base_model=smollm2-135m machine=cpu"
# git without hooks, programs, signatures and line ends of this machine's settings.
PLAIN = (
    *("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.autocrlf=false", "user.name=x", "user.email=x"),
    *("commit.gpgsign=false", "merge.verifySignatures=false", "log.showSignature=false"),
    *("merge.ff=true", "merge.renames=true"),
)
GIT = ["git", *(word for setting in PLAIN for word in ("-c", setting))]
MARKS = "resolve the lines between <<<<<<< (yours) and >>>>>>> (the template's)"
TAKEN = "the template's was taken, yours is in git's history"
CONFLICTS = {  # by the sides that have the file: 1 the old template, 2 the repo, 3 the template
    "123": f"{MARKS}; your change alone is in update/",
    "23": f"both you and the template added it: {MARKS}",
    "12": "you changed it, and the template no longer has it: keep it or remove it",
    "13": "you removed it, and the template changed it: remove it or keep it",
}


def update(repo: Path, given: str | None, answers: dict[str, str]) -> list[str]:
    """Update `repo` to the commit of the template in the working directory; returns what must be done by hand."""
    top, record = Path.cwd(), repo / ".cruft.json"
    if git(repo, "status", "--porcelain", "--untracked-files=all", "--", "."):
        raise HallmarkError("has changes that are not committed", file=repo, remedy="commit or stash them first")
    state = read_object(record, RESTORE) if record.is_file() else {}
    wanted = given or state.get("commit") or stamped_at(top, repo)
    new = git(top, "rev-parse", "HEAD")
    old = git(top, "rev-parse", "--quiet", "--verify", f"{wanted}^{{commit}}", most=128)
    if not old:
        remedy = "`git fetch --unshallow` gets the whole history; --from names another commit"
        raise HallmarkError(f"there is no commit {wanted}", file=top, remedy=remedy)
    answers = known_answers(repo, state, answers)
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        export(repo, "HEAD:./", work / "before")
        conflicts, patches = merge(work, top, old, new, answers)
        for name, patch in patches.items():
            file = work / "result/update" / f"{name.replace('/', '-')}.patch"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(patch.encode("utf-8", errors="surrogateescape"))
        conflicts += code_folder(repo)
        apply(work / "before", work / "result", repo)
    source = git(top, "remote", "get-url", "origin", most=2) or str(top)
    fresh = {"template": source, "commit": new, "checkout": None, "context": {"cookiecutter": answers}}
    new_state = fresh | {"directory": "template"} | state | {"commit": new, "checkout": followed(state)}
    write_text(record, json.dumps(new_state, ensure_ascii=False, indent=2) + "\n")
    print(f"{repo}: from {old[:7]} to {new[:7]} of the template")
    return conflicts


def merge(work: Path, top: Path, old: str, new: str, answers: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Merge `before` into `result`, both in `work`; returns the conflicts, and patches of what the owner changed there."""
    moved = moved_files(git(top, "diff", "-M30%", "-l9999", "--name-status", old, new, "--", "stages", "hallmark"))
    base, theirs = (render(top, commit, work / name, answers) for commit, name in ((old, "old"), (new, "new")))
    before, ours, result = work / "before", work / "ours", work / "result"
    there, now, patches = files(base), files(theirs), {}
    conflicts = [*ejected(before, work / "old", work / "new")]
    own = {name: own_place(name) for name in files(before) - there if own_place(name) != name}
    places = [*own.values(), *files(before) | now]
    for name in [name for name in sorted(own) if places.count(own[name]) > 1]:
        conflicts.append(f"{name}: belongs at {own.pop(name)}, but another file has that name: move it by hand")
    modules = modules_of(moved | own)
    shutil.copytree(before, ours, symlinks=True)
    for name, place in own.items():
        (ours / place).parent.mkdir(exist_ok=True)
        (ours / name).rename(ours / place)
    for file in (folder / name for folder in (base, ours) for name in files(folder)):
        if not file.is_symlink() and (text := read(file)) != (text := rewritten(text, modules)):
            file.write_bytes(text.encode("utf-8", errors="surrogateescape"))

    origin = {new_name: name for name, new_name in moved.items()}

    def side(folder: Path, name: str) -> str:
        places = [file for file in (folder / name, folder / origin.get(name, name)) if file.is_file()]
        return read(places[0]) if places else ""

    def keep_change(name: str, new_name: str) -> str:
        """Keep what the owner changed as a patch; returns where it is."""
        then, mine = (side(folder, name) for folder in (base, ours))
        if binary(then) or binary(mine):
            return "yours is in git's history"
        lines, own_lines = then.splitlines(keepends=True), mine.splitlines(keepends=True)
        patches[name] = "".join(difflib.unified_diff(lines, own_lines, f"a/{new_name}", f"b/{new_name}"))
        return "your change is in update/"

    conflicts += template_wheel(base, ours, theirs)
    # What the library holds now has no part in the merge: git would take it for what the recipes became.
    for name in sorted(name for name in there - now if name.startswith(("stages/", "docs/"))):
        if moved.get(name) in now:
            continue
        if (ours / name).is_file() and read(ours / name) != read(base / name):
            kept = keep_change(name, moved.get(name, name))
            where = f"it is {moved[name]} in the library now" if name in moved else "the template no longer has it"
            conflicts.append(f"{name}: you changed it, and {where}: {kept}")
        (ours / name).unlink(missing_ok=True)
        (base / name).unlink()
    texts = {name: [read(folder / name) for folder in (base, ours, theirs)] for name in BY_VALUE}
    for name, sides in sorted(three_way(result, base, ours, theirs).items()):
        if sides[-2:] == "23" and name in now and binary(side(theirs, name), side(ours, name)):
            (result / name).unlink(missing_ok=True)
            shutil.copy2(theirs / name, result / name)
            conflicts.append(f"{name}: no text, and both you and the template changed it: {TAKEN}")
            continue
        if sides == "123":
            keep_change(name, name)
        conflicts.append(f"{name}: {CONFLICTS.get(sides, MARKS)}")
    # Not above: it loads the repo's own kinds, which may be what an update repairs.
    from hallmark.commands.update_yaml import merged_params, merged_pipeline

    params, undecided, left_out = merged_params(*texts["params.yaml"])
    was, mine, fresh = texts["dvc.yaml"]
    pipeline, not_carried, code_lists = merged_pipeline(was, mine, fresh, there, files(result), moved | own)
    for name, text, lines in (("params.yaml", params, undecided), ("dvc.yaml", pipeline, not_carried)):
        (result / name).write_text(text, encoding="utf-8", newline="\n")
        conflicts += [f"{name}: {line}" for line in lines]
    notes = [f"params.yaml: {line}\n" for line in left_out] + [f"dvc.yaml: {line}\n" for line in code_lists]
    print("".join(notes), end="")
    marked = {line.split(":")[0] for line in conflicts}
    for name in sorted(name for name in files(result) - marked if name.endswith(".py")):
        if name not in now or read(result / name) != read(theirs / name):
            conflicts += [f"{name}: {line}" for line in problems(result / name, result, work / "new")]
    command = [sys.executable, "-c", "from hallmark.params.loader import load_params; load_params()"]
    done = subprocess.run(command, cwd=result, env=with_library(top), capture_output=True, text=True)
    if done.returncode:
        _, known, error = done.stderr.strip().rpartition("HallmarkError: ")
        conflicts.append(error if known else f"your code fails when the params are loaded: {error.splitlines()[-1]}")
    return conflicts, patches


def ejected(before: Path, old: Path, new: Path) -> Iterator[str]:
    """The modules that the repo took over from the library, where the library's own changed since."""
    for name in sorted(name for name in files(before) if name.startswith("stages/hallmark/")):
        was, now = (folder / name.removeprefix("stages/") for folder in (old, new))
        if was.is_file() and not now.is_file():
            yield f"{name}: the library no longer has it"
        elif was.is_file() and read(now) not in (read(was), read(before / name)):
            yield f"{name}: the library's own changed: compare"


def template_wheel(base: Path, ours: Path, theirs: Path) -> Iterator[str]:
    """Put the old template's wheel of the library into `ours`, if the owner and the template have each another one."""
    was, mine, new = (
        {file.name: file.read_bytes() for file in sorted(folder.glob("library/hallmark-*.whl"))}
        for folder in (base, ours, theirs)
    )
    if was == new or mine in (was, new):
        return
    for name in mine:
        (ours / "library" / name).unlink()
    for name, content in was.items():
        (ours / "library").mkdir(exist_ok=True)
        (ours / "library" / name).write_bytes(content)
    for name in mine or was:
        yield f"library/{name}: you changed the wheel, and the template too: {TAKEN}; `hashed` must name it"


def code_folder(repo: Path) -> list[str]:
    """What the repo has in the folder of the stage `code`, if something else than the lists that it writes."""
    for name in sorted(files(repo / "code") - {"params.yaml"}):
        if "/" in name or not re.fullmatch(r"(?:[0-9a-f]{64}  .+\n)*", read(repo / "code" / name)):
            return [f"code/{name}: the stage `code` writes to this folder, and refuses other files: move yours"]
    return []


def render(top: Path, commit: str, folder: Path, answers: dict[str, str]) -> Path:
    """Stamp a repo from a commit of the template; returns its folder."""
    export(top, commit, folder)
    out = folder.with_name(f"{folder.name}-stamped")
    given = [f"{name}={value}" for name, value in {**answers, "initialise_git": "no"}.items()]
    options = ["--directory", "template", "--output-dir", str(out), "--no-input", "--default-config"]
    command = [sys.executable, "-m", "cookiecutter", str(folder), *options, *given]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        problem = f"commit {commit[:7]} can't be stamped with {' '.join(given)}:\n{done.stderr.strip()[-2000:]}"
        raise HallmarkError(problem, file=top, remedy="give other answers as key=value")
    return out / answers["project_slug"]


def three_way(result: Path, base: Path, ours: Path, theirs: Path) -> dict[str, str]:
    """Merge folders with git into a new one, without what is kept; returns which sides have each file in conflict."""
    first = committed(base, result, KEPT + BY_VALUE)
    mine, new = (committed(folder, result, KEPT + BY_VALUE, "-p", first) for folder in (ours, theirs))
    git(result, "reset", "--quiet", "--hard", mine)
    git(result, "branch", "template", new)
    git(result, "merge", "--quiet", "-m", "update", "template", most=1)
    sides: dict[str, str] = {}
    for entry in git(result, "ls-files", "-z", "--unmerged").split("\0")[:-1]:
        mode, _, name = entry.partition("\t")
        sides[name] = sides.get(name, "") + mode[-1]
    shutil.rmtree(result / ".git")
    return sides


def committed(folder: Path, repository: Path, without: tuple[str, ...], *parent: str) -> str:
    """Commit the bytes of a folder in a repository elsewhere, which is made if there is none; returns the commit."""
    where = ["--git-dir", str(repository / ".git"), "--work-tree", str(folder)]
    if not repository.exists():
        git(folder, "init", "--quiet", "--initial-branch", "yours", str(repository))
        attributes = "* -text -filter -ident !working-tree-encoding !merge\n"
        (repository / ".git/info/attributes").write_text(attributes, encoding="utf-8")
    git(folder, *where, "read-tree", "--empty")
    git(folder, *where, "add", "--all", "--force", "--", ".", *(f":(exclude,top){name}" for name in without))
    return git(folder, *where, "commit-tree", git(folder, *where, "write-tree"), *parent, "-m", "update")


def apply(before: Path, result: Path, repo: Path) -> None:
    """Write into the repo what differs between two folders, but for what is kept: as git checks out another commit.

    A HallmarkError, and nothing is changed, if that would overwrite a file that git does not have, ignored ones too.
    If the repo's git looks at no modes (`core.fileMode`, as on Windows' disks), neither does this.
    """
    place = before.with_name("applied")
    new, old = (committed(folder, place, KEPT) for folder in (result, before))
    modes = git(repo, "config", "--get", "core.fileMode", most=1) or "true"
    where = ["-c", f"core.fileMode={modes}", "--git-dir", str(place / ".git"), "--work-tree", str(repo)]
    git(repo, *where, "update-ref", "HEAD", old)
    git(repo, *where, "update-index", "-q", "--refresh", most=1)
    try:
        git(repo, *where, "checkout", "--quiet", "--detach", "--no-overwrite-ignore", new)
    except HallmarkError as error:
        # git checks for these before it writes anything.
        if re.search("would (be overwritten|be removed|lose untracked)", error.problem):
            problem = f"git does not have what is in the way of the template's files; {error.problem}"
            raise HallmarkError(problem, file=repo, remedy="move it, and update again; nothing was changed") from None
        problem = f"git failed while it wrote, so the update may be half written; {error.problem}"
        remedy = "see `git status` there; `git checkout HEAD -- .` and `git clean -d --force .` take all of it back"
        raise HallmarkError(problem, file=repo, remedy=remedy) from None
    gone = [name for name in files(before) - files(result) if name.split("/")[0] not in KEPT]
    folders = {folder for name in gone for folder in Path(name).parents} - {Path()}
    for folder in sorted((repo / folder for folder in folders), reverse=True):  # the inner ones first
        left = sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
        if [file.name for file in left] == ["__pycache__"]:
            shutil.rmtree(folder)


def known_answers(repo: Path, state: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """The answers to the template's questions: those given, then those of `.cruft.json`, then what pyproject.toml says."""
    questions = [name for name in json.loads(Path("template/cookiecutter.json").read_text()) if name[0] != "_"]
    if unknown := [name for name in given if name not in questions]:
        raise HallmarkError(f"no question is called {unknown[0]}", remedy=f"there are {', '.join(questions)}")
    found: dict[str, str] = state.get("context", {}).get("cookiecutter", {})
    if not found:
        project = tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        names = {"project_slug": "name", "description": "description", "licence": "license"}
        found = {name: project[key] for name, key in names.items()}
    answers = {name: value for name, value in (found | given).items() if name in questions}
    if missing := {"kind", "base_model", "machine"} - {*answers}:
        problem = f"is not there, so nothing says what was answered to {', '.join(sorted(missing))}"
        remedy = f"give these answers, and others that were not the default: `nox -s update -- {repo} {EXAMPLE}`"
        raise HallmarkError(problem, file=repo / ".cruft.json", remedy=remedy)
    return answers


def stamped_at(top: Path, repo: Path) -> str:
    """The newest commit of the template that has the recipes, the noxfile.py and the lock of the repo's first commit."""
    first = git(repo, "rev-list", "--max-parents=0", "HEAD").split()[-1] + ":" + git(repo, "rev-parse", "--show-prefix")
    recipes = git(repo, "ls-tree", "--full-tree", f"{first}stages").splitlines()
    # With another licence than the template's, the hook adds a file.
    tree = git(repo, "mktree", text="".join(f"{line}\n" for line in recipes if not line.endswith("\tLICENSE")))
    others = ("noxfile.py", "requirements.lock")
    wanted = [tree, *(git(repo, "rev-parse", f"{first}{name}") for name in others)]
    commits = git(top, "log", "--format=%H").split()
    asked = "".join(f"{commit}:{name}\n" for commit in commits for name in ("stages", *others))
    found = [line.split()[0] for line in git(top, "cat-file", "--batch-check", text=asked).splitlines()]
    for at, commit in enumerate(commits):
        if found[3 * at : 3 * at + 3] == wanted:
            return commit
    problem = "is not there, and no commit of the template has the code of the repo's first commit"
    remedy = f"name the commit that it was stamped from: `nox -s update -- {repo} --from COMMIT {EXAMPLE}`"
    raise HallmarkError(problem, file=repo / ".cruft.json", remedy=remedy)


def through_template(template: str | None, checkout: str | None, options: list[str]) -> int:
    """Clone the template, and run its own update on the repo in the working directory; returns the exit code."""
    repo, record = Path.cwd(), Path(".cruft.json")
    if template is None and record.is_file():
        state = read_object(record, RESTORE)
        template, checkout = state["template"], checkout or followed(state)
    if template is None:
        remedy = "name its folder or git URL: `nox -s update -- URL`"
        raise HallmarkError("is not there, so nothing says where the template is", file=record, remedy=remedy)
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place, "template")
        git(repo, "clone", "--quiet", "--", template, str(clone))
        if checkout:
            git(clone, "checkout", "--quiet", checkout, "--")
        if not (clone / "hallmark/commands/update.py").is_file():
            raise HallmarkError(
                "has no hallmark/commands/update.py", file=template, remedy="name Hallmark, or a later commit"
            )
        command = [sys.executable, "-m", "hallmark.commands.update", str(repo), *options]
        return subprocess.run(command, cwd=clone, env=with_library(clone)).returncode


def followed(state: dict[str, Any]) -> str | None:
    """The branch of the template that a repo follows; None for the default, also if it was stamped from a commit."""
    name: str | None = state.get("checkout")
    return None if name and str(state.get("commit")).startswith(name) else name


def export(repo: Path, tree: str, folder: Path) -> None:
    """Write the files of a commit or a tree into a new folder."""
    folder.mkdir()
    where = ["--git-dir", git(repo, "rev-parse", "--absolute-git-dir"), "--work-tree", str(folder)]
    index = str(folder.with_name(f"{folder.name}.index"))
    git(folder, *where, "read-tree", git(repo, "rev-parse", tree), index=index)
    git(folder, *where, "checkout-index", "--all", index=index)


def git(folder: Path, *command: str, most: int = 0, text: str | None = None, index: str | None = None) -> str:
    """What git prints, run in a folder. `most`: the highest exit code that is no error."""
    environment = os.environ | {"LC_ALL": "C"} | ({"GIT_INDEX_FILE": index} if index else {})
    done = subprocess.run([*GIT, *command], cwd=folder, env=environment, input=text, capture_output=True, text=True)
    if done.returncode > most:
        raise HallmarkError(f"git: {done.stderr.strip()}", file=folder, remedy="see what git says")
    return done.stdout.rstrip("\n")


def with_library(top: Path) -> dict[str, str]:
    """The environment of a process that loads the library of a folder."""
    return os.environ | {"PYTHONPATH": str(top), "PYTHONDONTWRITEBYTECODE": "1"}


def files(folder: Path) -> set[str]:
    """The files below a folder."""
    return {
        path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink()
    }


def binary(*texts: str) -> bool:
    """Whether git takes one of these for no text."""
    return any("\0" in text[:8000] for text in texts)


def read(file: Path) -> str:
    """The text of a file, with bytes that are none as surrogates; where a link leads."""
    link = file.is_symlink()
    return file.readlink().as_posix() if link else file.read_bytes().decode("utf-8", errors="surrogateescape")


def main(arguments: argparse.Namespace) -> None:
    """Command line: which repo or template, from which commit, with which answers."""
    given = {word.partition("=")[0]: word.partition("=")[2] for word in arguments.words if re.match(r"\w+=", word)}
    places = [word for word in arguments.words if not re.match(r"\w+=", word)]
    here = Path("template/cookiecutter.json").is_file()
    if len(places) != 1 and (places or here):
        raise HallmarkError(
            f"which {'repo' if here else 'template'}?", remedy="name one: `nox -s update -- ../my-domain`"
        )
    if not here:
        options = [*(["--from", arguments.commit] if arguments.commit else []), *map("=".join, given.items())]
        sys.exit(through_template(places[0] if places else None, arguments.checkout, options))
    repo = Path(places[0]).resolve()
    if not all((repo / name).is_file() for name in BY_VALUE):
        raise HallmarkError(
            "has no params.yaml or no dvc.yaml, so it is no stamped repo", file=repo, remedy="name the folder of one"
        )
    if conflicts := update(repo, arguments.commit, given):
        print("\n  ".join([f"left for you in {repo}, {len(conflicts)} in all:", *conflicts]), file=sys.stderr)
        print(
            "afterwards remove update/, look at `git diff`, commit, and run `python -m nox -s repro`", file=sys.stderr
        )
        sys.exit(1)
    print("no conflicts; next: look at `git diff`, commit, and run `python -m nox -s repro`")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.update", description=__doc__)
    parser.add_argument(
        "words", nargs="*", metavar="WHERE", help="the repo (in a stamped repo: the template); key=value"
    )
    parser.add_argument("--from", dest="commit", help="the template's commit that the repo was stamped from")
    parser.add_argument("--checkout", help="in a stamped repo: the template's branch, tag or commit to take")
    run_stage("update", __doc__, main, parser)
