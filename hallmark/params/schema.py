"""Write the JSON Schema of params.yaml, by which editors complete and check it: `python -m hallmark.params.schema`.

What a key does is said once: in the comment of `params.yaml`, or, for a key that only another base or server has, in the
`Field` of its block. `--check` only says whether the schema is current.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import write_text
from hallmark.base.params import ByKind
from hallmark.base.reading import read_text
from hallmark.params.loader import Params

SCHEMA = Path(__file__).with_name("schema.json")
COMMAND = "python -m hallmark.params.schema"
SAME = {"eval.engine": "benchmark.server"}  # blocks whose keys have their comments in another


class _Writer(GenerateJsonSchema):
    """Describes a block whose kind selects its keys as any of its kinds; pydantic sees only what they share."""

    def function_before_schema(self, schema: Any) -> JsonSchemaValue:
        check = schema["function"]["function"]
        if not isinstance(check, ByKind):
            return super().function_before_schema(schema)
        kinds = [self.generate_inner(block.__pydantic_core_schema__) for block in check.kinds().values()]
        return {"anyOf": kinds}


def params_schema(comments: dict[str, str]) -> dict[str, Any]:
    """The JSON Schema of params.yaml; `comments` say what each key does, by its dotted name."""
    written = Params.model_json_schema(by_alias=True, schema_generator=_Writer)
    blocks = written.pop("$defs")
    whole = _described(_inlined(written, blocks), "", comments)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "params.yaml", **whole}


def _inlined(value: Any, blocks: dict[str, Any]) -> Any:
    """The schema without references, titles, and what classes say of themselves to who reads the code."""
    if isinstance(value, list):
        return [_inlined(item, blocks) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        block = blocks[value["$ref"].removeprefix("#/$defs/")]
        value = {key: item for key, item in block.items() if key != "description"} | value
        del value["$ref"]
    return {
        key: {name: _inlined(item, blocks) for name, item in inner.items()}
        if key == "properties"
        else _inlined(inner, blocks)
        for key, inner in value.items()
        if key not in ("title", "discriminator")
    }


def _described(schema: dict[str, Any], path: str, comments: dict[str, str]) -> dict[str, Any]:
    """The schema, with each key's comment as its description."""
    if not path:
        schema.pop("description", None)
    if isinstance(named := schema.get("additionalProperties"), dict):  # blocks by a name of the user's
        example = next((at.removeprefix(f"{path}.").split(".")[0] for at in comments if at.startswith(f"{path}.")), "")
        _described(named, f"{path}.{example}", comments)
    for form in (schema, *schema.get("anyOf", [])):
        for name, inner in form.get("properties", {}).items():
            at = f"{path}.{name}".lstrip(".")
            said = comments.get(at) or comments.get(f"{SAME.get(path, path)}.{name}")
            if said:
                inner["description"] = said
            _described(inner, at, comments)
    return schema


def comments_of(text: str) -> dict[str, str]:
    """The comments in the text of params.yaml, by dotted key: those right above a key, then the one on its line."""
    found: dict[str, str] = {}
    path: list[str] = []
    above: list[str] = []
    for line in text.splitlines():
        if comment := re.fullmatch(r" *# ?(.*)", line):
            above.append(comment[1])
            continue
        if key := re.match(r"( *)(\w+):(?: |$)", line):
            path = [*path[: len(key[1]) // 2], key[2]]
            own = re.search(r"  # (.*)", line)
            if words := " ".join([*above, *([own[1]] if own else [])]):
                found[".".join(path)] = words
        above = []
    return found


def text_of_schema(params: Path) -> str:
    """The content of schema.json."""
    text = read_text(params, "run from the root of the repository, or name the file with --params")
    return json.dumps(params_schema(comments_of(text)), ensure_ascii=False, indent=2) + "\n"


def main(arguments: argparse.Namespace) -> None:
    """Command line: write the schema, or check that it is current."""
    text = text_of_schema(arguments.params)
    if not arguments.check:
        write_text(SCHEMA, text)
    elif not SCHEMA.exists() or SCHEMA.read_text(encoding="utf-8") != text:
        raise HallmarkError("not the schema of the params", file=SCHEMA.name, remedy=f"run `{COMMAND}`")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail unless the schema is current")
    return parser


if __name__ == "__main__":
    run_stage("schema", __doc__, main, _parser())
