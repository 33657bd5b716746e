"""Buy the answers that comparators of kind `endpoint` need: `python -m hallmark.commands.ask [--dry] [NAME ...]`.

Not a stage, since it spends money: `dvc repro` only looks up what is in `data/bought`. Answers that are there are not bought
again. Before the first request it says how many are missing and what they cost at most (`--dry`: only that); at the end, what
was spent. Only masked records are sent: the prompts are those of data/split. Answers that no comparator needs any more are
kept, since they were paid for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hallmark.answer.answers import prompts_of
from hallmark.answer.bought import ASK, Bought, file_of, read_bought, tidy, write_bought
from hallmark.answer.comparator import Questions
from hallmark.answer.comparators import COMPARATORS
from hallmark.answer.comparators.endpoint import EndpointSettings, Request, check_models, requests_for
from hallmark.answer.fair_order import drawn_fairly
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import BASE, BOUGHT, HOLDOUT, write_text
from hallmark.base.records import read_records
from hallmark.base.single_run import alone
from hallmark.commands.buying import Outcome, authorization, buy
from hallmark.commands.experiments import dvc
from hallmark.commands.stale import LOCK, noted, stale_stages
from hallmark.model.chat_template import tool_form
from hallmark.model.loading import load_tokenizer
from hallmark.params.loader import Params, load_params
from hallmark.task.task import Task

ASKED_OF = ("mask", "dedupe", "split")  # the stages that make the records which are asked


@dataclass(frozen=True)
class Need:
    """What a comparator needs, in the order of the records, and what it has."""

    name: str
    settings: EndpointSettings
    records: int
    requests: list[Request]  # each once
    has: dict[str, Bought]

    @property
    def missing(self) -> list[Request]:
        return [request for request in self.requests if request.key not in self.has]

    @property
    def most(self) -> float | None:
        """The most that the missing ones cost; None without a price."""
        if self.settings.price is None:
            return None
        return sum(request.most(self.settings) for request in self.missing)

    def words(self) -> str:
        cost = "cost not known: no price" if self.most is None else f"cost at most {self.most:.4f} (estimated)"
        missing = f"{len(self.missing)} of {len(self.requests)} requests missing"
        return f"{self.name}: {self.records} records, {missing}, {cost}"


def run(params: Params, names: Sequence[str] = (), dry: bool = False) -> None:
    """Buy what is missing for all comparators of kind endpoint, or for those named."""
    chosen = chosen_of(params, names)
    if not chosen:
        print("no comparator in eval.comparators is of kind endpoint: nothing to buy")
        return
    with alone(BOUGHT, "another run buys answers", "wait until it has ended"):
        needs = [need_of(params, name, settings) for name, settings in chosen.items()]
        for need in needs:
            print(need.words(), flush=True)
        for need in needs:  # all of them before the first request
            check(need)
        if any(need.missing for need in needs):
            check_split()
        if dry:
            return
        problems: list[BaseException] = []
        for need in needs:
            outcome = fetch(need)
            if need.missing:
                print(result(need, outcome), flush=True)
            keep(need.name)
            if outcome.error is not None:
                problems.append(outcome.error)
            elif outcome.problems or outcome.stopped:
                problems.append(failed(need, outcome))
            if outcome.stopped:
                break
    for error in problems[:-1]:
        print(f"ask: error: {error}", file=sys.stderr)
    if problems:
        raise problems[-1]


def chosen_of(params: Params, names: Sequence[str]) -> dict[str, EndpointSettings]:
    known = {name: one for name, one in params.eval.comparators.items() if isinstance(one, EndpointSettings)}
    if unknown := [name for name in names if name not in known]:
        problem = f"no comparator '{unknown[0][:100]}' of kind endpoint"
        remedy = f"name one of: {', '.join(known) or 'there is none'}"
        raise HallmarkError(problem, param="eval.comparators", remedy=remedy)
    return {name: one for name, one in known.items() if not names or name in names}


def need_of(params: Params, name: str, settings: EndpointSettings) -> Need:
    """What the stage `comparators` will look up: the same records, prompts and keys."""
    check_here(name)
    task, tokenizer = Task(params.task), load_tokenizer(BASE)
    holdout = read_records(HOLDOUT).rows(named=True)
    if not holdout:
        raise HallmarkError("holds no record", file=HOLDOUT, remedy="raise split.holdout")
    ids, groups = [row["id"] for row in holdout], [row["group"] for row in holdout]
    drawn = drawn_fairly(ids, groups, params.eval.sample.get(name, len(holdout)), params.seed)
    prompts = prompts_of(holdout)
    questions = Questions(
        task=task,
        records=[holdout[row] for row in drawn],
        prompts=[prompts[row] for row in drawn],
        tokenizer=tokenizer,
        form=tool_form(params.task, tokenizer),
        room=None,
        seed=params.seed,
    )
    asked = COMPARATORS[settings.kind].asked(settings, questions).prompts
    requests = {request.key: request for request in requests_for(settings, asked, task, params.seed)}
    return Need(name, settings, len(drawn), list(requests.values()), read_bought(name, cut=True))


def check_here(name: str) -> None:
    """A HallmarkError if answers were bought, by what their .dvc file says, but are not here: else they are bought twice."""
    file = file_of(name)
    if not file.exists() and (file.is_symlink() or file.name in noted(BOUGHT)):
        note = f"{file}.dvc"
        raise HallmarkError(
            f"was bought before, according to {note}, but isn't here",
            file=file,
            remedy=f"fetch it (`dvc checkout {note}`, `dvc pull {note}`, or copy it from where it was bought); to buy it all "
            f"again, remove {file} and {note}",
        )


def check_split() -> None:
    """A HallmarkError if the split is of other params, code or data than those of now: its records would be asked in vain."""
    if not LOCK.exists():
        return
    if stale := [name for name in stale_stages() if name in ASKED_OF]:
        problem = f"{', '.join(stale)}: not run since a change, so it may not ask the current records"
        raise HallmarkError(problem, file=LOCK, remedy=f"run `dvc repro split` first, or `{ASK}`, which does")


def check(need: Need) -> None:
    """A HallmarkError if nothing should be bought: another model answered before, no key, or it may cost too much."""
    wanted = {request.key for request in need.requests}
    check_models(need.name, need.settings, [one for key, one in need.has.items() if key in wanted])
    if need.missing:
        authorization(need.settings)
    limit = need.settings.max_cost
    if limit is not None and need.most is not None and need.most > limit:
        raise HallmarkError(
            f"the answers for {need.name} may cost {need.most:.4f}, which is over max_cost = {limit:g}",
            param=f"eval.comparators.{need.name}.max_cost",
            remedy="raise it, ask fewer records (eval.sample), or lower max_tokens",
        )


def fetch(need: Need) -> Outcome:
    """Ask what is missing; at the end, the file is whole and sorted, whatever happened."""
    if not need.missing:
        tidy(need.name)
        return Outcome()
    write_bought(need.name, need.has.values())  # a file of its own: DVC may have put a link to its cache there
    try:
        with file_of(need.name).open("ab", buffering=0) as file:
            return buy(need.name, need.settings, need.missing, file)
    finally:
        tidy(need.name)


def result(need: Need, outcome: Outcome) -> str:
    cost = "cost not known" if need.settings.price is None else f"spent {outcome.cost:.4f} by the usage that was stated"
    if outcome.guessed:
        cost += f", and at most {outcome.guessed:.4f} (estimated) where none was stated"
    return f"{need.name}: {outcome.answers} of {len(need.missing)} answers bought, {cost}"


def failed(need: Need, outcome: Outcome) -> HallmarkError:
    words = [f"{problem} ({count} request{'' if count == 1 else 's'})" for problem, count in outcome.problems.items()]
    words += [outcome.stopped] if outcome.stopped and outcome.stopped not in outcome.problems else []
    left = len(need.missing) - outcome.answers
    return HallmarkError(
        f"{left} answers for {need.name} are still missing: {'; '.join(words)}"
        if left
        else f"the answers for {need.name} are bought, but {'; '.join(words)}",
        param=f"eval.comparators.{need.name}",
        remedy=f"check its url, model, key and fields, and run `{ASK}` again: it asks only what is missing",
    )


def keep(name: str) -> None:
    """Let DVC keep the file, with `push: false` unless its .dvc file, once made, says otherwise."""
    file, note = file_of(name), Path(f"{file_of(name)}.dvc")
    if not file.exists() or not Path(".dvc").is_dir():
        return
    if not note.exists():
        write_text(note, f"outs:\n- path: {file.name}\n  push: false\n")
    dvc("add", "--quiet", file.as_posix())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.ask", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="comparators of kind endpoint (default: all)")
    parser.add_argument("--dry", action="store_true", help="only say what is missing and what it costs at most")
    run_stage("ask", __doc__, lambda it: run(load_params(it.params), it.names, it.dry), parser)
