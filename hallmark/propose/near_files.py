"""What stands around the rows of a file, or next to it: names of codes, instructions, and other lists."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

from hallmark.base.document import objects
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.rows import files_of, lists_in
from hallmark.data.copied import pairs
from hallmark.propose.codebooks import CODEBOOK, TABLES, codebook, read_csv, successors, tables_in
from hallmark.propose.columns import Column, tools_in
from hallmark.propose.encodings import encoding_of
from hallmark.propose.evidence import gives_orders
from hallmark.task.values import folded

MOST_NAMES = 2**20  # bytes of a file with the names of labels
PROMPT = re.compile(r"(?i)(prompt|instru[ck][ct]i[^\W\d_]*|anweisung(en)?|consignes?|istruzioni)[\W_\dv]*$")
_CODE = re.compile(r"\s*(?:\d{1,8}|[A-Z0-9]{1,8})\s*")
UNNAMED = 0.02  # share of the rows whose code no list may name
WORDY = 6  # words from which on a text that is named a prompt is one, and no version of it


class Near:
    """What stands around the rows of a file, or in small files next to it."""

    def __init__(self, file: Path) -> None:
        self.around: dict[str, Any] = {}  # the object around the rows of a JSON file
        if file.suffix == ".json" and file.is_file():
            with suppress(NotJsonError):
                value = strict_json(file.read_text(encoding="utf-8-sig"))
                self.around = value if isinstance(value, dict) else {}
        folder = file if file.is_dir() else file.parent
        near = {*folder.iterdir(), *folder.glob(f"{CODEBOOK}/*")} - {*files_of(file)}  # sorted below
        small = (path for path in sorted(near) if path.suffix in (*TABLES, ".json", ".md") and path.is_file())
        self.texts: dict[Path, str] = {}
        for path in (path for path in small if path.stat().st_size <= MOST_NAMES):
            with suppress(UnicodeDecodeError):
                self.texts[path] = (said := path.read_bytes()).decode(encoding_of(said) or "utf-8-sig")

    @cached_property
    def lists(self) -> list[tuple[Any, dict[str, str]]]:
        """What the files have that may be names of codes, and the codes in place of old ones."""
        found: list[tuple[Any, dict[str, str]]] = []
        for path, said in self.texts.items():
            with suppress(NotJsonError, csv.Error):
                value = None if path.suffix in TABLES else strict_json(said)
                tables = [[*read_csv(said)]] if path.suffix in TABLES else [*tables_in(value)]
                found += [(value, {}), *((codebook(table), successors(table)) for table in tables)]
        return found

    @cached_property
    def tools(self) -> list[Any]:
        """The lists of tools next to the rows."""
        return [value for value, _ in self.lists if tools_in(value)]

    def spelled(self, labels: Column) -> dict[str, str]:
        """Labels that are codes of a list in some rows and the names of these in others, as most rows have them."""
        for names in (of for value, _ in self.lists for of in objects(value) if labels.is_label(2)):
            codes = {folded(key): key for key in names}
            of_name = {folded(name): key for key, name in names.items() if isinstance(name, str)}
            if len(of_name) < len(names) or any(codes.get(name, key) != key for name, key in of_name.items()):
                continue  # no names of codes, but what follows what, say
            as_code = {key: codes[folded(key)] for key in labels.keys if folded(key) in codes}
            as_name = {key: of_name[folded(key)] for key in labels.keys if folded(key) in of_name.keys() - codes.keys()}
            if len({*as_name.values()} & {*as_code.values()}) > 1 and len(as_code) + len(as_name) == labels.distinct:
                usual = sum(map(labels.keys.__getitem__, as_code)) >= sum(map(labels.keys.__getitem__, as_name))
                return as_name if usual else {key: names[code] for key, code in as_code.items()}
        return {}

    def other_lists(self, count: int) -> list[str]:
        """What to say of the lists of objects in a JSON file that are not its rows."""
        lists = {key: len(items) for key, items in lists_in(self.around).items()}
        said = ", ".join(f"'{key}' ({length})" for key, length in lists.items() if length != count)
        wanted = count in lists.values() and len(lists) > 1
        return [
            f"the rows are the longest list ({count}), not {said}: write another one into a file of its own"
        ] * wanted

    def instructions(self) -> Iterator[tuple[str, str, bool]]:
        """Texts that tell somebody what to do: where, what, and whether their names say a model."""
        inside = pairs({key: of for key, of in self.around.items() if key not in lists_in(self.around)}, None)
        found = [(f"'{path}' of the file", path.rpartition(".")[2], said) for path, said, _ in inside]
        prose = ((near, said) for near, said in self.texts.items() if near.suffix in (".txt", ".md"))
        for where, name, said in [
            *found,
            *((f"{near.name} next to the rows", near.stem, said) for near, said in prose),
        ]:
            named = bool(PROMPT.search(name))
            if isinstance(said, str) and (gives_orders(said) or (named and len(said.split()) >= WORDY)):
                yield where, said.strip(), named

    def coded_together(self, codes: Sequence[Column]) -> list[str]:
        """Two columns of codes that are the key of a table only together, as a group and a code in it."""
        spelled = [["" if value is None else str(value) for value in of.values] for of in codes]
        for path, said in self.texts.items():
            with suppress(csv.Error):
                table = [*zip(*[*read_csv(said)][1:], strict=False)] if path.suffix in TABLES else []
                for one, other in combinations(table, 2):
                    keys = {*zip(one, other, strict=True)}
                    alone = len(keys) < len(one) or len(keys) in (len({*one}), len({*other}))
                    for pair in () if alone else permutations(range(len(codes)), 2):
                        rows = {row for row in zip(*(spelled[at] for at in pair), strict=True) if all(row)}
                        if len(rows) > max(codes[at].distinct for at in pair) and rows <= keys:
                            return [codes[at].name for at in sorted(pair)]
        return []

    def names_of(self, codes: Column, columns: Collection[str]) -> dict[str, str]:
        """The names of labels that are numbers or codes: from a list, or `{"0": "name"}`."""
        bare = {key: key.lstrip("0") or "0" for key in codes.keys}  # 00110 is 110
        alike: dict[str, str] = {}  # those of a list that has one name for several of the codes
        for value, later in self.lists:
            if isinstance(value, dict) and codes.name not in value and not value.keys().isdisjoint(columns):
                continue  # they are of another column
            gone = {key.lstrip("0") for key in later}
            inner = [part for of in objects(value) for part in of.values() if isinstance(part, list)]
            for part in (value, *objects(value), *inner):
                items = enumerate(part) if isinstance(part, list) else part.items() if isinstance(part, dict) else ()
                names = {str(number): name.strip() for number, name in items if isinstance(name, str) and name.strip()}
                names = {key: names.get(later.get(key, key), name) for key, name in names.items()}
                plain = {key.lstrip("0") or "0": name for key, name in names.items()}
                names |= {key: plain[code] for key, code in bare.items() if key not in names and code in plain}
                unnamed = codes.keys.keys() - {"-1"} - names.keys()  # a few rows may have such a code, by mistake
                said = {folded(name) for name in names.values()}
                unnamed = {key for key in unnamed if folded(key) not in said}
                few = sum(map(codes.keys.__getitem__, unnamed)) <= UNNAMED * len(codes.given)
                few = few and all(map(_CODE.fullmatch, unnamed))
                fits = few and len({*names.values()}) <= 2 * codes.distinct
                used = {names[key] for key in bare.keys() - {"-1"} if key in names} if fits else set()
                wanted = len({*bare.values()} - {"-1"} - gone - {bare[key] for key in codes.keys.keys() - names.keys()})
                if fits and len(used) == wanted:
                    return names
                alike = alike or (names if fits and 2 * len(used) > wanted else {})
        return alike


def choices_in(row: Mapping[str, Any]) -> dict[str, str]:
    """The names of choices that a row lists itself, as Prodigy's `options`: `[{"id": "FF", "text": "Crime"}]`."""
    items = [item for value in row.values() if isinstance(value, list) for item in value if isinstance(item, dict)]
    pairs = [(item["id"], item["text"]) for item in items if item.keys() >= {"id", "text"}]
    return {key: name for key, name in pairs if isinstance(key, str) and isinstance(name, str)}
