"""Writing: completely or not at all, and the same value makes the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.files import (
    atomic,
    atomic_folder,
    canonical_json,
    clear_remains,
    sha256_folder,
    write_all,
    write_json,
)
from tests.workspace import ROOT

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    backwards = dict(reversed(list(value.items())))
    assert canonical_json(value) == canonical_json(backwards)


def test_an_error_inside_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"old": 1})
    with pytest.raises(RuntimeError), atomic(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert file.read_text() == canonical_json({"old": 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json"]


def test_several_files_are_written_all_or_none_and_in_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write_all({one: b"1", two: b"2"})
    assert (one.read_bytes(), two.read_bytes()) == (b"1", b"2")
    assert one.stat().st_ctime_ns <= two.stat().st_ctime_ns
    for bad in ({one: b"3", two / "below": b"4"}, {two / "below": b"4", one: b"3"}):
        with pytest.raises(HallmarkError, match="can't be written there"):
            write_all(bad)
        assert (one.read_bytes(), two.read_bytes()) == (b"1", b"2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_new_folder_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for name in "ab":
        with atomic_folder(folder) as temporary:
            (temporary / name).write_text(name)
            assert sorted(path.name for path in folder.glob("*")) == ([] if name == "a" else ["a"])
    assert sha256_folder(folder).keys() == {"b"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_permissions_do_not_follow_the_umask(tmp_path: Path) -> None:
    code = (
        "import os; os.umask(0o077)\n"
        "from pathlib import Path\nfrom hallmark.base.files import atomic_folder, write_json\n"
        "write_json(Path('a.json'), {})\n"
        "with atomic_folder(Path('m')) as f: (f / 'sub').mkdir(); (f / 'sub' / 'x').write_text('')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=True)
    modes = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"a.json": 0o644, "m": 0o755, "m/sub": 0o755, "m/sub/x": 0o644}


def writer(folder: Path, kind: str, target: str) -> subprocess.Popen[str]:
    """A process that has started to write `target` and takes its time."""
    code = (
        f"import time\nfrom pathlib import Path\nfrom hallmark.base.files import {kind}\n"
        f"from hallmark.base.errors import run_stage\n"
        f"def main(_):\n    with {kind}(Path({target!r})) as t:\n        print('writing', flush=True); time.sleep(600)\n"
        "run_stage('x', 'x', main)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


@pytest.mark.parametrize(("kind", "target"), [("atomic", "a.json"), ("atomic_folder", "release")])
def test_a_second_writer_leaves_alone_what_a_living_one_writes(tmp_path: Path, kind: str, target: str) -> None:
    """Two `stages.split` at once: the second once removed the temporary file of the first."""
    process = writer(tmp_path, kind, target)
    half = {path.name for path in tmp_path.iterdir()}
    with atomic(tmp_path / "a.json") as temporary:
        temporary.write_text("{}")
    with atomic_folder(tmp_path / "release"):
        pass
    clear_remains(tmp_path)
    assert half <= {path.name for path in tmp_path.iterdir()}
    process.send_signal(signal.SIGKILL)
    process.wait()
    clear_remains(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "release"}


@pytest.mark.parametrize(("kind", "target"), [("atomic", "a.json"), ("atomic_folder", "release")])
def test_a_writer_that_is_asked_to_stop_leaves_nothing(tmp_path: Path, kind: str, target: str) -> None:
    process = writer(tmp_path, kind, target)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_only_the_names_of_temporary_files_are_remains(tmp_path: Path) -> None:
    kept = [".gitignore", ".env", "notes-abcdefgh", ".dvc-store.yaml"]
    for name in [*kept, ".masked-a1b2c3d4.parquet", "deep.txt"]:
        (tmp_path / name).write_text("")
    (tmp_path / ".release-zzzzzzzz").symlink_to("deep.txt")
    clear_remains(tmp_path, tmp_path / "not there")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "deep.txt", ".release-zzzzzzzz"}


@pytest.mark.parametrize("name", ["x" * 300, "file/x", "loop/x"])
@pytest.mark.parametrize("write", [atomic, atomic_folder])
def test_a_name_that_no_file_can_have_is_one_error(tmp_path: Path, name: str, write: Callable[[Path], Any]) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(HallmarkError, match="can't be written there"), write(tmp_path / name):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"file", "loop"}
