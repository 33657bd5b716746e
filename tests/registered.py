"""A repository with real git and real DVC in which releases are registered, none of them in a stage.

On `main`: v0.1.0, and at its end v0.2.0. On branches from there: `waived` (v0.3.0, with a waived rule), `compared` (v0.4.0,
compared with v0.1.0 as `prod`) and `failed` (its gate said no, so it is not registered).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from runpy import run_module

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.params.edit import replaced
from hallmark.service.commands.promote import follow_prod
from hallmark.service.registry.promotion import register
from hallmark.service.registry.registry import Registry
from tests.small_pipeline import reproduce, shell

WAIVED = {"superiority.base": "it can't write the product: see #12"}


def make_registered(small: Path, repo: Path) -> None:
    """Copy the small pipeline, and make and register its releases."""
    shutil.copytree(small, repo)
    shell("git config user.name Ann && git config user.email ann@example.com", repo)
    with working_in(repo):
        register(Path())
        another({"sft.learning_rate": "3.0e-3"})
        register(Path())
        branch("waived")
        another({"gate.waive": f'{{superiority.base: "{WAIVED["superiority.base"]}"}}'})
        register(Path())
        branch("compared")
        follow_prod(Path("params.yaml"), Registry.read(Path()).find("v0.1.0"), 0.02)
        another({"sft.learning_rate": "1.0e-3"})
        register(Path())
        branch("failed")
        another({"sft.learning_rate": "2.0"})
        shell("git checkout -q main && dvc checkout -q && git repack -adq", repo)


def branch(name: str) -> None:
    """A new branch from the end of `main`."""
    shell(f"git checkout -q -b {name} main", Path())


def another(values: dict[str, str]) -> None:
    """A new release with these params, as written, in the working directory; it is committed."""
    file = Path("params.yaml")
    text = file.read_text(encoding="utf-8")
    file.write_text(replaced(text, {name: [f" {value}"] for name, value in values.items()}), encoding="utf-8")
    reproduce(Path())
    shell("git add -A && git commit -qm more", Path())


def refused(action: Callable[[], object]) -> HallmarkError:
    with pytest.raises(HallmarkError) as caught:
        action()
    return caught.value


def tool(name: str, *options: str) -> None:
    """Run a tool in this process, as its command line would; what it prints, `capsys` has."""
    before = sys.argv
    sys.argv = [name, *options]
    try:
        run_module(f"hallmark.service.commands.{name}", run_name="__main__", alter_sys=True)
    finally:
        sys.argv = before


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """The working directory for the length of the block."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
