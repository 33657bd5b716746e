"""Checkpoints of a training, so that one that was killed continues, and ends with the bytes of one that was not.

A checkpoint is one safetensors file outside the outputs, with all that the next step depends on: adapter, optimizer,
random numbers, the curve so far, and the best adapter so far. transformers finds its way to the step in the data; its own
checkpoints would also hold pickles, need a `training_args.bin`, and forget the sampler's order and the sum of the losses.

Of several processes, the first gathers what each has and writes the file. It reads it too, and hands out what each needs, so
that other machines need no file of their own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import shutil
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState

from hallmark.base.compute import installed
from hallmark.base.errors import HallmarkError
from hallmark.base.files import atomic, canonical_json, sha256_file, sha256_folder
from hallmark.base.loaded_code import FOLDER as CODE
from hallmark.base.loaded_code import PARAMS, listing
from hallmark.base.model_folder import open_tensors
from hallmark.base.reading import read_text
from hallmark.model.keep import Best, Keep
from hallmark.model.launch import rank
from hallmark.model.tuning import adapter_parameters, share_of, whole, whole_adapter

if TYPE_CHECKING:
    from hallmark.model.trainer import Curve
    from hallmark.params.loader import Params

FOLDER = Path(".hallmark/checkpoints")  # neither git nor DVC look there
PIPELINE = Path("dvc.yaml")
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each tensor
FREE = ("sft.checkpoint_minutes",)  # params that change nothing in what is learned

# What a checkpoint holds besides tensors, as JSON in the metadata of its file: its `key`, `step`, `epoch`, `seconds` of
# training by all processes so far, `loss_sum` of all steps, the curve (`train`, `validation`), the `best` row, and the random
# numbers of Python's and NumPy's own generators. Nothing of it is looked at unless its SHA-256 is right.
State = dict[str, Any]


class Checkpoints(TrainerCallback):
    """Writes a checkpoint every `minutes`, and continues at one if it is of the same training."""

    def __init__(
        self,
        stage: str,
        minutes: float | None,
        key: Callable[[], dict[str, str]],
        curve: Curve,
        keep: Keep | None = None,
    ) -> None:
        """`minutes`: None for no checkpoints at all. `key`: says what the training depends on, as `key_of` does."""
        self.stage, self.minutes, self._key_of, self.curve, self.keep = stage, minutes, key, curve, keep
        self.key: dict[str, str] = {}
        self.file = FOLDER / stage / "state.safetensors"
        self.log = logging.getLogger(stage)
        self.state: State | None = None  # of the checkpoint that this process continues at
        self.tensors: dict[str, torch.Tensor] = {}
        self.begun = self.saved = time.monotonic()
        self.trainer: Any = None

    @property
    def earlier_seconds(self) -> float:
        """For how long earlier processes trained up to the checkpoint."""
        return float(self.state["seconds"]) if self.state else 0.0

    def attach(self, trainer: Any, folder: str) -> str | None:
        """Watch the trainer. If there is a checkpoint, the folder from which its `train` continues, which is `folder`.

        A checkpoint of another training, or one that is damaged, is deleted, with a line that says so.
        """
        from accelerate.utils import broadcast_object_list

        several = trainer.accelerator.num_processes > 1
        if several or self.minutes is not None:
            self.key = self._key_of()
        if several:
            check_alike(self.key)
        if self.minutes is None:
            return None
        self.trainer, trainer.checkpoints = trainer, self
        trainer.add_callback(self)
        found: list[Any] = [self._found() if rank() == 0 else None]
        broadcast_object_list(found)
        if found[0] is None:
            return None
        self.state, self.tensors = found[0]
        assert self.state is not None
        trainer.args.eval_on_start = False  # the curve has that validation
        state = TrainerState(self.state["epoch"], self.state["step"], train_batch_size=trainer.args.train_batch_size)
        state.compute_steps(trainer.args, trainer.args.max_steps)
        state.save_to_json(str(Path(folder) / TRAINER_STATE_NAME))
        return folder

    def on_train_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **_: Any) -> None:
        """Put back what isn't the model's: sum of the losses, order of the data, curve, best adapter."""
        self.begun = self.saved = time.monotonic()
        if self.state is None:
            return
        self.trainer._total_loss_scalar, self.trainer._initial_global_step = self.state["loss_sum"], 0
        for _epoch in range(int(self.state["epoch"])):  # each draws its order after that of the one before
            deque(train_dataloader.batch_sampler, maxlen=0)
        if self.keep is not None and self.state["best"] is not None:
            self.keep.best = Best(**self.state["best"], tensors=self._of("kept"))
        self.curve.resume(self.state["train"], self.state["validation"], state.max_steps, args.eval_steps)
        if rank() == 0:
            self.log.info("continued at step %d of %d", self.state["step"], state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint if it is time for one by the first process's clock; the trainer makes it once it has validated."""
        from accelerate.utils import broadcast

        assert self.minutes is not None
        due: Any = torch.tensor(int(time.monotonic() - self.saved >= 60 * self.minutes), device=args.device)
        if bool(broadcast(due)) and state.global_step < state.max_steps:
            control.should_save = True

    def save(self) -> None:
        """Write a checkpoint; every process must call this. If that fails, say so: the training is worth more."""
        trainer, curve, model = self.trainer, self.curve, self.trainer.model
        if trainer.control.should_training_stop:
            return
        self.saved = time.monotonic()
        tensors = of_all(rng_states(trainer.args.device))
        tensors |= {f"adapter.{name}": tensor for name, tensor in whole_adapter(model).items()}
        for name, tensor in adapter_parameters(model).items():
            moments = trainer.optimizer.state[tensor].items()
            tensors |= {f"{moment}.{name}": whole(value) for moment, value in moments}
        if rank() != 0:
            return
        best = self.keep.best if self.keep is not None and self.keep.best.step is not None else None
        if best is not None:
            tensors |= {f"kept.{name}": tensor for name, tensor in best.tensors.items()}
        kind, words, *rest = np.random.get_state()
        state: State = {
            "key": self.key,
            "step": trainer.state.global_step,
            "epoch": trainer.state.epoch,
            "seconds": self.earlier_seconds + time.monotonic() - self.begun,
            "loss_sum": trainer._total_loss_scalar,
            "train": curve.train,
            "validation": curve.validation,
            "best": None if best is None else {"step": best.step, "loss": best.loss, "since": best.since},
            "python": random.getstate(),
            "numpy": [kind, np.asarray(words).tolist(), *rest],
        }
        try:
            with atomic(self.file) as temporary:
                write(temporary, state, tensors)
        except OSError as error:
            self.log.warning("no checkpoint: %s can't be written (%s); training goes on", self.file, error.strerror)

    def load_adapter(self) -> None:
        """Give the model the adapter of the checkpoint."""
        for name, tensor in adapter_parameters(self.trainer.model).items():
            tensor.data.copy_(share_of(self.tensors[f"adapter.{name}"], tensor))

    def load_optimizer(self) -> None:
        """Give the optimizer its state, and the step sizes that come next, which depend on the step alone."""
        assert self.state is not None
        if self.keep is not None and self.keep.plateau is not None:
            self.keep.plateau.replay(self.state["validation"])
        optimizer, scheduler, step = self.trainer.optimizer, self.trainer.lr_scheduler, self.state["step"]
        names = {tensor: name for name, tensor in adapter_parameters(self.trainer.model).items()}
        ordered = [tensor for group in optimizer.param_groups for tensor in group["params"]]
        moments = (
            {
                moment: share_of(value, tensor)
                for moment in MOMENTS
                if (value := self.tensors.get(f"{moment}.{names[tensor]}")) is not None
            }
            for tensor in ordered
        )
        state = {index: values for index, values in enumerate(moments) if values}
        rates = [rate * factor(step) for rate, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)]
        groups = [
            group | {"lr": rate} for group, rate in zip(optimizer.state_dict()["param_groups"], rates, strict=True)
        ]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        known = {"last_epoch": step, "_step_count": step + 1, "_last_lr": rates}
        scheduler.load_state_dict(scheduler.state_dict() | known)

    def load_rng(self) -> None:
        """Put back all random numbers; from here on, the training is what it was."""
        assert self.state is not None
        (version, words, gauss), (kind, of_numpy, *rest) = self.state["python"], self.state["numpy"]
        random.setstate((version, tuple(words), gauss))
        np.random.set_state((kind, np.array(of_numpy, dtype=np.uint32), *rest))
        states = self._of(rng_of(rank()))
        torch.random.set_rng_state(states.pop("cpu"))
        for state in states.values():
            torch.cuda.set_rng_state(state)
        self.tensors = {}  # the last that was needed of them

    def _of(self, kind: str) -> dict[str, torch.Tensor]:
        return {
            name.removeprefix(f"{kind}."): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(f"{kind}.")
        }

    def _found(self) -> tuple[State, dict[str, torch.Tensor]] | None:
        """The content of the checkpoint that there is; one that is of no use is deleted, with a line that says so."""
        if not os.path.lexists(self.file):
            return None
        problem = "damaged: its content has another SHA-256"
        try:
            with open_tensors(self.file) as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name).clone() for name in sorted(file.keys())}  # not views of the file
            if digest(metadata.get("state", ""), tensors) == metadata.get("sha256"):
                state: State = json.loads(metadata["state"])
                key = state["key"]
                if not (other := sorted(name for name in {*key, *self.key} if key.get(name) != self.key.get(name))):
                    return state, tensors
                problem = f"it was made at step {state['step']} with other {', '.join(other)}"
        except HallmarkError as error:
            problem = f"damaged: {error.problem}"
        remove(self.stage)
        self.log.warning("the checkpoint in %s was discarded: %s", self.file.parent, problem)
        return None


class Resumable:
    """First base class of a trainer: where transformers would write and read files of its own, it asks `checkpoints`."""

    checkpoints: Checkpoints

    def _save_checkpoint(self, *_: Any, **__: Any) -> None:
        self.checkpoints.save()

    def _load_from_checkpoint(self, *_: Any, **__: Any) -> None:
        self.checkpoints.load_adapter()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.checkpoints.load_optimizer()

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.checkpoints.load_rng()


def key_of(stage: str, params: Params, machine: dict[str, Any]) -> dict[str, str]:
    """All that the stage's result depends on, each with its SHA-256: the deps and params in dvc.yaml, libraries, machine."""
    try:
        listed = YAML(typ="safe", pure=True).load(read_text(PIPELINE))["stages"][stage]
        files = [Path(name) for name in listed["deps"]]
        names = [str(name) for file in listed["params"] for name in file[PARAMS.as_posix()]]
    except (YAMLError, KeyError, TypeError):
        remedy = "restore it: `git checkout dvc.yaml`"
        raise HallmarkError(f"no stage {stage} with deps and params", file=PIPELINE, remedy=remedy) from None
    contents = {file.as_posix(): _content(file) for file in files}
    values = {f"params {name}": value_of(params.model_dump(mode="json", by_alias=True), name) for name in names}
    everything: dict[str, Any] = {**contents, **values, "libraries": installed(), "machine": machine}
    return {
        name: hashlib.sha256(canonical_json(value).encode()).hexdigest() for name, value in sorted(everything.items())
    }


def _content(file: Path) -> str | dict[str, str]:
    """What a dependency holds, in SHA-256; of the code, as it is now, not as it was listed."""
    if file.parent == CODE:
        return listing(f"stages/{file.name}.py")
    return sha256_folder(file) if file.is_dir() else sha256_file(file)


def value_of(params: dict[str, Any], name: str) -> Any:
    """The value of a dotted name, without those of `FREE`."""
    for free in FREE:
        block, _, key = free.rpartition(".")
        params[block].pop(key, None)
    value: Any = params
    for part in name.split("."):
        value = value[part]
    return value


def rng_states(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of torch's random numbers, by device: the processor, and the GPU that this process uses."""
    return {"cpu": torch.random.get_rng_state()} | (
        {"cuda": torch.cuda.get_rng_state()} if device.type == "cuda" else {}
    )


def rng_of(process: int) -> str:
    """What comes before the names of a process's random numbers."""
    return f"rng{process or ''}"


def of_all(states: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    from accelerate.utils import gather_object

    found = gather_object([states])
    return {f"{rng_of(process)}.{name}": state for process, own in enumerate(found) for name, state in own.items()}


def check_alike(key: dict[str, str]) -> None:
    """A HallmarkError unless all processes learn the same: on each machine, of what `key_of` says but the machine itself."""
    from accelerate.utils import gather_object

    first, *others = gather_object([{name: value for name, value in key.items() if name != "machine"}])
    for process, other in enumerate(others, 1):
        if names := sorted(name for name in {*first, *other} if first.get(name) != other.get(name)):
            raise HallmarkError(
                f"process {process} is on a machine with other {', '.join(names)} than the first",
                remedy="bring the same commit and data to every machine: `git checkout`, `dvc pull`",
            )


def write(file: Path, state: State, tensors: dict[str, torch.Tensor]) -> None:
    """Write a checkpoint; its metadata have the SHA-256 of all the rest."""
    from safetensors.torch import save_file

    text = json.dumps(state)
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(held, file, {"state": text, "sha256": digest(text, held)})


def digest(text: str, tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of a checkpoint's content."""
    value = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        value.update(f"\n{name} {tensor.dtype} {[*tensor.shape]}\n".encode())
        value.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return value.hexdigest()


def remove(stage: str) -> None:
    """Remove the stage's checkpoint, and what killed writers left there."""
    with suppress(OSError):
        if (folder := FOLDER / stage).is_symlink():
            folder.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        FOLDER.rmdir()
        FOLDER.parent.rmdir()
