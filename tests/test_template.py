"""Stamping: the new repo has the same files as this one, byte for byte, and its own name; nothing else is in it."""

from __future__ import annotations

import argparse
import json
import os
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import jsonschema_rs
import nox
import pytest
from dvc.config import Config
from ruamel.yaml import YAML

import noxfile
from hallmark.base.errors import HallmarkError
from hallmark.base.files import sha256_file
from hallmark.base.wheel import write_wheel
from hallmark.commands import stamp
from hallmark.params.loader import load_params
from hallmark.params.schema import comments, params_schema
from tests.rows import refused
from tests.workspace import ROOT, checked, git, run, run_here

RENDERED = {"params.yaml", "dvc.yaml", "pyproject.toml", "README.md"}
WHEEL = "library/hallmark-0.1.0-py3-none-any.whl"
LINKED = ROOT / "template" / "{{ cookiecutter.project_slug }}"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone of what git tracks or would track: not to be changed."""
    return clean_copy(tmp_path_factory.mktemp("clone") / "source")


def bake(source: Path, folder: Path, **values: str) -> Path:
    """Stamp a repo into `folder` with the real cookiecutter."""
    from cookiecutter.main import cookiecutter

    return Path(
        cookiecutter(
            str(source), directory="template", no_input=True, output_dir=str(folder),
            extra_context={"project_slug": "my-domain"} | values,
        )
    )  # fmt: skip


def clean_copy(folder: Path) -> Path:
    """A copy of this repo's files in git, links kept."""
    listed = run(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout
    for name in filter(None, listed.split("\0")):
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
    """Every file below a folder except git's own, links followed."""
    found = {}
    for place, _, names in os.walk(folder, followlinks=True):
        for file in (Path(place, name) for name in names):
            name = file.relative_to(folder).as_posix()
            if not name.startswith(".git/"):
                found[name] = file.read_bytes()
    return found


def expected(source: Path, kind: str = "extraction", licence: str = "Apache-2.0", ci: str = "none") -> dict[str, bytes]:
    """The files of a stamped repo that are taken over byte for byte: what the links point to, and what was chosen."""
    choices, left_out = source / "template/choices", ("choices/", "hallmark/", "docs/", *RENDERED)
    linked, sample = files(source / "template" / LINKED.name), files(choices / "kinds" / kind)
    found = {
        name.replace("{{ cookiecutter._dot }}", "."): linked[name] for name in linked if not name.startswith(left_out)
    }
    elsewhere = ("params.yaml", "bases/", "records.py")
    found |= {f"data/{name}": sample[name] for name in sample if not name.startswith(elsewhere)}
    found["stages/records.py"] = sample["records.py"]
    found["LICENSE"] = (choices / "licences" / licence).read_bytes()
    if licence != "Apache-2.0":
        found["stages/LICENSE"] = (source / "LICENSE").read_bytes()
    if ci != "none":
        file = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}[ci]
        found[file] = (choices / "ci" / f"{ci}.yml").read_bytes()
    return found


def test_raw_data_added_by_force_fails_the_hook_and_fresh(source: Path, tmp_path: Path) -> None:
    project = bake(source, tmp_path, kind="text")
    (project / "data/raw/x.csv").write_text("id,body\n1,secret\n", encoding="utf-8")
    git(project, "add", "--all")
    assert git(project, "status", "--porcelain") == "", "a plain add leaves it alone"
    git(project, "add", "--force", "data/raw/x.csv")
    hooks = YAML(typ="safe").load(project / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    (hook,) = [hook for hook in hooks if "committed" in hook["entry"]]
    assert hook["always_run"]
    assert not hook["pass_filenames"]
    done = run(project, *hook["entry"].removeprefix(".venv/bin/").split(), check=False)
    assert done.returncode == 1
    assert "data/raw/x.csv: raw records don't belong in git\n  remedy: take it out of git" in done.stderr
    assert "secret" not in done.stderr

    committed, stale = (step.split()[2] for step in noxfile.STEPS["fresh"])
    assert "data/raw/x.csv: raw records" in run_here(project, committed).stderr
    git(project, "rm", "--cached", "--quiet", "data/raw/x.csv")
    checked(run_here(project, committed))
    assert checked(run_here(project, stale)).stdout == "nothing has run yet: `nox -s repro` makes dvc.lock\n"


def test_the_tests_of_a_stamped_repo_import_no_file_that_it_lacks(source: Path, tmp_path: Path) -> None:
    """They could not even be collected: its conftest.py is the one of this repo, which has more to import."""
    run(bake(source, tmp_path, kind="text"), "python", "-c", "import tests.conftest, tests.test_domain")


KINDS = ["extraction", "classification", "tool_call", "text", "documents"]
ASKED = json.loads((ROOT / "template/cookiecutter.json").read_text(encoding="utf-8"))
STORAGE = ["none", "../my-domain-storage", *(f"{at}://fill-in/my-domain" for at in ("s3", "gs", "azure", "ssh"))]


def choices() -> list[dict[str, str]]:
    """As many repos as the longest list of options has, so that every option of every choice occurs at least once."""
    lists = {name: options for name, options in ASKED.items() if isinstance(options, list) and name[0] != "_"}
    del lists["initialise_git"]
    lists["dvc_remote"] = STORAGE
    return [
        {name: options[number % len(options)] for name, options in lists.items()}
        for number in range(max(map(len, lists.values())))
    ]


def test_a_repo_is_stamped_into_a_folder_not_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (file := tmp_path / "file").write_text("", encoding="utf-8")
    for folder in (file, tmp_path / "none"):
        with refused("another folder", file=folder):
            stamp.main(argparse.Namespace(folder=folder, answers=[]))


@pytest.mark.parametrize("choice", [*choices(), {"kind": "tool_call", "base_model": "qwen3-0.6b"}])
def test_a_stamped_repo_has_what_was_chosen_and_nothing_else(
    source: Path, tmp_path: Path, choice: dict[str, str]
) -> None:
    project = bake(source, tmp_path, **choice)
    stamped = files(project)
    shared = expected(source, **{key: choice[key] for key in ("kind", "licence", "ci") if key in choice})
    shared["LICENSE"] = shared["LICENSE"].replace(b"{holder}", b"the authors")
    config = stamped.pop(".dvc/config").decode()
    assert config.startswith(shared.pop(".dvc/config").decode().rstrip())
    assert set(stamped) == {*shared, *RENDERED, WHEEL}
    assert len(stamped) <= 80
    lines = [content.count(b"\n") for name, content in stamped.items() if not name.startswith(("library/", "data/"))]
    assert sum(lines) <= 8000
    ours = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert stamped["dvc.yaml"].decode() == ours.replace("deps: [hallmark, ", "deps: [library, ")
    wheel = ZipFile(project / WHEEL)
    sources = {name: content for name, content in files(source / "hallmark").items() if "__pycache__" not in name}
    inside = {name for name in wheel.namelist() if not name.startswith(("hallmark/docs/", "hallmark-"))}
    assert inside == {f"hallmark/{name}" for name in sources} | {"hallmark/LICENSE"}
    assert all(wheel.read(f"hallmark/{name}") == content for name, content in sources.items())
    pinned = f'"{WHEEL} --hash=sha256:{sha256_file(project / WHEEL)}"'
    assert pinned in stamped["pyproject.toml"].decode()
    assert {name: stamped[name] for name in shared} == shared
    folders = (folder for folder in project.rglob("*") if folder.is_dir() and ".git" not in folder.parts)
    assert all(any(folder.iterdir()) for folder in folders)
    for name in (*RENDERED, "LICENSE"):
        assert not re.search(rb"\{\{|\{%|\{holder\}", stamped[name]), name
    assert b'name = "my-domain"' in stamped["pyproject.toml"]
    assert f'license = "{choice.get("licence", "Apache-2.0")}"'.encode() in stamped["pyproject.toml"]
    assert b"hallmark" not in stamped["params.yaml"].lower()
    assert "Stamp my-domain" in git(project, "log", "--oneline")
    assert git(project, "status", "--porcelain") == ""
    assert set(git(project, "ls-files").splitlines()) == {*stamped, ".dvc/config"}, "of what was stamped, all is in git"
    checked(run_here(project, "hallmark.commands.committed"))

    remote = choice.get("dvc_remote", "none")
    listed = [entry["url"] for entry in Config(str(project / ".dvc"))["remote"].values()]  # as DVC reads it
    if remote.startswith(".."):
        assert [Path(url).resolve() for url in listed] == [tmp_path / "my-domain-storage"]
    else:
        assert listed == ([] if remote == "none" else [remote])
    plugin = re.escape(f"[{remote.split(':')[0]}]" if "://" in remote else "")
    assert re.search(rf'"dvc{plugin}>=', stamped["pyproject.toml"].decode())
    said = [stamped[name].decode() for name in stamped if name.endswith((".py", ".yaml")) or name == "README.md"]
    pages = {name.removeprefix("hallmark/") for name in wheel.namelist()}
    assert {page for text in said for page in re.findall(r"\bdocs/[\w-]+\.md", text)} <= pages

    if choice.get("base_model") == "own":
        with pytest.raises(HallmarkError, match="full 40-digit commit hash"):
            load_params(project / "params.yaml")
        text = stamped["params.yaml"].decode().replace("revision: fill-in", f"revision: {'a' * 40}")
        (project / "params.yaml").write_text(text, encoding="utf-8")
    params = load_params(project / "params.yaml")
    schema = jsonschema_rs.validator_for(params_schema(comments()))
    written = YAML(typ="safe", pure=True).load((project / "params.yaml").read_text(encoding="utf-8"))
    assert list(schema.iter_errors(written)) == []
    assert stamped["params.yaml"].decode().startswith("# yaml-language-server: $schema=.venv/params.schema.json\n")
    assert params.certify.name == "my-domain"
    assert params.task.kind == ("extraction" if choice["kind"] == "documents" else choice["kind"])
    assert (params.data.pseudonyms, params.data.key) == ("keyed", None), "its first run makes the key"
    own_form = choice["kind"] == "tool_call" and choice.get("base_model") == "qwen3-0.6b"
    assert params.task.tool_format == ("template" if own_form else "json")
    shown = {"tools": "template" if own_form else "context"}
    assert params.records == (shown if choice["kind"] == "tool_call" else {})
    assert stamped["stages/records.py"].count(b"\n") <= 20
    reference = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()
    commented = {line.split(":")[0] for line in reference if "  # " in line}
    changed = [line for line in stamped["params.yaml"].decode().splitlines() if line not in reference]
    bare = [line for line in changed if line.split(":")[0] in commented and "  # " not in line]
    assert bare == [], "a line lost its comment"


def test_what_names_a_page_of_the_manual_says_where_it_is(source: Path, tmp_path: Path) -> None:
    """In a stamped repo, it comes with the library, whatever the owner has in docs/."""
    project = bake(source, tmp_path, kind="text")
    ZipFile(project / WHEEL).extractall(tmp_path / "installed")
    (project / "docs").mkdir()
    error = "from hallmark.base.errors import HallmarkError; print(HallmarkError('x', remedy='docs/dvc.md'))"
    for options in ("-c", error), ("-m", "hallmark.commands.docs"), ("-m", "hallmark.commands.params", "serve"):
        said = run(project, "python", *options, PYTHONPATH=str(tmp_path / "installed")).stdout
        assert (pages := re.findall(r"\S*\bdocs/[\w-]+\.md", said)), said
        assert all((project / page).is_file() for page in pages), pages


@pytest.mark.full
def test_the_library_has_the_same_bytes_from_a_git_url(tmp_path: Path) -> None:
    """`pip install git+URL@COMMIT` builds the very wheel that stamping puts into a repo; git takes its links without a word."""
    source = clean_copy(tmp_path / "source")
    git(source, "init", "--quiet")
    assert "warning:" not in git(source, "add", "--all") + git(source, "status", "--ignored")
    git(source, "commit", "--quiet", "--message", "x")
    url = f"git+{source.as_uri()}@{git(source, 'rev-parse', 'HEAD').strip()}"
    run(tmp_path, *["python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"], str(tmp_path), url)
    here = write_wheel(
        tmp_path / "here", *(source / name for name in ("hallmark", "docs", "LICENSE", "pyproject.toml"))
    )
    assert (tmp_path / here.name).read_bytes() == here.read_bytes()


def test_a_description_and_a_holder_with_quotes_are_written_as_they_are(
    source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    holder = 'O\'Neil & "Söhne" \\'
    project = bake(source, tmp_path, description='Reads "odd" \\ things', copyright_holder=holder, licence="MIT")
    table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert table["description"] == 'Reads "odd" \\ things'
    assert f"Copyright (c) {holder}" in (project / "LICENSE").read_text(encoding="utf-8")
    assert f"next: cd {project} && " in capfd.readouterr().out, "wherever it was stamped from"


@pytest.mark.parametrize(
    "values",
    [{"dvc_remote": remote} for remote in ("http://other", "../x'\n[core]", "ssh://user:secret@host/x")]
    + [{"kind": "poetry"}, {"project_slug": "x; rm -rf"}],
)
def test_an_odd_choice_is_refused_before_anything_is_written(
    source: Path, tmp_path: Path, values: dict[str, str]
) -> None:
    from cookiecutter.exceptions import CookiecutterException

    with pytest.raises((CookiecutterException, ValueError, OSError)):
        bake(source, tmp_path, **values)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and "source" not in path.parts] == []


def test_the_ci_files_name_what_they_run_by_its_content() -> None:
    """A tag of an action or an image can be moved; a commit and a digest can't."""
    for name, wanted in (("github", 2), ("gitlab", 1)):
        text = (ROOT / f"template/choices/ci/{name}.yml").read_text(encoding="utf-8")
        used = re.findall(r"^\s*(?:- )?(?:uses|image): *(.+)$", text, re.MULTILINE)
        assert len(used) == wanted
        pinned = r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+" if name == "github" else r"[\w.:-]+@sha256:[0-9a-f]{64}"
        assert [line for line in used if not re.fullmatch(pinned, line)] == []
        assert re.search(r"pip install nox==\d+\.\d+\.\d+$", text, re.MULTILINE)
        assert isinstance(YAML(typ="safe").load(text), dict)
        assert {*re.findall(r"nox -s (\w+)", text)} == {"lint", "fresh", "tests"} <= nox.registry.get().keys()


def test_packages_that_hold_a_model_are_installed_by_their_hash_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = set((ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines())
    for line in noxfile.HASHED:
        hashed = re.fullmatch(r"(\w[\w-]*==\S+) --hash=sha256:[0-9a-f]{64}", line)
        assert hashed
        pin = hashed[1]
        assert pin in pins, "the provenance and the model's identity name another version"
        needed = [re.split("[<>=\\[]", name)[0] for name in noxfile.PROJECT["project"]["dependencies"]]
        assert pin.split("==")[0].replace("_", "-") not in [name.replace("_", "-") for name in needed]
    monkeypatch.chdir(tmp_path)
    for name in ("pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for program in ("python", "pip"):
        (tmp_path / ".venv/bin" / program).touch()
    commands: list[tuple[str, ...]] = []
    session = SimpleNamespace(run=lambda *command, **_: commands.append(command), log=lambda line: None)
    noxfile.prepare(session)  # type: ignore[arg-type]
    first = commands[0]
    assert {"--no-deps", "--require-hashes", "--force-reinstall"} <= set(first)
    assert Path(first[first.index("-r") + 1]).read_text(encoding="utf-8").split("\n") == noxfile.HASHED
    names = [line.split("==")[0].replace("_", "-") for line in noxfile.HASHED]
    others = [word.replace("_", "-") for command in commands[1:] for word in command]
    assert [word for word in others if word.startswith(tuple(names))] == []
    noxfile.prepare(session)  # type: ignore[arg-type]
    assert len(commands) == 3, "installed once, and the editor's schema is written once"


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_pipeline_runs_in_a_stamped_repo(source: Path, tmp_path: Path, kind: str) -> None:
    """With its own test of the pipeline, from the raw rows to the release; one more looks at replies that name facts."""
    project = bake(source, tmp_path, kind=kind)
    assert f"{3 + (kind == 'text')} passed" in run(project, "python", "-m", "pytest", "-q", "tests").stdout
