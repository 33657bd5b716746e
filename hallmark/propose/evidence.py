"""Evidence that a column is the target, the group, the input, the id or the tags: points, each with its reason.

The points are few and round: what counts is which of two columns has more, and that a person can follow why. No reason
quotes a value: values may be private.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from statistics import correlation, pstdev
from typing import Any

from hallmark.base.figures import percent
from hallmark.data.conversations import PART, TURNS
from hallmark.data.copied import opened, pairs, spellings
from hallmark.data.missing import is_blank
from hallmark.data.spans import BY_CHOICE, BY_LABEL, OF_A_TOOL
from hallmark.propose.answer_leaks import values_in
from hallmark.propose.column_words import entity, inside, role_words, says, says_undone, words_of
from hallmark.propose.columns import MAX_LABELS, MOSTLY, Column, labels_in, mean_words, merged
from hallmark.task.evidence import Source

OF_A_PART = "each of its values is in one part of the split"
SHORT = 40  # characters: a label, a headline; longer is running text
FEW_COPIED = 0.05
YEARS = 0.75  # share of the dates in answers whose year must stand in the text
COPIED = 0.4  # share of an object's values that stand in the texts, from which on it is an answer read off them
MOST_WORDS_OF_A_NAME = 4
MOST_WORDS_OF_AN_ID = 1.5
ENOUGH_GROUPS = 8  # values of a column by which a split can hold some out
OF_LABELS = ("answer", "channel", "keywords", "kind_of", "staff")  # what ids can't be: a device is one, and an ear tag
LEAST, PLAUSIBLE = 3.0, 1.5  # points that a group needs, and one that is to be checked
MANY = 10  # values that are more than the labels of most tasks
CLOSE = 0.15  # share of the numbers up to some that counts or measures have
NEARLY = 0.98  # share of the rows that have one value: a mark of a few rows, and no answer
MOST_OF_A_SLICE = 0.8  # share of the rows that one value of a slice may have
LARGEST = 0.3  # share of the rows that one value may have
TIED = 5_000  # rows that are read to see whether those of one value are alike
SAME = 0.95  # share of the values whose rows must be
SHARED = 0.3  # share of the rows, beyond chance, in which an answer has words of its text
SHARED_KEYS = 0.8  # share of the keys that two columns with one form have in common
AS_LONG = 0.8  # correlation of the lengths of a text and its translation
FEW_TITLES = 3  # values up to which a "title" is a form of address
RARELY = 0.2  # share of the rows in which an answer may be missing
STAND_IN = 0.2  # of the usual length of an answer: what is shorter and repeats stands for a missing one
_NONE = frozenset("tbd tba tbc todo n/a n.a na k.a nan null nil xxx".split()) | {""}  # noqa: SIM905
READ = 400  # rows that are read to see whether the text tells a label
OWN = (*TURNS, PART)  # columns that a row has here alone
_OTHER, _NAMES = re.compile(r"\W+"), re.compile(r"[^\W\d_]{2,}")
_ID = re.compile(  # K-0711 or DE 09 118, not 12kg or v1.4.2
    r"(?![+-]?\d+(?:[.,]\d+)?[^\W\d]{1,3}$|v?\d+(?:\.\d+)+\w*$)(?=\S*\d)\S+|(?:[^\W\d]{1,4} |\+)\d[\d ()./-]*"
)
_GLUED = re.compile(r"(?i)(?<!pa|vo|sa)(?<!val|sol|flu|hyb|rap|hum|liq)(?<![\Wgl_][rb])id$")
_GLUED_NUMBER = re.compile(r"(?i)..(?:(?<!ati|umi)num|nr)$")
_NUMBER_OF = re.compile(r"(?i)(?:no|nr|num|number)[\W_]*of(?![a-z])|^(?:no|nr|num|number)[\W_]+\w+s$")
_TAG = re.compile(r"<([\w:.-]++)[^<>]*>")
_WORDS = re.compile(r"[^\W\d_]{4,}|\d{2,}")
_ERROR = re.compile(
    r"(?i)\W*(?:\w+\W)?(?:err|error|fehler|erreur|errore|erro|fout|fejl|feil|fel|błąd|chyba|virhe|fail(?:ed|ure)?|exception|timeout|traceback)\b"
)
_LONG_WORD, _DIGITS = re.compile(r"[^\W\d_]{4,}"), re.compile(r"\d+")
_IN_MARKUP = re.compile(r"""=\s*"([^"]*)"|=\s*'([^']*)'|>([^<>]+)<""")
_MARKED = re.compile(  # <a>..</a>, [a]..[/a], [..](a), a = {..}, \\a{..}
    r">([^<>]*)</|\](?!\()([^\[\]]*)\[/|\[([^\[\]]+)\]\([\w:.-]+\)|(?:=\s*|\\\w+)\{([^{}]*)\}"
)
_HTML = frozenset("p br div span html head title body table thead tbody tr td th ul ol li b i u a em strong img hr pre code font style section h1 h2 h3 h4".split())  # fmt: skip  # noqa: SIM905

_OF_OTHERS = {"answer", "reply", "kind_of", "keywords", "channel", "staff", "after", "score"}


@dataclass
class Evidence:
    score: float = 0.0
    reasons: list[str] = field(default_factory=list)

    def add(self, points: float, reason: str) -> None:
        self.score += points
        self.reasons.append(reason)

    def add_name(self, column: Column, role: str, but: Sequence[str] = ()) -> None:
        """Count what the words of a column's name say about a role, or its values if the name is unlike any."""
        for of, entry in role_words().items():
            if of in column.lists and of not in but and role in entry.get("own", ()):
                self.add(entry["own"][role], entry["says"])
            if role in entry.get("inside", ()) and inside(column.name, of):
                self.add(entry["inside"][role], f"inside: {entry['says']}")

    def __str__(self) -> str:
        return ", ".join(self.reasons)


def of_target(column: Column, private: bool) -> Evidence | None:
    """Evidence for the target: few values that repeat, objects, or a text that is an answer."""
    if column.form in ("", "time", "url", "mail") or column.name.startswith(OWN):
        return None
    given = Evidence()
    if column.form == "object" or _has_objects(column):
        given.add(5.5 if is_answer(column) and "guess" not in column.lists else 2.5, "its values are objects")
    elif size := _set_size(column):
        given.add(1, f"lists of {size} values")
    elif column.form == "list" and not labels_in(column):
        return None
    elif several := labels_in(column):
        count = len(merged(Counter(label for of in several.given for label in of)))
        few = count <= 2 * MANY and column.form == "text"
        given.add(4 if few else 1, f"several of {count} labels in a text" if few else f"lists of {count} values")
    elif column.is_label(3):
        given.add(0.5 if column.form == "code" else 3 if column.repeated >= 5 else 2, column.shape)
    elif column.is_text and column.mean_chars > 3 and not is_id(column):
        given.add(0.5, "texts")
        given.add_name(column, "text_target")
    else:
        return None
    given.add_name(column, "target", ("channel",) if given.score == 4 else ())  # a domain, say, is no channel here
    if column.has_names:
        given.add(2.5, "its codes have names")
    if private:
        given.add(-4, "private")
    if column.distinct < 2 or column.mostly_empty:
        given.add(-4, "mostly empty, or always the same")
    elif max(column.keys.values()) > NEARLY * len(column.given):
        given.add(-2, "nearly always the same")
    return given


def fits(column: Column, kind: str) -> bool:
    if column.form in ("object", "list"):
        return kind in ("extraction", "tool_call")
    return column.is_text if kind == "text" else kind != "tool_call" and column.is_label(2)


def of_a_tool(column: Column, texts: Sequence[Column]) -> bool:
    """Whether a field of an answer is an id, a time stamp or who worked on it, by its name or values, and no text tells it."""
    name = column.name.rpartition(".")[2]
    written = re.search(r"(?:^|_)(?:at|by|on)$", name) or OF_A_TOOL.fullmatch(name)
    named = written or named_like_id(name) or says(name, "staff")
    hashes = column.unique and all(re.fullmatch(r"[0-9a-f-]{12,}", key, re.IGNORECASE) for key in column.keys)
    return bool(named or hashes or (column.form == "time" and not column.texts)) and copied(column, texts) < FEW_COPIED


def is_answer(column: Column) -> bool:
    """Whether objects are answers as a whole: several fields, none of which the tool wrote for itself."""
    if column.form != "object" or not (says(column.name, "answer") or says(column.name, "reply")):
        return False
    values = [opened(value) for value in column.given]
    keys = {key for value in values if isinstance(value, dict) for key in value}
    return len(keys) > 1 and not any(OF_A_TOOL.fullmatch(key) for key in keys)


def _has_objects(column: Column) -> bool:
    lists = [value for value in map(opened, column.given) if isinstance(value, list)] if column.form == "list" else []
    return sum(isinstance(value[0], dict) for value in lists if value) > 0.5 * len(column.given)


def _set_size(column: Column) -> int:
    """How many short texts that repeat its values list; 0 if they are no such lists."""
    items = [item for value in column.given if isinstance(value, list) for item in value]
    short = column.all(list) and all(isinstance(item, str) and len(item) <= 60 for item in items)
    return len({*items}) if short and 2 <= len({*items}) <= min(MAX_LABELS, len(items) / 3) else 0


def guessed(texts: Sequence[Column], column: Column) -> tuple[Sequence[str], Sequence[str]]:
    """Labels, and what naive Bayes takes each for by the words of its texts, as it learns them from the other half of the rows."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.naive_bayes import MultinomialNB

    rows = zip(column.values, *(text.values for text in texts), strict=True)
    said = ((label, " ".join(str(text or "") for text in words)[:2000]) for label, *words in rows)
    pairs = [(str(label), text) for label, text in said if label not in (None, "") and text.strip()]
    if len(pairs) < ENOUGH_GROUPS:
        return (), ()
    labels, read = zip(*pairs[:: -(-len(pairs) // READ)], strict=True)
    words = HashingVectorizer(n_features=2**12, alternate_sign=False, binary=True, norm=None).transform(read)
    halves = KFold(2, shuffle=True, random_state=0)
    return labels, cross_val_predict(MultinomialNB(alpha=0.01), words, labels, cv=halves).tolist()


def right(texts: Sequence[Column], answers: Column) -> float:
    """The share of the answers that the texts tell: of labels, as they are learned; of texts, their words; else of values."""
    if is_free(answers):
        rows = list(zip(answers.values, *(text.values for text in texts), strict=True))[:READ]
        pairs = [(words_in(answer), set().union(*map(words_in, read))) for answer, *read in rows]
        shares = [len(words & read) / len(words) for words, read in pairs if words]
        return sum(shares) / max(len(shares), 1)
    if not answers.is_label(3):
        return copied(answers, texts)
    labels, found = guessed(texts, answers)
    return sum(map(str.__eq__, labels, found)) / max(len(labels), 1)


def add_told(given: Evidence, texts: Sequence[Column], column: Column) -> float | None:
    """Count and say how much better than guessing the words of the texts tell the label: False by chance, None by little."""
    labels, found = guessed(texts, column)
    counts, times = Counter(labels), Counter(found)
    equal, rows = sum(map(str.__eq__, labels, found)), max(len(labels), 1)
    usual = max(counts.values(), default=0) / rows
    more = equal / rows - usual
    gain = more / max(1 - usual, 0.01)
    if gain > 0.2:
        shares = f"{percent(round(equal / rows, 2))} of the rows, by guessing in {percent(round(usual, 2))}"
        given.add(min(2.0, 2.5 * gain, 20 * more) + (column.form == "code"), f"predicted from the text in {shares}")
        return gain
    chance = sum(counts[label] * times[label] for label in counts) / rows
    return None if equal - chance > 3 * math.sqrt(chance) else False


def words_in(value: Any) -> set[str]:
    """The longer words and numbers of a text, without its tags."""
    return {*_WORDS.findall(_TAG.sub(" ", value).casefold())} if isinstance(value, str) else set()


def is_free(column: Column) -> bool:
    """Whether it has texts of several words, mostly different, that are no markup around the words of another."""
    varied = column.all(str) and column.is_text and 2 * column.distinct > len(column.given)
    return varied and (mean_words(column.texts) > 1.5 or column.mean_chars > 15) and not is_marked(column)


def is_translation(column: Column, of: Column) -> bool:
    """Whether a text says the same as another in other words: as long in each row, and with its numbers."""
    pairs = [pair for pair in zip(column.values, of.values, strict=True) if all(pair) and pair[0] != pair[1]]
    pairs = pairs[:: 1 + len(pairs) // READ]
    if len(pairs) < 2 * MANY:
        return False
    lengths = [[math.log(len(pair[side])) for pair in pairs] for side in (0, 1)]
    if min(map(pstdev, lengths)) < 0.1 or correlation(*lengths) < AS_LONG:
        return False
    said = [[{*_LONG_WORD.findall(text.casefold())} for text in pair] for pair in pairs]
    same = sum(len(one & other) for one, other in said) / max(sum(min(map(len, both)) for both in said), 1)
    counted = [tuple(sorted(_DIGITS.findall(text)) for text in pair) for pair in pairs]
    numbers = [one == other for one, other in counted if one or other]
    return same < 0.4 and (len(numbers) < MANY or sum(numbers) > 0.7 * len(numbers))


def is_edited(column: Column, raw: Column) -> bool:
    """Whether a text is what a person made of a raw one, by their names, `raw_note` and `final_note`, and not only by case or signs."""
    words = words_of(column.name)[0]
    named = len(words) > 1 and says(raw.name, "raw") and words[-1:] == words_of(raw.name)[0][-1:]
    if not named or any(says(column.name, of) for of in ("raw", "cleaned", "guess")) or not is_free(column):
        return False
    bare = [[_LONG_WORD.findall(str(of).casefold()) for of in text.values[:READ]] for text in (column, raw)]
    return 2 * sum(one == other for one, other in zip(*bare, strict=True)) < len(bare[0])


def copies(column: Column, of: Column) -> int:
    """The rows that have the other text as it is, unless they are many, or no sentence."""
    same = [str(one).strip() for one, other in zip(column.values, of.values, strict=True) if one and one == other]
    said = sum(len(_NAMES.findall(text)) > 2 for text in same)
    return len(same) if said >= 2 and len(same) < RARELY * len(column.values) else 0


def shares(column: Column, base: Column) -> bool:
    """Whether texts have more words of the other text of their own row than of that of another row."""
    pairs = [pair for pair in zip(column.values, base.values, strict=True) if all(pair)]
    rows = [(words_in(one), words_in(own)) for one, own in pairs[:: 1 + len(pairs) // READ]]
    others = [own for _, own in rows[len(rows) // 2 :] + rows[: len(rows) // 2]]
    more = [len(one & own) - len(one & other) for (one, own), other in zip(rows, others, strict=True)]
    return sum((count > 0) - (count < 0) for count in more) > max(SHARED * len(rows), ENOUGH_GROUPS)


def add_of_text(given: Evidence, column: Column, columns: Sequence[Column], labels: Sequence[Column]) -> Column | None:
    """Count what says that a text is the answer to another, by its words, place and gaps; the other, if it stands before and has fewer."""
    order = {one.name: at for at, one in enumerate(columns)}
    at, others = order[column.name], [one for one in columns if one is not column and one.all(str)]
    running = [one for one in others if is_running(one, 15) and not is_title(one, column, order)]
    bases = [one for one in running if one.mean_chars > SHORT and shares(column, one)]
    free = is_free(column) or is_marked(column)
    if not (bases and free) or any(is_late(column, base, label) for base in bases for label in labels):
        return None
    base = max(bases, key=lambda one: (order[one.name] < at, one.mean_chars))  # what stands before it, if anything does
    given.add(2.25, f"shares words with '{base.name}'")
    share, after = column.empty / len(column.values), order[base.name] < at
    if after:
        given.add(1, "comes after it")
    if lacks := MOSTLY * column.empty > base.empty and share > 0.01:  # what is noted here and there lacks in more rows
        given.add(1.5 if share < RARELY else -1.5, f"missing in {column.empty} rows that have it")
    due = after and lacks and share < RARELY
    named = says(column.name, "body") or (entity(column.name) and column.mean_chars > SHORT)  # a summary for a client
    if after and (is_title(column, base, order) or (due and named)):
        given.add(3, "whatever its name")
    if made := next((one.name for one in others if order[one.name] > at and quotes(one, column)), None):
        given.add(1.5, f"'{made}' quotes it")
    return base if due else None


def is_title(column: Column, of: Column, order: Mapping[str, int]) -> bool:
    """Whether a text is named like a headline, and not like a summary that stands after the other text."""
    return says(column.name, "headline") and (order[column.name] < order[of.name] or not says(column.name, "reply"))


def quotes(column: Column, of: Column) -> bool:
    """Whether a column has the words of another in their order, in nearly all rows that have both."""
    pairs = [pair for pair in zip(column.values, of.values, strict=True) if all(pair)][:READ]
    rows = [[" ".join(re.findall(r"\w+", str(value).casefold())) for value in pair] for pair in pairs]
    return len(rows) >= ENOUGH_GROUPS and sum(other in one for one, other in rows) > MOSTLY * len(rows)


def is_part(column: Column, answers: Column, base: Column) -> bool:
    """Whether an answer has a short value of its row, or is worded by it, the other text hasn't, and it isn't who signs there."""
    short = column.form in ("text", "number", "time") and column.mean_chars <= SHORT and column.distinct > 2
    if not short or look(column) == "ids" or column.lists & {"staff", "person", "after", "score", "private"}:
        return False
    rows = [row for row in zip(column.values, answers.values, base.values, strict=True) if all(row)][:READ]
    ends = sum(answer.find(str(one)) > 0.8 * len(answer) for one, answer, _ in rows)
    values = [one if isinstance(one, int | float) else str(one) for one, *_ in rows]
    own, before = (sum(Source(row[at]).has(one) for one, row in zip(values, rows, strict=True)) for at in (1, 2))
    chance = sum(Source(other).has(one) for one, (_, other, _) in zip(values, rows[::-1], strict=True))
    if 2 * ends > len(rows) or own > max(1.5 * COPIED * len(rows), chance + SHARED * len(rows)):
        return 2 * max(before, ends) < len(rows)
    return column.is_label(MANY) and right([answers], column) > max(MOSTLY, right([base], column) + 0.1)


def _is_none(text: str) -> bool:
    return text.casefold().strip(" -–—.?*#_()[]") in _NONE


def _without_tags(text: str) -> str:
    """A text without its tags, unless these have its values in attributes."""
    own = '="' in text and not {*_TAG.findall(text.casefold())} <= _HTML
    return text if own else " ".join(_TAG.sub(" ", text).split())


def stand_ins(column: Column, texts: Sequence[Column] = ()) -> list[str]:
    """What stands for a missing answer: a short text that repeats among long ones that don't, or what anyone writes for none.

    Not a short answer to texts that are as short.
    """
    if column.form == "object" and not column.name.endswith((BY_CHOICE, BY_LABEL)):
        objects = [of for of in map(opened, column.values) if isinstance(of, dict | list)]
        full = [{*of} for of in objects if of and isinstance(of, dict)]
        alike = bool(full and set.intersection(*full))  # all have a key
        none = {str(of) for of in objects if alike and is_hollow(of)}
        failed = {text for text in column.texts if opened(text) is text and _ERROR.match(text)}
        none |= {text.strip() for text in column.texts if _is_none(text) or text in failed}
        return sorted(none)
    bare = {key: _without_tags(key) for key in column.keys} if column.all(str) else {}
    if sum(key.lstrip()[:1] == "<" for key in bare) > MOSTLY * len(bare):  # a tool that failed wrote no markup
        bare |= dict.fromkeys((key for key in bare if "<" not in key and _ERROR.match(key)), "")
    long = (is_free(column) or is_marked(column)) and not column.name.startswith(OWN)  # "you're welcome" is a reply
    most = STAND_IN * column.mean_chars if long else 0
    short = {key for key, text in bare.items() if len(text) < most and len(text.split()) < 4 and column.keys[key] > 2}
    read = [sum(len(str(text or "")) for text in row) for row in zip(*(of.values for of in texts), strict=True)]
    usual = sum(read) / max(len(read), 1)
    for key in [*short] if usual else ():
        own = [count for count, value in zip(read, column.values, strict=True) if value == key]
        short -= {key} if sum(own) < usual * len(own) / 2 else set()
    if not column.is_label(3):  # "[Chat ended before anyone answered]"
        framed = (key for key in bare if re.fullmatch(r"\s*\[[^\[\]]+\]\s*", key) and opened(key) is key)
        short |= {key for key in framed if column.keys[key] > 2}
    return sorted(
        {key.strip() for key, text in bare.items() if key in short or (_is_none(text) and opened(text) is text)}
    )


def is_hollow(value: Any) -> bool:
    """Whether a form has nothing filled in."""
    if isinstance(value, dict | list):
        return all(map(is_hollow, value.values() if isinstance(value, dict) else value))
    return is_blank(value)


def no_labels(column: Column, names: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Labels that say by their names, or by brackets or stars, that there is none; and those that may: other words, or a code as 0 and 999."""
    numbers = {int(key) for key in column.keys if re.fullmatch(r"-?\d{1,9}", key)}
    signs = len(numbers) > 1 and numbers <= {-1, 0, 1}
    sure, asked = set(), set()
    keys = [*map(str.strip, column.keys if column.is_label(2) else ())]
    framed = {key for key in keys if re.fullmatch(r"[(<\[{*#=_~–—-].*[)>\]}*#=_~–—-]", key) and opened(key) is key}
    undone = {name for key in keys if says_undone(name := names.get(key, key).strip()) and not says(name, "unsure")}
    done = [re.sub(r"\W+", "", name.casefold()) for key in keys if (name := names.get(key, key)) not in undone]
    spelled = {name: re.sub(r"\W+", "", name.casefold()) for name in undone}
    undone = {name for name in undone if not any(one and one in spelled[name] for one in done)}  # (not) confirmed
    for key in keys:
        name = names.get(key, key).strip()
        number = int(key) if re.fullmatch(r"-1|0{1,9}|0*9{2,9}", key) else None
        odd = number is not None and not signs and not {number + 1, number - 1} & numbers - {0}
        none = _is_none(name) or says(name, "unanswered", whole=True) or name in undone
        none |= key in framed and 3 * len(framed) <= len(keys) and not says(name, "rest")
        part = says(name, "unanswered") or says_undone(name, whole=False)
        if none or (odd and (name == "-1" or part)):
            sure.add(key)
        elif (odd and key not in names) or says(name, "unsure", whole=True) or part:
            asked.add(key)
    return sorted(sure), sorted(asked)


def is_late(column: Column, base: Column, answers: Column, *, title: bool | None = None) -> str | None:
    """What says that a text was written after the answer, and the other before; None if nothing does."""
    blank = [[is_blank(value) for value in of.values] for of in (answers, base, column)]
    lacking = [none for open_, gone, none in zip(*blank, strict=True) if open_ and not gone]
    if len(lacking) > 2 and sum(lacking) > 0.8 * len(lacking) and column.empty < 0.5 * len(column.values):
        return "it is missing where the answer is"
    title = says(column.name, "headline") if title is None else title
    shorter = column.mean_chars <= base.mean_chars and not title
    if answers.form == "object":
        more = shorter and 0.3 < right([base], answers) < right([column], answers) - 0.1
        return "it has more values of the answer than any other text" if more else None
    if not shorter or not answers.is_label(3) or not add_told(Evidence(), [base], answers):
        return None
    rows = [row for row in zip(answers.values, base.values, column.values, strict=True) if not any(map(is_blank, row))]
    spelled = [({word for word in _NAMES.findall(str(row[0]).casefold()) if len(word) > 3}, row) for row in rows]
    first, then = (sum(any(word in str(row[at]).casefold() for word in of) for of, row in spelled) for at in (1, 2))
    return f"it names the answer more often than '{base.name}'" if then > first + 0.25 * len(rows) else None


def gives_orders(text: str) -> bool:
    """Whether a text tells somebody what to do: several of its sentences begin with such a word."""
    begins = [sentence.split()[0] for sentence in re.split(r"[.!?:]\s+|\n", text) if sentence.strip()]
    return 2 < sum(says(word, "order") for word in begins) > RARELY * len(begins)


def has_markup(text: Any) -> bool:
    """Whether a text has elements, as XML, BBCode or BibTeX have them, and not only those of HTML."""
    if not isinstance(text, str) or opened(text) is not text:
        return False
    return not {*_TAG.findall(text.casefold())} <= _HTML if "</" in text else bool(_MARKED.search(text))


def is_marked(column: Column) -> bool:
    first = column.texts[:READ]
    return 2 * sum(map(has_markup, first)) > len(first)


def source_of(column: Column, texts: Sequence[Column]) -> Column | None:
    """The text whose words a column has inside of markup; None if there is none, or if it holds the text as a whole."""
    if not column.all(str) or not is_marked(column):
        return None
    held, source = max(((copied(column, [text]), text) for text in texts), key=lambda pair: pair[0], default=(0, None))
    if source is None or held <= COPIED:
        return None
    rows = [pair for pair in zip(column.values, source.values, strict=True) if all(pair)]
    return None if 2 * sum(text.strip() in marked for marked, text in rows) > len(rows) else source


def copied(column: Column, texts: Sequence[Column]) -> float:
    """The share of a column's values, those inside others and inside XML too, that stand in the texts of their rows."""
    rows = list(zip(column.values, *(text.values for text in texts), strict=True))[:: 1 + len(column.values) // READ]
    joined = [(value, text := " ".join(map(str, read)), f" {re.sub(_OTHER, ' ', text)} ") for value, *read in rows]
    found = [
        any(word in text if len(word) > 3 else f" {word} " in apart for word in spelled)
        for value, text, apart in joined
        for one in (_inner(value) if has_markup(value) else [one for _, one, _ in pairs(value, None)])
        if one == one and (spelled := [word for word in spellings(one) if word])  # NaN, which Parquet may have, is not
    ]
    return sum(found) / max(len(found), 1)


def tell(texts: Sequence[Column], column: Column) -> bool:
    """Whether the texts tell a column's labels, or have its words or values."""
    return bool(add_told(Evidence(), texts, column)) if column.is_label(3) else right(texts, column) >= FEW_COPIED


def _inner(xml: str) -> Collection[str]:
    return [part.strip() for parts in _MARKED.findall(xml) for part in parts if part.strip()] or values_in(xml).values()


def look(column: Column) -> str:
    """What the values of a column look like that may say which rows belong together: "ids" or "names"; else "".

    Many short values with several rows each. No times, counts, amounts, sentences or headlines, and no labels (few values with
    many rows each).
    """
    keys, named = column.keys, column.form in ("mail", "url") or named_like_id(column.name)
    if column.form not in ("code", "text", "mail", "url", "number") or not column.all((str, int)):
        return ""
    long = sum(len(_NAMES.findall(key)) for key in keys) > MOST_WORDS_OF_A_NAME * len(keys)
    if long or column.distinct < MANY or max(keys.values()) > LARGEST * len(column.given):
        return ""
    if column.form == "number":
        ids = all(map(str.isdecimal, keys)) and (named or _is_numbering(column))
    else:
        ids = named or sum(map(bool, map(_ID.fullmatch, keys))) > 0.8 * len(keys)
        shapes = {re.sub(r"[^\W\d]", "A", key) for key in keys}  # BKT-W, or a customer's MILLERCO
        one = len(shapes) == 1 or (entity(column.name) and not any(" " in key for key in keys))
        ids |= all(map(str.isupper, keys)) and bool(one)
    names = column.form == "text" and sum(key[:1].isalpha() for key in keys) > 0.8 * len(keys)
    if column.distinct < column.repeated and not (ids and (named or column.form != "number")):
        return ""
    return "ids" if ids else "names" if names and not column.lists & {"headline", "body"} else ""


def _is_numbering(column: Column) -> bool:
    """Whether whole numbers are given to things: all as long, and neither round nor close to each other, as counts are."""
    numbers = sorted(map(int, column.keys))
    first, middle, last = numbers[0], numbers[len(numbers) * 3 // 5], numbers[-1]
    close = len(numbers) * 3 // 5 > CLOSE * (middle - first + 1) and first < 4 * (last - first)
    round_ = any(sum((number + up) % 5 == 0 for number in numbers) > MOSTLY * len(numbers) for up in (0, 1))  # or 9.99
    same = len({*map(len, column.keys)}) == 1 and last > 99
    return same and not (close or round_ or 1900 <= first <= last <= 2100)


def of_group(column: Column, private: bool) -> Evidence | None:
    """Evidence for the group: an entity with many values and several rows of each, or values that repeat like one's."""
    if not column.all((str, int)) or column.form in ("time", "bool") or column.name.startswith(OWN):
        return None
    if column.mean_chars > (SHORT if column.is_text else 100):
        return None
    known = entity(column.name) is not None
    least = 1.2 if known or named_like_id(column.name) else 1.5
    if column.distinct < 2 or column.repeated < least or column.mostly_empty:
        return None
    given = Evidence()
    given.add(2 if column.distinct >= ENOUGH_GROUPS else -3, column.shape)  # a split needs several for each side
    seen = look(column)
    many = column.distinct > 4 * MANY and column.repeated <= MANY  # staff are few, with many rows each
    given.add_name(column, "group", OF_LABELS[: 5 if many else 4] if seen == "ids" else ())
    if not known and seen:
        given.add((1.5 if seen == "ids" else 1) - 0.5 * (column.distinct < column.repeated), f"{seen} that repeat")
    if known and column.form == "number" and not named_like_id(column.name) and seen != "ids":
        if column.distinct < 2 * MANY or words_of(column.name)[0][-1].endswith("s"):
            given.add(-6, "a count")
    elif entity(column.name) == "person" and column.distinct < min(column.repeated, 4 * MANY):
        given.add(-3.5, "few, each in many rows, as for staff")
    elif entity(column.name) == "organisation" and column.distinct < min(column.repeated, 2 * MANY):
        given.add(-2, "few, each in many rows")
    if column.empty > FEW_COPIED * len(column.values):
        given.add(-0.5 - 4 * column.empty / len(column.values), f"missing in {column.empty} rows")  # which are lost
    if private:
        given.add(-0.4, "private")
    return given if given.score > 0 and (known or seen) else None


def of_one(fine: Column, coarse: Column) -> bool:
    """Whether rows of one value have one value of the other column too, more often than by chance."""
    pairs = zip(fine.values[:TIED], coarse.values[:TIED], strict=False)
    rows = [(str(one), str(other)) for one, other in pairs if not is_blank(one) and not is_blank(other)]
    several = sum(count > 1 for count in Counter(one for one, _ in rows).values())
    mixed = sum(count > 1 for count in Counter(one for one, _ in {*rows}).values())
    chance = sum((count / len(rows)) ** 2 for count in Counter(other for _, other in rows).values())
    return several >= ENOUGH_GROUPS and mixed <= (1 - SAME) * several and chance**several < 0.001


def add_alike(given: Evidence, column: Column, rest: Sequence[Column], answers: Column) -> None:
    """Count whether rows of one value are alike in another column, but not by the answer, or who serves them."""
    written = (
        answers.form == "object" or is_free(answers) or is_marked(answers)
    )  # one thing has one, as in two scans of it
    if not written and (
        of_one(answers, column) or (of_one(column, answers) and column.distinct <= MANY * answers.distinct)
    ):
        given.add(-3, "depends on the answer")
    for other in rest:
        if other.form in ("object", "list") or other.distinct > column.distinct or not of_one(column, other):
            continue
        if says(other.name, "staff") or says(other.name, "desk"):
            given.add(-3 * of_one(other, column), f"'{other.name}' is the same in all rows of one")
            continue
        topic = "answer" in other.lists and column.distinct <= MANY * other.distinct  # then it is an article, say
        points = -3 if topic else 0.5 if look(column) == "names" else 1
        given.add(points, f"'{other.name}' is the same in all rows of one")
        break


def add_wider(found: Sequence[tuple[Column, Evidence]]) -> None:
    """Count for a column that it holds all rows of each value of another, as a firm those of its people; a place is only said to."""
    for column, given in sorted(found, key=lambda pair: -pair[0].distinct):  # the finest first
        known, seen = entity(column.name), look(column) if column.distinct >= 2 * MANY else ""
        for other, of in found:
            few = other.distinct <= MANY * column.distinct or entity(other.name) == "document"
            owner = seen == "ids" or seen == look(other)  # and no words that ids share
            like = entity(other.name) if known else few and owner and entity(other.name) != "organisation"
            one = words_of(column.name)[0][0] == words_of(other.name)[0][0]  # visitor.name is no more than visitor.id
            same = one or column.distinct > MOSTLY * other.distinct
            same = same and named_like_id(other.name) > named_like_id(column.name)
            same = same or (
                look(column) == "names" and look(other) == "ids" and 2 * column.distinct > other.distinct
            )  # namesakes
            like = like and not same  # one to one but for a few
            like = like and (OF_A_PART in given.reasons or OF_A_PART not in of.reasons)
            enough = min(of.score, given.score) >= LEAST and other.distinct > column.distinct >= 2 * MANY
            enough = enough and column.empty <= other.empty + FEW_COPIED * len(column.values)
            if enough and of_one(other, column):
                points = max(1.5, of.score + 0.5 - given.score) if like else 0
                given.add(points, f"holds all rows of each {other.name}")
                if like:
                    break


def add_later(found: Sequence[tuple[Column, Evidence]], order: Mapping[str, int]) -> dict[str, str]:
    """Count for objects that they correct others with the same keys, and say which: some rows have none, and they are later."""
    whole = {one.name: [of for of in map(opened, one.values) if isinstance(of, dict)] for one, _ in found}
    inner: dict[str, list[dict[str, Any]]] = {}
    for name, values in whole.items():  # or the only object in each: what is next to it says who made it, or when
        parts = {key: isinstance(of, dict) for one in values for key, of in one.items() if isinstance(of, dict | list)}
        inner[name] = values
        if [*parts.values()] == [True]:
            inner[name] = [part for of in values if isinstance(part := of.get(next(iter(parts))), dict)]
    keys = {name: {key for of in values for key in of} for name, values in inner.items()}
    lacks = {one.name: len(one.values) - len(inner[one.name]) for one, _ in found}
    besides = [(name, values, key) for name, values in whole.items() for key in {*values[0]} - keys[name]]
    timed = {name for name, values, key in besides if Column(key, [of.get(key) for of in values]).form == "time"}
    guesses: dict[str, str] = {}
    for (column, given), (other, of) in permutations(found, 2):
        name, one = column.name, other.name
        later = order[one] < order[name] or (name in timed and one not in timed)
        later = later and lacks[name] > 0.01 * len(column.values) > lacks[one]
        alike = len(keys[name] & keys[one]) > SHARED_KEYS * len(keys[name] | keys[one])
        if later and alike and (lead := of.score - given.score) < 1:
            guesses[name] = one
            if lead >= 0:
                given.add(lead + 0.5, f"later than '{one}', and missing in {lacks[name]} rows")
    return guesses


def is_running(column: Column, least: int = SHORT) -> bool:
    """Whether it has plain running text, mostly different, of more characters than `least`."""
    varied = column.all(str) and column.is_text and column.distinct > 0.5 * len(column.given)
    return varied and column.mean_chars > least and not is_marked(column)


def is_subject(column: Column) -> bool:
    """Whether it is named like the headline of a message, not like an answer or a list to choose from, and has words."""
    varied = mean_words(column.texts) > 1.5 or column.distinct > 2 * MANY
    return "headline" in column.lists and not column.lists & _OF_OTHERS and varied


def is_headline(column: Column) -> bool:
    """Whether it is named like the headline of a message, however short or rare, and not like anything else."""
    named = column.lists & ({"headline"} | _OF_OTHERS) == {"headline"}
    return column.is_text and column.distinct > FEW_TITLES and named


def leaves(value: Any) -> list[str]:
    """The values in an answer, as texts: in markup, what stands between its tags, and what is quoted in them."""
    if has_markup(value):
        return [of for parts in _IN_MARKUP.findall(value) for of in parts if of.strip()]
    return [str(one) for _, one, _ in pairs(value, None) if not is_blank(one)]


def gives(column: Column, answers: Column, texts: Sequence[Column]) -> bool:
    """Whether answers have the value of their own row where no text has it, more often than that of another row."""
    if column.form not in ("text", "number", "code") or column.mean_chars > SHORT or column.lists & {"guess", "after"}:
        return False
    if column.mostly_empty:  # somebody's correction, say
        return False
    rows = zip(answers.values, column.values, *(text.values for text in texts), strict=True)
    full = [(answer, str(one), " ".join(map(str, read)).casefold()) for answer, one, *read in rows if answer and one][
        :TIED
    ]
    open_ = [
        {low for of in leaves(answer) if len(of) > 1 and (low := of.casefold()) not in read} for answer, _, read in full
    ]
    ones = [one.casefold() for _, one, _ in full]
    own, chance = (sum(map(set.__contains__, open_, of)) for of in (ones, ones[1:] + ones[:1]))
    return own - chance > max(ENOUGH_GROUPS, FEW_COPIED * len(full) / 2)


def lacks_years(answers: Column, texts: Sequence[Column]) -> bool:
    """Whether answers have whole dates, and many a text lacks their year."""
    rows = zip(answers.values, *(text.values for text in texts), strict=True)
    said = ((of, " ".join(map(str, read))) for answer, *read in rows for of in leaves(answer))
    dated = [of[:4] in read for of, read in said if re.match(r"(?:19|20)\d\d-\d\d-\d\d(?!\d)", of)]
    return len(dated) > FEW_COPIED * len(answers.given) and sum(dated) < YEARS * len(dated)


def is_heading(column: Column, ids: Sequence[Column]) -> bool:
    """Whether short texts next to a longer one are like its titles: some with small words, and not the name of what an id is of."""
    said = look(column) == "names" and not column.lists and mean_words(column.texts) > 1.5
    small = sum(any(word.islower() for word in _NAMES.findall(key)) for key in column.keys)
    return said and small > RARELY * column.distinct and not any(of_one(one, column) for one in ids)


def of_its_name(column: Column, role: str) -> float:
    """The points that its name, or values that say it, give a role."""
    given = Evidence()
    given.add_name(column, role)
    return given.score


def of_input(column: Column) -> Evidence | None:
    """Evidence for the input: texts that are long, different, and named like one."""
    if not column.is_text or column.name.startswith(OWN) or not column.all(str):
        return None
    if named_like_id(column.name) and mean_words(column.texts) < MOST_WORDS_OF_AN_ID:
        return None
    given = Evidence()
    chars = column.mean_chars
    points = 2 if chars > SHORT else 1 if chars > 15 or is_subject(column) else 0
    given.add(points, f"{chars:.0f} characters on average")
    if column.distinct > 0.5 * len(column.given):
        given.add(1.5, "most are different")
    elif column.is_label(3) and not is_subject(column):
        given.add(-4, f"only {column.distinct} values")
    said = chars > SHORT and says(column.name, "body")  # a `customer_comment`
    given.add_name(column, "input", ("person", "organisation") if said else ())
    if chars > SHORT:
        given.add_name(column, "long_input")
    return given if given.score > 0 else None


def is_id(column: Column) -> bool:
    """Whether each row has its own value, and it is named like an id, or all are codes of one form, or a numbering."""
    if not column.unique or column.mean_chars > 100 or column.form in ("time", "mail", "url"):
        return False
    form, alike = Counter(re.sub(r"\d+", "0", re.sub(r"[^\W\d_]+", "A", key)) for key in column.keys).most_common(1)[0]
    coded = alike > MOSTLY * column.distinct and re.fullmatch(r"A\W?0(?:\W0)*", form)  # M2501 0001
    own = bool(coded) or column.form not in ("number", "text")
    if column.form == "number" and all(map(str.isdecimal, column.keys)):
        numbers = [*map(int, column.keys)]
        own = _is_numbering(column) or sorted(numbers) in (numbers, numbers[::-1])
    return not column.name.startswith(OWN) and (named_like_id(column.name) or own)


def named_like_id(name: str) -> bool:
    """Whether a name has a word for an id, and isn't `paid` or `number_of_rooms`."""
    glued = _GLUED.search(name) or _GLUED_NUMBER.search(name)
    return (says(name, "identifier") or bool(glued)) and not _NUMBER_OF.search(name)


def of_tags(column: Column) -> Evidence | None:
    """Evidence for the tags: short labels by which results can be sliced."""
    if column.distinct < 2 or column.name.startswith(OWN):
        return None
    given = Evidence()
    named = says(column.name, "keywords")
    if column.form == "list" or named:
        sign = separator(column)
        items = [item for value in column.given for item in listed(value, sign)]
        if not all(isinstance(item, str) and len(item) < 60 for item in items) or len({*items}) > MAX_LABELS:
            return None
        given.add(1, "lists of short texts")
    elif column.form != "text" or not column.is_label(2):
        return None
    if column.mostly_empty:
        given.add(-1, "mostly empty")
    given.add_name(column, "tags")
    return None if look(column) == "ids" else given


def is_slice(column: Column) -> bool:
    """Whether it is a label of a few values, none of nearly all rows, and not of a person or the tool that wrote it."""
    named = column.lists & {"person", "identifier", "workings", "time", "headline", "guess", "part"}
    few = column.is_label(MANY) and column.distinct <= MANY and not (named or column.mostly_empty)
    return few and max(column.keys.values()) < MOST_OF_A_SLICE * len(column.given)


def follows(column: Column, answers: Column) -> bool:
    """Whether a label is written with the answer, missing where that is, or is the same in all rows of one answer."""
    gaps = {at for at, value in enumerate(answers.values) if is_blank(value)}
    same = len(gaps) > 2 and gaps == {at for at, value in enumerate(column.values) if is_blank(value)}
    return same or (not is_free(answers) and of_one(answers, column))


def listed(value: Any, sign: str) -> list[Any]:
    """The tags in a list, in JSON, or in a text with a sign between them."""
    tags = opened(value)
    if isinstance(tags, str):
        tags = [part.strip() for part in tags.split(None if sign == " " else sign)]
    return tags if isinstance(tags, list) else [tags]


def separator(column: Column) -> str:
    """What separates the tags in one text: a comma, else a semicolon or bar, else spaces if the column is named for tags."""
    for sign in (",", ";", "|"):
        if any(sign in text for text in column.texts):
            return sign
    words = {word for text in column.texts for word in text.split()}
    several = any(" " in text.strip() for text in column.texts) and len(words) <= column.distinct + 2
    tags = says(column.name, "keywords") and all(word == word.lower() for word in words)  # `New York` is one
    return " " if several and tags else ","
