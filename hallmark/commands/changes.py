"""Not a stage: show which records changed since another run: `python -m hallmark.commands.changes --against REV`.

REV is a commit (or branch, or tag) or the name of an experiment of `dvc exp run`. The predictions of that run come from
DVC's cache; those of this run are the ones in the working directory. Writes reports/against.html, which neither git nor
DVC keeps.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hallmark.base import provenance as prov
from hallmark.base.dvc_lock import YAML_BYTES
from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import HOLDOUT, REPORTS, TRAIN, write_text
from hallmark.base.stats import mcnemar
from hallmark.commands.experiments import commits_of
from hallmark.commands.rebuilt import Original
from hallmark.page.text import STYLE, clip, csp_hash, environment, read_part
from hallmark.params.loader import resolved
from hallmark.task.predictions import Prediction, predictions_of, read_predictions

PAGE = REPORTS / "against.html"
TEMPLATE = Path(__file__).with_name("changes.html.jinja")
MOST_ROWS = 200  # records of a list
MOST_CHARS = 4000  # of a text
MOST_PARAMS = 60
MOST_COMPARED = 250_000  # pairs of words of two answers: longer ones are shown as a whole
WORD = re.compile(r"\w+|\s+|[^\w\s]")
UNKNOWN = "not in dvc.lock"


@dataclass(frozen=True)
class Run:
    """The other run: its commit, what `dvc.lock` says there, and its predictions."""

    name: str
    commit: str
    subject: str
    date: str
    outs: dict[str, str]
    params: dict[str, Any]
    rows: list[Prediction]


@dataclass(frozen=True)
class Changes:
    """Records of both runs, then and now, by what became of them; and in words, how many have no partner."""

    won: list[tuple[Prediction, Prediction]]
    lost: list[tuple[Prediction, Prediction]]
    other: list[tuple[Prediction, Prediction]]  # another answer, that passes or fails as before
    same: int
    unpaired: str
    p: float

    @property
    def paired(self) -> int:
        """Records that are in both runs."""
        return len(self.won) + len(self.lost) + len(self.other) + self.same

    @property
    def headline(self) -> str:
        """What changed, in one line."""
        if not (self.won or self.lost or self.other):
            return "No answer changed."
        return f"{len(self.won)} won, {len(self.lost)} lost, {len(self.other)} answered differently."

    @property
    def words(self) -> str:
        """The rest, in a sentence or two."""
        p = "p < 0.0001" if self.p < 1e-4 else f"p = {self.p:.4f}"
        return (
            f"Of {self.paired:,} records, {self.same:,} have the same answer. Won: failed then, passes now; lost: the "
            f"other way round (McNemar's exact test: {p}, which takes records as independent)."
        )


def compare(then: Sequence[Prediction], now: Sequence[Prediction]) -> Changes:
    """Pair the records by id. One whose input or target is another has no partner."""
    earlier = {row.id: row for row in then}
    pairs, rewritten = [], 0
    for row in now:
        before = earlier.pop(row.id, None)
        if before is None:
            continue
        if (before.input, before.context, before.target) == (row.input, row.context, row.target):
            pairs.append((before, row))
        else:
            rewritten += 1
    passes = [(before.outcome == "pass", after.outcome == "pass") for before, after in pairs]
    of = {kind: [pair for pair, flags in zip(pairs, passes, strict=True) if flags == kind] for kind in {*passes}}
    stays = of.get((True, True), []) + of.get((False, False), [])
    other = [(before, after) for before, after in stays if before.answer != after.answer]
    missing = {
        "only then": len(earlier),
        "only now": len(now) - len(pairs) - rewritten,
        "in both, with another input or target": rewritten,
    }
    listed = ", ".join(f"{count:,} {words}" for words, count in missing.items() if count)
    return Changes(
        won=of.get((False, True), []),
        lost=of.get((True, False), []),
        other=other,
        same=len(stays) - len(other),
        unpaired=f"Not compared: {listed}." if listed else "",
        p=mcnemar([before for before, _ in passes], [after for _, after in passes]).p,
    )


def find(name: str) -> str:
    """The commit that a revision, or the name of an experiment, means."""
    commit = prov.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is not None:
        return commit.decode().strip()
    found = sorted({*commits_of(name)})
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} experiments have that name" if found else "there is no commit or experiment of that name"
    remedy = "name one by its commit, as `dvc exp show --only-changed` and `git log` list them"
    raise HallmarkError(f"--against {printable(name)}: {problem}", remedy=remedy)


def read_run(name: str, model: str, scratch: Path) -> Run:
    """The run of a commit or experiment, with the model's predictions from the cache."""
    from dvc.repo import Repo

    commit = find(name)
    path = predictions_of(model).as_posix()
    content = prov.git_file("dvc.lock", commit, Path(), YAML_BYTES)
    if content is None:
        raise HallmarkError(
            f"commit {commit[:12]} has none (or one that is too large)",
            file="dvc.lock",
            remedy="name a commit in which the pipeline has run",
        )
    outs = {out: md5 for stage in prov.read_lock(content).values() for out, md5 in stage["outs"].items()}
    if path not in outs:
        raise HallmarkError(f"commit {commit[:12]} has no {path}", file="dvc.lock", remedy="name a later commit")
    with Repo() as repo:
        cache = Path(repo.cache.local.path).parent.parent  # DVC 3 keeps its files in <cache>/files/md5
    file = Original(Path.cwd(), commit, cache, scratch).file(path, outs[path])
    if file is None:
        raise HallmarkError(
            f"the file of commit {commit[:12]} is not in DVC's cache",
            file=path,
            remedy=f"run `dvc fetch --all-commits {path}`; if no remote has it, check that commit out and run `dvc repro`",
        )
    said = (prov.git("show", "--no-patch", "--format=%cs%n%s", commit) or b"").decode("utf-8", "replace")
    date, _, subject = said.strip().partition("\n")
    params, _ = prov.params_at(lambda file: prov.git_file(file, commit, Path(), YAML_BYTES), f"at {commit[:12]}", {})
    return Run(name, commit, clip(subject, 100), date, outs, params, read_predictions(model, file))


def differing(then: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The params that differ: dotted key, value then, value now."""

    def at(params: Any, key: str) -> str:
        for part in key.split("."):
            if not isinstance(params, dict) or part not in params:
                return "–"
            params = params[part]
        return clip(json.dumps(params, ensure_ascii=False, default=str), 200)

    return [(key, at(then, key), at(now, key)) for key in prov.differences(then, now)]


def listed(pairs: Sequence[tuple[Prediction, Prediction]]) -> list[dict[str, Any]]:
    """The first of the pairs, as the template shows them."""
    return [
        {
            "id": after.id,
            "group": after.group,
            "then": before.outcome,
            "now": after.outcome,
            "snippet": clip(" ".join(after.input.split()), 200),
            "input": text(after.input),
            "target": text(after.target),
            "before": text(before.answer),
            "after": text(after.answer),
            "pieces": pieces(before.answer[:MOST_CHARS], after.answer[:MOST_CHARS]),
        }
        for before, after in pairs[:MOST_ROWS]
    ]


def text(content: str) -> dict[str, Any]:
    """A text as it is shown, and its length if it is longer."""
    return {"text": content[:MOST_CHARS], "longer": len(content) if len(content) > MOST_CHARS else 0}


def pieces(then: str, now: str) -> list[tuple[str, str]]:
    """The answer now: what is new is marked, and what is gone is struck out."""
    old, new = WORD.findall(then), WORD.findall(now)
    if len(old) * len(new) > MOST_COMPARED:
        return [("del", then), ("mark", now)]
    found = []
    for _, low, high, start, end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if old[low:high] == new[start:end]:
            found.append(("", "".join(new[start:end])))
        else:
            found += [("del", "".join(old[low:high])), ("mark", "".join(new[start:end]))]
    return [piece for piece in found if piece[1]]


def render(model: str, run: Run, changes: Changes, params: dict[str, Any]) -> str:
    """The page as one HTML text."""
    style = read_part(STYLE)
    differ = differing(run.params, params)
    lists = [
        (name, title, listed(pairs), max(0, len(pairs) - MOST_ROWS))
        for name, title, pairs in (
            ("lost", "Lost", changes.lost),
            ("won", "Won", changes.won),
            ("other", "Answered differently", changes.other),
        )
    ]
    files = [("Training data", TRAIN), ("Holdout", HOLDOUT), ("Predictions", predictions_of(model))]
    origin = [("Then", f"{run.name}, commit {run.commit[:12]}, {run.date}: {run.subject}"), ("Now", "this folder")]
    origin += [(title, same(path, run.outs.get(path.as_posix(), UNKNOWN))) for title, path in files]
    template = environment(**{TEMPLATE.name: TEMPLATE.read_text(encoding="utf-8")}).get_template(TEMPLATE.name)
    return template.render(
        model=model,
        changes=changes,
        origin=origin,
        params=differ[:MOST_PARAMS],
        more_params=max(0, len(differ) - MOST_PARAMS),
        lists=lists,
        most_chars=MOST_CHARS,
        style=style,
        style_hash=csp_hash(style),
    )


def same(path: Path, then: str) -> str:
    """Whether a file is the same as then, by its MD5 in `dvc.lock`."""
    now = prov.dvc_md5(path) if path.is_file() else "none here"
    return f"the same, MD5 {now}" if then == now else f"MD5 {now}, then {then}"


def main(arguments: argparse.Namespace) -> None:
    """Command line: write the page, and print what changed."""
    params = resolved(arguments.params)
    evaluation = params.get("eval")
    comparators = evaluation.get("comparators") if isinstance(evaluation, dict) else None
    if arguments.model not in (models := ["tuned", "base", "classical", *(comparators or ())]):
        problem = f"--model {printable(arguments.model)}: no such model"
        raise HallmarkError(problem, remedy=f"name one of {', '.join(map(printable, map(str, models)))}")
    now = read_predictions(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        run = read_run(arguments.against, arguments.model, Path(folder))
    changes = compare(run.rows, now)
    write_text(PAGE, render(arguments.model, run, changes, params))
    print(f"against {printable(run.name)} ({run.commit[:12]}, {printable(run.subject)}): {changes.headline}")
    print(changes.words)
    if changes.unpaired:
        print(changes.unpaired)
    print(f"page: {PAGE}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.changes", description=__doc__)
    parser.add_argument("--against", required=True, metavar="REV", help="a commit, or the name of an experiment")
    parser.add_argument(
        "--model",
        default="tuned",
        help="whose answers to compare: tuned (the default), base, classical, or a name in eval.comparators",
    )
    run_stage("changes", __doc__, main, parser)
