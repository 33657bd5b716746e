"""Run a repo's `stages/records.py`: its records one by one, checked, and whatever goes wrong in it as one clear error."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import sys
import traceback
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import read_text
from hallmark.records.check import Found, Observed, warnings_of
from hallmark.records.reading import ReadFile, Seen, listed, reading
from hallmark.records.record import Record, error_at
from hallmark.records.targets import check_target

if TYPE_CHECKING:
    from hallmark.task.task import Task

T = TypeVar("T")
RECIPE = Path("stages/records.py")
FORM = "write `def records(params):` with a `yield Record(...)` for each example"


class Params(dict[str, Any]):
    """The block `records:` of params.yaml, which remembers what the script looked at."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(json.loads(json.dumps(dict(values), default=str)))
        self.used: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.used.add(key)
        return super().__getitem__(key)

    def __missing__(self, key: str) -> Any:
        remedy = f"add it to the block `records:`; it has {listed(dict.keys(self)) or 'nothing'}"
        raise HallmarkError("the script needs it, and it is not set", param=f"records.{key}", remedy=remedy)

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default."""
        self.used.add(key)
        return super().get(key, default)


@dataclass(frozen=True)
class Recipe:
    """A script that was read and compiled."""

    file: Path
    text: str
    tree: ast.Module

    def run(
        self, block: Mapping[str, Any], root: Path = Path(), task: Task | None = None, *, check: bool = True
    ) -> Run:
        """The records that the script makes of the files below `root`; `task`: what a target must satisfy."""
        return Run(self, block, root, task, check=check)


def load(file: Path = RECIPE) -> Recipe:
    """Read a script; a HallmarkError if it is not there, or not Python."""
    text = read_text(file, f"write it ({FORM}), or let `nox -s propose` draft it")
    try:
        return Recipe(file, text, ast.parse(text, str(file)))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        row = getattr(error, "lineno", None)
        problem = f"is not Python ({getattr(error, 'msg', None) or type(error).__name__})"
        raise HallmarkError(problem, file=file, row=row, remedy="fix the line") from None


class Run:
    """One run of a script: loop over it once, then ask what it read, left out and should be warned of."""

    def __init__(
        self, recipe: Recipe, block: Mapping[str, Any], root: Path, task: Task | None, *, check: bool = True
    ) -> None:
        self.recipe, self.root, self.task, self.check = recipe, root, task, check
        self.params, self.seen, self.observed = Params(block), Seen(root), Observed()
        self.digests: array[int] = array("Q")  # of each record
        self._ids: dict[int, str] = {}  # hash of an id: the source of its record
        self._files: dict[str, bool] = {}

    def __iter__(self) -> Iterator[Record]:
        made = self._guarded(self._start)
        while (record := self._guarded(lambda: next(made, None))) is not None:
            self._unique(record)
            self.digests.append(_digest(record))
            if self.task is not None:
                record = check_target(record, self.task)
            if self.check:
                self.observed.add(record)
            yield record
        if not self.digests:
            read = ", ".join(f"{file.rows:,} rows of {file.name}" for file in self.read) or "no file"
            left = f"; left out: {_counts(self.skipped)}" if self.skipped else ""
            raise HallmarkError(
                f"made no record; it read {read}{left}", file=self.recipe.file, remedy="look at what it filters"
            )

    @property
    def count(self) -> int:
        """How many records there were."""
        return len(self.digests)

    @property
    def digest(self) -> str:
        """Of all records, in order."""
        return hashlib.sha256(self.digests.tobytes()).hexdigest()

    @property
    def read(self) -> list[ReadFile]:
        """The files that the helpers read, with columns and rows."""
        return list(self.seen.files.values())

    @property
    def skipped(self) -> Counter[str]:
        """The rows left out by `skip`, by reason."""
        return self.seen.skipped

    def lines(self) -> list[str]:
        """What was read and left out, for a report and a terminal."""
        lines = [f"{file.name}: {file.rows:,} rows read" for file in self.read]
        lines += [f"{count:,} rows left out: {reason}" for reason, count in self.skipped.most_common()]
        return [*lines, f"{self.count:,} records"]

    def warnings(self) -> list[Found]:
        """What the records should be looked at for, compared with the rows they are made of; without what the script expects."""
        kind = None if self.task is None else str(self.task.kind)
        unused = sorted(self.params.keys() - self.params.used)
        return warnings_of(self.observed, self.seen, self.recipe.tree, str(self.recipe.file), kind, unused)

    @property
    def prompt_columns(self) -> list[str]:
        """The columns, as FILE: NAME, whose values stand in the prompts; known after `warnings`."""
        return self.observed.prompt_columns

    def _start(self) -> Iterator[Record]:
        function = getattr(self._module(), "records", None)
        if not callable(function):
            raise HallmarkError("has no function `records`", file=self.recipe.file, remedy=FORM)
        try:
            inspect.signature(function).bind(self.params)
        except TypeError:
            raise HallmarkError("`records` must take one argument", file=self.recipe.file, remedy=FORM) from None
        return self._checked(function(self.params))

    def _module(self) -> ModuleType:
        """A fresh module, so that no run sees what another one left."""
        module = ModuleType("stages.records")
        module.__file__, module.__package__ = str(self.recipe.file), "stages"
        if (here := str(self.root.resolve())) not in sys.path:
            sys.path.insert(0, here)
        sys.modules[module.__name__] = module  # dataclasses look themselves up
        exec(compile(self.recipe.tree, str(self.recipe.file), "exec"), module.__dict__)  # noqa: S102  # the repo's own
        return module

    def _checked(self, made: Any) -> Iterator[Record]:
        import polars as pl

        if isinstance(made, pl.LazyFrame):
            made = made.collect()
        if isinstance(made, pl.DataFrame):
            for row in made.iter_rows(named=True):
                yield Record(**{name: value for name, value in row.items() if value is not None})
            return
        if not isinstance(made, Iterable) or isinstance(made, str | bytes | Mapping | Record):
            problem = f"`records` gave {_type(made)}, not a generator of Records or a Polars frame"
            raise HallmarkError(problem, file=self.recipe.file, remedy=FORM)
        for record in made:
            if not isinstance(record, Record):
                problem = f"`records` gave {_type(record)} as item {self.count + 1}, not a Record"
                raise HallmarkError(problem, file=self.recipe.file, remedy="write `yield Record(...)`")
            yield record

    def _unique(self, record: Record) -> None:
        name = record.source.rpartition(":")[0]
        if not self._files.setdefault(name, _is_file(self.root / name)):
            remedy = 'write `source=row["source"]`; of a file that no helper read, f"{file}:{row}"'
            raise HallmarkError(f"the source of record {self.count + 1} names no file", field="source", remedy=remedy)
        digest = int.from_bytes(hashlib.blake2b(record.id.encode(), digest_size=8).digest())
        if (first := self._ids.get(digest)) is not None:
            remedy = f"the first is of {first}: make ids unique; if a join multiplied the row, look at its key"
            raise error_at(record.source, "has the id of an earlier record", "id", remedy)
        self._ids[digest] = record.source

    def _guarded(self, step: Callable[[], T]) -> T:
        """What a step of the script gives; its helpers note what they read."""
        with reading(self.seen):
            try:
                return step()
            except HallmarkError as error:
                raise self._placed(error) from None
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # Polars' panics are no Exception, and a script may call `exit`
                if isinstance(error, SystemExit) and error.code == 128 + SIGTERM:
                    raise
                raise self._unforeseen(error) from None

    def _line(self, error: BaseException) -> int | None:
        """The script's line that an error came from."""
        frames = traceback.extract_tb(error.__traceback__)
        return next((one.lineno for one in reversed(frames) if one.filename == str(self.recipe.file)), None)

    def _placed(self, error: HallmarkError) -> HallmarkError:
        """An error of a helper or of a Record, with the script's line."""
        line = self._line(error)
        if line is None or error.file == self.recipe.file or error.file == "params.yaml":
            return error
        remedy = f"{error.remedy} ({self.recipe.file}, line {line})"
        return HallmarkError(error.problem, file=error.file, row=error.row, field=error.field, remedy=remedy)

    def _unforeseen(self, error: BaseException) -> HallmarkError:
        """An exception of the script: its message may quote a value, so only its type is told."""
        kind, remedy = type(error).__name__, "run the script by itself to see its message, which may quote your data"
        if isinstance(error, ImportError) and error.name:
            kind, remedy = f"{kind} ({error.name})", "install the package, or do without it"
        elif kind == "ColumnNotFoundError":
            remedy = "; ".join(f"{file.name} has {listed(file.columns)}" for file in self.read) or remedy
        return HallmarkError(kind, file=self.recipe.file, row=self._line(error), remedy=remedy)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _type(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def _digest(record: Record) -> int:
    text = json.dumps(record.model_dump(), ensure_ascii=False)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common(20))
