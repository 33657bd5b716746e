"""The configuration of a base model, before any of its weights are downloaded."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, REPORTS
from hallmark.base.reading import read_object
from hallmark.model.base_params import FolderBase, HubBase
from hallmark.params.loader import Params

# The sizes in the config.json of bases that the template offers, by their names; what else is in there changes no size.
KNOWN = "known.json"
CONFIG = "config.json"
REVISION = re.compile(r"[0-9a-f]{40}")


def folder_of(params: Params, given: str | None, temporary: Path) -> tuple[str, Path]:
    """The name of a base, and a folder with its config.json: `models/base` if it is that one, else one made in `temporary`.

    `given`: a folder, the name of a known base, or NAME@COMMIT of the hub; None: the base of the params. Of a base on the
    hub that is not known here, config.json alone is downloaded, at the pinned commit.
    """
    if given is not None:
        if os.path.isdir(given):  # noqa: PTH112 (Path.is_dir raises OSError if a name is too long)
            return given, Path(given)
        name, _, revision = given.partition("@")
        return name, known(name, temporary) or from_hub(name, revision, temporary, "--base")
    base = params.base
    if is_there(params):
        return base.name, BASE
    if isinstance(base, FolderBase):
        return base.name, Path(base.path)
    found = known(base.name, temporary)
    if found is None and isinstance(base, HubBase):
        found = from_hub(base.name, base.revision, temporary, "base.name")
    if found is None:
        raise HallmarkError(
            f"the sizes of '{base.name}' are not known before its package has been read",
            param="base.name",
            remedy=f"run `dvc repro base`, which makes {BASE}, or name a folder with its config.json with --base",
        )
    return base.name, found


def is_there(params: Params) -> bool:
    """Whether `models/base` is the base of the params, as the stage `base` last reported: its name, and of a hub's the commit."""
    file, base = REPORTS / "base.json", params.base
    report = read_object(file) if file.is_file() else {}
    same = (BASE / CONFIG).is_file() and (report.get("name"), report.get("source")) == (base.name, base.source)
    return same and (not isinstance(base, HubBase) or report.get("revision") == base.revision)


def known(name: str, temporary: Path) -> Path | None:
    """A folder with the sizes of a base that is known here; None for any other."""
    sizes = read_object(Path(__file__).with_name(KNOWN)).get(name)
    if sizes is None:
        return None
    (temporary / CONFIG).write_text(json.dumps(sizes), encoding="utf-8")
    return temporary


def from_hub(name: str, revision: str, temporary: Path, field: str) -> Path:
    """Download config.json, and nothing else, of a repo on the Hugging Face hub at a full commit hash."""
    if not REVISION.fullmatch(revision):
        raise HallmarkError(
            f"'{name}' is no folder and no base with known sizes, and has no commit to take its config.json from",
            field=field,
            remedy="give a folder, or OWNER/NAME@COMMIT with the full hash of 40 digits",
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        file = hf_hub_download(name, CONFIG, revision=revision)
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise HallmarkError(
            f"cannot download config.json of '{name}' at {revision} ({type(error).__name__})",
            field=field,
            remedy="check the name, the commit, the network, and for a gated model `hf auth login`; or put its config.json "
            "into a folder and name that with --base",
        ) from None
    shutil.copyfile(file, temporary / CONFIG)
    return temporary
