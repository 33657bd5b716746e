"""What changed between two releases: data, params, base and code, from their provenance; measures on the records that both have."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hallmark.answer.measures import measures_of
from hallmark.base.errors import HallmarkError
from hallmark.base.files import sha256_file
from hallmark.base.stats import ClusterBootstrap, Interval, mcnemar
from hallmark.release.statements import Base, Commit, Library, Provenance
from hallmark.service.registry.materialize import take_file
from hallmark.task.predictions import Prediction, predictions_of, read_predictions
from hallmark.task.task import Task

ABSENT = object()
MOST = 12  # params, files or libraries that are named
DATA = ("raw data", "split", "holdout lock", "output schema", "data", "gold labels", "bought answers")
WEIGHTS = ("base weights", "quantized weights")


@dataclass(frozen=True)
class Measured:
    """A measure of both, and how far the new one is ahead, on the records that both answered."""

    name: str
    words: str
    before: float
    after: float
    difference: Interval


@dataclass(frozen=True)
class Paired:
    """The answers of both to the same records. `unpaired`: records that one of them lacks, or that have changed."""

    records: int
    groups: int
    unpaired: int
    won: int
    lost: int
    p: float
    measures: list[Measured]


def changed(before: Provenance, after: Provenance) -> list[str]:
    """In lines: what the second was made from, where that differs from the first."""
    return [*_base(before, after), *_data(before, after), *_params(before, after), *_code(before, after)]


def _base(before: Provenance, after: Provenance) -> list[str]:
    then, now = ([one for one in it.build.resolvedDependencies if isinstance(one, Base)] for it in (before, after))
    lines = []
    for one in now:
        was = then[0] if then else None
        if was is not None and (was.name, was.annotations) != (one.name, one.annotations):
            lines.append(
                f"base: {one.name}, {one.annotations.revision or one.annotations.source}; before, {was.name}, {was.annotations.revision or was.annotations.source}"
            )
    files = _files(before, after, WEIGHTS)
    if files:
        lines.append(f"weights: {_named(files)}")
    return lines or ["base: the same"]


def _data(before: Provenance, after: Provenance) -> list[str]:
    rows = [
        {Path(one.name).stem: one.annotations.rows for one in it.build.files if one.annotations.role == "split"}
        for it in (before, after)
    ]
    lines = [
        f"records of {part}: {_count(rows[1].get(part))}; before, {_count(rows[0].get(part))}"
        for part in sorted(rows[0].keys() | rows[1].keys())
        if rows[0].get(part) != rows[1].get(part)
    ]
    if files := _files(before, after, DATA):
        lines.append(f"data: {_named(files)}")
    return lines or ["data: the same"]


def _params(before: Provenance, after: Provenance) -> list[str]:
    found = [*_differing(before.build.externalParameters.params, after.build.externalParameters.params)]
    lines = [f"param {'.'.join(path)}: {_value(now)}; before, {_value(then)}" for path, then, now in found[:MOST]]
    if len(found) > MOST:
        lines.append(f"... and {len(found) - MOST} more params")
    return lines or ["params: the same"]


def _differing(then: Any, now: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """The places where two plain values differ, each with both; a key may hold a dot."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted({*then, *now}, key=str):
            yield from _differing(then.get(key, ABSENT), now.get(key, ABSENT), (*path, str(key)))
    elif then is ABSENT or now is ABSENT or then != now or type(then) is not type(now):
        yield path, then, now


def _code(before: Provenance, after: Provenance) -> list[str]:
    lines = []
    if files := _files(before, after, ("code", "library lock")):
        lines.append(f"code: {_named(files)}")
    commits = [
        next(
            (one.digest.gitCommit for one in it.build.resolvedDependencies if isinstance(one, Commit) and one.digest),
            None,
        )
        for it in (before, after)
    ]
    if lines and all(commits):
        lines.append(f"commits: `git log {str(commits[0])[:12]}..{str(commits[1])[:12]}`")
    libraries = [
        {one.name: one.annotations.version for one in it.build.resolvedDependencies if isinstance(one, Library)}
        for it in (before, after)
    ]
    other = [
        name for name in sorted({*libraries[0], *libraries[1]}) if libraries[0].get(name) != libraries[1].get(name)
    ]
    if other:
        versions = [
            f"{name} {libraries[1].get(name, 'gone')} (before, {libraries[0].get(name, 'not there')})" for name in other
        ]
        lines.append(f"libraries: {_named(versions)}")
    return lines or ["code: the same"]


def _files(before: Provenance, after: Provenance, roles: Sequence[str]) -> list[str]:
    """The files of these roles that differ, each with what became of it."""
    then, now = (
        {one.name: one.digest.sha256 for one in it.build.files if one.annotations.role in roles}
        for it in (before, after)
    )
    found = []
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            found.append(f"{name} ({'new' if name not in then else 'gone' if name not in now else 'changed'})")
    return found


def _named(parts: Sequence[str]) -> str:
    more = f" and {len(parts) - MOST} more" if len(parts) > MOST else ""
    return ", ".join(parts[:MOST]) + more


def _count(rows: int | None) -> str:
    return "none" if rows is None else f"{rows:,}"


def _value(value: Any) -> str:
    if value is ABSENT:
        return "not there"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


# --- measures ----------------------------------------------------------------------------------------------------


def predictions_at(repo: Path, commit: str, provenance: Provenance) -> list[Prediction]:
    """The tuned model's answers to the holdout at a commit; a HallmarkError if neither cache nor remote has them."""
    path = predictions_of("tuned")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / path.name
        take_file(str(repo.resolve()), commit, path.as_posix(), file)
        return predictions_in(file, provenance)


def predictions_in(file: Path, provenance: Provenance) -> list[Prediction]:
    """The tuned model's answers to the holdout in a file, which must be that of the release."""
    if sha256_file(file) != provenance.byproducts.get(predictions_of("tuned").as_posix()):
        problem = "not the file that the release's provenance names"
        raise HallmarkError(problem, file=file.name, remedy="run `dvc checkout`, or `dvc repro eval@tuned`")
    return read_predictions("tuned", file)


def pair(before: Sequence[Prediction], after: Sequence[Prediction]) -> list[tuple[Prediction, Prediction]]:
    """The answers of both to each record that both were asked, and that has not changed since."""
    earlier = {row.id: row for row in before}
    return [
        (then, row)
        for row in after
        if (then := earlier.get(row.id)) is not None
        and (then.group, then.input, then.context, then.target) == (row.group, row.input, row.context, row.target)
    ]


def compare(
    before: Sequence[Prediction],
    after: Sequence[Prediction],
    task: Task,
    spans: Sequence[str],
    *,
    confidence: float,
    draws: int,
    seed: int,
) -> Paired | None:
    """Both on the records that both have, with intervals from a bootstrap that draws groups; None if they share no record."""
    pairs = pair(before, after)
    if not pairs:
        return None
    then, now = [one for one, _ in pairs], [one for _, one in pairs]
    bootstrap = ClusterBootstrap([row.group for row in now], confidence=confidence, draws=draws, seed=seed)
    measures = []
    for measure in measures_of(task, [*then, *now], spans):
        if measure.given(task):
            continue
        first, second = measure.columns(then, spans), measure.columns(now, spans)
        measures.append(
            Measured(
                measure.name,
                measure.words,
                bootstrap.interval(first, measure.statistic).value,
                bootstrap.interval(second, measure.statistic).value,
                bootstrap.interval_of_difference(first, second, measure.statistic),
            )
        )
    passed = [[row.exact_match for row in rows] for rows in (then, now)]
    test = mcnemar(*passed)
    lacking = len({row.id for row in before} | {row.id for row in after}) - len(pairs)
    return Paired(len(pairs), bootstrap.clusters, lacking, test.won, test.lost, test.p, measures)


def paired_lines(found: Paired, name: str) -> list[str]:
    """It in lines; `name`: of the version before."""
    groups = f"{found.groups} group{'' if found.groups == 1 else 's'}"
    lines = [f"on the {found.records:,} holdout records of both ({groups}), in points against {name}:"]
    if found.unpaired:
        lines[0] = lines[0][:-1] + f"; {found.unpaired:,} others are new, gone or changed:"
    lines += [
        f"  {one.words}: {100 * one.after:.1f} %, {100 * one.difference.value:+.1f} [{100 * one.difference.low:+.1f}, {100 * one.difference.high:+.1f}]"
        for one in found.measures
    ]
    return [
        *lines,
        f"  right now and not before: {found.won}; right before and not now: {found.lost} (McNemar's exact test: p = {found.p:.2g})",
    ]


def why_not(error: HallmarkError, name: str) -> str:
    """Why the measures of two versions are not compared, in a line."""
    return f"measures: not compared with {name}, whose answers can't be read ({error.problem})"
