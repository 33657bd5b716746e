"""A proposal for one data file: its columns' roles, its task, and the values for params.yaml that follow from them."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.document import objects
from hallmark.base.markup import plain_text
from hallmark.base.params import Chat, Data
from hallmark.base.records import columns_of
from hallmark.data.conversations import LAYOUTS, ROLES, layout_of
from hallmark.data.copied import opened
from hallmark.data.leftover import enums, names_written, private_labels
from hallmark.data.missing import is_blank
from hallmark.data.nested import value_at
from hallmark.data.spans import BY_CHOICE, BY_COMMA, BY_LABEL, LABELS, annotations_in, spans_in
from hallmark.mask import second_check
from hallmark.mask.lexicon import is_common, last_names
from hallmark.mask.masking import TAG
from hallmark.propose.answer_leaks import Leak
from hallmark.propose.column_words import entity, says, words_of
from hallmark.propose.columns import Column, Rows, merged
from hallmark.propose.evidence import LEAST, is_marked, named_like_id, of_input
from hallmark.propose.inferred_task import Inferred, respelled
from hallmark.propose.roles import DATED, ENOUGH, Guess
from hallmark.propose.sample import is_sample
from hallmark.release.model_card import FILL_IN
from hallmark.task.kinds import KINDS
from hallmark.task.kinds.classification import MOST_IN_A_PROMPT

if TYPE_CHECKING:
    from hallmark.mask.params import Mask
    from hallmark.params.loader import Params

SCHEMA = Path("data/schema.json")
MOST_LINES = 200  # of the schema shown
NEARLY_UNIQUE = 0.9  # share of different values in a column that was meant to be the id
UNGROUPED = "no column says which rows belong together (a customer, document, conversation), so a split may cut them: add one if you can"
NAMED = 5  # repeated ids whose rows are named
FEW = 10  # rows of a label that can hardly be learned
GIANT = 0.2  # share of the rows above which a group gets a warning
MORE = 0.02  # share of the rows with tags that are no form of their text from which on none are taken out
LONGEST_PROMPT = 2_000  # characters of a system prompt that is taken from a text near the rows
MOST = 0.5  # share of labels that look like people's names
_TAGS = re.compile(r"(</?[a-z][a-z0-9-]*)(?=[\s/>])[^<>]*>", re.IGNORECASE)  # of HTML or not, as `List<String>`
SAMPLE = "the sample's text is gone; certify refuses this until you have"


@dataclass
class Proposal:
    """The rows of a file, the roles of its columns, the task, and the values for params.yaml that follow from them."""

    file: Path
    rows: Rows = field(repr=False)
    columns: dict[str, Column] = field(repr=False)
    roles: Guess
    task: Inferred  # kind, schema and refusal
    numbers: list[str] = field(repr=False)  # of the rows, as a person finds them
    edits: dict[str, dict[str, Any]] = field(default_factory=dict)  # block of params.yaml: key: value
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)  # (block, key): why, shown as its comment
    tried: list[str] = field(default_factory=list)  # lines: what a dry run shows
    warnings: list[str] = field(default_factory=list)
    language: str | None = None  # that most texts are in, if they tell
    leaves_sample: bool = False  # params.yaml speaks of sample data so far
    alone: bool = False  # rows without a group are one each
    keep: tuple[str, dict[str, str]] | None = None  # what masking takes from the answers, and the actions that leave it
    private: list[str] = field(default_factory=list)  # kinds of what the schema would tell everyone who reads the repo

    def set(self, block: str, key: str, value: Any, reason: str | None = None) -> None:
        """Propose a value for params.yaml, or another one in place of it."""
        self.edits.setdefault(block, {})[key] = value
        self.reasons.pop((block, key), None)
        if reason:
            self.reasons[block, key] = reason

    def text(self, now: Params | None = None) -> str:
        """The form of params.yaml, with reasons as comments, and the schema; `now`: only what differs from that."""
        old = now.model_dump(by_alias=True) if now else {}
        how = "all else stays the same" if now else "`--write` writes it"
        lines = [f"{len(self.rows)} rows. Proposed for params.yaml ({how}):", ""]
        for block, values in self.edits.items():
            shown = {key: value for key, value in values.items() if not now or value != old[block][key]}
            lines += [f"{block}:"] * bool(shown)
            for key, value in shown.items():
                reason = self.reasons.get((block, key))
                lines.append(f"  {key}: {json.dumps(value, ensure_ascii=False)}{f'  # {reason}' if reason else ''}")
        runners_up = [(role, *pair) for role, found in self.roles.runners_up.items() for pair in found]
        lines += [f"# {role}, next: {name}: {given}" for role, name, given in runners_up]
        if self.roles.unused:
            lines.append(f"# not used: {', '.join(self.roles.unused)}")
        if now is None:
            schema = json.dumps(self.task.schema, ensure_ascii=False, indent=2).split("\n")
            if (more := len(schema) - MOST_LINES) > 0:
                schema[MOST_LINES:] = [f"... and {more:,} more lines, which --write writes"]
            lines += ["", f"{SCHEMA}:", *schema]
        return "\n".join([*lines, ""])

    @property
    def kind(self) -> str:
        """The kind of task."""
        return self.task.kind

    @property
    def data(self) -> Data:
        """The proposed block `data`, to read this file with; names stay as they are."""
        said = {"no_call": "missing", "answers": "last"} | self.edits["data"]
        said["chat"] = Chat(**said["chat"]) if said["chat"] else None
        return Data.model_construct(**said | {"path": str(self.file), "pseudonyms": "none", "key": None})

    def set_values(self) -> None:
        """Propose what follows from roles and task, each with its reason."""
        roles, task = self.roles, self.task
        self.set("data", "path", Path(os.path.relpath(self.file)).as_posix())
        for key in ("id", "group", "input", "target", "context", "tools", "rejected", "tags", "tag_separator", "split"):
            value = getattr(roles, key)
            absent = "no column fits; a hash of the row" if key in ("id", "group") and value == "row.id" else None
            self.set("data", key, value, roles.why.get(key, absent))
            if key == "target":
                alike = {*task.names.values()} <= self.columns[roles.targets[0]].keys.keys()
                why = (
                    "spelled alike, and the text does not tell them apart"
                    if alike
                    else "as the data or a file next to them say"
                )
                self.set("data", "labels", task.names, why if task.names else None)
        self.set("data", "no_answer", [])
        self.set("data", "chat", roles.chat)
        read = {name for text in (roles.input, roles.context) if text for name in columns_of(text)}
        rows = zip(*(self.columns[name].values for name in sorted(read & self.columns.keys())), strict=True)
        answers = self.columns[roles.targets[0]]
        self.set("data", "markup", "none")
        if not (free := KINDS[task.kind].free_text) or not is_marked(answers):  # else its tags are wanted
            texts = [" ".join(text for text in row if isinstance(text, str)) for row in rows]
            self.set_markup(texts, [of if free and isinstance(of, str) else "" for of in answers.values])
        self.set("task", "kind", task.kind, task.why)
        # In the prompt, a target has its name without the objects that it lies in.
        names = [name.removesuffix(BY_COMMA).removesuffix(LABELS) for name in roles.targets]
        said = ", ".join(" ".join(words_of(name)[0]) if "." in name else name for name in names)
        refused = f" If that must not or can't be done: {task.refusal}" if task.refusal else ""
        made = KINDS[task.kind].prompt_hint(said, task.schema) + refused
        if names != roles.targets and len(labels := task.schema["items"]["enum"]) <= MOST_IN_A_PROMPT:
            made = f"Name the {said} of the text, as a JSON list of: {', '.join(labels)}.{refused}"
        if task.kind == "text" and is_marked(answers) and "</" in answers.texts[0]:
            elements = dict.fromkeys(re.findall(r"<([\w:.-]+)", " ".join(answers.texts[:FEW])))
            made = f"Mark up the text as XML, with the elements {', '.join(elements)}."
        self.set("task", "system_prompt", roles.system_prompt or made, roles.why.get("system_prompt"))
        self.set("task", "schema", SCHEMA.as_posix())
        self.set("task", "refusal", task.refusal)
        why = "; ".join(f"{name} {roles.why[name]}" for name in roles.identity) or "none found"
        self.set("mask", "identity_columns", roles.identity, why)
        for block, key, empty in (  # what speaks of the columns and values of other data
            ("mask", "allow", []), ("mask", "allow_patterns", []), ("mask", "gold", None), ("dedupe", "gold", None),
            ("eval", "facts", {}),
        ):  # fmt: skip
            self.set(block, key, empty)

    def set_markup(self, texts: list[str], answers: list[str]) -> None:
        """Propose to take out the HTML tags if most texts have them and no more is lost, and say what answers keep or lose."""
        tagged, marked = (sum(map(is_html, of)) for of in (texts, answers))
        others = same = 0
        for pair in zip(texts, answers, strict=True):
            others += not all(TAG.match(f"{name}>") for of in pair for name in _TAGS.findall(of))
            text, answer = (plain_text(of, "html").split() for of in pair) if "<" in "".join(pair) else pair
            same += text == answer and pair[0] != pair[1]
        where = f"{tagged} of {len(texts)} rows{f' and {marked} targets' * bool(marked)} have HTML tags"
        if 2 * tagged >= len(texts) and max(others, same) <= MORE * len(texts):
            self.set("data", "markup", "html", f"{where}, which mask removes; requests are treated the same")
            lost = sum(bool(_TAGS.search(of)) for of in answers)
            said = f"data.markup: html takes the tags out of {lost} answers too: set it to none if a model should write them"
            self.warnings += [said] * bool(lost)
        elif tagged or marked:
            said = f"{where}: if a model need neither read nor write any, set data.markup to html, which turns them into plain text, in requests too"
            self.warnings.append(f"{said}{f'; {others} rows would lose tags that are not HTML' * bool(others)}")

    def instruct(self, texts: list[tuple[str, str, bool]], mask: Mask) -> None:
        """Take the only text that is named a prompt for the system prompt, unless it is long or private; say where others are."""
        several = sum(named for *_, named in texts) > 1
        for where, said, named in texts:
            hint = f"{where} reads like instructions: copy what matters into task.system_prompt"
            fits = named and not several and len(said) <= LONGEST_PROMPT
            if fits and not [*second_check.residue(said), *names_written([(where, said)], mask)]:
                made = "" if KINDS[self.kind].free_text else f"\n{self.edits['task']['system_prompt']}"
                self.set("task", "system_prompt", said + made, f"what {where} says")
                hint = f"task.system_prompt is what {where} says: check that it is meant for the model and names nobody"
            self.warnings.append(hint)

    def warn(self, params: Params) -> None:
        """Add what no stage says, and a person must know: the most serious first."""
        self.warn_of_private(params.mask)
        if params.task.kind != self.kind:
            said = f"task.kind changes from {params.task.kind} to {self.kind} ({self.task.why}). If that is wrong, name the column of the "
            self.warnings.append(f"{said}answers with --target; else the rules in `gate:` change too")
        if other := self.roles.doubted:
            kind = f"{self.columns[other].distinct} {'labels' if self.columns[other].is_label(3) else 'texts'}"
            said = f"CHECK THE TARGET: '{self.roles.target}' is taken as the answer ({self.roles.why['target']})"
            self.warnings.insert(0, f"{said}. '{other}' ({kind}) may be it as well: name one with --target")
        self.warnings += self.task.doubts
        self.warnings += self.several_or_no_answers()
        if self.roles.why.get("system_prompt") == DATED:
            said = "the system messages differ only in dates, numbers or a few words, and data.context leaves them out: with them, all rows look"
            self.warnings.append(f"{said} like duplicates. If the answers need what differs, write it into the input")
        leaks = self.roles.leaks.items()
        self.warnings += [self.leak_of(name, leak) for name, leak in leaks if self.would_be_read(name)]
        self.warnings += self.repeated_ids()
        self.warnings[:0] = self.rows_of_one_request()
        self.warnings += [f"'{name}' {given.reasons[0]}" for name, given in self.roles.runners_up.get("split", ())]
        if self.roles.group == "row.id":
            self.warnings.append(UNGROUPED)
        elif self.roles.group in self.columns:
            self.alone = params.data.missing == "own_group"
            self.warn_of_group(self.columns[self.roles.group])
        if KINDS[self.kind].listed:
            self.warn_of_labels(self.columns[self.roles.targets[0]].keys)

    def warn_of_private(self, mask: Mask) -> None:
        """Note the kinds of private data that the schema would list, and say so."""
        of_people = any((says(n, "staff") and not says(n, "desk")) or entity(n) == "person" for n in self.roles.targets)
        labels, keys = enums(self.task.schema), [[*of.get("properties", ())] for of in objects(self.task.schema)]
        shown = [self.task.schema, *({"enum": [*map(bare_name, of)]} for of in labels + keys)]
        self.private = private_labels(shown, mask, 0 if of_people else MOST)
        everyday = {word for of in chain(*labels) for word in words_of(of)[0] if len(word) > 2 and is_common(word)}
        unknown = [of for of in chain(*labels) if (everyday - last_names()).isdisjoint(words_of(of)[0])]  # logins, say
        if of_people and 2 * len(unknown) > sum(map(len, labels)) and mask.actions.get("PERSON") != "keep":
            self.private = self.private or ["PERSON"]
        if self.private:
            self.warnings.append(
                f"the answers that the schema would list look like private data ({', '.join(self.private)}). Schema and system "
                "prompt are in git and in the release: name another column with --target, or say with --public that anyone may see them"
            )

    def warn_of_group(self, column: Column) -> None:
        """Say of a group that rows lack it, that it may be too fine, or that one of its values has too many rows."""
        self.warnings += [] if self.alone else self.without_group(column)
        if entity(column.name) is None and not self.roles.why["group"].startswith("as you said"):
            wide = (name for name, of in self.roles.runners_up["group"] if of.score >= LEAST)
            after = next((f" (next: {name})" for name in wide), "")
            said = (
                f"'{column.name}' is the group by its values alone: {column.distinct} for {len(column.given)} rows. Rows with one value "
                "stay on one side of the split. If rows with different values belong together, it is too fine, and the holdout "
                f"leaks: name a wider column with --group{after}. One that is too coarse costs rows to train on"
            )
            check = "CHECK THE GROUP: " if self.roles.unsure else ""
            self.warnings.insert(0 if check else len(self.warnings), check + said)
        largest = max(column.keys.values(), default=0) / len(self.rows)
        if largest > GIANT:
            said = f"the largest group of '{self.roles.group}' has {100 * largest:.0f} % of the rows"
            self.warnings.append(f"{said}: all of it is held out, or none")

    def warn_of_labels(self, keys: Mapping[str, int]) -> None:
        """Say of labels that several codes are one, or that they have few rows."""
        named: Counter[str] = Counter()
        codes: dict[str, list[str]] = defaultdict(list)
        for key, count in keys.items():
            codes[name := self.task.names.get(key, key)].append(key)
            named[name] += count * (key.strip() not in self.edits["data"]["no_answer"])
        if same := "; ".join(f"{' and '.join(of)} are '{name}'" for name, of in codes.items() if of[1:]):
            self.warnings.append(
                f"several values are one label (data.labels): {same}. If they differ, take them out there"
            )
        counts = merged(+named)
        if rare := sorted(label for label, count in counts.items() if count < FEW):
            few = f"{len(rare)} label{'s have' if rare[1:] else ' has'} fewer than {FEW} rows and can hardly be learned"
            self.warnings.append(f"{few}: {', '.join(rare)}")

    def several_or_no_answers(self) -> list[str]:
        """What to say of annotations that are cancelled or one of several, and of conversations that nobody answered."""
        counts: Counter[str] = Counter()
        labels: Counter[str] = Counter()
        for target, row in product(self.roles.targets, self.rows):
            if (made := BY_CHOICE if BY_CHOICE in target else BY_LABEL) in target:
                done = annotations_in(value := opened(value_at(row, target.partition(made)[0])))
                labels.update(span.label for span in spans_in(value))
                kept = len([one for one in done if not one.get("was_cancelled")])
                counts["rows have only cancelled annotations, and count as not annotated"] += bool(done and not kept)
                several = "rows have several annotations: the ground truth counts, or the first not cancelled"
                counts[several] += kept > 1
            elif target == "turns.target" and (layout := layout_of(row)):
                last = any(ROLES.get(turn.get(LAYOUTS[layout][0])) == "user" for turn in row[layout][-1:])
                counts["conversations end with the user's turn: unanswered turns are left out"] += last
        said = [f"{count} of {len(self.rows)} {words}" for words, count in counts.items() if count]
        return said + respelled(self.roles.targets[0], len(labels), [*merged(labels)])

    def without_group(self, column: Column) -> list[str]:
        """What to say of rows without a group."""
        where = [place for place, value in zip(self.numbers, column.values, strict=True) if is_blank(value)]
        self.alone = bool(where)
        more = f" and {len(where) - NAMED} more" * (len(where) > NAMED)
        rows = f"rows {', '.join(where[:NAMED])}{more}"
        said = f"{len(where)} of {len(self.rows)} rows have no '{column.name}' ({rows}) and"
        way = "which may put one customer into two parts: data.missing: drop leaves them out"
        return [f"{said} are a group each, {way}"] * self.alone

    def would_be_read(self, name: str) -> bool:
        """Whether a column is in the input or context, or would be, if it didn't hold the answer."""
        given = of_input(self.columns[name])
        return name in self.roles.read or (given is not None and given.score >= ENOUGH["input"])

    def leak_of(self, name: str, leak: Leak) -> str:
        """What to say of a column that holds the answer."""
        if name in self.roles.read:
            own = name in columns_of(self.roles.input)
            part, how = ("the input", "with --input") if own else ("data.context", "there")
            said = f"the model reads the answer: '{name}' is in {part}, and {leak.why}. If people write it there before the answer is known"
            return f"{said}, that is right, and a simple rule may do. Else leave it out {how}"
        said = f"'{name}' is left out of the input: {leak.why}. A model would copy it, and it may not be there yet when the model is asked"
        return f"{said}. {'If it is, add it with --input' if not leak.sure else 'Another answer can be named with --target'}"

    @property
    def like_ids(self) -> list[str]:
        """The columns that are named like an id."""
        return [name for name, of in self.columns.items() if named_like_id(name) and of.all((str, int))]

    def rows_by(self, name: str) -> list[list[tuple[str, ...]]]:
        """The rows with each value of a column: their number, what is read, and the answer."""
        found: dict[Any, list[tuple[str, ...]]] = defaultdict(list)
        sides = ([self.columns[one].values for one in names] for names in (self.roles.read, self.roles.targets))
        read, answers = (map(str, zip(*of, strict=True)) for of in sides)
        for value, *row in zip(self.columns[name].values, self.numbers, read, answers, strict=True):
            if not is_blank(value):
                found[value].append(tuple(row))
        return [*found.values()]

    def repeated_ids(self) -> list[str]:
        """What to say of a column that would be the id if some of its values didn't repeat."""
        meant = [name for name in self.like_ids if NEARLY_UNIQUE * len(self.rows) <= self.columns[name].distinct]
        if (self.roles.id in self.columns and named_like_id(self.roles.id)) or not meant:
            return []
        rows = self.rows_by(meant[0])
        twice = [" and ".join(number for number, *_ in of) for of in rows if len(of) > 1]
        said = f"'{meant[0]}' would be the id, but {len(twice)} of its values repeat: rows {'; '.join(twice[:NAMED])}. Two records can't have"
        equal = all(len({read for _, read, _ in of}) == 1 for of in rows)
        copies = "dedupe keeps one of equal texts" if equal else "if these are copies, remove them"
        return [f"{said} one id, so data.id is {self.roles.id}: {copies}"] * bool(twice)

    def rows_of_one_request(self) -> list[str]:
        """What to say of rows with one id and one text, but another answer each: one call a row, as a join of tables writes them."""
        for name in self.like_ids:
            several = [[*zip(*of, strict=True)] for of in self.rows_by(name) if len(of) > 1]
            same = [(places, {*answers}) for places, read, answers in several if len({*read}) == 1]
            differ = [places for places, answers in same if len(answers) > 1]
            if len(same) > NEARLY_UNIQUE * len(several) and 2 * len(differ) > len(several):
                where = "; ".join(" and ".join(places) for places in differ[:NAMED])
                said = f"{sum(map(len, differ))} rows share their '{name}' and their text with another row, and have another answer: rows {where}"
                more = f" and {len(differ) - NAMED} more" * (len(differ) > NAMED)
                way = f"If these are parts of one answer, as calls in order, write one row for each '{name}', with a list of them (in a table, as JSON"
                way = f"{way} in one cell); else keep one of them"
                return [f"{said}{more}. dedupe takes them for contradictions. {way}"]
        return []

    def set_for_new_data(self, params: Params) -> None:
        """Propose the kind's gate, and words to fill in, unless `data.path` is no sample: its owner may have set these."""
        named = Path(params.data.path)
        self.leaves_sample = is_sample(named) and named.resolve() != self.file.resolve()
        if self.leaves_sample or self.kind != params.task.kind:
            self.set_gate(params)
        data, own = self.edits["data"], ("path", "target")
        if self.kind == params.task.kind and all(data[key] == getattr(params.data, key) for key in own):
            self.set("task", "system_prompt", params.task.system_prompt, "unchanged: same file, same answers")
        if self.leaves_sample:
            self.set("certify", "intended_use", FILL_IN, f"{SAMPLE} said what it is for")
            self.set("certify", "limits", [FILL_IN], f"{SAMPLE} named some limits")
            why = "most texts look like it" if self.language else f"{SAMPLE} named them"
            self.set("certify", "languages", [self.language or FILL_IN], why)
            self.set("certify", "tags", [], "the sample's are removed; may stay empty")

    def set_gate(self, params: Params) -> None:
        """Propose the gate that the kind starts with, against the baselines that there are."""
        baselines = ("base", "classical", *params.eval.comparators)
        for key, values in KINDS[self.kind].gate.items():
            if key == "superiority":
                values = {name: margin for name, margin in values.items() if name in baselines}
            reason = f"what {self.kind} starts with"
            if key == "floors" and KINDS[self.kind].free_text:
                reason += "; once eval.facts names the facts of a reply, add a floor for them"
            self.set("gate", key, dict(values), reason)


def is_html(text: str) -> bool:
    """Whether a text has a closing tag of HTML, or several `<br>`: one alone may be what it speaks of."""
    tags = [tag["opens"].casefold() for tag in TAG.finditer(text)]
    return any(tag.startswith("</") for tag in tags) or tags.count("<br") > 1


def bare_name(label: str) -> str:
    """A name in a label as a text has it: `MOKOENA, T. (Tier 2)` is T. Mokoena."""
    name = " ".join(" ".join(re.sub(r"[(\[].*|\S*\d\S*", "", label, flags=re.DOTALL).split(",")[::-1]).split())
    return name.title() if name.isupper() else name
