"""The documentation is true where a machine can tell: links, anchors, sessions, modules, params, messages, the picture."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nox
import pytest
from ruamel.yaml import YAML

import noxfile  # noqa: F401 (which declares the sessions)
from hallmark.base.params import ByKind
from hallmark.params.loader import Params, _blocks_in
from tests.workspace import ROOT, report, run_here

INDEX = ROOT / "docs/README.md"
COMMANDS = "python -m pip install nox && python -m nox -s repro"
PAGES = sorted(
    page
    for pattern in ("README.md", "docs/*.md", "template/**/*.md", "tests/**/*.md", "data/**/*.md")
    for page in ROOT.glob(pattern)
)
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]
RULES = {
    "cascade.coverage",
    "cascade.risk",
    "data.leaks",
    "data.holdout_changed",
    "data.private_residue",
    "gate.data.private_residue",
}  # of the gate, now or before; no params
FILES = {"css", "csv", "html", "jinja", "js", "json", "jsonl", "lock", "md", "parquet", "py", "yaml"}  # endings
LINK = re.compile(r"""\]\(([^)\s]+)\)|(?:src|href)="([^"]+)\"""")


def without_code(text: str) -> str:
    """The text less its code: fenced blocks, indented blocks, and what stands in backticks."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"(?:(?<=\n\n)|\A)(?: {4}.*\n|\n)+", "", text)
    return re.sub(r"`[^`]*`", "", text)


def links(page: Path) -> list[str]:
    """The relative links of a page, anchors included."""
    found = [one or other for one, other in LINK.findall(without_code(page.read_text(encoding="utf-8")))]
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 1
        while slug in found:
            slug, number = f"{slug}-{number}", number + 1
        found.add(slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


def test_every_page_is_reached_from_the_index() -> None:
    """The README leads to the index, and the index itself to every page."""
    assert "docs/README.md" in links(ROOT / "README.md")
    linked = {(INDEX.parent / link.partition("#")[0]).resolve() for link in links(INDEX)}
    assert {page for page in (ROOT / "docs").iterdir() if page.suffix == ".md"} - linked == {INDEX}


def test_the_readme_has_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"    {COMMANDS} " in text
    assert "    python -m nox -s tests " in text
    assert COMMANDS in (ROOT / "template/{{ cookiecutter.project_slug }}/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_session_and_module_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert {*re.findall(r"\bnox -s (\w+)", text)} <= nox.registry.get().keys()
    modules = set(re.findall(r"python -m ((?:stages|hallmark)(?:\.\w+)+)", text))
    old = {module for module in modules if module.startswith("stages.tools.")}
    assert page.name == "CHANGELOG.md" or not old
    assert [module for module in modules - old if find_spec(module) is None] == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_param_named_exists(page: Path) -> None:
    """Dotted keys in backticks whose first part is a block of params.yaml, and the keys of blocks shown as YAML."""
    text = page.read_text(encoding="utf-8")
    blocks = keys_of([])
    for name in set(re.findall(r"`([a-z_]+(?:\.[a-z_0-9]+)+)(?=`|: |=)", text)) - RULES:
        if name.split(".")[0] in blocks and not FILES & set(name.split(".")):
            assert known(name.split(".")), f"params.yaml has no {name}"
    for lines in re.findall(r"(?:^ {4}.*\n)+", text, re.MULTILINE):
        shown = textwrap.dedent(lines).strip()
        if shown.splitlines()[:1] in [[f"{block}:"] for block in blocks]:
            for path in paths(YAML(typ="safe").load(shown)):
                assert known(path), f"params.yaml has no {'.'.join(path)}"


def paths(shown: dict[str, Any], *before: str) -> Iterator[list[str]]:
    """The path of each key shown, but of the keys that are free (columns, names of patterns, ...)."""
    if before in (("eval", "comparators"), ("serve", "upstreams")):  # names of blocks that are alike
        shown = {key: value for block in shown.values() for key, value in block.items()}
    for key, value in shown.items():
        yield [*before, key]
        if isinstance(value, dict) and keys_of([*before, key]):
            yield from paths(value, *before, key)


def known(path: list[str]) -> bool:
    """Whether a key is allowed there, in any form of its block (each kind of server has keys of its own)."""
    *above, last = path
    return last in keys_of(above) or (bool(above) and not keys_of(above) and known(above))


def keys_of(path: list[str]) -> set[str]:
    """The keys of the block at that path, in all of its forms."""
    models: list[Any] = [Params]
    for part in path:
        infos = [info for model in models for name, info in model.model_fields.items() if part in (name, info.alias)]
        models = []
        for info in infos:
            by_kind = [check.func for check in info.metadata if isinstance(getattr(check, "func", None), ByKind)]
            models += [block for check in by_kind for block in check.kinds().values()] or _blocks_in(info.annotation)
    return {info.alias or name for model in models for name, info in model.model_fields.items()}


def test_the_messages_explained_are_those_of_the_code() -> None:
    """docs/troubleshooting.md quotes parts of messages in backticks, in the first column of its tables."""
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    files = [
        ROOT / "noxfile.py",
        *(ROOT / "stages").rglob("*.py"),
        *(ROOT / "hallmark").rglob("*.py"),
        *(ROOT / "template/hooks").glob("*.py"),
    ]
    code = "\n".join(file.read_text(encoding="utf-8") for file in files)
    quoted = [re.match(r"\| `([^`]+)`", line) for line in text.splitlines()]
    messages = [match[1] for match in quoted if match]
    assert len(messages) > 20
    assert [message for message in messages if message not in code] == []


def test_the_results_shown_are_those_committed() -> None:
    """Each line of the table is one that `repro` prints for the reports; a line may be cut at its end."""
    printed = run_here(ROOT, "hallmark.commands.summary").stdout.splitlines()
    for name in ("README.md", "docs/results.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        table = re.search(r"^    (?:A linear model wins|\d+ holdout records;).*?(?=^\S)", text, re.M | re.S)
        assert table, name
        lines = [line.removeprefix("    ").rstrip() for line in table[0].splitlines() if line.strip()]
        assert len(lines) > 12
        assert [line for line in lines if not any(one.startswith(line) for one in printed)] == []
    page, gate = html.unescape((ROOT / "docs/report.html").read_text(encoding="utf-8")), report(ROOT, "gate")
    assert [rule["name"] for rule in gate["rules"] if rule["measured"] not in page] == [], "the page is of another run"
