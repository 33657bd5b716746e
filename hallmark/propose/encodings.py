"""Files that are not UTF-8, as `propose` reads them: from a copy that is."""

from __future__ import annotations

import codecs
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hallmark.base.reading import LARGEST
from hallmark.base.rows import files_of
from hallmark.propose.codebooks import CODEBOOK, TABLES, codebooks

TEXTS = (*TABLES, ".json", ".jsonl", ".ndjson")
_RUN = r"[^\W\d_a-zA-Z]{4}"  # letters that no Western word has in a row
_STRANGE = {  # what a text in another code page has, read as this one
    "cp1252": rf"(?<=[^\W\d_])[^\w\s\x00-\x7f’‘´`·­–—…][a-zà-ÿ]|(?<=[a-zà-ÿ])[¹²³ºª¼½¾](?=[a-zà-ÿ])|{_RUN}",
    "cp1250": _RUN,
    "cp1251": r"[a-zA-Z][\u0400-\u04ff]|[\u0400-\u04ff][a-zA-Z]",
}


@contextmanager
def in_utf8(file: Path, *, write: bool) -> Iterator[tuple[Path, str | None]]:
    """The file or folder, or its copy in UTF-8 with the encoding that it has: next to it if `write`, else for the time being."""
    files = [one for one in files_of(file) if one.parent == file] if file.is_dir() else [file]
    texts = (one for one in files if one.suffix in TEXTS and one.is_file() and one.stat().st_size <= LARGEST)
    data = {one: one.read_bytes() for one in texts}
    encodings = {one: encoding_of(of) for one, of in data.items()}
    strange = [of for one, of in encodings.items() if of and not (of == "utf-16" and one.suffix in TABLES)]

    def text(one: Path) -> str:
        return data[one].decode(encodings[one] or "utf-8-sig", "replace")

    books = codebooks({one: text(one) for one in data if file.is_dir() and one.suffix in TABLES})
    if not strange and not books:
        yield file, None
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of(file) if write else Path(folder) / file.name
        alone = not (write or file.is_dir())
        for other in set(file.parent.glob("*.*")) - {file} if alone else set():  # names of labels, say
            if other.suffix in (*TABLES, ".json"):
                (copy.parent / other.name).symlink_to(other.resolve())
        for one in files:
            to = copy / (CODEBOOK if one in books else "") / one.name if file.is_dir() else copy
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(text(one).encode() if one in data else one.read_bytes())
        yield copy, next(iter(strange), "utf-8")


def copy_of(file: Path) -> Path:
    """Where the copy of a file in UTF-8 stands."""
    return file.with_name(f"{file.stem}.utf8{file.suffix}")


def encoding_of(data: bytes) -> str | None:
    """UTF-16 by its mark or its zeros, else the code page that fits the words best; None for UTF-8, and for no text."""
    try:
        data.decode()
        if 0 not in data:
            return None
    except UnicodeDecodeError:
        pass
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [data[side::2].count(0) for side in (0, 1)]
    if any(zeros):
        return None if 4 * min(zeros) > max(zeros) else "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    bad: dict[str, int] = {}
    for encoding, strange in _STRANGE.items():
        try:
            bad[encoding] = len(re.findall(strange, data.decode(encoding)))
        except UnicodeDecodeError:
            continue
    return min(bad, key=lambda encoding: bad[encoding]) if bad else None
