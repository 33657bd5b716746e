"""Stamping: the new repo has the same files as this one, byte for byte, and its own name; nothing else is in it."""

from __future__ import annotations

import os
import subprocess
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
        name = link.relative_to(LINKED).as_posix()
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
    log = subprocess.run(["git", "log", "--oneline"], cwd=project, capture_output=True, text=True, check=True).stdout
    assert "Stamp my-domain" in log
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True, check=True
    ).stdout
    assert status == ""


def test_the_rendered_files_differ_from_this_repos_in_their_names_only(tmp_path: Path) -> None:
    project = bake(tmp_path, description='Reads "odd" \\ things')
    for name in ("params.yaml", "pyproject.toml"):
        here = (ROOT / name).read_text(encoding="utf-8").splitlines()
        there = (project / name).read_text(encoding="utf-8").splitlines()
        assert len(here) == len(there)
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
    """What a zip download makes of them."""
    from cookiecutter.exceptions import FailedHookException
    from cookiecutter.main import cookiecutter

    source = clean_copy(tmp_path / "source")
    stages = source / "template" / LINKED.name / "stages"
    stages.unlink()
    stages.write_text("../../stages", encoding="utf-8")
    with pytest.raises(FailedHookException):
        cookiecutter(str(source), directory="template", no_input=True, output_dir=str(tmp_path))
    assert not (tmp_path / "my-domain").exists()


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
