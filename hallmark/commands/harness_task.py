"""Write the holdout as a task for your own lm-evaluation-harness: `python -m hallmark.commands.harness_task OUT`.

OUT is a new folder with the prompts and the right answers of the holdout: masked, but the records themselves. Keep it where
you would keep the holdout, and out of any model's training data. The task counts exact matches as `eval` does; only the
pipeline has failures, intervals and the comparison with the base. `lm_eval run --include_path OUT` finds it.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

from hallmark.answer.answers import Prompt, prompts_of
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import BASE, HOLDOUT, atomic_folder
from hallmark.base.records import read_records
from hallmark.params.loader import Params, load_params
from hallmark.task.task import Task

SCORING = "harness_scoring.py"
log = logging.getLogger("harness_task")


def write(params: Params, target: Path, chat: bool) -> str:
    """Write the task to `target`, a new folder; its name. `chat`: system and user messages, else the base's own template."""
    if target.exists():
        raise HallmarkError("already exists", file=target, remedy="give the name of a new folder")
    if params.task.tool_format == "template":
        problem = "the task compares calls as JSON, and the model writes them in its chat template's form"
        remedy = "set it to json, or evaluate with `python -m stages.eval`"
        raise HallmarkError(problem, param="task.tool_format", remedy=remedy)
    records = read_records(HOLDOUT).rows(named=True)
    prompts = prompts_of(records)
    asked = [in_messages(prompt) for prompt in prompts] if chat else in_text(prompts)
    is_json = Task(params.task).is_json
    name = re.sub(r"[^\w-]", "-", params.certify.name) + "-holdout"
    with atomic_folder(target) as folder:
        with (folder / "holdout.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for record, prompt in zip(records, asked, strict=True):
                answer = record["completion"][-1]["content"]
                file.write(json.dumps({"id": record["id"], **prompt, "target": answer, "json": is_json}) + "\n")
        shutil.copyfile(Path(__file__).with_name(SCORING), folder / "utils.py")
        (folder / f"{name}.yaml").write_text(task_file(name, chat, params.eval.max_new_tokens), encoding="utf-8")
    option = " --apply_chat_template" if chat else ""
    log.info("%s: %d masked records of the holdout. To run it:", target, len(records))
    print(f"lm_eval run --include_path {target} --tasks {name}{option} --model hf --model_args pretrained=FOLDER")
    return name


def in_messages(prompt: Prompt) -> dict[str, str]:
    if prompt.tools or [message["role"] for message in prompt.messages] != ["system", "user"]:
        problem = "has tools or earlier turns, which a task of chat messages can't hold"
        remedy = "leave --chat out: the prompts are then written as the base's template makes them"
        raise HallmarkError(problem, file=HOLDOUT, row=prompt.row, field="prompt", remedy=remedy)
    return {message["role"]: message["content"] for message in prompt.messages}


def in_text(prompts: list[Prompt]) -> list[dict[str, str]]:
    from hallmark.model.chat_template import render
    from hallmark.model.loading import load_tokenizer

    tokenizer = load_tokenizer(BASE)
    return [
        {"prompt": render(tokenizer, prompt.messages, add_generation_prompt=True, tools=prompt.tools)}
        for prompt in prompts
    ]


def task_file(name: str, chat: bool, max_new_tokens: int) -> str:
    """The task as the harness reads it: greedy, up to the end token, exact match."""
    settings: dict[str, Any] = {
        "task": name,
        "custom_dataset": "!function utils.load",
        "test_split": "test",
        "output_type": "generate_until",
        **({"description": "system", "doc_to_text": "user"} if chat else {"doc_to_text": "prompt"}),
        "doc_to_target": "target",
        "fewshot_delimiter": "",
        "target_delimiter": "",
        "num_fewshot": 0,
        "generation_kwargs": {"until": [], "max_gen_toks": max_new_tokens, "do_sample": False},
        "process_results": "!function utils.process_results",
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1},
    }
    lines = [f"{key}: {value if '!function' in str(value) else json.dumps(value)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


def main(arguments: argparse.Namespace) -> None:
    write(load_params(arguments.params), arguments.out, arguments.chat)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.harness_task", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder; it will hold (masked) holdout records")
    parser.add_argument("--chat", action="store_true", help="prompts as messages, for chat models of any kind")
    run_stage("harness_task", __doc__, main, parser)
