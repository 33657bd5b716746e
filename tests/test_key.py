"""The repo's key: made once, found in the environment or in a file, and nothing else is taken for it."""

from __future__ import annotations

import logging
import os
import re
from contextlib import chdir
from pathlib import Path

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.key import FILE, VARIABLE, digest_of, read_key
from hallmark.base.params import Data
from hallmark.commands import key as tool
from hallmark.params.edit import changed
from hallmark.params.loader import load_params
from tests.small_pipeline import dvc
from tests.workspace import KEY, ROOT, change_params, git_init, make_workspace, run

PARAMS = Path("params.yaml")
REFERENCE = (ROOT / "params.yaml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    PARAMS.write_text(REFERENCE, encoding="utf-8")
    set_line("pseudonyms", "keyed")


def set_line(name: str, value: str) -> None:
    text, count = re.subn(rf"(?m)^  {name}: \w+", f"  {name}: {value}", PARAMS.read_text(encoding="utf-8"))
    assert count == 1
    PARAMS.write_text(text, encoding="utf-8")


def data(pseudonyms: str = "keyed", key: str | None = digest_of(KEY)) -> Data:
    return load_params(PARAMS).data.model_copy(update={"pseudonyms": pseudonyms, "key": key})


def test_the_key_comes_from_the_environment_or_from_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    FILE.parent.mkdir()
    FILE.write_text(f"  {KEY.upper()}\n")
    FILE.chmod(0o600)
    assert read_key(data()) == bytes.fromhex(KEY)
    monkeypatch.setenv(VARIABLE, "f" * 64)
    assert read_key(data(key=digest_of("f" * 64))) == bytes.fromhex("f" * 64)
    with pytest.raises(HallmarkError, match="not the key that data"):
        read_key(data())


def test_none_is_needed_without_pseudonyms_and_surrogates() -> None:
    assert read_key(data("none", None)) is None
    with pytest.raises(HallmarkError, match="the key is missing"):
        read_key(data("none"), surrogates=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "the key is missing"),
        (f"{KEY}\n{KEY}", "not a key"),
        ("f" * 64, "not the key that data.key"),
        ("folder", "not a regular file"),
    ],
)
def test_anything_but_the_key_is_one_error_that_does_not_show_it(content: str | bytes | None, words: str) -> None:
    FILE.parent.mkdir()
    if content == "folder":
        FILE.mkdir()
    elif content is not None:
        FILE.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(HallmarkError, match=rf"{FILE}: {words}.*\n  remedy: put the key that this repo") as caught:
        read_key(data())
    assert KEY[:16] not in str(caught.value)
    assert "f" * 16 not in str(caught.value)


@pytest.mark.parametrize("kind", ["folder", "fifo", "dangling", "text", "empty", "device"])
def test_no_key_is_made_over_what_is_there(kind: str) -> None:
    FILE.parent.mkdir()
    make = {"folder": FILE.mkdir, "fifo": lambda: os.mkfifo(FILE), "dangling": lambda: FILE.symlink_to("nowhere")}
    make |= {
        "text": lambda: FILE.write_text("hello"),
        "empty": FILE.touch,
        "device": lambda: FILE.symlink_to("/dev/zero"),
    }
    make[kind]()
    before = PARAMS.read_text(encoding="utf-8")
    with pytest.raises(HallmarkError, match=rf"{FILE}: .*\n  remedy: remove it"):
        tool.run(PARAMS, if_missing=True)
    assert PARAMS.read_text(encoding="utf-8") == before


def test_a_file_that_others_can_read_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    FILE.parent.mkdir()
    FILE.write_text(KEY)
    FILE.chmod(0o600)
    with caplog.at_level(logging.WARNING):
        read_key(data())
        assert caplog.text == ""
        FILE.chmod(0o640)
        read_key(data())
    assert "can be read by other users" in caplog.text
    assert KEY not in caplog.text


def test_a_key_is_made_once_and_only_its_digest_is_written_into_params(capsys: pytest.CaptureFixture[str]) -> None:
    before = PARAMS.read_text(encoding="utf-8")
    with pytest.raises(HallmarkError, match=r"none has been set up\n.*`python -m hallmark.commands.key`"):
        read_key(load_params(PARAMS).data)
    tool.run(PARAMS, if_missing=True)
    made = FILE.read_text().strip()
    assert re.fullmatch("[0-9a-f]{64}", made)
    assert FILE.stat().st_mode & 0o777 == 0o600
    after = PARAMS.read_text(encoding="utf-8")
    assert after == changed(before, f"data.key: {digest_of(made)}"), "comments and all other lines stay"
    assert f"\n  key: {digest_of(made)}  # SHA-256 of the repo's key" in after
    printed = capsys.readouterr().out
    assert "can't be made again" in printed
    assert made not in printed + after
    assert read_key(load_params(PARAMS).data) == bytes.fromhex(made)
    tool.run(PARAMS, if_missing=True)
    assert capsys.readouterr().out == ""
    tool.run(PARAMS)
    assert capsys.readouterr().out == "the key is there and matches data.key\n"
    assert (FILE.read_text().strip(), PARAMS.read_text(encoding="utf-8")) == (made, after)
    FILE.unlink()
    tool.run(PARAMS, if_missing=True)  # a clone whose stages are all up to date needs no key
    assert not FILE.exists()
    with pytest.raises(HallmarkError, match="the key is missing"):
        tool.run(PARAMS)


@pytest.mark.parametrize("place", ["file", "environment"])
def test_a_key_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    if place == "file":
        FILE.parent.mkdir()
        FILE.write_text(KEY)
    else:
        monkeypatch.setenv(VARIABLE, KEY)
    tool.run(PARAMS, if_missing=True)
    assert load_params(PARAMS).data.key == digest_of(KEY)
    assert FILE.exists() == (place == "file"), "a key from the environment is not written to the disk"


def test_without_pseudonyms_no_key_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    set_line("pseudonyms", "none")
    tool.run(PARAMS)
    assert "no key is needed" in capsys.readouterr().out
    assert not FILE.exists()
    change_params(Path(), {"mask.style": "surrogate"})
    tool.run(PARAMS, if_missing=True)
    assert FILE.exists()


def test_the_first_stage_makes_the_key_and_nothing_runs_a_second_time(tmp_path: Path) -> None:
    rules = {"mask.ner": {"engine": "none", "model": None}, "mask.workers": 1}
    repo = make_workspace(tmp_path / "repo", {"data.pseudonyms": "none"} | rules, rows=30)
    change_params(repo, {"data.pseudonyms": "keyed", "data.key": None})
    git_init(repo)
    with chdir(repo), dvc() as known:
        assert "mask" in [stage.addressing for stage in known.reproduce("mask")]
        assert FILE.exists()
        assert known.reproduce("mask") == []
    assert run(repo, "git", "status", "--porcelain", "data").stdout == "", "git ignores it"
