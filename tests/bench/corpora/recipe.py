"""A recipe: where a real corpus comes from, and what its stamped repo has in params.yaml and data/schema.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from ruamel.yaml import YAML

from hallmark.base.errors import HallmarkError
from hallmark.base.files import sha256_file, write_json
from hallmark.base.params import Block, Line, Positive, Sha256
from hallmark.base.reading import read_json_lines
from hallmark.params.edit import changed

FOLDER = Path(__file__).parent
VARIABLE = "HALLMARK_CORPORA"  # the environment variable that names the folder with the corpora


class Recipe(Block):
    """What a corpus's YAML file says."""

    title: Line  # of the row in docs/results.md
    kind: Literal["extraction", "classification", "tool_call", "text"]
    file: Line  # in the folder of the corpora
    sha256: Sha256  # of that file, as it was when the row was made
    rows: Positive
    columns: dict[str, str]  # of the file, each with what it holds
    source: Line  # the upstream repository
    licence: Line
    looked_at: Line  # whether anyone read it while the product or the recipe was made
    propose: list[Line]  # options of `propose` in addition to --yes
    params: dict[str, Any]  # by dotted name: what is changed by hand after `propose`
    doc_schema: Annotated[dict[str, Any] | None, Field(alias="schema")]  # null: as proposed

    def origin(self) -> str:
        """Where the file comes from, for somebody who lacks it."""
        columns = "; ".join(f"{name}: {holds}" for name, holds in self.columns.items())
        return f"{self.file} is made from {self.source} (licence {self.licence}), one JSON object a line ({columns})"


def names() -> list[str]:
    """The corpora that have a recipe."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def recipe_file(name: str) -> Path:
    return FOLDER / f"{name}.yaml"


def script_file(name: str) -> Path:
    """What the corpus's repo has as `stages/records.py`."""
    return FOLDER / f"{name}.py"


def read_recipe(name: str) -> Recipe:
    """The recipe of that name; a HallmarkError if there is none or it is not right."""
    file = recipe_file(name)
    if not file.is_file():
        raise HallmarkError("no such corpus", field=name, remedy=f"name one of {', '.join(names())}")
    try:
        return Recipe.model_validate(YAML(typ="safe").load(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise HallmarkError(
            first["msg"], file=file, field=field, remedy="see recipe.py for what a recipe has"
        ) from None


def corpus_file(recipe: Recipe, folder: Path | None) -> Path:
    """The corpus's file; a HallmarkError that says where it comes from if it is missing or has other columns."""
    if folder is None:
        raise HallmarkError(
            "no folder of corpora is named",
            remedy=f"get the corpora, and name their folder with --folder or in {VARIABLE}. {recipe.origin()}",
        )
    file = folder / recipe.file
    if not file.is_file():
        raise HallmarkError(
            "no such file", file=file, remedy=f"put it there, or name another folder. {recipe.origin()}"
        )
    first = next(iter(read_json_lines(file)), {})
    if lacking := [name for name in recipe.columns if name not in first]:
        raise HallmarkError(
            "its first row lacks columns",
            file=file,
            field=", ".join(lacking),
            remedy=f"make it again. {recipe.origin()}",
        )
    return file


def difference(recipe: Recipe, file: Path) -> str | None:
    """What tells that the file is not the one that the row in docs/results.md was made from; None if it is."""
    if sha256_file(file) == recipe.sha256:
        return None
    return f"{file} is not byte for byte the file of docs/results.md, so figures may differ from those there"


def set_up(repo: Path, recipe: Recipe, more: dict[str, Any]) -> None:
    """Write the recipe's params and schema into a stamped repo, and then the params of `more`; comments stay."""
    params = repo / "params.yaml"
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in (recipe.params | more).items()]
    params.write_text(changed(params.read_text(encoding="utf-8"), "\n".join(lines)), encoding="utf-8")
    if recipe.doc_schema is not None:
        write_json(repo / "data/schema.json", recipe.doc_schema)
