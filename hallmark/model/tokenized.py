"""Records and pairs of a part of the split as tokens, in the form that TRL trains on. None is ever truncated."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hallmark.base.errors import HallmarkError
from hallmark.base.progress import Progress
from hallmark.base.records import read_records
from hallmark.model.chat_template import other_prompt, tokenize, tool_form, with_calls
from hallmark.model.loading import IGNORED
from hallmark.model.tool_form import ToolForm

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

    from hallmark.params.loader import Params

ANSWERS: tuple[Literal["completion"], Literal["rejected"]] = ("completion", "rejected")


def tokenized_records(
    path: Path, tokenizer: PreTrainedTokenizerBase, params: Params, *, silent: bool = False
) -> datasets.Dataset:
    """The records of a part, as `sft` trains on them (`input_ids`, `labels`); an error if there are none.

    `split` leaves no record that is longer than `sft.max_length` tokens. Only the completion's tokens have labels,
    including the token that ends the turn. `silent`: say nothing of the progress.
    """
    import datasets

    form, rows = tool_form(params.task, tokenizer), []
    records = read_records(path)
    with Progress("sft", len(records), f"{path.stem} records read", brief=True, silent=silent) as progress:
        for row in records.iter_rows(named=True):
            ids, start = _tokens(row, "completion", tokenizer, path, form)
            if len(ids) > params.sft.max_length:
                raise HallmarkError(
                    f"record '{row['id']}' is {len(ids)} tokens long, over sft.max_length = {params.sft.max_length}",
                    file=path,
                    field="prompt, completion",
                    remedy="run `dvc repro split`, which does with such records what split.too_long says",
                )
            rows.append({"input_ids": ids, "labels": [IGNORED] * start + ids[start:]})
            progress.add()
    if not rows:
        raise HallmarkError(
            "no record is left to train on",
            file=path,
            remedy="raise sft.max_length, or see reports/split.json for where the records went",
        )
    return datasets.Dataset.from_list(rows)


def tokenized_pairs(
    path: Path, tokenizer: PreTrainedTokenizerBase, params: Params, *, needed: bool = False
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The records of a part that have a rejected answer, as `dpo` trains on them (`prompt_ids`, `chosen_ids`,
    `rejected_ids`), and how many records were left out, by cause.

    A pair over `dpo.max_length` tokens is left out, unless `split` has stopped (`split.too_long`). Records whose rejected
    answer equals the completion (from a model that was right, say) make no pair. `needed`: no pair at all is an error.
    """
    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    form = tool_form(params.task, tokenizer)
    records = read_records(path)
    with Progress("dpo", len(records), f"{path.stem} records read", brief=True) as progress:
        for row in records.iter_rows(named=True):
            progress.add()
            if row["rejected"] is None:
                left_out["without"] += 1
                continue
            if row["rejected"] == row["completion"]:
                left_out["same"] += 1
                continue
            (chosen, start), (rejected, _) = (_tokens(row, answer, tokenizer, path, form) for answer in ANSWERS)
            if max(len(chosen), len(rejected)) <= params.dpo.max_length:
                # Both start with the same prompt, which `tokenize` has checked.
                parts = {"prompt_ids": chosen[:start], "chosen_ids": chosen[start:], "rejected_ids": rejected[start:]}
                rows.append(parts)
            else:
                left_out["too_long"] += 1
    if needed and not rows:
        raise HallmarkError(
            f"no pair to learn from: {left_out['without']} records have no rejected answer, {left_out['same']} have one "
            f"that equals the completion, and {left_out['too_long']} are too long",
            file=path,
            field="rejected",
            remedy="give records a rejected answer in stages/records.py, or set dpo.enabled to false",
        )
    return rows, left_out


def _tokens(
    row: dict[str, Any],
    answer: Literal["completion", "rejected"],
    tokenizer: PreTrainedTokenizerBase,
    path: Path,
    form: ToolForm | None,
) -> tuple[list[int], int]:
    """The tokens of a record of `path` with this answer, and the index of the answer's first token.

    `form`: how the chat template writes calls; None if answers are JSON.
    """
    tools = json.loads(row["tools"]) if row["tools"] else None
    try:
        completion = with_calls(tokenizer, form, row, answer, path) if form else row[answer]
        return tokenize(tokenizer, row["prompt"], completion, tools)
    except ValueError as error:
        raise other_prompt(str(error), path) from None
