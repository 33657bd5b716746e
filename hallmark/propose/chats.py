"""Chats in a layout of their own: which list holds the turns, which key of a turn says who speaks, and which what is said."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import dropwhile, pairwise
from typing import Any

from hallmark.base.params import Chat
from hallmark.data.conversations import CALLS, LAYOUTS, ROLES, WHOLE, are_calls, layout_of, plain, whole, with_messages
from hallmark.data.copied import opened
from hallmark.data.nested import value_at
from hallmark.data.spans import spans_in
from hallmark.propose.column_words import inside, role_words, says
from hallmark.propose.columns import MAX_LABELS, MOSTLY, Column, Rows, columns_in, mean_words, related, tools_in
from hallmark.propose.evidence import SHORT, is_free, shares

READ = 500  # rows that are looked at
DEEPEST = 3  # levels of objects around a list of turns
MOST_ROLES = 8
MOST_KINDS, FEW, MOST_HIDDEN = 20, 0.02, 0.7  # of turns; share of the user's, and of all, that may be marked internal
SOME, STOCK = 0.1, 0.2  # share of the chats with several answers; of last ones that differ, up to which they are stock
SAID = ("content", *CALLS)  # keys of a message
TRUE, FALSE = {"true", "1", "yes", "y", "x"}, {"false", "0", "no", "n"}
ENOUGH = 1.5  # points for a key that says who speaks: 2 for its name, 1 for each side that its values name, and how often they change


def chat_in(rows: Rows) -> Chat | None:
    """Where the rows have chats, unless they have OpenAI's or ShareGPT's layout, or none."""
    lists: dict[str, list[list[Any]]] = defaultdict(list)
    messages: Counter[str] = Counter()
    for row in rows[:READ]:
        for path, of in _inside(row, ""):
            if isinstance(of, list):
                lists[path].append(of)
            else:
                messages[path] += ROLES.get(str(of.get("role"))) == "assistant" and not of.keys().isdisjoint(SAID)
    if logged := _logged(lists, messages, rows[:READ]):
        return logged
    usual = [(layout, *LAYOUTS[layout]) for row in rows[:READ] if (layout := layout_of(row))]
    plain = len(usual) == len(rows[:READ]) and all(
        {str(turn.get(key)) for turns in lists[name] for turn in turns} <= ROLES.keys() for name, key, _ in {*usual}
    )
    found = [_layout(path, of) for path, of in lists.items() if 4 * len(of) > 3 * len(rows[:READ])]
    chat = next((chat for chat in found if chat and (chat.internal or not plain)), None)
    more = {"opening": _opening(chat, rows[:READ]), "answer": _answer_apart(chat, rows[:READ])} if chat else {}
    return chat and chat.model_copy(update=more)


def _inside(value: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """The objects, and the lists of objects, in a row, by their paths."""
    for key, inner in value.items():
        inner, name = opened(inner), f"{path}.{key}" if path else key
        if isinstance(inner, dict) and name.count(".") < DEEPEST:
            yield name, inner
            yield from _inside(inner, name)
        elif isinstance(inner, list) and inner and all(isinstance(item, dict) for item in inner):
            yield name, inner


def _logged(lists: dict[str, list[list[Any]]], messages: Counter[str], rows: Rows) -> Chat | None:
    """The layout of a log: the messages of a request, and its answer: a message of the assistant, or the choices of OpenAI's API.

    Messages, and answers that are a text or calls of tools, count only for requests that nobody has answered in their lists.
    """
    found = {f"{path}.0.message": len(of) for path, of in lists.items() if all(isinstance(one[0].get("message"), dict) for one in of)}  # fmt: skip
    for path, chats in lists.items():
        names = {str(turn.get("role")) for turns in chats for turn in turns}
        due = sum(ROLES.get(str(turns[-1].get("role"))) != "assistant" for turns in chats) > MOSTLY * len(chats)
        answers = [name for name, count in (found | (messages if due else {})).items() if 2 * count > len(rows)]
        if names <= ROLES.keys() and 4 * len(chats) > 3 * len(rows):
            roles = {name: ROLES[name] for name in sorted(names | {"assistant"})}
            where = {"turns": path, "role": "role", "text": "content", "roles": roles, "opening": None, "internal": {}}
            chat = Chat.model_validate(where | {"answer": max(reversed(answers), key=_meant) if answers else None})
            if answers or (apart := _answer_apart(chat, rows)):
                return chat if answers else chat.model_copy(update={"answer": apart})
    return None


def _answer_apart(chat: Chat, rows: Rows) -> str | None:
    """The column after the turns with the answer to chats that end without one: calls of tools, or a text named like a reply."""
    chats = [_messages(with_messages(row, chat)) for row in rows]
    lasts = [of[-1].get("role") for of in chats if of]
    if sum(role != "assistant" for role in lasts) <= MOSTLY * max(len(lasts), 1):
        return None
    said, columns = Column(WHOLE, [whole(with_messages(row, chat)) for row in rows]), columns_in(rows)
    after = dropwhile(lambda name: not related(name, chat.turns), columns)
    others = [columns[name] for name in after if not related(name, chat.turns) and columns[name].empty < len(rows) / 2]
    others = [of for of in others if not _named(of.name, "guess", "score", "staff")]
    lists = {of.name: [*map(opened, of.given)] for of in others}
    calling = [name for name, values in lists.items() if any(values) and all(map(are_calls, values))]
    texts = [of.name for of in others if of.mean_chars > SHORT and is_free(of) and shares(of, said)]
    answers = [name for name in texts if ("." in name and _named(name, "reply", "outgoing")) or _named(name, "answer")]
    return max(reversed(calling or answers), key=_meant, default=None)  # another text may be a note: see wrapped_up


def _named(name: str, *lists: str) -> bool:
    """Whether a name, or that of an object around it, has a word of some list."""
    return any(says(name, of) or inside(name, of) for of in lists)


def _meant(name: str) -> tuple[bool, ...]:
    """How much a message's name says that somebody wants it so: it is no guess, a person said it, it is expected and no reply."""
    guess, staff, final, reply, answer = (says(name, of) or inside(name, of) for of in ("guess", "staff", "final", "reply", "answer"))  # fmt: skip
    return not guess, staff or final, answer and not reply, answer


def _opening(chat: Chat, rows: Rows) -> str | None:
    """The column with what was said before the turns: an object like a turn or, where they begin with a reply, a text before them."""
    firsts = [next(iter(_messages(with_messages(row, chat))), {}) for row in rows]
    early = 2 * sum(first.get("role") == "assistant" for first in firsts) > len(rows)
    for name, column in columns_in(rows).items():
        early = early and name != chat.turns
        if not chat.turns.startswith(name.removesuffix(name.rpartition(".")[2])):
            continue
        said = []
        for of in map(opened, column.values):
            spoken = str(value_at(of, chat.role)) in chat.roles
            said.append(_words(value_at(of, chat.text) if spoken else of if early and says(name, "body") else None))
        new = [of for of, first in zip(said, firsts, strict=True) if of and of != _words(first.get("content"))]
        if 2 * len(new) > len(rows) and mean_words(new) > 2:
            return name
    return None


def wrapped_up(chat: Chat, rows: Rows) -> str | None:
    """The column of a text on a whole conversation, which stands after it and is named like a summary or note: the answer."""
    names = list(dict.fromkeys(name for row in rows[:READ] for name in row))
    said = Column(WHOLE, [whole(row) for row in rows[:READ]])
    place = [at for at, name in enumerate(names) if f"{chat.turns}.".startswith(f"{name}.") and chat.answer is None]
    for name in names[place[0] + 1 :] if place else ():
        text = Column(name, [row.get(name) for row in rows[:READ]])
        written = (says(name, "reply") or says(name, "body")) and not says(name, "guess") and is_free(text)
        if written and text.mean_chars > SHORT and 5 * text.empty < len(text.values) and shares(text, said):
            return name
    return None


def all_answers(rows: Rows) -> str | None:
    """Why each answer of a conversation is trained, not only the last: that is often no more than a goodbye."""
    chats = [[turn for turn in _messages(row) if turn.get("role") == "assistant" and turn.get("weight") != 0] for row in rows]  # fmt: skip
    said = [[_words(turn.get("content")) for turn in of] for of in chats if len(of) > 1]
    last, before = [of[-1] for of in said], [text for of in said for text in of[:-1]]
    stock = len({*last}) < STOCK * len(last) and len({*last}) / max(len(last), 1) < len({*before}) / max(len(before), 1)
    why = f"of {len(said)} chats with several answers, the last are {len({*last})} texts that repeat"
    return why if stock and len(said) > SOME * len(rows) else None


def _messages(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of a row, but for what is none: reading the row says so."""
    of = row.get("messages")
    return [turn for turn in of if isinstance(turn, dict)] if isinstance(of, list) else []


def _words(content: Any) -> str:
    """A text without its tags, to compare it."""
    return " ".join(re.sub("<[^<>]*>", " ", plain(content) or "").split())


def _layout(path: str, chats: list[list[Any]]) -> Chat | None:
    """The layout of the chats in these lists; None if they are others."""
    turns = [turn for chat in chats for turn in chat]
    spans = any(span.end is not None for span in spans_in(chats[:READ]))
    if len(turns) < 2 * len(chats) or spans or any(map(tools_in, chats[:20])):
        return None
    keys = {f"{key}.{inner}" if inner else key for turn in turns for key, of in turn.items() for inner in (of if isinstance(of, dict) else [""])}  # fmt: skip
    columns = [Column(key, [plain(of := value_at(turn, key)) or of for turn in turns]) for key in sorted(keys)]
    texts = [of for of in columns if of.is_text and mean_words(of.texts) > 2 and of.distinct > min(len(of.given) / 5, MAX_LABELS)]  # fmt: skip
    best: tuple[float, str, dict[str, str]] = (ENOUGH, "", {})
    for column in columns:
        few = 2 <= column.distinct <= MOST_ROLES and column.all((str, bool, int)) and column.mean_chars <= 30
        if not few or len(column.given) < 0.9 * len(turns):
            continue
        spoken = [[str(value_at(turn, column.name)) for turn in chat] for chat in chats]
        roles, known = _roles(spoken)
        changes = sum(one != after for chat in spoken for one, after in pairwise(chat)) / len(turns)
        named = 2 * any(says(column.name, of) for of in ("speaker", "staff", "person"))
        alone = len(chats) == 1 and not known  # names of people next to rows, say
        if roles and not alone and named + known + changes > best[0]:
            best = (named + known + changes, column.name, roles)
    if not texts or not best[1]:
        return None
    text = max(texts, key=lambda column: column.mean_chars * len(column.given)).name
    users = [turn for turn in turns if best[2].get(str(value_at(turn, best[1]))) == "user"]
    others = (of for of in columns if of.name not in (best[1], text))
    hidden = {of.name: marks for of in others if (marks := _internal(of, turns, users))}
    where = {"turns": path, "role": best[1], "text": text, "roles": best[2]}
    return Chat.model_validate(where | {"answer": None, "internal": hidden, "opening": None})


def _internal(column: Column, turns: list[Any], users: list[Any]) -> list[str]:
    """The values of a turn's key that mark it as seen by the staff alone, or as no message: no turn of a user has them."""
    if column.distinct > MOST_KINDS or not column.all((str, bool, int)) or says(column.name, "time"):
        return []
    values = {str(value) for value in column.given}
    public, kind = says(column.name, "public"), says(column.name, "kind_of")
    if {value.casefold() for value in values} <= TRUE | FALSE:
        marks = {value for value in values if value.casefold() in (FALSE if public else TRUE)}
        marks = marks if public or says(column.name, "internal") else set()
    else:
        shown = {value for value in values if says(value, "public")}
        marks = {value for value in values if says(value, "internal") or (kind and says(value, "event"))}
        marks = (marks or values) - shown if public and shown else marks
    of_users, of_all = (sum(str(value_at(turn, column.name)) in marks for turn in of) for of in (users, turns))
    return sorted(marks) if of_users <= FEW * len(users) and of_all < MOST_HIDDEN * len(turns) else []


def _roles(chats: list[list[str]]) -> tuple[dict[str, str], int]:
    """Who the names of speakers are: by their words, else who opens the chats is the user, and who answers most the assistant."""
    counts = Counter(value for chat in chats for value in chat if value != "None")
    first, later = Counter(chat[0] for chat in chats), {value for chat in chats for value in chat[1:]}
    speaking = {of: entry["speaks"] for of, entry in role_words().items() if "speaks" in entry}
    found: dict[str, str] = {}
    for value in counts:
        if said := ROLES.get(value.casefold()):
            found[value] = said if said != "system" or value not in later else ""  # a prompt stands first
        elif lists := [role for of, role in speaking.items() if says(value, of)]:
            found[value] = lists[-1]
    left = [value for value, _ in counts.most_common() if value not in found]
    known = len({*found.values()} & {"user", "assistant"})
    if "user" not in found.values() and left:
        left.remove(user := max(left, key=lambda value: first[value]))
        found[user] = "user"
    if "assistant" not in found.values():
        found |= dict.fromkeys(left[:1] or [value for value in found if says(value, "bot")], "assistant")
    kept = {value: role for value, role in found.items() if role}
    return (kept if {"user", "assistant"} <= {*kept.values()} else {}), known


def left_out(chat: Chat, rows: Rows) -> list[str]:
    """What to say of turns whose roles are left out."""
    lists = (opened(value_at(row, chat.turns)) for row in rows)
    turns = [turn for of in lists if isinstance(of, list) for turn in of]
    counts = Counter(value for turn in turns if (value := str(value_at(turn, chat.role))) not in chat.roles)
    said = ", ".join(f"{value} ({count})" for value, count in counts.most_common(MOST_ROLES))
    words = "are left out: if they are the user's or the assistant's, add them to data.chat.roles"
    found = ((key, str(value_at(turn, key))) for turn in turns for key in chat.internal)
    marks = Counter(f"{key} {value}" for key, value in found if value in chat.internal[key])
    hidden = ", ".join(f"{mark} ({count})" for mark, count in marks.items())
    seen = f"turns with {hidden} are left out, as the user never saw them: data.chat.internal says so"
    return [f"turns of {said} {words}"] * bool(said) + [seen] * bool(hidden)
