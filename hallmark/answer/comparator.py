"""What a comparator is: a rival of the tuned model that users could have instead, and that answers the same records.

Each module in `comparators/` holds one kind, as `COMPARATOR`. To add a kind, add a module there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args

from hallmark.answer.answers import Answer, Answerer, Prompt
from hallmark.base.files import BASE
from hallmark.base.params import Block, Compute

if TYPE_CHECKING:
    from hallmark.answer.params import Eval
    from hallmark.model.tool_form import ToolForm
    from hallmark.task.task import Task


class ComparatorSettings(Block):
    """The block that selects a kind; a subclass makes `kind` the `Literal` it is selected by.

    `runs_here`: whether its model works on this machine while the stage runs, which the plan counts.
    """

    runs_here: ClassVar[bool] = True
    kind: str

    def longer_by(self, record: int) -> int:
        """About how many tokens its prompts are longer than the records' own, of records with this many; for the plan."""
        return 0


S = TypeVar("S", bound=ComparatorSettings)


@dataclass(frozen=True)
class Questions:
    """The records to answer, each with its own prompt, and what it takes to write others.

    `room`: most tokens of a prompt that leave room for the answer; None if the base states no context.
    """

    task: Task
    records: Sequence[dict[str, Any]]
    prompts: Sequence[Prompt]
    tokenizer: Any
    form: ToolForm | None
    room: int | None
    seed: int


@dataclass(frozen=True)
class Asked:
    """What is asked for each record, and the ids of the training records that its prompt shows."""

    prompts: list[Prompt]
    examples: list[list[str]]


def own_prompts(questions: Questions) -> Asked:
    return Asked(list(questions.prompts), [[] for _ in questions.prompts])


@dataclass(frozen=True)
class Means:
    """What a kind needs that does not let the base answer: its own name, and how models answer in this stage."""

    name: str
    evaluation: Eval
    compute: Compute
    task: Task
    form: ToolForm | None
    seed: int
    batch_size: int


class Comparator(ABC, Generic[S]):
    """One kind of comparator."""

    settings: type[S]

    @property
    def kind(self) -> str:
        """The value of `kind` that selects it."""
        return str(get_args(self.settings.model_fields["kind"].annotation)[0])

    @abstractmethod
    def words(self, settings: S) -> str:
        """What it is, as a phrase that can follow "against": "the base with 3 examples"."""

    def asked(self, settings: S, questions: Questions) -> Asked:
        """What it is asked for each record: its own prompt, unless a kind writes others."""
        return own_prompts(questions)

    def weights(self, settings: S) -> Path:
        """The folder of the model whose chat template and tokenizer count: the base, unless a kind has its own."""
        return BASE

    def answerer(self, settings: S, base: Callable[[], Answerer], means: Means) -> Answerer:
        """What answers: the base, as `eval.engine` runs it, unless a kind has a model of its own."""
        return base()

    def measures(self, settings: S, answers: Sequence[Answer]) -> dict[str, Any]:
        """What metrics.json says of this kind alone."""
        return {}
