"""Write the JSON Schema of params.yaml, by which editors complete and check it: `python -m hallmark.params.schema`.

What a key does is said once: in the comment of `defaults.yaml`, or, for a key that only another base, server or comparator has,
in the `Field` of its block. `nox -s setup` runs this.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from hallmark.base.errors import run_stage, with_pages
from hallmark.base.files import write_text
from hallmark.base.params import ByKind
from hallmark.params.edit import defaults
from hallmark.params.loader import Params

SCHEMA = Path(".venv/params.schema.json")  # as the first line of params.yaml says
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
    """The JSON Schema of a params.yaml; `comments` say what each key does, by its dotted name."""
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
    """The schema, with each key's comment as its description. The loader alone says what is missing: a block may be empty."""
    if not path:
        schema.pop("description", None)
    for form in (schema, *schema.get("anyOf", [])):
        form.pop("required", None)
        for name, inner in form.get("properties", {}).items():
            at = f"{path}.{name}".lstrip(".")
            if said := comments.get(at) or comments.get(f"{SAME.get(path, path)}.{name}"):
                inner["description"] = said
            _described(inner, at, comments)
            if "properties" in inner:
                inner["type"] = ["object", "null"]
            elif any("properties" in kind for kind in inner.get("anyOf", [])):
                inner["anyOf"] = [*inner["anyOf"], {"type": "null"}]
    return schema


def comments() -> dict[str, str]:
    return {name: default.effect for name, default in defaults().items() if default.effect}


def main(arguments: argparse.Namespace) -> None:
    SCHEMA.parent.mkdir(exist_ok=True)
    write_text(SCHEMA, with_pages(json.dumps(params_schema(comments()), ensure_ascii=False, indent=2)) + "\n")


if __name__ == "__main__":
    run_stage("schema", __doc__, main)
