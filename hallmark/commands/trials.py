"""The trials of a search as table and report show them, for `python -m hallmark.commands.tune`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import printable
from hallmark.base.files import REPORTS, VALIDATION, write_json
from hallmark.base.records import read_records
from hallmark.params.loader import Params

if TYPE_CHECKING:
    import optuna

REPORT = REPORTS / "tune.json"


@dataclass
class Trial:
    """A trial as table and report show it. `losses`: of its validations; `loss`: of the adapter that it kept."""

    number: int
    state: str  # complete, stopped or failed
    params: dict[str, Any]
    loss: float | None = None
    losses: list[float] = field(default_factory=list)
    minutes: float | None = None
    experiment: str | None = None
    reason: str | None = None


def trials(study: optuna.Study) -> list[Trial]:
    """All trials that have ended by themselves or were stopped as not worth it, in order."""
    return [row_of(trial) for trial in study.get_trials(deepcopy=False) if "minutes" in trial.user_attrs]


def row_of(trial: optuna.trial.FrozenTrial) -> Trial:
    """A trial as table and report show it."""
    words = {"COMPLETE": "complete", "PRUNED": "stopped"}
    known = trial.user_attrs
    return Trial(
        trial.number,
        words.get(trial.state.name, "failed"),
        known["params"],
        loss=trial.value if trial.state.name == "COMPLETE" else None,
        losses=[trial.intermediate_values[step] for step in sorted(trial.intermediate_values)],
        minutes=known.get("minutes"),
        experiment=known.get("experiment"),
        reason=known.get("reason"),
    )


def best_of(found: list[Trial]) -> Trial | None:
    """The trial with the lowest validation loss, the earliest of equal ones; None if none ended well."""
    return min((trial for trial in found if trial.loss is not None), key=lambda trial: trial.loss or 0.0, default=None)


def write_report(params: Params, study: optuna.Study) -> None:
    """Write reports/tune.json: the trials in order, and the best."""
    found = trials(study)
    best = best_of(found)
    write_json(
        REPORT,
        {
            "search": study.study_name,
            "seed": params.seed,
            "space": params.tune.space.model_dump(mode="json"),
            "validation_records": len(read_records(VALIDATION)),
            "best": best.number if best else None,
            "trials": [asdict(trial) for trial in found],
        },
    )


def in_words(values: dict[str, Any]) -> str:
    """Params in a line: `learning_rate 0.003, epochs 1.3, r 16`."""
    short = {name.rpartition(".")[2]: value for name, value in values.items()}
    return ", ".join(f"{name} {'all' if value is None else f'{value:g}'}" for name, value in short.items())


def ended(trial: Trial, validations: int) -> str:
    """What became of a trial."""
    if trial.loss is not None:
        return f"validation loss {trial.loss:.4f}"
    if trial.state == "stopped":
        return f"stopped at validation {len(trial.losses)} of {validations}: {trial.losses[-1]:.4f} is above the median"
    return f"failed: {printable(trial.reason or 'unknown')}"


def table(found: list[Trial], validations: int) -> list[str]:
    """The trials, the best first, as lines for a terminal."""
    last = {"complete": 0, "stopped": 1, "failed": 2}
    ordered = sorted(found, key=lambda trial: (last[trial.state], trial.loss or math.inf, trial.number))
    names = [
        name for name in dict.fromkeys(name for trial in found for name in trial.params) if name != "sft.eval_steps"
    ]
    heads = [name.removeprefix("sft.").removeprefix("lora.") for name in names]
    lines = [f"{'trial':>5}  {'loss':>8}  " + "  ".join(f"{head:>7}" for head in heads) + f"  {'minutes':>7}"]
    for trial in ordered:
        values = [trial.params.get(name) for name in names]
        shown = "  ".join(
            f"{'all' if value is None else f'{value:g}':>{max(7, len(head))}}"
            for head, value in zip(heads, values, strict=True)
        )
        loss = f"{trial.loss:8.4f}" if trial.loss is not None else f"{'-':>8}"
        note = "params.yaml as it is" if trial.number == 0 else ""
        note = note if trial.state == "complete" else ended(trial, validations)
        lines.append(f"{trial.number:>5}  {loss}  {shown}  {trial.minutes or 0:7.1f}  {note}".rstrip())
    return lines


def verdict(found: list[Trial]) -> list[str]:
    """Which trial is the best, by how much, and what to do with it."""
    best, first = best_of(found), next((trial for trial in found if trial.number == 0), None)
    if best is None:
        return ["no trial has ended well"]
    if best.number == 0:
        return [f"none is better than params.yaml as it is: validation loss {best.loss:.4f}"]
    gain = ""
    if first is not None and first.loss and best.loss is not None:
        gain = f", {100 * (1 - best.loss / first.loss):.0f} % below that of params.yaml as it is"
    return [
        f"best: trial {best.number}, validation loss {best.loss:.4f}{gain}",
        "next: `nox -s tune -- --write` sets it in params.yaml, for `nox -s repro`; "
        f"or `dvc exp apply {best.experiment}`, which brings its adapter too",
    ]
