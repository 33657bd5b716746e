"""Make the repo's key, if it needs one and has none: `python -m hallmark.commands.key`.

The key goes into `data/pseudonyms.key`, which git ignores, and its SHA-256 into `data.key` of params.yaml. With the key
set up, the command says whether it is there and the right one. The stage `code`, which runs first, makes the key too.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.key import FILE, VARIABLE, digest_of, read_key
from hallmark.base.reading import read_text
from hallmark.mask.surrogates import uses_key
from hallmark.params.checked import changed
from hallmark.params.loader import load_params

KEEP = (
    f"Keep it safe (in a password manager): without it, the ids of this repo can't be made again. Give it to whoever runs "
    f"the pipeline, as {FILE} or in the environment variable {VARIABLE}. Commit params.yaml, never the key."
)


def run(file: Path, *, if_missing: bool = False) -> None:
    """Make a key and write its digest into params.yaml, or say what there is. `if_missing`: silent, and none in DVC's copy."""
    params = load_params(file)
    wanted = params.data.pseudonyms == "keyed" or uses_key(params.mask)
    if wanted and params.data.key is None and not (if_missing and "/.dvc/tmp/" in Path.cwd().as_posix()):
        make(file)
        print(f"made the key of this repo, {FILE}, and wrote data.key in {file}.\n{KEEP}")
    elif wanted and not if_missing:
        read_key(params.data, surrogates=True)
        print("the key is there and matches data.key")
    elif not if_missing:
        print("no key is needed: data.pseudonyms is none, and no value becomes a surrogate")


def make(file: Path) -> None:
    """Write a new key (or take the one that is there), and its digest into params.yaml, whose other lines stay."""
    text = read_text(file)
    key = os.environ.get(VARIABLE, "").strip().lower()
    if not key and os.path.lexists(FILE):
        key = read_text(FILE, "remove it, or put the repo's key there: a line of 64 hexadecimal digits").strip().lower()
    if key and not re.fullmatch(r"[0-9a-f]{64}", key):
        raise HallmarkError("not a key of 64 hexadecimal digits", file=FILE, remedy=f"remove it, or unset {VARIABLE}")
    if not key and FILE.exists():
        raise HallmarkError("the key file is empty", file=FILE, remedy="remove it: a new key is then made")
    there, key = bool(key), key or secrets.token_hex(32)
    new = changed(text, f"data.key: {digest_of(key)}")
    if not there:
        FILE.parent.mkdir(exist_ok=True)
        with os.fdopen(os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
            stream.write(f"{key}\n")
    file.write_text(new, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    run_stage("key", __doc__, lambda given: run(given.params))
