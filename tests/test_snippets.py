"""Every command and every piece of Python in README and docs: run as it stands, or parsed by the program that it calls.

- Run: the Python of docs/extending.md by tests/test_extending.py, that of docs/serving.md and docs/your-data.md here, and the
  code of a model card by tests/test_model_card.py.
- Parsed: commands of Python, nox and DVC. The program's own parser reads the command, so that a command, a session or an
  option that doesn't exist is found.
- `<!-- not run: REASON -->` before a block says that it needs what a test hasn't got (an account, a rented machine, another
  program). What can be parsed of it still is.

Blocks of YAML are checked in tests/test_docs.py, and so are the results shown.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nox
import pytest

import noxfile
from hallmark import records as helpers
from hallmark.answer.endpoint import answer_schema, response_format
from hallmark.params.loader import load_params
from hallmark.records.recipe import load
from hallmark.task.task import Task
from tests.bench.corpora import __main__ as corpora
from tests.gpu import __main__ as gpu
from tests.test_docs import PAGES
from tests.workspace import ROOT, as_main, written

BLOCK = re.compile(
    r"(?P<marked><!-- not run: [^>]+ -->\n\n)?"
    r"(?:^```(?P<language>\w*)\n(?P<fenced>.*?)^```$|(?:(?<=\n\n)|\A)(?P<indented>(?: {4}[^\n]*\n|\n(?= {4}))+))",
    re.DOTALL | re.MULTILINE,
)
RUN_ELSEWHERE = {"docs/extending.md"}  # tests/test_extending.py
SERVING, RECIPES = "docs/serving.md", "docs/your-data.md"  # their Python is run below
OTHERS = {"cd", "mkdir", "echo", "source", "rm", "sha256sum", "git", "hf", "cookiecutter", "cruft", "openssl"}
PROGRAMS = {"python", "nox", "dvc", "rsync", "sky", "for", *OTHERS}  # the others are not parsed
SESSIONS = {  # what a session hands its options to, if that is not its last step in noxfile.py
    "repro": ["dvc", "repro"],
    "bench": None,
    "tests": None,
    "vllm": None,
}


@dataclass(frozen=True)
class Snippet:
    page: str
    language: str  # sh or python
    text: str
    marked: bool  # as not run

    @property
    def commands(self) -> list[list[str]]:
        """The simple commands of a shell snippet, as words."""
        return [command for line in self.text.replace("\\\n", " ").splitlines() for command in simple(line)]


def simple(line: str) -> Iterator[list[str]]:
    """The simple commands of a line: without comments, loops and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if re.fullmatch(r"[;&|()]+", word):
            while words and words[0] in ("do", "done", "break"):
                words.pop(0)
            if words and words[0] != "for":
                yield words[: words.index(">")] if ">" in words else words
            words = []
        else:
            words.append(word)


def snippets_of(page: Path) -> Iterator[Snippet]:
    name, text = page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        language, content = block["language"], block["fenced"]
        if block["indented"] is not None:
            content = re.sub(r"^ {4}", "", block["indented"], flags=re.MULTILINE)
            if prompted := re.findall(r"^\$ (.*)$", content, re.MULTILINE):
                content = "\n".join(prompted)
            first = content.split(maxsplit=1)[0]
            language = "sh" if first in PROGRAMS else "python" if first in ("import", "from") else ""
        if language in ("sh", "bash", "shell", "console"):
            yield Snippet(name, "sh", content, bool(block["marked"]))
        elif language == "python":
            yield Snippet(name, "python", content, bool(block["marked"]))


SNIPPETS = [snippet for page in PAGES if not page.is_symlink() for snippet in snippets_of(page)]
COMMANDS = [snippet for snippet in SNIPPETS if snippet.language == "sh"]


def test_the_snippets_are_found() -> None:
    assert len(COMMANDS) > 30
    assert {snippet.page for snippet in COMMANDS} >= {"README.md", "docs/serving.md", "docs/releases.md", "docs/dvc.md"}


@pytest.mark.parametrize("snippet", COMMANDS, ids=lambda snippet: f"{snippet.page}:{snippet.text[:30]}")
def test_every_command_is_one_that_its_program_reads(snippet: Snippet) -> None:
    subprocess.run(["bash", "-n", "-c", snippet.text], check=True)
    for command in snippet.commands:
        read(command, snippet.marked)


def read(command: list[str], marked: bool) -> None:
    """Fail unless the program of a command reads it; what is marked as not run may call a program that isn't here."""
    program, *options = command
    try:
        if program == "python":
            read_python(options)
        elif program == "nox":
            read_session(options)
        elif program == "dvc":
            dvc_parser().parse_args(options)
        else:
            assert marked or program in OTHERS, f"{program}: mark the block as not run, or add it here"
    except AssertionError:
        raise
    except (SystemExit, Exception) as error:  # each library's parser has errors of its own
        raise AssertionError(f"{shlex.join(command)}: not what its parser takes ({error})") from None


def read_python(options: list[str]) -> None:
    if options[0] == "-c":
        compile(options[1], "-c", "exec")
        return
    assert options[0] == "-m"
    module, *rest = options[1:]
    if module == "nox":
        read_session(rest)
    elif module == "pip":
        assert rest[0] in ("install", "wheel", "download")
    elif module in ("tests.gpu", "tests.bench.corpora"):
        (gpu if module == "tests.gpu" else corpora).command_line().parse_args(rest)
    elif module.startswith(("stages.", "hallmark.")):
        parser_of(module).parse_args(rest)
    else:
        assert module in ("vllm.entrypoints.openai.api_server",), module


def read_session(options: list[str]) -> None:
    assert options[0] == "-s"
    session, *rest = options[1:]
    assert session in nox.registry.get(), f"no session {session}"
    assert rest[:1] in ([], ["--"])
    if not rest[1:]:
        return
    (package,) = (package for package, lines in noxfile.SESSIONS.items() if session in lines)
    step = noxfile.STEPS.get(session, [f"python -m {package}.{session}"])[-1]
    if target := SESSIONS.get(session, shlex.split(step)):
        read([*target, *rest[1:]], marked=False)


@cache
def parser_of(module: str) -> argparse.ArgumentParser:
    """The parser with which a stage or a tool reads its command line, as the module makes it when it is run."""
    made: list[argparse.ArgumentParser | None] = []

    def caught(name: str, doc: str | None, main: Any, parser: argparse.ArgumentParser | None = None) -> None:
        made.append(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hallmark.base.errors.run_stage", caught)
        patch.setattr("hallmark.params.loader.run_stage", caught)
        as_main(module)
    parser = made[0] or argparse.ArgumentParser(prog=module)
    parser.add_argument("--params")
    return parser


@cache
def dvc_parser() -> argparse.ArgumentParser:
    from dvc.cli.parser import get_main_parser

    return get_main_parser()


def test_all_python_is_run_somewhere() -> None:
    assert {
        snippet.page for snippet in SNIPPETS if snippet.language == "python" and not snippet.marked
    } == RUN_ELSEWHERE | {SERVING, RECIPES}


def test_the_request_that_serving_shows_is_the_one_that_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = (snippet for snippet in SNIPPETS if snippet.page == SERVING and snippet.language == "python")
    sent: dict[str, Any] = {}
    monkeypatch.setattr("httpx.post", lambda url, json: sent.update(url=url, body=json))
    monkeypatch.chdir(ROOT)
    messages = [{"role": "user", "content": "Where is my parcel?"}]
    exec(compile(snippet.text, SERVING, "exec"), {"messages": messages})  # noqa: S102
    task = Task(load_params(ROOT / "params.yaml").task)
    assert sent["url"].endswith("/v1/chat/completions")
    assert sent["body"]["messages"] == messages
    assert sent["body"]["response_format"] == response_format(answer_schema(task))


# What the recipes of docs/your-data.md read besides the logs in tests/exports.
TABLES = {
    "helpdesk.csv": "conversation,part,text,intent\nc1,train,hi,greeting\nc1,test,??,outofdomain\n",
    "products.csv": "code,product\nK1,kettle\n",
    "tickets.csv": "id,customer,subject,body,code,reason,status,channel,name,email\n"
    "1,c1,Broken,It leaks,K1,refnd,open,web,Ann Lee,ann@example.com\n"
    "2,c2,Hi,Where is it?,K9,delivery,draft,web,Bo Ng,bo@example.com\n"
    "3,c2,Hi,Where is it?,K9,delivery,open,web,Bo Ng,bo@example.com\n",
}
MADE = {
    "helpdesk": ["greeting"],
    "products": ["refund", "delivery"],
    "openai": ["refund", "billing"],
    "langfuse": ["refund", "billing"],
    "otel": ["refund", "delivery", "billing"],
}


def test_the_recipes_of_the_page_on_data_run(tmp_path: Path) -> None:
    written(tmp_path, {f"data/raw/{name}": text for name, text in TABLES.items()})
    shutil.copytree(ROOT / "tests/exports", tmp_path / "data/raw", dirs_exist_ok=True)
    recipes = [snippet.text for snippet in SNIPPETS if snippet.page == RECIPES and snippet.language == "python"]
    assert len(recipes) == len(MADE)
    for text in recipes:
        written(tmp_path, {"records.py": text})
        (name,) = {name for name in MADE if f"data/raw/{name}" in text}
        targets = [str(record.target) for record in load(tmp_path / "records.py").run({}, tmp_path)]
        intents = [re.sub(r'.*"intent": "(\w+)".*', r"\1", target) for target in targets]
        assert intents == MADE[name]


def test_the_helpers_of_that_page_give_what_it_says() -> None:
    text = (ROOT / RECIPES).read_text(encoding="utf-8").partition("| these | are |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w.*?)` \| `(.*?)` \|$", text, re.MULTILINE)
    assert len(rows) == 4
    for call, result in rows:
        assert eval(call, vars(helpers)) == ast.literal_eval(result), call  # noqa: S307 (of our own page)
