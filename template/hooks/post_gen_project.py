"""Finish the new repo: move the chosen files into place, make the library's wheel, delete the rest, make a first commit."""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

KIND, BASE, LICENCE = "{{ cookiecutter.kind }}", "{{ cookiecutter.base_model }}", "{{ cookiecutter.licence }}"
MACHINE = "{{ cookiecutter.machine }}"
REMOTE = "{{ cookiecutter.dvc_remote | replace('\\', '\\\\') }}"
HOLDER = """{{ cookiecutter.copyright_holder | replace('\\', '\\\\') | replace('"', '\\"') }}"""
CI = {"github": Path(".github/workflows/ci.yml"), "gitlab": Path(".gitlab-ci.yml")}
CHOICES = Path("choices")


if not Path("stages").is_dir() or not CHOICES.is_dir():
    sys.exit(
        "the template's symbolic links are plain text files, from a zip download or on Windows: "
        "clone with git, on Linux, macOS or WSL"
    )
if sys.version_info < (3, 11):
    sys.exit(f"cookiecutter runs on Python {sys.version.split()[0]}; Hallmark takes 3.11 to 3.14: `uvx --python 3.13 cookiecutter ...`")
sys.path.insert(0, str(Path.cwd()))
from hallmark.base.errors import HallmarkError, without_secrets  # noqa: E402 (these take no packages, which aren't installed yet)
from hallmark.base.wheel import write_wheel  # noqa: E402
from hallmark.params.edit import changed, value_of  # noqa: E402
from hallmark.params.presets import advice, prepared, size_by_name  # noqa: E402

PRICE = "price of the machine, in your currency, for the price of 1,000 requests and what `decide` makes of it; null: not stated"

params = Path("params.yaml").read_text(encoding="utf-8")
kind = CHOICES / "kinds" / KIND
# The changes for the kind, for the base, and for the kind with that base; then those for the machine.
try:
    for file in (kind / "params.yaml", CHOICES / "bases" / f"{BASE}.yaml", kind / "bases" / f"{BASE}.yaml"):
        if file.exists():
            params = changed(params, file.read_text(encoding="utf-8"))
    size = size_by_name(value_of(params, "base.name"))
    params = prepared(params, MACHINE, size)
    # The key itself is made by the first run: one made here would differ in each rendering of an update.
    params = changed(params, "certify.name: {{ cookiecutter.project_slug }}\ndata.pseudonyms: keyed")
    params = changed(params, f"benchmark.price_per_hour: null  # {PRICE}")
except HallmarkError as error:
    sys.exit(f"the template is broken: {error}")
Path("params.yaml").write_text(params, encoding="utf-8", newline="\n")
(kind / "params.yaml").unlink()
shutil.rmtree(kind / "bases", ignore_errors=True)
(kind / "records.py").replace("stages/records.py")  # instead of the reference's
shutil.move(kind, "data")
for line in advice(params, MACHINE, size):
    print(line)
licence = (CHOICES / "licences" / LICENCE).read_text(encoding="utf-8").replace("{holder}", HOLDER)
Path("LICENSE").write_text(licence, encoding="utf-8", newline="\n")
if LICENCE != "Apache-2.0":  # which the pipeline's own files keep
    shutil.copyfile(CHOICES / "licences" / "Apache-2.0", "stages/LICENSE")
# The library goes in as one file that pip checks by its hash, made of the very sources that the template was taken with.
wheel = write_wheel(
    Path("library"), Path("hallmark"), Path("docs"), CHOICES / "licences" / "Apache-2.0", CHOICES / "library.toml"
)
pinned = f'  "{wheel.as_posix()} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}",\n'
for file, old, new in (
    ("pyproject.toml", "hashed = [\n", f"hashed = [\n{pinned}"),
    ("dvc.yaml", "deps: [hallmark,", "deps: [library,"),
):
    text = Path(file).read_text(encoding="utf-8")
    if text.count(old) != 1:
        sys.exit(f"the template is broken: {file} has no single {old!r}")
    Path(file).write_text(text.replace(old, new), encoding="utf-8", newline="\n")
shutil.rmtree("hallmark")
shutil.rmtree("docs")
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
# From which commit and with which answers, for `nox -s update`. cruft, which gives no `_repo_dir`, writes the same itself.
answers = json.loads(r"""{{ cookiecutter | tojson }}""")
here = Path(os.environ.get("PWD", ""))  # where cookiecutter was started, which the hook is not
command = ["git", "-C", here / answers.get("_repo_dir", "none"), "rev-parse", "--show-prefix", "--show-toplevel", "HEAD"]
where = subprocess.run(command, capture_output=True, text=True).stdout.split("\n") if shutil.which("git") else []
if "_repo_dir" in answers and where[0] == "template/":
    source = where[1]
    if not (here / answers["_template"]).exists():  # an address, of which cookiecutter made a clone
        command = ["git", "-C", source, "remote", "get-url", "origin"]
        source = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        source = without_secrets(source) if source.startswith("http") else source  # ssh needs its user
    answers = {name: value for name, value in answers.items() if name[0] != "_"} | {"_template": source}
    record = {"template": source, "commit": where[2], "checkout": None, "context": {"cookiecutter": answers}}
    text = json.dumps(record | {"directory": "template"}, ensure_ascii=False, indent=2) + "\n"
    Path(".cruft.json").write_text(text, encoding="utf-8", newline="\n")
if "{{ cookiecutter.initialise_git }}" == "yes":
    identity = []
    if subprocess.run(["git", "config", "user.email"], capture_output=True).returncode != 0:
        identity = ["-c", "user.name=Hallmark", "-c", "user.email=hallmark@localhost"]
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main"], check=True)
    subprocess.run(["git", "add", "--all"], check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "--message", "Stamp {{ cookiecutter.project_slug }}"], check=True)
sessions = "vllm repro" if value_of(params, "benchmark.server.kind") == "vllm" else "repro"
print(f"next: cd {shlex.quote(str(Path.cwd()))} && python -m pip install nox && python -m nox -s {sessions}")
print("your own data: put a file into data/raw, then python -m nox -s propose -- data/raw/FILE")
