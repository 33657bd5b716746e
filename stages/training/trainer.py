"""TRL's `SFTTrainer` with a cheaper loss: logits only where a completion token is predicted, no weight gradients.

TRL 1.16's fused head computes, for every chunk, fp32 logits, their entropy, and a gradient for the frozen head; on a
CPU with a vocabulary of 49k that is half of a training step. The loss is the same number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback
from trl import SFTTrainer

from stages.models.loading import IGNORED


class CompletionTrainer(SFTTrainer):
    """An `SFTTrainer` whose loss is the negative log-likelihood of the completion tokens.

    A record weighs as the number of its completion tokens to the power of `length_power`: with 1 every token weighs
    alike (TRL's own mean), with 0 every record. By the token, a short answer such as a refusal, in which one token
    decides, hardly counts among long ones; by the record, that one token outweighs a dozen of a long answer's.
    """

    def __init__(self, *, length_power: float = 1.0, **options: Any) -> None:
        self.length_power = length_power
        super().__init__(**options)
        dataset: Any = self.train_dataset
        lengths = [sum(label != IGNORED for label in labels) for labels in dataset["labels"]]
        self.mean_weight = sum(length**length_power for length in lengths) / len(lengths)
        self.processes: int = self.accelerator.num_processes
        if self.processes > 1:
            # DDP and FSDP gather and reduce around `forward`, so what needs the model's weights must happen in it.
            tuned: Any = self.model
            tuned.forward = partial(self._token_losses, tuned)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss in nats a completion token, weighted; this batch's share of the whole step's with `num_items_in_batch`.

        Of several processes each gives its share of the step's loss times their number: DDP and FSDP average gradients.
        """
        if return_outputs:
            raise ValueError("the logits are not built; set prediction_loss_only")
        labels = inputs["labels"][:, 1:]
        predicted = labels != IGNORED
        tokens = {name: inputs[name] for name in ("input_ids", "attention_mask", "labels")}
        losses = model(**tokens) if self.processes > 1 else self._token_losses(model, **tokens)
        if self.length_power == 1:
            if num_items_in_batch is None:
                return losses.sum() / predicted.sum()
            share = losses.sum() / num_items_in_batch  # the count is of all processes
            return share * self.processes if self.processes > 1 else share
        lengths = predicted.sum(dim=1, keepdim=True).clamp(min=1)
        weights = (predicted * lengths.to(losses.dtype) ** (self.length_power - 1))[predicted]
        records = len(labels) if num_items_in_batch is None else num_items_in_batch / self.processes
        return (losses * weights).sum() / (self.mean_weight * records)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        """What a step's loss is divided by: its completion tokens if all tokens weigh the same, otherwise its records.

        A last step with fewer records, or with a smaller batch among its batches, is then a mean too.
        """
        if self.length_power == 1:
            return super()._get_num_items_in_batch(batch_samples, device)
        records = sum(len(batch["labels"]) for batch in batch_samples)
        if self.processes > 1:
            records = int(self.accelerator.gather(torch.tensor(records, device=device)).sum())
        return records

    def _token_losses(self, model: Any, *, input_ids: Any, attention_mask: Any, labels: Any) -> torch.Tensor:
        """The loss of every completion token of the batch, one after the other."""
        base = self.accelerator.unwrap_model(model).get_base_model()
        # PEFT would cast every input to fp32, the adapters' type, only for autocast to cast it back.
        with disable_input_dtype_casting(model, active=self.args.bf16), self.accelerator.autocast():
            logits, due = completion_logits(base, input_ids, attention_mask, labels)
        return cross_entropy(logits, due, reduction="none")

    def prediction_step(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        """The loss of a batch; of the last one without the records that only fill it up to the size of the others."""
        left = self.accelerator.gradient_state.remainder  # records dealt out in the last round; 0: as in any other
        if self.processes > 1 and self.accelerator.gradient_state.end_of_dataloader and left > 0:
            size = self.args.per_device_eval_batch_size
            own = left - size * self.accelerator.process_index
            if 0 < own < size:
                inputs = {name: values[:own] for name, values in inputs.items()}
        return super().prediction_step(model, inputs, *arguments, **options)

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthSampler:
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(ids) for ids in dataset["input_ids"]]
        return LengthSampler(lengths, self.args.per_device_train_batch_size, self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        lengths = [len(ids) for ids in eval_dataset["input_ids"]]
        return sorted(range(len(lengths)), key=lengths.__getitem__)  # so that little is padding


def completion_logits(base: Any, input_ids: Any, attention_mask: Any, labels: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The fp32 logits wherever a completion token is predicted, one row each, and these tokens."""
    predicted = labels[:, 1:] != IGNORED
    hidden = base.get_decoder()(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
    return base.get_output_embeddings()(hidden[:, :-1][predicted]).float(), labels[:, 1:][predicted]


class LengthSampler(torch.utils.data.Sampler[int]):
    """The places of records, so that a batch has records of like length, and batches come in random order.

    transformers' `group_by_length` goes from the longest to the shortest in stretches of 50 batches: kinds of records
    that are short come in a row, and what is learned of them depends on where the training ends.
    """

    STRETCH = 16  # so many batches are sorted together; more is less padding and less chance

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size = lengths, batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        places = torch.randperm(len(self.lengths), generator=self.generator).tolist()
        stretch, batches = self.STRETCH * self.batch_size, []
        for start in range(0, len(places), stretch):
            alike = sorted(places[start : start + stretch], key=lambda place: (self.lengths[place], place))
            batches += [alike[at : at + self.batch_size] for at in range(0, len(alike), self.batch_size)]
        last = [batches.pop()] if len(batches[-1]) < self.batch_size else []  # not full: it must end the pass
        order = torch.randperm(len(batches), generator=self.generator).tolist()
        for batch in (*(batches[place] for place in order), *last):
            yield from batch


class ProgressLine(TrainerCallback):
    """One line of progress at every validation, and a record of what is logged of training and of validation."""

    def __init__(self, stage: str, measures: Sequence[str]) -> None:
        self.stage, self.measures = stage, measures
        self.train: list[dict[str, Any]] = []
        self.validation: list[dict[str, Any]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Keep the measures; print a line whenever the validation loss is new."""
        logs = logs or {}
        for rows, prefix in ((self.train, ""), (self.validation, "eval_")):
            if f"{prefix}loss" in logs:
                values = {name: round(logs[prefix + name], 6) for name in self.measures}
                rows.append({"step": state.global_step} | values)
        if "eval_loss" in logs:
            if not state.is_world_process_zero:
                return
            trained = f"training loss {self.train[-1]['loss']:.3f}, " if self.train else ""
            print(
                f"{self.stage}: step {state.global_step} of {state.max_steps}: {trained}"
                f"validation loss {logs['eval_loss']:.3f}",
                flush=True,
            )

    def csv(self) -> str:
        """The curve: a row for every step and split, the measures by the last part of their names."""
        rows = [
            [row["step"], split, *(row[name] for name in self.measures)]
            for split in ("train", "validation")
            for row in getattr(self, split)
        ]
        head = ["step", "split", *(name.rpartition("/")[2] for name in self.measures)]
        return "".join(",".join(map(str, row)) + "\n" for row in dict.fromkeys(map(tuple, [head, *sorted(rows)])))
