"""Rebuild a commit in a fresh clone and compare every output with its `dvc.lock`: `python -m hallmark.commands.verify`.

Not a stage: it reruns the pipeline, or one stage of it (`--stage sft`), with an empty cache, and says for each output
whether it is the same, and how this environment differs from the recorded one. Outputs that are marked as measured must
only exist. Exit codes: 0: the same bytes; 2: different bytes; 1: the rebuild failed.

The rebuild gets the repo's key, if there is one, through the environment; it is written nowhere.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import BOUGHT, HOLDOUT_LOCK, RAW, REPORTS
from hallmark.base.key import VARIABLE, read_key
from hallmark.commands.experiments import dvc
from hallmark.commands.update import git
from hallmark.mask.surrogates import uses_key
from hallmark.params.loader import Params, load_params

log = logging.getLogger("verify")

ENVIRONMENT = REPORTS / "measured/environment.json"  # written by certify


def run(stage: str | None = None, commit: str = "HEAD") -> int:
    """Rebuild `commit` of the repository in the working directory; print one line per output; return the exit code."""
    revision = (prov.git("rev-parse", "--verify", f"{commit}^{{commit}}") or b"").decode().strip()
    if not revision:
        raise HallmarkError(f"no commit '{commit}'", file=".git", remedy="commit the results, then run verify again")
    committed = prov.git("show", f"{revision}:./dvc.lock")
    if committed is None:
        raise HallmarkError("not in that commit", file="dvc.lock", remedy="run `dvc repro`, and commit its results")
    lock = prov.read_lock(committed.decode())
    if prov.git("status", "--porcelain", "--untracked-files=no", "--", "."):
        log.warning("uncommitted changes are ignored: verifying commit %s", revision[:12])
    if stage is not None and not any(_is(name, stage) for name in lock):
        raise HallmarkError(f"has no stage '{stage}'", file="dvc.lock", remedy=f"name one: {', '.join(sorted(lock))}")
    with TemporaryDirectory(prefix="hallmark-verify-") as place:
        clone = _clone(Path(place).resolve(), revision, stage, lock)
        outs = _outs(clone, stage, lock)
        if not outs:
            raise HallmarkError("has no outputs to compare", file="dvc.yaml", remedy="name one that writes something")
        for path in outs:  # files from git would hide an output that the stage no longer writes
            if Path(path) != HOLDOUT_LOCK:
                _remove(clone / path)
        params = load_params(clone / "params.yaml")
        key = _key(params, stage)
        environment = _environment(
            revision, clone, params
        )  # before anything imports torch, which `portable` would refuse
        dvc("repro", "--force", *(["--single-item", stage] if stage else []), at=clone, variables=key)
        states = Counter[str]()
        for path, (md5, measured) in outs.items():
            there = (clone / path).exists()
            state = "missing" if not there else "measured" if measured else "same"
            if state == "same" and prov.dvc_md5(clone / path) != md5:
                state = "differs"
            print(f"{state:9} {path}")
            states[state] += 1
        print(", ".join(f"{count} {state}" for state, count in states.items()))
        print(f"environment: {environment}")
        same = not states["differs"] and not states["missing"]
        print("the rebuild gave the same bytes" if same else "the rebuild differs")
        return 0 if same else 2


def _key(params: Params, stage: str | None) -> dict[str, str]:
    """The environment variable with the repo's key, if the commit's stages need it; without the key, an error."""
    needed = stage in (None, "mask", "dedupe", "split")
    key = read_key(params.data, surrogates=uses_key(params.mask)) if needed else None
    return {VARIABLE: key.hex()} if key else {}


def _clone(folder: Path, revision: str, stage: str | None, lock: prov.Stages) -> Path:
    """A clone at `revision` with an empty cache, plus the files it needs that no stage of this run makes."""
    from dvc.repo import Repo

    top = (prov.git("rev-parse", "--show-toplevel") or b"").decode().strip()
    prefix = (prov.git("rev-parse", "--show-prefix") or b"").decode().strip()
    git(folder, "clone", "--quiet", "--no-checkout", top, "clone")
    git(folder / "clone", "checkout", "--quiet", "--detach", revision)
    clone = folder / "clone" / prefix
    if not (clone / ".dvc").is_dir():
        remedy = "run it in the folder that has a .dvc; a project in a subfolder needs its own (`dvc init --subdir`)"
        raise HallmarkError("not in this folder of that commit", file=".dvc", remedy=remedy)
    with Repo() as repo:
        cache = Path(repo.cache.local.path).parent.parent  # DVC 3 keeps its files in <cache>/files/md5
    notes = [file for file in sorted(clone.rglob("*.dvc")) if file.is_file()]
    if not any(_is(name, stage) and BOUGHT.as_posix() in lock[name]["deps"] for name in lock):
        notes = [file for file in notes if file.parent != clone / BOUGHT]
    needed = [file.relative_to(clone).as_posix() for file in notes]
    made_deps: list[str] = []
    if stage:
        made = [out for entry in lock.values() for out in entry["outs"]]
        deps = {dep: md5 for name in lock if _is(name, stage) for dep, md5 in lock[name]["deps"].items()}
        made_deps = sorted(dep for dep in deps if any(prov.overlap(out, dep) for out in made))
        needed += [dep for dep in made_deps if not (clone / dep).exists()]
    try:
        _use_cache(clone, cache)
        if needed:
            dvc("checkout", "--quiet", *needed, at=clone)
        for dep in made_deps:
            if prov.dvc_md5(clone / dep) != deps[dep]:
                raise HallmarkError("is damaged in the cache", file=dep, remedy="")
    except HallmarkError:
        problem = f"files that a rebuild needs are missing from this repository's cache or damaged: {', '.join(needed)}"
        remedy = "run `dvc pull --force` (bought answers: copy them from where they were bought), or verify the whole pipeline"
        raise HallmarkError(problem, file=cache, remedy=remedy) from None
    _use_cache(clone, folder / "cache")
    _bring_raw_data(clone, stage, lock)
    return clone


def _use_cache(clone: Path, folder: Path) -> None:
    # In quotes: DVC would take a comma in a path for the end of it, and a # for a comment.
    (clone / ".dvc/config.local").write_text(f'[cache]\n    dir = "{folder}"\n', encoding="utf-8")


def _bring_raw_data(clone: Path, stage: str | None, lock: prov.Stages) -> None:
    """Copy the raw data into the clone if neither git nor DVC keeps it, and only this machine has it."""
    recorded = {lock[name]["deps"].get(RAW.as_posix()) for name in lock if _is(name, stage)} - {None}
    if not recorded or prov.dvc_md5(clone / RAW) in recorded:
        return
    if prov.dvc_md5(RAW) not in recorded:
        remedy = "bring the raw data that the committed run was made from (`dvc pull`, if DVC keeps it)"
        raise HallmarkError("not in git as the run read it, and here are other files", file=RAW, remedy=remedy)
    shutil.copytree(RAW, clone / RAW, dirs_exist_ok=True)


def _is(name: str, stage: str | None) -> bool:
    """Whether `stage` refers to the stage `name` of dvc.lock (`eval` is `eval@base` and `eval@tuned`; None is all)."""
    return stage is None or stage in (name, name.split("@")[0])


def _outs(clone: Path, stage: str | None, lock: prov.Stages) -> dict[str, tuple[str, bool]]:
    """The outputs of the rebuilt stages as {path: (recorded hash, whether it is marked measured)}, in pipeline order."""
    from dvc.repo import Repo

    with Repo(str(clone)) as repo:
        pipeline = {entry.name: entry for entry in repo.index.stages if entry.cmd}
    outputs: dict[str, tuple[str, bool]] = {}
    for name, entry in pipeline.items():
        if not _is(name, stage):
            continue
        if name not in lock:
            raise HallmarkError(f"has no stage '{name}'", file="dvc.lock", remedy="run `dvc repro`, commit its results")
        for out in entry.outs:
            path = Path(out.fs_path).relative_to(clone).as_posix()
            measured = any((meta or {}).get("measured") for meta in (entry.meta, out.annot.meta))
            outputs[path] = (lock[name]["outs"][path], measured)
    return outputs


def _environment(revision: str, clone: Path, params: Params) -> str:
    from hallmark.base.compute import LOCK, fingerprint, installed

    content = prov.git("show", f"{revision}:./{ENVIRONMENT}")
    if content is None:
        return f"not recorded ({ENVIRONMENT} is not in that commit)"
    recorded = json.loads(content)
    here = fingerprint(params.compute, params.sft.parallel.processes, params.sft.parallel.strategy)
    now = {"fingerprint": here, "installed": installed(clone / LOCK)}
    changes = [
        f"{key} {recorded[part].get(key)} -> {now[part].get(key)}"
        for part in now
        if part in recorded
        for key in sorted({*recorded[part], *now[part]})
        if recorded[part].get(key) != now[part].get(key)
    ]
    return f"different: {'; '.join(changes)}" if changes else "the same as recorded"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.verify", description=__doc__)
    parser.add_argument("--stage", help="rebuild only this stage, from the cached outputs of the stages before it")
    parser.add_argument("--commit", default="HEAD", help="the commit to rebuild (default: %(default)s)")
    run_stage("verify", __doc__, lambda given: sys.exit(run(given.stage, given.commit)), parser)
