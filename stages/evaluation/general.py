"""General tasks of lm-evaluation-harness, by name: does the tuned model still do what it could before?"""

from __future__ import annotations

import logging
from typing import Any

from lm_eval.evaluator import evaluate as run_harness
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from stages.core.errors import HallmarkError
from stages.evaluation.params import General


def general(model: Any, tokenizer: Any, settings: General, batch_size: int) -> list[dict[str, Any]]:
    """One row per task and metric. The tasks' data must be on this machine: nothing is fetched."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    try:
        manager = TaskManager(include_path=settings.folder, include_defaults=False)
        if not {*settings.tasks} <= {*manager.all_tasks}:  # thousands of files are read to know the harness's own
            manager = TaskManager(include_path=settings.folder)
        tasks = manager.load(list(settings.tasks))
    except Exception as error:  # the harness and the datasets library raise whatever they please
        raise HallmarkError(
            f"the tasks can't be loaded ({type(error).__name__}: {str(error).splitlines()[0][:200]})",
            param="eval.general.tasks",
            remedy="name tasks that `lm-eval ls tasks` or eval.general.folder has, and put their data on this machine",
        ) from None
    engine = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size)
    harness = run_harness(lm=engine, task_dict=tasks, limit=settings.limit, bootstrap_iters=0, log_samples=False)
    return [
        {"name": f"{task} {key.removesuffix(',none')}", "value": round(float(value), 6)}
        for task, results in sorted(harness["results"].items())
        for key, value in sorted(results.items())
        if isinstance(value, int | float) and "," in key and "_stderr" not in key
    ]
