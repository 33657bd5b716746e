"""Made-up records: short texts of a small language, one in five a near duplicate of another."""

from __future__ import annotations

import random
from pathlib import Path

LETTERS = "etaoinshrdlcumwfgypb"
WORDS = 3000


def texts(rows: int, seed: int = 1) -> list[tuple[str, int]]:
    """(text of 100 to 300 characters, number of the text it was made from), one in five an edit of an earlier one."""
    draw = random.Random(seed)
    words = ["".join(draw.choices(LETTERS, k=draw.randint(2, 10))) for _ in range(WORDS)]
    weights = [1 / (place + 10) for place in range(WORDS)]  # frequent and rare words, as in any language
    sums = [sum(weights[:1])]
    for weight in weights[1:]:
        sums.append(sums[-1] + weight)
    made: list[tuple[str, int]] = []
    for number in range(rows):
        if number % 5 == 4:
            text, source = (
                made[draw.randrange(number - 4, number)] if draw.random() < 0.5 else made[draw.randrange(number)]
            )
            made.append((_edited(text, words, draw), source))
        else:
            made.append(
                (" ".join(draw.choices(words, cum_weights=sums, k=50))[: draw.randint(100, 300)].strip(), number)
            )
    return made


def _edited(text: str, words: list[str], draw: random.Random) -> str:
    """The text with one to three small edits: a word left out, put in or changed, two letters swapped."""
    parts = text.split()
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(parts))
        edit = draw.choice(("out", "in", "change", "swap"))
        if edit == "out" and len(parts) > 2:
            del parts[place]
        elif edit == "in":
            parts.insert(place, draw.choice(words))
        elif edit == "change":
            parts[place] = draw.choice(words)
        elif len(parts[place]) > 1:
            at = draw.randrange(len(parts[place]) - 1)
            word = parts[place]
            parts[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(parts)


def write_masked(path: Path, rows: int, seed: int = 1) -> None:
    """Write that number of records, as the mask stage would, of about one customer for 20 rows."""
    import polars as pl

    from hallmark.base.records import schema, write_records

    draw = random.Random(seed)
    made = texts(rows, seed)
    groups = max(rows // 20, 3)
    columns = pl.DataFrame(
        {
            "id": [f"r{number:07}" for number in range(rows)],
            "group": [f"c{int(groups * draw.random() ** 2):06}" for _ in range(rows)],
            "text": [text for text, _ in made],
            "label": [f"label{source % 7}" for _, source in made],
        }
    )
    message = {"user": "text", "assistant": "label"}
    turns = {role: pl.concat_list(pl.struct(role=pl.lit(role), content=pl.col(name))) for role, name in message.items()}
    nothing = {
        name: pl.lit(None, kind) for name, kind in schema().items() if name in ("context", "tools", "rejected", "tags")
    }
    nothing["part"] = pl.lit(None, pl.String)
    records = columns.select("id", "group", prompt=turns["user"], completion=turns["assistant"], **nothing)
    # `source` is what `split` compares records by if their masked form changes; here it never does.
    write_records(path, records.select(*schema(), "part", source="id"))
