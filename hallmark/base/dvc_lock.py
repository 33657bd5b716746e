"""`dvc.lock`, read as if a stranger had written it: the one place where it is checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import DEPTH

Stages = dict[str, dict[str, Any]]

MD5 = r"[0-9a-f]{32}"
YAML_BYTES = 2**20  # 16 times the reference's lock, and up to 15 seconds for the parser
YAML_VALUES = 250_000  # what a text may hold once its aliases are written out
LOCK_REMEDY = "restore it with `git checkout dvc.lock`, or run `dvc repro`, which writes it"
PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")}


def is_md5(text: object) -> bool:
    """Whether it can be the name of a file in DVC's cache: 32 lower-case hexadecimal digits, for a folder and `.dir`."""
    return isinstance(text, str) and re.fullmatch(rf"{MD5}(\.dir)?", text) is not None


def is_inside(path: object) -> bool:
    """Whether a path leads to a file below the folder that it is relative to, and is safe to print."""
    return (
        isinstance(path, str)
        and path.isprintable()
        and all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in path.split("/"))
    )


# --- YAML --------------------------------------------------------------------------------------------------------


def parse_yaml(text: str | bytes, file: str | Path) -> dict[str, Any]:
    """A YAML 1.2 mapping as plain dicts and lists (as DVC and `load_params` read it); a HallmarkError for anything else."""
    remedy = "restore it with `git checkout`"
    if len(text) > YAML_BYTES:
        raise HallmarkError(f"is larger than {YAML_BYTES // 2**20} MiB", file=file, remedy=remedy)
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise HallmarkError(f"byte {error.start + 1} is not UTF-8", file=file, remedy=remedy) from None
    if text.startswith("<<<<<<<") or "\n<<<<<<<" in text:
        raise HallmarkError(
            "an unfinished merge",
            file=file,
            remedy="choose either side (`git checkout --ours` or `--theirs`), then run `dvc repro`",
        )
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = DEPTH  # at once: over thousands of brackets, its scanner would look ahead for minutes
    try:
        root = yaml.compose(text)
    except Exception:  # the library raises many types, RecursionError too, and each means: this is no YAML
        root = None
    if not isinstance(root, MappingNode):
        raise HallmarkError("not a YAML mapping", file=file, remedy=remedy)
    if problem := _too_much(root):
        raise HallmarkError(problem, file=file, remedy=remedy)
    try:
        value = yaml.constructor.construct_document(root)
    except Exception:  # equal keys, an impossible number, ...
        value = None
    if not isinstance(value, dict):
        raise HallmarkError("not a YAML mapping with plain values, and each key once", file=file, remedy=remedy)
    return value


def _too_much(root: Node) -> str | None:
    """Why a text is not read: an alias can repeat a value that repeats others, until a few lines fill the memory."""
    level, count = [root], 0
    for _ in range(DEPTH):
        inner: list[Node] = []
        for node in level:
            if node.tag not in PLAIN_TAGS:
                return "holds a value that is not text, number, true, false, null, list or mapping"
            if isinstance(node, MappingNode):
                if any(not isinstance(key, ScalarNode) for key, _ in node.value):
                    return "holds a key that is a list or a mapping"
                inner += [part for pair in node.value for part in pair]
            elif isinstance(node, SequenceNode):
                inner += node.value
            if count + len(inner) > YAML_VALUES:
                return f"holds more than {YAML_VALUES} values"
        if not inner:
            return None
        level, count = inner, count + len(inner)
    return f"nested deeper than {DEPTH} levels"


# --- dvc.lock ----------------------------------------------------------------------------------------------------


def read_lock(text: str | bytes, file: str | Path = "dvc.lock") -> Stages:
    """The stages of a `dvc.lock` as {name: {cmd, deps: {path: md5}, params: {key: value}, outs: {path: md5}}}.

    A stage may read a file outside the repository, and writes none there: the path of an output leads nowhere else, and
    an MD5 can be the name of a file in the cache and nothing more.
    """
    stages = parse_yaml(text, file).get("stages", {})
    if not isinstance(stages, dict):
        raise _odd(file, "stages")
    return {_text(name, file, "stages"): _stage(entry, file, f"stages.{name}") for name, entry in stages.items()}


def _stage(entry: Any, file: str | Path, at: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise _odd(file, at)
    command = entry.get("cmd")
    if not (isinstance(command, str) or (isinstance(command, list) and all(isinstance(it, str) for it in command))):
        raise _odd(file, f"{at}.cmd")
    params: dict[str, Any] = {}
    for values in _mapping(entry, "params", file, at).values():
        if not isinstance(values, dict):
            raise _odd(file, f"{at}.params")
        params |= {_text(key, file, f"{at}.params"): value for key, value in values.items()}
    return {
        "cmd": command,
        "deps": _files(entry.get("deps", []), file, f"{at}.deps"),
        "params": params,
        "outs": _files(entry.get("outs", []), file, f"{at}.outs", inside=True),
    }


def _files(entries: Any, file: str | Path, at: str, *, inside: bool = False) -> dict[str, str]:
    """The MD5 of each path of a list."""
    if not isinstance(entries, list):
        raise _odd(file, at)
    files: dict[str, str] = {}
    for number, entry in enumerate(entries, 1):
        path, md5 = (entry.get("path"), entry.get("md5")) if isinstance(entry, dict) else (None, None)
        if not isinstance(path, str) or not path.isprintable() or (inside and not is_inside(path)):
            raise _odd(file, at, f"entry {number} has no path" + (" inside the repository" if inside else ""))
        if not is_md5(md5):
            raise _odd(file, at, f"entry {number} has no MD5 of 32 hexadecimal digits")
        if path in files:
            raise _odd(file, at, f"entry {number} has the path of an earlier one")
        files[path] = str(md5)
    return files


def _mapping(entry: dict[str, Any], key: str, file: str | Path, at: str) -> dict[str, Any]:
    value = entry.get(key, {})
    if not isinstance(value, dict):
        raise _odd(file, f"{at}.{key}")
    return value


def _text(key: Any, file: str | Path, at: str) -> str:
    if not isinstance(key, str):
        raise _odd(file, at, "a key is not a text")
    return key


def _odd(file: str | Path, at: str, problem: str = "") -> HallmarkError:
    return HallmarkError(
        f"not a lock file of DVC 3{': ' if problem else ''}{problem}", file=file, field=at, remedy=LOCK_REMEDY
    )
