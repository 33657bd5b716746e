"""What changed between two releases: data, params, base and code, from their provenance; measures on the records that both have."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hallmark.answer.measures import measures_of
from hallmark.answer.predictions import bootstrap_of
from hallmark.base.errors import HallmarkError
from hallmark.base.figures import signed
from hallmark.base.files import RELEASE, sha256_file
from hallmark.base.stats import mcnemar
from hallmark.params.loader import Params
from hallmark.release.statements import Provenance, read_provenance
from hallmark.service.registry.folders import release_of, take
from hallmark.service.registry.registry import Version
from hallmark.task.predictions import Prediction, predictions_of, read_predictions
from hallmark.task.task import Task

HERE = Path()
MOST = 12  # differences of a section that are named
SECTIONS = {  # by the role of a file
    **dict.fromkeys(("base weights", "quantized weights"), "base"),
    **dict.fromkeys(
        ("raw data", "split", "holdout lock", "output schema", "data", "gold labels", "bought answers"), "data"
    ),
    **dict.fromkeys(("code", "library lock"), "code"),
}
ANSWERS = predictions_of("tuned")


def since(before: Version, params: Params) -> list[str]:
    """In lines, what changed from a version to the release here: what it was made from, and the measures."""
    try:
        then, now = read_provenance(release_of(before, HERE)), read_provenance(RELEASE)
    except HallmarkError as error:
        return [f"not known: {before.version} can't be read ({error.problem})"]
    lines = made_from(then, now)
    try:
        with tempfile.TemporaryDirectory() as name:
            take(HERE, before.commit, ANSWERS, Path(name))
            earlier = answers_in(Path(name), then)
        return [*lines, *compared(earlier, answers_in(HERE, now), before.version, params)]
    except HallmarkError as error:
        return [*lines, f"measures: not compared with {before.version}, whose answers can't be read ({error.problem})"]


# --- what it was made from ---------------------------------------------------------------------------------------


def made_from(before: Provenance, after: Provenance) -> list[str]:
    """In lines: what the second was made from, where that differs from the first."""
    lines = []
    for (section, then), now in zip(_sections(before).items(), _sections(after).values(), strict=True):
        changed = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        lines += [
            f"{name}: {now.get(name, 'not there')}; before, {then.get(name, 'not there')}" for name in changed[:MOST]
        ]
        lines += [f"... and {len(changed) - MOST} more of {section}"] if len(changed) > MOST else []
        lines += [] if changed else [f"{section}: the same"]
    return lines


def _sections(provenance: Provenance) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {"base": {}, "data": {}, "params": {}, "code": {}}
    for one in provenance.build.resolvedDependencies:
        if one.role == "base model":
            found["base"]["base"] = f"{one.name}, {one.annotations.revision or one.annotations.source}"
        elif one.role == "installed library":
            found["code"][f"library {one.name}"] = str(one.annotations.version)
        elif section := SECTIONS.get(one.role):
            found[section][one.name] = one.sha256[:12]
            if one.annotations.rows is not None and one.role == "split":
                found[section][f"records of {Path(one.name).stem}"] = f"{one.annotations.rows:,}"
    found["params"] = dict(_values("param ", provenance.build.externalParameters.params))
    return found


def _values(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _values(f"{name}{'' if name.endswith(' ') else '.'}{key}", inner)
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
        yield name, text if len(text) <= 80 else f"{text[:77]}..."


# --- measures ----------------------------------------------------------------------------------------------------


def answers_in(folder: Path, provenance: Provenance) -> list[Prediction]:
    """The tuned model's answers to the holdout below a folder, which must be those of the release."""
    if sha256_file(folder / ANSWERS) != provenance.byproducts.get(ANSWERS.as_posix()):
        problem = "not the file that the release's provenance names"
        raise HallmarkError(problem, file=ANSWERS, remedy="run `dvc checkout`, or `dvc repro eval@tuned`")
    return read_predictions("tuned", folder / ANSWERS)


def compared(before: Sequence[Prediction], after: Sequence[Prediction], name: str, params: Params) -> list[str]:
    """Both on the records that both were asked and that have not changed since, in lines; the bootstrap draws groups.

    `name`: of the version before.
    """

    def asked(row: Prediction) -> tuple[object, ...]:
        return row.id, row.group, row.input, row.context, row.target

    earlier = {asked(row): row for row in before}
    pairs = [(earlier[asked(row)], row) for row in after if asked(row) in earlier]
    if not pairs:
        return [f"measures: not compared with {name}, with which no holdout record is shared"]
    then, now = [one for one, _ in pairs], [one for _, one in pairs]
    bootstrap, task = bootstrap_of(now, params), Task(params.task)
    groups = f"{bootstrap.clusters} group{'' if bootstrap.clusters == 1 else 's'}"
    lacking = len({row.id for row in before} | {row.id for row in after}) - len(pairs)
    others = f"; {lacking:,} others are new, gone or changed" if lacking else ""
    lines = [f"on the {len(pairs):,} holdout records of both ({groups}), in points against {name}{others}:"]
    for measure in measures_of(task, [*then, *now]):
        if not measure.given(task):
            first, second = measure.columns(then), measure.columns(now)
            value = 100 * bootstrap.interval(second, measure.statistic).value
            gain = bootstrap.interval_of_difference(first, second, measure.statistic)
            ahead, low, high = signed(gain)
            lines.append(f"  {measure.words}: {value:.1f} %, {ahead} [{low}, {high}]")
    test = mcnemar([row.exact_match for row in then], [row.exact_match for row in now])
    lines.append(
        f"  right now and not before: {test.won}; right before and not now: {test.lost} (McNemar's exact test: p = {test.p:.2g})"
    )
    return lines
