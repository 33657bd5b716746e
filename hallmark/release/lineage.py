"""Where a release comes from: the stages that made it, the files that went in, their reports, and the machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import REPORTS
from hallmark.base.reading import read_object
from hallmark.release.checking import LOCK, read_lock_file

if TYPE_CHECKING:
    from hallmark.params.loader import Params


def stages_behind(paths: list[str], params: dict[str, Any]) -> prov.Stages:
    """The stages that made `paths` and all before them, from `dvc.lock`; an error if the files differ from what it names."""
    stages = prov.upstream(read_lock_file(LOCK), paths)
    wrong = prov.stale(stages, params)
    if wrong:
        raise HallmarkError(
            f"it does not describe the files here: {'; '.join(wrong)}", file=LOCK, remedy="run `dvc repro`"
        )
    for path in paths:
        if not prov.upstream(stages, [path]):
            raise HallmarkError(f"no stage made {path}", file=LOCK, remedy="run `dvc repro`")
    return stages


def files_behind(stages: prov.Stages, kept: tuple[str, ...]) -> list[Path]:
    """Every file that went in: what no stage made, the code of all of them, and what they made below a name in `kept`."""
    outs = [out for stage in stages.values() for out in stage["outs"]]
    inputs: set[Path] = set()
    for root in map(Path, [*sources_of(stages), *(out for out in outs if out.startswith(kept))]):
        inputs |= {*prov.files_in(root)} if root.is_dir() else {root}
    return sorted(inputs)


def sources_of(stages: prov.Stages) -> list[str]:
    """What went in and no stage made: data as files or folders, and the files of code."""
    sources = prov.sources(stages)
    return [*sources, *map(str, prov.code_in(sources))]


def reports_of(stages: prov.Stages) -> list[Path]:
    outs = {Path(out) for stage in stages.values() for out in stage["outs"] if out.startswith(f"{REPORTS}/")}
    return sorted(file for out in outs for file in (prov.files_in(out) if out.is_dir() else [out]))


def environment(params: Params) -> dict[str, Any]:
    """The installed libraries, and the fingerprint of the machine that last trained the adapter, or else of this one."""
    from hallmark.base.compute import fingerprint, installed

    trained = [REPORTS / "measured" / f"{stage}.json" for stage in ("dpo", "sft")]  # dpo has none if it only copied
    prints = [read_object(file).get("fingerprint") for file in trained if file.exists()]
    recorded = next(filter(None, prints), None)
    if recorded is None:
        recorded = fingerprint(params.compute, params.sft.parallel.processes, params.sft.parallel.strategy)
    return {"installed": installed(), "fingerprint": recorded}
