"""Finish the new repo: move the chosen files into place, delete the rest, and make a first commit if requested."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

KIND, BASE, LICENCE = "{{ cookiecutter.kind }}", "{{ cookiecutter.base_model }}", "{{ cookiecutter.licence }}"
REMOTE = "{{ cookiecutter.dvc_remote | replace('\\', '\\\\') }}"
HOLDER = """{{ cookiecutter.copyright_holder | replace('\\', '\\\\') | replace('"', '\\"') }}"""
CI = {"github": Path(".github/workflows/ci.yml"), "gitlab": Path(".gitlab-ci.yml")}
CHOICES = Path("choices")


def changed(params: str, changes: str) -> str:
    """params.yaml with some keys changed, by dotted name; comments stay. Indented lines after a key are its new block."""
    wanted: dict[str, list[str]] = {}
    for line in changes.splitlines():
        if line.startswith(" "):
            wanted[next(reversed(wanted))].append(line)
        elif line and not line.startswith("#"):
            name, value = line.split(":", 1)
            wanted[name] = [value]
    lines, path, skipping = [], [], None
    for line in params.splitlines():
        indent = len(line) - len(line.lstrip())
        if skipping is not None and line.strip() and indent > skipping:
            continue
        skipping = None if line.strip() else skipping
        key = re.match(r"( *)([\w-]+):( |$)", line)
        if key:
            path = [*path[: indent // 2], key[2]]
        name = ".".join(path)
        if not key or name not in wanted:
            lines.append(line)
            continue
        value, *block = wanted.pop(name)
        comment = re.search(r"  #.*", line)
        note = comment[0] if comment and "  #" not in value else ""
        lines += [f"{key[1]}{key[2]}:{value}{note}", *(key[1] + extra for extra in block)]
        skipping = indent
    if wanted:
        sys.exit(f"the template is broken: params.yaml has no {', '.join(wanted)}")
    return "\n".join(lines) + "\n"


if not Path("stages").is_dir() or not CHOICES.is_dir():
    sys.exit(
        "the template's symbolic links are plain text files, from a zip download or on Windows: "
        "clone with git, on Linux, macOS or WSL"
    )
params = Path("params.yaml").read_text(encoding="utf-8")
kind = CHOICES / "kinds" / KIND
# The changes for the kind, for the base, and for the kind with that base.
for file in (kind / "params.yaml", CHOICES / "bases" / f"{BASE}.yaml", kind / "bases" / f"{BASE}.yaml"):
    if file.exists():
        params = changed(params, file.read_text(encoding="utf-8"))
# The key itself is made by the first `nox -s repro`: one made here would differ in each rendering of `cruft update`.
params = changed(params, "certify.name: {{ cookiecutter.project_slug }}\ndata.pseudonyms: keyed")
Path("params.yaml").write_text(params, encoding="utf-8", newline="\n")
(kind / "params.yaml").unlink()
shutil.rmtree(kind / "bases", ignore_errors=True)
shutil.move(kind, "data")
licence = (CHOICES / "licences" / LICENCE).read_text(encoding="utf-8").replace("{holder}", HOLDER)
Path("LICENSE").write_text(licence, encoding="utf-8", newline="\n")
if LICENCE != "Apache-2.0":  # which the pipeline's own files keep
    shutil.copyfile(CHOICES / "licences" / "Apache-2.0", "stages/LICENSE")
if "{{ cookiecutter.ci }}" in CI:
    target = CI["{{ cookiecutter.ci }}"]
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(CHOICES / "ci" / "{{ cookiecutter.ci }}.yml", target)
if REMOTE != "none":
    config = Path(".dvc/config")
    url = f"../{REMOTE}" if REMOTE.startswith(".") else REMOTE  # DVC resolves paths from .dvc/
    section = f"    remote = storage\n['remote \"storage\"']\n    url = {url}\n"
    config.write_text(config.read_text(encoding="utf-8").rstrip("\n") + "\n" + section, encoding="utf-8", newline="\n")
shutil.rmtree(CHOICES)
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
