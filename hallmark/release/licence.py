"""The licence of a release: that of its base, whose text goes with it wherever it is copied."""

from __future__ import annotations

import re
from pathlib import Path

from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE
from hallmark.base.model_folder import LICENCES

APACHE = "apache-2.0"
APACHE_TITLE = re.compile(r"Apache License\s+Version 2\.0, January 2004")
LIBRARY = Path(__file__).resolve().parents[1]
# The library's own licence, Apache-2.0: in its wheel, or next to its sources.
OURS = (LIBRARY / "LICENSE", LIBRARY.parent / "LICENSE")
LARGEST = 2**20  # bytes of a licence


def licence_text(name: str, base: str, licence: str, folder: Path = BASE) -> str:
    """The text of LICENSE for the adapter `name` over `base`: what comes with the base in `folder`, or where it is found."""
    head = f"{name} was trained over {base} and has the same licence.\n\nSPDX-License-Identifier: {licence}\n"
    files = sorted({file for pattern in LICENCES for file in folder.glob(pattern)})
    texts = [f"--- {file.name} of {base}\n\n{_read(file)}" for file in files]
    if not texts and licence.lower() == APACHE:
        texts = [text for text in map(_read, filter(Path.exists, OURS)) if APACHE_TITLE.search(text)][:1]
    if not texts:
        texts = [f"Its text: https://spdx.org/licenses/{licence}.html, or the page of {base}."]
    return "\n".join([head, *texts]).rstrip() + "\n"


def _read(file: Path) -> str:
    if file.is_symlink() or not file.is_file() or file.stat().st_size > LARGEST:
        raise HallmarkError("not a plain file of at most 1 MiB", file=file, remedy="run `dvc repro base`")
    return file.read_text(encoding="utf-8", errors="replace").strip("\n") + "\n"
