"""The raw names of customers. A trace has the name that records have, which is a pseudonym if `data.pseudonyms` is keyed.

`mask` makes a pseudonym of every raw name. A row with the pseudonym of a customer for its raw name would so be a new
customer's, whom no split knows. So the raw name of a known customer is found again, by the pseudonyms of all raw names. A
customer who is not in the data is called by his pseudonym there, and is known by it from then on; once the data has his own
name, his rows get that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hallmark.base.key import pseudonym
from hallmark.mask.second_check import in_name

PSEUDONYM = re.compile("group-[b-df-hj-np-t]{16}")


class Customers:
    """The customers in the raw data. `key` is the repo's, or None if names stay as they are."""

    def __init__(self, groups: Iterable[str], key: bytes | None) -> None:
        self.key, self.groups = key, set(groups)
        self.by_pseudonym = {pseudonym(key, "group", group): group for group in self.groups} if key else {}

    def raw_name(self, group: str, own: bool) -> str:
        """The raw name of a customer, as a log has him; `own`: a log of our gateway."""
        if self.key is None:
            return group
        name = group if own and PSEUDONYM.fullmatch(group) else pseudonym(self.key, "group", group)
        return self.by_pseudonym.get(name, name)

    def may_be_named(self, name: str) -> bool:
        """Whether records may have this name as it is."""
        return self.key is not None or not in_name(name)

    def renamed(self) -> dict[str, str]:
        """Customers who are in the data under their pseudonym and now under their name too: the one, and the other."""
        return {name: raw for name, raw in self.by_pseudonym.items() if name in self.groups and raw != name}
