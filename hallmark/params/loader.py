"""The one typed loader of `params.yaml`: `load_params()` checks every key and type, or says what to fix.

What `params.yaml` leaves out is in `defaults.yaml`, and `resolved()` has both. No field has another default and no value is
changed on loading. That is why this module is not a dependency in `dvc.yaml`: the stage `code` writes the resolved values to
`code/params.json`, where DVC tracks them. YAML is read as version 1.2, as DVC reads it, so `2e-4` is a number to both.
"""

from __future__ import annotations

import copy
import difflib
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError, model_validator
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hallmark.answer.params import Cascade, Classical, Compare, Decide, Eval
from hallmark.base.dvc_lock import parse_yaml
from hallmark.base.errors import HallmarkError, run_stage, without_secrets
from hallmark.base.loaded_code import FOLDER, PARAMS, tracked
from hallmark.base.params import Block, ByKind, Compute, Data, Dedupe, Seed, Split
from hallmark.base.reading import DEPTH, check_regular, read_object, read_text
from hallmark.judge.params import Certify, Gate
from hallmark.mask.params import Mask
from hallmark.model.base_params import Base, Choose
from hallmark.model.params import Curve, Dpo, Sft, Tune
from hallmark.params.edit import DEFAULTS, defaults
from hallmark.params.service import Canary, Collect, Serve
from hallmark.serve.params import Benchmark
from hallmark.task.kinds import KINDS
from hallmark.task.params import Task

MOST_PROBLEMS = 20  # named in one error
NEAR = 3  # most names like an unknown key's that an error lists
RENAMED = {  # what params are called now: until the next release, an old name is an error that says so
    "classical.strength": "classical.C",
    "compare.difference": "compare.min_detectable_effect",
    "compare.draws": "compare.bootstrap_samples",
    "dpo.accumulation": "dpo.gradient_accumulation_steps",
    "dpo.schedule": "dpo.lr_scheduler",
    "dpo.warmup": "dpo.warmup_ratio",
    "sft.accumulation": "sft.gradient_accumulation_steps",
    "sft.patience": "sft.early_stopping_patience",
    "sft.schedule": "sft.lr_scheduler",
    "sft.warmup": "sft.warmup_ratio",
    "tune.startup": "tune.startup_trials",
}
SELECTORS = ("kind", "source", "engine")  # keys that say which others a block has; `data.engine` says nothing of others


class Params(Block):
    seed: Seed
    compute: Compute
    data: Data
    records: dict[str, Any]  # passed to stages/records.py as it is
    task: Task
    base: Base
    mask: Mask
    dedupe: Dedupe
    split: Split
    sft: Sft
    dpo: Dpo
    eval: Eval
    classical: Classical
    compare: Compare
    cascade: Cascade
    benchmark: Benchmark
    gate: Gate
    decide: Decide
    certify: Certify
    choose: Choose
    tune: Tune
    curve: Curve
    serve: Serve
    canary: Canary
    collect: Collect

    @model_validator(mode="after")
    def _fits_together(self) -> Params:
        if problem := next(self._contradictions(), None):
            raise ValueError(problem)
        return self

    def _contradictions(self) -> Iterator[str]:
        """What one block says against another, each beginning with the param to change."""
        if self.eval.facts and not KINDS[self.task.kind].free_text:
            yield "eval.facts: only free-text replies (task.kind text) have facts; set it to {}"
        known = ["base", *self.eval.comparators]
        for param in ("superiority", "non_inferiority"):
            if unknown := [name for name in getattr(self.gate, param) if name not in (*known, "classical")]:
                there = ", ".join((*known, "classical"))
                yield f"gate.{param}: no baseline '{unknown[0]}'; there are {there} (eval.comparators adds others)"
        if self.gate.margins_against not in known:
            yield f"gate.margins_against: no baseline '{self.gate.margins_against}'; there are {', '.join(known)}"
        if self.cascade.fallback not in ("human", *known):
            yield f"cascade.fallback: no '{self.cascade.fallback}'; there are {', '.join(('human', *known))}"
        if self.gate.cascade is not None and self.cascade.max_risk is None:
            yield "gate.cascade: there is no cascade to judge, since cascade.max_risk is null"
        if self.task.tool_format == "template" and self.eval.constrained:
            yield "eval.constrained: constrained decoding supports JSON only; set it to 0, or task.tool_format to json"
        for param, server in (("eval.engine", self.eval.engine), ("benchmark.server", self.benchmark.server)):
            if without_secrets(urls := str(getattr(server, "url", ""))) != urls:
                yield f"{param}.url: git keeps this file, so no user, password or query; name the key's variable in key"
        if self.task.schema_file is None:  # the stages could do without, but DVC accepts no null as a dependency
            yield 'task.schema: name a file; for free text, one that holds {"type": "string"}'


def run_with_params(name: str, doc: str | None, run: Callable[[Params], Any]) -> None:
    """The command line of a stage without options of its own: load the parameters and run."""
    run_stage(name, doc, lambda arguments: run(load_params(arguments.params)))


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check the parameters. A bad file ends in one `HallmarkError` that lists every problem.

    So does, in a stage that DVC runs, a file with other values than those that dvc.lock will have.
    """
    raw = resolved(path)
    compared = os.environ.get("DVC_STAGE", FOLDER.name) != FOLDER.name and PARAMS.is_file()
    if compared and repr(tracked(raw)) != repr(read_object(PARAMS)):
        raise HallmarkError(
            f"has other values than {PARAMS}, where DVC compares them", file=path, remedy="run `dvc repro` again"
        )
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = [_explain(detail, raw) for detail in error.errors(include_url=False)[:MOST_PROBLEMS]]
        fields = ", ".join(field for field, _, _ in problems)
        raise HallmarkError(
            "; ".join(problem for _, problem, _ in problems),
            file=path,
            field=fields or None,
            remedy="; ".join(dict.fromkeys(remedy for _, _, remedy in problems)),
        ) from None


def resolved(path: Path = Path("params.yaml")) -> dict[str, Any]:
    """The values of all params as plain data, unchecked: those of the file over the defaults."""
    return merged(_read(path))


def merged(values: dict[str, Any]) -> dict[str, Any]:
    """The content of a params.yaml over the defaults, in their order.

    Blocks are merged key by key. A list, and a mapping with names of the user's, are replaced as a whole; so is a block of
    another kind than the default's.
    """
    order = {name: place for place, name in enumerate(defaults())}

    def sort(block: dict[str, Any], at: str = "") -> dict[str, Any]:
        return {key: block[key] for key in sorted(block, key=lambda key: order.get(f"{at}{key}", len(order)))}

    found = sort(copy.deepcopy(_over(default_values(), values, [Params])))
    return {name: sort(block, f"{name}.") if isinstance(block, dict) else block for name, block in found.items()}


@cache
def default_values() -> dict[str, Any]:
    return _read(DEFAULTS)


def _over(defaults: dict[str, Any], values: dict[str, Any], models: list[type[BaseModel]]) -> dict[str, Any]:
    fields = {info.alias or name: info for model in models for name, info in model.model_fields.items()}
    result = dict(defaults)
    for key, value in values.items():
        default = defaults.get(key)
        result[key] = value
        if key not in fields or not isinstance(default, dict):
            continue
        named = get_origin(fields[key].annotation) is dict  # by the user
        if value is None and not (named and default):  # nothing stands below it, or only comments
            result[key] = default
        if not isinstance(value, dict):
            continue
        inner = [] if named or not of_same_kind(default, value) else _block_types(fields[key], default)
        result[key] = _over(default, value, inner) if inner else value
    return result


def of_same_kind(default: dict[str, Any], value: dict[str, Any]) -> bool:
    """Whether a block is of the kind that its default is of, and so takes over what it leaves out."""
    selectors = () if "cluster" in default else SELECTORS  # the block `data`
    return all(
        not isinstance(default.get(key), str) or value.get(key, default[key]) == default[key] for key in selectors
    )


def _read(path: Path) -> dict[str, Any]:
    """The content of the YAML file; where it is no YAML, an error that names the row."""
    check_regular(path, "run from the root of the repository, or name the file with --params")
    text = read_text(path, "save the file as UTF-8")
    try:
        return parse_yaml(text, path)
    except HallmarkError as refused:
        yaml = YAML(typ="safe", pure=True)
        yaml.max_depth = DEPTH
        try:
            yaml.load(text)
        except YAMLError as error:
            problem = f"not valid YAML: {getattr(error, 'problem', None) or type(error).__name__}"
            mark = getattr(error, "problem_mark", None)
            row = mark.line + 1 if mark else None
            raise HallmarkError(problem, file=path, row=row, remedy="fix the syntax at that row") from None
        except Exception:  # of a tag, such as !!int
            raise refused from None
        raise


def _explain(detail: Any, raw: dict[str, Any]) -> tuple[str, str, str]:
    """Turn one pydantic error into (dotted field, problem, remedy)."""
    location = [str(part) for part in detail["loc"]]
    field, kind = ".".join(location), detail["type"]
    if kind == "extra_forbidden" and field in RENAMED:
        return field, f"'{field}' is called '{RENAMED[field]}' now", f"rename '{field}' to '{RENAMED[field]}'"
    if kind == "extra_forbidden":
        known = sorted(_known(location[:-1], raw))
        near = [f"'{name}'" for name in difflib.get_close_matches(location[-1], known, NEAR)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"known here: {', '.join(known)}"
        return field, f"'{field}' is not a known parameter", f"remove or rename '{field}' ({hint})"
    if field == "base.revision":
        remedy = "set base.revision to the full 40-digit commit hash shown in the model page's 'Files' tab "
        remedy += "(a branch name such as 'main' can change under you)"
        return field, "the base model is not pinned to a commit", remedy
    if kind == "missing":
        info = _known(location[:-1], raw).get(location[-1])  # which describes itself in a block without defaults
        said = info.description if info else None
        return field, f"'{field}' is missing", f"add '{field}'{f' ({said})' if said else _effect(field)}"
    if kind == "value_error":  # raised by a block's own check, whose message usually starts with the key
        message = str(detail["ctx"]["error"])
        key = re.match(r"([a-z_]+(?:\.\w+)*): ", message)
        name = key[1] if key else field
        return name, message if key else f"'{field}': {message}", f"change it in params.yaml{_effect(name)}"
    problem = f"'{field}': {detail['msg']} (got {type(detail['input']).__name__})"
    return field, problem, f"give '{field}' another value{_effect(field)}"


def _effect(name: str) -> str:
    """What defaults.yaml says of a param, or of the one that it is in: no command shows it while params.yaml is not valid."""
    while name not in defaults() and "." in name:
        name = name.rpartition(".")[0]
    return f" ({effect})" if name in defaults() and (effect := defaults()[name].effect) else ""


def _known(location: list[str], raw: Any) -> dict[str, FieldInfo]:
    models: list[type[BaseModel]] = [Params]
    for part in location:
        if isinstance(raw, list):
            raw = raw[int(part)]
            continue
        raw = raw[part]
        models = [
            block
            for model in models
            for name, info in model.model_fields.items()
            if part in (name, info.alias)
            for block in _block_types(info, raw)
        ] or _of_kind(models, raw)  # a name of the user's, in a mapping from names to blocks: their keys are known
    return {info.alias or name: info for model in models for name, info in model.model_fields.items()}


def _of_kind(models: list[type[BaseModel]], raw: Any) -> list[type[BaseModel]]:
    """Those of the models that the `kind` in a block selects; all of them if it selects none."""
    kind = raw.get("kind") if isinstance(raw, dict) else None
    fields = [(model, model.model_fields.get("kind")) for model in models]
    return [model for model, field in fields if field and kind in get_args(field.annotation)] or models


def _block_types(info: FieldInfo, raw: Any) -> list[type[BaseModel]]:
    for check in _checks(info):
        if isinstance(check, ByKind) and (block := check.block(raw)):
            return [block]
    return _blocks_in(info.annotation)


def _checks(info: FieldInfo) -> list[Any]:
    return [getattr(part, "func", None) for part in info.metadata]


def _blocks_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    by_kind = [getattr(part, "func", None) for part in getattr(annotation, "__metadata__", ())]
    if found := [check for check in by_kind if isinstance(check, ByKind)]:
        return [kind for check in found for kind in check.kinds().values()]
    return [block for argument in getattr(annotation, "__args__", ()) for block in _blocks_in(argument)]
