"""What changed between two releases: data, params, base and code, from their provenance; measures on the records that both have."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hallmark.answer.measures import measures_of
from hallmark.base.errors import HallmarkError
from hallmark.base.figures import signed
from hallmark.base.files import RELEASE, sha256_file
from hallmark.base.stats import mcnemar
from hallmark.judge.bootstrap import bootstrap_of
from hallmark.params.loader import Params
from hallmark.release.statements import Base, Commit, Library, Provenance, read_provenance
from hallmark.service.registry.folders import release_of, take
from hallmark.service.registry.registry import Version
from hallmark.task.predictions import Prediction, predictions_of, read_predictions
from hallmark.task.task import Task

ABSENT = object()
MOST = 12  # params, files or libraries that are named
DATA = ("raw data", "split", "holdout lock", "output schema", "data", "gold labels", "bought answers")
ANSWERS = predictions_of("tuned")


def since(before: Version, params: Params, repo: Path = Path()) -> list[str]:
    """In lines, what changed from a version to the release here: what it was made from, and the measures."""
    try:
        then, now = read_provenance(release_of(before, repo)), read_provenance(repo / RELEASE)
    except HallmarkError as error:
        return [f"not known: {before.version} can't be read ({error.problem})"]
    lines = made_from(then, now)
    try:
        with tempfile.TemporaryDirectory() as name:
            take(repo, before.commit, ANSWERS, Path(name))
            earlier = answers_in(Path(name), then)
        return [*lines, *compared(earlier, answers_in(repo, now), before.version, params)]
    except HallmarkError as error:
        return [*lines, f"measures: not compared with {before.version}, whose answers can't be read ({error.problem})"]


# --- what it was made from ---------------------------------------------------------------------------------------


def made_from(before: Provenance, after: Provenance) -> list[str]:
    """In lines: what the second was made from, where that differs from the first."""
    code = _files("code", before, after, "code", "library lock")
    sections = {
        "base": [*_bases(before, after), *_files("weights", before, after, "base weights", "quantized weights")],
        "data": [*_rows(before, after), *_files("data", before, after, *DATA)],
        "params": _params(before, after),
        "code": [*code, *(_commits(before, after) if code else []), *_libraries(before, after)],
    }
    return [line for name, lines in sections.items() for line in lines or [f"{name}: the same"]]


def _bases(*both: Provenance) -> list[str]:
    names = (
        [f"{one.name}, {one.annotations.revision or one.annotations.source}" for one in _of(it, Base)] for it in both
    )
    return [f"base: {now}; before, {then}" for then, now in zip(*names, strict=False) if then != now]


def _rows(*both: Provenance) -> list[str]:
    then, now = (
        {Path(one.name).stem: one.annotations.rows for one in it.build.files if one.annotations.role == "split"}
        for it in both
    )
    return [
        f"records of {part}: {_count(now.get(part))}; before, {_count(then.get(part))}" for part in _differ(then, now)
    ]


def _params(before: Provenance, after: Provenance) -> list[str]:
    found = [*_values(before.build.externalParameters.params, after.build.externalParameters.params)]
    more = [f"... and {len(found) - MOST} more params"] if len(found) > MOST else []
    return [f"param {'.'.join(path)}: {_value(now)}; before, {_value(then)}" for path, then, now in found[:MOST]] + more


def _values(then: Any, now: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """The places where two plain values differ, each with both; a key may hold a dot."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted({*then, *now}, key=str):
            yield from _values(then.get(key, ABSENT), now.get(key, ABSENT), (*path, str(key)))
    elif then is ABSENT or now is ABSENT or then != now or type(then) is not type(now):
        yield path, then, now


def _commits(*both: Provenance) -> list[str]:
    commits = [one.digest.gitCommit[:12] for it in both for one in _of(it, Commit) if one.digest]
    return [f"commits: `git log {'..'.join(commits)}`"] if len(commits) == 2 else []


def _libraries(*both: Provenance) -> list[str]:
    then, now = ({one.name: one.annotations.version for one in _of(it, Library)} for it in both)
    others = [f"{name} {now.get(name, 'gone')} (before, {then.get(name, 'not there')})" for name in _differ(then, now)]
    return _named("libraries", others)


def _files(what: str, before: Provenance, after: Provenance, *roles: str) -> list[str]:
    """The files of these roles that differ, each with what became of it."""
    then, now = (
        {one.name: one.digest.sha256 for one in it.build.files if one.annotations.role in roles}
        for it in (before, after)
    )
    fate = {
        name: "new" if name not in then else "gone" if name not in now else "changed" for name in _differ(then, now)
    }
    return _named(what, [f"{name} ({became})" for name, became in fate.items()])


def _of(provenance: Provenance, kind: type) -> list[Any]:
    return [one for one in provenance.build.resolvedDependencies if isinstance(one, kind)]


def _differ(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))


def _named(what: str, parts: Sequence[str]) -> list[str]:
    more = f" and {len(parts) - MOST} more" if len(parts) > MOST else ""
    return [f"{what}: {', '.join(parts[:MOST])}{more}"] if parts else []


def _count(rows: int | None) -> str:
    return "none" if rows is None else f"{rows:,}"


def _value(value: Any) -> str:
    if value is ABSENT:
        return "not there"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


# --- measures ----------------------------------------------------------------------------------------------------


def answers_in(folder: Path, provenance: Provenance) -> list[Prediction]:
    """The tuned model's answers to the holdout below a folder, which must be those of the release."""
    if sha256_file(folder / ANSWERS) != provenance.byproducts.get(ANSWERS.as_posix()):
        problem = "not the file that the release's provenance names"
        raise HallmarkError(problem, file=ANSWERS, remedy="run `dvc checkout`, or `dvc repro eval@tuned`")
    return read_predictions("tuned", folder / ANSWERS)


def pair(before: Sequence[Prediction], after: Sequence[Prediction]) -> list[tuple[Prediction, Prediction]]:
    """The answers of both to each record that both were asked, and that has not changed since."""
    earlier = {row.id: row for row in before}
    return [
        (then, row)
        for row in after
        if (then := earlier.get(row.id)) is not None
        and (then.group, then.input, then.context, then.target) == (row.group, row.input, row.context, row.target)
    ]


def compared(before: Sequence[Prediction], after: Sequence[Prediction], name: str, params: Params) -> list[str]:
    """Both on the records that both have, in lines, with intervals from a bootstrap that draws groups.

    `name`: of the version before.
    """
    pairs = pair(before, after)
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
