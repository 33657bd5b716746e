"""Which entries of the masker's word lists only one corpus has: a list must not hold a benchmark's vocabulary.

Run `python -m tests.bench.lists`. It prints, for each real file of ../shared/realdata, the entries that occur in that file
alone, list by list, for a person to read: an entry that no stranger would expect in its list has to go.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from hallmark.base.reading import read_json_lines
from hallmark.mask.lexicon import word_list
from tests.workspace import ROOT

REAL = ROOT.parent / "shared" / "realdata"
WORDS = ROOT / "hallmark/mask/words"


def only_in(entries: Iterable[str], corpora: Mapping[str, str]) -> dict[str, list[str]]:
    """For each corpus (its name and its text), the entries that no other corpus has."""
    padded = {name: f" {_plain(text)} " for name, text in corpora.items()}
    found: dict[str, list[str]] = defaultdict(list)
    for entry in sorted(entries):
        hits = [name for name, text in padded.items() if f" {_plain(entry)} " in text]
        if len(hits) == 1:
            found[hits[0]].append(entry)
    return dict(found)


def _plain(text: str) -> str:
    return re.sub(r"[^\w'~]+", " ", text.lower()).strip()


def main() -> None:
    """Print the table."""
    corpora = {
        file.stem: "\n".join(str(row["text"]) for row in read_json_lines(file) if "text" in row)
        for file in sorted(REAL.glob("*.jsonl"))
    }
    for file in sorted(WORDS.glob("*.txt")):
        for corpus, entries in only_in(word_list(str(file)), corpora).items():
            print(f"{file.stem:20} only in {corpus:24} {len(entries):4}: {', '.join(entries)}")


if __name__ == "__main__":
    main()
