"""`dvc.lock`, whoever wrote it: read as DVC writes it, or one error."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.dvc_lock import is_inside, is_md5, read_lock
from hallmark.base.errors import HallmarkError

DIGEST = "0123456789abcdef" * 2


def stage(**changes: Any) -> dict[str, Any]:
    return {
        "cmd": "python -m stages.sft",
        "deps": [{"path": "../shared/raw.jsonl", "hash": "md5", "md5": DIGEST, "size": 3}],
        "params": {"params.yaml": {"seed": 7}},
        "outs": [{"path": "models/sft", "hash": "md5", "md5": f"{DIGEST}.dir", "nfiles": 2}],
    } | changes


def lock(**changes: Any) -> str:
    return json.dumps({"schema": "2.0", "stages": {"sft": stage(**changes)}})  # JSON is YAML


def test_a_lock_is_read_as_dvc_writes_it() -> None:
    assert read_lock(lock()) == {
        "sft": {
            "cmd": "python -m stages.sft",
            "deps": {"../shared/raw.jsonl": DIGEST},
            "params": {"seed": 7},
            "outs": {"models/sft": f"{DIGEST}.dir"},
        }
    }
    assert read_lock(lock(cmd=["a", "b"]))["sft"]["cmd"] == ["a", "b"]
    assert read_lock("schema: '2.0'\n") == {}  # what DVC leaves when the last stage is gone
    shared = (
        "stages:\n  a:\n    cmd: x\n    params: {p: {one: &id1 [1], other: *id1}}\n"  # how DVC writes one list twice
    )
    assert read_lock(shared)["a"]["params"] == {"one": [1], "other": [1]}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just(DIGEST),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from(["cmd", "deps", "params", "outs"]), value=VALUES)
def test_any_value_in_a_lock_is_read_or_is_one_kind_of_error(key: str, value: Any) -> None:
    text = lock(**{key: value})
    try:
        (read,) = read_lock(text).values()
    except HallmarkError:
        return
    assert all(is_inside(path) and is_md5(md5) for path, md5 in read["outs"].items())
    assert all(is_md5(md5) for md5 in read["deps"].values())


@given(st.text(max_size=40) | st.text(alphabet="{}[]:,-&*!|>'\"#%@`? \n\t1a<", max_size=40) | st.binary(max_size=40))
def test_any_text_is_a_lock_or_one_kind_of_error(text: str | bytes) -> None:
    try:
        assert isinstance(read_lock(text), dict)
    except HallmarkError:
        return
