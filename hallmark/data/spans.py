"""Spans as an object of fields, tokens and passages as a text, labels in a text as a list: columns that `data:` can name.

    entities.by_label   of spans in the column `entities`: {"city": ["Rome"], "traveller": ["Anna", "Finn"]}, each text once
    results.by_choice   of Label Studio's choices, ratings, numbers and texts, by the names of the controls that were not
                        left empty: {"topics": ["fees", "loans"], "mood": ["calm"], "stars": 4}
    tokens.joined       of a list of tokens: the text, with a space between two
    contexts.passages   of a list of texts, or of objects with a text: these in their order, with an empty line between two;
                        contexts.id.passages has each object's `id` in brackets before its text, for answers that cite it
    topics.parts        of `late; lost`, `late|lost` or JSON (Label Studio's `{"choices": ["lost", "late"]}`, too), ["late", "lost"]:
                        a list of the labels, in alphabetical order; topics.comma.parts is the same of `late, lost`

Spans have the forms that tools write: objects or lists with start, end and label, objects with text and label, either inside
others (Label Studio's annotations), or a BIO tag for each token. Nothing else of an export is read: no id, time or person.
Start and end count characters of `data.input` as it is in the file; `data.markup` then changes the texts of the spans too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hallmark.base.conll import TAG
from hallmark.base.errors import HallmarkError
from hallmark.base.markup import Markup, plain_text
from hallmark.data.missing import is_blank
from hallmark.data.nested import value_at
from hallmark.task.values import folded

BY_CHOICE, BY_LABEL, JOINED, LABELS, PASSAGES = ".by_choice", ".by_label", ".joined", ".parts", ".passages"
BY_COMMA = ".comma.parts"
LABEL = ("label", "labels", "type", "tag", "entity", "entity_group", "category")
CHOICES = ("choices", "taxonomy", "rating", "number", "text", "selected")  # what a person says of a whole text
TEXT = ("text", "word", "value", "mention")
OF_A_PASSAGE = ("text", "content", "page_content", "passage", "body", "chunk", "snippet")
BOUNDS = (("start", "end"), ("start_offset", "end_offset"), ("startOffset", "endOffset"), ("begin", "end"))
OF_A_TOOL = re.compile(  # keys of objects that a tool wraps around an answer
    r"id|_.*|uuid|(?:user|task|project|annotator)_?id|timestamp|completed_by|lead_time|annotator|model_version|agent"
    r"|(?:created|updated|modified|extracted|processed|exported|imported|inserted|loaded)_?(?:at|by|on|date|time)?",
    re.IGNORECASE,
)


class Span(NamedTuple):
    """A span with its own text, or with start and end, unless these are no numbers; `keys` are those of its object."""

    label: str
    text: str | None
    start: int | None
    end: int | None
    keys: frozenset[str] = frozenset()


def spans_in(value: Any) -> Iterator[Span]:
    """The spans in a value, however deep."""
    if isinstance(value, list) and len(value) == 3 and _are_whole(*value[:2]) and isinstance(value[2], str):
        yield Span(value[2], None, *value[:2])
    elif isinstance(value, list):
        done = annotations_in(value)
        for item in _counting(done) if done else value:
            yield from spans_in(item)
    elif isinstance(value, dict):
        labels = next((value[key] for key in value if key in LABEL or key.endswith("labels")), None)
        labels = [label for label in (labels if isinstance(labels, list) else [labels]) if isinstance(label, str)]
        text = next((value[key] for key in TEXT if isinstance(value.get(key), str)), None)
        pairs = [(value[start], value[end]) for start, end in BOUNDS if start in value and end in value]
        start, end = next((pair for pair in pairs if _are_whole(*pair)), (None, None))
        if labels and (text is not None or pairs):
            yield from (Span(label, text, start, end, frozenset(value)) for label in labels)
        else:
            for item in [value["result"]] if "result" in value else value.values():
                yield from spans_in(item)


def annotations_in(value: Any) -> list[dict[str, Any]]:
    """What several people said of one text, as Label Studio has it."""
    return [item for item in value if isinstance(item, dict) and "result" in item] if isinstance(value, list) else []


def by_choice(value: Any) -> dict[str, Any] | None:
    """What a person said of a whole text, by the names of Label Studio's controls; None if nobody did."""
    if not (counting := _counting(annotations_in(value))):
        return None
    found: dict[str, Any] = {}
    for one in value_at(counting[0], "result.*") or ():
        name, said = value_at(one, "from_name"), value_at(one, "value")
        whole = isinstance(name, str) and isinstance(said, dict) and "start" not in said
        key = next((key for key in CHOICES if whole and said.get(key) not in (None, [])), None)
        if key:
            found[name] = _labels(said[key]) if isinstance(said[key], list) and key != "text" else said[key]
    return found


def _labels(chosen: list[Any]) -> list[str]:
    """Choices as labels, in alphabetical order; one of a taxonomy is a path."""
    paths = {" / ".join(map(str, one)) if isinstance(one, list) else str(one).strip() for one in chosen}
    return sorted(paths, key=lambda label: (label.casefold(), label))


def is_open(row: dict[str, Any], name: str) -> bool:
    """Whether nobody has labelled a task of Label Studio (it counts none, or its list is empty), or Prodigy's was not accepted."""
    none = row.get("total_annotations") == 0 or (isinstance(row.get("data"), dict) and row.get(name) == [])
    return none or ("_task_hash" in row and row.get("answer") in ("reject", "ignore"))


def _counting(done: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The annotation that counts, if there is one: the ground truth, else the first that was not cancelled."""
    kept = [one for one in done if not one.get("was_cancelled")]
    return sorted(kept, key=lambda one: not one.get("ground_truth"))[:1]


def _are_whole(start: Any, end: Any) -> bool:
    return type(start) is type(end) is int


def are_tags(value: Any) -> bool:
    """Whether it is a list of BIO tags (also IOBES and BILOU), one for each token; None: a token without a tag."""
    return isinstance(value, list) and all(of is None or (isinstance(of, str) and TAG.fullmatch(of)) for of in value)


def are_spans(values: list[Any]) -> bool:
    """Whether a column has labelled spans: counted ones, or objects with nothing but a text, a label and what tools add."""
    spans = [list(spans_in(value)) for value in values if value]
    found = [span for row in spans for span in row]
    own = (*LABEL, *TEXT)
    plain = all(one.end is not None or all(key in own or OF_A_TOOL.fullmatch(key) for key in one.keys) for one in found)
    repeated = 2 * len({span.label for span in found}) <= len(found)
    return bool(found) and 2 * sum(map(bool, spans)) > len(spans) and plain and repeated


def by_label(
    value: Any, source: Any, file: Path, number: int, field: str, markup: Markup = "none"
) -> dict[str, list[str]] | None:
    """The texts of each label, in their order in the text; None if nobody has labelled it.

    `source` is what the spans are counted in: a text, or a list of tokens; None if `data.input` is no single column.
    """

    def wrong(problem: str, remedy: str) -> HallmarkError:
        return HallmarkError(problem, file=file, row=number, field=field, remedy=remedy)

    done = annotations_in(value)
    if is_blank(value) or (done and not _counting(done)):
        return None
    if value and are_tags(value):
        if not isinstance(source, list) or len(source) != len(value):
            tokens = f"{len(source)} tokens" if isinstance(source, list) else "no tokens"
            raise wrong(
                f"{len(value)} tags for {tokens}", f"name the column of the tokens in data.input: TOKENS{JOINED}"
            )
        spans = list(_of_tags(value, source))
    else:
        spans = list(spans_in(value))
        if value and not spans and not done:
            raise wrong("no labelled spans", "give each span a label, and a text or start and end")
    found: dict[str, list[str]] = {}
    for span in sorted(spans, key=lambda span: span.start or 0):
        text = span.text
        if text is None:
            if not isinstance(source, str):
                raise wrong("start and end of spans count in one text", "name its column alone in data.input")
            if span.start is None or span.end is None or not 0 <= span.start <= span.end <= len(source):
                problem = "start and end of a span are no part of the text"
                raise wrong(problem, "give whole numbers that count characters of the column in data.input")
            text = source[span.start : span.end]
        text = plain_text(text, markup).strip()
        if text and text not in found.setdefault(span.label, []):
            found[span.label].append(text)
    return {label: texts for label, texts in found.items() if texts}


def in_one_spelling(fields: dict[str, list[str]] | None, labels: Collection[str]) -> dict[str, list[str]] | None:
    """The fields, each by the listed label that it is, or that it differs from only in case or white space."""
    listed = {folded(label): label for label in labels}
    found: dict[str, list[str]] = {}
    for label, texts in (fields or {}).items():
        of = found.setdefault(label if label in labels else listed.get(folded(label), label), [])
        of += [text for text in texts if text not in of]
    return None if fields is None else found


def _of_tags(tags: list[str | None], tokens: list[Any]) -> Iterator[Span]:
    first, label = 0, ""
    for index, tag in enumerate([*tags, None]):
        match = TAG.fullmatch(tag or "O")
        head, name = (match[1] or "", match[2] or "") if match else ("", "")
        if label and (name != label or head in "BSU"):
            yield Span(label, joined(tokens[first:index]), first, index)
            label = ""
        if name and not label:
            first, label = index, name


def joined(tokens: Any) -> str | None:
    """Tokens as a text; None if they are no list of texts or numbers."""
    whole = isinstance(tokens, list) and all(isinstance(token, str | int | float) for token in tokens)
    return " ".join(map(str, tokens)) if whole else None


def passages(value: Any, cited: str = "") -> Any:
    """The texts of passages as one; what isn't a list of them stays as it is, and is an error where a text is read."""
    texts: list[Any] = []
    for item in value if isinstance(value, list) else [None]:
        if isinstance(item, dict):
            prose = [text for text in item.values() if isinstance(text, str) and " " in text]
            item = next((item[key] for key in OF_A_PASSAGE if key in item), max(prose, key=len, default=None))
        texts.append(item)
    if not all(isinstance(text, str) for text in texts):
        return value
    names = [f"[{item.get(cited, '')}] " if cited and isinstance(item, dict) else "" for item in value]
    return "\n\n".join(map(str.__add__, names, texts))


def parts(value: Any, signs: str = r"[;|]| \+ ") -> list[str] | None:
    """The labels in a list, or in a text with such signs between them, by default `;`, `|` or ` + `; None if there are none."""
    value = value["choices"] if isinstance(value, dict) and value.keys() == {"choices"} else value
    items = re.split(signs, value) if isinstance(value, str) else value if isinstance(value, list) else []
    return [label for label in _labels(items) if label] or None


MADE: dict[str, Callable[[Any], Any]] = {
    JOINED: joined,
    PASSAGES: passages,
    BY_COMMA: partial(parts, signs=r"[;|,]"),
    LABELS: parts,
}
