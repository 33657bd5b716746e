"""The lines of params.yaml that compare each new release with the one in prod: `eval.comparators.prod`, and a rule of the gate."""

from __future__ import annotations

from pathlib import Path

from hallmark.answer.comparators.adapter import digest_of_base
from hallmark.base.errors import HallmarkError
from hallmark.base.files import QUANTIZED, sha256_file
from hallmark.base.reading import read_text
from hallmark.model.adapter import CONFIG, TENSORS, TRAINING
from hallmark.params.checked import write
from hallmark.params.edit import added, replaced, value_of
from hallmark.params.loader import load_params
from hallmark.service.registry.folders import Folders, materialize
from hallmark.service.registry.registry import Version

NAME = "prod"
BLOCK, RULES = "eval.comparators", "gate.non_inferiority"
MARGIN = 0.02
FIRST = f"{NAME}:  # the release in prod, which `nox -s promote` keeps up to date"


def follow_prod(params: Path, version: Version, margin: float | None) -> list[str]:
    """Make `eval.comparators.prod` the version that is in prod now; comments and all other lines stay.

    `margin`: also if there is none yet, with a rule of the gate that no release may be behind it by more than that; None:
    only if there is one. Returns what was written and what is left to do, in lines; none if nothing was.
    """
    text, known = read_text(params), load_params(params)
    settings = known.eval.comparators.get(NAME)
    if settings is None and margin is None:
        return []
    if settings is not None and settings.kind != "adapter":
        problem = f"is a comparator of kind {settings.kind}, not the adapter that is in prod"
        raise HallmarkError(problem, param=f"{BLOCK}.{NAME}", remedy="give it another name")
    values, lines, new = pinned(materialize(version)), [], text
    if settings is None:
        new = added(new, BLOCK, [FIRST, "  kind: adapter", *(f"  {key}: {value}" for key, value in values.items())])
    else:
        new = replaced(new, {f"{BLOCK}.{NAME}.{key}": [f" {value}"] for key, value in values.items()})
    if new != text:
        lines.append(f"params.yaml: {BLOCK}.{NAME} is {values['folder']}")
    if margin is not None and NAME not in known.gate.non_inferiority:
        new = with_rule(new, f"{NAME}: {margin:g}")
        lines.append(f"params.yaml: {RULES} has {NAME}: {margin:g}, the most by which a release may be behind it")
    if not lines:
        return []
    write(params, new)
    return [*lines, "commit params.yaml and run `nox -s repro`: the next release is compared with it"]


def pinned(folders: Folders) -> dict[str, str]:
    """The settings of the comparator, as YAML."""
    release, weights = folders.release, folders.weights
    other = weights != QUANTIZED
    return {
        "folder": release.as_posix(),
        "sha256": sha256_file(release / TENSORS),
        "config_sha256": sha256_file(release / CONFIG),
        "base": weights.as_posix() if other else "null",
        "base_sha256": digest_of_base(weights, release / TRAINING) if other else "null",
    }


def with_rule(text: str, rule: str) -> str:
    """The text with one more entry of `gate.non_inferiority`, which may stand on one line."""
    written = value_of(text, RULES)
    if written in ("", "{}"):
        return replaced(text, {RULES: [f" {{{rule}}}"]}) if written else added(text, RULES, [rule])
    return replaced(text, {RULES: [f" {written.removesuffix('}').rstrip()}, {rule}}}"]})
