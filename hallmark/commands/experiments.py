"""Run the pipeline with other params as a DVC experiment, or take the one there is, for `choose` and `tune`; run DVC for all.

An experiment runs in a copy of the repository below .dvc/tmp (`dvc exp run --temp`), so that the working directory stays as
it is, and only as far as it is needed. DVC's run cache leaves out outputs with `persist`, which all of this pipeline's are.
So an experiment is named by a hash of all that its stages read: one of that name has the same result.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

from hallmark.base import provenance as prov
from hallmark.base.document import value_at
from hallmark.base.dvc_lock import Stages
from hallmark.base.errors import HallmarkError, printable
from hallmark.base.files import HOLDOUT_LOCK, RAW
from hallmark.base.key import FILE as KEY
from hallmark.base.loaded_code import FOLDER as CODE
from hallmark.base.reports import typed
from hallmark.params.loader import merged

log = logging.getLogger("experiments")

PARAMS = Path("params.yaml")  # what `dvc exp run -S` changes
REPORT_BYTES = 64 * 2**20
TAIL = 400  # lines of output in which the reason of a failure is looked for
# Params that name files which stages read, and which neither git nor DVC may have.
NAMED = ("task.schema", "mask.gold", "dedupe.gold", "split.leave_out", "mask.ner.model", "base.path")
Content = TypeVar("Content")
Watch = Callable[[str], bool]  # of a line of output: whether the stage that wrote it may go on


def check_repository() -> None:
    if prov.git("rev-parse", "--verify", "HEAD") is None:
        remedy = "`git init`, `dvc init`, and commit the project: experiments are commits"
        raise HallmarkError("not a git repository with a commit", file=Path.cwd(), remedy=remedy)


def tried(
    prefix: str, raw: Mapping[str, Any], wanted: Mapping[str, Any], last: str, watch: Watch | None = None
) -> tuple[str, str]:
    """Name and commit of the experiment with the params `wanted` up to the stage `last`: the one there is, or a new one.

    `raw`: all params as they are. A HallmarkError with the reason if a stage failed; its output goes to stderr as it comes.
    `watch` is called with each line of it, and returns whether the stage may go on.
    """
    name, commit = find(prefix, key_of(stages_to(last), wanted))
    log.info("%s: %s", name, "it is there already" if commit else "running")
    if commit is None:
        options = [option for value in overrides(raw, wanted) for option in ("--set-param", value)]
        options += [option for path in copies(wanted) for option in ("--copy-paths", path)]
        dvc("exp", "run", "--temp", "--name", name, *options, last, watch=watch)
        commit = next(iter(commits_of(name)), None)  # `find` has seen none of that name: it is this run's
    if commit is None:
        raise HallmarkError("DVC kept no experiment", remedy="see its output above")
    return name, commit


def find(prefix: str, key: str) -> tuple[str, str | None]:
    """Name and commit of the experiment of a key, or the name for it and None.

    If the holdout is frozen here, its lock is part of the name: `split` may then write another into the copy. One that ran
    before the holdout was frozen counts if it froze the same.
    """
    lock = HOLDOUT_LOCK.read_bytes() if HOLDOUT_LOCK.exists() else b""
    name, before = (f"{prefix}-{prov.sha256(key.encode() + frozen)[:8]}" for frozen in (lock, b""))
    if commits := commits_of(name):
        return name, commits[0]
    for commit in commits_of(before):
        if prov.git_file(HOLDOUT_LOCK.as_posix(), commit, Path(), REPORT_BYTES) in (None, lock):
            return before, commit
    return name, None


def commits_of(name: str) -> list[str]:
    """The commits of the experiments of that name: DVC's refs/exps/<two digits>/<the others of the first commit>/<name>."""
    listing = prov.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps") or b""
    refs = (line.split(" ", 1) for line in listing.decode().splitlines())
    return [commit for commit, ref in refs if ref.split("/", 4)[4:] == [name]]


def stages_to(last: str) -> Stages:
    """The stages up to one, as dvc.yaml has them: command, names of dependencies, outputs and params.

    Without `code`, which reads all code: its lists name what the others load. And without `.dvc` files, which have no
    command: what they name is read as it is.
    """
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo

    with Repo() as repo:
        return {
            stage.addressing: {
                "cmd": stage.cmd,
                "deps": sorted(dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)),
                "outs": sorted(out.def_path for out in stage.outs),
                "params": sorted(
                    key for dep in stage.deps if isinstance(dep, ParamsDependency) for key in dep.params or ()
                ),
            }
            for stage in repo.stage.collect(last, with_deps=True)
            if stage.cmd and stage.addressing != CODE.name
        }


def key_of(stages: Stages, params: Mapping[str, Any]) -> str:
    """A hash of all that the stages read: commands, values of params, and the files that none of them makes."""
    sources = prov.sources(stages)
    if missing := [source for source in sources if not Path(source).exists()]:
        raise HallmarkError("not there", file=missing[0], remedy="run the `nox` session, which makes it first")
    read = {name: [of["cmd"], {key: value_at(params, key) for key in of["params"]}] for name, of in stages.items()}
    return prov.sha256(json.dumps([read, {source: prov.dvc_md5(Path(source)) for source in sources}], sort_keys=True))


# --- params ------------------------------------------------------------------------------------------------------


def with_values(raw: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    wanted = copy.deepcopy(dict(raw))
    for name, value in values.items():
        above, _, key = name.rpartition(".")
        block = value_at(wanted, above) if above else wanted
        if not isinstance(block, dict) or key not in block:
            raise HallmarkError("there is no such param", param=name, remedy="name one that is there, with its block")
        block[key] = copy.deepcopy(value)
    return wanted


def overrides(raw: Mapping[str, Any], wanted: Mapping[str, Any], file: Path = PARAMS) -> list[str]:
    """The values of `-S` that make `wanted` of `raw`, all params. A block with other keys is written whole.

    A HallmarkError if DVC would make something else of them: what DVC 3.67 writes is no YAML if a block over several lines
    becomes `{}` and its key has a comment, and not all that YAML holds can be written in Hydra's grammar.
    """
    lines: list[str] = []
    written = prov.parse_yaml(file.read_bytes(), file)

    def assign(at: str, value: Any) -> None:
        if not isinstance(value, dict) or not value:
            lines.append(f"++{at}={_literal(value)}")
            return
        for key, inner in value.items():
            assign(f"{at}.{key}", inner)

    def compare(at: str, old: Any, new: Any) -> None:
        if type(old) is type(new) and old == new:
            return
        if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys() and new:
            for key, value in new.items():
                compare(f"{at}.{key}", old[key], value)
            return
        if isinstance(value_at(written, at), dict):  # Hydra would keep the keys that are not named
            lines.append(f"~{at}")
        assign(at, new)

    for key, value in wanted.items():
        compare(key, raw.get(key), value)
    if _applied(lines, file) != wanted:
        names = ", ".join(sorted({line.lstrip("~+").partition("=")[0] for line in lines}))
        raise HallmarkError(
            f"DVC can't set {names} in it",
            file=file,
            remedy="write their blocks in params.yaml on one line, such as {enable_thinking: false}; if they are, or hold "
            "what `dvc exp run` can't be given (a list of blocks, `${`, a key with a dot), set them in params.yaml for all runs",
        )
    return lines


def _literal(value: Any) -> str:
    """A value as Hydra's grammar has it. In quotes, only quotes are escaped, and backslashes right before one."""
    if isinstance(value, str):
        escaped = re.sub(r'(\\*)("|$)', lambda match: 2 * match[1] + ('\\"' if match[2] else ""), value)
        return f'"{escaped}"'
    if isinstance(value, list):
        return f"[{','.join(map(_literal, value))}]"
    return json.dumps(value)


def _applied(lines: list[str], file: Path) -> dict[str, Any] | None:
    """All params as DVC makes them of the file with these values of `-S`; None if it can't."""
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides
    from omegaconf.errors import OmegaConfBaseException

    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / PARAMS.name
        shutil.copyfile(file, copied)
        try:
            if lines:
                apply_overrides(copied, lines)
            return merged(prov.parse_yaml(copied.read_bytes(), file))
        except (HallmarkError, DvcException, OmegaConfBaseException):
            return None


def copies(params: Mapping[str, Any]) -> list[str]:
    """What stages read that neither git nor DVC has, which a copy of the repository would lack."""
    found: dict[str, None] = {}
    raw = sorted(str(file) for file in RAW.iterdir()) if RAW.is_dir() else []
    for path in (KEY.as_posix(), *raw, *(value_at(params, name) for name in NAMED)):
        if not isinstance(path, str) or Path(path).is_absolute() or Path(f"{path}.dvc").exists() or _in_git(path):
            continue
        if Path(path).exists() and Path(path).resolve().is_relative_to(Path.cwd().resolve()):
            # A file goes only into a folder that is there: the copy has those with files in git.
            whole = next((str(up) for up in reversed(Path(path).parents[:-1]) if not _in_git(str(up))), path)
            found[whole] = None
    return list(found)


def _in_git(path: str) -> bool:
    return bool(prov.git("ls-files", "--", path))


# --- DVC ---------------------------------------------------------------------------------------------------------


def dvc(
    *arguments: str, at: Path = Path(), watch: Watch | None = None, variables: Mapping[str, str] | None = None
) -> None:
    run([sys.executable, "-m", "dvc", *arguments], at, watch, variables)


def run(command: list[str], at: Path, watch: Watch | None = None, variables: Mapping[str, str] | None = None) -> None:
    """Run DVC or a stage in a folder, its output on stderr; a HallmarkError with the reason if it failed. `watch`: as in `tried`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    # Without PYTHONPATH: the stages are those of the copy.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment = kept | {**(variables or {}), "PATH": path, "DVC_NO_ANALYTICS": "1"}
    tail: deque[str] = deque(maxlen=TAIL)
    with subprocess.Popen(
        command, cwd=at, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()
                tail.append(line.decode("utf-8", "replace"))
                if watch is not None and not watch(tail[-1]):
                    stop(process)
        except BaseException:  # asked to stop: the run stops too
            stop(process)
            process.terminate()
            raise
    if process.returncode:
        raise HallmarkError(reason([*tail]), remedy="see its output above")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the stage that runs to stop. DVC then says that it failed, removes the copy and ends by itself."""
    with suppress(psutil.Error):
        below = psutil.Process(process.pid).children(recursive=True)
        for child in reversed(below):  # from the inside: a shell must not be left without its child
            with suppress(psutil.Error, OSError):
                if Path(child.cwd()) != Path.cwd():  # the copy is known by what runs in it
                    child.terminate()


def reason(lines: list[str]) -> str:
    """Why a run failed, in a line: the last error of a stage with its remedy, or else of DVC."""
    text = "\n".join(printable(line.strip()) for line in lines)
    if errors := re.findall(r"^(\w+: error: .*)(?:\nremedy: (.*))?", text, re.MULTILINE):
        return ": ".join(filter(None, errors[-1]))
    failed = re.findall(r"ERROR: (.*)", text)
    return failed[-1] if failed else "it failed without a message"


def report_in(commit: str, name: str, kind: type[Content]) -> Content:
    """A report of a stage in an experiment's commit."""
    file = f"reports/{name}.json"
    remedy = f"remove the experiment (`dvc exp remove`), and run the command again; its commit is {commit[:12]}"
    if (content := prov.git_file(file, commit, Path(), REPORT_BYTES)) is None:
        raise HallmarkError("not in the experiment's commit", file=file, remedy=remedy)
    return typed(kind, content, file, remedy)
