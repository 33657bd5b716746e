"""Not a stage: search step size, epochs, rank and layers of `sft` by the validation loss: `python -m hallmark.commands.tune`.

Optuna draws the trials from `tune.space`, each of which runs as a `dvc exp run` as far as `sft`, so that the holdout is
never looked at, and is stopped if its validation losses are above the median of earlier ones. No trial starts after
`tune.minutes`; run again, it goes on with the trials there are of the same data, code and params. `--write` sets the best
params found so far in params.yaml, and runs nothing. Writes reports/tune.json, which belongs in git.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import BASE, TRAIN, write_text
from hallmark.base.progress import duration
from hallmark.base.reading import read_object
from hallmark.base.records import read_records
from hallmark.base.single_run import alone
from hallmark.commands.experiments import check_set, copies, find, overrides, report_in, run, stages_to, value_at
from hallmark.commands.trial_watch import follow
from hallmark.commands.trials import (
    REPORT,
    Trial,
    best_of,
    ended,
    in_words,
    row_of,
    table,
    trials,
    verdict,
    write_report,
)
from hallmark.params.checked import changed
from hallmark.params.loader import Params, load_params, resolved

if TYPE_CHECKING:
    import optuna

log = logging.getLogger("tune")

LAST = "sft"  # the stage that a trial ends with
FOLDER = Path(".hallmark/tune")  # neither git nor DVC look there
JOURNAL = FOLDER / "journal.log"
FAILURES = 3  # failed trials in a row, with none that ended well, after which the search stops
REPEATS = 5  # draws in a row that were drawn before, after which it stops too: a small space has nothing else
INSTALL = "run `nox -s tune`, which installs it, or `pip install -c requirements.lock 'optuna>=5,<6'`"


def search(params: Params, raw: dict[str, Any], minutes: float, most: int | None = None) -> list[Trial]:
    """Run trials until the time is over, or there were `most`; the report is written after each.

    Returns all trials of this search, also those of earlier runs.
    """
    study = study_of(params, raw)
    settle(study)
    if earlier := len(trials(study)):
        log.info("goes on after %d earlier trials", earlier)
    elif not study.trials:
        study.enqueue_trial(as_it_is(params))
    until, run_now, failed, repeated = time.monotonic() + 60 * minutes, 0, 0, 0
    while time.monotonic() < until and run_now != most and repeated < REPEATS:
        before = [trial.params for trial in trials(study)]
        study.sampler = sampler(params, len(before))
        done = tried(study, study.ask(), params, raw)
        write_report(params, study)
        run_now += 1
        repeated = repeated + 1 if done.params in before else 0
        failed = failed + 1 if done.state == "failed" else 0
        if failed >= FAILURES and best_of(trials(study)) is None:
            problem, remedy = f"{failed} trials failed, the last with: {done.reason}", "see their output above"
            raise HallmarkError(problem, param="tune.space", remedy=remedy)
    return trials(study)


def study_of(params: Params, raw: dict[str, Any]) -> optuna.Study:
    """The search of the data, code and params of today, with its earlier trials if there are any."""
    optuna = imported()
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        storage = JournalStorage(JournalFileBackend(str(JOURNAL)))
        return optuna.create_study(
            storage=storage,
            study_name=key_of(params, raw),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=params.tune.startup),
            load_if_exists=True,
        )
    except (ValueError, KeyError, TypeError):  # of its JSON
        remedy = "delete it: the search then starts from its first trial, and takes what DVC has of earlier ones"
        raise HallmarkError("damaged", file=JOURNAL, remedy=remedy) from None


def imported() -> Any:
    """Optuna, which only this command needs; a HallmarkError that says how to install it."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise HallmarkError("Optuna is not installed", field="optuna", remedy=INSTALL) from None
    return optuna


def key_of(params: Params, raw: dict[str, Any]) -> str:
    """The name of the search: trials count only if they trained on the same, with the same code, around the same params."""
    _, deps, keys = stages_to(LAST)[LAST]
    if missing := sorted(dep for dep in deps if not Path(dep).exists()):
        remedy = "run `nox -s tune`, which makes it first, or `dvc repro split quantize`"
        raise HallmarkError("not there", file=missing[0], remedy=remedy)
    values = {key: value_at(raw, key) for key in sorted(keys)}
    values["sft"] = {
        name: value for name, value in values.get("sft", {}).items() if name != "eval_steps"
    }  # set for each
    space = params.tune.model_dump(mode="json", exclude={"minutes"})
    read = {dep: prov.dvc_md5(Path(dep)) for dep in sorted(deps)}
    return f"tune-{prov.sha256(json.dumps([read, values, space], sort_keys=True, default=str))[:12]}"


def sampler(params: Params, number: int) -> optuna.samplers.BaseSampler:
    """Draws trial `number`: with a seed of its own, so that a search that was stopped goes on as if it had not been."""
    from optuna.samplers import TPESampler

    return TPESampler(n_startup_trials=params.tune.startup, seed=(params.seed + number) % 2**32)


def settle(study: optuna.Study) -> None:
    """Have the trials of a search that was killed tried again."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)


def as_it_is(params: Params) -> dict[str, Any]:
    """The draw that leaves params.yaml as it is."""
    own = {"learning_rate": 1.0, "epochs": 1.0, "r": params.sft.lora.r, "layers": params.sft.lora.layers}
    return {name: value for name, value in own.items() if getattr(params.tune.space, name) is not None}


def drawn(trial: optuna.Trial, params: Params) -> dict[str, Any]:
    """The params of a trial, by dotted name. Factors give two digits; the factor 1 leaves the value as it is."""
    space, sft, values = params.tune.space, params.sft, dict[str, Any]()
    for name in ("learning_rate", "epochs"):
        if bounds := getattr(space, name):
            factor, own = trial.suggest_float(name, *bounds, log=True), getattr(sft, name)
            values[f"sft.{name}"] = own if factor == 1 else float(f"{own * factor:.2g}")
    if space.r is not None:
        rank: Any = trial.suggest_categorical("r", choices(space.r, sft.lora.r))
        values["sft.lora.r"] = rank
        values["sft.lora.alpha"] = max(1, round(sft.lora.alpha * rank / sft.lora.r))
    if space.layers is not None:
        there = layers_of_base()
        fitting = [count for count in space.layers if count is None or there is None or count < there]
        values["sft.lora.layers"] = trial.suggest_categorical("layers", choices(fitting, sft.lora.layers))
    return values


def choices(listed: list[Any], own: int | None) -> list[int | None]:
    """The values to choose from, in order, with the one that params.yaml has; null, which stands for all, comes last."""
    return sorted({*listed, own}, key=lambda value: math.inf if value is None else value)


def layers_of_base() -> int | None:
    """How many layers the base has; None if its config doesn't say."""
    config = read_object(BASE / "config.json", "run `dvc repro base`, which makes it")
    inner = config.get("text_config")
    count = (inner if isinstance(inner, dict) else config).get("num_hidden_layers")
    return count if isinstance(count, int) else None


def with_values(raw: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """All params with these values, by dotted name."""
    wanted = copy.deepcopy(raw)
    for name, value in values.items():
        *above, key = name.split(".")
        block = value_at(wanted, ".".join(above))
        block[key] = value
    return wanted


def tried(study: optuna.Study, trial: optuna.Trial, params: Params, raw: dict[str, Any]) -> Trial:
    """Run a trial, or take the experiment there is with its params, and tell the study what came of it."""
    from optuna.trial import TrialState

    values = drawn(trial, params)
    own = Params.model_validate(with_values(raw, values))
    values["sft.eval_steps"] = math.ceil(steps_of(own) / params.tune.validations)
    wanted = with_values(raw, values)
    trial.set_user_attr("params", values)
    name = f"tune-{prov.sha256(json.dumps(values, sort_keys=True))[:8]}"
    sets = overrides(raw, wanted)
    check_set(sets, wanted)
    log.info("trial %d: %s", trial.number, in_words(values))
    watched, begun = Watched(trial, params.tune.validations), time.monotonic()
    try:
        if earlier := find(name, wanted, LAST):
            log.info("trial %d: experiment %s has it already", trial.number, earlier[0])
        experiment, commit = earlier or run(
            name, sets, copies(wanted), LAST, lambda process: follow(process, watched.worth)
        )
        loss = report_in(commit, "sft", dict[str, Any])["validation_loss"]
        seconds = report_in(commit, "measured/sft", dict[str, Any]).get("seconds", 0.0)
        trial.set_user_attr("experiment", experiment)
    except HallmarkError as error:
        seconds, loss = time.monotonic() - begun, None
        if not watched.stopped:
            trial.set_user_attr("reason", error.problem)
    trial.set_user_attr("minutes", round(seconds / 60, 2))
    if loss is not None:
        study.tell(trial, loss)
    else:
        study.tell(trial, state=TrialState.PRUNED if watched.stopped else TrialState.FAIL)
    done = row_of(study.trials[trial.number])
    log.info("trial %d: %s", trial.number, ended(done, params.tune.validations))
    return done


class Watched:
    """Tells Optuna each validation loss of a trial, and asks whether it is worth going on."""

    def __init__(self, trial: optuna.Trial, validations: int) -> None:
        self.trial, self.validations, self.seen, self.stopped = trial, validations, 0, False

    def worth(self, loss: float) -> bool:
        """Whether the trial should go on after this loss. After the last validation there is nothing to save."""
        self.seen += 1
        self.trial.report(loss, self.seen)
        self.stopped = self.seen < self.validations and self.trial.should_prune()
        return not self.stopped


def steps_of(params: Params) -> int:
    """How many steps `sft` will take with these params."""
    from hallmark.plan.batches import in_batches, step_count
    from hallmark.plan.lengths import counter

    sft = params.sft
    if sft.max_steps is not None and params.tune.space.epochs is not None:
        raise HallmarkError(
            "set, so that sft.epochs, which tune.space has, does nothing",
            param="sft.max_steps",
            remedy="set it to null, or tune.space.epochs to null",
        )
    rows, batches = read_records(TRAIN).rows(named=True), 0
    if sft.batch_tokens:
        _, whole, answers = counter(params.task, BASE)[0](rows)
        pairs = [pair for pair in zip(whole, answers, strict=True) if pair[0] <= sft.max_length]
        batches = len(in_batches(pairs, sft, sft.batch_size, params.seed))
    return step_count(len(rows), batches, sft)


def write_best(file: Path, found: list[Trial]) -> None:
    """Set the params of the best trial in params.yaml, line by line; comments stay."""
    best = best_of(found)
    if best is None:
        raise HallmarkError(
            "no trial has ended well for the data, code and params of today",
            file=JOURNAL,
            remedy="run `nox -s tune`",
        )
    lines = "\n".join(f"{name}: {json.dumps(value)}" for name, value in best.params.items())
    write_text(file, changed(file.read_text(encoding="utf-8"), lines))
    print(f"written: {file}: {in_words(best.params)} (trial {best.number}, validation loss {best.loss:.4f})")
    print("then `nox -s repro`")


def main(arguments: argparse.Namespace) -> None:
    """Command line: search and print the table, or write the best."""
    params = load_params(arguments.params)
    raw = resolved(arguments.params)
    imported()
    if prov.git("rev-parse", "--verify", "HEAD") is None:
        remedy = "`git init`, `dvc init`, and commit the project: experiments are commits"
        raise HallmarkError("not a git repository with a commit", file=Path.cwd(), remedy=remedy)
    remedy = (
        "wait for it, or stop it: a second search would only slow it down, and take its trial for one that was killed"
    )
    with alone(FOLDER, "another search runs in this repository", remedy):
        if arguments.write:
            write_best(arguments.params, trials(study_of(params, raw)))
            return
        begun = time.monotonic()
        minutes = params.tune.minutes if arguments.minutes is None else arguments.minutes
        found = search(params, raw, minutes, arguments.trials)
    print("\n".join(["", *table(found, params.tune.validations), "", *verdict(found)]))
    print(f"{len(found)} trials in all, {duration(time.monotonic() - begun)}; {REPORT}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.tune", description=__doc__)
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--minutes", type=_minutes, metavar="MINUTES", help="the time (default: tune.minutes)")
    parser.add_argument("--trials", type=_count, metavar="N", help="start at most this number of trials now")
    some.add_argument("--write", action="store_true", help="set the best params so far in params.yaml, and run nothing")
    return parser


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("not a number of trials")
    return count


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes <= 10_080:
        raise argparse.ArgumentTypeError("not a number of minutes, a week at most")
    return minutes


if __name__ == "__main__":
    run_stage("tune", __doc__, main, _parser())
