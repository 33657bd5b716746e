"""TRL's `SFTTrainer` with weights for records, shared tokens computed once, and, on a CPU, logits only for completion tokens.

Without Triton, which needs a GPU, TRL 1.16's fused head scores the prompt's tokens too; on a CPU with a vocabulary of 49k
that is half of a training step. The loss is the same.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from transformers import TrainerCallback
from trl import SFTTrainer

from hallmark.base.progress import Progress
from hallmark.model.batches import TokenBatches, record_weights, records_in
from hallmark.model.checkpoint import Resumable
from hallmark.model.kernels import token_losses, use_kernels
from hallmark.model.loading import IGNORED
from hallmark.model.plateau import Plateau
from hallmark.model.prefix import as_row, can_share, in_row
from hallmark.model.tuning import diverged, leave_input_dtype

# Fields of a config by which a model changes its logits after the head; TRL's fused head applies them.
CHANGED_LOGITS = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")


class CompletionTrainer(Resumable, SFTTrainer):
    """An `SFTTrainer` whose loss is the negative log-likelihood of the completion tokens.

    A record's weight is the number of its completion tokens to the power of `length_power`: with 1, all tokens weigh the
    same (TRL's own mean), with 0, all records do. With equal tokens, a short answer such as a refusal, where one token
    decides, hardly counts next to long ones; with equal records, that token outweighs a dozen tokens of a long answer.
    """

    def __init__(
        self, *, length_power: float = 1.0, batch_tokens: int | None = None, packing: bool = False, **options: Any
    ) -> None:
        """`batch_tokens`: the most tokens of a forward pass of training, with padding or, with `packing`, without any."""
        self.length_power = length_power
        super().__init__(**options)
        use_kernels(cast(Any, self.model))
        if self.args.bf16:
            leave_input_dtype(self.model)
        dataset: Any = self.train_dataset
        lengths = [sum(label != IGNORED for label in labels) for labels in dataset["labels"]]
        self.mean_weight = sum(length**length_power for length in lengths) / len(lengths)
        self.token_batches: TokenBatches | None = None
        self.packing = packing
        self.plateau: Plateau | None = None
        tuned: Any = self.model
        watched: Any = self.eval_dataset
        longest = max(len(ids) for data in (dataset, watched) if data for ids in data["input_ids"])
        self.shares = can_share(tuned.get_base_model(), longest)
        if batch_tokens:
            self.token_batches = TokenBatches(dataset, batch_tokens, self.args.seed, packed=packing)
        self.processes: int = self.accelerator.num_processes
        if self.processes > 1:
            # DDP and FSDP gather and reduce around `forward`, so everything that uses the weights must happen inside it.
            tuned.forward = partial(self._token_losses, tuned)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """transformers' schedule, unless there is a `plateau`."""
        if self.plateau is None:
            return super().create_scheduler(num_training_steps, optimizer)
        over: Any = optimizer or self.optimizer
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(over, self.plateau)
        return self.lr_scheduler

    def counts(self) -> dict[str, Any]:
        """How many records, tokens and batches of them there are to learn from, for the report."""
        train, validation = cast(Any, self.train_dataset), cast(Any, self.eval_dataset)
        tokens = sum(map(len, train["input_ids"]))
        completion = sum(label != IGNORED for labels in train["labels"] for label in labels)
        return {
            "records": {"train": len(train), "validation": len(validation)},
            "tokens": {"train": tokens, "completion": completion},
        } | ({} if self.token_batches is None else {"batches": len(self.token_batches)})

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted loss in nats per completion token; with `num_items_in_batch`, this batch's share of the step's loss.

        With several processes, each returns its share times the number of processes: DDP and FSDP average gradients.
        """
        if return_outputs:
            raise ValueError("logits are not computed; set prediction_loss_only")
        labels = inputs["labels"][:, 1:]
        predicted = labels != IGNORED
        positions = inputs.get("position_ids")  # only packed records have them; they have no mask
        names = ("input_ids", "labels", "attention_mask" if positions is None else "position_ids")
        tokens = {name: inputs[name] for name in names}
        losses = model(**tokens) if self.processes > 1 else self._token_losses(model, **tokens)
        if self.length_power == 1:
            if num_items_in_batch is None:
                return losses.sum() / predicted.sum()
            share = losses.sum() / num_items_in_batch  # the count covers all processes
            return share * self.processes if self.processes > 1 else share
        weights = record_weights(predicted, positions, self.length_power - 1)
        records = records_in(inputs) if num_items_in_batch is None else num_items_in_batch / self.processes
        return (losses * weights).sum() / (self.mean_weight * records)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        """The divisor of a step's loss: its completion tokens if all tokens weigh the same, otherwise its records.

        So the loss of a last step with fewer records, or with a smaller batch, is a mean too.
        """
        if self.length_power == 1:
            return super()._get_num_items_in_batch(batch_samples, device)
        records = sum(records_in(batch) for batch in batch_samples)
        if self.processes > 1:
            records = int(self.accelerator.gather(torch.tensor(records, device=device)).sum())
        return records

    def _token_losses(
        self, model: Any, *, input_ids: Any, labels: Any, attention_mask: Any = None, position_ids: Any = None
    ) -> torch.Tensor:
        """The loss of every completion token of the batch, as one flat tensor."""
        base = self.accelerator.unwrap_model(model).get_base_model()
        decoder, reading = base.get_decoder(), cast(AbstractContextManager[None], nullcontext())
        # Checkpoints are switched on after the trainer is made; they would compute layers again as if there were no row.
        if self.shares and position_ids is None and not base.is_activation_checkpointing:
            row = as_row(input_ids, labels, decoder.config._attn_implementation)
            input_ids, labels, position_ids, attention_mask = row.input_ids, row.labels, row.position_ids, None
            reading = in_row(decoder, row)
        packed = {} if position_ids is None else {"position_ids": position_ids}
        with self.accelerator.autocast(), reading:
            if in_chunks(base):
                output = base(input_ids=input_ids, labels=labels, fused_lm_head=True, **packed)
                return -output.log_probs[labels[:, 1:] != IGNORED]
            logits, targets = completion_logits(base, input_ids, attention_mask, labels, **packed)
            return token_losses(logits, targets)

    def prediction_step(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        """The loss of a batch; in the last one, without the records repeated only to fill it up."""
        remainder = self.accelerator.gradient_state.remainder  # records in the last round; 0: as many as in the others
        if self.processes > 1 and self.accelerator.gradient_state.end_of_dataloader and remainder > 0:
            size = self.args.per_device_eval_batch_size
            own = remainder - size * self.accelerator.process_index
            if 0 < own < size:
                inputs = {name: values[:own] for name, values in inputs.items()}
        return super().prediction_step(model, inputs, *arguments, **options)

    def get_train_dataloader(self) -> Any:
        """Batches of `batch_size` records, or those of `batch_tokens`, each already made up of its records."""
        if self.token_batches is None:
            return super().get_train_dataloader()
        padded: Any = self.data_collator
        collate = replace(padded, padding_free=True) if self.packing else padded
        self.data_collator = partial(_collate_one, collate)
        try:
            return self._get_dataloader(self.token_batches, "Training", 1, self._get_train_sampler, is_training=True)
        finally:
            self.data_collator = padded  # of the validation

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthSampler:
        if self.token_batches is not None:
            return LengthSampler(self.token_batches.tokens, 1, self.args.seed)
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(ids) for ids in dataset["input_ids"]]
        return LengthSampler(lengths, self.args.per_device_train_batch_size, self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        lengths = [len(ids) for ids in eval_dataset["input_ids"]]
        return sorted(range(len(lengths)), key=lengths.__getitem__)  # to keep padding small


def in_chunks(base: Any) -> bool:
    """Whether TRL's fused head computes the loss: it never holds all logits, and knows models that change theirs.

    On a GPU it scores only completion tokens, a part of the vocabulary at a time. On a CPU `completion_logits` is cheaper.
    """
    return base.device.type != "cpu" or changes_logits(base.config.get_text_config())


def changes_logits(config: Any) -> bool:
    """Whether a model of this configuration scales or caps its logits."""
    return any(getattr(config, name, None) is not None for name in CHANGED_LOGITS)


def completion_logits(
    base: Any, input_ids: Any, attention_mask: Any, labels: Any, **packed: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits for each completion token, one row per token, and the tokens themselves; on a CPU.

    Padding is on the right and attention is causal, so no token of a record sees it, and the model gets no mask: on a GPU it
    would keep SDPA from flash attention. Only SDPA on a CPU still gets one, since without it the gradients of grouped
    heads are summed in another order. The logits have the same bytes either way. `packed`: the `position_ids` of records
    that are packed into a row, which start again with each: transformers then makes the mask that keeps them apart.
    """
    predicted = labels[:, 1:] != IGNORED
    mask = {"attention_mask": attention_mask} if base.config._attn_implementation == "sdpa" else {}
    hidden = base.get_decoder()(input_ids=input_ids, use_cache=False, **mask, **packed).last_hidden_state
    return base.get_output_embeddings()(hidden[:, :-1][predicted]), labels[:, 1:][predicted]


def _collate_one(collate: Any, batches: list[Any]) -> Any:
    (records,) = batches
    return collate(records)


class LengthSampler(torch.utils.data.Sampler[int]):
    """Orders record indices so that each batch has records of similar length, with the batches in random order.

    transformers' `group_by_length` goes from longest to shortest within stretches of 50 batches: short kinds of records
    come in a row, and how well they are learned depends on where training ends.
    """

    STRETCH = 16  # batches sorted together; more means less padding and less randomness

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size = lengths, batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        indices = torch.randperm(len(self.lengths), generator=self.generator).tolist()
        stretch, batches = self.STRETCH * self.batch_size, []
        for start in range(0, len(indices), stretch):
            by_length = sorted(indices[start : start + stretch], key=lambda index: (self.lengths[index], index))
            batches += [by_length[at : at + self.batch_size] for at in range(0, len(by_length), self.batch_size)]
        last = [batches.pop()] if len(batches[-1]) < self.batch_size else []  # a partial batch must end the epoch
        order = torch.randperm(len(batches), generator=self.generator).tolist()
        for batch in (*(batches[index] for index in order), *last):
            yield from batch


class Curve(TrainerCallback):
    """Keeps the measures logged in training and validation, and says how far it is."""

    def __init__(self, stage: str, measures: Sequence[str], *, may_stop: bool = False) -> None:
        """`may_stop`: before the last step, as early stopping does."""
        self.stage, self.measures, self.may_stop = stage, measures, may_stop
        self.train: list[dict[str, Any]] = []
        self.validation: list[dict[str, Any]] = []
        self.progress = Progress(stage, None, "steps", silent=True)
        self.validated = 0  # batches of the validation under way

    @contextmanager
    def shown(self, steps: int, validations: int, *, writes: bool) -> Iterator[None]:
        """Show the progress while the block trains; `writes`: whether this process may, which one of several does."""
        work = {"step": steps, "validation": validations}
        with Progress(self.stage, steps, "steps", work=work, silent=not writes, bound=self.may_stop) as self.progress:
            self.progress.to(0, loss=None, validation_loss=None)  # in this order
            yield

    def resume(self, train: list[dict[str, Any]], validation: list[dict[str, Any]], steps: int, every: int) -> None:
        """Go on after what an earlier process measured; `steps` in all, with a validation after each `every`."""
        self.train, self.validation = list(train), list(validation)
        self.progress.left("step", steps - train[-1]["step"])
        self.progress.to(train[-1]["step"], loss=train[-1]["loss"])
        if validation:
            self.progress.left("validation", 1 + math.ceil(steps / every) - len(validation))
            self.progress.to(train[-1]["step"], validation_loss=validation[-1]["loss"])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count the step; its loss comes with `on_log`."""
        self.progress.spent("step", 1)
        self.progress.to(state.global_step)

    def on_prediction_step(self, args: Any, state: Any, control: Any, eval_dataloader: Any = None, **_: Any) -> None:
        """Say how far the validation is."""
        self.validated += 1
        self.progress.to(state.global_step, validating=f"{self.validated} of {len(eval_dataloader)}")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Keep the measures, which must be numbers, and log each validation loss, which `tune` reads."""
        logs = logs or {}
        for name in ("loss", "grad_norm", "eval_loss", *self.measures, *(f"eval_{name}" for name in self.measures)):
            if name in logs and not math.isfinite(logs[name]):
                raise diverged(self.stage, f"{name} is {float(logs[name])} at step {state.global_step}")
        for rows, prefix in ((self.train, ""), (self.validation, "eval_")):
            if f"{prefix}loss" in logs:
                values = {name: round(logs[prefix + name], 6) for name in self.measures}
                rows.append({"step": state.global_step} | values)
        if "loss" in logs:
            self.progress.to(state.global_step, loss=logs["loss"])
        if "eval_loss" in logs:
            self.validated = 0
            self.progress.spent("validation", 1)
            self.progress.to(state.global_step, validation_loss=logs["eval_loss"], validating=None)
            if state.is_world_process_zero:
                logging.getLogger(self.stage).info(
                    "step %d: validation loss %.6f", state.global_step, logs["eval_loss"]
                )

    def csv(self) -> str:
        """The curve: one row per step and split; a measure's column is the last part of its name."""
        rows = [(row["step"], split, row) for split in ("train", "validation") for row in getattr(self, split)]
        rows.sort(key=lambda row: (row[0], row[1], *(row[2][name] for name in self.measures)))
        head = ["step", "split", *(name.rpartition("/")[2] for name in self.measures)]
        lines = [head, *([step, split, *(row[name] for name in self.measures)] for step, split, row in rows)]
        return "".join(dict.fromkeys(",".join(map(str, line)) + "\n" for line in lines))
