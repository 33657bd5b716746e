"""Reading what someone else wrote: strict JSON, regular files only, a limit of time, and errors that are safe to print."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError, printable
from hallmark.base.reading import NotJsonError, read_json, read_object, strict_json, time_limit
from tests.rows import refused
from tests.test_files import JSON
from tests.workspace import run


@given(JSON | st.integers() | st.dictionaries(st.text(), st.integers()))
def test_every_json_document_is_read_as_it_is(value: Any) -> None:
    assert strict_json(json.dumps(value)) == value


@given(st.text() | st.text(alphabet='{}[]",:0123456789.eE-tfn', max_size=40))
def test_any_text_is_a_value_or_one_kind_of_error(text: str) -> None:
    try:
        value = strict_json(text)
    except NotJsonError:
        return
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1, "\\u0061": 2}', "an object has the same key twice"),
        ("[NaN]", "NaN is not JSON"),
        ("[1e999]", "a number is not finite"),
        ("[" * 100_000 + "]" * 100_000, "nested too deep"),
    ],
)
def test_what_is_not_one_unambiguous_document(text: str, problem: str) -> None:
    with pytest.raises(NotJsonError, match=problem):
        strict_json(text)


def test_a_fault_names_the_file_and_never_its_content(tmp_path: Path) -> None:
    file = tmp_path / "it.json"
    with pytest.raises(HallmarkError, match="no such file"):
        read_json(file)
    file.write_text('{\n"secret-value": 1,\n"secret-value": 2}')
    with pytest.raises(HallmarkError, match="not JSON") as caught:
        read_json(file, remedy="write it again")
    assert "secret-value" not in str(caught.value)
    file.write_bytes(b"\xff{}")
    with pytest.raises(HallmarkError, match="byte 1 is not UTF-8"):
        read_json(file)
    file.write_text("[]")
    with pytest.raises(HallmarkError, match="not a JSON object but list"):
        read_object(file)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    links = {"loop": "loop", "memory": "/proc/self/mem", "maps": "/proc/self/maps", "zero": "/dev/zero"}
    for name, to in links.items():
        (tmp_path / name).symlink_to(to)
    for file in (tmp_path, Path("a\0b"), *(tmp_path / name for name in ("fifo", *links))):
        with refused("put a file there", file=file):
            read_json(file, remedy="put a file there")


def test_a_time_limit_ends_code_that_runs_on() -> None:
    with (
        pytest.raises(HallmarkError, match="takes too long"),
        time_limit(0.1, HallmarkError("takes too long", remedy="x")),
    ):
        while True:
            pass
    with time_limit(60, HallmarkError("takes too long", remedy="x")):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@given(st.text())
def test_what_is_printed_holds_no_code_for_a_terminal(text: str) -> None:
    assert printable(text).isprintable()


CRASH = """
from hallmark.base.errors import run_stage
def main(arguments):
    raise {error}
run_stage("mask", "doc", main)
"""


def test_an_unforeseen_exception_does_not_quote_data(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent
    (tmp_path / "crash.py").write_text(CRASH.format(error="ValueError('Jane Doe')"))
    done = run(root, "python", str(tmp_path / "crash.py"), check=False, HALLMARK_TRACEBACK="")
    assert done.returncode == 1
    assert "unforeseen ValueError at " in done.stderr
    assert "Jane" not in done.stderr
    done = run(root, "python", str(tmp_path / "crash.py"), check=False, HALLMARK_TRACEBACK="1")
    assert "ValueError: Jane Doe" in done.stderr
    (tmp_path / "crash.py").write_text(CRASH.format(error="KeyboardInterrupt"))
    done = run(root, "python", str(tmp_path / "crash.py"), check=False)
    assert (done.returncode, done.stderr) == (130, "mask: interrupted; earlier outputs are untouched\n")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent
    (tmp_path / "long.py").write_text(CRASH.replace("raise {error}", "print('line\\n' * 100_000)"))
    done = run(root, "bash", "-c", f"set -o pipefail; python '{tmp_path}/long.py' | head -1", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (141, "line\n", "")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ann:se/cr@t@host/x", "https://host/x"),
        ("https://host/org/repo@v1.2", "https://host/org/repo@v1.2"),
        ("ssh://host:22/me@corp/x", "ssh://corp/x"),  # :22/me may be a password
    ],
)
def test_an_error_shows_an_address_without_user_and_password(address: str, shown: str) -> None:
    assert str(HallmarkError("gone", file=address, remedy="r")).startswith(f"{shown}: gone")
