"""All commands for people: `python -m nox -l` lists them, `python -m nox -s repro` runs one, options go after `--`.

All sessions share one environment, `.venv`: `source .venv/bin/activate` puts `dvc` on the path; your editor finds it.
nox itself may run anywhere: in an environment of its own too, as `uvx nox` and `pipx run nox` make one.
"""

import contextlib
import hashlib
import logging
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nox
from packaging.specifiers import SpecifierSet

if sys.platform == "win32":
    sys.exit("Hallmark runs on Linux, macOS and WSL")

nox.options.default_venv_backend = "none"
logging.getLogger("nox").addFilter(lambda record: record.msg != "uv binary not found.")  # nothing here asks for it
nox.options.sessions = ["lint", "tests"]

VENV, LOCK = Path(".venv"), Path("requirements.lock")
PROJECT = nox.project.load_toml("pyproject.toml")
HASHED: list[str] = PROJECT["tool"]["hallmark"]["hashed"]
WITHOUT_DEPENDENCIES: list[str] = PROJECT["tool"]["hallmark"].get("without-dependencies", [])
SIZE = "0.5 GB" if sys.platform == "darwin" else "3.2 GB with torch for CUDA (README.md: 0.7 GB with torch for the CPU)"

# A line for each session. It runs the module of its name in the package that it stands below, or what STEPS has.
SESSIONS = {
    "hallmark.commands": {
        "setup": "Make `.venv` with what `repro` and the stages need, and the schema for editors.",
        "propose": "Draft stages/records.py from a file: `-- data/raw/FILE` asks, writes, shows; without FILE: only shows.",
        "repro": "Run the pipeline, except stages without changes. Options go to `dvc repro`.",
        "params": "Print all params with value, default and effect: `-- sft` a block, `-- --changed` no defaults.",
        "plan": "Say whether the run fits, how long it takes and what it costs; `-- --help` lists the options.",
        "experiments": "Compare the runs of `dvc exp run`: what differs. Options go to `dvc exp show`.",
        "report": "Render the report page of the last run again.",
        "choose": "Find the smallest base of `choose.bases` that passes the gate; `-- --all` runs all, `--dry` none.",
        "ask": "Buy the answers that comparators of kind endpoint lack; `-- --dry`: what is missing, and its cost.",
        "tune": "Search step size, epochs, rank, layers for `tune.minutes`; `-- --write` sets the best in params.yaml.",
        "curve": "Train on parts of the data, and show what more data would bring; `-- --dry` says how long it takes.",
        "docs": "Say where the pages of the manual are: they come with the library.",
        "fresh": "Check that dvc.lock matches code, params and data, and that git has no raw data, keys or weights.",
        "key": "Make the key for pseudonyms, if this repo needs one and has none; otherwise check that it is there.",
        "machine": "Set params.yaml up for a machine: `-- gpu-24gb`, `--dry` only shows it; without a name, list all.",
        "install": "Make `.venv` with all that `lint` and `tests` need, which they also do themselves.",
        "tests": "Run the tests in a clone of what is here. Options go to pytest (paths of output: absolute); without any, all run.",
        "update": "Bring a stamped repo to the template's state: `-- [TEMPLATE]`; in the template `-- ../my-domain`.",
        "verify": "Rebuild the committed state in a fresh clone, and compare all outputs; `-- --stage sft`: one stage.",
        "vllm": "Make `.venv-vllm`, the environment of the vllm server (CUDA if there is a GPU). Options go to pip.",
    },
    "hallmark.service.commands": {
        "serve": "Answer callers with the OpenAI chat API, through the gateway, until Ctrl-C; `-- --help`: options.",
        "batch": "Answer a file of requests offline: `-- requests.jsonl`; `-- --help`: options.",
        "canary": "Say from live traffic whether the canary may go to prod, or must be rolled back; `-- --act` acts on it.",
        "collect": "Turn feedback into records and a review queue; `-- --dry` only says what it would add.",
        "join": "Serve several releases from one vLLM, each by its name: `-- models/release ../other/models/release`.",
        "release": "Register a version, if the gate passed: `-- OUT [--sign KEY]` writes it too; `-- --dry` checks.",
        "promote": "Put a version into a stage: `-- v1.2.0 canary`, or `prod`; `-- --stop canary` ends it.",
        "rollback": "Put the version that was in prod before into prod again.",
        "releases": "List the versions: stages, verdicts, measures, waivers; `-- --events`: what happened when.",
        "fetch": "Fetch a release by stage or version, and check it: `-- REPO prod OUT`, or `-- . v1.2.0`.",
    },
}
# Modules stay whole, and are dealt out in the order of tests/conftest.py.
PYTEST = f"-m pytest --numprocesses {min(4, os.cpu_count() or 1)} --dist loadfile --no-loadscope-reorder"
PIP = ("python", "-m", "pip", "install", "--disable-pip-version-check")  # which shows by itself how far it is
STEPS = {  # options go to the last
    "setup": [],
    "experiments": ["dvc exp show --only-changed --no-pager --drop '^code(/.*)?$'"],  # which has each param once more
    "report": ["dvc repro --single-item code report"],
    "choose": ["dvc repro dedupe", "python -m hallmark.commands.choose"],
    "ask": ["dvc repro split", "python -m hallmark.commands.ask"],
    "tune": ["dvc repro quantize split", "python -m hallmark.commands.tune"],
    "curve": ["dvc repro split quantize", "python -m hallmark.commands.curve"],
    "fresh": ["python -m hallmark.commands.committed", "python -m hallmark.commands.stale"],
    "install": [],
    "join": ["python -m hallmark.service.commands.serve --direct"],
    "tests": [f"python {PYTEST}"],
    "release": [
        "python -m stages.gate --enforce",
        "python -m hallmark.commands.check models/release --clone .",
        "python -m hallmark.service.commands.release",
    ],
    "corpora": ["python -m tests.bench.corpora"],
}
ALONE: dict[str, list[str]] = {}  # what runs without options, if that differs
# What a stamped repo, which tests its data and its pipeline in processes of their own, has not.
if Path("template").is_dir():
    SESSIONS["hallmark.commands"]["stamp"] = "Make a new domain repo: `-- ../its-parent [key=value ...]`; or it asks."
    SESSIONS["tests"] = {
        "bench": "Benchmark masking against Presidio; `-- NAME`: one of tests/bench.",
        "corpora": "Run real corpora through stamped repos: `HALLMARK_CORPORA=FOLDER nox -s corpora -- receipts`.",
        "demo": "Play the service loop in a temporary clone, and leave a page of what happened; 13 minutes.",
        "gpu": "Check what only a GPU can show; `-- --list`: parts; `-- PART`.",
    }
    # In one command, SlipCover 1.1 would check the coverage of all processes, and write that of pytest's own.
    ALONE["tests"] = [
        f"python -m slipcover --immediate --source stages,hallmark --json --out .venv/coverage.json {PYTEST}",
        "python -m slipcover --silent --merge .venv/coverage.json --fail-under 90 --out .venv/coverage.json",
    ]
# A test sees the committed version of what a run changes, and nothing that git ignores but these.
OUTPUTS = ("code", "data/holdout.lock.json", "dvc.lock", "reports")
INPUTS = (".pytest_cache", ".venv", ".venv-vllm", "data/bought", "data/raw")
GROUPS = {"tune": "tune", "stamp": "stamp", "install": "dev", "tests": "dev", "update": "dev"}


def declare(package: str, name: str, line: str) -> None:
    """Make a session of a line in SESSIONS."""

    def session(session: nox.Session) -> None:
        prepare(session, GROUPS.get(name, "dev" if package == "tests" else "run"))
        alone = {} if session.posargs else ALONE
        steps = alone.get(name, STEPS.get(name, [f"python -m {package}.{name}"]))
        codes = (0, 1, 3) if name == "canary" else (0,)  # each of them is a verdict
        with in_clone(session) if name == "tests" else contextlib.nullcontext():
            for step in steps[-1:] if "--help" in session.posargs else steps:  # help needs no stage to have run
                run(session, *shlex.split(step), *(session.posargs if step == steps[-1] else []), codes=codes)

    session.__doc__ = line
    nox.session(name=name)(session)


for package, lines in SESSIONS.items():
    for name, line in lines.items():
        declare(package, name, line)


def run(session: nox.Session, program: str, *options: str, codes: tuple[int, ...] = (0,), folder: Path = VENV) -> None:
    """Run a program of an environment, which is first on its PATH (DVC starts `python`)."""
    # By its full path: nox looks up a bare name on the PATH that nox itself was started with.
    programs = folder.absolute() / "bin"
    environment = {"PATH": os.pathsep.join([str(programs), os.environ["PATH"]]), "PYTHONPATH": str(Path.cwd())}
    session.run(str(programs / program), *options, env=environment, external=True, success_codes=codes)


@contextlib.contextmanager
def in_clone(session: nox.Session) -> Iterator[None]:
    """Work in a clone that has the edits made here, and nothing that runs have left here."""

    def git(*options: str) -> str:
        return subprocess.run(["git", *options], stdout=subprocess.PIPE, text=True, check=True).stdout

    try:
        top, prefix, _ = git("rev-parse", "--show-toplevel", "--show-prefix", "HEAD").split("\n", 2)
    except subprocess.CalledProcessError:
        session.warn("there is no commit to clone: the tests see what runs have left here, too")
        yield
        return
    for name in (".nox", ".pytest_cache"):
        Path(name).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tests-", dir=Path(".nox").absolute(), ignore_cleanup_errors=True) as clone:
        git("clone", "--quiet", "--no-checkout", "--no-tags", top, clone)
        git("-C", clone, "read-tree", "HEAD")
        git(f"--git-dir={clone}/.git", f"--work-tree={top}", "add", "--all", ".", *(f":!{name}" for name in OUTPUTS))
        git("-C", clone, "checkout-index", "--all")
        ignored = git("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory", *INPUTS)
        for name in ignored.split("\0")[:-1]:
            link = Path(clone, prefix, name)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():  # git may list a folder, and then the files in it
                link.symlink_to(Path(name).absolute())
        with session.chdir(Path(clone, prefix)):
            yield


def make(session: nox.Session, folder: Path) -> None:
    """Make an empty environment with the Python that runs nox."""
    version, known = ".".join(map(str, sys.version_info[:2])), PROJECT["project"]["requires-python"]
    if not SpecifierSet(known).contains(version):
        said = f"some packages have no build for Python {version} (pyproject.toml: {known})"
        session.error(f"{said}; run nox with another: `uvx --python 3.13 nox ...` or `python3.13 -m nox ...`")
    # From an environment too, venv links to the interpreter behind it, so this one outlives the one that nox runs in.
    session.run(sys.executable, "-m", "venv", "--clear", str(folder), external=True)


def prepare(session: nox.Session, group: str = "run") -> None:
    """Make `.venv` with the locked dependencies, and those of a group, unless it is up to date."""
    if not (VENV / "bin/python").exists():
        make(session, VENV)
    if not (VENV / "bin/pip").exists():  # made by `uv venv`, or on a Debian without the package python3-venv
        run(session, "python", "-m", "ensurepip", "--default-pip")
    # pyvenv.cfg names the interpreter and its version: another one put over `.venv` has none of the packages.
    files = [file for file in (LOCK, VENV / "pyvenv.cfg") if file.exists()]
    asked = [PROJECT["project"]["dependencies"], HASHED, WITHOUT_DEPENDENCIES, PROJECT.get("dependency-groups")]
    wanted = hashlib.sha256(b"".join([repr(asked).encode(), *(file.read_bytes() for file in files)])).hexdigest()
    for part in ("stamp",) if group == "stamp" else dict.fromkeys(("run", group)):  # it takes none of the others
        stamp = VENV / f"installed-{part}"
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            continue
        if part == "run":
            session.log(f"installing what {LOCK} names into {VENV}: the first time takes minutes, and downloads {SIZE}")
            hashed = VENV / "hashed.txt"
            hashed.write_text("\n".join(HASHED), encoding="utf-8")
            # pip doesn't check the hash of what is installed already.
            run(session, *PIP, "--no-deps", "--force-reinstall", "--require-hashes", "-r", str(hashed))
            run(session, *PIP, "-c", str(LOCK), "nox", *PROJECT["project"]["dependencies"])  # for README
            if WITHOUT_DEPENDENCIES:
                run(session, *PIP, "--no-deps", *WITHOUT_DEPENDENCIES)
            run(session, "python", "-m", "hallmark.params.schema")
        else:
            run(session, *PIP, "-c", str(LOCK), *nox.project.dependency_groups(PROJECT, part))
        stamp.write_text(wanted, encoding="utf-8")


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, lint and types; `-- --fix` fixes format and lint where it can."""
    prepare(session, "dev")
    fix = "--fix" in session.posargs  # other options are for `tests`: `nox -- -k name` runs both
    run(session, "ruff", "format", *([] if fix else ["--check"]), ".")
    run(session, "ruff", "check", *(["--fix"] if fix else []), ".")
    run(session, "mypy")


@nox.session
def lock(session: nox.Session) -> None:
    """Update requirements.lock to the newest versions that pyproject.toml allows, in an empty environment."""
    folder = Path(session.create_tmp()) / "lock"
    make(session, folder)
    # The package that masks names limits the version of spaCy; the library's wheel has a path, and no version to lock.
    hashed = [line.split()[0] for line in HASHED if "==" in line]
    needed = [*PROJECT["project"]["dependencies"], *(pin for pin in hashed if pin.startswith("en_core_web"))]
    run(session, *PIP, *needed, folder=folder)
    frozen = str(session.run(str(folder / "bin/python"), "-m", "pip", "freeze", external=True, silent=True))
    # `+cpu` is one index's build; nvidia-* and triton come only with torch's CUDA build.
    pins = [re.sub(r"\+\S+$", "", line) for line in frozen.splitlines() if "==" in line]
    pins = [pin for pin in pins if not pin.startswith(("nvidia-", "triton==", "cuda-"))]
    pins = sorted({*pins, *hashed, *WITHOUT_DEPENDENCIES}, key=str.lower)
    pins.insert(0, "# The exact versions of what the stages run on, for pip's -c. Written by `nox -s lock`.")
    LOCK.write_text("\n".join(pins) + "\n", encoding="utf-8")
