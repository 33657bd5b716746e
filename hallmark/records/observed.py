"""What the records of a run say taken together, noted one by one: groups, answers, tools and signs of broken text."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hallmark.records.record import Record
from hallmark.task.values import folded, leaves

MOST_VALUES = 300
SAMPLE = 1000  # records whose texts are kept
_MADE = re.compile(
    r"(?i)\d{4}-\d\d-\d\d[t ]\d\d:\d\d.*|1[0-9]{9}(?:\d{3})?(?:\.\d+)?|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{24,64}"
)
BROKEN = {  # signs of a text that is not as its author wrote it
    "HTML": re.compile(r"</?(?:p|br|div|span|a|b|i|strong|em|ul|li|td|tr)\b[^<>]*>|&(?:amp|lt|gt|quot|nbsp|#\d{2,5});"),
    "escaped line breaks": re.compile(r"\\r?\\n|\\n"),
    "letters in a wrong encoding": re.compile(r"Ã[\x80-\xbf©¨¤¶¼Ÿ]|â€[™œ“”\x80-\xbf]|\ufffd"),
    "None in place of a value": re.compile(r"(?m)(?:^|: )(?:None|nan|NaN|null)$"),
}


@dataclass
class Answer:
    """One field of the targets: its values as long as there are few, and how many of them stand in the prompts."""

    count: int = 0
    in_prompt: int = 0
    made: int = 0  # times and ids, which nobody can read out of a text
    values: Counter[str] | None = field(default_factory=Counter)
    sources: dict[str, str] = field(default_factory=dict)

    def add(self, value: Any, prompt: str, source: str) -> None:
        """Note a value of a record."""
        text = str(value)
        stands = bool(text.strip()) and text.casefold() in prompt
        self.count += 1
        self.in_prompt += stands
        self.made += not stands and bool(_MADE.fullmatch(text))
        self.sources.setdefault("" if self.values is None else text, source)
        if self.values is not None:
            self.values[text] += 1
            if len(self.values) > MOST_VALUES or len(text) > 200:
                self.values = None


@dataclass
class Observed:
    """All records so far."""

    count: int = 0
    groups: Counter[str] = field(default_factory=Counter)
    parts: dict[str, str | None] = field(default_factory=dict)  # of each group
    torn: list[str] = field(default_factory=list)  # sources of records whose group is in another part
    kept: dict[str, set[int]] = field(default_factory=dict)  # rows by file
    answers: dict[str, Answer] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)  # hashes of values
    broken: dict[str, list[str]] = field(default_factory=dict)  # sources by sign
    prompts: Counter[int] = field(default_factory=Counter)
    offered: Counter[str] = field(default_factory=Counter)
    called: Counter[str] = field(default_factory=Counter)
    unoffered: list[str] = field(default_factory=list)  # sources of records that call what they don't offer
    tags: set[str] = field(default_factory=set)
    private: set[int] = field(default_factory=set)  # hashes of values
    private_values: dict[str, list[str]] = field(default_factory=dict)  # some of each kind
    sample: list[tuple[str, str, str]] = field(default_factory=list)  # source, prompt, target
    prompt_columns: list[str] = field(default_factory=list)
    first: str = ""
    step: int = 1

    def add(self, record: Record) -> None:
        """Note a record."""
        prompt = prompt_of(record).casefold()
        source, target = record.source, record.target
        self.first = self.first or source
        self.groups[record.group] += 1
        if self.parts.setdefault(record.group, record.part) != record.part:
            self.torn.append(source)
        name, _, row = source.rpartition(":")
        self.kept.setdefault(name, set()).add(int(row))
        for sign, pattern in BROKEN.items():
            if pattern.search(prompt_of(record)) or (isinstance(target, str) and pattern.search(target)):
                self.broken.setdefault(sign, []).append(source)
        self.prompts[hash(prompt)] += 1
        calls = [one for one in target if isinstance(one, dict) and "name" in one] if isinstance(target, list) else []
        calls += [target] if isinstance(target, dict) and target.keys() == {"name", "arguments"} else []
        offered = {tool["function"]["name"] for tool in record.tools or () if "function" in tool}
        offered |= {
            name for call in calls if (name := str(call["name"])).casefold() in prompt
        }  # tools listed in the text
        self.offered.update(offered)
        self.called.update(str(call["name"]) for call in calls)
        if calls and not {str(call["name"]) for call in calls} <= offered:
            self.unoffered.append(source)
        if not calls:
            for path, values in leaves(target).items():
                for value in values:
                    self.answered.add(hash(folded(str(value))))
                    self.answers.setdefault(path, Answer()).add(value, prompt, source)
        self.tags.update(record.tags)
        for kind, texts in record.private.items():
            self.private.update(hash(folded(text)) for text in texts)
            some = self.private_values.setdefault(kind, [])
            some += texts[: 200 - len(some)]
        if self.count % self.step == 0:
            self.sample.append((source, prompt, target if isinstance(target, str) else ""))
            if len(self.sample) > SAMPLE:
                self.sample, self.step = self.sample[::2], 2 * self.step
        self.count += 1


def prompt_of(record: Record) -> str:
    """All that the model reads of a record."""
    said = [record.prompt] if isinstance(record.prompt, str) else [one.get("content") or "" for one in record.prompt]
    return "\n".join([*said, record.context or ""])
