"""Check that the locked packages have wheels for every Python of pyproject.toml, on Linux and macOS: `nox -s wheels`.

It installs none of them, only uv, in a temporary environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.specifiers import SpecifierSet

from hallmark.base.errors import HallmarkError, run_stage

LOCK = Path("requirements.lock")
# Published without a wheel: pure Python, which pip builds without a compiler.
SOURCES = ("antlr4-python3-runtime", "rouge_score", "sqlitedict", "word2number")
SYSTEMS = {  # what uv calls them; macOS from version 14 on
    "Linux, x86-64, glibc 2.31": "x86_64-manylinux_2_31",
    "Linux, arm64, glibc 2.31": "aarch64-manylinux_2_31",
    "macOS 14, arm64": "aarch64-apple-darwin",
}


def main() -> None:
    """Print a line for each Python and system, or raise a HallmarkError with what uv says."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = SpecifierSet(project["requires-python"])
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    pins = "\n".join(line for line in lines if not line.startswith(SOURCES))
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        if subprocess.run([f"{place}/bin/python", "-m", "pip", "install", "--quiet", "uv"]).returncode:
            remedy = "see what pip says above: it needs the network, or an index in its settings (`pip config list`)"
            raise HallmarkError("pip could not install uv, which looks for the wheels", remedy=remedy)
        for version in (f"3.{minor}" for minor in range(100) if known.contains(f"3.{minor}")):
            for system, name in SYSTEMS.items():
                command = [f"{place}/bin/uv", "pip", "compile", "-", "--no-deps", "--no-build"]
                command += ["--python-version", version, "--python-platform", name]
                environment = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
                done = subprocess.run(command, input=pins, env=environment, capture_output=True, text=True)
                if done.returncode:
                    problem = f"no wheel for Python {version} on {system}:\n{done.stderr.strip()}"
                    raise HallmarkError(problem, file=LOCK, remedy="lock another version of that package")
                print(f"Python {version} on {system}: all wheels", flush=True)


if __name__ == "__main__":
    run_stage("wheels", __doc__, lambda _: main())
