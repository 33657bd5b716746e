"""`nox -s update`: an owner's changes survive it, what can't be merged is listed, and the repo runs the new code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hallmark.base.errors import HallmarkError
from tests.workspace import ROOT, git_commit, run

if not (ROOT / "template").is_dir():
    pytest.skip("this repo was stamped from the template and has none of its own", allow_module_level=True)

from hallmark.commands import update as command
from hallmark.commands.update_modules import modules_of, moved_files, rewritten
from hallmark.commands.update_yaml import merged_params, merged_pipeline
from hallmark.params.checked import loaded
from tests.test_template import clean_copy, git

ROOMS = "5aa24ea"  # when a stamped repo still had all of the library, in rooms below stages/
KIND = '''"""Stars: a text to a number of them."""

from stages.core import (
    files,
    patterns as forms,
)
from stages.release import provenance as prov
from stages.tasks.kind import Kind


class Stars(Kind):
    name = "stars"
    listed = True

    def prompt_hint(self, target, schema):
        return f"Rate the text {prov.__name__} {files.__name__} {forms.__name__}"


KIND = Stars()
'''
MEASURE = """from hallmark.task.measure import of_score

MEASURE = of_score("ours", "Ours", "rate", "accuracy")
"""
STAGE = """  # how many there are
  count:
    cmd: python -m stages.count
    deps:
      - data/masked.parquet
      - requirements.lock
      - stages/core/files.py
      - stages/count.py
    params: [seed]
    outs:
      - reports/count.json:
          cache: false
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this repo, with its history, and a last commit with what is here now."""
    if subprocess.run(["git", "cat-file", "-e", f"{ROOMS}^{{commit}}"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip(f"no history back to {ROOMS}: a shallow clone")
    folder = tmp_path_factory.mktemp("template") / "hallmark"
    git(ROOT, "clone", "--quiet", "--no-checkout", str(ROOT), str(folder))
    git(folder, "remote", "remove", "origin")  # which has no such commit
    clean_copy(folder)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "now")
    return folder


def stamped(template: Path, folder: Path, commit: str = "HEAD", **answers: str) -> Path:
    """A repo stamped with cruft; everything is committed, if it is a repository."""
    git(template, "branch", "--force", "wanted", commit)
    options = ["--directory", "template", "--checkout", "wanted", "--no-input", "--output-dir", str(folder)]
    folder.mkdir(parents=True, exist_ok=True)
    run(folder, "cruft", "create", str(template), *options, "--extra-context", json.dumps(answers))
    if answers.get("initialise_git") != "no":
        git_commit(folder / "my-domain", "cruft")
    return folder / "my-domain"


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def update(template: Path, *options: str) -> tuple[int, str]:
    done = run(template, "python", "-m", "hallmark.commands.update", *options, check=False)
    return done.returncode, done.stdout + done.stderr


def library(project: Path) -> str:
    """Where the wheel of a repo is unpacked, as `nox -s setup` would install it."""
    (wheel,) = (project / "library").glob("*.whl")
    folder = project.parent / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return str(folder)


@pytest.mark.full
def test_own_changes_come_along_from_when_stages_held_the_library(template: Path, tmp_path: Path) -> None:
    project = stamped(template, tmp_path / "a b", ROOMS, kind="classification", ci="github")
    append(project / "stages/gate.py", 'log.info("ours")\n')
    change(project / "params.yaml", "  threads: 2", "  threads: 3")
    change(project / "params.yaml", "  deny: []", "  deny: ['Acme: x']  # ours")
    change(
        project / "dvc.yaml", "      - data/holdout.lock.json\n", "      - data/holdout.lock.json\n      - data/ours\n"
    )
    append(project / "dvc.yaml", STAGE)
    (project / "stages/count.py").write_text("from stages.core.files import write_json\n", encoding="utf-8")
    (project / "stages/tasks/kinds/stars.py").write_text(KIND, encoding="utf-8")
    (project / "Makefile").write_text("plan:\n\tpython -m stages.tools.plan\n", encoding="utf-8")
    (project / "README.md").write_text("our words\n", encoding="utf-8")
    git_commit(project, "ours")
    code, said = update(template, str(project))
    assert (code, "no conflicts" in said) == (0, True), said

    new = stamped(template, tmp_path / "new", kind="classification", ci="github")
    tracked = {*git(new, "ls-files").splitlines()}
    git(project, "add", "--all")
    own = {"Makefile", "stages/count.py", "stages/kinds/stars.py"}
    assert {*git(project, "ls-files").splitlines()} == tracked | own
    differs = {name for name in tracked if (project / name).read_bytes() != (new / name).read_bytes()}
    kept = {name for name in differs if name.startswith(("reports/", "data/"))}  # as they were, or older samples
    assert differs - kept == {".cruft.json", "README.md", "dvc.yaml", "params.yaml", "stages/gate.py"}
    before = (new / "stages/gate.py").read_text(encoding="utf-8")
    assert (project / "stages/gate.py").read_text(encoding="utf-8") == before + 'log.info("ours")\n'
    assert "from hallmark.base.files import write_json" in (project / "stages/count.py").read_text(encoding="utf-8")
    assert "hallmark.commands.plan" in (project / "Makefile").read_text(encoding="utf-8")
    assert not (project / "stages/tasks").exists()

    params = (project / "params.yaml").read_text(encoding="utf-8")
    assert "  threads: 3  # threads of each" in params
    assert "  deny: ['Acme: x']  # ours" in params
    pipeline = YAML(typ="safe").load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert pipeline["count"]["deps"] == ["code/count", "data/masked.parquet"]
    assert "data/ours" in pipeline["gate"]["deps"]
    assert "  # how many there are\n  count:\n" in (project / "dvc.yaml").read_text(encoding="utf-8")
    state = json.loads((project / ".cruft.json").read_text(encoding="utf-8"))
    assert state["commit"] == git(template, "rev-parse", "HEAD").strip()

    installed = library(project)
    assert "count" in run(project, "dvc", "stage", "list", "--name-only").stdout
    run(project, "python", "-m", "stages.code", PYTHONPATH=installed)
    assert "stages/kinds/stars.py" in (project / "code/eval").read_text(encoding="utf-8")
    assert "hallmark/base/files.py" in (project / "code/count").read_text(encoding="utf-8")
    git(project, "commit", "--quiet", "-m", "updated")
    assert "up to date" in run(project, "cruft", "check").stdout


@pytest.mark.full
def test_what_cannot_be_merged_is_listed_and_ends_with_1(template: Path, tmp_path: Path) -> None:
    project = stamped(template, tmp_path, ROOMS)
    gate = project / "stages/gate.py"
    new = (template / "stages/gate.py").read_text(encoding="utf-8")
    gone = [line for line in gate.read_text(encoding="utf-8").splitlines() if line[:4] == "    " and line not in new]
    change(gate, gone[0], gone[0] + "  # ours")
    append(project / "stages/privacy/words/brands.txt", "acme\n")
    change(project / "params.yaml", "  too_long: error", "  too_long: drop")
    change(project / "params.yaml", "  keep_targets: []", "  keep_targets: [company]")
    change(project / "params.yaml", "  threads: 2", "  threads: many")
    change(
        project / "dvc.yaml", "    cmd: python -m stages.mask\n", "    cmd: python -m stages.mask\n    frozen: true\n"
    )
    (project / "stages/own.py").write_text("from stages.core.files import no_such_thing\n", encoding="utf-8")
    git_commit(project, "ours")
    code, said = update(template, str(project))
    assert code == 1
    assert not re.search("no conflicts|done|good work", said, re.IGNORECASE)
    for line in (
        "stages/gate.py: resolve the lines between",
        "brands.txt: you changed it, and it is hallmark/mask/words/brands.txt in the library now",
        '`sft.too_long: "drop"` is gone: set split.too_long, which took its place',
        "mask: your `frozen: true` was not taken over",
        "stages/own.py: imports no_such_thing of hallmark.base.files, which is gone",
        "params.yaml, field 'compute.threads'",
    ):
        assert line in said
    assert 'mask.keep_targets: ["company"]` is gone, and was left out' in said
    assert "<<<<<<< " in gate.read_text(encoding="utf-8")
    assert not (project / "stages/privacy").exists()
    patches = {file.name: file.read_text(encoding="utf-8") for file in (project / "update").iterdir()}
    assert patches.keys() == {"stages-gate.py.patch", "stages-privacy-words-brands.txt.patch"}
    words = patches["stages-privacy-words-brands.txt.patch"]
    assert words.startswith("--- a/hallmark/mask/words/brands.txt\n+++ b/hallmark/mask/words/brands.txt\n")
    assert words.endswith("+acme\n")


def test_a_later_repo_is_updated_from_inside(template: Path, tmp_path: Path) -> None:
    source = tmp_path / "hallmark"
    git(template, "clone", "--quiet", str(template), str(source))
    options = ["--directory", "template", "--no-input", "--output-dir", str(tmp_path)]
    run(tmp_path, "cookiecutter", str(source), *options)
    project = tmp_path / "my-domain"
    state = json.loads((project / ".cruft.json").read_text(encoding="utf-8"))
    head = git(source, "rev-parse", "HEAD").strip()
    assert (state["template"], state["commit"]) == (str(source), head)
    assert git(project, "status", "--porcelain") == "", "it is in the first commit"
    assert "up to date" in run(project, "cruft", "check").stdout
    change(project / "params.yaml", "  threads: 2", "  threads: 3")
    change(project / "stages/sft.py", "\n\n\n", "\n\n\nOURS = 1\n\n\n")
    (project / "stages/measures").mkdir()
    (project / "stages/measures/own.py").write_text(MEASURE, encoding="utf-8")
    git_commit(project, "ours")

    change(source / "params.yaml", "    alpha: 32", "    alpha: 48")
    append(source / "hallmark/base/files.py", "# better\n")
    append(source / "stages/sft.py", "# better\n")
    git_commit(source, "better")
    installed = library(project)
    done = run(project, "python", "-m", "hallmark.commands.update", PYTHONPATH=installed)
    assert "no conflicts" in done.stdout
    recipe = (project / "stages/sft.py").read_text(encoding="utf-8")
    assert "OURS = 1\n" in recipe
    assert recipe.endswith("# better\n")
    params = (project / "params.yaml").read_text(encoding="utf-8")
    assert "  threads: 3  #" in params
    assert "    alpha: 48  #" in params
    git(project, "add", "--all")
    changed = {"stages/sft.py", "params.yaml", ".cruft.json", "pyproject.toml"}
    names = {*git(project, "diff", "--cached", "--name-only").splitlines()}
    assert changed == {name for name in names if not name.startswith("library/")}
    assert len(names) == 5, "the wheel too"


@pytest.mark.full
def test_without_cruft_json_the_commit_is_found_by_its_code(template: Path, tmp_path: Path) -> None:
    project = stamped(template, tmp_path, ROOMS, licence="MIT")
    git(project, "rm", "--quiet", ".cruft.json")
    git_commit(project, "none")
    code, said = update(template, str(project))
    assert code == 1
    assert "nothing says what was answered to base_model, kind, machine" in said
    answers = ["kind=extraction", "base_model=smollm2-135m", "machine=cpu"]
    code, said = update(template, str(project), "knd=text", *answers)
    assert (code, "no question is called knd" in said) == (1, True)
    code, said = update(template, str(project), *answers)
    assert (code, f"from {ROOMS} to " in said) == (0, True), said
    state = json.loads((project / ".cruft.json").read_text(encoding="utf-8"))
    assert state["context"]["cookiecutter"]["licence"] == "MIT"
    git_commit(project, "updated")
    assert "up to date" in run(project, "cruft", "check").stdout


@pytest.mark.full
def test_a_project_in_a_folder_of_a_repository_is_updated_there(template: Path, tmp_path: Path) -> None:
    project = stamped(template, tmp_path / "several", ROOMS, initialise_git="no")
    git(tmp_path / "several", "init", "--quiet")
    (tmp_path / "several/other.txt").write_text("other\n", encoding="utf-8")
    git_commit(tmp_path / "several", "start")
    (tmp_path / "several/other.txt").write_text("not committed, and not ours\n", encoding="utf-8")
    code, said = update(template, str(project))
    assert code == 0, said
    assert (project / "stages/code.py").is_file()
    assert not (project / "stages/core").exists()


def test_a_repo_with_changes_or_an_unknown_commit_is_left_alone(template: Path, tmp_path: Path) -> None:
    project = stamped(template, tmp_path)
    code, said = update(template, str(project), "--from", "1234567")
    assert (code, "there is no commit 1234567" in said) == (1, True)
    (project / "new.txt").write_text("", encoding="utf-8")
    code, said = update(template, str(project))
    assert (code, "has changes that are not committed" in said) == (1, True)
    assert git(project, "status", "--porcelain") == "?? new.txt\n"
    code, said = update(template, str(tmp_path))
    assert (code, "no stamped repo" in said) == (1, True)
    code, said = update(template)
    assert (code, "which repo?" in said) == (1, True)


def test_modules_get_their_new_names() -> None:
    status = "R090\ta/x.py\tb/y.py\nM\ta/v.py\nD\tstages/core/k.py\nA\thallmark/base/k.py\n"
    moved = moved_files(status)
    assert moved == {"a/x.py": "b/y.py", "stages/core/k.py": "hallmark/base/k.py"}
    modules = modules_of(moved | {"stages/core/lock.py": "hallmark/base/dvc_lock.py"})
    assert modules["stages.core"] == "hallmark.base"
    for old, new in (
        ("from stages.core import k", "from hallmark.base import k"),
        (
            "  from stages.core import lock, k as key  # why",
            "  from hallmark.base import dvc_lock as lock, k as key  # why",
        ),
        ("from stages.core import (\n    lock as l,\n)\n", "from hallmark.base import dvc_lock as l\n"),
        ("from stages.core.lock import LOCK", "from hallmark.base.dvc_lock import LOCK"),
        (
            "import stages.core.lock\nstages.core.lock.read()",
            "import hallmark.base.dvc_lock\nhallmark.base.dvc_lock.read()",
        ),
        ("stages.gate and stages.core.other", "stages.gate and hallmark.base.other"),
        ("upstages.core.k", "upstages.core.k"),
    ):
        assert rewritten(old, modules) == new


def test_values_and_entries_go_into_the_new_text() -> None:
    old = "a: 1\nstages:\n  one:\n    cmd: x\n    deps:\n      - d\n    outs:\n      - o\n      - p\n"
    mine = "a: 2\nstages:\n  one:\n    cmd: y\n    deps:\n      - d\n      - ${e}\n    outs:\n      - o:\n          cache: false\n    metrics:\n      - m\n"
    new = "a: 1\nstages:\n  one:\n    cmd: x\n    deps: [d,\n      f]\n    outs:\n      - o\n      - p\n"
    text, conflicts, notes = merged_pipeline(old, mine, new, set(), set(), {})
    assert text == new.replace("f]", 'f, "${e}"]') + "    metrics: [m]\n"
    assert conflicts == [
        "top level: your `a: 2` was not taken over",
        "one: your `cmd: y` was not taken over",
        "one: your `outs: {o: {cache: false}}` was not taken over",
        "one: you removed `outs: p`, which the template still has",
    ]
    assert notes == []
    nested = new.replace("deps: [d,\n      f]", "params:\n      - code/params.yaml: [seed]")
    own = nested.replace("[seed]", "[seed]\n      - other.yaml: [k]")
    text, conflicts, notes = merged_pipeline(nested, own, nested, set(), set(), {})
    assert (text, conflicts) == (own.replace("- other.yaml: [k]", "- {other.yaml: [k]}"), [])
    anchored = new.replace("deps: [d,\n      f]", "deps: &these\n      - d")
    text, conflicts, notes = merged_pipeline(old, mine.replace("a: 2", "a: 1"), anchored, set(), set(), {})
    assert text == anchored + "    metrics: [m]\n"
    assert any("your `deps: " in line and "could not be written" in line for line in conflicts)
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    block = "  identity_columns:  # ours\n    mail: EMAIL_ADDRESS  # his\n"
    own = re.sub(r"  identity_columns:.*\n(?:    .*\n)*", block, before)
    text, conflicts, left_out = merged_params(before, own, before.replace("seed: 7", "seed: 8"))
    assert (text, conflicts, left_out) == (own.replace("seed: 7", "seed: 8"), [], [])
    wide = re.sub("^( +)", r"\1\1", own.replace("epochs: 1.1", "epochs: 3"), flags=re.MULTILINE)
    text, conflicts, left_out = merged_params(before, wide, before)
    assert conflicts == left_out == []
    assert loaded(text) == loaded(wide)
    assert "\n  identity_columns:  # ours\n      mail: EMAIL_ADDRESS  # his\n" in text
    text, conflicts, left_out = merged_params(before, before.replace("seed: 7", ""), before)
    assert conflicts == ["you removed seed, which the template's text has: remove it again"]


OWN = """  mine:
    cmd: python stages/mine.py
    deps:  # ours
      - stages/mine.py
      - data/x
  words:
    cmd: python -m stages.words
    deps: [code/words, stages/words.txt, library, code/own/x.csv]
"""
NOW = "stages:\n  code:\n    cmd: c\n    deps: [library, stages]\n  gate:\n    cmd: python -m stages.gate\n    deps: [code/gate]\n"
FILES = {"requirements.lock", "stages/gate.py", "library/hallmark-0.1.0-py3-none-any.whl"}


def test_an_owners_dependencies_stay() -> None:
    here = FILES | {"stages/mine.py", "stages/words.py", "stages/words.txt", "stages/extra.txt"}
    mine = NOW.replace("[code/gate]", "[code/gate, stages/extra.txt]") + OWN
    assert merged_pipeline(NOW, mine, NOW, FILES, here, {}) == (mine, [], [])
    wide = re.sub("^( +)", r"\1\1", mine, flags=re.MULTILINE)
    text, conflicts, notes = merged_pipeline(NOW, wide, NOW, FILES, here, {})
    assert (YAML(typ="safe").load(text), conflicts, notes) == (YAML(typ="safe").load(mine), [], [])


def test_what_was_code_of_the_template_is_listed_where_it_goes() -> None:
    old = "stages:\n  gate:\n    cmd: python -m stages.gate\n    deps: [stages/core/files.py, stages/gate.py]\n"
    mine = old.replace("gate.py]", "gate.py, stages/core/key.py, stages/extra.txt]") + OWN.replace(
        "[code/words, stages/words.txt, library,", "[stages/words.py, mydata/words.py, stages/core, requirements.lock,"
    ).replace("- data/x", "- stages/core/key.py\n      - stages/tasks/kinds/own.py\n      - stages/gone.txt")
    then = {"requirements.lock", "stages/gate.py", "stages/core/files.py", "stages/core/key.py", "stages/gone.txt"}
    moved = {f"stages/core/{name}.py": f"hallmark/base/{name}.py" for name in ("files", "key")}
    here = FILES | {"stages/mine.py", "stages/words.py", "stages/extra.txt", "stages/kinds/own.py"}
    own = {"stages/tasks/kinds/own.py": "stages/kinds/own.py"}
    text, conflicts, notes = merged_pipeline(old, mine, NOW, then, here, moved | own)
    stages = YAML(typ="safe").load(text)["stages"]
    assert stages["gate"]["deps"] == ["code/gate", "stages/extra.txt"]
    assert stages["mine"]["deps"] == ["stages/mine.py", "library", "stages/kinds/own.py"]
    assert stages["words"]["deps"] == ["code/words", "mydata/words.py", "library", "code/own/x.csv"]
    assert conflicts == ["mine: your `deps: stages/gone.txt` was not taken over: the template no longer has it"]
    assert sorted(notes) == [
        "gate: code/gate covers, and replaces, stages/core/key.py",
        "mine: library covers, and replaces, stages/core/key.py",
        "words: code/words covers, and replaces, stages/words.py, requirements.lock",
        "words: library covers, and replaces, stages/core",
    ]


def written(folder: Path, texts: Mapping[str, str | bytes]) -> Path:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_what_git_does_not_have_is_in_the_way(tmp_path: Path) -> None:
    before = written(tmp_path / "before", {"a.txt": "", "was/b.txt": ""})
    repo = written(
        tmp_path / "repo", {"a.txt": "", "was/b.txt": "", "notes.txt": "ours", "plain": "", ".gitignore": "*"}
    )
    (tmp_path / "elsewhere").mkdir()
    (repo / "extra").symlink_to(tmp_path / "elsewhere")
    (repo / "broken").symlink_to("nowhere")
    there = command.files(repo)
    for number, name in enumerate(("notes.txt", "extra/x.txt", "plain/x", "broken")):
        place = tmp_path / str(number)
        shutil.copytree(before, place / "before")
        with pytest.raises(HallmarkError, match="git does not have") as error:
            command.apply(place / "before", written(place / "result", {"a.txt": "new", name: "new"}), repo)
        assert (error.value.file, name.split("/")[0] in error.value.problem) == (repo, True)
        assert (command.files(repo), (repo / "a.txt").read_text(), [*(tmp_path / "elsewhere").iterdir()]) == (
            there,
            "",
            [],
        )
    command.apply(before, written(tmp_path / "result", {"a.txt/x": "", "was": "", "new/y": ""}), repo)
    assert {"a.txt/x", "was", "new/y"} < command.files(repo)


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """A template of a few files, with two commits, and a repo stamped from the first."""
    top, repo = tmp_path / "top", tmp_path / "repo"
    stamped = "template/{{ cookiecutter.project_slug }}/"
    questions = ("kind", "base_model", "machine", "initialise_git")
    texts: dict[str, str | bytes] = {
        "params.yaml": (ROOT / "params.yaml").read_bytes(),
        "dvc.yaml": NOW,
        "pyproject.toml": "hash = 'old'\n",
        "library/hallmark-0.1.0-py3-none-any.whl": b"old\0",
        "logo.bin": b"old\0",
        "latin.txt": b"old\n",
        "stages/gate.py": "GATE = 1\n",
    }
    package = {"template/cookiecutter.json": json.dumps({"project_slug": "repo", **dict.fromkeys(questions, "x")})}
    written(top, package | {"hallmark/judge/verdict.py": "V = 1\n", "hallmark/judge/same.py": "S = 1\n"})
    written(top, {stamped + name: text for name, text in texts.items()})
    git(top, "init", "--quiet")
    git_commit(top, "old")
    new = {
        "pyproject.toml": "hash = 'new'\n",
        "library/hallmark-0.1.0-py3-none-any.whl": b"new\0",
        "logo.bin": b"new\0",
    }
    added = {"latin.txt": "new\n", "notes.txt": "the template's\n"}
    written(top, {stamped + name: text for name, text in (new | added).items()})
    written(top, {"hallmark/judge/verdict.py": "V = 2\n"})
    git_commit(top, "new")
    record = {
        "commit": git(top, "rev-parse", "HEAD~1").strip(),
        "context": {"cookiecutter": dict.fromkeys(questions, "x")},
    }
    record["context"]["cookiecutter"]["project_slug"] = "repo"
    written(repo, texts | {".cruft.json": json.dumps(record)})
    git(repo, "init", "--quiet")
    git_commit(repo, "stamped")
    return top, repo


def updated(small: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is left to do by hand, whatever git's settings; without the line on params, which no library here loads."""
    monkeypatch.chdir(small[0])
    settings = {"commit.gpgsign": "true", "gpg.program": "false", "merge.ff": "only", "merge.verifySignatures": "true"}
    with monkeypatch.context() as patch:
        patch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
        for number, setting in enumerate(settings.items()):
            for kind, text in zip(("KEY", "VALUE"), setting, strict=True):
                patch.setenv(f"GIT_CONFIG_{kind}_{number}", text)
        left = command.update(small[1], None, {})
    return [line for line in left if "when the params are loaded" not in line]


def test_an_ignored_file_is_never_overwritten(small: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    repo = small[1]
    written(repo, {".gitignore": "/notes.txt\n", "notes.txt": "ours\n"})
    git_commit(repo, "ours")
    with pytest.raises(HallmarkError, match="git does not have"):
        updated(small, monkeypatch)
    assert (repo / "notes.txt").read_text() == "ours\n"
    assert git(repo, "status", "--porcelain") == ""
    written(repo, {".gitignore": "", "notes.txt": "ours\n"})
    git(repo, "config", "status.showUntrackedFiles", "no")
    git(repo, "commit", "--all", "--quiet", "-m", "x")
    with pytest.raises(HallmarkError, match="not committed"):
        updated(small, monkeypatch)


def test_modes_that_the_repos_git_does_not_look_at_are_no_changes(
    small: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = small[1]
    git(repo, "config", "core.fileMode", "false")
    (repo / "pyproject.toml").chmod(0o755)
    assert updated(small, monkeypatch) == []
    assert (repo / "pyproject.toml").read_text(encoding="utf-8") == "hash = 'new'\n"


def test_an_update_that_git_could_not_finish_says_so(tmp_path: Path) -> None:
    before, repo = (written(tmp_path / name, {"in/a.txt": ""}) for name in ("before", "repo"))
    (repo / "in").chmod(0o500)
    if os.access(repo / "in", os.W_OK):
        pytest.skip("root may write anywhere")
    with pytest.raises(HallmarkError, match="half written") as error:
        command.apply(before, written(tmp_path / "result", {"in/a.txt": "new", "b.txt": ""}), repo)
    (repo / "in").chmod(0o700)
    assert "git status" in error.value.remedy


def test_a_folder_whose_files_are_gone_goes_with_its_bytecode(tmp_path: Path) -> None:
    texts = {"a/b/c.py": "", "d/e.py": "", "data/f.py": ""}
    before, repo = (written(tmp_path / name, texts) for name in ("before", "repo"))
    cached = {f"{name}/__pycache__/x.pyc": "" for name in ("a", "a/b", "d", "data")}
    written(repo, cached | {"d/notes.txt": "ours", ".gitignore": "__pycache__\nnotes.txt\n"})
    command.apply(before, written(tmp_path / "result", {"g.py": ""}), repo)
    left = {"d/notes.txt", "d/__pycache__/x.pyc", "data/f.py", "data/__pycache__/x.pyc"}
    assert command.files(repo) == left | {"g.py", ".gitignore"}


def test_what_is_no_text_is_taken_from_the_template(small: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    repo = small[1]
    wheel = "library/hallmark-0.1.0-py3-none-any.whl"
    git(repo, "mv", wheel, "library/hallmark-0.2.0-py3-none-any.whl")
    ours = {"library/hallmark-0.2.0-py3-none-any.whl": b"ours\xff\0", "logo.bin": b"ours\xff\0"}
    written(repo, ours | {"pyproject.toml": "hash = 'ours'\n", "latin.txt": b"ours\xe4\n"})
    git_commit(repo, "ours")
    conflicts = updated(small, monkeypatch)
    assert [line.split(":")[0] for line in conflicts] == [
        "library/hallmark-0.2.0-py3-none-any.whl", "latin.txt", "logo.bin", "pyproject.toml",
    ]  # fmt: skip
    assert all("the template's was taken" in conflicts[number] for number in (0, 2))
    assert [file.name for file in (repo / "library").iterdir()] == [Path(wheel).name]
    assert (repo / wheel).read_bytes() == (repo / "logo.bin").read_bytes() == b"new\0"
    assert {file.name for file in (repo / "update").iterdir()} == {"latin.txt.patch", "pyproject.toml.patch"}
    assert (repo / "update/latin.txt.patch").read_bytes().endswith(b"+ours\xe4\n")


def test_own_files_whose_place_is_taken_or_whose_original_changed_are_listed(
    small: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = small[1]
    taken = dict.fromkeys(
        ("stages/a/kinds/x.py", "stages/b/kinds/x.py", "stages/a/kinds/y.py", "stages/kinds/y.py"), ""
    )
    original = {"stages/hallmark/judge/verdict.py": "V = 3\n", "stages/hallmark/judge/same.py": "S = 2\n"}
    lists = {"code/gate": f"{'0' * 64}  stages/gate.py\n", "code/params.yaml": "seed: 7\n", "code/train.csv": "a,b\n"}
    written(repo, taken | original | lists | {"stages/a/kinds/z.py": ""})
    git_commit(repo, "ours")
    assert updated(small, monkeypatch) == [
        "stages/hallmark/judge/verdict.py: the library's own changed: compare",
        *(
            f"{name}: belongs at stages/kinds/{name[-4:]}, but another file has that name: move it by hand"
            for name in ("stages/a/kinds/x.py", "stages/a/kinds/y.py", "stages/b/kinds/x.py")
        ),
        "code/train.csv: the stage `code` writes to this folder, and refuses other files: move yours",
    ]
    assert all((repo / name).is_file() for name in [*taken, "stages/kinds/z.py", "code/train.csv"])
