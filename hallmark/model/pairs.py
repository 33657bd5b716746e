"""The trainer of `dpo`: TRL's, made to start exactly where `sft` ended, with batches of similar length and per-pair results.

The reference model is the adapter of `sft` itself: TRL 1.16 keeps a frozen copy of it next to the one in training, over
the same base, which costs only a few megabytes and one forward pass per step.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch.distributions import Categorical
from torch.nn.functional import cross_entropy
from trl import DPOTrainer
from trl.trainer.utils import FusedCausalLMOutput

from hallmark.base.progress import Progress
from hallmark.model.checkpoint import Resumable
from hallmark.model.kernels import use_kernels
from hallmark.model.loading import IGNORED
from hallmark.model.params import Dpo
from hallmark.model.trainer import LengthSampler, completion_logits, in_chunks
from hallmark.model.tuning import adapter_parameters, leave_input_dtype


class PairTrainer(Resumable, DPOTrainer):
    """A `DPOTrainer` for a model that already has an adapter."""

    # `compute_loss` does it. TRL 1.16 leaves it to transformers, which weighs a batch of few pairs like a full one.
    loss_is_scaled_for_ga = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        model: Any = self.model
        for name, tensor in adapter_parameters(model).items():
            # TRL 1.16 casts the adapters of a 4-bit base to bf16 after copying them: training would start one rounding
            # away from the adapter of sft, and AdamW's small steps would be rounded away.
            tensor.data = model.get_parameter(name.replace(".default.", ".ref.")).detach().float().clone()
        use_kernels(model)
        if self.args.bf16:
            leave_input_dtype(model)
        base = model.get_base_model()
        base.forward = partial(without_mask, base.forward) if in_chunks(base) else partial(completion_log_probs, base)

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """The pairs are already tokenized, with their lengths checked; TRL would tokenize them again from messages."""
        return dataset

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's loss, the mean over the batch's pairs; with `num_items_in_batch`, this batch's share of the step's loss."""
        loss = super().compute_loss(model, inputs, return_outputs)
        return loss if num_items_in_batch is None else loss * (len(inputs["input_ids"]) / num_items_in_batch)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> int:
        """The texts of a step, two per pair: the last step of an epoch may have fewer batches, and one of them smaller."""
        return sum(len(batch["input_ids"]) for batch in batch_samples)

    def differences(self) -> torch.Tensor:
        """By how many nats the model prefers the right answer to the rejected one, for each validation pair."""
        model, dataset, size = cast(Any, self.model), cast(Any, self.eval_dataset), self.args.per_device_eval_batch_size
        model.eval()
        differences = []
        indices, lengths = self._get_eval_sampler(dataset), _lengths(dataset)
        work = {"tokens": float(sum(lengths))}
        with Progress("dpo", len(indices), "validation pairs compared", work=work, brief=True) as progress:
            for start in range(0, len(indices), size):
                of_batch = indices[start : start + size]
                batch = self._prepare_inputs(self.data_collator([dataset[index] for index in of_batch]))
                labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, IGNORED)
                with torch.no_grad(), self.accelerator.autocast():
                    output = model(**batch, labels=labels, use_cache=False, fused_lm_head=True)
                chosen, rejected = output.log_probs.sum(dim=1).chunk(2)
                differences.append((chosen - rejected).float().cpu())
                progress.spent("tokens", sum(lengths[index] for index in of_batch))
                progress.add(len(of_batch))
        return torch.cat(differences)

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthSampler:
        lengths = _lengths(self.train_dataset if train_dataset is None else train_dataset)
        return LengthSampler(lengths, self.args.per_device_train_batch_size, self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        lengths = _lengths(eval_dataset)
        return sorted(range(len(lengths)), key=lengths.__getitem__)  # to keep padding small


def measures(before: torch.Tensor, after: torch.Tensor, beta: float) -> dict[str, float]:
    """Summary of the pairs' differences before and after: shares of the pairs, and TRL's mean reward margin in nats."""
    return {
        "likelier_before": round(float((before > 0).float().mean()), 6),
        "likelier_after": round(float((after > 0).float().mean()), 6),
        "reward_accuracy": round(float((after > before).float().mean()), 6),
        "reward_margin": round(float(beta * (after - before).mean()), 6),
    }


def words(dpo: Dpo, pairs: dict[str, int], validation: dict[str, float] | None) -> str:
    """One sentence for the report page and the model card. `validation`: the measures of its pairs, if there are any."""
    training = (
        f"After supervised tuning, DPO ({dpo.loss} loss, beta {dpo.beta:g}) on {pairs['train']} pairs of an "
        "answer and a rejected one"
    )
    if validation is None:
        return f"{training}; no validation record has a rejected answer to measure it with."
    return (
        f"{training}; of {pairs['validation']} validation pairs, the right answer was the likelier one in "
        f"{100 * validation['likelier_before']:.1f} % before and {100 * validation['likelier_after']:.1f} % after."
    )


def without_mask(forward: Any, *, attention_mask: Any, **inputs: Any) -> FusedCausalLMOutput:
    """The output of TRL's fused head without the attention mask, which padding on the right doesn't need."""
    output: FusedCausalLMOutput = forward(**inputs)
    return output


def completion_log_probs(
    base: Any, *, input_ids: Any, attention_mask: Any, labels: Any, **_: Any
) -> FusedCausalLMOutput:
    """The output of TRL's fused head for these inputs. Without Triton, TRL 1.16 makes its own score the prompt too."""
    logits, targets = completion_logits(base, input_ids, attention_mask, labels)
    logits = logits.float()
    predicted = labels[:, 1:] != IGNORED

    def scatter(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(predicted.shape).masked_scatter(predicted, values)

    log_probs = scatter(-cross_entropy(logits, targets, reduction="none"))
    with torch.no_grad():
        entropy = Categorical(logits=logits, validate_args=False).entropy()
        top = logits.argmax(dim=-1) == targets
        return FusedCausalLMOutput(
            log_probs=log_probs,
            entropy=scatter(entropy),
            mean_logits=scatter(logits.mean(dim=-1)),
            is_top1=scatter(top),
        )


def _lengths(dataset: Any) -> list[int]:
    """The number of tokens in the longer text of each pair."""
    return [
        len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))
        for row in dataset.select_columns(["prompt_ids", "chosen_ids", "rejected_ids"])
    ]
