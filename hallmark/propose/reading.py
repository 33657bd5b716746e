"""The rows of a file as a table: with the turns of chats, and a column for each value inside others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Chat
from hallmark.base.records import columns_of
from hallmark.base.rows import READERS, files_of, read_rows
from hallmark.data.conversations import (
    PART,
    TURNS,
    WHOLE,
    earlier_answers,
    layout_of,
    part_of,
    turns,
    whole,
    with_messages,
)
from hallmark.data.missing import MissingValueError, is_kept
from hallmark.propose.chats import chat_in, left_out, wrapped_up
from hallmark.propose.columns import Column, Rows, columns_in, tools_in, with_fields_of_spans, with_passages
from hallmark.propose.inferred_task import SOME_CALLS
from hallmark.propose.kept_rows import in_words
from hallmark.propose.roles import Known

Where = Mapping[str, Sequence[Any]]  # as `data.where`
Place = tuple[Path, int, dict[str, Any]]  # a file, the number of a row in it, and the row as it stands there


@dataclass
class Table:
    """The rows of a file, and their columns; a HallmarkError if a named column can't be made of a row."""

    file: Path
    known: Known
    places: Sequence[Place] = field(repr=False)
    rows: Rows = field(init=False, repr=False)  # with their turns
    columns: dict[str, Column] = field(init=False, repr=False)
    made: set[str] = field(init=False)  # columns made of others, which `data.where` doesn't know
    chat: Chat | None = field(init=False)  # where chats in a layout of their own are
    note: str | None = None  # the column of a text on the whole conversation
    calls: str | None = None  # why only calls of tools are answers
    unread: list[str] = field(default_factory=list)  # what to say of turns that are left out

    def __post_init__(self) -> None:
        parts = {*map(part_of, files_of(self.file))}
        named = len(parts) > 1 and None not in parts
        self.rows = [row | {PART: part_of(file)} if named else row for file, _, row in self.places]
        if chat := chat_in(self.rows):
            self.unread = left_out(chat, self.rows)
            self.rows = [with_messages(row, chat) for row in self.rows]
            said = {*self.known.targets, *(name for text in self.known.inputs for name in columns_of(text))}
            self.note = wrapped_up(chat, self.rows) if said.isdisjoint(TURNS) else None
        self.chat = chat
        if self.note:
            self.rows = [row | {WHOLE: whole(row)} for row in self.rows]
        else:
            self._add_turns()
        try:
            found = columns_in(self.rows)
            told = tuple(f"{name}." for name in (chat.turns, chat.opening) if name) if chat else ()
            found = {name: of for name, of in found.items() if not f"{name}.".startswith(told)}
            self.columns = with_passages(with_fields_of_spans(found, self.known.targets))
        except HallmarkError as error:  # it knows the row by its place among all
            path, number, _ = self.places[error.row or 0]
            raise HallmarkError(error.problem, file=path, row=number, field=error.field, remedy=error.remedy) from None
        self.made = {*self.columns} - {*found}

    def _add_turns(self) -> None:
        """Give each row with a conversation its columns `turns.*`, those of calls if most answers are calls."""

        def told(*, calls: bool) -> Rows:
            rows = []
            for (file, number, _), row in zip(self.places, self.rows, strict=True):
                more: dict[str, Any] = {}
                with suppress(MissingValueError):  # a question without an answer, say: the dry run counts it
                    more = turns(row, file, number, calls=calls) if layout_of(row) else {}
                rows.append(row | more if more else row)
            return rows

        texts, calls = told(calls=False), told(calls=True)
        same, count = sum(of == one for of, one in zip(calls, texts, strict=True)), len(texts)
        tools = any(tools_in(value) for row in texts[:20] for value in row.values())  # with them, it may ask back
        self.rows = texts
        if same <= count * (1 - SOME_CALLS if tools else 0.5):
            why = "calls of tools are followed by a text: each call is trained, the text is not"
            self.rows, self.calls = calls, f"in {count - same} of {count} rows, {why}"

    def earlier_calls(self) -> list[str]:
        """The calls before the last in each conversation, if they are answers of their own."""
        rows = zip(self.places, self.rows, strict=True) if self.calls else ()
        answered = ((file, number, row) for (file, number, _), row in rows if "turns.target" in row)
        earlier = (earlier_answers(row, file, number, calls=True) for file, number, row in answered)
        return [said["turns.target"] for of in earlier for _, said in of]

    def keeping(self, where: Where, spaced: str | None) -> Table:
        """The table without the rows that `data.where` leaves out. `spaced`: as `is_kept` has it."""
        return Table(self.file, self.known, [place for place in self.places if is_kept(place[2], where, spaced)])

    @property
    def numbers(self) -> list[str]:
        """The number of each row, in a folder with its file's name: `12 of part.csv`."""
        return [f"{number}" if path == self.file else f"{number} of {path.name}" for path, number, _ in self.places]


def read(path: Path, known: Known) -> Table:
    """The table of a file, or of the files of a folder, with the rows that the user wants; a HallmarkError if there are none."""
    files, where = files_of(path), known.where or {}
    if path.is_dir() and not files:
        inner = [file for file in sorted(path.rglob("*")) if file in files_of(file.parent)]
        names = ", ".join(dict.fromkeys(str(file.parent) for file in inner))
        names = names or f"none; files must be {', '.join(READERS)}"
        raise HallmarkError("no rows in the folder itself", file=path, remedy=f"name one of its subfolders: {names}")
    places = [(file, number, row) for file in files for number, row in read_rows(file)]
    if not places:
        raise HallmarkError("has no rows", file=path, remedy="name a file with rows")
    if not (kept := [place for place in places if is_kept(place[2], where)]):
        said = in_words(where)
        raise HallmarkError("no row has these values", file=path, field=said, remedy="name others with --where")
    return Table(path, known, kept)


def data_in(path: Path) -> Path:
    """The file itself; of a folder, the largest file (packed ones count more), if no other has such rows, but names of labels, say."""
    if not path.is_dir() or len(files := files_of(path)) < 2:
        return path
    *others, largest = sorted(
        files, key=lambda of: of.stat().st_size * (10 if of.suffix in (".parquet", ".arrow") else 1)
    )
    columns = {*next((row for _, row in read_rows(largest)), {})}
    for file in others:
        with suppress(HallmarkError):
            if any(2 * len(columns & row.keys()) > len(columns) for _, row in read_rows(file)):
                return path
    return largest
