"""Not a stage: search step size, epochs, rank and layers of `sft` by the validation loss: `python -m hallmark.commands.tune`.

Optuna draws the trials from `tune.space`. Each runs with `dvc exp run` up to `sft`, so no trial looks at the holdout, and
stops if its validation losses are above the median of earlier ones. No trial starts after `tune.minutes`; run again, the
search continues from the trials in its report that have the same data, code and params. `--write` sets the best of them
in params.yaml, and runs nothing. Writes reports/tune.json and reports/tune.md, which belong in git.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base import provenance as prov
from hallmark.base.document import value_at
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import BASE, REPORTS, TRAIN, VALIDATION
from hallmark.base.measured import RAN
from hallmark.base.progress import duration
from hallmark.base.reading import read_object
from hallmark.base.records import read_records
from hallmark.base.reports import Loss, shape
from hallmark.base.single_run import alone
from hallmark.commands import sweep
from hallmark.commands.experiments import check_repository, key_of, overrides, report_in, stages_to, tried, with_values
from hallmark.params.checked import changed
from hallmark.params.checked import write as write_params
from hallmark.params.loader import Params, load_params, resolved

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

log = logging.getLogger("tune")

LAST = "sft"  # the stage that a trial ends with
REPORT = REPORTS / "tune.json"
FOLDER = Path(".hallmark/tune")  # held by the search that runs
LOSS = re.compile(r"step [1-9]\d*: validation loss (\S+)")  # as `Curve` in hallmark/model/trainer.py logs it
EVAL_STEPS = "sft.eval_steps"  # set for each trial, so that all validate as often
FAILURES = 3  # failed trials in a row, with none that ended well, after which the search stops
REPEATS = 5  # draws in a row that were drawn before, after which it stops too: a small space has nothing else
INSTALL = "run `nox -s tune`, which installs it, or `pip install -c requirements.lock 'optuna>=5,<6'`"


@dataclass
class Trial:
    """A trial, as the report has it: `params` by dotted name, those of `draw` by Optuna; `loss`: of the adapter that it kept."""

    number: int
    draw: dict[str, float | int | None]
    params: dict[str, Any]
    state: str = "failed"
    loss: float | None = None
    losses: list[float] = field(default_factory=list)
    minutes: float = 0.0
    experiment: str | None = None
    reason: str | None = None

    def outcome(self, validations: int) -> str:
        if self.state == "stopped":
            at = f"validation {len(self.losses)} of {validations}"
            return f"stopped at {at}: {self.losses[-1]:.4f} is above the median"
        if self.state == "failed":
            return f"failed: {self.reason}"
        return "" if self.number else "params.yaml as it is"


def best_of(found: list[Trial]) -> Trial | None:
    """The trial with the lowest validation loss, the earliest of equal ones; None if none ended well."""
    return min((trial for trial in found if trial.loss is not None), key=lambda trial: trial.loss or 0.0, default=None)


# --- the search --------------------------------------------------------------------------------------------------


def search(params: Params, raw: dict[str, Any], most: int | None = None) -> list[Trial]:
    """Run trials until the time is over, or there were `most`, with a report after each; all of this search, also earlier ones."""
    found = earlier(key := search_of(params, raw))
    if found:
        log.info("goes on after %d earlier trials", len(found))
    until, run_now, failed, repeated = time.monotonic() + 60 * params.tune.minutes, 0, 0, 0
    while time.monotonic() < until and run_now != most and repeated < REPEATS:
        done = ran(params, raw, found)
        repeated = repeated + 1 if done.params in (trial.params for trial in found) else 0
        failed = failed + 1 if done.state == "failed" else 0
        found.append(done)
        write(params, key, found)
        run_now += 1
        if failed >= FAILURES and best_of(found) is None:
            problem, remedy = f"{failed} trials failed, the last with: {done.reason}", "see their output above"
            raise HallmarkError(problem, param="tune.space", remedy=remedy)
    return found


def search_of(params: Params, raw: dict[str, Any]) -> str:
    """A hash of the search: trials count only if they trained on the same, with the same code, around the same params."""
    values = copy.deepcopy(raw)
    del values["sft"]["eval_steps"]
    key = key_of({LAST: stages_to(LAST)[LAST]}, values)
    return prov.sha256(key + params.tune.model_dump_json(exclude={"minutes"}))


def earlier(key: str) -> list[Trial]:
    found = read_object(REPORT) if REPORT.exists() else {}
    return [Trial(**trial) for trial in found["trials"]] if found.get("search") == key else []


def study_of(params: Params, found: list[Trial]) -> optuna.Study:
    """Optuna's study of these trials. The next has a seed of its own: a search that was stopped goes on as if it had not been."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    startup, states = params.tune.startup_trials, optuna.trial.TrialState
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(n_startup_trials=startup, seed=(params.seed + len(found)) % 2**32),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=startup),
    )
    for trial in found:
        study.add_trial(
            optuna.trial.create_trial(
                state={"complete": states.COMPLETE, "stopped": states.PRUNED}.get(trial.state, states.FAIL),
                value=trial.loss,
                params=trial.draw,
                distributions=space_of(params),
                intermediate_values=dict(enumerate(trial.losses, 1)),
            )
        )
    if not found:
        study.enqueue_trial(as_it_is(params))
    return study


def space_of(params: Params) -> dict[str, BaseDistribution]:
    """What Optuna draws from: factors of step size and passes, and values of rank and layers."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    from hallmark.plan.sizes import configuration

    space, lora = params.tune.space, params.sft.lora
    found: dict[str, BaseDistribution] = {
        name: FloatDistribution(*bounds, log=True)
        for name in ("learning_rate", "epochs")
        if (bounds := getattr(space, name))
    }
    if space.r is not None:
        found["r"] = CategoricalDistribution(choices(space.r, lora.r))
    if space.layers is not None:
        there = getattr(configuration(BASE), "num_hidden_layers", math.inf)
        fitting = [count for count in space.layers if count is None or count < there]
        found["layers"] = CategoricalDistribution(choices(fitting, lora.layers))
    return found


def choices(listed: list[Any], own: int | None) -> list[int | None]:
    """The values to choose from, in order, with the one that params.yaml has; null, which stands for all, comes last."""
    return sorted({*listed, own}, key=lambda value: math.inf if value is None else value)


def as_it_is(params: Params) -> dict[str, Any]:
    own = {"learning_rate": 1.0, "epochs": 1.0, "r": params.sft.lora.r, "layers": params.sft.lora.layers}
    return {name: value for name, value in own.items() if getattr(params.tune.space, name) is not None}


def values_of(draw: dict[str, Any], params: Params) -> dict[str, Any]:
    """The params of a draw, by dotted name. Factors give two digits; the factor 1 leaves the value as it is."""
    sft, values = params.sft, dict[str, Any]()
    for name in ("learning_rate", "epochs"):
        if factor := draw.get(name):
            values[f"sft.{name}"] = getattr(sft, name) if factor == 1 else float(f"{getattr(sft, name) * factor:.2g}")
    if rank := draw.get("r"):
        values |= {"sft.lora.r": rank, "sft.lora.alpha": max(1, round(sft.lora.alpha * rank / sft.lora.r))}
    if "layers" in draw:
        values["sft.lora.layers"] = draw["layers"]
    return values


def ran(params: Params, raw: dict[str, Any], found: list[Trial]) -> Trial:
    drawn = study_of(params, found).ask(space_of(params))
    values = values_of(drawn.params, params)
    steps = steps_of(Params.model_validate(with_values(raw, values)))
    values[EVAL_STEPS] = math.ceil(steps / params.tune.validations)
    overrides(raw, wanted := with_values(raw, values))  # what DVC can't set is no failed trial, but an error
    done, begun = Trial(len(found), drawn.params, values), time.monotonic()
    log.info("trial %d: %s", done.number, in_words(values))

    def goes_on(line: str) -> bool:
        """Whether the trial should go on after a line of its output. After the last validation there is nothing to save."""
        if found := LOSS.search(line):
            done.losses.append(float(found[1]))
            drawn.report(done.losses[-1], len(done.losses))
            if len(done.losses) < params.tune.validations and drawn.should_prune():
                done.state = "stopped"
        return done.state != "stopped"

    try:
        done.experiment, commit = tried("tune", raw, wanted, LAST, goes_on)
        done.loss, done.state = report_in(commit, "sft", shape(validation_loss=Loss)).validation_loss, "complete"
        seconds = report_in(commit, "measured/sft", RAN).seconds
    except HallmarkError as error:
        seconds = time.monotonic() - begun
        done.reason = error.problem if done.state == "failed" else None
    done.minutes = round(seconds / 60, 2)
    log.info("trial %d: %s", done.number, done.outcome(params.tune.validations) or f"validation loss {done.loss:.4f}")
    return done


def steps_of(params: Params) -> int:
    from hallmark.plan.batches import in_batches, step_count
    from hallmark.plan.lengths import counter

    sft = params.sft
    if sft.max_steps is not None and params.tune.space.epochs is not None:
        problem = "set, so that sft.epochs, which tune.space has, does nothing"
        raise HallmarkError(problem, param="sft.max_steps", remedy="set it to null, or tune.space.epochs to null")
    rows, batches = read_records(TRAIN).rows(named=True), 0
    if sft.batch_tokens:
        _, whole, answers = counter(params.task, BASE)[0](rows)
        pairs = [pair for pair in zip(whole, answers, strict=True) if pair[0] <= sft.max_length]
        batches = len(in_batches(pairs, sft, sft.batch_size, params.seed))
    return step_count(len(rows), batches, sft)


# --- table and report --------------------------------------------------------------------------------------------


def in_words(values: dict[str, Any]) -> str:
    """Params in a line: `learning_rate 0.003, epochs 1.3, r 16`."""
    return ", ".join(f"{name.rpartition('.')[2]} {_cell(value)}" for name, value in values.items())


def _cell(value: float | None) -> str:
    return "all" if value is None else f"{value:g}"


def table(found: list[Trial], validations: int) -> sweep.Table:
    """What terminal and reports/tune.md show: the trials, the best first, and what to do with it."""
    order = {"complete": 0, "stopped": 1, "failed": 2}
    names = [name for name in found[0].params if name != EVAL_STEPS] if found else []
    rows = [
        [
            *(str(trial.number), "-" if trial.loss is None else f"{trial.loss:.4f}"),
            *(_cell(trial.params[name]) for name in names),
            *(f"{trial.minutes:.1f}", trial.outcome(validations)),
        ]
        for trial in sorted(found, key=lambda trial: (order[trial.state], trial.loss or math.inf, trial.number))
    ]
    head = ["trial", "loss", *(name.rpartition(".")[2] for name in names), "minutes", "outcome"]
    headline, notes = verdict(found)
    return sweep.Table(headline, head, rows, notes)


def verdict(found: list[Trial]) -> tuple[str, list[str]]:
    """Which trial is the best and by how much, and what to do with it."""
    best = best_of(found)
    if best is None or best.loss is None:
        return "no trial has succeeded", []
    if best.number == 0:
        return f"none is better than params.yaml as it is: validation loss {best.loss:.4f}", []
    first = found[0].loss
    gain = f", {100 * (1 - best.loss / first):.0f} % below that of params.yaml as it is" if first else ""
    return f"best: trial {best.number}, validation loss {best.loss:.4f}{gain}", [
        "next: `nox -s tune -- --write` sets it in params.yaml, for `nox -s repro`",
        f"or `dvc exp apply {best.experiment}`, which brings its adapter too",
    ]


def write(params: Params, key: str, found: list[Trial]) -> None:
    """Write the report, with which the next run goes on."""
    best = best_of(found)
    report = {
        "search": key,
        "seed": params.seed,
        "space": params.tune.space.model_dump(mode="json"),
        "validation_records": len(read_records(VALIDATION)),
        "best": best.number if best else None,
        "trials": [asdict(trial) for trial in found],
    }
    sweep.write("tune", report, table(found, params.tune.validations))


def write_best(file: Path, raw: dict[str, Any], found: list[Trial]) -> None:
    """Set the params of the best trial in params.yaml, line by line; comments stay."""
    if (best := best_of(found)) is None:
        problem = "no trial has succeeded with the current data, code and params"
        raise HallmarkError(problem, file=REPORT, remedy="run `nox -s tune`")
    others = {name: value for name, value in best.params.items() if value != value_at(raw, name)}
    values = "\n".join(f"{name}: {json.dumps(value)}" for name, value in others.items())
    write_params(file, changed(file.read_text(encoding="utf-8"), values))
    print(f"written: {file}, by trial {best.number}, validation loss {best.loss:.4f}:")
    for name, value in best.params.items():
        before = value_at(raw, name)
        print(f"  {name}: {_cell(before)}{f' -> {_cell(value)}' if name in others else ', as it was'}")
    print("then `nox -s repro`")


def main(arguments: argparse.Namespace) -> None:
    params = load_params(arguments.params)
    raw = resolved(arguments.params)
    try:
        import optuna  # noqa: F401 (only this command needs it)
    except ModuleNotFoundError:
        raise HallmarkError("Optuna is not installed", field="optuna", remedy=INSTALL) from None
    check_repository()
    remedy = "wait for it, or stop it: a second search would only slow it down"
    with alone(FOLDER, "another search runs in this repository", remedy):
        if arguments.write:
            write_best(arguments.params, raw, earlier(search_of(params, raw)))
            return
        begun = time.monotonic()
        found = search(params, raw, arguments.trials)
    print("\n".join(table(found, params.tune.validations).lines()))
    print(f"{len(found)} trials in all, {duration(time.monotonic() - begun)}; {REPORT}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.tune", description=__doc__)
    count = sweep.number(int, 1, 10_000)
    parser.add_argument("--trials", type=count, metavar="N", help="start at most this number of trials now")
    parser.add_argument("--write", action="store_true", help="set the best params so far in params.yaml; run nothing")
    run_stage("tune", __doc__, main, parser)
