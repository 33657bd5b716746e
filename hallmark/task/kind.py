"""What a kind of task is: how its answers are read and compared, and what can go wrong in them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from hallmark.task.answers import Parsed, canonical, strict_answer
from hallmark.task.values import Values, closed_paths, leaves

if TYPE_CHECKING:
    from hallmark.base.patterns import Pattern
    from hallmark.task.measure import Measure
    from hallmark.task.task import Task

GateValues = Mapping[str, Mapping[str, float]]  # key of the block `gate`: its values
REFUSAL = "(refusal)"  # the label that says whether to refuse; if labels are text, the label of a refusal


class Kind(ABC):
    """A kind of task. A subclass is a file in `hallmark/task/kinds/`, with one instance of it as `KIND`."""

    name: ClassVar[str]
    is_json: ClassVar[bool] = False  # answers are JSON, else text
    needs_schema: ClassVar[bool] = True  # a task of this kind has a JSON Schema
    listed: ClassVar[bool] = False  # every answer is a value that the schema lists: never private, never made up
    free_text: ClassVar[bool] = False  # an answer is running text: masked as one, and `eval.facts` finds facts in it
    calls_tools: ClassVar[bool] = False  # an answer is tool calls: the chat template's own form may be used for them
    measures: ClassVar[tuple[Measure, ...]] = ()  # what only this kind can be measured by
    # The values of the block `gate` that `propose` sets for this kind. Whoever uses the model may want others.
    gate: ClassVar[GateValues] = {
        # If a linear model or a rule that copies is as good, it is the better choice.
        "superiority": {"base": 0.1, "few_shot": 0.05, "linear_copy": 0.0, "classical": 0.0},
        "floors": {"schema_validity": 0.9},
        "ceilings": {"unsafe_answer": 0.05, "missed_refusal": 0.1, "hallucination": 0.3},
        "serving": {"requests_per_second": 0.4},
    }

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def prompt_hint(self, target: str, schema: Mapping[str, Any]) -> str:
        """A first system prompt, for someone who knows the domain to improve. `target`: the column of the answers."""

    def parse(self, text: str) -> Any:
        """The value of a completion; ValueError or RecursionError if it can't be read."""
        return text

    def fields(self, value: Any, facts: Mapping[str, Pattern]) -> Values:
        """The values in an answer by path, to be compared one by one."""
        return {}

    def scores(self, expected: Parsed, predicted: Parsed, target: str, prediction: str) -> dict[str, bool | float]:
        """What `measures` read, by name. The last two are the texts."""
        return {}

    def says_nothing(self, value: Any, closed: Collection[str]) -> bool:
        """Whether an answer says that there is nothing to say. `closed`: the paths whose values the schema lists."""
        return False

    def is_listed(self, path: str) -> bool:
        """Whether the values of a field are listed somewhere besides the schema, so that none can be made up."""
        return False

    def label_names(self, task: Task) -> list[str]:
        """The names of what can be read off a list of values, and so be predicted by a linear model too."""
        return []

    def labels(self, parsed: Parsed, names: Sequence[str]) -> dict[str, str]:
        """The labels that an answer gives, each as one text for all its spellings; none if it can't be read."""
        return {}

    def completion(self, task: Task, labels: Mapping[str, str]) -> str:
        """The completion that says these labels and nothing else; asked only of a kind that has labels."""
        return ""


class JsonKind(Kind):
    """Answers are JSON: parsed strictly, compared leaf by leaf, labels read off the fields that the schema lists."""

    is_json = True

    def parse(self, text: str) -> Any:
        return strict_answer(text)

    def fields(self, value: Any, facts: Mapping[str, Pattern]) -> Values:
        return leaves(value)

    def label_names(self, task: Task) -> list[str]:
        fields = self.listed_fields(task.schema or {})
        return [path for path in fields if "[]" not in path] + ([REFUSAL] if task.refusal is not None else [])

    def listed_fields(self, schema: dict[str, Any]) -> list[str]:
        return sorted(closed_paths(schema) - {""})

    def labels(self, parsed: Parsed, names: Sequence[str]) -> dict[str, str]:
        if parsed.kind == "refusal":
            return {REFUSAL: "true"}
        if not parsed.parses:
            return {}
        try:
            values = self.listed_values(parsed.value)
            return {name: canonical(values.get(name, [])) for name in names} | {REFUSAL: "false"}
        except RecursionError:
            return {}

    def listed_values(self, value: Any) -> dict[str, Any]:
        """The values of an answer by the names of its labels."""
        return leaves(value)
