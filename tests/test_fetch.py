"""A release in another repository or on another machine: by stage or version, checked on arrival, or not there at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import sha256_file, sha256_folder
from hallmark.service.registry.fetching import fetch
from hallmark.service.registry.promotion import promote, register
from hallmark.service.registry.registry import PROD, Registry
from tests.registered import tool
from tests.small_pipeline import shell


@pytest.fixture
def repo(registered_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with v0.1.0 in prod, which is not the working directory."""
    copy = tmp_path / "their repo"
    shutil.copytree(registered_run, copy)
    promote(copy, "v0.1.0", PROD)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return copy


def left() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


@pytest.mark.parametrize(("name", "version"), [("prod", "v0.1.0"), ("v0.2.0", "v0.2.0")])
def test_by_stage_or_version(repo: Path, name: str, version: str) -> None:
    found = fetch(str(repo), name, Path("out"), Path("weights"))
    assert found.version == version
    assert sha256_file(Path("out") / prov.PROVENANCE) == found.digest
    assert sha256_folder(Path("weights")) == sha256_folder(repo / "models/quantized")
    with pytest.raises(HallmarkError, match="already exists"):
        fetch(str(repo), name, Path("out"))


def test_from_an_address_and_a_remote(repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As another machine has it: git by an address, DVC's files from the remote that the repository names."""
    shell(f"dvc remote add -q -d store '{tmp_path}/store' && dvc push -q -a -T && git commit -qam store", repo)
    shell("git tag -d model@v0.2.0 && git checkout -q main", repo)
    with pytest.raises(HallmarkError, match="no such version"):
        fetch(repo.as_uri(), "v0.2.0", Path("out"))
    with pytest.raises(HallmarkError, match="neither in DVC's cache nor in a remote"):
        fetch(repo.as_uri(), "v0.1.0", Path("out"))  # its commit names no remote yet
    assert left() == []
    assert register(repo).version.version == "v0.5.0"
    fetch(repo.as_uri(), "v0.5.0", Path("out"))
    tool("fetch", repo.as_uri(), "v0.5.0", "again.d")
    said = capsys.readouterr().out
    assert said.startswith("v0.5.0: again.d; it is what its tag says")
    assert left() == ["again.d", "out"]


def test_a_damaged_one_is_not_left(repo: Path) -> None:
    md5 = prov.dvc_md5(repo / "models/versions/v0.1.0/README.md")
    file = repo / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    file.chmod(0o644)
    file.write_text("damaged\n", encoding="utf-8")
    with pytest.raises(HallmarkError, match=r"README\.md is not the file that provenance\.json names"):
        fetch(str(repo), "prod", Path("out"), Path("weights"))
    assert left() == []


def test_weights_that_are_damaged_leave_no_release(repo: Path) -> None:
    md5 = prov.dvc_md5(repo / "models/quantized/config.json")
    file = repo / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    file.chmod(0o644)
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(HallmarkError, match=r"not the weights that the adapter was trained over \(config\.json\)"):
        fetch(str(repo), "prod", Path("out"), Path("weights"))
    assert left() == []


def test_what_the_tag_does_not_say_is_not_taken(repo: Path) -> None:
    body = shell("git for-each-ref '--format=%(contents)' refs/tags/model@v0.1.0", repo)
    digest = Registry.read(repo).find("v0.1.0").digest
    (Path().resolve().parent / "message").write_text(body.replace(digest, "0" * 64), encoding="utf-8")
    shell("git tag -f -a --cleanup=verbatim -F ../message model@v0.1.0 'model@v0.1.0^{commit}'", repo)
    with pytest.raises(HallmarkError, match=r"not the release of v0\.1\.0"):
        fetch(str(repo), "v0.1.0", Path("out"))
    with pytest.raises(HallmarkError, match=r"was made for another release than v0\.1\.0"):
        fetch(str(repo), "prod", Path("out"))
    assert left() == []


@pytest.mark.parametrize(
    "address", ["no/such/place", "file:///no/such/place", "--upload-pack=touch mine", "ext::touch mine"]
)
def test_an_address_that_leads_nowhere(repo: Path, address: str) -> None:
    with pytest.raises(HallmarkError, match="git can't clone it"):
        fetch(address, "prod", Path("out"))
    assert left() == []
