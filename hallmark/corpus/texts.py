"""The texts of records in the form in which they are compared, and the different ones among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Self, TypeVar

from hallmark.mask.kinds import PLACEHOLDER

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

T = TypeVar("T", "pl.Series", "pl.Expr")

BREAK = "\n"  # between what is said and what was given with it: no normalised text has one


def text_of(*columns: str) -> pl.Expr:
    """What is said in the messages in `columns`, joined: all but the system messages."""
    import polars as pl

    spoken = pl.element().filter(pl.element().struct.field("role") != "system").struct.field("content")
    return pl.concat_list(pl.col(column).list.eval(spoken) for column in columns).list.join("\n")


def own_system(task: str) -> pl.Expr:
    """A record's own system messages: what its first message has after the system prompt of the task."""
    import polars as pl

    first = pl.col("prompt").list.first().struct
    own = (first.field("role") == "system") & first.field("content").str.starts_with(f"{task}\n\n")
    return pl.when(own).then(first.field("content").str.strip_prefix(f"{task}\n\n")).otherwise(pl.lit(""))


def compared(task: str, *columns: str) -> pl.Expr:
    """`text_of`, normalised; what was given (passages in `context`, the record's own system messages) comes after a `BREAK`.

    `task`: the task's system prompt.
    """
    import polars as pl

    text, context = text_of(*columns), pl.col("context").fill_null("")
    said = pl.when(context == "").then(text).otherwise(text.str.split(context + "\n\n").list.join(""))
    parts = [normalise(said), normalise(context + "\n" + own_system(task))]
    return pl.concat_str(parts, separator=BREAK).str.strip_chars(BREAK)


def normalise(texts: T) -> T:
    """The form in which texts are compared: NFKC, lower case, no control or zero-width characters, single spaces."""
    return (
        texts.str.normalize("NFKC")
        .str.to_lowercase()
        .str.replace_all(r"\s+", " ")
        .str.replace_all(r"\p{C}+", "")
        .str.replace_all(r" {2,}", " ")
        .str.strip_chars()
    )


def bare(texts: pl.Series) -> pl.Series:
    """Texts without punctuation, which is where copies differ most; a text of nothing else is left unchanged.

    Symbols stay: `x > 5` and `x < 5` do not mean the same.
    """
    words = (
        texts.str.replace_all(r"\p{P}+", " ")
        .str.replace_all(r" {2,}", " ")
        .str.replace_all(" ?\n ?", "\n")
        .str.strip_chars()
    )
    return words.zip_with(words != "", texts)


def only_placeholders(texts: T) -> T:
    """Whether a text, as it stands in the record, has placeholders and, but for punctuation, nothing else."""
    left = normalise(texts.str.replace_all(PLACEHOLDER.pattern, " ")).str.replace_all(r"[\p{P}\s]+", "")
    return texts.str.contains(PLACEHOLDER.pattern) & (left == "")


def text_hashes(texts: pl.Series, form: Callable[[str], str] = str) -> Array:
    """64 bits of a hash of each text, in a form in which equal ones are equal.

    Of ten million different ones, two agree by chance once in 370,000 times.
    """
    import numpy as np

    forms = (form(text).encode("utf-8", "surrogatepass") for text in texts.to_list())
    return np.frombuffer(b"".join(blake2b(text, digest_size=8).digest() for text in forms), np.uint64)


def numbers_of(names: pl.Series) -> Array:
    """A number for each name, from 0: the same for equal ones."""
    return (names.rank("dense") - 1).to_numpy()


class Texts:
    """Different texts without punctuation, in the order of their hashes, so that the first ones are a random sample."""

    def __init__(self, plain: pl.Series) -> None:
        import numpy as np

        self._plain = plain
        self.sizes = plain.str.len_bytes().to_numpy().astype(np.int32)

    @classmethod
    def kept(cls, batches: Iterable[pl.Series]) -> tuple[Self, Array]:
        """The texts in the batches, and the number of each; two are different if they are without losing punctuation."""
        import numpy as np
        import polars as pl

        parts, hashes = [pl.Series([], dtype=pl.String)], [np.empty(0, np.uint64)]
        for batch in batches:
            parts.append(bare(batch))
            hashes.append(text_hashes(batch))
        _, first, number = np.unique(np.concatenate(hashes), return_index=True, return_inverse=True)
        return cls(pl.concat(parts)[first]), number.astype(np.int32)

    def asked(self) -> Self | None:
        """The same texts without what was given with them; None if nothing was."""
        if not self._plain.str.contains(BREAK, literal=True).any():
            return None
        return type(self)(self._plain.str.split(BREAK).list.first())

    def __len__(self) -> int:
        return len(self._plain)

    def read(self, numbers: Array | slice) -> list[str]:
        return self._plain[numbers].to_list()
