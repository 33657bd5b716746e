"""`nox -s update`: an owner's changes survive it, conflicts are listed where they are, and nothing is overwritten."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.commands.update import update
from tests.test_template import clean_copy
from tests.workspace import ROOT, append, git, git_commit, replace_in, run, written

STAGE = """  # how many there are
  count:
    cmd: python -m stages.count
    deps: [code/count, data/masked.parquet]
"""


def template(folder: Path) -> Path:
    """A clone of this repo, with its history, and a last commit with what is here now."""
    git(ROOT, "clone", "--quiet", "--no-checkout", str(ROOT), str(folder))
    git(folder, "remote", "remove", "origin")  # which has no such commit
    clean_copy(folder)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "now")
    return folder


def test_an_owners_changes_come_along(tmp_path: Path) -> None:
    source = template(tmp_path / "hallmark")
    options = ["--directory", "template", "--no-input", "--output-dir", str(tmp_path)]
    run(tmp_path, "cookiecutter", str(source), *options)
    project = tmp_path / "my-domain"
    state = json.loads((project / ".cruft.json").read_text(encoding="utf-8"))
    assert (state["template"], state["commit"]) == (str(source), git(source, "rev-parse", "HEAD").strip())
    assert git(project, "status", "--porcelain") == "", "it is in the first commit"
    assert "up to date" in run(project, "cruft", "check").stdout
    replace_in(project / "params.yaml", "  threads: 2", "  threads: 3")
    append(project / "dvc.yaml", STAGE)
    replace_in(project / "stages/sft.py", "\n\n\n", "\n\n\nOURS = 1\n\n\n")
    own = {"stages/own.py": "OWN = 1\n", "README.md": "ours\n"}
    ejected = (source / "hallmark/base/files.py").read_text(encoding="utf-8")
    written(project, own | {"stages/hallmark/base/files.py": f"# ours\n{ejected}"})
    git_commit(project, "ours")

    replace_in(source / "params.yaml", "    alpha: 32", "    alpha: 48")
    replace_in(source / "params.yaml", "\ncompute:", "\nnew: 1  # what it does\n\ncompute:")
    replace_in(source / "dvc.yaml", "    cmd: python -m stages.mask\n", "    cmd: python -m stages.mask --new\n")
    append(source / "hallmark/base/files.py", "# better\n")
    append(source / "stages/sft.py", "# better\n")
    append(source / "template/{{ cookiecutter.project_slug }}/README.md", "better\n")
    git_commit(source, "better")
    done = run(project, "python", "-m", "hallmark.commands.update")
    assert "no conflicts" in done.stdout
    texts = {
        name: (project / name).read_text(encoding="utf-8")
        for name in git(project, "ls-files", "*.*").split("\n")[:-1]
        if not name.endswith((".whl", ".gz"))
    }
    assert "OURS = 1\n" in texts["stages/sft.py"]
    assert texts["stages/sft.py"].endswith("# better\n")
    assert texts["stages/hallmark/base/files.py"] == f"# ours\n{ejected}# better\n"
    assert "  threads: 3  #" in texts["params.yaml"]
    assert "    alpha: 48  #" in texts["params.yaml"]
    assert "\nnew: 1  # what it does\n" in texts["params.yaml"]
    assert "stages.mask --new\n" in texts["dvc.yaml"]
    assert texts["dvc.yaml"].endswith(STAGE)
    assert own == {name: texts[name] for name in own}
    changed = {
        ".cruft.json",
        "dvc.yaml",
        "params.yaml",
        "pyproject.toml",
        "stages/hallmark/base/files.py",
        "stages/sft.py",
    }
    staged = {*git(project, "diff", "--cached", "--name-only").splitlines()}
    assert {name for name in staged if not name.startswith("library/")} == changed
    assert len(staged) == len(changed) + 1, "the wheel too"
    git_commit(project, "updated")
    assert "up to date" in run(project, "cruft", "check").stdout


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """A template of a few files, with two commits, and a repo stamped from the first."""
    top, repo = tmp_path / "top", tmp_path / "several/repo"
    stamped = "template/{{ cookiecutter.project_slug }}/"
    lines = "".join(f"# {number}\n" for number in range(9))
    old = {
        "params.yaml": f"seed: 7\n{lines}threads: 2\n",
        "logo.bin": b"old\0",
        "stages/gate.py": f"GATE = 1\n{lines}",
        "stages/gone.py": "GONE = 1\n",
        "README.md": "old\n",
    }
    new = {
        "params.yaml": f"seed: 8\n{lines}threads: 2\n",
        "logo.bin": b"new\0",
        "stages/gate.py": f"GATE = 2\n{lines}",
        "README.md": "new\n",
        "notes.txt": "the template's\n",
    }
    written(top, {"template/cookiecutter.json": json.dumps({"project_slug": "repo", "initialise_git": "no"})})
    written(top, {stamped + name: text for name, text in old.items()})
    git(top, "init", "--quiet")
    git_commit(top, "old")
    git(top, "tag", "old")
    (top / stamped / "stages/gone.py").unlink()
    written(top, {stamped + name: text for name, text in new.items()})
    git_commit(top, "new")
    answers = {"project_slug": "repo", "initialise_git": "yes", "_template": "elsewhere"}
    record = {
        "template": str(top),
        "commit": git(top, "rev-parse", "old").strip(),
        "context": {"cookiecutter": answers},
    }
    written(repo, old | {".cruft.json": json.dumps(record)})
    git(repo, "init", "--quiet")
    git_commit(repo, "stamped")
    return top, repo


def test_conflicts_are_listed_by_file_and_line_and_all_can_be_taken_back(small: tuple[Path, Path]) -> None:
    top, repo = small
    replace_in(repo / "params.yaml", "seed: 7", "seed: 9")
    replace_in(repo / "params.yaml", "threads: 2", "threads: 3")
    written(repo, {"logo.bin": b"ours\0", "stages/gone.py": "GONE = 2\n", "notes.txt": "ours\n", "README.md": "ours\n"})
    git(repo, "rm", "--quiet", "stages/gate.py")
    git_commit(repo, "ours")
    done = run(top, "python", "-m", "hallmark.commands.update", str(repo), check=False, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    listed = done.stderr[: done.stderr.index("update: error: ")].splitlines()
    found = [re.sub(r"^([\w./]+)(:\d+|: CONFLICT \([\w/]+\))?.*", r"\1\2", line) for line in listed]
    assert found == [
        "logo.bin: CONFLICT (content)", "notes.txt:1", "params.yaml:1",
        "stages/gate.py: CONFLICT (modify/delete)", "stages/gone.py: CONFLICT (modify/delete)",
    ]  # fmt: skip
    assert "5 conflicts" in done.stderr
    assert all(command in done.stderr for command in ("--ours", "--theirs", "git add", "git reset --merge"))
    assert "done" not in done.stdout
    assert (repo / "params.yaml").read_text(encoding="utf-8").endswith("threads: 3\n")
    assert (repo / "logo.bin").read_bytes() == b"ours\0"
    assert (repo / "README.md").read_text(encoding="utf-8") == "ours\n"
    git(repo, "reset", "--merge")
    assert git(repo, "status", "--porcelain", "--ignored") == ""


@pytest.mark.parametrize(
    ("ignored", "texts"),
    [
        ("/notes.txt\n", {"notes.txt": "ours\n"}),
        ("/notes.txt/\n", {"notes.txt/x": "ours\n"}),
        ("/stages\n", {"stages": "ours\n"}),
    ],
)
def test_an_ignored_file_is_never_overwritten(small: tuple[Path, Path], ignored: str, texts: dict[str, str]) -> None:
    repo = small[1]
    if "stages" in texts:
        git(repo, "rm", "--quiet", "-r", "stages")
    written(repo, texts | {".gitignore": ignored})
    git_commit(repo, "ours")
    head = git(repo, "rev-parse", "HEAD")
    with pytest.raises(HallmarkError, match="is not in git") as error:
        update(repo, None, None)
    assert (Path(str(error.value.file)).name, "move it" in error.value.remedy) == (ignored.strip("/\n"), True)
    assert {name: (repo / name).read_text() for name in texts} == texts
    assert (git(repo, "status", "--porcelain"), git(repo, "rev-parse", "HEAD")) == ("", head)


def test_an_update_that_was_killed_is_put_away_and_runs_again(small: tuple[Path, Path], tmp_path: Path) -> None:
    repo = small[1]
    written(tmp_path, {"kill": ""})
    git(repo, "config", "filter.k.clean", "cat")
    git(repo, "config", "filter.k.smudge", f"if [ -e '{tmp_path}/kill' ]; then kill -9 $PPID; fi; cat")
    written(repo, {".git/info/attributes": "stages/gate.py filter=k\n"})
    with pytest.raises(HallmarkError, match="git failed"):
        update(repo, None, None)
    (tmp_path / "kill").unlink()
    with pytest.raises(HallmarkError, match="not committed") as error:
        update(repo, None, None)
    assert "git stash --include-untracked" in error.value.remedy
    (repo / ".git/index.lock").unlink()
    git(repo, "stash", "--include-untracked")
    assert update(repo, None, None) == []
    git_commit(repo, "updated")
    done = run(repo, "python", "-m", "hallmark.commands.update", PYTHONPATH=str(ROOT))
    assert (done.stdout.strip(), git(repo, "status", "--porcelain")) == (f"{repo}: nothing to update", "")


def test_what_can_not_be_updated_is_left_alone(small: tuple[Path, Path]) -> None:
    top, repo = small
    record = (repo / ".cruft.json").read_text(encoding="utf-8")

    def refused(text: str | None, remedy: str) -> HallmarkError:
        (repo / ".cruft.json").unlink(missing_ok=True)
        if text is not None:
            (repo / ".cruft.json").write_text(text, encoding="utf-8")
        git_commit(repo, "x")
        with pytest.raises(HallmarkError) as error:
            update(repo, None, None)
        assert remedy in error.value.remedy
        assert git(repo, "status", "--porcelain") == ""
        return error.value

    assert refused(None, "cruft link").file == repo / ".cruft.json"
    assert refused("{}", "history").file == repo / ".cruft.json"
    commit = json.loads(record)["commit"]
    missing = refused(record.replace(commit, "1234567"), "--unshallow")
    assert ("1234567" in missing.problem, missing.file) == (True, repo / ".cruft.json")
    assert "nobranch" in refused(json.dumps(json.loads(record) | {"checkout": "nobranch"}), "--checkout").problem
    for template in ("/nowhere", "http://user:secret@127.0.0.1:9/x", "git://127.0.0.1:9/x", "fd::3"):
        said = str(refused(json.dumps(json.loads(record) | {"template": template}), "names another"))
        assert "secret" not in said and ("not allowed" in said or template[0] == "/")
    (repo / "new.txt").write_text("", encoding="utf-8")
    git(repo, "config", "status.showUntrackedFiles", "no")
    with pytest.raises(HallmarkError, match="not committed"):
        update(repo, None, None)
    done = run(top, "python", "-m", "hallmark.commands.update", check=False, PYTHONPATH=str(ROOT))
    assert (done.returncode, "which repo?" in done.stderr) == (1, True)


def test_a_project_in_a_folder_of_a_repository_is_updated_there(small: tuple[Path, Path]) -> None:
    repo, above = small[1], small[1].parent
    run(repo, "rm", "-r", ".git")
    git(above, "init", "--quiet")
    git(above, "config", "core.fileMode", "false")
    written(above, {"other.txt": "other\n", "logo.bin": b"old\0"})
    git_commit(above, "start")
    (repo / "params.yaml").chmod(0o755)
    written(above, {"other.txt": "not committed, and not ours\n"})
    git(above, "add", "other.txt")
    with pytest.raises(HallmarkError, match=r"not committed.*other\.txt"):  # which `git reset --merge` would take back
        update(repo, None, None)
    git(above, "reset", "--quiet")
    assert update(repo, None, None) == []
    assert git(above, "status", "--porcelain").splitlines() == [
        " M other.txt", "M  repo/.cruft.json", "M  repo/logo.bin", "A  repo/notes.txt", "M  repo/params.yaml",
        "M  repo/stages/gate.py", "D  repo/stages/gone.py",
    ]  # fmt: skip
