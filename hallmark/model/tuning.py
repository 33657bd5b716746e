"""Shared by the stages that train an adapter: loading the base, TRL's common arguments, saving the adapter."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, QUANTIZED, REPORTS, canonical_json
from hallmark.base.reading import read_object
from hallmark.model.adapter import weights_in
from hallmark.model.loading import TRAINING, load_base
from hallmark.model.params import Sft, Training

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from hallmark.model.trainer import Curve
    from hallmark.params.loader import Params


# The files of the tokenizer, copied so that the adapter folder can be used without the base folder.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "chat_template.jinja")


def load_frozen(sft: Sft, device: str, *, sharded: bool = False) -> PreTrainedModel:
    """The weights to train an adapter over: those of `quantize`, or (`dequantize_once: false`) the base in 4 bits."""
    if sft.method == "qlora" and not sft.dequantize_once:
        return load_base(BASE, dtype=sft.dtype, attention=sft.attention, device=device, nf4=True, sharded=sharded)
    return load_base(QUANTIZED, dtype=sft.dtype, attention=sft.attention, device=device)


def training_options(
    sft: Sft, block: Training, folder: str, *, device: str, seed: int, validate: bool
) -> dict[str, Any]:
    """The options common to TRL's `SFTConfig` and `DPOConfig`. Only TRL itself writes to `folder`."""
    return {
        "output_dir": folder,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": device == "cpu",
        "optim": "adamw_torch_fused",  # has its own square root: MKL's differs between processors with compute.portable
        "bf16": sft.dtype == "bfloat16",
        "per_device_train_batch_size": block.batch_size,
        "per_device_eval_batch_size": block.batch_size,
        "gradient_accumulation_steps": block.gradient_accumulation_steps,
        "num_train_epochs": block.epochs,
        "max_steps": block.max_steps or -1,
        "learning_rate": block.learning_rate,
        "lr_scheduler_type": block.lr_scheduler,
        "warmup_steps": block.warmup_ratio,  # a value below 1 is a share of all steps
        "weight_decay": sft.weight_decay,
        "adam_beta2": sft.adam_beta2,
        "max_grad_norm": sft.max_grad_norm,
        "ddp_find_unused_parameters": False,
        "activation_checkpointing": sft.gradient_checkpointing,
        "max_length": None,  # checked in `tokenized_records`, which can name the record
        "eval_strategy": "steps" if validate else "no",
        "eval_steps": block.eval_steps,
        "eval_on_start": validate,
        "prediction_loss_only": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "logging_nan_inf_filter": False,  # it would log the mean of earlier losses instead of one that is not a number
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": device == "cuda",
    }


def sft_arguments(params: Params, folder: str, *, sharded: bool = False) -> Any:
    """TRL's `SFTConfig` for the `sft` block. `sharded`: in several processes, each with a part of the weights."""
    from trl import SFTConfig

    device = params.compute.device
    options = training_options(params.sft, params.sft, folder, device=device, seed=params.seed, validate=True)
    arguments = SFTConfig(**options)
    if sharded and device == "cpu":
        from accelerate.utils import DistributedType

        # accelerate 1.15 silently treats FSDP on a CPU as DDP, although torch can shard there too.
        arguments.distributed_state.distributed_type = DistributedType.MULTI_GPU
    return arguments


def dpo_arguments(params: Params, folder: str, *, validate: bool) -> Any:
    """TRL's `DPOConfig` for the `dpo` block."""
    from trl import DPOConfig

    dpo, device = params.dpo, params.compute.device
    options = training_options(params.sft, dpo, folder, device=device, seed=params.seed, validate=validate)
    return DPOConfig(**options, loss_type=[dpo.loss], beta=dpo.beta, label_smoothing=dpo.label_smoothing)


def hold_adapter_in_fp32(model: torch.nn.Module, method: str) -> None:
    """Let a new adapter start from the same values over a base in 4 bits and over the same weights written out.

    TRL 1.16 rounds it to bf16 over the former alone. It can't stay in bf16: that would round away AdamW's small steps.
    """
    for tensor in adapter_parameters(model).values():
        tensor.data = (tensor.data.bfloat16() if method == "qlora" else tensor.data).float()


def leave_input_dtype(model: Any) -> None:
    """Let the adapters take inputs as they are: PEFT would cast them to fp32, only for autocast to cast them back to bf16.

    For good, not with PEFT's context manager around the forward pass: with gradient checkpointing, the backward pass
    recomputes outside of it, and would find other dtypes than it had saved.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layer: Any
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.cast_input_dtype_enabled = False  # type: ignore[attr-defined]


def quiet() -> None:
    """Silence the libraries' progress bars and one warning."""
    import datasets

    datasets.disable_progress_bars()
    # transformers 5.24 renamed it, TRL 1.16 still reads the old name; transformers 6 removes it.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)


def run_trainer(trainer: Any, curve: Curve, checkpoint: str | None = None) -> dict[str, float]:
    """Train, and validate after the last step if there is anything to validate on. Returns TRL's metrics of the run.

    `checkpoint`: the folder from which the trainer continues.
    """
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    steps, validates = step_count(trainer), trainer.args.eval_strategy != "no"
    validations = 1 + math.ceil(steps / trainer.args.eval_steps) if validates else 0  # before, between and after
    with curve.shown(steps, validations, writes=trainer.is_world_process_zero()):
        metrics: dict[str, float] = trainer.train(resume_from_checkpoint=checkpoint).metrics
        if curve.validation and curve.validation[-1]["step"] < trainer.state.global_step:
            trainer.evaluate()
    return metrics


def diverged(stage: str, problem: str) -> HallmarkError:
    """The error of a training whose numbers are infinite or none at all; whatever was there before it stays."""
    return HallmarkError(
        f"training diverged: {problem}",
        param=f"{stage}.learning_rate",
        remedy=f"lower it, raise {stage}.warmup_ratio, or lower sft.max_grad_norm; earlier outputs are untouched",
    )


def check_trained(model: torch.nn.Module, stage: str, tensors: dict[str, torch.Tensor] | None = None) -> None:
    """Refuse an adapter with values that are infinite or not numbers; `tensors` if `model` has only a shard of them."""
    for name, tensor in (tensors or adapter_parameters(model)).items():
        if not bool(tensor.detach().isfinite().all()):
            raise diverged(stage, f"{name} has values that are infinite or not numbers")


def outcome(trainer: Any, metrics: dict[str, float], initial: str) -> dict[str, Any]:
    """What a report says about any training; `initial` is the hash of the adapter before it."""
    return {
        "steps": trainer.state.global_step,
        "trainable_parameters": sum(tensor.numel() for tensor in adapter_parameters(trainer.model).values()),
        "initial_adapter_sha256": initial,
        "train_loss": round(metrics["train_loss"], 6),
    }


def step_count(trainer: Any) -> int:
    """How many optimizer steps the trainer will take."""
    if trainer.args.max_steps > 0:
        return trainer.args.max_steps
    of_tokens = getattr(trainer, "token_batches", None)
    batches = len(of_tokens or ()) or -(-len(trainer.train_dataset) // trainer.args.per_device_train_batch_size)
    batches = -(-batches // trainer.args.world_size)
    return math.ceil(-(-batches // trainer.args.gradient_accumulation_steps) * trainer.args.num_train_epochs)


def adapter_parameters(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The trainable tensors by name, sorted."""
    return {name: tensor for name, tensor in sorted(model.named_parameters()) if tensor.requires_grad}


def whole_adapter(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The trainable tensors by name, sorted, gathered from the FSDP shards; every process must call this."""
    return {name: whole(tensor.detach()) for name, tensor in adapter_parameters(model).items()}


def whole(tensor: Any) -> torch.Tensor:
    """A tensor on the CPU, gathered from its FSDP shards if it has some; every process must call this."""
    full: torch.Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full.cpu()


def share_of(value: torch.Tensor, like: Any) -> torch.Tensor:
    """What a process keeps of a whole tensor: all of it, or its shard if `like`, which has the same shape, is sharded."""
    if not hasattr(like, "full_tensor") or value.shape != like.shape:  # a number of steps is held by each
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def adapter_hash(model: torch.nn.Module) -> str:
    """SHA-256 of the trainable tensors, names and bytes: runs that start from different hashes can't end equal."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in adapter_parameters(model).items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_adapter(
    model: Any,
    name: str,
    revision: str | None,
    precision: str,
    folder: Path,
    tensors: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write the adapter so that its bytes repeat: safetensors, canonical JSON, the base's tokenizer, no local path.

    `name` and `revision` are what loads its base: a repo of the hub and its commit, or a folder and None. `tensors` are the
    adapter's full tensors if `model` holds only a shard of them. PEFT lists `target_modules` from a
    set, in an order that depends on the hash seed, and names the base by its path.
    """
    model.save_pretrained(folder, safe_serialization=True, selected_adapters=["default"], state_dict=tensors)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's generic model card; `certify` writes the real one
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = name
    config["revision"] = revision
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(canonical_json(config), encoding="utf-8")
    record = {"base_precision": precision, "weights": weights_in(QUANTIZED)}
    (folder / TRAINING).write_text(canonical_json(record), encoding="utf-8")
    for file in TOKENIZER_FILES:
        if (BASE / file).exists():
            shutil.copyfile(BASE / file, folder / file)


def base_report() -> dict[str, Any]:
    return read_object(REPORTS / "base.json", "run `dvc repro base`, which makes it")


def check_context(report: dict[str, Any], max_length: int) -> None:
    """A HallmarkError if `sft.max_length` is longer than what the base reads."""
    if report["context"] and max_length > report["context"]:
        raise HallmarkError(
            f"{max_length} tokens, but the base model reads at most {report['context']}",
            param="sft.max_length",
            remedy=f"set it to at most {report['context']}",
        )


def source_of(report: dict[str, Any]) -> tuple[str, str | None]:
    """What loads the base: a repo of the hub and its commit, or else its folder here and None.

    Weights from a package or a folder are not those of the hub's repo, whatever their name.
    """
    on_hub = report.get("source") == "hub"
    return (report["name"], report["revision"]) if on_hub else (f"./{BASE.as_posix()}", None)
