"""Which files of raw rows are sample data: a list next to them names them."""

from __future__ import annotations

from pathlib import Path

from hallmark.base.reading import read_text

SAMPLES = "sample.sha256"  # lines of `SHA-256  name`, as sha256sum writes them


def is_sample(file: Path) -> bool:
    """Whether a file of raw rows is listed as sample data, by its name."""
    listed = file.parent / SAMPLES
    return listed.is_file() and file.name in {line[66:] for line in read_text(listed).splitlines()}
