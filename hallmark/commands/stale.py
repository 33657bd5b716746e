"""Not a stage: fail and name the stages that have not run since a change: `python -m hallmark.commands.stale`.

`nox -s fresh` runs this, also in CI, where only git's files exist: for missing files, it trusts dvc.lock. `dvc repro --dry
--allow-missing` does so too, but ends with an error about a missing file as soon as a stage is stale, and counts a folder
that a stage reads as changed if a file in it is missing, as bought answers are in every clone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import BOUGHT
from hallmark.release.checking import read_lock_file

PIPELINE, LOCK = "dvc.yaml", Path("dvc.lock")


def run() -> None:
    if not LOCK.exists():
        print("nothing has run yet: `nox -s repro` makes dvc.lock")
        return
    if stale := stale_stages():
        remedy = "run `nox -s repro`, commit dvc.lock, code/ and reports/"
        raise HallmarkError(f"{', '.join(stale)}: not run since a change", file=LOCK, remedy=remedy)
    lacking = ", ".join(sorted({*noted(BOUGHT)} - {*on_disk(BOUGHT)}))
    but_for = f"; {BOUGHT} lacks {lacking} here, taken for what its .dvc file says" if lacking else ""
    print(f"all stages ran since the last change{but_for}")


def stale_stages() -> list[str]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    lock, bought = read_lock_file(LOCK), prov.folder_md5(noted(BOUGHT) | on_disk(BOUGHT))
    try:
        with Repo() as repo, repo.lock:
            stages = [stage for stage in repo.index.stages if stage.cmd and stage.path_in_repo == PIPELINE]
            for stage in stages:
                stage.deps = [dep for dep in stage.deps if not (_is_bought(dep) and dep.hash_info.value == bought)]
            return [
                stage.addressing
                for stage in stages
                if stage.name not in lock or stage.changed(allow_missing=True, upstream=[*repo.index.graph[stage]])
            ]
    except DvcException as error:
        problem = f"DVC can't tell what is stale ({error})"
        raise HallmarkError(problem, file=PIPELINE, remedy="run `dvc status`, and do what it says") from None


def noted(folder: Path) -> dict[str, str]:
    """The MD5 of each file of which a .dvc file in the folder tells, by name; the file itself may be missing."""
    files = {}
    for note in sorted(folder.glob("*.dvc")):
        outs = prov.parse_yaml(note.read_bytes(), note).get("outs")
        for out in outs if isinstance(outs, list) else ():
            if isinstance(out, dict) and isinstance(out.get("path"), str) and isinstance(out.get("md5"), str):
                files[out["path"]] = out["md5"]
    return files


def on_disk(folder: Path) -> dict[str, str]:
    """The MD5 of each file in a folder, by name."""
    return {file.relative_to(folder).as_posix(): prov.dvc_md5(file) for file in prov.files_in(folder)}


def _is_bought(dep: Any) -> bool:
    return dep.is_in_repo and Path(dep.fs_path) == BOUGHT.absolute()


if __name__ == "__main__":
    run_stage("stale", __doc__, lambda _: run())
