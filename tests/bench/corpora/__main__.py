"""Run real corpora through stamped repos and print their rows for docs/results.md: `python -m tests.bench.corpora [NAME ...]`.

For each corpus: stamp a repo from this template, let `propose --yes` write its schema and limits, set what the recipe says, take
its script for `stages/records.py`, run the whole pipeline. A corpus that is finished isn't run again, and one that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import sha256_file, write_json
from hallmark.base.reading import read_object
from hallmark.records.recipe import RECIPE
from tests.bench.corpora.recipe import (
    VARIABLE,
    Recipe,
    corpus_file,
    difference,
    names,
    read_recipe,
    recipe_file,
    script_file,
    set_up,
)
from tests.bench.corpora.row import figures, line
from tests.workspace import ROOT

INTO = Path("../hallmark-corpora")
IDENTITY = ("-c", "user.name=Hallmark", "-c", "user.email=hallmark@localhost")


def command_line() -> argparse.ArgumentParser:
    """What `python -m tests.bench.corpora` takes."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.corpora", description=__doc__)
    parser.add_argument("name", nargs="*", metavar="NAME", help=f"of a corpus ({', '.join(names())}); none: all")
    parser.add_argument("--folder", type=Path, help=f"where the corpora's files are (default: what {VARIABLE} names)")
    parser.add_argument("--into", type=Path, default=INTO, help="where the stamped repos go (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="delete a corpus's stamped repo and start over")
    parser.add_argument("--until", metavar="STAGE", help="stop after this stage; no row is printed")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PARAM=VALUE", help="also change this param; the row names it"
    )
    return parser


def main(given: argparse.Namespace) -> None:
    """Run the corpora, one after the other, and print their rows."""
    folder = given.folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    recipes = {name: read_recipe(name) for name in given.name or names()}
    files = {name: corpus_file(recipe, folder) for name, recipe in recipes.items()}  # before any of them runs
    changes = dict(map(change, given.set))
    for name, recipe in recipes.items():
        finished = run(name, recipe, files[name], given.into, changes, given.again, given.until)
        if finished:
            print(line(name, recipe, read_object(finished), changes))


def change(text: str) -> tuple[str, Any]:
    """`param=value` as its two parts, the value read as YAML."""
    param, equals, value = text.partition("=")
    if not equals:
        raise HallmarkError("not PARAM=VALUE", field=text, remedy="write --set compute.threads=1")
    return param, YAML(typ="safe").load(value)


def run(
    name: str, recipe: Recipe, file: Path, into: Path, changes: dict[str, Any], again: bool, until: str | None
) -> Path | None:
    """Bring one corpus through its stamped repo; the file with its figures, or None if it stops before the end."""
    repo, started, finished = into / name, into / f"{name}.started.json", into / f"{name}.json"
    made_from = {
        "recipe": sha256_file(recipe_file(name)),
        "script": sha256_file(script_file(name)),
        "corpus": sha256_file(file),
        "changes": changes,
    }
    if again and started.exists():  # else it is not ours to delete
        shutil.rmtree(repo, ignore_errors=True)
        for old in (started, finished):
            old.unlink(missing_ok=True)
    if started.exists() and read_object(started)["made_from"] != made_from:
        raise HallmarkError(
            "was made from another recipe, corpus or --set", file=repo, remedy="run with --again, which starts over"
        )
    if finished.exists():
        print(f"{name}: finished already, in {repo}; --again runs it again")
        return finished
    if words := difference(recipe, file):
        print(f"{name}: {words}")
    if not started.exists():
        if repo.exists():
            raise HallmarkError("exists, but this command didn't make it", file=repo, remedy="move it, or set --into")
        into.mkdir(parents=True, exist_ok=True)
        stamp(name, recipe, file, repo, changes)
        write_json(started, {"made_from": made_from, "seconds": 0})
    before, start = read_object(started)["seconds"], time.monotonic()
    try:
        call(repo, "dvc", "repro", *([until] if until else []))
    finally:  # what was stopped counts too
        seconds = before + time.monotonic() - start
        write_json(started, {"made_from": made_from, "seconds": round(seconds)})
    if until:
        return None
    call(repo, "python", "-m", "hallmark.commands.summary")
    write_json(finished, figures(repo, seconds))
    return finished


def stamp(name: str, recipe: Recipe, file: Path, repo: Path, changes: dict[str, Any]) -> None:
    """Make the repo, its params and its schema, and commit them; a half-made repo doesn't stay."""
    try:
        answers = [f"project_slug={name}", f"kind={recipe.kind}"]
        source = [str(ROOT), "--directory", "template", "--no-input", "--output-dir", str(repo.parent)]
        call(Path.cwd(), "cookiecutter", *source, *answers)
        shutil.copyfile(file, repo / "data/raw" / file.name)
        set_up(repo, recipe, changes)  # `propose` stops where a stage would; what it sets itself is set again
        call(repo, "python", "-m", "hallmark.commands.propose", f"data/raw/{file.name}", "--yes", *recipe.propose)
        set_up(repo, recipe, changes)
        shutil.copyfile(script_file(name), repo / RECIPE)
        call(repo, "git", "add", "--all")
        call(repo, "git", *IDENTITY, "commit", "--quiet", "--message", f"Set up for {recipe.title}")
    except BaseException:
        shutil.rmtree(repo, ignore_errors=True)
        raise


def call(folder: Path, *command: str) -> None:
    """Run a command in a folder, with the packages and the library of this environment, and the recipes of the folder."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    code = os.pathsep.join([str(folder.resolve()), str(ROOT)])
    environment = os.environ | {"PATH": path, "PYTHONPATH": code}
    done = subprocess.run(command, cwd=folder, env=environment, check=False)
    if done.returncode:
        raise HallmarkError(
            f"`{' '.join(command)}` ended with exit code {done.returncode}",
            file=folder,
            remedy="its own message is above; after a fix, the same command goes on from here",
        )


if __name__ == "__main__":
    run_stage("corpora", __doc__, main, command_line())
