"""The trainer of `dpo`: TRL's, held to start where `sft` ended, with its batches of like length and a measure by the pair.

The model it learns against is the adapter of `sft` itself: TRL 1.16 keeps a frozen copy of it beside the one that is
trained, over the same base, so that the price is a few megabytes and a forward pass a step.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from peft.helpers import disable_input_dtype_casting
from torch.distributions import Categorical
from torch.nn.functional import cross_entropy
from trl import DPOTrainer
from trl.trainer.utils import FusedCausalLMOutput

from stages.models.loading import IGNORED
from stages.training.trainer import LengthSampler, completion_logits
from stages.training.tuning import adapter_parameters


class PairTrainer(DPOTrainer):
    """A `DPOTrainer` over a model that has an adapter already."""

    # By `compute_loss`. TRL 1.16 leaves it to transformers, for which a batch of few pairs weighs as much as a full one.
    loss_is_scaled_for_ga = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        model: Any = self.model
        for name, tensor in adapter_parameters(model).items():
            # TRL 1.16 makes the adapters of a 4-bit base bf16, after it has copied them: what is trained would begin a
            # rounding away from the adapter of sft, and AdamW's small steps would be rounded away.
            tensor.data = model.get_parameter(name.replace(".default.", ".ref.")).detach().float().clone()
        base = model.get_base_model()
        base.forward = partial(completion_log_probs, base)

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """The pairs are tokens already, as their lengths were checked; TRL would make them anew from messages."""
        return dataset

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's loss, the mean over the batch's pairs; this batch's share of the whole step's with `num_items_in_batch`."""
        # PEFT would cast every input to fp32, the adapters' type, only for autocast to cast it back.
        with disable_input_dtype_casting(model, active=self.args.bf16):
            loss = super().compute_loss(model, inputs, return_outputs)
        return loss if num_items_in_batch is None else loss * (len(inputs["input_ids"]) / num_items_in_batch)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> int:
        """The texts of a step, two a pair: the last step of a pass may have fewer batches, and a smaller one among them."""
        return sum(len(batch["input_ids"]) for batch in batch_samples)

    def differences(self) -> torch.Tensor:
        """How much likelier the model finds the answer than the worse one, in nats, for each pair of validation."""
        model, dataset, size = cast(Any, self.model), cast(Any, self.eval_dataset), self.args.per_device_eval_batch_size
        model.eval()
        found = []
        places = self._get_eval_sampler(dataset)
        for start in range(0, len(places), size):
            rows = [dataset[place] for place in places[start : start + size]]
            batch = self._prepare_inputs(self.data_collator(rows))
            labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, IGNORED)
            with (
                torch.no_grad(),
                disable_input_dtype_casting(model, active=self.args.bf16),
                self.accelerator.autocast(),
            ):
                output = model(**batch, labels=labels, use_cache=False, fused_lm_head=True)
            answer, worse = output.log_probs.sum(dim=1).chunk(2)
            found.append((answer - worse).float().cpu())
        return torch.cat(found)

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthSampler:
        lengths = _lengths(self.train_dataset if train_dataset is None else train_dataset)
        return LengthSampler(lengths, self.args.per_device_train_batch_size, self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        lengths = _lengths(eval_dataset)
        return sorted(range(len(lengths)), key=lengths.__getitem__)  # so that little is padding


def completion_log_probs(
    base: Any, *, input_ids: Any, attention_mask: Any, labels: Any, **_: Any
) -> FusedCausalLMOutput:
    """What TRL's fused head gives for these inputs. TRL 1.16 has it score the prompt too where there is no Triton."""
    logits, due = completion_logits(base, input_ids, attention_mask, labels)
    predicted = labels[:, 1:] != IGNORED

    def placed(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(predicted.shape).masked_scatter(predicted, values)

    log_probs = placed(-cross_entropy(logits, due, reduction="none"))
    with torch.no_grad():
        entropy = Categorical(logits=logits, validate_args=False).entropy()
        top = logits.argmax(dim=-1) == due
        return FusedCausalLMOutput(
            log_probs=log_probs, entropy=placed(entropy), mean_logits=placed(logits.mean(dim=-1)), is_top1=placed(top)
        )


def _lengths(dataset: Any) -> list[int]:
    """The tokens of each pair's longer half."""
    return [
        len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))
        for row in dataset.select_columns(["prompt_ids", "chosen_ids", "rejected_ids"])
    ]
