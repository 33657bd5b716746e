"""Stamping: the new repo has the same files as this one, byte for byte, and its own name; nothing else is in it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.common.params import load_params
from tests.workspace import ROOT, make_tiny_workspace, report, run

if not (ROOT / "template").is_dir():
    pytest.skip("this repo was stamped from the template and has none of its own", allow_module_level=True)

RENDERED = {"params.yaml", "pyproject.toml", "README.md"}
LINKED = ROOT / "template" / "{{ cookiecutter.project_slug }}"


def bake(folder: Path, **values: str) -> Path:
    """Stamp a repo into `folder` with the real cookiecutter, from a clean clone of what git tracks or would track."""
    from cookiecutter.main import cookiecutter

    return Path(
        cookiecutter(
            str(clean_copy(folder / "source")), directory="template", no_input=True, output_dir=str(folder),
            extra_context={"project_slug": "my-domain"} | values,
        )
    )  # fmt: skip


def clean_copy(folder: Path) -> Path:
    """This repo's files as git would have them, links kept."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        source, target = ROOT / name, folder / name
        if not source.exists() and not source.is_symlink():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            target.write_bytes(source.read_bytes())
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and ".git/" not in file.relative_to(folder).as_posix() + "/"
    }


def expected(source: Path) -> dict[str, bytes]:
    """What the template's links point to."""
    found = {}
    for link in sorted(LINKED.rglob("*")):
        name = link.relative_to(LINKED).as_posix().replace("{{ cookiecutter._dot }}", ".")
        if not link.is_symlink():
            continue
        target = source / os.path.relpath(link.resolve(), ROOT)
        if target.is_dir():
            found |= {f"{name}/{inner}": content for inner, content in files(target).items()}
        else:
            found[name] = target.read_bytes()
    return found


def test_the_stamped_repo_is_this_one_with_its_own_name(tmp_path: Path) -> None:
    project = bake(tmp_path)
    stamped, shared = files(project), expected(tmp_path / "source")
    assert set(stamped) == set(shared) | RENDERED
    assert {name: stamped[name] for name in shared} == shared
    assert not [
        folder
        for folder in project.rglob("*")
        if folder.is_dir() and not any(folder.iterdir()) and ".git" not in folder.parts
    ]
    for name in RENDERED:
        assert b"{{" not in stamped[name], name
        assert b"{%" not in stamped[name], name
    assert load_params(project / "params.yaml").certify.name == "my-domain"
    assert b'name = "my-domain"' in stamped["pyproject.toml"]
    assert b"hallmark" not in stamped["params.yaml"].lower()
    assert "Stamp my-domain" in git(project, "log", "--oneline")
    assert git(project, "status", "--porcelain") == ""


def git(folder: Path, *command: str) -> str:
    """Run git as someone in `folder`; returns what it prints, warnings too."""
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    return subprocess.run(
        ["git", *who, *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout


def test_git_has_nothing_to_say_about_the_links(tmp_path: Path) -> None:
    """Git refuses a `.gitignore` that is a link, and says so at every command."""
    source = clean_copy(tmp_path / "source")
    git(source, "init", "--quiet")
    assert "warning" not in git(source, "add", "--all") + git(source, "status", "--ignored")


def test_stamping_is_fast(tmp_path: Path) -> None:
    """Best of three, since other tests may run beside it."""
    source = clean_copy(tmp_path / "source")
    command = ["cookiecutter", str(source), "--directory", "template", "--no-input", "--output-dir"]
    seconds = []
    for attempt in ("one", "two", "three"):
        start = time.monotonic()
        run(tmp_path, *command, str(tmp_path / attempt))
        seconds.append(time.monotonic() - start)
    assert min(seconds) < 3


def test_the_rendered_files_differ_from_this_repos_in_their_names_only(tmp_path: Path) -> None:
    project = bake(tmp_path, description='Reads "odd" \\ things')
    for name in ("params.yaml", "pyproject.toml"):
        here = (ROOT / name).read_text(encoding="utf-8").splitlines()
        there = (project / name).read_text(encoding="utf-8").splitlines()
        if name == "pyproject.toml":
            there, added = there[: len(here)], there[len(here) :]
            assert added[1] == "[tool.cruft]"
        changed = [line for line, other in zip(there, here, strict=True) if line != other]
        assert all("my-domain" in line or "odd" in line for line in changed), changed
    import tomllib

    project_table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project_table["description"] == 'Reads "odd" \\ things'


@pytest.mark.parametrize("slug", ["My Domain", "9lives", "a/b", "x; rm -rf", "trailing-", "Ünicode", ""])
def test_an_odd_name_is_refused_before_anything_is_written(tmp_path: Path, slug: str) -> None:
    from cookiecutter.exceptions import CookiecutterException

    with pytest.raises((CookiecutterException, OSError)):
        bake(tmp_path, project_slug=slug)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and "source" not in path.parts] == []


def test_links_that_came_out_as_text_are_told_about(tmp_path: Path) -> None:
    """What a zip download makes of them, and Windows without developer mode."""
    source = clean_copy(tmp_path / "source")
    for link in sorted((source / "template").rglob("*")):
        if link.is_symlink():
            target = link.readlink()
            link.unlink()
            link.write_text(target.as_posix(), encoding="utf-8")
    command = ["cookiecutter", str(source), "--directory", "template", "--no-input", "--output-dir", str(tmp_path)]
    result = run(tmp_path, *command, check=False)
    assert result.returncode != 0
    assert "Clone with git" in result.stderr
    assert not (tmp_path / "my-domain").exists()


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    from cookiecutter.exceptions import OutputDirExistsException

    (tmp_path / "my-domain").mkdir()
    (tmp_path / "my-domain/mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputDirExistsException):
        bake(tmp_path)
    assert files(tmp_path / "my-domain") == {"mine.txt": b"mine"}


def test_without_git_nothing_is_written(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python").symlink_to(sys.executable)
    command = [sys.executable, "-m", "cookiecutter", str(clean_copy(tmp_path / "source"))]
    options = ["--directory", "template", "--no-input", "--output-dir", str(tmp_path)]
    result = subprocess.run(
        [*command, *options], env={**os.environ, "PATH": str(tools)}, text=True, capture_output=True
    )
    assert result.returncode != 0
    assert "git is not installed" in result.stderr
    assert not (tmp_path / "my-domain").exists()


def test_cruft_brings_improvements_and_leaves_the_domains_own_files_alone(tmp_path: Path) -> None:
    source = clean_copy(tmp_path / "source")
    git(source, "init", "--quiet", "--initial-branch", "main")
    git(source, "add", "--all")
    git(source, "commit", "--quiet", "-m", "old")
    run(tmp_path, "cruft", "create", str(source), "--directory", "template", "--no-input")
    project = tmp_path / "my-domain"
    assert "up to date" in run(project, "cruft", "check").stdout

    # What a user does: own data, own parameters, own code.
    for mine in sorted((project / "data").rglob("*")):
        if mine.is_file():
            mine.unlink()
    (project / "data/raw").mkdir(exist_ok=True)
    (project / "data/raw/mine.jsonl").write_text('{"id": 1}\n', encoding="utf-8")
    (project / "README.md").write_text("my own words\n", encoding="utf-8")
    change_line(project / "params.yaml", "  group: customer", "  group: firm")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "-m", "my domain")

    # What the platform team does: better code, a better default, other sample data, other words.
    better = source / "stages/gate.py"
    better.write_text(better.read_text(encoding="utf-8") + "# better\n", encoding="utf-8")
    change_line(source / "params.yaml", "    alpha: ", "    alpha: 64  # twice as much")
    (source / "data/raw/tickets.jsonl").write_text("{}\n", encoding="utf-8")
    (source / "data/raw/more.jsonl").write_text("{}\n", encoding="utf-8")
    readme = source / "template" / LINKED.name / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8") + "more\n", encoding="utf-8")
    git(source, "add", "--all")
    git(source, "commit", "--quiet", "-m", "new")

    assert run(project, "cruft", "check", check=False).returncode == 1
    run(project, "cruft", "update", "--skip-apply-ask")
    assert (project / "stages/gate.py").read_text(encoding="utf-8").endswith("# better\n")
    params = (project / "params.yaml").read_text(encoding="utf-8")
    assert "  group: firm" in params
    assert "    alpha: 64  # twice as much" in params
    load_params(project / "params.yaml")
    assert (project / "README.md").read_text(encoding="utf-8") == "my own words\n"
    assert [file.name for file in sorted((project / "data").rglob("*")) if file.is_file()] == ["mine.jsonl"]
    assert not list(project.rglob("*.rej"))
    assert "up to date" in run(project, "cruft", "check").stdout
    assert "usage:" in run(project, "python", "-m", "stages.gate", "--help").stdout


def change_line(file: Path, start: str, line: str) -> None:
    """Put `line` in the place of the one that starts with `start`."""
    lines = file.read_text(encoding="utf-8").splitlines()
    (at,) = [number for number, old in enumerate(lines) if old.startswith(start)]
    lines[at] = line
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_data_stages_run_in_a_stamped_repo(tmp_path: Path) -> None:
    project = bake(tmp_path)
    for stage in ("mask", "dedupe", "split"):
        run(project, "dvc", "repro", "--single-item", stage)
    assert report(project, "split")["rows"]["holdout"] >= 100


@pytest.mark.full
def test_the_whole_pipeline_runs_in_a_stamped_repo(tmp_path: Path) -> None:
    project = bake(tmp_path)
    workspace = make_tiny_workspace(tmp_path / "tiny", rows=200)
    for name in ("params.yaml", "data/raw/tickets.jsonl"):
        (project / name).write_bytes((workspace / name).read_bytes())
    (workspace / "tiny").rename(project / "tiny")
    run(project, "dvc", "repro")
    assert (project / "models/release/provenance.json").exists()
