"""What the .dvc files in a folder say: files that DVC keeps, and git does not."""

from __future__ import annotations

from pathlib import Path

from hallmark.base import provenance as prov


def noted(folder: Path) -> dict[str, str]:
    """The MD5 of each file of which a .dvc file in the folder tells, by name; the file itself may be missing."""
    files = {}
    for note in sorted(folder.glob("*.dvc")):
        outs = prov.parse_yaml(note.read_bytes(), note).get("outs")
        for out in outs if isinstance(outs, list) else ():
            if isinstance(out, dict) and isinstance(out.get("path"), str) and isinstance(out.get("md5"), str):
                files[out["path"]] = out["md5"]
    return files
