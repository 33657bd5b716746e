"""A live request, masked as `mask` masks the record that it is: a Refusal where the stage would stop or drop it.

A caller can't say who the customer is nor what the answer will be, so neither is known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hallmark.base.document import strings
from hallmark.base.refusal import Refusal
from hallmark.mask.kinds import PLACEHOLDER
from hallmark.mask.record import Message, RecordMasker, Request, Work
from hallmark.mask.restoring import Masked, appear
from hallmark.mask.surrogates import uses_surrogates


class LiveMasker(RecordMasker):
    """Masks requests, one at a time, with the params, public values and key of the stage `mask`."""

    def __call__(
        self, messages: Sequence[Message], tools: list[dict[str, Any]] | None, also: Sequence[str] = ()
    ) -> tuple[Masked, list[str]]:
        """The request masked, and the texts in `also`, which may be answers, with it.

        A `Refusal` if a kind in it is dropped, or if something private would be left.
        """
        for param, value in (("messages", list(messages)), ("tools", tools), ("also", list(also))):
            if any(len(text) > self.mask.max_chars for text in strings(value)):
                problem = f"a text is longer than {self.mask.max_chars} characters, the most that is masked at once"
                raise Refusal(400, "text_too_long", problem, param)
        work = self.work(Request(list(messages), tools), [self.answer(text) for text in also])
        self.find([work])
        if dropped := self.dropped(work):
            raise Refusal(400, "drop", f"texts that hold {', '.join(dropped)} are not taken (mask.actions)", "messages")
        self.render(work)
        found = Counter(
            (kind, _holder(field, holder)) for field, _, kind, holder in self.left(work, ["also"] * len(also))
        )
        if left := sorted(f"{kind} in {holder}" for kind, holder in found):
            problem = f"private data would be left in the masked request ({', '.join(left)}), so it was not passed on"
            raise Refusal(422, "private_data_left", problem, "messages")
        masked = Masked(
            messages=work.messages, tools=work.tools, values=self._values(work), day_first=self.mask.day_first
        )
        return masked, work.answered

    def _values(self, work: Work) -> dict[str, str]:
        """What each stand-in stands for; not of surrogates that the caller wrote too."""
        values = work.drafts.values
        if not uses_surrogates(self.mask):
            return values
        surrogates = [stand_in for stand_in in values if not PLACEHOLDER.fullmatch(stand_in)]
        clear = [part for text in work.drafts.texts for part in text.clear()]
        written = appear(surrogates, "\n".join([*clear, self.task.system_prompt]))
        return {stand_in: value for stand_in, value in values.items() if stand_in not in written}


def _holder(field: str, holder: str) -> str:
    if holder == "number":
        return f"a number of the {field}"
    return f"an {holder}" if holder.startswith("id") else f"a {holder}"
