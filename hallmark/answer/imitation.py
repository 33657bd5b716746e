"""Answers made of those of the nearest training records, with labels by vote or linear model and values copied from the text."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hallmark.answer.copying import Field, Mention, Places, Text, usual_first
from hallmark.answer.nearest import nearest
from hallmark.answer.text_model import classes_of
from hallmark.task.answers import Parsed, canonical
from hallmark.task.kinds.tool_call import calls_in
from hallmark.task.task import Task

if TYPE_CHECKING:
    from hallmark.answer.params import Classical

FOLDS = 3
MOST_JUDGED = 300  # records of which the certainty is learned, so that it takes seconds
FEWEST = 3  # records with a value: of rarer ones there is nothing to learn
THRESHOLDS = 30  # that are tried
MOST_CLASSES = 256  # that a linear model tells apart, so that it takes seconds; of more, the neighbours vote
FAINT = 1e-6  # what a neighbour counts that has no word of the text
Path = tuple[str, ...]
Slot = tuple[str, Path]  # name of the tool, or nothing; keys
ABSENT = "absent"
FORM: Slot = ("form", ())  # not a slot of an answer, but what the whole answer is
Near = Sequence[tuple[int, float]]  # training records and how like they are


@dataclass
class Seen:
    """What the training records have in one slot: in which records, and the values in each."""

    rows: list[int] = field(default_factory=list)
    values: list[list[Any]] = field(default_factory=list)
    listed: bool = False
    empty: Counter[str] = field(default_factory=Counter)  # how it is written that there is none: null, [] or no key


@dataclass(frozen=True)
class Copied:
    """A slot whose values are copied from the text: how, how sure that must be, and the most values at once."""

    field: Field
    least: float
    most: int

    def chosen(self, text: Text, taken: Sequence[Mention] = ()) -> list[Mention]:
        """The mentions to copy, in their order in the text; one that was not taken is preferred."""
        mentions = self.field.mentions(text)
        free = [one for one in mentions if not any(map(one.overlaps, taken))]
        return choose(free or mentions, self.least, self.most)


def choose(mentions: Sequence[Mention], least: float, most: int) -> list[Mention]:
    """Of the mentions, likeliest first, those that are sure enough and do not overlap, in their order in the text."""
    found: list[Mention] = []
    for mention in mentions:
        if mention.score < least or len(found) == most:
            break
        if not any(map(mention.overlaps, found)):
            found.append(mention)
    return sorted(found, key=lambda one: one.run)


class Imitation:
    """The rule, learned from training records; `linear`: the linear model that says what is not copied, else a vote."""

    def __init__(
        self,
        task: Task,
        texts: Sequence[str],
        targets: Sequence[str],
        groups: Sequence[str],
        neighbours: int,
        linear: Classical | None = None,
    ) -> None:
        self.task, self.inputs, self.targets, self.groups = task, texts, targets, groups
        self.neighbours, self.linear = neighbours, linear
        self.parsed = [task.parse(target) for target in targets]
        self.forms = [_form(task, parsed) for parsed in self.parsed]

    def answers(self, asked: Sequence[str]) -> list[str]:
        near = nearest(self.inputs, asked, self.neighbours)
        few = [(row, 0.0) for row in range(min(self.neighbours, len(self.inputs)))]
        said = self._said(asked)
        return [
            self._answer(text, ranked, {slot: classes[number] for slot, classes in said.items()})
            for number, (text, ranked) in enumerate(zip(asked, near or [few] * len(asked), strict=True))
        ]

    def _said(self, asked: Sequence[str]) -> dict[Slot, list[str]]:
        """What the linear model says of each text, for the form and each slot that is not copied; nothing without one."""
        if self.linear is None:
            return {}
        learned = {FORM: dict(enumerate(self.forms))}
        if self.task.is_json:
            answers = [row for row, parsed in enumerate(self.parsed) if parsed.kind == "answer"]
            for slot in self._slots:
                if not slot[0] and slot not in self._copied:
                    learned[slot] = {row: canonical(self._values[slot].get(row, [])) for row in answers}
        said = {}
        for slot, classes in learned.items():
            if len({*classes.values()}) <= MOST_CLASSES:
                texts = [self.inputs[row] for row in classes]
                said[slot] = classes_of(self.linear, texts, [*classes.values()], asked)
        return {slot: classes for slot, classes in said.items() if classes is not None}

    def _answer(self, text: str, near: Near, said: Mapping[Slot, str]) -> str:
        form = said.get(FORM) or vote((self.forms[row], share) for row, share in near)
        near = [(row, share) for row, share in near if self.forms[row] == form] or [(self.forms.index(form), 0.0)]
        row = near[0][0]
        if not self.task.is_json or self.parsed[row].kind != "answer":
            return self.targets[row]
        value = copy.deepcopy(self.parsed[row].value)
        if self.task.kind.calls_tools:
            calls = calls_in(value)
            value = calls if isinstance(value, list) else calls[0] if calls else value
        self._fill(value, Text(text), near, said)
        answer = self.task.render(value)
        return answer if self.task.parse(answer).kind == "answer" else self.targets[row]

    def _fill(self, value: Any, text: Text, near: Near, said: Mapping[Slot, str]) -> None:
        """Put into the frame what the text says, and the labels that the linear model says or the neighbours vote for."""
        taken: dict[str, list[Mention]] = {}  # by the last key: two calls rarely mean the same day
        for tool, part in parts(self.task, value):
            for slot, seen in self._slots.items():
                if slot[0] != tool:
                    continue
                if copied := self._copied.get(slot):
                    found = copied.chosen(text, taken.get(slot[1][-1], ()))
                    taken.setdefault(slot[1][-1], []).extend(found)
                    values = [mention.value for mention in found]
                elif tool:
                    continue  # of a call: its own
                else:
                    votes = ((canonical(self._values[slot].get(row, [])), share) for row, share in near)
                    values = json.loads(said.get(slot) or vote(votes))
                put(part, slot[1], values, seen)

    @cached_property
    def _texts(self) -> list[Text]:
        return [Text(text) for text in self.inputs]

    @cached_property
    def _every(self) -> Places:
        return places_in(self._texts)

    @cached_property
    def _slots(self) -> dict[Slot, Seen]:
        """The slots that are filled or emptied, in the order of the first record with each."""
        slots: dict[Slot, Seen] = {}
        objects = [
            (row, tool, part)
            for row, parsed in enumerate(self.parsed)
            if parsed.kind == "answer"
            for tool, part in parts(self.task, parsed.value)
        ]
        opaque: set[Slot] = set()
        for _, tool, part in objects:
            for path, value in leaves(part):
                if isinstance(value, list):
                    if any(isinstance(item, dict | list) or item is None for item in value):
                        opaque.add((tool, path))
                    slots.setdefault((tool, path), Seen()).listed = True
                else:
                    slots.setdefault((tool, path), Seen())
        # An object that may be null is no slot: what it has is.
        opaque |= {(tool, path[:depth]) for tool, path in slots for depth in range(1, len(path))}
        slots = {slot: seen for slot, seen in slots.items() if slot not in opaque}
        by_tool: dict[str, list[Slot]] = {}
        for slot in slots:
            by_tool.setdefault(slot[0], []).append(slot)
        for row, tool, part in objects:
            there = dict(leaves(part))
            for slot in by_tool.get(tool, ()):
                seen, value = slots[slot], there.get(slot[1], ABSENT)
                given = value if isinstance(value, list) else [value] if slot[1] in there and value is not None else []
                if not given:
                    seen.empty["[]" if value == [] else "null" if value is None else ABSENT] += 1
                if seen.rows and seen.rows[-1] == row:
                    seen.values[-1].extend(given)
                else:
                    seen.rows.append(row)
                    seen.values.append([*given])
        return slots

    @cached_property
    def _values(self) -> dict[Slot, dict[int, list[Any]]]:
        return {slot: dict(zip(seen.rows, seen.values, strict=True)) for slot, seen in self._slots.items()}

    @cached_property
    def _copied(self) -> dict[Slot, Copied]:
        found = {}
        for slot, seen in self._slots.items():
            values = [value for of in seen.values for value in of]
            if len(values) < FEWEST or any(isinstance(value, bool) for value in values):
                continue
            texts = [self._texts[row] for row in seen.rows]
            learned = Field(texts, seen.values, self._every)
            if 2 * learned.found < learned.said:
                continue
            most = max(map(len, seen.values)) if seen.listed else 1
            least, right = self._certainty(seen, texts, most)
            usual = Counter(map(canonical, seen.values)).most_common(1)[0][1] / len(seen.values)
            if right > usual:
                found[slot] = Copied(learned, least, most)
        return found

    def _certainty(self, seen: Seen, texts: Sequence[Text], most: int) -> tuple[float, float]:
        """The score that a mention must have, and how often that is right, in records of other groups than were learned from."""
        names = list(dict.fromkeys(self.groups[row] for row in seen.rows))
        fold_of = {name: number % FOLDS for number, name in enumerate(names)}
        folds = [fold_of[self.groups[row]] for row in seen.rows]
        step = -(-len(texts) // MOST_JUDGED)
        judged: list[tuple[list[Mention], list[str]]] = []
        for fold in range(min(FOLDS, len(names))):
            rest = [number for number, of in enumerate(folds) if of != fold]
            if not rest:
                continue
            learned = Field([texts[number] for number in rest], [seen.values[number] for number in rest], self._every)
            for number in range(0, len(texts), step):
                if folds[number] == fold:
                    judged.append((learned.mentions(texts[number])[: 8 * most], [*map(canonical, seen.values[number])]))
        scores = sorted({mention.score for mentions, _ in judged for mention in mentions[:most]})
        tried = [float("-inf"), *scores[:: -(-len(scores) // THRESHOLDS) or 1]]

        def right(least: float) -> int:
            return sum(
                [canonical(one.value) for one in choose(mentions, least, most)] == values for mentions, values in judged
            )

        counts = [right(least) for least in tried]
        best = max(counts, default=0)
        return tried[counts.index(best)], best / max(len(judged), 1)


def vote(ballots: Iterable[tuple[str, float]]) -> str:
    """What the most alike records say."""
    counts: dict[str, float] = {}
    for said, share in ballots:
        counts[said] = counts.get(said, 0.0) + share + FAINT
    return str(usual_first(counts)[0])


def places_in(texts: Sequence[Text]) -> Places:
    every = Places()
    for text in texts:
        for around in text.around:
            every.add(around)
    return every


def _form(task: Task, parsed: Parsed) -> str:
    """What an answer must share with others to vote with them."""
    if not task.is_json:
        return canonical(parsed.value) if task.kind.listed and parsed.kind == "answer" else parsed.kind
    if parsed.kind == "answer" and task.kind.calls_tools:
        return json.dumps([str(call.get("name")) for call in calls_in(parsed.value)])
    return parsed.kind


def parts(task: Task, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of an answer whose values are filled in, each with the name of the tool that it calls, if one."""
    if task.kind.calls_tools:
        for call in calls_in(value):
            if isinstance(arguments := call.get("arguments"), dict):
                yield str(call.get("name")), arguments
    elif isinstance(value, dict):
        yield "", value


def leaves(part: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The values in an object by their keys; a list is one value."""
    for name, value in part.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def put(part: dict[str, Any], path: Path, values: list[Any], seen: Seen) -> None:
    """Set a value, or write in the usual way that there is none."""
    *parents, last = path
    for name in parents:
        inner = part.get(name)
        if not isinstance(inner, dict):
            if not values:
                return
            inner = part[name] = {}
        part = inner
    if values:
        part[last] = values if seen.listed else values[0]
    elif (usual := usual_first(seen.empty)[0] if seen.empty else ABSENT) == ABSENT:
        part.pop(last, None)
    else:
        part[last] = [] if usual == "[]" else None
