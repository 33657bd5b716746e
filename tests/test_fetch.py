"""A release in another repository or on another machine: by stage or version, checked on arrival, or not there at all."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from hallmark.base import provenance as prov
from hallmark.base.files import sha256_file, sha256_folder
from hallmark.service.registry.folders import fetch
from hallmark.service.registry.promotion import promote, register
from hallmark.service.registry.registry import PROD, Registry
from tests.registered import refused, tool
from tests.small_pipeline import shell


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


def test_from_an_address_and_a_remote(repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As another machine has it: git by an address, DVC's files from the remote that the repository names."""
    shell(f"dvc remote add -q -d store '{tmp_path}/store' && dvc push -q -a -T && git commit -qam store", repo)
    shell("git tag -d model@v0.2.0 && git checkout -q main", repo)
    assert refused(lambda: fetch(repo.as_uri(), "v0.2.0", Path("out"))).file == "model@v0.2.0"
    no_remote = refused(lambda: fetch(repo.as_uri(), "v0.1.0", Path("out")))
    assert "dvc push models/release" in no_remote.remedy, "its commit names no remote yet"
    assert left() == []
    assert register(repo).version.version == "v0.5.0"
    tool("fetch", repo.as_uri(), "v0.5.0", "out.d")
    assert capsys.readouterr().out.startswith("v0.5.0: out.d; it is what its tag says")
    assert left() == ["out.d"]


@pytest.mark.parametrize("damaged", ["models/versions/v0.1.0/README.md", "models/quantized/config.json"])
def test_what_is_damaged_leaves_neither_release_nor_weights(repo: Path, damaged: str) -> None:
    md5 = prov.dvc_md5(repo / damaged)
    file = repo / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    file.chmod(0o644)
    file.write_text("{}", encoding="utf-8")
    assert Path(damaged).name in refused(lambda: fetch(str(repo), "prod", Path("out"), Path("weights"))).problem
    assert left() == []


def test_what_the_tag_does_not_say_is_not_taken(repo: Path) -> None:
    said = Registry.read(repo).find("v0.1.0").model_dump(exclude={"version", "date"}) | {"provenance": "0" * 64}
    Path("../message").write_text(f"v0.1.0\n\n{json.dumps(said)}", encoding="utf-8")
    shell("git tag -f -a --cleanup=verbatim -F ../message model@v0.1.0 'model@v0.1.0^{commit}'", repo)
    assert "provenance" in refused(lambda: fetch(str(repo), "v0.1.0", Path("out"))).problem
    assert refused(lambda: fetch(str(repo), "prod", Path("out"))).file == "model#prod#1"
    assert left() == []


@pytest.mark.parametrize(
    "address",
    ["http://user:secret@127.0.0.1:9/x", "https://user:sec/ret@127.0.0.1:9/x", "ftp://u:secret@127.0.0.1:9/x", "fd::3"],
)
def test_only_https_ssh_and_files_are_followed_and_no_password_is_shown(address: str, tmp_path: Path) -> None:
    began = time.monotonic()
    error = refused(lambda: fetch(address, "prod", tmp_path / "out"))
    assert time.monotonic() - began < 30, "fd::3 would wait for ever"
    assert not any(part in str(error) for part in ("sec", "user", "u:"))
    assert "not allowed" in error.problem or address.startswith("https:")


@pytest.mark.parametrize(
    "address", ["no/such/place", "file:///no/such/place", "--upload-pack=touch mine", "ext::touch mine"]
)
def test_an_address_that_leads_nowhere(repo: Path, address: str) -> None:
    assert refused(lambda: fetch(address, "prod", Path("out"))).file == address
    assert left() == []
