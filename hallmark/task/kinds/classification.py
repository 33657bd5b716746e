"""Classification: a text to one of the labels that the schema, `{"enum": [...]}`, lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from hallmark.task.answers import Parsed
from hallmark.task.kind import REFUSAL, GateValues, Kind
from hallmark.task.measure import Measure

if TYPE_CHECKING:
    from hallmark.task.measure import Predictions
    from hallmark.task.task import Task

LABEL = "label"
MOST_IN_A_PROMPT = 30  # more labels than this make a prompt longer than the text


def label_counts(rows: Predictions) -> list[list[int]]:
    """For each record, true positives, false positives and false negatives of each label, in one line of 3 L numbers."""
    pairs = [(row.target.strip(), row.prediction.strip() if row.schema_valid else None) for row in rows]
    names = sorted({label for pair in pairs for label in pair if label is not None})
    return [
        [
            int(flag)
            for name in names
            for flag in (target == predicted == name, target != predicted == name, predicted != target == name)
        ]
        for target, predicted in pairs
    ]


class Classification(Kind):
    name = "classification"
    listed = True
    measures = (
        Measure("label_accuracy", "Label accuracy", lambda rows: [row.exact_match for row in rows], "rate", "accuracy"),
        Measure("macro_f1", "Macro F1", label_counts, "macro_f1", "f1"),
    )
    gate: ClassVar[GateValues] = {
        **Kind.gate,
        # The rule that copies has nothing to copy: it is a linear model too.
        "superiority": {"base": 0.1, "few_shot": 0.05, "classical": 0.0},
        "floors": {"schema_validity": 0.95, "macro_f1": 0.5},
        "ceilings": {"wrong_format": 0.05, "wrong_value": 0.3},
        "serving": {"requests_per_second": 1.0},  # an answer has a few tokens
    }

    def prompt_hint(self, target: str, schema: Mapping[str, Any]) -> str:
        labels = schema["enum"]
        choices = f": one of {', '.join(labels)}" if len(labels) <= MOST_IN_A_PROMPT else ""
        return f"Name the {target} of the text{choices}."

    def label_names(self, task: Task) -> list[str]:
        return [LABEL]

    def labels(self, parsed: Parsed, names: Sequence[str]) -> dict[str, str]:
        if parsed.kind == "invalid":
            return {}
        return {LABEL: REFUSAL if parsed.kind == "refusal" else str(parsed.value)}

    def completion(self, task: Task, labels: Mapping[str, str]) -> str:
        return task.render(task.refusal if labels[LABEL] == REFUSAL else labels[LABEL])


KIND = Classification()
