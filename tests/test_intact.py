"""Damaged files: what DVC trusts is found and made again. With real git and real DVC."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.commands import intact
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
@pytest.mark.full
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


@pytest.mark.full
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


# --- a hostile dvc.lock ------------------------------------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a cache, a file outside it that must stay, and no pipeline: each test writes its lock."""
    folder = tmp_path / "hostile"
    (folder / "cache/ab").mkdir(parents=True)
    (tmp_path / "precious").write_text("stays", encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(intact, "_cache", lambda: (folder / "cache").resolve())
    return folder


def write_lock(path: str, md5: str) -> None:
    text = f"stages:\n  a:\n    cmd: x\n    outs:\n    - path: {path}\n      md5: {md5}\n"
    Path("dvc.lock").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "md5"),
    [
        ("x", "../../../precious"),
        ("x", "/precious"),
        ("../precious", "ab" + "0" * 30),
    ],
)
def test_a_lock_that_leads_out_is_one_error_and_nothing_is_removed(hostile: Path, path: str, md5: str) -> None:
    write_lock(path, md5)
    with pytest.raises(HallmarkError, match=r"dvc.lock, field 'stages.a.outs': not a lock file of DVC 3: entry 1"):
        intact.run()
    assert (hostile.parent / "precious").read_text(encoding="utf-8") == "stays"


def test_a_list_in_the_cache_that_leads_out_is_one_error(hostile: Path) -> None:
    content = b'[{"md5": "../../../../precious00000000000000", "relpath": "x"}]'
    (hostile / "list").write_bytes(content)
    md5 = prov.dvc_md5(hostile / "list")
    (hostile / "cache" / md5[:2]).mkdir(exist_ok=True)
    (hostile / "list").rename(hostile / "cache" / md5[:2] / f"{md5[2:]}.dir")
    write_lock("x", f"{md5}.dir")
    with pytest.raises(HallmarkError, match=r"\.dir: entry 1 is not a path inside the folder"):
        intact.run()
    assert (hostile.parent / "precious").exists()


def test_links_in_the_cache_are_told_and_not_followed(hostile: Path) -> None:
    rest = "0" * 30
    (hostile / "cache/ab" / rest).symlink_to(hostile.parent / "precious")
    (hostile.parent / "elsewhere").mkdir()
    (hostile.parent / "elsewhere" / rest).write_text("stays too", encoding="utf-8")
    (hostile / "cache/cd").symlink_to(hostile.parent / "elsewhere")
    for start in ("ab", "cd"):
        write_lock("x", start + rest)
        (found,) = intact.run()
        assert "is a link, and was not removed" in found
    assert (hostile.parent / "precious").exists()
    assert (hostile.parent / "elsewhere" / rest).exists()


def test_an_output_is_removed_only_if_it_is_a_link_to_the_damaged_file(hostile: Path) -> None:
    rest = "0" * 30
    for number, make in enumerate(
        [
            lambda it: it.symlink_to(hostile / "cache/ab" / rest),
            lambda it: it.symlink_to(hostile.parent / "precious"),
            lambda it: it.write_text("an output", encoding="utf-8"),
        ]
    ):
        (hostile / "cache/ab" / rest).write_text("damaged", encoding="utf-8")
        output = hostile / f"output{number}"
        make(output)
        write_lock(output.name, "ab" + rest)
        assert intact.run()[0] == f"{output.name} was damaged in DVC's cache, and was removed from it"
        assert not (hostile / "cache/ab" / rest).exists()
        assert output.is_symlink() or output.exists() or number == 0
        assert number or not output.is_symlink()
    assert (hostile.parent / "precious").exists()


def test_no_file_outside_is_touched_through_a_link(hostile: Path) -> None:
    precious = hostile.parent / "precious"
    os.utime(precious, (1, 1))
    (hostile / "x").symlink_to(precious)
    write_lock("x", "ab" + "0" * 30)
    assert intact.run() == ["x differs from dvc.lock"]
    assert precious.stat().st_mtime == 1


# --- a hostile report --------------------------------------------------------------------------------------------
