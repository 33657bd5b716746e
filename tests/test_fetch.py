"""A release in another repository or on another machine: by stage or version, checked on arrival, or not there at all."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hallmark.base import provenance as prov
from hallmark.base.files import RELEASE, sha256_file, sha256_folder
from hallmark.service.registry.folders import fetch, materialize
from hallmark.service.registry.promotion import promote, register
from hallmark.service.registry.registry import PROD, Registry
from tests.registered import refused, tool, working_in
from tests.small_pipeline import shell
from tests.workspace import add_remote


@pytest.fixture
def repo(registered_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with v0.1.0 in prod, which is not the working directory."""
    promote(registered_repo, "v0.1.0", PROD)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return registered_repo


def left() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


@pytest.mark.parametrize(("name", "version"), [("prod", "v0.1.0"), ("v0.2.0", "v0.2.0")])
def test_by_stage_or_version(repo: Path, name: str, version: str) -> None:
    found = fetch(str(repo), name, Path("out"), Path("weights"))
    assert found.version == version
    assert sha256_file(Path("out") / prov.PROVENANCE) == found.digest
    assert sha256_folder(Path("weights")) == sha256_folder(repo / "models/quantized")
    assert refused(lambda: fetch(str(repo), name, Path("out"))).file == Path("out")


def test_from_any_address_and_a_remote(
    repo: Path, tmp_path: Path, store: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As another machine has it: git by an address, DVC's files from the remote that the branch names by now."""
    assert "dvc remote add" in refused(lambda: fetch(repo.as_uri(), "v0.2.0", Path("out"))).remedy
    assert left() == []
    add_remote(repo, "s3://store/dvc", store.meta.endpoint_url)
    shell("dvc push -q models/release models/quantized && git commit -qam store", repo)
    bare, ssh = tmp_path / "their bare.git", tmp_path / "ssh"
    shell(f"git clone -q --bare '{repo}' '{bare}'", repo)
    ssh.write_text('#!/bin/sh\n[ "$1" = ann@example.com ] && exec sh -c "$2"\n', encoding="utf-8")  # runs it here
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", f"'{ssh}'")
    monkeypatch.setenv("GIT_SSH_VARIANT", "simple")
    tool("fetch", f"ann@example.com:{bare}", "v0.2.0", "out.d", "--weights", "weights")
    assert capsys.readouterr().out.startswith("v0.2.0: out.d, over weights; it is what its tag")
    assert sha256_folder(Path("weights")) == sha256_folder(repo / "models/quantized")


def test_releases_that_were_shared_are_used_in_another_clone(
    registered_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which has the origin and DVC's remote, and nothing else of the first; the commits are all older than the remote."""
    origin, other = tmp_path / "origin.git", tmp_path / "other"
    shell(f"git tag -d model@v0.2.0 && git init -q --bare -b main '{origin}'", registered_repo)
    shell(f"git remote add origin '{origin}' && git push -q origin main", registered_repo)
    assert refused(lambda: register(registered_repo, "v1.0.0", push=True)).file == RELEASE, "there is no remote yet"
    tool("release", "--version", "v1.0.0")
    lines = capsys.readouterr().out.splitlines()
    once, share = next(pair for pair in pairwise(lines) if pair[1].startswith("share it: "))
    add = once.removeprefix("first, once: ").partition(",")[0]
    shell(add.replace("NAME", "store").replace("URL", f"'{tmp_path}/store'"), registered_repo)
    tool(*share.removeprefix("share it: nox -s ").split(" -- "))
    *_, use = capsys.readouterr().out.splitlines()
    assert use == "use it, elsewhere after `git fetch --tags`: nox -s promote -- v1.0.0 prod"
    shell("git commit -qam store && git push -q origin main", registered_repo)
    weights = sha256_folder(Path("models/quantized"))
    shell(f"mv '{registered_repo}' '{tmp_path}/gone' && git clone -q '{origin}' '{other}'", tmp_path)
    with working_in(other):
        promote(Path(), "v0.1.0", PROD)
        tool(*use.partition("nox -s ")[2].replace(" --", "").split())
        release, folder = materialize(Registry.read().find("v1.0.0"))
        assert sha256_folder(folder) == weights
        assert "proven by" in shell(f"PYTHONPATH=. python -m hallmark.commands.check {release} --clone .", other)
        assert shell("git status --porcelain", other) == "", "nor has dvc.lock changed"


@pytest.mark.parametrize("damaged", ["models/versions/v0.1.0/README.md", "models/quantized/config.json"])
def test_what_is_damaged_leaves_neither_release_nor_weights(repo: Path, damaged: str) -> None:
    md5 = prov.dvc_md5(repo / damaged)
    file = repo / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    file.chmod(0o644)
    file.write_text("{}", encoding="utf-8")
    assert Path(damaged).name in refused(lambda: fetch(str(repo), "prod", Path("out"), Path("weights"))).problem
    assert left() == []


WHO = ("user:secret@", "user:sec/ret@", "user:99/sec@", "user@x:sec@", "@user:sec'ret@", "user:#sec@", "user@", "")
ADDRESSES = [f"{scheme}://{who}127.0.0.1:9/x?token=sec" for scheme in ("http", "https", "ftp") for who in WHO]


@pytest.mark.parametrize("address", [*ADDRESSES, "fd::3"])
def test_only_https_ssh_and_files_are_followed_and_no_password_is_shown(address: str, tmp_path: Path) -> None:
    error = refused(lambda: fetch(address, "prod", tmp_path / "out"))
    assert "sec" not in str(error)
    assert "not allowed" in error.problem or address.startswith("https:")


@pytest.mark.parametrize(
    "address",
    [
        "https://user:a sec@h/x",
        "user:sec@h/x",
        "https:user:sec@h",
        "https://us er:sec@h",
        "https://u:a\nsec@h/x",
        "https://h?token=a sec",
    ],
)
def test_an_address_whose_password_nobody_can_tell_is_not_repeated(address: str, tmp_path: Path) -> None:
    assert "sec" not in str(refused(lambda: fetch(address, "prod", tmp_path / "out")))


@pytest.mark.parametrize(
    "address", ["no/such/place", "file:///no/such/place", "--upload-pack=touch mine", "ext::touch mine"]
)
def test_an_address_that_leads_nowhere(repo: Path, address: str) -> None:
    assert refused(lambda: fetch(address, "prod", Path("out"))).file == address
    assert left() == []
