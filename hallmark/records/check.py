"""Compare the records with the raw rows that they were made of, and name what a script of a few lines easily gets wrong."""

from __future__ import annotations

import ast
import difflib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from hallmark.base.files import RAW
from hallmark.records.columns import Column, looks_private, scalars_of, state_word, words_of
from hallmark.records.observed import BROKEN, Observed
from hallmark.records.reading import SOURCE, ReadFile, Seen, expected_name, listed
from hallmark.records.script import doubts, named_in
from hallmark.task.values import folded

FEW = 10  # records from which on shares say something
ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".xlsx", ".xml")
MOST_CODES = 200  # rows of a codebook
_NONE = re.compile(r"(?i)\s*(?:none|nan|null|n/?a|-+)\s*")
_GROUPING = re.compile(
    "customer|client|user|account|patient|document|doc|conversation|thread|session|ticket|order|author|company|organi[sz]ation"
    "|household|contract|dialog(?:ue)?|subject|requester"
)


@dataclass(frozen=True)
class Found:
    """A warning. `key` is what `expect` in the script answers it by; `words` name columns and states, and no other value."""

    code: str
    key: str
    count: int
    words: str
    source: str = ""

    def __str__(self) -> str:
        place = f" (look at {self.source})" if self.source else ""
        return f'{self.words}{place}; if that is right: expect("{self.key}")'


@dataclass(frozen=True)
class Compared:
    """A file that was read, by column; `kept`: its rows that became records, None if no record names the file."""

    file: ReadFile
    columns: dict[str, Column]
    kept: set[int] | None


def warnings_of(
    observed: Observed, seen: Seen, tree: ast.Module, script: str, kind: str | None, unused: list[str]
) -> list[Found]:
    """All warnings but those that the script expects; one that it expects and that isn't there is a warning itself."""
    files = [_columns(file, observed) for file in seen.files.values()]
    named = named_in(tree)
    found = [
        *_groups(observed, files),
        *_answers(observed, kind),
        *_texts(observed),
        *_kinds(observed),
        *_tools(observed, kind),
    ]
    found += [
        Found("param", f"records.{key}", 1, f"records.{key} of params.yaml is not used by the script") for key in unused
    ]
    for of in files:
        found += [*_states(of, files, observed), *_private(of, observed), *_unread(of, named), *_notes(of)]
        found += _left_out(of, seen)
        for line, column, value, near in doubts(tree, of.columns):
            what = "a number, and its cells are text" if near is None else f"'{value}', and the file has '{near}'"
            words = f"{script}, line {line}: compares {column} with {what}"
            found.append(Found("compared", f"line {line}: {column}", 1, words, f"{script}:{line}"))
    found += _joins(files, named)
    found += _unread_files(seen, named)
    quiet = []
    for one in dict.fromkeys(found):
        if (name := expected_name(one.key)) in seen.expected:
            seen.expected[name] += 1
        else:
            quiet.append(one)
    idle = [name for name, count in seen.expected.items() if not count]
    return [*quiet, *(Found("expect", name, 1, f'expect("{name}") answers no warning: remove it') for name in idle)]


def _columns(file: ReadFile, observed: Observed) -> Compared:
    """Read a file again, by column; and note which columns stand in the prompts."""
    columns: dict[str, Column] = {}
    kept = observed.kept.get(file.name)
    sample = {source: prompt for source, prompt, _ in observed.sample}
    standing: Counter[str] = Counter()
    looked = 0
    for row, values in file.again():
        is_kept = kept is None or row in kept
        prompt = sample.get(f"{file.name}:{row}")
        looked += prompt is not None
        stands = set()
        for name, value in scalars_of(values):
            columns.setdefault(name, Column()).add(value, row, kept=is_kept)
            if prompt is not None and len(text := str(value)) > 2 and text.casefold() in prompt:
                stands.add(name)
        standing.update(stands)
    observed.prompt_columns += [f"{file.name}: {name}" for name, count in standing.items() if 2 * count > looked]
    return Compared(file, columns, kept)


def _states(of: Compared, files: list[Compared], observed: Observed) -> Iterator[Found]:
    if of.kept is None:
        return
    labels = {folded(value) for answer in observed.answers.values() for value in answer.values or ()}
    for name, column in of.columns.items():
        states = column.states
        if len({folded(value) for value in states} & labels) > 0.8 * len(states):
            continue  # the answer itself
        if name.endswith("[]") and states.keys() <= observed.tags:
            continue  # by which results are compared
        if len({folded(value) for value in states}) < len(states):
            alike = [value for value, count in Counter(map(folded, states)).items() if count > 1]
            words = f"{name} has {len(alike)} values in several spellings: a filter may take one and leave the other"
            yield Found(
                "spelling",
                f"spelling: {name}",
                len(alike),
                words,
                f"{of.file.name}:{next(iter(column.sample.values()), 0)}",
            )
        meanings = _codebook(states, of, files)
        for value, (_, kept, first) in states.items():
            meaning = next((one for one in [value, *meanings.get(value, ())] if state_word(one, name)), None)
            if kept and meaning is not None:
                state = f"{name} = {value}" + (f" ({meaning})" if meaning != value else "")
                words = f"{kept:,} rows with {state} became records: that sounds unfit to learn from"
                yield Found("state", state, kept, words, f"{of.file.name}:{first}")


def _codebook(states: dict[str, list[int]], of: Compared, files: list[Compared]) -> dict[str, list[str]]:
    """What the values of a column mean by another file that has each of them once."""
    for other in files:
        if other is of or other.file.rows > MOST_CODES or len(states) < 2:
            continue
        rows = [{name: str(value) for name, value in scalars_of(row)} for _, row in other.file.again()]
        for key in other.columns:
            codes = {row[key]: [text for name, text in row.items() if name != key] for row in rows if key in row}
            if len(codes) == len(rows) and len(states.keys() & codes.keys()) >= 0.8 * len(states):
                return codes
    return {}


def _private(of: Compared, observed: Observed) -> Iterator[Found]:
    for name, column in of.columns.items():
        kind = looks_private(name, column.sample)
        known = sum(hash(folded(value)) in observed.private for value in column.sample)
        answers = sum(hash(folded(value)) in observed.answered for value in column.sample)
        if kind and max(known, answers) < 0.9 * len(column.sample):
            row = next((row for value, row in column.sample.items() if hash(folded(value)) not in observed.private), 0)
            words = f"{name} looks like {kind}, and its values are not in `private`"
            yield Found("private", f"private: {name}", column.kept, words, f"{of.file.name}:{row}")


def _unread(of: Compared, named: set[str]) -> Iterator[Found]:
    used = named | of.file.used
    names = [
        name for name in of.file.columns if name not in used and name != SOURCE and name in {*map(_top, of.columns)}
    ]
    if names:
        words = f"{of.file.name} has columns that are not read: {listed(names)}"
        yield Found("unread", f"unread: {listed(names)}", len(names), words)


def _top(name: str) -> str:
    return name.partition(".")[0].removesuffix("[]")


def _notes(of: Compared) -> Iterator[Found]:
    for code, words, row in of.file.notes:
        yield Found(code, f"{code}: {of.file.name}", 1, f"{of.file.name} {words}", f"{of.file.name}:{row}")


def _left_out(of: Compared, seen: Seen) -> Iterator[Found]:
    if of.kept is None:
        return
    skipped = len(seen.skipped_rows.get(of.file.name, ()))
    silent = of.file.rows - len(of.kept) - skipped
    if silent > 0.5 * of.file.rows:
        words = (
            f"{silent:,} of {of.file.rows:,} rows of {of.file.name} became no record, without a `skip` that says why"
        )
        yield Found("left_out", f"left out: {of.file.name}", silent, words)


def _unread_files(seen: Seen, named: set[str]) -> Iterator[Found]:
    folder = seen.root / RAW
    samples = folder / "sample.sha256"  # what a stamped repo starts with, and stays next to one's own files
    made_up = samples.read_text(encoding="utf-8", errors="replace") if samples.is_file() else ""
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        name = path.relative_to(seen.root).as_posix()
        if (
            path.suffix in ENDINGS
            and name not in seen.files
            and not any(path.name in text for text in {*named, made_up})
        ):
            yield Found("unread", f"unread: {name}", 1, f"{name} is not read")


def _groups(observed: Observed, files: list[Compared]) -> Iterator[Found]:
    count, groups = observed.count, observed.groups
    if observed.torn:
        words = f"{len(observed.torn):,} records are in another `part` than others of their group"
        yield Found("part", "groups in several parts", len(observed.torn), words, observed.torn[0])
    if count < 2 * FEW:
        return
    largest = max(groups.values())
    if len(groups) < FEW or 2 * largest > count:
        words = f"{len(groups):,} groups for {count:,} records, the largest of {largest:,}: too few to hold any out"
        yield Found("groups", "few groups", len(groups), words, observed.first)
    elif len(groups) == count:
        shared = [
            name
            for of in files
            for name, column in of.columns.items()
            if of.kept
            and any(map(_GROUPING.fullmatch, words_of(name)))
            and len(column.sample) < 0.9 * min(column.kept, 200)
        ]
        hint = f"; perhaps {listed(shared)} belongs together" if shared else ""
        words = f"each of {count:,} records is a group of its own, so that nothing stays together{hint}"
        yield Found("groups", "single groups", count, words, observed.first)


def _kinds(observed: Observed) -> Iterator[Found]:
    for kind, values in observed.private_values.items():
        if (looks := looks_private("", values)) not in (None, kind):
            words = f"the values of {kind} in `private` look like {looks}"
            yield Found("private_kind", f"private {kind}", len(values), words, observed.first)


def _answers(observed: Observed, kind: str | None) -> Iterator[Found]:
    for path, answer in observed.answers.items():
        name, values = path or "the answer", answer.values or Counter()
        first = next(iter(answer.sources.values()))
        few = 1 < len(values) <= 0.5 * answer.count
        whole = not path and answer.values is None  # fields of a target are read out of the prompt
        if (
            answer.count >= FEW
            and answer.in_prompt >= (0.2 if whole else 0.9) * answer.count
            and not path
            and (few or whole)
        ):
            words = f"{name} stands in the prompt of {answer.in_prompt:,} of {answer.count:,} records"
            yield Found("answer_in_prompt", f"{name} in the prompt", answer.in_prompt, words, first)
        if len(values) == 1 and answer.count >= max(FEW, 0.9 * observed.count):
            yield Found("constant", f"{name} constant", answer.count, f"{name} is the same in all records", first)
        if answer.made >= max(FEW, 0.5 * answer.count):
            words = f"{name} is a time or an id that stands in no prompt, in {answer.made:,} records"
            yield Found("made", f"{name} unknowable", answer.made, words, first)
        if empty := [text for text in values if _NONE.fullmatch(text)]:
            count = sum(values[text] for text in empty)
            words = f"{name} is a word for no value, as None or n/a, in {count:,} records"
            yield Found("none", f"{name} empty", count, words, answer.sources[empty[0]])
        if kind == "classification" and not path and answer.count >= 2 * FEW and not few and len(values) != 1:
            words = "more than half of the labels occur once, or there are over 300: is it the right column?"
            yield Found("labels", "many labels", len(values), words, first)
        if not path and kind != "text" and (private := looks_private("", values)):
            yield Found("answer_private", f"{name} private", len(values), f"{name} looks like {private}", first)
        if few and len(values) <= max(12, 2 * answer.count**0.5):  # as labels recur, and names don't
            yield from _spellings(path, values, answer.sources)


def _spellings(path: str, values: Counter[str], sources: dict[str, str]) -> Iterator[Found]:
    common: dict[str, str] = {}
    pairs: list[tuple[str, str]] = []
    for text, count in values.most_common():
        near = common.get(folded(text))
        if near is None and len(text) > 4:
            frequent = [one for one in common.values() if values[one] >= 10 * count]
            near = next(iter(difflib.get_close_matches(text, frequent, n=1, cutoff=0.85)), None)
        if near is None:
            common[folded(text)] = text
        else:
            pairs.append((near, text))
    if pairs:
        shown = "" if path else f", as '{pairs[0][0]}' and '{pairs[0][1]}'"  # a label; a field may be private
        words = (
            f"{path or 'the answer'} has {len(pairs)} values that may be another spelling of a more frequent one{shown}"
        )
        yield Found("spelling", f"spelling: {path or 'answer'}", len(pairs), words, sources[pairs[0][1]])


def _texts(observed: Observed) -> Iterator[Found]:
    for sign in BROKEN:
        if len(sources := observed.broken.get(sign, [])) >= max(2, 0.01 * observed.count):
            words = f"{len(sources):,} records have {sign} in their texts"
            yield Found("broken", sign, len(sources), words, sources[0])
    _, count = observed.prompts.most_common(1)[0] if observed.prompts else (0, 0)
    if observed.count >= 2 * FEW and 5 * count > observed.count:
        words = f"{count:,} of {observed.count:,} records have the same prompt"
        yield Found("prompts", "same prompt", count, words, observed.first)
    short = sum(len(prompt.split()) < 2 for _, prompt, _ in observed.sample)
    if observed.count >= FEW and 2 * short > len(observed.sample):
        words = "more than half of the prompts are a single word or number: is it the right column?"
        yield Found("prompts", "short prompts", short, words, observed.first)


def _tools(observed: Observed, kind: str | None) -> Iterator[Found]:
    if idle := sorted(observed.offered.keys() - observed.called.keys()):
        if not observed.called:
            words = f"{len(idle)} tools are offered, and no target calls any"
            yield Found("tools", "no calls", len(idle), words, observed.first)
        elif observed.count >= FEW:
            words = f"{len(idle)} of {len(observed.offered)} tools are called by no target: {listed(idle, 5)}"
            yield Found("tools", "tools unused", len(idle), words, observed.first)
    elif kind == "tool_call" and not observed.called:
        yield Found("tools", "no calls", 0, "no target calls a tool", observed.first)
    if observed.unoffered and observed.offered | (Counter({"": 1}) if kind == "tool_call" else Counter()):
        words = f"{len(observed.unoffered):,} targets call a tool that their record does not offer in `tools`"
        yield Found("tools", "calls not offered", len(observed.unoffered), words, observed.unoffered[0])


def _joins(files: list[Compared], named: set[str]) -> Iterator[Found]:
    """Rows of the main file whose key another file has not at all, or several times."""
    for of in files:
        for other in files:
            if of.kept is None or other.kept is not None or other is of:
                continue
            ours, theirs = (_keys(one, named) for one in (of, other))
            pairs = [
                (len(rows.keys() & keys.keys()) / len(rows), name, key)
                for name, rows in ours.items()
                for key, keys in theirs.items()
                if len(rows) > 2
            ]
            share, name, key = max(pairs, default=(0, "", ""), key=lambda pair: (pair[0], pair[1] == pair[2]))
            if share < 0.3:
                continue
            rows, keys = ours[name], theirs[key]
            missing = {value: of_value for value, of_value in rows.items() if value not in keys}
            several = {value: of_value for value, of_value in rows.items() if len(keys.get(value, ())) > 1}
            for lacking, what in ((missing, "nothing"), (several, "several rows")):
                count = sum(map(len, lacking.values()))
                if count and 2 * count < sum(map(len, rows.values())):
                    first = min(row for found in lacking.values() for row in found)
                    words = f"{count:,} rows of {of.file.name} match {what} of {other.file.name} ({name}, {key})"
                    yield Found("join", f"{other.file.name}: {what}", count, words, f"{of.file.name}:{first}")


def _keys(of: Compared, named: set[str]) -> dict[str, dict[str, list[int]]]:
    """The rows of each value of the columns that the script names."""
    wanted = [name for name in of.columns if _top(name) in named | of.file.used]
    found: dict[str, dict[str, list[int]]] = {name: {} for name in wanted}
    for row, values in of.file.again():
        for name, value in scalars_of(values):
            if name in found:
                found[name].setdefault(str(value), []).append(row)
    return found
