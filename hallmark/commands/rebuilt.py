"""Where a rebuilt file differs from the original: the first tensor, key or byte, but never the content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hallmark.base import provenance as prov


class Original:
    """The original outputs of a commit, from DVC's cache, the working directory, or git."""

    def __init__(self, root: Path, revision: str, cache: Path, scratch: Path) -> None:
        self.root, self.revision, self.cache, self.scratch = root, revision, cache, scratch

    def file(self, path: str, md5: str) -> Path | None:
        """A file with that content, or None if it can't be found."""
        for candidate in (self._object(md5), self.root / path):
            if candidate.is_file() and prov.dvc_md5(candidate) == md5:
                return candidate
        content = prov.git("show", f"{self.revision}:./{path}", at=self.root)
        if content is None or hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            return None
        file = self.scratch / md5
        file.write_bytes(content)
        return file

    def listing(self, path: str, md5: str) -> dict[str, str] | None:
        """The files of a folder as {path: md5}, or None if it can't be found."""
        if self._object(md5).is_file():
            return {
                entry["relpath"]: entry["md5"] for entry in json.loads(self._object(md5).read_text(encoding="utf-8"))
            }
        folder = self.root / path
        if folder.is_dir() and prov.dvc_md5(folder) == md5:
            return {file.relative_to(folder).as_posix(): prov.dvc_md5(file) for file in prov.files_in(folder)}
        return None

    def json(self, path: str) -> Any:
        """A JSON file of the commit, or None if it has none."""
        content = prov.git("show", f"{self.revision}:./{path}", at=self.root)
        return None if content is None else json.loads(content)

    def _object(self, md5: str) -> Path:
        return self.cache / "files" / "md5" / md5[:2] / md5[2:]


def difference(old: Path | None, new: Path) -> str:
    """Where two files differ, in words."""
    if old is None:
        return "the original is not in this repository's cache"
    if new.suffix == ".safetensors":
        return tensor_difference(old, new)
    if new.suffix == ".json":
        try:
            keys = prov.differences(*(json.loads(file.read_text(encoding="utf-8")) for file in (old, new)))
        except ValueError:
            return "is not JSON"
        return f"{len(keys)} values, first at '{keys[0]}'" if keys else "the same values, written differently"
    before, after = old.read_bytes(), new.read_bytes()
    pairs = enumerate(zip(before, after, strict=False))
    at = next((index for index, (a, b) in pairs if a != b), min(len(before), len(after)))
    row = after[:at].count(b"\n") + 1
    return f"from byte {at + 1} (line {row}) on; {len(before)} bytes, now {len(after)}"


def tensor_difference(old: Path, new: Path) -> str:
    """The first differing tensor by name and the largest absolute difference of all elements, in words."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(old, framework="pt") as before, safe_open(new, framework="pt") as after:
            names, new_names = sorted(before.keys()), sorted(after.keys())
            if names != new_names:
                unmatched = sorted({*names} ^ {*new_names})
                return f"{len(names)} tensors, now {len(new_names)}; the first in only one file: {unmatched[0]}"
            first, count, largest, where = "", 0, -1.0, ""
            for name in names:
                a, b = before.get_tensor(name), after.get_tensor(name)
                if a.dtype == b.dtype and a.shape == b.shape and a.equal(b):
                    continue
                first, count = first or name, count + 1
                if a.shape != b.shape:
                    return f"tensor {name} has shape {tuple(b.shape)}, not {tuple(a.shape)}"
                distance = (a.double() - b.double()).abs().max().item()
                if not distance <= largest:  # NaN counts as largest
                    largest, where = distance, name
            if not count:
                return "the same tensors, a different header"
            return f"{count} of {len(names)} tensors, first {first}; largest difference {largest:.3g} in {where}"
    except SafetensorError as error:
        return f"is not safetensors ({error})"
