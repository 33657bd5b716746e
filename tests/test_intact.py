"""Damaged files: what DVC trusts is found and made again. With real git and real DVC."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stages.release import provenance as prov
from stages.tools import intact
from tests.small_pipeline import shell

WEIGHTS = "models/adapter/adapter_model.safetensors"


@pytest.fixture
def repo(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to break, which is the current folder."""
    folder = Path(shutil.copytree(small_run, tmp_path / "repo"))
    monkeypatch.chdir(folder)
    return folder


def flip(file: Path) -> None:
    """Flip one bit and change nothing else."""
    mode, content = file.stat().st_mode, bytearray(file.read_bytes())
    content[-3] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(mode)


def cached(repo: Path, file: str) -> Path:
    md5 = prov.dvc_md5(repo / file)
    return repo / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
def test_a_flipped_bit_in_the_cache_is_found_and_the_output_made_again(repo: Path, link: str) -> None:
    before = (repo / WEIGHTS).read_bytes()
    shell(f"dvc config --local cache.type {link} && dvc checkout --relink", repo)
    flip(cached(repo, WEIGHTS))
    shutil.rmtree(repo / "models/adapter")
    shell("dvc checkout --force", repo)
    assert (repo / WEIGHTS).read_bytes() != before
    assert "up to date" in shell("dvc status", repo), "this is why the check is there"
    found = intact.run()
    assert found[0] == f"{WEIGHTS} was damaged in DVC's cache, and was removed from it"
    assert "Running stage 'sft'" in shell("dvc repro", repo)
    assert (repo / WEIGHTS).read_bytes() == before
    assert prov.dvc_md5(cached(repo, WEIGHTS)) == prov.dvc_md5(repo / WEIGHTS)
    assert intact.run() == []


def test_a_damaged_list_of_a_folder_is_found(repo: Path) -> None:
    md5 = prov.dvc_md5(repo / "models/base")
    flip(repo / ".dvc/cache/files/md5" / md5[:2] / md5[2:])
    assert intact.run() == ["models/base was damaged in DVC's cache, and was removed from it"]
    shell("dvc repro -q", repo)
    assert intact.run() == []
    assert "up to date" in shell("dvc status", repo)


def test_what_is_whole_stays(repo: Path) -> None:
    assert intact.run() == []
    assert "up to date" in shell("dvc status", repo)
    (repo / "dvc.lock").unlink()
    assert intact.run() == []
