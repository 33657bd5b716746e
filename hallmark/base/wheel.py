"""The library as one file: a wheel whose bytes depend only on the sources, for stamped repos, pip and an index.

The template's hook calls `write_wheel` when it stamps a repo; pip calls `build_wheel` (PEP 517) for a git URL or a folder.
Both need only the standard library, and nothing is compressed, so every Python on every system writes the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import tomllib
import zipfile
from pathlib import Path
from typing import Any

TAG = "py3-none-any"
FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can state


def write_wheel(folder: Path, package: Path, docs: Path, licence: Path, pyproject: Path) -> Path:
    """Write the wheel of `package` into `folder`; its pages and licence go into the package. Returns the file's path."""
    project: dict[str, Any] = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    sources = {f"{name}/{file.relative_to(package).as_posix()}": file for file in sorted(package.rglob("*"))}
    sources |= {f"{name}/docs/{file.name}": file for file in sorted(docs.glob("*.md"))}
    files = {
        inside: file.read_bytes()
        for inside, file in sources.items()
        if file.is_file() and "/__pycache__/" not in inside
    }
    files[f"{name}/LICENSE"] = licence.read_bytes()
    metadata = [
        "Metadata-Version: 2.4",
        f"Name: {name}",
        f"Version: {version}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {need}" for need in project["dependencies"]),
    ]
    wheel = ["Wheel-Version: 1.0", "Generator: hallmark", "Root-Is-Purelib: true", f"Tag: {TAG}"]
    info = f"{name}-{version}.dist-info"
    files = dict(sorted(files.items()))
    files |= {f"{info}/METADATA": _text(metadata), f"{info}/WHEEL": _text(wheel)}
    record = [f"{inside},sha256={_digest(content)},{len(content)}" for inside, content in files.items()]
    files[f"{info}/RECORD"] = _text([*record, f"{info}/RECORD,,"])
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}-{version}-{TAG}.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for inside, content in files.items():
            entry = zipfile.ZipInfo(inside, FIRST_DAY)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # Unix, a plain file
            archive.writestr(entry, content)
    return target


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """What pip calls, in the root of the sources (PEP 517): write the wheel, return its file's name."""
    sources = (Path("hallmark"), Path("docs"), Path("LICENSE"), Path("pyproject.toml"))
    return write_wheel(Path(wheel_directory), *sources).name


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
