"""What an earlier run on this machine says about its speed: how many times longer it took than would be foreseen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.dvc_lock import read_lock
from hallmark.base.errors import HallmarkError
from hallmark.base.files import REPORTS
from hallmark.base.machine import same_machine
from hallmark.base.reading import read_object, read_text

if TYPE_CHECKING:
    from hallmark.params.loader import Params

LOCK = Path("dvc.lock")
# Params that decide how long a step takes: with others, an earlier run says nothing.
OF_SFT: tuple[str, ...] = (
    "method",
    "dequantize_once",
    "batch_size",
    "batch_tokens",
    "packing",
    "gradient_checkpointing",
    "dtype",
)
OF_SFT += ("attention", "parallel")
OF_LORA = ("r", "target_modules", "layers")
OF_EVAL = ("engine", "batch_size", "max_new_tokens", "dtype", "attention")
OF_MODEL = {"base": "sample", "tuned": "merge"}  # a param of `eval` that only this model's time depends on
OF_MACHINE = ("threads", "device", "portable")
MOST = 1000.0  # times longer or shorter: beyond that, a report is wrong


def training_factor(params: Params, foreseen: Callable[[int, int], float]) -> float | None:
    """How many times longer `sft` took here than `foreseen` says of its steps and validations; None if it didn't run here
    with these params."""
    before = _before("sft", "sft.json", params)
    if before is None:
        return None
    measured, old = before["measured"], before["params"].get("sft", {})
    new = params.sft.model_dump()
    if _differ(old, new, OF_SFT) or _differ(old.get("lora", {}), new["lora"], OF_LORA):
        return None
    steps, every = _number(_report(REPORTS / "sft.json"), "steps"), _number(old, "eval_steps")
    seconds = _number(measured, "train_seconds")
    if not steps or not every or not seconds:
        return None
    return _factor(seconds, foreseen(int(steps), 1 + math.ceil(steps / every)))


def evaluation_factor(params: Params, foreseen: float) -> float | None:
    """The same of the answers of base and tuned model to the holdout."""
    seconds, new = 0.0, params.eval.model_dump()
    for model, own in OF_MODEL.items():
        before, names = _before(f"eval@{model}", f"eval_{model}.json", params), (*OF_EVAL, own)
        if before is None or _differ({name: before["params"].get(f"eval.{name}") for name in names}, new, names):
            return None
        seconds += _number(before["measured"], "answer_seconds") or math.nan
    return None if math.isnan(seconds) else _factor(seconds, foreseen)


def _before(stage: str, file: str, params: Params) -> dict[str, Any] | None:
    """What a stage measured on this machine with this base, and the params that it had by `dvc.lock`."""
    from hallmark.base.compute import fingerprint

    measured, base = _report(REPORTS / "measured" / file), _report(REPORTS / "base.json")
    stamp = measured.get("measured")
    there = measured.get("fingerprint") or (stamp.get("machine") if isinstance(stamp, dict) else None)
    here = fingerprint(params.compute)
    if not isinstance(there, dict) or not same_machine(there, here) or _differ(there, here, OF_MACHINE):
        return None
    if base.get("name") != params.base.name:
        return None
    try:
        entry = read_lock(read_text(LOCK)).get(stage, {})
    except HallmarkError:
        return None
    old = entry.get("params")
    return {"measured": measured, "params": old} if isinstance(old, dict) else None


def _report(file: Path) -> dict[str, Any]:
    try:
        return read_object(file)
    except HallmarkError:  # absent, or damaged: there is no earlier run to learn from
        return {}


def _differ(old: Any, new: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    """Whether params differ; one that the earlier run did not have yet was off."""
    return not isinstance(old, dict) or any((old.get(name) or None) != (new[name] or None) for name in names)


def _number(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name) if isinstance(values, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < 1e9 else None


def _factor(seconds: float, foreseen: float) -> float | None:
    factor = seconds / foreseen if foreseen > 0 else math.nan
    return factor if 1 / MOST < factor < MOST else None
