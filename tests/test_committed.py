"""What must stay out of git is refused from the index, whatever .gitignore and `git add --force` say. With git and DVC."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hallmark.base.errors import HallmarkError
from hallmark.commands import committed
from tests.workspace import ROOT, append, git, run, written

SECRET = "ann.smith@example.com"
RECORD = f'{{"id": 1, "body": "from {SECRET}"}}\n'
SAMPLE = '{"id": 1, "body": "made up"}\n'
PARAMS = """
data: {pseudonyms: none}
task: {schema: data/schema.json}
mask: {gold: data/gold/spans.jsonl}
dedupe: {gold: null}
"""


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository as one is stamped, with a sample of one row; it is the current folder."""
    listed = f"{hashlib.sha256(SAMPLE.encode()).hexdigest()}  tickets.jsonl\n"
    raw = {
        "data/raw/.gitignore": "!/tickets.jsonl\n",
        "data/raw/tickets.jsonl": SAMPLE,
        "data/raw/sample.sha256": listed,
    }
    others = ("data/schema.json", "data/gold/spans.jsonl", "data/holdout.lock.json", "data/README.md")
    config = "[core]\n    remote = storage\n['remote \"storage\"']\n    url = ../../storage\n"
    written(tmp_path, raw | dict.fromkeys(others, "{}\n") | {"params.yaml": PARAMS, ".dvc/config": config})
    shutil.copyfile(ROOT / ".gitignore", tmp_path / ".gitignore")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused() -> dict[str, str]:
    """{file: problem} of what is refused in the current folder."""
    return {file: problem for (problem, _), files in committed.findings().items() for file in files}


def test_a_repo_as_stamped_has_nothing_to_refuse(repo: Path) -> None:
    assert refused() == {}
    assert "data/raw/tickets.jsonl" in git(repo, "ls-files")


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("data/raw/x.csv", "raw records"),
        ("data/gold/texts.jsonl", "no param names"),
        ("data/pseudonyms.key", "a key"),
        ("reports/eval/tuned/predictions.jsonl", "a .gitignore names it"),
        ("models/release/adapter_model.safetensors", "weights"),
        ("data/raw.jsonl.bak", "no param names"),
        ("export/customers.csv", "no param names"),
        ("data/gold/spans.jsonl", "more than positions"),
        ("certs/private.pem", "a key"),
        *((f".dvc/config{text}", "a password") for text in ("\n password = x", "\nurl = ssh://u:x@h", "\n a_secret=x")),
        ('.cruft.json\n"template": "https://x@h/t"', "a password"),
    ],
)
def test_what_was_added_by_force_is_refused_by_name(repo: Path, file: str, problem: str) -> None:
    file, _, text = file.partition("\n")
    written(repo, {file: text or RECORD})
    git(repo, "add", "--force", file)
    assert [(name, problem in why) for name, why in refused().items()] == [(file, True)]


@pytest.mark.parametrize(
    ("text", "problem"), [("T-1\n\nid-kbtf\n", None), ("T-1\nfrom ann smith\n", "more than positions")]
)
def test_ids_that_are_left_out_may_be_committed_and_texts_may_not(repo: Path, text: str, problem: str | None) -> None:
    params = f"{PARAMS}split: {{leave_out: data/gold/wrong.txt}}\n"
    written(repo, {"params.yaml": params, "data/gold/wrong.txt": text})
    git(repo, "add", "--force", "data/gold/wrong.txt", "params.yaml")
    found = refused()
    assert [*found] == (["data/gold/wrong.txt"] if problem else [])
    assert (problem or "") in "".join(found.values())


def test_a_plain_add_takes_no_raw_data_and_no_key(repo: Path) -> None:
    secret = ("data/raw/mine.jsonl", "data/raw/deep/mine.parquet", "data/pseudonyms.key", ".env.local", "my.pem")
    kept = ("data/raw/mine.jsonl.dvc", "data/raw/deep/mine.parquet.dvc", "data/raw/README.md")
    written(repo, dict.fromkeys(secret, RECORD) | dict.fromkeys(kept, "outs: []\n"))
    git(repo, "add", "--all")
    added = git(repo, "diff", "--cached", "--name-only", git(repo, "hash-object", "-t", "tree", "/dev/null").strip())
    assert {name for name in added.split() if "mine" in name or name == "data/raw/README.md"} == {*kept}
    assert refused() == {}


def test_real_rows_over_the_sample_are_refused(repo: Path) -> None:
    written(repo, {"data/raw/tickets.jsonl": RECORD})
    assert refused() == {}, "not staged yet"
    git(repo, "add", "--all")
    assert refused() == {"data/raw/tickets.jsonl": "is not the sample that data/raw/sample.sha256 lists"}
    written(repo, {"data/raw/tickets.jsonl": SAMPLE})
    assert len(refused()) == 1, "what is staged counts, not what lies there"


def test_params_that_are_half_edited_leave_the_rest_checked(repo: Path) -> None:
    written(repo, {"params.yaml": "data: [", "data/raw/x.csv": RECORD})
    git(repo, "add", "--force", "data/raw/x.csv")
    assert "data/raw/x.csv" in refused()


@pytest.mark.parametrize("file", ["ci.yml", "notes/a\nb.txt", "params.yaml"])
def test_the_repos_key_is_refused_wherever_it_stands(repo: Path, file: str) -> None:
    key = "3b" * 32
    digest = hashlib.sha256(key.encode()).hexdigest()
    written(repo, {"params.yaml": PARAMS.replace("none}", f"none, key: {digest}}}", 1)})
    git(repo, "add", "--all")
    assert refused() == {}
    before = (repo / file).read_text(encoding="utf-8") if (repo / file).exists() else ""
    written(repo, {file: f"{before}\n# HALLMARK_KEY=ab{key.upper()}cd\n"})
    git(repo, "add", "--force", file)
    assert refused() == {file: "holds the repo's key"}
    git(repo, "rm", "--cached", "--quiet", file)
    assert refused() == {}, "the index counts, not what lies there"


def test_rows_named_as_a_file_of_dvc_are_an_error(repo: Path) -> None:
    written(repo, {"data/raw/real.dvc": f"id,text\n1,{SECRET}\n"})
    git(repo, "add", "--force", "data/raw/real.dvc")
    with pytest.raises(HallmarkError, match="no file of DVC") as error:
        refused()
    assert SECRET not in str(error.value)


def test_the_command_names_file_and_way_out_and_quotes_nothing(repo: Path) -> None:
    for name in ("stages", "hallmark"):
        shutil.copytree(ROOT / name, repo / name, ignore=shutil.ignore_patterns("__pycache__"))
    (entry,) = [
        hook["entry"]
        for hook in YAML(typ="safe").load(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
        if hook["id"] == "committed"
    ]
    command = entry.removeprefix(".venv/bin/").split()
    assert run(repo, *command).returncode == 0
    names = [f"data/raw/\u202e{number}.csv" for number in range(7)]
    written(repo, dict.fromkeys([*names, "data/raw/tickets.jsonl"], RECORD))
    git(repo, "add", "--force", "data")
    done = run(repo, *command, check=False)
    assert done.returncode == 1
    assert "data/raw/\\u202e0.csv" in done.stderr and "`git rm --cached" in done.stderr
    assert "data/raw/tickets.jsonl: is not the sample" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "\u202e" not in done.stderr


def test_outside_of_a_repository_there_is_nothing_to_refuse_and_a_broken_one_is_an_error(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / ".git/index").write_bytes(b"not an index")
    with pytest.raises(HallmarkError, match=r"git failed: .*index file"):
        committed.findings()
    shutil.rmtree(repo / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repo.parent))
    assert committed.findings() == {}


CONFIG = """
['remote "raw"']
    url = /elsewhere
['remote "alias"']
    url = ../../storage
"""


@pytest.mark.parametrize(
    ("file", "text", "sent"),
    [
        ("data/raw/x.csv.dvc", "outs: [{path: x.csv}]", "data/raw/x.csv"),
        ("data/raw/x.csv.dvc", "outs: [{path: x.csv, push: false}]", None),
        ("data/raw/x.csv.dvc", "outs: [{path: x.csv, remote: raw}]", None),
        ("data/raw.dvc", "outs: [{path: raw}]", "data/raw"),
        ("other/x.dvc", "wdir: ..\nouts: [{path: data/raw/x.csv}]", "data/raw/x.csv"),
        ("dvc.yaml", "stages: {fetch: {cmd: x, outs: [data/raw/x.csv]}}", "data/raw/x.csv"),
        ("dvc.yaml", "stages: {fetch: {cmd: x, outs: [{data/raw/x.csv: {push: false}}]}}", None),
    ],
)
def test_raw_data_that_dvc_would_push_is_refused(repo: Path, file: str, text: str, sent: str | None) -> None:
    append(repo / ".dvc/config", CONFIG)
    written(repo, {file: text})
    git(repo, "add", "--all")
    assert refused() == ({file: f"lets `dvc push` send {sent} to the default remote"} if sent else {})


def test_the_samples_are_those_listed() -> None:
    """Of this repo, and of the kinds that a new repo can be stamped from."""
    lists = [ROOT / "data/raw/sample.sha256", *ROOT.glob("template/choices/kinds/*/raw/sample.sha256")]
    for file in lists:
        names = [line.split("  ")[1] for line in file.read_text(encoding="utf-8").splitlines()]
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", file.name], cwd=file.parent, check=True)
        assert sorted(names) == [path.name for path in sorted(file.parent.glob("*.jsonl"))]
        ignore = (file.parent / ".gitignore").read_text(encoding="utf-8").split()
        assert ignore == [f"!/{name}" for name in names]
    assert len(lists) == 1 + len([*ROOT.glob("template/choices/kinds/*")])
