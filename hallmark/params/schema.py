"""Write the JSON Schema of params.yaml, by which editors complete and check it: `python -m hallmark.params.schema`.

What a key does is said once: in the comment of `defaults.yaml`, or, for a key that only another base, server or comparator has,
in the `Field` of its block. Only what has no default is required. `nox -s setup` runs this.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from hallmark.base.errors import run_stage
from hallmark.base.files import write_text
from hallmark.base.params import ByKind
from hallmark.params.edit import defaults
from hallmark.params.loader import SELECTORS, Params, default_values

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
    """The schema, with each key's comment as its description, and what has a default not required."""
    if not path:
        schema.pop("description", None)
    for form in (schema, *schema.get("anyOf", [])):
        if "required" in form and _of_default(form["properties"], path):
            if kinds := _selected(form["properties"], path):
                form |= {"if": {"properties": kinds}, "else": {"required": form["required"]}}
            form["required"] = [name for name in form["required"] if _required(f"{path}.{name}".lstrip("."))]
        for name, inner in form.get("properties", {}).items():
            at = f"{path}.{name}".lstrip(".")
            said = comments.get(at) or comments.get(f"{SAME.get(path, path)}.{name}")
            if said:
                inner["description"] = said
            _described(inner, at, comments)
            if _may_be_empty(inner, at):
                inner |= (
                    {"anyOf": [*inner["anyOf"], {"type": "null"}]} if "anyOf" in inner else {"type": ["object", "null"]}
                )
    return schema


def _may_be_empty(schema: dict[str, Any], name: str) -> bool:
    """Whether a key may have nothing below it, or only comments: it is a block, and all that it holds has a default."""
    default: Any = default_values()
    for key in name.split("."):
        default = default.get(key) if isinstance(default, dict) else None
    return default == {} or (
        isinstance(default, dict) and not schema.get("required") and bool({"properties", "anyOf"} & schema.keys())
    )


def _selected(properties: dict[str, Any], path: str) -> dict[str, Any]:
    """What keys that say which others a block has must be for it to be of the default's kind, where they may be another."""
    names = {key: f"{path}.{key}" for key in SELECTORS if "enum" in properties.get(key, {}) and path != "data"}
    return {
        key: {"const": defaults()[name].values[0]}
        for key, name in names.items()
        if name in defaults() and not defaults()[name].required
    }


def _of_default(properties: dict[str, Any], path: str) -> bool:
    """Whether a block is of the default's kind, and so takes over what it leaves out."""
    written = {key: defaults()[name].values[0] for key in SELECTORS if (name := f"{path}.{key}") in defaults()}
    return all(properties.get(key, {}).get("const", kind) == kind for key, kind in written.items())


def _required(name: str) -> bool:
    """Whether params.yaml must have a key, or one below it."""
    known = [default.required for other, default in defaults().items() if f"{other}.".startswith(f"{name}.")]
    return any(known) or not known


def comments() -> dict[str, str]:
    return {name: default.effect for name, default in defaults().items() if default.effect}


def main(arguments: argparse.Namespace) -> None:
    SCHEMA.parent.mkdir(exist_ok=True)
    write_text(SCHEMA, json.dumps(params_schema(comments()), ensure_ascii=False, indent=2) + "\n")


if __name__ == "__main__":
    run_stage("schema", __doc__, main)
