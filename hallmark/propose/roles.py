"""Choose the role of each column by evidence, its name and its values, for `python -m hallmark.commands.propose`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby
from typing import Any

from hallmark.base.markup import plain_text
from hallmark.base.records import columns_of
from hallmark.data.conversations import PART, PARTS, beyond, sentences
from hallmark.data.copied import opened
from hallmark.data.missing import is_blank
from hallmark.mask import second_check
from hallmark.propose import evidence
from hallmark.propose.answer_leaks import Leak, leak
from hallmark.propose.column_words import entity, says, words_of
from hallmark.propose.columns import SHAPES, Column, answers_of, related, tools_in
from hallmark.propose.evidence import COPIED, Evidence, is_id

ENOUGH = {"target": 0.0, "group": evidence.PLAUSIBLE, "input": 3.0, "tags": 1.0}  # points that a role needs
IDENTITY = SHAPES["identity"]
SHOWN = 3  # runners-up of a role
MORE = 0.1  # share of the answers that a text must tell beyond the main one, unless it is named like what is read
MORE_WORDS = 0.03  # of their words, if they are texts
SURE = 5.0  # points of a name that says answer
ARGUMENTS = 0.7  # share of what guessing misses, from which on a name tells the keys of its arguments
WEAK = 0.4  # share of what guessing misses, up to which a text hardly tells a label
TRANSLATED = 9.6  # points of a translation, one less next to a label that is named like the answer and told
A_RECORD = 3  # columns after the text, with values of the answer, from which on they are the answer in other words
EDITED = 7.5  # points of an edited text, fewer than those of a label that is named like the answer and told
CLOSE = 2.0  # points by which a label must lead a text, or a text a label
_OFFSET = re.compile(r"_(?:start|end|offset)s?$")
DATED = "what the system messages share, which else differ in dates, numbers or a few words"
ALIKE = 0.8  # share of their words
SHORT_OF = 0.5  # of the mean length of the input: what all contexts share can't make rows of it alike
MOST_TOLD = 24  # columns for which it is tried whether the text tells their values
SAME = 0.95  # share of the rows in which a column that repeats another has its text


@dataclass
class Guess:
    """The column for each role, the reasons, and the runners-up."""

    id: str = "row.id"
    group: str = "row.id"
    input: str = ""
    target: str | list[str] = ""
    context: str | None = None
    tools: str | None = None
    rejected: str | None = None
    tags: str | None = None
    tag_separator: str = ","
    split: str | None = None
    unsure: bool = False  # the group is only the most plausible column
    doubted: str | None = None  # a column that may be the target as well
    chat: dict[str, Any] | None = None  # where a chat in a layout of its own is
    system_prompt: str | None = None  # that all conversations have
    identity: dict[str, str] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    runners_up: dict[str, list[tuple[str, Evidence]]] = field(default_factory=dict)
    leaks: dict[str, Leak] = field(default_factory=dict)  # columns that hold the answer
    unused: list[str] = field(default_factory=list)

    @property
    def targets(self) -> list[str]:
        return self.target if isinstance(self.target, list) else [self.target]

    @property
    def read(self) -> list[str]:
        """The columns that the model reads."""
        return [name for text in (self.input, self.context) if text for name in columns_of(text)]


@dataclass(frozen=True)
class Known:
    """What the user says: input (columns or one template), target, group, the target that refuses, the kind of task, and which rows."""

    inputs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    group: str | None = None
    refusal: str | None = None
    kind: str | None = None
    where: dict[str, list[Any]] | None = None  # as `data.where`; {}: all rows


def guess(
    columns: dict[str, Column], known: Known | None = None, note: str | None = None, together: Sequence[str] = ()
) -> Guess:
    """Choose a column for each role: what the user knows, else what has the most evidence.

    `note`: that on whole conversations. `together`: columns that are an answer only together, as a group of codes and the
    code in it.
    """
    return _Choice(columns, known or Known(), note, together).all()


@dataclass
class _Signs:
    """What is known of the columns that may be the target, by name."""

    marked: dict[str, Column]  # the text that it repeats with markup, or in other words
    translated: dict[str, Column]  # the latter alone
    edited: dict[str, Column]  # the raw text that it is an edited form of
    read: list[Column]  # the texts that a model would read
    named: dict[str, float]  # the points of its name
    whole: list[str]  # objects and texts that are an answer as a whole
    told: dict[str, float | None] = field(default_factory=dict)  # how well the texts tell it

    @property
    def sure(self) -> bool:
        """Whether the texts tell a column that is named like the answer."""
        return any(of and self.named[name] >= SURE for name, of in self.told.items())


class _Choice:
    def __init__(self, columns: dict[str, Column], known: Known, note: str | None, together: Sequence[str]) -> None:
        self.columns, self.known, self.note, self.together = columns, known, note, together
        self.order = {name: at for at, name in enumerate(columns)}
        self.roles = Guess()
        self.taken: set[str] = set()
        self.private = {name: kind for name, column in columns.items() if (kind := identity(column))}
        self.ids = [of for of in columns.values() if evidence.look(of) == "ids"]
        self.added: set[str] = set()  # read next to the texts: a column with names is masked in these all the same

    def all(self) -> Guess:
        roles = self.roles
        conversation = "turns.target" in self.columns
        own = {"messages", "conversations", "system"} if conversation or self.note else set()
        self.taken |= own | ({PART} & self.columns.keys())
        self.fixed()
        if conversation:
            self.turns()
        texts = self.texts()
        self.target(texts)
        sources = [self.columns[name].source for name in roles.targets if name in self.columns]
        if (source := next(filter(None, sources), None)) and not self.known.inputs:
            self.take("input", source, "the text of the spans")
        self.find_leaks()
        self.find_late([self.columns[name] for name, given in texts if given.score >= ENOUGH["input"]])
        self.id()
        self.group(texts)
        self.context(texts)
        self.input(texts)
        self.taken |= {"turns.earlier", "turns.system", "turns.input", "turns.target"} if conversation else set()
        self.split()
        self.tags()
        used = self.taken | {roles.group}
        for name, kind in self.private.items():
            if name not in self.taken - self.added and not any(related(name, target) for target in roles.targets):
                roles.identity[name] = kind
                roles.why[name] = f"by its {'name' if re.search(IDENTITY[kind], _plain(name)) else 'values'}"
                used.add(name)
        left = [name for name in self.columns if not any(related(name, other) for other in used)]
        left = [name for name in left if self.columns[name].form != "object"]
        roles.unused = [name for name in left if not any(name.startswith(f"{other}.") for other in left)]
        return roles

    def take(self, role: str, names: str | list[str], why: str) -> None:
        setattr(self.roles, role, names)
        self.roles.why[role] = why
        self.taken |= {names} if isinstance(names, str) else {*names}

    def free(self) -> Iterable[str]:
        """Columns without a role, that have values and lie in no column that has one."""
        given = (name for name, column in self.columns.items() if column.given)
        return (name for name in given if not any(related(name, other) for other in self.taken))

    def ranked(self, of: Callable[[Column], Evidence | None]) -> list[tuple[str, Evidence]]:
        """Free columns with evidence for a role, the most first; in a tie, in the order of the file."""
        found = [(name, given) for name in self.free() if (given := of(self.columns[name])) is not None]
        return sorted(found, key=lambda pair: -pair[1].score)

    def texts(self) -> list[tuple[str, Evidence]]:
        """Free columns with evidence for the input. No name excludes the only text without markup."""
        found, least = self.ranked(evidence.of_input), ENOUGH["input"]
        running = [name for name in self.free() if evidence.is_running(self.columns[name])]
        if not any(name in running and given.score >= least for name, given in found):
            late = {"after", "answer", "context", "guess", "reply", "score", "staff"}
            plain = [name for name in running if not self.columns[name].lists & late] or running
            found = [pair for pair in found if [pair[0]] != plain]
            found[:0] = [(name, Evidence(least, ["the only plain text"])) for name in plain if len(plain) == 1]
        return found

    def best(self, role: str, found: list[tuple[str, Evidence]]) -> None:
        """Take the first, if its evidence is enough; the next are shown."""
        if found and found[0][1].score >= ENOUGH[role]:
            name, given = found.pop(0)
            self.take(role, name, str(given))
        self.roles.runners_up[role] = [pair for pair in found if pair[1].score > 0][:SHOWN]

    def fixed(self) -> None:
        """Roles that only a column of a special form or name has."""
        tools = next((name for name in self.free() if any(map(tools_in, self.columns[name].given[:20]))), None)
        if tools and tools not in self.known.targets:
            self.take("tools", tools, "its values are tools with parameters")
        if rejected := next((name for name in self.free() if _plain(name) == "rejected"), None):
            self.take("rejected", rejected, "by its name")

    def turns(self) -> None:
        if not self.known.inputs:
            self.take("input", "turns.input", "the last thing the user says")
        if not self.known.targets:
            why = "the assistant's last answer without weight 0: no other turn is trained, unless data.answers is all"
            self.take("target", "turns.target", why)
        system, earlier = self.columns["turns.system"], self.columns["turns.earlier"].given
        prompts = {text for text in system.values if text is not None}
        found = {}
        first, *others = sorted(prompts) or [""]
        said = [sentences(text) for text in others]
        parts = [part for part in sentences(first) if all(part in of for of in said)]
        joined = "".join(f"{part}{' ' if part[-1] in '.!?' else chr(10)}" for part in parts).strip()
        shared = joined if others else first
        rest = [beyond(text, shared) for text in prompts]
        long = sum(map(len, rest)) > SHORT_OF * len(rest) * self.columns["turns.input"].mean_chars
        dated = long and len(prompts) > 1 and alike(rest)
        private = second_check.residue(shared)
        if (shared or dated) and not private:
            self.roles.system_prompt = shared or None
            self.roles.why["system_prompt"] = DATED if dated else "what all system messages say"
        if private or (any(rest) and not dated):
            many = f"{len(system.given)} rows have system messages, {system.distinct} different"
            found["turns.system"] = f"private ({', '.join(private)})" if private else many
        if earlier:
            found["turns.earlier"] = f"{len(earlier)} rows have earlier turns"
        if found:
            self.roles.context = "\n".join(map(_slot, found)) if len(found) > 1 else next(iter(found))
            self.roles.why["context"] = "; ".join(found.values())

    def target(self, texts: list[tuple[str, Evidence]]) -> None:
        if self.known.targets:
            self.take("target", self.one_or_list(list(self.known.targets)), "as you said")
        elif self.note and self.known.kind in (None, "text"):
            self.take("target", self.note, "a text on the whole conversation, after it")
        if self.roles.target:
            return
        found = self.ranked(lambda column: evidence.of_target(column, column.name in self.private))
        signs = self.signs(found, texts)
        self.add_told(found, signs)
        self.add_untold(found, signs)
        objects = [(self.columns[name], given) for name, given in found if self.columns[name].form == "object"]
        guesses = evidence.add_later(objects, self.order)
        if kind := self.known.kind:
            found = [(name, given) for name, given in found if evidence.fits(self.columns[name], kind)]
        found.sort(key=lambda pair: -pair[1].score)
        if at := next((at for at, (name, _) in enumerate(found) if self.is_in_words(name, found[0][0])), 0):
            found[0][1].add(found[at][1].score - found[0][1].score - 0.1, f"the codes of '{found[at][0]}'")
            found.sort(key=lambda pair: -pair[1].score)
        if self.are_several(found, signs):
            return
        self.taken |= {guesses[name] for name in self.roles.targets if name in guesses}
        target = self.columns.get(str(self.roles.target))
        if target and (source := signs.marked.get(target.name)) and not self.known.inputs:
            self.take("input", source.name, "the answer repeats its words with markup, or in other words")
            if target.name in signs.translated and source.empty == target.empty and not says(target.name, "marked"):
                self.roles.doubted = source.name  # nothing says which of the two is translated
        elif target:
            self.leave_out_of_target(signs.read)

    def signs(self, found: list[tuple[str, Evidence]], texts: list[tuple[str, Evidence]]) -> _Signs:
        """What is known of the columns with evidence for the target, before it is seen what the texts tell."""
        plain = [self.columns[name] for name in self.free() if evidence.is_running(self.columns[name], 15)]
        marked = {name: of for name, _ in found if (of := evidence.source_of(self.columns[name], plain))}
        translated = self.translations(plain)
        marked |= {name: of for name, of in translated.items() if name in dict(found)}
        edited = {of.name: raw for raw in plain for of in plain if evidence.is_edited(of, raw)}
        likely = [name for name, given in texts[:3] if given.score >= ENOUGH["input"]]
        likely = [*(likely or [name for name, _ in texts[:1]]), *(source.name for source in marked.values())]
        read = [self.columns[name] for name in dict.fromkeys(likely) if name not in marked | edited]
        named = {name: evidence.of_its_name(self.columns[name], "target") for name, _ in found}
        whole = [*marked, *(name for name, column in self.columns.items() if evidence.is_answer(column))]
        return _Signs(marked, translated, edited, read, named, whole)

    def add_told(self, found: list[tuple[str, Evidence]], signs: _Signs) -> None:
        """Count and note whether the texts tell each column, or have it in them."""
        told = signs.told
        for at, (name, given) in enumerate(found):
            column = self.columns[name]
            others = [text for text in signs.read if not related(name, text.name)]
            read = [text for text in others if not leak(text, column)]
            if name in signs.marked:  # whatever its name
                how = "in other words, of the same length" if name in signs.translated else "marked up"
                least = TRANSLATED - signs.sure if name in signs.translated else 9.0
                given.add(max(least - given.score, 5.0), f"it is '{signs.marked[name].name}', {how}")
                told[name] = True
            elif name in signs.edited:
                given.add(max(EDITED - given.score, 4.0), f"it is '{signs.edited[name].name}', edited")
            elif read and column.is_label(3) and at < MOST_TOLD:
                told[name] = evidence.add_told(given, read, column)
            elif column.form == "object" and len(read) == len(others) and evidence.copied(column, read) > COPIED:
                given.add(3, "most of its values stand in the text")
                signs.whole.append(name)
                told[name] = True
            elif column.form == "object" and read == others and (many := self.fields_told(name, read)):
                names = 0.0 if column.lists & {"guess", "after", "score", "private"} else 2.5 - given.score
                given.add(3 + max(0, names), f"the text tells {many} of its fields")
                signs.whole.append(name)
                told[name] = True

    def add_untold(self, found: list[tuple[str, Evidence]], signs: _Signs) -> None:
        """Count that no text tells a column, that it is only a part of another, and what says that a text is the answer."""
        told, named, whole = signs.told, signs.named, signs.whole
        explained = [given.score for name, given in found if told.get(name)]
        sure = signs.marked or any(named[name] >= 0 for name, of in told.items() if of)
        for name, given in found:
            held = (leak(self.columns[other], self.columns[name]) for other in whole if other != name)
            inside = name not in signs.translated and any(name.startswith(f"{other}.") for other in whole)
            if any(other.startswith(f"{name}.") for other in signs.translated):
                given.add(-9, "it has a text and its translation")
            elif inside or any(one and one.sure for one in held):
                given.add(-5, "a part of an answer")
            elif not told.get(name) and (owner := self.is_name_of(name)):
                given.add(-3, f"the name of {owner}")
            elif told.get(name) is False:
                given.add(-9 if sure or (named[name] <= 0 and explained) else 0, "no text predicts it")
            elif told.get(name) and given.score == max(explained) < 0:
                given.add(0.1 - given.score, "the texts predict nothing else")
        labels = [self.columns[name] for name, of in told.items() if of]
        weak = [of for of in labels if named[of.name] <= 0 or (named[of.name] < SURE and (told[of.name] or 0) < WEAK)]
        if not signs.marked and weak == labels and all(label.is_label(3) for label in labels):
            self.weigh_texts(found, labels)
            texts = (
                given.score
                for name, given in found
                if self.columns[name].is_text and not self.columns[name].is_label(3)
            )
            made = max(texts, default=0) >= evidence.LEAST
            for _, given in (pair for pair in found if made and told.get(pair[0]) is False):
                given.add(-9, "a text is more likely the answer")
        free = [of for of in self.columns.values() if of.lists & {"answer", "reply"} and evidence.is_free(of)]
        for name, given in found:
            if self.columns[name].is_label(3) and any({*words_of(name)[0]} > {*words_of(of.name)[0]} for of in free):
                given.add(-5, "says something about the answer")

    def are_several(self, found: list[tuple[str, Evidence]], signs: _Signs) -> bool:
        """Take the column with the most evidence, or several that are one answer; whether they are several."""
        told, roles, likely = signs.told, self.roles, [text.name for text in signs.read]
        fields = self.read_off(signs.read) if signs.read and not signs.whole else []
        rest = [self.columns[name] for name, _ in found if name not in {*fields, *likely}]
        rest = [of for of in rest if not self.is_given(of, fields)]
        answered = (told.get(of.name) or of.lists & {"answer", "reply"} or evidence.is_free(of) for of in rest)
        if len(fields) > 2 and not any(answered):
            self.take("target", fields, "their values stand in the text")
            return True
        if not self.known.kind and (several := self.one_object([] if signs.sure else fields, told, likely)):
            self.take("target", *several)
            return True
        near = [self.columns[name] for name, given in found if given.score >= max(3, found[0][1].score - CLOSE)]
        unlike = (column.name for column in near if evidence.is_free(column) != evidence.is_free(near[0]))
        roles.doubted = next(unlike, None)
        self.best("target", found)
        if roles.target in self.together:
            self.take("target", [*self.together], f"{roles.why['target']}; the codes have names only together")
        elif not roles.target and fields and not self.known.kind:
            self.take("target", fields, "nothing else looks like an answer, and their values are in the text")
        elif flags := self.flags(str(roles.target), told):
            self.take("target", flags, "yes-or-no labels next to each other")
        elif coded := self.coded(str(roles.target), told):
            self.take("target", coded, "labels next to each other with like names, all given or none")
        return isinstance(roles.target, list)

    def first(self) -> int:
        """The place of the first column of the answer."""
        return min((self.order[name] for name in self.roles.targets if name in self.order), default=0)

    def fields_told(self, name: str, texts: list[Column]) -> int:
        """How many fields of an object the texts tell, if these are half of several."""
        inner = [of for of in self.columns.values() if of.name.rpartition(".")[0] == name and of.distinct > 1]
        many = 2 < len(inner) <= MOST_TOLD
        told = [of for of in inner if evidence.copied(of, texts) > COPIED or evidence.tell(texts, of)] if many else []
        return len(told) if many and 2 * len(told) >= len(inner) else 0

    def is_name_of(self, name: str) -> str | None:
        """An id that has one name in this column, and no other id has it."""
        label = self.columns[name]
        ids = [of for of in self.ids if of is not label] if label.is_label(3) and label.form == "text" else []
        alike = (of for of in ids if of.distinct == label.distinct)
        return next((of.name for of in alike if evidence.of_one(of, label) and evidence.of_one(label, of)), None)

    def one_object(
        self, fields: list[str], told: dict[str, float | None], read: list[str]
    ) -> tuple[list[str], str] | None:
        """Columns that are one answer, and why: a name and its arguments, or what a text has or tells of one table of a join."""
        labels = [name for name, of in told.items() if of and self.columns[name].is_label(3)]
        objects = [name for name, of in told.items() if of and self.columns[name].form == "object"]
        for name in (of for of in objects if not says(of, "answer")):
            values = map(opened, self.columns[name].values)
            keys = Column("", [",".join(sorted(of)) if isinstance(of, dict) else "" for of in values])
            near = (one for one in labels if 0 < self.order[name] - self.order[one] < 3 and keys.distinct > 2)
            gains = ((evidence.add_told(Evidence(), [self.columns[one]], keys) or 0, one) for one in near)
            if label := next((one for gain, one in gains if gain > ARGUMENTS), None):
                return [label, name], f"'{name}' has the arguments of each '{label}'"
        for table, count in Counter(name.rpartition(".")[0] for name in fields).items():
            own = [name for name in self.free() if name.rpartition(".")[0] == table]
            if not table or count < 2 or table in self.columns or {*own} & {*read} or not {*own} & {*labels}:
                continue
            least = min(self.columns[name].empty for name in own) + evidence.MANY  # all rows have a stamp
            dates = (name for name in own if self.columns[name].form == "time" and self.columns[name].empty > least)
            found = {*fields, *labels, *dates}
            return [name for name in own if name in found], f"what the text has or tells of '{table}'"
        return None

    def is_in_words(self, name: str, code: str) -> bool:
        """Whether a label says in words what another says in codes."""
        of, codes = self.columns[name], self.columns[code]
        words = of.all(str) and of.is_label(3) and not any(re.search(r"\d", key) for key in of.keys)
        coded = (of.distinct, of.empty) == (codes.distinct, codes.empty) and leak(codes, of) is not None
        return words and coded and all(re.fullmatch(r"\S*\d\S*", key) for key in codes.keys)

    def flags(self, target: str, told: dict[str, float | None]) -> list[str]:
        """The target and the columns next to it with the same two values, which texts tell too, if these are one label each."""
        names, keys = [*self.columns], {*self.columns[target].keys} if target in self.columns else set()
        two = {key.casefold() for key in keys} in ({"0", "1"}, {"false", "true"}, {"no", "yes"}, {"n", "y"})
        if target not in told or self.known.kind or not two:
            return []
        runs = groupby(names, lambda name: {*self.columns[name].keys} == keys and name in told)
        found = next(of for _, run in runs if target in (of := [*run]))
        return found if len(found) > 2 and 2 * sum(bool(told[name]) for name in found) > len(found) else []

    def coded(self, target: str, told: dict[str, float | None]) -> list[str]:
        """The target and the labels next to it whose names begin alike, which texts tell too and the same rows lack."""
        names, words = [*self.columns], words_of(target)[0]
        if target not in told or self.known.kind or len(words) < 2:
            return []
        gaps = [is_blank(value) for value in self.columns[target].values]

        def like(name: str) -> bool:
            same = (
                words_of(name)[0][:1] == words[:1] and [is_blank(value) for value in self.columns[name].values] == gaps
            )
            return same and any(gaps) and bool(told.get(name))

        runs = groupby(names, like)
        return next((of for is_like, run in runs if is_like and target in (of := [*run]) and len(of) > 2), [])

    def translations(self, texts: list[Column]) -> dict[str, Column]:
        """Texts that say the same as another in other words, by name: the one of two that more rows lack, else the later."""
        found: dict[str, Column] = {}
        texts = [of for of in texts if not of.lists & {"guess", "after", "staff", "score"} and evidence.is_free(of)]
        for one, other in combinations(texts, 2):
            if evidence.is_translation(other, one):
                both = sorted((one, other), key=lambda of: (says(of.name, "marked"), of.empty, self.order[of.name]))
                found[both[1].name] = both[0]
        return found

    def read_off(self, texts: list[Column]) -> list[str]:
        """Columns of short values that stand in the longest text, unless they say who or what the row belongs to."""
        text, out = max(texts, key=lambda one: one.mean_chars), {"staff", "person", "organisation", "document", "part"}
        free = [self.columns[name] for name in self.free() if name not in {*self.private, *(of.name for of in texts)}]
        short = [of for of in free if of.form in ("text", "number", "code", "time") and of.mean_chars < evidence.SHORT]
        short = [of for of in short if of.distinct > 2 and not (of.mostly_empty or of.lists & out or is_id(of))]

        def is_in(of: Column, other: Column) -> bool:
            return evidence.copied(of, [other]) > 1.5 * COPIED

        def numbers(of: Column) -> Column:  # of dates: the first and the third
            parts = ([*map(int, re.findall(r"\d+", str(value or ""))[:3:2])] for value in of.values)
            return Column(of.name, [*parts]) if of.form == "time" else of

        fields = [of for of in short if is_in(numbers(of), text)]
        whole = [of for of in fields if not any(of.distinct < one.distinct and is_in(of, one) for one in fields)]
        return [of.name for of in whole]  # no year next to its date

    def is_given(self, column: Column, fields: Sequence[str]) -> bool:
        """Whether a label is no answer next to fields that some rows lack: those have it, or it follows from one."""
        if not column.is_label(3) or len(fields) < 3 or evidence.of_its_name(column, "target") >= SURE:
            return False
        rows = zip(column.values, answers_of(self.columns, list(fields)).values, strict=True)
        lacking = [not is_blank(value) for value, of in rows if of is None]
        follows = (evidence.of_one(self.columns[name], column) for name in fields)
        return len(lacking) > 2 and (all(lacking) or any(follows))

    def weigh_texts(self, found: list[tuple[str, Evidence]], labels: list[Column]) -> None:
        """Count what says that a text is the answer, if no label named like one is told; and that a label is a thing's own."""
        before = {name: given.score for name, given in found}
        due: list[tuple[float, int]] = []  # points of texts that some rows lack, and the place of the text before each
        for name, given in found:
            text = self.columns[name].is_text and name not in self.private
            if text and (base := evidence.add_of_text(given, self.columns[name], [*self.columns.values()], labels)):
                due.append((given.score, self.order[base.name]))
        if all(given.score == before[name] for name, given in found):
            return
        for name, given in found:
            label = self.columns[name]
            if label.is_label(3) and evidence.of_its_name(label, "target") < SURE:
                one_has = (
                    one.name for one in self.ids if one.distinct >= label.distinct and evidence.of_one(one, label)
                )
                if of := next((one for one in one_has if not related(one, name)), None):
                    given.add(-1.5, f"the same in all rows of one {of}")
                if label not in labels:
                    given.add(-2, "the texts don't predict it")
                elif 0.01 < label.empty / len(label.values) < evidence.RARELY:
                    given.add(1.5, f"missing in {label.empty} rows")

        points, at = max(due, default=(0.0, 0))
        for name, given in found:
            early = self.columns[name].is_label(3) and self.order[name] < at and not says(name, "answer")
            if early and given.score >= points > 0:
                given.add(points - 0.5 - given.score, "known before the text")

    def one_or_list(self, targets: list[str]) -> str | list[str]:
        """Several columns as a list, which become one object; so does one, if the kind needs objects and it has none."""
        single = self.known.kind == "extraction" and self.columns[targets[0]].form not in ("object", "list")
        return targets if len(targets) > 1 or single else targets[0]

    def leave_out_of_target(self, texts: list[Column]) -> None:
        """Take only the fields of an object that a text can tell, or the object or long text in it, if they tell nothing else."""
        inner = [name for name in self.columns if name.rpartition(".")[0] == self.roles.target]
        out = [name for name in inner if self.is_of_a_tool(name, texts) or _OFFSET.search(name)]
        state = {name for name in inner if self.columns[name].lists & {"after", "score"}}
        varied = [name for name in inner if name not in {*out, *state} and self.columns[name].distinct > 1]
        told = {name for name in varied if evidence.tell(texts, self.columns[name])} if len(inner) > 1 else {*varied}
        nested = [name for name in varied if self.columns[name].form in ("object", "list")]
        long = [name for name in varied if evidence.is_running(self.columns[name])]
        if only := next((of[0] for of in (nested, long) if len(of) == 1 < len(inner) and told <= {*of}), None):
            one = f"{only}.0"  # of a list of one text
            self.roles.target = one if one in self.columns and self.columns[one].all(str) else only
            self.roles.why["target"] += f"; only '{only}' varies in it and can be predicted"
            self.leave_out_of_target(texts)
        elif out and len(out) < len(inner):
            self.roles.target = self.one_or_list([name for name in inner if name not in out])
            self.roles.why["target"] += f"; without {', '.join(out)}, which no text predicts"
        else:
            alike = self.marked_alike(self.roles.targets[0])
            self.roles.why["target"] += f"; with {', '.join(alike)}, which have similar names" if alike else ""
            self.roles.target = self.one_or_list(sorted([*self.roles.targets, *alike], key=self.order.__getitem__))
            self.taken |= {*alike}

    def is_of_a_tool(self, name: str, texts: list[Column]) -> bool:
        """Whether a field, or all that an object there has, is an id, a time or the like, which no text tells."""
        column = self.columns[name]
        parts = (
            [of for of in self.columns.values() if of.name.startswith(f"{name}.")] if column.form == "object" else []
        )
        ids = (is_id(of) or evidence.look(of) == "ids" or evidence.of_a_tool(of, texts) for of in parts)
        return evidence.of_a_tool(column, texts) or (
            bool(parts) and all(ids) and evidence.copied(column, texts) < evidence.FEW_COPIED
        )

    def marked_alike(self, target: str) -> list[str]:
        """Columns that share with the target the word that marks answers, as target_size and target_colour do."""
        own = words_of(target)[0]
        ends = [end for end in (0, -1) if len(own) > 1 and says(own[end], "marked")]
        out = {"staff", "score", "guess", "time", "after", "identifier"}
        keys = self.columns[target].keys.keys()
        found = []
        for name in self.free():
            words, of = words_of(name)[0], self.columns[name]
            alike = len(words) > 1 and any(words[at] == own[at] for at in ends) and not re.search(r"\d|[\W_]\w$", name)
            twice = len(keys) > 2 and 2 * len(keys & of.keys.keys()) > len(keys | of.keys.keys())
            alike = alike and name.rpartition(".")[0] == target.rpartition(".")[0] and name not in self.private
            fits = of.form in ("text", "number", "bool", "code") and not (of.mostly_empty or of.lists & out)
            if alike and fits and not twice:
                found += [name] * (leak(of, self.columns[target]) is None)
        return found

    def find_leaks(self) -> None:
        """Note which columns that may be read hold the answer."""
        if not self.roles.target:
            return
        answers = answers_of(self.columns, self.roles.target)
        for name, column in self.columns.items():
            named = any(name in columns_of(text) for text in self.known.inputs)
            read = column.all(str) and name not in ("turns.input", "turns.target", *self.roles.targets)
            if (named or read) and (found := leak(column, answers)) and (found.sure or not says(name, "context")):
                self.roles.leaks[name] = found  # a passage may well quote what is read off it

    def find_late(self, texts: list[Column]) -> None:
        """Note texts that may be written after the answer, or that bring hardly anything to the main one, as leaks."""
        if self.roles.input or self.known.inputs or not self.roles.target:
            return
        answers, leaks = answers_of(self.columns, self.roles.target), self.roles.leaks
        none = {label for of in evidence.no_labels(answers, {}) for label in of}
        answers = Column(answers.name, [None if str(of).strip() in none else of for of in answers.values])
        texts = [text for text in texts if text.name in set(self.free()) - leaks.keys()]
        main = max(texts, key=lambda text: text.mean_chars, default=None)
        titles = {text.name for text in texts if main and evidence.is_title(text, main, self.order)}
        free = evidence.is_free(answers)
        place = self.order[answers.name] if free or evidence.is_marked(answers) else len(self.order)
        place = place if main and self.order[main.name] < place else len(self.order)
        for text in texts:
            title = text.name in titles
            why = "it comes after the answer" if self.order[text.name] > place else None
            signs = (evidence.is_late(text, base, answers, title=title) for base in texts if base is not text)
            if why := why or next(filter(None, signs), None):
                leaks[text.name] = Leak(why, sure=False)
        left = [text for text in texts if text.name not in leaks.keys() | titles]
        left.sort(key=lambda text: says(text.name, "reply"))
        for text in (text for text in left[1:] if says(text.name, "reply") or evidence.of_its_name(text, "input") <= 0):
            more = evidence.right([left[0], text], answers) - evidence.right(left[:1], answers)
            alone = sum(
                not is_blank(of) and is_blank(base) for of, base in zip(text.values, left[0].values, strict=True)
            )
            if alone > evidence.FEW_COPIED * len(text.values):
                continue
            if more < (MORE_WORDS if free else MORE) and evidence.tell(left[:1], answers):
                leaks[text.name] = Leak(f"it tells hardly more than '{left[0].name}' does", sure=False)

    def id(self) -> None:
        found = [name for name in self.free() if is_id(self.columns[name]) and name != self.known.group]
        if found:
            rank = {name: "" if evidence.named_like_id(name) else self.columns[name].form for name in found}
            self.take("id", min(found, key=lambda name: (rank[name], name.count("."))), "every row has its own value")

    def group(self, texts: list[tuple[str, Evidence]]) -> None:
        if name := self.known.group:
            self.roles.group = name
            shape = f"; {self.columns[name].shape}" if name in self.columns else ""
            self.roles.why["group"] = f"as you said{shape}"
        else:
            before = set(self.taken)
            found = self.ranked(lambda column: evidence.of_group(column, column.name in self.private))
            answers = answers_of(self.columns, self.roles.target) if self.roles.target else Column("")
            said = [*(name for name, given in texts if given.score >= ENOUGH["input"]), "turns.input"]
            out = {*self.roles.targets, *said}
            for name, given in found:
                if entity(name) is None and evidence.look(column := self.columns[name]):
                    others = [one for one in self.columns if one not in out and not related(one, name)]
                    evidence.add_alike(given, column, [self.columns[one] for one in others], answers)
            named = [of for name, of in self.columns.items() if says(name, "context")]
            passages = [of for of in named if of.is_text and of.repeated > 1.5]
            others = [name for name in self.free() if name not in {*dict(found), *self.roles.targets}]
            for name in others if passages else ():
                column, of = self.columns[name], passages[0]
                short = of is not column and column.mean_chars < 100 and column.all((str, int))
                if short and evidence.ENOUGH_GROUPS <= column.distinct <= of.distinct and evidence.of_one(of, column):
                    found.append((name, Evidence(4, [f"rows with the same '{of.name}' have the same value"])))
            for name, given in found:
                if any(evidence.of_one(self.columns[name], self.columns[part]) for part in self.parts()):
                    given.add(4, evidence.OF_A_PART)
                if name == self.heading(texts):
                    given.add(-5, "like a title")
            evidence.add_wider([(self.columns[name], given) for name, given in found if name not in self.private])
            fine = {name: 0 if entity(name) else -self.columns[name].distinct for name, _ in found}
            found.sort(key=lambda pair: (-pair[1].score, fine[pair[0]]))
            found = [pair for pair in found if pair[1].score >= evidence.LEAST or evidence.look(self.columns[pair[0]])]
            if found and found[0][1].score < evidence.LEAST:
                self.roles.unsure = True
                found[0][1].add(0, "the most plausible, but please check")
            self.best("group", found)
            self.taken = before
        if self.roles.group in self.columns and self.roles.group not in self.private:
            self.taken.add(self.roles.group)  # else its values are masked in the texts too

    def parts(self) -> list[str]:
        """Columns whose values name the parts of a split."""
        words = {word for part in PARTS.values() for word in part}
        full = (of for of in self.columns.values() if of.all(str) and not of.empty)
        several = (of for of in full if of.distinct > 1 or says(of.name, "part"))
        return [of.name for of in several if {key.strip().casefold() for key in of.keys} <= words]

    def heading(self, texts: Sequence[tuple[str, Evidence]]) -> str | None:
        """A column right before a text of the input that is like its title, if no name says what it is."""
        names = [*self.columns]
        at = (self.order[name] - 1 for name, given in texts if given.score >= ENOUGH["input"])
        before = (names[of] for of in at if of >= 0)
        return next((name for name in before if evidence.is_heading(self.columns[name], self.ids)), None)

    def input(self, texts: list[tuple[str, Evidence]]) -> None:
        roles, known = self.roles, self.known.inputs
        if known:
            template = len(known) == 1 or all("{" in text for text in known)
            roles.input = "\n".join(known if template else map(_slot, known))
            roles.why["input"] = "as you said"
        if roles.input:
            marked = not known and roles.target and evidence.is_marked(answers_of(self.columns, roles.target))
            if added := self.needed([roles.input], {*self.free()}) if marked else []:
                self.taken |= {*added}
                roles.why["input"] += f"; {', '.join(added)}: the answer needs it"
                roles.input = "\n".join(map(_slot, sorted([roles.input, *added], key=lambda name: self.order[name])))
            return
        free = set(self.free())
        others = [name for name in free - roles.leaks.keys() if self.columns[name].is_text]
        if any(says(name, "body") or not self.columns[name].is_label(3) for name in others):
            free -= roles.leaks.keys()  # else the answer stands in the only text, which a user must be told
        target = self.columns.get(str(roles.target))
        replies = target is not None and target.form == "text" and target.mean_chars > evidence.SHORT
        found = [(name, given) for name, given in texts if name in free and not (replies and says(name, "reply"))]
        chosen: list[str] = []
        for name, given in found:
            if (given.score >= ENOUGH["input"] or not chosen) and not self.repeats(name, chosen):
                chosen.append(name)
        if (title := self.heading(texts)) in free - {*chosen, None}:
            chosen.append(str(title))
        if not chosen:  # nothing is like an input: the longest text that is left
            left = [
                name
                for name in free
                if self.columns[name].all(str) and name not in self.private and self.columns[name].form != "time"
            ]
            chosen = sorted(left, key=lambda name: -self.columns[name].mean_chars)[:1]
        if target is not None and target.is_text and not target.is_label(3) and chosen:
            base = self.columns[max(chosen, key=lambda name: self.columns[name].mean_chars)]
            out = {*chosen, *self.private, roles.group}
            early = [self.columns[name] for name in free - out if self.order[name] < self.order[target.name]]
            chosen += [of.name for of in early if evidence.is_free(target) and evidence.is_part(of, target, base)]
            rows = {str(value): at for at, value in enumerate(target.values) if value}.values()  # one of each answer
            *long, base, target = (Column(of.name, [of.values[at] for at in rows]) for of in (*early, base, target))
            long = [of for of in long if of.mean_chars > evidence.SHORT]
            long = [of for of in long if evidence.of_its_name(of, "input") >= 0]  # no draft
            least = evidence.right([base], target) + MORE
            chosen += [of.name for of in long if evidence.right([base, of], target) > least]
        self.added = {*(added := self.needed(chosen, free))}
        chosen += added
        chosen.sort(key=lambda name: (not says(name, "headline"), self.order[name]))
        roles.input = chosen[0] if len(chosen) == 1 else "\n".join(map(_slot, chosen))
        reasons = {name: str(given) for name, given in found}
        else_, why = "the answer needs it, or like a title" if chosen[1:] else "the longest remaining text", roles.why
        why["input"] = "; ".join(f"{name}: {reasons.get(name, else_)}" for name in chosen)
        roles.runners_up["input"] = [pair for pair in found if pair[0] not in chosen][:SHOWN]
        self.taken |= set(chosen)

    def needed(self, chosen: Sequence[str], free: set[str]) -> list[str]:
        """Columns before the answer that it needs besides the texts: a headline next to one, values, the day that it was written."""
        if not chosen or not self.roles.target:
            return []
        answers, texts = answers_of(self.columns, self.roles.target), [self.columns[name] for name in chosen]
        free = (free | {self.roles.group}) - {*chosen}
        early = (name for name in self.columns if name in free and self.order[name] < self.first())
        main = max(texts, key=lambda of: of.mean_chars).name
        parent, dot, _ = main.rpartition(".")  # another object may be of what happened later
        same = (name for name in early if name.startswith(f"{parent}.") or not (dot or "." in name))
        columns = [self.columns[name] for name in same]
        before = [of for of in columns if evidence.look(of) != "ids" and of.name != self.roles.group]
        near = {*[*self.columns][max(0, self.order[main] - 2) : self.order[main] + 3]}
        next_to = (of.name in near and of.name.rpartition(".")[0] == main.rpartition(".")[0] for of in before)
        found = [of.name for of, is_near in zip(before, next_to, strict=True) if is_near and evidence.is_headline(of)]
        if answers.form in ("object", "list") or evidence.is_marked(answers):
            given = [of.name for of in columns if of.name not in found and evidence.gives(of, answers, texts)]
            after = [name for name in given if self.order[name] > self.order[main]]
            found += [name for name in given if name not in after or len(after) < A_RECORD]
            late = {of.name for of in before if of.mostly_empty or of.lists & {"guess", "after"}}
            dates = [of.name for of in before if of.form == "time" and of.name not in late | {*self.private}]
            found += dates[:1] if evidence.lacks_years(answers, texts) and not {*found} & {*dates} else []
        return found

    def repeats(self, name: str, chosen: Sequence[str]) -> bool:
        """Whether a column has the text of one that is chosen, or a part of it, in nearly all rows."""
        columns = [self.columns[of].values for of in [*chosen, name]]
        bare = [[" ".join(plain_text(str(value or ""), "html").split()) for value in values] for values in columns]
        return any(sum(map(str.__contains__, of, bare[-1])) > SAME * len(of) for of in bare[:-1])

    def context(self, texts: list[tuple[str, Evidence]]) -> None:
        """A column named like context, if there is another text to be the input."""
        free = [name for name in self.free() if name not in self.roles.leaks]
        long = (name for name in free if self.columns[name].is_text and not self.columns[name].is_label(3))
        named = [name for name in long if says(name, "context")]
        others = [name for name in free if name in dict(texts) or (says(name, "body") and self.columns[name].is_text)]
        if self.roles.context is None and named and (set(others) - set(named) or self.known.inputs):
            self.take("context", named[0], "by its name")

    def split(self) -> None:
        free = {PART, *self.free()}
        for name in sorted(free & {*self.parts()}, key=lambda of: (of != PART, self.order[of])):
            column = self.columns[name]
            if not (crossing := self.crossing(column)):
                where = "the names of the files" if name == PART else "its values"
                self.take("split", name, f"{where} name the parts of a split")
                return
            why = f"names parts of a split, but {crossing} groups have rows in several, so a new one is drawn; to keep this one, set "
            why += "data.split to it and split.shared_groups to count"
            self.roles.runners_up.setdefault("split", []).append((name, Evidence(0, [why])))

    def crossing(self, column: Column) -> int:
        """The number of groups with rows in several parts."""
        if self.roles.group not in self.columns:
            return 0
        rows = zip(self.columns[self.roles.group].values, column.values, strict=True)
        pairs = {(str(group), part) for group, part in rows if not is_blank(group)}
        return sum(count > 1 for count in Counter(group for group, _ in pairs).values())

    def tags(self) -> None:
        out = {*self.private, self.roles.group, *(name for name, _ in self.roles.runners_up.get("split", ()))}
        free = [pair for pair in self.ranked(evidence.of_tags) if pair[0] not in out]
        answers = answers_of(self.columns, self.roles.target) if self.roles.target else Column("")
        least, first = ENOUGH["tags"], self.first()
        free.sort(key=lambda pair: (-pair[1].score, self.order[pair[0]] > first))
        for name, given in free:
            if evidence.follows(column := self.columns[name], answers):
                given.add(-3, "follows from the answer")
            elif given.score == 0 and self.order[name] < first and evidence.is_slice(column):
                given.add(least, "a few values, each in many rows")
        self.best("tags", sorted(free, key=lambda pair: -pair[1].score))
        if self.roles.tags and self.columns[self.roles.tags].texts:
            self.roles.tag_separator = evidence.separator(self.columns[self.roles.tags])


def identity(column: Column) -> str | None:
    """The kind of private value in a column, by its name or because most of its values have that format; else None."""
    if not column.texts or column.mean_chars > 80 or column.form in ("object", "list"):
        return None
    kinds = Counter(kind for text in column.texts[:500] for kind in second_check.residue(text))
    for kind, count in kinds.most_common(1):
        if count > 0.8 * min(len(column.texts), 500) and kind in IDENTITY:
            return kind
    if column.distinct == 1 < len(column.given):  # `name: ChatOpenAI` in each row
        return None
    return next((kind for kind, pattern in IDENTITY.items() if re.search(pattern, _plain(column.name))), None)


def alike(texts: Sequence[str]) -> bool:
    """Whether texts differ in dates, numbers and a few words alone: as the context, they would make all rows alike."""
    counts = Counter(word for text in texts for word in {*re.sub(SHAPES["dated"], "0", text).split()})
    same = sum(count for count in counts.values() if count > SAME * len(texts))
    return same >= ALIKE * counts.total()


def _plain(name: str) -> str:
    return name.lower().replace(".", "_")


def _slot(name: str) -> str:
    return f"{{{name}}}"
