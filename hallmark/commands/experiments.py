"""Run the pipeline with other params as a `dvc exp run`, and read what came of it, for `choose` and `tune`.

It runs in a copy of the repository below .dvc/tmp (`--temp`), so that the working directory stays as it is, and only as far
as `choose` needs the gate, or `tune` the adapter. DVC's run cache leaves out outputs with `persist`, which all of this pipeline's are. So an earlier experiment is
looked for here: it counts if each of its stages read what the same stage would read now.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hallmark.answer.measures import known_measures
from hallmark.base import provenance as prov
from hallmark.base.dvc_lock import YAML_BYTES
from hallmark.base.errors import HallmarkError, printable
from hallmark.base.files import HOLDOUT_LOCK
from hallmark.base.key import FILE as KEY
from hallmark.base.loaded_code import FOLDER as CODE
from hallmark.base.machine import when_and_where
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.stats import Interval
from hallmark.commands import trial_watch
from hallmark.judge.comparison import Comparison
from hallmark.judge.results import Benchmark
from hallmark.judge.verdict import Verdict
from hallmark.model.base_params import Candidate
from hallmark.params.loader import merged

if TYPE_CHECKING:
    from hallmark.params.loader import Params

PARAMS = Path("params.yaml")  # what `dvc exp run -S` changes
LAST = "gate"  # the stage that a base's experiment ends with: page and release are made of the base that is chosen
REPORT_BYTES = 64 * 2**20
TAIL = 400  # lines of output in which the reason of a failure is looked for
TIMED = ("quantize", "sft", "dpo", "eval_base", "eval_tuned", "comparators")  # stages whose seconds depend on the base
FORM = ("schema_validity", "parses")  # measures that say nothing of what is right
Content = TypeVar("Content")


@dataclass(frozen=True)
class Measured:
    """A measure of the tuned model, a share of 1, with its interval."""

    words: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Run:
    """What an experiment measured of the tuned model. `right`: share of the records that pass.

    Times are of the first level of load, as the gate reads it; `minutes`: training and evaluation.
    """

    experiment: str
    commit: str
    minutes: float
    measure: Measured
    right: float
    latency_p95_s: float | None
    requests_per_second: float
    verdict: str
    words: str
    served: str


def changed(raw: Mapping[str, Any], candidate: Candidate) -> dict[str, Any]:
    """All params as they are for a base: with its `base` block, and its own params; a HallmarkError for a key that is none."""
    params: dict[str, Any] = copy.deepcopy(dict(raw))
    params["base"] = candidate.base.model_dump(mode="json")
    for name, value in candidate.set.items():
        block, key = _place(params, name)
        block[key] = copy.deepcopy(value)
    base = params["base"]
    if base["source"] == "folder" and not Path(base["path"]).is_absolute() and ".." in Path(base["path"]).parts:
        base["path"] = str(Path(base["path"]).resolve())  # it runs in another folder
    for name in ("benchmark.server.python", "eval.engine.python"):  # an environment, which can't be copied
        *above, _ = name.split(".")
        server = params.get(above[0], {}).get(above[1])
        if isinstance(server, dict) and isinstance(server.get("python"), str):
            server["python"] = str(Path(server["python"]).absolute())
    return params


def _place(params: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    *above, key = name.split(".")
    block: Any = params
    for part in above:
        block = block.get(part) if isinstance(block, dict) else None
    if not isinstance(block, dict) or key not in block:
        problem = f"params.yaml has no '{name}'"
        raise HallmarkError(problem, param="choose.bases", remedy="name a param that is there, by its dotted name")
    return block, key


def overrides(raw: Mapping[str, Any], wanted: Mapping[str, Any], file: Path = PARAMS) -> list[str]:
    """The values of `-S` that make `wanted` of `raw`, all params, in Hydra's grammar. A block with other keys is written whole."""
    lines: list[str] = []
    written = prov.parse_yaml(file.read_bytes(), file)

    def compare(old: Any, new: Any, at: str) -> None:
        if type(old) is type(new) and old == new:
            return
        if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys() and new:
            for key, value in new.items():
                compare(old[key], value, f"{at}.{key}" if at else key)
            return
        if isinstance(value_at(written, at), dict):  # Hydra would keep the keys that are not named
            lines.append(f"~{at}")
        lines.extend(_assigned(at, new))

    compare(dict(raw), dict(wanted), "")
    return lines


def _assigned(at: str, value: Any) -> list[str]:
    if not isinstance(value, dict) or not value:
        return [f"++{at}={_literal(value, at)}"]
    if odd := [key for key in value if not re.fullmatch(r"\w+", str(key), re.ASCII)]:
        raise _unwritable(at, f"the key {odd[0]!r}")
    return [line for key, inner in value.items() for line in _assigned(f"{at}.{key}", inner)]


def _literal(value: Any, at: str) -> str:
    """A value as Hydra's grammar has it. In quotes, only quotes are escaped, and backslashes right before one."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, str):
        if "${" in value:
            raise _unwritable(at, "${")
        escaped = re.sub(r'(\\*)("|$)', lambda match: 2 * match[1] + ('\\"' if match[2] else ""), value)
        return f'"{escaped}"'
    if isinstance(value, list) and not any(isinstance(item, dict) for item in value):
        return f"[{','.join(_literal(item, at) for item in value)}]"
    if value == {}:
        return "{}"
    raise _unwritable(at, "a list of blocks")


def _unwritable(at: str, what: str) -> HallmarkError:
    return HallmarkError(
        f"{what} can't be given to `dvc exp run` ({at})", param="choose.bases", remedy="set it in params.yaml for all"
    )


def check_set(sets: list[str], wanted: Mapping[str, Any], file: Path = PARAMS) -> None:
    """A HallmarkError unless DVC makes a `params.yaml` with the wanted params with these values of `-S`.

    What DVC 3.67 writes is no YAML if a block over several lines becomes `{}` and its key has a comment.
    """
    from dvc.utils.hydra import apply_overrides

    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / PARAMS.name
        shutil.copyfile(file, copied)
        if sets:
            apply_overrides(copied, sets)
        try:
            made = merged(prov.parse_yaml(copied.read_bytes(), file))
        except HallmarkError:
            made = {}
    if made == wanted:
        return
    names = ", ".join(sorted({value.lstrip("~+").partition("=")[0] for value in sets}))
    raise HallmarkError(
        f"DVC can't set {names} in it",
        file=file,
        remedy="write each of their blocks in params.yaml on one line, such as {enable_thinking: false}",
    )


def name_of(candidate: Candidate) -> str:
    """The name of a base's experiment: readable, and its own for each base with its params."""
    slug = re.sub(r"[^a-z0-9]+", "-", candidate.base.name.rpartition("/")[2].lower()).strip("-")[:40]
    text = json.dumps(candidate.model_dump(mode="json"), sort_keys=True)
    return f"choose-{slug or 'base'}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def find(name: str, params: dict[str, Any], last: str = LAST) -> tuple[str, str] | None:
    """Name and commit of the newest experiment of that name, with a number or without, that would run the same today."""
    listing = prov.git("for-each-ref", "--sort=-committerdate", "--format=%(objectname) %(refname)", "refs/exps")
    stages = None
    for line in (listing or b"").decode().splitlines():
        commit, _, ref = line.partition(" ")
        found = ref.rpartition("/")[2]
        if re.fullmatch(rf"{re.escape(name)}(-\d+)?", found):
            stages = stages or stages_to(last)
            if is_current(commit, params, stages):
                return found, commit
    return None


def stages_to(last: str = LAST) -> dict[str, tuple[Any, set[str], set[str]]]:
    """The stages up to one, as dvc.yaml has them: command, dependencies, params."""
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo

    found = {}
    with Repo() as repo:
        for stage in repo.stage.collect(last, with_deps=True):
            read = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
            named = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
            deps, keys = {dep.def_path for dep in read}, {key for dep in named for key in dep.params}
            found[stage.addressing] = (stage.cmd, deps, keys)
    return found


def is_current(commit: str, params: dict[str, Any], stages: Mapping[str, tuple[Any, set[str], set[str]]]) -> bool:
    """Whether an experiment's dvc.lock has the stages of today, with the code, data and params of today."""
    content = prov.git_file("dvc.lock", commit, Path(), YAML_BYTES)
    if content is None:
        return False
    try:
        lock = prov.read_lock(content)
    except HallmarkError:
        return False
    for name, (command, deps, keys) in stages.items():
        if (ran := lock.get(name)) is None or ran["cmd"] != command or ran["deps"].keys() != deps:
            return False
        if any(key not in ran["params"] or ran["params"][key] != value_at(params, key) for key in keys):
            return False
    if HOLDOUT_LOCK.exists():
        held = prov.git_file(HOLDOUT_LOCK.as_posix(), commit, Path(), REPORT_BYTES)
        if held is not None and held != HOLDOUT_LOCK.read_bytes():
            return False
    ran_stages = {
        name: lock[name] for name in stages if name != CODE.name
    }  # which reads all code, of which they use a part
    recorded = {path: md5 for stage in ran_stages.values() for path, md5 in stage["deps"].items()}
    return all(Path(path).exists() and prov.dvc_md5(Path(path)) == recorded[path] for path in prov.sources(ran_stages))


def value_at(params: Any, key: str) -> Any:
    """The value of a param by its dotted name; None if there is none."""
    for part in key.split("."):
        params = params.get(part) if isinstance(params, dict) else None
    return params


def run(
    name: str,
    sets: list[str],
    copies: list[str],
    last: str = LAST,
    watch: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> tuple[str, str]:
    """Run the experiment up to the stage `last`; its name, with a number if another has it, and its commit.

    A HallmarkError with the reason if a stage failed; its output goes to stderr as it comes. `watch` is called in a thread
    of its own with the running process, and ends when that has ended.
    """
    taken = {line.rpartition("/")[2] for line in (prov.git("for-each-ref", "refs/exps") or b"").decode().splitlines()}
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    free = name if name not in taken else next(each for each in numbered if each not in taken)
    options = [option for value in sets for option in ("--set-param", value)]
    options += [option for path in copies for option in ("--copy-paths", path)]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", free, *options, last]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    # Without PYTHONPATH: the stages are those of the copy.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment = kept | {"PATH": path, "DVC_NO_ANALYTICS": "1"}
    tail: deque[str] = deque(maxlen=TAIL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        assert process.stdout is not None
        if watch is not None:
            threading.Thread(target=watch, args=(process,), daemon=True).start()
        try:
            for line in process.stdout:
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()
                tail.append(line.decode("utf-8", "replace"))
        except BaseException:  # asked to stop: the run stops too
            trial_watch.stop(process)
            process.terminate()
            raise
    if process.returncode:
        raise HallmarkError(reason([*tail]), remedy="see its output above")
    commit = prov.git("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{free}")
    if not (found := (commit or b"").decode().split()):
        raise HallmarkError("DVC kept no experiment", remedy="see its output above")
    return free, found[0]


def reason(lines: list[str]) -> str:
    """Why a run failed, in a line: the last error of a stage, or else of DVC."""
    text = [printable(line.strip()) for line in lines]
    for number in range(len(text) - 1, -1, -1):
        if re.match(r"\w+: error: ", text[number]):
            remedy = text[number + 1].removeprefix("remedy: ") if text[number + 1 :] else ""
            return (
                f"{text[number]}: {remedy}" if text[number + 1 :] and "remedy: " in text[number + 1] else text[number]
            )
    failed = [line.partition("ERROR: ")[2] for line in text if "ERROR: " in line]
    return failed[-1] if failed else "dvc exp run failed without a message"


def copies(params: dict[str, Any]) -> list[str]:
    """What stages read that neither git nor DVC has, which a copy of the repository would lack."""
    named = [
        *(("data", "path"), ("task", "schema"), ("mask", "gold"), ("dedupe", "gold"), ("split", "leave_out")),
        *(("mask", "ner", "model"), ("eval", "general", "folder"), ("base", "path")),
    ]
    paths = [KEY.as_posix(), *(value_at(params, ".".join(keys)) for keys in named)]
    found: dict[str, None] = {}
    for path in (path for path in paths if isinstance(path, str) and not Path(path).is_absolute()):
        here = Path(path).exists() and Path(path).resolve().is_relative_to(Path.cwd().resolve())
        if here and not Path(f"{path}.dvc").exists() and not _in_git(path):
            # A file goes only into a folder that is there: the copy has those with files in git.
            whole = next((str(up) for up in reversed(Path(path).parents[:-1]) if not _in_git(str(up))), path)
            found[whole] = None
    return list(found)


def _in_git(path: str) -> bool:
    """Whether git has a file of that path or below it."""
    return bool(prov.git("ls-files", "--", path))


def read(name: str, commit: str, params: Params) -> Run:
    """What the reports in an experiment's commit say; a HallmarkError if one is missing or not of its form."""
    comparison = report_in(commit, "comparison", Comparison)
    verdict = report_in(commit, "gate", Verdict)
    benchmark = report_in(commit, "benchmark", Benchmark)
    tuned = benchmark["models"].get("tuned")
    if tuned is None:
        remedy = "add tuned to benchmark.models"
        raise HallmarkError("the tuned model was not measured", param="benchmark.models", remedy=remedy)
    level = tuned["levels"][0]
    seconds = [report_in(commit, f"measured/{stage}", dict[str, Any]).get("seconds", 0.0) for stage in TIMED]
    right = comparison.records - sum(failure.records for failure in comparison.tuned.failures)
    return Run(
        experiment=name,
        commit=commit,
        minutes=sum(each for each in seconds if isinstance(each, int | float)) / 60,
        measure=main_measure(comparison, list(params.gate.floors)),
        right=right / max(1, comparison.records),
        latency_p95_s=level["latency_s"]["p95"],
        requests_per_second=level["requests_per_second"],
        verdict=verdict.verdict,
        words=verdict.words,
        served=when_and_where(dict(benchmark)),
    )


def main_measure(comparison: Comparison, floors: list[str]) -> Measured:
    """Exact match, or where the gate has no floor for it, the first measure that it has one for and that is not of form."""
    rows = {row.name: row for row in comparison.tuned.measures}
    asked = [name for name in floors if name not in FORM and name in rows]
    name = asked[0] if asked and "exact_match" not in asked else "exact_match"
    tuned: Interval = rows[name].tuned if name in rows else Interval(0.0, 0.0, 0.0)
    return Measured(known_measures()[name].words, tuned.value, tuned.low, tuned.high)


def report_in(commit: str, name: str, kind: type[Content]) -> Content:
    """A report of an experiment's commit; a HallmarkError if it is missing or not of its form."""
    from pydantic import TypeAdapter, ValidationError

    file = f"reports/{name}.json"
    content = prov.git_file(file, commit, Path(), REPORT_BYTES)
    remedy = f"remove the experiment (`dvc exp remove`), and run the command again; its commit is {commit[:12]}"
    try:
        if content is None:
            raise HallmarkError("not in the experiment's commit", file=file, remedy=remedy)
        return TypeAdapter(kind).validate_json(json.dumps(strict_json(content.decode())), strict=True)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise HallmarkError("not of its form", file=file, field=field, remedy=remedy) from None
    except (NotJsonError, UnicodeDecodeError):
        raise HallmarkError("not JSON", file=file, remedy=remedy) from None
