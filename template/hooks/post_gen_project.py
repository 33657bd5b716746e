"""Finish the new repo: no caches of the source tree, links that were really followed, a first commit if wanted."""

import shutil
import subprocess
import sys
from pathlib import Path

if not Path("stages").is_dir():
    sys.exit(
        "the template's links came out as text files: a zip download, or Windows without links. "
        "Clone with git (on Windows: `git -c core.symlinks=true clone`, in developer mode)"
    )
for cache in sorted(Path().rglob("__pycache__")):
    shutil.rmtree(cache)
if "{{ cookiecutter.initialise_git }}" == "yes":
    identity = []
    if subprocess.run(["git", "config", "user.email"], capture_output=True).returncode != 0:
        identity = ["-c", "user.name=Hallmark", "-c", "user.email=hallmark@localhost"]
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main"], check=True)
    subprocess.run(["git", "add", "--all"], check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "--message", "Stamp {{ cookiecutter.project_slug }}"], check=True)
print("next: cd {{ cookiecutter.project_slug }} && python -m pip install nox && python -m nox -s repro")
